# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole fleets, with good licences inside the pool and outside of it: what is planned is never worse than what there is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import license as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_key import LicenseKey
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_model import Host, Inventory, License, User

UNITS = ("cpuPackage", "cpuCore", "cpuPackage:32core")


@dataclass(frozen=True)
class Fleet:
    hosts: tuple[Host, ...]
    pool: tuple[License, ...]
    others: tuple[License, ...]
    foreign: Mapping[LicenseKey, int]  # units that somebody else uses

    def survey(self) -> domain.Survey:
        licenses = {}
        for known in (*self.pool, *self.others):
            own = sum(known.units(host.packages, host.cores) for host in self.hosts if host.key == known.key)
            licenses[known.key] = replace(known, used=own + self.foreign[known.key])
        users = tuple(User(entity=host.moid, name=host.name, key=host.key) for host in self.hosts if host.key)
        wanted = domain.parse({"license_keys": [known.key.text for known in self.pool], "state": "assigned"})
        inventory = Inventory(licenses=licenses, decoded={}, undecoded={}, users=users)
        hosts = [replace(host, license=licenses[host.key] if host.key else host.license) for host in self.hosts]
        return domain.survey(hosts, {"inventory": inventory}, wanted)

    def after(self, goals: Mapping[str, License]) -> Fleet:
        return replace(self, hosts=tuple(replace(host, license=goals.get(host.moid, host.license)) for host in self.hosts))


def fits(known: License, host: Host) -> bool:
    return known.generation == host.generation and not (host.in_use - known.features)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    made = []
    for number in range(draw(st.integers(2, 5))):
        made.append(
            License(
                key=LicenseKey(f"FAKE0-MARK1-MARK2-MARK3-{number:05d}"),
                name=f"Key {number}",
                product="VMware ESX Server",
                version=draw(st.sampled_from(("7.0", "8.0"))),
                unit=draw(st.sampled_from(UNITS)),
                total=draw(st.sampled_from((0, 1, 2, 4, 32, 64))),
                features=frozenset(draw(st.sampled_from(("a", "ab")))),
            )
        )
    cut = draw(st.integers(1, len(made)))
    hosts = []
    for number in range(draw(st.integers(1, 7))):
        packages = draw(st.sampled_from((1, 2)))
        generation = draw(st.sampled_from(("7", "8")))
        hosts.append(
            Host(
                moid=f"host-{number}",
                name=f"esx-{number}",
                version=f"{generation}.0",
                generation=generation,
                packages=packages,
                cores=packages * draw(st.sampled_from((8, 16, 40))),
                license=draw(st.sampled_from((None, *made))),
                in_use=frozenset(draw(st.sampled_from(("", "a", "b")))),
            )
        )
    foreign = {known.key: draw(st.sampled_from((0, 0, 1, 16))) for known in made}
    return Fleet(tuple(hosts), tuple(made[:cut]), tuple(made[cut:]), foreign)


@settings(max_examples=200, deadline=None)
@given(fleet=fleets(), order=st.randoms(use_true_random=False))
def test_what_is_planned_is_never_worse(fleet: Fleet, order: random.Random) -> None:
    plan = fleet.survey()
    hosts = {host.moid: host for host in fleet.hosts}
    pool = {known.key for known in fleet.pool}
    for moid, known in plan.goals.items():
        assert known.key in pool and fits(known, hosts[moid]) and known.key != hosts[moid].key
    assert not set(plan.goals) & set(plan.reasons)
    # Whoever waits, waits for somebody that is written, and writes may overlap in any way that this allows.
    used = {key: plan.inventory.licenses[key].used or 0 for key in pool} if plan.inventory else {}
    total = {known.key: known.total for known in fleet.pool}
    waiting, running, done = dict(plan.goals), list[str](), set[str]()
    assert all(set(others) <= set(plan.goals) for others in plan.after.values())
    while waiting or running:
        free = sorted(moid for moid in waiting if set(plan.after.get(moid, ())) <= done)
        assert free or running, "somebody waits for ever"
        if free and (not running or order.random() < 0.6):
            moid = order.choice(free)
            known = waiting.pop(moid)
            used[known.key] += known.units(hosts[moid].packages, hosts[moid].cores)
            assert not total[known.key] or used[known.key] <= total[known.key]
            running.append(moid)
        else:
            moid = running.pop(order.randrange(len(running)))
            held = hosts[moid].license
            if held and held.key in used:
                used[held.key] -= held.units(hosts[moid].packages, hosts[moid].cores)
            done.add(moid)


@settings(max_examples=150, deadline=None)
@given(fleet=fleets(), order=st.randoms(use_true_random=False))
def test_the_order_does_not_matter_and_nothing_is_left_to_do(fleet: Fleet, order: random.Random) -> None:
    plan = fleet.survey()
    shuffled = replace(
        fleet, hosts=tuple(order.sample(fleet.hosts, len(fleet.hosts))), pool=tuple(order.sample(fleet.pool, len(fleet.pool)))
    )
    assert shuffled.survey().goals == plan.goals
    again = fleet.after(plan.goals).survey()
    # What takes two writes of one host takes two runs, and the second one licenses more.
    assert not again.goals or len(again.reasons) < len(plan.reasons)


@settings(max_examples=150, deadline=None)
@given(fleet=fleets())
def test_nobody_without_a_licence_is_passed_over_for_one_who_has_a_good_one(fleet: Fleet) -> None:
    plan = fleet.survey()
    pool = {known.key for known in fleet.pool}
    content = {host.moid for host in fleet.hosts if host.license and host.key not in pool and fits(host.license, host)}
    given_to_content = {moid: known for moid, known in plan.goals.items() if moid in content}
    for host in fleet.hosts:
        if host.moid in plan.reasons and host.moid not in content:
            for moid, known in given_to_content.items():
                other = next(each for each in fleet.hosts if each.moid == moid)
                enough = known.units(host.packages, host.cores) <= known.units(other.packages, other.cores)
                assert not (fits(known, host) and enough), f"{host.moid} could have had what {moid} got"

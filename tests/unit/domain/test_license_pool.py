# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner of licence keys promises for every fleet and every pool."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import license_pool
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_pool import Assignment, Lack, Pooled, Seeker, assign
from tests.unit.domain.makers import LONG

Fleet = tuple[list[Seeker], list[Pooled]]


def fleet(seed: int, most_hosts: int, most_keys: int, most_units: int, kinds: int | None = None) -> Fleet:
    """Any: keys that are over-used, have no limit or are worth nothing, hosts that hold what fits, what does not, or nothing."""
    roll = random.Random(seed)
    names = [f"K{at}" for at in range(most_keys - int(most_keys * roll.random() ** 3))]
    fit, held = roll.choice((0.3, 0.6, 0.9)), roll.choice((0.2, 0.5, 0.9))
    patterns = []
    for _at in range(kinds or most_hosts):
        needs = {name: roll.randint(1, most_units) for name in names if roll.random() < fit}
        if roll.random() < 0.1:
            needs["elsewhere"] = 1
        holds = roll.choice(names) if names and roll.random() < held else roll.choice((None, None, "elsewhere"))
        takes = needs[holds] if holds in needs and roll.random() < 0.8 else roll.randint(0, most_units)
        patterns.append((needs, holds, takes))
    hosts = []
    for at in range(most_hosts - int((most_hosts + 1) * roll.random() ** 3)):
        needs, holds, takes = roll.choice(patterns)
        hosts.append(Seeker(id=f"h{at:02}", needs=needs if roll.random() < 0.7 else dict(needs), holds=holds, units=takes))
    spare = roll.choice((1, 2, most_units, 3 * most_units))
    pool = []
    for name in names:
        used = sum(host.units for host in hosts if host.holds == name)
        free = None if roll.random() < 0.07 else used + roll.choice((0, -1, roll.randint(0, spare), roll.randint(-2, spare)))
        pool.append(Pooled(id=name, free=free, rank=roll.randint(0, 2)))
    return hosts, pool


# The number is drawn, not the parts: a fleet of some size takes hundreds of draws else.
seeds = st.integers(0, 2**48)
small = seeds.map(lambda seed: fleet(seed, 5, 3, 3))
middling = seeds.map(lambda seed: fleet(seed, 14, 4, 4, kinds=6))
large = seeds.map(lambda seed: fleet(seed, 60, 6, 5, kinds=8))
fleets = small | middling | large


def served(host: Seeker, pool: Sequence[Pooled]) -> bool:
    return host.holds in host.needs and host.holds in {key.id for key in pool}


def used(hosts: Sequence[Seeker]) -> dict[str, int]:
    found: dict[str, int] = {}
    for host in hosts:
        if host.holds is not None:
            found[host.holds] = found.get(host.holds, 0) + host.units
    return found


def applied(hosts: Sequence[Seeker], keys: Mapping[str, str]) -> list[Seeker]:
    return [replace(host, holds=keys[host.id], units=host.needs[keys[host.id]]) if host.id in keys else host for host in hosts]


def count(hosts: Sequence[Seeker], pool: Sequence[Pooled]) -> int:
    return sum(served(host, pool) for host in hosts)


def moves(hosts: Sequence[Seeker], pool: Sequence[Pooled], keys: Mapping[str, str]) -> int:
    return sum(served(host, pool) for host in hosts if host.id in keys)


def executed(hosts: Sequence[Seeker], pool: Sequence[Pooled], plan: Assignment, roll: random.Random) -> None:
    """Writes begin and end in any order that ``after`` lets; a host that is being written takes of both keys."""
    limit = {key.id: key.free for key in pool}
    by_name = {host.id: host for host in hosts}
    taken = used(hosts)
    awaited = {name: set(plan.after.get(name, ())) for name in plan.keys}
    behind: dict[str, list[str]] = {}
    for name, others in awaited.items():
        for other in others:
            behind.setdefault(other, []).append(name)
    ready = sorted(name for name, others in awaited.items() if not others)
    running: list[str] = []
    ended = 0
    eager = roll.choice((0.1, 0.5, 0.95))
    while ready or running:
        if ready and (not running or roll.random() < eager):
            name = ready.pop(roll.randrange(len(ready)))
            running.append(name)
            key = plan.keys[name]
            taken[key] = taken.get(key, 0) + by_name[name].needs[key]
            free = limit[key]
            assert free is None or taken[key] <= free, f"{name} begins with {key}"
        else:
            name = running.pop(roll.randrange(len(running)))
            ended += 1
            given_up = by_name[name].holds
            if given_up is not None:
                taken[given_up] -= by_name[name].units
            for other in behind.get(name, ()):
                awaited[other].remove(name)
                if not awaited[other]:
                    ready.append(other)
    assert ended == len(plan.keys), "nobody can go on"


# ---- promises ----------------------------------------------------------------------------------------------------------


@LONG
@given(fleets, st.integers(0, 2**20))
def test_no_key_is_overdrawn_at_any_moment_whatever_runs_at_the_same_time(world: Fleet, seed: int) -> None:
    hosts, pool = world
    plan = assign(hosts, pool)
    for turn in range(3):
        executed(hosts, pool, plan, random.Random(seed + turn))


@LONG
@given(fleets)
def test_nobody_who_is_served_loses_that_and_only_changes_to_keys_that_fit_are_made(world: Fleet) -> None:
    hosts, pool = world
    plan = assign(hosts, pool)
    after = {host.id: host for host in applied(hosts, plan.keys)}
    for host in hosts:
        assert served(after[host.id], pool) or not served(host, pool)
        if host.id in plan.keys:
            assert plan.keys[host.id] != host.holds and served(after[host.id], pool)
    assert plan.keys.keys() <= after.keys() and set(plan.after) <= set(plan.keys)
    assert all(waits and set(waits) <= set(plan.keys) for waits in plan.after.values())
    if plan.keys:
        assert count(list(after.values()), pool) > count(hosts, pool), "nobody moves for nothing"


@LONG
@given(fleets)
def test_who_is_not_served_is_told_why(world: Fleet) -> None:
    hosts, pool = world
    plan = assign(hosts, pool)
    after = applied(hosts, plan.keys)
    taken = used(after)
    assert set(plan.lacking) == {host.id for host in after if not served(host, pool)}
    for host in after:
        if host.id not in plan.lacking:
            continue
        left = {key.id: key.free - taken.get(key.id, 0) for key in pool if key.id in host.needs and key.free is not None}
        lack = plan.lacking[host.id]
        if lack.key is None:
            assert not left and lack == Lack(None, 0, 0) and not any(key.id in host.needs for key in pool)
        else:
            assert (lack.needed, lack.left) == (host.needs[lack.key], left[lack.key]) and lack.needed > lack.left
            assert lack.needed - lack.left == min(host.needs[key] - each for key, each in left.items())


@LONG
@given(fleets, st.integers(0, 2**20))
def test_the_order_of_hosts_keys_and_needs_does_not_matter(world: Fleet, seed: int) -> None:
    hosts, pool = world
    roll = random.Random(seed)
    plan = assign(hosts, pool)
    other = [replace(host, needs=dict(roll.sample(list(host.needs.items()), len(host.needs)))) for host in hosts]
    again = assign(iter(roll.sample(other, len(other))), iter(roll.sample(pool, len(pool))))
    assert again == plan and list(again.keys) == list(plan.keys)


@LONG
@given(fleets)
def test_a_second_plan_over_the_first_is_empty_unless_somebody_has_to_be_written_twice(world: Fleet) -> None:
    hosts, pool = world
    plan = assign(hosts, pool)
    after = applied(hosts, plan.keys)
    again = assign(after, pool)
    if again.keys:
        assert set(again.keys) & set(plan.keys)
        assert count(applied(after, again.keys), pool) > count(after, pool)


def test_a_second_plan_is_hardly_ever_needed() -> None:
    needed = 0
    for seed in range(1_000):
        for hosts, pool in (fleet(seed, 5, 3, 3), fleet(seed, 14, 4, 4, kinds=6), fleet(seed, 60, 6, 5, kinds=8)):
            needed += bool(assign(applied(hosts, assign(hosts, pool).keys), pool).keys)
    assert needed <= 2, needed


def test_a_host_that_would_have_to_be_written_twice_takes_a_second_run() -> None:
    """The limit of the promise above: x and y swap by way of C, which w then takes."""
    pool = [Pooled(id="A", free=2), Pooled(id="B", free=2), Pooled(id="C", free=1)]
    hosts = [
        Seeker(id="w", needs={"C": 1}),
        Seeker(id="x", needs={"A": 1, "B": 2, "C": 1}, holds="B", units=2),
        Seeker(id="y", needs={"A": 2, "B": 1}, holds="A", units=2),
        Seeker(id="z1", needs={"A": 1}),
        Seeker(id="z2", needs={"B": 1}),
    ]
    runs = [count(hosts, pool)]
    for _run in range(4):
        hosts = applied(hosts, assign(hosts, pool).keys)
        runs.append(count(hosts, pool))
    assert runs == [2, 4, 5, 5, 5]


# ---- as good as can be ---------------------------------------------------------------------------------------------------


def brute(hosts: Sequence[Seeker], pool: Sequence[Pooled]) -> tuple[int, int, int]:
    """Served, moves, ranks of the newly served: the best of all ends that some order of single writes leads to."""
    limit = {key.id: key.free for key in pool}
    rank = {key.id: key.rank for key in pool}
    start: tuple[str | None, ...] = (None,) * len(hosts)
    seen, front = {start}, [start]
    best = (count(hosts, pool), 0, 0)
    while front:
        state = front.pop()
        now = applied(hosts, {host.id: key for host, key in zip(hosts, state, strict=True) if key})
        fresh = [key for host, key in zip(hosts, state, strict=True) if key and not served(host, pool)]
        worth = (count(now, pool), -sum(key is not None for key in state) + len(fresh), -sum(rank[key] for key in fresh))
        best = max(best, worth)
        taken = used(now)
        for at, host in enumerate(hosts):
            for key in () if state[at] else host.needs:
                if key == host.holds or key not in limit:
                    continue
                most = limit[key]
                if most is None or taken.get(key, 0) + host.needs[key] <= most:
                    onward = (*state[:at], key, *state[at + 1 :])
                    if onward not in seen:
                        seen.add(onward)
                        front.append(onward)
    return best


def worth(hosts: Sequence[Seeker], pool: Sequence[Pooled], keys: Mapping[str, str]) -> tuple[int, int, int]:
    rank = {key.id: key.rank for key in pool}
    fresh = sum(rank[keys[host.id]] for host in hosts if host.id in keys and not served(host, pool))
    return count(applied(hosts, keys), pool), -moves(hosts, pool, keys), -fresh


@LONG
@given(small)
def test_a_small_fleet_is_served_as_well_as_any_order_of_writes_can(world: Fleet) -> None:
    hosts, pool = world
    assert worth(hosts, pool, assign(hosts, pool).keys) == brute(hosts, pool)


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(license_pool, "COMPLETE", 0)


def test_what_fills_a_large_fleet_is_seldom_worse_on_small_ones(greedy: None) -> None:
    """Of 1,500 small fleets, made to be hard; it promises no more, but must not get worse unnoticed."""
    missed = more = 0
    for seed in range(1_500):
        hosts, pool = fleet(seed, 5, 3, 3)
        plan = assign(hosts, pool)
        executed(hosts, pool, plan, random.Random(seed))
        best, found = brute(hosts, pool), worth(hosts, pool, plan.keys)
        assert found[:2] <= best[:2]
        missed += found[0] < best[0]
        more += found[0] == best[0] and found[1] < best[1]
    assert missed <= 10 and more <= 3, (missed, more)


def test_the_preferred_key_then_the_tightest() -> None:
    pool = [Pooled(id="A", free=9, rank=1), Pooled(id="B", free=8), Pooled(id="C", free=4), Pooled(id="D", free=None)]
    assert assign([Seeker(id="h", needs={"A": 2, "B": 2, "C": 2, "D": 2})], pool).keys == {"h": "C"}


def test_a_swap_without_room_is_not_tried() -> None:
    pool = [Pooled(id="A", free=2), Pooled(id="B", free=2)]
    hosts = [
        Seeker(id="x", needs={"A": 1, "B": 2}, holds="B", units=2),
        Seeker(id="y", needs={"A": 2, "B": 1}, holds="A", units=2),
        Seeker(id="z", needs={"A": 1}),
    ]
    plan = assign(hosts, pool)
    assert (plan.keys, plan.after, plan.lacking) == ({}, {}, {"z": Lack("A", 1, 0)})


def test_who_makes_room_goes_first() -> None:
    pool = [Pooled(id="A", free=1), Pooled(id="B", free=1), Pooled(id="C", free=1)]
    hosts = [
        Seeker(id="new", needs={"A": 1}),
        Seeker(id="one", needs={"A": 1, "B": 1}, holds="A", units=1),
        Seeker(id="two", needs={"B": 1, "C": 1}, holds="B", units=1),
    ]
    plan = assign(hosts, pool)
    assert plan.keys == {"new": "A", "one": "B", "two": "C"} and plan.after == {"new": ("one",), "one": ("two",)}


def test_a_key_that_is_used_beyond_its_limit_takes_nobody_until_it_is_within() -> None:
    pool = [Pooled(id="A", free=2), Pooled(id="B", free=None)]
    leavers = [Seeker(id=name, needs={"B": 1}, holds="A", units=1) for name in "pqrs"]
    plan = assign([Seeker(id="new", needs={"A": 1}), *leavers], pool)
    assert plan.keys == {**dict.fromkeys("pqrs", "B"), "new": "A"}
    assert len(plan.after["new"]) == 3
    stays = Seeker(id="stays", needs={"A": 1}, holds="A", units=5)
    assert assign([Seeker(id="new", needs={"A": 1}), stays], pool).lacking == {"new": Lack("A", 1, -3)}


def test_nothing_comes_of_nothing() -> None:
    assert assign([], []) == assign([], [Pooled(id="A", free=3)]) == Assignment({}, {}, {})
    assert assign([Seeker(id="h", needs={"A": 1}, holds="A", units=1)], []).lacking == {"h": Lack(None, 0, 0)}
    assert assign([Seeker(id="h", needs={"A": 0})], [Pooled(id="A", free=0)]).lacking == {"h": Lack("A", 1, 0)}, "a host takes something"


def test_a_large_fleet_fills_the_preferred_keys_first() -> None:
    pool = [Pooled(id=f"K{at}", free=100, rank=-at) for at in range(5)]
    hosts = [Seeker(id=f"h{at:03}", needs={f"K{key}": 1 + at % 2 for key in range(5)}) for at in range(200)]
    chosen = assign(hosts, pool).keys
    assert {key: list(chosen.values()).count(key) for key in sorted(set(chosen.values()))} == {"K2": 50, "K3": 50, "K4": 100}


# ---- large fleets --------------------------------------------------------------------------------------------------------


KEYS = [f"K{at:03}" for at in range(200)]


def crowd(hosts: int, kinds: int, share: float, *, fit: float = 0.3, holding: float = 0.0, units: int = 4) -> Fleet:
    """Hosts of some kinds, and a pool that is good for a share of what they need. Some hold a key, as many as have room there."""
    roll = random.Random(1)
    patterns = []
    for _kind in range(kinds):
        size = roll.randint(1, units)
        patterns.append({key: size for key in KEYS if roll.random() < fit} or {KEYS[0]: size})
    chosen = [patterns[at % kinds] for at in range(hosts)]
    total = int(share * sum(next(iter(needs.values())) for needs in chosen))
    limit = {key: total // len(KEYS) + (at < total % len(KEYS)) for at, key in enumerate(KEYS)}
    taken = dict.fromkeys(KEYS, 0)
    made = []
    for at, needs in enumerate(chosen):
        room = [key for key, need in needs.items() if taken[key] + need <= limit[key]] if at < hosts * holding else []
        key = roll.choice(room) if room else None
        if key:
            taken[key] += needs[key]
        made.append(Seeker(id=f"h{at:04}", needs=needs, holds=key, units=needs[key] if key else 0))
    return made, [Pooled(id=key, free=limit[key], rank=at % 3) for at, key in enumerate(KEYS)]


def picky(hosts: int) -> Fleet:
    """Half hold what the other half needs, and could go elsewhere: every one of them has to move."""
    ends = [dict.fromkeys(KEYS[:100], 2), dict.fromkeys(KEYS, 2)]
    share = hosts // 200
    made = [Seeker(id=f"h{at:04}", needs=ends[1], holds=KEYS[at % 100], units=2) for at in range(hosts // 2)]
    made += [Seeker(id=f"n{at:04}", needs=ends[0]) for at in range(hosts - hosts // 2)]
    return made, [Pooled(id=key, free=2 * share) for key in KEYS]


def splinters() -> Fleet:
    """A unit is left of every key, and nobody is small enough: somebody has to move for everyone who is served."""
    one, two = dict.fromkeys(KEYS, 1), dict.fromkeys(KEYS, 2)
    made = [Seeker(id=f"a{at:04}", needs=one, holds=KEYS[at % 200], units=1) for at in range(2_500)]
    made += [Seeker(id=f"b{at:04}", needs=two) for at in range(2_500)]
    taken = used(made)
    return made, [Pooled(id=key, free=taken[key] + 1) for key in KEYS]


CROWDS: dict[str, tuple[Callable[[], Fleet], int]] = {
    "ample": (lambda: crowd(5_000, 50, 1.2), 5_000),
    "tight": (lambda: crowd(5_000, 50, 1.0), 4_950),
    "too_small": (lambda: crowd(5_000, 50, 0.5), 3_000),
    "half_held": (lambda: crowd(5_000, 60, 1.0, holding=0.5), 4_900),
    "held_and_too_small": (lambda: crowd(5_000, 60, 0.6, holding=0.6, fit=0.1), 2_500),
    "all_move": (lambda: picky(5_000), 5_000),
    "splinters": (splinters, 2_600),
    "all_different": (lambda: crowd(5_000, 5_000, 1.0), 4_950),
    "all_different_and_too_small": (lambda: crowd(5_000, 5_000, 0.6, holding=0.6), 2_500),
}


@pytest.mark.parametrize("name", CROWDS)
def test_five_thousand_hosts_and_two_hundred_keys_take_no_time(name: str) -> None:
    make, least = CROWDS[name]
    hosts, pool = make()
    start = time.process_time()
    plan = assign(hosts, pool)
    spent = time.process_time() - start
    assert spent < 2
    assert count(applied(hosts, plan.keys), pool) >= least
    executed(hosts, pool, plan, random.Random(1))
    assert assign(applied(hosts, plan.keys), pool).keys == {}

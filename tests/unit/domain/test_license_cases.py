# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which key, and what is said, where servers tell odd things: pure values in, plans out."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import license as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_key import LicenseKey
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_model import Host, Inventory, License, User, generation_of

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc)


def key(number: int) -> LicenseKey:
    return LicenseKey(f"FAKE0-MARK1-MARK2-MARK3-{number:05d}")


def licence(number: int, **more: Any) -> License:
    facts: dict[str, Any] = {
        "name": f"Key {number}",
        "edition": "esx.x",
        "product": "VMware ESX Server",
        "version": "8.0",
        "unit": "cpuPackage",
    }
    return License(key=key(number), **{**facts, "total": 4, **more})


def host(number: int, held: License | None = None, **more: Any) -> Host:
    facts: dict[str, Any] = {"version": "8.0.3", "generation": "8", "packages": 2, "cores": 32}
    return Host(moid=f"host-{number}", name=f"esx-{number}", license=held, **{**facts, **more})


def seen(hosts: Iterable[Host], *known: License, wish: dict[str, Any], visible: bool = True) -> tuple[domain.Survey, domain.Wanted]:
    hosts = list(hosts)
    wanted = domain.parse(wish)
    users = tuple(User(entity=each.moid, name=each.name, key=each.key) for each in hosts if each.key) if visible else ()
    inventory = Inventory(licenses={each.key: each for each in known}, decoded={}, undecoded={}, users=users, now=NOW)
    return domain.survey(hosts, {"inventory": inventory, "selected": [each.moid for each in hosts]}, wanted), wanted


def goals(survey: domain.Survey) -> dict[str, str]:
    return {moid: known.key.text[-1] for moid, known in survey.goals.items()}


ASSIGN = {"license_key": key(1).text, "state": "assigned"}


def test_hosts_without_a_licence_come_before_those_that_have_a_good_one() -> None:
    """host-1 runs on a good key that is not of the pool; the pool is enough for one."""
    other = licence(2, total=0)
    survey, _wanted = seen([host(1, other), host(2)], licence(1, total=2), other, wish=ASSIGN)
    assert goals(survey) == {"host-2": "1"}
    survey, _wanted = seen([host(1, other), host(2)], licence(1, total=4), other, wish=ASSIGN)
    assert goals(survey) == {"host-1": "1", "host-2": "1"}


@pytest.mark.parametrize("spoilt", [{"version": "7.0"}, {"expires": NOW - datetime.timedelta(days=1)}], ids=str)
def test_a_licence_that_is_not_good_is_none(spoilt: dict[str, Any]) -> None:
    other = licence(2, total=0, **spoilt)
    survey, _wanted = seen([host(1, licence(3, total=0)), host(2, other)], licence(1, total=2), other, licence(3, total=0), wish=ASSIGN)
    assert goals(survey) == {"host-2": "1"}


def test_who_takes_the_place_of_another_waits_for_it() -> None:
    """host-9 can go to key 2, so that host-5, which uses what only key 1 has, may have its place."""
    narrow, two = licence(1, total=2, features=frozenset({"a", "b"})), licence(2, total=2, features=frozenset({"a"}))
    wish = {"license_keys": [key(1).text, key(2).text], "state": "assigned"}
    survey, _wanted = seen([host(9, narrow), host(5, in_use=frozenset({"b"}))], narrow, two, wish=wish)
    assert goals(survey) == {"host-9": "2", "host-5": "1"} and survey.after == {"host-5": ("host-9",)}


def test_who_has_a_good_one_waits_for_those_that_leave_the_pool_key() -> None:
    """host-9 was upgraded and leaves key 1; host-1 runs on a good key that is not of the pool."""
    seven, eight, other = licence(1, total=2, version="7.0"), licence(2, total=2), licence(3, total=0, version="7.0")
    wish = {"license_keys": [key(1).text, key(2).text], "state": "assigned"}
    survey, _wanted = seen([host(9, seven), host(1, other, generation="7", version="7.0.3")], seven, eight, other, wish=wish)
    assert goals(survey) == {"host-9": "2", "host-1": "1"} and survey.after == {"host-1": ("host-9",)}


@pytest.mark.parametrize("used", [None, 0, -4, 4])
def test_a_count_that_is_missing_or_stale_gives_no_units_away(used: int | None) -> None:
    mine = licence(1, total=4, used=used)
    survey, _wanted = seen([host(1, mine), host(2, mine), host(3), host(4)], mine, wish=ASSIGN)
    assert goals(survey) == {} and set(survey.reasons) == {"host-3", "host-4"}


def test_of_an_over_used_key_the_last_go_elsewhere() -> None:
    crowded, roomy = licence(1, total=2, used=4), licence(2, total=0)
    wish = {"license_keys": [key(1).text, key(2).text], "state": "assigned"}
    survey, wanted = seen([host(1, crowded), host(2, crowded)], crowded, roomy, wish=wish)
    assert goals(survey) == {"host-2": "2"}
    (finding,) = domain.plan(host(1, crowded), wanted, survey).findings
    assert finding.code == "key_over_used"


def test_units_of_somebody_unseen_keep_a_key() -> None:
    survey, wanted = seen([], licence(1, used=2), wish={"license_key": key(1).text, "state": "absent"}, visible=False)
    plan = domain.endpoint_plan(survey, wanted)
    assert plan.changes == () and [(finding.code, finding.level) for finding in plan.findings] == [("key_in_use", "error")]


def test_a_host_that_does_not_tell_its_generation_is_judged_by_its_version() -> None:
    assert [generation_of(text) for text in ("8.0", "ESXi 8", "10.1", "", "none")] == ["8", "8", "10", "", ""]
    survey, _wanted = seen([host(1)], licence(1, version="ESXi 7"), wish=ASSIGN)
    assert survey.reasons["host-1"].code == "key_wrong_generation"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"name": "vSphere Subscription", "minutes_left": 30.0}, "key_is_lease"),
        ({"name": "VMware vSphere Foundation 8", "minutes_left": 90.0}, "key_is_lease"),
        ({"name": "vSphere Subscription", "minutes_left": 30.0, "expires": NOW + datetime.timedelta(days=3)}, "key_expires_soon"),
        ({"name": "vSphere", "minutes_left": 90.0}, "key_expires_soon"),
        ({"name": "vSphere"}, None),
    ],
)
def test_what_is_an_expiry(told: dict[str, Any], code: str | None) -> None:
    mine = licence(1, **told)
    survey, wanted = seen([host(1, mine)], mine, wish={})
    assert [finding.code for finding in domain.plan(host(1, mine), wanted, survey).findings] == ([code] if code else [])


def test_hosts_without_processors_are_planned_like_others() -> None:
    survey, _wanted = seen([host(1, packages=0, cores=0)], licence(1), wish=ASSIGN)
    assert goals(survey) == {"host-1": "1"}

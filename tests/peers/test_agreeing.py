# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What community.vmware and vmware.vmware set, our modules find right, and the reverse; where they differ, the tests say how."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.bench.measure import Server
from tests.peers.clients import Told, tell
from tests.peers.conftest import Servers

PLAIN = ["ntp1.example.com", "ntp2.example.com"]
LISTS = {
    "plain": ["ntp2.example.com", "192.0.2.99", "ntp1.example.com"],
    "options": ["ntp1.example.com iburst", "ntp2.example.com minpoll 4 maxpoll 10"],
    "case": ["NTP1.Example.com", "ntp2.EXAMPLE.COM"],
    "case-and-options": ["NTP2.Example.com iburst", "2001:DB8::1 prefer", "ntp1.example.com"],
}
each_list = pytest.mark.parametrize("servers", LISTS.values(), ids=LISTS)
Task = dict[str, Any]


def theirs(servers: list[str], place: Task, *, check: bool = False, **options: Any) -> Task:
    return {"community.vmware.vmware_host_ntp": {"ntp_servers": servers, **place, **options}, "check_mode": check}


def service(place: Task, state: str, policy: str | None = None, *, check: bool = False) -> Task:
    options = {"service_name": "ntpd", "state": state, **place, **({"service_policy": policy} if policy else {})}
    return {"community.vmware.vmware_host_service_manager": options, "check_mode": check}


def ours(place: Task, *, check: bool = False, **options: Any) -> Task:
    return {"fleetcare.esxi.esxi_ntp_align": {"session": "single", **place, **options}, "check_mode": check}


def hosts(server: Server, names: Iterable[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = server.control("/state")["hosts"]
    return found if names is None else {name: found[name] for name in names}


def settings(server: Server) -> dict[str, Any]:
    """All that a write could change, without what moves by itself."""
    kept = ("time", "services", "rulesets", "default_policy", "advanced")
    return {name: {key: host[key] for key in kept} for name, host in hosts(server).items()}


def assert_content(told: Told, names: Iterable[str]) -> None:
    assert told.statuses == dict.fromkeys(names, "compliant")
    assert not told.changed and not told.writes


# ---- servers --------------------------------------------------------------------------------------------------------


def test_every_generation_that_they_set_we_find_right(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("drifting")
    clusters = ("Modern", "Older")
    gone = "esx-14.example.com"
    place = {"cluster_name": list(clusters), "exclude": [gone]}
    wanted = LISTS["plain"]
    *set_by_them, checked, run = tell(
        tmp_path,
        server,
        *(theirs(wanted, {"cluster_name": cluster}) for cluster in clusters),
        ours(place, check=True, ntp_servers=wanted),
        ours(place, ntp_servers=wanted),
    )
    said = {name: row for one in set_by_them for name, row in one.result["host_ntp_status"].items()}
    assert said.pop(gone)["msg"] == f"Host {gone} is disconnected and cannot be changed."
    assert len(said) == 12 and all(row["changed"] for row in said.values())
    assert {call for one in set_by_them for call in one.writes} == {(name, "UpdateDateTimeConfig") for name in said}
    assert_content(checked, said)
    assert_content(run, said)
    assert all(host["time"]["servers"] == wanted for host in hosts(server, said).values())


@each_list
def test_what_they_set_we_find_right(serve: Servers, tmp_path: pathlib.Path, servers: list[str]) -> None:
    server = serve.fresh("fleet", hosts="9")
    place = {"cluster_name": "Compute-A"}
    first, run = tell(tmp_path, server, theirs(servers, place), ours(place, ntp_servers=servers))
    names = first.result["host_ntp_status"]
    assert first.changed and len(names) == 3
    assert_content(run, names)
    assert all(host["time"]["servers"] == servers for host in hosts(server, names).values())


@each_list
def test_what_we_set_they_find_right(serve: Servers, tmp_path: pathlib.Path, servers: list[str]) -> None:
    """On hosts without servers and on one with another."""
    server = serve.fresh("fleet", hosts="9")
    server.control("/act", {"host": "esx-0009*", "do": "set_servers", "servers": ["198.51.100.7"]})
    place = {"cluster_name": "Storage"}
    run, agreed = tell(tmp_path, server, ours(place, ntp_servers=servers), theirs(servers, place))
    names = run.statuses
    assert len(names) == 3 and set(names.values()) == {"changed"}
    assert sorted(run.writes) == [(name, "UpdateDateTimeConfig") for name in sorted(names)]
    assert set(agreed.result["host_ntp_status"]) == set(names)
    assert not agreed.changed and not agreed.writes
    assert all(host["time"]["servers"] == servers for host in hosts(server, names).values())


def test_adding_and_removing(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("fleet", hosts="9")
    place = {"cluster_name": "Compute-B"}
    more, less = ["192.0.2.77 iburst"], ["ntp1.example.com"]
    added, agreed, removed, agreed_too, back, last = tell(
        tmp_path,
        server,
        theirs(more, place, state="present"),
        ours(place, ntp_servers=more, ntp_servers_state="present"),
        ours(place, ntp_servers=less, ntp_servers_state="absent"),
        theirs(less, place, state="absent"),
        ours(place, ntp_servers=less, ntp_servers_state="present"),
        theirs(less, place, state="present"),
    )
    names = added.result["host_ntp_status"]
    assert all(row["ntp_servers_current"] == [*PLAIN, *more] for row in names.values())
    assert_content(agreed, names)
    assert set(removed.statuses.values()) == {"changed"} and len(removed.writes) == len(names)
    assert all(row["ntp_servers_current"] == ["ntp2.example.com", *more] for row in agreed_too.result["host_ntp_status"].values())
    assert not agreed_too.changed and set(back.statuses.values()) == {"changed"} and not last.changed
    assert all(host["time"]["servers"] == ["ntp2.example.com", *more, *less] for host in hosts(server, names).values())


def test_where_we_differ(serve: Servers, tmp_path: pathlib.Path) -> None:
    """They compare whole entries. We compare names, so options and spelling that a host has for a server stay."""
    server = serve.fresh("fleet", hosts="9")
    kept = {"esx-0001.example.com": ["ntp1.example.com iburst", "ntp2.example.com"], "esx-0002.example.com": ["NTP1.example.com", PLAIN[1]]}
    for name, entries in kept.items():
        server.control("/act", {"host": name, "do": "set_servers", "servers": entries})
    before = settings(server)
    place = {"cluster_name": "Compute-A"}
    run, checked = tell(tmp_path, server, ours(place, ntp_servers=PLAIN), theirs(PLAIN, place, check=True))
    assert_content(run, run.statuses)
    assert {name for name, row in checked.result["host_ntp_status"].items() if row["changed"]} == set(kept)
    assert not checked.writes and settings(server) == before


# ---- the service ----------------------------------------------------------------------------------------------------

GENERATIONS = [{"cluster_name": "Modern"}, {"cluster_name": "Older"}]
BOTH = {"cluster_name": ["Modern", "Older"]}
OLDEST = "esx-12.example.com"  # 6.7: nobody but an administrator opens ntpClient there
each_state = pytest.mark.parametrize(("state", "our_state", "policy"), [("start", "started", "on"), ("stop", "stopped", "off")])


@pytest.fixture
def generations(serve: Servers) -> Server:
    """Hosts of all generations, the broken ones mended as far as no service module could, the services different."""
    server = serve.fresh("drifting")
    for host, action in (
        ("esx-14*", {"do": "connect"}),
        ("esx-03*", {"do": "set_servers", "servers": PLAIN}),
        ("esx-10*", {"do": "set_clock", "offset": 0.2}),
        ("esx-10*", {"do": "start_service", "key": "ntpd"}),
        ("esx-01*", {"do": "set_policy", "key": "ntpd", "policy": "automatic"}),
    ):
        assert server.control("/act", {"host": host, **action}) == {"hosts": 1}
    return server


def assert_services(server: Server, names: Iterable[str], state: str, policy: str) -> None:
    found = hosts(server, names)
    assert len(found) == 13
    for name, host in found.items():
        assert host["services"]["ntpd"] == {"running": state == "start", "policy": policy}, name
        if host["profile"] != "6.7":
            assert host["time"]["enabled"] == (state == "start"), name


@each_state
def test_services_that_they_set_we_find_right(generations: Server, tmp_path: pathlib.Path, state: str, our_state: str, policy: str) -> None:
    *first, run = tell(
        tmp_path,
        generations,
        *(service(place, state, policy) for place in GENERATIONS),
        ours(BOTH, service_state=our_state, service_policy=policy),
    )
    said = {name: row for one in first for name, row in one.result["host_service_status"].items()}
    assert all(one.changed for one in first) and not any(row["error"] for row in said.values())
    expected = dict.fromkeys(said, "compliant")
    if state == "start":
        # They start ntpd on the oldest and leave its firewall closed to the answers.
        assert run.writes == [(OLDEST, "EnableRuleset")]
        assert run.statuses == {**expected, OLDEST: "changed"}
    else:
        assert_content(run, expected)
    assert_services(generations, said, state, policy)


@each_state
def test_services_that_we_set_they_find_right(generations: Server, tmp_path: pathlib.Path, state: str, our_state: str, policy: str) -> None:
    run, *told, one_host = tell(
        tmp_path,
        generations,
        ours(BOTH, service_state=our_state, service_policy=policy),
        *(service(place, state, policy) for place in GENERATIONS),
        {
            "vmware.vmware.esxi_service": {
                "esxi_host_name": "esx-05.example.com",
                "service_name": "ntpd",
                "state": our_state,
                "service_policy": policy,
            }
        },
    )
    assert set(run.statuses.values()) <= {"changed", "compliant"} and run.changed and run.writes
    for one in told:
        assert not one.changed and not one.writes
        assert not any(row["error"] for row in one.result["host_service_status"].values())
    assert not one_host.changed and not one_host.writes
    assert_services(generations, run.statuses, state, policy)


# ---- one host -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "missing"), [("standalone", []), ("standalone67", ["EnableRuleset"])])
def test_a_host_without_a_vcenter(serve: Servers, tmp_path: pathlib.Path, scenario: str, missing: list[str]) -> None:
    server = serve.fresh(scenario)
    (name,) = hosts(server)
    place = {"esxi_hostname": name}
    wish: dict[str, Any] = {"ntp_servers": LISTS["options"], "service_state": "started", "service_policy": "on"}
    set_by_them, started, run, again = tell(
        tmp_path,
        server,
        theirs(LISTS["options"], place),
        service(place, "start", "on"),
        ours({}, **wish),
        ours({}, **wish),
    )
    assert set_by_them.writes == [(name, "UpdateDateTimeConfig")]
    assert started.writes == [(name, "StartService"), (name, "UpdateServicePolicy")]
    assert [method for _host, method in run.writes] == missing
    assert_content(again, [name])


def test_sessions_are_kept_apart_and_ended(serve: Servers, tmp_path: pathlib.Path) -> None:
    """Ours keeps one for its next task, as documented; theirs make one each; after the last there is none."""
    server = serve.fresh("fleet", hosts="9")
    everything = {"esxi_hostname": "*"}
    tasks: list[Task] = [{"fleetcare.esxi.esxi_ntp_info": {**everything, "session": session}} for session in ("keep", "keep", "end")]
    tasks.insert(1, {"community.vmware.vmware_about_info": {}})
    first, between, second, last = tell(tmp_path, server, *tasks)
    used = [{call["session"] for call in told.calls if call["session"]} for told in (first, between, second, last)]
    assert used[0] == used[2] == used[3] != used[1] and all(len(one) == 1 for one in used)
    assert [sum(call["method"] == "Login" for call in told.calls) for told in (first, between, second, last)] == [1, 1, 0, 0]
    assert [sum(call["method"] == "Logout" for call in told.calls) for told in (first, between, second, last)] == [0, 1, 0, 1]

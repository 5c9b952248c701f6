# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_reachable and waves where something goes wrong in between: deadlines, lost answers, late writes, other people."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.driver import run
from tests.simulator import Simulator

Start = Callable[..., Simulator]
US, VCENTER, HOST = "198.51.100.7", "192.0.2.2", "esx-001.example.com"
CUT: dict[str, Any] = {"rules": [{"name": "vSphereClient", "allowed_hosts": {"ip_address": ["203.0.113.99"]}}], "allow_lockout": True}


def site(**host: Any) -> dict[str, Any]:
    return {
        "client_address": US,
        "vcenter": {"address": VCENTER},
        "hosts": [{"profile": "8.0.3", "name": "esx-{n:03d}.example.com", **host}],
    }


def ours(sim: Simulator, **options: Any) -> dict[str, Any]:
    return run(sim, "esxi_firewall_ports", esxi_hostname=["*"], **options)


def connections(sim: Simulator) -> set[str]:
    sim.advance(90)
    return {host["connection"] for host in sim.state()["hosts"].values()}


def failure(result: dict[str, Any], host: str = HOST) -> dict[str, Any]:
    found: dict[str, Any] = result["hosts"][host]["failure"]
    return found


def test_a_deadline_while_hosts_are_watched_is_no_success(simulator: Start) -> None:
    """The heartbeats are blocked, and 60 s have to pass until that shows."""
    sim = simulator(site(profile="7.0.3"))
    sim.fault(method="DisableRuleset", delay=0.5)
    wish = {"rules": [{"name": "vpxHeartbeats", "enabled": False}], "allow_lockout": True}
    result = ours(sim, deadline=1.4, verify_reachable=1.3, **wish)
    assert result["hosts"][HOST]["status"] == "failed" and result["hosts"][HOST]["changed"]
    assert failure(result)["kind"] == "unverified" and "deadline" in failure(result)["cause"]


def test_a_deadline_during_the_write_leaves_time_for_a_look_and_the_way_back(simulator: Start) -> None:
    sim = simulator(site())
    sim.fault(method="UpdateRuleset", delay=1.3)
    result = ours(sim, deadline=1, verify_reachable=0.5, **CUT)
    assert failure(result)["kind"] == "cut_off" and not result["hosts"][HOST]["changed"]
    assert connections(sim) == {"connected"}


@pytest.mark.parametrize("parallel", [1, 16])
def test_many_lost_hosts_are_all_taken_back_although_the_deadline_passes(simulator: Start, parallel: int) -> None:
    sim = simulator(site(count=20))
    sim.fault(method="UpdateRuleset", after=20, count=None, delay=0.2)
    result = ours(sim, deadline=2, verify_reachable=1, parallel=parallel, **CUT)
    assert result["summary"] == {"failed": 20}, result["msg"]
    assert {failure(result, name)["kind"] for name in result["hosts"]} == {"cut_off"}
    assert connections(sim) == {"connected"}


def test_a_step_back_that_fails_keeps_no_other_from_being_made(simulator: Start) -> None:
    sim = simulator(site())
    for method in ("EnableRuleset", "DisableRuleset"):
        sim.fault(method=method, count=None, fault="HostConfigFault")
    result = ours(sim, verify_reachable=0.5, **{**CUT, "rules": [*CUT["rules"], {"name": "syslog", "enabled": True}]})
    assert failure(result)["kind"] == "cut_off" and "taken back and it is reachable again" in failure(result)["cause"]
    assert connections(sim) == {"connected"}


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_step_back_whose_answer_is_lost_is_judged_by_what_is_read_back(simulator: Start, drop: str) -> None:
    sim = simulator(site())
    sim.fault(method="UpdateRuleset", after=1, drop=drop)
    result = ours(sim, verify_reachable=0.5, **CUT)
    host = result["hosts"][HOST]
    assert not host["changed"] and host["changes"] == [] and "everything was taken back" in failure(result)["cause"]
    assert connections(sim) == {"connected"}


def test_a_write_that_takes_effect_late_is_watched_all_the_same(simulator: Start) -> None:
    sim = simulator(site())
    sim.fault(method="UpdateRuleset", delay=2)
    result = ours(sim, read_timeout=1, verify_reachable=0.5, **CUT)
    assert failure(result)["kind"] == "cut_off", result["msg"]
    assert connections(sim) == {"connected"}


def test_a_host_that_vcenter_could_not_reach_anew_before_is_not_judged_by_that(simulator: Start) -> None:
    """vCenter's name service may not know the host, which has nothing to do with its firewall."""
    sim = simulator(site())
    sim.fault(method="QueryConnectionInfo", count=None, fault="NoHost")
    result = ours(sim, rules=[{"name": "syslog", "enabled": True}], verify_reachable=0.3)
    assert result["summary"] == {"changed": 1}, result["msg"]


def test_a_later_wave_is_planned_from_what_its_hosts_have_by_then(simulator: Start) -> None:
    before = {"syslog": {"enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"]}}}
    sim = simulator(site(profile="7.0.3", count=2, rulesets=before))
    listed = {"key": "syslog", "enabled": True, "all_ip": False, "ip_address": ["192.0.2.10", "192.0.2.99"]}
    meanwhile = threading.Timer(0.4, lambda: sim.act(host="esx-002*", do="set_ruleset", **listed))
    meanwhile.start()
    more = {"rules": [{"name": "syslog", "allowed_hosts": {"ip_address": ["192.0.2.11"]}, "allowed_hosts_mode": "merge"}]}
    result = ours(sim, waves=["1", "100%"], verify_reachable=1, **more)
    meanwhile.join()
    assert result["summary"] == {"changed": 2}
    assert sim.state()["hosts"]["esx-002.example.com"]["rulesets"]["syslog"]["ip_address"] == ["192.0.2.10", "192.0.2.11", "192.0.2.99"]


def test_a_later_wave_is_guarded_by_what_its_hosts_have_to_hear_by_then(simulator: Start) -> None:
    sim = simulator(site(profile="7.0.3", count=2, services={"TSM-SSH": {"running": False, "policy": "off"}}))
    meanwhile = threading.Timer(0.4, lambda: sim.act(host="esx-002*", do="start_service", key="TSM-SSH"))
    meanwhile.start()
    shut = {"rules": [{"name": "sshServer", "allowed_hosts": {"ip_address": ["203.0.113.5"]}}]}
    result = ours(sim, waves=["1", "100%"], verify_reachable=1, **shut)
    meanwhile.join()
    assert result["summary"] == {"changed": 1, "failed": 1}
    assert "lockout_refused" in failure(result, "esx-002.example.com")["cause"]


def test_a_lost_answer_that_was_a_success_stops_no_wave(simulator: Start) -> None:
    sim = simulator(site(count=4))
    sim.fault(method="EnableRuleset", host="esx-001*", drop="after")
    result = ours(sim, rules=[{"name": "syslog", "enabled": True}], waves=["2", "100%"], max_failures=0, parallel=1)
    assert result["summary"] == {"changed": 4}, result["msg"]


def test_a_canary_that_was_refused_stops_the_run(simulator: Start) -> None:
    sim = simulator(site(count=3))
    shut = {"rules": [{"name": "vSphereClient", "allowed_hosts": {"ip_address": ["203.0.113.99"]}}, {"name": "syslog", "enabled": True}]}
    result = ours(sim, waves=["1", "100%"], **shut)
    assert result["summary"] == {"failed": 1, "skipped": 2}
    assert {entry.host for entry in sim.journal if entry.write} == {HOST}


@pytest.mark.parametrize("check", [True, False])
def test_hosts_that_no_wave_has_room_for_are_told_and_are_no_failure(simulator: Start, check: bool) -> None:
    sim = simulator(site(count=3))
    result = ours(sim, check=check, rules=[{"name": "syslog", "enabled": True}], waves=["1"])
    assert result["summary"] == {"would_change" if check else "changed": 1, "skipped": 2}
    assert failure(result, "esx-003.example.com")["kind"] == "held_back"
    assert list(result["diff"]["after"]) == [HOST]

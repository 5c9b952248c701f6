# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What esxi_ntp_align does on each generation: check, do, and again; judged by the simulator's own state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.driver import run
from tests.simulator import Simulator

PROFILES = ["6.7", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0"]
SERVERS = ["192.0.2.1", "192.0.2.2"]
WISH: dict[str, Any] = {"ntp_servers": SERVERS, "service_state": "started", "service_policy": "on"}
NAME = "esx-1.example.com"


def fleet(profile: str, **host: Any) -> dict[str, Any]:
    return {
        "name": "one",
        "kind": "vcenter",
        "sync_after": 0.5,
        "hosts": [{"count": 1, "name": "esx-{n}.example.com", "profile": profile, "cluster": "prod", **host}],
        "time_servers": {server: {"reachable": True} for server in SERVERS},
    }


def align(sim: Simulator, **options: Any) -> dict[str, Any]:
    result = run(sim, "esxi_ntp_align", esxi_hostname=["*"], **options)
    return {**result["hosts"][NAME], "hints": result["hints"]}


def methods(sim: Simulator) -> list[str]:
    return [entry.method for entry in sim.journal if entry.write]


def codes(host: dict[str, Any], status: str = "open") -> set[str]:
    return {finding["code"] for finding in host["findings"] if finding["status"] == status}


def truth(sim: Simulator) -> dict[str, Any]:
    state: dict[str, Any] = sim.state()["hosts"][NAME]
    return state


@pytest.mark.parametrize("profile", PROFILES)
def test_a_bare_host_is_set_right_in_one_run(simulator: Callable[..., Simulator], profile: str) -> None:
    sim = simulator(fleet(profile, time={"servers": [], "enabled": False}, services={"ntpd": {"running": False, "policy": "off"}}))
    checked = align(sim, check=True, **WISH)
    assert checked["status"] == "would_change" and methods(sim) == []
    done = align(sim, **WISH)
    assert (done["status"], done["changes"]) == ("changed", checked["changes"])
    assert truth(sim)["time"]["servers"] == SERVERS
    assert truth(sim)["services"]["ntpd"] == {"running": True, "policy": "on"}
    assert truth(sim)["rulesets"]["ntpClient"]["enabled"]
    written = methods(sim)
    if profile.startswith(("8.0.2", "8.0.3", "9")):
        assert "EnableRuleset" not in written, "from 8.0 Update 2 on the ruleset belongs to the daemon"
    assert align(sim, **WISH)["status"] == "compliant"
    assert methods(sim) == written


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("option", "value"),
    [("service_policy", "automatic"), ("ntp_servers", ["192.0.2.2"]), ("service_state", "stopped")],
)
def test_what_is_left_out_is_left_alone(simulator: Callable[..., Simulator], profile: str, option: str, value: Any) -> None:
    sim = simulator(fleet(profile, time={"servers": SERVERS}, services={"ntpd": {"running": True, "policy": "on"}}))
    before = truth(sim)
    assert align(sim, **{option: value})["status"] == "changed"
    after = truth(sim)
    assert (after["time"]["servers"] == before["time"]["servers"]) == (option != "ntp_servers")
    assert (after["services"]["ntpd"]["policy"] == "on") == (option != "service_policy")
    assert after["services"]["ntpd"]["running"] == (option != "service_state")
    assert align(sim, **{option: value})["status"] == "compliant"


def test_options_behind_a_server_survive(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("8.0.3", time={"servers": ["192.0.2.1 iburst minpoll 4", "198.51.100.1"]}))
    align(sim, ntp_servers=SERVERS)
    assert truth(sim)["time"]["servers"] == ["192.0.2.1 iburst minpoll 4", "192.0.2.2"]
    align(sim, ntp_servers=["198.51.100.9"], ntp_servers_state="present")
    assert truth(sim)["time"]["servers"] == ["192.0.2.1 iburst minpoll 4", "192.0.2.2", "198.51.100.9"]
    align(sim, ntp_servers=["192.0.2.2", "198.51.100.9"], ntp_servers_state="absent")
    assert truth(sim)["time"]["servers"] == ["192.0.2.1 iburst minpoll 4"]


def test_the_last_server_stays(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("8.0.3", time={"servers": ["192.0.2.1"]}))
    host = align(sim, ntp_servers=["192.0.2.1"], ntp_servers_state="absent")
    assert host["status"] == "failed" and "ntp_last_server" in codes(host)
    assert methods(sim) == [] and truth(sim)["time"]["servers"] == ["192.0.2.1"]


def test_below_703_ntpd_is_restarted_for_new_servers(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("6.7", time={"servers": ["198.51.100.1"]}, services={"ntpd": {"running": True, "policy": "on"}}))
    align(sim, ntp_servers=SERVERS)
    assert methods(sim) == ["StopService", "UpdateDateTimeConfig", "StartService"]


def test_ptp_with_fallback(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("8.0.3", time={"servers": SERVERS}))
    port = {"index": 0, "device_type": "virtualNic", "device": "vmk0", "dhcp": None, "ip_address": None, "subnet_mask": None}
    ptp = {"domain": 7, "ports": [port]}
    assert align(sim, protocol="ptp", ptp=ptp, ntp_fallback=True)["status"] == "changed"
    assert methods(sim) == ["UpdateDateTimeConfig"]
    assert truth(sim)["time"]["protocol"] == "ptp"
    assert align(sim, protocol="ptp", ptp=ptp, ntp_fallback=True)["status"] == "compliant"


def test_ptp_is_refused_where_it_does_not_exist(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("6.7"))
    host = align(sim, protocol="ptp")
    assert host["status"] == "failed" and "time_config_unsupported" in codes(host)
    assert methods(sim) == []


def test_a_far_clock_is_stepped_only_when_told_to(simulator: Callable[..., Simulator]) -> None:
    ntpd = {"ntpd": {"running": True, "policy": "on"}}
    sim = simulator(fleet("8.0.3", clock={"offset": 5000.0}, time={"servers": []}, services=ntpd))
    host = align(sim, max_skew=1.0)
    assert host["status"] == "failed" and methods(sim) == []
    host = align(sim, max_skew=1.0, step="guarded", ntp_servers=SERVERS)
    assert host["status"] == "changed", host
    assert methods(sim) == ["StopService", "UpdateDateTime", "UpdateDateTimeConfig", "StartService"]
    assert abs(truth(sim)["clock_offset"]) < 1
    assert host["skew"]["aligned"] is True


@pytest.mark.parametrize("method", ["UpdateDateTime", "UpdateDateTimeConfig", "UpdateServicePolicy", "StartService"])
def test_taken_and_not_kept_is_a_failure_that_says_so(simulator: Callable[..., Simulator], method: str) -> None:
    sim = simulator(
        fleet("8.0.3", clock={"offset": 5000.0}, time={"servers": ["198.51.100.1"]}, services={"ntpd": {"running": False, "policy": "off"}})
    )
    sim.fault(method=method, ignore=True, count=None)
    host = align(sim, **WISH, max_skew=1.0, step="guarded")
    assert host["status"] == "failed", host
    assert host["failure"]["kind"] == ("not_compliant" if method == "UpdateDateTime" else "not_converged"), host["failure"]


def test_a_wrong_control_node_is_noticed(simulator: Callable[..., Simulator]) -> None:
    """All clocks of the fleet agree and differ from this machine: nobody is stepped to it."""
    many = fleet("8.0.3", clock={"offset": 300.0}, time={"servers": SERVERS})
    many["hosts"][0]["count"] = 4
    many["vcenter"] = {"clock": {"offset": 300.0}}
    many["time_servers"] = {server: {"reachable": True, "offset": 300.0} for server in SERVERS}
    sim = simulator(many)
    host = align(sim, max_skew=1.0, step="guarded", step_threshold=10.0)
    assert host["status"] == "failed" and "control_node_suspect" in codes(host) and "clock_skewed" not in codes(host)
    assert methods(sim) == []
    assert align(sim, max_skew=1.0, step="guarded", step_threshold=10.0, reference="vcenter")["status"] == "compliant"
    assert align(sim, max_skew=1.0, step="guarded", step_threshold=10.0, reference="fleet")["status"] == "compliant"


@pytest.mark.parametrize(
    ("host", "wish", "code"),
    [
        ({"time": {"servers": ["192.0.2.1"]}, "unreachable_servers": ["192.0.2.1"]}, {"test_servers": True}, "ntp_server_silent"),
        ({"time": {"servers": []}, "services": {"ntpd": {"running": True, "policy": "on"}}}, {}, "ntp_no_servers"),
        ({"services": {"ntpd": {"running": False, "policy": "on"}}}, {}, "ntpd_stopped"),
        (
            {
                "time": {"servers": ["192.0.2.1"]},
                "rulesets": {"ntpClient": {"enabled": True, "allowed_hosts": {"all_ip": False, "ip_address": ["203.0.113.5"]}}},
            },
            {},
            "ntp_shut_out",
        ),
    ],
    ids=["silent server", "no servers", "ntpd stopped", "shut out"],
)
def test_diagnosis(simulator: Callable[..., Simulator], host: dict[str, Any], wish: dict[str, Any], code: str) -> None:
    sim = simulator(fleet("8.0.3", **host))
    told = align(sim, check=True, **wish)
    assert code in codes(told), told["findings"]
    assert told["hints"][code]


def test_wait_for_sync_ends_with_the_truth(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("8.0.3", clock={"offset": 20.0}, time={"servers": []}, services={"ntpd": {"running": True, "policy": "on"}}))
    host = align(sim, **WISH, max_skew=1.0, wait_for_sync=15.0)
    assert host["status"] == "changed" and host["skew"]["aligned"], host
    lost = fleet("8.0.3", clock={"offset": 20.0}, time={"servers": []}, unreachable_servers=SERVERS)
    sim = simulator({**lost, "hosts": [{**lost["hosts"][0], "services": {"ntpd": {"running": True, "policy": "on"}}}]})
    host = align(sim, **WISH, max_skew=1.0, wait_for_sync=1.0)
    assert host["status"] == "failed" and {"ntp_unsynced", "clock_skewed"} <= codes(host), host

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fleets, wishes and faults. 300 schedules here; CHAOS_RUNS=5000 for more, CHAOS_SEED=17 for one alone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import session as session_module
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import pipeline
from tests.integration.driver import run
from tests.simulator import Simulator

RUNS = int(os.environ.get("CHAOS_RUNS", "300"))
SEEDS = [int(os.environ["CHAOS_SEED"])] if "CHAOS_SEED" in os.environ else range(RUNS)
PROFILES = ("6.7", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0")
WRITES = ("UpdateDateTimeConfig", "StartService", "StopService", "UpdateServicePolicy", "EnableRuleset", "UpdateDateTime")
READS = ("RetrievePropertiesEx", "QueryDateTime", "RetrieveServiceContent", "CurrentTime")
FAULTS = ("HostConfigFault", "HostNotConnected", "HostCommunication", "NoPermission", "InvalidState", "NotSupported", "SystemError")
SERVERS = ("192.0.2.1", "192.0.2.2", "198.51.100.7", "ntp.example.com")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two tries are for people's servers; here they would only cost time."""
    monkeypatch.setattr(pipeline, "READ_BACK_PAUSES", (0.0, 0.01))
    monkeypatch.setattr(session_module, "_PAUSES", (0.0, 0.01))


def a_fleet(dice: random.Random) -> dict[str, Any]:
    hosts = []
    for number in range(dice.randint(1, 4)):
        hosts.append(
            {
                "count": dice.randint(1, 3),
                "name": f"esx-{number}{{n}}.example.com",
                "profile": dice.choice(PROFILES),
                "cluster": dice.choice(["prod", "lab", None]),
                "clock": {"offset": dice.choice([0.0, 0.3, -40.0, 5000.0])},
                "time": {"servers": dice.sample(SERVERS, dice.randint(0, 2))},
                "services": {"ntpd": {"running": dice.random() < 0.5, "policy": dice.choice(["on", "off", "automatic"])}},
            }
        )
    # ntpd that mends a clock, or gives up on it, between two looks of ours would be the world's doing: it waits longer.
    world = {"time_servers": {server: {"reachable": True} for server in SERVERS}, "sync_after": 600}
    return {"name": "chaos", "kind": "vcenter", "hosts": hosts, **world}


def a_wish(dice: random.Random) -> dict[str, Any]:
    wish: dict[str, Any] = {"esxi_hostname": ["*"], "parallel": dice.choice([1, 4, 16]), "read_timeout": 0.5}
    if dice.random() < 0.8:
        wish["ntp_servers"] = dice.sample(SERVERS, dice.randint(1, 3))
    if dice.random() < 0.7:
        wish["service_state"] = "started"
    if dice.random() < 0.5:
        wish["service_policy"] = dice.choice(["on", "off"])
    if dice.random() < 0.3:
        wish.update(max_skew=5.0, step=dice.choice(["never", "guarded"]))
    return wish


def a_fault(dice: random.Random, writes: tuple[str, ...] = WRITES, reads: tuple[str, ...] = READS) -> dict[str, Any]:
    method = dice.choice(writes + reads)
    host = dice.choice([None, "esx-0*", "esx-1*"]) if method in writes or method == "QueryDateTime" else None
    common = {"method": method, "host": host, "count": dice.randint(1, 3), "after": dice.randint(0, 2)}
    kind = dice.random()
    if kind < 0.35:
        return {**common, "fault": dice.choice(FAULTS)}
    if kind < 0.5:
        return {**common, "http": 503}
    if kind < 0.75:
        return {**common, "drop": dice.choice(["before", "after"])}
    if kind < 0.85:
        return {**common, "expire_session": True}
    if kind < 0.9:
        return {**common, "hang": True, "count": 1}
    if kind < 0.95 and method in writes:
        return {**common, "drop": "after", "then_state": "not_responding", "count": 1}
    # A stop that is not kept shows nowhere below 7.0.3: the service runs afterwards, as it shall.
    if kind < 0.98 and method in writes and method != "StopService":
        return {**common, "ignore": True}
    return {**common, "delay": 0.05}


METHOD = {
    "configure_time": "UpdateDateTimeConfig",
    "stop_ntpd": "StopService",
    "start_ntpd": "StartService",
    "set_ntpd_policy": "UpdateServicePolicy",
    "open_ntp_client": "EnableRuleset",
    "step_clock": "UpdateDateTime",
}


def running(sim: Simulator) -> dict[str, bool]:
    """Hosts whose ntpd runs, and would go on running if left alone: not those that it is about to give up on."""
    hosts = sim.state()["hosts"].items()
    return {name: host["services"]["ntpd"]["running"] for name, host in hosts if abs(host["clock_offset"]) < 900}


def settings(sim: Simulator) -> dict[str, Any]:
    """What our runs may change on a host; clocks and the state of a synchronisation move by themselves."""
    kept = ("servers", "protocol", "enabled", "policy", "ruleset_enabled")
    result = {}
    for name, host in sim.state()["hosts"].items():
        result[name] = {key: host["time"].get(key) for key in kept[:3]}
        result[name]["policy"] = host["services"]["ntpd"]["policy"]
    return result


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_hide_nothing_and_leave_nothing(simulator: Callable[..., Simulator], seed: int) -> None:
    dice = random.Random(seed)
    sim = simulator(a_fleet(dice), seed=seed)
    wish = a_wish(dice)
    check = dice.random() < 0.15
    for _number in range(dice.randint(1, 4)):
        sim.fault(**a_fault(dice))
    if dice.random() < 0.1:
        wish["deadline"] = 1
        sim.fault(method="UpdateDateTimeConfig", delay=0.4, count=50)
    before, ran = settings(sim), running(sim)
    try:
        result = run(sim, "esxi_ntp_align", check=check, **wish)
    except FleetcareError as problem:
        assert problem.hint, problem.sentence
        assert not [entry for entry in sim.journal if entry.write], f"{problem.sentence} hides writes"
        result = None
    after, runs = settings(sim), running(sim)
    if check:
        assert not [entry for entry in sim.journal if entry.write]
    if result is not None:
        for name, host in result["hosts"].items():
            if before[name] != after[name]:
                assert host["changed"], f"{name} was changed unreported: {host}"
            if host["status"] in ("compliant", "changed"):
                assert "not_done" not in host, f"{name} is called {host['status']} half done"
                if "ntp_servers" in wish:
                    assert [entry.split()[0] for entry in after[name]["servers"]] == wish["ntp_servers"], f"{name}: {host}"
            if host["failure"]:
                assert host["failure"]["hint"], host["failure"]
            executed = {entry.method for entry in sim.journal if entry.host == name and entry.status in ("ok", "ignored", "dropped")}
            claimed = set() if check else {METHOD[change["change"]] for change in host["changes"]}
            assert claimed <= executed, f"{name} claims what was not done: {host}"
            if ran.get(name) and runs.get(name) is False:
                told = {finding["code"] for finding in host["findings"] if finding["status"] == "open"}
                assert host["failure"], f"{name} is called well with its ntpd stopped: {host}"
                assert {"change": "start_ntpd"} in host.get("not_done", []) or "ntpd_stopped" in told, f"{name}: {host}"
    assert sim.summary()["sessions"] == []
    sent = [(entry.method, entry.host) for entry in sim.journal if entry.write and entry.status in ("ok", "dropped", "hanging")]
    assert len(sent) == len(set(sent)), "a write was repeated blindly"

    sim.clear_faults()
    sim.act(host="*", do="reconnect")
    wish.pop("deadline", None)
    wish["read_timeout"] = 30
    run(sim, "esxi_ntp_align", **wish)
    for name, host in sim.state()["hosts"].items():
        if host["services"]["ntpd"]["running"] and "ntp_servers" in wish:
            assert host["time"]["active_servers"] == host["time"]["servers"], f"{name}: ntpd still asks the old servers"
    last = run(sim, "esxi_ntp_align", **{**wish, "step": "never"})
    assert not last["changed"], last["hosts"]
    assert not [host for host in last["hosts"].values() if host["changes"]]
    assert sim.summary()["sessions"] == []

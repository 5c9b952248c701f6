# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What esxi_power sends: how much, in which order, with which arguments. What it does in each situation: test_esxi_power_situations.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import session, waiting
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import pipeline
from tests.integration.driver import run
from tests.simulator import Simulator


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PAUSES", (0.02,))
    monkeypatch.setattr(pipeline, "READ_BACK_PAUSES", (0.0, 0.0))


def written(sim: Simulator) -> Counter[str]:
    return Counter(entry.method for entry in sim.journal if entry.write)


def test_many_hosts_are_watched_with_one_call_a_look(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"hosts": [{"count": 60, "cluster": None, "options": {"reboot_seconds": 1.0}}]})
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    assert done["summary"] == {"changed": 60}
    assert set(written(sim).values()) == {60} and len(written(sim)) == 3
    reads = Counter(entry.method for entry in sim.journal if not entry.write)
    assert reads["RetrievePropertiesEx"] < 40 and reads["WaitForUpdatesEx"] == 0
    assert {host["boots"] for host in sim.state()["hosts"].values()} == {1}


def test_what_maintenance_mode_is_asked_for(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None}]})
    options: dict[str, Any] = {"maintenance_timeout": 77, "evacuate_powered_off": True, "vsan_mode": "evacuate_all"}
    run(sim, "esxi_power", esxi_hostname=["*"], state="maintenance", **options)
    (entry,) = [entry for entry in sim.journal if entry.write]
    assert (entry.method, entry.args["timeout"], entry.args["evacuatePoweredOffVms"]) == ("EnterMaintenanceMode_Task", 77, True)
    assert entry.args["maintenanceSpec"]["vsanMode"]["objectAction"] == "evacuateAllData"


def test_what_is_not_asked_for_is_not_sent(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"kind": "esxi", "hosts": [{"name": "esx-01.example.com"}]})
    run(sim, "esxi_power", state="maintenance", evacuate_powered_off=True)  # only supported by VirtualCenter
    (entry,) = [entry for entry in sim.journal if entry.write]
    assert set(entry.args) == {"timeout"}


def test_the_last_of_a_cluster_waits_for_the_first(simulator: Callable[..., Simulator]) -> None:
    scenario: dict[str, Any] = {
        "clusters": {"prod": {"drs": "fullyAutomated"}},
        "hosts": [{"count": 3, "name": "esx-{n:02d}.example.com", "cluster": "prod", "options": {"reboot_seconds": 0.1}}],
        "virtual_machines": [{"count": 6, "name": "app-{n:02d}"}],
    }
    sim = simulator(scenario)
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    order = [(entry.method.partition("_")[0], entry.host[:6]) for entry in sim.journal if entry.write and entry.host]
    assert done["summary"] == {"changed": 3}
    assert order.index(("EnterMaintenanceMode", "esx-03")) > order.index(("ExitMaintenanceMode", "esx-01"))
    assert all(machine["powered_on"] for machine in sim.state()["crypto"]["vms"].values())


def test_a_stand_alone_host_is_logged_in_to_again(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"kind": "esxi", "hosts": [{"name": "esx-01.example.com"}]})
    done = run(sim, "esxi_power", state="rebooted")
    assert done["summary"] == {"changed": 1} and sim.summary()["logins"] == 2 and sim.summary()["sessions"] == []


@pytest.mark.parametrize("method", ["EnterMaintenanceMode_Task", "RebootHost_Task", "ExitMaintenanceMode_Task"])
@pytest.mark.parametrize("drop", ["before", "after"])
def test_each_answer_may_get_lost(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch, method: str, drop: str) -> None:
    """What was done is told as done, and what was not is not; nothing is sent twice."""
    monkeypatch.setattr(waiting, "BEGINS_WITHIN", 0.5)
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None, "options": {"reboot_seconds": 0.1}}]})
    sim.fault(method=method, drop=drop)
    host = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")["hosts"]["esx-01.example.com"]
    state = sim.state()["hosts"]["esx-01.example.com"]
    assert set(written(sim).values()) == {1}
    if drop == "after":
        assert (host["status"], state["boots"], state["maintenance"]) == ("changed", 1, False)
        return
    assert host["failure"]["kind"] == "endpoint_unreachable" and "nothing was seen" in host["failure"]["cause"]
    reached = {"EnterMaintenanceMode_Task": (0, False), "RebootHost_Task": (0, True), "ExitMaintenanceMode_Task": (1, True)}[method]
    assert (state["boots"], state["maintenance"]) == reached
    done = [change["change"] for change in host["changes"]]
    assert done == ["enter_maintenance", "reboot", "leave_maintenance"][: sum(map(int, reached))]


@pytest.mark.parametrize("fault", ["HostConfigFault", "NoPermission", "TaskInProgress"])
def test_one_bad_host_hides_no_other(simulator: Callable[..., Simulator], fault: str) -> None:
    sim = simulator({"hosts": [{"count": 3, "name": "esx-{n:02d}.example.com", "cluster": None, "options": {"reboot_seconds": 0.1}}]})
    arguments = {"privilegeId": "Host.Config.Maintenance"} if fault == "NoPermission" else {}
    sim.fault(method="EnterMaintenanceMode_Task", host="esx-02*", fault=fault, args=arguments)
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    assert done["summary"] == {"changed": 2, "failed": 1}
    failure = done["hosts"]["esx-02.example.com"]["failure"]
    assert failure["fault"] == fault and failure["hint"]
    assert [host["boots"] for host in sim.state()["hosts"].values()] == [1, 0, 1]

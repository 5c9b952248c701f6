# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode, shutdown and reboot with their consequences, as pyVmomi sees them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from tests.simulator import Simulator
from tests.unit.simulator.conftest import client

NAME = "esx-01.example.com"
CLUSTER: dict[str, Any] = {
    "clusters": {"prod": {"drs": "fullyAutomated"}},
    "hosts": [{"count": 2, "name": "esx-{n:02d}.example.com", "cluster": "prod", "options": {"reboot_seconds": 30}}],
    "virtual_machines": [{"name": "app-01", "host": "esx-01*"}, {"name": "off-01", "host": "esx-01*", "power": "off"}],
}
LONE: dict[str, Any] = {**CLUSTER, "clusters": {}}


@contextlib.contextmanager
def started(scenario: dict[str, Any]) -> Iterator[tuple[Simulator, Any, Callable[[str], Any]]]:
    with Simulator(scenario) as sim, client(sim) as si:

        def host(name: str) -> Any:
            view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.HostSystem], True)
            return next(one for one in view.view if one.name == name)

        yield sim, si, host
        assert sim.errors == []


def until(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.01)


def test_drs_empties_a_host_and_leaves_what_is_off() -> None:
    with started(CLUSTER) as (sim, si, host):
        one = host(NAME)
        assert WaitForTask(one.EnterMaintenanceMode_Task(60, False), si=si) == "success"
        assert one.runtime.inMaintenanceMode and [vm.name for vm in one.vm] == ["off-01"]
        assert [vm.name for vm in host("esx-02.example.com").vm] == ["app-01"]
        told = {type(event).__name__ for event in si.content.eventManager.QueryEvents(vim.event.EventFilterSpec())}
        assert {"vim.event.EnteringMaintenanceModeEvent", "vim.event.EnteredMaintenanceModeEvent", "vim.event.DrsVmMigratedEvent"} <= told
        # The last host has nowhere to move it to.
        task = host("esx-02.example.com").EnterMaintenanceMode_Task(60, True)
        until(lambda: task.info.state == "running")
        sim.advance(61)
        until(lambda: task.info.state == "error")
        assert isinstance(task.info.error, vim.fault.Timedout) and not host("esx-02.example.com").runtime.inMaintenanceMode


def test_without_drs_it_waits_for_somebody() -> None:
    with started(LONE) as (sim, si, host):
        one = host(NAME)
        task = one.EnterMaintenanceMode_Task(0, False)
        until(lambda: task.info.state == "running")
        with pytest.raises(vim.fault.InvalidState):
            WaitForTask(one.EnterMaintenanceMode_Task(0, False), si=si)
        sim.advance(86400)
        assert task.info.state == "running"
        sim.act("vm_power", vm="app-01", on=False)
        assert WaitForTask(task, si=si) == "success"
        assert WaitForTask(one.ExitMaintenanceMode_Task(0), si=si) == "success"
        with pytest.raises(vim.fault.InvalidState):
            WaitForTask(one.ExitMaintenanceMode_Task(0), si=si)


def test_one_that_was_cancelled_may_be_begun_anew() -> None:
    with started(LONE) as (sim, si, host):
        task = host(NAME).EnterMaintenanceMode_Task(0, False)
        until(lambda: task.info.state == "running")
        task.CancelTask()
        assert isinstance(task.info.error, vmodl.fault.RequestCanceled)
        sim.act("vm_power", vm="app-01", on=False)
        assert WaitForTask(host(NAME).EnterMaintenanceMode_Task(0, False), si=si) == "success"


@pytest.mark.parametrize("operation", ["RebootHost_Task", "ShutdownHost_Task"])
def test_it_takes_maintenance_mode_or_force(operation: str) -> None:
    with started(LONE) as (sim, si, host):
        one = host(NAME)
        with pytest.raises(vim.fault.InvalidState):
            getattr(one, operation)(False)
        assert WaitForTask(getattr(one, operation)(True), si=si) == "success"
        state = sim.state()["hosts"][NAME]
        assert (state["powered_on"], state["running_vms"], state["connection"]) == (False, 0, "notResponding")
        assert one.runtime.powerState == "unknown"


def test_a_reboot_takes_its_time_and_changes_the_boot_time() -> None:
    with started(CLUSTER) as (sim, si, host):
        one = host(NAME)
        sim.act("reboot_required", host="esx-01*")
        before = one.runtime.bootTime
        assert one.summary.rebootRequired
        WaitForTask(one.RebootHost_Task(True), si=si)
        sim.advance(29)
        assert one.runtime.connectionState == "notResponding"
        with pytest.raises(vmodl.fault.HostNotReachable):
            one.EnterMaintenanceMode_Task(0)
        sim.advance(2)
        assert one.runtime.connectionState == "connected" and one.runtime.bootTime > before and not one.summary.rebootRequired
        assert sim.state()["hosts"][NAME]["boots"] == 1 and not any(vm.runtime.powerState == "poweredOn" for vm in one.vm)


def test_what_somebody_did_meanwhile_counts() -> None:
    """A host that was started by hand is not started again by the boot that was under way."""
    with started(CLUSTER) as (sim, si, host):
        WaitForTask(host(NAME).RebootHost_Task(True), si=si)
        sim.act("power_on_host", host="esx-01*")
        sim.act("power_off_host", host="esx-01*")
        sim.advance(60)
        state = sim.state()["hosts"][NAME]
        assert (state["boots"], state["powered_on"]) == (1, False)


def test_a_stand_alone_host_is_away_with_its_sessions() -> None:
    with Simulator({"kind": "esxi", "hosts": [{"name": NAME, "options": {"reboot_seconds": 30}}]}) as sim:
        with client(sim) as si:
            one = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0].host[0]
            one.RebootHost_Task(True)
            until(lambda: not sim.state()["hosts"][NAME]["powered_on"])
            with pytest.raises(OSError):
                str(one.name)
            sim.advance(31)
            with pytest.raises(vim.fault.NotAuthenticated):
                str(one.name)
        assert sim.summary()["sessions"] == [] and sim.errors == []


def test_vcenter_goes_and_comes_with_its_own_host() -> None:
    with Simulator({**LONE, "vcenter": {"runs_on": NAME}}) as sim:
        with client(sim) as si:
            view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.VirtualMachine], True)
            own = next(vm for vm in view.view if vm.name == "vcenter")
            assert (own.guest.hostName, own.guest.ipAddress) == ("vcenter.example.com", "192.0.2.2")
            sim.act("power_off_host", host="esx-01*")
            with pytest.raises(OSError):
                str(own.name)
            sim.act("power_on_host", host="esx-01*")
            assert own.name == "vcenter"
        assert sim.errors == []

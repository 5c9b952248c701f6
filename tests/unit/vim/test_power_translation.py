# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine is vCenter's, what a cluster's configuration says of moving machines, and what a host in sight is."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import HostUnreachable
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.power import LeaveMaintenance, Reboot, ShutDown
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import power

HOST = Ref("HostSystem", "host-1")
BOOT = datetime.datetime(2026, 1, 5, tzinfo=datetime.timezone.utc)
LATER = BOOT + datetime.timedelta(hours=1)


def machine(**values: Any) -> Row:
    return Row(Ref("VirtualMachine", "vm-1"), {"name": "vcsa", **values}, {})


@pytest.mark.parametrize(
    ("values", "addresses", "name", "found"),
    [
        ({"guest.ipAddress": "192.0.2.2"}, {"192.0.2.2"}, "", True),
        ({"guest.net": ("192.0.2.9", "2001:db8::2")}, {"2001:db8::2"}, "", True),
        ({"guest.hostName": "VCenter.Example.com"}, set(), "vcenter.example.com", True),
        ({"guest.hostName": "vcenter"}, set(), "vcenter", False),  # a short name may be anybody's
        ({"guest.hostName": "192.0.2.2"}, set(), "192.0.2.2", False),
        ({"guest.ipAddress": "192.0.2.3"}, {"192.0.2.2"}, "vcenter.example.com", False),
        ({}, {"192.0.2.2"}, "vcenter.example.com", False),  # no VMware Tools
        ({}, set(), "", False),
    ],
)
def test_the_machine_that_has_the_address_or_the_name(values: dict[str, Any], addresses: set[str], name: str, found: bool) -> None:
    assert power._own([machine(**values)], addresses, name) == ("vcsa" if found else "")


@pytest.mark.parametrize(
    ("config", "drs", "admission"),
    [
        ({}, "off", False),
        ({"drsConfig": {"enabled": False, "defaultVmBehavior": "fullyAutomated"}}, "off", False),
        ({"drsConfig": {"enabled": True, "defaultVmBehavior": "manual"}}, "manual", False),
        ({"drsConfig": {"enabled": True}, "dasConfig": {"enabled": True, "admissionControlEnabled": True}}, "fullyAutomated", True),
        ({"dasConfig": {"enabled": False, "admissionControlEnabled": True}}, "off", False),
    ],
)
def test_what_a_cluster_does_by_itself(config: dict[str, Any], drs: str, admission: bool) -> None:
    told = power._settings(config)
    assert (told["drs"], told["admission_control"]) == (drs, admission)


def test_machines_that_drs_leaves_alone() -> None:
    rows = [
        {"key": Ref("VirtualMachine", "vm-1"), "enabled": False},
        {"key": Ref("VirtualMachine", "vm-2"), "enabled": True, "behavior": "manual"},
        {"key": Ref("VirtualMachine", "vm-3"), "enabled": True, "behavior": "fullyAutomated"},
        {"key": Ref("VirtualMachine", "vm-4"), "enabled": True},
    ]
    assert {ref.id for ref in power._settings({"drsVmConfig": rows})["still"]} == {"vm-1", "vm-2"}


@pytest.mark.parametrize("connection", ["notResponding", "disconnected"])
def test_a_host_that_is_away_is_seen_only_by_who_shuts_it_down(connection: str) -> None:
    row = Row(HOST, {"runtime.connectionState": connection, "runtime.powerState": "unknown"}, {})
    with pytest.raises(HostUnreachable, match=connection):
        power.observe(row, {})
    assert power.observe(row, {"silence_is_an_answer": True}).connection == connection


def condition(change: Any, *, vcenter: bool = True, boot: datetime.datetime | None = BOOT) -> Any:
    session: Any = SimpleNamespace(is_vcenter=vcenter)
    target = Target(ref=HOST, name="x", connection="connected")
    planned = Row(HOST, {power._BOOT: BOOT - datetime.timedelta(hours=1)}, {})
    with pytest.MonkeyPatch.context() as patch:
        values = {power._BOOT: boot} if boot else {}
        patch.setattr(power, "read_rows", lambda _session, _paths, refs: {ref: Row(ref, values, {}) for ref in refs})
        made = power.awaits(session, target, planned, change)
    assert made is not None
    return made


def seen(connection: str = "connected", boot: datetime.datetime | None = None) -> dict[str, Any]:
    return {"runtime.connectionState": connection, power._BOOT: boot}


@pytest.mark.parametrize("vcenter", [True, False])
def test_back_is_connected_with_a_newer_boot_time(vcenter: bool) -> None:
    """Newer than right before the write, whatever it was when the plan was made."""
    judge = condition(Reboot(force=False, timeout=9), vcenter=vcenter).judge
    assert not judge(seen(boot=BOOT)).begun and not judge(seen(boot=BOOT)).met
    assert not judge(None).met and judge(None).begun is not vcenter
    assert not judge(seen("notResponding", boot=BOOT)).met
    assert not judge(seen(boot=BOOT)).met, "vCenter shows the old boot time for a while"
    assert judge(seen(boot=LATER)).met


def test_without_a_boot_time_it_has_to_be_seen_going() -> None:
    made = condition(Reboot(force=False, timeout=9), boot=None)
    looks = (seen(), seen(boot=LATER), seen("notResponding"), seen(boot=LATER))
    assert [made.judge(look).met for look in looks] == [False, False, False, True]


def test_one_lost_answer_is_no_shutdown() -> None:
    judge = condition(ShutDown(force=False, timeout=9), vcenter=False).judge
    assert [judge(None).met, judge(None).met, judge(seen()).met] == [False] * 3
    assert [judge(None).met for _look in range(3)] == [False, False, True]


def test_silence_of_vcenter_is_no_shutdown_of_a_host_unless_it_runs_there() -> None:
    judge = condition(ShutDown(force=False, timeout=9)).judge
    assert not any(judge(None).met for _look in range(9))
    own = condition(ShutDown(force=True, timeout=9, takes_endpoint=True)).judge
    assert [own(None).met for _look in range(3)] == [False, False, True]


@pytest.mark.parametrize("state", ["notResponding", "disconnected"])
def test_vcenter_loses_a_host_that_goes_down_by_one_word_or_the_other(state: str) -> None:
    assert condition(ShutDown(force=False, timeout=9)).judge(seen(state)).met


def test_maintenance_mode_is_over_when_the_host_says_so() -> None:
    judge = condition(LeaveMaintenance(timeout=9)).judge
    assert [judge(value).met for value in (None, {}, {power._MAINTENANCE: True}, {power._MAINTENANCE: False})] == [
        False,
        False,
        False,
        True,
    ]

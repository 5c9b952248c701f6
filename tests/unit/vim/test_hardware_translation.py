# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows as they come from a server, odd ones too, as the state of a host."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    FleetcareError,
    Interrupted,
    PermissionMissing,
    ServerFault,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_model import State
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import hardware

SHORT = st.integers(-0x8000, 0x7FFF)
BYTE = st.integers(-0x80, 0x7F)
PCI = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["0000:0b:00.0", "0000:D8:00.0", "", "odd"]),
        "classId": SHORT,
        "vendorId": SHORT,
        "deviceId": SHORT,
        "bus": BYTE,
        "slot": BYTE,
    },
    optional={
        "function": BYTE,
        "subVendorId": SHORT,
        "subDeviceId": SHORT,
        "vendorName": st.text(max_size=5),
        "deviceName": st.none() | st.text(max_size=5),
    },
)


def shrunk(**values: Any) -> Row:
    return Row(
        Ref("HostSystem", "host-1"),
        {path: hardware.SHRINK[path](value) if path in hardware.SHRINK else value for path, value in values.items()},
        {},
    )


@given(st.lists(PCI, max_size=6))
def test_ids_are_unsigned_and_every_device_is_counted(array: list[dict[str, Any]]) -> None:
    state = hardware.observe(shrunk(**{"hardware.pciDevice": array}), {})
    assert state.devices is not None and len(state.devices) + state.others == len(array)
    for device in state.devices:
        assert all(0 <= number <= 0xFFFF for number in (device.vendor, device.device, device.subvendor, device.subdevice, device.pci_class))
        assert device.kind != "other" and len(device.slot) == 12


def test_nothing_told_is_nothing_known() -> None:
    state = hardware.observe(Row(Ref("HostSystem", "host-1"), {}, {}), {})
    assert state == State(moid="host-1")


def test_adapters_and_drivers_by_address() -> None:
    nic = {"id": "0000:D8:00.0", "classId": 0x0200, "vendorId": -32634, "deviceId": 0x1572, "bus": -40, "slot": 0}
    disk = {**nic, "id": "0000:0c:00.0", "classId": 0x0108}
    row = shrunk(
        **{
            "hardware.pciDevice": [nic, disk],
            "config.network.pnic": [{"device": "vmnic3", "pci": "0000:d8:00.0", "driver": "i40en"}, {"device": "vusb0", "pci": "Pseudo"}],
            "config.storageDevice.hostBusAdapter": [
                {"device": "vmhba1", "pci": "0000:0c:00.0", "driver": "nvme_pcie", "_type": "HostPcieHba"},
                {"device": "vmhba33", "pci": "", "driver": "fcoe", "isSoftwareFcoe": True},
                {"device": "vmhba34", "driver": "bnx2fc", "isSoftwareFcoe": False},
            ],
            "config.pciPassthruInfo": [{"id": "0000:d8:00.0", "passthruEnabled": True, "passthruCapable": True, "passthruActive": False}],
        }
    )
    state = hardware.observe(row, {"nvme": {"vmhba1": "1.2"}})
    first, second = state.devices or ()
    assert (first.adapter, first.driver, first.passthrough, first.nvme) == ("vmnic3", "i40en", "enabled", None)
    assert (second.adapter, second.driver, second.passthrough, second.nvme) == ("vmhba1", "nvme_pcie", None, "1.2")
    assert state.software_fcoe == ("vmhba33",) and state.silent == ()


@pytest.mark.parametrize(
    ("rows", "version"),
    [
        ([{"Name": "VER", "Value": "0x10300"}], "1.3"),
        ([{"Name": "CNTLID", "Value": "0x1"}, {"Name": "ver", "Value": "66049"}], "1.2.1"),
        ([{"Version": "1.4", "ModelNumber": "X"}], "1.4"),
        ([{"VER": "0x20000"}], "2.0"),
        ([{"Name": "VER", "Value": ""}], "unknown"),
        ([{"Name": "CNTLID", "Value": "0x10300"}], "unknown"),
        ([{"ModelNumber": "1.3"}], "unknown"),
        (["1.3"], "unknown"),
        ([], "unknown"),
    ],
)
def test_versions_in_what_esxcli_says(rows: list[Any], version: str) -> None:
    assert hardware._version(rows) == version


class Session:
    """Answers by command and controller; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def esxcli(self, host: Ref, command: str, controller: str = "", adapter: str = "") -> list[Any]:
        answer = self.answers[controller or adapter or command.replace(".", "_")]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)


HOST = Target(ref=Ref("HostSystem", "host-1"), name="esx", places=(), connection="connected")
LIST = [{"Name": f"nqn{number}", "Adapter": f"vmhba{number}", "TransportType": "PCIe"} for number in (1, 2)]
TOLD = [{"Name": "VER", "Value": "0x10200"}]


def test_a_controller_that_is_not_told_hides_no_other() -> None:
    session: Any = Session(nvme_controller_list=LIST, nqn1=ServerFault("odd"), nqn2=TOLD)
    assert hardware._nvme(session, HOST) == {"vmhba1": "unknown", "vmhba2": "1.2"}


def test_controllers_of_an_array_are_not_the_hosts() -> None:
    array = {"Name": "nqn3", "Adapter": "vmhba65", "TransportType": "TCP"}
    session: Any = Session(nvme_controller_list=[*LIST[1:], array], nqn2=TOLD)
    assert hardware._nvme(session, HOST) == {"vmhba2": "1.2"}


def test_where_none_is_told_the_reason_is() -> None:
    session: Any = Session(nvme_controller_list=LIST, nqn1=ServerFault("odd"), nqn2=ServerFault("odd, too"))
    with pytest.raises(ServerFault, match="odd"):
        hardware._nvme(session, HOST)


@pytest.mark.parametrize("problem", [PermissionMissing("not you"), Interrupted("deadline")])
def test_what_is_not_the_commands_fault_is_not_asked_again(problem: FleetcareError) -> None:
    for answers in ({"nvme_controller_list": problem}, {"nvme_controller_list": LIST, "nqn1": TOLD, "nqn2": problem}):
        session: Any = Session(**answers)
        with pytest.raises(type(problem)):
            hardware._nvme(session, HOST)


def test_an_adapter_that_esxcli_did_not_name_is_unknown() -> None:
    disk = {"id": "0000:0c:00.0", "classId": 0x0108, "vendorId": 0x144D, "deviceId": 1, "bus": 12, "slot": 0}
    state = hardware.observe(shrunk(**{"hardware.pciDevice": [disk]}), {"nvme": {"vmhba9": "1.4"}})
    assert [device.nvme for device in state.devices or ()] == ["unknown"]
    assert [what for what, _why in state.silent] == ["The version of NVMe"]


def test_a_failure_is_told_with_its_cause() -> None:
    problem: FleetcareError = ServerFault("esxcli refused: not today.")
    state = hardware.observe(Row(Ref("HostSystem", "host-1"), {}, {}), {"nvme": problem, "boot_device": problem})
    assert state.silent == (("The version of NVMe", "esxcli refused: not today."), ("The boot device", "esxcli refused: not today."))

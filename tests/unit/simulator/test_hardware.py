# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware on the wire, as pyVmomi reads it: signed numbers, what a release does not tell, esxcli's answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.simulator import ScenarioError, Simulator
from tests.simulator.hardware import DEVICES, signed
from tests.unit.simulator.conftest import client


@pytest.fixture(scope="module")
def scenario() -> Any:
    return "hardware"


@pytest.fixture(scope="module")
def hosts(running: Simulator) -> Iterator[dict[str, Any]]:
    with client(running) as si:
        view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.HostSystem], True)
        yield {item.name.partition(".")[0]: item for item in view.view}


@pytest.mark.parametrize(
    ("number", "bits", "wire"), [(0x8086, 16, -32634), (0x10EC, 16, 4332), (0xD8, 8, -40), (0x80000001, 32, -2147483647)]
)
def test_numbers_are_signed_on_the_wire(number: int, bits: int, wire: int) -> None:
    assert signed(number, bits) == wire and wire & (1 << bits) - 1 == number


def test_the_captured_host(hosts: dict[str, Any]) -> None:
    host = hosts["captured"]
    devices = {device.id: device for device in host.hardware.pciDevice}
    assert len(devices) == 48 and [device.vendorId for device in devices.values()].count(-32634) == 5
    nic = devices["0000:0b:00.0"]
    assert (nic.vendorId, nic.deviceId, nic.classId, nic.bus, nic.parentBridge) == (5549, 1968, 512, 11, "0000:00:16.0")
    assert [(item.device, item.pci) for item in host.config.network.pnic] == [
        ("vmnic0", "0000:0b:00.0"),
        ("vmnic1", "0000:13:00.0"),
        ("vmnic2", "0000:1b:00.0"),
        ("vmnic3", "0000:04:00.0"),
    ]
    assert [(item._wsdlName, item.device, item.driver) for item in host.config.storageDevice.hostBusAdapter] == [
        ("HostParallelScsiHba", "vmhba0", "pvscsi"),
        ("HostPcieHba", "vmhba1", "nvme_pcie"),
        ("HostBlockHba", "vmhba2", "vmkata"),
        ("HostBlockHba", "vmhba64", "vmkata"),
    ]
    assert len(host.config.pciPassthruInfo) == 48 and not any(item.passthruCapable for item in host.config.pciPassthruInfo)
    assert list(host.config.graphicsInfo) == [] and (host.summary.hardware.numNics, host.summary.hardware.numHBAs) == (4, 4)


def test_a_made_up_processor_says_who_it_is(hosts: dict[str, Any]) -> None:
    levels = {row.level & 0xFFFFFFFF: row for row in hosts["old-amd"].hardware.cpuFeature}
    numbers = {name: int(getattr(levels[0], name).replace(":", ""), 2) for name in ("ebx", "edx", "ecx")}
    assert b"".join(numbers[name].to_bytes(4, "little") for name in ("ebx", "edx", "ecx")) == b"AuthenticAMD"
    assert int(levels[1].eax.replace(":", ""), 2) == 0x100F91
    assert not int(levels[1].ecx.replace(":", ""), 2) >> 26 & 1 and int(levels[0x80000001].ecx.replace(":", ""), 2) >> 2 & 1
    assert all(re.fullmatch("([01]{4}:){7}[01]{4}", getattr(row, name)) for row in levels.values() for name in ("eax", "ebx", "ecx", "edx"))


def test_what_hosts_do_not_tell(hosts: dict[str, Any]) -> None:
    assert hosts["firmware-untold"].hardware.biosInfo.firmwareType is None  # came with API 8.0.2.0
    assert hosts["bios"].hardware.biosInfo.firmwareType == "BIOS"
    assert hosts["silent"].hardware is None and hosts["silent"].summary.hardware is None
    assert hosts["fits"].config.graphicsInfo == []


def test_graphics_and_passthrough(hosts: dict[str, Any]) -> None:
    flags = {item.id: (item.passthruCapable, item.passthruEnabled, item.passthruActive) for item in hosts["gpu"].config.pciPassthruInfo}
    assert flags["0000:d8:00.0"] == (True, True, True) and flags["0000:d9:00.0"] == (True, False, False)
    (card,) = hosts["gpu"].config.graphicsInfo
    assert (card.pciId, card.graphicsType, card.memorySizeInKB) == ("0000:d9:00.0", "shared", 40960 << 10)
    bus = next(device.bus for device in hosts["gpu"].hardware.pciDevice if device.id == "0000:d8:00.0")
    assert bus == -40


def test_software_fcoe(hosts: dict[str, Any]) -> None:
    (adapter,) = (item for item in hosts["fcoe"].config.storageDevice.hostBusAdapter if item._wsdlName == "HostFibreChannelOverEthernetHba")
    assert adapter.isSoftwareFcoe and adapter.pci == ""


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        ({"pci": [{"is": "intel_x7100"}]}, "intel_x710"),
        ({"pci": [{"driver": "i40en"}]}, "'is' is missing"),
        ({"cpu": {"missing": ["avx"]}}, "did you mean vmx"),
        ({"cpu": {"family": 271}}, "no processor has family 271"),
        ({"firmware": "EFI"}, "UEFI"),
        ({"memory": 4}, "memory_gb"),
    ],
)
def test_mistakes_are_named(hardware: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        Simulator({"hosts": [{"hardware": hardware}]})


def test_names_of_devices_have_ids_of_their_own() -> None:
    assert len({row[1:3] for row in DEVICES.values()}) == len(DEVICES)

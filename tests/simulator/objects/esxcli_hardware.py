# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli nvme and storage core device: what no property of the API tells.

`nvme controller list` has the columns of published output (Equinix Metal's notes on NVMe namespaces); `identify` prints names and values, of
which `CNTLID 0x1` is published there; that VER is among them is inferred from the NVMe structure (KB 312191 names the command for the version).
`nvme device list` and `get` are known by name and by HBA Name, Serial Number, Model Number, Firmware Revision (OVH's guide to firmware
updates); Version in it is from memory. Which of the two a release has is an option of the profile.
Fields of `storage core device list` are those of its printed output without spaces, as PowerCLI shows them.
"""

from __future__ import annotations

from typing import Any

from .esxcli import NAMESPACES, CliFault, Parameter, command

NAMESPACES["nvme.controller"] = "Operations that can be performed on NVMe controllers"
NAMESPACES["nvme.device"] = "Operations that can be performed on NVMe device"
NAMESPACES["storage.core.device"] = "Operations on devices"
_MODEL = "Dell Express Flash PM1725a"


def _versions(item: Any, namespace: str) -> dict[str, str]:
    """Version by adapter, where this host has the namespace."""
    if item.option("nvme_commands") != namespace:
        raise CliFault(f"Unknown command or namespace nvme {namespace}")
    return dict(item.state.hardware.get("_nvme", {}))


def _controller(item: Any, adapter: str) -> str:
    return f"nqn.2014-08.org.nvmexpress_144d_{_MODEL.replace(' ', '_')}_{item.state.uuid[:8]}_{adapter}"


@command("nvme.controller.list", kind="NvmeController", help="List all NVMe controllers.")
def controllers(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "Adapter": adapter,
            "ControllerNumber": 256 + number,
            "IsOnline": True,
            "IsVVOL": False,
            "Name": _controller(item, adapter),
            "TransportType": "PCIe",
        }
        for number, adapter in enumerate(_versions(item, "controller"))
    ]


@command(
    "nvme.controller.identify",
    kind="IdentifyController",
    parameters=[Parameter("controller", "--controller", "-c", help="NVMe controller.", required=True)],
    help="Get NVMe Identify Controller data.",
)
def identify(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    for adapter, version in _versions(item, "controller").items():
        if _controller(item, adapter) == arguments["controller"]:
            return [
                {"Name": "VID", "Value": "0x144d"},
                {"Name": "SSVID", "Value": "0x1028"},
                {"Name": "MN", "Value": _MODEL},
                {"Name": "CNTLID", "Value": "0x1"},
                {"Name": "VER", "Value": _register(version)},
            ]
    raise CliFault(f"Cannot find NVMe controller {arguments['controller']}")


def _register(version: str) -> str:
    """The VER field: 1.2.1 is 0x10201."""
    major, minor, tertiary = (int(part) for part in f"{version}.0".split(".")[:3])
    return f"0x{major << 16 | minor << 8 | tertiary:x}"


@command("nvme.device.list", kind="NvmeDevice", help="List all NVMe devices.")
def devices(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"HBAName": adapter, "Signature": f"nvmeMgmt-{adapter}", "Status": "Online"} for adapter in _versions(item, "device")]


@command(
    "nvme.device.get",
    kind="NvmeControllerIdentify",
    parameters=[Parameter("adapter", "--adapter", "-A", help="Adapter to operate on.", required=True)],
    help="Get NVMe device information.",
)
def device(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    versions = _versions(item, "device")
    if arguments["adapter"] not in versions:
        raise CliFault(f"Invalid adapter {arguments['adapter']}")
    return {
        "FirmwareRevision": "1.1.0",
        "ModelNumber": _MODEL,
        "PCIVID": "0x144d",
        "PCISSVID": "0x1028",
        "SerialNumber": item.state.uuid[:8],
        "Version": versions[arguments["adapter"]],
    }


@command("storage.core.device.list", kind="ScsiDevice", help="List the devices currently registered with the PSA.")
def core_devices(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    boot = item.state.hardware.get("_boot", {})
    disk = {
        "DevfsPath": "/vmfs/devices/disks/naa.600508b1001c0001",
        "Device": "naa.600508b1001c0001",
        "Model": "LOGICAL VOLUME",
        "Vendor": "HPE",
    }
    rows = [_row({**disk, "Size": 915_683}, boots=False, usb=False)]
    if not boot.get("network"):
        name = boot.get("name", "mpx.vmhba0:C0:T0:L0")
        told = {"DevfsPath": f"/vmfs/devices/disks/{name}", "Device": name, "Model": boot.get("model", "Virtual disk")}
        size = {"Size": int(float(boot.get("gb", 32)) * 1024), "Vendor": boot.get("vendor", "VMware")}
        rows.insert(0, _row({**told, **size}, boots=True, usb=bool(boot.get("usb"))))
    return rows


def _row(told: dict[str, Any], *, boots: bool, usb: bool) -> dict[str, Any]:
    common = {
        "DeviceType": "Direct-Access",
        "DisplayName": f"Local Disk ({told['Device']})",
        "IsLocal": True,
        "IsOffline": False,
        "Status": "on",
    }
    return {**common, **told, "IsBootDevice": boots, "IsUSB": usb, "IsRemovable": usb, "IsSSD": not usb, "IsSAS": False}

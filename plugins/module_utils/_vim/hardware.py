# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .._client.fanout import fan_out
from .._client.inventory import Target
from .._client.properties import Row
from .._client.session import Session
from .._domain.errors import FleetcareError, ServerFault
from .._domain.hardware import Wanted
from .._domain.hardware_model import (
    KINDS,
    NVME,
    UNKNOWN,
    Boot,
    Device,
    Graphics,
    State,
    cpu_of,
    nvme_version_of,
    slot_of,
    unsigned,
)
from .._domain.plan import Change

_PCI = "hardware.pciDevice"
_FEATURES = "hardware.cpuFeature"
_BIOS = "hardware.biosInfo"
_PASSTHROUGH = "config.pciPassthruInfo"
_GRAPHICS = "config.graphicsInfo"
_NICS = "config.network.pnic"
_ADAPTERS = "config.storageDevice.hostBusAdapter"
_STATE_ENCRYPTION = "runtime.stateEncryption"
# The packages' own cpuid (hardware.cpuPkg) says the same as hardware.cpuFeature once a socket: 16 KB on the captured host.
PROPERTIES = (
    "config.product.version",
    "summary.hardware.vendor",
    "summary.hardware.model",
    "summary.hardware.cpuModel",
    "summary.hardware.numCpuPkgs",
    "summary.hardware.numCpuCores",
    "summary.hardware.numCpuThreads",
    "summary.hardware.memorySize",
    "summary.tpmAttestation",
    "capability.tpmSupported",
    "capability.tpmVersion",
    "capability.uefiSecureBoot",
    _STATE_ENCRYPTION,
    _FEATURES,
    _BIOS,
    _PCI,
    _PASSTHROUGH,
    _GRAPHICS,
    _NICS,
    _ADAPTERS,
)
PROBES: tuple[str, ...] = ()


def properties(wanted: Wanted) -> Sequence[str]:
    return PROPERTIES


# ---- what becomes of large values as they are read, so that a thousand hosts need the memory of a page -----------------


def _devices(array: Iterable[Mapping[str, Any]]) -> tuple[tuple[Device, ...], int]:
    """Those of the kinds that are judged, and how many more there are: most are bridges and root ports."""
    kept, others = [], 0
    for each in array:
        kind = unsigned(each["classId"])
        if kind >> 8 not in KINDS:
            others += 1
            continue
        kept.append(
            Device(
                slot=slot_of(each.get("id") or "", each.get("bus", 0), each.get("slot", 0), each.get("function", 0)),
                vendor=unsigned(each["vendorId"]),
                device=unsigned(each["deviceId"]),
                subvendor=unsigned(each.get("subVendorId", 0)),
                subdevice=unsigned(each.get("subDeviceId", 0)),
                pci_class=kind,
                vendor_name=(each.get("vendorName") or "").strip(),
                name=(each.get("deviceName") or "").strip(),
            )
        )
    return tuple(kept), others


def _passthrough(array: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found = {}
    for each in array:
        states = [name for name in ("active", "enabled", "capable") if each.get(f"passthru{name.capitalize()}")]
        found[(each.get("id") or "").lower()] = states[0] if states else "no"
    return found


def _holders(array: Iterable[Mapping[str, Any]]) -> tuple[dict[str, tuple[str, str | None]], tuple[str, ...]]:
    """Adapter and driver by PCI address; and the adapters for software FCoE. Several adapters may sit on one address."""
    found: dict[str, tuple[str, str | None]] = {}
    fcoe = []
    for each in array:
        address = (each.get("pci") or "").lower()
        if address:
            found.setdefault(address, (each.get("device") or "", each.get("driver") or None))
        if each.get("isSoftwareFcoe"):
            fcoe.append(each.get("device") or "")
    return found, tuple(fcoe)


def _cards(array: Iterable[Mapping[str, Any]]) -> tuple[Graphics, ...]:
    return tuple(
        Graphics(
            name=each.get("deviceName") or "",
            vendor=each.get("vendorName") or "",
            slot=(each.get("pciId") or "").lower(),
            type=each.get("graphicsType") or UNKNOWN,
            megabytes=None if each.get("memorySizeInKB") is None else int(each["memorySizeInKB"]) >> 10,
            machines=len(each.get("vm") or ()),
        )
        for each in array
    )


SHRINK: Mapping[str, Callable[[Any], Any]] = {
    _PCI: _devices,
    _PASSTHROUGH: _passthrough,
    _NICS: _holders,
    _ADAPTERS: _holders,
    _GRAPHICS: _cards,
}


# ---- what only esxcli tells -----------------------------------------------------------------------------------------


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """Versions of NVMe and the boot device, of those hosts that were asked for it: some calls a host."""
    found: dict[Any, Any] = {target: {} for target in rows}
    asked = [
        *([("nvme", _nvme, [target for target, row in rows.items() if _has_nvme(row)])] if wanted.nvme else []),
        *([("boot_device", _boot, list(rows))] if wanted.boot_device else []),
    ]
    for name, work, targets in asked:

        def one(target: Target, work: Callable[[Session, Target], Any] = work) -> Any:
            return work(session, target)

        for target, result in fan_out(targets, one, parallel=parallel, guard=session.guard).items():
            found[target][name] = result
    return found


def _has_nvme(row: Row) -> bool:
    return any(device.pci_class == NVME for device in row.values.get(_PCI, ((), 0))[0])


def _nvme(session: Session, target: Target) -> dict[str, str]:
    """Version by adapter. Which of the two namespaces a release has is not documented: the newer one is asked first."""
    controllers = _rows(session, target, "nvme.controller.list")
    if isinstance(controllers, ServerFault):
        return _older_nvme(session, target)
    versions: dict[str, str] = {}
    refusals = []
    for each in controllers:
        # Controllers behind a fabric belong to an array, not to the host.
        if isinstance(each, dict) and each.get("Name") and str(each.get("TransportType", "PCIe")).lower() == "pcie":
            said = _rows(session, target, "nvme.controller.identify", controller=each["Name"])
            refusals += [said] if isinstance(said, ServerFault) else []
            versions[str(each.get("Adapter", ""))] = UNKNOWN if isinstance(said, ServerFault) else _version(said)
    if refusals and len(refusals) == len(versions):
        raise refusals[0]
    return versions


def _rows(session: Session, target: Target, command: str, **arguments: Any) -> list[Any] | ServerFault:
    """What a command says, or why the host refuses it: one controller hides no other. Raises what is not the command's fault."""
    try:
        return session.esxcli(target.ref, command, **arguments)
    except ServerFault as problem:
        return problem


def _older_nvme(session: Session, target: Target) -> dict[str, str]:
    adapters = [str(each.get("HBAName") or "") for each in session.esxcli(target.ref, "nvme.device.list") if isinstance(each, dict)]
    return {name: _version(session.esxcli(target.ref, "nvme.device.get", adapter=name)) for name in adapters if name}


def _version(said: Iterable[Any]) -> str:
    """Either rows of name and value, as ``CNTLID 0x1`` in published output, or one structure with a field of that name."""
    for each in said:
        if not isinstance(each, dict):
            continue
        named = str(each.get("Name") or "").strip().lower() in ("ver", "version")
        text = each.get("Value") if named else each.get("Version") or each.get("VER")
        version = nvme_version_of(str(text)) if text else None
        if version:
            return version
    return UNKNOWN


def _boot(session: Session, target: Target) -> Boot | None:
    for each in session.esxcli(target.ref, "storage.core.device.list"):
        if isinstance(each, dict) and str(each.get("IsBootDevice", "")).lower() == "true":
            size = str(each.get("Size") or "")
            usb = str(each.get("IsUSB", "")).lower()
            return Boot(
                name=str(each.get("Device") or each.get("DisplayName") or UNKNOWN),
                model=f"{str(each.get('Vendor') or '').strip()} {str(each.get('Model') or '').strip()}".strip(),
                megabytes=int(size) if size.isascii() and size.isdigit() else None,
                usb={"true": True, "false": False}.get(usb),
            )
    return None


# ---- one host -------------------------------------------------------------------------------------------------------


def observe(row: Row, extra: Mapping[str, Any]) -> State:
    values = row.values
    bios = values.get(_BIOS) or {}
    silent: list[tuple[str, str]] = []
    versions = _told(extra, "nvme", "The version of NVMe", silent)
    boot = _told(extra, "boot_device", "The boot device", silent)
    if "boot_device" in extra and boot is None and not any(what == "The boot device" for what, _why in silent):
        silent.append(("The boot device", "esxcli names none, as after a boot over the network"))
    devices, fcoe = _devices_of(values, "nvme" in extra, versions or {})
    lacking = [device.called for device in devices or () if device.nvme == UNKNOWN]
    if versions is not None and lacking:
        silent.append(("The version of NVMe", f"esxcli does not tell it of {', '.join(lacking)}"))
    firmware = str(bios.get("firmwareType") or "").lower()
    encryption = values.get(_STATE_ENCRYPTION) or {}
    return State(
        moid=row.ref.id,
        version=values.get("config.product.version", ""),
        vendor=(values.get("summary.hardware.vendor") or "").strip(),
        model=(values.get("summary.hardware.model") or "").strip(),
        cpu=_cpu(values),
        memory=values.get("summary.hardware.memorySize"),
        firmware=firmware if firmware in ("bios", "uefi") else None,
        firmware_version=str(bios.get("biosVersion") or ""),
        secure_boot=values.get("capability.uefiSecureBoot"),
        requires_secure_boot=encryption.get("requireSecureBoot"),
        tpm=values.get("capability.tpmSupported"),
        tpm_version=values.get("capability.tpmVersion") or None,
        tpm_attestation=(values.get("summary.tpmAttestation") or {}).get("status"),
        devices=devices,
        others=values.get(_PCI, ((), 0))[1],
        software_fcoe=fcoe,
        graphics=values.get(_GRAPHICS) or (),
        boot=boot,
        silent=tuple(silent),
    )


def _told(extra: Mapping[str, Any], name: str, what: str, silent: list[tuple[str, str]]) -> Any:
    found = extra.get(name)
    if isinstance(found, Exception):
        silent.append((what, found.cause if isinstance(found, FleetcareError) else str(found)))
        return None
    return found


def _cpu(values: Mapping[str, Any]) -> Any:
    brand = values.get("summary.hardware.cpuModel") or ""
    sockets, cores, threads = (values.get(f"summary.hardware.numCpu{part}") for part in ("Pkgs", "Cores", "Threads"))
    if not values.get(_FEATURES) and not brand and cores is None:
        return None
    return cpu_of(values.get(_FEATURES) or (), brand, sockets, cores, threads)


def _devices_of(values: Mapping[str, Any], asked: bool, versions: Mapping[str, str]) -> tuple[tuple[Device, ...] | None, tuple[str, ...]]:
    nics, _none = values.get(_NICS, ({}, ()))
    adapters, fcoe = values.get(_ADAPTERS, ({}, ()))
    if _PCI not in values:
        return None, fcoe
    passthrough = values.get(_PASSTHROUGH) or {}
    made = []
    for device in values[_PCI][0]:
        adapter, driver = nics.get(device.slot) or adapters.get(device.slot) or (None, None)
        is_asked = asked and device.pci_class == NVME
        made.append(
            Device(
                **{
                    **vars(device),
                    "adapter": adapter,
                    "driver": driver,
                    "passthrough": passthrough.get(device.slot),
                    "nvme": versions.get(adapter or "", UNKNOWN) if is_asked else None,
                }
            )
        )
    return tuple(made), fcoe


def apply(session: Session, target: Target, row: Row, change: Change) -> None:
    raise TypeError(f"{type(change).__name__} is not a change of this feature: it changes nothing")

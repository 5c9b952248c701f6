# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of ESXi hosts: whether it fits a release that they are to run. Pure. Private to this collection.

Nothing is "supported" without somebody who says so: the catalogue never does, only a list of the user's own.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import BadInput, listed
from .hardware_catalogue import DEMANDS, RELEASES, ROWS, Demand
from .hardware_list import from_entries, from_text
from .hardware_model import (
    ETHERNET,
    NVME,
    UNKNOWN,
    VERDICTS,
    Cpu,
    Device,
    Release,
    Row,
    State,
    best,
    hexadecimal,
    release_name,
    release_of,
    version_of,
    worst,
)
from .plan import Finding, Meaning, Plan
from .table import as_csv

_GUIDE = "ESXi Hardware Requirements of the release's installation guide (docs.vmware.com, GUID-DEB8086A)"
_OWN = "the catalogue or the compatibility list; the finding names the line"

MEANINGS: dict[str, Meaning] = {
    "cpu_cores_too_few": Meaning(
        "error",
        "The host has fewer cores than the target release demands.",
        "Switch cores on in the firmware, or replace the host.",
        _GUIDE,
    ),
    "cpu_feature_missing": Meaning(
        "error",
        "The CPU lacks a feature that the target release does not start without.",
        "Look whether the firmware switches it off (NX or XD often is); a CPU without XSAVE stays on 8.0 U1 or older.",
        f"{_GUIDE}; williamlam.com, October 2023, on XSAVE",
    ),
    "cpu_virtualization_off": Meaning(
        "warning",
        "The CPU shows no hardware virtualization, without which 64-bit virtual machines do not run.",
        "Switch VT-x or AMD-V on in the firmware.",
        _GUIDE,
    ),
    "cpu_known_bad": Meaning(
        "error",
        "The CPU is known not to be taken by the target release.",
        "Replace the host, or stay on its release; if you know better, say so with a source in compatibility_list.",
        _OWN,
    ),
    "cpu_with_advice": Meaning(
        "warning", "There is something to know about this CPU and the target release.", "Read the note and its source.", _OWN
    ),
    "memory_too_small": Meaning(
        "error", "The host has less memory than the target release demands.", "Add memory, or replace the host.", _GUIDE
    ),
    "memory_below_advice": Meaning(
        "warning",
        "The host has less memory than is recommended for running virtual machines on the target release.",
        "Add memory before virtual machines run there.",
        _GUIDE,
    ),
    "boot_disk_too_small": Meaning(
        "error",
        "The boot device is smaller than the target release demands. A warning for USB and SD devices, which may hold the boot banks only.",
        "Install anew on a larger disk; with a USB or SD device, see that the rest of the system is on a disk of that size.",
        _GUIDE,
    ),
    "boot_from_usb": Meaning(
        "warning",
        "The host boots from a USB or SD device, which is supported up to 8.0 only and wears out.",
        "Plan a disk of 32 GB or more, of a kind that lasts, as its boot device.",
        "KB 85685, as quoted in April 2022",
    ),
    "legacy_bios": Meaning(
        "warning",
        "The host boots by legacy BIOS, which is deprecated and will be removed.",
        "Switch the firmware to UEFI and install anew; KB 313152 tells how.",
        "KB 313152",
    ),
    "demand_of_earlier_release": Meaning(
        "warning",
        "The host does not have what an earlier release demands already; of the target release no such source was found.",
        "Do not count on less: look at the target's own installation guide, and treat it as a demand until then.",
        _GUIDE,
    ),
    "device_known_bad": Meaning(
        "error",
        "A device is known not to work with the target release. A warning where the host uses it for nothing today.",
        "Replace the device, or find a driver for the target release; if you know better, say so with a source in compatibility_list.",
        _OWN,
    ),
    "software_fcoe_gone": Meaning(
        "error",
        "The host uses software FCoE, which the target release does not have any more.",
        "Reach that storage by a hardware FCoE adapter or another protocol before the upgrade, and remove the software adapter.",
        _GUIDE,
    ),
    "device_with_advice": Meaning(
        "warning", "There is something to know about this device and the target release.", "Read the note and its source.", _OWN
    ),
    "device_not_listed": Meaning(
        "note",
        "Your compatibility list says nothing about some devices of the host, or about its CPU.",
        "Look them up in the Broadcom Compatibility Guide by their ids, the CPU by its name, and add a line with the source.",
        "the compatibility list",
    ),
    "network_lost": Meaning(
        "error",
        "No Ethernet controller of the host is left that is not known to fail with the target release.",
        "Put a supported network adapter in before the upgrade; the host could not be reached after it.",
        _GUIDE,
    ),
    "nvme_version_old": Meaning(
        "warning",
        "An NVMe controller speaks a version of NVMe below 1.3, of which failures are reported.",
        "Look the device up in the Broadcom Compatibility Guide, and try it before the upgrade; advice only, no vendor text demands it.",
        "claimed in the field, not found in a vendor text; KB 312191 names the command",
    ),
    "hardware_not_told": Meaning(
        "warning",
        "The host does not tell something that the target release demands, so it is not judged.",
        "Look at the host itself; its release, its firmware or a missing privilege may be why.",
        "HostHardwareInfo; esxcli",
    ),
}

# Firmware and graphics keep a part of the memory that is built in (the captured 16 GB machine reports half a megabyte less), and
# what is sold as 32 GB has 32 * 10^9 bytes, an SD card somewhat less.
_TOLERANCE = 1 / 16
_GIB = 1 << 30
_NAMES = {
    "cores": "cores",
    "nx": "NX/XD",
    "xsave": "XSAVE",
    "memory_gb": "memory",
    "boot_disk_gb": "the size of the boot device",
    "ethernet": "Ethernet controllers",
    "no_software_fcoe": "software FCoE",
}


def _found(code: str, text: str, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Without ``target`` nothing is judged. ``rows``: of the user's own list."""

    target: Release | None = None
    rows: tuple[Row, ...] = ()
    nvme: bool = False
    boot_device: bool = False
    csv: bool = False


@dataclass(frozen=True)
class Seen:
    """``memo``: what was worked out for a model of device or CPU, as a fleet has few models and many of each."""

    memo: dict[Any, tuple[Row | None, bool]] = field(default_factory=dict, compare=False)


def parse(params: Mapping[str, Any]) -> Wanted:
    """Module options as a wish; a file in compatibility_list is its name and its text. Raises BadInput."""
    text = params.get("target_release")
    target = None
    if text is not None:
        target = release_of(str(text))
        if target is None or f"{target[0]}.{target[1]}" not in RELEASES:
            raise BadInput(
                f"target_release {str(text)[:40]!r} is none of {', '.join(RELEASES)} or their updates",
                hint="Write for example 8.0, 8.0 U3 or 8.0.3.",
            )
    given = params.get("compatibility_list")
    rows: tuple[Row, ...] = ()
    if given is not None:
        if target is None:
            raise BadInput("compatibility_list is given without target_release", hint="Say for which release the hosts are to be judged.")
        rows = from_text(given[1], given[0]) if isinstance(given, tuple) else from_entries(given)
    return Wanted(
        target=target,
        rows=rows,
        nvme=bool(params.get("nvme")),
        boot_device=bool(params.get("boot_device")),
        csv=bool(params.get("csv")),
    )


# ---- judging --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A device or the CPU with what is said of it. ``own``: by the user's list, which nothing overrides."""

    part: Any
    verdict: str
    source: str = ""
    note: str = ""
    own: bool = False


@dataclass(frozen=True)
class Checked:
    """One demand: what there is, and whether that is enough; None where it is not told. ``of``: the release whose demand it is,
    where none was found of the target."""

    demand: Demand
    has: Any
    met: bool | None
    of: str = ""

    @property
    def must(self) -> bool:
        return self.demand.must and not self.of


@dataclass(frozen=True)
class Judgement:
    cpu: Judged | None
    devices: tuple[Judged, ...]
    checked: tuple[Checked, ...]

    @property
    def verdict(self) -> str:
        """The worst of all. What is not told keeps a host from being called supported."""
        found = [judged.verdict for judged in (*([self.cpu] if self.cpu else []), *self.devices)]
        for check in self.checked:
            if check.met is False:
                found.append("known_bad" if check.must else "advice")
            elif check.met is None and check.must:
                found.append("not_listed")
        return worst([*found, *([] if self.cpu else ["not_listed"])])


def judge(state: State, wanted: Wanted, seen: Seen) -> Judgement | None:
    """Everything about one host; None where no target is named."""
    target = wanted.target
    if target is None:
        return None
    devices = tuple(_device(device, state, wanted, seen) for device in state.devices or ())
    cpu = _row_says(state.cpu, wanted, seen) if state.cpu else None
    checked = tuple(_checked(demand, of, state, devices) for demand, of in demands_of(target))
    return Judgement(cpu, devices, checked)


@functools.cache
def demands_of(target: Release) -> tuple[tuple[Demand, str], ...]:
    """What a release demands; where no source says so, what the newest earlier release of which one does, with its name."""
    own = [demand for demand in DEMANDS if target in demand.span]
    names = {demand.name for demand in own}
    earlier: dict[tuple[str, bool], tuple[Release, Demand]] = {}
    for demand in DEMANDS:
        last, key = demand.span.last, (demand.name, demand.must)
        if demand.name not in names and last is not None and last < target and (key not in earlier or earlier[key][0] < last):
            earlier[key] = (last, demand)
    return (*((demand, "") for demand in own), *((demand, f"{last[0]}.{last[1]}") for last, demand in earlier.values()))


def _row_says(part: Device | Cpu, wanted: Wanted, seen: Seen) -> Judged:
    if isinstance(part, Device):
        key: Any = (part.vendor, part.device, part.subvendor, part.subdevice, part.pci_class)
    else:
        key = (part.vendor, part.family, part.model, part.stepping, part.brand)
    if key not in seen.memo and wanted.target is not None:
        own = best(wanted.rows, part, wanted.target)
        seen.memo[key] = (own, True) if own else (best(ROWS, part, wanted.target), False)
    row, own_row = seen.memo.get(key, (None, False))
    return Judged(part, row.verdict, row.source, row.note, own_row) if row else Judged(part, "not_listed")


def _device(device: Device, state: State, wanted: Wanted, seen: Seen) -> Judged:
    judged = _row_says(device, wanted, seen)
    row = seen.memo.get((device.vendor, device.device, device.subvendor, device.subdevice, device.pci_class), (None, False))[0]
    version = version_of(state.version)
    if row and row.undriven is not None and device.driver and version is not None and version in row.undriven:
        note = f"The host runs it with the driver {device.driver}, which was found in no image of VMware: it has to be there for the target release, too."
        return Judged(device, "advice", row.source, note)
    if not judged.own and _is_old_nvme(device):
        source = next((demand.source for demand in DEMANDS if demand.name == "nvme_1_3"), "")
        return Judged(device, worst((judged.verdict, "advice")), judged.source or source, judged.note)
    return judged


def _is_old_nvme(device: Device) -> bool:
    if device.nvme in (None, UNKNOWN):
        return False
    return tuple(map(int, str(device.nvme).split(".")))[:2] < (1, 3)


def _checked(demand: Demand, of: str, state: State, devices: tuple[Judged, ...]) -> Checked:
    name, cpu = demand.name, state.cpu
    has: Any = None
    met: bool | None = None
    if name == "cores":
        has = cpu.cores if cpu else None
        met = None if has is None else has >= demand.least
    elif name in ("nx", "xsave", "virtualization"):
        has = met = cpu.has(name) if cpu else None
    elif name == "memory_gb":
        has = None if state.memory is None else round(state.memory / _GIB, 1)
        met = None if state.memory is None else state.memory >= demand.least * _GIB * (1 - _TOLERANCE)
    elif name == "boot_disk_gb":
        size = state.boot.megabytes if state.boot else None
        has = None if size is None else round(size / 1024, 1)
        met = None if size is None else size << 20 >= demand.least * 10**9 * (1 - _TOLERANCE)
        if met is False and state.boot and state.boot.usb:
            # The guides demand it of a disk and take USB and SD devices for the boot banks, with a disk beside them that is not told here.
            demand = replace(demand, must=False)
    elif name == "ethernet":
        has = None if state.devices is None else sum(j.part.pci_class == ETHERNET and j.verdict != "known_bad" for j in devices)
        met = None if has is None else has >= demand.least
    elif name == "uefi":
        has = state.firmware
        met = None if has is None else has == "uefi"
    elif name == "no_usb_boot":
        has = met = None if state.boot is None or state.boot.usb is None else not state.boot.usb
    elif name == "nvme_1_3":
        has, met = _nvme(state, devices)
    elif name == "no_software_fcoe":
        has = met = None if state.devices is None else not state.software_fcoe
    return Checked(demand, has, met, of)


def _nvme(state: State, devices: tuple[Judged, ...]) -> tuple[Any, bool | None]:
    if state.devices is None:
        return None, None
    versions = [(judged.part.nvme or UNKNOWN, judged) for judged in devices if judged.part.pci_class == NVME]
    told = sorted({version for version, _judged in versions})
    if any(_is_old_nvme(judged.part) and not judged.own for _version, judged in versions):
        return told, False
    return told, None if UNKNOWN in told else True


# ---- findings -------------------------------------------------------------------------------------------------------


def survey(states: Iterable[State], common: Mapping[str, Any], wanted: Wanted) -> Seen:
    return Seen()


def plan(state: State, wanted: Wanted, seen: Seen) -> Plan:
    """Nothing is ever changed; the findings say what does not fit."""
    judgement = judge(state, wanted, seen)
    return Plan(observed=state, findings=tuple(_findings(state, judgement, wanted)) if judgement else tuple(_silent(state)))


def _silent(state: State) -> list[Finding]:
    return [_found("hardware_not_told", f"{what} was asked for and is not known: {why.rstrip('.')}") for what, why in state.silent]


def _findings(state: State, judgement: Judgement, wanted: Wanted) -> list[Finding]:
    name = release_name(wanted.target) if wanted.target else ""
    found: list[Finding] = []
    untold: list[str] = []
    for check in judgement.checked:
        if check.met is False and check.of:
            for finding in _unmet(check, state, judgement, check.of):
                text = f"Nothing was found on what ESXi {name} demands here; of {check.of}: {finding.text}"
                found.append(_found("demand_of_earlier_release", text))
        elif check.met is False:
            found += _unmet(check, state, judgement, name)
        elif check.met is None and check.must and not (check.demand.name == "boot_disk_gb" and state.boot is None):
            untold.append(_NAMES[check.demand.name])
    if untold:
        what = ", ".join(dict.fromkeys(untold))
        found.append(_found("hardware_not_told", f"ESXi {name} has demands that cannot be judged, because the host does not tell: {what}"))
    found += _silent(state)
    if judgement.cpu:
        found += _of_cpu(judgement.cpu, name)
    found += [finding for judged in judgement.devices for finding in _of_device(judged, name)]
    unlisted = [judged.part.called for judged in judgement.devices if judged.verdict == "not_listed"]
    parts = [f"{len(unlisted)} of {len(judgement.devices)} devices: {listed(unlisted, 5)}"] if unlisted else []
    if judgement.cpu and judgement.cpu.verdict == "not_listed":
        parts.append(f"the CPU: {_cpu_name(state)}")
    if wanted.rows and parts:
        found.append(_found("device_not_listed", "; ".join(parts)))
    return found


def _unmet(check: Checked, state: State, judgement: Judgement, name: str) -> list[Finding]:
    demand, has, by = check.demand, check.has, f"({check.demand.source})"
    if demand.name == "cores":
        return [_found("cpu_cores_too_few", f"ESXi {name} demands {demand.least} cores, the host has {has} {by}")]
    if demand.name in ("nx", "xsave"):
        what = {"nx": "the NX/XD bit", "xsave": "the XSAVE instruction"}[demand.name]
        return [_found("cpu_feature_missing", f"ESXi {name} demands {what}, which {_cpu_name(state)} does not show {by}")]
    if demand.name == "virtualization":
        return [_found("cpu_virtualization_off", f"{_cpu_name(state)} shows neither VT-x nor AMD-V {by}")]
    if demand.name == "memory_gb":
        if demand.must:
            return [_found("memory_too_small", f"ESXi {name} demands {demand.least} GB of memory, the host has {has} {by}")]
        if any(other.met is False and other.demand.must for other in judgement.checked if other.demand.name == demand.name):
            return []  # the demand says it already
        return [_found("memory_below_advice", f"{demand.least} GB of memory are recommended for ESXi {name}, the host has {has} {by}")]
    if demand.name == "boot_disk_gb":
        text = f"ESXi {name} demands a boot device of {demand.least} GB, {_boot(state)} has {has} {by}"
        return [_found("boot_disk_too_small", text, "" if check.must else "warning")]
    if demand.name == "ethernet":
        return [_found("network_lost", f"{_ethernet(judgement)} {by}")]
    if demand.name == "uefi":
        return [_found("legacy_bios", f"The host boots by legacy BIOS {by}")]
    if demand.name == "no_usb_boot":
        return [_found("boot_from_usb", f"The host boots from {_boot(state)} {by}")]
    if demand.name == "no_software_fcoe":
        return [_found("software_fcoe_gone", f"{', '.join(state.software_fcoe)}: software FCoE is gone in ESXi {name} {by}")]
    return [
        _found("nvme_version_old", f"{judged.part.called} speaks NVMe {judged.part.nvme}")
        for judged in judgement.devices
        if _is_old_nvme(judged.part) and not judged.own
    ]


def _cpu_name(state: State) -> str:
    return f"{state.cpu.brand or 'the CPU'} ({state.cpu.signature})" if state.cpu else "the CPU"


def _boot(state: State) -> str:
    return f"{state.boot.name} ({state.boot.model.strip() or 'no model told'})" if state.boot else "its boot device"


def _ethernet(judgement: Judgement) -> str:
    gone = [judged.part.called for judged in judgement.devices if judged.part.pci_class == ETHERNET]
    return f"Known to fail: {listed(gone, 5)}" if gone else "The host has no Ethernet controller"


def _of_cpu(judged: Judged, name: str) -> list[Finding]:
    if judged.verdict in ("supported", "not_listed"):
        return []
    cpu: Cpu = judged.part
    text = f"{cpu.brand or 'The CPU'} ({cpu.signature}) and ESXi {name}: {_said_of(judged)}"
    if judged.verdict == "known_bad":
        return [_found("cpu_known_bad", text)]
    return [_found("cpu_with_advice", text)]


def _said_of(judged: Judged) -> str:
    return f"{(judged.note or judged.verdict.replace('_', ' ')).rstrip('. ')} ({judged.source})"


def _of_device(judged: Judged, name: str) -> list[Finding]:
    if judged.verdict in ("supported", "not_listed") or (judged.verdict == "advice" and _is_old_nvme(judged.part) and not judged.own):
        return []  # what is old is told by itself
    device: Device = judged.part
    text = f"{device.called} and ESXi {name}: {_said_of(judged)}"
    if judged.verdict == "known_bad":
        return [_found("device_known_bad", text, "error" if device.driver else "warning")]
    return [_found("device_with_advice", text)]


def after(read: State, predicted: State, waited: bool) -> State:
    return read


def settled(state: State, wanted: Wanted, seen: Seen) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


def settings(state: State | None) -> dict[str, Any]:
    return {}


# ---- the whole ------------------------------------------------------------------------------------------------------


def is_offline(wanted: Wanted, has_endpoint: bool) -> bool:
    return False


def needs_hosts(wanted: Wanted) -> bool:
    return True


def endpoint_plan(seen: Seen, wanted: Wanted) -> Plan:
    return Plan(observed=None)


# ---- telling --------------------------------------------------------------------------------------------------------


def report(state: State | None, wanted: Wanted, seen: Seen, *, full: bool) -> dict[str, Any]:
    """What a result says of a host beside its findings."""
    if state is None:
        return {}
    judgement = judge(state, wanted, seen)
    judged = judgement.devices if judgement else tuple(Judged(device, "") for device in state.devices or ())
    by_kind: dict[str, list[dict[str, Any]]] = {"network": [], "storage": [], "graphics": [], "accelerator": []}
    for each in judged:
        by_kind.setdefault(each.part.kind, []).append(_device_report(each))
    known = state.devices is not None
    return {
        "version": state.version or None,
        "verdict": judgement.verdict if judgement else None,
        "target_release": release_name(wanted.target) if wanted.target else None,
        "requirements": [_check_report(check) for check in judgement.checked] if judgement else None,
        "vendor": state.vendor or None,
        "model": state.model or None,
        "cpu": _cpu_report(state.cpu, judgement) if state.cpu else None,
        "memory_mb": None if state.memory is None else state.memory >> 20,
        "firmware": state.firmware or UNKNOWN,
        "firmware_version": state.firmware_version or None,
        "secure_boot": UNKNOWN if state.secure_boot is None else state.secure_boot,
        "requires_secure_boot": UNKNOWN if state.requires_secure_boot is None else state.requires_secure_boot,
        "tpm": {"present": state.tpm, "version": state.tpm_version, "attestation": state.tpm_attestation},
        "boot_device": _boot_report(state, wanted),
        "network": by_kind["network"] if known else None,
        "storage": by_kind["storage"] if known else None,
        "graphics": by_kind["graphics"] if known else None,
        "accelerators": by_kind["accelerator"] if known else None,
        "graphics_cards": [
            {
                "name": card.name,
                "vendor": card.vendor,
                "slot": card.slot,
                "type": card.type,
                "memory_mb": card.megabytes,
                "vms": card.machines,
            }
            for card in state.graphics
        ],
        "other_devices": state.others if known else None,
    }


def _check_report(check: Checked) -> dict[str, Any]:
    """Without the source, which is the same for every host and told once a run."""
    told = {"demand": check.demand.name, "least": check.demand.least, "must": check.must}
    return {**told, "has": UNKNOWN if check.has is None else check.has, "met": UNKNOWN if check.met is None else check.met}


def _cpu_report(cpu: Cpu, judgement: Judgement | None) -> dict[str, Any]:
    judged = judgement.cpu if judgement else None
    return {
        "vendor": cpu.vendor or UNKNOWN,
        "family": cpu.family,
        "model": cpu.model,
        "stepping": cpu.stepping,
        "brand": cpu.brand,
        "features": list(cpu.features),
        "sockets": cpu.sockets,
        "cores": cpu.cores,
        "threads": cpu.threads,
        **({"verdict": judged.verdict, "source": judged.source or None, "note": judged.note or None} if judged else {}),
    }


def _boot_report(state: State, wanted: Wanted) -> dict[str, Any] | str | None:
    if state.boot is None:
        return UNKNOWN if wanted.boot_device else None
    boot = state.boot
    return {"name": boot.name, "model": boot.model.strip(), "size_mb": boot.megabytes, "usb": UNKNOWN if boot.usb is None else boot.usb}


def _device_report(judged: Judged) -> dict[str, Any]:
    device: Device = judged.part
    told = {
        "slot": device.slot,
        "vendor": hexadecimal(device.vendor),
        "device": hexadecimal(device.device),
        "subvendor": hexadecimal(device.subvendor),
        "subdevice": hexadecimal(device.subdevice),
        "class": hexadecimal(device.pci_class),
        "vendor_name": device.vendor_name,
        "name": device.name,
        "adapter": device.adapter,
        "driver": device.driver,
        "passthrough": device.passthrough or UNKNOWN,
        "nvme_version": device.nvme,
        "verdict": judged.verdict or None,
        "source": judged.source or None,
        "note": judged.note or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def overview(seen: Seen, wanted: Wanted, plans: Mapping[str, Plan], away: Mapping[str, str]) -> dict[str, Any]:
    """How many hosts have which verdict, which models of devices there are, and all of it as a table."""
    models: dict[tuple[str, ...], dict[str, Any]] = {}
    verdicts: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for name, made in plans.items():
        state: State = made.observed
        judgement = judge(state, wanted, seen)
        if judgement:
            verdicts[judgement.verdict] += 1
        judged = judgement.devices if judgement else tuple(Judged(device, "") for device in state.devices or ())
        for ids, each in {_ids(each.part): each for each in judged}.items():
            entry = models.setdefault(ids, {**_model_report(each.part), "hosts": 0})
            entry["hosts"] += 1
            if each.verdict and (entry.get("verdict") is None or VERDICTS.index(each.verdict) > VERDICTS.index(entry["verdict"])):
                entry["verdict"] = each.verdict
        if wanted.csv:
            rows += _lines(name, made, judgement, judged)
    rows += [{"host": name, "moid": moid, "part": "host", "verdict": UNKNOWN, "note": "host_away"} for name, moid in away.items()]
    told = ", ".join(f"{verdicts[verdict]} {verdict.replace('_', ' ')}" for verdict in reversed(VERDICTS) if verdicts[verdict])
    result: dict[str, Any] = {
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS if verdicts[verdict]},
        "device_models": sorted(models.values(), key=lambda entry: (entry["kind"], -entry["hosts"], entry["pci"])),
    }
    if wanted.target is not None:
        result["target_release"] = release_name(wanted.target)
        result["requirements"] = [
            {
                "demand": demand.name,
                "least": demand.least,
                "must": demand.must and not of,
                "of": of or release_name(wanted.target),
                "source": demand.source,
            }
            for demand, of in demands_of(wanted.target)
        ]
        result["msg"] = f"For ESXi {release_name(wanted.target)}: {told or 'no host was judged'}"
    if wanted.csv:
        result["csv"] = as_csv(_COLUMNS, rows)
    return result


def _ids(device: Device) -> tuple[str, ...]:
    return (*(hexadecimal(number) for number in (device.vendor, device.device, device.subvendor, device.subdevice)), device.kind)


def _model_report(device: Device) -> dict[str, Any]:
    ids = _ids(device)
    return {
        "pci": ":".join(ids[:4]),
        "class": hexadecimal(device.pci_class),
        "kind": device.kind,
        "name": " ".join(part for part in (device.vendor_name, device.name) if part),
    }


_COLUMNS = ("host", "moid", "version", "part", "slot", "pci", "name", "driver", "has", "verdict", "note", "source")


def _lines(name: str, made: Plan, judgement: Judgement | None, devices: Iterable[Judged]) -> list[dict[str, Any]]:
    """One line for the host, its CPU, each demand, each device."""
    state: State = made.observed
    begin: dict[str, Any] = {"host": name, "moid": state.moid, "version": state.version}
    codes = [finding.code for finding in made.findings]
    host = {**begin, "part": "host", "name": f"{state.vendor} {state.model}".strip(), "note": "; ".join(dict.fromkeys(codes))}
    lines = [{**host, "verdict": judgement.verdict if judgement else None}]
    if state.cpu:
        said = judgement.cpu if judgement and judgement.cpu else Judged(state.cpu, "")
        lines.append({**begin, "part": "cpu", "name": state.cpu.brand, "has": state.cpu.signature, **_said(said)})
    for check in judgement.checked if judgement else ():
        bad = "known_bad" if check.must else "advice"
        verdict = UNKNOWN if check.met is None else "met" if check.met else bad
        has = UNKNOWN if check.has is None else check.has
        lines.append({**begin, "part": f"demand {check.demand.name}", "has": has, "verdict": verdict, "source": check.demand.source})
    for each in devices:
        part: Device = each.part
        told = {**begin, "part": part.kind, "slot": part.slot, "pci": _model_report(part)["pci"], "name": _model_report(part)["name"]}
        lines.append({**told, "driver": part.driver, "has": part.nvme, **_said(each)})
    return lines


def _said(judged: Judged) -> dict[str, Any]:
    return {"verdict": judged.verdict or None, "note": judged.note or None, "source": judged.source or None}

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ESXi host is made of, as plain values, and how its numbers are read. Pure. Private to this collection."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# From good to bad. Not listed means that nobody said anything, advice that somebody did: it outranks the other.
VERDICTS = ("supported", "not_listed", "advice", "known_bad")
UNKNOWN = "unknown"

Release = tuple[int, int, int]
NEWEST = 99
_RELEASE = re.compile(
    r"^(?:esxi?\s*)?(?P<major>\d{1,2})\.(?P<minor>\d)(?:\.(?P<dotted>\d{1,2})(?:\.\d+)*|\s*(?:u|update\s*)(?P<update>\d{1,2})[a-z]?|\s*(?P<first>ga))?$",
    re.I,
)


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts; of none at all, that nothing is known."""
    return max(verdicts, key=VERDICTS.index, default="not_listed")


def release_of(text: str) -> Release | None:
    """``8.0 U2``, ``8.0.2`` and ``8.0u2b`` alike. One without an update is the newest of its kind: what any update demands is demanded."""
    found = _RELEASE.match(text.strip())
    if not found:
        return None
    update = found["dotted"] or found["update"]
    return int(found["major"]), int(found["minor"]), 0 if found["first"] else NEWEST if update is None else int(update)


def version_of(text: str) -> Release | None:
    """What a host says of itself: 8.0.3."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def release_name(release: Release) -> str:
    return f"{release[0]}.{release[1]}" + ("" if release[2] == NEWEST else f" U{release[2]}" if release[2] else " GA")


@dataclass(frozen=True)
class Span:
    """Releases from one to another, both included; None is open."""

    first: Release | None = None
    last: Release | None = None

    def __contains__(self, release: Release) -> bool:
        return (self.first is None or self.first <= release) and (self.last is None or release <= self.last)


def span_of(text: str) -> Span | None:
    """``8.0`` is all of 8.0, ``7.0-8.0.1`` and ``8.0.2-`` what they say; nothing is every release."""
    first, dash, last = (part.strip() for part in text.strip().partition("-"))
    if not text.strip():
        return Span()
    begin, end = release_of(first) if first else None, release_of(last) if last else None
    if (first and begin is None) or (last and end is None) or (dash and not first and not last):
        return None
    if begin is not None and not dash:
        return Span((begin[0], begin[1], 0 if begin[2] == NEWEST else begin[2]), begin)
    if begin is not None and begin[2] == NEWEST:
        begin = (begin[0], begin[1], 0)
    return None if begin is not None and end is not None and begin > end else Span(begin, end)


# ---- PCI ------------------------------------------------------------------------------------------------------------

# The first byte of a class code, as the PCI Code and ID Assignment Specification numbers them (pci.ids has the same).
KINDS = {0x01: "storage", 0x02: "network", 0x03: "graphics", 0x12: "accelerator"}
ETHERNET = 0x0200
NVME = 0x0108


def unsigned(number: int) -> int:
    """Ids are xsd:short on the wire, so Intel's 0x8086 arrives as -32634 (capture; facts.md 0.10)."""
    return number & 0xFFFF


def hexadecimal(number: int) -> str:
    return f"{number & 0xFFFF:04x}"


@dataclass(frozen=True)
class Device:
    """A PCI device. ``adapter``: the name under which the host uses it, vmnic0 or vmhba1, and with which ``driver``.

    ``passthrough``: active, enabled, capable, no; None where the host does not tell. ``nvme``: None where it was not asked,
    "unknown" where it could not tell."""

    slot: str
    vendor: int
    device: int
    subvendor: int
    subdevice: int
    pci_class: int
    vendor_name: str = ""
    name: str = ""
    adapter: str | None = None
    driver: str | None = None
    passthrough: str | None = None
    nvme: str | None = None

    @property
    def kind(self) -> str:
        return KINDS.get(self.pci_class >> 8, "other")

    @property
    def id(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}"

    @property
    def called(self) -> str:
        """How people find it: adapter or slot, name, id."""
        name = " ".join(part for part in (self.vendor_name, self.name) if part)
        return f"{self.adapter or self.slot} ({name + ', ' if name else ''}{self.id})"


def slot_of(text: str, bus: int, slot: int, function: int) -> str:
    """The address of a device; its parts are xsd:byte, so bus 0xd8 arrives as -40."""
    if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", text.strip().lower()):
        return text.strip().lower()
    return f"0000:{bus & 0xFF:02x}:{slot & 0x1F:02x}.{function & 0x7}"


# ---- CPU ------------------------------------------------------------------------------------------------------------

_EXTENDED = 0x80000001
# Level, register and bit, as in Intel's and AMD's manuals of CPUID.
_FEATURES = {
    "nx": (_EXTENDED, "edx", 20),
    "long_mode": (_EXTENDED, "edx", 29),
    "xsave": (1, "ecx", 26),
    "sse4_2": (1, "ecx", 20),
    "aes": (1, "ecx", 25),
    "avx": (1, "ecx", 28),
    "x2apic": (1, "ecx", 21),
    "vmx": (1, "ecx", 5),
    "svm": (_EXTENDED, "ecx", 2),
}
VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "hygon"}


@dataclass(frozen=True)
class Cpu:
    """``features``: those that it has; ``told``: those of which it is known whether it has them."""

    vendor: str | None
    family: int | None
    model: int | None
    stepping: int | None
    brand: str
    features: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None

    def has(self, feature: str) -> bool | None:
        """``virtualization`` is Intel's or AMD's. None: the host does not tell."""
        if feature == "virtualization":
            asked = [self.has(name) for name in ("vmx", "svm")]
            return True if True in asked else None if None in asked else False
        return feature in self.features if feature in self.told else None

    @property
    def signature(self) -> str:
        numbers = "/".join(UNKNOWN if number is None else str(number) for number in (self.family, self.model, self.stepping))
        return f"{self.vendor or UNKNOWN} {numbers}"


def register(text: str | None) -> int | None:
    """``0000:0000:0000:0110:...``, 32 bits; a mask with other signs than 0 and 1 tells nothing for sure."""
    bits = (text or "").replace(":", "")
    return int(bits, 2) if re.fullmatch("[01]{32}", bits) else None


def identity(levels: Mapping[int, Mapping[str, int | None]]) -> tuple[str | None, int | None, int | None, int | None]:
    """Vendor, family, model, stepping of what CPUID says, by level (unsigned) and register."""
    name = b""
    for part in ("ebx", "edx", "ecx"):
        number = levels.get(0, {}).get(part)
        name += b"" if number is None else number.to_bytes(4, "little")
    vendor = VENDORS.get(name.decode("ascii", "replace"))
    signature = levels.get(1, {}).get("eax")
    if signature is None:
        return vendor, None, None, None
    stepping, model, family = signature & 0xF, signature >> 4 & 0xF, signature >> 8 & 0xF
    if family in (6, 15):
        model += (signature >> 16 & 0xF) << 4
    if family == 15:
        family += signature >> 20 & 0xFF
    return vendor, family, model, stepping


def cpu_of(features: Sequence[Mapping[str, Any]], brand: str, sockets: int | None, cores: int | None, threads: int | None) -> Cpu:
    """From ``hardware.cpuFeature``; its levels are xsd:int, so 0x80000001 arrives as -2147483647."""
    levels: dict[int, dict[str, int | None]] = {}
    for row in features:
        level = row.get("level")
        if isinstance(level, int):
            levels[level & 0xFFFFFFFF] = {name: register(row.get(name)) for name in ("eax", "ebx", "ecx", "edx")}
    told, has = [], []
    for name, (level, place, bit) in _FEATURES.items():
        number = levels.get(level, {}).get(place)
        if number is not None:
            told.append(name)
            if number >> bit & 1:
                has.append(name)
    vendor, family, model, stepping = identity(levels)
    return Cpu(vendor, family, model, stepping, " ".join(brand.split()), tuple(has), tuple(told), sockets, cores, threads)


# ---- a host ---------------------------------------------------------------------------------------------------------


def nvme_version_of(text: str) -> str | None:
    """The VER field of an NVMe controller, 0x10300, or the same as people write it, 1.3 (NVM Express Base Specification, 3.1.2)."""
    text = text.strip().lower()
    found = re.match(r"^(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2}))?$", text)
    if found:
        numbers = tuple(int(part or 0) for part in found.groups())
    elif re.fullmatch(r"0x[0-9a-f]{1,8}|[0-9]{5,8}", text) and (number := int(text, 0)) > 0xFFFF:
        numbers = (number >> 16, number >> 8 & 0xFF, number & 0xFF)
    else:
        return None
    return ".".join(map(str, numbers if numbers[2] else numbers[:2]))


@dataclass(frozen=True)
class Boot:
    """What the host was booted from, as esxcli says."""

    name: str
    model: str
    megabytes: int | None
    usb: bool | None


@dataclass(frozen=True)
class Graphics:
    """A graphics card as the host's graphics manager sees it."""

    name: str
    vendor: str
    slot: str
    type: str
    megabytes: int | None
    machines: int


@dataclass(frozen=True, kw_only=True)
class State:
    """One host. None: it does not tell. ``devices``: of the kinds that are judged; ``others``: how many more there are.

    ``silent``: what was asked of it by esxcli and could not be told, with the reason."""

    moid: str = ""
    version: str = ""
    vendor: str = ""
    model: str = ""
    cpu: Cpu | None = None
    memory: int | None = None
    firmware: str | None = None
    firmware_version: str = ""
    secure_boot: bool | None = None
    requires_secure_boot: bool | None = None
    tpm: bool | None = None
    tpm_version: str | None = None
    tpm_attestation: str | None = None
    devices: tuple[Device, ...] | None = None
    others: int = 0
    software_fcoe: tuple[str, ...] = ()
    graphics: tuple[Graphics, ...] = ()
    boot: Boot | None = None
    silent: tuple[tuple[str, str], ...] = ()


# ---- rows that judge ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a list: a PCI device or a CPU, for which releases, and what of it. Numbers that are None match all.

    ``series``: a pattern for the name of the CPU. ``undriven``: it does not hold for a device that already has a driver on
    a host of such a release."""

    verdict: str
    source: str
    span: Span = Span()
    note: str = ""
    vendor: int | None = None
    device: int | None = None
    subvendor: int | None = None
    subdevice: int | None = None
    pci_class: int | None = None
    class_shift: int = 0
    maker: str | None = None
    family: int | None = None
    model: int | None = None
    steppings: tuple[int, int] | None = None
    series: str = ""
    undriven: Span | None = None

    @property
    def is_cpu(self) -> bool:
        return bool(self.maker or self.series)

    @property
    def exactness(self) -> int:
        """A device says more than any class of devices, and a subsystem more than both. A part of a CPU's name says as much as
        family and model: neither holds the other, so the worse one counts."""
        weights = {"vendor": 1, "pci_class": 1, "device": 4, "subvendor": 8, "subdevice": 8, "family": 1, "model": 2, "steppings": 4}
        told = sum(weight for name, weight in weights.items() if getattr(self, name) is not None)
        return told + (1 if self.pci_class is not None and not self.class_shift else 0) + (3 if self.series else 0)

    def fits(self, part: Device | Cpu) -> bool:
        if isinstance(part, Cpu):
            return self.is_cpu and self._fits_cpu(part)
        wanted = (
            (self.vendor, part.vendor),
            (self.device, part.device),
            (self.subvendor, part.subvendor),
            (self.subdevice, part.subdevice),
        )
        classed = self.pci_class is None or self.pci_class == part.pci_class >> self.class_shift
        return not self.is_cpu and classed and all(want in (None, have) for want, have in wanted)

    def _fits_cpu(self, cpu: Cpu) -> bool:
        if self.series:
            return bool(cpu.brand) and fnmatch.fnmatchcase(cpu.brand.lower(), self.series.lower())
        if self.maker != cpu.vendor or self.family != cpu.family or self.model not in (None, cpu.model):
            return False
        return self.steppings is None or (cpu.stepping is not None and self.steppings[0] <= cpu.stepping <= self.steppings[1])


def best(rows: Iterable[Row], part: Device | Cpu, target: Release) -> Row | None:
    """The row that says most exactly what a part is; of equals the worst, so that the order of lines means nothing."""
    fitting = [row for row in rows if target in row.span and row.fits(part)]
    return max(fitting, key=lambda row: (row.exactness, VERDICTS.index(row.verdict), row.source, row.note), default=None)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance level of ESXi hosts: which software may be installed, what blocks a change, what it costs. Pure. Private to this collection."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import BadInput, listed
from .plan import Change, Finding, Meaning, Plan, described
from .record import entries_of, exactly

RECORD = "fleetcare.esxi acceptance record 1"


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level as each tool spells it. ``means``: whose software it admits beside that of the levels above it."""

    word: str
    esxcli: str
    descriptor: str
    means: str


# Strictest first. Words of the API: HostImageAcceptanceLevel; of esxcli and what each stands for: "Lower the acceptance level of a
# host" (docs.vmware.com, GUID-6A3AD878) and STIG ESXI-80-000133; of a VIB: acceptance-level in its descriptor.xml.
LEVELS = (
    Level(
        word="vmware_certified",
        esxcli="VMwareCertified",
        descriptor="certified",
        means="VIBs that VMware made, tested and signed",
    ),
    Level(
        word="vmware_accepted",
        esxcli="VMwareAccepted",
        descriptor="accepted",
        means="VIBs that a partner made, and VMware tested and signed",
    ),
    Level(
        word="partner",
        esxcli="PartnerSupported",
        descriptor="partner",
        means="VIBs that a partner of VMware made, tested and signed",
    ),
    Level(
        word="community",
        esxcli="CommunitySupported",
        descriptor="community",
        means="VIBs that anybody made, without a signature and without support",
    ),
)
WORDS = tuple(level.word for level in LEVELS)
COMMUNITY = "community"
_BY_WORD = {level.word: level for level in LEVELS}
_BETWEEN = re.compile(r"[\s_./'\"\u2010-\u2015-]+")


def _bare(text: str) -> str:
    return _BETWEEN.sub("", unicodedata.normalize("NFKC", text)).lower()


_SPELLINGS = {_bare(name): level.word for level in LEVELS for name in (level.word, level.esxcli, level.descriptor)}

# Secure Boot verifies every VIB's signature as the host starts, and unsigned ones have none (docs.vmware.com, GUID-DD075A38).
_SECURE_BOOT = (
    "capability.uefiSecureBoot (API 8.0.3.0, read so by STIG VCFE-9X-000091), runtime.stateEncryption.requireSecureBoot (7.0.3.0)"
)

MEANINGS: dict[str, Meaning] = {
    "acceptance_blocked": Meaning(
        "error",
        "Installed VIBs are below the level asked for, so the host would refuse it.",
        "Remove or replace them (esxcli software vib remove --vibname NAME, or the image of the cluster), or ask for a level that they allow.",
        "fetchSoftwarePackages, API 6.5; UpdateHostImageAcceptanceLevel names this as the reason of its HostConfigFault",
    ),
    "acceptance_secure_boot": Meaning(
        "error",
        "The host starts with Secure Boot, and its acceptance level is not lowered under it.",
        "Keep the level, and use VIBs that are signed for it; at_least: true leaves stricter hosts alone. Who has to lower it decides so on "
        "the host: turn Secure Boot off in its firmware for community; esxcli software acceptance set for the others.",
        _SECURE_BOOT,
    ),
    "acceptance_secure_boot_unknown": Meaning(
        "error",
        "Whether the host starts with Secure Boot cannot be told, and below community it might not start any more.",
        "Look at Secure Boot in the host's firmware or in vSphere Client; where it is off, set allow_unknown_secure_boot: true.",
        _SECURE_BOOT + ", hardware.biosInfo.firmwareType (8.0.2.0): hosts of older releases tell none of them",
        lasting=True,
    ),
    "acceptance_lowered": Meaning(
        "note",
        "The host takes software afterwards that it refused before.",
        "Raise the level again once the software is installed that needed it, if that allows it. Where it was not meant, at_least: true leaves "
        "stricter hosts alone.",
        "docs.vmware.com, GUID-6A3AD878: affects support and security of the host",
        lasting=True,
    ),
    "acceptance_community": Meaning(
        "warning",
        "The host takes unsigned software that nobody supports.",
        "Set acceptance_level: partner, which is the default of ESXi, after the removal of VIBs that are below it.",
        "STIG ESXI-80-000133 (V-258746), ESXI-70-000047, ESXI-67-000047, VCFE-9X-000130, all CAT I",
    ),
    "acceptance_unsigned_boot": Meaning(
        "warning",
        "The host takes unsigned software although it starts with Secure Boot: with an unsigned VIB installed it does not start again.",
        "Set acceptance_level: partner before anybody installs one; where one is installed, remove it before the next reboot.",
        "docs.vmware.com, GUID-DD075A38: all VIBs have to be signed at least as partner; " + _SECURE_BOOT,
    ),
    "acceptance_vib_below": Meaning(
        "warning",
        "VIBs are installed that the host's level does not admit.",
        "Somebody forced them in (esxcli software vib install --force). Remove them, or replace them by signed ones.",
        "fetchSoftwarePackages, API 6.5; STIG ESXI-80-000133 is about the level of VIBs as well",
    ),
    "acceptance_packages_unread": Meaning(
        "warning",
        "Which VIBs are installed could not be read.",
        "Grant Host.Config.Image on the host, which reading them takes. Hosts below 6.5 have no such list; they refuse a level that a VIB does not allow.",
        "fetchSoftwarePackages, API 6.5, privilege Host.Config.Image",
        lasting=True,
    ),
    "acceptance_not_in_record": Meaning(
        "note",
        "The record that is to be restored has no entry for this host, so it stays as it is.",
        "Nothing to do if the run that wrote the record did not change it; a record holds the hosts that were about to change.",
        "the file in restore",
    ),
}


def _found(code: str, text: str, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


@dataclass(frozen=True)
class Package:
    """One installed VIB. ``level`` is one of our words, or as the host wrote it where it is none."""

    name: str
    version: str
    vendor: str
    level: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({', '.join(part for part in (self.vendor, self.level) if part)})"

    def shown(self) -> dict[str, str]:
        return {"name": self.name, "version": self.version, "vendor": self.vendor, "acceptance_level": self.level}


@dataclass(frozen=True, kw_only=True)
class State:
    """One host as read. ``secure_boot`` None: cannot be told; ``told_by``: what told it. ``packages`` None: not read, for the
    reason in ``packages_error`` where they were asked for; ``may_not``: because the user has no right to."""

    name: str = ""
    moid: str = ""
    version: str = ""
    level: str = "partner"
    secure_boot: bool | None = None
    told_by: str = ""
    packages: tuple[Package, ...] | None = None
    packages_error: str = ""
    may_not: bool = False


@dataclass(frozen=True)
class Recorded:
    """One host of a record."""

    name: str
    moid: str
    level: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """None means: leave it as it is. ``at_least``: leave alone what is above. ``packages``: tell all VIBs of every host."""

    level: str | None = None
    at_least: bool = False
    allow_unknown: bool = False
    record: tuple[Recorded, ...] | None = None
    packages: bool = False


# ---- input ----------------------------------------------------------------------------------------------------------


def spelled(text: str) -> str | None:
    """Our word for a level, however it is written; None where it is none."""
    return _SPELLINGS.get(_bare(text))


def is_above(level: str, other: str) -> bool:
    return WORDS.index(level) < WORDS.index(other)


def admitted(level: str) -> tuple[str, ...]:
    """The levels that a VIB may have to be installed on a host of this one."""
    return WORDS[: WORDS.index(level) + 1]


def parse(params: Mapping[str, Any]) -> Wanted:
    """Module options as a wish. Raises BadInput."""
    given = params.get("acceptance_level")
    restore = params.get("restore")
    if params.get("at_least") and given is None:
        raise BadInput("at_least: true is given without acceptance_level", hint="Say the lowest level that a host may have.")
    if given is not None and restore is not None:
        raise BadInput(
            "acceptance_level and restore are both given", hint="A record says the level of each host; leave one of the two out."
        )
    return Wanted(
        level=None if given is None else _level(str(given)),
        at_least=bool(params.get("at_least")),
        allow_unknown=bool(params.get("allow_unknown_secure_boot")),
        record=None if restore is None else entries_of(restore, RECORD, "hosts", "host", "acceptance levels", _host_of_record),
        packages=bool(params.get("packages")),
    )


def _level(given: str) -> str:
    known = spelled(given)
    if known:
        return known
    those = "Use " + ", ".join(f"{level.word} ({level.esxcli})" for level in LEVELS) + "."
    if not given.strip():
        raise BadInput("acceptance_level is empty", hint=f"{those} Often a variable is empty there; left out, the level stays as it is.")
    near = difflib.get_close_matches(_bare(given), _SPELLINGS, n=1, cutoff=0.65)
    meant = f"Did you mean {_SPELLINGS[near[0]]}? " if near else ""
    shown = given if len(given) <= 60 else given[:57] + "..."
    raise BadInput(f"acceptance_level {shown!r} is no acceptance level", hint=meant + those)


# ---- records --------------------------------------------------------------------------------------------------------


def record(state: State) -> dict[str, Any]:
    return {"name": state.name, "moid": state.moid, "acceptance_level": state.level}


def _host_of_record(entry: Mapping[str, Any]) -> Recorded:
    given = exactly(str, entry["acceptance_level"])
    level = spelled(given)
    if level is None:
        raise ValueError(f"{given!r} is no acceptance level")
    return Recorded(exactly(str, entry["name"]), exactly(str, entry["moid"]), level)


# ---- changes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SetLevel:
    level: str
    before: str

    def applied_to(self, state: State) -> State:
        return replace(state, level=self.level)

    def describe(self) -> dict[str, Any]:
        return described(self)


class RaiseAcceptanceLevel(_SetLevel):
    """UpdateHostImageAcceptanceLevel to a stricter level."""


class LowerAcceptanceLevel(_SetLevel):
    """UpdateHostImageAcceptanceLevel to a less strict level."""


# ---- judgement ------------------------------------------------------------------------------------------------------


def goal(wanted: Wanted, name: str, moid: str) -> str | None:
    """The level that a host shall have: by name from a record, by its id as well where names repeat."""
    if wanted.record is None:
        return wanted.level
    named = [entry for entry in wanted.record if entry.name == name]
    entry = next((entry for entry in named if entry.moid == moid), named[0] if len(named) == 1 else None)
    return entry.level if entry else None


def needs_packages(wanted: Wanted, name: str, moid: str, level: str) -> bool:
    """Whether the installed VIBs decide anything: a list of them is hundreds of kilobytes."""
    want = goal(wanted, name, moid)
    return wanted.packages or (want is not None and is_above(want, level))


def survey(states: Iterable[State], common: Mapping[str, Any], wanted: Wanted) -> None:
    return None


def plan(state: State, wanted: Wanted, seen: None = None) -> Plan:
    """The write that brings ``state`` to ``wanted``, and what there is to say about ``state``."""
    want = goal(wanted, state.name, state.moid)
    findings: list[Finding] = []
    changes: tuple[Change, ...] = ()
    if want is not None and is_above(want, state.level):
        findings = _against_raising(state, want)
        changes = (RaiseAcceptanceLevel(want, state.level),)
    elif want is not None and want != state.level and not wanted.at_least:
        findings = _against_lowering(state, want, wanted)
        changes = (LowerAcceptanceLevel(want, state.level),)
    elif want is None and wanted.record is not None:
        findings = [_found("acceptance_not_in_record", f"the record has {len(wanted.record)} host(s), this one is not among them")]
    if any(finding.level == "error" for finding in findings):
        changes = ()
    return Plan(observed=state, changes=changes, findings=(*findings, *_about(state, wanted, want)))


def blocking(state: State, level: str) -> tuple[Package, ...]:
    """Installed VIBs that a host of this level does not admit. One whose level is none of ours is the host's to judge."""
    return tuple(package for package in state.packages or () if package.level in WORDS and is_above(level, package.level))


def highest(state: State) -> str | None:
    """The strictest level that the installed VIBs allow; None where they are not known."""
    if state.packages is None:
        return None
    known = [WORDS.index(package.level) for package in state.packages if package.level in WORDS]
    return WORDS[max(known, default=0)]


def _against_raising(state: State, want: str) -> list[Finding]:
    if state.packages is None:
        told = state.packages_error or "the host did not tell"
        # Reading them takes the privilege that the write takes, too: it would only be refused later.
        return [_found("acceptance_packages_unread", told, level="error" if state.may_not else "")]
    found = blocking(state, want)
    if not found:
        return []
    those = f"{len(found)} VIB{'' if len(found) == 1 else 's'}: {listed([str(package) for package in found], 5)}"
    return [
        _found("acceptance_blocked", f"{want} is asked for, and not allowed by {those}; {highest(state)} is the highest that all allow")
    ]


def _against_lowering(state: State, want: str, wanted: Wanted) -> list[Finding]:
    step = f"from {state.level} to {want}"
    if state.secure_boot:
        why = "unsigned VIBs keep such a host from starting" if want == COMMUNITY else "the VIBs it would admit are signed as well"
        return [_found("acceptance_secure_boot", f"{step} is asked for, and {state.told_by} says that Secure Boot is on; {why}")]
    found = [_found("acceptance_lowered", f"{step}: it admits {_BY_WORD[want].means}, too")]
    if state.secure_boot is None:
        level = "note" if want != COMMUNITY else "warning" if wanted.allow_unknown else "error"
        told = f"{step} is asked for, and ESXi {state.version} does not tell whether Secure Boot is on"
        found.append(_found("acceptance_secure_boot_unknown", told, level=level))
        if level == "error":
            found.pop(0)
    return found


def _about(state: State, wanted: Wanted, want: str | None) -> list[Finding]:
    """What is worth knowing whatever is asked for."""
    found = []
    if state.level == COMMUNITY:
        found.append(_found("acceptance_community", "the level is community", level="note" if want == COMMUNITY else ""))
        if state.secure_boot:
            found.append(_found("acceptance_unsigned_boot", f"the level is community, and Secure Boot is on ({state.told_by})"))
    below = blocking(state, state.level)
    if below:
        found.append(
            _found(
                "acceptance_vib_below", f"the level is {state.level}, and installed are {listed([str(package) for package in below], 5)}"
            )
        )
    if wanted.packages and state.packages is None:
        found.append(_found("acceptance_packages_unread", state.packages_error or "the host did not tell"))
    return found


def after(read: State, predicted: State, waited: bool) -> State:
    """Nothing but what is read counts."""
    return read


def settled(state: State, wanted: Wanted, seen: None) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


def settings(state: State) -> dict[str, Any]:
    """What a diff shows of a host."""
    return {"acceptance_level": state.level}


def report(state: State, wanted: Wanted, seen: None, *, full: bool) -> dict[str, Any]:
    """What a result says of a host beside its findings."""
    want = goal(wanted, state.name, state.moid)
    if not full:
        blockers = blocking(state, want) if want and is_above(want, state.level) else ()
        return {"acceptance_level": state.level, "blocking": [package.shown() for package in blockers] or None}
    return {
        "acceptance_level": state.level,
        "esxcli_level": _BY_WORD[state.level].esxcli,
        "admits": list(admitted(state.level)),
        "version": state.version,
        "secure_boot": state.secure_boot,
        "secure_boot_told_by": state.told_by or None,
        "highest_level": highest(state),
        "packages": None if state.packages is None else [package.shown() for package in sorted(state.packages, key=str)],
    }

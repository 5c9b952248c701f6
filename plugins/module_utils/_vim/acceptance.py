# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance level of ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from .._client import secure_boot
from .._client.fanout import fan_out
from .._client.inventory import Target
from .._client.properties import Row
from .._client.session import Session
from .._domain.acceptance import (
    LowerAcceptanceLevel,
    Package,
    RaiseAcceptanceLevel,
    State,
    Wanted,
    needs_packages,
    spelled,
)
from .._domain.errors import FleetcareError, PermissionMissing, ServerFault
from .._domain.plan import Change

_NAME = "name"
_VERSION = "config.product.version"
_IMAGE = "configManager.imageConfigManager"
PROPERTIES = (_NAME, _VERSION, _IMAGE, *secure_boot.PROPERTIES)
SHRINK: dict[str, Any] = {}
# The first needs System.Read and is not named like a read. The second needs Host.Config.Image, and lists what is installed.
_GET, _PACKAGES = "HostImageConfigGetAcceptance", "fetchSoftwarePackages"
PROBES = (_GET, _PACKAGES)

_NO_RIGHT = ("the privilege Host.Config.Image is missing", "Grant it on the host to the user of this task.")
# Reasons: UpdateHostImageAcceptanceLevel in the API reference names the first; OpenNebula/one#3481 met the other.
FAULTS = {
    ("raise_acceptance_level", "HostConfigFault"): (
        "the host refused the level, as it does where an installed VIB is below it",
        "Look for such VIBs with esxcli software vib list, and remove or replace them first.",
    ),
    ("lower_acceptance_level", "HostConfigFault"): (
        "the host refused the level, as it does with community under Secure Boot",
        "Look at Secure Boot in the host's firmware; under it, use VIBs that are signed.",
    ),
    ("raise_acceptance_level", "NoPermission"): _NO_RIGHT,
    ("lower_acceptance_level", "NoPermission"): _NO_RIGHT,
}


def properties(wanted: Wanted) -> Sequence[str]:
    return PROPERTIES


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """The level of each host, which is no property but a call, and what is installed where that decides something."""
    able = [target for target, row in rows.items() if _IMAGE in row.values]

    def level(target: Target) -> Any:
        return session.probe(rows[target].values[_IMAGE], _GET)

    def packages(target: Target) -> list[Package]:
        return session.items(rows[target].values[_IMAGE], _PACKAGES, _package)

    levels = fan_out(able, level, parallel=parallel, guard=session.guard)
    found: dict[Any, Any] = {target: {"level": levels.get(target)} for target in rows}
    concerned = [
        target
        for target, given in levels.items()
        if isinstance(given, str) and (word := spelled(given)) and needs_packages(wanted, *_who(rows[target]), word)
    ]
    for target, installed in fan_out(concerned, packages, parallel=parallel, guard=session.guard).items():
        found[target]["packages"] = installed
    return found


def _who(row: Row) -> tuple[str, str]:
    return row.values.get(_NAME, ""), row.ref.id


def _package(item: dict[str, Any]) -> Package:
    return _kept(item.get("name") or "?", item.get("version") or "", item.get("vendor") or "", item.get("acceptanceLevel") or "")


@functools.lru_cache(maxsize=4096)
def _kept(name: str, version: str, vendor: str, level: str) -> Package:
    """Hosts of a fleet have the same VIBs: 150 of them on each of 1,000 hosts would be 60 MB."""
    return Package(name, version, vendor, spelled(level) or level)


def observe(row: Row, extra: Mapping[str, Any]) -> State:
    values = row.values
    name, moid = _who(row)
    is_on, told_by = secure_boot.told(values)
    packages = extra.get("packages")
    refused = packages if isinstance(packages, FleetcareError) else None
    return State(
        name=name,
        moid=moid,
        version=values.get(_VERSION, ""),
        level=_level(values, extra.get("level")),
        secure_boot=is_on,
        told_by=told_by,
        packages=None if packages is None or refused else tuple(packages),
        packages_error=f"{refused.cause}{f' [{refused.fault}]' if refused.fault else ''}" if refused else "",
        may_not=isinstance(refused, PermissionMissing),
    )


def _level(values: Mapping[str, Any], given: Any) -> str:
    if isinstance(given, FleetcareError):
        raise given.at(doing="reading its acceptance level")
    if _IMAGE not in values:
        raise ServerFault(
            "the host has no image configuration manager, which keeps the acceptance level",
            hint="Its release or its state does not offer it; look at it in vCenter.",
        )
    word = spelled(str(given or ""))
    if word is None:
        raise ServerFault(
            f"the host reports the acceptance level {given!r}, which is none of the four",
            hint="Set it on the host: esxcli software acceptance set.",
        )
    return word


def apply(session: Session, target: Target, row: Row, change: Change) -> None:
    if not isinstance(change, (RaiseAcceptanceLevel, LowerAcceptanceLevel)):
        raise TypeError(f"{type(change).__name__} is not a change of this feature")
    session.write(target.path, row.values[_IMAGE], "UpdateHostImageAcceptanceLevel", newAcceptanceLevel=change.level)

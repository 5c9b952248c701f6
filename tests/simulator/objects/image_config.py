# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostImageConfigManager: acceptance level and packages of a host, with the faults of facts.md 5.2."""

from __future__ import annotations

import datetime
import functools
from typing import Any

from pyVmomi import VmomiSupport, vim

from .. import image
from ..errors import SoapFault
from ..plain import data
from ..registry import Call, operation
from ..software import LEVELS, ImageError, Package
from ..xmlwrite import frozen
from .host_part import HostPart

# From the text of a relation to the API's fields; the relation's words are those of Image Builder ("<<, <=, = >=, >>").
_EQUAL = {"<<": "lessThan", "<=": "lessThanEqual", "=": "equals", ">=": "greaterThanEqual", ">>": "greaterThan"}


def date(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None


def _relation(text: str) -> dict[str, Any]:
    name, *rest = text.split()
    return {"name": name, "constraint": _EQUAL.get(rest[0], rest[0]), "version": rest[1]} if len(rest) == 2 else {"name": name}


@functools.cache
def _package(row: Package) -> Any:
    """One package as data; hosts share what they share."""
    return frozen(
        data(
            "vim.host.SoftwarePackage",
            {
                "name": row.name,
                "version": row.version,
                "type": row.type,
                "vendor": row.vendor,
                "acceptanceLevel": row.acceptance_level,
                "summary": row.summary,
                "description": row.description,
                "referenceURL": list(row.reference_urls),
                "creationDate": date(row.creation_date),
                "depends": [_relation(text) for text in row.depends],
                "conflicts": [_relation(text) for text in row.conflicts],
                "replaces": [_relation(text) for text in row.replaces],
                "provides": list(row.provides),
                "maintenanceModeRequired": row.maintenance_required,
                "hardwarePlatformsRequired": [],
                "capability": {
                    "liveInstallAllowed": row.live_install,
                    "liveRemoveAllowed": row.live_remove,
                    "statelessReady": row.stateless_ready,
                    "overlay": row.overlay,
                },
                "tag": list(row.tags),
                "payload": list(row.payloads),
            },
        )
    )


class HostImageConfigManager(HostPart):
    TYPE = vim.host.ImageConfigManager

    @operation(privilege="System.Read", needs_host=True)
    def HostImageConfigGetAcceptance(self, call: Call) -> str:
        return self.state.acceptance

    @operation(privilege="System.Read", needs_host=True)
    def HostImageConfigGetProfile(self, call: Call) -> Any:
        values = {"name": image.profile_name(self.state), "vendor": "VMware, Inc."}
        return data("vim.host.ImageConfigManager.ImageProfileSummary", values)

    @operation(privilege="Host.Config.Image", writes=True, needs_host=True)
    def UpdateHostImageAcceptanceLevel(self, call: Call, newAcceptanceLevel: str) -> None:
        if newAcceptanceLevel not in LEVELS:
            raise SoapFault(
                "InvalidArgument", "A specified parameter was not correct: newAcceptanceLevel", invalidProperty="newAcceptanceLevel"
            )
        try:
            image.set_acceptance(self.state, newAcceptanceLevel)
        except ImageError as exc:
            raise SoapFault("HostConfigFault", str(exc)) from None

    # Both names begin with a small letter on the wire. The privilege stands in pyVmomi's tables for both, although they only read.
    @operation(privilege="Host.Config.Image", needs_host=True)
    def fetchSoftwarePackages(self, call: Call) -> Any:
        return VmomiSupport.GetVmodlType("vim.host.SoftwarePackage[]")([_package(row) for row in self.state.software.values()])

    @operation(privilege="Host.Config.Image", needs_host=True)
    def installDate(self, call: Call) -> Any:
        return date(min(row.install_date for row in self.state.software.values()))

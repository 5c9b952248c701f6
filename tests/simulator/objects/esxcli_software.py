# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli software: vib, acceptance, profile. Parameters, helps and fields as govmomi dumped them from an 8.0 host (simulator/esx/command_info.go,
simulator/host_esxcli.go); before 8.0 rows lack the platforms of data processing units."""

from __future__ import annotations

from typing import Any

from .. import image
from ..software import ESXCLI_LEVELS, Package, level_named
from ..versions import at_least
from .esxcli import NAMESPACES, CliFault, Parameter, command

NAMESPACES["software.vib"] = "Install, update, remove, or display individual VIB packages"
NAMESPACES["software.acceptance"] = "Retrieve and set the host acceptance level setting"
NAMESPACES["software.profile"] = "Display, install, update, or validate image profiles"

_REBOOTING = Parameter(
    "rebootingimage", "--rebooting-image", help="Displays information for the ESXi image which becomes active after a reboot.", flag=True
)
_NAMES = Parameter(
    "vibname", "--vibname", "-n", help="One or more VIBs: name, name:version, vendor:name, or vendor:name:version.", many=True
)
_DRY = Parameter("dryrun", "--dry-run", help="Reports what would be done, but does not change anything in the system.", flag=True)
_FORCE = Parameter(
    "force", "--force", "-f", help="Bypasses checks for package dependencies, conflicts, obsolescence, and acceptance levels.", flag=True
)
_MAINTENANCE = Parameter("maintenancemode", "--maintenance-mode", help="Pretends that maintenance mode is in effect.", flag=True)
_NO_LIVE = Parameter(
    "noliveinstall", "--no-live-install", help="Forces an install to /altbootbank even if live installation is possible.", flag=True
)
_NO_SIGNATURE = Parameter("nosigcheck", "--no-sig-check", help="Bypasses acceptance level verification, including signing.", flag=True)
_SOURCES = (
    Parameter("depot", "--depot", "-d", help="Depot index.xml, or the server file path of an offline bundle .zip file.", many=True),
    _DRY,
    _FORCE,
    _MAINTENANCE,
    _NO_LIVE,
    _NO_SIGNATURE,
    Parameter("proxy", "--proxy", help="A proxy server, as proxy-url:port."),
    _NAMES,
    Parameter("viburl", "--viburl", "-v", help="One or more URLs to VIB packages; with file: an absolute path on the host.", many=True),
)
_RESULT_HINTS = {
    "fields:InstallationResult": "Message,VIBs Installed,VIBs Removed,VIBs Skipped,Reboot Required,DPU Results",
    "header:InstallationResult": "Installation Result",
}


def _chosen(item: Any, arguments: dict[str, Any]) -> list[Package]:
    host = item.state
    rows = host.software
    if arguments.get("rebootingimage"):
        rows = host.boot_software if host.boot_software is not None else {}
    return list(rows.values())


def _truth(value: bool) -> str:
    """These fields are texts with a capital ("True" in govmomi's dump)."""
    return "True" if value else "False"


def _short(item: Any, row: Package) -> dict[str, Any]:
    fields = {
        "AcceptanceLevel": ESXCLI_LEVELS[row.acceptance_level],
        "CreationDate": row.creation_date,
        "ID": row.id,
        "InstallDate": row.install_date,
        "Name": row.name,
        "Status": "",
        "Vendor": row.vendor,
        "Version": row.version,
    }
    return {**fields, "Platforms": list(row.platforms)} if at_least(item.state.profile.api, "8.0.0.0") else fields


def _long(item: Any, row: Package) -> dict[str, Any]:
    return {
        **_short(item, row),
        "Conflicts": list(row.conflicts),
        "Depends": list(row.depends),
        "Description": row.description,
        "LiveInstallAllowed": _truth(row.live_install),
        "LiveRemoveAllowed": _truth(row.live_remove),
        "MaintenanceModeRequired": _truth(row.maintenance_required),
        "Overlay": _truth(row.overlay),
        "Payloads": list(row.payloads),
        "Provides": list(row.provides),
        "ReferenceURLs": list(row.reference_urls),
        "Replaces": list(row.replaces),
        "StatelessReady": _truth(row.stateless_ready),
        "Summary": row.summary,
        "Tags": list(row.tags),
        "Type": row.type,
    }


@command(
    "software.vib.list", kind="VIBSummaryExt", old_kind="VIBSummary", parameters=[_REBOOTING], help="Lists the installed VIB packages."
)
def vib_list(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [_short(item, row) for row in _chosen(item, arguments)]


@command(
    "software.vib.get",
    kind="VIBExt",
    old_kind="VIB",
    parameters=[_REBOOTING, _NAMES],
    help="Displays detailed information about installed VIBs.",
)
def vib_get(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    rows = _chosen(item, arguments)
    names = arguments.get("vibname", [])
    for name in names:
        if not any(image.matches(row, name) for row in rows):
            # govmomi's simulator: [NoMatchError], id=NAME
            raise CliFault("[NoMatchError]", f"No VIB matching VIB search specification '{name}'.", f"id = {name}", image.LOG_LINE)
    return [_long(item, row) for row in rows if not names or any(image.matches(row, name) for name in names)]


def _told(result: image.Result) -> dict[str, Any]:
    return {
        "Message": result.message,
        "RebootRequired": result.reboot_required,
        "VIBsInstalled": result.installed,
        "VIBsRemoved": result.removed,
        "VIBsSkipped": result.skipped,
    }


def _how(arguments: dict[str, Any], only_updates: bool = False) -> image.How:
    return image.How(
        dry_run=arguments.get("dryrun", False),
        force=arguments.get("force", False),
        maintenance=arguments.get("maintenancemode", False),
        no_live=arguments.get("noliveinstall", False),
        no_signature=arguments.get("nosigcheck", False),
        only_updates=only_updates,
    )


@command(
    "software.vib.install",
    kind="InstallationResult",
    parameters=_SOURCES,
    writes=True,
    hints=_RESULT_HINTS,
    help="Installs VIB packages from a URL or depot.",
)
def vib_install(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    how = _how(arguments)
    return _told(image.install(item, arguments.get("viburl", []), arguments.get("depot", []), arguments.get("vibname", []), how))


@command(
    "software.vib.update",
    kind="InstallationResult",
    parameters=_SOURCES,
    writes=True,
    hints=_RESULT_HINTS,
    help="Update installed VIBs to newer VIB packages.",
)
def vib_update(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    how = _how(arguments, only_updates=True)
    return _told(image.install(item, arguments.get("viburl", []), arguments.get("depot", []), arguments.get("vibname", []), how))


@command(
    "software.vib.remove",
    kind="InstallationResult",
    parameters=[
        _DRY,
        _FORCE,
        _MAINTENANCE,
        _NO_LIVE,
        Parameter("vibname", "--vibname", "-n", help="One or more VIBs on the host to remove.", many=True, required=True),
    ],
    writes=True,
    hints={**_RESULT_HINTS, "header:InstallationResult": "Removal Result"},
    help="Removes VIB packages from the host.",
)
def vib_remove(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return _told(image.remove(item, arguments["vibname"], _how(arguments)))


@command("software.acceptance.get", help="Gets the host acceptance level.")
def acceptance_get(item: Any, arguments: dict[str, Any]) -> str:
    return ESXCLI_LEVELS[item.state.acceptance]


@command(
    "software.acceptance.set",
    parameters=[
        Parameter(
            "level",
            "--level",
            help="VMwareCertified, VMwareAccepted, PartnerSupported, or CommunitySupported.",
            required=True,
            choices=tuple(ESXCLI_LEVELS.values()),
        )
    ],
    writes=True,
    help="Sets the host acceptance level.",
)
def acceptance_set(item: Any, arguments: dict[str, Any]) -> str:
    level = level_named(arguments["level"], ESXCLI_LEVELS)
    image.set_acceptance(item.state, str(level))
    # "Host acceptance level changed to 'CommunitySupported'." is what the shell prints.
    return f"Host acceptance level changed to '{arguments['level']}'."


@command(
    "software.profile.get", kind="ImageProfile", parameters=[_REBOOTING], help="Displays the installed image profile and its list of VIBs."
)
def profile_get(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    host = item.state
    rows = _chosen(item, arguments)
    return {
        "AcceptanceLevel": ESXCLI_LEVELS[host.acceptance],
        "CreationTime": "2024-05-21T00:00:00",
        "Description": "",
        "ModificationTime": "2024-05-21T00:00:00",
        "Name": image.profile_name(host),
        "StatelessReady": True,
        "VIBs": [f"{row.name} {row.version}" for row in rows],
        "Vendor": "VMware, Inc.",
    }

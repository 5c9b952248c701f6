# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of firewall rulesets on ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .._client import secure_boot
from .._client.fanout import fan_out
from .._client.inventory import Target
from .._client.properties import Row, collect
from .._client.session import Session
from .._client.tasks import ref_of
from .._client.vmomi import Ref
from .._domain.errors import EndpointUnreachable, FleetcareError, ServerFault, TimedOut
from .._domain.plan import Change
from .._domain.vib import needs_guards
from .._domain.vib_model import (
    Guards,
    Installed,
    InstallPackage,
    Live,
    RefreshFirewall,
    RemovePackage,
    RemoveUpload,
    SetRuleset,
    State,
    Store,
    UploadPackage,
)
from .._domain.vib_package import Rule
from .._domain.vib_wanted import PATCH_MANAGER, Wanted

_NAME = "name"
_UUID = "summary.hardware.uuid"
_VERSION = "config.product.version"
_FIREWALL = "configManager.firewallSystem"
_RULESETS = f"{_FIREWALL}/firewallInfo.ruleset"
_IMAGE = "configManager.imageConfigManager"
_PATCH = "configManager.patchManager"
_OPTIONS = "configManager.advancedOption"
_PARENT = "parent"
_STORES = "datastore"
_MAINTENANCE = "runtime.inMaintenanceMode"
_REBOOT = "summary.rebootRequired"
_VCENTER = "summary.managementServerIp"
# Where a TPM seals the configuration, from 7.0.3 on.
_SEAL, _SEALED_EXEC = (f"runtime.stateEncryption.{name}" for name in ("protectionMode", "requireExecInstalledOnly"))
_EXEC = "VMkernel.Boot.execInstalledOnly"
_MANAGED = "lifecycleManaged"
# Both only look. The first needs Host.Config.Image all the same, the second is not named like a read.
_PACKAGES, _LEVEL = "fetchSoftwarePackages", "HostImageConfigGetAcceptance"
PROBES = (_PACKAGES, _LEVEL)
_PAUSES = (0.0, 0.5, 1.0)
# Takes files in its root; a vSAN or vVol datastore takes none outside of folders that are made by an API of their own.
_PLAIN = frozenset({"VMFS", "NFS", "NFS41"})

_AS_IT_WAS = "Nothing was installed; the host is as it was. Its esxupdate.log has the details."
_NO_FILES = ("the server may not put files on the datastore", "Grant Datastore.FileManagement on the datastore to the user of this task.")
FAULTS = {
    ("upload_package", "NoPermission"): _NO_FILES,
    ("upload_package", "NoDiskSpace"): (
        "the datastore has no space for the package",
        "Make room on it, or name another one in datastore. Nothing was installed.",
    ),
    ("install_package", "VimEsxCLICLIFault"): (
        "the host refused the package",
        f"{_AS_IT_WAS} Where it says extensibility rules, try force: true.",
    ),
    ("install_package", "PlatformConfigFault"): ("the host refused the package", _AS_IT_WAS),
    ("remove_package", "VimEsxCLICLIFault"): (
        "the host refused to remove the package",
        "It is as it was. Its esxupdate.log has the details.",
    ),
    ("remove_upload", "NoPermission"): (
        "the uploaded file may not be removed",
        "Delete it in the datastore browser; it is a few kilobytes and does no harm.",
    ),
}


def properties(wanted: Wanted) -> Sequence[str]:
    return (
        *(_NAME, _UUID, _VERSION, _RULESETS, _IMAGE, _PATCH, _OPTIONS, _PARENT, _STORES, _MAINTENANCE, _REBOOT, _VCENTER),
        *(*secure_boot.PROPERTIES, _SEAL, _SEALED_EXEC),
    )


def _rulesets(items: Iterable[Mapping[str, Any]]) -> dict[str, Live]:
    return {
        item["key"]: Live(
            item["enabled"],
            frozenset(
                Rule(rule["direction"], rule["protocol"], rule["port"], rule.get("endPort") or rule["port"], rule.get("portType") or "dst")
                for rule in item.get("rule", ())
            ),
            item.get("userControllable"),
        )
        for item in items
    }


def _mounts(items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Why a host can put nothing there, by the host; empty where it can."""
    found = {}
    for item in items:
        mount = item["mountInfo"]
        there = mount.get("accessible", True) and mount.get("mounted", True)
        trouble = "not accessible" if not there else "" if mount.get("accessMode") == "readWrite" else "read-only"
        found[str(getattr(item["key"], "id", item["key"]))] = trouble
    return found


SHRINK = {"firewallInfo.ruleset": _rulesets, "host": _mounts}


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """The package of each host, and of those that are to get or lose one what decides about that."""

    def package(target: Target) -> list[Installed]:
        manager = rows[target].values.get(_IMAGE)
        if manager is None:
            raise ServerFault(
                "the host has no image manager, which tells its packages", hint="Look at its release, and at its connection in vCenter."
            )
        found = session.items(manager, _PACKAGES, lambda item: _package(item) if item.get("name") == wanted.name else None)
        return [one for one in found if one is not None]

    def level(target: Target) -> str:
        return str(session.probe(rows[target].values[_IMAGE], _LEVEL) or "")

    def exec_only(target: Target) -> bool | None:
        manager = rows[target].values.get(_OPTIONS)
        found = session.read(manager, "QueryOptions", name=_EXEC) if manager else None
        return _truth(next((one.value for one in found or ()), None))

    # What was written has to be told, also by a run that has to stop.
    guard = None if session.guard.reason else session.guard
    told: dict[Any, Any] = {target: {"packages": found} for target, found in fan_out(rows, package, parallel=parallel, guard=guard).items()}
    needy = [target for target in rows if _needs(rows[target], told[target], wanted)]
    if not needy:
        return told
    for name, work in (("level", level), ("exec_only", exec_only)) if wanted.state != "absent" else ():
        for target, found in fan_out(needy, work, parallel=parallel, guard=guard).items():
            told[target][name] = found
    stores = _collected(session, needy, rows, _STORES, ("summary", "host")) if wanted.state != "absent" else {}
    clusters = _collected(session, needy, rows, _PARENT, (_MANAGED,))
    for target in needy:
        told[target].update(looked=True, stores=stores, clusters=clusters, by_vcenter=session.is_vcenter)
    return told


def _collected(session: Session, targets: Iterable[Target], rows: Mapping[Target, Row], path: str, paths: Sequence[str]) -> dict[Ref, Row]:
    refs: dict[Ref, None] = {}
    for target in targets:
        value = rows[target].values.get(path)
        refs.update(dict.fromkeys(value if isinstance(value, list) else [value] if value else []))
    by_type: dict[str, list[Ref]] = {}
    for ref in refs:
        by_type.setdefault(ref.type, []).append(ref)
    return {ref: row for same in by_type.values() for ref, row in collect(session, same, paths, shrink=SHRINK).items()}


def _needs(row: Row, told: Mapping[str, Any], wanted: Wanted) -> bool:
    try:
        return needs_guards(observe(row, told), wanted)
    except (FleetcareError, LookupError, TypeError, ValueError, AttributeError):
        return False  # what is wrong with it is told where it is observed


def _package(item: Mapping[str, Any]) -> Installed:
    return Installed(
        name=item["name"],
        version=item["version"],
        vendor=item.get("vendor", ""),
        description=item.get("description", ""),
        maintenance=bool(item.get("maintenanceModeRequired")),
    )


def _truth(value: Any) -> bool | None:
    """Kernel settings come as text on some releases."""
    return None if value is None else str(value).strip().lower() in ("true", "1", "yes")


def observe(row: Row, extra: Mapping[str, Any]) -> State:
    values = row.values
    packages = _known(extra.get("packages"), "reading its packages")
    is_on, told_by = secure_boot.told(values)
    return State(
        name=values.get(_NAME, ""),
        moid=row.ref.id,
        uuid=values.get(_UUID, ""),
        version=values.get(_VERSION, ""),
        rulesets=values.get(_RULESETS),
        installed=packages[0] if packages else None,
        secure_boot=is_on,
        told_by=told_by,
        boot_enforced=bool(values.get(secure_boot.REQUIRED)),
        sealed=str(values.get(_SEAL) or "none").lower() not in ("none", ""),
        maintenance=bool(values.get(_MAINTENANCE)),
        reboot_pending=bool(values.get(_REBOOT)),
        guards=_guards(row, extra) if extra.get("looked") else None,
    )


def _known(value: Any, doing: str) -> Any:
    if isinstance(value, FleetcareError):
        raise value.at(doing=doing)
    return value


def _guards(row: Row, extra: Mapping[str, Any]) -> Guards:
    level = _known(extra.get("level"), "reading its acceptance level")
    exec_only = extra.get("exec_only")
    return Guards(
        level=level or "",
        # Worth a note only: that it could not be read stops nothing.
        exec_installed_only=True if row.values.get(_SEALED_EXEC) else None if isinstance(exec_only, FleetcareError) else exec_only,
        image_managed=_image_managed(row, extra),
        stores=tuple(_stores(row, extra)),
    )


def _image_managed(row: Row, extra: Mapping[str, Any]) -> bool | None:
    """None where only another server knows, or this one may not tell. A release without that property has no images either."""
    if not extra["by_vcenter"]:
        return None if row.values.get(_VCENTER) else False
    cluster = extra["clusters"].get(row.values.get(_PARENT))
    return None if cluster is None or _MANAGED in cluster.missing else bool(cluster.values.get(_MANAGED))


def _stores(row: Row, extra: Mapping[str, Any]) -> Iterable[Store]:
    for ref in row.values.get(_STORES) or ():
        found = extra["stores"].get(ref)
        summary = found.values.get("summary") if found else None
        if not summary:
            continue
        mounts = found.values.get("host") or {}
        trouble = "not accessible" if not summary.get("accessible") else mounts.get(row.ref.id, "")
        if not trouble and summary.get("maintenanceMode", "normal") != "normal":
            trouble = "in maintenance mode"
        volume = summary.get("url", "").partition("/vmfs/volumes/")[2].strip("/")
        if not trouble and not volume:
            trouble = f"mounted at an unknown place ({summary.get('url')})"
        yield Store(
            name=summary["name"],
            moid=ref.id,
            path=f"/vmfs/volumes/{volume}",
            free=summary.get("freeSpace", 0),
            plain=summary.get("type", "VMFS") in _PLAIN,
            trouble=trouble,
        )


def apply(session: Session, target: Target, row: Row, change: Change) -> Ref | None:
    if isinstance(change, UploadPackage):
        session.upload(target.path, _address(target, change.place), change.content)
    elif isinstance(change, InstallPackage):
        return _apply_install(session, target, row, change)
    elif isinstance(change, RemovePackage):
        _apply_removal(session, target, row, change)
    elif isinstance(change, (RefreshFirewall, SetRuleset)):
        try:
            _apply_to_firewall(session, target, row, change)
        except EndpointUnreachable:  # the answer was lost; once more is the same
            _apply_to_firewall(session, target, row, change)
    elif isinstance(change, RemoveUpload):
        _apply_cleaning(session, target, change)
    else:
        raise TypeError(f"{type(change).__name__} is not a change of this feature")
    return None


def _apply_cleaning(session: Session, target: Target, change: RemoveUpload) -> None:
    path = _address(target, change.place)
    try:
        try:
            session.remove(target.path, path, must=True)
        except EndpointUnreachable:
            session.remove(target.path, path, must=True)
    except ServerFault as problem:
        # The first time had removed it, or somebody else has. After a refused upload there was none to remove.
        was_there = any((sent.target, sent.operation, sent.outcome) == (target.path, "PUT", "done") for sent in session.sent)
        if problem.fault != "FileNotFound" or not was_there:
            raise


def _apply_install(session: Session, target: Target, row: Row, change: InstallPackage) -> Ref | None:
    path = change.place.path
    arguments: dict[str, Any] = {"viburl": [path], **({"force": True} if change.force else {})}
    try:
        if change.installer == PATCH_MANAGER:
            # community.vmware's vmware_host_patch_manager gives a metaUrl beside, and looks for "Host was not updated" in the result of
            # a task that has succeeded. So what the task says is not enough; what is installed is read back.
            return ref_of(session.write(target.path, row.values[_PATCH], "InstallHostPatchV2_Task", vibUrls=[f"file://{path}"]))
        _told(session.write(target.path, target.ref, "esxcli software.vib.install", **arguments))
    except (EndpointUnreachable, TimedOut):
        # The answer was lost, or is late. The rest of the way depends on what came of it, so it is looked at here.
        if not _came_about(session, row, change.installed.name, [(change.installed.version, change.installed.vendor)]):
            raise
    return None


def _apply_removal(session: Session, target: Target, row: Row, change: RemovePackage) -> None:
    try:
        _told(session.write(target.path, target.ref, "esxcli software.vib.remove", vibname=[change.name]))
    except (EndpointUnreachable, TimedOut):
        if not _came_about(session, row, change.name, []):
            raise


def _came_about(session: Session, row: Row, name: str, wanted: list[tuple[str, str]]) -> bool:
    """Whether the packages of that name are these, by version and vendor; looked at for a few seconds."""
    for pause in _PAUSES:
        session.guard.pause(pause)
        found = session.items(row.values[_IMAGE], _PACKAGES, lambda item: _package(item) if item.get("name") == name else None)
        if [(one.version, one.vendor) for one in found if one] == wanted:
            return True
    return False


def _apply_to_firewall(session: Session, target: Target, row: Row, change: Change) -> None:
    firewall = row.values[_FIREWALL]
    if isinstance(change, RefreshFirewall):
        session.write(target.path, firewall, "RefreshFirewall")
    elif isinstance(change, SetRuleset) and not _is_set(session, firewall, change):
        session.write(target.path, firewall, "EnableRuleset" if change.enabled else "DisableRuleset", id=change.ruleset)


def _told(answer: list[Any]) -> None:
    """What esxcli says beside that it went well: Message, RebootRequired, VIBsInstalled, VIBsRemoved, VIBsSkipped."""
    result = answer[0] if answer and isinstance(answer[0], Mapping) else {}
    if _truth(result.get("RebootRequired")):
        raise ServerFault(
            "the host took it for its next start only",
            hint="Reboot it with esxi_power, then run the task again.",
        )


def _is_set(session: Session, firewall: Ref, change: SetRuleset) -> bool:
    """A ruleset that has just appeared is mostly as its file says already; a host may refuse to toggle it to what it is."""
    found = collect(session, [firewall], ["firewallInfo.ruleset"], shrink=SHRINK)[firewall].values.get("firewallInfo.ruleset") or {}
    live = found.get(change.ruleset)
    return live is not None and live.enabled == change.enabled


def _address(target: Target, place: Any) -> str:
    """A file of a datastore over HTTPS; vCenter finds the datastore by its datacenter."""
    center = next(iter(target.within("datacenter")), "ha-datacenter")
    return f"/folder/{quote(place.file)}?dcPath={quote(center, safe='')}&dsName={quote(place.store, safe='')}"

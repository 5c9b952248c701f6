# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of firewall rulesets on ESXi hosts: whether one may go in, how, and how it comes out again. Pure. Private to
this collection.

The package is built in ``vib_package``, wishes are in ``vib_wanted``, values and writes in ``vib_model``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .plan import Change, Finding, Meaning, Plan
from .vib_model import (
    RESERVE,
    WIDE,
    Guards,
    Installed,
    InstallPackage,
    Live,
    Place,
    RefreshFirewall,
    RemovePackage,
    RemoveUpload,
    SetRuleset,
    State,
    Store,
    UploadPackage,
)
from .vib_package import Rule, Ruleset
from .vib_wanted import ABSENT, BUILT, Wanted, parse

# A domain, see _module.feature.
__all__ = [
    "MEANINGS",
    "after",
    "blocked",
    "endpoint_plan",
    "files",
    "is_offline",
    "needs_guards",
    "needs_hosts",
    "overview",
    "parse",
    "patience",
    "plan",
    "report",
    "settings",
    "settled",
    "survey",
]

_LEVELS = {
    "community": "CommunitySupported",
    "partner": "PartnerSupported",
    "vmware_accepted": "VMwareAccepted",
    "vmware_certified": "VMwareCertified",
}
_WAY_OUT = (
    "Use a ruleset that the release ships (esxi_firewall_ports), or have the package signed by a partner of the vendor; without Secure Boot "
    "in the firmware of the host it could go in, unsupported."
)

MEANINGS: dict[str, Meaning] = {
    "vib_firewall_unknown": Meaning(
        "error",
        "The host reports no firewall configuration at all, so whether its rulesets clash with those of the package cannot be told.",
        "Its management agent has not finished starting, or its state in vCenter is stale: reconnect it, then run the task again.",
        "configManager.firewallSystem, firewallInfo unset (community.vmware#1628)",
    ),
    "vib_acceptance_level": Meaning(
        "error",
        "The acceptance level of the host keeps packages without a signature out, which this one is.",
        "Lower it to community with esxi_acceptance_level, if your rules allow that; the vendor's support may ask you to remove such packages.",
        "HostImageConfigGetAcceptance; lamw/ghettoVCB#307 (8.0.1: also with --force); vSphere Security 6.5, ESXi Firewall Configuration",
    ),
    "vib_secure_boot": Meaning(
        "error",
        "Secure Boot is on. A host with a package without a signature would not start again.",
        _WAY_OUT,
        "HostCapability.uefiSecureBoot (8.0.3; STIG of VCF 9), stateEncryption.requireSecureBoot; vSphere Security; OpenNebula/one#3481",
    ),
    "vib_secure_boot_unknown": Meaning(
        "error",
        "The release does not say whether Secure Boot is on, and with it the host would not start again with the package.",
        (
            "Look in the host's firmware, or run /usr/lib/vmware/secureboot/bin/secureBoot.py -s on it; where it is off, say so with "
            "allow_unknown_secure_boot: true."
        ),
        "HostCapability.uefiSecureBoot is unset before 8.0.3",
    ),
    "vib_boot_at_risk": Meaning(
        "error",
        "The package is installed, it has no signature, and Secure Boot is on: the host will not start again.",
        "Remove the package with state: absent before the next reboot.",
        "vSphere Security: UEFI Secure Boot failed: Failed to verify signatures of the following vibs",
    ),
    "vib_image_managed": Meaning(
        "error",
        "One image manages the cluster of this host. What is installed or removed by hand is drift, which the next remediation undoes.",
        "Import the offline bundle into vSphere Lifecycle Manager (state: built or dest writes it), and add the component to the image, or take it out.",
        "ComputeResource.lifecycleManaged, API 6.9.1; vSphere Lifecycle Manager, Working with Images",
    ),
    "vib_image_unknown": Meaning(
        "warning",
        "Only the vCenter of the host knows whether one image manages its cluster, and it is not asked or does not tell.",
        "Run the task against the vCenter that manages the host, as a user with System.Read on its cluster.",
        "summary.managementServerIp; ComputeResource.lifecycleManaged",
        lasting=True,
    ),
    "vib_exec_installed_only": Meaning(
        "note",
        "The host runs only what came with a package. This package holds nothing that runs, so it makes no difference.",
        "Nothing to do.",
        "VMkernel.Boot.execInstalledOnly, stateEncryption.requireExecInstalledOnly; vSphere Security 8.0, execInstalledOnly",
        lasting=True,
    ),
    "vib_sealed": Meaning(
        "note",
        "A TPM seals the configuration of the host. A package without a signature changes nothing about that, as long as Secure Boot is not enforced.",
        "Keep the recovery key of the host at hand (esxcli system settings encryption recovery list) before anything is changed in its firmware.",
        "HostRuntimeInfo.stateEncryption; vSphere Security, Securing the ESXi Configuration",
        lasting=True,
    ),
    "vib_no_datastore": Meaning(
        "error",
        "The host has no datastore that the package could be put on for its installation.",
        "Name one in datastore that is VMFS or NFS, accessible and writable, or make one so.",
        "Datastore.summary, Datastore.host; a vSAN or vVol datastore takes no files outside of folders of its own",
    ),
    "vib_no_space": Meaning(
        "error",
        "The datastores that would do have too little free space; a few megabytes are kept free beside the package.",
        "Make room, or name another one in datastore.",
        "Datastore.summary.freeSpace",
    ),
    "vib_ruleset_taken": Meaning(
        "error",
        "The host already has a ruleset of that name, it has other ports, and it is not from this package. Two files with one name would fight.",
        "Choose another name for the ruleset, or open the one that is there with esxi_firewall_ports.",
        "firewallInfo.ruleset; the keys of rulesets are their identity",
    ),
    "vib_ruleset_adopted": Meaning(
        "note",
        "The host already has that ruleset with just these ports, made by hand or by another package. With this package it stays after a reboot.",
        "If another package brings it, remove that one.",
        "firewallInfo.ruleset; ghettoVCB#294",
        lasting=True,
    ),
    "vib_port_taken": Meaning(
        "warning",
        "A ruleset of the host already has that port, so the package would not have been needed.",
        "Better open that one with esxi_firewall_ports, which needs no package.",
        "firewallInfo.ruleset, rule",
        lasting=True,
    ),
    "vib_other_version": Meaning(
        "note",
        "Another version of the package is installed, and is replaced.",
        "Nothing to do.",
        "fetchSoftwarePackages",
    ),
    "vib_name_taken": Meaning(
        "error",
        "A package of that name is installed, and it is another vendor's.",
        "Choose another name, or say its vendor if it is meant.",
        "fetchSoftwarePackages",
    ),
    "vib_maintenance_needed": Meaning(
        "error",
        "The package that is installed may be replaced or removed in maintenance mode only, and the host is not in it.",
        "Put the host into maintenance mode with esxi_power, then run the task again.",
        "HostSoftwarePackage.maintenanceModeRequired",
    ),
    "vib_reboot_pending": Meaning(
        "error",
        "The host waits for a reboot: whatever is installed or removed now, is there or gone after it.",
        "Reboot the host with esxi_power, then run the task again.",
        "HostListSummary.rebootRequired; esxcli: Reboot Required: true",
    ),
    "vib_ruleset_missing": Meaning(
        "error",
        "The package is installed, the firewall was refreshed, and the ruleset is not there.",
        "Look at the file in /etc/vmware/firewall and at hostd.log; a reboot of the host reads the files anew.",
        "firewallInfo.ruleset after RefreshFirewall",
    ),
    "vib_ruleset_differs": Meaning(
        "error",
        "The package is installed, the firewall was refreshed, and the ruleset has other ports than the package says.",
        "Look for another file in /etc/vmware/firewall with the same ruleset, and remove it.",
        "firewallInfo.ruleset after RefreshFirewall",
    ),
    "vib_ruleset_locked": Meaning(
        "error",
        "The host does not let anybody open or close the ruleset.",
        "Leave enabled out for it here, or build the package with the state that is wanted under another ruleset name.",
        "HostFirewallRuleset.userControllable, API 8.0.2.0",
    ),
    "vib_ruleset_left": Meaning(
        "error",
        "The package is gone, the firewall was refreshed, and the ruleset is still there.",
        (
            "Another package brings the ruleset, or somebody wrote it into /etc/vmware/firewall by hand, which the next reboot undoes: look for "
            "it in the files there. Where it may stay, leave it out of rulesets."
        ),
        "firewallInfo.ruleset after RefreshFirewall",
    ),
    "vib_upload_left": Meaning(
        "error",
        "The file that the package was uploaded as could not be removed, or nobody knows whether it was.",
        "Delete it in the datastore browser; it is a few kilobytes and does no harm.",
        "DELETE of /folder",
    ),
}
# Where one of these is found, a package is not put on the host, and the bundle is the way out.
_BLOCKING = frozenset({"vib_acceptance_level", "vib_secure_boot", "vib_secure_boot_unknown", "vib_image_managed"})


def _found(code: str, text: str, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


def survey(states: Iterable[State], common: Mapping[str, Any], wanted: Wanted) -> Mapping[str, int]:
    """How many of the hosts have each datastore."""
    return Counter(store.moid for state in states if state.guards for store in state.guards.stores)


# ---- the plan -------------------------------------------------------------------------------------------------------------


def plan(state: State, wanted: Wanted, seen: Mapping[str, int] | None) -> Plan:
    if state.rulesets is None:
        return Plan(observed=state, findings=(_found("vib_firewall_unknown", "the host reports no rulesets"),))
    other = state.installed
    if other and other.vendor != wanted.vendor:
        return Plan(observed=state, findings=(_found("vib_name_taken", f"{other} is installed, asked for is the vendor {wanted.vendor}"),))
    changes, findings = _absent(state, wanted) if wanted.state == ABSENT else _present(state, wanted, seen or {})
    if state.uploaded:
        # Only after a run that could not take it away again.
        findings.append(_found("vib_upload_left", f"{state.uploaded} is still there, as far as is known"))
    return Plan(observed=state, changes=tuple(changes), findings=tuple(findings))


def is_right(state: State, wanted: Wanted) -> bool:
    """The version has most of the content's hash. All of it stands in the description, where the host tells that."""
    have, package = state.installed, wanted.package
    if have is None or package is None:
        return False
    return (have.version, have.vendor) == (package.version, package.vendor) and have.content in ("", package.content)


def needs_guards(state: State, wanted: Wanted) -> bool:
    """Whether something is to be installed or removed: what decides about that costs several calls a host."""
    return bool(state.installed) if wanted.state == ABSENT else not is_right(state, wanted)


def _present(state: State, wanted: Wanted, seen: Mapping[str, int]) -> tuple[list[Change], list[Finding]]:
    if is_right(state, wanted):
        return _loaded(state, wanted)
    findings = [*_against(state, wanted), *_clashes(state, wanted)]
    place, trouble = _place(state, wanted, seen)
    findings += trouble
    if place is None or any(finding.level == "error" for finding in findings):
        return [], findings
    if state.installed:
        findings.append(_found("vib_other_version", f"{state.installed.version} is installed, {_of(wanted).version} replaces it"))
    appear = {ruleset.name: _as_it_appears(ruleset, state, wanted) for ruleset in wanted.rulesets}
    vanish = tuple(name for name in (state.installed.rulesets if state.installed else ()) if name not in appear)
    changes: list[Change] = [
        UploadPackage(place, wanted.vib),
        InstallPackage(_as_installed(wanted), place, wanted.installer, wanted.force),
        RefreshFirewall(appear, vanish),
        *(SetRuleset(name, enabled) for name, enabled in sorted(wanted.toggles.items())),
        RemoveUpload(place),
    ]
    return changes, findings


def _of(wanted: Wanted) -> Any:
    return wanted.package


def _as_installed(wanted: Wanted) -> Installed:
    package = _of(wanted)
    return Installed(name=package.name, version=package.version, vendor=package.vendor, description=package.description)


def _as_it_appears(ruleset: Ruleset, state: State, wanted: Wanted) -> Live:
    """A host may remember how a ruleset of that name was left, so what shall be open or closed is said once more after it."""
    known = state.all().get(ruleset.name)
    toggle = wanted.toggles.get(ruleset.name)
    enabled = not toggle if toggle is not None else known.enabled if known else ruleset.enabled
    return Live(enabled, frozenset(ruleset.rules))


def _loaded(state: State, wanted: Wanted) -> tuple[list[Change], list[Finding]]:
    """The package is there: are its rulesets, and are they as wished?"""
    changes: list[Change] = []
    findings: list[Finding] = []
    if state.secure_boot:
        findings.append(_found("vib_boot_at_risk", f"{state.installed} is installed, and {state.told_by} says that Secure Boot is on"))
    wrong = [
        ruleset for ruleset in wanted.rulesets if (live := state.all().get(ruleset.name)) is None or live.rules != frozenset(ruleset.rules)
    ]
    if wrong and not state.refreshed:
        changes.append(RefreshFirewall({ruleset.name: _as_it_appears(ruleset, state, wanted) for ruleset in wrong}))
    for ruleset in wrong if state.refreshed else ():
        live = state.all().get(ruleset.name)
        if live is None:
            findings.append(_found("vib_ruleset_missing", f"{ruleset.name} is not there"))
        else:
            findings.append(
                _found("vib_ruleset_differs", f"{ruleset.name} has {_ports(live.rules)}, the package says {_ports(ruleset.rules)}")
            )
    fresh = {ruleset.name for ruleset in wrong}
    for name, enabled in sorted(wanted.toggles.items()):
        live = state.all().get(name)
        if name in fresh:
            changes += [SetRuleset(name, enabled)] if not state.refreshed else []
        elif live and live.enabled != enabled:
            if live.controllable is False:
                findings.append(_found("vib_ruleset_locked", f"{name} is {_word(live.enabled)}, asked for is {_word(enabled)}"))
            else:
                changes.append(SetRuleset(name, enabled))
    return changes, findings


def _absent(state: State, wanted: Wanted) -> tuple[list[Change], list[Finding]]:
    have = state.installed
    if have is None:
        left = [
            ruleset for ruleset in wanted.rulesets if (live := state.all().get(ruleset.name)) and live.rules == frozenset(ruleset.rules)
        ]
        if left and not state.refreshed:
            return [RefreshFirewall({}, tuple(ruleset.name for ruleset in left))], []
        return [], [_found("vib_ruleset_left", f"{ruleset.name} is there with {_ports(ruleset.rules)}") for ruleset in left]
    findings = list(_against_removal(state, have))
    if any(finding.level == "error" for finding in findings):
        return [], findings
    vanish = have.rulesets or tuple(ruleset.name for ruleset in wanted.rulesets)
    return [RemovePackage(have.name, have.version), RefreshFirewall({}, vanish)], findings


def _ports(rules: Iterable[Rule]) -> str:
    return ", ".join(str(rule) for rule in sorted(rules)) or "no ports"


def _word(enabled: bool) -> str:
    return "open" if enabled else "closed"


# ---- what speaks against it ------------------------------------------------------------------------------------------------


def _against(state: State, wanted: Wanted) -> Iterator[Finding]:
    guards = state.guards or Guards()
    # Under Secure Boot the level is not what is in the way, and cannot be lowered to community either.
    if guards.level != "community" and not state.secure_boot:
        word = _LEVELS.get(guards.level, guards.level or "unknown")
        yield _found("vib_acceptance_level", f"the level of the host is {word}, the package is {_LEVELS['community']}")
    if state.secure_boot:
        enforced = ", and the TPM enforces it, so the host would not start without it either" if state.boot_enforced else ""
        yield _found("vib_secure_boot", f"{state.told_by} says that Secure Boot is on{enforced}")
    elif state.secure_boot is None:
        yield _found(
            "vib_secure_boot_unknown",
            f"ESXi {state.version} tells nothing about Secure Boot",
            level="warning" if wanted.unknown_boot else "",
        )
    yield from _of_image(state)
    if state.reboot_pending:
        yield _found("vib_reboot_pending", "the host waits for a reboot")
    if state.installed and state.installed.maintenance and not state.maintenance:
        yield _found("vib_maintenance_needed", f"{state.installed} asks for maintenance mode")
    if guards.exec_installed_only:
        yield _found("vib_exec_installed_only", "execInstalledOnly is on")
    if state.sealed and not state.secure_boot:
        yield _found("vib_sealed", "the configuration is sealed by a TPM")


def _of_image(state: State) -> Iterator[Finding]:
    managed = state.guards.image_managed if state.guards else None
    if managed:
        yield _found("vib_image_managed", "its cluster is managed by one image")
    elif managed is None:
        yield _found("vib_image_unknown", "whether its cluster is managed by one image cannot be told from here")


def _against_removal(state: State, have: Installed) -> Iterator[Finding]:
    yield from _of_image(state)
    if state.reboot_pending:
        yield _found("vib_reboot_pending", "the host waits for a reboot")
    if have.maintenance and not state.maintenance:
        yield _found("vib_maintenance_needed", f"{have} asks for maintenance mode")


def _clashes(state: State, wanted: Wanted) -> Iterator[Finding]:
    own = state.installed.rulesets if state.installed else ()
    declared = {ruleset.name: ruleset for ruleset in wanted.rulesets}
    for ruleset in wanted.rulesets:
        # Whether a host tells names apart by their case nobody says; people do not.
        name = next((key for key in state.all() if key.lower() == ruleset.name.lower()), ruleset.name)
        live = state.all().get(name)
        if live and name not in own:
            if name == ruleset.name and live.rules == frozenset(ruleset.rules):
                yield _found("vib_ruleset_adopted", f"{ruleset.name} is there with {_ports(live.rules)}")
            else:
                yield _found(
                    "vib_ruleset_taken",
                    f"{name} is there with {_ports(live.rules)}, declared is {ruleset.name} with {_ports(ruleset.rules)}",
                )
        for rule in (rule for rule in ruleset.rules if rule.port_type == "dst"):
            others = [name for name, one in sorted(state.all().items()) if name not in (*own, *declared) and _has(one, rule)]
            if others:
                told = ", ".join(f"{name} ({_word(state.all()[name].enabled)})" for name in others[:5])
                yield _found("vib_port_taken", f"{ruleset.name}: {rule} is in {told}{' and others' if len(others) > 5 else ''}")


def _has(live: Live, rule: Rule) -> bool:
    """Without those that open nearly everything for a purpose of their own."""
    return not any(one.last - one.first >= WIDE for one in live.rules) and any(one.meets(rule) for one in live.rules)


def _place(state: State, wanted: Wanted, seen: Mapping[str, int]) -> tuple[Place | None, list[Finding]]:
    """One that most of the hosts have, then the one with most room: the same for a whole cluster wherever that is possible."""
    stores = state.guards.stores if state.guards else ()
    named = [store for store in stores if not wanted.datastore or store.name == wanted.datastore]
    able = [store for store in named if not store.trouble and (store.plain or wanted.datastore)]
    if not able:
        return None, [_found("vib_no_datastore", _why_none(stores, named, wanted))]
    roomy = [store for store in able if store.free >= len(wanted.vib) + RESERVE]
    if not roomy:
        told = ", ".join(f"{store.name} ({store.free // 1024 // 1024} MB free)" for store in able[:5])
        return None, [_found("vib_no_space", told)]
    store = min(roomy, key=lambda one: (-seen.get(one.moid, 0), -one.free, one.name))
    # Several hosts may have the datastore, and each removes its own file. Asked by itself, every host is ha-host.
    file = f"{_of(wanted).id}-{state.uuid or state.moid}.vib"
    return Place(store.name, file, f"{store.path.rstrip('/')}/{file}"), []


def _why_none(stores: Iterable[Store], named: list[Store], wanted: Wanted) -> str:
    known = ", ".join(f"{store.name} ({store.trouble or 'takes no plain files'})" for store in named[:5])
    if known:
        return known
    others = ", ".join(store.name for store in stores)
    return f"{wanted.datastore} is not among its datastores ({others or 'none'})" if wanted.datastore else "it has none"


# ---- what a run does with it --------------------------------------------------------------------------------------------------


def after(read: State, predicted: State, waited: bool) -> State:
    return replace(read, uploaded=predicted.uploaded, refreshed=predicted.refreshed)


def settled(state: State, wanted: Wanted, seen: Any) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


def settings(state: State | None) -> dict[str, Any]:
    """The package, its rulesets, and a file that could not be removed."""
    if state is None:
        return {}
    have = state.installed
    names = have.rulesets if have else ()
    shown: dict[str, Any] = {
        "package": f"{have.name} {have.version}" if have else None,
        "rulesets": {name: _shown(live) for name in names if (live := state.all().get(name))},
    }
    return {**shown, "uploaded": state.uploaded} if state.uploaded else shown


def _shown(live: Live) -> dict[str, Any]:
    return {"enabled": live.enabled, "rules": [str(rule) for rule in sorted(live.rules)]}


def report(state: State | None, wanted: Wanted, seen: Any, *, full: bool) -> dict[str, Any]:
    if state is None:
        return {}
    have = state.installed
    names = dict.fromkeys((*(have.rulesets if have else ()), *(ruleset.name for ruleset in wanted.rulesets)))
    return {
        "package": {"name": have.name, "version": have.version, "vendor": have.vendor} if have else {},
        "rulesets": {name: _shown(live) for name in names if (live := state.all().get(name))},
    }


# ---- the wish as a whole: what is built, and for whom ----------------------------------------------------------------------------


def is_offline(wanted: Wanted, has_endpoint: bool) -> bool:
    return wanted.state == BUILT


def needs_hosts(wanted: Wanted) -> bool:
    return True


def endpoint_plan(seen: Any, wanted: Wanted) -> Plan:
    """Nothing is changed of the endpoint itself."""
    return Plan(observed=None)


def blocked(plans: Mapping[str, Plan]) -> list[str]:
    """Hosts that take no package by themselves."""
    return [name for name, one in plans.items() if any(finding.code in _BLOCKING for finding in one.errors)]


def files(wanted: Wanted, plans: Mapping[str, Plan]) -> dict[str, bytes]:
    """What belongs on the control node: the package and its bundle when they are built, the bundle where a host takes none."""
    package = wanted.package
    if package is None or not wanted.dest or wanted.state == ABSENT:
        return {}
    bundle = {package.bundle_name: wanted.bundle}
    if wanted.state == BUILT:
        return {package.file_name: wanted.vib, **bundle}
    return bundle if blocked(plans) else {}


def overview(seen: Any, wanted: Wanted, plans: Mapping[str, Plan], away: Mapping[str, str]) -> dict[str, Any]:
    package = wanted.package
    result: dict[str, Any] = {}
    if package:
        result["package"] = {
            "id": package.id,
            "name": package.name,
            "version": package.version,
            "vendor": package.vendor,
            "content": package.content,
            "rulesets": [ruleset.name for ruleset in package.rulesets],
        }
    if wanted.state == BUILT and package:
        result["msg"] = f"{package.id} with {', '.join(ruleset.name for ruleset in package.rulesets)}"
    elif package and wanted.dest and blocked(plans):
        result["msg"] = (
            f"{len(blocked(plans))} of {len(plans)} hosts take no package by themselves. Where one image manages the cluster, import "
            f"{package.bundle_name} from {wanted.dest} into vSphere Lifecycle Manager and add the component {package.name} to the image; "
            "acceptance level and Secure Boot keep it out there too"
        )
    return result

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode, shutdown and reboot of ESXi hosts: what is asked for, what stands in the way, what is done in which order.
Pure. Private to this collection."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import BadInput, listed
from .plan import Change, Finding, Meaning, Plan, described

NORMAL, MAINTENANCE, SHUTDOWN, REBOOTED = "normal", "maintenance", "shutdown", "rebooted"
STATES = (SHUTDOWN, REBOOTED, MAINTENANCE, NORMAL)
# VsanHostDecommissionModeObjectAction, vSphere API 5.5.
VSAN_MODES = {"ensure_accessibility": "ensureObjectAccessibility", "evacuate_all": "evacuateAllData", "no_action": "noAction"}
# A host tells its boot time from its clock, which a correction moves by seconds; a boot takes minutes.
_SAME_BOOT = datetime.timedelta(seconds=30)
_API = "vSphere API reference, HostSystem: EnterMaintenanceMode_Task, RebootHost_Task, ShutdownHost_Task"
_CLUSTER = "vSphere API reference, ClusterDrsConfigInfo, ClusterDasConfigInfo"
_MOST = 10

MEANINGS: dict[str, Meaning] = {
    "power_vms_running": Meaning(
        "error",
        "Virtual machines run on the host and nothing moves them away, so it is not taken down.",
        "Move the machines or shut them down; force: true takes the host down with them.",
        _API,
    ),
    "power_vms_cut": Meaning(
        "warning",
        "The host goes down with the virtual machines that run on it, as force: true asks for.",
        "See that they are started again once the host is back.",
        _API,
        lasting=True,
    ),
    "power_vms_move": Meaning(
        "note",
        "DRS moves the running virtual machines to other hosts of the cluster before the host goes.",
        "Nothing to do.",
        _CLUSTER,
        lasting=True,
    ),
    "power_vms_block": Meaning(
        "warning",
        "Virtual machines run on the host that nothing moves away; until somebody does, it does not get into maintenance mode.",
        "Move the machines or shut them down within maintenance_timeout.",
        _API,
    ),
    "power_drs_off": Meaning(
        "warning",
        "The cluster's DRS does not move virtual machines by itself.",
        "Set DRS of the cluster to fully automated, or move the machines by hand.",
        _CLUSTER,
        lasting=True,
    ),
    "power_last_host": Meaning(
        "error",
        "It is the last host of its cluster that is connected and not in maintenance mode, and virtual machines run on it.",
        "Bring another host of the cluster back first; force: true shuts down or reboots this one with its machines.",
        _API,
    ),
    "power_whole_cluster": Meaning(
        "error",
        "All usable hosts of the cluster are meant, and virtual machines run there; this one is left.",
        "Leave a host of the cluster out, or shut the machines down; force: true shuts the host down with its machines.",
        _API,
    ),
    "power_in_turn": Meaning(
        "note",
        "Several hosts of the cluster are meant and virtual machines run there, so this one waits until another is back.",
        "Nothing to do. Without waves the hosts of a cluster go one by one; with waves as many at a time as a wave has, but never all.",
        _API,
        lasting=True,
    ),
    "power_admission_control": Meaning(
        "warning",
        "Admission control of vSphere HA is on in the cluster and may keep machines where they are.",
        "If the host does not get into maintenance mode, see the cluster's failover capacity.",
        _CLUSTER,
        lasting=True,
    ),
    "power_own_endpoint": Meaning(
        "error",
        "vCenter itself runs on the host.",
        "Move vCenter to another host first; allow_own_endpoint: true takes the host down all the same.",
        "HostListSummary.managementServerIp and GuestInfo.net, vSphere API reference",
    ),
    "power_own_control_node": Meaning(
        "error",
        "The machine that runs this task runs on the host.",
        "Move the control node to another host, or run the task elsewhere; allow_own_endpoint: true takes the host down all the same.",
        "GuestInfo.net, compared with the address that the connection comes from",
    ),
    "power_own_allowed": Meaning(
        "warning",
        "The host goes down, last of all, although vCenter, or the machine that runs this task, is on it, as allow_own_endpoint: true asks.",
        "Be ready to start the host and that machine over the host's own management controller.",
        "HostListSummary.managementServerIp and GuestInfo.net, vSphere API reference",
        lasting=True,
    ),
    "power_not_heard": Meaning(
        "warning",
        "vCenter does not hear from the host. Whether it is off or cut off the API does not tell.",
        "Look at its console or its management controller if it should not be off.",
        "HostSystemPowerState: unknown, vSphere API reference",
    ),
    "power_off": Meaning(
        "error",
        "The host is off or in standby; nothing here can start it.",
        "Start it over its management controller, or let DPM bring it out of standby.",
        "HostSystemPowerState, vSphere API reference",
    ),
    "power_not_supported": Meaning(
        "error",
        "The host says that it cannot do this.",
        "Do it at its console or its management controller.",
        "HostCapability.rebootSupported, shutdownSupported, maintenanceModeSupported",
    ),
    "power_vms_locked": Meaning(
        "error",
        "Encrypted virtual machines on the host are locked after its reboot: it has lost their keys.",
        "Run fleetcare.esxi.vm_crypto_unlock for them.",
        "VirtualMachineRuntimeInfo.cryptoState, vSphere API 6.7",
    ),
    "power_left_in_maintenance": Meaning(
        "warning",
        "The host was in maintenance mode before this run, and stays in it: a run that was interrupted may have left it there.",
        "Bring it back with state: normal, unless somebody works on it.",
        "HostRuntimeInfo.inMaintenanceMode, vSphere API reference",
        lasting=True,
    ),
    "power_reboot_pending": Meaning(
        "note",
        "The host says that it needs a reboot.",
        "Set state: rebooted, with only_if_required: true if others are meant, too.",
        "HostListSummary.rebootRequired, vSphere API reference",
    ),
}


def _found(code: str, text: str, *, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


# ---- state ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """``others``: object ids and names of its other hosts that are connected and not in maintenance mode."""

    name: str
    drs: str = "off"
    admission_control: bool = False
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class State:
    """``entered``, ``rebooted``, ``off``: what this run has brought about. ``pinned``: those of ``running`` that DRS does not move.
    ``locked_before``: machines that were locked before this run did anything. ``own``: vCenter's machine and that of the control
    node, where they run here."""

    id: str = ""
    name: str = ""
    connection: str = "connected"
    power: str = "poweredOn"
    maintenance: bool = False
    boot_time: datetime.datetime | None = None
    reboot_required: bool = False
    able: tuple[str, ...] = (SHUTDOWN, REBOOTED, MAINTENANCE)
    running: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    locked_before: tuple[str, ...] | None = None
    own_endpoint: str = ""
    own_control_node: str = ""
    cluster: Cluster | None = None
    entered: bool = False
    rebooted: bool = False
    off: bool = False

    @property
    def is_off(self) -> bool:
        return self.off or self.power in ("poweredOff", "standBy")

    @property
    def drs_moves(self) -> bool:
        """Whether there is somebody who moves machines, and somewhere to move them to."""
        return self.cluster is not None and self.cluster.drs == "fullyAutomated" and bool(self.cluster.others)

    @property
    def staying(self) -> tuple[str, ...]:
        """Machines that nobody moves: of a host that is in maintenance mode already all that run there all the same."""
        return self.pinned if self.drs_moves and not self.maintenance else self.running


# ---- changes ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EnterMaintenance:
    timeout: int
    evacuate_powered_off: bool | None = None
    vsan_mode: str | None = None

    def applied_to(self, state: State) -> State:
        return replace(state, maintenance=True, entered=True, running=(), pinned=(), own_endpoint="", own_control_node="")

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True, kw_only=True)
class Reboot:
    """``takes_endpoint``: vCenter is away while the host is."""

    force: bool
    timeout: int
    takes_endpoint: bool | None = None

    def applied_to(self, state: State) -> State:
        return replace(state, rebooted=True, reboot_required=False, running=(), pinned=(), locked_before=state.locked)

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True, kw_only=True)
class ShutDown:
    force: bool
    timeout: int
    takes_endpoint: bool | None = None

    def applied_to(self, state: State) -> State:
        return replace(state, off=True, running=(), pinned=())

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True, kw_only=True)
class LeaveMaintenance:
    timeout: int
    # A host that was emptied for a reboot which the server then refused goes back to work.
    takes_back = EnterMaintenance

    def applied_to(self, state: State) -> State:
        return replace(state, maintenance=False, entered=False)

    def describe(self) -> dict[str, Any]:
        return described(self)


# ---- what is asked for ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Wanted:
    state: str
    force: bool = False
    only_if_required: bool = False
    unless_booted_since: datetime.datetime | None = None
    maintenance_timeout: int = 1800
    power_timeout: int = 1200
    evacuate_powered_off: bool | None = None
    vsan_mode: str | None = None
    allow_own_endpoint: bool = False
    one_by_one: bool = False


def parse(params: Mapping[str, Any]) -> Wanted:
    """Options as a wish. Raises BadInput, before any connection."""
    state = params["state"]
    since = params.get("unless_booted_since")
    for option, given in (("only_if_required", params.get("only_if_required")), ("unless_booted_since", since)):
        if given and state != REBOOTED:
            raise BadInput(f"{option} is given and state is {state}", hint="It is for state: rebooted; leave it out.")
    if params.get("force") and state in (MAINTENANCE, NORMAL):
        raise BadInput(
            f"force is true and state is {state}", hint="It takes a host down with its machines, so it is for shutdown and rebooted."
        )
    for option in ("evacuate_powered_off", "vsan_mode"):
        if params.get(option) and state == NORMAL:
            raise BadInput(f"{option} is given and state is normal", hint="It is about entering maintenance mode; leave it out.")
    deadline = params.get("deadline") or 3600
    for option, default in (("maintenance_timeout", 1800), ("power_timeout", 1200)):
        value = default if params.get(option) is None else params[option]
        if not 1 <= value <= 86400:
            raise BadInput(f"{option} {value} is not between 1 and 86400 seconds", hint=f"{default} is the default.")
        if value >= deadline and value != default:
            raise BadInput(f"{option} {value} does not end before the deadline of {deadline:g} s", hint="Raise deadline.")
    return Wanted(
        state=state,
        force=bool(params.get("force")),
        only_if_required=bool(params.get("only_if_required")),
        unless_booted_since=_moment(str(since)) if since else None,
        maintenance_timeout=params.get("maintenance_timeout") or 1800,
        power_timeout=params.get("power_timeout") or 1200,
        evacuate_powered_off=True if params.get("evacuate_powered_off") else None,
        vsan_mode=params.get("vsan_mode"),
        allow_own_endpoint=bool(params.get("allow_own_endpoint")),
        one_by_one=not params.get("waves"),
    )


def _moment(text: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise BadInput(f"unless_booted_since {text!r} is no point in time", hint="Write it as 2026-11-22T06:00:00Z.") from None
    if found.tzinfo is None:
        raise BadInput(f"unless_booted_since {text!r} has no time zone", hint="End it with Z for UTC, or with an offset such as +01:00.")
    return found


# ---- all hosts together -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """``after``: object ids of the hosts that have to be back before this one goes. ``left``: hosts that stay because all of their
    cluster are meant; both with the reason, by object id. ``nowhere``: hosts whose machines go down with them, because all hosts
    that could take them go down, too."""

    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    turn: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    nowhere: frozenset[str] = frozenset()


def survey(states: Iterable[State], common: Mapping[str, Any], wanted: Wanted) -> Seen:
    """Who must not be away together: hosts of one cluster, and the hosts of vCenter and of the control node before all others."""
    if wanted.state == NORMAL:
        return Seen()
    plans = {state: plan(state, wanted, Seen()) for state in states}
    going = [state for state, made in plans.items() if made.changes]
    after: dict[str, tuple[str, ...]] = {}
    turn: dict[str, str] = {}
    left: dict[str, str] = {}
    nowhere: set[str] = set()
    clusters: dict[str, list[State]] = {}
    for state in going:
        if state.cluster is not None:
            usable = sorted({state.id, *(other for other, _name in state.cluster.others)})
            clusters.setdefault("/".join([state.cluster.name, *usable]), []).append(state)
    for members in clusters.values():
        # Who goes down with its machines goes first: nobody's machines must be moved there before.
        cut = [state for state in members if _is_cut(plans[state])]
        ordered = sorted(members, key=lambda state: (state not in cut, state.name, state.id))
        running = _all_running(members)
        cluster = members[0].cluster
        if cluster is None or len(members) < 2 or not running:
            continue
        is_whole = len(members) > len(cluster.others)
        if wanted.state == REBOOTED:
            for number, state in enumerate(ordered[1:], 1):
                if wanted.one_by_one:
                    before = [ordered[number - 1]]
                else:
                    before = [*([] if state in cut else cut), *(ordered[:1] if is_whole and state is ordered[-1] else [])]
                if before:
                    after[state.id] = tuple(dict.fromkeys(other.id for other in before))
                    turn[state.id] = f"{len(ordered)} hosts of {cluster.name} are meant; it waits until {before[-1].name} is back"
        elif is_whole and wanted.force:
            nowhere |= {state.id for state in members}
        elif is_whole:
            last = ordered[-1]
            left[last.id] = f"all {len(ordered)} usable hosts of {cluster.name} are meant; {_vms(running)}"
    if wanted.state in (SHUTDOWN, REBOOTED):
        # Without vCenter nobody is left to ask, without the control node nobody is left to ask for anything.
        for own in [state for state in going if state.own_endpoint] + [state for state in going if state.own_control_node]:
            after = {one: tuple(due for due in dues if due != own.id) for one, dues in after.items()}
            after[own.id] = tuple(other.id for other in going if other.id != own.id)
    return Seen(after, {one: why for one, why in turn.items() if after.get(one)}, left, frozenset(nowhere))


def _is_cut(made: Plan) -> bool:
    return any(isinstance(change, (Reboot, ShutDown)) and change.force for change in made.changes)


def _all_running(states: Iterable[State]) -> tuple[str, ...]:
    return tuple(sorted(name for state in states for name in state.running))


def _vms(names: tuple[str, ...], where: str = "") -> str:
    return f"{len(names)} {'VM runs' if len(names) == 1 else 'VMs run'}{where}: {listed(names, _MOST)}"


# ---- plan -------------------------------------------------------------------------------------------------------------------------


def plan(state: State, wanted: Wanted, seen: Seen) -> Plan:
    findings: list[Finding] = []
    changes: tuple[Change, ...] = ()
    observed = state
    if state.id in seen.nowhere and state.cluster is not None:
        state = replace(state, cluster=replace(state.cluster, others=()))
    if wanted.state == NORMAL:
        changes = (LeaveMaintenance(timeout=wanted.maintenance_timeout),) if state.maintenance else ()
    elif wanted.state == MAINTENANCE:
        if not state.maintenance:
            findings += _obstacles(state, wanted)
            changes = (_enter(wanted),)
    elif wanted.state == SHUTDOWN:
        if state.connection == "notResponding" and not state.is_off:
            # This collection takes a host down with machines only by force: so it was something else.
            level = "error" if state.running and not wanted.force else ""
            findings.append(_found("power_not_heard", _not_heard(state), level=level))
        elif not state.is_off:
            findings += _obstacles(state, wanted)
            changes = _down(state, wanted)
    elif state.rebooted:
        changes = (LeaveMaintenance(timeout=wanted.maintenance_timeout),) if state.maintenance and state.entered else ()
        findings += _after_reboot(state)
    elif not _is_spared(state, wanted):
        findings += _obstacles(state, wanted)
        changes = _down(state, wanted)
    if wanted.state == REBOOTED and state.maintenance and not state.entered:
        findings.append(_found("power_left_in_maintenance", "it is in maintenance mode"))
    if state.is_off and wanted.state != SHUTDOWN:
        findings, changes = [_found("power_off", f"its power state is {state.power}")], ()
    if changes and wanted.state != NORMAL and state.id in seen.left:
        findings.append(_found("power_whole_cluster", seen.left[state.id]))
    if changes and wanted.state not in (NORMAL, *state.able) and not state.rebooted:
        findings.append(_found("power_not_supported", f"it cannot be brought to state {wanted.state}"))
    if wanted.state in (MAINTENANCE, NORMAL) and state.reboot_required:
        findings.append(_found("power_reboot_pending", "summary.rebootRequired is true"))
    if any(finding.level == "error" for finding in findings) and not state.rebooted:
        changes = ()
    after: tuple[str, ...] = ()
    if changes and not state.rebooted:
        after = seen.after.get(state.id, ())
        if state.id in seen.turn:
            findings.append(_found("power_in_turn", seen.turn[state.id]))
    return Plan(observed=observed, changes=changes, findings=tuple(findings), after=after)


def _is_spared(state: State, wanted: Wanted) -> bool:
    """Whether a host needs no reboot by what was said of that."""
    if wanted.only_if_required and not state.reboot_required:
        return True
    since = wanted.unless_booted_since
    return since is not None and state.boot_time is not None and state.boot_time >= since


def _enter(wanted: Wanted) -> EnterMaintenance:
    return EnterMaintenance(
        timeout=wanted.maintenance_timeout, evacuate_powered_off=wanted.evacuate_powered_off, vsan_mode=wanted.vsan_mode
    )


def _down(state: State, wanted: Wanted) -> tuple[Change, ...]:
    """Through maintenance mode, except with a machine that nothing moves: then all go down with the host, where that is asked for."""
    forced = wanted.force and bool(state.staying) and not state.maintenance
    enter = () if state.maintenance or forced else (_enter(wanted),)
    # vCenter stays up where it moves to another host first.
    takes = True if state.own_endpoint and forced else None
    if wanted.state == SHUTDOWN:
        return (*enter, ShutDown(force=forced, timeout=wanted.power_timeout, takes_endpoint=takes))
    leave = (LeaveMaintenance(timeout=wanted.maintenance_timeout),) if enter else ()
    return (*enter, Reboot(force=forced, timeout=wanted.power_timeout, takes_endpoint=takes), *leave)


def _obstacles(state: State, wanted: Wanted) -> list[Finding]:
    """What stands in the way of a host that is to be emptied, and perhaps taken down."""
    found: list[Finding] = []
    goes = wanted.state in (SHUTDOWN, REBOOTED)
    own = tuple(dict.fromkeys(name for name in (state.own_endpoint, state.own_control_node) if name))
    if goes and own and wanted.allow_own_endpoint:
        found.append(_found("power_own_allowed", f"it is the VM {' and '.join(own)}"))
    elif goes and state.own_endpoint:
        found.append(_found("power_own_endpoint", f"vCenter is the VM {state.own_endpoint}"))
    if goes and state.own_control_node and not wanted.allow_own_endpoint:
        found.append(_found("power_own_control_node", f"the control node is the VM {state.own_control_node}"))
    if not state.running:
        return found
    cluster = None if state.maintenance else state.cluster
    if cluster is not None and not cluster.others and not (goes and wanted.force):
        found.append(_found("power_last_host", f"no other host of {cluster.name} could take over; {_vms(state.running)}"))
    elif cluster is not None and cluster.drs != "fullyAutomated":
        found.append(_found("power_drs_off", f"DRS of {cluster.name} is {_drs(cluster.drs)}"))
    cut = goes and wanted.force and bool(state.staying)
    moving = [name for name in state.running if name not in state.staying]
    if moving and not cut:
        found.append(_found("power_vms_move", f"DRS moves {len(moving)}: {listed(moving, _MOST)}"))
    if cluster is not None and cluster.admission_control and not cut:
        found.append(_found("power_admission_control", f"it is on in {cluster.name}"))
    if state.staying:
        if cut:
            found.append(_found("power_vms_cut", _vms(state.running)))  # all of them: it goes without maintenance mode
        else:
            staying = _vms(state.staying)
            found.append(_found("power_vms_running", staying) if goes else _found("power_vms_block", staying))
    return found


def _drs(word: str) -> str:
    return {"off": "off", "manual": "manual", "partiallyAutomated": "partially automated"}.get(word, word)


def _not_heard(state: State) -> str:
    last = ["it is in maintenance mode"] if state.maintenance else []
    last += [_vms(state.running, " there")] if state.running else []
    kept = f"; as far as vCenter knows {' and '.join(last)}" if last else ""
    return f"it is not responding and its power state is {state.power}{kept}"


def _after_reboot(state: State) -> list[Finding]:
    before = state.locked_before or ()
    fresh = [name for name in state.locked if name not in before]
    if not state.locked:
        return []
    text = f"{len(state.locked)} locked: {listed(state.locked, _MOST)}"
    return [_found("power_vms_locked", text if fresh else text + "; they were before, too", level="" if fresh else "warning")]


# ---- after the writes -------------------------------------------------------------------------------------------------------------


def is_newer(boot: datetime.datetime | None, before: datetime.datetime | None) -> bool:
    """Whether a boot time is for certain that of a later boot."""
    return boot is not None and before is not None and boot - before > _SAME_BOOT


def after(read: State, predicted: State, waited: bool) -> State:
    """A state read back, with what only this run knows of it."""
    # Of a host that tells no boot time, only that it went and came back is known.
    booted = is_newer(read.boot_time, predicted.boot_time) or (predicted.rebooted and predicted.boot_time is None)
    return replace(
        read,
        entered=predicted.entered and read.maintenance,
        rebooted=booted,
        locked_before=predicted.locked,
        off=read.is_off or (predicted.off and read.connection != "connected"),
    )


def settled(state: State, wanted: Wanted, seen: Seen) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


def settings(state: State) -> dict[str, Any]:
    boot = "in this run" if state.rebooted else state.boot_time.isoformat() if state.boot_time else None
    return {
        "power": "off" if state.is_off else "not heard" if state.connection != "connected" else "on",
        "maintenance": state.maintenance,
        "booted": boot,
    }


def report(state: State, wanted: Wanted, seen: Seen, *, full: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "power": settings(state)["power"],
        "maintenance": state.maintenance,
        "boot_time": state.boot_time.isoformat() if state.boot_time else None,
        "reboot_required": state.reboot_required,
    }
    if state.running:
        told["running_vms"] = list(state.running)
    if state.locked:
        told["locked_vms"] = list(state.locked)
    return told

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power and maintenance mode of ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._client.inventory import Target
from .._client.properties import Row, collect, read_rows
from .._client.session import Session
from .._client.vmomi import Ref, vim
from .._client.waiting import Condition, Sight
from .._domain.errors import HostUnreachable
from .._domain.plan import Change
from .._domain.power import (
    MAINTENANCE,
    REBOOTED,
    SHUTDOWN,
    VSAN_MODES,
    Cluster,
    EnterMaintenance,
    LeaveMaintenance,
    Reboot,
    ShutDown,
    State,
    Wanted,
    is_newer,
)

_CONNECTION = "runtime.connectionState"
_POWER = "runtime.powerState"
_MAINTENANCE = "runtime.inMaintenanceMode"
_BOOT = "runtime.bootTime"
_MANAGER = "summary.managementServerIp"
PROPERTIES = (
    "name",
    "parent",
    "vm",
    _CONNECTION,
    _POWER,
    _MAINTENANCE,
    _BOOT,
    "summary.rebootRequired",
    _MANAGER,
    "capability.rebootSupported",
    "capability.shutdownSupported",
    "capability.maintenanceModeSupported",
)
_ABLE = {SHUTDOWN: "shutdownSupported", REBOOTED: "rebootSupported", MAINTENANCE: "maintenanceModeSupported"}
_VM = ("name", "runtime.powerState", "runtime.cryptoState", "guest.hostName", "guest.ipAddress", "guest.net", "config.managedBy")
# Machines that ESX Agent Manager runs for the cluster itself (vCLS): it takes care of them when a host gets into maintenance mode. No text
# found says so of every release; where one does block, the server waits for it and its time-out tells.
_MORE = 60.0
_SLOW = "Look at its console or its management controller; it may only be slow."
_AGENTS = "com.vmware.vim.eam"


def _addresses(nics: Any) -> tuple[str, ...]:
    return tuple(address for nic in nics for address in nic.get("ipAddress", ()))


def _settings(config: Any) -> dict[str, Any]:
    """What of a cluster's configuration concerns its machines' moving."""
    drs, das = config.get("drsConfig") or {}, config.get("dasConfig") or {}
    rules = config.get("drsVmConfig") or ()
    still = {row["key"]: row for row in rules if row.get("enabled") is False or row.get("behavior") not in (None, "fullyAutomated")}
    return {
        "drs": drs.get("defaultVmBehavior") or "fullyAutomated" if drs.get("enabled") else "off",
        "admission_control": bool(das.get("enabled") and das.get("admissionControlEnabled", True)),
        "still": frozenset(still),
    }


SHRINK: dict[str, Any] = {"guest.net": _addresses, "configurationEx": _settings}
PROBES: tuple[str, ...] = ()
FAULTS = {
    ("enter_maintenance", "Timedout"): (
        "the host did not get into maintenance mode in time",
        "Look at its tasks and events in vCenter for what stands in the way.",
    ),
    ("enter_maintenance", "InvalidState"): (
        "the host is in maintenance mode already, or somebody else is putting it there",
        "Look at its tasks, then run this one again.",
    ),
    ("reboot", "InvalidState"): ("the host is not in maintenance mode any more, so it is not rebooted", "Look who took it out of it."),
    ("shut_down", "InvalidState"): ("the host is not in maintenance mode any more, so it is not shut down", "Look who took it out of it."),
    ("leave_maintenance", "InvalidState"): ("the host is not in maintenance mode any more", "Look who took it out of it."),
    ("leave_maintenance", "Timedout"): ("the host did not get out of maintenance mode in time", "Run the task again."),
}
# What was found on looking again says why.
EXPLAINED = frozenset({"Timedout"})


def properties(wanted: Wanted) -> Sequence[str]:
    return PROPERTIES


# ---- reading ----------------------------------------------------------------------------------------------------------------------


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """The machines of the hosts, their clusters, and the other hosts of those: three bulk reads, however many there are."""
    machines = collect(session, [ref for row in rows.values() for ref in row.values.get("vm", ())], _VM, shrink=SHRINK)
    clusters = dict.fromkeys(row.values["parent"] for row in rows.values() if _in_cluster(row))
    found = collect(session, list(clusters), ("name", "host", "configurationEx"), shrink=SHRINK)
    members = dict.fromkeys(ref for row in found.values() for ref in row.values.get("host", ()))
    hosts = collect(session, list(members), ("name", _CONNECTION, _MAINTENANCE, _POWER))
    endpoint = _resolved(session)
    node = session.local_address
    extra: dict[Any, Any] = {}
    for target, row in rows.items():
        here = [machines[ref] for ref in row.values.get("vm", ()) if ref in machines]
        running = [machine for machine in here if machine.values.get("runtime.powerState") == "poweredOn" and not _is_agent(machine)]
        cluster = found.get(row.values["parent"]) if _in_cluster(row) else None
        settings = cluster.values.get("configurationEx") or {} if cluster else {}
        vcenter = {row.values[_MANAGER], *endpoint} if row.values.get(_MANAGER) else set(endpoint)
        extra[target] = {
            "running": _names(running),
            "pinned": _names(machine for machine in running if machine.ref in settings.get("still", ())),
            "locked": _names(machine for machine in here if machine.values.get("runtime.cryptoState") == "locked"),
            "own_endpoint": _own(running, vcenter, session.endpoint.hostname),
            "own_control_node": _own(running, {node} if node else set(), ""),
            "cluster": _cluster(cluster, hosts, row.ref) if cluster else None,
            "silence_is_an_answer": wanted.state == SHUTDOWN,
        }
    return extra


def _in_cluster(row: Row) -> bool:
    parent = row.values.get("parent")
    return parent is not None and parent.type == "ClusterComputeResource"


def _is_agent(machine: Row) -> bool:
    return bool((machine.values.get("config.managedBy") or {}).get("extensionKey") == _AGENTS)


def _names(machines: Iterable[Row]) -> tuple[str, ...]:
    return tuple(sorted(str(machine.values.get("name", machine.ref.id)) for machine in machines))


def _cluster(row: Row, hosts: Mapping[Ref, Row], own: Ref) -> Cluster:
    settings = row.values.get("configurationEx") or {}
    others = [hosts[ref] for ref in row.values.get("host", ()) if ref != own and ref in hosts]
    return Cluster(
        name=str(row.values.get("name", row.ref.id)),
        drs=settings.get("drs", "off"),
        admission_control=settings.get("admission_control", False),
        others=tuple(
            (other.ref.id, str(other.values.get("name", other.ref.id)))
            for other in others
            if other.values.get(_CONNECTION) == "connected" and other.values.get(_MAINTENANCE) is False
        ),
    )


def _resolved(session: Session) -> frozenset[str]:
    """The addresses of the endpoint, as this machine knows them; one reached through a tunnel has none that say anything."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for *_kind, address in socket.getaddrinfo(session.endpoint.hostname, None):
            found.add(str(address[0]))
    return frozenset(address for address in found if not _is_loopback(address))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _own(machines: Iterable[Row], addresses: Iterable[str], name: str) -> str:
    """The machine that has one of these addresses or this name, by what VMware Tools tell."""
    wanted = set(addresses)
    for machine in machines:
        values = machine.values
        has = {values.get("guest.ipAddress"), *(values.get("guest.net") or ())} - {None}
        guest = str(values.get("guest.hostName") or "").lower()
        if has & wanted or (name and "." in name and not _is_address(name) and guest == name.lower()):
            return str(values.get("name", machine.ref.id))
    return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def observe(row: Row, extra: Mapping[str, Any]) -> State:
    values = row.values
    connection = values.get(_CONNECTION, "unknown")
    if connection != "connected" and not extra.get("silence_is_an_answer"):
        raise HostUnreachable(
            f"vCenter says that the host is {connection}",
            hint="Look whether it is off or cut off, at its console or its management controller.",
        )
    return State(
        id=row.ref.id,
        name=str(values.get("name", row.ref.id)),
        connection=connection,
        power=values.get(_POWER, "unknown"),
        maintenance=bool(values.get(_MAINTENANCE)),
        boot_time=values.get(_BOOT),
        reboot_required=bool(values.get("summary.rebootRequired")),
        able=tuple(state for state, flag in _ABLE.items() if values.get(f"capability.{flag}", True)),
        running=extra.get("running", ()),
        pinned=extra.get("pinned", ()),
        locked=extra.get("locked", ()),
        own_endpoint=extra.get("own_endpoint", ""),
        own_control_node=extra.get("own_control_node", ""),
        cluster=extra.get("cluster"),
    )


# ---- writing ----------------------------------------------------------------------------------------------------------------------


def apply(session: Session, target: Target, row: Row, change: Change) -> Ref | None:
    if isinstance(change, EnterMaintenance):
        arguments: dict[str, Any] = {"timeout": change.timeout}
        if change.evacuate_powered_off is not None and session.is_vcenter:  # only supported by VirtualCenter, says the API's text
            arguments["evacuatePoweredOffVms"] = change.evacuate_powered_off
        if change.vsan_mode is not None:
            mode = vim.vsan.host.DecommissionMode(objectAction=VSAN_MODES[change.vsan_mode])
            arguments["maintenanceSpec"] = vim.host.MaintenanceSpec(vsanMode=mode)
        task = session.write(target.path, target.ref, "EnterMaintenanceMode_Task", **arguments)
    elif isinstance(change, LeaveMaintenance):
        task = session.write(target.path, target.ref, "ExitMaintenanceMode_Task", timeout=change.timeout)
    elif isinstance(change, Reboot):
        task = session.write(target.path, target.ref, "RebootHost_Task", force=change.force)
    elif isinstance(change, ShutDown):
        task = session.write(target.path, target.ref, "ShutdownHost_Task", force=change.force)
    else:
        raise TypeError(f"{type(change).__name__} is not a change of this feature")
    return None if task is None else Ref("Task", task._moId)


def awaits(session: Session, target: Target, row: Row, change: Change) -> Condition | None:
    """A host that boots or goes down is watched: its task tells nothing of it, and directly connected not even that
    (vSphere API reference, HostSystem.RebootHost: the client simply loses its connection). Maintenance mode has a task that
    tells; where the answer is lost, nobody knows which."""
    direct = not session.is_vcenter
    if isinstance(change, Reboot):
        # Not the one of the plan: since then somebody else may have booted it, or set its clock.
        before = read_rows(session, {target.ref.type: [_BOOT]}, [target.ref])[target.ref].values.get(_BOOT)
        gone = False

        def back(values: Mapping[str, Any] | None) -> Sight:
            nonlocal gone
            if values is None:
                gone = gone or direct
                return Sight(False, "the endpoint does not answer", begun=direct or bool(change.takes_endpoint))
            state = values.get(_CONNECTION, "unknown")
            if state != "connected":
                gone = True
                return Sight(False, f"vCenter says that the host is {state}")
            if is_newer(values.get(_BOOT), before) or (gone and before is None):
                return Sight(True, "it is back")
            return Sight(False, "it answers and has not booted since" if gone else "it has not gone down yet", begun=gone)

        return Condition(
            target.ref,
            (_CONNECTION, _BOOT),
            back,
            "the host's return from its reboot",
            float(change.timeout),
            hint=_SLOW if change.force else f"{_SLOW} It is left in maintenance mode, which state: normal ends.",
        )
    if isinstance(change, ShutDown):
        silent = 0

        def down(values: Mapping[str, Any] | None) -> Sight:
            nonlocal silent
            if values is None:
                # One lost answer is no shutdown: several in a row are, of an endpoint that goes down with the host.
                silent += 1
                goes = direct or bool(change.takes_endpoint)
                return Sight(goes and silent > 2, "the endpoint does not answer", begun=False)
            silent = 0
            state, power = values.get(_CONNECTION, "unknown"), values.get(_POWER, "unknown")
            if state != "connected" or power in ("poweredOff", "standBy"):
                return Sight(True, f"the host is {state}, its power state is {power}")
            return Sight(False, "it is still connected", begun=False)

        return Condition(
            target.ref,
            (_CONNECTION, _POWER),
            down,
            "the host's shutdown",
            float(change.timeout),
            hint="Look at its console or its management controller.",
        )
    if isinstance(change, (EnterMaintenance, LeaveMaintenance)):
        wanted = isinstance(change, EnterMaintenance)

        def there(values: Mapping[str, Any] | None) -> Sight:
            mode = None if values is None else values.get(_MAINTENANCE)
            told = {None: "the endpoint does not answer", True: "it is in maintenance mode", False: "it is not in maintenance mode"}[mode]
            return Sight(mode is wanted, told, begun=False)

        # The server has the same deadline and says so with a fault; some more is for its answer.
        within = change.timeout + _MORE
        return Condition(
            target.ref, (_MAINTENANCE,), there, "maintenance mode" if wanted else "the end of maintenance mode", within, task_ends=True
        )
    return None

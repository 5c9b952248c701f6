# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted machines and key providers, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from .._client.clock import SERVICE
from .._client.fanout import fan_out
from .._client.inventory import Target
from .._client.properties import Row, collect
from .._client.session import Session
from .._client.tasks import wait_for_task
from .._client.vmomi import Ref, vim
from .._domain.crypto import Wanted
from .._domain.crypto_model import (
    BROKEN,
    LOCKED,
    SAFE,
    Custody,
    Disk,
    EnableHost,
    HostMode,
    Key,
    KeyStatus,
    Machine,
    MarkDefault,
    Permission,
    Placement,
    PresentCertificate,
    Provider,
    RegisterAgain,
    RegisterServer,
    Reload,
    RequestCertificate,
    Reregister,
    Server,
    TrustServer,
    Unlock,
    UpdateServer,
)
from .._domain.errors import (
    BadInput,
    EndpointUnreachable,
    FleetcareError,
    Interrupted,
    NotConverged,
    PermissionMissing,
    ServerFault,
    TargetUnknown,
    TimedOut,
)
from .._domain.plan import Change

_CRYPTO = "runtime.cryptoState"
_KEY = "config.keyId"
_CONNECTION = "runtime.connectionState"
_PATH = "summary.config.vmPathName"
_DEVICES = "config.hardware.device"
_READ = ("name", _CRYPTO, _CONNECTION, "runtime.powerState", "runtime.host", _KEY, _PATH, "parent", "resourcePool")
_PLACED = ("summary.config.template", "permission", "customValue", "tag")
SHRINK: dict[str, Any] = {}
PROBES = (
    *("QueryCryptoKeyStatus", "RetrieveKmipServersStatus_Task", "IsKmsClusterActive", "ListKeys", "GetCryptoKeyStatus"),
    *("RetrieveKmipServerCert", "RetrieveClientCert", "RetrieveClientCsr"),
)
# What the fault of a change means: cause, next step. The reference names the first three for CryptoUnlock_Task.
_SEE = "See the findings; where the host is not in crypto-safe mode, enable_hosts: true puts it there."
FAULTS = {
    ("unlock", "InvalidState"): ("vCenter has no key provider for one of its keys, or its host takes no keys", _SEE),
    ("unlock", "InvalidVmState"): ("vCenter could not open it: a key did not reach its host", _SEE),
    ("unlock", "NotSupported"): ("its host cannot do encryption", "Move it to a host that can, and unlock it there."),
    ("unlock", "EncryptionKeyRequired"): ("a key did not reach its host", _SEE),
}
# vCenter does not tell whether a key of these is there, or why.
_UNTOLD = ("KeyStateManagedByNKP", "KeyStateManagedByTrustAuthority", "KeyStateMissingInCache")
_LOCK_EVENTS = "com.vmware.vc.vm.Crypto.VMLocked."
_EVENTS = tuple(
    _LOCK_EVENTS + reason
    for reason in ("KMSClusterError", "KeyMissingOnKMS", "KeyMissingOnHost", "TAKeyMissingOnHost", "TAKMSClusterUnavaliable")
)
_USABLE, _WITH_USERS = 1, 7  # CryptoManagerKmip.QueryCryptoKeyStatus: checkKeyBitMap
_ONCE = datetime.timedelta(days=1)  # a machine that registering did not open is not registered again on every run
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)
_TASK_SECONDS = 300.0
_KEYS = 500  # in one call
_POLL_SECONDS = 5.0
_REGISTER_VM = "Cryptographer.RegisterVM"
# What registering anew needs: the privilege, on what (a path of the machine, empty for itself), in words, and only if it has this.
_NEEDED = (
    ("VirtualMachine.Inventory.Unregister", "", "the machine", ""),
    ("VirtualMachine.Inventory.Register", "parent", "its folder", ""),
    ("Resource.AssignVMToPool", "resourcePool", "its resource pool", ""),
    ("Authorization.ModifyPermissions", "", "the machine", "permission"),
    ("Global.SetCustomField", "", "the machine", "customValue"),
)
_FILE = re.compile(r"\[(?P<store>[^\]]+)\] (?P<path>.+)")
# The form of a key locator, after govmomi's package crypto: key/fqid/<provider>/<key>, percent-encoded.
_KEY_SAFE = re.compile(r'^encryption\.keySafe\s*=\s*".*?fqid/[^/]*/(?P<provider>[^/]*)/(?P<id>[^/,()"]+)', re.MULTILINE)


def properties(wanted: Wanted) -> Sequence[str]:
    return (*_READ, *_PLACED) if wanted.reregister else _READ


# ---- looking --------------------------------------------------------------------------------------------------------


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """Keys of disks, why machines were locked, and what their keepers say of the keys: each in one call for all machines."""
    encrypted = {target: row for target, row in rows.items() if row.values.get(_CRYPTO) or row.values.get(_KEY)}
    shut = {target: row for target, row in encrypted.items() if _is_shut(row)}
    locked = {target: row for target, row in shut.items() if row.values.get(_CRYPTO) == LOCKED}
    facts: dict[Any, dict[str, Any]] = {target: {} for target in rows}
    for target, disks in _disks(session, encrypted).items():
        facts[target]["disks"] = disks
    _find_homes(session, encrypted, facts, parallel)
    if wanted.reregister:
        _look_at_places(session, encrypted, facts)
    _look_at_events(session, shut, wanted, facts)
    _check_privileges(session, shut, wanted, facts)
    if not session.is_vcenter:
        _ask_the_host(session, locked, facts)
    if {sent.target for sent in session.sent} - {session.endpoint.name}:
        # Read back, or a later wave: those who keep the keys were asked about all, and are asked now only of what nobody could know.
        _ask_of_disks(session, encrypted, wanted, facts)
        return facts
    keys = list(dict.fromkeys(key for target in encrypted for key in _keys(facts[target])))
    hosts = _hosts(session, encrypted.values())
    if session.is_vcenter:
        custody = _custody(session, wanted, keys, hosts, [facts[target].get("home") for target in locked])
    else:
        custody = Custody(is_vcenter=False, hosts=hosts, manager=_manager(session, rows), lost=_lost(session, wanted))
    return {None: {"custody": custody}, **facts}


def _is_shut(row: Row) -> bool:
    return row.values.get(_CRYPTO) == LOCKED or row.values.get(_CONNECTION) == "invalid"


def _ask_of_disks(session: Session, rows: Mapping[Target, Row], wanted: Wanted, facts: dict[Any, dict[str, Any]]) -> None:
    """Where vCenter withholds the configuration of a locked machine, its disks show only once it is open."""
    own = {
        target: [disk.key for disk in facts[target].get("disks", ()) if disk.key and disk.key != facts[target].get("home")]
        for target in rows
    }
    keys = list(dict.fromkeys(key for found in own.values() for key in found))
    manager = _keeper(session) if keys and session.is_vcenter else None
    if manager is None:
        return
    with contextlib.suppress(FleetcareError):
        statuses = _statuses(session, manager, keys, wanted, [])[0]
        for target, found in own.items():
            facts[target]["later"] = tuple((key, statuses[key]) for key in found if key in statuses)


def observe(row: Row, extra: Mapping[str, Any]) -> Machine:
    values = row.values
    host, folder, pool = (values.get(name) for name in ("runtime.host", "parent", "resourcePool"))
    return Machine(
        moid=row.ref.id,
        name=unquote(values.get("name", row.ref.id)),
        connection=values.get(_CONNECTION, "connected"),
        crypto=values.get(_CRYPTO, ""),
        power=values.get("runtime.powerState", "poweredOff"),
        host=host.id if host else "",
        home=extra.get("home"),
        origin=extra.get("origin", ""),
        disks=extra.get("disks", ()),
        event=extra.get("event", ""),
        present=extra.get("present"),
        denied=extra.get("denied", ()),
        frozen=extra.get("frozen", ""),
        later=extra.get("later", ()),
        placement=Placement(
            name=values.get("name", ""),  # as it is kept: what takes it back wants it so
            path=values.get(_PATH, ""),
            folder=folder.id if folder else "",
            pool=pool.id if pool else "",
            host=host.id if host else "",
            datacenter=extra.get("datacenter", ""),
            vcenter=extra.get("vcenter", ""),
            template=values.get("summary.config.template", False),
            permissions=tuple(_permission(one) for one in values.get("permission") or () if _own(one, row)),
            values=tuple(extra.get("values", ())),
            tags=tuple(sorted(tag.get("key", "") for tag in values.get("tag") or ())),
        ),
    )


def _own(permission: Mapping[str, Any], row: Row) -> bool:
    """``permission`` of an entity lists those that are set on it; some servers list inherited ones as well."""
    return permission.get("entity") in (None, row.ref)


def _permission(given: Mapping[str, Any]) -> Permission:
    return Permission(
        principal=given.get("principal", ""),
        group=bool(given.get("group")),
        role=int(given.get("roleId", 0)),
        propagate=bool(given.get("propagate")),
    )


def _key(given: Mapping[str, Any] | None) -> Key | None:
    text = (given or {}).get("keyId")
    return Key(text, ((given or {}).get("providerId") or {}).get("id") or "") if text else None


def _keys(fact: Mapping[str, Any]) -> Iterable[Key]:
    return [key for key in (fact.get("home"), *(disk.key for disk in fact.get("disks", ()))) if key]


def _disks(session: Session, rows: Mapping[Target, Row]) -> dict[Target, tuple[Disk, ...]]:
    """Only of encrypted machines: devices are the bulk of a machine's configuration."""
    found = collect(session, [row.ref for row in rows.values()], [_DEVICES], shrink={_DEVICES: _disks_among})
    return {target: found[row.ref].values.get(_DEVICES, ()) for target, row in rows.items() if row.ref in found}


def _disks_among(devices: Iterable[Mapping[str, Any]]) -> tuple[Disk, ...]:
    return tuple(
        Disk(label=(device.get("deviceInfo") or {}).get("label") or str(device.get("key")), key=_key(device["backing"].get("keyId")))
        for device in devices
        if device.get("_type") == "VirtualDisk" and device.get("backing")
    )


def _find_homes(session: Session, encrypted: Mapping[Target, Row], facts: dict[Any, dict[str, Any]], parallel: int) -> None:
    """The key of each machine's home, from the first source that names it (facts in the order of the vSphere manual)."""
    for target, row in encrypted.items():
        disks = [disk.key for disk in facts[target].get("disks", ()) if disk.key]
        for origin, key in (("config.keyId", _key(row.values.get(_KEY))), ("a disk", disks[0] if disks else None)):
            if key:
                facts[target].update(home=key, origin=origin)
                break

    sources = (
        ("a failed task", lambda left: _keys_of_failed_tasks(session, left)),
        ("the .vmx file", lambda left: _keys_of_files(session, left, parallel)),
        ("ListKeys", lambda left: _keys_by_users(session, left)),
    )
    # Of what is orphaned or inaccessible nothing more is to be had.
    there = {target: row for target, row in encrypted.items() if row.values.get(_CONNECTION) not in BROKEN}
    for origin, look in sources:
        left = {target: row for target, row in there.items() if "home" not in facts[target]}
        for target, key in look(left).items() if left else ():
            if key:
                facts[target].update(home=key, origin=origin)


def _tasks(session: Session, rows: Mapping[Target, Row]) -> dict[Target, list[Row]]:
    """Recent tasks of machines."""
    named = collect(session, [row.ref for row in rows.values()], ["recentTask"])
    owners = {task: target for target, row in rows.items() if row.ref in named for task in named[row.ref].values.get("recentTask") or ()}
    found: dict[Target, list[Row]] = {}
    for task, row in collect(session, list(owners), ["info.state", "info.error"]).items():
        found.setdefault(owners[task], []).append(row)
    return found


def _keys_of_failed_tasks(session: Session, rows: Mapping[Target, Row]) -> dict[Target, Key | None]:
    found: dict[Target, Key | None] = {}
    for target, tasks in _tasks(session, rows).items():
        for task in tasks:
            fault = (task.values.get("info.error") or {}).get("fault") or {}
            if fault.get("_type") == "EncryptionKeyRequired" and fault.get("requiredKey"):
                found[target] = _key(fault["requiredKey"][0])
    return found


def _keys_of_files(session: Session, rows: Mapping[Target, Row], parallel: int) -> dict[Target, Key | None]:
    """One GET a machine, of those only whose configuration vCenter withholds."""

    def read(target: Target) -> Key | None:
        place = _FILE.match(rows[target].values.get(_PATH) or "")
        if place is None:
            return None
        center = next(iter(target.within("datacenter")), "ha-datacenter")
        path = f"/folder/{quote(place['path'])}?dcPath={quote(center, safe='')}&dsName={quote(place['store'], safe='')}"
        return key_of_file(session.fetch(path).decode("utf-8", "replace"))

    found = fan_out(rows, read, parallel=parallel, guard=session.guard)
    return {target: key for target, key in found.items() if isinstance(key, Key)}


def key_of_file(text: str) -> Key | None:
    """The key that a .vmx file names in its key safe."""
    found = _KEY_SAFE.search(text)
    return Key(unquote(found["id"]), unquote(found["provider"])) if found else None


def _keys_by_users(session: Session, rows: Mapping[Target, Row]) -> dict[Target, Key | None]:
    """ListKeys tells no machines, the users of each key do."""
    manager = _keeper(session) if session.is_vcenter else None
    if manager is None:
        return {}
    by_ref = {row.ref: target for target, row in rows.items()}
    found: dict[Target, Key | None] = {}
    with contextlib.suppress(FleetcareError):
        keys = [key for key in session.items(manager, "ListKeys", _key) if key]
        for item in _key_rows(session, manager, keys, 2) if keys else ():
            found.update({by_ref[ref]: _key(item.get("keyId")) for ref in item.get("encryptedVMs") or () if ref in by_ref})
    return found


def _look_at_events(session: Session, shut: Mapping[Target, Row], wanted: Wanted, facts: dict[Any, dict[str, Any]]) -> None:
    """Why vCenter locked machines last, the end of the event's id; and which were registered anew lately, to no avail. Who may not
    see events only lacks the reason."""
    manager = session.manager("eventManager")
    if manager is None or not shut or not session.is_vcenter:
        return
    by_ref = {row.ref: target for target, row in shut.items()}
    last: dict[Target, tuple[int, str]] = {}

    def target_of(event: dict[str, Any]) -> Target | None:
        return by_ref.get((event.get("vm") or {}).get("vm") or Ref("", ""))

    def keep(event: dict[str, Any]) -> None:
        target = target_of(event)
        if target is not None:
            reason = str(event.get("eventTypeId", "")).removeprefix(_LOCK_EVENTS)
            last[target] = max(last.get(target, (-1, "")), (int(event.get("key", 0)), reason))

    def freeze(event: dict[str, Any]) -> None:
        target = target_of(event)
        if target is not None:
            facts[target].setdefault("frozen", "it was registered within a day, and that did not open it")

    with contextlib.suppress(ServerFault, PermissionMissing):
        session.items(manager, "QueryEvents", keep, filter=vim.event.EventFilterSpec(eventTypeId=list(_EVENTS), maxCount=1000))
    for target, (_key_number, reason) in last.items():
        facts[target]["event"] = reason
    if wanted.reregister:
        begin = session.read(SERVICE, "CurrentTime") - _ONCE
        spec = vim.event.EventFilterSpec(
            eventTypeId=["vim.event.VmRegisteredEvent"], time=vim.event.EventFilterSpec.ByTime(beginTime=begin), maxCount=1000
        )
        with contextlib.suppress(ServerFault, PermissionMissing):
            session.items(manager, "QueryEvents", freeze, filter=spec)


def _check_privileges(session: Session, shut: Mapping[Target, Row], wanted: Wanted, facts: dict[Any, dict[str, Any]]) -> None:
    """Whether the user may do what may be planned, asked before anything is: a machine that was taken out of the inventory
    and cannot be registered again would be lost."""
    manager = session.manager("authorizationManager")
    if manager is None or not shut or not wanted.acts:
        return
    sessions = Ref("SessionManager", session.content.sessionManager._moId)
    own = collect(session, [sessions], ["currentSession"]).get(sessions)
    key = ((own.values.get("currentSession") if own else None) or {}).get("key")
    asked: dict[Ref, None] = dict.fromkeys(row.ref for row in shut.values())
    privileges = [_REGISTER_VM]
    if wanted.reregister:
        privileges += [privilege for privilege, _on, _where, _why in _NEEDED]
        asked.update(dict.fromkeys(ref for row in shut.values() for name in ("parent", "resourcePool") if (ref := row.values.get(name))))
    lacking: dict[Ref, set[str]] = {}

    def keep(item: dict[str, Any]) -> None:
        lacking[item["entity"]] = {one["privId"] for one in item.get("privAvailability") or () if not one.get("isGranted")}

    try:
        if not key:
            raise ServerFault("the session is not told")
        entities = [session.managed(ref) for ref in asked]
        session.items(manager, "HasPrivilegeOnEntities", keep, entity=entities, sessionId=key, privId=privileges)
    except (ServerFault, TargetUnknown):
        # One of them left meanwhile, for example. Unlocking tells by itself; nothing is taken out of the inventory then.
        for target in shut:
            facts[target].setdefault("frozen", "whether the user may put it back could not be asked")
        return
    for target, row in shut.items():
        if _REGISTER_VM in lacking.get(row.ref, ()):
            facts[target]["denied"] = (f"{_REGISTER_VM} on the machine",)
        refs = {"": row.ref, "parent": row.values.get("parent"), "resourcePool": row.values.get("resourcePool")}
        short = [
            f"{privilege} on {where}"
            for privilege, on, where, why in _NEEDED
            if refs[on] and privilege in lacking.get(refs[on] or row.ref, ()) and (not why or row.values.get(why))
        ]
        if short:
            facts[target]["frozen"] = f"{', '.join(short)} is missing"


def _look_at_places(session: Session, encrypted: Mapping[Target, Row], facts: dict[Any, dict[str, Any]]) -> None:
    """What only matters to a machine that may be registered anew."""
    fields = _fields(session) if encrypted else {}
    off = {target: row for target, row in encrypted.items() if row.values.get("runtime.powerState") == "poweredOff"}
    shut = {target: row for target, row in off.items() if _is_shut(row)}
    working = ("running", "queued")
    busy = {target for target, tasks in _tasks(session, shut).items() if any(t.values.get("info.state") in working for t in tasks)}
    for target, row in encrypted.items():
        facts[target]["datacenter"] = target.datacenter.id if target.datacenter else ""
        facts[target]["vcenter"] = session.content.about.instanceUuid or ""
        given = row.values.get("customValue") or ()
        facts[target]["values"] = sorted(
            (fields[one["key"]], one["value"]) for one in given if one.get("key") in fields and one.get("value")
        )
        placed = row.values.get("parent") and (row.values.get("resourcePool") or row.values.get("summary.config.template"))
        if not placed or target.datacenter is None:
            facts[target]["frozen"] = "it stands in no folder or no pool, as in a vApp, and could not be put back there"
        elif target not in off:
            facts[target]["frozen"] = f"it is {row.values.get('runtime.powerState')}"
        elif target.has_twin:
            facts[target]["frozen"] = "another machine of its folder has the same name"
        elif target in busy:
            facts[target]["frozen"] = "a task is at work on it, a snapshot for one"


def _fields(session: Session) -> dict[int, str]:
    manager = session.manager("customFieldsManager")
    row = collect(session, [manager], ["field"]).get(manager) if manager else None
    return {field["key"]: field["name"] for field in (row.values.get("field") if row else None) or ()}


def _keeper(session: Session) -> Ref | None:
    """The manager of keys. The service content of the first call is that of the oldest API, which had none."""
    row = collect(session, [SERVICE], ["content.cryptoManager"]).get(SERVICE)
    return row.values.get("content.cryptoManager") if row else None


# ---- those who keep the keys ----------------------------------------------------------------------------------------


def _hosts(session: Session, rows: Iterable[Row]) -> dict[str, HostMode]:
    refs = list(dict.fromkeys(ref for row in rows if (ref := row.values.get("runtime.host"))))
    found = collect(session, refs, ["name", "runtime.cryptoState", "runtime.cryptoKeyId"])
    return {
        ref.id: HostMode(
            moid=ref.id,
            name=row.values.get("name", ref.id),
            mode=row.values.get("runtime.cryptoState", ""),
            key=_key(row.values.get("runtime.cryptoKeyId")),
        )
        for ref, row in found.items()
        if "runtime.cryptoState" not in row.missing
    }


def _custody(session: Session, wanted: Wanted, keys: Sequence[Key], hosts: Mapping[str, HostMode], homes: Sequence[Key | None]) -> Custody:
    """``homes``: keys of locked machines, None where nobody tells."""
    denied: list[str] = []
    manager = _keeper(session)
    lost = _lost(session, wanted)
    if manager is None or not (keys or hosts or wanted.provider or not wanted.acts):
        return Custody(hosts=hosts, lost=lost)
    providers = _providers(session, manager, denied)
    providers, waited = _waited_for(session, manager, providers, wanted, homes)
    of_hosts = [host.key for host in hosts.values() if host.key]
    statuses, users = _statuses(session, manager, list(dict.fromkeys((*keys, *of_hosts))), wanted, denied)
    shown: dict[str, Server] = {}
    if wanted.provider and not denied:
        providers = {**providers, **_own_certificates(session, manager, providers, wanted)}
        shown = _shown(session, manager, wanted, denied)
    return Custody(
        providers=providers,
        statuses=statuses,
        users=users,
        hosts=hosts,
        shown=shown,
        denied=tuple(dict.fromkeys(denied)),
        waited=waited,
        lost=lost,
    )


def _providers(session: Session, manager: Ref, denied: list[str]) -> dict[str, Provider]:
    """All of them with their servers; who may not ask about their state still sees that they are there."""
    row = collect(session, [manager], ["kmipServers"]).get(manager)
    found = {}
    for item in (row.values.get("kmipServers") if row else None) or ():
        name = (item.get("clusterId") or {}).get("id") or ""
        servers = tuple(
            Server(name=one.get("name", ""), address=one.get("address", ""), port=one.get("port", 0), user=one.get("userName") or "")
            for one in item.get("servers") or ()
        )
        kind = item.get("managementType") or Provider(name="").kind
        found[name] = Provider(name=name, kind=kind, default=bool(item.get("useAsDefault")), servers=servers)
    if not found:
        return found
    try:
        told = wait_for_task(session, _task(session.probe(manager, "RetrieveKmipServersStatus_Task")), timeout=_TASK_SECONDS)
    except PermissionMissing:
        denied.append("Cryptographer.ManageKeyServers on the root folder")
        return found
    except (ServerFault, TimedOut, Interrupted):
        return found  # then the state of the keys tells
    for state in told or ():
        name = state.clusterId.id
        if name in found:
            found[name] = _with_state(found[name], state)
    return found


def _with_state(known: Provider, state: Any) -> Provider:
    told = {one.name: one for one in state.servers or ()}
    servers = tuple(_server_with_state(server, told.get(server.name)) for server in known.servers)
    overall = str(state.overallStatus or "")
    # A cluster of servers works while one of them does.
    active = overall in ("green", "yellow") if overall and overall != "gray" else any(one.status == "green" for one in servers) or None
    certificate = state.clientCertInfo
    return replace(
        known,
        kind=str(state.managementType or known.kind),
        active=active,
        servers=servers,
        client_expires_in=_seconds_left(certificate),
    )


def _seconds_left(certificate: Any) -> float | None:
    left = certificate.secondsBeforeExpire if certificate else None
    return None if left is None else float(left)


def _server_with_state(server: Server, state: Any) -> Server:
    if state is None:
        return server
    return replace(
        server,
        status=str(state.status),
        text=state.connectionStatus or "",
        trusted=state.clientTrustServer,
        trusts=state.serverTrustClient,
        expires_in=_seconds_left(state.certInfo),
    )


def _waited_for(
    session: Session, manager: Ref, providers: dict[str, Provider], wanted: Wanted, homes: Sequence[Key | None]
) -> tuple[dict[str, Provider], float]:
    """Wait until those that locked machines need are back, all where a machine does not tell, or the time for it is over. Counted
    from the begin of the run, so that looking again does not wait again. Also the seconds that it took."""
    default = next((name for name, provider in providers.items() if provider.default), "")
    names = set(providers) if None in homes else {key.provider or default for key in homes if key}
    away = {name for name in names if name in providers and providers[name].active is False}
    began, ends = time.monotonic(), session.guard.began + wanted.wait
    waited, came_back = 0.0, False
    while away and time.monotonic() < ends and session.guard.pause(min(_POLL_SECONDS, max(0.1, ends - time.monotonic()))):
        waited = time.monotonic() - began
        for name in sorted(away):
            with contextlib.suppress(ServerFault):  # somebody removes it meanwhile
                if session.probe(manager, "IsKmsClusterActive", cluster=_provider_id(name)):
                    away.discard(name)
                    came_back = True
    return _providers(session, manager, []) if came_back else providers, waited


def _statuses(
    session: Session, manager: Ref, keys: Sequence[Key], wanted: Wanted, denied: list[str]
) -> tuple[dict[Key, KeyStatus], dict[Key, tuple[str, ...]]]:
    if not keys:
        return {}, {}
    try:
        rows = _key_rows(session, manager, keys, _WITH_USERS if wanted.without else _USABLE)
    except PermissionMissing:
        denied.append("Cryptographer.ManageKeys on the root folder")
        return {}, {}
    except ServerFault:
        return {}, {}  # MethodNotFound before 6.7.2: vCenter tries, and tells only by what comes of it
    statuses, users = {}, {}
    for row in rows:
        key = _key(row.get("keyId"))
        if key:
            statuses[key] = KeyStatus(row.get("keyAvailable"), row.get("reason") or "")
            users[key] = tuple(ref.id for name in ("encryptedVMs", "affectedHosts") for ref in row.get(name) or ())
    return statuses, users


def _key_rows(session: Session, manager: Ref, keys: Iterable[Key], bits: int) -> list[dict[str, Any]]:
    ids = [vim.encryption.CryptoKeyId(keyId=key.id, providerId=_provider_id(key.provider) if key.provider else None) for key in keys]
    parts = [ids[begin : begin + _KEYS] for begin in range(0, len(ids), _KEYS)]  # vCenter asks its key servers for each
    return [row for part in parts for row in session.items(manager, "QueryCryptoKeyStatus", dict, keyIds=part, checkKeyBitMap=bits)]


def _provider_id(name: str) -> Any:
    return vim.encryption.KeyProviderId(id=name)


def _own_certificates(session: Session, manager: Ref, providers: Mapping[str, Provider], wanted: Wanted) -> dict[str, Provider]:
    wish = wanted.provider
    known = providers.get(wish.name) if wish else None
    if wish is None or known is None:
        return {}
    pem = request = ""
    with contextlib.suppress(ServerFault):
        pem = session.probe(manager, "RetrieveClientCert", cluster=_provider_id(wish.name)) or ""
        request = session.probe(manager, "RetrieveClientCsr", cluster=_provider_id(wish.name)) or ""
    return {wish.name: replace(known, client_pem=pem, request=request)}


def _shown(session: Session, manager: Ref, wanted: Wanted, denied: list[str]) -> dict[str, Server]:
    """The certificate that each wanted server shows to vCenter, with a fingerprint of our own: vCenter's may be SHA-1."""
    found: dict[str, Server] = {}
    for server in wanted.provider.servers if wanted.provider else ():
        info = vim.encryption.KmipServerInfo(name=server.name, address=server.address, port=server.port)
        try:
            told = session.probe(manager, "RetrieveKmipServerCert", keyProvider=_provider_id(wanted.provider.name), server=info)  # type: ignore[union-attr]
        except PermissionMissing:
            denied.append("Cryptographer.ManageKeyServers on the root folder")
            return found
        except ServerFault as problem:
            found[server.name] = Server(name=server.name, text=problem.cause)
            continue
        pem = told.certificate or ""
        fingerprint = ""
        with contextlib.suppress(ValueError):
            fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest() if pem else ""
        found[server.name] = Server(
            name=server.name,
            address=server.address,
            port=server.port,
            trusted=bool(told.clientTrustServer),
            fingerprint=fingerprint,
            pem=pem,
        )
    return found


def _ask_the_host(session: Session, locked: Mapping[Target, Row], facts: dict[Any, dict[str, Any]]) -> None:
    """Which keys a host without a vCenter has."""
    manager = _keeper(session)
    homes = {target: facts[target]["home"] for target in locked if "home" in facts[target]}
    if manager is None or not homes:
        return
    keys = list(dict.fromkeys(homes.values()))
    ids = [vim.encryption.CryptoKeyId(keyId=key.id, providerId=_provider_id(key.provider)) for key in keys]
    try:
        rows = session.items(manager, "GetCryptoKeyStatus", dict, keys=ids)
    except PermissionMissing as problem:
        for target in homes:
            facts[target]["denied"] = (problem.cause.removeprefix("the privilege ").removesuffix(" is missing"),)
        return
    except ServerFault:
        return  # before 8.0.1 it does not tell
    present = {_key(row.get("keyId")): bool(row.get("present")) for row in rows}
    for target, key in homes.items():
        facts[target]["present"] = present.get(key)


def _manager(session: Session, rows: Mapping[Target, Row]) -> str:
    refs = list(dict.fromkeys(ref for row in rows.values() if (ref := row.values.get("runtime.host"))))
    for row in collect(session, refs, ["summary.managementServerIp"]).values():
        return row.values.get("summary.managementServerIp") or ""
    return ""


def _lost(session: Session, wanted: Wanted) -> tuple[Placement, ...]:
    own = session.content.about.instanceUuid or ""
    other = next((place for place in wanted.restore if place.vcenter and place.vcenter != own), None)
    if other:
        raise BadInput(
            f"restore: the record of {other.name} is of another vCenter, {other.vcenter}",
            hint="Folders and pools have other ids there; register the machine by hand.",
        )
    found = {place: _whereabouts(session, place) for place in wanted.restore if place.path}
    return tuple(place for place, (asked, ref) in found.items() if asked and ref is None)


def _whereabouts(session: Session, place: Placement) -> tuple[bool, Ref | None]:
    """Whether the inventory could be asked for a machine, and the machine."""
    index = Ref("SearchIndex", session.content.searchIndex._moId)
    center = session.managed(Ref("Datacenter", place.datacenter))
    try:
        found = session.read(index, "FindByDatastorePath", datacenter=center, path=place.path)
    except FleetcareError:
        return False, None
    return True, Ref("VirtualMachine", found._moId) if found is not None else None


# ---- writing --------------------------------------------------------------------------------------------------------


def apply(session: Session, target: Target, row: Row, change: Change) -> Ref | None:
    """A task that was started, the object that the machine is from now on, or nothing."""
    if isinstance(change, Unlock):
        return _task(session.write(target.path, target.ref, "CryptoUnlock_Task"))
    if isinstance(change, Reload):
        session.write(target.path, target.ref, "Reload")
        for pause in _PAUSES:  # vCenter learns of it with a short delay
            time.sleep(pause)
            row = collect(session, [target.ref], [_CONNECTION]).get(target.ref) or row
            if row.values.get(_CONNECTION) != "invalid":
                break
        else:
            raise ServerFault("it was reloaded and its configuration is still not read", hint="As the last resort: reregister: true.")
    elif isinstance(change, Reregister):
        return _apply_reregister(session, target, change)
    elif isinstance(change, RegisterAgain):
        made = _apply_register(session, target.path, change.placement)
        _apply_extras(session, target.path, made, change.placement)
    elif isinstance(change, EnableHost):
        try:
            session.write(target.path, Ref("HostSystem", change.host), "ConfigureCryptoKey")
        except FleetcareError as problem:
            problem.cause = f"{change.name}: {problem.cause}"
            raise
    else:
        _apply_provider(session, target.path, change)
    return None


def _task(made: Any) -> Ref:
    return Ref("Task", made._moId)


def _apply_provider(session: Session, path: str, change: Change) -> None:
    manager = _keeper(session)
    if manager is None:
        raise ServerFault("this server keeps no key providers", hint="Its release does not have them; they came with vCenter 6.5.")
    provider = _provider_id(change.provider)  # type: ignore[attr-defined] # all that follow have one
    if isinstance(change, (RegisterServer, UpdateServer)):
        info = vim.encryption.KmipServerInfo(name=change.server.name, address=change.server.address, port=change.server.port)
        info.userName = change.server.user or None
        spec = vim.encryption.KmipServerSpec(clusterId=provider, info=info, password=change.password or None)
        session.write(path, manager, "RegisterKmipServer" if isinstance(change, RegisterServer) else "UpdateKmipServer", server=spec)
    elif isinstance(change, TrustServer):
        session.write(path, manager, "UploadKmipServerCert", cluster=provider, certificate=change.pem)
    elif isinstance(change, PresentCertificate) and change.private_key:
        key = change.private_key
        session.write(path, manager, "UploadClientCert", cluster=provider, certificate=change.certificate, privateKey=key)
    elif isinstance(change, PresentCertificate):
        session.write(path, manager, "UpdateKmsSignedCsrClientCert", cluster=provider, certificate=change.certificate)
    elif isinstance(change, RequestCertificate):
        session.write(path, manager, "GenerateClientCsr", cluster=provider)
    elif isinstance(change, MarkDefault):
        if not session.probe(manager, "IsKmsClusterActive", cluster=provider):
            hint = "Bring it up first, then run the task again: hosts ask the default provider for new keys."
            raise ServerFault(f"{change.provider} does not answer yet, so it is not made the default", hint=hint)
        session.write(path, manager, "MarkDefault", clusterId=provider)
    else:
        raise TypeError(f"{type(change).__name__} is not a change of this feature")


def _check_use(session: Session, target: Target, change: Reregister) -> None:
    """Whether registering anew may still help. Raises ServerFault where it would cost an object id and open nothing."""
    host = Ref("HostSystem", change.placement.host)
    row = collect(session, [target.ref], _READ).get(target.ref) or Row(target.ref, {}, {})
    now, place = observe(row, {}), change.placement
    if now.crypto != LOCKED and now.connection == "connected":
        raise ServerFault("it has been opened in the meantime", hint="Run the task again to see how it stands.")
    places = [(one.name, one.path, one.folder, one.pool, one.host) for one in (now.placement, place) if one]
    if len(set(places)) > 1 or now.power != "poweredOff":
        raise ServerFault("it was moved or started in the meantime, so it is left alone", hint="Run the task again.")
    mode = collect(session, [host], ["runtime.cryptoState"]).get(host)
    if mode and mode.values.get("runtime.cryptoState", SAFE) != SAFE:
        raise ServerFault("its host is not in crypto-safe mode, so it would be as shut as before", hint=_SEE)
    manager = _keeper(session) if change.keys else None
    if manager:
        for status in _key_rows(session, manager, change.keys, _USABLE):
            if status.get("keyAvailable") is False and status.get("reason") not in _UNTOLD:
                raise ServerFault(f"its key cannot be had any more: {status.get('reason')}", hint="Run the task again to see the cause.")


def _apply_reregister(session: Session, target: Target, change: Reregister) -> Ref:
    """Once it is out of the inventory nothing keeps it from being put back, also not the end of the run's time."""
    place = change.placement
    _check_use(session, target, change)
    try:
        session.write(target.path, target.ref, "UnregisterVM")
    except (EndpointUnreachable, TimedOut, Interrupted) as problem:
        # A lost answer may have been a success, or become one, and then it must be put back; if it never left, it has to stay.
        if not any(sent.target == target.path and sent.operation == "UnregisterVM" for sent in session.sent):
            raise
        if _stays(session, place, slow=isinstance(problem, TimedOut)):
            problem.hint = f"If it leaves the inventory after all: {_put_back(place)}"
            raise
    made = _apply_register(session, target.path, place)
    with contextlib.suppress(FleetcareError):
        _apply_extras(session, target.path, made, place)  # what is refused is told by what is read back
    return made


def _stays(session: Session, place: Placement, *, slow: bool) -> bool:
    """Whether it is still in the inventory, after a while in which an answer that was lost may take effect."""
    asked = False
    for pause in (*_PAUSES, *((4.0, 8.0, 15.0) if slow and not session.guard.reason else ())):
        time.sleep(pause)
        asked, found = _whereabouts(session, place)
        if asked and found is None:
            return False
    return asked


def _apply_register(session: Session, path: str, place: Placement) -> Ref:
    """At the same place, twice; only then without the host, which may have gone into maintenance: better elsewhere than nowhere."""
    folder, name = Ref("Folder", place.folder), place.name
    problem: FleetcareError = ServerFault("it was not tried")
    for host in (place.host, place.host, *(() if place.template else ("",))):
        try:
            task = session.write(
                path,
                folder,
                "RegisterVM_Task",
                must=True,
                path=place.path,
                name=name,
                asTemplate=place.template,
                pool=session.managed(Ref("ResourcePool", place.pool)) if place.pool and not place.template else None,
                host=session.managed(Ref("HostSystem", host)) if host or place.template else None,
            )
            try:
                return Ref("VirtualMachine", wait_for_task(session, _task(task), timeout=_TASK_SECONDS)._moId)
            except (TimedOut, Interrupted) as still:
                # It goes on on the server; a second one beside it would only be in its way.
                found = _registered_by_now(session, place, lost=True)
                if found is not None:
                    return found
                raise NotConverged(f"its registration has begun and goes on on the server: {still.cause}", hint=_put_back(place)) from None
        except NotConverged:
            raise
        except FleetcareError as refused:
            problem = refused
            found = _registered_by_now(session, place, isinstance(refused, (EndpointUnreachable, TimedOut, Interrupted)))
            if found is not None:
                return found
            if refused.fault == "AlreadyExists":
                raise NotConverged(
                    f"the inventory has {place.path} already, elsewhere than here", hint="Look for it there; nothing was registered."
                ) from None
            if refused.fault == "DuplicateName":
                name = f"{place.name} (registered again)"
    raise NotConverged(
        f"it is out of the inventory and could not be registered again: {problem.cause}", fault=problem.fault, hint=_put_back(place)
    )


def _put_back(place: Placement) -> str:
    return f"Run the task with restore: the file that backup: true wrote, or register {place.path} by hand."


def _registered_by_now(session: Session, place: Placement, lost: bool) -> Ref | None:
    """Whether it is there all the same: an answer that was lost may have been a success, whose task takes its time."""
    for pause in _PAUSES if lost else (0.0,):
        time.sleep(pause)
        found = _whereabouts(session, place)[1]
        if found is not None:
            return found
    return None


def _apply_extras(session: Session, path: str, made: Ref, place: Placement) -> None:
    """Put back what hung on the old object; all that can be. Raises the first refusal."""
    problem: FleetcareError | None = None
    manager = session.manager("authorizationManager")
    if place.permissions and manager:
        rights = [
            vim.AuthorizationManager.Permission(principal=one.principal, group=one.group, roleId=one.role, propagate=one.propagate)
            for one in place.permissions
        ]
        try:
            session.write(path, manager, "SetEntityPermissions", must=True, entity=session.managed(made), permission=rights)
        except FleetcareError as refused:
            refused.cause = f"{place.name} is registered, its permissions could not be put back: {refused.cause}"
            problem = refused
    fields = session.manager("customFieldsManager")
    numbers = {name: key for key, name in _fields(session).items()} if place.values and fields else {}
    for name, value in place.values if fields else ():
        try:
            if name not in numbers:
                raise ServerFault("there is no such field any more", hint="Make it again, and set it by hand.")
            session.write(path, fields, "SetField", must=True, entity=session.managed(made), key=numbers[name], value=value)  # type: ignore[arg-type]
        except FleetcareError as refused:
            refused.cause = f"{place.name} is registered, its value of {name} could not be put back: {refused.cause}"
            problem = problem or refused
    if problem:
        raise problem

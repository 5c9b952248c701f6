# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a virtual machine is locked, and what opens it. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .crypto_model import (
    BROKEN,
    LOCKED,
    NATIVE,
    SAFE,
    STANDARD,
    TRUST_AUTHORITY,
    UNLOCKED,
    Custody,
    EnableHost,
    Key,
    Machine,
    MarkDefault,
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
from .crypto_wanted import RECORD, ProviderWish, ServerWish, Wanted, as_record, fingerprint_of, parse
from .crypto_worksheet import COLUMNS, Line, lines_of, would_lock
from .errors import TargetUnknown, listed
from .plan import Change, Finding, Meaning, Plan
from .table import as_csv

__all__ = ["MEANINGS", "RECORD", "after", "endpoint_plan", "is_offline", "needs_hosts", "overview", "parse", "patience", "plan", "record"]
__all__ += ["report", "settings", "settled", "survey"]

_STATUS = "CryptoManagerKmip.QueryCryptoKeyStatus in the vSphere API reference"
_SERVERS = "CryptoManagerKmip.RetrieveKmipServersStatus_Task in the vSphere API reference"
_ADMINISTRATOR = "Hand the worksheet to the administrator of the key server; once the key is there and active, run the task again."
MEANINGS = {
    "provider_unreachable": Meaning(
        "error",
        "vCenter cannot reach the key provider that has the key.",
        "Look at the key servers, the network and the certificates on both sides, then run the task again; with wait_for_provider it waits.",
        f"{_STATUS}: reason KeyStateClusterUnreachable; {_SERVERS}",
    ),
    "provider_unknown": Meaning(
        "error",
        "vCenter has no key provider of the name that the key gives, as after a new vCenter was set up or a provider was named anew.",
        "Set the provider up again under exactly this name with key_provider; its address may be another.",
        f"{_STATUS}: reason KeyStateClusterInvalid; Virtual Machine Encryption in the vSphere Security manual",
    ),
    "provider_native": Meaning(
        "error",
        "The key is of a native key provider, of which vCenter does not tell whether a key is there.",
        "If unlocking does not help, restore the provider from its backup, under the same name.",
        f"{_STATUS}: reason KeyStateManagedByNKP",
    ),
    "provider_trust_authority": Meaning(
        "error",
        "The key is of a Trust Authority provider, of which vCenter does not tell whether a key is there.",
        "If unlocking does not help, look at the Trust Authority cluster: attestation first, then its key provider.",
        f"{_STATUS}: reason KeyStateManagedByTrustAuthority",
    ),
    "key_missing": Meaning(
        "error",
        "The key server does not have the key.",
        f"Nothing in vSphere brings it back. {_ADMINISTRATOR}",
        f"{_STATUS}: reason KeyStateMissingInKMS",
    ),
    "key_not_active": Meaning(
        "error",
        "The key server has the key and does not let it be used: it is not active, deactivated or compromised.",
        f"{_ADMINISTRATOR} kms_key_info tells its state and activates one that is pre-active.",
        f"{_STATUS}: reason KeyStateNotActiveOrEnabled",
    ),
    "wrapping_key_missing": Meaning(
        "error", "The key server does not have the key that wraps this one.", _ADMINISTRATOR, f"{_STATUS}: reason WrappingKeyMissingInKMS"
    ),
    "wrapping_key_not_active": Meaning(
        "error", "The key that wraps this one is not active.", _ADMINISTRATOR, f"{_STATUS}: reason WrappingKeyNotActiveOrEnabled"
    ),
    "key_not_in_cache": Meaning(
        "error",
        "vCenter does not have the key at hand and does not say whether the key server has it.",
        "If unlocking does not help, look the key up with kms_key_info.",
        f"{_STATUS}: reason KeyStateMissingInCache, which the reference does not explain",
    ),
    "key_state_untold": Meaning(
        "error",
        "vCenter does not say whether it can get the key; before 6.7.2 it cannot be asked.",
        "If unlocking does not help, look the key up with kms_key_info.",
        _STATUS,
    ),
    "key_unavailable": Meaning(
        "error",
        "vCenter cannot get the key for a reason that this release of the collection does not know.",
        "Look the reason up in the reference of your vCenter's release.",
        _STATUS,
    ),
    "key_id_unknown": Meaning(
        "error",
        "Nothing that can be read names the key of the machine.",
        "If unlocking does not help, grant Datastore.Browse on its datastore, so that its .vmx file can be read.",
        "config.keyId, the file's encryption.keySafe and ListKeys, in this order",
    ),
    "still_locked": Meaning(
        "error",
        "The key can be had again and the machine is still locked: vCenter does not unlock by itself once a provider is back.",
        "Unlock it: vm_crypto_unlock.",
        "VirtualMachine.CryptoUnlock_Task in the vSphere API reference",
    ),
    "key_missing_on_host": Meaning(
        "error",
        "vCenter can get the key and the host does not have it.",
        "Nothing is to be done on the key server: vm_crypto_unlock has vCenter hand the key to the host.",
        "event com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost; VirtualMachine.CryptoUnlock_Task",
    ),
    "host_not_safe": Meaning(
        "note",
        "The machine's host is not in crypto-safe mode, and takes no keys before it is.",
        "Nothing to do for a host that was in it before its reboot: vCenter puts it there again. Any other: enable_hosts: true.",
        "HostSystem.runtime.cryptoState; AddKeys: InvalidState",
    ),
    "disk_key_missing": Meaning(
        "error",
        "The key of a disk cannot be had: the machine opens, and does not power on.",
        f"If a provider is away, bring it back. If the key is gone: {_ADMINISTRATOR[0].lower()}{_ADMINISTRATOR[1:]}",
        "Virtual Machine Encryption in the vSphere Security manual: The disk [...] is encrypted and a required key was not found",
    ),
    "would_lock": Meaning(
        "warning",
        "The machine is open, and its key cannot be had any more: it locks once its host forgets the key, as with a reboot.",
        "Bring the key back before the host is rebooted and before the machine is moved.",
        f"{_STATUS}; hosts forget keys with a reboot, vSphere Security manual",
    ),
    "vcenter_missing": Meaning(
        "error",
        "The host does not have the key, and only a vCenter hands keys to hosts.",
        "Run the task against that vCenter. If it is lost: a new one with a key provider of the same name, then add the host there.",
        "CryptoManagerHost.GetCryptoKeyStatus; vSphere Security manual",
    ),
    "open_but_invalid": Meaning(
        "error",
        "The machine is not locked any more and its configuration is still not read.",
        "Reload it: vm_crypto_unlock; as the last resort with reregister: true.",
        "VirtualMachine.Reload in the vSphere API reference",
    ),
    "invalid_otherwise": Meaning(
        "note",
        "The machine cannot be used, for another reason than encryption.",
        "Look at its files and its datastore; nothing is done about it here.",
        "VirtualMachineConnectionState in the vSphere API reference",
    ),
    "privilege_missing": Meaning(
        "error",
        "The user lacks a privilege without which the cause cannot be told or mended, so nothing is changed.",
        "Grant it to the user of this task.",
        "AuthorizationManager.HasPrivilegeOnEntities; NoPermission",
    ),
    "reregister_refused": Meaning(
        "note",
        "The machine is not registered anew, should unlocking fail: that would be a risk, or of no use.",
        "If it stays locked, mend that first: power it off, wait for its tasks, give it a name of its own, grant the privilege.",
        "VirtualMachine.UnregisterVM and Folder.RegisterVM_Task in the vSphere API reference",
        lasting=True,
    ),
    "not_restored": Meaning(
        "error",
        "The machine was registered anew, and not all that hung on it could be put back.",
        "Put it back by hand; the record in backup_file says what it was.",
        "RegisterVM_Task gives a new object",
        lasting=True,
    ),
    "on_another_host": Meaning(
        "warning",
        "The machine was registered anew on another host, because its own refused it, twice.",
        "Move it back, if it belongs there; look at the host: it may be in maintenance mode.",
        "RegisterVM_Task without a host: vCenter chooses one of the pool's",
        lasting=True,
    ),
    "tags_lost": Meaning(
        "warning",
        "The machine was registered anew, and its tags are gone: only the REST interface of vCenter sets tags.",
        "Assign them again; backup_file has them.",
        "ManagedEntity.tag is read-only in the vSphere API reference",
        lasting=True,
    ),
    "machine_lost": Meaning(
        "warning",
        "A machine of the record is in no inventory.",
        "It is registered again; if that is refused, register its file by hand.",
        "SearchIndex.FindByDatastorePath finds nothing",
    ),
    "provider_not_named": Meaning(
        "warning",
        "No key of the selected machines names the provider that is set up.",
        "Compare the names: keys give exactly the one that their provider had.",
        "CryptoKeyId.providerId",
    ),
    "provider_of_another_kind": Meaning(
        "error",
        "A key provider of that name exists and is no standard one.",
        "Only standard key providers have KMIP servers; choose another name.",
        "KmipClusterInfo.managementType",
    ),
    "key_server_silent": Meaning(
        "error",
        "The key server shows vCenter no certificate.",
        "Check address and port, and the network between vCenter and the key server.",
        "RetrieveKmipServerCert: empty certificate",
    ),
    "key_server_unconfirmed": Meaning(
        "error",
        "vCenter does not trust the key server yet.",
        "Compare the fingerprint with the administrator of the key server, then give it as fingerprint of this server.",
        "RetrieveKmipServerCert: clientTrustServer",
    ),
    "key_server_differs": Meaning(
        "error",
        "The key server shows another certificate than the one expected.",
        "Compare the fingerprint with the administrator of the key server: it has been renewed, or somebody sits in between.",
        "RetrieveKmipServerCert against fingerprint",
    ),
    "vcenter_not_trusted": Meaning(
        "error",
        "The key server does not trust vCenter's certificate.",
        "Give certificate and private_key, or request: true and then the signed certificate.",
        f"{_SERVERS}: serverTrustClient",
    ),
    "certificate_requested": Meaning(
        "error",
        "vCenter waits for the key administrator's signature under its certificate request.",
        "Have the administrator of the key server sign certificate_request, which stands under providers in the result; then give the answer "
        "as certificate.",
        "GenerateClientCsr, UpdateKmsSignedCsrClientCert",
    ),
    "certificate_ends_soon": Meaning(
        "warning",
        "A certificate between vCenter and a key server ends within thirty days.",
        "Renew it before that day: afterwards no host gets a key.",
        f"{_SERVERS}: secondsBeforeExpire",
    ),
}
_SOON = 30 * 86400
# Not known to be gone: unlocking may help, and does no harm where it does not.
_WORTH_TRYING = ("provider_native", "provider_trust_authority", "key_not_in_cache", "key_state_untold", "key_id_unknown")
_UNUSABLE = ("key_server_silent", "key_server_unconfirmed", "key_server_differs", "certificate_requested")


def _found(code: str, text: str) -> Finding:
    return MEANINGS[code].found(code, text)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What all machines and those who keep their keys say together. ``mending``: providers that the endpoint's own changes bring
    back; ``enabling``: hosts that they put into safe mode; ``sent``: those of them that were sent."""

    custody: Custody = field(default_factory=Custody)
    machines: tuple[Machine, ...] = ()
    mending: frozenset[str] = frozenset()
    enabling: frozenset[str] = frozenset()
    sent: tuple[Change, ...] = ()


# ---- judging --------------------------------------------------------------------------------------------------------


def survey(states: Iterable[Machine], common: Mapping[str, Any], wanted: Wanted) -> Seen:
    machines = tuple(states)
    seen = Seen(custody=common.get("custody") or Custody(), machines=machines, sent=tuple(common.get("sent", ())))
    if wanted.provider:
        changes, findings = _provider_plan(wanted.provider, seen.custody)
        mends = any(isinstance(change, (RegisterServer, UpdateServer, TrustServer, PresentCertificate)) for change in changes)
        if mends and not any(finding.level == "error" for finding in findings):
            seen = replace(seen, mending=frozenset({wanted.provider.name}))
    known = set(seen.custody.providers) | {key.provider for machine in machines for key in machine.keys}
    if wanted.without and wanted.without not in known and seen.custody.is_vcenter and not seen.custody.denied:
        raise TargetUnknown(
            f"without_provider {wanted.without!r} is no key provider of this vCenter, and no key names it",
            hint=f"There are: {listed(sorted(known), 8)}." if known else "There are none here.",
        )
    if wanted.enable_hosts:
        hosts = {machine.host for machine in machines if _opens(machine, seen) and not _is_safe(machine, seen)}
        seen = replace(seen, enabling=frozenset(hosts & seen.custody.hosts.keys()))
    return seen


def plan(state: Machine, wanted: Wanted, seen: Seen) -> Plan:
    """The writes that open a machine, and why it is locked."""
    findings, changes = _judged(state, seen)
    if state.before:
        findings += _left_behind(state)
    if not wanted.acts:
        changes = ()
    elif changes and wanted.reregister:
        place = state.placement
        if state.frozen or not (place and place.path and place.folder and place.datacenter):
            findings.append(_found("reregister_refused", state.frozen or "where it stands cannot be read"))
        else:
            changes = (*changes, Reregister(place, (state.home,) if state.home else ()))
    return Plan(observed=state, changes=changes, findings=tuple(findings))


def _judged(state: Machine, seen: Seen) -> tuple[list[Finding], tuple[Change, ...]]:
    seen = _with_later(seen, [state])
    if state.connection in BROKEN or (not state.is_encrypted and state.connection == "invalid"):
        return [_found("invalid_otherwise", f"it is {state.connection}")], ()
    if not state.is_encrypted:
        return [], ()
    if state.crypto != LOCKED:
        findings = _ahead(state, seen)
        if state.connection == "invalid":
            return [_found("open_but_invalid", "its key is there, and it is invalid"), *findings], (Reload(),)
        return findings, ()
    denied = (*seen.custody.denied, *state.denied)
    if denied:
        return [_found("privilege_missing", f"{listed(denied, 4)} is missing")], ()
    if not seen.custody.is_vcenter:
        return _without_vcenter(state, seen)
    return _locked(state, seen)


def _with_later(seen: Seen, machines: Iterable[Machine]) -> Seen:
    more = {key: status for machine in machines for key, status in machine.later}
    return replace(seen, custody=replace(seen.custody, statuses={**seen.custody.statuses, **more})) if more else seen


def _locked(state: Machine, seen: Seen) -> tuple[list[Finding], tuple[Change, ...]]:
    trouble = _trouble(state.home, seen)
    if trouble and _is_final(state.home, trouble, seen):
        return [trouble], ()
    if trouble is None:
        if state.event.endswith("OnHost") or not state.event:
            text = (
                f"{state.home.provider or 'the default provider'} has the key, the host does not"
                if state.home
                else "the host lacks its key"
            )
            trouble = _found("key_missing_on_host", text)
        else:
            trouble = _found("still_locked", f"it was locked because of {state.event}, and its key can be had again")
    findings = [trouble, *_disks(state, seen)]
    if not _is_safe(state, seen):
        findings.append(
            _found(
                "host_not_safe", f"{_host(state, seen)} is {seen.custody.hosts[state.host].mode or 'in no mode that is known'}, not safe"
            )
        )
    return findings, (Unlock(),)


def _without_vcenter(state: Machine, seen: Seen) -> tuple[list[Finding], tuple[Change, ...]]:
    if state.present:
        return [_found("still_locked", f"the host has {state.home} and has not read the machine again")], (Reload(),)
    manager = seen.custody.manager
    who = f"the vCenter at {manager} manages this host" if manager else "no vCenter manages this host"
    return [_found("vcenter_missing", f"{state.home or 'its key'} is not on the host; {who}")], ()


def _trouble(key: Key | None, seen: Seen) -> Finding | None:
    """Why vCenter cannot get a key, or cannot tell; None if it can."""
    custody = seen.custody
    if key is None:
        answering = [provider for provider in custody.providers.values() if provider.active is not False]
        if not answering:
            return _found("provider_unreachable", "no key provider answers")
        return _found("key_id_unknown", f"vCenter has {_names(custody)}")
    provider, status = custody.provider_of(key), custody.status_of(key)
    if status.available:
        return None
    if status.reason == "KeyStateClusterInvalid" or (provider is None and not status.reason):
        return _found("provider_unknown", f"its key names {key.provider!r}, vCenter has {_names(custody)}")
    if status.reason == "KeyStateClusterUnreachable" or (provider and provider.active is False):
        return _found("provider_unreachable", _why_away(key, provider, custody.waited))
    if status.reason == "NoPermissionToAccessKeyProvider":
        return _found("privilege_missing", f"Cryptographer.ReadKeyServersInfo for {key.provider or custody.default} is missing")
    if status.reason == "KeyStateManagedByNKP" or (provider and provider.kind == NATIVE):
        return _found("provider_native", f"the provider is {key.provider or custody.default}")
    if status.reason == "KeyStateManagedByTrustAuthority" or (provider and provider.kind == TRUST_AUTHORITY):
        return _found("provider_trust_authority", f"the provider is {key.provider or custody.default}")
    if status.available is None:
        return _found("key_state_untold", f"the key is {key}")
    return _gone(key, status.reason or "it gives no reason")


def _gone(key: Key, reason: str) -> Finding:
    if reason == "KeyStateMissingInKMS":
        return _found("key_missing", f"the key server does not have {key} ({reason})")
    if reason == "KeyStateNotActiveOrEnabled":
        return _found("key_not_active", f"{key} is on the key server and not active ({reason})")
    if reason == "WrappingKeyMissingInKMS":
        return _found("wrapping_key_missing", f"the key server does not have what wraps {key} ({reason})")
    if reason == "WrappingKeyNotActiveOrEnabled":
        return _found("wrapping_key_not_active", f"what wraps {key} is not active ({reason})")
    if reason == "KeyStateMissingInCache":
        return _found("key_not_in_cache", f"vCenter does not have {key} at hand ({reason})")
    return _found("key_unavailable", f"vCenter cannot get {key} ({reason})")


def _is_final(key: Key | None, trouble: Finding, seen: Seen) -> bool:
    """Whether trying is of no use, also once the endpoint's own changes are made: what comes of those is seen then."""
    helped = bool(seen.mending) if key is None else (key.provider or seen.custody.default) in seen.mending
    mended = helped and trouble.code in ("provider_unknown", "provider_unreachable")
    return trouble.code not in _WORTH_TRYING and not mended


def _obstacles(keys: Iterable[Key], seen: Seen) -> dict[Key, Finding]:
    """Keys that cannot be had, and why."""
    return {key: trouble for key in keys if (trouble := _trouble(key, seen)) and _is_final(key, trouble, seen)}


def _disks(state: Machine, seen: Seen) -> list[Finding]:
    others = [key for key in state.keys if key != state.home]
    return [
        _found("disk_key_missing", f"{', '.join(state.disks_with(key))}: {trouble}") for key, trouble in _obstacles(others, seen).items()
    ]


def _ahead(state: Machine, seen: Seen) -> list[Finding]:
    """What will go wrong with a machine that is open."""
    if not seen.custody.is_vcenter or seen.custody.denied:
        return []
    running = state.power != "poweredOff"
    findings = [] if running else _disks(state, seen)
    obstacles = _obstacles(state.keys if running else [key for key in state.keys if key == state.home], seen)
    gone = [str(trouble) for trouble in obstacles.values() if trouble.code != "privilege_missing"]
    return [*findings, *([_found("would_lock", "; ".join(gone))] if gone else [])]


def _opens(state: Machine, seen: Seen) -> bool:
    return any(isinstance(change, Unlock) for change in _judged(state, seen)[1])


def _is_safe(state: Machine, seen: Seen) -> bool:
    host = seen.custody.hosts.get(state.host)
    tried = any(isinstance(change, EnableHost) and change.host == state.host for change in seen.sent)
    return host is None or host.mode == SAFE or (state.host in seen.enabling and not tried)


def _host(state: Machine, seen: Seen) -> str:
    host = seen.custody.hosts.get(state.host)
    return host.name if host else "its host"


def _names(custody: Custody) -> str:
    names = [repr(name) for name in sorted(custody.providers)]
    return f"the key provider{'s' if len(names) > 1 else ''} {listed(names, 5)}" if names else "no key provider"


def _why_away(key: Key | None, provider: Provider | None, waited: float) -> str:
    if provider is None or provider.active:
        return f"vCenter says so of {key}" + (f", although servers of {provider.name} answer" if provider else "")
    said = [f"{server.name}: {server.text or server.status}" for server in provider.servers if server.status != "green" and server.text]
    after = f" after {waited:.0f} s of waiting" if waited else ""
    return f"{provider.name} is not active{after}" + (f" ({listed(said, 3)})" if said else "")


def _left_behind(state: Machine) -> list[Finding]:
    before, now = state.before, state.placement
    if before is None or now is None:
        return []
    lacking = [f"the permission of {one.principal}" for one in before.permissions if one not in now.permissions]
    lacking += [f"the value of {name}" for name, value in before.values if (name, value) not in now.values]
    lacking += [what for what, old, new in (("its folder", before.folder, now.folder), ("its pool", before.pool, now.pool)) if old != new]
    lacking += [] if before.name == now.name else [f"its name {before.name}"]
    findings = [_found("not_restored", f"lacking: {listed(lacking, 6)}")] if lacking else []
    if before.host != now.host:
        findings.append(_found("on_another_host", f"it was on {before.host}"))
    tags = [tag for tag in before.tags if tag not in now.tags]
    return [*findings, *([_found("tags_lost", listed(tags, 6))] if tags else [])]


def after(read: Machine, predicted: Machine, waited: bool) -> Machine:
    return replace(read, before=predicted.before)


def settled(state: Machine, wanted: Wanted, seen: Seen) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


def record(state: Machine) -> dict[str, Any]:
    return as_record(state.placement) if state.placement else {}


# ---- the endpoint ---------------------------------------------------------------------------------------------------


def is_offline(wanted: Wanted, has_endpoint: bool) -> bool:
    return False


def needs_hosts(wanted: Wanted) -> bool:
    return wanted.provider is None and not wanted.restore


def endpoint_plan(seen: Seen, wanted: Wanted) -> Plan:
    """What vCenter needs before machines can be opened."""
    custody = seen.custody
    changes: list[Change] = []
    findings = [_ending(provider) for provider in custody.providers.values()]
    told = [finding for finding in findings if finding]
    if custody.denied and not wanted.provider and any(machine.is_encrypted for machine in seen.machines):
        told.append(MEANINGS["privilege_missing"].found("privilege_missing", f"{listed(custody.denied, 4)} is missing", level="warning"))
    if wanted.provider and not custody.is_vcenter:
        told.append(_found("vcenter_missing", "a key provider is registered with a vCenter, this is a host"))
    elif wanted.provider:
        made, found = _provider_plan(wanted.provider, custody)
        changes += made
        told += found
        named = sorted({key.provider for machine in seen.machines for key in machine.keys if key.provider})
        is_standard = custody.providers.get(wanted.provider.name, Provider(name="")).kind == STANDARD
        if named and wanted.provider.name not in named and is_standard:
            told.append(_found("provider_not_named", f"none names {wanted.provider.name!r}, they name {listed(named, 5)}"))
    changes += [EnableHost(moid, custody.hosts[moid].name) for moid in sorted(seen.enabling)]
    for placement in custody.lost:
        changes.append(RegisterAgain(placement))
        told.append(_found("machine_lost", f"{placement.name} of {placement.path}"))
    for change in seen.sent:
        if isinstance(change, RegisterAgain) and change.placement.tags and change.placement not in custody.lost:
            told.append(_found("tags_lost", f"{change.placement.name}: {listed(change.placement.tags, 6)}"))
    return Plan(observed=custody, changes=tuple(changes) if wanted.acts else (), findings=tuple(told))


def _ending(provider: Provider) -> Finding | None:
    ends = [("vCenter's own", provider.client_expires_in), *((f"that of {one.name}", one.expires_in) for one in provider.servers)]
    soon = [f"{whose} in {max(0, seconds) / 86400:.0f} days" for whose, seconds in ends if seconds is not None and seconds < _SOON]
    return _found("certificate_ends_soon", f"{provider.name}: {listed(soon, 5)}") if soon else None


def _provider_plan(wish: ProviderWish, custody: Custody) -> tuple[list[Change], list[Finding]]:
    known = custody.providers.get(wish.name)
    if known and known.kind != STANDARD:
        return [], [_found("provider_of_another_kind", f"{wish.name} is a {known.kind}")]
    if custody.denied:
        return [], [_found("privilege_missing", f"{listed(custody.denied, 4)} is missing")]
    changes: list[Change] = []
    findings: list[Finding] = []
    for server in wish.servers:
        own = known.server(server.name) if known else None
        made = Server(name=server.name, address=server.address, port=server.port, user=server.user)
        trusting, trouble = _trust(wish, server, custody)
        findings += trouble
        if any(finding.code in ("key_server_silent", "key_server_differs") for finding in trouble):
            continue  # what works is not exchanged for what does not, and no password is sent there
        if own is None:
            changes.append(RegisterServer(wish.name, made, server.password))
        elif (own.address, own.port, own.user) != (server.address, server.port, server.user or own.user):
            changes.append(UpdateServer(wish.name, made, server.password))
        changes += trusting
    if known is None and not wish.servers:
        findings.append(_found("provider_unknown", f"{wish.name} is not there, and key_provider names no servers"))
    if known is None and not changes:
        return [], findings  # there is nothing yet that could have a certificate
    presenting, trouble = _presenting(wish, known)
    changes += presenting
    findings += trouble
    # New keys are not asked of a provider that gives none; what the changes above may mend is no reason to wait.
    waits = any(finding.code in _UNUSABLE for finding in findings)
    if wish.default and not (known and known.default) and not waits:
        changes.append(MarkDefault(wish.name))
    if known and known.active is False and not changes and not findings:
        findings.append(_found("provider_unreachable", _why_away(None, known, custody.waited)))
    return changes, findings


def _trust(wish: ProviderWish, server: ServerWish, custody: Custody) -> tuple[list[Change], list[Finding]]:
    shown = custody.shown.get(server.name)
    if shown is None or not shown.fingerprint:
        why = f": {shown.text}" if shown and shown.text else ""
        return [], [_found("key_server_silent", f"nothing shows vCenter a certificate at {server.address}:{server.port}{why}")]
    if server.fingerprint and server.fingerprint != shown.fingerprint:
        return [], [_found("key_server_differs", f"{server.address}:{server.port} shows {shown.fingerprint}, not {server.fingerprint}")]
    if shown.trusted:
        return [], []
    if not server.fingerprint:
        return [], [_found("key_server_unconfirmed", f"{server.address}:{server.port} shows {shown.fingerprint}")]
    return [TrustServer(wish.name, server.name, shown.fingerprint, shown.pem)], []


def _presenting(wish: ProviderWish, known: Provider | None) -> tuple[list[Change], list[Finding]]:
    if wish.certificate:
        fingerprint = fingerprint_of(wish.certificate)
        if known and known.client_pem and fingerprint_of(known.client_pem) == fingerprint:
            return [], _untrusted(known)
        return [PresentCertificate(wish.name, fingerprint, wish.certificate, wish.private_key)], []
    if wish.request and not (known and any(server.trusts for server in known.servers)):
        waiting = [_found("certificate_requested", f"for {wish.name}")]
        return ([], waiting) if known and known.request else ([RequestCertificate(wish.name)], waiting)
    return [], _untrusted(known) if known else []


def _untrusted(known: Provider) -> list[Finding]:
    """Only where a server was reached and said no."""
    names = [server.name for server in known.servers if server.trusted and server.trusts is False]
    return [_found("vcenter_not_trusted", f"{known.name}: {listed(names, 5)}")] if names else []


# ---- telling --------------------------------------------------------------------------------------------------------


def settings(state: Machine | Custody | None) -> dict[str, Any]:
    """What a diff shows."""
    if state is None:
        return {}
    if isinstance(state, Machine):
        place = {"registered_anew": True} if state.before else {}
        # Of a locked machine it says nothing more, and changes with its host.
        connection = {} if state.crypto == LOCKED else {"connection": state.connection}
        return {"crypto": state.crypto or None, **connection, **place}
    return {
        "providers": {
            name: {
                "default": provider.default,
                "servers": {server.name: f"{server.address}:{server.port}" for server in provider.servers},
                "client_certificate": fingerprint_of(provider.client_pem) if provider.client_pem else None,
                "request": bool(provider.request),
            }
            for name, provider in sorted(state.providers.items())
        },
        "trusted": {name: server.fingerprint for name, server in sorted(state.shown.items()) if server.trusted},
        "hosts": {host.name: host.mode for host in state.hosts.values()},
        "not_registered": [placement.path for placement in state.lost],
    }


def report(state: Machine | Custody | None, wanted: Wanted, seen: Seen, *, full: bool) -> dict[str, Any]:
    """What a result says of a machine beside its findings."""
    if not isinstance(state, Machine):
        return {}
    outcome = "not_ours" if not state.is_encrypted or state.connection in BROKEN else "waiting" if _is_waiting(state) else "open"
    short = {
        "outcome": outcome,
        "cause": _judged(state, seen)[0][0].code if outcome == "waiting" else None,
        "crypto": state.crypto or None,
        "key_id": state.home.id if state.home else None,
        "provider": state.home.provider if state.home else None,
    }
    if not full:
        return {**short, "power": state.power if state.is_encrypted else None}
    disks = {disk.label: f"{disk.key.provider}/{disk.key.id}" for disk in state.disks if disk.key and disk.key != state.home}
    return {
        **short,
        "connection": state.connection,
        "power": state.power,
        "key_from": state.origin or None,
        "locked_because": state.event or None,
        "disks": disks or None,
    }


def _is_waiting(state: Machine) -> bool:
    return state.crypto == LOCKED or state.connection == "invalid"


def overview(seen: Seen, wanted: Wanted, plans: Mapping[str, Plan], away: Mapping[str, str]) -> dict[str, Any]:
    """Who waits for what, the providers, and what the key administrator has to see to."""
    machines: dict[str, Machine] = {name: made.observed for name, made in plans.items()}
    causes: dict[str, list[str]] = {}
    for name, machine in machines.items():
        if machine.is_encrypted and machine.connection not in BROKEN and _is_waiting(machine):
            causes.setdefault(_judged(machine, seen)[0][0].code, []).append(name)
    told = _with_later(seen, machines.values())
    lines = lines_of(machines, seen.custody, lambda key: _code_of(key, told) if seen.custody.is_vcenter else _code_on_host(key, machines))
    result: dict[str, Any] = {
        "causes": dict(sorted(causes.items())),
        "worksheet": [line.as_dict() for line in lines],
        "providers": [_told(provider, seen.custody) for _name, provider in sorted(seen.custody.providers.items())],
        "msg": _headline(machines, causes, lines, seen),
    }
    if wanted.without:
        result["would_lock"] = would_lock(wanted.without, machines, seen.custody)
    if wanted.csv:
        result["csv"] = as_csv(COLUMNS, result["worksheet"])
    return result


def _code_of(key: Key, seen: Seen) -> str:
    """Why a key is for the worksheet; empty where it is not."""
    trouble = _trouble(key, seen)
    return trouble.code if trouble and trouble.code not in (*_WORTH_TRYING, "provider_unknown") else ""


def _code_on_host(key: Key, machines: Mapping[str, Machine]) -> str:
    """A host knows only what it lacks itself."""
    return (
        "vcenter_missing"
        if any(machine.crypto == LOCKED and key == machine.home and not machine.present for machine in machines.values())
        else ""
    )


def _headline(machines: Mapping[str, Machine], causes: Mapping[str, list[str]], lines: list[Line], seen: Seen) -> str:
    encrypted = [machine for machine in machines.values() if machine.is_encrypted]
    waiting = sum(map(len, causes.values()))
    text = f"{len(encrypted)} encrypted machine{'' if len(encrypted) == 1 else 's'}, {waiting} locked"
    if causes:
        text += ": " + ", ".join(f"{len(names)} {code}" for code, names in sorted(causes.items(), key=lambda item: -len(item[1])))
    off = sum(machine.crypto == UNLOCKED and machine.power == "poweredOff" for machine in encrypted)
    anew = sorted(name for name, machine in machines.items() if machine.before)
    again = [one.placement.name for one in seen.sent if isinstance(one, RegisterAgain) and one.placement not in seen.custody.lost]
    safe = [one.name for one in seen.sent if isinstance(one, EnableHost) and seen.custody.hosts[one.host].mode == SAFE]
    parts = (
        (off, f"{off} open and powered off"),
        (lines, f"{len(lines)} key{'' if len(lines) == 1 else 's'} on the worksheet"),
        (anew, f"registered anew, under another object id: {listed(anew, 5)}"),
        (again, f"back in the inventory: {listed(again, 5)}"),
        (safe, f"put into crypto-safe mode with a new host key: {listed(safe, 5)}"),
    )
    return "; ".join([text, *(told for holds, told in parts if holds)])


def _told(provider: Provider, custody: Custody) -> dict[str, Any]:
    days = provider.client_expires_in
    return {
        "name": provider.name,
        "kind": provider.kind,
        "default": provider.default,
        "active": provider.active,
        "certificate_days_left": None if days is None else round(days / 86400, 1),
        "certificate_request": provider.request or None,
        "servers": [
            {
                "name": server.name,
                "address": server.address,
                "port": server.port,
                "status": server.status or None,
                "text": server.text or None,
                "vcenter_trusts_server": server.trusted,
                "server_trusts_vcenter": server.trusts,
                "fingerprint": (custody.shown[server.name].fingerprint if server.name in custody.shown else server.fingerprint) or None,
                "certificate_days_left": None if server.expires_in is None else round(server.expires_in / 86400, 1),
            }
            for server in provider.servers
        ],
    }

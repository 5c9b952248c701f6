# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Licences of ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._client.clock import SERVICE, offset
from .._client.fanout import fan_out
from .._client.inventory import Target
from .._client.properties import Row, collect
from .._client.session import Session
from .._client.vmomi import Ref, moment, vim
from .._domain.errors import FleetcareError, PermissionMissing, ServerFault
from .._domain.license import Wanted
from .._domain.license_key import KeyMistake, LicenseKey, scrub
from .._domain.license_model import (
    AddKey,
    AssignKey,
    Certificate,
    Host,
    Inventory,
    License,
    Refusal,
    RemoveKey,
    SetLabel,
    UnassignKey,
    User,
    generation_of,
)
from .._domain.plan import Change

_VERSION = "config.product.version"
_GENERATION = "config.product.licenseProductVersion"
_PROCESSORS = "summary.hardware.numCpuPkgs"
_CORES = "summary.hardware.numCpuCores"
_VCENTER = "summary.managementServerIp"
_CERTIFICATES = "configManager.certificateManager"
_CERTIFICATE = f"{_CERTIFICATES}/certificateInfo"
_ASSIGNER = "licenseAssignmentManager"
SHRINK: dict[str, Any] = {}
PROBES = ("DecodeLicense",)
_MANAGER = Ref("LicenseManager", "LicenseManager")
_REFUSALS = ("diagnostic", "lc_error", "localizedDiagnostic")
_JUDGE = "Judge the key with state: valid."
_TAKEN = "Judge the key with state: valid; another user may have taken its units in the meantime."
# Most are NotEnoughLicenses, a RuntimeFault, so none is declared on the operation: name -> what it means, what to do.
_FAULTS = {
    "NotEnoughLicenses": ("the key has too few units left for it", _TAKEN),
    "LicenseKeyEntityMismatch": ("the key is for another kind of product", _JUDGE),
    "InvalidEditionLicense": ("the key's edition does not fit it", _JUDGE),
    "LicenseDowngradeDisallowed": (
        "the key's edition lacks a feature that is in use",
        "Use a key of the edition that has it, or stop using the feature first.",
    ),
    "LicenseExpired": ("the key has expired", _JUDGE),
    "ExpiredFeatureLicense": ("the key's licence for a feature has expired", _JUDGE),
    "LicenseRestricted": ("the key is restricted to something else", _JUDGE),
    "NoLicenseServerConfigured": ("the server has no licence service", "Look at the services of the vCenter appliance."),
    "LicenseServerUnavailable": (
        "the licence service does not answer",
        "Look at the services of the vCenter appliance, then run the task again.",
    ),
    "LicenseAssignmentFailed": ("the key could not be assigned", _JUDGE),
    "LicenseEntityNotFound": ("the licence service does not know it", "Reconnect the host in vCenter, then run the task again for it."),
}


@dataclass(frozen=True)
class _Assigned:
    """What is assigned to one entity."""

    user: User | None
    entity: str
    license: License | None
    in_use: frozenset[str]
    evaluation_days: float | None
    also: tuple[LicenseKey, ...] = ()


def properties(wanted: Wanted) -> Sequence[str]:
    return ("name", _VERSION, _GENERATION, _PROCESSORS, _CORES, _VCENTER)


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """The endpoint's keys and who holds them, the keys that were asked about, the endpoint's clock, hosts' certificates."""
    try:
        return _measured(session, rows, wanted, parallel)
    except FleetcareError as problem:
        problem.cause = scrub(problem.cause)  # a server may repeat a key
        raise


def _measured(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    now = datetime.datetime.now(datetime.timezone.utc)
    manager = session.manager("licenseManager") or _MANAGER
    own = collect(session, [manager], ["licenses", "evaluation", _ASSIGNER]).get(manager) or Row(manager, {}, {_ASSIGNER: "nothing"})
    assigner: Ref | None = own.values.get(_ASSIGNER)
    denied = _denied(own, session.is_vcenter and assigner is None)
    licenses = {known.key: known for known in map(_license, own.values.get("licenses") or ()) if known}
    if assigner:
        held = _assigned(session, assigner, now)
    else:
        held = [] if session.is_vcenter else [_of_host(own, target, now) for target in rows]
    decoded, undecoded, refused = _decoded(session, manager, [key for key in wanted.keys if key not in licenses], parallel)
    inventory = Inventory(
        licenses=licenses,
        decoded=decoded,
        undecoded=undecoded,
        users=tuple(assigned.user for assigned in held if assigned.user),
        is_vcenter=session.is_vcenter,
        now=now,
        offset=offset(session, SERVICE, "CurrentTime")[0],
        denied=refused or denied,
    )
    certificates = _certificates(session, rows) if not wanted.state else {}
    by_entity: dict[str, _Assigned] = {}
    for assigned in held:  # an entity may hold licences of other products, too
        if assigned.entity not in by_entity or (assigned.license and assigned.license.is_for_esxi):
            by_entity[assigned.entity] = assigned
    found: dict[Any, Any] = {None: {"inventory": inventory}}
    for target, row in rows.items():
        row.values[_ASSIGNER] = assigner  # so that a write needs no further reading
        found[target] = {
            "assigned": by_entity.get(target.ref.id),
            "known": not denied,
            "managed": session.is_vcenter,
            **certificates.get(target.ref, {}),
        }
    return found


def _denied(row: Row, lacks_assigner: bool) -> str:
    for path in ("licenses", _ASSIGNER):
        if path in row.missing:
            return f"{path} of the licence manager cannot be read ({row.missing[path]})"
    return f"{_ASSIGNER} of the licence manager is unset" if lacks_assigner else ""


def _decoded(
    session: Session, manager: Ref, keys: list[LicenseKey], parallel: int
) -> tuple[dict[LicenseKey, License], dict[LicenseKey, str], str]:
    """What the server makes of keys that it does not have; of which it cannot be asked, and why it may not be, if so."""

    def decode(key: LicenseKey) -> License:
        infos = session.items(manager, "DecodeLicense", dict, licenseKey=key.text)
        return _known(key, infos[0] if infos else {})

    decoded, undecoded, denied = {}, {}, ""
    for key, result in fan_out(keys, decode, parallel=parallel, guard=session.guard).items():
        if isinstance(result, FleetcareError):
            undecoded[key] = scrub(result.cause)
            denied = undecoded[key] if isinstance(result, PermissionMissing) else denied
        else:
            decoded[key] = result
    return decoded, undecoded, denied


def _assigned(session: Session, assigner: Ref, now: datetime.datetime) -> list[_Assigned]:
    """Of every entity. Alike licences are one object, however many hosts have them."""
    own = session.content.about.instanceUuid
    made: dict[str, License | None] = {}

    def keep(item: dict[str, Any]) -> _Assigned:
        info = item.get("assignedLicense") or {}
        text = info.get("licenseKey") or ""
        if text not in made:
            made[text] = _license(info)
        known = made[text]
        entity = item.get("entityId") or ""
        if item.get("scope") and own and item["scope"] != own:
            entity = f"{item['scope']}/{entity}"  # of another vCenter, which numbers its hosts as this one does
        properties = _pairs(item.get("properties"))
        evaluation = (properties.get("Evaluation") or [None])[0]
        return _Assigned(
            User(entity=entity, name=scrub(item.get("entityDisplayName") or entity), key=known.key) if known and entity else None,
            entity,
            known,
            frozenset(_features(properties.get("inUseFeatures", ()))),
            _evaluation(evaluation, info, now) if known is None or known.is_evaluation else None,
        )

    return session.items(assigner, "QueryAssignedLicenses", keep)


def _of_host(row: Row, target: Target, now: datetime.datetime) -> _Assigned:
    """A host by itself lists what it has; beside its own licence there may be evaluations of other products
    (wxt9861/esxi_stats#125), and keys that were added and are not in force: those have no unit in use."""
    known = [(license_, info) for info in row.values.get("licenses") or () if (license_ := _license(info))]
    real = [license_ for license_, _info in known if license_.is_for_esxi and not license_.is_evaluation]
    if real:
        likely = [license_ for license_ in real if license_.used] or real
        user = User(entity=target.ref.id, name=target.name, key=likely[0].key)
        return _Assigned(user, target.ref.id, likely[0], frozenset(), None, tuple(other.key for other in likely[1:]))
    trial = [(license_, info) for license_, info in known if license_.is_evaluation and (license_.is_for_esxi or not license_.product)]
    if not trial:
        return _Assigned(None, target.ref.id, None, frozenset(), None)
    return _Assigned(None, target.ref.id, trial[0][0], frozenset(), _evaluation(row.values.get("evaluation"), trial[0][1], now))


def _pairs(items: Iterable[Mapping[str, Any]] | None) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items or ():
        found.setdefault(item.get("key", ""), []).append(item.get("value"))
    return found


def _features(values: Iterable[Any]) -> Iterable[str]:
    """``vmotion`` of ``{key: vmotion}``, ``serialuri`` of ``{key: serialuri:2}``, whether they come singly or as a list."""
    for value in values:
        if isinstance(value, list):
            yield from _features(value)
        elif isinstance(value, Mapping):
            inner = value.get("key") or value.get("KeyValue") or value.get("string") or ()
            yield from _features([inner])
        elif value:
            yield str(value).partition(":")[0]


def _license(info: Mapping[str, Any]) -> License | None:
    """None for an entry without a key that can be told."""
    try:
        return _known(LicenseKey(info.get("licenseKey") or ""), info)
    except KeyMistake:
        return None


def _known(key: LicenseKey, info: Mapping[str, Any]) -> License:
    properties = _pairs(info.get("properties"))
    return License(
        key=key,
        edition=scrub(info.get("editionKey") or ""),
        name=scrub(info.get("name") or ""),
        product=_text(properties, "ProductName"),
        version=_text(properties, "ProductVersion"),
        unit=info.get("costUnit") or "",
        total=info.get("total") or 0,
        used=info.get("used"),
        features=frozenset(_features(properties.get("feature", ()))),
        expires=_date(properties),
        minutes_left=_minutes(properties),
        labels=tuple(sorted((scrub(label.get("key") or ""), scrub(label.get("value") or "")) for label in info.get("labels") or ())),
        refusal=_refusal(info, properties),
    )


def _text(properties: Mapping[str, list[Any]], name: str) -> str:
    return scrub(str(properties[name][0])) if properties.get(name) else ""


def _date(properties: Mapping[str, list[Any]]) -> datetime.datetime | None:
    value = (properties.get("expirationDate") or [None])[0]
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = moment(value)
    return value if isinstance(value, datetime.datetime) else None


def _minutes(properties: Mapping[str, list[Any]]) -> float | None:
    """The longer of the two: minutes may be all that are left or those beyond the last whole hour, which nobody documents. With ``count_disabled``
    the server does not count (vSphere salt extension)."""
    if properties.get("count_disabled"):
        return None
    values = [((properties.get(name) or [None])[0], each) for name, each in (("expirationMinutes", 1), ("expirationHours", 60))]
    return max((float(value) * each for value, each in values if isinstance(value, (int, float))), default=None)


def _refusal(info: Mapping[str, Any], properties: Mapping[str, list[Any]]) -> Refusal | None:
    """Any diagnosis is a refusal; so is an answer that says nothing at all."""
    said = {name: properties[name][0] for name in _REFUSALS if properties.get(name)}
    if not said and (info.get("editionKey") or info.get("name")):
        return None
    texts = [said.get("diagnostic"), _message(said.get("localizedDiagnostic"))]
    code = said.get("lc_error")
    text = "; ".join(dict.fromkeys(scrub(str(text)) for text in texts if text))
    return Refusal(text, code if isinstance(code, int) else None)


def _message(message: Any) -> str:
    return str(message.get("message") or message.get("key") or "") if isinstance(message, Mapping) else str(message or "")


def _evaluation(evaluation: Any, info: Mapping[str, Any], now: datetime.datetime) -> float | None:
    """Days that are left, from wherever they are told."""
    for properties in (_pairs((evaluation or {}).get("properties")), _pairs(info.get("properties"))):
        ends = _date(properties)
        if ends:
            return (ends - now).total_seconds() / 86400
        minutes = _minutes(properties)
        if minutes is not None:
            return minutes / 1440
    return None


def _certificates(session: Session, rows: Mapping[Target, Row]) -> dict[Ref, dict[str, Any]]:
    found: dict[Ref, dict[str, Any]] = {}
    for ref, row in collect(session, [target.ref for target in rows], [_CERTIFICATE]).items():
        info = row.values.get(_CERTIFICATE)
        if info:
            certificate = Certificate(
                subject=info.get("subject") or "",
                issuer=info.get("issuer") or "",
                not_before=info.get("notBefore"),
                not_after=info.get("notAfter"),
                status=info.get("status") or "",
            )
            found[ref] = {"certificate": certificate}
        elif row.missing:
            found[ref] = {"certificate_error": f"the server answers {next(iter(row.missing.values()))}"}
    return found


def observe(row: Row, extra: Mapping[str, Any]) -> Host:
    values = row.values
    assigned: _Assigned | None = extra.get("assigned")
    return Host(
        moid=row.ref.id,
        name=values.get("name", ""),
        version=values.get(_VERSION, ""),
        generation=generation_of(values.get(_GENERATION) or values.get(_VERSION, "")),
        packages=values.get(_PROCESSORS, 0),
        cores=values.get(_CORES, 0),
        license=assigned.license if assigned else None,
        known=extra.get("known", True),
        also=assigned.also if assigned else (),
        in_use=assigned.in_use if assigned else frozenset(),
        evaluation_days=assigned.evaluation_days if assigned else None,
        vcenter="" if extra.get("managed", True) else values.get(_VCENTER) or "",
        certificate=extra.get("certificate"),
        certificate_error=extra.get("certificate_error", ""),
    )


def _check_held(session: Session, assigner: Ref, target: Target, change: UnassignKey) -> None:
    """The call names the host alone: whatever it holds by now would go."""
    held = session.items(assigner, "QueryAssignedLicenses", lambda item: item.get("assignedLicense") or {}, entityId=target.ref.id)
    keys = {info.get("licenseKey") for info in held} - {None, ""}
    if change.key.text not in keys:
        raise ServerFault("it runs on another key by now", target=target.name, hint="Run the task again.")


def apply(session: Session, target: Target, row: Row, change: Change) -> None:
    manager = session.manager("licenseManager") or _MANAGER
    assigner: Ref | None = row.values.get(_ASSIGNER) if row else None
    infos: list[dict[str, Any]] = []
    if session.is_vcenter and assigner is None and isinstance(change, (AssignKey, UnassignKey)):
        raise ServerFault("vCenter shows no manager of assignments", hint="Look at its services, then run the task again.")
    try:
        if isinstance(change, AddKey):
            labels = [vim.KeyValue(key=name, value=value) for name, value in change.labels]
            infos = session.write(target.path, manager, "AddLicense", keep=dict, licenseKey=change.license.key.text, labels=labels)
        elif isinstance(change, SetLabel):
            label = change.label
            session.write(target.path, manager, "UpdateLicenseLabel", licenseKey=change.key.text, labelKey=label, labelValue=change.value)
        elif isinstance(change, RemoveKey):
            session.write(target.path, manager, "RemoveLicense", licenseKey=change.key.text)
        elif isinstance(change, AssignKey) and assigner:
            key = change.license.key.text
            infos = session.write(target.path, assigner, "UpdateAssignedLicense", keep=dict, entity=target.ref.id, licenseKey=key)
        elif isinstance(change, AssignKey):
            infos = session.write(target.path, manager, "UpdateLicense", keep=dict, licenseKey=change.license.key.text)
        elif isinstance(change, UnassignKey) and assigner:
            _check_held(session, assigner, target, change)
            session.write(target.path, assigner, "RemoveAssignedLicense", entityId=target.ref.id)
        elif isinstance(change, UnassignKey):
            session.write(target.path, manager, "RemoveLicense", licenseKey=change.key.text)
        else:
            raise TypeError(f"{type(change).__name__} is not a change of this feature")
    except FleetcareError as problem:
        problem.cause = scrub(problem.cause)
        if problem.fault in _FAULTS:
            meant, problem.hint = _FAULTS[problem.fault]
            problem.cause = f"{meant} ({problem.cause})"
        raise
    refused = _refusal(infos[0], _pairs(infos[0].get("properties"))) if infos else None
    if refused:
        raise ServerFault(f"the server refused the key: {refused.text or refused.code or 'it says nothing of it'}", hint=_JUDGE)

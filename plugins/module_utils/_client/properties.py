# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk reads: all targets, all paths, one paged call, plain values. Private to this collection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from .._domain.errors import EndpointUnreachable, ServerFault
from .session import Session
from .vmomi import Ref

PAGE = 1000
NOT_UNDERSTOOD = "NotUnderstood"
KEYED = re.compile(r'^(?P<array>[\w.]+)\["(?P<key>[^"]+)"\]$')


class Row(NamedTuple):
    """One object as read. ``missing`` says why a path could not be read; an unset value is in neither."""

    ref: Ref
    values: dict[str, Any]
    missing: dict[str, str]


Shrink = Mapping[str, Callable[[Any], Any]]


def collect(
    session: Session, refs: Sequence[Ref], paths: Sequence[str], known: Mapping[Ref, Row] | None = None, shrink: Shrink | None = None
) -> dict[Ref, Row]:
    """Read ``paths`` of objects of one type; at most two retrievals, whatever their number.

    ``known``: rows of an earlier read in the same run; then only what lies behind a reference is read again.

    ``configManager.serviceSystem/serviceInfo`` goes through a reference to a property of the object behind it: a
    host's managers are asked themselves, because what ``HostSystem.config`` repeats of them may lag behind a write.

    ``serviceInfo.service["ntpd"]`` names one element of an array by its key. That is 1.2 KB instead of 19 KB a host
    for a firewall ruleset, but no vendor text promises it for every array: where the server refuses it, or leaves a
    value out, the whole array is read and the element taken from it. The caller never notices.

    ``shrink``: property path as the server knows it (``serviceInfo.service``) -> what its value is turned into, object by
    object as they come, so that neither their number nor the size of a page costs memory.
    """
    if not refs:
        return {}
    through: dict[str, list[str]] = {}
    direct: list[str] = []
    for path in paths:
        manager, _slash, rest = path.partition("/")
        if rest:
            through.setdefault(manager, []).append(rest)
        else:
            direct.append(path)
    if known:
        own = {*direct, *through}
        rows = {
            ref: Row(ref, {path: value for path, value in known[ref].values.items() if path in own}, {}) for ref in refs if ref in known
        }
    else:
        rows = _read(session, {refs[0].type: list(dict.fromkeys([*direct, *through]))}, refs, shrink)
    behind: dict[str, list[str]] = {}
    owned: list[tuple[Ref, Ref, str]] = []
    for row in rows.values():
        for manager, names in through.items():
            ref = row.values.get(manager)
            if ref is not None:
                owned.append((ref, row.ref, manager))
                behind[ref.type] = names
    found = _read(session, behind, list(dict.fromkeys(ref for ref, _owner, _manager in owned)), shrink) if owned else {}
    for ref, owner, manager in owned:
        row = found.get(ref) or Row(ref, {}, dict.fromkeys(through[manager], "ManagedObjectNotFound"))
        rows[owner].values.update({f"{manager}/{path}": value for path, value in row.values.items()})
        rows[owner].missing.update({f"{manager}/{path}": why for path, why in row.missing.items()})
    return rows


def read_rows(session: Session, paths: Mapping[str, Sequence[str]], refs: Sequence[Ref]) -> dict[Ref, Row]:
    """Objects of several types with one call, each type with its own paths."""
    return _read(session, paths, refs)


def _read(session: Session, paths: Mapping[str, Sequence[str]], refs: Sequence[Ref], shrink: Shrink | None = None) -> dict[Ref, Row]:
    """Read objects of several types, each type with its own paths, keyed paths with their way round.

    A path that the server's API version does not have is left out: to a reader it is unset.
    """
    paths = {kind: [path for path in names if session.knows(kind, path)] for kind, names in paths.items()}
    keyed = {kind: {path: found for path in names if (found := KEYED.match(path))} for kind, names in paths.items()}
    if not any(keyed.values()):
        return _retrieve(session, paths, refs, shrink)
    rows: dict[Ref, Row] = {}
    if session.keyed_paths:
        try:
            rows = _retrieve(session, paths, refs, shrink)
        except ServerFault as problem:
            if problem.fault != "InvalidProperty":
                raise
            session.keyed_paths = False
    lacking = [ref for ref in refs if ref not in rows or _lacks(rows[ref], keyed[ref.type])]
    if lacking:
        whole = {
            kind: list(dict.fromkeys(keyed[kind][path]["array"] if path in keyed[kind] else path for path in names))
            for kind, names in paths.items()
        }
        keys = {name["key"] for names in keyed.values() for name in names.values()}

        def named(array: Any) -> list[Any]:
            return [element for element in array if element.get("key") in keys]

        arrays = {name["array"] for names in keyed.values() for name in names.values()}
        for ref, row in _retrieve(session, whole, lacking, {**(shrink or {}), **dict.fromkeys(arrays, named)}).items():
            for path, found in keyed[ref.type].items():
                if found["array"] in row.missing:
                    row.missing[path] = row.missing[found["array"]]
                for element in row.values.get(found["array"], ()):
                    if element.get("key") == found["key"]:
                        row.values[path] = element
            for found in keyed[ref.type].values():
                row.values.pop(found["array"], None)
                row.missing.pop(found["array"], None)
            rows[ref] = row
    return rows


def _lacks(row: Row, keyed: Iterable[str]) -> bool:
    """Whether the whole array might tell more: nothing came, or the server refused the path for this object
    (govmomi's simulator does it so, others refuse the whole call)."""
    return any(path not in row.values and row.missing.get(path, "InvalidProperty") == "InvalidProperty" for path in keyed)


def _retrieve(session: Session, paths: Mapping[str, Sequence[str]], refs: Iterable[Ref], shrink: Shrink | None = None) -> dict[Ref, Row]:
    objects = "".join(f'<objectSet><obj type="{ref.type}">{escape(ref.id)}</obj></objectSet>' for ref in refs)
    asked = {kind: paths[kind] for kind in dict.fromkeys(ref.type for ref in refs)}
    return pages(session, asked, objects, shrink=shrink)


def pages(session: Session, paths: Mapping[str, Sequence[str]], object_sets: str, *, shrink: Shrink | None = None) -> dict[Ref, Row]:
    """Run one retrieval to its last page; from the start again when a page is lost on the way."""
    prop_sets = "".join(
        f"<propSet><type>{kind}</type>{''.join(f'<pathSet>{escape(path)}</pathSet>' for path in names)}</propSet>"
        for kind, names in paths.items()
    )
    request = (
        f"<specSet>{prop_sets}{object_sets}<reportMissingObjectsInResults>true</reportMissingObjectsInResults></specSet>"
        f"<options><maxObjects>{PAGE}</maxObjects></options>"
    )

    def keep(ref: Ref, values: dict[str, Any], missing: dict[str, str]) -> Row:
        return _shrunk(Row(ref, values, missing), shrink)

    for last_try in (False, True):
        try:
            found, token = session.stream("RetrievePropertiesEx", request, keep)
            rows = {row.ref: row for row in found}
            while token:
                found, token = session.stream("ContinueRetrievePropertiesEx", f"<token>{escape(token)}</token>", keep)
                rows.update((row.ref, row) for row in found)
            return rows
        except (EndpointUnreachable, ServerFault) as problem:
            # A page is handed out once: when its reply is lost, its token is void (InvalidArgument).
            if last_try or (isinstance(problem, ServerFault) and problem.fault != "InvalidArgument"):
                raise
    return {}


def _shrunk(row: Row, shrink: Shrink | None) -> Row:
    for path in (shrink or {}).keys() & row.values.keys():
        value = row.values.pop(path)
        try:
            row.values[path] = shrink[path](value)  # type: ignore[index]
        except (LookupError, TypeError, ValueError, AttributeError):
            row.missing[path] = NOT_UNDERSTOOD  # one odd object must not end the read of a thousand
    return row

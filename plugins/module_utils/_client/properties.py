# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk reads: all targets, all paths, one paged call, plain values. Private to this collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from .._domain.errors import EndpointUnreachable, ServerFault
from .session import Session
from .vmomi import Ref

PAGE = 1000
_KEYED = re.compile(r'^(?P<array>[\w.]+)\["(?P<key>[^"]+)"\]$')


class Row(NamedTuple):
    """One object as read. ``missing`` says why a path could not be read; an unset value is in neither."""

    ref: Ref
    values: dict[str, Any]
    missing: dict[str, str]


def collect(session: Session, refs: Sequence[Ref], paths: Sequence[str]) -> dict[Ref, Row]:
    """Read ``paths`` of objects of one type.

    A path may name one element of an array by its key: ``config.service.service["ntpd"]``. That is 1.2 KB instead
    of 19 KB a host for a firewall ruleset, but no vendor text promises it for every array. Where the server refuses
    it, or leaves a value out, the whole array is read and the element taken from it; the caller never notices.
    """
    if not refs:
        return {}
    keyed = {path: found for path in paths if (found := _KEYED.match(path))}
    if not keyed:
        return _retrieve(session, refs, paths)
    rows: dict[Ref, Row] = {}
    if session.keyed_paths:
        try:
            rows = _retrieve(session, refs, paths)
        except ServerFault as problem:
            if problem.fault != "InvalidProperty":
                raise
            session.keyed_paths = False
    lacking = [ref for ref in refs if ref not in rows or _lacks(rows[ref], keyed)]
    if lacking:
        whole = [found["array"] for found in keyed.values()]
        plain = [path for path in paths if path not in keyed]
        for ref, row in _retrieve(session, lacking, list(dict.fromkeys([*plain, *whole]))).items():
            for path, found in keyed.items():
                for element in row.values.get(found["array"], ()):
                    if element.get("key") == found["key"]:
                        row.values[path] = element
            for array in whole:
                row.values.pop(array, None)
            rows[ref] = row
    return rows


def _lacks(row: Row, keyed: Iterable[str]) -> bool:
    """Whether the whole array might tell more: nothing came, or the server refused the path for this object
    (govmomi's simulator does it so, others refuse the whole call)."""
    return any(path not in row.values and row.missing.get(path, "InvalidProperty") == "InvalidProperty" for path in keyed)


def _retrieve(session: Session, refs: Sequence[Ref], paths: Sequence[str]) -> dict[Ref, Row]:
    objects = "".join(f'<objectSet><obj type="{ref.type}">{escape(ref.id)}</obj></objectSet>' for ref in refs)
    return pages(session, {refs[0].type: paths}, objects)


def pages(session: Session, paths: Mapping[str, Sequence[str]], object_sets: str) -> dict[Ref, Row]:
    """Run one retrieval to its last page; from the start again when a page is lost on the way."""
    prop_sets = "".join(
        f"<propSet><type>{kind}</type>{''.join(f'<pathSet>{escape(path)}</pathSet>' for path in names)}</propSet>"
        for kind, names in paths.items()
    )
    request = (
        f"<specSet>{prop_sets}{object_sets}<reportMissingObjectsInResults>true</reportMissingObjectsInResults></specSet>"
        f"<options><maxObjects>{PAGE}</maxObjects></options>"
    )
    for last_try in (False, True):
        try:
            objects, token = session.stream("RetrievePropertiesEx", request)
            rows = {row.ref: row for row in map(Row._make, objects)}
            while token:
                objects, token = session.stream("ContinueRetrievePropertiesEx", f"<token>{escape(token)}</token>")
                rows.update((row.ref, row) for row in map(Row._make, objects))
            return rows
        except (EndpointUnreachable, ServerFault) as problem:
            # A page is handed out once: when its reply is lost, its token is void (InvalidArgument).
            if last_try or (isinstance(problem, ServerFault) and problem.fault != "InvalidArgument"):
                raise
    raise AssertionError("unreachable")

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bulk read for several readers, each of which gets what it asked for. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .properties import KEYED, NOT_UNDERSTOOD, Row, Shrink, collect
from .session import Session
from .vmomi import Ref


@dataclass(frozen=True)
class Wish:
    """What one reader wants of each object: paths and shrink as ``collect`` takes them."""

    paths: Sequence[str]
    shrink: Shrink = field(default_factory=dict)


@dataclass(frozen=True)
class _Array:
    """An array as it is kept: the elements that somebody wants, and what was told of all of them."""

    elements: list[Any]
    told: Any


def _server_path(path: str) -> str:
    return path.partition("/")[2] or path


def _array_of(path: str) -> tuple[str, str]:
    """The path of the whole array and the key, of a path that names one element; two empty strings otherwise."""
    found = KEYED.match(_server_path(path))
    return (path[: -len(found[0])] + found["array"], found["key"]) if found else ("", "")


class Prefetch:
    """Reads the union of the wishes of objects of one type at once, and serves each reader from it in place of ``collect``.

    ``tell``: path of an array -> what is made of all its elements, page by page; the rest of them is not kept. A reader's
    row holds what that reader asked for and nothing else, so that no reader depends on which others there are.
    """

    def __init__(
        self, session: Session, refs: Sequence[Ref], wishes: Iterable[Wish], tell: Mapping[str, Callable[[Any], Any]] | None = None
    ) -> None:
        wishes = list(wishes)
        tell = tell or {}
        asked = dict.fromkeys(path for wish in wishes for path in wish.paths)
        whole = {path for path in (*asked, *tell) if not _array_of(path)[0]}
        # An element of an array that is read anyway is taken out of that.
        self._within = {path: _array_of(path) for path in asked if _array_of(path)[0] in whole}
        paths = [path for path in dict.fromkeys((*asked, *tell)) if path not in self._within]
        self._shrunk = _shared(wishes, {_server_path(path) for path in (*tell, *(array for array, _key in self._within.values()))})
        shrink = {_server_path(path): function for path, function in self._shrunk.items()}
        arrays = {*tell, *(array for array, _key in self._within.values())}
        # What becomes of a value goes by the path that the server knows, whichever object it is of.
        for server_path in {_server_path(path) for path in arrays}:
            same = {path for path in (*asked, *arrays) if _server_path(path) == server_path}
            keys = None if same & asked.keys() else {key for array, key in self._within.values() if array in same}
            shrink[server_path] = _kept(keys, next((tell[path] for path in same if path in tell), None))
        self._rows = collect(session, refs, paths, shrink=shrink)

    def told(self, ref: Ref, path: str) -> Any:
        """What was made of an array of an object; None where it was not read."""
        found = self._rows[ref].values.get(path) if ref in self._rows else None
        return found.told if isinstance(found, _Array) else None

    def value(self, ref: Ref, path: str) -> Any:
        return self._rows[ref].values.get(path) if ref in self._rows else None

    def __call__(
        self,
        session: Session,
        refs: Sequence[Ref],
        paths: Sequence[str],
        known: Mapping[Ref, Row] | None = None,
        shrink: Shrink | None = None,
    ) -> dict[Ref, Row]:
        return {ref: self._row(self._rows[ref], paths, shrink or {}) for ref in refs if ref in self._rows}

    def _row(self, row: Row, paths: Sequence[str], shrink: Shrink) -> Row:
        values: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for path in paths:
            manager, slash, _rest = path.partition("/")
            for each in (manager, path) if slash else (path,):
                array, key = self._within.get(each, ("", ""))
                source = array or each
                if source in row.missing:
                    missing[each] = row.missing[source]
                if source not in row.values:
                    continue
                value = row.values[source]
                if isinstance(value, _Array):
                    value = value.elements
                if array:
                    element = next((element for element in value if element.get("key") == key), None)
                    if element is not None:
                        values[each] = element
                    continue
                function = shrink.get(_server_path(each))
                if function and each not in self._shrunk:
                    try:
                        value = function(value)
                    except (LookupError, TypeError, ValueError, AttributeError):
                        missing[each] = NOT_UNDERSTOOD
                        continue
                values[each] = value
        return Row(row.ref, values, missing)


def _shared(wishes: Iterable[Wish], never: set[str]) -> dict[str, Callable[[Any], Any]]:
    """What all who read a path make of it alike, so that it can be done as the objects come. ``never``: paths as the server
    knows them."""
    made: dict[str, set[Any]] = {}
    for wish in wishes:
        for path in wish.paths:
            made.setdefault(_server_path(path), set()).add(wish.shrink.get(_server_path(path)))
    alike = {path: functions.pop() for path, functions in made.items() if len(functions) == 1 and path not in never}
    return {path: alike[_server_path(path)] for wish in wishes for path in wish.paths if alike.get(_server_path(path))}


def _kept(keys: set[str] | None, tell: Callable[[Any], Any] | None) -> Callable[[Any], _Array]:
    def kept(array: Any) -> _Array:
        elements = array if keys is None else [element for element in array if element.get("key") in keys]
        return _Array(elements, tell(array) if tell else None)

    return kept

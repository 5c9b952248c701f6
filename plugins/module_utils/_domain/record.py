# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record of the state before, as a file that people may have touched. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .errors import BadInput

EntryT = TypeVar("EntryT")


def entries_of(data: Any, form: str, key: str, noun: str, what: str, read: Callable[[Mapping[str, Any]], EntryT]) -> tuple[EntryT, ...]:
    """The entries under ``key`` of a record of a form, each a ``noun``; ``what`` it is a record of. Raises BadInput with the place."""
    hint = "Use a file that a run with backup: true has written."
    if not isinstance(data, Mapping) or data.get("format") != form:
        raise BadInput(f"the file in restore is no record of {what}", hint=hint)
    where = "it"
    try:
        found = []
        for number, entry in enumerate(data[key], 1):
            where = f"{noun} {number}"
            where = f"{noun} {entry['name']}"
            found.append(read(entry))
    except KeyError as problem:
        raise BadInput(f"the file in restore is damaged: {where} has no {problem}", hint=hint) from problem
    except (TypeError, AttributeError, ValueError) as problem:
        raise BadInput(f"the file in restore is damaged: {where}: {problem}", hint=hint) from problem
    return tuple(found)


def exactly(kind: type, value: Any) -> Any:
    """A file that people have touched may say "false", which is true to Python and would open what it means to close."""
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value

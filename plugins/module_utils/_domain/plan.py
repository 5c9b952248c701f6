# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a planner returns: findings about a state, and the writes that would mend it. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, TypeVar

LEVELS = ("error", "warning", "note")

StateT = TypeVar("StateT")


class Change(Protocol):
    """One write, small and named. Implementations are frozen dataclasses.

    One with ``even_after_failure = True`` is tried although an earlier change of the target failed: it puts back what
    an earlier one took away. One with ``fallback = True`` is tried only if the server refused an earlier one, and makes up
    for what was not made before it; with both, it is tried if a fallback before it was.
    One with ``takes_back``, a class of changes, is tried although a later one was refused, if one of that class was made.
    """

    def applied_to(self, state: Any) -> Any:
        """The state as it should read once this change is made; never the same state."""

    def describe(self) -> dict[str, Any]:
        """``{"change": name, ...arguments}``: plain values, no secrets."""


@dataclass(frozen=True)
class Finding:
    """One fact about a target that somebody should know.

    ``code`` is stable and documented; ``text`` carries the evidence of this case; ``hint`` is the next step.
    An ``error`` means: not as it should be, and this module will not or cannot mend it. ``lasting``: it is about what
    the plan does, so carrying the plan out does not mend it.
    """

    level: str
    code: str
    text: str
    hint: str
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    def describe(self, status: str) -> dict[str, str]:
        """Without the hint, which is the same for every target and is told once a run."""
        return {"level": self.level, "code": self.code, "text": self.text, "status": status}


@dataclass(frozen=True)
class Meaning:
    """What a finding's code stands for; the documentation of findings is made from these."""

    level: str
    means: str
    hint: str
    source: str
    lasting: bool = False

    def found(self, code: str, text: str, *, level: str = "") -> Finding:
        return Finding(level or self.level, code, text, self.hint, self.lasting)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``after``: object ids of the targets whose changes have to be made before these, because they make room, or have to be back.
    ``predicted``: the state once all is made as planned, without any fallback."""

    observed: Any
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def expected(self) -> tuple[Change, ...]:
        """What is made unless the server refuses some of it."""
        return tuple(change for change in self.changes if not is_fallback(change))

    @property
    def predicted(self) -> Any:
        return with_changes(self.observed, self.expected)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")


def is_fallback(change: Change) -> bool:
    """By its class: a change may have a field of that name, with a meaning of its own."""
    return getattr(type(change), "fallback", None) is True


def with_changes(state: StateT, changes: Iterable[Change]) -> StateT:
    """The state as it should read once all of these changes are made."""
    for change in changes:
        state = change.applied_to(state)
    return state


def described(change: Any) -> dict[str, Any]:
    """The default for ``Change.describe``: the class name in snake case, then the fields that are set."""
    name = "".join("_" + c.lower() if c.isupper() else c for c in type(change).__name__).lstrip("_")
    return {"change": name, **{f.name: plain(v) for f in fields(change) if (v := getattr(change, f.name)) is not None}}


def plain(value: Any) -> Any:
    """Frozen values as what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run comes to, target by target. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._client.inventory import Target
from .._client.properties import Row
from .._domain.errors import CutOff, EndpointUnreachable, FleetcareError, NotConverged
from .._domain.plan import Change, Plan
from .feature import Feature


@dataclass
class Entry:
    """What became of one target. ``stuck`` and ``back``: what kept a step back from being made, and whether it helped.
    ``watched``: its last change was looked for and seen; ``silent``: seen by the endpoint's falling silent.
    ``instead`` and ``because``: where a fallback was tried, what the plan has become, and what was refused before."""

    target: Target
    row: Row | None = None
    plan: Plan | None = None
    tried: bool = False
    unanswered: bool = False
    silent: bool = False
    watched: bool = False
    done: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)
    instead: tuple[Change, ...] | None = None
    because: str = ""
    stuck: str = ""
    back: bool = False
    read_back: bool = False
    final: Plan | None = None
    failure: FleetcareError | None = None

    @property
    def unknown(self) -> bool:
        """Whether a write may have taken effect unseen: it was not read back, or a slow host may still be at it."""
        unseen = self.tried and not self.read_back and isinstance(self.failure, (EndpointUnreachable, NotConverged, CutOff))
        return self.unanswered or unseen

    @property
    def planned(self) -> tuple[Change, ...]:
        return self.plan.changes if self.plan else ()

    @property
    def due(self) -> tuple[Change, ...]:
        """What of the plan is to be made as things stand: a fallback only once it is needed."""
        expected = self.plan.expected if self.plan else ()
        return expected if self.instead is None else self.instead

    def differs(self, settings: Callable[[Any], Any]) -> bool | None:
        """Whether what was read last is set otherwise than what was read first; None where one of them is not known."""
        if self.plan is None or self.final is None:
            return None
        return bool(settings(self.plan.observed) != settings(self.final.observed))


@dataclass
class Outcome:
    """Everything a result is made of. ``whole``: the endpoint's own entry, of a feature that has one."""

    feature: Feature
    wanted: Any
    check: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    whole: Entry | None = None
    seen: Any = None
    endpoint: dict[str, Any] = field(default_factory=dict)
    waves: list[dict[str, Any]] = field(default_factory=list)
    backup_file: str = ""
    overview: dict[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @property
    def plans(self) -> dict[str, Plan]:
        """What there is to say of each target, of a check run as of another one."""
        plans = {name: entry.plan if self.check else entry.final for name, entry in self.entries.items()}
        return {name: plan for name, plan in plans.items() if plan}

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes about after a write without a task that tells it: seen by looking, at all targets with one bulk read a look.
Private to this collection.

A host that boots is no task's business: connected directly to it, the client never hears of success and simply loses its
connection (vSphere API reference, HostSystem.RebootHost and ShutdownHost). So an endpoint that is away is nothing but one
more thing that was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._domain.errors import EndpointUnreachable, FleetcareError, HostUnreachable, Interrupted, TargetUnknown, TimedOut
from .properties import read_rows
from .session import Session
from .tasks import wait_for_tasks
from .vmomi import Ref

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_GROWTH = 1.5
BEGINS_WITHIN = 60.0
_TASK = ("info.state",)


@dataclass(frozen=True)
class Sight:
    """What one look shows: whether the condition is met, in words what was seen, whether anything of it has begun."""

    met: bool
    seen: str
    begun: bool = True


@dataclass
class Condition:
    """Something to wait for. ``judge`` gets the values of ``paths`` of ``ref``, or None where the endpoint did not answer.

    ``within``: seconds. Where the answer to the write was lost it may show no sign of having begun for BEGINS_WITHIN.
    ``task``: what the write started, if it is known: one that ends with an error ends the waiting; with ``task_ends`` the server
    has to be done with it, too: it may refuse the next write until then (fault TaskInProgress).
    ``lost``: what the write ended with where its answer did not come. ``silent``: whether the condition was met by the endpoint's
    silence, which after a lost answer is no sign of anything: both may come of a network that is cut.
    """

    ref: Ref
    paths: Sequence[str]
    judge: Callable[[Mapping[str, Any] | None], Sight]
    what: str
    within: float
    task: Ref | None = None
    task_ends: bool = False
    lost: FleetcareError | None = None
    seen: str = "nothing"
    begun: bool = False
    silent: bool = False
    hint: str = ""
    _ends: float = field(default=0.0, repr=False)
    _must_begin: float = field(default=0.0, repr=False)

    def start(self) -> None:
        now = time.monotonic()
        self._ends = now + self.within
        self._must_begin = now + min(self.within, BEGINS_WITHIN)

    def look(self, values: Mapping[str, Any] | None) -> bool:
        sight = self.judge(values)
        self.seen, self.begun = sight.seen, self.begun or sight.begun
        self.silent = sight.met and values is None
        return sight.met and not (self.silent and self.lost)

    def overdue(self) -> FleetcareError | None:
        now = time.monotonic()
        if self.lost and not self.begun and now >= self._must_begin:
            problem = self.lost
            problem.cause = (
                f"{problem.cause.rstrip('. ')}; in {min(self.within, BEGINS_WITHIN):g} s nothing was seen of {self.what}: {self.seen}"
            )
            return problem
        if now >= self._ends:
            return TimedOut(f"{self.what} did not come about within {self.within:g} s; last seen: {self.seen}", hint=self.hint)
        return None


def wait_for_conditions(session: Session, conditions: Sequence[Condition]) -> list[FleetcareError | None]:
    """For each condition None once it is met, or the error that ended the waiting: its task's, TimedOut with what was seen
    last, Interrupted where the run has to stop."""
    outcome: dict[int, FleetcareError | None] = {}
    waiting = dict(enumerate(conditions))
    for condition in conditions:
        condition.start()
    pause = _FIRST_PAUSE
    while waiting:
        # In the moment of a stop one more look is worth its time: what was written is on its way.
        stopped = bool(session.guard.reason)
        rows: dict[Ref, Any] = {}
        away: FleetcareError | None = None
        try:
            rows = read_rows(session, *_asked(waiting.values()))
        except EndpointUnreachable as problem:
            away = problem
        except TargetUnknown as problem:
            # A host that has booted knows none of its tasks any more, and some releases refuse the whole call for one.
            if not any(condition.task for condition in waiting.values()):
                return [outcome.get(number, problem) if number not in waiting else problem for number in range(len(conditions))]
            for condition in waiting.values():
                condition.task = None
            continue
        except FleetcareError as problem:
            return [outcome.get(number, problem) if number not in waiting else problem for number in range(len(conditions))]
        for number, condition in list(waiting.items()):
            row = rows.get(condition.ref)
            ended = _ended_badly(session, rows, condition)
            if ended is not None:
                outcome[number] = ended
            elif condition.look(None if away else row.values if row else {}) and not _is_at_it(rows, condition):
                outcome[number] = None
            else:
                overdue = condition.overdue()
                if overdue is None and stopped:
                    overdue = Interrupted(
                        f"{condition.what} had not come about, because {session.guard.reason}; last seen: {condition.seen}"
                    )
                    overdue.hint = condition.hint or overdue.hint
                if overdue is None:
                    continue
                outcome[number] = overdue
            del waiting[number]
        if waiting:
            session.guard.pause(min(pause, max(0.05, min(item._ends for item in waiting.values()) - time.monotonic())))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    return [outcome[number] for number in range(len(conditions))]


def _asked(conditions: Any) -> tuple[dict[str, list[str]], list[Ref]]:
    paths: dict[str, list[str]] = {}
    refs: dict[Ref, None] = {}
    for condition in conditions:
        refs[condition.ref] = None
        known = paths.setdefault(condition.ref.type, [])
        known += [path for path in condition.paths if path not in known]
        if condition.task is not None:
            refs[condition.task] = None
            paths[condition.task.type] = list(_TASK)
    return paths, list(refs)


def _is_at_it(rows: Mapping[Ref, Any], condition: Condition) -> bool:
    row = rows.get(condition.task) if condition.task and condition.task_ends else None
    return row is not None and row.values.get("info.state") in ("queued", "running")


def _ended_badly(session: Session, rows: Mapping[Ref, Any], condition: Condition) -> FleetcareError | None:
    row = rows.get(condition.task) if condition.task else None
    if row is None or row.values.get("info.state") != "error":
        return None
    came = wait_for_tasks(session, [row.ref])[row.ref]
    if not isinstance(came, HostUnreachable):
        return came if isinstance(came, FleetcareError) else None
    # A host that goes down while vCenter talks to it ends the task with an error, and goes down all the same.
    condition.task, condition.lost = None, condition.lost or came
    return None

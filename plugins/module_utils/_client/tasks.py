# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of the server, awaited together with one property filter. Private to this collection."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterable
from typing import Any

from .._domain.errors import FleetcareError, Interrupted, TimedOut
from . import vmomi
from .faults import error_from
from .guard import GRACE
from .session import Session
from .vmomi import Ref

# How long one WaitForUpdatesEx may sleep on the server: short enough to notice a stop, long enough to be few calls.
_SLICE = 10
# Tasks of one filter: a request of a thousand objects would be a hundred kilobytes.
_BATCH = 500
# Hundreds of tasks end one by one, each an update of its own: what ends meanwhile is told together.
_PAUSES = (0.1, 0.2, 0.4, 0.8)
_LONGEST_PAUSE = 1.0
_TURN = threading.Lock()


def wait_for_tasks(session: Session, tasks: Iterable[Ref], *, timeout: float = math.inf) -> dict[Ref, Any]:
    """The result of each task, or the error it ended with: TimedOut where it still ran after ``timeout`` s or could not be
    followed, Interrupted where it still ran when the run had to stop.

    One thread after the other: a session has one collector, and two who wait at it take each other's news.
    """
    with _TURN:
        return _wait(session, tasks, timeout)


def wait_for_task(session: Session, task: Ref, *, timeout: float = math.inf) -> Any:
    """The result of one task. Raises the error it ended with, as ``wait_for_tasks`` has it."""
    came = wait_for_tasks(session, [task], timeout=timeout)[task]
    if isinstance(came, FleetcareError):
        raise came
    return came


def ref_of(result: Any) -> Ref | None:
    """The managed object that a task's result is, if it is one."""
    moid = getattr(result, "_moId", None)
    return None if moid is None else Ref(type(result).__name__.rpartition(".")[2], moid)


def _wait(session: Session, tasks: Iterable[Ref], timeout: float) -> dict[Ref, Any]:
    outcome: dict[Ref, Any] = {}
    open_tasks = dict.fromkeys(tasks)
    ends = time.monotonic() + timeout
    lost = ""
    for _try in range(2 if open_tasks else 0):  # from the start again where the filter went away with a session
        try:
            _watch(session, open_tasks, outcome, ends)
            break
        except FleetcareError as problem:
            lost = problem.cause
    for ref in open_tasks:
        outcome[ref] = _unfinished(session, f"could not be followed: {lost}" if lost else f"was still running after {timeout:g} s")
    return outcome


def _watch(session: Session, open_tasks: dict[Ref, None], outcome: dict[Ref, Any], ends: float) -> None:
    """Move tasks to the outcome as they end, until all have, or time is over."""
    query = vmomi.vmodl.query.PropertyCollector
    properties = query.PropertySpec(type=vmomi.vim.Task, pathSet=["info.state", "info.error", "info.result"])
    collector = Ref("PropertyCollector", session.content.propertyCollector._moId)
    objects = [query.ObjectSpec(obj=session.managed(ref)) for ref in open_tasks]
    filters: list[Ref] = []
    version = ""
    pauses = iter(_PAUSES)
    try:
        for start in range(0, len(objects), _BATCH):
            spec = query.FilterSpec(propSet=[properties], objectSet=objects[start : start + _BATCH])
            made = session.read(collector, "CreateFilter", spec=spec, partialUpdates=False)
            filters.append(Ref("PropertyFilter", made._moId))
        while open_tasks and (left := _left(session, ends)) > 0:
            # The server must answer before the connection's own time-out strikes.
            wait = max(1, round(min(_SLICE, session.endpoint.read_timeout / 2, session.guard.remaining(left))))
            update = session.read(collector, "WaitForUpdatesEx", version=version, options=query.WaitOptions(maxWaitSeconds=wait))
            if update is None:
                continue
            version = update.version
            for change in (item for part in update.filterSet or () for item in part.objectSet or ()):
                ref = Ref("Task", change.obj._moId)
                values = {item.name: item.val for item in change.changeSet or ()}
                if ref in open_tasks and values.get("info.state") in ("success", "error"):
                    del open_tasks[ref]
                    outcome[ref] = (
                        values.get("info.result")
                        if values["info.state"] == "success"
                        else error_from(getattr(values.get("info.error"), "fault", values.get("info.error")))
                    )
            if open_tasks:
                session.guard.pause(max(0.0, min(next(pauses, _LONGEST_PAUSE), ends - time.monotonic())))
    finally:
        for each in filters:
            with contextlib.suppress(FleetcareError):  # it ends with the session; what became of the tasks is known
                session.read(each, "DestroyPropertyFilter")


def _left(session: Session, ends: float) -> float:
    """Seconds to wait. A task is a write that is on its way: after a stop it gets half of the grace to end."""
    guard = session.guard
    if guard.reason and not session.is_rescuing:
        ends = min(ends, guard.stopped_at + GRACE / 2)
    return ends - time.monotonic()


def _unfinished(session: Session, why: str) -> FleetcareError:
    if session.guard.reason:
        return Interrupted(f"its task was still running, because {session.guard.reason}")
    return TimedOut(f"its task {why}", hint="It goes on on the server; look at it in vCenter's task list.")

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of the server, awaited together with one property filter. Private to this collection."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .._domain.errors import FleetcareError, Interrupted, TimedOut
from . import vmomi
from .faults import error_from
from .session import Session
from .vmomi import Ref

# How long one WaitForUpdatesEx may sleep on the server: short enough to notice a stop, long enough to be few calls.
_SLICE = 10


def wait_for_tasks(session: Session, tasks: Iterable[Ref], *, timeout: float) -> dict[Ref, Any]:
    """The result of each task, or the error it ended with; TimedOut for those still running after ``timeout`` s."""
    open_tasks = set(tasks)
    outcome: dict[Ref, Any] = {}
    if not open_tasks:
        return outcome
    query = vmomi.vmodl.query.PropertyCollector
    spec = query.FilterSpec(
        propSet=[query.PropertySpec(type=vmomi.vim.Task, pathSet=["info.state", "info.error", "info.result"])],
        objectSet=[query.ObjectSpec(obj=session.managed(ref)) for ref in open_tasks],
    )
    collector = Ref("PropertyCollector", session.content.propertyCollector._moId)
    made = session.read(collector, "CreateFilter", spec=spec, partialUpdates=False)
    ends = time.monotonic() + timeout
    version = ""
    try:
        while open_tasks and time.monotonic() < ends and (session.is_rescuing or not session.guard.reason):
            # The server must answer before the connection's own time-out strikes.
            wait = max(1, round(min(_SLICE, session.endpoint.read_timeout / 2, session.guard.remaining(ends - time.monotonic()))))
            update = session.read(collector, "WaitForUpdatesEx", version=version, options=query.WaitOptions(maxWaitSeconds=wait))
            if update is None:
                continue
            version = update.version
            for change in (item for part in update.filterSet or () for item in part.objectSet or ()):
                ref = Ref("Task", change.obj._moId)
                values = {item.name: item.val for item in change.changeSet or ()}
                if ref in open_tasks and values.get("info.state") in ("success", "error"):
                    open_tasks.discard(ref)
                    outcome[ref] = (
                        values.get("info.result")
                        if values["info.state"] == "success"
                        else error_from(getattr(values.get("info.error"), "fault", values.get("info.error")))
                    )
    finally:
        session.read(Ref("PropertyFilter", made._moId), "DestroyPropertyFilter")
    for ref in open_tasks:
        outcome[ref] = _unfinished(session, timeout)
    return outcome


def _unfinished(session: Session, timeout: float) -> FleetcareError:
    if session.guard.reason:
        return Interrupted(f"its task was still running, because {session.guard.reason}")
    return TimedOut(f"its task was still running after {timeout:g} s", hint="It goes on on the server; look at it in vCenter's task list.")

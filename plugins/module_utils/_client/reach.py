# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether hosts can still be reached after a change that might have cut them off. Private to this collection.

A connection that stands proves nothing: what a firewall newly shuts is seen by connections made after it. So a
stand-alone host is asked over a new one, and vCenter is made to try one (QueryConnectionInfo with a thumbprint that is
nobody's: the host answers, vCenter refuses its certificate, and no user name is ever sent). A host whose heartbeats
are blocked stays connected for 60 s (Broadcom KB 323612); only waiting shows that.

All of this goes on in the grace after a stop, too: what was written just before is what has to be looked after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from .._domain.errors import FleetcareError
from .fanout import fan_out
from .inventory import Target
from .properties import collect
from .session import Session
from .tasks import wait_for_tasks
from .vmomi import Ref

_NOBODYS = ":".join(["00"] * 20)
_STATE = "runtime.connectionState"


def look(session: Session, targets: Sequence[Target], parallel: int, *, anew: Iterable[Target] = ()) -> dict[Target, str]:
    """Which of these cannot be reached now, and what was seen. ``anew``: those that a new connection is tried to."""
    wanted = set(anew)
    if not session.is_vcenter:
        problem = session.knock() if wanted else None
        return {} if problem is None else dict.fromkeys(targets, f"takes no new connection ({problem.cause})")
    states = _states(session, targets)
    lost = {target: f"is {state} in vCenter" for target, state in states.items() if state != "connected"}
    tried = [target for target in targets if target in wanted and target not in lost]
    for target, told in fan_out(tried, lambda target: _tried(session, target), parallel=parallel, guard=None).items():
        if isinstance(told, str):
            lost[target] = told
    return lost


def _states(session: Session, targets: Sequence[Target]) -> dict[Target, str]:
    rows = collect(session, [target.ref for target in targets], [_STATE])
    return {target: rows[target.ref].values.get(_STATE, "unknown") if target.ref in rows else "gone" for target in targets}


def _tried(session: Session, target: Target) -> str | None:
    """What a new connection of vCenter's to the host ended with, if it could not be made."""
    if target.datacenter is None:
        return None
    try:
        session.read(
            target.datacenter,
            "QueryConnectionInfo",
            hostname=target.name,
            port=443,
            username="",
            password="",
            sslThumbprint=_NOBODYS,
        )
    except FleetcareError as problem:
        # NoHost is said of a name that nobody answers at; any other fault is an answer, or says nothing of the way.
        return "takes no new connection of vCenter's (NoHost)" if problem.fault == "NoHost" else None
    return None


def reconnect(session: Session, targets: Sequence[Target], parallel: int, seconds: float) -> None:
    """Let vCenter take up again those of these hosts that it has dropped: it can for as long as tcp/443 gets through, and
    it holds for a minute. Never raises: where it cannot, the next call tells."""
    if not session.is_vcenter:
        return
    with contextlib.suppress(FleetcareError):
        away = [target for target, state in _states(session, targets).items() if state != "connected"]
        started = fan_out(away, lambda target: session.write(target.path, target.ref, "ReconnectHost_Task"), parallel=parallel, guard=None)
        # Awaited together: a session has one collector, and two who wait at it take each other's news.
        tasks = [Ref("Task", task._moId) for task in started.values() if not isinstance(task, FleetcareError)]
        wait_for_tasks(session, tasks, timeout=seconds)

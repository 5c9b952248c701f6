# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether hosts can still be reached after a change that might have cut them off. Private to this collection.

A connection that stands proves nothing: what a firewall newly shuts is seen by connections made after it. So a
stand-alone host is asked over a new one, and vCenter is made to try one (QueryConnectionInfo with a thumbprint that is
nobody's: the host answers, vCenter refuses its certificate, and no user name is ever sent). A host whose heartbeats
are blocked stays connected for 60 s (Broadcom KB 323612); only waiting shows that.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

from .._domain.errors import EndpointUnreachable, FleetcareError, TimedOut
from .fanout import fan_out
from .inventory import Target
from .properties import collect
from .session import Session
from .tasks import wait_for_tasks
from .vmomi import Ref

_PAUSE = 1.0
_NOBODYS = ":".join(["00"] * 20)
_STATE = "runtime.connectionState"


def watch(session: Session, targets: Iterable[Target], seconds: float, parallel: int) -> Iterator[dict[Target, str]]:
    """Look at once, then every second until ``seconds`` are over; each look that finds lost ones yields them, with what
    was seen. They are not looked at again.

    vCenter makes its new connections for the first and the last look: a thousand of them every second would be an attack.
    """
    left = list(targets)
    ends = time.monotonic() + seconds
    first = True
    while left:
        last = time.monotonic() >= ends
        lost = look(session, left, parallel, fresh=first or last)
        first = False
        if lost:
            yield lost
            left = [target for target in left if target not in lost]
        if last or not left or not session.guard.pause(min(_PAUSE, max(0.05, ends - time.monotonic()))):
            return


def look(session: Session, targets: list[Target], parallel: int, *, fresh: bool = True) -> dict[Target, str]:
    """Which of these cannot be reached now, and what was seen. ``fresh``: vCenter tries a new connection to each."""
    if not session.is_vcenter:
        problem = session.knock()
        return {} if problem is None else dict.fromkeys(targets, f"takes no new connection ({problem.cause})")
    states = _states(session, targets)
    lost = {target: f"is {state} in vCenter" for target, state in states.items() if state != "connected"}
    tried = [target for target in targets if fresh and target not in lost]
    seen = fan_out(tried, lambda target: _tried(session, target), parallel=parallel, guard=session.guard)
    lost.update({target: told for target, told in seen.items() if isinstance(told, str)})
    return lost


def _states(session: Session, targets: list[Target]) -> dict[Target, str]:
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


def reconnect(session: Session, target: Target, seconds: float) -> None:
    """Let vCenter take the host up again if it has dropped it: it can for as long as tcp/443 gets through, and it holds
    for a minute. Where it cannot, the next call tells."""
    if session.is_vcenter and _states(session, [target])[target] != "connected":
        with contextlib.suppress(FleetcareError):
            task = session.write(target.path, target.ref, "ReconnectHost_Task")
            wait_for_tasks(session, [Ref("Task", task._moId)], timeout=seconds)


def comes_back(session: Session, target: Target, seconds: float) -> bool:
    """Whether the host can be reached again within ``seconds``."""
    ends = time.monotonic() + seconds
    while True:
        try:
            if not look(session, [target], 1):
                return True
        except (EndpointUnreachable, TimedOut):
            pass  # what the host's own firewall shut may be the endpoint itself, which comes back, too
        if time.monotonic() >= ends or not session.guard.pause(0.5):
            return False

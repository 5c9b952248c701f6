# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that a change may have cut off: seen in time, and taken back. Private to this collection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from .._client import reach
from .._client.fanout import fan_out
from .._client.guard import GRACE
from .._client.inventory import Target
from .._client.session import Session
from .._domain.errors import CutOff, EndpointUnreachable, FleetcareError, HostUnreachable, TimedOut, Unverified, cause_of
from .._domain.plan import Change
from .feature import Feature
from .outcome import Entry

_PAUSE = 1.0
_TRIES = 3
_LOOK = "Look at the plan (--check --diff) and at who reaches the host over which port."
_BY_HAND = "Open the way at the host's console (esxcli network firewall set --enabled false), put the rules right, and switch it on again."


class WayBack:
    """``seconds``: how long the hosts of a wave are watched after their changes; 0 for not at all."""

    def __init__(self, session: Session, feature: Feature, seconds: float, parallel: int) -> None:
        self.session = session
        self.feature = feature
        self.seconds = seconds if feature.undo else 0.0
        self.parallel = parallel
        self._sighted: set[Target] = set()

    def before(self, targets: Sequence[Target]) -> None:
        """Where a new connection fails already, for a reason of its own, its failing later says nothing."""
        if self.seconds and targets:
            self._sighted = set(targets) - set(reach.look(self.session, targets, self.parallel, anew=targets))

    def after(self, entries: Sequence[Entry]) -> list[Entry]:
        """Watch hosts that were written to. Those that were lost are returned, with the steps back made; what became
        of them is to be read back, and then told by ``judge``."""
        left = {entry.target: entry for entry in entries if entry.tried}
        if not (left and self.seconds):
            return []
        guard = self.session.guard
        ends = time.monotonic() + self.seconds
        first = True
        gone: list[Entry] = []
        try:
            while left:
                over = time.monotonic() >= ends
                last = over or bool(guard.reason)
                # A new connection to each, the first time and the last: a thousand every second would be an attack.
                anew = self._sighted if first or last or not self.session.is_vcenter else ()
                lost = reach.look(self.session, list(left), self.parallel, anew=anew)
                first = False
                if lost:
                    taken = [left.pop(target) for target in lost]
                    gone += taken
                    self._take_back(taken, lost)
                if last:
                    break
                guard.pause(min(_PAUSE, max(0.05, ends - time.monotonic())))
        except Exception as problem:  # whatever it is, what was written has to be told
            self._unverified(left.values(), f"could not be watched: {cause_of(problem)}", getattr(problem, "hint", ""))
            return gone
        if not over:
            self._unverified(left.values(), f"was reachable, and was not watched to the end, because {guard.reason}", "")
        return gone

    @staticmethod
    def _unverified(entries: Iterable[Entry], cause: str, hint: str) -> None:
        for entry in entries:
            seen = Unverified(f"after its changes it {cause}", target=entry.target.name, hint=hint or "Look at the host's connection.")
            entry.failure = entry.failure or seen

    def _take_back(self, entries: Sequence[Entry], lost: dict[Target, str]) -> None:
        """All at once, and only then wait for all of them together: each second counts."""
        by_target = {entry.target: entry for entry in entries}
        for entry in entries:
            count = len(entry.done) or 1
            entry.failure = CutOff(f"after {count} change{'s' if count > 1 else ''} it {lost[entry.target]}", target=entry.target.name)
            entry.read_back = entry.unanswered = False
        with self.session.rescuing():
            reach.reconnect(self.session, list(by_target), self.parallel, GRACE)
            fan_out(by_target, lambda target: self._undo(by_target[target]), parallel=self.parallel, guard=None)
        self._wait_for(entries)

    def _undo(self, entry: Entry) -> None:
        """Every step, whatever becomes of the others. The change that failed may have been made all the same."""
        made = entry.due[: len(entry.done) + 1]
        steps = self.feature.undo(entry.plan.observed, made) if self.feature.undo and entry.plan else ()
        for step in steps:
            if self._is_made(entry, step):
                entry.undone.append(step)

    def _is_made(self, entry: Entry, step: Change) -> bool:
        """A step says how it shall be, so where its answer is lost it may be said again."""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(0.2)
            try:
                self.feature.translation.apply(self.session, entry.target, entry.row, step)  # type: ignore[arg-type]
            except FleetcareError as problem:
                entry.stuck = problem.cause
                if not isinstance(problem, (EndpointUnreachable, HostUnreachable, TimedOut)):
                    return False
            else:
                return True
        return False

    def _wait_for(self, entries: Sequence[Entry]) -> None:
        away = [entry.target for entry in entries]
        ends = time.monotonic() + max(self.seconds, GRACE)
        while away:
            try:
                away = list(reach.look(self.session, away, self.parallel, anew=self._sighted & set(away)))
            except FleetcareError:
                pass  # the endpoint may be the host itself, which comes back, too
            if time.monotonic() >= ends or (away and not self.session.guard.pause(0.5)):
                break
        for entry in entries:
            entry.back = entry.target not in away

    def judge(self, entries: Sequence[Entry]) -> None:
        """Only what was read back counts: an answer that was lost may have been a success."""
        for entry in entries:
            if not isinstance(entry.failure, CutOff):
                continue
            as_before = entry.read_back and entry.differs(self.feature.domain.settings) is False
            if as_before:
                entry.done = []
                told = "everything was taken back"
            else:
                seen = "it did not keep what it had before" if entry.read_back else "what it has now could not be read"
                told = f"it could not be taken back: {entry.stuck or seen}"
            entry.failure.cause += f"; {told} and it is {'reachable again' if entry.back else 'still not reachable'}"
            entry.failure.hint = _LOOK if entry.back and as_before else _BY_HAND

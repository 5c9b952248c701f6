# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run changes of the endpoint itself, before its hosts and after them. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._client.inventory import Target
from .._client.session import Session
from .._client.tasks import wait_for_task
from .._client.vmomi import Ref
from .._domain.errors import EndpointUnreachable, FleetcareError, Interrupted, NotConverged, TimedOut, cause_of
from .._domain.plan import Change, Plan, is_fallback
from .feature import Whole
from .outcome import Entry, Outcome

AMBIGUOUS = (EndpointUnreachable, TimedOut, Interrupted)
# vCenter learns of a change on a host with a short delay; a read-back that comes too early is repeated.
READ_BACK_PAUSES = (0.2, 0.5, 1.0, 2.0)


def entry_for(name: str) -> Entry:
    return Entry(Target(ref=Ref("ServiceInstance", "ServiceInstance"), name=name, connection="connected"))


def _is_last(change: Change) -> bool:
    return bool(getattr(change, "last", False))


class AtEndpoint:
    """``survey``: judge the states of all hosts as they were read last, in the light of what was sent to the endpoint and of
    whether the hosts are done; if asked, after another look at the endpoint."""

    def __init__(self, whole: Whole, outcome: Outcome, session: Session, survey: Callable[[Sequence[Change], bool, bool], None]) -> None:
        self.whole = whole
        self.outcome = outcome
        self.session = session
        self.survey = survey
        self.entry = outcome.whole = entry_for(session.endpoint.name)
        self.sent: list[Change] = []
        self.over = False

    def plan(self) -> None:
        self.entry.plan = self.entry.final = self._planned()
        if self.outcome.check:
            self.entry.final = Plan(observed=self.entry.plan.predicted, findings=self.entry.plan.findings)

    def before(self) -> bool:
        """What hosts need; one that is refused keeps no other from being made. False where nobody knows what came of it."""
        changes = [change for change in self.entry.planned if not _is_last(change)]
        self._write(changes)
        return not changes or self._settle(lambda change: not _is_last(change))

    def after(self) -> None:
        """What can be done only once the hosts are done; planned anew, for not all of them may be."""
        self.over = True
        if any(map(_is_last, self.entry.planned)):
            if self._look():
                self._write([change for change in self._planned().changes if _is_last(change)])
            self._settle(lambda change: True)
        else:
            self.survey(tuple(self.sent), True, False)
            self.entry.final = self._planned()

    def _planned(self) -> Plan:
        return self.whole.endpoint_plan(self.outcome.seen, self.outcome.wanted)

    def _look(self) -> bool:
        try:
            self.survey(tuple(self.sent), self.over, True)
        except Exception as problem:  # whatever it is, what was written has to be told
            self.entry.failure = self.entry.failure or NotConverged(
                f"what was written could not be read back: {cause_of(problem)}",
                target=self.entry.target.name,
                hint="Run the task with --check to see what is there.",
            )
            return False
        return True

    def _write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.entry.tried = True
            self.sent.append(change)
            try:
                task = self.outcome.feature.translation.apply(self.session, self.entry.target, self.entry.row, change)  # type: ignore[arg-type]
                if task and task.type == "Task":
                    wait_for_task(self.session, task)
            except FleetcareError as problem:
                problem.at(target=self.entry.target.name, doing=change.describe()["change"].replace("_", " "))
                self.entry.failure = self.entry.failure or problem
                if isinstance(problem, Interrupted):
                    break
            else:
                self.entry.done.append(change)

    def _settle(self, concerned: Callable[[Change], bool]) -> bool:
        """Look until what was sent holds, then judge: only what was read back counts. False where it could not be read."""
        left: list[Change] = []
        for pause in (0.0, *READ_BACK_PAUSES):
            if pause and not self.session.guard.pause(pause):
                break
            if not self._look():
                return False
            self.entry.read_back = True
            self.entry.final = self._planned()
            left = [change for change in self.entry.final.changes if concerned(change)]
            if not left or not self.sent:
                break
        entry = self.entry
        entry.done = [change for change in self.sent if change not in left]
        if isinstance(entry.failure, AMBIGUOUS) and not left:
            entry.failure = None
        elif left and entry.failure is None:
            entry.failure = not_kept(entry, "the server")
        return True


def not_kept(entry: Entry, who: str) -> NotConverged:
    """Every write was taken, and what was read back still asks for some. Where the feature knows why, that is said."""
    final = entry.final
    changes = final.changes if final else ()
    errors = final.errors if final else ()
    names = ", ".join(str(change.describe()["change"]) for change in changes if not is_fallback(change))
    if errors:
        return NotConverged(
            "; ".join(map(str, errors)), target=entry.target.name, hint=" ".join(dict.fromkeys(finding.hint for finding in errors))
        )
    return NotConverged(
        f"{who} took the change and did not keep it, still to do: {names}",
        target=entry.target.name,
        hint="Look for a host profile, a script or another user that sets it back.",
    )

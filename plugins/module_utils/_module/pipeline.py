# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over many hosts: select, read in bulk, plan, write, read back. Knows no Ansible. Private to this collection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._client import reach
from .._client.endpoint import Endpoint
from .._client.fanout import fan_out
from .._client.guard import GRACE, Guard
from .._client.inventory import Selection, Target, select_hosts
from .._client.properties import Row, collect
from .._client.session import Session
from .._domain.errors import (
    BadInput,
    CutOff,
    EndpointUnreachable,
    FleetcareError,
    HostUnreachable,
    Interrupted,
    NotCompliant,
    NotConverged,
    PermissionMissing,
    ServerFault,
    TargetUnknown,
    TimedOut,
)
from .._domain.plan import Change, Finding, Plan
from . import records
from .feature import Feature
from .waves import Progress, Waves

# vCenter learns of a change on a host with a short delay; a read-back that comes too early is repeated.
_READ_BACK_PAUSES = (0.2, 0.5, 1.0, 2.0)
_AMBIGUOUS = (EndpointUnreachable, TimedOut, Interrupted)
_BY_HAND = "Open the way at the host's console (esxcli network firewall set --enabled false), put the rules right, and switch it on again."


@dataclass
class Entry:
    """What became of one target."""

    target: Target
    row: Row | None = None
    plan: Plan | None = None
    tried: bool = False
    unanswered: bool = False
    done: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)
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


@dataclass
class Outcome:
    """Everything a result is made of."""

    feature: Feature
    wanted: Any
    check: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    seen: Any = None
    endpoint: dict[str, Any] = field(default_factory=dict)
    waves: list[dict[str, Any]] = field(default_factory=list)
    backup_file: str = ""
    secrets: tuple[str, ...] = ()


def execute(feature: Feature, params: Mapping[str, Any], *, check: bool, in_process: bool = False) -> Outcome:
    """Raises FleetcareError for what concerns the whole run; what concerns one target is in its entry.

    ``in_process``: the caller keeps its own signal handlers (tests).
    """
    if params.get("restore") is not None:
        params = {**params, "restore": records.read(params["restore"])}
    outcome = Outcome(feature, feature.domain.parse(params), check)
    selection = Selection.parse(params)
    endpoint = Endpoint.parse(params)
    for option, least, most in (("parallel", 1, 64), ("deadline", 1, 86400)):
        if not least <= params[option] <= most:
            raise BadInput(f"{option} {params[option]:g} is not between {least} and {most}", hint="Leave it out for the default.")
    verify = params.get("verify_reachable") or 0.0
    if not 0 <= verify <= 3600:
        raise BadInput(f"verify_reachable {verify:g} is not between 0 and 3600 seconds", hint="0 means: do not verify.")
    manner = _Manner(
        params["parallel"],
        Waves.parse(params),
        verify,
        params.get("backup_dir") if params.get("backup") else None,
        Progress(None if check else params.get("progress_file")),
    )
    guard = Guard(params["deadline"])
    if in_process:
        guard.watch()
    else:
        guard.watch_signals()
    session = Session(endpoint, guard, may_write=feature.writes and not check, probes=feature.translation.PROBES)
    try:
        with session:
            about = session.content.about
            outcome.endpoint = {"name": endpoint.name, "type": about.apiType, "version": about.version}
            _Run(outcome, session, manner).over(select_hosts(session, selection))
            _judge_findings(outcome)
    except FleetcareError as problem:
        problem.at(target="" if isinstance(problem, BadInput) else endpoint.name)
        raise
    finally:
        outcome.secrets = session.secrets
    return outcome


@dataclass(frozen=True)
class _Manner:
    """How the writes are made: how many hosts at a time, in which waves, with which precautions."""

    parallel: int
    waves: Waves
    verify: float
    backup_dir: str | None
    progress: Progress


class _Run:
    def __init__(self, outcome: Outcome, session: Session, manner: _Manner) -> None:
        self.outcome = outcome
        self.feature = outcome.feature
        self.wanted = outcome.wanted
        self.session = session
        self.manner = manner
        self.parallel = manner.parallel
        self.begun: list[Entry] = []

    def over(self, targets: list[Target]) -> None:
        names = Counter(target.name for target in targets)
        entries = {t.path if names[t.name] > 1 else t.name: Entry(t) for t in targets}
        self.outcome.entries = entries
        reachable = []
        for entry in entries.values():
            if entry.target.connection == "connected":
                reachable.append(entry)
            else:
                entry.failure = HostUnreachable(
                    f"vCenter says that the host is {entry.target.connection}",
                    target=entry.target.name,
                    hint="Reconnect it in vCenter, then run the task again for this host.",
                )
        read, common = self._look(reachable)
        self.outcome.seen = self.feature.domain.survey(read.values(), common, self.wanted)
        for entry in reachable:
            if id(entry) in read:
                entry.plan = entry.final = self._plan(read[id(entry)])
        self.session.guard.check()
        if self.outcome.check:
            for entry in reachable:
                if entry.planned and entry.plan:
                    entry.final = self._plan(entry.plan.predicted)
        elif self.feature.writes:
            self._change([entry for entry in reachable if entry.plan])

    def _plan(self, state: Any) -> Plan:
        return self.feature.domain.plan(state, self.wanted, self.outcome.seen)

    def _look(self, entries: list[Entry]) -> tuple[dict[int, Any], dict[str, Any]]:
        """Read all in bulk: the state by entry, and what was measured of the endpoint. An entry that cannot be read
        gets its failure."""
        known = {entry.target.ref: entry.row for entry in entries if entry.row and entry.plan}
        paths = self.feature.translation.properties(self.wanted)
        rows = collect(self.session, [entry.target.ref for entry in entries], paths, known, self.feature.translation.SHRINK)
        readable = []
        for entry in entries:
            entry.row = rows.get(entry.target.ref)
            problem = _unreadable(entry.row, paths)
            if problem is None:
                readable.append(entry)
            elif entry.failure is None:
                entry.failure = problem.at(target=entry.target.name, doing="reading its configuration")
        extra: dict[Any, Any] = {}
        if not self.session.guard.reason:
            by_target = {entry.target: entry.row for entry in readable if entry.row}
            extra = self.feature.translation.measure(self.session, by_target, self.wanted, self.parallel)
        states = {}
        for entry in readable:
            try:
                states[id(entry)] = self.feature.translation.observe(entry.row, extra.get(entry.target, {}))  # type: ignore[arg-type]
            except FleetcareError as problem:
                entry.failure = entry.failure or problem.at(target=entry.target.name)
            except (LookupError, TypeError, ValueError, AttributeError) as problem:
                entry.failure = entry.failure or ServerFault(
                    f"what it reports is not understood: {type(problem).__name__}: {problem}",
                    target=entry.target.name,
                    hint="Please report it with the host's version.",
                )
        return states, extra.get(None, {})

    def _change(self, entries: list[Entry]) -> None:
        """Wave by wave: write, see that the hosts are still there, read back; stop when too many failed."""
        todo = [entry for entry in entries if entry.planned]
        rest = [entry for entry in entries if not entry.planned]
        if todo and self.manner.backup_dir and self.feature.record:
            states = [self.feature.record(entry.plan.observed) for entry in todo if entry.plan]
            form = self.feature.record_form
            self.outcome.backup_file = records.write(self.manner.backup_dir, form, self.session.endpoint.name, states)
        waves = list(self.manner.waves.over(todo, len(self.outcome.entries)))
        for number, wave in enumerate(waves, 1):
            self.begun += wave
            self._write(wave)
            self._verify(wave)
            self._read_back([*wave, *rest] if len(waves) == 1 else wave)
            if self.manner.waves.sizes:
                told = self._wave_told(wave)
                self.outcome.waves.append(told)
                left = len(todo) - sum(wave["hosts"] for wave in self.outcome.waves)
                hosts = f"{told['hosts']} host{'s' if told['hosts'] != 1 else ''}"
                self.manner.progress.say(
                    f"wave {number} of {len(waves)}: {hosts}, {told['changed']} changed, {told['failed']} failed; {left} to go"
                )
            if self.session.guard.reason or self._enough():
                break
        if len(waves) != 1:
            self._read_back(rest)
        why = self.session.guard.reason or self._enough() or "no wave has room for it"
        for entry in todo[len(self.begun) :]:
            entry.failure = Interrupted(f"not started, because {why}", target=entry.target.name)

    @staticmethod
    def _wave_told(wave: list[Entry]) -> dict[str, Any]:
        begun = [entry for entry in wave if entry.tried or not isinstance(entry.failure, Interrupted)]
        failed = [entry for entry in begun if entry.failure]
        return {
            "hosts": len(begun),
            "changed": sum(bool(entry.done) for entry in wave),
            "failed": len(failed),
            "failed_hosts": [entry.target.name for entry in failed],
        }

    def _enough(self) -> str:
        """Why no further host is begun, if so."""
        most = self.manner.waves.max_failures
        if most is None:
            return ""
        failed = [entry for entry in self.begun if entry.failure and not isinstance(entry.failure, Interrupted)]
        if len(failed) <= most:
            return ""
        return f"{len(failed)} failed ({failed[0].target.name}{' and others' if len(failed) > 1 else ''}) and max_failures is {most}"

    def _write(self, entries: list[Entry]) -> None:
        by_target = {entry.target: entry for entry in entries}

        def work(target: Target) -> None:
            entry = by_target[target]
            why = self._enough()
            if why:
                raise Interrupted(f"not started, because {why}")
            try:
                write_all(target, entry)
            except FleetcareError as problem:
                entry.failure = problem.at(target=target.name)  # at once: max_failures counts it
                raise

        def write_all(target: Target, entry: Entry) -> None:
            problem: FleetcareError | None = None
            for change in entry.planned:
                if problem is not None and not getattr(change, "even_after_failure", False):
                    continue
                try:
                    self.feature.translation.apply(self.session, target, entry.row, change)  # type: ignore[arg-type]
                except FleetcareError as failed:
                    failed.at(target=target.name, doing=change.describe()["change"].replace("_", " "))
                    problem = problem or failed
                else:
                    entry.done.append(change)
            if problem is not None:
                raise problem

        for target, result in fan_out(by_target, work, parallel=self.parallel, guard=self.session.guard).items():
            if isinstance(result, FleetcareError):
                by_target[target].failure = result.at(target=target.name)
        sent = {record.target for record in self.session.sent}
        waiting = {record.target for record in self.session.sent if record.outcome in (TimedOut.kind, Interrupted.kind)}
        for entry in entries:
            entry.tried = entry.target.path in sent
            entry.unanswered = entry.target.path in waiting

    def _verify(self, entries: list[Entry]) -> None:
        """Take back what was written to a host that cannot be reached any more, while it still takes calls."""
        tried = {entry.target: entry for entry in entries if entry.tried}
        if not (tried and self.manner.verify and self.feature.undo):
            return
        try:
            for lost in reach.watch(self.session, tried, self.manner.verify, self.parallel):
                with self.session.rescuing():
                    self._take_all_back([(tried[target], seen) for target, seen in lost.items()])
        except FleetcareError as problem:  # what was written has to be told all the same
            for entry in tried.values():
                unseen = f"whether it is still reachable after its changes could not be seen: {problem.cause}"
                entry.failure = entry.failure or CutOff(unseen, target=entry.target.name, fault=problem.fault, hint=problem.hint)

    def _take_all_back(self, lost: list[tuple[Entry, str]]) -> None:
        by_target = {entry.target: (entry, seen) for entry, seen in lost}
        if self.session.guard.reason:  # no thread begins anything any more, and there are seconds left
            for entry, seen in lost:
                self._take_back(entry, seen)
            return
        done = fan_out(by_target, lambda target: self._take_back(*by_target[target]), parallel=self.parallel, guard=self.session.guard)
        for target, problem in done.items():
            if isinstance(problem, FleetcareError):
                by_target[target][0].failure = problem.at(target=target.name)

    def _take_back(self, entry: Entry, seen: str) -> None:
        target = entry.target
        # The change that failed may have been made all the same, and have been the one that cut the host off.
        made = entry.planned[: len(entry.done) + bool(entry.failure)]
        steps = self.feature.undo(entry.plan.observed, made) if self.feature.undo and entry.plan else ()
        cause = f"after {len(made)} change{'s' if len(made) != 1 else ''} it {seen}"
        hint = "Look at the plan (--check --diff) and at who reaches the host over which port."
        try:
            reach.reconnect(self.session, target, GRACE)
            for step in steps:
                self.feature.translation.apply(self.session, target, entry.row, step)  # type: ignore[arg-type]
                entry.undone.append(step)
        except FleetcareError as problem:
            what = f"{len(entry.undone)} of {len(steps)} steps back were made, then: {problem.cause}"
            entry.failure = CutOff(
                f"{cause}, and could not be brought back: {what}", target=target.name, fault=problem.fault, hint=_BY_HAND
            )
            return
        entry.done.clear()
        entry.unanswered = False
        try:
            back = reach.comes_back(self.session, target, max(self.manner.verify, GRACE))
        except FleetcareError:
            back = False
        told = "everything was taken back and it is reachable again" if back else "everything was taken back and it is still not reachable"
        entry.failure = CutOff(f"{cause}; {told}", target=target.name, hint=hint if back else _BY_HAND)

    def _read_back(self, entries: list[Entry]) -> None:
        """Look again until what was written holds and, where waiting was asked for, has taken effect."""
        guard = self.session.guard
        patience = self.feature.domain.patience(self.wanted)
        written = [entry for entry in entries if entry.tried]
        pending = written
        if patience:
            pending = [e for e in entries if e in written or (e.failure is None and not self._settled(e))]
        ends = time.monotonic() + patience
        pauses = iter(_READ_BACK_PAUSES)
        while pending:
            waited = bool(patience) and time.monotonic() >= ends
            try:
                states, _common = self._look(pending)
            except Exception as problem:  # whatever it is, what was written has to be told
                cause = problem.cause if isinstance(problem, FleetcareError) else f"{type(problem).__name__}: {problem}"
                for entry in pending:
                    entry.failure = entry.failure or NotConverged(
                        f"what was written could not be read back: {cause}",
                        target=entry.target.name,
                        hint="Run the task with --check to see the state of the host.",
                    )
                return
            for entry in pending:
                if id(entry) in states:
                    entry.read_back = True
                    entry.final = self._plan(self.feature.domain.after(states[id(entry)], self._expected(entry), waited))
            pending = [entry for entry in pending if self._is_open(entry)]
            pause = next(pauses, 2.0 if patience else None)
            if waited or pause is None:
                break
            if pending and not guard.pause(min(pause, max(0.0, ends - time.monotonic())) if patience else pause):
                break
        for entry in written:
            self._judge(entry)

    def _expected(self, entry: Entry) -> Any:
        """The state as it should be now: with the changes that were made, not with those that were not."""
        return self._after(entry, entry.done)

    def _after(self, entry: Entry, changes: Sequence[Change]) -> Any:
        return Plan(observed=entry.plan.observed, changes=tuple(changes)).predicted  # type: ignore[union-attr]

    def _settled(self, entry: Entry) -> bool:
        return self.feature.domain.settled(entry.final.observed, self.wanted, self.outcome.seen)  # type: ignore[union-attr]

    def _is_open(self, entry: Entry) -> bool:
        if entry.failure is not None and not isinstance(entry.failure, _AMBIGUOUS):
            return False
        unsettled = bool(self.feature.domain.patience(self.wanted)) and not self._settled(entry)
        return bool(entry.final and entry.final.changes) or unsettled

    def _judge(self, entry: Entry) -> None:
        """Only what was read back counts: a lost answer may still have been a success, a success may not have held."""
        left = entry.final.changes if entry.final else ()
        if isinstance(entry.failure, _AMBIGUOUS) and entry.read_back and entry.final:
            shown = self.feature.domain.settings(entry.final.observed)
            for count in range(len(entry.planned), len(entry.done), -1):
                if self.feature.domain.settings(self._after(entry, entry.planned[:count])) == shown:
                    entry.done = list(entry.planned[:count])
                    break
            if len(entry.done) == len(entry.planned) and not left:
                entry.failure = None
                entry.unanswered = False
                return
        if entry.unanswered and entry.failure:
            entry.failure.cause += "; the host may still be at it"
        elif left and entry.failure is None:
            names = ", ".join(str(change.describe()["change"]) for change in left)
            entry.failure = NotConverged(
                f"the host took the change and did not keep it, still to do: {names}",
                target=entry.target.name,
                hint="Look for a host profile, a script or another user that sets it back.",
            )


def _unreadable(row: Row | None, paths: Iterable[str]) -> FleetcareError | None:
    if row is None:
        return TargetUnknown("the host left the inventory while it was read", hint="Run the task again.")
    refused = {name for path, name in row.missing.items() if path in paths}
    if refused & {"NoPermission", "NotAuthenticated"}:
        path = next(path for path, name in row.missing.items() if name in ("NoPermission", "NotAuthenticated"))
        return PermissionMissing(f"the user may not read {path} of the host", fault="NoPermission", hint="Grant System.Read on the host.")
    if refused:
        path, name = next((path, name) for path, name in row.missing.items() if path in paths)
        return ServerFault(f"the server could not give {path}", fault=name, hint="Look at the host's connection in vCenter.")
    if not any(path.startswith("config.") for path in row.values):
        return HostUnreachable("vCenter holds no configuration of the host", hint="Reconnect it in vCenter.")
    lacking = [path for path in (path.partition("/")[0] for path in paths if "/" in path) if path not in row.values]
    if lacking:
        return ServerFault(f"the host has no {lacking[0]}", hint="Its release or its state does not offer it; look at it in vCenter.")
    return None


def findings_of(entry: Entry, check: bool) -> list[dict[str, str]]:
    """What was found and what became of it: open, repaired, or would_repair in a check run."""
    final: tuple[Finding, ...] = entry.final.findings if entry.final else ()
    before: tuple[Finding, ...] = entry.plan.findings if entry.plan else ()
    open_codes = {finding.code for finding in final}
    gone = [finding for finding in before if finding.code not in open_codes]
    return [
        *(finding.describe("open") for finding in final),
        *(finding.describe("would_repair" if check else "repaired") for finding in gone),
    ]


def _judge_findings(outcome: Outcome) -> None:
    """Findings of level error that no change mends make a host fail; a module that only informs never does."""
    if not outcome.feature.writes:
        return
    for entry in outcome.entries.values():
        if entry.final and entry.final.errors and entry.failure is None:
            told = [finding for finding in entry.final.findings if finding.level != "note"]
            entry.failure = NotCompliant(
                "; ".join(f"{finding.code}: {finding.text}" for finding in told), target=entry.target.name, hint=told[0].hint
            )

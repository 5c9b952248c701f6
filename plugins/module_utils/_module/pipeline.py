# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over many hosts or VMs: select, read in bulk, plan, write, read back. Knows no Ansible. Private to this collection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from .._client.endpoint import Endpoint
from .._client.fanout import fan_out
from .._client.guard import Guard
from .._client.inventory import UNKNOWN, Selection, Target
from .._client.properties import Row, Shrink, collect
from .._client.session import Sent, Session
from .._client.tasks import ref_of, wait_for_tasks
from .._client.vmomi import Ref
from .._client.waiting import Condition, wait_for_conditions
from .._domain.errors import (
    BadInput,
    CutOff,
    EndpointUnreachable,
    FleetcareError,
    HeldBack,
    HostUnreachable,
    Interrupted,
    NotCompliant,
    NotConverged,
    PermissionMissing,
    ServerFault,
    TargetUnknown,
    TimedOut,
    cause_of,
)
from .._domain.plan import Change, Finding, Plan, is_fallback, with_changes
from . import records, texts
from .at_endpoint import AMBIGUOUS, READ_BACK_PAUSES, AtEndpoint, entry_for, not_kept
from .feature import Feature, Kind, Whole
from .outcome import Entry, Outcome
from .waves import Progress, Waves
from .way_back import WayBack


def execute(feature: Feature, params: Mapping[str, Any], *, check: bool, in_process: bool = False) -> Outcome:
    """Raises FleetcareError for what concerns the whole run; what concerns one target is in its entry.

    ``in_process``: the caller keeps its own signal handlers (tests).
    """
    if params.get("restore") is not None:
        params = {**params, "restore": records.read(params["restore"])}
    params = texts.read(params, feature.texts)
    outcome = Outcome(feature, feature.domain.parse(params), check)
    selection = Selection.parse(params)
    whole = feature.whole
    if whole and selection.empty and whole.is_offline(outcome.wanted, params.get("hostname") is not None):
        _judge_offline(whole, outcome)
        return outcome
    endpoint = Endpoint.parse(params)
    check_limits(params)
    verify = params.get("verify_reachable") or 0.0
    if not 0 <= verify <= 3600:
        raise BadInput(f"verify_reachable {verify:g} is not between 0 and 3600 seconds", hint="0 means: do not verify.")
    if verify >= params["deadline"]:
        raise BadInput(f"verify_reachable {verify:g} does not end before the deadline of {params['deadline']:g} s", hint="Raise deadline.")
    manner = Manner(
        params["parallel"],
        Waves.parse(params, feature.targets.noun),
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
            few = whole is not None and selection.empty and session.is_vcenter and not whole.needs_hosts(outcome.wanted)
            Run(outcome, session, manner).over([] if few else feature.targets.select(session, selection))
            _judge_findings(outcome)
    except FleetcareError as problem:
        problem.at(target="" if isinstance(problem, BadInput) else endpoint.name)
        raise
    finally:
        guard.close()
        outcome.secrets = (*session.secrets, *getattr(outcome.wanted, "secrets", ()))
    return outcome


def _judge_offline(whole: Whole, outcome: Outcome) -> None:
    outcome.seen = outcome.feature.domain.survey([], {}, outcome.wanted)
    outcome.whole = entry_for("")
    outcome.whole.plan = outcome.whole.final = whole.endpoint_plan(outcome.seen, outcome.wanted)
    outcome.overview = whole.overview(outcome.seen, outcome.wanted, {}, {})
    outcome.secrets = tuple(getattr(outcome.wanted, "secrets", ()))
    _judge_findings(outcome)


def check_limits(params: Mapping[str, Any]) -> None:
    """Of the options that every run has. Raises BadInput."""
    for option, least, most in (("parallel", 1, 64), ("deadline", 1, 86400)):
        if not least <= params[option] <= most:
            raise BadInput(f"{option} {params[option]:g} is not between {least} and {most}", hint="Leave it out for the default.")


@dataclass(frozen=True)
class Manner:
    """How the writes are made: how many targets at a time, in which waves, with which precautions."""

    parallel: int
    waves: Waves = Waves()
    verify: float = 0.0
    backup_dir: str | None = None
    progress: Progress = Progress(None)


class Reader(Protocol):
    """``collect``, or what serves in its place from a read that was made for several features."""

    def __call__(
        self,
        session: Session,
        refs: Sequence[Ref],
        paths: Sequence[str],
        known: Mapping[Ref, Row] | None = None,
        shrink: Shrink | None = None,
    ) -> dict[Ref, Row]: ...


class Run:
    def __init__(self, outcome: Outcome, session: Session, manner: Manner, read: Reader | None = None) -> None:
        self.outcome = outcome
        self.read = read or collect
        self.feature = outcome.feature
        self.kind = outcome.feature.targets
        self.wanted = outcome.wanted
        self.session = session
        self.manner = manner
        self.parallel = manner.parallel
        self.common: dict[str, Any] = {}
        self.begun: list[Entry] = []
        self.settled = 0
        self.recorded: list[dict[str, Any]] = []
        self.way_back = WayBack(session, self.feature, manner.verify, manner.parallel)

    def over(self, targets: list[Target]) -> None:
        entries = {name: Entry(target) for name, target in _by_name(targets).items()}
        self.outcome.entries = entries
        for entry in entries.values():
            entry.failure = _away(self.kind, entry.target)
        reachable = [entry for entry in entries.values() if entry.failure is None]
        states = self._look(reachable)
        self._survey(states.values())
        whole = self.feature.whole
        endpoint = None
        if whole:
            endpoint = AtEndpoint(whole, self.outcome, self.session, partial(self._survey_again, reachable, states))
            endpoint.plan()
        writes = self.feature.writes and not self.outcome.check
        if writes:
            self.session.guard.check()
        held = self._held(endpoint) if endpoint and writes else ""
        for entry in reachable:
            if id(entry) in states:
                entry.plan = entry.final = self._plan(states[id(entry)])
        planned = [entry for entry in reachable if entry.plan]
        if self.outcome.check:
            self.session.guard.check()
            self._foresee(planned)
            if endpoint and any(isinstance(entry.failure, HeldBack) for entry in planned):
                self._survey([states[id(entry)] for entry in planned])
                endpoint.plan()
        elif held:
            for entry in planned:
                entry.failure = _not_begun(entry, held) if entry.planned else None
        elif writes:
            self._change(planned)
        if whole and endpoint:
            if writes and not held:
                endpoint.after()
            plans = self.outcome.plans
            away = {name: entry.target.ref.id for name, entry in entries.items() if name not in plans}
            self.outcome.overview = whole.overview(self.outcome.seen, self.wanted, plans, away)

    def _held(self, endpoint: AtEndpoint) -> str:
        """Make the endpoint's own first changes; why no host may be begun after them, if so."""
        planned = self.outcome.seen
        read = endpoint.before()
        if not self.session.guard.reason:
            return "" if read else "what was written to the endpoint could not be read back"
        self.outcome.seen = planned  # what would have been done is told
        return self.session.guard.reason

    def _foresee(self, entries: list[Entry]) -> None:
        """A check run: which of the hosts would be changed, and what would be left to say of them."""
        todo = self._in_order([entry for entry in entries if entry.planned])
        waves = list(self.manner.waves.over(todo, len(self.outcome.entries)))
        for entry in todo[sum(map(len, waves)) :]:
            entry.failure = _no_room(entry)
        for entry in todo:
            if entry.failure is None and entry.plan:
                entry.final = self._plan(entry.plan.predicted)

    def _survey(self, states: Iterable[Any], sent: Sequence[Change] = (), over: bool = False) -> None:
        selected = [entry.target.ref.id for entry in self.outcome.entries.values()]
        staying = [entry.target.ref.id for entry in self.outcome.entries.values() if isinstance(entry.failure, HeldBack)]
        common = {**self.common, "sent": sent, "over": over, "selected": selected, "staying": staying}
        self.outcome.seen = self.feature.domain.survey(states, common, self.wanted)

    def _survey_again(self, entries: Iterable[Entry], states: Mapping[int, Any], sent: Sequence[Change], over: bool, look: bool) -> None:
        if look:
            rows = {entry.target: entry.row for entry in entries if id(entry) in states and entry.row}
            self.common = self.feature.translation.measure(self.session, rows, self.wanted, self.parallel).get(None, self.common)
        self._survey([entry.final.observed if entry.final else states[id(entry)] for entry in entries if id(entry) in states], sent, over)

    def _in_order(self, entries: list[Entry]) -> list[Entry]:
        """Those that others wait for before them; otherwise as they were."""
        by_id = {entry.target.ref.id: entry for entry in entries}
        placed: dict[str, Entry] = {}
        for entry in entries:
            chain, seen = [entry], {entry.target.ref.id}
            while chain:
                after = chain[-1].plan.after if chain[-1].plan else ()
                due = next((by_id[other] for other in after if other in by_id and other not in placed and other not in seen), None)
                if due is None:
                    last = chain.pop()
                    placed.setdefault(last.target.ref.id, last)
                else:
                    chain.append(due)
                    seen.add(due.target.ref.id)
        return list(placed.values())

    def _plan(self, state: Any) -> Plan:
        return self.feature.domain.plan(state, self.wanted, self.outcome.seen)

    def _look(self, entries: list[Entry]) -> dict[int, Any]:
        """Read all in bulk: the state by entry; what was measured of the endpoint is kept. An entry that cannot be
        read gets its failure."""
        known = {entry.target.ref: entry.row for entry in entries if entry.row and entry.plan} if self.kind.by_managers else {}
        paths = self.feature.translation.properties(self.wanted)
        rows = self.read(self.session, [entry.target.ref for entry in entries], paths, known, self.feature.translation.SHRINK)
        readable = []
        for entry in entries:
            entry.row = rows.get(entry.target.ref)
            problem = _unreadable(self.kind, entry.row, paths)
            if problem is None:
                readable.append(entry)
            elif entry.failure is None:
                entry.failure = problem.at(target=entry.target.name, doing="reading its configuration")
        extra: dict[Any, Any] = {}
        # What is measured of single hosts is worth no time once the run has to stop, unless it is their state.
        if self.feature.whole or not self.kind.by_managers or not self.session.guard.reason:
            by_target = {entry.target: entry.row for entry in readable if entry.row}
            extra = self.feature.translation.measure(self.session, by_target, self.wanted, self.parallel)
            self.common = extra.get(None, self.common)
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
                    hint=f"Please report it with the {self.kind.noun}'s version.",
                )
        return states

    def _change(self, entries: list[Entry]) -> None:
        """Wave by wave: write, read back, see that the hosts are still there; stop when too many failed."""
        todo = self._in_order([entry for entry in entries if entry.planned])
        rest = [entry for entry in entries if not entry.planned]
        waves = list(self.manner.waves.over(todo, len(self.outcome.entries)))
        why = ""
        for number, wave in enumerate(waves, 1):
            try:
                self._prepare(wave, again=number > 1)
            except Exception as problem:  # whatever it is, what was written in earlier waves has to be told
                if number == 1:
                    raise
                why = f"it could not be prepared: {cause_of(problem)}"
                break
            self.begun += wave
            self._write(wave)
            self._read_back([*wave, *rest] if len(waves) == 1 else wave)
            lost = self.way_back.after(wave)
            self._read_back(lost)
            self.way_back.judge(lost)
            self.settled = len(self.begun)
            if self.manner.waves.sizes:
                self._tell(number, len(waves), wave, len(todo))
            why = self.session.guard.reason or self._enough()
            if why:
                break
        if len(waves) != 1:
            self._read_back(rest)
        for entry in todo[len(self.begun) :]:
            entry.failure = entry.failure or (_not_begun(entry, why) if why else _no_room(entry))

    def _prepare(self, wave: list[Entry], *, again: bool) -> None:
        """The last moment before a wave's writes. A later wave may come an hour after the plan, and a list is replaced
        whole: its hosts are planned anew."""
        if again:
            self._plan_anew(wave)
        planned = [entry for entry in wave if entry.planned and entry.failure is None]
        if planned and self.manner.backup_dir and self.feature.record:
            self.recorded += [self.feature.record(entry.plan.observed) for entry in planned if entry.plan]
            self.outcome.backup_file = records.write(
                self.outcome.backup_file or records.new_file(self.manner.backup_dir, self.feature.record_form, self.session.endpoint.name),
                self.feature.record_form,
                self.session.endpoint.name,
                self.recorded,
                self.kind.key,
            )
        self.way_back.before([entry.target for entry in planned])

    def _plan_anew(self, entries: list[Entry]) -> None:
        states = self._look(entries)
        for entry in entries:
            if id(entry) in states:
                entry.plan = entry.final = self._plan(states[id(entry)])

    def _tell(self, number: int, waves: int, wave: list[Entry], total: int) -> None:
        begun = [entry for entry in wave if entry.tried or not isinstance(entry.failure, Interrupted)]
        failed = [entry.target.name for entry in begun if _went_wrong(entry)]
        changed = sum(bool(entry.done) for entry in wave)
        key = self.kind.key
        self.outcome.waves.append({key: len(begun), "changed": changed, "failed": len(failed), f"failed_{key}": failed})
        left = total - sum(told[key] for told in self.outcome.waves)
        self.manner.progress.say(
            f"wave {number} of {waves}: {self.kind.count(len(begun))}, {changed} changed, {len(failed)} failed; {left} to go"
        )

    def _enough(self) -> str:
        """Why no further host is begun, if so. In the wave that is being written a lost answer is no failure yet, and
        what a host was found to be before is none of it: reading back tells."""
        most = self.manner.waves.max_failures
        if most is None:
            return ""
        failed = [entry for entry in self.begun[: self.settled] if _went_wrong(entry)]
        failed += [entry for entry in self.begun[self.settled :] if entry.failure and not isinstance(entry.failure, AMBIGUOUS)]
        if len(failed) <= most:
            return ""
        return f"{len(failed)} failed ({failed[0].target.name}{' and others' if len(failed) > 1 else ''}) and max_failures is {most}"

    def _write(self, entries: list[Entry]) -> None:
        first = waiting = [entry for entry in entries if entry.planned and entry.failure is None]
        unseen: set[int] = set()
        while waiting:
            ready = [entry for entry in waiting if not self._waits(entry, waiting)] or waiting
            begun = set(map(id, ready))
            if waiting is not first:
                self._have_waited(ready)
            waiting = [entry for entry in waiting if id(entry) not in begun]
            unseen |= self._write_side_by_side([entry for entry in ready if entry.failure is None])
        sent = {record.target for record in self.session.sent}
        open_ended = {record.target for record in self.session.sent if record.outcome in (TimedOut.kind, Interrupted.kind)}
        for entry in entries:
            entry.tried = entry.target.path in sent
            entry.unanswered = entry.target.path in open_ended or id(entry) in unseen

    def _have_waited(self, entries: list[Entry]) -> None:
        """What they waited for may have taken long, and changed what is to be done with them."""
        if self.session.guard.reason or self._enough():
            return
        due = [entry for entry in entries if not self._stuck(entry)]
        try:
            self._plan_anew(due)
        except Exception as problem:  # whatever it is, what was written to others has to be told
            for entry in due:
                entry.failure = _not_begun(entry, f"it could not be prepared: {cause_of(problem)}")

    def _write_side_by_side(self, ready: list[Entry]) -> set[int]:
        """Write to several targets at a time, in rounds: who has started a task goes on once the tasks of all have ended.
        The ids of those whose task was not seen to end are returned."""
        entries = {id(entry): entry for entry in ready}
        steps = {key: self._carry_out(entry) for key, entry in entries.items()}
        news: dict[int, Any] = dict.fromkeys(entries)
        guard: Guard | None = self.session.guard
        unseen: set[int] = set()

        def work(key: int) -> Ref | Condition | None:
            try:
                return steps[key].send(news[key])
            except StopIteration:
                return None
            except FleetcareError as problem:
                entries[key].failure = problem.at(target=entries[key].target.name)  # at once: max_failures counts it
                raise

        while news:
            tasks: dict[int, Ref] = {}
            conditions: dict[int, Condition] = {}
            for key, result in fan_out(news, work, parallel=self.parallel, guard=guard).items():
                if isinstance(result, FleetcareError):
                    entries[key].failure = result.at(target=entries[key].target.name)
                elif isinstance(result, Condition):
                    conditions[key] = result
                elif result is not None:
                    tasks[key] = result
            ended = wait_for_tasks(self.session, tasks.values()) if tasks else {}
            news = {key: ended[task] for key, task in tasks.items()}
            if conditions:
                news |= dict(zip(conditions, wait_for_conditions(self.session, list(conditions.values())), strict=True))
            unseen |= {key for key, came in news.items() if isinstance(came, AMBIGUOUS)}
            guard = None  # who has begun has to hear of its task; a next write is stopped at the gate
        return unseen

    def _carry_out(self, entry: Entry) -> Generator[Ref | Condition, Any, None]:
        """Make the changes of one target in their order. Gives each task that one starts, or the condition that it is made
        by, and is sent what came of it."""
        why = self._enough() or self._stuck(entry)
        if why:
            raise _not_begun(entry, why)
        problem: FleetcareError | None = None
        falling_back = False
        for number, change in enumerate(entry.planned):
            is_first = is_fallback(change) and not falling_back
            if not _is_due(change, problem, is_first, entry.done):
                continue
            falling_back = is_fallback(change)
            failed = yield from self._make(entry, change)
            if falling_back:
                # Whether a lost answer was a success shows later; a refusal leaves things as they were.
                made_up = problem if is_first and (failed is None or isinstance(failed, AMBIGUOUS)) else None
                rest = tuple(later for later in entry.planned[number + 1 :] if not is_fallback(later))
                before = entry.done if made_up else entry.due[: len(entry.due) - len(rest)]
                entry.instead = (*before, change, *rest)
                if made_up:
                    entry.because, problem = made_up.sentence, None
                elif problem and failed:
                    failed.cause = f"{failed.cause.rstrip('.')}; before that {problem.doing} failed: {problem.cause}"
                    problem = failed
            if failed is None:
                entry.done.append(change)
            problem = problem or failed
        if problem is not None:
            raise problem

    def _make(self, entry: Entry, change: Change) -> Generator[Ref | Condition, Any, FleetcareError | None]:
        made: Ref | None
        try:
            awaits = getattr(self.feature.translation, "awaits", None)
            condition: Condition | None = awaits and awaits(self.session, entry.target, entry.row, change)
            if condition:
                self._begin(entry, change, condition)
                came = yield condition
                if isinstance(came, FleetcareError):
                    raise came
                entry.silent, entry.watched = condition.silent, True
                for record in self._sent_to(entry)[-1:]:
                    record.outcome = "done"  # whatever became of the answer
                return None
            entry.watched = False
            made = self.feature.translation.apply(self.session, entry.target, entry.row, change)  # type: ignore[arg-type]
            if made and made.type == "Task":
                came = yield made
                if isinstance(came, FleetcareError):
                    raise came
                made = ref_of(came)
        except FleetcareError as problem:
            name = change.describe()["change"]
            meant, hint = getattr(self.feature.translation, "FAULTS", {}).get((name, problem.fault), ("", ""))
            if meant:
                said = problem.cause.partition(": ")[2]
                problem.cause, problem.hint = meant + (f" ({said})" if said else ""), hint
            return problem.at(target=entry.target.name, doing=name.replace("_", " "))
        if made and made.type == self.kind.type:
            entry.target = replace(entry.target, ref=made)
        return None

    def _begin(self, entry: Entry, change: Change, condition: Condition) -> None:
        """Write, and note what task it started, or that its answer did not come: then only looking tells."""
        before = len(self._sent_to(entry))
        try:
            condition.task = self.feature.translation.apply(self.session, entry.target, entry.row, change)  # type: ignore[arg-type]
        except (EndpointUnreachable, TimedOut, HostUnreachable) as problem:
            if len(self._sent_to(entry)) == before:
                raise  # it never left
            condition.lost = problem

    def _sent_to(self, entry: Entry) -> list[Sent]:
        return [record for record in list(self.session.sent) if record.target == entry.target.path]

    def _waits(self, entry: Entry, others: Iterable[Entry]) -> bool:
        after = entry.plan.after if entry.plan else ()
        return bool(after) and any(other.target.ref.id in after for other in others)

    def _stuck(self, entry: Entry) -> str:
        """Which host should have made room for this one and did not, if so."""
        after = entry.plan.after if entry.plan else ()
        others = [other for other in self.outcome.entries.values() if other.target.ref.id in after] if after else []
        for other in others:
            if other.failure or len(other.done) < len(other.due):
                became = "has not answered" if isinstance(other.failure, AMBIGUOUS) else "was not changed"
                return f"{other.target.name}, which was to go before it, {became}"
        return ""

    def _read_back(self, entries: list[Entry]) -> None:
        """Look again until what was written holds and, where waiting was asked for, has taken effect."""
        guard = self.session.guard
        patience = self.feature.domain.patience(self.wanted)
        written = [entry for entry in entries if entry.tried]
        pending = written
        if patience:
            pending = [e for e in entries if e in written or (e.failure is None and not self._settled(e))]
        for entry in [entry for entry in written if entry.watched]:
            # That much was seen already, and a host that goes down does not show it again.
            entry.final = self._plan(self._expected(entry))
            entry.read_back = entry.silent
        pending = [entry for entry in pending if not entry.silent]
        ends = time.monotonic() + patience
        pauses = iter(READ_BACK_PAUSES)
        while pending:
            waited = bool(patience) and time.monotonic() >= ends
            try:
                states = self._look(pending)
            except Exception as problem:  # whatever it is, what was written has to be told
                for entry in pending:
                    if entry.watched and not entry.failure and any(other.silent for other in self.begun):
                        entry.read_back = True  # before the endpoint went away, as it was to
                        continue
                    entry.failure = entry.failure or NotConverged(
                        f"what was written could not be read back: {cause_of(problem)}",
                        target=entry.target.name,
                        hint=f"Run the task with --check to see the state of the {self.kind.noun}.",
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
        return with_changes(entry.plan.observed, changes)  # type: ignore[union-attr]

    def _settled(self, entry: Entry) -> bool:
        return self.feature.domain.settled(entry.final.observed, self.wanted, self.outcome.seen)  # type: ignore[union-attr]

    def _is_open(self, entry: Entry) -> bool:
        if isinstance(entry.failure, CutOff):
            return bool(entry.differs(self.feature.domain.settings))
        if entry.failure is not None and not isinstance(entry.failure, AMBIGUOUS):
            return False
        unsettled = bool(self.feature.domain.patience(self.wanted)) and not self._settled(entry)
        return bool(entry.final and entry.final.changes) or unsettled

    def _judge(self, entry: Entry) -> None:
        """Only what was read back counts: a lost answer may still have been a success, a success may not have held."""
        left = entry.final.changes if entry.final else ()
        settings = self.feature.domain.settings
        shown = settings(entry.final.observed) if entry.final else None
        if not self.kind.by_managers and entry.read_back and entry.plan and shown == settings(entry.plan.observed):
            entry.done = []  # what was taken and did nothing is no change
        # A VM may be open although the task that opened it ended with a fault, about one of its disks for example.
        doubtful = isinstance(entry.failure, AMBIGUOUS) or (entry.failure is not None and not self.kind.by_managers)
        if doubtful and entry.read_back and entry.plan and entry.final:
            if not entry.because and not left and shown == settings(entry.plan.predicted):
                entry.instead = None  # what was tried instead was refused, and was not needed
            for count in range(len(entry.due), len(entry.done), -1):
                if settings(self._after(entry, entry.due[:count])) == shown:
                    entry.done = list(entry.due[:count])
                    break
            if len(entry.done) == len(entry.due) and not left:
                entry.failure = None
                entry.unanswered = False
                return
        told = [finding for finding in entry.final.findings if finding.level != "note"] if entry.final and entry.read_back else []
        if told and entry.failure and entry.failure.fault in getattr(self.feature.translation, "EXPLAINED", ()):
            entry.failure.cause = "; ".join([entry.failure.cause, *map(str, told)])
            entry.failure.hint = " ".join(dict.fromkeys(finding.hint for finding in told))
        if entry.unanswered and entry.failure:
            entry.failure.cause += f"; the {self.kind.noun} may still be at it"
        elif left and entry.failure is None:
            entry.failure = not_kept(entry, f"the {self.kind.noun}")


def _by_name(targets: Iterable[Target]) -> dict[str, Target]:
    """By name, or by path where several have it; VMs in vApps may share even that."""
    names = Counter(target.name for target in targets)
    paths = Counter(target.path for target in targets if names[target.name] > 1)
    return {
        f"{target.path} ({target.ref.id})" if paths[target.path] > 1 else target.path if paths[target.path] else target.name: target
        for target in targets
    }


def _away(kind: Kind, target: Target) -> FleetcareError | None:
    if target.connection == UNKNOWN:
        problem: FleetcareError | None = PermissionMissing(
            f"the user may not read the state of the {kind.noun}", hint=f"Grant System.Read on the {kind.noun}."
        )
    else:
        problem = kind.away(target)
    return problem and problem.at(target=target.name)


def _is_due(change: Change, problem: FleetcareError | None, is_first_fallback: bool, done: Sequence[Change]) -> bool:
    """A fallback begins only after a refusal: where an answer was lost, nobody knows whether it is needed. Those that
    follow it go on with what it began. So it is with what takes back an earlier change: not while something may go on."""
    if is_first_fallback:
        return problem is not None and not isinstance(problem, AMBIGUOUS)
    if problem is None or bool(getattr(change, "even_after_failure", False)):
        return True
    taken_back = getattr(change, "takes_back", None)
    in_doubt = isinstance(problem, (*AMBIGUOUS, HostUnreachable))
    return taken_back is not None and not in_doubt and any(isinstance(made, taken_back) for made in done)


def _not_begun(entry: Entry, why: str) -> Interrupted:
    return Interrupted(f"not started, because {why}", target=entry.target.name)


def _no_room(entry: Entry) -> HeldBack:
    return HeldBack("not started, because no wave has room for it", target=entry.target.name)


def _went_wrong(entry: Entry) -> bool:
    if entry.failure is not None:
        return not isinstance(entry.failure, Interrupted)
    return bool(entry.final and entry.final.errors)


def _unreadable(kind: Kind, row: Row | None, paths: Iterable[str]) -> FleetcareError | None:
    noun = kind.noun
    if row is None:
        return TargetUnknown(f"the {noun} left the inventory while it was read", hint="Run the task again.")
    refused = {name for path, name in row.missing.items() if path in paths}
    if refused & {"NoPermission", "NotAuthenticated"}:
        path = next(path for path, name in row.missing.items() if name in ("NoPermission", "NotAuthenticated"))
        return PermissionMissing(
            f"the user may not read {path} of the {noun}", fault="NoPermission", hint=f"Grant System.Read on the {noun}."
        )
    if refused:
        path, name = next((path, name) for path, name in row.missing.items() if path in paths)
        return ServerFault(f"the server could not give {path}", fault=name, hint=f"Look at the {noun}'s connection in vCenter.")
    if not kind.by_managers:
        return None
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
    mended = "would_repair" if check else "repaired"
    return [
        *(finding.describe("open") for finding in final),
        *(finding.describe("open" if finding.lasting else mended) for finding in gone),
    ]


def _judge_findings(outcome: Outcome) -> None:
    """Findings of level error that no change mends make a host fail; a module that only informs never does."""
    if not outcome.feature.writes:
        return
    for entry in (*outcome.entries.values(), *((outcome.whole,) if outcome.whole else ())):
        if entry.final and entry.final.errors and entry.failure is None:
            hints = dict.fromkeys(finding.hint for finding in entry.final.errors)
            cause = "; ".join(str(finding) for finding in entry.final.findings if finding.level != "note")
            entry.failure = NotCompliant(cause, target=entry.target.name, hint=" ".join(hints))

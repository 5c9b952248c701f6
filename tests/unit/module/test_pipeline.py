# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over many hosts, with a feature of numbers and a server that is a dict: who is written, judged and told what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Sent
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    BadInput,
    EndpointUnreachable,
    FleetcareError,
    Interrupted,
    ServerFault,
    TimedOut,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Finding, Plan, described
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import run as door
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.arguments import CHANGES, ENDPOINT, HOSTS, RUN
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import HOSTS as TARGETS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.outcome import Entry, Outcome

PATH = "config.number"
MANAGER = "configManager.counter"


@dataclass(frozen=True)
class Add:
    """The write of the feature: one step towards the wanted number."""

    step: int

    def applied_to(self, state: int) -> int:
        return state + self.step

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class Mend(Add):
    """Puts back what an earlier step took away, so it is tried although that one failed."""

    even_after_failure = True


class Numbers:
    """A domain: hosts have a number, wanted is another; to want 13 or 17 is an error that nothing mends, a 7 a warning."""

    @staticmethod
    def parse(params: Mapping[str, Any]) -> int:
        return int(params["number"])

    @staticmethod
    def survey(states: Iterable[int], common: Mapping[str, Any], wanted: int) -> int:
        return sum(states)

    @staticmethod
    def plan(state: int, wanted: int, seen: int) -> Plan:
        step = 1 if wanted > state else -1
        findings = []
        if state % 10 == 7:
            findings.append(Finding("note", "number_noted", "noted", "Nothing to do."))
            findings.append(Finding("warning", "number_odd", f"it is {state}", "Mind it."))
        if wanted in (13, 17):
            findings.append(Finding("error", "number_unlucky", f"{wanted} is wanted", "Want another."))
        if state != wanted:
            findings.append(Finding("warning", "number_off", f"{state} is not {wanted}", "Run it."))
        return Plan(observed=state, changes=tuple(Add(step) for _turn in range(abs(wanted - state))), findings=tuple(findings))

    @staticmethod
    def after(read: int, predicted: int, waited: bool) -> int:
        return read

    @staticmethod
    def settled(state: int, wanted: int, seen: int) -> bool:
        return True

    @staticmethod
    def patience(wanted: int) -> float:
        return 0.0

    @staticmethod
    def settings(state: int) -> dict[str, Any]:
        return {"number": state}

    @staticmethod
    def report(state: int, wanted: int, seen: int, *, full: bool = True) -> dict[str, Any]:
        return {"number": state}


@dataclass
class World:
    """The hosts' numbers and what happens on a write."""

    numbers: dict[str, int]
    on_write: Callable[[str, int], FleetcareError | None] = lambda host, count: None
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    lose_write: bool = False
    written: list[tuple[str, int]] = field(default_factory=list)
    reads: list[list[str]] = field(default_factory=list)
    after_read: Callable[[World, int], None] = lambda world, count: None
    PROBES: tuple[str, ...] = ()
    SHRINK: Mapping[str, Any] = field(default_factory=dict)

    def properties(self, wanted: int) -> tuple[str, ...]:
        return (PATH, f"{MANAGER}/x")

    def measure(self, session: Any, rows: Any, wanted: int, parallel: int) -> dict[Any, Any]:
        return {target: {} for target in rows}

    def observe(self, row: Row, extra: Mapping[str, Any]) -> int:
        return int(row.values[PATH])

    def apply(self, session: Any, target: Target, row: Row, change: Add) -> None:
        session.guard.check()
        sent = Sent(target.path, "Add")
        session.sent.append(sent)
        self.written.append((target.ref.id, change.step))
        problem = self.on_write(target.ref.id, len([one for one in self.written if one[0] == target.ref.id]))
        if problem is None or self.lose_write:
            self.numbers[target.ref.id] += change.step
        sent.outcome = problem.kind if problem else "done"
        if problem:
            raise problem

    def collect(self, _session: Any, refs: list[Ref], _paths: Any, _known: Any = None, _shrink: Any = None) -> dict[Ref, Row]:
        self.reads.append([ref.id for ref in refs])
        found = {
            ref: Row(ref, {PATH: self.numbers[ref.id], MANAGER: Ref("X", "x")}, self.missing.get(ref.id, {}))
            for ref in refs
            if ref.id not in self.gone
        }
        self.after_read(self, len(self.reads))
        return found


class FakeSession:
    """Stands for an open session to a vCenter that is not there."""

    content = SimpleNamespace(about=SimpleNamespace(apiType="VirtualCenter", version="8.0.3"))
    secrets = ("cookie-1",)

    def __init__(self, _endpoint: Any, guard: Guard, *, may_write: bool, probes: Iterable[str]) -> None:
        self.guard, self.may_write, self.probes = guard, may_write, tuple(probes)
        self.sent: list[Sent] = []

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_exception: Any) -> None:
        pass


def target(moid: str, name: str = "", connection: str = "connected", place: str = "dc") -> Target:
    return Target(ref=Ref("HostSystem", moid), name=name or moid, connection=connection, places=(("datacenter", place),))


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the pipeline over a world and gives the result as the user sees it."""

    def run(
        world: World,
        wanted: int,
        targets: list[Target] | None = None,
        *,
        domain: type[Numbers] = Numbers,
        check: bool = False,
        writes: bool = True,
        diff: bool = False,
        guard: Guard | None = None,
        parallel: int = 4,
    ) -> dict[str, Any]:
        monkeypatch.setattr(pipeline, "collect", world.collect)
        monkeypatch.setattr(pipeline, "READ_BACK_PAUSES", (0.0, 0.0))
        monkeypatch.setattr(pipeline, "Session", FakeSession)
        monkeypatch.setattr(pipeline, "Guard", lambda deadline: guard or Guard(deadline))
        kind = replace(TARGETS, select=lambda _session, _selection: targets or [target(name) for name in world.numbers])
        monkeypatch.setattr(Guard, "watch", lambda _self: None)
        feature = Feature(targets=kind, domain=cast(Any, domain), translation=cast(Any, world), options={}, writes=writes)
        outcome = pipeline.execute(feature, {**PARAMS, "parallel": parallel, "number": wanted}, check=check, in_process=True)
        return door.result_of(outcome, with_diff=diff)

    return run


Go = Callable[..., dict[str, Any]]


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name: entry["status"] for name, entry in result["hosts"].items()}


def test_a_run_changes_what_differs_and_reads_back_only_that(go: Go) -> None:
    world = World({"a": 1, "b": 3, "c": 2})
    result = go(world, 3, diff=True)
    assert statuses(result) == {"a": "changed", "b": "compliant", "c": "changed"}
    assert result["changed"] and world.numbers == {"a": 3, "b": 3, "c": 3}
    assert result["summary"] == {"changed": 2, "compliant": 1}
    assert result["hosts"]["a"]["changes"] == [{"change": "add", "step": 1}] * 2
    assert result["diff"] == {"before": {"a": {"number": 1}, "c": {"number": 2}}, "after": {"a": {"number": 3}, "c": {"number": 3}}}
    assert world.reads == [["a", "b", "c"], ["a", "c"]]


def test_a_second_run_changes_nothing_and_says_so(go: Go) -> None:
    world = World({"a": 1})
    go(world, 3)
    result = go(world, 3, diff=True)
    assert statuses(result) == {"a": "compliant"} and not result["changed"]
    assert result["diff"] == {"before": {}, "after": {}} and result["msg"] == "1 host: 1 compliant."
    assert result["hosts"]["a"]["findings"] == []


def test_a_check_writes_nothing_and_announces_exactly_what_a_run_then_does(go: Go) -> None:
    world = World({"a": 1, "b": 3})
    told = go(world, 3, check=True, diff=True)
    assert world.written == [] and world.numbers == {"a": 1, "b": 3}
    assert statuses(told) == {"a": "would_change", "b": "compliant"} and told["changed"]
    done = go(world, 3, diff=True)
    assert told["hosts"]["a"]["changes"] == done["hosts"]["a"]["changes"] and told["diff"] == done["diff"]


def test_findings_say_what_became_of_them(go: Go) -> None:
    def of(result: dict[str, Any]) -> dict[str, str]:
        return {finding["code"]: finding["status"] for finding in result["hosts"]["a"]["findings"]}

    assert of(go(World({"a": 6}), 7, check=True)) == {"number_off": "would_repair", "number_noted": "open", "number_odd": "open"}
    assert of(go(World({"a": 6}), 7)) == {"number_off": "repaired", "number_noted": "open", "number_odd": "open"}
    assert of(go(World({"a": 7}), 8)) == {"number_off": "repaired", "number_noted": "repaired", "number_odd": "repaired"}


def test_hosts_that_share_a_name_are_told_apart_by_their_paths(go: Go) -> None:
    world = World({"host-1": 1, "host-2": 1, "host-3": 1})
    targets = [target("host-1", "esx"), target("host-2", "esx", place="dc2"), target("host-3", "other")]
    result = go(world, 2, targets)
    assert set(result["hosts"]) == {"dc/esx", "dc2/esx", "other"}
    assert {name: entry["moid"] for name, entry in result["hosts"].items()} == {
        "dc/esx": "host-1",
        "dc2/esx": "host-2",
        "other": "host-3",
    }


@pytest.mark.parametrize("connection", ["disconnected", "notResponding"])
def test_a_host_that_is_not_connected_is_unreachable_and_neither_read_nor_written(connection: str, go: Go) -> None:
    world = World({"a": 1, "b": 1})
    result = go(world, 2, [target("a", connection=connection), target("b")])
    assert statuses(result) == {"a": "unreachable", "b": "changed"}
    assert world.reads[0] == ["b"] and connection in result["hosts"]["a"]["failure"]["cause"]


def test_a_failing_host_stops_there_and_never_the_others(go: Go) -> None:
    world = World(
        {"a": 0, "b": 0, "c": 0},
        on_write=lambda host, count: ServerFault("no", fault="HostConfigFault") if (host, count) == ("b", 2) else None,
    )
    result = go(world, 3)
    assert statuses(result) == {"a": "changed", "b": "failed", "c": "changed"}
    entry = result["hosts"]["b"]
    assert entry["changed"] and entry["changes"] == [{"change": "add", "step": 1}]
    assert entry["failure"]["doing"] == "add" and entry["failure"]["fault"] == "HostConfigFault"
    assert [one for one in world.written if one[0] == "b"] == [("b", 1), ("b", 1)]


def test_what_was_planned_and_not_written_is_listed(go: Go) -> None:
    """Writes that look alike count one by one."""
    world = World({"b": 0}, on_write=lambda host, count: ServerFault("no") if count == 2 else None)
    assert go(world, 3)["hosts"]["b"]["not_done"] == [{"change": "add", "step": 1}] * 2


def test_a_lost_answer_counts_as_a_success_if_it_was_one(go: Go) -> None:
    world = World({"a": 0}, on_write=lambda host, count: TimedOut("no answer"), lose_write=True)
    result = go(world, 1)
    assert statuses(result) == {"a": "changed"} and result["hosts"]["a"]["failure"] is None
    assert result["hosts"]["a"]["changes"] == [{"change": "add", "step": 1}] and "not_done" not in result["hosts"]["a"]


def test_a_lost_answer_counts_as_a_failure_if_nothing_was_kept(go: Go) -> None:
    world = World({"a": 0}, on_write=lambda host, count: EndpointUnreachable("connection lost"))
    result = go(world, 1)
    assert statuses(result) == {"a": "failed"} and "connection lost" in result["msg"]
    assert not result["hosts"]["a"]["changed"]


@pytest.mark.parametrize("kept", range(5))
@pytest.mark.parametrize("problem", [TimedOut, EndpointUnreachable, Interrupted])
def test_after_a_lost_answer_the_longest_part_of_the_plan_that_shows_counts_as_done(
    problem: type[FleetcareError], kept: int, go: Go
) -> None:
    """The answer to the second of four writes is lost; ``kept`` is what the host shows when it is read back."""

    def lose(host: str, count: int) -> FleetcareError | None:
        if count < 2:
            return None
        world.numbers["a"] = kept
        return problem("no answer")

    world = World({"a": 0}, on_write=lose)
    result = go(world, 4, diff=True)
    entry = result["hosts"]["a"]
    done = max(kept, 1)  # the first was answered
    assert entry["changes"] == [{"change": "add", "step": 1}] * done
    assert entry.get("not_done", []) == [{"change": "add", "step": 1}] * (4 - done)
    assert len(world.written) == 2, "nothing is written after a lost answer"
    if kept == 4:
        assert entry["status"] == "changed" and entry["failure"] is None
    else:
        assert entry["status"] == "failed" and entry["failure"]["cause"].startswith("no answer")
        assert ("still be at it" in entry["failure"]["cause"]) == (problem is not EndpointUnreachable)
    assert entry["changed"] is True
    assert result["diff"] == {"before": {"a": {"number": 0}}, "after": {"a": {"number": kept}}}


def test_a_refusal_is_no_lost_answer_and_stays_whatever_is_read_back(go: Go) -> None:
    def refuse(host: str, count: int) -> FleetcareError:
        world.numbers["a"] = 1
        return ServerFault("no")

    world = World({"a": 0}, on_write=refuse)
    entry = go(world, 1)["hosts"]["a"]
    assert entry["status"] == "failed" and entry["changes"] == [] and entry["not_done"] == [{"change": "add", "step": 1}]


def test_a_lost_answer_is_no_success_while_something_is_left_to_plan(go: Go) -> None:
    """All settings are as predicted, but the planner, which sees more than settings, still has something to write."""

    class Never(Numbers):
        @staticmethod
        def plan(state: int, wanted: int, seen: int) -> Plan:
            return Plan(observed=state, changes=(Add(1),), findings=())

        @staticmethod
        def settings(state: int) -> dict[str, Any]:
            return {"number": state}

    world = World({"a": 0}, on_write=lambda host, count: TimedOut("no answer"), lose_write=True)
    entry = go(world, 1, domain=Never)["hosts"]["a"]
    assert entry["status"] == "failed" and entry["changes"] == [{"change": "add", "step": 1}]
    assert "no answer" in entry["failure"]["cause"]


class Mending(Numbers):
    """Two steps up and one, to be tried in any case, that mends."""

    @staticmethod
    def plan(state: int, wanted: int, seen: int) -> Plan:
        changes = () if state == wanted else (Add(1), Add(1), Mend(10))
        return Plan(observed=state, changes=changes, findings=())


ADD, MEND = {"change": "add", "step": 1}, {"change": "mend", "step": 10}


def test_a_change_that_puts_back_is_tried_although_an_earlier_one_failed(go: Go) -> None:
    world = World({"a": 0}, on_write=lambda host, count: ServerFault("no", fault="HostConfigFault") if count == 1 else None)
    entry = go(world, 12, domain=Mending)["hosts"]["a"]
    assert world.written == [("a", 1), ("a", 10)], "the second step is left out, what mends is not"
    assert entry["status"] == "failed" and entry["failure"]["fault"] == "HostConfigFault" and entry["failure"]["doing"] == "add"
    assert entry["changed"] and entry["changes"] == [MEND] and entry["not_done"] == [ADD, ADD]


def test_what_puts_back_and_fails_too_leaves_the_first_failure_to_be_told(go: Go) -> None:
    world = World({"a": 0}, on_write=lambda host, count: ServerFault(f"no {count}") if count > 1 else None)
    entry = go(world, 12, domain=Mending)["hosts"]["a"]
    assert world.written == [("a", 1), ("a", 1), ("a", 10)]
    assert entry["failure"]["cause"] == "no 2" and entry["changes"] == [ADD] and entry["not_done"] == [ADD, MEND]


def test_what_puts_back_is_written_once_and_not_after_a_stop(go: Go) -> None:
    world = World({"a": 0})
    assert go(world, 12, domain=Mending)["hosts"]["a"]["changes"] == [ADD, ADD, MEND]
    assert world.written == [("a", 1), ("a", 1), ("a", 10)]
    guard = Guard()
    stopped = World({"a": 0}, on_write=lambda host, count: guard.stop("a test says so"))
    entry = go(stopped, 12, domain=Mending, guard=guard)["hosts"]["a"]
    assert stopped.written == [("a", 1)] and entry["changes"] == [ADD] and entry["not_done"] == [ADD, MEND]


def test_a_slow_host_may_still_be_at_it_although_what_puts_back_was_answered(go: Go) -> None:
    world = World({"a": 0}, on_write=lambda host, count: TimedOut("no answer") if count == 1 else None)
    entry = go(world, 12, domain=Mending)["hosts"]["a"]
    assert entry["changes"] == [MEND] and entry["not_done"] == [ADD, ADD]
    assert entry["failure"]["cause"] == "no answer; the host may still be at it"


def test_what_others_change_while_a_run_waits_is_not_its_change(go: Go) -> None:
    class Patient(Numbers):
        @staticmethod
        def patience(wanted: int) -> float:
            return 0.2

        @staticmethod
        def settled(state: int, wanted: int, seen: int) -> bool:
            return state > wanted

    def other(world: World, reads: int) -> None:
        world.numbers["a"] = 4

    world = World({"a": 3}, after_read=other)
    result = go(world, 3, domain=Patient, diff=True)
    assert len(world.reads) > 1 and world.written == [] and result["hosts"]["a"]["number"] == 4
    assert statuses(result) == {"a": "compliant"} and not result["changed"] and not result["hosts"]["a"]["changed"]
    assert result["hosts"]["a"]["changes"] == [] and result["diff"] == {"before": {}, "after": {}}


def test_whatever_stops_the_read_back_what_was_written_is_told(go: Go) -> None:
    def broken(world: World, reads: int) -> None:
        if reads > 1:
            raise KeyError("surprise")

    entry = go(World({"a": 0}, after_read=broken), 1)["hosts"]["a"]
    assert entry["status"] == "failed" and entry["changed"] and entry["changes"] == [ADD]
    assert entry["failure"]["cause"] == "what was written could not be read back: KeyError: 'surprise'"
    assert "--check" in entry["failure"]["hint"]


def test_a_write_that_is_taken_and_not_kept_is_a_failure_that_names_it(go: Go) -> None:
    world = World({"a": 0})

    class Forgetful(World):
        def apply(self, session: Any, target: Target, row: Row, change: Add) -> None:
            session.sent.append(Sent(target.path, "Add", "done"))
            self.written.append((target.ref.id, change.step))

    result = go(Forgetful(world.numbers), 1)
    failure = result["hosts"]["a"]["failure"]
    assert failure["kind"] == "not_converged" and "did not keep it, still to do: add" in failure["cause"]


def test_a_host_that_cannot_be_read_is_a_failure_of_its_own(go: Go) -> None:
    world = World({"a": 0, "b": 0, "c": 0, "d": 0}, missing={"a": {PATH: "NoPermission"}, "b": {PATH: "SystemError"}}, gone={"c"})
    result = go(world, 1)
    assert statuses(result) == {"a": "failed", "b": "failed", "c": "failed", "d": "changed"}
    kinds = {name: entry["failure"]["kind"] for name, entry in result["hosts"].items() if entry["failure"]}
    assert kinds == {"a": "permission_missing", "b": "server_fault", "c": "target_unknown"}
    assert {name for name, _step in world.written} == {"d"}


def test_after_a_stop_hosts_that_were_not_begun_are_skipped(go: Go) -> None:
    guard = Guard()

    def stop(host: str, count: int) -> None:
        if host == "b":
            guard.stop("a test says so")

    world = World({"a": 0, "b": 0, "c": 0, "d": 0}, on_write=stop)
    result = go(world, 2, guard=guard, parallel=1)
    assert statuses(result) == {"a": "changed", "b": "failed", "c": "skipped", "d": "skipped"}
    assert result["hosts"]["b"]["changed"] and result["hosts"]["b"]["not_done"] == [{"change": "add", "step": 1}]
    assert world.numbers == {"a": 2, "b": 1, "c": 0, "d": 0}
    assert "stopped before the next write" in result["hosts"]["b"]["failure"]["cause"]
    assert "still be at it" not in result["hosts"]["b"]["failure"]["cause"], "what was sent was answered; nothing is on its way"


def test_an_error_that_no_write_mends_makes_a_writing_module_fail_and_a_reading_one_only_tell(go: Go) -> None:
    failed = go(World({"a": 13}), 13)
    assert statuses(failed) == {"a": "failed"}
    failure = failed["hosts"]["a"]["failure"]
    assert failure["kind"] == "not_compliant" and "number_unlucky: 13 is wanted" in failure["cause"]
    told = go(World({"a": 13}), 13, writes=False)
    assert statuses(told) == {"a": "not_compliant"} and told["hosts"]["a"]["failure"] is None and not told["changed"]


def test_a_failure_names_all_that_was_found_and_the_next_step_of_its_errors(go: Go) -> None:
    """Findings come with causes before symptoms; notes are left out."""
    entry = go(World({"a": 17}), 17)["hosts"]["a"]
    assert [finding["code"] for finding in entry["findings"]] == ["number_noted", "number_odd", "number_unlucky"]
    assert entry["failure"]["cause"] == "number_odd: it is 17; number_unlucky: 17 is wanted"
    assert entry["failure"]["hint"] == "Want another.", "that of the errors: a warning does not make a host fail"


def test_a_reading_module_writes_and_announces_nothing(go: Go) -> None:
    world = World({"a": 1, "b": 2})
    result = go(world, 2, writes=False, diff=True)
    assert statuses(result) == {"a": "compliant", "b": "compliant"} and not result["changed"] and "diff" not in result
    assert world.written == [] and world.reads == [["a", "b"]]
    for entry in result["hosts"].values():
        assert not {"changed", "changes", "not_done"} & set(entry), "what only informs speaks of no changes"


def test_the_status_of_a_check_that_finds_an_incurable_error_is_failed(go: Go) -> None:
    result = go(World({"a": 1}), 13, check=True)
    assert statuses(result) == {"a": "failed"}
    assert result["hosts"]["a"]["changed"] and result["hosts"]["a"]["failure"]["kind"] == "not_compliant"


def test_findings_are_judged_when_the_run_ends_and_not_when_it_is_told() -> None:
    """Whoever looks at an outcome, as often as they like, sees the failures that the run ended with."""
    plan = Numbers.plan(13, 13, 0)
    entry = Entry(target("a"), plan=plan, final=plan)
    outcome = Outcome(Feature(domain=cast(Any, Numbers), translation=cast(Any, None), options={}), 13, False, entries={"a": entry})
    assert plan.errors
    for _turn in range(2):
        assert statuses(door.result_of(outcome, with_diff=False)) == {"a": "compliant"} and entry.failure is None


# ---- the message ------------------------------------------------------------------------------------------------------------


def message(**statuses: tuple[str, FleetcareError | None]) -> str:
    return door._message(
        {name: {"status": status, "failure": failure.as_failure() if failure else None} for name, (status, failure) in statuses.items()}
    )


def test_the_message_counts_the_most_frequent_first() -> None:
    assert message(a=("changed", None), b=("compliant", None), c=("compliant", None)) == "3 hosts: 2 compliant, 1 changed."
    assert message(a=("would_change", None)) == "1 host: 1 would change."
    assert door._message({}) == "0 hosts: nothing to do." or door._message({}).startswith("0 hosts")


def test_the_message_says_each_cause_once_with_the_hosts_that_have_it() -> None:
    same = [ServerFault("refused it", fault="HostConfigFault", doing="start ntpd", hint="Look.") for _turn in range(2)]
    text = message(a=("failed", same[0]), b=("failed", same[1]), c=("unreachable", TimedOut("no answer", hint="Wait.")))
    assert text.count("refused it") == 1
    assert "a, b: refused it [HostConfigFault] (while start ntpd). Look." in text and "c: no answer. Wait." in text
    assert ".." not in text and text.endswith(".")


def test_the_message_stays_short_for_a_thousand_hosts_and_many_causes() -> None:
    one = door._message(
        {f"esx-{n:04}": {"status": "failed", "failure": TimedOut("no answer", hint="Wait.").as_failure()} for n in range(1000)}
    )
    assert "esx-0004 and 995 more: no answer" in one and len(one) < 200
    many = door._message({f"esx-{n:04}": {"status": "failed", "failure": TimedOut(f"cause {n}").as_failure()} for n in range(1000)})
    assert len(many) < 2000 and "1000 failed" in many


def test_the_message_is_silent_about_hosts_that_are_well() -> None:
    assert "a" not in message(a=("changed", None)).replace("changed", "")


# ---- the door ---------------------------------------------------------------------------------------------------------------

SECRET = "s3cr3t-Pa55word"


class Exit(Exception):
    def __init__(self, failed: bool, result: dict[str, Any]) -> None:
        super().__init__(failed)
        self.failed, self.result = failed, result


class FakeModule:
    check_mode = False
    _diff = True
    params: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    last: FakeModule

    def __init__(self, **arguments: Any) -> None:
        FakeModule.arguments = arguments
        self.no_log_values: set[str] = set()
        self.warnings: list[str] = []
        FakeModule.last = self

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, **result: Any) -> None:
        raise Exit(True, result)

    def exit_json(self, **result: Any) -> None:
        raise Exit(False, result)


def ran(monkeypatch: pytest.MonkeyPatch, execute: Callable[..., Outcome], **params: Any) -> Exit:
    monkeypatch.setattr(door, "_Module", FakeModule)
    monkeypatch.setattr(door, "execute", execute)
    monkeypatch.setattr(FakeModule, "params", {"fail_on": "any", **params})
    with pytest.raises(Exit) as caught:
        door.run(Feature(domain=cast(Any, Numbers), translation=cast(Any, None), options={"number": {"type": "int"}}))
    return caught.value


def outcome_of(*failures: FleetcareError | None) -> Callable[..., Outcome]:
    def execute(feature: Feature, _params: Any, *, check: bool) -> Outcome:
        entries = {str(n): Entry(target(str(n)), failure=failure) for n, failure in enumerate(failures)}
        return Outcome(feature, 1, check, entries=entries, secrets=(SECRET, "cookie-1"))

    return execute


@pytest.mark.parametrize(
    ("failures", "fail_on", "fails"),
    [
        ([None, None], "any", False),
        ([None, TimedOut("x")], "any", True),
        ([None, TimedOut("x")], "all", False),
        ([TimedOut("x"), TimedOut("x")], "all", True),
        ([TimedOut("x"), TimedOut("x")], "none", False),
        ([None, Interrupted("x")], "any", True),
        ([None, pipeline.HostUnreachable("x")], "any", True),
        ([], "any", False),
        ([], "all", False),
    ],
)
def test_the_task_fails_as_fail_on_says(failures: list[Any], fail_on: str, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = ran(monkeypatch, outcome_of(*failures), fail_on=fail_on)
    assert ended.failed is fails
    assert len(ended.result["hosts"]) == len(failures), "all hosts are told, also when the task fails"
    expected = [ended.result["msg"]] if any(failures) and not fails else []
    assert FakeModule.last.warnings == expected, "trouble that does not fail the task is a warning"


@pytest.mark.parametrize("fail_on", ["any", "all", "none", None])
@pytest.mark.parametrize("check", [True, False])
def test_hosts_that_were_held_back_as_was_asked_for_fail_no_task_and_warn_nobody(
    check: bool, fail_on: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeModule, "check_mode", check)
    ended = ran(monkeypatch, outcome_of(None, pipeline.HeldBack("x")), fail_on=fail_on)
    assert not ended.failed and FakeModule.last.warnings == [] and statuses(ended.result)["1"] == "skipped"
    other = ran(monkeypatch, outcome_of(TimedOut("y"), pipeline.HeldBack("x")), fail_on="any")
    assert other.failed, "the failure of another still counts"


@pytest.mark.parametrize(("check", "fails"), [(False, True), (True, False)])
def test_left_out_fail_on_means_any_host_and_in_a_check_none(check: bool, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeModule, "check_mode", check)
    assert ran(monkeypatch, outcome_of(None, TimedOut("x")), fail_on=None).failed is fails


def test_secrets_of_the_session_are_hidden_from_every_output(monkeypatch: pytest.MonkeyPatch) -> None:
    ran(monkeypatch, outcome_of(None))
    assert {SECRET, "cookie-1"} <= FakeModule.last.no_log_values


def test_an_error_of_the_whole_run_is_one_sentence_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(*_args: Any, **_kw: Any) -> Outcome:
        raise BadInput("ntp_servers is odd", hint="Mend it.")

    ended = ran(monkeypatch, execute)
    assert ended.failed and ended.result["msg"] == "ntp_servers is odd. Mend it."
    assert ended.result["failure"]["kind"] == "bad_input"


def test_a_defect_of_ours_is_a_sentence_with_its_place_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(*_args: Any, **_kw: Any) -> Outcome:
        return cast(Outcome, {}["surprise"])  # type: ignore[index]

    ended = ran(monkeypatch, execute)
    assert ended.failed and "KeyError: 'surprise' at test_pipeline.py:" in ended.result["msg"]
    assert "report it" in ended.result["msg"] and "\n" not in ended.result["msg"]


def test_every_module_supports_check_mode_and_has_the_common_options(monkeypatch: pytest.MonkeyPatch) -> None:
    ran(monkeypatch, outcome_of(None))
    assert FakeModule.arguments["supports_check_mode"] is True
    assert {*ENDPOINT, *HOSTS, *RUN, *CHANGES, "number"} == set(FakeModule.arguments["argument_spec"])
    assert FakeModule.arguments["argument_spec"]["password"]["no_log"] is True


# ---- before any connection --------------------------------------------------------------------------------------------------

PARAMS: dict[str, Any] = {
    "hostname": "vc.example.com",
    "username": "u",
    "password": SECRET,
    "port": 443,
    "validate_certs": True,
    "connect_timeout": 10.0,
    "read_timeout": 60.0,
    "session": "single",
    "parallel": 16,
    "deadline": 60.0,
    "number": 1,
}


@pytest.mark.parametrize(
    ("params", "option"),
    [
        ({"parallel": 0}, "parallel"),
        ({"parallel": -1}, "parallel"),
        ({"parallel": 65}, "parallel"),
        ({"deadline": 0.0}, "deadline"),
        ({"deadline": -5.0}, "deadline"),
        ({"deadline": math.nan}, "deadline"),
        ({"deadline": math.inf}, "deadline"),
        ({"hostname": None}, "hostname"),
        ({"esxi_hostname": [""]}, "esxi_hostname"),
        ({"exclude": ["  "]}, "exclude"),
        ({"port": 0}, "port"),
    ],
)
def test_bad_input_ends_a_run_before_any_connection(params: dict[str, Any], option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_args: Any, **_kw: Any) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr(pipeline, "Session", connect)
    feature = Feature(domain=cast(Any, Numbers), translation=cast(Any, None), options={})
    with pytest.raises(BadInput, match=option) as caught:
        pipeline.execute(feature, {**PARAMS, **params}, check=False, in_process=True)
    assert caught.value.hint and SECRET not in caught.value.sentence


@pytest.mark.parametrize(
    ("check", "writes", "may"), [(False, True, True), (True, True, False), (False, False, False), (True, False, False)]
)
def test_the_gate_is_open_only_for_a_writing_module_outside_check_mode_and_probes_are_the_features(
    check: bool, writes: bool, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opened(Exception):
        pass

    def connect(_endpoint: Any, _guard: Any, *, may_write: bool, probes: Iterable[str]) -> None:
        raise Opened(may_write, tuple(probes))

    monkeypatch.setattr(pipeline, "Session", connect)
    for probes in ((), ("TestTimeService",)):
        translation = World({}, PROBES=probes)
        feature = Feature(domain=cast(Any, Numbers), translation=cast(Any, translation), options={}, writes=writes)
        with pytest.raises(Opened) as caught:
            pipeline.execute(feature, PARAMS, check=check, in_process=True)
        assert caught.value.args == (may, probes)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is changed of the endpoint itself, before its hosts and after them; and hosts that wait for one another.

The feature is a cupboard: the endpoint has drawers, hosts are to have a thing that lies in one of them. A thing that several
want is handed on: whoever has it puts it back before the next one takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Sent
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    ServerFault,
    TimedOut,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Finding, Plan, described
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import run as door
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.arguments import CHANGES, ENDPOINT, HOSTS, RUN
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import HOSTS as TARGETS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature

ENDPOINT_NAME = "vc.example.com"
PATH = "config.thing"


@dataclass(frozen=True)
class Put:
    """Into a drawer of the endpoint."""

    thing: str

    def applied_to(self, state: frozenset[str]) -> frozenset[str]:
        return state | {self.thing}

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class Discard:
    thing: str
    last = True

    def applied_to(self, state: frozenset[str]) -> frozenset[str]:
        return state - {self.thing}

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class Take:
    """What a host gets, instead of what it has."""

    thing: str

    def applied_to(self, state: Holder) -> Holder:
        return replace(state, thing=self.thing)

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class Holder:
    moid: str
    thing: str


@dataclass(frozen=True)
class Wish:
    """``gives``: what each host is to have; ``after``: whom it waits for; ``new`` and ``old``: things to come and to go."""

    gives: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    offline: bool = False
    hosts: bool = True
    secrets: tuple[str, ...] = ("s3cret",)


@dataclass(frozen=True)
class Seen:
    cupboard: frozenset[str]
    sent: tuple[Any, ...]
    holders: tuple[Holder, ...]


class Things:
    """A domain with an endpoint of its own."""

    @staticmethod
    def parse(params: Mapping[str, Any]) -> Wish:
        return cast(Wish, params["wish"])

    @staticmethod
    def survey(states: Iterable[Holder], common: Mapping[str, Any], wanted: Wish) -> Seen:
        return Seen(common.get("cupboard", frozenset()), tuple(common.get("sent") or ()), tuple(states))

    @staticmethod
    def plan(state: Holder, wanted: Wish, seen: Seen) -> Plan:
        thing = wanted.gives.get(state.moid, state.thing)
        if thing == state.thing:
            return Plan(observed=state)
        tried = {change.thing for change in seen.sent if isinstance(change, Put)}
        if thing in wanted.new and thing in tried and thing not in seen.cupboard:
            return Plan(observed=state, findings=(Finding("error", "thing_missing", f"{thing} could not be put there", "Look."),))
        return Plan(observed=state, changes=(Take(thing),), after=wanted.after.get(state.moid, ()))

    @staticmethod
    def after(read: Holder, predicted: Holder, waited: bool) -> Holder:
        return read

    @staticmethod
    def settled(state: Holder, wanted: Wish, seen: Seen) -> bool:
        return True

    @staticmethod
    def patience(wanted: Wish) -> float:
        return 0.0

    @staticmethod
    def settings(state: Any) -> dict[str, Any]:
        return {"thing": state.thing} if isinstance(state, Holder) else {"things": sorted(state or ())}

    @staticmethod
    def report(state: Any, wanted: Wish, seen: Seen, *, full: bool = True) -> dict[str, Any]:
        return {}

    # ---- the endpoint --------------------------------------------------------------------------------------------------------------

    @staticmethod
    def is_offline(wanted: Wish, has_endpoint: bool) -> bool:
        return wanted.offline and not has_endpoint

    @staticmethod
    def needs_hosts(wanted: Wish) -> bool:
        return wanted.hosts

    @staticmethod
    def endpoint_plan(seen: Seen, wanted: Wish) -> Plan:
        held = {holder.thing for holder in seen.holders}
        puts = [Put(thing) for thing in wanted.new if thing not in seen.cupboard]
        goes = [thing for thing in wanted.old if thing in seen.cupboard]
        leaving = {holder.thing for holder in seen.holders if wanted.gives.get(holder.moid, holder.thing) != holder.thing}
        removals = [Discard(thing) for thing in goes if thing not in held - leaving]
        findings = [Finding("error", "thing_held", f"{thing} is held", "Wait.") for thing in goes if thing in held - leaving]
        return Plan(observed=seen.cupboard, changes=(*puts, *removals), findings=tuple(findings))

    @staticmethod
    def overview(seen: Seen, wanted: Wish, plans: Mapping[str, Plan], away: Mapping[str, str]) -> dict[str, Any]:
        return {"msg": f"{len(seen.cupboard)} things", "things": sorted(seen.cupboard), "away": sorted(away), "planned": sorted(plans)}


@dataclass
class World:
    """``on_write``: a problem for a write by its target and thing; ``lost``: it takes effect all the same; ``late``: looks at the
    endpoint until a new thing shows; ``on_look``: a problem for the n-th look at the endpoint."""

    things: dict[str, str]
    cupboard: set[str] = field(default_factory=set)
    on_write: Callable[[str, Any], FleetcareError | None] = lambda where, change: None
    lost: bool = False
    ignores: tuple[Any, ...] = ()
    late: int = 0
    on_look: Callable[[int], Exception | None] = lambda count: None
    written: list[tuple[str, Any]] = field(default_factory=list)
    looks: int = 0
    PROBES: tuple[str, ...] = ()
    SHRINK: Mapping[str, Any] = field(default_factory=dict)

    def properties(self, wanted: Wish) -> tuple[str, ...]:
        return (PATH,)

    def measure(self, session: Any, rows: Any, wanted: Wish, parallel: int) -> dict[Any, Any]:
        self.looks += 1
        problem = self.on_look(self.looks)
        if problem:
            raise problem
        seen = set(self.cupboard)
        if self.late and any(isinstance(change, Put) for _where, change in self.written):
            self.late -= 1
            seen -= {change.thing for _where, change in self.written if isinstance(change, Put)}
        return {None: {"cupboard": frozenset(seen)}, **{target: {} for target in rows}}

    def observe(self, row: Row, extra: Mapping[str, Any]) -> Holder:
        return Holder(row.ref.id, row.values[PATH])

    def apply(self, session: Any, target: Target, row: Row, change: Any) -> None:
        where = target.ref.id if isinstance(change, Take) else ENDPOINT_NAME
        session.guard.check()
        sent = Sent(target.path, type(change).__name__)
        session.sent.append(sent)
        self.written.append((where, change))
        problem = self.on_write(where, change)
        if (problem is None or self.lost) and change not in self.ignores:
            if isinstance(change, Take):
                self.things[where] = change.thing
            else:
                self.cupboard = set(change.applied_to(frozenset(self.cupboard)))
        sent.outcome = problem.kind if problem else "done"
        if problem:
            raise problem

    def collect(self, _session: Any, refs: list[Ref], _paths: Any, _known: Any = None, _shrink: Any = None) -> dict[Ref, Row]:
        return {ref: Row(ref, {PATH: self.things[ref.id]}, {}) for ref in refs}


class FakeSession:
    content = SimpleNamespace(about=SimpleNamespace(apiType="VirtualCenter", version="8.0.3"))
    secrets = ("cookie-1",)
    is_vcenter = True

    def __init__(self, endpoint: Any, guard: Guard, *, may_write: bool, probes: Iterable[str]) -> None:
        self.endpoint, self.guard = endpoint, guard
        self.sent: list[Sent] = []

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_exception: Any) -> None:
        pass


PARAMS = {name: spec.get("default") for group in (ENDPOINT, HOSTS, RUN, CHANGES) for name, spec in group.items()}
PARAMS.update(hostname=ENDPOINT_NAME, username="u", password="p", validate_certs=False, session="single")

Go = Callable[..., dict[str, Any]]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Go:
    def run(world: World, *, check: bool = False, guard: Guard | None = None, options: Mapping[str, Any] | None = None, **wish: Any) -> Any:
        targets = [Target(ref=Ref("HostSystem", moid), name=f"name-{moid}", connection="connected") for moid in world.things]
        for module in (pipeline, at_endpoint):
            monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
        monkeypatch.setattr(pipeline, "collect", world.collect)
        monkeypatch.setattr(pipeline, "Session", FakeSession)
        monkeypatch.setattr(pipeline, "Guard", lambda deadline: guard or Guard(deadline))
        kind = replace(TARGETS, select=lambda _session, _selection: targets)
        monkeypatch.setattr(Guard, "watch", lambda _self: None)
        feature = Feature(targets=kind, domain=cast(Any, Things), translation=cast(Any, world), options={}, whole=cast(Any, Things))
        params = {**PARAMS, "esxi_hostname": ["*"], **(options or {}), "wish": Wish(**wish)}
        return door.result_of(pipeline.execute(feature, params, check=check, in_process=True), with_diff=True)

    return run


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name.removeprefix("name-"): part["status"] for name, part in result["hosts"].items()}


def changes(part: dict[str, Any], which: str = "changes") -> list[str]:
    return [f"{change['change']} {change['thing']}" for change in part.get(which, ())]


def order(world: World) -> list[str]:
    return [f"{where} {change.thing}" for where, change in world.written]


def refusing(*whom: str, problem: Callable[[], FleetcareError] = lambda: ServerFault("no")) -> Callable[[str, Any], FleetcareError | None]:
    return lambda where, change: problem() if where in whom or change.thing in whom else None


# ---- before and after the hosts -----------------------------------------------------------------------------------------------------


def test_what_hosts_need_comes_before_them_and_what_they_leave_goes_after_them(go: Go) -> None:
    world = World({"a": "old", "b": "old"}, {"old"})
    wish: dict[str, Any] = {"gives": {"a": "new", "b": "new"}, "new": ("new",), "old": ("old",)}
    planned = go(world, check=True, **wish)
    assert world.written == [] and changes(planned["endpoint"]) == ["put new", "discard old"]
    done = go(world, **wish)
    assert order(world)[0] == f"{ENDPOINT_NAME} new" and order(world)[-1] == f"{ENDPOINT_NAME} old" and len(order(world)) == 4
    assert done["endpoint"]["changes"] == planned["endpoint"]["changes"] and done["diff"] == planned["diff"]
    assert done["diff"]["after"][ENDPOINT_NAME] == {"things": ["new"]} and done["things"] == ["new"]
    assert done["msg"].startswith("1 things. 2 hosts: 2 changed")
    again = go(world, **wish)
    assert not again["changed"] and len(order(world)) == 4 and again["endpoint"]["status"] == "compliant"


def test_nothing_is_looked_at_again_where_nothing_was_sent(go: Go) -> None:
    world = World({"a": "x"}, {"x"})
    go(world, gives={"a": "x"}, new=("x",))
    assert world.looks == 1


def test_refused_change_keeps_no_other_from_being_made(go: Go) -> None:
    world = World({"a": "", "b": ""}, on_write=refusing("bad"))
    done = go(world, gives={"a": "bad", "b": "good"}, new=("bad", "good"))
    assert statuses(done) == {"a": "failed", "b": "changed"}
    assert changes(done["endpoint"]) == ["put good"] and changes(done["endpoint"], "not_done") == ["put bad"]
    assert done["endpoint"]["status"] == "failed" and done["endpoint"]["failure"]["doing"] == "put"
    assert [finding["code"] for finding in done["hosts"]["name-a"]["findings"]] == ["thing_missing"]


@pytest.mark.parametrize("problem", [EndpointUnreachable("lost"), TimedOut("slow")], ids=["lost", "slow"])
def test_lost_answer_that_took_effect_is_a_success(go: Go, problem: FleetcareError) -> None:
    world = World({"a": ""}, on_write=lambda where, change: problem if where == ENDPOINT_NAME else None, lost=True)
    done = go(world, gives={"a": "new"}, new=("new",))
    assert statuses(done) == {"a": "changed"} and done["endpoint"]["status"] == "changed" and done["endpoint"]["failure"] is None
    assert changes(done["endpoint"]) == ["put new"]


def test_lost_answer_without_effect_is_told(go: Go) -> None:
    world = World({"a": ""}, on_write=lambda where, change: EndpointUnreachable("lost") if where == ENDPOINT_NAME else None)
    done = go(world, gives={"a": "new"}, new=("new",))
    assert done["endpoint"]["failure"]["cause"] == "lost" and not done["changed"] and statuses(done) == {"a": "failed"}


def test_what_the_server_took_and_did_not_keep_is_no_success(go: Go) -> None:
    world = World({"a": ""}, ignores=(Put("new"),))
    done = go(world, gives={"a": "new"}, new=("new",))
    assert done["endpoint"]["status"] == "failed" and "put" in done["endpoint"]["failure"]["cause"]
    assert changes(done["endpoint"]) == [] and changes(done["endpoint"], "not_done") == ["put new"]
    assert [where for where, _change in world.written] == [ENDPOINT_NAME]


def test_what_shows_late_is_waited_for_before_the_hosts(go: Go) -> None:
    world = World({"a": ""}, late=2)
    done = go(world, gives={"a": "new"}, new=("new",))
    assert statuses(done) == {"a": "changed"} and done["endpoint"]["status"] == "changed"
    assert world.looks >= 4


@pytest.mark.parametrize("problem", [ServerFault("no"), ValueError("odd")], ids=["fault", "defect"])
def test_where_nobody_knows_what_came_of_it_no_host_is_begun(go: Go, problem: Exception) -> None:
    world = World({"a": "", "b": "x"}, on_look=lambda count: problem if count > 1 else None)
    done = go(world, gives={"a": "new"}, new=("new",))
    assert [where for where, _change in world.written] == [ENDPOINT_NAME]
    assert statuses(done) == {"a": "skipped", "b": "compliant"} and "read back" in done["hosts"]["name-a"]["failure"]["cause"]
    assert done["endpoint"]["status"] == "failed" and "read back" in done["endpoint"]["failure"]["cause"]
    assert changes(done["endpoint"]) == ["put new"] and done["changed"]


def test_stop_before_the_end_discards_nothing(go: Go) -> None:
    guard = Guard()

    def stop(where: str, change: Any) -> None:
        guard.stop("enough")

    world = World({"a": "old"}, {"old", "x"}, on_write=stop)
    done = go(world, guard=guard, gives={"a": "x"}, old=("old",))
    assert order(world) == ["a x"] and changes(done["endpoint"]) == []


def test_endpoint_alone(go: Go) -> None:
    world = World({"a": "x"}, {"old", "x"})
    done = go(world, old=("old",), hosts=False, options={"esxi_hostname": None})
    assert done["hosts"] == {} and order(world) == [f"{ENDPOINT_NAME} old"] and done["endpoint"]["status"] == "changed"


def test_no_endpoint_at_all(go: Go) -> None:
    world = World({})
    done = go(world, offline=True, options={"hostname": None, "esxi_hostname": None})
    assert world.looks == 0 and done["hosts"] == {} and done["msg"] == "0 things."


def test_host_that_is_called_like_the_endpoint(go: Go) -> None:
    world = World({"a": "old"}, {"old", "x"}, on_write=refusing("a"))
    for hostname in (ENDPOINT_NAME, "name-a"):
        done = go(world, gives={"a": "x"}, options={"hostname": hostname})
        assert "name-a: no" in done["msg"] and statuses(done) == {"a": "failed"}
    world.on_write = lambda where, change: None
    done = go(world, gives={"a": "x"}, options={"hostname": "name-a"})
    assert done["changed"] and done["diff"]["after"] != {} and statuses(done) == {"a": "changed"}


# ---- hosts that wait for one another ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 4, 16])
@pytest.mark.parametrize("waves", [None, ["1", "100%"], ["1", "1", "1", "1"]], ids=str)
def test_each_is_written_after_those_that_it_waits_for(go: Go, waves: list[str] | None, parallel: int) -> None:
    moids = ["a", "b", "c", "d"]
    world = World(dict.fromkeys(moids, "old"), {"old", "x"})
    after = {"a": ("b", "c"), "b": ("d",), "c": ("d",)}
    done = go(world, gives=dict.fromkeys(moids, "x"), after=after, options={"waves": waves, "parallel": parallel})
    assert set(statuses(done).values()) == {"changed"}
    places = [where for where, _change in world.written]
    assert places[0] == "d" and places[-1] == "a" and sorted(places) == moids


def test_who_waits_for_one_that_was_refused_is_not_begun_and_says_for_whom(go: Go) -> None:
    world = World(dict.fromkeys("abcd", "old"), {"old", "x"}, on_write=refusing("b"))
    done = go(world, gives=dict.fromkeys("abcd", "x"), after={"c": ("b",), "d": ("c",)})
    assert statuses(done) == {"a": "changed", "b": "failed", "c": "skipped", "d": "skipped"}
    assert "name-b, which was to go before it" in done["hosts"]["name-c"]["failure"]["cause"]
    assert "name-c, which was to go before it" in done["hosts"]["name-d"]["failure"]["cause"]
    assert changes(done["hosts"]["name-d"], "not_done") == ["take x"] and not done["hosts"]["name-d"]["changed"]


@pytest.mark.parametrize("waves", [None, ["1", "1", "1"]], ids=str)
def test_it_is_so_over_waves(go: Go, waves: list[str] | None) -> None:
    world = World(dict.fromkeys("abc", "old"), {"old", "x"}, on_write=refusing("c"))
    done = go(world, gives=dict.fromkeys("abc", "x"), after={"a": ("c",)}, options={"waves": waves, "max_failures": 9})
    assert statuses(done) == {"a": "skipped", "b": "changed", "c": "failed"}


def test_who_waits_for_one_without_anything_to_do_does_not_wait(go: Go) -> None:
    world = World({"a": "old", "b": "x"}, {"old", "x"})
    assert statuses(go(world, gives={"a": "x", "b": "x"}, after={"a": ("b", "nobody")})) == {"a": "changed", "b": "compliant"}


def test_who_waits_in_a_circle_is_written_all_the_same(go: Go) -> None:
    world = World(dict.fromkeys("ab", "old"), {"old", "x"})
    done = go(world, gives=dict.fromkeys("ab", "x"), after={"a": ("b",), "b": ("a",)})
    assert len(done["hosts"]) == 2 and set(statuses(done).values()) <= {"changed", "skipped"}


def test_chain_may_be_as_long_as_the_fleet(go: Go) -> None:
    moids = [f"h{number:04d}" for number in range(1200)]
    world = World(dict.fromkeys(moids, "old"), {"old", "x"})
    done = go(
        world, gives=dict.fromkeys(moids, "x"), after={one: (other,) for one, other in zip(moids, moids[1:], strict=False)}, check=True
    )
    assert done["summary"] == {"would_change": 1200}


def test_lost_answer_that_took_effect_is_not_called_unchanged(go: Go) -> None:
    """Whoever waits may be begun or not; what is said of the other has to be true."""
    world = World(dict.fromkeys("ab", "old"), {"old", "x"}, on_write=refusing("a", problem=lambda: EndpointUnreachable("lost")), lost=True)
    done = go(world, gives=dict.fromkeys("ab", "x"), after={"b": ("a",)})
    assert statuses(done)["a"] == "changed"
    if statuses(done)["b"] == "skipped":
        assert "was not changed" not in done["hosts"]["name-b"]["failure"]["cause"]


# ---- tasks --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [None, ServerFault("no", fault="InvalidState")])
def test_a_task_of_the_endpoint_is_awaited_at_once(problem: FleetcareError | None, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(World):
        def apply(self, session: Any, target: Target, row: Row, change: Any) -> Any:
            super().apply(session, target, row, change)
            return Ref("Task", change.thing) if isinstance(change, Put) else Ref("Thing", "no task")

    world = Slow({"a": "old"}, {"old"}, lost=True)
    awaited = []

    def wait(_session: Any, tasks: Any, timeout: float) -> dict[Ref, Any]:
        awaited.append([ref.id for ref in tasks] + order(world))
        if problem:
            world.cupboard.discard("new")
        return dict.fromkeys(tasks, problem)

    monkeypatch.setattr(tasks, "wait_for_tasks", wait)
    endpoint = go(world, new=("new",), old=())["endpoint"]
    assert awaited == [["new", f"{ENDPOINT_NAME} new"]]
    assert endpoint["status"] == ("failed" if problem else "changed") and changes(endpoint) == ([] if problem else ["put new"])
    assert not problem or endpoint["failure"]["fault"] == "InvalidState" and endpoint["failure"]["doing"] == "put"

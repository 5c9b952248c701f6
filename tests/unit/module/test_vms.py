# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Features whose targets are VMs: tasks in rounds, objects that become others, fallbacks; with a feature of doors and a server
that is a dict, and once with a simulated vCenter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Sent
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref, vim
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    BadInput,
    EndpointUnreachable,
    FleetcareError,
    HostUnreachable,
    Interrupted,
    ServerFault,
    TimedOut,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Plan, is_fallback
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import run as door
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.arguments import CHANGES, ENDPOINT, HOSTS, RUN, VMS, options_of
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import VMS as ON_VMS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from tests.integration.driver import reach
from tests.simulator import Simulator
from tests.unit.module.test_pipeline import PARAMS
from tests.unit.simulator.conftest import key_servers_for

STATE = "runtime.cryptoState"


@dataclass(frozen=True)
class Open:
    """Opens a door. ``sync``: without a task."""

    name: str = "open"
    sync: bool = False
    leads_to: str = "open"

    def applied_to(self, state: str) -> str:
        return self.leads_to

    def describe(self) -> dict[str, Any]:
        return {"change": self.name}


@dataclass(frozen=True)
class Instead(Open):
    fallback = True


@dataclass(frozen=True)
class PutBack(Instead):
    even_after_failure = True


KNOCK = Open("knock", leads_to="ajar")
OPEN, FORCE = Open(), Instead("force")


class Doors:
    """A domain: VMs are doors, what is wanted is the plan for those that are not open."""

    @staticmethod
    def parse(params: Mapping[str, Any]) -> Any:
        return params["plan"]

    @staticmethod
    def survey(states: Iterable[str], common: Mapping[str, Any], wanted: Any) -> None:
        return None

    @staticmethod
    def plan(state: str, wanted: Any, seen: None) -> Plan:
        return Plan(observed=state, changes=() if state == "open" else wanted)

    @staticmethod
    def after(read: str, predicted: str, waited: bool) -> str:
        return read

    @staticmethod
    def settled(state: str, wanted: Any, seen: None) -> bool:
        return True

    @staticmethod
    def patience(wanted: Any) -> float:
        return 0.0

    @staticmethod
    def settings(state: str) -> dict[str, Any]:
        return {"door": state}

    @staticmethod
    def report(state: str, wanted: Any, seen: None, *, full: bool = True) -> dict[str, Any]:
        return {"door": state}


@dataclass
class House:
    """Doors by id. ``refuse``: what comes of a write or of its task, by id and change, None for success; ``becomes``: the
    object that a task's result is. A write that succeeds, or whose answer is lost on the way back, has its effect."""

    doors: dict[str, str]
    refuse: Callable[[str, str], FleetcareError | None] = lambda moid, change: None
    becomes: dict[str, str] = field(default_factory=dict)
    effect: Callable[[str, str], bool] = lambda moid, change: False
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    tasks: dict[str, tuple[str, Open]] = field(default_factory=dict)
    PROBES: tuple[str, ...] = ()
    SHRINK: Mapping[str, Any] = field(default_factory=dict)

    def properties(self, wanted: Any) -> tuple[str, ...]:
        return (STATE, "runtime.host/name")

    def measure(self, session: Any, rows: Any, wanted: Any, parallel: int) -> dict[Any, Any]:
        return {}

    def observe(self, row: Row, extra: Mapping[str, Any]) -> str:
        return str(row.values.get(STATE, "unset"))

    def apply(self, session: Any, target: Target, row: Row, change: Open) -> Ref | None:
        session.guard.check()
        sent = Sent(target.path, change.name, "done")
        session.sent.append(sent)
        self.log.append(f"{target.ref.id} {change.name}")
        if not change.sync:
            name = f"task-{len(self.tasks)}"
            self.tasks[name] = (target.ref.id, change)
            return Ref("Task", name)
        result = self.end(target.ref.id, change)
        if isinstance(result, FleetcareError):
            sent.outcome = result.kind
            raise result
        return Ref("VirtualMachine", result._moId) if result else None

    def end(self, moid: str, change: Open) -> Any:
        problem = self.refuse(moid, change.name)
        if problem is None or self.effect(moid, change.name):
            self.doors[moid] = change.applied_to(self.doors[moid])
        if problem is None and change.name == "force" and moid in self.becomes:
            self.doors[self.becomes[moid]] = self.doors.pop(moid)
            return vim.VirtualMachine(self.becomes[moid])
        return problem

    def wait(self, _session: Any, tasks: Iterable[Ref], timeout: float = 0) -> dict[Ref, Any]:
        refs = list(tasks)
        self.log.append("await " + " ".join(sorted(self.tasks[ref.id][0] for ref in refs)))
        return {ref: self.end(*self.tasks[ref.id]) for ref in refs}

    def collect(self, _session: Any, refs: list[Ref], _paths: Any, known: Any = None, _shrink: Any = None) -> dict[Ref, Row]:
        assert not known, "what is read of VMs themselves is read anew"
        self.log.append("read " + " ".join(ref.id for ref in refs))
        return {ref: Row(ref, {STATE: self.doors[ref.id]}, self.missing.get(ref.id, {})) for ref in refs if ref.id in self.doors}


class FakeSession:
    content = SimpleNamespace(about=SimpleNamespace(apiType="VirtualCenter", version="8.0.3"))
    secrets = ()
    is_vcenter = True

    def __init__(self, endpoint: Any, guard: Guard, **_arguments: Any) -> None:
        self.endpoint, self.guard = endpoint, guard
        self.sent: list[Sent] = []

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_exception: Any) -> None:
        pass


def vm(moid: str, name: str = "", connection: str = "connected", folder: str = "prod") -> Target:
    return Target(
        ref=Ref("VirtualMachine", moid),
        name=name or moid,
        connection=connection,
        places=(("datacenter", "dc"), ("folder", folder)),
        host=Ref("HostSystem", "host-1"),
        host_name="esx-01",
    )


Go = Callable[..., dict[str, Any]]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Go:
    def run(
        house: House,
        *plan: Open,
        targets: list[Target] | None = None,
        check: bool = False,
        writes: bool = True,
        guard: Guard | None = None,
        diff: bool = False,
        feature: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        for module in (pipeline, at_endpoint):
            monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
        for module in (pipeline, tasks):
            monkeypatch.setattr(module, "wait_for_tasks", house.wait)
        monkeypatch.setattr(pipeline, "collect", house.collect)
        monkeypatch.setattr(pipeline, "Session", FakeSession)
        monkeypatch.setattr(pipeline, "Guard", lambda deadline: guard or Guard(deadline))
        monkeypatch.setattr(Guard, "watch", lambda _self: None)
        kind = replace(ON_VMS, select=lambda _session, _selection: targets or [vm(name) for name in list(house.doors)])
        made = Feature(domain=cast(Any, Doors), translation=cast(Any, house), options={}, targets=kind, writes=writes, **(feature or {}))
        given = {**PARAMS, "parallel": 1, "plan": plan or (OPEN,), **params}
        return door.result_of(pipeline.execute(made, given, check=check, in_process=True), with_diff=diff)

    return run


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name: entry["status"] for name, entry in result["vms"].items()}


def names(entry: dict[str, Any], which: str = "changes") -> list[str]:
    return [change["change"] for change in entry.get(which, ())]


def refusing(*what: str, problem: Callable[[], FleetcareError] = lambda: ServerFault("no", fault="InvalidState")) -> Any:
    """Refuses where "id change" or just the change is listed."""
    return lambda moid, change: problem() if change in what or f"{moid} {change}" in what else None


# ---- tasks in rounds ----------------------------------------------------------------------------------------------------


def test_tasks_of_all_vms_are_awaited_together_and_then_each_goes_on(go: Go) -> None:
    house = House(dict.fromkeys("abc", "shut"))
    result = go(house, KNOCK, OPEN, diff=True)
    assert house.log == [
        "read a b c",
        "a knock",
        "b knock",
        "c knock",
        "await a b c",
        "a open",
        "b open",
        "c open",
        "await a b c",
        "read a b c",
    ]
    assert statuses(result) == dict.fromkeys("abc", "changed") and result["summary"] == {"changed": 3}
    assert names(result["vms"]["a"]) == ["knock", "open"] and result["diff"]["after"]["a"] == {"door": "open"}
    assert "hosts" not in result and result["msg"] == "3 VMs: 3 changed."


def test_changes_without_a_task_are_made_in_one_go(go: Go) -> None:
    house = House(dict.fromkeys("ab", "shut"))
    go(house, replace(KNOCK, sync=True), replace(OPEN, sync=True))
    assert house.log == ["read a b", "a knock", "a open", "b knock", "b open", "read a b"]


def test_with_and_without_tasks_go_together(go: Go) -> None:
    """Only who has started a task waits for those of the others."""
    house = House(dict.fromkeys("ab", "shut"))
    go(house, replace(KNOCK, sync=True), OPEN, replace(OPEN, name="greet", sync=True))
    assert house.log == ["read a b", "a knock", "a open", "b knock", "b open", "await a b", "a greet", "b greet", "read a b"]


def test_a_task_that_ends_with_an_error_is_the_failure_of_its_change(go: Go) -> None:
    house = House(dict.fromkeys("ab", "shut"), refuse=refusing("a knock"))
    result = go(house, KNOCK, OPEN)
    assert statuses(result) == {"a": "failed", "b": "changed"}
    entry = result["vms"]["a"]
    assert (entry["failure"]["fault"], entry["failure"]["doing"], entry["failure"]["kind"]) == ("InvalidState", "knock", "server_fault")
    assert names(entry) == [] and names(entry, "not_done") == ["knock", "open"] and "because" not in entry
    assert house.log[3:6] == ["await a b", "b open", "await b"]


@pytest.mark.parametrize("problem", [TimedOut, Interrupted])
def test_a_task_that_was_not_seen_to_end_counts_if_it_had_its_effect(problem: type[FleetcareError], go: Go) -> None:
    lost = refusing("open", problem=lambda: problem("its task was still running"))
    done = go(House({"a": "shut"}, refuse=lost, effect=lambda moid, change: True), KNOCK, OPEN)["vms"]["a"]
    assert (done["status"], done["failure"], names(done)) == ("changed", None, ["knock", "open"])
    entry = go(House({"a": "shut"}, refuse=lost), KNOCK, OPEN)["vms"]["a"]
    assert entry["status"] == "failed" and entry["failure"]["cause"] == "its task was still running; the VM may still be at it"
    assert names(entry) == ["knock"] and names(entry, "not_done") == ["open"] and entry["changed"]


def test_after_a_stop_whose_task_ended_is_told_and_nothing_more_is_written(go: Go) -> None:
    guard = Guard()

    def stop(moid: str, change: str) -> None:
        guard.stop("a test says so")

    house = House(dict.fromkeys("ab", "shut"), refuse=stop)
    result = go(house, KNOCK, OPEN, guard=guard)
    assert house.log == ["read a b", "a knock", "b knock", "await a b", "read a b"]
    for entry in result["vms"].values():
        assert names(entry) == ["knock"] and names(entry, "not_done") == ["open"] and entry["failure"]["kind"] == "interrupted"
        assert "stopped before the next write" in entry["failure"]["cause"] and "still be at it" not in entry["failure"]["cause"]


def test_max_failures_counts_failed_tasks_and_lets_the_begun_go_on(go: Go) -> None:
    house = House(dict.fromkeys("abc", "shut"), refuse=refusing("a knock"))
    result = go(house, KNOCK, OPEN, waves=["2", "100%"], max_failures=0)
    assert statuses(result) == {"a": "failed", "b": "changed", "c": "skipped"}
    assert result["waves"] == [{"vms": 2, "changed": 1, "failed": 1, "failed_vms": ["a"]}]
    assert "1 failed (a) and max_failures is 0" in result["vms"]["c"]["failure"]["cause"]


def test_lines_of_waves_speak_of_vms(go: Go, tmp_path: Path) -> None:
    file = tmp_path / "progress"
    go(House(dict.fromkeys("ab", "shut")), waves=["1", "100%"], progress_file=str(file))
    assert file.read_text().splitlines()[0] == "wave 1 of 2: 1 VM, 1 changed, 0 failed; 1 to go"
    with pytest.raises(BadInput, match="neither a number of VMs"):
        go(House({}), waves=["x"])


# ---- another object -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True], ids=["by the task's result", "by what apply gives"])
def test_a_vm_that_became_another_object_is_that_from_then_on(sync: bool, go: Go) -> None:
    house = House({"vm-1": "shut", "vm-2": "shut"}, becomes={"vm-1": "vm-9"})
    result = go(house, Open("force", sync=sync, leads_to="ajar"), OPEN, targets=[vm("vm-1", "app"), vm("vm-2", "db")])
    assert {"vm-9 open", "vm-2 open"} <= set(house.log) and house.log[-1] == "read vm-9 vm-2"
    assert statuses(result) == {"app": "changed", "db": "changed"}
    assert (result["vms"]["app"]["moid"], result["vms"]["db"]["moid"]) == ("vm-9", "vm-2")


# ---- fallbacks ----------------------------------------------------------------------------------------------------------


def test_a_fallback_is_not_tried_where_nothing_failed(go: Go) -> None:
    house = House({"a": "shut"})
    entry = go(house, OPEN, FORCE)["vms"]["a"]
    assert "a force" not in house.log and entry["status"] == "changed"
    assert names(entry) == ["open"] and "not_done" not in entry and "because" not in entry


def test_a_fallback_that_succeeds_makes_up_for_what_was_refused_and_that_stays_told(go: Go) -> None:
    house = House({"a": "shut", "b": "shut"}, refuse=refusing("a open"), becomes={"a": "z"})
    result = go(house, KNOCK, OPEN, FORCE, diff=True)
    assert statuses(result) == {"a": "changed", "b": "changed"}
    entry = result["vms"]["a"]
    assert entry["failure"] is None and names(entry) == ["knock", "force"] and "not_done" not in entry
    assert entry["because"] == "a: no [InvalidState] (while open)." and "because" not in result["vms"]["b"]
    assert entry["moid"] == "z" and result["diff"]["after"]["a"] == {"door": "open"}
    assert house.log == ["read a b", "a knock", "b knock", "await a b", "a open", "b open", "await a b", "a force", "await a", "read z b"]


def test_what_comes_after_a_fallback_that_succeeded_is_made(go: Go) -> None:
    house = House({"a": "shut"}, refuse=refusing("knock"))
    entry = go(house, KNOCK, Instead("force", leads_to="ajar"), OPEN, Instead("burst"))["vms"]["a"]
    assert names(entry) == ["force", "open"] and entry["status"] == "changed" and "not_done" not in entry
    assert "a burst" not in house.log, "nothing failed since"


def test_a_fallback_that_is_refused_too_is_the_failure_and_both_are_told(go: Go) -> None:
    house = House({"a": "shut"}, refuse=refusing("open", "force"))
    entry = go(house, OPEN, FORCE, Open("greet"))["vms"]["a"]
    assert entry["status"] == "failed" and entry["failure"]["doing"] == "force" and entry["failure"]["fault"] == "InvalidState"
    assert entry["failure"]["cause"] == "no; before that open failed: no"
    assert names(entry) == [] and names(entry, "not_done") == ["open", "force", "greet"] and "because" not in entry


@pytest.mark.parametrize("problem", [TimedOut, Interrupted, EndpointUnreachable])
def test_a_lost_answer_is_no_reason_for_a_fallback(problem: type[FleetcareError], go: Go) -> None:
    house = House({"a": "shut"}, refuse=refusing("open", problem=lambda: problem("no answer")))
    entry = go(house, OPEN, FORCE)["vms"]["a"]
    assert "a force" not in house.log and entry["status"] == "failed"
    assert names(entry, "not_done") == ["open"], "a fallback that was not needed is nothing that was left out"


@pytest.mark.parametrize("kept", [True, False])
def test_a_fallback_whose_answer_is_lost_is_judged_by_what_is_read_back(kept: bool, go: Go) -> None:
    def refuse(moid: str, change: str) -> FleetcareError | None:
        return {"open": ServerFault("no"), "force": TimedOut("no answer")}[change]

    house = House({"a": "shut"}, refuse=refuse, effect=lambda moid, change: kept and change == "force")
    entry = go(house, OPEN, FORCE)["vms"]["a"]
    assert entry["because"] == "a: no (while open)."
    if kept:
        assert entry["failure"] is None and names(entry) == ["force"] and "not_done" not in entry
    else:
        assert entry["failure"]["cause"] == "no answer; the VM may still be at it" and names(entry, "not_done") == ["force"]


def test_a_change_with_a_field_of_that_name_is_no_fallback(go: Go) -> None:
    """The protocol of a clock has one."""

    @dataclass(frozen=True)
    class Clock(Open):
        fallback: bool | None = None

    assert names(go(House({"a": "shut"}), Clock(fallback=True))["vms"]["a"]) == ["open"]


def test_fallbacks_in_a_row_belong_together(go: Go) -> None:
    take, give = Instead("take", leads_to="gone"), PutBack("give")
    whole = House({"a": "shut"}, refuse=refusing("open"))
    entry = go(whole, OPEN, take, give)["vms"]["a"]
    assert names(entry) == ["take", "give"] and entry["status"] == "changed" and "not_done" not in entry
    assert entry["because"].endswith("(while open).")

    half = House({"a": "shut"}, refuse=refusing("open", "give"))
    entry = go(half, OPEN, take, give)["vms"]["a"]
    assert names(entry) == ["take"] and names(entry, "not_done") == ["give"] and entry["failure"]["doing"] == "give"

    lost = House({"a": "shut"}, refuse=lambda moid, change: {"open": ServerFault("no"), "take": TimedOut("x")}.get(change))
    assert go(lost, OPEN, take, give)["vms"]["a"]["status"] == "changed", "what puts back is tried although taking away was not answered"

    fine = House({"a": "shut"})
    assert names(go(fine, OPEN, take, give)["vms"]["a"]) == ["open"] and "a give" not in fine.log


def test_a_check_announces_a_fallback_with_its_condition_and_predicts_without_it(go: Go) -> None:
    house = House({"a": "shut"})
    result = go(house, Open(leads_to="open"), Instead("force", leads_to="splintered"), check=True, diff=True)
    entry = result["vms"]["a"]
    assert entry["changes"] == [{"change": "open"}, {"change": "force", "only_if": "the changes before it fail"}]
    assert entry["status"] == "would_change" and result["diff"]["after"]["a"] == {"door": "open"} and house.log == ["read a"]
    plan = Doors.plan("shut", (OPEN, FORCE), None)
    assert plan.predicted == "open" and [is_fallback(change) for change in plan.changes] == [False, True]


def test_what_is_not_begun_does_not_list_a_fallback(go: Go) -> None:
    result = go(House(dict.fromkeys("ab", "shut")), OPEN, FORCE, waves=["1"])
    assert names(result["vms"]["b"], "not_done") == ["open"] and statuses(result)["b"] == "skipped"
    held = go(House(dict.fromkeys("ab", "shut")), OPEN, FORCE, waves=["1"], check=True)["vms"]["b"]
    assert names(held) == [] and names(held, "not_done") == ["open"]


# ---- entries ------------------------------------------------------------------------------------------------------------


def test_a_vm_of_a_host_that_is_away_is_unreachable_and_names_it(go: Go) -> None:
    house = House({"a": "shut", "b": "shut", "c": "shut"})
    result = go(house, targets=[vm("a", connection="disconnected"), vm("b", connection="unknown"), vm("c")])
    assert statuses(result) == {"a": "unreachable", "b": "failed", "c": "changed"} and house.log[0] == "read c"
    away, hidden = result["vms"]["a"]["failure"], result["vms"]["b"]["failure"]
    assert away["kind"] == HostUnreachable.kind and "no connection to esx-01, the host of the VM" in away["cause"]
    assert hidden["kind"] == "permission_missing" and "the state of the VM" in hidden["cause"]
    assert "3 VMs: 1 unreachable, 1 failed, 1 changed" in result["msg"] or result["msg"].startswith("3 VMs: 1 ")


@pytest.mark.parametrize("connection", ["connected", "invalid", "orphaned", "inaccessible"])
def test_every_other_state_is_the_features_to_judge(connection: str, go: Go) -> None:
    """Such a machine has neither config nor, at times, a host; what is lacking is no failure."""
    entry = go(House({"a": "open"}), targets=[vm("a", connection=connection)])["vms"]["a"]
    assert entry["status"] == "compliant" and entry["door"] == "open" and entry["host"] == "esx-01"


def test_what_may_not_be_read_of_a_vm_is_its_failure(go: Go) -> None:
    house = House({"a": "shut", "b": "shut"}, missing={"a": {STATE: "NoPermission"}, "b": {STATE: "SystemError"}})
    result = go(house, targets=[vm("a"), vm("b"), vm("gone")])
    assert {name: entry["failure"]["kind"] for name, entry in result["vms"].items()} == {
        "a": "permission_missing",
        "b": "server_fault",
        "gone": "target_unknown",
    }
    assert "the VM left the inventory" in result["vms"]["gone"]["failure"]["cause"]


def test_vms_that_share_a_name_are_told_apart_by_path_and_in_vapps_by_id(go: Go) -> None:
    house = House(dict.fromkeys(("vm-1", "vm-2", "vm-3", "vm-4"), "shut"))
    targets = [vm("vm-1", "app"), vm("vm-2", "app", folder="test"), vm("vm-3", "db"), vm("vm-4", "db")]
    result = go(house, targets=targets)
    assert {name: entry["moid"] for name, entry in result["vms"].items()} == {
        "dc/prod/app": "vm-1",
        "dc/test/app": "vm-2",
        "dc/prod/db (vm-3)": "vm-3",
        "dc/prod/db (vm-4)": "vm-4",
    }


def test_a_record_of_vms_says_so(go: Go, tmp_path: Path) -> None:
    house = House({"a": "shut"})
    feature = {"record": lambda state: {"door": state}, "record_form": "fleetcare.esxi doors record 1"}
    result = go(house, backup=True, backup_dir=str(tmp_path), feature=feature)
    kept = pipeline.records.read(result["backup_file"])
    assert kept["vms"] == [{"door": "shut"}] and "hosts" not in kept


def test_a_reading_module_tells_the_host_of_each_vm(go: Go) -> None:
    entry = go(House({"a": "shut"}), writes=False)["vms"]["a"]
    assert entry["host"] == "esx-01" and "changes" not in entry


def test_vm_modules_have_the_options_of_vms() -> None:
    feature = Feature(domain=cast(Any, Doors), translation=cast(Any, None), options={}, targets=ON_VMS)
    assert set(options_of(feature)) == {*ENDPOINT, *VMS, *RUN, *CHANGES} and set(VMS) == {"vm_name", "vm_moid", "skip_missing", *HOSTS} - {
        "unknown_hosts"
    }
    assert set(options_of(replace(feature, writes=False))) == {*ENDPOINT, *VMS, *RUN}


# ---- with a simulated vCenter -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unlock(Open):
    pass


@dataclass(frozen=True)
class Reregister(Instead):
    pass


class Keys:
    """A translation that unlocks, or else takes a machine out of the inventory and puts it in again."""

    SHRINK: Mapping[str, Any] = {}
    PROBES = ()

    def properties(self, wanted: Any) -> tuple[str, ...]:
        return (STATE, "parent", "resourcePool", "summary.config.vmPathName", "runtime.host")

    def measure(self, session: Any, rows: Any, wanted: Any, parallel: int) -> dict[Any, Any]:
        return {}

    def observe(self, row: Row, extra: Mapping[str, Any]) -> str:
        return "shut" if row.values.get(STATE) == "locked" else "open"

    def apply(self, session: Any, target: Target, row: Row, change: Open) -> Ref | None:
        if isinstance(change, Unlock):
            return Ref("Task", session.write(target.path, target.ref, "CryptoUnlock_Task")._moId)
        session.write(target.path, target.ref, "UnregisterVM")
        task = session.write(
            target.path,
            row.values["parent"],
            "RegisterVM_Task",
            path=row.values["summary.config.vmPathName"],
            name=target.name,
            asTemplate=False,
            pool=session.managed(row.values["resourcePool"]),
            host=session.managed(row.values["runtime.host"]),
        )
        return Ref("Task", task._moId)


@pytest.fixture
def vcenter() -> Any:
    key_servers_for("encrypted")
    with Simulator("encrypted") as sim:
        yield sim


def unlocked(sim: Simulator, *plan: Open, **params: Any) -> dict[str, Any]:
    feature = Feature(domain=cast(Any, Doors), translation=cast(Any, Keys()), options={}, targets=ON_VMS)
    given = {name: spec.get("default") for name, spec in options_of(feature).items()}
    given.update(reach(sim), session="single", plan=plan or (Unlock(),), **params)
    return door.result_of(pipeline.execute(feature, given, check=False, in_process=True), with_diff=True)


def test_locked_machines_are_opened_with_one_filter_for_all_their_tasks(vcenter: Simulator) -> None:
    vcenter.act("stop_key_server", server="kms-a.example.com")
    for number in (1, 2):
        vcenter.act("reboot_host", host=f"esx-0{number}*")
    vcenter.act("start_key_server", server="kms-a.example.com")
    vcenter.clear_journal()
    result = unlocked(vcenter, folder=["App"])
    assert statuses(result) == dict.fromkeys(("app-01", "app-02", "app-03", "app-04"), "changed"), result["msg"]
    calls = vcenter.summary()["by_method"]
    assert (calls["CryptoUnlock_Task"], calls["CreateFilter"], calls["DestroyPropertyFilter"]) == (4, 1, 1)
    assert result["vms"]["app-01"]["host"] == "esx-01.example.com"


def test_what_is_refused_is_registered_anew_and_is_another_object(vcenter: Simulator) -> None:
    vcenter.act("stop_key_server", server="kms-a.example.com")
    vcenter.act("reboot_host", host="esx-01*")
    vcenter.act("start_key_server", server="kms-a.example.com")
    vcenter.fault(method="CryptoUnlock_Task", count=None, fault="InvalidState")
    plain = unlocked(vcenter, vm_name=["app-01"])["vms"]["app-01"]
    assert plain["failure"]["fault"] == "InvalidState" and plain["door"] == "shut"
    entry = unlocked(vcenter, Unlock(), Reregister("force"), vm_name=["app-01"])["vms"]["app-01"]
    assert entry["status"] == "changed" and entry["failure"] is None and entry["door"] == "open"
    assert names(entry) == ["force"] and entry["moid"] != plain["moid"] and "InvalidState" in entry["because"]


def test_a_machine_of_a_host_that_is_away_is_unreachable(vcenter: Simulator) -> None:
    vcenter.act("disconnect", host="esx-01*")
    result = unlocked(vcenter, vm_name=["app-01", "app-02"])
    assert statuses(result) == {"app-01": "unreachable", "app-02": "compliant"}
    assert "esx-01.example.com, the host of the VM" in result["vms"]["app-01"]["failure"]["cause"]


def test_a_task_that_is_still_running_at_the_deadline_is_told(vcenter: Simulator) -> None:
    vcenter.act("stop_key_server", server="kms-a.example.com")
    vcenter.act("reboot_host", host="esx-01*")
    vcenter.world.options["task_delay"] = 30
    try:
        entry = unlocked(vcenter, vm_name=["app-01"], deadline=2.0)["vms"]["app-01"]
    finally:
        vcenter.world.options["task_delay"] = 0.02
    assert entry["status"] == "failed" and entry["failure"]["kind"] == "interrupted"
    assert "still running" in entry["failure"]["cause"] and "the VM may still be at it" in entry["failure"]["cause"]

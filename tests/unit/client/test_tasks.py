# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for tasks, with a clock and a server that are made up: few calls for many tasks, nothing that is known gets lost."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks as module
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.tasks import ref_of, wait_for_tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref, vim
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    Interrupted,
    ServerFault,
    TimedOut,
)


class Server:
    """Tasks that end at given seconds. It tells what is new since the last call, at once if there is any, as vCenter does."""

    def __init__(self, ends: dict[str, float], results: dict[str, Any] | None = None) -> None:
        self.now = 0.0
        self.ends, self.results = ends, results or {}
        self.told: dict[str, str] = {}
        self.filters: dict[str, list[str]] = {}
        self.calls: list[str] = []
        self.fail: dict[int, FleetcareError] = {}
        self.stop_at = math.inf
        self.guard = self
        self.stopped_at = 0.0
        self.is_rescuing = False
        self.endpoint = SimpleNamespace(read_timeout=60.0)
        self.content = SimpleNamespace(propertyCollector=SimpleNamespace(_moId="collector"))

    @property
    def reason(self) -> str:
        if self.now >= self.stop_at:
            self.stopped_at = self.stop_at
        return "a test says so" if self.now >= self.stop_at else ""

    def remaining(self, at_most: float) -> float:
        return min(at_most, 100.0)

    def pause(self, seconds: float) -> bool:
        if self.reason:
            return False
        self.now += seconds
        return not self.reason

    def managed(self, ref: Ref) -> Any:
        return vim.Task(ref.id)

    def state(self, name: str) -> str:
        if self.now < self.ends[name]:
            return "running"
        return "error" if isinstance(self.results.get(name), vim.fault.VimFault) else "success"

    def read(self, ref: Ref, operation: str, **arguments: Any) -> Any:
        self.calls.append(operation)
        if operation == "CreateFilter":
            self.filters[f"filter-{len(self.calls)}"] = [item.obj._moId for item in arguments["spec"].objectSet]
            return SimpleNamespace(_moId=f"filter-{len(self.calls)}")
        if operation == "DestroyPropertyFilter":
            del self.filters[ref.id]
            return None
        problem = self.fail.pop(self.calls.count(operation), None)
        if problem:
            raise problem
        if not arguments["version"]:
            self.told = {}
        watched = [name for names in self.filters.values() for name in names]
        news = [name for name in watched if self.told.get(name) != self.state(name)]
        if not news:
            later = min((self.ends[name] for name in watched if self.ends[name] > self.now), default=math.inf)
            waited = min(later, self.now + arguments["options"].maxWaitSeconds)
            self.now = waited
            news = [name for name in watched if self.told.get(name) != self.state(name)]
            if not news:
                return None
        self.told.update((name, self.state(name)) for name in news)
        self.now += 0.002
        objects = [SimpleNamespace(obj=SimpleNamespace(_moId=name), changeSet=self.changes(name)) for name in news]
        return SimpleNamespace(version=str(len(self.calls)), filterSet=[SimpleNamespace(objectSet=objects)])

    def changes(self, name: str) -> list[Any]:
        state = self.state(name)
        values: dict[str, Any] = {"info.state": state}
        if state == "success":
            values["info.result"] = self.results.get(name)
        if state == "error":
            values["info.error"] = SimpleNamespace(fault=self.results[name])
        return [SimpleNamespace(name=key, val=value) for key, value in values.items()]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    shown = SimpleNamespace(server=None)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: shown.server.now))
    return shown


def wait(clock: SimpleNamespace, server: Server, timeout: float = math.inf) -> dict[str, Any]:
    clock.server = server
    refs = [Ref("Task", name) for name in server.ends]
    outcome = wait_for_tasks(cast(Session, server), refs, timeout=timeout)
    assert server.filters == {}, "no filter is left behind"
    assert set(outcome) == set(refs)
    return {ref.id: result for ref, result in outcome.items()}


def test_three_hundred_tasks_that_end_one_by_one_are_few_calls(clock: SimpleNamespace) -> None:
    server = Server({f"task-{n}": 0.025 * n for n in range(1, 301)})
    assert set(wait(clock, server).values()) == {None}
    assert server.calls.count("CreateFilter") == 1 and server.calls.count("WaitForUpdatesEx") <= 12
    assert server.now < 7.5 + 1.1, "and the last one is not waited for much longer than it takes"


@pytest.mark.parametrize("seconds", [0.05, 0.5, 3.0, 30.0])
def test_a_single_task_is_not_waited_for_longer_than_it_takes(clock: SimpleNamespace, seconds: float) -> None:
    server = Server({"task-1": seconds})
    wait(clock, server)
    assert server.now <= seconds + 0.11 and server.calls.count("WaitForUpdatesEx") <= 5


def test_a_filter_holds_five_hundred_tasks_and_all_are_awaited_together(clock: SimpleNamespace) -> None:
    server = Server({f"task-{n}": 5.0 for n in range(1201)})
    sizes = []
    read = server.read

    def noted(ref: Ref, operation: str, **arguments: Any) -> Any:
        if operation == "CreateFilter":
            sizes.append(len(arguments["spec"].objectSet))
        return read(ref, operation, **arguments)

    server.read = noted  # type: ignore[method-assign]
    wait(clock, server)
    assert sizes == [500, 500, 201] and server.now < 6 and server.calls.count("WaitForUpdatesEx") < 10


def test_each_task_has_its_own_result(clock: SimpleNamespace) -> None:
    machine = vim.VirtualMachine("vm-7")
    found = wait(clock, Server(dict.fromkeys("abc", 1.0), {"a": machine, "b": vim.fault.InvalidState(), "c": 5}))
    assert ref_of(found["a"]) == Ref("VirtualMachine", "vm-7") and ref_of(found["c"]) is None and ref_of(None) is None
    assert isinstance(found["b"], ServerFault) and found["b"].fault == "InvalidState"


def test_a_task_that_takes_too_long_is_told_as_such_and_the_others_as_they_ended(clock: SimpleNamespace) -> None:
    found = wait(clock, Server({"a": 1.0, "b": 100.0}), timeout=10)
    assert found["a"] is None and isinstance(found["b"], TimedOut) and "still running after 10 s" in found["b"].cause


def test_after_a_stop_tasks_have_half_of_the_grace_to_end(clock: SimpleNamespace) -> None:
    server = Server({"a": 6.0, "b": 100.0})
    server.stop_at = 3.0
    found = wait(clock, server)
    assert found["a"] is None and isinstance(found["b"], Interrupted) and "a test says so" in found["b"].cause


def test_where_the_filter_went_away_with_its_session_another_is_made(clock: SimpleNamespace) -> None:
    server = Server({"a": 0.5, "b": 2.0})
    server.fail = {3: ServerFault("the version is not known", fault="InvalidCollectorVersion")}
    assert wait(clock, server) == {"a": None, "b": None}
    assert server.calls.count("CreateFilter") == 2


def test_what_ended_before_the_connection_was_lost_is_known(clock: SimpleNamespace) -> None:
    server = Server({"a": 0.0, "b": 20.0})
    server.fail = dict.fromkeys((2, 3), EndpointUnreachable("connection lost"))
    found = wait(clock, server)
    assert found["a"] is None and isinstance(found["b"], TimedOut) and "could not be followed: connection lost" in found["b"].cause


def test_no_tasks_are_no_calls(clock: SimpleNamespace) -> None:
    server = Server({})
    assert wait(clock, server) == {} and server.calls == []

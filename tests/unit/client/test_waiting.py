# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting by looking: one read for all, an endpoint that is away, time that runs out, and what is said then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import waiting
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.waiting import Condition, Sight, wait_for_conditions
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    HostUnreachable,
    Interrupted,
    LoginRefused,
    ServerFault,
    TargetUnknown,
    TimedOut,
)


class Endpoint:
    """Gives one look after the other: values by object id, or an error. The last goes on for ever."""

    def __init__(self, *looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.guard = Guard(60)
        self.looks = list(looks)
        self.asked: list[tuple[dict[str, Sequence[str]], list[Ref]]] = []
        monkeypatch.setattr(waiting, "read_rows", self.read)
        monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.001)
        monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 0.002)

    def read(self, _session: Any, paths: Mapping[str, Sequence[str]], refs: Sequence[Ref]) -> dict[Ref, Row]:
        self.asked.append((dict(paths), list(refs)))
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return {ref: Row(ref, look[ref.id], {}) for ref in refs if ref.id in look}


def waits(moid: str = "host-1", within: float = 5.0, **given: Any) -> Condition:
    def judge(values: Mapping[str, Any] | None) -> Sight:
        if values is None:
            return Sight(False, "no answer")
        return Sight(bool(values.get("up")), f"up is {values.get('up')}", begun=values.get("gone", False))

    return Condition(Ref("HostSystem", moid), ("up",), judge, "its return", within, **given)


def test_all_are_looked_at_together_until_each_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint({"host-1": {"up": False}, "host-2": {"up": True}}, {"host-1": {"up": True}}, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits("host-1"), waits("host-2")]) == [None, None]  # type: ignore[arg-type]
    assert [len(refs) for _paths, refs in endpoint.asked] == [2, 1]


def test_an_endpoint_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = EndpointUnreachable("no connection")
    endpoint = Endpoint({"host-1": {"up": False}}, gone, gone, {"host-1": {"up": True}}, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits()]) == [None]  # type: ignore[arg-type]


def test_time_that_runs_out_tells_what_was_seen_last(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint({"host-1": {"up": False}}, EndpointUnreachable("no connection"), monkeypatch=monkeypatch)
    (came,) = wait_for_conditions(endpoint, [waits(within=0.05, hint="Look.")])  # type: ignore[arg-type]
    assert isinstance(came, TimedOut) and came.cause == "its return did not come about within 0.05 s; last seen: no answer"
    assert came.hint == "Look."


def test_a_lost_answer_is_given_up_when_nothing_begins_and_not_when_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "BEGINS_WITHIN", 0.02)
    endpoint = Endpoint({"host-1": {"up": False}, "host-2": {"up": False, "gone": True}}, monkeypatch=monkeypatch)
    conditions = [waits("host-1", 0.3, lost=EndpointUnreachable("the connection was lost")), waits("host-2", 0.3)]
    conditions[1].lost = EndpointUnreachable("the connection was lost")
    first, second = wait_for_conditions(endpoint, conditions)  # type: ignore[arg-type]
    assert isinstance(first, EndpointUnreachable) and "in 0.02 s nothing was seen of its return: up is False" in first.cause
    assert isinstance(second, TimedOut)


def test_silence_after_a_lost_answer_is_no_sign_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network may be cut: then neither the write nor anything else has arrived."""
    monkeypatch.setattr(waiting, "BEGINS_WITHIN", 0.02)
    endpoint = Endpoint(EndpointUnreachable("no connection"), monkeypatch=monkeypatch)

    def silent(values: Mapping[str, Any] | None) -> Sight:
        return Sight(values is None, "no answer", begun=False)

    heard = Condition(HOST, ("up",), silent, "its end", 5.0)
    lost = Condition(HOST, ("up",), silent, "its end", 5.0, lost=EndpointUnreachable("the connection was lost"))
    assert wait_for_conditions(endpoint, [heard]) == [None] and heard.silent  # type: ignore[arg-type]
    (came,) = wait_for_conditions(endpoint, [lost])  # type: ignore[arg-type]
    assert isinstance(came, EndpointUnreachable) and came.cause.endswith("nothing was seen of its end: no answer")


HOST = Ref("HostSystem", "host-1")
TASK = Ref("Task", "task-1")


def test_a_task_that_ends_with_an_error_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ServerFault("no")
    monkeypatch.setattr(waiting, "wait_for_tasks", lambda _session, tasks: dict.fromkeys(tasks, refused))
    endpoint = Endpoint({"host-1": {"up": False}, "task-1": {"info.state": "error"}}, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits(task=TASK)]) == [refused]  # type: ignore[arg-type]


@pytest.mark.parametrize("task_ends", [True, False])
def test_the_server_may_have_to_be_done_with_its_task(monkeypatch: pytest.MonkeyPatch, task_ends: bool) -> None:
    """A host shows its new mode a moment before the task of it ends."""
    looks = [{"host-1": {"up": True}, "task-1": {"info.state": state}} for state in ("queued", "running", "success")]
    endpoint = Endpoint(*looks, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits(task=TASK, task_ends=task_ends)]) == [None]  # type: ignore[arg-type]
    assert len(endpoint.asked) == (3 if task_ends else 1)


def test_a_task_that_lost_its_host_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = HostUnreachable("the host does not answer vCenter")
    monkeypatch.setattr(waiting, "wait_for_tasks", lambda _session, tasks: dict.fromkeys(tasks, lost))
    endpoint = Endpoint({"host-1": {}, "task-1": {"info.state": "error"}}, {"host-1": {"up": True}}, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits(task=TASK)]) == [None]  # type: ignore[arg-type]


def test_a_task_that_nobody_knows_any_more_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(TargetUnknown("Task:task-1 is not there any more"), {"host-1": {"up": True}}, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits(task=TASK)]) == [None]  # type: ignore[arg-type]
    assert TASK in endpoint.asked[0][1] and TASK not in endpoint.asked[1][1]


@pytest.mark.parametrize("problem", [LoginRefused("no"), ServerFault("no")])
def test_what_waiting_does_not_mend_ends_it_for_those_who_still_wait(monkeypatch: pytest.MonkeyPatch, problem: FleetcareError) -> None:
    endpoint = Endpoint({"host-1": {"up": True}, "host-2": {"up": False}}, problem, monkeypatch=monkeypatch)
    assert wait_for_conditions(endpoint, [waits("host-1"), waits("host-2")]) == [None, problem]  # type: ignore[arg-type]


def test_a_stop_gives_one_more_look(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint({"host-1": {"up": True}, "host-2": {"up": False}}, monkeypatch=monkeypatch)
    endpoint.guard.stop("signal SIGTERM was received")
    first, second = wait_for_conditions(endpoint, [waits("host-1"), waits("host-2")])  # type: ignore[arg-type]
    assert first is None and isinstance(second, Interrupted) and "signal SIGTERM" in second.cause and "up is False" in second.cause
    assert len(endpoint.asked) == 1

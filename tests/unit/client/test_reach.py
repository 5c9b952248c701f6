# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is still there: what counts as lost, how often is looked, and what is never sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import reach
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    ServerFault,
    TimedOut,
)

DC = Ref("Datacenter", "datacenter-1")


def host(name: str, datacenter: Ref | None = DC) -> Target:
    return Target(ref=Ref("HostSystem", name), name=name, connection="connected", datacenter=datacenter)


A, B, C = host("a"), host("b"), host("c")


class FakeSession:
    """``states``: of each host, one a look; the last stays. ``faults``: what QueryConnectionInfo ends with."""

    def __init__(self, *, vcenter: bool = True, faults: dict[str, str] | None = None, **states: Iterable[str]) -> None:
        self.is_vcenter = vcenter
        self.guard = Guard()
        self.states = {name: list(each) for name, each in states.items()}
        self.faults = faults or {}
        self.knocks: list[FleetcareError | None] = [None]
        self.looked: list[list[str]] = []
        self.tried: list[dict[str, Any]] = []
        self.written: list[tuple[str, str]] = []
        self.collecting: Callable[[int], None] = lambda count: None

    def collect(self, _session: Any, refs: list[Ref], paths: list[str], *_more: Any, **_kw: Any) -> dict[Ref, Row]:
        assert paths == ["runtime.connectionState"]
        self.looked.append([ref.id for ref in refs])
        self.collecting(len(self.looked))
        rows = {}
        for ref in refs:
            states = self.states.get(ref.id, ["connected"])
            state = states.pop(0) if len(states) > 1 else states[0]
            if state != "gone":
                rows[ref] = Row(ref, {paths[0]: state} if state else {}, {})
        return rows

    def knock(self) -> FleetcareError | None:
        return self.knocks.pop(0) if len(self.knocks) > 1 else self.knocks[0]

    def read(self, ref: Ref, operation: str, **arguments: Any) -> None:
        assert (ref, operation) == (DC, "QueryConnectionInfo")
        self.tried.append(arguments)
        raise ServerFault("no", fault=self.faults.get(arguments["hostname"], "SSLVerifyFault"))

    def write(self, path: str, ref: Ref, operation: str) -> Any:
        self.written.append((ref.id, operation))
        return SimpleNamespace(_moId="task-1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_PAUSE", 0.005)
    monkeypatch.setattr(reach, "collect", lambda session, *args, **kw: session.collect(session, *args, **kw))


def look(session: FakeSession, *targets: Target) -> dict[str, str]:
    return {one.name: seen for one, seen in reach.look(cast(Any, session), list(targets), 2).items()}


def watch(session: FakeSession, *targets: Target, seconds: float = 0.05) -> list[dict[str, str]]:
    return [{one.name: seen for one, seen in lost.items()} for lost in reach.watch(cast(Any, session), targets, seconds, 2)]


# ---- one look ------------------------------------------------------------------------------------------------------------


def test_a_stand_alone_host_is_lost_when_it_takes_no_new_connection() -> None:
    session = FakeSession(vcenter=False)
    assert look(session, A) == {}
    session.knocks = [EndpointUnreachable("connection refused")]
    assert look(session, A) == {"a": "takes no new connection (connection refused)"}
    assert session.looked == [] and session.tried == [], "a connection that stands proves nothing"


@pytest.mark.parametrize("state", ["notResponding", "disconnected", "gone", ""])
def test_a_host_that_is_not_connected_in_vcenter_is_lost_and_not_tried(state: str) -> None:
    session = FakeSession(a=[state])
    assert look(session, A, B) == {"a": f"is {state or 'unknown'} in vCenter"}
    assert [arguments["hostname"] for arguments in session.tried] == ["b"]


@pytest.mark.parametrize(
    ("fault", "lost"),
    [("NoHost", True), ("SSLVerifyFault", False), ("InvalidLogin", False), ("NoPermission", False), ("HostConnectFault", False)],
)
def test_of_a_new_connection_of_vcenters_only_no_host_means_lost(fault: str, lost: bool) -> None:
    found = look(FakeSession(faults={"a": fault}), A, B)
    assert found == ({"a": "takes no new connection of vCenter's (NoHost)"} if lost else {})


def test_a_new_connection_carries_no_credentials_and_a_thumbprint_that_is_nobodys() -> None:
    session = FakeSession()
    look(session, A)
    (arguments,) = session.tried
    assert arguments == {
        "hostname": "a",
        "port": 443,
        "username": "",
        "password": "",
        "sslThumbprint": ":".join(["00"] * 20),
    }


def test_a_host_outside_of_a_datacenter_is_judged_by_its_state_alone() -> None:
    session = FakeSession(faults={"a": "NoHost"})
    assert look(session, host("a", datacenter=None)) == {} and session.tried == []


# ---- watching --------------------------------------------------------------------------------------------------------------


def test_no_time_is_one_look() -> None:
    session = FakeSession()
    assert watch(session, A, B, seconds=0.0) == [] and session.looked == [["a", "b"]]


def test_hosts_that_stay_are_looked_at_until_the_time_is_over() -> None:
    session = FakeSession()
    assert watch(session, A, B) == [] and len(session.looked) >= 3
    assert all(looked == ["a", "b"] for looked in session.looked)


def test_each_lost_host_is_told_once_and_not_looked_at_again() -> None:
    session = FakeSession(a=["connected", "connected", "notResponding"], b=["disconnected"])
    assert watch(session, A, B, C) == [{"b": "is disconnected in vCenter"}, {"a": "is notResponding in vCenter"}]
    assert session.looked[:4] == [["a", "b", "c"], ["a", "c"], ["a", "c"], ["c"]]


def test_when_all_are_lost_nobody_is_waited_for() -> None:
    session = FakeSession(a=["notResponding"])
    assert watch(session, A, seconds=60.0) == [{"a": "is notResponding in vCenter"}] and len(session.looked) == 1


def test_a_host_that_is_lost_at_the_very_end_is_told() -> None:
    """The last look comes after the time is over: what blocked heartbeats do shows late."""
    session = FakeSession()
    session.collecting = lambda count: session.states.update(a=["notResponding"]) if count == 2 else None
    assert watch(session, A, seconds=0.004) == [{"a": "is notResponding in vCenter"}]


def test_vcenter_makes_new_connections_for_the_first_and_the_last_look_only() -> None:
    session = FakeSession()
    watch(session, A)
    assert len(session.looked) > 2 and len(session.tried) == 2


def test_watching_ends_when_the_run_has_to_stop() -> None:
    session = FakeSession()
    session.collecting = lambda count: session.guard.stop("a test says so")
    assert watch(session, A, seconds=60.0) == [] and len(session.looked) == 1


# ---- coming back -------------------------------------------------------------------------------------------------------------


def test_a_host_comes_back_as_soon_as_a_look_finds_it() -> None:
    session = FakeSession(a=["notResponding", "connected"])
    assert reach.comes_back(cast(Any, session), A, 5.0) and len(session.looked) == 2


def test_a_host_that_does_not_come_back_is_given_up_after_its_time() -> None:
    session = FakeSession(a=["notResponding"])
    assert not reach.comes_back(cast(Any, session), A, 0.0) and len(session.looked) == 1


@pytest.mark.parametrize("problem", [EndpointUnreachable("x"), TimedOut("x")])
def test_an_endpoint_that_does_not_answer_meanwhile_is_asked_again(problem: FleetcareError) -> None:
    session = FakeSession()

    def fail(count: int) -> None:
        if count == 1:
            raise problem

    session.collecting = fail
    assert reach.comes_back(cast(Any, session), A, 5.0)


def test_only_a_host_that_vcenter_has_dropped_is_reconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[list[str], float]] = []
    monkeypatch.setattr(reach, "wait_for_tasks", lambda _session, tasks, timeout: waited.append(([task.id for task in tasks], timeout)))
    for session, written in (
        (FakeSession(a=["notResponding"]), [("a", "ReconnectHost_Task")]),
        (FakeSession(a=["disconnected"]), [("a", "ReconnectHost_Task")]),
        (FakeSession(), []),
        (FakeSession(vcenter=False, a=["notResponding"]), []),
    ):
        reach.reconnect(cast(Any, session), A, 7.0)
        assert session.written == written
    assert waited == [(["task-1"], 7.0)] * 2


def test_a_reconnection_that_fails_is_left_to_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kw: Any) -> None:
        raise ServerFault("no")

    monkeypatch.setattr(reach, "wait_for_tasks", fail)
    reach.reconnect(cast(Any, FakeSession(a=["notResponding"])), A, 7.0)

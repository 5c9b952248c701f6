# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is still there: what counts as lost, to whom a new connection is tried, and what is never sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import reach, vmomi
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    Interrupted,
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
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "collect", lambda session, *args, **kw: session.collect(session, *args, **kw))


def look(session: FakeSession, *targets: Target, anew: tuple[Target, ...] | None = None) -> dict[str, str]:
    found = reach.look(cast(Any, session), list(targets), 2, anew=targets if anew is None else anew)
    return {one.name: seen for one, seen in found.items()}


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


def test_no_new_connection_is_tried_where_none_was_asked_for() -> None:
    session = FakeSession(faults={"a": "NoHost", "b": "NoHost"}, c=["notResponding"])
    assert look(session, A, B, C, anew=()) == {"c": "is notResponding in vCenter"} and session.tried == []
    assert look(session, A, B, C, anew=(B, C)) == {
        "b": "takes no new connection of vCenter's (NoHost)",
        "c": "is notResponding in vCenter",
    }
    assert [arguments["hostname"] for arguments in session.tried] == ["b"]
    alone = FakeSession(vcenter=False)
    alone.knocks = [EndpointUnreachable("connection refused")]
    assert look(alone, A, anew=()) == {} and look(alone, A) != {}


def test_nobody_who_is_not_looked_at_is_tried() -> None:
    session = FakeSession(faults={"b": "NoHost"})
    assert look(session, A, anew=(A, B)) == {} and [arguments["hostname"] for arguments in session.tried] == ["a"]


@pytest.mark.parametrize("vcenter", [True, False])
def test_it_is_looked_in_the_grace_after_a_stop_too(vcenter: bool) -> None:
    session = FakeSession(vcenter=vcenter, faults={"a": "NoHost", "b": "NoHost"})
    session.knocks = [EndpointUnreachable("connection refused")]
    session.guard.stop("a test says so")
    assert set(look(session, A, B)) == {"a", "b"}


def test_a_look_that_fails_says_so() -> None:
    session = FakeSession()

    def fail(_count: int) -> None:
        raise EndpointUnreachable("vCenter is gone")

    session.collecting = fail
    with pytest.raises(EndpointUnreachable):
        look(session, A)


# ---- reconnecting ------------------------------------------------------------------------------------------------------------


def test_only_a_host_that_vcenter_has_dropped_is_reconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[list[str], float]] = []
    monkeypatch.setattr(reach, "wait_for_tasks", lambda _session, tasks, timeout: waited.append(([task.id for task in tasks], timeout)))
    for session, written in (
        (FakeSession(a=["notResponding"]), [("a", "ReconnectHost_Task")]),
        (FakeSession(a=["disconnected"]), [("a", "ReconnectHost_Task")]),
        (FakeSession(), []),
        (FakeSession(vcenter=False, a=["notResponding"]), []),
    ):
        reach.reconnect(cast(Any, session), [A], 4, 7.0)
        assert session.written == written
    assert [tasks for tasks, _seconds in waited if tasks] == [["task-1"]] * 2


@pytest.mark.parametrize("moment", ["look", "write", "wait"])
@pytest.mark.parametrize("problem", [EndpointUnreachable("x"), TimedOut("x"), ServerFault("x"), Interrupted("x")])
def test_a_reconnection_that_fails_is_left_to_the_next_call(moment: str, problem: FleetcareError, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def fail(*_args: Any, **_kw: Any) -> None:
        tried.append(moment)
        raise problem

    session = FakeSession(a=["notResponding"])
    monkeypatch.setattr(reach, "wait_for_tasks", fail if moment == "wait" else lambda *_args, **_kw: None)
    if moment == "look":
        session.collecting = fail
    if moment == "write":
        session.write = fail  # type: ignore[method-assign]
    reach.reconnect(cast(Any, session), [A], 4, 7.0)
    assert tried == [moment]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_reconnection_is_waited_for_in_the_grace_after_a_stop_too(stopped: bool) -> None:
    """The step back that comes next needs the host."""
    calls: list[str] = []

    class Waiting(FakeSession):
        is_rescuing = True
        content = SimpleNamespace(propertyCollector=SimpleNamespace(_moId="propertyCollector"))
        endpoint = SimpleNamespace(read_timeout=60.0)

        def managed(self, ref: Ref) -> Any:
            return vmomi.vim.Task(ref.id, None)

        def read(self, ref: Ref, operation: str, **arguments: Any) -> Any:
            calls.append(operation)
            if operation != "WaitForUpdatesEx":
                return SimpleNamespace(_moId="filter-1")
            state = SimpleNamespace(name="info.state", val="success")
            part = SimpleNamespace(objectSet=[SimpleNamespace(obj=SimpleNamespace(_moId="task-1"), changeSet=[state])])
            return SimpleNamespace(version="1", filterSet=[part])

    session = Waiting(a=["notResponding"])
    if stopped:
        session.guard.stop("a test says so")
    reach.reconnect(cast(Any, session), [A], 4, 7.0)
    assert calls == ["CreateFilter", "WaitForUpdatesEx", "DestroyPropertyFilter"]

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be read, probed and written through a session, with a transport that answers from a list."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import vmomi
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.transport import NotSent
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref, vim
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    Interrupted,
    TimedOut,
    WriteRefused,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import ntp

TIMES, SERVICES = Ref("HostDateTimeSystem", "t-1"), Ref("HostServiceSystem", "s-1")


class FakeReply:
    status = 200
    headers: dict[str, str] = {}

    def __init__(self, body: bytes) -> None:
        self._body = body

    def body(self) -> bytes:
        return self._body


class FakeTransport:
    """Answers each request with its own operation; ``before`` is called when a request is about to leave."""

    def __init__(self, before: Callable[[], Any] = lambda: None, after: Callable[[], Any] = lambda: None, answer: str = "") -> None:
        self.before, self.after, self.answer = before, after, answer
        self.bodies: list[str] = []
        self.certificate = "ab" * 32

    @contextlib.contextmanager
    def exchange(self, prepare: Callable[[], bytes], _headers: dict[str, str], _verb: str = "POST", _path: str = "") -> Iterator[FakeReply]:
        self.before()
        self.bodies.append(prepare().decode())
        self.after()
        operation = self.answer or self.bodies[-1].partition("Body>")[2].partition("<")[2].partition(" ")[0]
        yield FakeReply(
            '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
            f'<soapenv:Body><{operation}Response xmlns="urn:vim25"></{operation}Response></soapenv:Body></soapenv:Envelope>'.encode()
        )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def session(transport: FakeTransport, *, may_write: bool = False, guard: Guard | None = None, **fields: Any) -> Session:
    endpoint = Endpoint(hostname="vc.example.com", port=443, username="u", password="p", validate_certs=False)
    made = Session(endpoint, guard or Guard(), may_write=may_write, **fields)
    made._transport = cast(Any, transport)
    return made


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        # System.Anonymous and System.View in the tables, and changes all the same
        ("HostLocalAccountManager", "ChangePassword"),
        ("VirtualDiskManager", "DeleteVirtualDisk_Task"),
        # another privilege
        ("HostServiceSystem", "StopService"),
        ("HostDateTimeSystem", "UpdateDateTime"),
        # a privilege that lets look, and a name that does not say so
        ("SessionManager", "Logout"),
        ("SessionManager", "Login"),
        # a probe is no read
        ("HostDateTimeSystem", "TestTimeService"),
    ],
)
@pytest.mark.parametrize("may_write", [False, True])
def test_what_may_change_something_is_no_read(kind: str, operation: str, may_write: bool) -> None:
    transport = FakeTransport()
    with pytest.raises(WriteRefused, match=operation):
        session(transport, may_write=may_write).read(Ref(kind, "x-1"), operation)
    assert transport.bodies == []


@pytest.mark.parametrize(
    ("kind", "operation", "arguments"),
    [
        ("HostDateTimeSystem", "QueryDateTime", {}),
        ("EventManager", "QueryEvents", {"filter": vim.event.EventFilterSpec()}),
        ("ServiceInstance", "CurrentTime", {}),
        ("PropertyCollector", "CancelWaitForUpdates", {}),
    ],
)
def test_what_only_looks_is_read(kind: str, operation: str, arguments: dict[str, Any]) -> None:
    transport = FakeTransport()
    opened = session(transport)
    opened.read(Ref(kind, "x-1"), operation, **arguments)
    assert len(transport.bodies) == 1 and f"<{operation} " in transport.bodies[0] and opened.sent == []


def test_an_operation_whose_privilege_the_tables_do_not_know_is_judged_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vmomi.method

    class Unknown:
        """An operation as newer tables may hold it: without a privilege."""

        def __init__(self, info: Any) -> None:
            self._info = info

        privId = None

        def __getattr__(self, name: str) -> Any:
            return getattr(self._info, name)

    monkeypatch.setattr(vmomi, "method", lambda kind, name: Unknown(real(kind, name)))
    transport = FakeTransport()
    session(transport).read(TIMES, "QueryDateTime")
    assert len(transport.bodies) == 1
    with pytest.raises(WriteRefused):
        session(transport).read(SERVICES, "StopService", id="ntpd")
    assert len(transport.bodies) == 1


@pytest.mark.parametrize(
    ("probes", "operation"), [((), "TestTimeService"), (("TestTimeService",), "StopService"), (ntp.PROBES, "StopService")]
)
@pytest.mark.parametrize("may_write", [False, True])
def test_a_probe_that_was_not_named_in_advance_is_not_sent(probes: tuple[str, ...], operation: str, may_write: bool) -> None:
    transport = FakeTransport()
    with pytest.raises(WriteRefused, match=f"{operation} is not among the probes"):
        session(transport, may_write=may_write, probes=probes).probe(SERVICES, operation, id="ntpd")
    assert transport.bodies == []


def test_a_probe_that_was_named_is_sent_also_in_a_run_that_must_not_write() -> None:
    transport = FakeTransport()
    assert ntp.PROBES == ("TestTimeService",)
    opened = session(transport, probes=ntp.PROBES)
    opened._wire = vmomi.Wire(vmomi.newest_version("8.0.3.0"))
    opened.probe(TIMES, "TestTimeService")
    assert len(transport.bodies) == 1 and "<TestTimeService " in transport.bodies[0]


# ---- writes -----------------------------------------------------------------------------------------------------------------


def test_a_run_that_must_not_write_sends_nothing() -> None:
    transport = FakeTransport()
    shut = session(transport)
    with pytest.raises(WriteRefused, match="must not write"):
        shut.write("esx", SERVICES, "StopService", id="ntpd")
    assert transport.bodies == [] and shut.sent == []


def test_a_write_is_accounted_for_when_it_leaves_and_by_how_it_ended() -> None:
    opened = session(FakeTransport(), may_write=True)
    opened.write("esx", SERVICES, "StopService", id="ntpd")
    assert [(sent.target, sent.operation, sent.outcome) for sent in opened.sent] == [("esx", "StopService", "done")]

    def lost() -> None:
        raise TimedOut("no answer")

    opened._transport = cast(Any, FakeTransport(after=lost))
    with pytest.raises(TimedOut):
        opened.write("esx", SERVICES, "StartService", id="ntpd")
    assert [(sent.operation, sent.outcome) for sent in opened.sent] == [("StopService", "done"), ("StartService", "timed_out")]


def test_a_stop_while_the_connection_was_made_keeps_the_write_back() -> None:
    """Connecting takes its time; what counts is the moment of sending."""
    guard = Guard()
    transport = FakeTransport(before=lambda: guard.stop("a test says so"))
    opened = session(transport, may_write=True, guard=guard)
    with pytest.raises(Interrupted, match="before the next write"):
        opened.write("esx", SERVICES, "StopService", id="ntpd")
    assert transport.bodies == [] and opened.sent == [], "it never left, so it is not told as sent"


def test_a_write_that_never_left_is_not_in_the_account() -> None:
    def refused() -> None:
        raise NotSent(EndpointUnreachable("no connection"))

    opened = session(FakeTransport(before=refused), may_write=True)
    with pytest.raises(EndpointUnreachable, match="no connection"):
        opened.write("esx", SERVICES, "StopService", id="ntpd")
    assert opened.sent == []


def test_an_argument_that_ages_is_made_in_the_moment_of_sending() -> None:
    steps: list[str] = []

    def service() -> str:
        steps.append("made")
        return "ntpd"

    transport = FakeTransport(before=lambda: steps.append("connected"), after=lambda: steps.append("sent"))
    session(transport, may_write=True).write("esx", SERVICES, "StopService", id=service)
    assert steps == ["connected", "made", "sent"] and ">ntpd</id>" in transport.bodies[0]


def test_an_answer_to_something_else_is_no_success_of_a_write() -> None:
    opened = session(FakeTransport(answer="StartService"), may_write=True)
    with pytest.raises(EndpointUnreachable, match="no SOAP: an answer to something else"):
        opened.write("esx", SERVICES, "StopService", id="ntpd")
    assert [sent.outcome for sent in opened.sent] == ["endpoint_unreachable"]

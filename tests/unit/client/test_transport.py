# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a request is made, and what becomes of its connection when it is not; without a server."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.transport import Transport
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import EndpointUnreachable, Interrupted


class FakeConnection:
    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps
        self.sock = self

    def settimeout(self, _seconds: float) -> None:
        pass

    def request(self, *request: Any) -> None:
        self.steps.append(request)
        raise ConnectionResetError("gone")

    def close(self) -> None:
        self.steps.append("closed")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happened, in its order: a connection is made, the body is made, it is sent, the connection is closed."""
    happened: list[Any] = []

    def connect(_self: Transport) -> FakeConnection:
        happened.append("connected")
        return FakeConnection(happened)

    monkeypatch.setattr(Transport, "_connect", connect)
    return happened


def transport() -> Transport:
    return Transport(Endpoint(hostname="vc.example.com", port=443, username="u", password="p", validate_certs=False), Guard())


def test_the_body_is_made_once_there_is_a_connection_and_then_sent(steps: list[Any]) -> None:
    def prepare() -> bytes:
        steps.append("made")
        return b"body"

    with pytest.raises(EndpointUnreachable, match="gone"), transport().exchange(prepare, {"A": "b"}):
        pass
    assert steps == ["connected", "made", ("POST", "/sdk", b"body", {"A": "b"}), "closed"]


@pytest.mark.parametrize("problem", [Interrupted("stopped"), OSError("of the caller"), TypeError("odd")])
def test_a_refusal_while_the_body_is_made_sends_nothing_and_is_raised_as_it_is(problem: Exception, steps: list[Any]) -> None:
    def prepare() -> bytes:
        raise problem

    line = transport()
    with pytest.raises(type(problem)) as caught, line.exchange(prepare, {}):
        pass
    assert caught.value is problem and steps == ["connected", "closed"]
    assert not line._busy and not line._idle

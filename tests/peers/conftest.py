# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulators in processes of their own, each started once a file; after every test they have no session and no error left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.bench.measure import Server, served
from tests.peers.clients import left_behind

SETTLE = 60  # virtual seconds: every ntpd of the scenarios has synchronised or given up by then


class Servers:
    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.running: dict[str, Server] = {}

    def __call__(self, scenario: str, **options: str) -> Server:
        """The file's server of this scenario, in whatever state it is."""
        key = f"{scenario} {options}"
        if key not in self.running:
            self.running[key] = self.stack.enter_context(served(scenario, **options))
            self.running[key].control("/advance", {"seconds": SETTLE})
        return self.running[key]

    def fresh(self, scenario: str, **options: str) -> Server:
        """The same, as its scenario begins."""
        server = self(scenario, **options)
        server.control("/reset", {})
        server.control("/advance", {"seconds": SETTLE})
        return server


@pytest.fixture(scope="module")
def serve() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(autouse=True)
def nothing_left(serve: Servers) -> Iterator[None]:
    yield
    for key, server in serve.running.items():
        assert left_behind(server) == {"sessions": [], "errors": []}, key

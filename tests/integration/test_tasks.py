# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of the server are awaited together, with one filter and a deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Selection, select_hosts
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.tasks import wait_for_tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, Interrupted, TimedOut
from tests.integration.driver import reach
from tests.simulator import Simulator


def started(session: Session, sim: Simulator) -> list[Ref]:
    """Maintenance mode for every host, on which no machine runs: one task each."""
    if any(host["vms"] for host in sim.state()["hosts"].values()):
        sim.act("vm_power", vm="*", on=False)
    hosts = select_hosts(session, Selection(hosts=("*",)))
    made = [session.write(host.path, host.ref, "EnterMaintenanceMode_Task", timeout=0) for host in hosts]
    return [Ref("Task", task._moId) for task in made]


def connect(sim: Simulator, guard: Guard | None = None) -> Session:
    return Session(Endpoint(**reach(sim), session="single"), guard or Guard(60), may_write=True)


def of_methods(sim: Simulator, *methods: str) -> int:
    return sum(sim.summary()["by_method"].get(method, 0) for method in methods)


def test_many_tasks_one_filter(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("fleet", hosts=40)
    with connect(sim) as session:
        tasks = started(session, sim)
        outcome = wait_for_tasks(session, tasks, timeout=20)
    assert set(outcome) == set(tasks) and not [result for result in outcome.values() if isinstance(result, FleetcareError)]
    assert of_methods(sim, "CreateFilter") == of_methods(sim, "DestroyPropertyFilter") == 1
    assert of_methods(sim, "WaitForUpdatesEx") < 40
    assert of_methods(sim, "Fetch") == 0
    assert sim.summary()["sessions"] == []


def test_a_failed_task_is_its_own_error(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    with connect(sim) as session:
        wait_for_tasks(session, started(session, sim), timeout=20)
        outcome = wait_for_tasks(session, started(session, sim), timeout=20)
    faults = {result.fault for result in outcome.values() if isinstance(result, FleetcareError)}
    assert faults == {"InvalidState"}


@pytest.mark.parametrize("end", ["timeout", "stop"])
def test_what_does_not_end_is_told(simulator: Callable[..., Simulator], end: str) -> None:
    slow: dict[str, Any] = {
        "name": "slow",
        "kind": "vcenter",
        "vcenter": {"options": {"task_delay": 30}},
        "hosts": [{"count": 2, "name": "esx-{n}.example.com", "profile": "8.0.3", "cluster": "prod"}],
    }
    sim = simulator(slow)
    guard = Guard(2 if end == "stop" else 60)
    with connect(sim, guard) as session:
        outcome = wait_for_tasks(session, started(session, sim), timeout=1 if end == "timeout" else 50)
    assert {type(result) for result in outcome.values()} == {TimedOut if end == "timeout" else Interrupted}
    assert sim.summary()["sessions"] == []

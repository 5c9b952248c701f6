# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One login serves many tasks, a wrong password costs one attempt, and nothing is left behind."""

from __future__ import annotations

import pathlib
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import LoginRefused
from tests.bench.measure import Server, served
from tests.integration.driver import run
from tests.integration.playbooks import on_localhost, play, task
from tests.simulator import Simulator

EVERY: dict[str, Any] = {"esxi_hostname": ["*"]}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Server]:
    with served("tiny") as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(fleet: Server) -> None:
    fleet.control("/reset", {})


def per_host(count: int, options: dict[str, Any], **keywords: Any) -> list[dict[str, Any]]:
    """The pattern of an inventory that lists every host: one module process a host, several at once."""
    hosts = {"name": "hosts", "groups": "esxi"}
    add = {"ansible.builtin.add_host": {**hosts, "name": "node-{{ item }}"}, "loop": list(range(count))}
    work = task(options, delegate_to="localhost", **keywords)
    return [on_localhost(add), {"hosts": "esxi", "gather_facts": False, "connection": "local", "tasks": [work]}]


def test_tasks_and_forks_share_one_login(fleet: Server, tmp_path: pathlib.Path) -> None:
    done = play(tmp_path, fleet, per_host(6, EVERY), "--forks=6")
    assert done.returncode == 0, done.stdout
    summary = fleet.control("/summary")
    assert (summary["logins"], summary["failed_logins"], len(summary["sessions"])) == (1, 0, 1)
    done = play(tmp_path, fleet, [on_localhost(task(EVERY), task({**EVERY, "session": "end"}))])
    assert done.returncode == 0, done.stdout
    summary = fleet.control("/summary")
    assert (summary["logins"], summary["sessions"]) == (1, [])


def test_a_wrong_password_is_tried_once(fleet: Server, tmp_path: pathlib.Path) -> None:
    done = play(tmp_path, fleet, per_host(6, {**EVERY, "password": "not-it"}, ignore_errors=True), "--forks=6")
    told = [line for line in done.stdout.splitlines() if line.startswith("fatal: ")]
    assert sum("user name or password is wrong" in line for line in told) == 1
    assert sum("this password was refused" in line for line in told) == 5
    summary = fleet.control("/summary")
    assert (summary["failed_logins"], summary["sessions"]) == (1, [])
    assert play(tmp_path, fleet, [on_localhost(task(EVERY))]).returncode == 0, "the right password is still welcome"


def test_modes_of_files_and_folder(simulator: Callable[..., Simulator], own_cache: pathlib.Path) -> None:
    sim = simulator("tiny")
    run(sim, "esxi_ntp_info", **EVERY, session="keep")
    folder = own_cache / "fleetcare.esxi"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(sim.summary()["sessions"]) == 1
    run(sim, "esxi_ntp_info", **EVERY, session="end")
    assert sim.summary()["sessions"] == []
    assert not list(folder.glob("*.session"))


@pytest.mark.parametrize("session", ["keep", "single"])
def test_a_session_that_ends_in_the_middle_is_replaced(simulator: Callable[..., Simulator], session: str) -> None:
    sim = simulator("fleet", hosts=8)
    sim.fault(method="UpdateDateTimeConfig", expire_session=True, count=1, after=2)
    result = run(sim, "esxi_ntp_align", **EVERY, ntp_servers=["192.0.2.77"], session=session)
    assert result["summary"] == {"changed": 8}
    assert sim.summary()["logins"] == 2


def test_no_session_after_any_end(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    run(sim, "esxi_ntp_align", **EVERY, session="single", ntp_servers=["192.0.2.77"])
    sim.fault(method="RetrievePropertiesEx", fault="SystemError", count=9)
    with pytest.raises(Exception, match="SystemError"):
        run(sim, "esxi_ntp_align", **EVERY, session="single")
    with pytest.raises(LoginRefused):
        run(sim, "esxi_ntp_align", **EVERY, session="single", password="wrong")
    assert sim.summary()["sessions"] == []

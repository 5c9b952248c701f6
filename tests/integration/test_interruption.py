# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the deadline, a signal or the end of the parent, nothing is written any more, and what was is reported."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bench.measure import Server, ansible_environment, module_command, served
from tests.integration.driver import run
from tests.integration.playbooks import on_localhost, play, task
from tests.simulator import Simulator

WISH: dict[str, Any] = {"esxi_hostname": ["*"], "ntp_servers": ["192.0.2.77"], "session": "single", "parallel": 2}
SLOW: dict[str, Any] = {"method": "UpdateDateTimeConfig", "delay": 0.5, "count": 1000}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Server]:
    with served("fleet", hosts=40) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(fleet: Server) -> None:
    fleet.control("/reset", {})


def writes(server: Server) -> list[dict[str, Any]]:
    return [entry for entry in server.control("/journal") if entry["write"]]


def changed_hosts(server: Server) -> set[str]:
    return {name for name, host in server.control("/state")["hosts"].items() if host["time"]["servers"] == ["192.0.2.77"]}


def quiet_for(server: Server, seconds: float) -> bool:
    """No write arrives for a while, and no session is left at its end."""
    before = len(writes(server))
    time.sleep(seconds)
    return len(writes(server)) == before and server.control("/summary")["sessions"] == []


def test_deadline(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("fleet", hosts=20)
    sim.fault(**SLOW)
    result = run(sim, "esxi_ntp_align", **{**WISH, "deadline": 2})
    changed = {name for name, host in result["hosts"].items() if host["changed"]}
    assert changed and set(result["summary"]) == {"changed", "skipped"}, result["summary"]
    assert changed == {name for name, host in sim.state()["hosts"].items() if host["time"]["servers"] == ["192.0.2.77"]}
    assert "deadline of 2 s" in result["msg"]
    assert sim.summary()["sessions"] == []


def test_a_hang_ends_with_the_deadline(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    sim.fault(method="UpdateDateTimeConfig", hang=True, count=1)
    began = time.monotonic()
    result = run(sim, "esxi_ntp_align", **{**WISH, "deadline": 2, "read_timeout": 600})
    assert time.monotonic() - began < 20
    assert sum(host["status"] == "changed" for host in result["hosts"].values()) == 2
    assert sim.summary()["sessions"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal(fleet: Server, tmp_path: pathlib.Path, number: signal.Signals) -> None:
    """The module's own process gets the signal, as from a user or an init system."""
    fleet.control("/fault", SLOW)
    process = subprocess.Popen(
        module_command("fleetcare.esxi.esxi_ntp_align", WISH),
        env=ansible_environment(tmp_path, fleet),
        stdout=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    wait_for_writes(fleet)
    os.kill(module_process(process.pid), number)
    output = process.communicate(timeout=60)[0]
    result = json.loads(output[output.index("=> {") + 3 :])
    assert number.name in result["msg"]
    assert {name for name, host in result["hosts"].items() if host["changed"]} == changed_hosts(fleet)
    assert quiet_for(fleet, 1.5)


def test_ansibles_own_timeout(fleet: Server, tmp_path: pathlib.Path) -> None:
    """The task has failed for Ansible while the module still runs: it must not go on changing hosts."""
    fleet.control("/fault", SLOW)
    done = play(tmp_path, fleet, [on_localhost(task(WISH, timeout=4))])
    assert done.returncode == 2, done.stdout
    time.sleep(2)
    assert 0 < len(changed_hosts(fleet)) < 40
    assert quiet_for(fleet, 2)


def test_killed_playbook(fleet: Server, tmp_path: pathlib.Path) -> None:
    fleet.control("/fault", SLOW)
    process = subprocess.Popen(
        module_command("fleetcare.esxi.esxi_ntp_align", WISH),
        env=ansible_environment(tmp_path, fleet),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for_writes(fleet)
    module = module_process(process.pid)
    parents = family(process.pid)
    for pid in parents:
        if pid != module:
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=10)
    deadline = time.monotonic() + 15
    while os.path.exists(f"/proc/{module}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{module}"), "the module outlives its parents"
    assert len(changed_hosts(fleet)) < 40
    assert quiet_for(fleet, 1.5)


def wait_for_writes(server: Server) -> None:
    ends = time.monotonic() + 30
    while not writes(server):
        assert time.monotonic() < ends, "no write came"
        time.sleep(0.05)


def family(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found.extend(parents.get(pid, ()))
    return found


def module_process(root: int) -> int:
    """The innermost process of the task: the one that talks to the server."""
    for pid in reversed(family(root)):
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"AnsiballZ" in command and b"python" in command.split(b"\0")[0]:
            return pid
    raise AssertionError("no module process")

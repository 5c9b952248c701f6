# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook as people run it: ansible-rulebook with its Java, playbooks, and a simulator in a process of its own. The clock of
ansible-rulebook and of everything that it starts is an hour off: a ``sitecustomize`` shifts Python's."""

from __future__ import annotations

import collections
import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.bench.measure import Server, ansible_environment, served
from tests.eda.following import machines

ROOT = pathlib.Path(__file__).resolve().parents[2]

SHIFTED = """
import datetime, os, time

_SHIFT = float(os.environ["TEST_CLOCK_SHIFT"])
_time, _time_ns, _real = time.time, time.time_ns, datetime.datetime
time.time = lambda: _time() + _SHIFT
time.time_ns = lambda: _time_ns() + int(_SHIFT * 1e9)


class _Like(type(_real)):
    def __instancecheck__(cls, one):
        return isinstance(one, _real)


class datetime_(_real, metaclass=_Like):
    @classmethod
    def now(cls, tz=None):
        return _real.now(tz) + datetime.timedelta(seconds=_SHIFT)

    @classmethod
    def utcnow(cls):
        return _real.utcnow() + datetime.timedelta(seconds=_SHIFT)


datetime_.__name__ = datetime_.__qualname__ = "datetime"
datetime.datetime = datetime_
"""


class Rulebook:
    """ansible-rulebook in a folder of its own."""

    def __init__(self, folder: pathlib.Path, server: Server, *, shift: float, **variables: Any) -> None:
        self.folder, self.log = folder, folder / f"rulebook-{time.monotonic_ns()}.log"
        site = folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(SHIFTED)
        (folder / "inventory.yml").write_text("all: {hosts: {localhost: {ansible_connection: local}}}")
        (folder / "variables.yml").write_text(yaml.safe_dump(variables))
        environment = {
            **ansible_environment(folder, server),
            "PYTHONPATH": str(site),
            "TEST_CLOCK_SHIFT": str(shift),
            "TMPDIR": str(folder),
            # What it shows waits for 8 KB otherwise, and the end of the last playbook for ever.
            "PYTHONUNBUFFERED": "1",
            **{name: os.environ[name] for name in ("JAVA_HOME", "FLEETCARE_STAGE") if name in os.environ},
        }
        command = [shutil.which("ansible-rulebook", path=environment["PATH"]) or "ansible-rulebook"]
        command += [
            "--rulebook",
            "fleetcare.esxi.vm_locked",
            "--inventory",
            "inventory.yml",
            "--vars",
            "variables.yml",
            "-v",
            "--print-events",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def end(self) -> str:
        """As systemd ends it; what it wrote."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(120)
                except subprocess.TimeoutExpired:
                    os.killpg(self.process.pid, signal.SIGKILL)
                    self.process.wait(10)
                    raise
        finally:
            # A playbook has a session of its own, which nobody ends with the one above.
            for pid in self._left():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        return self.text

    def _left(self) -> list[int]:
        """What it started and what lives on, by the folder that no other process has in its environment."""
        found, wanted = [], f"TMPDIR={self.folder}".encode()
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def is_idle(self) -> bool:
        """Every playbook that was started has ended."""
        text = self.text
        return text.count("PLAY RECAP") == text.count("[received event]")

    def until(self, condition: Callable[[], Any], seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.text[-4000:]
            assert time.monotonic() < ends, self.text[-4000:]
            time.sleep(0.1)


@contextlib.contextmanager
def running(folder: pathlib.Path, server: Server, **options: Any) -> Iterator[Rulebook]:
    rulebook = Rulebook(folder, server, **options)
    try:
        yield rulebook
    finally:
        rulebook.end()


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """Short: what ansible-runner and Ansible make below it are sockets, too."""
    with tempfile.TemporaryDirectory(prefix="eda-") as made:
        yield pathlib.Path(made)


@pytest.fixture
def server(folder: pathlib.Path) -> Iterator[Server]:
    scenario = folder / "scenario.yml"
    scenario.write_text(json.dumps(machines(120)))
    with served(str(scenario)) as found:
        yield found
        assert found.control("/errors") == []


def unlocks(server: Server) -> list[dict[str, Any]]:
    return [row for row in server.control("/journal") if row["method"] == "CryptoUnlock_Task" and row["status"] == "ok"]


def lock(server: Server, pattern: str) -> None:
    server.control("/act", {"host": "*", "do": "forget_keys", "vm": pattern})


def followed(server: Server) -> bool:
    return "QueryEvents" in server.control("/summary")["by_method"]


QUICK = {"vm_locked_poll_interval": 0.5, "vm_locked_batch_seconds": 1, "vm_locked_overlap": 10}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("shift", [3600, -3600])
def test_a_hundred_locked_machines_are_unlocked_once(folder: pathlib.Path, server: Server, shift: int) -> None:
    """In bursts, over two lost connections, within the rate, and over a restart with what happened meanwhile."""
    state = folder / "state.json"
    options = {**QUICK, "vm_locked_max_vms": 25, "vm_locked_per": 6, "vm_locked_state_file": str(state), "shift": shift}
    with running(folder, server, **options) as rulebook:
        rulebook.until(lambda: followed(server), 120)
        lock(server, "vm-00[0-3]*")
        rulebook.until(lambda: unlocks(server), 120)
        # The playbook shares the session: whoever meets the end of it first logs in again.
        server.control("/fault", {"method": "QueryEvents", "expire_session": True})
        lock(server, "vm-00[4-6]*")
        rulebook.until(lambda: len(unlocks(server)) >= 69 and rulebook.is_idle, 120)
        # While no playbook runs, as its calls would be hit, too; more often than a call is repeated.
        server.control("/fault", {"method": "QueryEvents", "drop": "after", "count": 4})
        lock(server, "vm-00[7-9]*")
        rulebook.until(lambda: len(unlocks(server)) >= 99 and rulebook.is_idle, 120)
        time.sleep(2)
        assert "nothing is lost meanwhile" in rulebook.text and "answers again" in rulebook.text
        text = rulebook.end()
    assert_shifted(text, shift)
    lock(server, "vm-010*")  # nobody follows
    with running(folder, server, **options) as rulebook:
        rulebook.until(lambda: len(unlocks(server)) >= 109 and rulebook.is_idle, 120)
        time.sleep(3)
        text += rulebook.end()
    sent = unlocks(server)
    counts = collections.Counter(row["object"] for row in sent)
    assert not locked(server)
    assert len(counts) == 109 and set(counts.values()) == {1}
    assert server.password not in text + state.read_text()
    handed = batches(text)
    assert sum(count for _when, count in handed) == 109 and len(handed) <= 10
    for begin, _count in handed:
        # A little for the way through ansible-rulebook.
        assert sum(count for when, count in handed if begin <= when < begin + 5.7) <= 25
    # One login: the modules share the source's session, and so does its next start. The other is for the one that was ended.
    assert server.control("/summary")["logins"] == 2 and len(server.control("/summary")["sessions"]) == 1
    assert server.control("/summary")["failed_logins"] == 0


def locked(server: Server) -> list[str]:
    found = server.control("/state")["crypto"]["vms"]
    return [name for name, row in found.items() if row["crypto"] == "locked"]


def batches(text: str) -> list[tuple[float, int]]:
    """When ansible-rulebook took an event, by its own clock, and how many machines it was about."""
    found = []
    for part in text.split("[received event]")[1:]:
        taken = re.search(r"'received_at': '([^']+)Z'", part)
        assert taken
        when = datetime.datetime.fromisoformat(taken[1]).replace(tzinfo=datetime.timezone.utc).timestamp()
        found.append((when, len(set(re.findall(r"'moid': '([^']+)'", part)))))
    return found


def assert_shifted(text: str, shift: int) -> None:
    """The process did see another clock: its log says so."""
    first = re.search(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ - ansible_rulebook", text, re.M)
    assert first
    seen = time.mktime(time.strptime(first[1], "%Y-%m-%d %H:%M:%S"))
    assert abs(seen - time.time() - shift) < 600


def test_a_wrong_password_ends_it_with_a_sentence(folder: pathlib.Path, server: Server) -> None:
    server.ready["password"] = "Wrong-1"
    with running(folder, server, shift=0) as rulebook:
        rulebook.process.wait(120)
        text = rulebook.end()
    assert rulebook.process.returncode != 0
    assert "user name or password is wrong [InvalidLogin]" in text and "Traceback" not in text and "Wrong-1" not in text
    assert server.control("/summary")["failed_logins"] == 1


def test_the_rulebook_of_the_collection_is_found(folder: pathlib.Path) -> None:
    """By its full name, and a missing option is said before anything is connected."""
    (folder / "inventory.yml").write_text("all: {hosts: {localhost: {ansible_connection: local}}}")
    done = subprocess.run(
        [shutil.which("ansible-rulebook") or "ansible-rulebook", "--rulebook", "fleetcare.esxi.vm_locked", "-i", "inventory.yml"],
        cwd=folder,
        env={**ansible_environment(folder), **{name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "option hostname is missing. Set it in the rulebook, or as VMWARE_HOST in the environment." in done.stdout + done.stderr

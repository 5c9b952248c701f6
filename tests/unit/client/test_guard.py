# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run has to stop: deadline, signal, a parent that is gone. With real processes where only those can tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import guard as module
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import GRACE, Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import Interrupted


def test_a_fresh_guard_lets_go_on() -> None:
    guard = Guard(60)
    guard.check()
    assert guard.reason == "" and guard.pause(0) and guard.remaining(5) == 5


def test_the_deadline_stops_the_run_and_says_so() -> None:
    guard = Guard(0.05)
    guard.check()
    assert 0 < guard.remaining(60) <= 0.05
    time.sleep(0.06)
    assert guard.reason == "the run's deadline of 0.05 s has passed"
    with pytest.raises(Interrupted, match=r"before the next write, because the run's deadline of 0.05 s has passed.*run the task again"):
        guard.check()


def test_no_deadline_means_no_limit() -> None:
    guard = Guard()
    assert guard.remaining(12345) == 12345 and not guard.reason


def test_the_first_reason_is_the_one_reported() -> None:
    guard = Guard()
    guard.stop("first")
    guard.stop("second")
    assert guard.reason == "first"


def test_those_who_wait_in_vain_are_woken_after_half_of_the_grace_and_once_more_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is on its way is worth more than a guess; a wait that began after the first call needs a second."""
    monkeypatch.setattr(module, "GRACE", 0.6)
    guard, woken, done = Guard(), [], threading.Event()
    guard.on_stop(lambda: woken.append(time.monotonic()))
    guard.on_stop(lambda: done.set() if len(woken) == 2 else None)
    began = time.monotonic()
    guard.stop("first")
    guard.stop("second")
    assert done.wait(5) and len(woken) == 2
    assert 0.29 <= woken[0] - began < woken[1] - began and woken[1] - began >= 0.59
    time.sleep(0.7)
    assert len(woken) == 2, "a second reason adds no call"


def test_a_stop_wakes_whoever_waits() -> None:
    guard = Guard()
    threading.Timer(0.05, guard.stop, ["enough"]).start()
    began = time.monotonic()
    assert guard.pause(30) is False
    assert time.monotonic() - began < 5


def test_after_a_stop_there_is_a_grace_that_ends() -> None:
    guard = Guard()
    guard.stop("enough")
    assert 0 < guard.remaining(60) <= GRACE
    assert guard.remaining(0.5) == 0.5
    guard.stopped_at -= GRACE
    assert guard.remaining(60) == 0


def test_a_wait_ends_at_the_deadline() -> None:
    guard = Guard(0.1)
    began = time.monotonic()
    assert guard.pause(30) is False
    assert time.monotonic() - began < 5


def test_the_watch_notices_a_deadline_while_nobody_asks() -> None:
    guard = Guard(0.05)
    guard.watch()
    assert guard._stopped.wait(5)
    assert "deadline" in guard._reason


def test_a_wait_that_began_in_time_may_outlast_the_deadline_by_as_much_as_was_granted() -> None:
    guard = Guard(10)
    assert 9 < guard.remaining(60) <= 10
    assert 13 < guard.remaining(60, beyond=4) <= 14
    assert guard.remaining(3, beyond=4) == 3


# ---- processes ------------------------------------------------------------------------------------------------------------

IMPORT = "from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard\n"

TASK = IMPORT + textwrap.dedent(
    """
    import os, sys, time
    out = sys.argv[1]
    guard = Guard(30)
    guard.watch()
    def say(name, text):
        with open(os.path.join(out, name + ".part"), "w") as file:
            file.write(text)
        os.rename(os.path.join(out, name + ".part"), os.path.join(out, name))
    say("started", str(os.getpid()))
    time.sleep(0.8)
    say("first", guard._reason)
    ends = time.monotonic() + 15
    while not guard._stopped.is_set() and time.monotonic() < ends:
        time.sleep(0.02)
    say("last", guard._reason)
    """
)

# Stands for Ansible's worker: starts the task through shells and is then gone, the shells stay.
WORKER = textwrap.dedent(
    """
    import subprocess, sys, time
    subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(60)
    """
)


def await_file(path: Path, seconds: float = 10) -> str:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if path.exists():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{path.name} was not written")


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "task.py").write_text(TASK)
    yield tmp_path
    started = tmp_path / "started"
    if started.exists():
        try:
            os.kill(int(started.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            pass


SHELLS = {
    "no shell": [],
    "a shell": ["/bin/sh", "-c", '"$@"; true', "sh"],
    "two shells, as Ansible starts a module": ["/bin/sh", "-c", '/bin/sh -c \'"$@"; true\' sh "$@"; true', "sh"],
}


@pytest.mark.parametrize("shells", SHELLS.values(), ids=SHELLS.keys())
def test_a_task_whose_worker_is_killed_stops_itself_though_its_shell_lives_on(shells: list[str], task: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *shells, sys.executable, str(task / "task.py"), str(task)])
    try:
        pid = int(await_file(task / "started"))
        assert await_file(task / "first") == "", "it has to go on while its worker lives"
        worker.kill()
        worker.wait()
        assert await_file(task / "last") == "the process that started this task is gone"
        assert pid != worker.pid
    finally:
        worker.kill()
        worker.wait()


def signalled(tmp_path: Path, body: str, *signals: signal.Signals) -> subprocess.CompletedProcess[str]:
    code = IMPORT + "import os, signal, sys, time\n" + textwrap.dedent(body)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=6)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it hangs after the signal; said {out!r} {err!r}") from None
    return subprocess.CompletedProcess([], process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_becomes_an_orderly_stop_that_names_it(number: signal.Signals, tmp_path: Path) -> None:
    ended = signalled(
        tmp_path,
        """
        guard = Guard(30)
        guard.watch_signals()
        print("ready", flush=True)
        assert guard.pause(20) is False
        print(guard.reason, flush=True)
        """,
        number,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == f"signal {number.name} was received"


def test_a_signal_in_the_very_moment_of_going_to_wait_does_not_hang_the_run(tmp_path: Path) -> None:
    """Python runs a handler between two steps of the main thread, which may hold the lock that a stop needs."""
    ended = signalled(
        tmp_path,
        """
        guard = Guard(30)
        guard.watch_signals()
        print("ready", flush=True)
        with guard._stopped._cond:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        ends = time.monotonic() + 5
        while not guard.reason and time.monotonic() < ends:
            time.sleep(0.02)
        print(guard.reason, flush=True)
        """,
    )
    assert ended.stdout.strip() == "signal SIGTERM was received", ended.stderr


def test_a_signal_while_a_connection_is_taken_does_not_hang_the_run(tmp_path: Path) -> None:
    """Stopping wakes the threads that wait for the server; for that it wants the lock of the connections."""
    ended = signalled(
        tmp_path,
        """
        from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
        from ansible_collections.fleetcare.esxi.plugins.module_utils._client.transport import Transport
        guard = Guard(30)
        transport = Transport(Endpoint(hostname="192.0.2.1", port=443, username="u", password="p"), guard)
        guard.watch_signals()
        print("ready", flush=True)
        with transport._lock:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        ends = time.monotonic() + 5
        while not guard.reason and time.monotonic() < ends:
            time.sleep(0.02)
        print(guard.reason, flush=True)
        """,
    )
    assert ended.stdout.strip() == "signal SIGTERM was received", ended.stderr


def watchers() -> int:
    return sum(thread.name == "guard" for thread in threading.enumerate())


def test_a_run_that_has_ended_leaves_no_watch_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    before = watchers()
    for _run_number in range(30):
        guard = Guard(60)
        guard.watch()
        guard.close()
    ends = time.monotonic() + 5
    while watchers() > before and time.monotonic() < ends:
        time.sleep(0.01)
    assert watchers() <= before


def test_closing_is_no_stop() -> None:
    guard = Guard(60)
    guard.watch()
    guard.close()
    guard.close()
    assert guard.reason == "" and guard.pause(0)
    guard.check()


def test_a_watch_that_was_not_closed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge of the test above."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    before = set(threading.enumerate())
    guard = Guard(60)
    guard.watch()
    (watch,) = [thread for thread in set(threading.enumerate()) - before if thread.name == "guard"]
    watch.join(0.2)
    assert watch.is_alive()
    guard.close()
    watch.join(5)
    assert not watch.is_alive()

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to stop: the run's deadline, a signal, a parent that has gone. Private to this collection."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from .._domain.errors import Interrupted

GRACE = 10.0
# How often the parents are looked at: for every write it would cost more than the write.
_LOOK_SECONDS = 0.2
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "sudo", "su", "doas"})


def _process(pid: int) -> tuple[str, int] | None:
    """Name and parent of a process, from /proc; None where there is no such thing."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            name, _closed, rest = stat.read().partition("(")[2].rpartition(")")
        return name, int(rest.split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _ancestors() -> tuple[int, ...]:
    """The chain of parents up to the first that is no shell.

    Ansible starts a module as worker -> sh -> (sh ->) python. When a task's ``timeout:`` strikes, the worker leaves
    and the shells stay, so the direct parent alone does not show it.
    """
    chain: list[int] = []
    pid = os.getppid()
    while len(chain) < 8:
        chain.append(pid)
        process = _process(pid)
        if process is None or process[0] not in _SHELLS:
            break
        pid = process[1]
    return tuple(chain)


class Guard:
    """Says whether the run may go on, and why not. One a run; used by all threads."""

    def __init__(self, deadline: float | None = None) -> None:
        """``deadline``: seconds from now after which nothing is written any more; None for no limit."""
        self.began = time.monotonic()
        self._ends = None if deadline is None else self.began + deadline
        self._deadline = deadline
        self._family = _ancestors()
        self._next_look = 0.0
        self._signal = ""
        self._reason = ""
        self.stopped_at = 0.0
        self._stopped = threading.Event()
        self._over = threading.Event()
        self._stopping = threading.Lock()
        self._on_stop: list[Callable[[], Any]] = []

    def close(self) -> None:
        """The run has ended: nobody needs to watch it any more."""
        self._over.set()

    def on_stop(self, action: Callable[[], Any]) -> None:
        """What wakes those who wait in vain, some seconds after a stop."""
        self._on_stop.append(action)

    def stop(self, reason: str) -> None:
        """Let no further write leave and wake whoever waits. The first reason is the one reported."""
        # One thread alone: a second pair of timers would cut off the reading back that the first made room for.
        if not self._stopping.acquire(blocking=False):
            return
        self._reason = reason
        self.stopped_at = time.monotonic()
        self._stopped.set()
        # A write that is on its way gets half of the grace to come back: its answer is worth more than a guess.
        for seconds in (GRACE / 2, GRACE):
            timer = threading.Timer(seconds, self._give_up)
            timer.daemon = True
            timer.start()

    def _give_up(self) -> None:
        for action in self._on_stop:
            action()

    @property
    def reason(self) -> str:
        """Why the run has to stop; empty while it may go on."""
        if not self._stopped.is_set():
            now = time.monotonic()
            if self._signal:
                self.stop(f"signal {self._signal} was received")
            elif self._ends is not None and now >= self._ends:
                self.stop(f"the run's deadline of {self._deadline:g} s has passed")
            elif now >= self._next_look:
                self._next_look = now + _LOOK_SECONDS
                if _ancestors() != self._family:
                    self.stop("the process that started this task is gone")
        return self._reason

    def check(self) -> None:
        """Raise when the run has to stop. Called before every write."""
        if self.reason:
            raise Interrupted(f"stopped before the next write, because {self._reason}")

    def remaining(self, at_most: float, *, beyond: float = 0.0) -> float:
        """Seconds that a wait may take: ``at_most``, or less when the deadline is nearer.

        ``beyond``: how far a wait that began in time may outlast the deadline. After a stop there is a short grace, for
        reading back what was written and for logging out.
        """
        if self._stopped.is_set():
            return max(0.0, min(at_most, self.stopped_at + GRACE - time.monotonic()))
        if self._ends is None:
            return at_most
        return max(0.0, min(at_most, self._ends - time.monotonic() + beyond))

    def pause(self, seconds: float) -> bool:
        """Wait; False as soon as the run has to stop."""
        self._stopped.wait(self.remaining(seconds))
        return not self.reason

    def watch_signals(self) -> None:
        """Turn the signals that end a process into an orderly stop. Main thread only.

        The handler only takes a note: it runs between two instructions of the main thread, which may hold a lock.
        """

        def note(number: int, _frame: Any) -> None:
            self._signal = signal.Signals(number).name

        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), note)
        self.watch()

    def watch(self) -> None:
        """Notice a signal, the deadline and a lost parent even while every other thread waits for a server."""

        def look() -> None:
            while not self._over.wait(_LOOK_SECONDS):
                if self.reason:
                    return

        threading.Thread(target=look, name="guard", daemon=True).start()

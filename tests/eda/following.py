# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source run as ansible-rulebook runs it: the file by its path, ``main`` as a coroutine, a queue with room for one."""

from __future__ import annotations

import asyncio
import runpy
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible_collections.fleetcare.esxi as collection

# By the link that ansible-galaxy finds, as ansible-rulebook does.
SOURCE = Path(list(collection.__path__)[0], "extensions", "eda", "plugins", "event_source", "vm_locked.py")
QUICK = {"poll_interval": 0.1, "batch_seconds": 0, "overlap": 5, "cooldown": 600, "max_vms": 1000, "session": "single"}


def plugin() -> dict[str, Any]:
    return runpy.run_path(str(SOURCE))


def reach(server: Any) -> dict[str, Any]:
    return {name: getattr(server, name) for name in ("hostname", "port", "username", "password", "ca_file")}


def machines(count: int, hosts: int = 4, **more: Any) -> dict[str, Any]:
    """A vCenter with encrypted machines that are off, and keys that need no key server."""
    return {
        "key_providers": [{"name": "native", "kind": "nativeProvider", "default": True}],
        "hosts": [{"count": hosts, "name": "esx-{n:02d}.example.com", "cluster": "C", "crypto": {"provider": "native"}}],
        "virtual_machines": [{"count": count, "name": "vm-{i:04d}", "provider": "native", "power": "off"}],
        **more,
    }


def looks(server: Any) -> int:
    found: int = server.summary()["by_method"].get("QueryEvents", 0)
    return found


class Following:
    """Use as a context manager: inside, the source runs in a thread with an event loop of its own."""

    def __init__(self, server: Any, *, module: dict[str, Any] | None = None, args: dict[str, Any] | None = None, **options: Any) -> None:
        """``args``: all of them, instead of those that reach the server quickly."""
        self.args = {**reach(server), **QUICK, **options} if args is None else args
        self._server = server
        self._before = 0
        self.main = (module or plugin())["main"]
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.problem: BaseException | None = None
        # Unset: whoever takes from the queue is busy.
        self.open = threading.Event()
        self.open.set()
        self._loop: Any = None
        self._task: Any = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._drive()), daemon=True)

    async def _drive(self) -> None:
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        self._task = asyncio.create_task(self.main(queue, self.args))
        taker = asyncio.create_task(self._take(queue))
        await asyncio.wait([self._task])
        taker.cancel()
        self.problem = None if self._task.cancelled() else self._task.exception()

    async def _take(self, queue: Any) -> None:
        while True:
            while not self.open.is_set():
                await asyncio.sleep(0.02)
            self.events.append(await queue.get())
            self.times.append(time.monotonic())

    def __enter__(self) -> Following:
        self._before = looks(self._server)
        self._thread.start()
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def ended(self, seconds: float = 20) -> BaseException:
        """What ended it by itself."""
        self._thread.join(seconds)
        assert self.problem is not None
        return self.problem

    @property
    def names(self) -> list[str]:
        return [name for event in self.events for name in event["vm_names"]]

    def until(self, condition: Callable[[], Any], seconds: float = 20) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert self._thread.is_alive(), f"it ended: {self.problem}"
            assert time.monotonic() < ends, f"{len(self.names)} handed on: {self.names[-5:]}"
            time.sleep(0.02)

    def until_handed(self, count: int) -> None:
        self.until(lambda: len(self.names) >= count)

    def begun(self, count: int = 1) -> None:
        """Until it has looked: what happens from now on is followed."""
        self.until(lambda: looks(self._server) >= self._before + count, 60)

    def settle(self, seconds: float = 0.6) -> None:
        """Long enough for several looks."""
        time.sleep(seconds)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command costs: wall and CPU seconds, and the memory of its whole process tree."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.request import Request, urlopen

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds, and megabytes of proportional set size (a page shared by n processes counts 1/n in each).

    ``beside``: CPU of the processes named as such, a server mostly; ``foreign``: that of anybody else on this machine meanwhile, and
    what a hypervisor took away.
    """

    wall: float
    cpu: float
    memory: float
    output: str
    code: int
    beside: float = 0.0
    foreign: float = 0.0

    @property
    def noisy(self) -> bool:
        """The rule of the figures that are compared with: others took more than 40 % of one core."""
        return self.foreign > 0.4 * self.wall


def cost_of(
    command: Sequence[str], environment: Mapping[str, str], folder: pathlib.Path, *, memory: bool = True, beside: Sequence[int] = ()
) -> Cost:
    """Run a command to its end. CPU covers every process of it that was waited for.

    ``memory``: look at the tree's memory all the time, which takes CPU from it; without, it is 0.
    """
    with tempfile.TemporaryFile() as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        machine, others = _busy(), _cpu_below(beside)
        own = time.process_time()
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        with _watched(process.pid) if memory else contextlib.nullcontext([0]) as peak:
            process.wait()
            wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() - own
        machine, others = _busy() - machine, _cpu_below(beside) - others
        out.seek(0)
        text = out.read().decode(errors="replace")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, max(peak) / 1024, text, process.returncode, others, max(0.0, machine - cpu - others - own))


@contextlib.contextmanager
def _watched(root: int) -> Iterator[list[int]]:
    """The memory of a tree as it is seen from time to time; beside the waiting, so that the end is noticed when it comes."""
    seen, over = [0], threading.Event()

    def look() -> None:
        pause = 0.0
        while not over.wait(pause):
            began = time.monotonic()
            seen.append(sum(_pss(pid) for pid in _tree(root)))
            # Not more than a twentieth of a core goes into looking.
            pause = max(0.02, 20 * (time.monotonic() - began))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _busy() -> float:
    """CPU seconds of the whole machine since its start, those that were stolen from it included."""
    user, nice, system, _idle, _waiting, *rest = map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _cpu_below(roots: Sequence[int]) -> float:
    """A simulated vCenter has its key servers as processes of their own."""
    return sum(_cpu_of(pid) for root in roots for pid in _tree(root))


def _cpu_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _tree(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = pathlib.Path(entry.path, "stat").read_text(errors="replace")
                parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(parents.get(pid, ()))
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


class Server:
    """A simulator in a process of its own, and its control port."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready

    def __getattr__(self, name: str) -> Any:
        try:
            return self.ready[name]
        except KeyError:
            raise AttributeError(name) from None

    def control(self, path: str, body: Any = None, method: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.ready["control"] + path, data=data, method=method or ("POST" if body is not None else "GET"))
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=60) as reply:
            return json.loads(reply.read() or b"null")


@contextlib.contextmanager
def served(scenario: str, **options: Any) -> Iterator[Server]:
    """``served("fleet", hosts=100, delay_ms=20)``"""
    command = [sys.executable, "-m", "tests.simulator", "--listen", "127.0.0.1:0", "--scenario", scenario]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        yield Server(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def ansible_environment(folder: pathlib.Path, server: Server | None = None) -> dict[str, str]:
    """A home of its own, so that no setting of the user's and no session of another run takes part."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE") if name in os.environ}
    environment = {
        **keep,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
        "HOME": str(folder),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    if server is not None:
        environment.update(
            VMWARE_HOST=server.hostname,
            VMWARE_PORT=str(server.port),
            VMWARE_USER=server.username,
            VMWARE_PASSWORD=server.password,
            VMWARE_CA_FILE=server.ca_file,
        )
    return environment


def playbook_command(
    folder: pathlib.Path, module: str, options: Mapping[str, Any], *extra: str, loop: Sequence[str] | None = None
) -> list[str]:
    """A play of one task on this machine, and nothing else."""
    path = folder / f"{module}-{abs(hash(json.dumps(options)))}.yml"
    task = {module: dict(options), **({} if loop is None else {"loop": list(loop)})}
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    return ["ansible-playbook", str(path), *extra]


def module_command(module: str, options: Mapping[str, Any], *extra: str) -> list[str]:
    """One task on this machine, as people type it."""
    return ["ansible", "localhost", "-m", module, "-a", json.dumps(options), *extra]

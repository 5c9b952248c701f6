# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's clients, started as people start them: processes of their own, a home of their own, certificates verified."""

from __future__ import annotations

import datetime
import json
import pathlib
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyVim.connect import Disconnect, SmartConnect

from tests.bench.measure import Server, ansible_environment, module_command

CONTENTS = ("_meta", "all")  # what an inventory has besides its groups


def left_behind(server: Server) -> dict[str, Any]:
    """Sessions that nobody ended, and the simulator's own errors. Every test ends with a look at this."""
    summary = server.control("/summary")
    return {"sessions": [session["user"] for session in summary["sessions"]], "errors": server.control("/errors")}


@dataclass(frozen=True)
class Told:
    """What one task said, and the calls that it made."""

    result: dict[str, Any]
    calls: list[dict[str, Any]]

    @property
    def changed(self) -> bool:
        return bool(self.result["changed"])

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(call["host"], call["method"]) for call in self.calls if call["write"]]

    @property
    def statuses(self) -> dict[str, str]:
        """Of one of our modules."""
        return {name: host["status"] for name, host in self.result["hosts"].items()}


def _run(command: Sequence[str], folder: pathlib.Path, server: Server, **more: str) -> subprocess.CompletedProcess[str]:
    home = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix="home-"))
    environment = {
        **ansible_environment(home, server),
        "SSL_CERT_FILE": server.ca_file,  # the one way to tell community.vmware and vmware.vmware of an authority
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        **more,
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False
    )


def _tasks(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    try:
        return [task for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
    except ValueError:
        raise AssertionError(f"no JSON came out\n{done.stdout}\n{done.stderr}") from None


def tell(folder: pathlib.Path, server: Server, *tasks: Mapping[str, Any]) -> list[Told]:
    """Tasks in one ansible-playbook, each with its own part of the journal. Only those with ``ignore_errors`` may fail."""
    before = server.control("/journal")
    book = folder / "play.json"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = _run(["ansible-playbook", str(book)], folder, server)
    told = []
    journal = server.control(f"/journal?since={before[-1]['seq'] if before else 0}")
    for task, asked in zip(_tasks(done), tasks, strict=False):
        result = task["hosts"]["localhost"]
        assert not result.get("failed") or asked.get("ignore_errors"), (task["task"]["name"], result)
        began, ended = (datetime.datetime.fromisoformat(task["task"]["duration"][side]).timestamp() for side in ("start", "end"))
        told.append(Told(result, [call for call in journal if began <= call["time"] <= ended]))
    assert done.returncode == 0, done.stderr
    assert len(told) == len(tasks)
    assert sum(len(one.calls) for one in told) == len(journal), "every call belongs to a task"
    return told


def ad_hoc(folder: pathlib.Path, server: Server, module: str, **options: Any) -> dict[str, Any]:
    """One task as people type it. It may fail."""
    done = _run(module_command(module, options), folder, server, ANSIBLE_LOAD_CALLBACK_PLUGINS="true")
    result: dict[str, Any] = _tasks(done)[0]["hosts"]["localhost"]
    assert (done.returncode != 0) == bool(result.get("failed")), (done.returncode, result)
    return result


def inventory(folder: pathlib.Path, server: Server, **options: Any) -> dict[str, Any]:
    """vmware.vmware's inventory plugin through ansible-inventory."""
    source = folder / "esxi_hosts.yml"
    source.write_text(json.dumps({"plugin": "vmware.vmware.esxi_hosts", **options}))
    done = _run(["ansible-inventory", "--inventory", str(source), "--list"], folder, server)
    assert done.returncode == 0, done.stderr
    assert "Failed to parse" not in done.stderr
    return json.loads(done.stdout, object_hook=_plain)


def _plain(value: dict[str, Any]) -> Any:
    return value.get("__ansible_unsafe", value)


def groups(listed: Mapping[str, Any]) -> dict[str, set[str]]:
    return {name: set(group["hosts"]) for name, group in listed.items() if name not in CONTENTS and "hosts" in group}


def trusted(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca_file)


@contextmanager
def connected(server: Server, **options: Any) -> Iterator[Any]:
    """pyVmomi's SmartConnect, as its samples do it."""
    given = {"user": server.username, "pwd": server.password, "sslContext": trusted(server), **options}
    si = SmartConnect(host=server.hostname, port=server.port, **given)
    try:
        yield si
    finally:
        Disconnect(si)

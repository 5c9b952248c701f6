# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo plays on: a simulated server in a process of its own, and ansible-playbook as users run it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent


class NotStarted(Exception):
    """The simulator says why in a sentence."""


@contextlib.contextmanager
def simulator(folder: pathlib.Path, scenario: str) -> Iterator[dict[str, Any]]:
    folder.mkdir()
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "tests.simulator", "--listen", "127.0.0.1:0", "--scenario", f"tools/{scenario}"]
    with (folder / "simulator.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ends = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > ends:
                raise NotStarted((folder / "simulator.log").read_text().strip() or "nothing within a minute")
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(server: dict[str, Any], path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body or {}).encode() if method == "POST" else None
    request = urllib.request.Request(server["control"] + path, method=method, data=data)
    # Loopback: no proxy of the user's has a say.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
        return json.load(reply)


@dataclass
class Run:
    """One run of a playbook: what the module said (``result``), and what the server's journal says (``calls``)."""

    result: dict[str, Any]
    calls: dict[str, Any]
    seconds: float

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """Hosts or machines, whichever the module works on."""
        found: dict[str, dict[str, Any]] = self.result.get("hosts") or self.result["vms"]
        return found

    @property
    def changes(self) -> dict[str, list[Any]]:
        return {name: target["changes"] for name, target in self.targets.items() if target.get("changes")}

    @property
    def changed(self) -> bool:
        return bool(self.result["changed"])


def environment(folder: pathlib.Path, server: dict[str, Any]) -> dict[str, str]:
    """The endpoint as users would give it, and nothing of this user's own settings, caches and sessions."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "VMWARE_"))}
    (folder / "ansible.cfg").touch()
    return env | {
        "VMWARE_HOST": server["hostname"],
        "VMWARE_PORT": str(server["port"]),
        "VMWARE_USER": server["username"],
        "VMWARE_PASSWORD": server["password"],
        "VMWARE_CA_FILE": server["ca_file"],
        "TMPDIR": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "KEEP_RESULTS": str(folder / "results.json"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "ansible" / "tmp"),
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tools" / "demo_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "keep_results",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    }


def play(folder: pathlib.Path, server: dict[str, Any], command: tuple[str, ...], *, last: bool = False) -> Run:
    ask(server, "/clear_journal", "POST")
    env = environment(folder, server) | ({"VMWARE_SESSION": "end"} if last else {})
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    started = time.monotonic()
    with (folder / "play.log").open("w") as log:
        process = subprocess.Popen(
            ["ansible-playbook", *command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            process.wait(300)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
    seconds = time.monotonic() - started
    if not results.exists():
        raise SystemExit("The playbook came to no result. What it said:\n\n" + (folder / "play.log").read_text())
    return Run(json.loads(results.read_text()), ask(server, "/summary"), seconds)


def sessions(server: dict[str, Any]) -> list[Any]:
    return list(ask(server, "/summary").get("sessions", []))

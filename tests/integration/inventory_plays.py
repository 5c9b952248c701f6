# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays over an inventory that lists every host: two vCenters, and what each inventory host came to."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.measure import Server, served
from tests.integration.playbooks import ansible_playbook

ROLE = "fleetcare.esxi.esxi_ntp_align"
HOSTS = {"a": 3, "b": 2}
ALL = [f"{group}{number}" for group, count in HOSTS.items() for number in range(1, count + 1)]
# What a callback may see; a line an event.
_CALLBACK = """
import json, sys
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'stdout', 'told'
    play = ''
    def tell(self, **event):
        self._display.display(json.dumps(event, default=str))
    def v2_playbook_on_play_start(self, play):
        self.play = play.get_name()
    def v2_playbook_on_stats(self, stats):
        self.tell(kind='stats', **{host: stats.summarize(host) for host in stats.processed})
    def came(self, kind, result):
        name = getattr(result, 'host', None) or result._host
        task = getattr(result, 'task', None) or result._task
        self.tell(kind=kind, play=self.play, host=str(name), task=str(task.get_name()), action=str(task.action),
                  result=getattr(result, 'result', None) or result._result)
    def v2_runner_on_ok(self, result, **_more):
        self.came('ok', result)
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.came('failed', result)
    def v2_runner_on_unreachable(self, result):
        self.came('unreachable', result)
    def v2_runner_on_skipped(self, result):
        self.came('skipped', result)
    def v2_on_file_diff(self, result):
        self.came('diff', result)
"""


@dataclass(frozen=True)
class Sites:
    """Two vCenters and a folder with the inventory: ``a1`` is esx-0001 of the first, ``b1`` esx-0001 of the second."""

    folder: pathlib.Path
    a: Server
    b: Server

    def fresh(self) -> None:
        for server in (self.a, self.b):
            server.control("/reset", {})
            server.control("/clear_journal", {})

    def journal(self, server: Server) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.control("/journal")
        return found

    def written(self) -> dict[str, list[str]]:
        """The inventory hosts that got each time server."""
        found: dict[str, list[str]] = {}
        for group, server in (("a", self.a), ("b", self.b)):
            for entry in self.journal(server):
                if entry["method"] == "UpdateDateTimeConfig":
                    sent = json.dumps(entry["args"])
                    address = next(f"192.0.2.{number}" for number in range(10, 250) if f'192.0.2.{number}"' in sent)
                    found.setdefault(address, []).append(f"{group}{int(entry['host'][4:8])}")
        return {address: sorted(hosts) for address, hosts in found.items()}

    def logins(self) -> dict[str, list[int]]:
        """How often it was logged in for each time server, one number a vCenter that was asked: with ``session: single`` the runs."""
        found: dict[str, list[int]] = {}
        for server in (self.a, self.b):
            begun = 0
            last = ""
            counts: dict[str, int] = {}
            for entry in self.journal(server):
                begun += entry["method"] == "Login"
                if entry["method"] == "UpdateDateTimeConfig":
                    sent = json.dumps(entry["args"])
                    address = next(f"192.0.2.{number}" for number in range(10, 250) if f'192.0.2.{number}"' in sent)
                    if address != last or begun:
                        counts[address] = counts.get(address, 0) + begun
                    begun, last = 0, address
            for address, count in counts.items():
                found.setdefault(address, []).append(count)
        return found


@contextlib.contextmanager
def two_sites(folder: pathlib.Path) -> Iterator[Sites]:
    with served("fleet", hosts=HOSTS["a"]) as a, served("fleet", hosts=HOSTS["b"]) as b:
        (folder / "callbacks").mkdir()
        (folder / "callbacks" / "told.py").write_text(_CALLBACK)
        groups: dict[str, Any] = {}
        for group, server in (("a", a), ("b", b)):
            hosts = {f"{group}{number}": {"esxi_hostname": f"esx-{number:04d}.example.com"} for number in range(1, HOSTS[group] + 1)}
            reach = {name: getattr(server, name) for name in ("hostname", "port", "username", "password", "ca_file")}
            groups[f"site_{group}"] = {"hosts": hosts, "vars": {f"esxi_remediate_{name}": value for name, value in reach.items()}}
        # As inventories of ESXi hosts are: of no use to a task on the control node.
        shared = {
            "ansible_connection": "ssh",
            "ansible_user": "root",
            "ansible_python_interpreter": "/bin/python",
            "esxi_remediate_session": "single",
        }
        inventory = {"all": {"children": {"esxi": {"children": groups, "vars": shared}}}}
        (folder / "hosts.json").write_text(json.dumps(inventory))
        yield Sites(folder, a, b)


class Told:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.text = done.stdout + done.stderr
        self.events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"kind')]
        self.stats: dict[str, Any] = next((event for event in self.events if event["kind"] == "stats"), {})

    def came(self, play: str = "", kind: str = "") -> dict[str, dict[str, Any]]:
        """The result of the task that runs a module, by host; ``kind`` and ``text`` beside it."""
        found = {}
        for event in self.events:
            if event["kind"] in ("stats", "diff") or event.get("play") != play or not event["action"].endswith("esxi_share"):
                continue
            if "share an endpoint" not in event["task"] and (not kind or event["kind"] == kind):
                found[event["host"]] = {**event["result"], "kind": event["kind"]}
        return found

    def kinds(self, play: str = "") -> dict[str, str]:
        return {host: "changed" if one["kind"] == "ok" and one.get("changed") else one["kind"] for host, one in self.came(play).items()}


def run(sites: Sites, plays: Sequence[dict[str, Any]], *flags: str, **environment: str) -> Told:
    (sites.folder / "play.yml").write_text(json.dumps(list(plays)))
    told = {
        "ANSIBLE_STDOUT_CALLBACK": "told",
        "ANSIBLE_CALLBACK_PLUGINS": str(sites.folder / "callbacks"),
        "ANSIBLE_PYTHON_INTERPRETER": "",
    }
    return Told(ansible_playbook(sites.folder, "play.yml", "-i", "hosts.json", *flags, timeout=400, environment={**told, **environment}))


def play(name: str, address: int, *tasks: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    """``address``: the last number of the time server that this play gives, by which it is told from others."""
    variables = {"esxi_ntp_align_ntp_servers": [f"192.0.2.{address}"], **keywords.pop("vars", {})}
    return {"name": name, "hosts": "esxi", "gather_facts": False, "vars": variables, "tasks": list(tasks), **keywords}


def imported(**keywords: Any) -> dict[str, Any]:
    return {"ansible.builtin.import_role": {"name": ROLE, "rolespec_validate": False}, **keywords}


def included(**keywords: Any) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": ROLE, "rolespec_validate": False}, **keywords}

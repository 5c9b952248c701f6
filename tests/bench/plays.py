# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play over 100 inventory hosts beside the same work as one task, and beside what Ansible itself takes for as many tasks that do nothing.

``python -m tests.bench.plays [--hosts N] [--runs N]``; ``measured`` gives the figures as data.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.measure import ROOT, Cost, Server, ansible_environment, cost_of, served

FLEET = str(ROOT / "tests" / "bench" / "fleet.yml")
GOAL = 1.3
ALLOWED = {"ip_address": ["192.0.2.10", "192.0.2.11"], "ip_network": ["198.51.100.0/24"]}
OTHERS = {"ip_address": ["192.0.2.10", "203.0.113.9"], "ip_network": ["198.51.100.0/25"]}
KEPT: dict[str, Any] = {"esxi_firewall_ports_rules": [{"name": "syslog", "enabled": True, "allowed_hosts": ALLOWED}]}
# A ruleset that is shut and gets its addresses: two writes a host, of which a host takes 300 ms for the first.
OPENED: dict[str, Any] = {"esxi_firewall_ports_rules": [{"name": "sshClient", "enabled": True}]}
FOUR: dict[str, Any] = {
    **KEPT,
    "esxi_ntp_align_ntp_servers": ["192.0.2.1", "192.0.2.2"],
    "esxi_license_validate_state": "valid",
    "esxi_acceptance_level_acceptance_level": "partner",
}
JOBS: tuple[dict[str, Any], ...] = (
    {"name": "firewall check, 0 ms", "role": "esxi_firewall_ports", "vars": KEPT, "delay_ms": 0, "writes": 0},
    {
        "name": "firewall repair, 20 ms, 300 ms a write",
        "role": "esxi_firewall_ports",
        "vars": OPENED,
        "delay_ms": 20,
        "slow": 0.3,
        "writes": 1,
    },
    {"name": "four features, 0 ms", "role": "esxi_remediate", "vars": FOUR, "delay_ms": 0, "writes": 0},
    {"name": "four features, 20 ms", "role": "esxi_remediate", "vars": FOUR, "delay_ms": 20, "writes": 0},
)


def measured(hosts: int = 100, runs: int = 3, jobs: Sequence[Mapping[str, Any]] = JOBS) -> list[dict[str, Any]]:
    """An entry a job: seconds of one task (``one``), of the play over all hosts (``play``), with the role's arguments validated for each
    host as well (``validated``), of a play with as many tasks that do nothing (``floor``) and with none (``empty``); ``ratio``, and
    ``ratio_of_ours``: what of it is not Ansible's own. CPU seconds stand beside wall seconds."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for job in jobs:
            with served(FLEET, hosts=hosts, delay_ms=job["delay_ms"]) as server:
                if "slow" in job:
                    server.control("/fault", {"method": "EnableRuleset", "delay": job["slow"], "count": None})
                found.append(_job(job, server, folder, runs))
                print(f"{job['name']}: {found[-1]['ratio']}", file=sys.stderr, flush=True)
    return found


def _job(job: Mapping[str, Any], server: Server, folder: pathlib.Path, runs: int) -> dict[str, Any]:
    names = list(server.control("/state")["hosts"])
    (folder / "hosts").write_text("[esxi]\n" + "".join(f"{name}\n" for name in names))
    role = {"name": f"fleetcare.esxi.{job['role']}"}
    nothing = [{"ansible.builtin.debug": {"msg": "nothing"}}] * 2
    plays: dict[str, dict[str, Any]] = {
        "one": {"hosts": "localhost", "tasks": [{"ansible.builtin.import_role": role}], "vars": {"esxi_remediate_esxi_hostname": ["*"]}},
        "play": {"hosts": "esxi", "tasks": [{"ansible.builtin.import_role": {**role, "rolespec_validate": False}}]},
        "validated": {"hosts": "esxi", "tasks": [{"ansible.builtin.import_role": role}]},
        "floor": {"hosts": "esxi", "tasks": nothing},
        "empty": {"hosts": "esxi", "tasks": []},
    }
    for kind, play in plays.items():
        play.update(gather_facts=False, vars={**play.get("vars", {}), "esxi_remediate_session": "single", **job["vars"]})
        (folder / f"{kind}.yml").write_text(json.dumps([play]))
    costs: dict[str, list[Cost]] = {kind: [] for kind in plays}
    seen: dict[str, dict[str, Any]] = {}
    # In turn, so that whatever else the machine does meets all of them.
    for _run in range(runs):
        for kind in plays:
            server.control("/reset", {})
            if "slow" in job:
                server.control("/fault", {"method": "EnableRuleset", "delay": job["slow"], "count": None})
            server.control("/clear_journal", {})
            cost = cost_of(["ansible-playbook", "-i", "hosts", f"{kind}.yml"], ansible_environment(folder, server), folder, memory=False)
            if cost.code:
                raise RuntimeError(f"{job['name']}, {kind}: {cost.output[-2000:]}")
            costs[kind].append(cost)
            seen[kind] = server.control("/summary")
    for kind in ("one", "play", "validated"):
        if seen[kind]["writes"] != job["writes"] * len(names) or seen[kind]["logins"] != seen["one"]["logins"]:
            raise RuntimeError(f"{job['name']}, {kind}: {seen[kind]['writes']} writes, {seen[kind]['logins']} logins")
    wall = {kind: statistics.median(cost.wall for cost in each) for kind, each in costs.items()}
    cpu = {kind: statistics.median(cost.cpu for cost in each) for kind, each in costs.items()}
    ansibles_own = wall["floor"] - wall["empty"]
    return {
        "job": job["name"],
        "hosts": len(names),
        "logins": seen["play"]["logins"],
        "calls": seen["play"]["calls"],
        "calls_of_one": seen["one"]["calls"],
        "wall": {kind: round(value, 2) for kind, value in wall.items()},
        "cpu": {kind: round(value, 2) for kind, value in cpu.items()},
        "ratio": round(wall["play"] / wall["one"], 2),
        "ratio_of_ours": round((wall["play"] - ansibles_own) / wall["one"], 2),
        "least_possible": round((wall["one"] + ansibles_own / 2) / wall["one"], 2),
    }


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """For a terminal, and for a page in Markdown."""
    head = (
        "job",
        "one task",
        "play",
        "validated",
        "empty play",
        "two empty tasks a host",
        "ratio",
        "without Ansible's own",
        "one empty task alone",
    )
    lines = [head, ("---",) * len(head)]
    for each in found:
        wall = each["wall"]
        seconds = [f"{wall[kind]:.2f} s" for kind in ("one", "play", "validated", "empty", "floor")]
        lines.append((each["job"], *seconds, str(each["ratio"]), str(each["ratio_of_ours"]), str(each["least_possible"])))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    found = measured(given.hosts, given.runs)
    print(table(found))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

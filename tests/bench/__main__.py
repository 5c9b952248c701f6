# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours beside community.vmware's, in one run: calls and bytes do not vary, seconds are given with their ratio."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import tempfile
from typing import Any

from tests.bench.measure import ROOT, Server, ansible_environment, cost_of, playbook_command, served

OURS = "fleetcare.esxi.esxi_ntp_align"
FLEET = ROOT / "tests" / "bench" / "fleet.yml"
PEER = "community.vmware.vmware_host_ntp"
COLUMNS = ("hosts", "delay_ms", "job", "who", "calls", "logins", "kb_up", "kb_down", "cpu_s", "memory_mb", "wall_s")


def jobs(server: Server, folder: pathlib.Path) -> list[tuple[str, str, list[str]]]:
    """Job, who does it, and the command. The fleet is reset before each."""
    everything = {"ntp_servers": ["192.0.2.1", "192.0.2.2"]}
    new = {"ntp_servers": ["192.0.2.77"]}
    reach = {"hostname": server.hostname, "port": server.port, "username": server.username, "password": server.password}
    peer = {**reach, "validate_certs": False, "cluster_name": "prod"}
    mine = {"esxi_hostname": ["*"], "session": "single"}
    return [
        ("check", "fleetcare.esxi", playbook_command(folder, OURS, {**mine, **everything}, "--check")),
        ("check", "community.vmware", playbook_command(folder, PEER, {**peer, **everything}, "--check")),
        ("change", "fleetcare.esxi", playbook_command(folder, OURS, {**mine, **new})),
        ("change", "community.vmware", playbook_command(folder, PEER, {**peer, **new})),
        (
            "check + clocks",
            "fleetcare.esxi",
            playbook_command(folder, OURS, {**mine, **everything, "max_skew": 1, "fail_on": "none"}, "--check"),
        ),
    ]


def row(hosts: int, delay: int, job: str, who: str, command: list[str], server: Server, folder: pathlib.Path) -> dict[str, Any]:
    server.control("/reset", {})
    cost = cost_of(command, ansible_environment(folder, server), folder)
    summary = server.control("/summary")
    if cost.code not in (0, 2) or "FAILED!" in cost.output:
        print(cost.output[-3000:], file=sys.stderr)
        raise SystemExit(f"{who} {job} at {hosts} hosts failed; see above")
    return {
        "hosts": hosts,
        "delay_ms": delay,
        "job": job,
        "who": who,
        "calls": summary["calls"],
        "logins": summary["logins"],
        "kb_up": round(summary["bytes_in"] / 1000, 1),
        "kb_down": round(summary["bytes_out"] / 1000, 1),
        "cpu_s": round(cost.cpu, 2),
        "memory_mb": round(cost.memory),
        "wall_s": round(cost.wall, 2),
    }


def shown(rows: list[dict[str, Any]]) -> str:
    """A table for people; the ratio is community.vmware's wall time over ours for the same job in the same run."""
    lines = [
        " ".join(f"{name:>16}" if name == "who" else f"{name:>14}" if name == "job" else f"{name:>9}" for name in COLUMNS) + "   ratio"
    ]
    for item in rows:
        same = [r for r in rows if (r["hosts"], r["delay_ms"], r["job"]) == (item["hosts"], item["delay_ms"], item["job"])]
        ours = next((r for r in same if r["who"] == "fleetcare.esxi"), None)
        ratio = f"{item['wall_s'] / ours['wall_s']:7.1f}x" if ours and item is not ours else ""
        cells = (f"{item[n]!s:>16}" if n == "who" else f"{item[n]!s:>14}" if n == "job" else f"{item[n]!s:>9}" for n in COLUMNS)
        lines.append(" ".join(cells) + ratio)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--delay", type=int, nargs="+", default=[0, 20], metavar="MS")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist" / "bench.json")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        floor = [cost_of(playbook_command(folder, "ansible.builtin.ping", {}), ansible_environment(folder), folder) for _turn in range(3)]
        ping = sorted(floor, key=lambda cost: cost.cpu)[1]
        for hosts in chosen.hosts:
            for delay in chosen.delay:
                with served(str(FLEET), hosts=hosts, delay_ms=delay) as server:
                    for job, who, command in jobs(server, folder):
                        rows.append(row(hosts, delay, job, who, command, server, folder))
                        print(json.dumps(rows[-1]), flush=True)
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "ping_floor": {"cpu_s": round(ping.cpu, 2), "wall_s": round(ping.wall, 2), "memory_mb": round(ping.memory)},
        "rows": rows,
    }
    chosen.output.parent.mkdir(exist_ok=True)
    chosen.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nfloor, a bare ping task: {report['ping_floor']}\n\n{shown(rows)}\n\nAs JSON: {chosen.output}")


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours beside community.vmware's and vmware.vmware's, in one run: calls and bytes do not vary, seconds are given with their ratio."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from tests.bench import vms
from tests.bench.jobs import FEATURES, OURS, Job
from tests.bench.measure import ROOT, Server, ansible_environment, cost_of, playbook_command, served

FLEET = ROOT / "tests" / "bench" / "fleet.yml"
SAME = ("hosts", "delay_ms", "feature", "job")
COLUMNS = (*SAME, "who", "calls", "logins", "kb_up", "kb_down", "cpu_s", "memory_mb", "wall_s")
WIDE = {"job": 14, "who": 16}


def jobs(server: Server, features: Sequence[str], names: Sequence[str]) -> list[Job]:
    """The fleet is reset before each."""
    reach = {"hostname": server.hostname, "port": server.port, "username": server.username, "password": server.password}
    peer = {**reach, "validate_certs": False, "cluster_name": "prod"}
    mine = {"esxi_hostname": ["*"], "session": "single"}
    return [job for feature in features for job in FEATURES[feature](mine, peer) if not names or job.name in names]


def row(hosts: int, delay: int, job: Job, server: Server, folder: pathlib.Path) -> dict[str, Any]:
    server.control("/reset", {})
    names = sorted(server.control("/state")["hosts"]) if job.each else None
    command = playbook_command(folder, job.module, job.options, *(["--check"] if job.check else []), loop=names)
    cost = cost_of(command, ansible_environment(folder, server), folder)
    summary = server.control("/summary")
    wrong = [name for name, host in server.control("/state")["hosts"].items() if not job.holds(host)]
    if cost.code != 0 or "FAILED!" in cost.output or wrong or summary["writes"] != job.writes * hosts:
        print(cost.output[-3000:], file=sys.stderr)
        raise SystemExit(
            f"{job.module} {job.name} at {hosts} hosts: {summary['writes']} writes, not as they should be: {wrong[:5]}; see above"
        )
    return {
        "hosts": hosts,
        "delay_ms": delay,
        "feature": job.feature,
        "job": job.name,
        "who": job.who,
        "calls": summary["calls"],
        "logins": summary["logins"],
        "kb_up": round(summary["bytes_in"] / 1000, 1),
        "kb_down": round(summary["bytes_out"] / 1000, 1),
        "cpu_s": round(cost.cpu, 2),
        "memory_mb": round(cost.memory),
        "wall_s": round(cost.wall, 2),
    }


def expected_wall(rows: Sequence[dict[str, Any]], hosts: int, delay: int, job: Job) -> float:
    """By the largest smaller fleet of this run, in proportion to its hosts; 0 where there is none."""
    smaller = [r for r in rows if (r["delay_ms"], r["feature"], r["job"], r["who"]) == (delay, job.feature, job.name, job.who)]
    nearest = max(smaller, key=lambda r: r["hosts"], default=None)
    return nearest["wall_s"] * hosts / nearest["hosts"] if nearest and nearest["hosts"] < hosts else 0.0


def shown(rows: list[dict[str, Any]]) -> str:
    """A table for people; the ratio is their wall time over ours for the same job in the same run."""
    lines = [" ".join(f"{name:>{WIDE.get(name, 9)}}" for name in COLUMNS) + "   ratio"]
    for item in rows:
        same = [r for r in rows if all(r[name] == item[name] for name in SAME)]
        ours = next((r for r in same if r["who"] == OURS), None)
        ratio = f"{item['wall_s'] / ours['wall_s']:7.1f}x" if ours and item is not ours else ""
        lines.append(" ".join(f"{item[name]!s:>{WIDE.get(name, 9)}}" for name in COLUMNS) + ratio)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--feature", choices=[*FEATURES, "crypto", "all"], default="all", help="crypto counts machines instead of hosts")
    parser.add_argument("--job", nargs="*", default=[], metavar="NAME", help="only these, such as: check change")
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--alone", type=int, nargs="*", default=[1000], metavar="HOSTS", help="fleets for ours alone")
    parser.add_argument("--delay", type=int, nargs="+", default=[0, 20], metavar="MS")
    parser.add_argument(
        "--patience", type=float, default=100, metavar="S", help="leave out what would take longer, by the smaller fleets; 0: nothing"
    )
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "dist" / "bench.json")
    chosen = parser.parse_args()
    features = list(FEATURES) if chosen.feature == "all" else [each for each in (chosen.feature,) if each in FEATURES]
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        floor = [cost_of(playbook_command(folder, "ansible.builtin.ping", {}), ansible_environment(folder), folder) for _turn in range(3)]
        ping = sorted(floor, key=lambda cost: cost.cpu)[1]
        for hosts in sorted({*chosen.hosts, *chosen.alone}):
            for delay in chosen.delay:
                if chosen.feature in ("all", "crypto"):
                    rows += vms.rows(hosts, delay, chosen.job)
                    print("\n".join(map(json.dumps, rows[-3:])), flush=True)
                if not features:
                    continue
                with served(str(FLEET), hosts=hosts, delay_ms=delay) as server:
                    for job in jobs(server, features, chosen.job):
                        if job.who != OURS and hosts not in chosen.hosts:
                            continue
                        expected = expected_wall(rows, hosts, delay, job)
                        if chosen.patience and expected > chosen.patience:
                            left_out.append(f"{job.module} {job.name}, {hosts} hosts, {delay} ms: about {expected:.0f} s")
                            continue
                        rows.append(row(hosts, delay, job, server, folder))
                        print(json.dumps(rows[-1]), flush=True)
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "ping_floor": {"cpu_s": round(ping.cpu, 2), "wall_s": round(ping.wall, 2), "memory_mb": round(ping.memory)},
        "rows": rows,
        "left_out": left_out,
    }
    chosen.output.parent.mkdir(exist_ok=True)
    chosen.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nfloor, a bare ping task: {report['ping_floor']}\n\n{shown(rows)}\n")
    if left_out:
        print("Left out (--patience 0 runs them):\n  " + "\n  ".join(left_out) + "\n")
    print(f"As JSON: {chosen.output}")


if __name__ == "__main__":
    main()

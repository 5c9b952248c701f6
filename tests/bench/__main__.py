# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours beside other people's modules, a loop of single commands and a script that does the least possible, in one run. Calls, logins and
bytes do not vary; seconds do, so they are given with the floor of an empty task, and marked with ~ where the machine had other work."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import yaml

from tests.bench import plays, vms
from tests.bench.figures import Row, computed, median_of, same_job
from tests.bench.jobs import FEATURES, LEAST, OURS, THEIRS, WHOSE, Job, Place
from tests.bench.measure import ROOT, Cost, Server, ansible_environment, cost_of, playbook_command, served
from tests.bench.page import in_full, in_terminal

FLEET = ROOT / "tests" / "bench" / "fleet.yml"
KEPT = ROOT / "docs" / "performance.json"
OUTPUT = ROOT / "tests" / "output" / "bench"
GOAL = ("firewall", "check", THEIRS)
"""The job that the goals are about: waited for longer than for others."""
MODES: dict[str, dict[str, Any]] = {
    "quick": {"hosts": [10, 100], "alone": [1000], "patience": 80.0, "goal_patience": 240.0, "runs": 1},
    "full": {"hosts": [10, 100, 300, 1000], "alone": [5000], "patience": 240.0, "goal_patience": 2400.0, "runs": 3},
}
LONG = 10.0
"""A run of more seconds than this is not repeated."""


class Wrong(Exception):
    """A job that did not do what it is measured for. The others are measured all the same."""


def scenario(fleet: str, targets: int, folder: pathlib.Path) -> tuple[str, dict[str, Any]]:
    """What the simulator is started with."""
    if fleet == "hosts":
        return str(FLEET), {"hosts": targets}
    file = folder / f"{fleet}-{targets}.yml"
    if fleet == "machines":
        content = vms.scenario(targets)
    else:
        content = yaml.safe_load(FLEET.read_text(encoding="utf-8"))
        content["hosts"][0]["count"] = targets
        content["virtual_machines"] = [{"count": targets, "name": "vm-{i:05d}", "host": "esx-*", "disks": [{"gb": 16}]}]
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file), {}


def command_of(job: Job, folder: pathlib.Path, names: Sequence[str]) -> list[str]:
    if job.script:
        return [sys.executable, str(ROOT / "tests" / "bench" / "bare.py"), *job.script]
    extra = ["--check"] if job.check else []
    return playbook_command(folder, job.module, job.options, *extra, loop=names if job.each else None)


def measured(job: Job, targets: int, delay: int, server: Server, folder: pathlib.Path, runs: int) -> Row:
    """The job on a fleet as it begins, as often as is asked for; the first time its memory is looked at, too."""
    costs: list[Cost] = []
    environment = ansible_environment(folder, server)
    while len(costs) < runs and (not costs or costs[0].wall < LONG):
        server.control("/reset", {})
        server.control("/clear_journal", {})
        names = sorted(server.control("/state")["hosts"]) if job.each else []
        command = command_of(job, folder, names)
        costs.append(cost_of(command, environment, folder, memory=not costs, beside=[server.pid]))
        summary = server.control("/summary")
        wrong = job.wrong(server.control("/state")) or unjudged(job, targets, folder)
        writes = job.expected_writes(targets)
        if costs[-1].code != 0 or "FAILED!" in costs[-1].output or wrong or writes not in (None, summary["writes"]):
            print(costs[-1].output[-3000:], file=sys.stderr)
            raise Wrong(f"{job.module} {job.title} with {targets}: {summary['writes']} writes, not as it should be: {wrong[:5]}; see above")
    quiet = [cost for cost in costs if not cost.noisy] or costs
    return {
        "hosts": targets,
        "delay_ms": delay,
        "feature": job.feature,
        "job": job.name,
        "who": job.who,
        "module": job.module,
        "calls": summary["calls"],
        "writes": summary["writes"],
        "requests": summary["requests"],
        "logins": summary["logins"],
        "connections": summary["connections"],
        "kb_up": round(summary["bytes_in"] / 1000, 1),
        "kb_down": round(summary["bytes_out"] / 1000, 1),
        "cpu_s": round(median_of(cost.cpu for cost in quiet), 2),
        "server_cpu_s": round(median_of(cost.beside for cost in quiet), 2),
        "memory_mb": round(costs[0].memory),
        "wall_s": round(median_of(cost.wall for cost in quiet), 2),
        "runs": len(quiet),
        "other_cores": round(median_of(cost.foreign / cost.wall for cost in quiet), 2),
        "noisy": all(cost.noisy for cost in costs),
        "computed": False,
    }


def unjudged(job: Job, targets: int, folder: pathlib.Path) -> list[str]:
    """Of an audit: what is not in its report, or not judged."""
    if job.feature != "audit" or job.script:
        return []
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return [word for word, expected in (("hosts", targets), ("vms", targets)) if report["summary"][word] != expected]


def floor(folder: pathlib.Path) -> dict[str, Any]:
    """What Ansible itself costs: the play with one ping."""
    command, environment = playbook_command(folder, "ansible.builtin.ping", {}), ansible_environment(folder)
    costs = [cost_of(command, environment, folder, memory=not turn) for turn in range(5)]
    quiet = [cost for cost in costs if not cost.noisy] or costs
    return {
        "wall_s": round(median_of(cost.wall for cost in quiet), 2),
        "cpu_s": round(median_of(cost.cpu for cost in quiet), 2),
        "memory_mb": round(costs[0].memory),
        "noisy": all(cost.noisy for cost in costs),
    }


def collection_version(name: str) -> str:
    manifest = pathlib.Path(sysconfig.get_path("purelib"), "ansible_collections", *name.split("."), "MANIFEST.json")
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    except OSError:
        return "not installed"


def surroundings() -> dict[str, Any]:
    """What the figures belong to."""
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    processors = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in processors if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    own = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    return {
        "machine": f"{os.cpu_count()} cores ({model or platform.machine()}), {memory:.0f} GiB, {platform.system()} {platform.release()}",
        "versions": {
            "fleetcare.esxi": f"{own} ({described.stdout.strip() or 'no commit'})",
            "community.vmware": collection_version("community.vmware"),
            "vmware.vmware": collection_version("vmware.vmware"),
            "ansible-core": metadata.version("ansible-core"),
            "pyvmomi": metadata.version("pyvmomi"),
            "Python": platform.python_version(),
        },
    }


def dumped(report: Mapping[str, Any]) -> str:
    """JSON with a line a row, so that differences can be read."""
    rows = ",\n  ".join(json.dumps(row) for row in report["rows"])
    text = json.dumps({**report, "rows": []}, indent=1)
    return text.replace('"rows": []', f'"rows": [\n  {rows}\n ]' if rows else '"rows": []', 1) + "\n"


class Bench:
    """One run of it. What is known is written after each figure, so that a run that ends early has lost nothing."""

    def __init__(self, chosen: argparse.Namespace, folder: pathlib.Path, report: dict[str, Any], output: pathlib.Path) -> None:
        self.chosen = chosen
        self.folder = folder
        self.report = report
        self.output = output
        self.rows: list[Row] = report["rows"]

    def write(self) -> None:
        partial = self.output.with_suffix(".new")
        partial.write_text(dumped(self.report), encoding="utf-8")
        partial.replace(self.output)

    def wanted(self, job: Job, targets: int) -> bool:
        if self.chosen.job and job.name not in self.chosen.job or self.chosen.who and job.who not in self.chosen.who:
            return False
        return job.who in (OURS, LEAST) or targets in self.chosen.hosts or targets <= max(self.chosen.beyond, default=0)

    def go(self) -> None:
        features = list(FEATURES) if "all" in self.chosen.feature else self.chosen.feature
        for targets in sorted({*self.chosen.hosts, *self.chosen.alone}):
            for delay in sorted(self.chosen.delay):
                for server, todo in self.fleets(features, targets, delay):
                    for job in todo:
                        self.one(job, targets, delay, server)

    def fleets(self, features: Sequence[str], targets: int, delay: int) -> Iterator[tuple[Server, list[Job]]]:
        """A server for each kind of fleet that jobs need, with those jobs."""
        for fleet in ("hosts", "machines", "estate"):
            nowhere = [job for feature in features for job in FEATURES[feature](Place({}, {}))]
            if not any(job.fleet == fleet and self.wanted(job, targets) for job in nowhere):
                continue
            what, options = scenario(fleet, targets, self.folder)
            with served(what, delay_ms=delay, **options) as server:
                jobs = [job for feature in features for job in FEATURES[feature](Place.of(server))]
                yield server, [job for job in jobs if job.fleet == fleet and self.wanted(job, targets)]

    def one(self, job: Job, targets: int, delay: int, server: Server) -> None:
        same = same_job(self.rows, job.feature, job.name, job.who)
        if any((row["hosts"], row["delay_ms"]) == (targets, delay) for row in same):
            return
        # Ours and the least are measured, whatever it takes: what is computed waits for every call, and they do not.
        measure = job.who in (OURS, LEAST)
        guess = None if measure else computed(same, targets, delay, 0.0 if job.script else self.report["ping"]["wall_s"])
        patience = self.chosen.goal_patience if (job.feature, job.name, job.who) == GOAL else self.chosen.patience
        beyond = not measure and targets not in self.chosen.hosts
        if beyond or (guess is not None and patience and guess["wall_s"] > patience):
            row = guess
        elif not measure and guess is None and same and patience and same[-1]["wall_s"] * targets / same[-1]["hosts"] > 2 * patience:
            row = None
        else:
            try:
                row = measured(job, targets, delay, server, self.folder, self.chosen.runs)
            except Wrong as problem:
                print(f"WRONG: {problem}", file=sys.stderr, flush=True)
                self.report["wrong"].append(str(problem))
                self.write()
                return
        if row is None:
            self.report["left_out"].append(f"{job.title} by {job.who}, {targets} hosts, {delay} ms")
        else:
            self.rows.append(row)
            print(
                json.dumps(
                    {name: row[name] for name in ("hosts", "delay_ms", "feature", "job", "who", "calls", "wall_s", "noisy", "computed")}
                ),
                flush=True,
            )
        self.write()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--mode", choices=MODES, default=os.environ.get("BENCH") or "quick", help="what is left out below; default: BENCH, or quick"
    )
    parser.add_argument("--feature", nargs="*", choices=[*FEATURES, "all"], default=["all"], help="crypto counts machines instead of hosts")
    parser.add_argument("--job", nargs="*", default=[], metavar="NAME", help="only these, such as: check change")
    parser.add_argument("--who", nargs="*", choices=WHOSE, default=[], help="only these")
    parser.add_argument("--hosts", type=int, nargs="+")
    parser.add_argument(
        "--alone", type=int, nargs="*", metavar="HOSTS", help="fleets for ours and the bare script; the others are computed"
    )
    parser.add_argument("--delay", type=int, nargs="+", default=[0, 20], metavar="MS")
    parser.add_argument("--patience", type=float, metavar="S", help="compute what would take longer; 0: measure it")
    parser.add_argument("--goal-patience", type=float, metavar="S", help="the same for the job that the goals are about")
    parser.add_argument("--runs", type=int, help=f"how often what takes less than {LONG:.0f} s is run; the median counts")
    parser.add_argument("--resume", type=pathlib.Path, metavar="JSON", help="go on with what an earlier run has written")
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT.relative_to(ROOT)}, which docs/performance.md is made from")
    parser.add_argument("--show", type=pathlib.Path, metavar="JSON", help="measure nothing; show what was written")
    chosen = parser.parse_args()
    for name, value in MODES[chosen.mode].items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    # The goals are about 1,000 hosts: where peers are not measured there, they are computed.
    chosen.beyond = [1000] if chosen.mode == "quick" else []
    return chosen


def tell(report: Mapping[str, Any], output: pathlib.Path) -> None:
    text = output.with_suffix(".md")
    text.write_text(in_full(report), encoding="utf-8")
    print(f"\n{in_terminal(report)}\n\nAs JSON: {output}\nAs Markdown: {text}")


def main() -> None:
    chosen = options()
    if chosen.show:
        print(in_terminal(json.loads(chosen.show.read_text(encoding="utf-8"))))
        return
    OUTPUT.mkdir(parents=True, exist_ok=True)
    began = datetime.datetime.now().replace(second=0, microsecond=0)
    output = chosen.resume or OUTPUT / f"{began.isoformat().replace(':', '')}-{chosen.mode}.json"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if chosen.resume:
            report = json.loads(chosen.resume.read_text(encoding="utf-8"))
            report["rows"] = [row for row in report["rows"] if not row["computed"]]
            report["left_out"], report["wrong"] = [], []
        else:
            report = {
                "date": began.isoformat(sep=" "),
                "mode": chosen.mode,
                **surroundings(),
                "ping": floor(folder),
                "rows": [],
                "left_out": [],
                "wrong": [],
            }
        bench = Bench(chosen, folder, report, output)
        bench.go()
        if "all" in chosen.feature and not chosen.job and not chosen.who:
            report["plays"] = plays.measured(100, chosen.runs)
        report["ping_at_end"] = floor(folder)
        report["minutes"] = round((datetime.datetime.now() - began).total_seconds() / 60 + report.get("minutes", 0))
        bench.write()
    tell(report, output)
    if chosen.keep or chosen.mode == "full":
        KEPT.write_text(output.read_text(encoding="utf-8"), encoding="utf-8")
        print(f"Kept: {KEPT}; make generate writes it into docs/performance.md")
    if report["wrong"]:
        raise SystemExit(f"{len(report['wrong'])} jobs did not do what they are measured for, see WRONG above")


if __name__ == "__main__":
    main()

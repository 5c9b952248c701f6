# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run test stages, two cores' worth at a time, and close with one line that counts.

A stage is a script in tools/stages that runs in one of our environments, with a home folder of its own and none of
the user's Ansible settings. Its output goes to a log; what is shown is one line, and the log's tail if it failed.
A stage that fails does not stop the others. One that hangs, or leaves processes behind, fails and is cleaned up.
Exit codes of a stage: 0 passed, 77 skipped (its last line says why), anything else failed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import uuid
from xml.etree import ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venv"
LOGS = VENVS / "log"
CORES = 2
SKIPPED = 77
TAIL_LINES = 60
GRACE_SECONDS = 5
MARKER = "FLEETCARE_STAGE"
INTERRUPTS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# The user's settings of these tools must not decide what the tests see.
FOREIGN = (
    "ANSIBLE_",
    "MOLECULE_",
    "PYTEST_",
    "VMWARE_",
    "XDG_",
    "PYTHON",
    "_ANSIBLE_",
    "GALAXY_",
    "MYPY",
    "RUFF_",
    "FORCE_COLOR",
    "PY_COLORS",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """What to run, in which environment, how many cores it keeps busy, and when to give up."""

    name: str
    command: tuple[str, ...]
    minutes: int
    env: str = ""
    cores: int = 1
    is_test: bool = True

    @property
    def log(self) -> pathlib.Path:
        return LOGS / f"{self.name}.log"

    @property
    def reports(self) -> pathlib.Path:
        return LOGS / self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclasses.dataclass(kw_only=True)
class Running:
    stage: Stage
    process: subprocess.Popen[bytes]
    marker: str
    started: float
    shown: int = 0
    heard: float = 0.0
    timed_out: bool = False


def script(name: str, *args: str) -> tuple[str, ...]:
    return (str(ROOT / "tools" / "stages" / f"{name}.sh"), *args)


def on_both(name: str, *, minutes: int, new: tuple[str, ...], old: tuple[str, ...]) -> tuple[Stage, ...]:
    return (
        Stage(name=f"{name}-new", command=new, env="new", cores=2, minutes=minutes),
        Stage(name=f"{name}-old", command=old, env="old", cores=2, minutes=minutes),
    )


# Within a run the order is the one asked for, except that a stage which fits beside another need not wait. What keeps one
# core busy for long is asked for together. What measures CPU takes both, so that it is alone.
STAGES: dict[str, tuple[Stage, ...]] = {
    "lint": (Stage(name="lint", command=script("lint"), env="new", minutes=10),),
    "sanity": (Stage(name="sanity", command=script("sanity"), env="new", minutes=20),),
    "unit": on_both("unit", minutes=10, new=script("pytest", "unit"), old=script("pytest", "unit")),
    "integration": (
        *on_both(
            "integration",
            minutes=25,
            new=script("pytest", "integration", "chaos"),
            old=script("pytest", "integration"),
        ),
        Stage(name="cost", command=script("pytest", "cost"), env="new", cores=2, minutes=10),
    ),
    "molecule": (Stage(name="molecule", command=script("molecule"), env="new", cores=2, minutes=30),),
    "second-opinion": (Stage(name="second-opinion", command=script("second_opinion"), env="new", minutes=20),),
    "peers": (Stage(name="peers", command=script("pytest", "peers"), env="peers", minutes=20),),
    "eda": (Stage(name="eda", command=script("eda"), env="eda", minutes=15),),
    "slices": (Stage(name="slices", command=script("slices"), env="new", cores=2, minutes=15),),
    "browser": (Stage(name="browser", command=script("browser"), env="new", cores=2, minutes=10),),
    "docs": (
        Stage(name="docs", command=script("docs"), env="new", minutes=10),
        Stage(name="docs-pages", command=script("site"), env="new", cores=2, minutes=10),
    ),
    "build": (Stage(name="build", command=script("build"), env="new", minutes=10),),
    "chaos": (Stage(name="chaos", command=script("chaos"), env="new", cores=2, minutes=120),),
    "fuzz": (Stage(name="fuzz", command=script("fuzz"), env="new", cores=2, minutes=60),),
    "bench": (Stage(name="bench", command=script("bench"), env="peers", cores=2, minutes=300),),
}


def set_up(env: str) -> Stage:
    command = (str(ROOT / "tools" / "env.sh"), env)
    return Stage(name=f"setup-{env}", command=command, minutes=30, is_test=False)


def environment(stage: Stage, marker: str) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    env[MARKER] = marker
    if not stage.env:
        # Setting up needs the user's own home: pip's cache and settings.
        return os.environ | {MARKER: marker}
    venv = VENVS / stage.env
    # Shims of version managers need the user's home; the environment's own interpreter is enough.
    path = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if not part.endswith("/shims")]
    env.pop("BASH_ENV", None)
    env.update(
        HOME=str(VENVS / "home"),
        GIT_CONFIG_GLOBAL=env.get("GIT_CONFIG_GLOBAL", str(pathlib.Path.home() / ".gitconfig")),
        HYPOTHESIS_STORAGE_DIRECTORY=str(VENVS / "cache" / "hypothesis"),
        LC_ALL="C.UTF-8",
        NO_COLOR="1",
        PATH=os.pathsep.join([str(venv / "bin"), *path]),
        ROOT=str(ROOT),
        STAGE_REPORTS=str(stage.reports),
        VENVS=str(VENVS),
        VIRTUAL_ENV=str(venv),
    )
    return env


def start(stage: Stage) -> Running:
    shutil.rmtree(stage.reports, ignore_errors=True)
    stage.reports.mkdir(parents=True)
    marker = f"{stage.name}:{uuid.uuid4()}"
    with stage.log.open("wb") as log:
        process = subprocess.Popen(
            stage.command,
            cwd=ROOT,
            env=environment(stage, marker),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    now = time.monotonic()
    return Running(stage=stage, process=process, marker=marker, started=now, heard=now)


def left_over(marker: str) -> dict[int, str]:
    """Processes that a stage started and that live on, also those in sessions of their own, by their environment."""
    found: dict[int, str] = {}
    wanted = f"{MARKER}={marker}".encode()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if command:
                    found[int(entry.name)] = command
    return found


def end(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def wait_until_gone(marker: str, seconds: float) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    while (left := left_over(marker)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def kill(running: Running) -> None:
    """Ask first, then insist; whatever the stage started goes with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(OSError):
            os.killpg(running.process.pid, number)
        end(list(left_over(running.marker)), number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(timeout=GRACE_SECONDS)
        if not wait_until_gone(running.marker, GRACE_SECONDS):
            return


def count_reports(folder: pathlib.Path) -> Outcome | None:
    """The sum of all JUnit files of a stage; None where there is none."""
    passed = failed = skipped = 0
    files = sorted(folder.glob("*.xml"))
    for file in files:
        for suite in ElementTree.parse(file).getroot().iter("testsuite"):
            total, bad, left_out = (
                sum(int(suite.get(key, 0)) for key in keys) for keys in (("tests",), ("failures", "errors"), ("skipped",))
            )
            passed, failed, skipped = passed + total - bad - left_out, failed + bad, skipped + left_out
    return Outcome(passed=max(passed, 0), failed=failed, skipped=skipped) if files else None


def judge(running: Running) -> Outcome:
    stage, code = running.stage, running.process.returncode
    seconds = time.monotonic() - running.started
    left = wait_until_gone(running.marker, GRACE_SECONDS)
    reason = ""
    if running.timed_out:
        reason = f"not finished after {stage.minutes} minutes"
    elif left:
        reason = "left running: " + "; ".join(f"{pid} {command[:120]}" for pid, command in left.items())
    elif code not in (0, SKIPPED):
        reason = f"exit code {code}"
    if left:
        kill(running)
    try:
        counts = count_reports(stage.reports)
    except ElementTree.ParseError as error:
        counts, reason = None, reason or f"report not readable: {error}"
    if code == SKIPPED and not reason:
        lines = stage.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return Outcome(skipped=1, seconds=seconds, reason=next((line for line in reversed(lines) if line), "skipped"))
    if counts is None:
        return Outcome(passed=int(not reason), failed=int(bool(reason)), seconds=seconds, reason=reason)
    if counts.failed and not reason:
        reason = "failures in its report"
    if reason and not counts.failed:
        counts = dataclasses.replace(counts, failed=1)
    return dataclasses.replace(counts, seconds=seconds, reason=reason)


class Screen:
    def __init__(self, *, follow: bool) -> None:
        self.follow = follow
        self.colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.colours else text

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show_progress(self, running: Running) -> None:
        """What is new in the log, where it is followed; else a sign of life once a minute."""
        if self.follow:
            with running.stage.log.open("rb") as log:
                log.seek(running.shown)
                fresh = log.read()
            running.shown += len(fresh)
            sys.stdout.buffer.write(fresh)
            sys.stdout.buffer.flush()
        elif time.monotonic() - running.heard >= 60:
            running.heard = time.monotonic()
            self.say(f"      ... {running.stage.name} ({running.heard - running.started:.0f} s)")

    def show_outcome(self, stage: Stage, outcome: Outcome) -> None:
        if outcome.failed:
            verdict = self.paint("FAIL", 31)
        elif outcome.skipped and not outcome.passed:
            verdict = self.paint("SKIP", 33)
        else:
            verdict = self.paint("ok  ", 32)
        counts = [f"{outcome.passed} passed"] if outcome.passed else []
        counts += [f"{outcome.failed} failed"] if outcome.failed else []
        counts += [f"{outcome.skipped} skipped"] if outcome.skipped else []
        told = f" ({outcome.reason})" if outcome.reason else ""
        shown = ", ".join(counts) if stage.is_test else ""
        self.say(f"{verdict}  {stage.name:<16} {outcome.seconds:6.1f} s  {shown}{told}".rstrip())
        if outcome.failed and not self.follow and stage.log.exists():
            lines = stage.log.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[-TAIL_LINES:]:
                self.say(f"      | {line}")
        if outcome.failed:
            self.say(f"      log: {stage.log.relative_to(ROOT)}")


class Run:
    def __init__(self, stages: list[Stage], screen: Screen, cores: int) -> None:
        envs = list(dict.fromkeys(stage.env for stage in stages if stage.env))
        self.waiting = [set_up(env) for env in envs] + stages
        self.screen = screen
        self.cores = cores
        self.running: list[Running] = []
        self.outcomes: dict[Stage, Outcome] = {}

    def setup_of(self, stage: Stage) -> Outcome | None:
        return next((done for other, done in self.outcomes.items() if other.name == f"setup-{stage.env}"), None)

    def finish(self, stage: Stage, outcome: Outcome) -> None:
        self.outcomes[stage] = outcome
        if stage.is_test or outcome.failed or outcome.seconds > 5:
            self.screen.show_outcome(stage, outcome)

    def start_what_fits(self) -> None:
        for stage in list(self.waiting):
            if stage.env:
                ready = self.setup_of(stage)
                if ready is None:
                    continue
                if ready.failed:
                    self.waiting.remove(stage)
                    self.finish(stage, Outcome(failed=1, reason=f"not run: setup-{stage.env} failed"))
                    continue
            busy = sum(other.stage.cores for other in self.running)
            if self.running and busy + stage.cores > self.cores:
                continue
            self.waiting.remove(stage)
            if self.screen.follow:
                self.screen.say(self.screen.paint(f"--- {stage.name}", 1))
            self.running.append(start(stage))

    def look_after(self) -> None:
        for running in list(self.running):
            code = running.process.poll()
            if code is None and time.monotonic() - running.started > running.stage.minutes * 60:
                running.timed_out = True
                kill(running)
            self.screen.show_progress(running)
            if code is not None or running.timed_out:
                self.running.remove(running)
                self.finish(running.stage, judge(running))

    def go(self) -> None:
        try:
            while self.waiting or self.running:
                self.start_what_fits()
                self.look_after()
                time.sleep(0.1)
        finally:
            for running in self.running:
                kill(running)


def interrupted(number: int, _frame: object) -> None:
    """Once: make and a terminal may both pass a signal on, and the second must not cut the cleaning up short."""
    for each in INTERRUPTS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run test stages.")
    parser.add_argument("stages", nargs="+", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    names = parser.parse_args().stages
    for number in INTERRUPTS:
        signal.signal(number, interrupted)
    LOGS.mkdir(parents=True, exist_ok=True)
    (VENVS / "home").mkdir(exist_ok=True)
    stages = [stage for name in names for stage in STAGES[name]]
    follow = bool(os.environ.get("V")) or (len(names) == 1 and sys.stdout.isatty())
    screen = Screen(follow=follow)
    started = time.monotonic()
    screen.say(f"{len(stages)} stages; logs in {LOGS.relative_to(ROOT)}")
    run = Run(stages, screen, 1 if follow else CORES)
    run.go()
    tested = [outcome for stage, outcome in run.outcomes.items() if stage.is_test]
    passed, failed, skipped = (sum(getattr(each, key) for each in tested) for key in ("passed", "failed", "skipped"))
    screen.say(f"{time.monotonic() - started:.0f} s in all")
    screen.say(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed + skipped else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a simulated fleet, audited, repaired, audited again, with the playbook that users run; told for people.

Exits with 1 if the fleet is not right in the end. Leaves nothing behind: everything is in one temporary folder.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH = 100
LOOK = ("fleetcare.esxi.esxi_ntp_info", "-e", "@fleet.yml")
MEND = ("fleetcare.esxi.esxi_remediate", "-e", "@fleet.yml")
WANTED = """\
esxi_remediate_esxi_hostname: ['*']
esxi_ntp_align_ntp_servers: [192.0.2.1, 192.0.2.2]
esxi_ntp_align_service_state: started
esxi_ntp_align_service_policy: 'on'
esxi_ntp_align_max_skew: 1            # seconds
esxi_ntp_align_step: guarded          # set a clock at once only if it is far off for certain
esxi_ntp_align_step_threshold: 300
esxi_ntp_align_wait_for_sync: 10
esxi_ntp_info_max_skew: 1
"""
# What no tool may mend by itself; tools/demo_fleet.yml says why.
FOR_PEOPLE = {"esx-038.example.com": "failed", "esx-040.example.com": "unreachable"}
SHOWN_DIFF = "esx-033.example.com"
CHANGES = {
    "configure_time": "time servers or time service set",
    "open_ntp_client": "firewall opened for NTP (below 8.0 U2 only)",
    "set_ntpd_policy": "start with the host",
    "start_ntpd": "time service started",
    "stop_ntpd": "time service stopped for a change that it must not miss",
    "step_clock": "clock set at once, more than 300 s off",
}


# ---- for the eye ----------------------------------------------------------------------------------------------------

COLOURS = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
RED, GREEN, YELLOW, BLUE, BOLD, DIM = "31", "32", "33", "36", "1", "2"
TINTS = {"error": RED, "warning": YELLOW, "note": DIM}


def paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if COLOURS and text and colour else text


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say()
    say(paint(f"── {text} " + "─" * max(0, WIDTH - len(text) - 4), BOLD))
    say()


def note(text: str, indent: str = "  ") -> None:
    for line in textwrap.wrap(text, WIDTH - len(indent)):
        say(indent + line)


def columns(cells: list[tuple[str, int]], last: list[tuple[str, str]], colour: str = "") -> None:
    """One row. The last column holds coloured words and is wrapped."""
    head = "  " + "".join(f"{text:<{width}}" for text, width in cells)
    room, lines, used = WIDTH - len(head), [[]], 0  # type: ignore[var-annotated]
    for text, tint in last:
        if used and used + len(text) > room:
            lines.append([])
            used = 0
        lines[-1].append(paint(text, tint))
        used += len(text) + 1
    say(paint(head, colour) + " ".join(lines[0]))
    for line in lines[1:]:
        say(" " * len(head) + " ".join(line))


# ---- the fleet ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def simulator(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "tests.simulator", "--listen", "127.0.0.1:0", "--scenario", "tools/demo_fleet.yml"]
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
                raise SystemExit("The simulator did not start:\n" + (folder / "simulator.log").read_text())
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
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
        return json.load(reply)


@dataclass
class Run:
    """One run of a playbook: what the module said, and what the server's journal says."""

    hosts: dict[str, dict[str, Any]]
    diff: dict[str, dict[str, Any]]
    hints: dict[str, str]
    calls: dict[str, Any]
    seconds: float
    changed: bool

    @property
    def changes(self) -> dict[str, list[Any]]:
        return {name: host["changes"] for name, host in self.hosts.items() if host["changes"]}


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
    say("  " + paint("$ " + " ".join(["ansible-playbook", *command]), BLUE))
    say()
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
    kept = json.loads(results.read_text())
    return Run(kept["hosts"], kept.get("diff") or {}, kept.get("hints") or {}, ask(server, "/summary"), seconds, kept["changed"])


# ---- what is told ---------------------------------------------------------------------------------------------------


def short(name: str) -> str:
    return name.partition(".")[0]


def groups(run: Run) -> list[list[str]]:
    """Hosts that look alike, so that forty hosts are a dozen lines."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, host in run.hosts.items():
        key = (host.get("version"), host["status"], servers(host), service(host), tuple(sorted(f["code"] for f in host["findings"])))
        alike.setdefault(key, []).append(name)
    return list(alike.values())


def servers(host: dict[str, Any]) -> str:
    names = host.get("ntp_servers")
    if names is None:
        return "?"
    return "none" if not names else names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"


def service(host: dict[str, Any]) -> str:
    if host.get("protocol") == "ptp":
        return "ptp"
    running, policy = host.get("service_running"), host.get("service_policy")
    return "?" if running is None else f"{'runs' if running else 'stopped'}, {policy}"


def clock(hosts: list[dict[str, Any]]) -> str:
    measured = [host["skew"] for host in hosts if host.get("skew")]
    if not measured:
        return "?"
    worst = max(measured, key=lambda skew: abs(skew["offset"]))
    return f"{worst['offset']:+.3f} ± {max(worst['bound'], 0.001):.3f} s"


def cause_first(finding: dict[str, Any]) -> tuple[bool, bool, str]:
    """A clock that is off is what the other findings explain."""
    code = finding["code"]
    return code in ("clock_skewed", "ntp_unsynced", "ntp_never_synced"), finding["level"] != "error", code


def found(host: dict[str, Any]) -> list[tuple[str, str]]:
    if host["status"] == "unreachable":
        return [("not reachable", RED)]
    words = [(finding["code"], TINTS[finding["level"]]) for finding in sorted(host["findings"], key=cause_first)]
    return words or [("right", GREEN)]


def table(run: Run, rows: list[list[str]], *, caption: bool = False) -> None:
    widths = (13, 7, 21, 14, 14)
    head = ("hosts", "ESXi", "clock is off by", "time servers", "service")
    columns(list(zip(head, widths, strict=True)), [("found", BOLD)], BOLD)
    for names in rows:
        hosts = [run.hosts[name] for name in names]
        first = hosts[0]
        label = short(names[0]) + (f" +{len(names) - 1}" if len(names) > 1 else "")
        cells = (label, first.get("version", "?"), clock(hosts), servers(first), service(first))
        columns(list(zip(cells, widths, strict=True)), found(first))
    if caption:
        say("  " + paint("+15: fifteen more like it, the worst clock of them is shown; ±: the error of the measurement", DIM))
    say()


def reasons(run: Run) -> None:
    """Each finding once, with the evidence of one host."""
    seen: dict[str, tuple[str, dict[str, Any], int]] = {}
    for name, host in run.hosts.items():
        for finding in host["findings"]:
            where, first, count = seen.get(finding["code"], (name, finding, 0))
            seen[finding["code"]] = (where, first, count + 1)
    for code, (where, finding, count) in sorted(seen.items(), key=lambda item: cause_first(item[1][1])):
        tint = TINTS[finding["level"]]
        lines = textwrap.wrap(f"{short(where)}: {finding['text']}", WIDTH - 27)
        say(f"  {count:>3}  " + paint(f"{code:<20}", tint) + lines[0])
        for line in lines[1:]:
            say(" " * 27 + line)
        for line in textwrap.wrap("→ " + run.hints[code], WIDTH - 27):
            say(" " * 27 + paint(line, DIM))
    say()


def show_diff(run: Run, name: str) -> None:
    before, after = run.diff["before"][name], run.diff["after"][name]
    say(f"  The plan as a diff, here of {short(name)}:")
    say()
    for key in before:
        if before[key] != after[key]:
            say(paint(f"    - {key}: {plainly(before[key])}", RED))
            say(paint(f"    + {key}: {plainly(after[key])}", GREEN))
    say()


def plainly(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {plainly(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(plainly(item) for item in value) or "none"
    return {True: "yes", False: "no", None: "none"}.get(value, str(value)) if isinstance(value, (bool, type(None))) else str(value)


def figures(run: Run) -> None:
    calls = run.calls
    kib = (calls["bytes_in"] + calls["bytes_out"]) / 1024
    clocks = calls["by_method"].get("QueryDateTime", 0)
    login = "logged in once" if calls["logins"] == 1 else f"{calls['logins']} logins" if calls["logins"] else "session reused"
    written = f"{calls['writes']} writes" if calls["writes"] else "nothing written"
    text = f"{run.seconds:.1f} s · {login} · {calls['calls']} calls, {clocks} to read a clock · {written} · {kib:.0f} KiB"
    say("  " + paint(text, DIM))


def not_mended(run: Run) -> None:
    for name, host in run.hosts.items():
        if host["failure"]:
            causes = [f for f in host["findings"] if f["level"] == "error" and f["status"] == "open"]
            cause = min(causes, key=cause_first, default=None)
            why, step = (cause["text"], run.hints[cause["code"]]) if cause else (host["failure"]["cause"], host["failure"]["hint"])
            code = f"{cause['code']}: " if cause else ""
            say("  " + paint(f"{short(name)}  {host['status']}", RED))
            note(f"why    {code}{why}", "           ")
            note(f"next   {step}", "           ")
    say()


# ---- the story ------------------------------------------------------------------------------------------------------


def story(folder: pathlib.Path, server: dict[str, Any]) -> list[str]:
    started = time.monotonic()
    (folder / "fleet.yml").write_text(WANTED)
    fleet = ask(server, "/state")["hosts"]
    releases = sorted({host["profile"] for host in fleet.values()})
    title("fleetcare.esxi: set a fleet's clocks right")
    note(
        f"A vCenter with {len(fleet)} ESXi hosts ({', '.join(releases)}) runs on this machine, simulated. Their clocks have drifted "
        "in ways that real fleets know. This is how they shall be (fleet.yml):"
    )
    say()
    for line in WANTED.splitlines():
        say("    " + line)

    # Two minutes pass in the fleet: clocks drift on, and ntpd gives up where it will.
    ask(server, "/advance", "POST", {"seconds": 120})
    title("1  Look: what is wrong, and why")
    look = play(folder, server, LOOK)
    rows = groups(look)
    table(look, rows, caption=True)
    reasons(look)
    figures(look)

    title("2  Plan: what would be done")
    plan = play(folder, server, (*MEND, "--check", "--diff"))
    done(plan)
    show_diff(plan, SHOWN_DIFF)
    figures(plan)

    title("3  Repair")
    note("It writes, reads everything back, and waits until hosts say that they are synchronised, ten seconds at the most.")
    say()
    repair = play(folder, server, MEND)
    if repair.changes == plan.changes:
        say(f"  {len(repair.changes)} hosts changed, as planned, and read back. What is left for people, and their next step:")
    else:
        done(repair)
    say()
    not_mended(repair)
    figures(repair)

    title("4  Look again, and repair again: nothing left to do")
    proof = play(folder, server, LOOK)
    table(proof, rows)
    again = play(folder, server, MEND, last=True)
    counts = Counter(host["status"] for host in again.hosts.values())
    say(
        f"  {counts['compliant']} hosts are as they shall be, {counts.total() - counts['compliant']} wait for people, {len(again.changes)} changed."
    )
    say()
    figures(again)

    problems = judge(server, [look, plan, proof, again], plan, repair)
    truth = ask(server, "/state")["hosts"]
    close = sum(abs(host["clock_offset"]) < 0.1 for name, host in truth.items() if name not in FOR_PEOPLE)
    title("The simulator, asked behind the collection's back")
    say(
        f"  {close} of {len(truth) - len(FOR_PEOPLE)} clocks that can be mended are within 0.1 s; sessions left open: {len(sessions(server))}."
    )
    say(f"  The whole demo took {time.monotonic() - started:.0f} s.")
    return problems


def done(run: Run) -> None:
    counts = Counter(change["change"] for changes in run.changes.values() for change in changes)
    say(f"  {len(run.changes)} of {len(run.hosts)} hosts:")
    say()
    for change, count in counts.most_common():
        say(f"  {count:>3}  {CHANGES.get(change, change)}")
    say()


def sessions(server: dict[str, Any]) -> list[Any]:
    return list(ask(server, "/summary").get("sessions", []))


def judge(server: dict[str, Any], reading: list[Run], plan: Run, repair: Run) -> list[str]:
    """What has to hold for the demo to have worked; sentences for what does not."""
    again = reading[-1]
    problems = []
    if any(run.calls["writes"] or (run.changed and run is not plan) for run in reading):
        problems.append("a run that had nothing to write wrote something")
    if sum(run.calls["logins"] for run in (*reading, repair)) != 1:
        problems.append("there was more than one login")
    if not repair.changes or plan.changes != repair.changes:
        problems.append("what was done is not what had been planned")
    bad = {name: host["status"] for name, host in again.hosts.items() if host["status"] != "compliant"}
    if bad != FOR_PEOPLE:
        problems.append(f"these are not as they should be in the end: {bad}")
    for name, host in ask(server, "/state")["hosts"].items():
        right = abs(host["clock_offset"]) < 1 and host["synced"] and host["time"]["servers"] == ["192.0.2.1", "192.0.2.2"]
        if name not in FOR_PEOPLE and not right:
            problems.append(f"{name} is not on time: off by {host['clock_offset']} s")
    if sessions(server):
        problems.append("a session was left open on the server")
    return problems


def what_next() -> None:
    title("Your own vCenter or host: one command, which only reads")
    for line in (
        "VMWARE_HOST=vcenter.example.com VMWARE_USER=you@vsphere.local VMWARE_PASSWORD=... \\",
        "  tools/with_env.sh demo ansible-playbook fleetcare.esxi.esxi_ntp_info \\",
        "  -e esxi_ntp_info_esxi_hostname='*' -e esxi_ntp_info_max_skew=1",
    ):
        say("  " + paint(line, BLUE))
    say()
    note(
        "README.md says how to install and use it, docs/time.md why clocks go wrong, docs/findings.md what each code means. make test verifies everything."
    )
    say()


def stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fleetcare-demo-"))
    try:
        with simulator(folder) as server:
            problems = story(folder, server)
    except KeyboardInterrupt:
        say("\n  stopped")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems:
        say("  " + paint(f"NOT RIGHT: {problem}", RED))
    if not problems:
        what_next()
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

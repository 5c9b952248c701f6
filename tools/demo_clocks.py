# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first act: a fleet's clocks, audited, repaired, audited again."""

from __future__ import annotations

import pathlib
from collections import Counter
from typing import Any

from tools.demo_stage import Run, ask, sessions
from tools.demo_telling import (
    BOLD,
    DIM,
    GREEN,
    RED,
    TINTS,
    cause_first,
    columns,
    figures,
    note,
    paint,
    play,
    reasons,
    say,
    short,
    show_diff,
    title,
)

SCENARIO = "demo_fleet.yml"
WITHOUT = "The simulator did not start:"
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


# ---- what is told ---------------------------------------------------------------------------------------------------


def groups(run: Run) -> list[list[str]]:
    """Hosts that look alike, so that forty hosts are a dozen lines."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, host in run.targets.items():
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
        hosts = [run.targets[name] for name in names]
        first = hosts[0]
        label = short(names[0]) + (f" +{len(names) - 1}" if len(names) > 1 else "")
        cells = (label, first.get("version", "?"), clock(hosts), servers(first), service(first))
        columns(list(zip(cells, widths, strict=True)), found(first))
    if caption:
        say("  " + paint("+15: fifteen more like it, the worst clock of them is shown; ±: the error of the measurement", DIM))
    say()


def not_mended(run: Run) -> None:
    for name, host in run.targets.items():
        if host["failure"]:
            causes = [f for f in host["findings"] if f["level"] == "error" and f["status"] == "open"]
            cause = min(causes, key=cause_first, default=None)
            why, step = (
                (cause["text"], run.result["hints"][cause["code"]]) if cause else (host["failure"]["cause"], host["failure"]["hint"])
            )
            code = f"{cause['code']}: " if cause else ""
            say("  " + paint(f"{short(name)}  {host['status']}", RED))
            note(f"why    {code}{why}", "           ")
            note(f"next   {step}", "           ")
    say()


# ---- the story ------------------------------------------------------------------------------------------------------


def prepare(server: dict[str, Any]) -> None:
    """Two minutes pass in the fleet: clocks drift on, and ntpd gives up where it will."""
    ask(server, "/advance", "POST", {"seconds": 120})


def story(folder: pathlib.Path, server: dict[str, Any]) -> list[str]:
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
    counts = Counter(host["status"] for host in again.targets.values())
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
    return problems


def done(run: Run) -> None:
    counts = Counter(change["change"] for changes in run.changes.values() for change in changes)
    say(f"  {len(run.changes)} of {len(run.targets)} hosts:")
    say()
    for change, count in counts.most_common():
        say(f"  {count:>3}  {CHANGES.get(change, change)}")
    say()


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
    bad = {name: host["status"] for name, host in again.targets.items() if host["status"] != "compliant"}
    if bad != FOR_PEOPLE:
        problems.append(f"these are not as they should be in the end: {bad}")
    for name, host in ask(server, "/state")["hosts"].items():
        right = abs(host["clock_offset"]) < 1 and host["synced"] and host["time"]["servers"] == ["192.0.2.1", "192.0.2.2"]
        if name not in FOR_PEOPLE and not right:
            problems.append(f"{name} is not on time: off by {host['clock_offset']} s")
    if sessions(server):
        problems.append("a session was left open on the server")
    return problems

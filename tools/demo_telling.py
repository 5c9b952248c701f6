# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the demo talks: lines of a hundred columns, in colour on a terminal."""

from __future__ import annotations

import os
import pathlib
import sys
import textwrap
from typing import Any

from tools import demo_stage
from tools.demo_stage import Run

WIDTH = 100
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


def play(folder: pathlib.Path, server: dict[str, Any], command: tuple[str, ...], *, last: bool = False) -> Run:
    say("  " + paint("$ " + " ".join(["ansible-playbook", *command]), BLUE))
    say()
    return demo_stage.play(folder, server, command, last=last)


def short(name: str) -> str:
    return name.partition(".")[0]


def cause_first(finding: dict[str, Any]) -> tuple[bool, bool, str]:
    """A clock that is off is what the other findings explain."""
    code = finding["code"]
    return code in ("clock_skewed", "ntp_unsynced", "ntp_never_synced"), finding["level"] != "error", code


def reasons(run: Run) -> None:
    """Each finding once, with the evidence of one host."""
    seen: dict[str, tuple[str, dict[str, Any], int]] = {}
    for name, host in run.targets.items():
        for finding in host["findings"]:
            where, first, count = seen.get(finding["code"], (name, finding, 0))
            seen[finding["code"]] = (where, first, count + 1)
    for code, (where, finding, count) in sorted(seen.items(), key=lambda item: cause_first(item[1][1])):
        tint = TINTS[finding["level"]]
        lines = textwrap.wrap(f"{short(where)}: {finding['text']}", WIDTH - 29)
        say(f"  {count:>3}  " + paint(f"{code:<22}", tint) + lines[0])
        for line in lines[1:]:
            say(" " * 29 + line)
        for line in textwrap.wrap("→ " + run.result["hints"][code], WIDTH - 29):
            say(" " * 29 + paint(line, DIM))
    say()


def show_diff(run: Run, name: str) -> None:
    before, after = (run.result["diff"][when][name] for when in ("before", "after"))
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
    reads = f", {clocks} to read a clock" if clocks else ""
    text = f"{run.seconds:.1f} s · {login} · {calls['calls']} calls{reads} · {written} · {kib:.0f} KiB"
    say("  " + paint(text, DIM))

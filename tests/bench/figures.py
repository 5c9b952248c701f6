# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the measured rows: formulas, what was not measured, goals, budgets. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Row = dict[str, Any]
PARALLEL = 16
"""The default of the option C(parallel)."""
REFERENCE_FLOOR = 0.85
"""Seconds of the play with one ping on the machine that the budgets were written for."""


def median_of(values: Iterable[float]) -> float:
    return statistics.median(values)


def same_job(rows: Iterable[Row], feature: str, job: str, who: str) -> list[Row]:
    return [row for row in rows if (row["feature"], row["job"], row["who"]) == (feature, job, who)]


def cell(rows: Iterable[Row], hosts: int, delay: int, who: str, feature: str, job: str) -> Row | None:
    return next((row for row in same_job(rows, feature, job, who) if (row["hosts"], row["delay_ms"]) == (hosts, delay)), None)


def through(points: Sequence[tuple[int, float]], at: int) -> float:
    """The polynomial through at most three points, the outermost and one between: calls grow with the hosts, or with their square."""
    some = list(points) if len(points) <= 3 else [points[0], points[len(points) // 2], points[-1]]
    total = Fraction(0)
    for number, (x, y) in enumerate(some):
        term = Fraction(y)
        for other, (z, _y) in enumerate(some):
            if other != number:
                term *= Fraction(at - z, x - z)
        total += term
    return float(total)


def computed(same: Sequence[Row], hosts: int, delay: int, floor: float) -> Row | None:
    """What a job of somebody else would cost where it was not measured, always in its favour: calls by the polynomial through what was
    measured, time in proportion to the hosts even where it grows with their square, latency as one wait a request and two a connection.

    ``floor``: seconds that do not grow with hosts. None where too little was measured.
    """
    known = sorted((row for row in same if not row["computed"] and row["delay_ms"] == 0), key=lambda row: row["hosts"])
    base = next(({**row, "wall_s": _undisturbed(row)} for row in same if (row["hosts"], row["delay_ms"]) == (hosts, 0)), None)
    if base is None:
        if len(known) < 2 or known[-1]["hosts"] >= hosts:
            return None
        last = {**known[-1], "wall_s": _undisturbed(known[-1])}
        share = hosts / last["hosts"]
        base = {
            **last,
            **{name: max(0, round(through([(row["hosts"], row[name]) for row in known], hosts))) for name in COUNTED},
            "hosts": hosts,
            "wall_s": round(floor + (last["wall_s"] - floor) * share, 2) if last["wall_s"] > floor else last["wall_s"],
            "cpu_s": round(last["cpu_s"] + max(0.0, last["cpu_s"] - floor) * (share - 1), 2),
            "memory_mb": None,
        }
    wait = delay / 1000 * (base["requests"] + 2 * base["connections"])
    return {**base, "delay_ms": delay, "wall_s": round(base["wall_s"] + wait, 2), "runs": 0, "computed": True}


def _undisturbed(row: Row) -> float:
    """Seconds without what other work added: client and server take turns, so on a quiet machine it is their CPU."""
    return min(row["wall_s"], row["cpu_s"] + row["server_cpu_s"]) if row["noisy"] else row["wall_s"]


COUNTED = ("calls", "writes", "requests", "logins", "connections", "kb_up", "kb_down")


def coefficients(points: Sequence[tuple[int, float]]) -> tuple[Fraction, Fraction, Fraction] | None:
    """Fixed, a host, a host's square: of the polynomial through every point. None where there is none, or where any would do: a line goes
    through any two points, and a parabola through any three, unless its coefficients are halves."""
    if len(points) < 3:
        return None
    used = [points[0], points[len(points) // 2], points[-1]]
    zero, one, two = (Fraction(through(used, x)).limit_denominator(1000) for x in (0, 1, 2))
    square = (two - 2 * one + zero) / 2
    found = (zero, one - zero - square, square)
    if any(zero + found[1] * x + square * x * x != y for x, y in points):
        return None
    if square and len(points) == 3 and any((2 * each).denominator != 1 for each in found):
        return None
    return found


def formula(rows: Sequence[Row], name: str = "calls") -> str:
    """``53 N + 12``, or ``1.5 N² + 62 N + 12``; empty where the figures follow none, or are too few to tell."""
    found = coefficients(sorted({row["hosts"]: row[name] for row in rows if not row["computed"]}.items()))
    if found is None:
        return ""
    parts = [(value, unit) for value, unit in zip(reversed(found), ("N²", "N", ""), strict=True) if value]
    text = "".join(f" {'-' if value < 0 else '+'} {_term(abs(value), unit)}" for value, unit in parts)
    return text.removeprefix(" + ").strip() or "0"


def _term(value: Fraction, unit: str) -> str:
    return unit if value == 1 and unit else f"{float(value):g} {unit}".strip()


# ---- ours: what a run costs, exactly --------------------------------------------------------------------------------


PAGE = 1000
CONTAINERS = 4
"""What holds the hosts of the fleet that is measured, from the root folder to the cluster: it comes with the names of the hosts."""


@dataclass(frozen=True, kw_only=True)
class Calls:
    """SOAP calls of one of our runs, which begins with the hosts' names. ``a_host``: calls for what no property tells; ``again``: how
    many more there may be, as a clock whose reading took long is read again. ``of_host``: a retrieval each, as objects a host; a page of
    a thousand objects after the first is a call more. ``of_changed``: the same of the hosts that change. ``a_wave``: what each wave after
    the first costs, as its hosts are read anew before and after."""

    fixed: int
    a_host: int = 0
    a_change: int = 1
    again: int = 0
    a_wave: int = 0
    of_host: tuple[int, ...] = ()
    of_changed: tuple[int, ...] = ()

    def __call__(self, hosts: int, changes: int = 0) -> int:
        read = [hosts + CONTAINERS, *(each * hosts for each in self.of_host), *(each * changes for each in self.of_changed)]
        further = sum(max(0, math.ceil(objects / PAGE) - 1) for objects in read)
        return self.fixed + self.a_host * hosts + self.a_change * changes + further

    def said(self, *, changes: bool) -> str:
        """In a table: hosts N, changes K."""
        return " + ".join(
            [
                str(self.fixed),
                *(
                    [f"{self.a_host} N".removeprefix("1 ") + (f" to {self.a_host + self.again} N" if self.again else "")]
                    if self.a_host
                    else []
                ),
                *([f"{self.a_change} K".removeprefix("1 ")] if changes else []),
            ]
        )

    @property
    def pages(self) -> str:
        """Further pages for a further 1,000 hosts, all of which change where any does."""
        return str(1 + sum(self.of_host) + sum(self.of_changed))


# By feature and job; tests/cost holds each to the call, at sizes on both sides of a page's end.
CALLS = {
    ("ntp", "check"): Calls(fixed=6, of_host=(1, 3)),
    ("ntp", "change"): Calls(fixed=7, a_wave=2, of_host=(1, 3), of_changed=(3,)),
    ("ntp", "check + clocks"): Calls(fixed=7, a_host=1, again=2, of_host=(1, 3)),
    ("firewall", "check"): Calls(fixed=6, of_host=(1, 1)),
    ("firewall", "change"): Calls(fixed=10, a_wave=5, of_host=(1, 1), of_changed=(1, 2, 1)),
    ("firewall", "info"): Calls(fixed=9, of_host=(1, 1, 1, 1)),
    ("license", "check"): Calls(fixed=8, of_host=(1,)),
    ("license", "change"): Calls(fixed=11, a_wave=6, of_host=(1,)),
    ("license", "info"): Calls(fixed=10, of_host=(1, 1, 1)),
    ("acceptance", "check"): Calls(fixed=5, a_host=1, of_host=(1,)),
    ("acceptance", "change"): Calls(fixed=5, a_host=1, a_change=2, of_host=(1,)),
    ("hardware", "info"): Calls(fixed=5, of_host=(1,)),
}


THOUSAND = 0.45
"""Seconds of work for a thousand hosts, on the machine of ``REFERENCE_FLOOR``: for the goals' own job, a ruleset."""
HEAVY = {"firewall info": 7.0, "firewall change": 5.0, "hardware info": 4.0, "crypto change": 5.0, "audit all": 8.0}
HEAVY |= {"license check": 1.0, "license info": 1.4, "license change": 2.0}
HEAVY |= dict.fromkeys(("ntp check", "ntp change", "ntp check + clocks"), 0.9)
HEAVY |= dict.fromkeys(("acceptance check", "acceptance change"), 1.3)
HEAVY |= dict.fromkeys(("crypto info", "crypto check"), 3.0)
"""The same where more is read of a host, up to whole rulesets and lists of devices, which are kilobytes."""
START, MORE_TO_START = 0.5, {"crypto": 1.2, "audit": 1.2}
"""Seconds until the module works, more where tasks of the server are waited for and where there are many features."""


def budget(row: Row, ping: float, changes: int, reads: int) -> float:
    """Seconds that a playbook may take: the floor of the same run; half a second until the module works, so much for a thousand hosts and
    0.7 ms a change or a read that goes to a single host, all in proportion to the floor; twelve round trips, and one for every sixteen of those."""
    trip = row["delay_ms"] / 1000
    pace = max(1.0, ping / REFERENCE_FLOOR)
    thousand = HEAVY.get(f"{row['feature']} {row['job']}", THOUSAND)
    work = MORE_TO_START.get(row["feature"], START) + thousand * row["hosts"] / 1000 + 0.0007 * (changes + reads)
    return ping + pace * work + trip * (12 + sum(math.ceil(each / PARALLEL) for each in (changes, reads)))


@dataclass(frozen=True)
class Goal:
    """A ratio of theirs to ours, of the firewall check."""

    what: str
    hosts: int
    delay: int
    figure: str
    least: float


GOALS = (
    *(Goal(f"fewer calls at {hosts:,} hosts", hosts, 0, "calls", 100) for hosts in (100, 300, 1000)),
    Goal("faster at 100 hosts over 20 ms", 100, 20, "wall_s", 50),
    Goal("faster at 1,000 hosts without delay", 1000, 0, "wall_s", 25),
    Goal("faster at 1,000 hosts over 20 ms", 1000, 20, "wall_s", 400),
    Goal("faster at 10 hosts without delay", 10, 0, "wall_s", 0),
)


def judged(report: Mapping[str, Any], ours: str, theirs: str) -> list[dict[str, Any]]:
    """Each goal with both figures; ``met`` is None where nothing is claimed or a figure is missing."""
    found: list[dict[str, Any]] = []
    for goal in GOALS:
        mine, other = (cell(report["rows"], goal.hosts, goal.delay, who, "firewall", "check") for who in (ours, theirs))
        if mine is None or other is None:
            found.append({"goal": goal, "ratio": None, "met": None, "mine": None, "other": None})
            continue
        ratio = other[goal.figure] / mine[goal.figure]
        found.append({"goal": goal, "ratio": ratio, "met": ratio >= goal.least if goal.least else None, "mine": mine, "other": other})
    return found

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of measured rows: formulas, what was not measured, goals. No server and no clock."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import page
from tests.bench.__main__ import dumped
from tests.bench.figures import GOALS, budget, coefficients, computed, formula, judged
from tests.bench.jobs import ALSO_THEIRS, LEAST, LOOP, OURS, THEIRS
from tests.bench.measure import ROOT


def row(hosts: int, delay: int = 0, who: str = THEIRS, calls: int = 0, wall: float = 1.0, **more: Any) -> dict[str, Any]:
    counted = {"writes": 0, "requests": calls, "logins": 1, "connections": 2, "kb_up": 1, "kb_down": 1}
    spent = {"cpu_s": wall / 2, "server_cpu_s": 0.1, "memory_mb": 80, "wall_s": wall, "runs": 1, "noisy": False, "computed": False}
    name = {"hosts": hosts, "delay_ms": delay, "feature": "firewall", "job": "check", "who": who, "module": "m"}
    return {**name, **counted, **spent, "calls": calls, **more}


@given(
    st.integers(0, 99), st.integers(0, 60), st.sampled_from([0, 0.5, 1, 1.5, 2]), st.sampled_from([(10, 100, 300), (10, 100, 300, 1000)])
)
def test_a_formula_is_found_again(fixed: int, line: int, square: float, sizes: tuple[int, ...]) -> None:
    points = [(hosts, fixed + line * hosts + square * hosts * hosts) for hosts in sizes]
    assert coefficients(points) == (Fraction(fixed), Fraction(line), Fraction(square))
    more = [*points, (2000, fixed + line * 2000 + square * 2000**2 + 1)]
    assert coefficients(more) is None, "one figure beside it, and there is no formula"
    assert coefficients(points[:2]) is None, "a line goes through any two"


def test_a_parabola_through_any_three_points_is_no_formula() -> None:
    assert coefficients([(10, 15), (20, 26), (30, 34)]) is None
    assert formula([row(10, calls=15), row(20, calls=26), row(30, calls=34)]) == ""


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (lambda hosts: 53 * hosts + 12, "53 N + 12"),
        (lambda hosts: 9, "9"),
        (lambda hosts: hosts, "N"),
        (lambda hosts: 1.5 * hosts * hosts + hosts - 4, "1.5 N² + N - 4"),
    ],
)
def test_a_formula_is_said(calls: Callable[[int], float], said: str) -> None:
    assert formula([row(hosts, calls=int(calls(hosts))) for hosts in (10, 100, 300, 1000)]) == said


def test_what_is_computed_is_in_the_favour_of_the_other_side() -> None:
    """Time grows in proportion even where calls grow with the square; latency is waited for once a request and twice a connection."""
    rows = [row(hosts, calls=hosts * hosts + 12, wall=1 + hosts / 10) for hosts in (10, 100, 300)]
    found = computed(rows, 1000, 0, 1.0)
    assert found is not None and found["computed"]
    assert found["calls"] == 1_000_012 and found["wall_s"] == pytest.approx(101)
    far = computed([*rows, found], 1000, 20, 1.0)
    assert far is not None and far["wall_s"] == pytest.approx(101 + 0.02 * (1_000_012 + 2 * 2))
    assert computed(rows[:1], 1000, 0, 1.0) is None, "one size tells no formula"
    assert computed(rows, 100, 20, 1.0) is not None and computed(rows, 200, 0, 1.0) is None, "between sizes nothing is guessed"


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ping = {"wall_s": 0.85, "cpu_s": 0.8, "memory_mb": 55, "noisy": False}
    return {"date": "2026-11-22", "mode": "full", "machine": "m", "versions": {"a": "1"}, "ping": ping, "rows": rows, "left_out": []}


def sizes(ours: float, theirs: float) -> list[dict[str, Any]]:
    places = [(hosts, delay) for hosts in (10, 100, 300, 1000) for delay in (0, 20)]
    mine = [row(hosts, delay, OURS, 6, ours) for hosts, delay in places]
    return mine + [row(hosts, delay, THEIRS, 53 * hosts + 12, theirs) for hosts, delay in places]


def test_goals_are_met_or_not() -> None:
    fast, slow = (judged(report(sizes(1.0, theirs)), OURS, THEIRS) for theirs in (401.0, 40.0))
    assert all(each["met"] for each in fast if each["goal"].least)
    assert [each["met"] for each in slow if each["goal"].figure == "wall_s"] == [False, True, False, None]
    assert [each["ratio"] for each in judged(report([]), OURS, THEIRS)] == [None] * len(GOALS)
    shown = page.in_terminal(report(sizes(1.0, 40.0)))
    assert shown.count("NOT MET") == 2 and "no claim is made" in shown


def test_marks_tell_what_was_not_measured_in_quiet() -> None:
    rows = [
        row(10, who=OURS, calls=6),
        row(10, calls=60, wall=3.0, noisy=True),
        row(1000, calls=600, wall=300.0, computed=True, memory_mb=None),
    ]
    text = page.in_full(report(rows))
    assert "~3.00" in text and "≈300" in text and "10×" in text
    assert "1 are marked ~" in text and "1 ≈" in text


@pytest.mark.parametrize(
    ("hosts", "delay", "changes", "most"),
    [(1000, 0, 0, 1.8), (1000, 20, 0, 2.05), (1000, 0, 1000, 2.5), (1000, 20, 1000, 4.0), (100, 0, 0, 1.4), (100, 20, 100, 2.0)],
)
def test_the_budget_is_that_of_the_goals(hosts: int, delay: int, changes: int, most: float) -> None:
    """What was set before the first line was written, on the machine where a ping took 0.85 s."""
    assert most * 0.9 < budget(row(hosts, delay, OURS), 0.85, changes, 0) <= most + 0.01


def test_a_budget_travels() -> None:
    """On a machine that is half as fast all of it is twice as long, but for the way to the server."""
    one = row(1000, 20, OURS)
    here, there = budget(one, 0.85, 1000, 0), budget(one, 1.7, 1000, 0)
    way = (12 + 63) * 0.02
    assert there - way == pytest.approx(2 * (here - way))


def test_names_are_those_of_the_jobs() -> None:
    assert (page.OURS, page.THEIRS, page.ALSO_THEIRS, page.LOOP, page.LEAST) == (OURS, THEIRS, ALSO_THEIRS, LOOP, LEAST)


def test_every_part_of_the_page_is_made() -> None:
    parts = page.regions(report(sizes(1.0, 401.0)))
    assert all(text.strip() for text in parts.values())
    assert "53 N + 12 (community.vmware)" in parts["performance calls"]


def test_json_has_a_line_a_row() -> None:
    made = report(sizes(1.0, 401.0))
    text = dumped(made)
    assert json.loads(text) == made
    assert len([line for line in text.splitlines() if '"wall_s"' in line and '"hosts"' in line]) == len(made["rows"])
    assert json.loads(dumped(report([]))) == report([])


def test_every_part_has_its_place_on_the_page() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^<!-- generated: (performance [a-z ]+) -->$", text, re.M)) == set(page.regions(report([])))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far another clock is ahead, and how far that may be wrong, with both clocks in our hands."""

from __future__ import annotations

import datetime
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import clock
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref

UTC = datetime.timezone.utc
START = 1_700_000_000.0


class Clocks:
    """Ours, theirs, and the ways between: seconds there and back of each call."""

    def __init__(self, ahead: float, ways: list[tuple[float, float]]) -> None:
        self.now, self.ahead, self.ways = START, ahead, list(ways)
        self.asked: list[tuple[Ref, str]] = []

    def time(self) -> float:
        return self.now

    monotonic = time

    def read(self, ref: Ref, operation: str) -> datetime.datetime:
        self.asked.append((ref, operation))
        there, back = self.ways.pop(0)
        self.now += there
        seen = datetime.datetime.fromtimestamp(self.now + self.ahead, UTC)
        self.now += back
        return seen


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    def asked(clocks: Clocks, **options: Any) -> tuple[float, float]:
        monkeypatch.setattr(clock, "time", clocks)
        return clock.offset(cast(Any, clocks), clock.SERVICE, "CurrentTime", **options)

    return asked


@pytest.mark.parametrize("ahead", [0.0, 3.5, -3.5, 86400.0 * 400])
def test_equal_ways_give_the_exact_offset(ask: Any, ahead: float) -> None:
    offset, bound = ask(Clocks(ahead, [(0.25, 0.25)]))
    assert (offset, bound) == (pytest.approx(ahead, abs=1e-5), pytest.approx(0.25))


@pytest.mark.parametrize("way", [(0.0, 1.0), (1.0, 0.0), (0.1, 0.3), (0.7, 0.2)])
def test_truth_is_within_the_bound_however_unlike_the_ways(ask: Any, way: tuple[float, float]) -> None:
    offset, bound = ask(Clocks(10.0, [way]))
    assert bound == pytest.approx(sum(way) / 2) and abs(offset - 10.0) <= bound + 1e-5


def test_best_of_several_readings_counts(ask: Any) -> None:
    clocks = Clocks(5.0, [(0.0, 2.0), (0.1, 0.1), (1.0, 0.0)])
    assert ask(clocks, samples=3) == (pytest.approx(5.0, abs=1e-5), pytest.approx(0.1)) and len(clocks.asked) == 3


def test_reading_that_will_do_ends_it(ask: Any) -> None:
    clocks = Clocks(5.0, [(0.0, 2.0), (0.1, 0.1), (0.0, 0.0)])
    assert ask(clocks, samples=3, enough=0.2)[1] == pytest.approx(0.1)
    assert clocks.asked == [(clock.SERVICE, "CurrentTime")] * 2


def test_two_endpoints_are_measured_apart(ask: Any) -> None:
    assert ask(Clocks(-90.0, [(0.1, 0.1)]))[0] == pytest.approx(-90, abs=1e-4)
    assert ask(Clocks(+90.0, [(0.1, 0.1)]))[0] == pytest.approx(+90, abs=1e-4)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work over many targets: bounded, one target's trouble stays its own, and a stop begins nothing more."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.fanout import fan_out
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, Interrupted, ServerFault, TimedOut


@pytest.mark.parametrize("parallel", [1, 2, 16])
def test_an_error_is_the_result_of_its_own_target_and_of_no_other(parallel: int) -> None:
    def work(key: int) -> int:
        if key % 3 == 0:
            raise TimedOut(f"no answer from {key}")
        return key * 2

    found = fan_out(range(20), work, parallel=parallel, guard=Guard())
    assert set(found) == set(range(20))
    for key, result in found.items():
        if key % 3 == 0:
            assert isinstance(result, TimedOut) and str(key) in result.cause
        else:
            assert result == key * 2


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("keys", [["a"], ["a", "b"]])
def test_a_defect_of_ours_over_one_target_leaves_the_others_their_results(parallel: int, keys: list[str]) -> None:
    def work(key: str) -> str:
        if key == "a":
            raise KeyError("surprise")
        return key

    found = fan_out(keys, work, parallel=parallel, guard=Guard())
    assert isinstance(found["a"], FleetcareError) and "KeyError" in found["a"].sentence
    assert found.get("b", "b") == "b"


@pytest.mark.parametrize("parallel", [1, 3, 7])
def test_no_more_than_parallel_targets_are_worked_on_at_once(parallel: int) -> None:
    lock = threading.Lock()
    now = most = 0

    def work(_key: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1

    fan_out(range(30), work, parallel=parallel, guard=Guard())
    assert most <= parallel
    assert most > 1 or parallel == 1


@pytest.mark.parametrize("parallel", [1, 4])
def test_after_a_stop_nothing_more_is_begun_and_what_ran_is_kept(parallel: int) -> None:
    guard = Guard()
    begun: list[int] = []

    def work(key: int) -> str:
        begun.append(key)
        if len(begun) == 5:
            guard.stop("a test says so")
        return "done"

    found = fan_out(range(40), work, parallel=parallel, guard=guard)
    assert set(found) == set(range(40))
    assert 5 <= len(begun) < 5 + parallel
    for key, result in found.items():
        if key in begun:
            assert result == "done"
        else:
            assert isinstance(result, Interrupted) and "a test says so" in result.cause and result.hint


@pytest.mark.parametrize("parallel", [1, 4])
def test_without_a_guard_everything_is_begun_and_an_error_still_stays_with_its_target(parallel: int) -> None:
    """What takes back a harm is not stopped by anything."""

    def work(key: int) -> int:
        if key % 2:
            raise TimedOut("no answer")
        return key

    found = fan_out(range(10), work, parallel=parallel, guard=None)
    assert all(isinstance(result, TimedOut) if key % 2 else result == key for key, result in found.items()) and len(found) == 10


def test_nothing_to_do_is_no_work() -> None:
    assert fan_out([], lambda key: key, parallel=4, guard=Guard()) == {}


def test_the_same_errors_object_is_handed_out_as_it_was_raised() -> None:
    problem = ServerFault("refused", fault="HostConfigFault", doing="writing")

    def work(_key: str) -> None:
        raise problem

    assert fan_out(["a"], work, parallel=1, guard=Guard())["a"] is problem

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded parallel work over targets; order kept within a target. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from .._domain.errors import FleetcareError, Interrupted
from .guard import Guard

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


def fan_out(keys: Iterable[KeyT], work: Callable[[KeyT], ValueT], *, parallel: int, guard: Guard) -> dict[KeyT, ValueT | FleetcareError]:
    """Run ``work`` for each key on at most ``parallel`` threads; an error is that key's result and nobody else's.

    Once the guard stops the run, what has not begun is not begun: its result is Interrupted.
    """

    def guarded(key: KeyT) -> ValueT | FleetcareError:
        if guard.reason:
            return Interrupted(f"not started, because {guard.reason}")
        try:
            return work(key)
        except FleetcareError as problem:
            return problem
        except Exception as problem:
            return FleetcareError(f"a defect of fleetcare.esxi: {type(problem).__name__}: {problem}", hint="Please report it.")

    wanted = list(keys)
    if len(wanted) <= 1 or parallel == 1:
        return {key: guarded(key) for key in wanted}
    with ThreadPoolExecutor(min(parallel, len(wanted)), thread_name_prefix="target") as pool:
        futures = {pool.submit(guarded, key): key for key in wanted}
        return {futures[done]: done.result() for done in as_completed(futures)}

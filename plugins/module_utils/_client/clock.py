# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far another clock is ahead of this machine's. Private to this collection."""

from __future__ import annotations

import time

from .session import Session
from .vmomi import Ref

SERVICE = Ref("ServiceInstance", "ServiceInstance")


def offset(session: Session, ref: Ref, operation: str, *, samples: int = 1, enough: float = 0.0) -> tuple[float, float]:
    """Seconds, and the bound of their error: the best of several readings.

    The clock was read somewhere within the round trip, so half of that is the bound. ``enough``: a bound that will do.
    """
    best = (0.0, float("inf"))
    for _sample_number in range(samples):
        wall, began = time.time(), time.monotonic()
        there = session.read(ref, operation)
        bound = (time.monotonic() - began) / 2
        if bound < best[1]:
            best = (there.timestamp() - (wall + bound), bound)
        if best[1] <= enough:
            break
    return best

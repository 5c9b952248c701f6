# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock of one host and the daemons that discipline it.

Time here is *virtual*: real elapsed seconds plus what Simulator.advance() adds. Only the processes (drift, ntpd, polls) run on it; a
host's wall clock is the real time plus its offset, so that advancing an hour does not put every host an hour ahead of the tester.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

POLL = 64.0  # seconds between two polls of ntpd (minpoll 6)
STEP_THRESHOLD = 0.128  # ntpd slews below and steps above


class Source(NamedTuple):
    """What a host follows: kind "ntp" or "ptp", the answering server as configured, and how wrong that server is itself."""

    kind: str
    name: str
    offset: float


@dataclass
class Event:
    """Something a daemon did to itself; the host turns it into state and a logged event."""

    kind: str
    correction: float


class Clock:
    """Offset from true time, evolving with virtual time; follows a source once it has answered for `sync_after` seconds."""

    __slots__ = ("drift_ppm", "last_poll", "noise", "offset", "panic", "ref", "since", "source", "sync_after", "synced_at")

    def __init__(self, name: str, offset: float, drift_ppm: float, sync_after: float, panic: float) -> None:
        self.offset = offset
        self.drift_ppm = drift_ppm
        self.ref = 0.0
        self.source: Source | None = None
        self.since = 0.0
        self.synced_at: float | None = None
        self.last_poll: float | None = None  # virtual; survives the loss of the source, None = never synced
        self.sync_after = sync_after
        self.panic = panic
        # Never exactly zero: a client that only works with perfect clocks must fail here. Same name, same noise.
        grain = zlib.crc32(name.encode()) % 1000 / 1000
        self.noise = (0.0002 + 0.0012 * grain) * (1 if grain > 0.5 else -1)

    def offset_at(self, now: float) -> float:
        """Seconds the host's clock is ahead of true time. Call advance(now) first."""
        if self.synced_at is not None and self.source is not None:
            return self.source.offset + self.noise
        return self.offset + self.drift_ppm * 1e-6 * (now - self.ref)

    def set(self, now: float, offset: float) -> None:
        """The clock is stepped by hand; a daemon that follows a source will look at it afresh."""
        if self.synced_at is not None:
            self.last_poll, self.synced_at, self.since = self.polled(now), None, now
        self.offset, self.ref = offset, now

    def follow(self, now: float, source: Source | None) -> None:
        """Conditions changed: from now on this is the source that answers (or none)."""
        if source == self.source:
            return
        self.offset, self.ref = self.offset_at(now), now
        if self.synced_at is not None:
            self.last_poll = self.polled(now)
        self.source, self.since, self.synced_at = source, now, None

    def start_synced(self, source: Source, now: float) -> None:
        """The host has followed this source for long before the scenario starts."""
        self.source, self.since, self.synced_at = source, now - 3600.0, now - 3600.0 + self.sync_after

    def advance(self, now: float) -> Event | None:
        """Let the daemon work up to `now`; tells when it gave up."""
        if self.source is None or self.synced_at is not None or now < self.since + self.sync_after:
            return None
        at = self.since + self.sync_after
        correction = self.source.offset - self.offset_at(at)
        if self.source.kind == "ntp" and abs(correction) > self.panic:
            # facts.md 2.4: ntpd gives up on large jumps and stops, event esx.problem.ntpd.clock.correction.error
            self.offset, self.ref = self.offset_at(now), now
            self.source = None
            return Event("panic", correction)
        self.synced_at = at
        return Event("step" if abs(correction) >= STEP_THRESHOLD else "slew", correction)

    def polled(self, now: float) -> float | None:
        """Virtual time of the last successful poll, None = never."""
        if self.synced_at is None:
            return self.last_poll
        return self.synced_at + (now - self.synced_at) // POLL * POLL

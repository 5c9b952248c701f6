# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines that came up locked are handed on, and when. Private to this collection.

No clock and no I/O: every time in here is vCenter's, read by whoever calls. A ``Stream`` is the whole memory of a follower, from
one look at vCenter to the next and, as JSON, from one process to the next.

What is new is told by key and time together. Keys alone do not do: a vCenter restored from a backup gives them out again. Times
alone do not either: events of the same instant become visible one after the other, and a clock may be set back. So of two events
one is older if it is so by both; where they disagree, the one that was told later is the later one.
"""

from __future__ import annotations

import datetime
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import BadInput

PREFIX = "com.vmware.vc.vm.Crypto."
# The last one is spelt so by vCenter.
LOCKED = tuple(
    f"{PREFIX}VMLocked.{cause}"
    for cause in ("KMSClusterError", "KeyMissingOnKMS", "KeyMissingOnHost", "TAKeyMissingOnHost", "TAKMSClusterUnavaliable")
)
UNLOCKED = f"{PREFIX}VMUnlocked"

DAY = 24 * 60
_HOURS = re.compile(r"^([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)$")
_LONG_AGO = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of vCenter about one machine."""

    key: int
    created: datetime.datetime
    type: str
    name: str
    moid: str
    host: str = ""

    @property
    def identity(self) -> tuple[int, datetime.datetime]:
        return self.key, self.created

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "moid": self.moid,
            "host": self.host,
            "type": self.type,
            "key": self.key,
            "created": self.created.isoformat(),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Event:
        for field, kind in (("key", int), ("type", str), ("name", str), ("moid", str), ("host", str)):
            if not isinstance(row[field], kind) or isinstance(row[field], bool):
                raise TypeError(f"{field} is {type(row[field]).__name__}")
        return cls(**{**row, "created": _moment(row["created"])})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Times in seconds; quiet hours are pairs of minutes of the day in UTC, and a pair may cross midnight."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    max_vms: int = 50
    per: float = 60.0
    quiet_hours: tuple[tuple[int, int], ...] = ()
    batch_seconds: float = 5.0
    cooldown: float = 600.0
    overlap: float = 60.0

    def admits(self, name: str) -> bool:
        def among(patterns: Iterable[str]) -> bool:
            return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)

        return (not self.allow or among(self.allow)) and not among(self.deny)

    def quiet_for(self, now: datetime.datetime) -> float:
        """Seconds until the quiet hours end; 0 outside of them. Ranges that touch are one."""
        at = now.astimezone(datetime.timezone.utc)
        second = at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6
        waited = 0.0
        for _range in range(len(self.quiet_hours) + 1):
            minute = (second + waited) % (DAY * 60) / 60
            ends = [(end - minute) % DAY for begin, end in self.quiet_hours if (minute - begin) % DAY < (end - begin) % DAY]
            if not ends:
                break
            waited += max(ends) * 60
        return waited


def parse_quiet_hours(texts: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Raises BadInput."""
    found = []
    for text in texts:
        match = _HOURS.match(str(text).strip())
        if not match:
            raise BadInput(
                f"quiet_hours {text!r} is not a time of the day", hint='Write "HH:MM-HH:MM" in vCenter\'s UTC, for example "22:00-06:00".'
            )
        numbers = [int(part) for part in match.groups()]
        found.append((numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]))
        if found[-1][0] == found[-1][1]:
            raise BadInput(f"quiet_hours {text!r} begins when it ends", hint="Give a begin and an end that differ.")
    if len({(begin + minute) % DAY for begin, end in found for minute in range((end - begin) % DAY)}) == DAY:
        raise BadInput("quiet_hours cover the whole day, so nothing would ever be handed on", hint="Leave some of the day open.")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A machine that is to be handed on: its latest lock event, and the first one's key and time, which give its turn."""

    event: Event
    first: int
    since: datetime.datetime


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is remembered of a machine: when it was handed on last and for which event, and the last event that said it was unlocked."""

    handed: datetime.datetime | None = None
    handed_key: int = 0
    unlocked_key: int = 0
    unlocked: datetime.datetime = _LONG_AGO

    def covers(self, event: Event) -> bool:
        """Whether a lock event that became visible late is from before what is known."""
        if _is_older(event, self.unlocked_key, self.unlocked):
            return True
        return self.handed is not None and _is_older(event, self.handed_key, self.handed)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one vCenter's events have told so far."""

    instance: str
    # Where the following begins, until the first look: what is older then is no news. Later on it is, it became visible late.
    since: datetime.datetime | None
    # Everything up to here has been seen, except for what becomes visible late.
    newest: datetime.datetime
    # The last reading of vCenter's clock.
    clock: datetime.datetime
    seen: frozenset[tuple[int, datetime.datetime]] = frozenset()
    # The highest key and time of what has left ``seen``.
    floor_key: int = 0
    floor_time: datetime.datetime = _LONG_AGO
    waiting: tuple[Waiting, ...] = ()
    machines: Mapping[str, Machine]
    spent: tuple[tuple[datetime.datetime, int], ...] = ()

    @classmethod
    def start(cls, instance: str, now: datetime.datetime, lookback: float = 0.0) -> Stream:
        since = now - datetime.timedelta(seconds=lookback)
        return cls(instance=instance, since=since, newest=since, clock=now, machines={})

    def begin(self, limits: Limits) -> datetime.datetime:
        """From when on vCenter has to be asked."""
        return self.newest - datetime.timedelta(seconds=limits.overlap)

    def absorb(self, events: Iterable[Event], limits: Limits, until: datetime.datetime | None = None) -> Stream:
        """With what vCenter answered. ``until``: its time before it was asked, where that was read."""
        fresh = {event.identity: event for event in events if not self._is_old(event)}
        waiting = {item.event.moid: item for item in self.waiting}
        machines = dict(self.machines)
        # Within one answer keys do: they are one vCenter's, whatever its clock did.
        for event in sorted(fresh.values(), key=lambda event: event.key):
            if self.since and event.created < self.since:
                continue
            known = machines.get(event.moid, Machine())
            held = waiting.get(event.moid)
            if event.type == UNLOCKED:
                if not _is_older(event, known.unlocked_key, known.unlocked):
                    machines[event.moid] = replace(known, unlocked_key=event.key, unlocked=event.created)
                if held and not _is_older(event, held.event.key, held.event.created):
                    del waiting[event.moid]
            elif not limits.admits(event.name) or known.covers(event):
                continue
            elif held:
                latest = held.event if _is_older(event, held.event.key, held.event.created) else event
                waiting[event.moid] = Waiting(event=latest, first=min(held.first, event.key), since=min(held.since, event.created))
            else:
                waiting[event.moid] = Waiting(event=event, first=event.key, since=event.created)
        newest = max([self.newest, *(event.created for event in fresh.values()), *([until] if until else [])])
        kept = newest - datetime.timedelta(seconds=limits.overlap)
        seen = self.seen | fresh.keys()
        gone = [identity for identity in seen if identity[1] < kept]
        return replace(
            self,
            since=None,
            newest=newest,
            seen=frozenset(seen.difference(gone)),
            floor_key=max([self.floor_key, *(key for key, _created in gone)]),
            floor_time=max([self.floor_time, *(created for _key, created in gone)]),
            waiting=tuple(sorted(waiting.values(), key=lambda item: (item.since, item.first))),
            machines=machines,
        )

    def _is_old(self, event: Event) -> bool:
        return event.identity in self.seen or (event.key <= self.floor_key and event.created <= self.floor_time)

    def at(self, now: datetime.datetime, elapsed: float, limits: Limits) -> Stream:
        """After a look at vCenter's clock, ``elapsed`` steady seconds after the one before.

        A clock that was set back must neither hide what is logged from then on nor leave anything waiting for times to come
        again. What was seen before is known by its key. An event that is dated ahead tells of a clock that hopped there and back
        between two readings.
        """
        stream = self
        if now < self.clock + datetime.timedelta(seconds=elapsed - limits.overlap / 2) or self.newest > now:
            newest = min(self.newest, now - datetime.timedelta(seconds=elapsed))
            stream = replace(stream, newest=newest, since=min(self.since, newest) if self.since else None)
        old = stream.newest - datetime.timedelta(seconds=limits.overlap)
        cooled = now - datetime.timedelta(seconds=limits.cooldown)
        used = now - datetime.timedelta(seconds=limits.per)
        machines = {
            moid: replace(one, handed=min(one.handed, now) if one.handed else None, unlocked=min(one.unlocked, now))
            for moid, one in self.machines.items()
            if one.unlocked >= old or (one.handed and one.handed > min(old, cooled))
        }
        return replace(
            stream,
            clock=now,
            machines=machines,
            waiting=tuple(replace(item, since=min(item.since, now)) for item in self.waiting if limits.admits(item.event.name)),
            spent=tuple((min(when, now), count) for when, count in self.spent if when > used),
        )

    def due(self, limits: Limits) -> tuple[Event, ...]:
        """Whom to hand on now, oldest first; empty where that has to wait. Now is the last reading of the clock."""
        if limits.quiet_for(self.clock):
            return ()
        ready = [item for item in self.waiting if self._cooled(item, limits) <= self.clock]
        if not ready or min(item.since for item in ready) + datetime.timedelta(seconds=limits.batch_seconds) > self.clock:
            return ()
        return tuple(item.event for item in ready[: max(0, limits.max_vms - self._used(limits))])

    def due_in(self, limits: Limits) -> float | None:
        """Seconds until somebody may be due; None where nobody waits."""
        if not self.waiting:
            return None
        batch = datetime.timedelta(seconds=limits.batch_seconds)
        when = min(max(item.since + batch, self._cooled(item, limits)) for item in self.waiting)
        used = self._used(limits)
        for handed, count in sorted(self.spent):
            if used < limits.max_vms:
                break
            used -= count
            when = max(when, handed + datetime.timedelta(seconds=limits.per))
        return max((when - self.clock).total_seconds(), limits.quiet_for(self.clock), 0.0)

    def handed_on(self, batch: Iterable[Event], now: datetime.datetime) -> Stream:
        """After a batch has been handed on at that time."""
        handed = {event.moid: event for event in batch}
        known = {moid: self.machines.get(moid, Machine()) for moid in handed}
        # What said that it was unlocked is from before, by its key, too, should keys be given out again.
        machines = {
            moid: replace(known[moid], handed=now, handed_key=event.key, unlocked_key=min(known[moid].unlocked_key, event.key))
            for moid, event in handed.items()
        }
        return replace(
            self,
            waiting=tuple(item for item in self.waiting if item.event.moid not in handed),
            machines={**self.machines, **machines},
            spent=(*self.spent, (now, len(handed))),
        )

    def replaced(self, instance: str, now: datetime.datetime, lookback: float) -> Stream:
        """Another vCenter answers: its keys start again and its machines are others, what was handed on still counts."""
        return replace(Stream.start(instance, now, lookback), spent=self.spent)

    def _cooled(self, item: Waiting, limits: Limits) -> datetime.datetime:
        """When a machine may be handed on again: at once, where it was unlocked in between."""
        known = self.machines.get(item.event.moid, Machine())
        if known.handed is None or known.unlocked_key > known.handed_key or known.unlocked > known.handed:
            return _LONG_AGO
        return known.handed + datetime.timedelta(seconds=limits.cooldown)

    def _used(self, limits: Limits) -> int:
        left = self.clock - datetime.timedelta(seconds=limits.per)
        return sum(count for when, count in self.spent if when > left)

    def as_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "instance_uuid": self.instance,
            "since": self.since.isoformat() if self.since else None,
            "newest": self.newest.isoformat(),
            "clock": self.clock.isoformat(),
            "floor": [self.floor_key, self.floor_time.isoformat()],
            "seen": [[key, created.isoformat()] for key, created in sorted(self.seen)],
            "waiting": [{"event": one.event.as_json(), "first": one.first, "since": one.since.isoformat()} for one in self.waiting],
            "machines": {
                moid: [one.handed.isoformat() if one.handed else None, one.handed_key, one.unlocked_key, one.unlocked.isoformat()]
                for moid, one in sorted(self.machines.items())
            },
            "spent": [[when.isoformat(), count] for when, count in self.spent],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Stream:
        """Raises LookupError, TypeError, ValueError, AttributeError or ArithmeticError for what ``as_json`` did not write."""
        if row["version"] != 1:
            raise ValueError(f"version {row['version']}")
        return cls(
            instance=_text(row["instance_uuid"]),
            since=_moment(row["since"]) if row["since"] else None,
            newest=_moment(row["newest"]),
            clock=_moment(row["clock"]),
            floor_key=int(row["floor"][0]),
            floor_time=_moment(row["floor"][1]),
            seen=frozenset((int(key), _moment(created)) for key, created in row["seen"]),
            waiting=tuple(
                Waiting(event=Event.from_json(one["event"]), first=int(one["first"]), since=_moment(one["since"])) for one in row["waiting"]
            ),
            machines={
                moid: Machine(
                    handed=_moment(handed) if handed else None,
                    handed_key=int(handed_key),
                    unlocked_key=int(unlocked_key),
                    unlocked=_moment(unlocked),
                )
                for moid, (handed, handed_key, unlocked_key, unlocked) in row["machines"].items()
            },
            spent=tuple((_moment(when), int(count)) for when, count in row["spent"]),
        )


def _is_older(event: Event, key: int, created: datetime.datetime) -> bool:
    return event.key < key and event.created <= created


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is {type(value).__name__}")
    return value


def _moment(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    if not 1900 < moment.year < 9000:
        # There would be nothing to count back to, or on.
        raise ValueError(f"{text} is out of range")
    return moment

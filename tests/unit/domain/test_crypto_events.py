# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Position, repeats and limits of the stream of locked machines, against a vCenter made of a list: random bursts, events that become
visible late, restarts and crashes at any point, a clock that is set back."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto_events import (
    LOCKED,
    UNLOCKED,
    Event,
    Limits,
    Stream,
    parse_quiet_hours,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput

T0 = datetime.datetime(2026, 5, 4, 21, 30, tzinfo=datetime.timezone.utc)
OPEN = Limits(max_vms=1000, per=1, batch_seconds=0, cooldown=0, overlap=60)


def at(second: float) -> datetime.datetime:
    return T0 + datetime.timedelta(seconds=second)


def event(key: int, second: float, vm: int, kind: str = LOCKED[0]) -> Event:
    return Event(key=key, created=at(second), type=kind, name=f"vm-{vm:02d}", moid=f"m{vm}", host="esx-01.example.com")


@dataclasses.dataclass
class Logged:
    event: Event
    visible: float


class World:
    """A vCenter, and a follower of it as the plugin is one: look, hand on, remember."""

    def __init__(self, limits: Limits, log: list[Logged]) -> None:
        self.limits, self.log = limits, log
        self.second = 0.0
        self.shift = 0.0  # of vCenter's clock
        self.read_at: float | None = 0.0
        self.stream = Stream.start("uuid", self.now)
        self.saved = json.dumps(self.stream.as_json())
        self.handed: list[tuple[datetime.datetime, tuple[Event, ...]]] = []
        self.look()  # the first one follows at once

    @property
    def now(self) -> datetime.datetime:
        return at(self.second + self.shift)

    def look(self, crash: bool = False) -> None:
        stream, until = self.stream, None
        if stream.waiting or self.read_at is None or self.second - self.read_at >= 300:
            stream, until = self.clocked(stream), self.now
        begin = stream.begin(self.limits)
        stream = stream.absorb(
            [row.event for row in self.log if row.visible <= self.second and row.event.created >= begin], self.limits, until
        )
        if stream.waiting and until is None:
            stream = self.clocked(stream)
        self.stream = stream
        batch = stream.due(self.limits)
        if batch:
            left = [item.first for item in stream.waiting if item.event not in batch and not self.cooling(item.event.moid)]
            assert [one.key for one in batch] and max([0, *(item.first for item in stream.waiting if item.event in batch)]) < min(
                [10**9, *left]
            )
            self.handed.append((self.now, batch))
            if crash:
                return self.restart()
            self.stream = stream.handed_on(batch, self.now)
            self.saved = json.dumps(self.stream.as_json())
        elif stream.waiting and stream.due_in(self.limits) == 0:
            raise AssertionError("says that somebody is due and hands nobody on")

    def cooling(self, moid: str) -> bool:
        known = self.stream.machines.get(moid)
        return bool(known and known.handed and known.handed + datetime.timedelta(seconds=self.limits.cooldown) > self.now)

    def clocked(self, stream: Stream) -> Stream:
        elapsed = 0.0 if self.read_at is None else self.second - self.read_at
        self.read_at = self.second
        return stream.at(self.now, elapsed, self.limits)

    def restart(self) -> None:
        self.stream, self.read_at = Stream.from_json(json.loads(self.saved)), None

    def run(self, until: float) -> None:
        while self.second < until:
            self.second += 5
            self.look()

    def finish(self) -> None:
        """Until everything is visible and nobody waits; with a look now and then, as the limits may take hours."""
        last = max([self.second, *(row.visible for row in self.log)]) + 70
        for _look in range(5000):
            if self.second > last and not self.stream.waiting:
                return
            wait = self.stream.due_in(self.limits)
            self.second += 5 if wait is None or wait < 5 else min(wait, 40)
            self.look()
        raise AssertionError(f"never handed on: {self.stream.waiting}")

    @property
    def moids(self) -> list[str]:
        return [one.moid for _when, batch in self.handed for one in batch]


gaps = st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.5, 3.0, 20.0, 61.0, 400.0])
late = st.sampled_from([0.0, 0.0, 0.0, 1.0, 30.0, 54.0])
actions = st.lists(st.sampled_from(["look", "look", "look", "restart", "crash"]), max_size=60)


@st.composite
def bursts(draw: st.DrawFn, machines: int = 0) -> list[Logged]:
    """Lock events; each of another machine, or of a few whose storms also have unlock events."""
    log, second = [], 1.0
    for key in range(1, draw(st.integers(0, 40)) + 1):
        second += draw(gaps)
        vm = draw(st.integers(1, machines)) if machines else key
        kind = draw(st.sampled_from([*LOCKED, UNLOCKED])) if machines else LOCKED[key % 5]
        log.append(Logged(event(key, second, vm, kind), second + draw(late)))
    return log


limits = st.builds(
    Limits,
    max_vms=st.integers(1, 10),
    per=st.sampled_from([1.0, 30.0, 600.0]),
    batch_seconds=st.sampled_from([0.0, 5.0, 60.0]),
    cooldown=st.sampled_from([0.0, 60.0, 600.0]),
    overlap=st.just(60.0),
    quiet_hours=st.sampled_from([(), ((22 * 60, 22 * 60 + 10),), ((23 * 60, 60), (60, 61))]),
)


@given(bursts(), limits, actions)
@settings(deadline=None)
def test_everything_once_in_order_and_within_limits(log: list[Logged], limits: Limits, todo: list[str]) -> None:
    """Each machine exactly once, whatever the restarts; a crash between handing on and remembering repeats that batch and no more."""
    world = World(limits, log)
    crashed: set[str] = set()
    for action in todo:
        world.second += 7.0
        if action == "restart":
            world.restart()
        before = len(world.handed)
        world.look(crash=action == "crash")
        if action == "crash" and len(world.handed) > before:
            crashed.update(one.moid for one in world.handed[-1][1])
    world.finish()
    counts = Counter(world.moids)
    assert set(counts) == {row.event.moid for row in log}
    assert {moid for moid, count in counts.items() if count > 1} <= crashed
    for begin, _batch in world.handed:
        used = sum(len(batch) for when, batch in world.handed if begin <= when < begin + datetime.timedelta(seconds=limits.per))
        # What a crash made nobody remember cannot be counted either.
        assert used <= limits.max_vms or crashed
        assert not limits.quiet_for(begin)
    for when, batch in world.handed:
        assert [one.key for one in batch] == sorted(one.key for one in batch)
        assert min(when - one.created for one in batch[:1]) >= datetime.timedelta(seconds=limits.batch_seconds)


@given(bursts(machines=3), limits, actions)
@settings(deadline=None)
def test_a_storm_about_one_machine(log: list[Logged], limits: Limits, todo: list[str]) -> None:
    world = World(limits, log)
    for action in todo:
        world.second += 7.0
        if action == "restart":
            world.restart()
        world.look()
    world.finish()
    last: dict[str, tuple[datetime.datetime, Event]] = {}
    for when, batch in world.handed:
        assert len({one.moid for one in batch}) == len(batch)
        for one in batch:
            if one.moid in last:
                before, other = last[one.moid]
                unlocked = [r.event for r in log if r.event.moid == one.moid and r.event.type == UNLOCKED and r.event.key > other.key]
                assert when - before >= datetime.timedelta(seconds=limits.cooldown) or unlocked
            last[one.moid] = when, one
    # Whoever is locked at the end was handed on after that.
    for row in log:
        newer = [other.event for other in log if other.event.moid == row.event.moid and other.event.key > row.event.key]
        if row.event.type != UNLOCKED and not newer:
            assert last[row.event.moid][1] == row.event


@given(bursts(), st.sampled_from([-3600.0, -400.0, -61.0, -30.0, 3600.0]), st.floats(0, 600))
@settings(deadline=None)
def test_a_clock_that_is_set_while_it_is_followed(log: list[Logged], shift: float, moment: float) -> None:
    """What is logged after the clock was set carries times that were there before, and higher keys."""
    moved = [
        Logged(dataclasses.replace(row.event, created=row.event.created + datetime.timedelta(seconds=shift)), row.visible)
        if row.visible > moment
        else row
        for row in log
        if row.visible <= moment or row.event.created > at(moment)
    ]
    world = World(OPEN, moved)
    while world.second < 3000:
        world.second += 5
        if world.second > moment:
            world.shift = shift
        world.look()
    world.finish()
    assert sorted(world.moids) == sorted(row.event.moid for row in moved)


@given(bursts(), st.sampled_from([31.0, 61.0, 400.0, 3600.0]), st.floats(0, 600), st.sampled_from([1.0, 20.0, 90.0]))
@settings(deadline=None)
def test_a_clock_that_hops_ahead_and_back(log: list[Logged], shift: float, moment: float, seconds: float) -> None:
    """Between two readings of it, or over one; nothing becomes visible late."""
    moved = []
    for row in log:
        second = (row.event.created - T0).total_seconds()
        hop = datetime.timedelta(seconds=shift if moment < second <= moment + seconds else 0.0)
        moved.append(Logged(dataclasses.replace(row.event, created=row.event.created + hop), second))
    world = World(OPEN, moved)
    last = max([0.0, *(row.visible for row in moved)]) + 400
    while world.second < last:
        world.second += 5
        world.shift = shift if moment < world.second <= moment + seconds else 0.0
        world.look()
    world.finish()
    assert sorted(world.moids) == sorted(row.event.moid for row in moved)


def test_an_event_that_is_dated_ahead_hides_nothing_that_comes_after_it() -> None:
    """It is about one that is denied, so that nobody waits and the clock is read in five minutes only."""
    limits = dataclasses.replace(OPEN, deny=("vm-09",))
    world = World(limits, [Logged(event(1, 3610, 9), 10), Logged(event(2, 320, 1), 320)])
    world.run(600)
    assert world.moids == ["m1"]


def test_unlocked_where_keys_are_given_out_again() -> None:
    limits = dataclasses.replace(OPEN, cooldown=600)
    world = World(limits, [Logged(event(1000, 1, 1), 1)])
    world.run(20)
    world.log += [Logged(event(500, 100, 1, UNLOCKED), 100), Logged(event(501, 102, 1), 102), Logged(event(502, 120, 1), 120)]
    world.run(300)
    assert [one.key for _when, batch in world.handed for one in batch] == [1000, 501], "handed on at once, and then within the cooldown"
    world = World(dataclasses.replace(limits, batch_seconds=60), [Logged(event(1000, 1, 1), 1), Logged(event(500, 30, 1, UNLOCKED), 30)])
    world.run(300)
    assert world.moids == []


def test_unlocked_while_the_clock_is_set_back() -> None:
    world = World(dataclasses.replace(OPEN, cooldown=600), [Logged(event(1, 1, 1), 1), Logged(event(2, 10, 1, UNLOCKED), 10)])
    world.run(20)
    world.shift = -3600
    world.log += [Logged(event(3, 400 - 3600, 1), 400), Logged(event(4, 420 - 3600, 1), 420)]
    world.run(700)
    assert [one.key for _when, batch in world.handed for one in batch] == [1, 3]


@pytest.mark.parametrize(
    "spoil",
    [
        {"instance_uuid": 5},
        {"newest": "0001-01-01T00:00:00+00:00"},
        {"newest": "9999-12-31T23:59:59+00:00"},
        {"floor": [float("inf"), "2026-05-04T00:00:00+00:00"]},
        {"floor": []},
        {"seen": [[1]]},
        {"machines": {"m1": 1}},
        {"machines": []},
        {"waiting": [{"event": {**event(1, 1, 1).as_json(), "key": "1"}, "first": 1, "since": at(1).isoformat()}]},
        {"waiting": [{"event": {**event(1, 1, 1).as_json(), "name": None}, "first": 1, "since": at(1).isoformat()}]},
    ],
    ids=str,
)
def test_what_nobody_wrote_is_no_stream(spoil: dict[str, object]) -> None:
    row = Stream.start("uuid", at(0)).as_json()
    assert Stream.from_json(row)
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError, ArithmeticError)):
        Stream.from_json({**row, **spoil})


@given(bursts(machines=4), limits, st.integers(0, 200))
@settings(deadline=None)
def test_json_brings_everything_back(log: list[Logged], limits: Limits, seconds: int) -> None:
    world = World(limits, log)
    world.run(seconds)
    assert Stream.from_json(json.loads(json.dumps(world.stream.as_json()))) == world.stream


def test_a_vcenter_restored_from_a_backup_gives_keys_out_again() -> None:
    world = World(OPEN, [Logged(event(1000 + n, n, n), n) for n in range(10)])
    world.run(2000)
    world.log = [Logged(event(500 + n, 2100 + n, 50 + n), 2100 + n) for n in range(10)]
    world.run(4000)
    assert len(world.moids) == 20 and len(set(world.moids)) == 20


def test_another_vcenter_begins_anew_and_what_was_handed_on_still_counts() -> None:
    world = World(dataclasses.replace(OPEN, max_vms=2, per=60), [Logged(event(n, n, n), n) for n in range(1, 5)])
    world.run(10)
    assert len(world.stream.waiting) == 2
    other = world.stream.replaced("other", world.now, 30)
    assert (other.instance, other.waiting, other.seen, other.floor_key) == ("other", (), frozenset(), 0)
    assert other.since == at(world.second - 30)
    fresh = other.absorb([event(1, world.second - 1, 9)], world.limits).at(world.now, 0, world.limits)
    assert fresh.due(world.limits) == () and fresh.due_in(world.limits) == pytest.approx(55)


def test_lookback_and_from_now_on() -> None:
    events = [event(1, -100, 1), event(2, -10, 2), event(3, 5, 3)]
    for lookback, found in ((0.0, [3]), (30.0, [2, 3]), (200.0, [1, 2, 3])):
        stream = Stream.start("uuid", at(0), lookback)
        first = stream.absorb([one for one in events if one.created >= stream.begin(OPEN)], OPEN)
        assert [item.event.key for item in first.waiting] == found
        # What is from before and becomes visible after the first look is news.
        assert [item.event.key for item in first.absorb([event(0, -20, 4)], OPEN).waiting] == sorted([0, *found], key=[1, 0, 2, 3].index)


def test_allow_and_deny() -> None:
    limits = dataclasses.replace(OPEN, allow=("VM-0*", "db-*"), deny=("*-03",))
    stream = Stream.start("uuid", at(0)).absorb([event(n, n, n) for n in (1, 2, 3, 11)], limits)
    assert [item.event.name for item in stream.waiting] == ["vm-01", "vm-02"]
    # Denied later: whoever waits is looked at again.
    assert stream.at(at(20), 0, dataclasses.replace(limits, deny=("*-02",))).due(limits) == (event(1, 1, 1),)


def test_unlocked_before_it_was_handed_on() -> None:
    stream = Stream.start("uuid", at(0)).absorb([event(1, 1, 1), event(2, 2, 1, UNLOCKED), event(3, 3, 2)], OPEN)
    assert [item.event.moid for item in stream.waiting] == ["m2"]
    # The lock event of before becomes visible after that.
    late = Stream.start("uuid", at(0)).absorb([event(2, 2, 1, UNLOCKED)], OPEN).absorb([event(1, 1, 1)], OPEN)
    assert late.waiting == ()
    again = stream.absorb([event(4, 4, 1, LOCKED[2])], OPEN)
    assert [(item.event.moid, item.event.type) for item in again.waiting] == [("m2", LOCKED[0]), ("m1", LOCKED[2])]


@pytest.mark.parametrize(
    ("hours", "clock", "seconds"),
    [
        ((), "12:00", 0),
        (("22:00-06:00",), "21:59", 0),
        (("22:00-06:00",), "22:00", 8 * 3600),
        (("22:00-06:00",), "05:59", 60),
        (("22:00-06:00",), "06:00", 0),
        (("22:00-06:00", "06:00-07:00"), "23:00", 8 * 3600),
        (("9:15 - 9:45",), "09:30", 900),
        (("22:00-23:00", "22:30-22:45"), "22:40", 1200),
    ],
)
def test_quiet_hours(hours: tuple[str, ...], clock: str, seconds: float) -> None:
    when = datetime.datetime.fromisoformat(f"2026-05-04T{clock}:00+00:00")
    limits = Limits(quiet_hours=parse_quiet_hours(hours))
    assert limits.quiet_for(when) == pytest.approx(seconds)
    assert limits.quiet_for(when.astimezone(datetime.timezone(datetime.timedelta(hours=5)))) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["24:00-06:00", "22-6", "22:00", "22:00-22:00", "22:60-23:00", ""])
def test_bad_quiet_hours(text: str) -> None:
    with pytest.raises(BadInput, match="quiet_hours"):
        parse_quiet_hours([text])


def test_quiet_all_day() -> None:
    with pytest.raises(BadInput, match="whole day"):
        parse_quiet_hours(["00:00-12:00", "12:00-00:00"])

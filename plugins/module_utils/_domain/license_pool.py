# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which licence key of a pool goes to which host, and in which order. Pure. Private to this collection.

A host is *served* when it holds a key that fits it. Most hosts are to be served, then the fewest served hosts are to move
to another key, then the preferred keys are to be used. No served host loses its key for nothing, and no key is ever used beyond
what it is good for, not even for the time of a write, in which a host takes of the new key and of the old one.

Hosts that are alike make a *kind*. A small fleet is searched completely: every state that writes can lead to, one write a host.
Any other is filled greedily, and hosts that could go elsewhere make room, as could those for which they make room, and so on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Bounds of the work, by counting: the same everywhere.
COMPLETE = 80_000  # writes that are considered where all states are searched; a fleet that takes more is filled greedily
STEPS = 150_000  # keys that are considered for hosts that could make room
DEPTH = 4  # hosts that make room one for another
ATTEMPTS = 10  # at an order
TURNS = 8  # runs that are made into one

Held = Mapping[str, tuple["str | None", int]]  # host: its key and the units that it takes
Room = dict[str, float]  # key: units that are left of it, below zero if it is used beyond its limit


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A key."""

    id: str
    free: int | None  # units that the seekers may hold together, what they hold today included; None: no limit
    rank: int = 0  # lower is preferred


@dataclass(frozen=True, kw_only=True)
class Seeker:
    """A host."""

    id: str
    needs: Mapping[str, int]  # key that fits: units that it would take; best one object for all hosts that are alike
    holds: str | None = None  # the key of the pool that it has, whether that fits or not
    units: int = 0  # that it takes of it


@dataclass(frozen=True)
class Lack:
    """Why a host is not served: of the key that comes closest less is left than it needs. No key: none fits."""

    key: str | None
    needed: int
    left: int


@dataclass(frozen=True)
class Assignment:
    keys: Mapping[str, str]  # host: its new key, if that changes
    after: Mapping[str, tuple[str, ...]]  # host: hosts whose writes have to have ended before its own begins, if any
    lacking: Mapping[str, Lack]  # host that is not served: why


@dataclass(frozen=True, eq=False)
class _Kind:
    """Hosts that are alike, in the order of their names."""

    needs: Mapping[str, int]  # in the order of preference; of a key that they hold what they take of it
    holds: str | None
    units: int
    hosts: tuple[str, ...]

    @property
    def served(self) -> bool:
        return self.holds in self.needs


def assign(seekers: Iterable[Seeker], pool: Iterable[Pooled]) -> Assignment:
    """The same for whatever order they come in. Planned again once it is applied, nothing is left to do.

    One rare case is excepted: what takes two writes of one host takes two runs. Each run serves more, so that ends.
    """
    keys = {key.id: key for key in sorted(pool, key=lambda each: (each.rank, each.id))}
    hosts = sorted(seekers, key=lambda each: each.id)
    needs = _needs(hosts, keys)
    held: Held = {host.id: (host.holds, host.units) if host.holds in keys else (None, 0) for host in hosts}
    now, path = held, list[tuple[str, str]]()
    for _turn in range(TURNS):  # what another run would do belongs into this one
        further = _once(keys, needs, now)
        if not further:
            break
        merged = {host: key for host, key in path if host not in further} | dict(further)
        onward = _ordered(keys, needs, held, {host: key for host, key in merged.items() if key != held[host][0]})
        if onward is None:
            break
        path = onward
        now = {**held, **{host: (key, needs[host][key]) for host, key in path}}
    left = _room(keys, now)
    lacking = {}
    for kind in _kinds(needs, now):
        if not kind.served:
            close = min(kind.needs, key=lambda key: kind.needs[key] - left[key], default=None)
            lack = Lack(None, 0, 0) if close is None else Lack(close, kind.needs[close], int(left[close]))
            lacking.update(dict.fromkeys(kind.hosts, lack))
    return Assignment(dict(path), _after(keys, needs, held, path), lacking)


# ---- the fleet ---------------------------------------------------------------------------------------------------------


def _needs(hosts: Iterable[Seeker], keys: Mapping[str, Pooled]) -> dict[str, Mapping[str, int]]:
    """Of each host, the keys of the pool that fit in the order of preference. Equal ones become one object."""
    by_object: dict[int, Mapping[str, int]] = {}
    by_value: dict[frozenset[tuple[str, int]], Mapping[str, int]] = {}
    found = {}
    for host in hosts:
        tidy = by_object.get(id(host.needs))
        if tidy is None:
            given = host.needs
            fitting = {key: max(1, given[key]) for key in keys if key in given}
            tidy = by_object[id(given)] = by_value.setdefault(frozenset(fitting.items()), fitting)
        found[host.id] = tidy
    return found


def _kinds(needs: Mapping[str, Mapping[str, int]], held: Held) -> list[_Kind]:
    """In the order of their first hosts."""
    groups: dict[tuple[int, str | None, int], list[str]] = {}
    for host, (holds, units) in held.items():
        groups.setdefault((id(needs[host]), holds, units), []).append(host)
    kinds = []
    for (_object, holds, units), hosts in groups.items():
        fitting = needs[hosts[0]]
        if holds is not None and fitting.get(holds, units) != units:
            fitting = {**fitting, holds: units}
        kinds.append(_Kind(fitting, holds, units, tuple(hosts)))
    return kinds


def _room(keys: Mapping[str, Pooled], held: Held) -> Room:
    room: Room = {key.id: math.inf if key.free is None else key.free for key in keys.values()}
    for holds, units in held.values():
        if holds is not None:
            room[holds] -= units
    return room


def _once(keys: Mapping[str, Pooled], needs: Mapping[str, Mapping[str, int]], held: Held) -> Mapping[str, str]:
    """Writes that serve more, in an order in which they can be made; none if no more can be served."""
    kinds, room = _kinds(needs, held), _room(keys, held)
    if all(kind.served or not kind.needs for kind in kinds):
        return {}
    states = math.prod(math.comb(len(kind.hosts) + len(kind.needs), len(kind.needs)) for kind in kinds)
    if states * sum(len(kind.needs) for kind in kinds) <= COMPLETE:
        return _complete(keys, kinds, room)
    for bold in (True, False):
        writes = _Filling(keys, kinds, dict(room), bold).fill()
        if _ordered(keys, needs, held, writes) is not None:
            return writes
    return {}


# ---- a small fleet -----------------------------------------------------------------------------------------------------


def _complete(keys: Mapping[str, Pooled], kinds: list[_Kind], room: Room) -> dict[str, str]:
    """The best of all states that can be reached, each host being written once at most.

    A state is how many hosts of a kind went to a key. What cannot be reached in any order is not met here.
    """
    ways = [(at, kind, key) for at, kind in enumerate(kinds) for key in kind.needs if key != kind.holds]
    first = (0,) * len(ways)
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {first: (first, -1)}
    queue = deque([(first, room, tuple(len(kind.hosts) for kind in kinds))])
    best, best_worth = first, _worth(keys, ways, first, room)
    while queue:
        state, room, waiting = queue.popleft()
        for step, (at, kind, key) in enumerate(ways):
            need = kind.needs[key]
            if not waiting[at] or room[key] < need:
                continue
            onward = (*state[:step], state[step] + 1, *state[step + 1 :])
            if onward in came:
                continue
            came[onward] = (state, step)
            left = {**room, key: room[key] - need}
            if kind.holds is not None:
                left[kind.holds] += kind.units
            queue.append((onward, left, (*waiting[:at], waiting[at] - 1, *waiting[at + 1 :])))
            worth = _worth(keys, ways, onward, left)
            if worth > best_worth:
                best, best_worth = onward, worth
    steps = []
    while best != first:
        best, step = came[best]
        steps.append(ways[step])
    names = [iter(kind.hosts) for kind in kinds]
    return {next(names[at]): key for at, _kind, key in reversed(steps)}


def _worth(keys: Mapping[str, Pooled], ways: list[tuple[int, _Kind, str]], state: tuple[int, ...], room: Room) -> tuple[object, ...]:
    """More is better: served, moves, ranks; few on keys without a limit, and what is left in large pieces; names."""
    gone = [(count, kind.served, keys[key]) for count, (_at, kind, key) in zip(state, ways, strict=True) if count]
    return (
        sum(count for count, served, _key in gone if not served),
        -sum(count for count, served, _key in gone if served),
        -sum(count * key.rank for count, served, key in gone if not served),
        -sum(count for count, _served, key in gone if key.free is None),
        sum(max(left, 0) ** 2 for left in room.values() if left != math.inf),
        state,
    )


# ---- a large fleet -----------------------------------------------------------------------------------------------------


class _Filling:
    """Fills keys. Each step can be made when it is taken, but a host gets only its last key. If hosts are moved again that
    were moved before (bold), there may be no order in the end; else only those are that hold nothing, which come last anyway.
    """

    def __init__(self, keys: Mapping[str, Pooled], kinds: list[_Kind], room: Room, bold: bool) -> None:
        self.keys = keys
        self.kinds = kinds
        self.room = room
        self.bold = bold
        self.writes: dict[str, str] = {}
        self.steps = STEPS
        self.waiting = {at: list(reversed(kind.hosts)) for at, kind in enumerate(self.kinds) if not kind.served and kind.needs}
        # Who is where, by kinds, served hosts only: others leave when they are served, not to make room.
        self.where: dict[str, dict[int, list[str]]] = {key: {} for key in self.keys}
        for at, kind in enumerate(self.kinds):
            if kind.holds is not None and kind.served:
                self.where[kind.holds][at] = list(kind.hosts)
        self.done: list[tuple[int, str, str]] = []
        self.lately: dict[int, tuple[str, int, int]] = {}  # what worked for a kind is likely to work for its next host

    def fill(self) -> dict[str, str]:
        while self._serve():
            pass
        return self.writes

    def _move(self, at: int, old: str | None, new: str) -> None:
        """A host of a kind leaves a key, or those who wait."""
        kind = self.kinds[at]
        host = (self.waiting[at] if old is None else self.where[old][at]).pop()
        self.where[new].setdefault(at, []).append(host)
        leaves = kind.holds if old is None else old
        if leaves is not None:
            self.room[leaves] += kind.units if old is None else kind.needs[old]
        self.room[new] -= kind.needs[new]
        self.writes.pop(host, None)  # the last write counts, also for the order
        if new != kind.holds:
            self.writes[host] = new

    def _serve(self) -> bool:
        """Serves as many as it can, those that take least first; of those, whoever gives most back."""
        served = False
        turn = sorted(
            (at for at, hosts in self.waiting.items() if hosts),
            key=lambda at: (min(self.kinds[at].needs.values()), -self.kinds[at].units, len(self.kinds[at].needs), at),
        )
        for at in turn:
            kind, waiting = self.kinds[at], self.waiting[at]
            while waiting:
                fits = [key for key, need in kind.needs.items() if need <= self.room[key]]
                if not fits:
                    break
                key = min(fits, key=lambda key: (self.keys[key].rank, self.room[key], key))
                while waiting and self.room[key] >= kind.needs[key]:
                    self._move(at, None, key)
                served = True
        turn = [at for at in turn if self.waiting[at]]
        reach = self._reach() if turn else {}
        hopeless: set[tuple[str, int, int]] = set()
        for at in turn:
            while self.waiting[at] and self._serve_by_moves(at, reach, hopeless):
                served = True
        return served

    def _reach(self) -> Room:
        """No more than this can be had of a key, whoever makes room: it spares looking where there is nothing."""
        reach = dict(self.room)
        staying: dict[int, set[str]] = {}
        for key, kinds in self.where.items():
            for at in (at for at, hosts in kinds.items() if hosts):
                staying.setdefault(at, set()).add(key)
        for _depth in range(DEPTH):
            leaving = []
            for at, places in staying.items():
                goals = [key for key, need in self.kinds[at].needs.items() if need <= reach[key]]
                leaving += [(at, key) for key in places if goals and goals != [key]]
            for at, key in leaving:
                staying[at].discard(key)
                reach[key] += self.kinds[at].needs[key] * len(self.where[key][at])
            if not leaving:
                break
        return reach

    def _serve_by_moves(self, at: int, reach: Room, hopeless: set[tuple[str, int, int]]) -> bool:
        goals = [(key, need) for key, need in self.kinds[at].needs.items() if need <= reach[key]]
        ways = [(key, need, depth) for depth in range(DEPTH + 1) for key, need in goals]
        if at in self.lately:
            ways.insert(0, self.lately[at])
        for way in ways:
            if way not in hopeless and self._make_room(*way, (), reach):
                self._move(at, None, way[0])
                self.lately[at] = way
                hopeless.clear()
                return True
            hopeless.add(way)
        return False

    def _make_room(self, key: str, need: int, depth: int, path: tuple[str, ...], reach: Room) -> bool:
        """Moves hosts away until there is room, or moves none. Nobody goes to a key on the path, where room is being made."""
        if self.room[key] >= need:
            return True
        if not depth or reach[key] < need:
            return False
        mark, path = len(self.done), (*path, key)
        for at in self._movable(key, need - self.room[key]):
            while self.where[key][at] and self.room[key] < need:
                goal = self._goal(at, depth - 1, path, reach)
                if goal is None:
                    break
                self._move(at, key, goal)
                self.done.append((at, key, goal))
            if self.room[key] >= need:
                return True
        while len(self.done) > mark:
            at, came_from, went_to = self.done.pop()
            self._move(at, went_to, came_from)
        return False

    def _movable(self, key: str, lacking: float) -> list[int]:
        """Who was moved before first, as that is no more moves; then who alone makes room, with least to spare."""
        kinds = [
            (at, self.kinds[at]) for at, hosts in self.where[key].items() if hosts and (self.bold or self.kinds[at].holds in (None, key))
        ]
        kinds.sort(key=lambda each: (each[1].holds == key, each[1].needs[key] < lacking, abs(each[1].needs[key] - lacking), each[0]))
        return [at for at, _kind in kinds]

    def _goal(self, at: int, depth: int, path: tuple[str, ...], reach: Room) -> str | None:
        """Where a host can go, others having made room if need be."""
        for deep in (0, depth) if depth else (0,):
            for key, need in self.kinds[at].needs.items():
                self.steps -= 1
                if self.steps < 0:
                    return None
                if key not in path and (self.room[key] >= need or (deep and self._make_room(key, need, deep, path, reach))):
                    return key
        return None


# ---- the order ---------------------------------------------------------------------------------------------------------


def _ordered(
    keys: Mapping[str, Pooled], needs: Mapping[str, Mapping[str, int]], held: Held, writes: Mapping[str, str]
) -> list[tuple[str, str]] | None:
    """An order in which the writes can be made, the one given if possible; None: none was found.

    Who gives nothing back comes last, as it is in nobody's way there.
    """
    first = [host for host in writes if held[host][0] is not None]
    last = [host for host in writes if held[host][0] is None]
    for _attempt in range(ATTEMPTS):
        room, order = _room(keys, held), list[tuple[str, str]]()
        stuck = _made(first, room, order, needs, held, writes)
        if not stuck:
            return None if _made(last, room, order, needs, held, writes) else order
        behind = set(stuck)  # others took what they needed: next time they come before those
        first = stuck + [host for host in first if host not in behind]
    return None


def _made(
    pending: list[str],
    room: Room,
    order: list[tuple[str, str]],
    needs: Mapping[str, Mapping[str, int]],
    held: Held,
    writes: Mapping[str, str],
) -> list[str]:
    """Makes writes while there is one that can be made. Answers with the rest."""
    while pending:
        stuck = []
        for host in pending:
            new, (old, units) = writes[host], held[host]
            if room[new] < needs[host][new]:
                stuck.append(host)
                continue
            room[new] -= needs[host][new]
            if old is not None:
                room[old] += units
            order.append((host, new))
        if len(stuck) == len(pending):
            break
        pending = stuck
    return pending


def _after(
    keys: Mapping[str, Pooled], needs: Mapping[str, Mapping[str, int]], held: Held, order: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, ...]]:
    """Who waits for whom. Each unit that is taken is one that was free, or one that a certain other host gives back.

    No unit is promised twice, so the order among those who do not wait does not matter. Of a key that was used beyond its limit
    what is given back is nobody's until it is within; all who take of it afterwards wait for that too.
    """
    room = _room(keys, held)
    given: dict[str, deque[tuple[str | None, float]]] = {key: deque([(None, left)] if left > 0 else []) for key, left in room.items()}
    over = {key: max(0, -left) for key, left in room.items()}
    redeemed: dict[str, list[str]] = {key: [] for key in keys}
    after = {}
    for host, new in order:
        waits = set(redeemed[new])
        need: float = needs[host][new]
        while need > 0:
            giver, units = given[new].popleft()
            if giver is not None:
                waits.add(giver)
            if units > need:
                given[new].appendleft((giver, units - need))
            need -= units
        if waits:
            after[host] = tuple(sorted(waits))
        old, back = held[host]
        if old is not None:
            if over[old] > 0:
                redeemed[old].append(host)
            over[old], spare = max(0, over[old] - back), back - over[old]
            if spare > 0:
                given[old].append((host, spare))
    return after

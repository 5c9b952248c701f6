# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves, max_failures, verify_reachable and backup: how far a run goes, when it stops, and what it takes back."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Sent
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    BadInput,
    CutOff,
    EndpointUnreachable,
    FleetcareError,
    PermissionMissing,
    ServerFault,
    TimedOut,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Finding, Plan, described
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import pipeline, way_back
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import run as door
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import HOSTS as TARGETS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.waves import Progress, Waves
from tests.unit.domain.makers import USUAL
from tests.unit.module.test_pipeline import PARAMS, PATH, Add, FakeSession, Numbers, World, statuses, target

# ---- sizes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "1.5", "ten", "", "%", "1 0", "٣", "1e3", "10%%", None])
def test_a_wave_that_is_no_number_is_refused_with_its_place(text: Any) -> None:
    with pytest.raises(BadInput, match="waves entry 2, ") as caught:
        Waves.parse({"waves": [1, text]})
    assert "[1, 10%, 100%]" in caught.value.hint


def test_the_first_host_that_fails_ends_waves_unless_max_failures_says_otherwise() -> None:
    assert Waves.parse({"waves": [1]}).max_failures == 0 == Waves.parse({"waves": None, "max_failures": 0}).max_failures
    assert Waves.parse({"waves": [1], "max_failures": 3}).max_failures == 3
    assert Waves.parse({}).max_failures is None
    with pytest.raises(BadInput, match="max_failures -1"):
        Waves.parse({"max_failures": -1})


def cut(waves: list[Any], count: int, total: int | None = None) -> list[int]:
    return [len(wave) for wave in Waves.parse({"waves": waves}).over(range(count), count if total is None else total)]


@pytest.mark.parametrize(
    ("waves", "count", "total", "sizes"),
    [
        ([1, "10%", "100%"], 100, 100, [1, 10, 89]),
        ([1, " 10 % ", "100%"], 3, 30, [1, 2]),
        ([1, 2], 10, 10, [1, 2]),
        (["1%"], 5, 5, [1]),
        (["7%"], 100, 100, [7]),
        (["55%"], 100, 100, [55]),
        (["50%", "50%"], 5, 5, [3, 2]),
        ([5, "100%"], 3, 3, [3]),
        ([1, "100%"], 0, 9, []),
        ([], 4, 9, [4]),
    ],
)
def test_hosts_are_cut_into_waves(waves: list[Any], count: int, total: int, sizes: list[int]) -> None:
    assert cut(waves, count, total) == sizes


@USUAL
@given(st.lists(st.integers(1, 60) | st.integers(1, 100).map("{}%".format), max_size=5), st.integers(0, 120), st.integers(0, 80))
def test_waves_are_the_hosts_in_their_order_and_none_is_larger_than_it_says(waves: list[Any], count: int, others: int) -> None:
    items, total = list(range(count)), count + others
    found = list(Waves.parse({"waves": waves}).over(items, total))
    assert [item for wave in found for item in wave] == items[: sum(map(len, found))]
    assert all(found)
    if not waves:
        assert found == ([items] if items else [])
    left = count
    for size, wave in zip(waves, found, strict=False):
        most = size if isinstance(size, int) else -(-int(size[:-1]) * total // 100)  # rounded up, without fractions
        assert len(wave) == min(most, left), (size, total)
        left -= len(wave)


# ---- runs ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class To:
    """A step back: it says how it shall be, so it may be said again."""

    number: int

    def applied_to(self, state: int) -> int:
        return self.number

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass
class Fleet(World):
    """A world that writes down in which order it was read, written and looked at.

    ``lost``: hosts that cannot be reached, and what is seen, while they are not as they were; ``back`` False: for good.
    ``shut``: hosts that take no new connection whatever is done.
    """

    log: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    shut: str = ""
    back: bool = True
    looks: list[tuple[str, str]] = field(default_factory=list)
    on_look: Callable[[int], None] = lambda count: None
    reconnects: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before = dict(self.numbers)
        self.away: set[str] = set()

    def note(self, text: str) -> None:
        if self.log[-1:] != [text]:
            self.log.append(text)

    def apply(self, session: Any, target: Target, row: Row, change: Any) -> None:
        name = target.name
        if not session.rescue:
            session.guard.check()
        self.log.append(f"{name}{change.step:+}" if isinstance(change, Add) else f"{name}={change.number}")
        sent = Sent(target.path, "Add")
        session.sent.append(sent)
        self.written.append((name, getattr(change, "step", 0)))
        problem = self.on_write(name, len([one for one in self.written if one[0] == name]))
        if problem is None or self.lose_write:
            self.numbers[name] = change.applied_to(self.numbers[name])
        sent.outcome = problem.kind if problem else "done"
        if problem:
            raise problem

    def collect(self, _session: Any, refs: Any, _paths: Any, _known: Any = None, *_more: Any, **_kw: Any) -> dict[Any, Row]:
        self.log.append(f"read {''.join(ref.id for ref in refs)}")
        return super().collect(_session, refs, _paths, _known)

    def look(self, _session: Any, targets: Any, _parallel: int, *, anew: Any = ()) -> dict[Target, str]:
        names = "".join(one.name for one in targets)
        self.looks.append((names, "".join(sorted(one.name for one in anew))))
        self.note(f"look {names}")
        self.on_look(len(self.looks))
        lost = {}
        for one in targets:
            if one.name in self.lost and (self.numbers[one.name] != self.before[one.name] or one.name in self.away):
                lost[one] = self.lost[one.name]
                self.away |= set() if self.back else {one.name}
            elif one.name in self.shut and one in anew:
                lost[one] = "takes no new connection"
        return lost

    def reconnect(self, _session: Any, targets: list[Target], _parallel: int, _seconds: float) -> None:
        self.reconnects += [target.name for target in targets]


class Session(FakeSession):
    rescue = False
    is_vcenter = True
    endpoint = SimpleNamespace(name="vc.example.com")

    @contextlib.contextmanager
    def rescuing(self) -> Iterator[None]:
        self.rescue = True
        yield
        self.rescue = False


def undo(observed: int, made: Any) -> list[To]:
    """Last first."""
    return [To(observed + sum(change.step for change in made[:count])) for count in reversed(range(len(made)))]


class Recorded(Numbers):
    """Takes a record, too: a number for all."""

    @staticmethod
    def parse(params: Mapping[str, Any]) -> int:
        return int(params["restore"]["hosts"][0]) if params.get("restore") else int(params["number"])


Go = Callable[..., dict[str, Any]]
pause = Guard.pause
V = 0.03
LOST = "is notResponding in vCenter"


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Go:
    def run(
        fleet: Fleet,
        wanted: int = 2,
        *,
        guard: Guard | None = None,
        check: bool = False,
        undoes: bool = True,
        domain: Any = None,
        diff: bool = False,
        **params: Any,
    ) -> dict[str, Any]:
        monkeypatch.setattr(pipeline, "collect", fleet.collect)
        monkeypatch.setattr(pipeline, "READ_BACK_PAUSES", (0.0, 0.0))
        monkeypatch.setattr(pipeline, "Session", Session)
        monkeypatch.setattr(pipeline, "Guard", lambda deadline: guard or Guard(deadline))
        kind = replace(TARGETS, select=lambda _session, _selection: [target(name) for name in fleet.numbers])
        monkeypatch.setattr(Guard, "watch", lambda _self: None)
        monkeypatch.setattr(Guard, "pause", lambda self, seconds: pause(self, min(seconds, 0.005)))
        monkeypatch.setattr(way_back, "GRACE", 0.05)
        monkeypatch.setattr(way_back, "_PAUSE", 0.005)
        monkeypatch.setattr(way_back, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: None))
        monkeypatch.setattr(way_back.reach, "look", fleet.look)
        monkeypatch.setattr(way_back.reach, "reconnect", fleet.reconnect)
        feature = Feature(
            targets=kind,
            domain=cast(Any, domain or Recorded),
            translation=cast(Any, fleet),
            options={},
            undo=undo if undoes else None,
            record=lambda state: {"number": state},
            record_form="fleetcare.esxi number record 1",
        )
        outcome = pipeline.execute(feature, {**PARAMS, "parallel": 1, "number": wanted, **params}, check=check, in_process=True)
        return door.result_of(outcome, with_diff=diff)

    return run


def fleet(names: str = "abcd", bad: str = "", **fields: Any) -> Fleet:
    """Hosts of one letter; a write to one in ``bad`` is refused."""
    return Fleet(dict.fromkeys(names, 1), on_write=lambda host, _count: ServerFault("refused") if host in bad else None, **fields)


def causes(result: dict[str, Any]) -> dict[str, str]:
    return {name: entry["failure"]["cause"] for name, entry in result["hosts"].items() if entry["failure"]}


def test_each_wave_is_read_back_before_the_next_is_written(go: Go) -> None:
    world = fleet("abcde")
    result = go(world, waves=[1, "40%", "100%"])
    assert world.log == ["read abcde", "a+1", "read a", "read bc", "b+1", "c+1", "read bc", "read de", "d+1", "e+1", "read de"]
    assert set(statuses(result).values()) == {"changed"}
    assert [(wave["hosts"], wave["changed"], wave["failed"]) for wave in result["waves"]] == [(1, 1, 0), (2, 2, 0), (2, 2, 0)]


def test_waves_count_only_hosts_that_change_and_shares_are_of_all_selected(go: Go) -> None:
    world = Fleet({"a": 2, "b": 1, "c": 2, "d": 1, "e": 1})
    result = go(world, waves=["20%", "40%"])
    assert [wave["hosts"] for wave in result["waves"]] == [1, 2]
    assert statuses(result) == {"a": "compliant", "b": "changed", "c": "compliant", "d": "changed", "e": "changed"}


def test_after_a_wave_with_a_failure_no_further_one_is_begun(go: Go) -> None:
    world = fleet("abcd", bad="a")
    result = go(world, waves=[1, "100%"])
    assert statuses(result) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert {name for name, _step in world.written} == {"a"}
    assert causes(result)["b"] == "not started, because 1 failed (a) and max_failures is 0"
    assert result["waves"] == [{"hosts": 1, "changed": 0, "failed": 1, "failed_hosts": ["a"]}]


def test_within_a_wave_too_no_host_is_begun_after_too_many_failed(go: Go) -> None:
    world = fleet("abcdef", bad="bd")
    result = go(world, max_failures=1)
    assert statuses(result) == {"a": "changed", "b": "failed", "c": "changed", "d": "failed", "e": "skipped", "f": "skipped"}
    assert "2 failed (b and others) and max_failures is 1" in causes(result)["f"]
    assert "waves" not in result


def test_failures_of_earlier_waves_count(go: Go) -> None:
    """max_failures is about the run: as soon as more hosts have failed, no further host is begun."""
    world = fleet("abcdef", bad="abc")
    result = go(world, waves=[1, "100%"], max_failures=1)
    assert statuses(result) == {"a": "failed", "b": "failed", "c": "skipped", "d": "skipped", "e": "skipped", "f": "skipped"}
    assert {name for name, _step in world.written} == {"a", "b"}


def test_without_max_failures_and_waves_every_host_is_tried(go: Go) -> None:
    assert statuses(go(fleet("abc", bad="ab"))) == {"a": "failed", "b": "failed", "c": "changed"}


def test_hosts_that_no_wave_has_room_for_are_skipped_and_untouched(go: Go) -> None:
    world = fleet("abc")
    result = go(world, waves=[1])
    assert statuses(result) == {"a": "changed", "b": "skipped", "c": "skipped"} and world.numbers == {"a": 2, "b": 1, "c": 1}
    assert causes(result)["c"] == "not started, because no wave has room for it"


def test_a_host_that_forgets_its_change_ends_the_waves(go: Go) -> None:
    """Nothing was refused; only reading back shows it."""
    world = fleet("ab")
    world.on_write = lambda host, _count: world.numbers.update({host: 0})  # and the write makes it 1 again
    result = go(world, waves=[1, "100%"])
    assert statuses(result) == {"a": "failed", "b": "skipped"} and result["hosts"]["a"]["failure"]["kind"] == "not_converged"


def test_a_run_that_is_stopped_tells_why_the_others_were_not_started(go: Go) -> None:
    guard = Guard()
    world = fleet("abc")
    world.after_read = lambda _me, count: guard.stop("a test says so") if count == 2 else None
    result = go(world, waves=[1, 1, 1], guard=guard)
    assert statuses(result) == {"a": "changed", "b": "skipped", "c": "skipped"}
    assert causes(result) == dict.fromkeys("bc", "not started, because a test says so")


@pytest.mark.parametrize("check", [True, False])
def test_held_back_hosts_were_meant_so_they_fail_no_task_and_count_as_no_change(check: bool, go: Go) -> None:
    world = fleet("abc")
    result = go(world, check=check, waves=[1], diff=True)
    assert statuses(result) == {"a": "would_change" if check else "changed", "b": "skipped", "c": "skipped"}
    held = result["hosts"]["b"]
    assert held["failure"]["kind"] == "held_back" and held["changed"] is False and held["changes"] == []
    assert held["not_done"] == [{"change": "add", "step": 1}]
    assert result["diff"] == {"before": {"a": {"number": 1}}, "after": {"a": {"number": 2}}}
    assert door._was_meant(held) and not door._was_meant(result["hosts"]["a"])


def test_a_check_writes_no_progress_and_no_record(go: Go, tmp_path: Path) -> None:
    world = fleet("abc")
    progress = tmp_path / "progress"
    result = go(world, check=True, waves=[1, "100%"], progress_file=str(progress), backup=True, backup_dir=str(tmp_path / "b"))
    assert set(statuses(result).values()) == {"would_change"} and world.written == []
    assert "waves" not in result and "backup_file" not in result and list(tmp_path.iterdir()) == []


def test_a_lost_answer_is_no_failure_before_it_is_read_back(go: Go) -> None:
    world = Fleet(dict.fromkeys("abc", 1), on_write=lambda host, _n: TimedOut("no answer") if host == "a" else None, lose_write=True)
    assert set(statuses(go(world, max_failures=0)).values()) == {"changed"}
    kept = Fleet(dict.fromkeys("abc", 1), on_write=lambda host, _n: TimedOut("no answer") if host == "a" else None)
    assert statuses(go(kept, waves=[1, 1, 1])) == {"a": "failed", "b": "skipped", "c": "skipped"}


class Unlucky(Recorded):
    """Host a, which is at 3 or over, has a trouble that no write mends."""

    @staticmethod
    def plan(state: int, wanted: int, seen: Any) -> Plan:
        made = Numbers.plan(state, wanted, 0)
        trouble = (Finding("error", "unlucky", "is wrong", "See to it."),) if state >= 3 else ()
        return Plan(observed=made.observed, changes=made.changes, findings=(*made.findings, *trouble))


def test_hosts_that_end_with_a_trouble_that_nothing_mends_have_failed(go: Go) -> None:
    """Not before they were begun: whoever has a trouble before and after is written, and then ends the waves."""
    world = Fleet({"a": 3, "b": 1, "c": 1})
    result = go(world, 4, domain=Unlucky, waves=[1, 1, 1])
    assert statuses(result) == {"a": "failed", "b": "skipped", "c": "skipped"}, causes(result)
    assert world.numbers == {"a": 4, "b": 1, "c": 1}
    assert causes(result)["b"] == "not started, because 1 failed (a) and max_failures is 0"


@pytest.mark.parametrize("first", ["trouble", "lost answer"])
def test_failures_of_earlier_waves_count_while_the_next_is_written_whatever_they_were(first: str, go: Go) -> None:
    def on_write(host: str, _count: int) -> FleetcareError | None:
        if host == "a":
            return TimedOut("no answer") if first == "lost answer" else None
        return ServerFault("refused") if host == "b" else None

    world = Fleet({"a": 1, "b": 1, "c": 1}, on_write=on_write)
    result = go(world, 3, domain=Unlucky if first == "trouble" else Recorded, waves=[1, "100%"], max_failures=1)
    assert statuses(result) == {"a": "failed", "b": "failed", "c": "skipped"}, "two have failed before c is begun"


def test_a_trouble_that_shows_after_a_write_ends_the_waves(go: Go) -> None:
    result = go(Fleet({"a": 2, "b": 2, "c": 2}), 3, domain=Unlucky, waves=[1, "100%"])
    assert statuses(result) == {"a": "failed", "b": "skipped", "c": "skipped"} and result["waves"][0]["failed_hosts"] == ["a"]


def test_what_is_found_of_the_plan_itself_stays_open_after_it_was_carried_out(go: Go) -> None:
    class Telling(Recorded):
        @staticmethod
        def plan(state: int, wanted: int, seen: Any) -> Plan:
            changes = Numbers.plan(state, wanted, 0).changes
            found = (
                Finding("warning", "risky", "it is risky", "Mind it.", lasting=True),
                Finding("warning", "off", "it is off", "Run it."),
            )
            return Plan(observed=state, changes=changes, findings=found if changes else ())

    for check, mended in ((True, "would_repair"), (False, "repaired")):
        found = go(fleet("a"), domain=Telling, check=check)["hosts"]["a"]["findings"]
        assert {one["code"]: one["status"] for one in found} == {"risky": "open", "off": mended}


# ---- later waves -------------------------------------------------------------------------------------------------------------


def test_a_later_wave_is_planned_anew_from_what_is_read_then(go: Go) -> None:
    def meanwhile(world: World, count: int) -> None:
        if count == 2:  # wave 1 was read back
            world.numbers.update(b=3, c=2)

    world = fleet("abc", after_read=meanwhile)
    result = go(world, 3, waves=[1, "100%"])
    assert world.log == ["read abc", "a+1", "a+1", "read a", "read bc", "c+1", "read c"]
    assert statuses(result) == {"a": "changed", "b": "compliant", "c": "changed"} and set(world.numbers.values()) == {3}
    assert result["hosts"]["b"]["changes"] == [] and result["hosts"]["c"]["changes"] == [{"change": "add", "step": 1}]


def test_a_host_of_a_later_wave_that_cannot_be_read_any_more_is_told_and_not_written(go: Go) -> None:
    def meanwhile(world: World, count: int) -> None:
        if count == 2:
            world.missing["b"] = {PATH: "NoPermission"}

    world = fleet("abcd", after_read=meanwhile)
    result = go(world, waves=[1, 2, 1], max_failures=1)
    assert statuses(result) == {"a": "changed", "b": "failed", "c": "changed", "d": "changed"}
    assert result["hosts"]["b"]["failure"]["kind"] == "permission_missing" and "b" not in {name for name, _step in world.written}
    assert result["waves"][1] == {"hosts": 2, "changed": 1, "failed": 1, "failed_hosts": ["b"]}


@pytest.mark.parametrize("problem", [EndpointUnreachable("vCenter is gone"), PermissionMissing("no"), KeyError("surprise")])
def test_when_a_later_wave_cannot_be_read_at_all_it_is_not_begun_and_nothing_written_is_hidden(problem: Exception, go: Go) -> None:
    def meanwhile(_world: World, count: int) -> None:
        if count == 3:
            raise problem

    world = fleet("abc", after_read=meanwhile)
    result = go(world, waves=[1, 1, 1])
    assert statuses(result) == {"a": "changed", "b": "skipped", "c": "skipped"} and world.numbers == {"a": 2, "b": 1, "c": 1}
    assert "it could not be prepared" in causes(result)["c"] and len(result["waves"]) == 1


# ---- progress ------------------------------------------------------------------------------------------------------------


def test_a_line_a_wave_is_appended(go: Go, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    path.write_text("before\n", encoding="utf-8")
    go(fleet("abcd", bad="b"), waves=[1, 2, "100%"], max_failures=9, progress_file=str(path))
    assert path.read_text(encoding="utf-8").splitlines() == [
        "before",
        "wave 1 of 3: 1 host, 1 changed, 0 failed; 3 to go",
        "wave 2 of 3: 2 hosts, 1 changed, 1 failed; 1 to go",
        "wave 3 of 3: 1 host, 1 changed, 0 failed; 0 to go",
    ]


def test_a_progress_file_that_cannot_be_written_ends_a_run_before_any_connection(go: Go, tmp_path: Path) -> None:
    world = fleet("a")
    with pytest.raises(BadInput, match="progress_file"):
        go(world, waves=[1], progress_file=str(tmp_path / "no" / "such"))
    assert world.log == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_disk_that_fills_up_ends_no_run(go: Go) -> None:
    Progress("/dev/full").say("a line")
    assert statuses(go(fleet("ab"), waves=[1, 1], progress_file="/dev/full")) == {"a": "changed", "b": "changed"}


# ---- verify_reachable ------------------------------------------------------------------------------------------------------


def test_hosts_are_seen_before_they_are_written_read_back_and_then_watched_wave_by_wave(go: Go) -> None:
    world = Fleet({"a": 1, "b": 2, "c": 1})
    began = time.monotonic()
    go(world, waves=[1, "100%"], verify_reachable=V)
    assert time.monotonic() - began >= 2 * V
    one = ["look a", "a+1", "read a", "look a"]
    assert world.log == ["read abc", *one, "read c", *[text.replace("a", "c").replace("recd", "read") for text in one]]


def test_new_connections_are_tried_before_the_writes_and_at_the_first_and_the_last_look(go: Go) -> None:
    world = fleet("ab")
    go(world, verify_reachable=V)
    assert len(world.looks) > 4 and [anew for _names, anew in world.looks] == ["ab", "ab", *[""] * (len(world.looks) - 3), "ab"]


@pytest.mark.parametrize(("seconds", "undoes"), [(0.0, True), (None, True), (5.0, False)])
def test_nothing_is_watched_where_nobody_asked_or_nothing_could_be_taken_back(seconds: Any, undoes: bool, go: Go) -> None:
    world = fleet("a", lost={"a": LOST})
    assert statuses(go(world, verify_reachable=seconds, undoes=undoes)) == {"a": "changed"} and world.looks == []


def test_a_host_that_takes_no_new_connection_before_the_writes_is_not_judged_by_it(go: Go) -> None:
    world = fleet("ab", shut="a")
    assert statuses(go(world, verify_reachable=V)) == {"a": "changed", "b": "changed"}
    assert world.looks[0] == ("ab", "ab") and all("a" not in anew for _names, anew in world.looks[1:])


def test_a_host_that_took_no_new_connection_before_is_still_judged_by_its_state(go: Go) -> None:
    world = fleet("ab", shut="a", lost={"a": LOST})
    result = go(world, verify_reachable=V)
    assert statuses(result) == {"a": "failed", "b": "changed"} and world.numbers == {"a": 1, "b": 2}
    assert result["hosts"]["a"]["failure"]["kind"] == "cut_off"


def test_a_host_that_takes_no_new_connection_after_the_writes_is_lost(go: Go) -> None:
    world = fleet("ab")
    world.on_look = lambda count: setattr(world, "shut", "a" if world.numbers["a"] == 2 else "")
    result = go(world, verify_reachable=V)
    assert "takes no new connection" in causes(result)["a"] and world.numbers == {"a": 1, "b": 2}


def test_what_cut_a_host_off_is_taken_back_last_first_and_told(go: Go) -> None:
    world = Fleet({"a": 1, "b": 1}, lost={"a": LOST})
    result = go(world, 3, verify_reachable=V)
    written = ["read ab", "look ab", "a+1", "a+1", "b+1", "b+1", "read ab"]
    assert world.log == [*written, "look ab", "a=2", "a=1", "look a", "look b", "read a"]
    assert statuses(result) == {"a": "failed", "b": "changed"} and world.numbers == {"a": 1, "b": 3}
    entry = result["hosts"]["a"]
    assert entry["failure"]["kind"] == "cut_off"
    assert entry["failure"]["cause"] == (
        "after 2 changes it is notResponding in vCenter; everything was taken back and it is reachable again"
    )
    assert entry["undone"] == [{"change": "to", "number": 2}, {"change": "to", "number": 1}]
    assert entry["changes"] == [] and entry["changed"] is False
    assert len(entry["not_done"]) == 2 and "undone" not in result["hosts"]["b"]


def test_a_host_that_is_lost_at_the_very_end_is_taken_back(go: Go) -> None:
    """What blocked heartbeats do shows late: the last look comes after the time is over."""
    world = fleet("a")
    began: list[float] = []

    def late(_count: int) -> None:
        if world.numbers["a"] == 2:
            began.append(time.monotonic())
            if time.monotonic() - began[0] >= V:
                world.lost["a"] = LOST

    world.on_look = late
    assert "taken back" in causes(go(world, verify_reachable=V))["a"] and world.numbers == {"a": 1}


def test_a_host_that_is_cut_off_ends_the_waves(go: Go) -> None:
    world = fleet("abc", lost={"a": "takes no new connection"})
    assert statuses(go(world, waves=[1, "100%"], verify_reachable=V)) == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert world.numbers == {"a": 1, "b": 1, "c": 1}


def test_a_host_that_stays_away_is_told_with_what_to_do_at_its_console(go: Go) -> None:
    result = go(fleet("a", lost={"a": LOST}, back=False), verify_reachable=V)
    failure = result["hosts"]["a"]["failure"]
    assert "everything was taken back and it is still not reachable" in failure["cause"] and "console" in failure["hint"]


@pytest.mark.parametrize("when", ["first look", "while writing back"])
def test_all_lost_hosts_are_taken_back_one_after_the_other_although_the_run_has_to_stop(when: str, go: Go) -> None:
    guard = Guard()
    world = fleet("abcd", lost=dict.fromkeys("abc", LOST))

    def stop(count: int) -> None:
        if count == 2 and when == "first look":
            guard.stop("the deadline has passed")

    def back(_host: str, count: int) -> None:
        if count == 2:
            guard.stop("the deadline has passed")

    world.on_look, world.on_write = stop, back
    result = go(world, guard=guard, parallel=1, verify_reachable=5.0)
    assert world.numbers == {"a": 1, "b": 1, "c": 1, "d": 2} and world.reconnects == ["a", "b", "c"]
    for name in "abc":
        assert result["hosts"][name]["failure"]["kind"] == "cut_off" and not result["hosts"][name]["changed"]
        assert "everything was taken back" in causes(result)[name]
    assert result["hosts"]["d"]["failure"]["kind"] == "unverified" and result["hosts"]["d"]["changed"]
    assert "the deadline has passed" in causes(result)["d"]


def test_every_lost_host_is_known_as_cut_off_before_the_first_step_back_and_they_are_waited_for_together(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fleet("abc", lost=dict.fromkeys("abc", LOST))
    watched: list[Any] = []
    after = way_back.WayBack.after

    def spy(self: Any, entries: Any) -> Any:
        watched.extend(entries)
        return after(self, entries)

    def known(count_of_host: str, count: int) -> None:
        if count == 2:
            assert all(isinstance(one.failure, CutOff) and not one.read_back for one in watched)

    monkeypatch.setattr(way_back.WayBack, "after", spy)
    world.on_write = known
    result = go(world, parallel=1, verify_reachable=V)
    assert world.log[-6:] == ["look abc", "a=1", "b=1", "c=1", "look abc", "read abc"], "no waiting in between"
    assert {entry["failure"]["kind"] for entry in result["hosts"].values()} == {"cut_off"}


def test_a_run_stopped_before_the_time_is_over_looks_once_more_with_new_connections(go: Go) -> None:
    guard = Guard()
    world = fleet("abc")

    def stop(count: int) -> None:
        if count == 3:
            world.lost["a"] = "takes no new connection"
            world.numbers["a"] = 2
            world.away.clear()
            guard.stop("signal SIGTERM was received")

    world.on_look = stop
    result = go(world, guard=guard, verify_reachable=5.0)
    assert world.numbers == {"a": 1, "b": 2, "c": 2}
    assert [names for names, anew in world.looks[3:] if set(names) <= set(anew)][-1] == "bc", "a last look, with new connections"
    assert {name: entry["failure"]["kind"] for name, entry in result["hosts"].items()} == {
        "a": "cut_off",
        "b": "unverified",
        "c": "unverified",
    }
    assert statuses(result)["b"] == "failed" and result["hosts"]["b"]["changed"] and result["hosts"]["b"]["changes"]
    assert "was not watched to the end, because signal SIGTERM was received" in causes(result)["b"]


def test_after_the_last_look_taking_back_makes_no_watching_of_what_was_cut_short(go: Go) -> None:
    guard = Guard()
    world = fleet("ab", lost={})

    def stop(count: int) -> None:
        if count == 2:
            guard.stop("the deadline has passed")
        if count == 3:
            world.lost["a"] = LOST

    world.on_look = stop
    world.on_write = lambda host, count: time.sleep(0.3) if (host, count) == ("a", 2) else None
    result = go(world, guard=guard, verify_reachable=0.2)
    assert {name: (entry["failure"] or {}).get("kind") for name, entry in result["hosts"].items()} == {"a": "cut_off", "b": "unverified"}


@pytest.mark.parametrize(("problem", "tries"), [(TimedOut, 3), (EndpointUnreachable, 3), (ServerFault, 1), (PermissionMissing, 1)])
@pytest.mark.parametrize("bad", ["a=3", "a=2", "a=1"])
def test_every_step_back_is_tried_and_only_lost_connections_are_tried_again(
    bad: str, problem: type[FleetcareError], tries: int, go: Go
) -> None:
    world = Fleet({"a": 1}, lost={"a": LOST})
    world.on_write = lambda _host, _count: problem("it says no") if world.log[-1] == bad else None
    entry = go(world, 4, verify_reachable=V)["hosts"]["a"]
    steps = [text for text in world.log if "=" in text]
    assert steps == [text for text in ("a=3", "a=2", "a=1") for _try in range(tries if text == bad else 1)]
    assert len(entry["undone"]) == 2
    if bad == "a=1":
        assert world.numbers == {"a": 2} and entry["changed"] is True
        assert "it could not be taken back: it says no" in entry["failure"]["cause"] and "console" in entry["failure"]["hint"]
    else:
        assert world.numbers == {"a": 1} and entry["changed"] is False and "everything was taken back" in entry["failure"]["cause"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_step_back_whose_answer_is_lost_is_made_with_the_next_try(failing: int, go: Go) -> None:
    world = Fleet({"a": 1}, lost={"a": LOST})
    world.on_write = lambda _host, count: EndpointUnreachable("lost") if 1 < count < 2 + failing else None
    entry = go(world, verify_reachable=V)["hosts"]["a"]
    assert entry["undone"] == [{"change": "to", "number": 1}] and world.numbers == {"a": 1} and entry["changed"] is False


@pytest.mark.parametrize("problem", [TimedOut, EndpointUnreachable])
@pytest.mark.parametrize("made", [True, False])
def test_when_all_answers_to_the_way_back_are_lost_reading_back_tells(made: bool, problem: type[FleetcareError], go: Go) -> None:
    world = Fleet({"a": 1}, lost={"a": LOST})

    def lose(_host: str, count: int) -> FleetcareError | None:
        world.lose_write = made
        return problem("no answer") if count > 2 else None

    world.on_write = lose
    entry = go(world, 3, verify_reachable=V)["hosts"]["a"]
    failure = entry["failure"]
    assert failure["kind"] == "cut_off" and entry["status"] == "failed" and "undone" not in entry
    if made:
        assert "everything was taken back and it is reachable again" in failure["cause"] and "could not" not in failure["cause"]
        assert entry["changes"] == [] and entry["changed"] is False and entry["number"] == 1
        assert "console" not in failure["hint"] and "still be at it" not in failure["cause"]
    else:
        assert "it could not be taken back: no answer and it is still not reachable" in failure["cause"]
        assert entry["changed"] is True and len(entry["changes"]) == 2 and entry["number"] == 3 and "console" in failure["hint"]


def test_a_way_back_that_was_made_and_does_not_hold_is_told_as_that(go: Go) -> None:
    """Each step was answered, and it was read: nothing of "could not be read" is true."""
    world = Fleet({"a": 1}, lost={"a": LOST})
    collect = world.collect

    def other(*args: Any, **named: Any) -> Any:
        if "a=1" in world.log:
            world.numbers["a"] = 2  # somebody else's script
        return collect(*args, **named)

    world.collect = other  # type: ignore[method-assign]
    entry = go(world, verify_reachable=V)["hosts"]["a"]
    assert "it could not be taken back" in entry["failure"]["cause"] and "could not be read" not in entry["failure"]["cause"]
    assert entry["changed"] is True


def test_a_way_back_that_vcenter_learns_of_late_is_read_again(go: Go) -> None:
    """As after a write: what vCenter shows follows the host with a short delay."""
    world = Fleet({"a": 1}, lost={"a": LOST})
    late: list[int] = []
    collect = world.collect

    def stale(session: Any, refs: Any, *args: Any, **named: Any) -> Any:
        found = collect(session, refs, *args, **named)
        if any("=" in text for text in world.log) and not late:
            late.append(1)
            return {ref: Row(ref, {**row.values, PATH: 2}, row.missing) for ref, row in found.items()}
        return found

    world.collect = stale  # type: ignore[method-assign, assignment]
    entry = go(world, verify_reachable=V)["hosts"]["a"]
    assert "everything was taken back" in entry["failure"]["cause"] and entry["changed"] is False


def test_a_lost_host_that_cannot_be_read_back_is_told_as_not_taken_back(go: Go) -> None:
    world = Fleet({"a": 1}, lost={"a": LOST})

    def fail(_me: World, count: int) -> None:
        if count == 3:
            raise EndpointUnreachable("vCenter is gone")

    world.after_read = fail
    entry = go(world, verify_reachable=V)["hosts"]["a"]
    assert "it could not be taken back: what it has now could not be read" in entry["failure"]["cause"]
    assert entry["changed"] is True and "console" in entry["failure"]["hint"] and entry["undone"]


def test_a_change_whose_answer_was_lost_is_taken_back_too(go: Go) -> None:
    """It may have been made, and have been the one that cut the host off."""
    world = Fleet({"a": 1}, on_write=lambda _host, count: EndpointUnreachable("lost") if count == 2 else None, lose_write=True)
    world.lost = {"a": LOST}
    result = go(world, 4, verify_reachable=V)
    assert world.log[2:6] == ["a+1", "a+1", "read a", "read a"] and world.numbers == {"a": 1}
    assert [text for text in world.log if "=" in text][-1] == "a=1"
    assert "after 2 changes it" in causes(result)["a"] and result["hosts"]["a"]["changed"] is False


def test_a_change_whose_answer_timed_out_and_that_was_taken_back_is_not_told_as_still_under_way(go: Go) -> None:
    world = Fleet({"a": 1}, on_write=lambda _host, count: TimedOut("no answer") if count == 2 else None, lose_write=True)
    world.lost = {"a": LOST}
    entry = go(world, 4, verify_reachable=V)["hosts"]["a"]
    assert "everything was taken back" in entry["failure"]["cause"] and "still be at it" not in entry["failure"]["cause"]
    assert entry["changed"] is False


def test_a_change_whose_answer_was_lost_and_that_reads_back_as_done_is_watched(go: Go) -> None:
    world = Fleet({"a": 1, "b": 1}, on_write=lambda host, _n: TimedOut("no answer") if host == "a" else None, lose_write=True)
    assert set(statuses(go(world, verify_reachable=V)).values()) == {"changed"} and world.looks[-1] == ("ab", "ab")
    lost = Fleet({"a": 1, "b": 1}, on_write=lambda host, n: TimedOut("no answer") if host + str(n) == "a1" else None, lose_write=True)
    lost.lost = {"a": LOST}
    result = go(lost, verify_reachable=V)
    assert statuses(result) == {"a": "failed", "b": "changed"} and lost.numbers == {"a": 1, "b": 2}
    assert result["hosts"]["a"]["changed"] is False


@pytest.mark.parametrize("problem", [EndpointUnreachable, ServerFault, TimedOut])
@pytest.mark.parametrize("moment", ["before", "watching", "coming back"])
def test_a_look_that_fails_hides_nothing_of_what_was_written(moment: str, problem: type[FleetcareError], go: Go) -> None:
    """vCenter may go away in the minute in which hosts are watched: what was written has to be told all the same."""
    world = fleet("ab", lost={"a": "is gone"})

    def fail(count: int) -> None:
        if count == {"before": 1, "watching": 2, "coming back": 3}[moment]:
            raise problem("vCenter is gone")

    world.on_look = fail
    if moment == "before":
        with pytest.raises(problem):
            go(world, verify_reachable=V)
        assert world.written == []
        return
    result = go(world, verify_reachable=V)
    assert set(result["hosts"]) == {"a", "b"} and result["hosts"]["b"]["changed"]
    if moment == "coming back":
        assert result["hosts"]["a"]["failure"]["kind"] == "cut_off" and len(result["hosts"]["a"]["undone"]) == 1
        assert "taken back and it is reachable again" in causes(result)["a"] and statuses(result)["b"] == "changed"
    else:
        assert {entry["failure"]["kind"] for entry in result["hosts"].values()} == {"unverified"}, "it was asked for and not done"
        assert "vCenter is gone" in causes(result)["b"] and all(entry["changed"] for entry in result["hosts"].values())


def test_a_defect_of_ours_while_watching_hides_nothing_of_what_was_written(go: Go) -> None:
    world = fleet("ab")

    def fail(count: int) -> None:
        if count == 3:
            raise KeyError("surprise")

    world.on_look = fail
    result = go(world, verify_reachable=V)
    assert {entry["failure"]["kind"] for entry in result["hosts"].values()} == {"unverified"} and "KeyError" in causes(result)["a"]
    assert all(entry["changes"] for entry in result["hosts"].values())


def test_before_a_later_wave_a_look_that_fails_begins_nothing_more_and_hides_nothing(go: Go) -> None:
    world = fleet("abc")

    def fail(_count: int) -> None:
        if world.log[-1] == "look b":
            raise EndpointUnreachable("vCenter is gone")

    world.on_look = fail
    result = go(world, waves=[1, 1, 1], verify_reachable=V)
    assert statuses(result) == {"a": "changed", "b": "skipped", "c": "skipped"} and "vCenter is gone" in causes(result)["b"]


@pytest.mark.parametrize("seconds", [-1.0, 3601.0, float("nan")])
def test_a_time_to_verify_that_cannot_be_meant_is_refused(seconds: float, go: Go) -> None:
    with pytest.raises(BadInput, match="verify_reachable"):
        go(fleet("a"), verify_reachable=seconds)


@pytest.mark.parametrize(("seconds", "deadline"), [(60.0, 60.0), (61.0, 60.0), (3600.0, 60.0)])
def test_a_time_to_verify_that_does_not_end_before_the_deadline_is_refused(seconds: float, deadline: float, go: Go) -> None:
    world = fleet("a")
    with pytest.raises(BadInput, match="verify_reachable .* before the deadline") as caught:
        go(world, verify_reachable=seconds, deadline=deadline)
    assert world.log == [] and "deadline" in caught.value.hint


# ---- backup and restore ------------------------------------------------------------------------------------------------------


def test_the_state_before_a_wave_is_on_disk_before_its_first_write_in_one_file_a_run(go: Go, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def on_write(_host: str, _count: int) -> None:
        (path,) = tmp_path.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        seen.append([one["number"] for one in json.loads(path.read_text())["hosts"]])

    def meanwhile(world: World, count: int) -> None:
        if count == 2:
            world.numbers.update(c=6, d=2)

    world = Fleet({"a": 1, "b": 2, "c": 5, "d": 1, "e": 1}, on_write=on_write, after_read=meanwhile)
    result = go(world, waves=[1, 2], backup=True, backup_dir=str(tmp_path))
    (path,) = tmp_path.iterdir()
    assert result["backup_file"] == str(path)
    assert seen == [[1]] + [[1, 6]] * 4, "of those that are about to change, as they are then"


def test_a_record_that_cannot_be_written_anew_ends_the_run_before_the_wave_and_hides_nothing(go: Go, tmp_path: Path) -> None:
    folder = tmp_path / "records"

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        world = fleet("ab", after_read=lambda _me, count: patch.setattr(os, "fsync", full) if count == 2 else None)
        result = go(world, waves=[1, 1], backup=True, backup_dir=str(folder))
    assert statuses(result) == {"a": "changed", "b": "skipped"} and world.numbers == {"a": 2, "b": 1}
    assert "No space left on device" in causes(result)["b"]
    assert json.loads(Path(result["backup_file"]).read_text())["hosts"] == [{"number": 1}]


@pytest.mark.parametrize("params", [{"backup": False}, {"backup": True, "number": 1}])
def test_there_is_no_record_where_nobody_asked_or_nothing_changes(params: dict[str, Any], go: Go, tmp_path: Path) -> None:
    number = params.pop("number", 2)
    assert "backup_file" not in go(fleet("a"), number, backup_dir=str(tmp_path), **params) and list(tmp_path.iterdir()) == []


def test_no_host_is_written_when_the_record_cannot_be(go: Go, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    world = fleet("a")
    with pytest.raises(FleetcareError, match="so nothing more was changed") as caught:
        go(world, backup=True, backup_dir=str(tmp_path / "file"))
    assert world.written == [] and "backup_dir" in caught.value.hint


def test_a_record_is_read_before_any_connection_and_handed_to_the_domain(go: Go, tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text(json.dumps({"hosts": [4]}), encoding="utf-8")
    world = fleet("a")
    go(world, restore=str(path))
    assert world.numbers == {"a": 4}
    untouched = fleet("a")
    with pytest.raises(BadInput, match="restore"):
        go(untouched, restore=str(tmp_path / "none"))
    assert untouched.log == []

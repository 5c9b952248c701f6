# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves, max_failures, verify_reachable and backup: how far a run goes, when it stops, and what it takes back."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    BadInput,
    EndpointUnreachable,
    FleetcareError,
    ServerFault,
    TimedOut,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import run as door
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.waves import Progress, Waves
from tests.unit.domain.makers import USUAL
from tests.unit.module.test_pipeline import PARAMS, Add, FakeSession, Numbers, World, statuses, target

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


@dataclass
class Fleet(World):
    """A world that writes down in which order it was read, written and watched."""

    log: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    back: bool = True
    watched: list[tuple[list[str], float]] = field(default_factory=list)

    def apply(self, session: Any, target: Target, row: Row, change: Add) -> None:
        self.log.append(f"{target.name}{change.step:+}")
        if session.rescue:
            with_check, session.guard = session.guard, SimpleNamespace(check=lambda: None)
            try:
                super().apply(session, target, row, change)
            finally:
                session.guard = with_check
        else:
            super().apply(session, target, row, change)

    def collect(self, _session: Any, refs: Any, _paths: Any, _known: Any = None, *_more: Any, **_kw: Any) -> dict[Any, Row]:
        self.log.append(f"read {''.join(ref.id for ref in refs)}")
        return super().collect(_session, refs, _paths, _known)

    def watch(self, _session: Any, targets: Any, seconds: float, _parallel: int) -> Iterator[dict[Target, str]]:
        watched = list(targets)
        self.watched.append(([one.name for one in watched], seconds))
        self.log.append(f"watch {''.join(one.name for one in watched)}")
        lost = {one: self.lost[one.name] for one in watched if one.name in self.lost}
        if lost:
            yield lost

    def comes_back(self, _session: Any, one: Target, _seconds: float) -> bool:
        self.log.append(f"look for {one.name}")
        return self.back


class Session(FakeSession):
    rescue = False
    endpoint = SimpleNamespace(name="vc.example.com")

    @contextlib.contextmanager
    def rescuing(self) -> Iterator[None]:
        self.rescue = True
        yield
        self.rescue = False


def undo(observed: int, done: Any) -> list[Add]:
    return [Add(-change.step) for change in list(done)[::-1]]


class Recorded(Numbers):
    """Takes a record, too: a number for all."""

    @staticmethod
    def parse(params: Mapping[str, Any]) -> int:
        return int(params["restore"]["hosts"][0]) if params.get("restore") else int(params["number"])


Go = Callable[..., dict[str, Any]]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Go:
    def run(
        fleet: Fleet, wanted: int = 2, *, guard: Guard | None = None, check: bool = False, undoes: bool = True, **params: Any
    ) -> dict[str, Any]:
        monkeypatch.setattr(pipeline, "collect", fleet.collect)
        monkeypatch.setattr(pipeline, "_READ_BACK_PAUSES", (0.0, 0.0))
        monkeypatch.setattr(pipeline, "Session", Session)
        monkeypatch.setattr(pipeline, "Guard", lambda deadline: guard or Guard(deadline))
        monkeypatch.setattr(pipeline, "select_hosts", lambda _session, _selection: [target(name) for name in fleet.numbers])
        monkeypatch.setattr(Guard, "watch", lambda _self: None)
        monkeypatch.setattr(pipeline.reach, "watch", fleet.watch)
        monkeypatch.setattr(pipeline.reach, "comes_back", fleet.comes_back)
        monkeypatch.setattr(pipeline.reach, "reconnect", lambda *_args: None)
        feature = Feature(
            domain=cast(Any, Recorded),
            translation=cast(Any, fleet),
            options={},
            undo=undo if undoes else None,
            record=lambda state: {"number": state},
            record_form="fleetcare.esxi number record 1",
        )
        outcome = pipeline.execute(feature, {**PARAMS, "parallel": 1, "number": wanted, **params}, check=check, in_process=True)
        return door.result_of(outcome, with_diff=False)

    return run


def fleet(names: str = "abcd", bad: str = "", **fields: Any) -> Fleet:
    """Hosts of one letter; a write to one in ``bad`` is refused."""
    return Fleet(dict.fromkeys(names, 1), on_write=lambda host, _count: ServerFault("refused") if host in bad else None, **fields)


def causes(result: dict[str, Any]) -> dict[str, str]:
    return {name: entry["failure"]["cause"] for name, entry in result["hosts"].items() if entry["failure"]}


def test_each_wave_is_read_back_before_the_next_is_written(go: Go) -> None:
    world = fleet("abcde")
    result = go(world, waves=[1, "40%", "100%"])
    assert world.log == ["read abcde", "a+1", "read a", "b+1", "c+1", "read bc", "d+1", "e+1", "read de"]
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


def test_a_check_knows_no_waves_and_writes_no_progress_and_no_record(go: Go, tmp_path: Path) -> None:
    world = fleet("abc")
    progress = tmp_path / "progress"
    result = go(world, check=True, waves=[1], progress_file=str(progress), backup=True, backup_dir=str(tmp_path / "b"))
    assert set(statuses(result).values()) == {"would_change"} and world.written == []
    assert "waves" not in result and "backup_file" not in result and list(tmp_path.iterdir()) == []


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


def test_hosts_that_were_written_are_watched_for_as_long_as_asked_before_they_are_read_back(go: Go) -> None:
    world = Fleet({"a": 1, "b": 2, "c": 1}, on_write=lambda host, _count: None)
    go(world, waves=[1, "100%"], verify_reachable=7.5)
    assert world.watched == [(["a"], 7.5), (["c"], 7.5)]
    assert world.log == ["read abc", "a+1", "watch a", "read a", "c+1", "watch c", "read c"]


@pytest.mark.parametrize(("seconds", "undoes"), [(0.0, True), (None, True), (5.0, False)])
def test_nothing_is_watched_where_nobody_asked_or_nothing_could_be_taken_back(seconds: Any, undoes: bool, go: Go) -> None:
    world = fleet("a", lost={"a": "is notResponding in vCenter"})
    assert statuses(go(world, verify_reachable=seconds, undoes=undoes)) == {"a": "changed"} and world.watched == []


def test_what_cut_a_host_off_is_taken_back_last_first_and_told(go: Go) -> None:
    world = Fleet({"a": 1, "b": 1}, lost={"a": "is notResponding in vCenter"})
    result = go(world, 3, verify_reachable=5.0)
    assert world.log == ["read ab", "a+1", "a+1", "b+1", "b+1", "watch ab", "a-1", "a-1", "look for a", "read ab"]
    assert statuses(result) == {"a": "failed", "b": "changed"} and world.numbers == {"a": 1, "b": 3}
    entry = result["hosts"]["a"]
    assert entry["failure"]["kind"] == "cut_off"
    assert entry["failure"]["cause"] == (
        "after 2 changes it is notResponding in vCenter; everything was taken back and it is reachable again"
    )
    assert entry["undone"] == [{"change": "add", "step": -1}] * 2 and entry["changes"] == [] and entry["changed"] is False
    assert len(entry["not_done"]) == 2 and "undone" not in result["hosts"]["b"]


def test_a_host_that_is_cut_off_ends_the_waves(go: Go) -> None:
    world = fleet("abc", lost={"a": "takes no new connection"})
    assert statuses(go(world, waves=[1, "100%"], verify_reachable=5.0)) == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert world.numbers == {"a": 1, "b": 1, "c": 1}


def test_a_host_that_stays_away_is_told_with_what_to_do_at_its_console(go: Go) -> None:
    result = go(fleet("a", lost={"a": "is notResponding in vCenter"}, back=False), verify_reachable=5.0)
    failure = result["hosts"]["a"]["failure"]
    assert "still not reachable" in failure["cause"] and "console" in failure["hint"]


def test_a_step_back_that_fails_is_told_with_how_far_it_came(go: Go) -> None:
    world = Fleet({"a": 1}, on_write=lambda _host, count: TimedOut("no answer") if count == 4 else None, lost={"a": "is gone"})
    result = go(world, 3, verify_reachable=5.0)
    entry = result["hosts"]["a"]
    assert "could not be brought back: 1 of 2 steps back were made, then: no answer" in entry["failure"]["cause"]
    assert "console" in entry["failure"]["hint"] and entry["changed"] is True
    assert entry["undone"] == [{"change": "add", "step": -1}] and world.numbers == {"a": 2}


def test_a_change_whose_answer_was_lost_is_taken_back_too(go: Go) -> None:
    """It may have been made, and have been the one that cut the host off."""
    world = Fleet({"a": 1}, on_write=lambda _host, count: EndpointUnreachable("lost") if count == 2 else None, lose_write=True)
    world.lost = {"a": "is notResponding in vCenter"}
    result = go(world, 4, verify_reachable=5.0)
    assert world.log[1:6] == ["a+1", "a+1", "watch a", "a-1", "a-1"] and world.numbers == {"a": 1}
    assert "after 2 changes it" in result["hosts"]["a"]["failure"]["cause"]


def test_what_was_written_is_taken_back_although_the_run_has_to_stop(go: Go) -> None:
    guard = Guard()
    world = Fleet({"a": 1}, lost={"a": "is gone"})
    watch = world.watch

    def stopping(*args: Any) -> Iterator[dict[Target, str]]:
        guard.stop("the deadline has passed")
        yield from watch(*args)

    world.watch = stopping  # type: ignore[method-assign, assignment]
    result = go(world, 3, guard=guard, verify_reachable=5.0)
    assert world.numbers == {"a": 1} and "taken back" in causes(result)["a"]


@pytest.mark.parametrize("moment", ["watch", "comes_back"])
@pytest.mark.parametrize("problem", [EndpointUnreachable, ServerFault])
def test_a_look_that_fails_hides_nothing_of_what_was_written(moment: str, problem: type[FleetcareError], go: Go) -> None:
    """vCenter may go away in the minute in which hosts are watched: what was written has to be told all the same."""

    def fail(*_args: Any) -> Any:
        raise problem("vCenter is gone")

    world = fleet("ab", lost={"a": "is gone"})
    setattr(world, moment, fail)
    result = go(world, verify_reachable=5.0)
    assert set(result["hosts"]) == {"a", "b"} and result["hosts"]["b"]["changed"]
    if moment == "comes_back":
        assert result["hosts"]["a"]["failure"]["kind"] == "cut_off" and len(result["hosts"]["a"]["undone"]) == 1
    else:
        assert statuses(result) == {"a": "failed", "b": "failed"}, "reachability was to be verified and was not"


@pytest.mark.parametrize("seconds", [-1.0, 3601.0, float("nan")])
def test_a_time_to_verify_that_cannot_be_meant_is_refused(seconds: float, go: Go) -> None:
    with pytest.raises(BadInput, match="verify_reachable"):
        go(fleet("a"), verify_reachable=seconds)


# ---- backup and restore ------------------------------------------------------------------------------------------------------


def test_the_state_before_is_on_disk_before_the_first_write(go: Go, tmp_path: Path) -> None:
    seen: list[Any] = []
    world = Fleet({"a": 1, "b": 2, "c": 5}, on_write=lambda _host, _count: seen.append([p.read_text() for p in tmp_path.iterdir()]))
    result = go(world, waves=[1, 1, 1, 1, 1], backup=True, backup_dir=str(tmp_path))
    (path,) = tmp_path.iterdir()
    assert result["backup_file"] == str(path)
    assert json.loads(seen[0][0])["hosts"] == [{"number": 1}, {"number": 5}], "of those that are about to change, before anything was"
    assert all(one == seen[0] for one in seen), "one file a run"


@pytest.mark.parametrize("params", [{"backup": False}, {"backup": True, "number": 1}])
def test_there_is_no_record_where_nobody_asked_or_nothing_changes(params: dict[str, Any], go: Go, tmp_path: Path) -> None:
    number = params.pop("number", 2)
    assert "backup_file" not in go(fleet("a"), number, backup_dir=str(tmp_path), **params) and list(tmp_path.iterdir()) == []


def test_no_host_is_written_when_the_record_cannot_be(go: Go, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    world = fleet("a")
    with pytest.raises(FleetcareError, match="so nothing was changed") as caught:
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

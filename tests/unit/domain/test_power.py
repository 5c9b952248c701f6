# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a host that is to go down or come back, over all states and wishes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import power
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.power import (
    MEANINGS,
    Cluster,
    EnterMaintenance,
    LeaveMaintenance,
    Reboot,
    Seen,
    ShutDown,
    State,
    Wanted,
)

BOOT = datetime.datetime(2026, 1, 5, 9, 7, 1, tzinfo=datetime.timezone.utc)
NAMES = st.sets(st.sampled_from(["app-01", "app-02", "db-01"]), max_size=3).map(lambda names: tuple(sorted(names)))
OTHERS = st.lists(st.sampled_from([("host-2", "esx-02"), ("host-3", "esx-03")]), unique=True, max_size=2).map(tuple)
CLUSTERS = st.none() | st.builds(
    Cluster,
    name=st.just("prod"),
    drs=st.sampled_from(["off", "manual", "partiallyAutomated", "fullyAutomated"]),
    admission_control=st.booleans(),
    others=OTHERS,
)
# A state as observe makes it: nothing that only this run knows, and nothing that does not go together.
STATES = st.builds(
    State,
    id=st.just("host-1"),
    name=st.just("esx-01"),
    connection=st.sampled_from(["connected", "connected", "connected", "notResponding"]),
    power=st.sampled_from(["poweredOn", "poweredOn", "unknown", "poweredOff", "standBy"]),
    maintenance=st.booleans(),
    boot_time=st.none() | st.just(BOOT),
    reboot_required=st.booleans(),
    able=st.sampled_from([("shutdown", "rebooted", "maintenance"), ("maintenance",), ()]),
    running=NAMES,
    locked=NAMES,
    own_endpoint=st.sampled_from(["", "", "vcenter"]),
    own_control_node=st.sampled_from(["", "", "control"]),
    cluster=CLUSTERS,
).map(lambda state: replace(state, pinned=state.running[:1]) if state.cluster and state.cluster.admission_control else state)
WISHES = st.builds(
    Wanted,
    state=st.sampled_from(power.STATES),
    force=st.booleans(),
    only_if_required=st.booleans(),
    unless_booted_since=st.none() | st.just(BOOT - datetime.timedelta(days=1)) | st.just(BOOT + datetime.timedelta(days=1)),
    evacuate_powered_off=st.none() | st.just(True),
    allow_own_endpoint=st.booleans(),
    one_by_one=st.booleans(),
)


def planned(state: State, wanted: Wanted) -> Plan:
    return power.plan(state, wanted, power.survey([state], {}, wanted))


def codes(plan: Plan) -> set[str]:
    return {finding.code for finding in plan.findings}


def kinds(plan: Plan) -> list[type]:
    return [type(change) for change in plan.changes]


@settings(max_examples=200)
@given(STATES, WISHES)
def test_planning_twice_gives_nothing(state: State, wanted: Wanted) -> None:
    plan = planned(state, wanted)
    assert power.plan(plan.predicted, wanted, Seen()).changes == ()


@settings(max_examples=200)
@given(STATES, WISHES)
def test_every_change_changes_something_and_says_it_plainly(state: State, wanted: Wanted) -> None:
    now = state
    for change in planned(state, wanted).changes:
        after = change.applied_to(now)
        assert after != now
        now = after
        assert set(map(type, change.describe().values())) <= {str, int, bool}


@settings(max_examples=200)
@given(STATES, WISHES)
def test_an_error_means_that_nothing_is_done(state: State, wanted: Wanted) -> None:
    plan = planned(state, wanted)
    assert not (plan.errors and plan.changes)
    assert codes(plan) <= set(MEANINGS)


@settings(max_examples=200)
@given(STATES, WISHES)
def test_no_machine_loses_power_unless_that_was_asked_for(state: State, wanted: Wanted) -> None:
    plan = planned(state, wanted)
    forced = [change for change in plan.changes if isinstance(change, (Reboot, ShutDown)) and change.force]
    if forced:
        assert wanted.force and state.staying and "power_vms_cut" in codes(plan) and "power_vms_move" not in codes(plan)
        assert all(name in str(plan.findings) for name in state.running), "who loses power is named"
    if any(isinstance(change, (Reboot, ShutDown)) for change in plan.changes) and state.staying:
        assert wanted.force and "power_vms_cut" in codes(plan)
        assert forced or state.maintenance, "with machines that nobody moves it would never get into maintenance mode"


@settings(max_examples=200)
@given(STATES, WISHES)
def test_maintenance_mode_is_left_only_by_who_entered_it(state: State, wanted: Wanted) -> None:
    plan = planned(state, wanted)
    if LeaveMaintenance in kinds(plan):
        assert wanted.state == "normal" or EnterMaintenance in kinds(plan)
    if wanted.state == "rebooted" and plan.changes:
        assert plan.predicted.maintenance == state.maintenance


@settings(max_examples=200)
@given(STATES, WISHES)
def test_vcenters_host_stays_unless_told_otherwise(state: State, wanted: Wanted) -> None:
    plan = planned(state, wanted)
    if (state.own_endpoint or state.own_control_node) and not wanted.allow_own_endpoint:
        assert not {Reboot, ShutDown} & set(kinds(plan))


@settings(max_examples=100)
@given(st.lists(STATES, min_size=2, max_size=5), WISHES)
def test_a_cluster_is_never_away_as_a_whole_while_machines_run(rows: list[State], wanted: Wanted) -> None:
    """Hosts of one cluster that see each other: at any moment one that is usable is neither in maintenance mode nor down."""
    ids = [f"host-{number}" for number in range(len(rows))]
    names = dict(zip(ids, (f"esx-{number:02d}" for number in range(len(rows))), strict=True))
    states = []
    for own, row in zip(ids, rows, strict=True):
        others = tuple((other, names[other]) for other in ids if other != own)
        healthy = replace(row, id=own, name=names[own], connection="connected", power="poweredOn", maintenance=False)
        healthy = replace(healthy, own_endpoint="", own_control_node="")
        states.append(
            replace(
                healthy, able=("shutdown", "rebooted", "maintenance"), cluster=Cluster(name="prod", drs="fullyAutomated", others=others)
            )
        )
    seen = power.survey(states, {}, wanted)
    plans = {state.id: power.plan(state, wanted, seen) for state in states}
    going = {moid for moid, plan in plans.items() if plan.changes and wanted.state != "normal"}
    if not any(state.running for state in states) or wanted.state == "normal":
        assert not any(plan.after for plan in plans.values())
        return
    if wanted.state != "rebooted":
        cut = all("power_vms_cut" in codes(plan) or not state.running for plan, state in zip(plans.values(), states, strict=True))
        assert going < set(ids) or (wanted.force and cut), "whose machines have nowhere to go is named"
        return
    forced = [any(getattr(change, "force", False) for change in plans[moid].changes) for moid in ids]
    gone: list[str] = []
    for away in rounds({moid: plans[moid] for moid in going}):
        assert len(away) == 1 if wanted.one_by_one else away < set(ids)
        assert all(("power_in_turn" in codes(plans[moid])) is bool(plans[moid].after) for moid in away)
        gone += sorted(away)
    if any(forced):
        last_forced = max(gone.index(moid) for moid, is_forced in zip(ids, forced, strict=True) if is_forced)
        emptied = [gone.index(moid) for moid, is_forced in zip(ids, forced, strict=True) if moid in going and not is_forced]
        # The last of a cluster of forced ones only waits for the first.
        assert all(number > last_forced for number in emptied), "machines are moved to a host that goes down with its own"


def rounds(plans: dict[str, Plan]) -> Iterator[set[str]]:
    """Who goes at the same time, as the pipeline has it without waves or within one."""
    waiting = dict(plans)
    while waiting:
        away = {moid for moid, plan in waiting.items() if not set(plan.after) & set(waiting)}
        assert away, "they wait for each other"
        yield away
        waiting = {moid: plan for moid, plan in waiting.items() if moid not in away}


@pytest.mark.parametrize("which", ["own_endpoint", "own_control_node"])
def test_the_own_host_is_the_last_of_all(which: str) -> None:
    wanted = Wanted(state="shutdown", force=True, allow_own_endpoint=True)
    own = replace(State(id="host-1", name="esx-01", running=("own",)), **{which: "own"})  # type: ignore[arg-type]
    others = [State(id=f"host-{number}", name=f"esx-0{number}") for number in (2, 3)]
    seen = power.survey([own, *others], {}, wanted)
    assert set(power.plan(own, wanted, seen).after) == {"host-2", "host-3"}
    assert all(power.plan(other, wanted, seen).after == () for other in others)
    takes = True if which == "own_endpoint" else None
    assert power.plan(own, wanted, seen).changes == (ShutDown(force=True, timeout=1200, takes_endpoint=takes),)


def test_the_control_node_goes_after_vcenter() -> None:
    """Where vCenter does not come back the run still tells it."""
    wanted = Wanted(state="rebooted", force=True, allow_own_endpoint=True, one_by_one=True)
    cluster = Cluster(name="prod", others=(("host-2", "esx-02"), ("host-3", "esx-03")))
    node = State(id="host-1", name="esx-01", running=("control",), own_control_node="control", cluster=cluster)
    vcenter = replace(node, id="host-2", running=("vcenter",), own_endpoint="vcenter", own_control_node="")
    plain = replace(node, id="host-3", running=("app",), own_control_node="")
    seen = power.survey([node, vcenter, plain], {}, wanted)
    order = [sorted(away) for away in rounds({state.id: power.plan(state, wanted, seen) for state in (node, vcenter, plain)})]
    assert order == [["host-3"], ["host-2"], ["host-1"]]


@pytest.mark.parametrize(("force", "level"), [(False, "error"), (True, "warning")])
def test_a_host_that_fell_silent_with_machines_on_it_was_not_shut_down_as_it_should(force: bool, level: str) -> None:
    state = State(connection="notResponding", power="unknown", running=("app-01",))
    (finding,) = planned(state, Wanted(state="shutdown", force=force)).findings
    assert (finding.level, finding.code) == (level, "power_not_heard") and "as far as vCenter knows 1 VM runs there: app-01" in finding.text
    (finding,) = planned(replace(state, running=(), maintenance=True), Wanted(state="shutdown")).findings
    assert finding.level == "warning" and finding.text.endswith("it is in maintenance mode")


@pytest.mark.parametrize("power_state", ["poweredOff", "standBy"])
def test_a_host_that_is_off(power_state: str) -> None:
    state = State(power=power_state)
    assert planned(state, Wanted(state="shutdown")).changes == () == planned(state, Wanted(state="shutdown")).findings
    for wish in ("rebooted", "maintenance", "normal"):
        assert codes(planned(state, Wanted(state=wish))) == {"power_off"}


@pytest.mark.parametrize("wish", ["shutdown", "rebooted", "maintenance"])
def test_a_host_that_cannot(wish: str) -> None:
    plan = planned(State(able=()), Wanted(state=wish))
    assert codes(plan) == {"power_not_supported"} and plan.changes == ()


def test_locked_machines_after_a_reboot_and_those_that_were_before() -> None:
    wanted = Wanted(state="rebooted")
    before = State(boot_time=BOOT, locked=("old-01",))
    predicted = planned(before, wanted).predicted
    read = State(boot_time=BOOT + datetime.timedelta(minutes=9), locked=("new-01", "old-01"))
    fresh = power.plan(power.after(read, predicted, False), wanted, Seen())
    assert [(finding.level, finding.code) for finding in fresh.findings] == [("error", "power_vms_locked")]
    same = power.plan(power.after(replace(read, locked=("old-01",)), predicted, False), wanted, Seen())
    assert [(finding.level, finding.code) for finding in same.findings] == [("warning", "power_vms_locked")]


@pytest.mark.parametrize(("seconds", "newer"), [(0, False), (29, False), (-5, False), (31, True)])
def test_a_clock_that_was_set_is_no_boot(seconds: int, newer: bool) -> None:
    assert power.is_newer(BOOT + datetime.timedelta(seconds=seconds), BOOT) is newer
    read = State(boot_time=BOOT + datetime.timedelta(seconds=seconds))
    assert power.after(read, State(boot_time=BOOT), False).rebooted is newer


def params(**given: Any) -> dict[str, Any]:
    return {"state": "rebooted", "maintenance_timeout": 1800, "power_timeout": 1200, "deadline": 3600.0, **given}


@pytest.mark.parametrize("text", ["2026-11-22T06:00:00Z", "2026-11-22T07:00:00+01:00", " 2026-11-22 06:00:00+00:00 "])
def test_points_in_time(text: str) -> None:
    expected = datetime.datetime(2026, 11, 22, 6, tzinfo=datetime.timezone.utc)
    assert power.parse(params(unless_booted_since=text)).unless_booted_since == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"unless_booted_since": "yesterday"}, "no point in time"),
        ({"unless_booted_since": "2026-11-22T06:00:00"}, "no time zone"),
        ({"state": "shutdown", "only_if_required": True}, "state is shutdown"),
        ({"state": "normal", "unless_booted_since": "2026-11-22T06:00:00Z"}, "state is normal"),
        ({"state": "maintenance", "force": True}, "state is maintenance"),
        ({"state": "normal", "vsan_mode": "no_action"}, "state is normal"),
        ({"power_timeout": 0}, "not between 1 and 86400"),
        ({"maintenance_timeout": 90000}, "not between 1 and 86400"),
        ({"power_timeout": 5000}, "before the deadline of 3600 s"),
    ],
)
def test_what_cannot_be_meant(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        power.parse(params(**given))
    assert caught.value.hint

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner of time promises for every host, every wish and every clock."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import ntp
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.ntp import (
    ConfigureTime,
    OpenNtpClient,
    Ptp,
    Ruleset,
    SetNtpdPolicy,
    StartNtpd,
    State,
    StepClock,
    StopNtpd,
    Survey,
    Wanted,
    address_of,
    plan,
)
from tests.unit.domain.makers import (
    HERE,
    LONG,
    SPELLINGS,
    USUAL,
    ancient_states,
    clocks,
    entries,
    modern,
    ptps,
    states,
    surveys,
    wishes,
)


def names(servers: tuple[str, ...]) -> list[str]:
    return [address_of(entry) for entry in servers]


def configured(state: State, wanted: Wanted, seen: Survey = HERE) -> dict[str, Any]:
    """Every field that a plan's UpdateDateTimeConfig would carry."""
    found: dict[str, Any] = {}
    for change in plan(state, wanted, seen).changes:
        if isinstance(change, ConfigureTime):
            found.update({f.name: getattr(change, f.name) for f in fields(change) if getattr(change, f.name) is not None})
    return found


def kinds(state: State, wanted: Wanted, seen: Survey = HERE) -> list[type]:
    return [type(change) for change in plan(state, wanted, seen).changes]


# ---- planning ----------------------------------------------------------------------------------------------------------


@LONG
@given(states, wishes, surveys)
@example(modern(protocol="ptp", clock=ntp.Clock(-5000.0, 0.0)), Wanted(protocol="ntp", max_skew=1.0, step=True), HERE)
@example(modern(protocol="ptp", enabled=None, ruleset=Ruleset(enabled=False, controllable=None)), Wanted(protocol="ntp"), HERE)
def test_a_second_plan_over_what_the_first_predicts_is_empty(state: State, wanted: Wanted, seen: Survey) -> None:
    assert plan(plan(state, wanted, seen).predicted, wanted, seen).changes == ()


@LONG
@given(states, wishes, surveys)
def test_every_change_alters_the_state_and_not_only_the_note_that_it_settles(state: State, wanted: Wanted, seen: Survey) -> None:
    now = state
    for change in plan(state, wanted, seen).changes:
        then = change.applied_to(now)
        assert replace(then, settling=now.settling) != now, change
        now = then


@USUAL
@given(states, wishes, surveys)
def test_planning_is_deterministic_and_leaves_its_input_alone(state: State, wanted: Wanted, seen: Survey) -> None:
    before = repr((state, wanted, seen))
    assert plan(state, wanted, seen) == plan(replace(state), replace(wanted), replace(seen))
    assert repr((state, wanted, seen)) == before


@USUAL
@given(states, wishes, surveys)
def test_a_host_is_told_about_its_ntpd_and_not_written_to_when_it_has_none(state: State, wanted: Wanted, seen: Survey) -> None:
    made = plan(replace(state, service=None), wanted, seen)
    assert made.changes == ()
    assert "ntpd_missing" in {finding.code for finding in made.errors}


@USUAL
@given(states, wishes, surveys)
def test_changes_are_described_in_json_that_is_the_same_for_the_same_plan(state: State, wanted: Wanted, seen: Survey) -> None:
    for change in plan(state, wanted, seen).changes:
        shown = change.describe()
        assert json.loads(json.dumps(shown)) == shown
        assert shown["change"] == "".join("_" + c.lower() if c.isupper() else c for c in type(change).__name__)[1:]
        assert not any(isinstance(value, float) for value in leaves(shown)), "a measured number makes check and run differ"


@USUAL
@given(states, wishes, clocks, clocks)
def test_a_check_and_a_run_moments_later_describe_the_same_step(state: State, wanted: Wanted, first: ntp.Clock, later: ntp.Clock) -> None:
    shown = [
        [change.describe() for change in plan(state, wanted, Survey(reference=reference)).changes if isinstance(change, StepClock)]
        for reference in (first, later)
    ]
    assert not all(shown) or shown[0] == shown[1]


@USUAL
@given(states, wishes, surveys)
def test_settings_and_report_are_json_and_settings_hold_nothing_measured(state: State, wanted: Wanted, seen: Survey) -> None:
    json.dumps([ntp.report(state, wanted, seen, full=full) for full in (True, False)])
    moved = replace(state, clock=None, synced=None, last_sync=None, remote_server=None, in_fallback=None, working=None, gave_up=None)
    assert json.loads(json.dumps(ntp.settings(state))) == ntp.settings(state) == ntp.settings(moved)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


# ---- what is not asked for is not touched ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "field"),
    [("servers", "servers"), ("protocol", "protocol"), ("ptp", "ptp"), ("fallback", "fallback"), ("running", "enabled")],
)
@USUAL
@given(state=states, wanted=wishes, seen=surveys)
def test_an_option_left_out_never_writes_its_field(option: str, field: str, state: State, wanted: Wanted, seen: Survey) -> None:
    nothing: dict[str, Any] = {option: None, "ptp": None} if option == "protocol" else {option: None}
    without = replace(wanted, **nothing)
    assert field not in configured(state, without, seen)


@USUAL
@given(states, wishes, surveys)
def test_the_start_up_policy_left_out_is_never_written(state: State, wanted: Wanted, seen: Survey) -> None:
    assert SetNtpdPolicy not in kinds(state, replace(wanted, policy=None), seen)


@USUAL
@given(states, wishes, surveys)
def test_the_clock_is_not_stepped_unless_that_was_asked_for(state: State, wanted: Wanted, seen: Survey) -> None:
    assert StepClock not in kinds(state, replace(wanted, step=False), seen)


@USUAL
@given(states, wishes, surveys)
def test_the_service_runs_as_before_when_nobody_speaks_of_it(state: State, wanted: Wanted, seen: Survey) -> None:
    """But for ntpd that gave up and whose clock is stepped, and for a change of protocol, which decides who runs."""
    made = plan(state, replace(wanted, running=None, protocol=None, ptp=None), seen)
    assume(not (state.gave_up and any(isinstance(change, StepClock) for change in made.changes)))
    if state.service:
        assert made.predicted.service.running == state.service.running
    assert made.predicted.enabled == state.enabled


@USUAL
@given(states, wishes, surveys)
def test_looking_alone_changes_nothing(state: State, wanted: Wanted, seen: Survey) -> None:
    """max_skew, reference, test_servers and wait_for_sync judge; they ask for no setting."""
    looking = Wanted(
        max_skew=wanted.max_skew, reference=wanted.reference, test_servers=wanted.test_servers, wait_for_sync=wanted.wait_for_sync
    )
    assert plan(state, looking, seen).changes == ()


@USUAL
@given(ptps, ptps)
def test_ptp_ports_and_suboptions_that_are_not_named_survive(have: Ptp, want: Ptp) -> None:
    written = configured(modern(ptp=have, ptp_ports=3), Wanted(protocol="ptp", ptp=want)).get("ptp", have)
    asked = {port.index: port for port in want.ports}
    result = {port.index: port for port in written.ports}
    for port in have.ports:
        if port.index not in asked:
            assert result[port.index] == port
        elif asked[port.index].device_type == port.device_type:
            for field in ("device", "dhcp", "ip_address", "subnet_mask"):
                if getattr(asked[port.index], field) is None:
                    assert getattr(result[port.index], field) == getattr(port, field), field
    if want.domain is None:
        assert written.domain == have.domain


@USUAL
@given(ptps, ptps)
def test_ptp_ports_and_suboptions_that_are_named_are_written(have: Ptp, want: Ptp) -> None:
    end = plan(modern(ptp=have, ptp_ports=3), Wanted(protocol="ptp", ptp=want), HERE).predicted.ptp
    result = {port.index: port for port in end.ports}
    for port in want.ports:
        for field in ("device_type", "device", "dhcp", "ip_address", "subnet_mask"):
            if getattr(port, field) is not None:
                assert getattr(result[port.index], field) == getattr(port, field), field
    assert want.domain is None or end.domain == want.domain


# ---- servers --------------------------------------------------------------------------------------------------------------

have_lists = entries(0, respelt=False)
want_lists = entries(1, respelt=True)


def with_servers(have: tuple[str, ...], want: tuple[str, ...], how: str) -> State:
    return plan(modern(servers=have), Wanted(servers=want, servers_state=how), HERE).predicted


@USUAL
@given(have_lists, want_lists)
def test_exact_gives_the_wanted_servers_in_the_wanted_order(have: tuple[str, ...], want: tuple[str, ...]) -> None:
    assert names(with_servers(have, want, "exact").servers) == names(want)


@USUAL
@given(have_lists, want_lists)
def test_present_keeps_the_hosts_order_and_appends_what_is_missing(have: tuple[str, ...], want: tuple[str, ...]) -> None:
    missing = [name for name in names(want) if name not in names(have)]
    assert names(with_servers(have, want, "present").servers) == names(have) + missing


@USUAL
@given(have_lists, want_lists)
def test_absent_takes_the_named_away_and_keeps_the_rest_as_it_is(have: tuple[str, ...], want: tuple[str, ...]) -> None:
    rest = tuple(entry for entry in have if address_of(entry) not in names(want))
    assert with_servers(have, want, "absent").servers == (rest or have)


@USUAL
@given(have_lists, want_lists, st.sampled_from(("exact", "present", "absent")))
def test_options_that_a_host_keeps_for_a_server_survive(have: tuple[str, ...], want: tuple[str, ...], how: str) -> None:
    """Only a wish with options of its own for that server replaces them; another spelling alone writes nothing."""
    asked = {address_of(entry): entry for entry in want}
    written = configured(modern(servers=have), Wanted(servers=want, servers_state=how)).get("servers")
    kept = {address_of(entry): entry for entry in with_servers(have, want, how).servers}
    for entry in have:
        name = address_of(entry)
        if name in kept:
            expected = asked[name] if written and how != "absent" and " " in asked.get(name, "") else entry
            assert kept[name] == expected
            if how != "absent" and " " in asked.get(name, ""):
                assert kept[name].split()[1:] == asked[name].split()[1:]


@USUAL
@given(have_lists, want_lists, st.sampled_from(("exact", "present")))
def test_servers_are_written_if_and_only_if_more_than_the_spelling_of_an_address_differs(
    have: tuple[str, ...], want: tuple[str, ...], how: str
) -> None:
    def meant(servers: tuple[str, ...]) -> list[tuple[str, list[str]]]:
        return [(address_of(entry), entry.split()[1:]) for entry in servers]

    held = dict(meant(have))
    asked = [(name, options or held.get(name, [])) for name, options in meant(want)]
    if how == "present":
        asked = list({**held, **dict(asked)}.items())
    state, wanted = modern(servers=have), Wanted(servers=want, servers_state=how)
    assert ("servers" in configured(state, wanted)) == (asked != meant(have))
    assert meant(plan(state, wanted, HERE).predicted.servers) == asked


@USUAL
@given(have_lists, st.sampled_from(("exact", "present")))
def test_another_spelling_with_the_same_options_leaves_the_hosts_entries_as_they_are(have: tuple[str, ...], how: str) -> None:
    assume(have)
    respelt = tuple(" ".join([SPELLINGS.get(entry.split()[0], entry.split()[0]).upper(), *entry.split()[1:]]) for entry in have)
    made = plan(modern(servers=have), Wanted(servers=respelt, servers_state=how), HERE)
    assert made.changes == () and made.predicted.servers == have


@USUAL
@given(have_lists, st.sampled_from(("exact", "present")))
def test_asking_for_the_servers_that_a_host_has_changes_nothing(have: tuple[str, ...], how: str) -> None:
    assume(have)
    asked = tuple(address_of(entry).upper() for entry in have)
    assert plan(modern(servers=have), Wanted(servers=asked, servers_state=how), HERE).changes == ()


@LONG
@given(states, wishes, surveys)
def test_an_empty_list_of_servers_is_never_written(state: State, wanted: Wanted, seen: Survey) -> None:
    for change in plan(state, wanted, seen).changes:
        assert not isinstance(change, ConfigureTime) or change.servers is None or change.servers


# ---- the clock ------------------------------------------------------------------------------------------------------------


@LONG
@given(states, wishes, surveys)
def test_a_clock_is_stepped_if_and_only_if_every_guard_agrees(state: State, wanted: Wanted, seen: Survey) -> None:
    guards = (
        wanted.step
        and wanted.max_skew is not None
        and state.service is not None
        and state.clock is not None
        and seen.reference is not None
        and seen.doubt is None
        and not state.stepped
        and not state.settling
        and "ptp" not in (state.protocol, wanted.protocol)
        and (state.synced is not True or "servers" in configured(state, wanted, seen))
    )
    if guards:
        assert state.clock and seen.reference and wanted.max_skew
        off = abs(state.clock.offset - seen.reference.offset) - state.clock.bound - seen.reference.bound
        guards = off > max(wanted.step_threshold, wanted.max_skew)
    steps = [change for change in plan(state, wanted, seen).changes if isinstance(change, StepClock)]
    assert len(steps) == (1 if guards else 0)
    for step in steps:
        assert seen.reference and step.shift == seen.reference.offset


@USUAL
@given(states, wishes, surveys)
def test_ntpd_does_not_run_while_its_clock_is_stepped(state: State, wanted: Wanted, seen: Survey) -> None:
    now = state
    for change in plan(state, wanted, seen).changes:
        if isinstance(change, StepClock):
            assert now.service and not now.service.running
        now = change.applied_to(now)


# ---- generations ----------------------------------------------------------------------------------------------------------


@USUAL
@given(states, wishes, surveys)
def test_a_ruleset_that_the_daemon_owns_is_never_toggled(state: State, wanted: Wanted, seen: Survey) -> None:
    owned = replace(state, ruleset=replace(state.ruleset or Ruleset(enabled=False, controllable=None), controllable=False))
    assert OpenNtpClient not in kinds(owned, wanted, seen)


@USUAL
@given(ancient_states, wishes, surveys)
def test_a_host_below_7_0_3_gets_servers_and_nothing_else_of_the_time_configuration(state: State, wanted: Wanted, seen: Survey) -> None:
    assert set(configured(state, wanted, seen)) <= {"servers"}


@USUAL
@given(states, wishes, surveys)
def test_what_is_stopped_is_started_again_unless_it_was_to_be_stopped(state: State, wanted: Wanted, seen: Survey) -> None:
    """Opening the ruleset starts a service of policy automatic; that counts."""
    made = plan(state, wanted, seen)
    order = [type(change) for change in made.changes]
    if StopNtpd in order and wanted.running is not False:
        later = order[order.index(StopNtpd) :]
        assert StartNtpd in later or (OpenNtpClient in later and state.service and state.service.policy == "automatic")
        assert made.predicted.service.running


@USUAL
@given(states, wishes, surveys)
def test_a_service_that_shall_run_on_ntp_is_predicted_to_run_and_to_get_through(state: State, wanted: Wanted, seen: Survey) -> None:
    end = plan(state, replace(wanted, running=True, protocol="ntp", ptp=None), seen).predicted
    if end.service and (end.protocol != "ptp"):
        assert end.service.running
        assert end.ruleset is None or end.ruleset.controllable is False or end.ruleset.enabled


@USUAL
@given(states, wishes, surveys)
def test_a_service_that_shall_stop_is_predicted_to_have_stopped(state: State, wanted: Wanted, seen: Survey) -> None:
    end = plan(state, replace(wanted, running=False, protocol=None, ptp=None), seen).predicted
    assert end.enabled is not True if state.time_config else True
    if state.protocol != "ptp":
        assert not end.service.running


@USUAL
@given(states, wishes, surveys)
def test_no_finding_is_said_twice_and_all_have_a_next_step(state: State, wanted: Wanted, seen: Survey) -> None:
    found = plan(state, wanted, seen).findings
    codes = [finding.code for finding in found]
    assert len(codes) == len(set(codes))
    assert all(finding.text and finding.hint and finding.level in ("error", "warning", "note") for finding in found)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time, situation by situation: what is found where, which clock is believed, and which input is refused how."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import ntp
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.ntp import (
    MEANINGS,
    Clock,
    ConfigureTime,
    OpenNtpClient,
    Ptp,
    PtpPort,
    Ruleset,
    Service,
    SetNtpdPolicy,
    StartNtpd,
    State,
    StepClock,
    StopNtpd,
    Survey,
    Wanted,
    parse,
    plan,
    survey,
)
from tests.unit.domain.makers import HERE, NOON, ancient, modern

DOWN = Service(False, "on")
OFF = Service(True, "off")


def found(state: State, wanted: Wanted, seen: Survey = HERE) -> dict[str, str]:
    """Codes and levels."""
    return {finding.code: finding.level for finding in plan(state, wanted, seen).findings}


def listed(*allowed: str, **fields: Any) -> Ruleset:
    return Ruleset(enabled=True, controllable=False, all_ip=False, allowed=allowed, **fields)


# ---- findings ---------------------------------------------------------------------------------------------------------

SKEW = Wanted(max_skew=1.0)
SUSPECT = Survey(reference=Clock(0, 0), doubt=MEANINGS["control_node_suspect"].found("control_node_suspect", "x"))
SUSPECT_VC = Survey(reference=Clock(0, 0), doubt=MEANINGS["vcenter_clock_suspect"].found("vcenter_clock_suspect", "x"))
NO_REFERENCE = Survey(doubt=MEANINGS["reference_unavailable"].found("reference_unavailable", "x"))
NO_MAJORITY = Survey(doubt=MEANINGS["fleet_disagrees"].found("fleet_disagrees", "x"))
PTP_WISH = Wanted(protocol="ptp", ptp=Ptp(0, (PtpPort(0, "virtualNic", "vmk1"),)))

# code, level, a situation that has it, and near misses that do not.
Case = tuple[State, Wanted, Survey]
SITUATIONS: list[tuple[str, str, Case, list[Case]]] = [
    (
        "clock_skewed",
        "error",
        (modern(clock=Clock(2.0, 0.1)), SKEW, HERE),
        [
            (modern(clock=Clock(0.5, 0.1)), SKEW, HERE),
            (modern(clock=Clock(1.05, 0.1)), SKEW, HERE),
            (modern(clock=Clock(2.0, 0.1)), Wanted(), HERE),
            (modern(clock=Clock(2.0, 0.1)), SKEW, Survey(reference=Clock(1.9, 0.0))),
            (modern(clock=Clock(2.0, 0.1)), SKEW, SUSPECT),
        ],
    ),
    ("clock_skewed", "error", (modern(clock=Clock(-2.0, 0.1)), SKEW, HERE), [(modern(clock=Clock(-0.8, 0.1)), SKEW, HERE)]),
    ("clock_skewed", "warning", (modern(clock=Clock(2.0, 0.1), settling=True), SKEW, HERE), [(modern(settling=True), SKEW, HERE)]),
    ("clock_skewed", "error", (modern(clock=Clock(2.0, 0.1), settling=True, waited=True), SKEW, HERE), []),
    ("clock_skewed", "error", (modern(clock=Clock(2.0, 0.1), settling=True, stepped=True), SKEW, HERE), []),
    (
        "clock_skew_unclear",
        "warning",
        (modern(clock=Clock(1.05, 0.1)), SKEW, HERE),
        [(modern(clock=Clock(0.9, 0.1)), SKEW, HERE), (modern(clock=Clock(1.2, 0.1)), SKEW, HERE)],
    ),
    ("clock_skew_unclear", "warning", (modern(clock=Clock(0.95, 0.1)), SKEW, HERE), []),
    (
        "clock_unmeasured",
        "error",
        (modern(clock=None, clock_error="no answer"), SKEW, HERE),
        [(modern(clock=None), Wanted(), HERE), (modern(clock=None, stepped=True), SKEW, HERE)],
    ),
    ("control_node_suspect", "error", (modern(), SKEW, SUSPECT), [(modern(), Wanted(), SUSPECT), (modern(), SKEW, HERE)]),
    ("vcenter_clock_suspect", "error", (modern(), SKEW, SUSPECT_VC), [(modern(), SKEW, HERE)]),
    ("fleet_disagrees", "error", (modern(), SKEW, NO_MAJORITY), [(modern(), SKEW, HERE), (modern(), Wanted(), NO_MAJORITY)]),
    ("reference_unavailable", "error", (modern(), SKEW, NO_REFERENCE), [(modern(), SKEW, HERE)]),
    (
        "ntp_no_servers",
        "error",
        (modern(servers=()), Wanted(), HERE),
        [
            (modern(servers=(), service=DOWN, enabled=False), Wanted(running=False), HERE),
            (modern(servers=(), service=DOWN, enabled=False), Wanted(), HERE),
            (modern(servers=(), protocol="ptp"), Wanted(), HERE),
            (modern(), Wanted(), HERE),
        ],
    ),
    ("ntp_no_servers", "error", (modern(servers=(), service=DOWN), Wanted(running=True), HERE), []),
    (
        "ntp_last_server",
        "error",
        (modern(), Wanted(servers=("192.0.2.1", "192.0.2.2"), servers_state="absent"), HERE),
        [
            (modern(), Wanted(servers=("192.0.2.1",), servers_state="absent"), HERE),
            (modern(servers=()), Wanted(servers=("192.0.2.1",), servers_state="absent"), HERE),
            (modern(), Wanted(servers=("192.0.2.1", "192.0.2.2")), HERE),
        ],
    ),
    (
        "ntp_never_synced",
        "warning",
        (modern(last_sync=None, synced=False), Wanted(), HERE),
        [
            (modern(last_sync=None, synced=True), Wanted(), HERE),
            (modern(last_sync=NOON, synced=False), Wanted(), HERE),
            (modern(last_sync=None, synced=False, settling=True), Wanted(), HERE),
            (modern(last_sync=None, synced=False, service=DOWN), Wanted(), HERE),
            (ancient(), Wanted(), HERE),
        ],
    ),
    (
        "ntp_unsynced",
        "error",
        (modern(synced=False, waited=True), Wanted(wait_for_sync=30), HERE),
        [
            (modern(synced=False), Wanted(wait_for_sync=30), HERE),
            (modern(synced=True, waited=True), Wanted(wait_for_sync=30), HERE),
            (ancient(waited=True), Wanted(wait_for_sync=30), HERE),
        ],
    ),
    (
        "ntp_wrong_server",
        "warning",
        (modern(remote_server="203.0.113.9"), Wanted(), HERE),
        [
            (modern(remote_server="192.0.2.2"), Wanted(), HERE),
            (modern(servers=("2001:db8::1",), remote_server="2001:DB8:0::1"), Wanted(), HERE),
            (modern(servers=("192.0.2.1 iburst",)), Wanted(), HERE),
            (modern(servers=("192.0.2.1", "ntp.example.com"), remote_server="203.0.113.9"), Wanted(), HERE),
            (modern(remote_server=None), Wanted(), HERE),
            (modern(remote_server="203.0.113.9", settling=True), Wanted(), HERE),
            (modern(remote_server="203.0.113.9", protocol="ptp"), Wanted(), HERE),
        ],
    ),
    (
        "ntp_server_silent",
        "error",
        (modern(working=False, test_report=("192.0.2.1 does not answer",)), Wanted(test_servers=True), HERE),
        [
            (modern(working=False), Wanted(), HERE),
            (modern(working=True), Wanted(test_servers=True), HERE),
            (modern(working=None), Wanted(test_servers=True), HERE),
            (modern(test_error="the privilege is missing"), Wanted(test_servers=True), HERE),
            (modern(working=False, settling=True), Wanted(test_servers=True), HERE),
        ],
    ),
    (
        "ntp_test_failed",
        "warning",
        (modern(test_error="the privilege is missing"), Wanted(test_servers=True), HERE),
        [
            (modern(test_error="the privilege is missing"), Wanted(), HERE),
            (modern(test_error="the privilege is missing", settling=True), Wanted(test_servers=True), HERE),
            (modern(working=True), Wanted(test_servers=True), HERE),
            (modern(working=False), Wanted(test_servers=True), HERE),
            (modern(working=None), Wanted(test_servers=True), HERE),
            (ancient(), Wanted(test_servers=True), HERE),
        ],
    ),
    ("ntp_test_failed", "warning", (modern(test_error="x", settling=True, waited=True), Wanted(test_servers=True), HERE), []),
    (
        "ntp_test_unsupported",
        "note",
        (ancient(), Wanted(test_servers=True), HERE),
        [
            (ancient(), Wanted(), HERE),
            (modern(working=True), Wanted(test_servers=True), HERE),
            (modern(test_error="the privilege is missing"), Wanted(test_servers=True), HERE),
        ],
    ),
    (
        "ntpd_stopped",
        "warning",
        (modern(service=DOWN), Wanted(), HERE),
        [
            (modern(service=DOWN, enabled=False), Wanted(running=False), HERE),
            (modern(service=DOWN, gave_up=NOON), Wanted(), HERE),
            (modern(service=DOWN, protocol="ptp"), Wanted(), HERE),
            (modern(), Wanted(), HERE),
        ],
    ),
    (
        "ntpd_gave_up",
        "warning",
        (ancient(service=DOWN, gave_up=NOON), Wanted(), HERE),
        [(ancient(service=DOWN), Wanted(), HERE), (ancient(gave_up=NOON), Wanted(), HERE)],
    ),
    ("ntpd_missing", "error", (modern(service=None), Wanted(running=True), HERE), [(modern(service=DOWN), Wanted(), HERE)]),
    (
        "ntp_policy_off",
        "warning",
        (ancient(service=OFF), Wanted(), HERE),
        [
            (ancient(service=OFF), Wanted(policy="off"), HERE),
            (ancient(service=OFF), Wanted(running=False), HERE),
            (ancient(service=Service(False, "off")), Wanted(), HERE),
            (ancient(service=Service(True, "automatic")), Wanted(), HERE),
        ],
    ),
    # A real 8.0.3 host ran ntpd with policy off while the time configuration had it enabled.
    ("ntp_policy_off", "note", (modern(service=OFF), Wanted(), HERE), []),
    (
        "ntp_ruleset_closed",
        "warning",
        (modern(ruleset=Ruleset(enabled=False, controllable=False)), Wanted(), HERE),
        [
            (modern(ruleset=Ruleset(enabled=True, controllable=False)), Wanted(), HERE),
            (modern(ruleset=None), Wanted(), HERE),
            (modern(ruleset=Ruleset(enabled=False, controllable=False), protocol="ptp"), Wanted(), HERE),
            (modern(ruleset=Ruleset(enabled=False, controllable=False), service=DOWN), Wanted(), HERE),
            (modern(ruleset=Ruleset(enabled=False, controllable=False), settling=True), Wanted(), HERE),
        ],
    ),
    ("ntp_ruleset_closed", "warning", (ancient(ruleset=Ruleset(enabled=False, controllable=None)), Wanted(), HERE), []),
    (
        "ntp_shut_out",
        "error",
        (modern(ruleset=listed("198.51.100.0/24")), Wanted(), HERE),
        [
            (modern(ruleset=listed("192.0.2.0/24")), Wanted(), HERE),
            (modern(ruleset=listed("192.0.2.1", "192.0.2.2")), Wanted(), HERE),
            (modern(ruleset=listed("192.0.2.77/24")), Wanted(), HERE),
            (modern(servers=("2001:db8::1",), ruleset=listed("2001:db8::/32")), Wanted(), HERE),
            (modern(ruleset=replace(listed(), all_ip=True)), Wanted(), HERE),
            (modern(ruleset=None), Wanted(), HERE),
            (modern(ruleset=listed("198.51.100.0/24"), protocol="ptp"), Wanted(), HERE),
        ],
    ),
    ("ntp_shut_out", "error", (modern(ruleset=listed()), Wanted(), HERE), []),
    ("ntp_shut_out", "warning", (modern(ruleset=listed("192.0.2.1")), Wanted(), HERE), []),
    ("ntp_shut_out", "warning", (modern(servers=("ntp.example.com",), ruleset=listed("192.0.2.1")), Wanted(), HERE), []),
    (
        "ptp_in_fallback",
        "warning",
        (modern(protocol="ptp", in_fallback=True), Wanted(), HERE),
        [(modern(protocol="ptp", in_fallback=False), Wanted(), HERE), (modern(in_fallback=None), Wanted(), HERE)],
    ),
    (
        "ptp_unsupported",
        "error",
        (modern(ptp_ports=0), PTP_WISH, HERE),
        [
            (modern(ptp_ports=1), PTP_WISH, HERE),
            (modern(ptp_ports=0), Wanted(protocol="ntp"), HERE),
            (ancient(), PTP_WISH, HERE),
        ],
    ),
    ("ptp_unsupported", "error", (modern(ptp_ports=1), Wanted(protocol="ptp", ptp=Ptp(0, (PtpPort(1, "none"),))), HERE), []),
    (
        "time_config_unsupported",
        "error",
        (ancient(), PTP_WISH, HERE),
        [(modern(), PTP_WISH, HERE), (ancient(), Wanted(protocol="ntp"), HERE)],
    ),
    # A host that speaks PTP and cannot be told to speak NTP; one that is not known to speak PTP is left in peace.
    (
        "time_config_unsupported",
        "error",
        (ancient(protocol="ptp"), Wanted(protocol="ntp"), HERE),
        [
            (ancient(protocol="ntp"), Wanted(protocol="ntp"), HERE),
            (ancient(protocol="ptp"), Wanted(servers=("192.0.2.9",)), HERE),
            (modern(protocol="ptp"), Wanted(protocol="ntp"), HERE),
        ],
    ),
    ("time_config_unsupported", "error", (ancient(), Wanted(fallback=True), HERE), [(modern(), Wanted(fallback=False), HERE)]),
]


@pytest.mark.parametrize(
    ("code", "level", "case", "misses"), [pytest.param(*row, id=f"{number}-{row[0]}") for number, row in enumerate(SITUATIONS)]
)
def test_a_situation_is_found_and_its_near_misses_are_not(code: str, level: str, case: Case, misses: list[Case]) -> None:
    assert found(*case).get(code) == level
    for miss in misses:
        assert code not in found(*miss), miss


def test_every_finding_has_a_situation_and_a_near_miss() -> None:
    assert {row[0] for row in SITUATIONS} == set(MEANINGS)
    assert {row[0] for row in SITUATIONS if row[3]} == set(MEANINGS)


@pytest.mark.parametrize("state", [modern(), ancient()], ids=["8.0.3", "6.7"])
def test_a_healthy_host_has_no_findings_and_no_changes(state: State) -> None:
    made = plan(state, Wanted(max_skew=1.0, running=True, policy="on", servers=("192.0.2.1", "192.0.2.2")), HERE)
    assert made.findings == () and made.changes == ()


@pytest.mark.parametrize("code", MEANINGS)
def test_a_meaning_says_what_it_means_where_it_is_seen_and_what_to_do(code: str) -> None:
    meaning = MEANINGS[code]
    assert meaning.level in ("error", "warning", "note")
    for sentence in (meaning.means, meaning.hint):
        assert sentence[0].isupper() or sentence.split()[0] in ("ntpd", "protocol,", "vcenter"), sentence
        assert sentence.endswith("."), sentence
    assert meaning.source


def test_the_text_of_a_finding_carries_the_evidence() -> None:
    state = modern(clock=Clock(2.5, 0.1), working=False, test_report=("no reply from 192.0.2.1", "timeout"), remote_server="203.0.113.9")
    texts = {finding.code: finding.text for finding in plan(state, Wanted(max_skew=1.0, test_servers=True), HERE).findings}
    assert "+2.500 s" in texts["clock_skewed"] and "0.100" in texts["clock_skewed"] and "1 s" in texts["clock_skewed"]
    assert texts["ntp_server_silent"] == "no reply from 192.0.2.1; timeout"
    failed = plan(modern(test_error="Host.Config.DateTime is missing"), Wanted(test_servers=True), HERE).findings
    assert [(finding.code, finding.text) for finding in failed] == [("ntp_test_failed", "Host.Config.DateTime is missing")]
    assert "203.0.113.9" in texts["ntp_wrong_server"] and "192.0.2.2" in texts["ntp_wrong_server"]


# ---- plans by generation ------------------------------------------------------------------------------------------------


def adrift(**fields: Any) -> State:
    """A host that may be stepped: one that is in sync with a server would go back to it."""
    return modern(**{"synced": False, **fields})


def names(state: State, wanted: Wanted, seen: Survey = HERE) -> list[str]:
    return [change.describe()["change"] for change in plan(state, wanted, seen).changes]


@pytest.mark.parametrize(
    ("state", "wanted", "expected"),
    [
        # 7.0.3 and newer: one spec holds it all, the running daemon takes a new list.
        (modern(), Wanted(servers=("192.0.2.9",)), ["configure_time"]),
        (modern(service=DOWN, enabled=False), Wanted(running=True), ["configure_time"]),
        (modern(service=DOWN), Wanted(running=True), ["start_ntpd"]),
        (modern(), Wanted(running=False), ["configure_time"]),
        (modern(service=OFF), Wanted(policy="on"), ["set_ntpd_policy"]),
        (modern(), Wanted(protocol="ptp"), ["configure_time"]),
        (modern(protocol="ptp", service=DOWN), Wanted(protocol="ntp", running=True), ["configure_time", "start_ntpd"]),
        # below: through the service, which reads its list when it starts
        (ancient(), Wanted(servers=("192.0.2.9",)), ["stop_ntpd", "configure_time", "start_ntpd"]),
        (ancient(service=DOWN), Wanted(servers=("192.0.2.9",)), ["configure_time"]),
        (ancient(service=DOWN), Wanted(running=True), ["start_ntpd"]),
        (ancient(), Wanted(running=False), ["stop_ntpd"]),
        (ancient(), Wanted(servers=("192.0.2.9",), running=False), ["stop_ntpd", "configure_time"]),
        (
            ancient(service=DOWN, ruleset=Ruleset(enabled=False, controllable=None)),
            Wanted(running=True),
            ["open_ntp_client", "start_ntpd"],
        ),
        (
            ancient(service=Service(False, "automatic"), ruleset=Ruleset(enabled=False, controllable=None)),
            Wanted(running=True),
            ["open_ntp_client"],
        ),
        # 8.0 Update 2 and newer: the ruleset is the daemon's
        (modern(service=DOWN, enabled=False, ruleset=Ruleset(enabled=False, controllable=False)), Wanted(running=True), ["configure_time"]),
        # 7.0.3 to 8.0 Update 1: enabled, and a ruleset that everybody toggles
        (
            modern(version="7.0.3", service=DOWN, enabled=False, ruleset=Ruleset(enabled=False, controllable=None)),
            Wanted(running=True),
            ["configure_time", "open_ntp_client"],
        ),
        # a step needs a stopped daemon
        (ancient(clock=Clock(4000.0, 0.1)), Wanted(max_skew=1.0, step=True), ["stop_ntpd", "step_clock", "start_ntpd"]),
        (ancient(clock=Clock(4000.0, 0.1), service=DOWN), Wanted(max_skew=1.0, step=True), ["step_clock"]),
        # ... and comes before the write that starts the daemon
        (
            modern(clock=Clock(4000.0, 0.1), service=DOWN, enabled=False, synced=False),
            Wanted(max_skew=1.0, step=True, running=True),
            ["step_clock", "configure_time"],
        ),
        # but not in the run that has just changed something, whose effect is not known yet
        (ancient(clock=Clock(4000.0, 0.1), settling=True), Wanted(max_skew=1.0, step=True), []),
        (ancient(clock=Clock(4000.0, 0.1), service=DOWN, gave_up=NOON), Wanted(max_skew=1.0, step=True), ["step_clock", "start_ntpd"]),
    ],
)
def test_a_plan_is_what_this_release_needs_and_in_this_order(state: State, wanted: Wanted, expected: list[str]) -> None:
    assert names(state, wanted) == expected


@pytest.mark.parametrize("protocol", [None, "ptp"])
def test_ntpd_of_an_old_host_runs_after_a_change_of_servers_if_it_ran_before(protocol: str | None) -> None:
    state = ancient(protocol=protocol)
    end = plan(state, Wanted(servers=("192.0.2.9",)), HERE).predicted
    assert end.servers == ("192.0.2.9",) and end.service == state.service


@pytest.mark.parametrize(
    ("have", "want", "written"),
    [
        (("ntp.example.com",), ("NTP.Example.COM.",), None),
        (("NTP.example.com iburst",), ("ntp.example.com iburst",), None),
        (("2001:db8::1 prefer",), ("2001:0DB8:0:0::1 prefer",), None),
        (("192.0.2.1 iburst",), ("192.0.2.1",), None),
        (("ntp.example.com",), ("ntp.example.com iburst",), ("ntp.example.com iburst",)),
        (("ntp.example.com iburst",), ("NTP.example.com prefer",), ("NTP.example.com prefer",)),
        (("192.0.2.1 minpoll 4",), ("192.0.2.1 minpoll 5",), ("192.0.2.1 minpoll 5",)),
        (("ntp.example.com", "192.0.2.1"), ("192.0.2.1", "NTP.example.com"), ("192.0.2.1", "ntp.example.com")),
    ],
)
def test_servers_are_the_same_when_addresses_and_options_are(
    have: tuple[str, ...], want: tuple[str, ...], written: tuple[str, ...] | None
) -> None:
    made = plan(modern(servers=have), Wanted(servers=want), HERE)
    assert list(made.changes) == ([ConfigureTime(servers=written)] if written else [])
    assert made.predicted.servers == (written or have)


@pytest.mark.parametrize(
    ("state", "wanted", "seen", "steps"),
    [
        (adrift(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True), HERE, True),
        (adrift(clock=Clock(-100.0, 0.1)), Wanted(max_skew=1.0, step=True), HERE, True),
        (adrift(clock=Clock(60.05, 0.1)), Wanted(max_skew=1.0, step=True), HERE, False),
        (adrift(clock=Clock(59.0, 0.1)), Wanted(max_skew=1.0, step=True), HERE, False),
        (adrift(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0), HERE, False),
        (adrift(clock=Clock(100.0, 0.1)), Wanted(max_skew=500.0, step=True), HERE, False),
        (adrift(clock=Clock(100.0, 50.0)), Wanted(max_skew=1.0, step=True), HERE, False),
        (adrift(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True), Survey(reference=Clock(100.0, 0.0)), False),
        (adrift(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True), SUSPECT, False),
        (adrift(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True), NO_REFERENCE, False),
        (adrift(clock=Clock(100.0, 0.1), protocol="ptp"), Wanted(max_skew=1.0, step=True), HERE, False),
        (adrift(clock=Clock(100.0, 0.1)), replace(PTP_WISH, max_skew=1.0, step=True), HERE, False),
        (adrift(clock=None), Wanted(max_skew=1.0, step=True), HERE, False),
        (adrift(clock=Clock(100.0, 0.1), stepped=True), Wanted(max_skew=1.0, step=True), HERE, False),
        (adrift(clock=Clock(100.0, 0.1), settling=True), Wanted(max_skew=1.0, step=True), HERE, False),
        # whoever follows a server would go back to it, unless that server is taken away in the same run
        (modern(clock=Clock(100.0, 0.1), synced=True), Wanted(max_skew=1.0, step=True), HERE, False),
        (modern(clock=Clock(100.0, 0.1), synced=None), Wanted(max_skew=1.0, step=True), HERE, True),
        (ancient(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True), HERE, True),
        (modern(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True, servers=("192.0.2.9",)), HERE, True),
        (modern(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True, servers=("192.0.2.1", "192.0.2.2")), HERE, False),
        (
            modern(clock=Clock(100.0, 0.1), servers=("ntp.example.com",)),
            Wanted(max_skew=1.0, step=True, servers=("NTP.Example.com.",)),
            HERE,
            False,
        ),
        (modern(clock=Clock(100.0, 0.1)), Wanted(max_skew=1.0, step=True, policy="off", fallback=False), HERE, False),
    ],
)
def test_a_clock_is_stepped_only_when_all_guards_agree(state: State, wanted: Wanted, seen: Survey, steps: bool) -> None:
    assert ("step_clock" in names(state, wanted, seen)) == steps


def test_a_step_leads_to_the_reference_and_not_to_the_control_node() -> None:
    seen = Survey(reference=Clock(-30.0, 0.1))
    (step,) = [c for c in plan(adrift(clock=Clock(500.0, 0.1)), Wanted(max_skew=1.0, step=True), seen).changes if isinstance(c, StepClock)]
    assert step.shift == -30.0


def test_changes_describe_themselves_with_what_they_write() -> None:
    ptp = Ptp(3, (PtpPort(0, "virtualNic", "vmk1"),))
    assert ConfigureTime(servers=("a", "b"), enabled=False).describe() == {
        "change": "configure_time",
        "servers": ["a", "b"],
        "enabled": False,
    }
    shown = ConfigureTime(ptp=ptp).describe()["ptp"]
    assert shown["domain"] == 3 and shown["ports"][0]["device"] == "vmk1"
    assert SetNtpdPolicy("off").describe() == {"change": "set_ntpd_policy", "policy": "off"}
    assert StepClock("fleet", 1.5).describe() == {"change": "step_clock", "reference": "fleet"}
    assert [c.describe() for c in (StopNtpd(), StartNtpd(), OpenNtpClient())] == [
        {"change": "stop_ntpd"},
        {"change": "start_ntpd"},
        {"change": "open_ntp_client"},
    ]


# ---- the reference --------------------------------------------------------------------------------------------------------


def clocked(*offsets: float | None) -> list[State]:
    return [modern(clock=None if offset is None else Clock(offset, 0.01)) for offset in offsets]


def look(reference: str, offsets: list[float | None], vcenter: float | None = None, limit: float = 1.0) -> tuple[float | None, str | None]:
    common = {} if vcenter is None else {"clock": Clock(vcenter, 0.01)}
    seen = survey(clocked(*offsets), common, Wanted(max_skew=limit, reference=reference))
    return (None if seen.reference is None else seen.reference.offset), (seen.doubt.code if seen.doubt else None)


@pytest.mark.parametrize(
    ("reference", "offsets", "vcenter", "expected"),
    [
        # the control node is believed while the others do not agree against it
        ("control_node", [0.0, 0.1, 0.2], 0.0, (0.0, None)),
        ("control_node", [], None, (0.0, None)),
        ("control_node", [500.0], None, (0.0, None)),
        ("control_node", [500.0, 500.1], None, (0.0, "control_node_suspect")),
        ("control_node", [500.0], 500.1, (0.0, "control_node_suspect")),
        ("control_node", [500.0, 500.1, 0.0], None, (0.0, "control_node_suspect")),
        ("control_node", [500.0, 500.1, 0.0, 0.1], None, (0.0, None)),
        ("control_node", [500.0, -700.0, 9000.0], None, (0.0, None)),
        ("control_node", [500.0, 500.1, -700.0, 9000.0], None, (0.0, None)),
        ("control_node", [500.0, 500.1, 500.2, -700.0, 9000.0], None, (0.0, "control_node_suspect")),
        ("control_node", [500.0, None, None], None, (0.0, None)),
        ("control_node", [0.9, 0.8, 0.9], None, (0.0, None)),
        ("control_node", [500.0, 500.1, 500.2, 80.0, -20.0], None, (0.0, "control_node_suspect")),
        # vCenter
        ("vcenter", [0.0, 0.1], 0.0, (0.0, None)),
        ("vcenter", [30.0, 30.1], 30.0, (30.0, None)),
        ("vcenter", [0.0, 0.1], 500.0, (500.0, "vcenter_clock_suspect")),
        ("vcenter", [0.0, 0.1], None, (None, "reference_unavailable")),
        ("vcenter", [], 500.0, (500.0, None)),
        # the hosts among themselves
        ("fleet", [5.0, 5.1, 900.0], None, (5.1, None)),
        ("fleet", [5.0, 5.1, 5.2, 5.3], None, (5.15, None)),
        ("fleet", [5.0, 5.1], None, (None, "reference_unavailable")),
        ("fleet", [5.0, 5.1, None], None, (None, "reference_unavailable")),
        ("fleet", [], 5.0, (None, "reference_unavailable")),
        ("fleet", [0.0, 1000.0, -2000.0], None, (None, "fleet_disagrees")),
        ("fleet", [0.0, 0.1, 1000.0, 1000.1], None, (None, "fleet_disagrees")),
        ("fleet", [0.0, 0.1, 0.2, 1000.0, 1000.1], None, (0.2, None)),
    ],
)
def test_the_reference_and_whether_it_is_believed(
    reference: str, offsets: list[float | None], vcenter: float | None, expected: tuple[float | None, str | None]
) -> None:
    offset, doubt = look(reference, offsets, vcenter)
    assert doubt == expected[1]
    assert (offset is None) == (expected[0] is None)
    if offset is not None and expected[0] is not None:
        assert math.isclose(offset, expected[0], abs_tol=1e-9)


@pytest.mark.parametrize("offsets", [[0.0, 1000.0, -2000.0], [0.0, 0.1, 1000.0, 1000.1], [0.0, 400.0, 800.0, 1200.0, 1600.0]])
def test_nobody_is_stepped_to_the_middle_of_a_fleet_that_does_not_agree(offsets: list[float]) -> None:
    """A median without a majority behind it is no reference that can be trusted."""
    wanted = Wanted(max_skew=1.0, reference="fleet", step=True, step_threshold=60.0)
    seen = survey(clocked(*offsets), {}, wanted)
    for state in clocked(*offsets):
        assert "step_clock" not in names(replace(state, synced=False), wanted, seen)
        trusted = survey(clocked(0.0, 0.0, 0.0), {}, wanted)
        assert ("step_clock" in names(replace(state, synced=False), wanted, trusted)) == (
            abs(state.clock.offset if state.clock else 0) > 60
        )


@pytest.mark.parametrize("slow", [Clock(500.2, 600.0), Clock(500.0, 600.0), Clock(-300.0, 900.0), Clock(1500.0, 1600.0)])
def test_one_slow_reading_does_not_switch_a_doubt_off(slow: Clock) -> None:
    quick = [modern(clock=Clock(offset, 0.01)) for offset in (500.1, 500.1, 500.1, 500.1)]
    for states in ([*quick, modern(clock=slow)], [modern(clock=slow), *quick]):
        for reference, common, code in (
            ("control_node", {}, "control_node_suspect"),
            ("vcenter", {"clock": Clock(0.0, 0.01)}, "vcenter_clock_suspect"),
        ):
            doubt = survey(states, common, Wanted(max_skew=1.0, reference=reference)).doubt
            assert doubt is not None and doubt.code == code and "+500.1 s" in doubt.text


def test_the_middle_of_a_fleet_is_as_certain_as_its_middle_clocks() -> None:
    def middle(*clocks: Clock) -> Clock | None:
        return survey([modern(clock=clock) for clock in clocks], {}, Wanted(max_skew=1.0, reference="fleet")).reference

    near, far = Clock(5.0, 0.01), Clock(5.3, 30.0)
    assert middle(far, near, Clock(5.1, 0.02)) == Clock(5.1, 0.02)
    assert middle(near, Clock(5.1, 0.02), Clock(4.9, 40.0)) == near
    even = middle(Clock(4.0, 50.0), near, Clock(5.2, 0.03), far)
    assert even is not None and even.offset == pytest.approx(5.1) and even.bound == 0.03
    assert middle(Clock(5.1, 30.0), near, Clock(5.2, 0.02)) == Clock(5.1, 30.0), "a slow clock in the middle is as uncertain as it is"


def test_no_clock_is_judged_unless_max_skew_asks_for_it() -> None:
    assert survey(clocked(500.0, 500.1, 500.2), {}, Wanted()) == Survey()


def test_a_doubted_reference_is_told_for_every_host_with_the_evidence() -> None:
    wanted = Wanted(max_skew=1.0)
    seen = survey(clocked(500.0, 500.1, 0.0), {}, wanted)
    made = plan(modern(clock=Clock(500.0, 0.01)), wanted, seen)
    (doubt,) = made.errors
    assert doubt.code == "control_node_suspect" and "2 of 3" in doubt.text and "+500.0 s" in doubt.text and "reference" in doubt.hint


@pytest.mark.parametrize(("limit", "verdict"), [(1.0, True), (0.75, None), (0.5, None), (0.4, False)])
def test_a_clock_is_aligned_only_if_its_offset_and_the_error_together_are_within(limit: float, verdict: bool | None) -> None:
    assert Clock(-0.65, 0.2).within(limit) is verdict
    assert Clock(0.65, 0.2).within(limit) is verdict


def test_the_errors_of_two_readings_add_up() -> None:
    assert Clock(5.0, 0.2).minus(Clock(3.0, 0.1)).bound == pytest.approx(0.3)
    assert Clock(5.0, 0.2).minus(Clock(3.0, 0.1)).offset == 2.0


@pytest.mark.parametrize(
    ("state", "wanted", "expected"),
    [
        (modern(), Wanted(), True),
        (modern(synced=False), Wanted(), False),
        (ancient(), Wanted(), True),
        (modern(clock=Clock(5.0, 0.1)), Wanted(max_skew=1.0), False),
        (modern(clock=Clock(0.5, 0.1)), Wanted(max_skew=1.0), True),
        (modern(clock=Clock(0.95, 0.1)), Wanted(max_skew=1.0), True),
        # time mends none of these
        (modern(synced=False, service=DOWN), Wanted(), True),
        (modern(synced=False, servers=()), Wanted(), True),
        (modern(synced=False, ruleset=listed("198.51.100.1")), Wanted(), True),
        (modern(synced=False, working=False), Wanted(test_servers=True), True),
    ],
)
def test_waiting_ends_when_the_host_is_synchronised_and_in_time_or_never_will_be(state: State, wanted: Wanted, expected: bool) -> None:
    assert ntp.settled(state, wanted, HERE) is expected


def test_a_state_read_back_without_a_clock_keeps_the_earlier_one() -> None:
    earlier, later = Clock(0.5, 0.1), Clock(0.1, 0.1)
    assert ntp.after(modern(clock=None), modern(clock=earlier, settling=True), False).clock == earlier
    assert ntp.after(modern(clock=later), modern(clock=earlier), False).clock == later
    assert ntp.after(modern(clock=None), StepClock("fleet", 1.0).applied_to(modern(clock=earlier)), False).clock is None
    kept = ntp.after(modern(clock=None, synced=False), modern(clock=earlier, settling=True, stepped=True), True)
    assert kept.settling and kept.stepped and kept.waited and kept.synced is False


def test_a_report_rounds_the_skew_and_says_whether_it_is_aligned() -> None:
    state = modern(clock=Clock(0.12345678, 0.1), working=True, test_report=("fine",))
    shown = ntp.report(state, Wanted(max_skew=1.0), HERE, full=True)
    assert shown["skew"] == {"offset": 0.123457, "bound": 0.1, "aligned": True}
    assert ntp.report(state, Wanted(max_skew=1.0), HERE, full=False) == {"skew": shown["skew"]}
    assert ntp.report(state, Wanted(max_skew=0.2), HERE, full=True)["skew"]["aligned"] is None
    assert ntp.report(state, Wanted(max_skew=0.01), HERE, full=True)["skew"]["aligned"] is False
    assert shown["test"] == {"working": True, "report": ["fine"]}
    assert ntp.report(modern(test_error="x"), Wanted(test_servers=True), HERE, full=True)["test"] is None
    assert shown["last_sync"] == "2026-01-02T12:00:00+00:00"
    assert ntp.report(modern(clock=None), Wanted(), HERE, full=True)["skew"] is None


def test_a_diff_of_an_old_host_shows_nothing_that_it_does_not_have() -> None:
    assert set(ntp.settings(ancient())) == {"ntp_servers", "service_policy", "service_running", "ntp_client_open"}
    assert {"protocol", "enabled", "ntp_fallback", "ptp"} <= set(ntp.settings(modern()))


# ---- input ----------------------------------------------------------------------------------------------------------------

PORT = {"index": 0, "device_type": "virtualNic", "device": "vmk1"}

# What is given, the option that the sentence has to name, and what of the value it has to quote.
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"ntp_servers": []}, "ntp_servers", "empty"),
    ({"ntp_servers": [""]}, "ntp_servers", "1"),
    ({"ntp_servers": ["192.0.2.1", "   "]}, "ntp_servers", "2"),
    ({"ntp_servers": ["# a comment"]}, "ntp_servers", "1"),
    ({"ntp_servers": ["999.1.1.1"]}, "ntp_servers", "999.1.1.1"),
    ({"ntp_servers": ["192.0.2.256"]}, "ntp_servers", "192.0.2.256"),
    ({"ntp_servers": ["192.0.2.1,192.0.2.2"]}, "ntp_servers", "192.0.2.1,192.0.2.2"),
    ({"ntp_servers": ["192.0.2.1/24"]}, "ntp_servers", "192.0.2.1/24"),
    ({"ntp_servers": ["http://ntp.example.com"]}, "ntp_servers", "http://ntp.example.com"),
    ({"ntp_servers": ["ntp.example.com:123"]}, "ntp_servers", "ntp.example.com:123"),
    ({"ntp_servers": ["ntp..example.com"]}, "ntp_servers", "ntp..example.com"),
    ({"ntp_servers": ["-ntp.example.com"]}, "ntp_servers", "-ntp.example.com"),
    ({"ntp_servers": ["ntp!.example.com"]}, "ntp_servers", "ntp!.example.com"),
    ({"ntp_servers": ["x" * 64 + ".example.com"]}, "ntp_servers", "x" * 64),
    ({"ntp_servers": ["a." * 130 + "com"]}, "ntp_servers", "a.a."),
    ({"ntp_servers": ["fe80::1::2"]}, "ntp_servers", "fe80::1::2"),
    ({"ntp_servers": ["{{ undefined }}"]}, "ntp_servers", "{{"),
    ({"ntp_servers": ["None", "192.0.2.1", "192.0.2.1"]}, "ntp_servers", "192.0.2.1"),
    ({"ntp_servers": ["192.0.2.1", "192.0.2.1 iburst"]}, "ntp_servers", "192.0.2.1"),
    ({"ntp_servers": ["NTP.example.com", "ntp.example.com."]}, "ntp_servers", "ntp.example.com."),
    ({"ntp_servers": ["2001:db8::1", "2001:DB8:0::1"]}, "ntp_servers", "2001:DB8:0::1"),
    # Two servers in one entry: the second would be written as an option of the first.
    ({"ntp_servers": ["192.0.2.1 192.0.2.2"]}, "ntp_servers", "192.0.2.2"),
    # Addresses that no server can have.
    *(
        ({"ntp_servers": ["192.0.2.1", address]}, "ntp_servers entry 2", repr(address))
        for address in (
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "0:0::1",
            "224.0.1.1",
            "239.255.0.1",
            "ff02::101",
            "255.255.255.255",
        )
    ),
    ({"ntp_servers": ["127.0.0.1 iburst"]}, "ntp_servers", "'127.0.0.1'"),
    # Options that need a number, and numbers that need an option.
    *(
        ({"ntp_servers": [f"192.0.2.1 {option}"]}, "ntp_servers", repr(option))
        for option in ("key", "minpoll", "maxpoll", "mode", "ttl", "version")
    ),
    ({"ntp_servers": ["192.0.2.1 iburst minpoll"]}, "ntp_servers", "'minpoll'"),
    ({"ntp_servers": ["192.0.2.1 minpoll iburst"]}, "ntp_servers", "'iburst'"),
    ({"ntp_servers": ["192.0.2.1 minpoll -4"]}, "ntp_servers", "'-4'"),
    ({"ntp_servers": ["192.0.2.1 4"]}, "ntp_servers", "'4'"),
    ({"ntp_servers": ["192.0.2.1 iburst 4"]}, "ntp_servers", "'4'"),
    ({"ntp_servers": ["192.0.2.1 minpoll 4 10"]}, "ntp_servers", "'10'"),
    ({"ptp": {"domain": 1}}, "ptp", "protocol"),
    ({"ptp": {"domain": 1}, "protocol": "ntp"}, "ptp", "protocol"),
    ({"ptp": {"domain": 256}, "protocol": "ptp"}, "ptp.domain", "256"),
    ({"ptp": {"domain": -1}, "protocol": "ptp"}, "ptp.domain", "-1"),
    ({"ptp": {"ports": [{**PORT, "index": -1}]}, "protocol": "ptp"}, "ptp.ports", "-1"),
    ({"ptp": {"ports": [PORT, {**PORT, "device": "vmk2"}]}, "protocol": "ptp"}, "ptp.ports", "twice"),
    ({"ptp": {"ports": [{**PORT, "device": None}]}, "protocol": "ptp"}, "ptp.ports", "device"),
    ({"ptp": {"ports": [{**PORT, "device": ""}]}, "protocol": "ptp"}, "ptp.ports", "device"),
    ({"ptp": {"ports": [{**PORT, "ip_address": "999.1.1.1"}]}, "protocol": "ptp"}, "ip_address", "999.1.1.1"),
    ({"ptp": {"ports": [{**PORT, "subnet_mask": "/24"}]}, "protocol": "ptp"}, "subnet_mask", "/24"),
    ({"step": "guarded"}, "step", "max_skew"),
    ({"max_skew": 0.0}, "max_skew", "0"),
    ({"max_skew": -1.0}, "max_skew", "-1"),
    ({"max_skew": math.nan}, "max_skew", "nan"),
    ({"max_skew": math.inf}, "max_skew", "inf"),
    ({"step_threshold": 0.0}, "step_threshold", "0"),
    ({"step_threshold": -5.0}, "step_threshold", "-5"),
    ({"step_threshold": math.inf}, "step_threshold", "inf"),
    ({"wait_for_sync": -1.0}, "wait_for_sync", "-1"),
    ({"wait_for_sync": 86401.0}, "wait_for_sync", "86401"),
    ({"wait_for_sync": math.nan}, "wait_for_sync", "nan"),
    ({"clock_samples": 0}, "clock_samples", "0"),
    ({"clock_samples": -1}, "clock_samples", "-1"),
    ({"clock_samples": 21}, "clock_samples", "21"),
]


@pytest.mark.parametrize(("params", "option", "value"), BAD, ids=[f"{n}-{row[1]}" for n, row in enumerate(BAD)])
def test_bad_input_is_refused_with_the_option_the_value_and_the_cure(params: dict[str, Any], option: str, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(params)
    problem = caught.value
    assert option in problem.cause and value in problem.cause
    assert problem.hint.endswith(".") and problem.sentence == f"{problem.cause}. {problem.hint}"
    assert problem.as_failure()["kind"] == "bad_input"


def test_nothing_given_is_a_wish_for_nothing() -> None:
    assert parse({}) == Wanted()
    assert parse({"ntp_servers": None, "service_state": None, "ptp": None, "wait_for_sync": 0}) == Wanted()


@pytest.mark.parametrize(
    ("params", "field", "value"),
    [
        ({"ntp_servers": ["192.0.2.1  iburst # first", " ntp.example.com "]}, "servers", ("192.0.2.1 iburst", "ntp.example.com")),
        ({"ntp_servers": ["2001:db8::1"]}, "servers", ("2001:db8::1",)),
        ({"ntp_servers": ["192.0.2.1 iburst minpoll 4 maxpoll 10 prefer key 7"]}, "servers", ("192.0.2.1 iburst minpoll 4 maxpoll 10 prefer key 7",)),
        ({"ntp_servers": ["169.254.0.1", "fe80::1", "10.0.0.1"]}, "servers", ("169.254.0.1", "fe80::1", "10.0.0.1")),
        ({"ntp_servers": ["0.pool.ntp.org", "localhost", "time_1.example.com"]}, "servers", ("0.pool.ntp.org", "localhost", "time_1.example.com")),
        ({"ntp_servers": ["192.0.2.1"], "ntp_servers_state": "absent"}, "servers_state", "absent"),
        ({"service_state": "started"}, "running", True),
        ({"service_state": "stopped"}, "running", False),
        ({"service_policy": "automatic"}, "policy", "automatic"),
        (
            {"protocol": "ptp", "ptp": {"ports": [{"index": 1, "device_type": "none"}, PORT]}},
            "ptp",
            Ptp(None, (PtpPort(0, "virtualNic", "vmk1"), PtpPort(1, "none"))),
        ),
        ({"protocol": "ptp", "ptp": {"domain": 0, "ports": None}}, "ptp", Ptp(0)),
        ({"ntp_fallback": False}, "fallback", False),
        ({"step": "guarded", "max_skew": 1.0, "step_threshold": 5.0}, "step_threshold", 5.0),
        ({"step": "never"}, "step", False),
        ({"reference": "fleet", "max_skew": 0.25}, "reference", "fleet"),
        ({"wait_for_sync": 30}, "wait_for_sync", 30.0),
        ({"clock_samples": 20}, "samples", 20),
    ],
)  # fmt: skip
def test_good_input_is_taken(params: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(parse(params), field) == value

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors, findings and plans: one sentence for people, the same facts as data."""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import json

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import errors
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, ServerFault
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.ntp import MEANINGS, SetNtpdPolicy, StartNtpd, StopNtpd
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import LEVELS, Finding, Meaning, Plan, plain
from tests.unit.domain.makers import modern

KINDS = [cls for _name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, FleetcareError)]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ServerFault("it refused"), "it refused."),
        (ServerFault("it refused."), "it refused."),
        (ServerFault("it refused", hint="Look there."), "it refused. Look there."),
        (ServerFault("it refused", target="esx-01"), "esx-01: it refused."),
        (ServerFault("it refused", doing="start ntpd"), "it refused (while start ntpd)."),
        (
            ServerFault("it refused", target="esx-01", fault="HostConfigFault", doing="start ntpd", hint="Look there."),
            "esx-01: it refused [HostConfigFault] (while start ntpd). Look there.",
        ),
    ],
)
def test_an_error_is_one_sentence_with_place_cause_and_next_step(error: FleetcareError, sentence: str) -> None:
    assert error.sentence == str(error) == error.as_failure()["message"] == sentence


def test_the_place_is_filled_in_where_it_is_unknown_and_never_replaced() -> None:
    error = ServerFault("no", doing="reading")
    assert error.at(target="esx-01", doing="writing") is error
    error.at(target="esx-02")
    assert (error.target, error.doing) == ("esx-01", "reading")


def test_every_kind_of_error_has_a_name_of_its_own_and_is_json() -> None:
    assert len({cls.kind for cls in KINDS}) == len(KINDS) > 8
    for cls in KINDS:
        failure = cls("cause").as_failure()
        assert json.loads(json.dumps(failure)) == failure and failure["kind"] == cls.kind
        assert failure["fault"] is failure["doing"] is None
        assert failure["hint"] is None or failure["hint"].endswith(".")


def test_a_plan_predicts_by_applying_its_changes_in_order() -> None:
    state = modern()
    plan = Plan(observed=state, changes=(StopNtpd(), SetNtpdPolicy("off"), StartNtpd()))
    assert plan.predicted.service.running and plan.predicted.service.policy == "off" and plan.observed is state
    assert Plan(observed=state).predicted is state


def test_errors_of_a_plan_are_its_findings_of_that_level() -> None:
    made = [Finding(level, "some_code", "text", "hint") for level in LEVELS]
    assert Plan(observed=1, findings=tuple(made)).errors == (made[0],)


def test_a_finding_takes_level_and_hint_from_its_meaning_unless_told_otherwise() -> None:
    meaning = Meaning("warning", "It means.", "Do this.", "somewhere")
    assert meaning.found("some_code", "evidence") == Finding("warning", "some_code", "evidence", "Do this.")
    assert meaning.found("some_code", "evidence", level="note").level == "note"


@pytest.mark.parametrize("code", ["clock_skewed", "ntpd_stopped"])
def test_values_cannot_be_changed(code: str) -> None:
    for value, name in (
        (MEANINGS[code], "hint"),
        (MEANINGS[code].found(code, "x"), "level"),
        (modern(), "servers"),
        (Plan(observed=1), "changes"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)


def test_plain_values_are_what_json_knows() -> None:
    shown = plain({"when": datetime.date(2026, 1, 2), "service": modern().service, 5: (1, [2.5, None])})
    assert shown == {"when": "2026-01-02", "service": {"running": True, "policy": "on"}, "5": [1, [2.5, None]]}
    assert json.loads(json.dumps(shown)) == shown

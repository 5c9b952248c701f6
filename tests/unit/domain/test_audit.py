# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts: what a plan comes to, with and without exceptions."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import audit
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.audit_controls import CONTROLS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.audit_profile import Profile, parse
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import HostUnreachable, NotCompliant, ServerFault
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Finding, Plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.report_model import VERDICTS, WORDS
from tests.unit import house

TODAY = datetime.date(2026, 11, 22)


@dataclass(frozen=True)
class Mend:
    """A change, as those of features are."""

    name: str = "mend"

    def applied_to(self, state: Any) -> Any:
        return state + 1

    def describe(self) -> dict[str, Any]:
        return {"change": self.name, "servers": ["192.0.2.1", "192.0.2.2"]}


@dataclass(frozen=True)
class Otherwise(Mend):
    name: str = "otherwise"
    fallback: ClassVar[bool] = True


def found(level: str, code: str = "", *, lasting: bool = False) -> Finding:
    return Finding(level, code or f"is_{level}", f"this is {level}", "Do it.", lasting)


def judged(before: tuple[Finding, ...], after: tuple[Finding, ...], changes: int = 0) -> dict[str, Any]:
    return audit.judged(Plan(observed=0, findings=before, changes=(Mend(),) * changes), Plan(observed=1, findings=after), None)


@pytest.mark.parametrize(
    ("before", "after", "changes", "verdict", "repairable"),
    [
        ((), (), 0, "compliant", []),
        ((found("note"),), (found("note"),), 0, "compliant", []),
        ((found("warning"),), (found("warning"),), 0, "compliant", []),
        ((found("error"),), (found("error"),), 0, "not_compliant", []),
        ((found("error"),), (), 1, "repairable", ["is_error"]),
        ((found("warning"),), (), 1, "repairable", ["is_warning"]),
        ((found("error"), found("warning")), (found("error"),), 1, "not_compliant", ["is_warning"]),
        ((), (), 2, "repairable", ["setting_differs"]),
        ((found("warning", lasting=True),), (), 1, "repairable", ["setting_differs"]),
    ],
)
def test_the_verdict_of_a_plan(
    before: tuple[Finding, ...], after: tuple[Finding, ...], changes: int, verdict: str, repairable: list[str]
) -> None:
    judgement = judged(before, after, changes)
    assert judgement["verdict"] == verdict
    assert [row["code"] for row in judgement.get("findings", ()) if row.get("repairable")] == repairable
    assert len(judgement.get("changes", ())) == changes


def test_a_change_that_no_finding_explains_is_told_with_its_values() -> None:
    (row,) = judged((), (), 1)["findings"]
    assert row["text"] == "mend (servers: 192.0.2.1 192.0.2.2)"


@pytest.mark.parametrize(
    ("failure", "verdict", "code"),
    [
        (HostUnreachable("vCenter says that the host is notResponding"), "unreachable", "not_reached"),
        (ServerFault("it said no"), "failed", "not_judged"),
    ],
)
def test_what_could_not_be_judged(failure: Any, verdict: str, code: str) -> None:
    judgement = audit.judged(None, None, failure)
    assert (judgement["verdict"], judgement["findings"][0]["code"]) == (verdict, code)
    assert judgement["failure"]["cause"] == judgement["findings"][0]["text"]


def test_an_exception_for_others_does_not_change_why_something_could_not_be_judged() -> None:
    for failure, verdict in ((HostUnreachable("away"), "unreachable"), (ServerFault("no"), "failed")):
        target = part(audit.judged(None, None, failure))
        audit.excused([target], with_exceptions({"feature": "license"}), TODAY)
        assert target["judgements"]["ntp"]["verdict"] == verdict
        made = audit.worst([{"verdict": "compliant"}, target["judgements"]["ntp"]])
        assert made["verdict"] == verdict and made["failure"]["cause"] == failure.cause


def test_a_second_way_that_is_only_taken_if_the_first_is_refused_is_no_change_to_come() -> None:
    plan = Plan(observed=0, findings=(found("error"),), changes=(Mend(), Otherwise()))
    assert [each["change"] for each in audit.judged(plan, Plan(observed=1), None)["changes"]] == ["mend"]


def test_errors_that_are_findings_are_no_failure() -> None:
    plan = Plan(observed=0, findings=(found("error"),))
    assert audit.judged(plan, plan, NotCompliant("is_error"))["verdict"] == "not_compliant"


def with_exceptions(*limits: dict[str, Any]) -> Profile:
    entries = [
        {"id": f"E{number}", "owner": "o", "reason": "r", "expires": "2026-11-22", "feature": "ntp", **limit}
        for number, limit in enumerate(limits)
    ]
    groups = [{"name": "dmz", "esxi_hostname": ["*"], "features": {}}]
    return parse({"features": {"ntp": {}}, "groups": groups, "exceptions": entries}, WORDS)


def part(judgement: dict[str, Any], word: str = "ntp", **more: Any) -> dict[str, Any]:
    return {
        "name": "esx-1.example.com",
        "moid": "host-1",
        "path": "dc/esx-1.example.com",
        "groups": [],
        "judgements": {word: judgement},
        **more,
    }


ERRORS = (found("error", "one"), found("error", "two"))


@pytest.mark.parametrize(
    ("limits", "more", "verdict"),
    [
        ([{}], {}, "excepted"),
        ([{"feature": "license"}], {}, "not_compliant"),
        ([{"codes": ["one"]}], {}, "not_compliant"),
        ([{"codes": ["one"]}, {"codes": ["two"]}], {}, "excepted"),
        ([{"codes": ["one", "two"], "expires": "2026-11-21"}], {}, "not_compliant"),
        ([{"expires": "2026-11-21"}, {}], {}, "excepted"),
        ([{"targets": ["ESX-1*"]}], {}, "excepted"),
        ([{"targets": ["host-1"]}], {}, "excepted"),
        ([{"targets": ["dc/*"]}], {}, "excepted"),
        ([{"targets": ["DC/esx-1.example.com"]}], {}, "excepted"),
        # What a folder is called is no name of what is in it, and every object id begins so.
        ([{"targets": ["dc*"]}], {}, "not_compliant"),
        ([{"targets": ["host-*"]}], {}, "not_compliant"),
        ([{"targets": ["esx[1]"]}], {"name": "esx[1]"}, "excepted"),
        # vCenter lets names have a slash.
        ([{"targets": ["web/*"]}], {"name": "web/01"}, "excepted"),
        ([{"targets": ["esx-2*"]}], {}, "not_compliant"),
        ([{"groups": ["dmz"]}], {}, "not_compliant"),
        ([{"groups": ["dmz"]}], {"groups": ["dmz"]}, "excepted"),
    ],
)
def test_what_an_exception_covers(limits: list[dict[str, Any]], more: dict[str, Any], verdict: str) -> None:
    target = part(judged(ERRORS, ERRORS), **more)
    audit.excused([target], with_exceptions(*limits), TODAY)
    assert target["judgements"]["ntp"]["verdict"] == verdict


def test_an_excused_warning_is_no_exception_to_a_verdict() -> None:
    warnings = (found("warning"),)
    target = part(judged(warnings, warnings))
    (told,) = audit.excused([target], with_exceptions({}), TODAY)
    assert target["judgements"]["ntp"]["verdict"] == "compliant" and (told["status"], told["findings"]) == ("active", 1)


def test_a_repair_that_is_excused_is_not_asked_for() -> None:
    target = part(judged((), (), 1))
    audit.excused([target], with_exceptions({"codes": ["setting_differs"]}), TODAY)
    assert target["judgements"]["ntp"]["verdict"] == "excepted"


findings = st.lists(
    st.builds(found, st.sampled_from(["error", "warning", "note"]), st.sampled_from(["one", "two", "three"])), max_size=4
).map(tuple)


@given(findings, findings, st.integers(0, 2))
def test_an_exception_for_all_leaves_nothing_wrong_and_none_changes_nothing(
    before: tuple[Finding, ...], after: tuple[Finding, ...], changes: int
) -> None:
    plain, same, excused = (part(judged(before, after, changes)) for _turn in range(3))
    audit.excused([same], with_exceptions({"feature": "license"}), TODAY)
    assert same == plain
    audit.excused([excused], with_exceptions({}), TODAY)
    assert excused["judgements"]["ntp"]["verdict"] in ("compliant", "excepted")
    assert (plain["judgements"]["ntp"]["verdict"] == "compliant") == (excused["judgements"]["ntp"]["verdict"] == "compliant")


@given(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=4))
def test_several_judgements_of_one_thing_are_as_bad_as_the_worst(given_verdicts: list[str]) -> None:
    made = audit.worst([{"verdict": verdict, "findings": [{"level": "note", "code": "c", "text": "t"}]} for verdict in given_verdicts])
    assert VERDICTS.index(made["verdict"]) == max(map(VERDICTS.index, given_verdicts)) and len(made["findings"]) == 1


@given(st.integers(1, 9), st.sampled_from(["host", "vm"]), st.integers(0, 10**6))
def test_everything_is_in_just_one_slice(parts: int, kind: str, number: int) -> None:
    assert sum(audit.part_of(kind, f"{kind}-{number}", (one, parts)) for one in range(1, parts + 1)) == 1
    assert audit.part_of(kind, f"{kind}-{number}", None)


def test_slices_are_of_a_size() -> None:
    sizes = [sum(audit.part_of("host", f"host-{number}", (one, 4)) for number in range(1000)) for one in range(1, 5)]
    assert sum(sizes) == 1000 and max(sizes) < 1.2 * min(sizes)


def test_controls_are_about_codes_that_there_are(pytestconfig: pytest.Config) -> None:
    tree = house.read(pytestconfig.rootpath)
    known = {code for path, text in tree.items() if path.startswith("plugins/module_utils/_domain/") for code in house.meanings(text)}
    assert known and not {code for control in CONTROLS for code in control.codes} - known

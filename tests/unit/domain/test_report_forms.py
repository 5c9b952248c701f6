# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table, JUnit and the text of a report, read by whoever reads them: csv, a pipeline's parser, a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import junitparser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import report_csv, report_gate, report_junit, report_text
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.report import merged
from tests.reports.samples import sample, summary

Report = dict[str, Any]
UNJUDGED = ("unreachable", "failed")
FAILURE = {
    "kind": "login_refused",
    "fault": "InvalidLogin",
    "doing": None,
    "cause": "the login is refused",
    "message": "vc: refused.",
    "hint": "Ask.",
}
# Whatever somebody may call a machine: markup, formulas, control characters, half a surrogate pair, writing from right to left.
HOSTILE = st.one_of(
    st.sampled_from(
        ("=1+1", "@SUM(A1)", "</testcase>", "]]>", "\x00", "\x1b[2J", "\ud800", "\u202egnp.exe", "a\r\nb", '"', ",", "x" * 300)
    ),
    st.text(min_size=1, max_size=20),
)


def rows_of(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(report_csv.table(report), newline="")))


def parsed(report: Report, *levels: str) -> junitparser.JUnitXml:
    found: junitparser.JUnitXml = junitparser.JUnitXml.fromstring(report_junit.xml(report, levels or ("error",)).encode("utf-8"))
    return found


def cases_of(xml: junitparser.JUnitXml, suite: str) -> dict[str, junitparser.TestCase]:
    return {case.name: case for each in xml if each.name == suite for case in each}


def judged_in(report: Report) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    return [(part, word, each) for part in (*report["endpoints"], *report["targets"]) for word, each in part["judgements"].items()]


def renamed(report: Report, names: list[str]) -> Report:
    for number, target in enumerate(report["targets"]):
        target["name"] = names[number % len(names)]
    report["site"] = names[0]
    report["exceptions"][0].update(owner=names[-1], reason=names[0])
    return report


def one(verdict: str = "compliant", *findings: dict[str, Any], **more: Any) -> Report:
    report = sample(1, 0)
    report["exceptions"][0]["status"] = "active"
    report["targets"][0]["judgements"] = {"ntp": {"verdict": verdict, "findings": list(findings), **more}}
    report["summary"] = summary(report)
    return report


def finding(level: str = "error", code: str = "ntpd_stopped", text: str = "ntpd is stopped", **more: Any) -> dict[str, Any]:
    return {"level": level, "code": code, "text": text, **more}


# ---- the table ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 50), hosts=st.integers(0, 8), vms=st.integers(0, 5))
def test_every_judgement_and_every_finding_has_a_row(seed: int, hosts: int, vms: int) -> None:
    report = sample(hosts, vms, seed=seed, sick=0.5)
    rows = rows_of(report)
    expected: Counter[tuple[str, ...]] = Counter()
    for part, word, judged in judged_in(report):
        place = (part["name"], word, judged["verdict"])
        found = [each["code"] for each in judged.get("findings", ())]
        expected.update((*place, code) for code in found or [judged.get("failure", {}).get("kind", "")])
    assert Counter((row["name"], row["feature"], row["verdict"], row["code"]) for row in rows if row["state"] != "resolved") == expected
    assert [row["name"] for row in rows if row["state"] == "resolved"] == [each["name"] for each in report["resolved"]]


def test_a_row_says_what_to_do_and_for_whom() -> None:
    report = one("excepted", finding(exception="EX-1"), finding("warning", "clock_not_synced", new=True, since="2026-11-22T03:00:00Z"))
    report["features"][0]["owner"] = "time team"
    excused, new = rows_of(report)[1:3]
    assert (excused["state"], excused["exception"], excused["owner"]) == ("excepted", "EX-1", "time team")
    assert (new["state"], new["since"], new["controls"]) == ("new", "2026-11-22T03:00:00Z", "ESXI-80-000124")
    assert new["next_step"] == "Do what the page about clock_not_synced says."
    assert new["cluster"] == "cluster-01"


@settings(max_examples=40, deadline=None)
@given(names=st.lists(HOSTILE, min_size=1, max_size=5))
def test_no_cell_is_a_formula_and_no_name_breaks_a_row(names: list[str]) -> None:
    report = renamed(sample(5, 3, seed=1, sick=0.5), names)
    rows = rows_of(report)
    assert len(rows) >= 18
    for row in rows:
        assert None not in row and None not in row.values()
        for cell in row.values():
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), cell


def test_what_an_expired_exception_covered_is_open_and_what_is_resolved_has_its_owner() -> None:
    report = one("not_compliant", finding(exception="EX-1"))
    report["exceptions"][0]["status"] = "expired"
    for feature in report["features"]:
        feature["owner"] = f"{feature['word']} team"
    rows = rows_of(report)
    assert [(row["state"], row["exception"]) for row in rows[1:2]] == [("open", "EX-1")]
    resolved = [(row["feature"], row["owner"]) for row in rows if row["state"] == "resolved"]
    assert resolved and all(owner == f"{word} team" for word, owner in resolved)


def test_what_nobody_judged_is_a_row() -> None:
    report = sample(1, 0)
    report["slices"] = {"of": 2, "present": [1]}
    report["endpoints"][0].update(failure=FAILURE, judgements={})
    rows = rows_of(report)
    assert rows[0]["text"].startswith("slice 2 of 2 is missing") and rows[0]["verdict"] == "failed"
    assert (rows[1]["kind"], rows[1]["code"], rows[1]["text"]) == ("endpoint", "login_refused", "the login is refused")


# ---- JUnit --------------------------------------------------------------------------------------------------------------

# What the xUnit plugin of Jenkins takes, by its junit-10.xsd: element -> attributes, elements inside. Time is a number.
TAKES: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
        {"testcase", "properties", "system-out"},
    ),
    "testcase": ({"name", "time", "classname"}, {"skipped", "error", "failure", "system-out"}),
    **dict.fromkeys(("skipped", "error", "failure"), ({"type", "message"}, set())),
    "system-out": (set(), set()),
}
NEEDS = {"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name"}}


def as_jenkins_takes_it(text: str) -> None:
    for element in ElementTree.fromstring(text.encode("utf-8")).iter():
        attributes, inside = TAKES[element.tag]
        assert set(element.attrib) <= attributes and set(element.attrib) >= NEEDS.get(element.tag, set())
        assert {child.tag for child in element} <= inside
        if element.tag == "testcase":
            assert sum(child.tag != "system-out" for child in element) <= 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 50), levels=st.sets(st.sampled_from(("error", "warning", "note"))))
def test_a_case_a_target_and_each_failure_where_it_belongs(seed: int, levels: set[str]) -> None:
    report = sample(8, 5, seed=seed, sick=0.6)
    text = report_junit.xml(report, levels)
    as_jenkins_takes_it(text)
    xml = junitparser.JUnitXml.fromstring(text.encode("utf-8"))
    counts: Counter[str] = Counter()
    for part, word, judged in judged_in(report):
        case = cases_of(xml, word)[part["name"]]
        open_levels = {each["level"] for each in judged.get("findings", ()) if "exception" not in each}
        bad = bool(open_levels & levels) or (judged["verdict"] in ("repairable", "not_compliant") and "error" in levels)
        expected = "error" if judged["verdict"] in UNJUDGED else "failure" if bad else "skipped" if judged["verdict"] == "excepted" else ""
        kinds = {junitparser.Error: "error", junitparser.Failure: "failure", junitparser.Skipped: "skipped"}
        assert [kinds[type(each)] for each in case.result] == ([expected] if expected else [])
        told = (case.system_out or "") + "".join(each.text or "" for each in case.result)
        for each in judged.get("findings", ()):
            assert f"{each['level']}: {each['code']}: {each['text']}" in told
        counts.update((word, f"{word} {expected}"))
    for suite in xml:
        if suite.name != "audit":
            known = (counts[suite.name], *(counts[f"{suite.name} {kind}"] for kind in ("failure", "error", "skipped")))
            assert (suite.tests, suite.failures, suite.errors, suite.skipped) == known
    assert set(ElementTree.fromstring(text.encode("utf-8")).attrib) == {"name", "tests", "failures", "errors"}
    assert (xml.tests, xml.failures, xml.errors) == tuple(sum(getattr(s, n) for s in xml) for n in ("tests", "failures", "errors"))
    # The gate and the pipeline agree.
    assert bool(report_gate.gate(report, levels)) == bool(xml.failures or xml.errors)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(HOSTILE, min_size=1, max_size=5))
def test_any_name_can_be_read_back(names: list[str]) -> None:
    report = renamed(sample(5, 3, seed=1, sick=0.6), names)
    as_jenkins_takes_it(report_junit.xml(report, ["error"]))
    xml = parsed(report)
    assert [each.name for each in xml] == ["audit", "ntp", "license", "firewall", "crypto"]
    assert sum(1 for suite in xml for _case in suite) == xml.tests == 1 + 1 + 5 * 3 + 3


def test_machines_of_one_name_are_two_cases() -> None:
    report = renamed(sample(2, 0, seed=1), ["esx-1"])
    assert set(cases_of(parsed(report), "ntp")) == {"esx-1 (host-10)", "esx-1 (host-11)"}


def test_an_exception_is_skipped_and_says_why() -> None:
    report = one("excepted", finding(exception="EX-1"))
    (skipped,) = cases_of(parsed(report), "ntp")["esx-0001.example.com"].result
    assert skipped.message == "EX-1: Waits for the move (network team, until 2026-12-31)"
    report["exceptions"][0]["status"] = "expired"
    report["targets"][0]["judgements"]["ntp"]["verdict"] = "not_compliant"
    (failure,) = cases_of(parsed(report), "ntp")["esx-0001.example.com"].result
    assert isinstance(failure, junitparser.Failure) and failure.message == "ntpd is stopped"


def test_what_is_excused_is_no_reason_of_a_failure() -> None:
    report = one("not_compliant", finding(text="excused", exception="EX-1"), finding("warning", text="open"))
    (failure,) = cases_of(parsed(report), "ntp")["esx-0001.example.com"].result
    assert failure.message == "open" and "excused" not in failure.text
    assert "excused" in cases_of(parsed(report), "ntp")["esx-0001.example.com"].system_out
    text = report_text.text(report)
    assert "warning        1 ntp ntpd_stopped" in text and "error       1" not in text


def test_the_worst_open_finding_is_the_message() -> None:
    report = one("not_compliant", finding("note", text="by the way"), finding("error", text="this is bad"))
    (failure,) = cases_of(parsed(report), "ntp")["esx-0001.example.com"].result
    assert failure.message == "this is bad" and "by the way" in failure.text


def test_what_the_role_would_repair_fails_although_it_is_only_a_warning() -> None:
    report = one("repairable", finding("warning", repairable=True), changes=[{"change": "start_ntpd"}])
    (failure,) = cases_of(parsed(report), "ntp")["esx-0001.example.com"].result
    assert failure.type == "repairable" and "would change: start_ntpd" in failure.text


@pytest.mark.parametrize("levels", (("error",), ("error", "warning", "note"), ()))
def test_a_hole_in_the_audit_is_an_error_at_any_level(levels: tuple[str, ...]) -> None:
    report = one()
    report["endpoints"][0]["judgements"] = {}
    report["slices"] = {"of": 3, "present": [1]}
    lost = cases_of(parsed(report, *levels), "audit")["slices 2, 3 of 3 are missing"]
    assert isinstance(lost.result[0], junitparser.Error)
    assert report_gate.gate(report, levels) == ["slices 2, 3 of 3 are missing: nobody judged what is in them"]
    report["slices"], report["endpoints"][0]["failure"] = None, FAILURE
    (error,) = cases_of(parsed(report, *levels), "audit")["endpoint"].result
    assert (error.type, error.message, error.text) == ("login_refused", "the login is refused", "vc: refused.")
    assert report_gate.gate(report, levels) == ["nothing of vc-1.example.com was judged: the login is refused"]
    del report["endpoints"][0]["failure"]
    report["targets"] = []
    (error,) = cases_of(parsed(report, *levels), "audit")["targets"].result
    assert error.message == "there is nothing that was judged"
    assert report_gate.gate(report, levels) == ["there is nothing that was judged"]


def test_the_gate_names_a_few() -> None:
    report = sample(6, 0, seed=1)
    for target in report["targets"]:
        target["judgements"] = {"ntp": {"verdict": "not_compliant"}}
    report["targets"][0]["judgements"]["license"] = {"verdict": "unreachable"}
    assert report_gate.gate(report, ["error"]) == [
        "ntp: 6 are not right (esx-0001.example.com, esx-0002.example.com, esx-0003.example.com and 3 more)",
        "license: 1 was not judged (esx-0001.example.com)",
    ]
    assert report_gate.gate(report, ["note"]) == ["license: 1 was not judged (esx-0001.example.com)"]


# ---- the text -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 50),
    hosts=st.integers(0, 12),
    names=st.lists(HOSTILE, min_size=1, max_size=5),
    many=st.integers(0, 12),
    slices=st.booleans(),
    files=st.integers(0, 9),
)
def test_the_text_is_short_whatever_the_fleet_is(seed: int, hosts: int, names: list[str], many: int, slices: bool, files: int) -> None:
    report = renamed(sample(hosts, hosts, seed=seed, sick=0.8, endpoints=max(1, many)), names)
    report["exceptions"] = [{**report["exceptions"][0], "id": f"{names[0]}-{number}", "status": "expired"} for number in range(many)]
    for number, target in enumerate(report["targets"]):
        for judged in target["judgements"].values():
            for each in judged.get("findings", ()):
                each["code"] = f"code_{number}"
    for endpoint in report["endpoints"][: many // 2]:
        endpoint["failure"] = FAILURE
    report["slices"] = {"of": 900, "present": [1]} if slices else None
    report["features"] += [{"word": f"word_{number}", "title": "T", "repaired_by": None, "owner": names[0]} for number in range(many)]
    for number in range(many):
        report["endpoints"][0]["judgements"][f"word_{number}"] = {"verdict": "not_compliant"}
    report["summary"] = summary(report)
    text = report_text.text(report, [f"/srv/{number}" for number in range(files)])
    lines = text.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert text.endswith("\n") and not set(text) & set("\x00\x1b\r\u202e\ud800")
    if slices:
        assert "MISSING: slices 2, 3, 4, 5, 6, 7, 8, 9 and 891 more of 900" in text
    if many >= 2:
        assert "NOT JUDGED: vc-1.example.com: the login is refused" in text
    if files:
        assert "file: /srv/0" in lines


def test_the_text_as_it_is_read() -> None:
    report = one("repairable", finding(repairable=True, new=True), finding("warning", "clock_not_synced", "not synchronised"))
    report["targets"].append(
        {**sample(0, 1)["targets"][0], "judgements": {"crypto": {"verdict": "not_compliant", "findings": [finding(code="key_lost")]}}}
    )
    report["features"][3]["owner"] = "storage team"
    report["exceptions"][0].update(status="expired", findings=2)
    report["summary"] = summary(report)
    assert report_text.text(report, ["/srv/audit/report.html"]) == (
        "Bonn: 2 of 2 hosts and VMs not right\n"
        "2 errors, 1 warning, 0 notes, since 2026-11-15T03:00:00Z: 1 new, 1 resolved\n"
        "audited 2026-11-22T03:00:00Z by bonn.yml\n"
        "\n"
        "Time             1 a role repairs\n"
        "Licences         1 right\n"
        "Encrypted VMs    1 need somebody\n"
        "\n"
        "error          1 crypto key_lost                vm-0001\n"
        "error          1 ntp ntpd_stopped               (1 new) esx-0001.example.com\n"
        "warning        1 ntp clock_not_synced           esx-0001.example.com\n"
        "\n"
        "a role repairs: esxi_ntp_align (1)\n"
        "waits for: storage team (1)\n"
        "\n"
        "exceptions: 1 expired\n"
        "expired: EX-1 of network team on 2026-12-31: 2 findings\n"
        "file: /srv/audit/report.html\n"
    )


VERDICTS: dict[str, tuple[dict[str, Any], str]] = {
    "all fine": ({}, "Bonn: 1 host right"),
    "nothing": ({"targets": []}, "Bonn: nothing was judged"),
    "an endpoint": (
        {"endpoints": [{**sample(1, 0)["endpoints"][0], "judgements": {"license": {"verdict": "not_compliant"}}}]},
        "Bonn: 1 of 1 endpoint not right, 1 host right",
    ),
    "a slice": ({"slices": {"of": 2, "present": [2]}}, "Bonn: slices are missing, 1 host right"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_in_one_line(name: str) -> None:
    more, expected = VERDICTS[name]
    report = {**one(), **more}
    report["summary"] = summary(report)
    assert report_text.verdict(report) == expected


def test_machines_that_share_a_name_are_counted_apart() -> None:
    report = renamed(sample(3, 0, seed=1), ["esx-1"])
    for target in report["targets"]:
        target["judgements"] = {"ntp": {"verdict": "not_compliant", "findings": [finding(), finding(text="again")]}}
    report["summary"] = summary(report)
    assert "error          3 ntp ntpd_stopped               esx-1, esx-1, esx-1" in report_text.text(report)


def test_a_slice_that_could_not_log_in_is_told_with_its_number() -> None:
    first = {**one(), "slices": {"of": 2, "present": [1]}}
    second = json.loads(json.dumps({**first, "targets": [], "slices": {"of": 2, "present": [2]}}))
    second["endpoints"][0]["failure"] = FAILURE
    report = merged([first, second])
    assert "NOT JUDGED: slice 2 of vc-1.example.com: the login is refused" in report_text.text(report)
    lost = "nothing of slice 2 of vc-1.example.com was judged: the login is refused"
    assert report_gate.unjudged(report) == [lost]
    third = json.loads(json.dumps({**second, "slices": {"of": 3, "present": [3]}}))
    third["endpoints"][0]["failure"] = {**FAILURE, "cause": "nobody answers"}
    three = merged([{**first, "slices": {"of": 3, "present": [1]}}, {**second, "slices": {"of": 3, "present": [2]}}, third])
    assert [hole.partition(" of ")[2] for hole in report_gate.unjudged(three)] == [
        "slice 3 of vc-1.example.com was judged: nobody answers",
        "slice 2 of vc-1.example.com was judged: the login is refused",
    ]
    assert report_text.verdict(report) == "Bonn: 1 of 1 endpoint not wholly judged, 1 host right"
    assert report_gate.gate(report, ["error"]) == [lost] + [
        f"{word}: 1 was not judged (vc-1.example.com)" for word in ("ntp", "license", "firewall", "crypto")
    ]

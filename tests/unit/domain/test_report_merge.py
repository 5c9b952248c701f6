# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of slices and endpoints, merged: equal to the report of a single run, in whatever order they come."""

from __future__ import annotations

import copy
import itertools
import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import report as reports
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from tests.reports.samples import SCHEMA, sample, summary

Report = dict[str, Any]
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FAILURE = {"kind": "login_refused", "fault": "InvalidLogin", "doing": None, "cause": "vCenter refuses the login", "message": "Refused."}


def valid(report: Report) -> Report:
    VALIDATOR.validate(report)
    assert reports.checked(json.loads(json.dumps(report)), "it") == report
    assert report["summary"] == summary(report)
    return report


def whole(seed: int, endpoints: int = 1, hosts: int = 6, vms: int = 4) -> Report:
    """As a single run writes it: in order, with the codes that occur."""
    return reports.in_order(trimmed(sample(hosts, vms, seed=seed, sick=0.6, endpoints=endpoints)))


def trimmed(report: Report) -> Report:
    """Without what only other targets brought in: what a run over fewer of them would have written."""
    every = [
        finding
        for part in (*report["endpoints"], *report["targets"])
        for judged in part["judgements"].values()
        for finding in judged.get("findings", ())
    ]
    codes = {finding["code"] for finding in every}
    report = {**report, "codes": {code: about for code, about in report["codes"].items() if code in codes}, "exceptions": []}
    for each in sample(1, 0)["exceptions"]:
        count = sum(finding.get("exception") == each["id"] for finding in every)
        report["exceptions"].append({**each, "findings": count, "status": "active" if count else "unused"})
    report["summary"] = summary(report)
    return report


def cut(report: Report, count: int, seed: int = 0) -> list[Report]:
    """As the runs of its slices write them: each a moment later, all with the endpoints."""
    rng = random.Random(seed)
    slices: list[Report] = []
    place = [rng.randrange(count) for _each in report["targets"]]
    for number in range(count):
        part = copy.deepcopy(report)
        part["targets"] = [target for target, at in zip(part["targets"], place, strict=True) if at == number]
        part["resolved"] = [entry for position, entry in enumerate(part["resolved"]) if position % count == number]
        part["slices"] = {"of": count, "present": [number + 1]}
        part["generated"] = f"2026-11-22T03:00:{number:02}Z"
        slices.append(trimmed(part))
    return slices


def by_endpoint(report: Report) -> list[Report]:
    found = []
    for endpoint in report["endpoints"]:
        part = copy.deepcopy(report)
        part["endpoints"] = [endpoint]
        for name in ("targets", "resolved"):
            part[name] = [each for each in part[name] if each["endpoint"] == endpoint["name"]]
        found.append(trimmed(part))
    return found


def plain(report: Report) -> Report:
    return {name: value for name, value in report.items() if name not in ("generated", "slices")}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 5), endpoints=st.integers(1, 3), count=st.integers(1, 5), rng=st.randoms(use_true_random=False))
def test_slices_make_the_whole_again(seed: int, endpoints: int, count: int, rng: random.Random) -> None:
    report = whole(seed, endpoints)
    slices = cut(report, count, seed)
    rng.shuffle(slices)
    again = valid(reports.merged(slices))
    assert plain(again) == plain(report)
    assert list(again["codes"]) == sorted(again["codes"]) and again["targets"] == report["targets"]
    assert again["slices"] == {"of": count, "present": list(range(1, count + 1))}
    assert again["generated"] == "2026-11-22T03:00:00Z"
    assert reports.missing_sentences(again) == []


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 5), rng=st.randoms(use_true_random=False))
def test_endpoints_make_the_whole_again(seed: int, rng: random.Random) -> None:
    report = whole(seed, 3)
    pieces = by_endpoint(report)
    rng.shuffle(pieces)
    assert valid(reports.merged(pieces)) == report


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 5), count=st.integers(2, 5), failed=st.sets(st.integers(0, 4)), rng=st.randoms(use_true_random=False))
def test_merging_in_any_order_and_grouping_gives_the_same(seed: int, count: int, failed: set[int], rng: random.Random) -> None:
    """Also where the endpoint could not be reached by some of them, and for different reasons."""
    slices = cut(whole(seed), count, seed)
    for number, part in enumerate(slices):
        if number in failed:
            part["endpoints"][0] = {
                **part["endpoints"][0],
                "type": None,
                "version": None,
                "judgements": {},
                "licenses": [],
                "failure": {**FAILURE, "cause": f"cause {number % 2}"},
            }
            part["targets"], part["resolved"] = [], []
            slices[number] = trimmed(part)
    at_once = valid(reports.merged(slices))
    rng.shuffle(slices)
    assert reports.merged(slices) == at_once
    while len(slices) > 1:
        first = slices.pop(rng.randrange(len(slices)))
        second = slices.pop(rng.randrange(len(slices)))
        slices.append(reports.merged([first, second]))
    assert slices[0] == at_once
    endpoint = at_once["endpoints"][0]
    told = json.dumps(endpoint)
    for number in failed & set(range(count)):
        assert f"cause {number % 2}" in told, "a failure is hidden"
    assert ("failure" in endpoint) == (failed >= set(range(count)))


def test_a_report_by_itself_stays_as_it_is() -> None:
    report = whole(3)
    before = copy.deepcopy(report)
    assert reports.merged([report]) == report == before


def test_what_only_one_slice_could_not_reach_is_told_with_its_number() -> None:
    slices = cut(whole(1), 4)
    slices[1]["endpoints"][0] = {**slices[1]["endpoints"][0], "judgements": {}, "failure": FAILURE}
    slices[1]["targets"] = []
    endpoint = valid(reports.merged(slices))["endpoints"][0]
    assert "failure" not in endpoint
    assert {word: (each["verdict"], each["failure"]["slices"]) for word, each in endpoint["judgements"].items()} == {
        word: ("failed", [2]) for word in ("ntp", "license", "firewall", "crypto")
    }
    assert endpoint["judgements"]["ntp"]["failure"]["cause"] == "vCenter refuses the login"
    assert endpoint["version"] == "8.0.3"


def test_a_slice_run_again_takes_the_place_of_the_older_one() -> None:
    """The older one had not got far: it could not reach the endpoint any more, and its one host was ill."""
    report = whole(2)
    slices = cut(report, 3, 7)
    old = copy.deepcopy(slices[1])
    assert len(old["targets"]) > 1
    old["generated"] = "2026-11-22T02:00:00Z"
    old["targets"] = old["targets"][:1]
    old["targets"][0]["judgements"] = {"ntp": {"verdict": "failed", "failure": FAILURE}}
    old["endpoints"][0]["failure"] = FAILURE
    gone = {**old["targets"][0], "name": "scrapped.example.com", "moid": "host-9999"}
    old["targets"].append(gone)
    for order in itertools.permutations([*slices, old]):
        assert plain(reports.merged(list(order))) == plain(report)


def test_an_exception_that_ended_between_two_slices_excuses_nothing() -> None:
    slices = cut(whole(1), 2)
    trouble = {"level": "error", "code": "ntpd_stopped", "text": "ntpd is stopped", "exception": "EX-1"}
    slices[0]["targets"][0]["judgements"] = {"ntp": {"verdict": "excepted", "findings": [trouble]}}
    name = slices[0]["exceptions"][0]["id"]
    trouble["exception"] = name
    slices[0]["exceptions"][0].update(status="active", findings=1)
    assert [each["status"] for each in reports.merged([slices[0]])["exceptions"] if each["id"] == name] == ["active"]
    slices[1]["exceptions"][0].update(status="expired")
    for order in (slices, slices[::-1]):
        found = reports.merged(order)
        (target,) = (each for each in found["targets"] if each["moid"] == slices[0]["targets"][0]["moid"])
        assert target["judgements"]["ntp"]["verdict"] == "not_compliant"
        assert found["summary"] == summary(found)
    assert slices[0]["targets"][0]["judgements"]["ntp"]["verdict"] == "excepted", "what is merged is not changed"
    # And a slice that failed stays one that failed.
    slices[0]["endpoints"][0]["judgements"] = {"ntp": slices[0]["targets"][0]["judgements"]["ntp"]}
    slices[1]["endpoints"][0].update(judgements={}, failure={**FAILURE, "kind": "endpoint_unreachable"})
    assert reports.merged(slices)["endpoints"][0]["judgements"]["ntp"]["verdict"] == "unreachable"


def test_one_endpoint_has_one_profile() -> None:
    first, second = by_endpoint(whole(1, 2))
    second["profile"] = {"name": "other.yml", "fingerprint": "b" * 16}
    both = reports.merged([first, second], different_profiles=True)
    assert "+" in both["profile"]["fingerprint"]
    reports.merged([both, first], different_profiles=True)
    with pytest.raises(BadInput, match="was judged by different profiles"):
        reports.merged([first, {**first, "profile": second["profile"]}], different_profiles=True)


@pytest.mark.parametrize("turn", (1, -1))
def test_where_two_whole_reports_overlap_the_newer_one_tells_of_a_host(turn: int) -> None:
    older, newer = whole(2), whole(2)
    older["generated"], newer["generated"] = "2026-11-22T02:00:00Z", "2026-11-22T03:00:00Z"
    newer["targets"] = newer["targets"][:1]
    newer["targets"][0]["judgements"] = {"ntp": {"verdict": "failed", "failure": FAILURE}}
    found = reports.merged([older, newer][::turn])["targets"]
    assert found == [newer["targets"][0], *older["targets"][1:]]


def test_a_missing_slice_stays_visible() -> None:
    slices = cut(whole(1), 4)
    some = valid(reports.merged([slices[0], slices[3]]))
    assert some["slices"] == {"of": 4, "present": [1, 4]}
    assert reports.missing_sentences(some) == ["slices 2, 3 of 4 are missing: nobody judged what is in them"]
    assert reports.missing_sentences(reports.merged([some, slices[1]])) == ["slice 3 of 4 is missing: nobody judged what is in it"]
    assert reports.missing_sentences(slices[2]) == ["slices 1, 2, 4 of 4 are missing: nobody judged what is in them"]
    assert reports.missing_sentences(whole(1)) == []


@pytest.mark.parametrize("grouped", (False, True))
def test_a_slice_that_is_missing_of_one_endpoint_alone_is_told(grouped: bool) -> None:
    first, second = by_endpoint(whole(1, 2))
    pieces = [*cut(first, 3), *cut(second, 3)[:2]]
    if grouped:
        pieces = [reports.merged([pieces[0], pieces[4]]), reports.merged(pieces[1:4])]
    merged = valid(reports.merged(pieces))
    assert merged["slices"] == {"of": 3, "present": [1, 2]}
    assert reports.missing_sentences(merged) == ["slice 3 of 3 of vc-2.example.com is missing: nobody judged what is in it"]


def test_one_endpoint_whole_and_one_in_slices() -> None:
    first, second = by_endpoint(whole(1, 2))
    merged = valid(reports.merged([first, *cut(second, 3)[1:]]))
    assert reports.missing_sentences(merged) == ["slice 1 of 3 of vc-2.example.com is missing: nobody judged what is in it"]
    assert merged["endpoints"][0]["slices"] == {"of": 1, "present": [1]}
    assert reports.merged([merged]) == merged
    assert reports.missing_sentences(reports.merged([merged, cut(second, 3)[0]])) == []


def test_slices_of_two_cuts_are_refused_unless_one_is_complete() -> None:
    report = whole(1)
    with pytest.raises(BadInput, match="vc-1.example.com is cut into 3 and into 4 slices, and none of these cuts is complete. Merge the"):
        reports.merged([*cut(report, 3)[1:], cut(report, 4)[0]])
    assert reports.merged([*cut(report, 3), cut(report, 4)[0]])["slices"] == {"of": 3, "present": [1, 2, 3]}


def test_profiles_that_differ_are_refused_unless_that_is_meant() -> None:
    first, second = by_endpoint(whole(1, 2))
    second["profile"] = {"name": "cologne.yml", "fingerprint": "fedcba9876543210"}
    second["site"] = "Cologne"
    with pytest.raises(BadInput) as refused:
        reports.merged([first, second])
    assert refused.value.sentence == (
        "the reports were made by different profiles: bonn.yml (0123456789ab), cologne.yml (fedcba987654). Run the audit again with one "
        "profile, or set different_profiles to true where each endpoint has its own."
    )
    merged = valid(reports.merged([first, second], different_profiles=True))
    assert merged["profile"] == {"name": "bonn.yml, cologne.yml", "fingerprint": "0123456789abcdef+fedcba9876543210"}
    assert merged["site"] == "Bonn, Cologne"
    assert reports.merged([merged, second], different_profiles=True) == merged


def test_an_exception_that_two_profiles_mean_otherwise_is_refused() -> None:
    first, second = by_endpoint(whole(1, 2))
    second["exceptions"][0]["expires"] = "2027-01-31"
    with pytest.raises(
        BadInput, match="exception EX-1 is not the same in all reports: its expires is '2026-12-31' in one and '2027-01-31' in"
    ):
        reports.merged([second, first])


def test_an_exception_that_expired_meanwhile_is_expired() -> None:
    slices = cut(whole(1), 3)
    slices[2]["exceptions"][0]["status"] = "expired"
    merged = valid(reports.merged(slices))
    assert merged["exceptions"][0]["status"] == "expired"
    assert merged["summary"] != reports.merged(cut(whole(1), 3))["summary"], "what it excused is open now"


def test_licences_that_moved_between_two_slices() -> None:
    slices = cut(whole(1), 2)
    for part, used, left in ((slices[0], 60, 9.0), (slices[1], 61, 8.9)):
        part["endpoints"][0]["licenses"] = [{**part["endpoints"][0]["licenses"][0], "used": used, "days_left": left}]
    extra = {**slices[1]["endpoints"][0]["licenses"][0], "fingerprint": "00000009", "used": None, "days_left": None}
    slices[1]["endpoints"][0]["licenses"].append(extra)
    for order in (slices, slices[::-1]):
        found = reports.merged(order)["endpoints"][0]["licenses"]
        assert [(each["fingerprint"], each["used"], each["days_left"]) for each in found] == [
            ("00000000", 61, 8.9),
            ("00000009", None, None),
        ]


def test_the_worst_verdict_on_an_endpoint_with_all_findings_once() -> None:
    slices = cut(whole(1), 2)
    one = {"level": "warning", "code": "license_expires_soon", "text": "A"}
    two = {"level": "error", "code": "host_in_evaluation", "text": "B"}
    slices[0]["endpoints"][0]["judgements"]["license"] = {"verdict": "compliant", "findings": [one]}
    slices[1]["endpoints"][0]["judgements"]["license"] = {"verdict": "not_compliant", "findings": [two, one]}
    judged = reports.merged(slices)["endpoints"][0]["judgements"]["license"]
    assert judged["verdict"] == "not_compliant"
    assert sorted(each["text"] for each in judged["findings"]) == ["A", "B"]


def test_no_report_at_all() -> None:
    with pytest.raises(BadInput, match="there is no report"):
        reports.merged([])

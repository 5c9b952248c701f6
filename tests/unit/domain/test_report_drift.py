# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report against the one before: what is new, since when, what is gone. And what is no report at all."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
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
FIRST, SECOND, THIRD = "2026-11-01T03:00:00Z", "2026-11-08T03:00:00Z", "2026-11-15T03:00:00Z"
UNJUDGED = ("unreachable", "failed")


def audit(moment: str, seed: int = 1, hosts: int = 6, vms: int = 4, **options: Any) -> Report:
    """As esxi_audit writes it: compared with nothing."""
    report = sample(hosts, vms, seed=seed, sick=0.6, **options)
    for finding in found_in(report):
        finding.pop("since", None)
        finding.pop("new", None)
    report.update(generated=moment, since=None, resolved=[])
    report["summary"] = summary(report)
    return reports.in_order(report)


def found_in(report: Report) -> Iterator[dict[str, Any]]:
    for part in (*report["endpoints"], *report["targets"]):
        for judged in part["judgements"].values():
            yield from judged.get("findings", ())


def keys_of(report: Report) -> dict[tuple[str, ...], dict[str, Any]]:
    """By other hands than the product's: findings by endpoint, kind, id, feature, code."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for part in report["targets"]:
        for word, judged in part["judgements"].items():
            for finding in judged.get("findings", ()):
                found[part["endpoint"], part["kind"], part["moid"], word, finding["code"]] = finding
    return found


def valid(report: Report) -> Report:
    VALIDATOR.validate(report)
    assert report["summary"] == summary(report)
    return report


@settings(max_examples=30, deadline=None)
@given(one=st.integers(0, 50), two=st.integers(0, 50), gone=st.sets(st.integers(0, 9), max_size=4), endpoints=st.integers(1, 2))
def test_every_finding_is_new_or_known_and_every_lost_one_resolved_or_not_judged(
    one: int, two: int, gone: set[int], endpoints: int
) -> None:
    previous, report = audit(FIRST, one, endpoints=endpoints), audit(SECOND, two, endpoints=endpoints)
    report["targets"] = [target for number, target in enumerate(report["targets"]) if number not in gone]
    report["summary"] = summary(report)
    untouched = copy.deepcopy((previous, report))
    result = valid(reports.compared(report, previous))
    assert (previous, report) == untouched
    before, now = keys_of(previous), keys_of(result)
    for key, finding in now.items():
        assert finding.get("new", False) == (key not in before)
        assert finding["since"] == (FIRST if key in before else SECOND)
    judged = {
        (target["endpoint"], target["kind"], target["moid"], word)
        for target in report["targets"]
        for word, each in target["judgements"].items()
        if each["verdict"] not in UNJUDGED
    }
    names: dict[tuple[str, ...], str] = {(t["endpoint"], t["kind"], t["moid"]): t["name"] for t in previous["targets"]}
    expected = sorted((*key[:2], names[key[:3]], *key[3:]) for key in before if key not in now and key[:4] in judged)
    assert [(each["endpoint"], each["kind"], each["name"], each["feature"], each["code"]) for each in result["resolved"]] == expected
    assert result["since"] == FIRST
    assert result["summary"]["new"] == sum(key not in before for key in now)
    # The same audit shown once more says the same.
    assert reports.compared(report, result) == result


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50))
def test_the_first_of_all_reports_is_told_in_the_last(seed: int) -> None:
    first = reports.merged([audit(FIRST, seed)])
    second = reports.compared(audit(SECOND, seed), first)
    third = valid(reports.compared(audit(THIRD, seed), second))
    assert {finding["since"] for finding in found_in(third)} <= {FIRST}
    assert third["since"] == SECOND and third["resolved"] == [] and third["summary"]["new"] == 0


def one_host(moment: str, name: str, moid: str, *texts: str, verdict: str = "not_compliant") -> Report:
    report = audit(moment, hosts=1, vms=0)
    target = report["targets"][0]
    target.update(name=name, moid=moid)
    target["judgements"] = {
        "ntp": {"verdict": verdict, "findings": [{"level": "error", "code": "skew_too_large", "text": text} for text in texts]}
    }
    report["summary"] = summary(report)
    return report


@pytest.mark.parametrize(
    ("name", "moid"),
    (("esx-1", "host-1"), ("esx-1", "host-2"), ("esx-2", "host-1")),
    ids=("the same", "added to vCenter anew", "renamed"),
)
def test_a_host_is_known_again(name: str, moid: str) -> None:
    result = reports.compared(one_host(SECOND, name, moid, "93 s"), one_host(FIRST, "esx-1", "host-1", "92 s"))
    assert [(each["since"], each.get("new")) for each in found_in(result)] == [(FIRST, None)]
    gone = reports.compared(one_host(SECOND, name, moid), one_host(FIRST, "esx-1", "host-1", "92 s"))
    assert [(each["name"], each["since"], each["text"]) for each in gone["resolved"]] == [(name, FIRST, "92 s")]


def test_another_host_has_nothing_of_it() -> None:
    result = reports.compared(one_host(SECOND, "esx-2", "host-2"), one_host(FIRST, "esx-1", "host-1", "92 s"))
    assert result["resolved"] == []


def test_a_new_vm_that_took_the_name_of_an_older_one() -> None:
    """web was renamed web-old, and another one is called web now."""
    previous, report = audit(FIRST, hosts=1, vms=1), audit(SECOND, hosts=1, vms=2)
    trouble = {"verdict": "not_compliant", "findings": [{"level": "error", "code": "key_lost", "text": "gone"}]}
    previous["targets"][1].update(name="web", moid="vm-5", judgements={"crypto": trouble})
    report["targets"][1].update(name="web-old", moid="vm-5", judgements={"crypto": trouble})
    report["targets"][2].update(name="web", moid="vm-9", judgements={"crypto": trouble})
    result = keys_of(reports.compared(report, previous))
    assert result["vc-1.example.com", "vm", "vm-5", "crypto", "key_lost"]["since"] == FIRST
    assert result["vc-1.example.com", "vm", "vm-9", "crypto", "key_lost"]["new"] is True


def test_a_name_that_several_share_makes_nobody_known_again() -> None:
    trouble = {"verdict": "not_compliant", "findings": [{"level": "error", "code": "key_lost", "text": "gone"}]}
    previous, report = audit(FIRST, hosts=0, vms=2), audit(SECOND, hosts=0, vms=1)
    for target, moid in zip([*previous["targets"], *report["targets"]], ("vm-1", "vm-2", "vm-3"), strict=True):
        target.update(name="web", moid=moid, judgements={"crypto": trouble})
    assert [finding["new"] for finding in keys_of(reports.compared(report, previous)).values()] == [True]


def test_an_endpoint_set_up_anew_has_given_the_ids_to_other_hosts() -> None:
    previous, report = audit(FIRST, hosts=6, vms=0), audit(SECOND, hosts=6, vms=0)
    ids = [target["moid"] for target in report["targets"]]
    for target, moid in zip(report["targets"], ids[1:] + ids[:1], strict=True):
        target["moid"] = moid
    result = reports.compared(report, previous)
    assert {finding["since"] for finding in found_in(result)} == {FIRST} and result["resolved"] == []


@pytest.mark.parametrize("verdict", UNJUDGED)
def test_what_could_not_be_judged_is_not_resolved(verdict: str) -> None:
    result = reports.compared(one_host(SECOND, "esx-1", "host-1", verdict=verdict), one_host(FIRST, "esx-1", "host-1", "92 s"))
    assert result["resolved"] == []


def test_what_is_excused_from_being_judged_is_not_resolved() -> None:
    now = one_host(SECOND, "esx-1", "host-1", verdict="excepted")
    now["targets"][0]["judgements"]["ntp"]["failure"] = {"kind": "host_unreachable", "cause": "away", "message": "away"}
    assert reports.compared(now, one_host(FIRST, "esx-1", "host-1", "92 s"))["resolved"] == []


def test_names_that_nothing_has_are_told_apart() -> None:
    def unknown(moment: str, *names: str) -> Report:
        report = audit(moment, hosts=len(names), vms=0)
        for target, name in zip(report["targets"], names, strict=True):
            finding = {"level": "error", "code": "not_judged", "text": f"no host {name}"}
            target.update(name=name, moid="", judgements={"ntp": {"verdict": "not_compliant", "findings": [finding]}})
        report["summary"] = summary(report)
        return report

    assert len(reports.merged([unknown(FIRST, "a", "b")])["targets"]) == 2
    found = reports.compared(unknown(SECOND, "b", "c"), unknown(FIRST, "a", "b"))
    assert [[each.get("new") for each in target["judgements"]["ntp"]["findings"]] for target in found["targets"]] == [[None], [True]]


def test_what_the_profile_no_longer_asks_for_is_not_resolved() -> None:
    report = one_host(SECOND, "esx-1", "host-1")
    report["targets"][0]["judgements"] = {"firewall": {"verdict": "compliant"}}
    assert reports.compared(report, one_host(FIRST, "esx-1", "host-1", "92 s"))["resolved"] == []


def test_an_endpoint_has_findings_of_its_own() -> None:
    previous, report = audit(FIRST), audit(SECOND)
    finding = {"level": "error", "code": "license_expires_soon", "text": "in 9 days"}
    previous["endpoints"][0]["judgements"]["license"] = {"verdict": "not_compliant", "findings": [finding]}
    result = valid(reports.compared(report, previous))
    assert [(each["kind"], each["name"], each["feature"]) for each in result["resolved"]] == [("endpoint", "vc-1.example.com", "license")]
    report["endpoints"][0]["failure"] = {"kind": "tls_refused", "cause": "c", "message": "m"}
    assert reports.compared(report, previous)["resolved"] == []


def test_two_findings_of_one_code_keep_their_own_days() -> None:
    first = one_host(FIRST, "esx-1", "host-1", "22/tcp")
    second = reports.compared(one_host(SECOND, "esx-1", "host-1", "22/tcp", "80/tcp"), first)
    assert [each["since"] for each in found_in(second)] == [FIRST, FIRST], "one more of a code is the same trouble"
    second["targets"][0]["judgements"]["ntp"]["findings"][1]["since"] = SECOND
    third = reports.compared(one_host(THIRD, "esx-1", "host-1", "80/tcp", "22/tcp"), second)
    assert [each["since"] for each in found_in(third)] == [SECOND, FIRST]
    other = reports.compared(one_host(THIRD, "esx-1", "host-1", "443/tcp"), second)
    assert [each["since"] for each in found_in(other)] == [FIRST], "in other words, the trouble is as old as the oldest of them"


def test_a_newer_report_is_none_before() -> None:
    with pytest.raises(BadInput, match="is of 2026-11-08T03:00:00Z, and so newer than this one of 2026-11-01T03:00:00Z. Name the report"):
        reports.compared(audit(FIRST), audit(SECOND))


# ---- what is no report --------------------------------------------------------------------------------------------------

SENTENCES: dict[str, tuple[Any, str]] = {
    "a list": ([], "it is no report of an audit"),
    "another file": ({"hosts": {}}, "it is no report of an audit"),
    "a later form": (
        {"form": "fleetcare.esxi audit 2"},
        "it is of another form, 'fleetcare.esxi audit 2'; this version of the collection reads",
    ),
    "no text": ({"form": 7}, "it is of another form, 'int'"),
    "half a report": ({"form": "fleetcare.esxi audit 1"}, "it is damaged: it has no collection"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_what_is_no_report_is_a_sentence(name: str) -> None:
    data, sentence = SENTENCES[name]
    with pytest.raises(BadInput) as refused:
        reports.checked(data, "it")
    assert refused.value.sentence.startswith(sentence)
    assert refused.value.sentence.endswith("Name a file that esxi_audit or esxi_audit_report has written.")


def test_what_is_no_number_is_no_json() -> None:
    text = json.dumps(audit(FIRST, hosts=1, vms=0)).replace('"new": 0', '"new": NaN')
    assert "NaN" in text
    with pytest.raises(BadInput, match="it is no JSON"):
        reports.read(text, "it")


def test_a_damaged_place_is_named() -> None:
    report = audit(FIRST)
    report["targets"][2]["judgements"]["ntp"] = {"verdict": "fine"}
    with pytest.raises(BadInput, match=r"is damaged: targets\[2\].judgements.ntp.verdict is none of compliant, excepted, repairable,"):
        reports.checked(report, "a.json")


def damages(value: Any, put: Callable[[Any], None]) -> Iterator[Callable[[], None]]:
    """Every way to take one thing out or to make it another kind of thing."""
    for other in (None, True, 7, "x", [], {}, [None], {"x": None}):
        if type(other) is not type(value) or value in (None, True):
            yield partial(put, other)
    if isinstance(value, dict):
        for name in list(value):
            yield partial(value.pop, name)
            yield from damages(value[name], partial(value.__setitem__, name))
    elif isinstance(value, list):
        for number in range(min(len(value), 3)):
            yield from damages(value[number], partial(value.__setitem__, number))


def test_what_the_schema_refuses_is_refused_or_does_no_harm() -> None:
    """Whatever passes can be counted, merged and compared without an error of Python's."""
    report = audit(FIRST, hosts=1, vms=1)
    report["targets"][0]["judgements"]["ntp"] = {
        "verdict": "failed",
        "findings": [
            {"level": "error", "code": "ntpd_stopped", "text": "t", "repairable": True, "since": FIRST, "new": True, "exception": "EX-1"}
        ],
        "changes": [{"change": "start_ntpd"}],
        "failure": {"kind": "k", "cause": "c", "message": "m", "hint": None},
    }
    report["slices"] = {"of": 2, "present": [1]}
    report["resolved"] = sample(1, 1)["resolved"]
    count = sum(1 for _damage in damages(report, lambda _new: None))
    refused = harmless = 0
    for number in random.Random(1).sample(range(count), 700):
        broken = json.loads(json.dumps(report))
        damage = next(each for position, each in enumerate(damages(broken, lambda _new: None)) if position == number)
        damage()
        try:
            reports.checked(broken, "it")
        except BadInput as problem:
            assert "damaged" in problem.sentence or "form" in problem.sentence or "no report" in problem.sentence
            assert not VALIDATOR.is_valid(broken), f"{problem.sentence} although the schema holds"
            refused += 1
            continue
        reports.compared(reports.merged([broken]), audit("2026-10-01T03:00:00Z"))
        harmless += 1
    assert refused > 300 and harmless > 10

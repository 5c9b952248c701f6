# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance levels: what the planner promises for every state there is, every way to write a level, and records."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import acceptance
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.acceptance import (
    LEVELS,
    MEANINGS,
    RECORD,
    WORDS,
    LowerAcceptanceLevel,
    Package,
    RaiseAcceptanceLevel,
    Recorded,
    State,
    Wanted,
    parse,
    plan,
    spelled,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from tests.unit.domain.makers import USUAL

# What may be installed where, written down once more: docs.vmware.com GUID-6A3AD878.
ADMITTED = {
    "vmware_certified": {"vmware_certified"},
    "vmware_accepted": {"vmware_certified", "vmware_accepted"},
    "partner": {"vmware_certified", "vmware_accepted", "partner"},
    "community": {"vmware_certified", "vmware_accepted", "partner", "community"},
}
STRICT = ["community", "partner", "vmware_accepted", "vmware_certified"]


def vib(level: str, name: str = "") -> Package:
    return Package(name or f"vib-{level}", "1.0", "Example", level)


def subsets() -> list[tuple[Package, ...]]:
    words = [*WORDS, "experimental"]
    return [tuple(map(vib, some)) for size in range(len(words) + 1) for some in itertools.combinations(words, size)]


def states() -> Iterator[State]:
    unread = [State(), State(packages_error="it has none"), State(packages_error="no right", may_not=True)]
    known = [State(packages=packages) for packages in subsets()]
    for state, level, secure_boot in itertools.product([*unread, *known], WORDS, (True, False, None)):
        yield replace(
            state, name="esx", moid="host-1", version="8.0.3", level=level, secure_boot=secure_boot, told_by="x" if secure_boot else ""
        )


WISHES = [
    Wanted(level=level, at_least=at_least, allow_unknown=allow, packages=packages)
    for level in (None, *WORDS)
    for at_least in ((True, False) if level else (False,))
    for allow in (True, False)
    for packages in (True, False)
]
ALL = [(state, wanted) for state in states() for wanted in WISHES]


def codes(state: State, wanted: Wanted) -> dict[str, str]:
    return {finding.code: finding.level for finding in plan(state, wanted).findings}


# ---- every state ------------------------------------------------------------------------------------------------------------


def test_planning_twice_gives_nothing_and_every_change_alters_the_state() -> None:
    for state, wanted in ALL:
        made = plan(state, wanted)
        assert len(made.changes) <= 1
        for change in made.changes:
            assert change.applied_to(state) == replace(state, level=str(wanted.level)) != state
        assert plan(made.predicted, wanted).changes == (), (state, wanted)


def test_nothing_is_written_that_is_not_asked_for() -> None:
    assert not any(plan(state, wanted).changes for state, wanted in ALL if wanted.level in (None, state.level))


def test_a_wish_is_carried_out_or_its_refusal_is_an_error() -> None:
    """Never both, and never neither."""
    for state, wanted in ALL:
        made = plan(state, wanted)
        above = wanted.level is not None and STRICT.index(state.level) > STRICT.index(wanted.level)
        if wanted.level not in (None, state.level) and not (above and wanted.at_least):
            assert bool(made.changes) != bool(made.errors), (state, wanted)
        else:
            assert not made.errors, (state, wanted)


def test_a_level_is_raised_exactly_where_every_installed_vib_is_admitted_by_it() -> None:
    for state, wanted in ALL:
        if wanted.level is None or STRICT.index(wanted.level) <= STRICT.index(state.level):
            continue
        made = plan(state, wanted)
        if state.packages is None:
            assert bool(made.changes) != state.may_not, "the host itself refuses what its VIBs do not allow"
            assert "acceptance_packages_unread" in codes(state, wanted)
            continue
        below = [package for package in state.packages if package.level in WORDS and package.level not in ADMITTED[wanted.level]]
        assert bool(made.changes) == (not below), (state, wanted)
        assert all(isinstance(change, RaiseAcceptanceLevel) for change in made.changes)
        if below:
            text = next(finding.text for finding in made.findings if finding.code == "acceptance_blocked")
            assert all(f"{package.name} 1.0 (Example, {package.level})" in text for package in below)
            highest = acceptance.highest(state)
            assert highest and f"{highest} is the highest" in text
            allowed = plan(state, replace(wanted, level=highest))
            assert "acceptance_blocked" not in {finding.code for finding in allowed.findings}, "what is named as the highest is not blocked"
            above = STRICT[STRICT.index(highest) + 1] if highest != "vmware_certified" else None
            if above and STRICT.index(above) > STRICT.index(state.level):
                assert "acceptance_blocked" in codes(state, replace(wanted, level=above)), "and one more is"


def test_a_level_is_never_lowered_under_secure_boot_and_to_community_only_where_it_is_off_or_asked_for_twice() -> None:
    lowered = 0
    for state, wanted in ALL:
        made = plan(state, wanted)
        down = [change for change in made.changes if isinstance(change, LowerAcceptanceLevel)]
        is_down = wanted.level is not None and STRICT.index(wanted.level) < STRICT.index(state.level)
        assert is_down or not down
        if not is_down:
            continue
        if wanted.at_least:
            assert made.changes == () and made.errors == (), "what is stricter is left alone, and nothing is said against it"
            continue
        found = codes(state, wanted)
        may = state.secure_boot is False or (state.secure_boot is None and (wanted.level != "community" or wanted.allow_unknown))
        assert bool(down) == may, (state, wanted)
        assert ("acceptance_secure_boot" in found) == (state.secure_boot is True)
        assert ("acceptance_secure_boot_unknown" in found) == (state.secure_boot is None)
        assert ("acceptance_lowered" in found) == may, "a loss of trust is told where it happens"
        lowered += bool(down)
    assert lowered > 100


def test_the_packages_are_needed_to_raise_and_to_tell_and_for_nothing_else() -> None:
    for state, wanted in ALL:
        up = wanted.level is not None and STRICT.index(wanted.level) > STRICT.index(state.level)
        assert acceptance.needs_packages(wanted, "esx", "host-1", state.level) == (up or wanted.packages)


def test_what_is_told_is_json_and_settings_are_the_level() -> None:
    for state, wanted in ALL:
        for full in (True, False):
            told = acceptance.report(state, wanted, None, full=full)
            assert json.loads(json.dumps(told)) == told
        assert acceptance.settings(state) == {"acceptance_level": state.level}
        assert all(change.describe()["level"] == wanted.level for change in plan(state, wanted).changes)
        full_report = acceptance.report(state, wanted, None, full=True)
        assert set(full_report["admits"]) == ADMITTED[state.level]


# ---- findings -----------------------------------------------------------------------------------------------------------------

PLAIN = State(name="esx", moid="host-1", version="8.0.3", secure_boot=False, told_by="x")
SITUATIONS: list[tuple[str, str, State, Wanted]] = [
    ("acceptance_community", "warning", replace(PLAIN, level="community"), Wanted()),
    ("acceptance_community", "warning", replace(PLAIN, level="community"), Wanted(level="partner")),
    ("acceptance_community", "note", replace(PLAIN, level="community"), Wanted(level="community")),
    ("acceptance_unsigned_boot", "warning", replace(PLAIN, level="community", secure_boot=True), Wanted()),
    ("acceptance_vib_below", "warning", replace(PLAIN, packages=(vib("community"),)), Wanted(packages=True)),
    ("acceptance_packages_unread", "warning", replace(PLAIN, packages_error="no"), Wanted(packages=True)),
    ("acceptance_packages_unread", "warning", replace(PLAIN, packages_error="no"), Wanted(level="vmware_accepted")),
    ("acceptance_packages_unread", "error", replace(PLAIN, packages_error="no", may_not=True), Wanted(level="vmware_accepted")),
    ("acceptance_secure_boot_unknown", "error", replace(PLAIN, secure_boot=None), Wanted(level="community")),
    ("acceptance_secure_boot_unknown", "warning", replace(PLAIN, secure_boot=None), Wanted(level="community", allow_unknown=True)),
    ("acceptance_secure_boot_unknown", "note", replace(PLAIN, level="vmware_certified", secure_boot=None), Wanted(level="partner")),
    ("acceptance_lowered", "note", PLAIN, Wanted(level="community")),
    ("acceptance_secure_boot", "error", replace(PLAIN, secure_boot=True), Wanted(level="community")),
    ("acceptance_blocked", "error", replace(PLAIN, packages=(vib("partner"),)), Wanted(level="vmware_accepted")),
    ("acceptance_not_in_record", "note", PLAIN, Wanted(record=())),
]


@pytest.mark.parametrize(("code", "level", "state", "wanted"), SITUATIONS, ids=[f"{c}-{n}" for n, (c, *_rest) in enumerate(SITUATIONS)])
def test_what_is_found_where(code: str, level: str, state: State, wanted: Wanted) -> None:
    assert codes(state, wanted).get(code) == level


def test_a_host_that_takes_unsigned_software_is_told_of_its_next_start_exactly_under_secure_boot() -> None:
    for state, wanted in ALL:
        found = codes(state, wanted)
        assert ("acceptance_unsigned_boot" in found) == (state.level == "community" and state.secure_boot is True)
        assert ("acceptance_community" in found) == (state.level == "community")


def test_every_code_has_a_situation_and_a_plain_host_has_none() -> None:
    assert {code for code, *_rest in SITUATIONS} == set(MEANINGS)
    assert codes(PLAIN, Wanted()) == {} == codes(PLAIN, Wanted(level="partner"))
    assert codes(replace(PLAIN, packages=(vib("partner"),)), Wanted(packages=True)) == {}


def test_many_blocking_vibs_are_told_by_number_and_are_all_in_the_report() -> None:
    state = replace(PLAIN, packages=tuple(vib("partner", f"driver-{n:02d}") for n in range(30)))
    wanted = Wanted(level="vmware_certified")
    text = plan(state, wanted).errors[0].text
    assert "30 VIBs" in text and "and 25 more" in text and len(text) < 400
    assert len(acceptance.report(state, wanted, None, full=False)["blocking"]) == 30


# ---- spellings ----------------------------------------------------------------------------------------------------------------

SPELLINGS = {
    "vmware_certified": [
        "vmware_certified",
        "VMwareCertified",
        "VMware Certified",
        "certified",
        "vmware-certified",
        "VMWARE_CERTIFIED",
        " VMware certified ",
    ],
    "vmware_accepted": ["vmware_accepted", "VMwareAccepted", "VMware Accepted", "accepted", "VMware\u00a0Accepted", "vmware\u2010accepted"],
    "partner": [
        "partner",
        "PartnerSupported",
        "Partner Supported",
        "partner_supported",
        "PARTNER",
        "partner-supported",
        "partnersupported",
    ],
    "community": ["community", "CommunitySupported", "Community Supported", "community-supported", "COMMUNITY", '"community"'],
}


@pytest.mark.parametrize(("text", "word"), [(text, word) for word, texts in SPELLINGS.items() for text in texts])
def test_a_level_is_taken_as_people_write_it(text: str, word: str) -> None:
    assert spelled(text) == word
    assert parse({"acceptance_level": text}).level == word


@USUAL
@given(st.sampled_from(LEVELS), st.data())
def test_case_and_what_stands_between_do_not_matter(level: Any, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([level.word, level.esxcli, level.descriptor]))
    cased = "".join(data.draw(st.sampled_from([letter.upper(), letter.lower()])) for letter in text)
    between = [data.draw(st.sampled_from(["", "", "", " ", "-", "_", "\t", "\u2013"])) for _letter in cased]
    assert spelled("".join(letter + gap for letter, gap in zip(cased, between, strict=True))) == level.word


@USUAL
@given(st.text(max_size=100))
def test_anything_else_is_refused_with_the_list(text: str) -> None:
    if spelled(text):
        return
    with pytest.raises(BadInput) as caught:
        parse({"acceptance_level": text})
    assert all(level.word in caught.value.hint and level.esxcli in caught.value.hint for level in LEVELS)
    assert len(caught.value.sentence) < 400


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("PartnerSuported", "partner"),
        ("comunity", "community"),
        ("VMWareAcceptd", "vmware_accepted"),
        ("certifed", "vmware_certified"),
        ("Partners", "partner"),
        ("none", None),
        ("", None),
    ],
)
def test_the_nearest_is_named(text: str, meant: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        parse({"acceptance_level": text})
    assert (f"Did you mean {meant}?" in caught.value.hint) if meant else ("Did you mean" not in caught.value.hint)


# ---- records ------------------------------------------------------------------------------------------------------------------

ESX = [
    Recorded("esx-1", "host-1", "partner"),
    Recorded("esx-2", "host-2", "community"),
    Recorded("twin", "host-3", "community"),
    Recorded("twin", "host-4", "partner"),
]


@pytest.mark.parametrize(
    ("name", "moid", "level"),
    [
        ("esx-1", "host-1", "partner"),
        ("esx-2", "host-99", "community"),
        ("twin", "host-3", "community"),
        ("twin", "host-4", "partner"),
        ("twin", "host-9", None),
        ("esx-9", "host-1", None),
    ],
)
def test_whom_a_record_speaks_of(name: str, moid: str, level: str | None) -> None:
    assert acceptance.goal(Wanted(record=tuple(ESX)), name, moid) == level


@pytest.mark.parametrize("level", WORDS)
def test_a_record_is_taken_back(level: str) -> None:
    kept = acceptance.record(replace(PLAIN, level=level))
    wanted = parse({"restore": json.loads(json.dumps({"format": RECORD, "hosts": [kept]}))})
    assert wanted.record == (Recorded("esx", "host-1", level),)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ({"format": "fleetcare.esxi firewall record 1", "hosts": []}, "no record of acceptance levels"),
        ({"format": RECORD}, "has no 'hosts'"),
        ({"format": RECORD, "hosts": [{"name": "esx", "moid": "host-1"}]}, "host esx has no 'acceptance_level'"),
        ({"format": RECORD, "hosts": [{"name": "esx", "moid": "host-1", "acceptance_level": "most"}]}, "'most' is no acceptance level"),
        ({"format": RECORD, "hosts": [{"name": "esx", "moid": "host-1", "acceptance_level": 3}]}, "3 is no str"),
    ],
)
def test_a_spoilt_record_is_refused(data: dict[str, Any], cause: str) -> None:
    with pytest.raises(BadInput, match=cause):
        parse({"restore": data})


def test_at_least_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="at_least: true is given without acceptance_level"):
        parse({"at_least": True})
    assert parse({"at_least": True, "acceptance_level": "partner"}) == Wanted(level="partner", at_least=True)


def test_a_level_and_a_record_together_are_refused() -> None:
    with pytest.raises(BadInput, match="both given"):
        parse({"acceptance_level": "partner", "restore": {"format": RECORD, "hosts": []}})

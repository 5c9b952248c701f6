# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles: what people write, what they get wrong, and who is in a group."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.audit_controls import CONTROLS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.audit_profile import Group, parse
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.report_model import WORDS
from ansible_collections.fleetcare.esxi.plugins.module_utils._features.audit import CODES

GROUP: dict[str, Any] = {"name": "dmz", "esxi_hostname": ["dmz-*"], "features": {"ntp": {"max_skew": 2}}}
EXCEPTION: dict[str, Any] = {"id": "E", "owner": "o", "reason": "r", "expires": "2026-12-31", "feature": "ntp"}
PROFILE: dict[str, Any] = {
    "site": "Bonn",
    "features": {"ntp": {"max_skew": 1, "step": "never"}},
    "groups": [GROUP],
    "exceptions": [EXCEPTION],
}


def test_a_group_replaces_the_options_that_it_names() -> None:
    profile = parse(PROFILE, WORDS)
    assert profile.options("ntp", []) == {"max_skew": 1, "step": "never"}
    assert profile.options("ntp", ["dmz"]) == {"max_skew": 2, "step": "never"}
    assert profile.options("crypto", ["dmz"]) is None
    assert profile.words == {"ntp"} and profile.groups_that_differ("ntp") == {"dmz"} and profile.groups_that_differ("crypto") == frozenset()


def test_groups_replace_each_other_in_their_order() -> None:
    groups = [
        {**GROUP, "name": name, "features": {"ntp": options}}
        for name, options in (("a", {"max_skew": 2}), ("b", None), ("c", {"max_skew": 3}))
    ]
    profile = parse({**PROFILE, "groups": groups, "exceptions": []}, WORDS)
    assert profile.options("ntp", ["b", "a"]) is None
    assert profile.options("ntp", ["c", "b", "a"]) == {"max_skew": 3}
    assert profile.options("ntp", ["c", "a"]) == {"max_skew": 3, "step": "never"}


@pytest.mark.parametrize(
    ("select", "host", "vm"),
    [
        ({"esxi_hostname": ["ESX-1*"]}, True, True),
        ({"esxi_hostname": ["host-1"]}, True, False),
        ({"vm_name": ["vm*"]}, False, True),
        ({"vm_name": ["vm-1"], "esxi_hostname": ["other"]}, False, False),
        ({"vm_name": ["web"], "esxi_hostname": ["esx-1.example.com"]}, False, True),
        ({"cluster_name": ["Prod"]}, True, True),
        ({"cluster_name": ["prod"], "datacenter": ["elsewhere"]}, False, False),
        ({"folder": ["racks"]}, True, False),
        ({"folder": ["tenants"]}, False, True),
        # Every object id begins so.
        ({"esxi_hostname": ["host-*"]}, False, False),
        ({"vm_name": ["vm-*"]}, False, False),
    ],
)
def test_who_is_in_a_group(select: dict[str, Any], host: bool, vm: bool) -> None:
    group = Group(name="g", select={option: tuple(names) for option, names in select.items()}, features={})
    places = [("datacenter", "Bonn"), ("cluster", "prod")]
    assert group.holds("esx-1.example.com", "host-1", [*places, ("folder", "racks")], is_vm=False) is host
    names = ["vm-web"] if select.get("vm_name") == ["vm*"] else ["web"]
    assert group.holds(names[0], "vm-1", [*places, ("folder", "tenants")], is_vm=True, host="esx-1.example.com") is vm


def test_a_date_may_be_a_date() -> None:
    for given_date in (datetime.date(2026, 12, 31), datetime.datetime(2026, 12, 31, 8, 0), "2026-12-31"):
        (found,) = parse({**PROFILE, "exceptions": [{**EXCEPTION, "expires": given_date}]}, WORDS).exceptions
        assert found.expires == datetime.date(2026, 12, 31)


def test_the_fingerprint_goes_by_the_content() -> None:
    again = {name: PROFILE[name] for name in reversed(PROFILE)}
    assert parse(PROFILE, WORDS).fingerprint == parse(again, WORDS).fingerprint
    assert parse(PROFILE, WORDS).fingerprint != parse({**PROFILE, "site": "Berlin"}, WORDS).fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "the profile is nothing"),
        ([], "the profile is a list"),
        ({"feature": {}}, "'feature'"),
        ({"features": {"ntpp": {}}}, "Did you mean ntp?"),
        ({"features": {"ntp": None}}, "features.ntp is empty"),
        ({"features": {"ntp": ["a"]}}, "features.ntp is a list"),
        ({"features": {}, "groups": [], "exceptions": []}, "no feature is named"),
        ({"features": {1: {}}}, "has the name 1"),
        ({"site": ["Bonn"]}, "site is a list"),
        ({"exposure": "yes"}, "exposure is a str, neither true nor false"),
        ({"owners": {"ntq": "x"}}, "'ntq'"),
        ({"groups": {"name": "dmz"}}, "groups is a dict, not a list"),
        ({"groups": [{"name": "dmz", "features": {}}]}, "group dmz holds nothing"),
        ({"groups": [{**GROUP, "name": ""}]}, "groups[1] has no name"),
        ({"groups": [GROUP, GROUP]}, "groups has 'dmz' twice"),
        ({"groups": [{**GROUP, "hosts": ["*"]}]}, "'hosts'"),
        ({"groups": [{**GROUP, "esxi_hostname": []}]}, "esxi_hostname is empty"),
        ({"exceptions": [{**EXCEPTION, "owner": ""}]}, "exception E has no owner"),
        ({"exceptions": [{**EXCEPTION, "reason": None}]}, "exception E has no reason"),
        ({"exceptions": [{**EXCEPTION, "expires": None}]}, "exception E has no date in expires"),
        ({"exceptions": [{**EXCEPTION, "expires": "soon"}]}, "exception E has 'soon' in expires"),
        ({"exceptions": [{**EXCEPTION, "feature": ""}]}, "would excuse everything"),
        ({"exceptions": [{**EXCEPTION, "feature": "", "targets": ["esx-1", "*"]}]}, "would excuse everything"),
        ({"exceptions": [{**EXCEPTION, "feature": "", "targets": ["*/*"]}]}, "would excuse everything"),
        ({"features": {"license": {"labels": {1: "a", "b": "c"}}}}, "some name in it is no text"),
        ({"exceptions": [{**EXCEPTION, "groups": ["nobody"]}]}, "names the group 'nobody'"),
        ({"exceptions": [EXCEPTION, EXCEPTION]}, "exceptions has 'E' twice"),
        (
            {"exceptions": [{**EXCEPTION, "codes": ["clock_skwed"]}]},
            "exception E.codes has 'clock_skwed', which is not known. Did you mean clock_skewed?",
        ),
        ({"exceptions": [{**EXCEPTION, "codes": ["zzz"]}]}, "docs/findings.md lists the codes."),
        (
            {"controls": [{"id": "S-1", "guide": "g", "title": "t", "source": "s", "codes": ["clock_skewd"]}]},
            "control S-1.codes has 'clock_skewd'",
        ),
        ({"controls": [{"id": "S-1", "guide": "g", "title": "t", "source": "s"}]}, "has no codes"),
        ({"controls": [{"id": "S-1", "guide": "g", "title": "t", "codes": ["c"]}]}, "has no source"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_the_cure(change: Any, said: str) -> None:
    data = {**PROFILE, **change} if isinstance(change, dict) else change
    with pytest.raises(BadInput) as problem:
        parse(data, WORDS, ("clock_skewed", "ntpd_stopped"))
    assert said in problem.value.sentence and problem.value.sentence.startswith("profile: ") and problem.value.hint


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PROFILE, *GROUP, *EXCEPTION, "controls", "ntp"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.one_of(trees, st.dictionaries(st.sampled_from([*PROFILE, "owners", "controls", "exposure"]), trees)))
def test_whatever_is_given_is_a_profile_or_one_sentence(data: Any) -> None:
    try:
        parse(data, WORDS)
    except BadInput as problem:
        assert problem.hint and "\n" not in problem.sentence


def test_every_code_that_controls_and_exceptions_may_name_is_known() -> None:
    assert {code for control in CONTROLS for code in control.codes} <= set(CODES)
    # One of each feature, and the audit's own.
    assert {"clock_skewed", "key_expired", "lockout_refused", "cpu_known_bad", "still_locked", "not_reached"} <= set(CODES)
    assert len(CODES) == len(set(CODES)) > 100

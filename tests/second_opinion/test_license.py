# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The licence modules as far as this server goes, and a sentence where it stops.

It knows an evaluation, AddLicense, which takes any text, and RemoveLicense. It lacks DecodeLicense, UpdateLicense and
UpdateAssignedLicense, tells nothing of a key but its letters, and names nobody when it is asked who holds what. What became
of it is read with pyVmomi alone, none of our code.
"""

from __future__ import annotations

import json
import pathlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from tests.integration.driver import run
from tests.second_opinion.vcsim import CLUSTER, LONE_HOST, Vcsim, vcsim

HOSTS = 3
EVALUATION, KEY, OTHER = "00000-00000-00000-00000-00000", "FAKE0-R1GHT-V8000-CPUPK-00001", "FAKE0-TH1RD-V8000-CPUPK-00003"
MASKED = "FAKE0-*****-*****-*****-00001"
STATES: list[dict[str, Any]] = [
    {"state": "valid", "license_key": KEY},
    {"state": "assigned", "license_key": KEY},
    {"state": "assigned", "license_keys": [OTHER, KEY], "labels": {"owner": "platform"}},
]
Result = dict[str, Any]


@pytest.fixture(params=["vcenter", "esxi"])
def fresh(request: pytest.FixtureRequest, vcsim_binary: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vcsim]:
    """A server that nobody has changed yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with vcsim(vcsim_binary, tmp_path, kind=request.param, hosts=HOSTS if request.param == "vcenter" else 1) as server:
        yield server


@contextmanager
def manager(server: Vcsim) -> Iterator[Any]:
    """pyVmomi's LicenseManager."""
    context = ssl.create_default_context(cafile=server.ca_file)
    service = SmartConnect(host=server.hostname, port=server.port, user=server.username, pwd=server.password, sslContext=context)
    try:
        yield service.content.licenseManager
    finally:
        Disconnect(service)


def licences(server: Vcsim) -> dict[str, dict[str, str]]:
    """Labels by key."""
    with manager(server) as found:
        return {one.licenseKey: {label.key: label.value for label in one.labels} for one in found.licenses}


def add(server: Vcsim, *keys: str) -> None:
    with manager(server) as found:
        for key in keys:
            found.AddLicense(licenseKey=key, labels=[vim.KeyValue(key="owner", value="finance")])


def validate(server: Vcsim, *, check: bool = False, **options: Any) -> Result:
    return run(server, "esxi_license_validate", check=check, **{"esxi_hostname": ["*"], **options})


def statuses(result: Result) -> set[str]:
    assert result["hosts"]
    return {host["status"] for host in result["hosts"].values()}


def codes(part: Result) -> set[str]:
    return {finding["code"] for finding in part["findings"]}


def assert_quiet(result: Result) -> None:
    """No key in clear, and no word of a program's."""
    text = json.dumps(result)
    assert KEY not in text and OTHER not in text and "Traceback" not in text and "Error:" not in text


def assert_refused(server: Vcsim, result: Result, before: dict[str, dict[str, str]]) -> None:
    assert not result["changed"] and statuses(result) == {"failed"}, result["msg"]
    for host in result["hosts"].values():
        assert host["failure"]["cause"] and host["failure"]["hint"] and not host["changed"] and host["changes"] == []
    assert_quiet(result)
    assert licences(server) == before


# ---- the server itself ----------------------------------------------------------------------------------------------


def test_it_is_what_these_tests_take_it_for(fresh: Vcsim) -> None:
    with manager(fresh) as found:
        assert [one.licenseKey for one in found.licenses] == [EVALUATION]
        taken = found.AddLicense(licenseKey="any text at all")
        assert (taken.editionKey, taken.name, list(taken.labels)) == ("eval", "Evaluation Mode", [])
        (listed,) = [one for one in found.licenses if one.licenseKey == "any text at all"]
        assert (listed.editionKey, listed.name, listed.used, list(listed.properties)) == ("", "", None, [])
        for method in (found.DecodeLicense, found.UpdateLicense):
            with pytest.raises(vmodl.fault.MethodNotFound):
                method(licenseKey=KEY)
        if fresh.kind == "vcenter":
            assert [one.entityId for one in found.licenseAssignmentManager.QueryAssignedLicenses()] == [""]
            with pytest.raises(vmodl.fault.MethodNotFound):
                found.licenseAssignmentManager.UpdateAssignedLicense(entity="host-21", licenseKey=KEY)


# ---- what it can tell -----------------------------------------------------------------------------------------------


def test_info(fresh: Vcsim) -> None:
    result = run(fresh, "esxi_license_info", esxi_hostname=["*"], csv=True)
    assert not result["changed"] and len(result["hosts"]) == fresh.hosts
    (row,) = result["licenses"]
    assert (row["edition"], row["name"], row["verdict"], row["in_inventory"]) == ("eval", "Evaluation Mode", "evaluation", True)
    for host in result["hosts"].values():
        assert (host["version"], host["generation"], host["processors"], host["cores"]) == ("6.5.0", "6", 2, 2)
        assert "certificate_unreadable" in codes(host) and host["failure"] is None
        assert codes(host) & {"host_in_evaluation", "host_unlicensed"}
    assert len(result["at_risk"]) == fresh.hosts and len(result["csv"].splitlines()) == 1 + fresh.hosts
    if fresh.kind == "esxi":
        (host,) = result["hosts"].values()
        (trial,) = [finding for finding in host["findings"] if finding["code"] == "host_in_evaluation"]
        assert trial["text"] == "it does not say how long" and host["edition"] == "eval"
    else:
        one = run(fresh, "esxi_license_info", cluster_name=[CLUSTER])
        assert LONE_HOST not in one["hosts"] and len(one["hosts"]) == HOSTS - 1


def test_hosts_without_a_question_about_keys(fresh: Vcsim) -> None:
    result = validate(fresh)
    expected = {"compliant"} if fresh.kind == "esxi" else {"failed"}
    assert not result["changed"] and statuses(result) == expected
    assert_quiet(result)


def test_a_key_that_somebody_has_added_is_listed(fresh: Vcsim) -> None:
    add(fresh, KEY)
    result = run(fresh, "esxi_license_info", esxi_hostname=["*"])
    (row,) = [row for row in result["licenses"] if row["key"] == MASKED]
    assert row["in_inventory"] and row["labels"] == {"owner": "finance"} and not row["edition"] and row["used"] is None
    assert row["verdict"] != "good", "nothing but its letters is known of it"
    assert_quiet(result)


# ---- where it stops -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", STATES, ids=lambda wish: f"{wish['state']}-{len(wish)}")
@pytest.mark.parametrize("check", [True, False])
def test_a_key_that_it_cannot_decode(fresh: Vcsim, wish: dict[str, Any], check: bool) -> None:
    """AddLicense would take it, as it takes any text; so nothing is sent to it."""
    before = licences(fresh)
    result = validate(fresh, check=check, **wish)
    assert_refused(fresh, result, before)
    assert "the server does not know the operation DecodeLicense" in result["msg"]
    assert result["endpoint"]["status"] == "failed" and {row["in_inventory"] for row in result["licenses"]} == {False}


@pytest.mark.parametrize("wish", [*STATES, {"state": "assigned", "from_inventory": True}], ids=lambda wish: f"{wish['state']}-{len(wish)}")
def test_a_key_of_which_it_tells_nothing(fresh: Vcsim, wish: dict[str, Any]) -> None:
    add(fresh, KEY, OTHER)
    result = validate(fresh, **wish)
    assert_refused(fresh, result, {EVALUATION: {}, KEY: {"owner": "finance"}, OTHER: {"owner": "finance"}})
    assert all(row["verdict"] not in ("good", "well_formed") for row in result["licenses"])


def test_keys_of_the_evaluation_license_nothing(fresh: Vcsim) -> None:
    before = licences(fresh)
    wishes: list[tuple[dict[str, Any], str]] = [
        ({"license_key": EVALUATION}, "key_is_evaluation"),
        ({"from_inventory": True}, "evaluation"),
    ]
    for wish, verdict in wishes:
        result = validate(fresh, state="assigned", **wish)
        assert_refused(fresh, result, before)
        assert verdict in {row["verdict"] for row in result["licenses"]}


# ---- what it can do -------------------------------------------------------------------------------------------------


def test_a_key_goes(fresh: Vcsim) -> None:
    add(fresh, KEY, OTHER)
    before = licences(fresh)
    checked = validate(fresh, check=True, state="absent", license_key=KEY)
    assert checked["changed"] and checked["endpoint"]["status"] == "would_change" and licences(fresh) == before
    done = validate(fresh, state="absent", license_key=f"{KEY.lower()} # returned")
    assert done["changed"] and [change["change"] for change in done["endpoint"]["changes"]] == ["remove_key"]
    assert checked["endpoint"]["changes"] == done["endpoint"]["changes"]
    assert licences(fresh) == {key: labels for key, labels in before.items() if key != KEY}
    for check in (True, False):
        again = validate(fresh, check=check, state="absent", license_key=KEY)
        assert not again["changed"] and statuses(again) == {"compliant"} and again["endpoint"]["status"] == "compliant"
    assert_quiet(done)


def test_bad_input_ends_before_the_server(fresh: Vcsim) -> None:
    with pytest.raises(BadInput, match="no key contains"):
        validate(fresh, state="assigned", license_key=KEY.replace("R", "B"))
    judged = validate(fresh, license_key=KEY.replace("R", "B"))
    assert [(row["verdict"], row["position"]) for row in judged["licenses"]] == [("key_malformed", 7)]
    assert not judged["changed"] and judged["endpoint"]["status"] == "failed"

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each situation of tests/situations/license.yml gives the code, level, evidence and next step that stand there."""

from __future__ import annotations

import json
import pathlib
import re
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import errors
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license import MEANINGS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import LEVELS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from tests.integration.driver import run
from tests.simulator import Simulator

TABLE = pathlib.Path(__file__).resolve().parents[1] / "situations/license.yml"
GROUPS = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["groups"]
SITUATIONS: dict[str, dict[str, Any]] = {each["name"]: each for group in GROUPS for each in group["situations"]}
KINDS = {found.kind for found in vars(errors).values() if isinstance(found, type) and issubclass(found, errors.FleetcareError)}
VERDICTS = {"good", "well_formed"}
# The middle of every key of the table, whole or mistyped.
SECRET = re.compile(r"M.?RK[0-9]", re.I)
IN_CHECK_MODE = {"changed": "would_change"}
NOWHERE = types.SimpleNamespace(hostname=None, port=443, username=None, password=None, ca_file=None)

pytestmark = pytest.mark.newest_only


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (at_endpoint, pipeline):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))


# ---- the table itself -----------------------------------------------------------------------------------------------


def test_the_table_is_large_and_names_are_unique() -> None:
    names = Counter(each["name"] for group in GROUPS for each in group["situations"])
    assert len(names) >= 48
    assert [name for name, count in names.items() if count > 1] == []


def test_every_code_has_a_situation() -> None:
    assert set(MEANINGS) - {each["expect"]["code"] for each in SITUATIONS.values()} == set()


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_expected_can_be(name: str) -> None:
    expect = SITUATIONS[name]["expect"]
    told_here = {"means", "next", "source"} & set(expect)
    assert expect["level"] in (*LEVELS, "good")
    assert set(expect.get("also", ())) <= set(MEANINGS)
    if expect["code"] in MEANINGS:
        assert expect["level"] != "good" and not told_here
    else:
        assert expect["code"] in KINDS | VERDICTS and len(told_here) == 3
        assert (expect["level"] == "good") == (expect["where"] == "key") == (expect["code"] in VERDICTS)


def test_keys_are_made_up_and_would_be_noticed() -> None:
    for key in re.findall(r"\b\w{5}(?:-\w{4,5}){4}\b", TABLE.read_text(encoding="utf-8")):
        assert key.startswith("00000-") or (key.upper().startswith("FAKE") and len(SECRET.findall(key)) == 3), key


# ---- each situation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(name: str, simulator: Callable[..., Simulator]) -> None:
    situation = SITUATIONS[name]
    expect = situation["expect"]
    options = {"module": "esxi_license_validate", **situation["task"]}
    if situation["server"] == "none":
        _as_expected(_told(NOWHERE, **options), expect, check=False)
        return
    server = simulator(situation["server"])
    for action in situation.get("before", ()):
        if "advance" in action:
            server.advance(action["advance"])
        else:
            server.act(**action)
    _as_expected(_told(server, check=True, **options), expect, check=True)
    assert _writes(server) == 0
    told = _told(server, **options)
    _as_expected(told, expect, check=False)
    if options.get("state", "valid") == "valid":
        assert _writes(server) == 0
    if expect["code"] == "bad_input":
        assert server.summary()["requests"] == 0
    if expect.get("status") == "changed":
        before = _writes(server)
        again = _told(server, **options)
        assert again["changed"] is False and _writes(server) == before


def _writes(server: Simulator) -> int:
    return int(server.summary()["writes"])


def _told(server: Any, module: str, **options: Any) -> dict[str, Any]:
    """The result, or why there is none; no key in either."""
    try:
        told = run(server, module, **options)
    except errors.FleetcareError as problem:
        told = {"failure": problem.as_failure()}
    whole = json.dumps(told, ensure_ascii=False)
    assert not SECRET.search(whole), whole
    return told


def _as_expected(told: dict[str, Any], expect: dict[str, Any], *, check: bool) -> None:
    where, code = expect["where"], expect["code"]
    if where == "task":
        _failed(told["failure"], expect)
        return
    assert "hosts" in told, told["failure"]
    parts = {**told["hosts"], "endpoint": told["endpoint"]}
    part = parts["endpoint" if where == "key" else where]
    usual = expect.get("status", part["status"])
    status = expect.get("foreseen", IN_CHECK_MODE.get(usual, usual)) if check else usual
    assert part["status"] == status, part
    if status in ("changed", "would_change"):
        assert [change["change"] for change in part["changes"]] == expect.get("changes", [c["change"] for c in part["changes"]])
    foreseen_only = check and status == "would_change"
    if where == "key":
        assert {row["verdict"] for row in told["licenses"]} == {code}, told["licenses"]
        shown = told["licenses"][0]
    else:
        shown = part
    if not foreseen_only:
        assert {name: shown.get(name) for name in expect.get("shows", ())} == expect.get("shows", {})
    if code in MEANINGS:
        _found(told, part, expect, foreseen_only)
    elif code in KINDS and not foreseen_only:
        _failed(part["failure"], expect)
    if not check:
        found = {finding["code"] for each in parts.values() for finding in each["findings"]}
        assert found - {code} == set(expect.get("also", ()))


def _failed(failure: dict[str, Any], expect: dict[str, Any]) -> None:
    assert failure["kind"] == expect["code"], failure
    assert _pattern(expect["text"]).fullmatch(failure["cause"]), failure["cause"]
    assert failure["hint"] == expect["next"]


def _found(told: dict[str, Any], part: dict[str, Any], expect: dict[str, Any], foreseen_only: bool) -> None:
    """The finding is there with level, evidence and next step; what fails for its sake says so in words."""
    code, mended = expect["code"], expect.get("mended", False)
    rows = [finding for finding in part["findings"] if finding["code"] == code and finding["level"] == expect["level"]]
    if foreseen_only and not mended:
        assert not rows, "it is a consequence of what was written"
        return
    assert rows, part["findings"]
    assert _pattern(expect["text"]).fullmatch(rows[0]["text"]), rows[0]["text"]
    assert rows[0]["status"] == ("open" if not mended else "would_repair" if foreseen_only else "repaired")
    assert told["hints"][code] == MEANINGS[code].hint
    if expect["level"] == "error" and part["failure"]:
        assert f"{code}: {rows[0]['text']}" in part["failure"]["cause"]
        assert MEANINGS[code].hint in part["failure"]["hint"] and MEANINGS[code].hint.rstrip(".") in told["msg"]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace("YYYY\\-MM\\-DD", r"\d{4}-\d\d-\d\d"))

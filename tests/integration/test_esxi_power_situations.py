# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each situation of tests/situations/power.yml ends as it says there: a check run, a run, and another one."""

from __future__ import annotations

import json
import pathlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import session, tasks, waiting
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import EndpointUnreachable
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.power import MEANINGS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from tests.integration.driver import run
from tests.simulator import Simulator

HERE = pathlib.Path(__file__).resolve().parent
GROUPS = yaml.safe_load((HERE.parent / "situations/power.yml").read_text(encoding="utf-8"))["groups"]
SITUATIONS: dict[str, dict[str, Any]] = {each["name"]: each for group in GROUPS for each in group["situations"]}
# Seen in tests/unit/domain/test_power.py: no scenario of the simulator has a host like that.
ELSEWHERE = {"power_off", "power_not_supported"}


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[Any], Simulator]]:
    """One simulator for all situations of a scenario: a reset costs less than a start."""
    started: dict[str, Simulator] = {}

    def serve(scenario: Any) -> Simulator:
        key = json.dumps(scenario, sort_keys=True)
        if key in started:
            started[key].reset()
        else:
            started[key] = Simulator(scenario)
            started[key].__enter__()
        return started[key]

    yield serve
    errors = [error for sim in started.values() for error in sim.errors]
    for sim in started.values():
        sim.__exit__(None, None, None)
    assert errors == []


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (at_endpoint, pipeline):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(tasks, "_PAUSES", (0.01,) * 20)
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(session, "_PAUSES", (0.02,))


# ---- the table itself -----------------------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    names = Counter(each["name"] for group in GROUPS for each in group["situations"])
    assert [name for name, count in names.items() if count > 1] == [] and len(names) >= 40


def test_every_code_is_met() -> None:
    met = {code for each in SITUATIONS.values() for key in ("codes", "check_codes") for code in each["expect"].get(key, ())}
    assert set(MEANINGS) - met == ELSEWHERE and met <= set(MEANINGS)


# ---- each situation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(name: str, servers: Callable[[Any], Simulator]) -> None:
    situation = SITUATIONS[name]
    expect = situation["expect"]
    sim = servers(situation["server"])
    for action in situation.get("before", ()):
        sim.act(**action)
    task = dict(situation["task"])
    if not situation.get("direct"):
        task.setdefault("esxi_hostname", ["*"])
    where = expect.get("where", "esx-01.example.com")
    before = sim.state()["hosts"]

    sim.clear_journal()
    checked = run(sim, "esxi_power", check=True, **task)
    assert writes(sim) == [] and sim.state()["hosts"] == before
    foreseen = checked["hosts"][where]
    refused = expect["status"] in ("failed", "unreachable") and expect.get("writes") == 0
    assert foreseen["status"] == expect.get("check", planned(situation, where, refused))
    if "check_codes" in expect:
        assert codes(foreseen) >= set(expect["check_codes"])

    for fault in situation.get("faults", ()):
        sim.fault(**fault)
    timers = [threading.Timer(step["after"], act, (sim, step)) for step in situation.get("during", ())]
    for timer in timers:
        timer.start()
    done = run(sim, "esxi_power", **task)
    for timer in timers:
        timer.join()
    entry = done["hosts"][where]
    told = json.dumps(entry, default=str)
    assert entry["status"] == expect["status"], told
    if "changes" in expect:
        assert [change["change"] for change in entry["changes"]] == expect["changes"], told
    if entry["status"] == "changed":
        assert entry["changes"] == foreseen["changes"]
    if "not_done" in expect:
        assert [change["change"] for change in entry.get("not_done", ())] == expect["not_done"], told
    if "codes" in expect:
        assert codes(entry) == set(expect["codes"]), told
    assert (entry["failure"] or {}).get("kind") == expect.get("failure"), told
    if entry["failure"]:
        assert expect.get("says", "") in entry["failure"]["message"] and entry["failure"]["hint"]
    if expect.get("writes") == 0:
        assert writes(sim) == []
    for host, status in expect.get("others", {}).items():
        assert done["hosts"][host]["status"] == status, json.dumps(done["hosts"][host], default=str)
        if status == "skipped":
            assert [entry.method for entry in sim.journal if entry.write and entry.host == host] == []
    state = sim.state()["hosts"]
    for host, facts in expect.get("hosts", {}).items():
        assert {fact: state[host][fact] for fact in facts} == facts
    if expect.get("gone"):
        with pytest.raises(EndpointUnreachable):
            run(sim, "esxi_power", check=True, **task)

    plain = "compliant" if expect["status"] == "changed" else expect["status"]
    again = expect.get("again", plain)
    if again != "none":
        sim.clear_journal()
        sim.clear_faults()
        once_more = run(sim, "esxi_power", **task)["hosts"][where]
        assert once_more["status"] == again, json.dumps(once_more, default=str)
        if again == "compliant":
            assert [entry.method for entry in sim.journal if entry.write and entry.host == where] == []


def planned(situation: dict[str, Any], where: str, refused: bool) -> str:
    """What a check run says where it can know all."""
    expect = situation["expect"]
    if refused or (expect.get("failure") == "not_compliant" and not expect.get("changes")):
        return str(expect["status"])
    return "compliant" if expect["status"] == "compliant" else "would_change"


def act(sim: Simulator, step: dict[str, Any]) -> None:
    sim.act(**{key: value for key, value in step.items() if key != "after"})


def codes(entry: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in entry["findings"] if finding["status"] == "open"}


def writes(sim: Simulator) -> list[str]:
    return [f"{entry.method} on {entry.host}" for entry in sim.journal if entry.write]

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fleets, levels and faults for the acceptance level. CHAOS_RUNS=3000 runs a tenth of that; CHAOS_SEED=17 for one alone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from tests.chaos.test_chaos import FAULTS, hasty
from tests.integration.driver import run
from tests.simulator import Simulator

__all__ = ["hasty"]

RUNS = max(30, int(os.environ.get("CHAOS_RUNS", "300")) // 10)
SEEDS = [int(os.environ["CHAOS_SEED"])] if "CHAOS_SEED" in os.environ else range(RUNS)
PROFILES = ("6.7", "7.0.3", "8.0.2", "8.0.3", "9.0")
WRITE, GET, FETCH = "UpdateHostImageAcceptanceLevel", "HostImageConfigGetAcceptance", "fetchSoftwarePackages"
CALLS = (WRITE, GET, FETCH, "RetrievePropertiesEx")
STRICT = ["community", "partner", "vmware_accepted", "vmware_certified"]


def a_fleet(dice: random.Random) -> dict[str, Any]:
    hosts = []
    for number in range(dice.randint(1, 4)):
        lowest = dice.random() < 0.3
        hosts.append(
            {
                "count": dice.randint(1, 3),
                "name": f"esx-{number}{{n}}.example.com",
                "profile": dice.choice(PROFILES),
                "cluster": dice.choice(["prod", "lab", None]),
                "acceptance": dice.choice(STRICT),
                "secure_boot": dice.random() < 0.3,
                **({"software": [{"name": "own-firewall", "acceptance": "community"}]} if lowest else {}),
            }
        )
    return {"name": "chaos", "kind": "vcenter", "hosts": hosts}


def a_fault(dice: random.Random) -> dict[str, Any]:
    method = dice.choice(CALLS)
    host = None if method == "RetrievePropertiesEx" else dice.choice([None, "esx-0*", "esx-1*"])
    common = {"method": method, "host": host, "count": dice.randint(1, 3), "after": dice.randint(0, 2)}
    what: list[dict[str, Any]] = [
        {"fault": dice.choice(FAULTS)},
        {"http": 503},
        {"drop": dice.choice(["before", "after"])},
        {"expire_session": True},
        {"hang": True, "count": 1},
        {"delay": 0.05},
        {"ignore": True} if method == WRITE else {"fault": "MethodNotFound"},
    ]
    return {**common, **dice.choice(what)}


def levels(sim: Simulator) -> dict[str, str]:
    return {name: host["software"]["acceptance"] for name, host in sim.state()["hosts"].items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_hide_nothing_and_no_host_gets_another_level(simulator: Callable[..., Simulator], seed: int) -> None:
    dice = random.Random(seed)
    sim = simulator(a_fleet(dice), seed=seed)
    wish: dict[str, Any] = {
        "esxi_hostname": ["*"],
        "acceptance_level": dice.choice(STRICT),
        "at_least": dice.random() < 0.3,
        "allow_unknown_secure_boot": dice.random() < 0.5,
        "parallel": dice.choice([1, 4, 16]),
        "read_timeout": 0.5,
        "waves": dice.choice([None, ["1", "100%"]]),
    }
    check = dice.random() < 0.15
    for _number in range(dice.randint(1, 3)):
        sim.fault(**a_fault(dice))
    before = levels(sim)
    try:
        result = run(sim, "esxi_acceptance_level", check=check, **wish)
    except FleetcareError as problem:
        assert problem.hint, problem.sentence
        assert not [entry for entry in sim.journal if entry.write], f"{problem.sentence} hides writes"
        result = None
    after = levels(sim)
    assert not check or (before == after and not [entry for entry in sim.journal if entry.write])
    for name, host in result["hosts"].items() if result else ():
        goal, down = wish["acceptance_level"], STRICT.index(after[name]) < STRICT.index(before[name])
        assert after[name] in (before[name], goal)
        assert not (down and wish["at_least"])
        # What a host told, and what it kept to itself on releases that do not tell.
        assert not (down and sim.state()["hosts"][name]["software"]["secure_boot"] and goal == "community")
        if before[name] != after[name]:
            assert host["changed"], f"{name} was changed unreported: {host}"
        if host["status"] in ("compliant", "changed"):
            kept = wish["at_least"] and STRICT.index(before[name]) > STRICT.index(goal)
            assert after[name] == (before[name] if kept else goal), f"{name}: {host}"
        if host["status"] == "changed":
            assert before[name] != after[name], f"{name} claims what was not done: {host}"
        if host["failure"]:
            assert host["failure"]["hint"], host["failure"]
    sent = [(entry.method, entry.host) for entry in sim.journal if entry.write and entry.status in ("ok", "dropped", "hanging")]
    assert len(sent) == len(set(sent)), "a write was repeated blindly"
    assert sim.summary()["sessions"] == []

    sim.clear_faults()
    wish.update(read_timeout=30, waves=None)
    run(sim, "esxi_acceptance_level", **wish)
    sim.clear_journal()
    last = run(sim, "esxi_acceptance_level", **wish)
    assert not last["changed"] and [entry for entry in sim.journal if entry.write and entry.status == "ok"] == []

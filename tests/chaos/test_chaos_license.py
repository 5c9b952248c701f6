# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fleets, pools of keys and faults: four schedules for ten of those about the time of hosts, the same switches."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint
from tests.chaos.test_chaos import SEEDS, a_fault, hasty
from tests.integration.driver import run
from tests.integration.ledger import Ledger, fleet, held, host, licence, shown
from tests.simulator import Simulator

__all__ = ["hasty"]

WRITES = {
    "assigned": ("AddLicense", "UpdateAssignedLicense", "UpdateAssignedLicense", "UpdateLicenseLabel"),
    "absent": ("RemoveAssignedLicense", "RemoveAssignedLicense", "RemoveLicense"),
}
READS = ("RetrievePropertiesEx", "QueryAssignedLicenses", "DecodeLicense", "CurrentTime")
# Without a number at the end: which of them is full, which is for what, the dice say.
KEYS = [f"FAKE0-CHA0Z-V{number}000-KEY0{number}-0000{letter}" for number, letter in enumerate("ACDEF")]
FEATURES = ("dvs", "drs", "vmotion")
PROFILES = {"6": "6.7", "7": "7.0.3", "8": "8.0.3"}


@pytest.fixture(autouse=True)
def hasty_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_endpoint, "READ_BACK_PAUSES", (0.0, 0.01), raising=False)


def a_chain(dice: random.Random) -> dict[str, Any]:
    """Each key is full, each holder can do with the next one, and one host needs what the first key has."""
    length = dice.randint(1, len(KEYS) - 1)
    numbers = dice.sample(range(1, 10), length + 1)
    licences = [
        licence(key, total=2, features=["dvs"] if at == 0 else ["drs"], inventory=at < length or dice.random() < 0.5)
        for at, key in enumerate(KEYS[: length + 1])
    ]
    hosts = [host(numbers[at], license=KEYS[at]) for at in range(length)]
    return fleet([*hosts, host(numbers[length], features_in_use=["dvs"])], licences)


def a_fleet(dice: random.Random) -> dict[str, Any]:
    if dice.random() < 0.25:
        return a_chain(dice)
    major = {key: dice.choice(["8", "8", "8", "7"]) for key in KEYS}
    licences = [
        licence(
            key,
            version=f"{major[key]}.0",
            total=dice.choice([2, 4, 6, 8, 40, 0]),
            inventory=dice.random() < 0.7,
            edition=dice.choice(["esx.enterprisePlus.cpuPackage", "esx.standard.cpuPackage"]),
            features=dice.sample(FEATURES, dice.randint(1, 3)),
            expires=dice.choice(["never", "never", "never", 10, -3]),
            keeps_removed=dice.random() < 0.05,
            silently_ignored=dice.random() < 0.05,
        )
        for key in KEYS
    ]
    room = {row["key"]: row["total"] or 1000 for row in licences if row["expires"] != -3}
    hosts = []
    for number in range(1, dice.randint(3, 8)):
        kind = dice.choice(["8", "8", "8", "8", "7", "6"])
        has = "evaluation"
        sockets = dice.choice([1, 2, 2])
        for key in dice.sample(sorted(room), len(room)):
            if major[key] == kind and room[key] >= sockets and dice.random() < 0.7:
                has, room[key] = key, room[key] - sockets
                break
        used = [row["features"] for row in licences if row["key"] == has]
        uses = dice.sample(used[0] if used else list(FEATURES), 1) if dice.random() < 0.25 else []
        away = {"state": "disconnected"} if dice.random() < 0.08 else {}
        given = host(number, profile=PROFILES[kind], sockets=sockets, cores=16 * sockets, license=has, features_in_use=uses, **away)
        hosts.append({**given, "evaluation_days": dice.choice([0, 30])})
    options = {"remove_in_use": dice.choice(["kept", "removed", "InvalidState"]), "unlicensed": dice.choice(["absent", "empty"])}
    return fleet(hosts, licences, license_options=options, users={"administrator@vsphere.local": {"password": "Simulated-1"}})


def a_wish(dice: random.Random) -> dict[str, Any]:
    wish: dict[str, Any] = {"esxi_hostname": ["*"], "parallel": dice.choice([1, 4, 16]), "read_timeout": 0.5}
    wish["license_keys"] = dice.sample(KEYS, dice.choice([1, 2, len(KEYS), len(KEYS)]))
    if dice.random() < 0.65:
        wish["state"] = "assigned"
        if dice.random() < 0.4:
            wish["labels"] = {"owner": dice.choice("xy")}
        if dice.random() < 0.3:
            wish["from_inventory"] = True
        if dice.random() < 0.15:
            wish["edition"] = "*standard*"
    else:
        wish.update(state="absent", allow_unlicensed=dice.random() < 0.7)
    if dice.random() < 0.3:
        wish["waves"] = dice.choice([["1"], ["1", "100%"], ["1", "1"]])
    if dice.random() < 0.2:
        wish["max_failures"] = dice.choice([0, 1])
    return wish


def inventory(sim: Simulator) -> dict[str, dict[str, str]]:
    return {item["key"]: item["labels"] for item in sim.state()["licenses"]}


def ours(sim: Simulator, check: bool = False, **wish: Any) -> dict[str, Any]:
    return run(sim, "esxi_license_validate", check=check, **wish)


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if len(SEEDS) == 1 or seed % 10 in (0, 3, 5, 8)])
def test_faults_hide_nothing_and_leave_no_host_without_a_licence(simulator: Callable[..., Simulator], seed: int) -> None:
    dice = random.Random(f"license {seed}")
    sim = simulator(a_fleet(dice), seed=seed)
    wish = a_wish(dice)
    check = dice.random() < 0.15
    for _number in range(dice.randint(1, 3)):
        sim.fault(**a_fault(dice, WRITES[wish["state"]], READS))
    if dice.random() < 0.1:
        wish["deadline"] = 1
        sim.fault(method="UpdateAssignedLicense", delay=1.05, count=50)
    ledger = Ledger(sim)
    before, listed = held(sim), inventory(sim)
    try:
        result = ours(sim, check, **wish)
    except FleetcareError as problem:
        assert problem.hint, problem.sentence
        assert not [entry for entry in sim.journal if entry.write], f"{problem.sentence} hides writes"
        result = None
    after, lists = held(sim), inventory(sim)
    if check:
        assert not [entry for entry in sim.journal if entry.write]
    if not wish.get("allow_unlicensed"):
        assert ledger.bereft == []
    assert ledger.overfull == []
    assert ledger.taken_from_holders == []
    for method, hosts, _used in ledger.moments:
        if wish["state"] == "assigned":
            assert method not in ("RemoveAssignedLicense", "RemoveLicense"), hosts
    if result is not None:
        told_all(result, before, after, wish)
        if lists != listed:
            assert result["endpoint"]["changed"], f"the inventory was changed unreported: {result['endpoint']}"
        gone = {change["key"] for change in result["endpoint"]["changes"] if change["change"] == "remove_key"}
        assert check or gone == {key for key in listed if key not in lists}, result["endpoint"]
        if not result["changed"]:
            assert before == after and listed == lists
    asked_for_last(sim, wish)
    assert sim.summary()["sessions"] == []
    sent = [
        (entry.method, entry.host, str(entry.args)) for entry in sim.journal if entry.write and entry.status in ("ok", "dropped", "hanging")
    ]
    assert len(sent) == len(set(sent)), "a write was repeated blindly"
    assert not [key for key in KEYS if key in str(result)]

    sim.clear_faults()
    sim.act(host="*", do="reconnect")
    for option in ("deadline", "waves", "max_failures"):
        wish.pop(option, None)
    wish["read_timeout"] = 30
    ours(sim, **wish)
    sim.clear_journal()
    last = ours(sim, **wish)
    spoilt = ("still_in_evaluation", "key_not_in_force", "key_kept")  # a server that says yes and does nothing is asked again
    if not any(code in str(last) for code in spoilt):
        assert not last["changed"] and not [entry for entry in sim.journal if entry.write], last["msg"]
    assert ledger.overfull == []
    if not wish.get("allow_unlicensed"):
        assert ledger.bereft == []


def told_all(result: dict[str, Any], before: dict[str, Any], after: dict[str, Any], wish: dict[str, Any]) -> None:
    """What became of each host is in its entry, and nothing else is."""
    for name, part in result["hosts"].items():
        if before[name] != after[name]:
            assert part["changed"], f"{name} was changed unreported: {part}"
        if part["status"] in ("compliant", "changed"):
            assert "not_done" not in part, f"{name} is called {part['status']} half done"
            if wish["state"] == "assigned":
                assert after[name] or "license_files" in str(part), f"{name} is called {part['status']} and has no licence: {part}"
        if part["status"] == "changed" and wish["state"] == "assigned":
            assert after[name] == part["changes"][-1]["key"] == part["license"], f"{name}: {part}"
        if part["failure"]:
            assert part["failure"]["hint"], part["failure"]
            if after[name]:
                assert "nothing is assigned" not in part["failure"]["cause"], f"{name} has {after[name]}: {part}"
            if part["status"] == "failed" and before[name] != after[name] and "read back" not in part["failure"]["cause"]:
                assert part["changes"], f"{name} was changed by what is not told: {part}"
        if part["status"] == "skipped":
            assert before[name] == after[name], f"{name} was not begun and is another: {part}"


def asked_for_last(sim: Simulator, wish: dict[str, Any]) -> None:
    """Keys are added before any is assigned, and removed after the last was given back."""
    order = [entry.method for entry in sim.journal if entry.write]
    adds = [at for at, method in enumerate(order) if method == "AddLicense"]
    gifts = [at for at, method in enumerate(order) if method in ("UpdateAssignedLicense", "RemoveAssignedLicense")]
    removals = [at for at, method in enumerate(order) if method == "RemoveLicense"]
    assert not (adds and gifts) or max(adds) < min(gifts)
    assert not (removals and gifts) or max(gifts) < min(removals)
    kept = {shown(key) for key in wish["license_keys"]}
    for entry in sim.journal:
        if entry.method == "RemoveLicense" and entry.status == "ok":
            assert entry.args["licenseKey"] in kept

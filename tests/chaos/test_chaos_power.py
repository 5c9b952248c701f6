# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short histories of clusters, machines, wishes and faults about power: 60 of them, the same switches as the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import waiting
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from tests.chaos.test_chaos import SEEDS, a_fault, hasty
from tests.integration.driver import run
from tests.simulator import Simulator

__all__ = ["hasty"]

WRITES = ("EnterMaintenanceMode_Task", "RebootHost_Task", "ShutdownHost_Task", "ExitMaintenanceMode_Task")
READS = ("RetrievePropertiesEx",)
DONE = {"enter_maintenance": WRITES[0], "reboot": WRITES[1], "shut_down": WRITES[2], "leave_maintenance": WRITES[3]}


@pytest.fixture(autouse=True)
def hasty_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(waiting, "BEGINS_WITHIN", 0.5)


def a_fleet(dice: random.Random) -> dict[str, Any]:
    hosts: list[dict[str, Any]] = []
    for number in range(dice.randint(2, 5)):
        options = {
            "reboot_seconds": dice.choice([0.05, 0.1, 0.3]),
            "notice_seconds": dice.choice([0, 0, 0.1, 60]),
            "comes_back": dice.choice(["connected"] * 8 + ["never", "disconnected"]),
            "power_answer": dice.choice(["task", "task", "back"]),
            "power_works": dice.random() > 0.05,
        }
        state = dice.choice(["connected"] * 6 + ["maintenance", "disconnected"])
        name = f"esx-{dice.choice('01')}{number}.example.com"
        hosts.append({"name": name, "cluster": dice.choice(["prod", "prod", "lab", None]), "state": state, "options": options})
    machines = [
        {
            "name": f"app-{number}",
            "host": dice.choice(hosts)["name"],
            "power": dice.choice(["on", "on", "off"]),
            "pinned": dice.random() < 0.1,
        }
        for number in range(dice.randint(0, 3))
    ]
    made: dict[str, Any] = {
        "hosts": hosts,
        "virtual_machines": machines,
        "clusters": {"lab": {"drs": dice.choice(["manual", "fullyAutomated"])}},
    }
    made["clusters"]["prod"] = {"drs": "fullyAutomated"}
    if dice.random() < 0.2:
        made["vcenter"] = {"runs_on": dice.choice(hosts)["name"]}
    return made


def a_wish(dice: random.Random) -> dict[str, Any]:
    wish: dict[str, Any] = {"esxi_hostname": ["*"], "parallel": dice.choice([1, 4, 16]), "read_timeout": 0.5}
    wish.update(state=dice.choice(["rebooted", "rebooted", "shutdown", "maintenance", "normal"]), maintenance_timeout=1, power_timeout=1)
    if wish["state"] in ("rebooted", "shutdown") and dice.random() < 0.3:
        wish["force"] = True
    if dice.random() < 0.3:
        wish["waves"] = dice.choice([["1"], ["1", "100%"], ["1", "1"]])
    if dice.random() < 0.2:
        wish["max_failures"] = dice.choice([0, 1])
    return wish


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if len(SEEDS) == 1 or seed % 10 in (1, 4, 7)][:60])
def test_no_machine_is_lost_and_no_word_is_untrue(simulator: Callable[..., Simulator], seed: int) -> None:
    dice = random.Random(f"power {seed}")
    sim = simulator(a_fleet(dice), seed=seed)
    wish = a_wish(dice)
    check = dice.random() < 0.1
    for _number in range(dice.randint(0, 2)):
        sim.fault(**a_fault(dice, WRITES, READS))
    before = sim.state()
    ran = {name for name, machine in before["crypto"]["vms"].items() if machine["powered_on"]}
    try:
        result = run(sim, "esxi_power", check=check, **wish)
    except FleetcareError as problem:
        assert problem.hint, problem.sentence
        assert not [entry for entry in sim.journal if entry.write], f"{problem.sentence} hides writes"
        return
    after = sim.state()
    sent = [(entry.method, entry.host) for entry in sim.journal if entry.write and entry.status in ("ok", "dropped", "hanging")]
    assert len(sent) == len(set(sent)), "a write was repeated blindly"
    if check:
        assert not sent and before["hosts"] == after["hosts"]
        return
    if not wish.get("force"):
        assert {name for name, machine in after["crypto"]["vms"].items() if machine["powered_on"]} == ran, "a machine lost its power"
    if "vcenter" in before["crypto"]["vms"]:
        assert after["crypto"]["vms"]["vcenter"]["powered_on"], "vCenter was taken down and nobody asked for it"
    for name, part in result["hosts"].items():
        judge(part, before["hosts"][name], after["hosts"][name], wish, name)
    assert sim.summary()["sessions"] == []


def judge(part: dict[str, Any], was: dict[str, Any], now: dict[str, Any], wish: dict[str, Any], name: str) -> None:
    """What is said of a host is so, and what became of it is said."""
    done = [change["change"] for change in part["changes"]]
    where = f"{name}: {part}"
    if part["status"] in ("compliant", "changed"):
        assert "not_done" not in part, where
        if wish["state"] in ("maintenance", "normal"):
            assert now["maintenance"] is (wish["state"] == "maintenance"), where
        if wish["state"] == "rebooted" and part["status"] == "changed":
            assert now["boots"] == was["boots"] + 1 and now["maintenance"] == was["maintenance"], where
            assert now["connection"] == "connected" and now["powered_on"], where
        if wish["state"] == "shutdown" and part["status"] == "changed":
            assert not now["powered_on"], where
    if part["failure"]:
        assert part["failure"]["hint"], where
    if part["status"] == "skipped" and not done:
        assert (was["boots"], was["powered_on"]) == (now["boots"], now["powered_on"]), where
    if "reboot" in done:
        assert now["boots"] > was["boots"], where
    if "shut_down" in done:
        assert not now["powered_on"], where
    went = now["boots"] != was["boots"] or now["powered_on"] != was["powered_on"]
    if went and not {"reboot", "shut_down"} & set(done):
        assert part["changed"] and part["failure"], f"{name} went down and that is not told: {part}"
    if was["maintenance"] != now["maintenance"] and part["status"] != "failed":
        assert part["changed"], where

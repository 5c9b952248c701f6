# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random firewalls, wishes and faults: half of as many schedules as the time of hosts gets, the same switches."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from tests.chaos.test_chaos import PROFILES, SEEDS, a_fault, hasty
from tests.integration.driver import run
from tests.integration.test_esxi_firewall_ports import opened
from tests.simulator import Simulator

__all__ = ["hasty"]

WRITES = ("EnableRuleset", "DisableRuleset", "UpdateRuleset", "UpdateDefaultPolicy")
READS = ("RetrievePropertiesEx", "RetrieveServiceContent")
NAMES = (
    "syslog",
    "httpClient",
    "sshClient",
    "ftpClient",
    "webAccess",
    "updateManager",
    "faultTolerance",
    "WOL",
    "dns",
    "sshServer",
    "vSphereClient",
)
LISTS: tuple[dict[str, Any], ...] = (
    {"all_ip": True},
    {"ip_address": ["192.0.2.2", "127.0.0.1"]},
    {"ip_network": ["192.0.2.0/24", "127.0.0.0/8"]},
    {"ip_address": ["203.0.113.5"]},
)
WAYS = (("lets_in_from", "tcp", 443, "192.0.2.2"), ("lets_out_to", "udp", 902, "192.0.2.2"), ("lets_in_from", "tcp", 443, "127.0.0.1"))


def a_fleet(dice: random.Random) -> dict[str, Any]:
    def some() -> dict[str, Any]:
        usable = [name for name in NAMES if name != "vSphereClient" and dice.random() < 0.5]
        return {name: {"enabled": dice.random() < 0.6, "allowed_hosts": dice.choice(LISTS)} for name in usable}

    hosts = [
        {
            "count": dice.randint(1, 3),
            "name": f"esx-{number}{{n}}.example.com",
            "profile": dice.choice(PROFILES),
            "rulesets": some(),
            "default_policy": {"incoming_blocked": dice.random() < 0.8, "outgoing_blocked": dice.random() < 0.8},
        }
        for number in range(dice.randint(1, 3))
    ]
    return {"name": "chaos", "kind": "vcenter", "hosts": hosts}


def a_wish(dice: random.Random) -> dict[str, Any]:
    chosen = dice.sample(NAMES, dice.randint(1, 5))
    rules: list[dict[str, Any]] = []
    for name in chosen:
        rule: dict[str, Any] = {"name": name}
        if dice.random() < 0.7:
            rule["enabled"] = dice.random() < 0.6
        if dice.random() < 0.6:
            rule["allowed_hosts"] = dice.choice(LISTS)
        rules.append(rule)
    wish: dict[str, Any] = {"esxi_hostname": ["*"], "parallel": dice.choice([1, 4, 16]), "read_timeout": 0.5, "rules": rules}
    if dice.random() < 0.3:
        wish["exclusive"] = True
    if dice.random() < 0.3:
        wish["default_policy"] = {"incoming_blocked": dice.random() < 0.7, "outgoing_blocked": dice.random() < 0.7}
    if dice.random() < 0.3:
        wish["waves"] = ["1", "100%"]
    if dice.random() < 0.2:
        wish["verify_reachable"] = 0.05
    return wish


def firewalls(sim: Simulator) -> dict[str, Any]:
    return {name: {key: host[key] for key in ("rulesets", "default_policy")} for name, host in sim.state()["hosts"].items()}


def ways(sim: Simulator) -> dict[tuple[str, int], bool]:
    with sim.world.lock:
        hosts = [item.state for item in sim.world.hosts]
        return {(h.name, n): getattr(h, ask)(*rest) for h in hosts for n, (ask, *rest) in enumerate(WAYS)}


def predicted(model: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """A host's firewall with what a diff shows of it afterwards."""
    rulesets = dict(model["rulesets"])
    for name, entry in shown.items():
        if name != "default_policy":
            allowed = entry["allowed_hosts"]
            listed = [] if allowed == "all" else allowed
            rulesets[name] = {"enabled": entry["enabled"], "all_ip": allowed == "all", "ip_address": listed, "ip_network": []}
    return {"rulesets": rulesets, "default_policy": shown.get("default_policy", model["default_policy"])}


@pytest.mark.parametrize("seed", list(SEEDS)[:: 1 if len(SEEDS) == 1 else 2])
def test_faults_hide_nothing_and_open_nothing(simulator: Callable[..., Simulator], seed: int) -> None:
    dice = random.Random(f"firewall {seed}")
    sim = simulator(a_fleet(dice), seed=seed)
    wish = a_wish(dice)
    check = dice.random() < 0.15
    plan = run(sim, "esxi_firewall_ports", check=True, **{**wish, "read_timeout": 30})
    sim.clear_journal()
    for _number in range(dice.randint(1, 4)):
        sim.fault(**a_fault(dice, WRITES, READS))
    before, could = firewalls(sim), ways(sim)
    try:
        result = run(sim, "esxi_firewall_ports", check=check, **wish)
    except FleetcareError as problem:
        assert problem.hint, problem.sentence
        assert not [entry for entry in sim.journal if entry.write], f"{problem.sentence} hides writes"
        result = None
    after, can = firewalls(sim), ways(sim)
    if check:
        assert not [entry for entry in sim.journal if entry.write]
    assert [key for key, had in could.items() if had and not can[key]] == [], "a half-done plan cut somebody off"
    for item in sim.world.hosts:
        name, release = item.state.name, item.state.profile
        edges = {
            (rule.direction, rule.protocol, rule.port) for row in release.rulesets.values() for rule in row.rules if rule.port_type == "dst"
        }
        probes = [(*edge, address) for edge in edges for address in ("192.0.2.2", "192.0.2.77", "203.0.113.5", "127.0.0.1")]
        ends = opened(before[name], release, probes) | opened(
            predicted(before[name], plan.get("diff", {}).get("after", {}).get(name, {})), release, probes
        )
        assert opened(after[name], release, probes) <= ends, f"{name} is wider than it was and than it was to be"
    for name, host in result["hosts"].items() if result else ():
        if before[name] != after[name]:
            assert host["changed"], f"{name} was changed unreported: {host}"
        if host["status"] in ("compliant", "changed"):
            assert "not_done" not in host, f"{name} is called {host['status']} half done"
        if host["failure"]:
            assert host["failure"]["hint"], host["failure"]
        if host["status"] == "skipped":
            assert not [entry for entry in sim.journal if entry.host == name and entry.write and entry.status == "ok"]
    assert sim.summary()["sessions"] == []
    sent = [(e.method, e.host, str(e.args)) for e in sim.journal if e.write and e.status in ("ok", "dropped", "hanging")]
    if "verify_reachable" not in wish:
        assert len(sent) == len(set(sent)), "a write was repeated blindly"

    sim.clear_faults()
    sim.act(host="*", do="reconnect")
    wish.update(read_timeout=30)
    wish.pop("waves", None)  # a canary that is refused something holds up the others, run after run
    run(sim, "esxi_firewall_ports", **wish)
    last = run(sim, "esxi_firewall_ports", **wish)
    assert not last["changed"], last["hosts"]
    assert [key for key, had in could.items() if had and not ways(sim)[key]] == []

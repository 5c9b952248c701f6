# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run may cost. Calls and bytes do not vary; CPU and memory are those of a real task above a bare ping."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bench.measure import Cost, Server, ansible_environment, cost_of, playbook_command, served
from tests.integration.driver import run
from tests.simulator import Simulator

OURS = "fleetcare.esxi.esxi_ntp_align"
CLOCK = ("QueryDateTime", "CurrentTime")
# Beyond those of a run that finds all done: the key is decoded, the keys are looked at once it is added (three calls), hosts
# and keys once they are assigned (three).
LICENCE_LOOKS = 7
KEPT: dict[str, Any] = {"esxi_hostname": ["*"], "ntp_servers": ["ntp1.example.com", "ntp2.example.com"]}
NEW: dict[str, Any] = {"esxi_hostname": ["*"], "ntp_servers": ["192.0.2.77"]}


def calls(sim: Simulator) -> int:
    return sum(count for method, count in sim.summary()["by_method"].items() if method not in CLOCK)


@pytest.mark.parametrize("hosts", [10, 1000])
def test_calls_and_bytes(simulator: Callable[..., Simulator], hosts: int) -> None:
    sim = simulator("fleet", hosts=hosts)
    run(sim, "esxi_ntp_align", check=True, **KEPT, max_skew=1.0, fail_on="none")
    summary = sim.summary()
    assert (summary["logins"], summary["logouts"], summary["writes"]) == (1, 1, 0)
    assert calls(sim) <= 10, summary["by_method"]
    assert summary["by_method"]["QueryDateTime"] <= 3 * hosts
    sim.clear_journal()

    run(sim, "esxi_ntp_align", check=True, **KEPT)
    summary = sim.summary()
    assert summary["calls"] <= 10, summary["by_method"]
    if hosts >= 1000:
        assert (summary["bytes_in"] + summary["bytes_out"]) / hosts <= 1500, summary
    sim.clear_journal()

    result = run(sim, "esxi_ntp_align", **NEW)
    summary = sim.summary()
    settings = sum(len(host["changes"]) for host in result["hosts"].values())
    assert settings >= hosts
    assert summary["writes"] == settings
    assert calls(sim) <= 10 + 10 + settings, summary["by_method"]
    assert summary["logins"] == 1
    sim.clear_journal()

    again = run(sim, "esxi_ntp_align", **NEW)
    assert not again["changed"]
    assert sim.summary()["writes"] == 0


RULE: dict[str, Any] = {"name": "syslog", "enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"]}}


@pytest.mark.parametrize(
    ("hosts", "keyed"),
    [
        *((hosts, keyed) for hosts in (10, 300) for keyed in ("true", "false", "missing")),
        pytest.param(1000, "true", marks=pytest.mark.newest_only),
    ],
)
def test_calls_and_bytes_of_a_firewall_rule(simulator: Callable[..., Simulator], hosts: int, keyed: str) -> None:
    """One rule with an address list, whether the server takes keyed paths, refuses them or leaves them out."""
    every = {"count": 1, "name": "esx-{n:04d}.example.com", "options": {"keyed_paths": keyed}}
    kept = {"syslog": {"enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"]}}}
    scenario = {"hosts": [{**every, "profile": "8.0.3", "rulesets": kept}, {**every, "profile": "7.0.3", "rulesets": kept}]}
    sim = simulator(scenario, hosts=hosts)
    result = run(sim, "esxi_firewall_ports", esxi_hostname=["*"], rules=[RULE])
    summary = sim.summary()
    assert result["summary"] == {"compliant": hosts}
    assert (summary["logins"], summary["logouts"], summary["writes"]) == (1, 1, 0)
    # Where the keyed path is not taken, the whole array is read: in pages of 250 hosts, so that memory stays that of a page.
    assert summary["calls"] <= (10 if keyed == "true" else 16), summary["by_method"]
    if hosts >= 300:
        assert (summary["bytes_in"] + summary["bytes_out"]) / hosts <= (1500 if keyed == "true" else 5000), summary


@pytest.mark.parametrize("hosts", [300, pytest.param(1000, marks=pytest.mark.newest_only)])
def test_calls_of_a_firewall_change(simulator: Callable[..., Simulator], hosts: int) -> None:
    """The hosts that change are looked at once more before, whom they have to hear, and once after."""
    sim = simulator("fleet", hosts=hosts)
    sim.act(host="esx-00*", do="set_ruleset", key="syslog", enabled=True, all_ip=False, ip_address=["192.0.2.10"])
    result = run(sim, "esxi_firewall_ports", esxi_hostname=["*"], rules=[RULE])
    changed = [host for host in result["hosts"].values() if host["changed"]]
    summary = sim.summary()
    assert 0 < len(changed) < hosts and summary["writes"] == sum(len(host["changes"]) for host in changed)
    assert summary["calls"] - summary["writes"] <= 10 + 8 * (len(changed) // 250 + 1), summary["by_method"]
    assert summary["logins"] == 1


EIGHT, SEVEN, NEW_KEY = "FAKE0-HYPER-GEN08-XXXXX-EVERY", "FAKE0-HYPER-GEN07-XXXXX-EVERY", "FAKE0-THAT5-V8000-CPUPK-00001"


def licensed(**every: Any) -> dict[str, Any]:
    """As many hosts as are asked for, all of them held by one key of the inventory; another waits outside of it."""
    known = {"name": "Enterprise Plus", "total": 100_000, "cost_unit": "cpuPackage"}
    hosts = [{"count": 1, "name": "esx-{n:04d}.example.com", "profile": "8.0.3", "license": EIGHT, **every}]
    return {"hosts": hosts, "licenses": [{"key": EIGHT, **known}, {"key": NEW_KEY, **known, "inventory": False}]}


@pytest.mark.parametrize("hosts", [10, 1000])
def test_calls_and_bytes_of_licences(simulator: Callable[..., Simulator], hosts: int) -> None:
    sim = simulator(licensed(), hosts=hosts)
    told = run(sim, "esxi_license_info", esxi_hostname=["*"], csv=True)
    summary = sim.summary()
    assert told["summary"] == {"compliant": hosts} and told["licenses"][-1]["used"] >= hosts
    assert (summary["logins"], summary["logouts"], summary["writes"]) == (1, 1, 0)
    assert summary["calls"] <= 12, summary["by_method"]
    if hosts >= 1000:
        assert (summary["bytes_in"] + summary["bytes_out"]) / hosts <= 450, summary
    sim.clear_journal()

    judged = run(sim, "esxi_license_validate", esxi_hostname=["*"], license_keys=[EIGHT, NEW_KEY])
    assert judged["summary"] == {"compliant": hosts}
    assert sim.summary()["calls"] <= 12, sim.summary()["by_method"]
    sim.clear_journal()

    # Read, add, read the keys again; a write each; read all again.
    wish: dict[str, Any] = {"esxi_hostname": ["*"], "license_key": NEW_KEY, "state": "assigned"}
    sim.act("set_license", key="evaluation")
    done = run(sim, "esxi_license_validate", **wish)
    summary = sim.summary()
    assert done["summary"] == {"changed": hosts} and summary["logins"] == 1
    assert summary["writes"] == hosts + 1
    if hosts >= 1000:
        assert (summary["bytes_in"] + summary["bytes_out"]) / hosts <= 2500, summary
    sim.clear_journal()

    assert not run(sim, "esxi_license_validate", **wish)["changed"]
    again = sim.summary()
    assert again["writes"] == 0 and again["calls"] <= 12, again["by_method"]
    assert summary["calls"] - summary["writes"] <= again["calls"] + LICENCE_LOOKS, summary["by_method"]


@pytest.fixture(scope="module")
def thousand() -> Iterator[Server]:
    with served("fleet", hosts=1000) as server:
        yield server


def cost(folder: pathlib.Path, server: Server, module: str, options: dict[str, Any], *flags: str, memory: bool = False) -> Cost:
    cost = cost_of(playbook_command(folder, module, options, *flags), ansible_environment(folder, server), folder, memory=memory)
    assert cost.code == 0, cost.output[:2000]
    return cost


def test_memory_at_a_thousand_hosts(thousand: Server, tmp_path: pathlib.Path) -> None:
    thousand.control("/reset", {})
    change = cost(tmp_path, thousand, OURS, {**NEW, "session": "single"}, memory=True)
    assert 0 < change.memory <= 128, change.memory


FIREWALL = "fleetcare.esxi.esxi_firewall_ports"
JOBS: dict[str, tuple[dict[str, Any], int]] = {
    "one rule changes everywhere": ({"rules": [RULE]}, 150),
    "every ruleset is read": ({"ports": [{"port": "22", "protocol": "tcp", "direction": "inbound"}]}, 185),
}


@pytest.mark.newest_only
@pytest.mark.parametrize(("options", "most"), JOBS.values(), ids=JOBS)
def test_memory_of_a_firewall_at_a_thousand_hosts(thousand: Server, tmp_path: pathlib.Path, options: dict[str, Any], most: int) -> None:
    """That of a page and of the result, however much there is to read: 57,000 rulesets are 300 MB as they come."""
    thousand.control("/reset", {})
    spent = cost(tmp_path, thousand, FIREWALL, {"esxi_hostname": ["*"], "session": "single", **options}, memory=True)
    assert 0 < spent.memory <= most, spent.memory


@pytest.mark.newest_only
def test_memory_of_licences_at_a_thousand_hosts(thousand: Server, tmp_path: pathlib.Path) -> None:
    thousand.control("/reset", {})
    known = {"esxi_hostname": ["*"], "session": "single"}
    spent = cost(tmp_path, thousand, "fleetcare.esxi.esxi_license_info", {**known, "csv": True}, memory=True)
    assert 0 < spent.memory <= 128, spent.memory
    thousand.control("/act", {"host": "*", "do": "set_license", "key": "evaluation"})
    wish = {**known, "license_keys": [EIGHT, SEVEN], "state": "assigned"}
    spent = cost(tmp_path, thousand, "fleetcare.esxi.esxi_license_validate", wish, memory=True)
    assert 0 < spent.memory <= 165, spent.memory

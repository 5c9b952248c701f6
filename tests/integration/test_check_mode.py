# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check run sends nothing but reads, and plans what a real run does: every module, every scenario."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.driver import MODULES, run
from tests.simulator import Simulator

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.stem for path in (ROOT / "tests/simulator/scenarios").glob("*.yml"))
ALL_MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
# What each module is asked for; a module without an entry fails the first test below.
WISHES: dict[str, list[dict[str, Any]]] = {
    "esxi_firewall_info": [{}, {"catalogue": True, "opens": [{"port": "902", "protocol": "tcp"}, {"port": "80-9100", "protocol": "tcp"}]}],
    "esxi_firewall_ports": [
        {"rules": [{"name": "syslog", "enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"]}}]},
        {"rules": [{"name": "sshServer", "allowed_hosts": {"ip_network": ["127.0.0.0/8", "198.51.100.0/24"]}}], "exclusive": True},
        {
            "ports": [
                {"port": "514", "protocol": "udp", "direction": "outbound", "allowed_hosts": {"ip_network": ["192.0.2.5/24"]}},
                {"port": "80", "protocol": "tcp", "direction": "inbound", "state": "closed"},
                {"port": "902", "protocol": "tcp", "direction": "inbound"},
                {"port": "8889", "protocol": "tcp", "direction": "inbound"},
            ],
            "services": [{"name": "vmotion"}, {"name": "snmp", "state": "closed"}, {"name": "wake_on_lan", "state": "closed"}],
        },
        {"default_policy": {"incoming_blocked": True, "outgoing_blocked": True}, "rules": [{"name": "gdbserver", "enabled": False}]},
        {"default_policy": {"outgoing_blocked": False}, "rules": [{"name": "dns", "enabled": False}], "allow_lockout": True},
        {"services": [{"name": "web", "state": "closed"}], "waves": ["1", "20%", "100%"], "max_failures": 1},
        {"rules": [{"name": "vSphereClient", "allowed_hosts": {"ip_address": ["203.0.113.99"]}}]},
    ],
    "esxi_license_info": [{}, {"csv": True, "warn_days": 3650}],
    "esxi_license_validate": [
        {},
        {"license_keys": ["fake0 r1ght v8000 cpupk 00001", "FAKE0-HYPER-GEN07-XXXXX-EVERY", "FAKE0-HYPER-GEN08-XXXXX-EVERY"]},
        {"license_key": "FAKE0-UNL1T-V8000-CPUPK-00022", "state": "assigned", "labels": {"owner": "platform"}},
        {"from_inventory": True, "state": "assigned", "waves": ["1", "20%", "100%"], "max_failures": 3},
        {
            "license_keys": ["FAKE0-TW0PK-V8000-CPUPK-00023", "FAKE0-HYPER-GEN06-XXXXX-EVERY", "FAKE0-GEN70-V7000-CPUPK-00002"],
            "state": "assigned",
            "edition": "*plus*",
            "from_inventory": True,
        },
        {"license_key": "FAKE0-R1GHT-V8000-CPUPK-00001", "state": "absent"},
        {"license_keys": ["FAKE0-R1GHT-V8000-CPUPK-00001", "FAKE0-HYPER-GEN08-XXXXX-EVERY"], "state": "absent", "allow_unlicensed": True},
    ],
    "esxi_ntp_align": [
        {"ntp_servers": ["192.0.2.1", "192.0.2.2"], "service_state": "started", "service_policy": "on"},
        {"ntp_servers": ["192.0.2.9"], "ntp_servers_state": "present"},
        {"ntp_servers": ["192.0.2.1"], "ntp_servers_state": "absent"},
        {"service_state": "stopped", "service_policy": "off"},
        {"protocol": "ptp", "ptp": {"domain": 3}, "ntp_fallback": True},
        {"max_skew": 1.0, "step": "guarded", "step_threshold": 20.0, "service_state": "started", "test_servers": True},
    ],
    "esxi_ntp_info": [{}, {"max_skew": 0.5, "reference": "fleet", "test_servers": True}],
}
CASES = [(module, wish) for module in ALL_MODULES for wish in WISHES.get(module, [])]


def writes(sim: Simulator) -> list[str]:
    return [f"{entry.method} on {entry.host}" for entry in sim.journal if entry.write]


def test_every_module_has_wishes() -> None:
    assert sorted(WISHES) == ALL_MODULES


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("module", "wish"), CASES, ids=[f"{m}-{i}" for i, (m, _w) in enumerate(CASES)])
def test_check_only_reads_and_plans_the_truth(
    simulator: Callable[..., Simulator], scenario: str, module: str, wish: dict[str, Any]
) -> None:
    sim = simulator(scenario, hosts=12 if scenario == "fleet" else None)
    checked = run(sim, module, check=True, esxi_hostname=["*"], **wish)
    assert writes(sim) == []
    assert sim.summary()["sessions"] == []
    sim.reset()
    done = run(sim, module, esxi_hostname=["*"], **wish)
    if not importlib.import_module(f"{MODULES}.{module}").FEATURE.writes:
        assert writes(sim) == []
    for name, host in checked["hosts"].items():
        real = done["hosts"][name]
        planned = real.get("changes", []) + real.get("not_done", [])
        assert host.get("changes", []) + host.get("not_done", []) == planned, name
    if all(host["failure"] is None for host in done["hosts"].values()):
        assert checked.get("diff") == done.get("diff")


def test_a_write_in_a_check_run_would_be_seen(simulator: Callable[..., Simulator]) -> None:
    """The judge of the tests above: a real run does leave writes in the journal."""
    sim = simulator("fleet", hosts=3)
    run(sim, "esxi_ntp_align", esxi_hostname=["*"], ntp_servers=["192.0.2.77"])
    assert len(writes(sim)) >= 3

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
SCENARIO_FILES = sorted((ROOT / "tests/simulator/scenarios").glob("*.yml"))
SCENARIOS = [path.stem for path in SCENARIO_FILES]
ALL_MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
# They ask no vSphere: a key server, a mail server, none at all; test_kms_key_info.py, test_esxi_kickstart.py, test_audit_report.py and
# test_audit_mail.py look at their check runs. esxi_audit has no other runs: test_esxi_audit.py plays it in every scenario.
# esxi_share runs the modules here: test_inventory_plays.py.
OTHER_SERVERS = ["esxi_audit", "esxi_audit_mail", "esxi_audit_report", "esxi_kickstart", "esxi_share", "kms_key_info"]
# What each module is asked for; a module without an entry fails the first test below.
WISHES: dict[str, list[dict[str, Any]]] = {
    "esxi_acceptance_info": [{}, {"packages": True}],
    "esxi_acceptance_level": [
        {"acceptance_level": "PartnerSupported", "at_least": True, "waves": ["1", "100%"], "max_failures": 9},
        {"acceptance_level": "vmware accepted"},
        {"acceptance_level": "community", "allow_unknown_secure_boot": True},
    ],
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
    "esxi_firewall_vib": [
        {"rulesets": [{"name": "agent", "enabled": True, "rules": [{"direction": "inbound", "protocol": "tcp", "port": "8080"}]}]},
        {
            "rulesets": [{"name": "agent", "rules": [{"direction": "outbound", "protocol": "udp", "port": "9000-9010"}]}],
            "allow_unknown_secure_boot": True,
            "installer": "patch_manager",
            "waves": ["1", "100%"],
            "max_failures": 9,
        },
        {"state": "absent"},
    ],
    "esxi_hardware_info": [
        {},
        {
            "target_release": "9.0",
            "compatibility_list": [{"pci": "15ad:*", "verdict": "supported", "source": "the captured host runs on them"}],
            "nvme": True,
            "boot_device": True,
            "csv": True,
        },
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
    # Maintenance mode where machines run is a wait of a second and more: test_esxi_power_situations.py has it.
    "esxi_power": [{"state": "rebooted"}, {"state": "normal"}],
    "vm_crypto_info": [{}, {"csv": True, "without_provider": "kms-a"}],
    "vm_crypto_unlock": [
        {},
        {"enable_hosts": True, "csv": True, "waves": ["1", "50%", "100%"], "max_failures": 9},
        {"reregister": True, "backup": True},
        {"key_provider": {"name": "kms-c", "servers": [{"address": "127.0.0.1", "port": 1}], "request": True}},
    ],
}
OF_MACHINES = ("vm_crypto_info", "vm_crypto_unlock")
CASES = [(module, wish) for module in ALL_MODULES for wish in WISHES.get(module, [])]
CASES_OF_HOSTS = [case for case in CASES if case[0] not in OF_MACHINES]
CASES_OF_MACHINES = [case for case in CASES if case[0] in OF_MACHINES]
WITH_MACHINES = [path.stem for path in SCENARIO_FILES if {"vms:", "virtual_machines:"} & set(path.read_text(encoding="utf-8").split())]


def writes(sim: Simulator) -> list[str]:
    return [f"{entry.method} on {entry.host}" for entry in sim.journal if entry.write]


def test_every_module_has_wishes() -> None:
    assert sorted([*WISHES, *OTHER_SERVERS]) == ALL_MODULES


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("module", "wish"), CASES_OF_HOSTS, ids=[f"{m}-{i}" for i, (m, _w) in enumerate(CASES_OF_HOSTS)])
def test_check_only_reads_and_plans_the_truth(
    simulator: Callable[..., Simulator], scenario: str, module: str, wish: dict[str, Any]
) -> None:
    sim = simulator(scenario, hosts=12 if scenario == "fleet" else None)
    plans_the_truth(sim, module, "hosts", {"esxi_hostname": ["*"], **wish}, lambda: None)


@pytest.mark.parametrize("scenario", WITH_MACHINES)
@pytest.mark.parametrize(("module", "wish"), CASES_OF_MACHINES, ids=[f"{m}-{i}" for i, (m, _w) in enumerate(CASES_OF_MACHINES)])
def test_check_only_reads_and_plans_the_truth_of_machines(
    simulator: Callable[..., Simulator], tmp_path: pathlib.Path, scenario: str, module: str, wish: dict[str, Any]
) -> None:
    """Some are locked and can be opened, one cannot be, and one is not read although it is open."""
    sim = simulator(scenario)

    def lock() -> None:
        if scenario == "encrypted":
            sim.act("destroy_key", key="app-01", server="kms-a.example.com")
            sim.act("stop_key_server", server="kms-a.example.com")
            sim.act("reboot_host", host="esx-0[12]*")
            sim.act("start_key_server", server="kms-a.example.com")
            sim.act("forget_keys", host="esx-01*", vm="db-01")
            sim.act("vm_state", vm="tpm-01", state="invalid")
            sim.clear_journal()

    given = {"backup_dir": str(tmp_path / "backup")} if "backup" in wish else {}
    if "kms-a" not in sim.world.crypto.providers and "without_provider" in wish:
        wish = {name: value for name, value in wish.items() if name != "without_provider"}  # a name that nobody has is refused
    plans_the_truth(sim, module, "vms", {"vm_name": ["*"], **wish, **given}, lock)


def plans_the_truth(sim: Simulator, module: str, key: str, options: dict[str, Any], prepare: Callable[[], None]) -> None:
    prepare()
    checked = run(sim, module, check=True, **options)
    assert writes(sim) == []
    assert sim.summary()["sessions"] == []
    sim.reset()
    prepare()
    done = run(sim, module, **options)
    if not importlib.import_module(f"{MODULES}.{module}").FEATURE.writes:
        assert writes(sim) == []
    for name, target in [*checked[key].items(), ("endpoint", checked["endpoint"])]:
        real = done["endpoint"] if name == "endpoint" else done[key][name]
        planned = real.get("changes", []) + real.get("not_done", [])
        announced = target.get("changes", []) + target.get("not_done", [])
        first = [change for change in announced if "only_if" not in change]
        instead = [{name: value for name, value in change.items() if name != "only_if"} for change in announced if "only_if" in change]
        tried = [sorted(map(str, instead))] if "because" in real else []
        refused = [sorted(map(str, first + instead))] if real.get("failure") else []
        assert sorted(map(str, planned)) in (sorted(map(str, first)), *tried, *refused), name
    if all(target["failure"] is None for target in done[key].values()):
        assert checked.get("diff") == done.get("diff")


def test_a_write_in_a_check_run_would_be_seen(simulator: Callable[..., Simulator]) -> None:
    """The judge of the tests above: a real run does leave writes in the journal."""
    sim = simulator("fleet", hosts=3)
    run(sim, "esxi_ntp_align", esxi_hostname=["*"], ntp_servers=["192.0.2.77"])
    assert len(writes(sim)) >= 3

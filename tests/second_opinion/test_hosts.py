# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power, acceptance level, packages and hardware on servers that somebody else wrote: done where they can, said plainly where not."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from tests.integration.driver import run
from tests.second_opinion.vcsim import Vcsim


@pytest.fixture(autouse=True)
def own_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def statuses(result: dict[str, Any]) -> set[str]:
    return {host["status"] for host in result["hosts"].values()}


def is_plain(result: dict[str, Any]) -> bool:
    """Every failure says why and what next, and none calls itself a defect."""
    failures = [host["failure"] for host in result["hosts"].values() if host["failure"]]
    return bool(failures) and all(one["cause"] and one["hint"] and "defect" not in one["message"] for one in failures)


def test_maintenance_mode_is_entered_and_left(vcsim_server: Vcsim) -> None:
    name = next(iter(run(vcsim_server, "esxi_hardware_info", esxi_hostname=["*"])["hosts"]))
    for state in ("maintenance", "normal"):
        wish: dict[str, Any] = {"esxi_hostname": [name], "state": state}
        assert statuses(run(vcsim_server, "esxi_power", check=True, **wish)) == {"would_change"}
        assert statuses(run(vcsim_server, "esxi_power", **wish)) == {"changed"}
        assert statuses(run(vcsim_server, "esxi_power", **wish)) == {"compliant"}


def test_running_machines_keep_a_host_up(vcsim_server: Vcsim) -> None:
    hosts = run(vcsim_server, "esxi_power", esxi_hostname=["*"], state="rebooted")["hosts"]
    refused = [host for host in hosts.values() if any(found["code"] == "power_vms_running" for found in host["findings"])]
    assert refused and all(host["status"] == "failed" and not host["changes"] for host in refused)


def test_a_server_that_cannot_reboot_says_so(vcsim_vcenter: Vcsim) -> None:
    result = run(vcsim_vcenter, "esxi_power", esxi_hostname=["DC0_C0_H0"], state="rebooted")
    assert statuses(result) == {"failed"} and is_plain(result) and "RebootHost_Task" in result["msg"]
    again = run(vcsim_vcenter, "esxi_power", esxi_hostname=["DC0_C0_H0"], state="normal")
    assert statuses(again) <= {"compliant", "changed"}


def test_hardware_is_read_and_judged(vcsim_server: Vcsim) -> None:
    """Its hosts have 2 cores, 4 GB and the devices of a nested host."""
    result = run(vcsim_server, "esxi_hardware_info", esxi_hostname=["*"], target_release="8.0")
    for host in result["hosts"].values():
        assert host["cpu"]["vendor"] == "intel" and host["memory_mb"] > 1000 and host["verdict"] == "known_bad"
        assert "memory_too_small" in {found["code"] for found in host["findings"]}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("esxi_acceptance_info", {}),
        ("esxi_acceptance_level", {"acceptance_level": "partner"}),
        ("esxi_firewall_vib", {"rulesets": [{"name": "x", "rules": [{"direction": "inbound", "protocol": "tcp", "port": "8085", "port_type": "dst"}]}]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", [True, False])
def test_hosts_without_an_image_manager(vcsim_server: Vcsim, module: str, options: dict[str, Any], check: bool) -> None:
    try:
        result = run(vcsim_server, module, check=check, esxi_hostname=["*"], **options)
    except FleetcareError as problem:
        assert problem.cause and problem.hint
    else:
        assert statuses(result) == {"failed"} and is_plain(result) and not result["changed"]

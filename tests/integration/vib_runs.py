# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of esxi_firewall_vib against the simulator, its files on this machine included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.fleetcare.esxi.plugins.module_utils._module import kept
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.arguments import options_of
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.pipeline import execute
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import result_of
from ansible_collections.fleetcare.esxi.plugins.modules.esxi_firewall_vib import FEATURE
from tests.integration.driver import reach
from tests.simulator import Simulator

Start = Callable[..., Simulator]
HOST = "esx-001.example.com"
AGENT: dict[str, Any] = {
    "name": "agent",
    "enabled": True,
    "rules": [
        {"direction": "inbound", "protocol": "tcp", "port": "8080"},
        {"direction": "outbound", "protocol": "udp", "port": "9000-9010", "port_type": "dst"},
    ],
}
NAME = "fleetcare-firewall"
WAY = ["upload_package", "install_package", "refresh_firewall", "enable_ruleset", "remove_upload"]


def fleet(*hosts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Hosts that take a package, unless they say otherwise."""
    row = {"profile": "8.0.3", "name": "esx-{n:03d}.example.com", "acceptance": "community"}
    return {"hosts": [{**row, **host} for host in hosts or ({},)], **more}


def ours(sim: Simulator | None, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module's main does, short of Ansible; without a simulator there is no endpoint."""
    params = {name: spec.get("default") for name, spec in options_of(FEATURE).items()}
    if sim is not None:
        params.update(reach(sim), session="single", esxi_hostname=["*"])
    params.update({"rulesets": [AGENT], **options})
    assert FEATURE.files
    params["dest"] = kept.checked_folder(params["dest"])
    outcome = execute(FEATURE, params, check=check, in_process=True)
    result = result_of(outcome, with_diff=True)
    kept.keep(params["dest"], FEATURE.files(outcome.wanted, outcome.plans), result, check=check)
    return result


def names(host: dict[str, Any], part: str = "changes") -> list[str]:
    return [change["change"] for change in host.get(part, [])]


def codes(host: dict[str, Any], status: str = "open") -> list[str]:
    return [finding["code"] for finding in host["findings"] if finding["status"] == status]


def state(sim: Simulator, host: str = HOST) -> dict[str, Any]:
    """What of a host a package may touch."""
    found = sim.state()["hosts"][host]
    return {part: found[part] for part in ("rulesets", "software", "default_policy", "services")}


def ruleset(sim: Simulator, name: str = "agent", host: str = HOST) -> Any:
    return sim.state()["hosts"][host]["rulesets"].get(name)


def uploads(sim: Simulator) -> list[str]:
    """Files that people would find on datastores."""
    return sorted(name for store in sim.state()["datastores"].values() for name in store["files"])


def writes(sim: Simulator) -> list[str]:
    """What was sent, a word a write."""
    found = []
    for entry in sim.journal:
        if entry.write:
            found.append(entry.args.get("esxcli") or entry.method.partition(" ")[0])
    return found

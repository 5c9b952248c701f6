# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: the same job by ours and by others' modules, and how every host has to stand after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OURS, THEIRS, ALSO_THEIRS = "fleetcare.esxi", "community.vmware", "vmware.vmware"
RULESET = "syslog"
KEPT: dict[str, Any] = {"all_ip": False, "ip_address": ["192.0.2.10", "192.0.2.11"], "ip_network": ["198.51.100.0/24"]}
NEW: dict[str, Any] = {"all_ip": False, "ip_address": ["192.0.2.10", "203.0.113.9"], "ip_network": ["198.51.100.0/25"]}
KEY, NEW_KEY = "FAKE0-KEPT0-V8000-CPUPK-0000A", "FAKE0-NEXT0-V8000-CPUPK-0000C"


@dataclass(frozen=True)
class Job:
    """One task. ``writes``: how many there are to a host; ``holds``: whether a host stands as it should afterwards;
    ``each``: a loop over all hosts, whose ``item`` is in the options, for a module that takes one host at a time."""

    feature: str
    name: str
    who: str
    module: str
    options: Mapping[str, Any]
    check: bool
    writes: int
    holds: Callable[[Mapping[str, Any]], bool]
    each: bool = False


def _asks(*servers: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda host: bool(host["time"]["servers"] == list(servers))


def _lets_in(allowed: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """A set, because the peer writes its lists in no order."""
    expected = {name: set(value) if isinstance(value, list) else value for name, value in {"enabled": True, **allowed}.items()}
    return lambda host: (
        {name: set(value) if isinstance(value, list) else value for name, value in host["rulesets"][RULESET].items()} == expected
    )


def ntp(mine: Mapping[str, Any], peer: Mapping[str, Any]) -> list[Job]:
    ours, theirs = "fleetcare.esxi.esxi_ntp_align", "community.vmware.vmware_host_ntp"
    kept, new = ("192.0.2.1", "192.0.2.2"), ("192.0.2.77",)
    jobs = []
    for name, servers, check in (("check", kept, True), ("change", new, False)):
        wish = {"ntp_servers": list(servers)}
        for who, module, place in ((OURS, ours, mine), (THEIRS, theirs, peer)):
            jobs.append(Job("ntp", name, who, module, {**place, **wish}, check, int(not check), _asks(*servers)))
    clocks = {**mine, "ntp_servers": list(kept), "max_skew": 1, "fail_on": "none"}
    return [*jobs, Job("ntp", "check + clocks", OURS, ours, clocks, True, 0, _asks(*kept))]


def firewall(mine: Mapping[str, Any], peer: Mapping[str, Any]) -> list[Job]:
    """One rule with an address list, said in full, which is how the peer needs it. Both write it once a host."""
    ours, theirs = "fleetcare.esxi.esxi_firewall_ports", "community.vmware.vmware_host_firewall_manager"
    jobs = []
    for name, allowed, check in (("check", KEPT, True), ("change", NEW, False)):
        wish = {"rules": [{"name": RULESET, "enabled": True, "allowed_hosts": allowed}]}
        for who, module, place in ((OURS, ours, mine), (THEIRS, theirs, peer)):
            jobs.append(Job("firewall", name, who, module, {**place, **wish}, check, int(not check), _lets_in(allowed)))
    info = "fleetcare.esxi.esxi_firewall_info", "community.vmware.vmware_host_firewall_info"
    for who, module, place in ((OURS, info[0], mine), (THEIRS, info[1], peer)):
        jobs.append(Job("firewall", "info", who, module, place, False, 0, _lets_in(KEPT)))
    return jobs


def _runs_on(key: str) -> Callable[[Mapping[str, Any]], bool]:
    first, *_middle, last = key.split("-")
    return lambda host: bool(host["license"]["key"] == f"{first}-*****-*****-*****-{last}")


def license(mine: Mapping[str, Any], peer: Mapping[str, Any]) -> list[Job]:
    """Theirs takes one host at a time; nothing of theirs tells which host has which key, license_info lists bare keys."""
    ours, theirs = "fleetcare.esxi.esxi_license_validate", "community.vmware.vcenter_license"
    reach = {name: value for name, value in peer.items() if name != "cluster_name"}  # to theirs, a cluster is what vSAN keys are for
    place = {**reach, "esxi_hostname": "{{ item }}"}
    jobs = []
    for name, key, check in (("check", KEY, True), ("change", NEW_KEY, False)):
        wish = {"state": "assigned", "license_key": key}
        jobs.append(Job("license", name, OURS, ours, {**mine, **wish}, check, int(not check), _runs_on(key)))
        jobs.append(Job("license", name, THEIRS, theirs, {**place, "license": key}, check, int(not check), _runs_on(key), each=True))
    info = "fleetcare.esxi.esxi_license_info", "vmware.vmware.license_info"
    for who, module, options in ((OURS, info[0], mine), (ALSO_THEIRS, info[1], reach)):
        jobs.append(Job("license", "info", who, module, options, False, 0, _runs_on(KEY)))
    return jobs


FEATURES = {"ntp": ntp, "firewall": firewall, "license": license}

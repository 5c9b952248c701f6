# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: the same job by ours, by others' modules, by a loop of single commands and by a script that does the least possible,
and how every target has to stand after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench import vms
from tests.bench.measure import Server

OURS, THEIRS, ALSO_THEIRS = "fleetcare.esxi", "community.vmware", "vmware.vmware"
LOOP, LEAST = "loop as of govc", "bare script"
WHOSE = (OURS, THEIRS, ALSO_THEIRS, LOOP, LEAST)
RULESET = "syslog"
KEPT: dict[str, Any] = {"all_ip": False, "ip_address": ["192.0.2.10", "192.0.2.11"], "ip_network": ["198.51.100.0/24"]}
NEW: dict[str, Any] = {"all_ip": False, "ip_address": ["192.0.2.10", "203.0.113.9"], "ip_network": ["198.51.100.0/25"]}
KEY, NEW_KEY = "FAKE0-KEPT0-V8000-CPUPK-0000A", "FAKE0-NEXT0-V8000-CPUPK-0000C"
LEVEL, NEW_LEVEL = "partner", "community"
State = Mapping[str, Any]
Options = dict[str, Any]
Holds = Callable[[State], bool]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One task, or one run of a script. ``writes``: how many there are to a host; ``holds``: whether a host stands as it should afterwards;
    ``each``: a loop over all hosts, whose ``item`` is in the options, for a module that takes one host at a time."""

    feature: str
    name: str
    who: str
    module: str
    holds: Holds
    options: Mapping[str, Any] = field(default_factory=dict)
    script: tuple[str, ...] = ()
    check: bool = False
    writes: int = 0
    each: bool = False
    fleet: str = "hosts"

    @property
    def title(self) -> str:
        return f"{self.feature} {self.name}"

    def wrong(self, state: State) -> list[str]:
        if self.fleet == "machines":
            return vms.wrong(state, self.name)
        return [name for name, host in state["hosts"].items() if not self.holds(host)]

    def expected_writes(self, targets: int) -> int | None:
        """None where it depends on more than their number."""
        return None if self.fleet == "machines" else self.writes * targets


@dataclass(frozen=True)
class Place:
    """How each of them is told where to work."""

    mine: Mapping[str, Any]
    theirs: Mapping[str, Any]

    @classmethod
    def of(cls, server: Server) -> Place:
        reach = {"hostname": server.hostname, "port": server.port, "username": server.username, "password": server.password}
        return cls({"esxi_hostname": ["*"], "session": "single"}, {**reach, "validate_certs": False})

    @property
    def cluster(self) -> dict[str, Any]:
        return {**self.theirs, "cluster_name": "prod"}


def scripts(feature: str, name: str, holds: Holds, *, loop: bool = True, **more: Any) -> list[Job]:
    """The bare script and, where such a loop is written, the loop."""
    file = "tests/bench/bare.py"
    wanted = [(LEAST, "least"), *([(LOOP, "loop")] if loop else [])]
    word = more.pop("word", f"{feature}:{name}")
    return [
        Job(feature=feature, name=name, who=who, module=f"{file} {how} {word}", script=(how, word), holds=holds, **more)
        for who, how in wanted
    ]


def _asks(*servers: str) -> Holds:
    return lambda host: bool(host["time"]["servers"] == list(servers))


def _lets_in(allowed: Mapping[str, Any]) -> Holds:
    """A set, because the peer writes its lists in no order."""
    expected = {name: set(value) if isinstance(value, list) else value for name, value in {"enabled": True, **allowed}.items()}
    return lambda host: (
        {name: set(value) if isinstance(value, list) else value for name, value in host["rulesets"][RULESET].items()} == expected
    )


def _runs_on(key: str) -> Holds:
    first, *_middle, last = key.split("-")
    return lambda host: bool(host["license"]["key"] == f"{first}-*****-*****-*****-{last}")


def _admits(level: str) -> Holds:
    return lambda host: bool(host["software"]["acceptance"] == level)


def _any(host: State) -> bool:
    return True


def ntp(place: Place) -> list[Job]:
    ours, theirs = "fleetcare.esxi.esxi_ntp_align", "community.vmware.vmware_host_ntp"
    kept, new = ("192.0.2.1", "192.0.2.2"), ("192.0.2.77",)
    jobs = []
    for name, servers, check in (("check", kept, True), ("change", new, False)):
        wish: Options = {"ntp_servers": list(servers)}
        how: Options = {"check": check, "writes": int(not check), "holds": _asks(*servers)}
        for who, module, where in ((OURS, ours, place.mine), (THEIRS, theirs, place.cluster)):
            jobs.append(Job(feature="ntp", name=name, who=who, module=module, options={**where, **wish}, **how))
        jobs += scripts("ntp", name, _asks(*servers), writes=int(not check))
    clocks = {**place.mine, "ntp_servers": list(kept), "max_skew": 1, "fail_on": "none"}
    name = "check + clocks"
    jobs.append(Job(feature="ntp", name=name, who=OURS, module=ours, options=clocks, check=True, holds=_asks(*kept)))
    return [*jobs, *scripts("ntp", name, _asks(*kept), loop=False, word="clocks:check")]


def firewall(place: Place) -> list[Job]:
    """One rule with an address list, said in full, which is how the peer needs it. Both write it once a host."""
    ours, theirs = "fleetcare.esxi.esxi_firewall_ports", "community.vmware.vmware_host_firewall_manager"
    jobs = []
    for name, allowed, check in (("check", KEPT, True), ("change", NEW, False)):
        wish = {"rules": [{"name": RULESET, "enabled": True, "allowed_hosts": allowed}]}
        how: Options = {"check": check, "writes": int(not check), "holds": _lets_in(allowed)}
        for who, module, where in ((OURS, ours, place.mine), (THEIRS, theirs, place.cluster)):
            jobs.append(Job(feature="firewall", name=name, who=who, module=module, options={**where, **wish}, **how))
        jobs += scripts("firewall", name, _lets_in(allowed), writes=int(not check))
    info = "fleetcare.esxi.esxi_firewall_info", "community.vmware.vmware_host_firewall_info"
    for who, module, where in ((OURS, info[0], place.mine), (THEIRS, info[1], place.cluster)):
        jobs.append(Job(feature="firewall", name="info", who=who, module=module, options=where, holds=_lets_in(KEPT)))
    return [*jobs, *scripts("firewall", "info", _lets_in(KEPT), loop=False)]


def license(place: Place) -> list[Job]:
    """Theirs takes one host at a time; nothing of theirs tells which host has which key, license_info lists bare keys."""
    ours, theirs = "fleetcare.esxi.esxi_license_validate", "community.vmware.vcenter_license"
    each = {**place.theirs, "esxi_hostname": "{{ item }}"}
    jobs = []
    for name, key, check in (("check", KEY, True), ("change", NEW_KEY, False)):
        wish = {"state": "assigned", "license_key": key}
        how: Options = {"check": check, "writes": int(not check), "holds": _runs_on(key)}
        jobs.append(Job(feature="license", name=name, who=OURS, module=ours, options={**place.mine, **wish}, **how))
        jobs.append(Job(feature="license", name=name, who=THEIRS, module=theirs, options={**each, "license": key}, each=True, **how))
        jobs += scripts("license", name, _runs_on(key), writes=int(not check))
    info = "fleetcare.esxi.esxi_license_info", "vmware.vmware.license_info"
    for who, module, options in ((OURS, info[0], place.mine), (ALSO_THEIRS, info[1], place.theirs)):
        jobs.append(Job(feature="license", name="info", who=who, module=module, options=options, holds=_runs_on(KEY)))
    return [*jobs, *scripts("license", "info", _runs_on(KEY), loop=False)]


def acceptance(place: Place) -> list[Job]:
    """The level is no property: each of them asks every host, and once more after a change."""
    ours, theirs = "fleetcare.esxi.esxi_acceptance_level", "community.vmware.vmware_host_acceptance"
    jobs = []
    for name, level, check in (("check", LEVEL, True), ("change", NEW_LEVEL, False)):
        how: Options = {"check": check, "writes": int(not check), "holds": _admits(level)}
        jobs.append(Job(feature="acceptance", name=name, who=OURS, module=ours, options={**place.mine, "acceptance_level": level}, **how))
        jobs.append(Job(feature="acceptance", name=name, who=THEIRS, module=theirs, options={**place.cluster, "state": level}, **how))
        jobs += scripts("acceptance", name, _admits(level), loop=False, writes=int(not check))
    return jobs


def hardware(place: Place) -> list[Job]:
    """Ours judges each device for a release; theirs lists the same properties and judges nothing, the script neither."""
    read = ["hardware", "summary.hardware", "capability", "config.pciPassthruInfo"]
    theirs = {**place.theirs, "cluster": "prod", "schema": "vsphere", "properties": read}
    mine = {**place.mine, "target_release": "9.0"}
    return [
        Job(feature="hardware", name="info", who=OURS, module="fleetcare.esxi.esxi_hardware_info", options=mine, holds=_any),
        Job(feature="hardware", name="info", who=ALSO_THEIRS, module="vmware.vmware.esxi_info", options=theirs, holds=_any),
        *scripts("hardware", "info", _any, loop=False),
    ]


def crypto(place: Place) -> list[Job]:
    """Nobody else offers this, so there is no module beside it. The script tries every locked machine, as it looks at no cause."""
    some = {"vm_name": ["*"], "session": "single"}
    unlock = {**some, "fail_on": "none"}
    kept: dict[str, Any] = {"feature": "crypto", "holds": _any, "fleet": "machines"}
    return [
        Job(name="info", who=OURS, module="fleetcare.esxi.vm_crypto_info", options=some, **kept),
        Job(name="check", who=OURS, module="fleetcare.esxi.vm_crypto_unlock", options=unlock, check=True, **kept),
        *scripts("crypto", "check", _any, loop=False, fleet="machines"),
        Job(name="change", who=OURS, module="fleetcare.esxi.vm_crypto_unlock", options=unlock, writes=1, **kept),
        *scripts("crypto", "change", _any, loop=False, fleet="machines", writes=1),
    ]


PROFILE: dict[str, Any] = {
    "site": "Bench",
    "features": {
        "ntp": {"ntp_servers": ["192.0.2.1", "192.0.2.2"], "max_skew": 1},
        "license": {"license_key": KEY, "state": "assigned"},
        "firewall": {"rules": [{"name": RULESET, "enabled": True, "allowed_hosts": KEPT}]},
        "acceptance": {"acceptance_level": LEVEL},
        "hardware": {"target_release": "9.0"},
        "crypto": {},
    },
}


def audit(place: Place) -> list[Job]:
    """All features in one pass over hosts and as many machines; the script reads the same and judges nothing."""
    options = {**place.mine, "profile": PROFILE, "dest": "{{ playbook_dir }}/report.json"}
    return [
        Job(feature="audit", name="all", who=OURS, module="fleetcare.esxi.esxi_audit", options=options, holds=_any, fleet="estate"),
        *scripts("audit", "all", _any, loop=False, fleet="estate", word="audit:check"),
    ]


FEATURES: dict[str, Callable[[Place], list[Job]]] = {
    "ntp": ntp,
    "firewall": firewall,
    "license": license,
    "acceptance": acceptance,
    "hardware": hardware,
    "crypto": crypto,
    "audit": audit,
}

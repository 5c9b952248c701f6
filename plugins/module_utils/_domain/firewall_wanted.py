# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a firewall, and how options become that. Pure. Private to this collection."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .addresses import Network, addresses_given, minus, networks_given, tidy
from .errors import BadInput
from .firewall_catalogue import RULESETS, SERVICES
from .firewall_model import Allowed
from .ports import port_range
from .record import entries_of, exactly

RECORD = "fleetcare.esxi firewall record 1"
_SPELLED = {key.lower(): key for key in RULESETS}


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Whom to let in. None leaves a part as it is; ``mode`` replace, merge or remove is about the two lists."""

    all_ip: bool | None = None
    addresses: tuple[Network, ...] | None = None
    networks: tuple[Network, ...] | None = None
    mode: str = "replace"

    @property
    def listed(self) -> tuple[Network, ...]:
        return (self.addresses or ()) + (self.networks or ())

    def applied_to(self, have: Allowed) -> Allowed:
        """What a ruleset should have then. Naming peers to a ruleset that is open to all closes it to the others."""
        if self.mode == "replace":
            all_ip = have.all_ip and not self.listed if self.all_ip is None else self.all_ip
            addresses = have.addresses if self.addresses is None else self.addresses
            networks = have.ranges if self.networks is None else self.networks
            # An entry that cannot be read may stand in either list.
            odd = have.odd if self.addresses is None and self.networks is None else ()
            return Allowed(all_ip, tidy((*addresses, *networks)), odd)
        all_ip = have.all_ip if self.all_ip is None else self.all_ip
        if all_ip:
            return Allowed(True, have.networks, have.odd)
        if self.mode == "merge":
            return Allowed(False, tidy((*have.networks, *self.listed)), have.odd)
        return Allowed(False, minus(have.networks, self.listed), have.odd)

    def takes_from_all(self, have: Allowed) -> bool:
        """Taking peers out of "everybody" cannot be written as a list."""
        return self.mode == "remove" and bool(self.listed) and have.all_ip and self.all_ip is not False


@dataclass(frozen=True, kw_only=True)
class RuleWish:
    """``origin`` is how people know it: the option and what stands in it."""

    key: str
    enabled: bool | None
    hosts: Hosts | None
    origin: str


@dataclass(frozen=True, kw_only=True)
class PortWish:
    first: int
    last: int
    protocol: str
    direction: str
    open: bool
    hosts: Hosts | None
    origin: str


@dataclass(frozen=True, kw_only=True)
class ServiceWish:
    name: str
    open: bool
    hosts: Hosts | None
    origin: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One host of a record: every ruleset and the default policy as they were."""

    name: str
    moid: str
    rulesets: Mapping[str, tuple[bool, Allowed]]
    incoming_blocked: bool
    outgoing_blocked: bool


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """None and empty mean: leave it as it is. ``full``: a look at everything, for the module that only informs."""

    rules: tuple[RuleWish, ...] = ()
    ports: tuple[PortWish, ...] = ()
    services: tuple[ServiceWish, ...] = ()
    incoming_blocked: bool | None = None
    outgoing_blocked: bool | None = None
    exclusive: bool = False
    allow_lockout: bool = False
    record: tuple[Recorded, ...] | None = None
    full: bool = False
    catalogue: bool = False
    questions: tuple[PortWish, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every ruleset of a host has to be read to judge it."""
        return bool(self.ports or self.services or self.exclusive or self.full or self.record is not None or len(self.rules) > 10)


def parse(params: Mapping[str, Any]) -> Wanted:
    """Module options as a wish. Raises BadInput."""
    if "opens" in params:
        questions = tuple(_port(f"opens entry {n}", entry) for n, entry in enumerate(params["opens"] or (), 1))
        return Wanted(full=True, catalogue=bool(params.get("catalogue")), questions=questions)
    policy = params.get("default_policy") or {}
    wanted = Wanted(
        rules=_rules(params.get("rules") or ()),
        ports=tuple(_port(f"ports entry {n}", entry) for n, entry in enumerate(params.get("ports") or (), 1)),
        services=_services(params.get("services") or ()),
        incoming_blocked=policy.get("incoming_blocked"),
        outgoing_blocked=policy.get("outgoing_blocked"),
        exclusive=bool(params.get("exclusive")),
        allow_lockout=bool(params.get("allow_lockout")),
        record=None
        if params.get("restore") is None
        else entries_of(params["restore"], RECORD, "hosts", "host", "a firewall", _host_of_record),
    )
    named = bool(wanted.rules or wanted.ports or wanted.services)
    if wanted.record is not None and (named or wanted.exclusive or policy):
        raise BadInput(
            "restore is given beside other wishes", hint="A record says everything; leave out rules, ports, services and the like."
        )
    if wanted.exclusive and not named:
        raise BadInput(
            "exclusive: true with nothing listed would close everything that can be closed",
            hint="List in rules, ports or services what has to stay open.",
        )
    return wanted


def _rules(entries: Iterable[Mapping[str, Any]]) -> tuple[RuleWish, ...]:
    found: dict[str, RuleWish] = {}
    for number, entry in enumerate(entries, 1):
        name = (entry.get("name") or "").strip()
        if not name:
            raise BadInput(f"rules entry {number} has no name", hint="Name a ruleset, for example syslog; esxi_firewall_info lists them.")
        if '"' in name or "[" in name or not name.isprintable():
            raise BadInput(f"rules entry {number} has {name!r}, which is no name of a ruleset", hint="esxi_firewall_info lists the names.")
        key = _SPELLED.get(name.lower(), name)
        if key in found:
            raise BadInput(f"rules names {key!r} twice", hint="Put both wishes into one entry.")
        found[key] = RuleWish(
            key=key, enabled=entry.get("enabled"), hosts=_hosts(f"rules entry {number} ({key})", entry), origin=f"rules: {key}"
        )
    return tuple(found.values())


def _services(entries: Iterable[Mapping[str, Any]]) -> tuple[ServiceWish, ...]:
    found: dict[str, ServiceWish] = {}
    for number, entry in enumerate(entries, 1):
        name = (entry.get("name") or "").strip().lower().replace("-", "_").replace(" ", "_")
        if name not in SERVICES:
            begun = [known for known in SERVICES if name and known.startswith(name)]
            near = list(dict.fromkeys((*begun, *difflib.get_close_matches(name, SERVICES, n=3, cutoff=0.5))))[:3]
            told = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(SERVICES)}."
            raise BadInput(f"services entry {number} has {entry.get('name')!r}, which is no service of the catalogue", hint=told)
        if name in found:
            raise BadInput(f"services names {name!r} twice", hint="Put both wishes into one entry.")
        _opens_or_closes(f"services entry {number} ({name})", entry)
        found[name] = ServiceWish(
            name=name,
            open=(entry.get("state") or "open") == "open",
            hosts=_hosts(f"services entry {number} ({name})", entry),
            origin=f"services: {name}",
        )
    return tuple(found.values())


def _port(where: str, entry: Mapping[str, Any]) -> PortWish:
    text = str(entry.get("port") or "").strip()
    found = port_range(text)
    if found is None:
        raise BadInput(f"{where} has port {text!r}, which is neither a port nor a range", hint="Write for example 514 or 8301-8302.")
    _opens_or_closes(where, entry)
    protocol, direction = entry.get("protocol") or "tcp", entry.get("direction") or ""
    first, last = found
    ports = "-".join(dict.fromkeys(part.strip() for part in text.split("-")))
    return PortWish(
        first=first,
        last=last,
        protocol=protocol,
        direction=direction,
        open=(entry.get("state") or "open") == "open",
        hosts=_hosts(where, entry),
        origin=f"ports: {protocol}/{ports}{f' {direction}' if direction else ''}",
    )


def _opens_or_closes(where: str, entry: Mapping[str, Any]) -> None:
    if entry.get("state") == "closed" and entry.get("allowed_hosts"):
        raise BadInput(f"{where} is to be closed and says who gets in", hint="Leave out allowed_hosts, or state: closed.")


def _hosts(where: str, entry: Mapping[str, Any]) -> Hosts | None:
    given = entry.get("allowed_hosts")
    mode = entry.get("allowed_hosts_mode") or "replace"
    if given is None:
        if entry.get("allowed_hosts_mode") not in (None, "replace"):
            raise BadInput(f"{where} has allowed_hosts_mode: {mode} and no allowed_hosts", hint="Name the hosts, or leave the mode out.")
        return None
    all_ip, addresses, networks = given.get("all_ip"), given.get("ip_address"), given.get("ip_network")
    if all_ip is None and addresses is None and networks is None:
        return None
    single = None if addresses is None else addresses_given(f"{where}: ip_address", addresses)
    wider = None if networks is None else networks_given(f"{where}: ip_network", networks)
    # A host keeps a range as networks: to name one speaks of both lists, or a range could never be made smaller.
    if wider is None and any("-" in str(text) for text in addresses or ()):
        wider = ()
    hosts = Hosts(all_ip=all_ip, addresses=single, networks=wider, mode=mode)
    if all_ip and hosts.listed:
        raise BadInput(f"{where} has all_ip: true and a list, which would then mean nothing", hint="Leave out one of the two.")
    if mode != "replace" and not hosts.listed and all_ip is None:
        raise BadInput(f"{where} has nothing to {mode}", hint="Name addresses or networks, or leave allowed_hosts out.")
    return hosts


# ---- records: the state before a run, as a file that the module takes back ------------------------------------------


def recorded(name: str, moid: str, rulesets: Mapping[str, Any], incoming_blocked: bool, outgoing_blocked: bool) -> dict[str, Any]:
    """One host for a record; ``rulesets`` are those of its state."""
    return {
        "name": name,
        "moid": moid,
        "default_policy": {"incoming_blocked": incoming_blocked, "outgoing_blocked": outgoing_blocked},
        "rules": [
            {
                "name": key,
                "enabled": ruleset.enabled,
                "allowed_hosts": {
                    "all_ip": ruleset.allowed.all_ip,
                    "ip_address": [str(n.network_address) for n in ruleset.allowed.addresses],
                    "ip_network": [str(n) for n in ruleset.allowed.ranges],
                    **({"unreadable": list(ruleset.allowed.odd)} if ruleset.allowed.odd else {}),
                },
            }
            for key, ruleset in rulesets.items()
        ],
    }


def _host_of_record(entry: Mapping[str, Any]) -> Recorded:
    rulesets = {}
    for rule in entry["rules"]:
        allowed = rule["allowed_hosts"]
        networks = tidy(ipaddress.ip_network(exactly(str, text)) for text in (*allowed["ip_address"], *allowed["ip_network"]))
        odd = tuple(exactly(str, text) for text in allowed.get("unreadable", ()))
        rulesets[exactly(str, rule["name"])] = (exactly(bool, rule["enabled"]), Allowed(exactly(bool, allowed["all_ip"]), networks, odd))
    policy = entry["default_policy"]
    return Recorded(
        name=entry["name"],
        moid=entry["moid"],
        rulesets=rulesets,
        incoming_blocked=exactly(bool, policy["incoming_blocked"]),
        outgoing_blocked=exactly(bool, policy["outgoing_blocked"]),
    )

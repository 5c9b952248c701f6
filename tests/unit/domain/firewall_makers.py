# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls and wishes for the tests of ``_domain/firewall*.py``, and a second opinion on what a firewall lets through.

The second opinion knows a handful of addresses and ports, and looks each one up: no networks are merged, cut or
compared here.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_catalogue import SERVICES
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_model import (
    IN,
    OUT,
    Allowed,
    Peer,
    Rule,
    Ruleset,
    State,
)
from tests.unit.domain.makers import Roll

# ---- addresses -----------------------------------------------------------------------------------------------------------

# What people write: the text, the option it belongs to, first and last address that it means.
ENTRIES: dict[str, tuple[str, str, str]] = {
    "192.0.2.1": ("ip_address", "192.0.2.1", "192.0.2.1"),
    "192.0.2.2": ("ip_address", "192.0.2.2", "192.0.2.2"),
    "192.0.2.1-192.0.2.3": ("ip_address", "192.0.2.1", "192.0.2.3"),
    "198.51.100.7": ("ip_address", "198.51.100.7", "198.51.100.7"),
    "2001:DB8:0::1": ("ip_address", "2001:db8::1", "2001:db8::1"),
    "2001:db8::1-2001:db8::2": ("ip_address", "2001:db8::1", "2001:db8::2"),
    "192.0.2.0/24": ("ip_network", "192.0.2.0", "192.0.2.255"),
    "192.0.2.3/30": ("ip_network", "192.0.2.0", "192.0.2.3"),
    "192.0.2.2/255.255.255.254": ("ip_network", "192.0.2.2", "192.0.2.3"),
    "192.0.2.1/32": ("ip_network", "192.0.2.1", "192.0.2.1"),
    "198.51.0.0/16": ("ip_network", "198.51.0.0", "198.51.255.255"),
    "2001:db8::/64": ("ip_network", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
    "2001:DB8::2/127": ("ip_network", "2001:db8::2", "2001:db8::3"),
}
_SPOTS = ("192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.255", "198.51.100.7", "198.51.0.9", "203.0.113.9")
_SPOTS6 = ("2001:db8::", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8:0:1::", "2001:db9::1")
SPOTS = frozenset((*_SPOTS, *_SPOTS6))


def _number(text: str) -> tuple[int, int]:
    address = ipaddress.ip_address(text)
    return address.version, int(address)


def meant(texts: Iterable[str]) -> frozenset[str]:
    """The spots that these entries name, by comparing numbers."""
    ranges = [(_number(ENTRIES[text][1]), _number(ENTRIES[text][2])) for text in texts]
    return frozenset(spot for spot in SPOTS if any(first <= _number(spot) <= last for first, last in ranges))


@functools.lru_cache(maxsize=4096)
def _spots(networks: tuple[Any, ...]) -> frozenset[str]:
    ranges = [
        ((n.version, int(n.network_address)), (n.version, int(n.network_address) + 2 ** (n.max_prefixlen - n.prefixlen) - 1))
        for n in networks
    ]
    return frozenset(spot for spot in SPOTS if any(first <= _number(spot) <= last for first, last in ranges))


def listed(allowed: Allowed) -> frozenset[str]:
    """The spots in a list, whether or not everybody gets in anyway."""
    return _spots(allowed.networks)


def let_in(allowed: Allowed) -> frozenset[str]:
    return SPOTS if allowed.all_ip else _spots(allowed.networks)


def allowed_of(all_ip: bool, *texts: str) -> Allowed:
    nets = tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    return Allowed(all_ip, Allowed.only(nets).networks)


# ---- rulesets --------------------------------------------------------------------------------------------------------------

PORTS = (22, 53, 68, 443, 514, 902, 2049, 2233, 8301, 8302, 9000, 9050)
_WAYS = tuple(itertools.product((IN, OUT), ("tcp", "udp"), PORTS))
Open = frozenset[tuple[str, str, int, str]]


@functools.lru_cache(maxsize=4096)
def _ways(rules: tuple[Rule, ...]) -> frozenset[tuple[str, str, int]]:
    return frozenset(
        way for way in _WAYS if any(not r.source and (r.direction, r.protocol) == way[:2] and r.first <= way[2] <= r.last for r in rules)
    )


@functools.lru_cache(maxsize=4096)
def _opened(rules: tuple[Rule, ...], allowed: frozenset[str]) -> Open:
    return frozenset((*way, spot) for way in _ways(rules) for spot in allowed)


def opened_by(ruleset: Ruleset) -> Open:
    return _opened(ruleset.rules, let_in(ruleset.allowed)) if ruleset.enabled else frozenset()


def opened(state: State) -> Open:
    """Who gets through where: direction, protocol, port, peer."""
    found: set[tuple[str, str, int, str]] = set()
    for ruleset in (state.rulesets or {}).values():
        found |= opened_by(ruleset)
    for direction, blocked in ((IN, state.incoming_blocked), (OUT, state.outgoing_blocked)):
        if not blocked:
            found |= {(*way, spot) for way in _WAYS if way[0] == direction for spot in SPOTS}
    return frozenset(found)


def heard(state: State, peer: Peer) -> bool:
    """A second opinion on whether a host hears a peer; one known by name only is heard where anybody is."""
    if not (state.incoming_blocked if peer.direction == IN else state.outgoing_blocked):
        return True
    for ruleset in (state.rulesets or {}).values():
        way = (peer.direction, peer.protocol, peer.port)
        if ruleset.enabled and way in _ways(ruleset.rules):
            if ruleset.allowed.all_ip or (peer.address in listed(ruleset.allowed) if peer.address in SPOTS else ruleset.allowed.networks):
                return True
    return False


def each(state: State, peer: Peer) -> list[Peer]:
    """A peer of unknown address is anybody, and so is one that is here though its address is not let in."""
    known = peer.address and not (peer.present and not heard(state, peer))
    return [peer] if known else [replace(peer, address=spot) for spot in sorted(SPOTS)]


def rule(text: str) -> Rule:
    """``in tcp 22``, ``out udp src 68``, ``out tcp 9000-9100``."""
    direction, protocol, *source, ports = text.split()
    first, _dash, last = ports.partition("-")
    return Rule(IN if direction == "in" else OUT, protocol, int(first), int(last or first), bool(source))


def ruleset(key: str, rules: str, enabled: bool = True, allowed: Allowed | None = None, **fields: Any) -> Ruleset:
    """``rules``: separated by commas."""
    lines = tuple(rule(text) for text in rules.split(", ")) if rules else ()
    return Ruleset(key=key, label=key, enabled=enabled, allowed=allowed or Allowed(True), rules=lines, **fields)


def firewall(*rulesets: Ruleset, **fields: Any) -> State:
    return State(
        **{"name": "esx", "moid": "host-1", "version": "8.0.3", "complete": True, "rulesets": {r.key: r for r in rulesets}, **fields}
    )


# ---- random firewalls and wishes -------------------------------------------------------------------------------------------

# Real names, so that services and the catalogue have their say; what they open is drawn, and names nothing real.
KEYS = ("sshServer", "vSphereClient", "NFC", "vpxHeartbeats", "syslog", "addOn", "DVSSync", "nfsClient", "updateManager", "rdt", "dns")
_RULES = (
    "in tcp 443, in tcp 902",
    "in tcp 22",
    "in tcp 443",
    "out udp 902",
    "out udp 53, out tcp 53",
    "in udp 68, out udp src 68",
    "in udp 8301, in udp 8302, out udp 8301, out udp 8302",
    "out tcp 9000-9100, in tcp 22",
    "out tcp 0-65535",
    "in tcp 400-500, in tcp 443",
    "in tcp 1000-9999, in tcp 22",
    "in tcp src 22",
    "out udp 514, out tcp 514",
)
# Ways that move from one ruleset to another are rare unless many open the same port.
_CROWDED = ("in tcp 443", "in tcp 443, in tcp 902", "in tcp 22, in tcp 443")
_LISTS = (
    (),
    ("192.0.2.1",),
    ("192.0.2.0/24",),
    ("192.0.2.2", "198.51.100.7"),
    ("192.0.2.0/30", "2001:db8::/64"),
    ("192.0.2.2/31", "192.0.2.1", "2001:db8::1"),
    ("198.51.0.0/16", "2001:db8::2/127"),
    ("192.0.2.0/31", "192.0.2.2/31"),
)
_PEERS = tuple(
    Peer(who="peer", direction=direction, protocol=protocol, port=port, address=address, present=port in (443, 902))
    for direction, protocol, port in (
        (IN, "tcp", 443),
        (IN, "tcp", 22),
        (IN, "tcp", 902),
        (OUT, "udp", 902),
        (OUT, "udp", 53),
        (IN, "udp", 68),
    )
    for address in ("192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "time.example.com", None)
)
_SERVICES = ("ssh", "dvs_sync", "vcenter_agent", "lifecycle_manager", "vsan_transport", "ws_man", "fault_tolerance", "vasa", "dns")


def _ruleset(roll: Roll, key: str, rules: tuple[str, ...], *, free: bool) -> Ruleset:
    """``free``: one of which everything may be set."""
    flags: dict[str, Any] = {}
    if not free:
        flags = {
            "required": roll(False, False, True),
            "controllable": roll(None, True, False),
            "listable": roll(None, True, False),
            "service": roll(None, "ntpd", "vpxa"),
        }
    return ruleset(key, roll(*rules), roll(True, False), allowed_of(roll(True, False), *roll(*_LISTS)), **flags)


def _keys(roll: Roll) -> tuple[str, ...]:
    return tuple(dict.fromkeys(roll(*KEYS) for _turn in range(roll(3, 1, 2, 4, 5))))


def _state(roll: Roll, keys: Iterable[str], *, free: bool = False, peers: bool = True) -> State:
    rules = roll(_RULES, _CROWDED)
    return firewall(
        *(_ruleset(roll, key, rules, free=free) for key in keys),
        incoming_blocked=roll(True, True, False),
        outgoing_blocked=roll(True, True, False),
        running=frozenset(("vpxa",) if roll(True, False) else ()),
        peers=tuple(dict.fromkeys(roll(*_PEERS) for _turn in range(roll(4, 0, 2, 6)))) if peers else (),
    )


def hosts_option(roll: Roll) -> dict[str, Any]:
    """``allowed_hosts`` and its mode, as an option would bring them; always one that ``parse`` takes."""
    mode = roll("replace", "merge", "remove")
    by_option = {name: [text for text, entry in ENTRIES.items() if entry[0] == name] for name in ("ip_address", "ip_network")}
    given: dict[str, Any] = {
        name: roll(None, *([roll(*texts) for _turn in range(n)] for n in (1, 2, 0))) for name, texts in by_option.items()
    }
    some = bool(given["ip_address"] or given["ip_network"])
    given["all_ip"] = roll(None, False, None if some else True)
    if mode != "replace" and not some and given["all_ip"] is None:
        return {"allowed_hosts": None}
    return {"allowed_hosts": given, "allowed_hosts_mode": mode}


def _rule_option(roll: Roll, key: str) -> dict[str, Any]:
    return {"name": key, "enabled": roll(None, True, False), **(hosts_option(roll) if roll(True, True, False) else {})}


def _port_option(roll: Roll) -> dict[str, Any]:
    protocol, direction = roll("tcp", "udp"), roll(IN, OUT)
    port = roll("443", "22", "902", "53", "8301-8302", "8301", "9000-9100", "400-1200", "2049")
    found = {"port": port, "protocol": protocol, "direction": direction, "state": roll("open", "open", "closed")}
    if found["state"] == "closed":
        return found
    return {**found, **(hosts_option(roll) if roll(False, True) else {})}


def _service_option(roll: Roll, name: str) -> dict[str, Any]:
    found = {"name": name, "state": roll("open", "open", "closed")}
    if found["state"] == "closed":
        return found
    return {**found, **(hosts_option(roll) if roll(False, True) else {})}


def _options(roll: Roll, keys: tuple[str, ...]) -> dict[str, Any]:
    rules = [
        _rule_option(roll, key) for key in dict.fromkeys(roll(*keys, *keys, "iofiltervp", "unheardOf") for _turn in range(roll(2, 0, 1, 4)))
    ]
    ports = [_port_option(roll) for _turn in range(roll(0, 1, 0, 2))]
    services = [_service_option(roll, name) for name in dict.fromkeys(roll(*_SERVICES) for _turn in range(roll(0, 0, 1, 2)))]
    return {
        "rules": rules,
        "ports": ports,
        "services": services,
        "exclusive": bool(rules or ports or services) and roll(False, False, True),
        "allow_lockout": roll(False, False, True),
        "default_policy": {"incoming_blocked": roll(None, None, True, False), "outgoing_blocked": roll(None, None, True, False)}
        if roll(False, True)
        else None,
    }


World = tuple[State, Mapping[str, Any]]
# Below 2**24 hypothesis draws evenly; above, it prefers small numbers, and most fields would hardly vary.
_number24 = st.integers(0, 2**24 - 1)
_numbers = st.tuples(*[_number24] * 8)


def _world(have: tuple[int, ...], want: tuple[int, ...]) -> World:
    roll = Roll(have)
    keys = _keys(roll)
    state = _state(roll, keys)
    return state, _options(Roll(want), keys)


def _pair(have: tuple[int, ...], other: tuple[int, ...]) -> tuple[State, State]:
    roll = Roll(have)
    keys = tuple(key for key in _keys(roll) if key != "nfsClient") or ("dns",)
    state, past = _state(roll, keys, free=True), _state(Roll(other), keys, free=True, peers=False)
    return state, replace(past, rulesets={key: replace(r, rules=state.all()[key].rules) for key, r in past.all().items()})


def _single(have: tuple[int, ...], want: tuple[int, ...]) -> World:
    """One ruleset, one wish about it, nobody who has to be heard."""
    roll = Roll(have)
    key = roll(*KEYS)
    return _state(roll, (key,), peers=False), {"rules": [_rule_option(Roll(want), key)]}


worlds = st.builds(_world, _numbers, _numbers)
pairs = st.builds(_pair, _numbers, _numbers)
singles = st.builds(_single, _numbers, _numbers)
assert all(name in SERVICES for name in _SERVICES)

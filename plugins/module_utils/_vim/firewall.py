# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls of ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._client.inventory import Target
from .._client.properties import Row, collect
from .._client.session import Session
from .._client.vmomi import Ref, vim
from .._domain import firewall as domain
from .._domain.addresses import is_single, kept_by_host, parsed, unmapped, unreadable
from .._domain.errors import ServerFault
from .._domain.firewall_model import (
    IN,
    OUT,
    Allowed,
    DisableRuleset,
    EnableRuleset,
    Peer,
    Rule,
    Ruleset,
    SetAllowedHosts,
    SetDefaultPolicy,
    State,
)
from .._domain.firewall_wanted import Wanted
from .._domain.plan import Change

_FIREWALL = "configManager.firewallSystem"
POLICY = f"{_FIREWALL}/firewallInfo.defaultPolicy"
RULESETS = f"{_FIREWALL}/firewallInfo.ruleset"
_SERVICES = "configManager.serviceSystem/serviceInfo.service"
# HostSystem.config may lag behind a write by seconds. For what changes once a year that is good enough, and it is one
# object a host instead of five.
_TIME = "config.dateTimeInfo.ntpConfig"
_DNS = "config.network.dnsConfig"
_NICS = "config.network.vnic"
_MOUNTS = "config.fileSystemVolume.mountInfo"
_ADAPTERS = "config.storageDevice.hostBusAdapter"
_VSAN = "config.vsanHostConfig.enabled"
_VCENTER = "summary.managementServerIp"
# Whom a host has to hear. Read only of hosts that are about to change: it is several times what a ruleset takes.
_PEERS = (_SERVICES, _TIME, _DNS, _NICS, _MOUNTS, _ADAPTERS, _VSAN, _VCENTER)
PROBES = ()
# Where services are not told, these may be running.
_SERVICES_THAT_HEAR = frozenset({"TSM-SSH", "ntpd"})
_GONE = Row(Ref("", ""), {}, {"the host": "ManagedObjectNotFound"})


def properties(wanted: Wanted) -> Sequence[str]:
    """One ruleset by its key is 1.2 KB, all of them are 19 KB a host."""
    rulesets = [RULESETS] if wanted.whole else [f'{RULESETS}["{wish.key}"]' for wish in wanted.rules]
    return ("name", "config.product.version", POLICY, *rulesets)


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """Of hosts with something to change: everything else in their firewall, and whom they have to hear."""
    if wanted.full:
        needy = list(rows)
    else:
        needy = [target for target, row in rows.items() if _changes(row, wanted)]
    if not needy:
        return {}
    paths = _PEERS if wanted.whole else (*_PEERS, RULESETS)
    found = collect(session, [target.ref for target in needy], paths, shrink=SHRINK)
    address = _own_address(session)
    managed = session.is_vcenter
    return {target: {"more": found.get(target.ref, _GONE), "address": address, "managed": managed} for target in needy}


def _changes(row: Row, wanted: Wanted) -> bool:
    try:
        return bool(domain.plan(observe(row, {}), wanted, None).changes)
    except (LookupError, TypeError, ValueError, AttributeError):
        return False  # what is wrong with it is told where it is observed


def _own_address(session: Session) -> str | None:
    """This control node's address as the server sees it, which a NAT or a proxy may have changed.

    A host that hands connections on within itself may see its own loopback there; then this end's address is the best.
    """
    manager = session.manager("sessionManager")
    row = collect(session, [manager], ["currentSession"]).get(manager) if manager else None
    seen = (row.values.get("currentSession") or {}).get("ipAddress") if row else None
    known = parsed(unmapped(seen or "") or "")
    if known is None or known.network_address.is_loopback:
        return session.local_address or seen
    return str(known.network_address)


def observe(row: Row, extra: Mapping[str, Any]) -> State:
    more: Row | None = extra.get("more")
    values = {**row.values, **more.values} if more else row.values
    policy = values.get(POLICY)
    listed = values.get(RULESETS)
    if listed is None:
        listed = _rulesets(value for path, value in values.items() if path.startswith(f'{RULESETS}["'))
    return State(
        name=values.get("name", ""),
        moid=row.ref.id,
        version=values.get("config.product.version", ""),
        rulesets=None if policy is None else listed,
        incoming_blocked=(policy or {}).get("incomingBlocked", True),
        outgoing_blocked=(policy or {}).get("outgoingBlocked", True),
        running=values.get(_SERVICES) or frozenset(),
        peers=tuple(_peers(more, extra.get("address"), extra.get("managed", False))) if more else (),
        complete=more is not None,
    )


def _rulesets(items: Iterable[Mapping[str, Any]]) -> dict[str, Ruleset]:
    return {item["key"]: _ruleset(item) for item in items}


def exposure(items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What a host's rulesets open inwards, see the domain."""
    return domain.exposure(_rulesets(items).values())


def _ruleset(item: Mapping[str, Any]) -> Ruleset:
    allowed = item.get("allowedHosts") or {"allIp": True}
    return _made(
        item["key"],
        item["enabled"],
        item.get("label", ""),
        item.get("required", False),
        item.get("service") or None,
        item.get("userControllable"),
        item.get("ipListUserConfigurable"),
        allowed["allIp"],
        tuple(allowed.get("ipAddress", ())),
        tuple((network["network"], network["prefixLength"]) for network in allowed.get("ipNetwork", ())),
        tuple(
            (rule["direction"], rule["protocol"], rule["port"], rule.get("endPort") or rule["port"], rule.get("portType") == "src")
            for rule in item.get("rule", ())
        ),
    )


@functools.lru_cache(maxsize=8192)
def _made(
    key: str,
    enabled: bool,
    label: str,
    required: bool,
    service: str | None,
    controllable: bool | None,
    listable: bool | None,
    all_ip: bool,
    addresses: tuple[str, ...],
    networks: tuple[tuple[str, int], ...],
    rules: tuple[tuple[str, str, int, int, bool], ...],
) -> Ruleset:
    """The hosts of a fleet have mostly the same rulesets: each is made, and kept, once."""
    return Ruleset(
        key=key,
        enabled=enabled,
        label=label,
        required=required,
        service=service,
        controllable=controllable,
        listable=listable,
        allowed=Allowed(all_ip, kept_by_host(addresses, networks), unreadable(addresses, networks)),
        rules=tuple(Rule(*rule) for rule in rules),
    )


def _running(services: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(service["key"] for service in services if service["running"])


def _by_dhcp(nics: Iterable[Mapping[str, Any]]) -> tuple[bool, bool]:
    """Whether any VMkernel adapter has its address by DHCP, and by DHCPv6."""
    addresses = [(nic.get("spec") or {}).get("ip") or {} for nic in nics]
    newer = any((address.get("ipV6Config") or {}).get("dhcpV6Enabled") for address in addresses)
    return any(address.get("dhcp") for address in addresses), newer


def _nfs_servers(mounts: Iterable[Mapping[str, Any]]) -> list[str]:
    volumes = [volume for mount in mounts if str((volume := mount.get("volume") or {}).get("type", "")).startswith("NFS")]
    return [server for volume in volumes for server in volume.get("remoteHostNames") or [volume["remoteHost"]]]


def _iscsi_targets(adapters: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    kinds = ("configuredSendTarget", "configuredStaticTarget")
    targets = [target for adapter in adapters for kind in kinds for target in adapter.get(kind, ())]
    return [(target["address"], target.get("port") or 3260) for target in targets]


# A host's adapters and services are tens of kilobytes as they come; this is what is kept of them.
SHRINK = {
    path.rpartition("/")[2]: reader
    for path, reader in {
        RULESETS: _rulesets,
        _SERVICES: _running,
        _NICS: _by_dhcp,
        _MOUNTS: _nfs_servers,
        _ADAPTERS: _iscsi_targets,
    }.items()
}


def _peers(more: Row, own: str | None, managed: bool) -> Iterator[Peer]:
    for path, fault in more.missing.items():
        # The one says that this kind of server has no such property, the other that it has no such manager (vcsim).
        if fault != "InvalidProperty" and (fault, path) != ("ManagedObjectNotFound", _SERVICES):
            raise ServerFault(
                f"whom the host has to hear cannot be told, because {path} cannot be read",
                fault=fault,
                hint="Grant System.Read on the host, and look at its connection in vCenter.",
            )
    values = more.values
    running = values.get(_SERVICES, _SERVICES_THAT_HEAR)
    vcenter = values.get(_VCENTER)
    if own:
        yield Peer(who="this control node", direction=IN, protocol="tcp", port=443, address=own, present=not managed)
        if "TSM-SSH" in running:
            yield Peer(who="this control node by SSH", direction=IN, protocol="tcp", port=22, address=own, needed=False)
    if vcenter or managed:  # a vCenter that does not say which address the host knows it by is there all the same
        # A session with a vCenter plans connected hosts only: those hear it, from whichever address it comes.
        yield _known("vCenter", IN, "tcp", 443, vcenter, present=managed)
        yield _known("vCenter", IN, "tcp", 902, vcenter, present=managed)
        yield _known("heartbeat to vCenter", OUT, "udp", 902, vcenter, present=managed)
    if "ntpd" in running:
        for entry in (values.get(_TIME) or {}).get("server", ()):
            yield Peer(who="time server", direction=OUT, protocol="udp", port=123, address=entry.partition(" ")[0])
    for address in (values.get(_DNS) or {}).get("address", ()):
        yield Peer(who="name server", direction=OUT, protocol="udp", port=53, address=address)
    older, newer = values.get(_NICS) or (False, False)
    if older:
        yield Peer(who="DHCP server", direction=IN, protocol="udp", port=68)
    if newer:
        yield Peer(who="DHCPv6 server", direction=IN, protocol="udp", port=546)
    yield from _storage(values)


def _storage(values: Mapping[str, Any]) -> Iterator[Peer]:
    for server in values.get(_MOUNTS) or ():
        yield _known("NFS server", OUT, "tcp", 2049, server)
    for address, port in values.get(_ADAPTERS) or ():
        yield _known("iSCSI target", OUT, "tcp", port, address)
    if values.get(_VSAN):
        for direction in (IN, OUT):
            yield Peer(who="vSAN hosts", direction=direction, protocol="tcp", port=2233)
            yield Peer(who="vSAN hosts", direction=direction, protocol="udp", port=12345)
            yield Peer(who="vSAN hosts", direction=direction, protocol="udp", port=23451)


def _known(who: str, direction: str, protocol: str, port: int, server: str | None, *, present: bool = False) -> Peer:
    """One that is known by name only may be anybody: neither vCenter nor a datastore is risked on a guess."""
    address = unmapped(server or "")
    named = who if address or not server else f"{who} {server}"
    return Peer(who=named, direction=direction, protocol=protocol, port=port, address=address, present=present)


def apply(session: Session, target: Target, row: Row, change: Change) -> None:
    firewall = row.values[_FIREWALL]
    if isinstance(change, SetAllowedHosts):
        session.write(target.path, firewall, "UpdateRuleset", id=change.ruleset, spec=_spec(change.allowed))
    elif isinstance(change, EnableRuleset):
        session.write(target.path, firewall, "EnableRuleset", id=change.ruleset)
    elif isinstance(change, DisableRuleset):
        session.write(target.path, firewall, "DisableRuleset", id=change.ruleset)
    elif isinstance(change, SetDefaultPolicy):
        policy = vim.host.FirewallInfo.DefaultPolicy(incomingBlocked=change.incoming_blocked, outgoingBlocked=change.outgoing_blocked)
        session.write(target.path, firewall, "UpdateDefaultPolicy", defaultPolicy=policy)
    else:
        raise TypeError(f"{type(change).__name__} is not a change of this feature")


def _spec(allowed: Allowed) -> Any:
    networks = [vim.host.Ruleset.IpNetwork(network=str(n.network_address), prefixLength=n.prefixlen) for n in allowed.ranges]
    addresses = [str(network.network_address) for network in allowed.networks if is_single(network)]
    return vim.host.Ruleset.RulesetSpec(allowedHosts=vim.host.Ruleset.IpList(allIp=allowed.all_ip, ipAddress=addresses, ipNetwork=networks))

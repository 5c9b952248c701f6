# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls between what a host reports and plain values: rulesets, whom a host has to hear, and the four writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import NOT_UNDERSTOOD, Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.addresses import shown
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import ServerFault
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall import parse
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_model import (
    IN,
    OUT,
    Allowed,
    DisableRuleset,
    EnableRuleset,
    Rule,
    Ruleset,
    SetAllowedHosts,
    SetDefaultPolicy,
    State,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import firewall
from tests.unit.domain.firewall_makers import allowed_of

FIREWALL, HOST = Ref("HostFirewallSystem", "fw-1"), Ref("HostSystem", "host-1")
POLICY = "configManager.firewallSystem/firewallInfo.defaultPolicy"
RULESETS = "configManager.firewallSystem/firewallInfo.ruleset"
SERVICES = "configManager.serviceSystem/serviceInfo.service"
TIME = "config.dateTimeInfo.ntpConfig"
DNS = "config.network.dnsConfig"
NICS = "config.network.vnic"
MOUNTS = "config.fileSystemVolume.mountInfo"
ADAPTERS = "config.storageDevice.hostBusAdapter"
VSAN = "config.vsanHostConfig.enabled"
VCENTER = "summary.managementServerIp"

SSH = {
    "key": "sshServer",
    "label": "SSH Server",
    "required": True,
    "enabled": True,
    "rule": [{"port": 22, "direction": "inbound", "portType": "dst", "protocol": "tcp"}],
    "allowedHosts": {"allIp": False, "ipAddress": ["192.0.2.1"], "ipNetwork": [{"network": "198.51.100.0", "prefixLength": 24}]},
}


def kept(values: dict[str, Any]) -> dict[str, Any]:
    """As ``collect`` leaves them: what is big is shrunk."""
    found = {}
    for path, value in values.items():
        shrink = firewall.SHRINK.get(path.rpartition("/")[2])
        found[path] = shrink(value) if shrink else value
    return found


def base(*rulesets: dict[str, Any], **values: Any) -> Row:
    named = {f'{RULESETS}["{one["key"]}"]': one for one in rulesets}
    return Row(
        HOST,
        {
            "name": "esx",
            "config.product.version": "8.0.3",
            "configManager.firewallSystem": FIREWALL,
            POLICY: {"incomingBlocked": True, "outgoingBlocked": True},
            **named,
            **values,
        },
        {},
    )


def observed(more: dict[str, Any] | None = None, address: str | None = None, missing: dict[str, str] | None = None) -> State:
    extra = {} if more is None else {"more": Row(HOST, kept(more), missing or {}), "address": address}
    return firewall.observe(base(SSH), extra)


def peers(more: dict[str, Any], address: str | None = None) -> set[tuple[str, str, str, int, str | None]]:
    return {(p.who, p.direction, p.protocol, p.port, p.address) for p in observed(more, address).peers}


def running(*keys: str) -> dict[str, Any]:
    return {SERVICES: [{"key": key, "running": key in keys} for key in ("ntpd", "TSM-SSH", "vpxa")]}


# ---- what is read ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({"rules": [{"name": "sshServer"}]}, False),
        ({"rules": [{"name": f"r{n}"} for n in range(10)]}, False),
        ({"rules": [{"name": f"r{n}"} for n in range(11)]}, True),
        ({"rules": [{"name": "sshServer"}], "exclusive": True}, True),
        ({"rules": [{"name": "sshServer"}], "ports": [{"port": "1", "protocol": "tcp", "direction": IN}]}, True),
        ({"services": [{"name": "ssh"}]}, True),
        ({"opens": None}, True),
        ({"default_policy": {"incoming_blocked": True}}, False),
    ],
)
def test_named_rulesets_are_read_by_their_keys_and_all_of_them_only_where_that_is_needed(options: dict[str, Any], whole: bool) -> None:
    wanted = parse(options)
    paths = firewall.properties(wanted)
    assert (RULESETS in paths) is whole and POLICY in paths
    keyed = [path for path in paths if path.startswith(f'{RULESETS}["')]
    assert keyed == ([] if whole else [f'{RULESETS}["{rule.key}"]' for rule in wanted.rules])


def test_a_ruleset_becomes_plain_values() -> None:
    assert observed().rulesets == {
        "sshServer": Ruleset(
            key="sshServer",
            label="SSH Server",
            enabled=True,
            required=True,
            allowed=allowed_of(False, "192.0.2.1", "198.51.100.0/24"),
            rules=(Rule(IN, "tcp", 22, 22),),
        )
    }


@pytest.mark.parametrize(
    ("reported", "is_"),
    [
        ({"port": 319, "endPort": 320, "direction": "outbound", "protocol": "udp"}, Rule(OUT, "udp", 319, 320)),
        ({"port": 68, "endPort": 0, "direction": "outbound", "portType": "src", "protocol": "udp"}, Rule(OUT, "udp", 68, 68, True)),
        ({"port": 0, "endPort": 65535, "direction": "outbound", "protocol": "tcp"}, Rule(OUT, "tcp", 0, 65535)),
    ],
)
def test_a_rule_becomes_plain_values(reported: dict[str, Any], is_: Rule) -> None:
    state = firewall.observe(base({"key": "x", "enabled": False, "rule": [reported]}), {})
    assert state.all()["x"].rules == (is_,)


@pytest.mark.parametrize(("toggle", "listing"), [(None, None), (True, False), (False, True)])
def test_flags_that_a_release_does_not_have_stay_unknown(toggle: bool | None, listing: bool | None) -> None:
    flags = {name: value for name, value in (("userControllable", toggle), ("ipListUserConfigurable", listing)) if value is not None}
    one = firewall.observe(base({**SSH, **flags, "service": ""}), {}).all()["sshServer"]
    assert (one.controllable, one.listable, one.service) == (toggle, listing, None)
    assert firewall.observe(base({**SSH, "service": "TSM-SSH"}), {}).all()["sshServer"].service == "TSM-SSH"


@pytest.mark.parametrize(
    ("reported", "is_"),
    [
        (None, allowed_of(True)),
        ({"allIp": True}, allowed_of(True)),
        ({"allIp": False}, allowed_of(False)),
        ({"allIp": False, "ipAddress": ["2001:DB8:0::1"]}, allowed_of(False, "2001:db8::1")),
        ({"allIp": False, "ipNetwork": [{"network": "192.0.2.77", "prefixLength": 24}]}, allowed_of(False, "192.0.2.0/24")),
        (
            {"allIp": False, "ipAddress": ["esx.example.com", "192.0.2.1"], "ipNetwork": [{"network": "odd", "prefixLength": 8}]},
            Allowed(False, allowed_of(False, "192.0.2.1").networks, ("esx.example.com", "odd/8")),
        ),
        ({"allIp": False, "ipNetwork": [{"network": "192.0.2.1", "prefixLength": 32}]}, allowed_of(False, "192.0.2.1")),
    ],
)
def test_a_list_is_read_whatever_is_in_it(reported: Any, is_: Allowed) -> None:
    assert firewall.observe(base({**SSH, "allowedHosts": reported}), {}).all()["sshServer"].allowed == is_


def test_the_policy_is_read_and_what_a_host_leaves_out_is_blocked() -> None:
    for policy, blocked in (({"incomingBlocked": False}, (False, True)), ({"outgoingBlocked": False}, (True, False)), ({}, (True, True))):
        state = firewall.observe(base(**{POLICY: policy}), {})
        assert (state.incoming_blocked, state.outgoing_blocked) == blocked


def test_a_host_without_firewall_information_has_none() -> None:
    row = base(SSH)
    del row.values[POLICY]
    assert firewall.observe(row, {}).rulesets is None


def test_a_first_look_knows_the_named_rulesets_and_a_second_all_and_the_peers() -> None:
    first = observed()
    assert not first.complete and first.peers == () and list(first.all()) == ["sshServer"]
    second = observed({RULESETS: [SSH, {"key": "syslog", "enabled": False}], VCENTER: "192.0.2.9", **running("vpxa")})
    assert second.complete and list(second.all()) == ["sshServer", "syslog"] and second.running == {"vpxa"} and second.peers
    assert (second.name, second.moid, second.version) == ("esx", "host-1", "8.0.3")


# ---- whom a host has to hear --------------------------------------------------------------------------------------------------


def test_nobody_is_made_up() -> None:
    assert peers({}) == set() == peers({**running(), MOUNTS: [], ADAPTERS: [], NICS: [], VSAN: False, DNS: {}, TIME: {}})


def test_this_control_node_by_the_address_that_the_server_sees() -> None:
    assert peers(running(), "192.0.2.5") == {("this control node", IN, "tcp", 443, "192.0.2.5")}
    assert peers({}, "192.0.2.5") == peers(running("TSM-SSH"), "192.0.2.5"), "what is not told may be running"


def test_ssh_counts_while_it_runs() -> None:
    ssh = ("this control node by SSH", IN, "tcp", 22, "192.0.2.5")
    assert ssh in peers(running("TSM-SSH"), "192.0.2.5")
    assert ssh not in peers(running("ntpd"), "192.0.2.5") and peers(running("TSM-SSH")) == set()


def test_a_vcenter_that_does_not_say_its_address_has_to_be_heard_all_the_same() -> None:
    """govmomi's simulator leaves managementServerIp unset; a stand-alone host has none because it has no vCenter."""
    more = Row(HOST, {}, {})
    there = firewall.observe(base(SSH), {"more": more, "address": None, "managed": True}).peers
    assert {(peer.direction, peer.protocol, peer.port, peer.address) for peer in there} == {
        (IN, "tcp", 443, None),
        (IN, "tcp", 902, None),
        (OUT, "udp", 902, None),
    }
    assert firewall.observe(base(SSH), {"more": more, "address": None, "managed": False}).peers == ()


def test_vcenter_its_agent_and_its_heartbeat() -> None:
    assert peers({VCENTER: "2001:db8::9"}) == {
        ("vCenter", IN, "tcp", 443, "2001:db8::9"),
        ("vCenter", IN, "tcp", 902, "2001:db8::9"),
        ("heartbeat to vCenter", OUT, "udp", 902, "2001:db8::9"),
    }


@pytest.mark.parametrize(
    ("told", "address", "who"),
    [
        ("192.0.2.9", "192.0.2.9", "vCenter"),
        ("::ffff:192.0.2.9", "192.0.2.9", "vCenter"),
        ("vc.example.com", None, "vCenter vc.example.com"),
        (None, None, "vCenter"),
    ],
)
def test_vcenter_is_known_by_a_plain_address_or_may_be_anybody(told: str | None, address: str | None, who: str) -> None:
    more = Row(HOST, {VCENTER: told} if told else {}, {})
    there = firewall.observe(base(SSH), {"more": more, "address": None, "managed": True}).peers
    assert [peer.address for peer in there] == [address] * 3 and {peer.who for peer in there} >= {who}


def test_whom_the_session_shows_to_be_here_is_present() -> None:
    more = Row(HOST, kept({VCENTER: "192.0.2.9", **running("TSM-SSH")}), {})

    def here(managed: bool) -> set[tuple[str, int]]:
        peers = firewall.observe(base(SSH), {"more": more, "address": "192.0.2.5", "managed": managed}).peers
        return {(peer.who, peer.port) for peer in peers if peer.present}

    assert here(True) == {("vCenter", 443), ("vCenter", 902), ("heartbeat to vCenter", 902)}
    assert here(False) == {("this control node", 443)}


def test_time_servers_count_while_ntpd_runs_and_by_address_or_name_without_options() -> None:
    servers = {TIME: {"server": ["192.0.2.1 iburst", "time.example.com"]}}
    assert peers({**servers, **running("ntpd")}) == {
        ("time server", OUT, "udp", 123, "192.0.2.1"),
        ("time server", OUT, "udp", 123, "time.example.com"),
    }
    assert peers({**servers, **running()}) == set()


def test_name_servers() -> None:
    assert peers({DNS: {"address": ["192.0.2.53", "2001:db8::53"], "dhcp": False}}) == {
        ("name server", OUT, "udp", 53, "192.0.2.53"),
        ("name server", OUT, "udp", 53, "2001:db8::53"),
    }


def test_dhcp_counts_when_any_adapter_uses_it_and_whoever_answers_is_meant() -> None:
    def nic(dhcp: bool) -> dict[str, Any]:
        return {"spec": {"ip": {"dhcp": dhcp}}}

    assert peers({NICS: [nic(False), nic(True)]}) == {("DHCP server", IN, "udp", 68, None)}
    assert peers({NICS: [nic(False), {"spec": {}}, {}]}) == set()


def test_nfs_servers_of_both_versions_and_no_other_volume() -> None:
    mounts = [
        {"volume": {"type": "NFS", "remoteHost": "192.0.2.49"}},
        {"volume": {"type": "NFS41", "remoteHost": "192.0.2.50", "remoteHostNames": ["192.0.2.50", "192.0.2.51"]}},
        {"volume": {"type": "VMFS"}},
        {},
    ]
    assert peers({MOUNTS: mounts}) == {("NFS server", OUT, "tcp", 2049, f"192.0.2.{last}") for last in (49, 50, 51)}


def test_storage_known_by_name_only_may_be_anybody_and_is_told_by_its_name() -> None:
    found = observed({MOUNTS: [{"volume": {"type": "NFS", "remoteHost": "nas.example.com"}}]}).peers
    assert [(peer.address, "nas.example.com" in str(peer)) for peer in found] == [(None, True)]


def test_iscsi_targets_with_their_ports() -> None:
    targets = [{"address": "192.0.2.60"}, {"address": "192.0.2.61", "port": 3261}]
    assert peers({ADAPTERS: [{"device": "vmhba0"}, {"configuredSendTarget": targets}]}) == {
        ("iSCSI target", OUT, "tcp", 3260, "192.0.2.60"),
        ("iSCSI target", OUT, "tcp", 3261, "192.0.2.61"),
    }


def test_vsan_hosts_hear_each_other_on_both_ways() -> None:
    ways = {(IN, "tcp", 2233), (OUT, "tcp", 2233), (IN, "udp", 12345), (OUT, "udp", 12345), (IN, "udp", 23451), (OUT, "udp", 23451)}
    assert {found[1:4] for found in peers({VSAN: True})} == ways


@pytest.mark.parametrize("path", [SERVICES, TIME, DNS, NICS, MOUNTS, ADAPTERS, VSAN, VCENTER])
@pytest.mark.parametrize("fault", ["NoPermission", "NotAuthenticated", NOT_UNDERSTOOD])
def test_whom_a_host_has_to_hear_is_never_guessed_when_it_may_not_be_read(path: str, fault: str) -> None:
    with pytest.raises(ServerFault) as caught:
        observed({}, "192.0.2.5", {path: fault})
    assert path in caught.value.cause and caught.value.hint


# ---- looking twice ------------------------------------------------------------------------------------------------------------


@dataclass
class FakeSession:
    """``collected``: for each read the objects and the paths asked for."""

    seen_as: str | None = "192.0.2.5"
    more: dict[str, Any] = field(default_factory=dict)
    collected: list[tuple[list[str], tuple[str, ...]]] = field(default_factory=list)
    local_address: str | None = "192.0.2.200"
    is_vcenter: bool = True
    written: list[tuple[str, Ref, str, dict[str, Any]]] = field(default_factory=list)

    def manager(self, name: str) -> Ref:
        assert name == "sessionManager"
        return Ref("SessionManager", "sm")

    def collect(self, _session: Any, refs: Any, paths: Any, *_more: Any, **_kw: Any) -> dict[Ref, Row]:
        self.collected.append(([ref.id for ref in refs], tuple(paths)))
        if refs[0].type == "SessionManager":
            return {refs[0]: Row(refs[0], {"currentSession": {"ipAddress": self.seen_as}}, {})}
        return {ref: Row(ref, kept(self.more), {}) for ref in refs if ref.id != "left"}

    def write(self, path: str, ref: Ref, operation: str, **arguments: Any) -> None:
        self.written.append((path, ref, operation, arguments))


def target(moid: str) -> Target:
    return Target(ref=Ref("HostSystem", moid), name=moid, connection="connected")


def measured(session: FakeSession, monkeypatch: pytest.MonkeyPatch, rows: dict[str, Row], **options: Any) -> dict[str, Any]:
    monkeypatch.setattr(firewall, "collect", session.collect)
    found = firewall.measure(cast(Any, session), {target(moid): row for moid, row in rows.items()}, parse(options), 4)
    return {one.name: extra for one, extra in found.items()}


def test_peers_and_the_other_rulesets_are_read_only_of_hosts_that_are_about_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    rows = {"opens": base({**SSH, "enabled": False}), "well": base(SSH), "odd": base({**SSH, "allowedHosts": {}})}
    found = measured(session, monkeypatch, rows, rules=[{"name": "sshServer", "enabled": True}])
    assert set(found) == {"opens"} and found["opens"]["address"] == "192.0.2.5"
    hosts, paths = session.collected[0]
    assert hosts == ["opens"] and RULESETS in paths and {SERVICES, TIME, DNS, NICS, MOUNTS, ADAPTERS, VSAN, VCENTER} <= set(paths)


def test_where_nothing_is_to_change_nothing_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    assert measured(session, monkeypatch, {"well": base(SSH)}, rules=[{"name": "sshServer", "enabled": True}]) == {}
    assert session.collected == []


def test_a_look_at_everything_reads_everybody_and_rulesets_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    row = base(**{RULESETS: kept({RULESETS: [SSH]})[RULESETS]})
    found = measured(session, monkeypatch, {"a": row, "left": row}, opens=None)
    assert set(found) == {"a", "left"}
    with pytest.raises(ServerFault, match="whom the host has to hear"):
        firewall.observe(row, found["left"])
    assert session.collected[0][0] == ["a", "left"] and RULESETS not in session.collected[0][1]


@pytest.mark.parametrize(
    ("seen_as", "address"),
    [
        ("192.0.2.5", "192.0.2.5"),
        ("2001:DB8::5", "2001:db8::5"),
        ("::ffff:192.0.2.5", "192.0.2.5"),
        ("127.0.0.1", "192.0.2.200"),
        ("::1", "192.0.2.200"),
        (None, "192.0.2.200"),
        ("", "192.0.2.200"),
    ],
)
def test_the_address_of_this_control_node_is_the_one_that_a_host_can_see(
    seen_as: str | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"a": base({**SSH, "enabled": False})}
    found = measured(FakeSession(seen_as), monkeypatch, rows, rules=[{"name": "sshServer", "enabled": True}])
    assert found["a"]["address"] == address


# ---- writes -------------------------------------------------------------------------------------------------------------------


def sent(change: Any) -> tuple[str, dict[str, Any]]:
    session = FakeSession()
    firewall.apply(cast(Any, session), target("host-1"), base(SSH), change)
    ((path, ref, operation, arguments),) = session.written
    assert (path, ref) == ("host-1", FIREWALL)
    return operation, arguments


def test_a_change_is_one_write() -> None:
    assert sent(EnableRuleset("syslog")) == ("EnableRuleset", {"id": "syslog"})
    assert sent(DisableRuleset("syslog")) == ("DisableRuleset", {"id": "syslog"})
    operation, arguments = sent(SetDefaultPolicy(incoming_blocked=True))
    policy = arguments["defaultPolicy"]
    assert operation == "UpdateDefaultPolicy" and (policy.incomingBlocked, policy.outgoingBlocked) == (True, None)
    with pytest.raises(TypeError):
        sent(SimpleNamespace())


@pytest.mark.parametrize(
    "allowed",
    [
        allowed_of(True),
        allowed_of(False),
        allowed_of(True, "192.0.2.1"),
        allowed_of(False, "192.0.2.1", "2001:db8::1", "198.51.100.0/24", "2001:db8:1::/48", "192.0.2.2/31"),
    ],
)
def test_a_list_is_sent_whole_and_reads_back_as_itself(allowed: Allowed) -> None:
    operation, arguments = sent(SetAllowedHosts("sshServer", allowed))
    hosts = arguments["spec"].allowedHosts
    assert operation == "UpdateRuleset" and arguments["id"] == "sshServer" and hosts.allIp is allowed.all_ip
    assert list(hosts.ipAddress) == [shown(network) for network in allowed.addresses]
    assert [f"{network.network}/{network.prefixLength}" for network in hosts.ipNetwork] == [str(network) for network in allowed.ranges]
    back = {
        "allIp": hosts.allIp,
        "ipAddress": list(hosts.ipAddress),
        "ipNetwork": [{"network": n.network, "prefixLength": n.prefixLength} for n in hosts.ipNetwork],
    }
    read = firewall.observe(base({**SSH, "allowedHosts": back}), {}).all()["sshServer"].allowed
    assert read == allowed and read.networks == allowed.networks

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans that would cut off somebody whom a host has to hear: each peer, each way, each release.

The simulator enforces its firewalls, so a host that was shut off really drops out of vCenter, and a stand-alone host
really takes no new connection. Whether a peer is heard is asked of the simulator, never of the collection.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from tests.integration.driver import run
from tests.simulator import Simulator

Start = Callable[..., Simulator]
PROFILES = ("6.7", "7.0.0", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0")
# Rules of our own, judged on a simulator that is as each release: that is no matter of ansible-core's release or Python's.
pytestmark = pytest.mark.newest_only
US, VCENTER = "198.51.100.7", "192.0.2.2"


class Way(NamedTuple):
    """One way in or out of a host: who is on the other end, and the rulesets that open it."""

    who: str
    address: str
    direction: str
    protocol: str
    port: int
    rulesets: tuple[str, ...]
    service: str = ""


WAYS = (
    Way("control node", US, "inbound", "tcp", 443, ("vSphereClient",)),
    Way("control node by SSH", US, "inbound", "tcp", 22, ("sshServer",), "ssh"),
    Way("vCenter", VCENTER, "inbound", "tcp", 443, ("vSphereClient",)),
    Way("vCenter file copy", VCENTER, "inbound", "tcp", 902, ("vSphereClient", "NFC"), "vcenter_agent"),
    Way("heartbeat", VCENTER, "outbound", "udp", 902, ("vpxHeartbeats",), "vcenter_agent"),
    Way("time server", "192.0.2.11", "outbound", "udp", 123, ("ntpClient", "activeDirectoryAll")),
    Way("name server", "192.0.2.53", "outbound", "udp", 53, ("dns",), "dns"),
    Way("iSCSI target", "203.0.113.30", "outbound", "tcp", 3260, ("iSCSI",), "iscsi"),
    Way("vSAN", "192.0.2.90", "inbound", "tcp", 2233, ("rdt",), "vsan_transport"),
    Way("DHCP server", "192.0.2.91", "inbound", "udp", 68, ("dhcp",), "dhcp"),
)
KIND = {"DHCP server": "DHCP", "vSAN": "vSAN"}
# What the first 24 bits of the peer become when somebody mistypes them.
TYPO = {"198.51.100": "198.51.101.0/24", "192.0.2": "192.0.3.0/24", "203.0.113": "203.0.114.0/24"}


# What no release takes, or what opens another way to the same peer: these threaten nobody anywhere.
HARMLESS = {
    "disable": ("control node", "control node by SSH", "vCenter", "vCenter file copy"),
    "close the port": ("control node", "control node by SSH", "vCenter", "vCenter file copy", "name server", "vSAN"),
    "close the service": ("control node by SSH",),
    "list of the port": ("vCenter file copy",),
}


def listed(key: str, address: str) -> dict[str, Any]:
    """Open to the peer, and to whom else the ruleset has to serve for the host to be there at all."""
    others = {US, VCENTER} - {address} if key == "vSphereClient" else set()
    return {"enabled": True, "allowed_hosts": {"ip_address": [address, *sorted(others)]}}


def shut(way: Way) -> dict[str, Any]:
    return {key: {"enabled": False} for key in way.rulesets if key not in ("vSphereClient", "sshServer")} | {
        key: {"enabled": True, "allowed_hosts": {"ip_address": ["203.0.113.99"]}}
        for key in way.rulesets
        if key in ("vSphereClient", "sshServer")
    }


def next_door(address: str) -> str:
    """The network beside the peer's: one bit of it is wrong."""
    own = ipaddress.IPv4Network(f"{address}/29", strict=False)
    return str(ipaddress.IPv4Network((int(own.network_address) ^ own.num_addresses, own.prefixlen)))


def all_but(address: str) -> list[str]:
    """The peer's neighbours up to both sides of it: everybody but the peer."""
    own = ipaddress.IPv4Network(f"{address}/28", strict=False)
    return sorted(str(network) for network in own.address_exclude(ipaddress.IPv4Network(address)))


def plans() -> dict[str, tuple[Way, dict[str, Any], dict[str, Any]]]:
    """Name -> the way that is cut, what the host has before, what is asked of it."""
    found = {}
    for way in WAYS:
        typo = TYPO[way.address.rpartition(".")[0]]
        whole = {key: {"enabled": True} for key in way.rulesets if key != "activeDirectoryAll"}
        just = {key: listed(key, way.address) for key in way.rulesets if key != "activeDirectoryAll"}
        others = {key: entry["allowed_hosts"]["ip_address"][1:] for key, entry in just.items()}
        port = {"port": str(way.port), "protocol": way.protocol, "direction": way.direction}
        block = {"incoming_blocked" if way.direction == "inbound" else "outgoing_blocked": False}
        asked: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "list": (whole, {"rules": [{"name": key, "allowed_hosts": {"ip_address": ["203.0.113.99"]}} for key in whole]}),
            "typo": (just, {"rules": [{"name": key, "allowed_hosts": {"ip_address": others[key], "ip_network": [typo]}} for key in just]}),
            "nobody": (just, {"rules": [{"name": key, "allowed_hosts": {"ip_address": []}} for key in just]}),
            "remove": (
                just,
                {"rules": [{"name": k, "allowed_hosts": {"ip_address": [way.address]}, "allowed_hosts_mode": "remove"} for k in just]},
            ),
            "all_ip: false": (whole, {"rules": [{"name": key, "allowed_hosts": {"all_ip": False}} for key in whole]}),
            "next door": (
                just,
                {"rules": [{"name": k, "allowed_hosts": {"ip_address": others[k], "ip_network": [next_door(way.address)]}} for k in just]},
            ),
            "missed by one": (
                just,
                {"rules": [{"name": k, "allowed_hosts": {"ip_address": others[k], "ip_network": all_but(way.address)}} for k in just]},
            ),
            "list and more": (
                whole,
                {
                    "rules": [
                        {"name": "webAccess", "enabled": False},
                        *({"name": k, "allowed_hosts": {"ip_network": [typo]}} for k in whole),
                    ],
                    "services": [{"name": "wake_on_lan"}],
                },
            ),
            "exclusive and policy": (
                {"rulesets": whole, "default_policy": block},
                {"rules": [{"name": "syslog", "enabled": True}], "exclusive": True, "default_policy": dict.fromkeys(block, True)},
            ),
            "disable": (whole, {"rules": [{"name": key, "enabled": False} for key in whole]}),
            "close the port": (whole, {"ports": [{**port, "state": "closed"}]}),
            "list of the port": (whole, {"ports": [{**port, "allowed_hosts": {"ip_network": [typo]}}]}),
            "exclusive": (whole, {"rules": [{"name": "syslog", "enabled": True}], "exclusive": True}),
            "restore": (whole, {"restore": {"rulesets": shut(way)}}),
            "policy": ({"rulesets": shut(way), "default_policy": block}, {"default_policy": dict.fromkeys(block, True)}),
        }
        if way.service:
            asked["close the service"] = (whole, {"services": [{"name": way.service, "state": "closed"}]})
            asked["list of the service"] = (whole, {"services": [{"name": way.service, "allowed_hosts": {"ip_network": [typo]}}]})
        for name, (before, wish) in asked.items():
            if way.who in HARMLESS.get(name, ()):
                continue
            given = before if "rulesets" in before else {"rulesets": before}
            found[f"{way.who}: {name}"] = (way, given, wish)
    return found


PLANS = plans()


def site(given: dict[str, Any], profile: str, *, kind: str = "vcenter", **options: Any) -> dict[str, Any]:
    host: dict[str, Any] = {
        "profile": profile,
        "name": f"esx-{profile}.example.com",
        "services": {"ntpd": {"running": True, "policy": "on"}, "TSM-SSH": {"running": True, "policy": "on"}},
        "time": {"servers": ["192.0.2.11"]},
        "dhcp": True,
        "vsan": True,
        "iscsi": [{"address": "203.0.113.30"}],
        **given,
        "options": options,
    }
    # On some releases a service opens these, and on others nobody has yet: what a plan starts from is open.
    host["rulesets"] = {**{key: {"enabled": True} for key in ("iSCSI", "rdt", "cmmds", "dhcp", "ntpClient")}, **host["rulesets"]}
    return {"kind": kind, "client_address": US, "hosts": [host]} | ({} if kind == "esxi" else {"vcenter": {"address": VCENTER}})


def fleet(given: dict[str, Any], **options: Any) -> dict[str, Any]:
    sites = [site(given, profile, **options) for profile in PROFILES]
    short = {"address": VCENTER, "options": {"heartbeat_timeout": 1}}
    return {**sites[0], "vcenter": short, "hosts": [each["hosts"][0] for each in sites]}


def heard(sim: Simulator) -> dict[tuple[str, str], bool]:
    """Host and peer -> whether the simulator's firewall lets them talk."""
    found = {}
    with sim.world.lock:
        for item in sim.world.hosts:
            for way in WAYS:
                asks = item.state.lets_in_from if way.direction == "inbound" else item.state.lets_out_to
                found[item.state.name, way.who] = asks(way.protocol, way.port, way.address)
    return found


def ours(sim: Simulator, **options: Any) -> dict[str, Any]:
    """The module on every host. ``restore`` may name a scenario: then it is a record of hosts that are like that."""
    if isinstance(given := options.get("restore"), dict):
        (host,) = sim.state()["hosts"].values() if sim.world.kind == "esxi" else (None,)
        scene = site(given, host["profile"], kind="esxi") if host else fleet(given)
        with tempfile.TemporaryDirectory() as folder, Simulator(scenario=scene) as other:
            made = ours(other, backup=True, backup_dir=folder, rules=[{"name": "gdbserver", "enabled": True}])
            return ours(sim, **{**options, "restore": made["backup_file"]})
    return run(sim, "esxi_firewall_ports", esxi_hostname=["*"] if sim.world.kind == "vcenter" else [], **options)


def settings(sim: Simulator) -> dict[str, Any]:
    """What a firewall is; the order of a list means nothing."""
    found = {}
    for name, host in sim.state()["hosts"].items():
        rulesets = {key: {**entry, "ip_address": set(entry["ip_address"])} for key, entry in host["rulesets"].items()}
        found[name] = (rulesets, host["default_policy"])
    return found


@functools.cache
def lost_with_leave(name: str) -> frozenset[tuple[str, str]]:
    """Host and peer that a plan parts where it may, and where nobody looks after the hosts; the simulator says which."""
    _way, given, wish = PLANS[name]
    with Simulator(scenario=fleet(given)) as sim:
        before = heard(sim)
        ours(sim, allow_lockout=True, **wish)
        assert sim.errors == []
        return frozenset(key for key, could in heard(sim).items() if before[key] and not could)


def refused(told: dict[str, Any]) -> list[str]:
    """What a host's report says of parts that were left out for a peer's sake."""
    return [finding["text"] for finding in told["findings"] if finding["code"] == "lockout_refused"]


def kept(told: dict[str, Any]) -> list[str]:
    """What it says of rulesets that stay open though they are not listed."""
    texts = [finding["text"] for finding in told["findings"] if finding["code"] == "exclusive_kept"]
    return [text for text in texts if "would cut somebody off" in text]


@pytest.mark.parametrize("name", PLANS)
def test_without_leave_nobody_is_lost(simulator: Start, name: str) -> None:
    """And the report says so of exactly those hosts that would lose somebody."""
    _way, given, wish = PLANS[name]
    sim = simulator(fleet(given))
    before = heard(sim)
    result = ours(sim, **wish)
    assert [key for key, could in heard(sim).items() if before[key] and not could] == []
    sim.advance(90)
    assert {host["connection"] for host in sim.state()["hosts"].values()} == {"connected"}
    would: dict[str, set[str]] = {}
    for host, who in lost_with_leave(name):
        would.setdefault(host, set()).add(who)
    assert {host for host, told in result["hosts"].items() if refused(told) or kept(told)} == set(would), would
    for host, lost in would.items():
        told = result["hosts"][host]
        for way in WAYS:
            if way.who in lost:
                # Who has no address of its own is named by what it is; what is kept open, by its ruleset.
                named = any(word in text for text in refused(told) for word in (way.address, KIND.get(way.who, way.address)))
                assert named or any(key in text for text in kept(told) for key in way.rulesets), (way.who, told["findings"])


def test_every_release_has_sixty_plans_that_would_cut_somebody_off() -> None:
    """A file's tests run in one process, so that most of this is known by now."""
    threatened = {name: {host for host, _who in lost_with_leave(name)} for name in PLANS}
    assert [name for name, hosts in threatened.items() if not hosts] == []
    count = Counter(host for hosts in threatened.values() for host in hosts)
    assert set(count) == {f"esx-{profile}.example.com" for profile in PROFILES} and min(count.values()) >= 60, count
    assert {who for name in PLANS for _host, who in lost_with_leave(name)} == {way.who for way in WAYS}


def patience(name: str) -> float:
    """A host that cannot send heartbeats shows only after the simulator's second, and on a busy machine later than that."""
    return (
        1.5 if name.startswith("heartbeat") or name.endswith(("exclusive", "policy", "close the service", "list of the service")) else 0.5
    )


# A host that loses one of the others stays reachable, and what it does then is the same for each of them.
BACK = [
    name
    for name, (way, _given, _wish) in PLANS.items()
    if way.address in (US, VCENTER) or name.partition(": ")[2] in ("list", "disable", "exclusive", "policy", "restore")
]


@pytest.mark.parametrize("name", BACK)
def test_with_leave_every_host_comes_back(simulator: Start, name: str) -> None:
    _way, given, wish = PLANS[name]
    sim = simulator(fleet(given))
    before = settings(sim)
    result = ours(sim, allow_lockout=True, verify_reachable=patience(name), **wish)
    after = settings(sim)
    sim.advance(90)
    state = sim.state()["hosts"]
    for host, told in result["hosts"].items():
        assert state[host]["connection"] == "connected", (host, told)
        assert state[host]["lets_vcenter_in"] and state[host]["lets_heartbeats_out"], (host, told)
        if told.get("undone"):
            assert told["failure"]["kind"] == "cut_off" and "taken back" in told["failure"]["cause"]
            assert told["status"] == "failed" and not told["changed"] and after[host] == before[host]
        else:
            assert told["failure"] is None or told["failure"]["kind"] == "not_compliant", told
            assert told["changed"] == (before[host] != after[host])


@pytest.mark.parametrize(("name", "cut"), [("vCenter: list", 7), ("vCenter: policy", 7), ("heartbeat: disable", 3)])
def test_hosts_that_were_cut_off_are_brought_back_and_told(simulator: Start, name: str, cut: int) -> None:
    _way, given, wish = PLANS[name]
    sim = simulator(fleet(given))
    result = ours(sim, allow_lockout=True, verify_reachable=patience(name), **wish)
    assert sum(bool(told.get("undone")) for told in result["hosts"].values()) == cut
    reconnected = {entry.host for entry in sim.journal if entry.method == "ReconnectHost_Task" and entry.status == "ok"}
    assert len(reconnected) == (cut if name.startswith("heartbeat") else 0), (
        "blocked heartbeats show in vCenter only, and by then it dropped them"
    )
    assert "taken back and it is reachable again" in result["msg"]


def test_the_judge_sees_hosts_drop_out_where_nobody_looks_after_them(simulator: Start) -> None:
    """The same plans without verify_reachable do cut hosts off, or the tests above would prove nothing."""
    dropped = {}
    for name in ("vCenter: list", "heartbeat: disable", "vCenter: policy", "heartbeat: close the port"):
        _way, given, wish = PLANS[name]
        sim = simulator(fleet(given))
        result = ours(sim, allow_lockout=True, **wish)
        sim.advance(90)
        dropped[name] = sum(host["connection"] == "notResponding" for host in sim.state()["hosts"].values())
        told = [finding["code"] for host in result["hosts"].values() for finding in host["findings"]]
        assert "lockout_allowed" in told
    assert dropped["vCenter: list"] == len(PROFILES) and min(dropped.values()) >= 3, dropped


# A stand-alone host that is shut to us cannot be asked for a record.
STANDALONE = [name for name in PLANS if name.startswith("control node") and name != "control node: restore"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", STANDALONE)
def test_a_stand_alone_host_keeps_hearing_us(simulator: Start, name: str, profile: str) -> None:
    _way, given, wish = PLANS[name]
    sim = simulator(site(given, profile, kind="esxi"))
    before = heard(sim)
    ours(sim, **wish)
    assert [key for key, could in heard(sim).items() if before[key] and not could] == []
    ours(sim, **wish)


@pytest.mark.parametrize("profile", ["6.7", "8.0.2", "8.0.3"])
@pytest.mark.parametrize("name", [name for name in STANDALONE if "SSH" not in name])
def test_a_stand_alone_host_comes_back(simulator: Start, name: str, profile: str) -> None:
    _way, given, wish = PLANS[name]
    sim = simulator(site(given, profile, kind="esxi"))
    before = settings(sim)
    result = ours(sim, allow_lockout=True, verify_reachable=0.3, **wish)
    (told,) = result["hosts"].values()
    assert all(heard(sim)[key] for key in heard(sim) if key[1] == "control node")
    if told.get("undone"):
        assert told["failure"]["kind"] == "cut_off" and "reachable again" in told["failure"]["cause"]
        assert settings(sim) == before
    ours(sim, rules=[{"name": "syslog", "enabled": True}])


def test_a_managed_host_asked_directly_keeps_hearing_its_vcenter(simulator: Start) -> None:
    data = site({"rulesets": {}}, "8.0.3", kind="esxi")
    data["hosts"][0]["managed_by"] = VCENTER
    sim = simulator(data)
    result = ours(sim, rules=[{"name": "vSphereClient", "allowed_hosts": {"ip_address": [US]}}])
    (told,) = result["hosts"].values()
    assert f"vCenter {VCENTER} (tcp/443 inbound)" in told["failure"]["cause"]


@pytest.mark.parametrize("kind", ["vcenter", "esxi"])
def test_where_the_standing_connection_is_cut_too_the_loss_is_told(simulator: Start, kind: str) -> None:
    """Nobody documents whether a real host cuts it. Then nothing can be taken back, and the report must not say otherwise."""
    data = site({"rulesets": {}}, "8.0.3", kind=kind, firewall_established="cut")
    sim = simulator(data)
    wish = {"rules": [{"name": "vSphereClient", "allowed_hosts": {"ip_address": ["203.0.113.99"]}}]}
    result = ours(sim, allow_lockout=True, verify_reachable=0.3, connect_timeout=2, **wish)
    (told,) = result["hosts"].values()
    assert told["status"] in ("failed", "unreachable") and told["changed"], told
    assert told["failure"]["kind"] == "cut_off" and "could not be taken back" in told["failure"]["cause"], told
    assert "console" in told["failure"]["hint"]
    with contextlib.suppress(FleetcareError):
        ours(sim, connect_timeout=1, **wish)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls that are enforced: on the heartbeat, on vCenter's own way in, on a client's way to a stand-alone host."""

from __future__ import annotations

import http.client
import ssl
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from tests.simulator import ScenarioError, Simulator
from tests.unit.simulator.conftest import Raw, client, read

VCENTER = "192.0.2.2"
CLIENT = "198.51.100.7"
IpList = vim.host.Ruleset.IpList
Finder = Callable[[str], Any]


def allow(*addresses: str, all_ip: bool = False) -> Any:
    return vim.host.Ruleset.RulesetSpec(allowedHosts=IpList(allIp=all_ip, ipAddress=list(addresses), ipNetwork=[]))


class Case:
    """One host and a client; the addresses of vCenter and of the client are the scenario's."""

    def __init__(self, sim: Simulator, si: Any) -> None:
        self.sim, self.si = sim, si
        self.host = si.content.searchIndex.FindByDnsName(None, "h", False)
        self.firewall = self.host.configManager.firewallSystem
        self.datacenter = si.content.rootFolder.childEntity[0]

    @property
    def state(self) -> dict[str, Any]:
        return self.sim.state()["hosts"]["h"]

    @property
    def connection(self) -> str:
        """As a client reads it, which must agree with the state dump."""
        read = str(self.host.runtime.connectionState)
        assert read == self.state["connection"]
        return read

    def shut(self, key: str = "vSphereClient") -> None:
        self.firewall.UpdateRuleset(key, allow("203.0.113.1"))

    def open(self, key: str = "vSphereClient") -> None:
        """From outside: somebody at the host's console."""
        self.sim.act("set_ruleset", key=key, all_ip=True)

    def reconnect(self) -> None:
        WaitForTask(self.host.ReconnectHost_Task(None, None), si=self.si)

    def knock(self, name: str = "h", port: int = 443, thumbprint: str | None = None) -> Any:
        return self.datacenter.QueryConnectionInfo(name, port, "root", "Secret-of-the-host", thumbprint)

    def events(self) -> list[str]:
        return [event for event in (type(one).__name__ for one in self.sim.world.events) if "vim.event.Host" in event]


def world(**more: Any) -> dict[str, Any]:
    return {"name": "wall", "hosts": [{"name": "h", **more.pop("host", {})}], **more}


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with Simulator(getattr(request, "param", world())) as sim, client(sim) as si:
        yield Case(sim, si)
        assert sim.errors == []


def cases(*scenarios: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("case", scenarios, indirect=True)


CUT_VCENTER = world(vcenter={"options": {"firewall_established": "cut"}})
CUT_HOST = world(host={"options": {"firewall_established": "cut"}})


# ---- what a firewall admits -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("allowed", "peer", "admitted"),
    [
        ({"all_ip": True}, VCENTER, True),
        ({"ip_address": [VCENTER]}, VCENTER, True),
        ({"ip_address": ["192.0.2.20"]}, VCENTER, False),
        ({"ip_network": ["192.0.2.77/24"]}, VCENTER, True),
        ({"ip_network": ["192.0.3.0/24"]}, VCENTER, False),
        ({"ip_address": ["2001:DB8:0::A"]}, "2001:db8::a", True),
        ({"ip_network": ["2001:DB8::/32"]}, VCENTER, False),
        ({}, VCENTER, False),
    ],
)
def test_address_lists(allowed: dict[str, Any], peer: str, admitted: bool) -> None:
    host = Simulator(world(host={"rulesets": {"vSphereClient": {"allowed_hosts": allowed}}})).world.hosts[0].state
    assert host.lets_in_from("tcp", 443, peer) is admitted
    assert not host.lets_in_from("udp", 443, peer) and not host.lets_in_from("tcp", 444, peer)


def test_wide_open_rulesets_and_the_default_policy_admit_too() -> None:
    host = Simulator(world()).world.hosts[0].state
    assert not host.lets_in_from("tcp", 1234, CLIENT) and not host.lets_out_to("tcp", 4444, CLIENT)
    sim = Simulator(world(host={"rulesets": {"gdbserver": {"enabled": True}, "vSPC": {"enabled": True}}}))
    host = sim.world.hosts[0].state
    assert host.lets_in_from("tcp", 1234, CLIENT) and host.lets_out_to("tcp", 4444, CLIENT) and not host.lets_out_to("udp", 4444, CLIENT)
    sim.act("default_policy", incoming_blocked=False)
    assert host.lets_in_from("udp", 7, CLIENT) and not host.lets_out_to("udp", 7, CLIENT)
    sim.act("default_policy", outgoing_blocked=False)
    assert host.lets_out_to("udp", 7, CLIENT)
    assert sim.state()["hosts"]["h"]["default_policy"] == {"incoming_blocked": False, "outgoing_blocked": False}


def test_a_question_is_answered_once_for_hosts_that_are_alike() -> None:
    one, two = (item.state for item in Simulator({"hosts": [{"count": 2}]}).world.hosts)
    assert one.rulesets is two.rulesets
    assert set(one.rulesets.asked) >= {("inbound", "tcp", 443, VCENTER), ("outbound", "udp", 902, VCENTER)}


# ---- vCenter and its hosts ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["vSphereClient", "vpxHeartbeats"])
def test_a_shut_way_costs_the_connection_after_a_minute_and_comes_back_by_itself(case: Case, way: str) -> None:
    case.shut(way)
    case.sim.advance(58)
    assert case.connection == "connected"
    case.firewall.RefreshFirewall()  # the connection that stands is used on
    case.sim.advance(3)
    assert case.connection == "notResponding" and case.host.summary.runtime.connectionState == "notResponding"
    with pytest.raises(vmodl.fault.HostNotReachable):
        case.firewall.RefreshFirewall()
    assert case.events() == ["vim.event.HostConnectionLostEvent"]
    lets_in, lets_out = case.state["lets_vcenter_in"], case.state["lets_heartbeats_out"]
    assert (lets_in, lets_out) == (way != "vSphereClient", way != "vpxHeartbeats")
    case.open(way)
    assert case.connection == "connected"
    assert case.events() == ["vim.event.HostConnectionLostEvent", "vim.event.HostConnectedEvent"]
    case.firewall.RefreshFirewall()


def test_a_way_that_opens_in_time_was_never_shut(case: Case) -> None:
    for _turn in range(3):
        case.shut()
        case.sim.advance(50)
        case.firewall.UpdateRuleset("vSphereClient", allow(VCENTER))
    assert case.connection == "connected" and case.events() == []


def test_each_way_has_its_own_minute(case: Case) -> None:
    case.shut("vSphereClient")
    case.sim.advance(40)
    case.shut("vpxHeartbeats")
    case.open("vSphereClient")
    case.sim.advance(40)
    assert case.connection == "connected"
    case.sim.advance(21)
    assert case.connection == "notResponding"


@cases(world(vcenter={"address": "2001:db8::2", "options": {"heartbeat_timeout": 5}}))
def test_address_and_timeout_are_the_scenarios(case: Case) -> None:
    assert case.host.summary.managementServerIp == "2001:db8::2" == case.sim.state()["address"]
    case.firewall.UpdateRuleset("vpxHeartbeats", allow("2001:DB8:0:0::2"))
    case.sim.advance(20)
    assert case.connection == "connected"
    case.firewall.UpdateRuleset("vpxHeartbeats", allow(VCENTER))
    case.sim.advance(6)
    assert case.connection == "notResponding"


@cases(world(vcenter={"options": {"heartbeat_timeout": 0.3}}))
def test_a_waiting_client_is_told(case: Case) -> None:
    """The flip happens in real time as well, and without a call of anybody else."""
    collector = vmodl.query.PropertyCollector
    wanted = collector.PropertySpec(type=vim.HostSystem, pathSet=["runtime.connectionState"])
    spec = collector.FilterSpec(propSet=[wanted], objectSet=[collector.ObjectSpec(obj=case.host)])
    found = case.si.content.propertyCollector.CreateFilter(spec, True)
    version = case.si.content.propertyCollector.WaitForUpdatesEx("", None).version
    case.shut()
    update = case.si.content.propertyCollector.WaitForUpdatesEx(version, collector.WaitOptions(maxWaitSeconds=10))
    assert update.filterSet[0].objectSet[0].changeSet[0].val == "notResponding"
    found.Destroy()


def test_a_closed_daemon_closes_the_heartbeats_with_it(case: Case) -> None:
    """vpxa owns vpxHeartbeats from 8.0 U2 on."""
    case.host.configManager.serviceSystem.StopService("vpxa")
    case.sim.advance(61)
    assert case.connection == "notResponding" and case.state["lets_heartbeats_out"] is False


def test_the_default_policy_opens_what_the_rulesets_shut(case: Case) -> None:
    case.shut()
    case.sim.advance(61)
    assert case.connection == "notResponding"
    case.sim.act("default_policy", incoming_blocked=False)
    assert case.connection == "connected"


def test_what_somebody_decided_stays(case: Case) -> None:
    for state, action in (("disconnected", "disconnect"), ("notResponding", "not_responding")):
        case.sim.act(action)
        case.sim.act("set_ruleset", key="vSphereClient", all_ip=False)
        case.sim.advance(100)
        assert case.connection == state
        case.open()
        assert case.connection == state, "the firewall was not why"
    case.sim.act("reconnect")
    assert case.connection == "connected"


def test_a_decision_beats_a_loss(case: Case) -> None:
    case.shut()
    case.sim.advance(61)
    case.sim.act("not_responding")
    case.open()
    assert case.connection == "notResponding"


@cases(CUT_VCENTER, CUT_HOST)
def test_connections_may_be_cut_at_once(case: Case) -> None:
    case.shut()  # this call still gets its answer
    with pytest.raises(vmodl.fault.HostNotReachable):
        case.firewall.RefreshFirewall()
    assert case.connection == "notResponding"
    case.open()
    assert case.connection == "connected"
    case.shut("vpxHeartbeats")
    case.firewall.RefreshFirewall()
    assert case.connection == "connected", "a heartbeat is no connection that could be cut"


def test_a_host_that_begins_shut_has_its_minute_too() -> None:
    rulesets = {"vpxHeartbeats": {"enabled": False}}
    with Simulator(world(host={"rulesets": rulesets})) as sim:
        assert sim.state()["hosts"]["h"]["connection"] == "connected"
        sim.advance(61)
        assert sim.state()["hosts"]["h"]["connection"] == "notResponding"
        sim.reset()
        assert sim.state()["hosts"]["h"]["connection"] == "connected"


def test_only_hosts_that_are_shut_cost_anything() -> None:
    sim = Simulator("fleet", hosts=5000)
    sim.act("set_ruleset", "esx-0001*", key="vSphereClient", all_ip=False)
    steps: list[str] = []

    def step(_frame: Any, event: str, _argument: Any) -> Any:
        steps.append(event)
        return step

    sys.settrace(step)
    try:
        sim.world.ways.tick()
    finally:
        sys.settrace(None)
    assert 0 < len(steps) < 100, "the one that is shut, not each of 5,000"
    sim.advance(61)
    lost = [name for name, host in sim.state()["hosts"].items() if host["connection"] == "notResponding"]
    assert lost == ["esx-0001.example.com"]


# ---- reconnecting -------------------------------------------------------------------------------------------------------------------
def test_reconnecting_gives_a_new_minute_while_heartbeats_stay_shut(case: Case) -> None:
    case.shut("vpxHeartbeats")
    case.sim.advance(61)
    assert case.connection == "notResponding"
    for _turn in range(2):
        case.reconnect()
        case.sim.advance(50)
        assert case.connection == "connected"
        case.sim.advance(11)
        assert case.connection == "notResponding"


def test_reconnecting_needs_the_way_in(case: Case) -> None:
    case.shut()
    case.sim.advance(61)
    with pytest.raises(vim.fault.NoHost) as caught:
        case.reconnect()
    assert caught.value.name == "h" and "Cannot contact the specified host (h)" in str(vars(caught.value)["msg"])
    case.open()
    case.reconnect()
    writes = [(entry.method, entry.write) for entry in case.sim.journal if entry.method == "ReconnectHost_Task"]
    assert case.connection == "connected" and writes == [("ReconnectHost_Task", True)] * 2


def test_reconnecting_after_a_decision(case: Case) -> None:
    WaitForTask(case.host.DisconnectHost_Task(), si=case.si)
    assert case.connection == "disconnected"
    case.reconnect()
    assert case.connection == "connected"
    case.sim.act("not_responding")
    with pytest.raises(vim.fault.NoHost):
        case.reconnect()
    case.sim.act("disconnect")
    case.sim.act("set_ruleset", key="vSphereClient", all_ip=False)
    with pytest.raises(vim.fault.NoHost):
        case.reconnect()
    assert case.connection == "disconnected"


def test_reconnecting_checks_a_thumbprint_that_is_given(case: Case) -> None:
    def spec(thumbprint: str) -> Any:
        return vim.host.ConnectSpec(force=False, userName="root", password="Secret-of-the-host", sslThumbprint=thumbprint)

    with pytest.raises(vim.fault.SSLVerifyFault):
        WaitForTask(case.host.ReconnectHost_Task(spec("00:11"), None), si=case.si)
    WaitForTask(case.host.ReconnectHost_Task(spec(case.host.summary.config.sslThumbprint), None), si=case.si)
    assert "Secret-of-the-host" not in str([entry.as_dict() for entry in case.sim.journal])


# ---- a new connection ---------------------------------------------------------------------------------------------------------------
def test_a_new_connection_finds_out(case: Case) -> None:
    own = case.host.summary.config.sslThumbprint
    address = case.host.config.network.vnic[0].spec.ip.ipAddress
    for name in ("h", "H", address):
        for given in (None, "00:11"):
            with pytest.raises(vim.fault.SSLVerifyFault) as caught:
                case.knock(name, thumbprint=given)
            assert (caught.value.thumbprint, caught.value.selfSigned) == (own, True)
        with pytest.raises(vim.fault.InvalidLogin):
            case.knock(name, thumbprint=own)
    for name, port in (("nobody", 443), ("h", 902), ("h", 8080)):
        with pytest.raises(vim.fault.NoHost) as nobody:
            case.knock(name, port, own)
        assert nobody.value.name == name
    case.shut()
    case.firewall.RefreshFirewall()
    with pytest.raises(vim.fault.NoHost):
        case.knock(thumbprint=own)
    assert case.connection == "connected", "the connection that stands says nothing about the next one"
    asked = [entry for entry in case.sim.journal if entry.method == "QueryConnectionInfo"]
    assert {(entry.write, entry.args["password"]) for entry in asked} == {(False, "********")}
    assert "Secret-of-the-host" not in str([entry.as_dict() for entry in case.sim.journal])


def test_a_host_without_heartbeats_can_be_asked_and_one_that_is_gone_cannot(case: Case) -> None:
    case.shut("vpxHeartbeats")
    case.sim.advance(61)
    assert case.connection == "notResponding"
    with pytest.raises(vim.fault.SSLVerifyFault):
        case.knock()
    for action in ("not_responding", "disconnect"):
        case.sim.act(action)
        with pytest.raises(vim.fault.NoHost):
            case.knock()


# ---- a stand-alone host -------------------------------------------------------------------------------------------------------------
def alone(**options: Any) -> dict[str, Any]:
    return world(kind="esxi", client_address=CLIENT, host={"options": options, "managed_by": VCENTER})


SHUT_OUT = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError, http.client.RemoteDisconnected)


def fresh(sim: Simulator) -> int:
    with Raw(sim) as raw:
        return raw.get("/sdk/vimServiceVersions.xml").status


@cases(alone())
def test_a_client_is_who_the_scenario_says(case: Case) -> None:
    session = case.si.content.sessionManager.currentSession
    assert session.ipAddress == CLIENT == case.si.content.sessionManager.sessionList[0].ipAddress
    assert case.si.content.eventManager.latestEvent.ipAddress == CLIENT
    assert case.host.summary.managementServerIp == VCENTER == case.host.QueryHostConnectionInfo().serverIp
    assert case.sim.state()["client_address"] == CLIENT


@cases(alone())
def test_a_fresh_connection_is_refused_and_an_old_one_survives(case: Case) -> None:
    assert fresh(case.sim) == 200
    case.firewall.UpdateRuleset("vSphereClient", allow(VCENTER, "127.0.0.1"))
    connections = case.sim.summary()["connections"]
    with pytest.raises(SHUT_OUT):
        fresh(case.sim)
    assert case.sim.summary()["connections"] == connections, "nobody at home saw it"
    case.firewall.UpdateRuleset("vSphereClient", allow(VCENTER, CLIENT))
    assert fresh(case.sim) == 200
    case.sim.act("set_ruleset", key="vSphereClient", ip_address=[], ip_network=["203.0.113.0/24"])
    with pytest.raises(SHUT_OUT):
        fresh(case.sim)
    case.sim.act("set_ruleset", key="vSphereClient", ip_network=["198.51.100.9/24"])
    assert fresh(case.sim) == 200
    case.sim.act("set_ruleset", key="vSphereClient", enabled=False)
    case.sim.act("default_policy", incoming_blocked=False)
    assert fresh(case.sim) == 200


@cases(world(kind="esxi"))
def test_without_a_client_address_the_real_peer_counts(case: Case) -> None:
    case.firewall.UpdateRuleset("vSphereClient", allow("127.0.0.1"))
    assert fresh(case.sim) == 200
    case.firewall.UpdateRuleset("vSphereClient", allow(CLIENT))
    with pytest.raises(SHUT_OUT):
        fresh(case.sim)


def test_a_connection_that_stands_may_be_cut() -> None:
    with Simulator(alone(firewall_established="cut")) as sim, Raw(sim) as one, Raw(sim) as two:
        cookie = f"vmware_soap_session={one.login(sim, 'ha-sessionmgr').cookie}"
        assert two.get("/sdk/vimServiceVersions.xml").status == 200
        shut = (
            '<UpdateRuleset xmlns="urn:vim25"><_this type="HostFirewallSystem">firewallSystem</_this><id>vSphereClient</id>'
            "<spec><allowedHosts><ipAddress>192.0.2.2</ipAddress><allIp>false</allIp></allowedHosts></spec></UpdateRuleset>"
        )
        done = one.post(shut, cookie=cookie)
        assert done.status == 200 and "UpdateRulesetResponse" in done.body
        seq = sim.journal[-1].seq
        with pytest.raises(SHUT_OUT):
            two.get("/sdk/vimServiceVersions.xml")
        with pytest.raises(SHUT_OUT):
            one.get("/sdk/vimServiceVersions.xml")
        assert sim.journal_since(seq) == [], "the host has not seen those"
        sim.act("set_ruleset", key="vSphereClient", all_ip=True)
        assert fresh(sim) == 200 and sim.errors == []


@cases(alone())
def test_what_only_a_vcenter_can_do(case: Case) -> None:
    for call in (lambda: case.host.ReconnectHost_Task(None, None), case.host.DisconnectHost_Task, case.knock):
        with pytest.raises(vmodl.fault.NotSupported):
            call()


# ---- what a host depends on ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["firewall", "standalone_firewall"])
def test_the_scenarios_hold_what_they_promise(name: str) -> None:
    with Simulator(name) as sim, client(sim) as si:
        hosts = sim.state()["hosts"]
        sim.advance(120)
        shown = read(si, ["name", "runtime.connectionState", "config.firewall", "summary.managementServerIp"])
        assert {row["summary.managementServerIp"] for row in shown.values()} == {VCENTER}
        gone = {row["name"] for row in shown.values() if row["runtime.connectionState"] != "connected"}
        unset = {row["name"] for row in shown.values() if row.get("config.firewall") is None}
        if name == "firewall":
            assert {host["profile"] for host in hosts.values()} == {"6.7", "7.0.0", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0"}
            assert (len(hosts), gone, unset) == (15, {"esx-11.example.com"}, {"esx-10.example.com"})
            assert hosts["esx-07.example.com"]["rulesets"]["snmp"]["ip_network"] == ["2001:DB8:AA::5/48"]
        else:
            assert (len(hosts), gone, unset) == (1, set(), set())


PATHS = {
    "config.network.dnsConfig": ("networkSystem", "dnsConfig"),
    "config.storageDevice.hostBusAdapter": ("storageSystem", "storageDeviceInfo.hostBusAdapter"),
    "config.fileSystemVolume.mountInfo": ("storageSystem", "fileSystemVolumeInfo.mountInfo"),
    "config.vsanHostConfig.enabled": ("vsanSystem", "config.enabled"),
}
DEPENDS: dict[str, Any] = {
    "dns": ["192.0.2.53", "2001:db8::53"],
    "dhcp": True,
    "nfs": [
        {"server": "203.0.113.20", "version": 3},
        {"server": "nas.example.com", "address": "203.0.113.21"},
        {"server": "203.0.113.22", "version": 41},
    ],
    "iscsi": [{"address": "203.0.113.30"}, {"address": "203.0.113.31", "port": 3261}],
    "vsan": True,
}


@cases(world(host=DEPENDS), world(kind="esxi", host=DEPENDS))
def test_what_a_host_depends_on(case: Case) -> None:
    (row,) = read(case.si, [*PATHS, "config.network.vnic", "config.network.netStackInstance"]).values()
    assert row["config.network.dnsConfig"].address == DEPENDS["dns"]
    assert row["config.network.netStackInstance"][0].dnsConfig.address == DEPENDS["dns"]
    assert row["config.network.vnic"][0].spec.ip.dhcp is True
    block, iscsi = row["config.storageDevice.hostBusAdapter"]
    assert isinstance(block, vim.host.BlockHba) and isinstance(iscsi, vim.host.InternetScsiHba) and iscsi.isSoftwareBased
    assert [(one.address, one.port) for one in iscsi.configuredSendTarget] == [("203.0.113.30", 3260), ("203.0.113.31", 3261)]
    volumes = [one.volume for one in row["config.fileSystemVolume.mountInfo"]]
    assert [type(one) for one in volumes] == [vim.host.VmfsVolume, *[vim.host.NasVolume] * 3]
    assert [(one.type, one.remoteHost, list(one.remoteHostNames)) for one in volumes[1:]] == [
        ("NFS", "203.0.113.20", ["203.0.113.20"]),
        ("NFS", "nas.example.com", ["nas.example.com"]),
        ("NFS41", "203.0.113.22", ["203.0.113.22"]),
    ]
    assert row["config.vsanHostConfig.enabled"] is True
    stores = {one.name: one for one in case.host.datastore}
    assert [stores[one.name].summary.type for one in volumes] == ["VMFS", "NFS", "NFS", "NFS41"]
    assert stores["nfs-nas.example.com"].info.nas.remoteHost == "nas.example.com"
    assert case.host.parent.datastore == case.host.datastore == case.datacenter.datastore
    allowed = {one.key: one for one in case.firewall.firewallInfo.ruleset}
    assert allowed["nfsClient"].enabled and allowed["nfs41Client"].enabled and allowed["nfs41Client"].allowedHosts.allIp
    v3 = allowed["nfsClient"].allowedHosts
    assert (v3.allIp, list(v3.ipAddress)) == (False, ["203.0.113.20", "203.0.113.21"])
    state = case.state
    assert (state["dns"], state["dhcp"], state["vsan"], len(state["nfs"])) == (DEPENDS["dns"], True, True, 3)
    # The managers say the same, by the paths they have.
    collector = vmodl.query.PropertyCollector
    for member, path in PATHS.values():
        manager = getattr(case.host.configManager, member)
        wanted = collector.PropertySpec(type=type(manager), pathSet=[path])
        spec = collector.FilterSpec(propSet=[wanted], objectSet=[collector.ObjectSpec(obj=manager)])
        (found,) = case.si.content.propertyCollector.RetrieveContents([spec])
        (same,) = (item for item, source in PATHS.items() if source == (member, path))
        assert str(found.propSet[0].val) == str(row[same])


def test_a_plain_host_depends_on_little(case: Case) -> None:
    storage = case.host.configManager.storageSystem
    assert [type(one) for one in storage.storageDeviceInfo.hostBusAdapter] == [vim.host.BlockHba]
    assert storage.storageDeviceInfo.softwareInternetScsiEnabled is False
    assert [one.volume.type for one in storage.fileSystemVolumeInfo.mountInfo] == ["VMFS"]
    assert case.host.configManager.vsanSystem.config.enabled is False and case.host.config.network.dnsConfig.dhcp is False


def test_hosts_share_the_volumes_they_have_in_common() -> None:
    volume = [{"server": "203.0.113.20"}]
    with Simulator({"hosts": [{"count": 2, "nfs": volume}, {"count": 1, "nfs": volume * 2}, {"count": 1}]}) as sim, client(sim) as si:
        (row,) = (item for item in read(si, ["summary.type", "host"], kind=vim.Datastore).values() if item["summary.type"] == "NFS")
        assert len(row["host"]) == 3
        assert sorted(len(item["datastore"]) for item in read(si, ["datastore"]).values()) == [1, 2, 2, 2]
        assert sim.errors == []


# ---- unknown behaviour is an option -------------------------------------------------------------------------------------------------
@cases(*(world(host={"options": {"keeps_list_when_all_ip": keeps}}) for keeps in (True, False)))
def test_the_list_behind_all_ip(case: Case) -> None:
    case.firewall.UpdateRuleset("syslog", allow("192.0.2.1", all_ip=True))
    keeps = case.sim.world.hosts[0].option("keeps_list_when_all_ip")
    assert case.state["rulesets"]["syslog"]["ip_address"] == (["192.0.2.1"] if keeps else [])


@cases(world(), world(host={"options": {"empty_list_fault": "InvalidArgument"}}))
def test_an_empty_list(case: Case) -> None:
    if case.sim.world.hosts[0].option("empty_list_fault"):
        with pytest.raises(vmodl.fault.InvalidArgument):
            case.firewall.UpdateRuleset("syslog", allow())
    else:
        case.firewall.UpdateRuleset("syslog", allow())
    assert case.state["rulesets"]["syslog"]["all_ip"] is bool(case.sim.world.hosts[0].option("empty_list_fault"))
    case.firewall.UpdateRuleset("syslog", allow(all_ip=True))


@cases(world(host={"options": {"firewall_info": "unset"}}))
def test_a_connected_host_may_have_no_firewall_info(case: Case) -> None:
    assert case.firewall.firewallInfo is None and case.host.config.firewall is None and case.connection == "connected"
    assert read(case.si, ["config.firewall", "config.dateTimeInfo"])[case.host._moId].keys() == {"config.dateTimeInfo"}
    case.firewall.EnableRuleset("syslog")
    assert case.state["rulesets"]["syslog"]["enabled"] is True


def test_acting_on_networks(case: Case) -> None:
    assert case.sim.act("set_ruleset", key="syslog", all_ip=False, ip_network=["192.0.2.9/24", "2001:DB8::/32"]) == 1
    assert case.state["rulesets"]["syslog"]["ip_network"] == ["192.0.2.9/24", "2001:DB8::/32"]
    with pytest.raises(ScenarioError, match="ip_network: '192.0.2.0/44' is no network"):
        case.sim.act("set_ruleset", key="syslog", ip_network=["192.0.2.0/44"])

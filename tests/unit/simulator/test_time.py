# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostDateTimeSystem and the clocks behind it: what a change does, and what ntpd makes of it. Facts: facts.md section 2."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.simulator import Simulator
from tests.unit.simulator.conftest import client

SERVERS = {
    "ntp1.example.com": {"address": "192.0.2.11"},
    "ntp2.example.com": {"address": "192.0.2.12"},
    "late.example.com": {"offset": 37.0},
}


def world(profile: str = "8.0.3", **host: Any) -> dict[str, Any]:
    row = {"name": "h", "profile": profile, "services": {"ntpd": {"running": True, "policy": "on"}}, **host}
    if profile in ("6.7", "7.0.0", "7.0.3"):
        row.setdefault("rulesets", {"ntpClient": {"enabled": True}})
    return {"vcenter": {"profile": "9.0"}, "time_servers": SERVERS, "hosts": [row]}


class Case:
    """One host and a client."""

    def __init__(self, sim: Simulator, si: Any) -> None:
        self.sim, self.si = sim, si
        self.host = si.content.searchIndex.FindByDnsName(None, "h", False)
        self.system = self.host.configManager.dateTimeSystem
        self.services = self.host.configManager.serviceSystem
        self.firewall = self.host.configManager.firewallSystem

    @property
    def info(self) -> Any:
        return self.system.dateTimeInfo

    @property
    def state(self) -> dict[str, Any]:
        return self.sim.state()["hosts"]["h"]

    def update(self, **config: Any) -> None:
        self.system.UpdateDateTimeConfig(vim.host.DateTimeConfig(**config))

    def servers(self, *names: str) -> None:
        self.update(ntpConfig=vim.host.NtpConfig(server=list(names)))

    def skew(self) -> float:
        return (self.system.QueryDateTime() - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with Simulator(getattr(request, "param", world())) as sim, client(sim) as si:
        yield Case(sim, si)
        assert sim.errors == []


def cases(*scenarios: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("case", scenarios, indirect=True)


def test_servers_keep_their_order_and_options_and_lose_comments(case: Case) -> None:
    case.servers("ntp2.example.com iburst  minpoll 4 # the near one", "ntp1.example.com")
    assert case.info.ntpConfig.server == ["ntp2.example.com iburst minpoll 4", "ntp1.example.com"]
    lines = case.info.ntpConfig.configFile
    assert lines[-2:] == ["server ntp2.example.com iburst minpoll 4", "server ntp1.example.com"]
    assert "restrict default nomodify notrap nopeer noquery" in lines and "driftfile /etc/ntp.drift" in lines


def test_an_empty_ntp_config_resets_the_servers(case: Case) -> None:
    case.servers("ntp1.example.com")
    case.servers()
    assert case.info.ntpConfig.server == []
    case.servers("ntp1.example.com")
    case.update(timeZone="UTC")
    assert case.info.ntpConfig.server == ["ntp1.example.com"], "an update without ntpConfig leaves the servers alone"


def test_config_file_gives_the_servers_and_ignores_fixed_commands(case: Case) -> None:
    lines = [
        "restrict 192.0.2.0 nomodify",
        "driftfile /tmp/x",
        "tinker panic 0",
        "server ntp1.example.com iburst",
        "server ntp2.example.com",
    ]
    case.update(ntpConfig=vim.host.NtpConfig(configFile=lines))
    assert case.info.ntpConfig.server == ["ntp1.example.com iburst", "ntp2.example.com"]
    kept = case.info.ntpConfig.configFile
    assert "tinker panic 0" in kept and "restrict 192.0.2.0 nomodify" not in kept and "driftfile /tmp/x" not in kept


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"timeZone": "Mars/Olympus"}, vmodl.fault.InvalidArgument),
        ({"protocol": "sundial"}, vmodl.fault.InvalidArgument),
        ({"ptpConfig": vim.host.PtpConfig(port=[vim.host.PtpConfig.PtpPort(index=1)])}, vim.fault.HostConfigFault),
        ({"ptpConfig": vim.host.PtpConfig(domain=256)}, vim.fault.HostConfigFault),
    ],
)
def test_bad_settings_change_nothing(case: Case, config: dict[str, Any], fault: Any) -> None:
    before = case.state
    with pytest.raises(fault):
        case.update(ntpConfig=vim.host.NtpConfig(server=["ntp1.example.com"]), **config)
    assert case.state == before


def test_enabled_starts_and_stops_the_daemon_and_its_ruleset(case: Case) -> None:
    case.update(enabled=False)
    assert case.info.enabled is False and case.state["services"]["ntpd"] == {"running": False, "policy": "on"}
    assert case.state["rulesets"]["ntpClient"]["enabled"] is False
    case.update(enabled=True)
    assert case.state["services"]["ntpd"]["running"] is True and case.state["rulesets"]["ntpClient"]["enabled"] is True


def test_protocol_ptp_runs_the_other_daemon(case: Case) -> None:
    port = vim.host.PtpConfig.PtpPort(index=0, deviceType="virtualNic", device="vmk0")
    case.update(protocol="ptp", ptpConfig=vim.host.PtpConfig(domain=3, port=[port]))
    state = case.state
    assert (state["services"]["ptpd"]["running"], state["services"]["ntpd"]["running"]) == (True, False)
    assert case.info.ptpConfig.domain == 3 and case.info.ptpConfig.port[0].device == "vmk0"
    assert case.info.inFallbackState is None, "only told when fallback is allowed"


def test_factory_reset_comes_before_the_rest_of_the_same_spec(case: Case) -> None:
    case.servers("ntp1.example.com")
    case.update(resetToFactoryDefaults=True, protocol="ntp", ntpConfig=vim.host.NtpConfig(server=["ntp2.example.com"]))
    assert case.info.ntpConfig.server == ["ntp2.example.com"]
    case.update(resetToFactoryDefaults=True)
    assert case.info.ntpConfig.server == []


@cases(world("7.0.0"))
def test_below_7_0_3_the_newer_fields_do_nothing(case: Case) -> None:
    case.update(enabled=False, protocol="ptp", ntpConfig=vim.host.NtpConfig(server=["ntp1.example.com"]))
    assert case.state["services"]["ntpd"]["running"] is True and case.info.enabled is None
    assert case.info.ntpConfig.server == ["ntp1.example.com"]
    with pytest.raises(vmodl.fault.NotSupported):
        case.system.TestTimeService()


def test_time_zones(case: Case) -> None:
    assert [zone.key for zone in case.system.QueryAvailableTimeZones()][0] == "UTC"
    case.update(timeZone="Europe/Berlin")
    assert (case.info.timeZone.key, case.info.timeZone.gmtOffset) == ("Europe/Berlin", 3600)


# ---- clocks ---------------------------------------------------------------------------------------------------------------------
@cases(world(clock={"offset": 90}))
def test_a_clock_is_off_until_servers_answer_and_then_steps(case: Case) -> None:
    assert case.skew() == pytest.approx(90, abs=0.2)
    assert case.info.lastSyncTime is None and case.info.serviceSync is False and case.info.remoteNtpServer is None
    case.servers("ntp1.example.com")
    assert case.skew() == pytest.approx(90, abs=0.2), "ntpd needs a moment"
    case.sim.advance(3)
    assert case.skew() == pytest.approx(0, abs=0.2)
    assert case.info.serviceSync is True and case.info.remoteNtpServer == "ntp1.example.com" and case.info.lastSyncTime is not None
    assert case.sim.state()["hosts"]["h"]["clock_offset"] != 0.0 or abs(case.sim.world.hosts[0].state.clock_offset()) > 0.0001, (
        "never exactly zero"
    )


@cases(world(clock={"offset": 10, "drift_ppm": 100}))
def test_a_clock_drifts_with_virtual_time(case: Case) -> None:
    case.sim.advance(100_000)
    assert case.skew() == pytest.approx(20, abs=0.2)


@cases(world(clock={"offset": 5000}))
def test_ntpd_gives_up_beyond_its_panic_threshold(case: Case) -> None:
    case.servers("ntp1.example.com")
    case.sim.advance(3)
    assert case.state["services"]["ntpd"]["running"] is False
    assert case.skew() == pytest.approx(5000, abs=0.2)
    wanted = vim.event.EventFilterSpec(eventTypeId=["esx.problem.ntpd.clock.correction.error"])
    assert len(case.si.content.eventManager.QueryEvents(wanted)) == 1
    # Step by hand, then start it again: the way out.
    case.system.UpdateDateTime(datetime.datetime.now(datetime.timezone.utc))
    case.services.StartService("ntpd")
    case.sim.advance(3)
    assert case.info.serviceSync is True and case.state["services"]["ntpd"]["running"] is True


def test_a_step_by_hand_is_followed_by_ntpd_again(case: Case) -> None:
    case.servers("ntp1.example.com")
    case.sim.advance(3)
    case.system.UpdateDateTime(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60))
    assert case.skew() == pytest.approx(60, abs=0.2) and case.info.serviceSync is False
    assert case.info.lastSyncTime is not None
    case.sim.advance(3)
    assert case.skew() == pytest.approx(0, abs=0.2)


@cases(world(time={"servers": ["late.example.com"]}))
def test_a_lying_server_is_followed(case: Case) -> None:
    assert case.info.remoteNtpServer == "late.example.com" and case.skew() == pytest.approx(37, abs=0.2)


@cases(world(time={"servers": ["late.example.com", "ntp1.example.com", "ntp2.example.com"]}))
def test_a_majority_outvotes_the_liar(case: Case) -> None:
    assert case.skew() == pytest.approx(0, abs=0.2)


@cases(world(clock={"offset": 5}))
@pytest.mark.parametrize(
    "way",
    ["unknown server", "unreachable server", "unreachable from here", "ip list", "service stopped", "not enabled"],
)
def test_what_keeps_a_host_from_synchronising(case: Case, way: str) -> None:
    server = "nobody.example.com" if way == "unknown server" else "ntp1.example.com"
    if way == "unreachable server":
        case.sim.act("time_server", server=server, reachable=False)
    if way == "unreachable from here":
        case.sim.act("unreachable_servers", "h", servers=[server])
    if way == "ip list":
        hosts = vim.host.Ruleset.IpList(
            allIp=False, ipAddress=[], ipNetwork=[vim.host.Ruleset.IpNetwork(network="198.51.100.0", prefixLength=24)]
        )
        case.firewall.UpdateRuleset("ntpClient", vim.host.Ruleset.RulesetSpec(allowedHosts=hosts))
    case.servers(server)
    if way == "service stopped":
        case.services.StopService("ntpd")
    if way == "not enabled":
        case.update(enabled=False)
    case.sim.advance(30)
    assert case.skew() == pytest.approx(5, abs=0.2) and case.info.serviceSync is False
    result = case.system.TestTimeService()
    assert result.workingNormally is False and result.report
    if way == "ip list":
        hosts.ipNetwork[0] = vim.host.Ruleset.IpNetwork(network="192.0.2.0", prefixLength=24)
        case.firewall.UpdateRuleset("ntpClient", vim.host.Ruleset.RulesetSpec(allowedHosts=hosts))
        case.sim.advance(3)
        assert case.info.serviceSync is True and case.system.TestTimeService().workingNormally is True


def test_a_test_of_the_time_service_is_a_read(case: Case) -> None:
    case.servers("ntp1.example.com", "nobody.example.com")
    before = case.state
    result = case.system.TestTimeService()
    assert result.workingNormally is True
    assert "NTP server nobody.example.com: did not respond." in result.report
    assert case.sim.journal[-1].write is False and case.state == before


@cases(world("6.7", clock={"offset": 5}))
def test_old_daemons_need_a_restart_for_new_servers(case: Case) -> None:
    case.servers("ntp1.example.com")
    case.sim.advance(10)
    assert case.skew() == pytest.approx(5, abs=0.2)
    case.services.RestartService("ntpd")
    case.sim.advance(10)
    assert case.skew() == pytest.approx(0, abs=0.2)


@cases(
    world(
        time={"protocol": "ptp", "ptp_grandmaster": "reachable", "disable_fallback": False, "servers": ["ntp1.example.com"]},
        services={"ptpd": {"running": True, "policy": "on"}, "ntpd": {"running": False, "policy": "off"}},
    )
)
def test_ptp_falls_back_to_ntp_when_allowed(case: Case) -> None:
    info = case.info
    assert (info.serviceSync, info.inFallbackState, info.remoteNtpServer) == (True, False, None) and info.ptpRunTime is not None
    case.sim.act("grandmaster", reachable=False)
    case.sim.advance(3)
    info = case.info
    assert (info.serviceSync, info.inFallbackState, info.remoteNtpServer) == (True, True, "ntp1.example.com")
    case.update(disableFallback=True)
    case.sim.advance(3)
    assert case.info.serviceSync is False and case.info.inFallbackState is None
    case.sim.act("grandmaster", reachable=True)
    case.sim.advance(3)
    assert case.info.serviceSync is True


def test_the_last_sync_time_is_on_the_hosts_clock_and_moves_with_the_polls(case: Case) -> None:
    case.servers("ntp1.example.com")
    case.sim.advance(3)
    first = case.info.lastSyncTime
    assert abs((first - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 3
    case.sim.advance(1000)
    assert 0 <= (datetime.datetime.now(datetime.timezone.utc) - case.info.lastSyncTime).total_seconds() < 65


# ---- services -------------------------------------------------------------------------------------------------------------------
def test_services(case: Case) -> None:
    for method in ("StartService", "StopService", "RestartService", "UninstallService"):
        with pytest.raises(vim.fault.NotFound):
            getattr(case.services, method)("ntpdd")
    case.services.StartService("ntpd")
    case.services.StopService("ntpd")
    case.services.StopService("ntpd")
    assert case.state["services"]["ntpd"] == {"running": False, "policy": "on"} and case.info.enabled is False
    case.services.UpdateServicePolicy("ntpd", "automatic")
    assert case.state["services"]["ntpd"] == {"running": False, "policy": "automatic"}
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.services.UpdateServicePolicy("ntpd", "always")
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.services.StopService("vmsyslogd")
    with pytest.raises(vim.fault.HostConfigFault):
        case.services.UninstallService("ntpd")
    case.services.RefreshServices()


# ---- firewall -------------------------------------------------------------------------------------------------------------------
def test_rulesets_that_a_daemon_owns_cannot_be_toggled(case: Case) -> None:
    for method in (case.firewall.EnableRuleset, case.firewall.DisableRuleset):
        with pytest.raises(vim.fault.HostConfigFault, match="owned by system service"):
            method("ntpClient")
        with pytest.raises(vim.fault.NotFound):
            method("ntpclient")
    with pytest.raises(vim.fault.HostConfigFault):
        case.firewall.DisableRuleset("sshServer")  # required
    everybody = vim.host.Ruleset.RulesetSpec(allowedHosts=vim.host.Ruleset.IpList(allIp=True))
    with pytest.raises(vim.fault.HostConfigFault, match="Can not change allowed ip list this ruleset"):
        case.firewall.UpdateRuleset("nfsClient", everybody)
    case.firewall.UpdateRuleset("ntpClient", everybody)
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.firewall.UpdateRuleset(
            "ntpClient", vim.host.Ruleset.RulesetSpec(allowedHosts=vim.host.Ruleset.IpList(allIp=False, ipAddress=["999.1.1.1"]))
        )
    case.firewall.RefreshFirewall()


@cases(world("8.0.2"))
def test_8_0_2_as_first_shipped_locks_more(case: Case) -> None:
    rows = {row.key: row for row in case.firewall.firewallInfo.ruleset}
    assert (rows["sshServer"].userControllable, rows["vMotion"].ipListUserConfigurable) == (False, False)
    everybody = vim.host.Ruleset.RulesetSpec(allowedHosts=vim.host.Ruleset.IpList(allIp=True))
    with pytest.raises(vim.fault.HostConfigFault):
        case.firewall.UpdateRuleset("vMotion", everybody)


@cases(
    world(
        options={
            "service_owned_toggle_fault": "InvalidState",
            "service_owned_iplist_fault": "NotSupported",
            "required_service_fault": "InvalidState",
        }
    )
)
def test_unknown_fault_classes_are_options(case: Case) -> None:
    with pytest.raises(vim.fault.InvalidState):
        case.firewall.EnableRuleset("ntpClient")
    with pytest.raises(vmodl.fault.NotSupported):
        case.firewall.UpdateRuleset("nfsClient", vim.host.Ruleset.RulesetSpec(allowedHosts=vim.host.Ruleset.IpList(allIp=True)))
    with pytest.raises(vim.fault.InvalidState):
        case.services.StopService("vmsyslogd")


@cases(world("7.0.3", services={"ntpd": {"running": False, "policy": "automatic"}}, rulesets={}))
def test_an_automatic_service_follows_its_ruleset_on_older_hosts(case: Case) -> None:
    assert case.state["services"]["ntpd"]["running"] is False
    case.firewall.EnableRuleset("ntpClient")
    assert case.state["services"]["ntpd"]["running"] is True
    case.firewall.DisableRuleset("ntpClient")
    assert case.state["services"]["ntpd"]["running"] is False
    case.services.StartService("ntpd")
    assert case.state["rulesets"]["ntpClient"]["enabled"] is False, "below 8.0 U2 the daemon opens nothing"


def test_the_default_policy_changes_only_where_it_is_set(case: Case) -> None:
    policy = vim.host.FirewallInfo.DefaultPolicy
    case.firewall.UpdateDefaultPolicy(policy(outgoingBlocked=False))
    found = case.firewall.firewallInfo.defaultPolicy
    assert (found.incomingBlocked, found.outgoingBlocked) == (True, False)


def test_rulesets_of_the_profiles_match_the_captures() -> None:
    from tests.simulator import profile

    sizes = {name: len(profile.load(name).rulesets) for name in profile.names()}
    assert sizes == {"6.7": 41, "7.0.0": 41, "7.0.3": 41, "8.0.2": 57, "8.0.2b": 57, "8.0.3": 57, "9.0": 57}
    newest = profile.load("8.0.3").rulesets
    assert sum(row.toggle is False for row in newest.values()) == 38
    assert sorted(key for key, row in newest.items() if row.ip_list is False) == [
        "nfs41Client", "nfsClient", "proxy", "trusted-infrastructure-kmxa", "trusted-infrastructure-kmxd", "vsanEncryption",
    ]  # fmt: skip
    assert sum(row.ip_list is False for row in profile.load("8.0.2").rulesets.values()) == 6 + 25
    assert sorted(key for key, row in newest.items() if row.required) == ["sshServer", "vSphereClient"]


@cases(world())
def test_options_and_network(case: Case) -> None:
    manager = case.host.configManager.advancedOption
    assert [item.key for item in manager.QueryOptions("UserVars.SuppressShellWarning")] == ["UserVars.SuppressShellWarning"]
    manager.UpdateOptions([vim.option.OptionValue(key="UserVars.SuppressShellWarning", value=1)])
    assert manager.QueryOptions("UserVars.SuppressShellWarning")[0].value == 1
    assert len(manager.QueryOptions("UserVars.")) == 5
    with pytest.raises(vim.fault.InvalidName):
        manager.QueryOptions("No.Such")
    found = case.host.configManager.virtualNicManager.QueryNetConfig("management")
    assert found.selectedVnic == ["management.key-vim.host.VirtualNic-vmk0"] and found.candidateVnic[0].spec.ip.ipAddress
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.host.configManager.virtualNicManager.QueryNetConfig("carrier pigeon")
    assert case.host.QueryHostConnectionInfo().host.config.name == "h"

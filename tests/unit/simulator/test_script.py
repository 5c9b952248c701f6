# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripted faults, actions from outside, reset, permissions, scenarios, the command line and the control API."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import SoapAdapter, vim, vmodl

from tests.simulator import ScenarioError, Simulator, soap
from tests.simulator.__main__ import coverage_table
from tests.simulator.registry import Managed
from tests.simulator.scenario import FOLDER
from tests.unit.simulator.conftest import Raw, client, key_servers_for, read

ROOT = Path(__file__).parents[3]
Finder = Callable[[str], Any]


def enable(host: Any) -> None:
    host.configManager.firewallSystem.EnableRuleset("syslog")


def enabled(sim: Simulator, name: str) -> bool:
    return bool(sim.state()["hosts"][name]["rulesets"]["syslog"]["enabled"])


# ---- scripted faults --------------------------------------------------------------------------------------------------------------
def test_a_fault_by_method_host_and_count(sim: Simulator, host_of: Finder) -> None:
    sim.fault(method="EnableRuleset", host="esx-02*", fault="HostConfigFault", text="disk full", after=1, count=2)
    one, two = host_of("esx-01.example.com"), host_of("esx-02.example.com")
    enable(one)
    enable(two)
    for _index in range(2):
        with pytest.raises(vim.fault.HostConfigFault, match="disk full"):
            enable(two)
    enable(two)
    assert [entry.status for entry in sim.journal if entry.method == "EnableRuleset"] == [
        "ok",
        "ok",
        "HostConfigFault",
        "HostConfigFault",
        "ok",
    ]


def test_fault_fields_and_undeclared_classes(sim: Simulator, host_of: Finder) -> None:
    host = host_of("esx-01.example.com")
    sim.fault(method="EnableRuleset", fault="vim.fault.TaskInProgress", args={"task": vim.Task("task-7")})
    with pytest.raises(vim.fault.TaskInProgress) as caught:
        enable(host)
    assert caught.value.task._moId == "task-7"
    sim.fault(method="EnableRuleset", fault="NotEnoughLicenses")
    with pytest.raises(vmodl.fault.NotEnoughLicenses):
        enable(host)
    # A class that nobody declared: pyVmomi cannot even name it, hand-written clients must.
    sim.fault(method="Fetch", fault="VendorSpecificTrouble", args={"shelf": 7}, text="shelf <7> is on fire")
    with Raw(sim) as raw:
        cookie = raw.login(sim).headers["set-cookie"]
        reply = raw.post('<Fetch xmlns="urn:vim25"><_this type="Folder">group-d1</_this><prop>name</prop></Fetch>', cookie=cookie)
    assert reply.status == 500 and 'xsi:type="VendorSpecificTrouble"><shelf>7</shelf>' in reply.body and "shelf &lt;7&gt;" in reply.body
    assert not enabled(sim, "esx-01.example.com")


def test_an_http_error(sim: Simulator, host_of: Finder) -> None:
    host = host_of("esx-01.example.com")
    sim.fault(method="EnableRuleset", http=503, text="no healthy upstream")
    with pytest.raises(http.client.HTTPException, match="503"):
        enable(host)
    assert sim.journal[-1].status == "http 503" and not enabled(sim, "esx-01.example.com")


@pytest.mark.parametrize(("moment", "done"), [("before", False), ("after", True)])
def test_a_dropped_connection(sim: Simulator, host_of: Finder, moment: str, done: bool) -> None:
    system = host_of("esx-01.example.com").configManager.firewallSystem
    sim.fault(method="EnableRuleset", drop=moment)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
        system.EnableRuleset("syslog")
    assert enabled(sim, "esx-01.example.com") is done
    assert [entry.status for entry in sim.journal if entry.method == "EnableRuleset"] == ["dropped"]


def test_a_delay_holds_up_nobody_else(sim: Simulator, host_of: Finder) -> None:
    one, two = host_of("esx-01.example.com"), host_of("esx-02.example.com")
    sim.fault(method="EnableRuleset", host="esx-01*", delay=0.5)
    started = time.monotonic()
    thread = threading.Thread(target=enable, args=(one,))
    thread.start()
    time.sleep(0.05)
    enable(two)
    assert time.monotonic() - started < 0.4
    thread.join()
    assert time.monotonic() - started >= 0.5 and enabled(sim, "esx-01.example.com")


def test_a_hanging_call_never_answers_and_ends_with_its_client(sim: Simulator) -> None:
    sim.fault(method="CurrentTime", hang=True)
    with Raw(sim) as raw:
        raw.connection.timeout = 0.3
        with pytest.raises(TimeoutError):
            raw.post('<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>')
        assert sim.journal[-1].status == "hanging"
    with Raw(sim) as raw:
        assert raw.login(sim).status == 200


def test_a_hanging_call_does_not_keep_the_simulator_from_stopping() -> None:
    with Simulator("tiny") as sim:
        sim.fault(method="*", hang=True)
        raw = socket.create_connection((sim.hostname, sim.port))
        thread = threading.Thread(target=lambda: pytest.raises(OSError, Raw(sim).login, sim))
        thread.start()
        time.sleep(0.2)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    thread.join(2)
    raw.close()


def test_a_session_can_expire_in_the_middle(sim: Simulator, si: Any) -> None:
    sim.fault(method="CreateContainerView", expire_session=True)
    with pytest.raises(vim.fault.NotAuthenticated):
        si.content.viewManager.CreateContainerView(si.content.rootFolder, [], True)
    assert sim.summary()["sessions"] == []


def test_a_host_can_go_away_after_a_call(sim: Simulator, host_of: Finder) -> None:
    host = host_of("esx-01.example.com")
    sim.fault(method="EnableRuleset", then_state="not_responding")
    enable(host)
    assert host.runtime.connectionState == "notResponding"
    with pytest.raises(vmodl.fault.HostNotReachable):
        enable(host)


def test_probability_follows_the_seed() -> None:
    def run(seed: int) -> list[str]:
        with Simulator(
            {"hosts": [{}], "faults": [{"method": "CurrentTime", "probability": 0.5, "count": None, "fault": "SystemError"}]}, seed=seed
        ) as sim:
            with Raw(sim) as raw:
                for _index in range(20):
                    raw.post('<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>')
            return [entry.status for entry in sim.journal]

    first = run(1)
    assert first == run(1) and first != run(2) and {"ok", "SystemError"} == set(first)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"methd": "x", "hang": True}, "did you mean method"),
        ({"method": "x"}, "needs one of"),
        ({"drop": "sometimes"}, "before or after"),
        ({"then_state": "gone"}, "connected"),
        ({"http": "many"}, "status code"),
        ({"fault": "no class"}, "no class name"),
        ({"hang": True, "count": "two"}, "whole number"),
    ],
)
def test_a_bad_rule_is_one_sentence(sim: Simulator, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        sim.fault(**spec)


# ---- the world from outside ---------------------------------------------------------------------------------------------------------
def test_disconnected_hosts_keep_what_vcenter_knows(sim: Simulator, si: Any, host_of: Finder) -> None:
    sim.act("disconnect", "esx-02*")
    sim.act("not_responding", "esx-03*")
    rows = {
        row["name"]: row for row in read(si, ["name", "runtime.connectionState", "config.dateTimeInfo", "summary.overallStatus"]).values()
    }
    assert {name: row["runtime.connectionState"] for name, row in rows.items()} == {
        "esx-01.example.com": "connected",
        "esx-02.example.com": "disconnected",
        "esx-03.example.com": "notResponding",
    }
    assert all("config.dateTimeInfo" in row for row in rows.values())
    for name, fault in (("esx-02.example.com", vmodl.fault.HostNotConnected), ("esx-03.example.com", vmodl.fault.HostNotReachable)):
        host = host_of(name)
        for call in (host.configManager.dateTimeSystem.QueryDateTime, lambda host=host: enable(host), host.QueryHostConnectionInfo):
            with pytest.raises(fault):
                call()
    sim.act("reconnect", "*")
    enable(host_of("esx-03.example.com"))


def test_the_config_of_a_lost_host_may_be_unset() -> None:
    hosts = [{"name": "gone", "state": "disconnected", "options": {"config_when_disconnected": "unset"}}]
    with Simulator({"hosts": hosts}) as sim, client(sim) as si:
        row = next(iter(read(si, ["name", "config", "config.service", "summary.config.name", "parent"]).values()))
        assert set(row) == {"name", "summary.config.name", "parent"} and sim.errors == []


def test_reset_brings_everything_back(sim: Simulator, host_of: Finder) -> None:
    start = sim.state()
    enable(host_of("esx-01.example.com"))
    sim.act("set_clock", "esx-01*", offset=12)
    sim.fault(method="*", http=503, count=None)
    assert sim.state() != start
    sim.reset()
    assert sim.state() == start and sim.journal == [] and sim.summary()["sessions"] == []
    with client(sim) as si:
        assert si.content.rootFolder.name == "Datacenters"


def test_the_same_scenario_and_seed_give_the_same_world() -> None:
    def state(seed: int) -> str:
        return json.dumps(Simulator("fleet", seed=seed).state())

    assert state(5) == state(5) != state(6)


def test_actions(sim: Simulator) -> None:
    assert sim.act("stop_service", "esx-0[12]*", key="ntpd") == 2
    sim.act("set_servers", "esx-01*", servers=["ntp1.example.com"])
    sim.act("set_ruleset", "esx-01*", key="syslog", enabled=True)
    sim.act("maintenance", "esx-01*")
    host = sim.state()["hosts"]["esx-01.example.com"]
    assert host["services"]["ntpd"]["running"] is False and host["time"]["servers"] == ["ntp1.example.com"]
    assert host["rulesets"]["syslog"]["enabled"] is True and host["maintenance"] is True
    for bad, words in (
        ({"do": "explode"}, "no action"),
        ({"do": "disconnect", "host": "nobody"}, "no host"),
        ({"do": "stop_service", "key": "ntp"}, "did you mean"),
    ):
        with pytest.raises(ScenarioError, match=words):
            sim.act(**bad)
    with pytest.raises(ScenarioError, match="set_clock"):
        sim.act("set_clock", ofset=3)


def test_the_journal_tells_what_was_sent(sim: Simulator, host_of: Finder) -> None:
    enable(host_of("esx-01.example.com"))
    entry = sim.journal[-1]
    assert (entry.method, entry.object.partition(":")[0], entry.host) == ("EnableRuleset", "HostFirewallSystem", "esx-01.example.com")
    assert entry.args == {"id": "syslog"} and entry.write and entry.user == sim.username and entry.status == "ok"
    assert entry.bytes_in > 100 and entry.bytes_out > 100 and entry.ms > 0
    logins = [one for one in sim.journal if one.method == "Login"]
    assert [one.args["password"] for one in logins] == ["********"] and sim.password not in str([one.as_dict() for one in sim.journal])
    summary = sim.summary()
    assert summary["writes"] == 1 and summary["logins"] == 1 and summary["calls"] == summary["requests"] - 1
    assert json.dumps([one.as_dict() for one in sim.journal])


def test_parallel_clients_do_not_disturb_each_other(sim: Simulator) -> None:
    failures: list[str] = []

    def work(number: int) -> None:
        try:
            with client(sim) as si:
                host = si.content.searchIndex.FindByDnsName(None, f"esx-{number % 3 + 1:02d}.example.com", False)
                for index in range(6):
                    method = (
                        host.configManager.firewallSystem.EnableRuleset if index % 2 else host.configManager.firewallSystem.DisableRuleset
                    )
                    method("syslog")
                    assert len(read(si, ["name", 'config.firewall.ruleset["syslog"]'])) == 3
        except Exception as exc:
            failures.append(repr(exc))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and sim.summary()["sessions"] == []
    assert all(enabled(sim, f"esx-0{number}.example.com") for number in (1, 2, 3))


# ---- permissions --------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def guarded() -> Any:
    with Simulator("permissions") as made:
        yield made
        assert made.errors == []


def _find(si: Any, name: str) -> Any:
    return si.content.searchIndex.FindByDnsName(None, name, False)


def test_a_reader_may_only_read(guarded: Simulator) -> None:
    with client(guarded, "readonly@vsphere.local") as si:
        host = _find(si, "esx-01.example.com")
        assert host.configManager.dateTimeSystem.QueryDateTime() and len(read(si, ["config.dateTimeInfo"])) == 5
        for call in (lambda: enable(host), lambda: host.configManager.dateTimeSystem.UpdateDateTimeConfig(vim.host.DateTimeConfig())):
            with pytest.raises(vim.fault.NoPermission) as caught:
                call()
            denied: Any = caught.value
            assert denied.object._moId == host._moId and denied.privilegeId.startswith("Host.Config.")


def test_a_privilege_opens_its_methods_and_no_others(guarded: Simulator) -> None:
    with client(guarded, "timekeeper@vsphere.local") as si:
        host = _find(si, "esx-01.example.com")
        host.configManager.dateTimeSystem.UpdateDateTimeConfig(vim.host.DateTimeConfig(timeZone="UTC"))
        with pytest.raises(vim.fault.NoPermission) as caught:
            host.configManager.serviceSystem.StartService("ntpd")
        assert caught.value.privilegeId == "Host.Config.NetService"


def test_denials_make_hosts_invisible_unreadable_or_unwritable(guarded: Simulator) -> None:
    with client(guarded, "halfblind@vsphere.local") as si:
        assert len(read(si, ["name"])) == 3 and _find(si, "esx-04.example.com") is None
    with client(guarded, "noread@vsphere.local") as si:
        view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.HostSystem], True)
        collector = vmodl.query.PropertyCollector
        walk = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        spec = collector.FilterSpec(
            propSet=[collector.PropertySpec(type=vim.HostSystem, pathSet=["name", "config.dateTimeInfo"])],
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
        )
        found = si.content.propertyCollector.RetrieveContents([spec])
        blocked = next(one for one in found if any(item.val == "esx-03.example.com" for item in one.propSet))
        assert [item.path for item in blocked.missingSet] == ["config.dateTimeInfo"]
        assert isinstance(blocked.missingSet[0].fault, vim.fault.NoPermission) and blocked.missingSet[0].fault.privilegeId == "System.Read"
        with pytest.raises(vim.fault.NoPermission):
            _find(si, "esx-03.example.com").config  # noqa: B018
        with pytest.raises(vim.fault.NoPermission):
            enable(_find(si, "esx-02.example.com"))


def test_privileges_can_be_asked_for(guarded: Simulator) -> None:
    with client(guarded, "timekeeper@vsphere.local") as si:
        manager, hosts = si.content.authorizationManager, [_find(si, "esx-01.example.com"), _find(si, "esx-02.example.com")]
        key = si.content.sessionManager.currentSession.key
        rows = manager.HasPrivilegeOnEntities(hosts, key, ["Host.Config.DateTime", "Host.Config.NetService"])
        assert [[item.isGranted for item in row.privAvailability] for row in rows] == [[True, False]] * 2
        assert manager.HasPrivilegeOnEntity(hosts[0], key, ["System.Read", "Host.Config.NetService"]) == [True, False]
        assert (
            manager.HasUserPrivilegeOnEntities(hosts[:1], "readonly@vsphere.local", ["Host.Config.DateTime"])[0]
            .privAvailability[0]
            .isGranted
            is False
        )
        assert {role.name for role in manager.roleList} >= {"Admin", "ReadOnly"}
        assert "Host.Config.NetService" in {row.privId for row in manager.privilegeList}


def test_privileges_and_results_agree_with_pyvmomis_tables() -> None:
    """The decorator says the privilege; where pyVmomi's tables know it too, both must agree."""
    from pyVmomi import VmomiSupport

    for family in Managed.FAMILIES:
        for name, found in family.OPERATIONS.items():
            if name in soap.UNLISTED:
                continue
            info = VmomiSupport.GetWsdlMethod("urn:vim25", name).info
            said = getattr(info, "privId", None)
            if said:
                assert said == found.privilege, (family.__name__, name)
            assert issubclass(family.TYPE, VmomiSupport.GetVmodlType(info.typeName)), (family.__name__, name)


# ---- scenarios and the command line --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("drifing", "unknown scenario 'drifing': did you mean drifting"),
        ({"hosts": [{"clok": {}}]}, r"hosts\[0\]: unknown key 'clok': did you mean clock"),
        ({"hosts": [{"profile": "8.0.9"}]}, "no such profile: did you mean 8.0"),
        ({"hosts": [{"services": {"ntp": {"running": True}}}]}, "has no service 'ntp': did you mean ntpd"),
        ({"hosts": [{"rulesets": {"ntpclient": {"enabled": True}}}]}, "did you mean ntpClient"),
        ({"hosts": [{"state": "asleep"}]}, "hosts.0..state is 'asleep'"),
        ({"hosts": [{"count": "many"}]}, "must be a whole number"),
        ({"hosts": [{"clock": {"offset": [1]}}]}, "must be a number"),
        ({"faults": [{"method": "x", "then_state": "gone"}]}, "then_state"),
        ({"kind": "esxi", "hosts": [{"count": 2}]}, "exactly one host"),
        ({"hosts": [{"name": "h-{x}"}]}, "only {n}"),
        ({"vcenter": {"address": "vc"}}, "vcenter.address is 'vc', it must be an IP address"),
        ({"vcenter": {"options": {"heartbeat_timeout": "soon"}}}, "heartbeat_timeout is 'soon', it must be a number"),
        ({"client_address": 7}, "client_address is 7, it must be a text"),
        ({"hosts": [{"nfs": [{"version": 3}]}]}, r"hosts\[0\].nfs\[0\]: the key 'server' is missing"),
        ({"hosts": [{"nfs": [{"server": "192.0.2.7", "version": 4}]}]}, "version is 4, it must be 3 or 41"),
        ({"hosts": [{"nfs": [{"server": "nas"}]}]}, "'nas' is no address; a server given by name needs `address`"),
        ({"hosts": [{"iscsi": [{"port": 3260}]}]}, r"iscsi\[0\]: the key 'address' is missing"),
        ({"hosts": [{"managed_by": "192.0.2.2"}]}, "this is for kind esxi"),
        ({"hosts": [{"options": {"firewall_established": "die"}}]}, "survive"),
        ({"hosts": [{"rulesets": {"snmp": {"allowed_hosts": {"ip_network": ["10.0.0.0/40"]}}}}]}, "is no network such as"),
        ({"users": {"u": {"pasword": "x"}}}, "did you mean password"),
    ],
)
def test_a_bad_scenario_is_one_sentence(source: Any, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        Simulator(source)


@pytest.mark.parametrize("name", [path.stem for path in FOLDER.glob("*.yml")])
def test_every_scenario_serves(name: str) -> None:
    key_servers_for(name)
    with Simulator(name, hosts=4 if name == "fleet" else None) as sim, client(sim) as si:
        assert read(si, ["name", "config", "summary", "hardware", "capability", "runtime", "configManager"], max_objects=14)
        assert sim.errors == []


def test_drifting_holds_what_it_promises() -> None:
    with Simulator("drifting") as sim:
        sim.advance(10)
        hosts = sim.state()["hosts"]
        broken = {name for name, host in hosts.items() if not host["synced"] or abs(host["clock_offset"]) > 1}
        assert len(hosts) == 14 and {host["profile"] for host in hosts.values()} == {"6.7", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0"}
        assert broken == {f"esx-{number:02d}.example.com" for number in (3, 4, 5, 7, 8, 9, 10, 12)}
        assert hosts["esx-10.example.com"]["services"]["ntpd"]["running"] is False
        assert hosts["esx-11.example.com"]["in_fallback"] is True


def test_scaling_keeps_the_shares() -> None:
    hosts = Simulator("fleet", hosts=400).state()["hosts"].values()
    assert len(hosts) == 400 and sum(not host["time"]["servers"] for host in hosts) == 130


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.simulator", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready.json"
    with start("--listen", "127.0.0.1:0", "--scenario", "standalone", "--ready-file", str(ready)) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert json.loads(ready.read_text()) == line and line["pid"] == process.pid
        assert set(line) == {"url", "hostname", "port", "username", "password", "ca_file", "thumbprint", "control", "pid"}
        context = ssl.create_default_context(cafile=line["ca_file"])
        with urllib.request.urlopen(f"https://127.0.0.1:{line['port']}/sdk/vimServiceVersions.xml", context=context) as reply:
            assert b"urn:vim25" in reply.read()
        folder = Path(line["ca_file"]).parent
        started = time.monotonic()
        os.kill(process.pid, number)
        assert process.wait(2) == 0 and time.monotonic() - started < 1.5
        assert not folder.exists() and process.stdout.read() == ""


def test_the_command_line_explains_mistakes(tmp_path: Path) -> None:
    broken = tmp_path / "mine.yml"
    broken.write_text("hosts: [{state: conected}]\n")
    for arguments, words in (
        (("--scenario", "flet"), ("'flet'", "fleet")),
        (("--scenario", str(broken)), ("mine.yml", "state", "did you mean", "connected")),
        (("--scenario", str(tmp_path / "none.yml")), ("none.yml", "cannot be read")),
    ):
        with start(*arguments) as process:
            out, err = process.communicate(timeout=10)
        assert process.returncode == 2 and out == "" and len(err.strip().splitlines()) == 1
        assert all(word in err for word in words), err


def test_coverage_is_generated() -> None:
    table = coverage_table()
    assert "| HostDateTimeSystem | UpdateDateTimeConfig | Host.Config.DateTime | yes |" in table
    assert "| PropertyCollector | RetrievePropertiesEx |" in table


# ---- the control API -----------------------------------------------------------------------------------------------------------------
def control(sim: Simulator, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(sim.control + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return json.loads(reply.read())


def test_the_control_api_does_the_same(sim: Simulator) -> None:
    with Raw(sim) as raw:
        raw.login(sim)
    assert [entry["method"] for entry in control(sim, "GET", "/journal")] == ["Login"]
    seq = control(sim, "GET", "/journal")[0]["seq"]
    assert control(sim, "GET", f"/journal?since={seq}") == []
    assert control(sim, "GET", "/summary")["logins"] == 1
    assert control(sim, "GET", "/state") == sim.state()
    assert control(sim, "POST", "/act", {"host": "esx-01*", "do": "disconnect"}) == {"hosts": 1}
    assert control(sim, "POST", "/advance", {"seconds": 5}) == {"ok": True}
    assert control(sim, "POST", "/fault", {"method": "Login", "fault": "SystemError"})["id"] == 1
    assert control(sim, "DELETE", "/faults") == {"ok": True}
    assert control(sim, "POST", "/clear_journal") == {"ok": True} and sim.journal == []
    assert control(sim, "GET", "/errors") == []
    assert control(sim, "POST", "/reset") == {"ok": True}
    assert sim.state()["hosts"]["esx-01.example.com"]["connection"] == "connected" and sim.journal == []
    for method, path, body, status in (
        ("GET", "/nothing", None, 404),
        ("POST", "/fault", {"methd": 1}, 400),
        ("POST", "/act", {"host": "x"}, 400),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            control(sim, method, path, body)
        assert caught.value.code == status and json.loads(caught.value.read())["error"]


def test_latency_can_be_added() -> None:
    with Simulator("tiny", delay_ms=50) as sim, Raw(sim) as raw:
        started = time.monotonic()
        raw.get("/sdk/vimServiceVersions.xml")
        first = time.monotonic() - started
        raw.get("/sdk/vimServiceVersions.xml")
        second = time.monotonic() - started - first
    assert first >= 0.15 and 0.05 <= second < 0.12


def test_an_internal_error_is_told_and_kept(running: Simulator) -> None:
    running.reset()
    with client(running) as si:
        running.world.hosts[0].state.time = None
        with pytest.raises(vmodl.fault.SystemError):
            read(si, ["config.dateTimeInfo"])
    assert len(running.errors) == 1 and "Traceback" in running.errors[0]
    running.reset()
    assert running.errors == []


def test_pyvmomis_own_tables_are_left_alone() -> None:
    assert SoapAdapter.XMLNS_SOAPENV == "http://schemas.xmlsoap.org/soap/envelope/"

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""community.vmware and vmware.vmware read from the simulator what its own state says, value by value."""

from __future__ import annotations

import ipaddress
import pathlib
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.bench.measure import ROOT
from tests.peers.clients import Told, ad_hoc, groups, inventory, tell
from tests.peers.conftest import Servers

ABOUT, FACTS = "community.vmware.vmware_about_info", "community.vmware.vmware_host_facts"
NTP, SERVICES = "community.vmware.vmware_host_ntp_info", "community.vmware.vmware_host_service_info"
FIREWALL, SERVICES_TOO = "community.vmware.vmware_host_firewall_info", "vmware.vmware.esxi_service_info"
VCENTER, GONE = "drifting", "esx-14.example.com"
# Every host of "drifting": all generations, by cluster, and the one that is in none.
PLACES: tuple[dict[str, Any], ...] = ({"cluster_name": "Modern"}, {"cluster_name": "Older"}, {"esxi_hostname": "esx-11.example.com"})
FULL_NAME = {"VirtualCenter": "VMware vCenter Server", "HostAgent": "VMware ESXi"}


@dataclass(frozen=True)
class Answers:
    """What the tasks of one play said, and the state that they were asked about."""

    told: dict[str, list[Told]]
    state: dict[str, Any]

    @property
    def hosts(self) -> dict[str, Any]:
        hosts: dict[str, Any] = self.state["hosts"]
        return hosts

    def one(self, module: str) -> dict[str, Any]:
        (only,) = self.told[module]
        return only.result

    def all(self, module: str) -> dict[str, Any]:
        """Of a module that answers by host: all hosts, of all its tasks."""
        found: dict[str, Any] = {}
        for one in self.told[module]:
            (said,) = (value for key, value in one.result.items() if key.startswith("host"))
            assert not found.keys() & said.keys()
            found.update(said)
        return found


@pytest.fixture(scope="module", params=[VCENTER, "standalone", "standalone67"])
def answers(request: pytest.FixtureRequest, serve: Servers, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    server = serve(request.param)
    state = server.control("/state")
    # A host without a vCenter is asked for by name, which these modules demand and do not look at.
    first = next(iter(state["hosts"]))
    places = PLACES if request.param == VCENTER else ({"esxi_hostname": first},)
    questions: list[tuple[str, dict[str, Any]]] = [(kind, place) for kind in (NTP, SERVICES, FIREWALL) for place in places]
    questions += [(ABOUT, {}), (FACTS, {"esxi_hostname": first, "show_datacenter": True}), (SERVICES_TOO, {"esxi_host_name": first})]
    told: dict[str, list[Told]] = {}
    done = tell(tmp_path_factory.mktemp("asked"), server, *({module: options} for module, options in questions))
    for (module, _options), one in zip(questions, done, strict=True):
        assert not one.changed and not one.writes and one.calls
        told.setdefault(module, []).append(one)
    return Answers(told, state)


def test_what_the_server_is(answers: Answers) -> None:
    about = answers.one(ABOUT)["about_info"]
    vcenter = answers.state["kind"] == "vcenter"
    assert about["product_full_name"] == f"{FULL_NAME[about['api_type']]} {about['version']} build-{about['build']}"
    assert about["version"].startswith(answers.state["api"][:3])
    if vcenter:
        assert uuid.UUID(about["instance_uuid"])
    else:
        assert about["instance_uuid"] is None
    expected = {
        "api_type": "VirtualCenter" if vcenter else "HostAgent",
        "api_version": answers.state["api"],
        "license_product_name": "VMware VirtualCenter Server" if vcenter else "VMware ESX Server",
        "locale_build": "000",
        "locale_version": "INTL",
        "os_type": "linux-x64" if vcenter else "vmnix-x86",
        "product_line_id": "vpx" if vcenter else "embeddedEsx",
        "product_name": "VMware vCenter Server" if vcenter else "VMware ESXi",
        "vendor": "VMware, Inc.",
    }
    assert {key: about[key] for key in expected} == expected


def test_time_servers(answers: Answers) -> None:
    said = answers.all(NTP)
    assert {name: [row["ntp_servers"] for row in rows] for name, rows in said.items()} == {
        name: [host["time"]["servers"]] for name, host in answers.hosts.items()
    }
    zones = {(row["time_zone_identifier"], row["time_zone_gmt_offset"]) for rows in said.values() for row in rows}
    assert zones == {(host["time"]["time_zone"], 0) for host in answers.hosts.values()}


def test_services(answers: Answers) -> None:
    said = answers.all(SERVICES)
    assert {name: {row["key"]: {"running": row["running"], "policy": row["policy"]} for row in rows} for name, rows in said.items()} == {
        name: host["services"] for name, host in answers.hosts.items()
    }
    for rows in said.values():
        assert {row["key"] for row in rows if row["required"]} == {"vmsyslogd"}
        assert not any(row["uninstallable"] for row in rows)
        assert {row["key"]: row["label"] for row in rows}["ntpd"] == "NTP Daemon"


def test_services_as_vmware_vmware_sees_them(answers: Answers) -> None:
    said = answers.one(SERVICES_TOO)
    name, host = next(iter(answers.hosts.items()))
    assert (said["host"]["name"], said["host"]["moid"]) == (name, host["moid"])
    rows = {row["key"]: {"running": row["running"], "policy": row["policy"]} for row in said["services"]}
    assert rows == host["services"]


def test_firewall(answers: Answers) -> None:
    said = answers.all(FIREWALL)
    assert {name: {row["key"]: {"enabled": row["enabled"], **row["allowed_hosts"]} for row in rows} for name, rows in said.items()} == {
        name: host["rulesets"] for name, host in answers.hosts.items()
    }
    out = {"direction": "outbound", "protocol": "udp", "port": 123, "port_type": "dst", "end_port": None}
    assert all({row["key"]: row["rule"] for row in rows}["ntpClient"] == [out] for rows in said.values())


def test_facts(answers: Answers) -> None:
    facts = answers.one(FACTS)["ansible_facts"]
    name, host = next(iter(answers.hosts.items()))
    vcenter = answers.state["kind"] == "vcenter"
    assert facts["ansible_distribution_version"].startswith(host["profile"])
    nic = facts["ansible_vmk0"]
    assert facts["ansible_all_ipv4_addresses"] == [nic["ipv4"]["address"]] and ipaddress.ip_interface("/".join(nic["ipv4"].values()))
    expected = {
        "ansible_hostname": name,
        "ansible_uuid": host["uuid"],
        "ansible_host_connection_state": host["connection"],
        "ansible_in_maintenance_mode": host["maintenance"],
        "ansible_distribution": "VMware ESXi",
        "ansible_os_type": "vmnix-x86",
        "cluster": "Modern" if vcenter else None,
    }
    assert {key: facts[key] for key in expected} == expected
    assert facts["datacenter"] == ("DC1" if vcenter else "ha-datacenter")
    if not vcenter:
        # Only straight from a host does this module tell its clock; whole seconds, asked for at some time during the play.
        (asked,) = answers.told[FACTS]
        (call,) = (call for call in asked.calls if call["method"] == "CurrentTime")
        told = int(facts["host_date_time"]["epoch"])
        assert told - call["time"] == pytest.approx(host["clock_offset"], abs=3)
        assert abs(host["clock_offset"]) > 5


# ---- inventory ------------------------------------------------------------------------------------------------------


def test_inventory_of_a_vcenter(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve(VCENTER)
    listed = inventory(
        tmp_path,
        server,
        properties=["name", "summary.config.name", "summary.hardware.uuid", "runtime", "config", "configManager"],
        group_by_paths=True,
        keyed_groups=[
            {"key": "runtime.connectionState", "prefix": "is"},
            {"key": "config.dateTimeInfo.ntpConfig.server", "prefix": "asks"},
        ],
        compose={"ntpd": "(config.service.service | selectattr('key', 'equalto', 'ntpd') | first).running"},
    )
    # The plugin drops hosts that are not connected.
    hosts = {name: host for name, host in server.control("/state")["hosts"].items() if host["connection"] == "connected"}
    said = listed["_meta"]["hostvars"]
    assert set(said) == set(hosts) and GONE not in said
    for name, host in hosts.items():
        one = said[name]
        info = one["config"]["dateTimeInfo"]
        newer = host["profile"] != "6.7"  # fields of 7.0.3.0
        assert (one["moid"], one["summary"]["hardware"]["uuid"], one["ntpd"]) == (
            host["moid"],
            host["uuid"],
            host["services"]["ntpd"]["running"],
        )
        assert info["ntpConfig"]["server"] == host["time"]["servers"]
        assert info["systemClockProtocol"] == (host["time"]["protocol"] if newer else None)
        for field, key in (("enabled", "enabled"), ("disableFallback", "disable_fallback"), ("disableEvents", "disable_events")):
            assert info[field] == (host["time"][key] if newer else None), (name, field)
        assert info["remoteNtpServer"] == (host["source"] if newer else None)
        assert (info["lastSyncTime"] is not None) == (newer and host["last_sync"] is not None)
        rulesets = {row["key"]: row["enabled"] for row in one["config"]["firewall"]["ruleset"]}
        assert rulesets == {key: row["enabled"] for key, row in host["rulesets"].items()}
        # QueryNetConfig and config.network are two ways to the same address.
        assert one["ansible_host"] == one["management_ip"] == one["config"]["network"]["vnic"][0]["spec"]["ip"]["ipAddress"]
    assert len({one["ansible_host"] for one in said.values()}) == len(hosts)
    found = groups(listed)
    assert found["is_connected"] == set(hosts)
    for entry in ("ntp1.example.com", "ntp1.example.com iburst", "liar.example.com"):
        group = "asks_" + entry.replace(".", "_").replace(" ", "_").replace("-", "_")
        assert found[group] == {name for name, host in hosts.items() if entry in host["time"]["servers"]}, entry
    scenario = yaml.safe_load((ROOT / "tests/simulator/scenarios/drifting.yml").read_text())
    clusters = {row["name"]: row["cluster"] for row in scenario["hosts"] if row["name"] in hosts}
    for name, cluster in clusters.items():
        assert said[name]["path"].split("/")[-1] == (cluster or name), said[name]["path"]


def test_inventory_of_a_fleet(serve: Servers, tmp_path: pathlib.Path) -> None:
    """Forty hosts with the plugin's own defaults, and some of them by path."""
    server = serve("fleet")
    server.control("/clear_journal", {})
    hosts = server.control("/state")["hosts"]
    listed = inventory(tmp_path, server)
    assert groups(listed)["poweredOn"] == set(listed["_meta"]["hostvars"]) == set(hosts)
    bulk = [call for call in server.control("/journal") if call["method"].startswith("RetrieveProperties")]
    assert len(bulk) == 1, "one bulk read, whatever the number of hosts"
    some = inventory(tmp_path, server, search_paths=["/DC1/host/Storage"])
    assert set(some["_meta"]["hostvars"]) == {name for name, host in hosts.items() if not host["time"]["servers"]}


@pytest.mark.parametrize("scenario", ["standalone", "standalone67"])
def test_inventory_of_one_host(serve: Servers, tmp_path: pathlib.Path, scenario: str) -> None:
    server = serve(scenario)
    ((name, host),) = server.control("/state")["hosts"].items()
    listed = inventory(tmp_path, server, properties=["name", "config.dateTimeInfo", "summary.runtime"])
    ((said, variables),) = listed["_meta"]["hostvars"].items()
    assert (said, variables["moid"]) == (name, "ha-host")
    assert variables["config"]["dateTimeInfo"]["ntpConfig"]["server"] == host["time"]["servers"]


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_an_ad_hoc_command(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve("tiny")
    result = ad_hoc(tmp_path, server, NTP, esxi_hostname="esx-02.example.com")
    assert [row["ntp_servers"] for row in result["hosts_ntp_info"]["esx-02.example.com"]] == [["ntp1.example.com", "ntp2.example.com"]]


def test_mistakes_are_understood(serve: Servers, tmp_path: pathlib.Path) -> None:
    """The faults on the wire are such that these modules have their own sentence for them."""
    server = serve("tiny")
    server.control("/clear_journal", {})
    refused = ad_hoc(tmp_path, server, ABOUT, password="wrong")
    assert refused["msg"].endswith(f"as {server.username}: Cannot complete login due to an incorrect user name or password."), refused[
        "msg"
    ]
    assert ad_hoc(tmp_path, server, NTP, esxi_hostname="nobody.example.com")["msg"] == "ESXi 'nobody.example.com' not found"
    summary = server.control("/summary")
    assert (summary["logins"], summary["failed_logins"], summary["writes"]) == (1, 1, 0)

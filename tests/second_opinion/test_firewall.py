# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of community.vmware's own integration target for vmware_host_firewall_manager, done by our module, and what is refused.

This server lacks UpdateRuleset and UpdateDefaultPolicy, and all its hosts share one list of rulesets. What became of it
is read with pyVmomi alone, none of our code.
"""

from __future__ import annotations

import pathlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from tests.integration.driver import run
from tests.second_opinion.vcsim import CLUSTER, LONE_HOST, Vcsim, vcsim

HOSTS = 5
LISTED = {"all_ip": False, "ip_address": ["192.168.100.11", "192.168.100.12"], "ip_network": ["192.168.200.0/24"]}
VVOLD = {"name": "vvold", "enabled": True, "allowed_hosts": {"all_ip": True}}
Result = dict[str, Any]


@pytest.fixture(params=["vcenter", "esxi"])
def fresh(request: pytest.FixtureRequest, vcsim_binary: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vcsim]:
    """A server that nobody has changed yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with vcsim(vcsim_binary, tmp_path, kind=request.param, hosts=HOSTS if request.param == "vcenter" else 1) as server:
        yield server


def firewalls(server: Vcsim) -> dict[str, Any]:
    """firewallInfo of every host."""
    context = ssl.create_default_context(cafile=server.ca_file)
    service = SmartConnect(host=server.hostname, port=server.port, user=server.username, pwd=server.password, sslContext=context)
    try:
        content = service.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
        return {host.name: host.configManager.firewallSystem.firewallInfo for host in view.view}
    finally:
        Disconnect(service)


def opened(server: Vcsim) -> dict[str, set[str]]:
    return {name: {row.key for row in info.ruleset if row.enabled} for name, info in firewalls(server).items()}


def ports(server: Vcsim, *, check: bool = False, **options: Any) -> Result:
    return run(server, "esxi_firewall_ports", check=check, **{"esxi_hostname": ["*"], **options})


def statuses(result: Result) -> set[str]:
    assert result["hosts"]
    return {host["status"] for host in result["hosts"].values()}


def changes(result: Result) -> list[list[dict[str, Any]]]:
    """Those of all hosts, each list once."""
    found: list[list[dict[str, Any]]] = []
    for host in result["hosts"].values():
        if host["changes"] not in found:
            found.append(host["changes"])
    return found


def findings(result: Result) -> set[tuple[str, str]]:
    return {(finding["code"], finding["level"]) for host in result["hosts"].values() for finding in host["findings"]}


def assert_content(result: Result) -> None:
    assert not result["changed"] and statuses(result) == {"compliant"} and changes(result) == [[]]


# ---- what they see --------------------------------------------------------------------------------------------------


def test_info_says_what_the_server_says(fresh: Vcsim) -> None:
    result = run(fresh, "esxi_firewall_info", esxi_hostname=["*"], catalogue=False)
    told = firewalls(fresh)
    assert statuses(result) == {"compliant"} and result["hosts"].keys() == told.keys() and len(told) == fresh.hosts
    for name, info in told.items():
        said = result["hosts"][name]
        policy = info.defaultPolicy
        assert said["default_policy"] == {"incoming_blocked": policy.incomingBlocked, "outgoing_blocked": policy.outgoingBlocked}
        assert len(info.ruleset) == len(said["rulesets"]) == 42
        for row in info.ruleset:
            assert row.allowedHosts.allIp
            lines = []
            for rule in row.rule:
                span = f"{rule.port}-{rule.endPort}" if rule.endPort else f"{rule.port}"
                lines.append(f"{rule.protocol}/{span} {rule.direction}{' (source port)' if rule.portType == 'src' else ''}")
            assert said["rulesets"][row.key] == {
                "enabled": row.enabled,
                "allowed_hosts": "all",
                "ports": lines,
                "required": row.required,
                "service": row.service or None,
                "can_be_toggled": not row.required,  # 6.5 does not say who may toggle and edit
                "list_can_be_set": True,
            }


def test_what_opens_a_port(fresh: Vcsim) -> None:
    asked = [{"port": "902", "protocol": "tcp", "direction": "inbound"}, {"port": "514", "protocol": "udp", "direction": "outbound"}]
    result = run(fresh, "esxi_firewall_info", esxi_hostname=["*"], opens=asked)
    for host in result["hosts"].values():
        vcenter, syslog = host["opens"]
        assert vcenter["open"] == {"inbound": True} and [row["ruleset"] for row in vcenter["rulesets"]] == ["NFC", "vSphereClient"]
        assert syslog["open"] == {"outbound": False} and [row["ruleset"] for row in syslog["rulesets"]] == ["syslog"]


# ---- their own test: enable, disable, and that again ----------------------------------------------------------------


def test_enable_with_check_mode_first_and_twice(fresh: Vcsim) -> None:
    wish: dict[str, Any] = {"rules": [VVOLD, {"name": "CIMHttpServer", "enabled": True}]}
    before = opened(fresh)
    assert all("vvold" not in keys and "CIMHttpServer" in keys for keys in before.values())
    for _turn in range(2):
        checked = ports(fresh, check=True, **wish)
        assert checked["changed"] and statuses(checked) == {"would_change"}
        assert changes(checked) == [[{"change": "enable_ruleset", "ruleset": "vvold"}]]
        assert opened(fresh) == before
    done = ports(fresh, **wish)
    assert done["changed"] and statuses(done) == {"changed"} and changes(done) == changes(checked)
    assert len(done["hosts"]) == fresh.hosts
    assert opened(fresh) == {name: keys | {"vvold"} for name, keys in before.items()}
    for check in (True, False, False):
        assert_content(ports(fresh, check=check, **wish))


def test_disable_on_one_host(fresh: Vcsim) -> None:
    one = LONE_HOST if fresh.kind == "vcenter" else "localhost.localdomain"
    off: dict[str, Any] = {"esxi_hostname": [one], "rules": [{"name": "vvold", "enabled": False}]}
    before = opened(fresh)
    assert_content(ports(fresh, **off))
    ports(fresh, rules=[VVOLD])
    checked = ports(fresh, check=True, **off)
    assert statuses(checked) == {"would_change"} and "vvold" in opened(fresh)[one]
    done = ports(fresh, **off)
    assert statuses(done) == {"changed"} and list(done["hosts"]) == [one]
    assert changes(done) == [[{"change": "disable_ruleset", "ruleset": "vvold"}]]
    assert opened(fresh) == before, "the hosts share one list of rulesets in this server"
    again = ports(fresh, check=True, rules=[VVOLD])
    assert again["changed"] and statuses(again) == {"would_change"} and len(again["hosts"]) == fresh.hosts
    assert_content(ports(fresh, check=True, **off))
    assert_content(ports(fresh, **off))
    assert opened(fresh) == before


@pytest.mark.parametrize("fresh", ["vcenter"], indirect=True)
def test_a_cluster_at_a_time_in_waves(fresh: Vcsim) -> None:
    done = ports(fresh, esxi_hostname=[], cluster_name=[CLUSTER], rules=[VVOLD], waves=["1", "50%", "100%"])
    # These hosts share one table, so the first wave leaves the later ones nothing to do, and they are planned anew.
    assert statuses(done) == {"changed", "compliant"} and len(done["hosts"]) == HOSTS - 1 and LONE_HOST not in done["hosts"]
    assert [(wave["hosts"], wave["changed"], wave["failed"]) for wave in done["waves"]] == [(1, 1, 0), (2, 0, 0), (1, 0, 0)]
    assert_content(ports(fresh, esxi_hostname=[], cluster_name=[CLUSTER], rules=[VVOLD]))


def test_all_ip_where_everybody_gets_in_already(fresh: Vcsim) -> None:
    """Their clean-up. It needs no UpdateRuleset, so it is none of what is refused."""
    rules = [{"name": name, "enabled": True, "allowed_hosts": {"all_ip": True}} for name in ("CIMHttpServer", "NFC")]
    assert_content(ports(fresh, rules=rules))


# ---- what this server lacks -----------------------------------------------------------------------------------------


def assert_refused(result: Result, operation: str, doing: str) -> None:
    assert not result["changed"] and statuses(result) == {"failed"}
    for host in result["hosts"].values():
        failure = host["failure"]
        assert (failure["kind"], failure["fault"], failure["doing"]) == ("server_fault", "MethodNotFound", doing)
        assert failure["cause"] == f"the server does not know the operation {operation}" and failure["hint"]
        assert not host["changed"] and host["changes"] == []
    assert operation in result["msg"]


@pytest.mark.parametrize("name", ["CIMHttpServer", "NFC"])
def test_a_list_is_refused_in_a_sentence(fresh: Vcsim, name: str) -> None:
    before = opened(fresh)
    wish: dict[str, Any] = {"rules": [{"name": name, "enabled": True, "allowed_hosts": LISTED}]}
    checked = ports(fresh, check=True, **wish)
    assert statuses(checked) == {"would_change"}
    refused = ports(fresh, **wish)
    assert_refused(refused, "UpdateRuleset", "set allowed hosts")
    assert [host["not_done"] for host in refused["hosts"].values()] == [host["changes"] for host in checked["hosts"].values()]
    assert opened(fresh) == before
    assert_content(ports(fresh, rules=[{"name": name, "enabled": True}]))


def test_a_closed_ruleset_is_not_opened_without_its_list(fresh: Vcsim) -> None:
    """The list comes first, so a refusal leaves the port shut; and the next task works as ever."""
    before = opened(fresh)
    refused = ports(fresh, rules=[{"name": "syslog", "enabled": True, "allowed_hosts": LISTED}, VVOLD])
    assert_refused(refused, "UpdateRuleset", "set allowed hosts")
    for host in refused["hosts"].values():
        assert [(change["change"], change["ruleset"]) for change in host["not_done"]] == [
            ("set_allowed_hosts", "syslog"),
            ("enable_ruleset", "syslog"),
            ("enable_ruleset", "vvold"),
        ]
    assert opened(fresh) == before
    assert statuses(ports(fresh, rules=[VVOLD])) == {"changed"}


def test_a_default_policy_is_refused_in_a_sentence(fresh: Vcsim) -> None:
    assert_content(ports(fresh, default_policy={"incoming_blocked": True, "outgoing_blocked": True}))
    assert_refused(ports(fresh, default_policy={"incoming_blocked": False}), "UpdateDefaultPolicy", "set default policy")
    assert all(info.defaultPolicy.incomingBlocked for info in firewalls(fresh).values())


def test_a_failure_ends_a_canary_run(fresh: Vcsim) -> None:
    result = ports(fresh, rules=[{"name": "NFC", "allowed_hosts": LISTED}], waves=["1", "100%"])
    found = [host["status"] for _name, host in sorted(result["hosts"].items())]
    assert found == ["failed", *["skipped"] * (fresh.hosts - 1)] and not result["changed"]


# ---- what they have no words for ------------------------------------------------------------------------------------


def test_ports(fresh: Vcsim) -> None:
    syslog = {"port": "514", "protocol": "udp", "direction": "outbound"}
    before = opened(fresh)
    done = ports(fresh, ports=[{**syslog, "state": "open"}])
    assert statuses(done) == {"changed"} and changes(done) == [[{"change": "enable_ruleset", "ruleset": "syslog"}]]
    assert_content(ports(fresh, ports=[{**syslog, "state": "open"}]))
    shared = ports(fresh, ports=[{**syslog, "state": "closed"}])
    assert not shared["changed"] and statuses(shared) == {"failed"} and findings(shared) == {("port_close_shared", "error")}
    whole = [{"port": port, "protocol": how, "direction": "outbound", "state": "closed"} for port, how in (("514", "tcp"), ("1514", "tcp"))]
    closed = ports(fresh, ports=[{**syslog, "state": "closed"}, *whole])
    assert statuses(closed) == {"changed"} and changes(closed) == [[{"change": "disable_ruleset", "ruleset": "syslog"}]]
    assert opened(fresh) == before
    for port, code, level, status in (
        ({"port": "902", "protocol": "tcp", "direction": "inbound"}, "port_shared", "note", "compliant"),
        ({"port": "1", "protocol": "udp", "direction": "inbound"}, "port_no_ruleset", "error", "failed"),
        ({"port": "8300-8302", "protocol": "udp", "direction": "inbound"}, "port_no_ruleset", "error", "failed"),
    ):
        result = ports(fresh, ports=[port])
        assert findings(result) == {(code, level)} and statuses(result) == {status} and not result["changed"], port
    assert opened(fresh) == before


def test_services(fresh: Vcsim) -> None:
    before = opened(fresh)
    wish: dict[str, Any] = {"services": [{"name": "snmp", "state": "closed"}, {"name": "vsan_clustering"}, {"name": "ssh"}]}
    done = ports(fresh, **wish)
    assert statuses(done) == {"changed"}
    assert changes(done) == [[{"change": "disable_ruleset", "ruleset": "snmp"}, {"change": "enable_ruleset", "ruleset": "cmmds"}]]
    assert opened(fresh) == {name: (keys - {"snmp"}) | {"cmmds"} for name, keys in before.items()}
    assert_content(ports(fresh, **wish))
    nothing = ports(fresh, services=[{"name": "ws_man"}])
    assert statuses(nothing) == {"failed"} and findings(nothing) == {("port_no_ruleset", "error")} and not nothing["changed"]


def test_exclusive_leaves_what_has_to_stay(fresh: Vcsim) -> None:
    wish: dict[str, Any] = {"services": [{"name": "vcenter_agent"}], "exclusive": True}
    assert statuses(ports(fresh, **wish)) == {"changed"}
    stays = {
        "vSphereClient",
        "vpxHeartbeats",
        "NFC",
        "sshServer",
        "dns",
        "dhcp",
    }  # these hosts ask a name server and have their address by DHCP
    assert list(opened(fresh).values()) == [stays] * fresh.hosts
    again = ports(fresh, **wish)
    assert_content(again)
    assert findings(again) == {("exclusive_kept", "note")}


def test_there_and_back(fresh: Vcsim, tmp_path: pathlib.Path) -> None:
    """A server without QueryConnectionInfo is no reason to think that the hosts are gone."""
    before = opened(fresh)
    rules = [VVOLD, {"name": "gdbserver", "enabled": True}, {"name": "snmp", "enabled": False}]
    done = ports(fresh, rules=rules, backup=True, backup_dir=str(tmp_path / "backup"), verify_reachable=1)
    assert statuses(done) == {"changed"} and not any("undone" in host for host in done["hosts"].values())
    assert opened(fresh) != before
    assert statuses(ports(fresh, check=True, restore=done["backup_file"])) == {"would_change"}
    assert statuses(ports(fresh, restore=done["backup_file"])) == {"changed"}
    assert opened(fresh) == before
    assert_content(ports(fresh, restore=done["backup_file"]))


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"name": "vSphereClient", "allowed_hosts": {"ip_address": ["203.0.113.9"]}}, "lockout_refused"),
        ({"name": "vSphereClient", "enabled": False}, "ruleset_required"),
        ({"name": "nfsClient", "enabled": True}, "ruleset_by_mounts"),
        ({"name": "vvolds", "enabled": True}, "ruleset_unknown"),
        ({"name": "ptpd", "enabled": True}, "ruleset_gone"),
    ],
)
def test_refused_before_anything_is_sent(fresh: Vcsim, rule: dict[str, Any], code: str) -> None:
    before = opened(fresh)
    result = ports(fresh, rules=[rule])
    assert not result["changed"] and statuses(result) == {"failed"} and findings(result) == {(code, "error")}
    assert opened(fresh) == before

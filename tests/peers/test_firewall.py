# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""community.vmware's firewall modules beside ours: the same words for every host, the same end for every wish they share.

Where theirs are known to misbehave, the same situation is given to ours, and both outcomes are asserted.
"""

from __future__ import annotations

import ipaddress
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.bench.measure import Server
from tests.peers.clients import Told, ad_hoc, tell
from tests.peers.conftest import Servers

INFO, MANAGER = "community.vmware.vmware_host_firewall_info", "community.vmware.vmware_host_firewall_manager"
OUR_INFO, OURS = "fleetcare.esxi.esxi_firewall_info", "fleetcare.esxi.esxi_firewall_ports"
UNSET, GONE = "esx-10.example.com", "esx-11.example.com"  # of "firewall", whose hosts are here:
PLACES: list[dict[str, Any]] = [
    *({"cluster_name": name} for name in ("Modern", "Older", "Storage")),
    {"esxi_hostname": "esx-15.example.com"},
]
Task = dict[str, Any]
Rule = dict[str, Any]

# One cluster of all generations, in the order of their names, which is the order in which theirs go through them.
MIXED = """
name: mixed
vcenter: {profile: "9.0", name: vcenter.example.com, address: 192.0.2.2}
hosts:
  - {name: a-803.example.com, profile: 8.0.3, cluster: prod}
  - {name: b-90.example.com, profile: "9.0", cluster: prod}
  - {name: c-703.example.com, profile: 7.0.3, cluster: prod}
  - {name: d-67.example.com, profile: "6.7", cluster: prod}
  - {name: e-802.example.com, profile: 8.0.2, cluster: prod}
  - {name: f-802b.example.com, profile: 8.0.2b, cluster: prod}
"""
MODERN, OLD = ("a-803", "b-90", "e-802", "f-802b"), ("c-703", "d-67")
PROD = {"cluster_name": "prod"}


@pytest.fixture(scope="module")
def mixed_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("mixed") / "mixed.yml"
    path.write_text(MIXED)
    return str(path)


@pytest.fixture
def mixed(serve: Servers, mixed_file: str) -> Server:
    return serve.fresh(mixed_file)


def theirs(rules: Iterable[Rule], place: Task, *, check: bool = False) -> Task:
    return {MANAGER: {"rules": list(rules), **place}, "check_mode": check}


def ours(rules: Iterable[Rule], place: Task, *, check: bool = False, **options: Any) -> Task:
    return {OURS: {"session": "single", "rules": list(rules), **place, **options}, "check_mode": check}


def rulesets(server: Server) -> dict[str, Any]:
    """What a write could change, by host and ruleset."""
    return {name: host["rulesets"] for name, host in server.control("/state")["hosts"].items()}


def row(server: Server, key: str) -> dict[str, Any]:
    """One ruleset of the mixed fleet, by the first word of the hosts' names; hosts that lack it are left out."""
    return {name.partition(".")[0]: found[key] for name, found in rulesets(server).items() if key in found}


def short(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition(".")[0]: value for name, value in found.items()}


def networks(texts: Iterable[str]) -> set[Any]:
    found = [ipaddress.ip_network(text, strict=False) for text in texts]
    four = [network for network in found if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in found if isinstance(network, ipaddress.IPv6Network)]
    return {*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)}


def assert_content(told: Told, names: Iterable[str]) -> None:
    assert told.statuses == dict.fromkeys(names, "compliant")
    assert not told.changed and not told.writes


def attempt(folder: pathlib.Path, server: Server, module: str, **options: Any) -> tuple[dict[str, Any], list[tuple[str, str]], int]:
    """A task that may fail: what it said, the writes that the server was asked for, and the number of calls."""
    server.control("/clear_journal", {})
    result = ad_hoc(folder, server, module, **options)
    journal = server.control("/journal")
    writes = [(call["host"].partition(".")[0], call["method"]) for call in journal if call["write"]]
    return result, writes, len(journal)


# ---- reading --------------------------------------------------------------------------------------------------------


def assert_same(their: list[dict[str, Any]], our: Mapping[str, Any]) -> None:
    """What theirs and ours say of one host."""
    assert sorted(line["key"] for line in their) == sorted(our)
    for line in their:
        said, hosts = our[line["key"]], line["allowed_hosts"]
        assert (said["enabled"], said["service"]) == (line["enabled"], line["service"]), line["key"]
        if hosts["all_ip"]:
            assert said["allowed_hosts"] == "all", line["key"]
        else:
            assert networks(said["allowed_hosts"]) == networks([*hosts["ip_address"], *hosts["ip_network"]]), line["key"]
            assert len(set(said["allowed_hosts"])) == len(said["allowed_hosts"])
        assert said["ports"] == [port(rule) for rule in line["rule"]], line["key"]


def port(rule: Mapping[str, Any]) -> str:
    """Their rule in our words."""
    last = f"-{rule['end_port']}" if rule["end_port"] else ""
    return f"{rule['protocol']}/{rule['port']}{last} {rule['direction']}{' (source port)' if rule['port_type'] == 'src' else ''}"


def mended(serve: Servers, scenario: str) -> Server:
    """With the hosts made readable that are not."""
    server = serve.fresh(scenario)
    server.control("/act", {"host": "*", "do": "option", "name": "firewall_info", "value": "normal"})
    if scenario == "firewall":
        server.control("/act", {"host": GONE, "do": "reconnect"})
    return server


def test_info_agrees_on_every_host(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = mended(serve, "firewall")
    state = server.control("/state")["hosts"]
    listed = {"ip_address": ["2001:db8::10", "192.0.2.10"], "ip_network": ["203.0.113.0/25", "2001:db8:1::/48"]}
    server.control("/act", {"host": "*", "do": "set_ruleset", "key": "syslog", "all_ip": False, **listed})
    server.control("/act", {"host": "*", "do": "set_ruleset", "key": "httpClient", "enabled": True, "all_ip": False})
    everything = {"esxi_hostname": ["*"], "session": "single"}
    mine, *them = tell(tmp_path, server, {OUR_INFO: everything}, *({INFO: place} for place in PLACES))
    said = {name: rows for one in them for name, rows in one.result["hosts_firewall_info"].items()}
    assert set(said) == set(state) == set(mine.result["hosts"])
    for name, rows in said.items():
        assert_same(rows, mine.result["hosts"][name]["rulesets"])
    assert not mine.writes and len(mine.calls) <= 12 < sum(len(one.calls) for one in them)


def test_info_on_hosts_that_cannot_be_read(serve: Servers, tmp_path: pathlib.Path) -> None:
    """Ours tells them apart. Theirs goes down with such a host, as shown below (community.vmware#1628)."""
    server = serve.fresh("firewall")
    mine, *_rest = attempt(tmp_path, server, OUR_INFO, esxi_hostname=["*"], session="single", fail_on="none")
    assert not mine.get("failed")
    found = {name: host["status"] for name, host in mine["hosts"].items() if host["status"] != "compliant"}
    assert found == {UNSET: "not_compliant", GONE: "unreachable"}
    assert [finding["code"] for finding in mine["hosts"][UNSET]["findings"]] == ["firewall_unknown"]


# ---- what one sets, the other finds right ---------------------------------------------------------------------------

# Said in full: to theirs, a list left out is an empty one.
ALL = {"all_ip": True, "ip_address": [], "ip_network": []}
NETWORKS = ["203.0.113.0/25", "2001:db8:1::/48"]
LIST = {"all_ip": False, "ip_address": ["192.0.2.10", "2001:db8::10"], "ip_network": NETWORKS}
WISH: list[Rule] = [
    {"name": "syslog", "enabled": True, "allowed_hosts": LIST},
    {"name": "remoteSerialPort", "enabled": True, "allowed_hosts": ALL},
    {"name": "webAccess", "enabled": False, "allowed_hosts": ALL},
    {"name": "WOL", "enabled": False, "allowed_hosts": LIST},
    {"name": "sshClient", "enabled": True, "allowed_hosts": {"all_ip": False, "ip_address": ["192.0.2.10"], "ip_network": []}},
    {"name": "gdbserver", "enabled": True, "allowed_hosts": {"all_ip": False, "ip_address": [], "ip_network": ["192.0.2.0/24"]}},
    {"name": "httpClient", "enabled": True, "allowed_hosts": {"all_ip": False, "ip_address": [], "ip_network": []}},
    {"name": "vSPC", "enabled": False, "allowed_hosts": ALL},
]


def assert_stands(server: Server, rules: list[Rule]) -> None:
    for name, found in rulesets(server).items():
        for rule in rules:
            has, allowed = found[rule["name"]], rule["allowed_hosts"]
            assert (has["enabled"], has["all_ip"]) == (rule["enabled"], allowed["all_ip"]), (name, rule["name"])
            for part in ("ip_address", "ip_network"):
                assert sorted(has[part]) == sorted(allowed.get(part, [])), (name, rule["name"])


def assert_untouched(server: Server, before: Mapping[str, Any], rules: list[Rule]) -> None:
    """What is not named."""
    named = {rule["name"] for rule in rules}
    assert all(found == {**before[name], **{key: found[key] for key in named}} for name, found in rulesets(server).items())


def test_what_they_set_we_find_right(mixed: Server, tmp_path: pathlib.Path) -> None:
    before, rules = rulesets(mixed), WISH
    changed, run = tell(tmp_path, mixed, theirs(rules, PROD), ours(rules, PROD))
    assert changed.changed and set(changed.result["rule_set_state"]) == set(before)
    assert_content(run, before)
    assert_stands(mixed, rules)
    assert_untouched(mixed, before, rules)


def test_what_we_set_they_find_right(mixed: Server, tmp_path: pathlib.Path) -> None:
    before, rules = rulesets(mixed), WISH
    checked, run, agreed = tell(tmp_path, mixed, ours(rules, PROD, check=True), ours(rules, PROD), theirs(rules, PROD))
    assert set(checked.statuses.values()) == {"would_change"} and not checked.writes
    assert run.statuses == dict.fromkeys(before, "changed") and run.writes
    assert not agreed.changed and not agreed.writes and set(agreed.result["rule_set_state"]) == set(before)
    assert_stands(mixed, rules)
    assert_untouched(mixed, before, rules)


def test_firewalls_that_have_drifted(serve: Servers, tmp_path: pathlib.Path) -> None:
    """All hosts of "firewall" that both can read: first theirs and ours after them, then the way back the other way round."""
    server = mended(serve, "firewall")
    everywhere = {"esxi_hostname": ["*"]}
    there = [{"name": "syslog", "enabled": True, "allowed_hosts": LIST}, {"name": "gdbserver", "enabled": False, "allowed_hosts": ALL}]
    back = [{"name": "syslog", "enabled": False, "allowed_hosts": ALL}, {"name": "gdbserver", "enabled": True, "allowed_hosts": LIST}]
    done = tell(
        tmp_path,
        server,
        *(theirs(there, place) for place in PLACES),
        ours(there, everywhere),
        ours(back, everywhere),
        *(theirs(back, place) for place in PLACES),
    )
    assert all(one.changed for one in done[:4])
    assert_content(done[4], rulesets(server))
    assert set(done[5].statuses.values()) == {"changed"} and len(done[5].statuses) == 15
    assert not any(one.changed or one.writes for one in done[6:])
    assert_stands(server, back)


def test_a_host_without_a_vcenter(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("standalone_firewall")
    (name,) = rulesets(server)
    there, back = WISH, [{"name": "syslog", "enabled": False, "allowed_hosts": ALL}]
    first, agreed, mine, agreed_too = tell(
        tmp_path,
        server,
        theirs(there, {"esxi_hostname": name}),
        ours(there, {}),
        ours(back, {}),
        theirs(back, {"esxi_hostname": name}),
    )
    assert first.changed
    assert_content(agreed, [name])
    assert mine.statuses == {name: "changed"} and mine.writes == [(name, "DisableRuleset"), (name, "UpdateRuleset")]
    assert not agreed_too.changed and not agreed_too.writes


def test_where_we_differ(serve: Servers, tmp_path: pathlib.Path) -> None:
    """They compare spellings, we compare addresses: what a host has in other words stays."""
    server = serve.fresh("firewall")
    before = rulesets(server)
    place = {"esxi_hostname": "esx-07.example.com"}
    rules = [
        {"name": "sshServer", "enabled": True, "allowed_hosts": {"all_ip": False, "ip_network": ["198.51.100.0/24"]}},
        {
            "name": "snmp",
            "enabled": True,
            "allowed_hosts": {"all_ip": False, "ip_address": ["203.0.113.9", "2001:db8::a"], "ip_network": ["2001:db8:aa::/48"]},
        },
    ]
    run, checked = tell(tmp_path, server, ours(rules, place), theirs(rules, place, check=True))
    assert_content(run, run.statuses)
    assert checked.changed and not checked.writes and rulesets(server) == before


def test_a_list_left_out_where_everybody_gets_in(mixed: Server, tmp_path: pathlib.Path) -> None:
    """Theirs empties it, ours leaves it: it lies idle, and counts again when all_ip ends."""
    place, idle = {"esxi_hostname": "a-803.example.com"}, {"name": "syslog", "enabled": True, "allowed_hosts": {"all_ip": True}}
    tell(tmp_path, mixed, ours([{**idle, "allowed_hosts": LIST}], place), ours([idle], place))
    mine = row(mixed, "syslog")["a-803"]
    listed = {"enabled": True, **LIST}
    (emptied,) = tell(tmp_path, mixed, theirs([idle], place))
    left = row(mixed, "syslog")["a-803"]
    assert mine == {**listed, "all_ip": True} and emptied.changed and left == {**mine, "ip_address": [], "ip_network": []}


# ---- where theirs are known to misbehave ----------------------------------------------------------------------------


def test_option_left_out(mixed: Server, tmp_path: pathlib.Path) -> None:
    """community.vmware#178: without allowed_hosts theirs takes everybody off the list, and says that it succeeded."""
    rules = [{"name": "syslog", "enabled": True}]
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD))
    assert set(mine.statuses.values()) == {"changed"} and {method for _host, method in mine.writes} == {"EnableRuleset"}
    everybody = {"enabled": True, "all_ip": True, "ip_address": [], "ip_network": []}
    assert all(found == everybody for found in row(mixed, "syslog").values())
    (shut,) = tell(tmp_path, mixed, theirs(rules, PROD))
    assert shut.changed and {method for _host, method in shut.writes} == {"UpdateRuleset"}
    assert all(found == {**everybody, "all_ip": False} for found in row(mixed, "syslog").values())
    (left,) = tell(tmp_path, mixed, ours(rules, PROD))
    assert_content(left, left.statuses)
    assert {finding["code"] for host in left.result["hosts"].values() for finding in host["findings"]} == {"list_empty"}


def test_a_list_alone(mixed: Server, tmp_path: pathlib.Path) -> None:
    """Theirs cannot set a list without saying whether the ruleset is open."""
    rules = [{"name": "webAccess", "allowed_hosts": LIST}]
    refused, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert refused["failed"] and "missing required arguments: enabled" in refused["msg"] and not writes
    mixed.control("/act", {"host": "c-703*", "do": "set_ruleset", "key": "webAccess", "enabled": False})
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD))
    assert set(mine.statuses.values()) == {"changed"} and {method for _host, method in mine.writes} == {"UpdateRuleset"}
    assert {name: found["enabled"] for name, found in row(mixed, "webAccess").items()} == {
        **dict.fromkeys((*MODERN, *OLD), True),
        "c-703": False,
    }


def test_unknown_rule_on_one_host_of_many(mixed: Server, tmp_path: pathlib.Path) -> None:
    """Two releases lack iwarp-pm. Theirs changes nothing anywhere; ours does what can be done and names the two."""
    rules = [{"name": name, "enabled": True, "allowed_hosts": ALL} for name in ("syslog", "iwarp-pm")]
    refused, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert refused["failed"] and "rule named 'iwarp-pm' wasn't found on hosts" in refused["msg"] and not writes
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    assert short(mine.statuses) == {**dict.fromkeys(MODERN, "changed"), **dict.fromkeys(OLD, "failed")}
    found = short(mine.result["hosts"])
    assert {finding["code"] for name in OLD for finding in found[name]["findings"]} == {"ruleset_gone"}
    assert all(found["enabled"] for found in row(mixed, "syslog").values())
    assert row(mixed, "iwarp-pm").keys() == set(MODERN) and all(found["enabled"] for found in row(mixed, "iwarp-pm").values())


def test_null_firewall_info(mixed: Server, tmp_path: pathlib.Path) -> None:
    """community.vmware#1628: one such host, and theirs dies before it has done anything for the others."""
    mixed.control("/act", {"host": "c-703*", "do": "option", "name": "firewall_info", "value": "unset"})
    rules = [{"name": "syslog", "enabled": True, "allowed_hosts": LIST}]
    broken, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert broken["failed"] and "'NoneType' object has no attribute 'ruleset'" in broken["msg"] and not writes
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    assert short(mine.statuses) == {**dict.fromkeys((*MODERN, *OLD), "changed"), "c-703": "failed"}
    assert [finding["code"] for finding in short(mine.result["hosts"])["c-703"]["findings"]] == ["firewall_unknown"]


def test_host_disconnected(mixed: Server, tmp_path: pathlib.Path) -> None:
    """Theirs stops at it, so that what comes after it by name keeps its old firewall, and says nothing of what was done."""
    mixed.control("/act", {"host": "c-703*", "do": "disconnect"})
    rules = [{"name": "syslog", "enabled": True, "allowed_hosts": ALL}]
    broken, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert broken["failed"] and "rule_set_state" not in broken
    assert {name for name, found in row(mixed, "syslog").items() if found["enabled"]} < set(MODERN) and writes
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    found = short(mine.statuses)
    assert found.pop("c-703") == "unreachable" and set(found.values()) == {"changed", "compliant"}
    assert {name for name, found in row(mixed, "syslog").items() if found["enabled"]} == {*MODERN, *OLD} - {"c-703"}


def test_list_without_mask(mixed: Server, tmp_path: pathlib.Path) -> None:
    """Theirs opens the ruleset to everybody, then dies of the list. Ours does not even connect."""
    part, entry = "ip_network", "192.0.2.0"
    rules = [{"name": "gdbserver", "enabled": True, "allowed_hosts": {"all_ip": False, part: [entry]}}]
    mine, writes, calls = attempt(tmp_path, mixed, OURS, rules=rules, session="single", **PROD)
    assert mine["failed"] and mine["failure"]["kind"] == "bad_input" and entry in mine["msg"] and part in mine["msg"]
    assert calls == 0 and not writes
    broken, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert broken["failed"] and broken["msg"].endswith("RuntimeFault")  # the name that its last except looks for and pyVmomi has not
    first = writes[0][0]
    assert writes[0][1] == "EnableRuleset"
    assert row(mixed, "gdbserver")[first] == {"enabled": True, "all_ip": True, "ip_address": [], "ip_network": []}


def test_no_moment_open_to_everybody(mixed: Server, tmp_path: pathlib.Path) -> None:
    """To open a ruleset to a few, theirs opens it to everybody first."""
    rules = [{"name": "gdbserver", "enabled": True, "allowed_hosts": LIST}]
    them, mine = tell(
        tmp_path, mixed, theirs(rules, {"esxi_hostname": "a-803.example.com"}), ours(rules, {"esxi_hostname": "b-90.example.com"})
    )
    assert [method for _host, method in them.writes] == ["EnableRuleset", "UpdateRuleset"]
    assert [method for _host, method in mine.writes] == ["UpdateRuleset", "EnableRuleset"]
    found = row(mixed, "gdbserver")
    for name in ("a-803", "b-90"):  # a list of addresses is a set: every writer has an order of its own
        parts = {part: sorted(value) if isinstance(value, list) else value for part, value in found[name].items()}
        assert parts == {"enabled": True, **LIST, "ip_network": sorted(NETWORKS)}, name


def test_service_owned_rule(mixed: Server, tmp_path: pathlib.Path) -> None:
    """From 8.0 U2 on nobody opens snmp but its service. Theirs tries and ends there; ours does the older ones."""
    mixed.control("/act", {"host": "*", "do": "set_ruleset", "key": "snmp", "enabled": False})
    rules = [{"name": "snmp", "enabled": True, "allowed_hosts": ALL}]
    broken, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert broken["failed"] and "internal error happened" in broken["msg"] and "rule_set_state" not in broken
    assert writes[-1][0] in MODERN and not all(row(mixed, "snmp")[name]["enabled"] for name in OLD)
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    assert short(mine.statuses).items() >= dict.fromkeys(MODERN, "failed").items()
    assert all(row(mixed, "snmp")[name]["enabled"] for name in OLD)
    assert not {name for name, _method in short(dict(mine.writes)).items()} & set(MODERN), "no write that the host would refuse"
    found = short(mine.result["hosts"])
    assert {finding["code"] for name in MODERN for finding in found[name]["findings"]} == {"ruleset_service_owned"}
    again = [{"name": "snmp", "enabled": False}]
    _closed, agreed = tell(tmp_path, mixed, ours(again, {"esxi_hostname": "c-703.example.com"}), ours(again, {"esxi_hostname": "a-803*"}))
    assert_content(agreed, ["a-803.example.com"])


def test_locked_list(mixed: Server, tmp_path: pathlib.Path) -> None:
    """8.0 U2 as first shipped locks the list of CIMHttpServer. Theirs ends at that host, ours goes round it."""
    rules = [{"name": "CIMHttpServer", "enabled": True, "allowed_hosts": LIST}]
    broken, writes, _calls = attempt(tmp_path, mixed, MANAGER, rules=rules, **PROD)
    assert broken["failed"] and "owned by system service" in broken["msg"] and writes[-1] == ("e-802", "UpdateRuleset")
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    found = short(mine.result["hosts"])
    assert found["e-802"]["status"] == "failed" and "ruleset_list_locked" in {f["code"] for f in found["e-802"]["findings"]}
    assert {name for name, value in row(mixed, "CIMHttpServer").items() if value["all_ip"]} == {"e-802"}
    assert "e-802" not in short(dict(mine.writes))


def test_rule_required(mixed: Server, tmp_path: pathlib.Path) -> None:
    rules = [{"name": "vSphereClient", "enabled": False, "allowed_hosts": ALL}]
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    assert set(mine.statuses.values()) == {"failed"} and not mine.writes
    assert {finding["code"] for host in mine.result["hosts"].values() for finding in host["findings"]} == {"ruleset_required"}


def test_lockout(mixed: Server, tmp_path: pathlib.Path) -> None:
    """Theirs takes vCenter off the list of every host, one after another, and reports success. Ours takes it off none."""
    before = rulesets(mixed)
    rules = [{"name": "vSphereClient", "enabled": True, "allowed_hosts": {"all_ip": False, "ip_address": ["203.0.113.9"]}}]
    (mine,) = tell(tmp_path, mixed, ours(rules, PROD, fail_on="none"))
    assert set(mine.statuses.values()) == {"failed"} and not mine.writes and rulesets(mixed) == before
    assert {f["code"] for host in mine.result["hosts"].values() for f in host["findings"]} == {"lockout_refused"}
    mixed.control("/advance", {"seconds": 90})
    assert {host["connection"] for host in mixed.control("/state")["hosts"].values()} == {"connected"}
    (them,) = tell(tmp_path, mixed, theirs(rules, PROD))
    assert them.changed
    mixed.control("/advance", {"seconds": 90})
    assert {host["connection"] for host in mixed.control("/state")["hosts"].values()} == {"notResponding"}

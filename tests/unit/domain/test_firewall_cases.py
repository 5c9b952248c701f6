# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls, situation by situation: the traps that people fall into, each by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import firewall
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.addresses import addresses_given, networks_given, shown
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall import RECORD, parse, plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_model import (
    IN,
    OUT,
    Allowed,
    DisableRuleset,
    EnableRuleset,
    Peer,
    Ruleset,
    SetAllowedHosts,
    SetDefaultPolicy,
    State,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Plan
from tests.unit.domain.firewall_makers import allowed_of, rule, ruleset
from tests.unit.domain.firewall_makers import firewall as host

VCENTER = Peer(who="vCenter", direction=IN, protocol="tcp", port=443, address="192.0.2.1")
NODE = Peer(who="this control node", direction=IN, protocol="tcp", port=443, address="192.0.2.2")


def ssh(**fields: Any) -> Ruleset:
    return ruleset("sshServer", "in tcp 22", **fields)


def client(*listed: str, key: str = "vSphereClient", **fields: Any) -> Ruleset:
    """tcp/443 inbound, open to all unless somebody is named."""
    return ruleset(key, "in tcp 443", allowed=allowed_of(not listed, *listed), **fields)


def planned(state: State, **options: Any) -> Plan:
    return plan(state, parse(options), None)


def by_name(state: State, name: str, /, mode: str = "replace", **fields: Any) -> Plan:
    """A plan for one rule; lists by the names of their options."""
    hosts = {option: fields.pop(option) for option in ("all_ip", "ip_address", "ip_network") if option in fields}
    more = {"allowed_hosts": hosts, "allowed_hosts_mode": mode} if hosts else {}
    entry = {"name": name, "enabled": fields.pop("enabled", None), **more}
    return planned(state, rules=[entry], **fields)


def told(made: Plan) -> dict[str, str]:
    """Findings by code; a code told twice is joined, so that nothing is lost."""
    found: dict[str, str] = {}
    for finding in made.findings:
        found[finding.code] = "; ".join(filter(None, (found.get(finding.code), finding.text)))
    return found


def refused(**options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        parse(options)
    assert caught.value.hint, "bad input comes with a cure"
    return caught.value.cause


def entry(name: str = "syslog", **fields: Any) -> list[dict[str, Any]]:
    return [{"name": name, **fields}]


def listing(made: Plan) -> list[str] | str:
    """Whom the one change lets in."""
    (change,) = made.changes
    assert isinstance(change, SetAllowedHosts)
    return change.allowed.describe()


# ---- addresses that people write -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("ip_address", "999.1.1.1", "no IP address"),
        ("ip_address", "esx.example.com", "no IP address"),
        ("ip_address", "192.0.2", "no IP address"),
        ("ip_address", "192.0.2.010", "no IP address"),
        ("ip_address", "192.0.2.0/24", "a network"),
        ("ip_address", "192.0.2.1, 192.0.2.2", "more than one"),
        ("ip_address", "192.0.2.1,192.0.2.2", "more than one"),
        ("ip_address", "192.0.2.1 192.0.2.2", "more than one"),
        ("ip_address", "", "empty"),
        ("ip_address", "  ", "empty"),
        ("ip_address", "192.0.2.9-192.0.2.1", "no range"),
        ("ip_address", "192.0.2.9-2001:db8::1", "no range"),
        ("ip_address", "192.0.2.9-20", "no IP address"),
        ("ip_address", "192.0.2.9-", "no IP address"),
        ("ip_address", "0.0.0.0", "no peer can have"),
        ("ip_address", "::", "no peer can have"),
        ("ip_address", "224.0.0.1", "no peer can have"),
        ("ip_address", "ff02::1", "no peer can have"),
        ("ip_address", "fe80::1%vmk0", "interface"),
        ("ip_network", "192.0.2.0", "without a mask"),
        ("ip_network", "2001:db8::", "without a mask"),
        ("ip_network", "192.0.2.0/33", "mask '33'"),
        ("ip_network", "192.0.2.0/", "mask ''"),
        ("ip_network", "192.0.2.0/-1", "mask '-1'"),
        ("ip_network", "192.0.2.0/24/24", "mask '24/24'"),
        ("ip_network", "192.0.2.0/255.255.0.255", "mask '255.255.0.255'"),
        ("ip_network", "999.0.2.0/24", "no IP address"),
        ("ip_network", "0.0.0.0/0", "every address"),
        ("ip_network", "::/0", "every address"),
        ("ip_network", "192.0.2.1/0", "every address"),
        ("ip_network", "224.0.0.0/4", "no peer can have"),
        ("ip_network", "ff00::/8", "no peer can have"),
        ("ip_network", "fe80::1%vmk0/64", "interface"),
        ("ip_network", "192.0.2.0/24,198.51.100.0/24", "more than one"),
        ("ip_network", "", "empty"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_with_its_option_its_value_and_a_cure(option: str, text: str, says: str) -> None:
    cause = refused(rules=entry(enabled=True, allowed_hosts={option: ["198.51.100.0" + ("/24" if option == "ip_network" else ""), text]}))
    assert says in cause and option in cause and "rules entry 1 (syslog)" in cause and repr(text.strip())[1:-1] in cause


def test_a_network_without_a_mask_is_refused_with_what_to_write() -> None:
    with pytest.raises(BadInput) as caught:
        networks_given("ip_network", ["192.0.2.0"])
    assert "192.0.2.0/24" in caught.value.hint and "ip_address" in caught.value.hint
    with pytest.raises(BadInput) as caught:
        networks_given("ip_network", ["2001:db8::"])
    assert "2001:db8::/64" in caught.value.hint


@pytest.mark.parametrize(("take", "text"), [(addresses_given, "010.0.0.1"), (networks_given, "10.0.010.0/24")])
def test_leading_zeros_are_told_from_host_names(take: Any, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        take("option", [text])
    assert "Leading zeros" in caught.value.hint
    with pytest.raises(BadInput) as caught:
        take("option", [text.replace("010", "host-010")])
    assert "Host names" in caught.value.hint


@pytest.mark.parametrize(("text", "longest"), [("10.0.0.0/33", "32"), ("2001:db8::/129", "128")])
def test_a_mask_that_is_none_is_told_with_the_longest_there_is(text: str, longest: str) -> None:
    with pytest.raises(BadInput) as caught:
        networks_given("ip_network", [text])
    assert f"is no prefix length from 1 to {longest}" in caught.value.cause


@pytest.mark.parametrize(
    ("texts", "are"),
    [
        (["2001:DB8:0::A"], ["2001:db8::a"]),
        ([" 192.0.2.1 "], ["192.0.2.1"]),
        (["192.0.2.1", "192.0.2.1"], ["192.0.2.1"]),
        (["2001:db8::1", "2001:0DB8::0001"], ["2001:db8::1"]),
        (["192.0.2.2", "192.0.2.1"], ["192.0.2.1", "192.0.2.2"]),
        (["192.0.2.9-192.0.2.11"], ["192.0.2.9", "192.0.2.10/31"]),
        (["192.0.2.1-192.0.2.1"], ["192.0.2.1"]),
        (["192.0.2.8-192.0.2.11", "192.0.2.9"], ["192.0.2.8/30"]),
        (["2001:db8::1-2001:db8::2"], ["2001:db8::1", "2001:db8::2"]),
        ([], []),
    ],
)
def test_addresses_in_any_spelling_are_one_canonical_list(texts: list[str], are: list[str]) -> None:
    assert [shown(network) for network in addresses_given("ip_address", texts)] == are


@pytest.mark.parametrize(
    ("texts", "are"),
    [
        (["192.0.2.77/24"], ["192.0.2.0/24"]),
        (["192.0.2.0/255.255.255.0"], ["192.0.2.0/24"]),
        (["192.0.2.0/24", "192.0.2.128/25", "192.0.2.9/32"], ["192.0.2.0/24"]),
        (["192.0.2.0/25", "192.0.2.128/25"], ["192.0.2.0/25", "192.0.2.128/25"]),
        (["2001:DB8::1/64"], ["2001:db8::/64"]),
        (["192.0.2.9/32"], ["192.0.2.9"]),
        (["0.0.0.0/8"], ["0.0.0.0/8"]),
    ],
)
def test_networks_lose_host_bits_doubles_and_what_lies_within_another_and_no_entry_is_made_up(texts: list[str], are: list[str]) -> None:
    assert [shown(network) for network in networks_given("ip_network", texts)] == are


@pytest.mark.parametrize(
    ("have", "want"),
    [
        (("192.0.2.0/25", "192.0.2.128/25"), {"ip_network": ["192.0.2.0/24"], "ip_address": []}),
        (("192.0.2.0/24",), {"ip_network": ["192.0.2.77/24"], "ip_address": []}),
        (("2001:db8::a",), {"ip_address": ["2001:DB8:0:0::A"]}),
        (("192.0.2.0", "192.0.2.1"), {"ip_address": ["192.0.2.0-192.0.2.1"]}),
        (("192.0.2.0/24",), {"ip_network": ["192.0.2.0/24"], "ip_address": ["192.0.2.7"]}),
    ],
)
def test_two_spellings_of_one_list_are_no_change(have: tuple[str, ...], want: dict[str, Any]) -> None:
    made = by_name(host(ssh(allowed=allowed_of(False, *have))), "sshServer", **want)
    assert made.changes == () and made.findings == ()


# ---- options left out, empty, twice ---------------------------------------------------------------------------------------

LISTED = ssh(allowed=allowed_of(False, "192.0.2.1", "198.51.100.0/24"))


def test_enabled_left_out_sets_the_list_and_does_not_close() -> None:
    """community.vmware's manager closes the ruleset then."""
    made = by_name(host(LISTED), "sshServer", ip_address=["192.0.2.2"])
    assert listing(made) == ["192.0.2.2", "198.51.100.0/24"] and made.predicted.all()["sshServer"].enabled


def test_allowed_hosts_left_out_toggles_and_keeps_the_list() -> None:
    assert by_name(host(LISTED), "sshServer", enabled=False).changes == (DisableRuleset("sshServer"),)


def test_a_rule_that_says_nothing_does_nothing() -> None:
    silents: tuple[dict[str, Any], ...] = (
        {},
        {"allowed_hosts": None},
        {"allowed_hosts": {}},
        {"allowed_hosts": {"all_ip": None, "ip_address": None}},
    )
    for silent in silents:
        made = planned(host(LISTED), rules=entry("sshServer", **silent))
        assert made.changes == () and made.findings == ()


def test_an_empty_list_empties_and_one_left_out_is_left_alone() -> None:
    assert listing(by_name(host(LISTED), "sshServer", ip_network=[])) == ["192.0.2.1"]
    assert listing(by_name(host(LISTED), "sshServer", ip_address=[])) == ["198.51.100.0/24"]


def test_emptying_both_lists_of_an_open_ruleset_is_warned_of() -> None:
    made = by_name(host(LISTED), "sshServer", ip_network=[], ip_address=[])
    assert listing(made) == [] and told(made) == {"list_empty": "sshServer lets nobody in"}


def test_an_empty_list_for_a_ruleset_that_is_open_to_all_does_not_close_it() -> None:
    assert by_name(host(ssh()), "sshServer", ip_address=[]).changes == ()


def test_naming_peers_to_a_ruleset_that_is_open_to_all_closes_it_to_the_others() -> None:
    assert listing(by_name(host(ssh()), "sshServer", ip_address=["192.0.2.1"])) == ["192.0.2.1"]


def test_all_ip_opens_to_all_and_keeps_the_list_for_later() -> None:
    (change,) = by_name(host(LISTED), "sshServer", all_ip=True).changes
    assert isinstance(change, SetAllowedHosts) and change.allowed == allowed_of(True, "192.0.2.1", "198.51.100.0/24")
    assert listing(by_name(made_state(LISTED, change), "sshServer", all_ip=False)) == ["192.0.2.1", "198.51.100.0/24"]


def made_state(one: Ruleset, change: SetAllowedHosts) -> State:
    return change.applied_to(host(one))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rules": entry(allowed_hosts={"all_ip": True, "ip_address": ["192.0.2.1"]})}, "all_ip: true and a list"),
        ({"rules": entry(allowed_hosts={"all_ip": True, "ip_network": ["192.0.2.0/24"]})}, "all_ip: true and a list"),
        ({"rules": entry(allowed_hosts_mode="merge")}, "allowed_hosts_mode: merge and no allowed_hosts"),
        ({"rules": entry(allowed_hosts={"ip_address": []}, allowed_hosts_mode="remove")}, "nothing to remove"),
        ({"rules": entry("syslog") + entry("syslog")}, "'syslog' twice"),
        ({"rules": entry("sshServer") + entry("SSHSERVER")}, "'sshServer' twice"),
        ({"rules": entry("")}, "rules entry 1 has no name"),
        ({"rules": entry("syslog") + entry("  ")}, "rules entry 2 has no name"),
        ({"rules": entry('sys"]log')}, "no name of a ruleset"),
        ({"rules": entry("sys\x1blog")}, "no name of a ruleset"),
        ({"rules": entry("sys\nlog")}, "no name of a ruleset"),
        ({"services": entry("ssh", state="closed", allowed_hosts={"ip_address": ["192.0.2.1"]})}, "to be closed and says who gets in"),
        ({"services": entry("ssh") + entry("SSH")}, "'ssh' twice"),
        ({"services": entry("vmoton")}, "services entry 1 has 'vmoton'"),
        ({"exclusive": True}, "would close everything"),
        ({"exclusive": True, "default_policy": {"incoming_blocked": True}}, "would close everything"),
        ({"restore": {"format": RECORD, "hosts": []}, "rules": entry()}, "beside other wishes"),
        ({"restore": {"format": RECORD, "hosts": []}, "services": entry("ssh")}, "beside other wishes"),
        ({"restore": {"format": RECORD, "hosts": []}, "exclusive": True}, "beside other wishes"),
        ({"restore": {"format": RECORD, "hosts": []}, "default_policy": {"incoming_blocked": True}}, "beside other wishes"),
        ({"restore": {"format": "fleetcare.esxi firewall record 2", "hosts": []}}, "no record"),
        ({"restore": []}, "no record"),
        ({"restore": {}}, "no record"),
        ({"restore": {"format": RECORD}}, "damaged: it has no 'hosts'"),
        ({"restore": {"format": RECORD, "hosts": None}}, "damaged"),
        ({"restore": {"format": RECORD, "hosts": ["esx"]}}, "damaged"),
    ],
)
def test_wishes_that_contradict_themselves_are_refused(options: dict[str, Any], says: str) -> None:
    assert says in refused(**options)


@pytest.mark.parametrize("port", ["0", "65536", "80,443", "443-80", "", "ssh", "-5", "22-", "22-65536", "1e3", "٢٢", "22.0", "+22", None])
@pytest.mark.parametrize("option", ["ports", "opens"])
def test_a_port_that_is_none_is_refused(option: str, port: Any) -> None:
    cause = refused(**{option: [{"port": "22", "protocol": "tcp", "direction": IN}, {"port": port, "protocol": "tcp", "direction": IN}]})
    assert f"{option} entry 2" in cause and "neither a port nor a range" in cause


def test_a_service_that_is_not_in_the_catalogue_is_refused_with_near_names_or_all() -> None:
    for name, hint in (("vmoton", "vmotion"), ("iscis", "iscsi"), ("qqqqqq", "wake_on_lan")):
        with pytest.raises(BadInput) as caught:
            parse({"services": entry(name)})
        assert hint in caught.value.hint


def test_services_that_begin_like_the_word_come_first() -> None:
    with pytest.raises(BadInput) as caught:
        parse({"services": entry("vsan")})
    assert caught.value.hint.startswith("Did you mean vsan_transport or vsan_clustering")


def test_a_ruleset_named_in_another_case_is_the_one_of_the_catalogue() -> None:
    assert by_name(host(ssh()), "sshserver", enabled=False).changes == (DisableRuleset("sshServer"),)
    assert parse({"services": entry("Fault-Tolerance")}).services[0].name == "fault_tolerance"


# ---- modes ------------------------------------------------------------------------------------------------------------------


def test_merge_on_all_stays_all() -> None:
    made = by_name(host(ssh()), "sshServer", mode="merge", ip_address=["192.0.2.1"])
    assert made.changes == () and made.findings == ()


def test_remove_from_all_is_a_finding_and_no_change() -> None:
    made = by_name(host(ssh()), "sshServer", mode="remove", ip_address=["192.0.2.1"])
    assert made.changes == () and [finding.code for finding in made.errors] == ["list_open_to_all"] and "sshServer" in made.errors[0].text


def test_removing_an_address_out_of_a_network_leaves_the_rest_of_the_network() -> None:
    made = by_name(host(ssh(allowed=allowed_of(False, "192.0.2.0/30"))), "sshServer", mode="remove", ip_address=["192.0.2.1"])
    assert listing(made) == ["192.0.2.0", "192.0.2.2/31"]


def test_removing_a_network_takes_the_addresses_in_it_too() -> None:
    made = by_name(host(LISTED), "sshServer", mode="remove", ip_network=["192.0.2.0/24"])
    assert listing(made) == ["198.51.100.0/24"]


def test_merging_what_is_in_a_network_already_is_no_change() -> None:
    assert by_name(host(LISTED), "sshServer", mode="merge", ip_address=["198.51.100.9"]).changes == ()


# ---- what a host has ----------------------------------------------------------------------------------------------------------


def test_a_host_without_firewall_information_is_a_finding() -> None:
    for state in (State(name="esx"), host(rulesets=None)):
        made = by_name(state, "sshServer", enabled=True, allow_lockout=True)
        assert made.changes == () and [finding.code for finding in made.errors] == ["firewall_unknown"]
    assert firewall.settings(State(name="esx")) == {} and firewall.report(State(name="esx"), parse({"opens": None}), None, full=True)
    assert firewall.after(State(name="esx"), host(ssh()), False).rulesets is None


def test_an_unknown_rule_is_a_finding_with_near_names_and_the_others_are_set() -> None:
    made = planned(host(ssh(enabled=False)), rules=[{"name": "sshServr", "enabled": True}, {"name": "sshServer", "enabled": True}])
    assert made.changes == (EnableRuleset("sshServer"),)
    assert told(made) == {"ruleset_unknown": "rules: sshServr: no such ruleset, did you mean sshServer?"}


def test_an_unknown_rule_is_found_although_only_named_rulesets_were_read() -> None:
    made = by_name(host(complete=False), "sshServr", enabled=True)
    assert told(made) == {"ruleset_unknown": "rules: sshServr: no such ruleset, did you mean sshServer?"}
    assert "did you mean" not in told(by_name(host(), "zzzzzz", enabled=True))["ruleset_unknown"]


def test_a_ruleset_of_another_release_is_gone_and_not_unknown() -> None:
    made = by_name(host(version="7.0.3"), "rabbitmqproxy", enabled=True)
    assert [finding.code for finding in made.errors] == ["ruleset_gone"]
    assert "6.5 to 6.7" in made.errors[0].text and "7.0.3" in made.errors[0].text
    assert [f.level for f in by_name(host(), "rabbitmqproxy", enabled=False).findings] == ["note"], "what is gone is closed"
    assert by_name(host(), "rabbitmqproxy", ip_address=["192.0.2.1"]).errors, "a list for what is gone cannot be set"


def test_a_port_that_the_hosts_ruleset_lacks_and_a_later_release_has() -> None:
    """vSAN's tcp/12443 came with 8.0; a host of 6.7 has the ruleset and not the port."""
    state = host(ruleset("rdt", "in tcp 2233, out tcp 2233", enabled=False), version="6.7.0")
    made = planned(state, ports=[{"port": "12443", "protocol": "tcp", "direction": IN}])
    assert made.changes == () and "rdt of this host does not have it" in told(made)["ruleset_gone"]
    assert "rdt is in 6.5" not in told(made)["ruleset_gone"]


def test_a_port_that_only_a_wide_ruleset_has_beside_its_wide_rules_is_not_answered_by_it() -> None:
    """remoteSerialPort has tcp/23 inbound in a rule of its own."""
    state = host(ruleset("remoteSerialPort", "out tcp 0-65535, in tcp 23, in tcp 1024-65535", enabled=False))
    made = planned(state, ports=[{"port": "23", "protocol": "tcp", "direction": IN}])
    assert made.changes == () and told(made) == {"port_no_ruleset": "tcp/23 inbound: no ruleset has it"}


def test_a_required_ruleset_stays_open_and_its_list_may_still_shrink() -> None:
    made = by_name(host(ssh(required=True)), "sshServer", enabled=False, ip_address=["192.0.2.1"])
    assert listing(made) == ["192.0.2.1"] and told(made) == {"ruleset_required": "rules: sshServer: sshServer is required"}
    wider = by_name(host(replace(LISTED, required=True)), "sshServer", enabled=False, all_ip=True)
    assert wider.changes == (), "what should be closed is not opened to more"


def test_a_service_owned_ruleset_that_is_as_wished_is_compliant() -> None:
    for enabled in (True, False):
        made = by_name(host(ruleset("ntpClient", "out udp 123", enabled=enabled, controllable=False)), "ntpClient", enabled=enabled)
        assert made.changes == () and made.findings == ()


@pytest.mark.parametrize(
    ("service", "running", "says"),
    [
        (None, (), "its service ntpd, which is stopped"),
        (None, ("ntpd",), "its service ntpd, which is running"),
        ("chrony", (), "its service chrony"),
    ],
)
def test_a_service_owned_ruleset_that_is_not_as_wished_names_its_service(service: str | None, running: tuple[str, ...], says: str) -> None:
    owned = ruleset("ntpClient", "out udp 123", enabled=False, controllable=False, service=service)
    made = by_name(host(owned, running=frozenset(running)), "ntpClient", enabled=True)
    assert made.changes == () and [finding.code for finding in made.errors] == ["ruleset_service_owned"] and says in made.errors[0].text


def test_an_owner_that_nobody_knows_is_told_as_such() -> None:
    made = by_name(host(ruleset("addOn", "in tcp 9", enabled=True, controllable=False)), "addOn", enabled=False)
    assert "a service of the host" in told(made)["ruleset_service_owned"]


def test_the_list_of_a_service_owned_ruleset_can_be_set_where_the_host_lets_it() -> None:
    owned = ruleset("ntpClient", "out udp 123", controllable=False, listable=True)
    made = by_name(host(owned), "ntpClient", enabled=True, ip_address=["192.0.2.9"])
    assert listing(made) == ["192.0.2.9"] and made.findings == ()


def test_a_locked_list_is_a_finding_and_the_toggle_is_still_made() -> None:
    locked = ssh(enabled=True, listable=False)
    made = by_name(host(locked), "sshServer", enabled=False, ip_address=["192.0.2.1"])
    assert made.changes == (DisableRuleset("sshServer"),) and "ruleset_list_locked" in told(made)


def test_a_ruleset_that_was_to_be_opened_to_some_is_not_opened_to_all_because_its_list_is_locked() -> None:
    made = by_name(host(ssh(enabled=False, listable=False)), "sshServer", enabled=True, ip_address=["192.0.2.1"])
    assert made.changes == () and [finding.code for finding in made.errors] == ["ruleset_list_locked"]
    assert "everybody" in made.errors[0].text and "192.0.2.1" in made.errors[0].text


def test_a_locked_list_that_lets_in_only_who_may_does_not_keep_the_ruleset_closed() -> None:
    locked = ssh(enabled=False, listable=False, allowed=allowed_of(False, "192.0.2.1"))
    made = by_name(host(locked), "sshServer", enabled=True, ip_address=["192.0.2.1", "192.0.2.2"])
    assert made.changes == (EnableRuleset("sshServer"),) and "ruleset_list_locked" in told(made)


def test_8_0_update_2_as_first_shipped_locks_the_toggle_of_ssh_and_the_list_of_vmotion() -> None:
    """U2b opened both again (rulesets.yml, ga_8_0_2)."""
    state = host(
        ssh(controllable=False, listable=True), ruleset("vMotion", "in tcp 8000", controllable=False, listable=False), version="8.0.2"
    )
    assert set(told(by_name(state, "sshServer", enabled=False))) == {"ruleset_service_owned"}
    assert listing(by_name(state, "sshServer", ip_address=["192.0.2.1"])) == ["192.0.2.1"]
    assert set(told(by_name(state, "vMotion", ip_address=["192.0.2.1"]))) == {"ruleset_list_locked"}


def test_nfs_client_is_never_touched() -> None:
    state = host(ruleset("nfsClient", "out tcp 0-65535", enabled=True), ssh())
    for fields in ({"enabled": False}, {"ip_address": ["192.0.2.1"]}, {"enabled": False, "all_ip": False}):
        made = by_name(state, "nfsClient", allow_lockout=True, **fields)
        assert made.changes == () and [finding.code for finding in made.errors] == ["ruleset_by_mounts"]
    kept = planned(state, rules=entry("sshServer", enabled=True), exclusive=True)
    assert kept.changes == () and "follows mounts: nfsClient" in told(kept)["exclusive_kept"]
    as_is = by_name(state, "nfsClient", enabled=True)
    assert as_is.changes == () and as_is.findings == ()


# ---- wishes together ----------------------------------------------------------------------------------------------------------


def test_two_wishes_that_conflict_leave_the_ruleset_as_it_is() -> None:
    made = planned(host(ssh(enabled=False)), rules=entry("sshServer", enabled=True), services=entry("ssh", state="closed"))
    assert made.changes == () and [finding.code for finding in made.errors] == ["wishes_conflict"]
    assert "rules: sshServer" in made.errors[0].text and "services: ssh" in made.errors[0].text


def test_a_wish_for_all_and_one_for_a_list_conflict() -> None:
    made = planned(
        host(LISTED),
        rules=entry("sshServer", allowed_hosts={"all_ip": True}),
        services=entry("ssh", allowed_hosts={"ip_address": ["192.0.2.9"]}),
    )
    assert made.changes == () and set(told(made)) == {"wishes_conflict"}


def test_two_lists_for_one_ruleset_are_one_list_and_what_nobody_named_goes() -> None:
    rules = entry("sshServer", allowed_hosts={"ip_address": ["203.0.113.1"]})
    made = planned(host(LISTED), rules=rules, services=entry("ssh", allowed_hosts={"ip_network": ["203.0.113.128/25"]}))
    assert listing(made) == ["203.0.113.1", "203.0.113.128/25"]
    only = planned(host(LISTED), rules=rules, services=entry("ssh", allowed_hosts={"ip_address": ["203.0.113.2"]}))
    assert listing(only) == ["198.51.100.0/24", "203.0.113.1", "203.0.113.2"], "networks are left out, so they are left alone"


def test_lists_that_no_second_run_would_leave_alone_are_a_conflict() -> None:
    """Addresses are to be just these, and one is to go out of a network: what is left of it are addresses again."""
    state = host(ssh(allowed=allowed_of(False, "192.0.2.0/30")))
    made = planned(
        state,
        rules=entry("sshServer", allowed_hosts={"ip_address": ["198.51.100.1"]}),
        services=entry("ssh", allowed_hosts={"ip_address": ["192.0.2.1"]}, allowed_hosts_mode="remove"),
    )
    assert made.changes == () and set(told(made)) == {"wishes_conflict"}


# ---- ports ----------------------------------------------------------------------------------------------------------------------


def port(text: str, **fields: Any) -> list[dict[str, Any]]:
    protocol, number, direction = text.split()
    return [{"port": number, "protocol": protocol, "direction": IN if direction == "in" else OUT, **fields}]


SYNC = ruleset("DVSSync", "out udp 8302, in udp 8301, out udp 8301, in udp 8302")


def test_a_closed_port_whose_ruleset_has_other_ports_is_a_finding() -> None:
    made = planned(host(SYNC), ports=port("udp 8301 in", state="closed"))
    assert made.changes == () and [finding.code for finding in made.errors] == ["port_close_shared"]
    for other in ("udp/8302 outbound", "udp/8301 outbound", "udp/8302 inbound"):
        assert other in made.errors[0].text
    assert "udp/8301 inbound," not in made.errors[0].text


def test_a_ruleset_is_closed_when_all_its_ports_are() -> None:
    both = port("udp 8301-8302 in", state="closed") + port("udp 8301 out", state="closed") + port("udp 8302 out", state="closed")
    made = planned(host(SYNC), ports=both)
    assert made.changes == (DisableRuleset("DVSSync"),) and made.findings == ()


def test_a_source_port_keeps_no_ruleset_open() -> None:
    """dhcp has "out udp src 68": nobody gets in by it."""
    dhcp = ruleset("dhcp", "in udp 68, out udp src 68")
    assert planned(host(dhcp), ports=port("udp 68 in", state="closed")).changes == (DisableRuleset("dhcp"),)
    assert set(told(planned(host(dhcp), ports=port("udp 68 out")))) == {"port_no_ruleset"}


def test_a_port_that_is_to_be_closed_and_stays_open_by_a_wide_ruleset_is_told() -> None:
    wide = ruleset("gdbserver", "in tcp 1000-9999, in tcp 50000-50999")
    made = planned(host(wide), ports=port("tcp 2000 in", state="closed"))
    assert made.changes == () and set(told(made)) == {"port_wide_open"} and not made.errors
    assert planned(host(replace(wide, enabled=False)), ports=port("tcp 2000 in", state="closed")).findings == ()


def test_a_range_opens_the_ruleset_of_each_of_its_ports_and_tells_of_the_others() -> None:
    state = host(ssh(enabled=False), ruleset("telnet", "in tcp 23", enabled=False))
    made = planned(state, ports=port("tcp 20-25 in"))
    assert set(made.changes) == {EnableRuleset("sshServer"), EnableRuleset("telnet")}
    assert told(made) == {"port_no_ruleset": "tcp/20-21, 24-25 inbound: no ruleset has it"}


def test_a_range_with_many_gaps_is_one_finding() -> None:
    state = host(*(ruleset(f"add{n}", f"in tcp {n}") for n in range(30000, 30020, 2)))
    made = planned(state, ports=port("tcp 30000-30019 in"))
    assert [finding.text for finding in made.findings] == ["tcp/30001, 30003, 30005, 30007, 30009 and 5 more inbound: no ruleset has it"]


@pytest.mark.parametrize(("enabled", "code"), [(True, "port_shared"), (False, "port_ambiguous")])
def test_pieces_of_a_range_that_the_same_rulesets_have_are_one_finding(enabled: bool, code: str) -> None:
    rules = ", ".join(f"in tcp {n}" for n in range(30000, 30020, 2))
    state = host(ruleset("a", rules, enabled), ruleset("b", rules, enabled))
    (finding,) = (found for found in planned(state, ports=port("tcp 30000-30019 in")).findings if found.code == code)
    assert "at 30000, 30002, 30004, 30006, 30008 and 5 more" in finding.text and "a, b" in finding.text


def test_a_range_that_a_wide_ruleset_keeps_open_is_told_once() -> None:
    state = host(ruleset("wide", "in tcp 1000-9999"), ruleset("a", "in tcp 2000", False), ruleset("b", "in tcp 3000", False))
    made = planned(state, ports=port("tcp 1500-4000 in", state="closed"))
    assert [finding.code for finding in made.findings] == ["port_wide_open"]


def test_of_two_rulesets_with_a_port_the_one_that_another_wish_opens_is_meant() -> None:
    """Else the second run would set the list that the first did not."""
    state = host(client(key="NFC", enabled=False), client(enabled=False))
    wish = port("tcp 443 in", allowed_hosts={"ip_address": ["192.0.2.1"]})
    made = planned(state, rules=entry("NFC", enabled=True), ports=wish)
    assert [type(change) for change in made.changes] == [SetAllowedHosts, EnableRuleset] and made.findings == ()
    assert made.predicted.all()["NFC"].allowed.describe() == ["192.0.2.1"]
    opened = host(client(key="NFC"), client())
    closing = planned(opened, rules=entry("NFC", enabled=False), ports=wish)
    assert closing.predicted.all()["vSphereClient"].allowed.describe() == ["192.0.2.1"]


def test_a_list_for_a_port_that_two_open_rulesets_have_is_ambiguous() -> None:
    made = planned(host(client(key="NFC"), client()), ports=port("tcp 443 in", allowed_hosts={"ip_address": ["192.0.2.1"]}))
    assert made.changes == () and told(made) == {"port_ambiguous": "ports: tcp/443 inbound: NFC, vSphereClient are open with it"}


# ---- policy ---------------------------------------------------------------------------------------------------------------------


def test_a_list_under_an_open_policy_is_told_to_decide_nothing() -> None:
    state = host(ssh(), ruleset("syslog", "out udp 514"), incoming_blocked=False)
    assert told(by_name(state, "sshServer", ip_address=["192.0.2.1"])) == {"policy_open": "inbound is not blocked by default"}
    assert told(by_name(state, "sshServer", enabled=False)) == {"policy_open": "inbound is not blocked by default"}
    assert told(by_name(state, "sshServer", enabled=True)) == {}
    assert told(by_name(state, "syslog", ip_address=["192.0.2.1"])) == {}
    assert told(by_name(state, "sshServer", ip_address=["192.0.2.1"], default_policy={"incoming_blocked": True})) == {}


def test_a_direction_of_the_policy_that_is_left_out_is_not_written() -> None:
    made = planned(host(incoming_blocked=False, outgoing_blocked=False), default_policy={"incoming_blocked": True})
    assert made.changes == (SetDefaultPolicy(incoming_blocked=True),) and made.predicted.outgoing_blocked is False
    assert made.changes[0].describe() == {"change": "set_default_policy", "incoming_blocked": True}


def test_opening_one_direction_and_blocking_the_other_are_two_writes_the_opening_first() -> None:
    made = planned(host(incoming_blocked=False), default_policy={"incoming_blocked": True, "outgoing_blocked": False})
    assert made.changes == (SetDefaultPolicy(outgoing_blocked=False), SetDefaultPolicy(incoming_blocked=True))


# ---- order of writes ------------------------------------------------------------------------------------------------------------


def test_restrict_before_enable_and_enable_before_widen() -> None:
    state = host(
        ruleset("a", "in tcp 1", enabled=False),
        ruleset("b", "in tcp 2"),
        ruleset("c", "in tcp 3", allowed=allowed_of(False, "192.0.2.1")),
        ssh(),
    )
    only = {"allowed_hosts": {"ip_address": ["192.0.2.9"]}}
    made = planned(
        state,
        rules=[
            {"name": "c", "allowed_hosts": {"all_ip": True}},
            {"name": "a", "enabled": True, **only},
            {"name": "sshServer", "enabled": False},
            {"name": "b", **only},
        ],
    )
    shape = [(type(change).__name__, getattr(change, "ruleset", "")) for change in made.changes]
    assert shape[0] == ("SetAllowedHosts", "a") and set(shape[1:3]) == {("SetAllowedHosts", "b"), ("DisableRuleset", "sshServer")}
    assert shape[3:] == [("EnableRuleset", "a"), ("SetAllowedHosts", "c")]


def test_two_rulesets_that_swap_their_peers_never_miss_one() -> None:
    """Each list is written twice: with both peers, then with the new one."""
    state = host(client("192.0.2.1"), client("192.0.2.2", key="NFC"), peers=(VCENTER, NODE))
    made = planned(
        state,
        rules=[
            {"name": "vSphereClient", "allowed_hosts": {"ip_address": ["192.0.2.2"]}},
            {"name": "NFC", "allowed_hosts": {"ip_address": ["192.0.2.1"]}},
        ],
    )
    assert made.findings == () and len(made.changes) == 4
    assert all(change.allowed.describe() == ["192.0.2.1", "192.0.2.2"] for change in made.changes[:2])  # type: ignore[attr-defined]
    assert made.predicted.all()["NFC"].allowed.describe() == ["192.0.2.1"]


def test_what_was_done_is_taken_back_last_first_with_what_was_there_just_before() -> None:
    one, two = allowed_of(False, "192.0.2.1"), allowed_of(False, "192.0.2.2")
    state = host(client("198.51.100.1"), ssh(enabled=False), incoming_blocked=False)
    done = [
        SetAllowedHosts("vSphereClient", one),
        EnableRuleset("sshServer"),
        SetAllowedHosts("vSphereClient", two),
        DisableRuleset("vSphereClient"),
        SetDefaultPolicy(incoming_blocked=True),
    ]
    assert firewall.undo(state, done) == [
        SetDefaultPolicy(incoming_blocked=False),
        EnableRuleset("vSphereClient"),
        SetAllowedHosts("vSphereClient", one),
        DisableRuleset("sshServer"),
        SetAllowedHosts("vSphereClient", allowed_of(False, "198.51.100.1")),
    ]


# ---- lockout --------------------------------------------------------------------------------------------------------------------

PEERS = (
    VCENTER,
    NODE,
    Peer(who="vCenter", direction=IN, protocol="tcp", port=902, address="192.0.2.1"),
    Peer(who="heartbeat to vCenter", direction=OUT, protocol="udp", port=902, address="192.0.2.1"),
    Peer(who="this control node by SSH", direction=IN, protocol="tcp", port=22, address="192.0.2.2"),
    Peer(who="time server", direction=OUT, protocol="udp", port=123, address="2001:db8::7b"),
    Peer(who="name server", direction=OUT, protocol="udp", port=53, address="192.0.2.53"),
    Peer(who="NFS server", direction=OUT, protocol="tcp", port=2049, address="192.0.2.49"),
    Peer(who="iSCSI target", direction=OUT, protocol="tcp", port=3260, address="2001:db8::15c"),
    Peer(who="DHCP server", direction=IN, protocol="udp", port=68),
    Peer(who="vSAN hosts", direction=OUT, protocol="udp", port=12345),
)


def way_of(peer: Peer) -> Ruleset:
    return ruleset("theWay", f"{'in' if peer.direction == IN else 'out'} {peer.protocol} {peer.port}")


WAYS: dict[str, dict[str, Any]] = {
    "disabled": {"rules": entry("theWay", enabled=False)},
    "list": {"rules": entry("theWay", allowed_hosts={"ip_address": ["198.51.100.1"]})},
    "typo in a network": {"rules": entry("theWay", allowed_hosts={"ip_network": ["192.0.3.0/24", "2001:db9::/64"]})},
    "emptied list": {"rules": entry("theWay", allowed_hosts={"all_ip": False})},
    "port closed": {},
    "exclusive": {"rules": entry("other", enabled=True), "exclusive": True},
    "default policy": {"default_policy": {"incoming_blocked": True, "outgoing_blocked": True}},
    "record": {},
}


def cutting(peer: Peer, way: str) -> tuple[State, dict[str, Any]]:
    """A host that hears a peer, and a wish that would end that."""
    state = host(way_of(peer), ruleset("other", "in tcp 7"), peers=(peer,))
    options = dict(WAYS[way])
    if way == "port closed":
        options["ports"] = [{"port": str(peer.port), "protocol": peer.protocol, "direction": peer.direction, "state": "closed"}]
    if way == "default policy":
        state = replace(state.with_ruleset(replace(way_of(peer), enabled=False)), incoming_blocked=False, outgoing_blocked=False)
    if way == "record":
        past = state.with_ruleset(replace(way_of(peer), enabled=False))
        options["restore"] = {"format": RECORD, "hosts": [firewall.record(past)]}
    return state, options


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_a_peer_is_not_cut_off_and_the_finding_names_peer_and_rule(peer: Peer, way: str) -> None:
    state, options = cutting(peer, way)
    assert state.hears(peer)
    made = planned(state, **options)
    assert made.predicted.hears(peer)
    findings = told(made)
    if way == "exclusive":
        assert made.changes == () and "would cut somebody off: theWay" in findings["exclusive_kept"]
    else:
        assert [finding.code for finding in made.errors] == ["lockout_refused"]
        text = findings["lockout_refused"]
        assert peer.who in text and (peer.address or "") in text and f"{peer.protocol}/{peer.port}" in text
        assert ("incoming" if peer.direction == IN else "outgoing") in text if way == "default policy" else "theWay" in text
    bold = planned(state, **options, allow_lockout=True)
    assert not bold.predicted.hears(peer) or peer.address is None, "else the test above proves nothing"
    assert bold.changes and "lockout_refused" not in told(bold) and peer.who in told(bold)["lockout_allowed"]
    assert not bold.errors


def test_only_the_part_of_a_plan_that_cuts_somebody_off_is_left_out() -> None:
    state = host(client(), ssh(), ruleset("syslog", "out udp 514", enabled=False), peers=(VCENTER,))
    made = planned(state, rules=[{"name": key, "enabled": key == "syslog"} for key in ("vSphereClient", "sshServer", "syslog")])
    assert made.changes == (DisableRuleset("sshServer"), EnableRuleset("syslog"))
    assert told(made) == {"lockout_refused": f"rules: vSphereClient: closing vSphereClient would shut out {VCENTER}"}


def test_a_list_that_has_the_peer_is_no_lockout_in_any_spelling() -> None:
    peer = replace(VCENTER, address="2001:db8::1")
    made = by_name(host(client(), peers=(peer,)), "vSphereClient", ip_network=["2001:DB8::FFFF/64"])
    assert listing(made) == ["2001:db8::/64"] and made.findings == ()


def test_a_way_that_moves_from_one_ruleset_to_another_is_no_lockout_and_never_missed() -> None:
    state = host(client(), client(key="NFC", enabled=False), peers=(VCENTER,))
    for names in (("vSphereClient", "NFC"), ("NFC", "vSphereClient")):
        made = planned(state, rules=[{"name": key, "enabled": key == "NFC"} for key in names])
        assert made.changes == (EnableRuleset("NFC"), DisableRuleset("vSphereClient")) and made.findings == ()


def test_a_way_that_moves_to_the_default_policy_is_no_lockout() -> None:
    made = by_name(host(client(), peers=(VCENTER,)), "vSphereClient", enabled=False, default_policy={"incoming_blocked": False})
    assert made.changes == (SetDefaultPolicy(incoming_blocked=False), DisableRuleset("vSphereClient")) and not made.errors


def test_a_ruleset_held_back_at_first_goes_when_another_has_taken_its_way() -> None:
    """ "a" comes first in the order of names, and is only possible after "z"."""
    state = host(client("192.0.2.2", key="a"), client("192.0.2.1", key="c"), client("192.0.2.1", key="z"), peers=(VCENTER, NODE, lost))
    wish = [
        {"name": "a", "enabled": False},
        {"name": "z", "allowed_hosts": {"ip_address": ["192.0.2.2"]}},
        {"name": "only", "enabled": False},
    ]
    made = planned(state.with_ruleset(ruleset("only", "in tcp 7")), rules=wish)
    assert not made.predicted.all()["a"].enabled and "closing only" in told(made)["lockout_refused"]


lost = Peer(who="somebody", direction=IN, protocol="tcp", port=7, address="192.0.2.7")


def test_with_allow_lockout_only_those_are_told_who_are_lost_in_the_end() -> None:
    """Two swap their ways and a third loses his: each step of the swap alone would lose somebody, too."""
    state = host(client("192.0.2.1", key="a"), client("192.0.2.2", key="b"), ruleset("only", "in tcp 7"), peers=(VCENTER, NODE, lost))
    rules = [
        {"name": "a", "allowed_hosts": {"ip_address": ["192.0.2.2"]}},
        {"name": "b", "allowed_hosts": {"ip_address": ["192.0.2.1"]}},
        {"name": "only", "enabled": False},
    ]
    made = planned(state, rules=rules, allow_lockout=True)
    assert told(made) == {"lockout_allowed": f"only shuts out {lost}"} and not made.predicted.all()["only"].enabled
    careful = planned(state, rules=rules)
    assert careful.predicted.hears(lost) and careful.predicted.hears(VCENTER) and careful.predicted.hears(NODE)


def test_who_is_not_heard_anyway_holds_nothing_back() -> None:
    state = host(client("198.51.100.1"), ssh(enabled=False), peers=(VCENTER, replace(NODE, port=22)))
    made = planned(
        state, rules=[{"name": "vSphereClient", "enabled": False}, {"name": "sshServer", "allowed_hosts": {"ip_address": ["198.51.100.1"]}}]
    )
    assert len(made.changes) == 2 and made.findings == ()


def test_a_peer_known_by_name_only_is_told_when_a_list_may_shut_it_out_and_refused_when_it_must() -> None:
    named = replace(PEERS[5], address="time.example.com")
    state = host(ruleset("ntpClient", "out udp 123"), peers=(named,))
    made = by_name(state, "ntpClient", ip_address=["192.0.2.1"])
    assert listing(made) == ["192.0.2.1"] and set(told(made)) == {"peer_unclear"} and "time.example.com" in told(made)["peer_unclear"]
    assert set(told(by_name(state, "ntpClient", enabled=False))) == {"lockout_refused"}


HERE = replace(VCENTER, present=True)


@pytest.mark.parametrize("wish", [{"ip_address": ["192.0.2.1"]}, {"ip_address": [], "ip_network": ["192.0.2.64/26"]}])
def test_who_is_here_from_another_address_than_the_known_one_is_not_cut_off(wish: dict[str, Any]) -> None:
    """A NAT, a second adapter, IPv6: the lists have never seen the address that the host says its vCenter has."""
    state = host(client("198.51.100.7", "2001:db8::/64"), peers=(HERE,))
    made = by_name(state, "vSphereClient", **wish)
    assert made.changes == () and set(told(made)) == {"lockout_refused"}
    assert "vCenter 192.0.2.1, perhaps behind 198.51.100.7 (tcp/443 inbound)" in told(made)["lockout_refused"]
    assert "/32" not in told(made)["lockout_refused"]
    assert by_name(replace(state, peers=(VCENTER,)), "vSphereClient", **wish).changes, "who is not shown to be here does not count"
    assert listing(by_name(state, "vSphereClient", "merge", ip_address=["192.0.2.1"])) == ["192.0.2.1", "198.51.100.7", "2001:db8::/64"]


def test_who_is_here_by_the_known_address_may_be_all_that_a_list_has() -> None:
    for state in (host(client(), peers=(HERE,)), host(client("192.0.2.0/24"), peers=(HERE,))):
        assert listing(by_name(state, "vSphereClient", ip_address=["192.0.2.1"], ip_network=[])) == ["192.0.2.1"]


def test_a_doubt_outlasts_the_write_that_lists_the_known_address() -> None:
    state = host(client("198.51.100.7"), client(key="NFC", enabled=False), peers=(HERE,))
    made = planned(state, rules=[{"name": "vSphereClient", "enabled": False}, {"name": "NFC", "enabled": True}][:1])
    assert made.changes == ()
    wish = [{"name": "NFC", "enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.1"]}}, {"name": "vSphereClient", "enabled": False}]
    first = planned(state, rules=wish)
    assert first.predicted.all()["vSphereClient"].enabled and set(told(first)) == {"lockout_refused"}
    read = firewall.after(replace(first.predicted, peers=(HERE,)), first.predicted, False)
    assert planned(read, rules=wish).changes == ()


def test_who_is_here_is_not_said_to_be_shut_out() -> None:
    assert look(host(client("198.51.100.7"), peers=(HERE,))).findings == ()
    assert set(told(look(host(client(enabled=False), peers=(HERE,))))) == {"peer_shut_out"}


# ---- lists that cannot be read --------------------------------------------------------------------------------------------------

ODD = Allowed(False, allowed_of(False, "192.0.2.1").networks, ("gone.example.com",))


@pytest.mark.parametrize("wish", [{"ip_address": ["192.0.2.1"]}, {"all_ip": True}, {"ip_network": ["198.51.100.0/24"]}])
def test_a_list_with_an_entry_that_cannot_be_read_is_not_written(wish: dict[str, Any]) -> None:
    made = by_name(host(ssh(allowed=ODD)), "sshServer", **wish)
    assert made.changes == () and set(told(made)) == {"ruleset_list_unreadable"}
    assert "'gone.example.com'" in told(made)["ruleset_list_unreadable"]
    assert made.predicted.all()["sshServer"].allowed.describe() == ["192.0.2.1", "gone.example.com"]


def test_what_an_unreadable_list_has_already_is_no_finding_and_its_ruleset_may_be_toggled() -> None:
    state = host(ssh(allowed=ODD))
    assert by_name(state, "sshServer", "merge", ip_address=["192.0.2.1"]).findings == ()
    assert set(told(by_name(state, "sshServer", "merge", ip_address=["192.0.2.2"]))) == {"ruleset_list_unreadable"}
    assert by_name(state, "sshServer", enabled=False).changes == (DisableRuleset("sshServer"),)


def test_an_unreadable_list_may_be_the_way_of_a_peer() -> None:
    only = replace(ODD, networks=())
    state = host(ruleset("vSphereClient", "in tcp 443", allowed=only), peers=(HERE,))
    made = by_name(state, "vSphereClient", enabled=False)
    assert made.changes == () and "perhaps behind gone.example.com" in told(made)["lockout_refused"]
    assert "list_empty" not in told(look(state))


def test_a_record_keeps_what_cannot_be_read_and_never_writes_it() -> None:
    state = host(ssh(allowed=ODD))
    assert planned(state, restore=record_of(state)).findings == ()
    for now, past in ((ssh(), ODD), (ssh(allowed=ODD), allowed_of(True))):
        made = planned(host(now), restore=record_of(host(ssh(allowed=past))))
        assert made.changes == () and set(told(made)) == {"ruleset_list_unreadable"}


def test_exclusive_closes_what_is_not_listed_and_keeps_what_it_must_with_reasons() -> None:
    state = host(
        client(required=True),
        ruleset("CIMHttpServer", "in tcp 5988", controllable=False),
        ruleset("snmp", "in udp 161", service="snmpd"),
        ruleset("vpxHeartbeats", "out udp 902", service="vpxa"),
        ruleset("NFC", "in tcp 902"),
        ruleset("syslog", "out udp 514"),
        ruleset("WOL", "out udp 9"),
        ssh(enabled=False),
        running=frozenset({"snmpd"}),
        peers=(PEERS[2],),
    )
    made = planned(state, rules=entry("syslog", enabled=True), exclusive=True)
    assert set(made.changes) == {DisableRuleset("vpxHeartbeats"), DisableRuleset("WOL")} and not made.errors
    text = told(made)["exclusive_kept"]
    assert "required: vSphereClient" in text and "owned by a service: CIMHttpServer, snmp" in text and "cut somebody off: NFC" in text


@pytest.mark.parametrize(
    "options",
    [
        {"rules": entry("sshServer")},
        {"rules": entry("sshServer", allowed_hosts={"ip_address": ["192.0.2.1"]})},
        {"services": entry("ssh")},
        {"ports": port("tcp 22 in")},
        {"ports": port("tcp 22 in", state="closed")},
    ],
)
def test_exclusive_leaves_open_what_is_listed_in_any_way(options: dict[str, Any]) -> None:
    """One that was to be closed and cannot be, because it has another port, counts as listed: the finding speaks of it."""
    made = planned(host(ruleset("sshServer", "in tcp 22, in tcp 2222"), ruleset("WOL", "out udp 9")), exclusive=True, **options)
    assert made.predicted.all()["sshServer"].enabled and not made.predicted.all()["WOL"].enabled


def test_exclusive_keeps_storage_and_ha_of_whose_use_nothing_is_told_and_an_explicit_wish_closes_them() -> None:
    keys = ("vvold", "nvmetcp", "fdm")
    state = host(ssh(enabled=False), *(ruleset(key, "out tcp 4420") for key in keys))
    made = planned(state, rules=entry("sshServer", enabled=True), exclusive=True)
    assert made.changes == (EnableRuleset("sshServer"),) and told(made) == {"exclusive_kept": "may be in use: vvold, nvmetcp, fdm"}
    assert set(planned(state, rules=[{"name": key, "enabled": False} for key in keys]).changes) == {DisableRuleset(key) for key in keys}


def test_exclusive_keeps_every_ruleset_that_has_a_shared_port() -> None:
    made = planned(host(client(), client(key="NFC"), ssh()), ports=port("tcp 443 in"), exclusive=True)
    assert made.changes == (DisableRuleset("sshServer"),) and set(told(made)) == {"port_shared"}


# ---- what is said of a host -----------------------------------------------------------------------------------------------------


def look(state: State, **options: Any) -> Plan:
    return planned(state, opens=options.pop("opens", None), **options)


def test_looking_finds_wide_rulesets_empty_lists_open_policies_and_peers_that_are_shut_out() -> None:
    wide = ruleset("vSPC", "out tcp 0-65535")
    state = host(wide, ssh(allowed=allowed_of(False)), client("198.51.100.1"), peers=(VCENTER,), outgoing_blocked=False)
    made = look(state)
    assert made.changes == () and set(told(made)) == {"wide_ruleset_open", "list_empty", "peer_shut_out", "policy_open"}
    assert "vSPC" in told(made)["wide_ruleset_open"] and str(VCENTER) in told(made)["peer_shut_out"]
    well = look(host(replace(wide, enabled=False), ssh(), client(), peers=(VCENTER,)))
    assert well.findings == ()
    assert look(host(replace(wide, allowed=allowed_of(False, "192.0.2.1")))).findings == (), "restricted is not wide open"


def test_what_opens_a_port_here_names_every_ruleset_that_has_it() -> None:
    state = host(client(enabled=False), ruleset("NFC", "in tcp 902, out tcp 902"), ruleset("vSPC", "out tcp 0-65535"))
    wanted = parse({"opens": [{"port": "902", "protocol": "tcp"}, {"port": "443", "protocol": "tcp", "direction": IN}]})
    answers = firewall.report(state, wanted, None, full=True)["opens"]
    first = [(one["ruleset"], one["direction"], one["enabled"], one["wide"]) for one in answers[0]["rulesets"]]
    assert first == [("NFC", IN, True, False), ("NFC", OUT, True, False), ("vSPC", OUT, True, True)]
    assert answers[0]["open"] == {IN: True, OUT: True} and answers[0]["port"] == "tcp/902"
    assert answers[1]["open"] == {IN: False} and answers[1]["port"] == "tcp/443 inbound"


def test_a_range_is_open_when_all_of_it_is() -> None:
    state = host(ruleset("a", "in tcp 10-19"), ruleset("b", "in tcp 20-29", allowed=allowed_of(False)), ruleset("c", "in tcp 30-39"))
    for text, opened in (("10-19", True), ("12-15", True), ("10-29", False), ("9-12", False), ("25", False), ("30-39", True)):
        wanted = parse({"opens": [{"port": text, "protocol": "tcp", "direction": IN}]})
        assert firewall.report(state, wanted, None, full=True)["opens"][0]["open"] == {IN: opened}, text


# ---- records ----------------------------------------------------------------------------------------------------------------------


def record_of(*states: State) -> dict[str, Any]:
    return json.loads(json.dumps({"format": RECORD, "hosts": [firewall.record(state) for state in states]}))


def test_a_host_that_is_not_in_the_record_is_a_finding() -> None:
    made = planned(host(ssh(enabled=False), name="esx-2"), restore=record_of(host(ssh(), name="esx-1")))
    assert made.changes == () and [(finding.level, finding.code) for finding in made.findings] == [("warning", "not_in_record")]


def test_hosts_that_share_a_name_are_told_apart_by_their_ids_and_never_guessed() -> None:
    past = record_of(host(ssh(), name="esx", moid="host-1"), host(ssh(enabled=False), name="esx", moid="host-2"))
    for moid, enabled in (("host-1", True), ("host-2", False)):
        assert planned(host(ssh(enabled=not enabled), moid=moid), restore=past).predicted.all()["sshServer"].enabled is enabled
    assert set(told(planned(host(ssh(), moid="host-3"), restore=past))) == {"not_in_record"}


def test_a_host_that_was_added_to_its_vcenter_anew_is_still_the_one_of_its_name() -> None:
    assert planned(host(ssh(enabled=False), moid="host-99"), restore=record_of(host(ssh()))).changes == (EnableRuleset("sshServer"),)


def test_a_recorded_ruleset_that_is_gone_since_is_an_error_only_if_it_was_open() -> None:
    gone = host(ruleset("vvold", "out tcp 0-65535"), ssh())
    assert [f.code for f in planned(host(ssh()), restore=record_of(gone)).errors] == ["ruleset_gone"]
    shut = host(ruleset("vvold", "out tcp 0-65535", enabled=False), ssh())
    assert planned(host(ssh()), restore=record_of(shut)).errors == ()


def test_a_ruleset_that_came_after_the_record_is_left_alone() -> None:
    assert planned(host(ssh(), ruleset("new", "in tcp 9")), restore=record_of(host(ssh()))).changes == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda host: host.pop("rules"),
        lambda host: host.pop("name"),
        lambda host: host.pop("default_policy"),
        lambda host: host["default_policy"].pop("incoming_blocked"),
        lambda host: host["rules"][0].pop("enabled"),
        lambda host: host["rules"][0].update(enabled="false"),
        lambda host: host["rules"][0].update(allowed_hosts=None),
        lambda host: host["rules"][0]["allowed_hosts"].update(all_ip="no"),
        lambda host: host["rules"][0]["allowed_hosts"].update(ip_address=["999.1.1.1"]),
        lambda host: host["rules"][0]["allowed_hosts"].update(ip_address=[5]),
        lambda host: host["rules"][0]["allowed_hosts"].update(ip_address="192.0.2.1"),
        lambda host: host["rules"][0]["allowed_hosts"].update(ip_network=["192.0.2.1/24"]),
        lambda host: host["default_policy"].update(incoming_blocked=None),
    ],
)
def test_a_damaged_record_is_refused_whole(damage: Any) -> None:
    """Above all nothing is opened because "false" is not empty."""
    data = record_of(host(ssh(), name="well"), host(ssh(), name="damaged"))
    damage(data["hosts"][1])
    assert "the file in restore is damaged: host " in refused(restore=data)


def test_a_damaged_record_is_told_by_its_host() -> None:
    data = record_of(host(ssh(), name="well"), host(ssh(), name="damaged"))
    data["hosts"][1].pop("rules")
    assert refused(restore=data) == "the file in restore is damaged: host damaged has no 'rules'"


def test_rules_are_described_as_people_know_them() -> None:
    assert [str(rule(text)) for text in ("in tcp 22", "out udp src 68", "out tcp 9000-9100")] == [
        "tcp/22 inbound",
        "udp/68 outbound (source port)",
        "tcp/9000-9100 outbound",
    ]

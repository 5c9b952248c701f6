# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall module against the simulator: the classic traps by name, the order of writes, waves, the way back, records."""

from __future__ import annotations

import json
import pathlib
import random
import stat
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError
from tests.integration.driver import run
from tests.simulator import Simulator

Start = Callable[..., Simulator]
HOST = "esx-001.example.com"
PROFILES = ["6.7", "7.0.0", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0"]


def fleet(*hosts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"hosts": [{"profile": "8.0.3", "name": "esx-{n:03d}.example.com", **host} for host in hosts or ({},)], **more}


def ours(sim: Simulator, *, check: bool = False, **options: Any) -> dict[str, Any]:
    return run(sim, "esxi_firewall_ports", check=check, **{"esxi_hostname": ["*"], **options})


def rule(name: str, **wish: Any) -> dict[str, Any]:
    return {"name": name, **wish}


def rulesets(sim: Simulator, host: str = HOST) -> dict[str, Any]:
    found: dict[str, Any] = sim.state()["hosts"][host]["rulesets"]
    return found


def writes(sim: Simulator) -> list[tuple[str, str]]:
    return [(entry.method, entry.args.get("id", "")) for entry in sim.journal if entry.write]


def codes(host: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in host["findings"] if finding["status"] == "open"}


# ---- the classic traps ------------------------------------------------------------------------------------------------


def test_option_left_out_leaves_the_ruleset_open(simulator: Start) -> None:
    """community.vmware#178: allowed_hosts left out shut syslog."""
    given = {"syslog": {"enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"], "ip_network": ["203.0.113.0/24"]}}}
    sim = simulator(fleet({"rulesets": given}))
    before = rulesets(sim)
    kept: tuple[dict[str, Any], ...] = (
        {"enabled": True},
        {"allowed_hosts": None},
        {"allowed_hosts": {}},
        {"allowed_hosts": {"ip_address": ["192.0.2.10"]}},
    )
    for wish in kept:
        assert not ours(sim, rules=[rule("syslog", **wish)])["changed"], wish
    assert rulesets(sim) == before
    ours(sim, rules=[rule("syslog", allowed_hosts={"ip_address": ["192.0.2.11"]})])
    assert rulesets(sim)["syslog"]["ip_network"] == ["203.0.113.0/24"], "the list that was not named is left alone"


def test_list_without_mask_is_an_error_before_any_connection(simulator: Start) -> None:
    """The peer's module crashes with IndexError in the middle of its work."""
    sim = simulator(fleet())
    with pytest.raises(BadInput, match="without a mask"):
        ours(sim, rules=[rule("syslog", allowed_hosts={"ip_network": ["192.0.2.0"]})])
    assert sim.journal == []


def test_unknown_rule_on_one_host_of_many(simulator: Start) -> None:
    sim = simulator(fleet({"count": 2}, {"profile": "6.7"}, {"count": 2}))
    result = ours(sim, rules=[rule("syslog", enabled=True), rule("ptpd", enabled=False), rule("vic-engine", enabled=True)])
    old = result["hosts"]["esx-003.example.com"]
    assert old["status"] == "failed" and "ruleset_gone" in codes(old) and "vic-engine is in 8.0 and later" in old["failure"]["cause"]
    assert [change["ruleset"] for change in old["changes"]] == ["syslog"], "the rest of the wish is done there, too"
    assert all(host["status"] == "changed" for name, host in result["hosts"].items() if name != "esx-003.example.com")


def test_misspelt_rule_is_told_with_what_was_meant(simulator: Start) -> None:
    sim = simulator(fleet())
    result = ours(sim, rules=[rule("sslog", enabled=False), rule("SYSLOG", enabled=True)])
    host = result["hosts"][HOST]
    assert "did you mean syslog?" in host["failure"]["cause"]
    assert [change["ruleset"] for change in host["changes"]] == ["syslog"], "a name in another case is that name"


def test_null_firewall_info_is_a_finding_and_no_crash(simulator: Start) -> None:
    """community.vmware#1628, open since 2023."""
    sim = simulator(fleet({}, {"options": {"firewall_info": "unset"}}, {}))
    for wish in ({"rules": [rule("syslog", enabled=True)]}, {"services": [{"name": "web", "state": "closed"}]}):
        result = ours(sim, **wish)
        assert codes(result["hosts"]["esx-002.example.com"]) == {"firewall_unknown"}
        assert result["hosts"]["esx-001.example.com"]["status"] == result["hosts"]["esx-003.example.com"]["status"] == "changed"
    assert "firewall_unknown" in codes(run(sim, "esxi_firewall_info", esxi_hostname=["*"])["hosts"]["esx-002.example.com"])


def test_host_disconnected_half_way(simulator: Start) -> None:
    sim = simulator(fleet({"count": 3}))
    sim.fault(method="EnableRuleset", host="esx-002*", fault="HostNotReachable", then_state="not_responding")
    result = ours(sim, rules=[rule("syslog", enabled=True, allowed_hosts={"ip_address": ["192.0.2.10"]})])
    bad = result["hosts"]["esx-002.example.com"]
    assert bad["changed"] and [c["change"] for c in bad["changes"]] == ["set_allowed_hosts"]
    assert [c["change"] for c in bad["not_done"]] == ["enable_ruleset"] and bad["failure"]["hint"]
    assert {result["hosts"][f"esx-00{n}.example.com"]["status"] for n in (1, 3)} == {"changed"}


def test_ruleset_missing_on_older_release_is_compliant_when_it_shall_be_closed(simulator: Start) -> None:
    sim = simulator(fleet({"profile": "6.7"}, {"profile": "8.0.3"}))
    result = ours(sim, rules=[rule("rabbitmqproxy", enabled=False), rule("nvmetcp", enabled=False)])
    assert result["hosts"]["esx-001.example.com"]["status"] == "changed", "6.7 has rabbitmqproxy, open"
    assert result["hosts"]["esx-002.example.com"]["status"] == "compliant"


@pytest.mark.parametrize("fault", ["HostConfigFault", "InvalidState", "NotSupported", "InvalidArgument"])
@pytest.mark.parametrize("profile", ["8.0.2", "8.0.2b", "8.0.3", "9.0"])
def test_service_owned_rule_is_never_a_failed_write(simulator: Start, profile: str, fault: str) -> None:
    unknown = dict.fromkeys(("service_owned_toggle_fault", "service_owned_iplist_fault", "required_ruleset_fault"), fault)
    sim = simulator(fleet({"profile": profile, "options": unknown}))
    wrong = ours(
        sim, rules=[rule("vMotion", enabled=False), rule("snmp", enabled=True), rule("nfs41Client", allowed_hosts={"all_ip": False})]
    )
    host = wrong["hosts"][HOST]
    assert codes(host) >= {"ruleset_service_owned", "ruleset_list_locked"}
    assert "snmpd" in host["failure"]["cause"]
    right = ours(
        sim, rules=[rule("vMotion", enabled=True), rule("snmp", enabled=False), rule("nfs41Client", allowed_hosts={"all_ip": True})]
    )
    assert right["hosts"][HOST]["status"] == "compliant"
    assert writes(sim) == []


def test_first_8_0_u2_locks_lists_that_u2b_opens(simulator: Start) -> None:
    sim = simulator(fleet({"profile": "8.0.2"}, {"profile": "8.0.2b"}))
    result = ours(sim, rules=[rule("vMotion", allowed_hosts={"ip_network": ["192.0.2.0/24"]}), rule("sshServer", enabled=True)])
    assert codes(result["hosts"]["esx-001.example.com"]) == {"ruleset_list_locked"}
    assert result["hosts"]["esx-002.example.com"]["status"] == "changed"


@pytest.mark.parametrize("profile", PROFILES)
def test_rule_required(simulator: Start, profile: str) -> None:
    sim = simulator(fleet({"profile": profile}))
    result = ours(sim, rules=[rule("sshServer", enabled=False)])
    assert codes(result["hosts"][HOST]) == {"ruleset_service_owned" if profile == "8.0.2" else "ruleset_required"}
    assert writes(sim) == []


def test_nfs_client_belongs_to_the_mounts(simulator: Start) -> None:
    sim = simulator(fleet({"profile": "7.0.3", "nfs": [{"server": "203.0.113.20", "version": 3}]}))
    result = ours(sim, rules=[rule("nfsClient", enabled=False), rule("syslog", enabled=True)], exclusive=True)
    host = result["hosts"][HOST]
    assert codes(host) >= {"ruleset_by_mounts", "exclusive_kept"}
    assert rulesets(sim)["nfsClient"]["enabled"]


@pytest.mark.parametrize(
    "allowed",
    [
        {"ip_network": ["2001:DB8:AA::5/48", "198.51.100.77/24"], "ip_address": ["2001:DB8:0:0::A"]},
        {"ip_address": ["192.0.2.10-192.0.2.20", "192.0.2.12", "192.0.2.10"]},
        {"ip_network": ["192.0.2.0/25", "192.0.2.128/25", "192.0.2.7/32"]},
        {"ip_network": ["192.0.2.0/255.255.255.0"]},
    ],
)
@pytest.mark.parametrize("profile", ["6.7", "8.0.3"])
def test_two_spellings_never_differ(simulator: Start, profile: str, allowed: dict[str, Any]) -> None:
    sim = simulator(fleet({"profile": profile}))
    assert ours(sim, rules=[rule("syslog", enabled=True, allowed_hosts=allowed)])["changed"]
    assert not ours(sim, rules=[rule("syslog", enabled=True, allowed_hosts=allowed)])["changed"]
    shouted = {key: [text.upper() for text in reversed(texts)] for key, texts in allowed.items()}
    assert not ours(sim, rules=[rule("syslog", allowed_hosts=shouted)])["changed"]


def test_lists_that_a_host_keeps_oddly_spelt_are_not_rewritten(simulator: Start) -> None:
    odd = {"ip_address": ["2001:DB8::A", "2001:db8:0:0:0:0:0:a"], "ip_network": ["198.51.100.77/24", "198.51.100.0/24"]}
    sim = simulator(fleet({"rulesets": {"syslog": {"enabled": True, "allowed_hosts": odd}}}))
    wish = {"ip_address": ["2001:db8::a"], "ip_network": ["198.51.100.0/24"]}
    assert not ours(sim, rules=[rule("syslog", allowed_hosts=wish)])["changed"]
    assert not ours(sim, rules=[rule("syslog", allowed_hosts=wish, allowed_hosts_mode="merge")])["changed"]


@pytest.mark.parametrize("kept", [True, False])
def test_open_to_all_and_a_list_that_the_host_may_drop(simulator: Start, kept: bool) -> None:
    given = {"syslog": {"enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"]}}}
    sim = simulator(fleet({"rulesets": given, "options": {"keeps_list_when_all_ip": kept}}))
    assert ours(sim, rules=[rule("syslog", allowed_hosts={"all_ip": True})])["hosts"][HOST]["status"] == "changed"
    assert not ours(sim, rules=[rule("syslog", allowed_hosts={"all_ip": True})])["changed"]


def test_an_address_that_the_host_refuses_is_told_and_nothing_is_opened(simulator: Start) -> None:
    sim = simulator(fleet({"options": {"empty_list_fault": "InvalidArgument"}}))
    result = ours(sim, rules=[rule("syslog", enabled=True, allowed_hosts={"all_ip": False, "ip_address": [], "ip_network": []})])
    host = result["hosts"][HOST]
    assert host["status"] == "failed" and host["failure"]["fault"] == "InvalidArgument"
    assert not rulesets(sim)["syslog"]["enabled"], "a list that was refused must not be followed by opening"


# ---- the order of writes ------------------------------------------------------------------------------------------------


def opened(model: dict[str, Any], profile: Any, probes: list[tuple[str, str, int, str]]) -> set[tuple[str, str, int, str]]:
    """What gets through, worked out from a state dump, without a line of the collection."""
    import ipaddress

    def admits(entry: dict[str, Any], address: str) -> bool:
        texts = [*entry["ip_address"], *entry["ip_network"]]
        return entry["all_ip"] or any(ipaddress.ip_address(address) in ipaddress.ip_network(text, strict=False) for text in texts)

    found = set()
    for probe in probes:
        direction, protocol, port, address = probe
        if not model["default_policy"]["incoming_blocked" if direction == "inbound" else "outgoing_blocked"]:
            found.add(probe)
            continue
        for key in profile.covering(direction, protocol, port):
            if model["rulesets"][key]["enabled"] and admits(model["rulesets"][key], address):
                found.add(probe)
    return found


def replayed(model: dict[str, Any], entry: Any) -> dict[str, Any]:
    """The state dump after one more write of the journal."""
    after: dict[str, Any] = json.loads(json.dumps(model))
    if entry.method == "UpdateDefaultPolicy":
        policy = entry.args["defaultPolicy"]
        names = {"incomingBlocked": "incoming_blocked", "outgoingBlocked": "outgoing_blocked"}
        after["default_policy"].update({mine: policy[theirs] for theirs, mine in names.items() if policy.get(theirs) is not None})
    elif entry.method == "UpdateRuleset":
        hosts = entry.args["spec"]["allowedHosts"]
        networks = [f"{n['network']}/{n['prefixLength']}" for n in hosts.get("ipNetwork") or ()]
        after["rulesets"][entry.args["id"]].update(
            all_ip=hosts["allIp"], ip_address=list(hosts.get("ipAddress") or ()), ip_network=networks
        )
    else:
        after["rulesets"][entry.args["id"]]["enabled"] = entry.method == "EnableRuleset"
    return after


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_open_on_the_way_that_neither_end_opens(simulator: Start, seed: int) -> None:
    dice = random.Random(seed)
    names = ["syslog", "httpClient", "sshClient", "ftpClient", "webAccess", "updateManager", "faultTolerance", "WOL", "dns", "sshServer"]
    lists = [
        {"all_ip": True},
        {"ip_address": ["192.0.2.10"]},
        {"ip_network": ["192.0.2.0/24"]},
        {"ip_address": ["203.0.113.5", "192.0.2.10"]},
    ]

    def some(chance: float) -> dict[str, Any]:
        return {name: {"enabled": dice.random() < 0.5, "allowed_hosts": dice.choice(lists)} for name in names if dice.random() < chance}

    policy = {"incoming_blocked": dice.random() < 0.7, "outgoing_blocked": dice.random() < 0.7}
    profile = dice.choice(["7.0.3", "8.0.3"])
    sim = simulator(fleet({"profile": profile, "rulesets": some(0.9), "default_policy": policy}))
    model = sim.state()["hosts"][HOST]
    wish: dict[str, Any] = {"rules": [rule(name, **entry) for name, entry in some(0.7).items()], "exclusive": dice.random() < 0.4}
    if dice.random() < 0.4:
        wish["default_policy"] = {"incoming_blocked": dice.random() < 0.5, "outgoing_blocked": dice.random() < 0.5}
    ours(sim, **(wish if wish["rules"] else {**wish, "exclusive": False}))
    release = sim.world.hosts[0].state.profile
    edges = {
        (rule.direction, rule.protocol, rule.port) for row in release.rulesets.values() for rule in row.rules if rule.port_type == "dst"
    }
    probes = [(*edge, address) for edge in sorted(edges) for address in ("192.0.2.10", "192.0.2.77", "203.0.113.5", "127.0.0.1")]
    states = [model]
    for entry in sim.journal:
        if entry.write and entry.status == "ok":
            states.append(replayed(states[-1], entry))
    final = sim.state()["hosts"][HOST]
    assert states[-1]["rulesets"] == final["rulesets"] and states[-1]["default_policy"] == final["default_policy"], "the judge is right"
    ends = opened(states[0], release, probes) | opened(final, release, probes)
    for number, state in enumerate(states):
        assert opened(state, release, probes) <= ends, (
            f"after {number} writes: {[(e.method, e.args) for e in sim.journal if e.write][:number]}"
        )


def test_restrict_before_enable_enable_before_widen(simulator: Start) -> None:
    given = {"httpClient": {"enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.1"]}}, "sshClient": {"enabled": True}}
    sim = simulator(fleet({"rulesets": given}))
    ours(
        sim,
        rules=[
            rule("httpClient", allowed_hosts={"all_ip": True}),
            rule("sshClient", allowed_hosts={"ip_address": ["192.0.2.1"]}),
            rule("syslog", enabled=True, allowed_hosts={"ip_address": ["192.0.2.1"]}),
            rule("ftpClient", enabled=True),
        ],
    )
    assert writes(sim) == [
        ("UpdateRuleset", "syslog"),
        ("UpdateRuleset", "sshClient"),
        ("EnableRuleset", "ftpClient"),
        ("EnableRuleset", "syslog"),
        ("UpdateRuleset", "httpClient"),
    ]


# ---- ports and services ---------------------------------------------------------------------------------------------------


def test_ports_of_every_generation(simulator: Start) -> None:
    sim = simulator("firewall")
    wish = {"port": "514", "protocol": "udp", "direction": "outbound", "allowed_hosts": {"ip_address": ["192.0.2.10"]}}
    result = ours(sim, ports=[wish])
    for name, host in result["hosts"].items():
        if host["status"] not in ("unreachable", "failed"):
            state = rulesets(sim, name)["syslog"]
            assert (state["enabled"], state["all_ip"], state["ip_address"]) == (True, False, ["192.0.2.10"])
    assert not ours(sim, ports=[wish])["changed"]


def test_what_opens_a_port_here(simulator: Start) -> None:
    sim = simulator(fleet())
    asked = [{"port": "902", "protocol": "tcp"}, {"port": "8889", "protocol": "tcp", "direction": "inbound"}]
    inbound, none = run(sim, "esxi_firewall_info", esxi_hostname=["*"], opens=asked)["hosts"][HOST]["opens"]
    found = {(row["ruleset"], row["direction"], row["wide"]) for row in inbound["rulesets"] if not row["wide"]}
    assert found == {("vSphereClient", "inbound", False), ("NFC", "inbound", False), ("NFC", "outbound", False)}
    assert inbound["open"] == {"inbound": True, "outbound": True}
    assert none["open"] == {"inbound": False} and {row["ruleset"] for row in none["rulesets"]} <= {"gdbserver", "remoteSerialPort"}


def test_the_info_module_tells_who_is_shut_out_and_what_is_too_open(simulator: Start) -> None:
    sim = simulator("firewall")
    hosts = run(sim, "esxi_firewall_info", esxi_hostname=["*"])["hosts"]
    assert "wide_ruleset_open" in codes(hosts["esx-06.example.com"])
    assert "policy_open" in codes(hosts["esx-09.example.com"])
    assert any("iSCSI target 203.0.113.30 (tcp/3260 outbound)" in peer for peer in hosts["esx-12.example.com"]["has_to_hear"])
    sim.act(host="esx-01*", do="set_ruleset", key="dns", enabled=False)
    again = run(sim, "esxi_firewall_info", esxi_hostname=["esx-01*"])["hosts"]["esx-01.example.com"]
    assert any("name server" in finding["text"] for finding in again["findings"] if finding["code"] == "peer_shut_out")


# ---- waves ------------------------------------------------------------------------------------------------------------------


def test_waves_stop_at_the_canary(simulator: Start) -> None:
    sim = simulator(fleet({"count": 12}))
    sim.fault(method="EnableRuleset", host="esx-001*", fault="HostConfigFault", count=None)
    result = ours(sim, rules=[rule("syslog", enabled=True)], waves=["1", "50%", "100%"])
    assert result["summary"] == {"failed": 1, "skipped": 11}
    assert {host for _method, host in [(e.method, e.host) for e in sim.journal if e.write]} == {HOST}
    assert "max_failures is 0" in result["hosts"]["esx-007.example.com"]["failure"]["cause"]
    assert result["waves"] == [{"hosts": 1, "changed": 0, "failed": 1, "failed_hosts": [HOST]}]


def test_waves_in_their_sizes_and_what_no_wave_has_room_for(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(fleet({"count": 10}, {"count": 2, "rulesets": {"syslog": {"enabled": True}}}))
    lines = tmp_path / "progress"
    result = ours(sim, rules=[rule("syslog", enabled=True)], waves=["1", "25%"], progress_file=str(lines))
    assert [wave["hosts"] for wave in result["waves"]] == [1, 3]
    assert result["summary"] == {"changed": 4, "compliant": 2, "skipped": 6}
    assert "no wave has room" in result["hosts"]["esx-010.example.com"]["failure"]["cause"]
    assert lines.read_text().splitlines()[-1].startswith("wave 2 of 2: 3 hosts, 3 changed, 0 failed; 6 to go")
    assert not [e for e in sim.journal if e.write and e.host == "esx-010.example.com"]
    rest = ours(sim, rules=[rule("syslog", enabled=True)], waves=["100%"])
    assert rest["summary"] == {"changed": 6, "compliant": 6}


def test_max_failures_without_waves_begins_no_further_host(simulator: Start) -> None:
    sim = simulator(fleet({"count": 20}))
    sim.fault(method="EnableRuleset", fault="HostConfigFault", count=None)
    result = ours(sim, rules=[rule("syslog", enabled=True)], max_failures=2, parallel=1)
    assert result["summary"] == {"failed": 3, "skipped": 17}


def test_a_later_wave_is_not_begun_after_the_deadline(simulator: Start) -> None:
    sim = simulator(fleet({"count": 4}))
    sim.fault(method="EnableRuleset", delay=0.8, count=None)
    result = ours(sim, rules=[rule("syslog", enabled=True)], waves=["1", "1", "100%"], deadline=1)
    assert result["summary"]["skipped"] >= 2 and result["summary"]["changed"] >= 1
    assert "deadline" in result["hosts"]["esx-004.example.com"]["failure"]["cause"]


# ---- records ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_a_record_brings_a_host_back_exactly(simulator: Start, tmp_path: pathlib.Path, profile: str) -> None:
    given = {
        "syslog": {"enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"], "ip_network": ["2001:db8::/48"]}},
        "httpClient": {"enabled": True},
        "sshServer": {"enabled": True, "allowed_hosts": {"ip_network": ["127.0.0.0/8"]}},
    }
    sim = simulator(fleet({"profile": profile, "count": 2, "rulesets": given, "default_policy": {"outgoing_blocked": False}}))
    before = {name: (host["rulesets"], host["default_policy"]) for name, host in sim.state()["hosts"].items()}
    wish: dict[str, Any] = {"rules": [rule("syslog", allowed_hosts={"all_ip": True}), rule("WOL", enabled=False)], "exclusive": True}
    folder = tmp_path / "records"
    checked = ours(sim, check=True, backup=True, backup_dir=str(folder), default_policy={"outgoing_blocked": True}, **wish)
    assert not folder.exists() and "backup_file" not in checked
    done = ours(sim, backup=True, backup_dir=str(folder), default_policy={"outgoing_blocked": True}, **wish)
    assert done["changed"] and stat.S_IMODE(pathlib.Path(done["backup_file"]).stat().st_mode) == 0o600
    back = ours(sim, restore=done["backup_file"])
    assert back["summary"] == {"changed": 2}, back["msg"]
    assert {name: (host["rulesets"], host["default_policy"]) for name, host in sim.state()["hosts"].items()} == before
    assert not ours(sim, restore=done["backup_file"])["changed"]


def test_a_record_without_this_host_and_a_record_that_is_none(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(fleet({"count": 2}))
    made = ours(sim, esxi_hostname=[HOST], backup=True, backup_dir=str(tmp_path), rules=[rule("syslog", enabled=True)])["backup_file"]
    assert codes(ours(sim, restore=made)["hosts"]["esx-002.example.com"]) == {"not_in_record"}
    sim.clear_journal()
    for name, text in (
        ("text", "no json"),
        ("list", "[]"),
        ("other", "{}"),
        ("damaged", pathlib.Path(made).read_text().replace("all_ip", "x")),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput, match="restore"):
            ours(sim, restore=str(tmp_path / name))
    with pytest.raises(BadInput, match="cannot be read"):
        ours(sim, restore=str(tmp_path / "absent"))
    assert sim.journal == []


def test_where_the_record_cannot_be_written_nothing_is_changed(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(fleet())
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetcareError, match="nothing more was changed"):
        ours(sim, backup=True, backup_dir=str(tmp_path / "file"), rules=[rule("syslog", enabled=True)])
    assert writes(sim) == [] and sim.summary()["sessions"] == []

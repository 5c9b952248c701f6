# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port table that people work from, row by row, on every release: which rulesets answer it, and what says why none does.

The rows are transcribed; the releases are the simulator's, which shares no code with the collection.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import firewall
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall import parse, plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_catalogue import RULESETS, SERVICES
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_model import EnableRuleset, Rule, Ruleset, State
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Plan
from tests.simulator import profile as profiles
from tests.unit.domain.firewall_makers import rule

PROFILES = ("6.7", "7.0.0", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0")
WIDE_OPEN = {
    "gdbserver",
    "nfs41Client",
    "nfsClient",
    "remoteSerialPort",
    "trusted-infrastructure-kmxa",
    "trusted-infrastructure-kmxd",
    "vSPC",
    "vsanEncryption",
    "vvold",
}


@dataclass(frozen=True)
class Row:
    """``rulesets``: with the rules that the row is about; ``without``: its ports that no ruleset has in any release;
    ``last``: the newest release that has them."""

    name: str
    service: str
    rulesets: Mapping[str, str]
    without: tuple[str, ...] = ()
    last: str = ""
    shared: Mapping[str, frozenset[str]] = field(default_factory=dict)


_FT = ("in tcp 8100", "in tcp 8200", "in udp 8100", "in udp 8200", "in udp 8300")
TCP_80 = frozenset({"faultTolerance", "httpClient", "updateManager"})
TABLE = (
    Row("9 UDP WoL", "wake_on_lan", {"WOL": "out udp 9"}),
    Row("22 TCP SSH", "ssh", {"sshServer": "in tcp 22"}),
    Row("53 UDP DNS", "dns", {"dns": "out udp 53"}),
    Row("68 UDP DHCP", "dhcp", {"dhcp": "in udp 68"}),
    Row("80 TCP welcome page", "web", {"webAccess": "in tcp 80"}),
    Row("161 UDP SNMP", "snmp", {"snmp": "in udp 161"}),
    Row("427 TCP/UDP SLP", "slp", {"CIMSLP": "in tcp 427, in udp 427, out tcp 427, out udp 427"}),
    Row("546 TCP/UDP DHCPv6", "dhcpv6", {"DHCPv6": "in tcp 546, in udp 546"}),
    Row("547 TCP/UDP DHCPv6", "dhcpv6", {"DHCPv6": "out tcp 547, out udp 547"}),
    Row(
        "902 TCP/UDP vCenter agent",
        "vcenter_agent",
        {"vpxHeartbeats": "out udp 902", "vSphereClient": "in tcp 902", "NFC": "in tcp 902, out tcp 902"},
        shared={"in tcp 902": frozenset({"vSphereClient", "NFC"})},
    ),
    Row("2233 TCP vSAN RDT", "vsan_transport", {"rdt": "in tcp 2233, out tcp 2233"}),
    Row("3260 TCP iSCSI", "iscsi", {"iSCSI": "out tcp 3260"}),
    Row("5671 TCP rabbitmqproxy", "amqp_proxy", {"rabbitmqproxy": "out tcp 5671"}, last="6.7"),
    Row("5988 TCP CIM", "cim", {"CIMHttpServer": "in tcp 5988"}),
    Row("8889 TCP OpenWSMAN", "ws_man", {}, without=("in tcp 8889",)),
    Row("5989 TCP CIM secure", "cim_secure", {"CIMHttpsServer": "in tcp 5989"}),
    Row("6999 UDP NSX VDR", "nsx_vdr", {"ipfam": "in udp 6999, out udp 6999"}),
    Row("8000 TCP vMotion", "vmotion", {"vMotion": "in tcp 8000, out tcp 8000"}),
    Row("8080 TCP vsanvp", "vasa", {"vsanvp": "in tcp 8080, out tcp 8080"}, last="6.5"),
    Row("8100/8200/8300 TCP/UDP FT", "fault_tolerance", {"faultTolerance": "in tcp 8300, out tcp 8300"}, without=_FT),
    Row("8301/8302 UDP DVSSync", "dvs_sync", {"DVSSync": "in udp 8301, in udp 8302, out udp 8301, out udp 8302"}),
    Row(
        "12345/23451 UDP vSAN CMMDS",
        "vsan_clustering",
        {"cmmds": "in udp 12345, in udp 23451, out udp 12345, out udp 23451"},
    ),
    Row("44046/31031 TCP HBR", "hbr", {"HBR": "out tcp 44046, out tcp 31031"}),
    Row("80,9000 TCP vLCM", "lifecycle_manager", {"updateManager": "out tcp 80, out tcp 9000"}, shared={"out tcp 80": TCP_80}),
)


@functools.cache
def host(name: str, enabled: bool | None = None, free: bool = True) -> State:
    """A host of a release. ``enabled`` for all rulesets alike; ``free``: everything may be set."""
    found = {}
    for key, row in profiles.load(name).rulesets.items():
        flags: dict[str, Any] = {} if free else {"required": row.required, "controllable": row.toggle, "listable": row.ip_list}
        rules = tuple(Rule(r.direction, r.protocol, r.port, r.end_port or r.port, r.port_type == "src") for r in row.rules)
        opened = row.enabled if enabled is None else enabled
        found[key] = Ruleset(key=key, label=row.label, enabled=opened, rules=rules, service=row.service, **flags)
    return State(name="esx", moid="host-1", version=profiles.load(name).version, rulesets=found, complete=True)


def planned(state: State, **options: Any) -> Plan:
    return plan(state, parse(options), None)


def enabled_by(made: Plan) -> set[str]:
    assert all(isinstance(change, EnableRuleset) for change in made.changes), made.changes
    return {change.ruleset for change in made.changes}  # type: ignore[attr-defined]


def codes(made: Plan) -> list[tuple[str, str]]:
    return sorted((finding.level, finding.code) for finding in made.findings)


def port_of(text: str) -> dict[str, str]:
    direction, protocol, port = text.split()
    return {"port": port, "protocol": protocol, "direction": "inbound" if direction == "in" else "outbound"}


def release(name: str) -> tuple[int, int]:
    major, minor = name.split(".")[:2]
    return int(major), int(minor)


def has(row: Row, name: str) -> bool:
    return not row.last or release(name) <= release(row.last)


rows = pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
releases = pytest.mark.parametrize("name", PROFILES)


# ---- services -------------------------------------------------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    assert len(TABLE) == 24
    assert {row.service for row in TABLE} == set(SERVICES), "each row is a service, and no service is without a row"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_stands_for_the_rules_of_its_rows_and_for_no_others(service: str) -> None:
    meant: dict[str, set[str]] = {}
    without: set[str] = set()
    for row in TABLE:
        if row.service == service:
            without |= set(row.without)
            for key, rules in row.rulesets.items():
                meant.setdefault(key, set()).update(rules.split(", "))
    assert {key: set(rules) for key, rules in SERVICES[service].parts} == meant
    spelt = {f"{text.split('/')[0]}/{text.split()[0].split('/')[1]} {text.split()[1]}" for text in SERVICES[service].without}
    assert spelt == {f"{p}/{n} {'inbound' if d == 'in' else 'outbound'}" for d, p, n in (text.split() for text in without)}


@rows
@releases
def test_a_service_opens_the_rulesets_of_its_row_or_says_why_not(row: Row, name: str) -> None:
    made = planned(host(name, False), services=[{"name": row.service}])
    if not has(row, name):
        assert made.changes == () and codes(made) == [("error", "ruleset_gone")] * len(row.rulesets)
        (finding,) = made.findings
        assert all(key in finding.text for key in row.rulesets) and row.last in finding.text and host(name).version in finding.text
        return
    assert enabled_by(made) == set(row.rulesets)
    level = "note" if row.rulesets else "error"
    assert codes(made) == ([(level, "port_no_ruleset")] if row.without else [])
    for key, rules in row.rulesets.items():
        for text in rules.split(", "):
            asked = port_of(text)
            assert key in profiles.load(name).covering(asked["direction"], asked["protocol"], int(asked["port"])), "the host has the rule"


@rows
@releases
def test_closing_a_service_closes_only_its_rulesets_and_what_is_gone_is_closed_already(row: Row, name: str) -> None:
    before = host(name, True)
    made = planned(before, services=[{"name": row.service, "state": "closed"}])
    closed = {key for key, ruleset in made.predicted.all().items() if not ruleset.enabled}
    assert closed == (set(row.rulesets) if has(row, name) else set())
    assert not made.errors


@rows
@releases
def test_with_the_flags_of_the_release_a_row_is_had_or_told(row: Row, name: str) -> None:
    """From 8.0 Update 2 on services own most of them: then a finding names the ruleset, and nothing is tried."""
    state = host(name, False, free=False)
    made = planned(state, services=[{"name": row.service}])
    for key in row.rulesets if has(row, name) else ():
        owned = profiles.load(name).rulesets[key].toggle is False
        told = [finding for finding in made.findings if finding.code == "ruleset_service_owned" and f" {key} " in finding.text]
        assert len(told) == owned and made.predicted.all()[key].enabled is not owned
    already = planned(host(name, True, free=False), services=[{"name": row.service}])
    assert already.changes == () and {finding.code for finding in already.errors} <= {"ruleset_gone", "port_no_ruleset"}


@releases
def test_the_table_that_is_printed_says_the_same(name: str) -> None:
    shown = firewall.report(host(name, True), parse({"opens": None, "catalogue": True}), None, full=True)["services"]
    assert [entry["name"] for entry in shown] == list(SERVICES)
    for entry in shown:
        mine = [row for row in TABLE if row.service == entry["name"]]
        keys = {key for row in mine if has(row, name) for key in row.rulesets}
        assert set(entry["rulesets"]) == keys
        assert entry["state"] == ("open" if keys else "missing")
        why = [finding.partition(":")[0] for finding in entry["findings"]]
        gone = any(not has(row, name) for row in mine)
        assert why == ["ruleset_gone"] * gone + ["port_no_ruleset"] * any(row.without for row in mine)


# ---- ports ------------------------------------------------------------------------------------------------------------------

PORTS = [(row, text) for row in TABLE for rules in row.rulesets.values() for text in rules.split(", ")]


@pytest.mark.parametrize(("row", "text"), PORTS, ids=[f"{row.name}-{text}" for row, text in PORTS])
@releases
def test_a_port_of_the_table_is_answered_by_its_ruleset_alone_or_is_ambiguous(row: Row, text: str, name: str) -> None:
    keys = row.shared.get(text) or frozenset(key for key, rules in row.rulesets.items() if text in rules.split(", "))
    made = planned(host(name, False), ports=[port_of(text)])
    if not has(row, name):
        assert made.changes == () and codes(made) == [("error", "ruleset_gone")] and row.last in made.findings[0].text
    elif len(keys) == 1:
        assert enabled_by(made) == keys and made.findings == ()
    else:
        assert made.changes == () and codes(made) == [("error", "port_ambiguous")]
        assert all(key in made.findings[0].text for key in keys)
        for key in keys:  # one of them is open: so is the port
            one = host(name, False).with_ruleset(replace(host(name).all()[key], enabled=True))
            shared = planned(one, ports=[port_of(text)])
            assert shared.changes == () and codes(shared) == [("note", "port_shared")]
            listed = planned(one, ports=[{**port_of(text), "allowed_hosts": {"ip_address": ["192.0.2.1"]}}])
            assert [change.ruleset for change in listed.changes] == [key]  # type: ignore[attr-defined]
    opened = planned(host(name, True), ports=[port_of(text)])
    expected = [("error", "ruleset_gone")] if not has(row, name) else [] if len(keys) == 1 else [("note", "port_shared")]
    assert opened.changes == () and codes(opened) == expected


@pytest.mark.parametrize("text", [text for row in TABLE for text in row.without])
@releases
def test_a_port_of_the_table_that_no_ruleset_ever_had_says_so(text: str, name: str) -> None:
    for enabled in (False, True):
        made = planned(host(name, enabled), ports=[port_of(text)])
        assert made.changes == () and codes(made) == [("error", "port_no_ruleset")]


@releases
def test_the_rulesets_that_open_nearly_everything_are_told_by_their_rules(name: str) -> None:
    assert {ruleset.key for ruleset in host(name).all().values() if ruleset.wide} == WIDE_OPEN & set(host(name).all())
    assert {known.key for known in RULESETS.values() if any(rule(text).wide for text in known.rules)} == WIDE_OPEN


EDGES = (1, 22, 23, 24, 999, 1000, 1001, 1023, 1024, 1025, 8889, 9999, 10000, 31337, 49999, 50000, 50999, 51000, 65534, 65535)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@releases
def test_a_ruleset_that_opens_nearly_everything_never_answers_a_port(direction: str, name: str) -> None:
    for port in EDGES:
        narrow = [key for key in profiles.load(name).covering(direction, "tcp", port) if key not in WIDE_OPEN]
        asked = {"port": str(port), "protocol": "tcp", "direction": direction}
        for enabled in (False, True):
            made = planned(host(name, enabled), ports=[asked])
            assert not enabled_by(made) & WIDE_OPEN
            assert not any(key in finding.text for finding in made.findings for key in WIDE_OPEN), made.findings
            if not narrow:
                assert codes(made) == [("error", "port_no_ruleset")], (port, made.findings)
    whole = planned(host(name, False), ports=[{"port": "1-65535", "protocol": "tcp", "direction": direction}])
    assert not enabled_by(whole) & WIDE_OPEN
    closing = planned(host(name, True), ports=[{"port": "1-65535", "protocol": "tcp", "direction": direction, "state": "closed"}])
    assert all(closing.predicted.all()[key].enabled for key in WIDE_OPEN & set(host(name).all()))


@releases
def test_every_port_of_every_ruleset_resolves_to_it_or_to_a_finding_that_names_it(name: str) -> None:
    for ruleset in host(name, False).all().values():
        for line in ruleset.rules if not ruleset.wide else ():
            if line.source:
                continue
            ports = f"{line.first}-{line.last}"
            made = planned(host(name, False), ports=[{"port": ports, "protocol": line.protocol, "direction": line.direction}])
            named = "\n".join(finding.text for finding in made.findings)
            assert ruleset.key in enabled_by(made) or ruleset.key in named, (ruleset.key, line)


# ---- the catalogue ----------------------------------------------------------------------------------------------------------

# What older releases have otherwise: documented in the catalogue's sources.
OLDER = {"dns": {"in udp 53"}, "rdt": {"in tcp 12443", "out tcp 12443"}}


@releases
def test_every_ruleset_of_a_release_is_known_with_its_rules(name: str) -> None:
    for key, ruleset in host(name).all().items():
        have, known = set(ruleset.rules), {rule(text) for text in RULESETS[key].rules}
        if key in OLDER and release(name) < (8, 0):
            assert have ^ known == {rule(text) for text in OLDER[key]}
        else:
            assert have == known, key


@releases
def test_a_ruleset_is_in_the_releases_that_the_catalogue_says(name: str) -> None:
    for known in RULESETS.values():
        since = bool(known.first) and release(known.first) <= release(name)
        until = not known.last or release(name) <= release(known.last)
        assert (since and until) == (known.key in host(name).all()), known


def test_every_row_of_the_catalogue_says_where_it_is_from() -> None:
    for known in RULESETS.values():
        assert known.source and known.releases and bool(known.rules) == bool(known.first), known
        assert known.releases != "not known" or known.source.startswith("by name only"), known
    for service in SERVICES.values():
        assert service.source and service.title and service.row
        assert service.parts or service.without
        for key, rules in service.parts:
            for one in map(rule, rules):
                assert any(rule(text).meets(one.direction, one.protocol, one.first, one.first) for text in RULESETS[key].rules), (
                    service.name,
                    key,
                )


@releases
def test_the_owner_that_the_catalogue_names_is_the_one_of_the_release(name: str) -> None:
    for key, row in profiles.load(name).rulesets.items():
        if row.owner:
            assert RULESETS[key].owner == row.owner, key


@releases
def test_missing_rulesets_are_told_with_their_releases_and_made_up_ones_with_near_names(name: str) -> None:
    for known in RULESETS.values():
        if known.key not in host(name).all():
            made = planned(host(name), rules=[{"name": known.key, "enabled": True}])
            assert (
                made.changes == ()
                and codes(made) == [("error", "ruleset_gone")]
                and ("known by name" if not known.first else known.releases) in made.findings[0].text
            )
            spared = planned(host(name), rules=[{"name": known.key, "enabled": False}])
            assert spared.changes == () and codes(spared) == [("note", "ruleset_gone")], "what is not there is closed"
    made = planned(host(name), rules=[{"name": "sshSrever", "enabled": True}])
    assert codes(made) == [("error", "ruleset_unknown")] and "sshServer" in made.findings[0].text

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner of firewalls promises for every firewall and every wish."""

from __future__ import annotations

import ipaddress
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import firewall
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.addresses import kept_by_host, merged, minus, tidy, within
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall import MEANINGS, RECORD, parse, plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_catalogue import SERVICES
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.firewall_model import (
    IN,
    OUT,
    DisableRuleset,
    EnableRuleset,
    Ruleset,
    SetAllowedHosts,
    SetDefaultPolicy,
    State,
    undo,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Plan
from tests.unit.domain.firewall_makers import (
    ENTRIES,
    SPOTS,
    World,
    each,
    heard,
    let_in,
    listed,
    meant,
    opened,
    opened_by,
    pairs,
    singles,
    worlds,
)
from tests.unit.domain.makers import LONG, USUAL


def planned(state: State, options: Mapping[str, Any], **more: Any) -> Plan:
    return plan(state, parse({**options, **more}), None)


def steps(state: State, changes: Sequence[Any]) -> list[State]:
    """The states on the way, the first and the last included."""
    found = [state]
    for change in changes:
        found.append(change.applied_to(found[-1]))
    return found


def codes(made: Plan) -> set[str]:
    return {finding.code for finding in made.findings}


def facts(state: State) -> tuple[Any, ...]:
    """All that can be written: rulesets and policy."""
    return {k: (r.enabled, r.allowed) for k, r in state.all().items()}, state.incoming_blocked, state.outgoing_blocked


def free(state: State) -> State:
    """The same host, when everything may be set and nobody has to be heard."""
    every = {key: replace(r, required=False, controllable=None, listable=None) for key, r in state.all().items()}
    return replace(state, rulesets=every, peers=())


# ---- planning ----------------------------------------------------------------------------------------------------------


@LONG
@given(worlds)
def test_a_second_plan_over_what_the_first_predicts_is_empty(world: World) -> None:
    state, options = world
    assert planned(planned(state, options).predicted, options).changes == ()


@LONG
@given(pairs, st.booleans())
def test_a_second_plan_of_a_restored_record_is_empty_whoever_has_to_be_heard(pair: tuple[State, State], allow: bool) -> None:
    state, other = pair
    options = {"restore": {"format": RECORD, "hosts": [firewall.record(other)]}, "allow_lockout": allow}
    assert planned(planned(state, options).predicted, options).changes == ()


@LONG
@given(worlds)
def test_every_change_alters_the_state(world: World) -> None:
    state, options = world
    ways = steps(state, planned(state, options).changes)
    for before, after in zip(ways, ways[1:], strict=False):
        assert facts(before) != facts(after)


@USUAL
@given(worlds)
def test_planning_is_deterministic_and_leaves_its_input_alone(world: World) -> None:
    state, options = world
    before = repr((state, options))
    first, second = planned(state, options), planned(replace(state), dict(options))
    assert (first.changes, first.findings) == (second.changes, second.findings)
    assert repr((state, options)) == before


@USUAL
@given(worlds)
def test_the_order_of_wishes_does_not_matter(world: World) -> None:
    state, options = world
    turned = {**options, **{name: options[name][::-1] for name in ("rules", "ports", "services")}}
    assert facts(planned(state, turned).predicted) == facts(planned(state, options).predicted)


@USUAL
@given(worlds)
def test_changes_settings_and_reports_are_json_and_every_finding_has_a_meaning(world: World) -> None:
    state, options = world
    made = planned(state, options)
    shown = [change.describe() for change in made.changes]
    assert json.loads(json.dumps(shown)) == shown
    assert {entry["change"] for entry in shown} <= {"set_allowed_hosts", "enable_ruleset", "disable_ruleset", "set_default_policy"}
    for end in (made.observed, made.predicted):
        assert json.loads(json.dumps(firewall.settings(end))) == firewall.settings(end)
    json.dumps([firewall.report(state, parse(options), None, full=full) for full in (True, False)])
    for finding in made.findings:
        assert finding.level in (MEANINGS[finding.code].level, "note", "warning") and finding.hint and finding.text


@USUAL
@given(worlds)
def test_a_diff_shows_exactly_what_differs(world: World) -> None:
    state, options = world
    made = planned(state, options)
    before, after = firewall.settings(made.observed), firewall.settings(made.predicted)
    assert before.keys() == after.keys()
    differing = {key for key, one in facts(state)[0].items() if one != facts(made.predicted)[0][key]}
    if facts(state)[1:] != facts(made.predicted)[1:]:
        differing.add("default_policy")
    assert set(before) == differing


# ---- what is not asked for is not touched ---------------------------------------------------------------------------------


def spoken_of(state: State, options: Mapping[str, Any]) -> set[str]:
    """The rulesets that wishes can mean, generously: by name, by service, by a port that they have in a rule."""
    found = {entry["name"] for entry in options["rules"]}
    found |= {key for entry in options["services"] for key, _rules in SERVICES[entry["name"]].parts}
    for entry in options["ports"]:
        first, _dash, last = entry["port"].partition("-")
        for r in state.all().values():
            meets = [
                each
                for each in r.rules
                if not each.source
                and (each.direction, each.protocol) == (entry["direction"], entry["protocol"])
                and each.first <= int(last or first)
                and int(first) <= each.last
            ]
            if meets and all(each.last - each.first < 1024 for each in r.rules):
                found.add(r.key)
    return found


@LONG
@given(worlds)
def test_what_is_not_named_is_untouched_and_exclusive_only_closes(world: World) -> None:
    state, options = world
    after = planned(state, options).predicted
    named = spoken_of(state, options)
    for key, r in state.all().items():
        if key not in named:
            assert after.all()[key] == r or (options["exclusive"] and after.all()[key] == replace(r, enabled=False)), key
    for name in ("incoming_blocked", "outgoing_blocked"):
        if (options["default_policy"] or {}).get(name) is None:
            assert getattr(after, name) == getattr(state, name)


@LONG
@given(worlds)
def test_a_suboption_left_out_is_left_alone(world: World) -> None:
    """``enabled`` left out toggles nothing, ``allowed_hosts`` left out writes no list."""
    state, options = world
    silent = {**options, "exclusive": False, "ports": [], "services": []}
    no_toggle = {**silent, "rules": [{**entry, "enabled": None} for entry in options["rules"]]}
    assert not any(isinstance(change, (EnableRuleset, DisableRuleset)) for change in planned(state, no_toggle).changes)
    no_list = [{**entry, "allowed_hosts": None, "allowed_hosts_mode": "replace"} for entry in options["rules"]]
    assert not any(isinstance(change, SetAllowedHosts) for change in planned(state, {**silent, "rules": no_list}).changes)


@LONG
@given(worlds)
def test_nothing_is_written_that_the_host_would_not_take(world: World) -> None:
    state, options = world
    for change in planned(state, options).changes:
        if isinstance(change, SetDefaultPolicy):
            continue
        assert isinstance(change, (EnableRuleset, DisableRuleset, SetAllowedHosts))
        r = state.all()[change.ruleset]
        assert r.key != "nfsClient"
        if isinstance(change, SetAllowedHosts):
            assert r.listable is not False
        else:
            assert r.controllable is not False
            assert not (isinstance(change, DisableRuleset) and r.required)


@LONG
@given(worlds)
def test_what_was_asked_of_a_ruleset_by_name_is_had_or_told(world: World) -> None:
    """Either the state is the one asked for, or a finding names the ruleset."""
    state, options = world
    made = planned(state, options)
    told = "\n".join(finding.text for finding in made.findings)
    for entry in options["rules"]:
        r = made.predicted.all().get(entry["name"])
        if r is None or (entry["enabled"] is not None and r.enabled != entry["enabled"]):
            assert entry["name"] in told, entry
        elif entry.get("allowed_hosts"):
            wish = modelled(state.all()[entry["name"]], entry)
            assert let_in(r.allowed) == wish or any(entry["name"] in f.text for f in made.findings) or others_speak(world, entry["name"])


def others_speak(world: World, key: str) -> bool:
    state, options = world
    return key in spoken_of(state, {**options, "rules": []})


# ---- lists are sets ---------------------------------------------------------------------------------------------------------


def modelled(have: Ruleset, entry: Mapping[str, Any]) -> frozenset[str]:
    """Whom a list lets in once a wish is granted, address by address."""
    given, mode = entry.get("allowed_hosts"), entry.get("allowed_hosts_mode", "replace")
    if given is None:
        return let_in(have.allowed)
    ranged = any("-" in text for text in given["ip_address"] or ())  # a host keeps it as networks, so both lists are named
    given = {**given, "ip_network": given["ip_network"] if given["ip_network"] is not None or not ranged else []}
    named = meant([*(given["ip_address"] or ()), *(given["ip_network"] or ())])
    some = bool(given["ip_address"] or given["ip_network"])
    if mode == "replace":
        everybody = (have.allowed.all_ip and not some) if given["all_ip"] is None else given["all_ip"]
        singles_ = replace(have.allowed, networks=have.allowed.addresses)
        ranges = replace(have.allowed, networks=have.allowed.ranges)
        names = meant(given["ip_address"]) if given["ip_address"] is not None else listed(singles_)
        nets = meant(given["ip_network"]) if given["ip_network"] is not None else listed(ranges)
        return SPOTS if everybody else names | nets
    everybody = have.allowed.all_ip if given["all_ip"] is None else given["all_ip"]
    if everybody:
        return SPOTS
    return listed(have.allowed) | named if mode == "merge" else listed(have.allowed) - named


@LONG
@given(singles)
def test_replace_merge_and_remove_do_what_sets_do(world: World) -> None:
    state, options = world
    entry = options["rules"][0]
    have = state.all()[entry["name"]]
    assume(have.key != "nfsClient")
    made = planned(free(state), options)
    after = made.predicted.all()[have.key]
    if "list_open_to_all" in codes(made):
        assert entry["allowed_hosts_mode"] == "remove" and have.allowed.all_ip and after.allowed == have.allowed
    else:
        assert let_in(after.allowed) == modelled(have, entry)
    assert after.enabled == (have.enabled if entry["enabled"] is None or "list_open_to_all" in codes(made) else entry["enabled"])


@LONG
@given(singles)
def test_a_refused_half_never_leaves_the_other_half_wider_than_old_and_wish(world: World) -> None:
    state, options = world
    entry = options["rules"][0]
    have = state.all()[entry["name"]]
    wished = planned(free(state), options).predicted.all()[have.key] if have.key != "nfsClient" else have
    after = planned(state, options).predicted.all()[have.key]
    assert opened_by(after) <= opened_by(have) | opened_by(wished)
    if entry["enabled"] is False:
        assert let_in(after.allowed) <= let_in(have.allowed) or not after.enabled, "what was to be closed does not grow"


nets = st.lists(st.sampled_from(sorted(ENTRIES)), max_size=6)


def networks(texts: Sequence[str]) -> tuple[Any, ...]:
    return tuple(
        network
        for text in texts
        for network in ipaddress.summarize_address_range(*(ipaddress.ip_address(end) for end in ENTRIES[text][1:]))
    )


@LONG
@given(nets, nets)
def test_the_arithmetic_of_lists_is_that_of_sets(one: list[str], two: list[str]) -> None:
    left, right = networks(one), networks(two)

    def of(found: tuple[Any, ...]) -> frozenset[str]:
        return frozenset(spot for spot in SPOTS if any(ipaddress.ip_address(spot) in network for network in found))

    assert of(tidy(left)) == of(merged(left)) == meant(one)
    assert of(minus(left, right)) == meant(one) - meant(two)
    whole = sum(network.num_addresses for network in merged(minus(left, right)))
    common = sum(network.num_addresses for network in merged(minus(left, minus(left, right))))
    assert whole + common == sum(network.num_addresses for network in merged(left)), "nothing is lost or counted twice"
    assert within(left, right) == (not minus(left, right))
    assert tidy(tidy(left)) == tidy(left) == tidy(left[::-1] + left)


@LONG
@given(nets, st.integers(0, 2**24 - 1))
def test_a_list_read_back_equals_the_one_written_however_it_is_spelt(texts: list[str], spelling: int) -> None:
    """A host may give the list back in its own order, with doubles, with host bits, long or in capitals."""
    options = {
        "rules": [
            {"name": "syslog", "allowed_hosts": {"ip_address": texts_of(texts, "ip_address"), "ip_network": texts_of(texts, "ip_network")}}
        ]
    }
    hosts = parse(options).rules[0].hosts
    assert hosts is not None
    wanted = replace(hosts, all_ip=False).applied_to(Ruleset(key="syslog", enabled=True).allowed)
    turn = 1 if spelling & 1 else -1

    def spelt(address: Any) -> str:
        text = address.exploded if spelling & 2 else str(address)
        return text.upper() if spelling & 4 else text

    addresses = tuple(spelt(network.network_address) for network in wanted.addresses)[::turn]
    ranges = tuple((spelt(network[-1] if spelling & 8 else network.network_address), network.prefixlen) for network in wanted.ranges)[
        ::turn
    ]
    if spelling & 16:
        ranges, addresses = (*ranges, *((text, ipaddress.ip_address(text).max_prefixlen) for text in addresses)), ()
    if spelling & 32:
        addresses, ranges = (*addresses, *addresses), (*ranges, *ranges)
    back = kept_by_host(addresses, ranges)
    again = replace(wanted, networks=back)
    assert again == wanted and hash(again) == hash(wanted)
    state = State(rulesets={"syslog": Ruleset(key="syslog", enabled=True, allowed=again)}, complete=True)
    assert planned(state, options).changes == ()


def texts_of(texts: Sequence[str], option: str) -> list[str]:
    return [text for text in texts if ENTRIES[text][0] == option]


# ---- nothing is wider on the way, nobody is cut off -----------------------------------------------------------------------------


@LONG
@given(worlds)
def test_nothing_is_open_on_the_way_that_neither_end_opens(world: World) -> None:
    state, options = world
    ways = steps(state, planned(state, options).changes)
    ends = opened(ways[0]) | opened(ways[-1])
    for between in ways[1:-1]:
        assert opened(between) <= ends


@LONG
@given(pairs, st.booleans())
def test_nothing_is_open_on_the_way_back_to_a_record_that_neither_end_opens(pair: tuple[State, State], allow: bool) -> None:
    state, other = pair
    made = planned(state, {"restore": {"format": RECORD, "hosts": [firewall.record(other)]}, "allow_lockout": allow})
    ways = steps(state, made.changes)
    ends = opened(ways[0]) | opened(ways[-1])
    lasting = [peer for peer in state.peers if peer.address and heard(ways[0], peer) and heard(ways[-1], peer)]
    for between in ways[1:-1]:
        assert opened(between) <= ends
        assert all(heard(between, peer) for peer in lasting)


@LONG
@given(worlds)
def test_nobody_who_is_heard_is_lost_nor_missed_on_the_way(world: World) -> None:
    state, options = world
    made = planned(state, options, allow_lockout=False)
    for between in steps(state, made.changes):
        for peer in itertools.chain(*(each(state, peer) for peer in state.peers)):
            assert heard(between, peer) or not heard(state, peer), peer
    assert "lockout_allowed" not in codes(made)


@LONG
@given(worlds)
def test_with_allow_lockout_who_is_heard_at_both_ends_is_heard_on_the_way_and_who_is_lost_is_told(world: World) -> None:
    state, options = world
    made = planned(state, options, allow_lockout=True)
    ways = steps(state, made.changes)
    for peer in state.peers:
        if peer.address and heard(state, peer) and heard(ways[-1], peer):
            assert all(heard(between, peer) for between in ways), peer
    lost = [
        peer for peer in itertools.chain(*(each(state, peer) for peer in state.peers)) if heard(state, peer) and not heard(ways[-1], peer)
    ]
    assert "lockout_refused" not in codes(made)
    told = "lockout_allowed" in codes(made)
    # Of a peer of unknown address more than the few spots looked at here can be lost.
    assert told if lost else not told or any(len(each(state, peer)) > 1 for peer in state.peers)


@LONG
@given(worlds)
def test_the_guard_holds_nothing_back_that_cuts_nobody_off(world: World) -> None:
    state, options = world
    bold = planned(state, options, allow_lockout=True)
    assume("lockout_allowed" not in codes(bold))
    careful = planned(state, options, allow_lockout=False)
    assert careful.changes == bold.changes and "lockout_refused" not in codes(careful)


@LONG
@given(worlds)
def test_the_second_opinion_agrees_with_the_models_own(world: World) -> None:
    """Else the tests above would prove nothing about the planner's own judgement."""
    state, _options = world
    for peer in state.peers:
        assert peer.address is None or state.hears(peer) == heard(state, peer), peer
    for r in state.all().values():
        for spot in SPOTS:
            assert r.allowed.admits(spot) == (spot in let_in(r.allowed))
        for direction, protocol, port, _spot in opened_by(r):
            assert r.opens(direction, protocol, port)


# ---- and back ---------------------------------------------------------------------------------------------------------------------


@LONG
@given(worlds)
def test_every_beginning_of_a_plan_can_be_taken_back_exactly_and_step_by_step(world: World) -> None:
    state, options = world
    made = planned(state, options, allow_lockout=True)
    ways = steps(state, made.changes)
    for count in range(len(made.changes) + 1):
        back = steps(ways[count], undo(made.observed, made.changes[:count]))
        assert [facts(state) for state in back] == [facts(state) for state in ways[count::-1]], "by the way that it came"


@LONG
@given(pairs)
def test_a_record_brings_back_exactly_what_it_holds(pair: tuple[State, State]) -> None:
    """Through JSON, as a file does; whoever has to be heard, if lockouts are allowed."""
    state, other = pair
    data = json.loads(json.dumps({"format": RECORD, "hosts": [firewall.record(other)]}))
    made = planned(state, {"restore": data, "allow_lockout": True})
    assert facts(made.predicted) == facts(other)
    assert opened(made.predicted) == opened(other)
    assert not made.errors
    assert planned(other, {"restore": data}).changes == ()


@USUAL
@given(worlds)
def test_a_state_read_back_in_part_keeps_what_was_known_of_the_rest(world: World) -> None:
    """Only the rulesets that are spoken of are read again; the guard's knowledge of the rest must not be lost."""
    state, options = world
    predicted = planned(state, options).predicted
    named = {entry["name"] for entry in options["rules"]}
    part = replace(
        predicted,
        rulesets={key: r for key, r in predicted.all().items() if key in named},
        peers=(),
        running=frozenset(),
        complete=False,
        concerned=(),
    )
    whole = firewall.after(part, predicted, False)
    assert (whole.peers, whole.running, whole.complete) == (predicted.peers, predicted.running, True)
    assert facts(whole) == facts(predicted) and firewall.settings(whole) == firewall.settings(predicted)


@USUAL
@given(worlds)
def test_what_a_host_answers_about_a_port_agrees_with_what_gets_through(world: World) -> None:
    state, _options = world
    through = {entry[:3] for entry in opened(state)}
    for port in ("22", "443", "902", "9050"):
        for protocol in ("tcp", "udp"):
            wanted = parse({"opens": [{"port": port, "protocol": protocol}]})
            answer = firewall.report(state, wanted, None, full=True)["opens"][0]
            for direction in (IN, OUT):
                assert answer["open"][direction] == ((direction, protocol, int(port)) in through)

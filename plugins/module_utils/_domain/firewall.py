# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls of ESXi hosts: what a wish means on a host, what is wrong, in which order it is mended, and what is
refused because it would cut somebody off. Pure. Private to this collection.

Values are in ``firewall_model``, wishes in ``firewall_wanted``, what is known of releases in ``firewall_catalogue``.
"""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from .addresses import parsed
from .firewall_catalogue import RULESETS, SERVICES, Known, Service
from .firewall_model import (
    IN,
    OUT,
    Allowed,
    DisableRuleset,
    EnableRuleset,
    Peer,
    Rule,
    Ruleset,
    SetAllowedHosts,
    SetDefaultPolicy,
    State,
    undo,
)
from .firewall_wanted import RECORD, Hosts, PortWish, ServiceWish, Wanted, parse, recorded
from .plan import Change, Finding, Meaning, Plan

# A domain, see _module.feature.
__all__ = ["MEANINGS", "RECORD", "after", "parse", "patience", "plan", "record", "report", "settings", "settled", "survey", "undo"]

# Mounting an NFS version 3 datastore opens it for that server, the last unmount closes it (vSphere Security 6.5).
_BY_MOUNTS = "nfsClient"
_OF_MOUNTS = (_BY_MOUNTS, "nfs41Client")
# Storage and HA of whose use the API says nothing here: a datastore is not closed on a guess.
_UNTOLD = ("vvold", "nvmetcp", "fdm")

MEANINGS: dict[str, Meaning] = {
    "firewall_unknown": Meaning(
        "error",
        "The host reports no firewall configuration at all.",
        "Its management agent has not finished starting, or its state in vCenter is stale: reconnect it, then run the task again.",
        "configManager.firewallSystem, firewallInfo unset (community.vmware#1628)",
    ),
    "ruleset_unknown": Meaning(
        "error",
        "The host has no ruleset of this name, and no known release has.",
        "Check the spelling; esxi_firewall_info lists the rulesets of a host. Rulesets of add-ons come with their VIB.",
        "firewallInfo.ruleset",
    ),
    "ruleset_gone": Meaning(
        "error",
        "The ruleset that is meant exists in other releases of ESXi and not on this host.",
        "Leave it out for hosts of this release, or upgrade the host; a port that is needed all the same takes a VIB with a ruleset of its own.",
        "captures of ESXi 6.5.0 and 8.0.3, listings of 6.7 and 7.0",
    ),
    "ruleset_required": Meaning(
        "error",
        "The host marks the ruleset as required, so it cannot be closed.",
        "Restrict who gets in with allowed_hosts instead.",
        "HostFirewallRuleset.required",
    ),
    "ruleset_service_owned": Meaning(
        "error",
        "From 8.0 Update 2 on the service behind it opens and closes this ruleset, and nobody else can.",
        "Start or stop that service, or configure the feature that uses it; allowed_hosts may still be set where the host lets it.",
        "HostFirewallRuleset.userControllable, API 8.0.2.0",
    ),
    "ruleset_list_locked": Meaning(
        "error",
        "The host does not let anybody edit the address list of this ruleset.",
        "8.0 Update 2 as first shipped locks 25 lists that U2b opened again: update the host. Elsewhere the list belongs to the service.",
        "HostFirewallRuleset.ipListUserConfigurable, API 8.0.2.0; vmware/dod-compliance-and-automation, known issues of vSphere 8",
    ),
    "ruleset_list_unreadable": Meaning(
        "error",
        "The address list of this ruleset has entries that are neither an address nor a network; a new list would lose them.",
        "Look at it with: esxcli network firewall ruleset allowedip list; mend it there.",
        "HostFirewallRulesetIpList",
    ),
    "ruleset_by_mounts": Meaning(
        "error",
        "nfsClient follows the NFS datastores that are mounted and is never touched here.",
        "Mount or unmount the datastore.",
        "vSphere Security 6.5, NFS Client Firewall Behavior",
    ),
    "port_ambiguous": Meaning(
        "error",
        "Several rulesets have this port and none of them is the obvious one.",
        "Name the ruleset that is meant in rules.",
        "firewallInfo.ruleset, rule",
    ),
    "port_shared": Meaning(
        "note",
        "Several rulesets have this port; it is open already by the ones named.",
        "Nothing to do.",
        "firewallInfo.ruleset, rule",
    ),
    "port_no_ruleset": Meaning(
        "error",
        "No ruleset of this host has the port, and none of any known release.",
        "ESXi opens ports by rulesets only: install one of your own with fleetcare.esxi.esxi_firewall_vib.",
        "firewallInfo.ruleset; the API can neither create a ruleset nor add a port",
    ),
    "port_close_shared": Meaning(
        "error",
        "Closing the port would close other ports with it, because a ruleset is closed as a whole.",
        "Name the ruleset in rules with enabled: false if that is meant.",
        "firewallInfo.ruleset, rule",
    ),
    "port_wide_open": Meaning(
        "warning",
        "The port stays open by a ruleset that opens nearly all ports for a purpose of its own.",
        "Close that ruleset by name in rules if nothing uses it.",
        "firewallInfo.ruleset, rules of more than 1,024 ports",
    ),
    "wide_ruleset_open": Meaning(
        "warning",
        "A ruleset that opens nearly all ports to everybody is enabled.",
        "Close it if nothing uses it, or restrict it with allowed_hosts.",
        "firewallInfo.ruleset, rules of more than 1,024 ports",
    ),
    "wishes_conflict": Meaning(
        "error",
        "Two wishes want different things of the same ruleset of this host, so it is left as it is.",
        "Let only one of rules, ports and services speak about it.",
        "the options of the task, resolved on this host",
    ),
    "list_open_to_all": Meaning(
        "error",
        "Hosts cannot be taken out of a list that lets everybody in.",
        "Say who may get in with allowed_hosts_mode: replace.",
        "HostFirewallRulesetIpList.allIp",
    ),
    "list_empty": Meaning(
        "warning",
        "The ruleset is enabled and its list lets nobody in, so it is as good as closed.",
        "Name who may get in, or close it.",
        "HostFirewallRulesetIpList",
    ),
    "lockout_refused": Meaning(
        "error",
        "This part of the plan would cut off somebody whom the host has to hear, so it is left out.",
        "Add the address to the list or leave the ruleset open; allow_lockout: true does it all the same, best with verify_reachable.",
        "predicted state held against vCenter's address, the session's address, services, time servers, name servers and storage of the host",
    ),
    "lockout_allowed": Meaning(
        "warning",
        "This part of the plan cuts off somebody whom the host has to hear, as allow_lockout permits.",
        "Use verify_reachable, which takes it back when the host drops out.",
        "as lockout_refused",
        lasting=True,
    ),
    "peer_unclear": Meaning(
        "warning",
        "The host knows a peer by name only, so whether the new list lets it in cannot be told from here.",
        "Look the name up from the host, or configure the peer by address.",
        "dateTimeInfo.ntpConfig.server, fileSystemVolume.mountInfo",
        lasting=True,
    ),
    "peer_shut_out": Meaning(
        "warning",
        "The firewall does not let through somebody whom the host has to hear.",
        "Open the ruleset that has the port, or add the address to its list.",
        "firewallInfo held against vCenter's address, services, time servers, name servers and storage of the host",
    ),
    "exclusive_kept": Meaning(
        "note",
        "Rulesets that are not listed stay open, because closing them is impossible or would cut somebody off.",
        "List them if they are meant to be open; stop their service if not.",
        "firewallInfo.ruleset",
    ),
    "policy_open": Meaning(
        "warning",
        "The default policy lets everything through in this direction, so rulesets decide nothing there.",
        "Set default_policy to blocked.",
        "firewallInfo.defaultPolicy",
    ),
    "not_in_record": Meaning(
        "warning",
        "The record that is to be restored has no entry for this host, so it stays as it is.",
        "Nothing to do if the run that wrote the record did not change it; a record holds the hosts that were about to change.",
        "the file in restore",
    ),
}


def _found(code: str, text: str, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


def survey(states: Iterable[State], common: Mapping[str, Any], wanted: Wanted) -> None:
    """Each firewall is judged by itself."""


# ---- what a wish means on this host ---------------------------------------------------------------------------------


class _Goal:
    """What the wishes ask of one host, ruleset by ruleset, gathered wish by wish."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.enabled: dict[str, dict[bool, str]] = {}
        self.hosts: dict[str, list[tuple[Hosts, str]]] = {}
        self.exact: dict[str, Allowed] = {}
        self.listed: set[str] = set()
        self.findings: list[Finding] = []

    def ask(self, key: str, enabled: bool | None, hosts: Hosts | None, origin: str) -> None:
        self.listed.add(key)
        if enabled is not None:
            self.enabled.setdefault(key, {})[enabled] = origin
        if hosts is not None:
            self.hosts.setdefault(key, []).append((hosts, origin))

    def opens(self, ruleset: Ruleset) -> bool:
        """Whether it is open once the wishes so far are granted."""
        asked = self.enabled.get(ruleset.key, {})
        return next(iter(asked)) if len(asked) == 1 else ruleset.enabled

    def find(self, code: str, text: str, level: str = "") -> None:
        found = _found(code, text, level)
        if found not in self.findings:  # the pieces of a range often tell the same
            self.findings.append(found)

    @property
    def origins(self) -> dict[str, str]:
        found = {key: " and ".join(wishes.values()) for key, wishes in self.enabled.items()}
        for key, wishes in self.hosts.items():
            found.setdefault(key, wishes[0][1])
        return found


def _resolved(state: State, wanted: Wanted) -> _Goal:
    goal = _Goal(state)
    for wish in wanted.rules:
        if wish.key in state.all():
            goal.ask(wish.key, wish.enabled, wish.hosts, wish.origin)
        else:
            _missing_ruleset(goal, wish.key, wish.enabled is not False, wish.origin)
    for service in wanted.services:
        _resolve_service(goal, service)
    closing = [port for port in wanted.ports if not port.open]
    shared = [(port, *found) for port in wanted.ports for found in _resolve_port(goal, port, closing)]
    for port, candidates, pieces in shared:
        _open_port(goal, port, candidates, pieces)
    if wanted.record is not None:
        _resolve_record(goal, wanted)
    return goal


def _missing_ruleset(goal: _Goal, key: str, needed: bool, origin: str) -> None:
    known = RULESETS.get(key)
    if known is None:
        near = difflib.get_close_matches(key, goal.state.all() if goal.state.complete else RULESETS, n=3, cutoff=0.6)
        goal.find("ruleset_unknown", f"{origin}: no such ruleset" + (f", did you mean {' or '.join(near)}?" if near else ""))
    else:
        goal.find("ruleset_gone", f"{origin}: {_releases(known, goal.state)}", "" if needed else "note")


def _releases(known: Known, state: State) -> str:
    where = f"in {known.releases}" if known.first else "known by name from other hosts"
    return f"{known.key} is {where}, this host runs {state.version}"


def _resolve_service(goal: _Goal, wish: ServiceWish) -> None:
    row = SERVICES[wish.name]
    for key, rules in row.parts:
        ruleset = goal.state.all().get(key)
        if ruleset is None:
            _missing_ruleset(goal, key, wish.open, wish.origin)
            continue
        lacking = [rule for rule in rules if not _has(ruleset, rule)]
        if lacking:
            goal.find(
                "port_no_ruleset", f"{wish.origin}: {key} of this host has no {', '.join(lacking)}", "warning" if wish.open else "note"
            )
        goal.ask(key, wish.open, wish.hosts, wish.origin)
    if row.without:
        level = "" if wish.open and not row.parts else "note"
        goal.find("port_no_ruleset", f"{wish.origin}: {', '.join(row.without)}; {row.note}", level)


def _has(ruleset: Ruleset, text: str) -> bool:
    rule = _rule_of(text)
    return ruleset.opens(rule.direction, rule.protocol, rule.first)


_Pieces: TypeAlias = "list[tuple[int, int]]"


def _resolve_port(goal: _Goal, wish: PortWish, closing: list[PortWish]) -> list[tuple[list[Ruleset], _Pieces]]:
    """Returns what several rulesets have: which is meant depends on what else is asked, so that is judged last."""
    shared: dict[tuple[str, ...], _Pieces] = {}
    bare: _Pieces = []
    rulesets = goal.state.all()
    for first, last in _segments(wish, rulesets.values()):
        having = [r for r in rulesets.values() if r.opens(wish.direction, wish.protocol, first)]
        candidates = [ruleset for ruleset in having if not ruleset.wide]
        if wish.open and not candidates:
            bare.append((first, last))
        elif wish.open and len(candidates) == 1:
            goal.ask(candidates[0].key, True, wish.hosts, wish.origin)
        elif wish.open:
            shared.setdefault(tuple(ruleset.key for ruleset in candidates), []).append((first, last))
        else:
            _close_port(goal, wish, having, closing)
    _bare_ports(goal, wish, bare)
    return [([rulesets[key] for key in keys], pieces) for keys, pieces in shared.items()]


def _bare_ports(goal: _Goal, wish: PortWish, bare: _Pieces) -> None:
    """One finding a reason, however many pieces of a range have it."""
    elsewhere = {known.key: [piece for piece in bare if _known_to_open(known, wish, piece[0])] for known in RULESETS.values()}
    for key, pieces in elsewhere.items():
        if pieces:
            lacks = f"{key} of this host does not have it, that of other releases does"
            text = lacks if key in goal.state.all() else _releases(RULESETS[key], goal.state)
            goal.find("ruleset_gone", f"{wish.protocol}/{_spans(pieces)} {wish.direction}: {text}")
    gone = set(itertools.chain(*elsewhere.values()))
    nowhere = [piece for piece in bare if piece not in gone]
    if nowhere:
        goal.find("port_no_ruleset", f"{wish.protocol}/{_spans(nowhere)} {wish.direction}: no ruleset has it")


def _spans(pieces: _Pieces) -> str:
    """At most five, neighbours as one."""
    joined: _Pieces = []
    for first, last in pieces:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in joined]
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def _segments(wish: PortWish, rulesets: Iterable[Ruleset]) -> list[tuple[int, int]]:
    """The range cut where a rule begins or ends, so that each piece has one answer."""
    cuts = {wish.first, wish.last + 1}
    for ruleset in rulesets:
        for rule in ruleset.rules:
            if (rule.direction, rule.protocol) == (wish.direction, wish.protocol):
                cuts.update(cut for cut in (rule.first, rule.last + 1) if wish.first < cut <= wish.last)
    edges = sorted(cuts)
    return [(first, following - 1) for first, following in itertools.pairwise(edges)]


def _known_to_open(known: Known, wish: PortWish, port: int) -> bool:
    rules = [_rule_of(text) for text in known.rules]
    return not any(rule.wide for rule in rules) and any(rule.meets(wish.direction, wish.protocol, port, port) for rule in rules)


@functools.cache
def _rule_of(text: str) -> Rule:
    """A rule as the catalogue writes it: ``out udp src 68``, ``out tcp 9000-9100``."""
    direction, protocol, *source, ports = text.split()
    low, _dash, high = ports.partition("-")
    return Rule(IN if direction == "in" else OUT, protocol, int(low), int(high or low), bool(source))


def _open_port(goal: _Goal, wish: PortWish, candidates: list[Ruleset], pieces: _Pieces) -> None:
    origin = wish.origin if pieces == [(wish.first, wish.last)] else f"{wish.origin}, at {_spans(pieces)}"
    # As the other wishes leave it, or a second run would find another answer than this one.
    now = [ruleset for ruleset in candidates if goal.opens(ruleset)]
    goal.listed.update(ruleset.key for ruleset in now)
    if len(now) == 1 and wish.hosts:
        goal.ask(now[0].key, True, wish.hosts, wish.origin)
    elif now and not wish.hosts:
        goal.find("port_shared", f"{origin}: open by {_keys(now)}; {_keys(candidates)} have it")
    else:
        which = f"{_keys(now)} are open with it" if now else f"none of {_keys(candidates)} is open"
        goal.find("port_ambiguous", f"{origin}: {which}")


def _keys(rulesets: Iterable[Ruleset]) -> str:
    return ", ".join(ruleset.key for ruleset in rulesets)


def _close_port(goal: _Goal, wish: PortWish, having: list[Ruleset], closing: list[PortWish]) -> None:
    for ruleset in having:
        if not ruleset.enabled:
            if not ruleset.wide:
                goal.ask(ruleset.key, False, None, wish.origin)
        elif ruleset.wide:
            goal.find("port_wide_open", f"{wish.origin}: {ruleset.key} is open to {ruleset.allowed}")
        else:
            others = [rule for rule in ruleset.rules if not rule.source and not _covered(closing, rule)]
            if others:
                goal.listed.add(ruleset.key)
                goal.find("port_close_shared", f"{wish.origin}: {ruleset.key} also has {', '.join(map(str, others))}")
            else:
                goal.ask(ruleset.key, False, None, wish.origin)


def _covered(wishes: Iterable[PortWish], rule: Rule) -> bool:
    """Whether the wishes together speak of all ports of a rule."""
    following = rule.first
    for wish in sorted(wishes, key=lambda wish: wish.first):
        if (wish.direction, wish.protocol) == (rule.direction, rule.protocol) and wish.first <= following:
            following = max(following, wish.last + 1)
    return following > rule.last


def _resolve_record(goal: _Goal, wanted: Wanted) -> None:
    state = goal.state
    entry = _entry(state, wanted)
    if entry is None:
        goal.find("not_in_record", f"the record has {len(wanted.record or ())} host(s), this one is not among them")
        return
    for key, (enabled, allowed) in entry.rulesets.items():
        origin = f"record: {key}"
        if key in state.all():
            goal.ask(key, enabled, None, origin)
            goal.exact[key] = allowed
        else:
            _missing_ruleset(goal, key, enabled, origin)


def _entry(state: State, wanted: Wanted) -> Any:
    """The host's entry by name; by its id as well where names repeat."""
    named = [entry for entry in wanted.record or () if entry.name == state.name]
    return next((entry for entry in named if entry.moid == state.moid), named[0] if len(named) == 1 else None)


# ---- what can be had ------------------------------------------------------------------------------------------------


def _reachable(goal: _Goal) -> dict[str, Ruleset]:
    """What each ruleset that is spoken of should become, as far as this host allows it."""
    moves = {}
    for key in sorted({*goal.enabled, *goal.hosts, *goal.exact}):
        have = goal.state.all()[key]
        origin = goal.origins.get(key, key)
        asked = goal.enabled.get(key, {})
        if len(asked) > 1:
            goal.find("wishes_conflict", f"{key}: open by {asked[True]}, closed by {asked[False]}")
            continue
        enabled = next(iter(asked), have.enabled)
        allowed = goal.exact.get(key) or _allowed(goal, have)
        if allowed is None:
            continue
        want = _permitted(goal, have, replace(have, enabled=enabled, allowed=allowed), origin)
        if (want.enabled, want.allowed) != (have.enabled, have.allowed):
            moves[key] = want
        if want.enabled and want.allowed.nobody:
            goal.find("list_empty", f"{key} lets nobody in")
    return moves


def _allowed(goal: _Goal, have: Ruleset) -> Allowed | None:
    """Several lists for one ruleset are one list: each wish names peers that have to get in."""
    wishes = goal.hosts.get(have.key, [])
    if len({h.applied_to(have.allowed).all_ip for h, _origin in wishes if h.mode == "replace"}) > 1:
        goal.find("wishes_conflict", f"{have.key}: open to all and to a list, by {' and '.join(origin for _hosts, origin in wishes)}")
        return None
    allowed = have.allowed
    for hosts, origin in _one_after_another(wishes):
        if hosts.takes_from_all(allowed):
            goal.find("list_open_to_all", f"{origin}: {have.key} is open to all")
            return None
        allowed = hosts.applied_to(allowed)
    again = allowed
    for hosts, _origin in _one_after_another(wishes):
        again = hosts.applied_to(again)
    if again != allowed:
        # For one: addresses are just these, and one is taken out of a network that was left alone.
        goal.find("wishes_conflict", f"{have.key}: no list is right for {' and '.join(origin for _hosts, origin in wishes)}")
        return None
    return allowed


def _one_after_another(wishes: list[tuple[Hosts, str]]) -> list[tuple[Hosts, str]]:
    """What the list shall be, as one wish; then what is added; then what is taken away."""
    whole = [hosts for hosts, _origin in wishes if hosts.mode == "replace"]
    found = []
    if whole:
        addresses = [hosts.addresses for hosts in whole if hosts.addresses is not None]
        networks = [hosts.networks for hosts in whole if hosts.networks is not None]
        one = Hosts(
            all_ip=next((hosts.all_ip for hosts in whole if hosts.all_ip is not None), None),
            addresses=tuple(itertools.chain(*addresses)) if addresses else None,
            networks=tuple(itertools.chain(*networks)) if networks else None,
        )
        found.append((one, wishes[0][1]))
    for mode in ("merge", "remove"):
        found += [wish for wish in wishes if wish[0].mode == mode]
    return found


def _permitted(goal: _Goal, have: Ruleset, want: Ruleset, origin: str) -> Ruleset:
    """Without what the host does not take. A refused half never leaves the other half wider than both were."""
    if (want.enabled, want.allowed) == (have.enabled, have.allowed):
        return have
    if have.key == _BY_MOUNTS:
        goal.find("ruleset_by_mounts", f"{origin}: {have.key} is {_stands(have)}, asked for is {_stands(want)}")
        return have
    odd = have.allowed.odd or want.allowed.odd
    if want.allowed != have.allowed and (odd or have.listable is False):
        if have.listable is False:
            goal.find("ruleset_list_locked", f"{origin}: {have.key} lets in {have.allowed}, asked for is {want.allowed}")
        else:
            where = have.key if have.allowed.odd else f"the record of {have.key}"
            goal.find("ruleset_list_unreadable", f"{origin}: the list of {where} has {', '.join(map(repr, odd))}")
        closes = not want.enabled or have.allowed.inside(want.allowed)
        want = replace(want, allowed=have.allowed, enabled=want.enabled if closes else have.enabled)
    if want.enabled != have.enabled and have.controllable is False:
        owner = _owner(have)
        by = f"its service {owner}" if owner else "a service of the host"
        running = f", which is {'running' if owner in goal.state.running else 'stopped'}" if owner and goal.state.complete else ""
        goal.find("ruleset_service_owned", f"{origin}: {have.key} is {_stands(have)} and follows {by}{running}")
        want = replace(want, enabled=have.enabled)
    elif have.enabled and not want.enabled and have.required:
        goal.find("ruleset_required", f"{origin}: {have.key} is required")
        want = replace(want, enabled=True)
    if want.enabled and goal.enabled.get(have.key, {}).keys() == {False} and not want.allowed.inside(have.allowed):
        # It was to be closed and cannot be: its list must not grow for that.
        want = replace(want, allowed=have.allowed)
    return want


def _owner(ruleset: Ruleset) -> str:
    """The service that drives it: as the host says, or as it is known to be."""
    return ruleset.service or (RULESETS[ruleset.key].owner if ruleset.key in RULESETS else "")


def _stands(ruleset: Ruleset) -> str:
    return f"open to {ruleset.allowed}" if ruleset.enabled else "closed"


def _exclusive(goal: _Goal, moves: Mapping[str, Ruleset]) -> tuple[dict[str, Ruleset], dict[str, list[str]]]:
    """What is open and not listed: what gets closed, and what stays for which reason."""
    closes: dict[str, Ruleset] = {}
    kept: dict[str, list[str]] = {}
    for key, ruleset in goal.state.all().items():
        if key in goal.listed or key in moves or not ruleset.enabled:
            continue
        if ruleset.required:
            kept.setdefault("required", []).append(key)
        elif key == _BY_MOUNTS:
            kept.setdefault("follows mounts", []).append(key)
        elif ruleset.controllable is False or {ruleset.service, _owner(ruleset)} & goal.state.running:
            kept.setdefault("owned by a service", []).append(key)
        elif key in _UNTOLD:
            kept.setdefault("may be in use", []).append(key)
        else:
            closes[key] = replace(ruleset, enabled=False)
    return closes, kept


# ---- whom it would cut off ------------------------------------------------------------------------------------------


class _Guard:
    """Takes the steps of a plan one by one and holds back each that would make the host deaf to somebody it hears now.

    What opens is taken first, so that a way which moves from one ruleset to another is not mistaken for a loss.
    """

    def __init__(self, state: State, allow: bool) -> None:
        self.state = state
        self.allow = allow
        self.peers = tuple(way for peer in state.peers for way in state.ways(peer) if state.hears(way))
        # A plan changes no ports, so the rulesets that can matter to a peer are the same in every state of it.
        self._having = {
            way: [r.key for r in state.all().values() if r.opens(*way)] for way in {(p.direction, p.protocol, p.port) for p in self.peers}
        }
        self.now = state
        self.lost: dict[str, tuple[Peer, ...]] = {}
        self.taken: dict[str, Ruleset] = {}

    def take(self, moves: Mapping[str, Ruleset]) -> dict[str, tuple[Peer, ...]]:
        """Returns what was held back, with whom it would have cut off.

        All that is left is tried at once, then one by one, again and again until nothing more can be taken: else a
        second run would find possible what this one refused.
        """
        harmless = {key: new for key, new in moves.items() if not any(self._narrows(self.state.all()[key], new, p) for p in self.peers)}
        left = {**harmless, **moves}
        while left:
            held: dict[str, tuple[Peer, ...]] = {}
            together = replace(self.now, rulesets={**self.now.all(), **left})
            if not self._lost(together):
                self.now = together
                self.taken.update(left)
                return {}
            for key, new in left.items():
                lost = self._lost(self.now.with_ruleset(new))
                if lost and not self.allow:
                    held[key] = lost
                    continue
                if lost:
                    self.lost[key] = lost
                self.now = self.now.with_ruleset(new)
                self.taken[key] = new
            if len(held) == len(left):
                return held
            left = {key: left[key] for key in held}
        return {}

    def take_policy(self, change: SetDefaultPolicy) -> tuple[Peer, ...]:
        lost = self._lost(change.applied_to(self.now))
        if lost and not self.allow:
            return lost
        if lost:
            self.lost["default_policy"] = lost
        self.now = change.applied_to(self.now)
        return ()

    @staticmethod
    def _narrows(old: Ruleset, new: Ruleset, peer: Peer) -> bool:
        return old.opens(peer.direction, peer.protocol, peer.port) and old.admits(peer.address) and not new.admits(peer.address)

    def _lost(self, state: State) -> tuple[Peer, ...]:
        return tuple(peer for peer in self.peers if self.hears(self.now, peer) and not self.hears(state, peer))

    def hears(self, state: State, peer: Peer) -> bool:
        if not state.blocks(peer.direction):
            return True
        rulesets = state.all()
        return any(rulesets[key].admits(peer.address) for key in self._having[peer.direction, peer.protocol, peer.port])


def _them(peers: Iterable[Peer]) -> str:
    texts = list(dict.fromkeys(str(peer) for peer in peers))
    return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if len(texts) > 4 else "")


def _deed(old: Ruleset, new: Ruleset) -> str:
    return f"closing {new.key}" if old.enabled and not new.enabled else f"letting only {new.allowed} in at {new.key}"


def _unclear(state: State, moves: Mapping[str, Ruleset]) -> list[Finding]:
    found = []
    for key, new in moves.items():
        old = state.all()[key]
        if not new.enabled or new.allowed.all_ip or not old.enabled or new.allowed == old.allowed:
            continue
        named = [p for p in state.peers if p.address and parsed(p.address) is None and new.opens(p.direction, p.protocol, p.port)]
        if named:
            found.append(_found("peer_unclear", f"{key} will let in {new.allowed}; {_them(named)}"))
    return found


# ---- the plan -------------------------------------------------------------------------------------------------------


def plan(state: State, wanted: Wanted, seen: None) -> Plan:
    """The writes that bring ``state`` to ``wanted``, and what there is to say about ``state``."""
    if state.rulesets is None:
        return Plan(observed=state, findings=(_found("firewall_unknown", "firewallInfo is unset"),))
    state = state.doubting()
    goal = _resolved(state, wanted)
    moves = _reachable(goal)
    guard = _Guard(state, wanted.allow_lockout)
    policies = _policies(state, wanted, goal, guard, blocked=False)
    for key, lost in guard.take(moves).items():
        text = f"{goal.origins.get(key, key)}: {_deed(state.all()[key], moves[key])} would shut out {_them(lost)}"
        goal.find("lockout_refused", text)
    if wanted.exclusive:
        closes, kept = _exclusive(goal, moves)
        held = guard.take(closes)
        if held:
            kept["would cut somebody off"] = sorted(held)
        if kept:
            goal.find("exclusive_kept", "; ".join(f"{reason}: {', '.join(keys)}" for reason, keys in kept.items()))
    policies += _policies(state, wanted, goal, guard, blocked=True)
    for what, lost in guard.lost.items():
        gone = [peer for peer in lost if not guard.now.hears(peer)]
        if gone:
            goal.find("lockout_allowed", f"{what} shuts out {_them(gone)}")
    changes = _ordered(state, guard, policies)
    concerned = tuple(dict.fromkeys((*state.concerned, *guard.taken, *(["default_policy"] if policies else []))))
    return Plan(
        observed=replace(state, concerned=concerned),
        changes=tuple(changes),
        findings=(*goal.findings, *_unclear(state, guard.taken), *_general(state, wanted, goal, guard.now)),
    )


def _policies(state: State, wanted: Wanted, goal: _Goal, guard: _Guard, *, blocked: bool) -> list[SetDefaultPolicy]:
    """At most one write that opens, or one that blocks, as far as it cuts nobody off."""
    entry = _entry(state, wanted) if wanted.record else None
    asked = {
        "incoming_blocked": wanted.incoming_blocked if entry is None else entry.incoming_blocked,
        "outgoing_blocked": wanted.outgoing_blocked if entry is None else entry.outgoing_blocked,
    }
    taken: dict[str, bool] = {}
    for name, value in asked.items():
        if value is not blocked or value == getattr(state, name):
            continue
        lost = guard.take_policy(SetDefaultPolicy(**{name: value}))
        if lost:
            goal.find("lockout_refused", f"default_policy: {name}: true would shut out {_them(lost)}")
        else:
            taken[name] = value
    return [SetDefaultPolicy(**taken)] if taken else []


def _ordered(state: State, guard: _Guard, policies: list[SetDefaultPolicy]) -> list[Change]:
    """Restrict before enable, enable before widen: whatever is open on the way, the old or the new state opens it too.

    Where that would make the host deaf for a moment to somebody whom it hears before and after, because a way moves
    from one ruleset to another, all that opens comes first and all that restricts last, and a list that does both is
    written twice: with the old and the new peers, then with the new ones. The rule above holds for that order, too.
    """
    prepare: list[Change] = []
    restrict: list[Change] = []
    enable: list[Change] = []
    widen: list[Change] = []
    both: list[Change] = []
    narrow: list[Change] = []
    for key, new in guard.taken.items():
        old = state.all()[key]
        listing: list[Change] = [SetAllowedHosts(key, new.allowed)] if new.allowed != old.allowed else []
        if not old.enabled:
            prepare += listing
            enable += [EnableRuleset(key)] if new.enabled else []
        elif not new.enabled:
            restrict += [DisableRuleset(key), *listing]
        elif new.allowed.inside(old.allowed):
            restrict += listing
        else:
            widen += listing
            union = new.allowed if new.allowed.all_ip else Allowed.only((*old.allowed.networks, *new.allowed.networks))
            both.append(SetAllowedHosts(key, union))
            narrow += listing if union != new.allowed else []
    opens: list[Change] = [policy for policy in policies if False in (policy.incoming_blocked, policy.outgoing_blocked)]
    blocks: list[Change] = [policy for policy in policies if policy not in opens]
    usual = [*prepare, *restrict, *enable, *widen, *opens, *blocks]
    if _keeps_hearing(state, usual, guard):
        return usual
    return [*prepare, *opens, *enable, *both, *narrow, *restrict, *blocks]


def _keeps_hearing(state: State, changes: Iterable[Change], guard: _Guard) -> bool:
    lasting = [peer for peer in guard.peers if guard.hears(guard.now, peer)]
    for change in changes:
        state = change.applied_to(state)
        if not all(guard.hears(state, peer) for peer in lasting):
            return False
    return True


def _general(state: State, wanted: Wanted, goal: _Goal, future: State) -> list[Finding]:
    found = []
    limited = {direction for key in goal.listed for direction in _limited(goal, key)}
    for direction in (IN, OUT):
        if not future.blocks(direction) and (wanted.full or direction in limited):
            found.append(_found("policy_open", f"{direction} is not blocked by default"))
    if not wanted.full:
        return found
    mounted = any(peer.who.startswith("NFS") for peer in state.peers)
    for ruleset in state.all().values():
        used = mounted and ruleset.key in _OF_MOUNTS
        if ruleset.enabled and ruleset.wide and ruleset.allowed.all_ip and not used:
            found.append(_found("wide_ruleset_open", f"{ruleset.key}: {', '.join(map(str, ruleset.rules))}"))
        if ruleset.enabled and ruleset.allowed.nobody:
            found.append(_found("list_empty", f"{ruleset.key} lets nobody in"))
    deaf = [peer for peer in state.peers if peer.needed and not state.hears(peer)]
    if deaf:
        found.append(_found("peer_shut_out", _them(deaf)))
    return found


def _limited(goal: _Goal, key: str) -> set[str]:
    """The directions in which a wish counts on traffic being blocked unless a ruleset lets it through."""
    ruleset = goal.state.all().get(key)
    closed = False in goal.enabled.get(key, {})
    listed = any(hosts.listed or hosts.all_ip is False for hosts, _origin in goal.hosts.get(key, ()))
    return {rule.direction for rule in ruleset.rules} if ruleset and (closed or listed) else set()


def after(read: State, predicted: State, waited: bool) -> State:
    """What was read back over what was known before: only the rulesets that are spoken of are read again."""
    if read.rulesets is None:
        return read
    known = predicted if not read.complete else read
    # Whoever was heard from an address that nobody knows still is, though by now a list may have the one that is known.
    peers = tuple(peer.doubted if peer.doubted in predicted.peers else peer for peer in known.peers)
    return replace(
        read,
        rulesets={**predicted.all(), **read.all()},
        running=known.running,
        peers=peers,
        complete=predicted.complete or read.complete,
        concerned=predicted.concerned,
    )


def settled(state: State, wanted: Wanted, seen: None) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


# ---- what is said of a host -----------------------------------------------------------------------------------------


def settings(state: State) -> dict[str, Any]:
    """What a diff shows: the rulesets that the plan touches, and the default policy where it does."""
    rulesets = state.all()
    shown: dict[str, Any] = {}
    for name in state.concerned:
        if name in rulesets:
            shown[name] = {"enabled": rulesets[name].enabled, "allowed_hosts": rulesets[name].allowed.describe()}
        elif name == "default_policy":
            shown[name] = {"incoming_blocked": state.incoming_blocked, "outgoing_blocked": state.outgoing_blocked}
    return shown


def record(state: State) -> dict[str, Any]:
    """The host as it is, for a file that brings it back."""
    return recorded(state.name, state.moid, state.all(), state.incoming_blocked, state.outgoing_blocked)


def report(state: State, wanted: Wanted, seen: None, *, full: bool) -> dict[str, Any]:
    """What a result says of a host beside its findings."""
    if not full:
        return {}
    if state.rulesets is None:
        return {"version": state.version}
    return {
        "version": state.version,
        "default_policy": {"incoming_blocked": state.incoming_blocked, "outgoing_blocked": state.outgoing_blocked},
        "rulesets": {key: _ruleset_report(ruleset) for key, ruleset in sorted(state.all().items())},
        "has_to_hear": [str(peer) for peer in state.peers],
        "services": [_service_report(row, state) for row in SERVICES.values()] if wanted.catalogue else None,
        "opens": [_answer(question, state) for question in wanted.questions] or None,
    }


def exposure(rulesets: Iterable[Ruleset]) -> dict[str, str]:
    """Inbound ports that enabled rulesets open: to all addresses, or to some."""
    found: dict[str, str] = {}
    for ruleset in rulesets:
        if not ruleset.enabled or (not ruleset.allowed.all_ip and not ruleset.allowed.networks and not ruleset.allowed.odd):
            continue
        for rule in ruleset.rules:
            if rule.direction == IN and not rule.source:
                ports = f"{rule.first}" if rule.first == rule.last else f"{rule.first}-{rule.last}"
                name = f"{ports}/{rule.protocol}"
                if found.get(name) != "all":
                    found[name] = "all" if ruleset.allowed.all_ip else "some"
    return dict(sorted(found.items(), key=lambda item: (int(item[0].partition("/")[0].partition("-")[0]), item[0])))


def _ruleset_report(ruleset: Ruleset) -> dict[str, Any]:
    return {
        "enabled": ruleset.enabled,
        "allowed_hosts": ruleset.allowed.describe(),
        "ports": [str(rule) for rule in ruleset.rules],
        "required": ruleset.required,
        "service": ruleset.service,
        "can_be_toggled": ruleset.controllable is not False and not (ruleset.required and ruleset.enabled),
        "list_can_be_set": ruleset.listable is not False,
    }


def _service_report(row: Service, state: State) -> dict[str, Any]:
    """A row of the catalogue on this host: what stands for it, whether that is open, and if nothing does, why."""
    goal = _Goal(state)
    _resolve_service(goal, ServiceWish(name=row.name, open=True, hosts=None, origin=row.name))
    present = [state.all()[key] for key, _rules in row.parts if key in state.all()]
    opened = [ruleset.enabled for ruleset in present]
    return {
        "name": row.name,
        "title": row.title,
        "ports": row.row,
        "rulesets": {ruleset.key: _stands(ruleset) for ruleset in present},
        "state": "missing" if not present else "open" if all(opened) else "partly open" if any(opened) else "closed",
        "findings": [str(finding) for finding in goal.findings],
        "note": row.note or None,
        "source": row.source,
    }


def _answer(question: PortWish, state: State) -> dict[str, Any]:
    """Which rulesets have a port, and whether it is open."""
    found = []
    directions = (question.direction,) if question.direction else (IN, OUT)
    for direction in directions:
        for ruleset in state.all().values():
            rules = [rule for rule in ruleset.rules if rule.meets(direction, question.protocol, question.first, question.last)]
            if rules:
                found.append(
                    {
                        "ruleset": ruleset.key,
                        "direction": direction,
                        "enabled": ruleset.enabled,
                        "allowed_hosts": ruleset.allowed.describe(),
                        "wide": any(rule.wide for rule in rules),
                        "service": ruleset.service,
                    }
                )
    return {
        "port": question.origin.removeprefix("ports: "),
        "open": {direction: _is_open(replace(question, direction=direction), state) for direction in directions},
        "rulesets": found,
    }


def _is_open(question: PortWish, state: State) -> bool:
    """Whether every port asked about gets through to somebody."""
    if not state.blocks(question.direction):
        return True
    enabled = [ruleset for ruleset in state.all().values() if ruleset.admits(None)]
    return all(any(r.opens(question.direction, question.protocol, first) for r in enabled) for first, _last in _segments(question, enabled))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of one host as values: rulesets, whom they let in, who has to be heard, and the four writes there are.

Pure. Private to this collection. The API can only toggle a ruleset, replace its address list, and set the default
policy; it can neither create a ruleset nor add a port (vim.host.FirewallSystem, API 6.7 to 8.0.3).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .addresses import Network, is_single, merged, parsed, shown, tidy, within
from .plan import described

# A ruleset that opens more ports than this in one rule is there for a purpose of its own: nfsClient opens all of
# them, gdbserver 9,000. The widest that stands for one service, pvrdma, has 512 (captures of 6.5 and 8.0.3).
WIDE = 1024
IN, OUT = "inbound", "outbound"


@dataclass(frozen=True)
class Rule:
    """One line of a ruleset. ``source``: the port is the sender's, which opens no port to anybody."""

    direction: str
    protocol: str
    first: int
    last: int
    source: bool = False

    @property
    def wide(self) -> bool:
        return self.last - self.first >= WIDE

    def meets(self, direction: str, protocol: str, first: int, last: int) -> bool:
        """Whether it opens any port of a range."""
        same = not self.source and (self.direction, self.protocol) == (direction, protocol)
        return same and self.first <= last and first <= self.last

    def __str__(self) -> str:
        ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol}/{ports} {self.direction}{' (source port)' if self.source else ''}"


@dataclass(frozen=True, eq=False)
class Allowed:
    """Whom a ruleset lets through. Equal when the same peers get through, however the list is written.

    ``odd``: entries that cannot be read. Somebody may get in by them, so a list with such is never written.
    """

    all_ip: bool
    networks: tuple[Network, ...] = ()
    odd: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Allowed):
            return NotImplemented
        if (self.all_ip, self.odd) != (other.all_ip, other.odd):
            return False
        return self.networks == other.networks or merged(self.networks) == merged(other.networks)

    def __hash__(self) -> int:
        return hash((self.all_ip, self.odd, merged(self.networks)))

    @classmethod
    def only(cls, networks: Iterable[Network]) -> Allowed:
        return cls(False, tidy(networks))

    @property
    def nobody(self) -> bool:
        return not (self.all_ip or self.networks or self.odd)

    @property
    def addresses(self) -> tuple[Network, ...]:
        return tuple(network for network in self.networks if is_single(network))

    @property
    def ranges(self) -> tuple[Network, ...]:
        return tuple(network for network in self.networks if not is_single(network))

    def admits(self, address: str | None) -> bool:
        """An address, or a network as a whole. ``None``, and a name, whose address is not known here, get in where
        anybody does."""
        if self.all_ip:
            return True
        peer = parsed(address) if address else None
        return not self.nobody if peer is None else within((peer,), self.networks)

    def inside(self, other: Allowed) -> bool:
        """Whether nobody gets in here who does not get in there."""
        return other.all_ip or (not self.all_ip and within(self.networks, other.networks) and set(self.odd) <= set(other.odd))

    def describe(self) -> str | list[str]:
        return "all" if self.all_ip else self._texts()

    def _texts(self) -> list[str]:
        return [*map(shown, self.networks), *self.odd]

    def __str__(self) -> str:
        texts = self._texts()
        return "everybody" if self.all_ip else ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "") or "nobody"


EVERYBODY = Allowed(True)
ANYBODY = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    """``controllable`` and ``listable`` None: a release that lets everybody toggle and edit it (below 8.0 Update 2).

    ``service``: the service that the host names as its driver.
    """

    key: str
    enabled: bool
    label: str = ""
    allowed: Allowed = EVERYBODY
    required: bool = False
    rules: tuple[Rule, ...] = ()
    service: str | None = None
    controllable: bool | None = None
    listable: bool | None = None

    @functools.cached_property
    def wide(self) -> bool:
        return any(rule.wide for rule in self.rules)

    @functools.cached_property
    def _spans(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for rule in self.rules:
            if not rule.source:
                spans.setdefault((rule.direction, rule.protocol), []).append((rule.first, rule.last))
        return spans

    def opens(self, direction: str, protocol: str, port: int) -> bool:
        return any(first <= port <= last for first, last in self._spans.get((direction, protocol), ()))

    def admits(self, address: str | None) -> bool:
        return self.enabled and self.allowed.admits(address)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Somebody whom a host must keep hearing. ``address`` None: nobody knows who, as with DHCP and with the other hosts
    of a vSAN; then everybody who gets in has to go on getting in. ``needed`` False: not to be lost, and no fault where it
    never was let in. ``present``: the run itself shows that it is heard now. ``guessed``: ``address`` is only one of those
    that it may come from.
    """

    who: str
    direction: str
    protocol: str
    port: int
    address: str | None = None
    needed: bool = True
    present: bool = False
    guessed: bool = False

    @property
    def doubted(self) -> Peer:
        """The same one, from an address that nobody knows."""
        return replace(self, who=f"{self.who} {self.address}", address=None) if self.address else self

    def __str__(self) -> str:
        where = ""
        if self.address and self.address not in ANYBODY:
            known = parsed(self.address)
            where = f"{', perhaps behind' if self.guessed else ''} {shown(known) if known else self.address}"
        return f"{self.who}{where} ({self.protocol}/{self.port} {self.direction})"


@dataclass(frozen=True, kw_only=True)
class State:
    """One host as read. ``rulesets`` None: it reports no firewall. ``complete``: all rulesets were read, and the peers."""

    name: str = ""
    moid: str = ""
    version: str = ""
    rulesets: Mapping[str, Ruleset] | None = None
    incoming_blocked: bool = True
    outgoing_blocked: bool = True
    running: frozenset[str] = frozenset()
    peers: tuple[Peer, ...] = ()
    complete: bool = False
    concerned: tuple[str, ...] = ()

    def all(self) -> Mapping[str, Ruleset]:
        return self.rulesets or {}

    def blocks(self, direction: str) -> bool:
        return self.incoming_blocked if direction == IN else self.outgoing_blocked

    def hears(self, peer: Peer) -> bool:
        """By the default policy, or by any enabled ruleset that has the port, the wide ones included."""
        if not self.blocks(peer.direction):
            return True
        rulesets = self.all().values()
        return any(r.enabled and r.opens(peer.direction, peer.protocol, peer.port) and r.allowed.admits(peer.address) for r in rulesets)

    def ways(self, peer: Peer) -> list[Peer]:
        """A peer of unknown address as everybody who may be meant: each list that lets him in now, in its parts."""
        if peer.address is not None:
            return [peer]
        found: dict[str, Peer] = {}
        for ruleset in self.all().values() if self.blocks(peer.direction) else ():
            if ruleset.enabled and ruleset.opens(peer.direction, peer.protocol, peer.port):
                texts = ANYBODY if ruleset.allowed.all_ip else (*map(str, ruleset.allowed.networks), *ruleset.allowed.odd)
                found.update({text: replace(peer, address=text, guessed=True) for text in texts})
        return list(found.values()) or [replace(peer, address=text) for text in ANYBODY]

    def doubting(self) -> State:
        """Who is here although no list has the address that is known comes from another one: a NAT, a second adapter, IPv6."""
        peers = tuple(peer.doubted if peer.present and not self.hears(peer) else peer for peer in self.peers)
        return self if peers == self.peers else replace(self, peers=peers)

    def with_ruleset(self, ruleset: Ruleset) -> State:
        return replace(self, rulesets={**self.all(), ruleset.key: ruleset})


# ---- the writes that there are --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetAllowedHosts:
    """UpdateRuleset replaces the whole list, so the whole list is sent."""

    ruleset: str
    allowed: Allowed

    def applied_to(self, state: State) -> State:
        return state.with_ruleset(replace(state.all()[self.ruleset], allowed=self.allowed))

    def describe(self) -> dict[str, Any]:
        listed = replace(self.allowed, all_ip=False).describe()
        return {"change": "set_allowed_hosts", "ruleset": self.ruleset, "all_ip": self.allowed.all_ip, "allowed": listed}


@dataclass(frozen=True)
class EnableRuleset:
    ruleset: str

    def applied_to(self, state: State) -> State:
        return state.with_ruleset(replace(state.all()[self.ruleset], enabled=True))

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class DisableRuleset:
    ruleset: str

    def applied_to(self, state: State) -> State:
        return state.with_ruleset(replace(state.all()[self.ruleset], enabled=False))

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True, kw_only=True)
class SetDefaultPolicy:
    """None leaves a direction as it is."""

    incoming_blocked: bool | None = None
    outgoing_blocked: bool | None = None

    def applied_to(self, state: State) -> State:
        incoming = state.incoming_blocked if self.incoming_blocked is None else self.incoming_blocked
        outgoing = state.outgoing_blocked if self.outgoing_blocked is None else self.outgoing_blocked
        return replace(state, incoming_blocked=incoming, outgoing_blocked=outgoing)

    def describe(self) -> dict[str, Any]:
        return described(self)


def undo(observed: State, done: Iterable[Any]) -> list[Any]:
    """The writes that take back what was done, last first: each puts back what was there just before it."""
    steps: list[Any] = []
    state = observed
    for change in done:
        if isinstance(change, SetAllowedHosts):
            steps.append(SetAllowedHosts(change.ruleset, state.all()[change.ruleset].allowed))
        elif isinstance(change, EnableRuleset):
            steps.append(DisableRuleset(change.ruleset))
        elif isinstance(change, DisableRuleset):
            steps.append(EnableRuleset(change.ruleset))
        else:
            before = {"incoming_blocked": state.incoming_blocked, "outgoing_blocked": state.outgoing_blocked}
            steps.append(SetDefaultPolicy(**{name: value for name, value in before.items() if getattr(change, name) is not None}))
        state = change.applied_to(state)
    return steps[::-1]

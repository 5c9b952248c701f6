# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostFirewallSystem. Rulesets, flags and faults after facts.md 3.1 and rulesets.yml."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import replace
from typing import Any

from pyVmomi import vim

from .. import image
from ..errors import SoapFault
from ..host import Host
from ..plain import data
from ..profile import Ruleset
from ..registry import Call, operation, prop
from ..state import RulesetState, StateMap
from ..xmlwrite import frozen
from .host_part import HostPart

# The text of 8.0 U2 word for word, with its grammar (DOD known-issues page); the SOAP class is not shown there, hence an option.
IP_LIST_TEXT = "Invalid operation requested: Can not change allowed ip list this ruleset, it is owned by system service."
TOGGLE_TEXT = "Invalid operation requested: Can not enable or disable this ruleset, it is owned by system service."


@functools.cache
def _rules(row: Ruleset) -> Any:
    return [
        frozen(
            data(
                "vim.host.Ruleset.Rule",
                {
                    "port": rule.port,
                    "endPort": rule.end_port,
                    "direction": rule.direction,
                    "portType": rule.port_type,
                    "protocol": rule.protocol,
                },
            )
        )
        for rule in row.rules
    ]


@functools.cache
def _ruleset(row: Ruleset, state: RulesetState) -> Any:
    """One ruleset as data; the same state gives the same object on every host, so its XML is written once."""
    return frozen(
        data(
            "vim.host.Ruleset",
            {
                "key": row.key,
                "label": row.label,
                "required": row.required,
                "rule": _rules(row),
                "service": row.service,
                "enabled": state.enabled,
                "allowedHosts": {
                    "ipAddress": list(state.ip_address),
                    "ipNetwork": [{"network": network, "prefixLength": prefix} for network, prefix in state.ip_network],
                    "allIp": state.all_ip,
                },
                "userControllable": row.toggle,
                "ipListUserConfigurable": row.ip_list,
            },
        )
    )


def firewall_info(host: Host) -> Any:
    """HostFirewallInfo, kept with the (shared, immutable) map it is made from and the default policy."""
    states: StateMap = host.rulesets
    policy = (host.incoming_blocked, host.outgoing_blocked)
    if states.view is None:
        states.view = {}
    if policy not in states.view:
        rows = {**host.profile.rulesets, **host.own_rulesets}
        states.view[policy] = frozen(
            vim.host.FirewallInfo(
                defaultPolicy=vim.host.FirewallInfo.DefaultPolicy(incomingBlocked=policy[0], outgoingBlocked=policy[1]),
                ruleset=[_ruleset(rows[key], state) for key, state in states.items()],
            )
        )
    return states.view[policy]


class HostFirewallSystem(HostPart):
    TYPE = vim.host.FirewallSystem

    @prop
    def firewallInfo(self) -> Any:
        return self.owner.config_firewall()

    def _row(self, key: str) -> Ruleset:
        row = self.state.ruleset_row(key)
        if row is None:
            raise SoapFault("NotFound", f"The object or item referred to could not be found: ruleset {key}.")
        return row

    def _togglable(self, key: str) -> Ruleset:
        row = self._row(key)
        if row.toggle is False and self.state.profile.daemons_own_rulesets:
            raise SoapFault(self.option("service_owned_toggle_fault"), TOGGLE_TEXT, invalidProperty="id")
        return row

    def _changed(self, key: str) -> None:
        self.world.log_host_event(
            self.state,
            "esx.audit.net.firewall.config.changed",
            f"Firewall configuration has changed. Operation on rule set {key} succeeded.",
        )

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def EnableRuleset(self, call: Call, id: str) -> None:
        self._togglable(id)
        with self.state.changing():
            self.state.toggle_ruleset(id, True)
        self._changed(id)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def DisableRuleset(self, call: Call, id: str) -> None:
        if self._togglable(id).required:
            raise SoapFault(
                self.option("required_ruleset_fault"), f"The ruleset {id} is required and cannot be disabled.", invalidProperty="id"
            )
        with self.state.changing():
            self.state.toggle_ruleset(id, False)
        self._changed(id)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def UpdateRuleset(self, call: Call, id: str, spec: Any) -> None:
        row = self._row(id)
        if row.ip_list is False and self.state.profile.daemons_own_rulesets:
            raise SoapFault(self.option("service_owned_iplist_fault"), IP_LIST_TEXT, invalidProperty="spec")
        hosts = spec.allowedHosts
        if hosts is None:
            return
        refusal = self.option("empty_list_fault")
        if refusal is not None and not (hosts.allIp or hosts.ipAddress or hosts.ipNetwork):
            raise SoapFault(refusal, "A ruleset that does not allow all addresses must allow some.", invalidProperty="spec.allowedHosts")
        addresses = tuple(str(text) for text in hosts.ipAddress)
        networks = tuple((str(item.network), int(item.prefixLength)) for item in hosts.ipNetwork)
        for text in addresses:
            _parsed(lambda text=text: ipaddress.ip_address(text), "spec.allowedHosts.ipAddress", text)
        for network, prefix in networks:
            text = f"{network}/{prefix}"
            _parsed(lambda text=text: ipaddress.ip_network(text, strict=False), "spec.allowedHosts.ipNetwork", text)
        if hosts.allIp and not self.option("keeps_list_when_all_ip"):
            addresses, networks = (), ()
        with self.state.changing():
            # The list is replaced whole (facts.md 3.1).
            old = self.state.rulesets[id]
            self.state.set_ruleset(id, replace(old, all_ip=bool(hosts.allIp), ip_address=addresses, ip_network=networks))
        self._changed(id)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def UpdateDefaultPolicy(self, call: Call, defaultPolicy: Any) -> None:
        with self.state.changing():
            # Unset means unchanged.
            if defaultPolicy.incomingBlocked is not None:
                self.state.incoming_blocked = bool(defaultPolicy.incomingBlocked)
            if defaultPolicy.outgoingBlocked is not None:
                self.state.outgoing_blocked = bool(defaultPolicy.outgoingBlocked)
        self._changed("default policy")

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def RefreshFirewall(self, call: Call) -> None:
        with self.state.changing():
            image.refresh(self.state)


def _parsed(parse: Any, name: str, text: str) -> None:
    try:
        parse()
    except ValueError:
        raise SoapFault("InvalidArgument", f"A specified parameter was not correct: {name} ({text})", invalidProperty=name) from None

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli network firewall. get, refresh and set as govmomi dumped them (simulator/esx/command_info.go); fields of rulesets and rules as
`esxcli network firewall ruleset list` and `ruleset rule list` print them (columns without spaces are the names over SOAP)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import image
from .esxcli import NAMESPACES, CliFault, Parameter, command

NAMESPACES["network.firewall"] = "A set of commands for firewall related operations"
NAMESPACES["network.firewall.ruleset"] = "Commands to list and update firewall ruleset configuration"
NAMESPACES["network.firewall.ruleset.rule"] = "Commands to list firewall rules"
NAMESPACES["network.firewall.ruleset.allowedip"] = "Commands to list and update allowed ip list of firewall ruleset configuration"

_ONE = Parameter("rulesetid", "--ruleset-id", "-r", help="The label of the ruleset.")


@command("network.firewall.get", kind="Firewall", help="Get the firewall status.")
def get(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    host = item.state
    return {"DefaultAction": "DROP" if host.incoming_blocked and host.outgoing_blocked else "PASS", "Enabled": True, "Loaded": True}


@command("network.firewall.refresh", writes=True, help="Load ruleset configuration for firewall.")
def refresh(item: Any, arguments: dict[str, Any]) -> bool:
    with item.state.changing():
        image.refresh(item.state)
    return True


def _keys(item: Any, arguments: dict[str, Any]) -> list[str]:
    wanted = arguments.get("rulesetid")
    if wanted and wanted not in item.state.rulesets:
        raise CliFault(f"Invalid Ruleset Id {wanted}")
    return [wanted] if wanted else list(item.state.rulesets)


@command("network.firewall.ruleset.list", kind="Ruleset", parameters=[_ONE], help="List the rulesets in firewall.")
def rulesets(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    host = item.state
    rows = []
    for key in _keys(item, arguments):
        row = {"Enabled": host.rulesets[key].enabled, "Name": key}
        if host.profile.daemons_own_rulesets:
            # Columns that came with 8.0 U2 (the listing in vmware/dod-compliance-and-automation, vSphere 8 known issues).
            found = host.ruleset_row(key)
            row |= {"AllowedIPconfigurable": found.ip_list, "Enable/Disableconfigurable": found.toggle}
            row = {name.replace("/", ""): value for name, value in row.items()}
        rows.append(row)
    return rows


@command("network.firewall.ruleset.rule.list", kind="Rule", parameters=[_ONE], help="List the rules of each ruleset in firewall.")
def rules(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "Direction": rule.direction.capitalize(),
            "PortBegin": rule.port,
            "PortEnd": rule.end_port if rule.end_port is not None else rule.port,
            "PortType": rule.port_type.capitalize(),
            "Protocol": rule.protocol.upper(),
            "Ruleset": key,
        }
        for key in _keys(item, arguments)
        for rule in item.state.ruleset_row(key).rules
    ]


@command("network.firewall.ruleset.allowedip.list", kind="AllowedIp", parameters=[_ONE], help="list allowed ip addresses for rulesets.")
def allowed(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key in _keys(item, arguments):
        state = item.state.rulesets[key]
        listed = [*state.ip_address, *(f"{network}/{prefix}" for network, prefix in state.ip_network)]
        rows.append({"AllowedIPAddresses": ["All"] if state.all_ip else listed, "Ruleset": key})
    return rows


@command(
    "network.firewall.ruleset.set",
    parameters=[
        Parameter(
            "allowedall", "--allowed-all", "-a", help="Set to true to allow all ip, set to false to use allowed ip list.", boolean=True
        ),
        Parameter("enabled", "--enabled", "-e", help="Set to true to enable ruleset, set to false to disable it.", boolean=True),
        replace(_ONE, required=True),
    ],
    writes=True,
    help="Set firewall ruleset status (allowedAll, enabled).",
)
def ruleset_set(item: Any, arguments: dict[str, Any]) -> bool:
    host = item.state
    key = _keys(item, arguments)[0]
    row = host.ruleset_row(key)
    with host.changing():
        if "enabled" in arguments:
            if row.toggle is False and host.profile.daemons_own_rulesets:
                raise CliFault("Invalid operation requested: Can not enable or disable this ruleset, it is owned by system service.")
            host.toggle_ruleset(key, arguments["enabled"])
        if "allowedall" in arguments:
            host.set_ruleset(key, replace(host.rulesets[key], all_ip=arguments["allowedall"]))
    return True

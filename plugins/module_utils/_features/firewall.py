# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls of ESXi hosts: the feature that esxi_firewall_ports runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import firewall as domain
from .._module.feature import Feature
from .._vim import firewall as translation

_ALLOWED_HOSTS = {
    "allowed_hosts": {
        "type": "dict",
        "options": {
            "all_ip": {"type": "bool"},
            "ip_address": {"type": "list", "elements": "str"},
            "ip_network": {"type": "list", "elements": "str"},
        },
    },
    "allowed_hosts_mode": {"type": "str", "default": "replace", "choices": ["replace", "merge", "remove"]},
}
_STATE = {"state": {"type": "str", "default": "open", "choices": ["open", "closed"]}}

FEATURE = Feature(
    domain=domain,
    translation=translation,
    undo=domain.undo,
    record=domain.record,
    record_form=domain.RECORD,
    options={
        "rules": {
            "type": "list",
            "elements": "dict",
            "options": {"name": {"type": "str", "required": True}, "enabled": {"type": "bool"}, **_ALLOWED_HOSTS},
        },
        "ports": {
            "type": "list",
            "elements": "dict",
            "options": {
                "port": {"type": "str", "required": True},
                "protocol": {"type": "str", "required": True, "choices": ["tcp", "udp"]},
                "direction": {"type": "str", "required": True, "choices": ["inbound", "outbound"]},
                **_STATE,
                **_ALLOWED_HOSTS,
            },
        },
        "services": {
            "type": "list",
            "elements": "dict",
            "options": {"name": {"type": "str", "required": True}, **_STATE, **_ALLOWED_HOSTS},
        },
        "exclusive": {"type": "bool", "default": False},
        "default_policy": {"type": "dict", "options": {"incoming_blocked": {"type": "bool"}, "outgoing_blocked": {"type": "bool"}}},
        "allow_lockout": {"type": "bool", "default": False},
        "verify_reachable": {"type": "float", "default": 0},
        "backup": {"type": "bool", "default": False},
        "backup_dir": {"type": "path", "default": "~/fleetcare-backup"},
        "restore": {"type": "path"},
    },
)

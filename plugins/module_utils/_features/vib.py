# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of firewall rulesets: the feature that esxi_firewall_vib runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import vib as domain
from .._module.feature import Feature
from .._vim import vib as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    whole=domain,
    files=domain.files,
    options={
        "state": {"type": "str", "default": "present", "choices": ["present", "absent", "built"]},
        "rulesets": {
            "type": "list",
            "elements": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "rules": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "direction": {"type": "str", "required": True, "choices": ["inbound", "outbound"]},
                        "protocol": {"type": "str", "required": True, "choices": ["tcp", "udp"]},
                        "port_type": {"type": "str", "default": "dst", "choices": ["dst", "src"]},
                        "port": {"type": "str", "required": True},
                    },
                },
                "enabled": {"type": "bool"},
                "required": {"type": "bool", "default": False},
            },
        },
        "name": {"type": "str", "default": "fleetcare-firewall"},
        "version": {"type": "str", "default": "1.0.0"},
        "vendor": {"type": "str", "default": "fleetcare"},
        "summary": {"type": "str", "default": "Custom firewall rulesets"},
        "release_date": {"type": "str", "default": "2026-01-01"},
        "dest": {"type": "path"},
        "datastore": {"type": "str"},
        "installer": {"type": "str", "default": "esxcli", "choices": ["esxcli", "patch_manager"]},
        "force": {"type": "bool", "default": False},
        "allow_unknown_secure_boot": {"type": "bool", "default": False},
    },
)

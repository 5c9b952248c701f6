# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of ESXi hosts: the feature that esxi_ntp_align runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import ntp as domain
from .._module.feature import Feature
from .._vim import ntp as translation

PORT = {
    "index": {"type": "int", "required": True},
    "device_type": {"type": "str", "required": True, "choices": list(domain.DEVICE_TYPES)},
    "device": {"type": "str"},
    "dhcp": {"type": "bool"},
    "ip_address": {"type": "str"},
    "subnet_mask": {"type": "str"},
}

FEATURE = Feature(
    domain=domain,
    translation=translation,
    options={
        "ntp_servers": {"type": "list", "elements": "str"},
        "ntp_servers_state": {"type": "str", "default": "exact", "choices": ["exact", "present", "absent"]},
        "protocol": {"type": "str", "choices": ["ntp", "ptp"]},
        "ptp": {
            "type": "dict",
            "options": {"domain": {"type": "int"}, "ports": {"type": "list", "elements": "dict", "options": PORT}},
        },
        "ntp_fallback": {"type": "bool"},
        "service_state": {"type": "str", "choices": ["started", "stopped"]},
        "service_policy": {"type": "str", "choices": ["on", "off", "automatic"]},
        "max_skew": {"type": "float"},
        "reference": {"type": "str", "default": "control_node", "choices": ["control_node", "vcenter", "fleet"]},
        "clock_samples": {"type": "int", "default": 3},
        "step": {"type": "str", "default": "never", "choices": ["never", "guarded"]},
        "step_threshold": {"type": "float", "default": 60},
        "wait_for_sync": {"type": "float", "default": 0},
        "test_servers": {"type": "bool", "default": False},
    },
)

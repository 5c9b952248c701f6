# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Licences of ESXi hosts: the feature that esxi_license_validate runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import license as domain
from .._module.feature import Feature
from .._vim import license as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    whole=domain,
    options={
        "license_key": {"type": "str", "no_log": True, "aliases": ["licence_key"]},
        "license_keys": {"type": "list", "elements": "str", "no_log": True, "aliases": ["licence_keys"]},
        "state": {"type": "str", "default": "valid", "choices": ["valid", "assigned", "absent"]},
        "from_inventory": {"type": "bool", "default": False},
        "edition": {"type": "str"},
        "labels": {"type": "dict"},
        "allow_unlicensed": {"type": "bool", "default": False},
        "warn_days": {"type": "float", "default": 30},
    },
)

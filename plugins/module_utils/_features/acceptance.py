# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance levels of ESXi hosts: the feature that esxi_acceptance_level runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import acceptance as domain
from .._module.feature import Feature
from .._vim import acceptance as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    record=domain.record,
    record_form=domain.RECORD,
    options={
        "acceptance_level": {"type": "str"},
        "at_least": {"type": "bool", "default": False},
        "allow_unknown_secure_boot": {"type": "bool", "default": False},
        "backup": {"type": "bool", "default": False},
        "backup_dir": {"type": "path", "default": "~/fleetcare-backup"},
        "restore": {"type": "path"},
    },
)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted machines: the feature that vm_crypto_unlock runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import crypto as domain
from .._module.feature import VMS, Feature
from .._vim import crypto as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    targets=VMS,
    whole=domain,
    record=domain.record,
    record_form=domain.RECORD,
    options={
        "wait_for_provider": {"type": "float", "default": 0},
        "enable_hosts": {"type": "bool", "default": False},
        "reregister": {"type": "bool", "default": False},
        "key_provider": {
            "type": "dict",
            "no_log": False,
            "options": {
                "name": {"type": "str", "required": True},
                "servers": {
                    "type": "list",
                    "elements": "dict",
                    "options": {
                        "name": {"type": "str"},
                        "address": {"type": "str", "required": True},
                        "port": {"type": "int", "default": 5696},
                        "username": {"type": "str"},
                        "password": {"type": "str", "no_log": True},
                        "fingerprint": {"type": "str"},
                    },
                },
                "certificate": {"type": "str"},
                "private_key": {"type": "str", "no_log": True},
                "request": {"type": "bool", "default": False},
                "default": {"type": "bool", "default": False},
            },
        },
        "csv": {"type": "bool", "default": False},
        "csv_file": {"type": "path"},
        "backup": {"type": "bool", "default": False},
        "backup_dir": {"type": "path", "default": "~/fleetcare-backup"},
        "restore": {"type": "path"},
    },
)

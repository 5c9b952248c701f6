# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of ESXi hosts: the feature that esxi_hardware_info runs and esxi_audit judges. Private to this collection."""

from __future__ import annotations

from .._domain import hardware as domain
from .._module.feature import Feature
from .._vim import hardware as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    whole=domain,
    writes=False,
    texts=("compatibility_list",),
    options={
        "target_release": {"type": "str"},
        "compatibility_list": {"type": "raw"},
        "nvme": {"type": "bool", "default": False},
        "boot_device": {"type": "bool", "default": False},
        "csv": {"type": "bool", "default": False},
    },
)

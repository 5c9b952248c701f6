# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For a module whose task is done on the control node, by its action plugin: what it says should it ever be run elsewhere. Private to
this collection."""

from __future__ import annotations

from typing import Any

from .._domain.errors import FleetcareError

MISSING = None


def work(_params: dict[str, Any], _check: bool) -> dict[str, Any]:
    """Raises FleetcareError, always."""
    raise FleetcareError(
        "this module was started by itself, without its action plugin, which does its work on the control node",
        hint="Name it by its full name, fleetcare.esxi and all, in a task of a playbook.",
    )

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's feature in this process, the way its ``main`` would, without starting Ansible."""

from __future__ import annotations

import importlib
from typing import Any

from ansible_collections.fleetcare.esxi.plugins.module_utils._module.arguments import options_of
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.pipeline import execute
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import result_of

MODULES = "ansible_collections.fleetcare.esxi.plugins.modules"


def reach(server: Any) -> dict[str, Any]:
    """The endpoint options for a running simulator."""
    return {name: getattr(server, name) for name in ("hostname", "port", "username", "password", "ca_file")}


def run(server: Any, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """The module's result as plain values. Raises FleetcareError where the module would fail as a whole."""
    feature = importlib.import_module(f"{MODULES}.{module}").FEATURE
    params = {name: spec.get("default") for name, spec in options_of(feature).items()}
    params.update(reach(server), session="single")
    params.update(options)
    return result_of(execute(feature, params, check=check, in_process=True), with_diff=True)

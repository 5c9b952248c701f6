# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module returns is what its documentation says that it returns."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.integration.driver import MODULES, run
from tests.integration.test_check_mode import OF_MACHINES, WISHES
from tests.simulator import Simulator


@pytest.mark.parametrize("check", [True, False], ids=["check", "real"])
@pytest.mark.parametrize("module", WISHES)
def test_nothing_is_returned_that_is_not_documented(
    simulator: Callable[..., Simulator], tmp_path: pathlib.Path, module: str, check: bool
) -> None:
    documented = yaml.safe_load(importlib.import_module(f"{MODULES}.{module}").RETURN)
    entries, chosen = ("vms", {"vm_name": ["*"]}) if module in OF_MACHINES else ("hosts", {"esxi_hostname": ["*"]})
    sim = simulator("power_cut" if module in OF_MACHINES else "drifting")
    for wish in WISHES[module]:
        given = {"backup_dir": str(tmp_path)} if "backup" in wish else {}
        result: dict[str, Any] = run(sim, module, check=check, **chosen, **wish, **given)
        assert set(result) - {"changed", "diff"} <= set(documented)
        for target in result[entries].values():
            assert set(target) <= set(documented[entries]["contains"])

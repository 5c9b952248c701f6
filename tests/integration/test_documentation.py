# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module returns is what its documentation says that it returns."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.integration.driver import MODULES, run
from tests.integration.test_check_mode import ALL_MODULES, WISHES
from tests.simulator import Simulator


@pytest.mark.parametrize("check", [True, False], ids=["check", "real"])
@pytest.mark.parametrize("module", ALL_MODULES)
def test_nothing_is_returned_that_is_not_documented(simulator: Callable[..., Simulator], module: str, check: bool) -> None:
    documented = yaml.safe_load(importlib.import_module(f"{MODULES}.{module}").RETURN)
    sim = simulator("drifting")
    for wish in WISHES[module]:
        result: dict[str, Any] = run(sim, module, check=check, esxi_hostname=["*"], **wish)
        assert set(result) - {"changed", "diff"} <= set(documented)
        for host in result["hosts"].values():
            assert set(host) <= set(documented["hosts"]["contains"])

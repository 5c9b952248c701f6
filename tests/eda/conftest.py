# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache folder of its own for every test, and simulators that had no error inside and no session left."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.simulator import Simulator


@pytest.fixture(autouse=True)
def own_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in [name for name in os.environ if name.startswith("VMWARE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def simulator() -> Iterator[Callable[..., Simulator]]:
    running: list[Simulator] = []

    def start(scenario: Any, **options: Any) -> Simulator:
        sim = Simulator(scenario, **options)
        sim.__enter__()
        running.append(sim)
        return sim

    yield start
    for sim in running:
        errors, sessions = list(sim.errors), sim.summary()["sessions"]
        sim.__exit__(None, None, None)
        assert errors == [] and sessions == []

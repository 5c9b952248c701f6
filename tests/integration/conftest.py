# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every integration test stands on: a cache folder of its own, and a simulator that had no error inside."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.simulator import Simulator


@pytest.fixture(autouse=True)
def own_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def simulator() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators; ends them, and looks whether one of them failed inside."""
    running: list[Simulator] = []

    def start(scenario: Any, **options: Any) -> Simulator:
        sim = Simulator(scenario=scenario, **options)
        sim.__enter__()
        running.append(sim)
        return sim

    yield start
    for sim in running:
        sim.__exit__(None, None, None)
    assert [error for sim in running for error in sim.errors] == []

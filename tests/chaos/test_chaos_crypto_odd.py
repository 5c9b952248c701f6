# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other half of the histories of ``test_chaos_crypto.py``, for another worker."""

from __future__ import annotations

import pathlib

import pytest

pytest.importorskip("kmip", reason="PyKMIP is not installed")

from tests.chaos.test_chaos import SEEDS, hasty
from tests.chaos.test_chaos_crypto import hasty_crypto, no_history_loses_a_machine, started
from tests.simulator import Simulator

__all__ = ["hasty", "hasty_crypto", "started"]


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed % 2])
def test_no_history_loses_a_machine(started: Simulator, seed: int, tmp_path: pathlib.Path) -> None:
    no_history_loses_a_machine(started, seed, tmp_path)

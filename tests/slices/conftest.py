# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the workers are: tools/stages/slices.sh makes them, with what the execution environment has and nothing else."""

from __future__ import annotations

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def slices() -> pathlib.Path:
    """The folder of the stage: worker, context, image, source."""
    folder = pathlib.Path(os.environ.get("SLICES", ROOT / ".venv" / "slices"))
    if not (folder / "worker" / ".ready").exists():
        pytest.fail("There is no worker yet; make slices makes it.")
    return folder

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: `vcsim_vcenter` (5 hosts) and `vcsim_esxi`, or `vcsim_server`, which runs a test on both."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.second_opinion.vcsim import Vcsim, vcsim

BUILD = pathlib.Path(__file__).with_name("build.sh")


@pytest.fixture(scope="session")
def vcsim_binary() -> str:
    """Built by the stage; built here when pytest is run by hand."""
    if "VCSIM" in os.environ:
        return os.environ["VCSIM"]
    done = subprocess.run([BUILD], stdout=subprocess.PIPE, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode == 77:
        pytest.skip("vcsim needs Go and govmomi from Debian, and neither is here nor may be installed")
    assert done.returncode == 0, "vcsim was not built; see above"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def vcsim_vcenter(vcsim_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vcsim]:
    with vcsim(vcsim_binary, tmp_path_factory.mktemp("vcenter"), kind="vcenter", hosts=5) as server:
        yield server


@pytest.fixture(scope="session")
def vcsim_esxi(vcsim_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vcsim]:
    with vcsim(vcsim_binary, tmp_path_factory.mktemp("esxi"), kind="esxi") as server:
        yield server


@pytest.fixture(params=["vcenter", "esxi"])
def vcsim_server(request: pytest.FixtureRequest) -> Vcsim:
    server: Vcsim = request.getfixturevalue(f"vcsim_{request.param}")
    return server

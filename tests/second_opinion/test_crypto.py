# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on a server that knows nothing of encryption: found, told apart, left alone."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from tests.integration.driver import run
from tests.second_opinion.vcsim import Vcsim


@pytest.fixture(autouse=True)
def own_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("module", ["vm_crypto_info", "vm_crypto_unlock"])
def test_every_machine_is_found_and_none_is_ours(vcsim_server: Vcsim, module: str) -> None:
    result = run(vcsim_server, module, vm_name=["*"])
    assert len(result["vms"]) >= 2
    assert {vm["outcome"] for vm in result["vms"].values()} == {"not_ours"}
    assert not result["changed"] and result["worksheet"] == [] and result["causes"] == {}


def test_by_name_and_by_host(vcsim_server: Vcsim) -> None:
    everything = run(vcsim_server, "vm_crypto_info", vm_name=["*"])["vms"]
    name, vm = next(iter(everything.items()))
    assert list(run(vcsim_server, "vm_crypto_info", vm_name=[name])["vms"]) == [name]
    assert list(run(vcsim_server, "vm_crypto_info", vm_name=[vm["moid"]])["vms"]) == [name]
    on_host = run(vcsim_server, "vm_crypto_info", esxi_hostname=[vm["host"]])["vms"]
    assert name in on_host and {one["host"] for one in on_host.values()} == {vm["host"]}
    with pytest.raises(FleetcareError, match="matches no VM"):
        run(vcsim_server, "vm_crypto_info", vm_name=["nobody"])


def test_a_provider_where_there_can_be_none(vcsim_server: Vcsim) -> None:
    """This server has a crypto manager in name at the most; whatever it lacks is said in a sentence."""
    wish = {"name": "kms-a", "servers": [{"name": None, "address": "192.0.2.7", "port": 5696}]}
    try:
        result = run(vcsim_server, "vm_crypto_unlock", vm_name=["*"], key_provider=wish)
    except FleetcareError as problem:
        assert problem.cause and problem.hint
    else:
        assert result["endpoint"]["failure"]["hint"]
        assert "defect" not in result["msg"]

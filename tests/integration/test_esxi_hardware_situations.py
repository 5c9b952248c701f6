# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each host of tests/situations/hardware.yml gets, for each target release, the verdict and the findings that stand there."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware import MEANINGS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_catalogue import RELEASES
from tests.integration.driver import run
from tests.simulator import Simulator
from tests.simulator import scenario as scenarios

TABLE = yaml.safe_load((pathlib.Path(__file__).resolve().parents[1] / "situations/hardware.yml").read_text(encoding="utf-8"))
HOSTS: dict[str, dict[str, Any]] = {entry["host"]: entry for entry in TABLE["hosts"]}
EVERYTHING: dict[str, Any] = {"esxi_hostname": ["*"], "nvme": True, "boot_device": True}
PARTS = ("network", "storage", "graphics", "accelerators")

pytestmark = pytest.mark.newest_only


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with Simulator("hardware") as sim:
            yield sim
            assert sim.errors == [] and sim.summary()["writes"] == 0


@pytest.fixture(scope="module")
def told(server: Simulator) -> dict[str, dict[str, Any]]:
    return {target: run(server, "esxi_hardware_info", target_release=target, csv=True, **EVERYTHING) for target in RELEASES}


def test_the_table_has_every_host_and_every_code() -> None:
    names = {row["name"].partition(".")[0] for row in scenarios.load("hardware").data["hosts"]}
    assert set(HOSTS) == names - {"away"} and len(HOSTS) > 11
    codes = {code for entry in TABLE["hosts"] for expect in entry["expect"].values() for code in expect["codes"]}
    codes |= {code for entry in TABLE["lists"] for code in entry["codes"]}
    assert set(MEANINGS) - codes == set()


@pytest.mark.parametrize("target", RELEASES)
@pytest.mark.parametrize("name", HOSTS)
def test_situation(name: str, target: str, told: dict[str, dict[str, Any]]) -> None:
    result = told[target]
    expect = HOSTS[name]["expect"][target]
    host = result["hosts"][f"{name}.example.com"]
    assert (host["verdict"], host["status"]) == (expect["verdict"], expect["status"])
    assert [finding["code"] for finding in host["findings"]] == expect["codes"]
    texts = [finding["text"] for finding in host["findings"]]
    for part in HOSTS[name].get("says", ()) if texts else ():
        assert any(part in text for text in texts), texts
    assert all(result["hints"][code] == MEANINGS[code].hint for code in expect["codes"])
    assert f"\n{name}.example.com,{host['moid']},{host['version']},host," in result["csv"]


@pytest.mark.parametrize("row", TABLE["devices"], ids=lambda row: f"{row['host']}-{row['pci']}")
def test_device(row: dict[str, Any], told: dict[str, dict[str, Any]]) -> None:
    for target in RELEASES:
        device = of_pci(told[target]["hosts"][f"{row['host']}.example.com"], row["pci"])
        assert device["verdict"] == row[target]
        assert bool(device.get("source")) == (row[target] != "not_listed")


def of_pci(host: dict[str, Any], pci: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [device for part in PARTS for device in host[part] if f"{device['vendor']}:{device['device']}" == pci]
    return found[0]


@pytest.mark.parametrize("entry", TABLE["lists"], ids=lambda entry: entry["name"])
def test_list_of_the_users(entry: dict[str, Any], server: Simulator) -> None:
    name = f"{entry['host']}.example.com"
    options = {**EVERYTHING, "esxi_hostname": [name], "target_release": entry["target"], "compatibility_list": entry["rows"]}
    host = run(server, "esxi_hardware_info", **options)["hosts"][name]
    assert (host["verdict"], [finding["code"] for finding in host["findings"]]) == (entry["verdict"], entry["codes"])
    if "pci" in entry:
        device = of_pci(host, entry["pci"])
        assert device["verdict"] == entry["device"]
        assert entry["device"] == "not_listed" or device["source"] in {row["source"] for row in entry["rows"]}


# ---- what the result holds ------------------------------------------------------------------------------------------


def test_the_captured_host(told: dict[str, dict[str, Any]]) -> None:
    host = told["8.0"]["hosts"]["captured.example.com"]
    assert {name: host["cpu"][name] for name in ("vendor", "family", "model", "stepping", "sockets", "cores")} == {
        "vendor": "intel",
        "family": 6,
        "model": 106,
        "stepping": 6,
        "sockets": 8,
        "cores": 8,
    }
    assert {"nx", "xsave", "vmx"} <= set(host["cpu"]["features"])
    assert (host["memory_mb"], host["firmware"], host["model"], host["other_devices"]) == (16382, "uefi", "VMware7,1", 40)
    assert [(nic["adapter"], nic["slot"], nic["driver"]) for nic in host["network"]] == [
        ("vmnic3", "0000:04:00.0", "nvmxnet3"),
        ("vmnic0", "0000:0b:00.0", "nvmxnet3"),
        ("vmnic1", "0000:13:00.0", "nvmxnet3"),
        ("vmnic2", "0000:1b:00.0", "nvmxnet3"),
    ]
    ide, pvscsi, nvme = host["storage"]
    assert (ide["vendor"], ide["device"], ide["subvendor"], ide["subdevice"], ide["class"]) == ("8086", "7111", "15ad", "1976", "0101")
    assert (pvscsi["adapter"], pvscsi["driver"], pvscsi["passthrough"]) == ("vmhba0", "pvscsi", "no")
    assert (nvme["driver"], nvme["nvme_version"]) == ("nvme_pcie", "1.3")
    assert host["boot_device"] == {"name": "mpx.vmhba0:C0:T0:L0", "model": "VMware Virtual disk", "size_mb": 32768, "usb": False}
    assert [card["device"] for card in host["graphics"]] == ["0405"] and host["graphics_cards"] == []


def test_passthrough_and_graphics(told: dict[str, dict[str, Any]]) -> None:
    host = told["8.0"]["hosts"]["gpu.example.com"]
    assert [(card["slot"], card["passthrough"]) for card in host["graphics"]] == [("0000:d8:00.0", "active"), ("0000:d9:00.0", "capable")]
    assert [card["passthrough"] for card in host["accelerators"]] == ["enabled"]
    assert host["graphics_cards"] == [
        {"name": "NVIDIA A100", "vendor": "NVIDIA Corporation", "slot": "0000:d9:00.0", "type": "shared", "memory_mb": 40960, "vms": 0}
    ]


def test_what_a_host_does_not_tell_is_unknown(told: dict[str, dict[str, Any]]) -> None:
    hosts = told["8.0"]["hosts"]
    assert hosts["firmware-untold.example.com"]["firmware"] == "unknown"
    assert hosts["network-boot.example.com"]["boot_device"] == "unknown"
    assert hosts["nvme-silent.example.com"]["storage"][0]["nvme_version"] == "unknown"
    silent = hosts["silent.example.com"]
    assert "cpu" not in silent and "network" not in silent and "memory_mb" not in silent
    assert {check["met"] for check in silent["requirements"] if check["demand"] in ("cores", "nx", "xsave", "ethernet")} == {"unknown"}
    assert (hosts["fits.example.com"]["secure_boot"], hosts["fits.example.com"]["tpm"]["version"]) == (True, "2.0")


def test_a_host_that_is_away_hides_no_other(told: dict[str, dict[str, Any]]) -> None:
    result = told["8.0"]
    assert result["hosts"]["away.example.com"]["status"] == "unreachable"
    assert sum(result["verdicts"].values()) == len(HOSTS)
    assert "\naway.example.com,host-" in result["csv"] and ",unknown,host_away," in result["csv"]


def test_each_model_stands_once(told: dict[str, dict[str, Any]]) -> None:
    models = {model["pci"]: model for model in told["8.0"]["device_models"]}
    assert len(models) == len(told["8.0"]["device_models"])
    assert models["10ec:8168:1458:e000"]["hosts"] == 2 and models["10ec:8168:1458:e000"]["verdict"] == "known_bad"
    assert models["144d:a822:1028:1fd9"]["verdict"] == "advice"  # of one host's version of NVMe


def test_each_demand_of_the_result_has_its_source(told: dict[str, dict[str, Any]]) -> None:
    for target in RELEASES:
        demands = told[target]["requirements"]
        assert all(demand["source"] for demand in demands)
        checked = told[target]["hosts"]["captured.example.com"]["requirements"]
        assert [demand["demand"] for demand in demands] == [check["demand"] for check in checked]
    assert {demand["of"] for demand in told["9.0"]["requirements"]} == {"8.0", "9.0"}

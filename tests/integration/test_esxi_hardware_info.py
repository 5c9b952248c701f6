# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxi_hardware_info against the simulator: lists from files, what it costs, faults, what a user may not ask. Verdicts: test_esxi_hardware_situations."""

from __future__ import annotations

import csv
import json
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import hardware as translation
from tests.integration.driver import run
from tests.simulator import Simulator

MODULE = "esxi_hardware_info"
GOOD = [{"is": "intel_x710", "driver": "i40en"}, {"is": "samsung_pm1725", "driver": "nvme_pcie", "nvme": "1.2"}]
EVERYTHING: dict[str, Any] = {"esxi_hostname": ["*"], "target_release": "8.0", "nvme": True, "boot_device": True}


def fleet(count: int = 3, **more: Any) -> dict[str, Any]:
    return {"hosts": [{"count": count, "name": "esx-{n:03d}.example.com", "hardware": {"pci": GOOD}, **more}]}


# ---- a list of the user's -------------------------------------------------------------------------------------------

ROWS = [
    {"pci": "8086:1572", "release": "8.0", "verdict": "supported", "source": "guide, 2026-11"},
    {"pci": "144d:*", "class": "0108", "verdict": "known_bad", "note": "fails here"},
]


@pytest.mark.parametrize("form", ["inline", "json", "csv", "csv of Excel", "text of a lookup"])
def test_a_list_means_the_same_in_every_form(simulator: Callable[..., Simulator], tmp_path: pathlib.Path, form: str) -> None:
    given: Any = ROWS
    if form == "json":
        given = tmp_path / "list.json"
        given.write_text(json.dumps(ROWS), encoding="utf-8")
    elif form != "inline":
        given = tmp_path / "list.csv"
        with given.open("w", encoding="utf-8-sig" if "Excel" in form else "utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["pci", "class", "cpu", "release", "verdict", "source", "note"])
            writer.writeheader()
            writer.writerows(ROWS)
    if form.startswith("text"):
        given = given.read_text(encoding="utf-8")
    options = {**EVERYTHING, "compatibility_list": given if form == "inline" else str(given)}
    host = run(simulator(fleet(1)), MODULE, **options)["hosts"]["esx-001.example.com"]
    nic, disk = host["network"][0], host["storage"][0]
    assert (nic["verdict"], nic["source"]) == ("supported", "guide, 2026-11")
    assert (disk["verdict"], disk["note"]) == ("known_bad", "fails here") and "compatibility_list" in disk["source"]
    assert host["verdict"] == "known_bad" and host["status"] == "not_compliant"
    # The list of the user's decides on a device; what the catalogue thinks of its version of NVMe is not told beside it.
    told = {finding["code"]: finding["text"] for finding in host["findings"]}
    assert list(told) == ["device_known_bad", "device_not_listed"]
    assert told["device_not_listed"].startswith("the CPU: ")


@pytest.mark.parametrize(
    ("content", "cause", "cure"),
    [
        (None, "cannot be read: No such file", "on the machine that runs the task"),
        ("folder", "cannot be read: Is a directory", "on the machine that runs the task"),
        (b"", "is empty", "8086:1572"),
        (b"\xff\xfe\x00p", "no UTF-8 text", "UTF-8"),
        (b"pci,verdict\n8086:1572,supported\n", "line 2 says supported and does not say who says so", "source"),
        (b"pci,verdict\n8086:1572,good\n", "line 2 has verdict 'good'", "known_bad"),
        (b"PK\x03\x04 a spreadsheet", "has a column", "columns are pci"),
        (b'[{"pci": "8086:1572", "verdict": "advice",}]', "line 1 is no JSON", "CSV"),
    ],
)
def test_a_bad_file_is_refused_before_any_connection(
    simulator: Callable[..., Simulator], tmp_path: pathlib.Path, content: Any, cause: str, cure: str
) -> None:
    path = tmp_path / "list.csv"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    sim = simulator(fleet(1))
    with pytest.raises(BadInput) as caught:
        run(sim, MODULE, **{**EVERYTHING, "compatibility_list": str(path)})
    assert cause in caught.value.cause and cure in caught.value.sentence and "list.csv" in caught.value.cause
    assert sim.summary()["requests"] == 0


def test_a_file_that_is_too_large_is_not_read_whole(simulator: Callable[..., Simulator], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    sim = simulator(fleet(1))
    with pytest.raises(BadInput, match="compatibility_list: .* has more than 16777216 bytes"):
        run(sim, MODULE, **{**EVERYTHING, "compatibility_list": str(path)})
    assert sim.summary()["requests"] == 0


# ---- what it costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [10, pytest.param(1000, marks=pytest.mark.newest_only)])
def test_calls(simulator: Callable[..., Simulator], hosts: int) -> None:
    """A login, the hosts, and pages of 250: 10 calls for a thousand. What only esxcli tells costs three or four more a host, if asked for."""
    sim = simulator(fleet(1), hosts=hosts)
    result = run(sim, MODULE, esxi_hostname=["*"], target_release="8.0", csv=True)
    summary = sim.summary()
    assert result["verdicts"] == {"not_listed": hosts}
    assert (summary["logins"], summary["logouts"], summary["writes"]) == (1, 1, 0)
    assert summary["calls"] <= 10, summary["by_method"]
    if hosts == 10:
        sim.clear_journal()
        run(sim, MODULE, **EVERYTHING)
        by_method = sim.summary()["by_method"]
        # The executer once; for NVMe the list and each controller, for the boot device the list of devices.
        assert by_method["RetrieveManagedMethodExecuter"] == hosts and by_method["ExecuteSoap"] == 3 * hosts


def test_of_what_is_read_little_is_kept(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    """48 devices a host are read, 9 kept, and of each only what is told: memory is that of a page, however many hosts there are."""
    hosts = [{"count": 20, "name": "esx-{n:04d}.example.com", "hardware": {"captured": True}}]
    sim = simulator({"vcenter": {"options": {"gzip": False}}, "hosts": hosts})
    kept: list[int] = []

    def weigh(session: Any, rows: Any, wanted: Any, parallel: int) -> Any:
        kept.extend(len(pickle.dumps(row.values)) for row in rows.values())
        return {}

    monkeypatch.setattr(translation, "measure", weigh)
    result = run(sim, MODULE, esxi_hostname=["*"])
    host = result["hosts"]["esx-0001.example.com"]
    assert sum(len(host[part]) for part in ("network", "storage", "graphics")) + host["other_devices"] == 48
    on_the_wire = max(entry.bytes_out for entry in sim.journal if entry.method == "RetrievePropertiesEx") / 20
    assert len(kept) == 20 and max(kept) <= 5000 and on_the_wire > 15_000, (kept, on_the_wire)


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "SystemError"},
        {"fault": "NoPermission"},
        {"fault": "HostNotConnected"},
        {"http": 503},
        {"drop": "after"},
        {"fault": "NotAuthenticated", "count": 1},
    ],
    ids=lambda fault: next(iter(fault.values())),
)
def test_a_host_whose_esxcli_fails_is_unknown_and_hides_no_other(simulator: Callable[..., Simulator], fault: dict[str, Any]) -> None:
    sim = simulator(fleet(3))
    lasting = "count" not in fault
    sim.fault(method="ExecuteSoap", host="esx-002*", **{"count": None, **fault})
    result = run(sim, MODULE, **EVERYTHING)
    hit, *others = (result["hosts"][f"esx-00{number}.example.com"] for number in (2, 1, 3))
    assert all(host["boot_device"]["size_mb"] == 32768 and host["storage"][0]["nvme_version"] == "1.2" for host in others)
    assert hit["cpu"]["model"] == 106 and hit["failure"] is None
    if lasting:
        assert hit["boot_device"] == "unknown" and hit["storage"][0]["nvme_version"] == "unknown"
        texts = [finding["text"] for finding in hit["findings"] if finding["code"] == "hardware_not_told"]
        assert [text.partition(" was asked")[0] for text in texts] == ["The version of NVMe", "The boot device"]
        assert all(text.partition("is not known: ")[2] for text in texts)
    else:
        assert hit["boot_device"]["size_mb"] == 32768


def test_an_esxcli_that_hangs_ends_with_the_timeout(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(2))
    sim.fault(method="ExecuteSoap", host="esx-002*", count=None, hang=True)
    result = run(sim, MODULE, **{**EVERYTHING, "nvme": False, "read_timeout": 0.3})
    assert result["hosts"]["esx-002.example.com"]["boot_device"] == "unknown"
    assert result["hosts"]["esx-001.example.com"]["boot_device"]["usb"] is False


@pytest.mark.parametrize("fault", [{"http": 503}, {"drop": "before"}, {"drop": "after"}, {"expire_session": True}], ids=str)
def test_a_read_that_fails_once_is_repeated(simulator: Callable[..., Simulator], fault: dict[str, Any]) -> None:
    sim = simulator(fleet(3))
    sim.fault(method="RetrievePropertiesEx", after=1, **fault)
    assert run(sim, MODULE, esxi_hostname=["*"], target_release="8.0")["verdicts"] == {"not_listed": 3}


def test_who_may_not_use_esxcli_learns_why(simulator: Callable[..., Simulator]) -> None:
    reader = {"reader@vsphere.local": {"password": "reader-password", "privileges": ["System.*"]}}
    sim = simulator({**fleet(1), "users": {"administrator@vsphere.local": {"password": "VMware1!"}, **reader}})
    host = run(sim, MODULE, username="reader@vsphere.local", password="reader-password", **EVERYTHING)["hosts"]["esx-001.example.com"]
    assert host["boot_device"] == "unknown" and host["cpu"]["vendor"] == "intel"
    assert any("privilege" in finding["text"] or "may not" in finding["text"] for finding in host["findings"]), host["findings"]
    assert sim.summary()["writes"] == 0


def test_a_host_by_itself(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"kind": "esxi", **fleet(1)})
    host = next(iter(run(sim, MODULE, target_release="9.0", nvme=True, boot_device=True)["hosts"].values()))
    assert host["verdict"] == "advice" and host["storage"][0]["nvme_version"] == "1.2" and host["boot_device"]["size_mb"] == 32768


def test_an_older_vcenter_tells_less_and_nothing_fails(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({**fleet(1, profile="6.7"), "vcenter": {"profile": "6.7"}})
    host = run(sim, MODULE, esxi_hostname=["*"], target_release="8.0")["hosts"]["esx-001.example.com"]
    assert (host["firmware"], host["secure_boot"], host["version"]) == ("unknown", "unknown", "6.7.0")
    assert {check["met"] for check in host["requirements"] if check["demand"] == "uefi"} == {"unknown"}


def test_without_a_target_there_is_no_verdict(simulator: Callable[..., Simulator]) -> None:
    result = run(simulator(fleet(1)), MODULE, esxi_hostname=["*"], csv=True)
    host = result["hosts"]["esx-001.example.com"]
    assert "verdict" not in host and "requirements" not in host and result["verdicts"] == {} and "verdict" not in host["network"][0]
    assert [model["pci"] for model in result["device_models"]] == ["8086:1572:8086:0000", "144d:a822:1028:1fd9"]
    rows = list(csv.DictReader(result["csv"].splitlines()))
    assert [row["part"] for row in rows] == ["host", "cpu", "network", "storage"]


def test_the_table_is_the_result(simulator: Callable[..., Simulator]) -> None:
    result = run(simulator(fleet(2)), MODULE, csv=True, **EVERYTHING)
    rows = list(csv.DictReader(result["csv"].splitlines()))
    for name, host in result["hosts"].items():
        own = [row for row in rows if row["host"] == name]
        assert own[0]["verdict"] == host["verdict"] and own[0]["note"] == "; ".join(f["code"] for f in host["findings"])
        assert len([row for row in own if row["part"].startswith("demand ")]) == len(host["requirements"])
        assert [row["slot"] for row in own if row["slot"]] == [device["slot"] for part in ("network", "storage") for device in host[part]]


def test_odd_values_cost_only_their_host(simulator: Callable[..., Simulator]) -> None:
    """CPUID that nobody can read tells nothing of the processor, and no more than that is lost."""
    sim = simulator(fleet(2))
    first = sim.world.hosts[0].state
    first.hardware = {**first.hardware, "cpu_features": [{**row, "eax": "odd"} for row in first.hardware["cpu_features"]]}
    result = run(sim, MODULE, esxi_hostname=["*"], target_release="8.0")
    host = result["hosts"]["esx-001.example.com"]
    assert host["failure"] is None and host["cpu"]["family"] is None and host["verdict"] == "not_listed"
    assert result["hosts"]["esx-002.example.com"]["cpu"]["family"] == 6


@pytest.mark.parametrize(
    "bad",
    [
        {"target_release": "6.7"},
        {"target_release": None, "compatibility_list": []},
        {"compatibility_list": " "},
        {"compatibility_list": "pci,verdict\n8086,good\n"},
        {"compatibility_list": "no\0path"},
        {"parallel": 0},
    ],
    ids=str,
)
def test_bad_options_are_refused_before_any_connection(simulator: Callable[..., Simulator], bad: dict[str, Any]) -> None:
    sim = simulator(fleet(1))
    with pytest.raises(FleetcareError):
        run(sim, MODULE, **{**EVERYTHING, **bad})
    assert sim.summary()["requests"] == 0

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is shut down with nothing but curl: the commands stand in docs/power.md and are run as they stand there."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.measure import Server, served

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The host takes its time to go down, as real ones do: time for the Logout.
HOST: dict[str, Any] = {
    "name": "curl",
    "kind": "esxi",
    "vcenter": {"options": {"task_delay": 1.5}},
    "users": {"root": {"password": "Simulated-1"}},
    "hosts": [{"name": "esx-09.example.com"}],
    "virtual_machines": [{"name": "app-01"}],
}


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    scenario = tmp_path / "host.yml"
    scenario.write_text(json.dumps(HOST))
    with served(str(scenario)) as started:
        yield started


def commands() -> str:
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/power.md").read_text(encoding="utf-8"), re.M | re.S)[0]


def by_hand(server: Server, folder: pathlib.Path, **given: str) -> dict[str, str]:
    """What each call of the documented commands answers."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "URL": server.url, "PASSWORD": server.password, "CA": server.ca_file, **given}
    done = subprocess.run(
        ["bash", "-c", commands()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (folder / "login.xml").exists() and not (folder / "jar").exists()
    return {path.stem: path.read_text() for path in folder.glob("*.answer")}


def test_the_documented_way_shuts_a_host_down(server: Server, tmp_path: pathlib.Path) -> None:
    said = by_hand(server, tmp_path, FORCE="true")
    assert "LoginResponse" in said["login"] and "<key>" in said["login"]
    assert 'xsi:type="NotAuthenticated"' in said["header"] and "ShutdownHost_Task" not in said["header"]
    assert re.search(r'<returnval type="Task"[^>]*>haTask-[^<]+</returnval>', said["shutdown"]), said["shutdown"]
    assert "LogoutResponse" in said["logout"]
    assert server.control("/summary")["sessions"] == []
    state: dict[str, Any] = {}
    for _look in range(60):
        state = server.control("/state")["hosts"]["esx-09.example.com"]
        if not state["powered_on"]:
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["sleep", "0.1"], timeout=1, check=False)
    assert not state["powered_on"] and state["running_vms"] == 0
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(server.url, timeout=5)
    assert [entry["method"] for entry in server.control("/journal") if entry["write"]] == ["ShutdownHost_Task"] * 2


def test_without_force_and_maintenance_mode_it_is_refused(server: Server, tmp_path: pathlib.Path) -> None:
    said = by_hand(server, tmp_path)
    assert 'xsi:type="InvalidState"' in said["shutdown"]
    assert server.control("/state")["hosts"]["esx-09.example.com"]["powered_on"]


def test_the_header_does_nothing_beside_the_cookie_either(server: Server, tmp_path: pathlib.Path) -> None:
    """Whatever stands in it, the cookie decides."""
    script = commands().replace(
        "soap --cookie jar --data-binary @shutdown.xml", 'soap --cookie jar --header "vmware_soap_session: x" --data-binary @shutdown.xml'
    )
    assert script != commands()
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "URL": server.url,
        "PASSWORD": server.password,
        "CA": server.ca_file,
        "FORCE": "true",
    }
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert "haTask-" in (tmp_path / "shutdown.answer").read_text()

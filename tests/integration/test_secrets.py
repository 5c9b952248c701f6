# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords and cookies appear in no output, no log and no file but the session's own."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.measure import Server, served
from tests.integration.playbooks import on_localhost, play, task

PASSWORD = "marker-Pa55word-7f3a"
FLEET: dict[str, Any] = {
    "name": "secrets",
    "kind": "vcenter",
    "users": {"administrator@vsphere.local": {"password": PASSWORD}},
    "hosts": [{"count": 3, "name": "esx-0{n}.example.com", "profile": "8.0.3", "cluster": "prod"}],
}
WISH: dict[str, Any] = {"esxi_hostname": ["*"], "ntp_servers": ["192.0.2.77"]}


@pytest.fixture
def fleet(tmp_path: pathlib.Path) -> Iterator[Server]:
    scenario = tmp_path / "secrets.yml"
    scenario.write_text(json.dumps(FLEET))
    with served(str(scenario)) as server:
        scenario.unlink()
        yield server


@pytest.mark.parametrize("given", ["option", "environment"])
def test_nothing_leaks(fleet: Server, tmp_path: pathlib.Path, given: str) -> None:
    options = {**WISH, **({"password": "{{ secret }}"} if given == "option" else {})}
    fleet.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-02*", "fault": "HostConfigFault", "text": f"no: {PASSWORD}"})
    tasks = [task(options, ignore_errors=True), task({**options, "password": PASSWORD + "-wrong"}, ignore_errors=True)]
    done = play(
        tmp_path,
        fleet,
        [on_localhost(*tasks)],
        "-vvvv",
        "--diff",
        "--extra-vars=@" + str(extra(tmp_path)),
        ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"),
        ANSIBLE_KEEP_REMOTE_FILES="false",
    )
    assert "esx-02.example.com" in done.stdout
    (tmp_path / "extra.json").unlink()
    (tmp_path / "play.yml").unlink()
    (cookie,) = {json.loads(path.read_text())["cookie"] for path in tmp_path.rglob("*.session")}
    assert len(cookie) > 20
    assert fleet.control("/summary")["sessions"], "the session that the cookie belongs to is alive"
    for marker in (PASSWORD, cookie.strip('"')):
        assert marker not in done.stdout + done.stderr
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.suffix != ".session":
                assert marker.encode() not in path.read_bytes(), path
    for path in tmp_path.rglob("*.session"):
        assert sorted(json.loads(path.read_text())) == ["certificate", "cookie"]
        assert PASSWORD not in path.read_text()


def extra(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "extra.json"
    path.write_text(json.dumps({"secret": PASSWORD}))
    return path

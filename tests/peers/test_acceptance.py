# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""community.vmware's vmware_host_acceptance beside ours: what one has set the other finds right; where they differ, the tests say how."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from tests.bench.measure import Server
from tests.peers.clients import tell
from tests.peers.conftest import Servers

WRITE = "UpdateHostImageAcceptanceLevel"
# esx-06 is of 7.0.3 at vmware_accepted, esx-07 of 6.7 at community.
OLDER = ["esx-06.example.com", "esx-07.example.com"]
BLOCKED, SECURE = "esx-03.example.com", "esx-08.example.com"
Task = dict[str, Any]


def theirs(state: str, *, check: bool = False, **place: Any) -> Task:
    return {"community.vmware.vmware_host_acceptance": {"state": state, **place}, "check_mode": check, "ignore_errors": True}


def ours(level: str, *, check: bool = False, **place: Any) -> Task:
    options = {"acceptance_level": level, "session": "single", **place}
    return {"fleetcare.esxi.esxi_acceptance_level": options, "check_mode": check, "ignore_errors": True}


def levels(server: Server, *names: str) -> dict[str, str]:
    found = server.control("/state")["hosts"]
    return {name: found[name]["software"]["acceptance"] for name in names}


@pytest.mark.parametrize("spelling", ["partner", "PartnerSupported", "Partner Supported"])
def test_what_they_set_we_find_right(serve: Servers, tmp_path: pathlib.Path, spelling: str) -> None:
    server = serve.fresh("acceptance")
    first, checked, run = tell(
        tmp_path,
        server,
        theirs("partner", cluster_name="older"),
        ours(spelling, check=True, cluster_name="older"),
        ours(spelling, cluster_name="older"),
    )
    assert first.changed and sorted(first.writes) == [(name, WRITE) for name in OLDER]
    assert first.result["facts"] == dict.fromkeys(OLDER, {"level": "partner", "error": "NA"})
    for told in (checked, run):
        assert told.statuses == dict.fromkeys(OLDER, "compliant") and not told.writes
    assert levels(server, *OLDER) == dict.fromkeys(OLDER, "partner")


def test_what_we_set_they_find_right(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("acceptance")
    run, agreed = tell(tmp_path, server, ours("PARTNER", cluster_name="older"), theirs("partner", cluster_name="older"))
    assert run.statuses == dict.fromkeys(OLDER, "changed") and sorted(run.writes) == [(name, WRITE) for name in OLDER]
    assert not agreed.changed and not agreed.writes
    assert agreed.result["facts"] == dict.fromkeys(OLDER, {"level": "partner", "error": "NA"})


def test_where_a_vib_blocks_they_promise_a_change_and_succeed_without_it(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("acceptance")
    promised, done, checked, run = tell(
        tmp_path,
        server,
        theirs("partner", check=True, esxi_hostname=BLOCKED),
        theirs("partner", esxi_hostname=BLOCKED),
        ours("partner", check=True, esxi_hostname=BLOCKED, fail_on="any"),
        ours("partner", esxi_hostname=BLOCKED),
    )
    assert promised.changed and not done.changed and not done.failed
    assert done.result["facts"][BLOCKED]["level"] == "community"
    for told in (checked, run):
        assert told.failed and not told.writes
        assert [package["name"] for package in told.result["hosts"][BLOCKED]["blocking"]] == ["own-firewall"]
    assert levels(server, BLOCKED) == {BLOCKED: "community"}


def test_under_secure_boot_they_try_and_we_do_not(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("acceptance")
    tried, refused = tell(tmp_path, server, theirs("community", esxi_hostname=SECURE), ours("community", esxi_hostname=SECURE))
    assert tried.writes == [(SECURE, WRITE)] and not tried.failed and not tried.changed
    assert refused.failed and not refused.writes and "Secure Boot" in refused.result["msg"]
    assert levels(server, SECURE) == {SECURE: "partner"}

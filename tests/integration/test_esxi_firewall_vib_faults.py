# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of firewall rulesets when something goes wrong on the way: what is said is what is so, and a next run finishes it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.vib_runs import HOST, WAY, Start, codes, fleet, names, ours, ruleset, state, uploads

GOOD = "good.example.com"
PUT, DELETE = "PUT /folder/*", "DELETE /folder/*"
INSTALL, REMOVE = "esxcli software.vib.install", "esxcli software.vib.remove"


def _hit(sim: Any, **fault: Any) -> None:
    """On the first host only."""
    sim.fault(host="esx-001*", **fault)


def _started(simulator: Start) -> Any:
    """The first host has a datastore for itself, so that faults of files hit it alone."""
    return simulator(fleet({"datastores": [{"name": "mine"}]}, {"name": GOOD, "datastores": [{"name": "other"}]}))


def _honest(sim: Any, result: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Changed is told where something changed; what is told as done is done; the other host is none the worse."""
    host: dict[str, Any] = result["hosts"][HOST]
    assert result["hosts"][GOOD]["status"] in ("changed", "compliant")
    if state(sim) != before:
        assert host["changed"], host
    if host["status"] == "changed":
        assert ruleset(sim)["enabled"] and uploads(sim) == []
    else:
        where = result["endpoint"]["name"] if host["failure"]["kind"] == "endpoint_unreachable" else HOST
        assert host["failure"]["message"].startswith(where) and host["failure"]["hint"]
    if "remove_upload" in names(host, "not_done") and uploads(sim):
        assert "vib_upload_left" in codes(host), host
    return host


def _mended(sim: Any) -> None:
    sim.clear_faults()
    again = ours(sim)["hosts"][HOST]
    assert again["status"] in ("changed", "compliant"), again
    assert ruleset(sim)["enabled"]
    assert ours(sim)["changed"] is False


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("method", [PUT, INSTALL, "RefreshFirewall", "EnableRuleset", DELETE])
def test_an_answer_is_lost(simulator: Start, method: str, drop: str) -> None:
    sim = _started(simulator)
    if method == "EnableRuleset":
        sim.act("option", host=HOST, name="custom_ruleset_remembered", value=True)
        ours(sim)
        sim.act("set_ruleset", host=HOST, key="agent", enabled=False)
    before = state(sim)
    _hit(sim, method=method, drop=drop)
    host = _honest(sim, ours(sim), before)
    if (method, drop) == (INSTALL, "before"):
        assert host["status"] == "failed" and not sim.state()["hosts"][HOST]["software"]["packages"]
    else:
        assert host["status"] == "changed", host
    _mended(sim)


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("method", [REMOVE, "RefreshFirewall"])
def test_an_answer_is_lost_on_the_way_out(simulator: Start, method: str, drop: str) -> None:
    sim = _started(simulator)
    before = state(sim)
    ours(sim)
    _hit(sim, method=method, drop=drop)
    host = ours(sim, state="absent")["hosts"][HOST]
    if (method, drop) == (REMOVE, "before"):
        assert host["status"] == "failed" and not host["changed"] and ruleset(sim)["enabled"]
    else:
        assert host["status"] == "changed" and state(sim) == before
    sim.clear_faults()
    ours(sim, state="absent")
    assert state(sim) == before and not ours(sim, state="absent")["changed"]


@pytest.mark.parametrize(
    ("status", "fault", "kind"),
    [
        (507, "NoDiskSpace", "server_fault"),
        (403, "NoPermission", "permission_missing"),
        (409, "FileLocked", "server_fault"),
        (503, None, "endpoint_unreachable"),
    ],
)
def test_the_file_is_not_taken(simulator: Start, status: int, fault: str | None, kind: str) -> None:
    sim = _started(simulator)
    before = state(sim)
    _hit(sim, method=PUT, http=status, count=None)
    host = ours(sim)["hosts"][HOST]
    assert (host["status"], host["failure"]["kind"], host["failure"]["fault"]) == ("failed", kind, fault)
    assert host["failure"]["doing"] == "upload package" and not host["changed"]
    assert state(sim) == before and uploads(sim) == []
    assert {entry.method.partition(" ")[0] for entry in sim.journal if entry.write and entry.host == HOST} == {"PUT", "DELETE"}
    _mended(sim)


def test_the_session_ends_at_each_step(simulator: Start) -> None:
    for method in (PUT, INSTALL, "RefreshFirewall", DELETE):
        sim = simulator(fleet())
        sim.fault(method=method, expire_session=True)
        host = ours(sim)["hosts"][HOST]
        assert host["status"] == "changed" and names(host) == WAY, (method, host)
        assert sim.summary()["logins"] == 2 and uploads(sim) == []


def test_401_for_a_file_is_a_session_that_has_ended(simulator: Start) -> None:
    sim = simulator(fleet())
    sim.fault(method=PUT, http=401)
    assert ours(sim)["hosts"][HOST]["status"] == "changed" and sim.summary()["logins"] == 2


REFUSED = ["HostConfigFault", "NoPermission", "TaskInProgress", "InvalidState"]


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize(("installer", "method"), [("esxcli", INSTALL), ("patch_manager", "InstallHostPatchV2_Task")])
def test_a_refused_installation_leaves_all_as_it_was(simulator: Start, installer: str, method: str, fault: str) -> None:
    sim = _started(simulator)
    before = state(sim)
    _hit(sim, method=method, fault=fault)
    host = _honest(sim, ours(sim, installer=installer), before)
    assert host["status"] == "failed" and host["failure"]["doing"] == "install package"
    assert names(host) == ["upload_package", "remove_upload"] and names(host, "not_done") == [
        "install_package",
        "refresh_firewall",
        "enable_ruleset",
    ]
    assert state(sim) == before and uploads(sim) == []
    _mended(sim)


@pytest.mark.parametrize("drop", ["before", "after"])
def test_an_answer_of_the_patch_manager_is_lost(simulator: Start, drop: str) -> None:
    sim = _started(simulator)
    before = state(sim)
    _hit(sim, method="InstallHostPatchV2_Task", drop=drop)
    host = _honest(sim, ours(sim, installer="patch_manager"), before)
    assert host["status"] == ("failed" if drop == "before" else "changed"), host
    assert uploads(sim) == []
    _mended(sim)


def test_the_patch_manager_refuses_in_its_own_way(simulator: Start) -> None:
    """What its task says is not believed: as a fault, or as a result that names what went wrong."""
    options = {"extensibility_rules": True}
    sim = simulator(fleet({"options": options, "datastores": [{"name": "mine"}]}, {"name": GOOD, "datastores": [{"name": "other"}]}))
    before = state(sim)
    done = ours(sim, installer="patch_manager")
    assert done["hosts"][HOST]["status"] == "failed" and done["hosts"][GOOD]["status"] == "changed"
    assert state(sim) == before and uploads(sim) == []


@pytest.mark.parametrize("method", ["RefreshFirewall", "EnableRuleset"])
def test_what_is_not_kept_is_told(simulator: Start, method: str) -> None:
    """Answered as if it were done, and not done."""
    sim = _started(simulator)
    if method == "EnableRuleset":
        ours(sim)
        sim.act("set_ruleset", host=HOST, key="agent", enabled=False)
    before = state(sim)
    _hit(sim, method=method, ignore=True, count=None)
    host = _honest(sim, ours(sim), before)
    assert host["status"] == "failed" and host["failure"]["kind"] in ("not_converged", "server_fault")
    if method == "RefreshFirewall":
        assert "vib_ruleset_missing" in codes(host) or "NotFound" in str(host["failure"])
    _mended(sim)


def test_an_installation_that_takes_longer_than_a_call(simulator: Start) -> None:
    """Looked at, as after a lost answer: also where an older version is there as long as it is not done."""
    sim = _started(simulator)
    for version in ("1.0.0", "2.0.0"):
        _hit(sim, method=INSTALL, delay=1.2)
        host = ours(sim, read_timeout=1, version=version)["hosts"][HOST]
        assert host["status"] == "changed" and names(host) == WAY, host
        assert uploads(sim) == []


def test_a_removal_that_takes_longer_than_a_call(simulator: Start) -> None:
    sim = _started(simulator)
    before = state(sim)
    ours(sim)
    _hit(sim, method=REMOVE, delay=1.2)
    host = ours(sim, read_timeout=1, state="absent")["hosts"][HOST]
    assert host["status"] == "changed" and state(sim) == before, host


def test_a_slow_installation_and_a_deadline(simulator: Start) -> None:
    """The request is out when the time is over: nobody knows, and that is what is said."""
    sim = _started(simulator)
    before = state(sim)
    _hit(sim, method=INSTALL, delay=2.5)
    host = _honest(sim, ours(sim, deadline=1.5), before)
    assert host["status"] == "failed" and "deadline" in host["failure"]["cause"]
    assert "refresh_firewall" in names(host, "not_done") and uploads(sim) == []
    _mended(sim)


def test_a_file_that_somebody_else_has_removed(simulator: Start) -> None:
    """It is gone, as it should be: no reason to fail, and nothing is left."""
    sim = _started(simulator)
    _hit(sim, method=DELETE, http=404)
    host = ours(sim)["hosts"][HOST]
    assert host["status"] == "changed" and names(host) == WAY and codes(host) == [], host


def test_a_file_that_cannot_be_removed(simulator: Start) -> None:
    sim = _started(simulator)
    _hit(sim, method=DELETE, http=403, count=None)
    host = ours(sim)["hosts"][HOST]
    assert host["status"] == "failed" and host["failure"]["doing"] == "remove upload"
    assert codes(host) == ["vib_upload_left"] and uploads(sim)[0] in host["findings"][0]["text"]
    assert names(host) == WAY[:-1] and ruleset(sim)["enabled"]


def test_a_host_that_takes_it_for_its_next_start_only(simulator: Start) -> None:
    """esxcli answers Reboot Required: true where what is replaced cannot leave a running host."""
    sim = simulator(fleet({"software": [{"name": "slow", "live_remove": False, "acceptance": "community"}]}))
    host = ours(sim, name="slow", vendor="Example")["hosts"][HOST]
    assert host["status"] == "failed" and "next start only" in host["failure"]["cause"], host
    assert uploads(sim) == []
    sim.act("reboot_host", host=HOST)
    assert ruleset(sim)["enabled"] and ours(sim, name="slow", vendor="Example")["hosts"][HOST]["status"] == "compliant"


def test_a_host_that_lets_it_go_at_its_next_start_only(simulator: Start) -> None:
    """The next step that is named is one that helps."""
    sim = simulator(fleet({"software": [{"name": "slow", "live_remove": False, "acceptance": "community"}]}))
    leave: dict[str, Any] = {"name": "slow", "vendor": "Example", "state": "absent", "rulesets": None}
    host = ours(sim, **leave)["hosts"][HOST]
    assert host["status"] == "failed" and "next start only" in host["failure"]["cause"], host
    assert "Reboot it" in host["failure"]["hint"]
    sim.act("reboot_host", host=HOST)
    assert ours(sim, **leave)["hosts"][HOST]["status"] == "compliant"

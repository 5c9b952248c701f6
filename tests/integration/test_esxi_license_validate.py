# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The licence modules against the simulator: check, do, again; what is written in which order; whatever goes wrong on the way."""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import collect
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import license as translation
from tests.integration.driver import run
from tests.integration.ledger import SEVEN, SIX, A, C, D, Ledger, fleet, held, host, licence, shown, written
from tests.simulator import Simulator

Start = Callable[..., Simulator]
ONE, TWO, THREE = (f"esx-{number:02d}.example.com" for number in (1, 2, 3))
# Host 1 holds the only key with what host 2 needs, and can do with another that is not in the inventory yet.
MOVE = fleet(
    [host(1, license=A), host(2, features_in_use=["dvs"])], [licence(A, total=2), licence(C, features=["vmotion"], inventory=False)]
)
HELD = fleet([host(1, license=A), host(2, license=A), host(3, license=C)], [licence(A), licence(C)])
EVALUATION = shown("00000-00000-00000-00000-00000")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the server waits shorter here."""
    for module in (pipeline, at_endpoint):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.1, 0.7), raising=False)


def ours(sim: Simulator, *, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"esxi_hostname": ["*"], "state": "assigned", **options}
    return run(sim, "esxi_license_validate", check=check, **{name: value for name, value in given.items() if value is not None})


def codes(part: dict[str, Any], status: str = "open") -> set[str]:
    return {finding["code"] for finding in part["findings"] if finding["status"] == status}


def changes(part: dict[str, Any]) -> list[str]:
    return [f"{change['change']} {change['key'][-5:]}" for change in part["changes"]]


def statuses(result: dict[str, Any]) -> list[str]:
    return [entry["status"] for entry in result["hosts"].values()]


def thrice(sim: Simulator, **wish: Any) -> dict[str, Any]:
    """Check, do, again: planned as done, in no order that leaves a host without or fills a key beyond its limit, and done once."""
    sim.clear_journal()
    planned = ours(sim, check=True, **wish)
    assert written(sim) == [] and sim.summary()["sessions"] == []
    ledger = Ledger(sim)
    done = ours(sim, **wish)
    if not wish.get("allow_unlicensed"):
        ledger.check()
    assert ledger.overfull == []
    for name, part in planned["hosts"].items():
        assert part["changes"] == done["hosts"][name]["changes"], name
    assert planned["endpoint"]["changes"] == done["endpoint"]["changes"]
    assert planned["changed"] == done["changed"] and planned["diff"] == done["diff"]
    sent = [change for part in (done["endpoint"], *done["hosts"].values()) for change in part["changes"]]
    assert len(written(sim)) == len(sent), "one change is one write"
    sim.clear_journal()
    again = ours(sim, **wish)
    assert not again["changed"] and written(sim) == [], again["msg"]
    assert set(statuses(again)) <= {"compliant", "unreachable", "failed"}
    return done


# ---- check, do, again -------------------------------------------------------------------------------------------------------------


def test_a_key_is_added_with_its_labels_before_it_is_assigned(simulator: Start) -> None:
    sim = simulator(fleet([host(1), host(2), host(3, license=D)], [licence(A, inventory=False), licence(D)]))
    ledger = Ledger(sim)
    done = thrice(sim, license_key=A, labels={"owner": "platform", "rack": 7})
    assert changes(done["endpoint"]) == ["add_key 0000A"] and done["endpoint"]["changes"][0]["labels"] == {"owner": "platform", "rack": "7"}
    assert set(statuses(done)) == {"changed"} and held(sim) == dict.fromkeys(held(sim), shown(A))
    assert [item["labels"] for item in sim.state()["licenses"] if item["key"] == shown(A)] == [{"owner": "platform", "rack": "7"}]
    methods = [method for method, _hosts, _used in ledger.moments if method in ("AddLicense", "UpdateAssignedLicense")]
    assert methods == ["AddLicense"] + 3 * ["UpdateAssignedLicense"]


def test_host_by_itself_gets_its_key_in_one_write(simulator: Start) -> None:
    sim = simulator("standalone_license")
    done = thrice(sim, license_key="FAKE0-R1GHT-V8000-CPUPK-00001", esxi_hostname=None)
    (part,) = done["hosts"].values()
    assert changes(part) == ["assign_key 00001"] and codes(part, "repaired") == {"host_in_evaluation"}
    sim.act("set_license", key="evaluation")
    sim.clear_journal()
    ours(sim, license_key="FAKE0-R1GHT-V8000-CPUPK-00001", esxi_hostname=None)
    assert [method for method, _what in written(sim)] == ["UpdateLicense"]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("FAKE0-GEN70-V7000-CPUPK-00002", "key_wrong_generation"),
        ("FAKE0-VCENT-V8000-ALL00-00004", "key_not_for_esxi"),
        ("FAKE0-EXP1R-V8000-CPUPK-00006", "key_expired"),
        ("FAKE0-UN0PK-V8000-CPUPK-00027", "key_units_short"),
        ("FAKE0-REFU5-EMPTY-XXXXX-00016", "key_unknown"),
        ("FAKE0-NEVER-HEARD-XXXXX-00099", "key_unknown"),
    ],
)
def test_key_that_is_no_good_for_a_host_by_itself_is_not_sent(simulator: Start, key: str, code: str) -> None:
    sim = simulator("standalone_license")
    for state in ("valid", "assigned"):
        result = ours(sim, license_key=key, esxi_hostname=None, state=state)
        (part,) = result["hosts"].values()
        assert part["status"] == "failed" and code in codes(part), result["msg"]
        assert code in result["hints"] and "fits" not in part
    assert written(sim) == []


def test_host_by_itself_that_is_named_like_the_endpoint(simulator: Start) -> None:
    """As people reach it: by its own name, on the usual port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    sim = simulator({**fleet([host(1, name=f"127.0.0.1:{port}")], [licence(A)]), "kind": "esxi"}, listen=("127.0.0.1", port))
    done = ours(sim, license_key=A)
    assert done["changed"] and done["diff"]["before"] != done["diff"]["after"]
    refused = ours(sim, license_key=A, state="absent")
    assert "last_key" in refused["msg"]


def test_host_by_itself_under_a_vcenter_is_left_to_that(simulator: Start) -> None:
    sim = simulator({**fleet([host(1, managed_by="192.0.2.2")], [licence(A)]), "kind": "esxi"})
    result = ours(sim, license_key=A)
    assert codes(result["hosts"][ONE]) == {"host_in_evaluation", "host_managed_by_vcenter"} and "192.0.2.2" in result["msg"]
    assert written(sim) == []


def test_pool_over_generations(simulator: Start) -> None:
    """Every host that any key can have is served, and of those that are well none is touched but one of an over-used key."""
    sim = simulator("licensing")
    before = held(sim)
    pool = ["FAKE0-UNL1T-V8000-CPUPK-00022", "FAKE0-GEN70-V7000-CPUPK-00002", "FAKE0-GEN60-V6000-CPUPK-00003"]
    done = thrice(sim, license_keys=pool, from_inventory=True)
    assert done["summary"] == {"changed": 5, "compliant": 12, "unreachable": 1}, done["msg"]
    after = held(sim)
    assert {name for name in after if after[name] != before[name]} == {f"esx-{number}.example.com" for number in (12, 13, 14, 16, 18)}


def test_mixed_fleet_gets_the_key_of_each_generation(simulator: Start) -> None:
    hosts = [host(1), host(2, profile="7.0.3"), host(3, profile="6.7"), host(4, license="none", evaluation_days=0)]
    sim = simulator(fleet(hosts, [licence(A), licence(SEVEN, version="7.0", inventory=False), licence(SIX, version="6.0")]))
    done = thrice(sim, license_keys=[A, SEVEN, SIX])
    assert [part["license"][-5:] for part in done["hosts"].values()] == ["0000A", "00007", "00006", "0000A"]
    assert changes(done["endpoint"]) == ["add_key 00007"]


def test_release_that_takes_no_keys_is_told_and_not_written(simulator: Start) -> None:
    sim = simulator(fleet([host(1), host(2, profile="9.0", license="file")], [licence(A)]))
    result = ours(sim, license_key=A)
    assert statuses(result) == ["changed", "failed"] and "license_files" in codes(result["hosts"][TWO])
    assert written(sim) == [("UpdateAssignedLicense", ONE)]
    quiet = run(sim, "esxi_license_info", esxi_hostname=["*"])["hosts"][TWO]
    assert quiet["managed_by"] == "vcf_operations" and quiet["status"] == "compliant"


def test_labels_of_a_known_key_stay_where_they_are_not_named(simulator: Start) -> None:
    sim = simulator(fleet([host(1, license=A)], [licence(A, labels={"source": "purchase", "owner": "somebody"})]))
    done = thrice(sim, license_key=A, labels={"owner": "platform", "source": "purchase"})
    assert changes(done["endpoint"]) == ["set_label 0000A"] and statuses(done) == ["compliant"]
    assert sim.state()["licenses"][0]["labels"] == {"source": "purchase", "owner": "platform"}


def test_wanted_edition_decides(simulator: Start) -> None:
    keys = [licence(A, edition="esx.standard.cpuPackage"), licence(C, edition="esx.enterprisePlus.cpuPackage")]
    sim = simulator(fleet([host(1), host(2, license=A)], keys))
    done = thrice(sim, license_keys=[A, C], edition="ESX.enterpriseplus.*")
    assert set(held(sim).values()) == {shown(C)}
    assert {key["key"]: key["verdict"] for key in done["licenses"]} == {shown(A): "key_edition_unwanted", shown(C): "good"}


def test_result_shows_the_keys_as_they_are_afterwards(simulator: Start) -> None:
    sim = simulator(fleet([host(1), host(2, license=C)], [licence(A), licence(C)]))
    done = ours(sim, license_key=A)
    (key,) = done["licenses"]
    assert (key["used"], key["free"], key["used_by"]) == (4, 16, [ONE, TWO])


def test_absent_never_takes_the_last_key_unasked(simulator: Start) -> None:
    sim = simulator(HELD)
    result = thrice(sim, license_key=A, state="absent")
    assert statuses(result) == ["failed", "failed", "compliant"] and not result["changed"]
    assert codes(result["hosts"][ONE]) == {"last_key"} and codes(result["endpoint"]) == {"key_in_use"}
    assert "allow_unlicensed" in result["hints"]["last_key"]


def test_absent_takes_it_from_the_hosts_and_then_out_of_vcenter(simulator: Start) -> None:
    sim = simulator(HELD)
    done = thrice(sim, license_key=A, state="absent", allow_unlicensed=True)
    assert done["summary"] == {"changed": 2, "compliant": 1} and changes(done["endpoint"]) == ["remove_key 0000A"]
    sim.reset()
    ours(sim, license_key=A, state="absent", allow_unlicensed=True)
    assert sorted(written(sim)[:2]) == [("RemoveAssignedLicense", ONE), ("RemoveAssignedLicense", TWO)]
    assert written(sim)[2:] == [("RemoveLicense", "0000A")]


def test_absent_without_hosts(simulator: Start) -> None:
    sim = simulator(fleet([host(1, license=A)], [licence(A), licence(C)]))
    done = thrice(sim, license_key=C, state="absent", esxi_hostname=None)
    assert changes(done["endpoint"]) == ["remove_key 0000C"] and done["hosts"] == {}
    kept = ours(sim, license_key=A, state="absent", esxi_hostname=None)
    assert codes(kept["endpoint"]) == {"key_in_use"} and ONE in kept["msg"]
    sim.clear_journal()
    assert not ours(sim, license_key=D, state="absent", esxi_hostname=None)["changed"]
    assert "RetrievePropertiesEx" in sim.summary()["by_method"] and sim.summary()["calls"] <= 9, "no host is read"


def test_absent_of_a_host_by_itself(simulator: Start) -> None:
    sim = simulator({**fleet([host(1, license=A)], [licence(A)]), "kind": "esxi"})
    assert codes(ours(sim, license_key=A, state="absent")["hosts"][ONE]) == {"last_key"} and written(sim) == []
    done = thrice(sim, license_key=A, state="absent", allow_unlicensed=True)
    assert changes(done["hosts"][ONE]) == ["unassign_key 0000A"]


def test_key_that_the_server_keeps(simulator: Start) -> None:
    sim = simulator(fleet([host(1)], [licence(A, keeps_removed=True)]))
    result = ours(sim, license_key=A, state="absent", esxi_hostname=None)
    assert codes(result["endpoint"]) == {"key_kept"} and result["endpoint"]["status"] == "failed" and not result["changed"]


# ---- what comes before what -------------------------------------------------------------------------------------------------------


def test_host_gives_up_its_key_before_another_takes_it(simulator: Start) -> None:
    sim = simulator(MOVE)
    done = thrice(sim, license_keys=[A, C])
    assert held(sim) == {ONE: shown(C), TWO: shown(A)} and statuses(done) == ["changed", "changed"]
    sim.reset()
    ours(sim, license_keys=[A, C])
    assert written(sim) == [("AddLicense", "0000C"), ("UpdateAssignedLicense", ONE), ("UpdateAssignedLicense", TWO)]


def test_long_chain_in_any_order_of_names(simulator: Start) -> None:
    """Each host makes room for the one before it, and all of them are written by many threads at once."""
    keys = [f"FAKE0-CHA1N-V8000-CPUPK-000{number:02d}" for number in range(5)]
    hosts = [
        host(number + 1, license=keys[number] if number < 4 else "evaluation", features_in_use=[f"f{number}"] if number == 4 else [])
        for number in range(5)
    ]
    licences = [licence(key, total=2, features=["f4"] if number == 0 else [f"g{number}"]) for number, key in enumerate(keys)]
    sim = simulator(fleet(hosts, licences))
    done = thrice(sim, license_keys=keys, parallel=16)
    assert done["hosts"]["esx-05.example.com"]["license"] == shown(keys[0]) and "failed" not in statuses(done)


@pytest.mark.parametrize("fault", ["NotEnoughLicenses", "HostConfigFault", "LicenseDowngradeDisallowed", "LicenseKeyEntityMismatch"])
def test_where_one_keeps_its_key_the_next_is_not_begun(simulator: Start, fault: str) -> None:
    sim = simulator(MOVE)
    sim.fault(method="UpdateAssignedLicense", host=ONE, fault=fault)
    ledger = Ledger(sim)
    result = ours(sim, license_keys=[A, C])
    ledger.check()
    assert statuses(result) == ["failed", "skipped"] and result["hosts"][ONE]["failure"]["fault"] == fault
    told = result["hosts"][TWO]
    assert ONE in told["failure"]["cause"] and "which was to go before it" in told["failure"]["cause"]
    assert [change["change"] for change in told["not_done"]] == ["assign_key"]
    assert ("UpdateAssignedLicense", TWO) not in written(sim)
    assert set(statuses(ours(sim, license_keys=[A, C]))) == {"changed"}


@pytest.mark.parametrize("drop", ["before", "after"])
def test_where_the_answer_of_one_is_lost_the_next_is_told_the_truth(simulator: Start, drop: str) -> None:
    sim = simulator(MOVE)
    sim.fault(method="UpdateAssignedLicense", host=ONE, drop=drop)
    ledger = Ledger(sim)
    result = ours(sim, license_keys=[A, C])
    ledger.check()
    one, two = result["hosts"][ONE], result["hosts"][TWO]
    assert one["changed"] == (drop == "after") == (held(sim)[ONE] == shown(C))
    if two["status"] == "skipped" and one["status"] == "changed":
        assert f"{ONE}, which was to go before it, was not changed" not in two["failure"]["cause"]
    last = ours(sim, license_keys=[A, C])
    assert set(statuses(last)) <= {"changed", "compliant"} and held(sim) == {ONE: shown(C), TWO: shown(A)}


def test_refused_key_fails_exactly_the_hosts_that_need_it(simulator: Start) -> None:
    keys = [licence(A, inventory=False), licence(SEVEN, version="7.0", inventory=False)]
    sim = simulator(fleet([host(1), host(2), host(3, profile="7.0.3")], keys))
    sim.fault(method="AddLicense", fault="SystemError", text=f"no room for {A}")
    result = ours(sim, license_keys=[A, SEVEN])
    assert statuses(result) == ["failed", "failed", "changed"], result["msg"]
    assert result["endpoint"]["status"] == "failed" and changes(result["endpoint"]) == ["add_key 00007"]
    for name in (ONE, TWO):
        assert shown(A) in result["hosts"][name]["failure"]["cause"], "what they needed, not what else there is"
    assert [change["change"] for change in result["endpoint"]["not_done"]] == ["add_key"]
    assert A not in str(result)


@pytest.mark.parametrize(
    "trouble",
    [
        {"fault": "SystemError"},
        {"drop": "before"},
        {"hang": True},
        {"http": 503},
        {"fault": "NoPermission"},
    ],
    ids=str,
)
def test_host_is_not_called_well_where_its_key_could_not_be_added(simulator: Start, trouble: dict[str, Any]) -> None:
    sim = simulator(fleet([host(1), host(2, license=C)], [licence(A, inventory=False), licence(C, edition="esx.other")]))
    sim.fault(method="AddLicense", count=None, **trouble)
    result = ours(sim, license_key=A, edition="esx.enterprisePlus.*", read_timeout=0.5)
    assert not set(statuses(result)) & {"compliant", "changed"}, result["msg"]
    assert held(sim) == {ONE: None, TWO: shown(C)}


@pytest.mark.parametrize("seconds", [0.3, 30])
def test_key_that_appears_late(simulator: Start, seconds: float) -> None:
    """Waited for, or told: but never a success of hosts that got nothing."""
    sim = simulator(fleet([host(1), host(2)], [licence(A, inventory=False, appears_after=seconds)]))
    result = ours(sim, license_key=A)
    if seconds < 1:
        assert set(statuses(result)) == {"changed"}, result["msg"]
    else:
        assert "compliant" not in statuses(result) and result["endpoint"]["status"] == "failed", result["msg"]
    sim.advance(60)
    ours(sim, license_key=A)
    assert set(held(sim).values()) == {shown(A)}


@pytest.mark.parametrize("limit", [{"waves": ["1"]}, {"max_failures": 0, "parallel": 1}, {}], ids=str)
@pytest.mark.parametrize("left", ["kept", "removed"])
def test_key_is_removed_only_when_nobody_holds_it(simulator: Start, left: str, limit: dict[str, Any]) -> None:
    """What the server would do with a key that is held is not known; we never ask it."""
    sim = simulator(fleet([host(number, license=A) for number in range(1, 5)], [licence(A)], license_options={"remove_in_use": left}))
    if "waves" not in limit:
        sim.fault(method="RemoveAssignedLicense", host=ONE, fault="HostConfigFault")
    result = ours(sim, license_key=A, state="absent", allow_unlicensed=True, **limit)
    assert "RemoveLicense" not in [method for method, _what in written(sim)], result["msg"]
    for name, part in result["hosts"].items():
        assert (held(sim)[name] is None) == part["changed"], name
    assert codes(result["endpoint"]) in ({"key_in_use"}, set())


# ---- what goes wrong --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("method", ["AddLicense", "UpdateAssignedLicense"])
def test_lost_answers(simulator: Start, method: str, drop: str) -> None:
    sim = simulator(fleet([host(1), host(2)], [licence(A, inventory=False)]))
    sim.fault(method=method, drop=drop)
    ledger = Ledger(sim)
    result = ours(sim, license_key=A, parallel=1)
    ledger.check()
    truth = {name: key is not None for name, key in held(sim).items()}
    assert {name: part["changed"] for name, part in result["hosts"].items()} == truth
    if drop == "after":
        assert set(statuses(result)) == {"changed"} and result["endpoint"]["status"] == "changed", result["msg"]
    else:
        assert "failed" in (result["endpoint"]["status"], *statuses(result))
    assert len(written(sim)) == len(set(written(sim))), "a write is never repeated blindly"


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("method", ["RemoveAssignedLicense", "RemoveLicense"])
def test_lost_answers_of_what_is_taken_away(simulator: Start, method: str, drop: str) -> None:
    sim = simulator(HELD)
    sim.fault(method=method, drop=drop)
    result = ours(sim, license_key=A, state="absent", allow_unlicensed=True, parallel=1)
    for name, part in result["hosts"].items():
        was = name in (ONE, TWO)
        assert part["changed"] == (was and held(sim)[name] is None), name
        assert part["status"] == ("failed" if was and not part["changed"] else "changed" if was else "compliant"), name
    gone = shown(A) not in [item["key"] for item in sim.state()["licenses"]]
    assert bool(result["endpoint"]["changes"]) == gone
    assert gone == (drop == "after")


@pytest.mark.parametrize(
    "method", ["DecodeLicense", "AddLicense", "UpdateAssignedLicense", "QueryAssignedLicenses", "RetrievePropertiesEx"]
)
@pytest.mark.parametrize("after", [0, 1])
def test_session_that_ends_in_the_middle(simulator: Start, method: str, after: int) -> None:
    sim = simulator(fleet([host(1), host(2)], [licence(A, inventory=False)]))
    sim.fault(method=method, expire_session=True, after=after)
    result = ours(sim, license_key=A, parallel=1)
    assert set(statuses(result)) == {"changed"} and set(held(sim).values()) == {shown(A)}, result["msg"]
    assert len([entry for entry in sim.journal if entry.write and entry.status == "ok"]) == 3
    assert sim.summary()["sessions"] == []


@pytest.mark.parametrize("drop", [{"drop": "before"}, {"drop": "after"}, {"http": 503}], ids=str)
def test_decoder_that_cannot_be_reached_is_no_verdict(simulator: Start, drop: dict[str, Any]) -> None:
    """A connection that is lost says nothing about a key."""
    sim = simulator(fleet([host(1)], [licence(A, inventory=False)]))
    sim.fault(method="DecodeLicense", count=None, **drop)
    try:
        result = ours(sim, license_key=A)
    except Exception as problem:
        assert "lost" in str(problem) or "503" in str(problem)
    else:
        assert "key_unknown" not in str(result), result["msg"]
        assert "failed" in statuses(result)
    assert written(sim) == []


def test_permission_is_missing(simulator: Start) -> None:
    users = {"admin": {"password": "Simulated-1"}, "reader": {"password": "Simulated-1", "privileges": ["System.*"]}}
    sim = simulator({**MOVE, "users": users})
    as_reader: dict[str, Any] = {"username": "reader", "password": "Simulated-1"}
    for wish in ({"license_keys": [A, C]}, {"license_key": C, "state": "valid"}):
        result = ours(sim, **wish, **as_reader)
        assert codes(result["endpoint"]) == {"license_unreadable"} and "Global.Licenses" in result["hints"]["license_unreadable"]
        assert result["endpoint"]["status"] == "failed" and "fits" not in result["hosts"][TWO]
        assert wish.get("state") == "valid" or result["hosts"][TWO]["status"] == "failed", result["msg"]
    taken = ours(sim, license_key=A, state="absent", allow_unlicensed=True, **as_reader)
    assert taken["hosts"][ONE]["failure"]["kind"] == "permission_missing" and not taken["changed"]
    assert [entry.status for entry in sim.journal if entry.write and entry.status == "ok"] == []


def test_host_that_no_key_was_found_for_is_not_called_well(simulator: Start) -> None:
    users = {"admin": {"password": "Simulated-1"}, "reader": {"password": "Simulated-1", "privileges": ["System.*"]}}
    sim = simulator({**MOVE, "users": users, "license_options": {"licenses_without_privilege": "empty"}})
    result = ours(sim, from_inventory=True, username="reader", password="Simulated-1")
    assert result["hosts"][TWO]["status"] == "failed" and result["hosts"][TWO]["failure"]["hint"], result["msg"]


def test_keys_that_may_not_be_read_are_told(simulator: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property alone is denied, as a server may do that wants Global.Licenses for it."""

    def denied(session: Any, refs: Any, paths: Any, *more: Any) -> Any:
        rows = collect(session, refs, paths, *more)
        for row in rows.values() if "licenses" in paths else ():
            row.values.pop("licenses")
            row.missing["licenses"] = "NoPermission"
        return rows

    monkeypatch.setattr(translation, "collect", denied)
    sim = simulator(HELD)
    result = ours(sim, from_inventory=True, labels=None)
    assert "license_unreadable" in codes(result["endpoint"]) and result["endpoint"]["status"] == "failed"
    assert "compliant" not in statuses(result) and written(sim) == [], result["msg"]


def test_host_that_is_away(simulator: Start) -> None:
    sim = simulator(fleet([host(1), host(2, state="disconnected", license=A), host(3, state="not_responding")], [licence(A, total=4)]))
    done = thrice(sim, license_key=A)
    assert statuses(done) == ["changed", "unreachable", "unreachable"], "what it holds is not given to others"
    gone = ours(sim, license_key=A, state="absent", allow_unlicensed=True)
    assert codes(gone["endpoint"]) == {"key_in_use"} and TWO in gone["msg"]


def test_late_effect_is_waited_for_a_little(simulator: Start) -> None:
    sim = simulator(fleet([host(1), host(2, license=C)], [licence(A, assigned_after=0.5), licence(C)]))
    ledger = Ledger(sim)
    done = ours(sim, license_key=A)
    ledger.check()
    assert set(statuses(done)) == {"changed"} and set(held(sim).values()) == {shown(A)}


@pytest.mark.parametrize("behaviour", [{"silently_ignored": True}, {"assigned_after": 3600}], ids=str)
def test_assignment_without_effect_is_a_failure_with_its_numbers(simulator: Start, behaviour: dict[str, Any]) -> None:
    sim = simulator(fleet([host(1), host(2, license=C)], [licence(A, total=8, **behaviour), licence(C, edition="esx.other")]))
    result = ours(sim, license_key=A, edition="esx.enterprisePlus*")
    assert set(statuses(result)) == {"failed"}
    for name, code, had in (
        (ONE, "still_in_evaluation", "needs 2 cpuPackage"),
        (TWO, "key_not_in_force", f"{shown(C)} (Enterprise Plus C)"),
    ):
        assert code in codes(result["hosts"][name])
        assert had in result["hosts"][name]["failure"]["cause"]
    checked = ours(sim, check=True, license_key=A, edition="esx.enterprisePlus*")
    assert not {"still_in_evaluation", "key_not_in_force"} & codes(checked["hosts"][TWO]), "only the run that wrote knows of it"


def test_one_bad_host_hides_none(simulator: Start) -> None:
    sim = simulator(fleet([host(number) for number in range(1, 9)], [licence(A, total=100)]))
    sim.fault(method="UpdateAssignedLicense", host=TWO, fault="LicenseDowngradeDisallowed", text=f"{A} lacks it")
    result = ours(sim, license_key=A)
    assert result["summary"] == {"changed": 7, "failed": 1}
    assert "a feature that is in use" in result["msg"] and A not in str(result) and "FAKE0-*****" in result["msg"]
    assert ours(sim, license_key=A)["summary"] == {"changed": 1, "compliant": 7}


def test_waves_stop_after_a_failure(simulator: Start) -> None:
    sim = simulator(fleet([host(number) for number in range(1, 7)], [licence(A, total=100)]))
    sim.fault(method="UpdateAssignedLicense", host=TWO, fault="NotEnoughLicenses")
    result = ours(sim, license_key=A, waves=["1", "1", "100%"])
    assert result["summary"] == {"changed": 1, "failed": 1, "skipped": 4} and [wave["failed"] for wave in result["waves"]] == [0, 1]
    assert len(written(sim)) == 2
    sim.clear_faults()
    assert ours(sim, license_key=A, waves=["1", "100%"], max_failures=1)["summary"] == {"changed": 5, "compliant": 1}


def test_wave_without_room_leaves_those_who_wait(simulator: Start) -> None:
    sim = simulator(MOVE)
    ledger = Ledger(sim)
    planned = ours(sim, check=True, license_keys=[A, C], waves=["1"])
    first = ours(sim, license_keys=[A, C], waves=["1"])
    assert statuses(planned) == ["would_change", "skipped"] and statuses(first) == ["changed", "skipped"]
    assert statuses(ours(sim, license_keys=[A, C], waves=["1"])) == ["compliant", "changed"]
    ledger.check()


def test_room_is_made_over_waves(simulator: Start) -> None:
    sim = simulator(MOVE)
    ledger = Ledger(sim)
    assert set(statuses(ours(sim, license_keys=[A, C], waves=["1", "1"]))) == {"changed"}
    ledger.check()
    sim.reset()
    sim.fault(method="UpdateAssignedLicense", host=ONE, fault="HostConfigFault")
    assert statuses(ours(sim, license_keys=[A, C], waves=["1", "1"], max_failures=5)) == ["failed", "skipped"]


def test_deadline_in_the_middle_of_the_hosts(simulator: Start) -> None:
    sim = simulator(fleet([host(number) for number in range(1, 7)], [licence(A, total=100)]))
    sim.fault(method="UpdateAssignedLicense", delay=0.6, count=None)
    began = time.monotonic()
    result = ours(sim, license_key=A, deadline=1, parallel=1)
    assert time.monotonic() - began < 15
    truth = {name: "skipped" if key is None else "changed" for name, key in held(sim).items()}
    assert {name: part["status"] for name, part in result["hosts"].items()} == truth, result["msg"]
    assert {"skipped", "changed"} == set(truth.values()) and "nothing is assigned" not in result["msg"]


def test_deadline_while_a_key_is_added(simulator: Start) -> None:
    sim = simulator(fleet([host(1), host(2)], [licence(A, inventory=False)]))
    sim.fault(method="AddLicense", delay=1.2)
    result = ours(sim, license_key=A, deadline=1)
    assert statuses(result) == ["skipped", "skipped"], result["msg"]
    assert "deadline" in result["hosts"][ONE]["failure"]["cause"]
    assert changes(result["endpoint"]) == ["add_key 0000A"], "it was added, and that is told"


# ---- judging ----------------------------------------------------------------------------------------------------------------------


def test_valid_says_which_host_a_key_fits(simulator: Start) -> None:
    sim = simulator("licensing")
    result = ours(sim, license_key="FAKE0-UNL1T-V8000-CPUPK-00022", state="valid")
    assert written(sim) == [] and not result["changed"] and result["diff"] == {"before": {}, "after": {}}
    assert result["hosts"]["esx-12.example.com"]["fits"] == shown("FAKE0-UNL1T-V8000-CPUPK-00022")
    assert "key_wrong_generation" in codes(result["hosts"]["esx-07.example.com"])
    assert ours(sim, license_key="FAKE0-UNL1T-V8000-CPUPK-00022", state="valid", check=True)["hosts"] == result["hosts"]


def test_each_vcenter_is_judged_by_its_own_clock(simulator: Start) -> None:
    """One whose calendar is ahead believes that the key has expired, the other does not; only one is doubtful."""

    def vcenter(offset: float) -> Simulator:
        return simulator({**fleet([host(1, license=A)], [licence(A, expires=40)]), "vcenter": {"clock": {"offset": offset}}})

    right, ahead, behind = vcenter(0), vcenter(90 * 86400), vcenter(-90 * 86400)
    for _turn in range(2):
        for sim, doubtful in ((right, False), (ahead, True), (behind, False)):
            result = run(sim, "esxi_license_info", esxi_hostname=["*"])
            assert ("expiry_clock_doubtful" in codes(result["hosts"][ONE])) == doubtful, result
            assert 39 < result["hosts"][ONE]["days_left"] < 41
    assert ours(ahead, state="valid")["hosts"][ONE]["status"] == "failed"
    assert ours(right, state="valid")["hosts"][ONE]["status"] == "compliant"


# ---- the fleet as it is -----------------------------------------------------------------------------------------------------------


def test_hosts_at_risk_come_worst_first(simulator: Start) -> None:
    sim = simulator("licensing")
    result = run(sim, "esxi_license_info", esxi_hostname=["*"])
    assert result["at_risk"] == [
        {"host": "esx-08.example.com", "codes": ["host_away", "key_expired"]},
        {"host": "esx-13.example.com", "codes": ["host_evaluation_spent"]},
        {"host": "esx-14.example.com", "codes": ["host_unlicensed"]},
        {"host": "esx-18.example.com", "codes": ["key_wrong_generation"]},
        {"host": "esx-09.example.com", "codes": ["key_expires_soon", "certificate_expires_soon"]},
        {"host": "esx-12.example.com", "codes": ["host_in_evaluation"]},
        {"host": "esx-15.example.com", "codes": ["key_over_used"]},
        {"host": "esx-16.example.com", "codes": ["key_over_used"]},
    ]
    assert written(sim) == [] and sim.summary()["sessions"] == []
    far = run(sim, "esxi_license_info", esxi_hostname=["*"], warn_days=3650)["at_risk"]
    assert len(far) > len(result["at_risk"])


def test_keys_are_shown_with_their_units_and_holders(simulator: Start) -> None:
    sim = simulator("licensing")
    keys = {key["key"][-5:]: key for key in run(sim, "esxi_license_info", esxi_hostname=["*"])["licenses"]}
    assert (keys["00001"]["total"], keys["00001"]["used"], keys["00001"]["free"]) == (20, 5, 15)
    assert keys["00001"]["used_by"] == ["esx-01.example.com", "esx-02.example.com", "esx-17.example.com"]
    assert keys["00009"]["unlimited"] and keys["00009"]["total"] is None
    assert keys["00012"]["verdict"] == "key_over_used" and keys["00006"]["verdict"] == "key_expired"
    assert keys["00008"]["lease_minutes"] == 90 and keys["00008"]["expires"] is None and keys["00008"]["verdict"] == "good"
    assert all(len(key["fingerprint"]) == 12 for key in keys.values())


def test_certificates(simulator: Start) -> None:
    sim = simulator("licensing")
    hosts = run(sim, "esxi_license_info", esxi_hostname=["*"])["hosts"]
    certificate = hosts["esx-09.example.com"]["certificate"]
    assert sorted(certificate) == ["issuer", "not_after", "not_before", "status", "subject"]
    assert "CN=esx-09.example.com" in certificate["subject"] and certificate["status"] == "expirationImminent"
    assert "certificate_expires_soon" in codes(hosts["esx-09.example.com"])


@pytest.mark.parametrize(
    ("privileges", "readable"),
    [(["System.*"], False), (["System.*", "Certificate.Manage"], True), (["System.*", "Global.Licenses"], False)],
)
def test_reader_sees_what_he_may(simulator: Start, privileges: list[str], readable: bool) -> None:
    users = {"admin": {"password": "Simulated-1"}, "reader": {"password": "Simulated-1", "privileges": privileges}}
    sim = simulator({**fleet([host(1, license=A, certificate={"days": 5})], [licence(A)]), "users": users})
    result = run(sim, "esxi_license_info", esxi_hostname=["*"], username="reader", password="Simulated-1", csv=True)
    part = result["hosts"][ONE]
    assert part["license"] == shown(A) and ("certificate" in part) == readable and part["status"] == "compliant"
    assert codes(part) == ({"certificate_expires_soon"} if readable else {"certificate_unreadable"})
    assert [entry.status for entry in sim.journal if entry.status == "NoPermission"] == []
    (row,) = csv.DictReader(io.StringIO(result["csv"]))
    assert (row["certificate_status"] != "") == readable


def test_table_is_read_by_others_and_holds_no_formula(simulator: Start) -> None:
    names = ("=cmd|' /C calc'!A0", "-2+3", "+1", "@SUM(1)", "\t=1+1", "\r=1+1", 'two\nlines, "quoted"', "plain; semicolon")
    hosts = [host(number, name=name, license=A, certificate={"issuer": name}) for number, name in enumerate(names)]
    sim = simulator(fleet(hosts, [licence(A, name='=HYPERLINK("http://example.com")', total=100)]))
    result = run(sim, "esxi_license_info", esxi_hostname=["*"], csv=True)
    rows = list(csv.DictReader(io.StringIO(result["csv"], newline="")))
    assert len(rows) == len(names) and all(None not in row and None not in row.values() for row in rows)
    for row in rows:
        for column, cell in row.items():
            assert cell[:1] not in tuple("=+-@\t\r"), f"{column}: {cell!r}"
    assert {row["host"].lstrip("'") for row in rows} == set(names)
    assert {row["license"] for row in rows} == {shown(A)} and A not in result["csv"]


def test_table_holds_every_host_and_what_the_result_says_of_it(simulator: Start) -> None:
    sim = simulator("licensing")
    result = run(sim, "esxi_license_info", esxi_hostname=["*"], csv=True)
    rows = {row["host"]: row for row in csv.DictReader(io.StringIO(result["csv"]))}
    assert set(rows) == set(result["hosts"])
    away = rows.pop("esx-08.example.com")
    assert away["findings"] == "host_away" and away["license"].endswith("00006") and float(away["days_left"]) < 0
    for name, row in rows.items():
        part = result["hosts"][name]
        for column in ("moid", "version", "license", "fingerprint", "edition", "units", "days_left", "evaluation_days"):
            assert row[column] == str(part.get(column, "")), f"{name}: {column}"
        assert row["findings"].split() == [finding["code"] for finding in part["findings"]]
    assert (rows["esx-01.example.com"]["units"], rows["esx-05.example.com"]["units"], rows["esx-04.example.com"]["units"]) == (
        "1",
        "2",
        "96",
    )
    assert EVALUATION in {row["license"] for row in rows.values()}

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What esxi_acceptance_level does to a host: check, do, and again; what blocks it; judged by the simulator's own state."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.driver import run
from tests.simulator import Simulator

NAME = "esx-1.example.com"
WRITE, GET, FETCH = "UpdateHostImageAcceptanceLevel", "HostImageConfigGetAcceptance", "fetchSoftwarePackages"
GENERATIONS = ["6.7", "7.0.0", "7.0.3", "8.0.2", "8.0.3", "9.0"]
# A host of the simulator comes with a VIB of a partner, so partner is the highest level that it allows.
UNSIGNED = {"name": "own-firewall", "version": "1.0.0-1", "vendor": "Platform", "acceptance": "community"}


def fleet(profile: str = "8.0.3", count: int = 1, **host: Any) -> dict[str, Any]:
    return {
        "name": "acceptance",
        "kind": "vcenter",
        "users": {
            "administrator@vsphere.local": {"password": "right-password"},
            "reader@vsphere.local": {"password": "reader-password", "privileges": ["System.*"]},
        },
        "hosts": [{"count": count, "name": "esx-{n}.example.com", "profile": profile, "cluster": "prod", **host}],
    }


def set_level(sim: Simulator, level: str | None = None, **options: Any) -> dict[str, Any]:
    wish: dict[str, Any] = {} if level is None else {"acceptance_level": level}
    result = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], **wish, **options)
    return {**result["hosts"][NAME], "hints": result["hints"], "msg": result["msg"], "diff": result.get("diff")}


def methods(sim: Simulator) -> list[str]:
    return [entry.method for entry in sim.journal if entry.write]


def asked(sim: Simulator, method: str) -> int:
    return sum(entry.method == method for entry in sim.journal)


def codes(host: dict[str, Any], status: str = "open") -> set[str]:
    return {finding["code"] for finding in host["findings"] if finding["status"] == status}


def truth(sim: Simulator, name: str = NAME) -> str:
    return str(sim.state()["hosts"][name]["software"]["acceptance"])


# ---- check, do, again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", GENERATIONS)
def test_a_level_is_raised_on_every_generation(simulator: Callable[..., Simulator], profile: str) -> None:
    sim = simulator(fleet(profile, acceptance="community"))
    checked = set_level(sim, "PartnerSupported", check=True)
    assert (checked["status"], codes(checked, "would_repair")) == ("would_change", {"acceptance_community"})
    assert methods(sim) == [] and truth(sim) == "community"
    done = set_level(sim, "PartnerSupported")
    assert (done["status"], done["changes"], done["diff"]) == ("changed", checked["changes"], checked["diff"])
    assert (truth(sim), done["acceptance_level"]) == ("partner", "partner")
    assert codes(done, "repaired") == {"acceptance_community"} and codes(done) == set()
    again = set_level(sim, "partner supported")
    assert (again["status"], again["findings"]) == ("compliant", []) and methods(sim) == [WRITE]


def test_a_level_is_lowered_where_secure_boot_is_off_and_that_is_told(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(secure_boot=False))
    checked = set_level(sim, "community", check=True)
    done = set_level(sim, "community")
    assert done["changes"] == checked["changes"] == [{"change": "lower_acceptance_level", "level": "community", "before": "partner"}]
    assert truth(sim) == "community" and "acceptance_lowered" in codes(done) & codes(checked)
    assert set_level(sim, "CommunitySupported")["status"] == "compliant" and methods(sim) == [WRITE]


def test_at_least_leaves_alone_what_is_stricter(simulator: Callable[..., Simulator]) -> None:
    """As the STIG means it: partner or above."""
    for secure_boot in (True, False):
        sim = simulator(fleet(acceptance="vmware_accepted", secure_boot=secure_boot))
        host = set_level(sim, "partner", at_least=True)
        assert (host["status"], host["findings"], methods(sim), truth(sim)) == ("compliant", [], [], "vmware_accepted")
    low = simulator(fleet(acceptance="community"))
    assert set_level(low, "partner", at_least=True)["status"] == "changed" and truth(low) == "partner"


def test_who_lowers_without_meaning_it_is_told_of_at_least(simulator: Callable[..., Simulator]) -> None:
    for secure_boot, code in ((True, "acceptance_secure_boot"), (False, "acceptance_lowered")):
        sim = simulator(fleet(acceptance="vmware_accepted", secure_boot=secure_boot))
        host = set_level(sim, "partner", check=True)
        assert code in codes(host) and "at_least: true" in host["hints"][code]


def test_left_out_the_level_stays(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(acceptance="community"))
    host = set_level(sim)
    assert (host["status"], codes(host), methods(sim)) == ("compliant", {"acceptance_community"}, [])
    assert asked(sim, FETCH) == 0


def test_nothing_but_the_level_is_touched(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(acceptance="community"))
    before = sim.state()["hosts"][NAME]
    set_level(sim, "partner")
    after = sim.state()["hosts"][NAME]
    before["software"]["acceptance"] = "partner"
    moving = {"clock_offset", "synced"}
    assert {key: value for key, value in after.items() if key not in moving} == {
        key: value for key, value in before.items() if key not in moving
    }


# ---- what blocks it ---------------------------------------------------------------------------------------------------------


def test_vibs_that_block_are_named_before_anything_is_written(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(acceptance="community", software=[UNSIGNED]))
    for check in (True, False):
        host = set_level(sim, "vmware_accepted", check=check)
        assert (host["status"], "acceptance_blocked" in codes(host), host["changes"]) == ("failed", True, [])
        names = {package["name"]: package for package in host["blocking"]}
        assert names["own-firewall"] == {
            "name": "own-firewall",
            "version": "1.0.0-1",
            "vendor": "Platform",
            "acceptance_level": "community",
        }
        assert {package["acceptance_level"] for package in host["blocking"]} == {"community", "partner"}
        assert "own-firewall 1.0.0-1 (Platform, community)" in host["msg"] and "community is the highest" in host["msg"]
        assert "esxcli software vib remove" in host["msg"]
    assert methods(sim) == [] and truth(sim) == "community"


def test_where_vibs_cannot_be_listed_the_host_decides_in_its_own_words(simulator: Callable[..., Simulator]) -> None:
    """As on 6.0, whose API has no such list."""
    sim = simulator(fleet(acceptance="community", software=[UNSIGNED]))
    sim.fault(method=FETCH, fault="MethodNotFound", count=None)
    checked = set_level(sim, "partner", check=True)
    assert (checked["status"], "acceptance_packages_unread" in codes(checked)) == ("would_change", True)
    host = set_level(sim, "partner")
    assert (host["status"], host["failure"]["fault"], host["changed"]) == ("failed", "HostConfigFault", False)
    assert "an installed VIB is below it (" in host["failure"]["cause"], "the host's own words are kept"
    assert methods(sim) == [WRITE] and truth(sim) == "community"
    other = simulator(fleet(acceptance="community"))
    other.fault(method=FETCH, fault="MethodNotFound", count=None)
    assert set_level(other, "partner")["status"] == "changed" and truth(other) == "partner"


@pytest.mark.parametrize("level", ["vmware_accepted", "partner", "community"])
def test_under_secure_boot_no_level_is_lowered(simulator: Callable[..., Simulator], level: str) -> None:
    sim = simulator(fleet(acceptance="vmware_certified", secure_boot=True))
    for options in ({"check": True}, {}, {"allow_unknown_secure_boot": True}):
        host = set_level(sim, level, **options)
        assert (host["status"], codes(host)) == ("failed", {"acceptance_secure_boot"})
        assert "capability.uefiSecureBoot" in host["msg"] and "firmware" in host["msg"]
    assert methods(sim) == [] and truth(sim) == "vmware_certified"


@pytest.mark.parametrize("profile", ["6.7", "7.0.3", "8.0.2"])
def test_where_secure_boot_is_not_told_community_has_to_be_asked_for_twice(simulator: Callable[..., Simulator], profile: str) -> None:
    sim = simulator(fleet(profile, secure_boot=False))
    once = set_level(sim, "community")
    assert (once["status"], codes(once)) == ("failed", {"acceptance_secure_boot_unknown"}) and methods(sim) == []
    assert "allow_unknown_secure_boot: true" in once["msg"]
    twice = set_level(sim, "community", allow_unknown_secure_boot=True)
    assert (twice["status"], truth(sim)) == ("changed", "community")
    assert {"acceptance_secure_boot_unknown", "acceptance_lowered"} <= codes(twice)
    assert twice["failure"] is None


def test_where_secure_boot_was_on_after_all_the_host_refuses(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("7.0.3", secure_boot=True))
    host = set_level(sim, "community", allow_unknown_secure_boot=True)
    assert (host["status"], host["failure"]["fault"], host["changed"]) == ("failed", "HostConfigFault", False)
    assert "as it does with community under Secure Boot" in host["failure"]["cause"] and truth(sim) == "partner"


def test_a_host_sealed_with_a_tpm_tells_it_from_703_on(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet("7.0.3", secure_boot=True, require_secure_boot=True, tpm={"version": "2.0", "mode": "TPM"}))
    host = set_level(sim, "community", allow_unknown_secure_boot=True)
    assert codes(host) == {"acceptance_secure_boot"} and "stateEncryption.requireSecureBoot" in host["msg"] and methods(sim) == []


# ---- who may ----------------------------------------------------------------------------------------------------------------

READER: dict[str, Any] = {"username": "reader@vsphere.local", "password": "reader-password"}


@pytest.mark.parametrize(("level", "acceptance"), [("partner", "community"), ("community", "partner")])
def test_the_missing_privilege_is_named(simulator: Callable[..., Simulator], level: str, acceptance: str) -> None:
    sim = simulator(fleet(acceptance=acceptance))
    host = set_level(sim, level, **READER)
    assert host["status"] == "failed" and "Host.Config.Image" in host["msg"] and "rant" in host["msg"]
    assert truth(sim) == acceptance and not host["changed"]
    assert [entry.method for entry in sim.journal if entry.write and entry.status == "ok"] == []


def test_a_reader_is_told_the_level_and_why_not_the_vibs(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet())
    host = run(sim, "esxi_acceptance_info", esxi_hostname=["*"], packages=True, **READER)["hosts"][NAME]
    assert (host["status"], host["acceptance_level"], codes(host)) == ("compliant", "partner", {"acceptance_packages_unread"})
    assert "packages" not in host and "Host.Config.Image" in host["findings"][0]["text"]


# ---- faults -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", ["before", "after"])
def test_a_lost_answer_is_settled_by_reading_back(simulator: Callable[..., Simulator], dropped: str) -> None:
    sim = simulator(fleet(acceptance="community"))
    sim.fault(method=WRITE, drop=dropped)
    host = set_level(sim, "partner")
    if dropped == "after":
        assert (host["status"], truth(sim)) == ("changed", "partner")
    else:
        assert (host["status"], host["changed"], truth(sim)) == ("failed", False, "community")
        assert host["not_done"] == [{"change": "raise_acceptance_level", "level": "partner", "before": "community"}]


def test_a_host_that_hangs_is_told_honestly(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(count=2, acceptance="community"))
    sim.fault(method=WRITE, host="esx-1*", hang=True)
    result = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], acceptance_level="partner", read_timeout=1)
    first, second = result["hosts"].values()
    assert (first["status"], first["failure"]["kind"]) == ("failed", "timed_out")
    assert (second["status"], truth(sim, "esx-2.example.com")) == ("changed", "partner")


@pytest.mark.parametrize("method", [GET, FETCH, WRITE])
def test_a_session_that_ends_is_renewed(simulator: Callable[..., Simulator], method: str) -> None:
    sim = simulator(fleet(acceptance="community"))
    sim.fault(method=method, expire_session=True)
    assert set_level(sim, "partner")["status"] == "changed" and truth(sim) == "partner"
    assert sim.summary()["logins"] == 2


@pytest.mark.parametrize("fault", ["HostConfigFault", "InvalidState", "HostNotConnected", "SystemError"])
@pytest.mark.parametrize("method", [GET, WRITE])
def test_a_fault_is_that_hosts_failure_and_no_others(simulator: Callable[..., Simulator], method: str, fault: str) -> None:
    sim = simulator(fleet(count=2, acceptance="community"))
    sim.fault(method=method, host="esx-1*", fault=fault, text="says the host")
    result = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], acceptance_level="partner")
    first, second = result["hosts"].values()
    assert first["status"] in ("failed", "unreachable") and first["failure"]["fault"] == fault and not first["changed"]
    assert "acceptance level" in first["failure"]["doing"]
    assert "says the host" in first["failure"]["cause"] or fault == "HostNotConnected"
    assert second["status"] == "changed" and truth(sim) == "community"


def test_taken_and_not_kept_is_a_failure_that_says_so(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(acceptance="community"))
    sim.fault(method=WRITE, ignore=True, count=None)
    host = set_level(sim, "partner")
    assert (host["status"], host["failure"]["kind"]) == ("failed", "not_converged") and truth(sim) == "community"
    assert "did not keep it" in host["msg"]


def test_a_host_that_is_away_is_named_and_the_others_are_done(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(count=3, acceptance="community"))
    sim.act("disconnect", host="esx-2*")
    result = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], acceptance_level="partner")
    assert result["summary"] == {"changed": 2, "unreachable": 1}


# ---- waves, records ---------------------------------------------------------------------------------------------------------


def test_no_wave_starts_after_one_that_failed(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(count=6, acceptance="community"))
    sim.fault(method=WRITE, host="esx-1*", fault="HostConfigFault")
    result = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], acceptance_level="partner", waves=["1", "100%"])
    assert result["summary"] == {"failed": 1, "skipped": 5} and asked(sim, WRITE) == 1


def test_a_backup_brings_each_host_back_to_its_own_level(simulator: Callable[..., Simulator], tmp_path: pathlib.Path) -> None:
    scenario = fleet(count=2, secure_boot=False)
    scenario["hosts"].append({**scenario["hosts"][0], "count": 1, "acceptance": "community"})
    sim = simulator(scenario)
    before = {name: host["software"]["acceptance"] for name, host in sim.state()["hosts"].items()}
    assert sorted(before.values()) == ["community", "partner", "partner"]
    kept = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], acceptance_level="community", backup=True, backup_dir=str(tmp_path))
    assert kept["summary"] == {"changed": 2, "compliant": 1} and set(map(truth_of(sim), before)) == {"community"}
    back = run(sim, "esxi_acceptance_level", esxi_hostname=["*"], restore=kept["backup_file"])
    assert back["summary"] == {"changed": 2, "compliant": 1}
    assert {name: truth(sim, name) for name in before} == before
    untouched = next(host for host in back["hosts"].values() if host["status"] == "compliant")
    assert "acceptance_not_in_record" in codes(untouched)


def truth_of(sim: Simulator) -> Callable[[str], str]:
    return lambda name: truth(sim, name)


# ---- cost -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [10, 200])
def test_calls(simulator: Callable[..., Simulator], hosts: int) -> None:
    """One call a host to judge; the list of VIBs only of hosts that are raised; one more look at those that were written to."""
    scenario = fleet(count=4)
    scenario["hosts"].append({**scenario["hosts"][0], "count": 1, "acceptance": "community"})
    sim = simulator(scenario, hosts=hosts)
    raised = hosts // 5
    wish: dict[str, Any] = {"esxi_hostname": ["*"], "acceptance_level": "partner"}
    assert run(sim, "esxi_acceptance_level", **wish)["summary"] == {"changed": raised, "compliant": hosts - raised}
    summary = sim.summary()
    assert (asked(sim, GET), asked(sim, FETCH), summary["writes"], summary["logins"]) == (hosts + raised, raised, raised, 1)
    assert summary["calls"] - hosts - 3 * raised <= 10, summary["by_method"]
    sim.clear_journal()

    assert run(sim, "esxi_acceptance_level", **wish)["summary"] == {"compliant": hosts}
    summary = sim.summary()
    assert (asked(sim, GET), asked(sim, FETCH), summary["writes"]) == (hosts, 0, 0)
    assert summary["calls"] - hosts <= 10, summary["by_method"]


def test_what_the_info_module_asks(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(count=3, acceptance="community", software=[UNSIGNED], secure_boot=False))
    host = run(sim, "esxi_acceptance_info", esxi_hostname=["*"])["hosts"][NAME]
    assert (asked(sim, GET), asked(sim, FETCH)) == (3, 0)
    assert (host["acceptance_level"], host["esxcli_level"], host["secure_boot"]) == ("community", "CommunitySupported", False)
    assert host["admits"] == ["vmware_certified", "vmware_accepted", "partner", "community"] and "packages" not in host
    host = run(sim, "esxi_acceptance_info", esxi_hostname=["*"], packages=True)["hosts"][NAME]
    assert asked(sim, FETCH) == 3 and methods(sim) == []
    assert {"name": "own-firewall", "version": "1.0.0-1", "vendor": "Platform", "acceptance_level": "community"} in host["packages"]
    assert host["highest_level"] == "community" and len(host["packages"]) > 5


def test_a_vib_that_was_forced_in_is_found(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(fleet(acceptance="partner", software=[UNSIGNED]))
    host = run(sim, "esxi_acceptance_info", esxi_hostname=["*"], packages=True)["hosts"][NAME]
    assert codes(host) == {"acceptance_vib_below"} and "own-firewall" in host["findings"][0]["text"]

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of firewall rulesets: what goes in, what stays after a reboot, what comes out again, and what keeps them out."""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib import MEANINGS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import opened
from tests.bench.measure import ansible_environment, module_command
from tests.integration.vib_runs import AGENT, HOST, NAME, WAY, Start, codes, fleet, names, ours, ruleset, state, uploads, writes

PROFILES = ["6.7", "7.0.0", "7.0.3", "8.0.2", "8.0.2b", "8.0.3", "9.0"]


@pytest.mark.parametrize("profile", PROFILES)
def test_in_and_out_again(simulator: Start, profile: str) -> None:
    """Check, do, again; then a reboot; then away, check, do, again: all is exactly as it was."""
    sim = simulator(fleet({"profile": profile, "count": 2}))
    before = state(sim)
    options = {"allow_unknown_secure_boot": True}

    checked = ours(sim, check=True, **options)
    assert checked["changed"] and names(checked["hosts"][HOST]) == WAY
    assert sim.summary()["writes"] == 0 and state(sim) == before

    done = ours(sim, **options)
    assert [names(host) for host in done["hosts"].values()] == [WAY, WAY]
    assert done["diff"] == checked["diff"]
    assert ruleset(sim)["enabled"] and sim.state()["hosts"][HOST]["software"]["packages"] == {NAME: done["package"]["version"]}
    assert uploads(sim) == []

    sim.clear_journal()
    again = ours(sim, **options)
    assert not again["changed"] and sim.summary()["writes"] == 0 and not codes(again["hosts"][HOST])

    sim.act("reboot_host", host=HOST)
    assert ruleset(sim)["enabled"], "it came with a package, so it is still there"
    assert not ours(sim, **options)["changed"]

    sim.clear_journal()
    leaving = ours(sim, check=True, state="absent")
    assert leaving["changed"] and sim.summary()["writes"] == 0
    left = ours(sim, state="absent")
    assert names(left["hosts"][HOST]) == names(leaving["hosts"][HOST]) == ["remove_package", "refresh_firewall"]
    assert state(sim) == before
    assert not ours(sim, state="absent")["changed"] and not ours(sim, state="absent", rulesets=None)["changed"]


def test_a_file_made_by_hand_does_not_survive_and_a_package_makes_it(simulator: Start) -> None:
    """ghettoVCB#294, #31: why there are packages."""
    sim = simulator(fleet({"count": 2}))
    for host in (HOST, "esx-002.example.com"):
        sim.act("hand_made_ruleset", host=host, key="agent", rules=["in tcp 8080", "out udp 9000-9010"])
    done = ours(sim, esxi_hostname=[HOST])
    assert done["hosts"][HOST]["status"] == "changed" and codes(done["hosts"][HOST]) == ["vib_ruleset_adopted"]
    sim.act("reboot_host", host="esx-00*")
    assert ruleset(sim)["enabled"] and ruleset(sim, host="esx-002.example.com") is None


def test_a_stand_alone_host(simulator: Start) -> None:
    sim = simulator("standalone_custom_ports")
    (host,) = sim.state()["hosts"]
    assert names(ours(sim)["hosts"][host]) == WAY
    assert ruleset(sim, host=host)["enabled"] and uploads(sim) == []
    assert ours(sim, state="absent")["changed"] and ruleset(sim, host=host) is None


def test_a_host_of_a_vcenter_asked_by_itself_does_not_know_of_images(simulator: Start) -> None:
    sim = simulator({"kind": "esxi", **fleet({"managed_by": "192.0.2.2"})})
    host = ours(sim)["hosts"][HOST]
    assert host["status"] == "changed" and codes(host) == ["vib_image_unknown"]


@pytest.mark.parametrize(("installer", "call"), [("esxcli", "software.vib.install"), ("patch_manager", "InstallHostPatchV2_Task")])
def test_installers(simulator: Start, installer: str, call: str) -> None:
    sim = simulator(fleet({"count": 3}))
    done = ours(sim, installer=installer)
    assert {host["status"] for host in done["hosts"].values()} == {"changed"}
    assert writes(sim).count(call) == 3 and writes(sim).count("PUT") == writes(sim).count("DELETE") == 3
    assert done["hosts"][HOST]["changes"][1]["by"] == installer
    assert not ours(sim, installer=installer)["changed"]
    assert not ours(sim)["changed"], "who installed makes no difference"


# ---- what is asked for, and nothing else -----------------------------------------------------------------------------------------


def test_other_rulesets_replace_the_package(simulator: Start) -> None:
    sim = simulator(fleet())
    old = ours(sim)["package"]["version"]
    other = {"name": "other", "enabled": False, "rules": [{"direction": "inbound", "protocol": "tcp", "port": "7000"}]}
    done = ours(sim, rulesets=[other])
    assert codes(done["hosts"][HOST], "repaired") == ["vib_other_version"]
    assert names(done["hosts"][HOST])[:3] == WAY[:3]
    assert done["package"]["version"] != old
    assert ruleset(sim) is None and ruleset(sim, "other") is not None and not ruleset(sim, "other")["enabled"]
    assert sim.state()["hosts"][HOST]["software"]["packages"] == {NAME: done["package"]["version"]}
    assert ours(sim)["package"]["version"] == old and ruleset(sim, "other") is None, "the way back is the same way"


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("toggle", [None, True, False])
def test_toggles(simulator: Start, toggle: bool | None, remembered: bool, loaded: bool) -> None:
    """Left out, it is born closed and then nobody's business; otherwise it is as asked for, whatever the host remembers."""
    sim = simulator(fleet({"options": {"custom_ruleset_remembered": remembered, "refresh_after_install": loaded}}))
    ours(sim, rulesets=[{**AGENT, "enabled": True}])
    ours(sim, state="absent")
    wish = [{**AGENT, "enabled": toggle}]
    done = ours(sim, rulesets=wish)
    assert done["hosts"][HOST]["status"] == "changed", done["hosts"][HOST]["failure"]
    assert ruleset(sim)["enabled"] == (remembered if toggle is None else toggle)
    assert not ours(sim, rulesets=wish)["changed"]
    sim.act("set_ruleset", host=HOST, key="agent", enabled=not toggle)
    corrected = ours(sim, rulesets=wish)
    assert names(corrected["hosts"][HOST]) == {None: [], True: ["enable_ruleset"], False: ["disable_ruleset"]}[toggle]
    assert ruleset(sim)["enabled"] == (True if toggle is None else toggle)


def test_a_ruleset_that_nobody_can_toggle(simulator: Start) -> None:
    sim = simulator(fleet({"options": {"custom_ruleset_controllable": False}}))
    assert ours(sim)["hosts"][HOST]["status"] == "changed", "it came as wished, so there is nothing to toggle"
    sim.act("set_ruleset", host=HOST, key="agent", enabled=False)
    host = ours(sim)["hosts"][HOST]
    assert host["status"] == "failed" and codes(host) == ["vib_ruleset_locked"] and not host["changed"]


def test_two_packages_live_side_by_side(simulator: Start) -> None:
    sim = simulator(fleet())
    second = [{"name": "second", "enabled": True, "rules": [{"direction": "inbound", "protocol": "tcp", "port": "7001"}]}]
    ours(sim)
    done = ours(sim, rulesets=second, name="second-package")
    assert done["hosts"][HOST]["status"] == "changed"
    assert ruleset(sim)["enabled"] and ruleset(sim, "second")["enabled"]
    ours(sim, state="absent", rulesets=None)
    assert ruleset(sim) is None and ruleset(sim, "second")["enabled"]


def test_hosts_that_share_a_datastore_do_not_take_each_others_file(simulator: Start) -> None:
    sim = simulator(fleet({"count": 6, "datastores": [{"name": "shared", "shared": True}]}))
    done = ours(sim, parallel=6)
    assert {host["status"] for host in done["hosts"].values()} == {"changed"}, done["msg"]
    assert uploads(sim) == []
    assert len({entry.args["path"] for entry in sim.journal if entry.method.startswith("PUT")}) == 6


def test_the_datastore_that_is_named_or_shared(simulator: Start) -> None:
    stores = [{"name": "local", "free_mb": 900_000}, {"name": "shared", "shared": True, "free_mb": 1000}]
    sim = simulator(fleet({"count": 2, "datastores": stores}))
    checked = ours(sim, check=True)
    assert {host["changes"][0]["file"].partition("]")[0] for host in checked["hosts"].values()} == {"[shared"}
    checked = ours(sim, check=True, datastore="local")
    assert checked["hosts"][HOST]["changes"][0]["file"].startswith("[local]")
    missing = ours(sim, check=True, datastore="lokal")["hosts"][HOST]
    assert codes(missing) == ["vib_no_datastore"] and "local, shared" in missing["findings"][0]["text"]


# ---- what keeps a package out ---------------------------------------------------------------------------------------------------------

LEGACY = {"name": NAME, "vendor": "Example", "acceptance": "community"}
TAKEN = {"name": "legacy", "acceptance": "community", "rulesets": [{"key": "agent", "rules": ["in tcp 9443"], "enabled": True}]}
BUSY = {"name": NAME, "vendor": "fleetcare", "acceptance": "community", "maintenance_required": True}

OUT: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "level": ({"acceptance": "partner"}, {}, ["vib_acceptance_level"]),
    "secure boot": ({"secure_boot": True}, {}, ["vib_secure_boot"]),
    "secure boot enforced": ({"secure_boot": True, "require_secure_boot": True, "tpm": {"version": "2.0"}}, {}, ["vib_secure_boot"]),
    "boot unknown": ({"profile": "7.0.3"}, {}, ["vib_secure_boot_unknown"]),
    "image": ({"image_managed": True}, {}, ["vib_image_managed"]),
    "image, away": ({"image_managed": True, "software": [{**LEGACY, "vendor": "fleetcare"}]}, {"state": "absent"}, ["vib_image_managed"]),
    "no datastore": ({"datastores": []}, {}, ["vib_no_datastore"]),
    "read-only": ({"datastores": [{"name": "ro", "read_only": True}]}, {}, ["vib_no_datastore"]),
    "inaccessible": ({"datastores": [{"name": "away", "accessible": False}]}, {}, ["vib_no_datastore"]),
    "full": ({"datastores": [{"name": "full", "free_mb": 4}]}, {}, ["vib_no_space"]),
    "name of a release": ({}, {"rulesets": [{**AGENT, "name": "sshServer"}]}, ["vib_ruleset_taken"]),
    "name of a release, in small letters": ({}, {"rulesets": [{**AGENT, "name": "sshserver"}]}, ["vib_ruleset_taken"]),
    "name of a package": ({"software": [TAKEN]}, {}, ["vib_ruleset_taken"]),
    "vendor": ({"software": [LEGACY]}, {}, ["vib_name_taken"]),
    "reboot": ({"reboot_required": True}, {}, ["vib_reboot_pending"]),
    "maintenance": ({"software": [BUSY]}, {}, ["vib_maintenance_needed"]),
    "maintenance, away": ({"software": [BUSY]}, {"state": "absent"}, ["vib_maintenance_needed"]),
    "reboot, away": ({"software": [BUSY], "reboot_required": True, "state": "maintenance"}, {"state": "absent"}, ["vib_reboot_pending"]),
    "no firewall": ({"options": {"firewall_info": "unset"}}, {}, ["vib_firewall_unknown"]),
}


@pytest.mark.parametrize(("host", "options", "found"), OUT.values(), ids=OUT)
def test_out(simulator: Start, host: dict[str, Any], options: dict[str, Any], found: list[str]) -> None:
    """Nothing is written to the host; its neighbour gets what it is to get."""
    sim = simulator(fleet(host, {"name": "good.example.com", "cluster": "Other"}))
    before = state(sim)
    checked = ours(sim, check=True, **options)
    done = ours(sim, **options)
    for result in (checked, done):
        one = result["hosts"][HOST]
        assert (one["status"], [f["code"] for f in one["findings"] if f["level"] == "error"], one["changed"]) == ("failed", found, False)
        assert one["failure"]["hint"] == MEANINGS[found[0]].hint and one["failure"]["kind"] == "not_compliant"
        assert result["hints"][found[0]] == MEANINGS[found[0]].hint
    assert state(sim) == before
    assert not [entry for entry in sim.journal if entry.write and entry.host == HOST]
    if "rulesets" not in options:
        assert done["hosts"]["good.example.com"]["status"] == ("compliant" if options else "changed")


def test_maintenance_mode_lets_it_in(simulator: Start) -> None:
    sim = simulator(fleet({"software": [BUSY], "state": "maintenance"}))
    assert ours(sim)["hosts"][HOST]["status"] == "changed"


def test_what_is_only_told(simulator: Start) -> None:
    """A port that a ruleset has already; a host that runs only what packages brought; both take it."""
    sim = simulator(fleet({"exec_installed_only": True}))
    wish = [{"name": "agent", "enabled": True, "rules": [{"direction": "inbound", "protocol": "tcp", "port": "902"}]}]
    host = ours(sim, rulesets=wish)["hosts"][HOST]
    assert host["status"] == "changed" and sorted(codes(host)) == ["vib_exec_installed_only", "vib_port_taken"]
    assert any("NFC" in finding["text"] and "vSphereClient" in finding["text"] for finding in host["findings"])


def test_secure_boot_that_comes_after_the_package(simulator: Start) -> None:
    """The host would not start again; said while there is time."""
    sim = simulator(fleet())
    ours(sim)
    sim.act("secure_boot", host=HOST)
    host = ours(sim)["hosts"][HOST]
    assert host["status"] == "failed" and codes(host) == ["vib_boot_at_risk"]
    assert ours(sim, state="absent")["hosts"][HOST]["status"] == "changed"
    sim.act("reboot_host", host=HOST)
    assert sim.state()["hosts"][HOST]["software"]["boot_failure"] is None


def test_own_rules_of_the_community(simulator: Start) -> None:
    """fangli/esxi-hardware-watchdog-driver#2: some hosts take such a package by force only."""
    sim = simulator(fleet({"options": {"extensibility_rules": True}}))
    before = state(sim)
    refused = ours(sim)["hosts"][HOST]
    assert (
        refused["status"] == "failed"
        and "extensibility rule" in refused["failure"]["cause"]
        and "force: true" in refused["failure"]["hint"]
    )
    assert names(refused) == ["upload_package", "remove_upload"] and state(sim) == before and uploads(sim) == []
    forced = ours(sim, force=True)["hosts"][HOST]
    assert forced["status"] == "changed" and forced["changes"][1]["force"] is True
    assert ruleset(sim)["enabled"]


def test_force_helps_against_nothing_that_is_checked_here(simulator: Start) -> None:
    sim = simulator(
        fleet({"acceptance": "partner", "options": {"forced_below_level": "taken"}}, {"name": "sealed.example.com", "secure_boot": True})
    )
    done = ours(sim, force=True)
    assert {host["status"] for host in done["hosts"].values()} == {"failed"} and sim.summary()["writes"] == 0


# ---- files on this machine ----------------------------------------------------------------------------------------------------------


def test_built_needs_no_host(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "new" / "packages"
    checked = ours(None, check=True, state="built", dest=str(folder))
    assert checked["changed"] and not folder.exists() and "Would be written" in checked["msg"]
    done = ours(None, state="built", dest=str(folder))
    assert done["changed"] and done["diff"] == checked["diff"] and done["hosts"] == {}
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == sorted(
        [f"{done['package']['id']}.vib", f"{NAME}-{done['package']['version']}-offline_bundle.zip"]
    )
    assert {one["path"]: one["sha256"] for one in done["files"]} == {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    vib = next(file for file in files if file.suffix == ".vib")
    assert opened(vib.read_bytes()).version == done["package"]["version"]
    assert subprocess.run(["ar", "t", vib], check=True, capture_output=True, timeout=20).stdout.split()[0] == b"descriptor.xml"

    stamp = vib.stat().st_mtime_ns
    again = ours(None, state="built", dest=str(folder))
    assert not again["changed"] and vib.stat().st_mtime_ns == stamp and again["diff"] == {"before": {}, "after": {}}
    vib.write_bytes(vib.read_bytes()[:-1])
    mended = ours(None, state="built", dest=str(folder))
    assert [one["changed"] for one in mended["files"]] == [True, False] and list(mended["diff"]["before"].values())[0]["size"] == 5275
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [], "nothing half-written is left"


def test_a_short_path_is_told_whole(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is below the folder of the playbook, which for the one of this collection is inside the collection."""
    monkeypatch.chdir(tmp_path)
    done = ours(None, state="built", dest="packages")
    assert [pathlib.Path(one["path"]).parent for one in done["files"]] == [tmp_path / "packages"] * 2
    assert str(tmp_path / "packages") in done["msg"]


def test_a_folder_that_cannot_be_written_is_told_before_any_connection(simulator: Start, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    sim = simulator(fleet())
    for dest in (file, file / "below"):
        with pytest.raises(BadInput, match="cannot be a folder"):
            ours(sim, dest=str(dest))
    assert sim.journal == []


@pytest.mark.parametrize("why", ["secure_boot", "image_managed"])
def test_the_bundle_where_a_package_may_not_go_in(simulator: Start, tmp_path: pathlib.Path, why: str) -> None:
    sim = simulator(fleet({why: True}, {"name": "good.example.com", "cluster": "Other"}))
    checked = ours(sim, check=True, dest=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    done = ours(sim, dest=str(tmp_path / "out"))
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == f"{NAME}-{done['package']['version']}-offline_bundle.zip"
    assert [one["path"] for one in checked["files"]] == [one["path"] for one in done["files"]] == [str(file)]
    assert "1 of 2 hosts take no package by themselves." in done["msg"]
    assert f"import {file.name} from {file.parent} into vSphere Lifecycle Manager" in done["msg"]
    assert done["hosts"]["good.example.com"]["status"] == "changed"
    again = ours(sim, dest=str(tmp_path / "out"))
    assert not again["changed"] and not again["files"][0]["changed"]


def test_no_bundle_where_none_is_needed(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(fleet())
    done = ours(sim, dest=str(tmp_path / "out"))
    assert done["files"] == [] and not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_hides_nothing_of_the_hosts(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(fleet({"secure_boot": True}, {"name": "good.example.com"}))
    version = ours(sim, check=True)["package"]["version"]
    (tmp_path / f"{NAME}-{version}-offline_bundle.zip").mkdir()
    done = ours(sim, dest=str(tmp_path))
    assert done["hosts"]["good.example.com"]["status"] == "changed"
    assert done["files"][0]["failure"] and not done["files"][0]["changed"] and "cannot be read" in done["msg"]


def test_by_ansible_itself(tmp_path: pathlib.Path) -> None:
    """No endpoint, no credentials, and the folder says what it is for."""
    wish = {"state": "built", "dest": str(tmp_path / "out"), "rulesets": [AGENT]}

    def told(*flags: str, code: int = 0) -> dict[str, Any]:
        command = module_command("fleetcare.esxi.esxi_firewall_vib", wish, *flags)
        done = subprocess.run(
            command, env=ansible_environment(tmp_path, None), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("=> {") + 3 :])
        return found

    assert told("--check")["changed"] and not (tmp_path / "out").exists()
    done = told()
    assert done["changed"] and len(list((tmp_path / "out").iterdir())) == 2 and done["summary"] == {}
    bundle = tmp_path / "out" / f"{NAME}-{done['package']['version']}-offline_bundle.zip"
    bundle.unlink()
    bundle.mkdir()
    refused = told(code=2)
    assert "cannot be read" in refused["msg"] and not refused["changed"] and refused["package"] == done["package"]


# ---- what it costs --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [5, 50])
def test_budget(simulator: Start, hosts: int) -> None:
    sim = simulator(fleet({"count": hosts, "time": {"servers": []}}))
    ours(sim, check=True)
    # Beside the bulk reads: packages, level and one option of each host.
    assert sim.summary()["calls"] <= 12 + 3 * hosts, sim.summary()["by_method"]
    sim.clear_journal()
    ours(sim)
    # Before and after: packages. The way: executer, installation, refresh, a look at the ruleset; two files beside the calls.
    assert sim.summary()["calls"] <= 20 + 8 * hosts, sim.summary()["by_method"]
    assert sim.summary()["writes"] == 4 * hosts
    sim.clear_journal()
    ours(sim)
    assert sim.summary()["calls"] <= 10 + hosts and sim.summary()["writes"] == 0


def test_waves_stop(simulator: Start) -> None:
    sim = simulator(fleet({"count": 4}))
    sim.fault(method="esxcli software.vib.install", fault="HostConfigFault", count=1)
    done = ours(sim, waves=["1", "100%"])
    assert [host["status"] for host in done["hosts"].values()] == ["failed", "skipped", "skipped", "skipped"]


def test_what_a_user_may_not(simulator: Start) -> None:
    """Packages are told with Host.Config.Image only; the other hosts are none the worse."""
    sim = simulator(fleet({"count": 2}))
    sim.fault(method="fetchSoftwarePackages", host="esx-001*", fault="NoPermission", count=None)
    done = ours(sim)
    one = done["hosts"][HOST]
    assert (
        one["status"] == "failed" and one["failure"]["kind"] == "permission_missing" and one["failure"]["doing"] == "reading its packages"
    )
    assert done["hosts"]["esx-002.example.com"]["status"] == "changed"


def test_bad_input_reaches_nobody(simulator: Start) -> None:
    sim = simulator(fleet())
    bad: list[dict[str, Any]] = [{"rulesets": []}, {"name": "a b"}, {"state": "built"}]
    for options in bad:
        with pytest.raises(FleetcareError):
            ours(sim, **options)
    assert sim.journal == []

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Software of hosts, VIB files, datastore files, the image and patch managers: through pyVmomi and plain HTTP."""

from __future__ import annotations

import base64
import http.client
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from tests.simulator import Simulator, vib
from tests.simulator.errors import ScenarioError
from tests.simulator.software import LEVELS, ImageError
from tests.unit.simulator import vibs
from tests.unit.simulator.conftest import client, read, tls

A, B, LOCAL = "a-01.example.com", "b-01.example.com", "c-01.example.com"
DC, STORE = "DC1", "datastore-DC1"
KEY = "appPorts"
WHERE = f"/vmfs/volumes/{STORE}/vibs/ports.vib"


@pytest.fixture(scope="module")
def scenario() -> Any:
    return {
        "users": {
            "administrator@vsphere.local": {},
            "looker@vsphere.local": {"privileges": ["Datastore.Browse"]},
            "blind@vsphere.local": {"privileges": []},
        },
        "hosts": [
            {"name": A, "acceptance": "community"},
            {"name": B, "profile": "6.7"},
            {"name": LOCAL, "cluster": "Image", "image_managed": True, "datastores": [{"name": "local", "free_mb": 1}]},
        ],
    }


@pytest.fixture
def files(sim: Simulator) -> Iterator[Files]:
    with Files(sim) as made:
        yield made


class Files:
    """Somebody who knows /folder and has a session."""

    def __init__(self, sim: Simulator, user: str | None = None) -> None:
        self.sim = sim
        self.connection = http.client.HTTPSConnection(sim.hostname, sim.port, context=tls(sim), timeout=10)
        self.client = client(sim, user)

    def __enter__(self) -> Files:
        self.si = self.client.__enter__()
        self.cookie = self.si._stub.cookie
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.__exit__(None, None, None)
        self.connection.close()

    def __call__(
        self, method: str, path: str, body: bytes = b"", *, store: str = STORE, center: str = DC, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        where = f"/folder/{path}?dcPath={center}&dsName={store}"
        self.connection.request(method, where, body or None, headers if headers is not None else {"Cookie": self.cookie})
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def manager(found: Any) -> Any:
    return found.configManager.imageConfigManager


def rulesets(found: Any) -> dict[str, Any]:
    return {row.key: row for row in found.configManager.firewallSystem.firewallInfo.ruleset}


def state(sim: Simulator, name: str) -> Any:
    return next(item.state for item in sim.world.hosts if item.state.name == name)


def install(found: Any, *urls: str, option: str | None = None) -> Any:
    spec = vim.host.PatchManager.PatchManagerOperationSpec(cmdOption=option) if option else None
    task = found.configManager.patchManager.InstallV2(vibUrls=list(urls), spec=spec)
    WaitForTask(task)
    return task.info.result


# ---- files of datastores -------------------------------------------------------------------------------------------------------------
def test_a_file_goes_up_is_read_replaced_and_removed(sim: Simulator, files: Files) -> None:
    assert files("PUT", "vibs/ports.vib", b"one") == (201, b"")
    assert files("PUT", "vibs/ports.vib", b"three") == (200, b"")
    assert files("GET", "vibs/ports.vib") == (200, b"three")
    assert files("HEAD", "vibs/ports.vib") == (200, b"")
    assert files("HEAD", "vibs/other.vib") == (404, b"")
    assert files("DELETE", "vibs") == (405, b"")
    assert files("DELETE", "vibs/ports.vib") == (204, b"")
    assert files("DELETE", "vibs/ports.vib") == (404, b"")
    told = [(entry.method, entry.write, entry.status) for entry in sim.journal if "/folder/" in entry.method]
    assert told[0] == ("PUT /folder/vibs/ports.vib", True, "ok") and told[2] == ("GET /folder/vibs/ports.vib", False, "ok")
    assert sim.journal_since(0)[-1].args == {"dcPath": DC, "dsName": STORE, "path": "vibs/ports.vib"}
    assert "three" not in str(sim.journal)
    assert sim.summary()["calls"] == len([entry for entry in sim.journal if " " not in entry.method])


def test_who_may_not_and_what_is_not_there(sim: Simulator, files: Files) -> None:
    assert files("PUT", "x", b"1", headers={})[0] == 401
    assert files("PUT", "x", b"1", store="nowhere")[0] == 404
    assert files("PUT", "x", b"1", center="DC9")[0] == 404
    assert files("POST", "x", b"1")[0] == 405
    with Files(sim, "looker@vsphere.local") as looker:
        assert looker("PUT", "x", b"1")[0] == 403
        assert looker("GET", "x")[0] == 404
    basic = base64.b64encode(f"{sim.username}:{sim.password}".encode()).decode()
    wrong = base64.b64encode(f"{sim.username}:no".encode()).decode()
    assert files("PUT", "x", b"1", headers={"Authorization": f"Basic {basic}"})[0] == 201
    assert files("PUT", "y", b"1", headers={"Authorization": f"Basic {wrong}"})[0] == 401
    assert sim.world.hosts[0].stores[0].files == {"x": b"1"}


def test_free_space_is_what_the_datastore_says(sim: Simulator, files: Files) -> None:
    before = _store(files.si, "local").summary.freeSpace
    assert before == 1 << 20
    assert files("PUT", "big", b"x" * (1 << 20) + b"x", store="local")[0] == 507
    assert files("PUT", "big", b"x" * 1000, store="local")[0] == 201
    assert _store(files.si, "local").summary.freeSpace == before - 1000
    sim.act("datastore", name="local", free_mb=0, host=LOCAL)
    assert files("PUT", "more", b"x", store="local")[0] == 507
    sim.act("datastore", name="local", read_only=True, free_mb=1, host=LOCAL)
    assert files("PUT", "more", b"x", store="local")[0] == 403
    assert _store(files.si, "local").host[0].mountInfo.accessMode == "readOnly"


def _store(si: Any, name: str) -> Any:
    center = si.content.rootFolder.childEntity[0]
    return next(one for one in center.datastore if one.name == name)


def test_a_datastore_without_a_connected_host_is_out_of_reach(sim: Simulator, files: Files) -> None:
    shared, local = _store(files.si, STORE), _store(files.si, "local")
    assert (shared.summary.accessible, shared.summary.multipleHostAccess) == (True, True)
    assert (local.summary.accessible, local.summary.multipleHostAccess) == (True, False)
    sim.act("disconnect", host=LOCAL)
    assert local.summary.accessible is False
    assert files("PUT", "x", b"1", store="local")[0] == 503
    assert [one.key.name for one in local.host] == [LOCAL]
    path = local.host[0].mountInfo.path
    assert path.startswith("/vmfs/volumes/") and local.summary.url == f"ds://{path}/"


def test_faults_hit_files_too(sim: Simulator, files: Files) -> None:
    sim.fault(method="PUT /folder/*", drop="after")
    with pytest.raises((http.client.HTTPException, OSError)):
        files("PUT", "x", b"1")
    files.connection.close()
    assert files("GET", "x") == (200, b"1")
    sim.fault(method="PUT *", http=500, text="no")
    assert files("PUT", "x", b"2") == (500, b"no")
    assert files("GET", "x") == (200, b"1")
    sim.fault(method="PUT *", expire_session=True)
    assert files("PUT", "x", b"3")[0] == 401


def test_the_file_manager_deletes_makes_folders_and_the_browser_lists(sim: Simulator, si: Any, files: Files) -> None:
    center = si.content.rootFolder.childEntity[0]
    work = si.content.fileManager
    work.MakeDirectory(f"[{STORE}] a/b", center, True)
    with pytest.raises(vim.fault.FileAlreadyExists):
        work.MakeDirectory(f"[{STORE}] a/b", center)
    with pytest.raises(vim.fault.FileNotFound):
        work.MakeDirectory(f"[{STORE}] c/d", center)
    with pytest.raises(vim.fault.InvalidDatastore):
        work.MakeDirectory("[nowhere] c", center)
    files("PUT", "a/b/one.vib", b"12")
    browser = _store(si, STORE).browser
    task = browser.Search(f"[{STORE}] a/b", vim.host.DatastoreBrowser.SearchSpec(matchPattern=["*.vib"]))
    WaitForTask(task)
    assert [(row.path, row.fileSize) for row in task.info.result.file] == [("one.vib", 2)]
    WaitForTask(work.DeleteDatastoreFile_Task(f"[{STORE}] a/b/one.vib", center))
    with pytest.raises(vim.fault.FileNotFound):
        WaitForTask(work.DeleteDatastoreFile_Task(f"[{STORE}] a/b/one.vib", center))


def test_files_and_packages_of_a_host_need_their_privileges(sim: Simulator, files: Files) -> None:
    files("PUT", "a/one.vib", b"12")
    with client(sim, "blind@vsphere.local") as blind:
        center, work = blind.content.rootFolder.childEntity[0], blind.content.fileManager
        patches = blind.content.searchIndex.FindByDnsName(None, A, False).configManager.patchManager
        refused: list[tuple[str, Callable[[], Any]]] = [
            ("Datastore.FileManagement", lambda: work.DeleteDatastoreFile_Task(f"[{STORE}] a/one.vib", center)),
            ("Datastore.FileManagement", lambda: work.MakeDirectory(f"[{STORE}] b", center)),
            ("Datastore.Browse", lambda: _store(blind, STORE).browser.Search(f"[{STORE}] a")),
            ("Host.Config.Patch", lambda: patches.InstallV2(vibUrls=[WHERE])),
            ("Host.Config.Patch", lambda: patches.Uninstall(bulletinIds=["amsv"])),
        ]
        for privilege, ask in refused:
            with pytest.raises(vim.fault.NoPermission) as told:
                ask()
            assert told.value.privilegeId == privilege
    assert files("GET", "a/one.vib") == (200, b"12")


# ---- acceptance level ----------------------------------------------------------------------------------------------------------------
def test_a_level_is_lowered_and_not_raised_above_a_package(sim: Simulator, host_of: Callable[[str], Any]) -> None:
    work = manager(host_of(A))
    assert work.HostImageConfigGetAcceptance() == "community"
    work.UpdateHostImageAcceptanceLevel("partner")
    assert work.HostImageConfigGetAcceptance() == "partner"
    with pytest.raises(
        vim.fault.HostConfigFault, match="Unable to set acceptance level of accepted due to installed VIBs HPE_bootbank_amsv_"
    ):
        work.UpdateHostImageAcceptanceLevel("vmware_accepted")
    assert work.HostImageConfigGetAcceptance() == "partner"
    sim.act("remove_software", host=A, name="amsv")
    work.UpdateHostImageAcceptanceLevel("vmware_accepted")
    with pytest.raises(vim.fault.HostConfigFault, match="lsuv2-intelv2"):
        work.UpdateHostImageAcceptanceLevel("vmware_certified")
    with pytest.raises(vmodl.fault.InvalidArgument):
        work.UpdateHostImageAcceptanceLevel("CommunitySupported")


def test_secure_boot_keeps_community_out(sim: Simulator, host_of: Callable[[str], Any]) -> None:
    sim.act("secure_boot", host=B)
    work = manager(host_of(B))
    with pytest.raises(vim.fault.HostConfigFault, match="Secure Boot"):
        work.UpdateHostImageAcceptanceLevel("community")
    assert work.HostImageConfigGetAcceptance() == "partner"
    sim.act("option", host=B, name="acceptance_below_secure_boot", value="taken")
    work.UpdateHostImageAcceptanceLevel("community")


def test_the_image_is_told_and_reading_it_needs_its_privilege(sim: Simulator, host_of: Callable[[str], Any]) -> None:
    work = manager(host_of(A))
    packages = {row.name: row for row in work.FetchSoftwarePackages()}
    assert {"esx-base", "vsan", "cpu-microcode", "amsv"} <= set(packages)
    assert packages["esx-base"].version.startswith("8.0.3-") and packages["esx-base"].acceptanceLevel == "vmware_certified"
    assert work.HostImageConfigGetProfile().name == "ESXi-8.0.3-24022510-standard"
    assert work.InstallDate().year == 2024
    with client(sim, "looker@vsphere.local") as looker:
        other = manager(looker.content.searchIndex.FindByDnsName(None, A, False))
        assert other.HostImageConfigGetAcceptance() == "community"
        with pytest.raises(vim.fault.NoPermission):
            other.UpdateHostImageAcceptanceLevel("partner")
        with pytest.raises(vim.fault.NoPermission):
            other.FetchSoftwarePackages()


def test_only_newer_clients_see_what_newer_releases_tell(sim: Simulator, si: Any) -> None:
    hosts = read(si, ["name", "capability.uefiSecureBoot", "parent"])
    clusters = read(si, ["name", "lifecycleManaged"], kind=vim.ClusterComputeResource)
    assert {row["name"]: row.get("lifecycleManaged") for row in clusters.values()} == {"Cluster1": False, "Image": True}
    told = {row["name"]: row.get("capability.uefiSecureBoot") for row in hosts.values()}
    assert told == {A: False, B: None, LOCAL: False}
    sim.act("secure_boot", host="*")
    told = {row["name"]: row.get("capability.uefiSecureBoot") for row in read(si, ["name", "capability.uefiSecureBoot"]).values()}
    assert told == {A: True, B: None, LOCAL: True}


# ---- a VIB goes in and out -----------------------------------------------------------------------------------------------------------
def test_a_port_of_a_package_opens_survives_a_boot_and_closes(sim: Simulator, files: Files, host_of: Callable[[str], Any]) -> None:
    host = host_of(A)
    before = sim.state()["hosts"][A]
    files("PUT", "vibs/ports.vib", vibs.vib())
    told = install(host, WHERE)
    assert [(row.id, row.installed, row.restartRequired) for row in told.status] == [("Example_bootbank_ports_1.0.0-1", True, False)]
    assert KEY not in rulesets(host), "the firewall has not read its files yet"
    host.configManager.firewallSystem.RefreshFirewall()
    row = rulesets(host)[KEY]
    assert row.enabled and [(one.port, one.endPort, one.direction, one.protocol) for one in row.rule] == [(8080, None, "inbound", "tcp")]
    assert state(sim, A).lets_in_from("tcp", 8080, "192.0.2.9") and not state(sim, A).lets_in_from("tcp", 8081, "192.0.2.9")
    spec = vim.host.Ruleset.RulesetSpec(allowedHosts=vim.host.Ruleset.IpList(allIp=False, ipAddress=["192.0.2.7"]))
    host.configManager.firewallSystem.UpdateRuleset(KEY, spec)
    assert not state(sim, A).lets_in_from("tcp", 8080, "192.0.2.9")
    sim.act("hand_made_ruleset", host=A, key="byHand", rules=["in tcp 9090"])
    assert set(rulesets(host)) - set(before["rulesets"]) == {KEY, "byHand"}
    sim.act("reboot_host", host=A)
    _answering(sim, A)
    assert set(rulesets(host)) - set(before["rulesets"]) == {KEY}, "what was made by hand is gone"
    assert list(rulesets(host)[KEY].allowedHosts.ipAddress) == ["192.0.2.7"]
    WaitForTask(host.configManager.patchManager.UninstallHostPatch_Task(bulletinIds=["ports"]))
    host.configManager.firewallSystem.RefreshFirewall()
    after = sim.state()["hosts"][A]
    assert after["software"] == before["software"] and after["rulesets"] == before["rulesets"]


def _answering(sim: Simulator, name: str) -> None:
    until = time.monotonic() + 5
    while state(sim, name).connection != "connected" or not state(sim, name).powered_on:
        assert time.monotonic() < until
        sim.state()
        time.sleep(0.02)


def test_other_hosts_know_nothing_of_it(sim: Simulator, files: Files, host_of: Callable[[str], Any]) -> None:
    sim.act("acceptance", host=B, level="community")
    files("PUT", "vibs/ports.vib", vibs.vib())
    for name in (A, B):
        install(host_of(name), WHERE)
    host_of(B).configManager.firewallSystem.RefreshFirewall()
    assert (KEY in rulesets(host_of(A)), KEY in rulesets(host_of(B))) == (False, True)
    assert rulesets(host_of(B))[KEY].userControllable is None


def test_a_newer_version_takes_the_place_of_the_old_one(sim: Simulator, files: Files, host_of: Callable[[str], Any]) -> None:
    host = host_of(A)
    files("PUT", "one.vib", vibs.vib())
    files("PUT", "two.vib", vibs.vib({"etc/vmware/firewall/ports.xml": vibs.firewall("otherPorts", ["9000"], False)}, version="1.1.0-1"))
    install(host, f"file:///vmfs/volumes/{STORE}/one.vib")
    host.configManager.firewallSystem.RefreshFirewall()
    install(host, f"[{STORE}] two.vib")
    host.configManager.firewallSystem.RefreshFirewall()
    assert KEY not in rulesets(host) and rulesets(host)["otherPorts"].enabled is False
    assert state(sim, A).software["ports"].version == "1.1.0-1"


def test_what_needs_a_boot_waits_for_it(sim: Simulator, files: Files, host_of: Callable[[str], Any]) -> None:
    host = host_of(A)
    files("PUT", "vibs/ports.vib", vibs.vib(live_install="false", live_remove="false"))
    assert install(host, WHERE).status[0].restartRequired is True
    host.configManager.firewallSystem.RefreshFirewall()
    assert KEY not in rulesets(host) and host.summary.rebootRequired is True
    assert "ports" not in state(sim, A).software
    sim.act("reboot_host", host=A)
    _answering(sim, A)
    assert KEY in rulesets(host) and host.summary.rebootRequired is False


def test_a_new_version_waits_where_the_old_one_cannot_go_while_the_host_runs(
    sim: Simulator, files: Files, host_of: Callable[[str], Any]
) -> None:
    host = host_of(A)
    files("PUT", "vibs/ports.vib", vibs.vib(live_remove="false"))
    assert install(host, WHERE).status[0].restartRequired is False
    files("PUT", "vibs/ports.vib", vibs.vib(version="1.1.0-1"))
    assert install(host, WHERE).status[0].restartRequired is True
    assert state(sim, A).software["ports"].version == "1.0.0-1"


def test_an_unsigned_package_stops_the_next_secure_boot(sim: Simulator, files: Files, host_of: Callable[[str], Any]) -> None:
    host = host_of(A)
    files("PUT", "vibs/ports.vib", vibs.vib())
    sim.act("secure_boot", host=A)
    with pytest.raises(vim.fault.PlatformConfigFault):
        install(host, WHERE)
    sim.act("option", host=A, name="secure_boot_install", value="boot_fails")
    install(host, WHERE)
    sim.act("reboot_host", host=A)
    assert state(sim, A).powered_on is False and host.runtime.connectionState == "notResponding"
    assert "Failed to verify signatures of the following vib(s): [ports]" in sim.state()["hosts"][A]["software"]["boot_failure"]
    sim.act("secure_boot", host=A, on=False)
    sim.act("power_on_host", host=A)
    assert host.runtime.connectionState == "connected"


REFUSED: tuple[tuple[str, dict[str, Any], dict[str, Any], str], ...] = (
    ("level", {}, {"acceptance": "partner"}, "AcceptanceConfigError: VIB Example_bootbank_ports_1.0.0-1's acceptance level is community"),
    ("forced", {"option": "--force"}, {"acceptance": "partner"}, "not compliant with the ImageProfile acceptance level partner"),
    ("checksum", {"vib": {"spoilt": "sha-256 gunzip"}}, {}, "VibChecksumError: .* sha-256 gunzip checksum of payload 'payload1' does not match"),
    ("gunzip", {"vib": {"checksums": ("sha-256", "sha-1 gunzip")}}, {}, "ProfileValidationError: .* does not have sha-256 gunzip checksum"),
    ("depends", {"vib": {"depends": '<constraint name="esx-version" relation="&gt;=" version="9.9"/>'}}, {}, "DependencyError: .* requires esx-version >= 9.9"),
    ("conflicts", {"vib": {"conflicts": '<constraint name="vsan"/>'}}, {}, "DependencyError: .* conflicts with VMware_bootbank_vsan"),
    ("maintenance", {"vib": {"maintenance": "true"}}, {}, "MaintenanceModeError: MaintenanceMode is required"),
    ("signature", {"vib": {"level": "partner"}}, {}, "VibSigMissingError: .* does not contain a signature"),
    ("nowhere", {"url": "/vmfs/volumes/nowhere/x.vib"}, {}, "VibDownloadError: .*No such file or directory"),
    ("network", {"url": "https://www.example.com/x.vib"}, {}, "VibDownloadError: .*No route to host"),
    ("relative", {"url": "x.vib"}, {}, "VibDownloadError: .*unknown url type"),
)  # fmt: skip


@pytest.mark.parametrize(("how", "host", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_esxupdate_refuses(
    sim: Simulator, files: Files, host_of: Callable[[str], Any], how: dict[str, Any], host: dict[str, Any], words: str
) -> None:
    if "acceptance" in host:
        sim.act("acceptance", host=A, level=host["acceptance"])
    files("PUT", "vibs/ports.vib", vibs.vib(**how.get("vib", {})))
    with pytest.raises(vim.fault.PlatformConfigFault, match="esxupdate returned with exit status") as told:
        install(host_of(A), how.get("url", WHERE), option=how.get("option"))
    kind, _colon, text = words.partition(": ")
    if text:
        assert f'errorClass="{kind}"' in told.value.text
    assert re.search(text or kind, told.value.text.replace("&gt;", ">").replace("&lt;", "<")), told.value.text
    assert "ports" not in state(sim, A).software


def test_one_install_at_a_time_and_bundle_urls_are_history(sim: Simulator, files: Files, host_of: Callable[[str], Any]) -> None:
    work = host_of(A).configManager.patchManager
    with pytest.raises(vmodl.fault.NotSupported):
        work.InstallV2(bundleUrls=["/vmfs/volumes/x/b.zip"])
    sim.world.options["task_delay"] = 0.5
    first = work.QueryHostPatch_Task()
    with pytest.raises(vim.fault.TaskInProgress):
        work.InstallV2(vibUrls=[WHERE])
    WaitForTask(first)
    assert {row.id for row in first.info.result.status} == {row.id for row in state(sim, A).software.values()}


# ---- files that are no VIBs ----------------------------------------------------------------------------------------------------------
MEMBERS = vibs.parts()
SPOILT: tuple[tuple[str, bytes, str], ...] = (
    ("text", b"hello", "the ar magic is missing"),
    ("cut", vibs.ar(MEMBERS)[:-10], "ends early"),
    ("header", vibs.ar(MEMBERS)[:60] + b"xx" + vibs.ar(MEMBERS)[62:], "invalid"),
    ("order", vibs.ar([MEMBERS[1], MEMBERS[0], MEMBERS[2]]), "a VIB begins with descriptor.xml and sig.pkcs7"),
    ("no payload", vibs.ar(MEMBERS[:2]), "differ"),
    ("xml", vibs.ar([("descriptor.xml", b"<vib>"), *MEMBERS[1:]]), "Error parsing descriptor.xml"),
    ("root", vibs.ar([("descriptor.xml", b"<package/>"), *MEMBERS[1:]]), "Element package failed to validate content"),
    ("name", vibs.vib(name=" "), "Element name failed to validate content"),
    ("level", vibs.vib(level="CommunitySupported"), "Element acceptance-level failed to validate content"),
    ("size", vibs.vib(size=1), "not 1 as the descriptor says"),
    ("sha-256", vibs.vib(spoilt="sha-256"), "sha-256 checksum of payload"),
    ("sha-1", vibs.vib(spoilt="sha-1 gunzip"), "sha-1 gunzip checksum of payload"),
    ("unlisted", vibs.vib(listed=[]), "which the descriptor's file-list lacks"),
    ("missing", vibs.vib(listed=["etc/vmware/firewall/ports.xml", "bin/x"]), "which no payload holds"),
)


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_spoilt_files_are_refused_by_what_is_wrong_with_them(content: bytes, words: str) -> None:
    with pytest.raises(ImageError) as told:
        vib.read(content, "x.vib")
    assert words in str(told.value)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_bytes_make_the_reader_stumble(noise: bytes, at: int) -> None:
    good = vibs.vib()
    for content in (noise, vib.MAGIC + noise, good[:at] + noise + good[at:], good[:at] + noise[:1] + good[at + 1 :]):
        try:
            assert vib.read(content, "x.vib").package.name
        except ImageError:
            pass


@pytest.mark.skipif(shutil.which("ar") is None, reason="binutils are not installed")
def test_what_ar_packs_is_a_vib(tmp_path: Path) -> None:
    for name, content in MEMBERS:
        (tmp_path / name).write_bytes(content)
    subprocess.run(["ar", "qc", "x.vib", *[name for name, _content in MEMBERS]], cwd=tmp_path, check=True, capture_output=True)
    read_back = vib.read((tmp_path / "x.vib").read_bytes(), "x.vib")
    assert read_back.package.id == "Example_bootbank_ports_1.0.0-1" and read_back.package.files == ("etc/vmware/firewall/ports.xml",)
    assert read_back.package.rulesets[0].key == KEY and read_back.gunzip_sha256


FIREWALL_FILES: tuple[tuple[str, bytes, list[str]], ...] = (
    ("range", vibs.firewall("x", ["<begin>80</begin><end>90</end>"]), ["x"]),
    ("no id", vibs.firewall(""), []),
    ("port", vibs.firewall("x", ["70000"]), []),
    ("range turned round", vibs.firewall("x", ["<begin>90</begin><end>80</end>"]), []),
    ("word", vibs.firewall("x", ["http"]), []),
    ("protocol", vibs.firewall("x", protocol="icmp"), []),
    ("direction", vibs.firewall("x", direction="in"), []),
    ("no rule", vibs.firewall("x", []), []),
    ("no xml", b"<ConfigRoot>", []),
    ("root", b"<Config/>", []),
)


@pytest.mark.parametrize(("content", "keys"), [case[1:] for case in FIREWALL_FILES], ids=[case[0] for case in FIREWALL_FILES])
def test_firewall_files_that_cannot_be_read_are_no_rulesets(content: bytes, keys: list[str]) -> None:
    assert [row.key for row in vib.firewall(content)] == keys


def test_ports_of_a_firewall_file_are_read_as_they_stand() -> None:
    (row,) = vib.firewall(vibs.firewall("x", ["<begin>80</begin><end>90</end>", "<begin>7</begin><end>7</end>", "443"]))
    assert [(rule.port, rule.end_port) for rule in row.rules] == [(80, 90), (7, None), (443, None)]


# ---- scenarios and actions -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"acceptance": "Partner"}, "did you mean partner"),
        ({"software": [{"name": "x", "acceptence": "partner"}]}, "unknown key 'acceptence': did you mean acceptance?"),
        ({"software": [{"version": "1"}]}, "the key 'name' is missing"),
        ({"software": [{"name": "x", "rulesets": [{"key": "k", "rules": ["tcp 80"]}]}]}, "no rule such as"),
        ({"datastores": [{"name": "x", "free": 1}]}, "unknown key 'free'"),
        ({"tpm": {"version": "3"}}, "known: 1.2, 2.0"),
        ({"options": {"put_existing": 204}}, "it must be 200 or 201"),
    ],
)
def test_a_scenario_that_is_wrong_says_so(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words.replace("?", r"\?")):
        Simulator({"hosts": [row]})


def test_datastores_of_a_scenario() -> None:
    hosts = [
        {
            "count": 2,
            "name": "a-{n}.example.com",
            "datastores": [{"name": "local"}, {"name": "all", "shared": True}, {"name": "own-{host}"}],
        },
        {"name": "b.example.com", "datastores": []},
        {"name": "c.example.com"},
    ]
    with Simulator({"hosts": hosts}) as made:
        named = {item.state.name: [one.title for one in item.stores] for item in made.world.hosts}
    assert named == {
        "a-1.example.com": ["local", "all", "own-a-1"],
        "a-2.example.com": ["all", "local (1)", "own-a-2"],
        "b.example.com": [],
        "c.example.com": [STORE],
    }


def test_actions(sim: Simulator) -> None:
    sim.act("install_software", host=A, name="agent", acceptance="community", rulesets=[{"key": "agent", "rules": ["out udp 514"]}])
    told = sim.state()["hosts"][A]["software"]
    assert told["packages"] == {"agent": "1.0.0-1"} and told["own_rulesets"] == ["agent"]
    sim.act("remove_software", host=A, name="agent")
    assert sim.state()["hosts"][A]["software"]["own_rulesets"] == []
    for words, action in (
        ("no rule such as", {"do": "hand_made_ruleset", "key": "x", "rules": ["sideways tcp 1"]}),
        ("did you mean partner", {"do": "acceptance", "level": "partnr"}),
        ("no datastore 'locel'", {"do": "datastore", "name": "locel"}),
        ("did you mean vsan", {"do": "remove_software", "name": "vsam"}),
    ):
        with pytest.raises(ScenarioError, match=words):
            sim.act(**action)
    assert set(LEVELS) == {"community", "partner", "vmware_accepted", "vmware_certified"}


def test_certificates_are_listed_from_801_on(host_of: Callable[[str], Any]) -> None:
    work = host_of(A).configManager.certificateManager
    assert [row.subject for row in work.RetrieveCertificateInfoList()] == [work.certificateInfo.subject]
    with pytest.raises(vmodl.fault.NotSupported):
        host_of(B).configManager.certificateManager.RetrieveCertificateInfoList()

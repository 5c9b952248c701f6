# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""community.vmware's vcenter_license and vmware.vmware's license_info beside ours, then curl and pyVmomi.

What one has set, the other finds right. Where theirs are known to misbehave, the same situation is given to ours, and both
outcomes are asserted.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.bench.measure import Server
from tests.integration.driver import run
from tests.peers.clients import Told, connected, tell
from tests.peers.conftest import Servers
from tests.peers.test_curl import VIM, XSI, Curl, cookie_of, in_envelope

THEIRS, THEIR_INFO = "community.vmware.vcenter_license", "vmware.vmware.license_info"
OURS, OUR_INFO = "fleetcare.esxi.esxi_license_validate", "fleetcare.esxi.esxi_license_info"
EVALUATION = "00000-00000-00000-00000-00000"
RIGHT, UNLISTED, FOR_VCF = "FAKE0-R1GHT-V8000-CPUPK-00001", "FAKE0-UNL1T-V8000-CPUPK-00022", "FAKE0-FCVCF-V8000-CPUPK-00031"
VCENTER, VCENTER_TOO, VSAN = "FAKE0-VCENT-V8000-ALL00-00004", "FAKE0-VCENT-V8000-ALL00-00032", "FAKE0-V5AN0-V8000-CPUPK-00005"
OLDER, OVER, SMALL, PLAIN = (
    f"FAKE0-{word}-00{n}"
    for word, n in (("GEN70-V7000-CPUPK", "002"), ("EXP1R-V8000-CPUPK", "006"), ("0NE0F-V8000-CPUPK", "023"), ("TANDA-V8000-CPUPK", "017"))
)
KEPT, IGNORED, REFUSED = "FAKE0-KEEPR-V8000-CPUPK-00019", "FAKE0-1GN0R-V8000-CPUPK-00020", "FAKE0-REFU5-D1AGN-XXXXX-00013"
# One host is licensed, two run on their evaluation, one on nothing, and one on a key that cannot be removed.
LICENSED, USING, TRIAL, BARE, HOLDING = (f"esx-0{number}.example.com" for number in range(1, 6))
FLEET = f"""
name: keys
vcenter: {{profile: 8.0.3, name: vcenter.example.com, license: {VCENTER}}}
licenses:
  - &v8 {{key: {RIGHT}, name: VMware vSphere 8 Enterprise Plus, total: 20}}
  - {{<<: *v8, key: {UNLISTED}, inventory: false}}
  - {{<<: *v8, key: {FOR_VCF}, name: VMware vSphere 8 Enterprise Plus for VCF, inventory: false}}
  - &vcenter
    key: {VCENTER}
    edition: vc.standard.instance
    name: VMware vCenter Server 8 Standard
    product: VMware VirtualCenter Server
    total: 1
  - {{<<: *vcenter, key: {VCENTER_TOO}, inventory: false}}
  - {{key: {VSAN}, edition: vsan.enterprise.cpuPackage, name: VMware vSAN 8, product: VMware VSAN, cost_unit: cpuPackage, total: 8, inventory: false}}
  - {{<<: *v8, key: {OLDER}, version: "7.0"}}
  - {{<<: *v8, key: {OVER}, expires: -3}}
  - {{<<: *v8, key: {SMALL}, total: 1}}
  - {{<<: *v8, key: {PLAIN}, features: [vmotion]}}
  - {{<<: *v8, key: {KEPT}, keeps_removed: true}}
  - {{<<: *v8, key: {IGNORED}, silently_ignored: true}}
  - {{key: {REFUSED}, refused: {{diagnostic: License is not valid for this product}}}}
hosts:
  - {{name: {LICENSED}, cluster: One, datacenter: East, sockets: 2, cores: 32, license: {RIGHT}}}
  - {{name: {USING}, cluster: One, datacenter: East, sockets: 2, cores: 32, license: evaluation, features_in_use: [dvs]}}
  - {{name: {TRIAL}, cluster: Two, datacenter: West, sockets: 2, cores: 32, license: evaluation, evaluation_days: 12}}
  - {{name: {BARE}, cluster: Two, datacenter: West, sockets: 2, cores: 32, license: none}}
  - {{name: {HOLDING}, cluster: Two, datacenter: West, sockets: 2, cores: 32, license: {KEPT}}}
"""
Task = dict[str, Any]


@pytest.fixture(scope="module")
def fleet_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("keys") / "keys.yml"
    path.write_text(FLEET)
    return str(path)


@pytest.fixture
def fleet(serve: Servers, fleet_file: str) -> Server:
    return serve.fresh(fleet_file)


def theirs(key: str, host: str = "", *, check: bool = False, fails: bool = False, **options: Any) -> Task:
    place = {"esxi_hostname": host} if host else {}
    return {THEIRS: {"license": key, **place, **options}, "check_mode": check, "ignore_errors": fails}


def ours(key: str, *hosts: str, check: bool = False, fails: bool = False, **options: Any) -> Task:
    wish = {"license_key": key, "esxi_hostname": list(hosts), "state": "assigned", "session": "single", **options}
    return {OURS: wish, "check_mode": check, "ignore_errors": fails}


def mask(key: str) -> str:
    return re.sub("-.*-", "-*****-*****-*****-", key)


def on_hosts(server: Server) -> dict[str, Any]:
    """The key of each host, masked; True for the evaluation, None for nothing."""
    return {
        name: host["license"]["key"] or (True if host["license"]["evaluation"] else None)
        for name, host in server.control("/state")["hosts"].items()
    }


def listed(server: Server) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in server.control("/state")["licenses"]}


def methods(told: Told) -> list[str]:
    return [method for _host, method in told.writes]


def assert_content(told: Told) -> None:
    """Ours found everything as it was asked for."""
    assert not told.changed and not told.writes and set(told.statuses.values()) <= {"compliant"}
    assert told.result["endpoint"]["status"] == "compliant"


def codes(part: dict[str, Any], level: str = "error") -> set[str]:
    return {finding["code"] for finding in part["findings"] if finding["level"] == level}


# ---- reading --------------------------------------------------------------------------------------------------------


def test_listing_agrees(serve: Servers, tmp_path: pathlib.Path) -> None:
    """Theirs takes a key that nobody has had yet for an evaluation and leaves it out; ours has all, and who holds them."""
    server = serve.fresh("licensing")
    them, mine = tell(tmp_path, server, {THEIR_INFO: {}}, {OUR_INFO: {"esxi_hostname": ["*"], "session": "single", "fail_on": "none"}})
    keys = {row["key"]: row for row in mine.result["licenses"]}
    assert len(keys) == len(mine.result["licenses"]) and not mine.writes and len(mine.calls) <= 12
    assert sorted(map(mask, them.result["licenses"])) == sorted(key for key, row in keys.items() if row["used"] is not None)
    state = listed(server)
    assert keys.keys() == state.keys() | {mask(EVALUATION)}
    for key, row in state.items():
        said = keys[key]
        assert (said["name"], said["edition"], said["product"], said["unit"]) == (
            row["name"],
            row["edition"],
            row["product"],
            row["cost_unit"],
        )
        assert (said["used"], said["total"] or 0, said["labels"]) == (row["used"], row["total"], row["labels"]), key
    held = on_hosts(server)
    for name, host in mine.result["hosts"].items():
        if host["status"] != "unreachable":
            assert host.get("license") == {True: mask(EVALUATION)}.get(held[name], held[name]), name


# ---- what one sets, the other finds right ---------------------------------------------------------------------------


def test_a_key_that_nobody_has(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Theirs adds it; it cannot see that it is there, adds it again with every run, and never removes it."""
    owner: Task = {"labels": {"owner": "platform"}}
    other: Task = {"labels": {"owner": "storage"}}
    foreseen, blind, added, agreed, again, labelled, left = tell(
        tmp_path,
        fleet,
        ours(UNLISTED, check=True, **owner),
        theirs(UNLISTED, check=True, fails=True, **owner),
        theirs(UNLISTED, **owner),
        ours(UNLISTED, **owner),
        theirs(UNLISTED, **owner),
        ours(UNLISTED, **other),
        theirs(UNLISTED, state="absent"),
    )
    assert foreseen.changed and foreseen.result["endpoint"]["status"] == "would_change"
    assert blind.failed and "is not existing or can not be added" in blind.result["msg"]
    assert not foreseen.writes and not blind.writes
    assert added.changed and methods(added) == ["AddLicense"] and UNLISTED not in added.result["licenses"]
    assert_content(agreed)
    (row,) = agreed.result["licenses"]
    assert (row["key"], row["labels"], row["verdict"], row["in_inventory"]) == (mask(UNLISTED), owner["labels"], "good", True)
    assert again.changed and methods(again) == ["AddLicense"]
    assert labelled.changed and methods(labelled) == ["UpdateLicenseLabel"] and labelled.result["licenses"][0]["labels"] == other["labels"]
    assert not left.changed and not left.writes
    removed = run(fleet, "esxi_license_validate", license_key=UNLISTED, state="absent")
    assert removed["changed"] and mask(UNLISTED) not in listed(fleet)


def test_a_key_on_hosts(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Theirs assigns a key that is in the inventory, --check or not, and compares no labels."""
    wish: Task = {"labels": {"owner": "platform"}}
    foreseen, not_only, them, agreed, mine, view, lower = tell(
        tmp_path,
        fleet,
        ours(RIGHT, USING, check=True),
        theirs(RIGHT, USING, check=True),
        theirs(RIGHT, BARE, **wish),
        ours(RIGHT, USING, BARE),
        ours(RIGHT, TRIAL, BARE, **wish),
        theirs(RIGHT, TRIAL),
        theirs(RIGHT.lower(), HOLDING, fails=True),
    )
    assert foreseen.changed and foreseen.statuses == {USING: "would_change"} and not foreseen.writes
    assert not_only.changed and not_only.writes == [(USING, "UpdateAssignedLicense")]
    assert them.changed and them.writes == [(BARE, "UpdateAssignedLicense")]
    assert_content(agreed)
    assert {host["license"] for host in agreed.result["hosts"].values()} == {mask(RIGHT)}
    assert mine.statuses == {TRIAL: "changed", BARE: "compliant"} and methods(mine) == ["UpdateLicenseLabel", "UpdateAssignedLicense"]
    assert listed(fleet)[mask(RIGHT)]["labels"].items() >= wish["labels"].items()
    assert not view.changed and not view.writes
    # To theirs a key that is written otherwise is another key, though the server has taken it as the same.
    assert lower.failed and methods(lower) == ["AddLicense"]
    text = f"ESXi key: {RIGHT.lower().replace('-', ' ')}"
    pasted = run(fleet, "esxi_license_validate", license_key=text, state="assigned", esxi_hostname=[HOLDING, USING])
    assert {name: host["status"] for name, host in pasted["hosts"].items()} == {HOLDING: "changed", USING: "compliant"}
    assert set(on_hosts(fleet).values()) == {mask(RIGHT)}
    assert RIGHT in json.dumps(them.result)
    for result in (foreseen.result, agreed.result, mine.result, pasted):
        assert not re.search(RIGHT, json.dumps(result), re.IGNORECASE)


def test_a_key_for_vsan_on_a_cluster(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Theirs finds out that there is no such cluster after it has added the key. Ours is for hosts, and says so."""
    elsewhere, them, again = tell(
        tmp_path,
        fleet,
        theirs(VSAN, cluster_name="Two", datacenter="East", fails=True),
        theirs(VSAN, cluster_name="Two", datacenter="West"),
        theirs(VSAN, cluster_name="Two"),
    )
    assert elsewhere.result["msg"] == "Unable to find the cluster Two in datacenter East" and methods(elsewhere) == ["AddLicense"]
    assert them.changed and methods(them) == ["AddLicense", "UpdateAssignedLicense"]
    assert not again.changed and not again.writes
    held = {name.partition(" ")[0]: row["key"] for name, row in fleet.control("/state")["vsan_licenses"].items()}
    assert held == {"One": None, "Two": mask(VSAN)}
    info = run(fleet, "esxi_license_info", cluster_name=["Two"])
    (row,) = [row for row in info["licenses"] if row["key"] == mask(VSAN)]
    assert row["used_by"] == ["Two"] and row["used"] == 6
    mine = run(fleet, "esxi_license_validate", license_key=VSAN, state="assigned", cluster_name=["Two"])
    assert not mine["changed"] and all(codes(host) >= {"key_not_for_esxi"} for host in mine["hosts"].values())


def test_a_key_for_vcenter(fleet: Server, tmp_path: pathlib.Path) -> None:
    """By its name, theirs assigns it to the vCenter, which nobody asked for; so it does with a key for hosts of that name."""
    wrong, them = tell(tmp_path, fleet, theirs(FOR_VCF, fails=True), theirs(VCENTER_TOO))
    assert wrong.result["msg"] == f'Could not assign "{FOR_VCF}" (VMware vSphere 8 Enterprise Plus for VCF) to vCenter.'
    assert methods(wrong) == ["AddLicense", "UpdateAssignedLicense"] and not wrong.changed and mask(FOR_VCF) in listed(fleet)
    assert them.changed and fleet.control("/state")["license"]["key"] == mask(VCENTER_TOO)
    writes = fleet.control("/summary")["writes"]
    agreed = run(fleet, "esxi_license_validate", license_key=FOR_VCF, state="assigned")
    assert not agreed["changed"] and agreed["endpoint"]["status"] == "compliant" and agreed["hosts"] == {}
    told = run(fleet, "esxi_license_validate", license_key=VCENTER, state="assigned")
    assert not told["changed"] and codes(told["endpoint"]) == {"key_not_for_esxi"} and "VMware VirtualCenter Server" in told["msg"]
    assert fleet.control("/summary")["writes"] == writes


def test_a_host_without_a_vcenter(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("standalone_license")
    (name,) = on_hosts(server)
    refused, no_list, mine = tell(tmp_path, server, theirs(RIGHT, name, fails=True), {THEIR_INFO: {}, "ignore_errors": True}, ours(RIGHT))
    for them in (refused, no_list):
        assert them.failed and "is meant for vCenter" in them.result["msg"] and not them.writes
    assert mine.statuses == {name: "changed"} and methods(mine) == ["UpdateLicense"]
    assert not run(server, "esxi_license_validate", license_key=RIGHT, state="assigned")["changed"]
    assert on_hosts(server) == {name: mask(RIGHT)}


# ---- where theirs are known to misbehave ----------------------------------------------------------------------------


def test_why_a_key_is_refused(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Four causes, and theirs has one sentence, which is about a vCenter that has nothing to do with it."""
    causes = {OLDER: "key_wrong_generation", OVER: "key_expired", SMALL: "key_units_short", PLAIN: "key_lacks_feature"}
    before = on_hosts(fleet)
    *them, unknown = tell(tmp_path, fleet, *(theirs(key, USING, fails=True) for key in (*causes, REFUSED)))
    for key, told in zip(causes, them, strict=True):
        assert told.result["msg"] == f'Could not assign "{key}" (VMware vSphere 8 Enterprise Plus) to vCenter.'
        assert methods(told) == ["AddLicense", "UpdateAssignedLicense"]  # added though it is there, for nobody has had it yet
    assert unknown.result["msg"] == f'License "{REFUSED}" is not existing or can not be added' and methods(unknown) == ["AddLicense"]
    writes = fleet.control("/summary")["writes"]
    for key, code in {**causes, REFUSED: "key_unknown"}.items():
        for state in ("valid", "assigned"):
            mine = run(fleet, "esxi_license_validate", license_key=key, state=state, esxi_hostname=[USING])
            assert not mine["changed"] and mine["hosts"][USING]["status"] == "failed" and code in codes(mine["hosts"][USING]), (
                key,
                mine["msg"],
            )
            assert mask(key) in mine["msg"] and key not in json.dumps(mine)
    assert "License is not valid for this product" in mine["msg"]
    assert fleet.control("/summary")["writes"] == writes and on_hosts(fleet) == before


def test_taken_and_not_assigned(fleet: Server, tmp_path: pathlib.Path) -> None:
    """KB 413268: the call succeeds and the host stays on its evaluation. Theirs reads nothing back, and says that it succeeded."""
    for told in tell(tmp_path, fleet, theirs(IGNORED, TRIAL), theirs(IGNORED, TRIAL)):
        assert told.changed and told.writes[-1] == (TRIAL, "UpdateAssignedLicense")
    mine = run(fleet, "esxi_license_validate", license_key=IGNORED, state="assigned", esxi_hostname=[TRIAL])
    assert mine["hosts"][TRIAL]["status"] == "failed" and "still_in_evaluation" in codes(mine["hosts"][TRIAL])
    assert on_hosts(fleet)[TRIAL] is True


def test_a_key_that_goes(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Theirs counts who has it, ours names them; a key that stays all the same is a success to theirs."""
    mine = run(fleet, "esxi_license_validate", license_key=KEPT, state="absent")
    assert codes(mine["endpoint"]) == {"key_in_use"} and HOLDING in mine["msg"] and not mine["changed"]
    last = run(fleet, "esxi_license_validate", license_key=KEPT, state="absent", esxi_hostname=[HOLDING])
    assert codes(last["hosts"][HOLDING]) == {"last_key"} and on_hosts(fleet)[HOLDING] == mask(KEPT)
    for key in (UNLISTED, RIGHT):
        run(fleet, "esxi_license_validate", license_key=key, state="assigned", esxi_hostname=[TRIAL])
    held, moved, kept, removed = tell(
        tmp_path,
        fleet,
        theirs(KEPT, state="absent", fails=True),
        theirs(RIGHT, HOLDING),
        theirs(KEPT, state="absent"),
        theirs(UNLISTED, state="absent"),
    )
    assert held.result["msg"] == f'Cannot remove key "{KEPT}", still in use 2 time(s).' and not held.writes
    assert moved.changed and kept.changed and methods(kept) == ["RemoveLicense"]
    assert KEPT in kept.result["licenses"] and mask(KEPT) in listed(fleet)
    mine = run(fleet, "esxi_license_validate", license_key=KEPT, state="absent")
    assert codes(mine["endpoint"]) == {"key_kept"} and not mine["changed"]
    # Once it was in use, theirs sees a key, and removes it as it should.
    assert removed.changed and methods(removed) == ["RemoveLicense"] and mask(UNLISTED) not in listed(fleet)
    agreed = run(fleet, "esxi_license_validate", license_key=UNLISTED, state="absent", esxi_hostname=["*"])
    assert not agreed["changed"] and {host["status"] for host in agreed["hosts"].values()} == {"compliant"}


# ---- curl -----------------------------------------------------------------------------------------------------------

DECODE = "<DecodeLicense xmlns='urn:vim25'><_this type='LicenseManager'>{manager}</_this><licenseKey>{key}</licenseKey></DecodeLicense>"
QUERY = """<QueryAssignedLicenses xmlns="urn:vim25">
  <_this type="LicenseAssignmentManager">LicenseAssignmentManager</_this>{entity}</QueryAssignedLicenses>"""


def pairs(element: ET.Element) -> dict[str, ET.Element]:
    """KeyAnyValue by key, the last of each."""
    return {one.findtext(f"{VIM}key", ""): one.find(f"{VIM}value") for one in element.findall(f"{VIM}properties")}  # type: ignore[misc]


def kind(element: ET.Element) -> str:
    return element.get(f"{XSI}type", "").rpartition(":")[2]


@pytest.mark.parametrize(
    ("scenario", "manager", "as_if"), [("licensing", "LicenseManager", "tiny"), ("standalone_license", "ha-license-manager", "standalone")]
)
def test_decode_with_curl(serve: Servers, tmp_path: pathlib.Path, scenario: str, manager: str, as_if: str) -> None:
    """A key that is refused is an answer like any other: no fault, no name, and the reason among its properties."""
    server = serve.fresh(scenario)
    curl = Curl(tmp_path, server, as_if)
    cookie = cookie_of(curl.login())

    def decode(key: str) -> ET.Element:
        reply = curl("--cookie", cookie, body=in_envelope(DECODE.format(manager=manager, key=key)))
        assert (reply.status, reply.content.tag) == (200, f"{VIM}DecodeLicenseResponse")
        (answer,) = reply.content
        return answer

    before = listed(server)
    for key in ("FAKE0-TEN0D-V8000-CPUPK-00007", "fake0-ten0d-v8000-cpupk-00007"):
        found = decode(key)
        assert [found.findtext(f"{VIM}{name}") for name in ("licenseKey", "editionKey", "name", "costUnit")] == [
            "FAKE0-TEN0D-V8000-CPUPK-00007",
            "esx.enterprisePlus.cpuPackage",
            "VMware vSphere 8 Enterprise Plus",
            "cpuPackage",
        ]
        told = pairs(found)
        assert (kind(told["ProductName"]), told["ProductName"].text) == ("string", "VMware ESX Server")
        assert (kind(told["feature"]), kind(told["expirationDate"])) == ("KeyValue", "dateTime")
        ends = datetime.datetime.fromisoformat(told["expirationDate"].text or "")
        assert 9.9 < (ends - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400 < 10.1
    for key in ("FAKE0-XXXXX-XXXXX-XXXXX-XXXXX", "no key at all", "FAKE0-REFU5-EMPTY-XXXXX-00016"):
        found = decode(key)
        assert [found.findtext(f"{VIM}{name}") or "" for name in ("licenseKey", "editionKey", "name")] == ["", "", ""]
        assert found.findtext(f"{VIM}total") == "0"
        said = pairs(found)
        if "EMPTY" in key:
            assert not said
        elif as_if == "tiny":
            assert (kind(said["lc_error"]), said["lc_error"].text, kind(said["localizedDiagnostic"])) == ("int", "5", "LocalizableMessage")
        else:
            assert said["diagnostic"].text == "License is not valid for this product" and "lc_error" not in said
    assert listed(server) == before, "nothing is kept of a key that was only decoded"
    curl.logout("--cookie", cookie)
    nobody = curl(body=in_envelope(DECODE.format(manager=manager, key=RIGHT)))
    assert nobody.fault[2] == "NotAuthenticated" and RIGHT not in nobody.body


def test_assignments_with_curl(serve: Servers, tmp_path: pathlib.Path) -> None:
    server = serve.fresh("licensing")
    state = server.control("/state")
    curl = Curl(tmp_path, server, "tiny")
    cookie = cookie_of(curl.login())
    reply = curl("--cookie", cookie, body=in_envelope(QUERY.format(entity="")))
    assert (reply.status, reply.content.tag) == (200, f"{VIM}QueryAssignedLicensesResponse")
    found = {one.findtext(f"{VIM}entityId", ""): one for one in reply.content}
    assert len(found) == len(reply.content)
    hosts = {host["moid"]: (name, host["license"]) for name, host in state["hosts"].items()}
    bare = {moid for moid, (_name, row) in hosts.items() if row["key"] is None and not row["evaluation"]}
    others = {moid for moid in found if moid not in hosts}
    assert hosts.keys() - bare == found.keys() - others and len(others) == 2 and len(bare) == 1  # vCenter itself, and vSAN's cluster
    assert sum(moid.startswith("domain-c") for moid in others) == 1
    for moid in found.keys() - others:
        name, row = hosts[moid]
        assert found[moid].findtext(f"{VIM}entityDisplayName") == name
        key = found[moid].findtext(f"{VIM}assignedLicense/{VIM}licenseKey") or ""
        assert (mask(key), key == EVALUATION) == (row["key"] or mask(EVALUATION), row["evaluation"])
        told = pairs(found[moid])
        assert told["ProductName"].text == "VMware ESX Server" and ("Evaluation" in told) == row["evaluation"]
        if row["evaluation"]:
            left = pairs(told["Evaluation"])
            assert kind(told["Evaluation"]) == "EvaluationInfo" or kind(told["Evaluation"]) == "LicenseManagerEvaluationInfo"
            assert left["expirationHours"].text == str(round(row["evaluation_days"] * 24))
    for moid, count in ((next(iter(hosts)), 1), (bare.pop(), 0), ("host-99999", 0)):
        one = curl("--cookie", cookie, body=in_envelope(QUERY.format(entity=f"<entityId>{moid}</entityId>")))
        assert (one.status, len(one.content)) == (200, count), moid
    curl.logout("--cookie", cookie)


# ---- pyVmomi --------------------------------------------------------------------------------------------------------


def said(info: Any) -> dict[str, Any]:
    return {one.key: one.value for one in info.properties}


def test_what_pyvmomi_makes_of_a_vcenter(fleet: Server) -> None:
    """The ways of people's scripts: by product name and not by place, reading back, and the class that all refusals share."""
    with connected(fleet) as si:
        manager = si.content.licenseManager
        assigner = manager.licenseAssignmentManager
        hosts = {host.name: host for host in si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.HostSystem], True).view}
        assert manager.licensedEdition == "vc.standard.instance"
        known = {one.licenseKey: one for one in manager.licenses}
        assert isinstance(known[RIGHT], vim.LicenseManager.LicenseInfo) and known[RIGHT].used == 2 and known[OLDER].used is None
        features = [one.value for one in known[RIGHT].properties if one.key == "feature"]
        assert features and all(isinstance(one, vim.KeyValue) for one in features)
        assert said(known[OVER])["expirationDate"] < datetime.datetime.now(datetime.timezone.utc)
        trial = assigner.QueryAssignedLicenses(hosts[TRIAL]._moId)[0]
        assert trial.assignedLicense.licenseKey == EVALUATION
        assert isinstance(said(trial)["Evaluation"], vim.LicenseManager.EvaluationInfo)
        assert said(said(trial)["Evaluation"])["expirationHours"] == 12 * 24
        refused = manager.AddLicense(licenseKey=REFUSED)
        assert (refused.licenseKey, refused.editionKey, refused.total) == ("", "", 0)
        assert said(refused)["diagnostic"] == "License is not valid for this product"
        assert REFUSED not in {one.licenseKey for one in manager.licenses}
        for key in (OLDER, OVER, SMALL, PLAIN):
            with pytest.raises(vmodl.fault.NotEnoughLicenses):
                assigner.UpdateAssignedLicense(entity=hosts[USING]._moId, licenseKey=key)
        with pytest.raises(vmodl.fault.InvalidArgument):
            assigner.UpdateAssignedLicense(entity=hosts[USING]._moId, licenseKey=VCENTER)
        with pytest.raises(vim.fault.LicenseEntityNotFound):
            assigner.UpdateAssignedLicense(entity="host-99999", licenseKey=RIGHT)
        taken = assigner.UpdateAssignedLicense(entity=hosts[TRIAL]._moId, licenseKey=RIGHT, entityDisplayName="a name")
        assert taken.used == 4
        manager.UpdateLicenseLabel(licenseKey=RIGHT, labelKey="owner", labelValue="platform")
        (row,) = [one for one in manager.licenses if one.licenseKey == RIGHT]
        assert [(one.key, one.value) for one in row.labels] == [("owner", "platform")]
        agreed = run(
            fleet, "esxi_license_validate", license_key=RIGHT, state="assigned", labels={"owner": "platform"}, esxi_hostname=[TRIAL]
        )
        assert not agreed["changed"] and agreed["hosts"][TRIAL]["status"] == "compliant"
        assigner.RemoveAssignedLicense(entityId=hosts[TRIAL]._moId)
        manager.RemoveLicense(licenseKey=RIGHT)
        assert RIGHT in {one.licenseKey for one in manager.licenses}, "another host has it, and the server keeps it without a word"
        mine = run(fleet, "esxi_license_info", esxi_hostname=[TRIAL, BARE])
    assert codes(mine["hosts"][TRIAL], "warning") == {"host_in_evaluation"} and 11.9 < mine["hosts"][TRIAL]["evaluation_days"] <= 12
    assert codes(mine["hosts"][BARE]) == {"host_unlicensed"}


def test_what_pyvmomi_makes_of_a_host(serve: Servers) -> None:
    server = serve.fresh("standalone_license")
    with connected(server) as si:
        manager = si.content.licenseManager
        assert manager.licenseAssignmentManager is None and manager.licensedEdition == "eval"
        assert said(manager.evaluation)["expirationHours"] == 23 * 24
        info = run(server, "esxi_license_info")
        (host,) = info["hosts"].values()
        assert codes(host, "warning") == {"host_in_evaluation"} and 22.9 < host["evaluation_days"] <= 23
        taken = manager.UpdateLicense(licenseKey=RIGHT)
        assert taken.editionKey == manager.licensedEdition == "esx.enterprisePlus.cpuPackage"
        agreed = run(server, "esxi_license_validate", license_key=RIGHT, state="assigned")
        assert not agreed["changed"]
        # The evaluations of other products that a host lists beside its licence do not hide it.
        assert len([one for one in manager.licenses if one.licenseKey == EVALUATION]) == 2
        assert next(iter(run(server, "esxi_license_info")["hosts"].values()))["license"] == mask(RIGHT)


def test_two_keys_on_a_host(serve: Servers) -> None:
    """Somebody called AddLicense where UpdateLicense was meant: both are listed, and the later one is used."""
    server = serve.fresh("standalone_license")
    second = "FAKE0-TEN0D-V8000-CPUPK-00007"
    with connected(server) as si:
        for key in (RIGHT, second):
            si.content.licenseManager.AddLicense(licenseKey=key)
        assert {one.licenseKey: one.used for one in si.content.licenseManager.licenses if one.used is not None} == {RIGHT: 0, second: 2}
    assert set(on_hosts(server).values()) == {mask(second)}
    (host,) = run(server, "esxi_license_info")["hosts"].values()
    assert host["license"] == mask(second)
    refused = run(server, "esxi_license_validate", license_key=second, state="absent")
    assert not refused["changed"] and set(on_hosts(server).values()) == {mask(second)}
    assert {code for host in refused["hosts"].values() for code in codes(host)} == {"last_key"}
    idle = run(server, "esxi_license_validate", license_key=RIGHT, state="absent")
    assert idle["changed"] and set(listed(server)) == {mask(second)} and set(on_hosts(server).values()) == {mask(second)}

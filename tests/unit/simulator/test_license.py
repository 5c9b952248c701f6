# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The licence server as pyVmomi sees it: keys, assignments, capacity, expiry, each refusal in its exact shape, and what is never shown."""

from __future__ import annotations

import contextlib
import datetime
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from tests.simulator import ScenarioError, Simulator
from tests.simulator.__main__ import coverage_table
from tests.simulator.license import DIAGNOSTIC, masked, units
from tests.simulator.scenario import FOLDER, LICENSE_OPTIONS
from tests.unit.simulator.conftest import client, key_servers_for, read

RIGHT, GEN70, GEN60 = "FAKE0-R1GHT-V8000-CPUPK-00001", "FAKE0-GEN70-V7000-CPUPK-00002", "FAKE0-GEN60-V6000-CPUPK-00003"
VCENTER, VSAN, EXPIRED = "FAKE0-VCENT-V8000-ALL00-00004", "FAKE0-V5AN0-V8000-CPUPK-00005", "FAKE0-EXP1R-V8000-CPUPK-00006"
TEN_DAYS, LEASE, UNLIMITED = "FAKE0-TEN0D-V8000-CPUPK-00007", "FAKE0-LEA5E-V8000-CPUPK-00008", "FAKE0-UNL1M-V8000-CPUPK-00009"
LIMITED, CORES, OVER = "FAKE0-L1M1T-V8000-C0RE3-00010", "FAKE0-C0RE0-V8000-C0RE0-00011", "FAKE0-0VERU-V8000-CPUPK-00012"
STANDARD, TWO, UNLISTED = "FAKE0-TANDA-V8000-CPUPK-00017", "FAKE0-TW0PK-V8000-CPUPK-00023", "FAKE0-UNL1T-V8000-CPUPK-00022"
VCENTER7, GEN90, HOURS = "FAKE0-VCENT-V7000-ALL00-00024", "FAKE0-GEN90-V9000-CPUPK-00025", "FAKE0-H0UR5-V8000-CPUPK-00018"
KEEPER, IGNORED, LATER, DELAYED = (
    "FAKE0-KEEPR-V8000-CPUPK-00019",
    "FAKE0-1GN0R-V8000-CPUPK-00020",
    "FAKE0-LATER-V8000-CPUPK-00021",
    "FAKE0-DELAY-V8000-CPUPK-00026",
)
UNKNOWN = "FAKE0-N0B0D-YKN0W-XXXXX-99999".replace("B", "8")
EVALUATION = "00000-00000-00000-00000-00000"
ESX = "VMware ESX Server"
MISMATCH = vim.fault.LicenseKeyEntityMismatch


class Case:
    def __init__(self, sim: Simulator, si: Any) -> None:
        self.sim, self.si = sim, si
        self.manager = si.content.licenseManager
        self.assignments = self.manager.licenseAssignmentManager

    def host(self, number: int) -> str:
        return str(self.sim.world.hosts[number - 1].moid)

    @property
    def uuid(self) -> str:
        return str(self.si.content.about.instanceUuid)

    def cluster(self, name: str) -> str:
        found = self.si.content.viewManager.CreateContainerView(self.si.content.rootFolder, [vim.ClusterComputeResource], True)
        return next(one._moId for one in found.view if one.name == name)

    def inventory(self) -> list[str]:
        return [one.licenseKey for one in self.manager.licenses]

    def listed(self, key: str) -> Any:
        return next(one for one in self.manager.licenses if one.licenseKey == key)

    def assigned(self, entity: str) -> Any:
        (found,) = self.assignments.QueryAssignedLicenses(entity)
        return found

    def key_of(self, entity: str) -> str | None:
        found = self.assignments.QueryAssignedLicenses(entity)
        return str(found[0].assignedLicense.licenseKey) if found else None

    def assign(self, entity: str, key: str) -> Any:
        return self.assignments.UpdateAssignedLicense(entity=entity, licenseKey=key)


def pairs(rows: Any) -> dict[str, Any]:
    """KeyAnyValue[] without the features, which are many."""
    return {row.key: row.value for row in rows if row.key != "feature"}


def features(info: Any) -> dict[str, str]:
    return {row.value.key: row.value.value for row in info.properties if row.key == "feature"}


def bare(info: Any) -> tuple[Any, ...]:
    return info.licenseKey, info.editionKey, info.name, info.total, info.used, info.costUnit, list(info.labels)


EMPTY: tuple[Any, ...] = ("", "", "", 0, None, "", [])


@contextlib.contextmanager
def running(scenario: Any, user: str | None = None, **options: Any) -> Iterator[Case]:
    with Simulator(scenario) as sim:
        for name, value in options.items():
            sim.act("license_option", name=name, value=value)
        with client(sim, user) as si:
            try:
                yield Case(sim, si)
            finally:
                assert sim.errors == []


@pytest.fixture(scope="module")
def scenario() -> Any:
    return "licensing"


@pytest.fixture
def case(sim: Simulator, si: Any) -> Case:
    return Case(sim, si)


@pytest.fixture
def solo() -> Iterator[Case]:
    with running("standalone_license") as made:
        yield made


# ---- what there is ------------------------------------------------------------------------------------------------------------------
def test_coverage_lists_the_operations() -> None:
    table = coverage_table()
    for line in (
        "| LicenseManager | AddLicense | Global.Licenses | yes |",
        "| LicenseManager | DecodeLicense | Global.Licenses |  |",
        "| LicenseManager | RemoveLicense | Global.Licenses | yes |",
        "| LicenseManager | RemoveLicenseLabel | Global.Licenses | yes |",
        "| LicenseManager | UpdateLicense | Global.Licenses | yes |",
        "| LicenseManager | UpdateLicenseLabel | Global.Licenses | yes |",
        "| LicenseAssignmentManager | QueryAssignedLicenses | System.View |  |",
        "| LicenseAssignmentManager | RemoveAssignedLicense | Global.Licenses | yes |",
        "| LicenseAssignmentManager | UpdateAssignedLicense | Global.Licenses | yes |",
    ):
        assert line in table


def test_ids(case: Case, solo: Case) -> None:
    assert case.manager._moId == "LicenseManager" and case.assignments._moId == "LicenseAssignmentManager"
    assert solo.manager._moId == "ha-license-manager" and solo.assignments is None
    host = vim.HostSystem(case.host(1), case.si._stub)
    assert host.configManager.licenseManager is None
    solo_host = solo.si.content.rootFolder.childEntity[0].hostFolder.childEntity[0].host[0]
    assert solo_host.configManager.licenseManager._moId == "ha-license-manager"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yml")))
def test_all_properties_of_every_scenario_can_be_read(name: str) -> None:
    key_servers_for(name)
    with running(name) as made:
        collector = vmodl.query.PropertyCollector
        wanted = collector.PropertySpec(type=vim.LicenseManager, all=True)
        spec = collector.FilterSpec(propSet=[wanted], objectSet=[collector.ObjectSpec(obj=made.manager)])
        (row,) = made.si.content.propertyCollector.RetrieveContents([spec])
        assert {"licenses", "evaluation", "licensedEdition"} <= {one.name for one in row.propSet}
        if made.assignments is not None:
            made.assignments.QueryAssignedLicenses()


def test_a_scenario_without_licences_has_enough_of_them(request: pytest.FixtureRequest) -> None:
    releases = ("8.0.3", "7.0.3", "6.7", "9.0")
    with running({"hosts": [{"name": f"h{one}", "profile": one} for one in releases]}) as made:
        found = {one.entityDisplayName: one.assignedLicense for one in made.assignments.QueryAssignedLicenses()}
        assert found["h8.0.3"].total == 100_000 and found["h8.0.3"].used == 8 and len(features(found["h8.0.3"])) > 25
        keys = {name: info.licenseKey for name, info in found.items()}
        assert len(set(keys.values())) == 5 and keys["h9.0"] == "" and found["h9.0"].editionKey == "vcf.cpuCore"
        state = made.sim.state()
        assert [one["product"] for one in state["licenses"]].count(ESX) == 3
        assert state["hosts"]["h7.0.3"]["license"] == {
            "key": "FAKE0-*****-*****-*****-EVERY",
            "fingerprint": state["hosts"]["h7.0.3"]["license"]["fingerprint"],
            "edition": "esx.enterprisePlus.cpuPackage",
            "evaluation": False,
            "evaluation_days": 60.0,
            "expired": False,
            "features_in_use": [],
        }


# ---- LicenseInfo --------------------------------------------------------------------------------------------------------------------
def test_a_key_in_the_inventory(case: Case) -> None:
    info = case.listed(RIGHT)
    name = "VMware vSphere 8 Enterprise Plus"
    assert bare(info)[:6] == (RIGHT, "esx.enterprisePlus.cpuPackage", name, 20, 5, "cpuPackage")
    assert [(one.key, one.value) for one in info.labels] == [("source", "purchase")]
    assert pairs(info.properties) == {"ProductName": ESX, "ProductVersion": "8.0"}
    assert features(info)["serialuri:2"] == "Remote virtual Serial Port Concentrator" and len(features(info)) > 25
    assert info.properties[5].value.__class__ is vim.KeyValue


def test_how_keys_run_out(case: Case) -> None:
    now = case.si.CurrentTime()
    date = pairs(case.listed(TEN_DAYS).properties)
    assert set(date) == {"ProductName", "ProductVersion", "expirationDate"}
    assert abs(date["expirationDate"] - now - datetime.timedelta(days=10)) < datetime.timedelta(minutes=1)
    lease = pairs(case.listed(LEASE).properties)
    assert set(lease) == {"ProductName", "ProductVersion", "expirationMinutes"} and lease["expirationMinutes"] == 90
    assert pairs(case.listed(HOURS).properties)["expirationHours"] == 700
    assert pairs(case.listed(EXPIRED).properties)["expirationDate"] < now
    never = case.listed(UNLIMITED)
    assert never.total == 0 and pairs(never.properties)["count_disabled"] == "This license is unlimited"
    assert "expirationDate" not in pairs(never.properties)


def test_time_passes_for_keys(case: Case) -> None:
    before = pairs(case.listed(TEN_DAYS).properties)["expirationDate"]
    case.sim.advance(3600)
    assert before - pairs(case.listed(TEN_DAYS).properties)["expirationDate"] == datetime.timedelta(hours=1)
    assert pairs(case.listed(LEASE).properties)["expirationMinutes"] == 30
    assert pairs(case.listed(HOURS).properties)["expirationHours"] == 699
    case.sim.advance(3600)
    assert pairs(case.listed(LEASE).properties)["expirationMinutes"] == 0
    assert case.sim.state()["hosts"]["esx-10.example.com"]["license"]["expired"] is True


@pytest.mark.parametrize(("kind", "other"), [("int", "long"), ("long", "int")])
def test_the_type_of_numbers_is_an_option(kind: str, other: str) -> None:
    with running("licensing", number_type=kind) as made:
        value = pairs(made.listed(LEASE).properties)["expirationMinutes"]
        assert value.__class__ is VmomiSupport.GetVmodlType(kind) and value.__class__ is not VmomiSupport.GetVmodlType(other)


def test_several_properties_say_the_same_end(solo: Case) -> None:
    told = pairs(solo.manager.DecodeLicense(TEN_DAYS).properties)
    assert told["expirationHours"] == 240 and "expirationDate" in told and "expirationMinutes" not in told


def test_used_is_unset_until_somebody_has_the_key(case: Case) -> None:
    assert case.listed(TWO).used is None and case.listed(EVALUATION).used is None
    case.assign(case.host(14), TWO)
    assert case.listed(TWO).used == 2
    case.assignments.RemoveAssignedLicense(case.host(14))
    assert case.listed(TWO).used == 0
    case.sim.act("license_option", name="never_used", value="zero")
    assert case.listed(STANDARD).used == 0


def test_decoding_stores_nothing(case: Case) -> None:
    before = case.inventory()
    info = case.manager.DecodeLicense(UNLISTED)
    assert info.licenseKey == UNLISTED and info.used is None and case.inventory() == before
    assert case.manager.DecodeLicense(RIGHT).used == 5
    assert not any(entry.write for entry in case.sim.journal)


# ---- refused keys -------------------------------------------------------------------------------------------------------------------
CALLS: list[Callable[[Any, str], Any]] = [
    lambda manager, key: manager.DecodeLicense(key),
    lambda manager, key: manager.AddLicense(key),
    lambda manager, key: manager.UpdateLicense(key),
]


@pytest.mark.parametrize("call", CALLS, ids=["decode", "add", "update"])
@pytest.mark.parametrize("key", [UNKNOWN, "abc", "", "FAKE0-R1GHT-V8000-CPUPK", RIGHT.replace("-", "")], ids=str)
def test_an_unknown_key_comes_back_empty_and_without_a_fault(case: Case, call: Any, key: str) -> None:
    before = case.sim.state()
    info = call(case.manager, key)
    assert bare(info) == EMPTY
    told = pairs(info.properties)
    assert set(told) == {"lc_error", "diagnostic", "localizedDiagnostic"}
    assert told["lc_error"] == 5 and told["diagnostic"] == DIAGNOSTIC
    assert told["localizedDiagnostic"].__class__ is vmodl.LocalizableMessage
    assert told["localizedDiagnostic"].key == "com.vmware.vim.vc.license.error.decode"
    assert case.sim.state() == before


def test_a_host_says_less_of_a_refused_key(solo: Case) -> None:
    before = solo.sim.state()
    for call in CALLS:
        info = call(solo.manager, UNKNOWN)
        assert bare(info) == EMPTY and pairs(info.properties) == {"diagnostic": DIAGNOSTIC}
    solo.sim.act("license_option", name="refusal_properties", value=["lc_error"])
    solo.sim.act("license_option", name="refused_key_echoed", value=True)
    info = solo.manager.UpdateLicense(UNKNOWN)
    assert info.licenseKey == UNKNOWN and pairs(info.properties) == {"lc_error": 5}
    assert solo.sim.state() == before


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("FAKE0-REFU5-D1AGN-XXXXX-00013", {"diagnostic": DIAGNOSTIC}),
        ("FAKE0-REFU5-LCERR-XXXXX-00014", {"lc_error": 5}),
        ("FAKE0-REFU5-EMPTY-XXXXX-00016", {}),
    ],
)
def test_refusals_in_the_scenarios_words(case: Case, key: str, said: dict[str, Any]) -> None:
    for call in CALLS:
        info = call(case.manager, key)
        assert bare(info) == EMPTY and pairs(info.properties) == said
    assert key not in case.inventory()


def test_a_localized_refusal(case: Case) -> None:
    told = pairs(case.manager.AddLicense("FAKE0-REFU5-L0CAL-XXXXX-00015").properties)
    assert told["lc_error"] == 17 and told["diagnostic"] == told["localizedDiagnostic"].message == "The license key is not valid"


# ---- the inventory --------------------------------------------------------------------------------------------------------------------
def test_adding_a_key(case: Case) -> None:
    info = case.manager.AddLicense(UNLISTED, [vim.KeyValue(key="owner", value="lab")])
    assert info.licenseKey == UNLISTED and [(one.key, one.value) for one in info.labels] == [("owner", "lab")]
    count = len(case.inventory())
    case.manager.AddLicense(UNLISTED, [vim.KeyValue(key="site", value="north")])
    assert len(case.inventory()) == count
    assert {one.key: one.value for one in case.listed(UNLISTED).labels} == {"owner": "lab", "site": "north"}
    case.manager.UpdateLicenseLabel(UNLISTED, "owner", "plant")
    case.manager.RemoveLicenseLabel(UNLISTED, "site")
    assert {one.key: one.value for one in case.listed(UNLISTED).labels} == {"owner": "plant"}
    with pytest.raises(vmodl.fault.InvalidArgument) as caught:
        case.manager.UpdateLicenseLabel(UNKNOWN, "a", "b")
    assert caught.value.invalidProperty == "licenseKey"
    case.manager.RemoveLicense(UNLISTED)
    assert UNLISTED not in case.inventory()


def test_keys_may_be_written_small(case: Case) -> None:
    assert case.manager.AddLicense(UNLISTED.lower()).licenseKey == UNLISTED
    case.sim.act("license_option", name="case_sensitive", value=True)
    assert bare(case.manager.DecodeLicense(UNLISTED.lower())) == EMPTY


def test_a_key_in_use_is_kept_without_a_word(case: Case) -> None:
    case.manager.RemoveLicense(RIGHT)
    assert RIGHT in case.inventory() and case.key_of(case.host(1)) == RIGHT
    case.sim.act("license_option", name="remove_in_use", value="InvalidState")
    with pytest.raises(vim.fault.InvalidState):
        case.manager.RemoveLicense(RIGHT)
    case.sim.act("license_option", name="remove_in_use", value="removed")
    case.manager.RemoveLicense(RIGHT)
    assert RIGHT not in case.inventory() and case.key_of(case.host(1)) == EVALUATION


def test_a_key_that_stays_whatever_one_does(case: Case) -> None:
    case.manager.RemoveLicense(KEEPER)
    assert KEEPER in case.inventory()
    case.sim.act("license_option", name="keeps_removed", value=True)
    case.manager.RemoveLicense(TWO)
    assert TWO in case.inventory()


def test_removing_what_is_not_there(case: Case) -> None:
    case.manager.RemoveLicense(UNKNOWN)
    case.manager.RemoveLicense(EVALUATION)
    case.sim.act("license_option", name="unlisted_removed", value="InvalidArgument")
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.manager.RemoveLicense(UNKNOWN)


def test_a_key_that_appears_later(case: Case) -> None:
    assert case.manager.AddLicense(LATER).licenseKey == LATER
    assert LATER not in case.inventory()
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.assign(case.host(14), LATER)
    case.sim.advance(31)
    assert LATER in case.inventory() and case.assign(case.host(14), LATER).used == 2


def test_update_on_vcenter_leaves_what_is_in_use(case: Case) -> None:
    case.manager.UpdateLicense(UNLISTED)
    assert UNLISTED in case.inventory() and RIGHT in case.inventory() and KEEPER in case.inventory() and TWO not in case.inventory()


# ---- assignments ----------------------------------------------------------------------------------------------------------------------
def test_all_assignments(case: Case) -> None:
    rows = case.assignments.QueryAssignedLicenses()
    assert {one.scope for one in rows} == {case.uuid}
    found = {one.entityId: one for one in rows}
    assert len(found) == len(rows) == 1 + 17 + 1  # vCenter, hosts less one without a licence, one cluster
    own = found[case.uuid]
    assert own.entityDisplayName == "vcenter.example.com" and own.assignedLicense.licenseKey == VCENTER
    assert pairs(own.properties) == {"ProductName": "VMware VirtualCenter Server", "ProductVersion": "8.0"}
    storage = found[case.cluster("Storage")]
    assert storage.entityDisplayName == "Storage" and storage.assignedLicense.licenseKey == VSAN and storage.assignedLicense.used == 6
    first = found[case.host(1)]
    assert first.entityDisplayName == "esx-01.example.com" and pairs(first.properties) == {"ProductName": ESX, "ProductVersion": "8.0"}
    assert pairs(found[case.host(7)].properties)["ProductVersion"] == "6.0"
    assert case.assignments.QueryAssignedLicenses(case.cluster("Modern")) == []
    assert case.assignments.QueryAssignedLicenses("host-99999") == []


def test_hosts_that_share_a_key_share_what_is_said_of_it(case: Case) -> None:
    one, two = case.assigned(case.host(1)).assignedLicense, case.assigned(case.host(2)).assignedLicense
    assert one.licenseKey == two.licenseKey and one.used == two.used == 5


def test_evaluation_is_told_with_the_assignment(case: Case) -> None:
    found = case.assigned(case.host(12))
    assert bare(found.assignedLicense) == (EVALUATION, "eval", "Product Evaluation", 0, None, "", [])
    told = pairs(found.properties)["Evaluation"]
    assert told.__class__ is vim.LicenseManager.EvaluationInfo
    assert pairs(told.properties) == {"expirationHours": 288, "expirationMinutes": 17280}
    spent = pairs(pairs(case.assigned(case.host(13)).properties)["Evaluation"].properties)
    assert spent == {"expirationHours": 0, "expirationMinutes": 0}
    case.sim.advance(2 * 86400)
    assert pairs(pairs(case.assigned(case.host(12)).properties)["Evaluation"].properties)["expirationHours"] == 240
    case.sim.act("license_option", name="evaluation_as", value=["date"])
    assert set(pairs(pairs(case.assigned(case.host(12)).properties)["Evaluation"].properties)) == {"expirationDate"}


def test_the_evaluation_clock_stands_still_while_a_key_is_in_force(case: Case) -> None:
    case.assign(case.host(12), TWO)
    case.sim.advance(5 * 86400)
    case.assignments.RemoveAssignedLicense(case.host(12))
    assert case.sim.state()["hosts"]["esx-12.example.com"]["license"]["evaluation_days"] == 12.0
    assert case.key_of(case.host(12)) == EVALUATION


def test_removing_an_assignment(case: Case) -> None:
    case.assignments.RemoveAssignedLicense(case.host(1))
    assert case.key_of(case.host(1)) == EVALUATION and case.listed(RIGHT).used == 4
    case.sim.act("evaluation_days", "esx-02*", days=0)
    case.assignments.RemoveAssignedLicense(case.host(2))
    assert case.key_of(case.host(2)) is None
    case.assignments.RemoveAssignedLicense(case.cluster("Storage"))
    assert case.assignments.QueryAssignedLicenses(case.cluster("Storage")) == []
    with pytest.raises(vim.fault.LicenseEntityNotFound) as caught:
        case.assignments.RemoveAssignedLicense("host-99999")
    assert caught.value.entityId == "host-99999"


def test_vcenters_own_evaluation(case: Case) -> None:
    case.assignments.RemoveAssignedLicense(case.uuid)
    assert case.assigned(case.uuid).assignedLicense.editionKey == "vcEval"
    assert pairs(case.manager.evaluation.properties)["expirationHours"] == 1440
    case.sim.act("license_option", name="vcenter_evaluation_edition", value="eval")
    assert case.assigned(case.uuid).assignedLicense.editionKey == "eval"
    case.assign(case.uuid, VCENTER)
    assert case.key_of(case.uuid) == VCENTER and case.manager.licensedEdition == "vc.standard.instance"


def test_no_licence_may_be_an_empty_one(case: Case) -> None:
    assert case.key_of(case.host(14)) is None
    case.sim.act("license_option", name="unlicensed", value="empty")
    assert bare(case.assigned(case.host(14)).assignedLicense) == EMPTY


def test_features_in_use_are_told(case: Case) -> None:
    told = pairs(case.assigned(case.host(17)).properties)["inUseFeatures"]
    assert [(one.key, one.value) for one in told] == [
        ("vmotion", "vMotion"),
        ("dvs", "vSphere Distributed Switch"),
        ("serialuri:2", "Remote virtual Serial Port Concentrator"),
    ]
    case.sim.act("license_option", name="in_use_features", value="each")
    rows = [one.value.key for one in case.assigned(case.host(17)).properties if one.key == "inUseFeatures"]
    assert rows == ["vmotion", "dvs", "serialuri:2"]


def test_changing_one_host_changes_no_other(case: Case) -> None:
    before = case.sim.state()["hosts"]
    rows = {one.entityId: SoapAdapter.SerializeToStr(one.properties) for one in case.assignments.QueryAssignedLicenses()}
    case.assign(case.host(2), TWO)
    case.sim.act("features_in_use", "esx-02*", features=["drs"])
    case.sim.act("evaluation_days", "esx-02*", days=3)
    case.sim.act("certificate", "esx-02*", days=1)
    after = case.sim.state()["hosts"]
    assert {name for name in before if before[name] != after[name]} == {"esx-02.example.com"}
    again = {one.entityId: SoapAdapter.SerializeToStr(one.properties) for one in case.assignments.QueryAssignedLicenses()}
    assert {entity for entity in rows if rows[entity] != again[entity]} == {case.host(2)}
    case.sim.reset()
    assert case.sim.state()["hosts"] == before


# ---- assignments that are refused -----------------------------------------------------------------------------------------------------
def test_unknown_entities_and_keys(case: Case) -> None:
    with pytest.raises(vim.fault.LicenseEntityNotFound) as caught:
        case.assign("host-99999", RIGHT)
    assert caught.value.entityId == "host-99999"
    for key in (UNKNOWN, UNLISTED, "abc"):
        with pytest.raises(vmodl.fault.InvalidArgument) as refused:
            case.assign(case.host(1), key)
        assert refused.value.invalidProperty == "licenseKey"
    case.sim.act("license_option", name="unlisted_assigned", value="entityId")
    with pytest.raises(vmodl.fault.InvalidArgument) as refused:
        case.assign(case.host(1), UNLISTED)
    assert refused.value.invalidProperty == "entityId"
    case.sim.act("license_option", name="unlisted_assigned", value="added")
    assert case.assign(case.host(1), UNLISTED).licenseKey == UNLISTED and UNLISTED in case.inventory()
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.assign(case.host(1), UNKNOWN)


def test_another_product(case: Case) -> None:
    for entity, key in ((case.uuid, RIGHT), (case.host(1), VCENTER), (case.host(1), VSAN), (case.cluster("Storage"), RIGHT)):
        before = case.key_of(entity)
        with pytest.raises(vmodl.fault.InvalidArgument) as caught:
            case.assign(entity, key)
        assert caught.value.invalidProperty == "licenseKey" and case.key_of(entity) == before
    case.sim.act("license_option", name="wrong_product", value="LicenseKeyEntityMismatch")
    with pytest.raises(MISMATCH):
        case.assign(case.uuid, RIGHT)


@pytest.mark.parametrize("refusal", ["LicenseKeyEntityMismatch", "InvalidEditionLicense", "InvalidArgument", "LicenseAssignmentFailed"])
def test_another_generation(case: Case, refusal: str) -> None:
    case.sim.act("license_option", name="wrong_generation", value=refusal)
    kind = VmomiSupport.GetWsdlType("urn:vim25", refusal)
    for entity, key in ((case.host(1), GEN70), (case.host(6), RIGHT), (case.host(7), GEN70), (case.uuid, VCENTER7)):
        with pytest.raises(kind) as caught:
            case.assign(entity, key)
        assert caught.value.__class__ is kind
    if refusal == "InvalidEditionLicense":
        assert caught.value.feature == "vc.standard.instance"
    case.assign(case.host(7), GEN60)
    case.assign(case.host(6), GEN70)


def test_no_room(case: Case) -> None:
    case.assign(case.host(14), TWO)
    for entity in (case.host(2), case.host(1)):  # two sockets, one socket
        with pytest.raises(vmodl.fault.NotEnoughLicenses) as caught:
            case.assign(entity, TWO)
        assert caught.value.__class__ is vmodl.fault.NotEnoughLicenses
    assert case.listed(TWO).used == 2 and case.key_of(case.host(2)) == RIGHT
    case.assign(case.host(14), TWO)  # its own share is not counted twice
    with pytest.raises(vmodl.fault.NotEnoughLicenses):
        case.assign(case.host(1), OVER)
    case.assign(case.host(4), UNLIMITED)
    assert case.listed(UNLIMITED).used == 2 + 4 and case.listed(CORES).used == 0
    case.sim.act("license_option", name="no_room", value="taken")
    assert case.assign(case.host(2), TWO).used == 4


def test_a_feature_in_use_that_the_edition_lacks(case: Case) -> None:
    with pytest.raises(vim.fault.LicenseDowngradeDisallowed) as caught:
        case.assign(case.host(17), STANDARD)
    assert caught.value.edition == "esx.standard.cpuPackage" and caught.value.entityId == case.host(17)
    assert [one.key for one in caught.value.features] == ["dvs", "serialuri:2"]
    assert isinstance(caught.value, vmodl.fault.NotEnoughLicenses)
    case.sim.act("features_in_use", "esx-17*", features=["vmotion"])
    assert case.assign(case.host(17), STANDARD).used == 2


def test_an_expired_key(case: Case) -> None:
    with pytest.raises(vim.fault.LicenseExpired) as caught:
        case.assign(case.host(1), EXPIRED)
    assert caught.value.licenseKey == EXPIRED
    case.sim.advance(11 * 86400)
    with pytest.raises(vim.fault.LicenseExpired):
        case.assign(case.host(1), TEN_DAYS)
    with pytest.raises(vim.fault.LicenseExpired):
        case.assign(case.host(13), EVALUATION)
    case.sim.act("license_option", name="expired_key", value="taken")
    case.assign(case.host(1), EXPIRED)


def test_every_refusal_that_an_option_may_name_exists() -> None:
    with running("licensing") as made:
        for name in ("wrong_product", "wrong_generation", "no_room", "feature_in_use", "expired_key", "file_assigned"):
            with pytest.raises(ScenarioError, match="did you mean"):
                LICENSE_OPTIONS[name]("NotEnoughLicense", name)
        for refusal in (
            "NotEnoughLicenses",
            "ExpiredFeatureLicense",
            "LicenseRestricted",
            "NoLicenseServerConfigured",
            "LicenseAssignmentFailed",
            "LicenseDowngradeDisallowed",
            "InvalidState",
            "NotSupported",
        ):
            made.sim.act("license_option", name="wrong_generation", value=refusal)
            with pytest.raises(VmomiSupport.GetWsdlType("urn:vim25", refusal)):
                made.assign(made.host(1), GEN70)
        made.sim.act("license_option", name="expired_key", value="ExpiredFeatureLicense")
        with pytest.raises(vim.fault.ExpiredFeatureLicense) as caught:
            made.assign(made.host(1), EXPIRED)
        assert caught.value.expirationDate < made.si.CurrentTime() and caught.value.count == 20


def test_a_host_that_is_away_can_be_licensed(case: Case) -> None:
    case.assign(case.host(8), RIGHT)
    assert case.key_of(case.host(8)) == RIGHT
    case.sim.act("license_option", name="lost_host", value="refused")
    with pytest.raises(vmodl.fault.HostNotConnected):
        case.assign(case.host(8), TWO)


# ---- servers that say yes -------------------------------------------------------------------------------------------------------------
def test_an_assignment_that_does_nothing(case: Case) -> None:
    assert case.assign(case.host(12), IGNORED).licenseKey == IGNORED
    assert case.key_of(case.host(12)) == EVALUATION and case.listed(IGNORED).used is None
    case.sim.act("license_option", name="silently_ignored", value=True)
    case.assign(case.host(12), TWO)
    assert case.key_of(case.host(12)) == EVALUATION


def test_an_assignment_that_takes_its_time(case: Case) -> None:
    case.assign(case.host(12), DELAYED)
    assert case.key_of(case.host(12)) == EVALUATION
    case.sim.advance(31)
    assert case.key_of(case.host(12)) == DELAYED and case.listed(DELAYED).used == 2


# ---- capacity -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("unit", "sizes", "needed"),
    [
        ("cpuPackage", [(2, 64)], 2),
        ("cpuPackage:32core", [(2, 16)], 2),
        ("cpuPackage:32core", [(2, 32)], 2),
        ("cpuPackage:32core", [(1, 33)], 2),
        ("cpuPackage:32core", [(2, 48)], 4),
        ("cpuCore", [(2, 8)], 32),
        ("cores", [(4, 24)], 96),
        ("CPUCORE", [(1, 16)], 16),
        ("server", [(2, 32)], 1),
        ("instance", [(2, 32)], 1),
        ("cpuPackage:32core", [(2, 32), (4, 24)], 6),
    ],
)
def test_units(unit: str, sizes: list[tuple[int, int]], needed: int) -> None:
    assert units(unit, sizes) == needed


def test_what_is_used_follows_from_the_hosts(case: Case) -> None:
    used = {one.licenseKey: (one.used, one.total) for one in case.manager.licenses}
    assert used[RIGHT] == (5, 20) and used[LIMITED] == (4, 8) and used[CORES] == (96, 128) and used[OVER] == (4, 2)
    assert used[VCENTER] == (1, 1) and used[VSAN] == (6, 8) and used[GEN70] == (4, 10)


def test_sockets_and_cores_agree_everywhere(case: Case) -> None:
    paths = ["name", "summary.hardware", "hardware.cpuInfo", "hardware.cpuPkg", "licensableResource"]
    rows = {row["name"]: row for row in read(case.si, paths).values()}
    for name, sockets, cores in (("esx-01", 1, 8), ("esx-02", 2, 32), ("esx-03", 2, 64), ("esx-04", 4, 96), ("esx-05", 1, 64)):
        row = rows[f"{name}.example.com"]
        short, info = row["summary.hardware"], row["hardware.cpuInfo"]
        told = pairs(row["licensableResource"].resource)
        assert (sockets, cores) == (short.numCpuPkgs, short.numCpuCores) == (info.numCpuPackages, info.numCpuCores)
        assert (sockets, cores) == (told["numCpuPackages"], told["numCpuCores"])
        threads = [number for one in row["hardware.cpuPkg"] for number in one.threadId]
        assert len(row["hardware.cpuPkg"]) == sockets and threads == list(range(cores)) and short.numCpuThreads == cores
    parent = next(one for one in case.sim.world.hosts if one.state.name == "esx-18.example.com").above
    assert vim.ComputeResource(parent.moid, case.si._stub).summary.numCpuCores == 32


# ---- a host of its own ----------------------------------------------------------------------------------------------------------------
def esx_entry(made: Case) -> Any:
    (found,) = [
        one for one in made.manager.licenses if pairs(one.properties).get("ProductName") == ESX or one.licenseKey not in ("", EVALUATION)
    ]
    return found


def test_a_host_in_evaluation(solo: Case) -> None:
    rows = solo.manager.licenses
    found = [(one.licenseKey, one.name, pairs(one.properties).get("ProductName")) for one in rows]
    # The first of them is a trap for those who take licenses[0].
    assert found == [
        (EVALUATION, "Evaluation Mode", "VMware VSAN"),
        (EVALUATION, "Evaluation Mode", ESX),
        (EVALUATION, "Product Evaluation", None),
    ]
    told = pairs(rows[1].properties)
    assert rows[1].editionKey == "eval" and rows[1].used is None and told["expirationHours"] == 23 * 24
    assert pairs(solo.manager.evaluation.properties) == {"expirationHours": 552, "expirationMinutes": 33120}
    assert solo.manager.licensedEdition == "eval"
    solo.sim.advance(86400)
    assert pairs(solo.manager.evaluation.properties)["expirationHours"] == 528
    solo.sim.act("evaluation_days", days=0)
    assert pairs(esx_entry(solo).properties)["expirationHours"] == 0


def test_automatic_entries_are_of_8_only() -> None:
    with running({"kind": "esxi", "hosts": [{"name": "h", "profile": "7.0.3"}]}) as made:
        assert [one.editionKey for one in made.manager.licenses] == ["esx.enterprisePlus.cpuPackage"]


def test_a_host_gets_its_key(solo: Case) -> None:
    info = solo.manager.UpdateLicense(RIGHT, [vim.KeyValue(key="owner", value="lab")])
    assert info.licenseKey == RIGHT and info.used == 2 and list(info.labels) == []  # labels are ignored by ESX
    assert esx_entry(solo).licenseKey == RIGHT and solo.manager.licensedEdition == "esx.enterprisePlus.cpuPackage"
    solo.manager.UpdateLicense(TEN_DAYS)
    assert esx_entry(solo).licenseKey == TEN_DAYS
    solo.manager.RemoveLicense(TEN_DAYS)
    assert esx_entry(solo).licenseKey == EVALUATION and pairs(solo.manager.evaluation.properties)["expirationHours"] == 552
    solo.manager.UpdateLicense(RIGHT)
    solo.manager.UpdateLicense(EVALUATION)
    assert esx_entry(solo).licenseKey == EVALUATION
    with pytest.raises(vmodl.fault.NotSupported):
        solo.manager.UpdateLicense(RIGHT) and solo.manager.UpdateLicenseLabel(RIGHT, "a", "b")


@pytest.mark.parametrize("key", [GEN70, VCENTER, EXPIRED, UNKNOWN])
def test_a_host_refuses_a_key_that_is_not_its_own(solo: Case, key: str) -> None:
    solo.manager.UpdateLicense(RIGHT)
    before = solo.sim.state()
    for call in CALLS[1:]:
        info = call(solo.manager, key)
        assert bare(info) == EMPTY and pairs(info.properties) == {"diagnostic": DIAGNOSTIC}
    assert solo.sim.state() == before


def test_a_host_refuses_what_it_has_no_room_or_features_for(solo: Case) -> None:
    with pytest.raises(vmodl.fault.NotEnoughLicenses):
        solo.manager.UpdateLicense("FAKE0-UN0PK-V8000-CPUPK-00027")
    with pytest.raises(vim.fault.LicenseDowngradeDisallowed):
        solo.manager.UpdateLicense(STANDARD)
    assert solo.manager.UpdateLicense(IGNORED).licenseKey == IGNORED
    assert esx_entry(solo).licenseKey == EVALUATION


def test_a_host_that_is_acted_on_has_one_key(solo: Case) -> None:
    solo.sim.act("set_license", key=TEN_DAYS)
    solo.sim.act("set_license", key=RIGHT)
    assert [one["key"] for one in solo.sim.state()["licenses"]] == [masked(RIGHT)] and esx_entry(solo).licenseKey == RIGHT
    solo.sim.act("set_license", key="none")
    assert [one.licenseKey for one in solo.manager.licenses if pairs(one.properties).get("ProductName") == ESX] == []
    with pytest.raises(ScenarioError, match="stand-alone"):
        solo.sim.act("vcenter_license", key="evaluation")


# ---- 9.x ------------------------------------------------------------------------------------------------------------------------------
NINE: dict[str, Any] = {
    "name": "nine",
    "vcenter": {"profile": "9.0", "license": "file"},
    "licenses": [
        {"key": GEN90, "version": "9.0", "inventory": False},
        {"key": RIGHT, "version": "8.0", "inventory": False},
        {"key": VCENTER, "version": "9.0", "product": "VMware VirtualCenter Server", "inventory": False},
        {"key": UNLISTED, "version": "9.0", "product": "VMware Avi Load Balancer", "inventory": False},
    ],
    "hosts": [{"name": "nine", "profile": "9.0"}, {"name": "eight"}, {"name": "filed", "profile": "9.0", "license": "file"}],
}


def test_nine_takes_no_keys_of_its_own_for_core_products() -> None:
    with running(NINE) as made:
        assert pairs(pairs(made.assigned(made.host(1)).properties)["Evaluation"].properties)["expirationHours"] == 90 * 24
        assert pairs(pairs(made.assigned(made.host(2)).properties)["Evaluation"].properties)["expirationHours"] == 60 * 24
        filed = made.assigned(made.host(3))
        assert filed.assignedLicense.licenseKey == "" and filed.assignedLicense.editionKey == "vcf.cpuCore"
        assert pairs(filed.properties) == {"ProductName": ESX, "ProductVersion": "9.0"}
        for key in (GEN90, VCENTER):
            for call in CALLS[1:]:
                assert bare(call(made.manager, key)) == EMPTY
        made.sim.act("license_option", name="file_refusal", value="NotSupported")
        with pytest.raises(vmodl.fault.NotSupported):
            made.manager.AddLicense(GEN90)
        assert made.manager.AddLicense(RIGHT).licenseKey == RIGHT and made.manager.AddLicense(UNLISTED).licenseKey == UNLISTED
        assert made.assign(made.host(2), RIGHT).used == 8
        with pytest.raises(MISMATCH):
            made.assign(made.host(1), RIGHT)
        made.sim.act("license_option", name="wrong_generation", value="taken")
        with pytest.raises(vmodl.fault.NotSupported):
            made.assign(made.host(1), RIGHT)
        made.assignments.RemoveAssignedLicense(made.host(3))
        assert made.key_of(made.host(3)) == ""


def test_a_host_of_nine_takes_no_key_at_all() -> None:
    data = {"kind": "esxi", "licenses": NINE["licenses"][:2], "hosts": [{"name": "h", "profile": "9.0", "license": "file"}]}
    with running(data) as made:
        for key in (GEN90, RIGHT):
            assert bare(made.manager.UpdateLicense(key)) == EMPTY
        assert "vcf.cpuCore" in [one.editionKey for one in made.manager.licenses] and made.manager.licensedEdition == "vcf.cpuCore"
    with running({**data, "license_options": {"license_files": False}}) as made:
        assert made.manager.UpdateLicense(GEN90).licenseKey == GEN90


# ---- acting from outside --------------------------------------------------------------------------------------------------------------
def test_actions(case: Case) -> None:
    act = case.sim.act
    assert act("set_license", "esx-0[12]*", key=UNLISTED) == 2
    assert case.key_of(case.host(1)) == UNLISTED and case.listed(UNLISTED).used == 3 and case.listed(RIGHT).used == 2
    act("set_license", "esx-01*", key="evaluation")
    act("evaluation_days", "esx-01*", days=7)
    assert case.sim.state()["hosts"]["esx-01.example.com"]["license"]["evaluation_days"] == 7.0
    act("set_license", "esx-01*", key="none")
    assert case.key_of(case.host(1)) is None
    act("remove_license", key=UNLISTED)
    assert UNLISTED not in case.inventory() and case.key_of(case.host(2)) == EVALUATION
    act("add_license", key=UNLISTED)
    assert UNLISTED in case.inventory()
    act("vcenter_license", key="evaluation", days=1)
    assert case.key_of(case.uuid) == EVALUATION and case.sim.state()["license"]["evaluation_days"] == 1.0
    act("vcenter_license", key=VCENTER)
    assert case.key_of(case.uuid) == VCENTER


@pytest.mark.parametrize(
    ("do", "args", "words"),
    [
        ("set_license", {"key": RIGHT[:-1] + "2"}, "did you mean licenses"),
        ("set_license", {"key": "evalution"}, "did you mean evaluation"),
        ("remove_license", {"key": UNKNOWN}, "no key FAKE0"),
        ("license_option", {"name": "no_rom", "value": "taken"}, "did you mean no_room"),
        ("license_option", {"name": "no_room", "value": "NotEnoughLicense"}, "did you mean NotEnoughLicenses"),
        ("certificate", {"day": 3}, "did you mean days"),
        ("certificate", {"status": "goood"}, "did you mean good"),
    ],
)
def test_actions_that_cannot_be_understood(case: Case, do: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        case.sim.act(do, **args)
    assert RIGHT not in str(caught.value)


def test_the_end_of_a_licence_may_cost_the_connection() -> None:
    for expiry, wanted in (("nothing", "connected"), ("disconnects", "disconnected")):
        with running("licensing", expiry=expiry) as made:
            made.sim.advance(13 * 86400)
            hosts = made.sim.state()["hosts"]
            for name in ("esx-09", "esx-10", "esx-12", "esx-13"):
                assert hosts[f"{name}.example.com"]["connection"] == wanted
            assert hosts["esx-01.example.com"]["connection"] == "connected"


# ---- certificates ---------------------------------------------------------------------------------------------------------------------
def certificate(made: Case, host: str) -> Any:
    manager: Any = vim.HostSystem(host, made.si._stub).configManager.certificateManager
    return manager.certificateInfo


def test_certificates(case: Case) -> None:
    def info(number: int) -> Any:
        return certificate(case, case.host(number))

    now = case.si.CurrentTime()
    fine, near, over, old = info(1), info(9), info(8), info(7)
    assert fine.status == "good" and fine.kind == "Machine" and near.status == "expirationImminent" and over.status == "expired"
    assert abs((fine.notAfter - now).days - 4 * 365) <= 1 and (near.notAfter - now).days in (11, 12) and over.notAfter < now
    assert fine.notBefore < now
    assert "CN=esx-01.example.com" in fine.subject and fine.issuer.endswith("DC=vsphere,CN=CA") and "O=vcenter.example.com" in fine.issuer
    assert old.kind is None and old.status == "good"  # 6.7 does not tell the kind
    case.sim.advance(13 * 86400)
    assert info(9).status == "expired"
    case.sim.act("certificate", "esx-09*", days=100, issuer="CN=Example CA")
    assert info(9).status == "expiringShortly" and info(9).issuer == "CN=Example CA" and info(1).issuer != "CN=Example CA"
    case.sim.act("certificate", "esx-09*", status="unknown")
    assert info(9).status == "unknown"
    assert (info(9).notAfter - case.si.CurrentTime()).days in (99, 100)


def test_a_host_of_its_own_has_signed_itself(solo: Case) -> None:
    assert certificate(solo, solo.host(1)).issuer == "O=VMware Installer"


def test_certificates_need_their_privilege() -> None:
    with running("licensing", user="readonly@vsphere.local") as made:
        with pytest.raises(vim.fault.NoPermission) as caught:
            certificate(made, made.host(1))
        assert caught.value.privilegeId == "Certificate.Manage"


# ---- privileges and secrets -----------------------------------------------------------------------------------------------------------
def test_privileges() -> None:
    with running("licensing", user="readonly@vsphere.local") as made:
        assert RIGHT in made.inventory() and made.key_of(made.host(1)) == RIGHT and made.manager.evaluation is not None
        entity = made.host(1)
        for call in (
            *(lambda call=call: call(made.manager, RIGHT) for call in CALLS),
            lambda: made.manager.RemoveLicense(RIGHT),
            lambda: made.manager.UpdateLicenseLabel(RIGHT, "a", "b"),
            lambda: made.manager.RemoveLicenseLabel(RIGHT, "a"),
            lambda: made.assign(entity, RIGHT),
            lambda: made.assignments.RemoveAssignedLicense(entity),
        ):
            with pytest.raises(vim.fault.NoPermission) as caught:
                call()
            assert caught.value.privilegeId == "Global.Licenses"
        made.sim.act("license_option", name="licenses_without_privilege", value="empty")
        assert made.manager.licenses == []


def test_keys_are_nowhere_in_clear(case: Case) -> None:
    case.manager.AddLicense(UNLISTED)
    case.manager.AddLicense("not a key at all")
    case.assignments.QueryAssignedLicenses(RIGHT)  # a key in the wrong place
    case.assign(case.host(14), UNLISTED)
    with contextlib.suppress(vmodl.MethodFault):
        case.assign(case.host(14), VCENTER)
    case.manager.RemoveLicense(UNLISTED)
    rows = [entry.as_dict() for entry in case.sim.journal]
    told = [row["args"]["licenseKey"] for row in rows if "licenseKey" in row["args"]]
    assert told[:3] == ["FAKE0-*****-*****-*****-00022", "********", "FAKE0-*****-*****-*****-00022"]
    everything = json.dumps([rows, case.sim.state(), case.sim.summary(), case.sim.errors])
    everything += "".join(str(event) for event in case.sim.world.events)
    for key in case.sim.world.licenses.known:
        assert key not in everything and masked(key).count("*") == 15
    assert "not a key at all" not in everything


def test_dumps_tell_keys_apart_and_are_comparable(case: Case) -> None:
    hosts = case.sim.state()["hosts"]
    one, two, other = (hosts[f"esx-{n:02d}.example.com"]["license"]["fingerprint"] for n in (1, 2, 3))
    assert one == two != other and len(one) == 8
    first = case.sim.state()
    time.sleep(0.02)
    assert case.sim.state() == first
    assert Simulator("licensing").state() == first


def test_the_journal_and_faults_know_the_host_of_an_assignment(case: Case) -> None:
    case.sim.fault(method="UpdateAssignedLicense", host="esx-02*", fault="NotEnoughLicenses")
    case.assign(case.host(1), RIGHT)
    with pytest.raises(vmodl.fault.NotEnoughLicenses):
        case.assign(case.host(2), RIGHT)
    rows = [(entry.host, entry.status, entry.write) for entry in case.sim.journal if entry.method == "UpdateAssignedLicense"]
    assert rows == [("esx-01.example.com", "ok", True), ("esx-02.example.com", "NotEnoughLicenses", True)]


def test_events_tell_what_happened(case: Case) -> None:
    case.manager.AddLicense(UNLISTED)
    case.assign(case.host(1), UNLISTED)
    told = [event.eventTypeId for event in case.sim.world.events if event.__class__ is vim.event.EventEx]
    assert told == ["com.vmware.license.AddLicenseEvent", "com.vmware.license.AssignLicenseEvent"]


# ---- scenarios ------------------------------------------------------------------------------------------------------------------------
KEY = {"key": RIGHT}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"licences": []}, "did you mean license"),
        ({"licenses": [{**KEY, "editon": "x"}]}, "did you mean edition"),
        ({"licenses": [{**KEY, "refused": {"diagnose": "x"}}]}, "did you mean diagnostic"),
        ({"licenses": [{"edition": "x"}]}, "licenses.0.: the key 'key' is missing"),
        ({"licenses": [{"key": RIGHT.lower()}]}, "without B, I, O and S"),
        ({"licenses": [{"key": RIGHT.replace("R", "S")}]}, "without B, I, O and S"),
        ({"licenses": [KEY, KEY]}, "is there twice"),
        ({"licenses": [{**KEY, "expires": "soon"}]}, "must be a number"),
        ({"license_options": {"wrong_genration": "taken"}}, "did you mean wrong_generation"),
        ({"license_options": {"number_type": "short"}}, "int"),
        ({"licenses": [KEY], "hosts": [{"license": RIGHT[:-1] + "2"}]}, "did you mean licenses.0."),
        ({"hosts": [{"license": "evaluaton"}]}, "did you mean evaluation"),
        ({"licenses": [{**KEY, "refused": {}}], "hosts": [{"license": RIGHT}]}, "no key of `licenses`"),
        ({"vcenter": {"vsan_licenses": {"Nowhere": RIGHT}}}, "no cluster 'Nowhere'"),
        ({"hosts": [{"sockets": 2, "cores": 7}]}, "the same number on each"),
        ({"hosts": [{"socket": 2}]}, "did you mean sockets"),
        ({"hosts": [{"certificate": {"status": "god"}}]}, "did you mean good"),
    ],
)
def test_scenarios_that_cannot_be_understood(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        Simulator({"hosts": [{"name": "h"}], **data})
    assert RIGHT not in str(caught.value)


def test_a_fleet_may_be_scaled_down() -> None:
    assert Simulator("licensing", hosts=1).state()["vsan_licenses"].keys() != {"Storage"}


def test_every_option_has_a_default_in_the_profile() -> None:
    assert set(Simulator("tiny").world.profile.license_options) == set(LICENSE_OPTIONS)


def test_a_fleet_is_cheap_to_ask() -> None:
    """What does not change is made once, and written once."""
    sim = Simulator({"hosts": [{"count": 1000, "name": "h{n}"}]})
    manager: Any = sim.world.objects["LicenseAssignmentManager"]
    first, second = (manager.QueryAssignedLicenses(None) for _turn in range(2))
    assert len(first) == 1001 and all(one is two for one, two in zip(first, second, strict=True))
    assert len({id(one.assignedLicense) for one in first}) == 2
    sim.act("set_license", "h1", key="evaluation")
    third = manager.QueryAssignedLicenses(None)
    assert len({id(one.assignedLicense) for one in third}) == 3 and third[0] is first[0]

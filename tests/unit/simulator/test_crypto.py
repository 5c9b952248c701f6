# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption as pyVmomi sees it. Every case is produced by what happens to a key server, a host or vCenter, and a KMIP client that knows
nothing of the simulator reads the same states from the key server."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import SoapAdapter, vim, vmodl

from tests.simulator import ScenarioError, Simulator
from tests.simulator import key_server as key_servers
from tests.simulator.__main__ import coverage_table
from tests.simulator.crypto import LOCKED, UNLOCKED
from tests.simulator.scenario import CRYPTO_OPTIONS, FOLDER
from tests.unit.simulator.conftest import Raw, client, read

pytest.importorskip("kmip", reason="PyKMIP is not installed")

KMS_A, KMS_B = "kms-a.example.com", "kms-b.example.com"
VM, HOST, KMS = "com.vmware.vc.vm.Crypto.", "com.vmware.vc.host.Crypto.", "com.vmware.vc.kms.crypto."


class Case:
    def __init__(self, sim: Simulator, si: Any) -> None:
        self.sim, self.si = sim, si
        self.manager = si.content.cryptoManager
        self.act = sim.act

    def all(self) -> dict[str, dict[str, Any]]:
        paths = [
            "name",
            "runtime.cryptoState",
            "runtime.connectionState",
            "runtime.powerState",
            "config.keyId",
            "summary.config.vmPathName",
        ]
        return {row["name"]: row for row in read(self.si, paths, kind=vim.VirtualMachine).values()}

    def vm(self, name: str) -> Any:
        view = self.si.content.viewManager.CreateContainerView(self.si.content.rootFolder, [vim.VirtualMachine], True)
        return next(one for one in view.view if one.name == name)

    def host(self, number: int) -> Any:
        return self.si.content.searchIndex.FindByDnsName(None, f"esx-{number:02d}.example.com", False)

    def seen(self, name: str) -> tuple[str | None, str]:
        runtime = self.vm(name).runtime
        return runtime.cryptoState, str(runtime.connectionState)

    def locked(self) -> set[str]:
        return {name for name, row in self.all().items() if row.get("runtime.cryptoState") == "locked"}

    def events(self, *ids: str) -> list[Any]:
        return list(self.si.content.eventManager.QueryEvents(vim.event.EventFilterSpec(eventTypeId=list(ids))))

    def about(self, name: str) -> list[str]:
        """Ids of the lock events of a machine, oldest first."""
        return [event.eventTypeId for event in self.events(*LOCKED, UNLOCKED) if event.vm.name == name]

    def key(self, name: str, provider: str | None = None) -> Any:
        """The CryptoKeyId that a label stands for, as somebody has it from an earlier list."""
        for server in self.sim.key_servers.values():
            if name in server["keys"]:
                return key_id(server["keys"][name], provider or server["name"].partition(".")[0])
        raise AssertionError(name)

    def status(self, *keys: Any, bits: int = 1) -> Any:
        return self.manager.QueryCryptoKeyStatus(list(keys), bits)

    def reason(self, key: Any) -> str | None:
        (found,) = self.status(key)
        assert found.keyAvailable is (found.reason is None)
        return found.reason

    def unlock(self, name: str) -> Any:
        return done(self.vm(name).CryptoUnlock_Task())

    def provider(self, name: str) -> Any:
        return vim.encryption.KeyProviderId(id=name)

    def on_kms(self, server: str, key: str) -> str:
        """The state of a key by a KMIP client of its own; "gone" when there is none."""
        from kmip.core import enums
        from kmip.pie.client import ProxyKmipClient
        from kmip.pie.exceptions import KmipOperationFailure

        where = self.sim.key_servers[server]
        found = ProxyKmipClient(
            hostname=where["address"],
            port=where["port"],
            cert=where["certificate"],
            key=where["key"],
            ca=where["ca"],
            ssl_version="PROTOCOL_TLSv1_2",
            kmip_version=enums.KMIPVersion.KMIP_1_4,
        )
        with found:
            try:
                _uid, attributes = found.get_attributes(key, ["State"])
            except KmipOperationFailure as exc:
                assert exc.reason is enums.ResultReason.ITEM_NOT_FOUND
                return "gone"
            return str(attributes[0].attribute_value.value.name).lower()


def key_id(key: str, provider: str | None) -> Any:
    return vim.encryption.CryptoKeyId(keyId=key, providerId=vim.encryption.KeyProviderId(id=provider) if provider else None)


def plain(key: Any) -> tuple[str, str]:
    return key.providerId.id, key.keyId


def done(task: Any) -> Any:
    """A task's result; its fault is raised."""
    for _attempt in range(500):
        info = task.info
        if info.state in ("success", "error"):
            break
        time.sleep(0.005)
    if info.state == "error":
        raise info.error
    return info.result


@contextlib.contextmanager
def running(scenario: Any = "encrypted", user: str | None = None, **options: Any) -> Iterator[Case]:
    with Simulator(scenario) as sim:
        for name, value in options.items():
            sim.act("crypto_option", name=name, value=value)
        with client(sim, user) as si:
            yield Case(sim, si)
        assert sim.errors == []


@pytest.fixture(scope="module")
def scenario() -> Any:
    return "encrypted"


@pytest.fixture
def case(sim: Simulator, si: Any) -> Case:
    return Case(sim, si)


@pytest.fixture
def option(case: Case) -> Callable[..., None]:
    def change(**options: Any) -> None:
        for name, value in options.items():
            case.act("crypto_option", name=name, value=value)

    return change


# ---- what there is -----------------------------------------------------------------------------------------------------------------
def test_coverage_lists_the_operations() -> None:
    table = coverage_table()
    servers, keys = "Cryptographer.ManageKeyServers", "Cryptographer.ManageKeys"
    for name, privilege, writes in (
        ("ListKmipServers", servers, ""),
        ("ListKmsClusters", servers, ""),
        ("RetrieveKmipServersStatus_Task", servers, ""),
        ("IsKmsClusterActive", servers, ""),
        ("QueryCryptoKeyStatus", keys, ""),
        ("RegisterKmipServer", servers, "yes"),
        ("UploadKmipServerCert", servers, "yes"),
        ("UploadClientCert", servers, "yes"),
        ("ListKeys", keys, ""),
        ("GenerateKey", keys, "yes"),
    ):
        assert f"| CryptoManagerKmip | {name} | {privilege} | {writes} |" in table
    assert "| VirtualMachine | CryptoUnlock_Task | Cryptographer.RegisterVM | yes |" in table
    assert f"| CryptoManagerHost | GetCryptoKeyStatus | {keys} |  | host must answer |" in table
    assert "| HostSystem | ConfigureCryptoKey | Cryptographer.RegisterHost | yes | host must answer |" in table


def test_ids_and_properties(case: Case) -> None:
    assert case.manager._moId == "CryptoManager" and isinstance(case.manager, vim.encryption.CryptoManagerKmip)
    assert case.manager.enabled is True
    own = case.host(1).configManager.cryptoManager
    assert isinstance(own, vim.encryption.CryptoManagerHostKMS) and own._moId.startswith("CryptoManagerHost-") and own.enabled
    assert not case.host(6).configManager.cryptoManager.enabled
    assert [(str(case.host(n).runtime.cryptoState), case.host(n).runtime.cryptoKeyId is None) for n in (1, 4, 6)] == [
        ("safe", False),
        ("safe", False),
        ("prepared", True),
    ]


def test_providers(case: Case) -> None:
    rows = {one.clusterId.id: one for one in case.manager.kmipServers}
    assert {name: one.managementType for name, one in rows.items()} == {
        "kms-a": "vCenter",
        "kms-b": "vCenter",
        "native": "nativeProvider",
        "trusted": "trustAuthority",
    }
    assert [name for name, one in rows.items() if one.useAsDefault] == ["kms-a"]
    (server,) = rows["kms-a"].servers
    where = case.sim.key_servers[KMS_A]
    assert (server.name, server.address, server.port) == (KMS_A, where["address"], where["port"])
    assert rows["native"].hasBackup is True and rows["native"].servers == []
    assert [one.clusterId.id for one in case.manager.ListKmipServers(limit=2)] == ["kms-a", "kms-b"]
    listed = case.manager.ListKmsClusters
    assert [one.clusterId.id for one in listed(managementTypeFilter=1)] == ["kms-a", "kms-b"]
    assert [one.clusterId.id for one in listed(managementTypeFilter=2 | 8)] == ["native", "trusted"]
    assert listed()[0].servers == [] and listed(includeKmsServers=True)[0].servers != []
    case.act("stop_key_server", server=KMS_B)
    assert [one.clusterId.id for one in listed(managementTypeFilter=1, statusFilter=2)] == ["kms-b"]
    assert [one.clusterId.id for one in listed(managementTypeFilter=1, statusFilter=1)] == ["kms-a"]


def test_keys_of_machines_disks_and_hosts(case: Case) -> None:
    vm = case.vm("db-02")
    disks: list[Any] = [one for one in vm.config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk)]
    assert plain(vm.config.keyId) == plain(disks[0].backing.keyId) == ("kms-b", case.key("db-02").keyId)
    assert plain(disks[1].backing.keyId) == plain(case.key("db-02/disk-2"))
    assert disks[1].backing.fileName == "[datastore-DC1] db-02/db-02_1.vmdk" and disks[1].capacityInKB == 200 << 20
    plain_vm = case.vm("plain-01")
    assert plain_vm.runtime.cryptoState is None and plain_vm.config.keyId is None
    assert case.vm("shared-1").config.keyId.keyId == case.vm("shared-2").config.keyId.keyId
    listed = {plain(one) for one in case.manager.ListKeys()}
    assert {plain(case.key(name)) for name in ("app-01", "db-01/disk-2", "host/esx-01.example.com")} <= listed
    assert plain(case.key("unsafe-01")) not in listed and len(case.manager.ListKeys(limit=3)) == 3
    # The same number is another key at another provider.
    assert case.key("app-01").keyId in case.sim.key_servers[KMS_B]["keys"].values()


def test_an_old_client_sees_no_crypto_state(case: Case) -> None:
    with client(case.sim, version="vim25/6.5") as si:
        vm = Case(case.sim, si).vm("app-01")
        assert vm.runtime.cryptoState is None and plain(vm.config.keyId) == plain(case.key("app-01"))


def test_a_quiet_fleet_has_one_machine_that_waits(case: Case) -> None:
    assert case.locked() == {"unsafe-01"}  # its host never was in safe mode
    assert case.about("unsafe-01") == [VM + "VMLocked.KeyMissingOnHost"]


# ---- the cases of facts.md 4.4 -----------------------------------------------------------------------------------------------------
def test_no_key_server_locks_a_machine_by_itself(case: Case) -> None:
    case.act("stop_key_server", server=KMS_A)
    assert case.locked() == {"unsafe-01"} and case.seen("app-01") == ("unlocked", "connected")
    assert [event.eventTypeId for event in case.events(KMS + "Unreachable")] == [KMS + "Unreachable"]


def test_case_1_and_2_the_provider_is_away_and_comes_back(case: Case) -> None:
    case.act("stop_key_server", server=KMS_A)
    case.act("reboot_host", host="esx-01*")
    assert case.seen("app-01") == ("locked", "invalid")
    assert case.locked() == {"app-01", "app-03", "db-01", "unsafe-01"}
    assert case.about("app-01") == [VM + "VMLocked.KMSClusterError"]
    assert case.events(HOST + "ReqEnable.KMSClusterError")[-1].host.name == "esx-01.example.com"
    assert case.manager.IsKmsClusterActive(case.provider("kms-a")) is False and case.manager.IsKmsClusterActive() is False
    assert case.manager.IsKmsClusterActive(case.provider("kms-b")) is True
    assert case.reason(case.key("app-01")) == "KeyStateClusterUnreachable"
    (status,) = done(case.manager.RetrieveKmipServersStatus_Task([case.manager.kmipServers[0]]))
    assert (str(status.overallStatus), str(status.servers[0].status)) == ("red", "red") and status.servers[0].certInfo is None
    assert str(case.host(1).runtime.cryptoState) == "incapable"
    with pytest.raises(vim.fault.InvalidVmState) as refused:
        case.unlock("app-01")
    assert refused.value.vm.name == "app-01"
    # Case 2: the link is back, and nothing has opened.
    case.act("start_key_server", server=KMS_A)
    assert case.manager.IsKmsClusterActive(case.provider("kms-a")) is True
    assert case.seen("app-01") == ("locked", "invalid") and case.reason(case.key("app-01")) is None
    case.unlock("app-01")
    assert case.seen("app-01") == ("unlocked", "connected") and case.locked() == {"app-03", "db-01", "unsafe-01"}
    assert case.about("app-01") == [VM + "VMLocked.KMSClusterError", UNLOCKED]
    assert str(case.host(1).runtime.cryptoState) == "safe"
    assert case.events(HOST + "Enabled")[-1].host.name == "esx-01.example.com"


def test_case_1_the_way_is_cut_for_vcenter_only(case: Case) -> None:
    case.act("cut_key_server", server=KMS_A)
    assert not case.manager.IsKmsClusterActive(case.provider("kms-a"))
    assert case.on_kms(KMS_A, case.key("app-01").keyId) == "active"  # others still reach it
    case.act("reboot_host", host="esx-01*")
    assert case.about("app-01") == [VM + "VMLocked.KMSClusterError"]
    case.act("cut_key_server", server=KMS_A, cut=False)
    case.unlock("app-01")


@pytest.mark.parametrize(
    ("action", "state", "reason"),
    [
        ("destroy_key", "gone", "KeyStateMissingInKMS"),
        ("deactivate_key", "deactivated", "KeyStateNotActiveOrEnabled"),
        ("compromise_key", "compromised", "KeyStateNotActiveOrEnabled"),
    ],
)
def test_case_3_the_key_is_gone_or_inactive(case: Case, action: str, state: str, reason: str) -> None:
    key = case.key("app-01")
    case.act(action, key="app-01", server=KMS_A)
    assert case.on_kms(KMS_A, key.keyId) == state
    assert case.reason(key) == reason and case.seen("app-01") == ("unlocked", "connected")
    case.act("reboot_host", host="esx-01*")
    assert case.seen("app-01") == ("locked", "invalid") and case.seen("app-03") == ("unlocked", "connected")
    assert case.about("app-01") == [VM + "VMLocked.KeyMissingOnKMS"]
    assert case.manager.IsKmsClusterActive(case.provider("kms-a")) is True
    assert len(case.events(KMS + "SendKeyError.KeyMissingOnKMS")) == 1
    with pytest.raises(vim.fault.InvalidVmState):
        case.unlock("app-01")
    with pytest.raises(ScenarioError, match="refuses|has no key"):
        case.act("activate_key", key="app-01", server=KMS_A)  # KMIP revives nothing


def test_case_3_a_key_that_is_not_active_yet(case: Case) -> None:
    """A pre-active key is what KMIP can help: activating it opens the way."""
    server = case.sim.world.crypto.server(KMS_A)
    with server.session() as admin:
        (made,) = admin.create(["fresh"], activate=False)
    server.touched = True
    key = key_id(made, "kms-a")
    assert case.on_kms(KMS_A, made) == "pre_active" and case.reason(key) == "KeyStateNotActiveOrEnabled"
    case.act("activate_key", key=made, server=KMS_A)
    assert case.on_kms(KMS_A, made) == "active" and case.reason(key) is None


def test_case_4_a_new_vcenter_without_providers(case: Case) -> None:
    uuid = case.si.content.about.instanceUuid
    case.act("replace_vcenter", name="vcenter-2.example.com")
    with pytest.raises(vim.fault.NotAuthenticated):
        case.manager.ListKeys()
    with client(case.sim) as si:
        new = Case(case.sim, si)
        assert si.content.about.instanceUuid != uuid and new.manager.kmipServers == []
        assert new.seen("app-01") == ("unlocked", "connected")  # the host still has the key
        assert new.vm("app-01").permission == [] and new.vm("app-01").customValue == []
        assert new.vm("app-01").config.annotation == "billing"  # that one lies in the file
        new.act("reboot_host", host="esx-01*")
        assert new.seen("app-01") == ("locked", "invalid")
        assert new.about("app-01") == [VM + "VMLocked.KMSClusterError"]
        assert new.reason(new.key("app-01")) == "KeyStateClusterInvalid"
        with pytest.raises(vim.fault.InvalidState):
            new.unlock("app-01")
        trust(new, "kms-a", KMS_A)
        assert new.reason(new.key("app-01")) is None
        new.unlock("app-01")
        assert new.seen("app-01") == ("unlocked", "connected")


def test_case_4_a_new_vcenter_with_another_name_for_the_provider(case: Case) -> None:
    case.act("replace_vcenter", providers=[{"name": "kms-of-ours", "servers": [KMS_A], "default": True}])
    case.act("reboot_host", host="esx-01*")
    with client(case.sim) as si:
        new = Case(case.sim, si)
        assert new.manager.IsKmsClusterActive() is True
        assert new.reason(new.key("app-01")) == "KeyStateClusterInvalid"
        assert new.reason(new.key("app-01", "kms-of-ours")) is None
        assert new.seen("app-01") == ("locked", "invalid")
        # The host key went with the old provider: vCenter sets a new one.
        assert new.events(HOST + "HostKey.NewKey.KMSClusterError")[-1].host.name == "esx-01.example.com"
        new.act("rename_provider", old="kms-of-ours", new="kms-a")
        new.unlock("app-01")
        assert new.seen("app-01") == ("unlocked", "connected")


def test_case_4_seen_from_the_host() -> None:
    with running("standalone_encrypted") as solo:
        assert isinstance(solo.manager, vim.encryption.CryptoManagerHost) and solo.manager._moId == "ha-crypto-manager"
        assert solo.locked() == {"app-01", "app-02"} and solo.seen("plain-01") == (None, "connected")
        wanted = [solo.key("app-01"), solo.key("app-01/disk-2")]
        assert [(one.present, one.accessGranted) for one in solo.manager.GetCryptoKeyStatus(wanted)] == [(False, None)] * 2
        assert str(solo.vm("app-01").runtime.host.runtime.cryptoState) == "incapable" and solo.events(*LOCKED) == []
        with pytest.raises(vim.fault.InvalidVmState):
            solo.unlock("app-01")
        given = [material(solo, "app-01"), material(solo, "app-01/disk-2")]
        with pytest.raises(vim.fault.InvalidState):
            solo.manager.AddKeys(given)  # not in safe mode
        solo.manager.CryptoManagerHostPrepare()
        solo.manager.CryptoManagerHostEnable(material(solo, "host/esx-solo.example.com"))
        wrong = material(solo, "app-02")
        wrong.keyData = base64.b64encode(b"x" * 32).decode()
        assert [one.success for one in solo.manager.AddKeys([*given, wrong])] == [True] * 3
        assert solo.locked() == {"app-01", "app-02"}
        solo.vm("app-01").Reload()
        solo.vm("app-02").Reload()
        assert solo.locked() == {"app-02"}  # a wrong key opens nothing
        assert [one.present for one in solo.manager.GetCryptoKeyStatus(wanted)] == [True, True]
        text = json.dumps([entry.as_dict() for entry in solo.sim.journal]) + json.dumps(solo.sim.state())
        assert given[0].keyData not in text and "********" in text


def test_case_5_the_key_is_missing_on_the_host_only(case: Case) -> None:
    case.act("forget_keys", host="esx-01*", vm="app-01", what="home")
    assert case.seen("app-01") == ("locked", "invalid") and case.about("app-01") == [VM + "VMLocked.KeyMissingOnHost"]
    key, host = case.key("app-01"), case.host(1).configManager.cryptoManager
    assert case.reason(key) is None and host.GetCryptoKeyStatus([key])[0].present is False
    case.unlock("app-01")
    (found,) = host.GetCryptoKeyStatus([key])
    assert (found.present, found.managementType, found.accessGranted) == (True, "external", True)
    assert case.seen("app-01") == ("unlocked", "connected")


def test_case_5_a_reboot_that_vcenter_does_not_notice(case: Case, option: Callable[..., None]) -> None:
    option(push_on_connect=False)
    case.act("reboot_host", host="esx-02*")
    assert case.about("app-02") == [VM + "VMLocked.KeyMissingOnHost"] and case.locked() == {"app-02", "app-04", "snap-01", "unsafe-01"}
    assert case.host(2).configManager.cryptoManager.ListKeys() == []
    case.unlock("app-02")
    assert case.seen("app-02") == ("unlocked", "connected")


def test_case_6_only_a_disks_key_is_gone(case: Case) -> None:
    disk = case.key("db-01/disk-2")
    case.act("destroy_key", key="db-01/disk-2")
    case.act("reboot_host", host="esx-01*")
    assert case.seen("db-01") == ("unlocked", "connected") and case.about("db-01") == []
    with pytest.raises(vim.fault.EncryptionKeyRequired, match=r"The disk \[\[datastore-DC1\] db-01/db-01_1.vmdk\] is encrypted") as refused:
        done(case.vm("db-01").PowerOnVM_Task())
    assert [plain(one) for one in refused.value.requiredKey] == [plain(disk)]
    assert [one.reason for one in case.status(case.key("db-01"), disk)] == [None, "KeyStateMissingInKMS"]
    case.unlock("db-01")  # the home is open; that is all it is about


def test_case_6_a_disks_key_is_fetched_for_power_on(case: Case, option: Callable[..., None]) -> None:
    case.act("forget_keys", host="esx-01*", vm="db-01", what="disks")
    option(power_on_fetches_keys=False, disk_key_fault="GenericVmConfigFault")
    with pytest.raises(vim.fault.GenericVmConfigFault, match="a required key was not found"):
        done(case.vm("db-01").PowerOnVM_Task())
    option(power_on_fetches_keys=True)
    done(case.vm("db-01").PowerOnVM_Task())
    assert case.vm("db-01").runtime.powerState == "poweredOn"
    done(case.vm("db-01").PowerOffVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        done(case.vm("db-01").PowerOffVM_Task())


def test_case_7_native_and_trust_authority(case: Case) -> None:
    keys = {name: case.vm(name).config.keyId for name in ("native-01", "trusted-01")}
    # "vCenter cannot tell", also of keys that are well.
    assert case.reason(keys["native-01"]) == "KeyStateManagedByNKP" and case.seen("native-01") == ("unlocked", "connected")
    assert case.reason(keys["trusted-01"]) == "KeyStateManagedByTrustAuthority"
    found = case.host(5).configManager.cryptoManager.GetCryptoKeyStatus(list(keys.values()))[0]
    assert found.managementType == "internal"
    case.act("reboot_host", host="esx-05*")
    assert not {"native-01", "trusted-01"} & case.locked()
    case.act("provider_available", provider="trusted", available=False)
    case.act("reboot_host", host="esx-05*")
    assert case.about("trusted-01") == [VM + "VMLocked.TAKMSClusterUnavaliable"]
    case.act("provider_available", provider="trusted")
    case.unlock("trusted-01")
    case.act("forget_keys", host="esx-05*", vm="trusted-01")
    assert case.about("trusted-01")[-1] == VM + "VMLocked.TAKeyMissingOnHost"
    done(case.manager.RetrieveKmipServersStatus_Task())


def test_case_8_a_host_that_is_not_in_safe_mode(case: Case, option: Callable[..., None]) -> None:
    with pytest.raises(vim.fault.InvalidVmState):
        case.unlock("unsafe-01")
    assert case.events(HOST + "SendKeyError.HostError")[-1].host.name == "esx-06.example.com"
    case.host(6).ConfigureCryptoKey()
    runtime = case.host(6).runtime
    assert str(runtime.cryptoState) == "safe" and case.on_kms(KMS_A, runtime.cryptoKeyId.keyId) == "active"
    case.unlock("unsafe-01")
    case.act("crypto_mode", host="esx-06*", mode="incapable")
    assert case.seen("unsafe-01") == ("locked", "invalid")
    option(unlock_enables_host=True)
    case.unlock("unsafe-01")
    assert str(case.host(6).runtime.cryptoState) == "safe"


def test_other_reasons_to_be_invalid(case: Case) -> None:
    assert [case.seen(name) for name in ("orphan-01", "broken-01", "lost-01")] == [
        (None, "orphaned"),
        (None, "invalid"),
        ("unlocked", "inaccessible"),
    ]
    assert case.vm("broken-01").config is None
    case.act("vm_state", vm="broken-01")
    assert case.seen("broken-01") == (None, "connected")
    case.act("disconnect", host="esx-01*")
    assert case.seen("app-01") == ("unlocked", "disconnected")
    with pytest.raises(vmodl.fault.HostNotConnected):
        case.vm("app-01").CryptoUnlock_Task()


# ---- hosts -------------------------------------------------------------------------------------------------------------------------
def test_reboots(case: Case) -> None:
    """A provider that is there hands the keys out by itself, a TPM needs nobody, and both let nothing lock."""
    case.act("reboot_host", host="esx-01*")
    assert case.locked() == {"unsafe-01"} and case.vm("app-01").runtime.powerState == "poweredOff"
    case.act("stop_key_server", server=KMS_A)
    case.act("reboot_host", host="esx-03*")
    assert case.seen("tpm-01") == ("unlocked", "connected") and str(case.host(3).runtime.cryptoState) == "safe"
    case.act("tpm", host="esx-03*", on=False)
    case.act("reboot_host", host="esx-03*")
    assert case.seen("tpm-01") == ("locked", "invalid")


def test_a_power_cut(case: Case) -> None:
    case.act("power_off_host", host="*")
    case.act("stop_key_server", server=KMS_A)
    case.act("destroy_key", key="shared-key", server=KMS_B)
    assert {str(row["runtime.connectionState"]) for row in case.all().values()} == {"disconnected"}
    case.act("power_on_host", host="*")
    assert case.locked() == {"app-01", "app-02", "app-03", "app-04", "db-01", "snap-01", "shared-1", "shared-2", "unsafe-01"}
    assert case.about("shared-1") == [VM + "VMLocked.KeyMissingOnKMS"]
    case.act("start_key_server", server=KMS_A)
    for name in ("app-01", "app-02", "app-03", "app-04", "db-01", "snap-01"):
        case.unlock(name)
    assert case.locked() == {"shared-1", "shared-2", "unsafe-01"}


def test_a_machine_that_starts_with_its_host() -> None:
    machine = {"name": "m", "provider": "p", "autostart": True}
    with running(tiny_world(virtual_machines=[machine, {**machine, "name": "n", "key": "other"}])) as case:
        case.act("destroy_key", key="other")
        case.act("reboot_host")
        assert [str(case.vm(name).runtime.powerState) for name in "mn"] == ["poweredOn", "poweredOff"]


def test_the_host_key(case: Case) -> None:
    old = case.host(1).runtime.cryptoKeyId
    assert plain(old) == plain(case.key("host/esx-01.example.com"))
    (found,) = case.status(old, bits=4)
    assert found.keyAvailable is None and [one.name for one in found.affectedHosts] == ["esx-01.example.com"]
    case.act("destroy_key", key="host/esx-01.example.com")
    case.act("reboot_host", host="esx-01*")
    new = case.host(1).runtime.cryptoKeyId
    assert plain(new) != plain(old) and case.on_kms(KMS_A, new.keyId) == "active"
    assert case.events(HOST + "HostKey.NewKey.KeyMissingOnKMS")[-1].host.name == "esx-01.example.com"
    assert case.locked() == {"unsafe-01"}


def test_modes_of_a_host(case: Case) -> None:
    host = case.host(6)
    with pytest.raises(vim.fault.InvalidState):
        host.PrepareCrypto()
    host.EnableCrypto(material(case, "unsafe-01"))
    assert str(host.runtime.cryptoState) == "safe" and plain(host.runtime.cryptoKeyId) == plain(case.key("unsafe-01"))
    own = host.configManager.cryptoManager
    done(own.ChangeKey_Task(material(case, "db-02")))
    assert plain(host.runtime.cryptoKeyId) == plain(case.key("db-02"))
    with pytest.raises(vim.fault.AlreadyExists):
        own.AddKey(material(case, "db-02"))
    with pytest.raises(vim.fault.ResourceInUse):
        own.RemoveKey(case.key("db-02"), False)
    own.CryptoManagerHostDisable()
    assert str(host.runtime.cryptoState) == "pendingIncapable"
    case.act("crypto_mode", host="esx-06*", mode="incapable")
    host.PrepareCrypto()
    assert str(host.runtime.cryptoState) == "prepared"
    host.ConfigureCryptoKey(case.key("host/esx-04.example.com"))
    assert plain(host.runtime.cryptoKeyId) == plain(case.key("host/esx-04.example.com"))
    case.act("destroy_key", key="db-02")
    with pytest.raises(vim.fault.InvalidState):
        host.ConfigureCryptoKey(case.key("db-02"))


def test_removed_from_the_cache(case: Case) -> None:
    own = case.host(2).configManager.cryptoManager
    assert [one.success for one in own.RemoveKeys([case.key("snap-01")], False)] == [False]
    assert [one.success for one in own.RemoveKeys([case.key("snap-01")], True)] == [True]
    assert case.seen("snap-01") == ("locked", "invalid")


def test_moved_to_another_host(case: Case) -> None:
    case.act("move_vm", vm="app-01", to="esx-02.example.com")
    assert case.seen("app-01") == ("unlocked", "connected") and case.vm("app-01").runtime.host.name == "esx-02.example.com"
    case.act("cut_key_server", server=KMS_A)
    case.act("move_vm", vm="db-01", to="esx-04.example.com", folder="App")
    assert case.seen("db-01") == ("locked", "invalid") and case.vm("db-01").parent.name == "App"
    assert case.about("db-01") == [VM + "VMLocked.KMSClusterError"]


# ---- what there is to know about keys ----------------------------------------------------------------------------------------------
def test_the_bits_of_a_question(case: Case) -> None:
    keys = [case.key("shared-key"), key_id("nobody", "kms-a"), key_id("1", "nowhere")]
    rows = case.status(*keys, bits=1 | 2 | 4 | 8)
    assert [(one.keyAvailable, one.reason) for one in rows] == [
        (True, None),
        (False, "KeyStateMissingInKMS"),
        (False, "KeyStateClusterInvalid"),
    ]
    assert [sorted(vm.name for vm in one.encryptedVMs) for one in rows] == [["shared-1", "shared-2"], [], []]
    (only,) = case.status(keys[0], bits=2)
    assert only.keyAvailable is None and only.reason is None and len(only.encryptedVMs) == 2
    assert case.manager.QueryCryptoKeyStatus([], 15) == []
    # A key without a provider is the default provider's.
    assert case.reason(key_id(case.key("app-01").keyId, None)) is None


def test_reasons_that_are_options(case: Case, option: Callable[..., None]) -> None:
    option(unreachable_reason="KeyStateMissingInCache", encrypted_vms="readable")
    case.act("stop_key_server", server=KMS_B)
    assert case.reason(case.key("db-02")) == "KeyStateMissingInCache"
    (found,) = case.status(case.key("unsafe-01"), bits=2)
    assert found.encryptedVMs == []
    option(provider_permissions=True)
    with client(case.sim, "unlocker@vsphere.local") as si:
        assert Case(case.sim, si).reason(case.key("app-01")) is None
    case.sim.world.users["unlocker@vsphere.local"].deny = (("Cryptographer.ReadKeyServersInfo", "*"),)
    case.sim.world.users["unlocker@vsphere.local"].unlimited = False
    with client(case.sim, "unlocker@vsphere.local") as si:
        assert Case(case.sim, si).reason(case.key("app-01")) == "NoPermissionToAccessKeyProvider"


def test_wrapped_keys() -> None:
    with running(tiny_world(wrapped=True)) as case:
        key = case.key("m", "p")
        assert case.reason(key) is None
        case.act("deactivate_key", key="wrapping/p")
        assert case.reason(key) == "WrappingKeyNotActiveOrEnabled"
        case.act("destroy_key", key="wrapping/p")
        assert case.reason(key) == "WrappingKeyMissingInKMS"
        case.act("reboot_host")
        assert case.about("m") == [VM + "VMLocked.KeyMissingOnKMS"]


def test_generated_keys(case: Case) -> None:
    made = case.manager.GenerateKey()
    assert made.success and made.keyId.providerId.id == "kms-a" and case.on_kms(KMS_A, made.keyId.keyId) == "active"
    case.act("stop_key_server", server=KMS_A)
    refused = case.manager.GenerateKey(case.provider("kms-a"))
    assert not refused.success and refused.reason and case.events(KMS + "KeyGenerateFail")
    assert case.manager.GenerateKey(case.provider("native")).success
    assert not case.manager.GenerateKey(case.provider("nowhere")).success


# ---- providers: set up, trusted, taken away ----------------------------------------------------------------------------------------
def spec(case: Case, provider: str, server: str, **more: Any) -> Any:
    where = case.sim.key_servers[server]
    info = vim.encryption.KmipServerInfo(name=server, address=where["address"], port=where["port"], **more)
    return vim.encryption.KmipServerSpec(clusterId=case.provider(provider), info=info)


def trust(case: Case, provider: str, server: str) -> None:
    """What somebody does who sets a provider up: both sides trust each other, and it is the default."""
    wanted = spec(case, provider, server)
    case.manager.RegisterKmipServer(wanted)
    shown = case.manager.RetrieveKmipServerCert(case.provider(provider), wanted.info)
    assert shown.clientTrustServer is False
    case.manager.UploadKmipServerCert(case.provider(provider), shown.certificate)
    request = case.manager.GenerateClientCsr(case.provider(provider))
    case.manager.UpdateKmsSignedCsrClientCert(case.provider(provider), case.sim.sign_csr(server, request))
    case.manager.MarkDefault(case.provider(provider))


def server_status(case: Case, provider: str) -> Any:
    (found,) = done(
        case.manager.RetrieveKmipServersStatus_Task([vim.encryption.KmipClusterInfo(clusterId=case.provider(provider), useAsDefault=False)])
    )
    return found


def test_trust_both_ways_step_by_step(case: Case) -> None:
    wanted = spec(case, "fresh", KMS_B, userName="somebody", timeout=30)
    wanted.password = "hunter2"
    case.manager.RegisterKmipServer(wanted)
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.manager.RegisterKmipServer(wanted)
    fresh = case.provider("fresh")
    seen = server_status(case, "fresh")
    (one,) = seen.servers
    assert (str(one.status), one.clientTrustServer, one.serverTrustClient, seen.clientCertInfo) == ("red", False, False, None)
    assert one.certInfo.subject.startswith("CN=") or "CN=kms-b" in one.certInfo.subject
    assert one.certInfo.secondsBeforeExpire > 300 * 86400
    shown = case.manager.RetrieveKmipServerCert(fresh, wanted.info)
    assert (
        shown.certificate.strip() == case.sim.key_servers[KMS_B]["server_certificate"].strip()
        and shown.certInfo.fingerprint.count(":") == 19
    )
    case.manager.UploadKmipServerCert(fresh, shown.certificate)
    assert case.manager.RetrieveKmipServerCert(fresh, wanted.info).clientTrustServer is True
    (one,) = server_status(case, "fresh").servers
    assert (one.clientTrustServer, one.serverTrustClient) == (True, False) and not case.manager.IsKmsClusterActive(fresh)
    # A certificate of our own, which the key server's administrator has to trust.
    own = case.manager.GenerateSelfSignedClientCert(fresh)
    assert case.manager.RetrieveSelfSignedClientCert(fresh) == own and case.manager.RetrieveClientCert(fresh) == ""
    case.manager.UpdateSelfSignedClientCert(fresh, own)
    assert case.manager.RetrieveClientCert(fresh) == own and not case.manager.IsKmsClusterActive(fresh)
    case.act("trust_client", server=KMS_B, certificate=own)
    seen = server_status(case, "fresh")
    assert (str(seen.overallStatus), seen.servers[0].serverTrustClient) == ("green", True) and seen.clientCertInfo is not None
    assert case.manager.IsKmsClusterActive(fresh)
    case.manager.UpdateKmipServer(vim.encryption.KmipServerSpec(clusterId=fresh, info=vim.encryption.KmipServerInfo(
        name=KMS_B, address=wanted.info.address, port=wanted.info.port, userName="", timeout=-1)))  # fmt: skip
    (kept,) = next(row for row in case.manager.kmipServers if row.clusterId.id == "fresh").servers
    assert kept.userName is None and kept.timeout is None
    text = json.dumps([entry.as_dict() for entry in case.sim.journal]) + json.dumps(case.sim.state())
    assert "hunter2" not in text and "PRIVATE KEY" not in text


def test_a_certificate_and_key_from_the_key_server(case: Case) -> None:
    case.manager.RegisterKmipServer(spec(case, "fresh", KMS_A))
    fresh = case.provider("fresh")
    case.manager.UploadKmipServerCert(fresh, Path(case.sim.key_servers[KMS_A]["ca"]).read_text())  # a CA is as good as the server's own
    issued = case.sim.world.crypto.server(KMS_A).client("issued")
    case.manager.UploadClientCert(fresh, Path(issued.certificate).read_text(), Path(issued.key).read_text())
    assert case.manager.IsKmsClusterActive(fresh) is True
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.manager.UploadClientCert(fresh, Path(issued.certificate).read_text(), Path(case.sim.key_servers[KMS_B]["key"]).read_text())
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.manager.UploadKmipServerCert(fresh, "no certificate")
    assert "PRIVATE" not in json.dumps([entry.as_dict() for entry in case.sim.journal])


def test_the_latest_generation_wins(case: Case) -> None:
    a = case.provider("kms-a")
    first = case.manager.GenerateClientCsr(a)
    second = case.manager.GenerateClientCsr(a)
    assert case.manager.RetrieveClientCsr(a) == second
    with pytest.raises(vmodl.fault.InvalidArgument):
        case.manager.UpdateKmsSignedCsrClientCert(a, case.sim.sign_csr(KMS_A, first))
    case.manager.UpdateKmsSignedCsrClientCert(a, case.sim.sign_csr(KMS_A, second))
    assert case.manager.IsKmsClusterActive(a)


def test_certificates_that_change_at_the_key_server(case: Case) -> None:
    a = case.provider("kms-a")
    case.act("renew_server_certificate", server=KMS_A)
    (one,) = server_status(case, "kms-a").servers
    assert (str(one.status), one.clientTrustServer) == ("red", False)
    shown = case.manager.RetrieveKmipServerCert(a, case.manager.kmipServers[0].servers[0])
    case.manager.UploadKmipServerCert(a, shown.certificate)
    assert case.manager.IsKmsClusterActive(a)
    case.act("distrust_clients", server=KMS_A)
    case.manager.UploadKmipServerCert(a, case.manager.RetrieveKmipServerCert(a, case.manager.kmipServers[0].servers[0]).certificate)
    (one,) = server_status(case, "kms-a").servers
    assert (one.clientTrustServer, one.serverTrustClient) == (True, False) and case.reason(
        case.key("app-01")
    ) == "KeyStateClusterUnreachable"


def test_defaults_and_removal(case: Case) -> None:
    manager = case.manager
    cluster = case.host(4).parent
    manager.SetDefaultKmsCluster(cluster, case.provider("kms-b"))
    assert manager.GetDefaultKmsCluster().id == "kms-a" and manager.GetDefaultKmsCluster(cluster).id == "kms-b"
    assert manager.GetDefaultKmsCluster(case.host(1).parent) is None
    assert manager.GetDefaultKmsCluster(case.host(1).parent, True).id == "kms-a"
    assert [one.name for one in manager.kmipServers[1].useAsEntityDefault] == ["Silver"]
    manager.SetDefaultKmsCluster(cluster)
    manager.SetDefaultKmsCluster()
    assert manager.GetDefaultKmsCluster() is None
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.IsKmsClusterActive()
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.MarkDefault(case.provider("nowhere"))
    manager.RemoveKmipServer(case.provider("kms-b"), KMS_B)  # in use, and it goes all the same
    assert [one.clusterId.id for one in manager.kmipServers] == ["kms-a", "native", "trusted"]
    assert case.reason(case.key("db-02")) == "KeyStateClusterInvalid"
    manager.UnregisterKmsCluster(case.provider("trusted"))
    manager.RegisterKmsCluster(case.provider("again"))
    assert manager.kmipServers[-1].managementType == "trustAuthority"


# ---- unlock, reload, power, registration -------------------------------------------------------------------------------------------
def test_unlocking_what_is_not_locked(case: Case, option: Callable[..., None]) -> None:
    case.unlock("app-01")
    case.unlock("plain-01")
    assert case.about("app-01") == []
    option(unlock_plain="NotSupported", unlock_unlocked="InvalidState")
    with pytest.raises(vmodl.fault.NotSupported):
        case.unlock("plain-01")
    with pytest.raises(vim.fault.InvalidState):
        case.unlock("app-01")
    option(unlock_faults="call")
    with pytest.raises(vim.fault.InvalidState):
        case.vm("app-01").CryptoUnlock_Task()


def test_machines_that_share_a_key_open_together(case: Case) -> None:
    case.act("cut_key_server", server=KMS_B)
    case.act("reboot_host", host="esx-04*")
    assert {"shared-1", "shared-2"} <= case.locked()
    case.act("cut_key_server", server=KMS_B, cut=False)
    case.unlock("shared-1")
    assert not {"shared-1", "shared-2"} & case.locked()


def test_what_a_locked_machine_allows(case: Case, option: Callable[..., None]) -> None:
    vm = case.vm("unsafe-01")
    assert vm.config is None and vm.name == "unsafe-01" and vm.summary.config.vmPathName == "[datastore-DC1] unsafe-01/unsafe-01.vmx"
    with pytest.raises(vim.fault.EncryptionKeyRequired) as refused:
        done(vm.PowerOnVM_Task())
    assert [plain(one) for one in refused.value.requiredKey] == [plain(case.key("unsafe-01"))]
    vm.Reload()
    assert case.seen("unsafe-01") == ("locked", "invalid")
    option(locked_config="readable", locked_connection_state="connected", power_on_locked_fault="InvalidState")
    assert plain(case.vm("unsafe-01").config.keyId) == plain(case.key("unsafe-01")) and case.seen("unsafe-01") == ("locked", "connected")
    with pytest.raises(vim.fault.InvalidState):
        done(vm.PowerOnVM_Task())


def test_out_of_the_inventory_and_back(case: Case) -> None:
    vm = case.vm("app-01")
    folder, pool, host, path = vm.parent, vm.resourcePool, vm.runtime.host, vm.summary.config.vmPathName
    assert [row.principal for row in vm.permission] == ["EXAMPLE\\app"] and len(vm.tag) == 1 and pool.name == "tier1"
    assert {field.key: field.name for field in vm.availableField}[vm.customValue[0].key] == "Owner"
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.UnregisterVM()
    case.act("vm_power", vm="app-01", on=False)
    case.act("vm_busy", vm="app-01")
    with pytest.raises(vim.fault.TaskInProgress):
        vm.UnregisterVM()
    assert [task.info.state for task in vm.recentTask] == ["running"]
    case.act("vm_busy", vm="app-01", on=False)
    with pytest.raises(vim.fault.AlreadyExists):
        done(folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=host))
    vm.UnregisterVM()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vm.Reload()
    assert "app-01" not in case.all() and case.sim.state()["crypto"]["unregistered"] == [path]
    back = done(folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=host))
    assert back._moId != vm._moId and case.seen("app-01") == ("unlocked", "connected")
    assert (back.parent, back.resourcePool, back.runtime.host) == (folder, pool, host)
    assert back.permission == [] and back.customValue == [] and back.tag == [] and back.config.annotation == "billing"
    key = next(one.key for one in case.si.content.customFieldsManager.field if one.name == "Owner")
    case.si.content.customFieldsManager.SetField(back, key, "team-a")
    row = vim.AuthorizationManager.Permission(principal="EXAMPLE\\app", group=False, roleId=-2, propagate=True)
    case.si.content.authorizationManager.SetEntityPermissions(back, [row])
    assert back.customValue[0].value == "team-a"
    assert [one.principal for one in case.si.content.authorizationManager.RetrieveEntityPermissions(back, False)] == ["EXAMPLE\\app"]
    kinds = [type(event).__name__.rpartition(".")[2] for event in case.sim.world.events]
    assert "VmRemovedEvent" in kinds and "VmRegisteredEvent" in kinds


def test_registering_goes_wrong(case: Case) -> None:
    vm = case.vm("snap-01")
    assert [one.name for one in vm.snapshot.rootSnapshotList] == ["before"]
    assert vm.snapshot.rootSnapshotList[0].childSnapshotList[0].name == "after"
    folder, pool, host, path = vm.parent, vm.resourcePool, vm.runtime.host, vm.summary.config.vmPathName
    vm.UnregisterVM()

    def attempt(**change: Any) -> Any:
        given = {"path": path, "asTemplate": False, "pool": pool, "host": host, **change}
        return done(folder.RegisterVM_Task(**given))

    with pytest.raises(vim.fault.NotFound):
        attempt(path="[datastore-DC1] nothing/nothing.vmx")
    for wrong in ("nothing.vmx", "[elsewhere] a/a.vmx"):
        with pytest.raises(vim.fault.InvalidDatastorePath):
            attempt(path=wrong)
    with pytest.raises(vim.fault.DuplicateName) as refused:
        attempt(name="broken-01")
    assert refused.value.object.name == "broken-01"
    with pytest.raises(vmodl.fault.InvalidArgument):
        attempt(pool=None)
    with pytest.raises(vmodl.fault.InvalidArgument):
        attempt(host=case.host(4))
    case.act("disconnect", host="esx-02*")
    with pytest.raises(vim.fault.InvalidState):
        attempt()
    case.act("reconnect", host="esx-02*")
    assert len(attempt().rootSnapshot) == 1


def test_registering_where_no_key_can_be_had(case: Case, option: Callable[..., None]) -> None:
    vm = case.vm("db-01")
    folder, pool, path = vm.parent, vm.resourcePool, vm.summary.config.vmPathName
    vm.UnregisterVM()
    case.act("destroy_key", key="db-01")
    option(register_locked="EncryptionKeyRequired")
    with pytest.raises(vim.fault.EncryptionKeyRequired) as refused:
        done(folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=case.host(2)))
    assert plain(case.key("db-01")) in [plain(one) for one in refused.value.requiredKey]
    option(register_locked="registers")
    done(folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=case.host(2)))
    assert case.seen("db-01") == ("locked", "invalid") and case.about("db-01") == [VM + "VMLocked.KeyMissingOnKMS"]


def test_the_key_stands_in_the_vmx(case: Case) -> None:
    """The last place to look for a locked machine's key."""
    cookie = case.si._stub.cookie
    with Raw(case.sim) as raw:

        def get(path: str, cookie: str | None = cookie) -> tuple[int, str]:
            raw.connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
            answer = raw._reply()
            return answer.status, answer.body

        status, text = get("/folder/unsafe-01/unsafe-01.vmx?dcPath=DC1&dsName=datastore-DC1")
        key = case.key("unsafe-01").keyId
        assert status == 200
        assert f'encryption.keySafe = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/kms%2db/{key},HMAC%2dSHA%2d256,' in text
        assert "keySafe" not in get("/folder/plain-01/plain-01.vmx?dcPath=DC1&dsName=datastore-DC1")[1]
        assert get("/folder/unsafe-01/unsafe-01.vmx?dcPath=DC1&dsName=datastore-DC1", None)[0] == 401
        for wrong in ("nobody/nobody.vmx?dcPath=DC1&dsName=datastore-DC1", "unsafe-01/unsafe-01.vmx?dcPath=DC2&dsName=datastore-DC1"):
            assert get(f"/folder/{wrong}")[0] == 404
    with client(case.sim, "unlocker@vsphere.local") as si, Raw(case.sim) as raw:
        cookie = si._stub.cookie
        raw.connection.request("GET", "/folder/unsafe-01/unsafe-01.vmx?dcPath=DC1&dsName=datastore-DC1", headers={"Cookie": cookie})
        assert raw._reply().status == 403


# ---- privileges --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("user", "privilege", "call"),
    [
        ("no-register", "Cryptographer.RegisterVM", lambda case: case.vm("app-01").CryptoUnlock_Task()),
        ("no-prod", "Cryptographer.RegisterVM", lambda case: case.vm("app-01").CryptoUnlock_Task()),
        ("no-keys", "Cryptographer.ManageKeys", lambda case: case.status(case.key("app-01"))),
        ("no-keys", "Cryptographer.ManageKeys", lambda case: case.manager.ListKeys()),
        ("no-servers", "Cryptographer.ManageKeyServers", lambda case: case.manager.ListKmipServers()),
        ("no-servers", "Cryptographer.ManageKeyServers", lambda case: case.manager.IsKmsClusterActive()),
    ],
)
def test_privileges(case: Case, user: str, privilege: str, call: Callable[[Case], Any]) -> None:
    with client(case.sim, f"{user}@vsphere.local") as si:
        with pytest.raises(vim.fault.NoPermission) as refused:
            call(Case(case.sim, si))
        assert refused.value.privilegeId == privilege
        assert [one.clusterId.id for one in si.content.cryptoManager.kmipServers][:1] == ["kms-a"]  # the property is open to all


def test_privileges_are_told_before(case: Case) -> None:
    manager, key = case.si.content.authorizationManager, case.si.content.sessionManager.currentSession.key
    asked = ["Cryptographer.RegisterVM", "Cryptographer.ManageKeys"]
    entities = [case.vm("app-01"), case.vm("shared-1")]
    (row, _other) = manager.HasPrivilegeOnEntities(entities, key, asked)
    assert [one.isGranted for one in row.privAvailability] == [True, True]
    first, second = manager.FetchUserPrivilegeOnEntities(entities, "no-prod@vsphere.local")
    assert "Cryptographer.RegisterVM" not in first.privileges and "Cryptographer.RegisterVM" in second.privileges
    roles = {role.name: role.privilege for role in manager.roleList}
    assert not [name for name in roles["NoCryptoAdmin"] if name.startswith("Cryptographer.")]


def test_registering_needs_a_privilege_more(case: Case, option: Callable[..., None]) -> None:
    vm = case.vm("db-01")
    folder, pool, path, host = vm.parent, vm.resourcePool, vm.summary.config.vmPathName, vm.runtime.host
    vm.UnregisterVM()
    with client(case.sim, "no-register@vsphere.local") as si:
        theirs = vim.Folder(folder._moId, si._stub)
        with pytest.raises(vim.fault.NoPermission) as refused:
            done(theirs.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=host))
        assert refused.value.privilegeId == "Cryptographer.RegisterVM"
        option(register_without_privilege="locked")
        case.act("forget_keys", host="esx-01*", vm="*")
        case.act("crypto_mode", host="esx-01*", mode="prepared")
        done(theirs.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=host))
    assert case.seen("db-01") == ("locked", "invalid")


# ---- events and the alarm ----------------------------------------------------------------------------------------------------------
def test_an_event_in_full(case: Case) -> None:
    case.act("forget_keys", host="esx-01*", vm="app-01")
    (event,) = [one for one in case.events(VM + "VMLocked.KeyMissingOnHost") if one.vm.name == "app-01"]
    vm = case.vm("app-01")
    assert (event.vm.vm, event.host.host, event.objectId, event.objectType) == (vm, case.host(1), vm._moId, vim.VirtualMachine)
    assert event.severity == "error" and event.datacenter.name == "DC1"
    by_entity = vim.event.EventFilterSpec.ByEntity
    manager = case.si.content.eventManager
    for entity, recursion, found in (
        (vm, "self", True),
        (vm.parent, "all", True),
        (case.host(1), "all", True),
        (case.host(2), "all", False),
        (case.vm("app-03"), "all", False),
        (case.si.content.rootFolder, "all", True),
    ):
        spec = vim.event.EventFilterSpec(entity=by_entity(entity=entity, recursion=recursion), eventTypeId=list(LOCKED))
        assert (event.key in [one.key for one in manager.QueryEvents(spec)]) is found, (entity, recursion)


@pytest.mark.parametrize("offset", [0, 3600])
def test_events_by_pages_in_server_time(offset: float) -> None:
    world = tiny_world(
        virtual_machines=[{"count": 25, "name": "m-{i:02d}", "provider": "p", "key": "all"}], vcenter={"clock": {"offset": offset}}
    )
    with running(world) as case:
        manager = case.si.content.eventManager
        start = case.si.CurrentTime()
        assert abs((start - datetime.datetime.now(datetime.timezone.utc)).total_seconds() - offset) < 5
        case.act("cut_key_server", server="kms")
        case.act("reboot_host")
        spec: Any = vim.event.EventFilterSpec(eventTypeId=list(LOCKED), time=vim.event.EventFilterSpec.ByTime(beginTime=start))
        collector = manager.CreateCollectorForEvents(spec)
        collector.RewindCollector()
        keys: list[int] = []
        while True:
            page = collector.ReadNextEvents(10)
            if not page:
                break
            assert len(page) <= 10 and all(one.createdTime >= start for one in page)
            keys += [one.key for one in page]
        assert len(keys) == 25 and keys == sorted(set(keys))
        collector.SetCollectorPageSize(7)
        assert [one.key for one in collector.latestPage] == keys[:-8:-1]
        case.act("cut_key_server", server="kms", cut=False)
        case.unlock("m-01")  # opens all: they share a key
        assert collector.ReadNextEvents(10) == []
        assert len(case.events(UNLOCKED)) == 25
        spec.time.beginTime = case.events(UNLOCKED)[-1].createdTime + datetime.timedelta(seconds=1)
        assert manager.QueryEvents(spec) == []


def test_the_alarm(case: Case, option: Callable[..., None]) -> None:
    manager = case.si.content.alarmManager
    (alarm,) = manager.GetAlarm()
    assert alarm.info.name == "Virtual Machine Locked Alarm" and alarm.info.systemName is None
    assert {one.eventTypeId: str(one.status) for one in alarm.info.expression.expression} == {
        **dict.fromkeys(LOCKED, "red"),
        UNLOCKED: "green",
    }
    case.act("forget_keys", host="esx-01*", vm="app-01")
    vm = case.vm("app-01")
    (state,) = vm.triggeredAlarmState
    assert (state.entity, str(state.overallStatus), state.acknowledged) == (vm, "red", False) and str(vm.overallStatus) == "red"
    assert len(case.si.content.rootFolder.triggeredAlarmState) == 2 and len(case.host(1).triggeredAlarmState) == 1
    manager.AcknowledgeAlarm(alarm, vm)
    assert vm.triggeredAlarmState[0].acknowledged
    case.unlock("app-01")
    assert vm.triggeredAlarmState == [] and str(manager.GetAlarmState(vm)[0].overallStatus) == "green"
    option(alarm_system_name="alarm.VmLocked")
    assert alarm.info.systemName == "alarm.VmLocked"


# ---- options, scenarios, secrets ---------------------------------------------------------------------------------------------------
def material(case: Case, label: str) -> Any:
    """A key with its material, read from the key server over KMIP by its administrator."""
    from kmip.pie.client import ProxyKmipClient

    key = case.key(label)
    server = next(row for row in case.sim.key_servers.values() if label in row["keys"])
    found = ProxyKmipClient(
        hostname=server["address"], port=server["port"], cert=server["certificate"], key=server["key"], ca=server["ca"], ssl_version="PROTOCOL_TLSv1_2"
    )  # fmt: skip
    with found:
        secret = found.get(key.keyId).value
    return vim.encryption.CryptoKeyPlain(keyId=key, algorithm="AES-256", keyData=base64.b64encode(secret).decode())


def tiny_world(wrapped: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "key_servers": ["kms"],
        "key_providers": [{"name": "p", "servers": ["kms"], "default": True, "wrapped": wrapped}],
        "hosts": [{"name": "h", "crypto": {"provider": "p"}}],
        "virtual_machines": [{"name": "m", "provider": "p"}],
        **more,
    }


def test_options_of_the_profile_are_those_of_scenarios(case: Case) -> None:
    assert set(case.sim.world.crypto.options) == set(CRYPTO_OPTIONS)
    text = (Path(FOLDER).parent / "profiles" / "8.0.3.yml").read_text(encoding="utf-8")
    for name in CRYPTO_OPTIONS:
        assert f"  {name}: " in text


def test_more_options(case: Case, option: Callable[..., None]) -> None:
    option(
        unlock_when_provider_returns=True, reload_fetches_keys=True, mode_after_reboot="prepared", new_host_key=False, fingerprint="sha256"
    )
    case.act("stop_key_server", server=KMS_A)
    case.act("reboot_host", host="esx-01*")
    assert str(case.host(1).runtime.cryptoState) == "prepared" and "app-01" in case.locked()
    case.act("start_key_server", server=KMS_A)
    assert "app-01" not in case.locked()
    case.act("forget_keys", host="esx-01*", vm="app-01")
    case.vm("app-01").Reload()
    assert "app-01" not in case.locked()
    assert server_status(case, "kms-a").clientCertInfo.fingerprint.count(":") == 31
    option(unlock_lacks_disk_key="InvalidVmState", first_provider_default=True)
    case.act("destroy_key", key="db-01/disk-2")
    case.act("forget_keys", host="esx-01*", vm="db-01")
    with pytest.raises(vim.fault.InvalidVmState):
        case.unlock("db-01")
    assert case.seen("db-01") == ("unlocked", "connected")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key_provider": []}, "unknown key 'key_provider': did you mean key_providers"),
        ({"virtual_machines": [{"provder": "p"}]}, "unknown key 'provder': did you mean provider"),
        ({"virtual_machines": [{"provider": "q"}]}, "no key provider 'q'"),
        ({"key_providers": [{"name": "p", "servers": ["kmss"]}]}, "no key server 'kmss': did you mean kms?"),
        ({"crypto_options": {"locked_config": "maybe"}}, "crypto_options.locked_config is 'maybe'"),
        ({"begin": [{"do": "reboot_hosts"}]}, "no action 'reboot_hosts'"),
        ({"begin": [{"do": "destroy_key", "key": "n"}]}, "no key 'n'"),
        ({"begin": [{"do": "stop_key_server", "server": "kms"}, {"do": "destroy_key", "key": "m"}]}, "is not running"),
    ],
)
def test_bad_scenarios_say_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message.replace("?", r"\?")), Simulator({**tiny_world(), **change}):
        pass


def test_without_pykmip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_servers, "available", lambda: False)
    with pytest.raises(ScenarioError, match="PyKMIP is not installed"), Simulator(tiny_world()):
        pass
    with running({"hosts": [{"vms": 1}], "key_providers": [{"name": "own", "kind": "nativeProvider", "default": True}]}) as case:
        assert case.manager.IsKmsClusterActive() is True and case.manager.ListKeys() == []
    with running("tiny") as case:
        assert case.manager.kmipServers == [] and case.locked() == set()


def test_a_reset_brings_everything_back(case: Case) -> None:
    before = case.sim.state()
    assert before["crypto"]["key_servers"][KMS_A]["running"] and "app-01 (4)" in before["crypto"]["key_servers"][KMS_A]["keys"]
    case.act("destroy_key", key="app-01")
    case.act("stop_key_server", server=KMS_B)
    case.act("cut_key_server", server=KMS_A)
    case.act("reboot_host")
    assert case.sim.state() != before
    case.sim.reset()
    assert case.sim.state() == before


def test_state_and_journal_hold_no_secret(case: Case) -> None:
    case.act("reboot_host")
    text = json.dumps(case.sim.state()) + json.dumps([entry.as_dict() for entry in case.sim.journal])
    servers = case.sim.world.crypto.servers
    assert servers is not None
    for server in servers.all.values():
        for key in server.keys:
            assert key.digest not in text
    assert "PRIVATE" not in text and "keyData" not in text
    assert case.sim.state()["hosts"]["esx-01.example.com"]["crypto"]["cache"]


def test_the_control_api_tells_where_key_servers_are(case: Case) -> None:
    from urllib.request import Request, urlopen

    with urlopen(f"{case.sim.control}/key_servers") as answer:
        told = json.load(answer)
    assert set(told) == {KMS_A, KMS_B} and Path(told[KMS_A]["key"]).stat().st_mode & 0o077 == 0
    request = case.manager.GenerateClientCsr(case.provider("kms-a"))
    body = json.dumps({"server": KMS_A, "csr": request}).encode()
    with urlopen(Request(f"{case.sim.control}/sign_csr", body)) as answer:
        signed = json.load(answer)["certificate"]
    case.manager.UpdateKmsSignedCsrClientCert(case.provider("kms-a"), signed)
    assert case.manager.IsKmsClusterActive()


def test_nothing_stays_behind() -> None:
    with Simulator(tiny_world()) as sim:
        folder = Path(sim.key_servers["kms"]["ca"]).parent
        port = sim.key_servers["kms"]["port"]
        assert folder.exists()
    assert not folder.exists()
    import socket

    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 1):
        pass


def test_no_client_finds_undeclared_types(case: Case) -> None:
    """pyVmomi's own serialiser agrees with what is sent."""
    for one in case.manager.kmipServers:
        assert SoapAdapter.Serialize(one)

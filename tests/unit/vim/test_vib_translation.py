# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers say, as values: each release tells something else."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, PermissionMissing
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_model import Live, Place
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import Rule
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import vib

HOST, STORE, CLUSTER = Ref("HostSystem", "host-1"), Ref("Datastore", "datastore-1"), Ref("ClusterComputeResource", "domain-1")
SUMMARY = {"name": "ds1", "url": "ds:///vmfs/volumes/6016c236-a55b7224/", "freeSpace": 5, "accessible": True, "type": "VMFS"}


def read(**values: Any) -> Any:
    """A host as observed; names of properties with two underscores for a dot."""
    return vib.observe(Row(HOST, {name.replace("__", "."): value for name, value in values.items()}, {}), {"packages": []})


def guarded(values: dict[str, Any] | None = None, **more: Any) -> Any:
    row = Row(HOST, {"datastore": [STORE], "parent": CLUSTER, **(values or {})}, {})
    extra: dict[str, Any] = {"packages": [], "looked": True, "stores": {}, "clusters": {}, "by_vcenter": True, "level": "community", **more}
    return vib.observe(row, extra).guards


def stored(summary: dict[str, Any], mounts: list[dict[str, Any]] | None = None) -> Any:
    values: dict[str, Any] = {"summary": summary}
    if mounts is not None:
        values["host"] = vib.SHRINK["host"](mounts)
    (found,) = guarded(stores={STORE: Row(STORE, values, {})}).stores
    return found


@pytest.mark.parametrize(
    ("values", "on", "by"),
    [
        ({}, None, ""),
        ({"capability__uefiSecureBoot": True}, True, "capability.uefiSecureBoot"),
        ({"capability__uefiSecureBoot": False}, False, "capability.uefiSecureBoot"),
        ({"hardware__biosInfo__firmwareType": "BIOS"}, False, "hardware.biosInfo.firmwareType"),
        ({"hardware__biosInfo__firmwareType": "UEFI"}, None, ""),
        ({"runtime__stateEncryption__requireSecureBoot": False}, None, ""),
        (
            {"runtime__stateEncryption__requireSecureBoot": True, "capability__uefiSecureBoot": False},
            True,
            "runtime.stateEncryption.requireSecureBoot",
        ),
    ],
)
def test_secure_boot(values: dict[str, Any], on: bool | None, by: str) -> None:
    state = read(**values)
    assert (state.secure_boot, state.told_by) == (on, by)


@pytest.mark.parametrize(("mode", "sealed"), [(None, False), ("none", False), ("NONE", False), ("tpm", True), ("TPM", True)])
def test_sealed(mode: str | None, sealed: bool) -> None:
    assert read(runtime__stateEncryption__protectionMode=mode).sealed is sealed


@pytest.mark.parametrize(
    ("url", "path", "trouble"),
    [
        ("ds:///vmfs/volumes/6016c236-a55b7224/", "/vmfs/volumes/6016c236-a55b7224", ""),
        ("/vmfs/volumes/6016c236-a55b7224", "/vmfs/volumes/6016c236-a55b7224", ""),
        ("ds:///vmfs/volumes/vsan:52a9-b0e1/", "/vmfs/volumes/vsan:52a9-b0e1", ""),
        ("nfs://filer/share", "/vmfs/volumes/", "mounted at an unknown place (nfs://filer/share)"),
    ],
)
def test_where_a_datastore_is_mounted(url: str, path: str, trouble: str) -> None:
    found = stored({**SUMMARY, "url": url})
    assert (found.path, found.trouble) == (path, trouble)


@pytest.mark.parametrize(
    ("summary", "mount", "trouble"),
    [
        ({}, {}, ""),
        ({"accessible": False}, {}, "not accessible"),
        ({"maintenanceMode": "inMaintenance"}, {}, "in maintenance mode"),
        ({}, {"accessMode": "readOnly"}, "read-only"),
        ({}, {"accessible": False}, "not accessible"),
        ({}, {"mounted": False}, "not accessible"),
    ],
)
def test_what_is_wrong_with_a_datastore(summary: dict[str, Any], mount: dict[str, Any], trouble: str) -> None:
    mounts = [
        {"key": HOST, "mountInfo": {"accessMode": "readWrite", "accessible": True, "mounted": True, **mount}},
        {"key": Ref("HostSystem", "host-2"), "mountInfo": {"accessMode": "readOnly"}},
    ]
    assert stored({**SUMMARY, **summary}, mounts).trouble == trouble


@pytest.mark.parametrize(
    ("kind", "plain"), [("VMFS", True), ("NFS", True), ("NFS41", True), ("vsan", False), ("VVOL", False), ("PMEM", False)]
)
def test_which_datastores_take_plain_files(kind: str, plain: bool) -> None:
    assert stored({**SUMMARY, "type": kind}).plain is plain


def test_a_datastore_that_may_not_be_read_is_none() -> None:
    assert guarded(stores={}).stores == () and guarded(stores={STORE: Row(STORE, {}, {"summary": "NoPermission"})}).stores == ()


@pytest.mark.parametrize(
    ("by_vcenter", "told", "values", "managed"),
    [
        (True, {"lifecycleManaged": True}, {}, True),
        (True, {"lifecycleManaged": False}, {}, False),
        (True, {}, {}, False),
        (False, {}, {}, False),
        (False, {}, {"summary.managementServerIp": "192.0.2.2"}, None),
    ],
)
def test_image(by_vcenter: bool, told: dict[str, Any], values: dict[str, Any], managed: bool | None) -> None:
    assert guarded(values, by_vcenter=by_vcenter, clusters={CLUSTER: Row(CLUSTER, told, {})}).image_managed is managed


def test_a_cluster_that_may_not_be_read_is_not_taken_for_one_without_an_image() -> None:
    assert guarded(clusters={CLUSTER: Row(CLUSTER, {}, {"lifecycleManaged": "NoPermission"})}).image_managed is None
    assert guarded(clusters={}).image_managed is None


@pytest.mark.parametrize(("given", "found"), [(True, True), (False, False), (None, None), (FleetcareError("no"), None)])
def test_exec_installed_only_is_worth_a_note_and_no_failure(given: Any, found: bool | None) -> None:
    assert guarded(exec_only=given).exec_installed_only is found
    assert guarded({"runtime.stateEncryption.requireExecInstalledOnly": True}, exec_only=given).exec_installed_only is True


def test_what_cannot_be_read_is_a_failure_of_that_host() -> None:
    row = Row(HOST, {}, {})
    with pytest.raises(PermissionMissing) as caught:
        vib.observe(row, {"packages": PermissionMissing("no")})
    assert caught.value.doing == "reading its packages"
    with pytest.raises(FleetcareError) as other:
        guarded(level=FleetcareError("no"))
    assert other.value.doing == "reading its acceptance level"


def test_rulesets() -> None:
    items = [
        {"key": "a", "enabled": True, "rule": [{"direction": "inbound", "protocol": "tcp", "port": 80, "portType": "dst"}]},
        {
            "key": "b",
            "enabled": False,
            "userControllable": False,
            "rule": [{"direction": "outbound", "protocol": "udp", "port": 5, "endPort": 9, "portType": "src"}],
        },
        {"key": "c", "enabled": False},
    ]
    assert vib.SHRINK["firewallInfo.ruleset"](items) == {
        "a": Live(True, frozenset({Rule("inbound", "tcp", 80, 80)})),
        "b": Live(False, frozenset({Rule("outbound", "udp", 5, 9, "src")}), False),
        "c": Live(False, frozenset()),
    }


@pytest.mark.parametrize("store", ["ds1", "my store", "a&b=c", "Größe #1", "100%"])
def test_the_address_of_a_file(store: str) -> None:
    target = Target(ref=HOST, name="h", connection="connected", places=(("folder", "all"), ("datacenter", "DC & 1"), ("cluster", "c")))
    address = urlsplit(vib._address(target, Place(store, "x_1.0-1.vib", "/vmfs/volumes/u/x_1.0-1.vib")))
    assert address.path == "/folder/x_1.0-1.vib" and address.fragment == ""
    assert parse_qs(address.query, strict_parsing=True) == {"dcPath": ["all/DC & 1"], "dsName": [store]}
    alone = urlsplit(vib._address(Target(ref=HOST, name="h", connection="connected"), Place(store, "x.vib", "")))
    assert parse_qs(alone.query)["dcPath"] == ["ha-datacenter"]

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selection of VMs: by their own names, by where they run, by their folders; and the inventory as the server gives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import inventory
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import (
    Selection,
    Target,
    choose_vms,
    select_hosts,
    select_vms,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, TargetUnknown
from tests.integration.driver import reach
from tests.simulator import Simulator
from tests.unit.client.test_inventory import rows
from tests.unit.simulator.conftest import key_servers_for

EU = (("folder", "Europe"), ("datacenter", "dc1"))
US = (("datacenter", "dc2"),)


def host(number: int, name: str, *places: tuple[str, str]) -> Target:
    return Target(ref=Ref("HostSystem", f"host-{number}"), name=name, connection="connected", places=places)


def vm(number: int, name: str, on: int | None, *places: tuple[str, str], connection: str = "connected") -> Target:
    running = Ref("HostSystem", f"host-{on}") if on else None
    return Target(ref=Ref("VirtualMachine", f"vm-{number}"), name=name, connection=connection, places=places, host=running)


HOSTS = [
    host(1, "esx-01", *EU, ("cluster", "prod")),
    host(2, "esx-02", *EU, ("cluster", "test")),
    host(3, "esx-01", *US, ("cluster", "prod")),
    host(4, "esx-04", *US),
]
VMS = [
    vm(1, "app-01", 1, *EU, ("folder", "Prod"), ("folder", "App")),
    vm(2, "app-02", 2, *EU, ("folder", "Prod"), ("folder", "App")),
    vm(3, "db[1]", 1, *EU, ("folder", "Prod"), connection="orphaned"),
    vm(4, "db-01", 1, *EU, ("folder", "Test")),
    vm(5, "db-01", 3, *US, ("folder", "Prod")),
    vm(6, "vm-1", 4, *US),
    vm(7, "nowhere", None, *US, connection="disconnected"),
]


def ids(**selection: Any) -> list[int]:
    return [int(found.ref.id.partition("-")[2]) for found in choose_vms(VMS, HOSTS, Selection(**selection))]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"vms": ("*",)}, [1, 2, 3, 4, 5, 6, 7]),
        ({"vms": ("APP-01",)}, [1]),
        ({"vms": ("app-*", "db[1]")}, [1, 2, 3]),
        ({"vms": ("vm-4", "vm-5")}, [4, 5]),
        # a VM that is named like an id wins over the id
        ({"vms": ("vm-1",)}, [6]),
        # ids of an event's list, some of which are gone
        ({"vms": ("vm-4", "vm-44", "gone"), "skip_missing": True}, [4]),
        ({"vms": ("vm-44",), "skip_missing": True}, []),
        ({"moids": ("vm-1", "vm-44"), "skip_missing": True}, [1]),
        ({"moids": ("vm-1",), "vms": ("db[1]",)}, [1, 3]),
        # where they run, by the rules for hosts
        ({"hosts": ("esx-02",)}, [2]),
        ({"hosts": ("host-1", "esx-04")}, [1, 3, 4, 6]),
        ({"hosts": ("*",)}, [1, 2, 3, 4, 5, 6]),
        ({"hosts": ("esx-01",), "datacenters": ("dc2",)}, [5]),
        ({"clusters": ("test",)}, [2]),
        ({"clusters": ("Europe/dc1/prod",)}, [1, 3, 4]),
        ({"clusters": ("prod",), "datacenters": ("dc2",)}, [5]),
        # where they are filed
        ({"datacenters": ("dc2",)}, [5, 6, 7]),
        ({"folders": ("App",)}, [1, 2]),
        ({"folders": ("Europe",)}, [1, 2, 3, 4]),
        ({"folders": ("dc2/Prod", "Test")}, [4, 5]),
        ({"folders": ("Prod",), "datacenters": ("dc1",)}, [1, 2, 3]),
        ({"folders": ("Europe/dc1/Prod",), "hosts": ("esx-02",)}, [2]),
        # what is given together narrows
        ({"vms": ("db-01",), "folders": ("Test",)}, [4]),
        ({"vms": ("*",), "clusters": ("dc2/prod",)}, [5]),
        ({"vms": ("*",), "exclude": ("db*", "vm-7", "no-such-*")}, [1, 2, 6]),
        ({"exclude": ("app-01",)}, [2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_selection_finds_these_vms(selection: dict[str, Any], expected: list[int]) -> None:
    assert ids(**selection) == expected


@pytest.mark.parametrize(
    ("selection", "cause", "hint"),
    [
        ({"vms": ("app-03",)}, "vm_name 'app-03' matches no VM", "Did you mean app-01, app-02?"),
        ({"vms": ("zzz*",)}, "vm_name 'zzz*' matches no VM", "There are: app-01, "),
        ({"vms": ("app-01",), "datacenters": ("dc2",)}, "vm_name 'app-01' matches no VM", "Did you mean db-01?"),
        ({"vms": ("db-01",)}, "vm_name 'db-01' is the name of 2 VMs", "Add folder or datacenter, or use the managed object id: "),
        ({"vms": ("db-01",)}, "2 VMs", "Europe/dc1/Test/db-01 (vm-4), dc2/Prod/db-01 (vm-5)."),
        ({"vms": ("*",), "exclude": ("app-03",)}, "exclude 'app-03' matches no VM", "Did you mean app-01, app-02?"),
        ({"vms": ("*",), "exclude": ("esx-01",)}, "exclude 'esx-01' matches no VM", ""),
        ({"hosts": ("esx-09",)}, "esxi_hostname 'esx-09' matches no host", "Did you mean esx-"),
        ({"hosts": ("esx-01",)}, "esxi_hostname 'esx-01' is the name of 2 hosts", "dc2/prod/esx-01 (host-3)"),
        ({"clusters": ("prod",)}, "cluster_name 'prod' stands for 2 places", "Europe/dc1/prod, dc2/prod"),
        ({"clusters": ("zzz",)}, "cluster_name 'zzz' matches nothing that holds hosts", "prod, test"),
        ({"folders": ("Prod",)}, "folder 'Prod' stands for 2 places", "Europe/dc1/Prod, dc2/Prod"),
        ({"folders": ("Apps",)}, "folder 'Apps' matches nothing that holds VMs", "Did you mean App?"),
        ({"folders": ("Prod",), "datacenters": ("dc3",)}, "datacenter 'dc3' matches nothing that holds VMs", "dc1, dc2"),
        ({"folders": ("Test",), "hosts": ("esx-02",)}, "the selection holds no VM", "esxi_hostname, cluster_name"),
        ({"vms": ("app-01",), "exclude": ("*",)}, "the selection holds no VM", "exclude"),
    ],
)
def test_what_cannot_be_meant_is_told_with_candidates(selection: dict[str, Any], cause: str, hint: str) -> None:
    with pytest.raises(TargetUnknown) as caught:
        ids(**selection)
    assert cause in caught.value.cause and hint in caught.value.hint


def test_the_options_of_vms_are_read_beside_those_of_hosts() -> None:
    assert Selection.parse({"vm_name": [" a "], "esxi_hostname": None}) == Selection(vms=("a",))
    assert not Selection(vms=("a",)).empty
    with pytest.raises(BadInput, match="vm_name holds an empty name"):
        Selection.parse({"vm_name": [""]})


# ---- the tree as the server gives it ------------------------------------------------------------------------------------


def made(*machines: tuple[str, str, str | None, dict[str, Any]]) -> list[Target]:
    tree = rows(
        ("Folder", "group-d1", "Datacenters", None),
        ("Folder", "group-d2", "Europe%2fWest", "Folder:group-d1"),
        ("Datacenter", "datacenter-3", "dc%251", "Folder:group-d2"),
        ("Folder", "group-h4", "host", "Datacenter:datacenter-3"),
        ("ClusterComputeResource", "domain-c5", "prod", "Folder:group-h4"),
        ("HostSystem", "host-6", "esx%2f6", "ClusterComputeResource:domain-c5"),
        ("Folder", "group-v4", "vm", "Datacenter:datacenter-3"),
        ("Folder", "group-v5", "a%2fb", "Folder:group-v4"),
        *((("VirtualMachine", moid, name, parent)) for moid, name, parent, _values in machines),
    )
    for moid, _name, _parent, values in machines:
        tree[Ref("VirtualMachine", moid)].values.update(values)
    hosts = {found.ref: found for found in inventory._hosts(tree)}
    return inventory._vms(tree, hosts)


ON = {"runtime.host": Ref("HostSystem", "host-6"), "runtime.connectionState": "connected"}


def test_a_vm_is_told_with_its_folders_and_with_the_host_it_runs_on() -> None:
    (found,) = made(("vm-1", "app%2501", "Folder:group-v5", ON))
    assert found.name == "app%01" and found.path == "Europe/West/dc%1/a/b/app%01"
    assert (found.host, found.host_name) == (Ref("HostSystem", "host-6"), "esx/6")
    assert found.parent == Ref("Folder", "group-v5") and found.datacenter == Ref("Datacenter", "datacenter-3")
    assert found.place("cluster") is None and found.connection == "connected"


def test_the_hidden_folder_of_vms_is_no_place() -> None:
    (found,) = made(("vm-1", "a", "Folder:group-v4", ON))
    assert found.path == "Europe/West/dc%1/a" and found.parent == Ref("Folder", "group-v4")


def test_a_vm_in_a_vapp_has_no_folder_and_its_hosts_datacenter() -> None:
    (found,) = made(("vm-1", "a", None, ON))
    assert found.parent is None and found.path == "Europe/West/dc%1/a"
    assert found.datacenter == Ref("Datacenter", "datacenter-3") and found.within("cluster") == {}


def test_a_vm_of_which_nothing_may_be_read_is_still_there() -> None:
    (found,) = made(("vm-1", "a", None, {}))
    assert (found.connection, found.host, found.host_name, found.places) == ("unknown", None, "", ())


# ---- from a server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Simulator]:
    key_servers_for("encrypted")
    with Simulator("encrypted") as sim:
        yield sim


def connect(sim: Simulator) -> Session:
    return Session(Endpoint(**reach(sim), session="single"), Guard(60), may_write=False)


def test_every_vm_comes_in_one_retrieval_with_hosts_and_folders(encrypted: Simulator) -> None:
    encrypted.clear_journal()
    with connect(encrypted) as session:
        found = {target.name: target for target in select_vms(session, Selection(vms=("*",)))}
    assert encrypted.summary()["by_method"]["RetrievePropertiesEx"] == 1
    assert len(found) == 18 and {target.ref.type for target in found.values()} == {"VirtualMachine"}
    assert [found["app-01"].host_name, found["app-02"].host_name] == ["esx-01.example.com", "esx-02.example.com"]
    assert found["app-01"].path.endswith("/Prod/App/app-01") and found["db-01"].place("folder") == "Prod"
    assert found["app-01"].parent and found["app-01"].datacenter
    assert {name: found[name].connection for name in ("orphan-01", "broken-01", "lost-01")} == {
        "orphan-01": "orphaned",
        "broken-01": "invalid",
        "lost-01": "inaccessible",
    }


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"hosts": ("esx-05*",)}, ["native-01", "trusted-01"]),
        ({"clusters": ("Gold",), "vms": ("*-01",), "folders": ("Prod",)}, ["app-01", "db-01"]),
        ({"folders": ("App",), "exclude": ("app-0[34]",)}, ["app-01", "app-02"]),
    ],
)
def test_vms_are_selected_on_a_vcenter(encrypted: Simulator, selection: dict[str, Any], expected: list[str]) -> None:
    with connect(encrypted) as session:
        assert [target.name for target in select_vms(session, Selection(**selection))] == expected


def test_nothing_selected_on_a_vcenter_is_bad_input_before_anything_is_read(encrypted: Simulator) -> None:
    encrypted.clear_journal()
    with connect(encrypted) as session, pytest.raises(BadInput, match="no VM is selected on a vCenter"):
        select_vms(session, Selection(exclude=("x",)))
    assert "RetrievePropertiesEx" not in encrypted.summary()["by_method"]


def test_hosts_are_selected_without_a_look_at_vms(encrypted: Simulator) -> None:
    encrypted.clear_journal()
    with connect(encrypted) as session:
        assert len(select_hosts(session, Selection(hosts=("*",)))) == 6
    (call,) = [entry for entry in encrypted.journal if entry.method == "RetrievePropertiesEx"]
    assert "VirtualMachine" not in str(call.args)


def test_a_stand_alone_host_needs_no_selection_of_vms() -> None:
    key_servers_for("standalone_encrypted")
    with Simulator("standalone_encrypted") as sim, connect(sim) as session:
        found = select_vms(session, Selection())
        assert found and {target.host for target in found} == {Ref("HostSystem", "ha-host")}
        assert {target.host_name for target in found} != {""}
        by_id = select_vms(session, Selection(vms=(found[0].ref.id,)))
        assert [target.ref for target in by_id] == [found[0].ref]
        assert len(select_vms(session, Selection(exclude=(found[0].name,)))) == len(found) - 1

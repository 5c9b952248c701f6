# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selection: names, globs, ids, containers; what is unknown or ambiguous is told with candidates."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Selection, Target, _hosts, choose
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, TargetUnknown


def host(number: int, name: str, *places: tuple[str, str]) -> Target:
    return Target(ref=Ref("HostSystem", f"host-{number}"), name=name, connection="connected", places=places)


EU = (("folder", "Europe"), ("datacenter", "dc1"))
US = (("datacenter", "dc2"),)
HOSTS = [
    host(1, "esx-01.example.com", *EU, ("cluster", "prod")),
    host(2, "ESX-02.example.com", *EU, ("cluster", "prod")),
    host(3, "esx-03.example.com", *EU, ("folder", "racks"), ("folder", "rack[1]")),
    host(4, "esx-01.example.com", *US, ("cluster", "prod")),
    host(5, "lab-1", *US, ("cluster", "test")),
    host(6, "lab-2", *US),
    host(7, "host-5", *US, ("cluster", "test")),
]


def ids(**selection: Any) -> list[int]:
    return [int(found.ref.id.partition("-")[2]) for found in choose(HOSTS, Selection(**selection))]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        # names
        ({"hosts": ("lab-1",)}, [5]),
        ({"hosts": ("LAB-1",)}, [5]),
        ({"hosts": ("esx-02.EXAMPLE.com",)}, [2]),
        ({"hosts": ("lab-2", "lab-1")}, [5, 6]),
        ({"hosts": ("lab-1", "lab-*", "lab-1")}, [5, 6]),
        # globs, without case
        ({"hosts": ("*",)}, [1, 2, 3, 4, 5, 6, 7]),
        ({"hosts": ("esx-0?.example.com",)}, [1, 2, 3, 4]),
        ({"hosts": ("EsX-0[2-3]*",)}, [2, 3]),
        # managed object ids; a host that is named like an id wins over the id
        ({"hosts": ("host-4",)}, [4]),
        ({"hosts": ("host-1", "host-2")}, [1, 2]),
        ({"hosts": ("host-5",)}, [7]),
        # containers
        ({"clusters": ("test",)}, [5, 7]),
        ({"clusters": ("TEST",)}, [5, 7]),
        ({"clusters": ("Europe/dc1/prod",)}, [1, 2]),
        ({"clusters": ("/europe/DC1/prod/",)}, [1, 2]),
        ({"clusters": ("dc2/prod", "test")}, [4, 5, 7]),
        ({"clusters": ("*",)}, [1, 2, 4, 5, 7]),
        ({"clusters": ("p?od",)}, [1, 2, 4]),
        ({"datacenters": ("dc2",)}, [4, 5, 6, 7]),
        ({"datacenters": ("Europe/dc1",)}, [1, 2, 3]),
        ({"datacenters": ("dc1", "dc2")}, [1, 2, 3, 4, 5, 6, 7]),
        ({"folders": ("Europe",)}, [1, 2, 3]),
        ({"folders": ("racks",)}, [3]),
        ({"folders": ("Europe/dc1/racks",)}, [3]),
        # a narrower place makes a name or a cluster unambiguous
        ({"datacenters": ("dc2",), "clusters": ("prod",)}, [4]),
        ({"datacenters": ("dc1",), "hosts": ("esx-01.example.com",)}, [1]),
        ({"folders": ("Europe",), "clusters": ("prod",)}, [1, 2]),
        # exclusion
        ({"hosts": ("*",), "exclude": ("esx-*", "lab-2")}, [5, 7]),
        ({"datacenters": ("dc2",), "exclude": ("host-4",)}, [5, 6, 7]),
        # a glob may match nothing
        ({"hosts": ("lab-*",), "exclude": ("no-*", "nobod?", "nob[oa]dy")}, [5, 6]),
        ({"hosts": ("lab-*",), "exclude": ("LAB-1",)}, [6]),
        ({"hosts": ("lab-1", "host-1"), "exclude": ("host-1",)}, [5]),
    ],
)
def test_a_selection_finds_these_hosts_in_the_order_of_the_inventory(selection: dict[str, Any], expected: list[int]) -> None:
    assert ids(**selection) == expected


@pytest.mark.parametrize(
    ("selection", "cause", "hint"),
    [
        # unknown, with near names first
        ({"hosts": ("lab-3",)}, "esxi_hostname 'lab-3' matches no host", "Did you mean lab-1, lab-2?"),
        ({"hosts": ("lab-1", "esx-02.exmaple.com")}, "'esx-02.exmaple.com' matches no host", "ESX-02.example.com"),
        ({"hosts": ("zzz",)}, "'zzz' matches no host", "There are: esx-01.example.com, "),
        ({"hosts": ("zzz-*",)}, "'zzz-*' matches no host", "There are: "),
        ({"hosts": ("host-99",)}, "'host-99' matches no host", "host-5"),
        ({"hosts": ("lab-1",), "datacenters": ("dc1",)}, "'lab-1' matches no host", "esx-"),
        ({"clusters": ("prud",), "datacenters": ("dc1",)}, "cluster_name 'prud' matches nothing that holds hosts", "Did you mean prod?"),
        ({"clusters": ("x*",)}, "cluster_name 'x*' matches nothing", "prod, test"),
        ({"datacenters": ("dc9",)}, "datacenter 'dc9' matches nothing", "dc1, dc2"),
        ({"folders": ("dc1",)}, "folder 'dc1' matches nothing", "Europe"),
        # ambiguous: never guessed
        ({"hosts": ("esx-01.example.com",)}, "is the name of 2 hosts", "Europe/dc1/prod/esx-01.example.com (host-1)"),
        ({"hosts": ("ESX-01.EXAMPLE.COM",)}, "is the name of 2 hosts", "dc2/prod/esx-01.example.com (host-4)"),
        ({"clusters": ("prod",)}, "cluster_name 'prod' stands for 2 places", "Europe/dc1/prod, dc2/prod"),
        ({"hosts": ("*",), "exclude": ("esx-01.example.com",)}, "exclude 'esx-01.example.com' is the name of 2 hosts", "host-4"),
        # a plain name to exclude that is mistyped would leave the host in
        ({"hosts": ("lab-*",), "exclude": ("lab-3",)}, "exclude 'lab-3' matches no host", "Did you mean lab-1, lab-2?"),
        ({"hosts": ("lab-*",), "exclude": ("no-*", "nobody")}, "exclude 'nobody' matches no host", "There are: esx-01.example.com, "),
        ({"hosts": ("lab-*",), "exclude": ("host-99",)}, "exclude 'host-99' matches no host", "host-5"),
        # nothing left
        ({"hosts": ("lab-1",), "exclude": ("*",)}, "the selection holds no host", "exclude"),
    ],
)
def test_what_cannot_be_meant_is_told_with_candidates(selection: dict[str, Any], cause: str, hint: str) -> None:
    with pytest.raises(TargetUnknown) as caught:
        ids(**selection)
    assert cause in caught.value.cause
    assert hint in caught.value.hint


def test_the_list_of_candidates_stays_short() -> None:
    crowd = [host(number, f"node{number:04}") for number in range(500)]
    with pytest.raises(TargetUnknown) as caught:
        choose(crowd, Selection(hosts=("zzz",)))
    assert caught.value.hint.endswith("node0007 and 492 more.")
    assert len(caught.value.sentence) < 300


def test_a_name_with_brackets_can_be_selected_by_its_own_spelling() -> None:
    """A name is a glob only if it is not the name of something."""
    assert ids(folders=("rack[1]",)) == [3]


@pytest.mark.parametrize("option", ["esxi_hostname", "cluster_name", "datacenter", "folder", "exclude"])
def test_an_empty_name_is_bad_input_that_names_its_option(option: str) -> None:
    with pytest.raises(BadInput, match=f"{option} holds an empty name"):
        Selection.parse({option: ["good", "  "]})


def test_names_are_stripped_and_nothing_given_selects_nothing() -> None:
    parsed = Selection.parse({"esxi_hostname": [" lab-1 "], "exclude": ["x"]})
    assert parsed.hosts == ("lab-1",) and not parsed.empty
    assert Selection.parse({}).empty and Selection.parse({"exclude": ["x"]}).empty and not Selection.parse({"folder": ["x"]}).empty


# ---- the tree as the server gives it ------------------------------------------------------------------------------------


def rows(*items: tuple[str, str, str, str | None]) -> dict[Ref, Row]:
    """(type, id, name, "Type:id" of the parent)."""
    made = {}
    for kind, moid, name, parent in items:
        values: dict[str, Any] = {"name": name}
        if parent:
            values["parent"] = Ref(*parent.split(":"))
        made[Ref(kind, moid)] = Row(Ref(kind, moid), values, {})
    return made


TREE = (
    ("Folder", "group-d1", "Datacenters", None),
    ("Folder", "group-d2", "Europe%2fWest", "Folder:group-d1"),
    ("Datacenter", "datacenter-3", "dc%251", "Folder:group-d2"),
    ("Folder", "group-h4", "host", "Datacenter:datacenter-3"),
    ("ClusterComputeResource", "domain-c5", "prod", "Folder:group-h4"),
    ("HostSystem", "host-6", "b.example.com", "ClusterComputeResource:domain-c5"),
    ("Folder", "group-h7", "racks", "Folder:group-h4"),
    ("ComputeResource", "domain-s8", "a.example.com", "Folder:group-h7"),
    ("HostSystem", "host-9", "a.example.com", "ComputeResource:domain-s8"),
)


def test_paths_leave_out_the_root_the_hidden_folder_and_a_lone_hosts_own_resource() -> None:
    lone, clustered = _hosts(rows(*TREE))
    assert lone.path == "Europe/West/dc%1/racks/a.example.com"
    assert clustered.path == "Europe/West/dc%1/prod/b.example.com"
    assert [kind for kind, _name in lone.places] == ["folder", "datacenter", "folder"]


def test_names_that_the_server_keeps_url_encoded_are_shown_and_selected_as_people_write_them() -> None:
    hosts = _hosts(rows(*TREE))
    assert [found.name for found in choose(hosts, Selection(datacenters=("dc%1",)))] == ["a.example.com", "b.example.com"]
    assert choose(hosts, Selection(folders=("Europe/West",)))
    assert choose(hosts, Selection(clusters=("Europe/West/dc%1/prod",)))[0].name == "b.example.com"


def test_within_gives_every_container_of_a_kind_with_its_path() -> None:
    lone = _hosts(rows(*TREE))[0]
    assert lone.within("folder") == {"Europe/West": "Europe/West", "Europe/West/dc%1/racks": "racks"}
    assert lone.within("cluster") == {}
    assert lone.place("folder") == "racks" and lone.place("datacenter") == "dc%1" and lone.place("cluster") is None


def test_hosts_come_in_the_order_of_their_names_and_then_of_their_paths() -> None:
    tree = rows(
        ("HostSystem", "host-2", "b", None),
        ("HostSystem", "host-3", "a", "Folder:x"),
        ("HostSystem", "host-1", "a", "ClusterComputeResource:c"),
        ("ClusterComputeResource", "c", "z", "Folder:x"),
        ("Folder", "x", "y", "Folder:root"),
        ("Folder", "root", "Datacenters", None),
    )
    assert [found.ref.id for found in _hosts(tree)] == ["host-3", "host-1", "host-2"]


def test_a_host_whose_name_and_parents_may_not_be_read_is_still_there_under_its_id() -> None:
    (found,) = _hosts({Ref("HostSystem", "host-1"): Row(Ref("HostSystem", "host-1"), {}, {"name": "NoPermission"})})
    assert found.name == "host-1" and found.connection == "unknown" and found.path == "host-1"

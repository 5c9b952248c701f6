# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a task is about: names, globs, clusters, datacenters, folders. Private to this collection."""

from __future__ import annotations

import difflib
import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any
from urllib.parse import unquote

from .._domain.errors import BadInput, FleetcareError, TargetUnknown, listed
from .properties import Row, pages
from .session import Session
from .vmomi import Ref

_KINDS = {"Folder": "folder", "Datacenter": "datacenter", "ClusterComputeResource": "cluster"}
_NONE = Ref("", "")
UNKNOWN = "unknown"
_Step = tuple[str, str, str, tuple[str, ...]]

# From the root folder down to the hosts, by the references that vSphere has had since 2.0: no view to create, none
# to forget. Each step names the steps that may follow.
_STEPS = (
    ("folders", "Folder", "childEntity", ("folders", "datacenters", "compute")),
    ("datacenters", "Datacenter", "hostFolder", ("folders",)),
    ("compute", "ComputeResource", "host", ()),
)
# And on to the VMs: hosts have all of them, those in vApps, templates and orphaned ones, too; the folders of VMs are
# walked for their names only.
_STEPS_TO_VMS = (
    ("folders", "Folder", "childEntity", ("folders", "datacenters", "vm_folders", "compute")),
    ("datacenters", "Datacenter", "hostFolder", ("folders",)),
    ("vm_folders", "Datacenter", "vmFolder", ("folders",)),
    ("compute", "ComputeResource", "host", ("vms",)),
    ("vms", "HostSystem", "vm", ()),
)
_PATHS = {
    "Folder": ("name", "parent"),
    "Datacenter": ("name", "parent"),
    "ComputeResource": ("name", "parent"),
    "HostSystem": ("name", "parent", "runtime.connectionState"),
}
_PATHS_TO_VMS = {**_PATHS, "VirtualMachine": ("name", "parent", "runtime.connectionState", "runtime.host")}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One host or one VM. ``connection`` is what vCenter says: of a host connected, disconnected or notResponding, of a VM
    connected, disconnected (its host is), orphaned, inaccessible or invalid; UNKNOWN if it may not be read.

    ``places`` are the containers above it from the top down, as (kind, name); kinds are folder, datacenter, cluster. Those
    of a VM are its folders, not the cluster that it runs in. ``host`` and ``host_name``: where a VM runs; ``parent``: its
    folder, None in a vApp; ``has_twin``: another one there has its name. ``problem``: why there is nothing but the name.
    """

    ref: Ref
    name: str
    connection: str
    places: tuple[tuple[str, str], ...] = ()
    datacenter: Ref | None = None
    host: Ref | None = None
    host_name: str = ""
    parent: Ref | None = None
    has_twin: bool = False
    problem: FleetcareError | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        return "/".join((*(name for _kind, name in self.places), self.name))

    def within(self, kind: str) -> dict[str, str]:
        """Path and name of every container of a kind that holds this target."""
        names = [name for _kind, name in self.places]
        return {"/".join(names[: i + 1]): name for i, (own, name) in enumerate(self.places) if own == kind}

    def place(self, kind: str) -> str | None:
        return next((name for own, name in reversed(self.places) if own == kind), None)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the user asked for. Empty means: not restricted by this. Folders of VMs are not those of hosts. ``skip_missing``: a
    VM that is not there is no mistake. ``go_on``: the name of a host that stands for none, or for several, is a target with its
    ``problem`` instead of an error that ends the run."""

    vms: tuple[str, ...] = ()
    moids: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    datacenters: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    skip_missing: bool = False
    go_on: bool = False

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Selection:
        chosen = {}
        for part, option in (
            ("vms", "vm_name"),
            ("moids", "vm_moid"),
            ("hosts", "esxi_hostname"),
            ("clusters", "cluster_name"),
            ("datacenters", "datacenter"),
            ("folders", "folder"),
            ("exclude", "exclude"),
        ):
            names = tuple(name.strip() for name in params.get(option) or ())
            if "" in names:
                raise BadInput(f"{option} holds an empty name", hint="Remove it; often a variable is empty there.")
            chosen[part] = names
        return cls(**chosen, skip_missing=bool(params.get("skip_missing")), go_on=params.get("unknown_hosts") == "go_on")

    @property
    def empty(self) -> bool:
        return not (self.vms or self.moids or self.hosts or self.clusters or self.datacenters or self.folders)


def select_hosts(session: Session, selection: Selection) -> list[Target]:
    """The hosts of a selection, in the order of their names. Raises TargetUnknown with candidates."""
    return _selected(session, _hosts(_read(session, _STEPS, _PATHS)), selection)


def _selected(session: Session, hosts: list[Target], selection: Selection) -> list[Target]:
    if selection.empty:
        if session.is_vcenter:
            raise BadInput(
                "no host is selected on a vCenter",
                target=session.endpoint.name,
                hint="Name hosts with esxi_hostname, or use cluster_name, datacenter or folder; esxi_hostname: ['*'] means every host.",
            )
        return hosts
    # A stand-alone host is what it is, whatever an inventory of Ansible calls it; of several names one at most is its own.
    if selection.go_on and not session.is_vcenter and len(set(selection.hosts)) == 1:
        selection = replace(selection, hosts=())
        return hosts if selection.empty and not selection.exclude else choose(hosts, selection)
    return choose(hosts, selection)


def select_vms(session: Session, selection: Selection) -> list[Target]:
    """The VMs of a selection, in the order of their names. Raises TargetUnknown with candidates."""
    if selection.empty and session.is_vcenter:
        raise BadInput(
            "no VM is selected on a vCenter",
            target=session.endpoint.name,
            hint="Name VMs with vm_name, or use esxi_hostname, cluster_name, datacenter or folder; vm_name: ['*'] means every VM.",
        )
    rows = _read(session, _STEPS_TO_VMS, _PATHS_TO_VMS)
    hosts = _hosts(rows)
    vms = _vms(rows, {host.ref: host for host in hosts})
    return vms if selection.empty and not selection.exclude else choose_vms(vms, hosts, selection)


def select_hosts_and_vms(session: Session, selection: Selection) -> tuple[list[Target], list[Target]]:
    """The hosts of a selection, and the VMs that run on them; of every host, also those of which no host is told. One walk."""
    rows = _read(session, _STEPS_TO_VMS, _PATHS_TO_VMS)
    hosts = _hosts(rows)
    vms = _vms(rows, {host.ref: host for host in hosts})
    chosen = _selected(session, hosts, selection)
    running = {host.ref for host in chosen}
    if running >= {host.ref for host in hosts}:
        return chosen, vms
    return chosen, [vm for vm in vms if vm.host in running]


def choose(hosts: list[Target], selection: Selection) -> list[Target]:
    """The pure part of the selection."""
    chosen = hosts
    for option, kind, wanted in (
        ("datacenter", "datacenter", selection.datacenters),
        ("folder", "folder", selection.folders),
        ("cluster_name", "cluster", selection.clusters),
    ):
        if wanted:
            chosen = _within(option, kind, wanted, chosen)
    unknown: list[Target] = []
    if selection.hosts:
        named: set[Ref] = set()
        for name in dict.fromkeys(selection.hosts):
            try:
                named |= {host.ref for host in _named("esxi_hostname", name, chosen)}
            except TargetUnknown as problem:
                if not selection.go_on:
                    raise
                unknown.append(Target(ref=_NONE, name=name, connection="", problem=problem))
        chosen = [host for host in chosen if host.ref in named]
    if selection.go_on and (chosen or unknown):
        # Names of an inventory: it may have others than this endpoint, and all of them may be meant.
        return [host for host in (*chosen, *unknown) if not any(_is_called(host, name) for name in selection.exclude)]
    chosen = _without(selection.exclude, chosen, hosts)
    if not chosen:
        raise TargetUnknown("the selection holds no host", hint="Check cluster_name, datacenter, folder and exclude together.")
    return chosen


def choose_vms(vms: list[Target], hosts: list[Target], selection: Selection) -> list[Target]:
    """The pure part of the selection. Clusters and hosts are selected as if for hosts; what runs on them is chosen."""
    chosen = vms
    for option, kind, wanted in (("datacenter", "datacenter", selection.datacenters), ("folder", "folder", selection.folders)):
        if wanted:
            chosen = _within(option, kind, wanted, chosen, "VM")
    if selection.hosts or selection.clusters:
        beneath = Selection(hosts=selection.hosts, clusters=selection.clusters, datacenters=selection.datacenters)
        running = {host.ref for host in choose(hosts, beneath)}
        chosen = [vm for vm in chosen if vm.host in running]
    must = not selection.skip_missing
    gone = sorted(set(selection.moids) - {vm.ref.id for vm in vms})
    if gone and must:
        raise TargetUnknown(
            f"vm_moid {gone[0]!r} is the id of no VM", hint="A VM that was registered anew has another; skip_missing leaves it out."
        )
    if selection.vms or selection.moids:
        named = {vm.ref for name in selection.vms for vm in _named("vm_name", name, chosen, "VM", must=must)}
        named |= {vm.ref for vm in chosen if vm.ref.id in selection.moids}
        chosen = [vm for vm in chosen if vm.ref in named]
    chosen = _without(selection.exclude, chosen, vms, "VM")
    if not chosen and not selection.skip_missing:
        raise TargetUnknown("the selection holds no VM", hint="Check esxi_hostname, cluster_name, datacenter, folder and exclude together.")
    return chosen


def _is_called(target: Target, name: str) -> bool:
    own = target.name.lower()
    return own == name.lower() or target.ref.id == name or fnmatch.fnmatchcase(own, name.lower())


def _without(names: Iterable[str], chosen: list[Target], targets: list[Target], noun: str = "host") -> list[Target]:
    for name in names:
        gone = {target.ref for target in _named("exclude", name, targets, noun, must=not any(sign in name for sign in "*?["))}
        chosen = [target for target in chosen if target.ref not in gone]
    return chosen


def _named(option: str, name: str, targets: list[Target], noun: str = "host", *, must: bool = True) -> list[Target]:
    found = [target for target in targets if target.name.lower() == name.lower()]
    if len(found) > 1:
        raise TargetUnknown(
            f"{option} {name!r} is the name of {len(found)} {noun}s",
            hint=f"Add {'folder' if noun == 'VM' else 'cluster_name'} or datacenter, or use the managed object id: "
            + _listed(f"{target.path} ({target.ref.id})" for target in found)
            + ".",
        )
    found = found or [target for target in targets if target.ref.id == name]
    if not found:
        found = [target for target in targets if fnmatch.fnmatchcase(target.name.lower(), name.lower())]
    if must and not found:
        raise TargetUnknown(f"{option} {name!r} matches no {noun}", hint=_candidates(name, [target.name for target in targets]))
    return found


def _within(option: str, kind: str, wanted: Iterable[str], targets: list[Target], noun: str = "host") -> list[Target]:
    """What is in a container. A plain name that stands for two containers is not guessed at."""
    names: dict[str, str] = {}
    for target in targets:
        names.update(target.within(kind))
    paths: set[str] = set()
    for name in wanted:
        found = {path for path, own in names.items() if own.lower() == name.lower() or path.lower() == name.strip("/").lower()}
        if len(found) > 1:
            raise TargetUnknown(
                f"{option} {name!r} stands for {len(found)} places",
                hint="Give the whole path: " + _listed(sorted(found)) + ".",
            )
        if not found:
            found = {path for path, own in names.items() if fnmatch.fnmatchcase(own.lower(), name.lower())}
        if not found:
            raise TargetUnknown(
                f"{option} {name!r} matches nothing that holds {noun}s",
                hint=_candidates(name, sorted(set(names.values()))),
            )
        paths |= found
    return [target for target in targets if paths & set(target.within(kind))]


def _candidates(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), [item.lower() for item in known], n=5, cutoff=0.5)
    close = [item for item in known if item.lower() in near]
    if close:
        return "Did you mean " + _listed(close) + "?"
    return "There are: " + _listed(known) + "." if known else "There are none here."


def _listed(names: Iterable[str]) -> str:
    return listed(list(names), 8)


def _read(session: Session, steps: Iterable[_Step], paths: Mapping[str, Sequence[str]]) -> dict[Ref, Row]:
    """One retrieval from the root folder down."""
    walk = "".join(
        f'<selectSet xsi:type="TraversalSpec"><name>{name}</name><type>{kind}</type><path>{path}</path><skip>false</skip>'
        + "".join(f"<selectSet><name>{follower}</name></selectSet>" for follower in followers)
        + "</selectSet>"
        for name, kind, path, followers in steps
    )
    root = session.content.rootFolder._moId
    return pages(session, paths, f'<objectSet><obj type="Folder">{escape(root)}</obj><skip>false</skip>{walk}</objectSet>')


def _hosts(rows: dict[Ref, Row]) -> list[Target]:
    hosts = [_target(row, rows) for ref, row in rows.items() if ref.type == "HostSystem"]
    return sorted(hosts, key=lambda host: (host.name, host.path, host.ref.id))


def _vms(rows: dict[Ref, Row], hosts: Mapping[Ref, Target]) -> list[Target]:
    vms = []
    for ref, row in rows.items():
        if ref.type == "VirtualMachine":
            vm = replace(_target(row, rows), host=row.values.get("runtime.host"), parent=row.values.get("parent"))
            on = hosts.get(vm.host or _NONE)
            if on:
                vm = replace(vm, host_name=on.name)
                if vm.datacenter is None:  # in a vApp: no folder tells
                    kinds = [kind for kind, _name in on.places]
                    down_to = kinds.index("datacenter") + 1 if "datacenter" in kinds else 0
                    vm = replace(vm, places=on.places[:down_to], datacenter=on.datacenter)
            vms.append(vm)
    places = Counter((vm.parent, vm.name) for vm in vms)
    vms = [replace(vm, has_twin=True) if places[vm.parent, vm.name] > 1 else vm for vm in vms]
    return sorted(vms, key=lambda vm: (vm.name, vm.path, vm.ref.id))


def _target(row: Row, rows: dict[Ref, Row]) -> Target:
    return Target(
        ref=row.ref,
        name=_name(row),
        connection=row.values.get("runtime.connectionState", UNKNOWN),
        places=tuple(_places(row, rows)),
        datacenter=_above(row, rows, "Datacenter"),
    )


def _places(row: Row, rows: dict[Ref, Row]) -> list[tuple[str, str]]:
    """The containers of a host or VM from the top down, without the root, the hidden folders of each datacenter and a
    compute resource that is there for this one host only."""
    places: list[tuple[str, str]] = []
    parent = rows.get(row.values.get("parent", _NONE))
    while parent is not None:
        above = rows.get(parent.values.get("parent", _NONE))
        hidden = parent.ref.type == "Folder" and (above is None or above.ref.type == "Datacenter")
        if not hidden and parent.ref.type != "ComputeResource":
            places.insert(0, (_KINDS[parent.ref.type], _name(parent)))
        parent = above
    return places


def _above(row: Row, rows: dict[Ref, Row], kind: str) -> Ref | None:
    """The nearest container of a kind."""
    parent = rows.get(row.values.get("parent", _NONE))
    while parent is not None and parent.ref.type != kind:
        parent = rows.get(parent.values.get("parent", _NONE))
    return parent.ref if parent else None


def _name(row: Row) -> str:
    """vCenter keeps /, \\ and % in names as %2f, %5c and %25."""
    return unquote(row.values.get("name", row.ref.id))

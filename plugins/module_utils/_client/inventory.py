# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a task is about: names, globs, clusters, datacenters, folders. Private to this collection."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import unquote

from .._domain.errors import BadInput, TargetUnknown, listed
from .properties import Row, pages
from .session import Session
from .vmomi import Ref

_KINDS = {"Folder": "folder", "Datacenter": "datacenter", "ClusterComputeResource": "cluster"}
_NONE = Ref("", "")
UNKNOWN = "unknown"
_MOID = re.compile(r"^(ha-host|host-\d+)$")

# From the root folder down to the hosts, by the references that vSphere has had since 2.0: no view to create, none
# to forget. Each step names the steps that may follow.
_STEPS = (
    ("folders", "Folder", "childEntity", ("folders", "datacenters", "compute")),
    ("datacenters", "Datacenter", "hostFolder", ("folders",)),
    ("compute", "ComputeResource", "host", ()),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One host. ``connection`` is what vCenter says: connected, disconnected or notResponding; UNKNOWN if it may not be read.

    ``places`` are the containers above it from the top down, as (kind, name); kinds are folder, datacenter, cluster.
    """

    ref: Ref
    name: str
    connection: str
    places: tuple[tuple[str, str], ...] = ()
    datacenter: Ref | None = None

    @property
    def path(self) -> str:
        return "/".join((*(name for _kind, name in self.places), self.name))

    def within(self, kind: str) -> dict[str, str]:
        """Path and name of every container of a kind that holds this host."""
        names = [name for _kind, name in self.places]
        return {"/".join(names[: i + 1]): name for i, (own, name) in enumerate(self.places) if own == kind}

    def place(self, kind: str) -> str | None:
        return next((name for own, name in reversed(self.places) if own == kind), None)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the user asked for. Empty means: not restricted by this."""

    hosts: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    datacenters: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Selection:
        chosen = {}
        for field, option in (
            ("hosts", "esxi_hostname"),
            ("clusters", "cluster_name"),
            ("datacenters", "datacenter"),
            ("folders", "folder"),
            ("exclude", "exclude"),
        ):
            names = tuple(name.strip() for name in params.get(option) or ())
            if "" in names:
                raise BadInput(f"{option} holds an empty name", hint="Remove it; often a variable is empty there.")
            chosen[field] = names
        return cls(**chosen)

    @property
    def empty(self) -> bool:
        return not (self.hosts or self.clusters or self.datacenters or self.folders)


def select_hosts(session: Session, selection: Selection) -> list[Target]:
    """The hosts of a selection, in the order of their names. Raises TargetUnknown with candidates."""
    hosts = _hosts(_read(session))
    if selection.empty:
        if session.is_vcenter:
            raise BadInput(
                "no host is selected on a vCenter",
                target=session.endpoint.name,
                hint="Name hosts with esxi_hostname, or use cluster_name, datacenter or folder; esxi_hostname: ['*'] means every host.",
            )
        return hosts
    return choose(hosts, selection)


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
    if selection.hosts:
        named = {host.ref for name in selection.hosts for host in _named("esxi_hostname", name, chosen)}
        chosen = [host for host in chosen if host.ref in named]
    for name in selection.exclude:
        gone = {host.ref for host in _named("exclude", name, hosts, must=not any(sign in name for sign in "*?["))}
        chosen = [host for host in chosen if host.ref not in gone]
    if not chosen:
        raise TargetUnknown("the selection holds no host", hint="Check cluster_name, datacenter, folder and exclude together.")
    return chosen


def _named(option: str, name: str, hosts: list[Target], *, must: bool = True) -> list[Target]:
    found = [host for host in hosts if host.name.lower() == name.lower()]
    if len(found) > 1:
        raise TargetUnknown(
            f"{option} {name!r} is the name of {len(found)} hosts",
            hint="Add cluster_name or datacenter, or use the managed object id: "
            + _listed(f"{host.path} ({host.ref.id})" for host in found)
            + ".",
        )
    if not found and _MOID.match(name):
        found = [host for host in hosts if host.ref.id == name]
    if not found:
        found = [host for host in hosts if fnmatch.fnmatchcase(host.name.lower(), name.lower())]
    if must and not found:
        raise TargetUnknown(f"{option} {name!r} matches no host", hint=_candidates(name, [host.name for host in hosts]))
    return found


def _within(option: str, kind: str, wanted: Iterable[str], hosts: list[Target]) -> list[Target]:
    """Hosts in a container. A plain name that stands for two containers is not guessed at."""
    names: dict[str, str] = {}
    for host in hosts:
        names.update(host.within(kind))
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
                f"{option} {name!r} matches nothing that holds hosts",
                hint=_candidates(name, sorted(set(names.values()))),
            )
        paths |= found
    return [host for host in hosts if paths & set(host.within(kind))]


def _candidates(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), [item.lower() for item in known], n=5, cutoff=0.5)
    close = [item for item in known if item.lower() in near]
    if close:
        return "Did you mean " + _listed(close) + "?"
    return "There are: " + _listed(known) + "." if known else "There are none here."


def _listed(names: Iterable[str]) -> str:
    return listed(list(names), 8)


def _read(session: Session) -> dict[Ref, Row]:
    steps = "".join(
        f'<selectSet xsi:type="TraversalSpec"><name>{name}</name><type>{kind}</type><path>{path}</path><skip>false</skip>'
        + "".join(f"<selectSet><name>{follower}</name></selectSet>" for follower in followers)
        + "</selectSet>"
        for name, kind, path, followers in _STEPS
    )
    root = session.content.rootFolder._moId
    return pages(
        session,
        {
            "Folder": ("name", "parent"),
            "Datacenter": ("name", "parent"),
            "ComputeResource": ("name", "parent"),
            "HostSystem": ("name", "parent", "runtime.connectionState"),
        },
        f'<objectSet><obj type="Folder">{escape(root)}</obj><skip>false</skip>{steps}</objectSet>',
    )


def _hosts(rows: dict[Ref, Row]) -> list[Target]:
    hosts = []
    for ref, row in rows.items():
        if ref.type == "HostSystem":
            hosts.append(
                Target(
                    ref=ref,
                    name=_name(row),
                    connection=row.values.get("runtime.connectionState", UNKNOWN),
                    places=tuple(_places(row, rows)),
                    datacenter=_above(row, rows, "Datacenter"),
                )
            )
    return sorted(hosts, key=lambda host: (host.name, host.path, host.ref.id))


def _places(row: Row, rows: dict[Ref, Row]) -> list[tuple[str, str]]:
    """The containers of a host from the top down, without the root, the hidden host folders and a compute
    resource that is there for this one host only."""
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

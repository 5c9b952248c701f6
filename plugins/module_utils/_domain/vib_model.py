# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as far as a package of firewall rulesets is concerned, and the writes that there are. Pure. Private to this collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .vib_package import Rule, told_by

# What stays free on a datastore beside the file: a volume that is full to the last byte stops machines.
RESERVE = 16 * 1024 * 1024
# A ruleset that opens more ports in one rule is there for a purpose of its own, see firewall_model.
WIDE = 1024


@dataclass(frozen=True)
class Live:
    """A ruleset as the host has it. ``controllable`` None: a release that lets everybody toggle it."""

    enabled: bool
    rules: frozenset[Rule]
    controllable: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A package as the host tells it."""

    name: str
    version: str
    vendor: str
    description: str = ""
    maintenance: bool = False

    @property
    def rulesets(self) -> tuple[str, ...]:
        return told_by(self.description)[0]

    @property
    def content(self) -> str:
        return told_by(self.description)[1]

    def __str__(self) -> str:
        return f"{self.name} {self.version} of {self.vendor}"


@dataclass(frozen=True, kw_only=True)
class Store:
    """A datastore as one host has it. ``trouble``: why nothing can be put there, empty if something can. ``path``: where the
    host has it mounted. ``plain``: it takes files outside of machines' folders, as VMFS and NFS do."""

    name: str
    moid: str
    path: str
    free: int
    plain: bool = True
    trouble: str = ""


@dataclass(frozen=True)
class Place:
    """Where a package is put for the installation."""

    store: str
    file: str
    path: str

    def __str__(self) -> str:
        return f"[{self.store}] {self.file}"


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What decides whether a package may go in, read of hosts only that are to get one. None: nobody says."""

    level: str = ""
    exec_installed_only: bool | None = None
    image_managed: bool | None = None
    stores: tuple[Store, ...] = ()


@dataclass(frozen=True, kw_only=True)
class State:
    """One host as read. ``rulesets`` None: it reports no firewall. ``guards`` None: they were not asked for. ``uploaded`` and
    ``refreshed``: what only the run that wrote knows."""

    name: str = ""
    moid: str = ""
    uuid: str = ""
    version: str = ""
    rulesets: Mapping[str, Live] | None = None
    installed: Installed | None = None
    secure_boot: bool | None = None
    told_by: str = ""
    boot_enforced: bool = False
    sealed: bool = False
    maintenance: bool = False
    reboot_pending: bool = False
    guards: Guards | None = None
    uploaded: str = ""
    refreshed: bool = False

    def all(self) -> Mapping[str, Live]:
        return self.rulesets or {}

    def with_ruleset(self, name: str, live: Live) -> State:
        return replace(self, rulesets={**self.all(), name: live})


# ---- the writes that there are --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UploadPackage:
    place: Place
    content: bytes

    def applied_to(self, state: State) -> State:
        return replace(state, uploaded=str(self.place))

    def describe(self) -> dict[str, Any]:
        return {"change": "upload_package", "file": str(self.place), "size": len(self.content)}


@dataclass(frozen=True)
class InstallPackage:
    """``installed``: as the host will tell it."""

    installed: Installed
    place: Place
    installer: str
    force: bool = False

    def applied_to(self, state: State) -> State:
        return replace(state, installed=self.installed)

    def describe(self) -> dict[str, Any]:
        forced = {"force": True} if self.force else {}
        return {"change": "install_package", "name": self.installed.name, "version": self.installed.version, "by": self.installer, **forced}


@dataclass(frozen=True)
class RemovePackage:
    name: str
    version: str

    def applied_to(self, state: State) -> State:
        return replace(state, installed=None)

    def describe(self) -> dict[str, Any]:
        return {"change": "remove_package", "name": self.name, "version": self.version}


@dataclass(frozen=True)
class RefreshFirewall:
    """The host reads its firewall files. ``appear`` and ``vanish``: what that does to its rulesets."""

    appear: Mapping[str, Live]
    vanish: tuple[str, ...] = ()

    def applied_to(self, state: State) -> State:
        kept = {name: live for name, live in state.all().items() if name not in self.vanish}
        return replace(state, rulesets={**kept, **self.appear}, refreshed=True)

    def describe(self) -> dict[str, Any]:
        return {"change": "refresh_firewall"}


@dataclass(frozen=True)
class SetRuleset:
    """Open or close one. What a ruleset is when it appears is not sure: some hosts remember how it was left."""

    ruleset: str
    enabled: bool

    def applied_to(self, state: State) -> State:
        live = state.all().get(self.ruleset) or Live(False, frozenset())
        return state.with_ruleset(self.ruleset, replace(live, enabled=self.enabled))

    def describe(self) -> dict[str, Any]:
        return {"change": "enable_ruleset" if self.enabled else "disable_ruleset", "ruleset": self.ruleset}


@dataclass(frozen=True)
class RemoveUpload:
    """Takes the file away again, whatever became of the installation: also a part of it that is there after a refused upload."""

    place: Place
    even_after_failure = True

    def applied_to(self, state: State) -> State:
        return replace(state, uploaded="")

    def describe(self) -> dict[str, Any]:
        return {"change": "remove_upload", "file": str(self.place)}

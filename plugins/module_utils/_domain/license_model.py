# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Licences, hosts and inventories as plain values, and the writes that change them. Private to this collection."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .license_key import LicenseKey

ESXI_PRODUCT = "VMware ESX Server"
_EVALUATIONS = ("eval", "vceval")
# vSphere asks 16 cores of a processor that has fewer (KB 313548), and licenses per processor up to 32 cores of it.
# What is sold as a subscription only.
_RENTED = ("subscription", "foundation", ".vvf", ".vcf")
_LEAST_CORES = 16
_MOST_CORES = 32


def generation_of(version: str) -> str:
    """The first number in a version: 8 of ``8.0``."""
    found = re.search(r"[0-9]+", version)
    return found[0] if found else ""


@dataclass(frozen=True)
class Refusal:
    """Why a server does not take a key, in its own words without the key. ``code``: ``lc_error``, 5 for a malformed key."""

    text: str
    code: int | None = None


@dataclass(frozen=True, kw_only=True)
class License:
    """A key as a server knows it. ``total`` 0: unlimited. ``used`` None: the server counts nothing.

    ``expires`` is a date; ``minutes_left`` what a server says that has no date. ``features`` without their levels.
    """

    key: LicenseKey
    edition: str = ""
    name: str = ""
    product: str = ""
    version: str = ""
    unit: str = ""
    total: int = 0
    used: int | None = None
    features: frozenset[str] = frozenset()
    expires: datetime.datetime | None = None
    minutes_left: float | None = None
    labels: tuple[tuple[str, str], ...] = ()
    refusal: Refusal | None = None

    @property
    def is_evaluation(self) -> bool:
        return self.key.is_evaluation or self.edition.lower() in _EVALUATIONS

    @property
    def is_for_esxi(self) -> bool:
        """By its product; by its edition where a server does not tell the product."""
        return self.product == ESXI_PRODUCT if self.product else self.edition.lower().startswith("esx")

    @property
    def is_lease(self) -> bool:
        """Minutes without a date, on a subscription: how long the server may go without renewing it (centreon-plugins#5628)."""
        named = f"{self.name} {self.edition}".lower()
        return self.expires is None and self.minutes_left is not None and not self.is_evaluation and any(word in named for word in _RENTED)

    @property
    def generation(self) -> str:
        """Of the product: keys are bound to it (8 of ``8.0``)."""
        return generation_of(self.version)

    @property
    def free(self) -> int | None:
        return None if self.total == 0 else self.total - (self.used or 0)

    def days_left(self, now: datetime.datetime | None) -> float | None:
        """None: it never ends, or nobody knows."""
        if self.expires is not None:
            return None if now is None else (self.expires - now).total_seconds() / 86400
        return None if self.minutes_left is None or self.is_lease else self.minutes_left / 1440

    def units(self, packages: int, cores: int) -> int:
        """What a host takes of it. A unit that is not known counts as one a processor, the server has the last word."""
        unit, edition = self.unit.lower(), self.edition.lower()
        each = -(-cores // packages) if packages else 0
        if unit in ("server", "instance"):
            return 1
        if "32core" in unit or edition.endswith("corelimited"):
            return packages * max(1, -(-each // _MOST_CORES))
        if "core" in unit:
            return packages * max(each, _LEAST_CORES)
        return max(1, packages)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A host's own. Never its private key."""

    subject: str = ""
    issuer: str = ""
    not_before: datetime.datetime | None = None
    not_after: datetime.datetime | None = None
    status: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host. ``license``: what is assigned to it, None for nothing;
    ``vcenter``: on a host that is its own endpoint, the vCenter that manages it. ``also``: other keys that it may be running
    on, where it does not tell. ``taken``: a key that it took, without having it afterwards; ``kept``: it gave up its key and
    has it all the same."""

    moid: str
    name: str = ""
    version: str = ""
    generation: str = ""
    packages: int = 0
    cores: int = 0
    license: License | None = None
    known: bool = True
    also: tuple[LicenseKey, ...] = ()
    in_use: frozenset[str] = frozenset()
    evaluation_days: float | None = None
    vcenter: str = ""
    certificate: Certificate | None = None
    certificate_error: str = ""
    taken: LicenseKey | None = None
    kept: bool = False

    @property
    def key(self) -> LicenseKey | None:
        """The key that it runs on, if it runs on one."""
        return None if self.license is None or self.license.is_evaluation else self.license.key

    @property
    def by_files(self) -> bool:
        """From 9.0 on licences come in files through the operations manager; there is no key to write."""
        major = self.version.partition(".")[0]
        return major.isdigit() and int(major) >= 9


@dataclass(frozen=True, kw_only=True)
class User:
    """Who holds a key: a host, a vCenter or a cluster."""

    entity: str
    name: str
    key: LicenseKey


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What an endpoint knows of licences. ``offset``: seconds by which its clock is ahead of ours, ``now``: our time;
    ``undecoded``: keys that it could not be asked about, and why; ``denied``: what the user may not see; ``concerned``: the keys that a run is about."""

    licenses: Mapping[LicenseKey, License]
    decoded: Mapping[LicenseKey, License]
    undecoded: Mapping[LicenseKey, str]
    users: tuple[User, ...] = ()
    is_vcenter: bool = True
    now: datetime.datetime | None = None
    offset: float = 0.0
    denied: str = ""
    concerned: tuple[LicenseKey, ...] = ()

    @functools.cached_property
    def _holders(self) -> dict[LicenseKey, tuple[User, ...]]:
        found: dict[LicenseKey, list[User]] = {}
        for user in sorted(self.users, key=lambda user: (user.name, user.entity)):
            found.setdefault(user.key, []).append(user)
        return {key: tuple(users) for key, users in found.items()}

    def holders(self, key: LicenseKey) -> tuple[User, ...]:
        """Who has it, by name."""
        return self._holders.get(key, ())

    def of(self, key: LicenseKey) -> License | None:
        return self.licenses.get(key) or self.decoded.get(key)


# ---- changes --------------------------------------------------------------------------------------------------------


def _shown(change: str, key: LicenseKey, **more: Any) -> dict[str, Any]:
    return {"change": change, "key": key.masked, "fingerprint": key.fingerprint, **more}


@dataclass(frozen=True)
class AddKey:
    """AddLicense at a vCenter."""

    license: License
    labels: tuple[tuple[str, str], ...] = ()

    def applied_to(self, state: Inventory) -> Inventory:
        return replace(state, licenses={**state.licenses, self.license.key: replace(self.license, labels=self.labels)})

    def describe(self) -> dict[str, Any]:
        return _shown("add_key", self.license.key, **({"labels": dict(self.labels)} if self.labels else {}))


@dataclass(frozen=True)
class SetLabel:
    key: LicenseKey
    label: str
    value: str

    def applied_to(self, state: Inventory) -> Inventory:
        old = state.licenses[self.key]
        labels = tuple(sorted({**dict(old.labels), self.label: self.value}.items()))
        return replace(state, licenses={**state.licenses, self.key: replace(old, labels=labels)})

    def describe(self) -> dict[str, Any]:
        return _shown("set_label", self.key, label=self.label, value=self.value)


@dataclass(frozen=True)
class RemoveKey:
    """RemoveLicense at a vCenter, once nobody holds the key any more."""

    key: LicenseKey
    last = True

    def applied_to(self, state: Inventory) -> Inventory:
        return replace(state, licenses={key: known for key, known in state.licenses.items() if key != self.key})

    def describe(self) -> dict[str, Any]:
        return _shown("remove_key", self.key)


@dataclass(frozen=True)
class AssignKey:
    """UpdateAssignedLicense at a vCenter; on a host by itself UpdateLicense, which puts the key in the place of all others."""

    license: License

    def applied_to(self, state: Host) -> Host:
        return replace(state, license=self.license, evaluation_days=None)

    def describe(self) -> dict[str, Any]:
        return _shown("assign_key", self.license.key, name=self.license.name)


@dataclass(frozen=True)
class UnassignKey:
    """RemoveAssignedLicense at a vCenter; on a host by itself RemoveLicense."""

    key: LicenseKey

    def applied_to(self, state: Host) -> Host:
        return replace(state, license=None, known=False, also=())

    def describe(self) -> dict[str, Any]:
        return _shown("unassign_key", self.key)

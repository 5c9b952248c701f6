# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the administrator of a key server has to see to: keys, and whom they keep shut. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .crypto_model import LOCKED, Custody, Key, Machine

COLUMNS = ("key_id", "provider", "cause", "vms", "disks", "hosts", "locked")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One key that cannot be had. ``disks`` as ``machine: disk``; ``hosts``: those that the machines are on, and those whose own
    key it is; ``locked``: how many machines wait for it now."""

    key: Key
    cause: str
    vms: tuple[str, ...]
    disks: tuple[str, ...]
    hosts: tuple[str, ...]
    locked: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "key_id": self.key.id,
            "provider": self.key.provider,
            "cause": self.cause,
            "vms": list(self.vms),
            "disks": list(self.disks),
            "hosts": list(self.hosts),
            "locked": self.locked,
        }


def lines_of(machines: Mapping[str, Machine], custody: Custody, code_of: Callable[[Key], str]) -> list[Line]:
    """Those with the most locked machines first. ``code_of``: why a key cannot be had, empty where it can."""
    users: dict[Key, list[str]] = {}
    for name, machine in machines.items():
        for key in machine.keys:
            users.setdefault(key, []).append(name)
    own: dict[Key, list[str]] = {}
    for host in custody.hosts.values():
        if host.key:
            own.setdefault(host.key, []).append(host.name)
    lines = []
    for key in dict.fromkeys((*users, *own)):
        code = code_of(key)
        names = sorted(users.get(key, ()))
        if code and (names or code in ("key_missing", "key_not_active")):
            on = {custody.hosts[machines[name].host].name for name in names if machines[name].host in custody.hosts}
            lines.append(
                Line(
                    key=key,
                    cause=code,
                    vms=tuple(names),
                    disks=tuple(f"{name}: {disk}" for name in names for disk in machines[name].disks_with(key)),
                    hosts=tuple(sorted(on | set(own.get(key, ())))),
                    locked=sum(machines[name].crypto == LOCKED for name in names),
                )
            )
    return sorted(lines, key=lambda line: (-line.locked, line.key))


def would_lock(provider: str, machines: Mapping[str, Machine], custody: Custody) -> dict[str, Any]:
    """Whom it concerns if a provider goes away: not at once, but with the next reboot of a host that keeps no keys."""
    concerned = {name: machine for name, machine in machines.items() if any(_is_of(key, provider, custody) for key in machine.keys)}
    homes = [name for name, machine in concerned.items() if machine.home and _is_of(machine.home, provider, custody)]
    hosts = {custody.hosts[machine.host].name for machine in concerned.values() if machine.host in custody.hosts}
    keys = {key for machine in concerned.values() for key in machine.keys if _is_of(key, provider, custody)}
    return {
        "provider": provider,
        "known": provider in custody.providers,
        "default": bool(provider in custody.providers and custody.providers[provider].default),
        "vms": sorted(homes),
        "vms_with_disks_only": sorted(set(concerned) - set(homes)),
        "hosts": sorted(hosts),
        "host_keys": sorted(host.name for host in custody.hosts.values() if host.key and _is_of(host.key, provider, custody)),
        "elsewhere": sorted({user for key in keys for user in custody.users.get(key, ())} - {m.moid for m in machines.values()}),
    }


def _is_of(key: Key, provider: str, custody: Custody) -> bool:
    return (key.provider or custody.default) == provider

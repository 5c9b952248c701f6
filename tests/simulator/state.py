# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain, immutable values that make up a host's settings.

Hosts share them until one changes: a change makes a new value for that host only. (vcsim shares one mutable ruleset table among all hosts,
so enabling a rule on one enables it on all: facts.md 3.1.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn


class StateMap(dict[str, Any]):
    """A dictionary that never changes; `changed` gives a new one. `view` keeps what was derived from it (see objects/), `asked` what was
    asked of it (see host.py)."""

    __slots__ = ("asked", "view")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.view: Any = None
        self.asked: dict[Any, bool] = {}

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise TypeError("a StateMap is shared between hosts: use changed()")

    def __delitem__(self, key: str) -> NoReturn:
        raise TypeError("a StateMap is shared between hosts: use changed()")

    def changed(self, key: str, value: Any) -> StateMap:
        return StateMap({**self, key: value})


@dataclass(frozen=True)
class ServiceState:
    running: bool
    policy: str


@dataclass(frozen=True)
class RulesetState:
    enabled: bool
    all_ip: bool = True
    ip_address: tuple[str, ...] = ()
    ip_network: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class NfsMount:
    """An NFS volume: its server as the host was told, that server's address, the protocol's version (3 or 41)."""

    server: str
    address: str
    version: int

    @property
    def kind(self) -> str:
        return "NFS" if self.version == 3 else "NFS41"

    @property
    def name(self) -> str:
        return f"{self.kind.lower()}-{self.server}"

    @property
    def path(self) -> str:
        return f"/export/{self.name}"


@dataclass(frozen=True)
class TimeState:
    """HostDateTimeConfig as set, not as working."""

    time_zone: str = "UTC"
    servers: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()  # lines of ntp.conf that are neither defaults nor servers
    protocol: str = "ntp"
    enabled: bool = True
    disable_events: bool = False
    disable_fallback: bool = True
    ptp_domain: int = 0
    ptp_ports: tuple[tuple[int, str | None, str | None, str | None], ...] = ((0, None, None, None),)

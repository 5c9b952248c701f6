# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manager of one host: privileges are checked on the host, values are capped by the host's API version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Managed
from ..versions import Api

if TYPE_CHECKING:
    from ..host import Host
    from .host_system import HostSystem


class HostPart(Managed):
    def __init__(self, owner: HostSystem, moid: str) -> None:
        super().__init__(owner.world, moid)
        self.owner = owner

    @property
    def entity(self) -> Managed:
        return self.owner

    @property
    def host(self) -> HostSystem:
        return self.owner

    @property
    def state(self) -> Host:
        return self.owner.state

    def api_of(self, asked: Api) -> Api:
        return self.owner.api_of(asked)

    def option(self, name: str) -> Any:
        return self.owner.option(name)

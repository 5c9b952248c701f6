# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostVsanSystem: whether a host takes part in vSAN. community.vmware's vmware_host_facts asks every host for it."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from ..plain import data
from ..registry import Call, operation, prop
from .host_part import HostPart


class HostVsanSystem(HostPart):
    TYPE = vim.host.VsanSystem

    @prop
    def config(self) -> Any:
        return self.owner.config_vsan()

    @operation(privilege="System.Read", needs_host=True)
    def QueryHostStatus(self, call: Call) -> Any:
        return data(
            "vim.vsan.host.ClusterStatus", {"health": "unknown", "nodeState": {"state": "error"}, "uuid": None, "nodeUuid": self.state.uuid}
        )

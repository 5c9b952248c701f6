# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines, as little of them as inventory clients ask for."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..plain import data
from ..registry import prop
from .inventory import Entity, array

if TYPE_CHECKING:
    from ..world import World
    from .host_system import HostSystem
    from .inventory import ResourcePool


class VirtualMachine(Entity):
    TYPE = vim.VirtualMachine

    def __init__(self, world: World, moid: str, name: str, folder: Entity, runs_on: HostSystem, pool: ResourcePool) -> None:
        super().__init__(world, moid, name, folder)
        self.runs_on = runs_on
        self.pool = pool
        self.powered_on = True
        self.uuid = str(uuid.UUID(hashlib.md5(f"{world.seed}:vm:{moid}".encode()).hexdigest()))

    @property
    def file(self) -> str:
        return f"[{self.runs_on.datacenter.stores[0].title}] {self.title}/{self.title}.vmx"

    @prop
    def runtime(self) -> Any:
        return data(
            "vim.vm.RuntimeInfo",
            {
                "host": self.runs_on.ref,
                "connectionState": "connected" if self.runs_on.state.connection == "connected" else "disconnected",
                "powerState": "poweredOn" if self.powered_on else "poweredOff",
                "faultToleranceState": "notConfigured",
                "toolsInstallerMounted": False,
                "numMksConnections": 0,
                "recordReplayState": "inactive",
                "onlineStandby": False,
                "consolidationNeeded": False,
            },
            fill=True,
        )

    @prop
    def config(self) -> Any:
        return data(
            "vim.vm.ConfigInfo",
            {
                "changeVersion": "2026-01-01T00:00:00.000000Z",
                "modified": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
                "name": self.title,
                "guestFullName": "Other Linux (64-bit)",
                "version": "vmx-14",
                "uuid": self.uuid,
                "instanceUuid": self.uuid,
                "template": False,
                "guestId": "otherLinux64Guest",
                "files": {"vmPathName": self.file},
                "flags": {},
                "defaultPowerOps": {},
                "hardware": {"numCPU": 1, "memoryMB": 1024},
            },
            fill=True,
        )

    @prop
    def summary(self) -> Any:
        return data(
            "vim.vm.Summary",
            {
                "vm": self.ref,
                "runtime": self.runtime(),
                "config": {"name": self.title, "template": False, "vmPathName": self.file, "uuid": self.uuid, "instanceUuid": self.uuid},
                "quickStats": {},
                "overallStatus": "green",
            },
            fill=True,
        )

    @prop
    def capability(self) -> Any:
        return data("vim.vm.Capability", {}, fill=True)

    @prop
    def environmentBrowser(self) -> Any:
        return vim.EnvironmentBrowser(f"envbrowser-{self.moid}")

    @prop
    def guestHeartbeatStatus(self) -> Any:
        return vim.ManagedEntity.Status.gray

    @prop
    def resourcePool(self) -> Any:
        return self.pool.ref

    @prop
    def datastore(self) -> Any:
        return array("vim.Datastore", [self.runs_on.datacenter.stores[0].ref])

    @prop
    def network(self) -> Any:
        return array("vim.Network", [self.runs_on.datacenter.nets[0].ref])

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines: what inventory clients ask for, encryption, power, snapshots, and coming and going in the inventory."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..crypto import MachineFile
from ..errors import SoapFault
from ..plain import data
from ..registry import Call, operation, prop
from ..versions import Api, older
from ..xmlwrite import frozen
from .inventory import Entity, array

if TYPE_CHECKING:
    from ..crypto import KeyId
    from ..world import World
    from .host_system import HostSystem
    from .inventory import Datacenter, Folder, ResourcePool

PATH = re.compile(r"\[(?P<store>[^\]]+)\] (?P<file>[^/\\].*\.vmt?x)\Z")
NOT_NOW = "The operation is not allowed in the current state."
KEY_NOT_FOUND = "The disk [{}] is encrypted and a required key was not found."  # VMware's text for a machine that cannot be powered on


def key_id(key: KeyId | None) -> Any:
    """A CryptoKeyId."""
    if key is None:
        return None
    provider = vim.encryption.KeyProviderId(id=key.provider) if key.provider else None
    return vim.encryption.CryptoKeyId(keyId=key.id, providerId=provider)


class VirtualMachine(Entity):
    TYPE = vim.VirtualMachine

    def __init__(
        self, world: World, moid: str, name: str, folder: Entity, runs_on: HostSystem, pool: ResourcePool, files: MachineFile
    ) -> None:
        super().__init__(world, moid, name, folder)
        self.runs_on = runs_on
        self.pool = pool
        self.files = files
        self.powered_on = True
        self.was_on = False
        self.autostart = False
        self.template = False
        self.locked = False
        self.state: str | None = None  # orphaned, inaccessible, invalid: for another reason than encryption
        self.pinned = False  # DRS does not move it
        self.agent = False  # one of the cluster's own (vCLS), which no maintenance mode waits for
        self.is_endpoint = False  # vCenter itself
        self.guest_name: str | None = None
        self.guest_addresses: tuple[str, ...] = ()
        self.listed = False  # shown in /state: machines that a scenario describes
        # What only the inventory knows, and what an unregistered machine loses.
        self.permissions: list[dict[str, Any]] = []
        self.custom: dict[str, str] = {}
        self.tags: list[str] = []
        self._revision = 0
        self._views: dict[str, tuple[Any, Any]] = {}

    def touch(self) -> None:
        self._revision += 1
        self.world.touch()

    def join(self) -> None:
        """Into the lists of its host and its pool."""
        self.runs_on.machines.append(self)
        self.pool.machines.append(self)

    def leave(self) -> None:
        for where in (self.runs_on.machines, self.pool.machines, self.above.children if self.above is not None else []):
            if self in where:
                where.remove(self)

    def moved(self, host: HostSystem | None = None, folder: Entity | None = None, pool: ResourcePool | None = None) -> None:
        self.leave()
        self.runs_on, self.pool = host or self.runs_on, pool or self.pool
        self.above = folder or self.above
        assert self.above is not None
        self.above.children.append(self)
        self._path_names = None
        self.join()
        self.touch()

    @property
    def uuid(self) -> str:
        return self.files.uuid

    @property
    def datacenter(self) -> Datacenter:
        return self.runs_on.datacenter

    def concerns(self, arguments: dict[str, Any]) -> Any:
        return self.runs_on

    def api_of(self, asked: Api) -> Api:
        return older(asked, self.runs_on.state.profile.api)

    @property
    def file(self) -> str:
        return self.files.path

    @property
    def crypto(self) -> Any:
        return self.world.crypto

    # ---- properties -----------------------------------------------------------------------------------------------------------
    @property
    def connection(self) -> str:
        """The machine's connectionState."""
        if self.world.kind == "vcenter" and self.runs_on.state.connection != "connected":
            return "disconnected"
        if self.state is not None:
            return self.state
        return str(self.crypto.options["locked_connection_state"]) if self.locked else "connected"

    @property
    def readable(self) -> bool:
        """Whether the configuration can be had. Of a locked machine that is not settled (facts.md 8.3)."""
        if self.state in ("invalid", "inaccessible", "orphaned"):
            return False
        return not self.locked or self.crypto.options["locked_config"] == "readable"

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        stamp = (self._revision, self.title, self.connection)
        found = self._views.get(name)
        if found is None or found[0] != stamp:
            made = make()
            found = self._views[name] = (stamp, frozen(made) if made is not None else None)
        return found[1]

    @prop
    def runtime(self) -> Any:
        return self._kept("runtime", self._runtime)

    def _runtime(self) -> Any:
        return data(
            "vim.vm.RuntimeInfo",
            {
                "host": self.runs_on.ref,
                "connectionState": self.connection,
                "powerState": "poweredOn" if self.powered_on else "poweredOff",
                "faultToleranceState": "notConfigured",
                "toolsInstallerMounted": False,
                "numMksConnections": 0,
                "recordReplayState": "inactive",
                "onlineStandby": False,
                "consolidationNeeded": self.files.consolidation,
                "cryptoState": None if self.files.home is None else ("locked" if self.locked else "unlocked"),
            },
            fill=True,
        )

    @prop
    def config(self) -> Any:
        return self._kept("config", self._config) if self.readable else None

    def _config(self) -> Any:
        hardware: dict[str, Any] = {"numCPU": 1, "memoryMB": 1024}
        if self.files.disks:
            hardware["device"] = self._devices()
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
                "template": self.template,
                "guestId": "otherLinux64Guest",
                "annotation": self.files.annotation or None,
                "files": {"vmPathName": self.file},
                "flags": {},
                "defaultPowerOps": {},
                "hardware": hardware,
                "managedBy": {"extensionKey": "com.vmware.vim.eam", "type": "cluster-agent"} if self.agent else None,
                "keyId": key_id(self.files.home),
                "migrateEncryption": "opportunistic" if self.files.home is not None else None,
            },
            fill=True,
        )

    def _devices(self) -> list[Any]:
        folder = self.file.rpartition("/")[0]
        made = [
            data(
                "vim.vm.device.ParaVirtualSCSIController",
                {
                    "key": 1000,
                    "busNumber": 0,
                    "sharedBus": "noSharing",
                    "deviceInfo": {"label": "SCSI controller 0", "summary": "VMware paravirtual SCSI"},
                    "device": [2000 + number for number in range(len(self.files.disks))],
                },
            )
        ]
        for number, disk in enumerate(self.files.disks):
            backing = data(
                "vim.vm.device.VirtualDisk.FlatVer2BackingInfo",
                {
                    "fileName": f"{folder}/{disk.label}.vmdk",
                    "datastore": self.runs_on.datacenter.stores[0].ref,
                    "diskMode": "persistent",
                    "thinProvisioned": True,
                    "keyId": key_id(disk.key),
                },
            )
            info = {"label": f"Hard disk {number + 1}", "summary": f"{disk.capacity:,} KB"}
            capacity = {"capacityInKB": disk.capacity, "capacityInBytes": disk.capacity * 1024}
            made.append(
                data(
                    "vim.vm.device.VirtualDisk",
                    {"key": 2000 + number, "deviceInfo": info, "backing": backing, "controllerKey": 1000, "unitNumber": number, **capacity},
                )
            )
        return made

    @prop
    def summary(self) -> Any:
        return self._kept("summary", self._summary)

    def _summary(self) -> Any:
        config: dict[str, Any] = {"name": self.title, "template": self.template, "vmPathName": self.file}
        if self.readable:
            config.update(uuid=self.uuid, instanceUuid=self.uuid, annotation=self.files.annotation or None)
        return data(
            "vim.vm.Summary",
            {"vm": self.ref, "runtime": self.runtime(), "config": config, "quickStats": {}, "overallStatus": self._status()},
            fill=True,
        )

    def _status(self) -> str:
        return str(self.crypto.alarms.get(self.moid, {}).get("status", "green"))

    @prop
    def guest(self) -> Any:
        """As VMware Tools tell it; what is not known while it does not run is unset."""
        name, addresses = (self.guest_name, self.guest_addresses) if self.powered_on else (None, ())
        told: dict[str, Any] = {"guestState": "running" if self.powered_on else "notRunning", "toolsStatus": "toolsOk"}
        if name or addresses:
            nic = {"connected": True, "deviceConfigId": 4000, "ipAddress": list(addresses)}
            told.update(hostName=name, ipAddress=addresses[0] if addresses else None, net=[nic])
        return data("vim.vm.GuestInfo", told)

    @prop
    def overallStatus(self) -> Any:
        return getattr(vim.ManagedEntity.Status, self._status())

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
        return None if self.template else self.pool.ref

    @prop
    def datastore(self) -> Any:
        return array("vim.Datastore", [self.runs_on.datacenter.stores[0].ref])

    @prop
    def network(self) -> Any:
        return array("vim.Network", [self.runs_on.datacenter.nets[0].ref])

    @prop
    def snapshot(self) -> Any:
        if not self.files.snapshots:
            return None
        tree: Any = None
        for number in range(len(self.files.snapshots), 0, -1):
            tree = vim.vm.SnapshotTree(
                snapshot=vim.vm.Snapshot(f"{self.moid}-snapshot-{number}"),
                vm=self.ref,
                name=self.files.snapshots[number - 1],
                description="",
                id=number,
                createTime=datetime.datetime(2026, 1, number % 28 + 1, tzinfo=datetime.timezone.utc),
                state="poweredOff",
                quiesced=False,
                replaySupported=False,
                childSnapshotList=[tree] if tree is not None else [],
            )
        current = vim.vm.Snapshot(f"{self.moid}-snapshot-{len(self.files.snapshots)}")
        return vim.vm.SnapshotInfo(currentSnapshot=current, rootSnapshotList=[tree])

    @prop
    def rootSnapshot(self) -> Any:
        return array("vim.vm.Snapshot", [vim.vm.Snapshot(f"{self.moid}-snapshot-1")] if self.files.snapshots else [])

    @prop
    def recentTask(self) -> Any:
        return array("vim.Task", [task.ref for task in self.world.tasks[-50:] if task.target is self])

    @prop
    def customValue(self) -> Any:
        return self._values()

    @prop("value")
    def values(self) -> Any:
        return self._values()

    def _values(self) -> Any:
        keys = {name: key for key, name in self.world.custom_fields.items()}
        rows = [vim.CustomFieldsManager.StringValue(key=keys[name], value=text) for name, text in sorted(self.custom.items())]
        return array("vim.CustomFieldsManager.Value", rows)

    @prop
    def availableField(self) -> Any:
        return self.world.custom_field_defs()

    @prop
    def permission(self) -> Any:
        return array("vim.AuthorizationManager.Permission", [self.permission_data(row) for row in self.permissions])

    def permission_data(self, row: dict[str, Any]) -> Any:
        return vim.AuthorizationManager.Permission(
            entity=self.ref,
            principal=row["principal"],
            group=bool(row.get("group", False)),
            roleId=int(row["role"]),
            propagate=bool(row.get("propagate", True)),
        )

    @prop
    def tag(self) -> Any:
        return array("vim.Tag", [vim.Tag(key=one) for one in self.tags])

    # ---- operations -----------------------------------------------------------------------------------------------------------
    def _refuse(self, text: str, kind: str = "InvalidState", **fields: Any) -> SoapFault:
        return SoapFault(kind, text, **fields)

    def _reachable(self) -> None:
        if self.world.kind == "vcenter":
            refusal = self.world.unreachable(self.runs_on)
            if refusal is not None:
                raise refusal

    def _free(self) -> None:
        """No other task is at work on the machine."""
        for task in self.world.tasks:
            if task.target is self and not task.finished:
                raise SoapFault("TaskInProgress", "Another task is already in progress.", task=task.ref)

    @operation(privilege="Cryptographer.RegisterVM", writes=True)
    def CryptoUnlock_Task(self, call: Call) -> Any:
        self._reachable()
        if self.crypto.options["unlock_faults"] == "call":
            refusal = self._unlock_refused()
            if refusal is not None:
                raise refusal
        return self.world.start_task(call, "vim.VirtualMachine.cryptoUnlock", self, self._unlock)

    def _unlock_refused(self) -> SoapFault | None:
        """What can be said before anything is tried."""
        options = self.crypto.options
        if self.files.home is None:
            return None if options["unlock_plain"] == "success" else SoapFault(options["unlock_plain"], NOT_NOW)
        if not self.runs_on.state.profile.capability.get("cryptoSupported", False):
            return SoapFault("NotSupported", "The operation is not supported on the object.")
        lacking = self.crypto.lacking(self)
        if lacking and self.crypto.vcenter and any(key.provider not in self.crypto.providers for key in lacking):
            return SoapFault("InvalidState", NOT_NOW)
        if not lacking and not self.locked and options["unlock_unlocked"] != "success":
            return SoapFault(options["unlock_unlocked"], NOT_NOW)
        return None

    def _unlock(self) -> None:
        self._reachable()
        refusal = self._unlock_refused()
        if refusal is not None:
            raise refusal
        if self.files.home is None:
            return
        left = self.crypto.unlock(self)
        if left == "provider":
            raise SoapFault("InvalidState", NOT_NOW)
        if left in ("host", "key") or (left == "disk" and self.crypto.options["unlock_lacks_disk_key"] != "success"):
            raise SoapFault("InvalidVmState", "The operation is not allowed in the current state of the virtual machine.", vm=self.ref)

    @operation(privilege="System.Read", writes=True)
    def Reload(self, call: Call) -> None:
        self._reachable()
        if self.crypto.options["reload_fetches_keys"] and self.locked and self.crypto.vcenter:
            self.crypto.unlock(self)
        else:
            self.crypto.judge(self, None)
        self.touch()

    @operation(privilege="VirtualMachine.Inventory.Unregister", writes=True)
    def UnregisterVM(self, call: Call) -> None:
        if self.powered_on and self.state is None and self.runs_on.state.connection == "connected":
            raise SoapFault(
                "InvalidPowerState",
                "The attempted operation cannot be performed in the current state (Powered on).",
                requestedState="poweredOff",
                existingState="poweredOn",
            )
        self._free()
        self.world.remove_machine(self)
        self.world.log_event(
            vim.event.VmRemovedEvent, f"Removed {self.title} on {self.runs_on.state.name}", user=call.who.user.name, entity=self
        )

    @operation(privilege="VirtualMachine.Interact.PowerOn", writes=True)
    def PowerOnVM_Task(self, call: Call, host: Any = None) -> Any:
        self._reachable()

        def work() -> None:
            self._reachable()
            if self.powered_on:
                raise SoapFault(
                    "InvalidPowerState", "The operation is not allowed: powered on.", requestedState="poweredOn", existingState="poweredOn"
                )
            if self.template:
                raise SoapFault("NotSupported", "The operation is not supported on the object.")
            if self.state is not None:
                raise SoapFault("InvalidState", NOT_NOW)
            crypto = self.crypto
            if self.locked:
                raise self._key_required(crypto.options["power_on_locked_fault"], NOT_NOW)
            if crypto.lacking(self) and crypto.vcenter and crypto.options["power_on_fetches_keys"]:
                crypto.unlock(self)
            lacking = crypto.lacking(self)
            if lacking:
                disk = next(one for one in self.files.disks if one.key in lacking)
                raise self._key_required(
                    crypto.options["disk_key_fault"], KEY_NOT_FOUND.format(f"{self.file.rpartition('/')[0]}/{disk.label}.vmdk")
                )
            self.powered_on = True
            self.touch()
            self.world.log_event(vim.event.VmPoweredOnEvent, f"{self.title} on {self.runs_on.state.name} is powered on", entity=self)

        return self.world.start_task(call, "vim.VirtualMachine.powerOn", self, work)

    def _key_required(self, kind: str, text: str) -> SoapFault:
        if kind == "EncryptionKeyRequired":
            return SoapFault(kind, text, requiredKey=[key_id(key) for key in self.crypto.lacking(self)])
        if kind == "GenericVmConfigFault":
            return SoapFault(kind, text, reason=text)
        return SoapFault(kind, text, vm=self.ref)

    @operation(privilege="VirtualMachine.Interact.PowerOff", writes=True)
    def PowerOffVM_Task(self, call: Call) -> Any:
        self._reachable()

        def work() -> None:
            if not self.powered_on:
                raise SoapFault(
                    "InvalidPowerState",
                    "The operation is not allowed: powered off.",
                    requestedState="poweredOff",
                    existingState="poweredOff",
                )
            self.powered_on = False
            self.crypto.judge(self, None)
            self.touch()
            self.world.log_event(vim.event.VmPoweredOffEvent, f"{self.title} on {self.runs_on.state.name} is powered off", entity=self)

        return self.world.start_task(call, "vim.VirtualMachine.powerOff", self, work)


def register(folder: Folder, call: Call, path: str, name: str | None, template: bool, pool: Any, host: Any) -> Any:
    """Folder.RegisterVM_Task: a machine comes into the inventory, with a reference that nobody knew before."""
    world = folder.world
    pool_object = world.find(pool._moId) if pool is not None else None
    host_object = world.find(host._moId) if host is not None else None
    if pool_object is not None:
        world.check(call, "Resource.AssignVMToPool", pool_object)

    def work() -> Any:
        return _register(folder, call, str(path), name, template, pool_object, host_object).ref

    return world.start_task(call, "vim.Folder.registerVm", folder, work)


def _register(folder: Folder, call: Call, path: str, name: str | None, template: bool, pool: Any, host: Any) -> VirtualMachine:
    world = folder.world
    crypto = world.crypto
    if vim.VirtualMachine not in folder.holds:
        raise SoapFault("NotSupported", "The operation is not supported on the object.")
    found = PATH.match(path)
    if found is None:
        raise SoapFault("InvalidDatastorePath", f"Invalid datastore path '{path}'.", datastorePath=path, name=path)
    if all(store.title != found["store"] for item in world.hosts for store in item.stores):
        raise SoapFault("InvalidDatastorePath", f"Invalid datastore path '{path}'.", datastorePath=path, name=found["store"])
    file = crypto.files.get(path)
    if file is None:
        raise SoapFault("NotFound", f"The object or item referred to could not be found: {path}")
    if any(machine.files is file for machine in crypto.machines()):
        raise SoapFault("AlreadyExists", f"The specified key, name, or identifier '{path}' already exists.", name=path)
    title = name or file.name
    if any(child.title == title for child in folder.children):
        other = next(child for child in folder.children if child.title == title)
        raise SoapFault("DuplicateName", f"The name '{title}' already exists.", name=title, object=other.ref)
    if pool is None and not template:
        raise SoapFault("InvalidArgument", "A specified parameter was not correct: pool", invalidProperty="pool")
    item = host or _chosen_host(world, pool, found["store"])
    if item is None or found["store"] not in {store.title for store in item.stores}:
        raise SoapFault(
            "InvalidDatastorePath", f"Unable to access the virtual machine configuration: {path}", datastorePath=path, name=path
        )
    if world.kind == "vcenter" and (world.unreachable(item) is not None or item.state.maintenance):
        raise SoapFault("InvalidState", NOT_NOW)
    if pool is None:
        pool = item.above.pool
    if pool.owner_ref._moId != item.above.moid:
        raise SoapFault("InvalidArgument", "A specified parameter was not correct: host", invalidProperty="host")
    privileged = world.allowed(call.who, "Cryptographer.RegisterVM", folder)
    if file.home is not None and crypto.vcenter:
        if not privileged and crypto.options["register_without_privilege"] == "NoPermission":
            raise SoapFault(
                "NoPermission",
                "Permission to perform this operation was denied.",
                object=folder.ref,
                privilegeId="Cryptographer.RegisterVM",
            )
        if crypto.options["register_locked"] != "registers" and crypto.locked_here(file, item):
            raise SoapFault("EncryptionKeyRequired", "An encryption key is required.", requiredKey=[key_id(key) for key in file.keys])
    made = VirtualMachine(world, world.machine_id(), title, folder, item, pool, file)
    made.powered_on, made.template, made.listed = False, bool(template), True
    file.name = title
    world.add(made)
    made.join()
    world.log_event(
        vim.event.VmRegisteredEvent,
        f"Registered {title} on {item.state.name}",
        user=call.who.user.name,
        entity=made,
        template=bool(template),
    )
    if privileged:
        crypto.registered(made)
    else:
        crypto.judge(made, None)
    made.touch()
    return made


def _chosen_host(world: World, pool: Any, store: str) -> Any:
    """The first host of the pool's cluster that could run it."""
    for item in world.hosts:
        if pool is not None and item.above.moid != pool.owner_ref._moId:
            continue
        working = item.state.connection == "connected" and not item.state.maintenance
        if working and store in {one.title for one in item.stores}:
            return item
    return None


__all__ = ["VirtualMachine", "key_id", "register"]

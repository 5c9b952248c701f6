# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory tree: folders, datacenters, clusters, pools, datastores, networks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim

from ..errors import SoapFault
from ..plain import data
from ..registry import Call, Managed, operation, prop
from ..xmlwrite import frozen

if TYPE_CHECKING:
    from ..state import NfsMount
    from ..world import World


NO_HOST = (
    "Cannot contact the specified host ({}). The host may not be available on the network, a network configuration problem may exist, "
    "or the management services on this host may not be responding."
)


def references(values: Any) -> Any:
    """A list of references of mixed types, as views hold it."""
    mixed: Any = VmomiSupport.ManagedObject
    return mixed.Array(values)


def array(name: str, values: Any) -> Any:
    return VmomiSupport.GetVmodlType(name + "[]")(values)


class Entity(Managed):
    """A managed entity: it has a name, a parent, and privileges are checked on it."""

    def __init__(self, world: World, moid: str, name: str, parent: Entity | None) -> None:
        super().__init__(world, moid)
        self.title = name
        self.above = parent
        self.children: list[Entity] = []
        self._path_names: tuple[str, ...] | None = None
        if parent is not None:
            parent.children.append(self)

    @property
    def entity(self) -> Managed:
        return self

    @property
    def path_names(self) -> tuple[str, ...]:
        """Own name and those of all ancestors: what a denial in a scenario may name."""
        if self._path_names is None:
            above = self.above.path_names if self.above is not None else ()
            self._path_names = (self.title, *above)
        return self._path_names

    @prop
    def name(self) -> str:
        return self.title

    @prop
    def parent(self) -> Any:
        return self.above.ref if self.above is not None else None

    @prop
    def overallStatus(self) -> Any:
        return vim.ManagedEntity.Status.green

    @prop
    def configStatus(self) -> Any:
        return vim.ManagedEntity.Status.green

    @prop
    def alarmActionsEnabled(self) -> bool:
        return True

    @prop
    def triggeredAlarmState(self) -> Any:
        from . import alarms

        return alarms.triggered(self.world, self)

    @prop
    def declaredAlarmState(self) -> Any:
        from . import alarms

        return alarms.declared(self.world, self)

    @prop
    def effectiveRole(self) -> Any:
        return VmomiSupport.GetVmodlType("int[]")([-1])


class Folder(Entity):
    TYPE = vim.Folder

    def __init__(self, world: World, moid: str, name: str, parent: Entity | None, holds: tuple[Any, ...]) -> None:
        super().__init__(world, moid, name, parent)
        self.holds = holds

    @prop
    def childType(self) -> Any:
        return vim.Folder._GetPropertyInfo("childType").type(list(self.holds))

    @prop
    def childEntity(self) -> Any:
        return array("vim.ManagedEntity", [child.ref for child in self.children])

    @operation(privilege="VirtualMachine.Inventory.Register", writes=True)
    def RegisterVM_Task(self, call: Call, path: str, asTemplate: bool, name: str | None = None, pool: Any = None, host: Any = None) -> Any:
        from .virtual_machine import register

        return register(self, call, path, name, asTemplate, pool, host)


class Datacenter(Entity):
    TYPE = vim.Datacenter
    folders: dict[str, Folder]
    stores: list[Datastore]  # what all its hosts have
    shares: list[Datastore]  # NFS volumes, which some have
    nets: list[Network]

    def __init__(self, world: World, moid: str, name: str, parent: Entity | None) -> None:
        super().__init__(world, moid, name, parent)
        self.folders, self.stores, self.shares, self.nets = {}, [], [], []

    @prop
    def vmFolder(self) -> Any:
        return self.folders["vm"].ref

    @prop
    def hostFolder(self) -> Any:
        return self.folders["host"].ref

    @prop
    def datastoreFolder(self) -> Any:
        return self.folders["datastore"].ref

    @prop
    def networkFolder(self) -> Any:
        return self.folders["network"].ref

    @prop
    def datastore(self) -> Any:
        return array("vim.Datastore", [item.ref for item in (*self.stores, *self.shares)])

    @prop
    def network(self) -> Any:
        return array("vim.Network", [item.ref for item in self.nets])

    @operation(privilege="System.View")
    def QueryConnectionInfo(
        self,
        call: Call,
        hostname: str,
        port: int,
        username: str,
        password: str,
        sslThumbprint: str | None = None,
        sslCertificate: str | None = None,
    ) -> Any:
        """vCenter opens a new connection to a host: no session and no heartbeat window helps who is shut out."""
        if self.world.kind == "esxi":
            raise SoapFault("NotSupported", "The operation is not supported on the object.")
        found = self.world.named(hostname)
        if found is None or found.state.connection == "disconnected" or not found.answers(port):
            raise SoapFault("NoHost", NO_HOST.format(hostname), name=hostname)
        found.verify(sslThumbprint)
        # A host's own accounts are not simulated: no name and password are right.
        raise SoapFault("InvalidLogin", "Cannot complete login due to an incorrect user name or password.")

    @prop
    def configuration(self) -> Any:
        return data("vim.Datacenter.ConfigInfo", {"defaultHardwareVersionKey": "vmx-19"})


class ComputeResource(Entity):
    """A stand-alone host's compute resource, and the base of clusters."""

    TYPE = vim.ComputeResource
    pool: ResourcePool
    datacenter: Datacenter

    @property
    def members(self) -> list[Any]:
        return [child for child in self.children if child.host is child]

    @prop
    def resourcePool(self) -> Any:
        return self.pool.ref

    @prop("host")
    def hosts(self) -> Any:
        return array("vim.HostSystem", [item.ref for item in self.members])

    @prop
    def datastore(self) -> Any:
        shares = [item for item in self.datacenter.shares if any(host in item.mounts for host in self.members)]
        common = self.datacenter.stores if any(not host.own_stores for host in self.members) else []
        return array("vim.Datastore", [item.ref for item in (*common, *shares)])

    @prop
    def network(self) -> Any:
        return array("vim.Network", [item.ref for item in self.datacenter.nets])

    @prop
    def lifecycleManaged(self) -> bool:
        """Whether one image manages the hosts (API text: "true if managed by vSphere Lifecycle Manager"); newer than 6.7."""
        return any(item.state.image_managed for item in self.members)

    @prop
    def summary(self) -> Any:
        return data("vim.ComputeResource.Summary", self._figures())

    def _figures(self) -> dict[str, Any]:
        hardware = [item.state.hardware for item in self.members]
        working = [item for item in self.members if item.state.connection == "connected" and not item.state.maintenance]
        return {
            "totalCpu": sum(row["cpu_hz"] // 1_000_000 * row["cores"] for row in hardware),
            "totalMemory": sum(row["memory"] for row in hardware),
            "numCpuCores": sum(row["cores"] for row in hardware),
            "numCpuThreads": sum(row["threads"] for row in hardware),
            "effectiveCpu": sum(item.state.hardware["cpu_hz"] // 1_000_000 * item.state.hardware["cores"] for item in working),
            "effectiveMemory": sum(item.state.hardware["memory"] >> 20 for item in working),
            "numHosts": len(hardware),
            "numEffectiveHosts": len(working),
            "overallStatus": "green",
        }

    @prop
    def configurationEx(self) -> Any:
        return data("vim.ComputeResource.ConfigInfo", {"vmSwapPlacement": "vmDirectory", "spbmEnabled": True})


class ClusterComputeResource(ComputeResource):
    TYPE = vim.ClusterComputeResource

    @prop
    def summary(self) -> Any:
        return data("vim.ClusterComputeResource.Summary", {**self._figures(), "currentFailoverLevel": 0, "numVmotions": 0}, fill=True)

    @prop
    def summaryEx(self) -> Any:
        return self.summary()

    def _settings(self) -> dict[str, Any]:
        row = self.world.clusters.get(self.title, {})
        drs = row.get("drs")
        guarded = bool(row.get("admission_control"))
        settings: dict[str, Any] = {
            "dasConfig": {"enabled": guarded or bool(row.get("ha")), "admissionControlEnabled": guarded},
            "drsConfig": {"enabled": drs is not None, "defaultVmBehavior": drs},
        }
        pinned = [machine.ref for item in self.members for machine in item.machines if machine.pinned]
        if pinned:
            settings["drsVmConfig"] = [{"key": ref, "enabled": False} for ref in pinned]
        return settings

    @prop
    def configuration(self) -> Any:
        return data("vim.cluster.ConfigInfo", self._settings())

    @prop
    def configurationEx(self) -> Any:
        return data("vim.cluster.ConfigInfoEx", {**self._settings(), "vmSwapPlacement": "vmDirectory", "spbmEnabled": True}, fill=True)

    @operation(privilege="System.Read")
    def GetResourceUsage(self, call: Call) -> Any:
        figures = self._figures()
        usage = {
            "cpuUsedMHz": 306 * figures["numEffectiveHosts"],
            "cpuCapacityMHz": figures["effectiveCpu"],
            "memUsedMB": 5986 * figures["numEffectiveHosts"],
            "memCapacityMB": figures["effectiveMemory"],
            "storageUsedMB": 1 << 19,
            "storageCapacityMB": 1 << 20,
        }
        return data("vim.cluster.ResourceUsageSummary", usage)


_ALLOCATION = {"reservation": 0, "expandableReservation": True, "limit": -1, "shares": {"shares": 4000, "level": "normal"}}


class ResourcePool(Entity):
    TYPE = vim.ResourcePool
    machines: list[Any]

    def __init__(self, world: World, moid: str, name: str, parent: ComputeResource | ResourcePool) -> None:
        super().__init__(world, moid, name, parent)
        self.machines = []
        self.owner_ref: Any = parent.owner_ref if isinstance(parent, ResourcePool) else parent.ref

    @prop
    def owner(self) -> Any:
        return self.owner_ref

    @prop
    def vm(self) -> Any:
        return array("vim.VirtualMachine", [item.ref for item in self.machines])

    @prop
    def resourcePool(self) -> Any:
        return array("vim.ResourcePool", [item.ref for item in self.children if isinstance(item, ResourcePool)])

    @prop
    def config(self) -> Any:
        return data("vim.ResourceConfigSpec", {"entity": self.ref, "cpuAllocation": _ALLOCATION, "memoryAllocation": _ALLOCATION})

    def _usage(self) -> dict[str, Any]:
        return dict.fromkeys(
            ("reservationUsed", "reservationUsedForVm", "unreservedForPool", "unreservedForVm", "overallUsage", "maxUsage"), 0
        )

    @prop
    def runtime(self) -> Any:
        return data("vim.ResourcePool.RuntimeInfo", {"memory": self._usage(), "cpu": self._usage(), "overallStatus": "green"})

    @prop
    def summary(self) -> Any:
        return data("vim.ResourcePool.Summary", {"name": self.title, "config": self.config(), "runtime": self.runtime()})


class Datastore(Entity):
    TYPE = vim.Datastore
    datacenter: Datacenter
    mounts: list[Any]

    def __init__(self, world: World, moid: str, name: str, parent: Entity, share: NfsMount | None = None) -> None:
        super().__init__(world, moid, name, parent)
        self.mounts = []
        self.share = share
        self.uuid = _volume(f"{world.seed}:{moid}")
        self.url = f"ds:///vmfs/volumes/{self.uuid}/"
        self.files: dict[str, bytes] = {}  # what was uploaded; machines' own files are elsewhere
        self.folders: set[str] = set()
        self.free = 1 << 39  # before uploads
        self.usable = True
        self.read_only = False
        from .file_manager import HostDatastoreBrowser

        world.add(HostDatastoreBrowser(world, f"datastoreBrowser-{moid}", self, lambda: [self]))

    @property
    def reachable(self) -> bool:
        """Whether the volume works, and on vCenter whether a host that has it is connected."""
        return self.usable and any(item.state.connection == "connected" for item in self.mounts)

    @property
    def left(self) -> int:
        return max(0, self.free - sum(len(content) for content in self.files.values()))

    @prop
    def summary(self) -> Any:
        return frozen(
            data(
                "vim.Datastore.Summary",
                {
                    "datastore": self.ref,
                    "name": self.title,
                    "url": self.url,
                    "capacity": 1 << 40,
                    "freeSpace": self.left,
                    "accessible": self.reachable,
                    "multipleHostAccess": len(self.mounts) > 1,
                    "type": self.share.kind if self.share is not None else "VMFS",
                    "maintenanceMode": "normal",
                },
            )
        )

    @prop
    def info(self) -> Any:
        values = {"name": self.title, "url": self.url, "freeSpace": self.left, "maxFileSize": 1 << 46}
        if self.share is None:
            return data("vim.Datastore.Info", values)
        return data("vim.host.NasDatastoreInfo", {**values, "maxMemoryFileSize": 1 << 46, "nas": self.volume()})

    def volume(self) -> Any:
        """The file system as its hosts have it mounted."""
        if self.share is None:
            extent = [{"diskName": "mpx.vmhba64:C0:T0:L0", "partition": 1}]
            made = {"type": "VMFS", "name": self.title, "capacity": 1 << 40, "majorVersion": 6, "version": "6.82", "uuid": self.uuid}
            return data("vim.host.VmfsVolume", {**made, "blockSizeMb": 1, "maxBlocks": 63963136, "extent": extent, "vmfsUpgradable": False})
        return data(
            "vim.host.NasVolume",
            {
                "type": self.share.kind,
                "name": self.title,
                "capacity": 1 << 40,
                "remoteHost": self.share.server,
                "remotePath": self.share.path,
                "remoteHostNames": [self.share.server],
                "securityType": "AUTH_SYS",
            },
        )

    def mounted(self) -> dict[str, Any]:
        """How each of its hosts sees it (HostMountInfo)."""
        mode = "readOnly" if self.read_only else "readWrite"
        return {"path": f"/vmfs/volumes/{self.uuid}", "accessMode": mode, "mounted": True, "accessible": self.usable}

    @prop("host")
    def hosts(self) -> Any:
        mount = self.mounted()
        return array(
            "vim.Datastore.HostMount", [data("vim.Datastore.HostMount", {"key": item.ref, "mountInfo": mount}) for item in self.mounts]
        )

    @prop
    def capability(self) -> Any:
        return data("vim.Datastore.Capability", {}, fill=True)

    @prop
    def browser(self) -> Any:
        return vim.host.DatastoreBrowser(f"datastoreBrowser-{self.moid}")


def _volume(seed: str) -> str:
    """Four groups of hexadecimal digits, as hosts name volumes ("6016c236-a55b7224-24c0-00a24f6801c0" in public issues)."""
    digits = hashlib.md5(seed.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:16]}-{digits[16:20]}-{digits[20:32]}"


class Network(Entity):
    TYPE = vim.Network
    attached: list[Any]

    def __init__(self, world: World, moid: str, name: str, parent: Entity) -> None:
        super().__init__(world, moid, name, parent)
        self.attached = []

    @prop
    def summary(self) -> Any:
        return data("vim.Network.Summary", {"network": self.ref, "name": self.title, "accessible": True, "ipPoolName": ""})

    @prop("host")
    def hosts(self) -> Any:
        return array("vim.HostSystem", [item.ref for item in self.attached])

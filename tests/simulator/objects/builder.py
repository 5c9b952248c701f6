# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the inventory of a scenario together: vCenter's tree of datacenters, or the fixed ids of a stand-alone host."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import uuid
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..crypto import Disk, MachineFile
from ..errors import ScenarioError
from .host_system import HostSystem
from .inventory import ClusterComputeResource, ComputeResource, Datacenter, Datastore, Entity, Folder, Network, ResourcePool
from .virtual_machine import VirtualMachine

if TYPE_CHECKING:
    from ..host import Host
    from ..state import NfsMount
    from ..world import World

_HOLDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "vm": ("group-v", (vim.Folder, vim.VirtualMachine)),
    "host": ("group-h", (vim.Folder, vim.ComputeResource)),
    "datastore": ("group-s", (vim.Folder, vim.Datastore)),
    "network": ("group-n", (vim.Folder, vim.Network)),
}
# facts.md 6.2, after govmomi's capture of a 6.5 host.
_ESXI_FOLDERS = {"vm": "ha-folder-vm", "host": "ha-folder-host", "datastore": "ha-folder-datastore", "network": "ha-folder-network"}


class Builder:
    """Ids are counted in scenario order, so the same scenario gives the same ids every time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.esxi = world.kind == "esxi"
        self._datacenters: dict[str, Datacenter] = {}
        self._folders: dict[tuple[str, str], Folder] = {}
        self._clusters: dict[tuple[str, str], ClusterComputeResource] = {}
        self._machines = 0

    def roots(self) -> None:
        moid, name = ("ha-folder-root", "ha-folder-root") if self.esxi else (self.world.next_id("group-d"), "Datacenters")
        self.world.root = self.world.add(Folder(self.world, moid, name, None, (vim.Folder, vim.Datacenter)))

    def datacenter(self, name: str) -> Datacenter:
        found = self._datacenters.get(name)
        if found is None:
            moid = "ha-datacenter" if self.esxi else self.world.next_id("datacenter-")
            found = self.world.add(Datacenter(self.world, moid, name, self.world.root))
            for role, (prefix, holds) in _HOLDS.items():
                folder_id = _ESXI_FOLDERS[role] if self.esxi else self.world.next_id(prefix)
                found.folders[role] = self.world.add(Folder(self.world, folder_id, role, found, holds))
            store = Datastore(self.world, self.world.next_id("datastore-"), f"datastore-{name}", found.folders["datastore"])
            store.datacenter = found
            found.stores.append(self.world.add(store))
            network_id = "HaNetwork-VM Network" if self.esxi else self.world.next_id("network-")
            found.nets.append(self.world.add(Network(self.world, network_id, "VM Network", found.folders["network"])))
            self._datacenters[name] = found
        return found

    def share(self, datacenter: Datacenter, mount: NfsMount) -> Datastore:
        """An NFS volume is one datastore for all hosts of a datacenter that have it mounted."""
        found = next((item for item in datacenter.shares if item.share == mount), None)
        if found is None:
            found = self.world.add(
                Datastore(self.world, self.world.next_id("datastore-"), mount.name, datacenter.folders["datastore"], mount)
            )
            found.datacenter = datacenter
            datacenter.shares.append(found)
        return found

    def _own_store(self, datacenter: Datacenter, row: dict[str, Any], state: Host) -> Datastore:
        """A datastore that an entry of the scenario names: one for all hosts that share it, else one for each host."""
        shared = row.get("shared", False)
        name = row["name"].replace("{host}", state.name.partition(".")[0])
        known = {item.title: item for item in (*datacenter.stores, *datacenter.shares)}
        found: Datastore | None = known.get(name) if shared else None
        if found is None:
            # vCenter gives the second "datastore1" of a datacenter another name, "datastore1 (1)".
            free = (f"{name} ({number})" for number in itertools.count(1))
            name = next(one for one in free if one not in known) if name in known else name
            found = self.world.add(Datastore(self.world, self.world.next_id("datastore-"), name, datacenter.folders["datastore"]))
            found.datacenter = datacenter
            found.free = int(row.get("free_mb", 1 << 19) * (1 << 20))
            found.usable = row.get("accessible", True)
            found.read_only = row.get("read_only", False)
            datacenter.shares.append(found)
        return found

    def folder(self, datacenter: Datacenter, path: str, role: str = "host") -> Folder:
        """A (nested) folder of hosts or of machines, "rack-1/upper"."""
        above = datacenter.folders[role]
        if not path:
            return above
        for depth, part in enumerate(path.strip("/").split("/")):
            key = (f"{role}:{datacenter.title}", "/".join(path.strip("/").split("/")[: depth + 1]))
            if key not in self._folders:
                prefix, holds = _HOLDS[role]
                made = Folder(self.world, self.world.next_id(prefix), part, above, holds)
                self._folders[key] = self.world.add(made)
            above = self._folders[key]
        return above

    def _compute(self, kind: Any, moid: str, name: str, above: Entity, datacenter: Datacenter) -> Any:
        made = self.world.add(kind(self.world, moid, name, above))
        made.datacenter = datacenter
        pool_id = "ha-root-pool" if self.esxi else self.world.next_id("resgroup-")
        made.pool = self.world.add(ResourcePool(self.world, pool_id, "Resources", made))
        made.children.remove(made.pool)
        return made

    def host(self, row: dict[str, Any], state: Host) -> HostSystem:
        datacenter = self.datacenter("ha-datacenter" if self.esxi else row.get("datacenter", "DC1"))
        above = self.folder(datacenter, "" if self.esxi else row.get("folder") or "")
        cluster = None if self.esxi else row.get("cluster", "Cluster1")
        if cluster is None:
            moid = "ha-compute-res" if self.esxi else self.world.next_id("domain-s")
            parent = self._compute(ComputeResource, moid, state.name, above, datacenter)
        else:
            key = (datacenter.title, cluster)
            if key not in self._clusters:
                self._clusters[key] = self._compute(ClusterComputeResource, self.world.next_id("domain-c"), cluster, above, datacenter)
            parent = self._clusters[key]
        moid = "ha-host" if self.esxi else self.world.next_id("host-")
        made = self.world.add(HostSystem(self.world, moid, state, parent, datacenter))
        self.world.hosts.append(made)
        made.own_stores = "datastores" in row
        for store in [] if made.own_stores else datacenter.stores:
            store.mounts.append(made)
        for one in row.get("datastores", ()):
            self._own_store(datacenter, one, state).mounts.append(made)
        for share in state.nfs:
            self.share(datacenter, share).mounts.append(made)
        for network in datacenter.nets:
            network.attached.append(made)
        for _index in range(row.get("vms", 0)):
            self._machines += 1
            self._machine(f"vm-{self._machines:04d}", datacenter.folders["vm"], made, parent.pool)
        return made

    def _machine(self, name: str, folder: Folder, runs_on: HostSystem, pool: ResourcePool) -> VirtualMachine:
        world = self.world
        moid = world.machine_id()
        store = runs_on.datacenter.stores[0].title
        place, number = name, 0
        while f"[{store}] {place}/{name}.vmx" in world.crypto.files:
            number += 1
            place = f"{name}_{number}"
        identity = str(uuid.UUID(hashlib.md5(f"{world.seed}:vm:{moid}".encode()).hexdigest()))
        file = MachineFile(f"[{store}] {place}/{name}.vmx", name, identity)
        world.crypto.files[file.path] = file
        made = VirtualMachine(world, moid, name, folder, runs_on, pool, file)
        world.add(made)
        made.join()
        return made

    def machines(self, row: dict[str, Any], first: int, where: str) -> None:
        """The machines of one entry of `virtual_machines`, one host after the other."""
        world = self.world
        hosts = [item for item in world.hosts if fnmatch.fnmatchcase(item.state.name, row.get("host", "*"))] or world.hosts
        for own in range(row.get("count", 1)):
            try:
                name = row.get("name", "vm-{n:04d}").format(n=first + own, i=own + 1)
            except (KeyError, IndexError, ValueError):
                raise ScenarioError(f"{where}.name: only {{n}} (number in the scenario) and {{i}} (in the entry) exist") from None
            item = hosts[own % len(hosts)]
            folder = self.folder(item.datacenter, "" if self.esxi else row.get("folder", ""), "vm")
            made = self._machine(name, folder, item, self._pool(item.above, "" if self.esxi else row.get("pool", "")))
            made.listed = True
            made.powered_on = row.get("power", "on") == "on"
            made.autostart = row.get("autostart", False)
            made.state = row.get("state")
            made.pinned = row.get("pinned", False)
            made.agent = row.get("agent", False)
            made.guest_name = row.get("guest", {}).get("name")
            made.guest_addresses = tuple(row.get("guest", {}).get("addresses", ()))
            if made.state is not None:
                made.powered_on = False
            file = made.files
            provider = row.get("provider")
            # Machines of the same name have folders of their own on the datastore, and keys of their own.
            label = row.get("key", name if f" {name}/" in file.path else file.path)
            file.wanted = (provider, label) if provider is not None else None
            for number, disk in enumerate(row.get("disks", [{}] if provider is not None else [])):
                held = disk.get("provider", provider)
                mine = disk.get("key", "same")
                key = None
                if held is not None and mine != "none":
                    key = (held, {"same": label, "own": f"{label}/disk-{number + 1}"}.get(mine, mine))
                file.disks.append(Disk(name if number == 0 else f"{name}_{number}", int(disk.get("gb", 16)) << 20, key))
            file.annotation = row.get("annotation", "")
            file.snapshots = list(row.get("snapshots", ()))
            file.consolidation = row.get("consolidation_needed", False)
            made.permissions = [dict(one) for one in row.get("permissions", ())]
            made.custom = dict(row.get("custom_values", {}))
            made.tags = list(row.get("tags", ()))
            for field in made.custom:
                world.custom_field(field)

    def own_machine(self, row: dict[str, Any]) -> None:
        """vCenter itself, a machine on one of its hosts, told of by VMware Tools with the name and the address that hosts know."""
        world = self.world
        runs = row["runs_on"]
        item = next((one for one in world.hosts if one.state.name == runs), None)
        if item is None:
            raise ScenarioError(f"vcenter.runs_on: no host '{runs}'")
        made = self._machine(row.get("machine", "vcenter"), item.datacenter.folders["vm"], item, item.above.pool)
        made.listed = made.is_endpoint = world.has_own_machine = True
        made.autostart = True
        made.guest_name, made.guest_addresses = world.name, (world.address,)

    def _pool(self, compute: Any, path: str) -> ResourcePool:
        """A (nested) pool below the root pool of a cluster, "gold/inner"."""
        pool: ResourcePool = compute.pool
        for part in [part for part in path.split("/") if part]:
            found = next((one for one in pool.children if one.title == part), None)
            if found is None:
                found = self.world.add(ResourcePool(self.world, self.world.next_id("resgroup-"), part, pool))
            assert isinstance(found, ResourcePool)
            pool = found
        return pool

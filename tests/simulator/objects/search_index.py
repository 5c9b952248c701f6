# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SearchIndex: find one entity by uuid, name, address or path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from pyVmomi import VmomiSupport, vim

from ..errors import SoapFault
from ..registry import Call, Managed, operation
from .inventory import Datacenter, Entity


class SearchIndex(Managed):
    TYPE = vim.SearchIndex

    def _candidates(self, call: Call, datacenter: Any, machines: bool) -> Iterable[Any]:
        for host in self.world.hosts:
            if datacenter is not None and host.datacenter.moid != datacenter._moId:
                continue
            for one in host.machines if machines else (host,):
                if one.visible_to(call):
                    yield one

    @staticmethod
    def _all(found: list[Any]) -> Any:
        return VmomiSupport.GetVmodlType("vim.ManagedEntity[]")([one.ref for one in found])

    def _by_uuid(self, call: Call, datacenter: Any, uuid: str, machines: bool) -> list[Any]:
        wanted = uuid.lower()
        return [one for one in self._candidates(call, datacenter, machines) if (one.uuid if machines else one.state.uuid) == wanted]

    def _by_name(self, call: Call, datacenter: Any, name: str, machines: bool) -> list[Any]:
        # VMs are found by their guest's name, which needs VMware Tools: the simulated ones have none.
        if machines:
            return []
        return [one for one in self._candidates(call, datacenter, False) if one.state.name.lower() == name.lower()]

    def _by_ip(self, call: Call, datacenter: Any, ip: str, machines: bool) -> list[Any]:
        return [] if machines else [one for one in self._candidates(call, datacenter, False) if one.state.address == ip]

    @operation(privilege="System.View")
    def FindByUuid(self, call: Call, uuid: str, vmSearch: bool, datacenter: Any = None, instanceUuid: bool | None = None) -> Any:
        found = self._by_uuid(call, datacenter, uuid, vmSearch)
        return found[0].ref if found else None

    @operation(privilege="System.View")
    def FindAllByUuid(self, call: Call, uuid: str, vmSearch: bool, datacenter: Any = None, instanceUuid: bool | None = None) -> Any:
        return self._all(self._by_uuid(call, datacenter, uuid, vmSearch))

    @operation(privilege="System.View")
    def FindByDnsName(self, call: Call, dnsName: str, vmSearch: bool, datacenter: Any = None) -> Any:
        found = self._by_name(call, datacenter, dnsName, vmSearch)
        return found[0].ref if found else None

    @operation(privilege="System.View")
    def FindAllByDnsName(self, call: Call, dnsName: str, vmSearch: bool, datacenter: Any = None) -> Any:
        return self._all(self._by_name(call, datacenter, dnsName, vmSearch))

    @operation(privilege="System.View")
    def FindByIp(self, call: Call, ip: str, vmSearch: bool, datacenter: Any = None) -> Any:
        found = self._by_ip(call, datacenter, ip, vmSearch)
        return found[0].ref if found else None

    @operation(privilege="System.View")
    def FindAllByIp(self, call: Call, ip: str, vmSearch: bool, datacenter: Any = None) -> Any:
        return self._all(self._by_ip(call, datacenter, ip, vmSearch))

    @operation(privilege="System.View")
    def FindByDatastorePath(self, call: Call, datacenter: Any, path: str) -> Any:
        found = [one for one in self._candidates(call, datacenter, True) if one.file == path]
        return found[0].ref if found else None

    def _child(self, call: Call, parent: Any, name: str) -> Any:
        below = list(parent.children)
        if isinstance(parent, Datacenter):
            below = list(parent.folders.values())
        pool = getattr(parent, "pool", None)
        if pool is not None:
            below.append(pool)
        # "/" in a name is escaped as %2f in paths and in names alike.
        return next((one for one in below if one.title == unquote(name) and one.visible_to(call)), None)

    @operation(privilege="System.View")
    def FindChild(self, call: Call, entity: Any, name: str) -> Any:
        parent = self.world.find(entity._moId)
        if not isinstance(parent, Entity):
            raise SoapFault("ManagedObjectNotFound", "The object has already been deleted or has not been completely created", obj=entity)
        found = self._child(call, parent, name)
        return found.ref if found else None

    @operation(privilege="System.View")
    def FindByInventoryPath(self, call: Call, inventoryPath: str) -> Any:
        one: Any = self.world.root
        for part in [part for part in inventoryPath.split("/") if part]:
            one = self._child(call, one, part)
            if one is None:
                return None
        return one.ref

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ViewManager, ContainerView, ListView: how clients get at "all hosts below this folder"."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..errors import SoapFault
from ..registry import Call, Managed, operation, prop
from .inventory import ClusterComputeResource, ComputeResource, Datacenter, Entity, Folder, ResourcePool, references

if TYPE_CHECKING:
    from ..world import World


def _below(entity: Entity) -> list[Any]:
    """The contained entities, as real container views see them: pools of a compute resource, VMs of folders, not of hosts."""
    if isinstance(entity, ComputeResource):
        return [*entity.children, entity.pool]
    if isinstance(entity, (Folder, Datacenter, ResourcePool)):
        return [*entity.children, *(entity.machines if isinstance(entity, ResourcePool) else ())]
    return []


class _View(Managed):
    def __init__(self, world: World, call: Call) -> None:
        session = call.who
        # Ids look like session[uuid]uuid (pyVmomi fixtures).
        super().__init__(world, f"session[{session.key}]{uuid.uuid4()}")
        self.session = session
        session.objects[self.moid] = self

    @operation(privilege="System.View")
    def DestroyView(self, call: Call) -> None:
        call.who.objects.pop(self.moid, None)


class ContainerView(_View):
    TYPE = vim.view.ContainerView

    def __init__(self, world: World, call: Call, container: Entity, kinds: tuple[Any, ...], recursive: bool) -> None:
        super().__init__(world, call)
        self.root = container
        self.kinds = kinds
        self.deep = recursive

    def members(self) -> list[Any]:
        """The view is live: it is worked out at every read, as an inventory changes."""
        found, seen = [], set()
        pending = list(reversed(_below(self.root)))
        user = self.session.user
        while pending:
            one = pending.pop()
            if one.moid in seen:
                continue
            seen.add(one.moid)
            if not user.unlimited and not user.has("System.View", one.path_names):
                continue
            if not self.kinds or issubclass(one.TYPE, self.kinds):
                found.append(one)
            if self.deep:
                pending.extend(reversed(_below(one)))
        return found

    @prop
    def view(self) -> Any:
        return references([one.ref for one in self.members()])

    @prop
    def container(self) -> Any:
        return self.root.ref

    @prop
    def type(self) -> Any:
        return vim.view.ContainerView._GetPropertyInfo("type").type(list(self.kinds))

    @prop
    def recursive(self) -> bool:
        return self.deep


class ListView(_View):
    TYPE = vim.view.ListView

    def __init__(self, world: World, call: Call, objects: list[Managed]) -> None:
        super().__init__(world, call)
        self.listed = objects

    @prop
    def view(self) -> Any:
        return references([one.ref for one in self.listed])

    def members(self) -> list[Any]:
        return self.listed

    @operation(privilege="System.View")
    def ModifyListView(self, call: Call, add: Any = None, remove: Any = None) -> Any:
        gone = {item._moId for item in remove or ()}
        self.listed = [one for one in self.listed if one.moid not in gone]
        found, unresolved = _look_up(self.world, call, add)
        self.listed.extend(found)
        return references(unresolved)

    @operation(privilege="System.View")
    def ResetListView(self, call: Call, obj: Any = None) -> Any:
        self.listed, unresolved = _look_up(self.world, call, obj)
        return references(unresolved)


def _look_up(world: World, call: Call, references: Any) -> tuple[list[Managed], list[Any]]:
    found: list[Managed] = []
    missing = []
    for item in references or ():
        one = world.find(item._moId, call.session)
        if one is None:
            missing.append(item)
        else:
            found.append(one)
    return found, missing


class ViewManager(Managed):
    TYPE = vim.view.ViewManager

    @operation(privilege="System.View")
    def CreateContainerView(self, call: Call, container: Any, recursive: bool, type: Any = None) -> Any:
        root = self.world.find(container._moId, call.session)
        if not isinstance(root, (Folder, Datacenter, ComputeResource, ClusterComputeResource, ResourcePool)):
            if root is None:
                raise SoapFault(
                    "ManagedObjectNotFound", "The object has already been deleted or has not been completely created", obj=container
                )
            raise SoapFault("InvalidArgument", "A specified parameter was not correct: container", invalidProperty="container")
        return ContainerView(self.world, call, root, tuple(type or ()), bool(recursive)).ref

    @operation(privilege="System.View")
    def CreateListView(self, call: Call, obj: Any = None) -> Any:
        return ListView(self.world, call, _look_up(self.world, call, obj)[0]).ref

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EventManager and event collectors."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim

from ..plain import data
from ..registry import Call, Managed, operation, prop
from ..xmlwrite import frozen
from .inventory import Entity

if TYPE_CHECKING:
    from ..world import World

_EVENTS = "vim.event.Event[]"
_FORMATS = ("formatOnDatacenter", "formatOnComputeResource", "formatOnHost", "formatOnVm", "fullFormat")


def make_event(world: World, kind: Any, text: str, user: str, entity: Any, fields: dict[str, Any]) -> Any:
    """An event as data; what a class requires and nobody gave becomes empty, as in sparse real ones."""
    made = kind(
        key=len(world.events) + 1, chainId=len(world.events) + 1, createdTime=world.server_time(), userName=user, fullFormattedMessage=text
    )
    known = {info.name for info in kind._GetPropertyList()}
    for name, value in fields.items():
        if name in known:
            setattr(made, name, value)
    if "entity_argument" in fields:
        made.entity = fields["entity_argument"]
    item = getattr(entity, "runs_on", None) or entity
    if item is not None and item.host is item:
        made.datacenter = vim.event.DatacenterEventArgument(name=item.datacenter.title, datacenter=item.datacenter.ref)
        made.host = vim.event.HostEventArgument(name=item.title, host=item.ref)
        if item.above is not None:
            made.computeResource = vim.event.ComputeResourceEventArgument(name=item.above.title, computeResource=item.above.ref)
    if item is not entity:
        made.vm = vim.event.VmEventArgument(name=entity.title, vm=entity.ref)
    for info in kind._GetPropertyList():
        if not info.flags & VmomiSupport.F_OPTIONAL and getattr(made, info.name) is None:
            if info.type is str:
                setattr(made, info.name, "")
            elif info.type is bool:
                setattr(made, info.name, False)
    return frozen(made)


def log_extended(world: World, type_id: str, text: str, severity: str, entity: Any, arguments: dict[str, Any]) -> Any:
    """An EventEx as vCenter logs it: about an entity, or about none but its own service."""
    fields: dict[str, Any] = {"eventTypeId": type_id, "severity": severity, "message": text}
    if arguments:
        fields["arguments"] = [data("vmodl.KeyAnyValue", key=name, value=value) for name, value in arguments.items()]
    if entity is not None:
        fields.update(objectId=entity.moid, objectType=entity.TYPE, objectName=entity.title)
    world.log_event(vim.event.EventEx, text, entity=entity, **fields)
    return world.events[-1]


def type_id(event: Any) -> str:
    """The eventTypeId a filter names: the own one of an EventEx, "vim.event.UserLoginSessionEvent" for a built-in class."""
    return event.eventTypeId if isinstance(event, vim.event.EventEx) else f"vim.event.{VmomiSupport.GetWsdlName(type(event))}"


def _involves(event: Any, wanted: Any, recursion: str, world: World) -> bool:
    involved = {
        getattr(argument, name)._moId
        for argument, name in (
            (event.host, "host"),
            (event.computeResource, "computeResource"),
            (event.datacenter, "datacenter"),
            (event.vm, "vm"),
        )
        if argument is not None
    }
    subject = event.vm.vm._moId if event.vm is not None else (event.host.host._moId if event.host is not None else None)
    target = world.find(wanted._moId)
    if recursion == "self":
        return subject == wanted._moId or (target is world.root and subject is None)
    if target is world.root:
        return recursion == "all" or subject is not None
    if wanted._moId in involved:
        return True
    # Folders are in no event: ask the tree.
    one = world.find(subject) if subject else None
    while isinstance(one, Entity):
        if one is target:
            return True
        one = one.above
    return False


def matches(event: Any, spec: Any, world: World) -> bool:
    if spec is None:
        return True
    if spec.eventTypeId and type_id(event) not in spec.eventTypeId and VmomiSupport.GetWsdlName(type(event)) not in spec.eventTypeId:
        return False
    if spec.type and not isinstance(event, tuple(spec.type)):
        return False
    if spec.time is not None:
        if spec.time.beginTime is not None and event.createdTime < _aware(spec.time.beginTime):
            return False
        if spec.time.endTime is not None and event.createdTime > _aware(spec.time.endTime):
            return False
    if spec.category and getattr(event, "severity", "info") not in spec.category:
        return False
    if spec.userName is not None and spec.userName.userList and event.userName not in spec.userName.userList:
        return False
    return spec.entity is None or _involves(event, spec.entity.entity, str(spec.entity.recursion), world)


def _aware(value: datetime.datetime) -> datetime.datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=datetime.timezone.utc)


class EventManager(Managed):
    TYPE = vim.event.EventManager

    @prop
    def latestEvent(self) -> Any:
        return self.world.events[-1] if self.world.events else None

    @prop
    def maxCollector(self) -> int:
        return 1000

    @prop
    def description(self) -> Any:
        levels = [{"key": key, "label": key, "summary": key} for key in ("info", "warning", "error", "user")]
        kinds = sorted({type(event) for event in self.world.events} | {vim.event.UserLoginSessionEvent}, key=VmomiSupport.GetWsdlName)
        details = [{"key": kind, "category": "info", **dict.fromkeys(_FORMATS, "")} for kind in kinds]
        return data("vim.event.EventDescription", {"category": levels, "eventInfo": details})

    @operation(privilege="System.View")
    def QueryEvents(self, call: Call, filter: Any, eventViewSpec: Any = None) -> Any:
        found = [event for event in self.world.events if matches(event, filter, self.world)]
        limit = filter.maxCount if filter is not None and filter.maxCount else 1000
        return VmomiSupport.GetVmodlType(_EVENTS)(found[-limit:])

    @operation(privilege="System.View")
    def CreateCollectorForEvents(self, call: Call, filter: Any) -> Any:
        return EventHistoryCollector(self.world, call, filter).ref

    @operation(privilege="Global.LogEvent", writes=True)
    def LogUserEvent(self, call: Call, entity: Any, msg: str) -> None:
        target = self.world.find(entity._moId)
        self.world.log_event(vim.event.GeneralUserEvent, msg, user=call.who.user.name, entity=target, message=msg)


class EventHistoryCollector(Managed):
    """A scrollable view: position counts events from the oldest; a new collector stands at the end, latestPage shows the newest first."""

    TYPE = vim.event.EventHistoryCollector

    def __init__(self, world: World, call: Call, spec: Any) -> None:
        super().__init__(world, f"session[{call.who.key}]{uuid.uuid4()}")
        call.who.objects[self.moid] = self
        self.spec = spec
        self.page = 10
        # API text: a collector starts with the events of its creation behind it; ReadNextEvents then gives what comes after the cursor.
        self.position = len(self._all())

    def _all(self) -> list[Any]:
        return [event for event in self.world.events if matches(event, self.spec, self.world)]

    @prop
    def filter(self) -> Any:
        return self.spec

    @prop
    def latestPage(self) -> Any:
        return VmomiSupport.GetVmodlType(_EVENTS)(list(reversed(self._all()))[: self.page])

    @prop
    def initialized(self) -> bool:
        return True

    @operation(privilege="System.View")
    def ReadNextEvents(self, call: Call, maxCount: int) -> Any:
        found = self._all()[self.position : self.position + maxCount]
        self.position += len(found)
        return VmomiSupport.GetVmodlType(_EVENTS)(found)

    @operation(privilege="System.View")
    def ReadPreviousEvents(self, call: Call, maxCount: int) -> Any:
        start = max(0, self.position - maxCount)
        found = self._all()[start : self.position]
        self.position = start
        return VmomiSupport.GetVmodlType(_EVENTS)(list(reversed(found)))

    @operation(privilege="System.View")
    def RewindCollector(self, call: Call) -> None:
        self.position = 0

    @operation(privilege="System.View")
    def ResetCollector(self, call: Call) -> None:
        self.position = len(self._all())

    @operation(privilege="System.View")
    def SetCollectorPageSize(self, call: Call, maxCount: int) -> None:
        self.page = maxCount

    @operation(privilege="System.View")
    def DestroyCollector(self, call: Call) -> None:
        call.who.objects.pop(self.moid, None)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AlarmManager with the one alarm that encryption needs: machines that are locked. Only what events trigger; nobody defines alarms here."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..crypto import LOCKED, UNLOCKED
from ..errors import SoapFault
from ..plain import data
from ..registry import Call, Managed, operation, prop
from .inventory import array

if TYPE_CHECKING:
    from ..world import World
    from .virtual_machine import VirtualMachine

MOID = "alarm-201"  # made up; ids of predefined alarms differ between installations
NAME = "Virtual Machine Locked Alarm"


class Alarm(Managed):
    TYPE = vim.alarm.Alarm

    @prop
    def info(self) -> Any:
        rows = [(one, "red") for one in LOCKED] + [(UNLOCKED, "green")]
        expressions = [
            vim.alarm.EventAlarmExpression(eventType=vim.event.EventEx, eventTypeId=one, objectType=vim.VirtualMachine, status=status)
            for one, status in rows
        ]
        return vim.alarm.AlarmInfo(
            name=NAME,
            systemName=self.world.crypto.options["alarm_system_name"],
            description="Monitors whether an encrypted virtual machine is locked.",
            enabled=True,
            expression=vim.alarm.OrAlarmExpression(expression=expressions),
            actionFrequency=0,
            setting=vim.alarm.AlarmSetting(toleranceRange=0, reportingFrequency=300),
            key=MOID,
            alarm=self.ref,
            entity=self.world.root.ref,
            lastModifiedTime=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
            lastModifiedUser="",
            creationEventId=0,
        )


class AlarmManager(Managed):
    TYPE = vim.alarm.AlarmManager

    @prop
    def defaultExpression(self) -> Any:
        return array("vim.alarm.AlarmExpression", [])

    @prop
    def description(self) -> Any:
        return data("vim.alarm.AlarmDescription", {}, fill=True)

    @operation(privilege="System.View")
    def GetAlarm(self, call: Call, entity: Any = None) -> Any:
        shown = entity is None or entity._moId == self.world.root.moid
        return array("vim.alarm.Alarm", [vim.alarm.Alarm(MOID)] if shown else [])

    @operation(privilege="System.Read")
    def GetAlarmState(self, call: Call, entity: Any) -> Any:
        target = self.world.find(entity._moId)
        if target is None:
            raise SoapFault("ManagedObjectNotFound", "The object has already been deleted or has not been completely created", obj=entity)
        return declared(self.world, target)

    @operation(privilege="Alarm.Acknowledge", writes=True)
    def AcknowledgeAlarm(self, call: Call, alarm: Any, entity: Any) -> None:
        found = self.world.crypto.alarms.get(entity._moId)
        if found is None or found["status"] == "green":
            raise SoapFault("InvalidArgument", "A specified parameter was not correct: entity", invalidProperty="entity")
        found.update(acknowledged=True, acknowledged_by=call.who.user.name, acknowledged_at=self.world.server_time())
        self.world.touch()


def change(world: World, machine: VirtualMachine, status: str, event: Any) -> None:
    """An event has moved the alarm of a machine."""
    old = world.crypto.alarms.get(machine.moid, {}).get("status", "green")
    world.crypto.alarms[machine.moid] = {"status": status, "time": world.server_time(), "event": event.key if event is not None else None}
    machine.touch()
    if old != status:
        argument = vim.event.ManagedEntityEventArgument(name=machine.title, entity=machine.ref)
        world.log_event(
            vim.event.AlarmStatusChangedEvent,
            f"Alarm '{NAME}' on {machine.title} changed from {old.capitalize()} to {status.capitalize()}",
            entity=machine,
            alarm=vim.event.AlarmEventArgument(name=NAME, alarm=vim.alarm.Alarm(MOID)),
            source=vim.event.ManagedEntityEventArgument(name=world.root.title, entity=world.root.ref),
            **{"entity_argument": argument, "from": old, "to": status},
        )


def _state(world: World, machine: Any, row: dict[str, Any]) -> Any:
    return vim.alarm.AlarmState(
        key=f"{MOID}.{machine.moid}",
        entity=machine.ref,
        alarm=vim.alarm.Alarm(MOID),
        overallStatus=getattr(vim.ManagedEntity.Status, row["status"]),
        time=row["time"],
        acknowledged=row.get("acknowledged", False),
        acknowledgedByUser=row.get("acknowledged_by"),
        acknowledgedTime=row.get("acknowledged_at"),
        eventKey=row["event"],
    )


def triggered(world: World, entity: Any) -> Any:
    """Alarms of an entity and of everything below it, as real servers hand them up the tree."""
    found = []
    for moid, row in world.crypto.alarms.items():
        machine = world.find(moid)
        if machine is not None and row["status"] != "green" and _within(machine, entity):
            found.append(_state(world, machine, row))
    return array("vim.alarm.AlarmState", found)


def declared(world: World, entity: Any) -> Any:
    row = world.crypto.alarms.get(entity.moid)
    return array("vim.alarm.AlarmState", [_state(world, entity, row)] if row is not None else [])


def _within(machine: Any, entity: Any) -> bool:
    for start in (machine, getattr(machine, "runs_on", None), getattr(machine, "pool", None)):
        one = start
        while one is not None:
            if one is entity:
                return True
            one = getattr(one, "above", None)
    return False

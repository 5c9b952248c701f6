# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks: queued, running, success or error, each step in its own moment, as clients wait for them."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim

from ..errors import SoapFault
from ..plain import data
from ..registry import Call, Managed, operation, prop

if TYPE_CHECKING:
    from ..world import World

# What work returns that is not done yet: it is asked again, without the lock in between.
AGAIN = object()
_LOOK = 0.02
_KEEP = 200  # recentTask of a real server forgets, too


class Task(Managed):
    TYPE = vim.Task

    def __init__(self, world: World, moid: str, description: str, target: Managed, user: str, cancelable: bool) -> None:
        super().__init__(world, moid)
        self.target = target
        self.cancelable = cancelable
        self.cancelled = False
        self.fields: dict[str, Any] = {
            "descriptionId": description.removeprefix("vim."),
            "name": VmomiSupport.GetWsdlMethod("urn:vim25", _method(description)) if _method(description) else None,
            "state": "queued",
            "queueTime": datetime.datetime.now(datetime.timezone.utc),
            "reason": vim.TaskReasonUser(userName=user),
        }

    @property
    def entity(self) -> Managed:
        return self.target.entity

    @property
    def host(self) -> Any:
        return None  # a task lives in the server, also while its host is gone

    @prop
    def info(self) -> Any:
        made = vim.TaskInfo(
            key=self.moid,
            task=self.ref,
            cancelled=self.cancelled,
            cancelable=self.cancelable,
            eventChainId=1,
            entity=self.target.entity.ref,
        )
        made.entityName = getattr(self.target.entity, "title", None)
        for name, value in self.fields.items():
            if value is not None:
                setattr(made, name, value)
        return made

    @property
    def finished(self) -> bool:
        return self.fields["state"] in ("success", "error")

    def run(self, work: Callable[[], Any], delay: float) -> None:
        world = self.world
        if world.stopping.wait(delay / 2):
            return
        with world.lock:
            if self.finished:
                return
            self.fields.update(state="running", startTime=datetime.datetime.now(datetime.timezone.utc), progress=0)
            world.touch()
        pause = delay / 2
        while not world.stopping.wait(pause):
            with world.lock:
                if self._ended(work):
                    return
            pause = _LOOK

    def _ended(self, work: Callable[[], Any]) -> bool:
        if not self.finished:
            self.world.ways.tick()
            try:
                result = work()
                if result is AGAIN:
                    return False
                self.fields.update(state="success", result=result)
            except SoapFault as fault:
                self.fail(fault)
            except Exception as exc:
                self.world.failed(exc)
                self.fail(SoapFault("SystemError", f"internal error of the simulator: {exc}", reason=str(exc)))
            self.fields.update(completeTime=datetime.datetime.now(datetime.timezone.utc), progress=None)
            self.world.touch()
        return True

    def fail(self, fault: SoapFault) -> None:
        data = fault.data()
        if data is None:
            data = SoapFault("SystemError", reason=fault.wire_name).data()
        data.msg = fault.text
        self.fields.update(state="error", error=data)

    @operation(privilege="System.View", writes=True)
    def CancelTask(self, call: Call) -> None:
        if self.finished:
            raise SoapFault("InvalidState", "The operation is not allowed in the current state.")
        if not self.cancelable:
            raise SoapFault("NotSupported", "The operation is not supported on the object.")
        self.cancelled = True
        self.fail(SoapFault("RequestCanceled", "The task was canceled by a user."))
        self.fields.update(completeTime=datetime.datetime.now(datetime.timezone.utc), progress=None)
        self.world.touch()


_METHODS = {
    "InstallV2": "InstallHostPatchV2_Task",
    "Uninstall": "UninstallHostPatch_Task",
    "Query": "QueryHostPatch_Task",
    "deleteFile": "DeleteDatastoreFile_Task",
    "search": "SearchDatastore_Task",
    "enterMaintenanceMode": "EnterMaintenanceMode_Task",
    "exitMaintenanceMode": "ExitMaintenanceMode_Task",
    "disconnect": "DisconnectHost_Task",
    "reconnect": "ReconnectHost_Task",
    "reboot": "RebootHost_Task",
    "shutdown": "ShutdownHost_Task",
    "cryptoUnlock": "CryptoUnlock_Task",
    "powerOn": "PowerOnVM_Task",
    "powerOff": "PowerOffVM_Task",
    "registerVm": "RegisterVM_Task",
    "createSnapshot": "CreateSnapshot_Task",
    "retrieveKmipServersStatus": "RetrieveKmipServersStatus_Task",
    "changeKey": "ChangeKey_Task",
}


def _method(description: str) -> str | None:
    return _METHODS.get(description.rpartition(".")[2])


class TaskManager(Managed):
    TYPE = vim.TaskManager

    @prop
    def recentTask(self) -> Any:
        return VmomiSupport.GetVmodlType("vim.Task[]")([task.ref for task in self.world.tasks[-_KEEP:]])

    @prop
    def maxCollector(self) -> int:
        return 1000

    @prop
    def description(self) -> Any:
        def rows(*keys: str) -> list[dict[str, str]]:
            return [{"key": key, "label": key, "summary": key} for key in keys]

        methods = rows("HostSystem.enterMaintenanceMode", "HostSystem.exitMaintenanceMode", "HostSystem.disconnect", "HostSystem.reconnect")
        reason = {"key": vim.TaskReasonUser, "label": "user", "summary": "user"}
        values = {"methodInfo": methods, "state": rows("queued", "running", "success", "error"), "reason": [reason]}
        return data("vim.TaskDescription", values)


def start(world: World, call: Call, description: str, target: Managed, work: Callable[[], Any], cancelable: bool = True) -> Any:
    """Make a task and let it run beside the call; returns its reference, as every *_Task operation does."""
    prefix = "haTask-" if world.kind == "esxi" else "task-"
    task = world.add(Task(world, world.next_id(prefix), description, target, call.who.user.name, cancelable))
    world.tasks.append(task)
    world.touch()
    thread = threading.Thread(target=task.run, args=(work, float(world.options["task_delay"])), name=task.moid, daemon=True)
    thread.start()
    return task.ref


def unfinished(world: World, description: str, target: Managed) -> Task:
    """A task that runs until somebody ends it: something else is at work on its target."""
    task: Task = world.add(Task(world, world.next_id("task-"), description, target, "somebody@vsphere.local", False))
    task.fields.update(state="running", startTime=datetime.datetime.now(datetime.timezone.utc), progress=10)
    world.tasks.append(task)
    world.touch()
    return task

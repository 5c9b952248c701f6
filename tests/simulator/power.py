# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode, shutdown and reboot of hosts, with what follows from them: machines that move or stay, hosts and endpoints that do not
answer for a while, boot times, sessions and keys that are gone.

The texts of the API: HostSystem.EnterMaintenanceMode, ExitMaintenanceMode, RebootHost, ShutdownHost (vSphere API reference). What it leaves
open is an option, see `power` in README.md.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from .errors import SoapFault
from .objects.tasks import AGAIN
from .registry import Call

if TYPE_CHECKING:
    from .objects.host_system import HostSystem
    from .world import World

NOT_NOW = "The operation is not allowed in the current state."
# A real host needs minutes to boot; that two boots of a test lie apart by seconds must not make them one.
_APART = datetime.timedelta(seconds=60)


class Power:
    """What is due later, in virtual time, and who is on their way into maintenance mode."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._downs: dict[str, int] = {}
        self.before_start = False
        self._entering: dict[str, Any] = {}  # the tasks that are at it, by host

    # ---- time -----------------------------------------------------------------------------------------------------------------
    def later(self, seconds: float, work: Callable[[], None]) -> None:
        if seconds <= 0:
            work()
            return
        world = self.world
        self._due.append((world.virtual_now() + seconds, work))

        def wake() -> None:
            if not world.stopping.wait(seconds):
                with world.lock:
                    self.tick()

        threading.Thread(target=wake, name="simulator-power", daemon=True).start()

    def tick(self) -> None:
        """Do what is due. Whoever looks at the world calls it through Ways.tick."""
        now = self.world.virtual_now()
        while True:
            due = min((item for item in self._due if item[0] <= now), key=lambda item: item[0], default=None)
            if due is None:
                return
            self._due.remove(due)
            due[1]()
            self.world.touch()

    @property
    def busy(self) -> bool:
        return bool(self._due)

    # ---- what follows ---------------------------------------------------------------------------------------------------------
    def option(self, item: HostSystem, name: str) -> Any:
        return item.state.options[name]

    @property
    def endpoint_down(self) -> bool:
        """A stand-alone host that is off, or a vCenter whose own machine does not run."""
        world = self.world
        if world.kind == "esxi":
            return not world.hosts[0].state.powered_on
        own = [machine for machine in world.crypto.machines() if machine.is_endpoint] if world.has_own_machine else []
        return any(not machine.powered_on for machine in own)

    def went_down(self, item: HostSystem) -> None:
        """After a host has lost power."""
        self._downs[item.moid] = self._downs.get(item.moid, 0) + 1
        if self.world.kind == "esxi":
            self.world.sessions.clear()

    def booted(self, item: HostSystem) -> None:
        """After a host has got power: a new boot time, nothing pending, and machines that start with it."""
        state = item.state
        # What a scenario begins with happened some time ago, at the same time after each reset.
        now = state.booted if self.before_start else datetime.datetime.now(datetime.timezone.utc)
        state.booted = max(now, state.booted + _APART)
        state.boots += 1
        state.reboot_required = False
        state.rebooted()
        for machine in item.machines:
            if machine.was_on and machine.autostart and machine.files.home is None:
                machine.powered_on, machine.was_on = True, False
                machine.touch()

    def shut_down(self, item: HostSystem, *, and_back: bool) -> None:
        """A host goes down because it was told to; vCenter notices at once or by its missing heartbeats."""
        world = self.world
        reason = "reboot" if and_back else "shutdown"
        world.log_event(vim.event.HostShutdownEvent, f"Shut down of {item.state.name}: {reason}", entity=item, reason=reason)
        with item.state.changing():
            world.crypto.went_down(item)
            self.went_down(item)
        number = self._downs[item.moid]

        def still() -> bool:
            return self._downs[item.moid] == number and not item.state.powered_on

        def notice() -> None:
            if still() and world.kind == "vcenter" and item.state.connection == "connected":
                world.set_connection(item, "not_responding")

        def back() -> None:
            if still():
                self.come_back(item, self.option(item, "comes_back"))

        self.later(float(self.option(item, "notice_seconds")), notice)
        if and_back and self.option(item, "comes_back") != "never":
            self.later(float(self.option(item, "reboot_seconds")), back)

    def come_back(self, item: HostSystem, how: str) -> None:
        world = self.world
        with item.state.changing():
            world.power_on(item, push=how == "connected")
            if how == "disconnected":
                world.set_connection(item, "disconnected")

    # ---- maintenance mode -----------------------------------------------------------------------------------------------------
    def is_entering(self, item: HostSystem) -> bool:
        task = self._entering.get(item.moid)
        return task is not None and not task.finished

    def enter(self, item: HostSystem, call: Call, timeout: float, evacuate: bool) -> Any:
        """A task that goes on until no machine runs on the host, its time is up (fault Timedout), or it is cancelled."""
        world = self.world
        until = world.virtual_now() + timeout if timeout > 0 else None
        begun = False

        def work() -> Any:
            nonlocal begun
            refusal = world.unreachable(item)
            if refusal is not None:
                raise refusal
            if not begun:
                if item.state.maintenance or self.is_entering(item):
                    raise SoapFault("InvalidState", NOT_NOW)
                begun = True
                self._entering[item.moid] = world.objects[task._moId]
                world.log_event(vim.event.EnteringMaintenanceModeEvent, f"{item.state.name} is entering maintenance mode", entity=item)
            self._evacuate(item, evacuate)
            # Without DRS the task waits for machines that are off, too, if asked to move them (API text of evacuatePoweredOffVms).
            off_too = evacuate and world.kind == "vcenter"
            staying = [machine for machine in item.machines if (machine.powered_on or off_too) and not machine.agent]
            if staying:
                if until is not None and world.virtual_now() >= until:
                    raise SoapFault("Timedout", "Operation timed out.")
                return AGAIN
            for machine in item.machines:
                machine.powered_on = False  # the cluster's own agents are switched off, nobody waits for them
            item.state.maintenance = True
            world.log_event(vim.event.EnteredMaintenanceModeEvent, f"{item.state.name} is in maintenance mode", entity=item)
            return None

        task = world.start_task(call, "vim.HostSystem.enterMaintenanceMode", item, work)
        return task

    def _evacuate(self, item: HostSystem, powered_off: bool) -> None:
        """What DRS does in a cluster that it manages by itself."""
        row = self.world.cluster_settings(item)
        if row.get("drs") != "fullyAutomated" or row.get("admission_control_holds"):
            return
        free = [other for other in _members(item) if other is not item and self.usable(other)]
        if not free:
            return
        for machine in list(item.machines):
            if machine.pinned or machine.agent or not (machine.powered_on or powered_off):
                continue
            other = min(free, key=lambda one: len(one.machines))
            machine.moved(other)
            self.world.crypto.registered(machine)
            self.world.log_event(
                vim.event.DrsVmMigratedEvent,
                f"DRS moved {machine.title} from {item.state.name} to {other.state.name}",
                entity=machine,
                template=False,
                sourceHost=vim.event.HostEventArgument(name=item.state.name, host=item.ref),
            )

    def usable(self, item: HostSystem) -> bool:
        state = item.state
        return state.connection == "connected" and state.powered_on and not state.maintenance and not self.is_entering(item)

    def leave(self, item: HostSystem) -> None:
        refusal = self.world.unreachable(item)
        if refusal is not None:
            raise refusal
        if not item.state.maintenance:
            raise SoapFault("InvalidState", NOT_NOW)
        item.state.maintenance = False
        self.world.log_event(vim.event.ExitMaintenanceModeEvent, f"{item.state.name} left maintenance mode", entity=item)

    # ---- operations -----------------------------------------------------------------------------------------------------------
    def command(self, item: HostSystem, call: Call, force: bool, *, and_back: bool) -> Any:
        """ShutdownHost_Task and RebootHost_Task: InvalidState unless forced or in maintenance mode (API text)."""
        world = self.world
        if not item.state.profile.capability.get("rebootSupported" if and_back else "shutdownSupported", True):
            raise SoapFault("NotSupported", "The operation is not supported on the object.")
        if not force and not item.state.maintenance:
            raise SoapFault("InvalidState", NOT_NOW)
        waits = and_back and self.option(item, "power_answer") == "back" and world.kind == "vcenter"
        begun: list[int] = []

        def work() -> Any:
            if not begun:
                refusal = world.unreachable(item)
                if refusal is not None:
                    raise refusal
                begun.append(1)
                if self.option(item, "power_works"):
                    self.shut_down(item, and_back=and_back)
            return AGAIN if waits and not (item.state.powered_on and item.state.connection == "connected") else None

        return world.start_task(call, f"vim.HostSystem.{'reboot' if and_back else 'shutdown'}", item, work)


def _members(item: HostSystem) -> list[Any]:
    """The hosts of its compute resource, itself among them."""
    return list(getattr(item.above, "members", ()))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostServiceSystem: the daemons of a host. Faults after facts.md 2.2."""

from __future__ import annotations

import functools
from typing import Any

from pyVmomi import vim

from ..errors import SoapFault
from ..host import Host
from ..plain import data
from ..profile import Service
from ..registry import Call, operation, prop
from ..state import ServiceState
from ..xmlwrite import frozen
from .host_part import HostPart

POLICIES = ("on", "off", "automatic")
_PACKAGES = {"esx-base": "This VIB contains all of the base functionality of vSphere ESXi."}


@functools.cache
def _service(row: Service, state: ServiceState) -> Any:
    """One service as data; the same state gives the same object on every host, so its XML is written once."""
    return frozen(
        data(
            "vim.host.Service",
            {
                "key": row.key,
                "label": row.label,
                "required": row.required,
                "uninstallable": False,  # always, on every release (facts.md 2.2)
                "running": state.running,
                "ruleset": list(row.ruleset),
                "policy": state.policy,
                "sourcePackage": {"sourcePackageName": row.package, "description": _PACKAGES.get(row.package, row.package)},
            },
        )
    )


def service_info(host: Host) -> Any:
    """HostServiceInfo, kept with the (shared, immutable) map it is made from."""
    states = host.services
    if states.view is None:
        rows = host.profile.services
        states.view = frozen(vim.host.ServiceInfo(service=[_service(rows[key], state) for key, state in states.items()]))
    return states.view


class HostServiceSystem(HostPart):
    TYPE = vim.host.ServiceSystem

    @prop
    def serviceInfo(self) -> Any:
        return self.owner.service_info()

    def _row(self, key: str) -> Service:
        row = self.state.profile.services.get(key)
        if row is None:
            raise SoapFault("NotFound", f"The object or item referred to could not be found: service {key}.")
        return row

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def StartService(self, call: Call, id: str) -> None:
        # No fault for one that runs already on anything newer than 4.1.
        self._row(id)
        with self.state.changing():
            self.state.start_service(id)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def StopService(self, call: Call, id: str) -> None:
        if self._row(id).required:
            raise SoapFault(
                self.option("required_service_fault"), f"The service {id} is required and cannot be stopped.", invalidProperty="id"
            )
        with self.state.changing():
            self.state.stop_service(id)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def RestartService(self, call: Call, id: str) -> None:
        self._row(id)
        with self.state.changing():
            self.state.restart_service(id)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def UpdateServicePolicy(self, call: Call, id: str, policy: str) -> None:
        self._row(id)
        if policy not in POLICIES:
            raise SoapFault("InvalidArgument", f"A specified parameter was not correct: policy {policy}", invalidProperty="policy")
        with self.state.changing():
            self.state.set_policy(id, policy)

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def UninstallService(self, call: Call, id: str) -> None:
        self._row(id)
        raise SoapFault("HostConfigFault", f"The service {id} cannot be uninstalled.")

    @operation(privilege="Host.Config.NetService", writes=True, needs_host=True)
    def RefreshServices(self, call: Call) -> None:
        self.world.touch()

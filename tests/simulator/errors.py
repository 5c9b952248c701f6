# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the simulator: SOAP faults on their way to a client, and bad input of the person who starts it."""

from __future__ import annotations

from typing import Any

from pyVmomi import VmomiSupport


class ScenarioError(Exception):
    """A scenario, profile or scripted fault that cannot be understood; one sentence for people."""


class SoapFault(Exception):
    """A fault to be sent as HTTP 500. `wire_name` may name a class that pyVmomi does not know (undeclared subclasses exist)."""

    def __init__(self, wire_name: str, text: str = "", **fields: Any) -> None:
        super().__init__(text or wire_name)
        self.wire_name = wire_name
        self.text = text
        self.fields = fields

    def data(self) -> Any:
        """The fault as a pyVmomi object, or None for a class nobody declared."""
        kind = fault_type(self.wire_name)
        if kind is None:
            return None
        fault = kind()
        known = {info.name for info in kind._GetPropertyList()}
        for name, value in self.fields.items():
            if name in known and value is not None:
                setattr(fault, name, value)
        for info in kind._GetPropertyList():
            # Required fields of a scripted fault may be left out in a scenario; the wire still needs them.
            if not info.flags & VmomiSupport.F_OPTIONAL and getattr(fault, info.name) is None:
                default: Any = {str: "", bool: False}.get(info.type)
                if default is None and issubclass(info.type, int):
                    default = 0
                if default is not None:
                    setattr(fault, info.name, default)
        return fault


def fault_type(wire_name: str) -> Any:
    """The pyVmomi class of a fault by its wire name ("HostConfigFault") or pyVmomi name ("vim.fault.HostConfigFault")."""
    try:
        kind = VmomiSupport.GetWsdlType("urn:vim25", wire_name)
    except KeyError:
        try:
            kind = VmomiSupport.GetVmodlType(wire_name)
        except (KeyError, AttributeError, ValueError):
            return None
    return kind if issubclass(kind, VmomiSupport.GetVmodlType("vmodl.MethodFault")) else None

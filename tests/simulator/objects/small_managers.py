# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managers of the server that clients read in passing, nearly empty; custom fields and their values."""

from __future__ import annotations

from typing import Any

from pyVmomi import VmomiSupport, vim

from ..errors import SoapFault
from ..registry import Call, Managed, operation, prop
from .virtual_machine import VirtualMachine


class CustomFieldsManager(Managed):
    """Every module of community.vmware reads `field` right after its login."""

    TYPE = vim.CustomFieldsManager

    @prop
    def field(self) -> Any:
        return self.world.custom_field_defs()

    @operation(privilege="Global.ManageCustomFields", writes=True)
    def AddCustomFieldDef(self, call: Call, name: str, moType: Any = None, fieldDefPolicy: Any = None, fieldPolicy: Any = None) -> Any:
        if name in self.world.custom_fields.values():
            raise SoapFault("DuplicateName", f"The name '{name}' already exists.", name=name, object=self.ref)
        key = self.world.custom_field(str(name))
        self.world.touch()
        return next(one for one in self.world.custom_field_defs() if one.key == key)

    @operation(privilege="Global.SetCustomField", writes=True)
    def SetField(self, call: Call, entity: Any, key: int, value: str) -> None:
        target = self.world.find(entity._moId)
        if not isinstance(target, VirtualMachine) or key not in self.world.custom_fields:
            raise SoapFault("InvalidArgument", "A specified parameter was not correct: key", invalidProperty="key")
        target.custom[self.world.custom_fields[key]] = str(value)
        target.touch()


class ExtensionManager(Managed):
    TYPE = vim.ExtensionManager

    @prop
    def extensionList(self) -> Any:
        return VmomiSupport.GetVmodlType("vim.Extension[]")([])

    @operation(privilege="System.View")
    def FindExtension(self, call: Call, extensionKey: str) -> Any:
        return None

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managers of the server that clients read in passing: they exist and are empty."""

from __future__ import annotations

from typing import Any

from pyVmomi import VmomiSupport, vim

from ..registry import Call, Managed, operation, prop


class CustomFieldsManager(Managed):
    """Every module of community.vmware reads `field` right after its login."""

    TYPE = vim.CustomFieldsManager

    @prop
    def field(self) -> Any:
        return VmomiSupport.GetVmodlType("vim.CustomFieldsManager.FieldDef[]")([])


class ExtensionManager(Managed):
    TYPE = vim.ExtensionManager

    @prop
    def extensionList(self) -> Any:
        return VmomiSupport.GetVmodlType("vim.Extension[]")([])

    @operation(privilege="System.View")
    def FindExtension(self, call: Call, extensionKey: str) -> Any:
        return None

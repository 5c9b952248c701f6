# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OptionManager of a host: a short list of advanced settings, values from the 8.0.3 capture."""

from __future__ import annotations

from typing import Any

from pyVmomi import VmomiSupport, vim

from ..errors import SoapFault
from ..registry import Call, operation, prop
from ..state import StateMap
from ..xmlwrite import frozen
from .host_part import HostPart


def _typed(value: Any) -> Any:
    """Whole numbers of advanced options are long on the wire."""
    return VmomiSupport.long(value) if isinstance(value, int) and not isinstance(value, bool) else value


def option_values(settings: StateMap) -> Any:
    if settings.view is None:
        rows = [frozen(vim.option.OptionValue(key=key, value=_typed(value))) for key, value in sorted(settings.items())]
        settings.view = VmomiSupport.GetVmodlType("vim.option.OptionValue[]")(rows)
    return settings.view


class OptionManager(HostPart):
    TYPE = vim.option.OptionManager

    @prop
    def setting(self) -> Any:
        return option_values(self.state.advanced)

    @operation(privilege="System.View", needs_host=True)
    def QueryOptions(self, call: Call, name: str | None = None) -> Any:
        rows = option_values(self.state.advanced)
        if not name:
            return rows
        # "Net." asks for a whole branch, a full name for one option.
        found = [row for row in rows if row.key == name or (name.endswith(".") and row.key.startswith(name))]
        if not found:
            raise SoapFault("InvalidName", f"The name {name} is not valid.", name=name)
        return found

    @operation(privilege="Host.Config.AdvancedConfig", writes=True, needs_host=True)
    def UpdateOptions(self, call: Call, changedValue: Any) -> None:
        settings = self.state.advanced
        for item in changedValue:
            if item.key not in settings:
                raise SoapFault("InvalidName", f"The name {item.key} is not valid.", name=item.key)
            if isinstance(settings[item.key], str) != isinstance(item.value, str):
                raise SoapFault("InvalidArgument", f"A specified parameter was not correct: {item.key}", invalidProperty=item.key)
            value = item.value if isinstance(item.value, (str, bool)) else int(item.value)
            settings = settings.changed(str(item.key), value)
        with self.state.changing():
            self.state.advanced = settings

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From plain data to pyVmomi's data objects and back."""

from __future__ import annotations

import datetime
from typing import Any

from pyVmomi import VmomiSupport
from pyVmomi.VmomiSupport import F_OPTIONAL, F_SECRET, DataObject, GetVmodlType, ManagedObject

from .license import SHAPE, masked

# Never shown in the journal, at any depth. Licence keys count as secrets (facts.md 1.3).
SECRET = {
    "password", "oldPassword", "newPassword", "privateKey", "licenseKey", "keyData", "base64Token", "passphrase", "cookie", "ticket",
    "token", "keyServerPassword", "sessionId", "sessionID", "vimAccountPassword", "chapSecret", "mutualChapSecret",
}  # fmt: skip
HIDDEN = "********"


def hidden(name: str, value: Any) -> Any:
    """What the journal says of a secret: nothing, or of a licence key its ends, by which two can be told apart."""
    return masked(str(value)) if name == "licenseKey" and isinstance(value, str) else HIDDEN


def data(type_name: str, values: dict[str, Any] | None = None, *, fill: bool = False, **more: Any) -> Any:
    """A data object of `type_name` from nested plain values; `fill` gives missing required scalars a neutral value."""
    return _build(GetVmodlType(type_name), {**(values or {}), **more}, fill)


def _build(kind: Any, value: Any, fill: bool) -> Any:
    if isinstance(value, (DataObject, ManagedObject)) or value is None:
        return value
    if issubclass(kind, list):
        return kind([_build(kind.Item, item, fill) for item in value])
    if issubclass(kind, DataObject) and isinstance(value, dict):
        made = kind()
        for name, item in value.items():
            setattr(made, name, _build(kind._GetPropertyInfo(name).type, item, fill))
        if fill:
            for info in kind._GetPropertyList():
                if not info.flags & F_OPTIONAL and getattr(made, info.name) is None:
                    if info.type is bool:
                        setattr(made, info.name, False)
                    elif info.type is str:
                        setattr(made, info.name, "")
                    elif issubclass(info.type, (int, float)):
                        setattr(made, info.name, info.type(0))
                    elif issubclass(info.type, VmomiSupport.Enum):
                        setattr(made, info.name, info.type.values[0])
                    elif issubclass(info.type, DataObject):
                        setattr(made, info.name, _build(info.type, {}, True))
        return made
    return value


def plain(value: Any, secret: bool = False) -> Any:
    """A request argument as JSON-able data for the journal, without secrets."""
    if secret:
        return HIDDEN if value is not None else None
    if isinstance(value, str):
        # A licence key in the wrong place is a secret, too.
        return masked(value) if SHAPE.match(value.upper()) else str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, ManagedObject):
        return f"{VmomiSupport.GetWsdlName(type(value))}:{value._moId}"
    if isinstance(value, DataObject):
        out: dict[str, Any] = {"_type": VmomiSupport.GetWsdlName(type(value))}
        for info in value._GetPropertyList():
            item = value.__dict__.get(info.name)
            if item is not None and not (isinstance(item, list) and not item):
                out[info.name] = plain(item, info.name in SECRET or bool(info.flags & F_SECRET))
        return out
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item, name in SECRET) for name, item in value.items()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    if isinstance(value, type):
        return VmomiSupport.GetWsdlName(value)
    return str(value)

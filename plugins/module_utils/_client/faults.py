# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table from the server's faults to our errors. Private to this collection."""

from __future__ import annotations

from typing import Any

from .._domain.errors import (
    FleetcareError,
    HostUnreachable,
    LoginRefused,
    PermissionMissing,
    ServerFault,
    TargetUnknown,
)

_RECONNECT = "Look at the host's connection in vCenter; the run can be repeated for this host alone."

# Fault class -> error, cause, next step. A fault that is not listed is looked up by its ancestors, nearest first.
_TABLE: dict[str, tuple[type[FleetcareError], str, str]] = {
    "InvalidLogin": (
        LoginRefused,
        "user name or password is wrong",
        "Correct username or password; one attempt was made, so that the account is not locked.",
    ),
    "PasswordExpired": (LoginRefused, "the password has expired", "Give the user a new one, then use that."),
    "NotAuthenticated": (LoginRefused, "the session is not valid any more", "Run the task again."),
    "NoPermission": (PermissionMissing, "the privilege {privileges} on {object} is missing", "Grant it to the user of this task."),
    "HostNotConnected": (HostUnreachable, "vCenter has no connection to the host", _RECONNECT),
    "HostNotReachable": (HostUnreachable, "the host does not answer vCenter", _RECONNECT),
    "HostCommunication": (HostUnreachable, "vCenter and the host fail to talk to each other", _RECONNECT),
    "ManagedObjectNotFound": (
        TargetUnknown,
        "{object} is not there any more",
        "It was removed or re-registered in the meantime; run the task again.",
    ),
    "HostConfigFault": (ServerFault, "the host refused the configuration{text}", "The host's hostd.log has the details."),
    "InvalidState": (ServerFault, "its state does not allow it{text}", "Look at its tasks, and at the maintenance mode of the host."),
    "NotFound": (ServerFault, "the host does not know this item{text}", "Its release may not have it."),
    "InvalidArgument": (ServerFault, "the server does not accept the argument {property}{text}", "Check the option that it stems from."),
    "InvalidProperty": (ServerFault, "the server does not know the property {name}", "Please report it with the server's version."),
    "MethodNotFound": (
        ServerFault,
        "the server does not know the operation {method}",
        "Its release does not have it; look at the versions of server and host.",
    ),
    "NotSupported": (ServerFault, "the server does not support this{text}", "Its release or its edition does not have it."),
    "RestrictedVersion": (
        ServerFault,
        "the host's licence does not allow changes through the API{text}",
        "Free ESXi licences are read-only there; assign a licence that is not.",
    ),
    "TaskInProgress": (ServerFault, "another task is running there{text}", "Wait for it and run this one again."),
    "ConcurrentAccess": (ServerFault, "somebody else changed it at the same time{text}", "Run the task again."),
    "RequestCanceled": (ServerFault, "the call was cancelled on the server{text}", "Run the task again."),
}


def error_from(fault: Any) -> FleetcareError:
    """What the server answered, as one of our errors. Unknown faults keep their type name and texts."""
    cls, cause, hint = next(
        (_TABLE[name] for name in (kind.__name__.rpartition(".")[2] for kind in type(fault).__mro__) if name in _TABLE),
        (ServerFault, "the server refused the call{text}", "The server's log has the details."),
    )
    text = _texts(fault)
    facts = {
        "text": f": {text}" if text else "",
        "object": _object(fault),
        "privileges": ", ".join(_privileges(fault)) or "needed",
        "property": getattr(fault, "invalidProperty", None) or "it was given",
        "name": getattr(fault, "name", None) or "asked for",
        "method": getattr(fault, "method", None) or "asked for",
    }
    return cls(cause.format(**facts), hint=hint, fault=fault_name(fault))


def fault_name(fault: Any) -> str:
    return getattr(fault, "name_on_wire", "") or type(fault).__name__.rpartition(".")[2]


def _texts(fault: Any) -> str:
    """All that the server said, once each. The stubs lack ``msg``, and a fault may carry text in its faultMessage only."""
    said = [getattr(fault, "msg", None) or ""]
    for message in getattr(fault, "faultMessage", None) or ():
        said.append(getattr(message, "message", None) or getattr(message, "key", None) or "")
    cause = getattr(fault, "faultCause", None)
    if cause is not None:
        said.append(getattr(cause, "localizedMessage", None) or "")
        said.append(fault_name(getattr(cause, "fault", None) or cause))
    return "; ".join(dict.fromkeys(" ".join(part.split()) for part in said if part))


def _object(fault: Any) -> str:
    ref = getattr(fault, "object", None) or getattr(fault, "obj", None)
    moid = getattr(ref, "_moId", None)
    return f"{type(ref).__name__.rpartition('.')[2]}:{moid}" if moid else "the object"


def _privileges(fault: Any) -> list[str]:
    named = [getattr(fault, "privilegeId", None) or ""]
    for entity in getattr(fault, "missingPrivileges", None) or ():
        named.extend(getattr(entity, "privilegeIds", None) or ())
    return list(dict.fromkeys(name for name in named if name))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults become sentences: by their own row, by their nearest ancestor's, or with all that the server said."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import vmomi
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.faults import _TABLE, error_from, fault_name
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref, Wire, newest_version, vim, vmodl
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    FleetcareError,
    HostUnreachable,
    LoginRefused,
    PermissionMissing,
    ServerFault,
    TargetUnknown,
)

WIRE = Wire(newest_version("8.0.3.0"))


def host() -> Any:
    return WIRE.managed(Ref("HostSystem", "host-14"))


def message(key: str, text: str = "") -> Any:
    return vmodl.LocalizableMessage(key=key, message=text or None)


@pytest.mark.parametrize(
    ("fault", "kind", "name", "parts"),
    [
        (vim.fault.InvalidLogin(), LoginRefused, "InvalidLogin", ["user name or password is wrong", "one attempt"]),
        (vim.fault.PasswordExpired(), LoginRefused, "PasswordExpired", ["the password has expired", "Give the user a new one"]),
        (vim.fault.NotAuthenticated(object=host(), privilegeId="System.View"), LoginRefused, "NotAuthenticated", ["session"]),
        (
            vim.fault.NoPermission(object=host(), privilegeId="Host.Config.DateTime"),
            PermissionMissing,
            "NoPermission",
            ["Host.Config.DateTime", "HostSystem:host-14"],
        ),
        (
            vim.fault.NoPermission(
                missingPrivileges=[vim.fault.NoPermission.EntityPrivileges(entity=host(), privilegeIds=["Host.Config.NetService", "X.Y"])]
            ),
            PermissionMissing,
            "NoPermission",
            ["Host.Config.NetService, X.Y"],
        ),
        (vim.fault.NoPermission(), PermissionMissing, "NoPermission", ["privilege needed on the object"]),
        (vmodl.fault.HostNotConnected(), HostUnreachable, "HostNotConnected", ["no connection to the host"]),
        (vmodl.fault.HostNotReachable(), HostUnreachable, "HostNotReachable", ["does not answer"]),
        (vmodl.fault.HostCommunication(), HostUnreachable, "HostCommunication", ["fail to talk"]),
        (vmodl.fault.ManagedObjectNotFound(obj=host()), TargetUnknown, "ManagedObjectNotFound", ["HostSystem:host-14 is not there"]),
        (vim.fault.HostConfigFault(msg="no daemon"), ServerFault, "HostConfigFault", ["refused the configuration: no daemon"]),
        (vmodl.fault.InvalidArgument(invalidProperty="config.ntpConfig"), ServerFault, "InvalidArgument", ["config.ntpConfig"]),
        (vmodl.fault.InvalidArgument(), ServerFault, "InvalidArgument", ["it was given"]),
        (vmodl.query.InvalidProperty(name="config.odd"), ServerFault, "InvalidProperty", ["the property config.odd"]),
        (vmodl.fault.MethodNotFound(receiver=host(), method="Foo"), ServerFault, "MethodNotFound", ["the operation Foo"]),
        (vmodl.fault.NotSupported(msg="not here"), ServerFault, "NotSupported", ["does not support this: not here"]),
        (vim.fault.RestrictedVersion(msg="licence"), ServerFault, "RestrictedVersion", ["licence does not allow"]),
        (vim.fault.TaskInProgress(msg="busy"), ServerFault, "TaskInProgress", ["another task is running there: busy"]),
        # subclasses that are not in the table: the nearest ancestor's sentence, their own name
        (vim.fault.PlatformConfigFault(text="x", msg="bad"), ServerFault, "PlatformConfigFault", ["refused the configuration: bad"]),
        (vim.fault.HostInDomain(msg="it is"), ServerFault, "HostInDomain", ["refused the configuration: it is"]),
        (vim.fault.InvalidPowerState(msg="off"), ServerFault, "InvalidPowerState", ["state does not allow it: off"]),
        (vim.fault.InvalidLocale(msg="xx"), ServerFault, "InvalidLocale", ["refused the call: xx"]),
        # faults that nothing in the table covers
        (vim.fault.DuplicateName(name="x", msg="taken"), ServerFault, "DuplicateName", ["refused the call: taken"]),
        (
            vmodl.fault.SystemError(reason="boom", msg="A general system error occurred"),
            ServerFault,
            "SystemError",
            ["general system error"],
        ),
        (vmodl.RuntimeFault(), ServerFault, "RuntimeFault", ["the server refused the call"]),
        (vmodl.MethodFault(), ServerFault, "MethodFault", ["the server refused the call"]),
    ],
)
def test_a_fault_becomes_a_sentence_of_the_right_kind(fault: Any, kind: type[FleetcareError], name: str, parts: list[str]) -> None:
    error = error_from(fault)
    assert error.__class__ == kind and error.fault == name == fault_name(fault)
    for part in parts:
        assert part in error.sentence
    assert f"[{name}]" in error.sentence and error.hint.endswith(".")
    assert "{" not in error.sentence and "None" not in error.sentence


@pytest.mark.parametrize("name", _TABLE)
def test_every_row_names_a_fault_that_exists_and_fills_its_sentence(name: str) -> None:
    known = vmomi.VmomiSupport.GetWsdlType(vmomi.NAMESPACE, name)
    assert issubclass(known, vmodl.MethodFault)
    cause, hint = _TABLE[name][1:]
    assert not cause.endswith(".") and hint.endswith(".")
    error = error_from(known())
    assert error.fault == name and "{" not in error.sentence and error.__class__ == _TABLE[name][0]


def test_all_that_the_server_said_is_kept_once_each() -> None:
    fault = vim.fault.HostConfigFault(
        msg="Operation failed,\n diagnostics report: x",
        faultMessage=[message("com.vmware.a", "first"), message("com.vmware.b"), message("com.vmware.a", "first")],
        faultCause=vim.fault.DuplicateName(msg="unused"),
    )
    text = error_from(fault).cause
    assert text.count("first") == 1 and "com.vmware.b" in text and "DuplicateName" in text
    assert "Operation failed, diagnostics report: x" in text


class Silent:
    """A fault without any of the attributes that one expects."""


class SilentConfigFault(vim.fault.HostConfigFault):
    pass


def test_a_fault_without_msg_or_with_nothing_in_it_is_no_crash() -> None:
    assert error_from(Silent()).sentence == "the server refused the call [Silent]. The server's log has the details."
    assert error_from(SilentConfigFault()).cause == "the host refused the configuration"


def soap(detail: str, text: str = "It went wrong.") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        f"<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    ).encode()


def test_a_fault_from_the_wire_keeps_its_name_its_text_and_its_fields() -> None:
    detail = (
        '<NoPermissionFault xmlns="urn:vim25" xsi:type="NoPermission"><object type="HostSystem">host-14</object>'
        "<privilegeId>Host.Config.DateTime</privilegeId></NoPermissionFault>"
    )
    error = error_from(WIRE.result(soap(detail), object))
    assert isinstance(error, PermissionMissing) and "Host.Config.DateTime on HostSystem:host-14" in error.cause


def test_a_fault_newer_than_pyvmomi_keeps_its_name_and_its_text() -> None:
    detail = '<BrandNewFault xmlns="urn:vim25" xsi:type="BrandNew"><reason>odd</reason></BrandNewFault>'
    error = error_from(WIRE.result(soap(detail, "Something brand new happened."), object))
    assert isinstance(error, ServerFault)
    assert "Something brand new happened" in error.sentence
    assert "BrandNew" in error.sentence


@pytest.mark.parametrize("detail", ["", '<x xmlns="urn:other">y</x>'])
def test_a_fault_without_detail_keeps_its_text(detail: str) -> None:
    error = error_from(WIRE.result(soap(detail, "Text of a proxy."), object))
    assert "Text of a proxy" in error.sentence

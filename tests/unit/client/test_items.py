# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lean reader of what an operation returns: the same as pyVmomi's own reading, however the answer is cut, or no answer at all."""

from __future__ import annotations

import datetime
import tracemalloc
from collections.abc import Iterator
from typing import Any, cast

import pytest
from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import vmomi
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import NoSoap, Ref, plain_items
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import EndpointUnreachable, FleetcareError, WriteRefused
from tests.unit.client.test_session import FakeReply, FakeTransport, cache, session

__all__ = ["cache"]

ASSIGNER, MANAGER = Ref("LicenseAssignmentManager", "LicenseAssignmentManager"), Ref("LicenseManager", "LicenseManager")
QUERY = vmomi.method(*(ASSIGNER.type, "QueryAssignedLicenses"))
DECODE = vmomi.method(*(MANAGER.type, "DecodeLicense"))
DAY = datetime.datetime(2031, 5, 17, 12, 30, 1, 250000, tzinfo=datetime.timezone.utc)


def wrapped(inner: str, operation: str = "QueryAssignedLicenses") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n<soapenv:Body>\n'
        f'<{operation}Response xmlns="urn:vim25">{inner}</{operation}Response>\n</soapenv:Body>\n</soapenv:Envelope>'
    ).encode()


def on_the_wire(values: Any, operation: str = "QueryAssignedLicenses") -> bytes:
    """As pyVmomi itself writes it."""
    parts = []
    for value in values:
        version = vmomi.newest_version("8.0.3.0")
        info = VmomiSupport.Object(name="returnval", type=type(value), version=version, flags=0)
        text = SoapAdapter.Serialize(value, info, version).decode()
        parts.append(text.partition("?>")[2] if text.startswith("<?xml") else text)
    return wrapped("".join(parts), operation)


def pair(key: str, value: Any) -> Any:
    return vmodl.KeyAnyValue(key=key, value=value)


def a_license(number: int) -> Any:
    properties = [
        pair("ProductName", "VMware ESX Server"),
        pair("feature", vim.KeyValue(key="serialuri:2", value="Ünïcode & <angles>")),
        pair("feature", vim.KeyValue(key="vmotion", value="")),
        pair("expirationDate", DAY),
        pair("expirationHours", VmomiSupport.long(7000000000)),
        pair("lc_error", 5),
        pair("localizedDiagnostic", vmodl.LocalizableMessage(key="com.vmware", message="no")),
    ]
    labels = [vim.KeyValue(key="owner", value="a\nb")] * number
    return vim.LicenseManager.LicenseInfo(
        licenseKey=f"FAKE0-AAAAA-V8000-CPUPK-0000{number}",
        editionKey="esx",
        name="N",
        total=number,
        used=number or None,
        costUnit="",
        properties=properties,
        labels=labels,
    )


def an_assignment(number: int) -> Any:
    used = VmomiSupport.GetVmodlType("vim.KeyValue[]")([vim.KeyValue(key="dvs", value="x"), vim.KeyValue(key="drs", value="y")])
    evaluation = vim.LicenseManager.EvaluationInfo(properties=[pair("expirationMinutes", 90)])
    return vim.LicenseAssignmentManager.LicenseAssignment(
        entityId=f"host-{number}",
        scope=None if number % 2 else "s",
        entityDisplayName="esx",
        assignedLicense=a_license(number),
        properties=[pair("inUseFeatures", used), pair("Evaluation", evaluation)][: number + 1],
    )


def as_plain(value: Any) -> Any:
    """What pyVmomi read, in the form of the lean reader: unset is left out, lists that are empty too."""
    if isinstance(value, list):
        return [as_plain(item) for item in value]
    if isinstance(value, VmomiSupport.DataObject):
        found = {info.name: as_plain(getattr(value, info.name)) for info in value._GetPropertyList()}
        return {
            name: item for name, item in found.items() if item is not None and item != [] and name not in ("dynamicType", "dynamicProperty")
        }
    return value


def typed(value: Any) -> Any:
    """Without the class names that stand beside values of a dynamic type."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items() if name != "_type"}
    return [typed(item) for item in value] if isinstance(value, list) else value


ASSIGNMENTS = [an_assignment(number) for number in range(4)]


def test_it_reads_what_pyvmomi_reads() -> None:
    body = on_the_wire(ASSIGNMENTS)
    whole = vmomi.Wire(vmomi.newest_version("8.0.3.0")).result(body, QUERY.result)
    assert len(whole) == 4
    assert typed(plain_items([body], QUERY, dict)) == [as_plain(item) for item in whole]


def test_one_object_is_a_list_of_one() -> None:
    body = on_the_wire([a_license(3)], "DecodeLicense")
    whole = vmomi.Wire(vmomi.newest_version("8.0.3.0")).result(body, DECODE.result)
    assert typed(plain_items([body], DECODE, dict)) == [as_plain(whole)]


@pytest.mark.parametrize("inner", ["", "\n  "])
def test_nothing_is_an_empty_list(inner: str) -> None:
    assert plain_items([wrapped(inner)], QUERY, dict) == []


def test_answer_may_be_cut_at_any_byte() -> None:
    body = on_the_wire(ASSIGNMENTS[:2])
    expected = plain_items([body], QUERY, dict)
    for at in range(len(body) + 1):
        assert plain_items([body[:at], body[at:]], QUERY, dict) == expected
    assert plain_items([bytes([byte]) for byte in body], QUERY, dict) == expected


def test_each_is_handed_over_as_it_comes_and_dropped() -> None:
    body = on_the_wire([an_assignment(1) for _number in range(50)])
    seen: list[int] = []
    fed = 0

    def chunks() -> Iterator[bytes]:
        nonlocal fed
        for at in range(0, len(body), 1000):
            fed = at
            yield body[at : at + 1000]

    def keep(item: dict[str, Any]) -> str:
        seen.append(fed)
        return str(item["entityId"])

    assert plain_items(chunks(), QUERY, keep) == ["host-1"] * 50
    assert seen[0] < len(body) / 10 and len(set(seen)) > 10, "not all at the end"


def test_memory_is_that_of_what_is_kept() -> None:
    one = on_the_wire([an_assignment(2)])
    head, _tag, rest = one.partition(b"<returnval")
    item, _tag, tail = rest.rpartition(b"</QueryAssignedLicensesResponse>")
    item = b"<returnval" + item

    def chunks() -> Iterator[bytes]:
        yield head
        for _number in range(1500):
            yield item
        yield b"</QueryAssignedLicensesResponse>" + tail

    tracemalloc.start()
    try:
        assert len(plain_items(chunks(), QUERY, lambda found: found["entityId"])) == 1500
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [wrapped("", "DecodeLicense"), wrapped("<returnval><entityId>x</entityId></returnval>", "AddLicense")])
def test_answer_to_something_else_is_none(body: bytes) -> None:
    with pytest.raises(NoSoap, match="something else"):
        plain_items([body], QUERY, dict)


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>It works!</body></html>",
        b"<a/>",
        b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body/></soapenv:Envelope>',
        b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"></soapenv:Envelope>',
    ],
)
def test_what_is_no_answer_is_not_taken_for_an_empty_one(body: bytes) -> None:
    """An empty list would mean: no host has any licence."""
    with pytest.raises(NoSoap):
        plain_items([body], QUERY, dict)


def test_document_type_is_refused_wherever_it_is_cut() -> None:
    body = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + on_the_wire(ASSIGNMENTS[:1]).partition(b"?>")[2]
    for at in range(40):
        with pytest.raises(NoSoap, match="document type"):
            plain_items([body[:at], body[at:]], QUERY, dict)


def test_answer_that_ends_in_the_middle_is_an_error() -> None:
    body = on_the_wire(ASSIGNMENTS)
    for end in (0, 10, len(body) // 2, len(body) - 3):
        with pytest.raises((NoSoap, SyntaxError)):
            plain_items([body[:end]], QUERY, dict)


def test_what_keep_raises_gets_through() -> None:
    with pytest.raises(ZeroDivisionError):
        plain_items([on_the_wire(ASSIGNMENTS)], QUERY, lambda item: 1 / 0)


# ---- through a session ------------------------------------------------------------------------------------------------------------


class Answering(FakeTransport):
    def __init__(self, *replies: tuple[int, bytes]) -> None:
        super().__init__()
        self.replies = list(replies)

    def exchange(self, prepare: Any, _headers: Any, *_way: str) -> Any:
        self.bodies.append(prepare().decode())
        status, body = self.replies.pop(0)
        reply = FakeReply(body)
        cast(Any, reply).status = status
        cast(Any, reply).chunks = lambda: iter([body[:100], body[100:]])

        class Given:
            def __enter__(self) -> Any:
                return reply

            def __exit__(self, *_exception: Any) -> None:
                pass

        return Given()


def fault(name: str) -> bytes:
    return (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring><detail>"
        f'<{name}Fault xmlns="urn:vim25" xsi:type="{name}"></{name}Fault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>'
    ).encode()


def test_items_of_a_read() -> None:
    transport = Answering((200, on_the_wire(ASSIGNMENTS)))
    found = session(transport).items(ASSIGNER, "QueryAssignedLicenses", lambda item: item["entityId"])
    assert found == ["host-0", "host-1", "host-2", "host-3"]
    assert "<QueryAssignedLicenses " in transport.bodies[0] and "LicenseAssignmentManager" in transport.bodies[0]


def test_items_of_a_probe_only_where_it_was_said() -> None:
    transport = Answering((200, on_the_wire([a_license(1)], "DecodeLicense")))
    with pytest.raises(WriteRefused):
        session(transport).items(MANAGER, "DecodeLicense", dict, licenseKey="x")
    assert transport.bodies == []
    (found,) = session(transport, probes=("DecodeLicense",)).items(MANAGER, "DecodeLicense", dict, licenseKey="FAKE0")
    assert found["total"] == 1 and ">FAKE0<" in transport.bodies[0]


def test_items_never_write() -> None:
    with pytest.raises(WriteRefused):
        session(Answering(), may_write=True).items(MANAGER, "AddLicense", dict, licenseKey="x")


def test_fault_is_an_error_of_ours() -> None:
    with pytest.raises(FleetcareError) as caught:
        session(Answering((500, fault("NoPermission")))).items(ASSIGNER, "QueryAssignedLicenses", dict)
    assert caught.value.fault == "NoPermission" and caught.value.hint


@pytest.mark.parametrize("body", [wrapped("", "DecodeLicense"), b"<html/>", b"nonsense", b"<!DOCTYPE html><html/>", b""])
def test_no_soap_is_told_as_such(body: bytes) -> None:
    with pytest.raises(EndpointUnreachable, match="no SOAP"):
        session(Answering((200, body))).items(ASSIGNER, "QueryAssignedLicenses", dict)


def test_lost_session_is_renewed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(Answering((500, fault("NotAuthenticated")), (200, on_the_wire(ASSIGNMENTS[:1]))), guard=Guard())
    renewed: list[str] = []

    def renew(stale: str) -> None:
        renewed.append(stale)

    monkeypatch.setattr(made, "_authenticate", renew)
    assert len(made.items(ASSIGNER, "QueryAssignedLicenses", dict)) == 1 and len(renewed) == 1
    made = session(Answering(*[(500, fault("NotAuthenticated"))] * 2))
    monkeypatch.setattr(made, "_authenticate", lambda stale: None)
    with pytest.raises(FleetcareError):
        made.items(ASSIGNER, "QueryAssignedLicenses", dict)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lean reader of bulk replies, on XML written by hand; and what is taken from pyVmomi's tables."""

from __future__ import annotations

import datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import vmomi
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import NoSoap, Ref, Wire, moment, newest_version, plain_objects

UTC = datetime.timezone.utc


def envelope(inner: str, operation: str = "RetrievePropertiesEx") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        f'<{operation}Response xmlns="urn:vim25"><returnval>{inner}</returnval></{operation}Response>'
        "</soapenv:Body></soapenv:Envelope>"
    ).encode()


def one(sets: str, ref: str = '<obj type="HostSystem">host-14</obj>') -> str:
    return f"<objects>{ref}{sets}</objects>"


def prop(name: str, kind: str, inner: str) -> str:
    xsi = f' xsi:type="{kind}"' if kind else ""
    return f"<propSet><name>{name}</name><val{xsi}>{inner}</val></propSet>"


def value(kind: str, inner: str) -> Any:
    objects, token = plain_objects([envelope(one(prop("p", kind, inner)))])
    assert token == "" and len(objects) == 1
    ref, values, missing = objects[0]
    assert ref == Ref("HostSystem", "host-14") and missing == {} and list(values) == ["p"]
    return values["p"]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("xsd:string", "esx-01", "esx-01"),
        ("xsd:string", "", ""),
        ("xsd:string", "  two  spaces ", "  two  spaces "),
        ("xsd:string", "a &amp; b &lt;c&gt; &quot;d&quot; &#x20AC; &#128640;", 'a & b <c> "d" € 🚀'),
        ("xsd:string", "Zürich — 東京", "Zürich — 東京"),
        ("xsd:string", "<![CDATA[<raw> & ]]>", "<raw> & "),
        ("xsd:string", "true", "true"),
        ("xsd:boolean", "true", True),
        ("xsd:boolean", "false", False),
        ("xsd:boolean", "1", True),
        ("xsd:boolean", "0", False),
        ("xsd:int", "-32634", -32634),
        ("xsd:short", "-32634", -32634),
        ("xsd:byte", "-1", -1),
        ("xsd:long", "9223372036854775807", 9223372036854775807),
        ("xsd:float", "1.5", 1.5),
        ("xsd:double", "-2.5e-3", -0.0025),
        ("xsd:base64Binary", "AAECAw==", "AAECAw=="),
        ("xsd:anyURI", "https://example.com/", "https://example.com/"),
        ("xsd:dateTime", "2026-01-02T03:04:05.678901Z", datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)),
        ("ManagedObjectReference", "", Ref("", "")),
        # an enumeration is text
        ("HostSystemConnectionState", "notResponding", "notResponding"),
        # data objects are dicts, what is unset is left out
        ("HostNtpConfig", "", {}),
        ("HostNtpConfig", "<server>a</server>", {"server": ["a"]}),
        ("HostNtpConfig", "<server>a</server><server>b</server>", {"server": ["a", "b"]}),
        ("HostNtpConfig", "<server>a</server><configFile>x</configFile><server>b</server>", {"server": ["a", "b"], "configFile": ["x"]}),
        (
            "HostService",
            "<key>ntpd</key><label>NTP Daemon</label><required>false</required><uninstallable>false</uninstallable>"
            "<running>true</running><policy>on</policy>",
            {
                "key": "ntpd", "label": "NTP Daemon", "required": False, "uninstallable": False,
                "running": True, "policy": "on",
            },
        ),
        (
            "HostDateTimeInfo",
            "<timeZone><key>UTC</key><name>UTC</name><description>UTC</description><gmtOffset>0</gmtOffset></timeZone>"
            "<systemClockProtocol>ntp</systemClockProtocol><ntpConfig><server>192.0.2.1</server></ntpConfig>"
            "<enabled>true</enabled><lastSyncTime>2026-01-02T03:04:05Z</lastSyncTime>",
            {
                "timeZone": {"key": "UTC", "name": "UTC", "description": "UTC", "gmtOffset": 0},
                "systemClockProtocol": "ntp",
                "ntpConfig": {"server": ["192.0.2.1"]},
                "enabled": True,
                "lastSyncTime": datetime.datetime(2026, 1, 2, 3, 4, 5, 0, UTC),
            },
        ),
        # deeper: a list of one in a list of one
        (
            "HostFirewallRuleset",
            "<key>ntpClient</key><rule><port>123</port><direction>outbound</direction><protocol>udp</protocol></rule>"
            "<enabled>true</enabled><allowedHosts><ipNetwork><network>192.0.2.0</network><prefixLength>24</prefixLength>"
            "</ipNetwork><allIp>false</allIp></allowedHosts>",
            {
                "key": "ntpClient",
                "rule": [{"port": 123, "direction": "outbound", "protocol": "udp"}],
                "enabled": True,
                "allowedHosts": {"ipNetwork": [{"network": "192.0.2.0", "prefixLength": 24}], "allIp": False},
            },
        ),
        # arrays
        ("ArrayOfString", "", []),
        ("ArrayOfString", "<string>a</string>", ["a"]),
        ("ArrayOfInt", "<int>1</int><int>2</int>", [1, 2]),
        ("ArrayOfByte", "<byte>-1</byte>", [-1]),
        ("ArrayOfShort", "<short>7</short>", [7]),
        ("ArrayOfLong", "<long>7</long>", [7]),
        ("ArrayOfManagedObjectReference", '<ManagedObjectReference type="HostSystem">host-1</ManagedObjectReference>', [Ref("HostSystem", "host-1")]),
        (
            "ArrayOfHostService",
            "<HostService><key>a</key><running>true</running></HostService><HostService><key>b</key><running>false</running></HostService>",
            [{"key": "a", "running": True}, {"key": "b", "running": False}],
        ),
        ("ArrayOfAnyType", '<anyType xsi:type="xsd:int">5</anyType><anyType xsi:type="xsd:boolean">true</anyType>', [5, True]),
        # a subclass that only the element names
        (
            "ArrayOfOptionValue",
            '<OptionValue><key>a</key><value xsi:type="xsd:long">5</value></OptionValue>'
            '<OptionValue><key>b</key><value xsi:type="xsd:string">5</value></OptionValue>'
            '<OptionValue><key>c</key><value xsi:type="ArrayOfString"><string>x</string></value></OptionValue>',
            [{"key": "a", "value": 5}, {"key": "b", "value": "5"}, {"key": "c", "value": ["x"]}],
        ),
        (
            "ArrayOfHostPciDevice",
            "<HostPciDevice><id>0000:00:00.0</id><vendorId>-32634</vendorId></HostPciDevice>",
            [{"id": "0000:00:00.0", "vendorId": -32634}],
        ),
        (
            "ArrayOfVirtualDevice",
            '<VirtualDevice xsi:type="VirtualE1000"><key>4000</key><deviceInfo xsi:type="Description"><label>l</label><summary>s</summary>'
            "</deviceInfo><macAddress>00:50:56:00:00:01</macAddress></VirtualDevice><VirtualDevice><key>1</key></VirtualDevice>",
            [
                {
                    "key": 4000, "deviceInfo": {"label": "l", "summary": "s"}, "macAddress": "00:50:56:00:00:01",
                    "_type": "VirtualE1000",
                },
                {"key": 1},
            ],
        ),
        # types and members newer than pyVmomi's tables
        ("BrandNewThing", "text", "text"),
        ("BrandNewThing", "<a>1</a><b>x</b><b>y</b>", {"a": "1", "b": ["x", "y"]}),
        ("ArrayOfBrandNewThing", "<BrandNewThing><a>1</a></BrandNewThing>", [{"a": "1"}]),
        ("BrandNewThing", "", ""),
        ("", "text", "text"),
        ("HostService", "<key>a</key><brandNew>x</brandNew>", {"key": "a", "brandNew": "x"}),
        ("HostService", "<key>a</key><brandNew><deep>x</deep></brandNew>", {"key": "a", "brandNew": {"deep": "x"}}),
    ],
)  # fmt: skip
def test_a_value_is_read_by_its_type(kind: str, text: str, expected: Any) -> None:
    read = value(kind, text)
    assert read == expected and type(read) is type(expected)


def test_a_reference_keeps_its_type_and_id() -> None:
    read = plain_objects(
        [envelope(one('<propSet><name>parent</name><val type="Folder" xsi:type="ManagedObjectReference">group-d1</val></propSet>'))]
    )
    assert read[0][0][1] == {"parent": Ref("Folder", "group-d1")}
    assert str(Ref("Folder", "group-d1")) == "Folder:group-d1"


@pytest.mark.parametrize("inner", ["", "<server>192.0.2.1</server>"])
def test_a_subclass_newer_than_the_tables_is_read_like_the_type_that_was_declared(inner: str) -> None:
    """A list stays a list, and having no members is no reason to fail: whoever reads the declared type relies on it."""
    read = value("HostDateTimeInfo", f'<ntpConfig xsi:type="HostNtpConfig2"><x/>{inner}</ntpConfig>')["ntpConfig"]
    assert read["_type"] == "HostNtpConfig2"
    assert read.get("server", []) == (["192.0.2.1"] if inner else [])
    empty = value("HostDateTimeInfo", '<ntpConfig xsi:type="HostNtpConfig2"/>')["ntpConfig"]
    assert empty == {"_type": "HostNtpConfig2"}


def test_several_objects_a_token_and_a_foreign_prefix() -> None:
    text = envelope(
        "<token>7&amp;8</token>"
        + one(prop("name", "xsd:string", "a"), '<obj type="HostSystem">host-1</obj>')
        + one("", '<obj type="Folder">group-d1</obj>')
    )
    objects, token = plain_objects([text])
    assert token == "7&8"
    assert objects == [(Ref("HostSystem", "host-1"), {"name": "a"}, {}), (Ref("Folder", "group-d1"), {}, {})]
    prefixed = text.replace(b'xmlns="urn:vim25"', b'xmlns:v="urn:vim25"')
    for tag in (b"RetrievePropertiesExResponse", b"returnval", b"objects", b"obj", b"propSet", b"name", b"val", b"token"):
        prefixed = prefixed.replace(b"<" + tag + b">", b"<v:" + tag + b">").replace(b"</" + tag + b">", b"</v:" + tag + b">")
        prefixed = prefixed.replace(b"<" + tag + b" ", b"<v:" + tag + b" ")
    assert plain_objects([prefixed]) == (objects, token)


def test_a_reply_without_objects_is_an_empty_page() -> None:
    bare = envelope("").replace(b"<returnval></returnval>", b"")
    assert plain_objects([bare]) == ([], "")
    assert plain_objects([envelope("")]) == ([], "")


FAULT = (
    '<missingSet><path>{0}</path><fault><fault xsi:type="{1}"><object type="HostSystem">host-14</object>'
    "<privilegeId>System.Read</privilegeId></fault><localizedMessage>no</localizedMessage></fault></missingSet>"
)


def test_paths_that_could_not_be_read_come_with_the_name_of_the_fault() -> None:
    text = envelope(one(prop("name", "xsd:string", "a") + FAULT.format("config", "NoPermission") + FAULT.format("parent", "v:Odd")))
    ((_ref, values, missing),) = plain_objects([text])[0]
    assert values == {"name": "a"} and missing == {"config": "NoPermission", "parent": "Odd"}


def test_a_fault_without_a_type_still_marks_its_path() -> None:
    text = envelope(one("<missingSet><path>config</path><fault><localizedMessage>x</localizedMessage></fault></missingSet>"))
    assert plain_objects([text])[0][0][2] == {"config": "unknown"}


LONG_REPLY = envelope(
    "<token>t</token>"
    + "".join(
        one(
            prop("name", "xsd:string", f"Zürich &amp; 🚀 {n}") + FAULT.format("config", "NoPermission"),
            f'<obj type="HostSystem">host-{n}</obj>',
        )
        for n in range(3)
    )
)


def test_a_reply_may_be_cut_at_every_byte() -> None:
    whole = plain_objects([LONG_REPLY])
    assert len(whole[0]) == 3 and whole[1] == "t"
    for cut in range(len(LONG_REPLY) + 1):
        assert plain_objects([LONG_REPLY[:cut], LONG_REPLY[cut:]]) == whole, cut


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, len(LONG_REPLY)), max_size=20))
def test_a_reply_may_come_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LONG_REPLY)]
    pieces = [LONG_REPLY[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    assert plain_objects(pieces) == plain_objects([LONG_REPLY])


@pytest.mark.parametrize("cut", [0, 1, 50, 400, len(LONG_REPLY) - 1])
def test_a_reply_that_breaks_off_is_never_taken_for_a_whole_one(cut: int) -> None:
    with pytest.raises(ElementTree.ParseError):
        plain_objects([LONG_REPLY[:cut]])


def test_what_is_no_xml_is_an_error() -> None:
    with pytest.raises(ElementTree.ParseError):
        plain_objects([b"<html><body>503<br></body></html>"])


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body><p>Sign in</p></body></html>",
        b"<Envelope/>",
        b"<Envelope><Body/></Envelope>",
        envelope("", "Logout"),
        envelope("", "ContinueRetrievePropertiesEx"),
        envelope("", "XRetrievePropertiesEx"),
        envelope("").replace(b"RetrievePropertiesExResponse", b"RetrievePropertiesEx"),
    ],
)
def test_an_answer_to_something_else_is_no_empty_page(body: bytes) -> None:
    with pytest.raises(NoSoap, match="something else"):
        plain_objects([body])


def test_an_answer_is_taken_for_the_operation_that_was_asked() -> None:
    page = envelope(one(prop("name", "xsd:string", "a")), "ContinueRetrievePropertiesEx")
    ((ref, values, _missing),) = plain_objects([page], "ContinueRetrievePropertiesEx")[0]
    assert ref == Ref("HostSystem", "host-14") and values == {"name": "a"}
    with pytest.raises(NoSoap):
        plain_objects([envelope("")], "ContinueRetrievePropertiesEx")


BOMB = envelope(one(prop("name", "xsd:string", "&a;"))).replace(
    b"<soapenv:Envelope", b'<!DOCTYPE x [<!ENTITY a "boom">]>\n<soapenv:Envelope', 1
)


def test_a_document_type_is_refused_wherever_the_reply_is_cut() -> None:
    """SOAP forbids it, and its entities can grow without end."""
    with pytest.raises(NoSoap, match="document type"):
        plain_objects([BOMB])
    start = BOMB.index(b"<!DOCTYPE")
    for cut in range(start, start + len(b"<!DOCTYPE") + 1):
        with pytest.raises(NoSoap, match="document type"):
            plain_objects([BOMB[:cut], BOMB[cut:]])


@pytest.mark.parametrize(
    "odd", ["0000-00-00T00:00:00Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-02T25:00:00Z", "", "soon"]
)
def test_an_odd_date_is_none_and_the_rest_of_the_page_is_read(odd: str) -> None:
    assert value("xsd:dateTime", odd) is None
    inner = f"<enabled>true</enabled><lastSyncTime>{odd}</lastSyncTime><systemClockProtocol>ntp</systemClockProtocol>"
    assert value("HostDateTimeInfo", inner) == {"enabled": True, "lastSyncTime": None, "systemClockProtocol": "ntp"}


# ---- moments and versions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime.datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("2026-01-02T03:04:05.1Z", datetime.datetime(2026, 1, 2, 3, 4, 5, 100000, UTC)),
        ("2026-01-02T03:04:05.123Z", datetime.datetime(2026, 1, 2, 3, 4, 5, 123000, UTC)),
        ("2026-01-02T03:04:05.123456Z", datetime.datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime.datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
        ("2026-01-02T03:04:05", datetime.datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("2026-01-02T05:04:05+02:00", datetime.datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("2026-01-01T22:34:05.5-04:30", datetime.datetime(2026, 1, 2, 3, 4, 5, 500000, UTC)),
        ("\n 2026-01-02T03:04:05Z ", datetime.datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("1970-01-01T00:00:00Z", datetime.datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_aware_and_exact_to_the_microsecond(text: str, expected: datetime.datetime) -> None:
    assert moment(text) == expected and moment(text).tzinfo is not None


@pytest.mark.parametrize(
    ("server", "chosen"),
    [
        ("8.0.3.0", "8.0.3.0"),
        ("8.0.2.0", "8.0.2.0"),
        ("8.0.2", "8.0.2.0"),
        ("8.0.2.9", "8.0.2.0"),
        ("7.0.3.0", "7.0.3.0"),
        ("7.0.3", "7.0.3.0"),
        ("6.7.3", "6.7.3"),
        ("6.7", "6.7"),
        ("6.7.2.5", "6.7.2"),
        ("6.5", "6.5"),
        ("6.0", "6.0"),
        ("6.6.9", "6.5"),
        ("1.0", "2.5"),
    ],
)
def test_the_newest_version_that_both_sides_know_is_spoken(server: str, chosen: str) -> None:
    spoken = newest_version(server)
    assert vmomi.VmomiSupport.versionMap[f"vim25/{chosen}"] == spoken
    Wire(spoken)


def test_a_server_newer_than_pyvmomi_is_spoken_to_in_the_newest_version_known() -> None:
    assert newest_version("99.0.0.0") == newest_version("98.0")
    assert Wire(newest_version("99.0")).action.startswith('"urn:vim25/9.')


def test_a_property_path_newer_than_the_server_is_known_to_be_missing() -> None:
    old, new = Wire(newest_version("6.7.3")), Wire(newest_version("8.0.3.0"))
    for path in ("capability.timeConfigSupported", "capability.maxSupportedPtpPorts"):
        assert not old.knows("HostSystem", path) and new.knows("HostSystem", path)
    for path in ("name", "config.dateTimeInfo", 'config.firewall.ruleset["ntpClient"]', "configManager.dateTimeSystem"):
        assert old.knows("HostSystem", path) and new.knows("HostSystem", path)


# ---- calls ------------------------------------------------------------------------------------------------------------------


def test_a_call_that_names_a_parameter_wrongly_is_not_sent() -> None:
    info = vmomi.method("HostServiceSystem", "StartService")
    with pytest.raises(TypeError, match="StartService has no parameter"):
        Wire(newest_version("8.0.3.0")).request(Ref("HostServiceSystem", "s-1"), info, {"service": "ntpd"})


def test_a_call_carries_its_object_and_arguments() -> None:
    info = vmomi.method("HostServiceSystem", "StartService")
    body = Wire(newest_version("8.0.3.0")).request(Ref("HostServiceSystem", "s-1"), info, {"id": "nt<p>&d"}).decode()
    assert 'type="HostServiceSystem">s-1</_this>' in body and ">nt&lt;p&gt;&amp;d</id>" in body


def test_reading_an_attribute_of_a_managed_object_is_refused() -> None:
    managed = Wire(newest_version("8.0.3.0")).managed(Ref("HostSystem", "host-1"))
    with pytest.raises(TypeError, match="read it in bulk"):
        print(managed.name)
    with pytest.raises(TypeError, match="call it through the session"):
        managed.EnterMaintenanceMode(timeout=0)

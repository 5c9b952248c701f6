# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli commands and files through a session: what goes out, what is made of the answers, and that writes pass the gate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import esxcli
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import NoSoap, Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    PermissionMissing,
    ServerFault,
    TargetUnknown,
    TimedOut,
    WriteRefused,
)

HOST = Ref("HostSystem", "host-14")
EXECUTER = Ref("ReflectManagedMethodExecuter", "executer-14")
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns="urn:vim25"'
VIBS = (
    f'<obj {XSI} xsi:type="ArrayOfDataObject"><DataObject xsi:type="VimEsxCLIsoftwareviblistVIB"><ID>a</ID><Tags>x</Tags><Tags>y</Tags>'
    "</DataObject><DataObject><ID>b</ID></DataObject></obj>"
)


def soap(operation: str, inner: str = "") -> bytes:
    return (
        '<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><{operation}Response xmlns="urn:vim25">{inner}'
        f"</{operation}Response></soapenv:Body></soapenv:Envelope>"
    ).encode()


def fault(name: str, text: str, inner: str = "") -> bytes:
    return (
        '<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode>'
        f'<faultstring>{text}</faultstring><detail><{name}Fault xmlns="urn:vim25" xsi:type="{name}">{inner}</{name}Fault></detail>'
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    ).encode()


def result(response: str = "", failed: str = "") -> bytes:
    inner = f"<response>{escape(response)}</response>" if response else ""
    return soap("ExecuteSoap", f"<returnval>{inner}{failed}</returnval>")


class Reply:
    headers: dict[str, str] = {}

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self._body = status, body

    def body(self) -> bytes:
        return self._body


class Server:
    """Answers commands and files from a list; an exception in it is raised once the request has left."""

    certificate = "ab" * 32

    def __init__(self, *answers: tuple[int, bytes] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, bytes]] = []
        self.executers = 0

    @contextlib.contextmanager
    def exchange(self, prepare: Callable[[], bytes], headers: dict[str, str], verb: str = "POST", path: str = "/sdk") -> Iterator[Any]:
        body = prepare()
        if b"RetrieveManagedMethodExecuter" in body:
            self.executers += 1
            yield Reply(200, soap("RetrieveManagedMethodExecuter", f'<returnval type="{EXECUTER.type}">{EXECUTER.id}</returnval>'))
            return
        assert ("SOAPAction" in headers) == (path == "/sdk")
        self.requests.append((verb, path, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield Reply(*answer)


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ansible_collections.fleetcare.esxi.plugins.module_utils._client.session._PAUSES", (0.0, 0.0))


def session(server: Server, *, may_write: bool = False) -> Session:
    made = Session(
        Endpoint(hostname="vc.example.com", port=443, username="u", password="p", validate_certs=False), Guard(), may_write=may_write
    )
    made._transport = cast(Any, server)
    return made


# ---- what goes out, what comes back --------------------------------------------------------------------------------------


def test_a_command_goes_out_as_govc_sends_it() -> None:
    root = ElementTree.fromstring(esxcli.command_call(EXECUTER, "software.vib.install", {"viburl": ["/a&b", "<c>"], "nosigcheck": True}))
    call = root.find("./{*}Body/{urn:vim25}ExecuteSoap")
    assert call is not None
    this = call.find("{*}_this")
    assert this is not None and (this.get("type"), this.text) == EXECUTER
    assert [call.findtext("{*}" + name) for name in ("moid", "version", "method")] == [
        "ha-cli-handler-software-vib",
        "urn:vim25/5.0",
        "vim.EsxCLI.software.vib.install",
    ]
    assert [(one.findtext("{*}name"), one.findtext("{*}val")) for one in call.iterfind("{*}argument")] == [
        ("viburl", "<viburl>/a&amp;b</viburl><viburl>&lt;c&gt;</viburl>"),
        ("nosigcheck", "<nosigcheck>true</nosigcheck>"),
    ]


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"), min_size=1))
def test_no_argument_breaks_out_of_its_place(value: str) -> None:
    root = ElementTree.fromstring(esxcli.command_call(EXECUTER, "a.b.list", {"name": value}))
    inner = ElementTree.fromstring(root.findtext(".//{*}val") or "")
    assert inner.tag == "name" and inner.text == value and not len(inner)


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (VIBS, [{"ID": "a", "Tags": ["x", "y"]}, {"ID": "b"}]),
        (f'<obj {XSI} xsi:type="ArrayOfDataObject"></obj>', []),
        (
            f'<obj {XSI} xsi:type="VimEsxCLIsystemversiongetVersion"><Version>8.0.3</Version><Empty/></obj>',
            [{"Version": "8.0.3", "Empty": ""}],
        ),
        (f'<obj {XSI} xsi:type="xsd:string">CommunitySupported</obj>', ["CommunitySupported"]),
        (f'<obj {XSI} xsi:type="xsd:boolean">true</obj>', ["true"]),
        (f'<obj {XSI} xsi:type="ArrayOfString"><string>a</string><string>b</string></obj>', ["a", "b"]),
        ("", []),
    ],
)
def test_what_an_answer_becomes(response: str, wanted: list[Any]) -> None:
    assert esxcli.answer_of(result(response)) == wanted


SUMMARY = "<faultMsg>EsxCLI.CLIFault.summary</faultMsg><faultDetail>{}</faultDetail>"


@pytest.mark.parametrize(
    ("failed", "wanted"),
    [
        (SUMMARY.format(escape("<detail><errMsg>No such VIB</errMsg></detail>")), "No such VIB"),
        ("<faultMsg>Something</faultMsg>", "Something"),
        ("<faultMsg>Something</faultMsg><faultDetail>not &lt;xml</faultDetail>", "not <xml"),
        ("", "no reason was given"),
    ],
)
def test_a_refusal_says_what_esxcli_said(failed: str, wanted: str) -> None:
    with pytest.raises(ServerFault) as caught:
        esxcli.answer_of(result(failed=f"<fault>{failed}</fault>"))
    assert caught.value.cause == f"esxcli refused: {wanted}" and caught.value.fault == "VimEsxCLICLIFault"


def test_an_answer_that_is_no_xml_is_no_soap() -> None:
    with pytest.raises(NoSoap):
        esxcli.answer_of(result("<obj"))
    with pytest.raises(NoSoap):
        esxcli.answer_of(soap("Fetch"))


def test_a_fault_in_the_envelope_says_what_esxcli_said() -> None:
    server = Server((500, fault("VimEsxCLICLIFault", "EsxCLI.CLIFault.summary", "<errMsg>It is in use</errMsg><errMsg>twice</errMsg>")))
    with pytest.raises(ServerFault, match="It is in use; twice") as caught:
        session(server).esxcli(HOST, "software.vib.list")
    assert caught.value.fault == "VimEsxCLICLIFault"


# ---- the session ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["software.vib.install", "software.vib.remove", "network.firewall.refresh", "software.acceptance.set"])
def test_a_command_that_may_change_something_is_no_read(command: str) -> None:
    server = Server()
    with pytest.raises(WriteRefused, match=command):
        session(server, may_write=True).esxcli(HOST, command)
    assert not server.requests and not server.executers


def test_a_check_run_sends_no_command_and_no_file() -> None:
    server = Server()
    opened = session(server)
    for write in (
        lambda: opened.write("esx-01", HOST, "esxcli software.vib.remove", vibname="x"),
        lambda: opened.upload("esx-01", "/folder/x.vib", b"x"),
        lambda: opened.remove("esx-01", "/folder/x.vib"),
    ):
        with pytest.raises(WriteRefused):
            write()
    assert not server.requests and not server.executers and not opened.sent


def test_the_executer_of_a_host_is_asked_for_once_and_again_once_it_is_gone() -> None:
    gone = (500, fault("ManagedObjectNotFound", "gone"))
    server = Server((200, result(VIBS)), gone, (200, result(VIBS)))
    opened = session(server)
    assert opened.esxcli(HOST, "software.vib.list") == opened.esxcli(HOST, "software.vib.list")
    assert server.executers == 2 and len(server.requests) == 3


def test_an_executer_that_is_never_there_is_a_refusal() -> None:
    server = Server((500, fault("ManagedObjectNotFound", "gone")))
    with pytest.raises(TargetUnknown):
        session(server).esxcli(HOST, "software.vib.list")


def test_a_lost_answer_of_a_command_that_writes_is_not_repeated_and_stays_open() -> None:
    server = Server(TimedOut("late"), (200, result()))
    opened = session(server, may_write=True)
    with pytest.raises(TimedOut):
        opened.write("esx-01", HOST, "esxcli network.firewall.refresh")
    assert len(server.requests) == 1
    assert [(one.target, one.operation, one.outcome) for one in opened.sent] == [("esx-01", "esxcli network.firewall.refresh", "timed_out")]


def test_a_file_goes_up_is_repeated_after_a_lost_answer_and_goes_away() -> None:
    server = Server(EndpointUnreachable("lost"), (201, b""), (204, b""))
    opened = session(server, may_write=True)
    opened.upload("esx-01", "/folder/x.vib?dsName=a", b"bytes")
    opened.remove("esx-01", "/folder/x.vib?dsName=a")
    put = ("PUT", "/folder/x.vib?dsName=a", b"bytes")
    assert server.requests == [put, put, ("DELETE", "/folder/x.vib?dsName=a", b"")]
    assert [(one.operation, one.outcome) for one in opened.sent] == [("PUT", "done"), ("DELETE", "done")]


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (403, PermissionMissing, "NoPermission"),
        (404, ServerFault, "FileNotFound"),
        (507, ServerFault, "NoDiskSpace"),
        (500, EndpointUnreachable, ""),
    ],
)
def test_a_file_that_is_not_taken_is_a_refusal(status: int, kind: type[FleetcareError], name: str) -> None:
    opened = session(Server(*[(status, b"")] * 3), may_write=True)
    with pytest.raises(kind) as caught:
        opened.upload("esx-01", "/folder/x.vib", b"x")
    assert caught.value.fault == name

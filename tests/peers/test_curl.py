# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real curl with envelopes written by hand, as a person would who has nothing else."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bench.measure import Server
from tests.peers.clients import left_behind
from tests.peers.conftest import Servers

VIM, SOAP, XSI = "{urn:vim25}", "{http://schemas.xmlsoap.org/soap/envelope/}", "{http://www.w3.org/2001/XMLSchema-instance}"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
BAD_LOGIN = "Cannot complete login due to an incorrect user name or password."
NOT_AUTHENTICATED = "The session is not authenticated."
MANAGERS = {"tiny": "SessionManager", "standalone": "ha-sessionmgr"}
COLLECTORS = {"tiny": "propertyCollector", "standalone": "ha-property-collector"}

# The default namespace is SOAP's own, the way the requirement of issue 6 has it; no prefix, no xsi:type.
LOGIN = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/">
  <Header><operationID>esxi-login-1</operationID></Header>
  <Body>
    <Login xmlns="urn:vim25">
      <_this type="SessionManager">{manager}</_this>
      <userName>{username}</userName>
      <password>{password}</password>
    </Login>
  </Body>
</Envelope>
"""
CURRENT_TIME = "<CurrentTime xmlns='urn:vim25'><_this type='ServiceInstance'>ServiceInstance</_this></CurrentTime>"
FETCH = "<Fetch xmlns='urn:vim25'><_this type='{kind}'>{moid}</_this><prop>{prop}</prop></Fetch>"
LOGOUT = "<Logout xmlns='urn:vim25'><_this type='SessionManager'>{manager}</_this></Logout>"
READ = """<RetrievePropertiesEx xmlns="urn:vim25"><_this type="PropertyCollector">{collector}</_this>
<specSet><propSet><type>SessionManager</type><pathSet>currentSession</pathSet><pathSet>sessionList</pathSet></propSet>
<objectSet><obj type="SessionManager">{manager}</obj></objectSet></specSet><options/></RetrievePropertiesEx>"""


def in_envelope(body: str) -> str:
    return (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: str

    def header(self, name: str) -> str:
        (value,) = (value for key, value in self.headers if key == name)
        return value

    @property
    def content(self) -> ET.Element:
        """What stands in the SOAP body."""
        root = ET.fromstring(self.body)
        assert root.tag == f"{SOAP}Envelope"
        (content,) = root.find(f"{SOAP}Body")  # type: ignore[misc]
        return content

    @property
    def fault(self) -> tuple[str, str, str]:
        """Its text, the element in detail, and its type."""
        fault = self.content
        assert (self.status, fault.tag, fault.findtext("faultcode")) == (500, f"{SOAP}Fault", "ServerFaultCode")
        (detail,) = fault.find("detail")  # type: ignore[misc]
        return fault.findtext("faultstring", ""), detail.tag, detail.get(f"{XSI}type", "").rpartition(":")[2]


@dataclass(frozen=True)
class Curl:
    folder: pathlib.Path
    server: Server
    scenario: str

    def __call__(self, *options: str, body: str | None = None, url: str | None = None, action: str | None = '"urn:vim25/8.0.3.0"') -> Reply:
        heads, text = self.folder / "headers", self.folder / "body"
        command = ["curl", "--disable", "--silent", "--show-error", "--max-time", "20", "--cacert", self.server.ca_file]
        command += ["--dump-header", str(heads), "--output", str(text), "--write-out", "%{http_code}", *options]
        if body is not None:
            sent = self.folder / "request.xml"
            sent.write_text(body)
            command += ["--data-binary", f"@{sent}", "--header", "Content-Type: text/xml; charset=utf-8"]
            command += ["--header", f"SOAPAction: {action}"] if action else []
        done = subprocess.run(
            [*command, url or self.server.url], capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        lines = heads.read_text().replace("\r", "").strip().rpartition("\n\n")[2].split("\n")  # of the last, after any 100 Continue
        pairs = [line.partition(":") for line in lines[1:]]
        return Reply(int(done.stdout), [(key.lower(), value.strip()) for key, _colon, value in pairs], text.read_text())

    @property
    def manager(self) -> str:
        return MANAGERS[self.scenario]

    def login(self, *options: str, password: str | None = None, action: str | None = '"urn:vim25/8.0.3.0"') -> Reply:
        body = LOGIN.format(manager=self.manager, username=self.server.username, password=password or self.server.password)
        return self(*options, body=body, action=action)

    def read(self, *options: str) -> Reply:
        return self(*options, body=in_envelope(READ.format(collector=COLLECTORS[self.scenario], manager=self.manager)))

    def logout(self, *options: str) -> None:
        assert self(*options, body=in_envelope(LOGOUT.format(manager=self.manager))).content.tag == f"{VIM}LogoutResponse"


@pytest.fixture(params=["tiny", "standalone"])
def curl(request: pytest.FixtureRequest, serve: Servers, tmp_path: pathlib.Path) -> Iterator[Curl]:
    assert shutil.which("curl"), "curl is part of every machine that runs these tests"
    yield Curl(tmp_path, serve.fresh(request.param), request.param)


def cookie_of(reply: Reply) -> str:
    """The cookie without its attributes, which have to be the documented ones."""
    found = re.fullmatch(r'(vmware_soap_session="[0-9a-f]{40}"); Path=/; HttpOnly; Secure;', reply.header("set-cookie"))
    assert found, reply.header("set-cookie")
    return found[1]


def test_login_gives_a_cookie_and_another_key(curl: Curl) -> None:
    reply = curl.login()
    assert (reply.status, reply.content.tag) == (200, f"{VIM}LoginResponse")
    said = {child.tag.removeprefix(VIM): child.text or "" for child in reply.content.find(f"{VIM}returnval")}  # type: ignore[union-attr]
    assert re.fullmatch(UUID, said["key"]) and said["key"] not in cookie_of(reply)
    assert (said["userName"], said["locale"]) == (curl.server.username, "en")
    (session,) = curl.server.control("/summary")["sessions"]
    assert session["key"] == said["key"]
    curl.logout("--cookie", cookie_of(reply))


def test_the_cookie_opens_and_the_key_does_not(curl: Curl) -> None:
    reply = curl.login()
    cookie = cookie_of(reply)
    key = reply.content.findtext(f"{VIM}returnval/{VIM}key") or ""
    read = curl.read("--cookie", cookie)
    assert (read.status, read.content.tag) == (200, f"{VIM}RetrievePropertiesExResponse")
    (session,) = read.content.iter(f"{VIM}UserSession")
    mine = {one.findtext(f"{VIM}name"): one.find(f"{VIM}val") for one in read.content.iter(f"{VIM}propSet")}["currentSession"]
    assert mine is not None and mine.findtext(f"{VIM}key") == session.findtext(f"{VIM}key") == key
    assert (session.findtext(f"{VIM}callCount"), session.findtext(f"{VIM}userAgent", "")[:5]) == ("1", "curl/")
    # Cookies come back with the attributes that they were set with (pyVmomi), and among others.
    for header in (f"Cookie: {cookie}; Path=/; HttpOnly; Secure;", f"Cookie: other=1; {cookie}"):
        assert curl.read("--header", header).status == 200, header
    # A header of the cookie's name is none, whatever stands in it, and neither is a cookie with the key.
    value = cookie.partition("=")[2].strip('"')
    for options in (
        ["--header", f"vmware_soap_session: {key}"],
        ["--header", f"vmware_soap_session: {value}"],
        ["--cookie", f'vmware_soap_session="{key}"'],
        [],
    ):
        text, detail, kind = curl.read(*options).fault
        assert (text, detail, kind) == (NOT_AUTHENTICATED, f"{VIM}NotAuthenticatedFault", "NotAuthenticated"), options
    curl.logout("--cookie", cookie)
    assert curl.read("--cookie", cookie).fault[2] == "NotAuthenticated"


def test_current_time_needs_nobody(curl: Curl) -> None:
    """With a cookie, with one that has ended, and without."""
    cookie = cookie_of(curl.login())
    for options in (["--cookie", cookie], []):
        reply = curl(*options, body=in_envelope(CURRENT_TIME))
        assert reply.content.tag == f"{VIM}CurrentTimeResponse"
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", reply.content.findtext(f"{VIM}returnval") or "")
    curl.logout("--cookie", cookie)
    assert curl("--cookie", cookie, body=in_envelope(CURRENT_TIME)).status == 200


def test_what_may_be_read_before_a_login(curl: Curl) -> None:
    """What pyVmomi's tables call System.Anonymous; pyVim's session-oriented stub reads it to find out whether it has to log in."""

    def fetch(kind: str, moid: str, prop: str) -> Reply:
        return curl(body=in_envelope(FETCH.format(kind=kind, moid=moid, prop=prop)))

    content = fetch("ServiceInstance", "ServiceInstance", "content").content
    assert content.findtext(f"{VIM}returnval/{VIM}sessionManager") == curl.manager
    current = fetch("SessionManager", curl.manager, "currentSession")
    assert current.status == 200 and list(current.content) == []
    for kind, moid, prop in (
        ("SessionManager", curl.manager, "sessionList"),
        ("ServiceInstance", "ServiceInstance", "capability"),
        ("ServiceInstance", "ServiceInstance", "nothing"),
        ("HostSystem", "ha-host", "name"),
    ):
        assert fetch(kind, moid, prop).fault[2] == "NotAuthenticated", prop


def test_a_wrong_password(curl: Curl) -> None:
    reply = curl.login(password="wrong")
    assert reply.fault == (BAD_LOGIN, f"{VIM}InvalidLoginFault", "InvalidLogin")
    # A cookie comes with it all the same, and is worth nothing.
    assert curl.read("--cookie", cookie_of(reply)).fault[2] == "NotAuthenticated"
    summary = curl.server.control("/summary")
    assert (summary["failed_logins"], summary["logins"]) == (1, 0)


def test_ways_to_send_it(curl: Curl) -> None:
    """Chunked, after a 100 Continue, with an old or no SOAPAction, compressed; curl keeps the cookie itself."""
    jar = str(curl.folder / "jar")
    for options, action in (
        (["--header", "Transfer-Encoding: chunked"], "urn:vim25/9.1.0.0"),
        (["--header", "Expect: 100-continue", "--compressed"], '"urn:vim25/6.7"'),
        (["--http1.0"], None),
    ):
        reply = curl.login("--cookie-jar", jar, *options, action=action)
        assert reply.status == 200, options
        assert "vmware_soap_session" in pathlib.Path(jar).read_text()
        assert curl.read("--cookie", jar, *options).status == 200, options
        curl.logout("--cookie", jar)
        pathlib.Path(jar).unlink()
    assert left_behind(curl.server) == {"sessions": [], "errors": []}


def test_versions(curl: Curl) -> None:
    reply = curl(url=f"{curl.server.url}/vimServiceVersions.xml")
    root = ET.fromstring(reply.body)
    assert (reply.status, reply.header("content-type").partition(";")[0], root.tag, root.get("version")) == (
        200,
        "text/xml",
        "namespaces",
        "1.0",
    )
    (namespace,) = root
    prior = [one.text or "" for one in namespace.findall("priorVersions/version")]
    assert (namespace.findtext("name"), namespace.findtext("version")) == ("urn:vim25", curl.server.control("/state")["api"])
    # In the order in which a vCenter 8.0.3 lists them, down to the oldest.
    documented = ["8.0.2.0", "8.0.1.0", "8.0.0.2", "8.0.0.1", "8.0.0.0", "7.0.3.2", "7.0.3.1", "7.0.3.0", "7.0.2.1", "7.0.2.0"]
    documented += ["7.0.1.1", "7.0.1.0", "7.0.0.2", "7.0.0.0", "6.9.1", "6.8.7", "6.7.3", "6.7.2", "6.7.1", "6.7", "6.5", "6.0", "5.5"]
    assert prior[: len(documented)] == documented and prior[-1] == "4.0"


def test_an_unverified_certificate_is_one_of_ours(curl: Curl) -> None:
    """curl checks name and authority; with the system's authorities it has to refuse."""
    command = ["curl", "--disable", "--silent", "--show-error", "--max-time", "20", curl.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 60 and "certificate" in done.stderr

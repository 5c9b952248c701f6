# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulators and clients for the tests of this folder. The client is pyVmomi, which nobody here wrote, or a bare socket."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect, SoapStubAdapter
from pyVmomi import VmomiSupport, vim, vmodl

from tests.simulator import Simulator


@pytest.fixture(scope="module")
def scenario() -> Any:
    return "tiny"


@pytest.fixture(scope="module")
def running(scenario: Any) -> Iterator[Simulator]:
    with Simulator(scenario) as made:
        yield made


@pytest.fixture
def sim(running: Simulator) -> Iterator[Simulator]:
    """The module's simulator, as new; a test that made it stumble fails."""
    running.reset()
    yield running
    assert running.errors == []


def key_servers_for(name: str) -> None:
    """Scenarios with key servers are skipped where PyKMIP is not installed."""
    if "encrypted" in name:
        pytest.importorskip("kmip", reason="PyKMIP is not installed")


def tls(sim: Simulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=sim.ca_file)


@contextlib.contextmanager
def client(sim: Simulator, user: str | None = None, version: str | None = None) -> Iterator[Any]:
    """A logged-in pyVmomi client; with a version, one that speaks only that ("vim25/7.0.3.0")."""
    name = user or sim.username
    password = sim.world.users[name].password
    si: Any
    if version is None:
        si = SmartConnect(host=sim.hostname, port=sim.port, user=name, pwd=password, sslContext=tls(sim))
    else:
        stub = SoapStubAdapter(host=sim.hostname, port=sim.port, version=VmomiSupport.versionMap[version], sslContext=tls(sim))
        si = vim.ServiceInstance("ServiceInstance", stub)
        si.RetrieveContent().sessionManager.Login(name, password)
    try:
        yield si
    finally:
        with contextlib.suppress(Exception):
            Disconnect(si)


@pytest.fixture
def si(sim: Simulator) -> Iterator[Any]:
    with client(sim) as made:
        yield made


@pytest.fixture
def host_of(si: Any) -> Callable[[str], Any]:
    def find(name: str) -> Any:
        found = si.content.searchIndex.FindByDnsName(None, name, False)
        assert found is not None, name
        return found

    return find


def read(si: Any, paths: list[str], *, kind: Any = vim.HostSystem, max_objects: int | None = None) -> dict[str, dict[str, Any]]:
    """One bulk read of all objects of a kind below the root: moid -> path -> value."""
    collector = vmodl.query.PropertyCollector
    content = si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    walk = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
    start = collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])
    wanted = collector.PropertySpec(type=kind, pathSet=paths)
    spec = collector.FilterSpec(propSet=[wanted], objectSet=[start])
    out = {}
    page = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions(maxObjects=max_objects))
    while page is not None:
        for item in page.objects:
            out[item.obj._moId] = {found.name: found.val for found in item.propSet}
        page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    view.DestroyView()
    return out


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def cookie(self) -> str | None:
        found = re.match(r'vmware_soap_session="?([0-9a-f]+)"?', self.headers.get("set-cookie", ""))
        return found.group(1) if found else None


class Raw:
    """A client as somebody writes it by hand."""

    def __init__(self, sim: Simulator) -> None:
        self.connection = http.client.HTTPSConnection(sim.hostname, sim.port, context=tls(sim), timeout=10)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.connection.close()

    def get(self, path: str) -> Reply:
        self.connection.request("GET", path)
        return self._reply()

    def post(
        self,
        inner: str,
        *,
        cookie: str | None = None,
        action: str | None = "urn:vim25/8.0.3.0",
        path: str = "/sdk",
        chunked: bool = False,
        more: dict[str, str] | None = None,
    ) -> Reply:
        body = (
            '<?xml version="1.0"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Header><operationID>t-1</operationID></Header>'
            f"<Body>{inner}</Body></Envelope>"
        ).encode()
        headers = {"Content-Type": "text/xml", **(more or {})}
        if action is not None:
            headers["SOAPAction"] = action
        if cookie is not None:
            headers["Cookie"] = cookie
        data: Any = iter([body[:50], body[50:]]) if chunked else body
        self.connection.request("POST", path, data, headers, encode_chunked=chunked)
        return self._reply()

    def _reply(self) -> Reply:
        answer = self.connection.getresponse()
        raw = answer.read()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        return Reply(answer.status, headers, raw.decode())

    def login(self, sim: Simulator, manager: str = "SessionManager", password: str | None = None) -> Reply:
        return self.post(
            f'<Login xmlns="urn:vim25"><_this type="SessionManager">{manager}</_this><userName>{sim.username}</userName>'
            f"<password>{sim.password if password is None else password}</password></Login>"
        )

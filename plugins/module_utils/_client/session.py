# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One login to one endpoint, three verbs: read, probe, write. Private to this collection.

``read``   an operation whose privilege is System.*: cannot change anything, may be repeated.
``probe``  an operation that the API guards with another privilege but that changes nothing (TestTimeService).
``write``  everything else. There is no other way to change a server, and in a check run this one is shut.
"""

from __future__ import annotations

import http.cookies
import threading
import xml.parsers.expat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree import ElementTree

from .._domain.errors import EndpointUnreachable, FleetcareError, LoginRefused, WriteRefused
from . import vmomi
from .endpoint import Endpoint
from .faults import error_from, fault_name
from .guard import Guard
from .store import Store
from .transport import NotSent, Reply, Transport
from .vmomi import Ref

_COOKIE = "vmware_soap_session"
_PAUSES = (0.2, 0.6)
# Every server since 6.0 takes it; only the first call, which asks for the server's own version, is made with it.
_OLDEST_ACTION = "6.0"
_SERVICE = Ref("ServiceInstance", "ServiceInstance")

ResultT = TypeVar("ResultT")


class _SessionLost(Exception):
    """A property collector answers a lost session not with a fault but in each object's missingSet (vcsim does)."""


@dataclass
class Sent:
    """One write that left, by the path of its target: the account of what a run did, also when it ends badly."""

    target: str
    operation: str
    outcome: str = "unknown"


class Session:
    """Use as a context manager. Safe for use by several threads."""

    def __init__(self, endpoint: Endpoint, guard: Guard, *, may_write: bool) -> None:
        self.endpoint = endpoint
        self.guard = guard
        self.sent: list[Sent] = []
        self.keyed_paths = True
        self._may_write = may_write
        self._transport = Transport(endpoint, guard)
        self._store = Store(endpoint, guard)
        self._login_lock = threading.Lock()
        self._cookie = ""
        self._anonymous = ""
        self._kept = False
        self._alive = False
        self._wire = vmomi.Wire(vmomi.newest_version(_OLDEST_ACTION))
        self.content: Any = None

    def __enter__(self) -> Session:
        try:
            self.content, self._anonymous = self._introduce(_SERVICE, "RetrieveServiceContent", {}, repeat=True)
            if self.content is None:
                raise EndpointUnreachable("what it answers is no SOAP", hint="Check that hostname and port belong to vSphere.")
            self._wire = vmomi.Wire(vmomi.newest_version(self.content.about.apiVersion))
            self._authenticate(stale="")
        except FleetcareError as problem:
            self._transport.close()
            problem.at(target=self.endpoint.name)
            raise
        return self

    def __exit__(self, *_exception: Any) -> None:
        try:
            if not self._kept:
                self._log_out()
        finally:
            self._transport.close()

    @property
    def is_vcenter(self) -> bool:
        return self.content.about.apiType == "VirtualCenter"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen in an output."""
        return tuple(part for part in (self.endpoint.password, self._cookie, self._cookie.strip('"')) if part)

    def manager(self, name: str) -> Ref | None:
        """A manager of the service content, ``licenseManager`` for one; None where this server has none."""
        found = getattr(self.content, name, None)
        return None if found is None else Ref(type(found).__name__.rpartition(".")[2], found._moId)

    def read(self, ref: Ref, operation: str, **arguments: Any) -> Any:
        privilege = vmomi.method(ref.type, operation).privId or ""
        if not privilege.startswith("System."):
            raise WriteRefused(f"{operation} needs {privilege}, so it is no read")
        return self._call(ref, operation, arguments, repeat=True)

    def probe(self, ref: Ref, operation: str, **arguments: Any) -> Any:
        return self._call(ref, operation, arguments, repeat=True)

    def write(self, target: str, ref: Ref, operation: str, **arguments: Any) -> Any:
        """The one gate. Repeats only a request that never left, or one refused because the session had ended."""
        if not self._may_write:
            raise WriteRefused(f"{operation} on {ref} was about to be sent in a run that must not write", target=target)
        self.guard.check()
        sent = Sent(target, operation)
        self.sent.append(sent)
        try:
            result = self._call(ref, operation, arguments, repeat=False)
        except FleetcareError as problem:
            sent.outcome = problem.kind
            raise
        sent.outcome = "done"
        return result

    def stream(self, operation: str, inner_xml: str) -> tuple[list[Any], str]:
        """A property collector call written and read without pyVmomi: objects, and the token of the next page."""
        collector = self.content.propertyCollector._moId
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f'<soapenv:Body><{operation} xmlns="{vmomi.NAMESPACE}">'
            f'<_this type="PropertyCollector">{collector}</_this>{inner_xml}</{operation}></soapenv:Body></soapenv:Envelope>'
        ).encode()

        def consume(reply: Reply) -> tuple[list[Any], str]:
            objects, token = vmomi.plain_objects(reply.chunks())
            if any("NotAuthenticated" in missing.values() for _ref, _values, missing in objects):
                raise _SessionLost
            return objects, token

        return self._send(body, consume, repeat=True)

    def knows(self, type_name: str, path: str) -> bool:
        """Whether a property path exists in the API version that is spoken."""
        return self._wire.knows(type_name, path)

    def managed(self, ref: Ref) -> Any:
        return self._wire.managed(ref)

    def local_address(self) -> str:
        return self._transport.local_address()

    def _call(self, ref: Ref, operation: str, arguments: dict[str, Any], *, repeat: bool) -> Any:
        info = vmomi.method(ref.type, operation)
        body = self._wire.request(ref, info, arguments)
        return self._send(body, lambda reply: self._result(reply, info), repeat=repeat)

    def _result(self, reply: Reply, info: Any) -> Any:
        body = reply.body()
        if info.result is type(None) and f"<{info.wsdlName}Response".encode() in body:
            return None
        result = self._wire.result(body, info.result)
        if isinstance(result, vmomi.UnknownFault):
            raise error_from(result)
        return result

    def _introduce(self, ref: Ref, operation: str, arguments: dict[str, Any], *, repeat: bool) -> tuple[Any, str]:
        """A call made before there is a session: its result, and the cookie that came with it."""
        info = vmomi.method(ref.type, operation)

        def consume(reply: Reply) -> tuple[Any, str]:
            return self._result(reply, info), _cookie_of(reply) or self._anonymous

        return self._send(self._wire.request(ref, info, arguments), consume, repeat=repeat, cookie=self._anonymous)

    def _send(self, body: bytes, consume: Callable[[Reply], ResultT], *, repeat: bool, cookie: str | None = None) -> ResultT:
        """Post, and repeat what may be repeated. ``cookie``: another one than the session's, for calls without one."""
        in_session = cookie is None
        pauses = iter(_PAUSES)
        logged_in_again = False
        while True:
            cookie = self._cookie if in_session else cookie
            try:
                with self._transport.post(body, self._headers(cookie or "")) as reply:
                    self._alive = True
                    if reply.status == 200:
                        return consume(reply)
                    fault = self._fault(reply)
                    lost = fault_name(fault) == "NotAuthenticated"
            except _SessionLost:
                fault, lost = vmomi.vim.fault.NotAuthenticated(), True
            except NotSent as problem:
                if not self._alive or isinstance(problem.cause, LoginRefused) or not self._wait(pauses):
                    raise problem.cause from problem
                continue
            except EndpointUnreachable:
                if not repeat or not self._wait(pauses):
                    raise
                continue
            except (xml.parsers.expat.ExpatError, ElementTree.ParseError) as problem:
                raise EndpointUnreachable(
                    f"what it answers is no SOAP: {problem}", hint="Check that hostname and port belong to vSphere."
                ) from problem
            if lost and in_session and not logged_in_again:
                logged_in_again = True
                self._authenticate(stale=cookie or "")
                continue
            raise error_from(fault)

    def _fault(self, reply: Reply) -> Any:
        if reply.status != 500:
            raise EndpointUnreachable(
                f"HTTP {reply.status} instead of an answer",
                hint="503 means that the service behind the port is starting or overloaded; "
                "any other: check that hostname and port belong to vSphere.",
            )
        return self._wire.result(reply.body(), object)

    def _wait(self, pauses: Iterator[float]) -> bool:
        seconds = next(pauses, None)
        return seconds is not None and self.guard.pause(seconds)

    def _headers(self, cookie: str) -> dict[str, str]:
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": self._wire.action,
            "Accept-Encoding": "gzip",
            "User-Agent": "fleetcare.esxi",
        }
        if cookie:
            headers["Cookie"] = f"{_COOKIE}={cookie}"
        return headers

    def _authenticate(self, stale: str) -> None:
        """Take the kept session or log in; ``stale`` is a cookie that the server no longer knows."""
        with self._login_lock:
            if self._cookie and self._cookie != stale:
                return
            with self._store.locked():
                kept = self._store.cookie() if self.endpoint.session != "single" else ""
                if kept and kept != stale:
                    self._cookie = kept
                    self._kept = self.endpoint.session == "keep"
                    return
                self._store.check_not_refused()
                try:
                    self._cookie = self._log_in()
                except LoginRefused:
                    self._store.refuse()
                    raise
                self._kept = self.endpoint.session == "keep" and self._store.keep(self._cookie)

    def _log_in(self) -> str:
        manager = Ref("SessionManager", self.content.sessionManager._moId)
        arguments = {"userName": self.endpoint.username, "password": self.endpoint.password}
        try:
            return self._introduce(manager, "Login", arguments, repeat=False)[1]
        except FleetcareError as problem:
            problem.at(doing=f"logging in as {self.endpoint.username}")
            raise

    def _log_out(self) -> None:
        if not self._cookie:
            return
        with self._store.locked():
            if self.endpoint.session == "end" or self._store.cookie() == self._cookie:
                self._store.forget()
        try:
            self._call(Ref("SessionManager", self.content.sessionManager._moId), "Logout", {}, repeat=True)
        except FleetcareError:
            pass  # The server is gone or the session is: either way there is nothing left to end.
        self._cookie = ""


def _cookie_of(reply: Reply) -> str:
    for header in reply.headers.get_all("Set-Cookie") or ():
        morsel = http.cookies.SimpleCookie(header).get(_COOKIE)
        if morsel is not None:
            return morsel.coded_value
    return ""

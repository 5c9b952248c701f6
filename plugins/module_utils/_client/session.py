# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One login to one endpoint, three verbs: read, probe, write. Private to this collection.

``read``   an operation whose privilege is System.* and whose name says that it only looks: may be repeated.
``probe``  an operation that the API guards with another privilege but that changes nothing; each is named in advance.
``write``  everything else. There is no other way to change a server, and in a check run this one is shut.
"""

from __future__ import annotations

import contextlib
import http.cookies
import re
import threading
import xml.parsers.expat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree import ElementTree

from .._domain.errors import EndpointUnreachable, FleetcareError, LoginRefused, TargetUnknown, TlsRefused, WriteRefused
from . import esxcli, vmomi
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
# The privilege alone does not tell: DeleteVirtualDisk_Task is System.View in the tables, ChangePassword System.Anonymous.
_READS = re.compile(
    r"(Query|Retrieve|Find|Has|Current|WaitFor|Continue|Read|Cancel(Retrieve|WaitFor)"
    r"|Create(Filter|Collector|ContainerView)|Destroy(PropertyFilter|Collector|View))"
)
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

    def __init__(self, endpoint: Endpoint, guard: Guard, *, may_write: bool, probes: Iterable[str] = ()) -> None:
        self.endpoint = endpoint
        self.guard = guard
        self.sent: list[Sent] = []
        self.keyed_paths = True
        self._may_write = may_write
        self._rescuing = False
        self._probes = frozenset(probes)
        self._refused: LoginRefused | None = None
        self._transport = Transport(endpoint, guard)
        self._store = Store(endpoint, guard)
        self._login_lock = threading.Lock()
        self._cookie = ""
        self._anonymous = ""
        self._kept = False
        self._alive = False
        self._wire = vmomi.Wire(vmomi.newest_version(_OLDEST_ACTION))
        self._executers: dict[Ref, Ref] = {}
        self.content: Any = None

    def __enter__(self) -> Session:
        try:
            self.content, self._anonymous = self._introduce(_SERVICE, "RetrieveServiceContent", {}, repeat=True)
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

    @property
    def local_address(self) -> str:
        """This machine's end of the connection; empty where a proxy is in between."""
        return self._transport.local_address

    def manager(self, name: str) -> Ref | None:
        """A manager of the service content, ``licenseManager`` for one; None where this server has none."""
        found = getattr(self.content, name, None)
        return None if found is None else Ref(type(found).__name__.rpartition(".")[2], found._moId)

    def read(self, ref: Ref, operation: str, **arguments: Any) -> Any:
        self._check_reads(ref, operation)
        return self._call(ref, operation, arguments, repeat=True)

    def items(self, ref: Ref, operation: str, keep: Callable[[dict[str, Any]], ResultT], **arguments: Any) -> list[ResultT]:
        """The data objects that a read or a probe returns, as plain values, each turned by ``keep`` as it comes: a
        thousand of them cost pyVmomi seconds."""
        if operation not in self._probes:
            self._check_reads(ref, operation)
        return self._call(ref, operation, arguments, repeat=True, keep=keep)

    def probe(self, ref: Ref, operation: str, **arguments: Any) -> Any:
        if operation not in self._probes:
            raise WriteRefused(f"{operation} is not among the probes of this run")
        return self._call(ref, operation, arguments, repeat=True)

    def write(
        self,
        target: str,
        ref: Ref,
        operation: str,
        *,
        keep: Callable[[dict[str, Any]], ResultT] | None = None,
        must: bool = False,
        **arguments: Any,
    ) -> Any:
        """The one gate. Repeats only a request that never left, or one refused because the session had ended.

        An argument may be a function: it is asked in the moment of sending, for values that age (the time).
        ``keep``: what the answer is turned into, as with ``items``. ``must``: it puts back what an earlier write took away, so
        it leaves although the run has to stop. ``esxcli software.vib.install`` is a command of the host ``ref``, see ``esxcli``.
        """

        def send(leaving: Callable[[], None]) -> Any:
            if operation.startswith(esxcli.PREFIX):
                return self._command(ref, operation.removeprefix(esxcli.PREFIX), arguments, repeat=False, leaving=leaving)
            return self._call(ref, operation, arguments, repeat=False, leaving=leaving, keep=keep)

        return self._through_gate(target, operation, str(ref), send, must)

    def upload(self, target: str, path: str, content: bytes) -> None:
        """Put a file where ``fetch`` finds it. The same bytes twice are the same file, so it may be repeated."""

        def send(leaving: Callable[[], None]) -> None:
            def body() -> bytes:
                leaving()
                return content

            self._send(body, _read, repeat=True, verb="PUT", path=path)

        self._through_gate(target, "PUT", path, send)

    def remove(self, target: str, path: str, *, must: bool = False) -> None:
        """Delete a file that ``fetch`` finds; ``must`` as with ``write``."""

        def send(leaving: Callable[[], None]) -> None:
            def nothing() -> bytes:
                leaving()
                return b""

            self._send(nothing, _read, repeat=False, verb="DELETE", path=path)

        self._through_gate(target, "DELETE", path, send, must)

    def _through_gate(
        self, target: str, operation: str, subject: str, send: Callable[[Callable[[], None]], ResultT], must: bool = False
    ) -> ResultT:
        if not self._may_write:
            raise WriteRefused(f"{operation} on {subject} was about to be sent in a run that must not write", target=target)
        sent = Sent(target, operation, "waiting")

        def leaving() -> None:
            if not self._rescuing and not must:
                self.guard.check()
            if sent.outcome == "waiting":
                sent.outcome = "unknown"
                self.sent.append(sent)

        try:
            result = send(leaving)
        except FleetcareError as problem:
            sent.outcome = problem.kind
            raise
        sent.outcome = "done"
        return result

    @contextlib.contextmanager
    def rescuing(self) -> Iterator[None]:
        """Writes that take back others may leave although the run has to stop, for as long as its grace lasts."""
        self._rescuing = True
        try:
            yield
        finally:
            self._rescuing = False

    @property
    def is_rescuing(self) -> bool:
        return self._rescuing

    def knock(self) -> FleetcareError | None:
        """Why the endpoint takes no new connection; None when it does."""
        return self._transport.knock()

    def _check_reads(self, ref: Ref, operation: str) -> None:
        privilege = vmomi.method(ref.type, operation).privId or "System."
        if not privilege.startswith("System.") or not _READS.match(operation):
            raise WriteRefused(f"{operation} needs {privilege}, so it is no read")

    def stream(
        self, operation: str, inner_xml: str, keep: Callable[[Ref, dict[str, Any], dict[str, str]], ResultT]
    ) -> tuple[list[ResultT], str]:
        """A property collector call written and read without pyVmomi: what ``keep`` makes of each object as it comes (reference,
        value by path, fault name by path), and the token of the next page."""
        body = vmomi.envelope(operation, Ref("PropertyCollector", self.content.propertyCollector._moId), inner_xml)

        def authenticated(ref: Ref, values: dict[str, Any], missing: dict[str, str]) -> ResultT:
            if "NotAuthenticated" in missing.values():
                raise _SessionLost
            return keep(ref, values, missing)

        def consume(reply: Reply) -> tuple[list[ResultT], str]:
            return vmomi.plain_objects(reply.chunks(), operation, authenticated)

        return self._send(lambda: body, consume, repeat=True)

    def fetch(self, path: str) -> bytes:
        """A file that the server hands out over HTTPS, such as one of a datastore: ``/folder/DIR/FILE?dcPath=...&dsName=...``."""
        return self._send(lambda: b"", _read, repeat=True, verb="GET", path=path)

    def esxcli(self, host: Ref, command: str, **arguments: Any) -> list[Any]:
        """What a command of a host that only looks, ``software.vib.list`` for one, answers: see ``esxcli.answer_of``."""
        if not esxcli.only_looks(command):
            raise WriteRefused(f"esxcli {command} may change something, so it is no read")
        return self._command(host, command, arguments, repeat=True)

    def _command(
        self, host: Ref, command: str, arguments: dict[str, Any], *, repeat: bool, leaving: Callable[[], None] | None = None
    ) -> list[Any]:
        known = self._executers.get(host)
        executer = known or self._send(lambda: esxcli.ask_for_executer(host), lambda reply: esxcli.executer_of(reply.body()), repeat=True)
        self._executers[host] = executer

        def prepare() -> bytes:
            if leaving:
                leaving()
            return esxcli.command_call(executer, command, arguments)

        try:
            return self._send(prepare, lambda reply: esxcli.answer_of(reply.body()), repeat=repeat)
        except TargetUnknown:
            if known is None:
                raise
        del self._executers[host]  # the host was restarted in the meantime; nothing was executed
        return self._command(host, command, arguments, repeat=repeat, leaving=leaving)

    def knows(self, type_name: str, path: str) -> bool:
        """Whether a property path exists in the API version that is spoken."""
        return self._wire.knows(type_name, path)

    def managed(self, ref: Ref) -> Any:
        return self._wire.managed(ref)

    def _call(
        self,
        ref: Ref,
        operation: str,
        arguments: dict[str, Any],
        *,
        repeat: bool,
        leaving: Callable[[], None] | None = None,
        keep: Callable[[dict[str, Any]], Any] | None = None,
    ) -> Any:
        info = vmomi.method(ref.type, operation)

        def prepare() -> bytes:
            if leaving:
                leaving()
            try:
                return self._wire.request(ref, info, {name: value() if callable(value) else value for name, value in arguments.items()})
            except vmomi.vmodl.fault.MethodNotFound as fault:  # pyVmomi itself refuses what the server's version does not have
                raise error_from(fault) from None

        def consume(reply: Reply) -> Any:
            return vmomi.plain_items(reply.chunks(), info, keep) if keep else self._result(reply, info)

        return self._send(prepare, consume, repeat=repeat)

    def _result(self, reply: Reply, info: Any) -> Any:
        body = reply.body()
        if f"{info.wsdlName}Response".encode() not in body:
            raise vmomi.NoSoap("an answer to something else")
        if info.result is type(None):
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

        return self._send(lambda: self._wire.request(ref, info, arguments), consume, repeat=repeat, cookie=self._anonymous)

    def _send(
        self,
        prepare: Callable[[], bytes],
        consume: Callable[[Reply], ResultT],
        *,
        repeat: bool,
        cookie: str | None = None,
        verb: str = "POST",
        path: str = "",
    ) -> ResultT:
        """Send and repeat what may be repeated. ``cookie``: another one than the session's, for calls without one. ``path``:
        of a file, which is no SOAP."""
        in_session = cookie is None
        pauses = iter(_PAUSES)
        logged_in_again = False
        while True:
            cookie = self._cookie if in_session else cookie
            try:
                with self._transport.exchange(prepare, self._headers(cookie or "", path), verb, path or "/sdk") as reply:
                    self._alive = True
                    if reply.status == 200 or (path and reply.status in (201, 204)):
                        return consume(reply)
                    fault = _file_fault(reply, verb) if path else self._fault(reply)
                    lost = fault_name(fault) == "NotAuthenticated"
            except _SessionLost:
                fault, lost = vmomi.vim.fault.NotAuthenticated(), True
            except NotSent as problem:
                if not self._alive or isinstance(problem.cause, TlsRefused) or not self._wait(pauses):
                    raise problem.cause from problem
                continue
            except EndpointUnreachable:
                if not repeat or not self._wait(pauses):
                    raise
                continue
            except (xml.parsers.expat.ExpatError, ElementTree.ParseError, vmomi.NoSoap) as problem:
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

    def _headers(self, cookie: str, path: str = "") -> dict[str, str]:
        headers = {"Accept-Encoding": "gzip", "User-Agent": "fleetcare.esxi"}
        if path:
            headers["Content-Type"] = "application/octet-stream"
        else:
            headers.update({"Content-Type": "text/xml; charset=utf-8", "SOAPAction": self._wire.action})
        if cookie:
            headers["Cookie"] = f"{_COOKIE}={cookie}"
        return headers

    def _authenticate(self, stale: str) -> None:
        """Take the kept session or log in; ``stale`` is a cookie that the server no longer knows."""
        with self._login_lock:
            if self._cookie and self._cookie != stale:
                return
            if self._refused:
                raise self._refused
            with self._store.locked():
                certificate = self._transport.certificate
                kept = self._store.cookie(certificate) if self.endpoint.session != "single" else ""
                if kept and kept != stale:
                    self._cookie = kept
                    self._kept = self.endpoint.session == "keep"
                    return
                self._store.check_not_refused()
                try:
                    self._cookie = self._log_in()
                except LoginRefused as problem:
                    self._refused = problem
                    self._store.refuse()
                    raise
                self._kept = self.endpoint.session == "keep" and self._store.keep(self._cookie, certificate)

    def _log_in(self) -> str:
        manager = Ref("SessionManager", self.content.sessionManager._moId)
        arguments = {"userName": self.endpoint.username, "password": self.endpoint.password}
        try:
            return self._introduce(manager, "Login", arguments, repeat=False)[1]
        except FleetcareError as problem:
            problem.at(doing=f"logging in as {self.endpoint.username}")
            raise

    def _log_out(self) -> None:
        """Never raises: what a run did is told whether or not its session could be ended."""
        cookies = {self._cookie} - {""}
        with contextlib.suppress(FleetcareError):
            if self.endpoint.session == "end":
                with self._store.locked():
                    cookies |= {self._store.cookie(self._transport.certificate)} - {""}
                    self._store.forget()
        self._cookie = ""
        if self.content is None:
            return
        body = self._wire.request(Ref("SessionManager", self.content.sessionManager._moId), vmomi.method("SessionManager", "Logout"), {})
        for cookie in cookies:
            # Outside of any session: a cookie that is not known any more must not cause a login.
            with contextlib.suppress(FleetcareError):
                self._send(lambda: body, _read, repeat=True, cookie=cookie)


def _read(reply: Reply) -> bytes:
    return reply.body()


# What HTTP says of a file, as the fault that the API has for it; 401 is a session that has ended.
_FILE_FAULTS = {401: "NotAuthenticated", 403: "NoPermission", 404: "FileNotFound", 409: "FileLocked", 507: "NoDiskSpace"}


def _file_fault(reply: Reply, verb: str) -> Any:
    name = _FILE_FAULTS.get(reply.status)
    reply.body()
    if name is None:
        raise EndpointUnreachable(
            f"HTTP {reply.status} to the {verb} of a file", hint="503 means that the service is starting or overloaded."
        )
    return getattr(vmomi.vim.fault, name)()


def _cookie_of(reply: Reply) -> str:
    for header in reply.headers.get_all("Set-Cookie") or ():
        morsel = http.cookies.SimpleCookie(header).get(_COOKIE)
        if morsel is not None:
            return morsel.coded_value
    return ""

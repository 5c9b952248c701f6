# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTPS listener: one thread a connection, HTTP/1.1 keep-alive, one write a reply.

Written by hand instead of on http.server, because a reply in two small writes costs 45 ms (Nagle and delayed ACK, facts.md 6.4), because
bytes must be counted as they are on the wire, and because connections must be dropped or left hanging on demand.
"""

from __future__ import annotations

import contextlib
import gzip
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .dispatch import Answer, Dispatcher
from .journal import JournalEntry
from .objects import datastore_files
from .versions import service_versions

if TYPE_CHECKING:
    from .world import World

_LIMIT = 64 << 20  # of a request body
_GZIP_FROM = 1024
_REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}


class _Broken(Exception):
    """The request cannot be read any further."""


class Listener:
    """Accepts connections for a world that may be replaced underneath (reset)."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, dispatcher: Callable[[], Dispatcher], *, delay: float, silent_tls: bool
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(512)
        self.host, self.port = self.socket.getsockname()[:2]
        self.context = context
        self.dispatcher = dispatcher
        self.delay = delay
        self.silent_tls = silent_tls
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._acceptor = threading.Thread(target=self._accept, name="simulator-accept", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, address = self.socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection, str(address[0])), name="simulator-connection", daemon=True)
            with self._lock:
                if self.stopping.is_set():
                    connection.close()
                    return
                self._open.add(connection)
                self._threads.add(thread)
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self._lock:
            connections, threads = list(self._open), list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 0.8
        for thread in [self._acceptor, *threads]:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self, plain: socket.socket, peer: str) -> None:
        connection: socket.socket = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self.dispatcher().world.lets_client_in(peer):
                _reset(plain)
                return
            self.dispatcher().journal.connected()
            if self.silent_tls:
                self._wait_for_end(plain)
                return
            if self.delay:
                # TCP and TLS cost two round trips more (performance.md, section 1).
                self.stopping.wait(2 * self.delay)
            plain.settimeout(60)
            connection = self.context.wrap_socket(plain, server_side=True)
            with self._lock:
                self._open.discard(plain)
                self._open.add(connection)
            connection.settimeout(None)
            _Connection(self, connection, peer).run()
        except (OSError, ssl.SSLError):
            pass  # the client went away or did not like the certificate
        finally:
            with self._lock:
                self._open.discard(plain)
                self._open.discard(connection)
                self._threads.discard(threading.current_thread())
            with contextlib.suppress(OSError):
                connection.close()

    def _wait_for_end(self, connection: socket.socket) -> None:
        """Say nothing until the other side closes or the simulator stops."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(connection, selectors.EVENT_READ)
            while not self.stopping.is_set():
                try:
                    if waiting.select(0.1) and not connection.recv(4096):
                        return
                except (OSError, ssl.SSLError):
                    return


def _reset(connection: socket.socket) -> None:
    """Make the close that follows a TCP reset. A real ESXi drops the packets, which costs a client its whole timeout and tells it no more."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Connection:
    def __init__(self, listener: Listener, connection: socket.socket, peer: str) -> None:
        self.listener = listener
        self.connection = connection
        self.peer = peer
        self.reader: Any = connection.makefile("rb", 65536)
        self.fresh = True

    def run(self) -> None:
        while not self.listener.stopping.is_set():
            try:
                if not self._one():
                    return
            except _Broken as exc:
                self._send(Answer(status=400, body=str(exc).encode(), content_type="text/plain"), {}, close=True)
                return

    def _one(self) -> bool:
        """One request; False when the connection is over."""
        line = self.reader.readline(65537)
        if not line:
            return False
        if line in (b"\r\n", b"\n"):
            return True
        words = line.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise _Broken("not an HTTP request")
        method, target, version = words
        headers = self._headers()
        if headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, received = self._body(headers)
        if self.listener.delay:
            self.listener.stopping.wait(self.listener.delay)
        if self._cut():
            return False
        answer = self._answer(method, target, headers, body, received)
        self.fresh = False
        if answer.hang:
            self.listener._wait_for_end(self.connection)
            return False
        if answer.drop:
            return False
        cut = self._cut()
        if cut and not (answer.entry is not None and answer.entry.write):
            return False  # shut while this call was under way; the call that shut it still gets its answer
        wanted = headers.get("connection", "").lower()
        close = "close" in wanted or (version == "HTTP/1.0" and "keep-alive" not in wanted)
        self._send(answer, headers, close)
        return not close and not cut

    def _cut(self) -> bool:
        return self.listener.dispatcher().world.cuts(self.peer)

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while True:
            line = self.reader.readline(65537)
            if line in (b"\r\n", b"\n"):
                return headers
            if not line or len(headers) > 200:
                raise _Broken("headers do not end")
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise _Broken("a header without a colon")
            key = name.strip().lower()
            value = value.strip()
            headers[key] = f"{headers[key]}; {value}" if key == "cookie" and key in headers else value

    def _body(self, headers: dict[str, str]) -> tuple[bytes, int]:
        """The body and its size on the wire. govc sends it chunked and without a length (facts.md 6.1)."""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            parts, total = [], 0
            while True:
                try:
                    size = int(self.reader.readline(1024).split(b";")[0].strip(), 16)
                except ValueError:
                    raise _Broken("bad chunk") from None
                total += size
                if total > _LIMIT:
                    raise _Broken("request too large")
                if size == 0:
                    while self.reader.readline(65537) not in (b"\r\n", b"\n", b""):
                        pass
                    break
                parts.append(self.reader.read(size))
                self.reader.readline(8)
            body = b"".join(parts)
        else:
            try:
                size = int(headers.get("content-length", "0"))
            except ValueError:
                raise _Broken("bad Content-Length") from None
            if not 0 <= size <= _LIMIT:
                raise _Broken("request too large")
            body = self.reader.read(size) if size else b""
            if len(body) != size:
                raise _Broken("body ends early")
        received = len(body)
        if headers.get("content-encoding", "").lower() == "gzip":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError):
                raise _Broken("body is not gzip") from None
        return body, received

    def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes, received: int) -> Answer:
        dispatcher = self.listener.dispatcher()
        path, _mark, query = target.partition("?")
        if method == "POST" and path.rstrip("/") == "/sdk":
            return dispatcher.handle(
                body,
                action=headers.get("soapaction"),
                cookie=headers.get("cookie"),
                agent=headers.get("user-agent", ""),
                peer=self.peer,
                new_connection=self.fresh,
                received=received,
            )
        if method == "GET" or path.startswith("/folder"):
            return self._file(dispatcher, method, path, query, headers, body, received)
        return Answer(status=405 if path == "/sdk" else 404, body=b"", content_type="text/plain")

    def _file(
        self, dispatcher: Dispatcher, method: str, path: str, query: str, headers: dict[str, str], body: bytes, received: int
    ) -> Answer:
        """Plain files and those of datastores; journalled under "GET ..." and the like, and not counted as calls."""
        world: World = dispatcher.world
        session = world.sessions.find(headers.get("cookie"))
        if session is None and path.startswith("/folder"):
            session = world.basic(headers.get("authorization", ""))
        folder = datastore_files.Request(world, session, method, path, query, body) if path.startswith("/folder") else None
        store = folder.store if folder is not None else None
        entry = dispatcher.journal.open(
            JournalEntry(
                0,
                time.time(),
                session.short if session else None,
                session.user.name if session else None,
                f"{method} {path}",
                store.label if store is not None else "",
                store.mounts[0].state.name if store is not None and len(store.mounts) == 1 else None,
                folder.described() if folder is not None else {},
                method in ("PUT", "DELETE"),
                received,
                0,
                "ok",
                0.0,
                self.fresh,
            )  # fmt: skip
        )
        rule = dispatcher.faults.pick(entry.method, entry.object, entry.host, entry.user)
        if rule is not None:
            if rule.delay:
                world.stopping.wait(rule.delay)
            if rule.expire_session and session is not None:
                world.sessions.end(session)
                session = None
            if rule.hang or rule.drop == "before" or (rule.drop and folder is None):
                entry.status = "hanging" if rule.hang else "dropped"
                return Answer(hang=rule.hang, drop=bool(rule.drop), entry=entry)
            if rule.http is not None:
                entry.status = f"http {rule.http}"
                return Answer(status=rule.http, body=rule.text.encode(), content_type="text/plain", entry=entry)
        if path == "/sdk/vimServiceVersions.xml":
            return Answer(body=service_versions(world.api).encode(), entry=entry)
        if folder is not None:
            folder.session = session
            status, content = (folder.success, b"") if rule is not None and rule.ignore else folder.answer()
            entry.status = "ok" if status < 300 else f"http {status}"
            if rule is not None and rule.drop == "after":
                entry.status = "dropped"
                return Answer(drop=True, entry=entry)
            kind = "text/plain; charset=utf-8" if path.endswith(".vmx") else "application/octet-stream"
            return Answer(status=status, body=content, content_type=kind, entry=entry, head=method == "HEAD")
        entry.status = "http 404"
        return Answer(status=404, body=b"", content_type="text/plain", entry=entry)

    def _send(self, answer: Answer, headers: dict[str, str], close: bool) -> None:
        body, extra = answer.body, ""
        accepts = "gzip" in headers.get("accept-encoding", "").lower() and not answer.head
        if accepts and len(body) > _GZIP_FROM and self.listener.dispatcher().world.gzip:
            # Level 1: a simulator must not spend its CPU on small replies.
            body, extra = gzip.compress(body, 1, mtime=0), "Content-Encoding: gzip\r\n"
        if answer.entry is not None:
            answer.entry.bytes_out = len(body)
        lines = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}\r\nContent-Type: {answer.content_type}\r\n{extra}{lines}"
            f"Cache-Control: no-cache\r\n{'Connection: close' + chr(13) + chr(10) if close else ''}Content-Length: {len(body)}\r\n\r\n"
        )
        self.connection.sendall(head.encode("latin-1") + (b"" if answer.head else body))

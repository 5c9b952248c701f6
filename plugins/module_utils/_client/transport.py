# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS to one endpoint: one TLS policy, one pool of connections for typed and bulk calls. Private to this collection.

``http.client`` carries it rather than ``requests``: importing requests costs 0.09 s in every task, and its
``verify=False`` loses against REQUESTS_CA_BUNDLE. ``requests`` stays the choice for uploads and documents.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from .._domain.errors import EndpointUnreachable, FleetcareError, Interrupted, TimedOut, TlsRefused
from .endpoint import Endpoint
from .guard import GRACE, Guard


class NotSent(Exception):
    """The request never reached the server; repeating it is safe for any call. Carries the reason as ``cause``."""

    def __init__(self, cause: FleetcareError) -> None:
        super().__init__(cause.sentence)
        self.cause = cause


class _Connection(http.client.HTTPSConnection):
    """Sends a request in one piece: as two, head and body are two TLS records, two packets and two waits of a thread."""

    _pieces: list[Any] | None = None

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)

    def request(self, *args: Any, **keywords: Any) -> None:
        self._pieces = []
        try:
            super().request(*args, **keywords)
            whole = b"".join(self._pieces)
        finally:
            self._pieces = None
        self.send(whole)


class Reply:
    """A response whose body is read as a stream, unpacked on the way."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.finished = False
        self._response = response
        packed = response.headers.get("Content-Encoding", "").lower() == "gzip"
        self._unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed else None

    def chunks(self) -> Iterator[bytes]:
        while chunk := self._response.read1(65536):
            yield self._unpack.decompress(chunk) if self._unpack else chunk
        if self._unpack:
            yield self._unpack.flush()
        # read1() calls a body that broke off complete: only the missing length, or an unfinished gzip stream, tells.
        if self._response.length or (self._unpack and not self._unpack.eof):
            raise http.client.IncompleteRead(b"", self._response.length or None)
        # Before Python 3.13 read1() leaves a response open when its Content-Length is used up (CPython gh-113199), and
        # the connection cannot be used again.
        self._response.close()
        self.finished = not self._response.will_close

    def body(self) -> bytes:
        return b"".join(self.chunks())


class Transport:
    """Connections are made when needed, kept while the server keeps them, and never shared by two calls at once."""

    def __init__(self, endpoint: Endpoint, guard: Guard) -> None:
        self.endpoint = endpoint
        self._guard = guard
        self._tls = endpoint.tls_context()
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        # With the socket beside it: http.client forgets it when the server announces to close.
        self._busy: dict[_Connection, tuple[socket.socket | None, float]] = {}
        self.certificate = ""
        self.local_address = ""
        guard.on_stop(self.abort)

    @contextlib.contextmanager
    def exchange(self, prepare: Callable[[], bytes], headers: dict[str, str], verb: str = "POST", path: str = "/sdk") -> Iterator[Reply]:
        """One request. Raises NotSent, or a FleetcareError when the outcome is unknown.

        ``prepare`` makes the body in the moment of sending, and may still refuse by raising: until then a connection
        may have taken its time.
        """
        connection = self._take()
        keep = False
        try:
            reply = self._exchange(connection, prepare, headers, verb, path)
            try:
                yield reply
            except (OSError, http.client.HTTPException, zlib.error) as problem:
                raise self._lost(problem) from problem
            keep = reply.finished
        finally:
            self._give_back(connection, keep)

    def knock(self) -> FleetcareError | None:
        """Make a new connection beside those that stand, and end it: why that was not possible, or None."""
        try:
            connection = self._connect()
        except NotSent as problem:
            return problem.cause
        self._give_back(connection, keep=False)
        return None

    def abort(self) -> None:
        """Wake every thread that waits for the server. In the middle of the grace that is those who have waited since
        before the stop: what began after it is reading back or logging out, and has until its end."""
        over = time.monotonic() >= self._guard.stopped_at + GRACE - 1
        with self._lock:
            sockets = [
                sock or connection.sock for connection, (sock, began) in self._busy.items() if over or began <= self._guard.stopped_at
            ]
        for sock in sockets:
            _shut(sock)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, connection: _Connection, prepare: Callable[[], bytes], headers: dict[str, str], verb: str, path: str) -> Reply:
        body = prepare()
        try:
            connection.sock.settimeout(max(0.1, self._guard.remaining(self.endpoint.read_timeout, beyond=GRACE / 2)))
            connection.request(verb, path, body or None, headers)
            return Reply(connection.getresponse())
        except (OSError, http.client.HTTPException) as problem:
            raise self._lost(problem) from problem

    def _take(self) -> _Connection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
                # A server that closed an idle connection has left an end of file to read: unlike a failed write,
                # that is known before anything is sent.
                if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                    self._busy[connection] = connection.sock, time.monotonic()
                    return connection
            connection.close()
        return self._connect()

    def _give_back(self, connection: _Connection, keep: bool) -> None:
        with self._lock:
            self._busy.pop(connection, None)
            if keep and connection.sock is not None:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> _Connection:
        endpoint = self.endpoint
        timeout = max(0.1, self._guard.remaining(endpoint.connect_timeout))
        if endpoint.proxy_host:
            connection = _Connection(endpoint.proxy_host, endpoint.proxy_port, timeout=timeout, context=self._tls)
            connection.set_tunnel(endpoint.hostname, endpoint.port)
        else:
            connection = _Connection(endpoint.hostname, endpoint.port, timeout=timeout, context=self._tls)
        connection.auto_open = 0  # http.client must not reconnect by itself, past the check of the pin
        with self._lock:
            self._busy[connection] = None, time.monotonic()
        # The time-out of a socket starts anew with every byte: this one covers TCP, proxy and TLS together.
        watchdog = threading.Timer(timeout, lambda: _shut(connection.sock))
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._check_pin(connection.sock)
            self.local_address = "" if endpoint.proxy_host else connection.sock.getsockname()[0]
        except (OSError, http.client.HTTPException, UnicodeError, FleetcareError) as problem:
            with self._lock:
                self._busy.pop(connection, None)
            connection.close()
            late = not watchdog.is_alive()
            raise NotSent(self._no_connection(TimeoutError() if late and not isinstance(problem, FleetcareError) else problem)) from problem
        finally:
            watchdog.cancel()
        with self._lock:
            self._busy[connection] = connection.sock, time.monotonic()
        return connection

    def _check_pin(self, sock: Any) -> None:
        seen = hashlib.sha256(sock.getpeercert(True)).hexdigest()
        self.certificate = seen
        if self.endpoint.thumbprint:
            if not hmac.compare_digest(seen, self.endpoint.thumbprint):
                raise TlsRefused(
                    f"the certificate's SHA-256 thumbprint is {seen}, not the one given",
                    hint="If the certificate was renewed, check it on the server and change thumbprint; "
                    "otherwise somebody sits in between.",
                )

    def _no_connection(self, problem: Exception) -> FleetcareError:
        endpoint = self.endpoint
        way = f" through the proxy {endpoint.proxy_host}:{endpoint.proxy_port}" if endpoint.proxy_host else ""
        place = {"target": endpoint.name, "doing": f"connecting{way}"}
        if isinstance(problem, FleetcareError):
            return problem.at(**place)
        if self._guard.reason:
            return Interrupted(f"stopped, because {self._guard.reason}", **place)
        if isinstance(problem, ssl.SSLCertVerificationError):
            return TlsRefused(
                f"its certificate is not trusted: {problem.verify_message}",
                hint="Give the authority's certificate as ca_file, or pin this one with thumbprint; "
                "validate_certs: false trusts anybody who answers.",
                **place,
            )
        if isinstance(problem, ssl.SSLError):
            return TlsRefused(
                f"no TLS there: {problem.reason or problem}", hint="Check hostname and port; vSphere listens on 443.", **place
            )
        if isinstance(problem, TimeoutError):
            return EndpointUnreachable(
                f"no answer within {endpoint.connect_timeout:g} s",
                hint="Check the address, the network and firewalls in between, or raise connect_timeout.",
                **place,
            )
        if isinstance(problem, socket.gaierror):
            return EndpointUnreachable("this name is not known to the resolver", hint="Check hostname, or use an IP address.", **place)
        return EndpointUnreachable(
            f"no connection: {getattr(problem, 'strerror', None) or problem}",
            hint="Check hostname and port, and that the service runs there.",
            **place,
        )

    def _lost(self, problem: Exception) -> FleetcareError:
        place = {"target": self.endpoint.name}
        if self._guard.reason:
            return Interrupted(f"stopped, because {self._guard.reason}", **place)
        if isinstance(problem, TimeoutError):
            return TimedOut(
                f"no answer within {self.endpoint.read_timeout:g} s",
                hint="The host or its management agent hangs; raise read_timeout if it is merely slow.",
                **place,
            )
        return EndpointUnreachable(
            f"the connection was lost: {ascii(str(problem))[1:-1][:200] or type(problem).__name__}",
            hint="The server, a proxy or a firewall closed it; run the task again.",
            **place,
        )


def _shut(sock: socket.socket | None) -> None:
    """End both directions without touching TLS: ``SSLSocket.shutdown`` drops the encryption first, and what another
    thread sends in that moment would leave in clear text."""
    if sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

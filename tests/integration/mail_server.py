# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real mail server on loopback, with TLS and logins, that keeps what it is given."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.simulator import tls

USER, PASSWORD = "audit", "s3cret of the mail server"


@dataclass
class Mailbox:
    """``refused``: recipients that it does not take. ``said``: all that clients sent as logins, and whether over TLS.
    ``challenges``: it prefers a login by CRAM-MD5, and accepts none."""

    host: str = "127.0.0.1"
    port: int = 0
    ca_file: str = ""
    refused: frozenset[str] = frozenset()
    answer: str = "250 OK"
    challenges: bool = False
    got: list[Envelope] = field(default_factory=list)
    said: list[tuple[str, str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.challenges:
            self.auth_CRAM__MD5 = self._challenged

    async def _challenged(self, server: SMTP, _words: list[str]) -> AuthResult:
        await server.challenge_auth(b"<1896.697170952@mail.example.com>")
        return AuthResult(success=False, handled=False)

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            self.got.append(envelope)
        return self.answer

    def login(self, _server: SMTP, session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        name, password = data.login.decode("utf-8"), data.password.decode("utf-8")
        self.said.append((name, password, session.ssl is not None))
        return AuthResult(success=(name, password) in ((USER, PASSWORD), ("prüfer", "pässword")), handled=False)

    def mail(self) -> EmailMessage:
        """The one that arrived, as the standard library reads it."""
        (envelope,) = self.got
        parsed = message_from_bytes(envelope.original_content or b"", policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@contextlib.contextmanager
def running(folder: pathlib.Path, *, security: str = "starttls", kind: str = "valid", login: bool = True, **more: Any) -> Iterator[Mailbox]:
    """``kind`` of the certificate: valid, expired or wrong_name. ``size``: bytes of a mail that it takes."""
    size = more.pop("size", 50_000_000)
    box = Mailbox(**more)
    context: ssl.SSLContext | None = None
    if security != "none":
        folder.mkdir(exist_ok=True)
        context = tls.context(tls.make(box.host, "mail.example.com", kind), folder)
        box.ca_file = str(folder / "ca.pem")
    options: dict[str, Any] = {"data_size_limit": size, "enable_SMTPUTF8": True}
    if login:
        options.update(authenticator=box.login, auth_required=True, auth_require_tls=security == "starttls")
    if security == "starttls":
        options.update(tls_context=context, require_starttls=True)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(box, loop=loop, **options), box.host, 0, ssl=context if security == "tls" else None)
    )
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

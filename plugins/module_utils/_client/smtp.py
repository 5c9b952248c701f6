# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands a mail to a mail server, over TLS whose certificate is checked. Private to this collection."""

from __future__ import annotations

import base64
import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

from .._domain.errors import BadInput, EndpointUnreachable, FleetcareError, LoginRefused, ServerFault, TimedOut, TlsRefused

PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True)
class MailServer:
    """``security``: starttls, tls or none. An empty ``username`` is no login."""

    host: str
    port: int
    security: str
    username: str
    password: str
    validate_certs: bool
    ca_file: str
    timeout: float

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def send(server: MailServer, message: EmailMessage, sender: str, recipients: Sequence[str]) -> dict[str, str]:
    """Recipients that the server refused, with its words, where it took the mail for others. Raises FleetcareError."""
    context = _context(server) if server.security != "none" else None
    with _sentences(server), contextlib.ExitStack() as stack:
        client = _connected(server, context)
        # A server that ends the conversation by itself has taken the mail, or said why not, by then.
        stack.callback(_leave, client)
        if server.security == "starttls" and context:
            _start_tls(client, context, server)
        if server.username:
            _log_in(client, server)
        _check_size(client, message, server)
        refused = client.send_message(message, sender, list(recipients))
    return {name: _words(code, text, server) for name, (code, text) in refused.items()}


def _context(server: MailServer) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=server.ca_file or None)
    except (OSError, ssl.SSLError) as problem:
        why = problem.strerror if isinstance(problem, OSError) and problem.strerror else "it holds no certificate"
        raise BadInput(
            f"ca_file {server.ca_file} cannot be used: {why}", hint="Name a PEM file on the machine that runs the task."
        ) from None
    if not server.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _connected(server: MailServer, context: ssl.SSLContext | None) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=server.timeout)


def _start_tls(client: smtplib.SMTP, context: ssl.SSLContext, server: MailServer) -> None:
    client.ehlo()
    if not client.has_extn("starttls"):
        raise TlsRefused(
            "the mail server does not offer STARTTLS",
            target=server.place,
            hint="Set security to tls, with the port for it (465), or to none where nobody can listen on the way.",
        )
    client.starttls(context=context)


def _log_in(client: smtplib.SMTP, server: MailServer) -> None:
    client.ehlo_or_helo_if_needed()
    if not client.has_extn("auth"):
        raise LoginRefused("the mail server takes no login", target=server.place, hint="Leave out username and password, or see its port.")
    if (server.username + server.password).isascii():
        client.login(server.username, server.password)
        return
    # The library speaks ASCII here; PLAIN is UTF-8 by its standard, RFC 4616.
    if "PLAIN" not in client.esmtp_features["auth"].upper().split():
        raise LoginRefused(
            "the name or the password has letters beyond ASCII, and the mail server does not take PLAIN logins",
            target=server.place,
            hint="Use a password of ASCII letters.",
        )
    code, text = client.docmd("AUTH", f"PLAIN {_plain(server)}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, text)


def _plain(server: MailServer) -> str:
    return base64.b64encode(f"\0{server.username}\0{server.password}".encode()).decode("ascii")


def _check_size(client: smtplib.SMTP, message: EmailMessage, server: MailServer) -> None:
    """Before it is sent: some servers hang up in the middle of what is too large."""
    client.ehlo_or_helo_if_needed()
    most = client.esmtp_features.get("size", "")
    size = len(message.as_bytes(policy=SMTP))
    if most.isdecimal() and 0 < int(most) < size:
        raise ServerFault(
            f"the mail has {size} bytes, and the mail server takes {most}",
            target=server.place,
            hint="Attach less, or put the page where people can open it and mail only the text.",
        )


def _leave(client: smtplib.SMTP) -> None:
    with contextlib.suppress(smtplib.SMTPException, OSError):
        client.quit()


@contextlib.contextmanager
def _sentences(server: MailServer) -> Iterator[None]:
    """Whatever the library or the server says, as an error of ours."""
    try:
        yield
    except FleetcareError:
        raise
    except ssl.SSLCertVerificationError as problem:
        raise TlsRefused(
            f"the mail server's certificate is not trusted: {problem.verify_message}",
            target=server.place,
            hint="Give the authority's certificate as ca_file; validate_certs: false trusts anybody who answers.",
        ) from None
    except ssl.SSLError as problem:
        raise TlsRefused(
            f"no TLS there: {problem.reason or problem}",
            target=server.place,
            hint="Check port and security: starttls is for 587, tls for 465.",
        ) from None
    except smtplib.SMTPAuthenticationError as problem:
        raise LoginRefused(
            f"the mail server refuses the login of {server.username}: {_words(problem.smtp_code, problem.smtp_error, server)}",
            target=server.place,
            hint="Check username and password; some servers want a password made for applications.",
        ) from None
    except smtplib.SMTPRecipientsRefused as problem:
        said = ", ".join(f"{name} ({_words(code, text, server)})" for name, (code, text) in problem.recipients.items())
        raise ServerFault(
            f"the mail server refuses every recipient: {said}", target=server.place, hint="Check to and cc, and whether it wants a login."
        ) from None
    except smtplib.SMTPSenderRefused as problem:
        said = _words(problem.smtp_code, problem.smtp_error, server)
        raise ServerFault(
            f"the mail server refuses the sender {problem.sender}: {said}",
            target=server.place,
            hint="Check sender, and whether the server wants a login.",
        ) from None
    except smtplib.SMTPNotSupportedError as problem:
        raise ServerFault(
            f"the mail server lacks something that this mail needs: {problem}",
            target=server.place,
            hint="Use addresses of ASCII letters only, or another server.",
        ) from None
    except smtplib.SMTPResponseException as problem:
        said = _words(problem.smtp_code, problem.smtp_error, server)
        raise ServerFault(f"the mail server refuses the mail: {said}", target=server.place, hint="Its own log says more.") from None
    except (TimeoutError, smtplib.SMTPServerDisconnected) as problem:
        # While it reads, the library takes silence for a server that has gone.
        if isinstance(problem, TimeoutError) or isinstance(problem.__context__, TimeoutError):
            raise TimedOut(
                f"the mail server was silent for {server.timeout:g} s",
                target=server.place,
                hint="Check port and security, or give it more timeout.",
            ) from None
        said = _clean(str(problem), server)
        raise ServerFault(
            f"the mail server broke off the conversation: {said}", target=server.place, hint="Its own log says why."
        ) from None
    except smtplib.SMTPException as problem:
        said = _clean(str(problem), server)
        raise ServerFault(
            f"the mail server does not speak as it should: {said}", target=server.place, hint="Check port and security."
        ) from None
    except socket.gaierror as problem:
        raise EndpointUnreachable(f"no mail server of that name: {problem.strerror}", target=server.place, hint="Check host.") from None
    except OSError as problem:
        raise EndpointUnreachable(
            f"no mail server answers: {problem.strerror or problem}", target=server.place, hint="Check host and port."
        ) from None


def _words(code: int, text: bytes | str, server: MailServer) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return _clean(f"{code} {words}", server)


def _clean(text: str, server: MailServer) -> str:
    """On one line, and without the password, should the server repeat it."""
    encoded = base64.b64encode(server.password.encode()).decode("ascii")
    for secret in (_plain(server), encoded, server.password) if server.password else ():
        text = text.replace(secret, "********")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:300]

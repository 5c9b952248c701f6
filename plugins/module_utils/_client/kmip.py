# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMIP to one key server: PyKMIP's messages over a TLS connection of our own. Private to this collection.

PyKMIP's client checks no host name, takes any length that a server announces, reads files of its user's, and logs messages; of PyKMIP only
what writes and reads messages is used. No operation that hands out key material is among those that can be asked for here.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import socket
import ssl
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._domain.errors import BadInput, EndpointUnreachable, FleetcareError, LoginRefused, ServerFault, TimedOut, TlsRefused, WriteRefused
from .endpoint import THUMBPRINT, plain_host

# It logs what it reads, and what it cannot read; a module's output is its result and nothing else.
_LOG = logging.getLogger("kmip")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False
_LOG.setLevel(logging.CRITICAL)

MISSING: tuple[str, str] | None
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kmip.core import attributes, enums
        from kmip.core.factories.credentials import CredentialFactory
        from kmip.core.messages import contents, messages, payloads
        from kmip.core.utils import BytearrayStream

    MISSING = None
except ImportError:
    MISSING = ("pykmip", traceback.format_exc())

# Keys in one message: with more, PyKMIP's reader, which copies what is left at each step, takes longer again.
BATCH = 100
# An answer about so many keys has some 40 kB. PyKMIP's own server sends no more than this either.
LARGEST = 1 << 20
_RESPONSE = b"\x42\x00\x7b\x01"  # tag Response Message, type Structure
_DATES = {
    "Initial Date": "initial",
    "Activation Date": "activation",
    "Deactivation Date": "deactivation",
    "Destroy Date": "destroy",
    "Compromise Occurrence Date": "compromise_occurrence",
    "Compromise Date": "compromise",
    "Last Change Date": "last_change",
}
_ATTRIBUTES = ["State", "Object Type", "Cryptographic Algorithm", "Cryptographic Length", "Name", *_DATES]
_FILE_MOST = 1 << 20
# Letters that TLS libraries use for "I do not take your certificate", as OpenSSL names them here.
_ALERTS = re.compile(
    r"ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED|HANDSHAKE_FAILURE|DECRYPT_ERROR)"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the server is and who we are. Times in seconds."""

    address: str
    port: int
    certificate: str
    private_key: str
    ca_file: str
    validate_certs: bool
    thumbprint: str
    username: str
    password: str = field(repr=False)
    version: str
    connect_timeout: float
    read_timeout: float

    @property
    def name(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return host if self.port == 5696 else f"{host}:{self.port}"

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Settings:
        """From module parameters. Raises BadInput; opens no connection."""
        texts = ("address", "certificate", "private_key", "ca_file", "thumbprint", "username", "password")
        for option in texts:
            if params.get(option) is not None and not params[option].strip():
                raise BadInput(f"{option} is empty", hint="Give it a value, or leave the option out.")
        given = {option: params.get(option) or "" for option in texts}
        if not 1 <= params["port"] <= 65535:
            raise BadInput(f"port {params['port']} is not a port", hint="Use a number from 1 to 65535; 5696 is the one of KMIP.")
        for option in ("connect_timeout", "read_timeout"):
            if not 0 < params[option] <= 86400:
                raise BadInput(f"{option} {params[option]:g} is not a time-out", hint="Use seconds above 0, a day at the most.")
        thumbprint = re.sub(r"[:\s]", "", given["thumbprint"]).lower()
        if thumbprint and not THUMBPRINT.match(thumbprint):
            raise BadInput(
                f"thumbprint has {len(thumbprint)} characters that are not a SHA-256 digest",
                hint="It is 64 hexadecimal digits: openssl x509 -in SERVER.pem -noout -fingerprint -sha256",
            )
        if bool(given["username"]) != bool(given["password"]):
            raise BadInput("username and password belong together", hint="Set both or none.")
        if given["private_key"] and not given["certificate"]:
            raise BadInput("private_key is given without certificate", hint="Give the certificate that belongs to the key.")
        if not given["certificate"] and not given["username"]:
            raise BadInput(
                "neither certificate nor username says who asks",
                hint="Give the KMIP client's certificate, with private_key; few key servers take a username and password alone.",
            )
        return cls(
            address=plain_host("address", given["address"]),
            port=params["port"],
            certificate=os.path.expanduser(given["certificate"]),
            private_key=os.path.expanduser(given["private_key"] or given["certificate"]),
            ca_file=os.path.expanduser(given["ca_file"]),
            validate_certs=params["validate_certs"],
            thumbprint=thumbprint,
            username=given["username"],
            password=given["password"],
            version=params["kmip_version"],
            connect_timeout=params["connect_timeout"],
            read_timeout=params["read_timeout"],
        )

    def tls_context(self) -> ssl.SSLContext:
        """As for every endpoint: a pinned certificate needs no authority; otherwise ca_file alone, or the system's store."""
        if self.ca_file:
            _pem("ca_file", self.ca_file, "CERTIFICATE")
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (ssl.SSLError, OSError) as problem:
            raise BadInput(
                f"ca_file {self.ca_file} cannot be used: {_words(problem)}", hint="It has to hold PEM certificates."
            ) from problem
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Who puts the server's own certificate into ca_file trusts it; newer Pythons see it so without being told.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.thumbprint or not self.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            self._present(context)
        return context

    def _present(self, context: ssl.SSLContext) -> None:
        """The client's certificate and key. OpenSSL would ask for a passphrase on the terminal."""
        apart = self.private_key != self.certificate
        _pem("certificate", self.certificate, "CERTIFICATE")
        _pem("private_key" if apart else "certificate", self.private_key, "PRIVATE KEY")
        named = f"private_key {self.private_key}" if apart else f"the private key in certificate {self.certificate}"
        asked = []

        def passphrase() -> str:
            asked.append(True)
            return ""

        try:
            context.load_cert_chain(self.certificate, self.private_key, passphrase)
        except (ssl.SSLError, OSError, ValueError) as problem:
            if asked:
                raise BadInput(
                    f"{named} is encrypted with a passphrase",
                    hint="Give a copy without one, readable by you alone: openssl pkey -in KEY -out COPY; chmod 600 COPY",
                ) from None
            if getattr(problem, "reason", "") == "KEY_VALUES_MISMATCH":
                raise BadInput(
                    f"{named} does not belong to the certificate {self.certificate}",
                    hint="Give the key that the certificate was made for; the chain's first certificate has to be the client's own.",
                ) from None
            raise BadInput(
                f"certificate {self.certificate} with {named} cannot be used: {_words(problem)}", hint="Both have to be PEM files."
            ) from None


def _pem(option: str, path: str, kind: str) -> None:
    """A file that can be read and holds what it should; its content is not looked at any further here, and never shown."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(_FILE_MOST)
    except OSError as problem:
        raise BadInput(
            f"{option} {path} cannot be read: {problem.strerror or type(problem).__name__}",
            hint="Give the path of a PEM file on the machine that runs the module.",
        ) from None
    if not re.search(rb"-----BEGIN ([A-Z0-9]+ )*" + kind.encode() + rb"-----", content):
        raise BadInput(
            f"{option} {path} holds no {kind.lower()} in PEM form",
            hint=f"It has to hold a line -----BEGIN {kind}-----; openssl turns other forms into it.",
        )


class _NoBatch(Exception):
    """The server, or PyKMIP's reader, does not manage this many at once. ``untouched``: the server says that it did nothing."""

    def __init__(self, text: str, *, untouched: bool = False) -> None:
        super().__init__(text)
        self.untouched = untouched


class _Lost(Exception):
    """A connection that ended; carries the reason as ``cause``."""

    def __init__(self, cause: FleetcareError) -> None:
        super().__init__(cause.sentence)
        self.cause = cause


def connect(params: Mapping[str, Any], check: bool) -> Server:
    """A server to be used in a with statement. Raises BadInput before, and other errors on entering."""
    settings = Settings.parse(params)
    return Server(settings, settings.tls_context(), writable=not check)


class Server:
    """One connection, made again should it be lost between two messages."""

    def __init__(self, settings: Settings, context: ssl.SSLContext, *, writable: bool) -> None:
        self._settings = settings
        self._context = context
        self._writable = writable
        self._socket: ssl.SSLSocket | None = None
        self._most = BATCH
        self._fingerprint = ""
        major, _dot, minor = settings.version.partition(".")
        self._protocol = (int(major), int(minor))
        self._version = enums.KMIPVersion[f"KMIP_{major}_{minor}"]

    def __enter__(self) -> Server:
        self._open()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def describe(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "address": settings.address,
            "port": settings.port,
            "certificate": self._fingerprint,
            "kmip_version": settings.version,
        }

    # ---- what can be asked for ----------------------------------------------------------------------------------------------------

    def look(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the server tells about each key: attributes, or ``refused`` with reason and words, or ``problem``."""
        answers: dict[str, dict[str, Any]] = {}
        todo = list(ids)
        alone = 0  # so many of the next ones are asked for one by one: a key whose answer cannot be read hides no other
        lost = False
        while todo:
            part = todo[: 1 if alone else self._most]
            try:
                answers.update(self._look(part))
                lost = False
            except _NoBatch as problem:
                lost = False
                if len(part) > 1:
                    alone = len(part)
                    continue
                answers[part[0]] = {"problem": self._plain(problem)}
            except _Lost as problem:
                if isinstance(problem.cause, (TimedOut, TlsRefused)):
                    raise problem.cause from None
                if len(part) > 1:
                    self._most = 1  # it hung up on a batch: reading does no harm a second time, one by one
                    continue
                if lost or len(ids) == 1:
                    raise problem.cause from None
                lost = True  # over this key, it may be; over two in a row it is not for the keys
                answers[part[0]] = {"problem": problem.cause}
            alone = max(0, alone - len(part))
            del todo[: len(part)]
        return answers

    def activate(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """For each id that was sent: empty, ``refused``, or ``problem`` where the answer says nothing. Nothing is sent twice, and nothing
        any more once the connection is lost."""
        if not self._writable:
            raise WriteRefused("a check run was about to activate keys")
        answers: dict[str, dict[str, Any]] = {}
        todo = list(ids)
        while todo:
            part = todo[: self._most]
            rows = [
                (enums.Operation.ACTIVATE, payloads.ActivateRequestPayload(unique_identifier=attributes.UniqueIdentifier(one)))
                for one in part
            ]
            try:
                for one, item in zip(part, self._ask(rows), strict=True):
                    refused = _refused(item)
                    answers[one] = {"refused": refused} if refused else {}
            except _NoBatch as problem:
                if problem.untouched:
                    continue  # one by one from here on
                answers.update({one: {"problem": self._plain(problem)} for one in part})
            except (_Lost, FleetcareError) as problem:
                answers.update({one: {"problem": self._plain(problem)} for one in part})
                break
            del todo[: len(part)]
        return answers

    def _look(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        rows = [
            (enums.Operation.GET_ATTRIBUTES, payloads.GetAttributesRequestPayload(unique_identifier=one, attribute_names=_ATTRIBUTES))
            for one in ids
        ]
        return {one: _answer(one, item) for one, item in zip(ids, self._ask(rows), strict=True)}

    def _plain(self, problem: Exception) -> FleetcareError:
        if isinstance(problem, _Lost):
            return problem.cause
        if isinstance(problem, FleetcareError):
            return problem
        return ServerFault(
            f"PyKMIP cannot read the answer: {problem}",
            target=self._settings.name,
            hint="Try another kmip_version, or a newer PyKMIP; the key server's own console shows the key.",
        )

    # ---- messages -----------------------------------------------------------------------------------------------------------------

    def _ask(self, rows: Sequence[tuple[Any, Any]]) -> list[Any]:
        """One message; an answer for each row, in order."""
        body = self._written(rows)
        data = self._exchange(body)
        response = messages.ResponseMessage()
        try:
            response.read(BytearrayStream(data), self._version)
            items = list(response.batch_items)
            by_number = {bytes(item.unique_batch_item_id.value): item for item in items if item.unique_batch_item_id is not None}
        except Exception as problem:  # PyKMIP's reader raises what comes, in whatever a server sends it
            raise _NoBatch(_clean(f"{type(problem).__name__}: {problem}")) from None
        for item in items:
            self._let_in(item)
        if len(items) == len(rows) == 1:
            self._understood(items[0])
            return items
        if len(items) == len(rows) and all(_number(number) in by_number for number in range(len(rows))):
            return [by_number[_number(number)] for number in range(len(rows))]
        if len(rows) == 1:
            raise _NoBatch(f"{len(items)} answers to one question")
        self._most = 1
        untouched = len(items) == 1 and items[0].operation is None and _refused(items[0]) is not None
        raise _NoBatch(f"{len(items)} answers to {len(rows)} questions", untouched=untouched)

    def _written(self, rows: Sequence[tuple[Any, Any]]) -> bytes:
        settings = self._settings
        items = [
            messages.RequestBatchItem(
                operation=contents.Operation(operation),
                unique_batch_item_id=contents.UniqueBatchItemID(_number(number)) if len(rows) > 1 else None,
                request_payload=payload,
            )
            for number, (operation, payload) in enumerate(rows)
        ]
        authentication = None
        if settings.username:
            value = {"Username": settings.username, "Password": settings.password}
            credential = CredentialFactory().create_credential(enums.CredentialType.USERNAME_AND_PASSWORD, value)
            authentication = contents.Authentication([credential])
        header = messages.RequestHeader(
            protocol_version=contents.ProtocolVersion(*self._protocol),
            authentication=authentication,
            batch_count=contents.BatchCount(len(items)),
        )
        if len(items) > 1:
            # Without it the first key that is not there would end the message.
            option = enums.BatchErrorContinuationOption.CONTINUE
            header.batch_error_cont_option = contents.BatchErrorContinuationOption(option)
        stream = BytearrayStream()
        messages.RequestMessage(request_header=header, batch_items=items).write(stream, self._version)
        return bytes(stream.buffer)

    def _let_in(self, item: Any) -> None:
        refused = _refused(item)
        if refused and refused[0] == "AUTHENTICATION_NOT_SUCCESSFUL":
            raise LoginRefused(
                f"the key server does not accept who asks: {refused[1] or refused[0]}",
                target=self._settings.name,
                hint="Check username and password where it wants them, and that the certificate is one of a client that it knows "
                "(extended key usage clientAuth, registered there, not expired).",
            )

    def _understood(self, item: Any) -> None:
        """An answer that names no operation is about the message, and with these reasons it would be the same for every key."""
        refused = _refused(item)
        if refused and item.operation is None and refused[0] in ("INVALID_MESSAGE", "UNSUPPORTED_PROTOCOL_VERSION"):
            raise ServerFault(
                f"the key server refuses the message: {refused[1] or refused[0]}",
                fault=refused[0],
                target=self._settings.name,
                hint=f"It may not speak KMIP {self._settings.version}: try another kmip_version; its own log says more.",
            )

    # ---- the connection -----------------------------------------------------------------------------------------------------------

    def _exchange(self, body: bytes) -> bytes:
        if self._socket is None:
            self._open()
        ends = time.monotonic() + self._settings.read_timeout
        try:
            self._patience(ends)
            self._socket.sendall(body)  # type: ignore[union-attr]
            header = self._read(8, ends)
            size = int.from_bytes(header[4:], "big")
            if header[:4] != _RESPONSE:
                raise EndpointUnreachable(
                    "what answers there does not speak KMIP",
                    target=self._settings.name,
                    hint="Check address and port; 5696 is the usual one, and a web console has another.",
                )
            if size > LARGEST:
                raise ServerFault(
                    f"it announces an answer of {size} bytes, and none has a reason to be longer than {LARGEST}",
                    target=self._settings.name,
                    hint="Check that address and port are those of the key server.",
                )
            return header + self._read(size, ends)
        except FleetcareError:
            self._close()
            raise
        except OSError as problem:
            self._close()
            raise _Lost(self._lost(problem)) from None

    def _read(self, size: int, ends: float) -> bytes:
        """Exactly so many bytes, by a moment: the time-out of a socket alone starts anew with every byte."""
        data = bytearray()
        while len(data) < size:
            self._patience(ends)
            more = self._socket.recv(min(size - len(data), 65536))  # type: ignore[union-attr]
            if not more:
                raise ConnectionResetError("the key server ended it")
            data += more
        return bytes(data)

    def _patience(self, ends: float) -> None:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)  # type: ignore[union-attr]

    def _open(self) -> None:
        settings = self._settings
        ends = time.monotonic() + settings.connect_timeout
        raw = None
        try:
            raw = self._reach(ends)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(max(0.1, ends - time.monotonic()))
            self._socket = self._context.wrap_socket(raw, server_hostname=settings.address)
            self._check_pin()
        except (OSError, UnicodeError, FleetcareError) as problem:
            self._close()
            if raw is not None:
                raw.close()
            raise (problem if isinstance(problem, FleetcareError) else self._no_connection(problem, tls=raw is not None)) from None

    def _reach(self, ends: float) -> socket.socket:
        """Each address of the name in turn, with an equal share of the time that is left."""
        settings = self._settings
        found = socket.getaddrinfo(settings.address, settings.port, type=socket.SOCK_STREAM)
        problem: OSError = OSError("no address")
        for number, (*_kind, address) in enumerate(found):
            left = max(0.1, ends - time.monotonic())
            try:
                return socket.create_connection((str(address[0]), settings.port), left / (len(found) - number))
            except OSError as refused:
                problem = refused
        raise problem

    def _check_pin(self) -> None:
        """Before anything is sent."""
        shown = self._socket.getpeercert(True) if self._socket else None
        self._fingerprint = hashlib.sha256(shown or b"").hexdigest()
        if self._settings.thumbprint and not hmac.compare_digest(self._fingerprint, self._settings.thumbprint):
            raise TlsRefused(
                f"the certificate's SHA-256 thumbprint is {self._fingerprint}, not the one given",
                target=self._settings.name,
                doing="connecting",
                hint="If the certificate was renewed, check it on the server and change thumbprint; otherwise somebody sits in between.",
            )

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ---- what went wrong ----------------------------------------------------------------------------------------------------------

    def _no_connection(self, problem: Exception, *, tls: bool) -> FleetcareError:
        settings = self._settings
        place = {"target": settings.name, "doing": "connecting"}
        if isinstance(problem, ssl.SSLCertVerificationError):
            return TlsRefused(
                f"its certificate is not trusted: {problem.verify_message}",
                hint="Give the certificate of the authority that signed it as ca_file, and as address a name that stands in it; or pin it with "
                "thumbprint. validate_certs: false trusts anybody who answers.",
                **place,
            )
        if isinstance(problem, TimeoutError):
            return EndpointUnreachable(
                f"no {'TLS ' if tls else ''}answer within {settings.connect_timeout:g} s",
                hint="Check address and port, the network and firewalls in between, or raise connect_timeout.",
                **place,
            )
        if tls and (refusal := self._unwelcome(problem)):
            return refusal.at(**place)
        if isinstance(problem, ssl.SSLError) and "EOF" not in str(problem):
            return TlsRefused(
                f"TLS fails: {_words(problem)}",
                hint="Check address and port; key servers listen for KMIP on 5696, and TLS 1.2 is the oldest that is spoken here.",
                **place,
            )
        if tls:
            return TlsRefused(
                "it hangs up in the TLS handshake",
                hint="Check that the key server accepts this client certificate, and that the port is the one of KMIP.",
                **place,
            )
        if isinstance(problem, socket.gaierror):
            return EndpointUnreachable("this name is not known to the resolver", hint="Check address, or use an IP address.", **place)
        return EndpointUnreachable(
            f"no connection: {_words(problem)}", hint="Check address and port, and that the key server runs there.", **place
        )

    def _lost(self, problem: Exception) -> FleetcareError:
        settings = self._settings
        if isinstance(problem, TimeoutError):
            return TimedOut(
                f"no answer within {settings.read_timeout:g} s",
                target=settings.name,
                hint="The key server hangs; raise read_timeout if it is merely slow.",
            )
        # With TLS 1.3 a server looks at the client's certificate only when the client believes that the handshake is over.
        return self._unwelcome(problem) or EndpointUnreachable(
            f"the connection was lost: {_words(problem)}",
            target=settings.name,
            hint="Check that the key server accepts this client certificate and speaks KMIP on this port; its own log says why it hung up.",
        )

    def _unwelcome(self, problem: Exception) -> TlsRefused | None:
        found = isinstance(problem, ssl.SSLError) and _ALERTS.search(str(problem.reason or problem))
        if not found:
            return None
        what = "this client certificate" if self._settings.certificate else "a client without certificate"
        return TlsRefused(
            f"the key server does not accept {what}: {_words(problem)}",
            target=self._settings.name,
            hint="Have it trusted on the key server, with its authority, or give one that is as certificate and private_key; look at its dates, "
            "too.",
        )


# ---- reading answers --------------------------------------------------------------------------------------------------------------


def _number(number: int) -> bytes:
    return str(number).encode()


def _refused(item: Any) -> tuple[str, str] | None:
    if item.result_status.value is enums.ResultStatus.SUCCESS:
        return None
    reason = item.result_reason.value.name if item.result_reason is not None else item.result_status.value.name
    return reason, _clean(item.result_message.value if item.result_message is not None else "")


def _answer(one: str, item: Any) -> dict[str, Any]:
    refused = _refused(item)
    if refused:
        return {"refused": refused}
    payload = item.response_payload
    if payload is None or getattr(payload, "unique_identifier", None) != one:
        return {"problem": ServerFault("the answer is not about the key that was asked for", hint="The key server's own log says more.")}
    found: dict[str, Any] = {"names": [], "dates": {}}
    try:
        for row in payload.attributes:
            _keep(found, str(row.attribute_name.value), row.attribute_value)
    except (AttributeError, TypeError, ValueError) as problem:
        return {
            "problem": ServerFault(f"PyKMIP cannot read an attribute: {_clean(str(problem))}", hint="The key server's console shows it.")
        }
    return found


def _keep(found: dict[str, Any], name: str, value: Any) -> None:
    if name in _DATES:
        found["dates"][_DATES[name]] = int(value.value)
    elif name == "Name":
        found["names"].append(_clean(value.name_value.value))
    elif name == "State":
        found["state"] = value.value.name.lower()
    elif name == "Object Type":
        found["object_type"] = value.value.name.lower()
    elif name == "Cryptographic Algorithm":
        found["algorithm"] = value.value.name
    elif name == "Cryptographic Length":
        found["length"] = int(value.value)


def _words(problem: Exception) -> str:
    """What OpenSSL or the system says, without the place in Python's own source."""
    reason = getattr(problem, "reason", None)
    if isinstance(problem, ssl.SSLError) and reason:
        return _clean(str(reason).lower().replace("_", " "))
    said = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return _clean(re.sub(r"\s*\(_ssl\.c:\d+\)", "", str(said)))


def _clean(text: Any) -> str:
    """A stranger's words: in one line, what can be seen of them, and not too many."""
    return "".join(char if char.isprintable() else " " for char in str(text))[:200].strip()

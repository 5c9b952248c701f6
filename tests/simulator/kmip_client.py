# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMIP as the simulated vCenter speaks it: PyKMIP's own client, with many items in one message and vSphere's idea of whom to trust."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import ssl
import warnings
from dataclasses import dataclass
from typing import Any

TIMEOUT = 10.0
BATCH = 250  # items of one message; a server takes 1 MiB


class Unreachable(Exception):
    """No connection, or not one that both sides trust."""


class Untrusted(Unreachable):
    """TLS fails: `client` says that it is us who refuse the server."""

    def __init__(self, text: str, client: bool) -> None:
        super().__init__(text)
        self.client = client


class KeyFault(Exception):
    """The server answers, and refuses."""


@dataclass(frozen=True)
class Credentials:
    """Files of a client's certificate and private key, and the certificates (PEM) that it trusts: a server's own, or a CA's."""

    certificate: str | None
    key: str | None
    trusted: tuple[str, ...]


def context(credentials: Credentials) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a server's own certificate is enough to trust it
    made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_2
    if credentials.trusted:
        made.load_verify_locations(cadata="\n".join(dict.fromkeys(credentials.trusted)))
    if credentials.certificate is not None and credentials.key is not None:
        made.load_cert_chain(credentials.certificate, credentials.key)
    return made


class Session:
    """One connection. Use it in a with statement."""

    def __init__(self, address: str, port: int, credentials: Credentials) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from kmip.services.kmip_client import KMIPProxy
        logging.getLogger("kmip").setLevel(logging.CRITICAL)  # it would log every message, keys included
        self._proxy = KMIPProxy(
            host=address, port=port, cert_reqs="CERT_REQUIRED", ssl_version="PROTOCOL_TLSv1_2", do_handshake_on_connect=True,
            suppress_ragged_eofs=True, timeout=TIMEOUT, config_file=os.devnull,  # not what the user has in his own ~/.pykmip
        )  # fmt: skip
        self._address, self._port, self._credentials = address, port, credentials

    def __enter__(self) -> Session:
        from kmip.services.kmip_protocol import KMIPProtocol

        try:
            plain = socket.create_connection((self._address, self._port), TIMEOUT)
        except OSError as exc:
            raise Unreachable(f"connection failed: {exc.strerror or exc}") from None
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._proxy.socket = context(self._credentials).wrap_socket(plain)
        except ssl.SSLCertVerificationError as exc:
            plain.close()
            raise Untrusted(f"the server's certificate is not trusted: {exc.verify_message}", True) from None
        except OSError as exc:
            plain.close()
            # A server that closes during the handshake has looked at our certificate, or has gone.
            alert = isinstance(exc, ssl.SSLError) and "ALERT" in str(exc).upper()
            raise (Untrusted if alert else _gone)(f"TLS failed: {exc}", False) from None
        self._proxy.protocol = KMIPProtocol(self._proxy.socket)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._proxy.close()

    # ---- messages -------------------------------------------------------------------------------------------------------------
    def _send(self, rows: list[tuple[Any, Any]]) -> list[Any]:
        """Operations and their payloads in as few messages as possible; one answer for each, in order."""
        from kmip.core import enums
        from kmip.core.messages import contents, messages

        answers: list[Any] = []
        for begin in range(0, len(rows), BATCH):
            part = rows[begin : begin + BATCH]
            items = [
                messages.RequestBatchItem(
                    operation=contents.Operation(operation),
                    unique_batch_item_id=contents.UniqueBatchItemID(str(number).encode()) if len(part) > 1 else None,
                    request_payload=payload,
                )
                for number, (operation, payload) in enumerate(part)
            ]
            request = self._proxy._build_request_message(None, items)
            request.request_header.batch_error_cont_option = contents.BatchErrorContinuationOption(
                enums.BatchErrorContinuationOption.CONTINUE
            )
            try:
                response = self._proxy._send_and_receive_message(request)
            except (OSError, EOFError, ValueError) as exc:
                # With TLS 1.2 a server that does not trust us closes the connection in the handshake or right behind it.
                raise Unreachable(f"the connection was lost: {exc}") from None
            except Exception as exc:
                raise Unreachable(f"no answer: {exc}") from None
            answers.extend(response.batch_items)
        if len(answers) != len(rows):
            raise KeyFault(_reason(answers[-1]) if answers else "no answer")
        return answers

    def _all(self, rows: list[tuple[Any, Any]]) -> list[Any]:
        answers = self._send(rows) if rows else []
        for answer in answers:
            _check(answer)
        return answers

    def _one(self, operation: Any, payload: Any) -> Any:
        (answer,) = self._send([(operation, payload)])
        _check(answer)
        return answer.response_payload

    # ---- operations -----------------------------------------------------------------------------------------------------------
    def ping(self) -> None:
        from kmip.core import enums
        from kmip.core.messages import payloads

        self._one(enums.Operation.QUERY, payloads.QueryRequestPayload([enums.QueryFunction.QUERY_OPERATIONS]))

    def create(self, labels: list[str], activate: bool = True) -> list[str]:
        """AES-256 keys of these names, made by the server."""
        from kmip.core import attributes, enums, objects
        from kmip.core.factories.attributes import AttributeFactory
        from kmip.core.messages import payloads

        factory = AttributeFactory()
        kinds = enums.AttributeType
        rows: list[tuple[Any, Any]] = []
        for label in labels:
            wanted = [
                factory.create_attribute(kinds.CRYPTOGRAPHIC_ALGORITHM, enums.CryptographicAlgorithm.AES),
                factory.create_attribute(kinds.CRYPTOGRAPHIC_LENGTH, 256),
                factory.create_attribute(
                    kinds.CRYPTOGRAPHIC_USAGE_MASK, [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
                ),
                factory.create_attribute(kinds.NAME, label),
            ]
            template = objects.TemplateAttribute(attributes=wanted)
            rows.append((enums.Operation.CREATE, payloads.CreateRequestPayload(enums.ObjectType.SYMMETRIC_KEY, template)))
        made = self._all(rows)
        ids = [str(answer.response_payload.unique_identifier) for answer in made]
        if activate:
            self._all([(enums.Operation.ACTIVATE, payloads.ActivateRequestPayload(attributes.UniqueIdentifier(one))) for one in ids])
        return ids

    def states(self, keys: list[str]) -> dict[str, str | None]:
        """KMIP's states by key id ("PRE_ACTIVE", "ACTIVE", "DEACTIVATED", "COMPROMISED"), None for what the server does not have."""
        from kmip.core import enums
        from kmip.core.messages import payloads

        wanted = list(dict.fromkeys(keys))
        found: dict[str, str | None] = {}
        rows = [(enums.Operation.GET_ATTRIBUTES, payloads.GetAttributesRequestPayload(key, ["State"])) for key in wanted]
        for key, answer in zip(wanted, self._send(rows) if rows else (), strict=True):
            if _missing(answer):
                found[key] = None
                continue
            _check(answer)
            found[key] = str(answer.response_payload.attributes[0].attribute_value.value.name)
        return found

    def digests(self, keys: list[str]) -> dict[str, str]:
        """A digest of each key's material; what the server does not have is left out. The material goes no further."""
        from kmip.core import enums
        from kmip.core.messages import payloads

        rows = [(enums.Operation.GET, payloads.GetRequestPayload(unique_identifier=key)) for key in keys]
        out = {}
        for key, answer in zip(keys, self._send(rows) if rows else (), strict=True):
            if not _missing(answer):
                _check(answer)
                material = answer.response_payload.secret.key_block.key_value.key_material.value
                out[key] = hashlib.sha256(material).hexdigest()
        return out

    def activate(self, key: str) -> None:
        from kmip.core import attributes, enums
        from kmip.core.messages import payloads

        self._one(enums.Operation.ACTIVATE, payloads.ActivateRequestPayload(attributes.UniqueIdentifier(key)))

    def revoke(self, key: str, compromised: bool = False) -> None:
        from kmip.core import attributes, enums, objects
        from kmip.core.messages import payloads

        codes = enums.RevocationReasonCode
        reason = objects.RevocationReason(code=codes.KEY_COMPROMISE if compromised else codes.CESSATION_OF_OPERATION)
        self._one(
            enums.Operation.REVOKE,
            payloads.RevokeRequestPayload(unique_identifier=attributes.UniqueIdentifier(key), revocation_reason=reason),
        )

    def compromise(self, key: str) -> None:
        self.revoke(key, True)

    def destroy(self, key: str) -> None:
        from kmip.core import attributes, enums
        from kmip.core.messages import payloads

        self._one(enums.Operation.DESTROY, payloads.DestroyRequestPayload(attributes.UniqueIdentifier(key)))


def _gone(text: str, _client: bool) -> Unreachable:
    return Unreachable(text)


def _reason(answer: Any) -> str:
    message = answer.result_message.value if answer.result_message is not None else ""
    return f"{answer.result_reason.value.name if answer.result_reason is not None else 'FAILED'}: {message}"


def _missing(answer: Any) -> bool:
    return answer.result_reason is not None and answer.result_reason.value.name == "ITEM_NOT_FOUND"


def _check(answer: Any) -> None:
    if answer.result_status.value.name != "SUCCESS":
        raise KeyFault(_reason(answer))


def peek(address: str, port: int) -> bytes | None:
    """The certificate (DER) that a server shows, whether or not either side trusts the other. TLS 1.2 sends it in clear, before it asks for
    ours, and Python's ssl gives no certificate of a handshake that fails: hence this look at the bytes. None when nobody shows one."""
    naked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    naked.check_hostname = False
    naked.verify_mode = ssl.CERT_NONE
    naked.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = naked.wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    try:
        with socket.create_connection((address, port), TIMEOUT) as connection:
            connection.settimeout(TIMEOUT)
            connection.sendall(outgoing.read())
            data = b""
            while True:
                found = _first_certificate(data)
                if found is not None:
                    return found
                more = connection.recv(65536)
                if not more or len(data) > 1 << 17:
                    return None
                data += more
    except OSError:
        return None


def _first_certificate(data: bytes) -> bytes | None:
    """Out of TLS records: the first certificate of the handshake message Certificate (type 11), None while it is not all there."""
    handshake, at = b"", 0
    while at + 5 <= len(data):
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if at + 5 + size > len(data):
            break
        if data[at] == 22:
            handshake += data[at + 5 : at + 5 + size]
        at += 5 + size
    at = 0
    while at + 4 <= len(handshake):
        size = int.from_bytes(handshake[at + 1 : at + 4], "big")
        if at + 4 + size > len(handshake):
            return None
        if handshake[at] == 11:
            body = handshake[at + 4 : at + 4 + size]
            first = int.from_bytes(body[3:6], "big")
            return body[6 : 6 + first] or None
        at += 4 + size
    return None

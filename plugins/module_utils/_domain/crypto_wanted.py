# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user wants of encrypted machines and of a key provider. Private to this collection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .crypto_model import Permission, Placement
from .errors import BadInput
from .record import entries_of, exactly

RECORD = "fleetcare.esxi vms 1"
_PEM = re.compile(r"-----BEGIN (?P<kind>[A-Z ]+)-----(?P<body>[A-Za-z0-9+/=\s]+?)-----END (?P=kind)-----")
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ServerWish:
    name: str
    address: str
    port: int = 5696
    user: str = ""
    password: str = field(default="", repr=False)
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderWish:
    """``certificate`` with ``private_key``: what vCenter shall show; without: the signed answer to vCenter's own request."""

    name: str
    servers: tuple[ServerWish, ...] = ()
    certificate: str = ""
    private_key: str = field(default="", repr=False)
    request: bool = False
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """``acts`` False: only tell. ``wait``: seconds for providers to come back. ``without``: a provider of which is asked what
    would lock if it went away."""

    acts: bool = False
    wait: float = 0.0
    reregister: bool = False
    enable_hosts: bool = False
    provider: ProviderWish | None = None
    restore: tuple[Placement, ...] = ()
    without: str = ""
    csv: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        if self.provider is None:
            return ()
        found = [self.provider.private_key, *(server.password for server in self.provider.servers)]
        return tuple(text for text in found if text)


def parse(params: Mapping[str, Any]) -> Wanted:
    """Module options as a wish. Raises BadInput."""
    wait = params.get("wait_for_provider") or 0.0
    if not 0 <= wait <= 86400:
        raise BadInput(f"wait_for_provider {wait:g} is not between 0 and 86400 seconds", hint="0 means: do not wait.")
    if wait and wait >= (params.get("deadline") or 86400):
        raise BadInput(
            f"wait_for_provider {wait:g} does not end before the deadline of {params['deadline']:g} s",
            hint="Raise deadline, so that there is time to unlock afterwards.",
        )
    reregister = bool(params.get("reregister"))
    if reregister and not params.get("backup"):
        raise BadInput(
            "reregister: true is given without backup: true",
            hint="A machine is in no inventory for a moment; give backup: true, so that a record of its place is written first.",
        )
    without = params.get("without_provider")
    if without is not None and not without.strip():
        raise BadInput("without_provider is empty", hint="Leave it out, or name a key provider; often a variable is empty there.")
    return Wanted(
        acts="reregister" in params,
        wait=float(wait),
        reregister=reregister,
        enable_hosts=bool(params.get("enable_hosts")),
        provider=None if params.get("key_provider") is None else _provider(params["key_provider"]),
        restore=() if params.get("restore") is None else entries_of(params["restore"], RECORD, "vms", "machine", "machines", _placement),
        without=(without or "").strip(),
        csv=bool(params.get("csv") or params.get("csv_file")),
    )


# ---- the key provider -----------------------------------------------------------------------------------------------


def _provider(given: Mapping[str, Any]) -> ProviderWish:
    name = (given.get("name") or "").strip()
    if not name:
        raise BadInput("key_provider has no name", hint="Keys name their provider: give exactly the name that they have.")
    servers = tuple(_server(number, server) for number, server in enumerate(given.get("servers") or (), 1))
    names = [server.name for server in servers]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice:
        raise BadInput(f"key_provider has two servers of the name {twice}", hint="Give each server a name of its own.")
    certificate, private_key = (given.get("certificate") or "").strip(), (given.get("private_key") or "").strip()
    if private_key and not certificate:
        raise BadInput("key_provider has private_key without certificate", hint="Give the certificate that belongs to it.")
    if certificate:
        fingerprint_of(certificate)
    if private_key and "PRIVATE KEY-----" not in private_key:
        raise BadInput(
            "key_provider: private_key is no PEM text", hint="Give the text of the file, with lookup('ansible.builtin.file', ...)."
        )
    if private_key and "ENCRYPTED" in private_key.partition("\n\n")[0]:
        raise BadInput(
            "key_provider: private_key is encrypted", hint="vCenter takes no passphrase; give the key without one, from a vault."
        )
    if given.get("request") and certificate:
        raise BadInput("key_provider has both request and certificate", hint="Drop request once the certificate is there.")
    return ProviderWish(
        name=name,
        servers=servers,
        certificate=certificate,
        private_key=private_key,
        request=bool(given.get("request")),
        default=bool(given.get("default")),
    )


def _server(number: int, given: Mapping[str, Any]) -> ServerWish:
    address = (given.get("address") or "").strip()
    if not address or any(sign in address for sign in "/ @"):
        raise BadInput(
            f"key_provider: the address {address!r} of server {number} is no host name and no IP address",
            hint="Give it without scheme, port and path.",
        )
    port = 5696 if given.get("port") is None else given["port"]
    if not 1 <= port <= 65535:
        raise BadInput(f"key_provider: the port {port} of server {address} is not between 1 and 65535", hint="KMIP's own is 5696.")
    fingerprint = re.sub(r"(?i)^sha-?256[:=]|[\s:]", "", given.get("fingerprint") or "").lower()
    if fingerprint and not _FINGERPRINT.fullmatch(fingerprint):
        raise BadInput(
            f"key_provider: the fingerprint of server {address} is no SHA-256 fingerprint",
            hint="It has 64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in FILE.",
        )
    return ServerWish(
        name=(given.get("name") or "").strip() or address,
        address=address,
        port=port,
        user=given.get("username") or "",
        password=given.get("password") or "",
        fingerprint=fingerprint,
    )


def fingerprint_of(certificate: str) -> str:
    """SHA-256 of the first certificate in a PEM text, in small digits. Raises BadInput."""
    found = next((block for block in _PEM.finditer(certificate) if block["kind"] in _CERTIFICATES), None)
    try:
        if found is None:
            raise ValueError
        return hashlib.sha256(base64.b64decode("".join(found["body"].split()), validate=True)).hexdigest()
    except (ValueError, binascii.Error):
        raise BadInput(
            "key_provider: certificate is no certificate in PEM form",
            hint="Give the text of the file, with lookup('ansible.builtin.file', ...).",
        ) from None


# ---- the record -----------------------------------------------------------------------------------------------------


_PLACE = ("name", "path", "folder", "pool", "host", "datacenter", "vcenter")


def as_record(placement: Placement) -> dict[str, Any]:
    """What ``_placement`` takes back."""
    return {
        "name": placement.name,
        "path": placement.path,
        "folder": placement.folder,
        "pool": placement.pool,
        "host": placement.host,
        "datacenter": placement.datacenter,
        "vcenter": placement.vcenter,
        "template": placement.template,
        "permissions": [vars(one) for one in placement.permissions],
        "values": [list(pair) for pair in placement.values],
        "tags": list(placement.tags),
    }


def _placement(entry: Mapping[str, Any]) -> Placement:
    return Placement(
        **{name: exactly(str, entry[name]) for name in _PLACE},
        template=exactly(bool, entry["template"]),
        permissions=tuple(_permission(one) for one in entry["permissions"]),
        values=tuple((exactly(str, name), exactly(str, value)) for name, value in entry["values"]),
        tags=tuple(exactly(str, tag) for tag in entry["tags"]),
    )


def _permission(entry: Mapping[str, Any]) -> Permission:
    return Permission(
        principal=exactly(str, entry["principal"]),
        group=exactly(bool, entry["group"]),
        role=exactly(int, entry["role"]),
        propagate=exactly(bool, entry["propagate"]),
    )

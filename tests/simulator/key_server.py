# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key servers: real PyKMIP servers on loopback, one process each, with certificates of their own. Whoever administers them does it over KMIP.

Needs PyKMIP only for scenarios that have `key_servers`. Everything a server keeps (database, certificates, private keys) is in a temporary
folder that goes with the simulator.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import importlib.util
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import ScenarioError
from .kmip_client import Credentials, KeyFault, Session, Unreachable

ADDRESS = "127.0.0.1"
START_TIMEOUT = 30.0
_DAY = datetime.timedelta(days=1)
_CONFIG = """[server]
hostname={address}
port={port}
certificate_path={folder}/server.crt
key_path={folder}/server.key
ca_path={folder}/clients.crt
auth_suite=TLS1.2
policy_path={folder}/policy
enable_tls_client_auth=True
tls_cipher_suites=
logging_level=WARNING
database_path={folder}/keys.db
"""


def available() -> bool:
    return importlib.util.find_spec("kmip") is not None


def private_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )


def name(common: str, more: dict[Any, str] | None = None) -> x509.Name:
    rows = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fleetcare.esxi simulator"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name([*(x509.NameAttribute(oid, text) for oid, text in (more or {}).items()), *rows])


def certificate(
    subject: x509.Name,
    public: Any,
    issuer: x509.Name,
    signer: Any,
    *,
    ca: bool = False,
    usage: Any = None,
    days: float = 365,
    more: Any = (),
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    begin = now - _DAY if days > 0 else now + (days - 30) * _DAY
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    flags = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    )
    held = {flag: flag == "digital_signature" for flag in flags}
    made = made.add_extension(x509.KeyUsage(**held, key_cert_sign=ca, crl_sign=ca), critical=True)
    if usage is not None:
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    for extension in more:
        made = made.add_extension(extension, critical=False)
    return made.sign(signer, hashes.SHA256())


def pem(made: x509.Certificate) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


class _Nursery:
    """The one process that servers are forked from; started at the first need, ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._ready = False

    def begin(self) -> None:
        """Start it without waiting for it."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        script = str(Path(__file__).with_name("key_server_process.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._ready = False
        atexit.register(self.end)

    def ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self._begin()
            process = self._process
            assert process is not None and process.stdin is not None and process.stdout is not None
            if not self._ready:
                process.stdout.readline()
                self._ready = True
            try:
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError:
                answer = ""
            if not answer:
                raise ScenarioError("key_servers: PyKMIP cannot be loaded by " + sys.executable)
            return dict(json.loads(answer))

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)


_nursery = _Nursery()


@dataclass(frozen=True)
class Key:
    """A key that the scenario starts with: its id on the server, what people call it, a digest of its material (never the material)."""

    id: str
    label: str
    digest: str


# What a server has just after its first keys were made: making a thousand takes seconds, and the same scenario starts often.
_seeded: dict[tuple[str, ...], tuple[bytes, tuple[Key, ...]]] = {}


class KeyServer:
    """One key server: its certificates, its process, and its administrator."""

    def __init__(self, label: str, folder: Path) -> None:
        self.name = label
        self.folder = folder
        folder.mkdir(mode=0o700)
        (folder / "policy").mkdir()
        self._ca_key = private_key()
        self._ca = certificate(name(f"{label} CA"), self._ca_key.public_key(), name(f"{label} CA"), self._ca_key, ca=True)
        # Held for the server, also while that is stopped: bound and not listening, so that nobody else is given it and connections are refused.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((ADDRESS, 0))
        self.port = int(self._held.getsockname()[1])
        self.pid: int | None = None
        self.trusted: list[str] = []  # client certificates that are trusted beside those of the server's own CA
        self.keys: tuple[Key, ...] = ()
        self.touched = False  # whether its keys may differ from those it began with
        self.renew_certificate()
        self._write("ca.crt", pem(self._ca))
        self.admin = self.client("administrator")
        self.trust_only()
        self._write("kmip.conf", _CONFIG.format(address=ADDRESS, port=self.port, folder=folder))

    # ---- certificates ---------------------------------------------------------------------------------------------------------
    def _write(self, file: str, text: str | bytes) -> Path:
        path = self.folder / file
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(text if isinstance(text, bytes) else text.encode())
        return path

    def renew_certificate(self, days: float = 365) -> None:
        """A new certificate for the server, from its own CA; in force at the next start."""
        key = private_key()
        names = x509.SubjectAlternativeName([x509.DNSName(self.name), x509.DNSName("localhost")])
        made = certificate(
            name(self.name),
            key.public_key(),
            self._ca.subject,
            self._ca_key,
            usage=ExtendedKeyUsageOID.SERVER_AUTH,
            days=days,
            more=[names],
        )
        self.certificate = pem(made)
        self._write("server.crt", self.certificate + pem(self._ca))
        self._write("server.key", key_pem(key))

    def client(self, common: str, days: float = 365) -> Credentials:
        """A certificate for a client, signed by the server's CA, with its private key; both lie in the folder."""
        key = private_key()
        made = certificate(name(common), key.public_key(), self._ca.subject, self._ca_key, usage=ExtendedKeyUsageOID.CLIENT_AUTH, days=days)
        return Credentials(
            str(self._write(f"{common}.crt", pem(made))), str(self._write(f"{common}.key", key_pem(key))), (self.certificate, pem(self._ca))
        )

    def sign(self, request: str) -> str:
        """What the key server's administrator makes of a client's signing request."""
        try:
            asked = x509.load_pem_x509_csr(request.encode())
        except ValueError as exc:
            raise ScenarioError(f"sign_csr: no certificate signing request: {exc}") from None
        return pem(certificate(asked.subject, asked.public_key(), self._ca.subject, self._ca_key, usage=ExtendedKeyUsageOID.CLIENT_AUTH))

    def trust(self, text: str) -> None:
        """Take a client's own certificate for trusted (a self-signed one is no CA's); a running server learns it by a restart."""
        if text not in self.trusted:
            self.trusted.append(text)
            self.trust_only()

    def distrust(self) -> None:
        """No client but the administrator's is trusted any more: a new CA for clients, as after a change of certificates."""
        self._ca_key = private_key()
        self._ca = certificate(name(f"{self.name} CA"), self._ca_key.public_key(), name(f"{self.name} CA"), self._ca_key, ca=True)
        self.trusted.clear()
        self._write("ca.crt", pem(self._ca))
        self.renew_certificate()
        self.admin = self.client("administrator")
        self.trust_only()

    def trust_only(self) -> None:
        self._write("clients.crt", pem(self._ca) + "".join(self.trusted))

    # ---- the process ----------------------------------------------------------------------------------------------------------
    @property
    def running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        if self.pid is None:
            self.pid = int(_nursery.ask(start=str(self.folder / "kmip.conf"))["pid"])

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with self.session():
                    return
            except Unreachable as exc:
                if time.monotonic() > until:
                    raise ScenarioError(f"key server '{self.name}' does not answer on port {self.port}: {exc}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        if self.pid is not None:
            _nursery.ask(stop=self.pid)
            self.pid = None

    def close(self) -> None:
        """For good."""
        with contextlib.suppress(ScenarioError):
            self.stop()
        self._held.close()

    def restart(self) -> None:
        if self.running:
            self.stop()
            self.start()

    # ---- its administrator ----------------------------------------------------------------------------------------------------
    def session(self) -> Session:
        return Session(ADDRESS, self.port, self.admin)

    def seed(self, labels: list[str]) -> None:
        """The keys that a scenario starts with, all of them active."""
        kept = _seeded.get(tuple(labels))
        if kept is None:
            made = _nursery.ask(seed=str(self.folder / "keys.db"), labels=labels)["keys"]
            self.keys = tuple(Key(one, label, shown) for (one, shown), label in zip(made, labels, strict=True))
            self._copy("keys.db", "first.db")
            _seeded[tuple(labels)] = ((self.folder / "first.db").read_bytes(), self.keys)
        else:
            content, self.keys = kept
            self._write("first.db", content)
            self._copy("first.db", "keys.db")
        self.touched = False

    def restore(self) -> None:
        """The keys it began with."""
        if self.touched:
            self._copy("first.db", "keys.db")
            self.touched = False

    def _copy(self, source: str, target: str) -> None:
        """One database into another, which may be in use."""
        with (
            contextlib.closing(sqlite3.connect(self.folder / source)) as old,
            contextlib.closing(sqlite3.connect(self.folder / target)) as new,
        ):
            old.backup(new)

    def id_of(self, wanted: str) -> str:
        """The id of a key by its label, or as it is."""
        return next((key.id for key in self.keys if key.label == wanted), wanted)

    def administer(self, do: str, wanted: str) -> None:
        """activate, deactivate, compromise or destroy a key, as its administrator does: over KMIP."""
        if not self.running:
            raise ScenarioError(f"act {do}_key: key server '{self.name}' is not running, nobody can reach its keys")
        self.touched = True
        key = self.id_of(wanted)
        with self.session() as admin:
            state = admin.states([key])[key]
            if state is None:
                raise ScenarioError(f"act {do}_key: key server '{self.name}' has no key '{wanted}'")
            try:
                if do == "destroy" and state == "ACTIVE":
                    admin.revoke(key)  # an active key cannot be destroyed
                getattr(admin, {"deactivate": "revoke"}.get(do, do))(key)
            except KeyFault as exc:
                raise ScenarioError(f"act {do}_key: key server '{self.name}' refuses: {exc}") from None

    def dump(self, keys: bool = True) -> dict[str, Any]:
        states: dict[str, str | None] = {}
        if self.running and keys:
            with contextlib.suppress(Unreachable), self.session() as admin:
                states = admin.states([key.id for key in self.keys])
        labels = {key.id: key.label for key in self.keys}
        return {
            "running": self.running,
            "keys": {f"{labels[key]} ({key})": (state or "gone").lower() for key, state in states.items()} if self.running else None,
        }

    def told(self) -> dict[str, Any]:
        """Where it is and what a client needs to talk to it."""
        return {
            "name": self.name,
            "address": ADDRESS,
            "port": self.port,
            "running": self.running,
            "ca": str(self.folder / "ca.crt"),
            "certificate": self.admin.certificate,
            "key": self.admin.key,
            "server_certificate": self.certificate,
            "keys": {key.label: key.id for key in self.keys},
        }


class KeyServers:
    """All key servers of a scenario."""

    def __init__(self, names: list[str], folder: Path) -> None:
        if not available():
            raise ScenarioError("key_servers: PyKMIP is not installed here; requirements/tests.txt has it")
        _nursery.begin()
        folder.mkdir(mode=0o700, exist_ok=True)
        self.all = {label: KeyServer(label, folder / f"key-server-{number}") for number, label in enumerate(names)}
        self.cut: set[str] = set()  # the way from vCenter to these is cut; others still reach them

    def start(self, labels: dict[str, list[str]]) -> None:
        for label, server in self.all.items():
            server.seed(labels.get(label, []))
            server.launch()
        for server in self.all.values():
            server.wait()

    def restore(self) -> None:
        """As at the start, for reset()."""
        self.cut.clear()
        for server in self.all.values():
            server.restore()
            if server.trusted:
                server.trusted.clear()
                server.trust_only()
                server.stop()
        for server in self.all.values():
            server.launch()
        for server in self.all.values():
            server.wait()

    def stop(self) -> None:
        for server in self.all.values():
            server.close()

    def way(self, address: str, port: int) -> tuple[str, int] | None:
        """Where vCenter's connection to an address really goes: to one of these servers, by their names or by loopback, or nowhere at all.
        Nothing leaves the machine."""
        for label, server in self.all.items():
            if (address == label or address in (ADDRESS, "localhost")) and port == server.port:
                return None if label in self.cut else (ADDRESS, server.port)
        return (address, port) if address in (ADDRESS, "localhost") else None

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""govmomi's simulator as a test server: what it is started with, and how to reach it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import ipaddress
import json
import pathlib
import subprocess
import urllib.parse
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USERNAME = "second@opinion.test"
PASSWORD = "second-opinion-password"
CLUSTER = "DC0_C0"
LONE_HOST = "DC0_H0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vcsim:
    """A running server. Of a vCenter's hosts one stands by itself, the others are in CLUSTER."""

    kind: str
    hosts: int
    hostname: str
    port: int
    username: str
    password: str = dataclasses.field(repr=False)
    ca_file: str
    thumbprint: str


def make_certificates(folder: pathlib.Path) -> str:
    """Write ca.pem, server.pem and server.key for 127.0.0.1; return the server certificate's SHA-256 thumbprint."""
    now = datetime.datetime.now(datetime.timezone.utc)
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _each in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "second opinion CA")])

    def build(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs_certificates,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )

    ca = (
        build(ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server = (
        build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vcsim")]), server_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    digest = hashlib.sha256(server.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2))


@contextlib.contextmanager
def vcsim(binary: str, folder: pathlib.Path, *, kind: str, hosts: int = 1) -> Iterator[Vcsim]:
    """Start the server with a certificate of its own CA, and end it when the caller is done."""
    thumbprint = make_certificates(folder)
    command = [binary, "-cert", str(folder / "server.pem"), "-key", str(folder / "server.key")]
    command += ["-user", USERNAME, "-password", PASSWORD]
    command += ["-esx"] if kind == "esxi" else ["-hosts", str(hosts)]
    with (folder / "vcsim.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"vcsim did not start: {(folder / 'vcsim.log').read_text(encoding='utf-8')}")
        address = urllib.parse.urlsplit(json.loads(line)["url"])
        assert address.hostname and address.port
        yield Vcsim(
            kind=kind,
            hosts=hosts,
            hostname=address.hostname,
            port=address.port,
            username=USERNAME,
            password=PASSWORD,
            ca_file=str(folder / "ca.pem"),
            thumbprint=thumbprint,
        )
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

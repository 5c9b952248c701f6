# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority and a server certificate for one run, in a folder of their own."""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Pem:
    ca: bytes
    certificate: bytes
    key: bytes
    thumbprint: str  # SHA-256 over the DER, as vSphere shows thumbprints: upper case, colons


def _name(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fleetcare.esxi simulator"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


@functools.cache
def make(address: str, server: str, kind: str) -> Pem:
    """Certificates for an address and a name; `kind` is valid, expired or wrong_name. Kept for the process: keys cost CPU."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    # Python 3.13 verifies with VERIFY_X509_STRICT: key usage and key identifiers are required, not decoration.
    usage = {
        "digital_signature": True, "content_commitment": False, "key_encipherment": False, "data_encipherment": False, "key_agreement": False,
        "encipher_only": False, "decipher_only": False,
    }  # fmt: skip
    authority = (
        x509.CertificateBuilder()
        .subject_name(_name("Simulated CA"))
        .issuer_name(_name("Simulated CA"))
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 400 * day)
        .not_valid_after(now + 400 * day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("other.example.com")]
    if kind != "wrong_name":
        names = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost"), x509.DNSName(server)]
    begin, end = (now - 60 * day, now - 30 * day) if kind == "expired" else (now - day, now + 365 * day)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(_name(server))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage, key_cert_sign=False, crl_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    digest = hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return Pem(
        authority.public_bytes(serialization.Encoding.PEM),
        leaf.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        ":".join(digest[i : i + 2] for i in range(0, 64, 2)),
    )


def context(pem: Pem, folder: Path) -> ssl.SSLContext:
    """The server's TLS context; leaves ca.pem (for clients) and server.pem in the folder."""
    (folder / "ca.pem").write_bytes(pem.ca)
    chain = folder / "server.pem"
    chain.touch(mode=0o600)
    chain.write_bytes(pem.key + pem.certificate)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(chain)
    return made

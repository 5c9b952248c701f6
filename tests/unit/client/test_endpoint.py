# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to connect and whom to trust: what cannot be meant is refused before a connection, and nobody else decides."""

from __future__ import annotations

import datetime
import math
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput

SECRET = "s3cr3t-Pa55word"
GOOD: dict[str, Any] = {
    "hostname": "vcenter.example.com",
    "username": "user@vsphere.local",
    "password": SECRET,
    "port": 443,
    "validate_certs": True,
    "ca_file": None,
    "thumbprint": None,
    "proxy_host": None,
    "proxy_port": None,
    "connect_timeout": 10.0,
    "read_timeout": 60.0,
    "session": "keep",
}
PIN = "ab" * 32


def parsed(**params: Any) -> Endpoint:
    return Endpoint.parse({**GOOD, **params})


@pytest.mark.parametrize(
    ("params", "option", "value", "cure"),
    [
        ({"hostname": None}, "hostname", "", "VMWARE_HOST"),
        ({"hostname": ""}, "hostname", "", "VMWARE_HOST"),
        ({"hostname": "   "}, "hostname", "", "bare name"),
        ({"username": None}, "username", "", "VMWARE_USER"),
        ({"username": ""}, "username", "", "VMWARE_USER"),
        ({"password": None}, "password", "", "VMWARE_PASSWORD"),
        ({"password": ""}, "password", "", "VMWARE_PASSWORD"),
        ({"hostname": "https://vcenter.example.com"}, "hostname", "https://vcenter.example.com", "bare name"),
        ({"hostname": "vcenter.example.com/sdk"}, "hostname", "vcenter.example.com/sdk", "bare name"),
        ({"hostname": "vcenter.example.com:8443"}, "hostname", "vcenter.example.com:8443", "port"),
        ({"hostname": "vcenter example com"}, "hostname", "vcenter example com", "bare name"),
        ({"hostname": "user@vcenter.example.com"}, "hostname", "user@vcenter.example.com", "bare name"),
        ({"hostname": "vcenter.example.com\nX: y"}, "hostname", "vcenter", "bare name"),
        ({"hostname": "vcenter..example.com"}, "hostname", "vcenter..example.com", "bare name"),
        ({"hostname": "x" * 64 + ".example.com"}, "hostname", "xxx", "bare name"),
        ({"hostname": "2001:db8::1::2"}, "hostname", "2001:db8::1::2", "bare name"),
        ({"hostname": "{{ vcenter }}"}, "hostname", "{{ vcenter }}", "bare name"),
        ({"port": 0}, "port", "0", "65535"),
        ({"port": -443}, "port", "-443", "65535"),
        ({"port": 65536}, "port", "65536", "65535"),
        ({"proxy_host": "p.example.com", "proxy_port": 0}, "proxy_port", "0", "65535"),
        ({"proxy_host": "p.example.com", "proxy_port": 70000}, "proxy_port", "70000", "65535"),
        ({"proxy_host": "p.example.com"}, "proxy_port", "proxy_host", "both or none"),
        ({"proxy_port": 3128}, "proxy_host", "proxy_port", "both or none"),
        ({"proxy_host": "http://p.example.com", "proxy_port": 3128}, "proxy_host", "http://p.example.com", "name"),
        ({"connect_timeout": 0.0}, "connect_timeout", "0", "above 0"),
        ({"connect_timeout": -1.0}, "connect_timeout", "-1", "above 0"),
        ({"connect_timeout": math.nan}, "connect_timeout", "nan", "seconds"),
        ({"connect_timeout": math.inf}, "connect_timeout", "inf", "seconds"),
        ({"read_timeout": 0.0}, "read_timeout", "0", "above 0"),
        ({"read_timeout": -0.5}, "read_timeout", "-0.5", "above 0"),
        ({"read_timeout": math.nan}, "read_timeout", "nan", "seconds"),
        ({"read_timeout": math.inf}, "read_timeout", "inf", "seconds"),
        ({"thumbprint": "ab:cd"}, "thumbprint", "4", "64 hexadecimal"),
        ({"thumbprint": "AB:" * 20}, "thumbprint", "40", "64 hexadecimal"),
        ({"thumbprint": "zz" * 32}, "thumbprint", "64", "hexadecimal"),
        ({"ca_file": "/does/not/exist.pem"}, "ca_file", "/does/not/exist.pem", "PEM"),
        ({"ca_file": "/tmp"}, "ca_file", "/tmp", "PEM"),
    ],
)
def test_bad_input_names_option_value_and_cure(params: dict[str, Any], option: str, value: str, cure: str) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(**params)
    problem = caught.value
    assert option in problem.cause and value in problem.cause and cure in problem.hint
    assert SECRET not in problem.sentence and SECRET not in repr(problem)


@pytest.mark.parametrize(
    ("params", "field", "expected"),
    [
        ({"hostname": " vcenter.example.com "}, "hostname", "vcenter.example.com"),
        ({"hostname": "192.0.2.10"}, "hostname", "192.0.2.10"),
        ({"hostname": "2001:db8::1"}, "hostname", "2001:db8::1"),
        ({"hostname": "[2001:db8::1]"}, "hostname", "2001:db8::1"),
        ({"hostname": "localhost"}, "hostname", "localhost"),
        ({"hostname": "vc_1.example.com."}, "hostname", "vc_1.example.com."),
        ({"thumbprint": "AB:" * 31 + "AB"}, "thumbprint", PIN),
        ({"thumbprint": PIN.upper()}, "thumbprint", PIN),
        ({"thumbprint": " " + " ".join(["ab"] * 32)}, "thumbprint", PIN),
        ({"proxy_host": "p.example.com", "proxy_port": 3128}, "proxy_port", 3128),
        ({"port": 65535}, "port", 65535),
        ({"session": "single"}, "session", "single"),
    ],
)
def test_good_input_is_taken(params: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(parsed(**params), field) == expected


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "vcenter.example.com"),
        ({"port": 8443}, "vcenter.example.com:8443"),
        ({"hostname": "2001:db8::1"}, "[2001:db8::1]"),
        ({"hostname": "[2001:db8::1]", "port": 8443}, "[2001:db8::1]:8443"),
    ],
)
def test_an_endpoint_is_named_as_one_would_write_it(params: dict[str, Any], name: str) -> None:
    assert parsed(**params).name == name


def test_the_password_is_in_no_repr() -> None:
    endpoint = parsed()
    assert endpoint.password == SECRET
    assert SECRET not in repr(endpoint) and SECRET not in str(endpoint) and SECRET not in f"{endpoint!r:>10}"


# ---- trust ----------------------------------------------------------------------------------------------------------------


def authority(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=20000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def trusted(context: ssl.SSLContext) -> list[bytes]:
    return context.get_ca_certs(binary_form=True)


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


OTHERS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(params=[*OTHERS, "all"])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other programs' settings, which point to an authority of their own."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name in OTHERS if request.param == "all" else (request.param,):
        monkeypatch.setenv(name, str(authority(tmp_path, "theirs")))


@pytest.mark.usefixtures("environment")
def test_a_ca_file_is_the_only_one_trusted_whatever_the_environment_says(tmp_path: Path) -> None:
    ours = authority(tmp_path, "ours")
    context = parsed(ca_file=str(ours)).tls_context()
    assert trusted(context) == [der(ours)]
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.usefixtures("environment")
def test_no_verification_means_none_whatever_the_environment_says() -> None:
    context = parsed(validate_certs=False).tls_context()
    assert context.verify_mode == ssl.CERT_NONE and not context.check_hostname


@pytest.mark.usefixtures("environment")
def test_a_pinned_certificate_needs_no_authority() -> None:
    """The pin is held against the certificate by the transport; an authority could only refuse what was pinned."""
    context = parsed(thumbprint=PIN).tls_context()
    assert context.verify_mode == ssl.CERT_NONE and not context.check_hostname


@pytest.mark.usefixtures("environment")
def test_tls_is_verified_unless_the_user_says_otherwise() -> None:
    context = parsed().tls_context()
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_other_libraries_bundles_are_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = authority(tmp_path, "theirs")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(theirs))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert der(theirs) not in trusted(parsed().tls_context())


def test_a_ca_file_that_holds_no_certificate_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing here\n")
    with pytest.raises(BadInput, match="ca_file .*empty.pem cannot be used.*PEM certificates"):
        parsed(ca_file=str(tmp_path / "empty.pem")).tls_context()


def test_a_ca_file_may_start_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = authority(tmp_path, "ours")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trusted(parsed(ca_file="~/ours.pem").tls_context()) == [der(ours)]

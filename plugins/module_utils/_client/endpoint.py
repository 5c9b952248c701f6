# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to connect and whom to trust. Private to this collection."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._domain.errors import BadInput

_LABEL = re.compile(r"^[A-Za-z0-9_-]{1,63}$")
THUMBPRINT = re.compile(r"^[0-9a-f]{64}$")


def plain_host(option: str, given: str) -> str:
    """A host name or an address, without the brackets of an IPv6 address. Raises BadInput."""
    name = given.strip()
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    if len(name) > 253 or not all(_LABEL.match(label) for label in name.removesuffix(".").split(".")):
        raise BadInput(
            f"{option} {given!r} is not a host name or an IP address",
            hint="Give the bare name, for example vcenter.example.com; port and path do not belong into it.",
        )
    return name


def place_name(hostname: str, port: int) -> str:
    """As messages and reports call it."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    return host if port == 443 else f"{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One vCenter or one stand-alone host. Times in seconds."""

    hostname: str
    port: int
    username: str
    password: str = field(repr=False)
    validate_certs: bool = True
    ca_file: str = ""
    thumbprint: str = ""
    proxy_host: str = ""
    proxy_port: int = 0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    session: str = "keep"

    @property
    def name(self) -> str:
        return place_name(self.hostname, self.port)

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Endpoint:
        """From module parameters. Raises BadInput; opens nothing."""
        for option in ("hostname", "username", "password"):
            if not params.get(option):
                raise BadInput(
                    f"option {option} is missing",
                    hint=f"Set it in the task, in module_defaults for group/fleetcare.esxi.esxi, or as VMWARE_"
                    f"{'USER' if option == 'username' else option.replace('name', '').upper()} in the environment.",
                )
        hostname = plain_host("hostname", params["hostname"])
        proxy_host = plain_host("proxy_host", params["proxy_host"]) if params.get("proxy_host") else ""
        for option in ("port", "proxy_port"):
            value = params.get(option)
            if value is not None and not 1 <= value <= 65535:
                raise BadInput(f"{option} {value} is not a port", hint="Use a number from 1 to 65535.")
        if bool(params.get("proxy_host")) != bool(params.get("proxy_port")):
            raise BadInput("proxy_host and proxy_port belong together", hint="Set both or none.")
        for option in ("connect_timeout", "read_timeout"):
            if not 0 < params[option] <= 86400:
                raise BadInput(f"{option} {params[option]:g} is not a time-out", hint="Use seconds above 0, a day at the most.")
        thumbprint = re.sub(r"[:\s]", "", params.get("thumbprint") or "").lower()
        if thumbprint and not THUMBPRINT.match(thumbprint):
            raise BadInput(
                f"thumbprint has {len(thumbprint)} characters that are not a SHA-256 digest",
                hint="It is 64 hexadecimal digits: openssl s_client -connect HOST:443 </dev/null | "
                "openssl x509 -noout -fingerprint -sha256",
            )
        ca_file = os.path.expanduser(params.get("ca_file") or "")
        if ca_file and not os.path.isfile(ca_file):
            raise BadInput(f"ca_file {ca_file} does not exist", hint="Give the path of a PEM file on the machine that runs the module.")
        return cls(
            hostname=hostname,
            port=params["port"],
            username=params["username"],
            password=params["password"],
            validate_certs=params["validate_certs"],
            ca_file=ca_file,
            thumbprint=thumbprint,
            proxy_host=proxy_host,
            proxy_port=params.get("proxy_port") or 0,
            connect_timeout=params["connect_timeout"],
            read_timeout=params["read_timeout"],
            session=params["session"],
        )

    def tls_context(self) -> ssl.SSLContext:
        """A pinned certificate needs no authority; otherwise ca_file alone, or the system's store.

        Only what the user asked for decides: REQUESTS_CA_BUNDLE and its like are other libraries' settings.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (ssl.SSLError, OSError) as problem:
            raise BadInput(
                f"ca_file {self.ca_file} cannot be used: {problem}", hint="It has to hold one or more PEM certificates."
            ) from problem
        # Every release since 6.7 speaks it; what Python falls back to without this depends on how it was built.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.thumbprint or not self.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

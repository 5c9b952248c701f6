# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted machines, their keys and who has them, as plain values, and the writes that change them. Private to this collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .plan import described

STANDARD, NATIVE, TRUST_AUTHORITY = "vCenter", "nativeProvider", "trustAuthority"
LOCKED, UNLOCKED = "locked", "unlocked"
SAFE = "safe"
BROKEN = ("orphaned", "inaccessible")  # connection states that have nothing to do with keys

# ---- keys and those who keep them -----------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Key:
    """A key as vSphere names it: the provider's name is part of it. No material, ever."""

    id: str
    provider: str = ""

    def __str__(self) -> str:
        return f"key {self.id} of {self.provider or 'the default provider'}"


@dataclass(frozen=True)
class KeyStatus:
    """What vCenter says of a key: whether it can get it, None where it does not tell, and its reason if it cannot."""

    available: bool | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A key server as a provider has it. ``trusted``: vCenter trusts its certificate, ``trusts``: it trusts vCenter's;
    ``fingerprint``: SHA-256 of the certificate that it shows, ``pem`` the certificate itself."""

    name: str
    address: str = ""
    port: int = 5696
    user: str = ""
    status: str = ""
    text: str = ""
    trusted: bool | None = None
    trusts: bool | None = None
    fingerprint: str = ""
    expires_in: float | None = None
    pem: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A key provider. ``active`` None: nobody may be asked. ``client_expires_in``: seconds that vCenter's own certificate is good
    for; ``client_pem``: what it shows to the servers; ``request``: a CSR that waits for the key administrator's signature."""

    name: str
    kind: str = STANDARD
    default: bool = False
    active: bool | None = None
    servers: tuple[Server, ...] = ()
    client_expires_in: float | None = None
    client_pem: str = ""
    request: str = ""

    def server(self, name: str) -> Server | None:
        return next((server for server in self.servers if server.name == name), None)


@dataclass(frozen=True, kw_only=True)
class HostMode:
    """A host's crypto mode, and its own key."""

    moid: str
    name: str
    mode: str = ""
    key: Key | None = None


@dataclass(frozen=True, kw_only=True)
class Custody:
    """Who keeps which key. ``denied``: privileges that the user lacks for it, each with its object; ``shown``: what the servers that
    are wanted show to vCenter, registered or not; ``lost``: machines of a record that are in no inventory any more; ``manager``:
    the address of the vCenter that manages a stand-alone host; ``users``: object ids of machines and hosts that have a key;
    ``waited``: for how many seconds providers were waited for."""

    is_vcenter: bool = True
    providers: Mapping[str, Provider] = field(default_factory=dict)
    statuses: Mapping[Key, KeyStatus] = field(default_factory=dict)
    hosts: Mapping[str, HostMode] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    shown: Mapping[str, Server] = field(default_factory=dict)
    manager: str = ""
    users: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    waited: float = 0.0
    lost: tuple[Placement, ...] = ()

    @property
    def default(self) -> str:
        return next((provider.name for provider in self.providers.values() if provider.default), "")

    def provider_of(self, key: Key) -> Provider | None:
        return self.providers.get(key.provider or self.default)

    def status_of(self, key: Key) -> KeyStatus:
        return self.statuses.get(key, KeyStatus())


# ---- machines -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Disk:
    label: str
    key: Key | None = None


@dataclass(frozen=True, kw_only=True)
class Permission:
    principal: str
    group: bool
    role: int
    propagate: bool


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a registration in an inventory knows of a machine and its files do not: where it stands, and what hangs on it. Ids are
    those of one ``vcenter``, given by its instance UUID."""

    name: str
    path: str
    folder: str = ""
    pool: str = ""
    host: str = ""
    datacenter: str = ""
    vcenter: str = ""
    template: bool = False
    permissions: tuple[Permission, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One virtual machine. ``crypto`` empty: not encrypted. ``origin``: where the key of its home was read; ``event``: why vCenter
    locked it last, the end of the event's id; ``present``: whether a host without vCenter has the key; ``denied``: privileges
    that the user lacks on it, ``frozen``: why it cannot be registered anew. ``before``: its placement before this run did so;
    ``later``: what vCenter says of keys that showed only once it was open."""

    moid: str
    name: str
    connection: str = "connected"
    crypto: str = ""
    power: str = "poweredOff"
    host: str = ""
    home: Key | None = None
    origin: str = ""
    disks: tuple[Disk, ...] = ()
    event: str = ""
    present: bool | None = None
    denied: tuple[str, ...] = ()
    frozen: str = ""
    later: tuple[tuple[Key, KeyStatus], ...] = ()
    placement: Placement | None = None
    before: Placement | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The key of its home first, each key once."""
        return tuple(dict.fromkeys(key for key in (self.home, *(disk.key for disk in self.disks)) if key is not None))

    @property
    def is_encrypted(self) -> bool:
        return bool(self.crypto or self.keys)

    def disks_with(self, key: Key) -> tuple[str, ...]:
        return tuple(disk.label for disk in self.disks if disk.key == key)


# ---- changes of a machine -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unlock:
    """CryptoUnlock_Task: vCenter hands the host the keys of the machine's home and of its disks."""

    def applied_to(self, state: Machine) -> Machine:
        return replace(state, crypto=UNLOCKED, connection="connected")

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class Reload:
    """Reload: the host reads the configuration again, which it can once the key is there."""

    def applied_to(self, state: Machine) -> Machine:
        return replace(state, crypto=UNLOCKED if state.crypto else "", connection="connected")

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class Reregister:
    """UnregisterVM and RegisterVM_Task as one step: between them the machine is in no inventory, so nothing may come between.
    The machine is another object afterwards; what hung on the old one is put back. ``keys``: those that it needs to open."""

    placement: Placement
    keys: tuple[Key, ...] = ()
    fallback = True

    def applied_to(self, state: Machine) -> Machine:
        return replace(state, crypto=UNLOCKED, connection="connected", before=self.placement)

    def describe(self) -> dict[str, Any]:
        return {"change": "reregister", "path": self.placement.path}


# ---- changes of a vCenter -------------------------------------------------------------------------------------------


def _with(state: Custody, provider: Provider) -> Custody:
    return replace(state, providers={**state.providers, provider.name: provider})


def _of(state: Custody, name: str) -> Provider:
    return state.providers.get(name) or Provider(name=name)


@dataclass(frozen=True)
class RegisterServer:
    """RegisterKmipServer; the first server of a provider makes the provider."""

    provider: str
    server: Server
    password: str = field(default="", repr=False)

    def applied_to(self, state: Custody) -> Custody:
        known = _of(state, self.provider)
        return _with(state, replace(known, servers=(*known.servers, self.server)))

    def describe(self) -> dict[str, Any]:
        return {"change": "register_server", **_told(self.provider, self.server)}


@dataclass(frozen=True)
class UpdateServer:
    """UpdateKmipServer: the address of a server that the provider has already."""

    provider: str
    server: Server
    password: str = field(default="", repr=False)

    def applied_to(self, state: Custody) -> Custody:
        known = _of(state, self.provider)
        return _with(state, replace(known, servers=tuple(self.server if own.name == self.server.name else own for own in known.servers)))

    def describe(self) -> dict[str, Any]:
        return {"change": "update_server", **_told(self.provider, self.server)}


def _told(provider: str, server: Server) -> dict[str, Any]:
    return {"provider": provider, "server": server.name, "address": server.address, "port": server.port}


@dataclass(frozen=True)
class TrustServer:
    """UploadKmipServerCert: vCenter trusts the certificate with this fingerprint, which the user has compared."""

    provider: str
    server: str
    fingerprint: str
    pem: str = field(repr=False)

    def applied_to(self, state: Custody) -> Custody:
        shown = state.shown.get(self.server)
        return replace(state, shown={**state.shown, self.server: replace(shown or Server(name=self.server), trusted=True)})

    def describe(self) -> dict[str, Any]:
        return {"change": "trust_server", "provider": self.provider, "server": self.server, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class PresentCertificate:
    """What vCenter shows to the key servers: a certificate with its private key (UploadClientCert), or the signed answer to
    vCenter's own request (UpdateKmsSignedCsrClientCert)."""

    provider: str
    fingerprint: str
    certificate: str = field(repr=False)
    private_key: str = field(default="", repr=False)

    def applied_to(self, state: Custody) -> Custody:
        return _with(state, replace(_of(state, self.provider), client_pem=self.certificate))

    def describe(self) -> dict[str, Any]:
        return {"change": "present_certificate", "provider": self.provider, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class RequestCertificate:
    """GenerateClientCsr: vCenter makes a key pair of its own; the key administrator signs the request."""

    provider: str

    def applied_to(self, state: Custody) -> Custody:
        return _with(state, replace(_of(state, self.provider), request="made by vCenter"))

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class MarkDefault:
    """MarkDefault: new keys come from this provider."""

    provider: str

    def applied_to(self, state: Custody) -> Custody:
        others = {name: replace(one, default=name == self.provider) for name, one in state.providers.items()}
        return replace(state, providers={self.provider: Provider(name=self.provider, default=True), **others})

    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True)
class EnableHost:
    """ConfigureCryptoKey: the host gets a host key and takes keys from then on."""

    host: str
    name: str

    def applied_to(self, state: Custody) -> Custody:
        return replace(state, hosts={**state.hosts, self.host: replace(state.hosts[self.host], mode=SAFE)})

    def describe(self) -> dict[str, Any]:
        return {"change": "enable_host", "host": self.name}


@dataclass(frozen=True)
class RegisterAgain:
    """RegisterVM_Task for a machine of a record that is in no inventory any more."""

    placement: Placement

    def applied_to(self, state: Custody) -> Custody:
        return replace(state, lost=tuple(one for one in state.lost if one != self.placement))

    def describe(self) -> dict[str, Any]:
        return {"change": "register_again", "name": self.placement.name, "path": self.placement.path}

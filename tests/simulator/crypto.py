# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption as plain state: who holds which key, what vCenter can get from its key providers, and what follows for virtual machines.

A host keeps keys in a cache that a reboot empties. A machine whose host lacks the key of its home is locked; vCenter hands hosts the keys
that its providers give. Nothing here says that a key is there or not: that is asked of the key servers, over KMIP (key_server.py).
Facts and sources: facts.md section 4; what is not known is an option (`crypto_options` in profiles/8.0.3.yml).
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ScenarioError
from .key_server import KeyServers
from .kmip_client import Credentials, KeyFault, Session, Unreachable, Untrusted
from .profile import near

if TYPE_CHECKING:
    from .objects.virtual_machine import VirtualMachine
    from .world import World

STANDARD, NATIVE, TRUSTED = "vCenter", "nativeProvider", "trustAuthority"
INCAPABLE, PREPARED, SAFE = "incapable", "prepared", "safe"
# Why vCenter cannot use a key (CryptoManagerKmipCryptoKeyStatus.reason).
IN_CACHE, INVALID, UNREACHABLE = "KeyStateMissingInCache", "KeyStateClusterInvalid", "KeyStateClusterUnreachable"
MISSING, INACTIVE = "KeyStateMissingInKMS", "KeyStateNotActiveOrEnabled"
BY_TRUST_AUTHORITY, BY_NATIVE, NO_PERMISSION = "KeyStateManagedByTrustAuthority", "KeyStateManagedByNKP", "NoPermissionToAccessKeyProvider"
WRAPPING_MISSING, WRAPPING_INACTIVE = "WrappingKeyMissingInKMS", "WrappingKeyNotActiveOrEnabled"
ON_HOST = "the key is missing on the host only"
_VM, _HOST, _KMS = "com.vmware.vc.vm.Crypto.", "com.vmware.vc.host.Crypto.", "com.vmware.vc.kms.crypto."
UNLOCKED = _VM + "VMUnlocked"
LOCKED = tuple(
    f"{_VM}VMLocked.{name}"
    for name in ("KMSClusterError", "KeyMissingOnKMS", "KeyMissingOnHost", "TAKeyMissingOnHost", "TAKMSClusterUnavaliable")
)


class KeyId(NamedTuple):
    """A key as vSphere names it. The provider's name is part of it: a provider of another name is another one."""

    provider: str
    id: str


class Found(NamedTuple):
    """What a provider says of a key: why it cannot be had, or a digest of its material."""

    reason: str | None
    digest: str | None


@dataclass
class HostCrypto:
    """A host's crypto mode and its keys: ids, and digests by which a wrong key can be told from the right one."""

    mode: str = INCAPABLE
    key: KeyId | None = None
    cache: dict[KeyId, str] = field(default_factory=dict)
    tpm: bool = False  # keys survive a reboot
    lost: KeyId | None = None  # the host key of a host that was in safe mode before its reboot: vCenter wants it back there


@dataclass
class Disk:
    label: str
    capacity: int  # KiB
    wanted: tuple[str, str] | None = None  # provider and label of its key
    key: KeyId | None = None


@dataclass
class MachineFile:
    """What lies on the datastore: it outlives the registration in an inventory."""

    path: str
    name: str
    uuid: str
    wanted: tuple[str, str] | None = None
    home: KeyId | None = None  # the key of the home: configuration, swap, NVRAM
    disks: list[Disk] = field(default_factory=list)
    annotation: str = ""
    snapshots: list[str] = field(default_factory=list)
    consolidation: bool = False

    @property
    def keys(self) -> list[KeyId]:
        return list(dict.fromkeys(key for key in (self.home, *(disk.key for disk in self.disks)) if key is not None))


@dataclass
class KmipServer:
    """A server as vCenter has it registered."""

    name: str
    address: str
    port: int
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class Provider:
    name: str
    kind: str = STANDARD
    servers: dict[str, KmipServer] = field(default_factory=dict)
    trusted: list[str] = field(default_factory=list)  # certificates of servers (PEM)
    certificate: str | None = None  # vCenter's own as a client (PEM), its key lies in a file
    pending: dict[str, Any] = field(
        default_factory=dict
    )  # generated, not in use yet: "self-signed" -> (certificate, key), "csr" -> (request, key)
    available: bool = True  # of a native or a Trust Authority provider, which has no KMIP server
    wrapping: KeyId | None = None  # 9.x: its keys are wrapped with this one
    backup: bool = False
    tpm_required: bool = False
    told_unreachable: bool = False
    files: Path | None = None

    def credentials(self) -> Credentials:
        here = self.files
        if self.certificate is None or here is None:
            return Credentials(None, None, tuple(self.trusted))
        return Credentials(str(here.with_suffix(".crt")), str(here.with_suffix(".key")), tuple(self.trusted))

    def use(self, certificate: str, key: str) -> None:
        """What vCenter shows this provider's servers from now on."""
        assert self.files is not None
        for suffix, text in ((".crt", certificate), (".key", key)):
            handle = os.open(self.files.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
        self.certificate = certificate


class Crypto:
    """Everything about encryption of one world."""

    def __init__(self, world: World) -> None:
        data = world.scenario.data
        self.world = world
        self.options: dict[str, Any] = {**world.server_profile.crypto_options, **data.get("crypto_options", {})}
        self.servers: KeyServers | None = None
        self.providers: dict[str, Provider] = {}
        self.default: str | None = None
        self.entity_defaults: dict[str, str] = {}
        self.files: dict[str, MachineFile] = {}  # by path, "[datastore] folder/name.vmx"
        self.digests: dict[KeyId, str] = {}
        self.alarms: dict[str, dict[str, Any]] = {}  # by moid of the machine
        self._folder: Path | None = None
        self._numbers = 0
        self._rows: list[dict[str, Any]] = list(data.get("key_providers", ()))
        self._host_rows: list[tuple[Any, dict[str, Any]]] = []

    @property
    def vcenter(self) -> bool:
        return self.world.kind == "vcenter"

    # ---- the start ------------------------------------------------------------------------------------------------------------
    def add_host(self, item: Any, row: dict[str, Any]) -> None:
        item.state.crypto = HostCrypto(row.get("mode", SAFE), tpm=row.get("tpm", False))
        self._host_rows.append((item, row))

    def wanted(self) -> dict[str, list[str]]:
        """Which keys each key server must have, by their labels."""
        out: dict[str, list[str]] = {}
        homes = {row["name"]: row for row in self._rows}
        asked: list[tuple[str, str]] = []
        for row in self._rows:
            if row.get("wrapped"):
                asked.append((row["name"], _wrapping(row["name"])))
        for item, row in self._host_rows:
            if row.get("provider") is not None:
                asked.append((row["provider"], _host_label(item)))
        for file in self.files.values():
            asked.extend(one for one in (file.wanted, *(disk.wanted for disk in file.disks)) if one is not None)
        for provider, label in asked:
            home = homes.get(provider)
            if home is None:
                raise ScenarioError(f"no key provider '{provider}': {near(provider, homes)}")
            for server in home.get("servers", ())[:1]:
                labels = out.setdefault(server, [])
                if label not in labels:
                    labels.append(label)
        return out

    def attach(self, servers: KeyServers | None, folder: Path | None) -> None:
        """Key servers are up: names of keys become ids, providers are trusted, hosts and machines are as after a long quiet time."""
        self.servers, self._folder = servers, folder
        for row in self._rows:
            self.add_provider(row)
        for item, row in self._host_rows:
            host = item.state.crypto
            if host.mode == SAFE and row.get("provider") is not None:
                host.key = self._resolve((row["provider"], _host_label(item)))
                self._hold(host, [host.key])
        for file in self.files.values():
            file.home = self._resolve(file.wanted)
            for disk in file.disks:
                disk.key = self._resolve(disk.wanted)
        for machine in self.machines():
            if machine.files.keys and machine.runs_on.state.crypto.mode == SAFE:
                self._hold(machine.runs_on.state.crypto, machine.files.keys)
            machine.powered_on = machine.powered_on and not self.lacking(machine)
            self.judge(machine, None)
        if not self.vcenter:
            # A stand-alone host knows nothing of providers; they only served to make its keys.
            self.providers.clear()
            self.default = None

    def _hold(self, host: HostCrypto, keys: Iterable[KeyId | None]) -> None:
        for key in keys:
            if key is not None and key in self.digests:
                host.cache[key] = self.digests[key]

    def _resolve(self, wanted: tuple[str, str] | None) -> KeyId | None:
        if wanted is None:
            return None
        provider, label = wanted
        made = self.providers[provider]
        if made.kind == STANDARD:
            row = next(row for row in self._rows if row["name"] == provider)
            server = self.servers.all[row["servers"][0]] if self.servers is not None and row.get("servers") else None
            known = next((key for key in server.keys if key.label == label), None) if server is not None else None
            if known is not None:
                found = KeyId(provider, known.id)
                self.digests[found] = known.digest
                return found
        # No server makes the keys of these providers; ids in the form of a native provider's.
        text = hashlib.sha256(f"{self.world.seed}:{provider}:{label}".encode()).hexdigest()
        found = KeyId(provider, str(uuid.UUID(text[:32])))
        self.digests[found] = text
        return found

    def add_provider(self, row: dict[str, Any]) -> Provider:
        """A provider of a scenario: registered, and with trust both ways unless it says otherwise."""
        made = self.new_provider(row["name"], row.get("kind", STANDARD))
        made.backup, made.tpm_required = row.get("has_backup", made.kind != NATIVE), row.get("tpm_required", False)
        for label in row.get("servers", ()):
            server = self.server(label)
            made.servers[label] = KmipServer(label, "127.0.0.1", server.port)
            if row.get("trusts_server", True):
                made.trusted.append(server.certificate)
            if row.get("trusted_by_server", True) and made.certificate is None:
                issued = server.client(f"vcenter-{self._numbers}")
                assert issued.certificate is not None and issued.key is not None
                made.use(Path(issued.certificate).read_text(), Path(issued.key).read_text())
        if row.get("wrapped"):
            made.wrapping = self._resolve((made.name, _wrapping(made.name)))
        if row.get("default"):
            self.default = made.name
        return made

    def new_provider(self, name: str, kind: str = STANDARD) -> Provider:
        self._numbers += 1
        files = self._folder / f"provider-{self._numbers}" if self._folder is not None else None
        made = self.providers[name] = Provider(name, kind, files=files)
        return made

    def server(self, label: str) -> Any:
        known = self.servers.all if self.servers is not None else {}
        if label not in known:
            raise ScenarioError(f"no key server '{label}': {near(label, known)}")
        return known[label]

    # ---- who there is ---------------------------------------------------------------------------------------------------------
    def machines(self) -> list[VirtualMachine]:
        return [machine for item in self.world.hosts for machine in item.machines]

    def chosen(self, pattern: str) -> list[VirtualMachine]:
        found = [machine for machine in self.machines() if fnmatch.fnmatchcase(machine.title, pattern)]
        if not found:
            raise ScenarioError(f"act: no VM '{pattern}': {near(pattern, {machine.title for machine in self.machines()})}")
        return found

    def opens(self, machine: VirtualMachine, key: KeyId | None = None) -> bool:
        """Whether the host of a machine has the right key: that of its home, or a given one."""
        wanted = key or machine.files.home
        held = machine.runs_on.state.crypto.cache.get(wanted) if wanted is not None else None
        return wanted is None or (held is not None and held == self.digests.get(wanted, held))

    def lacking(self, machine: VirtualMachine) -> list[KeyId]:
        return [key for key in machine.files.keys if not self.opens(machine, key)]

    # ---- vCenter and its providers --------------------------------------------------------------------------------------------
    def way(self, server: KmipServer) -> tuple[str, int] | None:
        if self.servers is not None:
            return self.servers.way(server.address, server.port)
        return (server.address, server.port) if server.address in ("127.0.0.1", "localhost") else None

    @contextlib.contextmanager
    def session(self, provider: Provider) -> Any:
        """A connection to the first of a provider's servers that takes one."""
        trouble: Unreachable = Unreachable("the provider has no server")
        with contextlib.ExitStack() as stack:
            for server in provider.servers.values():
                where = self.way(server)
                if where is None:
                    trouble = Unreachable("no route to host")
                    continue
                try:
                    opened = stack.enter_context(Session(*where, provider.credentials()))
                    opened.ping()
                except (Unreachable, KeyFault) as exc:
                    trouble = exc if isinstance(exc, Unreachable) else Untrusted(str(exc), False)
                    continue
                except ImportError:
                    trouble = Unreachable("PyKMIP is not installed")
                    continue
                self._reached(provider, True)
                yield opened
                return
        self._reached(provider, False)
        raise trouble

    def _reached(self, provider: Provider, now: bool) -> None:
        if not now and not provider.told_unreachable:
            self._log(_KMS + "Unreachable", f"Key provider {provider.name} cannot be reached", "error", clusterId=provider.name)
        provider.told_unreachable = not now

    def active(self, provider: Provider) -> bool:
        if provider.kind != STANDARD:
            return provider.available
        try:
            with self.session(provider):
                return True
        except Unreachable:
            return False

    def look(self, keys: Iterable[KeyId], *, material: bool = False) -> dict[KeyId, Found]:
        """Ask the providers of keys for them, each provider once; `material`: fetch them, as vCenter does to hand them to a host."""
        by_provider: dict[str, list[KeyId]] = {}
        for key in dict.fromkeys(keys):
            by_provider.setdefault(key.provider, []).append(key)
        out: dict[KeyId, Found] = {}
        for name, wanted in by_provider.items():
            provider = self.providers.get(name or self.default or "")
            if provider is None:
                out.update(dict.fromkeys(wanted, Found(INVALID, None)))
            elif provider.kind != STANDARD:
                # No server to ask: these providers hand keys to hosts themselves.
                for key in wanted:
                    known = self.digests.get(key)
                    gone = None if provider.available and known is not None else (MISSING if provider.available else UNREACHABLE)
                    out[key] = Found(gone, known if gone is None else None)
            else:
                out.update(self._ask(provider, wanted, material))
        return out

    def _ask(self, provider: Provider, wanted: list[KeyId], material: bool) -> dict[KeyId, Found]:
        ids = [key.id for key in wanted]
        wrapping = [provider.wrapping.id] if provider.wrapping is not None else []
        try:
            with self.session(provider) as opened:
                states = opened.states([*ids, *wrapping])
                usable = [one for one in ids if states[one] == "ACTIVE"]
                digests = opened.digests(usable) if material and usable else {}
        except Unreachable:
            return dict.fromkeys(wanted, Found(UNREACHABLE, None))
        wrapped = None
        if wrapping:
            state = states[wrapping[0]]
            wrapped = None if state == "ACTIVE" else (WRAPPING_MISSING if state is None else WRAPPING_INACTIVE)
        out = {}
        for key in wanted:
            state = states[key.id]
            reason = MISSING if state is None else (wrapped if state == "ACTIVE" else INACTIVE)
            out[key] = Found(reason, digests.get(key.id) if reason is None else None)
        return out

    def generate(self, provider: Provider, label: str) -> KeyId:
        """A new active key, made by the provider's server. Unreachable or KeyFault if it makes none."""
        if provider.kind == STANDARD:
            with self.session(provider) as opened:
                (made,) = opened.create([label])
                found = KeyId(provider.name, made)
                self.digests[found] = opened.digests([made])[made]
            for server in (self.servers.all if self.servers is not None else {}).values():
                server.touched = True
            return found
        if not provider.available:
            raise Unreachable("the provider is not available")
        text = hashlib.sha256(f"{self.world.seed}:{provider.name}:{label}:{len(self.digests)}".encode()).hexdigest()
        found = KeyId(provider.name, str(uuid.UUID(text[:32])))
        self.digests[found] = text
        return found

    # ---- hosts ----------------------------------------------------------------------------------------------------------------
    def enable(self, item: Any, key: KeyId, digest: str) -> None:
        """A host goes into safe mode with a host key."""
        host = item.state.crypto
        host.mode, host.key, host.lost = SAFE, key, None
        host.cache[key] = digest
        self._log(_HOST + "Enabled", f"Encryption mode is enabled on host {item.state.name}", entity=item)

    def make_safe(self, item: Any, *, always: bool = False) -> bool:
        """vCenter puts a host that was in safe mode before its reboot there again; with `always` any host that can."""
        host = item.state.crypto
        if host.mode == SAFE:
            return True
        if host.lost is None and not always:
            return False
        reason: str | None = INVALID
        if host.lost is not None:
            found = self.look([host.lost], material=True)[host.lost]
            reason = found.reason
            if reason is None and found.digest is not None:
                self.enable(item, host.lost, found.digest)
                return True
        suffix = "KMSClusterError" if reason in (INVALID, UNREACHABLE) else "KeyMissingOnKMS"
        provider = self.providers.get(self.default_of(item) or "")
        if provider is not None and (self.options["new_host_key"] or always):
            with contextlib.suppress(Unreachable, KeyFault):
                new = self.generate(provider, _host_label(item))
                if host.lost is not None:
                    self._log(f"{_HOST}HostKey.NewKey.{suffix}", f"A new host key is set on host {item.state.name}", "warning", entity=item)
                self.enable(item, new, self.digests[new])
                return True
        self._log(
            f"{_HOST}ReqEnable.{suffix}", f"Host {item.state.name} requires encryption mode, which cannot be enabled", "error", entity=item
        )
        return False

    def default_of(self, entity: Any) -> str | None:
        """The default provider of an entity: its own, or that of what it stands in, or vCenter's."""
        one = entity
        while one is not None:
            found = self.entity_defaults.get(one.moid)
            if found is not None:
                return found
            one = getattr(one, "above", None)
        return self.default

    def went_down(self, item: Any) -> None:
        """A host loses power: machines are off, and without a TPM its keys are gone."""
        host = item.state.crypto
        item.state.powered_on = False
        for machine in item.machines:
            machine.was_on, machine.powered_on = machine.powered_on, False
            machine.touch()
        if not host.tpm:
            if host.mode == SAFE:
                host.lost, host.mode = host.key, self.options["mode_after_reboot"]
            host.key = None
            host.cache.clear()

    def came_up(self, item: Any, push: bool = True) -> None:
        """A host is up again; with `push` it is connected, too, and vCenter may hand it keys."""
        item.state.powered_on = True
        self.hand_out(item, push=push)

    def hand_out(self, item: Any, push: bool = True) -> None:
        """What a host has of its machines' keys when it comes up or is connected: vCenter sends what is lacking and what it can get; what is
        lacking after that locks machines."""
        encrypted = [machine for machine in item.machines if machine.files.home is not None]
        if not encrypted and item.state.crypto.lost is None:
            return
        found: dict[KeyId, Found] = {}
        if self.vcenter and push and self.options["push_on_connect"] and item.state.connection == "connected":
            lacking = list(dict.fromkeys(key for machine in encrypted for key in self.lacking(machine)))
            if item.state.crypto.lost is not None:
                self.make_safe(item)
            if lacking:
                found = self.look(lacking, material=True)
                self._send(item, found)
        for machine in encrypted:
            self.judge(machine, found.get(machine.files.home, Found(None, None)).reason if machine.files.home else None)
            if machine.was_on and machine.autostart and not self.lacking(machine):
                machine.powered_on, machine.was_on = True, False
            machine.touch()

    def _send(self, item: Any, found: dict[KeyId, Found]) -> bool:
        """Keys go to a host, if it takes any."""
        host = item.state.crypto
        usable = {key: one.digest for key, one in found.items() if one.reason is None and one.digest is not None}
        for key, one in found.items():
            if one.reason is not None:
                suffix = "KMSClusterError" if one.reason in (INVALID, UNREACHABLE) else "KeyMissingOnKMS"
                self._log(
                    f"{_KMS}SendKeyError.{suffix}",
                    f"A key could not be sent to host {item.state.name}",
                    "error",
                    item,
                    clusterId=key.provider,
                )
        if usable and host.mode != SAFE:
            self._log(_HOST + "SendKeyError.HostError", f"Keys could not be sent to host {item.state.name}", "error", entity=item)
            return False
        host.cache.update(usable)
        return True

    def forget(self, item: Any, keys: Iterable[KeyId]) -> None:
        """A host loses keys while it runs; machines that run keep what they have in memory."""
        for key in keys:
            item.state.crypto.cache.pop(key, None)
        for machine in item.machines:
            if not machine.powered_on:
                self.judge(machine, None)

    # ---- machines -------------------------------------------------------------------------------------------------------------
    def judge(self, machine: VirtualMachine, reason: str | None) -> None:
        """Locked or not, by what its host has; `reason`: why vCenter could not help, None when it has not tried or could. One that runs has
        its key in memory."""
        locked = machine.files.home is not None and not self.opens(machine) and not machine.powered_on
        if locked == machine.locked:
            return
        machine.locked = locked
        machine.touch()
        if not self.vcenter:
            return
        if locked:
            self._locked(machine, reason)
        else:
            event = self._log(UNLOCKED, f"Virtual machine {machine.title} is unlocked", entity=machine)
            self._alarm(machine, "green", event)

    def _locked(self, machine: VirtualMachine, reason: str | None) -> None:
        assert machine.files.home is not None
        provider = self.providers.get(machine.files.home.provider)
        if provider is not None and provider.kind == TRUSTED:
            name = "TAKMSClusterUnavaliable" if reason == UNREACHABLE else "TAKeyMissingOnHost"
        elif reason in (INVALID, UNREACHABLE):
            name = "KMSClusterError"
        else:
            name = "KeyMissingOnHost" if reason is None else "KeyMissingOnKMS"
        event = self._log(f"{_VM}VMLocked.{name}", f"Virtual machine {machine.title} is locked", "error", entity=machine)
        self._alarm(machine, "red", event)

    def unlock(self, machine: VirtualMachine) -> str | None:
        """CryptoUnlock: vCenter sends the keys of the home and of all disks to the host. None when the machine is open, else why not:
        "provider", "host", "key" or "disk"."""
        item = machine.runs_on
        lacking = self.lacking(machine)
        if self.vcenter and lacking:
            if any(key.provider not in self.providers for key in lacking):
                return "provider"
            if not self.make_safe(item, always=self.options["unlock_enables_host"]):
                self._log(_HOST + "SendKeyError.HostError", f"Keys could not be sent to host {item.state.name}", "error", entity=item)
                return "host"
            found = self.look(lacking, material=True)
            self._send(item, found)
        self.judge(machine, None)
        for other in item.machines:
            # Machines that share the key are open with it.
            if other is not machine and other.locked and other.files.home == machine.files.home:
                self.judge(other, None)
        if machine.locked:
            return "key"
        return "disk" if self.lacking(machine) else None

    def registered(self, machine: VirtualMachine) -> None:
        """A machine came into the inventory: its host needs its keys."""
        reason = None
        if self.vcenter and self.lacking(machine) and machine.files.home is not None:
            self.make_safe(machine.runs_on)
            found = self.look(self.lacking(machine), material=True)
            reason = found[machine.files.home].reason if machine.files.home in found else None
            self._send(machine.runs_on, found)
        self.judge(machine, reason)

    def locked_here(self, file: MachineFile, item: Any) -> bool:
        """Whether a machine would be locked on a host as things are, and vCenter could not help."""
        if file.home is None:
            return False
        held = item.state.crypto.cache.get(file.home)
        if held is not None and held == self.digests.get(file.home, held):
            return False
        if not self.vcenter or (item.state.crypto.mode != SAFE and item.state.crypto.lost is None):
            return True
        return self.look([file.home])[file.home].reason is not None

    # ---- events and the alarm -------------------------------------------------------------------------------------------------
    def _log(self, type_id: str, text: str, severity: str = "info", entity: Any = None, **arguments: Any) -> Any:
        from .objects.events import log_extended

        return log_extended(self.world, type_id, text, severity, entity, arguments) if self.vcenter else None

    def _alarm(self, machine: VirtualMachine, status: str, event: Any) -> None:
        from .objects.alarms import change

        change(self.world, machine, status, event)

    # ---- what actions do ------------------------------------------------------------------------------------------------------
    def notice(self) -> None:
        """vCenter looks after its providers now and then."""
        if not self.vcenter:
            return
        for provider in self.providers.values():
            if provider.kind == STANDARD:
                before = provider.told_unreachable
                back = self.active(provider) and before
                if back and self.options["unlock_when_provider_returns"]:
                    for machine in self.machines():
                        if machine.locked and machine.files.home is not None and machine.files.home.provider == provider.name:
                            self.unlock(machine)

    def rename(self, old: str, new: str) -> None:
        """A provider is set up anew under another name: keys name the old one."""
        if old not in self.providers:
            raise ScenarioError(f"act rename_provider: no key provider '{old}': {near(old, self.providers)}")
        found = self.providers.pop(old)
        found.name = new
        self.providers[new] = found
        if self.default == old:
            self.default = new
        self.entity_defaults = {moid: new if name == old else name for moid, name in self.entity_defaults.items()}

    def dump(self, keys: bool = True) -> dict[str, Any]:
        """Key ids only; of certificates, whether there are any. Without `keys` no key server is asked for the states of its keys."""
        providers = {
            name: {
                "kind": one.kind,
                "servers": sorted(one.servers),
                "trusts": len(one.trusted),
                "has_certificate": one.certificate is not None,
                "available": one.available if one.kind != STANDARD else None,
            }
            for name, one in sorted(self.providers.items())
        }
        machines: dict[str, Any] = {}
        for machine in self.machines():
            if machine.listed:
                key = machine.title if machine.title not in machines else f"{machine.title} ({machine.moid})"
                machines[key] = {
                    "moid": machine.moid,
                    "host": machine.runs_on.state.name,
                    "folder": machine.above.title if machine.above is not None else None,
                    "pool": machine.pool.title,
                    "path": machine.files.path,
                    "crypto": None if machine.files.home is None else ("locked" if machine.locked else "unlocked"),
                    "connection": machine.connection,
                    "powered_on": machine.powered_on,
                    "key": told(machine.files.home),
                    "disks": {disk.label: told(disk.key) for disk in machine.files.disks},
                    "lacking": [told(key) for key in self.lacking(machine)],
                    "annotation": machine.files.annotation,
                    "snapshots": list(machine.files.snapshots),
                    "permissions": [dict(row) for row in machine.permissions],
                    "custom_values": dict(sorted(machine.custom.items())),
                    "tags": list(machine.tags),
                }
        registered = {machine.files.path for machine in self.machines()}
        return {
            "key_servers": {name: one.dump(keys) for name, one in (self.servers.all if self.servers is not None else {}).items()},
            "cut_key_servers": sorted(self.servers.cut) if self.servers is not None else [],
            "providers": providers,
            "default_provider": self.default,
            "vms": machines,
            "unregistered": sorted(path for path in self.files if path not in registered),
        }


def told(key: KeyId | None) -> str | None:
    return None if key is None else f"{key.provider}/{key.id}"


def host_dump(host: HostCrypto) -> dict[str, Any]:
    return {
        "mode": host.mode,
        "host_key": told(host.key),
        "lost_host_key": told(host.lost),
        "cache": sorted(str(told(key)) for key in host.cache),
        "tpm": host.tpm,
    }


def _host_label(item: Any) -> str:
    return f"host/{item.state.name}"


def _wrapping(provider: str) -> str:
    return f"wrapping/{provider}"

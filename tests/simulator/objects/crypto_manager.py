# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CryptoManagerKmip of a vCenter, CryptoManagerHost of a host (facts.md 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyVmomi import VmomiSupport, vim

from ..crypto import (
    BY_NATIVE,
    BY_TRUST_AUTHORITY,
    IN_CACHE,
    INCAPABLE,
    NATIVE,
    NO_PERMISSION,
    PREPARED,
    SAFE,
    STANDARD,
    TRUSTED,
    UNREACHABLE,
    KeyId,
    KmipServer,
    Provider,
)
from ..errors import SoapFault
from ..key_server import certificate as sign_certificate
from ..key_server import key_pem, pem, private_key
from ..kmip_client import Credentials, KeyFault, Session, Unreachable, Untrusted, peek
from ..registry import Call, Managed, operation, prop
from ..versions import at_least
from .host_part import HostPart
from .inventory import array
from .virtual_machine import NOT_NOW, key_id

SERVERS, KEYS, HOSTS = "Cryptographer.ManageKeyServers", "Cryptographer.ManageKeys", "Cryptographer.RegisterHost"
_TYPES = {STANDARD: 1, TRUSTED: 2, NATIVE: 8}
_KIND = "vim.encryption.CryptoManagerKmip."


def invalid(what: str) -> SoapFault:
    return SoapFault("InvalidArgument", f"A specified parameter was not correct: {what}", invalidProperty=what)


def plain_key(wanted: Any) -> KeyId:
    if wanted is None or wanted.keyId is None:
        raise invalid("keyId")
    return KeyId((wanted.providerId.id or "") if wanted.providerId is not None else "", wanted.keyId)


def provider_name(wanted: Any, what: str) -> str:
    if wanted is None or not wanted.id:
        raise invalid(what)
    return str(wanted.id)


def whole(server: Any, what: str) -> Any:
    """A KmipServerInfo that says where the server is."""
    if server is None or not server.name or not server.address or server.port is None:
        raise invalid(what)
    return server


def result(key: KeyId, fault: SoapFault | None = None, reason: str | None = None) -> Any:
    made = vim.encryption.CryptoKeyResult(keyId=key_id(key), success=fault is None and reason is None)
    if fault is not None or reason is not None:
        made.reason = reason or (fault.text if fault is not None else None)
    return made


class CryptoManagerKmip(Managed):
    TYPE = vim.encryption.CryptoManagerKmip

    @property
    def crypto(self) -> Any:
        return self.world.crypto

    def _provider(self, wanted: Any, what: str = "cluster") -> Provider:
        found = self.crypto.providers.get(provider_name(wanted, what))
        if found is None:
            raise invalid(what)
        return found

    @prop
    def enabled(self) -> bool:
        return True

    # ---- what there is --------------------------------------------------------------------------------------------------------
    def _info(self, provider: Provider, servers: bool = True) -> Any:
        made = vim.encryption.KmipClusterInfo(
            clusterId=vim.encryption.KeyProviderId(id=provider.name),
            useAsDefault=self.crypto.default == provider.name,
            managementType=provider.kind,
        )
        if servers:
            made.servers = [_server_info(one) for one in provider.servers.values()]
        ids = [moid for moid, name in self.crypto.entity_defaults.items() if name == provider.name]
        made.useAsEntityDefault = array(
            "vim.ManagedEntity", [one.ref for one in (self.world.find(moid) for moid in ids) if one is not None]
        )
        if provider.kind == NATIVE:
            made.hasBackup, made.tpmRequired = provider.backup, provider.tpm_required
            made.keyId = hashlib.md5(provider.name.encode()).hexdigest()
        if provider.wrapping is not None and hasattr(made, "defaultKeyType"):  # pyVmomi 9 knows it
            made.defaultKeyType = "wrappedKey"
        return made

    @prop
    def kmipServers(self) -> Any:
        return array("vim.encryption.KmipClusterInfo", [self._info(one) for one in self.crypto.providers.values()])

    @operation(privilege=SERVERS)
    def ListKmipServers(self, call: Call, limit: int | None = None) -> Any:
        found = [self._info(one) for one in self.crypto.providers.values()]
        return found[:limit] if limit is not None and limit >= 0 else found

    @operation(privilege=SERVERS)
    def ListKmsClusters(
        self, call: Call, includeKmsServers: bool | None = None, managementTypeFilter: int | None = None, statusFilter: int | None = None
    ) -> Any:
        found = []
        for one in self.crypto.providers.values():
            if managementTypeFilter and not managementTypeFilter & _TYPES[one.kind]:
                continue
            if statusFilter and not statusFilter & (1 if self.crypto.active(one) else 2):
                continue
            found.append(self._info(one, bool(includeKmsServers)))
        return found

    @operation(privilege=SERVERS)
    def RetrieveKmipServersStatus_Task(self, call: Call, clusters: Any = None) -> Any:
        named = [provider_name(one.clusterId, "clusters") for one in clusters or ()] or list(self.crypto.providers)

        def work() -> Any:
            made = [self._status(self.crypto.providers[one]) for one in named if one in self.crypto.providers]
            if len(made) < len(named):
                raise invalid("clusters")
            return array(_KIND + "ClusterStatus", made)

        return self.world.start_task(call, "vim.encryption.CryptoManagerKmip.retrieveKmipServersStatus", self, work)

    def _status(self, provider: Provider) -> Any:
        servers = [self._server_status(provider, one) for one in provider.servers.values()]
        colours = {str(one.status) for one in servers}
        if provider.kind != STANDARD:
            overall = "green" if provider.available else "red"
        else:
            overall = "red" if colours <= {"red"} else ("green" if colours == {"green"} else "yellow")
        self.crypto._reached(provider, overall != "red")
        made = vim.encryption.CryptoManagerKmip.ClusterStatus(
            clusterId=vim.encryption.KeyProviderId(id=provider.name),
            overallStatus=getattr(vim.ManagedEntity.Status, overall),
            managementType=provider.kind,
            clientCertInfo=self._certificate(provider.certificate) if provider.certificate is not None else None,
        )
        made.__dict__["servers"] = array(_KIND + "ServerStatus", servers)  # required, and empty for a native provider; pyVmomi minds that
        return made

    def _server_status(self, provider: Provider, server: KmipServer) -> Any:
        """One look at a server: does it answer, do we trust it, does it trust us."""
        made = vim.encryption.CryptoManagerKmip.ServerStatus(
            name=server.name, status=vim.ManagedEntity.Status.red, connectionStatus="Cannot connect to the key server"
        )
        where = self.crypto.way(server)
        shown = peek(*where) if where is not None else None
        if where is None or shown is None:
            return made
        text = ssl.DER_cert_to_PEM_cert(shown)
        made.certInfo = self._certificate(text)
        made.clientTrustServer = made.serverTrustClient = False
        try:
            with Session(where[0], where[1], provider.credentials()) as opened:
                made.clientTrustServer = True
                opened.ping()
            made.serverTrustClient = True
            made.status, made.connectionStatus = vim.ManagedEntity.Status.green, "Connected"
        except Untrusted as exc:
            made.clientTrustServer = not exc.client
            made.connectionStatus = str(exc)
        except (Unreachable, KeyFault) as exc:
            made.connectionStatus = str(exc)
        return made

    def _certificate(self, text: str) -> Any:
        found = x509.load_pem_x509_certificate(text.encode())
        now = self.world.server_time().replace(microsecond=0)
        kind = hashes.SHA256() if self.crypto.options["fingerprint"] == "sha256" else hashes.SHA1()
        return vim.encryption.CryptoManagerKmip.CertificateInfo(
            subject=found.subject.rfc4514_string(),
            issuer=found.issuer.rfc4514_string(),
            serialNumber=f"{found.serial_number:X}",
            notBefore=found.not_valid_before_utc,
            notAfter=found.not_valid_after_utc,
            fingerprint=found.fingerprint(kind).hex(":").upper(),
            checkTime=now,
            secondsSinceValid=int((now - found.not_valid_before_utc).total_seconds()),
            secondsBeforeExpire=int((found.not_valid_after_utc - now).total_seconds()),
        )

    @operation(privilege=SERVERS)
    def IsKmsClusterActive(self, call: Call, cluster: Any = None) -> bool:
        wanted = cluster.id if cluster is not None else self.crypto.default
        found = self.crypto.providers.get(wanted or "")
        if found is None:
            raise invalid("cluster")
        return bool(self.crypto.active(found))

    # ---- keys -----------------------------------------------------------------------------------------------------------------
    @operation(privilege=KEYS)
    def QueryCryptoKeyStatus(self, call: Call, checkKeyBitMap: int, keyIds: Any = None) -> Any:
        wanted = [plain_key(one) for one in keyIds or ()]
        found = self.crypto.look(wanted) if checkKeyBitMap & 1 else {}
        hidden = self.crypto.options["provider_permissions"] and not self.world.allowed(call.who, "Cryptographer.ReadKeyServersInfo", self)
        users: dict[KeyId, list[Any]] = {}
        if checkKeyBitMap & 2:
            for machine in self.crypto.machines():
                if machine.readable or self.crypto.options["encrypted_vms"] == "all":
                    for key in machine.files.keys:
                        users.setdefault(key, []).append(machine.ref)
        rows = []
        for given, key in zip(keyIds or (), wanted, strict=True):
            row = vim.encryption.CryptoManagerKmip.CryptoKeyStatus(keyId=given)
            if checkKeyBitMap & 1:
                row.reason = NO_PERMISSION if hidden else self._reason(key, found[key].reason)
                row.keyAvailable = row.reason is None
            if checkKeyBitMap & 2:
                row.encryptedVMs = array("vim.VirtualMachine", users.get(key, []))
            if checkKeyBitMap & 4:
                hosts = [item.ref for item in self.world.hosts if key in (item.state.crypto.key, item.state.crypto.lost)]
                row.affectedHosts = array("vim.HostSystem", hosts)
            rows.append(row)
        return array(_KIND + "CryptoKeyStatus", rows)

    def _reason(self, key: KeyId, reason: str | None) -> str | None:
        provider = self.crypto.providers.get(key.provider or self.crypto.default or "")
        if provider is not None and provider.kind == NATIVE:
            return BY_NATIVE  # "vCenter cannot tell", also of keys that are well
        if provider is not None and provider.kind == TRUSTED:
            return BY_TRUST_AUTHORITY
        if reason == UNREACHABLE and self.crypto.options["unreachable_reason"] == IN_CACHE:
            return IN_CACHE
        return reason

    @operation(privilege=KEYS)
    def ListKeys(self, call: Call, limit: int | None = None) -> Any:
        # Keys of machines that are correctly registered, and of hosts (DOC8).
        keys = [key for machine in self.crypto.machines() if not machine.locked and machine.state is None for key in machine.files.keys]
        keys += [item.state.crypto.key for item in self.world.hosts if item.state.crypto.key is not None]
        made = [key_id(key) for key in dict.fromkeys(keys)]
        return made[:limit] if limit is not None and limit > 0 else made

    @operation(privilege=KEYS, writes=True)
    def GenerateKey(self, call: Call, keyProvider: Any = None, spec: Any = None, keySpec: Any = None) -> Any:
        wanted = keyProvider.id if keyProvider is not None else self.crypto.default
        provider = self.crypto.providers.get(wanted or "")
        if provider is None:
            return result(KeyId(wanted or "", ""), reason="The key provider is not configured.")
        try:
            return result(self.crypto.generate(provider, f"generated/{self.world.next_id('key-')}"))
        except (Unreachable, KeyFault) as exc:
            self.crypto._log("com.vmware.vc.kms.crypto.KeyGenerateFail", f"No key could be generated by {provider.name}", "error")
            return result(KeyId(provider.name, ""), reason=f"Cannot generate a key: {exc}")

    # ---- servers --------------------------------------------------------------------------------------------------------------
    @operation(privilege=SERVERS, writes=True)
    def RegisterKmipServer(self, call: Call, server: Any) -> None:
        name, info = provider_name(server.clusterId, "server.clusterId"), whole(server.info, "server.info")
        found = self.crypto.providers.get(name)
        if found is not None and (found.kind != STANDARD or info.name in found.servers):
            raise invalid("server.info.name" if found.kind == STANDARD else "server.clusterId")
        if found is None:
            found = self.crypto.new_provider(name)
            if self.crypto.default is None and self.crypto.options["first_provider_default"]:
                self.crypto.default = found.name
        found.servers[info.name] = KmipServer(info.name, info.address, info.port, _more(info, {}))
        self.world.touch()

    def _server(self, provider: Provider, server: str, what: str) -> KmipServer:
        if server not in provider.servers:
            raise invalid(what)
        return provider.servers[server]

    @operation(privilege=SERVERS, writes=True)
    def UpdateKmipServer(self, call: Call, server: Any) -> None:
        provider = self._provider(server.clusterId, "server.clusterId")
        whole(server.info, "server.info")
        old = self._server(provider, server.info.name, "server.info.name")
        provider.servers[old.name] = KmipServer(old.name, server.info.address, server.info.port, _more(server.info, old.more))
        self.world.touch()

    @operation(privilege=SERVERS, writes=True)
    def RemoveKmipServer(self, call: Call, clusterId: Any, serverName: str) -> None:
        provider = self._provider(clusterId, "clusterId")
        self._server(provider, serverName, "serverName")
        del provider.servers[serverName]
        if not provider.servers:
            self._remove(provider)
        self.world.touch()

    def _remove(self, provider: Provider) -> None:
        del self.crypto.providers[provider.name]
        if self.crypto.default == provider.name:
            self.crypto.default = None
        self.crypto.entity_defaults = {moid: one for moid, one in self.crypto.entity_defaults.items() if one != provider.name}

    @operation(privilege=SERVERS, writes=True)
    def RegisterKmsCluster(self, call: Call, clusterId: Any, managementType: str | None = None) -> None:
        kind = managementType or TRUSTED
        name = provider_name(clusterId, "clusterId")
        if name in self.crypto.providers or kind not in (STANDARD, TRUSTED, NATIVE):
            raise invalid("clusterId" if name in self.crypto.providers else "managementType")
        self.crypto.new_provider(name, kind)
        self.world.touch()

    @operation(privilege=SERVERS, writes=True)
    def UnregisterKmsCluster(self, call: Call, clusterId: Any) -> None:
        self._remove(self._provider(clusterId, "clusterId"))
        self.world.touch()

    @operation(privilege=SERVERS, writes=True)
    def MarkDefault(self, call: Call, clusterId: Any) -> None:
        self.crypto.default = self._provider(clusterId, "clusterId").name
        self.world.touch()

    @operation(privilege=SERVERS, writes=True)
    def SetDefaultKmsCluster(self, call: Call, entity: Any = None, clusterId: Any = None) -> None:
        wanted = self._provider(clusterId, "clusterId").name if clusterId is not None else None
        if entity is None:
            self.crypto.default = wanted
        elif not isinstance(entity, (vim.ClusterComputeResource, vim.Folder)) or self.world.find(entity._moId) is None:
            raise invalid("entity")
        elif wanted is None:
            self.crypto.entity_defaults.pop(entity._moId, None)
        else:
            self.crypto.entity_defaults[entity._moId] = wanted
        self.world.touch()

    @operation(privilege=SERVERS)
    def GetDefaultKmsCluster(self, call: Call, entity: Any = None, defaultsToParent: bool | None = None) -> Any:
        if entity is None:
            found = self.crypto.default
        elif defaultsToParent:
            found = self.crypto.default_of(self.world.find(entity._moId))
        else:
            found = self.crypto.entity_defaults.get(entity._moId)
        return vim.encryption.KeyProviderId(id=found) if found is not None else None

    # ---- trust ----------------------------------------------------------------------------------------------------------------
    @operation(privilege=SERVERS)
    def RetrieveKmipServerCert(self, call: Call, keyProvider: Any, server: Any) -> Any:
        made = vim.encryption.CryptoManagerKmip.ServerCertInfo(certificate="")
        provider = self.crypto.providers.get(provider_name(keyProvider, "keyProvider"))
        whole(server, "server")
        where = self.crypto.way(KmipServer(server.name, server.address, server.port))
        shown = peek(*where) if where is not None else None
        if shown is None or where is None:
            return made  # empty on error
        made.certificate = ssl.DER_cert_to_PEM_cert(shown)
        made.certInfo = self._certificate(made.certificate)
        made.clientTrustServer = provider is not None and _trusts(provider, where)
        return made

    @operation(privilege=SERVERS, writes=True)
    def UploadKmipServerCert(self, call: Call, cluster: Any, certificate: str) -> None:
        provider = self._provider(cluster)
        _read(certificate, "certificate")
        if certificate not in provider.trusted:
            provider.trusted.append(str(certificate))
        self.world.touch()

    def _subject(self, request: Any) -> x509.Name:
        given: dict[str, str | None] = {
            field: getattr(request, field, None)
            for field in ("commonName", "organization", "organizationUnit", "locality", "state", "country", "email")
        }
        names = {
            "organization": NameOID.ORGANIZATION_NAME,
            "organizationUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
            "locality": NameOID.LOCALITY_NAME,
            "state": NameOID.STATE_OR_PROVINCE_NAME,
            "country": NameOID.COUNTRY_NAME,
            "email": NameOID.EMAIL_ADDRESS,
        }
        rows = [(oid, given[field]) for field, oid in names.items()] + [(NameOID.COMMON_NAME, given["commonName"] or self.world.name)]
        try:
            return x509.Name([x509.NameAttribute(oid, text) for oid, text in rows if text])
        except ValueError:
            raise invalid("request") from None

    @operation(privilege=SERVERS, writes=True)
    def GenerateSelfSignedClientCert(self, call: Call, cluster: Any, request: Any = None) -> str:
        provider = self._provider(cluster)
        key = private_key()
        subject = self._subject(request)
        made = pem(sign_certificate(subject, key.public_key(), subject, key, usage=ExtendedKeyUsageOID.CLIENT_AUTH))
        provider.pending["self-signed"] = (made, key_pem(key).decode())  # the latest generation wins
        return made

    @operation(privilege=SERVERS, writes=True)
    def GenerateClientCsr(self, call: Call, cluster: Any, request: Any = None) -> str:
        provider = self._provider(cluster)
        key = private_key()
        made = x509.CertificateSigningRequestBuilder().subject_name(self._subject(request)).sign(key, hashes.SHA256())
        text = made.public_bytes(serialization.Encoding.PEM).decode()
        provider.pending["csr"] = (text, key_pem(key).decode())
        return text

    @operation(privilege=SERVERS)
    def RetrieveSelfSignedClientCert(self, call: Call, cluster: Any) -> str:
        return str(self._provider(cluster).pending.get("self-signed", ("",))[0])

    @operation(privilege=SERVERS)
    def RetrieveClientCsr(self, call: Call, cluster: Any) -> str:
        return str(self._provider(cluster).pending.get("csr", ("",))[0])

    @operation(privilege=SERVERS)
    def RetrieveClientCert(self, call: Call, cluster: Any) -> str:
        return self._provider(cluster).certificate or ""

    def _put(self, cluster: Any, certificate: str, key: str | None) -> None:
        provider = self._provider(cluster)
        found = _read(certificate, "certificate")
        if key is None:
            raise SoapFault("InvalidState", NOT_NOW)
        try:
            private = serialization.load_pem_private_key(key.encode(), None)
        except (ValueError, TypeError):
            raise invalid("privateKey") from None
        if _public(private.public_key()) != _public(found.public_key()):
            raise invalid("certificate")
        provider.use(str(certificate), key)
        self.world.touch()

    @operation(privilege=SERVERS, writes=True)
    def UpdateSelfSignedClientCert(self, call: Call, cluster: Any, certificate: str) -> None:
        self._put(cluster, certificate, self._provider(cluster).pending.get("self-signed", (None, None))[1])

    @operation(privilege=SERVERS, writes=True)
    def UpdateKmsSignedCsrClientCert(self, call: Call, cluster: Any, certificate: str) -> None:
        self._put(cluster, certificate, self._provider(cluster).pending.get("csr", (None, None))[1])

    @operation(privilege=SERVERS, writes=True)
    def UploadClientCert(self, call: Call, cluster: Any, certificate: str, privateKey: str) -> None:
        self._put(cluster, certificate, str(privateKey))


def _public(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _read(text: str, what: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        raise invalid(what) from None


def _trusts(provider: Provider, where: tuple[str, int]) -> bool:
    try:
        with Session(*where, Credentials(None, None, tuple(provider.trusted))):
            return True
    except Untrusted as exc:
        return not exc.client
    except Unreachable:
        return bool(provider.trusted)
    except ssl.SSLError:
        return False


_OPTIONAL = ("proxyAddress", "proxyPort", "reconnect", "protocol", "nbio", "timeout", "userName")


def _more(info: Any, old: dict[str, Any]) -> dict[str, Any]:
    """Optional settings: what is not sent stays, -1 and the empty text delete one (facts.md 4.2)."""
    out = dict(old)
    for field in _OPTIONAL:
        value = getattr(info, field)
        if value in (-1, ""):
            out.pop(field, None)
        elif value is not None:
            out[field] = value
    return out


def _server_info(server: KmipServer) -> Any:
    return vim.encryption.KmipServerInfo(name=server.name, address=server.address, port=server.port, **server.more)


class CryptoManagerHost(HostPart):
    """A host's own: its crypto mode and its cache of keys."""

    TYPE = vim.encryption.CryptoManagerHost

    @property
    def crypto(self) -> Any:
        return self.state.crypto

    def _digest(self, key: Any) -> str:
        if not key.keyData:
            raise invalid("keyData")
        try:
            return hashlib.sha256(base64.b64decode(key.keyData, validate=True)).hexdigest()
        except (binascii.Error, ValueError):
            raise invalid("keyData") from None

    @prop
    def enabled(self) -> bool:
        return bool(self.crypto.mode == SAFE)

    @operation(privilege=KEYS, needs_host=True)
    def ListKeys(self, call: Call, limit: int | None = None) -> Any:
        made = [key_id(key) for key in self.crypto.cache]
        return made[:limit] if limit is not None and limit > 0 else made

    @operation(privilege=KEYS, needs_host=True)
    def GetCryptoKeyStatus(self, call: Call, keys: Any = None) -> Any:
        kind = vim.encryption.CryptoManagerHost.KeyStatus
        rows = []
        for one in keys or ():
            key = plain_key(one)
            there = key in self.crypto.cache
            row = kind(keyId=one, present=there)
            provider = self.world.crypto.providers.get(key.provider)
            if there:
                row.managementType = "external" if provider is None or provider.kind == STANDARD else "internal"
                row.accessGranted = True
            rows.append(row)
        return VmomiSupport.GetVmodlType("vim.encryption.CryptoManagerHost.KeyStatus[]")(rows)

    def _add(self, key: Any) -> KeyId:
        found = plain_key(key.keyId)
        if self.crypto.mode != SAFE:
            raise SoapFault("InvalidState", NOT_NOW)
        if found in self.crypto.cache:
            raise SoapFault("AlreadyExists", "The specified key, name, or identifier already exists.", name=found.id)
        self.crypto.cache[found] = self._digest(key)
        if self.world.crypto.options["add_key_unlocks"]:
            for machine in self.owner.machines:
                self.world.crypto.judge(machine, None)
        self.world.touch()
        return found

    @operation(privilege=KEYS, writes=True, needs_host=True)
    def AddKey(self, call: Call, key: Any) -> None:
        self._add(key)

    @operation(privilege=KEYS, writes=True, needs_host=True)
    def AddKeys(self, call: Call, keys: Any = None) -> Any:
        if self.crypto.mode != SAFE:
            raise SoapFault("InvalidState", NOT_NOW)
        rows = []
        for one in keys or ():
            try:
                rows.append(result(self._add(one)))
            except SoapFault as fault:
                rows.append(result(plain_key(one.keyId), fault))
        return rows

    def _remove(self, wanted: KeyId, force: bool) -> None:
        used = wanted == self.crypto.key or any(wanted in machine.files.keys for machine in self.owner.machines)
        if used and not force:
            raise SoapFault("ResourceInUse", "The resource is in use.", type=vim.encryption.CryptoKeyId, name=wanted.id)
        self.world.crypto.forget(self.owner, [wanted])
        self.world.touch()

    @operation(privilege=KEYS, writes=True, needs_host=True)
    def RemoveKey(self, call: Call, key: Any, force: bool) -> None:
        self._remove(plain_key(key), bool(force))

    @operation(privilege=KEYS, writes=True, needs_host=True)
    def RemoveKeys(self, call: Call, force: bool, keys: Any = None) -> Any:
        rows = []
        for one in keys or ():
            try:
                self._remove(plain_key(one), bool(force))
                rows.append(result(plain_key(one)))
            except SoapFault as fault:
                rows.append(result(plain_key(one), fault))
        return rows

    def prepare(self) -> None:
        if self.crypto.mode != INCAPABLE:
            raise SoapFault("InvalidState", NOT_NOW)
        self.crypto.mode = PREPARED
        self.world.touch()

    def enable(self, key: Any) -> None:
        if self.crypto.mode != PREPARED:
            raise SoapFault("InvalidState", NOT_NOW)
        self.world.crypto.enable(self.owner, plain_key(key.keyId), self._digest(key))
        self.world.touch()

    @operation(privilege=HOSTS, writes=True, needs_host=True)
    def CryptoManagerHostPrepare(self, call: Call) -> None:
        self.prepare()

    @operation(privilege=HOSTS, writes=True, needs_host=True)
    def CryptoManagerHostEnable(self, call: Call, initialKey: Any) -> None:
        self.enable(initialKey)

    @operation(privilege=HOSTS, writes=True, needs_host=True)
    def ChangeKey_Task(self, call: Call, newKey: Any) -> Any:
        def work() -> None:
            if self.crypto.mode != SAFE:
                raise SoapFault("InvalidState", NOT_NOW)
            self.crypto.key = plain_key(newKey.keyId)
            self.crypto.cache[self.crypto.key] = self._digest(newKey)

        return self.world.start_task(call, "vim.encryption.CryptoManagerHost.changeKey", self, work)

    @operation(privilege=HOSTS, writes=True, needs_host=True)
    def CryptoManagerHostDisable(self, call: Call) -> None:
        if self.crypto.mode != SAFE:
            raise SoapFault("InvalidState", NOT_NOW)
        # Until its next reboot (API since 7.0); one that has encrypted machines running cannot.
        if any(machine.files.home is not None and machine.powered_on for machine in self.owner.machines):
            raise SoapFault("InvalidState", NOT_NOW)
        self.crypto.mode, self.crypto.key, self.crypto.lost = "pendingIncapable", None, None
        self.world.touch()


class CryptoManagerHostKMS(CryptoManagerHost):
    """The same of a host under vCenter."""

    TYPE = vim.encryption.CryptoManagerHostKMS


def crypto_state(item: Any) -> str:
    mode = str(item.state.crypto.mode)
    return mode if mode != "pendingIncapable" or at_least(item.state.profile.api, "7.0.0.0") else SAFE


def configure(item: Any, wanted: Any) -> None:
    """HostSystem.ConfigureCryptoKey: vCenter gives a host a host key, a given one or a new one, and puts it into safe mode."""
    world = item.world
    if world.kind == "esxi":
        raise SoapFault("NotSupported", "The operation is not supported on the object.")
    crypto = world.crypto
    if wanted is not None:
        key = plain_key(wanted)
        found = crypto.look([key], material=True)[key]
        if found.reason is not None or found.digest is None:
            raise SoapFault("InvalidState", NOT_NOW)
        crypto.enable(item, key, found.digest)
        return
    provider = crypto.providers.get(crypto.default_of(item) or "")
    if provider is None:
        raise SoapFault("InvalidState", NOT_NOW)
    try:
        key = crypto.generate(provider, f"host/{item.state.name}")
    except (Unreachable, KeyFault):
        raise SoapFault("InvalidState", NOT_NOW) from None
    crypto.enable(item, key, crypto.digests[key])


__all__ = ["CryptoManagerHost", "CryptoManagerHostKMS", "CryptoManagerKmip", "configure", "crypto_state"]

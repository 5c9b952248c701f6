# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostSystem: what a host says about itself. Values come from the profile (a capture) and from the host's own state.

Each part of `config` has its own getter, so that reading config.dateTimeInfo of 1,000 hosts does not build 1,000 whole configs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim

from .. import hardware as hardware_of
from ..errors import SoapFault
from ..host import Host
from ..plain import data
from ..registry import Call, Managed, Raw, operation, prop
from ..versions import Api, older
from ..ways import HTTPS
from ..xmlwrite import frozen
from . import (
    certificate_manager,
    crypto_manager,
    date_time_system,
    esxcli,
    firewall_system,
    image_config,
    network_system,
    option_manager,
    patch_manager,
    service_system,
    storage_system,
    vsan_system,
)
from .file_manager import HostDatastoreBrowser
from .inventory import NO_HOST, ComputeResource, Datacenter, Entity, array
from .virtual_machine import key_id

if TYPE_CHECKING:
    from ..world import World

# HostConfigManager: member -> (moid prefix under vCenter, moid on a stand-alone host). vCenter's from the 8.0.3 capture (facts.md 6.2),
# ESXi's from govmomi's capture of 6.5 where it has them.
MANAGERS: dict[str, tuple[str, str]] = {
    "accountManager": ("accountManager", "ha-localacctmgr"),
    "advancedOption": ("EsxHostAdvSettings", "ha-adv-options"),
    "authenticationManager": ("authenticationManager", "ha-auth-manager"),
    "autoStartManager": ("autoStartManager", "ha-autostart-mgr"),
    "bootDeviceSystem": ("bootDeviceSystem", "ha-boot-device-system"),
    "cacheConfigurationManager": ("cacheConfigManager", "ha-cache-configuration-manager"),
    "certificateManager": ("ha-certificate-manager", "ha-certificate-manager"),
    "cpuScheduler": ("cpuScheduler", "cpuSchedulerSystem"),
    "cryptoManager": ("CryptoManagerHost", "ha-crypto-manager"),
    "datastoreSystem": ("datastoreSystem", "ha-datastoresystem"),
    "dateTimeSystem": ("dateTimeSystem", "dateTimeSystem"),
    "diagnosticSystem": ("diagnosticSystem", "diagnosticsystem"),
    "esxAgentHostManager": ("esxAgentHostManager", "ha-esx-agent-host-manager"),
    "firewallSystem": ("firewallSystem", "firewallSystem"),
    "firmwareSystem": ("firmwareSystem", "ha-firmwareSystem"),
    "graphicsManager": ("graphicsManager", "ha-graphics-manager"),
    "healthStatusSystem": ("healthStatusSystem", "healthStatusSystem"),
    "hostAccessManager": ("hostAccessManager", "ha-host-access-manager"),
    "imageConfigManager": ("imageConfigManager", "ha-image-config-manager"),
    "iscsiManager": ("iscsiManager", "iscsiManager"),
    "kernelModuleSystem": ("kernelModuleSystem", "kernelModuleSystem"),
    "memoryManager": ("memorySystem", "memoryManagerSystem"),
    "messageBusProxy": ("messageBusProxy", "messageBusProxy"),
    "networkSystem": ("networkSystem", "networkSystem"),
    "nvdimmSystem": ("ha-nvdimm-system", "ha-nvdimm-system"),
    "patchManager": ("patchManager", "ha-host-patch-manager"),
    "pciPassthruSystem": ("pciPassthruSystem", "ha-pcipassthrusystem"),
    "powerSystem": ("powerSystem", "ha-power-system"),
    "serviceSystem": ("serviceSystem", "serviceSystem"),
    "snmpSystem": ("snmpSystem", "ha-snmp-agent"),
    "storageSystem": ("storageSystem", "storageSystem"),
    "userDirectory": ("userDirectory", "ha-user-directory"),
    "vFlashManager": ("vFlashManager", "ha-vflash-manager"),
    "virtualNicManager": ("virtualNicManager", "ha-vnic-mgr"),
    "vmotionSystem": ("vmotionSystem", "ha-vmotion-system"),
    "vsanInternalSystem": ("ha-vsan-internal-system", "ha-vsan-internal-system"),
    "vsanSystem": ("vsanSystem", "ha-vsan-system"),
}
# The managers that are more than a reference. A new feature adds its line here and its file beside this one.
FAMILIES: dict[str, Any] = {
    "advancedOption": option_manager.OptionManager,
    "certificateManager": certificate_manager.HostCertificateManager,
    "cryptoManager": crypto_manager.CryptoManagerHost,
    "dateTimeSystem": date_time_system.HostDateTimeSystem,
    "firewallSystem": firewall_system.HostFirewallSystem,
    "imageConfigManager": image_config.HostImageConfigManager,
    "networkSystem": network_system.HostNetworkSystem,
    "patchManager": patch_manager.HostPatchManager,
    "serviceSystem": service_system.HostServiceSystem,
    "storageSystem": storage_system.HostStorageSystem,
    "virtualNicManager": network_system.HostVirtualNicManager,
    "vsanSystem": vsan_system.HostVsanSystem,
}
_BY_PREFIX = {prefix: member for member, (prefix, _fixed) in MANAGERS.items()}


class HostSystem(Entity):
    TYPE = vim.HostSystem

    def __init__(self, world: World, moid: str, state: Host, parent: ComputeResource, datacenter: Datacenter) -> None:
        super().__init__(world, moid, state.name, parent)
        self.state = state
        state.system = self
        self.datacenter = datacenter
        self.own_stores = False  # the scenario says which datastores it has
        self.machines: list[Any] = []

    @property
    def host(self) -> HostSystem:
        return self

    def api_of(self, asked: Api) -> Api:
        """A 7.0.0 host under a vCenter 8.0.3 has no `enabled`, whatever the client speaks."""
        return older(asked, self.state.profile.api)

    def option(self, name: str) -> Any:
        return self.state.options.get(name)

    def manager_id(self, member: str) -> str:
        prefix, fixed = MANAGERS[member]
        return fixed if self.moid == "ha-host" else f"{prefix}-{self.moid.rpartition('-')[2]}"

    def make_manager(self, moid: str) -> Managed | None:
        """The manager object behind "dateTimeSystem-14", made at its first use."""
        member = _BY_PREFIX.get(moid.rpartition("-")[0])
        return self._made(member, moid) if member else None

    def make_fixed_managers(self) -> None:
        """On a stand-alone host the ids carry no number, so they are made at once."""
        for member in FAMILIES:
            self._made(member, MANAGERS[member][1])

    def executer(self) -> Managed:
        """What runs esxcli's commands on this host; made when somebody asks for it."""
        moid = f"ManagedMethodExecuter-{self.moid}"
        return self.world.objects.get(moid) or self.world.add(esxcli.ManagedMethodExecuter(self, moid))

    def _made(self, member: str, moid: str) -> Managed | None:
        family = FAMILIES.get(member)
        if member == "cryptoManager" and self.moid != "ha-host":
            family = crypto_manager.CryptoManagerHostKMS
        return self.world.add(family(self, moid)) if family else None

    def cached(self, key: str, stamp: Any, make: Any) -> Any:
        """A derived value, made anew when its stamp differs from last time."""
        found = self.state.views.get(key)
        if found is None or found[0] != stamp:
            found = (stamp, make())
            self.state.views[key] = found
        return found[1]

    # ---- config ---------------------------------------------------------------------------------------------------------------
    @property
    def _config_readable(self) -> bool:
        # vCenter keeps what it last knew of a host that went away; whether it does so for one that was never there is an option.
        return self.state.connection == "connected" or self.option("config_when_disconnected") != "unset"

    @prop
    def config(self) -> Any:
        if not self._config_readable:
            return None
        return data(
            "vim.host.ConfigInfo",
            {
                "host": self.ref,
                "product": self.product(),
                "hyperThread": {"available": False, "active": False, "config": True},
                "storageDevice": self.storage_device_info(),
                "fileSystemVolume": self.file_system_info(),
                "vsanHostConfig": self.vsan_info(),
                "network": self.network_info(),
                "capabilities": network_system.capabilities(),
                "service": self.service_info(),
                "firewall": self.firewall_info(),
                "dateTimeInfo": self.date_time_info(),
                "option": self.options(),
                "virtualNicManagerInfo": self.nic_manager_info(),
                "pciPassthruInfo": self.passthrough(),
                "graphicsInfo": self.graphics(),
                "adminDisabled": False,
                "lockdownMode": "lockdownDisabled",
                "wakeOnLanCapable": False,
                "datastorePrincipal": "root",
                "powerSystemInfo": {
                    "currentPolicy": {
                        "key": 2,
                        "name": "PowerPolicy.dynamic.name",
                        "shortName": "dynamic",
                        "description": "PowerPolicy.dynamic.description",
                    }
                },
            },
        )

    @prop("config.product")
    def config_product(self) -> Any:
        return self.product() if self._config_readable else None

    def product(self) -> Any:
        return about_host(self.state.profile)

    @prop("config.dateTimeInfo")
    def config_date_time(self) -> Any:
        return self.date_time_info() if self._config_readable else None

    def date_time_info(self) -> Any:
        return date_time_system.date_time_info(self)

    @prop("config.service")
    def config_service(self) -> Any:
        return self.service_info() if self._config_readable else None

    def service_info(self) -> Any:
        self.state.settle()
        return service_system.service_info(self.state)

    @prop("config.firewall")
    def config_firewall(self) -> Any:
        return self.firewall_info() if self._config_readable else None

    def firewall_info(self) -> Any:
        if self.option("firewall_info") == "unset":
            return None
        self.state.settle()
        return firewall_system.firewall_info(self.state)

    @prop("config.network")
    def config_network(self) -> Any:
        return self.network_info() if self._config_readable else None

    def network_info(self) -> Any:
        return self.cached("network", None, lambda: network_system.network_info(self.state))

    @prop("config.storageDevice")
    def config_storage(self) -> Any:
        return self.storage_device_info() if self._config_readable else None

    def storage_device_info(self) -> Any:
        return self.cached("storage", None, lambda: storage_system.storage_device_info(self.state))

    @prop("config.fileSystemVolume")
    def config_volumes(self) -> Any:
        return self.file_system_info() if self._config_readable else None

    def file_system_info(self) -> Any:
        return self.cached("volumes", None, lambda: storage_system.file_system_info(self))

    @prop("config.vsanHostConfig")
    def config_vsan(self) -> Any:
        return self.vsan_info() if self._config_readable else None

    def vsan_info(self) -> Any:
        return data("vim.vsan.host.ConfigInfo", {"enabled": self.state.vsan, "hostSystem": self.ref})

    @prop("config.pciPassthruInfo")
    def config_passthrough(self) -> Any:
        return self.passthrough() if self._config_readable else None

    def passthrough(self) -> Any:
        return self.cached("passthrough", None, lambda: _list_of("vim.host.PciPassthruInfo", hardware_of.passthrough(self.state.hardware)))

    @prop("config.graphicsInfo")
    def config_graphics(self) -> Any:
        return self.graphics() if self._config_readable else None

    def graphics(self) -> Any:
        return self.cached("graphics", None, lambda: _list_of("vim.host.GraphicsInfo", hardware_of.graphics(self.state.hardware)))

    @prop("config.virtualNicManagerInfo")
    def config_nics(self) -> Any:
        return self.nic_manager_info() if self._config_readable else None

    def nic_manager_info(self) -> Any:
        return self.cached("nics", None, lambda: network_system.nic_manager_info(self.state))

    @prop("config.option")
    def options(self) -> Any:
        return option_manager.option_values(self.state.advanced) if self._config_readable else None

    # ---- the rest -------------------------------------------------------------------------------------------------------------
    @prop("runtime.connectionState")
    def connection_state(self) -> Any:
        return getattr(vim.HostSystem.ConnectionState, self.state.connection)

    @prop
    def runtime(self) -> Any:
        return self.cached("runtime", self._stamp(), self._runtime)

    def _stamp(self) -> tuple[Any, ...]:
        state = self.state
        power = (state.powered_on, state.booted, state.reboot_required, self._power())
        sealed = tuple(self._sealed().values())
        return (state.connection, state.maintenance, *power, state.crypto.mode, state.crypto.key, *sealed)

    def _sealed(self) -> dict[str, Any]:
        """As `esxcli system settings encryption get` says it. Without a TPM the capture has the mode only."""
        state = self.state
        if state.tpm.get("mode", "TPM" if state.tpm else "NONE") != "TPM":
            return {"protectionMode": "none"}
        required = {"requireSecureBoot": state.require_secure_boot, "requireExecInstalledOnly": state.require_exec_installed_only}
        return {"protectionMode": "tpm", **required}

    def _power(self) -> str:
        """What vCenter knows: of a host that it does not hear, nothing (vim.HostSystem.PowerState: unknown)."""
        return "unknown" if self.state.connection != "connected" else "poweredOn"

    def _runtime(self) -> Any:
        state = self.state
        return frozen(
            data(
                "vim.host.RuntimeInfo",
                {
                    "connectionState": state.connection,
                    "powerState": self._power(),
                    "standbyMode": "none",
                    "inMaintenanceMode": state.maintenance,
                    "inQuarantineMode": False,
                    "bootTime": state.booted,
                    "healthSystemRuntime": {"systemHealthInfo": {}},
                    "cryptoState": crypto_manager.crypto_state(self),
                    "cryptoKeyId": key_id(state.crypto.key),
                    "networkRuntimeInfo": {
                        "netStackInstanceRuntimeInfo": [
                            {
                                "netStackInstanceKey": "defaultTcpipStack",
                                "state": "active",
                                "vmknicKeys": ["vmk0"],
                                "maxNumberOfConnections": 11000,
                                "currentIpV6Enabled": True,
                            }
                        ]
                    },
                    "stateEncryption": self._sealed(),
                },
            )
        )

    @prop
    def summary(self) -> Any:
        return self.cached("summary", self._stamp(), self._summary)

    def _summary(self) -> Any:
        hardware = self.state.hardware
        return frozen(
            data(
                "vim.host.Summary",
                {
                    "host": self.ref,
                    "hardware": None
                    if not hardware.get("_told", True)
                    else {
                        "vendor": hardware["vendor"],
                        "model": hardware["model"],
                        "uuid": self.state.uuid,
                        "otherIdentifyingInfo": self._identifying(),
                        "memorySize": hardware["memory"],
                        "cpuModel": hardware["cpu_model"],
                        "cpuMhz": hardware["cpu_hz"] // 1_000_000,
                        "numCpuPkgs": hardware["packages"],
                        "numCpuCores": hardware["cores"],
                        "numCpuThreads": hardware["threads"],
                        "numNics": hardware["nics"],
                        "numHBAs": hardware["hbas"],
                    },
                    "runtime": self.runtime(),
                    "config": {
                        "name": self.state.name,
                        "port": 443,
                        "product": self.product(),
                        "sslThumbprint": self.state.thumbprint if self.world.kind == "vcenter" else None,
                        "vmotionEnabled": True,
                        "faultToleranceEnabled": False,
                    },
                    "quickStats": {"overallCpuUsage": 306, "overallMemoryUsage": 5986, "uptime": 178220},
                    "overallStatus": self._status(),
                    "rebootRequired": self.state.reboot_required,
                    "managementServerIp": self.state.managed_by,
                    "maxEVCModeKey": "intel-icelake",
                },
            )
        )

    def _identifying(self) -> list[dict[str, Any]]:
        kind = {"key": "SerialNumberTag", "label": "Serial number tag", "summary": "Serial number tag of the system"}
        return [{"identifierValue": f"VMware-{self.state.uuid}", "identifierType": kind}]

    @prop("summary.managementServerIp")
    def management_server(self) -> Any:
        return self.state.managed_by

    def _status(self) -> str:
        return "green" if self.state.connection == "connected" else "red"

    @prop
    def overallStatus(self) -> Any:
        return getattr(vim.ManagedEntity.Status, self._status())

    @prop
    def capability(self) -> Any:
        state = self.state
        told = self.option("secure_boot_told")
        if not state.secure_boot and not state.tpm and told:
            return profile_view(state.profile, "capability", _capability)
        tpm = {"tpmSupported": True, "tpmVersion": state.tpm.get("version", "2.0")} if state.tpm else {}
        values = {**state.profile.capability, **tpm, "uefiSecureBoot": state.secure_boot if told else None}
        stamp = (state.secure_boot, told, tuple(sorted(tpm.items())))
        return self.cached("capability", stamp, lambda: frozen(data("vim.host.Capability", values, fill=True)))

    @prop
    def hardware(self) -> Any:
        return self.cached("hardware", None, self._hardware) if self.state.hardware.get("_told", True) else None

    def _hardware(self) -> Any:
        hardware = self.state.hardware
        features = hardware["cpu_features"]
        threads = hardware["threads"] // hardware["packages"]
        packages = [
            {
                "index": index,
                "vendor": hardware["cpu_vendor"],
                "hz": hardware["cpu_hz"],
                "busHz": hardware["bus_hz"],
                "description": hardware["cpu_model"],
                "threadId": list(range(index * threads, (index + 1) * threads)),
                "cpuFeature": features,
            }
            for index in range(hardware["packages"])
        ]
        return frozen(
            data(
                "vim.host.HardwareInfo",
                {
                    "systemInfo": {
                        "vendor": hardware["vendor"],
                        "model": hardware["model"],
                        "uuid": self.state.uuid,
                        "otherIdentifyingInfo": self._identifying(),
                        "serialNumber": f"VMware-{self.state.uuid}",
                    },
                    "cpuInfo": {
                        "numCpuPackages": hardware["packages"],
                        "numCpuCores": hardware["cores"],
                        "numCpuThreads": hardware["threads"],
                        "hz": hardware["cpu_hz"],
                    },
                    "cpuPkg": packages,
                    "memorySize": hardware["memory"],
                    "pciDevice": hardware["pci"],
                    "cpuFeature": features,
                    "biosInfo": {
                        "biosVersion": hardware["bios"]["version"],
                        "releaseDate": hardware["bios"]["release"],
                        "vendor": hardware["bios"]["vendor"],
                        "majorRelease": 255,
                        "minorRelease": 255,
                        "firmwareMajorRelease": 255,
                        "firmwareMinorRelease": 255,
                        "firmwareType": hardware.get("_firmware", "UEFI"),
                    },
                    "cpuPowerManagementInfo": {"currentPolicy": "Balanced", "hardwareSupport": ""},
                    "smcPresent": False,
                },
            )
        )

    @prop
    def licensableResource(self) -> Any:
        hardware = self.state.hardware
        rows = [("numCpuPackages", hardware["packages"]), ("numCpuCores", hardware["cores"]), ("numVmsStarted", len(self.machines))]
        return data("vim.LicenseManager.LicensableResourceInfo", {"resource": [data("vmodl.KeyAnyValue", key=k, value=v) for k, v in rows]})

    @prop
    def configManager(self) -> Any:
        made = vim.host.ConfigManager()
        for member in MANAGERS:
            info = vim.host.ConfigManager._GetPropertyInfo(member)
            setattr(made, member, info.type(self.manager_id(member)))
        kind = vim.encryption.CryptoManagerHost if self.moid == "ha-host" else vim.encryption.CryptoManagerHostKMS
        made.cryptoManager = kind(self.manager_id("cryptoManager"))
        if self.moid == "ha-host":
            made.licenseManager = vim.LicenseManager("ha-license-manager")  # unset under vCenter (facts.md 6.2)
        return frozen(made)

    @prop
    def datastoreBrowser(self) -> Any:
        moid = f"datastoreBrowser-{self.moid}"
        found = self.world.objects.get(moid) or self.world.add(HostDatastoreBrowser(self.world, moid, self, lambda: self.stores))
        return found.ref

    @property
    def stores(self) -> list[Any]:
        common = [] if self.own_stores else self.datacenter.stores
        return [*common, *(item for item in self.datacenter.shares if self in item.mounts)]

    @prop
    def datastore(self) -> Any:
        return array("vim.Datastore", [item.ref for item in self.stores])

    @prop
    def network(self) -> Any:
        return array("vim.Network", [item.ref for item in self.datacenter.nets])

    @prop
    def vm(self) -> Any:
        return array("vim.VirtualMachine", [item.ref for item in self.machines])

    # ---- operations -----------------------------------------------------------------------------------------------------------
    @operation(privilege="System.Read", needs_host=True)
    def QueryHostConnectionInfo(self, call: Call) -> Any:
        return data("vim.host.ConnectInfo", {"serverIp": self.state.managed_by, "inDasCluster": False, "host": self.summary()})

    @operation(privilege="System.Read", needs_host=True)
    def RetrieveManagedMethodExecuter(self, call: Call) -> Raw:
        return Raw(f'<returnval type="ManagedMethodExecuter">{self.executer().moid}</returnval>')

    @operation(privilege="System.Read", needs_host=True)
    def RetrieveDynamicTypeManager(self, call: Call) -> Raw:
        # govc wants a reference; nobody calls it for what is here.
        return Raw(f'<returnval type="DynamicTypeManager">DynamicTypeManager-{self.moid}</returnval>')

    @operation(privilege="System.Read", needs_host=True)
    def RetrieveHardwareUptime(self, call: Call) -> int:
        return 178220

    @operation(privilege="Host.Config.Maintenance", writes=True, needs_host=True)
    def EnterMaintenanceMode_Task(
        self, call: Call, timeout: int, evacuatePoweredOffVms: bool | None = None, maintenanceSpec: Any = None
    ) -> Any:
        return self.world.power.enter(self, call, timeout, bool(evacuatePoweredOffVms))

    @operation(privilege="Host.Config.Maintenance", writes=True, needs_host=True)
    def ExitMaintenanceMode_Task(self, call: Call, timeout: int) -> Any:
        return self.world.start_task(call, "vim.HostSystem.exitMaintenanceMode", self, lambda: self.world.power.leave(self))

    @operation(privilege="Host.Config.Maintenance", writes=True, needs_host=True)
    def RebootHost_Task(self, call: Call, force: bool) -> Any:
        return self.world.power.command(self, call, force, and_back=True)

    @operation(privilege="Host.Config.Maintenance", writes=True, needs_host=True)
    def ShutdownHost_Task(self, call: Call, force: bool) -> Any:
        return self.world.power.command(self, call, force, and_back=False)

    @operation(privilege="Cryptographer.RegisterHost", writes=True, needs_host=True)
    def PrepareCrypto(self, call: Call) -> None:
        self._crypto_manager().prepare()

    @operation(privilege="Cryptographer.RegisterHost", writes=True, needs_host=True)
    def EnableCrypto(self, call: Call, keyPlain: Any) -> None:
        self._crypto_manager().enable(keyPlain)

    @operation(privilege="Cryptographer.RegisterHost", writes=True, needs_host=True)
    def ConfigureCryptoKey(self, call: Call, keyId: Any = None) -> None:
        crypto_manager.configure(self, keyId)
        self.world.touch()

    def _crypto_manager(self) -> Any:
        return self.world.find(self.manager_id("cryptoManager"))

    @operation(privilege="Host.Config.Connection", writes=True)
    def DisconnectHost_Task(self, call: Call) -> Any:
        self._vcenter_only()

        def work() -> None:
            if self.state.connection == "disconnected":
                raise SoapFault("InvalidState", "The operation is not allowed in the current state.")
            self.world.set_connection(self, "disconnected")

        return self.world.start_task(call, "vim.HostSystem.disconnect", self, work)

    @operation(privilege="Host.Config.Connection", writes=True)
    def ReconnectHost_Task(self, call: Call, cnxSpec: Any = None, reconnectSpec: Any = None) -> Any:
        self._vcenter_only()

        def work() -> None:
            # One that is connected may be connected anew (API text: to change its thumbprint).
            if not self.answers(HTTPS):
                raise SoapFault("NoHost", NO_HOST.format(self.state.name), name=self.state.name)
            if cnxSpec is not None and cnxSpec.sslThumbprint is not None:
                self.verify(cnxSpec.sslThumbprint)
            self.world.set_connection(self, "connected")

        return self.world.start_task(call, "vim.HostSystem.reconnect", self, work)

    def _vcenter_only(self) -> None:
        if self.world.kind == "esxi":
            raise SoapFault("NotSupported", "The operation is not supported on the object.")

    def answers(self, port: int) -> bool:
        """Whether a new connection of vCenter to the host's HTTPS port comes about."""
        state = self.state
        gone = not state.powered_on or (state.connection == "notResponding" and not self.world.ways.lost(self))
        return port == HTTPS and not gone and state.lets_in_from("tcp", port, self.world.address)

    def verify(self, thumbprint: str | None) -> None:
        if thumbprint != self.state.thumbprint:
            raise SoapFault(
                "SSLVerifyFault",
                "Authenticity of the host's SSL certificate is not verified.",
                selfSigned=True,
                thumbprint=self.state.thumbprint,
            )


def _list_of(kind: str, rows: list[dict[str, Any]] | None) -> Any:
    return None if rows is None else VmomiSupport.GetVmodlType(f"{kind}[]")([frozen(data(kind, row)) for row in rows])


# ---- views that all hosts of a profile share -------------------------------------------------------------------------------------
_profile_views: dict[tuple[int, str], tuple[Any, Any]] = {}


def profile_view(profile: Any, name: str, make: Any) -> Any:
    key = (id(profile), name)
    found = _profile_views.get(key)
    if found is None or found[0] is not profile:
        found = (profile, make(profile))
        _profile_views[key] = found
    return found[1]


def _capability(profile: Any) -> Any:
    # The captured host was read by a client that did not know the field yet; scripts of the STIG (VCFE-9X-000091) read true or false from it.
    return frozen(data("vim.host.Capability", {"uefiSecureBoot": False, **profile.capability}, fill=True))


def about_host(profile: Any) -> Any:
    """AboutInfo of an ESXi host (capture: summary.config.product)."""

    def make(profile: Any) -> Any:
        return frozen(
            data(
                "vim.AboutInfo",
                {
                    "name": "VMware ESXi",
                    "fullName": f"VMware ESXi {profile.version} build-{profile.build}",
                    "vendor": "VMware, Inc.",
                    "version": profile.version,
                    "patchLevel": profile.patch_level,
                    "build": profile.build,
                    "localeVersion": "INTL",
                    "localeBuild": "000",
                    "osType": "vmnix-x86",
                    "productLineId": "embeddedEsx",
                    "apiType": "HostAgent",
                    "apiVersion": profile.api.name,
                    "licenseProductName": "VMware ESX Server",
                    "licenseProductVersion": profile.license_version,
                },
            )
        )

    return profile_view(profile, "about", make)


__all__ = ["FAMILIES", "MANAGERS", "HostSystem", "about_host"]

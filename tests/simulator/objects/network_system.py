# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostNetworkSystem and HostVirtualNicManager: enough network for inventory clients (vmware.vmware's esxi_hosts calls QueryNetConfig)."""

from __future__ import annotations

import functools
from typing import Any

from pyVmomi import VmomiSupport, vim

from .. import hardware
from ..errors import SoapFault
from ..host import Host
from ..plain import data
from ..registry import Call, operation, prop
from ..xmlwrite import frozen
from .host_part import HostPart

# The nic types of the captured 8.0.3 host (config.virtualNicManagerInfo.netConfig).
NIC_TYPES = (
    "faultToleranceLogging", "management", "nvmeRdma", "nvmeTcp", "ptp", "vSphereBackupNFC", "vSphereProvisioning", "vSphereReplication",
    "vSphereReplicationNFC", "vmotion", "vsan", "vsanExternal", "vsanWitness",
)  # fmt: skip
_SELECTED = ("management", "vmotion")


@functools.cache
def capabilities() -> Any:
    """HostNetCapabilities of the captured host."""
    return frozen(
        data(
            "vim.host.NetCapabilities",
            {
                "backupNfcNiocSupported": True,
                "canSetPhysicalNicLinkSpeed": True,
                "dhcpOnVnicSupported": True,
                "dnsConfigSupported": True,
                "ipRouteConfigSupported": True,
                "ipV6Supported": True,
                "nicTeamingPolicy": ["loadbalance_ip", "loadbalance_srcmac", "loadbalance_srcid", "failover_explicit"],
                "supportsNetworkHints": True,
                "supportsNicTeaming": True,
                "supportsVlan": True,
                "usesServiceConsoleNic": False,
                "vnicConfigSupported": True,
                "vswitchConfigSupported": True,
            },
        )
    )


def _vnic(host: Host, key: str) -> dict[str, Any]:
    return {
        "device": "vmk0",
        "key": key,
        "portgroup": "Management Network",
        "spec": {
            "ip": {"dhcp": host.dhcp, "ipAddress": host.address, "subnetMask": "255.254.0.0"},
            "mac": host.mac,
            "portgroup": "Management Network",
            "mtu": 1500,
            "tsoEnabled": True,
            "netStackInstanceKey": "defaultTcpipStack",
        },
    }


def dns_config(host: Host) -> dict[str, Any]:
    short, _dot, domain = host.name.partition(".")
    made = {
        "dhcp": host.dhcp,
        "hostName": short,
        "domainName": domain,
        "address": list(host.dns),
        "searchDomain": [domain] if domain else [],
    }
    # As captured: a host that has its settings from DHCP names the nic they came by.
    return {**made, "virtualNicDevice": "vmk0"} if host.dhcp else made


def network_info(host: Host) -> Any:
    route = {"defaultGateway": "198.18.0.1"}
    pnic = {
        "key": "key-vim.host.PhysicalNic-vmnic0",
        "device": "vmnic0",
        "pci": "0000:0b:00.0",
        "driver": "nvmxnet3",
        "linkSpeed": {"speedMb": 10000, "duplex": True},
        "validLinkSpecification": [{"speedMb": 10000, "duplex": True}],
        "spec": {"ip": {"dhcp": False, "ipAddress": "", "subnetMask": ""}},
        "wakeOnLanSupported": False,
        "mac": host.mac,
    }
    return frozen(
        data(
            "vim.host.NetworkInfo",
            {
                "vswitch": [
                    {
                        "name": "vSwitch0",
                        "key": "key-vim.host.VirtualSwitch-vSwitch0",
                        "numPorts": 2560,
                        "numPortsAvailable": 2552,
                        "mtu": 1500,
                        "portgroup": ["key-vim.host.PortGroup-Management Network"],
                        "pnic": ["key-vim.host.PhysicalNic-vmnic0"],
                        "spec": {"numPorts": 128},
                    }
                ],
                "portgroup": [
                    {
                        "key": "key-vim.host.PortGroup-Management Network",
                        "vswitch": "key-vim.host.VirtualSwitch-vSwitch0",
                        "computedPolicy": {},
                        "spec": {"name": "Management Network", "vlanId": 0, "vswitchName": "vSwitch0", "policy": {}},
                    }
                ],
                "pnic": hardware.pnics(host.hardware, host.mac, pnic),
                "vnic": [_vnic(host, "key-vim.host.VirtualNic-vmk0")],
                "dnsConfig": dns_config(host),
                "ipRouteConfig": route,
                "ipV6Enabled": True,
                "atBootIpV6Enabled": True,
                "netStackInstance": [
                    {"key": "defaultTcpipStack", "name": "defaultTcpipStack", "dnsConfig": dns_config(host), "ipRouteConfig": route}
                ],
            },
        )
    )


def net_config(host: Host, nic_type: str) -> Any:
    key = f"{nic_type}.key-vim.host.VirtualNic-vmk0"
    made = {"nicType": nic_type, "multiSelectAllowed": True, "candidateVnic": [_vnic(host, key)]}
    if nic_type in _SELECTED:
        made["selectedVnic"] = [key]
    return frozen(data("vim.host.VirtualNicManager.NetConfig", made))


def nic_manager_info(host: Host) -> Any:
    return frozen(vim.host.VirtualNicManagerInfo(netConfig=[net_config(host, nic_type) for nic_type in NIC_TYPES]))


class HostNetworkSystem(HostPart):
    TYPE = vim.host.NetworkSystem

    @prop
    def networkInfo(self) -> Any:
        return self.owner.config_network()

    @prop("capabilities")
    def net_capabilities(self) -> Any:
        return capabilities()

    @prop
    def dnsConfig(self) -> Any:
        info = self.owner.config_network()
        return None if info is None else info.dnsConfig

    @prop
    def ipRouteConfig(self) -> Any:
        info = self.owner.config_network()
        return None if info is None else info.ipRouteConfig

    @prop
    def networkConfig(self) -> Any:
        return data("vim.host.NetworkConfig", {"dnsConfig": dns_config(self.state)})

    @operation(privilege="System.Read", needs_host=True)
    def QueryNetworkHint(self, call: Call, device: Any = None) -> Any:
        return VmomiSupport.GetVmodlType("vim.host.PhysicalNic.NetworkHint[]")([])


class HostVirtualNicManager(HostPart):
    TYPE = vim.host.VirtualNicManager

    @prop
    def info(self) -> Any:
        return self.owner.nic_manager_info()

    @operation(privilege="System.Read", needs_host=True)
    def QueryNetConfig(self, call: Call, nicType: str) -> Any:
        if nicType not in NIC_TYPES:
            raise SoapFault("InvalidArgument", f"A specified parameter was not correct: nicType {nicType}", invalidProperty="nicType")
        return self.owner.cached(f"nic:{nicType}", None, lambda: net_config(self.state, nicType))

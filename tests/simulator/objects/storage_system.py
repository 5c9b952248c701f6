# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostStorageSystem: adapters and mounted volumes, as far as they tell whom a host must keep hearing.

Shapes after the captured 8.0.3 host and the API text; the software iSCSI adapter and NFS volumes were on no captured host.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from .. import hardware
from ..host import Host
from ..plain import data
from ..registry import prop
from ..xmlwrite import frozen
from .host_part import HostPart

if TYPE_CHECKING:
    from .host_system import HostSystem

VOLUME_TYPES = ("VMFS", "NFS", "NFS41", "vsan", "VVOL", "VFFS", "OTHER", "PMEM")


@functools.cache
def _block_hba() -> Any:
    return frozen(
        data(
            "vim.host.BlockHba",
            {
                "key": "key-vim.host.BlockHba-vmhba64",
                "device": "vmhba64",
                "bus": 0,
                "status": "unknown",
                "model": "PIIX4 for 430TX/440BX/MX IDE Controller",
                "driver": "vmkata",
                "pci": "0000:00:07.1",
                "storageProtocol": "scsi",
            },
        )
    )


def _iscsi_hba(host: Host) -> Any:
    return data(
        "vim.host.InternetScsiHba",
        {
            "key": "key-vim.host.InternetScsiHba-vmhba65",
            "device": "vmhba65",
            "bus": 0,
            "status": "online",
            "model": "iSCSI Software Adapter",
            "driver": "iscsi_vmk",
            "pci": "",
            "storageProtocol": "scsi",
            "isSoftwareBased": True,
            "canBeDisabled": True,
            "networkBindingSupport": "optional",
            "discoveryCapabilities": {},
            "discoveryProperties": {"staticTargetDiscoveryEnabled": True, "sendTargetsDiscoveryEnabled": True},
            "authenticationCapabilities": {"mutualChapSettable": True},
            "authenticationProperties": {},
            "ipCapabilities": {},
            "ipProperties": {},
            "iScsiName": f"iqn.1998-01.com.vmware:{host.name.partition('.')[0]}-{host.uuid[:8]}",
            "configuredSendTarget": [{"address": address, "port": port} for address, port in host.iscsi],
        },
        fill=True,
    )


@functools.cache
def _without_iscsi() -> Any:
    return frozen(data("vim.host.StorageDeviceInfo", {"hostBusAdapter": [_block_hba()], "softwareInternetScsiEnabled": False}))


def storage_device_info(host: Host) -> Any:
    own = hardware.adapters(host.hardware)
    if own is not None:
        rows = [data(f"vim.host.{kind}", told, fill=True) for kind, told in own]
        return frozen(data("vim.host.StorageDeviceInfo", {"hostBusAdapter": rows, "softwareInternetScsiEnabled": False}))
    if not host.iscsi:
        return _without_iscsi()
    adapters = [_block_hba(), _iscsi_hba(host)]
    return frozen(data("vim.host.StorageDeviceInfo", {"hostBusAdapter": adapters, "softwareInternetScsiEnabled": True}))


def file_system_info(owner: HostSystem) -> Any:
    """One row for each datastore that the host has mounted."""
    rows = [{"mountInfo": store.mounted(), "volume": store.volume(), "vStorageSupport": "vStorageUnsupported"} for store in owner.stores]
    return frozen(data("vim.host.FileSystemVolumeInfo", {"volumeTypeList": list(VOLUME_TYPES), "mountInfo": rows}))


class HostStorageSystem(HostPart):
    TYPE = vim.host.StorageSystem

    @prop
    def storageDeviceInfo(self) -> Any:
        return self.owner.config_storage()

    @prop
    def fileSystemVolumeInfo(self) -> Any:
        return self.owner.file_system_info()

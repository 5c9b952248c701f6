# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ServiceInstance and the managers of the server itself, with the moids of facts.md 6.2."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..plain import data
from ..registry import Call, Managed, operation, prop
from ..xmlwrite import frozen
from .alarms import MOID, Alarm, AlarmManager
from .authorization import AuthorizationManager
from .crypto_manager import CryptoManagerKmip
from .events import EventManager
from .file_manager import FileManager
from .license_manager import LicenseAssignmentManager, LicenseManager
from .property_collector import PropertyCollector
from .search_index import SearchIndex
from .session_manager import SessionManager
from .small_managers import CustomFieldsManager, ExtensionManager
from .tasks import TaskManager
from .views import ViewManager

if TYPE_CHECKING:
    from ..world import World

# Member of ServiceContent -> moid on vCenter (capture of 8.0.3), moid on a host (govmomi's capture of 6.5); None = unset there.
CONTENT: dict[str, tuple[str | None, str | None]] = {
    "propertyCollector": ("propertyCollector", "ha-property-collector"),
    "viewManager": ("ViewManager", "ViewManager"),
    "setting": ("VpxSettings", "HostAgentSettings"),
    "userDirectory": ("UserDirectory", "ha-user-directory"),
    "sessionManager": ("SessionManager", "ha-sessionmgr"),
    "authorizationManager": ("AuthorizationManager", "ha-authmgr"),
    "perfManager": ("PerfMgr", "ha-perfmgr"),
    "scheduledTaskManager": ("ScheduledTaskManager", None),
    "alarmManager": ("AlarmManager", None),
    "eventManager": ("EventManager", "ha-eventmgr"),
    "taskManager": ("TaskManager", "ha-taskmgr"),
    "extensionManager": ("ExtensionManager", None),
    "customFieldsManager": ("CustomFieldsManager", None),
    "diagnosticManager": ("DiagMgr", "ha-diagnosticmgr"),
    "licenseManager": ("LicenseManager", "ha-license-manager"),
    "searchIndex": ("SearchIndex", "ha-searchindex"),
    "fileManager": ("FileManager", "ha-nfc-file-manager"),
    "virtualDiskManager": ("virtualDiskManager", "ha-vdiskmanager"),
    "ipPoolManager": ("IpPoolManager", None),
    "guestOperationsManager": ("guestOperationsManager", "ha-guest-operations-manager"),
    "ovfManager": ("OvfManager", "ha-ovf-manager"),
    "hostProfileManager": ("HostProfileManager", None),
    "clusterProfileManager": ("ClusterProfileManager", None),
    "storageResourceManager": ("StorageResourceManager", "ha-storage-resource-manager"),
}
_CRYPTO = {"vcenter": vim.encryption.CryptoManagerKmip("CryptoManager"), "esxi": vim.encryption.CryptoManagerHost("ha-crypto-manager")}


def add_all(world: World) -> None:
    """The server's own objects. A manager of a later feature gets its line here."""
    column = 1 if world.kind == "esxi" else 0
    world.add(ServiceInstance(world, "ServiceInstance"))
    for member, family in (
        ("propertyCollector", PropertyCollector),
        ("viewManager", ViewManager),
        ("sessionManager", SessionManager),
        ("authorizationManager", AuthorizationManager),
        ("eventManager", EventManager),
        ("taskManager", TaskManager),
        ("searchIndex", SearchIndex),
        ("customFieldsManager", CustomFieldsManager),
        ("extensionManager", ExtensionManager),
        ("fileManager", FileManager),
        ("licenseManager", LicenseManager),
    ):
        moid = CONTENT[member][column]
        if moid is not None:
            world.add(family(world, moid))
    if world.kind == "esxi":
        world.hosts[0].make_fixed_managers()
    else:
        world.add(LicenseAssignmentManager(world, "LicenseAssignmentManager"))
        world.add(CryptoManagerKmip(world, "CryptoManager"))
        world.add(AlarmManager(world, "AlarmManager"))
        world.add(Alarm(world, MOID))


def about(world: World) -> Any:
    """AboutInfo of the server: a host's own, or vCenter's."""
    if world.kind == "esxi":
        return world.hosts[0].product()
    profile = world.profile
    return frozen(
        data(
            "vim.AboutInfo",
            {
                "name": "VMware vCenter Server",
                "fullName": f"VMware vCenter Server {profile.version} build-{profile.build}",
                "vendor": "VMware, Inc.",
                "version": profile.version,
                "patchLevel": profile.patch_level,
                "build": profile.build,
                "localeVersion": "INTL",
                "localeBuild": "000",
                "osType": "linux-x64",
                "productLineId": "vpx",
                "apiType": "VirtualCenter",
                "apiVersion": profile.api.name,
                "instanceUuid": world.instance_uuid,
                "licenseProductName": "VMware VirtualCenter Server",
                "licenseProductVersion": profile.license_version,
            },
        )
    )


class ServiceInstance(Managed):
    TYPE = vim.ServiceInstance

    @prop("content")
    def service_content(self) -> Any:
        made = vim.ServiceInstanceContent(rootFolder=self.world.root.ref, about=about(self.world))
        column = 1 if self.world.kind == "esxi" else 0
        for member, moids in CONTENT.items():
            moid = moids[column]
            if moid is not None:
                setattr(made, member, vim.ServiceInstanceContent._GetPropertyInfo(member).type(moid))
        made.cryptoManager = _CRYPTO[self.world.kind]
        return made

    @prop
    def serverClock(self) -> datetime.datetime:
        return self.world.server_time()

    @prop
    def capability(self) -> Any:
        vcenter = self.world.kind == "vcenter"
        return data(
            "vim.Capability",
            {"provisioningSupported": vcenter, "multiHostSupported": vcenter, "userShellAccessSupported": not vcenter},
            fill=True,
        )

    @operation(privilege="System.Anonymous", anonymous=True)
    def RetrieveServiceContent(self, call: Call) -> Any:
        return self.service_content()

    @operation(privilege="System.View", anonymous=True)
    def CurrentTime(self, call: Call) -> datetime.datetime:
        # vCenter's clock there, the host's on a stand-alone host; answered without a session (facts.md 2.4, 6.1).
        return self.world.server_time()

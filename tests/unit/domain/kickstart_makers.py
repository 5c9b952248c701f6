# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options for installation files, and an installer's boot.cfg, made up."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import Any

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import kickstart, kickstart_file
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.kickstart_wanted import Wanted, parse

# openssl passwd -6 -salt markerSalt marker-Pa55word: the hash may stand in a script and nowhere else, the password nowhere.
PASSWORD = "marker-Pa55word"
HASH = "$6$markerSalt$" + "markerHashMarkerHash./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012"[:86]
KEY = "FAKE0-R1GHT-V8000-CPUPK-00001"
BOOT = """bootstate=0
title=Loading ESXi installer
timeout=5
prefix=
kernel=/b.b00
kernelopt=runweasel cdromBoot
modules=/jumpstrt.gz --- /useropts.gz --- /features.gz --- /k.b00 --- /uc_intel.b00 --- /vmx.v00
build=8.0.3-0.0.24022510
updated=0
"""
INSTALLER = kickstart_file.read_boot(BOOT)
OPTIONS: dict[str, Any] = importlib.import_module("ansible_collections.fleetcare.esxi.plugins.modules.esxi_kickstart").OPTIONS
STATIC: dict[str, Any] = {"address": "192.0.2.11", "netmask": "255.255.255.0", "gateway": "192.0.2.1", "nameservers": ["192.0.2.2"]}
DEFAULTS = {name: spec.get("default") for name, spec in OPTIONS.items()}
MEDIA: dict[str, dict[str, Any]] = {
    "http": {"medium": "http", "installer_boot_cfg": "/b", "prefix": "http://192.0.2.5/esxi/8", "ks_url": "http://192.0.2.5/ks"},
    "pxe": {"medium": "pxe", "installer_boot_cfg": "/b", "prefix": "ESXi-8.0.3", "ks_url": "https://ks.example.com/ks/", "bios": True},
    "usb": {"medium": "usb", "installer_boot_cfg": "/b", "prefix": None, "ks_url": None},
}


def options(host: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """Options of a task that is fine, with one host; what is given goes before."""
    first = {"name": "esx-01", "fqdn": "esx-01.example.com", "mac": "00:50:56:00:00:01", **(host or {})}
    fine = {
        "dest": "/srv/esxi",
        "release": "8.0",
        "accept_eula": True,
        "root_password_hash": HASH,
        "disk": {"first": ["local"]},
        **MEDIA["http"],
    }
    return {**DEFAULTS, **fine, "hosts": [first], **given}


def wanted(host: dict[str, Any] | None = None, **given: Any) -> Wanted:
    return parse(options(host, **given))


def made(host: dict[str, Any] | None = None, **given: Any) -> kickstart.Made:
    asked = wanted(host, **given)
    return kickstart.make(asked.hosts[0], asked, INSTALLER if asked.installer else None)


def script_of(one: kickstart.Made) -> str:
    (text,) = {text for path, text in one.files.items() if path.startswith("ks/") or path.endswith("KS.CFG")}
    assert text is not None
    return text


DISKS: dict[str, dict[str, Any]] = {
    "whichever comes first": {"first": []},
    "local, overwritten": {"first": ["local"], "overwrite_vmfs": True, "no_vmfs_on_disk": True},
    "a model with a space": {"first": ["DELLBOSS VD", "vmw_ahci"], "ignore_ssd": True, "preserve_vmfs": True},
    "by name": {"name": "naa.6000c29a0b1c2d3e4f5061728394a5b6", "overwrite_vsan": True},
    "a stick with another for its data": {"first": ["usb"], "system_disk": "naa.1", "repartition_system_disk": True},
    "by path": {"name": "/vmfs/devices/disks/mpx.vmhba1:C0:T0:L0", "force_unsupported_install": True},
}
FIRST_BOOT: dict[str, Any] = {
    "ntp_servers": ["ntp1.example.com", "192.0.2.9"],
    "rules": [
        {"name": "syslog", "enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"], "ip_network": ["198.51.100.0/24"]}},
        {"name": "webAccess", "enabled": False},
        {"name": "sshServer", "allowed_hosts": {"all_ip": True}},
    ],
    "acceptance_level": "partner",
    "ssh": "enabled",
    "first_boot": ["esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1"],
    "post": {"text": "import time\nopen('/finished.stamp', 'w').write(time.asctime())", "interpreter": "python", "ignore_failure": True},
    "pre": {"text": "echo here > /tmp/here"},
}


def combinations() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, the host's own options, those of the task: every medium with every release, network and disk, the rest dealt out in turn."""
    turns = itertools.count()
    for medium, release, network, disk in itertools.product(MEDIA, ("7.0", "8.0", "9.0", "9.1"), ("dhcp", "static"), DISKS):
        turn = next(turns)
        host: dict[str, Any] = {"disk": DISKS[disk], "vlan": (None, 0, 12, 4095)[turn % 4], "serial": (None, "CZ12-34.5")[turn % 2]}
        host.update(STATIC if network == "static" else {})
        task: dict[str, Any] = {**MEDIA[medium], "release": release, "secure_boot": (None, True, False)[turn % 3]}
        task.update(FIRST_BOOT if turn % 2 else {})
        task.update({"license_key": KEY, "license_key_in_file": bool(turn % 4 == 3) and release < "9"} if turn % 4 >= 2 else {})
        task.update(
            {"boot_network": network, "boot_device": ("netdevice", "bootif")[turn % 2], "keyboard": (None, "Swiss German")[turn % 2]}
        )
        task.update({"system_media_size": (None, "min", "max")[turn % 3], "allow_legacy_cpu": turn % 7 == 0, "eject": turn % 5 != 0})
        if disk == "by name" and release != "7.0":
            host["disk"] = {**DISKS[disk], "dpu_pci_slots": [2, 3]}
        if disk == "whichever comes first":
            task["installation"] = ("install", "upgrade", "installorupgrade")[turn % 3]
        if turn % 6 == 1 and task.get("installation", "install") == "install":
            task["clear_partitions"] = {"all_drives": True, "overwrite_vmfs": True}
        yield f"{medium} {release} {network} {disk}", host, task

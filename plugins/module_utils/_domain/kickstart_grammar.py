# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation script may say, and since which release. Pure. Private to this collection.

Sources, by the short names of ``ROWS``:

- ``commands 9.1``: Broadcom, ESX 9.1, Installation and Upgrade Script Commands; boot options of the same chapter (read in a public copy).
- ``script 8.0``: docs.vmware.com, vSphere 8.0, GUID-51BD0186-50BF-4D0D-8410-79F165918B16 (default script, boot.cfg).
- ``manual 8.0``, ``manual 7.0``: VMware ESXi Installation and Setup, chapters on scripted installation (8.0: page 93, 7.0: pages 92, 93).
- ``boot options 8.0``: docs.vmware.com, vSphere 8.0, GUID-A33C4CAB-18EE-4C8C-A55D-8AD7E8042BFA.
- ``commands 5.5``: docs.vmware.com, vSphere 5.5, GUID-61A14EBB-5CF3-43EE-87EF-DB8EC6D83698, the last page that names what went with ESX 4.x.
- ``storage 7.0``: docs.vmware.com, vSphere 7.0, GUID-474D003B-C6FB-465D-BC1B-5FD30F8E2209; KB 81166.
- ``blog``: williamlam.com, 2020/05 (size of ESX-OSData), 2023/10 (allowLegacyCPU). ``field``: scripts that people publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RELEASES = ("7.0", "8.0", "9.0", "9.1")
ALL = frozenset(RELEASES)
NEW = frozenset(RELEASES[1:])


@dataclass(frozen=True, kw_only=True)
class Row:
    """``known``: releases whose documentation has it; ``unsure``: those where it is not documented, or not for each build;
    the others do not know it. ``option``: the option of the module that leads to it."""

    what: str
    option: str
    known: frozenset[str] = ALL
    unsure: frozenset[str] = frozenset()
    source: str
    note: str = ""
    cure: str = ""

    def knows(self, release: str) -> str:
        return "unsure" if release in self.unsure else "known" if release in self.known else "unknown"


_ROWS = (
    Row(what="vmaccepteula", option="accept_eula", source="commands 9.1, script 8.0, commands 5.5"),
    Row(what="install", option="installation: install", source="commands 9.1, script 8.0, commands 5.5"),
    Row(what="upgrade", option="installation: upgrade", source="commands 9.1, commands 5.5"),
    Row(what="installorupgrade", option="installation: installorupgrade", source="commands 9.1, commands 5.5"),
    Row(what="clearpart", option="clear_partitions", source="commands 9.1, commands 5.5", note="with install only"),
    Row(what="install --firstdisk", option="disk.first", source="commands 9.1, script 8.0", note="the first disk that a filter fits"),
    Row(what="install --disk", option="disk.name", source="commands 9.1, commands 5.5"),
    Row(what="install --overwritevmfs", option="disk.overwrite_vmfs", source="commands 9.1, script 8.0"),
    Row(what="install --preservevmfs", option="disk.preserve_vmfs", source="commands 9.1, commands 5.5"),
    Row(what="install --novmfsondisk", option="disk.no_vmfs_on_disk", source="commands 9.1, commands 5.5"),
    Row(what="install --overwritevsan", option="disk.overwrite_vsan", source="commands 9.1"),
    Row(what="install --ignoressd", option="disk.ignore_ssd", source="commands 9.1", note="with --firstdisk only"),
    # The manual writes it small in its table and with a capital in its example; whether the installer cares is not said.
    Row(
        what="install --systemDisk",
        option="disk.system_disk",
        known=frozenset(),
        unsure=ALL,
        source="commands 9.1, which spells it --systemdisk as well",
        note="where ESX-OSData goes when booting from USB or SD",
    ),
    Row(
        what="install --repartitionSystemDisk",
        option="disk.repartition_system_disk",
        known=frozenset(),
        unsure=ALL,
        source="commands 9.1, which spells it --repartitionsystemdisk",
    ),
    Row(
        what="install --dpupcislots",
        option="disk.dpu_pci_slots",
        known=NEW,
        source='script 8.0: "With vSphere 8.0"; commands 9.1: "ESX 8.0 and later"',
        cure="Leave disk.dpu_pci_slots out; installation on DPUs came with 8.0.",
    ),
    Row(
        what="install --forceunsupportedinstall",
        option="disk.force_unsupported_install",
        unsure=frozenset({"7.0", "8.0", "9.0"}),
        source="commands 9.1; field for the others",
    ),
    Row(what="rootpw --iscrypted", option="root_password_hash", source="commands 9.1; manual 7.0"),
    Row(
        what="serialnum",
        option="license_key_in_file",
        known=frozenset({"7.0", "8.0"}),
        source='commands 9.1: "Starting with ESX 9.0, ESX is no longer licensed manually"; commands 5.5',
        cure="Leave license_key_in_file out; from 9.0 on hosts get their licence from vCenter.",
    ),
    Row(what="network", option="bootproto", source="commands 9.1, script 8.0", note="IPv4, up to two name servers"),
    Row(what="keyboard", option="keyboard", source="commands 9.1, commands 5.5"),
    Row(what="reboot", option="reboot", source="commands 9.1, commands 5.5"),
    Row(what="reboot --noeject", option="eject", source="commands 5.5; field", note="the medium stays in the drive"),
    Row(what="dryrun", option="dry_run", source="commands 9.1, commands 5.5"),
    Row(what="paranoid", option="paranoid", source="commands 9.1, commands 5.5"),
    Row(what="%pre", option="pre", source="commands 9.1, manual 8.0"),
    Row(what="%post", option="post", source="commands 9.1, manual 8.0"),
    Row(
        what="%firstboot",
        option="ntp_servers, rules, acceptance_level, ssh, first_boot",
        source='commands 9.1, manual 8.0, manual 7.0: "does not run, if secure boot is enabled"',
        note="not under Secure Boot",
    ),
    Row(
        what="systemMediaSize=min",
        option="system_media_size: min",
        known=frozenset({"8.0"}),
        unsure=frozenset({"7.0", "9.0", "9.1"}),
        source="storage 7.0; commands 9.1 names default and max only",
        note="33 GB; on 7.0 since Update 1c",
    ),
    Row(
        what="systemMediaSize=small",
        option="system_media_size: small",
        known=frozenset({"8.0"}),
        unsure=frozenset({"7.0", "9.0", "9.1"}),
        source="storage 7.0; commands 9.1 names default and max only",
        note="69 GB; on 7.0 since Update 1c",
    ),
    Row(
        what="systemMediaSize=default",
        option="system_media_size: default",
        unsure=frozenset({"7.0"}),
        source="storage 7.0, commands 9.1",
        note="138 GB; on 7.0 since Update 1c",
    ),
    Row(
        what="systemMediaSize=max",
        option="system_media_size: max",
        unsure=frozenset({"7.0"}),
        source="storage 7.0, commands 9.1",
        note="all there is; on 7.0 since Update 1c",
    ),
    Row(
        what="autoPartitionOSDataSize",
        option="os_data_size",
        known=frozenset(),
        unsure=ALL,
        source="blog 2020/05",
        note="MB of ESX-OSData; system_media_size is the documented way",
    ),
    Row(what="allowLegacyCPU", option="allow_legacy_cpu", known=frozenset(), unsure=ALL, source="blog 2023/10", note="unsupported"),
    Row(what="ks, netdevice, ip, netmask, gateway, nameserver, vlanid", option="boot_network", source="boot options 8.0, commands 9.1"),
    Row(what="BOOTIF", option="boot_device: bootif", source="boot options 8.0, commands 9.1", note="as PXELINUX writes it"),
)
ROWS: Mapping[str, Row] = {row.what: row for row in _ROWS}

# commands 9.1. A name with a space stands in quotes.
KEYBOARDS = (
    *("Belgian", "Brazilian", "Croatian", "Czechoslovakian", "Danish", "Estonian", "Finnish", "French", "German", "Greek", "Icelandic"),
    *("Italian", "Japanese", "Latin American", "Norwegian", "Polish", "Portuguese", "Russian", "Slovenian", "Spanish", "Swedish"),
    *("Swiss French", "Swiss German", "Turkish", "Ukrainian", "United Kingdom", "US Default", "US Dvorak"),
)
# commands 5.5: what scripts for ESX 4.x had, and ESXi has not.
GONE = frozenset(
    {
        *("auth", "authconfig", "autopart", "bootloader", "esxlocation", "firewall", "firewallport", "timezone", "virtualdisk"),
        *("zerombr", "%packages"),
    }
)

FLAG, VALUE, EITHER = "flag", "value", "either"


@dataclass(frozen=True, kw_only=True)
class Command:
    """``options``: name -> whether it takes a value; ``argument``: what stands behind them; ``apart``: pairs that exclude each other."""

    options: Mapping[str, str]
    argument: str = ""
    apart: tuple[tuple[str, str], ...] = ()


_DISK = {"--disk": VALUE, "--firstdisk": EITHER}
_FORCE = {"--forceunsupportedinstall": FLAG}
_NOTHING = Command(options={})
_INTERPRETER = {"--interpreter": VALUE}

COMMANDS: Mapping[str, Command] = {
    "accepteula": _NOTHING,
    "vmaccepteula": _NOTHING,
    "dryrun": _NOTHING,
    "paranoid": _NOTHING,
    "clearpart": Command(
        options={
            "--drives": VALUE,
            "--alldrives": FLAG,
            "--ignoredrives": VALUE,
            "--overwritevmfs": FLAG,
            "--firstdisk": EITHER,
        },
        apart=(("--drives", "--alldrives"), ("--drives", "--ignoredrives"), ("--alldrives", "--ignoredrives")),
    ),
    "install": Command(
        options={
            **_DISK,
            **_FORCE,
            "--ignoressd": FLAG,
            "--overwritevsan": FLAG,
            "--overwritevmfs": FLAG,
            "--preservevmfs": FLAG,
            "--novmfsondisk": FLAG,
            "--systemDisk": VALUE,
            "--repartitionSystemDisk": FLAG,
            "--dpupcislots": VALUE,
        },
        apart=(
            ("--disk", "--firstdisk"),
            ("--disk", "--ignoressd"),
            ("--overwritevmfs", "--preservevmfs"),
            ("--novmfsondisk", "--preservevmfs"),
        ),
    ),
    "upgrade": Command(options=_DISK, apart=(("--disk", "--firstdisk"),)),
    "installorupgrade": Command(
        options={**_DISK, "--overwritevsan": FLAG, "--overwritevmfs": FLAG},
        apart=(("--disk", "--firstdisk"),),
    ),
    "keyboard": Command(options={}, argument="layout"),
    "rootpw": Command(options={"--iscrypted": FLAG}, argument="password"),
    "serialnum": Command(options={"--esx": VALUE}),
    "network": Command(
        options={
            "--bootproto": VALUE,
            "--device": VALUE,
            "--ip": VALUE,
            "--netmask": VALUE,
            "--gateway": VALUE,
            "--nameserver": VALUE,
            "--hostname": VALUE,
            "--vlanid": VALUE,
            "--addvmportgroup": VALUE,
        },
    ),
    "reboot": Command(options={"--noeject": FLAG}),
    "%pre": Command(options=_INTERPRETER),
    "%post": Command(options={**_INTERPRETER, "--timeout": VALUE, "--ignorefailure": VALUE}),
    "%firstboot": Command(options=_INTERPRETER),
}
SECTIONS = ("%pre", "%post", "%firstboot")
HOW = ("install", "upgrade", "installorupgrade")
INTERPRETERS = ("busybox", "python")

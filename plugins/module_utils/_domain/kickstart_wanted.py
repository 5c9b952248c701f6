# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for, host by host, checked before anything is written. Pure. Private to this collection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import kickstart_grammar as grammar
from .addresses import addresses_given, networks_given, shown
from .errors import BadInput, listed
from .kickstart_file import DISK, HASH, VMNIC
from .license_key import KeyMistake, LicenseKey, read_key

HASH_HINT = "Make one with: openssl passwd -6 (it asks for the password), and keep it in a vault."
LEVELS = {
    "vmware_certified": "VMwareCertified",
    "vmware_accepted": "VMwareAccepted",
    "partner": "PartnerSupported",
    "community": "CommunitySupported",
}
# What the installer or a shell would take for something else than a part of a value.
_FILTER = re.compile(r"[0-9A-Za-z._:/@+-]+(?: [0-9A-Za-z._:/@+-]+)*")
_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.-]{0,61}[0-9A-Za-z])?")
_LABEL = re.compile(r"(?!-)[0-9A-Za-z-]{1,63}(?<!-)")
_RULESET = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_URL = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>[0-9A-Za-z.-]+|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[0-9A-Za-z._~+-]+)*)/?"
)
_PATH = re.compile(r"[0-9A-Za-z._~+-]+(?:/[0-9A-Za-z._~+-]+)*")
_TYPED = re.compile(r"[\t\n\x20-\x7e]*")
LONGEST_LINE = 1000


@dataclass(frozen=True, kw_only=True)
class Script:
    text: str
    interpreter: str = "busybox"
    timeout: int | None = None
    ignore_failure: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    name: str
    enabled: bool | None = None
    all_ip: bool | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Disk:
    first: tuple[str, ...] | None = None
    name: str | None = None
    overwrite_vmfs: bool = False
    preserve_vmfs: bool = False
    no_vmfs_on_disk: bool = False
    overwrite_vsan: bool = False
    ignore_ssd: bool = False
    system_disk: str | None = None
    repartition_system_disk: bool = False
    dpu_pci_slots: tuple[str, ...] = ()
    force_unsupported_install: bool = False


@dataclass(frozen=True, kw_only=True)
class Clear:
    drives: tuple[str, ...] = ()
    except_drives: tuple[str, ...] = ()
    all_drives: bool = False
    overwrite_vmfs: bool = False


@dataclass(frozen=True, kw_only=True)
class Network:
    bootproto: str
    device: str | None = None
    address: str | None = None
    netmask: str | None = None
    gateway: str | None = None
    nameservers: tuple[str, ...] = ()
    vlan: int | None = None
    vm_port_group: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    name: str
    fqdn: str | None = None
    mac: str | None = None
    serial: str | None = None
    installation: str = "install"
    disk: Disk = field(default_factory=Disk)
    clear: Clear | None = None
    network: Network | None = None
    keyboard: str | None = None
    password: str | None = field(default=None, repr=False)
    key: LicenseKey | None = None
    key_in_file: bool = False
    reboot: bool = True
    eject: bool = True
    dry_run: bool = False
    paranoid: bool = False
    secure_boot: bool | None = None
    ntp_servers: tuple[str, ...] = ()
    rules: tuple[Ruleset, ...] = ()
    acceptance_level: str | None = None
    ssh: str | None = None
    first_boot: tuple[str, ...] = ()
    pre: Script | None = None
    post: Script | None = None
    system_media_size: str | None = None
    os_data_size: int | None = None
    allow_legacy_cpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Wanted:
    present: bool
    dest: str
    mode: int
    medium: str
    hosts: tuple[Host, ...]
    release: str = ""
    installer: str | None = None
    prefix: str | None = None
    ks_url: str = ""
    title: str = ""
    boot_network: str = "dhcp"
    boot_device: str = "netdevice"
    bios: bool = False


def parse(params: Mapping[str, Any]) -> Wanted:
    """Options as a wish. Raises BadInput, before anything is read or written."""
    rows = params.get("hosts") or []
    if not rows:
        raise BadInput("hosts is empty", hint="Name at least one host; where the list may be empty, skip the task then with when.")
    present = params.get("state") != "absent"
    medium = params["medium"]
    dest = _typed("the task", "dest", params.get("dest"))
    if not dest.startswith("/"):
        raise BadInput(f"dest {dest!r} is no absolute path", hint="Name the folder from the root on: /srv/esxi.")
    if not present:
        hosts = tuple(Host(name=_name(row), mac=_mac(_name(row), row)) for row in rows)
        _no_doubles(hosts)
        return Wanted(present=False, dest=dest, mode=0o600, medium=medium, hosts=hosts)
    if params.get("accept_eula") is not True:
        raise BadInput(
            "accept_eula is not true, and the installer goes on only where the licence agreement is accepted",
            hint="Read the agreement; then say accept_eula: true.",
        )
    release = params.get("release")
    if not release:
        raise BadInput("release is missing", hint=f"Say what is installed: one of {', '.join(grammar.RELEASES)}.")
    hosts = tuple(_host(row, params, release) for row in rows)
    _no_doubles(hosts)
    whole = _boot(params, medium, hosts)
    return Wanted(present=True, dest=dest, mode=int(params.get("mode") or "0600", 8), medium=medium, hosts=hosts, release=release, **whole)


def _bad(host: str, option: str, value: object, why: str, cure: str) -> BadInput:
    return BadInput(f"{host}: {option} {value!r} {why}", hint=cure)


# ---- the task as a whole ---------------------------------------------------------------------------------------------------


def _boot(params: Mapping[str, Any], medium: str, hosts: tuple[Host, ...]) -> dict[str, Any]:
    installer, prefix, url = params.get("installer_boot_cfg"), params.get("prefix"), params.get("ks_url")
    if medium == "usb":
        for option in ("prefix", "ks_url"):
            if params.get(option):
                raise BadInput(f"{option} is given, and medium is usb", hint="A stick has its files beside each other: leave it out.")
    else:
        if not url:
            raise BadInput(f"ks_url is missing, and medium is {medium}", hint="Say where the folder ks below dest is served.")
        url = _url("ks_url", url, ("http", "https", "ftp", "nfs"))
        if installer and not prefix:
            raise BadInput(
                f"prefix is missing, and medium is {medium}",
                hint="Say where the boot loader finds the installer's files: a URL, or a path below the root of the TFTP server.",
            )
    if params.get("bios") and (medium != "pxe" or not installer):
        raise BadInput(
            f"bios is true, and {'medium is ' + medium if medium != 'pxe' else 'installer_boot_cfg is missing'}",
            hint="It writes PXELINUX's own file, which names the boot.cfg: say medium: pxe and installer_boot_cfg, or leave it out.",
        )
    if prefix and not installer:
        raise BadInput("prefix is given without installer_boot_cfg", hint="Name the installer's boot.cfg, too, or leave prefix out.")
    if medium == "http" and prefix:
        prefix = _url("prefix", prefix, ("http", "https"))
    elif prefix and not _PATH.fullmatch(prefix):
        raise BadInput(
            f"prefix {prefix!r} is no relative path", hint="Write it from the root of the TFTP server on, without a slash: ESXi-8.0.3."
        )
    _macs(hosts, medium, needed=bool(installer) and medium != "usb")
    title = _typed("the task", "title", params.get("title") or "ESXi installer")
    if "\n" in title or len(title) > 60:
        raise BadInput("title has a line break, or more than 60 characters", hint="Keep it to a few words.")
    if params.get("boot_network") == "static":
        dynamic = [host.name for host in hosts if host.network is None or host.network.bootproto != "static"]
        if dynamic:
            raise BadInput(
                f"boot_network is static, and {listed(dynamic, 5)} has no address",
                hint="Give each host an address, or say boot_network: dhcp.",
            )
    return {
        "installer": installer,
        "prefix": prefix,
        "ks_url": url or "",
        "title": title,
        "boot_network": params.get("boot_network") or "dhcp",
        "boot_device": params.get("boot_device") or "netdevice",
        "bios": bool(params.get("bios")),
    }


def _url(option: str, text: str, schemes: tuple[str, ...]) -> str:
    found = _URL.fullmatch(text)
    if "@" in text:
        raise BadInput(
            f"{option} holds a user or a password, which would stand in boot.cfg", hint="Leave it out; restrict the server by address."
        )
    if not found or found["scheme"] not in schemes or not 0 < int(found["port"] or 1) < 65536:
        raise BadInput(
            f"{option} {text!r} is no URL that the installer takes",
            hint=f"Write {' or '.join(schemes)}, a server and a path, without spaces, ? and #: {schemes[0]}://192.0.2.5/esxi.",
        )
    if len(text) > 200:
        raise BadInput(f"{option} has {len(text)} characters", hint="Keep it below 200: a boot loader's line is short.")
    return text.rstrip("/")


def _macs(hosts: Iterable[Host], medium: str, *, needed: bool) -> None:
    without = [host.name for host in hosts if host.mac is None]
    if needed and without:
        raise BadInput(
            f"{listed(without, 5)} has no mac, and medium is {medium}",
            hint="Give the MAC address of the adapter that boots: the boot loader looks for a folder of that name.",
        )


def _no_doubles(hosts: tuple[Host, ...]) -> None:
    def values(option: str, host: Host) -> str | None:
        found = host.network.address if option == "address" and host.network else getattr(host, option, None)
        return found.lower() if found else None

    for option in ("name", "fqdn", "mac", "serial", "address"):
        seen: dict[str, str] = {}
        for host in hosts:
            value = values(option, host)
            if value is not None and seen.setdefault(value, host.name) != host.name or option == "name" and _count(hosts, value) > 1:
                raise _bad(host.name, option, value, f"belongs to {seen[value or '']} as well", "Give each host its own.")
    gateways = {host.network.gateway: host.name for host in hosts if host.network and host.network.gateway}
    for host in hosts:
        if host.network and host.network.address in gateways:
            raise _bad(
                host.name,
                "address",
                host.network.address,
                f"is the gateway of {gateways[host.network.address]}",
                "Give it an address of its own.",
            )


def _count(hosts: Iterable[Host], name: str | None) -> int:
    return sum(host.name.lower() == name for host in hosts)


# ---- a host ----------------------------------------------------------------------------------------------------------------


def _host(row: Mapping[str, Any], params: Mapping[str, Any], release: str) -> Host:
    name = _name(row)

    def get(option: str, default: Any = None) -> Any:
        """A host's own value before the one for all."""
        own = row.get(option)
        found = params.get(option) if own is None else own
        return default if found is None else found

    installation = get("installation", "install")
    password, key = _password(name, get("root_password_hash")), _key(name, get("license_key"))
    if installation != "upgrade" and password is None:
        raise BadInput(f"{name}: root_password_hash is missing, and an installation needs one", hint=HASH_HINT)
    mac = _mac(name, row)
    fqdn = row.get("fqdn")
    if fqdn is not None and (len(fqdn) > 253 or "." not in fqdn or not all(map(_LABEL.fullmatch, fqdn.split(".")))):
        raise _bad(name, "fqdn", fqdn, "is no full host name", "Write letters, digits and hyphens: esx-01.example.com.")
    serial = row.get("serial")
    if serial is not None and not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}", serial):
        raise _bad(name, "serial", serial, "is no serial number", "Letters, digits, dots and hyphens only, up to 64.")
    keyboard = get("keyboard")
    if keyboard is not None and keyboard not in grammar.KEYBOARDS:
        raise _bad(name, "keyboard", keyboard, "is no layout of the installer", f"Use one of {', '.join(grammar.KEYBOARDS)}.")
    size = get("os_data_size")
    if size is not None and not 0 < size < 10**7:
        raise _bad(name, "os_data_size", size, "is no size in MB", "Write for example 8192, or use system_media_size.")
    clear = _clear(name, get("clear_partitions"))
    if clear and installation != "install":
        raise _bad(name, "installation", installation, "goes with no clear_partitions", "Only install may clear partitions: leave it out.")
    host = Host(
        name=name,
        fqdn=fqdn,
        mac=mac,
        serial=serial,
        installation=installation,
        disk=_disk(name, get("disk"), installation),
        clear=clear,
        network=_network(name, row, get, mac, installation),
        keyboard=keyboard,
        password=password,
        key=key,
        key_in_file=bool(get("license_key_in_file", False)),
        reboot=get("reboot", True),
        eject=get("eject", True),
        dry_run=get("dry_run", False),
        paranoid=get("paranoid", False),
        secure_boot=get("secure_boot"),
        ntp_servers=_ntp(name, get("ntp_servers", [])),
        rules=_rules(name, get("rules", [])),
        acceptance_level=get("acceptance_level"),
        ssh=get("ssh"),
        first_boot=_first_boot(name, get("first_boot", [])),
        pre=_script(name, "pre", get("pre")),
        post=_script(name, "post", get("post")),
        system_media_size=get("system_media_size"),
        os_data_size=size,
        allow_legacy_cpu=get("allow_legacy_cpu", False),
    )
    if host.system_media_size and host.os_data_size:
        raise _bad(name, "os_data_size", size, "and system_media_size size the same partition", "Give one of them.")
    if host.key_in_file and host.key is None:
        raise BadInput(f"{name}: license_key_in_file is true without license_key", hint="Give the key, or leave both out.")
    for what in used(host):
        found = grammar.ROWS[what]
        if found.knows(release) == "unknown":
            raise BadInput(f"{name}: {found.option} is not known to {release}: {what} [{found.source}]", hint=found.cure or "Leave it out.")
    return host


def used(host: Host) -> tuple[str, ...]:
    """What of the table a host's files will say, where releases differ."""
    disk = host.disk
    given = {
        "install --systemDisk": disk.system_disk,
        "install --repartitionSystemDisk": disk.repartition_system_disk,
        "install --dpupcislots": disk.dpu_pci_slots,
        "install --forceunsupportedinstall": disk.force_unsupported_install,
        "serialnum": host.key_in_file,
        f"systemMediaSize={host.system_media_size}": host.system_media_size,
        "autoPartitionOSDataSize": host.os_data_size,
        "allowLegacyCPU": host.allow_legacy_cpu,
    }
    return tuple(what for what, is_there in given.items() if is_there)


def _name(row: Mapping[str, Any]) -> str:
    name = str(row.get("name") or "")
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"hosts has the name {name!r}, which is no name for a file",
            hint="Up to 63 letters, digits, dots and hyphens: esx-01.example.com.",
        )
    return name


def _typed(where: str, option: str, text: Any) -> str:
    if not isinstance(text, str) or not text.strip() or not _TYPED.fullmatch(text):
        raise BadInput(f"{where}: {option} is empty, or holds a character that is not ASCII", hint="Use plain ASCII.")
    return text


def _mac(name: str, row: Mapping[str, Any]) -> str | None:
    given = row.get("mac")
    return None if given is None else _as_mac(name, "mac", given)


def _as_mac(name: str, option: str, given: str) -> str:
    digits = re.sub(r"[:.-]", "", given).lower()
    if not re.fullmatch(
        r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}|[0-9a-fA-F]{12}", given
    ):
        raise _bad(name, option, given, "is no MAC address", "Write it as aa:bb:cc:dd:ee:ff.")
    if int(digits[:2], 16) & 1 or not int(digits, 16):
        raise _bad(
            name, option, given, "is no address of an adapter (multicast, or all zero)", "Read it off the adapter or the management card."
        )
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _password(name: str, given: str | None) -> str | None:
    if given is None:
        return None
    if not HASH.fullmatch(given):
        kind = "no hash"
        if HASH.fullmatch(given.strip()):
            kind = "a hash with white space around it"
        elif re.match(r"\$[0-9a-z]{1,3}\$", given):
            kind = "a hash, but no whole one of SHA-512"
        raise BadInput(f"{name}: root_password_hash is {kind}; plain passwords are not taken ($6$SALT$86 characters)", hint=HASH_HINT)
    return given


def _key(name: str, given: str | None) -> LicenseKey | None:
    if given is None:
        return None
    try:
        return read_key(given)
    except KeyMistake as mistake:
        raise BadInput(f"{name}: license_key: {mistake.cause}", hint=mistake.hint) from None


def _flags(given: Mapping[str, Any], *names: str) -> dict[str, bool]:
    return {name: bool(given.get(name)) for name in names}


def _disk(name: str, given: Mapping[str, Any] | None, installation: str) -> Disk:
    given = given or {}
    first, device = given.get("first"), given.get("name")
    if (first is None) == (device is None):
        raise BadInput(
            f"{name}: disk has {'both first and name' if device else 'neither first nor name'}",
            hint="Say which disk is written to: disk.name: naa.6000..., or disk.first: [local].",
        )
    for word in first or ():
        if not _FILTER.fullmatch(word):
            raise _bad(
                name, "disk.first", word, "is no filter", "Use words such as local, remote, usb, esx, a driver or a model, one an entry."
            )
    disk = Disk(
        first=None if first is None else tuple(first),
        name=None if device is None else _device(name, "disk.name", device),
        system_disk=None if given.get("system_disk") is None else _device(name, "disk.system_disk", given["system_disk"]),
        dpu_pci_slots=tuple(str(slot) for slot in given.get("dpu_pci_slots") or ()),
        **_flags(given, "overwrite_vmfs", "preserve_vmfs", "no_vmfs_on_disk", "overwrite_vsan", "ignore_ssd", "repartition_system_disk"),
        force_unsupported_install=bool(given.get("force_unsupported_install")),
    )
    allowed = {"install": set(given), "installorupgrade": {"overwrite_vmfs", "overwrite_vsan"}, "upgrade": set()}[installation]
    more = sorted(option for option, value in given.items() if value and option not in {"first", "name", *allowed})
    if more:
        raise _bad(name, "installation", installation, f"goes with no disk.{more[0]}", "Leave it out, or say installation: install.")
    for one, other in (("overwrite_vmfs", "preserve_vmfs"), ("no_vmfs_on_disk", "preserve_vmfs")):
        if given.get(one) and given.get(other):
            raise BadInput(f"{name}: disk.{one} and disk.{other} exclude each other", hint="Give one of them.")
    if disk.ignore_ssd and disk.first is None:
        raise BadInput(f"{name}: disk.ignore_ssd is for disk.first only", hint="Leave it out where the disk is named.")
    if disk.repartition_system_disk and not disk.system_disk:
        raise BadInput(f"{name}: disk.repartition_system_disk is true without disk.system_disk", hint="Name the disk.")
    if any(not re.fullmatch(r"[0-9]{1,5}", slot) for slot in disk.dpu_pci_slots):
        raise _bad(name, "disk.dpu_pci_slots", list(disk.dpu_pci_slots), "holds what is no slot number", "Write numbers: [2, 3].")
    return disk


def _device(name: str, option: str, given: str) -> str:
    if not DISK.fullmatch(given):
        raise _bad(
            name, option, given, "is no device name", "Use naa., eui., t10., vml. or mpx. as esxcli storage core device list shows it."
        )
    return given


def _clear(name: str, given: Mapping[str, Any] | None) -> Clear | None:
    if not given:
        return None
    chosen = [option for option in ("drives", "except_drives", "all_drives") if given.get(option)]
    if len(chosen) != 1:
        raise BadInput(
            f"{name}: clear_partitions has {' and '.join(chosen) or 'none of drives, except_drives, all_drives'}",
            hint="Say which disks are cleared by exactly one of them.",
        )
    return Clear(
        drives=tuple(_device(name, "clear_partitions.drives", one) for one in given.get("drives") or ()),
        except_drives=tuple(_device(name, "clear_partitions.except_drives", one) for one in given.get("except_drives") or ()),
        **_flags(given, "all_drives", "overwrite_vmfs"),
    )


# ---- network ---------------------------------------------------------------------------------------------------------------


def _network(name: str, row: Mapping[str, Any], get: Any, mac: str | None, installation: str) -> Network | None:
    proto = get("bootproto") or ("static" if row.get("address") else None if installation == "upgrade" else "dhcp")
    if proto is None:
        return None
    device = get("device")
    if device is not None and not VMNIC.fullmatch(device):
        device = _as_mac(name, "device", device)
    vlan = get("vlan")
    if vlan is not None and not 0 <= vlan <= 4095:
        raise _bad(name, "vlan", vlan, "is no VLAN", "Write 1 to 4094; 0 is none, 4095 all of them.")
    common = {"bootproto": proto, "device": device or mac, "vlan": vlan or None, "vm_port_group": get("vm_port_group")}
    if proto == "dhcp":
        for option in ("address", "netmask", "gateway", "nameservers"):
            if row.get(option):
                raise _bad(name, option, row[option], "is given, and bootproto is dhcp", "Leave it out, or say bootproto: static.")
        return Network(**common)
    for option in ("address", "netmask", "gateway"):
        if not get(option):
            raise BadInput(f"{name}: {option} is missing, and bootproto is static", hint=f"Give {option}, or say bootproto: dhcp.")
    address, gateway = _ipv4(name, "address", get("address")), _ipv4(name, "gateway", get("gateway"))
    netmask = _netmask(name, get("netmask"))
    net = ipaddress.IPv4Network(f"{address}/{netmask}", strict=False)
    if net.prefixlen < 31 and address in (net.network_address, net.broadcast_address):
        raise _bad(name, "address", str(address), f"is the network's or the broadcast address of {net}", "Give a host's address.")
    if gateway not in net:
        raise _bad(name, "gateway", str(gateway), f"lies outside of {net}", "Correct gateway, address or netmask.")
    if gateway == address:
        raise _bad(name, "gateway", str(gateway), "is the host's own address", "Give the router's address.")
    names = get("nameservers", [])
    if len(names) > 2 or len(set(names)) < len(names):
        raise _bad(
            name, "nameservers", names, "are more than two, or one of them twice", "The installer takes two; others can be set later."
        )
    return Network(
        **common,
        address=str(address),
        netmask=netmask,
        gateway=str(gateway),
        nameservers=tuple(str(_ipv4(name, "nameservers", one)) for one in names),
    )


def _ipv4(name: str, option: str, given: str) -> ipaddress.IPv4Address:
    try:
        found = ipaddress.IPv4Address(given)
    except ValueError:
        raise _bad(
            name, option, given, "is no IPv4 address", "Write it as 192.0.2.10, without leading zeros; the installer takes IPv4 only."
        ) from None
    if found.is_multicast or found.is_loopback or found.is_unspecified or found == ipaddress.IPv4Address("255.255.255.255"):
        raise _bad(name, option, given, "is no address of a host", "Give the address of one machine.")
    return found


def _netmask(name: str, given: str) -> str:
    try:
        bits = int(ipaddress.IPv4Address(given))
    except ValueError:
        raise _bad(name, "netmask", given, "is no netmask", "Write it as 255.255.255.0.") from None
    ones = f"{bits:032b}".rstrip("0")
    if "0" in ones or not 8 <= len(ones) <= 31:
        raise _bad(name, "netmask", given, "is no netmask: its ones have to come first, 8 to 31 of them", "Write it as 255.255.255.0.")
    return str(ipaddress.IPv4Address(bits))


# ---- first boot, scripts ---------------------------------------------------------------------------------------------------


def _ntp(name: str, given: list[str]) -> tuple[str, ...]:
    for server in given:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            if len(server) > 253 or not all(map(_LABEL.fullmatch, server.split("."))) or re.fullmatch(r"[0-9.]+", server):
                raise _bad(
                    name, "ntp_servers", server, "is neither an IP address nor a host name", "One server an entry, without options."
                ) from None
    if len({server.lower() for server in given}) < len(given):
        raise _bad(name, "ntp_servers", given, "name one twice", "Keep one.")
    return tuple(given)


def _rules(name: str, given: list[Mapping[str, Any]]) -> tuple[Ruleset, ...]:
    found = []
    for rule in given:
        ruleset = str(rule.get("name") or "")
        if not _RULESET.fullmatch(ruleset):
            raise _bad(name, "rules", ruleset, "is no name of a ruleset", "Use the names of esxcli network firewall ruleset list.")
        allowed = rule.get("allowed_hosts") or {}
        try:
            networks = [
                *addresses_given("rules", allowed.get("ip_address") or ()),
                *networks_given("rules", allowed.get("ip_network") or ()),
            ]
        except BadInput as problem:
            raise BadInput(f"{name}: {problem.cause}", hint=problem.hint) from None
        if allowed.get("all_ip") and networks:
            raise _bad(name, "rules", ruleset, "has all_ip: true and a list", "Give one of the two.")
        if allowed.get("all_ip") is False and not networks:
            raise _bad(
                name, "rules", ruleset, "has all_ip: false and no list, which shuts everybody out", "Give a list, or enabled: false."
            )
        if rule.get("enabled") is None and not allowed:
            raise _bad(name, "rules", ruleset, "asks for nothing", "Give enabled or allowed_hosts.")
        all_ip = False if networks else allowed.get("all_ip")
        found.append(Ruleset(name=ruleset, enabled=rule.get("enabled"), all_ip=all_ip, addresses=tuple(map(shown, networks))))
    names = [rule.name.lower() for rule in found]
    if len(set(names)) < len(names):
        raise _bad(name, "rules", sorted(names), "name one twice", "Use one entry for each.")
    return tuple(found)


def _first_boot(name: str, given: list[str]) -> tuple[str, ...]:
    for number, command in enumerate(given, 1):
        _body(name, f"first_boot, entry {number}", command)
        if "\n" in command:
            raise BadInput(f"{name}: first_boot, entry {number} has a line break", hint="One command an entry.")
    return tuple(given)


def _script(name: str, option: str, given: Mapping[str, Any] | None) -> Script | None:
    if given is None:
        return None
    timeout = given.get("timeout")
    if timeout is not None and timeout < 1:
        raise _bad(name, f"{option}.timeout", timeout, "is no time", "Write seconds, above 0.")
    return Script(
        text=_body(name, f"{option}.text", given.get("text")).strip("\n"),
        interpreter=given.get("interpreter") or "busybox",
        timeout=timeout,
        ignore_failure=given.get("ignore_failure"),
    )


def _body(name: str, option: str, text: Any) -> str:
    """Text that the user answers for; it must only not end the section that it stands in. It may hold secrets, so it is not shown."""
    _typed(name, option, text)
    for number, row in enumerate(text.split("\n"), 1):
        if row.startswith("%"):
            raise BadInput(
                f"{name}: {option}: line {number} begins with %, which begins another section",
                hint="Indent the line, or write it another way.",
            )
        if len(row) > LONGEST_LINE:
            raise BadInput(f"{name}: {option}: line {number} has {len(row)} characters", hint=f"Break it before {LONGEST_LINE}.")
    return str(text)

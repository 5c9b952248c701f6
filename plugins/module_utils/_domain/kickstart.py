# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation files of hosts: which there are, what stands in them, what somebody should know. Pure. Private to this collection.

Who reads and writes files is handed in, so that the order of events can be seen and tested without any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import kickstart_file as files
from . import kickstart_grammar as grammar
from .errors import BadInput, FleetcareError, NotConverged, listed
from .kickstart_wanted import LEVELS, Disk, Host, Script, Wanted, parse, used
from .plan import Finding, Meaning

_COMMANDS = "Broadcom, ESX 9.1, Installation and Upgrade Script Commands"
LONGEST_BOOT_CFG = 256 * 1024

MEANINGS: dict[str, Meaning] = {
    "kickstart_firstboot_skipped": Meaning(
        "warning",
        "The script has steps for the first boot, and ESXi does not run them under Secure Boot.",
        "Say in variables of esxi_remediate what these steps set, and run fleetcare.esxi.esxi_provision: it waits for the host and does it.",
        f"{_COMMANDS}, %firstboot; the manuals for 7.0 and 8.0 say the same",
        lasting=True,
    ),
    "kickstart_firstboot_unless_secure": Meaning(
        "note",
        "The script has steps for the first boot, which are run only where Secure Boot is off.",
        "Say secure_boot: false or true; the playbook esxi_provision sets the same in either case.",
        f"{_COMMANDS}, %firstboot",
        lasting=True,
    ),
    "kickstart_license_later": Meaning(
        "note",
        "A licence key is given and does not stand in the file, where everybody who fetches it could read it.",
        "Assign it after the first boot with esxi_license_validate, state: assigned; until then the host runs in evaluation mode.",
        "the option license_key without license_key_in_file",
        lasting=True,
    ),
    "kickstart_license_in_clear": Meaning(
        "warning",
        "The licence key stands in the file in clear text; the command knows no other form.",
        "Take the file away once the host is installed (state: absent), or leave license_key_in_file out.",
        f"{_COMMANDS}, serialnum",
        lasting=True,
    ),
    "kickstart_readable_on_network": Meaning(
        "warning",
        "Whoever reaches the server can read the file, and with it the hash of the root password.",
        "Serve it in a network for installation only, restrict it by address, change the password afterwards, and take the files away (state: absent).",
        f"{_COMMANDS}, Boot Options: the installer does not validate certificates, so https proves nothing either",
        lasting=True,
    ),
    "kickstart_installs_again": Meaning(
        "warning",
        "The host is installed anew each time it boots from the network; without end, where that comes before the disk in its boot order.",
        "Boot from the network once only, or take the files away after the installation (state: absent).",
        "the files themselves: a boot.cfg for its MAC address, and a script that installs",
        lasting=True,
    ),
    "kickstart_erases": Meaning(
        "warning",
        "The script overwrites datastores or clears partitions.",
        "Make sure that nothing is needed of the disks that it names; run it with dry_run first where in doubt.",
        f"{_COMMANDS}, clearpart, --overwritevmfs and --overwritevsan",
        lasting=True,
    ),
    "kickstart_any_disk": Meaning(
        "warning",
        "The disk is chosen by what the installer finds first, which may be another one than was meant.",
        "Name the disk with disk.name, or filter by model or driver alone.",
        f"{_COMMANDS}, --firstdisk",
        lasting=True,
    ),
    "kickstart_usb_without_system_disk": Meaning(
        "warning",
        "The host is installed on USB or SD, and nothing is said of where ESX-OSData goes.",
        "Name a persistent disk of at least 32 GB with disk.system_disk, or install on another disk.",
        f"{_COMMANDS}: ESX-OSData on SD and USB is deprecated",
        lasting=True,
    ),
    "kickstart_release_unsure": Meaning(
        "warning",
        "The documentation of the release does not have it, or not for each of its builds.",
        "Try it on one host with this installer before the others; the table in docs/installation.md says since when it is known.",
        "the table of commands by release",
        lasting=True,
    ),
    "kickstart_unsupported_cpu": Meaning(
        "warning",
        "The installer is told to go on with a CPU that the release no longer supports.",
        "Fine in a laboratory; elsewhere replace the host, or stay on the release that supports it.",
        "williamlam.com 2023/10 (allowLegacyCPU); Broadcom, --forceunsupportedinstall",
        lasting=True,
    ),
    "kickstart_boot_option_replaced": Meaning(
        "note",
        "The installer's boot.cfg had boot options that the task sets too; its own stand there now.",
        "Name the boot.cfg as it came with the installer, so that nothing is lost that somebody has set by hand.",
        "the line kernelopt of installer_boot_cfg",
        lasting=True,
    ),
}


def _found(code: str, text: str, *, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


# ---- what stands in the files ----------------------------------------------------------------------------------------------


def script(host: Host, release: str) -> str:
    """The installation script of a host."""
    who = ", ".join(part for part in (host.fqdn or host.name, host.serial and f"serial number {host.serial}", f"ESXi {release}") if part)
    text = f"# {who}; written by fleetcare.esxi.esxi_kickstart\n" + files.line("vmaccepteula")
    text += files.line("dryrun") if host.dry_run else ""
    text += files.line("paranoid") if host.paranoid else ""
    text += files.line("keyboard", (), host.keyboard) if host.keyboard else ""
    text += files.line("clearpart", _clear(host)) if host.clear else ""
    text += files.line(host.installation, _disk(host))
    text += files.line("rootpw", [("--iscrypted", None)], host.password) if host.password else ""
    text += files.line("serialnum", [("--esx", str.__str__(host.key.text))]) if host.key and host.key_in_file else ""
    text += files.line("network", _network(host)) if host.network else ""
    text += files.line("reboot", () if host.eject else [("--noeject", None)]) if host.reboot else ""
    text += _section("%pre", host.pre) + _section("%post", host.post)
    steps = first_boot(host)
    return text + (files.section("%firstboot", [("--interpreter", "busybox")], "\n".join(steps)) if steps else "")


Options = Iterator[tuple[str, "str | None"]]


def _clear(host: Host) -> Options:
    clear = host.clear
    if clear is None:
        return
    if clear.all_drives:
        yield "--alldrives", None
    if clear.drives:
        yield "--drives", ",".join(clear.drives)
    if clear.except_drives:
        yield "--ignoredrives", ",".join(clear.except_drives)
    if clear.overwrite_vmfs:
        yield "--overwritevmfs", None


def _disk(host: Host) -> Options:
    disk = host.disk
    if disk.name:
        yield "--disk", disk.name
    else:
        yield "--firstdisk", ",".join(disk.first or ()) or None
    for option in ("ignore_ssd", "overwrite_vsan", "overwrite_vmfs", "preserve_vmfs"):
        if getattr(disk, option):
            yield "--" + option.replace("_", ""), None
    if disk.no_vmfs_on_disk:
        yield "--novmfsondisk", None
    if disk.system_disk:
        yield "--systemDisk", disk.system_disk
    if disk.repartition_system_disk:
        yield "--repartitionSystemDisk", None
    if disk.dpu_pci_slots:
        yield "--dpupcislots", ",".join(disk.dpu_pci_slots)
    if disk.force_unsupported_install:
        yield "--forceunsupportedinstall", None


def _network(host: Host) -> Options:
    network = host.network
    if network is None:
        return
    given = {
        "--bootproto": network.bootproto,
        "--device": network.device,
        "--ip": network.address,
        "--netmask": network.netmask,
        "--gateway": network.gateway,
        "--nameserver": ",".join(network.nameservers) or None,
        "--hostname": host.fqdn,
        "--vlanid": str(network.vlan) if network.vlan else None,
        "--addvmportgroup": None if network.vm_port_group is None else str(int(network.vm_port_group)),
    }
    yield from ((option, value) for option, value in given.items() if value is not None)


def _section(head: str, given: Script | None) -> str:
    if given is None:
        return ""
    options: dict[str, str] = {"--interpreter": given.interpreter}
    if given.timeout is not None:
        options["--timeout"] = str(given.timeout)
    if given.ignore_failure is not None:
        options["--ignorefailure"] = str(given.ignore_failure).lower()
    return files.section(head, list(options.items()), given.text)


def first_boot(host: Host) -> tuple[str, ...]:
    """Commands for busybox, every value in quotes. The options of esxcli are those of its own reference for 7.0 and later."""
    steps = []
    if host.acceptance_level:
        steps.append(f"esxcli software acceptance set --level={LEVELS[host.acceptance_level]}")
    if host.ntp_servers:
        servers = " ".join(f"--server={files.shell(server)}" for server in host.ntp_servers)
        steps.append(f"esxcli system ntp set {servers} --enabled=true")
    for rule in host.rules:
        name = files.shell(rule.name)
        if rule.all_ip is not None:
            steps.append(f"esxcli network firewall ruleset set --ruleset-id={name} --allowed-all={str(rule.all_ip).lower()}")
        steps += [
            f"esxcli network firewall ruleset allowedip add --ruleset-id={name} --ip-address={files.shell(one)}" for one in rule.addresses
        ]
        if rule.enabled is not None:
            steps.append(f"esxcli network firewall ruleset set --ruleset-id={name} --enabled={str(rule.enabled).lower()}")
    if host.ssh:
        steps += [f"vim-cmd hostsvc/{verb}_ssh" for verb in (("enable", "start") if host.ssh == "enabled" else ("stop", "disable"))]
    return (*steps, *host.first_boot)


def boot_options(host: Host, wanted: Wanted) -> list[str]:
    """What the kernel of the installer is told, behind what its boot.cfg says already."""
    usb = wanted.medium == "usb"
    options = ["ks=usb:/KS.CFG" if usb else f"ks={wanted.ks_url}/{host.name}.cfg"]
    if host.mac and not usb:
        # The form of PXELINUX: 01 is Ethernet.
        options.append(f"BOOTIF=01-{_dashed(host.mac)}" if wanted.boot_device == "bootif" else f"netdevice={host.mac}")
    network = host.network
    if network and not usb:
        if wanted.boot_network == "static":
            options += [f"ip={network.address}", f"netmask={network.netmask}", f"gateway={network.gateway}"]
            options += [f"nameserver={network.nameservers[0]}"] if network.nameservers else []
        options += [f"vlanid={network.vlan}"] if network.vlan else []
    options += [f"systemMediaSize={host.system_media_size}"] if host.system_media_size else []
    options += [f"autoPartitionOSDataSize={host.os_data_size}"] if host.os_data_size else []
    return options + (["allowLegacyCPU=true"] if host.allow_legacy_cpu else [])


def _dashed(mac: str) -> str:
    return mac.replace(":", "-")


def paths(host: Host, wanted: Wanted) -> dict[str, tuple[str, ...]]:
    """Where a host's files are, below dest, by their kind."""
    if wanted.medium == "usb":
        # UEFI reads the one below EFI, legacy BIOS the one at the top.
        return {"script": (f"{host.name}/KS.CFG",), "boot": (f"{host.name}/BOOT.CFG", f"{host.name}/EFI/BOOT/BOOT.CFG")}
    folder = f"01-{_dashed(host.mac)}" if host.mac else ""
    return {
        "script": (f"ks/{host.name}.cfg",),
        "boot": (f"{folder}/boot.cfg",) if folder else (),
        "pxelinux": (f"pxelinux.cfg/{folder}",) if folder else (),
    }


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a host's files are to hold; None for one that is to be gone."""

    host: Host
    files: Mapping[str, str | None] = field(repr=False)
    kernelopt: str = ""
    findings: tuple[Finding, ...] = ()


def make(host: Host, wanted: Wanted, installer: files.BootFile | None) -> Made:
    """Raises FleetcareError where a file would not be what the installer takes, which is a defect."""
    where = paths(host, wanted)
    if not wanted.present:
        return Made(host=host, files={path: None for kind in where.values() for path in kind})
    text = script(host, wanted.release)
    wrong = [f"{path}: {why}" for path in where["script"] for why in files.problems(text, wanted.release)]
    made: dict[str, str | None] = dict.fromkeys(where["script"], text)
    options = boot_options(host, wanted)
    gone: tuple[str, ...] = ()
    kernelopt = " ".join(options)
    if installer is not None:
        title = f"{wanted.title} for {host.name}"
        boot, gone = files.for_host(installer, title=title, prefix=wanted.prefix, options=options)
        kernelopt = boot.value("kernelopt") or ""
        made.update(dict.fromkeys(where["boot"], boot.text))
        expected = {"title": title, "kernelopt": kernelopt, **({"prefix": wanted.prefix} if wanted.prefix else {})}
        wrong += [f"{path}: {why}" for path in where["boot"] for why in files.boot_problems(boot.text, installer, expected)]
        if wanted.bios:
            made.update(dict.fromkeys(where["pxelinux"], _pxelinux(wanted, where["boot"][0])))
    if wrong:
        raise FleetcareError(
            f"what was made for {host.name} is not what the installer takes: {listed(wrong, 3)}",
            hint="This is a defect of fleetcare.esxi: please report it with this sentence. Nothing was written.",
        )
    return Made(host=host, files=made, kernelopt=kernelopt, findings=tuple(_findings(host, wanted, gone)))


def _pxelinux(wanted: Wanted, boot_cfg: str) -> str:
    """The form of "PXELINUX Configuration Files"; IPAPPEND 2 hands on which adapter booted."""
    return f"DEFAULT install\nNOHALT 1\nLABEL install\n  KERNEL {wanted.prefix}/mboot.c32\n  APPEND -c {boot_cfg}\n  IPAPPEND 2\n"


# ---- what somebody should know ---------------------------------------------------------------------------------------------


def _findings(host: Host, wanted: Wanted, gone: tuple[str, ...]) -> Iterator[Finding]:
    steps = first_boot(host)
    if steps and host.secure_boot:
        yield _found("kickstart_firstboot_skipped", f"secure_boot is true, and the script has {len(steps)} such steps")
    if steps and host.secure_boot is None:
        yield _found("kickstart_firstboot_unless_secure", f"{len(steps)} steps; secure_boot is not given")
    if host.key and host.key_in_file:
        yield _found("kickstart_license_in_clear", f"serialnum with {host.key.masked}")
    elif host.key:
        yield _found("kickstart_license_later", f"{host.key.masked} is not in the file")
    if host.password and wanted.medium != "usb":
        yield _found("kickstart_readable_on_network", f"ks={wanted.ks_url}/{host.name}.cfg")
    if wanted.medium != "usb" and wanted.installer and host.installation != "upgrade" and not host.dry_run:
        yield _found("kickstart_installs_again", f"01-{_dashed(host.mac or '')}/boot.cfg")
    disk = host.disk
    erased = tuple(_erased(host))
    if erased:
        yield _found("kickstart_erases", "; ".join(erased))
    # One that fits anything is taken where none before it fits.
    if disk.first is not None and (not disk.first or set(disk.first) & _ANYTHING):
        yield _found("kickstart_any_disk", _which(disk))
    if "usb" in (disk.first or ())[:1] and not disk.system_disk and host.installation == "install":
        yield _found("kickstart_usb_without_system_disk", "disk.first begins with usb, disk.system_disk is not given")
    for what in used(host):
        row = grammar.ROWS[what]
        if row.knows(wanted.release) == "unsure":
            yield _found("kickstart_release_unsure", f"{what} for {wanted.release} [{row.source}]{': ' + row.note if row.note else ''}")
    if host.allow_legacy_cpu or disk.force_unsupported_install:
        yield _found("kickstart_unsupported_cpu", "allow_legacy_cpu" if host.allow_legacy_cpu else "disk.force_unsupported_install")
    if gone:
        yield _found("kickstart_boot_option_replaced", f"{', '.join(gone)}")


# Filters that no model and no driver has to fit.
_ANYTHING = {"local", "remote", "usb", "esx", "localesx", "remoteesx"}


def _which(disk: Disk) -> str:
    # "By default, the eligible disks are set to the following order": local, then those of the network, then (7.0) USB.
    return disk.name or f"the first disk of {', '.join(disk.first or ()) or 'any kind, those of the network (SAN) included'}"


def _erased(host: Host) -> Iterator[str]:
    disk, clear = host.disk, host.clear
    if clear:
        which = "all drives" if clear.all_drives else ", ".join(clear.drives) or f"all drives but {', '.join(clear.except_drives)}"
        seen = "" if clear.drives else " that the host sees, those of the network (SAN) included"
        yield f"clear_partitions on {which}{seen}{', with datastores' if clear.overwrite_vmfs else ''}"
    if disk.overwrite_vmfs:
        yield f"overwrite_vmfs on {_which(disk)}"
    if disk.overwrite_vsan:
        yield f"overwrite_vsan on {_which(disk)}; other disks of its vSAN disk group may go with it"
    if disk.repartition_system_disk:
        yield f"repartition_system_disk on {disk.system_disk}"


# ---- what is done ----------------------------------------------------------------------------------------------------------


class Folder(Protocol):
    """The files below dest."""

    def look(self, path: str) -> tuple[bytes, int] | None:
        """Content and mode; None where there is no file. Raises FleetcareError, as the others do."""

    def write(self, path: str, content: bytes, mode: int) -> None: ...

    def remove(self, path: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Entry:
    status: str
    files: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    failure: FleetcareError | None = None
    kernelopt: str = ""
    reached_at: str | None = None
    changed: bool = False

    def describe(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "changed": self.changed,
            "files": [{"path": path, "state": state} for path, state in self.files],
            "kernelopt": self.kernelopt,
            "reached_at": self.reached_at,
            "findings": [finding.describe("open") for finding in self.findings],
            "failure": self.failure.as_failure() if self.failure else None,
        }


def task(opened: Callable[[str, bool], Folder], given: Callable[[str, int], bytes]) -> Callable[[Mapping[str, Any], bool], dict[str, Any]]:
    """What the module does, given who reads and writes: ``opened`` the folder dest, told whether this is a check run; ``given`` a
    file of the user's. All is made and judged before the first file is written."""

    def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
        wanted = parse(params)
        installer = _installer(wanted, given)
        made = [make(host, wanted, installer) for host in wanted.hosts]
        folder = opened(wanted.dest, check)
        differences: list[dict[str, str]] = []
        entries = {one.host.name: _carry_out(one, wanted, folder, check, differences) for one in made}
        return _result(entries, wanted, differences, check)

    return work


def _installer(wanted: Wanted, given: Callable[[str, int], bytes]) -> files.BootFile | None:
    if wanted.installer is None:
        return None
    # A stick knows no capital letters.
    ours = {f"{wanted.dest.rstrip('/')}/{path}".lower() for host in wanted.hosts for kind in paths(host, wanted).values() for path in kind}
    if wanted.installer.lower() in ours:
        raise BadInput(
            f"installer_boot_cfg {wanted.installer} is one of the files that are written, so that the installer's own would be lost",
            hint="Copy it to another place, and name that, or choose another dest.",
        )
    try:
        content = given(wanted.installer, LONGEST_BOOT_CFG)
    except BadInput as problem:
        raise BadInput(f"installer_boot_cfg {problem.cause}", hint=problem.hint) from None
    try:
        return files.read_boot(content.decode("ascii"))
    except UnicodeDecodeError:
        why = "it is no ASCII text"
    except files.Spoilt as spoilt:
        why = str(spoilt)
    raise BadInput(
        f"installer_boot_cfg {wanted.installer} is no boot.cfg of an installer: {why}",
        hint="Name the boot.cfg of the installer's own files, as it came with them.",
    )


def _carry_out(made: Made, wanted: Wanted, folder: Folder, check: bool, differences: list[dict[str, str]]) -> Entry:
    """One host's files; what fails there keeps no other host from having its own."""
    states: list[tuple[str, str]] = []
    network = made.host.network
    common: dict[str, Any] = {"findings": made.findings, "kernelopt": made.kernelopt}
    common["reached_at"] = made.host.fqdn or (network.address if network else None)
    failure = None
    try:
        for path, text in made.files.items():
            states.append((path, _one(path, text, wanted, folder, check, differences)))
    except FleetcareError as problem:
        failure = problem.at(target=made.host.name)
    changed = any(state not in ("unchanged", "absent") for _path, state in states)
    status = "failed" if failure else ("would_change" if check else "changed") if changed else "compliant"
    return Entry(status=status, files=tuple(states), failure=failure, changed=changed, **common)


def _one(path: str, text: str | None, wanted: Wanted, folder: Folder, check: bool, differences: list[dict[str, str]]) -> str:
    before = folder.look(path)
    if text is None:
        if before is None:
            return "absent"
        if not check:
            folder.remove(path)
            if folder.look(path) is not None:
                raise NotConverged(f"{path} was removed and is still there", hint="See who else writes there.")
        differences.append(_difference(wanted, path, before, None))
        return "removed"
    after = (text.encode("ascii"), wanted.mode)
    if before == after:
        return "unchanged"
    if not check:
        folder.write(path, *after)
        _read_back(path, folder, after, wanted)
    differences.append(_difference(wanted, path, before, after))
    return "created" if before is None else "changed"


def _read_back(path: str, folder: Folder, written: tuple[bytes, int], wanted: Wanted) -> None:
    """What is there now is judged as if somebody else had written it."""
    there = folder.look(path)
    wrong = [] if there == written else ["it is not as it was written"]
    if there is not None and (path.startswith("ks/") or path.endswith("/KS.CFG")):
        wrong += files.problems(there[0].decode("ascii", "replace"), wanted.release)
    if wrong:
        raise NotConverged(
            f"{path} was written, and read again {listed(wrong, 3)}", hint="See who else writes there, and run the task again."
        )


def _difference(wanted: Wanted, path: str, before: tuple[bytes, int] | None, after: tuple[bytes, int] | None) -> dict[str, str]:
    return {
        "before_header": f"{wanted.dest.rstrip('/')}/{path} (before)",
        "after_header": f"{wanted.dest.rstrip('/')}/{path} (after)",
        "before": _told(before, after),
        "after": _told(after, before),
    }


def _told(state: tuple[bytes, int] | None, other: tuple[bytes, int] | None) -> str:
    """Without its secrets; where nothing but those differ, that is said."""
    if state is None:
        return ""
    shown = f"mode {state[1]:04o}\n" + files.masked(state[0].decode("ascii", "replace"))
    if other and state[1] == other[1] and shown == f"mode {other[1]:04o}\n" + files.masked(other[0].decode("ascii", "replace")):
        # The digests of before and after would say which of two known passwords it is.
        shown += f"# {'one' if state < other else 'another'} secret\n"
    return shown


def _result(entries: Mapping[str, Entry], wanted: Wanted, differences: list[dict[str, str]], check: bool) -> dict[str, Any]:
    message = _message(entries, wanted)
    bad = any(entry.failure for entry in entries.values())
    return {
        "changed": any(entry.changed for entry in entries.values()),
        "failed": bad and not check,
        "msg": message,
        "dest": wanted.dest,
        "summary": dict(sorted(Counter(entry.status for entry in entries.values()).items())),
        "hosts": {name: entry.describe() for name, entry in entries.items()},
        "hints": {finding.code: finding.hint for entry in entries.values() for finding in entry.findings},
        "diff": differences,
        # The key as it is written, which need not be as it was given.
        "secrets": {str.__str__(host.key.text) for host in wanted.hosts if host.key},
        # As with every module, a check run fails for nothing that it found.
        **({"warnings": [message]} if bad and check else {}),
    }


def _message(entries: Mapping[str, Entry], wanted: Wanted) -> str:
    counts = Counter(entry.status for entry in entries.values())
    states = Counter(state for entry in entries.values() for _path, state in entry.files)
    text = f"{len(entries)} host{'s' if len(entries) != 1 else ''}: "
    text += ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.most_common())
    text += f". Files below {wanted.dest}: " + (", ".join(f"{count} {state}" for state, count in states.most_common()) or "none")
    codes = Counter(finding.code for entry in entries.values() for finding in entry.findings if finding.level == "warning")
    text += f". To look at: {', '.join(f'{count} {code}' for code, count in codes.most_common())}" if codes else ""
    for name, entry in [(name, entry) for name, entry in entries.items() if entry.failure][:10]:
        text += f". {name}: {entry.failure.cause.rstrip('.')}. {entry.failure.hint}".rstrip(". ") if entry.failure else ""
    return text + "."

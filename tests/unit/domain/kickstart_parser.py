# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second opinion on installation files: a reader written from the manuals' own words, which shares nothing with the collection.

Read from: Broadcom, ESX 9.1, Installation and Upgrade Script Commands; docs.vmware.com 8.0 GUID-51BD0186 (default script), 8.0
GUID-341A83E4 (boot.cfg), 5.5 GUID-61A14EBB. ``python tests/unit/domain/kickstart_parser.py RELEASE FILE...`` judges files.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import socket
import sys


class Refused(Exception):
    """Why an installer would not take it."""


@dataclasses.dataclass
class Script:
    """What an installer would do."""

    how: str = ""
    disk: str = ""
    commands: dict[str, dict[str, str | None]] = dataclasses.field(default_factory=dict)
    words: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    sections: list[tuple[str, dict[str, str | None], list[str]]] = dataclasses.field(default_factory=list)

    def shell(self, head: str = "%firstboot") -> list[list[str]]:
        """The words that busybox makes of each line."""
        return [shlex.split(row) for name, _options, body in self.sections if name == head for row in body if row.strip()]


# "!" needs a value, "?" may have one, "" has none.
OPTIONS = {
    "accepteula": {},
    "vmaccepteula": {},
    "clearpart": {"drives": "!", "alldrives": "", "ignoredrives": "!", "overwritevmfs": "", "firstdisk": "?"},
    "dryrun": {},
    "install": {
        "disk": "!",
        "drive": "!",
        "firstdisk": "?",
        "ignoressd": "",
        "overwritevsan": "",
        "overwritevmfs": "",
        "preservevmfs": "",
        "novmfsondisk": "",
        "systemdisk": "!",
        "repartitionsystemdisk": "",
        "forceunsupportedinstall": "",
        "dpupcislots": "!",
    },
    "installorupgrade": {"disk": "!", "drive": "!", "firstdisk": "?", "overwritevsan": "", "overwritevmfs": ""},
    "upgrade": {"disk": "!", "drive": "!", "firstdisk": "?"},
    "keyboard": {},
    "network": {
        "bootproto": "!",
        "device": "!",
        "ip": "!",
        "gateway": "!",
        "nameserver": "!",
        "netmask": "!",
        "hostname": "!",
        "vlanid": "!",
        "addvmportgroup": "!",
    },
    "paranoid": {},
    "reboot": {"noeject": ""},
    "rootpw": {"iscrypted": ""},
    "serialnum": {"esx": "!"},
    "vmserialnum": {"esx": "!"},
    "%pre": {"interpreter": "!"},
    "%post": {"interpreter": "!", "timeout": "!", "ignorefailure": "!"},
    "%firstboot": {"interpreter": "!"},
}
LAYOUTS = """Belgian,Brazilian,Croatian,Czechoslovakian,Danish,Estonian,Finnish,French,German,Greek,Icelandic,Italian,Japanese,
Latin American,Norwegian,Polish,Portuguese,Russian,Slovenian,Spanish,Swedish,Swiss French,Swiss German,Turkish,Ukrainian,
United Kingdom,US Default,US Dvorak""".replace("\n", "").split(",")
PREFIXES = ("naa.", "eui.", "t10.", "vml.", "mpx.")
TALKING = {"0", "1"}


def parse(text: str, release: str) -> Script:
    """Raises Refused."""
    script = Script()
    for letter in text:
        if letter not in "\n\t" and not " " <= letter <= "~":
            raise Refused(f"character {ord(letter)}")
    section: list[str] | None = None
    for row in text.splitlines():
        if row[:1] == "%":
            name, options, words = _words(row, release)
            if words or name not in ("%pre", "%post", "%firstboot"):
                raise Refused(f"section {row}")
            section = []
            script.sections.append((name, options, section))
        elif section is not None:
            section.append(row)
        elif row.strip() and row.strip()[0] != "#":
            name, options, words = _words(row, release)
            if name in script.commands:
                raise Refused(f"{name} twice")
            script.commands[name], script.words[name] = options, words
    _whole(script)
    return script


def _words(row: str, release: str) -> tuple[str, dict[str, str | None], list[str]]:
    try:
        name, *rest = shlex.split(row, posix=True)
    except ValueError as problem:
        raise Refused(f"quotes: {problem}") from None
    if name not in OPTIONS:
        raise Refused(f"unknown command {name}")
    if "\\" in row and name[0] != "%":
        raise Refused("a backslash")
    found: dict[str, str | None] = {}
    words = []
    for word in rest:
        if word[:2] != "--":
            words.append(word)
            continue
        option, equals, value = word[2:].partition("=")
        # One manual spells --systemDisk in two ways.
        option = option.lower() if option.lower().endswith("systemdisk") else option
        kind = OPTIONS[name].get(option)
        if kind is None:
            raise Refused(f"{name} has no --{option}")
        if option in found or (kind == "!" and not value) or (kind == "" and equals) or (equals and not value):
            raise Refused(f"{name} --{option}: value {value!r}, or twice")
        found[option] = value if equals else None
    # "With ESX 8.0 and later, if the system has supported DPUs"; "Starting with ESX 9.0, ESX is no longer licensed manually".
    if "dpupcislots" in found and release.startswith(("6.", "7.")):
        raise Refused("no DPUs before 8.0")
    if name.endswith("serialnum") and release.startswith("9."):
        raise Refused("no licence key from 9.0 on")
    return name, found, words


def _whole(script: Script) -> None:
    commands = script.commands
    how = [name for name in ("install", "upgrade", "installorupgrade") if name in commands]
    if len(how) != 1:
        raise Refused(f"one of install, upgrade, installorupgrade: {how}")
    if ("accepteula" in commands) == ("vmaccepteula" in commands):
        raise Refused("the licence agreement")
    script.how = how[0]
    one_word = {"keyboard": 1, "rootpw": 1}
    for name, words in script.words.items():
        if len(words) != one_word.get(name, 0):
            raise Refused(f"{name} with {len(words)} words")
    _disk(script, commands[script.how])
    if "clearpart" in commands:
        chosen = {"drives", "alldrives", "ignoredrives", "firstdisk"} & set(commands["clearpart"])
        if script.how != "install" or len(chosen) != 1:
            raise Refused("clearpart")
        for option in ("drives", "ignoredrives"):
            for disk in (commands["clearpart"].get(option) or "naa.x").split(","):
                _device(disk)
    if "keyboard" in commands and script.words["keyboard"][0] not in LAYOUTS:
        raise Refused("keyboard")
    if "rootpw" in commands:
        parts = script.words["rootpw"][0].split("$")
        letters = set("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        salted = parts[3:] if parts[2:3] and parts[2].startswith("rounds=") else parts[2:]
        if "iscrypted" not in commands["rootpw"] or parts[:2] != ["", "6"] or len(salted) != 2:
            raise Refused("rootpw in clear, or no SHA-512")
        if not 1 <= len(salted[0]) <= 16 or len(salted[1]) != 86 or not set("".join(salted)) <= letters:
            raise Refused("rootpw is no hash")
    elif script.how != "upgrade":
        raise Refused("no rootpw")
    if "serialnum" in commands:
        groups = (commands["serialnum"].get("esx") or "").split("-")
        if [len(group) for group in groups] != [5] * 5 or not "".join(groups).isalnum():
            raise Refused("serialnum")
    if "network" in commands:
        _network(commands["network"])
    for name, options, body in script.sections:
        if options.get("interpreter") not in (None, "busybox", "python") or options.get("ignorefailure") not in (None, "true", "false"):
            raise Refused(f"{name} {options}")
        if not str(options.get("timeout", 1)).isdigit() or not "".join(body).strip():
            raise Refused(f"{name} is empty, or its timeout no number")
        if options.get("interpreter", "busybox") == "busybox" and name == "%firstboot":
            try:
                script.shell()
            except ValueError as problem:
                raise Refused(f"{name}: {problem}") from None


def _disk(script: Script, options: dict[str, str | None]) -> None:
    named = options.get("disk") or options.get("drive")
    if bool(named) == ("firstdisk" in options):
        raise Refused("one of --disk and --firstdisk")
    if named:
        _device(named)
    if options.get("systemdisk"):
        _device(str(options["systemdisk"]))
    for one, other in (("overwritevmfs", "preservevmfs"), ("novmfsondisk", "preservevmfs"), ("disk", "ignoressd"), ("drive", "ignoressd")):
        if one in options and other in options:
            raise Refused(f"--{one} and --{other}")
    if "repartitionsystemdisk" in options and "systemdisk" not in options:
        raise Refused("--repartitionsystemdisk")
    if "dpupcislots" in options and not all(slot.isdigit() for slot in str(options["dpupcislots"]).split(",")):
        raise Refused("--dpupcislots")
    script.disk = named or f"first of {options['firstdisk'] or 'any'}"


def _device(disk: str) -> None:
    name = disk.removeprefix("/vmfs/devices/disks/")
    if not name.startswith(PREFIXES) or name.split(".", 1)[1] == "" or "/" in name or " " in name:
        raise Refused(f"disk {disk}")


def _number(address: str) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    except OSError:
        raise Refused(f"address {address}") from None


def _network(options: dict[str, str | None]) -> None:
    static = options.get("bootproto") == "static"
    if not static and options.get("bootproto") != "dhcp":
        raise Refused("--bootproto")
    addressed = {"ip", "gateway", "nameserver", "netmask"} & set(options)
    if static and not {"ip", "netmask", "gateway"} <= addressed or not static and addressed:
        raise Refused(f"--bootproto={options['bootproto']} with {sorted(addressed)}")
    if static:
        ip, gateway, mask = (_number(str(options[name])) for name in ("ip", "gateway", "netmask"))
        if mask | (mask - 1) != 2**32 - 1 or ip & mask != gateway & mask or ip == gateway:
            raise Refused("gateway outside of the network")
        servers = str(options.get("nameserver") or "192.0.2.1").split(",")
        if len(servers) > 2 or not all(map(_number, servers)):
            raise Refused("--nameserver")
    device = str(options.get("device", "vmnic0"))
    if not (device.startswith("vmnic") and device[5:].isdigit()):
        pairs = device.split(":")
        if len(pairs) != 6 or not all(len(pair) == 2 and set(pair) <= set("0123456789abcdef") for pair in pairs):
            raise Refused(f"--device={device}")
    vlan = str(options.get("vlanid", 1))
    if not vlan.isdigit() or not 1 <= int(vlan) <= 4096:
        raise Refused(f"--vlanid={vlan}")
    if str(options.get("addvmportgroup", 1)) not in TALKING:
        raise Refused("--addvmportgroup")
    name = str(options.get("hostname", "x"))
    if not all(part and part.replace("-", "").isalnum() for part in name.split(".")):
        raise Refused(f"--hostname={name}")


def parse_boot(text: str) -> dict[str, str]:
    """A boot.cfg as the boot loader reads it: NAME=VALUE, # begins a comment. Raises Refused."""
    found: dict[str, str] = {}
    for row in text.splitlines():
        if not row.strip() or row.lstrip()[0] == "#":
            continue
        name, equals, value = row.partition("=")
        if not equals or name in found or not name.isalnum() or any(not " " <= letter <= "~" for letter in value):
            raise Refused(f"boot.cfg: {row}")
        found[name] = value
    if not {"title", "kernel", "kernelopt", "modules"} <= set(found) or not all(part.strip() for part in found["modules"].split("---")):
        raise Refused(f"boot.cfg lacks something: {sorted(found)}")
    paths = [found["kernel"], *(part.strip() for part in found["modules"].split("---"))]
    if found.get("prefix") and any(path.startswith("/") for path in paths):
        raise Refused("a path with a slash takes no prefix")
    options = found["kernelopt"].split()
    names = [option.partition("=")[0] for option in options]
    if len(set(names)) < len(names) or names.count("ks") != 1 or "cdromBoot" in names:
        raise Refused(f"kernelopt: {options}")
    for option in options:
        name, _equals, value = option.partition("=")
        if name in ("ip", "netmask", "gateway", "nameserver"):
            _number(value)
    where = dict(option.partition("=")[::2] for option in options)["ks"]
    if not where.startswith(("http://", "https://", "ftp://", "nfs://", "usb:/", "cdrom:/", "file://")) and where != "usb":
        raise Refused(f"ks={where}")
    return found


def main(release: str, *names: str) -> int:
    bad = 0
    for name in names:
        text = pathlib.Path(name).read_text(encoding="ascii")
        try:
            print(name, parse_boot(text)["kernelopt"] if name.lower().endswith("boot.cfg") else parse(text, release).disk)
        except Refused as why:
            bad += 1
            print(f"{name}: {why}")
    return int(bad > 0 or not names)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation scripts and boot loader files as text: written, read back, judged. Pure. Private to this collection."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import kickstart_grammar as grammar

# crypt(3), SHA-512: up to 16 characters of salt, 86 of digest.
HASH = re.compile(r"\$6\$(?:rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}")
VMNIC = re.compile(r"vmnic[0-9]{1,3}")
MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
KEY = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){4}")
# Table "Disk Device Names" of the manuals, and the path that the commands take as well.
DISK = re.compile(r"(?:/vmfs/devices/disks/)?(?:naa|eui|t10|vml|mpx)\.[0-9A-Za-z_.:\-]{1,200}")
MASK = "********"

_TOKEN = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_SHOWN = re.compile(r"[\t\n\x20-\x7e]*")


# ---- a script --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Line:
    """A command, or the head of a section. ``text``: what stands below that head."""

    number: int
    name: str
    options: tuple[tuple[str, str | None], ...] = ()
    arguments: tuple[str, ...] = ()
    text: str = ""

    def value(self, option: str) -> str | None:
        return dict(self.options).get(option)

    def has(self, option: str) -> bool:
        return any(name == option for name, _value in self.options)


class Spoilt(Exception):
    """A line that cannot be read."""


def quoted(value: str) -> str:
    """A value of a command, in quotes where it has spaces."""
    return f'"{value}"' if " " in value else value


def shell(value: str) -> str:
    """One word for busybox, whatever it holds: in single quotes nothing has a meaning but the quote itself."""
    return "'" + value.replace("'", "'\\''") + "'"


def line(name: str, options: Iterable[tuple[str, str | None]] = (), *arguments: str) -> str:
    words = [name, *(option if value is None else f"{option}={quoted(value)}" for option, value in options), *map(quoted, arguments)]
    return " ".join(words) + "\n"


def section(head: str, options: Iterable[tuple[str, str | None]], text: str) -> str:
    return "\n" + line(head, options) + text.rstrip("\n") + "\n"


def read(text: str) -> tuple[Line, ...]:
    """The commands and sections of a script. Raises Spoilt."""
    if not _SHOWN.fullmatch(text):
        raise Spoilt("it holds a character that is neither printable ASCII nor a line break")
    found: list[Line] = []
    body: list[str] = []
    for number, row in enumerate(text.split("\n"), 1):
        inside = bool(found) and found[-1].name in grammar.SECTIONS
        if inside and not row.startswith("%"):
            body.append(row)
            continue
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        if inside:
            found[-1] = _with(found[-1], body)
        body = []
        found.append(_line(number, row))
    if found and found[-1].name in grammar.SECTIONS:
        found[-1] = _with(found[-1], body)
    return tuple(found)


def _with(head: Line, body: Sequence[str]) -> Line:
    return Line(number=head.number, name=head.name, options=head.options, arguments=head.arguments, text="\n".join(body).strip("\n"))


def _line(number: int, row: str) -> Line:
    if _TOKEN.sub("", row).strip():
        raise Spoilt(f"line {number}: a quote is never closed")
    name, *rest = [_plain(word) for word in _TOKEN.findall(row)]
    options, arguments = [], []
    for word in rest:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            options.append((option, value if equals else None))
        else:
            arguments.append(word)
    return Line(number=number, name=name, options=tuple(options), arguments=tuple(arguments))


def _plain(word: str) -> str:
    return re.sub(r""""([^"]*)"|'([^']*)'""", lambda part: part[1] if part[1] is not None else part[2], word)


def problems(text: str, release: str) -> list[str]:
    """What is wrong with a script for a release; empty where nothing is. No sentence holds a secret."""
    try:
        lines = read(text)
    except Spoilt as spoilt:
        return [str(spoilt)]
    return [*_each(lines, release), *_together(lines), *_network(lines)]


def _each(lines: Iterable[Line], release: str) -> Iterator[str]:
    for one in lines:
        where = f"line {one.number}: {one.name if one.name in grammar.COMMANDS or one.name in grammar.GONE else 'this'}"
        known = grammar.COMMANDS.get(one.name)
        if known is None:
            yield f"{where} {'went with ESX 4.x' if one.name in grammar.GONE else 'is no command'}"
            continue
        yield from (f"{where} {why}" for why in _unknown_to(one, release))
        for option, count in Counter(name for name, _value in one.options).items():
            kind = known.options.get(option)
            if kind is None:
                yield f"{where} has no option {option}"
                continue
            if count > 1:
                yield f"{where} has {option} twice"
            bare = one.value(option) in (None, "")
            if kind == grammar.VALUE and bare or kind == grammar.FLAG and one.value(option) is not None:
                yield f"{where}: {option} {'needs a value' if bare else 'takes no value'}"
        yield from (
            f"{where}: {one_of} and {other} exclude each other" for one_of, other in known.apart if one.has(one_of) and one.has(other)
        )
        if len(one.arguments) != bool(known.argument):
            yield f"{where} {'needs one ' + known.argument if known.argument else 'takes nothing but options'}"
        yield from (f"{where} {why}" for why in _values(one))


def _unknown_to(one: Line, release: str) -> Iterator[str]:
    for what in (one.name, *(f"{one.name} {option}" for option, _value in one.options)):
        row = grammar.ROWS.get(what)
        if row is not None and row.knows(release) == "unknown":
            yield f"{'' if what == one.name else what.partition(' ')[2] + ' '}is not known to {release}"


def _values(one: Line) -> Iterator[str]:
    if one.name == "keyboard" and one.arguments and one.arguments[0] not in grammar.KEYBOARDS:
        yield "has a layout that the installer does not have"
    if one.name == "rootpw" and not (one.has("--iscrypted") and one.arguments and HASH.fullmatch(one.arguments[0])):
        yield "needs --iscrypted and a SHA-512 hash"
    if one.name == "serialnum" and not KEY.fullmatch(one.value("--esx") or ""):
        yield "needs --esx with a licence key"
    if one.name in grammar.HOW and not (one.has("--disk") or one.has("--firstdisk")):
        yield "names no disk"
    if one.has("--disk") and not DISK.fullmatch(one.value("--disk") or ""):
        yield "names a disk that is no device name"
    if one.name == "install" and one.has("--repartitionSystemDisk") and not one.has("--systemDisk"):
        yield "has --repartitionSystemDisk without --systemDisk"
    if one.name == "clearpart" and not any(map(one.has, ("--drives", "--alldrives", "--ignoredrives", "--firstdisk"))):
        yield "names no drives"
    if one.name in grammar.SECTIONS:
        if (one.value("--interpreter") or "busybox") not in grammar.INTERPRETERS:
            yield "has another interpreter than python and busybox"
        if not (one.value("--timeout") or "1").isdigit() or (one.value("--ignorefailure") or "true") not in ("true", "false"):
            yield "has --timeout or --ignorefailure with a value that they do not take"
        if not one.text.strip():
            yield "is empty"


def _together(lines: Sequence[Line]) -> Iterator[str]:
    names = Counter(one.name for one in lines)
    how = [name for name in grammar.HOW for _each_time in range(names[name])]
    if len(how) != 1:
        yield f"one of install, upgrade and installorupgrade is needed, and there {'is none' if not how else 'are ' + str(len(how))}"
    if names["accepteula"] + names["vmaccepteula"] != 1:
        yield "the licence agreement is not accepted, or twice"
    yield from (f"{name} stands there {count} times" for name, count in names.items() if count > 1 and name not in grammar.SECTIONS)
    if how[:1] != ["upgrade"] and not names["rootpw"]:
        yield "rootpw is missing"
    if names["clearpart"] and not names["install"]:
        yield "clearpart is for install only"


def _network(lines: Iterable[Line]) -> Iterator[str]:
    for one in (one for one in lines if one.name == "network"):
        static = one.value("--bootproto") == "static"
        fixed = [name for name in ("--ip", "--netmask", "--gateway", "--nameserver") if one.has(name)]
        if one.value("--bootproto") not in ("static", "dhcp"):
            yield "network: --bootproto is neither static nor dhcp"
        if static and "--ip" not in fixed or fixed and not static:
            yield "network: an address belongs to --bootproto=static"
        device = one.value("--device")
        if device is not None and not (VMNIC.fullmatch(device) or MAC.fullmatch(device)):
            yield "network: --device is neither vmnicN nor a MAC address"
        vlan = one.value("--vlanid")
        if vlan is not None and not (vlan.isdigit() and 1 <= int(vlan) <= 4095):
            yield "network: --vlanid is out of range"
        if (one.value("--addvmportgroup") or "0") not in ("0", "1"):
            yield "network: --addvmportgroup is neither 0 nor 1"
        for name in fixed:
            texts = (one.value(name) or "").split(",")
            if not all(map(_is_address, texts)) or len(texts) > (2 if name == "--nameserver" else 1):
                yield f"network: {name} is no address"


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def masked(text: str) -> str:
    """A script as it may be shown: without the password's hash and the licence key."""
    text = re.sub(r"(?m)^(\s*rootpw\b).*$", rf"\1 {MASK}", text)
    return re.sub(r"(?m)^(\s*(?:vm)?serialnum\b).*$", rf"\1 {MASK}", text)


# ---- boot.cfg --------------------------------------------------------------------------------------------------------------

# About the boot.cfg File: "Any other line must remain unchanged."
_OURS = ("title", "prefix", "kernelopt")


@dataclass(frozen=True, kw_only=True)
class BootFile:
    """The lines of a boot.cfg, in their order: (name, value), the name empty for what is none (comments, empty lines)."""

    lines: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str | None:
        return dict(self.lines).get(name)

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(module.strip() for module in (self.value("modules") or "").split("---"))

    @property
    def text(self) -> str:
        return "".join((f"{name}={value}" if name else value) + "\n" for name, value in self.lines)


def read_boot(text: str) -> BootFile:
    """Raises Spoilt."""
    if not _SHOWN.fullmatch(text.replace("\r\n", "\n")):
        raise Spoilt("it holds a character that is neither printable ASCII nor a line break")
    rows: list[tuple[str, str]] = []
    for number, row in enumerate(text.replace("\r\n", "\n").rstrip("\n").split("\n"), 1):
        name, equals, value = row.partition("=")
        if not row.strip() or row.lstrip().startswith("#"):
            rows.append(("", row))
        elif not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name.strip()):
            raise Spoilt(f"line {number} is no NAME=VALUE")
        else:
            rows.append((name.strip(), value.strip()))
    twice = [name for name, count in Counter(name for name, _value in rows if name).items() if count > 1]
    if twice:
        raise Spoilt(f"{twice[0]} stands there twice")
    found = BootFile(lines=tuple(rows))
    if not found.value("kernel"):
        raise Spoilt("it names no kernel")
    if not all(found.modules):
        raise Spoilt("it names no modules, or an empty one")
    return found


def for_host(boot: BootFile, *, title: str, prefix: str | None, options: Sequence[str]) -> tuple[BootFile, tuple[str, ...]]:
    """An installer's boot.cfg for one host, and which boot options it had that give way. ``prefix`` None: the files stay where
    they are (a stick); else their names lose the leading slash, which would keep the prefix from being put before them."""
    ours = {option.partition("=")[0] for option in options}
    had = (boot.value("kernelopt") or "").split()
    # "If the kernelopt line contains the string cdromBoot, remove that string only": there is no CD to look for.
    kept = [word for word in had if word != "cdromBoot" and word.partition("=")[0] not in ours]
    gone = tuple(word.partition("=")[0] for word in had if word.partition("=")[0] in ours)
    new = {"title": title, "kernelopt": " ".join([*kept, *options])}
    if prefix is not None:
        new["prefix"] = prefix
    rows: list[tuple[str, str]] = []
    for name, value in boot.lines:
        if name == "kernel" and "prefix" in new and boot.value("prefix") is None:
            rows.append(("prefix", new["prefix"]))
        if name in new:
            value = new[name]
        elif name == "kernel" and prefix is not None:
            value = value.lstrip("/")
        elif name == "modules" and prefix is not None:
            value = " --- ".join(module.lstrip("/") for module in boot.modules)
        rows.append((name, value))
        if name == "kernel" and boot.value("kernelopt") is None:
            rows.append(("kernelopt", new["kernelopt"]))
    if boot.value("title") is None:
        rows.insert(0, ("title", title))
    return BootFile(lines=tuple(rows)), gone


def boot_problems(text: str, source: BootFile, expected: Mapping[str, str]) -> list[str]:
    """What is wrong with a boot.cfg that was made of another one: it must differ in title, prefix and kernelopt only."""
    try:
        found = read_boot(text)
    except Spoilt as spoilt:
        return [str(spoilt)]
    wrong = [f"{name} is not as written" for name, value in expected.items() if found.value(name) != value]
    if [module.lstrip("/") for module in found.modules] != [module.lstrip("/") for module in source.modules]:
        wrong.append("modules are not those of the installer")
    others = [(name, value) for name, value in source.lines if name not in (*_OURS, "kernel", "modules")]
    if others != [(name, value) for name, value in found.lines if name not in (*_OURS, "kernel", "modules")]:
        wrong.append("a line that must remain unchanged is changed")
    return wrong

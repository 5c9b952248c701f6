# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives that a VIB and its bundle are made of: ar, tar, gzip, zip. Pure. Private to this collection.

Written byte by byte: what the standard library writes changes with its version and with the zlib below it (zlib-ng gives
other bytes), and a package is to be the same on each control node. So all is stored and nothing compressed, which is a valid
form of deflate (RFC 1951, 3.2.4); the files are a few kilobytes.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

AR_MAGIC = b"!<arch>\n"
_AR_END = b"`\n"
_BLOCK = 512
# What a package may unpack to. Anything bigger is no firewall package, and may be meant to fill the memory.
MOST = 16 * 1024 * 1024


class Broken(Exception):
    """An archive that cannot be read; the text is the defect."""


@dataclass(frozen=True)
class Member:
    name: str
    content: bytes


# ---- ar: the common form, a name padded with blanks and no slash (castvoid/xserve-frontpanel, build-vib.sh) --------------


def ar(members: Iterable[Member]) -> bytes:
    parts = [AR_MAGIC]
    for member in members:
        if len(member.name) > 16:
            raise ValueError(f"{member.name} does not fit an ar header")
        header = f"{member.name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(member.content):<10}".encode("ascii")
        parts += [header, _AR_END, member.content, b"\n" * (len(member.content) % 2)]
    return b"".join(parts)


def ar_members(data: bytes) -> list[Member]:
    """Also with GNU's slash after each name, as ``ar r`` of Debian writes it (w2c/letsencrypt-esxi)."""
    if not data.startswith(AR_MAGIC):
        raise Broken("it is no ar archive: it does not begin with !<arch>")
    found = []
    place = len(AR_MAGIC)
    while place < len(data):
        header = data[place : place + 60]
        if len(header) < 60 or header[58:] != _AR_END:
            raise Broken(f"the ar archive is damaged: no member begins at byte {place}")
        name = header[:16].decode("ascii", "replace").rstrip().rstrip("/")
        size = header[48:58].decode("ascii", "replace").strip()
        if not size.isdigit():
            raise Broken(f"the ar archive is damaged: {name} has the size {size!r}")
        content = data[place + 60 : place + 60 + int(size)]
        if len(content) < int(size):
            raise Broken(f"the ar archive is cut off: {name} has {len(content)} of {int(size)} bytes")
        found.append(Member(name, content))
        place += 60 + int(size) + int(size) % 2
    return found


# ---- gzip ---------------------------------------------------------------------------------------------------------------


def gzipped(content: bytes) -> bytes:
    """RFC 1952: no time, no name, the system 255 (unknown); the content in stored blocks."""
    parts = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    pieces = [content[place : place + 0xFFFF] for place in range(0, len(content), 0xFFFF)] or [b""]
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        parts += [bytes([last]), len(piece).to_bytes(2, "little"), (len(piece) ^ 0xFFFF).to_bytes(2, "little"), piece]
    return b"".join([*parts, binascii.crc32(content).to_bytes(4, "little"), (len(content) & 0xFFFFFFFF).to_bytes(4, "little")])


def gunzipped(data: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(data, MOST)
    except zlib.error as problem:
        raise Broken(f"it is no gzip file: {problem}") from None
    if reader.unconsumed_tail:
        raise Broken(f"it unpacks to more than {MOST // 1024 // 1024} MB")
    if not reader.eof:
        raise Broken("the gzip file is cut off")
    return content


# ---- tar: ustar (POSIX.1-1988) --------------------------------------------------------------------------------------------


def tar(files: Mapping[str, bytes]) -> bytes:
    """Files that anybody may read and nobody write, below their folders; all owned by root and of the year 1970. Two
    blocks of zeros end it."""
    parts: list[bytes] = []
    folders: dict[str, None] = {}
    for path, content in sorted(files.items()):
        steps = path.split("/")
        for depth in range(1, len(steps)):
            folder = "/".join(steps[:depth]) + "/"
            if folder not in folders:
                folders[folder] = None
                parts.append(_tar_header(folder, 0, 0o755, b"5"))
        parts += [_tar_header(path, len(content), 0o444, b"0"), content, bytes(-len(content) % _BLOCK)]
    return b"".join([*parts, bytes(2 * _BLOCK)])


def _tar_header(path: str, size: int, mode: int, kind: bytes) -> bytes:
    name = path.encode("ascii")
    if len(name) > 100:
        raise ValueError(f"{path} does not fit a tar header")
    header = b"".join(
        (
            name.ljust(100, b"\0"),
            f"{mode:07o}\0{0:07o}\0{0:07o}\0{size:011o}\0{0:011o}\0".encode("ascii"),
            b" " * 8,
            kind + bytes(100) + b"ustar\x0000",
            b"root".ljust(32, b"\0") * 2,
            f"{0:07o}\0{0:07o}\0".encode("ascii"),
        )
    ).ljust(_BLOCK, b"\0")
    return header[:148] + f"{sum(header):06o}\0 ".encode("ascii") + header[156:]


def tar_files(data: bytes) -> dict[str, bytes]:
    """Its plain files by path."""
    found: dict[str, bytes] = {}
    place = 0
    while place + _BLOCK <= len(data):
        header = data[place : place + _BLOCK]
        if not any(header):
            return found
        if _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32:
            raise Broken(f"the tar archive is damaged: the header at byte {place} has a wrong sum")
        size = _octal(header[124:136])
        path = "/".join(part for part in (_text(header[345:500]), _text(header[:100])) if part)
        if place + _BLOCK + size > len(data):
            raise Broken(f"the tar archive is cut off in {path}")
        if header[156:157] in (b"0", b"\0"):
            found[path] = data[place + _BLOCK : place + _BLOCK + size]
        place += _BLOCK + size + (-size % _BLOCK)
    raise Broken("the tar archive is cut off: its end is missing")


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    if not text or any(digit not in b"01234567" for digit in text):
        raise Broken(f"the tar archive is damaged: {field!r} is no number")
    return int(text, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


# ---- zip ------------------------------------------------------------------------------------------------------------------

# 1980-01-01 00:00:00, where the times of a zip file begin.
_TIME = (0).to_bytes(2, "little") + ((1 << 5) | 1).to_bytes(2, "little")


def zipped(files: Iterable[Member]) -> bytes:
    """APPNOTE 6.3: version 1.0, no compression, the earliest time there is."""
    local: list[bytes] = []
    central: list[bytes] = []
    place = 0
    for member in files:
        name = member.name.encode("ascii")
        length = len(member.content).to_bytes(4, "little")
        facts = b"".join(
            (
                (10).to_bytes(2, "little") + bytes(4) + _TIME + binascii.crc32(member.content).to_bytes(4, "little"),
                length + length + len(name).to_bytes(2, "little") + bytes(2),
            )
        )
        entry = b"PK\x03\x04" + facts + name + member.content
        # Made by: version 1.0 on Unix, a plain file of mode 644.
        outside = (0o100644 << 16).to_bytes(4, "little")
        central.append(b"PK\x01\x02\x0a\x03" + facts + bytes(2 + 2 + 2) + outside + place.to_bytes(4, "little") + name)
        local.append(entry)
        place += len(entry)
    index = b"".join(central)
    count = len(local).to_bytes(2, "little")
    end = b"PK\x05\x06" + bytes(4) + count + count + len(index).to_bytes(4, "little") + place.to_bytes(4, "little") + bytes(2)
    return b"".join([*local, index, end])

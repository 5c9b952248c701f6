# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader of VIB files and offline bundles, written from the format in facts.md 5.2: an `ar` archive of descriptor.xml, sig.pkcs7 and payloads.

Kinds of errors (VibFormatError, VibValidationError, ...) are those that real hosts name; where no source quotes a text, the words are ours.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from xml.etree import ElementTree

from .profile import Rule, Ruleset
from .software import DESCRIPTOR_LEVELS, ImageError, Package, level_named, ruleset, today

MAGIC = b"!<arch>\n"
_HEADER = 60
_MEMBER_END = b"`\n"
FIREWALL = re.compile(r"etc/vmware/firewall/[^/]+\.xml\Z")
_DIGESTS = {"sha-256": "sha256", "sha-1": "sha1", "sha-512": "sha512", "md5": "md5"}
_TYPES = ("bootbank", "locker", "meta")


@dataclass(frozen=True)
class Opened:
    """What is in a VIB: the package, and what only its file tells."""

    package: Package
    gunzip_sha256: bool  # every payload has a sha-256 checksum of its unpacked content, which 8.0 demands


def format_error(name: str, text: str) -> ImageError:
    return ImageError("VibFormatError", f"('{name}', '{text}')")


def members(content: bytes, name: str) -> list[tuple[str, bytes]]:
    """The members of an ar archive, in order."""
    if not content.startswith(MAGIC):
        raise format_error(name, "not a VIB: the ar magic is missing")
    found, at = [], len(MAGIC)
    while at < len(content):
        head = content[at : at + _HEADER]
        if len(head) < _HEADER or head[58:] != _MEMBER_END:
            raise format_error(name, f"invalid ar member header at offset {at}")
        label = head[:16].decode("ascii", "replace").rstrip(" ").removesuffix("/")
        try:
            size = int(head[48:58].decode("ascii").strip())
        except ValueError:
            raise format_error(name, f"invalid size of ar member '{label}'") from None
        at += _HEADER
        data = content[at : at + size]
        if len(data) != size:
            raise format_error(name, f"ar member '{label}' ends early")
        found.append((label, data))
        at += size + size % 2
    return found


def read(content: bytes, name: str) -> Opened:
    """A package from the bytes of a .vib file; `name` is what errors call it."""
    rows = members(content, name)
    labels = [label for label, _data in rows]
    if labels[:2] != ["descriptor.xml", "sig.pkcs7"]:
        raise format_error(name, f"a VIB begins with descriptor.xml and sig.pkcs7, this one with {', '.join(labels[:2]) or 'nothing'}")
    try:
        root = ElementTree.fromstring(rows[0][1])
    except ElementTree.ParseError as exc:
        raise ImageError("VibFormatError", f"('{name}', 'Error parsing descriptor.xml: {exc}')") from None
    if root.tag != "vib":
        raise _invalid(name, f"Element {root.tag} failed to validate content")
    return _package(root, dict(rows[2:]), labels[2:], bool(rows[1][1]), name)


def _invalid(vib: str, text: str) -> ImageError:
    """The words of a descriptor that does not follow its schema (lamw/ghettoVCB#64)."""
    return ImageError("VibValidationError", f"VIB {vib} violates extensibility rule checks: ['(line 1: col 0) {text}']")


def _text(root: ElementTree.Element, path: str, vib: str) -> str:
    found = root.findtext(path)
    if not found or not found.strip():
        raise _invalid(vib, f"Element {path.rpartition('/')[2]} failed to validate content")
    return found.strip()


def _flag(root: ElementTree.Element, path: str, default: bool) -> bool:
    found = (root.findtext(path) or "").strip().lower()
    return default if not found else found in ("true", "1")


def _relations(root: ElementTree.Element, kind: str) -> tuple[str, ...]:
    """ "name", or "name relation version" with the words of descriptors (<<, <=, =, >=, >>; Image Builder's docs list them)."""
    made = []
    for row in root.findall(f"relationships/{kind}/constraint"):
        parts = [row.get("name", ""), row.get("relation", ""), row.get("version", "")]
        made.append(" ".join(part for part in parts if part))
    return tuple(made)


def _package(root: ElementTree.Element, payloads: dict[str, bytes], order: list[str], signature: bool, path: str) -> Opened:
    kind = (root.findtext("type") or "").strip()
    if kind not in _TYPES:
        raise _invalid(path, "Element type failed to validate content")
    name, version, vendor = (_text(root, part, path) for part in ("name", "version", "vendor"))
    level = level_named(_text(root, "acceptance-level", path), DESCRIPTOR_LEVELS)
    vib = f"{vendor}_{kind}_{name}_{version}"
    if level is None:
        raise _invalid(vib, "Element acceptance-level failed to validate content")
    listed = tuple((row.text or "").strip().lstrip("/") for row in root.findall("file-list/file"))
    contents, gunzip = _payloads(root, payloads, order, vib)
    for file in sorted(contents):
        if file not in listed:
            raise ImageError("VibPayloadError", f"VIB {vib}: the payload holds /{file}, which the descriptor's file-list lacks")
    missing = sorted(file for file in listed if file not in contents)
    if missing:
        raise ImageError("VibPayloadError", f"VIB {vib}: the descriptor's file-list names /{missing[0]}, which no payload holds")
    rulesets = tuple(one for file in sorted(contents) if FIREWALL.match(file) for one in firewall(contents[file]))
    package = Package(
        name,
        version,
        vendor,
        level,
        (root.findtext("summary") or "").strip(),
        (root.findtext("description") or "").strip(),
        kind,
        creation_date=(root.findtext("release-date") or "").strip()[:10] or today(),
        install_date=today(),
        maintenance_required=_flag(root, "system-requires/maintenance-mode", False),
        live_install=_flag(root, "live-install-allowed", False),
        live_remove=_flag(root, "live-remove-allowed", False),
        tags=tuple((row.text or "").strip() for row in root.findall("software-tags/tag")),
        payloads=tuple(order),
        files=listed,
        provides=_relations(root, "provides") or tuple((row.text or "").strip() for row in root.findall("relationships/provides/provide")),
        depends=_relations(root, "depends"),
        conflicts=_relations(root, "conflicts"),
        replaces=_relations(root, "replaces"),
        reference_urls=tuple((row.text or "").strip() for row in root.findall("urls/url")),
        stateless_ready=_flag(root, "stateless-ready", False),
        overlay=_flag(root, "overlay", False),
        signed=signature,
        rulesets=rulesets,
    )
    return Opened(package, gunzip)


def _payloads(root: ElementTree.Element, payloads: dict[str, bytes], order: list[str], vib: str) -> tuple[dict[str, bytes], bool]:
    """All files of all payloads, their checksums verified, and whether each payload has a sha-256 of what it unpacks to."""
    rows = root.findall("payloads/payload")
    declared = [row.get("name", "") for row in rows]
    if declared != order:
        raise ImageError("VibFormatError", f"('{vib}', 'payloads of the descriptor ({', '.join(declared)}) and of the archive differ')")
    files: dict[str, bytes] = {}
    gunzip = True
    for row in rows:
        label, kind = row.get("name", ""), row.get("type", "")
        data = payloads[label]
        if row.get("size") is not None and row.get("size") != str(len(data)):
            raise ImageError(
                "VibPayloadError", f"VIB {vib}: size of payload '{label}' is {len(data)}, not {row.get('size')} as the descriptor says"
            )
        try:
            unpacked = gzip.decompress(data) if kind in ("tgz", "vgz") else data
        except (OSError, EOFError, zlib.error):
            raise ImageError("VibPayloadError", f"VIB {vib}: payload '{label}' is not gzip") from None
        checked = False
        for checksum in row.findall("checksum"):
            algorithm = _DIGESTS.get(checksum.get("checksum-type", ""))
            process = checksum.get("verify-process", "")
            if algorithm is None or process not in ("", "gunzip"):
                raise _invalid(vib, "Element checksum failed to validate content")
            actual = hashlib.new(algorithm, unpacked if process else data).hexdigest()
            if (checksum.text or "").strip().lower() != actual:
                what = f"{checksum.get('checksum-type')}{' gunzip' if process else ''}"
                raise ImageError("VibChecksumError", f"VIB {vib}: {what} checksum of payload '{label}' does not match")
            checked = checked or (algorithm == "sha256" and process == "gunzip")
        gunzip = gunzip and checked
        if kind == "tgz":
            files.update(_tar(unpacked, label, vib))
    return files, gunzip


def _tar(content: bytes, label: str, vib: str) -> dict[str, bytes]:
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for row in archive:
                name = row.name.removeprefix("./").lstrip("/")
                if ".." in name.split("/"):
                    raise ImageError("VibPayloadError", f"VIB {vib}: payload '{label}' holds the path {row.name}")
                held = archive.extractfile(row) if row.isfile() else None
                if held is not None:
                    files[name] = held.read()
    except (tarfile.TarError, EOFError):
        raise ImageError("VibPayloadError", f"VIB {vib}: payload '{label}' is no tar archive") from None
    return files


def firewall(content: bytes) -> list[Ruleset]:
    """The rulesets of one etc/vmware/firewall/NAME.xml. What cannot be read is no ruleset: a host skips such a file, says its log and goes on."""
    with contextlib.suppress(ElementTree.ParseError, ValueError):
        root = ElementTree.fromstring(content)
        if root.tag == "ConfigRoot":
            return [_service(row) for row in root.findall("service")]
    return []


def _service(row: ElementTree.Element) -> Ruleset:
    key = (row.findtext("id") or "").strip()
    if not key:
        raise ValueError("a service without an id")
    rules = []
    for rule in row.findall("rule"):
        port = rule.find("port")
        low, high = (port.text if port is not None else None, None)
        if port is not None and port.find("begin") is not None:
            low, high = port.findtext("begin"), port.findtext("end")
        direction = {"inbound": "inbound", "outbound": "outbound"}[_word(rule, "direction", ("inbound", "outbound"))]
        first, last = int(low or ""), int(high) if high else None
        if not 0 <= first <= (last if last is not None else first) <= 65535:
            raise ValueError("a port that cannot be")
        protocol = _word(rule, "protocol", ("tcp", "udp"))
        rules.append(Rule(direction, protocol, _word(rule, "porttype", ("src", "dst")), first, last if last != first else None))
    if not rules:
        raise ValueError("a service without a rule")
    return ruleset(key, tuple(rules), _flag(row, "enabled", False), _flag(row, "required", False))


def _word(rule: ElementTree.Element, name: str, known: tuple[str, ...]) -> str:
    found = (rule.findtext(name) or "").strip()
    if found not in known:
        raise ValueError(f"{name} is {found}")
    return found


def bundle(content: bytes, path: str) -> list[Opened]:
    """The VIBs of an offline bundle, by way of index.xml, vendor-index.xml and the metadata zip, as esxcli goes."""

    def broken(reason: str) -> ImageError:
        address = f"zip:{path}?index.xml"
        return ImageError(
            "MetadataDownloadError",
            f"Could not download from depot at {address}, skipping (('{address}', '', \"{reason}\"))",
            f"url = {address}",
        )

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            if "index.xml" not in names:
                raise broken(f"Error extracting index.xml from {path}: \\\"There is no item named 'index.xml' in the archive\\\"")
            found: dict[str, Opened] = {}
            for vendor in ElementTree.fromstring(archive.read("index.xml")).iter("vendor"):
                index = (vendor.findtext("indexfile") or "").strip()
                if index not in names:
                    raise broken(f"Error extracting {index} from {path}")
                for row in ElementTree.fromstring(archive.read(index)).iter("metadata"):
                    metadata = (row.findtext("url") or "").strip()
                    if metadata not in names:
                        raise broken(f"Error extracting {metadata} from {path}")
                    with zipfile.ZipFile(io.BytesIO(archive.read(metadata))) as inner:
                        wanted = [
                            ElementTree.fromstring(inner.read(name)) for name in inner.namelist() if re.match(r"vibs/[^/]+\.xml\Z", name)
                        ]
                    for descriptor in wanted:
                        relative = (descriptor.findtext("relative-path") or "").strip()
                        if relative not in names:
                            raise ImageError(
                                "VibDownloadError", f"('{relative}', '{path}', 'not in the offline bundle')", f"url = {relative}"
                            )
                        opened = read(archive.read(relative), relative)
                        found[opened.package.id] = opened
            return list(found.values())
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError) as exc:
        raise broken(f"Error extracting index.xml from {path}: {exc}") from None

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VIBs for the tests of the simulator, put together by hand; the builder of the collection has tests of its own."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

RULE = "<rule id='0000'><direction>{direction}</direction><protocol>{protocol}</protocol><porttype>dst</porttype><port>{port}</port></rule>"


def firewall(key: str, ports: Iterable[str] = ("8080",), enabled: bool = True, direction: str = "inbound", protocol: str = "tcp") -> bytes:
    rules = "".join(RULE.format(direction=direction, protocol=protocol, port=port) for port in ports)
    flag = "true" if enabled else "false"
    return (
        f"<ConfigRoot><service id='0900'><id>{key}</id>{rules}<enabled>{flag}</enabled><required>false</required></service></ConfigRoot>"
    ).encode()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            row = tarfile.TarInfo(name)
            row.size = len(content)
            archive.addfile(row, io.BytesIO(content))
    return buffer.getvalue()


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, content in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return out


def descriptor(**given: Any) -> str:
    """A whole descriptor; `given` replaces parts of it."""
    parts = {
        "type": "bootbank",
        "name": "ports",
        "version": "1.0.0-1",
        "vendor": "Example",
        "level": "community",
        "maintenance": "false",
        "live_install": "true",
        "live_remove": "true",
        "depends": '<constraint name="esx-version" relation="&gt;=" version="6.7.0"/>',
        "conflicts": "",
        "replaces": "",
        **given,
    }
    return """<vib version="5.0"><type>{type}</type><name>{name}</name><version>{version}</version><vendor>{vendor}</vendor>
<summary>Ports</summary><description>Ports of an application</description><release-date>2026-01-02T03:04:05+00:00</release-date>
<urls><url key="KB">https://www.example.com/ports</url></urls>
<relationships><depends>{depends}</depends><conflicts>{conflicts}</conflicts><replaces>{replaces}</replaces><provides/><compatibleWith/></relationships>
<software-tags><tag>firewall</tag></software-tags><system-requires><maintenance-mode>{maintenance}</maintenance-mode></system-requires>
<file-list>{files}</file-list><acceptance-level>{level}</acceptance-level>
<live-install-allowed>{live_install}</live-install-allowed><live-remove-allowed>{live_remove}</live-remove-allowed>
<cimom-restart>false</cimom-restart><stateless-ready>true</stateless-ready><overlay>false</overlay>
<payloads><payload name="payload1" type="tgz" size="{size}">{checksums}</payload></payloads></vib>""".format(**parts)


def parts(
    files: dict[str, bytes] | None = None,
    *,
    spoilt: str = "",
    listed: Iterable[str] | None = None,
    signature: bytes = b"",
    checksums: Iterable[str] = ("sha-256", "sha-256 gunzip", "sha-1 gunzip"),
    size: int | None = None,
    **more: Any,
) -> list[tuple[str, bytes]]:
    """The members of a VIB. `spoilt` names a checksum that is to be wrong."""
    held = {"etc/vmware/firewall/ports.xml": firewall("appPorts")} if files is None else files
    plain = tar(held)
    packed = gzip.compress(plain, mtime=0)
    rows = []
    for kind in checksums:
        name, _space, process = kind.partition(" ")
        digest = hashlib.new(name.replace("-", ""), plain if process else packed).hexdigest()
        digest = digest[::-1] if kind == spoilt else digest
        attribute = ' verify-process="gunzip"' if process else ""
        rows.append(f'<checksum checksum-type="{name}"{attribute}>{digest}</checksum>')
    text = descriptor(
        files="".join(f"<file>{name}</file>" for name in (held if listed is None else listed)),
        size=len(packed) if size is None else size,
        checksums="".join(rows),
        **more,
    )
    return [("descriptor.xml", text.encode()), ("sig.pkcs7", signature), ("payload1", packed)]


def vib(files: dict[str, bytes] | None = None, **more: Any) -> bytes:
    return ar(parts(files, **more))


def bundle(*packages: bytes, **replaced: bytes) -> bytes:
    """An offline bundle of VIBs made by vib(); `replaced` puts other content in the place of a file (index, vendor, metadata)."""
    rows = []
    for number, content in enumerate(packages):
        size = int(content[8 + 48 : 8 + 58].decode().strip())
        text = content[68 : 68 + size].decode()
        path = f"vib20/ports/example-{number}.vib"
        rows.append((path, text.replace("</payloads></vib>", f"</payloads><relative-path>{path}</relative-path></vib>"), content))
    metadata = io.BytesIO()
    with zipfile.ZipFile(metadata, "w") as inner:
        for number, (_path, text, _content) in enumerate(rows):
            inner.writestr(f"vibs/ports-{number}.xml", text)
    index = b"<vendorList><vendor><name>Example</name><code>EXA</code><indexfile>vendor-index.xml</indexfile></vendor></vendorList>"
    vendor = b"<metaList><metadata><productId>embeddedEsx</productId><version>8.0.0</version><url>metadata.zip</url></metadata></metaList>"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("index.xml", replaced.get("index", index))
        archive.writestr("vendor-index.xml", replaced.get("vendor", vendor))
        archive.writestr("metadata.zip", replaced.get("metadata", metadata.getvalue()))
        for path, _text, content in rows:
            archive.writestr(path, content)
    return out.getvalue()

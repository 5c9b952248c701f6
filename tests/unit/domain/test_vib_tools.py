# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package opens with Debian's ar, tar, gzip and unzip, and with an XML parser; our reader opens what Debian's ar packs."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import opened
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_wanted import Wanted
from tests.simulator import vib as simulated
from tests.unit.domain.vib_makers import wish

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ar", "tar", "gzip", "sha256sum"))), reason="binutils, tar and gzip are not here"
)


def _made(seed: int) -> Wanted:
    chance = random.Random(seed)

    def rule() -> dict[str, Any]:
        first = chance.randint(1, 65000)
        return {
            "direction": chance.choice(["inbound", "outbound"]),
            "protocol": chance.choice(["tcp", "udp"]),
            "port_type": chance.choice(["src", "dst"]),
            "port": chance.choice([str(first), f"{first}-{first + chance.randint(1, 500)}"]),
        }

    return wish(
        *(
            {"name": f"set{number}", "enabled": chance.choice([None, True]), "rules": [rule() for _rule in range(chance.randint(1, 5))]}
            for number in range(chance.randint(1, 40))
        ),
        summary='Ports <of> the "agents" & others',
    )


def _run(folder: Path, *command: str, **more: Any) -> bytes:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=20, **more).stdout


@pytest.mark.parametrize("seed", range(3))
def test_opens_with_the_tools(seed: int, tmp_path: Path) -> None:
    wanted = _made(seed)
    package = wanted.package
    assert package
    (tmp_path / "it.vib").write_bytes(wanted.vib)
    assert _run(tmp_path, "ar", "t", "it.vib").decode().split() == ["descriptor.xml", "sig.pkcs7", "payload1"]
    _run(tmp_path, "ar", "x", "it.vib")
    assert (tmp_path / "sig.pkcs7").read_bytes() == b""
    payload = (tmp_path / "payload1").read_bytes()
    _run(tmp_path, "gzip", "-t", "-", input=payload)
    unpacked = _run(tmp_path, "gzip", "-dc", "-", input=payload)

    descriptor = ElementTree.parse(tmp_path / "descriptor.xml").getroot()
    assert (descriptor.tag, descriptor.get("version")) == ("vib", "5.0")
    assert [descriptor.findtext(name) for name in ("name", "version", "vendor", "summary", "acceptance-level", "type")] == [
        *(package.name, package.version, package.vendor, package.summary, "community", "bootbank"),
    ]
    assert descriptor.findtext("live-install-allowed") == descriptor.findtext("live-remove-allowed") == "true"
    row = descriptor.find("payloads/payload")
    assert row is not None and (row.get("name"), row.get("type"), row.get("size")) == ("payload1", "tgz", str(len(payload)))
    sums = {(one.get("checksum-type"), one.get("verify-process")): one.text for one in row.findall("checksum")}
    assert sums == {
        ("sha-256", None): _run(tmp_path, "sha256sum", input=payload).decode().split()[0],
        ("sha-256", "gunzip"): hashlib.sha256(unpacked).hexdigest(),
        ("sha-1", "gunzip"): hashlib.sha1(unpacked).hexdigest(),
    }

    listed = _run(tmp_path, "tar", "tzf", "payload1").decode().split()
    files = [name for name in listed if not name.endswith("/")]
    assert files == [file.text for file in descriptor.findall("file-list/file")] == [f"etc/vmware/firewall/{package.name}.xml"]
    _run(tmp_path, "tar", "xzf", "payload1")
    file = tmp_path / files[0]
    assert file.stat().st_mode & 0o777 == 0o444
    root = ElementTree.parse(file).getroot()
    found = {}
    for service in root.findall("service"):
        rules = []
        for rule in service.findall("rule"):
            port = rule.find("port")
            assert port is not None
            first, last = (port.findtext("begin"), port.findtext("end")) if port.find("begin") is not None else (port.text, port.text)
            rules.append(
                (rule.findtext("direction"), rule.findtext("protocol"), int(first or 0), int(last or 0), rule.findtext("porttype"))
            )
        found[service.findtext("id")] = (rules, service.findtext("enabled"), service.findtext("required"))
    assert found == {
        one.name: (
            [(rule.direction, rule.protocol, rule.first, rule.last, rule.port_type) for rule in one.rules],
            str(one.enabled).lower(),
            str(one.required).lower(),
        )
        for one in package.rulesets
    }


def test_ours_opens_what_the_tools_pack(tmp_path: Path) -> None:
    wanted = _made(7)
    (tmp_path / "it.vib").write_bytes(wanted.vib)
    _run(tmp_path, "ar", "x", "it.vib")
    _run(tmp_path, "ar", "r", "again.vib", "descriptor.xml", "sig.pkcs7", "payload1")
    again = (tmp_path / "again.vib").read_bytes()
    assert again != wanted.vib
    assert opened(again) == wanted.package


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not here")
def test_the_bundle_leads_from_its_index_to_the_package(tmp_path: Path) -> None:
    wanted = _made(1)
    package = wanted.package
    assert package
    (tmp_path / "it.zip").write_bytes(wanted.bundle)
    _run(tmp_path, "unzip", "-q", "it.zip")
    index = ElementTree.parse(tmp_path / "index.xml").getroot()
    assert index.findtext("vendor/content/type") == "http://www.vmware.com/depotmanagement/esx"
    assert len(index.findtext("vendor/code") or "") == 3
    vendor = ElementTree.parse(tmp_path / (index.findtext("vendor/indexfile") or "")).getroot()
    rows = vendor.findall("metadata")
    assert {row.findtext("version") for row in rows} == {"6.*", "7.*", "8.*", "9.*"}
    _run(tmp_path, "unzip", "-q", rows[0].findtext("url") or "", "-d", "metadata")
    metadata = ElementTree.parse(tmp_path / "metadata" / "vmware.xml").getroot()
    bulletin = metadata.find("bulletin")
    assert bulletin is not None
    spec, version = bulletin.find("componentNameSpec"), bulletin.find("componentVersionSpec")
    assert spec is not None and version is not None
    assert (spec.get("name"), spec.get("uiString"), version.get("version")) == (package.name, package.summary, package.version)
    file = bulletin.find("vibList/vib/vibFile")
    assert file is not None and bulletin.findtext("vibList/vib/vibID") == package.id
    path = file.findtext("relativePath") or ""
    assert path == f"vib20/{package.name}/{package.file_name}"
    assert (tmp_path / path).read_bytes() == wanted.vib
    assert (file.findtext("packedSize"), file.findtext("checksum/checksum")) == (
        str(len(wanted.vib)),
        hashlib.sha256(wanted.vib).hexdigest(),
    )
    identity = f"{package.name}-{package.version}"
    assert ElementTree.parse(tmp_path / "metadata" / "bulletins" / f"{identity}.xml").findtext("vibList/vibID") == package.id
    published = ElementTree.parse(tmp_path / "metadata" / "vibs" / f"{identity}.xml").getroot()
    assert (published.findtext("relative-path"), published.findtext("checksum")) == (path, hashlib.sha256(wanted.vib).hexdigest())
    assert published.findtext("payloads/payload/checksum") == ElementTree.fromstring(wanted.vib[68 : 68 + int(wanted.vib[56:66])]).findtext(
        "payloads/payload/checksum"
    )


def test_the_simulators_reader_finds_the_same_in_package_and_bundle() -> None:
    """It shares no code with ours."""
    wanted = _made(5)
    package = wanted.package
    assert package
    alone = simulated.read(wanted.vib, "it.vib")
    (within,) = simulated.bundle(wanted.bundle, "/it.zip")
    for one in (alone.package, within.package):
        assert (one.id, one.acceptance_level, one.description) == (package.id, "community", package.description)
        assert one.live_install and one.live_remove and not one.maintenance_required and not one.signed
        assert {row.key: (len(row.rules), row.enabled, row.required) for row in one.rulesets} == {
            row.name: (len(row.rules), row.enabled, row.required) for row in package.rulesets
        }
    assert alone.gunzip_sha256 and within.gunzip_sha256

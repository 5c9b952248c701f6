# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is packed is what is unpacked; what is broken is told in a sentence. Debian's tools are asked in test_vib_tools.py."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import vib_archive
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_archive import Broken, Member, ar, ar_members, gunzipped, gzipped
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import build, defects, opened, told_by, versioned
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_wanted import Wanted
from tests.unit.domain.makers import USUAL
from tests.unit.domain.vib_makers import AGENT, WISHES, declared, wish

VIB = wish().vib


@USUAL
@given(WISHES)
def test_round_trip(wanted: Wanted) -> None:
    assert wanted.package
    assert defects(wanted.vib) == []
    assert opened(wanted.vib) == wanted.package
    assert told_by(wanted.package.description) == (tuple(one.name for one in wanted.rulesets), wanted.package.content)


@USUAL
@given(declared(), st.randoms(use_true_random=False))
def test_order_and_spelling_make_no_difference(entries: list[dict[str, object]], chance: random.Random) -> None:
    shuffled = [{**entry, "rules": chance.sample(list(entry["rules"]), len(entry["rules"]))} for entry in entries]  # type: ignore[call-overload,arg-type]
    chance.shuffle(shuffled)
    one, two = wish(*entries), wish(*shuffled)
    assert one.vib == two.vib and one.bundle == two.bundle


@USUAL
@given(WISHES, WISHES)
def test_another_content_is_another_version(one: Wanted, two: Wanted) -> None:
    assert one.package and two.package
    assert (one.vib == two.vib) == (one.package.content == two.package.content)
    if one.package.content != two.package.content:
        assert one.package.id != two.package.id


def test_the_bytes_are_these() -> None:
    """On each Python, with each zlib: who builds it anew gets the package that is installed. A change here is another
    package on every host, and has to be meant."""
    assert hashlib.sha256(VIB).hexdigest() == "fb4ab2c8c016a66bff64311bc09a5e144961b01b9409b937aca17559161be3a5"
    assert hashlib.sha256(wish().bundle).hexdigest() == "9d6979dddc93acbbc497ef623e01a9480ffc3fcc9c34dc0b59e45be63fe2f767"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 65534, 65535, 65536, 200_000])
def test_gzip(size: int) -> None:
    content = random.Random(size).randbytes(size)
    made = gzipped(content)
    assert gzip.decompress(made) == zlib.decompress(made, 31) == gunzipped(made) == content
    assert made[4:8] == b"\0\0\0\0", "no time"


@USUAL
@given(st.dictionaries(st.text("abc", min_size=1, max_size=5).map(lambda text: f"etc/x/{text}.xml"), st.binary(max_size=1500), max_size=4))
def test_tar_and_zip_as_the_standard_library_reads_them(files: dict[str, bytes]) -> None:
    packed = vib_archive.tar(files)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        rows = archive.getmembers()
        assert {row.name: archive.extractfile(row).read() for row in rows if row.isfile()} == files  # type: ignore[union-attr]
        assert {(row.uid, row.gid, row.uname, row.mtime) for row in rows} <= {(0, 0, "root", 0)}
    assert vib_archive.tar_files(packed) == files
    members = [Member(name, content) for name, content in files.items()]
    with zipfile.ZipFile(io.BytesIO(vib_archive.zipped(members))) as zipped:
        assert zipped.testzip() is None
        assert {name: zipped.read(name) for name in zipped.namelist()} == files


# ---- what is broken -----------------------------------------------------------------------------------------------------------


def _members() -> dict[str, bytes]:
    return {member.name: member.content for member in ar_members(VIB)}


def _with(**changed: bytes) -> bytes:
    """The package with other members; descriptor_xml stands for descriptor.xml."""
    given_ = {name.replace("_", "."): content for name, content in changed.items()}
    return ar([Member(name, content) for name, content in {**_members(), **given_}.items()])


def _descriptor(change: Callable[[str], str]) -> bytes:
    return _with(descriptor_xml=change(_members()["descriptor.xml"].decode()).encode())


def _repacked(change: Callable[[str], str]) -> bytes:
    """Another ruleset file in the payload, all checksums right."""
    files = vib_archive.tar_files(gunzipped(_members()["payload1"]))
    unpacked = vib_archive.tar({path: change(content.decode()).encode() for path, content in files.items()})
    payload = gzipped(unpacked)
    text = _members()["descriptor.xml"].decode()
    text = re.sub(r'size="\d+"', f'size="{len(payload)}"', text)
    text = re.sub(r'(type="sha-256">)\w+', rf"\g<1>{hashlib.sha256(payload).hexdigest()}", text)
    text = re.sub(r'(sha-256" verify-process="gunzip">)\w+', rf"\g<1>{hashlib.sha256(unpacked).hexdigest()}", text)
    text = re.sub(r'(sha-1" verify-process="gunzip">)\w+', rf"\g<1>{hashlib.sha1(unpacked).hexdigest()}", text)
    return _with(descriptor_xml=text.encode(), payload1=payload)


def _zeros(start: str) -> Callable[[str], str]:
    return lambda text: re.sub(rf"({start})\w+", rf"\g<1>{'0' * 64}", text)


PORT = "<port>8080</port>"
BROKEN: list[tuple[bytes, str]] = [
    (b"PK\x03\x04", "it is no ar archive"),
    (VIB[:50], "no member begins at byte 8"),
    (VIB[:-100], "cut off: payload1 has"),
    (VIB[:56] + b"x" * 10 + VIB[66:], "damaged: descriptor.xml has the size 'xxxxxxxxxx'"),
    (ar([Member("sig.pkcs7", b""), Member("payload1", b"")]), "the member descriptor.xml is missing"),
    (
        ar([Member("descriptor.xml", _members()["descriptor.xml"]), Member("payload1", _members()["payload1"])]),
        "the member sig.pkcs7 is missing",
    ),
    (ar([Member("sig.pkcs7", b""), *ar_members(VIB)]), "the member sig.pkcs7 is there twice"),
    (ar(ar_members(VIB)[:2]), "the payload payload1 is missing"),
    (ar([*ar_members(VIB), Member("more", b"")]), "the member more is no payload of descriptor.xml"),
    (_descriptor(lambda text: text.replace("<vib ", "<vim ").replace("</vib>", "</vim>")), "descriptor.xml is a vim and no vib"),
    (_descriptor(lambda text: text[:-20]), "descriptor.xml is no XML"),
    (_descriptor(lambda text: "<!DOCTYPE vib [<!ENTITY a 'b'>]>" + text), "declares a document type"),
    (_descriptor(lambda text: re.sub(r"<version>.*</version>", "", text)), "descriptor.xml has no version"),
    (
        _descriptor(lambda text: text.replace("<acceptance-level>community", "<acceptance-level>partner")),
        "says partner, and the signature is empty",
    ),
    (_descriptor(_zeros('type="sha-256">')), "the sha-256 checksum of the payload payload1 is wrong"),
    (_descriptor(_zeros('sha-256" verify-process="gunzip">')), "the sha-256 checksum of the payload payload1, unpacked, is wrong"),
    (_descriptor(_zeros('sha-1" verify-process="gunzip">')), "the sha-1 checksum of the payload payload1, unpacked, is wrong"),
    (_descriptor(lambda text: text.replace('"sha-1"', '"md5"')), "a checksum of an unknown kind, md5 gunzip"),
    (_descriptor(lambda text: re.sub(r'size="\d+"', 'size="7"', text)), "bytes, descriptor.xml says 7"),
    (
        _descriptor(lambda text: re.sub(r"<file>.*</file>", "", text)),
        "descriptor.xml lists the files none, the payloads hold etc/vmware/firewall/",
    ),
    (
        ar(
            [
                Member("payloads1" if one.name == "payload1" else one.name, one.content.replace(b'"payload1"', b'"payloads1"'))
                for one in ar_members(VIB)
            ]
        ),
        "the name of the payload payloads1 is longer than 8 characters",
    ),
    (_with(payload1=b"no gzip"), "it is no gzip file"),
    (_with(payload1=gzipped(b"\0" * 20 * 1024 * 1024)), "it unpacks to more than 16 MB"),
    (_with(payload1=gzipped(vib_archive.tar({"a/b": b"c"}))[:-30]), "the gzip file is cut off"),
    (_with(payload1=gzipped(vib_archive.tar({"a/b": b"c"})[:-1024])), "its end is missing"),
    (_with(payload1=gzipped(b"x" * 1024)), "the tar archive is damaged"),
    (_repacked(lambda text: text.replace(PORT, "<port>70000</port>")), "a rule of agent has the bad port '70000'"),
    (_repacked(lambda text: text.replace(PORT, "<port>0</port>")), "a rule of agent has the bad port '0'"),
    (_repacked(lambda text: text.replace(PORT, "")), "a rule of agent has the bad port ''"),
    (_repacked(lambda text: text.replace(PORT, "<port><begin>9</begin><end>8</end></port>")), "a rule of agent has the bad port '9-8'"),
    (_repacked(lambda text: text.replace("inbound", "sideways")), "has the direction 'sideways'"),
    (_repacked(lambda text: text.replace("tcp", "sctp")), "has the protocol 'sctp'"),
    (_repacked(lambda text: text.replace(">dst<", ">any<")), "has the porttype 'any'"),
    (_repacked(lambda text: text.replace("<id>agent</id>", "")), "a ruleset without a name"),
    (_repacked(lambda text: re.sub(r"<rule .*</rule>", "", text, flags=re.S)), "the ruleset agent has no rules"),
    (_repacked(lambda text: re.sub(r"(<service .*</service>)", r"\1\1", text, flags=re.S)), "the ruleset agent twice"),
    (_repacked(lambda text: text.replace("ConfigRoot", "Config")), "is a Config and no ConfigRoot"),
]


@pytest.mark.parametrize(("vib", "sentence"), BROKEN, ids=[sentence for _vib, sentence in BROKEN])
def test_broken(vib: bytes, sentence: str) -> None:
    assert any(sentence in text for text in defects(vib)), defects(vib)
    with pytest.raises(Broken, match=re.escape(sentence)):
        opened(vib)


def test_gnu_ar_puts_a_slash_behind_names() -> None:
    assert (
        opened(
            VIB.replace(b"descriptor.xml  ", b"descriptor.xml/ ").replace(b"sig.pkcs7 ", b"sig.pkcs7/").replace(b"payload1 ", b"payload1/")
        )
        == wish().package
    )


@USUAL
@given(st.integers(0, len(VIB) - 1), st.integers(1, 255))
def test_any_changed_byte_of_the_payload_is_noticed(place: int, by: int) -> None:
    """All of it is under a checksum; of the rest at least no reader may fall over."""
    spoilt = VIB[:place] + bytes([(VIB[place] + by) % 256]) + VIB[place + 1 :]
    begin = VIB.index(b"\x1f\x8b\x08")
    found = defects(spoilt)
    if begin <= place < begin + len(_members()["payload1"]):
        assert found
    assert all(isinstance(text, str) and text for text in found)


@USUAL
@given(st.binary(max_size=300))
def test_rubbish_is_told_and_no_crash(data: bytes) -> None:
    assert defects(data)
    assert defects(vib_archive.AR_MAGIC + data) or not data


def test_the_name_and_vendor_of_another_make_another_package() -> None:
    package = wish().package
    assert package
    base = replace(package, version="1.0.0", content="")
    seen = {versioned(base).content}
    for other in (replace(base, name="x"), replace(base, vendor="x"), replace(base, summary="x"), replace(base, released="2026-01-02")):
        seen.add(versioned(other).content)
    seen.add(versioned(replace(base, rulesets=(replace(base.rulesets[0], enabled=False),))).content)
    assert len(seen) == 6
    assert build(versioned(base)) == VIB
    assert AGENT["name"] == base.rulesets[0].name

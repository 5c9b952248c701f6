# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VIB with firewall rulesets: built, opened again, and put into the bundle that a life-cycle manager takes. Pure.
Private to this collection.

The form of the VIB is that of scripts whose packages are installed on ESXi 7 and 8: w2c/letsencrypt-esxi (build/build.sh) and
a customfirewall script with the same template (find: CUSTOM_VIB_FIREWALL_PORT). Both write the payload as type tgz with the
sha-256 of the file, and the sha-256 and sha-1 of what it unpacks to. The form of the bundle is that of cmu-sei/welled
(BUNDLE-DATA) and of VIB2ZIP 1.3 (ESXi Community Packaging Tools); ``componentNameSpec`` and ``componentVersionSpec``, which make
a component of a bulletin from 7.0 on, are those of the customfirewall script.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from .ports import port_number
from .vib_archive import MOST, Broken, Member, ar, ar_members, gunzipped, gzipped, tar, tar_files, zipped

# esxcli calls it CommunitySupported: a package without a signature. Another level would be a lie that no host believes.
LEVEL = "community"
PAYLOAD = "payload1"
# In practice; a longer one does not become a file of the boot bank (yellow-bricks 2011, lamw's scripts).
LONGEST_PAYLOAD = 8
FIREWALL = "etc/vmware/firewall/"
DIRECTIONS, PROTOCOLS, PORT_TYPES = ("inbound", "outbound"), ("tcp", "udp"), ("dst", "src")
# Releases that the bundle says it is for. The package holds no code and asks for no release of its own.
PLATFORMS = ("6.*", "7.*", "8.*", "9.*")
_MEMBERS = ("descriptor.xml", "sig.pkcs7")
# Goes into the content's hash: another way to build the same rulesets is another package.
_FORM = "fleetcare.esxi firewall package 1"
_SAYS = re.compile(r"^Firewall rulesets (.*)\. Content sha-256 ([0-9a-f]{64})\. Built by fleetcare\.esxi\.$")


@dataclass(frozen=True, order=True)
class Rule:
    """One port or range. ``port_type`` src: it is the sender's port, which opens nothing to anybody."""

    direction: str
    protocol: str
    first: int
    last: int
    port_type: str = "dst"

    def __str__(self) -> str:
        ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol}/{ports} {self.direction}{' (source port)' if self.port_type == 'src' else ''}"

    def meets(self, other: Rule) -> bool:
        """Whether both open a same port."""
        alike = (self.direction, self.protocol, self.port_type) == (other.direction, other.protocol, other.port_type)
        return alike and self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Ruleset:
    """``enabled``: whether it is open from the moment the host knows it. ``required``: nobody can close it."""

    name: str
    rules: tuple[Rule, ...]
    enabled: bool = False
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a VIB says of itself, and the rulesets in it. ``content``: its hash, which stands in its description."""

    name: str
    version: str
    vendor: str
    summary: str
    released: str
    rulesets: tuple[Ruleset, ...]
    content: str = ""

    @property
    def id(self) -> str:
        """As hosts and life-cycle managers name it."""
        return f"{self.vendor}_bootbank_{self.name}_{self.version}"

    @property
    def description(self) -> str:
        """A host tells it with the package (HostSoftwarePackage.description), so that it can be told whose rulesets those are."""
        return f"Firewall rulesets {', '.join(ruleset.name for ruleset in self.rulesets)}. Content sha-256 {self.content}. Built by fleetcare.esxi."

    @property
    def file_name(self) -> str:
        return f"{self.id}.vib"

    @property
    def bundle_name(self) -> str:
        return f"{self.name}-{self.version}-offline_bundle.zip"


def told_by(description: str) -> tuple[tuple[str, ...], str]:
    """The names of its rulesets and its content's hash, from the description of a package of ours; nothing of another one's."""
    found = _SAYS.match(description)
    return (tuple(found[1].split(", ")), found[2]) if found else ((), "")


# ---- building -------------------------------------------------------------------------------------------------------------


def versioned(package: Package) -> Package:
    """With its content's hash, and that in the version's second half: a host that has the same name and version skips an
    installation (esxcli: VIBs Skipped), so other rulesets have to be another version. Two parts of 28 bits each, as the
    parts of a version are numbers, and some reader may hold them in 32 bits."""
    hashed = hashlib.sha256()
    for part in (_FORM, package.name, package.version, package.vendor, package.summary, package.released, _ruleset_file(package)):
        hashed.update(f"{len(part)}:{part}".encode())
    content = hashed.hexdigest()
    return replace(package, version=f"{package.version}-1.{int(content[:7], 16)}.{int(content[7:14], 16)}", content=content)


def build(package: Package) -> bytes:
    unpacked = tar({f"{FIREWALL}{package.name}.xml": _ruleset_file(package).encode()})
    payload = gzipped(unpacked)
    descriptor = _descriptor(package, payload, unpacked)
    return ar([Member("descriptor.xml", descriptor.encode()), Member("sig.pkcs7", b""), Member(PAYLOAD, payload)])


def _ruleset_file(package: Package) -> str:
    """The form of vSphere Security, "Firewall configuration" and VMware KB 2008226."""
    lines = ["<ConfigRoot>"]
    for number, ruleset in enumerate(package.rulesets):
        lines += [f'  <service id="{1000 + number}">', f"    <id>{escape(ruleset.name)}</id>"]
        for place, rule in enumerate(ruleset.rules):
            port = f"{rule.first}" if rule.first == rule.last else f"<begin>{rule.first}</begin><end>{rule.last}</end>"
            lines += [
                f'    <rule id="{place:04}">',
                f"      <direction>{rule.direction}</direction>",
                f"      <protocol>{rule.protocol}</protocol>",
                f"      <porttype>{rule.port_type}</porttype>",
                f"      <port>{port}</port>",
                "    </rule>",
            ]
        lines += [f"    <enabled>{_flag(ruleset.enabled)}</enabled>", f"    <required>{_flag(ruleset.required)}</required>", "  </service>"]
    return "\n".join([*lines, "</ConfigRoot>", ""])


def _descriptor(package: Package, payload: bytes, unpacked: bytes, published: str = "") -> str:
    """``published``: what the copy in a bundle's metadata has beside."""
    return f"""<vib version="5.0">
  <type>bootbank</type>
  <name>{escape(package.name)}</name>
  <version>{package.version}</version>
  <vendor>{escape(package.vendor)}</vendor>
  <summary>{escape(package.summary)}</summary>
  <description>{escape(package.description)}</description>
  <release-date>{package.released}T00:00:00+00:00</release-date>
  <urls/>
  <relationships>
    <depends/>
    <conflicts/>
    <replaces/>
    <provides/>
    <compatibleWith/>
  </relationships>
  <software-tags/>
{published}  <system-requires>
    <maintenance-mode>false</maintenance-mode>
  </system-requires>
  <file-list>
    <file>{FIREWALL}{escape(package.name)}.xml</file>
  </file-list>
  <acceptance-level>{LEVEL}</acceptance-level>
  <live-install-allowed>true</live-install-allowed>
  <live-remove-allowed>true</live-remove-allowed>
  <cimom-restart>false</cimom-restart>
  <stateless-ready>true</stateless-ready>
  <overlay>false</overlay>
  <payloads>
    <payload name="{PAYLOAD}" type="tgz" size="{len(payload)}">
      <checksum checksum-type="sha-256">{hashlib.sha256(payload).hexdigest()}</checksum>
      <checksum checksum-type="sha-256" verify-process="gunzip">{hashlib.sha256(unpacked).hexdigest()}</checksum>
      <checksum checksum-type="sha-1" verify-process="gunzip">{hashlib.sha1(unpacked, usedforsecurity=False).hexdigest()}</checksum>
    </payload>
  </payloads>
</vib>
"""


def _flag(value: bool) -> str:
    return "true" if value else "false"


# ---- the bundle -------------------------------------------------------------------------------------------------------------


def bundle(package: Package, vib: bytes) -> bytes:
    """The offline bundle (depot) with this one component."""
    path = f"vib20/{package.name}/{package.file_name}"
    sum_ = hashlib.sha256(vib).hexdigest()
    published = (
        f"  <relative-path>{path}</relative-path>\n  <packed-size>{len(vib)}</packed-size>\n"
        f'  <checksum checksum-type="sha-256">{sum_}</checksum>\n'
    )
    payload = ar_members(vib)[2].content
    index = _vendor_index()
    identity = f"{package.name}-{package.version}"
    metadata = zipped(
        [
            Member("vmware.xml", _metadata(package, path, len(vib), sum_).encode()),
            Member("vendor-index.xml", index.encode()),
            Member(f"bulletins/{identity}.xml", f"{_bulletin(package, f'<vibID>{escape(package.id)}</vibID>')}\n".encode()),
            Member(f"vibs/{identity}.xml", _descriptor(package, payload, gunzipped(payload), published).encode()),
        ]
    )
    return zipped(
        [
            Member("index.xml", _index(package).encode()),
            Member("vendor-index.xml", index.encode()),
            Member("metadata.zip", metadata),
            Member(path, vib),
        ]
    )


def _index(package: Package) -> str:
    """With the type of its content: a thinner descriptor is refused by the life-cycle manager of 9 (Build-VlcmBundle.ps1,
    which says so of Export-EsxImageProfile, and that a vendor's code has three letters or digits)."""
    code = re.sub(r"[^A-Za-z0-9]", "", package.vendor)[:3].ljust(3, "x")
    return f"""<vendorList>
  <vendor>
    <name>{escape(package.vendor)}</name>
    <code>{code}</code>
    <indexfile>vendor-index.xml</indexfile>
    <patchUrl></patchUrl>
    <relativePath></relativePath>
    <content>
      <name>VMware ESX</name>
      <type>http://www.vmware.com/depotmanagement/esx</type>
    </content>
  </vendor>
</vendorList>
"""


def _vendor_index() -> str:
    rows = [
        f"""  <metadata>
    <productId>embeddedEsx</productId>
    <version>{version}</version>
    <locale></locale>
    <url>metadata.zip</url>
    <channelName>default</channelName>
  </metadata>
"""
        for version in PLATFORMS
    ]
    return "<metaList>\n" + "".join(rows) + "</metaList>\n"


def _platforms(tag: str, indent: str) -> str:
    return "".join(f'{indent}<{tag} locale="" version="{version}" productLineID="embeddedEsx"/>\n' for version in PLATFORMS)


def _bulletin(package: Package, vibs: str) -> str:
    return f"""  <bulletin>
    <id>{escape(package.name)}-{package.version}</id>
    <vendor>{escape(package.vendor)}</vendor>
    <summary>{escape(package.summary)}</summary>
    <severity>general</severity>
    <category>enhancement</category>
    <urgency>important</urgency>
    <releaseType>extension</releaseType>
    <description>{escape(package.description)}</description>
    <kbUrl>unknown</kbUrl>
    <contact>unknown</contact>
    <componentNameSpec name={quoteattr(package.name)} uiString={quoteattr(package.summary)}/>
    <componentVersionSpec version="{package.version}" uiString="{package.version}"/>
    <releaseDate>{package.released}T00:00:00+00:00</releaseDate>
    <platforms>
{_platforms("softwarePlatform", "      ")}    </platforms>
    <vibList>
      {vibs}
    </vibList>
  </bulletin>"""


def _metadata(package: Package, path: str, size: int, sum_: str) -> str:
    vib = f"""<vib>
        <vibVersion>1.4.5</vibVersion>
        <vibID>{escape(package.id)}</vibID>
        <name>{escape(package.name)}</name>
        <version>{package.version}</version>
        <vendor>{escape(package.vendor)}</vendor>
        <vibType>bootbank</vibType>
        <summary>{escape(package.summary)}</summary>
        <systemReqs>
          <maintenanceMode>false</maintenanceMode>
{_platforms("swPlatform", "          ")}        </systemReqs>
        <relationships>
          <depends/>
          <conflicts/>
          <replaces/>
          <provides/>
          <compatibleWith/>
        </relationships>
        <postInstall>
          <rebootRequired>false</rebootRequired>
          <hostdRestart>false</hostdRestart>
        </postInstall>
        <softwareTags/>
        <vibFile>
          <sourceUrl></sourceUrl>
          <relativePath>{path}</relativePath>
          <packedSize>{size}</packedSize>
          <checksum>
            <checksumType>sha-256</checksumType>
            <checksum>{sum_}</checksum>
          </checksum>
        </vibFile>
      </vib>"""
    return f"""<metadataResponse>
  <version>3.0</version>
  <timestamp>{package.released}T00:00:00.000000</timestamp>
{_bulletin(package, vib)}
</metadataResponse>
"""


# ---- opening ----------------------------------------------------------------------------------------------------------------


def defects(vib: bytes) -> list[str]:
    """What is wrong with a VIB, a sentence each; nothing if it is whole."""
    found = []
    try:
        for text in _read(vib, []):
            found.append(text)
    except Broken as problem:
        found.append(str(problem))
    return found


def opened(vib: bytes) -> Package:
    """What a VIB holds; raises Broken with all that is wrong with it."""
    wrong = defects(vib)
    if wrong:
        raise Broken("; ".join(wrong))
    result: list[Package] = []
    for text in _read(vib, result):
        raise Broken(text)
    return result[0]


def _read(vib: bytes, result: list[Package]) -> Iterator[str]:
    members = ar_members(vib)
    names = [member.name for member in members]
    for name in _MEMBERS:
        if name not in names:
            yield f"the member {name} is missing"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the member {name} is there twice"
    if "descriptor.xml" not in names:
        return
    if names[: len(_MEMBERS)] != list(_MEMBERS):
        yield "descriptor.xml and sig.pkcs7 are not the first two members"
    contents = {member.name: member.content for member in reversed(members)}
    descriptor = _xml(contents["descriptor.xml"], "descriptor.xml", "vib")
    wanted = ("type", "name", "version", "vendor", "summary", "description", "release-date", "acceptance-level")
    texts = {name: (descriptor.findtext(name) or "").strip() for name in wanted}
    for name in wanted:
        if not texts[name]:
            yield f"descriptor.xml has no {name}"
    if texts["acceptance-level"] not in ("", LEVEL) and not contents.get("sig.pkcs7", b"-"):
        yield f"descriptor.xml says {texts['acceptance-level']}, and the signature is empty"
    files: dict[str, bytes] = {}
    payloads = descriptor.findall("payloads/payload")
    listed = [payload.get("name", "") for payload in payloads]
    for name in names:
        if name not in _MEMBERS and name not in listed:
            yield f"the member {name} is no payload of descriptor.xml"
    for payload in payloads:
        name = payload.get("name", "")
        if len(name) > LONGEST_PAYLOAD:
            yield f"the name of the payload {name} is longer than {LONGEST_PAYLOAD} characters"
        content = next((member.content for member in members if member.name == name), None)
        if content is None:
            yield f"the payload {name} is missing"
            continue
        yield from _check_payload(payload, name, content, files)
    said = sorted((file.text or "").strip() for file in descriptor.findall("file-list/file"))
    if said != sorted(files):
        yield f"descriptor.xml lists the files {', '.join(said) or 'none'}, the payloads hold {', '.join(sorted(files)) or 'none'}"
    rulesets: list[Ruleset] = []
    for path, content in sorted(files.items()):
        if path.startswith(FIREWALL) and path.endswith(".xml"):
            yield from _check_rulesets(path, content, rulesets)
    result.append(
        Package(
            name=texts["name"],
            version=texts["version"],
            vendor=texts["vendor"],
            summary=texts["summary"],
            released=texts["release-date"].partition("T")[0],
            rulesets=tuple(rulesets),
            content=told_by(texts["description"])[1],
        )
    )


def _check_payload(payload: ElementTree.Element, name: str, content: bytes, files: dict[str, bytes]) -> Iterator[str]:
    if payload.get("size") != str(len(content)):
        yield f"the payload {name} has {len(content)} bytes, descriptor.xml says {payload.get('size')}"
    unpacked: bytes | None = None
    try:
        unpacked = gunzipped(content)
        files.update(tar_files(unpacked))
    except Broken as problem:
        yield f"the payload {name} cannot be unpacked: {problem}"
    checksums = payload.findall("checksum")
    if not any(one.get("checksum-type") == "sha-256" and not one.get("verify-process") for one in checksums):
        yield f"the payload {name} has no sha-256 checksum"
    for one in checksums:
        kind, after = one.get("checksum-type", ""), one.get("verify-process", "")
        if kind not in ("sha-256", "sha-1") or after not in ("", "gunzip"):
            yield f"the payload {name} has a checksum of an unknown kind, {' '.join(part for part in (kind, after) if part)}"
            continue
        subject = unpacked if after else content
        if subject is None:
            continue
        real = hashlib.sha256(subject) if kind == "sha-256" else hashlib.sha1(subject, usedforsecurity=False)
        if (one.text or "").strip() != real.hexdigest():
            yield f"the {kind} checksum of the payload {name}{', unpacked,' if after else ''} is wrong"


def _check_rulesets(path: str, content: bytes, rulesets: list[Ruleset]) -> Iterator[str]:
    root = _xml(content, path, "ConfigRoot")
    for service in root.findall("service"):
        name = (service.findtext("id") or "").strip()
        if not name:
            yield f"{path} has a ruleset without a name"
        if any(one.name == name for one in rulesets):
            yield f"{path} has the ruleset {name} twice"
        rules = []
        for rule in service.findall("rule"):
            direction, protocol, port_type = ((rule.findtext(part) or "").strip() for part in ("direction", "protocol", "porttype"))
            for part, text, known in (
                ("direction", direction, DIRECTIONS),
                ("protocol", protocol, PROTOCOLS),
                ("porttype", port_type, PORT_TYPES),
            ):
                if text not in known:
                    yield f"{path}: a rule of {name} has the {part} {text!r}"
            port = rule.find("port")
            bounds = (
                [] if port is None else [port.findtext("begin") or port.text, port.findtext("end") or port.findtext("begin") or port.text]
            )
            numbers = [port_number(text or "") for text in bounds]
            if len(numbers) != 2 or None in numbers or numbers[0] > numbers[1]:  # type: ignore[operator]
                yield f"{path}: a rule of {name} has the bad port {'-'.join(dict.fromkeys((text or '').strip() for text in bounds))!r}"
            else:
                rules.append(Rule(direction, protocol, numbers[0], numbers[1], port_type))  # type: ignore[arg-type]
        if not service.findall("rule"):
            yield f"{path}: the ruleset {name} has no rules"
        flags = [(service.findtext(part) or "").strip() == "true" for part in ("enabled", "required")]
        rulesets.append(Ruleset(name, tuple(rules), *flags))


def _xml(content: bytes, name: str, root: str) -> ElementTree.Element:
    try:
        text = content[:MOST].decode("utf-8")
        # Entities can be made to unpack to gigabytes; none of these files has any.
        if "<!" in text.replace("<!--", ""):
            raise Broken(f"{name} declares a document type, which no such file has")
        found = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as problem:
        raise Broken(f"{name} is no XML: {problem}") from None
    if found.tag != root:
        raise Broken(f"{name} is a {found.tag} and no {root}")
    return found

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The software of a host as plain values: its packages (VIBs), acceptance levels, and the image that a release begins with."""

from __future__ import annotations

import datetime
import functools
from dataclasses import dataclass
from typing import Any

from .errors import ScenarioError
from .profile import Profile, Rule, Ruleset, near, rule_of
from .state import StateMap

# Lowest first. The API's words (HostImageAcceptanceLevel), esxcli's words (`software acceptance get`, docs GUID-6A3AD878), and the words of
# descriptor.xml, which error texts use too (lamw/ghettoVCB#307 "community", "partner"; PowerCLI-Example-Scripts#182 "accepted", "certified").
LEVELS = ("community", "partner", "vmware_accepted", "vmware_certified")
ESXCLI_LEVELS = {
    "community": "CommunitySupported",
    "partner": "PartnerSupported",
    "vmware_accepted": "VMwareAccepted",
    "vmware_certified": "VMwareCertified",
}
DESCRIPTOR_LEVELS = {"community": "community", "partner": "partner", "vmware_accepted": "accepted", "vmware_certified": "certified"}
# CIS benchmark of 6.7: "Default Value: Partner Supported".
DEFAULT_LEVEL = "partner"
EXEC_OPTION = "VMkernel.Boot.execInstalledOnly"
BASE_DATE = "2024-05-21"


class ImageError(Exception):
    """What esxcli's image code refuses; `kind` is the class it names in brackets, as in "[AcceptanceConfigError]"."""

    def __init__(self, kind: str, *lines: str) -> None:
        super().__init__(" ".join(lines))
        self.kind = kind
        self.lines = lines


@dataclass(frozen=True)
class Package:
    """One VIB as a host knows it. Relations are texts such as "esx-version >= 7.0.0"."""

    name: str
    version: str
    vendor: str
    acceptance_level: str
    summary: str = ""
    description: str = ""
    type: str = "bootbank"
    creation_date: str = BASE_DATE
    install_date: str = BASE_DATE
    maintenance_required: bool = False
    live_install: bool = True
    live_remove: bool = True
    tags: tuple[str, ...] = ()
    payloads: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    reference_urls: tuple[str, ...] = ()
    stateless_ready: bool = True
    overlay: bool = False
    platforms: tuple[str, ...] = ("host",)
    signed: bool = True
    rulesets: tuple[Ruleset, ...] = ()  # what its files in etc/vmware/firewall say

    @property
    def id(self) -> str:
        """ "VMware_bootbank_esx-base_8.0.3-0.0.24022510", as esxcli names it in results and errors."""
        return f"{self.vendor}_{self.type}_{self.name}_{self.version}"


def at_most(level: str, limit: str) -> bool:
    return LEVELS.index(level) <= LEVELS.index(limit)


def level_named(text: str, words: dict[str, str]) -> str | None:
    """The level behind one of esxcli's or the descriptor's words; they are case-sensitive (docs GUID-6A3AD878)."""
    return next((level for level, word in words.items() if word == text), None)


def lowest(packages: Any) -> str:
    return min((package.acceptance_level for package in packages), key=LEVELS.index, default="vmware_certified")


# name, vendor, level, summary, needs maintenance mode. Names are those of real images; that a release's base packages carry its version and
# build is how `esxcli software vib list` shows them (7.x and 8.x listings in public issues). Versions of drivers are made up.
_BASE: tuple[tuple[str, str, str, str, bool], ...] = (
    ("esx-base", "VMware", "vmware_certified", "ESXi base system", True),
    ("esx-update", "VMware", "vmware_certified", "ESXi Install and Upgrade Component", True),
    ("cpu-microcode", "VMware", "vmware_certified", "CPU microcode updates", True),
    ("vsan", "VMware", "vmware_certified", "VSAN for ESXi.", True),
    ("vsanhealth", "VMware", "vmware_certified", "VSAN Health for ESXi.", True),
    ("esx-ui", "VMware", "vmware_certified", "VMware Host Client", False),
    ("esx-xserver", "VMware", "vmware_certified", "ESXi X Server Support", True),
    ("tools-light", "VMware", "vmware_certified", "VMware Tools", False),
)
_DRIVERS: tuple[tuple[str, str, str, str, str], ...] = (
    ("vmkusb", "VMW", "0.1-18vmw", "vmware_certified", "USB Native Driver for VMware ESX"),
    ("nvme-pcie", "VMW", "1.2.4.11-1vmw", "vmware_certified", "Non-Volatile memory controller driver"),
    ("pvscsi", "VMW", "0.1-5vmw", "vmware_certified", "PVSCSI driver for VMware ESX"),
    ("lsuv2-intelv2-nvme-vmd-plugin", "VMware", "2.7.2173-2vmw", "vmware_accepted", "LSU Intelv2 NVMe VMD Plugin"),
)
# A partner's package: it keeps the host's level from being raised above "partner".
_PARTNER = ("amsv", "HPE", "701.11.9.0.5-1", "partner", "Agentless Management Service for VMware vSphere")


@functools.cache
def base_image(profile: Profile) -> StateMap:
    """The packages of a fresh host of this release; all its hosts share them."""
    version = f"{profile.version}-0.0.{profile.build}"
    made = [
        Package(
            name, version, vendor, level, summary, summary, "locker" if name == "tools-light" else "bootbank", maintenance_required=busy
        )
        for name, vendor, level, summary, busy in _BASE
    ]
    known = {row[0] for row in _BASE}
    for name in sorted({service.package for service in profile.services.values()} - known):
        made.append(Package(name, version, "VMware", "vmware_certified", name, name, maintenance_required=True))
    suffix = f".{profile.version.replace('.', '')}.0.0.{profile.build}"
    for name, vendor, driver, level, summary in (*_DRIVERS, _PARTNER):
        made.append(Package(name, driver + suffix, vendor, level, summary, summary, maintenance_required=True, live_install=False))
    return StateMap({package.name: package for package in sorted(made, key=lambda one: one.name)})


def ruleset(key: str, rules: tuple[Rule, ...], enabled: bool, required: bool = False, toggle: bool | None = True) -> Ruleset:
    """A ruleset that no release ships. Its label is its key, as with most rulesets of the captures that came with a VIB."""
    return Ruleset(key, key, rules, enabled, required, service=None, owner=None, toggle=toggle, ip_list=toggle)


def ruleset_row(row: dict[str, Any], where: str) -> Ruleset:
    """`{key, rules: ["in tcp 8080-8090"], enabled}` of a scenario or an action."""
    made = []
    for text in row.get("rules", ()):
        try:
            rule = rule_of(text)
        except (ValueError, IndexError):
            rule = None
        if rule is None or text.split()[0] not in ("in", "out") or rule.protocol not in ("tcp", "udp"):
            raise ScenarioError(f'{where}: "{text}" is no rule such as "in tcp 8080-8090" or "out udp src 68"')
        made.append(rule)
    return ruleset(row["key"], tuple(made), bool(row.get("enabled", False)))


def package_row(row: dict[str, Any], where: str) -> Package:
    """One entry of `hosts[].software`."""
    rulesets = tuple(ruleset_row(one, f"{where}.rulesets[{index}]") for index, one in enumerate(row.get("rulesets", ())))
    level = row.get("acceptance", "partner")
    return Package(
        row["name"],
        row.get("version", "1.0.0-1"),
        row.get("vendor", "Example"),
        level,
        row.get("summary", row["name"]),
        row.get("description", row.get("summary", row["name"])),
        maintenance_required=row.get("maintenance_required", False),
        live_install=row.get("live_install", True),
        live_remove=row.get("live_remove", True),
        tags=tuple(row.get("tags", ())),
        files=tuple(row.get("files", ())) + tuple(f"etc/vmware/firewall/{one.key}.xml" for one in rulesets),
        depends=tuple(row.get("depends", ())),
        conflicts=tuple(row.get("conflicts", ())),
        payloads=tuple(row.get("payloads", ("payload1",))),
        signed=row.get("signed", level != "community"),
        rulesets=rulesets,
    )


def check_level(value: Any, where: str) -> str:
    if value not in LEVELS:
        raise ScenarioError(f"{where} is '{value}': {near(str(value), LEVELS)}")
    return str(value)


def today() -> str:
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"


def dump(host: Any) -> dict[str, Any]:
    """For `/state`: what is installed beyond the release's own image, and what is missing of it."""
    base = base_image(host.profile)
    waiting = host.boot_software
    return {
        "acceptance": host.acceptance,
        "secure_boot": host.secure_boot,
        "require_secure_boot": host.require_secure_boot,
        "exec_installed_only": host.exec_installed_only,
        "tpm": dict(host.tpm),
        "image_managed": host.image_managed,
        "packages": {name: package.version for name, package in sorted(host.software.items()) if base.get(name) != package},
        "missing": sorted(name for name in base if name not in host.software),
        "after_reboot": None
        if waiting is None
        else {name: package.version for name, package in sorted(waiting.items()) if base.get(name) != package},
        "own_rulesets": sorted(host.own_rulesets),
        "boot_failure": host.boot_failure,
    }

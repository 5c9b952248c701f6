# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The licence server as plain state: keys, who holds which, how much is used, when it runs out. objects/ turn it into what goes over the wire.

All times are virtual (see clock.py). A key is known to the decoder, or it is not; it is in the inventory, or it is not; it is assigned to
hosts, clusters and vCenter, or to nobody.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .errors import ScenarioError
from .profile import Profile, near

if TYPE_CHECKING:
    from .world import World

EVALUATION = "00000-00000-00000-00000-00000"
NONE = "none"  # no licence at all
FILE = "file"  # 9.x: an edition that comes with vCenter's licence file and has no key (facts.md 1.5)
WORDS = ("evaluation", NONE, FILE)
SHAPE = re.compile(r"[0-9A-Z]{5}(-[0-9A-Z]{5}){4}\Z")
ALPHABET = re.compile(r"[0-9AC-HJ-NP-RT-Z-]+\Z")  # no B, I, O, S (facts.md 1.3)
ESX, VCENTER, VSAN = "VMware ESX Server", "VMware VirtualCenter Server", "VMware VSAN"
HOLDER_OF = {ESX: "host", VCENTER: "vcenter", VSAN: "cluster"}
DIAGNOSTIC = "License is not valid for this product"  # govmomi's license.bats against a real ESX
LC_ERROR = 5  # seen for a malformed key (facts.md 1.2)
DECODE = "com.vmware.vim.vc.license.error.decode"
HOUR, DAY = 3600.0, 86400.0
_UNLIMITED = 100_000

# About what a real key lists; the level stands behind the colon.
FEATURES: dict[str, tuple[tuple[str, str], ...]] = {
    ESX: (
        ("vsmp:256", "Up to 256-way virtual SMP"), ("h264remote", "H.264 for Remote Console Connections"), ("vcenter", "vCenter agent for VMware host"),
        ("vStorage", "vStorage APIs"), ("vmsafe", "VMsafe"), ("dvfilter", "dvFilter"), ("das", "vSphere HA"), ("hotplug", "Hot-Pluggable virtual HW"),
        ("vmotion", "vMotion"), ("xswitchvmotion", "X-Switch vMotion"), ("dr", "vShield Zones"), ("datarecovery", "vSphere Data Protection"),
        ("replication", "vSphere Replication"), ("fdm", "vSphere FT (up to 4 virtual CPUs)"), ("vvol", "vSphere Virtual Volumes"),
        ("storageapi", "Storage APIs"), ("vaai", "vStorage APIs for Array Integration"), ("drs", "vSphere DRS"),
        ("dpm", "vSphere Distributed Power Management"),
        ("sdrs", "vSphere Storage DRS"), ("svmotion", "Storage vMotion"), ("serialuri:2", "Remote virtual Serial Port Concentrator"),
        ("mpio", "MPIO / Third-Party Multi-Pathing"),
        ("dvs", "vSphere Distributed Switch"), ("hostprofile", "vSphere Host Profiles"), ("autodeploy", "vSphere Auto Deploy"), ("sriov", "SR-IOV"),
        ("iocontrol", "vSphere Storage I/O Control"), ("dvs_ext", "Direct Path vMotion"), ("cryptovm", "VM Encryption"), ("predictivedrs", "Predictive DRS"),
    ),
    VCENTER: (("vcha", "vCenter Server High Availability"), ("elm", "Enhanced Linked Mode"), ("vimapi", "VIM API")),
    VSAN: (("vsan", "vSAN"), ("vsan-dedup", "vSAN Deduplication and Compression"), ("vsan-stretch", "vSAN Stretched Cluster")),
}  # fmt: skip
_NAMES = {key.partition(":")[0]: name for rows in FEATURES.values() for key, name in rows}


def feature_name(key: str) -> str:
    return _NAMES.get(key.partition(":")[0], key)


def masked(key: str) -> str:
    """AAAAA-*****-*****-*****-EEEEE, or only stars for what has not the shape of a key."""
    if not SHAPE.match(key.upper()):
        return "********"
    groups = key.split("-")
    return "-".join([groups[0], "*****", "*****", "*****", groups[4]])


def fingerprint(key: str) -> str:
    """What a dump may say of a key so that two can be told apart."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Refusal:
    """What the decoder says of a key it does not take; None = not said."""

    diagnostic: str | None = None
    lc_error: int | None = None
    localized: str | None = None


@dataclass(frozen=True)
class License:
    key: str
    edition: str
    name: str
    product: str = ESX
    version: str = "8.0"
    unit: str = "cpuPackage"
    total: int = 0  # 0 = unlimited
    features: tuple[tuple[str, str], ...] = ()
    ends: float | None = None  # virtual time
    ends_as: tuple[str, ...] = ()  # date, hours, minutes: which properties say it
    count_disabled: bool = False
    refused: Refusal | None = None
    keeps_removed: bool = False
    silently_ignored: bool = False
    appears_after: float = 0.0
    assigned_after: float = 0.0

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]

    def has(self, feature: str) -> bool:
        wanted = feature.partition(":")[0]
        return any(key.partition(":")[0] == wanted for key, _name in self.features)


def units(unit: str, packages: list[tuple[int, int]]) -> int:
    """How much of a licence a machine needs; `packages` are (sockets, cores of each)."""
    name, _colon, limit = unit.partition(":")
    if name == "cpuPackage":
        per = int("".join(filter(str.isdigit, limit)) or 0)
        return sum(sockets * (-(-cores // per) if per else 1) for sockets, cores in packages)
    if name.lower() in ("cpucore", "cores", "core"):
        return sum(sockets * max(cores, 16) for sockets, cores in packages)  # KB 313548
    return 1  # server, instance and whatever else is counted whole


@dataclass
class Holder:
    """Whoever can hold a licence: a host, vCenter, or a cluster (for vSAN)."""

    id: str
    kind: str  # host, vcenter, cluster
    name: str
    product: str
    version: str
    profile: Profile
    packages: list[tuple[int, int]]
    key: str = NONE
    eval_left: float = 0.0  # seconds of evaluation left when eval_mark was
    eval_mark: float = 0.0
    in_use: tuple[str, ...] = ()
    host: Any = None  # HostSystem
    views: dict[str, Any] = field(default_factory=dict)

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]

    def left(self, now: float) -> float:
        """Seconds of evaluation left; they pass only while it is used."""
        return max(0.0, self.eval_left - (now - self.eval_mark if self.key == EVALUATION else 0.0))


@dataclass
class Entry:
    """A key in the inventory."""

    license: License
    labels: tuple[tuple[str, str], ...] = ()
    visible: float = 0.0
    used: int = 0
    ever_used: bool = False


class LicenseServer:
    def __init__(self, world: World, rows: list[tuple[Any, dict[str, Any]]]) -> None:
        data = world.scenario.data
        self.world = world
        self.options: dict[str, Any] = {**world.server_profile.license_options, **data.get("license_options", {})}
        self.given = set(data.get("license_options", {}))
        self.known: dict[str, License] = {}  # the decoder
        self.inventory: dict[str, Entry] = {}
        self.holders: dict[str, Holder] = {}
        self.pending: list[tuple[float, Holder, str]] = []
        self.views: dict[str, Any] = {}  # what was derived, see objects/license_manager.py
        listed: list[tuple[str, bool, tuple[tuple[str, str], ...]]] = []
        for index, row in enumerate(data.get("licenses", ())):
            made = _license(row, f"licenses[{index}]")
            if made.key in self.known:
                raise ScenarioError(f"licenses[{index}].key: {masked(made.key)} is there twice")
            self.known[made.key] = made
            in_it = row.get("inventory", world.kind == "vcenter") and made.refused is None
            listed.append((made.key, in_it, tuple((str(k), str(v)) for k, v in row.get("labels", {}).items())))
        for key, in_it, labels in listed:
            if in_it:
                self.inventory[key] = Entry(self.known[key], labels)
        self._holders(rows, "licenses" in data)
        for key, _in_it, labels in listed:
            if key in self.inventory:
                self.inventory[key].labels = labels if world.kind == "vcenter" else ()

    # ---- who there is ---------------------------------------------------------------------------------------------------------
    def _holders(self, rows: list[tuple[Any, dict[str, Any]]], spelt_out: bool) -> None:
        world = self.world
        if world.kind == "vcenter":
            wanted = world.scenario.data.get("vcenter", {})
            profile = world.profile
            own = Holder(world.instance_uuid, "vcenter", world.name, VCENTER, profile.license_version, profile, [(1, 1)])
            self._enter(own, wanted.get("license"), wanted.get("evaluation_days"), spelt_out, "vcenter.license")
            clusters: dict[str, Holder] = {}
            for item, _row in rows:
                above = item.above
                if above.moid.startswith("domain-c"):
                    holder = clusters.get(above.moid)
                    if holder is None:
                        holder = Holder(above.moid, "cluster", above.title, VSAN, profile.license_version, profile, [])
                        clusters[above.moid] = self.holders[above.moid] = holder
                    holder.packages.append(packages(item.state))
        for item, row in rows:
            profile = item.state.profile
            holder = Holder(item.moid, "host", item.state.name, ESX, profile.license_version, profile, [packages(item.state)])
            holder.host = item
            holder.in_use = tuple(row.get("features_in_use", ()))
            self._enter(holder, row.get("license"), row.get("evaluation_days"), spelt_out, f"hosts: {item.state.name}: license")
        if world.kind == "vcenter":
            for cluster, key in world.scenario.data.get("vcenter", {}).get("vsan_licenses", {}).items():
                found = [one for one in self.holders.values() if one.kind == "cluster" and one.name == cluster]
                # A fleet that is scaled down may have lost a cluster; a scenario that never had it is wrong.
                named = [one.get("cluster", "Cluster1") for one in world.scenario.data.get("hosts", ())]
                if not found and cluster not in named:
                    raise ScenarioError(f"vcenter.vsan_licenses: no cluster '{cluster}': {near(cluster, {one for one in named if one})}")
                for one in found:
                    self.put(one, self.wanted(key, f"vcenter.vsan_licenses.{cluster}"))

    def _enter(self, holder: Holder, wish: str | None, days: float | None, spelt_out: bool, where: str) -> None:
        self.holders[holder.id] = holder
        total = self.option("evaluation_days", holder)
        holder.eval_left = (total if days is None else days) * DAY
        if wish is None:
            wish = "evaluation" if spelt_out or days is not None else self._everybody(holder)
        self.put(holder, self.wanted(wish, where))

    def _everybody(self, holder: Holder) -> str:
        """What a scenario that says nothing of licences gives: more than enough for each generation, a file's edition on 9.x."""
        if self.option("license_files", holder):
            return FILE
        kind = "HYPER" if holder.product == ESX else "VCENT"
        key = f"FAKE0-{kind}-GEN{int(holder.major):02d}-XXXXX-EVERY"
        if key not in self.known:
            host = holder.product == ESX
            self.known[key] = License(
                key,
                "esx.enterprisePlus.cpuPackage" if host else "vc.standard.instance",
                f"VMware vSphere {holder.major} Enterprise Plus" if host else f"VMware vCenter Server {holder.major} Standard",
                holder.product,
                holder.version,
                "cpuPackage" if host else "server",
                _UNLIMITED,
                FEATURES[holder.product],
            )
        return key

    def wanted(self, wish: str, where: str) -> str:
        """What a scenario or an action means by a licence: a key in the inventory, or one of the words."""
        if wish in WORDS:
            return EVALUATION if wish == "evaluation" else wish
        if wish not in self.known or self.known[wish].refused is not None:
            # Suggested by its place, for keys are not shown in clear.
            close = difflib.get_close_matches(wish, [*self.known, *WORDS], n=1)
            hint = f"the words are {', '.join(WORDS)}"
            if close:
                places = {key: f"licenses[{index}] ({masked(key)})" for index, key in enumerate(self.known)}
                hint = f"did you mean {places.get(close[0], close[0])}?"
            raise ScenarioError(f"{where}: {masked(wish)} is no key of `licenses` that is taken: {hint}")
        self.inventory.setdefault(wish, Entry(self.known[wish]))
        return wish

    def option(self, name: str, holder: Holder | None = None) -> Any:
        """What the scenario says, else what the release of the holder (the server, with none) does."""
        if holder is not None and name not in self.given:
            return holder.profile.license_options[name]
        return self.options[name]

    def own(self) -> Holder:
        """The holder that is the server itself."""
        return next(iter(self.holders.values()))

    def rename(self, holder: Holder, id: str, name: str) -> None:
        """vCenter's place is taken by another one."""
        holder.id, holder.name = id, name
        self.holders = {one.id: one for one in self.holders.values()}
        self.forget()

    def forget(self) -> None:
        """What was derived under other options."""
        self.views.clear()
        for holder in self.holders.values():
            holder.views.clear()

    # ---- the inventory --------------------------------------------------------------------------------------------------------
    def decode(self, text: str) -> License | None:
        """What the decoder knows of a key; it knows some that it refuses."""
        return self.known.get(text if self.options["case_sensitive"] else text.upper())

    def behaves(self, license: License, name: str) -> Any:
        """A misbehaviour: of this key, or of the server."""
        return getattr(license, name) or self.options[name]

    def add(self, license: License, labels: tuple[tuple[str, str], ...] = ()) -> Entry:
        """Adding a key that is there changes its labels and nothing else."""
        entry = self.inventory.get(license.key)
        if entry is None:
            visible = self.world.virtual_now() + float(self.behaves(license, "appears_after"))
            entry = self.inventory[license.key] = Entry(license, (), visible if self.behaves(license, "appears_after") else 0.0)
        if self.world.kind == "vcenter":
            entry.labels = tuple({**dict(entry.labels), **dict(labels)}.items())
        return entry

    def entry(self, key: str) -> Entry | None:
        """A key of the inventory that can be seen by now."""
        found = self.inventory.get(key if self.options["case_sensitive"] else key.upper())
        return found if found is not None and found.visible <= self.world.virtual_now() else None

    def listed(self) -> list[Entry]:
        self.settle()
        now = self.world.virtual_now()
        return [entry for entry in self.inventory.values() if entry.visible <= now]

    def discard(self, key: str) -> None:
        """Out of the inventory, whoever holds it: those fall back."""
        for holder in self.holders.values():
            if holder.key == key:
                self.release(holder)
        self.inventory.pop(key, None)
        self.pending = [one for one in self.pending if one[2] != key]

    # ---- assignments ----------------------------------------------------------------------------------------------------------
    def need(self, license: License, holder: Holder) -> int:
        return units(license.unit, holder.packages)

    def put(self, holder: Holder, key: str) -> None:
        """A holder has this from now on; nothing is checked here."""
        now = self.world.virtual_now()
        holder.eval_left, holder.eval_mark = holder.left(now), now
        old, new = self.inventory.get(holder.key), self.inventory.get(key)
        if old is not None:
            old.used -= self.need(old.license, holder)
        if new is not None:
            new.used += self.need(new.license, holder)
            new.ever_used = True
        holder.key = key

    def put_later(self, holder: Holder, license: License) -> None:
        delay = float(self.behaves(license, "assigned_after"))
        if delay:
            self.pending.append((self.world.virtual_now() + delay, holder, license.key))
        else:
            self.put(holder, license.key)

    def settle(self) -> None:
        """Assignments that take their time and have arrived."""
        if not self.pending:
            return
        now = self.world.virtual_now()
        due = [one for one in self.pending if one[0] <= now]
        self.pending = [one for one in self.pending if one[0] > now]
        for _at, holder, key in due:
            self.put(holder, key)

    def release(self, holder: Holder) -> None:
        """Back into evaluation, or to nothing where that is spent or never was."""
        if holder.kind == "cluster" or holder.left(self.world.virtual_now()) <= 0:
            self.put(holder, NONE)
        else:
            self.put(holder, EVALUATION)

    def expired(self, license: License) -> bool:
        return license.ends is not None and license.ends <= self.world.virtual_now()

    def lapsed(self, holder: Holder) -> bool:
        """Whether what a holder has has run out."""
        entry = self.inventory.get(holder.key)
        return self.expired(entry.license) if entry else holder.key == EVALUATION and holder.left(self.world.virtual_now()) <= 0

    def tick(self) -> None:
        """Time has passed."""
        self.settle()
        if self.options["expiry"] == "disconnects" and self.world.kind == "vcenter":
            for holder in self.holders.values():
                if holder.host is not None and holder.host.state.connection == "connected" and self.lapsed(holder):
                    self.world.set_connection(holder.host, "disconnected")

    # ---- the dump -------------------------------------------------------------------------------------------------------------
    def days(self, ends: float) -> float:
        return round((ends - self.world.virtual_now()) / DAY, 1)

    def told(self, holder: Holder) -> dict[str, Any]:
        """What /state says of a holder: never a key in clear."""
        self.settle()
        now = self.world.virtual_now()
        entry = self.inventory.get(holder.key)
        return {
            "key": masked(entry.license.key) if entry else None,
            "fingerprint": fingerprint(entry.license.key) if entry else None,
            "edition": entry.license.edition if entry else {EVALUATION: "eval", FILE: self.options["file_edition"]}.get(holder.key),
            "evaluation": holder.key == EVALUATION,
            "evaluation_days": round(holder.left(now) / DAY, 1),
            "expired": self.lapsed(holder),
            "features_in_use": list(holder.in_use),
        }

    def dump(self) -> list[dict[str, Any]]:
        return [
            {
                "key": masked(entry.license.key),
                "fingerprint": fingerprint(entry.license.key),
                "edition": entry.license.edition,
                "name": entry.license.name,
                "product": entry.license.product,
                "version": entry.license.version,
                "cost_unit": entry.license.unit,
                "total": entry.license.total,
                "used": entry.used if entry.ever_used else None,
                "expires": None if entry.license.ends is None else self.days(entry.license.ends),
                "labels": dict(entry.labels),
            }
            for entry in self.listed()
        ]


def packages(host: Any) -> tuple[int, int]:
    return host.hardware["packages"], host.hardware["cores"] // host.hardware["packages"]


def _license(row: dict[str, Any], where: str) -> License:
    product = row.get("product", ESX)
    features = row.get("features")
    ends = [
        (float(row[name]) * seconds, form)
        for name, seconds, form in (("expires", DAY, "date"), ("expires_hours", HOUR, "hours"), ("expires_minutes", 60.0, "minutes"))
        if row.get(name, "never") != "never"
    ]
    made = License(
        key=row["key"],
        edition=row.get("edition", "esx.enterprisePlus.cpuPackage"),
        name=row.get("name", f"Simulated licence {where}"),
        product=product,
        version=row.get("version", "8.0"),
        unit=row.get("cost_unit", "cpuPackage" if product == ESX else "server"),
        total=row.get("total", 0),
        features=FEATURES.get(product, ()) if features is None else tuple((one, feature_name(one)) for one in features),
        ends=min(at for at, _form in ends) if ends else None,
        ends_as=tuple(form for _at, form in ends),
        count_disabled=row.get("count_disabled", False),
        keeps_removed=row.get("keeps_removed", False),
        silently_ignored=row.get("silently_ignored", False),
        appears_after=row.get("appears_after", 0.0),
        assigned_after=row.get("assigned_after", 0.0),
    )
    return replace(made, refused=Refusal(**row["refused"])) if "refused" in row else made

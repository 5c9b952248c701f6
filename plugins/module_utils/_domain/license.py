# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which licence is good for which host, and why not: facts and judgement, no I/O. Private to this collection."""

from __future__ import annotations

import datetime
import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import BadInput, listed
from .license_key import KeyMistake, LicenseKey, read_key
from .license_model import AddKey, AssignKey, Host, Inventory, License, RemoveKey, SetLabel, UnassignKey
from .license_pool import Pooled, Seeker, assign
from .plan import Change, Finding, Meaning, Plan, plain
from .table import as_csv

_MANUAL = "LicenseManager and LicenseAssignmentManager in the vSphere API reference"
MEANINGS = {
    "key_malformed": Meaning(
        "error",
        "The text is no licence key.",
        "Copy the key again from the portal.",
        "data structure LicenseKey in the VCF API reference",
    ),
    "key_ambiguous": Meaning(
        "error",
        "The text holds more than one key.",
        "Give one key an entry, in license_keys.",
        "data structure LicenseKey in the VCF API reference",
    ),
    "key_unknown": Meaning(
        "error",
        "The server's decoder does not take the key.",
        "Compare it with the portal, character by character; an older server does not know keys of newer products.",
        "DecodeLicense: properties diagnostic, lc_error, localizedDiagnostic (terraform-provider-vsphere PR 110)",
    ),
    "key_not_decoded": Meaning(
        "error",
        "The server could not be asked about the key.",
        "Run the task again; if that does not help, look at the services of the server.",
        "DecodeLicense",
    ),
    "key_is_evaluation": Meaning(
        "error",
        "The key of zeros means evaluation, it licenses nothing.",
        "Use a key of your own.",
        "govmomi simulator, LicenseManager",
    ),
    "key_not_for_esxi": Meaning(
        "error",
        "The key is for another product, such as vCenter or vSAN.",
        "Use a key of the product VMware ESX Server.",
        "LicenseInfo: property ProductName",
    ),
    "key_wrong_generation": Meaning(
        "error",
        "The key is for another major version than the host's.",
        "Change the key in the portal to the host's version, as after an upgrade of the host, or use another.",
        "LicenseInfo: property ProductVersion against licenseProductVersion of the host",
    ),
    "key_edition_unwanted": Meaning(
        "error", "The key is of another edition than asked for.", "Use another key, or another edition.", "LicenseInfo.editionKey"
    ),
    "key_lacks_feature": Meaning(
        "error",
        "The key's edition lacks a feature that the host uses.",
        "Use a key of the edition that has it, or stop using the feature first.",
        "LicenseAssignment: property inUseFeatures; fault LicenseDowngradeDisallowed",
    ),
    "key_expired": Meaning("error", "The key has expired.", "Renew it, or assign another key.", "LicenseInfo: property expirationDate"),
    "key_expires_soon": Meaning(
        "warning",
        "The key expires within warn_days.",
        "Renew it, or assign another key before that day: vCenter disconnects hosts whose key has expired.",
        "LicenseInfo: property expirationDate; KB 406836",
    ),
    "key_is_lease": Meaning(
        "note",
        "A subscription that tells minutes and no date: the time until it is renewed by itself, no expiry.",
        "Nothing to do while the server reaches its licence service.",
        "centreon-plugins#5628",
    ),
    "key_units_short": Meaning(
        "error",
        "The key has too few units left for the host; no host is licensed in part.",
        "Free units, buy more, or add another key to license_keys.",
        "LicenseInfo: total, used, costUnit; KB 313548 (16 cores at least a processor)",
    ),
    "key_not_added": Meaning(
        "error",
        "The key is not in vCenter's inventory, although it was to be added.",
        "See what the server said when it was added; where it said nothing, it may list the key late: run the task again.",
        "AddLicense, and LicenseManager.licenses read back",
    ),
    "pool_empty": Meaning(
        "error",
        "No key of the inventory is for ESXi and fits.",
        "Give keys in license_keys.",
        "LicenseManager.licenses",
    ),
    "key_over_used": Meaning(
        "warning",
        "More units are in use than the key has.",
        "Move hosts to another key: state: assigned with license_keys.",
        "LicenseInfo: total, used; event LicenseCapacityExceededEvent",
    ),
    "key_used_elsewhere": Meaning(
        "note", "Others than the selected hosts hold the key, too.", "Nothing to do; their units are taken into account.", _MANUAL
    ),
    "key_without_labels": Meaning("note", "Only vCenter keeps labels of keys.", "Leave labels out.", _MANUAL),
    "key_not_in_force": Meaning(
        "error",
        "The server took the key, and the host runs on another one.",
        "Look at the licence tab of the host; another user or a vCenter may have set its key.",
        "read back by QueryAssignedLicenses or LicenseManager.licenses",
    ),
    "key_in_use": Meaning(
        "error",
        "The key cannot be removed while somebody holds it.",
        "Assign them another key first; hosts that are selected give it up with allow_unlicensed: true.",
        "RemoveLicense; community.vmware's vcenter_license refuses it as well",
    ),
    "key_kept": Meaning(
        "error",
        "The server took the removal of the key and keeps it.",
        "Look in vCenter, licences, assets, for what still holds it, then run the task again.",
        "RemoveLicense: govc and the Terraform provider read the list again for this",
    ),
    "last_key": Meaning(
        "error",
        "Without this key the host would have no licence.",
        "Assign another key first; allow_unlicensed: true takes it away all the same.",
        "RemoveAssignedLicense; KB 406836 for what a host without a licence cannot do",
    ),
    "still_in_evaluation": Meaning(
        "error",
        "The server took the key, and the host does not run on it.",
        "Compare the key's units with the host's cores, see units; then look at the licence tab of the host in vCenter.",
        "read back by QueryAssignedLicenses; KB 413268",
    ),
    "host_in_evaluation": Meaning(
        "warning",
        "The host runs on its evaluation, whose days are counted only once.",
        "Assign a key that fits it before it ends (state: assigned).",
        "LicenseAssignment: property Evaluation; LicenseManager.evaluation",
    ),
    "host_evaluation_spent": Meaning(
        "error",
        "The host's evaluation has ended: VMs run on and cannot be started again, vCenter disconnects the host.",
        "Assign a key that fits it (state: assigned).",
        "LicenseAssignment: property Evaluation; KB 406836",
    ),
    "host_unlicensed": Meaning(
        "error",
        "No licence is assigned to the host.",
        "Assign a key that fits it (state: assigned).",
        "QueryAssignedLicenses; LicenseManager.licenses",
    ),
    "host_managed_by_vcenter": Meaning(
        "error",
        "A vCenter manages the host and overwrites what is set on the host itself.",
        "Run the task against that vCenter.",
        "License Key of an ESXi Host is Replaced, vSphere 6.0 manual",
    ),
    "license_files": Meaning(
        "note",
        "From 9.0 on licences come as files through VCF Operations and are assigned to the vCenter; no key is written.",
        "Look after it in VCF Operations, licence management.",
        "KB 428772, KB 418555",
    ),
    "license_unreadable": Meaning(
        "error",
        "The user may not read or decode licences.",
        "Grant Global.Licenses on the root folder.",
        "privileges of LicenseManager in the vSphere API reference",
    ),
    "expiry_clock_doubtful": Meaning(
        "error",
        "Two clocks disagree so much that the date of expiry means something else to each.",
        "Set the clocks right first: esxi_ntp_align, and timedatectl on this machine.",
        "measured: CurrentTime of the endpoint against this machine's clock",
    ),
    "certificate_expired": Meaning(
        "error",
        "The host's certificate has expired.",
        "Renew it in vCenter, or on the host by itself.",
        "HostCertificateManager.certificateInfo",
    ),
    "certificate_expires_soon": Meaning(
        "warning", "The host's certificate expires within warn_days.", "Renew it in vCenter.", "HostCertificateManager.certificateInfo"
    ),
    "certificate_unreadable": Meaning(
        "note",
        "The host's certificate could not be read.",
        "Grant Certificate.Manage on the host, if it is to be in the report.",
        "HostCertificateManager.certificateInfo",
    ),
}
# Why a host got no key: what was nearest to fitting is told.
_NEAREST = (
    "key_not_added",
    "key_units_short",
    "key_lacks_feature",
    "key_edition_unwanted",
    "key_expired",
    "key_wrong_generation",
    "key_is_evaluation",
    "key_not_for_esxi",
    "key_unknown",
    "key_not_decoded",
    "pool_empty",
)
_CLOCK_MATTERS = 60.0


def _found(code: str, text: str, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """``state`` empty: only tell. ``mistakes``: entries that are no keys, with the number of the entry, 0 for a single key."""

    state: str = ""
    keys: tuple[LicenseKey, ...] = ()
    mistakes: tuple[tuple[int, KeyMistake], ...] = ()
    from_inventory: bool = False
    edition: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    allow_unlicensed: bool = False
    warn_days: float = 30
    csv: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What Ansible has to keep out of every output, beside the options as they were typed."""
        return tuple(str(key.text) for key in self.keys)

    @property
    def judges_keys(self) -> bool:
        return bool(self.keys or self.mistakes or self.from_inventory)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What all hosts and keys together say, hosts by their object ids.

    ``goals``: the licence that a host is to get; ``reasons``: why it gets none; ``misfits``: why a key fits nobody;
    ``sent``: what was tried at the endpoint; ``selected``: the hosts that are meant, whether they could be read or not;
    ``over``: they are done; ``staying``: those of them that no wave has room for.
    """

    inventory: Inventory | None = None
    pool: tuple[License, ...] = ()
    goals: Mapping[str, License] = field(default_factory=dict)
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: Mapping[str, Finding] = field(default_factory=dict)
    misfits: Mapping[LicenseKey, Finding] = field(default_factory=dict)
    hosts: tuple[Host, ...] = ()
    sent: tuple[Change, ...] = ()
    selected: frozenset[str] = frozenset()
    over: bool = False
    staying: frozenset[str] = frozenset()

    @property
    def now(self) -> datetime.datetime | None:
        return self.inventory.now if self.inventory else None


# ---- input ----------------------------------------------------------------------------------------------------------


def parse(params: Mapping[str, Any]) -> Wanted:
    """Module options as a wish. Raises BadInput."""
    state = params.get("state") or ""
    if params.get("license_key") is not None and params.get("license_keys") is not None:
        raise BadInput("license_key and license_keys are both given", hint="Use license_keys for more than one key.")
    texts = [params["license_key"]] if params.get("license_key") is not None else params.get("license_keys") or []
    option = "license_key" if params.get("license_key") is not None else "license_keys"
    if params.get("license_keys") is not None and not texts:
        raise BadInput("license_keys is an empty list", hint="Leave it out, or fill it; often a variable is empty there.")
    keys: dict[LicenseKey, None] = {}
    mistakes = []
    for number, text in enumerate(texts, 1):
        try:
            keys[read_key(str(text))] = None
        except KeyMistake as mistake:
            if state != "valid":
                place = option if option == "license_key" else f"{option} entry {number}"
                raise BadInput(f"{place}: {mistake.cause}", hint=mistake.hint) from None
            mistakes.append((number if option == "license_keys" else 0, mistake))
    warn_days = 30 if params.get("warn_days") is None else params["warn_days"]
    if not 0 <= warn_days <= 3650:
        raise BadInput(f"warn_days {warn_days:g} is not between 0 and 3650", hint="30 warns a month ahead.")
    edition = (params.get("edition") or "").strip()
    if params.get("edition") is not None and not edition:
        raise BadInput("edition is empty", hint="Leave it out to take any, or name one, for example esx.enterprisePlus.*")
    wanted = Wanted(
        state=state,
        keys=tuple(keys),
        mistakes=tuple(mistakes),
        from_inventory=bool(params.get("from_inventory")),
        edition=edition,
        labels=tuple(sorted((str(name), str(value)) for name, value in (params.get("labels") or {}).items())),
        allow_unlicensed=bool(params.get("allow_unlicensed")),
        warn_days=float(warn_days),
        csv=bool(params.get("csv")),
    )
    _check_sense(wanted)
    return wanted


def _check_sense(wanted: Wanted) -> None:
    if wanted.state == "absent" and (not wanted.keys or wanted.from_inventory):
        raise BadInput("state: absent needs license_key or license_keys", hint="Name the keys that shall go.")
    if wanted.state == "assigned" and not wanted.keys and not wanted.from_inventory:
        raise BadInput(
            "state: assigned needs keys", hint="Give license_key or license_keys, or from_inventory: true to use those that vCenter has."
        )
    if wanted.labels and wanted.state != "assigned":
        raise BadInput("labels are for keys that are added", hint="Use them with state: assigned.")
    if wanted.allow_unlicensed and wanted.state != "absent":
        raise BadInput("allow_unlicensed is for keys that are taken away", hint="Use it with state: absent.")


def is_offline(wanted: Wanted, has_endpoint: bool) -> bool:
    """Form alone is judged without an endpoint, and where there is nothing that an endpoint could be asked about."""
    asked = wanted.state == "valid" and not wanted.from_inventory and bool(wanted.keys or wanted.mistakes)
    return asked and not (has_endpoint and wanted.keys)


def needs_hosts(wanted: Wanted) -> bool:
    return not (wanted.keys or wanted.mistakes) or wanted.from_inventory


# ---- keys and hosts -------------------------------------------------------------------------------------------------


def _unfit(known: License, wanted: Wanted, now: datetime.datetime | None) -> Finding | None:
    """What is wrong with a key whatever the host, or None."""
    who = known.key.masked
    if known.refusal:
        number = "" if known.refusal.code is None else f" (lc_error {known.refusal.code})"
        said = f'the server says "{known.refusal.text}"' if known.refusal.text else "the server says nothing about it"
        return _found("key_unknown", f"{who}: {said}{number}")
    if known.is_evaluation:
        return _found("key_is_evaluation", f"{who} is the key of the evaluation")
    if not known.is_for_esxi:
        return _found("key_not_for_esxi", f"{who} is for {known.product or known.edition or 'something else'}, it is called {known.name}")
    left = known.days_left(now)
    if left is not None and left <= 0:
        return _found("key_expired", f"{who} ({known.name}) {_when(known, left)}")
    if wanted.edition and not _is_edition(known, wanted.edition):
        return _found("key_edition_unwanted", f"{who} is {known.edition} ({known.name}), asked for is {wanted.edition}")
    return None


def _is_edition(known: License, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for text in (known.edition, known.name))


def _misfit(known: License, host: Host) -> Finding | None:
    """What keeps a good key from this host, apart from its units, or None."""
    if known.generation and host.generation and known.generation != host.generation:
        text = f"{known.key.masked} is for version {known.version}, the host ({host.version}) takes licences of version {host.generation}"
        return _found("key_wrong_generation", text)
    lacking = sorted(host.in_use - known.features) if known.features else []
    if lacking:
        return _found("key_lacks_feature", f"{known.key.masked} ({known.name}) lacks {_listed(lacking)}, in use on the host")
    return None


def _when(known: License, left: float) -> str:
    day = known.expires.strftime(", on %Y-%m-%d") if known.expires else ""
    return (f"expired {_span(-left)} ago" if left <= 0 else f"expires in {_span(left)}") + day


def _span(days: float) -> str:
    """Whole days, below two of them hours: never more than there is, but for a twentieth."""
    for size, name in ((1, "day"), (1 / 24, "hour"), (1 / 1440, "minute")):
        count = int(days / size + 0.05)
        if count >= 2 or name == "minute":
            return f"{count} {name}{'' if count == 1 else 's'}"
    return ""


def _of_date(known: License, seen: Survey, wanted: Wanted) -> list[Finding]:
    """What there is to say of the time that a key has left."""
    inventory = seen.inventory
    if inventory is None or known.is_evaluation or known.refusal:
        return []
    who = f"{known.key.masked} ({known.name})"
    if known.is_lease:
        return [_found("key_is_lease", f"{who} tells {_span((known.minutes_left or 0) / 1440)} and no date")]
    left = known.days_left(inventory.now)
    if left is None:
        return []
    found = []
    if known.expires and abs(inventory.offset) > _CLOCK_MATTERS:
        there = left - inventory.offset / 86400
        if _bracket(there, wanted) != _bracket(left, wanted):
            text = f"{who} {_when(known, left)} by this machine's clock, {_when(known, there)} by the server's ({inventory.offset:+.0f} s)"
            found.append(_found("expiry_clock_doubtful", text))
    if left <= 0:
        found.append(_found("key_expired", f"{who} {_when(known, left)}"))
    elif left <= wanted.warn_days:
        found.append(_found("key_expires_soon", f"{who} {_when(known, left)}"))
    return found


def _bracket(left: float | None, wanted: Wanted) -> int:
    """0: over, 1: soon, 2: not soon, or never."""
    return 2 if left is None or left > wanted.warn_days else 0 if left <= 0 else 1


def _units_short(known: License, host: Host, seen_users: str, free: int) -> Finding:
    needed = known.units(host.packages, host.cores)
    each = host.cores // host.packages if host.packages else 0
    size = f"{host.packages} processor{'' if host.packages == 1 else 's'} of {each} cores"
    least = ", 16 at least each" if needed > host.cores else ""
    return _found(
        "key_units_short",
        f"{known.key.masked} ({known.name}) has {max(free, 0)} of {known.total} {known.unit or 'units'} free and the host "
        f"needs {needed} ({size}{least}){seen_users}",
    )


def _listed(names: Iterable[str]) -> str:
    return listed(list(names), 5)


# ---- all hosts together ---------------------------------------------------------------------------------------------


def survey(states: Iterable[Host], common: Mapping[str, Any], wanted: Wanted) -> Survey:
    """Who is to get which key. ``common``: the ``inventory``, and what the pipeline says of the run (see ``Whole``)."""
    inventory: Inventory | None = common.get("inventory")
    hosts = tuple(states)
    if inventory is None:
        return Survey(hosts=hosts)
    seen = Survey(
        inventory=inventory,
        hosts=hosts,
        sent=tuple(common.get("sent") or ()),
        selected=frozenset(common.get("selected") or ()),
        over=bool(common.get("over")),
        staying=frozenset(common.get("staying") or ()),
    )
    if wanted.state not in ("valid", "assigned") or not (wanted.keys or wanted.from_inventory):
        return seen
    given = [known for key in wanted.keys if (known := inventory.of(key))]
    tried = {change.license.key for change in seen.sent if isinstance(change, AddKey)} - set(inventory.licenses)
    given = [known for known in given if known.key not in tried]
    more = [known for key, known in inventory.licenses.items() if wanted.from_inventory and key not in wanted.keys and known.is_for_esxi]
    pool = [known for known in (*given, *more) if not _unfit(known, wanted, inventory.now)]
    seekers = [host for host in hosts if not host.by_files and not host.vcenter]
    return replace(_assigned(seen, pool, seekers, wanted), pool=tuple(pool))


def _assigned(seen: Survey, pool: list[License], hosts: list[Host], wanted: Wanted) -> Survey:
    """Hosts without a good licence come first; those that have one of another key get what is left, and nobody moves for
    them."""
    by_id = {known.key.fingerprint: known for known in pool}
    seekers = _seekers(by_id, hosts)
    held: Counter[str] = Counter()
    for seeker in seekers:
        if seeker.holds:
            held[seeker.holds] += seeker.units
    # What others use is what the server counts beyond the hosts that are seen here; it may not count yet.
    left = {name: known.total - max((known.used or 0) - held[name], 0) if known.total else None for name, known in by_id.items()}
    soon = {name for name, known in by_id.items() if _bracket(known.days_left(seen.now), wanted) < 2}
    keys = [Pooled(id=name, free=free, rank=int(name in soon)) for name, free in left.items()]
    seekers = _crowded_out(seekers, left, held)
    content = {host.moid for host in hosts if _is_content(host, by_id, seen)}
    first = assign([seeker for seeker in seekers if seeker.id not in content], keys)
    then = assign([_settled(seeker, first.keys) for seeker in seekers], keys) if content else first
    plan = {**first.keys, **then.keys}
    gone: dict[str | None, list[str]] = {}
    for seeker in seekers:
        if seeker.id in first.keys:
            gone.setdefault(seeker.holds, []).append(seeker.id)
    after = {**{moid: tuple(sorted(gone.get(name, ()))) for moid, name in then.keys.items() if moid not in first.keys}, **first.after}
    taken: Counter[str] = Counter()
    unserved = []
    for host, seeker in zip(hosts, seekers, strict=True):
        key = plan.get(seeker.id, seeker.holds)
        if key:
            taken[key] += seeker.needs.get(key, seeker.units)
        if key not in seeker.needs:
            unserved.append(host)
    goals = {moid: by_id[name] for moid, name in plan.items()}
    free = {name: None if most is None else most - taken[name] for name, most in left.items()}
    seen = replace(seen, goals=goals, after={moid: others for moid, others in after.items() if others})
    return _explained(seen, pool, unserved, free, wanted)


def _seekers(by_id: Mapping[str, License], hosts: list[Host]) -> list[Seeker]:
    """Hosts that are alike share what they need."""
    kinds: dict[tuple[Any, ...], dict[str, int]] = {}
    seekers = []
    for host in hosts:
        kind = (host.generation, host.packages, host.cores, host.in_use)
        if kind not in kinds:
            kinds[kind] = {name: known.units(host.packages, host.cores) for name, known in by_id.items() if not _misfit(known, host)}
        holds = host.key.fingerprint if host.key and host.key.fingerprint in by_id else None
        units = by_id[holds].units(host.packages, host.cores) if holds else 0
        seekers.append(Seeker(id=host.moid, needs=kinds[kind], holds=holds, units=units))
    return seekers


def _crowded_out(seekers: list[Seeker], left: Mapping[str, int | None], held: Mapping[str, int]) -> list[Seeker]:
    """Of a key that is used beyond its units, the last hosts count as having none, so that they go elsewhere if they can."""
    excess = {name: held[name] - most for name, most in left.items() if most is not None and held[name] > most}
    found = {}
    for seeker in sorted(seekers, key=lambda seeker: seeker.id, reverse=True) if excess else ():
        if seeker.holds and excess.get(seeker.holds, 0) > 0 and seeker.holds in seeker.needs:
            excess[seeker.holds] -= seeker.units
            found[seeker.id] = replace(seeker, needs={name: need for name, need in seeker.needs.items() if name != seeker.holds})
    return [found.get(seeker.id, seeker) for seeker in seekers]


def _is_content(host: Host, by_id: Mapping[str, License], seen: Survey) -> bool:
    """Whether it runs on a good key, though on none of the pool."""
    held = host.license
    if held is None or host.key is None or host.key.fingerprint in by_id or held.refusal or _misfit(held, host):
        return False
    left = held.days_left(seen.now)
    return left is None or left > 0


def _settled(seeker: Seeker, keys: Mapping[str, str]) -> Seeker:
    """As it is after the first round: it stays where it is then."""
    key = keys.get(seeker.id, seeker.holds)
    if key is None:
        return seeker
    units = seeker.needs.get(key, seeker.units)
    return replace(seeker, needs={key: units} if key in seeker.needs else {}, holds=key, units=units)


def _explained(seen: Survey, pool: list[License], hosts: list[Host], free: Mapping[str, int | None], wanted: Wanted) -> Survey:
    """Why hosts get none of the keys; alike hosts have the same reason, which is made once."""
    inventory = seen.inventory
    good = {known.key for known in pool}
    asked = [known for key in wanted.keys if key not in good and inventory and (known := inventory.of(key))]
    of_keys = [_not_decoded(key, inventory) for key in wanted.keys if inventory and key in inventory.undecoded]
    of_keys += [_unfit(known, wanted, seen.now) or _found("key_not_added", f"{known.key.masked} ({known.name})") for known in asked]
    names = {host.moid: host.name for host in seen.hosts}
    coming: dict[LicenseKey, list[str]] = {}
    for moid, known in seen.goals.items():
        coming.setdefault(known.key, []).append(names.get(moid, moid))
    made: dict[tuple[Any, ...], Finding] = {}
    misfits: dict[LicenseKey, Finding] = {}
    reasons = {}
    for host in hosts:
        kind = (host.generation, host.packages, host.cores, host.in_use, host.version)
        if kind not in made:
            found = list(of_keys)
            for known in pool:
                users = _users(seen, known, coming.get(known.key, ()))
                found.append(_misfit(known, host) or _units_short(known, host, users, free[known.key.fingerprint] or 0))
                misfits.setdefault(known.key, found[-1])
            count = sum(known.is_for_esxi and not known.is_evaluation for known in inventory.licenses.values()) if inventory else 0
            nothing = _found("pool_empty", f"of the inventory's keys {count} are for ESXi")
            made[kind] = min(found, key=lambda finding: (_NEAREST.index(finding.code), finding.text), default=nothing)
        reasons[host.moid] = made[kind]
    serving = {known.key for known in seen.goals.values()} | {host.key for host in seen.hosts}
    return replace(seen, reasons=reasons, misfits={key: finding for key, finding in misfits.items() if key not in serving})


def _users(seen: Survey, known: License, coming: Iterable[str] = ()) -> str:
    names = seen.inventory.holders(known.key) if seen.inventory else ()
    held = f"; it is held by {_listed(user.name for user in names)}" if names else ""
    goes = _listed(sorted(coming))
    return held + (f"; it goes to {goes}" if goes else "")


# ---- one host -------------------------------------------------------------------------------------------------------


def plan(state: Host, wanted: Wanted, seen: Survey) -> Plan:
    """The writes that bring ``state`` to ``wanted``, and what there is to say about ``state``."""
    findings = _state_of(state, wanted, seen)
    if seen.inventory and seen.inventory.denied and (wanted.judges_keys or not state.known):
        return Plan(observed=state, findings=(*findings, _found("license_unreadable", seen.inventory.denied)))
    changes: tuple[Change, ...] = ()
    goal = seen.goals.get(state.moid)
    if wanted.state in ("valid", "assigned") and wanted.judges_keys:
        findings += _obstacles(state, wanted)
        reason = seen.reasons.get(state.moid)
        if reason:
            findings = [*(finding for finding in findings if finding.code != reason.code), reason]
        if goal and wanted.state == "assigned" and state.key != goal.key:
            changes = (AssignKey(goal),)
            if state.taken == goal.key:
                findings.append(_not_taken(state, goal))
    elif wanted.state == "absent":
        going = [key for key in (state.key, *state.also) if key in wanted.keys]
        if going and state.vcenter:
            findings += _obstacles(state, wanted)
        elif wanted.allow_unlicensed:
            changes = tuple(UnassignKey(key) for key in going if key)
            if state.kept and going:
                findings.append(_found("key_kept", f"the host still runs on {_listed(key.masked for key in going if key)}"))
        elif going:
            keys = _listed(key.masked for key in going if key)
            findings.append(_found("last_key", f"it runs on {keys}" if not state.also else f"it may be running on {keys}"))
    return Plan(observed=state, changes=changes, findings=tuple(findings), after=seen.after.get(state.moid, ()) if changes else ())


def _not_taken(state: Host, goal: License) -> Finding:
    if state.key and state.license:
        return _found("key_not_in_force", f"{goal.key.masked} was taken, and the host runs on {state.key.masked} ({state.license.name})")
    had = f"{state.license.name} is assigned" if state.license else "nothing is assigned"
    return _found("still_in_evaluation", f"{goal.key.masked} was taken, and {had} ({_size(state, goal)})")


def _obstacles(state: Host, wanted: Wanted) -> list[Finding]:
    if state.by_files:
        return [_found("license_files", f"the host is {state.version}", level="error")]
    if state.vcenter and wanted.state != "valid":
        return [_found("host_managed_by_vcenter", f"it is managed by the vCenter at {state.vcenter}")]
    return []


def _size(state: Host, known: License) -> str:
    free = "unlimited" if known.free is None else f"{max(known.free, 0)} of {known.total} free"
    return f"the host needs {known.units(state.packages, state.cores)} {known.unit or 'units'}, {free}"


def _state_of(state: Host, wanted: Wanted, seen: Survey) -> list[Finding]:
    """What there is to say of a host as it is. Where keys are judged, or taken away on purpose, that is no error."""
    found: list[Finding] = []
    if state.known:
        found = _by_files(state, wanted) if state.by_files else _licensed(state, wanted, seen)
    mild = (wanted.state == "valid" and wanted.judges_keys) or wanted.state == "absent"
    found = [replace(finding, level="note") if mild else finding for finding in found]
    return found + _certified(state, wanted, seen)


def _by_files(state: Host, wanted: Wanted) -> list[Finding]:
    if wanted.judges_keys:
        return []
    if not (state.license and state.license.is_evaluation) or state.evaluation_days is None:
        return [_found("license_files", f"the host is {state.version}")]
    left = state.evaluation_days
    text = (
        f"the host is {state.version}, {_span(left)} are left of its evaluation"
        if left > 0
        else f"the host is {state.version}, its evaluation has ended"
    )
    return [_found("license_files", text, level="error" if left <= 0 else "warning")]


def _licensed(state: Host, wanted: Wanted, seen: Survey) -> list[Finding]:
    held = state.license
    if held is None:
        return [_found("host_unlicensed", "nothing is assigned to it")]
    if not held.is_evaluation:
        misfit = _misfit(held, state)
        known = (seen.inventory.licenses.get(held.key) if seen.inventory else None) or held
        return [*([misfit] if misfit else []), *_of_key(known, seen, wanted)]
    if state.evaluation_days is None:
        return [_found("host_in_evaluation", "it does not say how long")]
    if state.evaluation_days <= 0:
        return [_found("host_evaluation_spent", "no day of the evaluation is left")]
    return [_found("host_in_evaluation", f"{_span(state.evaluation_days)} are left of it")]


def _certified(state: Host, wanted: Wanted, seen: Survey) -> list[Finding]:
    if state.certificate_error:
        return [_found("certificate_unreadable", state.certificate_error)]
    ends = state.certificate.not_after if state.certificate else None
    if ends is None or seen.now is None:
        return []
    left = (ends - seen.now).total_seconds() / 86400
    day = ends.strftime("%Y-%m-%d")
    if left <= 0:
        return [_found("certificate_expired", f"it expired on {day}, {_span(-left)} ago")]
    return [_found("certificate_expires_soon", f"it expires on {day}, in {_span(left)}")] if left <= wanted.warn_days else []


def after(read: Host, predicted: Host, waited: bool) -> Host:
    if predicted.key is None and read.key is not None:
        return replace(read, kept=True)
    return replace(read, taken=predicted.key) if read.key != predicted.key else read


def settled(state: Host, wanted: Wanted, seen: Survey) -> bool:
    return True


def patience(wanted: Wanted) -> float:
    return 0.0


# ---- the endpoint ---------------------------------------------------------------------------------------------------


def endpoint_plan(seen: Survey, wanted: Wanted) -> Plan:
    """Keys to add, to label and to remove, and what is to be said of keys."""
    inventory = seen.inventory
    mistakes = [_mistaken(number, mistake) for number, mistake in wanted.mistakes]
    if inventory is None:
        return Plan(observed=None, findings=tuple(mistakes))
    findings = [*mistakes, *([_found("license_unreadable", inventory.denied)] if inventory.denied else [])]
    changes: list[Change] = []
    if not wanted.state:
        for known in inventory.licenses.values():
            findings += _of_key(known, seen, wanted)
    for key in wanted.keys:
        judged, change = _given(key, seen, wanted)
        findings += judged
        changes += change
    return Plan(observed=replace(inventory, concerned=wanted.keys), changes=tuple(changes), findings=tuple(findings))


def _mistaken(number: int, mistake: KeyMistake) -> Finding:
    text = (f"entry {number}: " if number else "") + f"{mistake.cause}. {mistake.hint}"
    return _found("key_ambiguous", text) if mistake.code == "key_ambiguous" else _found("key_malformed", text)


def _not_decoded(key: LicenseKey, inventory: Inventory) -> Finding:
    return _found("key_not_decoded", f"{key.masked}: {inventory.undecoded[key]}")


def _of_key(known: License, seen: Survey, wanted: Wanted) -> list[Finding]:
    """A key of the inventory, as it is."""
    found = _of_date(known, seen, wanted)
    if known.refusal and (unknown := _unfit(known, wanted, seen.now)):
        found.append(unknown)
    if known.total and (known.used or 0) > known.total:
        found.append(
            _found("key_over_used", f"{known.key.masked} ({known.name}): {known.used} of {known.total} {known.unit}{_users(seen, known)}")
        )
    return found


def _going(key: LicenseKey, seen: Survey, wanted: Wanted, inventory: Inventory) -> tuple[list[Finding], list[Change]]:
    """Whether a key can be removed. That others hold it is no error where some hosts were meant: they gave it up."""
    known = inventory.licenses.get(key)
    if known is None or any(host.vcenter or key in (host.key, *host.also) for host in seen.hosts if not inventory.is_vcenter):
        return [], []
    expected = [host for host in seen.hosts if host.key == key and host.moid not in seen.staying]
    leaving = {host.moid for host in expected if wanted.allow_unlicensed and not seen.over}
    left = [user.name for user in inventory.holders(key) if user.entity not in leaving]
    level = "note" if seen.selected else "error"
    if left:
        return [_found("key_in_use", f"{key.masked} is held by {_listed(left)}", level=level)], []
    if inventory.is_vcenter and known.used and not leaving and not seen.over:
        return [_found("key_in_use", f"{key.masked}: {known.used} units are in use by somebody who cannot be seen", level=level)], []
    kept = [_found("key_kept", f"{key.masked} ({known.name}) is still listed")] if RemoveKey(key) in seen.sent else []
    return kept, [RemoveKey(key)]


def _given(key: LicenseKey, seen: Survey, wanted: Wanted) -> tuple[list[Finding], list[Change]]:
    """A key that was asked about: what is said of it, and what is done with it at a vCenter."""
    inventory = seen.inventory
    known = inventory.of(key) if inventory else None
    if inventory is None:
        return [], []
    users = inventory.holders(key)
    if wanted.state == "absent":
        return _going(key, seen, wanted, inventory)
    if key in inventory.undecoded and not inventory.denied:
        return [_not_decoded(key, inventory)], []
    if known is None:
        return [], []
    unfit = _unfit(known, wanted, seen.now)
    if unfit:
        others = wanted.state == "assigned" and len(seen.pool) > 0
        return [replace(unfit, level="warning") if others else unfit], []
    found = _of_key(known, seen, wanted)
    elsewhere = [user.name for user in users if user.entity not in seen.selected]
    if elsewhere:
        found.append(_found("key_used_elsewhere", f"{key.masked} is held by {_listed(elsewhere)}"))
    if wanted.state == "assigned" and wanted.labels and not inventory.is_vcenter:
        found.append(_found("key_without_labels", "the endpoint is a host by itself"))
    if wanted.state != "assigned" or not inventory.is_vcenter:
        return found, []
    if key not in inventory.licenses:
        if any(isinstance(change, AddKey) and change.license.key == key for change in seen.sent):
            found.append(_found("key_not_added", f"{key.masked} ({known.name}) is not listed"))
        return found, [AddKey(known, wanted.labels)]
    have = dict(known.labels)
    return found, [SetLabel(key, name, value) for name, value in wanted.labels if have.get(name) != value]


# ---- what is said ---------------------------------------------------------------------------------------------------


def settings(state: Host | Inventory | None) -> dict[str, Any]:
    """What a diff shows."""
    if state is None:
        return {}
    if isinstance(state, Inventory):
        concerned = [known for key in state.concerned if (known := state.licenses.get(key))]
        return {f"{known.key.masked} {known.key.fingerprint}": {"name": known.name, "labels": dict(known.labels)} for known in concerned}
    return {"license": state.key.masked if state.key else None, "fingerprint": state.key.fingerprint if state.key else None}


def report(state: Host | Inventory | None, wanted: Wanted, seen: Survey, *, full: bool) -> dict[str, Any]:
    """What a result says of a host beside its findings."""
    if not isinstance(state, Host) or not state.known:
        return {}
    held = state.license
    short = {
        "license": None if held is None else held.key.masked,
        "fits": _fitting(state, seen) if wanted.state == "valid" else None,
    }
    if not full:
        return short
    certificate = state.certificate
    return {
        **_license_report(held, seen),
        **short,
        "version": state.version,
        "generation": state.generation,
        "managed_by": "vcf_operations" if state.by_files else None,
        "processors": state.packages,
        "cores": state.cores,
        "units": None if held is None or held.is_evaluation else held.units(state.packages, state.cores),
        "evaluation_days": None if state.evaluation_days is None else round(state.evaluation_days, 2),
        "features_in_use": sorted(state.in_use) or None,
        "certificate": None if certificate is None else plain(certificate),
    }


def _license_report(held: License | None, seen: Survey) -> dict[str, Any]:
    if held is None:
        return {}
    left = held.days_left(seen.now)
    return {
        "license": held.key.masked,
        "fingerprint": held.key.fingerprint,
        "edition": held.edition,
        "license_name": held.name,
        "unit": held.unit or None,
        "expires": held.expires.isoformat() if held.expires else None,
        "days_left": None if left is None else round(left, 2),
    }


def _fitting(state: Host, seen: Survey) -> str | None:
    goal = seen.goals.get(state.moid)
    own = state.key if state.key in {known.key for known in seen.pool} and state.moid not in seen.reasons else None
    key = goal.key if goal else own
    return key.masked if key else None


def overview(seen: Survey, wanted: Wanted, plans: Mapping[str, Plan], away: Mapping[str, str]) -> dict[str, Any]:
    """The keys, those at risk first among the hosts, and the fleet as a table."""
    inventory = seen.inventory
    keys: list[dict[str, Any]] = []
    for number, mistake in wanted.mistakes:
        keys.append(
            {"entry": number or None, "verdict": mistake.code, "position": mistake.position, "text": mistake.cause, "hint": mistake.hint}
        )
    if inventory is None:
        keys += [{"key": key.masked, "fingerprint": key.fingerprint, "verdict": "well_formed"} for key in wanted.keys]
    else:
        whole = wanted.from_inventory or not (wanted.keys or wanted.mistakes)
        shown = dict.fromkeys((*wanted.keys, *(inventory.licenses if whole else ())))
        keys += [_key_report(known, seen, wanted) for key in shown if (known := inventory.of(key))]
        code = "license_unreadable" if inventory.denied else "key_not_decoded"
        for key, text in inventory.undecoded.items():
            row = {"key": key.masked, "fingerprint": key.fingerprint, "verdict": code, "text": text, "hint": MEANINGS[code].hint}
            keys.append({**row, "in_inventory": False})
    result: dict[str, Any] = {"licenses": keys, "msg": _headline(keys, seen, wanted)}
    if inventory is not None:
        result["at_risk"] = _at_risk(seen, wanted, plans, away)
        if wanted.csv:
            result["csv"] = _csv(seen, plans, away)
    return result


def capacity(seen: Survey) -> list[dict[str, Any]]:
    """The endpoint's keys with what is used of them and how long they hold, for a report of the whole."""
    rows = []
    for known in seen.inventory.licenses.values() if seen.inventory else ():
        left = known.days_left(seen.now)
        rows.append(
            {
                "key": known.key.masked,
                "fingerprint": known.key.fingerprint,
                "name": known.name or None,
                "unit": known.unit or None,
                "total": known.total or None,
                "used": known.used,
                "expires": known.expires.isoformat() if known.expires else None,
                "days_left": None if left is None else round(left, 2),
            }
        )
    return sorted(rows, key=lambda row: str(row["fingerprint"]))


def _headline(keys: list[dict[str, Any]], seen: Survey, wanted: Wanted) -> str:
    """How many keys there are, of which kind, and what became or would become of them at the endpoint."""
    counts = Counter(key["verdict"] for key in keys) if wanted.state != "absent" else Counter()
    known = seen.inventory.licenses if seen.inventory else {}
    added = sum(isinstance(change, AddKey) and change.license.key in known for change in seen.sent)
    removed = sum(isinstance(change, RemoveKey) and change.key not in known for change in seen.sent)
    told = [f"{count} {name}" for name, count in counts.most_common()]
    told += [f"{count} {name}" for count, name in ((added, "added"), (removed, "removed")) if count]
    text = f"{len(keys)} key{'' if len(keys) == 1 else 's'}" + (": " + ", ".join(told) if told else "")
    return text + ("; no host was selected" if wanted.state == "assigned" and seen.inventory and not seen.selected else "")


def _key_report(known: License, seen: Survey, wanted: Wanted) -> dict[str, Any]:
    inventory = seen.inventory
    unfit = _unfit(known, wanted, seen.now) if known.key in wanted.keys else None
    misfit = seen.misfits.get(known.key)
    findings = [unfit] if unfit else [finding for finding in _of_key(known, seen, wanted) if finding.level != "note"]
    findings += [misfit] if misfit and not unfit else []
    worst = min(findings, key=lambda finding: finding.level, default=None)
    left = known.days_left(seen.now)
    return {
        "key": known.key.masked,
        "fingerprint": known.key.fingerprint,
        "verdict": worst.code if worst else "evaluation" if known.is_evaluation else "good",
        "text": worst.text if worst else None,
        "hint": worst.hint if worst else None,
        "name": known.name,
        "edition": known.edition,
        "product": known.product,
        "version": known.version,
        "unit": known.unit,
        "total": known.total or None,
        "unlimited": known.total == 0 and not known.refusal,
        "used": known.used,
        "free": known.free,
        "expires": known.expires.isoformat() if known.expires else None,
        "days_left": None if left is None else round(left, 2),
        "lease_minutes": known.minutes_left if known.is_lease else None,
        "labels": dict(known.labels),
        "in_inventory": bool(inventory and known.key in inventory.licenses),
        "used_by": [user.name for user in (inventory.holders(known.key) if inventory else ())],
    }


def _at_risk(seen: Survey, wanted: Wanted, plans: Mapping[str, Plan], away: Mapping[str, str]) -> list[dict[str, Any]]:
    """Hosts with a finding above a note, the worst first, then those with the least time left."""
    rows = []
    for name, made in plans.items():
        findings = [finding for finding in made.findings if finding.level != "note"]
        if findings:
            rows.append(
                (
                    min(("error", "warning").index(f.level) for f in findings),
                    _time_left(made.observed, seen),
                    name,
                    [f.code for f in findings],
                )
            )
    users = {user.entity: user for user in (seen.inventory.users if seen.inventory else ())}
    for name, moid in away.items():
        user = users.get(moid)
        known = seen.inventory.of(user.key) if user and seen.inventory else None
        codes = [finding.code for finding in _of_date(known, seen, wanted)] if known else []
        rows.append((0, known.days_left(seen.now) or 0.0 if known else 0.0, name, ["host_away", *codes]))
    return [{"host": name, "codes": codes} for _level, _left, name, codes in sorted(rows, key=lambda row: row[:3])]


def _time_left(host: Host, seen: Survey) -> float:
    left = [host.license.days_left(seen.now) if host.license else 0.0, host.evaluation_days]
    return min((days for days in left if days is not None), default=1e9)


_COLUMNS = (
    *(
        "host",
        "moid",
        "version",
        "license_name",
        "edition",
        "license",
        "fingerprint",
        "generation",
        "units",
        "unit",
        "expires",
        "days_left",
    ),
    *("evaluation_days", "findings", "certificate_subject", "certificate_issuer", "certificate_not_before", "certificate_not_after"),
    "certificate_status",
)


def _csv(seen: Survey, plans: Mapping[str, Plan], away: Mapping[str, str]) -> str:
    rows: list[dict[str, Any]] = []
    users = {user.entity: user for user in (seen.inventory.users if seen.inventory else ())}
    for name, moid in away.items():  # all that is known of them is what vCenter remembers
        user = users.get(moid)
        facts = _license_report(seen.inventory.of(user.key) if user and seen.inventory else None, seen)
        rows.append({**facts, "host": name, "moid": moid, "findings": "host_away"})
    for name, made in plans.items():
        facts = report(made.observed, Wanted(), seen, full=True)
        certificate = facts.get("certificate") or {}
        rows.append(
            {
                **facts,
                **{f"certificate_{part}": value for part, value in certificate.items()},
                "host": name,
                "moid": made.observed.moid,
                "findings": " ".join(finding.code for finding in made.findings),
            }
        )
    return as_csv(_COLUMNS, rows)

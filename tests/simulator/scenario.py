# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario files: a fleet in a few lines, validated to the letter (a misspelt key is an error with a suggestion, never ignored)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import faults, license, profile
from .errors import ScenarioError
from .hardware import FEATURES
from .profile import near
from .software import LEVELS

FOLDER = Path(__file__).parent / "scenarios"

Check = Callable[[Any, str], Any]


def _kind(types: Any, what: str) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in (types if isinstance(types, tuple) else (types,))):
            raise ScenarioError(f"{where} is {value!r}, it must be {what}")
        return value

    return check


text = _kind(str, "a text")
number = _kind((int, float), "a number")
whole = _kind(int, "a whole number")
flag = _kind(bool, "true or false")


def choice(*names: str) -> Check:
    def check(value: Any, where: str) -> Any:
        # YAML 1.1 reads on, off and true as booleans; people write them all the same.
        value = (
            {True: "on" if "on" in names else "true", False: "off" if "off" in names else "false"}.get(value, value)
            if isinstance(value, bool)
            else value
        )
        if value not in names:
            raise ScenarioError(f"{where} is {value!r}: {near(str(value), names)}")
        return value

    return check


def one_of(*values: int) -> Check:
    def check(value: Any, where: str) -> Any:
        if isinstance(value, bool) or value not in values:
            raise ScenarioError(f"{where} is {value!r}, it must be {' or '.join(str(one) for one in values)}")
        return value

    return check


def address(value: Any, where: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ScenarioError(f"{where} is {value!r}, it must be an IP address") from None
    return text(value, where)


def needs(inner: Check, *required: str) -> Check:
    def check(value: Any, where: str) -> Any:
        made = inner(value, where)
        for key in required:
            if key not in made:
                raise ScenarioError(f"{where}: the key '{key}' is missing")
        return made

    return check


def optional(inner: Check) -> Check:
    return lambda value, where: None if value is None else inner(value, where)


def many(inner: Check) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise ScenarioError(f"{where} is {value!r}, it must be a list")
        return [inner(item, f"{where}[{index}]") for index, item in enumerate(value)]

    return check


def keys(**known: Check) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise ScenarioError(f"{where} is {value!r}, it must have the keys {', '.join(known)}")
        for key in value:
            if key not in known:
                raise ScenarioError(f"{where}{': ' if where else ''}unknown key '{key}': {near(key, known)}")
        return {key: known[key](item, f"{where}.{key}" if where else key) for key, item in value.items()}

    return check


def named(inner: Check) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise ScenarioError(f"{where} is {value!r}, it must map names to settings")
        return {str(key): inner(item, f"{where}.{key}") for key, item in value.items()}

    return check


def offset(value: Any, where: str) -> Any:
    if isinstance(value, list) and len(value) == 2:
        return [number(item, where) for item in value]
    return number(value, where)


def profile_name(value: Any, where: str) -> str:
    if str(value) not in profile.names():
        raise ScenarioError(f"{where} is '{value}', no such profile: {near(str(value), profile.names())}")
    return str(value)


_FAULT_CLASS = choice("HostConfigFault", "InvalidState", "NotSupported", "InvalidArgument", "RestrictedByAdministrator", "SystemError")

HOST_OPTIONS = {
    "keyed_paths": choice("true", "false", "missing"),
    "service_owned_toggle_fault": _FAULT_CLASS,
    "service_owned_iplist_fault": _FAULT_CLASS,
    "required_ruleset_fault": _FAULT_CLASS,
    "required_service_fault": _FAULT_CLASS,
    "ntp_restart_needed": flag,
    "enabled_follows_service": flag,
    "service_opens_ruleset": flag,
    "panic_threshold": number,
    "config_when_disconnected": choice("cached", "unset"),
    "firewall_established": choice("survive", "cut"),
    "firewall_info": choice("normal", "unset"),
    "keeps_list_when_all_ip": flag,
    "empty_list_fault": optional(_FAULT_CLASS),
    "nvme_commands": choice("controller", "device", "none"),
    "reboot_seconds": number,
    "notice_seconds": number,
    "comes_back": choice("connected", "disconnected", "never"),
    "power_answer": choice("task", "back"),
    "power_works": flag,
    "acceptance_below_secure_boot": choice("refused", "taken"),
    "secure_boot_install": choice("refused", "boot_fails"),
    "forced_below_level": choice("refused", "taken"),
    "image_managed_install": choice("taken", "refused"),
    "gunzip_checksum_needed": flag,
    "refresh_after_install": flag,
    "custom_ruleset_controllable": flag,
    "custom_ruleset_remembered": flag,
    "put_existing": one_of(200, 201),
    "no_space_status": one_of(500, 507),
    "extensibility_rules": flag,
    "secure_boot_told": flag,
    "esxcli_privilege": text,
    "esxcli_errors": choice("lines", "joined"),
}

VCENTER_OPTIONS = {
    "gzip": flag,
    "keyed_paths": choice("true", "false", "missing"),
    "config_when_disconnected": choice("cached", "unset"),
    "firewall_established": choice("survive", "cut"),
    "heartbeat_timeout": number,
    "max_objects": whole,
    "max_sessions": whole,
    "session_idle_timeout": number,
    "task_delay": number,
}

_LICENSE_FAULT = choice(
    "NotEnoughLicenses",
    "LicenseKeyEntityMismatch",
    "InvalidEditionLicense",
    "LicenseDowngradeDisallowed",
    "LicenseExpired",
    "ExpiredFeatureLicense",
    "LicenseRestricted",
    "NoLicenseServerConfigured",
    "LicenseAssignmentFailed",
    "InvalidArgument",
    "InvalidState",
    "NotSupported",
    "taken",
)
_MISBEHAVIOUR = {"keeps_removed": flag, "silently_ignored": flag, "appears_after": number, "assigned_after": number}

LICENSE_OPTIONS = {
    "evaluation_days": number,
    "automatic_licenses": flag,
    "license_files": flag,
    "file_refusal": choice("diagnostic", "NotSupported"),
    "file_assigned": _LICENSE_FAULT,
    "file_edition": text,
    "number_type": choice("int", "long"),
    "evaluation_as": many(choice("date", "hours", "minutes")),
    "expiration_minutes": choice("total", "rest"),
    "evaluation_listed": choice("always", "in_use"),
    "vcenter_evaluation_edition": text,
    "never_used": choice("unset", "zero"),
    "unlicensed": choice("absent", "empty"),
    "in_use_features": choice("list", "each"),
    "refusal_properties": optional(many(choice("diagnostic", "lc_error", "localizedDiagnostic"))),
    "refused_key_echoed": flag,
    "case_sensitive": flag,
    "licenses_without_privilege": choice("shown", "empty"),
    "wrong_product": _LICENSE_FAULT,
    "wrong_generation": _LICENSE_FAULT,
    "no_room": _LICENSE_FAULT,
    "feature_in_use": _LICENSE_FAULT,
    "expired_key": _LICENSE_FAULT,
    "unlisted_assigned": choice("licenseKey", "entityId", "added"),
    "unlisted_removed": choice("ignored", "InvalidArgument", "InvalidState"),
    "unknown_entity_queried": choice("empty", "LicenseEntityNotFound"),
    "remove_in_use": choice("kept", "removed", "InvalidArgument", "InvalidState"),
    "lost_host": choice("taken", "refused"),
    "expiry": choice("nothing", "disconnects"),
    **_MISBEHAVIOUR,
}


def license_key(value: Any, where: str) -> str:
    """Keys are not repeated in errors: somebody may have written a real one."""
    if not isinstance(value, str) or not license.SHAPE.match(value) or not license.ALPHABET.match(value):
        raise ScenarioError(f"{where}: a key is five groups of five digits and capitals, without B, I, O and S")
    return value


def never_or(inner: Check) -> Check:
    return lambda value, where: value if value == "never" else inner(value, where)


LICENSE = needs(
    keys(
        key=license_key,
        edition=text,
        name=text,
        product=text,
        version=text,
        cost_unit=text,
        total=whole,
        expires=never_or(number),
        expires_hours=number,
        expires_minutes=number,
        count_disabled=flag,
        features=many(text),
        labels=named(text),
        inventory=flag,
        refused=keys(diagnostic=text, lc_error=whole, localized=text),
        **_MISBEHAVIOUR,
    ),
    "key",
)
_REFUSAL = choice("InvalidState", "InvalidVmState", "NotSupported", "EncryptionKeyRequired", "GenericVmConfigFault")
CRYPTO_OPTIONS = {
    "locked_config": choice("unset", "readable"),
    "locked_connection_state": choice("invalid", "connected"),
    "push_on_connect": flag,
    "unlock_when_provider_returns": flag,
    "unlock_enables_host": flag,
    "new_host_key": flag,
    "mode_after_reboot": choice("incapable", "prepared"),
    "reload_fetches_keys": flag,
    "power_on_fetches_keys": flag,
    "power_on_locked_fault": _REFUSAL,
    "disk_key_fault": _REFUSAL,
    "unlock_faults": choice("task", "call"),
    "unlock_lacks_disk_key": choice("success", "InvalidVmState"),
    "unlock_plain": choice("success", "InvalidState", "InvalidVmState", "NotSupported"),
    "unlock_unlocked": choice("success", "InvalidState", "InvalidVmState"),
    "register_without_privilege": choice("NoPermission", "locked"),
    "register_locked": choice("registers", "EncryptionKeyRequired"),
    "unreachable_reason": choice("KeyStateClusterUnreachable", "KeyStateMissingInCache"),
    "provider_permissions": flag,
    "encrypted_vms": choice("all", "readable"),
    "first_provider_default": flag,
    "alarm_system_name": optional(text),
    "fingerprint": choice("sha1", "sha256"),
    "add_key_unlocks": flag,
}

KEY_PROVIDER = needs(
    keys(
        name=text,
        kind=choice("vCenter", "nativeProvider", "trustAuthority"),
        servers=many(text),
        default=flag,
        trusts_server=flag,
        trusted_by_server=flag,
        wrapped=flag,
        has_backup=flag,
        tpm_required=flag,
    ),
    "name",
)
MACHINE = keys(
    count=whole,
    name=text,
    host=text,
    folder=text,
    pool=text,
    provider=optional(text),
    key=text,
    disks=many(keys(gb=whole, provider=text, key=text)),
    power=choice("on", "off"),
    pinned=flag,
    agent=flag,
    guest=keys(name=text, addresses=many(address)),
    autostart=flag,
    state=choice("orphaned", "inaccessible", "invalid"),
    annotation=text,
    snapshots=many(text),
    consolidation_needed=flag,
    permissions=many(needs(keys(principal=text, role=whole, group=flag, propagate=flag), "principal", "role")),
    custom_values=named(text),
    tags=many(text),
)


def _action(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get("do"), str):
        raise ScenarioError(f"{where}: an action has the key 'do' and what that action needs")
    return value


CERTIFICATE = keys(
    days=number,
    issuer=text,
    subject=text,
    status=choice("unknown", "expired", "expiring", "expiringShortly", "expirationImminent", "good"),
)

# Rulesets that no release ships, in a package or made by hand; rules as in profiles/rulesets.yml.
OWN_RULESET = needs(keys(key=text, rules=many(text), enabled=flag), "key", "rules")
SOFTWARE = needs(
    keys(
        name=text,
        version=text,
        vendor=text,
        acceptance=choice(*LEVELS),
        summary=text,
        description=text,
        maintenance_required=flag,
        live_install=flag,
        live_remove=flag,
        tags=many(text),
        files=many(text),
        depends=many(text),
        conflicts=many(text),
        payloads=many(text),
        signed=flag,
        rulesets=many(OWN_RULESET),
    ),
    "name",
)
DATASTORE = needs(keys(name=text, shared=flag, free_mb=number, accessible=flag, read_only=flag), "name")

# Hardware that is not the profile's; see hardware.py, which knows the names of devices.
HARDWARE = keys(
    captured=flag,
    told=flag,
    vendor=text,
    model=text,
    firmware=choice("UEFI", "BIOS"),
    memory_gb=number,
    memory_bytes=whole,
    cpu=keys(
        vendor=choice("intel", "amd", "hygon"), family=whole, model=whole, stepping=whole, brand=text, missing=many(choice(*FEATURES))
    ),
    pci=many(
        needs(
            keys(
                **{"is": text, "address": text, "driver": text, "nvme": text, "passthrough": choice("no", "capable", "enabled", "active")}
            ),
            "is",
        )
    ),
    graphics=many(keys(name=text, vendor=text, address=text, type=text, memory_mb=whole)),
    boot=keys(name=text, vendor=text, model=text, gb=number, usb=flag, network=flag),
    software_fcoe=flag,
)

HOST = keys(
    count=whole,
    name=text,
    profile=profile_name,
    datacenter=text,
    cluster=optional(text),
    folder=optional(text),
    state=choice("connected", "disconnected", "not_responding", "maintenance"),
    reboot_required=flag,
    clock=keys(offset=offset, drift_ppm=number),
    time=keys(
        servers=many(text),
        active_servers=many(text),
        protocol=choice("ntp", "ptp"),
        enabled=flag,
        disable_events=flag,
        disable_fallback=flag,
        ptp_domain=whole,
        ptp_grandmaster=choice("reachable", "gone"),
        time_zone=text,
        last_sync=optional(number),
    ),
    services=named(keys(running=flag, policy=choice("on", "off", "automatic"))),
    rulesets=named(
        keys(
            enabled=flag,
            allowed_hosts=keys(all_ip=flag, ip_address=many(text), ip_network=many(text)),
        )
    ),
    default_policy=keys(incoming_blocked=flag, outgoing_blocked=flag),
    unreachable_servers=many(text),
    managed_by=address,
    dns=many(address),
    dhcp=flag,
    nfs=many(needs(keys(server=text, address=address, version=one_of(3, 41)), "server")),
    iscsi=many(needs(keys(address=text, port=whole), "address")),
    vsan=flag,
    vms=whole,
    sockets=whole,
    cores=whole,
    hardware=HARDWARE,
    license=text,
    evaluation_days=number,
    features_in_use=many(text),
    certificate=CERTIFICATE,
    crypto=keys(mode=choice("incapable", "prepared", "safe"), provider=text, tpm=flag),
    options=keys(**HOST_OPTIONS),
    software=many(SOFTWARE),
    acceptance=choice(*LEVELS),
    secure_boot=flag,
    require_secure_boot=flag,
    exec_installed_only=flag,
    require_exec_installed_only=flag,
    tpm=keys(version=choice("1.2", "2.0"), mode=choice("TPM", "NONE")),
    image_managed=flag,
    datastores=many(DATASTORE),
)


def _fault(value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ScenarioError(f"{where} is {value!r}, it must have keys")
    faults.make(value, where)
    return value


SCENARIO = keys(
    name=text,
    description=text,
    kind=choice("vcenter", "esxi"),
    seed=whole,
    client_address=address,
    vcenter=keys(
        profile=profile_name,
        name=text,
        address=address,
        clock=keys(offset=number),
        runs_on=text,
        machine=text,
        license=text,
        evaluation_days=number,
        vsan_licenses=named(text),
        options=keys(**VCENTER_OPTIONS),
    ),
    clusters=named(
        keys(drs=choice("manual", "partiallyAutomated", "fullyAutomated"), ha=flag, admission_control=flag, admission_control_holds=flag)
    ),
    licenses=many(LICENSE),
    license_options=keys(**LICENSE_OPTIONS),
    key_servers=many(text),
    key_providers=many(KEY_PROVIDER),
    crypto_options=keys(**CRYPTO_OPTIONS),
    virtual_machines=many(MACHINE),
    begin=many(_action),
    users=named(
        keys(password=text, privileges=many(text), deny=many(keys(privilege=text, entity=text))),
    ),
    hosts=many(HOST),
    time_servers=named(keys(reachable=flag, offset=number, address=text)),
    time_servers_default=choice("reachable", "unreachable"),
    sync_after=number,
    faults=many(_fault),
    tls=keys(certificate=choice("valid", "expired", "wrong_name"), handshake=choice("normal", "silent")),
)


@dataclass(frozen=True)
class Scenario:
    name: str
    data: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", "vcenter"))

    @property
    def seed(self) -> int:
        return int(self.data.get("seed", 1))


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


def load(source: Any) -> Scenario:
    """A scenario by name, from a file, or given as data."""
    if isinstance(source, dict):
        return Scenario(str(source.get("name", "inline")), _checked(source, "scenario"))
    path = Path(source)
    if path.suffix not in (".yml", ".yaml"):
        if str(source) not in names():
            raise ScenarioError(f"unknown scenario '{source}': {near(str(source), names())}, or the path of a .yml file")
        path = FOLDER / f"{source}.yml"
    raw = profile.read_yaml(path)
    return Scenario(path.stem, _checked(raw, str(path)))


def _checked(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ScenarioError(f"{where}: a scenario is a mapping with the keys of README.md, this is {type(raw).__name__}")
    try:
        return dict(SCENARIO(raw, ""))
    except ScenarioError as exc:
        raise ScenarioError(f"{where}: {exc}") from None


def scaled(rows: list[dict[str, Any]], wanted: int | None) -> list[dict[str, Any]]:
    """The host entries with their counts scaled to `wanted` hosts in all, shares kept (largest remainder)."""
    counts = [int(row.get("count", 1)) for row in rows]
    total = sum(counts)
    if wanted is None or total == 0 or wanted == total:
        return [{**row, "count": count} for row, count in zip(rows, counts, strict=True)]
    exact = [count * wanted / total for count in counts]
    made = [int(share) for share in exact]
    by_rest = sorted(range(len(rows)), key=lambda i: (made[i] - exact[i], i))
    for index in by_rest[: wanted - sum(made)]:
        made[index] += 1
    return [{**row, "count": count} for row, count in zip(rows, made, strict=True)]

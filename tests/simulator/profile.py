# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles: what a release of ESXi (or vCenter) has, read from profiles/*.yml. Unknown facts are options there, not guesses in code."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import ScenarioError
from .state import RulesetState, ServiceState, StateMap
from .versions import APIS, Api, at_least

FOLDER = Path(__file__).parent / "profiles"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, eq=False)  # compared and cached by identity: a profile is loaded once
class Service:
    key: str
    label: str
    policy: str
    running: bool
    required: bool = False
    ruleset: tuple[str, ...] = ()
    package: str = "esx-base"


@dataclass(frozen=True)
class Rule:
    direction: str  # inbound | outbound
    protocol: str
    port_type: str  # src | dst
    port: int
    end_port: int | None


@dataclass(frozen=True, eq=False)
class Ruleset:
    key: str
    label: str
    rules: tuple[Rule, ...]
    enabled: bool
    required: bool
    service: str | None
    owner: str | None
    toggle: bool | None
    ip_list: bool | None

    def covers(self, direction: str, protocol: str, port: int) -> bool:
        """Whether one of its rules has this destination port."""
        return any(
            rule.direction == direction
            and rule.protocol == protocol
            and rule.port_type == "dst"
            and rule.port <= port <= (rule.end_port or rule.port)
            for rule in self.rules
        )


@dataclass(frozen=True, eq=False)
class Profile:
    name: str
    version: str
    api: Api
    build: str
    patch_level: str
    license_version: str
    services: dict[str, Service]
    rulesets: dict[str, Ruleset]
    service_states: StateMap
    ruleset_states: StateMap
    time: dict[str, Any]
    capability: dict[str, Any]
    hardware: dict[str, Any]
    advanced: dict[str, Any]
    options: dict[str, Any]
    license_options: dict[str, Any]
    crypto_options: dict[str, Any]
    ports: dict[tuple[str, str, int], tuple[str, ...]]  # filled by covering()

    def covering(self, direction: str, protocol: str, port: int) -> tuple[str, ...]:
        """The rulesets that have a rule for a destination port, wide-open ones included."""
        key = (direction, protocol, port)
        found = self.ports.get(key)
        if found is None:
            found = tuple(row.key for row in self.rulesets.values() if row.covers(direction, protocol, port))
            self.ports[key] = found
        return found

    @property
    def has_time_service(self) -> bool:
        """HostDateTimeConfig.enabled, protocol and the like came with API 7.0.3.0."""
        return at_least(self.api, "7.0.3.0")

    @property
    def daemons_own_rulesets(self) -> bool:
        """From 8.0 U2 on most rulesets follow their daemon and cannot be toggled (facts.md 0.2)."""
        return at_least(self.api, "8.0.2.0")


def near(name: str, known: Any) -> str:
    """ "; did you mean 'x'?" or the list of valid names."""
    names = sorted(str(item) for item in known)
    close = difflib.get_close_matches(str(name), names, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yml") if path.stem != "rulesets")


def read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as exc:
        raise ScenarioError(f"{path}: cannot be read: {exc.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from None


@functools.cache
def _raw(name: str) -> dict[str, Any]:
    if name not in names():
        raise ScenarioError(f"unknown profile '{name}': {near(name, names())}")
    own = read_yaml(FOLDER / f"{name}.yml")
    if "borrows" not in own:
        return own
    base = _raw(own["borrows"])
    merged = {**base, **own}
    for key in ("options", "time", "license_options", "crypto_options"):
        merged[key] = {**base.get(key, {}), **own.get(key, {})}
    return merged


@functools.cache
def load(name: str) -> Profile:
    """The profile of that name; the same object every time, so that hosts share what it holds."""
    raw = _raw(name)
    services = {
        row["key"]: Service(**{**row, "ruleset": tuple(row.get("ruleset", ()))}) for row in sorted(raw["services"], key=lambda r: r["key"])
    }
    owners = {key: service.key for service in services.values() for key in service.ruleset}
    rulesets = _rulesets(raw["rulesets"], services, owners)
    capability = {
        **dict.fromkeys(raw["capability"]["yes"], True),
        **dict.fromkeys(raw["capability"]["no"], False),
        **raw["capability"]["other"],
    }
    return Profile(
        name=raw["name"],
        version=raw["version"],
        api=APIS[raw["api"]],
        build=raw["build"],
        patch_level=raw["patch_level"],
        license_version=raw["license_version"],
        services=services,
        rulesets=rulesets,
        service_states=StateMap({key: ServiceState(row.running, row.policy) for key, row in services.items()}),
        ruleset_states=StateMap({key: RulesetState(row.enabled) for key, row in rulesets.items()}),
        time=raw["time"],
        capability=capability,
        hardware=raw["hardware"],
        advanced=raw["advanced_options"],
        options=raw["options"],
        license_options=raw["license_options"],
        crypto_options=raw["crypto_options"],
        ports={},
    )


def _rulesets(spec: dict[str, Any], services: dict[str, Service], owners: dict[str, str]) -> dict[str, Ruleset]:
    seen = spec["seen"]
    out = {}
    for row in read_yaml(FOLDER / "rulesets.yml")["rulesets"]:
        key = row["key"]
        added = key in spec.get("with", ())
        if (seen not in row["seen"] and not added) or key in spec.get("without", ()):
            continue
        flags = row.get(spec["flags"], row) if "flags" in spec else row
        old = seen == "6.5" and not added
        service = (row.get("service") or {}).get(seen)
        owner = service or owners.get(key) or row.get("owner")
        default = row["default_enabled"]
        out[key] = Ruleset(
            key=key,
            label=row.get("label_6_5", row["label"]) if old else row["label"],
            rules=tuple(rule_of(text) for text in (row.get("rules_6_5", row["rules"]) if old else row["rules"])),
            enabled=default.get(seen, next(iter(default.values()))),
            required=row.get("required", False),
            service=service if service in services else None,
            owner=owner if owner in services else None,
            toggle=flags.get("toggle"),
            ip_list=flags.get("ip_list"),
        )
    return out


def rule_of(text: str) -> Rule:
    """ "in tcp 8080-8090", "out udp src 68"."""
    direction, protocol, *rest = text.split()
    low, _dash, high = rest[-1].partition("-")
    return Rule(
        "inbound" if direction == "in" else "outbound",
        protocol,
        "src" if rest[0] == "src" else "dst",
        int(low),
        int(high) if high else None,
    )

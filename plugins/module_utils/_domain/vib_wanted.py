# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a package of firewall rulesets, and how options become that. Pure. Private to this collection."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import BadInput
from .ports import port_range
from .vib_archive import Broken
from .vib_package import DIRECTIONS, PORT_TYPES, PROTOCOLS, Package, Rule, Ruleset, build, bundle, opened, versioned

PRESENT, ABSENT, BUILT = "present", "absent", "built"
ESXCLI, PATCH_MANAGER = "esxcli", "patch_manager"
NAME = "fleetcare-firewall"
VERSION, VENDOR, SUMMARY, RELEASED = "1.0.0", "fleetcare", "Custom firewall rulesets", "2026-01-01"
# The name becomes a path in the package, its tar header holds 100 characters; it stands in an id between underscores.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,49}\Z")
_VENDOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,34}\Z")
_VERSION = re.compile(r"(?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){0,3}\Z")
# Names of the rulesets that releases ship are letters, digits, dots, dashes and underscores; the longest has 24 characters.
_RULESET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}\Z")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """``package`` None: with ``state: absent``, where the name is enough. ``toggles``: rulesets that shall be open or closed,
    those that are not in it stay as they are."""

    state: str
    name: str
    vendor: str
    package: Package | None
    toggles: Mapping[str, bool]
    dest: str
    datastore: str
    installer: str
    unknown_boot: bool
    force: bool = False

    @functools.cached_property
    def vib(self) -> bytes:
        """Opened again before it goes anywhere: a host would tell of a damage only after the upload, and in other words."""
        made = build(self.package) if self.package else b""
        if made and opened(made) != self.package:
            raise Broken("what was packed is not what was declared")
        return made

    @functools.cached_property
    def bundle(self) -> bytes:
        return bundle(self.package, self.vib) if self.package else b""

    @property
    def rulesets(self) -> tuple[Ruleset, ...]:
        return self.package.rulesets if self.package else ()


def parse(params: Mapping[str, Any]) -> Wanted:
    """Options as a wish. Raises BadInput, before any connection."""
    state = params.get("state") or PRESENT
    name = _matching(params, "name", NAME, _NAME, "Use letters, digits and dashes, 50 at most; it becomes the package's name on the host.")
    vendor = _matching(params, "vendor", VENDOR, _VENDOR, "Use letters, digits, dots and dashes, 35 at most.")
    version = _matching(params, "version", VERSION, _VERSION, "Write for example 1.0.0; what identifies the content is appended.")
    given = _rulesets(params.get("rulesets") or ())
    package = None
    if given:
        package = versioned(
            Package(
                name=name,
                version=version,
                vendor=vendor,
                summary=_summary(params.get("summary") or SUMMARY),
                released=_date(str(params.get("release_date") or RELEASED)),
                rulesets=tuple(sorted((ruleset for ruleset, toggle in given), key=lambda ruleset: ruleset.name)),
            )
        )
    elif state != ABSENT:
        raise BadInput(f"state {state} needs rulesets, and there is none", hint="Say which ports: rulesets, each with name and rules.")
    dest = params.get("dest") or ""
    if state == BUILT:
        if not dest:
            raise BadInput("state built needs dest", hint="Name the folder on the control node that the package goes to.")
        for option in ("esxi_hostname", "cluster_name", "datacenter", "folder"):
            if params.get(option):
                raise BadInput(f"state built looks at no host, and {option} is given", hint=f"Leave {option} out, or use state: present.")
    installer, force = params.get("installer") or ESXCLI, bool(params.get("force"))
    if force and installer != ESXCLI:
        raise BadInput(f"force is an option of esxcli, and installer is {installer}", hint="Leave one of the two out.")
    return Wanted(
        state=state,
        name=name,
        vendor=vendor,
        package=package,
        toggles={ruleset.name: toggle for ruleset, toggle in given if toggle is not None},
        dest=dest,
        datastore=(params.get("datastore") or "").strip(),
        installer=installer,
        unknown_boot=bool(params.get("allow_unknown_secure_boot")),
        force=force,
    )


def _matching(params: Mapping[str, Any], option: str, default: str, form: re.Pattern[str], hint: str) -> str:
    value = default if params.get(option) is None else str(params[option]).strip()
    if not form.match(value):
        raise BadInput(f"{option} {value!r} cannot be that of a package", hint=hint)
    return value


def _summary(text: str) -> str:
    summary = " ".join(text.split())
    if not summary or len(summary) > 200 or not summary.isprintable():
        raise BadInput(f"summary {summary[:40]!r} is not one line of 1 to 200 characters", hint="Shorten it.")
    return summary


def _date(text: str) -> str:
    try:
        found = datetime.date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"release_date {text!r} is no date", hint="Write for example 2026-01-31.") from None
    return found.isoformat()


def _rulesets(entries: Iterable[Mapping[str, Any]]) -> list[tuple[Ruleset, bool | None]]:
    """Each with what its toggle shall be, None where that is left out."""
    found: dict[str, tuple[Ruleset, bool | None]] = {}
    for number, entry in enumerate(entries, 1):
        name = str(entry.get("name") or "").strip()
        if not _RULESET.match(name):
            raise BadInput(
                f"rulesets entry {number} has the name {name!r}",
                hint="Use letters, digits, dots, dashes and underscores, 50 at most, beginning with a letter or digit.",
            )
        if name.lower() in found:
            before = found[name.lower()][0].name
            told = f"{name!r} twice" if name == before else f"{before!r} and {name!r}, which differ only in their case"
            raise BadInput(f"rulesets names {told}", hint="Put both into one entry, or rename one.")
        where = f"rulesets entry {number} ({name})"
        rules = [_rule(f"{where}, rule {place}", rule) for place, rule in enumerate(entry.get("rules") or (), 1)]
        if not rules:
            raise BadInput(f"{where} has no rules", hint="Say which ports: rules, each with direction, protocol and port.")
        for rule in rules:
            if rules.count(rule) > 1:
                raise BadInput(f"{where} has the rule {rule} twice", hint="Leave one of them out.")
        toggle = entry.get("enabled")
        ruleset = Ruleset(name, tuple(sorted(rules)), enabled=bool(toggle), required=bool(entry.get("required")))
        if ruleset.required and not ruleset.enabled:
            raise BadInput(
                f"{where} is required and not enabled",
                hint="A required ruleset cannot be opened or closed by anybody: add enabled: true, or leave required out.",
            )
        found[name.lower()] = (ruleset, toggle)
    return list(found.values())


def _rule(where: str, entry: Mapping[str, Any]) -> Rule:
    words = []
    for option, default, known in (("direction", "", DIRECTIONS), ("protocol", "", PROTOCOLS), ("port_type", "dst", PORT_TYPES)):
        word = str(entry.get(option) or default)
        if word not in known:
            raise BadInput(f"{where} has {option} {word!r}", hint=f"It is one of {' and '.join(known)}.")
        words.append(word)
    text = str(entry.get("port") or "").strip()
    ports = port_range(text)
    if ports is None:
        raise BadInput(f"{where} has port {text!r}, which is neither a port nor a range", hint="Write for example 8080 or 8000-8100.")
    return Rule(words[0], words[1], *ports, words[2])

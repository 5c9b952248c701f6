# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's desired state as data: features, groups that differ, exceptions. Private to this collection."""

from __future__ import annotations

import datetime
import difflib
import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import BadInput

_SELECTORS = ("esxi_hostname", "vm_name", "cluster_name", "datacenter", "folder")
_TOP = ("site", "features", "owners", "groups", "exceptions", "controls", "exposure")


@dataclass(frozen=True)
class Control:
    """A rule of a hardening guide, and the codes of findings that break it."""

    id: str
    guide: str
    title: str
    source: str
    codes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Hosts and VMs whose desired state differs in some features. ``select``: option of selection -> names or globs; one of
    each has to fit. ``features``: word -> options that replace the site's, None for a feature that is not judged there."""

    name: str
    select: Mapping[str, tuple[str, ...]]
    features: Mapping[str, Mapping[str, Any] | None]

    def holds(self, name: str, moid: str, places: Iterable[tuple[str, str]], *, is_vm: bool, host: str = "") -> bool:
        """``places``: (kind, name) of what is above the target. A VM, which runs on ``host``, is in a group by its host, too."""
        own: dict[str, list[tuple[str, str]]] = {"vm_name" if is_vm else "esxi_hostname": [(name, moid)]}
        if is_vm:
            own["esxi_hostname"] = [(host, "")]
        for kind, place in places:
            own.setdefault("cluster_name" if kind == "cluster" else kind, []).append((place, ""))
        return all(
            any(_fits(pattern, *each) for each in own.get(option, ()) for pattern in patterns) for option, patterns in self.select.items()
        )


@dataclass(frozen=True, kw_only=True)
class Exempt:
    """An exception: what it covers, for whom, until when."""

    id: str
    owner: str
    reason: str
    expires: datetime.date
    feature: str = ""
    codes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def names(self, name: str, moid: str, path: str) -> bool:
        return any(_fits(pattern, name, moid, path) for pattern in self.targets)


@dataclass(frozen=True, kw_only=True)
class Profile:
    site: str
    features: Mapping[str, Mapping[str, Any]]
    owners: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    exceptions: tuple[Exempt, ...] = ()
    controls: tuple[Control, ...] = ()
    exposure: bool = True
    fingerprint: str = ""

    def options(self, word: str, groups: Iterable[str]) -> Mapping[str, Any] | None:
        """What is wanted of a feature in some groups, which replace each other's options in the order of the profile; None
        where it is not judged."""
        options: Mapping[str, Any] | None = self.features.get(word)
        chosen = set(groups)
        for group in self.groups:
            if group.name in chosen and word in group.features:
                own = group.features[word]
                options = None if own is None else {**(options or {}), **own}
        return options

    def groups_that_differ(self, word: str) -> frozenset[str]:
        return frozenset(group.name for group in self.groups if word in group.features)

    @property
    def words(self) -> frozenset[str]:
        """Every feature that is judged anywhere."""
        return frozenset(self.features) | {word for group in self.groups for word, options in group.features.items() if options is not None}


def _fits(pattern: str, name: str, moid: str, path: str = "") -> bool:
    """By the name; by the path where the pattern has a slash; the object id only as it is. So test-* is not about all that is in
    a folder test-7, nor vm-* about every vm-12."""
    pattern = pattern.lower()
    shown = (name.lower(), path.lower()) if "/" in pattern else (name.lower(),)
    return pattern in (*shown, moid.lower()) or any(fnmatch.fnmatchcase(each, pattern) for each in shown)


# ---- reading it -----------------------------------------------------------------------------------------------------


def parse(data: Any, words: Sequence[str], codes: Sequence[str] = ()) -> Profile:
    """A profile as data. ``words``: the features that there are; ``codes``: of findings, where they are known, for one that is
    misspelt would excuse nothing and say nothing. Raises BadInput with the place and the cure."""
    profile = _mapping(data, "the profile")
    known(profile, _TOP, "the profile")
    features = {word: _options(options, f"features.{word}") for word, options in _features(profile, words, "features").items()}
    if any(options is None for options in features.values()):
        word = next(word for word, options in features.items() if options is None)
        raise BadInput(f"profile: features.{word} is empty", hint="Write {} where nothing particular is wanted, or leave the feature out.")
    groups = tuple(_group(entry, number, words) for number, entry in enumerate(_entries(profile, "groups"), 1))
    _unique([group.name for group in groups], "groups")
    exceptions = tuple(_exception(entry, number, words) for number, entry in enumerate(_entries(profile, "exceptions"), 1))
    _unique([each.id for each in exceptions], "exceptions")
    for each in exceptions:
        unknown = set(each.groups) - {group.name for group in groups}
        if unknown:
            raise BadInput(
                f"profile: exception {each.id} names the group {sorted(unknown)[0]!r}, which is not in groups",
                hint="Add it, or take it out.",
            )
        known(each.codes, codes or each.codes, f"exception {each.id}.codes", _CODES)
    controls = tuple(_control(entry, number) for number, entry in enumerate(_entries(profile, "controls"), 1))
    for control in controls:
        known(sorted(control.codes), codes or sorted(control.codes), f"control {control.id}.codes", _CODES)
    owners = _mapping(profile.get("owners") or {}, "owners")
    known(owners, words, "owners")
    found = Profile(
        site=_text(profile.get("site") or "", "site"),
        features={word: options for word, options in features.items() if options is not None},
        owners={word: _text(owner, f"owners.{word}") for word, owner in owners.items()},
        groups=groups,
        exceptions=exceptions,
        controls=controls,
        exposure=_flag(profile.get("exposure", True), "exposure"),
        fingerprint=_fingerprint(profile),
    )
    if not found.words:
        raise BadInput("profile: no feature is named", hint=f"Name at least one in features: {', '.join(words)}.")
    return found


def _fingerprint(profile: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(json.dumps(profile, sort_keys=True, default=str).encode()).hexdigest()[:16]
    except TypeError:
        # Of names beside each other, some are texts and some are numbers.
        raise BadInput("profile: some name in it is no text", hint="Put names in quotes that look like numbers.") from None


def _mapping(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise BadInput(
            f"profile: {where} is {_shown(data)}, not names with values", hint="See the example in the documentation of esxi_audit."
        )
    odd = next((key for key in data if not isinstance(key, str)), None)
    if odd is not None:
        raise BadInput(f"profile: {where} has the name {odd!r}, which is no text", hint="Put it in quotes.")
    return data


_CODES = "docs/findings.md lists the codes."


def known(given: Iterable[str], names: Sequence[str], where: str, else_see: str = "") -> None:
    """Raises BadInput for what is not among the names, with the nearest."""
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.8 if else_see else 0.6)
            hint = f"Did you mean {near[0]}?" if near else else_see or f"There are: {', '.join(names)}."
            raise BadInput(f"profile: {where} has {name!r}, which is not known", hint=hint)


def _features(data: Mapping[str, Any], words: Sequence[str], where: str) -> Mapping[str, Any]:
    features = _mapping(data.get("features") or {}, where)
    known(features, words, where)
    return features


def _options(options: Any, where: str) -> Mapping[str, Any] | None:
    return None if options is None else _mapping(options, where)


def _entries(profile: Mapping[str, Any], name: str) -> Sequence[Any]:
    entries = profile.get(name) or []
    if isinstance(entries, (str, Mapping)) or not isinstance(entries, Sequence):
        raise BadInput(f"profile: {name} is {_shown(entries)}, not a list", hint="Begin each entry with a dash.")
    return entries


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadInput(f"profile: {where} is {_shown(value)}, not a text", hint="Write it as one line of text.")
    return str(value).strip()


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"profile: {where} is {_shown(value)}, neither true nor false", hint="Write true or false.")
    return value


def _needed(entry: Mapping[str, Any], name: str, where: str) -> str:
    text = _text(entry[name], f"{where}.{name}") if entry.get(name) is not None else ""
    if not text:
        raise BadInput(f"profile: {where} has no {name}", hint=f"Give it its {name}.")
    return text


def _texts(entry: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = entry.get(name)
    if value is None:
        return ()
    found = tuple(_text(each, f"{where}.{name}") for each in (value if isinstance(value, (list, tuple)) else [value]))
    if not found or "" in found:
        raise BadInput(f"profile: {where}.{name} is empty", hint="Name what is meant, or leave it out.")
    return found


def _unique(names: Sequence[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"profile: {where} has {name!r} twice", hint="Unite the two, or rename one.")


def _group(data: Any, number: int, words: Sequence[str]) -> Group:
    where = f"groups[{number}]"
    entry = _mapping(data, where)
    known(entry, ("name", "features", *_SELECTORS), where)
    name = _needed(entry, "name", where)
    where = f"group {name}"
    select = {option: _texts(entry, option, where) for option in _SELECTORS if entry.get(option) is not None}
    if not select:
        raise BadInput(f"profile: {where} holds nothing", hint=f"Say who is in it with one of {', '.join(_SELECTORS)}.")
    features = {
        word: _options(options, f"{where}.features.{word}") for word, options in _features(entry, words, f"{where}.features").items()
    }
    return Group(name=name, select=select, features=features)


def _exception(data: Any, number: int, words: Sequence[str]) -> Exempt:
    where = f"exceptions[{number}]"
    entry = _mapping(data, where)
    known(entry, ("id", "owner", "reason", "expires", "feature", "codes", "targets", "groups"), where)
    name = _needed(entry, "id", where)
    where = f"exception {name}"
    feature = _text(entry.get("feature") or "", f"{where}.feature")
    if feature:
        known([feature], words, f"{where}.feature")
    found = Exempt(
        id=name,
        owner=_needed(entry, "owner", where),
        reason=_needed(entry, "reason", where),
        expires=_day(entry.get("expires"), where),
        feature=feature,
        codes=_texts(entry, "codes", where),
        targets=_texts(entry, "targets", where),
        groups=_texts(entry, "groups", where),
    )
    some = found.targets and all(each.strip("*/") for each in found.targets)
    if not (found.feature or found.codes or found.groups or some):
        raise BadInput(f"profile: {where} would excuse everything", hint="Limit it by feature, codes, targets or groups.")
    return found


def _day(value: Any, where: str) -> datetime.date:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        shown = "no date" if value is None else repr(value)
        raise BadInput(f"profile: {where} has {shown} in expires", hint="An exception has a last day, written 2026-12-31.") from None


def _control(data: Any, number: int) -> Control:
    where = f"controls[{number}]"
    entry = _mapping(data, where)
    known(entry, ("id", "guide", "title", "source", "codes"), where)
    codes = frozenset(_texts(entry, "codes", where))
    if not codes:
        raise BadInput(f"profile: {where} has no codes", hint="Name the findings that break it; docs/findings.md lists them.")
    own = {name: _needed(entry, name, where) for name in ("id", "guide", "title", "source")}
    return Control(own["id"], own["guide"], own["title"], own["source"], codes)


def _shown(value: Any) -> str:
    return "nothing" if value is None else "a list" if isinstance(value, list) else f"a {type(value).__name__}"

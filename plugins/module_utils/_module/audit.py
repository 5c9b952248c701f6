# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several features judged in one pass: one login, one selection, one bulk read, the planners that repair. Private to this collection."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._client.endpoint import Endpoint, place_name, plain_host
from .._client.guard import Guard
from .._client.inventory import Selection, Target, select_hosts_and_vms
from .._client.prefetch import Prefetch, Wish
from .._client.session import Session
from .._client.vmomi import Ref
from .._domain import audit
from .._domain.audit_profile import Profile, known
from .._domain.errors import BadInput, EndpointUnreachable, FleetcareError, LoginRefused, TlsRefused
from .._domain.report_model import FORM
from . import texts
from .arguments import options_of
from .feature import HOSTS, VMS, Feature, Kind
from .outcome import Entry, Outcome
from .pipeline import Manner, Run, check_limits

# What belongs to a run that changes something, or to files of one: an audit has its own.
_NOT_HERE = frozenset({"backup", "backup_dir", "restore", "csv", "csv_file", "dest", "verify_reachable"})
_NO_ENDPOINT = (EndpointUnreachable, LoginRefused, TlsRefused)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A feature as the audit has it. ``module``: what repairs it, and whose options the profile gives. ``defaults``: where an
    audit asks for less than a run does. ``tell``: path of an array -> what is made of all its elements, for ``facts``, which
    adds to what a report says of a target: (state, wish, seen, values by path, what was told by path) -> fields.
    ``endpoint_facts``: (seen, wish) -> fields of the endpoint.
    """

    title: str
    module: str
    feature: Feature
    defaults: Mapping[str, Any] = field(default_factory=dict)
    tell: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    facts: Callable[[Any, Any, Any, Callable[[str], Any]], dict[str, Any]] | None = None
    endpoint_facts: Callable[[Any, Any], dict[str, Any]] | None = None


@dataclass
class _Judging:
    """One feature with one wish: whom it is about."""

    word: str
    part: Part
    wanted: Any
    targets: list[Target] = field(default_factory=list)


@dataclass
class Audit:
    """What was found: endpoints and targets as the report has them, hints by code, secrets that no output may show."""

    endpoint: dict[str, Any]
    targets: list[dict[str, Any]] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    slice_of: tuple[int, int] | None = None


class Wishes:
    """The profile's options as wishes of each feature, whatever groups a target is in; each made once."""

    def __init__(self, profile: Profile, parts: Mapping[str, Part]) -> None:
        self._profile = profile
        self._parts = parts
        self._made: dict[tuple[str, frozenset[str]], Any] = {}
        for word in profile.words:
            self.of(word, frozenset())
            for name in profile.groups_that_differ(word):
                self.of(word, frozenset({name}))

    def of(self, word: str, groups: Iterable[str]) -> Any:
        """None where the feature is not judged. Raises BadInput."""
        differing = frozenset(groups) & self._profile.groups_that_differ(word)
        if (word, differing) not in self._made:
            options = self._profile.options(word, differing)
            where = f"profile: {word}" + (f" in {' and '.join(sorted(differing))}" if differing else "")
            self._made[word, differing] = None if options is None else _parsed(self._parts[word], options, where)
        return self._made[word, differing]

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for wanted in self._made.values() for secret in getattr(wanted, "secrets", ()))


def _parsed(part: Part, options: Mapping[str, Any], where: str) -> Any:
    feature = part.feature
    misplaced = sorted(set(options) & _NOT_HERE)
    if misplaced:
        raise BadInput(f"{where}: {misplaced[0]} has no meaning in an audit", hint="Take it out of the profile.")
    known(
        options,
        [name for own, spec in feature.options.items() for name in (own, *spec.get("aliases", ()))],
        where.removeprefix("profile: "),
    )
    result = ArgumentSpecValidator({name: dict(spec) for name, spec in feature.options.items()}).validate({**part.defaults, **options})
    if result.error_messages:
        # What kind of Python object it was says nothing to whoever wrote the profile.
        said = next((each for each in result.error_messages if "Supported parameters" in each), result.error_messages[0]).partition(
            ": <class"
        )[0]
        raise BadInput(f"{where}: {said}", hint=f"The options are those of {part.module}.")
    # A run's own options have their defaults, for a feature may ask for them.
    general = {name: spec.get("default") for name, spec in options_of(feature).items()}
    params = texts.read({**general, **result.validated_parameters}, feature.texts)
    try:
        return feature.domain.parse(params)
    except BadInput as problem:
        problem.cause = f"{where}: {problem.cause}"
        raise


def judge(profile: Profile, parts: Mapping[str, Part], params: Mapping[str, Any], *, in_process: bool = False) -> Audit:
    """Raises BadInput where the profile or the slice is wrong, or nobody can know which endpoint is meant; what else is wrong with
    an endpoint is in the result, for a report of several must not look whole without it.

    ``in_process``: the caller keeps its own signal handlers (tests).
    """
    wishes = Wishes(profile, parts)
    slice_of = slice_from(params.get("slice"))
    if not params["hostname"]:
        Endpoint.parse(params)
    name = place_name(plain_host("hostname", params["hostname"]), params["port"])
    found = Audit({"name": name, "type": None, "version": None, "judgements": {}, "licenses": []}, slice_of=slice_of)
    found.secrets = wishes.secrets
    try:
        endpoint = Endpoint.parse(params)
        selection = Selection.parse(params)
        check_limits(params)
    except BadInput as problem:
        found.endpoint["failure"] = problem.at(target=name).as_failure()
        return found
    guard = Guard(params["deadline"])
    if in_process:
        guard.watch()
    else:
        guard.watch_signals()
    asked = [(word, part) for word, part in parts.items() if word in profile.words]
    probes = {probe for _word, part in asked for probe in part.feature.translation.PROBES}
    session = Session(endpoint, guard, may_write=False, probes=probes)
    try:
        with session:
            about = session.content.about
            found.endpoint.update(type=about.apiType, version=about.version)
            _Auditor(session, profile, dict(asked), wishes, params["parallel"], found).over(selection)
    except FleetcareError as problem:
        if isinstance(problem, (BadInput, *_NO_ENDPOINT)) or not found.targets:
            problem.at(target=name)
        found.endpoint["failure"] = problem.as_failure()
        found.targets.clear()
    finally:
        guard.close()
        found.secrets = (*session.secrets, *wishes.secrets)
    return found


def slice_from(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    number, slash, parts = str(text).partition("/")
    if not (slash and number.strip().isdecimal() and parts.strip().isdecimal() and 1 <= int(number) <= int(parts) <= 1000):
        raise BadInput(f"slice {text!r} is no part of a whole", hint="Write 2/4 for the second of four slices.")
    return int(number), int(parts)


class _Auditor:
    def __init__(self, session: Session, profile: Profile, parts: Mapping[str, Part], wishes: Wishes, parallel: int, found: Audit) -> None:
        self.session = session
        self.profile = profile
        self.parts = parts
        self.wishes = wishes
        self.found = found
        self.manner = Manner(parallel)
        # By the object: names that vCenter does not know have no reference of their own.
        self.rows: dict[int, dict[str, Any]] = {}

    def over(self, selection: Selection) -> None:
        if any(part.feature.targets.key == VMS.key for part in self.parts.values()):
            hosts, vms = select_hosts_and_vms(self.session, selection)
        else:
            hosts, vms = HOSTS.select(self.session, selection), []
        self._of_kind(HOSTS, hosts, {})
        self._of_kind(VMS, vms, {host.ref: host for host in hosts})

    def _of_kind(self, kind: Kind, targets: list[Target], hosts: Mapping[Ref, Target]) -> None:
        """All features of one kind of target: read once, judge one after the other. ``hosts``: where VMs may run."""
        is_vm = kind.key == VMS.key
        targets = [target for target in targets if audit.part_of("vm" if is_vm else "host", target.ref.id, self.found.slice_of)]
        runs: dict[tuple[str, int], _Judging] = {}
        for target in targets:
            host = hosts.get(target.host) if target.host else None
            places = (*target.places, *(host.places if host else ()))
            groups = [
                group.name
                for group in self.profile.groups
                if group.holds(target.name, target.ref.id, places, is_vm=is_vm, host=target.host_name)
            ]
            self.rows[id(target)] = {
                "endpoint": self.found.endpoint["name"],
                "kind": "vm" if is_vm else "host",
                "name": target.name,
                "moid": target.ref.id,
                "path": target.path,
                "datacenter": target.place("datacenter") or (host.place("datacenter") if host else None),
                "cluster": (host or target).place("cluster"),
                **({"host": target.host_name} if target.host_name else {}),
                "groups": groups,
                "judgements": {},
            }
            for word, part in self.parts.items():
                if part.feature.targets.key == kind.key and (wanted := self.wishes.of(word, groups)) is not None:
                    runs.setdefault((word, id(wanted)), _Judging(word, part, wanted)).targets.append(target)
        readable = [target.ref for target in targets if kind.away(target) is None]
        wishes = [Wish(run.part.feature.translation.properties(run.wanted), run.part.feature.translation.SHRINK) for run in runs.values()]
        tell = {path: make for run in runs.values() if self.profile.exposure for path, make in run.part.tell.items()}
        prefetched = Prefetch(self.session, readable, wishes, tell)
        for run in runs.values():
            self._judge(run, prefetched)
        self.found.targets += [self.rows[id(target)] for target in targets]

    def _judge(self, run: _Judging, prefetched: Prefetch) -> None:
        feature = run.part.feature
        outcome = Outcome(feature, run.wanted, check=True)
        trouble: FleetcareError | None = None
        try:
            Run(outcome, self.session, self.manner, read=prefetched).over(run.targets)
        except FleetcareError as problem:
            trouble = problem
        entries = {id(entry.target): entry for entry in outcome.entries.values()}
        for target in run.targets:
            entry = entries.get(id(target)) or Entry(target)
            failure = entry.failure or (None if entry.plan else trouble or FleetcareError("it was not looked at", target=target.name))
            row = self.rows[id(target)]
            row["judgements"][run.word] = audit.judged(entry.plan, entry.final, failure)
            self._note(entry)
            if run.part.facts and entry.plan and failure is None:
                row.update(run.part.facts(entry.plan.observed, run.wanted, outcome.seen, partial(_told, prefetched, target.ref)))
        if feature.whole:
            whole = outcome.whole or Entry(Target(ref=Ref("", ""), name="", connection=""))
            self._of_endpoint(run, audit.judged(whole.plan, whole.final, whole.failure or trouble))
            self._note(whole)
            if run.part.endpoint_facts and trouble is None:
                self.found.endpoint.update(run.part.endpoint_facts(outcome.seen, run.wanted))

    def _of_endpoint(self, run: _Judging, judgement: dict[str, Any]) -> None:
        known = self.found.endpoint["judgements"].get(run.word)
        self.found.endpoint["judgements"][run.word] = audit.worst([known, judgement]) if known else judgement

    def _note(self, entry: Entry) -> None:
        for plan in (entry.plan, entry.final):
            for finding in plan.findings if plan else ():
                self.found.hints[finding.code] = finding.hint


def _told(prefetched: Prefetch, ref: Ref, path: str) -> Any:
    told = prefetched.told(ref, path)
    return prefetched.value(ref, path) if told is None else told


def report_of(
    found: Audit, profile: Profile, parts: Mapping[str, Part], *, name: str, version: str, began: datetime.datetime
) -> dict[str, Any]:
    """The report, docs/audit_report.schema.json, but for its summary."""
    everything = [found.endpoint, *found.targets]
    exceptions = audit.excused(everything, profile, began.date())
    codes, controls = audit.codes_and_controls(everything, found.hints, profile.controls)
    return {
        "form": FORM,
        "collection": version,
        "generated": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "site": profile.site,
        "profile": {"name": name, "fingerprint": profile.fingerprint},
        "features": [
            {
                "word": word,
                "title": part.title,
                "repaired_by": part.module if part.feature.writes else None,
                "owner": profile.owners.get(word),
            }
            for word, part in parts.items()
            if word in profile.words
        ],
        "endpoints": [found.endpoint],
        "targets": sorted(found.targets, key=lambda row: (row["endpoint"], row["kind"], row["name"], row["moid"])),
        "codes": codes,
        "controls": controls,
        "exceptions": exceptions,
        "slices": {"of": found.slice_of[1], "present": [found.slice_of[0]]} if found.slice_of else None,
        "since": None,
        "resolved": [],
    }

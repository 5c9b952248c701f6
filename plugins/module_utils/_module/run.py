# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible and the pipeline; the only file that knows AnsibleModule. Private to this collection."""

from __future__ import annotations

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .._client import vmomi
from .._domain.errors import BadInput, FleetcareError, HeldBack, HostUnreachable, Interrupted, listed
from .._domain.plan import Change, is_fallback
from . import kept
from .arguments import options_of
from .feature import HOSTS, Feature, Kind
from .outcome import Entry, Outcome
from .pipeline import execute, findings_of

_BAD = ("failed", "unreachable", "skipped")


class _Module(AnsibleModule):  # type: ignore[misc] # ansible-core has no types
    params: dict[str, Any]
    _accepted = False

    def __init__(self, *, secrets: Callable[[Mapping[str, Any]], Iterable[str]] | None = None, **options: Any) -> None:
        self._secrets = secrets
        super().__init__(**options)
        self._accepted = True

    def _log_invocation(self) -> None:
        """A secret of several lines is neither logged nor returned in another form: as Python writes it, as one line, line by line."""
        if self._secrets:
            self.no_log_values.update(self._secrets(self.params))
        for secret in [value for value in self.no_log_values if "\n" in value]:
            lines = [line.strip() for line in secret.splitlines()]
            self.no_log_values.update({repr(secret)[1:-1], " ".join(secret.split())})
            self.no_log_values.update(line for line in lines if len(line) >= 8 and not line.startswith("-----"))
        super()._log_invocation()

    def fail_json(self, msg: str, **result: Any) -> None:
        """Where the arguments are refused, without them: ansible-core 2.16 shows them at -vvv, and one that is misspelt, or of
        another type than it should be, keeps it from knowing which are secret."""
        if not self._accepted:
            self.params = {}
        super().fail_json(msg, **result)


@contextlib.contextmanager
def _plainly(module: _Module, kind: Kind = HOSTS) -> Iterator[None]:
    """Whatever stops a task is a sentence."""
    try:
        yield
    except FleetcareError as problem:
        module.fail_json(msg=problem.sentence, failure=problem.as_failure())
    except Exception as problem:  # a defect of ours becomes a sentence too, with the place to report
        module.fail_json(msg=_defect(problem, kind))


def run(feature: Feature) -> None:
    """What a module's ``main`` does."""
    # A process of seconds that mostly builds trees: looking for cycles costs a fifth of its CPU and finds none.
    gc.set_threshold(200_000)
    module = _Module(argument_spec=options_of(feature), supports_check_mode=True)
    if vmomi.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("pyvmomi"), exception=vmomi.IMPORT_ERROR)
    table = module.params.get("csv_file")
    with _plainly(module, feature.targets):
        _write_table(table, "")
        if feature.files:
            module.params["dest"] = kept.checked_folder(module.params["dest"])
        outcome = execute(feature, module.params, check=module.check_mode)
    module.no_log_values.update(outcome.secrets)
    result = result_of(outcome, with_diff=module._diff)
    complete = True
    if feature.files:
        complete = kept.keep(module.params["dest"], feature.files(outcome.wanted, outcome.plans), result, check=module.check_mode)
    if table:
        _write_table(table, result["csv"])
        result["msg"] += f" The worksheet is in {table}."
    targets = result[feature.targets.key]
    parts = [*targets.values(), *([result["endpoint"]] if outcome.whole else [])]
    bad = sum(part["status"] in _BAD and not _was_meant(part) for part in parts)
    fail_on = module.params["fail_on"] or ("none" if module.check_mode else "any")
    if not complete or (bad and (fail_on == "any" or (fail_on == "all" and bad >= len(targets)))):
        module.fail_json(**result)
    if bad:
        module.warn(result["msg"])
    module.exit_json(**result)


def _write_table(path: str | None, text: str) -> None:
    """Before any connection with nothing in it: whether it can be written must not show only at the end."""
    if path:
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as problem:
            raise BadInput(f"csv_file {path} cannot be written: {problem.strerror}", hint="Leave it out, or name another.") from None


def _was_meant(entry: dict[str, Any]) -> bool:
    """A target that no wave has room for is left out because that was asked for."""
    return bool(entry["failure"] and entry["failure"]["kind"] == HeldBack.kind)


def result_of(outcome: Outcome, *, with_diff: bool) -> dict[str, Any]:
    """The result of a run as plain values."""
    kind = outcome.feature.targets
    targets = {name: _entry(entry, outcome) for name, entry in outcome.entries.items()}
    endpoint = {**outcome.endpoint, **(_entry(outcome.whole, outcome) if outcome.whole else {})}
    parts = {name: endpoint if entry is outcome.whole else targets[name] for name, entry in _parts(outcome).items()}
    result: dict[str, Any] = {
        "changed": any(part.get("changed") for part in parts.values()),
        "summary": dict(sorted(Counter(entry["status"] for entry in targets.values()).items())),
        "endpoint": endpoint,
        kind.key: targets,
        "hints": _hints(outcome),
        **outcome.overview,
        "msg": _message(targets, parts, headline=outcome.overview.get("msg", ""), kind=kind),
    }
    if outcome.waves:
        result["waves"] = outcome.waves
    if outcome.backup_file:
        result["backup_file"] = outcome.backup_file
        result["msg"] += f" The state before is in {outcome.backup_file}."
    if with_diff and outcome.feature.writes:
        result["diff"] = _diff(outcome, parts)
    return result


def _entry(entry: Entry, outcome: Outcome) -> dict[str, Any]:
    domain = outcome.feature.domain
    held = outcome.check and isinstance(entry.failure, HeldBack)
    changed = bool(entry.planned) and not held if outcome.check else _has_changed(entry, outcome)
    undone = list(entry.due) if held or not outcome.check else []
    for change in entry.done if undone else ():
        if change in undone:
            undone.remove(change)
    shown = entry.plan if outcome.check else entry.final or entry.plan
    result: dict[str, Any] = {
        "status": _status(entry, changed, outcome),
        **({} if entry is outcome.whole else {"moid": entry.target.ref.id}),
        **({"host": entry.target.host_name} if entry.target.host_name else {}),
        "findings": findings_of(entry, outcome.check),
        "failure": entry.failure.as_failure() if entry.failure else None,
    }
    if outcome.feature.writes:
        result["changed"] = changed
        if outcome.check:
            result["changes"] = [] if held else [_announced(change) for change in entry.planned]
        else:
            result["changes"] = [change.describe() for change in entry.done]
    if undone and outcome.feature.writes:
        result["not_done"] = [change.describe() for change in undone]
    if entry.because:
        result["because"] = entry.because
    if entry.undone:
        result["undone"] = [change.describe() for change in entry.undone]
    if shown:
        facts = domain.report(shown.observed, outcome.wanted, outcome.seen, full=not outcome.feature.writes)
        result.update({name: value for name, value in facts.items() if value is not None})
    return result


def _announced(change: Change) -> dict[str, Any]:
    return {**change.describe(), **({"only_if": "the changes before it fail"} if is_fallback(change) else {})}


def _has_changed(entry: Entry, outcome: Outcome) -> bool:
    if entry.done or entry.unknown:
        return True
    return entry.tried and bool(entry.differs(outcome.feature.domain.settings))


def _status(entry: Entry, changed: bool, outcome: Outcome) -> str:
    if isinstance(entry.failure, HostUnreachable) and not entry.done:
        return "unreachable"
    if isinstance(entry.failure, Interrupted) and not changed:
        return "skipped"
    if entry.failure is not None:
        return "failed"
    if not outcome.feature.writes:
        return "not_compliant" if entry.final and entry.final.errors else "compliant"
    if changed:
        return "would_change" if outcome.check else "changed"
    return "compliant"


def _hints(outcome: Outcome) -> dict[str, str]:
    """The next step for each code that was found, once: a thousand hosts have the same few troubles."""
    plans = [plan for entry in _parts(outcome).values() for plan in (entry.plan, entry.final) if plan]
    return {finding.code: finding.hint for plan in plans for finding in plan.findings}


def _parts(outcome: Outcome) -> dict[str, Entry]:
    """Targets by name, and the endpoint by its own where it has an entry of its own."""
    if outcome.whole is None:
        return outcome.entries
    name = outcome.whole.target.name
    return {**outcome.entries, f"{name} (the endpoint)" if name in outcome.entries else name: outcome.whole}


def _diff(outcome: Outcome, parts: dict[str, Any]) -> dict[str, Any]:
    before, after = {}, {}
    for name, entry in _parts(outcome).items():
        if parts[name].get("changed") and entry.plan and entry.final:
            before[name] = outcome.feature.domain.settings(entry.plan.observed)
            after[name] = outcome.feature.domain.settings(entry.final.observed)
    return {"before": before, "after": after}


def _message(targets: dict[str, Any], parts: dict[str, Any] | None = None, headline: str = "", kind: Kind = HOSTS) -> str:
    """What the feature begins with, one line of counts, then each distinct trouble once with those that have it."""
    counts = Counter(entry["status"] for entry in targets.values())
    text = f"{kind.count(len(targets))}: " + ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.most_common())
    text = ". ".join(part for part in (headline, text if targets or not headline else "") if part)
    troubles: dict[tuple[str, str], list[str]] = {}
    for name, entry in (parts or targets).items():
        if entry["status"] in _BAD and entry["failure"]:
            failure = entry["failure"]
            cause = failure["cause"] + (f" [{failure['fault']}]" if failure["fault"] else "")
            cause += f" (while {failure['doing']})" if failure["doing"] else ""
            troubles.setdefault((cause, failure["hint"] or ""), []).append(name)
    for (cause, hint), names in list(troubles.items())[:10]:
        who = listed(names, 5)
        text += f". {who}{': ' if who else ''}{cause.rstrip('.')}. {hint}".rstrip(". ")
    return text + "."


def _defect(problem: Exception, kind: Kind = HOSTS) -> str:
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return (
        f"A defect of fleetcare.esxi stopped the task: {type(problem).__name__}: {problem} at {place}. "
        f"Please report it with this sentence; run the task with --check to see the state of the {kind.noun}s."
    )


def run_task(
    options: Mapping[str, Any],
    work: Callable[[dict[str, Any], bool], dict[str, Any]],
    *,
    missing: tuple[str, str] | None = None,
    secrets: Callable[[Mapping[str, Any]], Iterable[str]] | None = None,
) -> None:
    """What the ``main`` of a module does that is about no vSphere host. ``work`` gets the parameters and whether this is a
    check run, and returns the result, with ``failed`` where it is one and ``secrets`` that no output may show. ``missing``:
    a library that could not be imported, and the traceback. ``secrets``: what of the parameters no output may show, although it
    stands within options that may be shown.
    """
    module = _Module(argument_spec=dict(options), supports_check_mode=True, secrets=secrets)
    if missing:
        module.fail_json(msg=missing_required_lib(missing[0]), exception=missing[1])
    with _plainly(module):
        result = dict(work(module.params, module.check_mode))
    module.no_log_values.update(result.pop("secrets", ()))
    end = module.fail_json if result.pop("failed", False) else module.exit_json
    end(**result)

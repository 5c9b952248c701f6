# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit makes of the plans of all features: verdicts, exceptions, controls. Private to this collection."""

from __future__ import annotations

import datetime
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .audit_controls import CONTROLS
from .audit_profile import Control, Exempt, Profile
from .errors import FleetcareError, HostUnreachable, NotCompliant
from .plan import LEVELS, Finding, Meaning, Plan, is_fallback
from .report_model import VERDICTS

_OWN = "what an audit says of a target for itself"
MEANINGS = {
    "not_reached": Meaning(
        "error",
        "The host could not be looked at, because vCenter has no connection to it.",
        "Reconnect the host in vCenter, then audit it again.",
        _OWN,
    ),
    "not_judged": Meaning(
        "error",
        "Something kept the audit from judging this; the failure beside it says what.",
        "Do what the failure says, then audit the target again.",
        _OWN,
    ),
    "setting_differs": Meaning(
        "error",
        "A setting is not as the profile wants it, and no other finding says so.",
        "Run the feature's role, first with --check --diff.",
        _OWN,
    ),
}


def _found(code: str, text: str) -> Finding:
    return MEANINGS[code].found(code, text)


def part_of(kind: str, moid: str, slice_of: tuple[int, int] | None) -> bool:
    """Whether a target belongs to a slice (number, of how many). By its object id, so that neither its name nor where it
    runs moves it from one slice to another."""
    if slice_of is None:
        return True
    number, parts = slice_of
    return zlib.crc32(f"{kind}:{moid}".encode()) % parts == number - 1


# ---- one feature of one target --------------------------------------------------------------------------------------


def judged(plan: Plan | None, final: Plan | None, failure: FleetcareError | None) -> dict[str, Any]:
    """A judgement as the report has it, before exceptions. ``plan``: what would be done; ``final``: what would be left to say."""
    if failure is not None and not isinstance(failure, NotCompliant):
        away = isinstance(failure, HostUnreachable)
        found = _found("not_reached", failure.cause) if away else _found("not_judged", failure.cause)
        return {
            "verdict": "unreachable" if away else "failed",
            "findings": [_row(found, False)],
            "failure": failure.as_failure(),
        }
    if plan is None:
        return {"verdict": "compliant"}
    left = final.findings if final else ()
    open_codes = {finding.code for finding in left}
    rows = [_row(finding, False) for finding in left]
    rows += [_row(finding, not finding.lasting and bool(plan.changes)) for finding in plan.findings if finding.code not in open_codes]
    changes = [change.describe() for change in plan.changes if not is_fallback(change)]
    if changes and not any(row.get("repairable") for row in rows):
        rows.append(_row(_found("setting_differs", "; ".join(map(_told, changes))), True))
    rows.sort(key=lambda row: (LEVELS.index(row["level"]), row["code"], row["text"]))
    result: dict[str, Any] = {"verdict": "compliant"}
    if rows:
        result["findings"] = rows
    if changes:
        result["changes"] = changes
    result["verdict"] = verdict_of(result, set())
    return result


def _row(finding: Finding, repairable: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"level": finding.level, "code": finding.code, "text": finding.text}
    return {**row, "repairable": True} if repairable else row


def _told(change: Mapping[str, Any]) -> str:
    name = str(change["change"]).replace("_", " ")
    values = ", ".join(f"{key.replace('_', ' ')}: {_value(value)}" for key, value in change.items() if key != "change")
    return f"{name} ({values})" if values else name


def _value(value: Any) -> str:
    return " ".join(map(_value, value)) if isinstance(value, (list, tuple)) else str(value)


def verdict_of(judgement: Mapping[str, Any], active: set[str]) -> str:
    """By what no active exception covers; how it could not be judged stays, unless that is excused."""
    rows = judgement.get("findings", ())
    counted = [row for row in rows if row.get("exception") not in active]
    errors = [row for row in counted if row["level"] == "error" and not row.get("repairable")]
    if "failure" in judgement and counted:
        return "unreachable" if counted[0]["code"] == "not_reached" else "failed"
    if errors:
        return "not_compliant"
    if any(row.get("repairable") for row in counted):
        return "repairable"
    excused = [row for row in rows if row.get("exception") in active]
    return "excepted" if any(row["level"] == "error" or row.get("repairable") for row in excused) else "compliant"


def worst(judgements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several judgements of one thing as one: what is an endpoint's own is told once, whatever was judged of it how often."""
    result: dict[str, Any] = {"verdict": max((each["verdict"] for each in judgements), key=VERDICTS.index)}
    for part in ("findings", "changes"):
        rows: list[Any] = []
        for each in judgements:
            rows += [row for row in each.get(part, ()) if row not in rows]
        if rows:
            result[part] = rows
    failure = next((each["failure"] for each in judgements if "failure" in each), None)
    return {**result, "failure": failure} if failure else result


# ---- the whole ------------------------------------------------------------------------------------------------------


def excused(parts: Iterable[dict[str, Any]], profile: Profile, today: datetime.date) -> list[dict[str, Any]]:
    """Mark what an exception covers and judge anew; the exceptions as the report lists them. ``parts``: endpoints and targets."""
    active = {each.id for each in profile.exceptions if each.expires >= today}
    counts: Counter[str] = Counter()
    for part in parts if profile.exceptions else ():
        for word, judgement in part["judgements"].items():
            for row in judgement.get("findings", ()):
                covering = [each for each in profile.exceptions if covers(each, part, word, row["code"])]
                if covering:
                    chosen = min(covering, key=lambda each: (each.id not in active, each.id))
                    row["exception"] = chosen.id
                    counts[chosen.id] += 1
            judgement["verdict"] = verdict_of(judgement, active)
    return [
        {
            "id": each.id,
            "owner": each.owner,
            "reason": each.reason,
            "expires": each.expires.isoformat(),
            "status": "expired" if each.id not in active else "active" if counts[each.id] else "unused",
            "findings": counts[each.id],
        }
        for each in profile.exceptions
    ]


def covers(exempt: Exempt, part: Mapping[str, Any], word: str, found: str) -> bool:
    if exempt.feature and exempt.feature != word:
        return False
    if exempt.codes and found not in exempt.codes:
        return False
    if exempt.groups and not set(exempt.groups) & set(part.get("groups", ())):
        return False
    return not exempt.targets or exempt.names(part["name"], part.get("moid", ""), part.get("path", ""))


def codes_and_controls(
    parts: Iterable[Mapping[str, Any]], hints: Mapping[str, str], more: Sequence[Control]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said once of each code that occurs, and of each control that one of them touches."""
    present = sorted({row["code"] for part in parts for judgement in part["judgements"].values() for row in judgement.get("findings", ())})
    controls = {control.id: control for control in (*CONTROLS, *more)}
    own = {name: meaning.hint for name, meaning in MEANINGS.items()}
    codes, touched = {}, set()
    for code in present:
        ids = sorted(name for name, control in controls.items() if code in control.codes)
        touched.update(ids)
        codes[code] = {"hint": hints.get(code) or own.get(code, ""), "controls": ids}
    told = {
        name: {"guide": control.guide, "title": control.title, "source": control.source}
        for name, control in sorted(controls.items())
        if name in touched
    }
    return codes, told

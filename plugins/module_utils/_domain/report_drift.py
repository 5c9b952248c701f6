# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed since the report before. Private to this collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import BadInput
from .report_merge import in_order
from .report_model import UNJUDGED, Report, endpoint_of, identity, kind_of, parts, summary_of

_Part = Mapping[str, Any]


def compared(report: Report, previous: Report) -> Report:
    """The report with what is new, since when, and what is gone. Neither is changed.

    A finding is the same if endpoint, target, feature and code are. Raises BadInput where ``previous`` is the newer one.
    """
    if previous["generated"] > report["generated"]:
        raise BadInput(
            f"the report to compare with is of {previous['generated']}, and so newer than this one of {report['generated']}",
            hint="Name the report of the audit before in previous, or leave it out.",
        )
    # Made from the same audit once more: what was new then is new still, and that audit's own report is no report before it.
    again = previous["generated"] == report["generated"]
    since = previous["since"] if again else previous["generated"]
    pairs = _pairs(report, previous)
    targets = [_judged(part, pairs.get(_place(part)), report, previous, again) for part in report["targets"]]
    endpoints = [_judged(part, pairs.get(_place(part)), report, previous, again) for part in report["endpoints"]]
    resolved = [
        entry for part in parts(report) if _place(part) in pairs for entry in _resolved(part, pairs[_place(part)], previous) if not again
    ]
    whole = {
        **report,
        "targets": targets,
        "endpoints": endpoints,
        "since": since,
        "resolved": previous["resolved"] if again else resolved,
    }
    return in_order({**whole, "summary": summary_of(whole)})


def _place(part: _Part) -> tuple[str, str, str]:
    return endpoint_of(part), kind_of(part), identity(part)


def _pairs(report: Report, previous: Report) -> dict[tuple[str, str, str], _Part]:
    """For each part of the report the same one of the report before, where there is one."""
    now: dict[tuple[str, str], list[_Part]] = {}
    before: dict[tuple[str, str], list[_Part]] = {}
    for found, source in ((now, report), (before, previous)):
        for part in parts(source):
            found.setdefault((endpoint_of(part), kind_of(part)), []).append(part)
    return {place: old for key in now for place, old in _paired(now[key], before.get(key, ())).items()}


def _paired(now: Sequence[_Part], before: Sequence[_Part]) -> dict[tuple[str, str, str], _Part]:
    """By object id, then those that are left by a name that only one of them has. An endpoint that was set up anew has given its
    ids to others: there the names go first. It shows where both names of an id are those of other ids, too."""
    ids = {part["moid"]: part for part in before if part.get("moid")}
    both = [(part, ids[part["moid"]]) for part in now if part.get("moid") in ids]
    names_now, names_before = {part["name"] for part in now}, {part["name"] for part in before}
    moved = sum(new["name"] != old["name"] and new["name"] in names_before and old["name"] in names_now for new, old in both)
    ids_hold = 2 * moved <= len(both)
    pairs: dict[tuple[str, str, str], _Part] = {}
    for by in ("moid", "name") if ids_hold else ("name", "moid"):
        taken = {id(old) for old in pairs.values()}
        left = [part for part in before if id(part) not in taken]
        open_ = [part for part in now if _place(part) not in pairs]
        known = {part.get(by, ""): part for part in left}
        often = Counter(part.get(by, "") for part in left) + Counter(part.get(by, "") for part in open_)
        for part in open_:
            name = part.get(by, "")
            if name and name in known and often[name] == 2:
                pairs[_place(part)] = known[name]
    return pairs


def _judged(part: _Part, old: _Part | None, report: Report, previous: Report, again: bool) -> dict[str, Any]:
    judgements = {}
    for word, judged in part["judgements"].items():
        before = (old["judgements"].get(word, {}) if old else {}).get("findings", ())
        judgements[word] = {**judged}
        if "findings" in judged:
            judgements[word]["findings"] = [_dated(each, before, report, previous, again) for each in judged["findings"]]
    return {**part, "judgements": judgements}


def _dated(
    finding: Mapping[str, Any], before: Sequence[Mapping[str, Any]], report: Report, previous: Report, again: bool
) -> dict[str, Any]:
    plain = {name: value for name, value in finding.items() if name not in ("since", "new")}
    alike = [each for each in before if each["code"] == finding["code"]]
    # Several may have one code: the one with the same words is the same one.
    alike = [each for each in alike if each["text"] == finding["text"]] or alike
    if not alike:
        new = not again or previous["since"] is not None
        return {**plain, "since": report["generated"], **({"new": True} if new else {})}
    since = min(each.get("since", previous["generated"]) for each in alike)
    return {**plain, "since": since, **({"new": True} if again and any(each.get("new") for each in alike) else {})}


def _resolved(part: _Part, old: _Part, previous: Report) -> list[dict[str, Any]]:
    """What was found there before and is not any more, for features that were judged again."""
    gone = []
    for word, judged in old["judgements"].items():
        now = part["judgements"].get(word)
        if now is None or now["verdict"] in UNJUDGED or "failure" in now or "failure" in part:
            continue
        codes = {each["code"] for each in now.get("findings", ())}
        gone += [
            {
                "endpoint": endpoint_of(part),
                "kind": kind_of(part),
                "name": part["name"],
                "feature": word,
                "code": each["code"],
                "level": each["level"],
                "text": each["text"],
                "since": each.get("since", previous["generated"]),
            }
            for each in judged.get("findings", ())
            if each["code"] not in codes
        ]
    return gone

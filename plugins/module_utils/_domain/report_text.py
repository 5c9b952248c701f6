# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report in a few lines for a terminal or a mail. Private to this collection.

It stays short whatever the fleet is: each part has its own limit of lines, and says how many it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .report_model import FINE, LEVELS, UNJUDGED, UNTOLD, VERDICT_NAMES, VERDICTS, excused, holes, missing_sentences, parts, plain

WIDTH = 100
# In place of a level: nobody knows how bad it is.
_SHORT = {"not_reached": "unreachable", "not_judged": "not judged"}
LINES = 40
_TROUBLES, _EXCEPTIONS, _ENDPOINTS, _FILES = 8, 3, 4, 6


def text(report: Mapping[str, Any], files: Iterable[str] = ()) -> str:
    """``files``: paths told at the end."""
    lines = [
        *_head(report),
        *_holes(report),
        *_features(report),
        *_troubles(report),
        *_waiting(report),
        *_exceptions(report),
        *_few([f"file: {path}" for path in files], _FILES, "files"),
    ]
    return "\n".join(line if line.startswith("file: ") else _short(line) for line in lines[:LINES]) + "\n"


def verdict(report: Mapping[str, Any]) -> str:
    """The report in one sentence without an end, as a subject of a mail."""
    summary = report["summary"]
    targets = summary["hosts"] + summary["vms"]
    bad = targets - summary["compliant_targets"]
    reasons = []
    if missing_sentences(report):
        reasons.append("slices are missing")
    verdicts = [{judged["verdict"] for judged in each["judgements"].values()} for each in report["endpoints"] if "failure" not in each]
    lost = len(report["endpoints"]) - len(verdicts)
    part = sum(not own.isdisjoint(UNJUDGED) for own in verdicts)
    wrong = sum(own.isdisjoint(UNJUDGED) and not own.issubset(FINE) for own in verdicts)
    for many, what in ((lost, "not judged"), (part, "not wholly judged"), (wrong, "not right")):
        if many:
            reasons.append(f"{many} of {_count(len(report['endpoints']), 'endpoint')} {what}")
    if bad:
        both = f"{targets} hosts and VMs" if summary["hosts"] and summary["vms"] else _who(summary)
        reasons.append(f"{bad} of {both} not right")
    elif targets:
        reasons.append(f"{_who(summary)} right")
    else:
        reasons.append("nothing was judged")
    return plain(f"{report['site']}: " + ", ".join(reasons))


def _who(summary: Mapping[str, Any]) -> str:
    found = [_count(summary[key], noun) for key, noun in (("hosts", "host"), ("vms", "VM")) if summary[key]]
    return " and ".join(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    summary = report["summary"]
    yield verdict(report)
    found = ", ".join(f"{_count(summary['findings'].get(level, 0), level)}" for level in LEVELS)
    since = f", since {report['since']}: {summary['new']} new, {summary['resolved']} resolved" if report["since"] else ""
    yield f"{found}{since}"
    yield f"audited {report['generated']} by {report['profile']['name']}"


def _holes(report: Mapping[str, Any]) -> Iterator[str]:
    """What nobody judged, before anything else is told: the rest says nothing about it."""
    told = [f"NOT JUDGED: {who}: {cause}" if cause else f"MISSING: {who}" for who, cause in holes(report)]
    if told:
        yield ""
    yield from _few(told, _ENDPOINTS, "of these")


def _features(report: Mapping[str, Any]) -> Iterator[str]:
    titles = {each["word"]: each["title"] for each in report["features"]}
    rows = [(word, counts) for word, counts in report["summary"]["verdicts"].items() if counts]
    if rows:
        yield ""
    # Words are few; a profile of another version may have more than there are lines.
    yield from _few(
        [
            f"{titles.get(word, word):<16.16} "
            + ", ".join(f"{counts[each]} {VERDICT_NAMES[each]}" for each in VERDICTS if counts.get(each))
            for word, counts in rows
        ],
        8,
        "features",
    )


def _troubles(report: Mapping[str, Any]) -> Iterator[str]:
    """What is open, the worst and most frequent first, each code once with a few of those that have it."""
    active = excused(report)
    # By object: several machines may share a name, and one may have a code several times.
    found: dict[tuple[int, str, str], dict[int, str]] = {}
    fresh: Counter[tuple[int, str, str]] = Counter()
    for part in parts(report):
        for word, judged in part["judgements"].items():
            if judged["verdict"] in UNJUDGED and not any(each["code"] in UNTOLD for each in judged.get("findings", ())):
                kind = judged.get("failure", {}).get("kind", judged["verdict"])
                found.setdefault((-1, word, kind), {})[id(part)] = part["name"]
            for each in judged.get("findings", ()):
                if each.get("exception") not in active:
                    # A host that was not reached is one trouble, however many features cannot be judged for it.
                    untold = each["code"] in UNTOLD
                    key = (-1, "", each["code"]) if untold else (LEVELS.index(each["level"]), word, each["code"])
                    found.setdefault(key, {})[id(part)] = part["name"]
                    fresh[key] += bool(each.get("new"))
    if not found:
        return
    yield ""
    lines = []
    for key, names in sorted(found.items(), key=lambda item: (item[0][0], -len(item[1]), item[0])):
        rank, word, code = key
        new = f" ({fresh[key]} new)" if fresh[key] and report["since"] else ""
        who = ", ".join(list(names.values())[:3]) + (" ..." if len(names) > 3 else "")
        lines.append(f"{_SHORT.get(code) or LEVELS[rank]:<11}{len(names):>5} {f'{word} {code}'.strip():<30.30}{new} {who}")
    yield from _few(lines, _TROUBLES, "codes")


def _waiting(report: Mapping[str, Any]) -> Iterator[str]:
    """What the roles would do, and what somebody has to."""
    summary = report["summary"]["verdicts"]
    about = {each["word"]: each for each in report["features"]}
    roles = [
        f"{about[word]['repaired_by']} ({counts['repairable']})"
        for word, counts in summary.items()
        if counts.get("repairable") and about.get(word, {}).get("repaired_by")
    ]
    owners: Counter[str] = Counter()
    for word, counts in summary.items():
        if counts.get("not_compliant"):
            owners[about.get(word, {}).get("owner") or f"no owner named for {word}"] += counts["not_compliant"]
    if roles or owners:
        yield ""
    if roles:
        yield f"a role repairs: {', '.join(roles)}"
    if owners:
        yield "waits for: " + ", ".join(f"{name} ({count})" for name, count in owners.most_common())


def _exceptions(report: Mapping[str, Any]) -> Iterator[str]:
    counts = Counter(each["status"] for each in report["exceptions"])
    if not counts:
        return
    yield ""
    yield "exceptions: " + ", ".join(f"{counts[status]} {status}" for status in ("active", "expired", "unused") if counts[status])
    expired = [each for each in report["exceptions"] if each["status"] == "expired"]
    yield from _few(
        [f"expired: {each['id']} of {each['owner']} on {each['expires']}: {each['findings']} findings" for each in expired],
        _EXCEPTIONS,
        "expired ones",
    )


def _few(lines: Sequence[str], most: int, what: str) -> Iterator[str]:
    """One line more is no shorter than saying that there is one."""
    if len(lines) <= most:
        yield from lines
    else:
        yield from lines[: most - 1]
        yield f"and {len(lines) - most + 1} more {what}"


def _short(line: str) -> str:
    line = plain(line).rstrip()
    return line if len(line) <= WIDTH else line[: WIDTH - 3].rstrip() + "..."

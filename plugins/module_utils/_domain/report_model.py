# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit found, docs/audit_report.schema.json: what others of its parts need, and its counts. Private to this collection."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import listed
from .plan import LEVELS

Report = dict[str, Any]

FORM = "fleetcare.esxi audit 1"
# In the order in which they are shown; what is not here comes behind them.
WORDS = ("ntp", "license", "firewall", "acceptance", "custom_ports", "hardware", "crypto")
# The mildest first, as they are called on the page, in text and in messages.
VERDICT_NAMES = {
    "compliant": "right",
    "excepted": "excused",
    "repairable": "a role repairs",
    "not_compliant": "need somebody",
    "unreachable": "unreachable",
    "failed": "not judged",
}
VERDICTS = tuple(VERDICT_NAMES)
FINE = ("compliant", "excepted")
# What kept something from being judged, as a finding that an exception may cover; the failure beside it knows the next step.
UNTOLD = ("not_reached", "not_judged")
# Not judged, so nothing can be said of what was found there before.
UNJUDGED = ("unreachable", "failed")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200e\u200f\ud800-\udfff]+")


def summary_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a report, whether or not it has them already."""
    active = excused(report)
    verdicts: dict[str, Counter[str]] = {each["word"]: Counter() for each in report["features"]}
    levels = dict.fromkeys(LEVELS, 0)
    new = 0
    for part in parts(report):
        for word, judged in part["judgements"].items():
            verdicts.setdefault(word, Counter())[judged["verdict"]] += 1
            for finding in judged.get("findings", ()):
                new += bool(finding.get("new"))
                levels[finding["level"]] += finding.get("exception") not in active
    targets = report["targets"]
    fine = (all(judged["verdict"] in FINE for judged in target["judgements"].values()) for target in targets)
    return {
        "hosts": sum(target["kind"] == "host" for target in targets),
        "vms": sum(target["kind"] == "vm" for target in targets),
        "compliant_targets": sum(fine),
        "verdicts": {word: {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]} for word, counts in verdicts.items()},
        "findings": levels,
        "new": new,
        "resolved": len(report["resolved"]),
    }


def missing(report: Mapping[str, Any]) -> list[tuple[tuple[str, ...], int, tuple[int, ...]]]:
    """Slices that nobody judged: of which endpoints (none named: of all), of how many, which."""
    told: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for each in report["endpoints"] or [{"name": ""}]:
        # An endpoint's own word goes before the report's.
        slices = each["slices"] if "slices" in each else report["slices"]
        absent = tuple(sorted(set(range(1, slices["of"] + 1)) - set(slices["present"]))) if slices else ()
        if absent:
            told.setdefault((slices["of"], absent), []).append(each["name"])
    return [(() if len(names) == len(report["endpoints"] or names) else tuple(names), *what) for what, names in told.items()]


def missing_sentences(report: Mapping[str, Any]) -> list[str]:
    """One an endpoint; empty where no slice is missing."""
    sentences = []
    for names, count, which in missing(report):
        several = len(which) > 1
        whose = f" of {listed(names, 5)}" if names else ""
        sentences.append(
            f"slice{'s' if several else ''} {listed([str(number) for number in which], 8)} of {count}{whose} "
            f"{'are' if several else 'is'} missing: nobody judged what is in {'them' if several else 'it'}"
        )
    return sentences


def holes(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What nobody judged of endpoints, and why: slices that are not there, for which there is only a sentence, and endpoints and
    slices that failed."""
    yield from ((sentence, "") for sentence in missing_sentences(report))
    for each in report["endpoints"]:
        lost = next((judged["failure"] for judged in each["judgements"].values() if "slices" in judged.get("failure", {})), None)
        if "failure" in each:
            yield each["name"], each["failure"]["cause"]
        elif lost:
            for one in (lost, *lost.get("also", ())):
                yield f"slice {listed([str(number) for number in one.get('slices', ())], 8)} of {each['name']}", one["cause"]


def identity(part: Mapping[str, Any]) -> str:
    """What tells a target from others of its kind: its object id, or the name that nothing in vCenter has."""
    return part.get("moid") or part["name"]


def excused(report: Mapping[str, Any]) -> set[str]:
    """Ids of the exceptions that hold."""
    return {each["id"] for each in report["exceptions"] if each["status"] == "active"}


def plain(text: str) -> str:
    """On one line, and with nothing in it that a terminal obeys or that is no letter."""
    return _CONTROL.sub(" ", text)


def kind_of(part: Mapping[str, Any]) -> str:
    return str(part.get("kind", "endpoint"))


def endpoint_of(part: Mapping[str, Any]) -> str:
    return str(part.get("endpoint", part["name"]))


def parts(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Endpoints, hosts and VMs: whatever has judgements."""
    yield from report["endpoints"]
    yield from report["targets"]

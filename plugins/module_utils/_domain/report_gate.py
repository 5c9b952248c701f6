# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a report fails a pipeline. Private to this collection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .errors import listed
from .report_model import UNJUDGED, excused, holes, parts, plain

# Not as the profile wants it, whatever the findings are called: what the role would repair is told as a warning by some planners.
_DIFFERS = ("repairable", "not_compliant")


def fails(judged: Mapping[str, Any], fail_levels: Collection[str], active: Collection[str]) -> bool:
    """Whether a judgement is a failure at these levels. What an exception covers is none; what could not be judged is an error
    of its own, see ``gate``."""
    if judged["verdict"] in _DIFFERS and "error" in fail_levels:
        return True
    return any(each["level"] in fail_levels and each.get("exception") not in active for each in judged.get("findings", ()))


def gate(report: Mapping[str, Any], fail_levels: Collection[str]) -> list[str]:
    """Why the pipeline ends here, a sentence a reason; empty where it goes on. A hole in the audit is a reason at all levels."""
    return [plain(reason) for reason in _reasons(report, fail_levels)]


def unjudged(report: Mapping[str, Any]) -> list[str]:
    """Those of them that no level and no profile decides on."""
    return [plain(f"nothing of {who} was judged: {cause.rstrip('.')}" if cause else who) for who, cause in holes(report)]


def _reasons(report: Mapping[str, Any], fail_levels: Collection[str]) -> Iterator[str]:
    active = excused(report)
    yield from unjudged(report)
    if not any(part["judgements"] for part in parts(report)) and not any("failure" in each for each in report["endpoints"]):
        yield "there is nothing that was judged"
    bad: dict[str, list[str]] = {}
    lost: dict[str, list[str]] = {}
    for part in parts(report):
        for word, judged in part["judgements"].items():
            if judged["verdict"] in UNJUDGED:
                lost.setdefault(word, []).append(part["name"])
            elif fails(judged, fail_levels, active):
                bad.setdefault(word, []).append(part["name"])
    for found, what in ((bad, ("is not right", "are not right")), (lost, ("was not judged", "were not judged"))):
        for word, names in found.items():
            yield f"{word}: {len(names)} {what[len(names) > 1]} ({listed(sorted(names), 3)})"

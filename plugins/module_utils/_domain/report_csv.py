# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report for a spreadsheet. Private to this collection.

One row a finding. Where nothing was found there is one row, too, so that counting targets by feature and verdict counts all of
them; and one for each finding that is gone since the report before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .report_model import UNTOLD, endpoint_of, excused, kind_of, missing_sentences, parts
from .table import as_csv

COLUMNS = (
    *("endpoint", "datacenter", "cluster", "kind", "name", "feature", "verdict", "state", "level", "code", "text", "repairable"),
    *("owner", "exception", "since", "next_step", "controls", "groups", "host", "moid", "path"),
)


def table(report: Mapping[str, Any]) -> str:
    return as_csv(COLUMNS, _rows(report))


def _rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    owners = {each["word"]: each["owner"] for each in report["features"]}
    for sentence in missing_sentences(report):
        yield {"verdict": "failed", "text": sentence}
    for part in parts(report):
        where = {name: part.get(name) for name in ("datacenter", "cluster", "name", "groups", "host", "moid", "path")}
        place = {"endpoint": endpoint_of(part), "kind": kind_of(part), **where}
        if "failure" in part:
            yield {
                **place,
                "verdict": "failed",
                "code": part["failure"]["kind"],
                "text": part["failure"]["cause"],
                **_next(part["failure"]),
            }
        for word, judged in part["judgements"].items():
            about = {**place, "feature": word, "verdict": judged["verdict"], "owner": owners.get(word)}
            findings = judged.get("findings", ())
            failure = judged.get("failure")
            if failure and not any(each["code"] in UNTOLD for each in findings):
                yield {**about, "code": failure["kind"], "text": failure["cause"], **_next(failure)}
            elif not findings:
                yield {**about, "text": _changes(judged)}
            for finding in findings:
                yield {**about, **_finding(finding, report), **(_next(failure) if failure and finding["code"] in UNTOLD else {})}
    for gone in report["resolved"]:
        yield {**gone, "state": "resolved", "owner": owners.get(gone["feature"]), **_code(gone["code"], report)}


def _finding(finding: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    held = finding.get("exception") in excused(report)
    return {
        "state": "excepted" if held else "new" if finding.get("new") else "open",
        "repairable": "yes" if finding.get("repairable") else "",
        **{name: finding.get(name) for name in ("level", "code", "text", "exception", "since")},
        **_code(finding["code"], report),
    }


def _code(code: str, report: Mapping[str, Any]) -> dict[str, Any]:
    about = report["codes"].get(code, {})
    return {"next_step": about.get("hint"), "controls": about.get("controls", [])}


def _next(failure: Mapping[str, Any]) -> dict[str, Any]:
    return {"next_step": failure.get("hint")}


def _changes(judged: Mapping[str, Any]) -> str | None:
    """Rare: what would be written although nothing is wrong with it."""
    return "; ".join(change["change"] for change in judged.get("changes", ())) or None

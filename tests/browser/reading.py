# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says, counted by other hands than the page's, and what the page shows, read from its elements."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import Page

Report = dict[str, Any]
FINE = ("compliant", "excepted")
UNTOLD = ("not_reached", "not_judged")
SEVERITY = ("compliant", "excepted", "repairable", "not_compliant", "unreachable", "failed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    part: dict[str, Any]
    kind: str
    feature: str
    verdict: str
    level: str
    code: str
    text: str
    new: bool


def parts(report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    for target in report["targets"]:
        yield target["kind"], target
    for endpoint in report["endpoints"]:
        yield "endpoint", endpoint


def rows(report: Report) -> list[Row]:
    """Findings, and what could not be judged, of which a finding may speak, too."""
    found = []
    for kind, part in parts(report):
        for word, judged in part["judgements"].items():
            own = {"part": part, "kind": kind, "feature": word, "verdict": judged["verdict"]}
            told = False
            for each in judged.get("findings", ()):
                lost = "failure" in judged and each["code"] in UNTOLD
                told = told or lost
                level = "unjudged" if lost else each["level"]
                found.append(Row(**own, level=level, code=each["code"], text=each["text"], new=each.get("new", False)))
            if judged["verdict"] in ("unreachable", "failed") and not told:
                failure = judged["failure"]
                found.append(Row(**own, level="unjudged", code=failure["kind"], text=failure["message"], new=False))
        if "failure" in part:
            failure = part["failure"]
            found.append(
                Row(
                    part=part,
                    kind=kind,
                    feature="",
                    verdict="failed",
                    level="unjudged",
                    code=failure["kind"],
                    text=failure["message"],
                    new=False,
                )
            )
    return found


def by_feature(report: Report, wanted: Callable[[str, dict[str, Any], str, dict[str, Any]], bool]) -> dict[str, Counter[str]]:
    """Title -> verdict -> judgements."""
    titles = {feature["word"]: feature["title"] for feature in report["features"]}
    found: dict[str, Counter[str]] = {}
    for kind, part in parts(report):
        for word, judged in part["judgements"].items():
            if wanted(kind, part, word, judged):
                found.setdefault(titles[word], Counter())[judged["verdict"]] += 1
    return found


def by_cluster(report: Report, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Counter[str]]:
    """Cluster -> worst verdict -> hosts and VMs."""
    found: dict[str, Counter[str]] = {}
    for target in report["targets"]:
        if wanted(target):
            worst = max((judged["verdict"] for judged in target["judgements"].values()), key=SEVERITY.index)
            found.setdefault(target["cluster"] or "(none)", Counter())[worst] += 1
    return found


# ---- the page -----------------------------------------------------------------------------------------------------------

NAMES = {
    "right": "compliant",
    "excused": "excepted",
    "a role repairs": "repairable",
    "need somebody": "not_compliant",
    "unreachable": "unreachable",
    "not judged": "failed",
}


def settle(page: Page) -> None:
    """Until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def told(page: Page) -> int:
    """How many findings the filters leave, as it is said to screen readers."""
    return int(re.match(r"[\d,]+", page.locator("#count").inner_text())[0].replace(",", ""))  # type: ignore[index]


def chart_table(page: Page, chart: str) -> list[dict[str, str]]:
    """The text alternative of a chart: column -> cell, a row each."""
    return page.evaluate(
        """(chart) => {
          const table = document.querySelector(`#chart-${chart} table`);
          if (!table) return [];
          const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
          return [...table.tBodies[0].rows].map((row) => Object.fromEntries([...row.cells].map((cell, i) => [heads[i], cell.textContent])));
        }""",
        chart,
    )


def counted(page: Page, chart: str, what: str) -> dict[str, Counter[str]]:
    found = {}
    for row in chart_table(page, chart):
        counts = Counter({NAMES[key]: int(value.replace(",", "")) for key, value in row.items() if key in NAMES})
        assert int(row["all"].replace(",", "")) == sum(counts.values()), row
        found[row[what]] = +counts
    return found


def column(page: Page, label: str, inside: str = "") -> list[str]:
    return page.evaluate(
        "([label, inside]) => [...document.querySelectorAll(`.findings td[data-label='${label}'] ${inside}`)].map((each) => each.textContent)",
        [label, inside],
    )


def set_filter(page: Page, key: str, value: str) -> None:
    field = page.locator(f"#filter-{key}")
    if key == "name":
        field.fill(value)
        page.wait_for_function("(value) => decodeURIComponent(location.hash).includes(value)", arg=value)
    elif key == "new":
        field.check()
    else:
        field.select_option(value)
    settle(page)

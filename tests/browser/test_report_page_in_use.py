# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report page in a real browser: filters, sorting, the keyboard, and those who do not see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser import reading
from tests.browser.conftest import View
from tests.reports.samples import sample

# ---- filters and sorting ------------------------------------------------------------------------------------------------

FILTERS = [
    ("name", "esx-001", lambda row: "esx-001" in row.part["name"] or "esx-001" in row.part.get("host", "")),
    ("name", "vm-*5", lambda row: row.part["name"].startswith("vm-") and row.part["name"].endswith("5")),
    ("feature", "ntp", lambda row: row.feature == "ntp"),
    ("level", "error", lambda row: row.level == "error" or row.code in reading.UNTOLD),
    ("level", "unjudged", lambda row: row.level == "unjudged"),
    ("verdict", "repairable", lambda row: row.verdict == "repairable"),
    ("cluster", "cluster-03", lambda row: row.part.get("cluster") == "cluster-03"),
    ("cluster", "(none)", lambda row: row.kind != "endpoint" and row.part["cluster"] is None),
    ("endpoint", "vc-2.example.com", lambda row: row.part.get("endpoint", row.part["name"]) == "vc-2.example.com"),
    ("code", "key_lost", lambda row: row.code == "key_lost"),
    ("new", "1", lambda row: row.new),
]


@pytest.mark.parametrize(("key", "value", "wanted"), FILTERS, ids=[f"{key}-{value}" for key, value, _wanted in FILTERS])
def test_a_filter_leaves_what_it_says_in_table_charts_and_address(
    view: View, report: dict[str, Any], key: str, value: str, wanted: Any
) -> None:
    page = view(report)
    every = reading.rows(report)
    assert reading.told(page) == len(every)
    reading.set_filter(page, key, value)
    left = [row for row in every if wanted(row)]
    assert 0 < len(left) < len(every)
    assert reading.told(page) == len(left)
    assert Counter(reading.column(page, "Target", ".target")) == Counter(row.part["name"] for row in left)
    assert Counter(reading.column(page, "Finding", ".text")) == Counter(row.text for row in left)
    shown = reading.counted(page, "feature", "Feature")

    def judged(kind: str, part: dict[str, Any], word: str, judgement: dict[str, Any]) -> bool:
        fake = reading.Row(part=part, kind=kind, feature=word, verdict=judgement["verdict"], level="", code="", text="", new=False)
        if key in ("level", "code", "new"):
            return any(row.part is part and row.feature == word for row in left)
        return bool(wanted(fake))

    assert shown == reading.by_feature(report, judged)
    address = page.evaluate("location.hash")
    page.get_by_role("button", name="Clear filters").click()
    assert reading.told(page) == len(every)
    assert page.evaluate("location.hash") == ""
    # The address holds it: the same view from a link.
    page.evaluate("(address) => { location.hash = address; }", address)
    reading.settle(page)
    assert reading.told(page) == len(left)
    assert reading.counted(page, "feature", "Feature") == shown
    if key != "new":
        assert page.locator(f"#filter-{key}").input_value() == value


def test_filters_add_up(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    reading.set_filter(page, "feature", "ntp")
    reading.set_filter(page, "level", "error")
    reading.set_filter(page, "new", "1")
    left = [row for row in reading.rows(report) if row.feature == "ntp" and row.level == "error" and row.new]
    assert left and reading.told(page) == len(left)
    assert reading.counted(page, "feature", "Feature").keys() == {"Time"}
    page.get_by_role("button", name="Target", exact=True).click()
    again = view(report, hash=page.evaluate("location.hash"))
    assert reading.told(again) == len(left)
    assert again.locator("#filter-feature").input_value() == "ntp" and again.locator("#filter-new").is_checked()
    assert again.locator(".findings th[aria-sort]").inner_text().startswith("Target")


def test_a_link_to_what_is_not_there_shows_nothing_and_says_why(view: View, report: dict[str, Any]) -> None:
    page = view(report, hash="#cluster=gone&sort=nonsense&page=77")
    assert reading.told(page) == 0
    assert page.locator("#filter-cluster").input_value() == "gone"
    assert "No finding fits these filters." in page.locator(".findings").inner_text()


KEYS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "target": ("Target", ".target", lambda text: [int(each) if each.isdigit() else each for each in text.replace(".", "-").split("-")]),
    "feature": ("Feature", "", ["all", "Time", "Licences", "Firewall", "Encrypted VMs"].index),
    "finding": ("Finding", "> code", str),
    "since": ("Since", "", lambda text: text[:10]),
}


@pytest.mark.parametrize("key", KEYS)
def test_sorting_both_ways(view: View, report: dict[str, Any], key: str) -> None:
    page = view(report)
    label, inside, order = KEYS[key]
    head = page.locator(".findings th", has=page.get_by_role("button", name=label, exact=True))
    everywhere = Counter(reading.column(page, label, inside))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = reading.column(page, label, inside)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = reading.column(page, label, inside)
    # The newest first is what "since" begins with.
    assert [order(each) for each in up] == sorted((order(each) for each in up), reverse=key == "since")
    assert [order(each) for each in down] == sorted((order(each) for each in down), reverse=key != "since")
    assert len(up) == len(down) == sum(everywhere.values()) and page.locator(".findings th[aria-sort]").count() == 1


def test_what_is_worst_and_new_stands_first(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    levels = [level.replace("unreachable", "not judged") for level in reading.column(page, "Level")]
    order = ["error", "not judged", "warning", "to repair", "note"]
    places = [("excused" in level, order.index(level.replace("excused", ""))) for level in levels]
    assert places == sorted(places) and len(set(levels)) > 3
    assert "new" in reading.column(page, "Since")[0]


def test_pages_of_the_table(view: View) -> None:
    large = sample(150, 150, sick=0.6)
    page = view(large)
    every = reading.rows(large)
    assert len(every) > 200
    seen = Counter(reading.column(page, "Target", ".target"))
    assert page.locator(".findings tbody tr").count() == 100
    onward = page.locator(".listhead .pager").get_by_role("button", name="Next")
    for _page in range((len(every) - 1) // 100):
        onward.click()
        seen.update(reading.column(page, "Target", ".target"))
    assert onward.get_attribute("aria-disabled") == "true"
    assert seen == Counter(row.part["name"] for row in every)
    onward.press("Enter")
    assert f"page={(len(every) - 1) // 100 + 1}" in page.evaluate("location.hash")


# ---- keyboard, and those who do not see it -------------------------------------------------------------------------------


def test_everything_is_reached_by_keyboard_and_seen_when_it_is(view: View) -> None:
    page = view(sample(10, 10, sick=0.5, endpoints=2))
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
          .filter((each) => each.checkVisibility() && !each.closest('details:not([open]) > :not(summary)'))
          .map((each, i) => { each.dataset.stop = i; return i; })"""
    )
    seen = []
    unseen = []
    for _stop in range(len(wanted) + 30):
        page.keyboard.press("Tab")
        stop, outline = page.evaluate(
            """() => { const at = document.activeElement; const style = getComputedStyle(at);
              return [at.dataset.stop ?? null, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]; }"""
        )
        if stop is not None:
            seen.append(int(stop))
            if not outline:
                unseen.append(stop)
    assert set(wanted) <= set(seen), set(wanted) - set(seen)
    assert not unseen
    # In the order of the page.
    assert list(dict.fromkeys(seen)) == sorted(set(seen))


def test_a_walk_with_the_keyboard_alone(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the findings"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "findings"
    page.locator("#filter-name").focus()
    page.keyboard.type("esx-002")
    page.wait_for_function("() => location.hash.includes('esx-002')")
    left = reading.told(page)
    assert 0 < left < len(reading.rows(report))
    # The skip link does not take the filter away.
    page.locator("a.skip").focus()
    page.keyboard.press("Enter")
    assert "esx-002" in page.evaluate("location.hash") and reading.told(page) == left
    page.get_by_role("button", name="Target", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Target"
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Target")
    summary_of_row = page.locator(".findings summary").first
    summary_of_row.focus()
    page.keyboard.press("Enter")
    assert page.locator(".findings details[open]").count() == 1
    # From a chart to its hosts.
    page.locator("#chart-cluster summary").focus()
    page.keyboard.press("Enter")
    page.locator("#chart-cluster button").first.focus()
    page.keyboard.press("Enter")
    reading.settle(page)
    assert "cluster=" in page.evaluate("location.hash")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_axe_finds_nothing(view: View, report: dict[str, Any], axe: str, scheme: str, width: int) -> None:
    # It looks at every element, for seconds: a few of each kind do.
    few = {**report, "targets": [*report["targets"][:12], *report["targets"][-8:]]}
    page = view(few, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((each, i) => { if (i < 12) each.open = true; })")
    page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations', 'incomplete']})")
    assert len(found["passes"]) > 20
    told = [
        f"{each['id']}: {each['help']}: {node['html'][:150]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]
    assert not told, "\n".join(told)


def test_landmarks_headings_and_names_of_charts(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == page.get_by_role("contentinfo").count() == 1
    levels = [int(each[1]) for each in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((each) => each.tagName)")]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    names = page.locator("figure svg[role=img]").evaluate_all("(all) => all.map((each) => each.getAttribute('aria-label'))")
    assert len(names) == 6 and all(any(letter.isdigit() for letter in name) for name in names)
    # Each has its numbers as a table.
    assert page.locator("figure table").count() == 7
    assert page.locator("#count[role=status][aria-live=polite]").count() == 1

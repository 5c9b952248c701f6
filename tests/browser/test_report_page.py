# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report page in a real browser: what it says and draws, on screens and on paper, of few hosts and of thousands."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.report_page import page as page_of
from tests.browser import reading
from tests.browser.conftest import View
from tests.reports.samples import sample

# ---- what it says -------------------------------------------------------------------------------------------------------


def test_the_top_says_how_many_are_right_what_is_missing_and_what_ran_out(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    right = Counter(t["kind"] for t in report["targets"] if all(j["verdict"] in reading.FINE for j in t["judgements"].values()))
    assert page.locator("#verdict").inner_text() == f"{right['host']} of 60 hosts and {right['vm']} of 45 VMs are right or excused."
    assert sum(right.values()) == report["summary"]["compliant_targets"]
    top = page.locator(".verdict").inner_text()
    assert "1 slice of 4 missing (2)" in top
    assert "vc-9.example.com not judged: vc-9 refused the login. Look into the vault." in top
    assert "Exception EX-0 of storage team expired on 2026-10-31" in top
    figures = dict(zip(page.locator(".figures dt").all_inner_texts(), page.locator(".figures dd").all_inner_texts(), strict=True))
    findings = report["summary"]["findings"]
    assert (figures["Errors"], figures["Warnings"]) == (str(findings["error"]), str(findings["warning"]))
    assert figures["New"] == str(report["summary"]["new"])
    lost = {verdict: {id(row.part) for row in reading.rows(report) if row.verdict == verdict} for verdict in ("unreachable", "failed")}
    assert (figures["Unreachable"], figures["Not judged"]) == (str(len(lost["unreachable"])), str(len(lost["failed"])))


def test_what_waits_for_a_role_and_for_owners(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    roles = {
        row.locator("td").nth(0).inner_text(): row.locator("td").nth(2).inner_text()
        for row in page.locator(".pair > .scroll").nth(0).locator("tbody tr").all()
    }
    wanted = {
        feature["repaired_by"]: count
        for feature in report["features"]
        if (count := report["summary"]["verdicts"][feature["word"]].get("repairable", 0))
    }
    assert {role: int(text.split()[0]) for role, text in roles.items()} == wanted
    # Owners are told of what needs somebody, as the report counts it.
    owners = {
        row.locator("td").nth(1).inner_text(): row.locator("td").nth(2).inner_text()
        for row in page.locator(".pair > .scroll").nth(1).locator("tbody tr").all()
    }
    for feature in report["features"]:
        count = report["summary"]["verdicts"][feature["word"]].get("not_compliant", 0)
        said = owners.get(feature["title"], "-")
        assert count == (0 if said == "-" else sum(map(int, re.findall(r"\d+", said))))


def test_each_number_leads_to_the_rows_that_it_counts(view: View, report: dict[str, Any]) -> None:
    """What was not reached is an error, too, for the report counts it as one."""
    page = view(report)
    assert any(row.code in reading.UNTOLD for row in reading.rows(report))
    for level, many in report["summary"]["findings"].items():
        if not many:
            assert page.locator(".verdict a", has_text=level).count() == 0
            continue
        page.locator(".verdict a", has_text=level).first.click()
        reading.settle(page)
        assert reading.told(page) == many, level
        assert "excused" not in reading.column(page, "Level", ".note")
    links = page.locator("section[aria-labelledby=waits] .pair > .scroll").nth(1).locator("a:has(code)")
    assert links.count() > 3
    for link in links.all():
        count = link.evaluate("(each) => Number(each.nextSibling.textContent.match(/[\\d,]+/)[0].replace(',', ''))")
        link.click()
        reading.settle(page)
        assert reading.told(page) == count, link.inner_text()
        assert page.evaluate("document.activeElement.id") == "findings"


def test_who_is_away_is_named_once_with_the_next_step(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    away = {row.part["name"] for row in reading.rows(report) if row.verdict == "unreachable"}
    alerts = [each for each in page.locator(".verdict li").all_inner_texts() if " unreachable " in each]
    assert sum(int(each.split()[0]) for each in alerts) == len(away) > 0
    assert all(any(name in each for name in away) for each in alerts)
    assert "unreachable" in reading.column(page, "Level", ".level")
    assert "vCenter vc-1.example.com" in page.locator("header").inner_text() or "endpoints" in page.locator("header").inner_text()


def test_before_and_after_of_each_feature(view: View, report: dict[str, Any]) -> None:
    table = view(report).locator("section[aria-labelledby=repaired] table").first
    found = {
        row.locator("td").nth(0).inner_text(): [int(each) for each in row.locator("td").all_inner_texts()[1:]]
        for row in table.locator("tbody tr").all()
    }
    for feature in report["features"]:
        own = [
            row
            for row in reading.rows(report)
            if row.feature == feature["word"] and (row.level != "unjudged" or row.code in reading.UNTOLD)
        ]
        gone = sum(each["feature"] == feature["word"] for each in report["resolved"])
        new = sum(row.new for row in own)
        assert found[feature["title"]] == [len(own) - new + gone, gone, new, len(own)]


def test_without_scripts_the_summary_is_there(view: View, report: dict[str, Any]) -> None:
    page = view(report, java_script_enabled=False)
    assert "hosts and" in page.locator("#verdict").inner_text()
    assert page.locator("noscript p").is_visible() or "need JavaScript" in page.locator("noscript").inner_html()
    assert page.locator("section[aria-labelledby=waits] tbody tr").count() > 3


def test_a_report_of_nothing_and_one_of_nothing_wrong(view: View) -> None:
    page = view(sample(0, 0))
    assert page.locator("#verdict").inner_text() == "Nothing could be judged."
    well = sample(12, 9, sick=0.0)
    well["resolved"], well["since"] = [], None
    page = view(well)
    assert page.locator("#verdict").inner_text() == "All is right: 12 hosts and 9 VMs."
    assert "There is no finding." in page.locator(".findings").inner_text()
    assert "no earlier report" in page.locator(".verdict").inner_text()


# ---- charts -------------------------------------------------------------------------------------------------------------


def test_charts_show_the_report_in_numbers_and_in_bars(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    features = reading.by_feature(report, lambda *_any: True)
    assert reading.counted(page, "feature", "Feature") == features
    verdicts = {f["title"]: Counter(report["summary"]["verdicts"][f["word"]]) for f in report["features"]}
    assert features == {title: +counts for title, counts in verdicts.items() if counts}
    clusters = reading.by_cluster(report, lambda _target: True)
    assert reading.counted(page, "cluster", "Cluster") == clusters
    # The drawing itself: a bar for each number, as long as its share.
    for chart, counts in (("feature", features), ("cluster", clusters)):
        widths = page.locator(f"#chart-{chart} g[data-mark=bar] rect").evaluate_all(
            "(all) => all.map((each) => Number(each.getAttribute('width')))"
        )
        shares = sorted(count / sum(each.values()) for each in counts.values() for count in each.values())
        whole = sum(widths) / len(counts)
        assert sorted(width / whole for width in widths) == pytest.approx(shares, abs=0.01)


def test_the_clocks(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    hosts = [target for target in report["targets"] if "clock" in target]
    assert page.locator("#chart-skew g[data-mark=dot] path, #chart-skew g[data-mark=dot] circle").count() == len(hosts)
    assert page.locator("#chart-skew g[data-mark=rule] line").count() >= len(hosts)
    note = page.locator("#chart-skew figcaption").inner_text()
    over = sum(abs(t["clock"]["offset"]) - t["clock"]["bound"] > t["clock"]["limit"] for t in hosts)
    perhaps = sum(abs(abs(t["clock"]["offset"]) - t["clock"]["limit"]) <= t["clock"]["bound"] for t in hosts)
    assert over >= 1 and perhaps >= 1
    assert f"{over} over the limit, {perhaps} perhaps over" in note and "1 s" in note
    first = reading.chart_table(page, "skew")[0]
    assert (first["Offset"], first["Allowed"]) == ("-93 s", "1 s")


def test_licences_expiry_locks_and_exposure(view: View, report: dict[str, Any]) -> None:
    page = view(report)
    licenses = [each for endpoint in report["endpoints"] for each in endpoint["licenses"]]
    shown = reading.chart_table(page, "capacity")
    assert Counter((row["Key"], row["Used"], row["Total"]) for row in shown) == Counter(
        (each["key"], str(each["used"]), str(each["total"] or "no limit told")) for each in licenses
    )
    ends = reading.chart_table(page, "expiry")
    assert [row["Ends"][:10] for row in ends] == sorted(each["expires"][:10] for each in licenses if each["expires"])
    assert page.locator("#chart-expiry g[data-mark=dot] path, #chart-expiry g[data-mark=dot] circle").count() == len(ends)
    causes = Counter(row.code for row in reading.rows(report) if row.feature == "crypto" and row.level in ("error", "warning"))
    assert {row["Cause"]: int(row["all"]) for row in reading.chart_table(page, "locks")} == causes

    page.locator("#grouping").select_option("cluster")
    cells = page.evaluate(
        """() => {
          const [head, ...lines] = [...document.querySelectorAll('#chart-exposure table tr')].map((row) => [...row.cells]);
          return lines.map((line) => [line[0].querySelector('button').textContent, Object.fromEntries(line.slice(1).map((cell, i) =>
            [head[i + 1].textContent, [...cell.querySelectorAll('.unseen')].map((each) => each.textContent.trim())]))]);
        }"""
    )
    open_ports: dict[str, dict[str, Counter[str]]] = {}
    sizes: Counter[str] = Counter()
    for target in report["targets"]:
        if "exposure" in target:
            cluster = target["cluster"] or "(none)"
            sizes[cluster] += 1
            for port, how in target["exposure"].items():
                open_ports.setdefault(cluster, {}).setdefault(port, Counter())[how] += 1
    assert len(cells) == len(sizes)
    for cluster, ports in cells:
        for port, texts in ports.items():
            counts = open_ports[cluster].get(port, Counter())
            if not counts:
                assert texts == ["closed"]
            elif sizes[cluster] in counts.values():
                assert texts == [f"open to {'all' if counts['all'] else 'some'} addresses"]
            else:
                assert texts == [f"{counts[how]} open to {how} addresses" for how in ("all", "some") if counts[how]]


def test_a_group_of_hosts_that_open_the_same_is_a_filter(view: View) -> None:
    fleet = sample(30, 0, sick=0.5)
    for number, target in enumerate(fleet["targets"]):
        target["exposure"] = {"22/tcp": "all"} if number < 4 else {"443/tcp": "some"}
    page = view(fleet)
    lines = page.locator("#chart-exposure tbody tr")
    assert lines.count() == 2
    lines.first.get_by_role("button").click()
    reading.settle(page)
    names = {target["name"] for target in fleet["targets"][:4]}
    assert reading.told(page) == sum(row.part["name"] in names for row in reading.rows(fleet))
    assert "(charts: 4 hosts, 0 VMs)" in page.locator("#count").inner_text()
    page.get_by_role("button", name="Only one set of open ports").click()
    assert reading.told(page) == len(reading.rows(fleet))


# ---- light, dark, narrow, paper -----------------------------------------------------------------------------------------

BACKGROUND = "getComputedStyle(document.body).backgroundColor"
WHITE = "rgb(255, 255, 255)"


def test_colours_follow_the_system_or_the_switch_and_paper_is_light(view: View, report: dict[str, Any]) -> None:
    page = view(report, color_scheme="dark")
    dark = page.evaluate(BACKGROUND)
    assert dark != WHITE
    filled = "getComputedStyle(document.querySelector('#chart-feature g[data-mark=bar] rect')).fill"
    dark_bar = page.evaluate(filled)
    page.locator("#theme").select_option("light")
    assert page.evaluate(BACKGROUND) == WHITE and page.evaluate(filled) != dark_bar
    page.locator("#theme").select_option("")
    assert page.evaluate(BACKGROUND) == dark
    page.locator("#theme").select_option("dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(BACKGROUND) == WHITE and page.evaluate(filled) != dark_bar
    assert not page.locator("#filter-name").is_visible() and not page.locator("#theme").is_visible()


def test_paper_has_all_findings(view: View) -> None:
    page = view(sample(120, 120, sick=0.6))
    every = reading.told(page)
    assert page.locator(".findings tbody tr").count() == 100 < every
    page.evaluate(
        "() => { window.printed = []; addEventListener('beforeprint', () => printed.push(document.querySelectorAll('.findings tbody tr').length)); }"
    )
    page.pdf()
    assert page.evaluate("printed") == [every]
    assert page.locator(".findings tbody tr").count() == 100


def test_a_phone_needs_no_sideways_scrolling(view: View, report: dict[str, Any]) -> None:
    long = json.loads(json.dumps(report))
    long["targets"][0]["name"] = "esx-" + "very-long-name-" * 8 + "x" * 90
    page = view(long, viewport={"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.locator(".findings tbody tr").first.locator("td").first.is_visible()
    # Rows laid out as cards are rows for screen readers still.
    assert page.get_by_role("row").count() > 50


def test_pictures(report: dict[str, Any], pictures: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What docs show is made as it is here, from another process, as the coordinator of the docs does."""
    file = tmp_path / "report.html"
    file.write_text(page_of(report), encoding="utf-8")
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-m", "tools.screenshots", str(file), str(pictures)]
    subprocess.run(command, check=True, cwd=root, timeout=120, stdout=subprocess.DEVNULL)
    made = {path.stem.split("-")[1]: path.read_bytes() for path in sorted(pictures.glob("report-*.png"), reverse=True)}
    assert made.keys() == {"light", "dark", "narrow", "print"}
    assert len(set(made.values())) == 4 and all(len(each) > 20_000 for each in made.values())


# ---- a large fleet ------------------------------------------------------------------------------------------------------


def test_five_thousand_hosts_stay_usable(view: View, pictures: pathlib.Path) -> None:
    fleet = sample(5000, 5000, endpoints=3)
    page = view(fleet)
    nodes = page.evaluate("document.querySelectorAll('*').length")
    first = page.evaluate("({...fleetcareTiming})")
    reading.set_filter(page, "name", "esx-00")
    assert reading.told(page) == sum("esx-00" in row.part["name"] or "esx-00" in row.part.get("host", "") for row in reading.rows(fleet))
    named = page.evaluate("({...fleetcareTiming})")
    page.locator("#filter-name").fill("")
    page.wait_for_function("() => location.hash === ''")
    reading.set_filter(page, "level", "error")
    level = page.evaluate("({...fleetcareTiming})")
    size = page.evaluate("document.documentElement.outerHTML.length")
    # Measured and shown, never asserted: what a machine does beside this is not the page's fault.
    (pictures / "five-thousand.txt").write_text(
        f"5,000 hosts and 5,000 VMs: first view {first['first']:.0f} ms; filter by name {named['table']:.0f} ms, charts "
        f"{named['charts']:.0f} ms; by level {level['table']:.0f} ms, charts {level['charts']:.0f} ms; {nodes} elements, page {size:,} characters\n",
        encoding="utf-8",
    )
    # However large the fleet: what is in the page at once does not grow with it.
    assert nodes < 8_000 and page.evaluate("document.querySelectorAll('*').length") < 8_000
    assert page.locator(".findings tbody tr").count() == 100
    assert size < 4_000_000


def test_elements_do_not_grow_with_the_fleet(view: View) -> None:
    counts = []
    for size in (1000, 4000):
        fleet = sample(size, size)
        for target in fleet["targets"]:
            target["cluster"] = f"cluster-{hash(target['moid']) % size}"
            target["exposure"] = {f"{number}/tcp": "all" for number in (22, 443, 902)} if target["kind"] == "host" else {}
        for target in fleet["targets"]:
            if target["kind"] == "vm":
                del target["exposure"]
        page = view(fleet)
        counts.append(
            page.evaluate("document.querySelectorAll('*').length - document.querySelectorAll('#chart-cluster table *, option').length")
        )
    assert abs(counts[1] - counts[0]) < 250, counts

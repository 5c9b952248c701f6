# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table in docs/power.md is what tests/situations/power.yml says, row by row."""

from __future__ import annotations

import pathlib
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
BEGIN, END = "<!-- situations -->\n", "<!-- end of situations -->"


def table(groups: list[dict[str, Any]]) -> str:
    lines: list[str] = []
    for group in groups:
        lines += ["", f"### {group['title']}", "", "| situation | asked for | ends | done | said |", "| --- | --- | --- | --- | --- |"]
        lines += [row(situation) for situation in group["situations"]]
    return "\n".join([*lines, "", ""])


def row(situation: dict[str, Any]) -> str:
    task, expect = situation["task"], situation["expect"]
    options = [f"`{name}: {str(value).lower() if isinstance(value, bool) else value}`" for name, value in task.items() if name in SHOWN]
    ends = expect["status"]
    if "where" in expect:
        ends += f" ({expect['where'].partition('.')[0]})"
    others: dict[str, list[str]] = {}
    for host, status in expect.get("others", {}).items():
        others.setdefault(status, []).append(host.partition(".")[0])
    ends += "".join(f"; {', '.join(hosts)} {status}" for status, hosts in others.items())
    done = ", ".join(expect.get("changes", ())) or "nothing"
    said = [f"`{code}`" for code in (*expect.get("codes", expect.get("check_codes", ())),)]
    if expect.get("failure") and expect["failure"] != "not_compliant":
        said.append(f"{expect['failure']}" + (f": {expect['says']}" if "says" in expect else ""))
    text = f". {expect['text']}" if "text" in expect else ""
    return f"| {situation['name']}{text} | {' '.join(options)} | {ends} | {done} | {', '.join(said) or 'nothing'} |"


SHOWN = (
    *("state", "force", "only_if_required", "unless_booted_since", "evacuate_powered_off", "allow_own_endpoint"),
    *("waves", "max_failures", "deadline"),
)


def test_the_docs_table_is_the_data() -> None:
    groups = yaml.safe_load((ROOT / "tests/situations/power.yml").read_text(encoding="utf-8"))["groups"]
    docs = (ROOT / "docs/power.md").read_text(encoding="utf-8")
    assert docs.partition(BEGIN)[2].partition(END)[0] == table(groups)
    assert sum(line.startswith("| ") for line in table(groups).splitlines()) - 2 * len(groups) >= 40

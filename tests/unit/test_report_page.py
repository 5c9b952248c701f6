# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report page as a file: nothing in a report can leave the place that it is put in, and nothing is lost on the way."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import pathlib
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.report_page import page
from tests.reports import hostile
from tests.reports.samples import sample, summary

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTS = (ROOT / "plugins/plugin_utils/report_assets/libraries.json", ROOT / "tests/browser/libraries.json")


class Reader(HTMLParser):
    """Elements with their attributes, and what stands in scripts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.comments: list[str] = []
        self.text: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _value in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "srcdoc")]
        self._inside = tag in ("script", "style")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and self.elements[-1][0] == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def read(report: dict[str, Any]) -> Reader:
    reader = Reader()
    reader.feed(page(report))
    reader.close()
    return reader


def unpacked(reader: Reader) -> dict[str, Any]:
    """Targets and endpoints as the report has them, from the data in the page."""
    data = json.loads(reader.scripts[0])
    strings = data["strings"]

    def text(place: int) -> Any:
        return None if place < 0 else strings[place]

    def judgements(place: int) -> dict[str, Any]:
        flat = data["sets"][place]
        return {strings[word]: data["judgements"][judged] for word, judged in zip(flat[::2], flat[1::2], strict=True)}

    targets = []
    for vm, name, moid, endpoint, path, whole, datacenter, cluster, host, groups, judged, clock, exposure in data["targets"]:
        target = {
            "endpoint": text(endpoint),
            "kind": "vm" if vm else "host",
            "name": name,
            "moid": moid,
            "path": text(path) + (name if whole else ""),
            "datacenter": text(datacenter),
            "cluster": text(cluster),
            "groups": [text(group) for group in groups],
            "judgements": judgements(judged),
        }
        if host >= 0:
            target["host"] = text(host)
        if clock:
            target["clock"] = dict(zip(("offset", "bound", "limit"), clock, strict=True))
        if exposure >= 0:
            target["exposure"] = data["exposures"][exposure]
        targets.append(target)
    endpoints = [
        {key: value for key, value in endpoint.items() if key != "set"} | {"judgements": judgements(endpoint["set"])}
        for endpoint in data["endpoints"]
    ]
    return {**{key: data[key] for key in ("codes", "controls", "exceptions", "features")}, "targets": targets, "endpoints": endpoints}


def test_the_data_in_the_page_are_the_report() -> None:
    report = sample(40, 30, sick=0.5, endpoints=3)
    report["targets"][3]["name"] = report["targets"][4]["name"]
    report["targets"][5]["path"] = "somewhere/else"
    found = unpacked(read(report))
    assert {key: report[key] for key in found} == found


def test_a_policy_forbids_every_connection_and_names_every_script() -> None:
    text = page(sample(3, 3))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy and "default-src 'none'" in policy[1]
    assert not re.search(r"unsafe-eval|script-src[^;]*unsafe-inline|https?:|\*", policy[1])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts]
    assert len(scripts) == 3 and all(each in policy[1] for each in hashes)
    assert "javascript:" not in text.split("<script", 1)[0]


def test_nothing_in_the_page_is_loaded_from_elsewhere() -> None:
    reader = read(sample(10, 10, sick=0.6))
    assert reader.links and all(link.startswith("#") for link in reader.links)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _names in reader.elements}


@pytest.mark.parametrize("path", LISTS, ids=["page", "tests"])
def test_what_others_wrote_is_what_npm_has_byte_by_byte(path: pathlib.Path) -> None:
    libraries = json.loads(path.read_text(encoding="utf-8"))
    assert libraries
    for library in libraries:
        script = gzip.decompress((path.parent / library["file"]).read_bytes())
        assert hashlib.sha256(script).hexdigest() == library["sha256"], library["name"]
        assert library["version"].encode() in script[:200] and library["integrity"].startswith("sha512-")
        # In the page they stand between script elements.
        assert path is LISTS[1] or not re.search(rb"</script|<!--", script, re.IGNORECASE)
    kept = {each.name for each in path.parent.glob("*.gz")}
    assert kept == {library["file"] for library in libraries}


def shape(reader: Reader) -> Counter[tuple[str, tuple[str, ...]]]:
    return Counter(reader.elements)


def bad_report() -> dict[str, Any]:
    """One that has everything the static part tells of."""
    report = sample(8, 6, sick=0.7, endpoints=2)
    report["slices"] = {"of": 3, "present": [1]}
    report["exceptions"].append({"id": "X", "owner": "o", "reason": "r", "expires": "2026-01-01", "status": "expired", "findings": 1})
    report["exceptions"].append({"id": "Y", "owner": "o", "reason": "r", "expires": "2027-01-01", "status": "unused", "findings": 0})
    report["endpoints"][1]["failure"] = {"kind": "LoginRefused", "cause": "c", "hint": "h", "message": "m"}
    for feature in report["features"]:
        feature["owner"] = "somebody"
    report["summary"] = summary(report)
    return report


PLAIN = bad_report()


@pytest.mark.parametrize("attack", hostile.ATTACKS)
def test_no_text_of_a_report_becomes_an_element(attack: str) -> None:
    report = hostile.attacked(PLAIN, attack)
    reader = read(report)
    assert shape(reader) == shape(read(PLAIN))
    assert not reader.comments and len(reader.scripts) == 4
    assert all(link.startswith("#") for link in reader.links)
    found = unpacked(reader)
    assert {key: report[key] for key in found} == found
    page(report).encode("utf-8")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=12))
def test_nor_does_any_other_text(text: str) -> None:
    report = hostile.attacked({**PLAIN, "targets": PLAIN["targets"][:2] + PLAIN["targets"][-2:]}, text)
    plain = {**PLAIN, "targets": PLAIN["targets"][:2] + PLAIN["targets"][-2:]}
    reader = read(report)
    assert shape(reader) == shape(read(plain))
    found = unpacked(reader)
    assert {key: report[key] for key in found} == found


def test_text_is_shown_as_it_is() -> None:
    report = hostile.attacked(PLAIN, "<b>&amp;'\"")
    told = "".join(read(report).text)
    assert "Audit of Bonn<b>&amp;'\"" in told
    assert "somebody<b>&amp;'\"" in told and "X<b>&amp;'\"" in told


def test_a_fleet_weighs_little() -> None:
    """Hosts that say the same share what they say: a mail carries the page of thousands."""
    small, large = (len(page(sample(size, size, sick=0.1))) for size in (200, 2200))
    assert (large - small) / 4000 < 130


def test_without_findings_and_without_a_report_before() -> None:
    report = sample(4, 4, sick=0)
    report.update(since=None, resolved=[], exceptions=[])
    told = "".join(read(report).text)
    assert "All is right: 4 hosts and 4 VMs." in told and "no earlier report" in told
    assert "Nothing waits for a role." in told and "Nothing waits for an owner." in told
    report["endpoints"][0]["judgements"] = {"license": {"verdict": "repairable"}}
    told = "".join(read(report).text)
    assert "4 hosts and 4 VMs are right, 1 of 1 endpoint not." in told and "All is right" not in told
    report["endpoints"][0]["judgements"] = {}
    # Not all was looked at: nobody may take that for a good report.
    report["slices"] = {"of": 2, "present": [2]}
    told = "".join(read(report).text)
    assert "All is right" not in told and "1 slice of 2 missing (1)" in told

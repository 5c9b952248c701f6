# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as pipelines read test results. Private to this collection.

A suite a feature, a case a target. There is no standard of JUnit's XML; this keeps to what Jenkins (the xUnit plugin's
junit-10.xsd), GitLab and Azure DevOps say that they read: one error, failure or skipped a case, its text, and system-out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from .report_gate import fails
from .report_model import LEVELS, UNJUDGED, endpoint_of, excused, kind_of, missing_sentences, parts

# What XML 1.0 cannot hold in any form, https://www.w3.org/TR/xml/#charsets
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_AUDIT = "audit"


def xml(report: Mapping[str, Any], fail_levels: Collection[str]) -> str:
    root = ElementTree.Element("testsuites", {"name": _clean(f"fleetcare.esxi audit of {report['site']}")})
    _Suite(root, _AUDIT, report).of_audit()
    words = [each["word"] for each in report["features"]]
    words += sorted({word for part in parts(report) for word in part["judgements"]} - set(words))
    for word in words:
        _Suite(root, word, report).of_feature(word, fail_levels)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


class _Suite:
    def __init__(self, root: ElementTree.Element, name: str, report: Mapping[str, Any]) -> None:
        self.report = report
        self.name = name
        # JUnit's own form has no zone, and Ant's no fraction.
        self.element = ElementTree.SubElement(root, "testsuite", {"name": name, "timestamp": report["generated"].rstrip("Z")})
        self.counts: Counter[str] = Counter()
        self._count()

    def _count(self) -> None:
        for name, key in (("tests", "case"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            self.element.set(name, str(self.counts[key]))
        self.element.set("time", "0")

    def case(self, where: str, name: str, outcome: str = "", kind: str = "", message: str = "", text: str = "", out: str = "") -> None:
        """``outcome``: error, failure, skipped, or nothing for a pass. ``text``: what is in it. ``out``: all there is to say."""
        place = {"classname": _clean(f"fleetcare.{self.name}.{where}"), "name": _clean(name), "time": "0"}
        element = ElementTree.SubElement(self.element, "testcase", place)
        if outcome:
            inner = ElementTree.SubElement(element, outcome, {"type": _clean(kind), "message": _clean(message)})
            inner.text = _clean(text)
        if out and out != text:
            ElementTree.SubElement(element, "system-out").text = _clean(out)
        self.counts.update(("case", *([outcome] if outcome else [])))
        self._count()

    def of_audit(self) -> None:
        """What is no target's matter: a hole in the audit must not look like a pass."""
        for endpoint in self.report["endpoints"]:
            failure = endpoint.get("failure")
            if failure:
                self.case(endpoint["name"], "endpoint", "error", failure["kind"], failure["cause"], failure["message"])
            else:
                self.case(endpoint["name"], "endpoint")
        for sentence in missing_sentences(self.report):
            self.case("slices", sentence.partition(":")[0], "error", "missing_slice", sentence, sentence)
        judged = sum(len(part["judgements"]) for part in parts(self.report))
        if not judged:
            self.case("targets", "targets", "error", "nothing_judged", "there is nothing that was judged")

    def of_feature(self, word: str, fail_levels: Collection[str]) -> None:
        active = excused(self.report)
        held = {each["id"]: each for each in self.report["exceptions"]}
        judged = [part for part in parts(self.report) if word in part["judgements"]]
        often = Counter((endpoint_of(part), kind_of(part), part["name"]) for part in judged)
        for part in judged:
            found = part["judgements"][word]
            # A pipeline tells cases apart by their names; several machines may share one.
            twin = often[endpoint_of(part), kind_of(part), part["name"]] > 1
            name = f"{part['name']} ({part['moid']})" if twin else part["name"]
            where = f"{endpoint_of(part)}.{kind_of(part)}"
            out = "\n".join(self._lines(found, found.get("findings", ())))
            if found["verdict"] in UNJUDGED:
                failure = found.get("failure", {"kind": found["verdict"], "cause": "it could not be judged", "message": ""})
                self.case(where, name, "error", failure["kind"], failure["cause"], failure["message"], out)
            elif fails(found, fail_levels, active):
                open_ = [each for each in found.get("findings", ()) if each.get("exception") not in active]
                open_.sort(key=lambda each: LEVELS.index(each["level"]))
                message = open_[0]["text"] if open_ else found["verdict"]
                self.case(where, name, "failure", found["verdict"], message, "\n".join(self._lines(found, open_)), out)
            elif found["verdict"] == "excepted":
                names = sorted({each["exception"] for each in found.get("findings", ()) if each.get("exception") in active})
                said = "; ".join(f"{each}: {held[each]['reason']} ({held[each]['owner']}, until {held[each]['expires']})" for each in names)
                self.case(where, name, "skipped", "excepted", said, "", out)
            else:
                self.case(where, name, out=out)

    def _lines(self, judged: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> list[str]:
        lines = []
        for each in findings:
            hint = self.report["codes"].get(each["code"], {}).get("hint", "")
            more = " (the role repairs it)" if each.get("repairable") else ""
            more += f" (exception {each['exception']})" if "exception" in each else ""
            lines.append(f"{each['level']}: {each['code']}: {each['text']}{more}" + (f". {hint}" if hint else ""))
        return [*lines, *(f"would change: {each['change']}" for each in judged.get("changes", ()))]


def _clean(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)

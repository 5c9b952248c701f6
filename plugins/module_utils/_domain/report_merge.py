# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several reports made one: slices of an audit, endpoints of a site, or both. Private to this collection.

What is merged is equal to what one run would have found, but for ``generated``, the earliest, and ``slices``. So every choice
between two values is by an order of the values themselves, never by who comes first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .audit import verdict_of
from .errors import BadInput
from .report_model import UNJUDGED, VERDICTS, WORDS, Report, endpoint_of, excused, identity, parts, summary_of

ValueT = TypeVar("ValueT")
# How an endpoint that was not cut says so in a report of others that were.
_WHOLE = {"of": 1, "present": [1]}
_STATUSES = ("unused", "active", "expired")


def merged(reports: Sequence[Report], *, different_profiles: bool = False) -> Report:
    """One report of one or more, none of which is changed. Raises BadInput where they do not belong together."""
    if not reports:
        raise BadInput("there is no report", hint="Name the files that esxi_audit has written.")
    # Among those of one moment any order does, if only it is always the same.
    ordered = _current(sorted(reports, key=lambda report: (report["generated"], _text(report))))
    ended = {each["id"] for report in ordered for each in report["exceptions"] if each["status"] == "expired"}
    ordered = [_judged_anew(report, ended) for report in ordered]
    profiles = _profiles(ordered, different_profiles)
    endpoints = _endpoints(ordered)
    targets = {_place(target): target for report in ordered for target in report["targets"]}
    whole: Report = {
        "form": ordered[0]["form"],
        "collection": _names(report["collection"] for report in ordered),
        "generated": ordered[0]["generated"],
        "site": _names(report["site"] for report in ordered),
        "profile": profiles,
        "features": _chosen((each["word"], each) for report in ordered for each in report["features"]),
        "endpoints": endpoints,
        "targets": list(targets.values()),
        "codes": _codes(ordered),
        "controls": {
            name: min((report["controls"][name] for report in ordered if name in report["controls"]), key=_text)
            for name in {name for report in ordered for name in report["controls"]}
        },
        "exceptions": _exceptions(ordered),
        "slices": _slices(ordered, endpoints),
        "since": min((report["since"] for report in ordered if report["since"]), default=None),
        "resolved": _united([report["resolved"] for report in ordered]),
    }
    counted = Counter(
        finding.get("exception")
        for part in parts(whole)
        for judged in part["judgements"].values()
        for finding in judged.get("findings", ())
    )
    whole["exceptions"] = [_recounted(each, counted[each["id"]]) for each in whole["exceptions"]]
    return in_order({**whole, "summary": summary_of(whole)})


def _judged_anew(report: Report, ended: set[str]) -> Report:
    """The day on which an exception ends may have come between two slices."""
    active = excused(report) - ended
    if active == excused(report):
        return report

    def anew(part: dict[str, Any]) -> dict[str, Any]:
        verdicts = {
            word: {**judged, "verdict": verdict_of(judged, active)}
            for word, judged in part["judgements"].items()
            if any(each.get("exception") in ended for each in judged.get("findings", ()))
        }
        return {**part, "judgements": {**part["judgements"], **verdicts}}

    return {**report, "endpoints": [*map(anew, report["endpoints"])], "targets": [*map(anew, report["targets"])]}


def in_order(report: Report) -> Report:
    """The same, in the order in which every report is written."""
    word = {name: number for number, name in enumerate(WORDS)}
    return {
        **report,
        "features": sorted(report["features"], key=lambda each: (word.get(each["word"], len(word)), each["word"])),
        "endpoints": sorted(report["endpoints"], key=lambda each: each["name"]),
        "targets": sorted(report["targets"], key=lambda each: (each["endpoint"], each["kind"], each["name"], each["moid"])),
        "codes": dict(sorted(report["codes"].items())),
        "controls": dict(sorted(report["controls"].items())),
        "exceptions": sorted(report["exceptions"], key=lambda each: each["id"]),
        "resolved": sorted(
            report["resolved"], key=lambda each: (each["endpoint"], each["kind"], each["name"], each["feature"], each["code"], each["text"])
        ),
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _place(target: Mapping[str, Any]) -> tuple[str, str, str]:
    return target["endpoint"], target["kind"], identity(target)


def _chosen(entries: Iterable[tuple[str, ValueT]], order: Callable[[ValueT], Any] = _text) -> list[ValueT]:
    """One entry a name: of several the first by their own order."""
    found: dict[str, ValueT] = {}
    for name, entry in entries:
        found[name] = min(found[name], entry, key=order) if name in found else entry
    return list(found.values())


def _united(lists: Sequence[Sequence[ValueT]]) -> list[ValueT]:
    """Without doubles. What all have alike keeps its order; a run has its reasons for it."""
    if all(each == lists[0] for each in lists):
        return list(lists[0])
    return [entry for _name, entry in sorted({_text(entry): entry for each in lists for entry in each}.items())]


def _names(texts: Iterable[str]) -> str:
    """One text where all are alike; otherwise their parts, each once."""
    found = set(texts)
    return found.pop() if len(found) == 1 else ", ".join(sorted({part for text in found for part in text.split(", ")}))


def _profiles(reports: Sequence[Report], different: bool) -> dict[str, str]:
    found = {(report["profile"]["fingerprint"], report["profile"]["name"]) for report in reports}
    prints = sorted({fingerprint for fingerprint, _name in found})
    if len(prints) > 1 and not different:
        described = ", ".join(f"{name} ({fingerprint[:12]})" for fingerprint, name in sorted(found))
        raise BadInput(
            f"the reports were made by different profiles: {described}",
            hint="Run the audit again with one profile, or set different_profiles to true where each endpoint has its own.",
        )
    # Several whole reports of one endpoint: of a target that two of them judged, one would be lost.
    common: dict[str, set[str]] = {}
    for report in reports:
        own = set(report["profile"]["fingerprint"].split("+"))
        for endpoint in report["endpoints"]:
            common[endpoint["name"]] = common.get(endpoint["name"], own) & own
    unlike = next((name for name, left in common.items() if not left), None)
    if unlike is not None:
        raise BadInput(
            f"{unlike} was judged by different profiles",
            hint="Give each endpoint one profile; its groups hold what is different for some hosts.",
        )
    return {
        "name": _names(name for _fingerprint, name in found),
        "fingerprint": "+".join(sorted({part for each in prints for part in each.split("+")})),
    }


def _codes(reports: Sequence[Report]) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {}
    for report in reports:
        for code, about in report["codes"].items():
            found.setdefault(code, []).append(about)
    return {
        code: {"hint": min(one["hint"] for one in each), "controls": _united([one["controls"] for one in each])}
        for code, each in found.items()
    }


# ---- exceptions ---------------------------------------------------------------------------------------------------------


def _exceptions(reports: Sequence[Report]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for report in reports:
        for each in report["exceptions"]:
            known = found.setdefault(each["id"], dict(each))
            for name in ("owner", "reason", "expires"):
                if known[name] != each[name]:
                    raise BadInput(
                        f"exception {each['id']} is not the same in all reports: its {name} is {known[name]!r} in one and {each[name]!r} in another",
                        hint="Give it another id in one of the profiles.",
                    )
            known["status"] = max(known["status"], each["status"], key=_STATUSES.index)
    return list(found.values())


def _recounted(exception: dict[str, Any], findings: int) -> dict[str, Any]:
    """Its findings are those that name it, so that a target judged twice is not counted twice."""
    status = exception["status"] if exception["status"] == "expired" else "active" if findings else "unused"
    return {**exception, "status": status, "findings": findings}


# ---- slices -------------------------------------------------------------------------------------------------------------


def _slices_of(endpoint: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which slices of an endpoint a report holds; its own word goes before the report's."""
    slices: dict[str, Any] | None = endpoint["slices"] if "slices" in endpoint else report["slices"]
    return None if "slices" in endpoint and slices == _WHOLE else slices


def _current(reports: Sequence[Report]) -> list[Report]:
    """Without slices that were run again: the newer run tells how it stands. The older one's failure is over, and what it saw
    may be gone."""
    latest = {place: number for number, report in enumerate(reports) for place in _cut_from(report).values()}
    current = []
    for number, report in enumerate(reports):
        over = {name for name, place in _cut_from(report).items() if latest[place] != number}
        lists = ("endpoints", "targets", "resolved") if over else ()
        kept = {**report, **{key: [each for each in report[key] if endpoint_of(each) not in over] for key in lists}}
        if kept["endpoints"] or not over:
            current.append(kept)
    return current


def _cut_from(report: Report) -> dict[str, tuple[str, str]]:
    """Endpoints of which a report holds slices, by name, with which ones."""
    found = {endpoint["name"]: _slices_of(endpoint, report) for endpoint in report["endpoints"]}
    return {name: (name, _text(slices)) for name, slices in found.items() if slices}


def _slices_united(found: Sequence[dict[str, Any] | None], whose: str) -> dict[str, Any] | None:
    cuts: dict[int, set[int]] = {}
    for slices in found:
        if slices:
            cuts.setdefault(slices["of"], set()).update(slices["present"])
    # Cut twice, in another way: where one cut is complete there is nothing to look for in the other.
    complete = {count: present for count, present in cuts.items() if len(present) == count}
    if not complete and len(cuts) > 1:
        raise BadInput(
            f"{whose} is cut into {' and into '.join(map(str, sorted(cuts)))} slices, and none of these cuts is complete",
            hint="Merge the slices of one cut.",
        )
    cuts = complete or cuts
    return {"of": max(cuts), "present": sorted(cuts[max(cuts)])} if cuts else None


def _slices(reports: Sequence[Report], endpoints: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Those that are there of every endpoint; an endpoint of which others are there says so itself."""
    if not endpoints:
        return _slices_united([report["slices"] for report in reports], "the audit")
    cut = [each["slices"] for each in endpoints if each["slices"]]
    count = max((slices["of"] for slices in cut), default=0)
    present = [set(slices["present"]) for slices in cut if slices["of"] == count]
    whole = {"of": count, "present": sorted(set.intersection(*present))} if cut else None
    for each in endpoints:
        if each["slices"] == whole:
            del each["slices"]
        elif each["slices"] is None:
            each["slices"] = dict(_WHOLE)
    return whole


# ---- endpoints ----------------------------------------------------------------------------------------------------------


def _endpoints(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """United by name; each with its slices, also where they are the report's."""
    found: dict[str, list[tuple[dict[str, Any], Report]]] = {}
    for report in reports:
        for endpoint in report["endpoints"]:
            found.setdefault(endpoint["name"], []).append(({**endpoint, "slices": _slices_of(endpoint, report)}, report))
    return [_endpoint(name, entries) for name, entries in found.items()]


def _endpoint(name: str, entries: Sequence[tuple[dict[str, Any], Report]]) -> dict[str, Any]:
    slices = _slices_united([endpoint["slices"] for endpoint, _report in entries], name)
    reached = [endpoint for endpoint, _report in entries if "failure" not in endpoint]
    judgements: dict[str, list[dict[str, Any]]] = {}
    failures: dict[str, set[int]] = {}
    for endpoint, report in entries:
        for word, judged in endpoint["judgements"].items():
            judgements.setdefault(word, []).append(judged)
        if "failure" not in endpoint:
            continue
        own = _failures([endpoint["failure"]], endpoint["slices"])
        for cause, which in own.items():
            failures.setdefault(cause, set()).update(which)
        if reached:
            verdict = "unreachable" if endpoint["failure"]["kind"].endswith("unreachable") else "failed"
            for feature in report["features"]:
                judgements.setdefault(feature["word"], []).append({"verdict": verdict, "failure": _as_failure(own, None)})
    return {
        "name": name,
        "type": min((each["type"] for each, _report in entries if each["type"]), default=None),
        "version": max((each["version"] for each, _report in entries if each["version"]), default=None),
        **({} if reached else {"failure": _as_failure(failures, slices)}),
        "slices": slices,
        "judgements": {word: _judgement(each) for word, each in sorted(judgements.items(), key=lambda item: (_rank(item[0]), item[0]))},
        "licenses": _licenses([each["licenses"] for each, _report in entries]),
    }


def _rank(word: str) -> int:
    return WORDS.index(word) if word in WORDS else len(WORDS)


def _licenses(lists: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    if all(each == lists[0] for each in lists):
        return list(lists[0])
    # The server counts while the audit runs: the highest use and the shortest time are what matters.
    chosen = _chosen(
        ((entry["fingerprint"], entry) for each in lists for entry in each),
        lambda entry: (-(entry["used"] or 0), entry["days_left"] is None, entry["days_left"] or 0, _text(entry)),
    )
    return sorted(chosen, key=lambda entry: str(entry["fingerprint"]))


def _judgement(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The worst verdict, with all that was found."""
    if all(each == found[0] for each in found):
        return found[0]
    worst = max((each["verdict"] for each in found), key=VERDICTS.index)
    result: dict[str, Any] = {"verdict": worst}
    for name in ("findings", "changes"):
        if any(name in each for each in found):
            result[name] = _united([each.get(name, []) for each in found])
    failures = [each["failure"] for each in found if "failure" in each]
    if failures and worst in UNJUDGED:
        result["failure"] = _as_failure(_failures(failures, None), None)
    return result


def _failures(found: Iterable[Mapping[str, Any]], slices: Mapping[str, Any] | None) -> dict[str, set[int]]:
    """Each failure once, with the slices that met it: its own, or all that are there."""
    result: dict[str, set[int]] = {}
    for failure in found:
        for each in (failure, *failure.get("also", ())):
            plain = {name: value for name, value in each.items() if name not in ("slices", "also")}
            result.setdefault(_text(plain), set()).update(each.get("slices", slices["present"] if slices else ()))
    return result


def _as_failure(found: Mapping[str, set[int]], slices: Mapping[str, Any] | None) -> dict[str, Any]:
    """The first of them, the others behind it. Slices are told unless they are all that are there."""
    listed = []
    for text, which in sorted(found.items()):
        known = slices is not None and which == set(slices["present"])
        listed.append({**json.loads(text), **({"slices": sorted(which)} if which and not known else {})})
    return {**listed[0], **({"also": listed[1:]} if listed[1:] else {})}

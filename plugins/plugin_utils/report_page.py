# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTML file of an audit report, which needs nothing but a browser: no network, no other file.

What a reader wants first is plain HTML, made here: it is there without scripts, in a mail's preview, on paper. Charts and
the table of findings are made in the browser, report_assets/page.js, from the report's data, which stand in the page as
JSON. Private to this collection.
"""

from __future__ import annotations

import base64
import datetime
import functools
import gzip
import hashlib
import html
import json
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ..module_utils._domain.report_model import FINE, UNJUDGED, UNTOLD, VERDICT_NAMES, excused, missing

_ASSETS = pathlib.Path(__file__).resolve().parent / "report_assets"
_KINDS = {"host": ("host", "hosts"), "vm": ("VM", "VMs"), "endpoint": ("endpoint", "endpoints")}
_TYPES = {"VirtualCenter": "vCenter", "HostAgent": "ESXi host"}
# What has not been judged, as it is called everywhere.
_LOST = {verdict: VERDICT_NAMES[verdict] for verdict in UNJUDGED}
# More of one kind than this is not read by anybody above the table of findings, which has them all.
_SHOWN = 12
_RESOLVED_SHOWN = 200
# Names in a sentence.
_NAMED = 3
# What neither HTML nor UTF-8 can carry.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def page(report: Mapping[str, Any]) -> str:
    """The page of a report that the published schema holds for."""
    scripts = [*_libraries(), _asset("page.js")]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    # A page that was sent by mail must not load, call or send anything, whatever a host is called.
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    title = f"Audit of {_e(report['site'])}, {_day(report['generated'])}"
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n',
            f"<title>{title}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n",
            '<a class="skip" href="#findings">Skip to the findings</a>\n',
            _header(report),
            '<main id="main">\n',
            _Digest(report).html(),
            _WITHOUT_SCRIPTS,
            '<div id="app"></div>\n</main>\n',
            _footer(report),
            f'<script type="application/json" id="report">{_data(report)}</script>\n',
            *(f"<script>{script}</script>\n" for script in scripts),
            "</body>\n</html>\n",
        )
    )


_WITHOUT_SCRIPTS = (
    '<noscript><p class="alert">Charts and the table of findings need JavaScript, which is switched off here. '
    "What stands above is complete; the same findings are in the CSV and JSON files beside this page.</p></noscript>\n"
)


# ---- assets -------------------------------------------------------------------------------------------------------------


@functools.cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


@functools.cache
def _libraries() -> tuple[str, ...]:
    # In gzip form because of what ansible-test says of quotation marks in text files.
    files = [library["file"] for library in json.loads(_asset("libraries.json"))]
    return tuple(gzip.decompress((_ASSETS / name).read_bytes()).decode("utf-8") for name in files)


@functools.cache
def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


# ---- text ---------------------------------------------------------------------------------------------------------------


def _e(value: Any) -> str:
    """Any value as text that is shown as it is."""
    return html.escape(_UNFIT.sub("\ufffd", str(value)))


def _bdi(value: Any) -> str:
    """A name that others chose: what it says about the direction of writing ends with it."""
    return f"<bdi>{_e(value)}</bdi>"


def _moment(value: str) -> str:
    return f'<time datetime="{_e(value)}">{_e(value[:10])} {_e(value[11:16])} UTC</time>'


def _day(value: str) -> str:
    return _e(value[:10])


def _sentence(value: str) -> str:
    return _e(value if value.endswith((".", "!", "?")) else f"{value}.")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(_bdi, names[:_NAMED])) + more


def _short(cell: str) -> str:
    """What reads badly over two lines."""
    return f'<span class="short">{cell}</span>'


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _kinds(counts: Mapping[str, int]) -> str:
    return " and ".join(_count(counts[kind], *words) for kind, words in _KINDS.items() if counts.get(kind)) or "nothing"


def _view(text: str, **filters: str) -> str:
    """A link to the findings of this page that these filters leave."""
    return f'<a href="#{_e(urlencode(filters, errors="replace"))}">{text}</a>'


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table class="plain"><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
    )


# ---- what is static -----------------------------------------------------------------------------------------------------


def _header(report: Mapping[str, Any]) -> str:
    profile = report["profile"]
    since = f"compared with {_moment(report['since'])}" if report["since"] else "compared with no earlier report"
    return (
        f'<header><div><h1>Audit of {_bdi(report["site"])}</h1><p class="meta"><span>{_moment(report["generated"])}</span>'
        f"{_endpoints(report['endpoints'])}<span>profile {_bdi(profile['name'])} "
        f'<code title="fingerprint of the profile">{_e(profile["fingerprint"][:12])}</code></span>'
        f"<span>{since}</span></p></div>"
        '<label class="theme" hidden>Colours <select id="theme"><option value="">as the system</option>'
        '<option value="light">light</option><option value="dark">dark</option></select></label></header>\n'
    )


def _endpoints(endpoints: Sequence[Mapping[str, Any]]) -> str:
    if len(endpoints) > _NAMED:
        return f"<span>{_count(len(endpoints), *_KINDS['endpoint'])}</span>"
    told = ((_TYPES.get(each["type"], "endpoint"), _bdi(each["name"]), _e(each["version"] or "")) for each in endpoints)
    return "".join(f"<span>{' '.join(filter(None, parts))}</span>" for parts in told)


def _footer(report: Mapping[str, Any]) -> str:
    notices = _asset("NOTICES.txt").split("\n\n", 1)[1]
    return (
        f"<footer><p>Made by fleetcare.esxi {_e(report['collection'])}. This page is complete in itself: it loads and sends nothing.</p>"
        f'<details><summary>Licences of what draws the charts</summary><pre tabindex="0">{_e(notices)}</pre></details></footer>\n'
    )


class _Unjudged:
    """What one cause kept from being judged: hosts, VMs and endpoints, each once, and features."""

    def __init__(self, hint: str | None) -> None:
        self.hint = hint
        self.parts: dict[int, tuple[str, str]] = {}
        self.words: set[str] = set()


class _Digest:
    """What a report says, counted once and told in the order in which it is asked for."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        self.active = excused(report)
        self.total: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.word = "right"
        self.endpoints_wrong = 0
        self.levels: Counter[str] = Counter()
        self.new = 0
        self.repairs: dict[str, Counter[str]] = {}
        self.changes: Counter[str] = Counter()
        # Who needs somebody, and what no role repairs of all, by level and code.
        self.waits: dict[str, Counter[str]] = {}
        self.codes: dict[str, dict[str, Counter[str]]] = {}
        self.unjudged: dict[tuple[str, str], _Unjudged] = {}
        self.lost: dict[str, set[int]] = {verdict: set() for verdict in _LOST}
        self.found: Counter[str] = Counter()
        self.fresh: Counter[str] = Counter()
        for endpoint in report["endpoints"]:
            self._count(endpoint, "endpoint")
            self.endpoints_wrong += any(judged["verdict"] not in (*FINE, *UNJUDGED) for judged in endpoint["judgements"].values())
        for target in report["targets"]:
            kind = target["kind"]
            self.total[kind] += 1
            self.right[kind] += self._count(target, kind)

    def _count(self, part: Mapping[str, Any], kind: str) -> bool:
        fine = True
        for word, judged in part["judgements"].items():
            verdict = judged["verdict"]
            fine = fine and verdict in FINE
            if verdict == "excepted":
                self.word = "right or excused"
            if verdict == "repairable":
                self.repairs.setdefault(word, Counter())[kind] += 1
                self.changes[word] += len(judged.get("changes", ()))
            elif verdict in UNJUDGED:
                failure = judged.get("failure") or {}
                cause = failure.get("cause") or failure.get("message") or verdict
                found = self.unjudged.setdefault((cause, verdict), _Unjudged(failure.get("hint")))
                found.parts[id(part)] = (kind, part["name"])
                found.words.add(word)
                self.lost[verdict].add(id(part))
            elif verdict == "not_compliant":
                self.waits.setdefault(word, Counter())[kind] += 1
            self._findings(word, judged)
        if "failure" in part:
            self.lost["failed"].add(id(part))
        return fine

    def _findings(self, word: str, judged: Mapping[str, Any]) -> None:
        for finding in judged.get("findings", ()):
            self.found[word] += 1
            self.fresh[word] += bool(finding.get("new"))
            self.new += bool(finding.get("new"))
            if finding.get("exception") in self.active:
                continue
            self.levels[finding["level"]] += 1
            level, waits = finding["level"], not finding.get("repairable") and finding["code"] not in UNTOLD
            # What is beside a failure has its place among what was not judged.
            if waits and (level == "warning" or level == "error" and judged["verdict"] == "not_compliant"):
                self.codes.setdefault(word, {}).setdefault(level, Counter())[finding["code"]] += 1

    def words(self, *tables: Mapping[str, Any]) -> list[str]:
        """Features that one of the tables knows, in the report's order."""
        known = [feature["word"] for feature in self.report["features"]]
        return [word for word in dict.fromkeys((*known, *(word for table in tables for word in table))) if any(word in t for t in tables)]

    def feature(self, word: str) -> Mapping[str, Any]:
        named = {feature["word"]: feature for feature in self.report["features"]}
        return named.get(word) or {"word": word, "title": word, "repaired_by": None, "owner": None}

    def title(self, word: str) -> str:
        return _e(self.feature(word)["title"])

    def html(self) -> str:
        pair = f'<div class="pair">{self._exceptions()}{self._resolved()}</div>\n'
        return f"{self._verdict()}{self._waits()}{pair}"

    # ---- the verdict

    def _verdict(self) -> str:
        alerts = [*self._missing(), *self._not_judged(), *self._expired()]
        wrong = self.endpoints_wrong or self.right != self.total
        state = "bad" if wrong else "unsure" if alerts else "good"
        figures = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in self._figures())
        told = "".join(f'<li class="alert">{alert}</li>' for alert in alerts)
        return (
            f'<section class="verdict {state}" aria-labelledby="verdict"><h2 id="verdict">{self._sentence(state)}</h2>'
            f'<p>{self._open()}</p>{f"<ul>{told}</ul>" if told else ""}<dl class="figures">{figures}</dl></section>\n'
        )

    def _sentence(self, state: str) -> str:
        if not self.total:
            return "Nothing could be judged." if self.report["endpoints"] else "The report holds no hosts and no VMs."
        shares = [f"{self.right[kind]:,} of {_count(self.total[kind], *_KINDS[kind])}" for kind in ("host", "vm") if self.total[kind]]
        if self.right == self.total:
            lead = f"{_kinds(self.total)} are {self.word}, but not all was looked at."
            if state == "good":
                lead = f"All is {self.word}: {_kinds(self.total)}."
            elif state == "bad":
                lead = f"{_kinds(self.total)} are {self.word}, {self.endpoints_wrong:,} of {_count(len(self.report['endpoints']), *_KINDS['endpoint'])} not."
            return lead[0].upper() + lead[1:]
        return f"{' and '.join(shares)} are {self.word}."

    def _open(self) -> str:
        words = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}
        levels = [_view(_count(self.levels[level], *words[level]), level=level, state="open") for level in words if self.levels[level]]
        told = f"Open are {', '.join(levels)}." if levels else "No finding is open." if self.total else ""
        if not self.report["since"]:
            return f"{told} There is no earlier report to compare with."
        new = (
            f"{_view(_count(self.new, 'finding', 'findings'), new='1')} {'is' if self.new == 1 else 'are'}" if self.new else "No finding is"
        )
        gone = len(self.report["resolved"])
        return f"{told} {new} new since {_moment(self.report['since'])}; {gone:,} {'was' if gone == 1 else 'were'} resolved."

    def _missing(self) -> list[str]:
        alerts = []
        for names, of, which in missing(self.report):
            named = ", ".join(f"{each:,}" for each in which[:_SHOWN]) + (" and more" if len(which) > _SHOWN else "")
            whose = f" of {_named(names)}" if names else ""
            alerts.append(
                f"<strong>{_count(len(which), 'slice', 'slices')} of {of:,} missing</strong> ({named}){whose}: "
                "what belongs to them is not on this page. Run them again and merge the reports."
            )
        return alerts

    def _not_judged(self) -> list[str]:
        alerts = []
        for endpoint in self.report["endpoints"]:
            failure = endpoint.get("failure")
            if failure:
                # The message has the next step in it, where the two come from the same run.
                told = [
                    failure["message"],
                    *([failure["hint"]] if failure.get("hint") and failure["hint"] not in failure["message"] else []),
                ]
                alerts.append(f"<strong>{_bdi(endpoint['name'])} not judged</strong>: {' '.join(map(_sentence, told))}")
        causes = sorted(self.unjudged.items(), key=lambda item: -len(item[1].parts))
        for (cause, verdict), found in causes[:_SHOWN]:
            kinds = Counter(kind for kind, _name in found.parts.values())
            words = ", ".join(self.title(word) for word in self.words(dict.fromkeys(found.words)))
            alerts.append(
                f"{_view(_kinds(kinds), verdict=verdict)} <strong>{_LOST[verdict]}</strong> ({words}): "
                f"{_named([name for _kind, name in found.parts.values()])}: {_sentence(cause)}"
                + (f" {_sentence(found.hint)}" if found.hint else "")
            )
        left = len({place for _key, found in causes[_SHOWN:] for place in found.parts})
        if left:
            alerts.append(f"{left:,} <strong>unreachable or not judged</strong> for other causes; the table of findings has them all.")
        return alerts

    def _expired(self) -> list[str]:
        expired = [each for each in self.report["exceptions"] if each["status"] == "expired"]
        return [
            f"Exception {_bdi(each['id'])} of {_bdi(each['owner'])} <strong>expired on {_e(each['expires'])}</strong>: "
            f"what it excused counts again ({_count(each['findings'], 'finding', 'findings')})."
            for each in expired
        ]

    def _figures(self) -> list[tuple[str, str]]:
        shares = [
            (
                f"{'Hosts' if kind == 'host' else 'VMs'} {self.word}",
                f"{self.right[kind]:,}<small> / {self.total[kind]:,}</small>",
            )
            for kind in ("host", "vm")
            if self.total[kind]
        ]
        levels = [(f"{level.capitalize()}s", f"{self.levels[level]:,}") for level in ("error", "warning", "note")]
        drift = [("New", f"{self.new:,}"), ("Resolved", f"{len(self.report['resolved']):,}")] if self.report["since"] else []
        lost = [(name.capitalize(), f"{len(self.lost[verdict]):,}") for verdict, name in _LOST.items()]
        return [*shares, *levels, *drift, *lost]

    # ---- what waits, and what was done

    def _waits(self) -> str:
        roles = [
            (
                f"<code>{_e(self.feature(word)['repaired_by'] or '-')}</code>",
                self.title(word),
                _short(_view(_kinds(self.repairs[word]), feature=word, verdict="repairable")),
                f"{self.changes[word]:,}",
            )
            for word in self.words(self.repairs)
        ]
        owners = [
            (
                _bdi(self.feature(word)["owner"] or "no owner named"),
                self.title(word),
                _short(_view(_kinds(self.waits[word]), feature=word, verdict="not_compliant")) if word in self.waits else "-",
                self._codes(word, "error", verdict="not_compliant") + self._codes(word, "warning") or "-",
            )
            for word in self.words(self.waits, self.codes)
        ]
        parts = [
            _table("A run of the role would repair", ("Role", "Feature", "Targets", "Changes"), roles)
            if roles
            else '<p class="none">Nothing waits for a role.</p>',
            _table("No role repairs this: it waits for its owner", ("Owner", "Feature", "Need somebody", "Findings"), owners)
            if owners
            else '<p class="none">Nothing waits for an owner.</p>',
        ]
        return (
            f'<section aria-labelledby="waits"><h2 id="waits">What waits for whom</h2><div class="pair">{"".join(parts)}</div></section>\n'
        )

    def _codes(self, word: str, level: str, **filters: str) -> str:
        """A line of each with how often it is there, as a link to just these findings."""
        codes = self.codes.get(word, {}).get(level, Counter()).most_common()
        if not codes:
            return ""
        shown = [
            _view(f"<code>{_e(code)}</code>", feature=word, level=level, code=code, state="waiting", **filters) + f" {count:,}"
            for code, count in codes[:_SHOWN]
        ]
        told = ", ".join([*shown, *([f"{len(codes) - _SHOWN:,} more"] if len(codes) > _SHOWN else [])])
        return f'<p><span class="where">{level}s:</span> {told}</p>'

    def _exceptions(self) -> str:
        exceptions = self.report["exceptions"]
        if not exceptions:
            return ""
        order = {"expired": 0, "active": 1, "unused": 2}
        rows = [
            (self._until(each), _short(_bdi(each["id"])), _bdi(each["owner"]), _bdi(each["reason"]), f"{each['findings']:,}")
            for each in sorted(exceptions, key=lambda each: (order[each["status"]], each["expires"], each["id"]))
        ]
        table = _table("Exceptions of the profile", ("Until", "Id", "Owner", "Reason", "Findings"), rows)
        return f'<section aria-labelledby="exceptions"><h2 id="exceptions">Exceptions</h2>{table}</section>\n'

    def _until(self, exception: Mapping[str, Any]) -> str:
        if exception["status"] == "expired":
            return f'<strong class="expired">expired {_e(exception["expires"])}</strong>'
        unused = ", excuses nothing" if exception["status"] == "unused" else ""
        try:
            left = (datetime.date.fromisoformat(exception["expires"]) - datetime.date.fromisoformat(self.report["generated"][:10])).days
        except ValueError:
            return f"{_e(exception['expires'])}{unused}"
        told = _count(left, "day", "days") + " left" if left else "its last day"
        return f"{_e(exception['expires'])}, {told}{unused}"

    def _resolved(self) -> str:
        if not self.report["since"]:
            return ""
        resolved = self.report["resolved"]
        gone = Counter(each["feature"] for each in resolved)
        rows = [
            (
                self.title(word),
                f"{self.found[word] - self.fresh[word] + gone[word]:,}",
                f"{gone[word]:,}",
                f"{self.fresh[word]:,}",
                f"<strong>{self.found[word]:,}</strong>",
            )
            for word in self.words(self.found, gone)
        ]
        if not rows:
            return ""
        table = _table(
            f"Findings since {_moment_text(self.report['since'])}, excused ones too", ("Feature", "Before", "Resolved", "New", "Now"), rows
        )
        listed = [
            (_bdi(each["name"]), self.title(each["feature"]), _e(each["level"]), _bdi(each["text"]), _moment(each["since"]))
            for each in resolved[:_RESOLVED_SHOWN]
        ]
        more = f"<p>{len(resolved) - _RESOLVED_SHOWN:,} more are in the JSON file.</p>" if len(resolved) > _RESOLVED_SHOWN else ""
        details = (
            f"<details><summary>The {_count(len(resolved), 'finding that was', 'findings that were')} resolved</summary>"
            f"{_table('Resolved findings', ('Target', 'Feature', 'Level', 'Finding', 'Was there since'), listed)}{more}</details>"
            if resolved
            else ""
        )
        return (
            '<section aria-labelledby="repaired"><h2 id="repaired">What was repaired since the report before</h2>'
            f"{table}{details}</section>\n"
        )


def _moment_text(value: str) -> str:
    return f"{_e(value[:10])} {_e(value[11:16])} UTC"


# ---- the data -----------------------------------------------------------------------------------------------------------


class _Numbers:
    """Values that occur often, each kept once: a fleet's hosts say mostly the same."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Any, int] = {}

    def of(self, value: Any, key: Any = None) -> int:
        """Its place; -1 for None."""
        if value is None:
            return -1
        key = value if key is None else key
        place = self._places.setdefault(key, len(self.values))
        if place == len(self.values):
            self.values.append(value)
        return place


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _data(report: Mapping[str, Any]) -> str:
    """The report as page.js reads it, in a form that nothing in it can end: with no bracket, and in ASCII."""
    strings, judgements, sets, exposures = _Numbers(), _Numbers(), _Numbers(), _Numbers()

    def judged(part: Mapping[str, Any]) -> int:
        flat: list[int] = []
        for word, judgement in part["judgements"].items():
            # Most say nothing but their verdict.
            key = judgement["verdict"] if len(judgement) == 1 else _compact(judgement)
            flat += (strings.of(word), judgements.of(judgement, key))
        return sets.of(flat, tuple(flat))

    targets = []
    for target in report["targets"]:
        name, path = target["name"], target["path"]
        exposure, clock = target.get("exposure"), target.get("clock")
        targets.append(
            [
                int(target["kind"] == "vm"),
                name,
                target["moid"],
                strings.of(target["endpoint"]),
                # A path mostly ends with the name, and what stands before it is shared.
                *((strings.of(path[: len(path) - len(name)]), 1) if path.endswith(name) else (strings.of(path), 0)),
                strings.of(target["datacenter"]),
                strings.of(target["cluster"]),
                strings.of(target.get("host")),
                [strings.of(group) for group in target["groups"]],
                judged(target),
                [clock["offset"], clock["bound"], clock["limit"]] if clock else 0,
                exposures.of(exposure, None if exposure is None else tuple(sorted(exposure.items()))),
            ]
        )
    endpoints = [
        {key: value for key, value in endpoint.items() if key != "judgements"} | {"set": judged(endpoint)}
        for endpoint in report["endpoints"]
    ]
    copied = ("site", "generated", "since", "features", "codes", "controls", "exceptions")
    data = {
        **{key: report[key] for key in copied},
        "endpoints": endpoints,
        "targets": targets,
        "strings": strings.values,
        "judgements": judgements.values,
        "sets": sets.values,
        "exposures": exposures.values,
        "verdicts": VERDICT_NAMES,
    }
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

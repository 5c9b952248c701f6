# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures as tables, for a terminal and as Markdown. Pure; tools/generate.py puts the parts into docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.bench.figures import CALLS, Row, budget, cell, formula, judged, same_job

# As tests/bench/jobs.py has them, which this file must not need: it is read where no Ansible is.
OURS, THEIRS, ALSO_THEIRS, LOOP, LEAST = "fleetcare.esxi", "community.vmware", "vmware.vmware", "loop as of govc", "bare script"
PEERS = (THEIRS, ALSO_THEIRS, LOOP)
FIXED = 40
"""More calls than these that are no writes go to single hosts, see CALLS."""
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def markdown(table: Table) -> str:
    head, rows = table
    right = ["---:" if column and all(_is_figure(row[column]) for row in rows) else "---" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, tuple(right), *rows)) + "\n"


def aligned(table: Table) -> str:
    head, rows = table
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    words = [not all(_is_figure(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) if word else text.rjust(width) for text, width, word in zip(row, widths, words, strict=True)).rstrip()
        for row in (head, *rows)
    )


def _is_figure(text: str) -> bool:
    return not text or text.lstrip("~≈").replace(",", "").rstrip("×").replace(".", "", 1).isdigit()


def number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def seconds(row: Row | None, figure: str = "wall_s") -> str:
    """``~`` where the machine had other work, ``≈`` where it was computed."""
    if row is None:
        return ""
    mark = "≈" if row["computed"] else "~" if row["noisy"] else ""
    return mark + number(row[figure], 2 if row[figure] < 10 else 1 if row[figure] < 100 else 0)


def times(value: float | None) -> str:
    return "" if value is None else f"{number(value, 2 if value < 1 else 1 if value < 10 else 0)}×"


def ratio(row: Row, rows: Sequence[Row], figure: str) -> float | None:
    ours = cell(rows, row["hosts"], row["delay_ms"], OURS, row["feature"], row["job"])
    return row[figure] / ours[figure] if ours and ours is not row and ours[figure] else None


# ---- the whole table ------------------------------------------------------------------------------------------------

COLUMNS = ("job", "hosts", "ms", "who", "calls", "logins", "KB up", "KB down", "CPU s", "MB", "wall s", "calls to ours", "wall to ours")


def every(report: Mapping[str, Any]) -> Table:
    rows: list[Row] = report["rows"]
    order = {who: number for number, who in enumerate((OURS, *PEERS, LEAST))}
    jobs = list(dict.fromkeys((row["feature"], row["job"]) for row in rows))
    found = sorted(rows, key=lambda row: (jobs.index((row["feature"], row["job"])), row["hosts"], row["delay_ms"], order[row["who"]]))
    return COLUMNS, [
        (
            f"{row['feature']} {row['job']}",
            number(row["hosts"]),
            str(row["delay_ms"]),
            row["who"],
            number(row["calls"]),
            number(row["logins"]),
            number(row["kb_up"]),
            number(row["kb_down"]),
            seconds(row, "cpu_s"),
            number(row["memory_mb"]),
            seconds(row),
            times(ratio(row, rows, "calls")),
            times(ratio(row, rows, "wall_s")),
        )
        for row in found
    ]


def goals(report: Mapping[str, Any]) -> Table:
    """The firewall check beside vmware_host_firewall_manager."""
    rows: list[tuple[str, ...]] = []
    for each in judged(report, OURS, THEIRS):
        goal, mine, other = each["goal"], each["mine"], each["other"]
        if mine is None:
            rows.append((goal.what, times(goal.least) if goal.least else "no claim", "", "", "", "not measured"))
            continue
        counted = goal.figure == "calls"
        shown = [number(row[goal.figure]) if counted else f"{seconds(row)} s" for row in (other, mine)]
        verdict = "no claim is made" if each["met"] is None else "met" if each["met"] else "NOT MET"
        if not counted and (mine["noisy"] or other["noisy"]):
            verdict += ", on a busy machine"
        if other["computed"]:
            verdict += ", theirs computed"
        rows.append((goal.what, times(goal.least) if goal.least else "no claim", times(each["ratio"]), *shown, verdict))
    return ("goal", "at least", "measured", "theirs", "ours", "verdict"), rows


def budgets(report: Mapping[str, Any]) -> Table:
    """The whole playbook beside the floor of the same run."""
    ping = report["ping"]["wall_s"]
    rows: list[tuple[str, ...]] = []
    jobs = _jobs(report["rows"])
    for row in sorted(report["rows"], key=lambda row: (jobs.index((row["feature"], row["job"])), row["hosts"], row["delay_ms"])):
        if row["who"] != OURS or row["hosts"] < 100:
            continue
        # Whatever a run does beyond its fixed calls goes to single hosts.
        allowed = budget(row, ping, row["writes"], max(0, row["calls"] - row["writes"] - FIXED))
        verdict = "within" if row["wall_s"] <= allowed else "over, on a busy machine" if row["noisy"] else "OVER"
        job = f"{row['feature']} {row['job']}"
        above = number(row["wall_s"] - ping, 2)
        rows.append((job, number(row["hosts"]), str(row["delay_ms"]), seconds(row), above, number(allowed - ping, 2), verdict))
    return ("job", "hosts", "ms", "wall s", "above the floor", "budget above the floor", "verdict"), rows


def origin(report: Mapping[str, Any]) -> str:
    ping = report["ping"]
    noisy = sum(row["noisy"] for row in report["rows"])
    estimated = sum(row["computed"] for row in report["rows"])
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    took = f", {report['minutes']} minutes" if "minutes" in report else ", not finished"
    after = report.get("ping_at_end")
    end = f" (at the end of the run {'~' if after['noisy'] else ''}{after['wall_s']} s)" if after else ""
    return (
        f"{report['date']}, `BENCH={report['mode']}`{took}, on {report['machine']}; {versions}. A play with one `ping`, the floor of every "
        f"play: {'~' if ping['noisy'] else ''}{ping['wall_s']} s{end}, {ping['cpu_s']} s of CPU, {ping['memory_mb']} MB. "
        f"{len(report['rows'])} rows, of which {noisy} are marked ~ (other work took more than 40 % of a core meanwhile) and "
        f"{estimated} ≈ (computed in the other side's favour, not measured)." + (f" {report['note']}" if "note" in report else "")
    )


def _all(report: Mapping[str, Any], shown: Callable[[Table], str], title: Callable[[str], str]) -> str:
    parts = [
        origin(report),
        title("Goals: the firewall check beside community.vmware.vmware_host_firewall_manager"),
        shown(goals(report)),
        title("The whole playbook above the floor"),
        shown(budgets(report)),
        title("Everything"),
        shown(every(report)),
    ]
    if report.get("plays"):
        parts += [title("A play over the hosts of an inventory beside one task"), shown(plays(report))]
    if report.get("wrong"):
        parts += [title("Did not do what it is measured for"), "\n".join(report["wrong"])]
    if report["left_out"]:
        parts += [title("Left out, as it would take too long and too little is known to compute it"), "\n".join(report["left_out"])]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def plays(report: Mapping[str, Any]) -> Table:
    """Seconds; the last two are how many times the one task the play takes, and what is left of that without Ansible's own share."""
    head = (
        "job",
        "hosts",
        "calls",
        "logins",
        "one task",
        "play over the hosts",
        "a play with as many empty tasks",
        "ratio",
        "ratio of ours",
    )
    return head, [
        (
            each["job"],
            number(each["hosts"]),
            f"{each['calls']:,} ({each['calls_of_one']:,} as one task)",
            number(each["logins"]),
            *(f"{number(each['wall'][kind], 2)} s" for kind in ("one", "play", "floor")),
            times(each["ratio"]),
            times(each["ratio_of_ours"]),
        )
        for each in report["plays"]
    ]


def in_terminal(report: Mapping[str, Any]) -> str:
    return _all(report, aligned, str)


def in_full(report: Mapping[str, Any]) -> str:
    return "# Figures\n\n" + _all(report, markdown, "## {}".format)


# ---- parts of docs/performance.md -----------------------------------------------------------------------------------


def _jobs(rows: Iterable[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["feature"], row["job"]) for row in rows))


def calls_table(report: Mapping[str, Any]) -> Table:
    rows: list[Row] = report["rows"]
    found: list[tuple[str, ...]] = []
    for feature, job in _jobs(rows):
        known = CALLS.get((feature, job))
        mine = sorted({row["hosts"]: row["calls"] for row in same_job(rows, feature, job, OURS)}.items())
        measured = ", ".join(f"{calls:,} at {hosts:,}" for hosts, calls in mine)
        said = known.said(changes=job == "change") if known else measured
        peers = [(who, formula(same_job(rows, feature, job, who))) for who in PEERS]
        theirs, loops = (next((f"{said} ({who})" for who, said in peers if said and who in some), "") for some in (PEERS[:2], PEERS[2:]))
        bare = formula(same_job(rows, feature, job, LEAST))
        if said:
            found.append((f"{feature} {job}", said, known.pages if known else "", theirs, loops.removesuffix(f" ({LOOP})"), bare))
    return ("job", "ours", "further pages a further 1,000 hosts", "theirs", "a loop as of govc", "bare script"), found


def walls_table(report: Mapping[str, Any], delay: int) -> Table:
    rows: list[Row] = report["rows"]
    sizes = sorted({row["hosts"] for row in rows})
    found = []
    for feature, job in _jobs(rows):
        for who in (OURS, *PEERS, LEAST):
            cells = [cell(rows, hosts, delay, who, feature, job) for hosts in sizes]
            if any(cells):
                found.append((f"{feature} {job}" if who == OURS else "", who, *(seconds(each) for each in cells)))
    return ("job", "who", *(f"{hosts:,} hosts" for hosts in sizes)), found


def ratios_table(report: Mapping[str, Any]) -> Table:
    """How many times ours the others are, size by size."""
    rows: list[Row] = report["rows"]
    sizes = sorted({row["hosts"] for row in rows if row["who"] in PEERS} or {row["hosts"] for row in rows})
    delays = sorted({row["delay_ms"] for row in rows})
    found: list[tuple[str, ...]] = []

    def line(feature: str, job: str, who: str, delay: int, figure: str) -> str:
        cells = [cell(rows, hosts, delay, who, feature, job) for hosts in sizes]
        return ", ".join(_mark(each, rows, figure) + times(ratio(each, rows, figure)) if each else "-" for each in cells)

    for feature, job in _jobs(rows):
        for who in (*PEERS, LEAST):
            if same_job(rows, feature, job, who):
                walls = [line(feature, job, who, delay, "wall_s") for delay in delays]
                found.append((f"{feature} {job}", who, line(feature, job, who, delays[0], "calls"), *walls))
    said = ", ".join(f"{hosts:,}" for hosts in sizes)
    return ("job", "who", f"calls at {said}", *(f"wall, {delay} ms" for delay in delays)), found


def _mark(row: Row, rows: Sequence[Row], figure: str) -> str:
    """Of a ratio to ours: either side may have been disturbed."""
    ours = cell(rows, row["hosts"], row["delay_ms"], OURS, row["feature"], row["job"])
    noisy = figure == "wall_s" and any(each["noisy"] for each in (row, ours) if each)
    return "≈" if row["computed"] else "~" if noisy else ""


def growth_table(report: Mapping[str, Any]) -> Table:
    """What a further host costs, by the two largest fleets of ours, and what a delay of one round trip costs."""
    rows = [row for row in report["rows"] if row["who"] == OURS]
    found: list[tuple[str, ...]] = []
    for feature, job in _jobs(rows):
        here = sorted((row for row in same_job(rows, feature, job, OURS)), key=lambda row: row["hosts"])
        still = [row for row in here if row["delay_ms"] == 0]
        if len(still) < 2:
            continue
        small, large = still[-2:]
        more = large["hosts"] - small["hosts"]
        far = next((row for row in here if row["hosts"] == small["hosts"] and row["delay_ms"]), None)
        trips = (far["wall_s"] - small["wall_s"]) * 1000 / far["delay_ms"] if far else None
        found.append(
            (
                f"{feature} {job}",
                f"{number(small['hosts'])} to {number(large['hosts'])}",
                number((large["calls"] - small["calls"]) / more, 3),
                number(1000 * (large["kb_up"] + large["kb_down"] - small["kb_up"] - small["kb_down"]) / more),
                number(1000 * (large["cpu_s"] - small["cpu_s"]) / more, 2),
                number(1000 * (large["memory_mb"] - small["memory_mb"]) / more),
                "" if trips is None else number(trips),
            )
        )
    head = ("job", "hosts", "calls a host", "bytes a host", "CPU ms a host", "KB of memory a host", "delay, in round trips")
    return head, found


def memory_table(report: Mapping[str, Any]) -> Table:
    rows: list[Row] = report["rows"]
    sizes = sorted({row["hosts"] for row in rows})
    found = []
    for feature, job in _jobs(rows):
        for who in (OURS, *PEERS[:2], LEAST):
            cells = [cell(rows, hosts, 0, who, feature, job) for hosts in sizes]
            if any(each and each["memory_mb"] for each in cells):
                shown = [number(each["memory_mb"]) if each and each["memory_mb"] else "" for each in cells]
                found.append((f"{feature} {job}" if who == OURS else "", who, *shown))
    return ("job", "who", *(f"{hosts:,} hosts" for hosts in sizes)), found


def regions(report: Mapping[str, Any]) -> dict[str, str]:
    """What stands between the marks of docs/performance.md, by name."""
    latencies = [delay for delay in sorted({row["delay_ms"] for row in report["rows"]}) if delay]
    parts = {
        "performance origin": origin(report) + "\n",
        "performance goals": markdown(goals(report)),
        "performance calls": markdown(calls_table(report)),
        "performance walls": markdown(walls_table(report, 0)),
        "performance walls far": "\n".join(f"Over {delay} ms:\n\n{markdown(walls_table(report, delay))}" for delay in latencies)
        or "Not measured.\n",
        "performance ratios": markdown(ratios_table(report)),
        "performance budgets": markdown(budgets(report)),
        "performance growth": markdown(growth_table(report)),
        "performance memory": markdown(memory_table(report)),
        "performance plays": markdown(plays(report)) if report.get("plays") else "Not measured in this run.\n",
    }
    return {name: f"\n{text}\n" for name, text in parts.items()}

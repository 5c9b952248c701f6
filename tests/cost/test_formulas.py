# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/performance.md says that our runs cost, held to the call; and the figures that it shows are of today's code."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.bench.__main__ import FLEET, KEPT
from tests.bench.figures import CALLS, CONTAINERS, PAGE
from tests.bench.jobs import FEATURES, OURS, Job, Place
from tests.integration.driver import run
from tests.simulator import Simulator

NOWHERE = Place({"esxi_hostname": ["*"]}, {})
JOBS = {(job.feature, job.name): job for word in FEATURES for job in FEATURES[word](NOWHERE) if job.who == OURS}
# Both sides of the end of a page of names, in which come hosts and what holds them; PAGE + 1 is beyond that of properties.
EDGE = PAGE - CONTAINERS
CHEAP = (("firewall", "check"), ("license", "check"), ("ntp", "check"))


def fleet(hosts: int) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FLEET.read_text(encoding="utf-8"))
    content["hosts"][0]["count"] = hosts
    return content


def done(sim: Simulator, job: Job, **more: Any) -> dict[str, Any]:
    """The job as the bench runs it, in this process, and what it cost."""
    sim.clear_journal()
    result = run(sim, job.module.rpartition(".")[2], check=job.check, **{**job.options, **more})
    assert "failed" not in result["summary"], result["summary"]
    return sim.summary()


@pytest.mark.parametrize("hosts", [10, PAGE // 2 + 1])
def test_calls_follow_the_formulas(hosts: int) -> None:
    with Simulator(fleet(hosts)) as sim:
        for which, calls in CALLS.items():
            sim.reset()
            summary = done(sim, JOBS[which])
            changes = hosts * JOBS[which].writes
            assert summary["writes"] == changes, which
            assert 0 <= summary["calls"] - calls(hosts, changes) <= calls.again * hosts, (which, summary["by_method"])
            assert (summary["logins"], summary["logouts"]) == (1, 1), which
        assert sim.errors == []


@pytest.mark.parametrize("hosts", [EDGE, EDGE + 1, PAGE + 1])
def test_pages_follow_the_formulas(hosts: int) -> None:
    with Simulator(fleet(hosts)) as sim:
        for which in CHEAP:
            assert done(sim, JOBS[which])["calls"] == CALLS[which](hosts), which


def test_a_host_that_is_right_costs_nothing_more() -> None:
    """Of a hundred hosts, those change that somebody has changed by hand."""
    acts: dict[str, dict[str, Any]] = {
        "ntp": {"do": "set_servers", "servers": ["192.0.2.9"]},
        "firewall": {"do": "set_ruleset", "key": "syslog", "enabled": True, "all_ip": True, "ip_address": [], "ip_network": []},
        "license": {"do": "set_license", "key": "evaluation"},
    }
    hosts, touched = 100, 9
    with Simulator(fleet(hosts)) as sim:
        for feature, act in acts.items():
            sim.reset()
            sim.act(host="esx-000*", **act)
            check = JOBS[feature, "check"]
            summary = done(sim, Job(**{**vars(check), "check": False, "writes": 1}))
            assert summary["calls"] - summary["writes"] == CALLS[feature, "change"](hosts, 0), (feature, summary["by_method"])
            assert summary["writes"] % touched == 0 and 0 < summary["writes"] <= 2 * touched, (feature, summary["writes"])
        assert sim.errors == []


@pytest.mark.parametrize("waves", [["100%"], [1, "10%", "100%"]])
def test_a_wave_costs_what_it_costs(waves: list[Any]) -> None:
    hosts = 30
    with Simulator(fleet(hosts)) as sim:
        for which, calls in CALLS.items():
            if calls.a_wave:
                sim.reset()
                summary = done(sim, JOBS[which], waves=waves)
                assert summary["calls"] == calls(hosts, hosts) + calls.a_wave * (len(waves) - 1), (which, summary["by_method"])


def kept() -> list[dict[str, Any]]:
    if not KEPT.exists():
        pytest.skip("no figures are kept yet; BENCH=full make bench makes them")
    report = json.loads(KEPT.read_text(encoding="utf-8"))
    return [row for row in report["rows"] if row["who"] == OURS]


def test_the_kept_figures_are_those_of_the_formulas() -> None:
    """So that docs/performance.md cannot tell of code that is gone."""
    stale = []
    for row in kept():
        calls = CALLS.get((row["feature"], row["job"]))
        changes = row["hosts"] if row["writes"] else 0
        if calls is not None and not 0 <= row["calls"] - calls(row["hosts"], changes) <= calls.again * row["hosts"]:
            stale.append((row["feature"], row["job"], row["hosts"], row["calls"], calls(row["hosts"], changes)))
    assert stale == [], "the kept figures are old: make bench with BENCH=full"


def test_the_kept_bytes_are_those_of_today() -> None:
    """Compression may differ a little between versions of zlib."""
    rows = {(row["feature"], row["job"]): row for row in kept() if row["hosts"] == 10 and row["delay_ms"] == 0}
    with Simulator(fleet(10)) as sim:
        for which in CALLS:
            if which in rows and not CALLS[which].again:
                sim.reset()
                summary = done(sim, JOBS[which])
                now, then = (summary["bytes_in"] + summary["bytes_out"]) / 1000, rows[which]["kb_up"] + rows[which]["kb_down"]
                assert now == pytest.approx(then, rel=0.1), which

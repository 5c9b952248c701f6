# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU of a play over a thousand hosts, above that of a play with a bare ping; on the newest ansible-core."""

from __future__ import annotations

import json
import pathlib

from tests.bench.measure import Server
from tests.integration.test_budget import KEPT, NEW, OURS, cost

# The goals belong to a machine where the play with a bare ping costs this much CPU (seconds).
REFERENCE_PING = 0.85
GOAL = {"check": 0.5, "change": 1.0}
# The same run was seen to cost a quarter more within a minute on an idle virtual machine. What goes beyond is ours.
NOISE = 1.25


def test_cpu_at_a_thousand_hosts(thousand: Server, tmp_path: pathlib.Path) -> None:
    """Each turn is measured against the ping of the same turn, and the best one counts: other work only ever adds."""
    best = dict.fromkeys(GOAL, float("inf"))
    for _turn in range(5):
        thousand.control("/reset", {})
        ping = cost(tmp_path, thousand, "ansible.builtin.ping", {}).cpu
        check = cost(tmp_path, thousand, OURS, {**KEPT, "session": "single"}, "--check").cpu
        change = cost(tmp_path, thousand, OURS, {**NEW, "session": "single"}).cpu
        pace = max(1.0, ping / REFERENCE_PING)
        for job, cpu in (("check", check), ("change", change)):
            best[job] = min(best[job], (cpu - ping) / pace)
    print(json.dumps({"goal": GOAL, "measured": best}))
    for job, goal in GOAL.items():
        assert best[job] <= goal * NOISE, best

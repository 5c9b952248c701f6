# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that ours is measured beside do what they are measured for, with the calls that they stand for; and the bench notices if not."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import pytest

from tests.bench.__main__ import Wrong, measured, scenario
from tests.bench.jobs import FEATURES, LEAST, LOOP, Job, Place
from tests.bench.measure import Server, served

SCRIPTS = [job for word in FEATURES for job in FEATURES[word](Place({}, {})) if job.script and job.fleet == "hosts"]
HOSTS = 5
# Beside one write a host; clocks and acceptance levels are asked of each host.
FIXED = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    what, options = scenario("hosts", HOSTS, tmp_path_factory.mktemp("fleet"))
    with served(what, **options) as running:
        yield running


@pytest.mark.parametrize("job", SCRIPTS, ids=lambda job: f"{job.title} {job.who}")
def test_calls(job: Job, server: Server, tmp_path: pathlib.Path) -> None:
    row = measured(job, HOSTS, 0, server, tmp_path, 1)
    asked = HOSTS * (job.feature == "acceptance" or "clocks" in job.name)
    assert row["calls"] == FIXED + (9 * HOSTS if job.who == LOOP else asked + HOSTS * job.writes), row
    assert row["logins"] == 1 and row["writes"] == HOSTS * job.writes
    assert row["wall_s"] > 0 and row["cpu_s"] > 0


def test_a_job_that_does_nothing_is_noticed(server: Server, tmp_path: pathlib.Path) -> None:
    job = next(job for job in SCRIPTS if (job.title, job.who) == ("ntp change", LEAST))
    with pytest.raises(Wrong, match="0 writes"):
        measured(dataclasses.replace(job, script=("least", "ntp:check")), HOSTS, 0, server, tmp_path, 1)
    with pytest.raises(Wrong):
        measured(dataclasses.replace(job, script=("least", "ntp:nonsense")), HOSTS, 0, server, tmp_path, 1)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a thousand machines may cost, of which three hundred are locked for five causes. Calls do not vary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.driver import run
from tests.simulator import Simulator

pytest.importorskip("kmip", reason="PyKMIP is not installed")
pytestmark = pytest.mark.newest_only

# Beside one CryptoUnlock_Task for each machine that can be opened.
CALLS = 30
CAUSES = {"key_missing_on_host": 100, "provider_unreachable": 60, "key_missing": 60, "key_not_active": 40, "provider_unknown": 40}


def some(count: int, name: str, **more: Any) -> dict[str, Any]:
    return {"count": count, "name": name + "-{i:03d}", "host": "esx-*", "power": "off", **more}


FLEET: dict[str, Any] = {
    "name": "many machines",
    "key_servers": ["kms-a", "kms-b"],
    "key_providers": [
        {"name": "a", "servers": ["kms-a"], "default": True},
        {"name": "b", "servers": ["kms-b"]},
        {"name": "c", "servers": ["kms-a"]},
    ],
    "hosts": [{"count": 20, "name": "esx-{n:02d}.example.com", "profile": "8.0.3", "crypto": {"provider": "a"}}],
    "virtual_machines": [
        some(100, "forgotten", provider="a"),
        some(60, "away", provider="b", key="of-b"),
        some(60, "destroyed", provider="a", key="destroyed"),
        some(40, "inactive", provider="a", key="inactive"),
        some(40, "unknown", provider="c", key="of-c"),
        some(300, "open", provider="a", key="of-all", disks=[{"gb": 1}, {"gb": 1}]),
        some(400, "plain"),
    ],
    "crypto_options": {"locked_config": "readable"},
}


@pytest.fixture(scope="module")
def started() -> Iterator[Simulator]:
    with Simulator(FLEET) as sim:
        yield sim


@pytest.fixture
def sim(started: Simulator) -> Iterator[Simulator]:
    started.reset()
    started.act("destroy_key", key="destroyed")
    started.act("deactivate_key", key="inactive")
    started.act("rename_provider", old="c", new="of-somebody-else")
    started.act("cut_key_server", server="kms-b")
    for name in ("forgotten", "away", "destroyed", "inactive", "unknown"):
        started.act("forget_keys", vm=f"{name}-*")
    started.clear_journal()
    yield started
    assert started.errors == []


def spent(sim: Simulator) -> dict[str, int]:
    """Calls by method; those of HTTP GET apart."""
    found: dict[str, int] = sim.summary()["by_method"]
    return {name: count for name, count in found.items() if not name.startswith("GET ")}


def files(sim: Simulator) -> int:
    return sum(count for name, count in sim.summary()["by_method"].items() if name.startswith("GET "))


def test_calls_where_configurations_can_be_read(sim: Simulator) -> None:
    told = run(sim, "vm_crypto_info", vm_name=["*"], csv=True)
    assert {cause: len(names) for cause, names in told["causes"].items()} == CAUSES
    looking = spent(sim)
    assert sum(looking.values()) <= CALLS and files(sim) == 0, looking
    summary = sim.summary()
    assert (summary["logins"], summary["logouts"], summary["writes"]) == (1, 1, 0)
    assert (summary["bytes_in"] + summary["bytes_out"]) / 1000 <= 1500, summary
    sim.clear_journal()

    checked = run(sim, "vm_crypto_unlock", vm_name=["*"], check=True)
    assert checked["summary"] == {"compliant": 700, "failed": 200, "would_change": 100}
    assert sum(spent(sim).values()) <= CALLS and sim.summary()["writes"] == 0, spent(sim)
    sim.clear_journal()

    done = run(sim, "vm_crypto_unlock", vm_name=["*"])
    assert done["summary"] == {"changed": 100, "compliant": 700, "failed": 200}
    methods = spent(sim)
    assert methods["CryptoUnlock_Task"] == sim.summary()["writes"] == 100
    assert sum(methods.values()) - 100 <= CALLS, methods
    assert files(sim) == 0 and sim.summary()["logins"] == 1
    journal = [entry.method for entry in sim.journal]
    after = journal[journal.index("CryptoUnlock_Task") :]
    assert after.count("CreateFilter") == after.count("DestroyPropertyFilter") == 1, after
    lines = [(line["cause"], len(line["vms"]), line["locked"]) for line in done["worksheet"]]
    assert sorted(lines) == sorted(
        (cause, count, count) for cause, count in CAUSES.items() if cause not in ("key_missing_on_host", "provider_unknown")
    )
    sim.clear_journal()

    again = run(sim, "vm_crypto_unlock", vm_name=["*"])
    assert not again["changed"] and sum(spent(sim).values()) <= CALLS, spent(sim)
    assert len(again["msg"]) < 6000, len(again["msg"])


def test_one_file_for_each_locked_machine_where_they_cannot(sim: Simulator) -> None:
    run(sim, "vm_crypto_info", vm_name=["*"])
    readable = spent(sim)
    sim.act("crypto_option", name="locked_config", value="unset")
    sim.clear_journal()
    told = run(sim, "vm_crypto_info", vm_name=["*"])
    assert {cause: len(names) for cause, names in told["causes"].items()} == CAUSES
    assert files(sim) == 300
    # Their recent tasks are looked at before: the tasks of all in one call, and what came of those in another.
    assert sum(spent(sim).values()) <= sum(readable.values()) + 2, (spent(sim), readable)
    sim.clear_journal()
    done = run(sim, "vm_crypto_unlock", vm_name=["*"])
    assert done["summary"] == {"changed": 100, "compliant": 700, "failed": 200}
    assert files(sim) == 300, "what has been read is not read again"
    assert sum(spent(sim).values()) - 100 <= CALLS, spent(sim)

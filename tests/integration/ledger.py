# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets with licences, and an account of who held which key after each call, kept inside of the simulator."""

from __future__ import annotations

from typing import Any

from tests.simulator import Simulator

# Made up, like all keys here.
A, C, D = "FAKE0-AAAAA-V8000-CPUPK-0000A", "FAKE0-CCCCC-V8000-CPUPK-0000C", "FAKE0-DDDDD-V8000-CPUPK-0000D"
SEVEN, SIX = "FAKE0-GEN70-V7000-CPUPK-00007", "FAKE0-GEN60-V6000-CPUPK-00006"


def shown(key: str) -> str:
    return f"{key[:5]}-*****-*****-*****-{key[-5:]}"


def licence(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "name": f"Enterprise Plus {key[-1]}", "total": 20, "cost_unit": "cpuPackage", "version": "8.0", **more}


def host(number: int, **more: Any) -> dict[str, Any]:
    """Two sockets of sixteen cores."""
    return {"name": f"esx-{number:02d}.example.com", "profile": "8.0.3", "sockets": 2, "cores": 32, "license": "evaluation", **more}


def fleet(hosts: list[dict[str, Any]], licences: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": "licences", "kind": "vcenter", "hosts": hosts, "licenses": licences, **more}


def written(sim: Simulator) -> list[tuple[str, str]]:
    """Operation and host of each write, a key's last group where it is about no host."""
    return [(entry.method, entry.host or entry.args.get("licenseKey", "")[-5:]) for entry in sim.journal if entry.write]


def held(sim: Simulator) -> dict[str, str | None]:
    """The key of each host, masked."""
    return {name: item["license"]["key"] for name, item in sim.state()["hosts"].items()}


class Ledger:
    """After each call, before its answer is written and before the next call begins."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self.moments = [("at first", *self._now())]
        self.taken_from_holders: list[str] = []
        dispatcher = sim._dispatcher
        render = dispatcher._render

        def look(call: Any, value: Any, signature: Any, target: Any = None) -> str:
            before = self.moments[-1][1]
            self.moments.append((call.method, *self._now()))
            if call.method == "RemoveLicense":
                asked = [entry.args["licenseKey"] for entry in sim.journal if entry.method == "RemoveLicense"][-1]
                self.taken_from_holders += [f"{moid} held {asked}" for moid, key in before.items() if key and shown(key) == asked]
            return render(call, value, signature, target)

        vars(dispatcher)["_render"] = look

    def _now(self) -> tuple[dict[str, str], dict[str, int]]:
        server = self._sim.world.licenses
        hosts = {one.id: one.key if one.key in server.inventory else "" for one in list(server.holders.values()) if one.kind == "host"}
        return hosts, {key: entry.used for key, entry in list(server.inventory.items())}

    @property
    def bereft(self) -> list[str]:
        """Hosts that had a licence once, and later none."""
        had: set[str] = set()
        found = []
        for method, hosts, _used in self.moments:
            found += [f"{moid} after {method}" for moid in sorted(had) if not hosts.get(moid)]
            had |= {moid for moid, key in hosts.items() if key}
        return found

    @property
    def overfull(self) -> list[str]:
        """Keys of which more was used than there is, and than was used at first."""
        known = self._sim.world.licenses.known
        at_first = self.moments[0][2]
        found = []
        for method, _hosts, used in self.moments:
            for key, units in used.items():
                if known[key].total and units > max(known[key].total, at_first.get(key, 0)):
                    found.append(f"{units} of {key[-5:]} after {method}")
        return found

    def check(self) -> None:
        assert self.bereft == []
        assert self.overfull == []
        assert self.taken_from_holders == []

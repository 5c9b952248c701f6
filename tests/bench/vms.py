# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted machines after a bad night: three in ten are locked, for five reasons, two of which can be mended from here.

Nobody else offers this, so there is no peer beside it: the measure is what each machine costs at the least, one unlock task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KMS_A, KMS_B = "kms-a.example.com", "kms-b.example.com"
CAUSES = {
    "away": "provider_unreachable",
    "gone": "key_missing",
    "idle": "key_not_active",
    "still": "still_locked",
    "lost": "key_missing_on_host",
}
MENDED = ("still", "lost")


def scenario(machines: int, *, config: str = "readable") -> dict[str, Any]:
    """A tenth as many hosts, of which a third was rebooted while no key server answered. ``config``: whether vCenter tells the
    configuration of a locked machine."""
    each = max(1, machines * 3 // 10 // len(CAUSES))
    hosts = max(3, machines // 50)
    rebooted = max(1, hosts // 3)
    disks = [{"gb": 16}, {"gb": 100}]

    def vms(word: str, count: int, host: str, provider: str = "kms-a", **more: Any) -> dict[str, Any]:
        return {"count": count, "name": f"{word}-{{i:04d}}", "host": host, "provider": provider, "disks": disks, **more}

    keys = [
        (f"{word}-{number:04d}", act)
        for word, act in (("gone", "destroy_key"), ("idle", "deactivate_key"))
        for number in range(1, each + 1)
    ]
    return {
        "name": "vms",
        "kind": "vcenter",
        "users": {"administrator@vsphere.local": {"password": "Simulated-1"}},
        "crypto_options": {"locked_config": config},
        "key_servers": [KMS_A, KMS_B],
        "key_providers": [{"name": "kms-a", "servers": [KMS_A], "default": True}, {"name": "kms-b", "servers": [KMS_B]}],
        "hosts": [
            {
                "count": hosts - rebooted,
                "name": "esx-{i:03d}.example.com",
                "profile": "8.0.3",
                "cluster": "prod",
                "crypto": {"provider": "kms-a"},
            },
            {"count": rebooted, "name": "cut-{i:03d}.example.com", "profile": "8.0.3", "cluster": "prod", "crypto": {"provider": "kms-a"}},
        ],
        "virtual_machines": [
            vms("open", machines - each * len(CAUSES), "esx-*"),
            vms("lost", each, "esx-*", power="off"),
            *(vms(word, each, "cut-*") for word in ("gone", "idle", "still")),
            vms("away", each, "cut-*", "kms-b"),
        ],
        "begin": [
            *({"do": act, "key": label, "server": KMS_A} for label, act in keys),
            *({"do": "stop_key_server", "server": server} for server in (KMS_A, KMS_B)),
            {"do": "reboot_host", "host": "cut-*"},
            {"do": "start_key_server", "server": KMS_A},
            {"do": "forget_keys", "vm": "lost-*"},
        ],
    }


def wrong(state: Mapping[str, Any], job: str) -> list[str]:
    """Causes for which machines are locked and should not be after this job, or the other way round."""
    states = {name: vm["crypto"] for name, vm in state["crypto"]["vms"].items()}
    locked = {name.partition("-")[0] for name, state in states.items() if state == "locked"}
    return sorted(locked ^ (set(CAUSES) - set(MENDED if job == "change" else ())))

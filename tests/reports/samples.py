# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up audit reports of any size, for tests of what is made from a report; nothing of the product goes into them."""

from __future__ import annotations

import json
import pathlib
import random
from collections import Counter
from typing import Any

SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "docs/audit_report.schema.json").read_text(encoding="utf-8"))
NOW = "2026-11-22T03:00:00Z"
BEFORE = "2026-11-15T03:00:00Z"
FEATURES = (
    ("ntp", "Time", "esxi_ntp_align"),
    ("license", "Licences", "esxi_license_validate"),
    ("firewall", "Firewall", "esxi_firewall_ports"),
    ("crypto", "Encrypted VMs", "vm_crypto_unlock"),
)
# feature -> code, level, whether the role repairs it, text
TROUBLES: dict[str, tuple[tuple[str, str, bool, str], ...]] = {
    "ntp": (
        ("ntpd_stopped", "error", True, "ntpd is stopped"),
        ("skew_too_large", "error", False, "the clock is 93.2 s ahead of the control node (bound 0.004 s), allowed are 1 s"),
        ("clock_not_synced", "warning", False, "the host has not synchronised since 2026-11-20"),
    ),
    "license": (
        ("license_expires_soon", "warning", False, "the licence ends in 9 days"),
        ("host_in_evaluation", "error", False, "the host runs in evaluation mode, 12 days are left"),
    ),
    "firewall": (
        ("differs", "error", True, "enable_ruleset: syslog"),
        ("port_open_to_all", "warning", False, "22/tcp is open to all addresses"),
    ),
    "crypto": (
        ("key_not_on_host", "error", True, "the key is not on the host, and the key provider has it"),
        ("key_lost", "error", False, "the key server does not have the key any more"),
        ("provider_unreachable", "error", False, "no server of the key provider kms-1 answers"),
    ),
}
HINTS = {"not_reached": "Reconnect the host in vCenter."} | {
    code: f"Do what the page about {code} says." for rows in TROUBLES.values() for code, _l, _r, _t in rows
}
CONTROLS = {
    "ESXI-80-000124": {"guide": "DISA STIG vSphere 8.0 ESXi", "title": "Synchronised clocks", "source": "https://stigs.example.com/000124"},
    "ESXI-80-000239": {"guide": "DISA STIG vSphere 8.0 ESXi", "title": "Allowed addresses", "source": "https://stigs.example.com/000239"},
}


def judgement(feature: str, rng: random.Random, sick: float) -> dict[str, Any]:
    draw = rng.random()
    if draw > sick:
        return {"verdict": "compliant"}
    if draw < sick * 0.1:
        failure = {"kind": "HostUnreachable", "fault": None, "doing": None, "cause": "vCenter says that the host is notResponding"}
        told = {"level": "error", "code": "not_reached", "text": failure["cause"], "since": BEFORE}
        failure = {**failure, "hint": "Reconnect it in vCenter.", "message": failure["cause"]}
        return {"verdict": "unreachable", "findings": [told], "failure": failure}
    code, level, repairable, text = rng.choice(TROUBLES[feature])
    finding: dict[str, Any] = {"level": level, "code": code, "text": text, "since": rng.choice((BEFORE, NOW))}
    if repairable:
        finding["repairable"] = True
    if finding["since"] == NOW:
        finding["new"] = True
    if rng.random() < 0.1:
        finding["exception"] = "EX-1"
        return {"verdict": "excepted", "findings": [finding]}
    if repairable:
        return {"verdict": "repairable", "findings": [finding], "changes": [{"change": "start_ntpd"}]}
    return {"verdict": "not_compliant" if level == "error" else "compliant", "findings": [finding]}


def sample(hosts: int = 20, vms: int = 20, *, seed: int = 1, sick: float = 0.3, endpoints: int = 1) -> dict[str, Any]:
    """A report that the schema holds for. ``sick``: the share of judgements with something to say."""
    rng = random.Random(seed)
    targets: list[dict[str, Any]] = []
    for number in range(hosts):
        endpoint = f"vc-{number % endpoints + 1}.example.com"
        cluster = f"cluster-{number * 8 // max(hosts, 1) + 1:02}"
        name = f"esx-{number + 1:04}.example.com"
        targets.append(
            {
                "endpoint": endpoint,
                "kind": "host",
                "name": name,
                "moid": f"host-{number + 10}",
                "path": f"Bonn/{cluster}/{name}",
                "datacenter": "Bonn",
                "cluster": cluster,
                "groups": ["dmz"] if number % 7 == 0 else [],
                "judgements": {word: judgement(word, rng, sick) for word in ("ntp", "license", "firewall")},
                "clock": {"offset": round(rng.gauss(0, 0.4), 4), "bound": round(rng.uniform(0.0005, 0.02), 4), "limit": 1.0},
                "exposure": {
                    port: rng.choice(("all", "some"))
                    for port in ("22/tcp", "443/tcp", "902/tcp", "8000/tcp", "5900-5964/tcp", "427/udp", "9080/tcp")
                    if rng.random() < 0.7
                },
            }
        )
    for number in range(vms):
        host = targets[number % hosts] if hosts else None
        name = f"vm-{number + 1:04}"
        targets.append(
            {
                "endpoint": host["endpoint"] if host else "vc-1.example.com",
                "kind": "vm",
                "name": name,
                "moid": f"vm-{number + 10}",
                "path": f"Bonn/vm/{name}",
                "datacenter": "Bonn",
                "cluster": host["cluster"] if host else None,
                **({"host": host["name"]} if host else {}),
                "groups": [],
                "judgements": {"crypto": judgement("crypto", rng, sick)},
            }
        )
    licenses = [
        {
            "key": "00000-*****-*****-*****-0000" + str(number),
            "fingerprint": f"{number:08x}",
            "name": name,
            "unit": "cpuPackage:32core",
            "total": total,
            "used": used,
            "expires": expires,
            "days_left": left,
        }
        for number, (name, total, used, expires, left) in enumerate(
            (
                ("vSphere 8 Enterprise Plus", 64, 60, "2026-12-01T00:00:00Z", 9.0),
                ("vSphere 8 Standard", 16, 16, None, None),
                ("vSphere Foundation", None, 12, "2027-06-30T00:00:00Z", 220.0),
            )
        )
    ]
    names = [f"vc-{number + 1}.example.com" for number in range(endpoints)]
    report: dict[str, Any] = {
        "form": "fleetcare.esxi audit 1",
        "collection": "1.0.0",
        "generated": NOW,
        "site": "Bonn",
        "profile": {"name": "bonn.yml", "fingerprint": "0123456789abcdef"},
        "features": [{"word": word, "title": title, "repaired_by": role, "owner": None} for word, title, role in FEATURES],
        "endpoints": [
            {
                "name": name,
                "type": "VirtualCenter",
                "version": "8.0.3",
                "judgements": {"license": {"verdict": "compliant"}},
                "licenses": licenses,
            }
            for name in names
        ],
        "targets": targets,
        "codes": {
            code: {"hint": hint, "controls": ["ESXI-80-000124"] if code.startswith(("ntp", "skew", "clock")) else []}
            for code, hint in HINTS.items()
        },
        "controls": CONTROLS,
        "exceptions": [
            {
                "id": "EX-1",
                "owner": "network team",
                "reason": "Waits for the move",
                "expires": "2026-12-31",
                "status": "active",
                "findings": 0,
            }
        ],
        "slices": None,
        "since": BEFORE,
        "resolved": [
            {
                "endpoint": names[0],
                "kind": "host",
                "name": "esx-0001.example.com",
                "feature": "ntp",
                "code": "ntpd_stopped",
                "level": "error",
                "text": "ntpd is stopped",
                "since": BEFORE,
            }
        ],
    }
    exception = report["exceptions"][0]
    every = [f for part in (*report["endpoints"], *targets) for judged in part["judgements"].values() for f in judged.get("findings", ())]
    exception["findings"] = sum(finding.get("exception") == exception["id"] for finding in every)
    exception["status"] = "active" if exception["findings"] else "unused"
    report["summary"] = summary(report)
    return report


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Counted here by other hands than the product's."""
    verdicts: dict[str, Counter[str]] = {feature["word"]: Counter() for feature in report["features"]}
    levels: Counter[str] = Counter({"error": 0, "warning": 0, "note": 0})
    active = {each["id"] for each in report["exceptions"] if each["status"] == "active"}
    new = 0
    for part in (*report["endpoints"], *report["targets"]):
        for word, judged in part["judgements"].items():
            verdicts[word][judged["verdict"]] += 1
            for finding in judged.get("findings", ()):
                new += finding.get("new", False)
                levels[finding["level"]] += finding.get("exception") not in active
    fine = sum(all(j["verdict"] in ("compliant", "excepted") for j in t["judgements"].values()) for t in report["targets"])
    return {
        "hosts": sum(target["kind"] == "host" for target in report["targets"]),
        "vms": sum(target["kind"] == "vm" for target in report["targets"]),
        "compliant_targets": fine,
        "verdicts": {word: dict(counts) for word, counts in verdicts.items()},
        "findings": dict(levels),
        "new": new,
        "resolved": len(report["resolved"]),
    }

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of the demo: one audit of both vCenters before anything is repaired, the same again when all is done, and what is new since."""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
from typing import Any

from tools.demo_stage import ROOT, ask, environment
from tools.demo_telling import BLUE, DIM, note, paint, say, title

COMMAND = ("fleetcare.esxi.esxi_audit", "-e", "@audit.yml")
KEPT = ROOT / "tests/output/demo"
PROFILE = f"""\
site: Demo
features:
  ntp: {{ntp_servers: [192.0.2.1, 192.0.2.2], service_state: started, service_policy: 'on', max_skew: 1}}
  license: {{warn_days: 60}}
  firewall: {{default_policy: {{incoming_blocked: true, outgoing_blocked: true}}}}
  crypto: {{}}
owners: {{crypto: key management, license: licensing team, ntp: network team}}
exceptions:
  - {{id: CHG-7, owner: hardware team, reason: Its main board is being replaced., expires: {datetime.date.today() + datetime.timedelta(days=21)},
     targets: [esx-040.example.com]}}
"""


def endpoint(server: dict[str, Any]) -> dict[str, Any]:
    return {**{name: server[name] for name in ("hostname", "port", "username", "password", "ca_file")}, "session": "single"}


def prepare(folder: pathlib.Path, servers: list[dict[str, Any]]) -> None:
    (folder / "profile.yml").write_text(PROFILE)
    KEPT.mkdir(parents=True, exist_ok=True)
    for old in KEPT.glob("report.*"):
        old.unlink()
    options = {
        "esxi_audit_profile": "profile.yml",
        "esxi_audit_dest": str(KEPT),
        "esxi_audit_esxi_hostname": ["*"],
        "esxi_audit_endpoints": [endpoint(server) for server in servers],
    }
    (folder / "audit.yml").write_text(json.dumps(options))
    (folder / "audit.yml").chmod(0o600)


def before(folder: pathlib.Path, servers: list[dict[str, Any]]) -> list[str]:
    title("One audit first: two vCenters, one profile, every feature")
    note(
        "This morning a fleet's clocks are wrong, and a cluster of another vCenter came back from a power cut with locked machines. What is "
        "right is a profile (profile.yml); what the audit says is kept, for later."
    )
    say()
    for line in PROFILE.splitlines():
        say("    " + line)
    say()
    problems = audited(folder, servers)
    say("  " + (KEPT / "report.txt").read_text(encoding="utf-8").splitlines()[0])
    return problems


def after(folder: pathlib.Path, servers: list[dict[str, Any]]) -> list[str]:
    title("The same audit again: one page for whoever answers for all of it")
    report = json.loads((KEPT / "report.json").read_text(encoding="utf-8"))
    problems = audited(folder, servers)
    for line in (KEPT / "report.txt").read_text(encoding="utf-8").splitlines():
        say(f"  {line}".rstrip())
    say()
    say(f"  The page: {KEPT / 'report.html'}")
    now = json.loads((KEPT / "report.json").read_text(encoding="utf-8"))
    if now["since"] != report["generated"] or not now["resolved"]:
        problems.append("the second audit does not say what the repairs have resolved")
    if now["summary"]["compliant_targets"] <= report["summary"]["compliant_targets"]:
        problems.append("the second audit does not find more right than the first")
    return problems


def audited(folder: pathlib.Path, servers: list[dict[str, Any]]) -> list[str]:
    say("  " + paint("$ " + " ".join(["ansible-playbook", *COMMAND]), BLUE))
    say()
    for server in servers:
        ask(server, "/clear_journal", "POST")
    log = folder / "audit.log"
    env = {name: value for name, value in environment(folder, servers[0]).items() if not name.startswith("VMWARE_")}
    with log.open("w") as output:
        done = subprocess.run(
            ["ansible-playbook", *COMMAND],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
    if done.returncode or not (KEPT / "report.html").exists():
        raise SystemExit("The audit came to no report. What it said:\n\n" + log.read_text())
    calls = [ask(server, "/summary") for server in servers]
    total = sum(each["calls"] for each in calls)
    clocks = sum(each["by_method"].get("QueryDateTime", 0) for each in calls)
    logins = sum(each["logins"] for each in calls)
    writes = sum(each["writes"] for each in calls)
    say("  " + paint(f"{logins} logins · {total} calls, {clocks} to read a clock · {writes or 'nothing'} written", DIM))
    say()
    return ["an audit wrote something"] * bool(writes) + ["an audit logged in more than once"] * (logins != len(servers))

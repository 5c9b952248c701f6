# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second act: a power cut in a cluster with encrypted machines, which come up locked."""

from __future__ import annotations

import contextlib
import pathlib
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tools.demo_stage import Run, ask, sessions
from tools.demo_telling import BOLD, DIM, GREEN, TINTS, WIDTH, columns, figures, note, play, reasons, say, title

SCENARIO = "demo_cluster.yml"
WITHOUT = "The second act, a power cut, is left out, as its key servers (PyKMIP) did not start:"
LOOK = ("fleetcare.esxi.vm_crypto_info", "-e", "@cluster.yml")
OPEN = ("fleetcare.esxi.vm_crypto_unlock", "-e", "@cluster.yml")
WANTED = """\
vm_crypto_info_vm_name: ['*']
vm_crypto_unlock_vm_name: ['*']
vm_crypto_unlock_wait_for_provider: 60      # seconds, for a key server that comes up late
"""
BEFORE: list[dict[str, Any]] = [
    {"do": "destroy_key", "key": "payroll-01", "server": "kms-a.example.com"},
    {"do": "destroy_key", "key": "vault-01", "server": "kms-a.example.com"},
    {"do": "deactivate_key", "key": "mail", "server": "kms-a.example.com"},
]
POWER_CUT: list[dict[str, Any]] = [
    {"do": "stop_key_server", "server": "kms-a.example.com"},
    {"do": "stop_key_server", "server": "kms-b.example.com"},
    {"do": "reboot_host"},
    {"do": "start_key_server", "server": "kms-b.example.com"},
]
STATES = {"open": ("open", GREEN), "waiting": ("locked", TINTS["error"]), "not_ours": ("not encrypted", DIM)}


def act(server: dict[str, Any], *deeds: dict[str, Any]) -> None:
    for deed in deeds:
        ask(server, "/act", "POST", deed)


@contextlib.contextmanager
def later(seconds: float, server: dict[str, Any], *deeds: dict[str, Any]) -> Iterator[None]:
    timer = threading.Timer(seconds, act, (server, *deeds))
    timer.start()
    try:
        yield
    finally:
        timer.join()


# ---- what is told ---------------------------------------------------------------------------------------------------


def table(run: Run) -> None:
    """Machines that look alike as one line."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, vm in run.targets.items():
        key = (vm["outcome"], vm.get("provider") or "", tuple(finding["code"] for finding in vm["findings"]))
        alike.setdefault(key, []).append(name)
    widths = (16, 10, 16)
    columns(list(zip(("machines", "key of", ""), widths, strict=True)), [("found", BOLD)], BOLD)
    for (outcome, provider, _codes), names in alike.items():
        label = names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "")
        words = [(finding["code"], TINTS[finding["level"]]) for finding in run.targets[names[0]]["findings"]]
        columns(list(zip((label, provider, STATES[outcome][0]), widths, strict=True)), words or [("right", GREEN)])
    say()


def worksheet(run: Run) -> None:
    widths = (9, 6, 16, 8)
    columns(list(zip(("provider", "key", "cause", "locked"), widths, strict=True)), [("machines, and their hosts", BOLD)], BOLD)
    for line in run.result["worksheet"]:
        hosts = ", ".join(host.partition(".")[0] for host in line["hosts"])
        cells = (line["provider"], line["key_id"], line["cause"], str(line["locked"]))
        columns(list(zip(cells, widths, strict=True)), [(f"{', '.join(line['vms'])} on {hosts}", "")])
    say()


def said(run: Run) -> None:
    for line in textwrap.wrap(run.result["msg"].partition(". ")[0] + ".", WIDTH - 2):
        say("  " + line)
    say()


# ---- the story ------------------------------------------------------------------------------------------------------


def prepare(server: dict[str, Any]) -> None:
    act(server, *BEFORE)
    act(server, *POWER_CUT)


def story(folder: pathlib.Path, server: dict[str, Any]) -> list[str]:
    (folder / "cluster.yml").write_text(WANTED)
    title("After a power cut: open encrypted machines again")
    note(
        "Another vCenter, six hosts, two key servers that speak KMIP. Months ago somebody tidied up on one of them: two keys were "
        "destroyed, one was deactivated, and nobody noticed, as hosts kept what they had. Now the power was cut. The hosts are up "
        "again, one key server is, and the other one takes its time. Hosts forget keys when they start (cluster.yml):"
    )
    say()
    for line in WANTED.splitlines():
        say("    " + line)
    title("1  Look: which machines are locked, and why")
    look = play(folder, server, LOOK)
    said(look)
    table(look)
    reasons(look)
    figures(look)

    title("2  Plan: what would be opened")
    note("The other key server is being switched on meanwhile. A check run waits for it as well, so that it sees what a real one would.")
    say()
    with later(2, server, {"do": "start_key_server", "server": "kms-a.example.com"}):
        plan = play(folder, server, (*OPEN, "--check"))
    said(plan)
    table(plan)
    say(f"  {len(plan.changes)} machines would be unlocked.")
    say()
    figures(plan)

    title("3  Open them")
    opened = play(folder, server, OPEN)
    said(opened)
    planned = ", as planned," if opened.changes == plan.changes else ""
    say(f"  {len(opened.changes)} machines were unlocked{planned} and read back. For whoever administers the key server:")
    say()
    worksheet(opened)
    note("vault-01 is open, as the TPM of its host keeps its key. No server has that key any more: now is the time to know.")
    say()
    figures(opened)

    title("4  Again: nothing left to do")
    again = play(folder, server, OPEN, last=True)
    counts = Counter(vm["status"] for vm in again.targets.values())
    say(f"  {counts['compliant']} machines are as they shall be, {counts['failed']} wait for a key, {len(again.changes)} changed.")
    say()
    figures(again)

    keys = usable_keys(server)
    vms = encrypted(server)
    could = [name for name, vm in vms.items() if vm["key"] in keys]
    done = [name for name in could if vms[name]["crypto"] == "unlocked"]
    title("The simulator and the key servers, asked behind the collection's back")
    say(f"  {len(done)} of {len(could)} machines whose key can be had are open; sessions left open: {len(sessions(server))}.")
    return judge(server, (look, plan, again), plan, opened, sorted(set(could) - set(done)))


def encrypted(server: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: vm for name, vm in ask(server, "/state")["crypto"]["vms"].items() if vm["key"]}


def usable_keys(server: dict[str, Any]) -> set[str]:
    """As PROVIDER/ID, as their key server says; a native provider has no server and keeps all of its own."""
    state = ask(server, "/state")["crypto"]
    found = {vm["key"] for vm in state["vms"].values() if vm["key"] and state["providers"][vm["key"].partition("/")[0]]["available"]}
    for name, provider in state["providers"].items():
        for host in provider["servers"]:
            keys = state["key_servers"][host]["keys"]
            found |= {f"{name}/{label.rpartition('(')[2].rstrip(')')}" for label, is_now in keys.items() if is_now == "active"}
    return found


def judge(server: dict[str, Any], reading: tuple[Run, ...], plan: Run, opened: Run, left: list[str]) -> list[str]:
    """What has to hold for the demo to have worked; sentences for what does not."""
    problems = []
    if any(run.calls["writes"] or (run.changed and run is not plan) for run in reading):
        problems.append("a run that had nothing to write wrote something")
    if sum(run.calls["logins"] for run in (*reading, opened)) != 1:
        problems.append("there was more than one login")
    if not opened.changes or plan.changes != opened.changes:
        problems.append("what was done is not what had been planned")
    if left:
        problems.append(f"these are locked although their key can be had: {left}")
    keys = usable_keys(server)
    due = {vm["key"] for vm in encrypted(server).values()} - keys
    listed = {f"{line['provider']}/{line['key_id']}" for line in opened.result["worksheet"]}
    if listed != due:
        problems.append(f"the worksheet lists {sorted(listed)}, and these keys cannot be had: {sorted(due)}")
    if sessions(server):
        problems.append("a session was left open on the server")
    return problems

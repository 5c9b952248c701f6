# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, told for people: two simulated vCenters are audited, the clocks of one fleet are set right, the encrypted machines of the other
are opened after a power cut, and the audit says what has become of it; with the playbooks that users run.

Exits with 1 if something is not right in the end. Leaves the last report, and nothing else: everything is in one temporary folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

from tools import demo_clocks, demo_locks, demo_report
from tools.demo_stage import NotStarted, simulator
from tools.demo_telling import BLUE, RED, note, paint, say, title


def what_next() -> None:
    title("Your own vCenter or host: one command, which only reads")
    for line in (
        "VMWARE_HOST=vcenter.example.com VMWARE_USER=you@vsphere.local VMWARE_PASSWORD=... \\",
        "  tools/with_env.sh demo ansible-playbook fleetcare.esxi.esxi_ntp_info \\",
        "  -e esxi_ntp_info_esxi_hostname='*' -e esxi_ntp_info_max_skew=1",
    ):
        say("  " + paint(line, BLUE))
    say()
    note(
        "README.md says how to install and use it, docs/time.md why clocks go wrong, docs/encryption.md why machines are locked, "
        "docs/findings.md what each code means. make test verifies everything."
    )
    say()


def stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    started = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fleetcare-demo-"))
    problems: list[str] = []
    try:
        with contextlib.ExitStack() as stack:
            stage: list[tuple[Any, pathlib.Path, dict[str, Any]]] = []
            for act in (demo_clocks, demo_locks):
                place = folder / act.SCENARIO.removesuffix(".yml")
                stage.append((act, place, stack.enter_context(simulator(place, act.SCENARIO))))
                act.prepare(stage[-1][2])
            servers = [server for _act, _place, server in stage]
            demo_report.prepare(folder, servers)
            problems += demo_report.before(folder, servers)
            for act, place, server in stage:
                problems += act.story(place, server)
            problems += demo_report.after(folder, servers)
        say(f"  The whole demo took {time.monotonic() - started:.0f} s.")
    except NotStarted as reason:
        note(f"{act.WITHOUT} {reason}")
        return 1
    except KeyboardInterrupt:
        say("\n  stopped")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for problem in problems:
        say("  " + paint(f"NOT RIGHT: {problem}", RED))
    if not problems:
        what_next()
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, told for people: a simulated fleet whose clocks are set right, and encrypted machines that are opened after a power cut, with
the playbooks that users run.

Exits with 1 if something is not right in the end. Leaves nothing behind: everything is in one temporary folder.
"""

from __future__ import annotations

import io
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from tools import demo_clocks, demo_locks
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
        for act in (demo_clocks, demo_locks):
            place = folder / act.SCENARIO.removesuffix(".yml")
            with simulator(place, act.SCENARIO) as server:
                problems += act.story(place, server)
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

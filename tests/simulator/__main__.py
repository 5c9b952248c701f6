# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m tests.simulator --listen 127.0.0.1:0 --scenario NAME_OR_FILE [--kind vcenter|esxi] [--hosts N]"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from .errors import ScenarioError
from .registry import coverage
from .simulator import Simulator


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return int(text)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description="A simulated vCenter or ESXi host.", allow_abbrev=False)
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--scenario", default="tiny", metavar="NAME_OR_FILE")
    parser.add_argument("--kind", choices=("vcenter", "esxi"))
    parser.add_argument("--hosts", type=_positive, metavar="N", help="scale the scenario's fleet to N hosts")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="write the JSON line there, too, once ready")
    parser.add_argument("--delay-ms", type=float, default=0, metavar="N", help="latency of each request; twice that for a new connection")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--coverage", action="store_true", help="print the operations there are, as a table, and end")
    return parser.parse_args(arguments)


def coverage_table() -> str:
    lines = ["| managed object | operation | privilege | writes | note |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {kind} | {name} | {privilege} | {'yes' if writes else ''} | {note} |" for kind, name, privilege, writes, note in coverage()
    ]
    return "\n".join(lines)


def description(sim: Simulator) -> dict[str, Any]:
    return {
        "url": sim.url,
        "hostname": sim.hostname,
        "port": sim.port,
        "username": sim.username,
        "password": sim.password,
        "ca_file": sim.ca_file,
        "thumbprint": sim.thumbprint,
        "control": sim.control,
        "pid": os.getpid(),
    }


def main(arguments: list[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.coverage:
        print(coverage_table())
        return 0
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: done.set())
    try:
        sim = Simulator(options.scenario, options.kind, options.hosts, options.seed, options.delay_ms, listen=options.listen)
        sim.start()
    except ScenarioError as exc:
        print(f"simulator: {exc}", file=sys.stderr)
        return 2
    except OSError as exc:
        print(f"simulator: cannot listen on {options.listen[0]}:{options.listen[1]}: {exc.strerror}", file=sys.stderr)
        return 2
    try:
        line = json.dumps(description(sim))
        if options.ready_file is not None:
            # Readers must never see half a file.
            partial = options.ready_file.with_name(options.ready_file.name + ".tmp")
            partial.write_text(line + "\n", encoding="utf-8")
            partial.replace(options.ready_file)
        print(line, flush=True)
        done.wait()
    finally:
        sim.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

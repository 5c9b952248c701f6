# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that PyKMIP servers are forked from: importing PyKMIP costs a second or more, and a key server that is started again should not.

It reads lines of JSON: {"start": CONFIG_FILE} answers {"pid": N}; {"stop": PID} ends that server with everything it has forked;
{"seed": DATABASE, "labels": [...]} fills an empty database with active keys. When its input ends, because whoever started it is gone, all
servers end with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def share_keys() -> None:
    """Every trusted client may do everything with every key, as the clients of one partition of a real key server may. PyKMIP's own default
    reserves a key for the common name of the certificate that made it."""
    from kmip.core import enums, policy

    rules: Any = policy.policies["default"]["preset"][enums.ObjectType.SYMMETRIC_KEY]
    for operation in rules:
        rules[operation] = enums.Policy.ALLOW_ALL


def serve(config: str) -> None:
    from kmip.services.server.server import KmipServer

    server = KmipServer(config_path=config, log_path=str(Path(config).with_suffix(".log")), live_policies=False)
    server.start()
    server.serve()


def start(config: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        os.setsid()  # a group of its own, with PyKMIP's helper processes
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        if len(folder := os.path.dirname(config)) < 60:  # helpers meet at a socket there, whose path must be short
            tempfile.tempdir = folder  # what a killed server leaves goes with its folder
        serve(config)
    os._exit(0)


def stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def seed(database: str, labels: list[str]) -> list[tuple[str, str]]:
    """Active AES-256 keys with these names, by PyKMIP's own classes: over the wire a thousand of them take a quarter of a minute. Ids and
    digests of the material; the material stays where it is."""
    import sqlalchemy
    from kmip.core import enums
    from kmip.pie import objects, sqltypes
    from sqlalchemy.orm import Session

    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    sqltypes.Base.metadata.create_all(engine)
    masks = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
    made = []
    with Session(engine) as session:
        for label in labels:
            key: Any = objects.SymmetricKey(enums.CryptographicAlgorithm.AES, 256, os.urandom(32), masks, label)
            key.state = enums.State.ACTIVE
            key._owner = "vcenter"
            key.initial_date = int(time.time())
            key.operation_policy_name = "default"
            session.add(key)
            session.flush()
            made.append((str(key.unique_identifier), hashlib.sha256(key.value).hexdigest()))
        session.commit()
    engine.dispose()
    return made


def main() -> None:
    import kmip.services.server.server  # noqa: F401  (what a fork finds loaded)

    if "fork" in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("fork", force=True)  # PyKMIP's helpers; forkserver would import everything again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_keys()
    running: set[int] = set()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = start(request["start"])
            running.add(pid)
            print(json.dumps({"pid": pid}), flush=True)
        elif "stop" in request and request["stop"] in running:
            stop(request["stop"])
            running.discard(request["stop"])
            print(json.dumps({"stopped": request["stop"]}), flush=True)
        elif "seed" in request:
            print(json.dumps({"keys": seed(request["seed"], request["labels"])}), flush=True)
        else:
            print(json.dumps({"error": "no such server"}), flush=True)
    for pid in running:
        stop(pid)
    os._exit(0)  # tearing all of PyKMIP down takes most of a second


if __name__ == "__main__":
    main()

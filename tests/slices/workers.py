# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of ansible-runner over workers that are as bare as a container: transmit | worker | process.

This process is the machine that hands jobs out; a worker is a process of another environment, with another home, that gets
the job on its standard input and nothing of this checkout.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of a machine that is busy with other things.
PATIENCE = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Came:
    """What came back of a job."""

    folder: pathlib.Path

    @property
    def status(self) -> str:
        """As ansible-runner process says it; empty where the stream ended before there was any."""
        file = self.folder / "artifacts" / "status"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def stdout(self) -> str:
        file = self.folder / "artifacts" / "stdout"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def events(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / "artifacts" / "job_events").glob("*.json"))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    @property
    def artifacts(self) -> dict[str, Any]:
        for event in self.events:
            if event["event"] == "playbook_on_stats":
                return dict(event["event_data"]["artifact_data"])
        return {}


class Job:
    """A private data directory: project, inventory and env, and nothing else."""

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        variables: Mapping[str, Any],
        project: Mapping[str, str] | None = None,
        inventory: str = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n",
    ) -> None:
        self.folder = folder
        for name, text in {
            **{f"project/{name}": text for name, text in (project or {}).items()},
            "inventory/hosts": inventory,
            "env/extravars": yaml.safe_dump(dict(variables)),
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "env" / "extravars").chmod(0o600)
        (folder / "project").mkdir(exist_ok=True)


class Worker:
    """A machine that has the execution environment, somewhere: no variable of ours reaches it, and, where the kernel lets us, no
    file of this checkout does."""

    def __init__(self, venv: pathlib.Path, home: pathlib.Path) -> None:
        self.home = home
        self.home.mkdir(parents=True)
        runner = [str(venv / "bin" / "ansible-runner"), "worker", "--private-data-dir", str(home / "job")]
        hidden = "".join(f"mount -t tmpfs none {shlex.quote(str(folder))} && " for folder in sorted(ROOT.iterdir()) if _hides(folder))
        self.command = [*APART, f'{hidden}exec "$@"', "sh", *runner] if APART else runner
        self.environment = {"PATH": f"{venv / 'bin'}:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}
        # Sockets are made below it, and a socket's name is short. What is left there in the end is told by Running.left.
        self.temporary = pathlib.Path(tempfile.mkdtemp(prefix="fw-"))
        self.environment["TMPDIR"] = str(self.temporary)


def _hides(folder: pathlib.Path) -> bool:
    return folder.is_dir() and folder.name != ".venv"


def _apart() -> list[str]:
    """What starts a shell whose mounts nobody else sees; nothing where that is not allowed."""
    command = ["unshare", "--mount", "sh", "-c"]
    try:
        tried = subprocess.run([*command, "mount -t tmpfs none /mnt"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return command if tried.returncode == 0 else []


APART = _apart()


class Running:
    """One job on its way: the stream into the worker, the worker, and what becomes of its output."""

    def __init__(self, job: Job, worker: Worker, back: pathlib.Path, playbook: str, *arguments: str) -> None:
        self.back = back
        self.temporary = worker.temporary
        self.left: list[str] = []
        back.mkdir(parents=True, exist_ok=True)
        self.log = (back / "log").open("wb")
        transmit = subprocess.Popen(
            ["ansible-runner", "transmit", str(job.folder), "-p", playbook, *arguments],
            stdout=subprocess.PIPE,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
        )
        self.worker = subprocess.Popen(
            worker.command,
            stdin=transmit.stdout,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=worker.environment,
            cwd=worker.home,
            start_new_session=True,
        )
        process = subprocess.Popen(["ansible-runner", "process", str(back)], stdin=self.worker.stdout, stdout=self.log, stderr=self.log)
        self.others = (transmit, process)
        for stream in (transmit.stdout, self.worker.stdout):
            if stream:
                stream.close()

    def kill(self) -> None:
        """As when its machine loses power: the worker is killed, and at once whatever it had started."""
        started = list(descendants(self.worker.pid))
        for pid in (self.worker.pid, *started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def finish(self, patience: float = PATIENCE) -> Came:
        end = time.monotonic() + patience
        try:
            for each in (*self.others, self.worker):
                each.wait(max(0.1, end - time.monotonic()))
        finally:
            for each in (*self.others, self.worker):
                if each.poll() is None:
                    for pid in (*descendants(each.pid), each.pid):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    each.wait()
            self.log.close()
            self.left = [file.name for file in self.temporary.rglob("*") if file.is_file()]
            shutil.rmtree(self.temporary)
        return Came(folder=self.back)


def descendants(pid: int) -> Iterator[int]:
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text(encoding="utf-8").rpartition(")")[2].split()[1]) == pid:
                yield int(entry.parent.name)
                yield from descendants(int(entry.parent.name))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module as any other is run, and shows the lines that it writes into its progress_file while it runs.

A module cannot say anything before it ends: its standard output is its result. Private to this collection.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from ansible import constants
from ansible.plugins.action.normal import ActionModule as AnyModule
from ansible.utils.display import Display

_PAUSE = 0.25


class ModuleInWaves(AnyModule):  # type: ignore[misc] # ansible-core has no types
    """Beyond what Ansible does for every module: with ``waves``, where the module runs on this machine as this user,
    each wave is shown at once. A task in the background, or one with ``no_log``, shows nothing."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        given = self._task.args
        if not given.get("waves") or not self._can_be_followed():
            return super().run(tmp, task_vars)
        path = given.get("progress_file") or _own_file()
        if not path:
            return super().run(tmp, task_vars)
        follower = _Follower(self._as_the_module_sees(path), self._shower(task_vars or {}))
        follower.start()
        # A copy: a task that is tried again, or looped, begins with what was given.
        self._task.args = {**given, "progress_file": path}
        try:
            return super().run(tmp, task_vars)
        finally:
            self._task.args = given
            follower.stop()
            if not given.get("progress_file"):
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _can_be_followed(self) -> bool:
        away = self._connection.transport != "local" or self._connection.become
        return not (away or self._task.async_val or self._task.no_log)

    def _as_the_module_sees(self, path: str) -> str:
        return os.path.join(self._loader.get_basedir(), os.path.expanduser(os.path.expandvars(path)))

    def _shower(self, task_vars: dict[str, Any]) -> Callable[[str], None]:
        name = self._task.action.rpartition(".")[2]
        if not self._task.run_once and len(task_vars.get("ansible_play_hosts") or ()) > 1:
            name = f"{name} [{task_vars.get('inventory_hostname')}]"
        return self._shown_as(name)

    def _shown_as(self, name: str) -> Callable[[str], None]:
        # A callback that prints JSON has the standard output for itself.
        aside = "json" in str(constants.DEFAULT_STDOUT_CALLBACK)
        return lambda line: Display().display(f"{name}: {line}", stderr=aside)


def _own_file() -> str:
    """In Ansible's folder for this run, which is nobody else's and goes away with it; empty where that cannot be."""
    try:
        handle, path = tempfile.mkstemp(prefix="waves-", dir=constants.DEFAULT_LOCAL_TMP)
    except OSError:
        return ""
    os.close(handle)
    return path


class _Follower(threading.Thread):
    """Shows each line that is appended to a file from now on. What is no plain file, or not there, has none."""

    def __init__(self, path: str, show: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._show = show
        self._over = threading.Event()
        self._at = self._size()

    def run(self) -> None:
        while not self._over.wait(_PAUSE):
            self._look()

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._look()

    def _size(self) -> int:
        try:
            found = os.stat(self._path)
        except OSError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def _look(self) -> None:
        if self._size() <= self._at:
            return
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                *lines, rest = file.read().split(b"\n")
                self._at = file.tell() - len(rest)
        except OSError:
            return
        for line in lines:
            self._show(line.decode("utf-8", "replace"))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below one folder of the machine that runs the module, whole or not at all. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import stat

from .._domain.errors import BadInput, FleetcareError, WriteRefused


class Folder:
    """``check``: nothing is written, whatever is asked for."""

    def __init__(self, root: str, check: bool) -> None:
        """It may be made later. Raises BadInput where it cannot: that must not show only once something was done."""
        self._root = root
        self._check = check
        place = os.path.abspath(root)
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        if not os.path.isdir(place):
            raise BadInput(f"dest {root} cannot be a folder: {place} is none", hint="Name another one.")
        if not os.access(place, os.W_OK | os.X_OK):
            raise BadInput(f"dest {root} cannot be written: {place} does not permit it", hint="Name another one, or change its owner.")

    def look(self, path: str) -> tuple[bytes, int] | None:
        """Content and mode of a file; None where there is none. Raises FleetcareError."""
        full = os.path.join(self._root, path)
        try:
            with open(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise _trouble("read", full, "it is no plain file")
                return file.read(), stat.S_IMODE(status.st_mode)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise _trouble("read", full, problem.strerror) from None

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Raises FleetcareError."""
        self._never_in_a_check(path)
        put(os.path.join(self._root, path), content, mode)

    def remove(self, path: str) -> None:
        """With the folders below the root that are empty then. Raises FleetcareError."""
        self._never_in_a_check(path)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._root, path))
        except OSError as problem:
            raise _trouble("removed", os.path.join(self._root, path), problem.strerror) from None
        with contextlib.suppress(OSError):
            while path := os.path.dirname(path):
                os.rmdir(os.path.join(self._root, path))

    def _never_in_a_check(self, path: str) -> None:
        if self._check:
            raise WriteRefused(f"{path} would be written in a check run", hint="This is a defect of fleetcare.esxi: please report it.")


def put(path: str, content: bytes, mode: int) -> None:
    """Written beside and moved into place: who reads meanwhile sees the old file or the new one. Raises FleetcareError."""
    unfinished = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.new")
    try:
        # A group that may read the files has to get into their folders.
        os.makedirs(os.path.dirname(path), mode=0o750 if mode & 0o040 else 0o700, exist_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise _trouble("written", path, problem.strerror) from None


def given(path: str, most: int) -> bytes:
    """What a file of the user's holds, up to so many bytes. Raises BadInput."""
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise BadInput(f"{path} cannot be read: {why}", hint="Name a file on the machine that runs the task.") from None
    if len(content) > most:
        raise BadInput(f"{path} has more than {most} bytes", hint="Name the right file.")
    return content


def _trouble(done: str, path: str, why: str | None) -> FleetcareError:
    return FleetcareError(f"{path} cannot be {done}: {why}", hint="See who owns it and its folder, and whether there is room.")

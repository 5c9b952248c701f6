# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions kept for the next task, and refused passwords that are not tried again. Private to this collection.

One folder of mode 0700 under the user's cache folder, one file of mode 0600 an endpoint and user. A session file
holds the cookie, and the digest of the certificate of the server that it is for. A refusal file holds a salted
PBKDF2 digest of the password that was refused, for ten minutes: a play over a hundred hosts then costs one failed login, not a hundred and a locked account.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from .._domain.errors import LoginRefused
from .endpoint import Endpoint
from .guard import Guard

REFUSAL_SECONDS = 600


class Store:
    """The files of one endpoint and user. Without a usable cache folder it keeps nothing and refuses nothing."""

    def __init__(self, endpoint: Endpoint, guard: Guard) -> None:
        self._endpoint = endpoint
        self._guard = guard
        key = "\0".join(map(str, (endpoint.hostname.lower(), endpoint.port, endpoint.username, endpoint.proxy_host, endpoint.proxy_port)))
        folder = _folder()
        self._base = os.path.join(folder, hashlib.sha256(key.encode()).hexdigest()[:32]) if folder else ""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out while this one looks, logs in and saves."""
        if not self._base:
            yield
            return
        with _opened(self._base + ".lock") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not self._guard.pause(0.05):
                        self._guard.check()
            yield

    def cookie(self, certificate: str) -> str:
        """The session that an earlier task left at the server with this certificate; nobody else gets to see it."""
        kept = self._read(".session")
        cookie = kept.get("cookie")
        return cookie if isinstance(cookie, str) and kept.get("certificate") == certificate else ""

    def keep(self, cookie: str, certificate: str) -> bool:
        """Whether the next task will find it."""
        self._write(".session", {"cookie": cookie, "certificate": certificate})
        return self.cookie(certificate) == cookie

    def forget(self) -> None:
        if self._base:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._base + ".session")

    def check_not_refused(self) -> None:
        refused = self._read(".refused")
        try:
            age = time.time() - refused["at"]
            same = 0 <= age < REFUSAL_SECONDS and hmac.compare_digest(self._digest(bytes.fromhex(refused["salt"])), refused["digest"])
        except (KeyError, TypeError, ValueError):
            return
        if same:
            raise LoginRefused(
                f"this password was refused {age:.0f} s ago and is not tried again so soon",
                hint=f"Correct it. If it was right and the account was mended since, delete {self._base}.refused "
                f"or wait {REFUSAL_SECONDS - age:.0f} s.",
            )

    def refuse(self) -> None:
        salt = os.urandom(16)
        self._write(".refused", {"at": time.time(), "salt": salt.hex(), "digest": self._digest(salt)})

    def _digest(self, salt: bytes) -> str:
        # PBKDF2 rather than scrypt: the latter is not there on a machine in FIPS mode.
        return hashlib.pbkdf2_hmac("sha256", self._endpoint.password.encode(), salt, 200_000).hex()

    def _read(self, kind: str) -> dict[str, Any]:
        if not self._base:
            return {}
        try:
            with open(self._base + kind, encoding="utf-8") as file:
                if _private(os.fstat(file.fileno())):
                    content = json.load(file)
                    return content if isinstance(content, dict) else {}
        except (OSError, ValueError):
            pass
        return {}

    def _write(self, kind: str, content: dict[str, Any]) -> None:
        """Written beside and moved into place: a reader sees the old file or the new one, never half of one."""
        if not self._base:
            return
        temporary = f"{self._base}{kind}.{os.getpid()}"
        with contextlib.suppress(OSError):
            with _opened(temporary) as file:
                file.truncate()
                json.dump(content, file)
            os.replace(temporary, self._base + kind)


def _opened(path: str) -> Any:
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+", encoding="utf-8")


def _private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _folder() -> str:
    """The folder, made when it is missing; empty when there is none that only this user can reach."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        return ""
    folder = os.path.join(cache, "fleetcare.esxi")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder if _private(os.stat(folder)) and os.access(folder, os.W_OK) else ""
    except OSError:
        return ""

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions: the cookie that a client holds, the key it is told, and what it leaves behind on the server."""

from __future__ import annotations

import datetime
import fnmatch
import secrets
import threading
import time
import uuid
from http.cookies import CookieError, SimpleCookie
from typing import Any

COOKIE = "vmware_soap_session"


class User:
    def __init__(self, name: str, password: str, privileges: tuple[str, ...], deny: tuple[tuple[str, str], ...]) -> None:
        self.name = name
        self.password = password
        self.privileges = privileges
        self.deny = deny
        self.unlimited = privileges == ("*",) and not deny

    def has(self, privilege: str, names: tuple[str, ...]) -> bool:
        """Whether the user holds a privilege on an entity, given by its name and those of its ancestors (a denial there is inherited)."""
        if self.unlimited:
            return True
        for denied, where in self.deny:
            if fnmatch.fnmatchcase(privilege, denied) and any(fnmatch.fnmatchcase(name, where) for name in names):
                return False
        # Anonymous, View and Read are what every role contains; only an explicit denial takes them away.
        return privilege.startswith("System.") or any(fnmatch.fnmatchcase(privilege, glob) for glob in self.privileges)


class Session:
    def __init__(self, user: User, agent: str, address: str, locale: str) -> None:
        # Real ones: 40 hex digits in the cookie, a *different* uuid as the session's key (facts.md 5.1).
        self.cookie = secrets.token_hex(20)
        self.key = str(uuid.uuid4())
        self.user = user
        self.agent = agent
        self.address = address
        self.locale = locale
        self.login_time = datetime.datetime.now(datetime.timezone.utc)
        self.last_active = time.monotonic()
        self.calls = 0
        self.closed = False
        self.objects: dict[str, Any] = {}  # views, filters, collectors: they die with the session
        self.collectors: dict[str, Any] = {}

    @property
    def short(self) -> str:
        return self.key[:8]

    @property
    def idle(self) -> float:
        return time.monotonic() - self.last_active


class Sessions:
    def __init__(self, idle_timeout: float | None, limit: int | None) -> None:
        self._lock = threading.Lock()
        self._by_cookie: dict[str, Session] = {}
        self.idle_timeout = idle_timeout
        self.limit = limit

    def add(self, session: Session) -> bool:
        with self._lock:
            self._expire()
            if self.limit is not None and len(self._by_cookie) >= self.limit:
                return False
            self._by_cookie[session.cookie] = session
            return True

    def _expire(self) -> None:
        if self.idle_timeout is None:
            return
        for session in [s for s in self._by_cookie.values() if s.idle > (self.idle_timeout or 0)]:
            self._by_cookie.pop(session.cookie, None)
            session.closed = True

    def find(self, header: str | None) -> Session | None:
        """The session of a Cookie header; clients echo the cookie with its attributes (facts.md 6.1), which SimpleCookie digests."""
        if not header:
            return None
        try:
            morsel = SimpleCookie(header).get(COOKIE)
        except CookieError:
            return None
        if morsel is None:
            return None
        with self._lock:
            self._expire()
            return self._by_cookie.get(morsel.value)

    def live(self) -> list[Session]:
        with self._lock:
            self._expire()
            return list(self._by_cookie.values())

    def by_key(self, key: str) -> Session | None:
        return next((session for session in self.live() if session.key == key), None)

    def end(self, session: Session) -> None:
        with self._lock:
            self._by_cookie.pop(session.cookie, None)
            session.closed = True
            session.objects.clear()

    def clear(self) -> None:
        for session in self.live():
            self.end(session)


def set_cookie(value: str) -> str:
    return f'{COOKIE}="{value}"; Path=/; HttpOnly; Secure; '

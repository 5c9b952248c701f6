# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: every call with arguments and bytes, for tests that judge a client by what it really sent."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class JournalEntry:
    """One request. Bytes are HTTP body bytes as on the wire, so after compression."""

    seq: int
    time: float
    session: str | None
    user: str | None
    method: str
    object: str
    host: str | None
    args: dict[str, Any]
    write: bool
    bytes_in: int
    bytes_out: int
    status: str
    ms: float
    new_connection: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Journal:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[JournalEntry] = []
        self._next = 1
        self.connections = 0

    def open(self, entry: JournalEntry) -> JournalEntry:
        """Note a call when it arrives, so that one which hangs for ever is seen too (status "pending")."""
        with self._lock:
            entry.seq = self._next
            self._next += 1
            self._entries.append(entry)
        return entry

    def connected(self) -> None:
        with self._lock:
            self.connections += 1

    def entries(self, since: int = 0) -> list[JournalEntry]:
        with self._lock:
            return [entry for entry in self._entries if entry.seq > since]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self.connections = 0

    def summary(self) -> dict[str, Any]:
        entries = self.entries()
        by_method: dict[str, int] = {}
        for entry in entries:
            by_method[entry.method] = by_method.get(entry.method, 0) + 1
        logins = [entry for entry in entries if entry.method == "Login"]
        soap = [entry for entry in entries if " " not in entry.method]  # "GET /sdk/...", "PUT /folder/..." are no calls
        return {
            "calls": len(soap),
            "requests": len(entries),
            "by_method": dict(sorted(by_method.items())),
            "writes": sum(entry.write for entry in entries),
            "logins": sum(entry.status == "ok" for entry in logins),
            "failed_logins": sum(entry.status != "ok" for entry in logins),
            "logouts": by_method.get("Logout", 0),
            "connections": self.connections,
            "bytes_in": sum(entry.bytes_in for entry in entries),
            "bytes_out": sum(entry.bytes_out for entry in entries),
        }

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API of AWX, for its own modules to talk to: objects by kind, found by their fields, joined by ids.

It knows no kind by name and judges nothing; that a module sends what AWX takes is the module's business. It remembers every
request, so that a test can see what would have been stored.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TEMPLATES = ("job_templates", "workflow_job_templates")


class Controller:
    def __init__(self, **objects: list[dict[str, Any]]) -> None:
        self.kinds: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.joined: dict[tuple[str, int, str], list[int]] = defaultdict(list)
        self.requests: list[tuple[str, str, Any]] = []
        self._next = 0
        for kind, entries in objects.items():
            for entry in entries:
                self.add(kind, entry)
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(length).decode("utf-8")
                sent = json.loads(text) if text else None
                controller.requests.append((self.command, self.path, sent))
                status, told = controller.answer(self.command, self.path, sent)
                data = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Controller:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, kind: str, entry: dict[str, Any]) -> dict[str, Any]:
        self._next += 1
        made = {
            "kind": "",
            **entry,
            "id": self._next,
            "url": f"/api/v2/{kind}/{self._next}/",
            "type": kind.removesuffix("s"),
            "related": {},
        }
        self.kinds[kind][self._next] = made
        return made

    def found(self, kind: str) -> list[dict[str, Any]]:
        kinds = TEMPLATES if kind == "unified_job_templates" else (kind,)
        return [entry for each in kinds for entry in self.kinds[each].values()]

    def named(self, kind: str, name: str) -> dict[str, Any]:
        return next(entry for entry in self.kinds[kind].values() if name in (entry.get("name"), entry.get("identifier")))

    def names(self, kind: str, name: str, what: str) -> list[str]:
        """What an object is joined to, by name."""
        everything = {number: entry for entries in self.kinds.values() for number, entry in entries.items()}
        ids = self.joined[kind, self.named(kind, name)["id"], what]
        return [everything[number].get("name") or everything[number]["identifier"] for number in ids]

    def answer(self, method: str, path: str, sent: Any) -> tuple[int, Any]:
        parts = urlsplit(path)
        words = parts.path.removeprefix("/api/v2/").strip("/").split("/")
        kind, number, sub = words[0], int(words[1]) if len(words) > 1 else 0, words[2] if len(words) > 2 else ""
        if number and number not in self.kinds[kind]:
            return 404, {"detail": "Not found."}
        if sub and method == "GET":
            return 200, _listed([{"id": other} for other in self.joined[kind, number, sub]])
        if sub and method == "POST":
            ids = self.joined[kind, number, sub]
            if sent.get("disassociate"):
                ids.remove(sent["id"])
            else:
                ids.append(sent["id"])
            return 204, {}
        if method == "POST":
            return 201, _shown(self.add(kind, sent))
        if method == "PATCH":
            self.kinds[kind][number].update(sent)
            return 200, _shown(self.kinds[kind][number])
        if number:
            return 200, _shown(self.kinds[kind][number])
        wanted = {key: value for key, value in parse_qsl(parts.query) if key not in ("page_size", "order_by")}
        return 200, _listed(
            [_shown(entry) for entry in self.found(kind) if all(str(entry.get(key)) == value for key, value in wanted.items())]
        )


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """AWX gives no secret back."""
    inputs = entry.get("inputs")
    return {**entry, "inputs": {**inputs, "password": "$encrypted$"}} if inputs and "password" in inputs else entry


def _listed(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"count": len(results), "next": None, "previous": None, "results": results}

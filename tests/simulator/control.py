# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API: plain HTTP and JSON on a loopback port of its own, so that scripted faults never touch it and it is not journalled."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from .errors import ScenarioError

if TYPE_CHECKING:
    from .simulator import Simulator


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    simulator: Simulator


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _reply(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _serve(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        split = urlsplit(self.path)
        try:
            body = json.loads(raw) if raw else {}
            if not isinstance(body, dict):
                raise ScenarioError("the body must be a JSON object")
            self._reply(answer(self.server.simulator, method, split.path, parse_qs(split.query), body))
        except LookupError as exc:
            self._reply({"error": str(exc)}, 404)
        except (ScenarioError, ValueError, TypeError) as exc:
            self._reply({"error": str(exc)}, 400)

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")


def answer(sim: Simulator, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
    """What each address of the control API answers."""
    match method, path:
        case "GET", "/journal":
            return [entry.as_dict() for entry in sim.journal_since(int(query.get("since", ["0"])[0]))]
        case "GET", "/summary":
            return sim.summary()
        case "GET", "/state":
            return sim.state()
        case "GET", "/errors":
            return sim.errors
        case "GET", "/key_servers":
            return sim.key_servers
        case "POST", "/sign_csr":
            return {"certificate": sim.sign_csr(str(body.get("server", "")), str(body.get("csr", "")))}
        case "POST", "/reset":
            sim.reset()
        case "POST", "/clear_journal":
            sim.clear_journal()
        case "POST", "/fault":
            return {"id": sim.fault(**body)}
        case "DELETE", "/faults":
            sim.clear_faults()
        case "POST", "/act":
            if "do" not in body:
                raise ScenarioError("act: the key 'do' is missing")
            return {"hosts": sim.act(**body)}
        case "POST", "/advance":
            sim.advance(float(body.get("seconds", 0)))
        case _:
            raise LookupError(f"{method} {path} is not part of the control API")
    return {"ok": True}


class Control:
    def __init__(self, simulator: Simulator, host: str) -> None:
        self._server = _Server((host, 0), _Handler)
        self._server.simulator = simulator
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="simulator-control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(0.5)

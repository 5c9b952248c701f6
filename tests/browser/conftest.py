# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, and `view`, which opens the page of a report in it and watches that nothing leaves the page."""

from __future__ import annotations

import gzip
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.report_page import page as page_of
from tests.reports.samples import sample, summary
from tools.screenshots import CHROMIUM
from tools.screenshots import browser as started_browser

View = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not any(shutil.which(name) for name in CHROMIUM):
        pytest.skip("the report page is tested in Chromium, which is not here")
    with sync_playwright() as playwright, started_browser(playwright) as browser:
        yield browser


@pytest.fixture(scope="session")
def axe() -> str:
    return gzip.decompress(pathlib.Path(__file__).with_name("axe.min.js.gz").read_bytes()).decode("utf-8")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where people find what the page looks like."""
    reports = os.environ.get("STAGE_REPORTS")
    folder = pathlib.Path(reports) / "pictures" if reports else tmp_path_factory.mktemp("pictures")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def view(chromium: Browser, tmp_path: pathlib.Path) -> Iterator[View]:
    """view(report, hash="", **context): every request but for the page itself, and whatever the console says, fails the test."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def watched(report: dict[str, Any], hash: str = "", **options: Any) -> Page:
        file = tmp_path / f"page-{len(contexts)}.html"
        file.write_text(page_of(report), encoding="utf-8")
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        address = file.as_uri()
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: said.append(f"request: {request.url}") if request.url.split("#")[0] != address else None)
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("popup", lambda popup: said.append(f"popup: {popup.url}"))
        page.on("websocket", lambda socket: said.append(f"websocket: {socket.url}"))
        page.goto(address + hash)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-drawn]")
        return page

    yield watched
    for context in contexts:
        context.close()
    assert not said, said


@pytest.fixture(scope="session")
def report() -> dict[str, Any]:
    made = sample(60, 45, seed=3, sick=0.4, endpoints=2)
    # What samples lack: names twice, an exception that is over, a slice that is missing, an endpoint that was not reached.
    made["targets"][1]["name"] = made["targets"][0]["name"]
    made["exceptions"].append(
        {"id": "EX-0", "owner": "storage team", "reason": "array move", "expires": "2026-10-31", "status": "expired", "findings": 2}
    )
    made["endpoints"].append(
        {
            "name": "vc-9.example.com",
            "type": None,
            "version": None,
            "failure": {
                "kind": "LoginRefused",
                "cause": "the password is wrong",
                "hint": "Look into the vault.",
                "message": "vc-9 refused the login",
            },
            "judgements": {},
            "licenses": [],
        }
    )
    made["slices"] = {"of": 4, "present": [1, 3, 4]}
    made["targets"][5]["clock"] = {"offset": -93.2, "bound": 0.01, "limit": 1.0}
    made["targets"][6]["clock"] = {"offset": 1.005, "bound": 0.02, "limit": 1.0}
    made["targets"][7]["cluster"] = None
    made["summary"] = summary(made)
    return made

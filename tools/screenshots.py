# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a report page: light, dark, narrow and print, in headless Chromium.

tools/with_env.sh new python tools/screenshots.py PAGE.html FOLDER [--prefix report] [--height 1400] [--full]
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Literal

from playwright.sync_api import Browser, Playwright, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# What Chromium would otherwise ask its maker's servers for.
QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--font-render-hinting=none"),
)
# name -> width, colour scheme, pixels of the screen to one of the page
VIEWS: dict[str, tuple[int, Literal["light", "dark"], float]] = {
    "light": (1280, "light", 1),
    "dark": (1280, "dark", 1),
    "narrow": (390, "light", 2),
}


@contextlib.contextmanager
def browser(playwright: Playwright) -> Iterator[Browser]:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit(f"No browser is here: looked for {', '.join(CHROMIUM)}. apt-get install chromium")
    started = playwright.chromium.launch(executable_path=found, args=list(QUIET), chromium_sandbox=False)
    try:
        yield started
    finally:
        started.close()


def opened(page: Any, file: pathlib.Path) -> Any:
    page.goto(file.resolve().as_uri())
    page.wait_for_selector("html[data-drawn]")
    return page


def pictures(file: pathlib.Path, folder: pathlib.Path, *, prefix: str, height: int, full: bool) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with sync_playwright() as playwright, browser(playwright) as started:
        for name, (width, scheme, scale) in VIEWS.items():
            page = started.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale)
            made.append(folder / f"{prefix}-{name}.png")
            opened(page, file).screenshot(path=made[-1], full_page=full)
            page.close()
        # Also from a dark screen paper is light.
        page = opened(started.new_page(color_scheme="dark"), file)
        paper = folder / f"{prefix}-print.pdf"
        page.pdf(path=paper, prefer_css_page_size=True, print_background=True)
        if shutil.which("pdftoppm"):
            subprocess.run(["pdftoppm", "-r", "70", "-png", "-l", "4", paper, folder / f"{prefix}-print"], check=True, timeout=60)
            made += sorted(folder.glob(f"{prefix}-print-*.png"))
        else:
            page.emulate_media(media="print", color_scheme="light")
            page.set_viewport_size({"width": 1030, "height": 720})
            made.append(folder / f"{prefix}-print.png")
            page.screenshot(path=made[-1], full_page=full)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of a report page.")
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--prefix", default="report")
    parser.add_argument("--height", type=int, default=1400, help="of the view, where the page is not taken whole")
    parser.add_argument("--full", action="store_true", help="the whole page")
    given = parser.parse_args()
    for file in pictures(given.page, given.folder, prefix=given.prefix, height=given.height, full=given.full):
        print(file)


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever names the version of this collection names that of galaxy.yml."""

from __future__ import annotations

import re

import pytest
import yaml

PLACES = {
    "plugins/module_utils/_features/audit.py": r'^VERSION = "(.+)"$',
    "extensions/execution_environment/execution-environment.yml": r"fleetcare(?:-esxi-|-esxi-ee:|\.esxi, version: )(\d+\.\d+\.\d+)",
    "extensions/automation_platform/controller.yml": r"fleetcare-esxi-ee:(\d+\.\d+\.\d+)",
    "docs/automation_platform.md": r"fleetcare-esxi-ee:(\d+\.\d+\.\d+)",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_names_the_version(place: str, pytestconfig: pytest.Config) -> None:
    version = yaml.safe_load((pytestconfig.rootpath / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert set(re.findall(PLACES[place], (pytestconfig.rootpath / place).read_text(encoding="utf-8"), re.M)) == {version}

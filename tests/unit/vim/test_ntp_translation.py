# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's own test of its time service becomes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import PermissionMissing
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim.ntp import observe

MISSING = PermissionMissing("the privilege Host.Config.DateTime is missing", hint="Grant it.")


@pytest.mark.parametrize(
    ("test", "working", "report", "error"),
    [
        (None, None, (), None),
        (SimpleNamespace(workingNormally=True, report=["fine"]), True, ("fine",), None),
        (SimpleNamespace(workingNormally=False, report=["no reply", "timeout"]), False, ("no reply", "timeout"), None),
        (SimpleNamespace(workingNormally=None, report=None), False, (), None),
        # A test that could not be run says nothing of the time service.
        (MISSING, None, (), MISSING.sentence),
    ],
)
def test_a_test_that_could_not_be_run_is_no_verdict(test: Any, working: bool | None, report: tuple[str, ...], error: str | None) -> None:
    row = Row(Ref("HostSystem", "host-1"), {"config.product.version": "8.0.3"}, {})
    state = observe(row, {} if test is None else {"test": test})
    assert (state.working, state.test_report, state.test_error) == (working, report, error)

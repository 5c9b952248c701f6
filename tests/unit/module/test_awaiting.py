# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a change that takes back an earlier one is tried: after a refusal, never while something may go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    HostUnreachable,
    Interrupted,
    PermissionMissing,
    ServerFault,
    TimedOut,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.pipeline import _is_due


@dataclass(frozen=True)
class Plain:
    def applied_to(self, state: Any) -> Any:
        return state

    def describe(self) -> dict[str, Any]:
        return {}


class Empty(Plain):
    pass


class Fill(Plain):
    takes_back = Empty


@pytest.mark.parametrize(
    ("problem", "due"),
    [
        (None, True),
        (ServerFault("refused"), True),
        (PermissionMissing("not allowed"), True),
        (EndpointUnreachable("the answer was lost"), False),
        (TimedOut("nothing came of it"), False),
        (Interrupted("stopped"), False),
        (HostUnreachable("the host does not answer"), False),
    ],
)
def test_only_what_was_refused_for_certain_is_taken_back(problem: FleetcareError | None, due: bool) -> None:
    assert _is_due(Fill(), problem, False, [Empty()]) is due


def test_what_was_never_made_is_not_taken_back() -> None:
    assert not _is_due(Fill(), ServerFault("refused"), False, [])
    assert not _is_due(Fill(), ServerFault("refused"), False, [Plain()])


def test_another_change_waits_for_no_refusal() -> None:
    assert not _is_due(Plain(), ServerFault("refused"), False, [Empty()])

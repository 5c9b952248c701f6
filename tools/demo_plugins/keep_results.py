# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the results of this collection's modules in a file (KEEP_RESULTS), for the demo to show them in its own way."""

from __future__ import annotations

DOCUMENTATION = """
name: keep_results
type: notification
short_description: Keep results of fleetcare.esxi modules in a file
description: For make demo.
"""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "keep_results"

    def _keep(self, result: Any) -> None:
        if "hosts" in result._result or "vms" in result._result:
            with open(os.environ["KEEP_RESULTS"], "w", encoding="utf-8") as file:
                json.dump(result._result, file)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._keep(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._keep(result)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host has started with Secure Boot, as far as it tells. Private to this collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# True only where the host's configuration is sealed with a TPM so that it cannot be read without Secure Boot, from 7.0.3 on;
# false says nothing of the present.
REQUIRED = "runtime.stateEncryption.requireSecureBoot"
_TOLD = "capability.uefiSecureBoot"  # from 8.0.3 on
_FIRMWARE = "hardware.biosInfo.firmwareType"  # from 8.0.2 on
PROPERTIES = (_TOLD, REQUIRED, _FIRMWARE)


def told(values: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Whether it is on, None where nothing says so, and the property that does. Each is unset on older releases."""
    if values.get(REQUIRED):
        return True, REQUIRED
    if values.get(_TOLD) is not None:
        return bool(values[_TOLD]), _TOLD
    if str(values.get(_FIRMWARE) or "").upper() == "BIOS":
        return False, _FIRMWARE
    return None, ""

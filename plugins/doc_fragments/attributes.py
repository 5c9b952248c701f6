# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module can do under check mode and diff mode."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
  idempotent:
    description: When run twice in a row without outside changes, the second run changes nothing.
"""

    WRITES = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Nothing but reads is sent; the plan is the one of a real run.
  diff_mode:
    support: full
    details: One entry a host that changes.
  idempotent:
    support: full
    details: A second run changes nothing.
"""

    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module changes nothing.
  diff_mode:
    support: none
    details: This module changes nothing, so there is no difference to show.
  idempotent:
    support: full
    details: This module changes nothing.
"""

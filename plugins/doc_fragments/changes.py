# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that changes something: how far a run goes before anybody looks whether it went well."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  waves:
    description:
      - How many of the hosts, or VMs, that need a change get it before it is looked at whether that went well, one entry a
        wave, as a number or as a percentage of those selected. V([1, 10%, 100%]) begins with a single one.
      - They are taken in the order of their names. Each wave is read and planned anew before it is written.
      - Those that no wave has room for are V(skipped), change nothing, and do not make the task fail.
      - Left out, all are one wave.
    type: list
    elements: str
  max_failures:
    description:
      - As soon as more hosts, or VMs, than this have failed, or ended with a finding of level error, no further one is
        begun. Those are V(skipped).
      - Left out, it is 0 with O(waves), and unlimited without.
    type: int
  progress_file:
    description:
      - File to which a line is appended at the end of each wave, on the machine that runs the module.
      - With O(waves) the line is shown while the task runs, without this option.
    type: path
"""

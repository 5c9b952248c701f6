#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The pages of docs/: their commands are run against simulators, their playbooks linted, their links followed.
set -euo pipefail

# Pages take from one second to twenty, so whoever is free takes the next.
exec python -m pytest tests/docs -n 2 --dist worksteal -q --junitxml="$STAGE_REPORTS/docs.xml"

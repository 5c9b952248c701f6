#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

export CHAOS_RUNS=${CHAOS_RUNS:-3000}
exec tools/stages/pytest.sh chaos

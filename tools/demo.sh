#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What "make demo" runs, in an environment that tools/with_env.sh has set up.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m tools.demo "$@"

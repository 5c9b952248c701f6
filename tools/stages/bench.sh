#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

[ -f tests/bench/__main__.py ] || { echo "nothing to run: tests/bench does not exist"; exit 1; }
exec python -m tests.bench

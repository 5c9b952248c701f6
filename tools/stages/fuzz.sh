#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

exec python -m tests.fuzz.license_keys --count "${FUZZ_RUNS:-1000000}" --processes 2

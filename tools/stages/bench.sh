#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# BENCH=quick (default), BENCH=full, or BENCH='full --feature ntp' and whatever else python -m tests.bench --help lists.
set -euo pipefail

read -r mode more <<<"${BENCH:-quick}"
unset BENCH
# shellcheck disable=SC2086
exec python -m tests.bench --mode "$mode" ${more:-}

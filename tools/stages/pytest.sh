#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# pytest.sh SUITE...: run folders of tests/, all named ones in one go.
set -euo pipefail

paths=()
for suite in "$@"; do
  [ -d "tests/$suite" ] || { echo "nothing to run: tests/$suite does not exist"; exit 1; }
  paths+=("tests/$suite")
done
workers=2 chosen=()
# Much of what these do is waiting: for a deadline, a wave, a host that is to come back.
if [ "$1" = integration ]; then workers=4; fi
if [ "$(basename "$VIRTUAL_ENV")" = old ]; then chosen=(-m "not newest_only"); fi
# Files stay together, so that a server that a module's tests share is started once.
exec python -m pytest "${paths[@]}" "${chosen[@]}" -n "$workers" --dist loadfile -q --junitxml="$STAGE_REPORTS/$1.xml"

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
# Files stay together, so that a server that a module's tests share is started once.
exec python -m pytest "${paths[@]}" -n 2 --dist loadfile -q --junitxml="$STAGE_REPORTS/$1.xml"

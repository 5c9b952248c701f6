#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/clean.sh [all]: remove what was made here; the environments only with "all".

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

if [ "${1:-}" = all ]; then
  rm -rf .venv
else
  rm -rf .venv/log .venv/cache .venv/build .venv/molecule .venv/sanity .venv/home/.ansible
fi
rm -rf .ansible .hypothesis dist tests/output changelogs/.plugin-cache.yaml
find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf

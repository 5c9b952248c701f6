#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# All linters, each to its end, so that one run shows everything.
set -uo pipefail

failed=()
check() {
  local name=$1 started=$SECONDS
  shift
  if "$@"; then echo "ok: $name ($((SECONDS - started)) s)"; else failed+=("$name"); echo "FAILED: $name"; fi
}

# mypy needs the collection under its own name.
place=$VENVS/place/ansible_collections/fleetcare
mkdir -p "$place"
ln -sfn "$ROOT" "$place/esxi"

typed() { (cd "$VENVS/place" && mypy --config-file "$ROOT/pyproject.toml" "$@"); }
licensed() {
  git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    xargs -0 reuse lint-file --lines
}
scripts() { bash -n "$1" && { ! command -v shellcheck >/dev/null || shellcheck -x "$1"; }; }

check "ruff check" ruff check .
check "ruff format (cure: make format)" ruff format --check .
check "mypy plugins" typed ansible_collections/fleetcare/esxi/plugins
check "mypy tools and tests" env MYPYPATH="$VENVS/place" mypy tools tests
check yamllint yamllint --strict .
check "ansible-lint" ansible-lint --strict --profile production --nocolor -q
check "licences (reuse)" licensed
check "changelog" antsibull-changelog lint
for file in tools/*.sh tools/stages/*.sh tests/second_opinion/*.sh .ci/run; do check "$file" scripts "$file"; done
if [ -f tools/generate.py ]; then check "generated files (cure: make generate)" python tools/generate.py --check; fi

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi

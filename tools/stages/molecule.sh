#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# molecule.sh [SCENARIO...]: scenarios of extensions/molecule, all unless some are named, two at a time.
# Each has an ephemeral folder and a log of its own; the log is shown if it fails. A scenario counts as a test.
set -euo pipefail

scenarios=("$@")
if [ $# = 0 ]; then
  for file in extensions/molecule/*/molecule.yml; do
    [ -f "$file" ] && scenarios+=("$(basename "$(dirname "$file")")")
  done
fi
[ ${#scenarios[@]} -gt 0 ] || { echo "nothing to run: extensions/molecule has no scenario"; exit 1; }

# shellcheck disable=SC2317 # called by xargs
one() {
  local scenario=$1 log=$STAGE_REPORTS/$1.log started=$SECONDS code=0
  export MOLECULE_EPHEMERAL_DIRECTORY=$VENVS/molecule/$scenario
  rm -rf "$MOLECULE_EPHEMERAL_DIRECTORY"
  mkdir -p "$MOLECULE_EPHEMERAL_DIRECTORY"
  timeout --kill-after=30 600 molecule test --scenario-name "$scenario" >"$log" 2>&1 </dev/null || code=$?
  if [ "$code" = 0 ]; then
    echo "ok: $scenario ($((SECONDS - started)) s)"
    echo '<testcase classname="molecule" name="'"$scenario"'"/>' >"$STAGE_REPORTS/$scenario.case"
  else
    # The failure stands in the middle: destroy and a summary come after it.
    {
      echo "FAILED: $scenario ($((SECONDS - started)) s, exit code $code), all of it in ${log#"$ROOT/"}"
      sed -n '/^fatal:\|^failed:\|\[ERROR\]\|CRITICAL/,+12p' "$log" | head -n 50
    } | sed "s/^/$scenario | /"
    echo '<testcase classname="molecule" name="'"$scenario"'"><failure/></testcase>' >"$STAGE_REPORTS/$scenario.case"
  fi
  return "$code"
}
export -f one

code=0
printf '%s\n' "${scenarios[@]}" | xargs -P 2 -I '{}' bash -c 'one {}' || code=$?
failures=$(cat "$STAGE_REPORTS"/*.case | grep -c '<failure/>' || true)
{
  echo '<testsuite name="molecule" tests="'"${#scenarios[@]}"'" failures="'"$failures"'" errors="0" skipped="0">'
  cat "$STAGE_REPORTS"/*.case
  echo '</testsuite>'
} >"$STAGE_REPORTS/molecule.xml"
exit "$code"

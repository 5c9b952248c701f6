#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/run.sh STAGE...: run stages, with whatever Python is there; the stages themselves run in environments of their own.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

python=$VENVS/new/bin/python
if ! "$python" -c '' 2>/dev/null; then
  "$ROOT/tools/env.sh" demo
fi
exec "$python" "$ROOT/tools/run_stages.py" "$@"

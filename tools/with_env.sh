#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/with_env.sh NAME COMMAND...: run a command in an environment of ours, set up first where that is needed.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

name=$1
shift
"$ROOT/tools/env.sh" "$name"
folder=$VENVS/${name/demo/new}
export VIRTUAL_ENV=$folder PATH=$folder/bin:$PATH
unset PYTHONHOME PYTHONPATH
cd "$ROOT"
exec "$@"

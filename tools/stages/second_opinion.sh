#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The client against a simulator that nobody here wrote: govmomi's, in Debian's version, with a main program of ours.
set -euo pipefail

VCSIM=$(tests/second_opinion/build.sh) || { code=$?; [ "$code" = 77 ] && echo "SKIPPED: vcsim needs Go and govmomi from Debian, and neither is here nor may be installed."; exit "$code"; }
export VCSIM
exec tools/stages/pytest.sh second_opinion

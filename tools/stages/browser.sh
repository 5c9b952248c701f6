#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The report page in a real browser, Debian's Chromium. Pictures of it are left in the stage's folder of reports.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/../lib.sh"
cd "$ROOT"

find_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! find_browser >/dev/null; then
  # A browser without a font draws boxes.
  apt_install chromium fonts-dejavu-core || true
  find_browser >/dev/null || { echo "SKIPPED: the report page is tested in Chromium, which is neither here nor may be installed."; exit 77; }
fi
code=0
tools/stages/pytest.sh browser || code=$?
cat "$STAGE_REPORTS"/pictures/*.txt 2>/dev/null || true
exit "$code"

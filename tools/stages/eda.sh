#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The event source, and ansible-rulebook with it, whose rule engine is Java.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/../lib.sh"

if ! command -v java >/dev/null && [ -z "${JAVA_HOME:-}" ]; then
  apt_install openjdk-17-jre-headless || { echo "SKIPPED: ansible-rulebook needs Java 17 or newer, which is neither here nor may be installed."; exit 77; }
fi
exec tools/stages/pytest.sh eda

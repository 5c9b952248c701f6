#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The event source, and ansible-rulebook with it, whose rule engine is Java.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/../lib.sh"

# By the one that ansible-rulebook takes: JAVA_HOME's where that is set, the path's otherwise.
has_java() {
  local java=java version
  if [ -n "${JAVA_HOME:-}" ]; then java=$JAVA_HOME/bin/java; fi
  version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ "${version:-0}" -ge 17 ]
}

if [ -n "${JAVA_HOME:-}" ] && [ ! -x "$JAVA_HOME/bin/java" ]; then
  die "JAVA_HOME is $JAVA_HOME, and there is no bin/java in it. Mend it or unset it."
fi
for package in default-jre-headless openjdk-17-jre-headless; do
  has_java || apt_install "$package" || true
done
has_java || { echo "SKIPPED: ansible-rulebook needs Java 17 or newer, which is neither here nor may be installed."; exit 77; }
exec tools/stages/pytest.sh eda

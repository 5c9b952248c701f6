#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ansible-test sanity, in a copy that stands where ansible-test wants it; its own environments stay in .venv/home.
set -euo pipefail

if find tests/sanity -name 'ignore-*.txt' -size +0 | grep .; then
  echo "These must be empty: mend what they excuse."
  exit 1
fi

# ansible-test makes its environments with a pip that it downloads; ours has one already.
wanted=$(python - <<'P'
import pathlib
import re

import ansible_test

text = pathlib.Path(ansible_test.__path__[0], "_internal", "python_requirements.py").read_text(encoding="utf-8")
print(re.search(r"pip='([0-9.]+)'", text).group(1).replace(".", "_"))
P
)
mkdir -p "$HOME/.ansible/test/cache"
cat >"$HOME/.ansible/test/cache/get_pip_$wanted.py" <<'P'
import ensurepip
import subprocess
import sys

ensurepip.bootstrap(upgrade=True)
pip = [argument for argument in sys.argv[1:] if argument.startswith("pip==")]
raise SystemExit(subprocess.call([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *pip]))
P

copy=$(tools/place.sh "$VENVS/sanity")
cd "$copy"
version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
code=0
ansible-test sanity --local --color no --python "$version" 2>&1 | tee "$STAGE_REPORTS/output" || code=$?
if [ "$code" != 0 ]; then
  echo "--- what it found:"
  grep -E '^(ERROR|FATAL)' "$STAGE_REPORTS/output" || true
  exit "$code"
fi

# Green with nothing looked at is the failure that nobody sees.
if grep 'All targets skipped' "$STAGE_REPORTS/output" || [ "$(grep -c '^Running sanity test' "$STAGE_REPORTS/output")" -lt 20 ]; then
  echo "ansible-test looked at too little."
  exit 1
fi

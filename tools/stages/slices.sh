#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Workers of ansible-runner, which have what the execution environment has and nothing else: what goes into them is what
# ansible-builder says of our definition and of the built collection. And job definitions, against the modules of awx.awx.
set -euo pipefail

work=$VENVS/slices
rm -rf "$work/source" "$work/image" "$work/context"
mkdir -p "$work"
copy=$(tools/place.sh "$work/source")
# As the definition's first lines tell users to do it.
(cd "$copy" && ansible-galaxy collection build --output-path dist)
ansible-builder create -f "$copy/extensions/execution_environment/execution-environment.yml" -c "$work/context" --output-filename Containerfile
# What the image would be built with, in the same order: the collection first, then what it says that it needs.
(cd "$work/context/_build" && ANSIBLE_COLLECTIONS_PATH=$work/image ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false ansible-galaxy collection install --offline -r requirements.yml -p "$work/image")
ansible-builder introspect --sanitize "$work/image" --write-pip "$work/collection.txt" >"$work/introspected"
python - "$work" <<'P'
import pathlib
import re
import sys

work = pathlib.Path(sys.argv[1])
refs = re.search(r'^ARG ANSIBLE_INSTALL_REFS="(.*)"$', (work / "context" / "Containerfile").read_text(encoding="utf-8"), re.M)
(work / "worker.txt").write_text("\n".join(refs[1].split()) + "\n" + (work / "collection.txt").read_text(encoding="utf-8"), encoding="utf-8")
P
stamp=$(sha256sum "$work/worker.txt" | cut -d ' ' -f 1)
if [ "$(cat "$work/worker/.ready" 2>/dev/null)" != "$stamp" ]; then
  rm -rf "$work/worker"
  python -m venv "$work/worker"
  "$work/worker/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$work/worker.txt"
  printf '%s\n' "$stamp" >"$work/worker/.ready"
fi
packages=$("$work/worker/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -rf "$packages/ansible_collections"
ANSIBLE_COLLECTIONS_PATH=$packages "$work/worker/bin/ansible-galaxy" collection install --offline "$copy"/dist/*.tar.gz -p "$packages"

# awx.awx left the bundle after its release 11, and is on PyPI in no other way.
bundle=11.13.0
if [ ! -f "$work/awx-$bundle/ansible_collections/awx/awx/MANIFEST.json" ]; then
  rm -rf "$work/download"
  python -m pip download --quiet --disable-pip-version-check --no-input --no-deps -d "$work/download" "ansible==$bundle"
  (cd "$work" && python - "$work/download" "awx-$bundle" <<'P'
import pathlib
import sys
import zipfile

wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith("ansible_collections/awx/awx/")])
P
  )
  rm -rf "$work/download"
fi
export SLICES=$work SLICES_AWX=$work/awx-$bundle
exec tools/stages/pytest.sh slices

#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The tarball as users get it: built, installed where nothing else is, verified, documented from there, and judged by
# the importer that Galaxy and private automation hubs run.
set -euo pipefail

work=$VENVS/build
rm -rf "$work"
copy=$(tools/place.sh "$work/source")
ansible-galaxy collection build "$copy" --output-path "$work/dist"
tarball=$(echo "$work"/dist/fleetcare-esxi-*.tar.gz)
tar -tzf "$tarball" >"$work/contents"
echo "$(wc -l <"$work/contents") files, $(du -k "$tarball" | cut -f1) KiB"

wrong=0
if grep -E '^(\.|tests/|tools/|requirements/|Makefile|extensions/molecule/)|__pycache__|\.pyc$' "$work/contents"; then
  echo "The files above have no business in the tarball (manifest in galaxy.yml)."
  wrong=1
fi
(cd "$copy" && git ls-files -o LICENSE README.md requirements.txt meta plugins roles playbooks docs extensions) |
  grep -v '^extensions/molecule/' | grep -vxFf "$work/contents" >"$work/missing" || true
if [ -s "$work/missing" ]; then
  sed 's/^/missing in the tarball: /' "$work/missing"
  wrong=1
fi

# Clean: also without the link in the environment.
export ANSIBLE_COLLECTIONS_PATH=$work/clean ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=false
ansible-galaxy collection install --offline "$tarball" -p "$work/clean"
ansible-galaxy collection verify --offline fleetcare.esxi
installed=$work/clean/ansible_collections/fleetcare/esxi

# What stands outside these four may be deleted, and the rest must still work.
find "$installed" -mindepth 1 -maxdepth 1 ! -name meta ! -name plugins ! -name roles ! -name playbooks \
  ! -name MANIFEST.json ! -name FILES.json -exec rm -rf {} +
modules=("$installed"/plugins/modules/[!_]*.py)
modules=("${modules[@]##*/}")
modules=("${modules[@]%.py}")
roles=("$installed"/roles/*/)
roles=("${roles[@]%/}")
roles=("${roles[@]##*/}")
ansible-doc --json -t module "${modules[@]/#/fleetcare.esxi.}" >"$work/modules.json"
ansible-doc --json -t role "${roles[@]/#/fleetcare.esxi.}" >"$work/roles.json"
python - "$work" "${modules[@]/#/fleetcare.esxi.}" <<'P' || wrong=1
import json
import pathlib
import sys

work, modules = pathlib.Path(sys.argv[1]), sys.argv[2:]
known = json.loads((work / "modules.json").read_text(encoding="utf-8"))
elsewhere = [name for name in modules if not known[name]["doc"]["filename"].startswith(str(work / "clean"))]
if elsewhere:
    raise SystemExit(f"read from another place than the clean one: {elsewhere}")
roles = json.loads((work / "roles.json").read_text(encoding="utf-8"))
print(f"ok: ansible-doc reads {len(modules)} modules and {len(roles)} roles of the installed tarball")
P
for playbook in "$installed"/playbooks/*.yml; do
  [ -f "$playbook" ] || continue
  name=fleetcare.esxi.$(basename "$playbook" .yml)
  ansible-playbook --syntax-check -i localhost, "$name" || { echo "FAILED: $name does not parse where it is installed"; wrong=1; }
done
unset ANSIBLE_COLLECTIONS_PATH ANSIBLE_COLLECTIONS_SCAN_SYS_PATH

# Its exit code is 0 even when it found errors.
(cd "$work/dist" && python -m galaxy_importer.main "$(basename "$tarball")") 2>&1 | tee "$work/importer.log"
if grep -E '^(ERROR|CRITICAL)|Traceback|: ERROR' "$work/importer.log"; then wrong=1; fi
grep -q 'Importer processing completed successfully' "$work/importer.log" || wrong=1
exit "$wrong"

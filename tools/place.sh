#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/place.sh FOLDER: a copy of the checkout's files at FOLDER/ansible_collections/fleetcare/esxi, for tools that
# resolve links or would walk through the environments. Prints where it is.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

target=$1/ansible_collections/fleetcare/esxi
rm -rf "$target"
mkdir -p "$target"
# What git lists may have been deleted since.
git ls-files -co --exclude-standard -z |
  while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
  xargs -0 cp -P --preserve=mode,timestamps --parents -t "$target"
# A repository of its own: else tools ask git about this one, which ignores what stands in .venv, and see no files at all.
git init --quiet "$target"
printf '%s\n' "$target"

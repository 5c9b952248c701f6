#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/env.sh NAME...: set environments up, or do nothing where they stand already.
#   new    the newest ansible-core with all tools       old    the oldest ansible-core, with what runs tests
#   demo   in the folder of new, only what runs         peers  other people's collections
#   eda    ansible-rulebook
# A stamp (a hash of the requirement files and of this place) makes the second call cost nothing.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# The order is one of preference: what the tests are known to pass on comes first.
NEWEST_FIRST=(3.13 3.14 3.12 3.11)
OLDEST_CORE=(3.11 3.12 3.10 3.13 3.14)

# choose_python OVERRIDE VERSION...
choose_python() {
  local override=$1 found
  shift
  if [ -n "$override" ]; then
    "$override" -c 'import ssl, venv, ensurepip' >/dev/null 2>&1 || die "$override does not start, or lacks ssl, venv or ensurepip."
    command -v "$override"
  elif find_python "ssl, venv, ensurepip" "$@"; then
    :
  elif found=$(find_python "ssl" "$@"); then
    version=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    apt_install "python$version-venv" || apt_install python3-venv || true
    find_python "ssl, venv, ensurepip" "$@" ||
      die "$found cannot make environments; this gives it what it lacks: sudo apt-get install python$version-venv"
  else
    apt_install python3 python3-venv || true
    find_python "ssl, venv, ensurepip" "$@" ||
      die "One of Python $* is needed and none was found that starts; on Debian or Ubuntu: sudo apt-get install python3 python3-venv"
  fi
}

# pip says the same harmless line for every package of a machine that has several package folders.
quiet_pip() {
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "${@:2}" \
    2> >(grep -v "^WARNING: Location '.*' is ignored" >&2 || true)
}

# ansible, molecule, pytest and the linters all look in site-packages/ansible_collections: one link serves them all.
link_collection() {
  local packages
  packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  mkdir -p "$packages/ansible_collections/fleetcare"
  ln -sfn "$ROOT" "$packages/ansible_collections/fleetcare/esxi"
}

# An environment that was made elsewhere, whose interpreter has gone, or that has another one than asked for, is made again.
is_ours() {
  local folder=$1 override=$2 base
  grep -qs "$folder/bin/python" "$folder/bin/pip" && "$folder/bin/python" -m pip --version >/dev/null 2>&1 || return 1
  [ -n "$override" ] || return 0
  base=$("$folder/bin/python" -c 'import os, sys; print(os.path.realpath(sys._base_executable))')
  [ "$base" = "$(realpath "$(command -v "$override")")" ]
}

set_up() {
  local name=$1 folder=$1 override=${PYTHON_NEW:-} versions=("${NEWEST_FIRST[@]}") python stamp started
  [ -f "requirements/$name.txt" ] || die "There is no environment '$name': new, old, demo, peers, eda are known."
  # Today's tools need 3.11; the collection itself is content with 3.10.
  if [ "$name" = demo ]; then folder=new versions+=(3.10); fi
  if [ "$name" = old ]; then override=${PYTHON_OLD:-} versions=("${OLDEST_CORE[@]}"); fi
  folder=$VENVS/$folder
  stamp=$(cat requirements.txt requirements/*.txt tools/env.sh | { cat; printf '%s' "$folder $override"; } | sha256sum)
  if "$folder/bin/python" -c '' 2>/dev/null; then
    if [ "$(cat "$folder/.ready-$name" 2>/dev/null)" = "$stamp" ]; then return; fi
    if [ "$name" = demo ] && [ "$(cat "$folder/.ready-new" 2>/dev/null)" = "$stamp" ]; then return; fi
  fi
  mkdir -p "$VENVS"
  (
    flock 9
    if [ "$(cat "$folder/.ready-$name" 2>/dev/null)" = "$stamp" ] && "$folder/bin/python" -c '' 2>/dev/null; then return; fi
    started=$SECONDS
    if ! is_ours "$folder" "$override"; then
      python=$(choose_python "$override" "${versions[@]}")
      say "environment $name: $("$python" --version 2>&1), once; later runs start at once"
      rm -rf "$folder"
      "$python" -m venv "$folder"
    fi
    quiet_pip "$folder" -r "requirements/$name.txt" || die "The packages of requirements/$name.txt could not be installed; pip says why above."
    link_collection "$folder"
    "$folder/bin/python" tools/home.py "$VENVS/home"
    printf '%s\n' "$stamp" >"$folder/.ready-$name"
    say "environment $name: ansible-core $("$folder/bin/python" -c 'import ansible.release as r; print(r.__version__)') on $("$folder/bin/python" --version), $((SECONDS - started)) s"
  ) 9>"$VENVS/.lock-$(basename "$folder")"
}

for name in "$@"; do set_up "$name"; done

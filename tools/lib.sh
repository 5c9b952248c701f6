# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by the other scripts: where things are, how to complain, how to find a Python, how to ask Debian for a package.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENVS=$ROOT/.venv
export ROOT VENVS

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Debian's packages, where we may: as root, or with a sudo that asks nothing.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

apt_install() {
  command -v apt-get >/dev/null && as_root true || return 1
  say "installing from Debian: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" >/dev/null
}

# Every folder that may hold an interpreter: PATH, and what version managers keep beside their shims.
python_folders() {
  local folder managers=("${PYENV_ROOT:-$HOME/.pyenv}" "$HOME/.asdf" "$HOME/.local/share/mise")
  while IFS= read -r -d : folder; do
    case $folder in
      "$VENVS"/* | '') ;;
      */shims) managers+=("${folder%/shims}") ;;
      *) printf '%s\n' "$folder" ;;
    esac
  done <<<"$PATH:"
  for folder in "${managers[@]}"; do
    printf '%s\n' "$folder"/versions/*/bin "$folder"/installs/python/*/bin
  done
  printf '%s\n' "$HOME"/.local/share/uv/python/*/bin
}

# find_python MODULES 3.13 3.12 ...: the first interpreter, in that order, that really starts and has those modules.
find_python() {
  local modules=$1 version folder name
  shift
  for version in "$@"; do
    while IFS= read -r folder; do
      for name in "python$version" python3; do
        [ -x "$folder/$name" ] || continue
        "$folder/$name" -c "import sys, $modules; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" </dev/null >/dev/null 2>&1 || continue
        printf '%s\n' "$folder/$name"
        return 0
      done
    done < <(python_folders)
  done
  return 1
}

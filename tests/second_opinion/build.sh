#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Build vcsim once, and print where it is. Exit code 77: what it needs is not here and may not be installed.

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/../../tools/lib.sh"
cd "$ROOT/tests/second_opinion"

GOVMOMI=/usr/share/gocode/src/github.com/vmware/govmomi
if ! command -v go >/dev/null || [ ! -d "$GOVMOMI/simulator" ]; then
  apt_install golang-go golang-github-vmware-govmomi-dev || exit 77
fi
key=$( (cat gosim/src/*/*.go; go version; cat /usr/share/doc/golang-github-vmware-govmomi-dev/changelog* 2>/dev/null) | sha256sum | cut -c1-16)
binary=$VENVS/vcsim/vcsim-$key
if [ ! -x "$binary" ]; then
  mkdir -p "$VENVS/vcsim"
  say "building vcsim, once"
  GO111MODULE=off GOFLAGS='' GOPATH=$PWD/gosim:/usr/share/gocode GOCACHE=$VENVS/vcsim/cache \
    go build -ldflags '-s -w' -o "$binary.new" secondopinion
  mv "$binary.new" "$binary"
fi
printf '%s\n' "$binary"

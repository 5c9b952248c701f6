#!/usr/bin/env bash
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Documentation of modules, roles and docs/: well-formed, every reference leads somewhere, and the site is built of it without a warning.
set -euo pipefail

copy=$(tools/place.sh "$VENVS/docs")
(cd "$copy" && antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all --disallow-unknown-collection-refs .)
echo "ok: antsibull-docs found nothing to say"
python -m tools.docs_site "$VENVS/docs/site"

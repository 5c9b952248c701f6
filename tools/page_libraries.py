# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch what draws the charts of the report page, and what tests it, from the npm registry, by npm.

    tools/page_libraries.py               fetch the versions that the two libraries.json name, and check them
    tools/page_libraries.py d3@7.9.3      take another version; then run make browser and look at the pictures

The files are kept as npm has them, byte by byte, in gzip form: one of them holds quotation marks that ansible-test
does not want to see in a text file, and a collection of a third of the size does not hurt either.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
LISTS = (ROOT / "plugins" / "plugin_utils" / "report_assets" / "libraries.json", ROOT / "tests" / "browser" / "libraries.json")


def packed(name: str, version: str) -> tuple[bytes, str]:
    """The package as the registry has it, and the registry's own hash of it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--json", "--ignore-scripts", "--pack-destination", folder, f"{name}@{version}"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
        told = told[0] if isinstance(told, list) else next(iter(told.values()))
        files = list(pathlib.Path(folder).iterdir())
        if len(files) != 1:
            raise SystemExit(f"npm packed {len(files)} files for {name}@{version}.")
        return files[0].read_bytes(), told["integrity"]


def unpacked(package: bytes, path: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile(f"package/{path}")
        if member is None:
            raise SystemExit(f"no file {path} in the package.")
        return member.read()


def fetched(library: dict[str, Any], version: str, folder: pathlib.Path) -> dict[str, Any]:
    package, integrity = packed(library["name"], version)
    own = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    same = version == library["version"]
    if own != integrity or (same and library["integrity"] and own != library["integrity"]):
        raise SystemExit(f"{library['name']}@{version} has the hash {own}, not the one that was expected.")
    script = unpacked(package, library["path"])
    digest = hashlib.sha256(script).hexdigest()
    if same and library["sha256"] and digest != library["sha256"]:
        raise SystemExit(f"{library['path']} of {library['name']}@{version} has the hash {digest}, not {library['sha256']}.")
    # No time in it: the same bytes give the same file.
    (folder / library["file"]).write_bytes(gzip.compress(script, 9, mtime=0))
    print(f"{library['name']} {version}: {len(script)} bytes, sha256 {digest}")
    return {**library, "version": version, "integrity": own, "sha256": digest}


def main() -> None:
    wanted = dict(word.rsplit("@", 1) for word in sys.argv[1:])
    lists = {path: json.loads(path.read_text(encoding="utf-8")) for path in LISTS}
    unknown = set(wanted) - {library["name"] for libraries in lists.values() for library in libraries}
    if unknown:
        raise SystemExit(f"No list has a library {', '.join(sorted(unknown))}; add it to a {LISTS[0].name} first.")
    for path, libraries in lists.items():
        new = [fetched(library, wanted.get(library["name"], library["version"]), path.parent) for library in libraries]
        path.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

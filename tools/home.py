# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A home folder of our own for the stages, so that nothing of the user's is read, changed or tested by mistake.

pip's settings come along (index, certificates), also those that stand in the environment:
ansible-test drops the environment and would not find them.
"""

from __future__ import annotations

import ast
import configparser
import pathlib
import subprocess
import sys


def pip_settings() -> configparser.ConfigParser:
    settings = configparser.ConfigParser(interpolation=None)
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        key, separator, value = line.partition("=")
        section, _dot, option = key.rpartition(".")
        if not separator or not option:
            continue
        section = "global" if section == ":env:" else section
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, option, str(ast.literal_eval(value)).replace("\n", "\n\t"))
    return settings


def main() -> None:
    target = pathlib.Path(sys.argv[1]) / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    with target.open("w", encoding="utf-8") as stream:
        pip_settings().write(stream)


if __name__ == "__main__":
    main()

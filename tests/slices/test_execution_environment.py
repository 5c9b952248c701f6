# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment: ansible-builder takes it, and what it would put in is what the plugins import."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

DEFINITION = pathlib.Path("extensions/execution_environment/execution-environment.yml")
# What an import is called where that is not the name of its distribution.
DISTRIBUTIONS = {
    "pyVmomi": "pyvmomi",
    "vmware": "pyvmomi",
    "kmip": "pykmip",
    "yaml": "ansible-core",
    "ansible": "ansible-core",
    "cryptography": "ansible-core",
}
# Of what is built in, but asked of it by name.
OWN = "ansible_collections"


def imported(root: pathlib.Path) -> dict[str, str]:
    """Outside names that plugins import -> where."""
    found: dict[str, str] = {}
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in (each.partition(".")[0] for each in names):
                if name not in sys.stdlib_module_names and name != OWN:
                    found.setdefault(name, str(file.relative_to(root)))
    return found


def required(lines: str) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines.splitlines() if not line.startswith("#"))
    return {name[0].lower() for name in names if name}


def test_every_import_of_a_plugin_is_in_the_image(slices: pathlib.Path) -> None:
    there = required((slices / "worker.txt").read_text(encoding="utf-8"))
    missing = {name: file for name, file in imported(pathlib.Path("plugins")).items() if DISTRIBUTIONS.get(name, name).lower() not in there}
    assert missing == {}


def test_nothing_is_in_the_image_that_no_plugin_imports(slices: pathlib.Path) -> None:
    wanted = {DISTRIBUTIONS.get(name, name).lower() for name in imported(pathlib.Path("plugins"))}
    assert required((slices / "collection.txt").read_text(encoding="utf-8")) - wanted == set()


def test_an_import_that_is_not_in_the_image_would_be_seen(tmp_path: pathlib.Path) -> None:
    (tmp_path / "new.py").write_text("def late():\n    from requests import get\n", encoding="utf-8")
    assert imported(tmp_path) == {"requests": "new.py"}


def test_requirements_are_ranges_with_both_ends(slices: pathlib.Path) -> None:
    for line in (slices / "worker.txt").read_text(encoding="utf-8").splitlines():
        if (wanted := line.partition("#")[0].strip()) and not wanted.startswith("#"):
            assert ">=" in wanted and ",<" in wanted, wanted


def test_whoever_installs_by_hand_gets_no_other_pyvmomi_than_the_image() -> None:
    by_hand = [line for line in pathlib.Path("requirements.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    image = [
        line for line in pathlib.Path("meta/ee-requirements.txt").read_text(encoding="utf-8").splitlines() if line.startswith("pyvmomi")
    ]
    assert len(by_hand) == len(image) == 1 and image[0].startswith(by_hand[0])


def test_the_context_has_the_tarball_of_this_version(slices: pathlib.Path) -> None:
    version = yaml.safe_load(pathlib.Path("galaxy.yml").read_text(encoding="utf-8"))["version"]
    name = f"collections/fleetcare-esxi-{version}.tar.gz"
    assert yaml.safe_load((slices / "context/_build/requirements.yml").read_text(encoding="utf-8")) == {
        "collections": [{"name": name, "type": "file"}]
    }
    assert (slices / "context/_build" / name).stat().st_size > 100_000


def test_the_instructions_name_what_they_should(slices: pathlib.Path) -> None:
    text = (slices / "context/Containerfile").read_text(encoding="utf-8")
    definition = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    assert f'ARG EE_BASE_IMAGE="{definition["images"]["base_image"]["name"]}"' in text
    assert 'ARG ANSIBLE_INSTALL_REFS="ansible-core>=2.16,<2.22 ansible-runner>=2.4,<3"' in text
    assert 'ARG PYPKG="python3.12"' in text


@pytest.mark.parametrize(
    "spoil", [("version: 3", "version: 33"), ("base_image:", "basis:"), ("package_pip: ansible-core", "pip: ansible-core")]
)
def test_ansible_builder_would_refuse_a_definition_that_is_wrong(spoil: tuple[str, str], tmp_path: pathlib.Path) -> None:
    text = DEFINITION.read_text(encoding="utf-8")
    assert spoil[0] in text
    (tmp_path / "execution-environment.yml").write_text(text.replace(*spoil, 1), encoding="utf-8")
    ran = subprocess.run(
        ["ansible-builder", "create", "-f", "execution-environment.yml"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert ran.returncode != 0


def test_every_plugin_can_be_imported_by_a_worker(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """In its own environment, with no variable of ours: nothing but the installed collection is found."""
    program = (
        "import importlib, pathlib, ansible_collections, sys\n"
        "from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder\n"
        "place = [path for path in sys.path if path.endswith('site-packages')]\n"
        "_AnsibleCollectionFinder(paths=place, scan_sys_paths=False)._install()\n"
        "plugins = pathlib.Path(place[0], 'ansible_collections/fleetcare/esxi/plugins')\n"
        "names = [file.relative_to(plugins).with_suffix('').parts for file in plugins.rglob('*.py') if file.stem != '__init__']\n"
        "for name in names:\n"
        "    importlib.import_module('ansible_collections.fleetcare.esxi.plugins.' + '.'.join(name))\n"
        "print(len(names))\n"
    )
    python = slices / "worker/bin/python"
    ran = subprocess.run(
        [python, "-I", "-c", program],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 80

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that name a file of text: what is a path is read, and what is none stays."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import texts


def test_a_path_is_read_from_home_and_from_here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.csv").write_text("\ufeffpci\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("~/list.csv", "list.csv", str(tmp_path / "list.csv")):
        assert texts.read({"list": path, "other": path}, ["list"]) == {"list": (path, "pci\n"), "other": path}


@pytest.mark.parametrize("given", [None, [], [{"pci": "8086:1572"}], {"pci": "8086:1572"}, 7])
def test_what_is_no_text_stays(given: object) -> None:
    assert texts.read({"list": given}, ["list", "absent"]) == {"list": given}


@pytest.mark.parametrize("given", ["", " ", "pci,verdict\n8086:1572,advice", '[{"pci": "8086:1572"}]', ' {"entries": []}'])
def test_a_text_is_taken_as_it_is(given: str) -> None:
    assert texts.read({"list": given}, ["list"]) == {"list": ("the text given", given)}


def test_what_cannot_be_read_is_named_in_full(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.csv").write_bytes(b"pci\n\xff")
    for path, why in (("gone.csv", "cannot be read: No such file or directory"), ("odd.csv", r"is no UTF-8 text \(byte 4\)")):
        with pytest.raises(BadInput, match=f"^list: {tmp_path}/{path} {why}") as caught:
            texts.read({"list": path}, ["list"])
        assert caught.value.hint

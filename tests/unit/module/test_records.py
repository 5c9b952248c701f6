# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: the state before a run as a file that the same module takes back."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import firewall
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import records
from tests.unit.domain.firewall_makers import allowed_of, ruleset
from tests.unit.domain.firewall_makers import firewall as host

FORM = firewall.RECORD


def kept(folder: str, endpoint: str, hosts: list[dict[str, Any]]) -> str:
    return records.write(records.new_file(folder, FORM, endpoint), FORM, endpoint, hosts)


def test_a_record_is_a_new_file_that_only_its_owner_reads_in_a_folder_made_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    path = Path(kept(str(folder), "vc.example.com", [{"name": "esx"}]))
    assert path.parent == folder and path.name.startswith("vc.example.com-firewall-2") and path.suffix == ".json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    data = json.loads(path.read_text(encoding="utf-8"))
    assert (data["format"], data["endpoint"], data["hosts"]) == (FORM, "vc.example.com", [{"name": "esx"}]) and data["taken"]


def test_two_records_never_share_a_file(tmp_path: Path) -> None:
    assert len({kept(str(tmp_path), "vc", []) for _turn in range(20)}) == 20 == len(list(tmp_path.iterdir()))


def test_a_file_that_is_written_anew_stays_in_its_place_and_its_owners(tmp_path: Path) -> None:
    path = records.new_file(str(tmp_path), FORM, "vc")
    assert list(tmp_path.iterdir()) == [], "a name is no file yet"
    for hosts in ([{"name": "a"}], [{"name": "a"}, {"name": "b"}]):
        assert records.write(path, FORM, "vc", hosts) == path
        assert records.read(path)["hosts"] == hosts and stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert [str(one) for one in tmp_path.iterdir()] == [path], "nothing half written is left"


def test_a_file_that_cannot_be_written_anew_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(str(tmp_path), "vc", [{"name": "a"}])

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FleetcareError, match="No space left on device, so nothing more was changed"):
        records.write(path, FORM, "vc", [{"name": "a"}, {"name": "b"}])
    assert records.read(path)["hosts"] == [{"name": "a"}]


@pytest.mark.parametrize("endpoint", ["../../etc/passwd", "2001:db8::1", "vc/x", "a b", "vc:443"])
def test_the_name_of_an_endpoint_never_leads_out_of_the_folder(endpoint: str, tmp_path: Path) -> None:
    path = Path(kept(str(tmp_path), endpoint, []))
    assert path.parent == tmp_path and path.resolve().parent == tmp_path.resolve() and ":" not in path.name


def test_a_home_folder_is_understood_on_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = kept("~/kept", "vc", [])
    assert path.startswith(str(tmp_path)) and records.read(f"~/kept/{os.path.basename(path)}")["format"] == FORM


def test_a_folder_that_cannot_be_written_is_a_sentence_that_nothing_more_was_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FleetcareError, match="so nothing more was changed") as caught:
        kept(str(tmp_path / "file" / "x"), "vc", [])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no record"),
        (b'"x"', "no record"),
        (b"null", "no record"),
    ],
)
def test_a_file_that_is_no_record_is_refused_with_its_name(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=says) as caught:
        records.read(str(path))
    assert str(path) in caught.value.cause and caught.value.hint
    with pytest.raises(BadInput, match="cannot be read"):
        records.read(str(tmp_path))


def test_a_firewall_goes_through_a_file_and_back_exactly(tmp_path: Path) -> None:
    before = host(
        ruleset("sshServer", "in tcp 22", allowed=allowed_of(False, "192.0.2.1", "198.51.100.0/24", "2001:db8::/64")),
        ruleset("syslog", "out udp 514", enabled=False, allowed=allowed_of(True, "2001:db8::1")),
        outgoing_blocked=False,
    )
    after = host(ruleset("sshServer", "in tcp 22", enabled=False), ruleset("syslog", "out udp 514"))
    path = kept(str(tmp_path), "vc", [firewall.record(before)])
    options: dict[str, Any] = {"restore": records.read(path)}
    made = firewall.plan(after, firewall.parse(options), None)
    assert made.predicted.rulesets == before.rulesets and made.predicted.outgoing_blocked is False and not made.errors

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxi_audit_report as people run it: files of reports, merged, compared, and the gate of a pipeline."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import stat
import subprocess
import sys
from typing import Any

import jsonschema
import junitparser
import pytest

from tests.integration.playbooks import ansible_playbook, on_localhost
from tests.reports.samples import SCHEMA, sample, summary

MODULE = "fleetcare.esxi.esxi_audit_report"


def save(path: pathlib.Path, report: dict[str, Any]) -> str:
    report["summary"] = summary(report)
    path.write_text(json.dumps(report))
    return str(path)


def play(folder: pathlib.Path, *tasks: dict[str, Any], flags: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], str]:
    """Each task's result by its place, and all that was shown."""
    out = folder / "results.json"
    named = [
        {MODULE: options, "register": f"result_{number}", "ignore_errors": True, "check_mode": bool(options.pop("check", False))}
        for number, options in enumerate(tasks)
    ]
    keep = {
        "ansible.builtin.copy": {
            "content": "{{ [" + ", ".join(f"result_{number}" for number in range(len(tasks))) + "] | to_json }}",
            "dest": str(out),
        },
        "check_mode": False,
    }
    path = folder / "play.yml"
    path.write_text(json.dumps([on_localhost(*named, keep)]))
    done = ansible_playbook(folder, str(path), *flags, cwd="/")
    shown = done.stdout + done.stderr
    assert done.returncode == 0 and "Traceback" not in shown, shown
    return json.loads(out.read_text()), shown


def slices(folder: pathlib.Path, count: int) -> list[str]:
    whole = sample(8, 4, seed=2)
    whole.update(since=None, resolved=[])
    paths = []
    for number in range(count):
        part = {**whole, "targets": whole["targets"][number::count], "slices": {"of": count, "present": [number + 1]}}
        paths.append(save(folder / f"slice-{number + 1}.json", part))
    return paths


def test_from_slices_to_files_and_again(tmp_path: pathlib.Path) -> None:
    """Relative paths, check mode before, nothing new the second time, a slice that is missing, and drift a week later."""
    slices(tmp_path, 3)
    week = sample(8, 4, seed=3)
    week.update(generated="2026-11-29T03:00:00Z", since=None, resolved=[])
    save(tmp_path / "later.json", week)
    three = {"reports": [f"slice-{number}.json" for number in (3, 1, 2)], "dest": "out"}
    check, first, second, some, later, again = play(
        tmp_path,
        {**three, "check": True},
        three,
        three,
        {"reports": ["slice-2.json"], "dest": "some", "formats": ["text", "junit"], "basename": "weekly", "mode": "0640"},
        {"reports": ["later.json"], "dest": "out", "previous": "out/report.json"},
        # Made once more from the same audit: what stands there is of that audit, and so no earlier one.
        {"reports": ["later.json"], "dest": "out", "previous": "out/report.json"},
    )[0]
    out = tmp_path / "out"
    assert check["changed"] and first["changed"] and not second["changed"] and later["changed"] and not again["changed"]
    expected = {"html": "report.html", "csv": "report.csv", "junit": "report.xml", "text": "report.txt", "json": "report.json"}
    assert check["files"] == first["files"] == {each: str(out / name) for each, name in expected.items()}
    assert sorted(os.listdir(out)) == sorted(expected.values())
    assert {stat.S_IMODE((out / name).stat().st_mode) for name in expected.values()} == {0o600}
    assert first["msg"] == second["msg"] != later["msg"]
    report = json.loads((out / "report.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    assert report["since"] == "2026-11-22T03:00:00Z" and report["slices"] is None
    assert later["summary"] == report["summary"] == summary(report) and report["summary"]["new"] > 0 and report["summary"]["resolved"] > 0
    assert (out / "report.txt").read_text() == later["msg"]
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (out / "report.csv").read_bytes().startswith(b"\xef\xbb\xbfendpoint,")
    with open(out / "report.csv", encoding="utf-8-sig", newline="") as file:
        assert {row["state"] for row in csv.DictReader(file)} >= {"", "new", "resolved"}
    assert junitparser.JUnitXml.fromfile(str(out / "report.xml")).tests > 8
    # One slice of three.
    assert sorted(os.listdir(tmp_path / "some")) == ["weekly.txt", "weekly.xml"]
    assert stat.S_IMODE((tmp_path / "some/weekly.txt").stat().st_mode) == 0o640
    assert "MISSING: slices 1, 3 of 3 are missing" in some["msg"] and some["verdict"].startswith("Bonn: slices are missing, ")
    assert some["gate"]["reasons"][0] == "slices 1, 3 of 3 are missing: nobody judged what is in them"
    assert junitparser.JUnitXml.fromfile(str(tmp_path / "some/weekly.xml")).errors >= 1


def test_the_gate_fails_when_all_is_written(tmp_path: pathlib.Path) -> None:
    warned = sample(2, 0, seed=1, sick=0)
    warned["targets"][0]["judgements"]["ntp"] = {
        "verdict": "compliant",
        "findings": [{"level": "warning", "code": "clock_not_synced", "text": "not synchronised"}],
    }
    path = save(tmp_path / "a.json", warned)
    common = {"reports": [path], "fail_on_findings": True}
    passes, fails, told = play(
        tmp_path,
        {**common, "dest": str(tmp_path / "passes")},
        {**common, "dest": str(tmp_path / "fails"), "fail_levels": ["error", "warning"]},
        {**common, "dest": str(tmp_path / "told"), "fail_levels": ["warning"], "fail_on_findings": False},
    )[0]
    assert not passes.get("failed") and passes["gate"] == {"passed": True, "reasons": [], "holes": []}
    assert fails["failed"] and fails["msg"].startswith(
        "The audit does not pass at error and warning: ntp: 1 is not right (esx-0001.example.com). The files are written.\nBonn: "
    )
    assert sorted(os.listdir(tmp_path / "fails")) == sorted(os.listdir(tmp_path / "passes")) and fails["changed"]
    assert not told.get("failed") and told["gate"]["passed"] is False


HOSTILE = (
    "{{ 'wrongly' ~ 'done' }}",
    "{% raw %}",
    "</script><script>alert(1)</script>",
    "=HYPERLINK(1)",
    "\x1b[2J",
    "\ud800",
    "\u202egnp",
    "esx 1\nevil",
)


def test_hostile_names_are_names(tmp_path: pathlib.Path) -> None:
    report = sample(8, 8, seed=1, sick=0.9)
    for target, name in zip(report["targets"], HOSTILE * 2, strict=True):
        target["name"] = name
    report["site"] = "{{ lookup('ansible.builtin.pipe', 'touch evil') }} <b>"
    path = save(tmp_path / "a.json", report)
    (result,), shown = play(tmp_path, {"reports": [path], "dest": str(tmp_path / "out"), "fail_on_findings": True}, flags=("-v",))
    assert result["failed"] and "{{ 'wrongly' ~ 'done' }}" in result["msg"] and "wronglydone" not in result["msg"] + shown
    assert not (tmp_path / "evil").exists() and "\x1b[2J" not in shown
    junitparser.JUnitXml.fromfile(str(tmp_path / "out/report.xml"))
    assert "<script>alert(1)" not in (tmp_path / "out/report.html").read_text()
    assert json.loads((tmp_path / "out/report.json").read_text())["targets"][0]["endpoint"]


def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path: pathlib.Path) -> None:
    good = save(tmp_path / "good.json", sample(2, 0))
    other = save(tmp_path / "other.json", {**sample(2, 0), "profile": {"name": "other.yml", "fingerprint": "ff"}})
    newer = save(tmp_path / "newer.json", {**sample(2, 0), "generated": "2027-01-01T00:00:00Z"})
    (tmp_path / "half.json").write_text(json.dumps(sample(2, 0))[:500])
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    damaged = sample(2, 0)
    del damaged["targets"][1]["moid"]
    (tmp_path / "damaged.json").write_text(json.dumps(damaged))
    (tmp_path / "pipe").mkdir()
    hint = "Name a file that esxi_audit or esxi_audit_report has written."
    cases: list[tuple[dict[str, Any], str]] = [
        ({"reports": []}, "reports is empty. Name the files that esxi_audit has written."),
        (
            {"reports": ["no.json"]},
            f"{tmp_path}/no.json cannot be read: No such file or directory. Name a file on the machine that runs the task.",
        ),
        ({"reports": ["pipe"]}, f"{tmp_path}/pipe cannot be read: Is a directory. Name a file on the machine that runs the task."),
        *(({"reports": [f"{name}.json"]}, f"{tmp_path}/{name}.json is no JSON. {hint}") for name in ("half", "deep", "binary")),
        ({"reports": ["damaged.json"]}, f"{tmp_path}/damaged.json is damaged: targets[1] has no moid. {hint}"),
        (
            {"reports": [good, other]},
            "the reports were made by different profiles: bonn.yml (0123456789ab), other.yml (ff). Run the audit again",
        ),
        (
            {"reports": [good], "previous": newer},
            "the report to compare with is of 2027-01-01T00:00:00Z, and so newer than this one of 2026-11-22",
        ),
        ({"reports": [good], "previous": "no.json"}, f"{tmp_path}/no.json cannot be read: No such file or directory."),
        (
            {"reports": [good], "dest": "good.json"},
            f"dest {tmp_path}/good.json cannot be a folder: {tmp_path}/good.json is none. Name another one.",
        ),
        ({"reports": [good], "basename": "../x"}, "basename '../x' is no name of a file. Name the folder in dest."),
        (
            {"reports": [good], "formats": ["pdf"]},
            "value of formats must be one or more of: html, csv, junit, text, json. Got no match for: pdf",
        ),
        ({"reports": [good], "report": "x"}, "Unsupported parameters for (fleetcare.esxi.esxi_audit_report)"),
    ]
    results, _shown = play(tmp_path, *({"dest": "out", **options} for options, _sentence in cases))
    for result, (options, sentence) in zip(results, cases, strict=True):
        assert result["failed"] and sentence.replace(" (fleetcare.esxi.esxi_audit_report)", "") in result["msg"].replace(
            " (fleetcare.esxi.esxi_audit_report)", ""
        ), (options, result["msg"])
        assert "\n" not in result["msg"].strip()
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_leaves_the_older_ones(tmp_path: pathlib.Path) -> None:
    if os.geteuid() == 0:
        # Root may write anywhere; a folder in the place of a file stops it all the same.
        (tmp_path / "out/report.csv").mkdir(parents=True)
        path = save(tmp_path / "a.json", sample(2, 0))
        (result,) = play(tmp_path, {"reports": [path], "dest": "out"})[0]
        assert result["failed"] and result["msg"].startswith(f"{tmp_path}/out/report.csv cannot be read: ")
        assert "report.json" not in os.listdir(tmp_path / "out")
    else:
        pytest.skip("this is for root")


def test_by_itself_the_module_says_what_it_needs(tmp_path: pathlib.Path) -> None:
    """Whoever starts the module's file without Ansible's action plugin gets a sentence."""
    module = pathlib.Path(__file__).parents[2] / "plugins/modules/esxi_audit_report.py"
    options = json.dumps({"ANSIBLE_MODULE_ARGS": {"reports": ["a.json"], "dest": str(tmp_path)}})
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, str(module)],
        input=options,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["failed"] and told["msg"].startswith("this module was started by itself, without its action plugin")


_ALONE = """
import sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.fleetcare.esxi.plugins.modules.esxi_audit_report import main
main()
"""

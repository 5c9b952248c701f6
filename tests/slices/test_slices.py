# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit that four workers share: what comes back is what one run would have found, and what does not is told."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.report_merge import merged
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.report_packed import packed, unpacked
from tests.reports.samples import SCHEMA, sample
from tests.simulator import Simulator

from .workers import PATIENCE, Came, Job, Running, Worker

jsonschema = pytest.importorskip("jsonschema")

pytestmark = pytest.mark.timeout(900)

HOSTS = 1000
PROFILE = """
site: Bonn
features:
  ntp: {ntp_servers: [192.0.2.1, 192.0.2.2], max_skew: 5}
  license: {}
  firewall: {rules: [{name: sshServer, enabled: false}]}
  crypto: {}
exceptions:
  - {id: EX-1, owner: network team, reason: waits for the move, expires: 2036-12-31, feature: firewall, targets: ["*1.example.com"]}
"""
SLICES = ("1/4", "2/4", "3/4", "4/4")
# A password a worker, so that what came back can be searched for all of them.
USERS = {f"slice-{number}@vsphere.local": f"Slice-Secret-{number}0815" for number in (0, 1, 2, 3, 4)}


def fleet(hosts: int) -> dict[str, Any]:
    """Hosts that are broken in as many ways as there are, and their VMs."""
    scenario: dict[str, Any] = yaml.safe_load(pathlib.Path("tests/simulator/scenarios/drifting.yml").read_text(encoding="utf-8"))
    entries = scenario["hosts"]
    for number, entry in enumerate(entries):
        entry["name"] = f"esx-{number:02}-{{i:04d}}.example.com"
        entry["count"] = max(1, hosts // len(entries)) + (1 if number < hosts % len(entries) else 0)
    scenario["users"] = {name: {"password": password} for name, password in USERS.items()}
    return scenario


@pytest.fixture(scope="module")
def vcenter() -> Iterator[Simulator]:
    with Simulator(fleet(HOSTS)) as simulator:
        yield simulator
        assert simulator.errors == []


@dataclasses.dataclass
class Fleet:
    """Jobs for one vCenter and the workers that they go to."""

    simulator: Simulator
    worker: pathlib.Path
    folder: pathlib.Path
    jobs: int = 0

    def start(self, part: str, **variables: Any) -> Running:
        """A slice, or with no part the whole, by a worker that was never used."""
        self.jobs += 1
        user = f"slice-{part.partition('/')[0] or 0}@vsphere.local"
        told = {
            "profile": "bonn.yml",
            "hostname": self.simulator.hostname,
            "port": self.simulator.port,
            "thumbprint": self.simulator.thumbprint,
            "username": user,
            "password": USERS[user],
            "esxi_hostname": ["*"],
            **({"slice": part} if part else {}),
            **variables,
        }
        job = Job(
            self.folder / f"job-{self.jobs}",
            variables={f"esxi_audit_{name}": value for name, value in told.items()},
            project={"bonn.yml": PROFILE},
        )
        back = self.folder / "back" / (part.replace("/", "-of-") or "whole")
        return Running(job, Worker(self.worker, self.folder / f"home-{self.jobs}"), back, "fleetcare.esxi.esxi_audit_slice")


def merge(slices: pathlib.Path, folder: pathlib.Path, *came: pathlib.Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    told = {"esxi_audit_collect_from": [str(each) for each in came], "esxi_audit_dest": str(folder / "report"), **variables}
    return play(slices, folder, "merge", told)


def play(slices: pathlib.Path, folder: pathlib.Path, name: str, told: dict[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
    """A playbook of ours, on a machine that has the execution environment, too."""
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
    worker = slices / "worker"
    return subprocess.run(
        [worker / "bin/ansible-playbook", f"fleetcare.esxi.esxi_audit_{name}", "-e", f"@{folder / 'told.json'}", *flags],
        env={"PATH": f"{worker / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_SHOW_CUSTOM_STATS": "true"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def report_in(folder: pathlib.Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report/report.json").read_text(encoding="utf-8")))


def reports_of(came: Came) -> list[dict[str, Any]]:
    return [json.loads(unpacked(line)) for name, line in came.artifacts.items() if name.startswith("esxi_audit_part_")]


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """Without what two runs of the same never share: when they began, and clocks, which are measured anew to the millisecond."""
    plain = {name: value for name, value in report.items() if name not in ("generated", "slices")}
    plain["targets"] = [{**target, **({"clock": target["clock"]["limit"]} if "clock" in target else {})} for target in report["targets"]]
    measured: dict[str, Any] = json.loads(re.sub(r"[+-]?\d+\.\d+ s\b", "# s", json.dumps(plain)))
    return measured


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@dataclasses.dataclass
class Story:
    """What happened, in this order."""

    whole: Came
    first: dict[str, Came]
    killed: tuple[str, dict[str, Any]]
    text_first: str
    merged_first: subprocess.CompletedProcess[str]
    report_first: dict[str, Any]
    again: Came
    merged_again: subprocess.CompletedProcess[str]
    report_again: dict[str, Any]
    back: pathlib.Path
    left: list[str]
    logins: dict[str, int]
    calls: dict[str, int]


@pytest.fixture(scope="module")
def story(vcenter: Simulator, slices: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    four = Fleet(vcenter, slices / "worker", folder)
    whole = four.start("").finish()
    calls = {"whole": vcenter.summary()["calls"]}
    logins = {"whole": vcenter.summary()["logins"]}
    vcenter.clear_journal()
    # The third worker is killed while it waits for an answer, in the middle of its clocks.
    asked = "QueryDateTime"
    vcenter.fault(method=asked, user="slice-3@*", after=20, count=None, delay=2 * PATIENCE)
    running = {part: four.start(part) for part in SLICES}
    until(
        lambda: sum(entry.method == asked and (entry.user or "").startswith("slice-3") for entry in list(vcenter.journal)) >= 20,
        "the third worker has not begun to read clocks",
    )
    assert running["3/4"].worker.poll() is None
    running["3/4"].kill()
    first = {part: each.finish() for part, each in running.items()}
    # Read now: it is run again into the same folder.
    killed = first["3/4"].status, first["3/4"].artifacts
    vcenter.clear_faults()
    back = folder / "back"
    present = [back / f"{number}-of-4" for number in (1, 2, 3, 4)]
    merged_first = merge(slices, folder, *present)
    report_first = report_in(folder)
    text_first = (folder / "report/report.txt").read_text(encoding="utf-8")
    calls["three"], logins["three and a half"] = vcenter.summary()["calls"], vcenter.summary()["logins"]
    vcenter.clear_journal()
    again = four.start("3/4").finish()
    calls["third again"], logins["third again"] = vcenter.summary()["calls"], vcenter.summary()["logins"]
    merged_again = merge(slices, folder, *present)
    return Story(
        whole=whole,
        first=first,
        killed=killed,
        text_first=text_first,
        merged_first=merged_first,
        report_first=report_first,
        again=again,
        merged_again=merged_again,
        report_again=report_in(folder),
        back=back,
        left=[name for part, each in running.items() if part != "3/4" for name in each.left],
        logins=logins,
        calls=calls,
    )


def test_each_worker_does_its_part_and_all_parts_are_the_fleet(story: Story) -> None:
    done = [came for part, came in story.first.items() if part != "3/4"]
    assert [came.status for came in (story.whole, *done, story.again)] == ["successful"] * 5, story.whole.stdout[-2000:]
    parts = [report for came in (*done, story.again) for report in reports_of(came)]
    seen = [(target["kind"], target["moid"]) for report in parts for target in report["targets"]]
    assert len(seen) == len(set(seen)) and sum(kind == "host" for kind, _moid in seen) == HOSTS
    # About as many to each: a worker that has nearly everything to do would be no help.
    assert all(200 <= sum(target["kind"] == "host" for target in report["targets"]) <= 300 for report in parts)


def test_the_merged_report_equals_the_single_runs(story: Story) -> None:
    assert story.merged_again.returncode == 0, story.merged_again.stdout[-3000:]
    single = merged(reports_of(story.whole))
    assert single["slices"] is None and story.report_again["slices"] == {"of": 4, "present": [1, 2, 3, 4]}
    assert comparable(story.report_again) == comparable(single)
    # And there is something to compare: failures, findings of all levels, exceptions.
    assert single["summary"]["hosts"] == HOSTS and all(single["summary"]["findings"].values())
    assert single["exceptions"][0]["findings"] > 0
    jsonschema.validate(story.report_again, SCHEMA)


def test_a_killed_workers_slice_is_told_as_missing(story: Story) -> None:
    status, artifacts = story.killed
    assert status != "successful" and artifacts == {}
    assert story.merged_first.returncode == 2
    assert "slice 3 of 4 is missing" in story.merged_first.stdout and "Run what is missing again" in story.merged_first.stdout
    assert story.report_first["slices"] == {"of": 4, "present": [1, 2, 4]}
    assert story.report_first["summary"]["hosts"] < HOSTS
    jsonschema.validate(story.report_first, SCHEMA)
    # And where people read it.
    assert re.search(r"slices? 3\b", story.text_first), story.text_first


def test_run_again_alone_it_makes_the_report_whole(story: Story) -> None:
    assert story.again.status == "successful"
    assert list(story.again.artifacts)[0].endswith("_3_of_4")
    assert story.logins == {"whole": 1, "three and a half": 4, "third again": 1}
    # A slice asks for its own part, not for the fleet's: the clocks are most of it, and a login and a selection are left.
    assert story.calls["third again"] < story.calls["whole"] / 3


def test_slices_of_an_earlier_day_are_not_taken_for_todays(story: Story, slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    old = time.time() - 13 * 3600
    for event in (story.back / "3-of-4/artifacts/job_events").glob("*.json"):
        os.utime(event, (old, old))
    try:
        ran = merge(slices, tmp_path, story.back / "1-of-4", story.back / "2-of-4", story.back / "3-of-4", story.back / "4-of-4")
        assert ran.returncode == 2 and "slice 3 of 4 is missing" in ran.stdout
    finally:
        for event in (story.back / "3-of-4/artifacts/job_events").glob("*.json"):
            os.utime(event)


def test_a_job_is_project_inventory_and_env_and_leaves_nothing_behind(story: Story) -> None:
    for job in story.back.parent.glob("job-*"):
        assert sorted(file.relative_to(job).as_posix() for file in job.rglob("*") if file.is_file()) == [
            "env/extravars",
            "inventory/hosts",
            "project/bonn.yml",
        ]
    # But for the job itself, which the worker was told to unpack into its home.
    assert {entry.name for home in story.back.parent.glob("home-*") for entry in home.iterdir()} <= {"job", ".ansible", ".cache"}
    assert story.left == []


def test_no_password_comes_back(story: Story) -> None:
    """Neither in events nor in the command that ansible-runner writes down with its whole environment: they came as variables."""
    files = [file for file in story.back.rglob("*") if file.is_file()]
    assert len(files) > 50
    for file in files:
        text = file.read_bytes()
        assert not [user for user, password in USERS.items() if password.encode() in text], file


def test_what_ran_was_the_installed_collection(story: Story, slices: pathlib.Path) -> None:
    paths = {event["event_data"]["task_path"] for event in story.whole.events if event["event_data"].get("task_path")}
    assert paths and all(path.startswith(str(slices / "worker" / "lib")) for path in paths), paths


def test_a_slice_that_cannot_log_in_fails_and_still_reports(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with Simulator("tiny") as simulator:
        USERS.setdefault("nobody@vsphere.local", "Nobody-Secret-0815")
        few = Fleet(simulator, slices / "worker", tmp_path)
        known = {"username": simulator.username, "password": simulator.password}
        came = [each.finish() for each in (few.start("1/2", **known), few.start("2/2", **{**known, "password": "Wrong-Secret-0815"}))]
    assert [each.status for each in came] == ["successful", "failed"]
    assert [len(reports_of(each)) for each in came] == [1, 1]
    ran = merge(slices, tmp_path, tmp_path / "back")
    report = report_in(tmp_path)
    assert ran.returncode == 2 and "nothing of slice 2 of" in ran.stdout and "user name or password is wrong" in ran.stdout, ran.stdout[
        -2000:
    ]
    assert report["slices"] == {"of": 2, "present": [1, 2]}
    assert (
        any("failed" in counts for counts in report["summary"]["verdicts"].values()) and "login" in json.dumps(report["endpoints"]).lower()
    )
    assert "Wrong-Secret-0815" not in json.dumps(report) + ran.stdout


def test_a_slice_of_two_endpoints_sends_a_report_of_each(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with Simulator("tiny") as one, Simulator("standalone") as two:
        known = [{name: getattr(each, name) for name in ("hostname", "port", "thumbprint", "username", "password")} for each in (one, two)]
        known[0]["password"] = "Wrong-Secret-0815"
        told = {"profile": {"features": {"ntp": {}, "license": {}}}, "slice": "2/2", "esxi_hostname": ["*"], "endpoints": known}
        ran = play(slices, tmp_path, "slice", {f"esxi_audit_{name}": value for name, value in told.items()})
    assert ran.returncode == 2 and f":{known[0]['port']}: user name or password is wrong" in ran.stdout, ran.stdout[-3000:]
    sent = dict(re.findall(r'"(esxi_audit_part_\w+)": "([^"]+)"', ran.stdout))
    assert [name[-7:] for name in sent] == ["_2_of_2"] * 2
    reports = [json.loads(unpacked(line)) for line in sent.values()]
    assert sorted("failure" in each["endpoints"][0] for each in reports) == [False, True]
    assert "Wrong-Secret-0815" not in ran.stdout + json.dumps(reports)


def test_an_endpoint_named_twice_is_refused(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its two reports have the same slice, so one would be taken for a later run of the other."""
    known = [{"hostname": "VC.example.com", "cluster_name": ["a"]}, {"hostname": "vc.example.com", "cluster_name": ["b"]}]
    ran = play(slices, tmp_path, "slice", {"esxi_audit_profile": "{}", "esxi_audit_slice": "1/2", "esxi_audit_endpoints": known})
    assert ran.returncode == 2 and "names an endpoint twice (vc.example.com:443, vc.example.com:443)" in ran.stdout, ran.stdout[-2000:]


def test_a_slice_that_fails_keeps_no_other_of_its_job_from_being_judged(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with Simulator("tiny") as simulator:
        told = {name: getattr(simulator, name) for name in ("hostname", "port", "thumbprint", "username")}
        told.update(profile={"features": {"ntp": {}}}, esxi_hostname=["*"], slice_hosts="all")
        passwords = {"slice-1": "Wrong-Secret-0815", "slice-2": simulator.password}
        hosts = {name: {"esxi_audit_slice": f"{name[-1]}/2", "esxi_audit_password": password} for name, password in passwords.items()}
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        inventory = ("-i", str(tmp_path / "hosts.json"))
        ran = play(slices, tmp_path, "slice", {f"esxi_audit_{name}": value for name, value in told.items()}, *inventory)
    sent = dict(re.findall(r'"(esxi_audit_part_\w+)": "([^"]+)"', ran.stdout))
    assert ran.returncode == 2 and sorted(name[-7:] for name in sent) == ["_1_of_2", "_2_of_2"], ran.stdout[-3000:]
    reports = {name[-6]: json.loads(unpacked(line)) for name, line in sent.items()}
    assert "failure" in reports["1"]["endpoints"][0] and reports["2"]["targets"]


def test_nothing_that_came_back_is_one_sentence(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    ran = merge(slices, tmp_path, tmp_path / "nothing")
    assert ran.returncode == 2 and "No slice has come back" in ran.stdout and "Traceback" not in ran.stdout + ran.stderr


def test_a_platform_hands_slices_on_as_variables_and_no_name_in_them_is_a_template(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """As AWX does: artifacts of jobs are extra variables of the next job in a workflow, and Ansible takes those for templates."""
    report = sample(40, 40)
    mark = tmp_path / "was-run"
    hostile = f"{{{{ lookup('pipe', 'touch {mark}') }}}}"
    for target in report["targets"]:
        target["name"] = f"{hostile}-{target['moid']}"
    parts = {}
    for number in (1, 2):
        mine = [target for place, target in enumerate(report["targets"]) if place % 2 == number - 1]
        cut = {**report, "targets": mine, "slices": {"of": 2, "present": [number]}}
        parts[f"esxi_audit_part_vc_1_example_com_{number}_of_2"] = packed(json.dumps(cut))
    ran = merge(slices, tmp_path, **parts)
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert not mark.exists()
    assert comparable(report_in(tmp_path))["targets"] == comparable(merged([report]))["targets"]


def test_a_part_that_was_damaged_on_its_way_is_refused(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    ran = merge(slices, tmp_path, esxi_audit_part_vc_1_of_1=packed(json.dumps(sample(3, 3)))[:-9])
    assert ran.returncode == 2 and "packed report" in ran.stdout + ran.stderr and "Traceback" not in ran.stdout + ran.stderr


def test_a_report_that_lacks_a_slice_is_nothing_that_the_next_one_is_compared_with(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Otherwise all that stands in the slice would be new as soon as it is there again."""
    # The same is found three times, the last time a day later.
    text = re.sub(r', "(since|new)": ("[^"]*"|true)', "", json.dumps(sample(40, 40, sick=0.5)["targets"]))
    report = {**sample(40, 40, sick=0.5), "targets": json.loads(text), "since": None, "resolved": []}
    parts = {}
    for number in (1, 2):
        mine = [target for place, target in enumerate(report["targets"]) if place % 2 == number - 1]
        parts[f"esxi_audit_part_{number}_of_2"] = packed(json.dumps({**report, "targets": mine, "slices": {"of": 2, "present": [number]}}))
    assert merge(slices, tmp_path, **parts).returncode == 0
    first = report_in(tmp_path)
    lacking = merge(slices, tmp_path, esxi_audit_part_1_of_2=parts["esxi_audit_part_1_of_2"])
    assert lacking.returncode == 2 and report_in(tmp_path)["summary"]["hosts"] < first["summary"]["hosts"]
    # One that is there and was refused lacks as much.
    refused = json.loads(unpacked(parts["esxi_audit_part_2_of_2"]))
    refused["endpoints"][0]["failure"] = {"kind": "login_refused", "cause": "the login is refused", "message": "vc: the login is refused."}
    bad = {**parts, "esxi_audit_part_2_of_2": packed(json.dumps({**refused, "targets": []}))}
    assert "nothing of slice 2 of" in merge(slices, tmp_path, **bad).stdout
    later = {name: packed(json.dumps({**json.loads(unpacked(line)), "generated": "2026-11-23T03:00:00Z"})) for name, line in parts.items()}
    assert merge(slices, tmp_path, **later).returncode == 0
    again = report_in(tmp_path)
    assert again["slices"] == {"of": 2, "present": [1, 2]} and again["summary"]["hosts"] == first["summary"]["hosts"]
    assert again["since"] == first["generated"] and again["summary"]["new"] == again["summary"]["resolved"] == 0

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job definitions, carried out by the real modules of awx.awx, against a stand-in for the API of AWX."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .controller import Controller

pytestmark = pytest.mark.timeout(900)
PLATFORM = pathlib.Path("extensions/automation_platform")
SECRETS = {"VMWARE_PASSWORD": "vcenter-secret-4711", "MAIL_PASSWORD": "mail-secret-4712"}


@pytest.fixture(scope="module")
def awx() -> pathlib.Path:
    folder = pathlib.Path(os.environ.get("SLICES_AWX", ".venv/slices/awx-11.13.0")).resolve()
    assert (folder / "ansible_collections/awx/awx/MANIFEST.json").exists(), "awx.awx is not there; make slices fetches it"
    return folder


def carry_out(controller: Controller, awx: pathlib.Path, home: pathlib.Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CONTROLLER_", "TOWER_", "VMWARE_"))},
        **SECRETS,
        "ANSIBLE_COLLECTIONS_PATH": str(awx),
        "CONTROLLER_HOST": controller.url,
        "CONTROLLER_OAUTH_TOKEN": "token-of-a-robot",
        "HOME": str(home),
        "MAIL_USER": "mailer",
        "VMWARE_HOST": "vcenter.example.com",
        "VMWARE_USER": "audit@vsphere.local",
    }
    command = ["ansible-playbook", "-i", "localhost,", str(PLATFORM / "controller.yml"), "-e", json.dumps(variables)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture(scope="module")
def platform(awx: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What stands on the controller after two runs, and what the runs said."""
    home = tmp_path_factory.mktemp("home")
    before: dict[str, list[dict[str, Any]]] = {
        "organizations": [{"name": "Default"}],
        "projects": [{"name": "fleetcare", "organization": 1}],
        "inventories": [{"name": "ESXi hosts", "organization": 1}],
        "credential_types": [{"name": "VMware vCenter"}],
        "instances": [{"hostname": "runner-1.example.com"}, {"hostname": "runner-2.example.com"}],
    }
    with Controller(**before) as controller:
        variables = {"instances": ["runner-1.example.com", "runner-2.example.com"], "instance_groups": ["fleet"], "slices": 3}
        runs = [carry_out(controller, awx, home, **variables) for _again in range(2)]
        yield controller, runs


def test_it_is_carried_out_and_the_second_time_changes_nothing(platform: Any) -> None:
    _controller, (first, second) = platform
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-1000:]
    assert " changed=14 " in first.stdout and " failed=0 " in first.stdout
    assert second.returncode == 0 and " changed=0 " in second.stdout, second.stdout[-3000:]


def test_the_audit_is_cut_into_as_many_jobs_as_there_are_slices(platform: Any) -> None:
    controller, _runs = platform
    template = controller.named("job_templates", "fleetcare audit, slices")
    assert template["job_slice_count"] == 3
    assert controller.names("job_templates", template["name"], "instance_groups") == ["fleet"]
    # Job slicing gives each job every n-th host, by name; one host a job, and each says which slice it is.
    inventory = controller.named("inventories", "fleetcare slices")
    hosts = sorted((entry for entry in controller.found("hosts") if entry["inventory"] == inventory["id"]), key=lambda entry: entry["name"])
    assert [json.loads(entry["variables"])["esxi_audit_slice"] for entry in hosts] == ["1/3", "2/3", "3/3"]
    assert template["inventory"] == inventory["id"]


def test_the_report_follows_the_slices_also_when_one_has_failed(platform: Any) -> None:
    controller, _runs = platform
    assert controller.names("workflow_job_template_nodes", "slices", "always_nodes") == ["report"]
    schedule = controller.found("schedules")[0]
    assert schedule["unified_job_template"] == controller.named("workflow_job_templates", "fleetcare audit")["id"]
    assert "FREQ=WEEKLY" in schedule["rrule"]


def test_passwords_are_in_credentials_and_nowhere_else(platform: Any) -> None:
    controller, runs = platform
    for method, path, sent in controller.requests:
        if not path.startswith("/api/v2/credentials/"):
            assert not [name for name, secret in SECRETS.items() if secret in json.dumps(sent)], (method, path)
    for run in runs:
        assert not [name for name, secret in SECRETS.items() if secret in run.stdout + run.stderr]
    # As the first run sent them: the platform gives no secret back.
    kept = [sent["inputs"]["password"] for method, path, sent in controller.requests if path == "/api/v2/credentials/" and method == "POST"]
    assert sorted(kept) == sorted(SECRETS.values())


def test_certificates_are_verified_although_the_credential_of_the_platform_says_no(platform: Any) -> None:
    """AWX's own credential sets VMWARE_VALIDATE_CERTS, and to False unless its administrator changed that; an option goes before it."""
    controller, _runs = platform
    for template in controller.found("job_templates"):
        if "fleetcare vCenter" in controller.names("job_templates", template["name"], "credentials"):
            said = json.loads(template["extra_vars"])
            assert [value for name, value in said.items() if name.endswith("_validate_certs")] == [True], template["name"]


def test_every_playbook_of_a_template_is_in_the_project(platform: Any) -> None:
    controller, _runs = platform
    for template in controller.found("job_templates"):
        assert (PLATFORM / "project" / template["playbook"]).exists()
    profile = json.loads(controller.named("job_templates", "fleetcare audit, slices")["extra_vars"])["esxi_audit_profile"]
    assert (PLATFORM / "project" / profile).exists()


def test_variables_of_the_templates_are_options_of_our_roles(platform: Any) -> None:
    controller, _runs = platform
    known: set[str] = set()
    for specs in pathlib.Path("roles").glob("*/meta/argument_specs.yml"):
        for each in yaml.safe_load(specs.read_text(encoding="utf-8"))["argument_specs"].values():
            known.update(each["options"])
    told = [json.loads(template["extra_vars"]) for template in controller.found("job_templates")]
    assert {name for each in told for name in each} - known == set()
    # What the credential injects is what the template of the report takes; the platform fills both in.
    injected = controller.named("credential_types", "fleetcare mail server")["injectors"]["extra_vars"]
    mail = next(each["esxi_audit_mail"] for each in told if "esxi_audit_mail" in each)
    assert {name: mail[name] for name in ("username", "password")} == {
        name: f"{{{{ fleetcare_mail_{name} | default(omit) }}}}" for name in ("username", "password")
    }
    assert set(injected) == {"fleetcare_mail_username", "fleetcare_mail_password"}
    role = yaml.safe_load(pathlib.Path("roles/esxi_audit/meta/argument_specs.yml").read_text(encoding="utf-8"))
    assert set(mail) <= set(role["argument_specs"]["main"]["options"]["esxi_audit_mail"]["options"])


def misspelt(awx: pathlib.Path) -> list[str]:
    """Options of tasks that their modules do not have, also of tasks that a run leaves out."""
    wrong = []
    play = yaml.load((PLATFORM / "controller.yml").read_text(encoding="utf-8"), _Plain)[0]
    for task in play["tasks"]:
        name = next(key for key in task if key.startswith("awx.awx."))
        module = awx / "ansible_collections/awx/awx/plugins/modules" / f"{name.rpartition('.')[2]}.py"
        text = module.read_text(encoding="utf-8")
        documented = yaml.safe_load(text.split("DOCUMENTATION = '''")[1].split("'''")[0])["options"]
        spec = {
            option: {key: about[key] for key in ("type", "elements", "choices", "required", "aliases") if key in about}
            for option, about in documented.items()
        }
        # Templates stand for any value; only names and fixed values can be held against the documentation.
        plain = {option: value for option, value in task[name].items() if "{{" not in json.dumps(value)}
        told = ArgumentSpecValidator({option: {**about, "required": False} for option, about in spec.items()}).validate(plain)
        unknown = set(task[name]) - set(spec) - {alias for about in spec.values() for alias in about.get("aliases", ())}
        missing = {option for option, about in spec.items() if about.get("required")} - set(task[name])
        wrong += [f"{name}: {problem}" for problem in [*told.error_messages, *sorted(unknown), *sorted(missing)]]
    return wrong


class _Plain(yaml.SafeLoader):
    """Takes Ansible's own tags as plain values."""


_Plain.add_multi_constructor("!", lambda loader, _suffix, node: node.value)


def test_no_option_is_misspelt(awx: pathlib.Path) -> None:
    assert misspelt(awx) == []


def test_a_misspelt_option_would_be_seen(awx: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = tmp_path / "controller.yml"
    text = (PLATFORM / "controller.yml").read_text(encoding="utf-8")
    spoilt.write_text(text.replace("job_slice_count:", "job_slices:", 1).replace("pull: missing", "pull: sometimes"), encoding="utf-8")
    monkeypatch.setattr("tests.slices.test_automation_platform.PLATFORM", tmp_path)
    found = "\n".join(misspelt(awx))
    assert "job_slices" in found and "sometimes" in found

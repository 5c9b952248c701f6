# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxi_audit: every feature in one pass, by the planners that repair, with one login and without a write."""

from __future__ import annotations

import datetime
import json
import pathlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._features.audit import OPTIONS, PARTS, secrets, work
from tests.bench import vms
from tests.bench.measure import ROOT
from tests.integration.driver import reach, run
from tests.reports.samples import SCHEMA
from tests.simulator import Simulator

SCENARIOS = sorted(path.stem for path in (pathlib.Path(__file__).parents[1] / "simulator/scenarios").glob("*.yml"))
RULESETS = [{"name": "site-agent", "rules": [{"direction": "inbound", "protocol": "tcp", "port": "9999"}]}]
EVERY: dict[str, Any] = {
    "ntp": {"ntp_servers": ["192.0.2.1"], "max_skew": 1},
    "license": {"warn_days": 60},
    "firewall": {"rules": [{"name": "syslog", "enabled": True, "allowed_hosts": {"ip_address": ["192.0.2.10"]}}]},
    "acceptance": {"acceptance_level": "partner", "at_least": True},
    "custom_ports": {"rulesets": RULESETS},
    "hardware": {"target_release": "8.0"},
    "crypto": {},
}
# One call a host each: the level of a host, and the packages on it, are no properties.
NO_CALL_A_HOST = {word: EVERY[word] for word in ("ntp", "license", "firewall", "hardware", "crypto")}
FOREVER, PAST = "2999-12-31", "2001-01-01"


def audited(server: Any, features: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    """The result of the module. ``more``: options, and parts of the profile."""
    params = {name: spec.get("default") for name, spec in OPTIONS.items()}
    params.update(reach(server), session="single", esxi_hostname=["*"])
    params["profile"] = {"site": "Bonn", "features": features, **{name: more.pop(name) for name in [*more] if name not in OPTIONS}}
    return work({**params, **more}, check, in_process=True)


def report_of(server: Any, features: dict[str, Any], **more: Any) -> dict[str, Any]:
    report: dict[str, Any] = audited(server, features, **more)["report"]
    jsonschema.validate(report, SCHEMA, format_checker=jsonschema.FormatChecker())
    return report


def of(report: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(target for target in report["targets"] if target["name"] == name)
    return found


def verdicts(report: dict[str, Any], word: str) -> dict[str, str]:
    return {target["name"]: target["judgements"][word]["verdict"] for target in report["targets"] if word in target["judgements"]}


def codes(judgement: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in judgement.get("findings", ())}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_in_every_feature(simulator: Callable[..., Simulator], scenario: str) -> None:
    sim = simulator(scenario)
    report = report_of(sim, EVERY, **({"esxi_hostname": None} if scenario.startswith("standalone") else {}))
    summary = sim.summary()
    assert (summary["logins"], summary["logouts"], summary["writes"]) == (1, 1, 0)
    assert "failure" not in report["endpoints"][0] and report["targets"]
    failed = [
        (each["name"], word, made["failure"])
        for each in report["targets"]
        for word, made in each["judgements"].items()
        if made["verdict"] == "failed"
    ]
    assert scenario == "permissions" or not failed
    assert set(report["codes"]) == {
        finding["code"]
        for part in (*report["endpoints"], *report["targets"])
        for judgement in part["judgements"].values()
        for finding in judgement.get("findings", ())
    }
    assert all(told["hint"] for told in report["codes"].values())


@pytest.mark.parametrize(
    ("scenario", "word"),
    [
        ("drifting", "ntp"),
        ("licensing", "license"),
        ("firewall", "firewall"),
        ("acceptance", "acceptance"),
        ("custom_ports", "custom_ports"),
        ("power_cut", "crypto"),
        ("encrypted", "crypto"),
    ],
)
def test_it_lists_what_the_repairing_module_would_write(simulator: Callable[..., Simulator], scenario: str, word: str) -> None:
    """The same planner over the same state: changes and findings are those of a check run, also beside all other features."""
    sim = simulator(scenario)
    options = EVERY[word]
    kind, selection = ("vms", {"vm_name": ["*"]}) if word == "crypto" else ("hosts", {"esxi_hostname": ["*"]})
    more = {"clock_samples": 2} if word == "ntp" else {}
    alone = run(sim, PARTS[word].module, check=True, fail_on="none", **selection, **options, **more)[kind]
    report = report_of(sim, EVERY)
    by_id = {target["moid"]: target["judgements"][word] for target in report["targets"] if word in target["judgements"]}
    compared = 0
    for entry in alone.values():
        judgement = by_id[entry["moid"]]
        told = {(each["level"], each["code"]) for each in entry["findings"]}
        mine = {(each["level"], each["code"]) for each in judgement.get("findings", ())}
        mine -= {("error", code) for code in ("setting_differs", "not_reached", "not_judged")}
        assert mine == told
        changes = [
            {key: value for key, value in change.items() if key != "only_if"} for change in entry["changes"] if "only_if" not in change
        ]
        assert judgement.get("changes", []) == changes
        compared += len(changes)
    assert compared or word == "license"


def test_groups_replace_options_and_take_features_out(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    first, second, third = sorted(sim.state()["hosts"])
    servers = {"ntp_servers": ["198.51.100.7"]}
    report = report_of(
        sim,
        {"ntp": {"ntp_servers": ["192.0.2.1"], "ntp_servers_state": "present"}, "firewall": {"rules": []}},
        groups=[
            {"name": "one", "esxi_hostname": [first.upper()], "features": {"ntp": servers}},
            {"name": "all", "esxi_hostname": ["*"], "features": {"firewall": None}},
            {"name": "two", "esxi_hostname": [second], "features": {"ntp": None, "hardware": {"target_release": "8.0"}}},
        ],
    )
    assert of(report, first)["groups"] == ["one", "all"] and of(report, second)["groups"] == ["all", "two"]
    assert of(report, first)["judgements"]["ntp"]["changes"][0]["servers"][-1] == "198.51.100.7"
    assert of(report, third)["judgements"]["ntp"]["changes"][0]["servers"][-1] == "192.0.2.1"
    assert set(of(report, second)["judgements"]) == {"hardware"}
    assert set(of(report, third)["judgements"]) == {"ntp"}


def test_a_vm_is_in_a_group_by_its_host_too(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("power_cut")
    whole = report_of(sim, {"crypto": {}})
    host = next(target["host"] for target in whole["targets"] if target["kind"] == "vm")
    report = report_of(
        sim,
        {"crypto": {}, "ntp": {"ntp_servers": ["192.0.2.1"]}},
        groups=[{"name": "lab", "esxi_hostname": [host], "features": {"crypto": None}}],
    )
    for target in report["targets"]:
        assert ("lab" in target["groups"]) == (host in (target["name"], target.get("host")))
        assert ("crypto" in target["judgements"]) == (target["kind"] == "vm" and "lab" not in target["groups"])


def exception(name: str, expires: str = FOREVER, **limits: Any) -> dict[str, Any]:
    return {"id": name, "owner": "network team", "reason": "It is to be moved.", "expires": expires, **limits}


def test_exceptions_excuse_until_their_last_day(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("drifting")
    features = {"ntp": EVERY["ntp"], "firewall": EVERY["firewall"]}
    plain = report_of(sim, features)
    wrong = sorted(name for name, verdict in verdicts(plain, "ntp").items() if verdict == "repairable")
    excused, late, partly = wrong[:3]
    report = report_of(
        sim,
        features,
        exceptions=[
            exception("EX-1", feature="ntp", targets=[excused]),
            exception("EX-2", PAST, targets=[late]),
            exception("EX-3", codes=["ptp_unsupported"]),
            exception("EX-4", targets=[partly], codes=["setting_differs", "clock_skewed"]),
        ],
    )
    assert verdicts(report, "ntp")[excused] == "excepted" and verdicts(plain, "firewall")[excused] == verdicts(report, "firewall")[excused]
    assert verdicts(report, "ntp")[late] == "repairable"
    assert {finding["exception"] for finding in of(report, late)["judgements"]["ntp"]["findings"]} == {"EX-2"}
    assert {each["id"]: (each["status"], bool(each["findings"])) for each in report["exceptions"]} == {
        "EX-1": ("active", True),
        "EX-2": ("expired", True),
        "EX-3": ("unused", False),
        "EX-4": ("active", True),
    }
    assert report["summary"]["findings"]["error"] < plain["summary"]["findings"]["error"]
    # The last day itself still counts.
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert verdicts(report_of(sim, features, exceptions=[exception("EX-1", today, targets=[late])]), "ntp")[late] == "excepted"


def test_an_unreachable_host_can_be_excused_and_is_told_otherwise(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("drifting")
    plain = report_of(sim, {"ntp": EVERY["ntp"]})
    (away,) = [name for name, verdict in verdicts(plain, "ntp").items() if verdict == "unreachable"]
    judgement = of(plain, away)["judgements"]["ntp"]
    assert codes(judgement) == {"not_reached"} and judgement["failure"]["hint"]
    report = report_of(sim, {"ntp": EVERY["ntp"]}, exceptions=[exception("EX-1", codes=["not_reached"])])
    assert of(report, away)["judgements"]["ntp"]["verdict"] == "excepted"


@pytest.mark.parametrize("parts", [2, 4])
def test_slices_are_parts_of_the_whole(simulator: Callable[..., Simulator], parts: int) -> None:
    sim = simulator("power_cut")
    features = {"ntp": EVERY["ntp"], "crypto": {}}
    whole = report_of(sim, features)
    seen: list[tuple[str, str]] = []
    for number in range(1, parts + 1):
        part = report_of(sim, features, slice=f"{number}/{parts}")
        assert part["slices"] == {"of": parts, "present": [number]}
        for target in part["targets"]:
            again = next(each for each in whole["targets"] if (each["kind"], each["moid"]) == (target["kind"], target["moid"]))
            assert {word: (made["verdict"], codes(made)) for word, made in target["judgements"].items()} == {
                word: (made["verdict"], codes(made)) for word, made in again["judgements"].items()
            }
            assert target["cluster"] == again["cluster"]
            seen.append((target["kind"], target["moid"]))
    assert sorted(seen) == sorted((target["kind"], target["moid"]) for target in whole["targets"])


def test_one_feature_that_is_refused_hides_no_other(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    sim.fault(method="QueryAssignedLicenses", fault="NoPermission", count=9)
    report = report_of(sim, NO_CALL_A_HOST)
    assert set(verdicts(report, "ntp").values()) <= {"compliant", "repairable", "not_compliant"}
    assert "failure" not in report["endpoints"][0]
    bad = {
        word
        for part in (*report["endpoints"], *report["targets"])
        for word, made in part["judgements"].items()
        if made["verdict"] == "failed"
    }
    assert bad <= {"license"}


@pytest.mark.parametrize("method", ["QueryDateTime", "QueryCryptoKeyStatus", "QueryEvents", "CurrentTime"])
def test_a_lost_answer_costs_what_it_concerns(simulator: Callable[..., Simulator], method: str) -> None:
    sim = simulator("power_cut")
    sim.fault(method=method, fault="RuntimeFault", count=99)
    report = report_of(sim, NO_CALL_A_HOST)
    assert sim.summary()["writes"] == 0
    fine = [word for word in NO_CALL_A_HOST if set(verdicts(report, word).values()) and "failed" not in verdicts(report, word).values()]
    assert "firewall" in fine and "hardware" in fine


def test_an_endpoint_that_is_not_reached_is_in_the_report(tmp_path: pathlib.Path, simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    dest = tmp_path / "report.json"
    result = audited(sim, NO_CALL_A_HOST, password="wrong", dest=str(dest))
    report = json.loads(dest.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    assert result["failed"] and result["msg"].startswith(f"{sim.hostname}") and "password" in result["msg"]
    assert report["targets"] == [] and report["endpoints"][0]["failure"]["kind"] == result["failure"]["kind"]
    assert sim.summary()["by_method"]["Login"] == 1 and "wrong" not in dest.read_text(encoding="utf-8").replace("is wrong", "")
    assert dest.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"password": None}, "option password is missing"),
        ({"ca_file": "/no/such/ca.pem", "validate_certs": True}, "ca.pem"),
        ({"esxi_hostname": None}, "esxi_hostname"),
        ({"esxi_hostname": [""]}, "esxi_hostname"),
        ({"parallel": 0}, "parallel 0"),
        ({"esxi_hostname": ["nosuch"]}, "nosuch"),
    ],
)
def test_an_endpoint_that_is_not_described_well_is_in_the_report(
    tmp_path: pathlib.Path, simulator: Callable[..., Simulator], more: dict[str, Any], said: str
) -> None:
    """Otherwise the page of all endpoints would look as if there were nothing more to know."""
    sim = simulator("tiny")
    dest = tmp_path / "report.json"
    result = audited(sim, NO_CALL_A_HOST, dest=str(dest), **more)
    report = json.loads(dest.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    (endpoint,) = report["endpoints"]
    assert result["failed"] and said in result["msg"] and endpoint["failure"]["message"] == result["msg"] and report["targets"] == []
    assert endpoint["name"] == report_of(sim, {"ntp": {}})["endpoints"][0]["name"]


def test_names_that_nothing_has_are_each_told(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    there = next(iter(sim.state()["hosts"]))
    report = report_of(sim, NO_CALL_A_HOST, esxi_hostname=["nosuch-a", there, "nosuch-b"], unknown_hosts="go_on")
    found = verdicts(report, "ntp")
    assert found["nosuch-a"] == found["nosuch-b"] == "failed" and found[there] != "failed" and len(found) == 3
    of_all = report_of(sim, NO_CALL_A_HOST, esxi_hostname=["*", "nosuch"], unknown_hosts="go_on")
    assert of_all["summary"]["vms"] == report_of(sim, NO_CALL_A_HOST)["summary"]["vms"]


def test_whom_exclude_leaves_out_where_names_come_from_an_inventory(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    names = list(sim.state()["hosts"])
    some = report_of(sim, {"ntp": {}}, esxi_hostname=names, exclude=[names[0], "elsewhere"], unknown_hosts="go_on")
    assert set(verdicts(some, "ntp")) == set(names[1:])
    none = audited(sim, {"ntp": {}}, esxi_hostname=names[:1], exclude=names[:1], unknown_hosts="go_on")
    assert not none.get("failed") and none["report"]["targets"] == []
    gone = report_of(sim, {"ntp": {}}, esxi_hostname=[names[0], "gone-1"], exclude=["gone-*"], unknown_hosts="go_on")
    assert set(verdicts(gone, "ntp")) == {names[0]}


def test_nothing_else_of_a_profile_is_a_secret() -> None:
    text = re.search(r"^```yaml\n(# [^\n]*bonn\.yml.*?|site: .*?)^```", (ROOT / "docs/audit.md").read_text(encoding="utf-8"), re.S | re.M)
    assert text and "license" in text[1]
    profile = yaml.safe_load(text[1])
    profile.setdefault("owners", {})["license"] = "licensing team"
    assert secrets({"profile": profile}) == []


@pytest.mark.parametrize(
    "profile",
    [
        {"features": {"crypto": {"key_providers": [{"servers": [{"pasword": "n0t-shown"}]}]}}},
        'features:\n  crypto:\n    key_providers:\n    - password: "n0t-shown" x\n',
        '{"features": {"license": {"keys": ["n0t-shown"]}',
        "features:\n  license: !n0t-shown {}\n",
    ],
    ids=("misspelt", "no YAML", "no JSON", "a tag"),
)
def test_a_secret_of_a_profile_that_is_not_understood_is_hidden(simulator: Callable[..., Simulator], profile: Any) -> None:
    hidden = secrets({"profile": profile})
    assert any("n0t-shown" in each for each in hidden) and all(each in (profile, "n0t-shown") for each in hidden)
    with pytest.raises(BadInput) as problem:
        audited(simulator("tiny"), {}, profile=profile)
    assert "n0t-shown" not in problem.value.sentence


def test_a_check_run_writes_no_file(tmp_path: pathlib.Path, simulator: Callable[..., Simulator]) -> None:
    dest = tmp_path / "report.json"
    result = audited(simulator("tiny"), NO_CALL_A_HOST, dest=str(dest), check=True)
    assert not dest.exists() and result["report"]["targets"] and "report_file" not in result


def test_the_profile_as_a_file_and_as_text(tmp_path: pathlib.Path, simulator: Callable[..., Simulator]) -> None:
    sim = simulator("tiny")
    text = "site: Bonn\nfeatures:\n  ntp: {ntp_servers: [192.0.2.1]}\nexceptions:\n  - {id: E, owner: o, reason: r, expires: 2999-12-31, feature: ntp}\n"
    path = tmp_path / "bonn.yml"
    path.write_text(text, encoding="utf-8")
    params = {**{name: spec.get("default") for name, spec in OPTIONS.items()}, **reach(sim), "session": "single", "esxi_hostname": ["*"]}
    by_file = work({**params, "profile": str(path)}, True, in_process=True)["report"]
    by_text = work({**params, "profile": text}, True, in_process=True)["report"]
    assert by_file["profile"]["name"] == "bonn.yml"
    assert by_file["profile"]["fingerprint"] == by_text["profile"]["fingerprint"]
    assert set(verdicts(by_file, "ntp").values()) == {"excepted"}


@pytest.mark.parametrize(
    ("features", "more", "said"),
    [
        ({"ntp": {"ntp_server": ["192.0.2.1"]}}, {}, "profile: ntp has 'ntp_server', which is not known. Did you mean ntp_servers?"),
        ({"ntp": {"max_skew": "much"}}, {}, "unable to convert to float. The options are those of esxi_ntp_align."),
        ({"firewall": {"rules": [{"nmae": "sshServer"}]}}, {}, "rules.nmae"),
        ({"ntp": {"max_skew": -1}}, {}, "profile: ntp: max_skew"),
        ({"firewall": {"backup": True}}, {}, "backup has no meaning in an audit"),
        ({"ntp": {}}, {"groups": [{"name": "g", "esxi_hostname": ["*"], "features": {"ntp": {"max_skew": -1}}}]}, "ntp in g"),
        ({"ntp": {}}, {"slice": "5/4"}, "slice '5/4'"),
        ({"ntp": {}}, {"slice": "a"}, "slice 'a'"),
        ({"ntp": {"reference": "fleet"}}, {"slice": "1/4"}, "ntp.reference is fleet"),
        ({"ntp": {}}, {"hostname": None}, "option hostname is missing"),
        ({"ntp": {}}, {"hostname": "https://vc/sdk"}, "not a host name"),
        ({"ntp": {}}, {"dest": "/no/such/folder/report.json"}, "there is no folder"),
        ({"ntp": {}}, {"profile": "/no/such/profile.yml"}, "/no/such/profile.yml"),
        ({"ntp": {}}, {"profile": "a: [\n"}, "is no YAML"),
    ],
)
def test_bad_input_ends_before_any_connection(
    simulator: Callable[..., Simulator], features: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    sim = simulator("tiny")
    with pytest.raises(BadInput) as problem:
        audited(sim, features, **more)
    assert said in problem.value.sentence and problem.value.hint and "\n" not in problem.value.sentence
    assert sim.summary()["calls"] == 0


def test_no_secret_in_the_report(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("licensing")
    key = "FAKE0-R1GHT-V8000-CPUPK-00001"
    result = audited(sim, {**NO_CALL_A_HOST, "license": {"license_keys": [key]}})
    assert key in result.pop("secrets")
    assert key not in json.dumps(result) and sim.password not in json.dumps(result)
    assert "licenses" in result["report"]["endpoints"][0] and result["report"]["endpoints"][0]["licenses"]


def test_the_facts_that_charts_are_made_of(simulator: Callable[..., Simulator]) -> None:
    sim = simulator("firewall")
    report = report_of(sim, NO_CALL_A_HOST)
    alone = run(sim, "esxi_firewall_info", esxi_hostname=["*"], fail_on="none")["hosts"]
    compared = 0
    for name, host in alone.items():
        shown = of(report, name).get("exposure")
        if "rulesets" not in host:
            continue
        if not host["default_policy"]["incoming_blocked"]:
            assert shown == {"*": "all"}
            continue
        expected: dict[str, str] = {}
        for ruleset in host["rulesets"].values():
            allowed = ruleset["allowed_hosts"]
            for port in ruleset["ports"]:
                protocol, _slash, rest = port.partition("/")
                numbers, _space, direction = rest.partition(" ")
                if ruleset["enabled"] and direction == "inbound" and allowed:
                    known = expected.get(f"{numbers}/{protocol}")
                    expected[f"{numbers}/{protocol}"] = "all" if "all" in (allowed, known) else "some"
        assert shown == expected
        compared += 1
    assert compared > 5
    without = report_of(sim, NO_CALL_A_HOST, exposure=False)
    assert not any("exposure" in target and target["exposure"] != {"*": "all"} for target in without["targets"])
    assert [verdicts(without, word) for word in NO_CALL_A_HOST] == [verdicts(report, word) for word in NO_CALL_A_HOST]


@pytest.mark.parametrize("size", [pytest.param(1000, marks=pytest.mark.newest_only)])
def test_what_a_thousand_hosts_and_a_thousand_vms_cost(simulator: Callable[..., Simulator], size: int) -> None:
    """All of them with something to repair in every feature, so that everything that can be read is read."""
    scenario = vms.scenario(size)
    scenario["hosts"][0]["count"], scenario["hosts"][1]["count"] = size * 9 // 10, size // 10
    sim = simulator(scenario)
    report = report_of(sim, NO_CALL_A_HOST)
    summary = sim.summary()
    clocks = summary["by_method"]["QueryDateTime"]
    assert (report["summary"]["hosts"], report["summary"]["vms"]) == (size, size)
    assert Counter(verdicts(report, "firewall").values())["repairable"] > size * 0.9
    assert (summary["logins"], summary["writes"]) == (1, 0)
    assert clocks <= 2 * size
    assert summary["calls"] - clocks <= 40, summary["by_method"]

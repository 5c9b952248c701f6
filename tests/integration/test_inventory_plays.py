# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run an endpoint for a play over many inventory hosts: who takes part, and what each of them comes to."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.measure import served
from tests.integration.inventory_plays import ALL, ROLE, Sites, imported, included, play, run, two_sites
from tests.integration.servers import closed_port


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with two_sites(tmp_path_factory.mktemp("sites")) as found:
        yield found


@pytest.fixture
def sites(both: Sites) -> Sites:
    both.fresh()
    return both


def without(*hosts: str) -> list[str]:
    return [host for host in ALL if host not in hosts]


FAIL = {"ansible.builtin.fail": {"msg": "planted"}}


def test_who_takes_part(sites: Sites) -> None:
    """Only hosts that come to the task themselves are changed, and none of them costs a run of its own."""
    own_key = {"vars": {"esxi_ntp_align_ntp_servers": "{{ ['192.0.2.' ~ item] }}"}}
    plays = [
        play("all", 11, roles=[ROLE]),
        play("condition, not of the first", 13, imported(when="inventory_hostname not in ['a1', 'b2']")),
        play("include, not of the first", 14, included(when="inventory_hostname not in ['a1', 'b2']")),
        play("loop", 15, included(loop=[16, 17], when="item == 16 or inventory_hostname not in ['a2']", **own_key), hosts="site_a"),
        play("twice", 18, imported(), imported(vars={"esxi_ntp_align_ntp_servers": ["192.0.2.19"]}, when="inventory_hostname != 'a3'"), hosts="site_a"),
        play("ended", 20, {"ansible.builtin.meta": "end_host", "when": "inventory_hostname == 'a2'"}, imported(), hosts="site_a"),
        play("rescued", 21, {"block": [{**FAIL, "when": "inventory_hostname == 'a3'"}, imported()], "rescue": [{"ansible.builtin.debug": {}}]}, hosts="site_a"),
        play("in batches", 22, imported(), serial=4),
        play("one by one", 23, imported(throttle=1), hosts="site_a"),
        play("free", 24, imported(), strategy="free"),
        play("one differs", 25, imported(vars={"esxi_ntp_align_ntp_servers": "{{ ['192.0.2.26' if inventory_hostname == 'b1' else '192.0.2.25'] }}"})),
        play("as said", 28, imported(vars={"esxi_ntp_align_esxi_hostname": ["esx-0002*"]})),
        play("from the environment", 29, imported(environment={"VMWARE_SESSION": "{{ 'single' if inventory_hostname != 'b1' else 'end' }}"},
             vars={"esxi_remediate_session": "{{ omit }}"})),
        # Last, as its login without a write is told from nothing else.
        play("some only look", 27, imported(check_mode="{{ inventory_hostname in ['a1', 'a3'] }}")),
    ]  # fmt: skip
    told = run(sites, plays)
    assert told.code == 0, told.text
    expected = {
        11: ALL, 13: without("a1", "b2"), 14: without("a1", "b2"), 16: ["a1", "a2", "a3"], 17: ["a1", "a3"], 18: ["a1", "a2", "a3"],
        19: ["a1", "a2"], 20: ["a1", "a3"], 21: ["a1", "a2"], 22: ALL, 23: ["a1", "a2", "a3"], 24: ALL, 25: without("b1"), 26: ["b1"], 27: without("a1", "a3"),
        28: ["a2", "b2"], 29: ALL,
    }  # fmt: skip
    assert sites.written() == {f"192.0.2.{number}": sorted(hosts) for number, hosts in expected.items()}, told.text
    runs = sites.logins()
    once = {number: runs[f"192.0.2.{number}"] for number in (11, 13, 14, 16, 17, 18, 19, 20, 21, 23, 28)}
    assert once == {number: [1, 1] if number in (11, 13, 14, 28) else [1] for number in once}, "a run an endpoint"
    assert runs["192.0.2.22"] == [1, 2], "b is in both batches"
    assert runs["192.0.2.29"] == [1, 2]
    assert told.kinds("all") == dict.fromkeys(ALL, "changed")
    assert told.kinds("condition, not of the first") == {host: "skipped" if host in ("a1", "b2") else "changed" for host in ALL}
    own = told.came("all")
    assert {host: list(one["hosts"]) for host, one in own.items()} == {host: [f"esx-000{host[1]}.example.com"] for host in ALL}
    assert own["a1"]["summary"] == {"changed": 1} and own["a1"]["msg"] == "1 host: 1 changed."
    assert told.kinds("some only look")["a1"] == "changed"
    assert sites.a.password not in told.text and sites.b.password not in told.text


@pytest.mark.parametrize("forks", ["1", "50"])
def test_forks_limit_and_tags(sites: Sites, forks: str) -> None:
    """Two vCenters, or one, however many workers there are; a role that tags leave out does nothing. A selection that names the
    inventory host itself is none."""
    itself = {"esxi_ntp_align_esxi_hostname": ["{{ esxi_hostname }}"]}
    plays = [play("here", 31, imported(tags=["time"]), vars=itself), play("not here", 32, imported(tags=["other"]))]
    told = run(sites, plays, "--tags", "time", "--limit", "a1,a3,site_b,!b2", "--forks", forks)
    assert told.code == 0, told.text
    assert sites.written() == {"192.0.2.31": ["a1", "a3", "b1"]}
    assert sites.logins() == {"192.0.2.31": [1, 1]}


def test_check_and_diff(sites: Sites) -> None:
    """Nothing is written; each host shows its own difference, and one that is right shows none."""
    run(sites, [play("some", 41, imported())], "--limit", "a1")
    told = run(sites, [play("look", 41, imported())], "--check", "--diff")
    assert told.code == 0, told.text
    assert sites.written() == {"192.0.2.41": ["a1"]}
    assert told.kinds("look") == {host: "ok" if host == "a1" else "changed" for host in ALL}
    shown = {
        event["host"]: event["result"]["diff"] for event in told.events if event["kind"] == "diff" and event["result"]["diff"]["after"]
    }
    assert {host: list(diff["after"]) for host, diff in shown.items()} == {
        host: [f"esx-000{host[1]}.example.com"] for host in without("a1")
    }


def test_each_fails_by_itself(sites: Sites) -> None:
    """One is refused, one is away, one is unknown to its vCenter: the others go on. A name that is none is told before that."""
    sites.a.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-0002*", "fault": "HostConfigFault", "count": None})
    sites.b.control("/act", {"do": "disconnect", "host": "esx-0002.example.com"})
    names = {
        "esxi_hostname": "{{ {'a3': 'esx-0009.example.com'}[inventory_hostname] | default(known) }}",
        "known": "{{ 'esx-000' ~ inventory_hostname[1] ~ '.example.com' }}",
    }
    after = {"name": "after", "ansible.builtin.debug": {"msg": "reached"}}
    told = run(sites, [play("bad", 51, imported(vars=names), after)])
    assert told.kinds("bad") == {"a1": "changed", "a2": "failed", "a3": "failed", "b1": "changed", "b2": "unreachable"}, told.text
    assert sites.written()["192.0.2.51"] == ["a1", "a2", "b1"] and sites.logins()["192.0.2.51"] == [1, 1]
    came = told.came("bad")
    assert "esx-0002.example.com" in came["a2"]["msg"] and "HostConfigFault" in came["a2"]["msg"]
    assert list(came["a2"]["hosts"]) == ["esx-0002.example.com"]
    assert "is not one host in the inventory of" in came["a3"]["msg"] and "Did you mean" in came["a3"]["msg"]
    assert "disconnected" in came["b2"]["msg"]
    assert sorted(event["host"] for event in told.events if event.get("task") == "after") == ["a1", "b1"]
    counted = {host: (one["failures"], one["unreachable"], one["changed"]) for host, one in told.stats.items() if host != "kind"}
    assert counted == {"a1": (0, 0, 1), "a2": (1, 0, 0), "a3": (1, 0, 0), "b1": (0, 0, 1), "b2": (0, 1, 0)}
    told = run(sites, [play("named", 52, imported(vars={"esxi_hostname": "esx-*"}))], "--limit", "a1")
    refused = [event["result"]["msg"] for event in told.events if event["kind"] == "failed"]
    assert len(refused) == 1 and "not the name of one host" in refused[0]


def test_rescued_and_ignored(sites: Sites) -> None:
    sites.a.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-0001*", "fault": "HostConfigFault", "count": None})
    saved = {"name": "saved", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.hosts.keys() | first }}"}}
    after = {"name": "after", "ansible.builtin.debug": {"msg": "{{ esxi_ntp_align_result is failed }}"}}
    told = run(
        sites,
        [
            play("rescued", 61, {"block": [imported()], "rescue": [saved]}, after),
            play("ignored", 62, imported(ignore_errors=True), after),
            play("not minded", 63, imported(vars={"esxi_ntp_align_fail_on": "none"}), after),
        ],
    )
    assert told.code == 0, told.text
    assert [event["result"]["msg"] for event in told.events if event.get("task") == "saved"] == ["esx-0001.example.com"]
    for name in ("rescued", "ignored"):
        assert told.kinds(name) == {host: "failed" if host == "a1" else "changed" for host in ALL}
    assert told.kinds("not minded")["a1"] == "ok"
    assert len([event for event in told.events if event.get("task") == "after"]) == 3 * len(ALL)


@pytest.mark.parametrize(
    ("keywords", "reached"),
    [({"any_errors_fatal": True}, []), ({"max_fail_percentage": 50}, without("a2"))],
    ids=str,
)
def test_a_play_that_ends_with_a_failure(sites: Sites, keywords: dict[str, Any], reached: list[str]) -> None:
    """All have been done by then, as with any task; what comes after is left out as Ansible's keywords say."""
    sites.a.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-0002*", "fault": "HostConfigFault", "count": None})
    after = {"name": "after", "ansible.builtin.debug": {"msg": "reached"}}
    told = run(sites, [play("fatal", 71, imported(), after, **keywords)])
    assert told.kinds("fatal") == {host: "failed" if host == "a2" else "changed" for host in ALL}, told.text
    assert [event["host"] for event in told.events if event.get("task") == "after"] == reached or sorted(
        event["host"] for event in told.events if event.get("task") == "after"
    ) == sorted(reached)


def test_who_was_on_the_way_elsewhere_is_not_taken_along(sites: Sites) -> None:
    """Hosts stopped between the two tasks, hosts that failed before, a condition on what the role itself has come to. What a host asked
    for is in no variable that somebody looks at after a failure."""
    given = {"esxi_ntp_align_password": "{{ lookup('ansible.builtin.file', 'given') }}"}
    (sites.folder / "given").write_text(sites.a.password)
    one_is_wrong = {"esxi_ntp_align_max_skew": "{{ nowhere if inventory_hostname == 'a1' else 5 }}", **given}
    shown = [{"ansible.builtin.debug": {"var": name}} for name in ("esxi_ntp_align_result", "__esxi_ntp_align_part")]
    stopped = {
        "block": [imported(vars=one_is_wrong, any_errors_fatal=True)],
        "rescue": [*shown, included(when="inventory_hostname == 'a2'")],
    }
    second = {"when": "esxi_ntp_align_result is failed", "vars": {"esxi_ntp_align_ntp_servers": ["192.0.2.77"]}}
    told = run(
        sites,
        [
            play("again", 78, imported(vars={"esxi_ntp_align_ntp_servers": ["no server!"]}, ignore_errors=True), imported(**second)),
            play("whatever came before", 79, {"block": [{**FAIL, "when": "inventory_hostname == 'b2'"}], "always": [imported()]}),
            play("stopped", 76, stopped),
        ],
        "-v",
    )
    rescued = {event["host"] for event in told.events if event.get("action") == "ansible.builtin.debug"}
    # Ansible 2.16 has the others go on where a block has a rescue, newer ones stop them.
    assert "a1" in rescued
    went_on = [host for host in without("b2") if host not in rescued or host == "a2"]
    assert sites.written() == {"192.0.2.76": went_on, "192.0.2.77": ALL, "192.0.2.79": ALL}, told.text
    assert sites.logins()["192.0.2.77"] == [1, 1]
    assert sites.a.password not in told.text


def test_names_of_an_inventory_are_names(sites: Sites) -> None:
    """One that would be a pattern selects nobody; two inventory hosts that are one ESXi host have the same result. What an inventory gives
    for the address of a host does not matter."""
    more = {"esx-*": {}, "A1": {"esxi_hostname": "ESX-0001.EXAMPLE.COM", "esxi_ntp_align_ntp_servers": ["192.0.2.46"]}}
    groups = {"esxi": {"children": {"site_a": {"hosts": more, "vars": {"ansible_host": "{{ esxi_remediate_hostname }}"}}}}}
    (sites.folder / "more.json").write_text(json.dumps({"all": {"children": groups}}))
    told = run(sites, [play("names", 46, imported())], "-i", "more.json", "--limit", "a1,A1,a2,esx-[*]")
    assert sites.written() == {"192.0.2.46": ["a1", "a2"]} and sites.logins() == {"192.0.2.46": [1]}, told.text
    assert told.kinds("names") == {"a1": "changed", "A1": "changed", "a2": "changed"}
    assert list(told.came("names")["A1"]["hosts"]) == ["esx-0001.example.com"]
    refused = [event["result"]["msg"] for event in told.events if event["kind"] == "failed"]
    assert len(refused) == 1 and refused[0].startswith("esx-*: ") and "sign of a pattern" in refused[0]


def test_a_failure_before_keeps_all_from_being_changed(sites: Sites) -> None:
    told = run(sites, [play("fatal", 75, {**FAIL, "when": "inventory_hostname == 'b1'"}, imported(), any_errors_fatal=True)])
    assert told.code != 0 and sites.written() == {} and sites.journal(sites.a) == []


def test_one_attempt_to_log_in_and_one_sentence_for_all(sites: Sites) -> None:
    """A password that is wrong, an endpoint that is not there: for all of its hosts, and for nobody else."""
    told = run(
        sites,
        [
            play(
                "wrong",
                81,
                imported(vars={"esxi_ntp_align_password": "{{ 'wrong' if inventory_hostname[0] == 'a' else esxi_remediate_password }}"}),
            )
        ],
    )
    assert told.kinds("wrong") == {host: "failed" if host[0] == "a" else "changed" for host in ALL}, told.text
    assert len({one["msg"] for host, one in told.came("wrong").items() if host[0] == "a"}) == 1
    assert sites.a.control("/summary")["failed_logins"] == 1 and "wrong" not in told.came("wrong")["a1"]["msg"]
    with closed_port() as port:
        told = run(
            sites,
            [
                play(
                    "away",
                    82,
                    imported(vars={"esxi_ntp_align_port": f"{{{{ {port} if inventory_hostname[0] == 'a' else esxi_remediate_port }}}}"}),
                )
            ],
        )
    assert told.kinds("away") == {host: "unreachable" if host[0] == "a" else "changed" for host in ALL}, told.text
    assert "refused" in told.came("away")["a3"]["msg"]


def test_several_features_cost_two_tasks_a_host(sites: Sites) -> None:
    """Enlisted once, done once, handed out once; a feature that fails on one host leaves the others alone."""
    sites.a.control("/fault", {"method": "UpdateDateTimeConfig", "host": "esx-0003*", "fault": "HostConfigFault", "count": None})
    wish = {
        "esxi_firewall_ports_rules": [{"name": "sshServer", "enabled": True}],
        "esxi_acceptance_level_acceptance_level": "partner",
    }
    remediate = {"ansible.builtin.import_role": {"name": "fleetcare.esxi.esxi_remediate", "rolespec_validate": False}}
    told = run(sites, [play("all", 91, remediate, vars=wish)])
    tasks = {event["task"] for event in told.events if event.get("host") == "b1"}
    assert len([task for task in tasks if "Feature by feature" not in task]) == 2, tasks
    assert told.kinds("all") == {host: "failed" if host == "a3" else "changed" for host in ALL}, told.text
    own = told.came("all")["a3"]
    assert own["msg"].startswith("1 of 3 features failed. esxi_ntp_align: 1 host: 1 failed. esx-0003.example.com")
    assert own["esxi_firewall_ports"]["status"] == "ok" and list(own["esxi_firewall_ports"]["result"]["hosts"]) == ["esx-0003.example.com"]
    assert told.came("all")["b1"]["vm_crypto_unlock"]["status"] == "skipped"
    assert sites.a.control("/summary")["logins"] == 3, "one a feature, as the session is not kept"


def test_no_secret_lies_about(sites: Sites, tmp_path: pathlib.Path) -> None:
    """Neither in files nor in what callbacks are told, also at the highest verbosity."""
    copied = {
        "ansible.builtin.command": f"cp -r {tmp_path}/local {tmp_path}/kept",
        "delegate_to": "localhost",
        "run_once": True,
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    }
    told = run(sites, [play("all", 95, imported(), copied)], "-vvvv", ANSIBLE_LOCAL_TEMP=str(tmp_path / "local"))
    assert told.code == 0, told.text
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len([path for path in kept if path.suffix == ".json"]) == len(ALL)
    assert {path.stat().st_mode & 0o777 for path in kept if "esxi_share" in path.parts} == {0o600}
    for password in (sites.a.password, sites.b.password):
        assert not [path for path in kept if password.encode() in path.read_bytes()]
        assert password not in told.text
    assert not list((tmp_path / "local").rglob("*.json")), "the folder goes with the run"


def test_hosts_that_are_their_own_endpoint(sites: Sites) -> None:
    """Stand-alone hosts: nothing is selected, whatever each calls itself, and each has a run of its own."""
    with served("standalone") as one, served("standalone") as other:
        for name, server in (("one", one), ("other", other)):
            reach = {each: getattr(server, each) for each in ("hostname", "port", "username", "password", "ca_file")}
            hosts = {
                name: {
                    **({"ansible_host": server.hostname} if name == "one" else {}),
                    **{f"esxi_remediate_{key}": value for key, value in reach.items()},
                }
            }
            (sites.folder / f"{name}.json").write_text(json.dumps({"all": {"children": {"alone": {"hosts": hosts}}}}))
        told = run(sites, [play("alone", 99, imported(), hosts="alone")], "-i", "one.json", "-i", "other.json")
        assert told.kinds("alone") == {"one": "changed", "other": "changed"}, told.text
        for server in (one, other):
            assert [host["time"]["servers"] for host in server.control("/state")["hosts"].values()] == [["192.0.2.99"]]
            assert server.control("/summary")["logins"] == 1

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a shared run without Ansible: who works for whom, and what of a result is whose."""

from __future__ import annotations

import os
import pathlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from ansible_collections.fleetcare.esxi.plugins.plugin_utils import shared
from ansible_collections.fleetcare.esxi.plugins.plugin_utils.own_result import composed, own_result, without_noise
from ansible_collections.fleetcare.esxi.plugins.plugin_utils.shared import Board, SharedTask


def entry(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "moid": "host-1", "changed": status == "changed", "changes": [], "findings": [], "failure": None, **more}


def away(cause: str, kind: str = "server_fault") -> dict[str, Any]:
    return {"kind": kind, "cause": cause, "hint": "", "message": f"{cause}."}


RESULT: dict[str, Any] = {
    "changed": True,
    "failed": True,
    "msg": "4 hosts: ...",
    "summary": {"changed": 1},
    "endpoint": {"name": "vc.example.com"},
    "hosts": {
        "esx-1": entry("changed", findings=[{"code": "seen"}]),
        "esx-2": entry("failed", failure=away("it refused")),
        "esx-3": entry("unreachable", failure=away("it is gone", "host_unreachable")),
        "esx-4": entry("skipped", failure=away("no wave", "held_back"), moid="host-4"),
        "esx-5": entry("compliant", findings=[{"code": "other"}]),
    },
    "hints": {"seen": "Look.", "other": "Look elsewhere."},
    "diff": {"before": {"esx-1": 1, "esx-2": 2}, "after": {"esx-1": 3, "esx-2": 4}},
    "warnings": ["once"],
    "invocation": {"module_args": {}},
}


def own(name: str, *, result: dict[str, Any] | None = None, check: bool = False, first: bool = False, **options: Any) -> dict[str, Any]:
    return own_result(RESULT if result is None else result, name, options, check=check, first=first)


@pytest.mark.parametrize(
    ("name", "became"),
    [
        ("esx-1", {"changed": True}),
        ("ESX-1", {"changed": True}),
        ("esx-2", {"changed": False, "failed": True}),
        ("esx-3", {"changed": False, "unreachable": True}),
        ("host-4", {"changed": False}),
        ("esx-5", {"changed": False}),
        ("esx-9", {"changed": False, "failed": True}),
    ],
)
def test_status_of_one(name: str, became: dict[str, bool]) -> None:
    found = own(name)
    assert {key: found[key] for key in ("changed", "failed", "unreachable") if key in found} == became
    assert "warnings" not in found and "invocation" not in found


def test_nothing_of_others() -> None:
    found = own("esx-1")
    assert list(found["hosts"]) == ["esx-1"] and found["summary"] == {"changed": 1}
    assert found["hints"] == {"seen": "Look."} and found["diff"] == {"before": {"esx-1": 1}, "after": {"esx-1": 3}}
    assert found["msg"] == "1 host: 1 changed."
    assert own("esx-2")["msg"] == "1 host: 1 failed. it refused."


@pytest.mark.parametrize(("check", "options"), [(True, {}), (False, {"fail_on": "none"})])
def test_where_nothing_is_to_fail_it_is_a_warning(check: bool, options: dict[str, Any]) -> None:
    for name in ("esx-2", "esx-3"):
        found = own(name, check=check, **options)
        assert "failed" not in found and "unreachable" not in found and found["warnings"] == [found["msg"]]
    assert "warnings" not in own("esx-4", check=check, **options)


def test_what_is_left_out_is_skipped() -> None:
    assert own("esx-9", exclude=["esx-9"])["skipped"] is True


@pytest.mark.parametrize(
    ("kind", "became"), [("endpoint_unreachable", "unreachable"), ("login_refused", "failed"), ("bad_input", "failed")]
)
def test_a_run_that_came_to_nobody(kind: str, became: str) -> None:
    found = own("esx-1", result={"failed": True, "msg": "no", "failure": away("no", kind), "changed": False})
    assert found[became] is True and found["msg"] == "no" and ("failed" in found) != ("unreachable" in found)


def test_a_run_that_failed_as_a_whole_fails_for_each() -> None:
    """Its files could not be written, for example, although every host is as it should be."""
    found = own("esx-5", result={**RESULT, "hosts": {"esx-5": RESULT["hosts"]["esx-5"]}, "msg": "no space left"})
    assert found["failed"] is True and found["msg"] == "no space left"


def test_the_endpoint_changes_with_the_first_and_fails_with_all() -> None:
    changed = {**RESULT, "failed": False, "endpoint": {"name": "vc", "status": "changed", "changed": True}}
    assert [own("esx-5", result=changed, first=first)["changed"] for first in (True, False)] == [True, False]
    broken = {**RESULT, "endpoint": {"name": "vc", "status": "failed", "changed": False, "failure": away("no room")}}
    assert own("esx-1", result=broken)["failed"] is True and "no room" in own("esx-1", result=broken)["msg"]


def test_a_shared_result_is_whole_without_what_ansible_says_of_the_run() -> None:
    found = without_noise(RESULT, first=False)
    assert list(found["hosts"]) == list(RESULT["hosts"]) and found["failed"] and found["changed"]
    assert not {"warnings", "invocation", "diff"} & set(found)
    # In a check run they are the only sign of hosts that could not be looked at.
    assert without_noise({**RESULT, "warnings": ["3 hosts: 1 unreachable"]}, first=True)["warnings"] == ["3 hosts: 1 unreachable"]


def test_several_features() -> None:
    jobs = [{"module": "one"}, {"module": "two"}]
    good, bad = own("esx-1"), own("esx-2")
    found = composed(["one", "none", "two"], jobs, [good, bad])
    assert found["failed"] is True and found["changed"] is True and found["none"]["status"] == "skipped"
    assert found["msg"] == "1 of 2 features failed. two: 1 host: 1 failed. it refused."
    assert composed(["one", "two"], jobs, [good, own("esx-5")])["msg"] == "one: 1 host: 1 changed; two: 1 host: 1 compliant."
    assert composed(["one", "two"], jobs, [good, own("esx-3")])["unreachable"] is True
    assert "Nothing is asked for" in composed(["one"], [], [])["msg"]


def test_who_is_taken_is_taken_once(tmp_path: pathlib.Path) -> None:
    board = Board(str(tmp_path))
    with board.locked() as taken:
        assert taken == {}
        claim = board.take(["a", "b"])
    with board.locked() as taken:
        assert sorted(taken) == ["a", "b"] and not board.is_over(taken["a"])
    with claim:
        claim.publish("a", {"msg": "mine"})
        claim.publish("a", {"msg": "too late"}, anew=False)
    assert board.is_over(taken["a"]) and board.result("a") == {"msg": "mine"} and board.result("b") is None
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_worker_that_dies_leaves_no_host_waiting(tmp_path: pathlib.Path) -> None:
    board = Board(str(tmp_path))
    child = os.fork()
    if not child:
        with board.locked():
            board.take(["a"])
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    with board.locked() as taken:
        assert board.is_over(taken["a"])
    assert board.result("a") is None


def part(host: str, **more: Any) -> dict[str, Any]:
    jobs = [{"module": "esxi_ntp_align", "options": {"password": "hidden-here"}, "manner": "named"}]
    keywords = {"check_mode": False}
    return {
        "host": host, "token": f"of-{host}", "name": f"{host}.example.com", "jobs": jobs, "modules": ["esxi_ntp_align"],
        "composed": False, "keywords": keywords, "connection": "local", "interpreter": "python3", **more,
    }  # fmt: skip


def test_what_a_host_asks_for_is_read_by_this_run_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(str(tmp_path))
    for host in ("a", "b/../a", "c"):
        board.enlist("here", part(host))
    board.enlist("elsewhere", part("d"))
    assert sorted(each["host"] for each in board.list("here")) == ["a", "b/../a", "c"]
    assert board.enlisted("here", "c") == part("c") and board.enlisted("here", "d") is None and board.enlisted("nowhere", "a") is None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4 and {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not [path for path in files if b"hidden-here" in path.read_bytes()]
    board.leave("here", "c")
    board.leave("here", "c")
    assert board.enlisted("here", "c") is None and len(board.list("here")) == 2
    monkeypatch.setattr(shared, "_KEY", Fernet.generate_key())
    assert board.enlisted("here", "a") is None and board.list("here") == []


def test_what_is_left_out_is_left_out_at_any_depth() -> None:
    omit = "__omit_place_holder__1"
    given = {"rules": [{"name": "a", "enabled": omit}, omit], "port": omit, "hostname": "vc"}
    assert shared._without(given, omit) == {"rules": [{"name": "a"}], "hostname": "vc"}
    assert shared._without(given, object()) == given


class OutOfTime(BaseException):
    pass


@pytest.mark.parametrize(("problem", "told"), [(OutOfTime("Timed out."), "(Timed out), so what of this host was changed is not known"),
                                               (ValueError("no such file"), "b.example.com: no such file")])  # fmt: skip
def test_a_task_that_ends_early_is_told_to_all_of_its_hosts(tmp_path: pathlib.Path, problem: BaseException, told: str) -> None:
    board = Board(str(tmp_path))
    for host in ("a", "b"):
        board.enlist("here", part(host))
    task: Any = SharedTask.__new__(SharedTask)
    task._task = SimpleNamespace(timeout=0)

    def work(*_given: Any) -> Any:
        raise problem

    task._work = work
    with pytest.raises(type(problem)):
        task._together(part("a"), board, "here", {"ansible_play_batch": ["a", "b"]})
    found = task._together(part("b"), board, "here", {"ansible_play_batch": ["a", "b"]})
    assert found["failed"] is True and told in found["msg"] and found["msg"].startswith("b.example.com: ")


def test_what_was_changed_of_the_endpoint_is_told_by_one_that_is_not_left_out(tmp_path: pathlib.Path) -> None:
    board = Board(str(tmp_path))
    jobs = [{"module": "esxi_license_validate", "options": {"exclude": ["gone*"]}, "manner": "named"}]
    parts = [part(host, name=name, jobs=jobs) for host, name in (("a", "gone-1"), ("b", "esx-5"), ("c", "esx-5"))]
    for each in parts:
        board.enlist("here", each)
    result = {**RESULT, "failed": False, "endpoint": {"name": "vc", "status": "changed", "changed": True}}
    task: Any = SharedTask.__new__(SharedTask)
    task._task = SimpleNamespace(timeout=0)
    task._work = lambda *_given: [result]
    found = [task._together(each, board, "here", {"ansible_play_batch": ["a", "b", "c"]}) for each in parts]
    assert [each["changed"] for each in found] == [False, True, False] and found[0]["skipped"] is True


def test_of_several_features_too(tmp_path: pathlib.Path) -> None:
    board = Board(str(tmp_path))
    module = "esxi_license_validate"
    jobs = [{"module": module, "options": {"exclude": ["gone*"]}, "manner": "named"}]
    parts = [part(host, name=name, jobs=jobs, composed=True, modules=[module]) for host, name in (("a", "gone-1"), ("b", "esx-5"))]
    for each in parts:
        board.enlist("here", each)
    task: Any = SharedTask.__new__(SharedTask)
    task._task = SimpleNamespace(timeout=0)
    task._work = lambda *_given: [{**RESULT, "failed": False, "endpoint": {"name": "vc", "status": "changed", "changed": True}}]
    found = [task._together(each, board, "here", {"ansible_play_batch": ["a", "b"]}) for each in parts]
    assert [each["changed"] for each in found] == [False, True] and found[0][module]["status"] == "skipped"
    assert found[0]["skipped"] is True and found[0]["msg"] == "gone-1 is left out by exclude."


@pytest.mark.parametrize("timeout", (0, 60))
def test_what_is_left_of_a_tasks_time_is_not_spent_on_others(tmp_path: pathlib.Path, timeout: int) -> None:
    """a's own group is being worked on by somebody who dies meanwhile; b's is nobody's yet."""
    board = Board(str(tmp_path))
    parts = [part(host, jobs=[{"module": "m", "options": {"hostname": host}, "manner": "named"}]) for host in ("a", "b")]
    for each in parts:
        board.enlist("here", each)
    done: list[str] = []
    task: Any = SharedTask.__new__(SharedTask)
    task._task = SimpleNamespace(timeout=timeout)

    def work(group: Any, _variables: Any) -> Any:
        done.extend(each["host"] for each in group)
        return [RESULT]

    task._work = work
    with board.locked():
        claim = board.take([parts[0]["token"]])
    with claim:
        claim.publish(parts[0]["token"], {"changed": False})
        waiting = threading.Timer(0.3, claim.__exit__)
        waiting.start()
        task._together(parts[0], board, "here", {"ansible_play_batch": ["a", "b"]})
        waiting.join()
    assert done == (["b"] if not timeout else [])
    task._together(parts[1], board, "here", {"ansible_play_batch": ["a", "b"]})
    assert done == ["b"]


def test_where_all_are_left_out_the_endpoint_is_told_all_the_same() -> None:
    def left_out(first: bool, **endpoint: Any) -> dict[str, Any]:
        result = {**RESULT, "hosts": {}, "failed": False, "endpoint": {"name": "vc", "changed": False, **endpoint}}
        return own("esx-1", result=result, first=first, exclude=["esx-*"])

    assert left_out(True, status="compliant")["skipped"] is True
    changed = [left_out(first, status="changed", changed=True) for first in (True, False)]
    assert [each["changed"] for each in changed] == [True, False] and [each.get("skipped") for each in changed] == [None, True]
    assert "failed" not in changed[0] and "left out by exclude" in changed[0]["msg"]
    refused = left_out(False, status="failed", failure=away("no room"))
    assert refused["failed"] is True and "no room" in refused["msg"]


def test_one_name_is_not_taken_for_another_of_other_case() -> None:
    """vCenter has esx-1 twice, and one of them is asked for by its object id."""
    hosts = {"esx-1": {**RESULT["hosts"]["esx-1"], "moid": "host-14"}, "ESX-1": RESULT["hosts"]["esx-2"]}
    result = {**RESULT, "hosts": hosts}
    assert own("ESX-1", result=result)["failed"] is True and own("host-14", result=result)["changed"] is True


def test_a_place_is_told_from_another_and_is_the_same_for_all_hosts() -> None:
    from ansible.playbook.block import Block
    from ansible.playbook.role_include import IncludeRole

    play, first, second = Block(), IncludeRole(), IncludeRole()

    def below(include: Any) -> Any:
        include._parent = play
        own = Block()  # made anew for each host
        own._parent = include
        return SimpleNamespace(_parent=own)

    assert shared._place(below(first)) == shared._place(below(first)) != shared._place(below(second))
    assert shared._place(SimpleNamespace(_parent=play)) != shared._place(SimpleNamespace(_parent=Block()))


@pytest.mark.parametrize(
    ("basedir", "path", "meant"),
    [
        ("/srv/site", "worksheet.csv", "worksheet.csv"),
        ("/usr/share/ansible_collections/fleetcare/esxi/playbooks", "worksheet.csv", "{cwd}/worksheet.csv"),
        ("/usr/share/ansible_collections/fleetcare/esxi/playbooks", "/srv/worksheet.csv", "/srv/worksheet.csv"),
        ("/usr/share/ansible_collections/fleetcare/esxi/playbooks", "~/worksheet.csv", "{home}/worksheet.csv"),
    ],
)
def test_a_playbook_of_the_collection_writes_nothing_into_the_collection(basedir: str, path: str, meant: str) -> None:
    task = SimpleNamespace(_loader=SimpleNamespace(get_basedir=lambda: basedir))
    assert SharedTask._meant(task, path) == meant.format(cwd=os.getcwd(), home=os.path.expanduser("~"))  # type: ignore[arg-type]

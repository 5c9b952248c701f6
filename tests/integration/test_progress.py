# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves are shown while a task runs, and a task that has none is run as any other."""

from __future__ import annotations

import json
import pathlib
import subprocess
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action.normal import ActionModule as AnyModule

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.waves import ModuleInWaves
from tests.bench.measure import Server, ansible_environment, served
from tests.integration.playbooks import on_localhost, play, task

HOSTS = 12
WISH: dict[str, Any] = {"esxi_hostname": ["*"], "ntp_servers": ["192.0.2.77"], "session": "single"}
WAVES = {**WISH, "waves": [1, "25%", "100%"]}
SLOW: dict[str, Any] = {"method": "UpdateDateTimeConfig", "delay": 1.5, "count": 1000}
TOLD = [
    "esxi_ntp_align: wave 1 of 3: 1 host, 1 changed, 0 failed; 11 to go",
    "esxi_ntp_align: wave 2 of 3: 3 hosts, 3 changed, 0 failed; 8 to go",
    "esxi_ntp_align: wave 3 of 3: 8 hosts, 8 changed, 0 failed; 0 to go",
]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Server]:
    with served("fleet", hosts=HOSTS) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(fleet: Server) -> None:
    fleet.control("/reset", {})


def changed(server: Server) -> int:
    return sum(host["time"]["servers"] == ["192.0.2.77"] for host in server.control("/state")["hosts"].values())


def told(output: str) -> list[str]:
    return [line for line in output.splitlines() if ": wave " in line and not line.startswith(" ")]


def as_it_comes(folder: pathlib.Path, server: Server, plays: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Each line of the output, with the number of hosts that were changed when it came."""
    path = folder / "play.yml"
    path.write_text(json.dumps(plays))
    process = subprocess.Popen(
        ["ansible-playbook", str(path)],
        env={**ansible_environment(folder, server), "PYTHONUNBUFFERED": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(100, process.kill)
    watchdog.start()
    try:
        assert process.stdout
        return [(line.rstrip("\n"), changed(server) if ": wave " in line else -1) for line in process.stdout]
    finally:
        watchdog.cancel()
        process.wait()
        process.stdout and process.stdout.close()


@pytest.mark.parametrize("by", ["role", pytest.param("task", marks=pytest.mark.newest_only)])
def test_each_wave_is_shown_when_it_ends(fleet: Server, tmp_path: pathlib.Path, by: str) -> None:
    fleet.control("/fault", SLOW)
    role = {"roles": ["fleetcare.esxi.esxi_ntp_align"], "vars": {f"esxi_ntp_align_{name}": value for name, value in WAVES.items()}}
    one = {"hosts": "localhost", "gather_facts": False, **role} if by == "role" else on_localhost(task(WAVES))
    lines = as_it_comes(tmp_path, fleet, [one])
    assert [line for line in lines if line[1] >= 0] == list(zip(TOLD, (1, 4, 12), strict=True)), lines
    texts = [text for text, _count in lines]
    assert texts.index("changed: [localhost]") > texts.index(TOLD[-1]), texts


def test_the_play_goes_on_as_without(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Registered result, a loop, a task that is tried again: nothing is left over, and the file is gone."""
    left = "{{ lookup('ansible.builtin.pipe', 'find \"$ANSIBLE_LOCAL_TEMP\" -name \"waves-*\"') }}"
    done = play(
        tmp_path,
        fleet,
        [
            on_localhost(
                task({**WAVES, "ntp_servers": ["{{ item }}"]}, loop=["192.0.2.77", "192.0.2.78"], register="looped"),
                task(
                    {**WAVES, "esxi_hostname": ["esx-*", "nobody.example.com"]},
                    register="tried",
                    until="tried is not failed",
                    retries=1,
                    delay=0,
                    ignore_errors=True,
                ),
                {
                    "ansible.builtin.assert": {
                        "that": [
                            "looped.results | map(attribute='waves') | map('length') | list == [3, 3]",
                            "looped.results[0].waves[0].hosts == 1",
                            "tried.attempts == 1 or tried is failed",
                            "'nobody.example.com' in tried.msg",
                            "'progress_file' not in tried.msg",
                        ]
                    }
                },
                {"ansible.builtin.debug": {"msg": f"left: [{left}]"}},
            )
        ],
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "local"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert told(done.stdout) == TOLD * 2
    assert "left: []" in done.stdout


@pytest.mark.newest_only
def test_a_failed_task_that_is_tried_again_shows_its_waves_again(fleet: Server, tmp_path: pathlib.Path) -> None:
    fleet.control("/fault", {"method": "UpdateDateTimeConfig", "fault": "HostConfigFault", "count": 1})
    tried = task(WAVES, register="tried", until="tried is not failed", retries=2, delay=0)
    done = play(tmp_path, fleet, [on_localhost(tried)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert told(done.stdout) == ["esxi_ntp_align: wave 1 of 3: 1 host, 0 changed, 1 failed; 11 to go", *TOLD]


@pytest.mark.newest_only
@pytest.mark.parametrize("keywords", [{}, {"check_mode": True}, {"no_log": True}, {"async": 60, "poll": 1}], ids=str)
def test_what_shows_nothing(fleet: Server, tmp_path: pathlib.Path, keywords: dict[str, Any]) -> None:
    """Without waves; where nothing is changed; where nothing is to be seen; in the background."""
    done = play(tmp_path, fleet, [on_localhost(task(WAVES if keywords else WISH, **keywords))], ANSIBLE_ASYNC_DIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not told(done.stdout + done.stderr) and "changed: [localhost]" in done.stdout
    assert changed(fleet) == (0 if "check_mode" in keywords else HOSTS)


@pytest.mark.newest_only
def test_a_file_of_ones_own_is_shown_as_well(fleet: Server, tmp_path: pathlib.Path) -> None:
    """From where it ended before; a path is taken as the module takes it."""
    (tmp_path / "mine.log").write_text("esxi_ntp_align: wave 9 of 9: of an earlier run\n")
    done = play(tmp_path, fleet, [on_localhost(task({**WAVES, "progress_file": "~/mine.log"}))])
    assert told(done.stdout) == TOLD, done.stdout + done.stderr
    kept = (tmp_path / "mine.log").read_text().splitlines()
    assert [f"esxi_ntp_align: {line}" for line in kept[1:]] == TOLD


@pytest.mark.newest_only
def test_several_inventory_hosts_are_told_apart(fleet: Server, tmp_path: pathlib.Path) -> None:
    (tmp_path / "hosts").write_text("[vcenters]\na ansible_connection=local\nb ansible_connection=local\n")
    one = {**on_localhost(task({**WISH, "waves": ["100%"]})), "hosts": "vcenters", "serial": 2}
    done = play(tmp_path, fleet, [one], "-i", "hosts", ANSIBLE_FORKS="1")
    assert [line.partition(":")[0] for line in told(done.stdout)] == ["esxi_ntp_align [a]"], done.stdout + done.stderr


@pytest.mark.newest_only
def test_a_callback_that_prints_json_is_not_disturbed(fleet: Server, tmp_path: pathlib.Path) -> None:
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "own_json.py").write_text(
        "import json\n"
        "from ansible.plugins.callback import CallbackBase\n"
        "class CallbackModule(CallbackBase):\n"
        "    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'stdout', 'own_json'\n"
        "    def v2_playbook_on_stats(self, stats):\n"
        "        self._display.display(json.dumps(stats.changed))\n"
    )
    settings = {"ANSIBLE_STDOUT_CALLBACK": "own_json", "ANSIBLE_CALLBACK_PLUGINS": str(tmp_path / "callbacks")}
    done = play(tmp_path, fleet, [on_localhost(task(WAVES))], **settings)
    assert json.loads(done.stdout) == {"localhost": 1}, done.stdout + done.stderr
    assert told(done.stderr) == TOLD


@pytest.mark.newest_only
def test_module_defaults_reach_the_module(fleet: Server, tmp_path: pathlib.Path) -> None:
    """Those of the action group and those of the module, waves among them."""
    reach = {name: getattr(fleet, name) for name in ("hostname", "port", "username", "password", "ca_file")}
    defaults = {
        "group/fleetcare.esxi.esxi": {**reach, "esxi_hostname": ["*"], "session": "single"},
        "fleetcare.esxi.esxi_ntp_align": {"waves": WAVES["waves"]},
    }
    nowhere = dict.fromkeys(("VMWARE_HOST", "VMWARE_PORT", "VMWARE_USER", "VMWARE_PASSWORD", "VMWARE_CA_FILE"), "")
    nowhere["VMWARE_PORT"] = "1"
    done = play(tmp_path, fleet, [on_localhost(task({"ntp_servers": ["192.0.2.77"]}), module_defaults=defaults)], **nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told(done.stdout) == TOLD and changed(fleet) == HOSTS


# ---- the plugin by itself -----------------------------------------------------------------------------------------------


def plugin(folder: pathlib.Path, **differently: Any) -> Any:
    parts = {"waves": [1], "transport": "local", "become": None, "async_val": 0, "no_log": False, **differently}
    options = {name: value for name, value in parts.items() if name in ("waves", "progress_file")}
    working = SimpleNamespace(
        args=options, action="fleetcare.esxi.any", run_once=True, async_val=parts["async_val"], no_log=parts["no_log"]
    )
    connection = SimpleNamespace(transport=parts["transport"], become=parts["become"])
    return ModuleInWaves(working, connection, None, SimpleNamespace(get_basedir=lambda: str(folder)), None, None)


@pytest.mark.parametrize(
    "differently",
    [{"waves": None}, {"waves": []}, {"transport": "ssh"}, {"become": object()}, {"async_val": 60}, {"no_log": True}],
    ids=lambda different: next(iter(different)),
)
def test_what_is_not_followed_gets_its_options_untouched(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, differently: dict[str, Any]
) -> None:
    seen: list[Any] = []

    def run(self: Any, tmp: Any, task_vars: Any) -> dict[str, Any]:
        seen.append((self._task.args, threading.active_count()))
        return {"x": 1}

    monkeypatch.setattr(AnyModule, "run", run)
    made = plugin(tmp_path, **differently)
    given, threads = made._task.args, threading.active_count()
    assert made.run(task_vars={}) == {"x": 1}
    assert seen == [(given, threads)] and seen[0][0] is given


@pytest.mark.parametrize("broken", [False, True])
def test_whatever_happens_the_file_goes_and_the_options_are_as_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    seen: list[pathlib.Path] = []

    def run(self: Any, tmp: Any, task_vars: Any) -> dict[str, Any]:
        path = pathlib.Path(self._task.args["progress_file"])
        assert path.stat().st_mode & 0o777 == 0o600 and self._task.args["waves"] == [1]
        seen.append(path)
        if broken:
            raise KeyError("planted")
        return {"x": 1}

    monkeypatch.setattr(AnyModule, "run", run)
    made = plugin(tmp_path)
    given, threads = made._task.args, threading.active_count()
    if broken:
        with pytest.raises(KeyError, match="planted"):
            made.run(task_vars={})
    else:
        assert made.run(task_vars={}) == {"x": 1}
    assert not seen[0].exists() and made._task.args is given and given == {"waves": [1]}
    assert threading.active_count() == threads


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/dev/null", "fifo", "."])
def test_a_file_that_cannot_be_followed_is_the_modules_business(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    subprocess.run(["mkfifo", str(tmp_path / "fifo")], check=True)
    monkeypatch.setattr(AnyModule, "run", lambda self, tmp, task_vars: dict(self._task.args))
    assert plugin(tmp_path, progress_file=path).run(task_vars={})["progress_file"] == path

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of a module for all hosts of a play that share an endpoint and their options, and for each host a result of its own.

Two tasks of a role. ``enlist`` is done by every host and says what that host asks for. Only a host that has come so far is on
the list: not one that a condition, a tag, ``--limit``, ``serial``, an earlier failure or ``end_host`` has kept away. In ``run``
the first host that comes works for all on the list that ask for the same; others that come meanwhile take another endpoint, or
wait; each then takes what is its own. So as many endpoints are worked on at a time as Ansible has forks.

What a host asks for and what came of it lies in files of Ansible's own folder for this run. What it asks for holds passwords: it
is encrypted with a key that is in the memory of this run and nowhere else, so that neither a variable nor a file shows it.
Private to this collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible import constants
from ansible.playbook.task_include import TaskInclude

from .option_names import COMMON, OWN, PATHS, VM_MODULES
from .own_result import composed, own_result, without_noise
from .waves import ModuleInWaves

try:
    from cryptography.fernet import Fernet, InvalidToken

    # Ansible loads this file before it starts the process of a task, so that all of a run have the same key. Where that is not so,
    # a host finds that it is not on the list, and has a run of its own.
    _KEY = Fernet.generate_key()
    # Its library gets ready with the first use: here once, and not again in the process of each host.
    Fernet(_KEY).decrypt(Fernet(_KEY).encrypt(b""))
except ImportError:  # ansible-core needs it, so it is wherever a play runs; ansible-test imports this without it
    pass

COLLECTION = "fleetcare.esxi"
_COMPOSER = "esxi_remediate"
_SELECTION = ("esxi_hostname", "cluster_name", "datacenter", "folder", "vm_name", "vm_moid")
_KEYWORDS = ("check_mode", "diff", "environment", "become", "become_method", "become_user", "no_log")
_WRITTEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
# How a job selects: hosts by the names of inventory hosts, or as the options say.
NAMED, AS_SAID = "named", "as_said"


class SharedTask(ModuleInWaves):
    """``modules``: what to run, one after the other. ``step``: enlist or run."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        variables = task_vars or {}
        given = self._task.args
        modules = [str(name).removeprefix(COLLECTION + ".") for name in given.get("modules") or ()]
        unknown = sorted(set(modules) - set(OWN))
        if unknown or not modules or given.get("step") not in ("enlist", "run"):
            what = f"modules names {unknown[0]!r}, which is none of {', '.join(sorted(OWN))}" if unknown else "modules or step is missing"
            return {"failed": True, "msg": f"esxi_share: {what}. Use the roles of {COLLECTION}, which know what to say here."}
        if self._task.async_val:
            return {"failed": True, "msg": "esxi_share: a task in the background cannot share its run; leave async out. Nothing was done."}
        several = bool(given.get("composed"))
        board = Board.of_this_play()
        place = _place(self._task)
        host = str(variables["inventory_hostname"])
        if given["step"] == "enlist":
            part = self._enlisted(modules, variables, several)
            if part["trouble"]:
                return {"failed": True, "msg": part["trouble"]}
            board.enlist(place, part)
            return {"changed": False, **{name: part[name] for name in ("alone", "connection", "interpreter")}}
        mine = board.enlisted(place, host)
        # None to run: begun in the middle of the role, so that nobody is on a list.
        part = mine or self._enlisted(modules, variables, several)
        if part["trouble"]:
            return {"failed": True, "msg": part["trouble"]}
        if part["alone"] and several:
            return {"changed": False, "alone": True}
        if mine is None or part["alone"]:
            return self._alone(part, variables)
        result = self._together(part, board, place, variables)
        board.leave(place, host)
        return result

    # ---- what a host asks for -----------------------------------------------------------------------------------------------

    def _enlisted(self, modules: Sequence[str], variables: Mapping[str, Any], several: bool) -> dict[str, Any]:
        keywords = {name: getattr(self._task, name, None) for name in _KEYWORDS}
        # Of several features, one of which no variable is set is not meant.
        meant = [module for module in modules if not several or _is_asked_for(module, variables)]
        jobs = [self._job(module, variables) for module in meant]
        named = any(job["manner"] == NAMED for job in jobs)
        name, trouble = self._name(variables)
        return {
            "host": variables["inventory_hostname"],
            "token": uuid.uuid4().hex,
            "name": name,
            "trouble": trouble if named else "",
            "composed": several,
            "modules": list(modules),
            "jobs": jobs,
            "keywords": _plain(keywords),
            # Then everything is as if there were no other hosts, because there are none.
            "alone": not named and len(variables.get("ansible_play_hosts_all") or ()) < 2,
            **_control_node(variables),
        }

    def _job(self, module: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a module, from the variables that are set, as the role's documentation names them."""
        raw = {}
        for option in OWN[module]:
            if f"{module}_{option}" in variables:
                raw[option] = variables[f"{module}_{option}"]
        for option in COMMON[module]:
            for name in (f"{module}_{option}", f"{_COMPOSER}_{option}"):
                if name in variables:
                    raw[option] = variables[name]
                    break
        options = _plain(_without(self._templar.template(raw), variables.get("omit")))
        # "{{ inventory_hostname }}" says of each host what is so without it, and would make every host a case of its own.
        own, _trouble = self._name(variables)
        if own and module not in VM_MODULES and options.get("esxi_hostname") in (own, [own]):
            del options["esxi_hostname"]
        for name in set(PATHS) & options.keys():
            options[name] = self._meant(options[name])
        return {"module": module, "options": options, "manner": self._manner(module, options, variables)}

    def _meant(self, path: Any) -> Any:
        """A module runs where its playbook is. Of one of this collection, which nobody has written, that is the collection's own
        folder; then a path begins where ansible-playbook was started."""
        if not isinstance(path, str) or f"{os.sep}ansible_collections{os.sep}" not in os.path.join(self._loader.get_basedir(), ""):
            return path
        return os.path.join(os.getcwd(), os.path.expanduser(path))

    def _manner(self, module: str, options: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
        host = variables["inventory_hostname"]
        if module in VM_MODULES or host in constants.LOCALHOST or any(options.get(name) for name in _SELECTION):
            return AS_SAID
        # A stand-alone host takes the one name that it is given for its own.
        return NAMED if options.get("hostname") or self._from_environment("VMWARE_HOST", "VMWARE_SERVER") else AS_SAID

    def _from_environment(self, *names: str) -> str:
        said: dict[str, Any] = {}
        for part in self._task.environment or ():
            said.update(part if isinstance(part, dict) else {})
        return next((str(found) for name in names for found in (said.get(name, os.environ.get(name)),) if found), "")

    def _name(self, variables: Mapping[str, Any]) -> tuple[str, str]:
        """What vCenter calls this host, or why that cannot be known."""
        host = variables["inventory_hostname"]
        given = variables.get("esxi_hostname")
        found = host if given is None else self._templar.template(given)
        names = found if isinstance(found, list) else [found]
        if len(names) == 1 and str(names[0]).strip() and not any(sign in str(names[0]) for sign in "*?["):
            return str(names[0]).strip(), ""
        if given is None:
            return "", (
                f"{host}: what this inventory host is called has a sign of a pattern in it, and is not the name of one host. "
                "Let its variable esxi_hostname be the name that vCenter shows."
            )
        return "", (
            f"{host}: the variable esxi_hostname of this inventory host is {_plain(found)!r}, and not the name of one host. "
            "Let it be the name that vCenter shows, or leave it out where that is the name in the inventory."
        )

    # ---- the work -----------------------------------------------------------------------------------------------------------

    def _alone(self, mine: dict[str, Any], variables: Any) -> dict[str, Any]:
        results = self._work([mine], variables)
        if len(mine["jobs"]) == 1 and not mine["composed"] and mine["jobs"][0]["manner"] == AS_SAID:
            return results[0]
        return self._own(results, mine, set(range(len(results))))

    def _together(self, mine: dict[str, Any], board: Board, place: str, variables: Any) -> dict[str, Any]:
        listed = None
        while True:
            group: list[dict[str, Any]] = []
            claim = None
            with board.locked() as taken:
                if mine["token"] not in taken or not board.is_over(taken[mine["token"]]):
                    listed = listed or _groups(mine, board.list(place), variables.get("ansible_play_batch") or ())
                    if self._task.timeout:
                        # What is left of this task's time is not meant for others, who would be cut short by it.
                        listed = listed[:1]
                    # With the strategy free, some of a group may have begun before others had come.
                    left = ([each for each in one if each["token"] not in taken] for one in listed)
                    group = next(filter(None, left), [])
                    claim = board.take([each["token"] for each in group]) if group else None
            if claim is None:
                return board.result(mine["token"]) or {"failed": True, "msg": _cut_short(mine, "it was ended")}
            with claim:
                raw: dict[str, Any] | None = None
                try:
                    results = self._work(group, variables)
                    untold = set(range(len(results)))
                    for each in group:
                        own = self._own(results, each, untold)
                        if each["token"] == mine["token"]:
                            raw = own
                        claim.publish(each["token"], own)
                except BaseException as problem:
                    said = str(problem) or type(problem).__name__
                    for each in group:
                        told = f"{each['name']}: {said}" if isinstance(problem, Exception) else _cut_short(each, said)
                        claim.publish(each["token"], {"failed": True, "msg": told}, anew=False)
                    # Trouble of others is theirs; that a task is out of time, or ended, is its own.
                    if mine in group or not isinstance(problem, Exception):
                        raise
            if raw is not None:
                return raw

    def _own(self, results: Sequence[dict[str, Any]], mine: dict[str, Any], untold: set[int]) -> dict[str, Any]:
        """``untold``: the numbers of the results of which nobody has yet been told what is told once."""
        check = bool(mine["keywords"]["check_mode"])
        parts: list[dict[str, Any]] = []
        for number, (job, result) in enumerate(zip(mine["jobs"], results, strict=True)):
            first = number in untold
            if job["manner"] == AS_SAID:
                parts.append(without_noise(result, first=first))
            else:
                parts.append(own_result(result, mine["name"], job["options"], check=check, first=first))
            if not parts[-1].get("skipped"):
                untold.discard(number)
        return composed(mine["modules"], mine["jobs"], parts) if mine["composed"] else parts[0]

    def _work(self, group: Sequence[dict[str, Any]], variables: Any) -> list[dict[str, Any]]:
        """The results of the jobs of a group, whose hosts all ask for the same."""
        results = []
        for job in group[0]["jobs"]:
            options = dict(job["options"])
            if job["manner"] == NAMED:
                options["esxi_hostname"] = sorted({each["name"] for each in group})
                options["unknown_hosts"] = "go_on"
                options["fail_on"] = "any"  # what a host makes of its own trouble is decided host by host
            try:
                results.append(self._run_module(job["module"], options, variables))
            except Exception as problem:
                if not group[0]["composed"]:
                    raise
                results.append({"failed": True, "msg": str(problem)})
        return results

    def _run_module(self, module: str, options: dict[str, Any], variables: Any) -> dict[str, Any]:
        """By Ansible's own plugin, as a task that names this module."""
        action, given = self._task.action, self._task.args
        self._task.action, self._task.args = f"{COLLECTION}.{module}", options
        try:
            result: dict[str, Any] = super().run(None, variables)
            return result
        finally:
            self._task.action, self._task.args = action, given

    def _shower(self, task_vars: dict[str, Any]) -> Callable[[str], None]:
        """Lines about waves are about all hosts of the group; its endpoint tells it from another."""
        if len(task_vars.get("ansible_play_hosts") or ()) < 2:
            return super()._shower(task_vars)
        return self._shown_as(f"{self._task.action.rpartition('.')[2]} [{self._task.args.get('hostname') or 'endpoint'}]")


def _is_asked_for(module: str, variables: Mapping[str, Any]) -> bool:
    return any(name.startswith(f"{module}_") and name != f"{module}_result" for name in variables)


def _control_node(variables: Mapping[str, Any]) -> dict[str, Any]:
    """How the control node is reached: an inventory may list localhost and say nothing of it, then what Ansible runs with is right.

    Looked up only where there is something to be found, for that costs as much as the whole task.
    """
    said: Mapping[str, Any] = {}
    if variables["inventory_hostname"] in constants.LOCALHOST or "localhost" in (variables.get("groups") or {}).get("all", ()):
        said = variables["hostvars"]["localhost"]
    return {
        "connection": str(said.get("ansible_connection", "local")),
        "interpreter": str(said.get("ansible_python_interpreter", variables.get("ansible_playbook_python", "python3"))),
    }


def _without(value: Any, omitted: Any) -> Any:
    """Without what is left out on purpose, at any depth, as Ansible does it with the options of a task. Newer ones have done so
    by now, and know no text that stands for it."""
    if not isinstance(omitted, str):
        return value
    if isinstance(value, Mapping):
        return {name: _without(each, omitted) for name, each in value.items() if each != omitted}
    if isinstance(value, (list, tuple)):
        return [_without(each, omitted) for each in value if each != omitted]
    return value


def _place(task: Any) -> str:
    """Where the two steps of a role stand in the playbook: the same for all hosts that come there, another for each import,
    include or entry of ``roles``. A host that was on its way somewhere else when it was stopped is not on the list here."""
    above, path = task._parent, []
    while above is not None:
        path.append(above)
        above = getattr(above, "_parent", None)
    # What lies between is made anew for each host where hosts do not wait for each other.
    said = [each._uuid for each in path if isinstance(each, TaskInclude)] + [each._uuid for each in path[-1:]]
    return hashlib.sha256(json.dumps([str(each) for each in said]).encode()).hexdigest()[:32]


def _cut_short(part: Mapping[str, Any], why: str) -> str:
    return (
        f"{part['name']}: the task that worked for this host and others was ended before it was over ({why.rstrip('.')}), so what of this "
        "host was changed is not known; run the play again, with --check to see it."
    )


def _plain(value: Any) -> Any:
    """Without what Ansible adds to values: origin, trust, encryption."""

    def other(found: Any) -> Any:
        return found.isoformat() if hasattr(found, "isoformat") else str(found)

    return json.loads(json.dumps(value, default=other))


def _groups(mine: dict[str, Any], listed: Sequence[dict[str, Any]], batch: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Those on the list that this task can work for, by what they ask for; its own first, itself in it whatever became of it before."""
    groups: dict[str, list[dict[str, Any]]] = {_wish(mine): []}
    theirs = {each["host"]: each for each in listed if each["host"] in batch}
    manner = _manner_of_run(mine)
    for each in ({host: theirs[host] for host in batch if host in theirs} | {mine["host"]: mine}).values():
        if _manner_of_run(each) == manner:
            groups.setdefault(_wish(each), []).append(each)
    return list(groups.values())


def _wish(part: Mapping[str, Any]) -> str:
    return json.dumps([part["jobs"], part["modules"], part["composed"], _manner_of_run(part)], sort_keys=True, default=str)


def _manner_of_run(part: Mapping[str, Any]) -> Any:
    """What belongs to a task and not to a module's options: one task cannot lend it to another."""
    return [part["keywords"], part["connection"], part["interpreter"]]


class Board:
    """Who works for whom, in files that all workers of this run of Ansible see and nobody else does.

    A folder for each place in the playbook: a file a host, encrypted, with what it asks for there. ``taken``: a line a host, with
    the claim that it is part of. A claim is a file that its worker keeps locked as long as it works; the kernel takes that lock
    away should the worker die. Beside it a file a host, with its result.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @classmethod
    def of_this_play(cls) -> Board:
        folder = os.path.join(constants.DEFAULT_LOCAL_TMP, "esxi_share")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return cls(folder)

    def enlist(self, place: str, part: Mapping[str, Any]) -> None:
        os.makedirs(os.path.join(self._folder, place), mode=0o700, exist_ok=True)
        path = self._listed(place, part["host"])
        with open(os.open(f"{path}.new", _WRITTEN, 0o600), "wb") as file:
            file.write(Fernet(_KEY).encrypt(json.dumps(part).encode()))
        os.replace(f"{path}.new", path)

    def enlisted(self, place: str, host: str) -> dict[str, Any] | None:
        return self._read(self._listed(place, host))

    def list(self, place: str) -> Sequence[dict[str, Any]]:
        with os.scandir(os.path.join(self._folder, place)) as entries:
            paths = [entry.path for entry in entries if not entry.name.endswith(".new")]
        return [part for part in map(self._read, paths) if part is not None]

    def leave(self, place: str, host: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._listed(place, host))

    def _listed(self, place: str, host: str) -> str:
        return os.path.join(self._folder, place, hashlib.sha256(host.encode()).hexdigest())

    def _read(self, path: str) -> dict[str, Any] | None:
        try:
            with open(path, "rb") as file:
                part: dict[str, Any] = json.loads(Fernet(_KEY).decrypt(file.read()))
                return part
        except (OSError, InvalidToken):
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[dict[str, str]]:
        with self._opened("taken") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield dict(line.split() for line in file.read().splitlines())

    def take(self, tokens: Sequence[str]) -> Claim:
        """Only while ``locked``."""
        name = uuid.uuid4().hex
        file = self._opened(f"{name}.claim")
        fcntl.flock(file, fcntl.LOCK_EX)
        with self._opened("taken") as taken:
            taken.seek(0, os.SEEK_END)
            taken.write("".join(f"{token} {name}\n" for token in tokens))
        return Claim(self._folder, file)

    def is_over(self, claim: str) -> bool:
        with self._opened(f"{claim}.claim") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def result(self, token: str) -> dict[str, Any] | None:
        """Once the claim that holds it is over; None where its worker ended without a word."""
        with self.locked() as taken:
            claim = taken[token]
        with self._opened(f"{claim}.claim") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
        try:
            with open(os.path.join(self._folder, f"{token}.json"), encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
                return found
        except (OSError, ValueError):
            return None

    def _opened(self, name: str) -> Any:
        path = os.path.join(self._folder, name)
        return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+", encoding="utf-8")


class Claim:
    """The right to work for some hosts, until it is left."""

    def __init__(self, folder: str, file: Any) -> None:
        self._folder = folder
        self._file = file

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_problem: object) -> None:
        self._file.close()

    def publish(self, token: str, result: Mapping[str, Any], *, anew: bool = True) -> None:
        path = os.path.join(self._folder, f"{token}.json")
        if not anew and os.path.exists(path):
            return
        with open(os.open(path, _WRITTEN, 0o600), "w", encoding="utf-8") as file:
            json.dump(_plain(result), file)

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event source of ansible-rulebook: machines of a vCenter that came up locked. What is handed on, and when, is decided in
``module_utils/_domain/crypto_events.py``; here is what reads options, vCenter and the state file."""

from __future__ import annotations

DOCUMENTATION = r"""
---
short_description: Follow a vCenter's events of encrypted virtual machines that came up locked
description:
  - Hands on which virtual machines came up locked (C(com.vmware.vc.vm.Crypto.VMLocked.*)), many in one event, within limits.
  - The position, quiet hours and the rate are judged by vCenter's clock alone; the clock of the machine that runs ansible-rulebook does not matter.
  - Reads only. An idle look at vCenter is one call.
options:
  hostname:
    description: Name or IP address of the vCenter. Required; E(VMWARE_HOST) or E(VMWARE_SERVER) is used where it is left out.
    type: str
  username:
    description: User to log in as. Required; E(VMWARE_USER) or E(VMWARE_USERNAME) is used where it is left out. It needs System.View, no more.
    type: str
    aliases: [user, admin]
  password:
    description: The user's password. Required; leave it out and set E(VMWARE_PASSWORD), then it is in no file and no log.
    type: str
    aliases: [pass, pwd]
  port:
    description: TCP port. E(VMWARE_PORT) is used where it is left out.
    type: int
    default: 443
  validate_certs:
    description: Whether the certificate has to be signed by a known authority and bear the right name. E(VMWARE_VALIDATE_CERTS) is used where it is left out.
    type: bool
    default: true
  ca_file:
    description: PEM file with the authorities to trust instead of the system's. E(VMWARE_CA_FILE) is used where it is left out.
    type: path
  thumbprint:
    description: SHA-256 thumbprint of the one certificate to accept. E(VMWARE_THUMBPRINT) is used where it is left out.
    type: str
  proxy_host:
    description: HTTP proxy to go through. E(VMWARE_PROXY_HOST) is used where it is left out.
    type: str
  proxy_port:
    description: Port of the proxy. E(VMWARE_PROXY_PORT) is used where it is left out.
    type: int
  connect_timeout:
    description: Seconds until a connection has to stand.
    type: float
    default: 10
  read_timeout:
    description: Seconds of silence after which a call is given up.
    type: float
    default: 60
  session:
    description:
      - V(keep) shares the session that the modules keep for the same vCenter and user, and leaves it to them and to its next start.
      - V(single) has one of its own. It is logged out at the end, unless ansible-rulebook is ended by SIGTERM, of which no source is told.
      - V(end) is as V(keep), and logs out at the end. E(VMWARE_SESSION) is used where it is left out.
    type: str
    choices: [keep, single, end]
    default: keep
  event_types:
    description: Event types to follow instead of the five that a locked machine causes. Events that are about no virtual machine are passed over.
    type: list
    elements: str
  state_file:
    description:
      - File that keeps the position, and who waits or was handed on, for the next start. It is written with mode 0600; its folder has to exist.
      - Without it a restart begins anew, and what happened in between is not seen.
    type: path
  lookback:
    description: Seconds before the first start from which on events count. Later starts go on where the last one ended.
    type: float
    default: 0
  poll_interval:
    description: Seconds between two looks at vCenter.
    type: float
    default: 10
  overlap:
    description: Seconds by which looks overlap, as an event may become visible later than others that are younger.
    type: float
    default: 60
  allow:
    description: Patterns of names of virtual machines; others are passed over. Left out, all are allowed.
    type: list
    elements: str
  deny:
    description: Patterns of names of virtual machines that are passed over, whatever O(allow) says.
    type: list
    elements: str
  max_vms:
    description: How many virtual machines at the most are handed on within O(per) seconds. The others wait for their turn.
    type: int
    default: 50
  per:
    description: Seconds that O(max_vms) counts for.
    type: float
    default: 60
  quiet_hours:
    description: Times of the day in UTC, such as V("22:00-06:00"), in which nothing is handed on. What happens then is handed on when they end.
    type: list
    elements: str
  batch_seconds:
    description: Seconds to wait after a machine came up locked for others, so that one run of a playbook handles all of them.
    type: float
    default: 5
  cooldown:
    description:
      - Seconds in which the same virtual machine is not handed on again, unless an event said that it was unlocked in between.
      - When it is over and there was another lock event meanwhile, the machine is handed on once more.
    type: float
    default: 600
"""

EXAMPLES = r"""
---
- name: Say which virtual machines came up locked
  hosts: localhost
  gather_facts: false
  sources:
    - name: vcenter
      fleetcare.esxi.vm_locked:
        hostname: vcenter.example.com
        username: reader@vsphere.local
        state_file: /var/lib/eda/vcenter.json
        deny: ["lab-*"]
        quiet_hours: ["22:00-06:00"]
  rules:
    - name: Locked machines
      condition: event.vm_moids is defined
      action:
        debug:
          msg: "locked: {{ event.vm_names }}"

# What an event looks like; the password is not in it:
#   vcenter: {hostname: vcenter.example.com, port: 443, username: reader@vsphere.local, validate_certs: true, ca_file: "", thumbprint: "",
#             instance_uuid: 7c7e1f9a-1c3b-4a53-9f0c-5d2b8f0f4c11}
#   vms:
#     - {name: app-01, moid: vm-101, host: esx-01.example.com, type: com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError,
#        key: 4711, created: "2026-05-04T03:02:01.123000+00:00"}
#   vm_names: [app-01]
#   vm_moids: [vm-101]
"""

import asyncio
import contextlib
import datetime
import difflib
import fcntl
import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# ansible-rulebook runs this file by its path, wherever ansible-galaxy found the collection: what is imported has to be the same copy.
_place, _found, _rest = __file__.rpartition("/ansible_collections/")
if _found and _place not in sys.path:
    sys.path.insert(0, _place)

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import vmomi
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.store import REFUSAL_SECONDS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto_events import (
    LOCKED,
    UNLOCKED,
    Event,
    Limits,
    Stream,
    parse_quiet_hours,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    BadInput,
    FleetcareError,
    Interrupted,
    LoginRefused,
    PermissionMissing,
    TlsRefused,
    listed,
)

logger = logging.getLogger("fleetcare.esxi.vm_locked")

# What QueryEvents returns at the most, and a page of a collector.
PAGE = 1000
# How often vCenter's clock is read while nobody waits: to see that it was set back, and to let the window move on.
CLOCK_SECONDS = 300.0
LONGEST_PAUSE = 60.0
# A vCenter that starts refuses a login that is right until its single sign-on is up. More often, or sooner, would lock the account;
# and before that no module of ours tries a password again that was refused.
LOGIN_SECONDS = REFUSAL_SECONDS + 5.0
LOGIN_TRIES = 2
# How far back another vCenter is asked at a restart, at the most.
LONGEST_LOOKBACK = 86400.0

# Name -> kind, default, environment.
_OPTIONS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "hostname": ("str", None, ("VMWARE_HOST", "VMWARE_SERVER")),
    "username": ("str", None, ("VMWARE_USER", "VMWARE_USERNAME")),
    "password": ("str", None, ("VMWARE_PASSWORD",)),
    "port": ("int", 443, ("VMWARE_PORT",)),
    "validate_certs": ("bool", True, ("VMWARE_VALIDATE_CERTS",)),
    "ca_file": ("str", None, ("VMWARE_CA_FILE",)),
    "thumbprint": ("str", None, ("VMWARE_THUMBPRINT",)),
    "proxy_host": ("str", None, ("VMWARE_PROXY_HOST",)),
    "proxy_port": ("int", None, ("VMWARE_PROXY_PORT",)),
    "connect_timeout": ("float", 10.0, ()),
    "read_timeout": ("float", 60.0, ()),
    "session": ("str", "keep", ("VMWARE_SESSION",)),
    "event_types": ("list", LOCKED, ()),
    "state_file": ("str", None, ()),
    "lookback": ("float", 0.0, ()),
    "poll_interval": ("float", 10.0, ()),
    "overlap": ("float", 60.0, ()),
    "allow": ("list", (), ()),
    "deny": ("list", (), ()),
    "max_vms": ("int", 50, ()),
    "per": ("float", 60.0, ()),
    "quiet_hours": ("list", (), ()),
    "batch_seconds": ("float", 5.0, ()),
    "cooldown": ("float", 600.0, ()),
}
_ALIASES = {"user": "username", "admin": "username", "pass": "password", "pwd": "password"}
# Option -> least and most, in the option's own unit.
_RANGES = {
    "lookback": (0, 30 * 86400),
    "poll_interval": (0.1, 3600),
    "overlap": (1, 3600),
    "max_vms": (1, 100_000),
    "per": (1, 86400),
    "batch_seconds": (0, 3600),
    "cooldown": (0, 30 * 86400),
}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list of texts", "str": "a text"}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Settings:
    endpoint: Endpoint
    limits: Limits
    event_types: tuple[str, ...]
    state_file: str
    lookback: float
    poll_interval: float

    @classmethod
    def parse(cls, args: Mapping[str, Any]) -> Settings:
        """From the arguments of a rulebook. Raises BadInput; opens nothing."""
        given: dict[str, Any] = {}
        for name, value in args.items():
            option = _ALIASES.get(name, name)
            if option not in _OPTIONS:
                near = difflib.get_close_matches(name, _OPTIONS, 1)
                # Its value is not shown: it may be a secret behind a misspelt name.
                raise BadInput(
                    f"there is no option {name}", hint=f"Did you mean {near[0]}?" if near else f"Known are {', '.join(_OPTIONS)}."
                )
            given[option] = value
        params = {}
        for option, (kind, default, variables) in _OPTIONS.items():
            value = given.get(option)
            # A variable that nobody set comes as an empty text out of {{ ... | default('') }}.
            if value in (None, ""):
                value = next((os.environ[name] for name in variables if os.environ.get(name)), None)
            params[option] = default if value is None else _converted(option, kind, value)
        for option in ("hostname", "username", "password"):
            if not params[option]:
                raise BadInput(
                    f"option {option} is missing", hint=f"Set it in the rulebook, or as {_OPTIONS[option][2][0]} in the environment."
                )
        for option, (least, most) in _RANGES.items():
            if not least <= params[option] <= most:
                raise BadInput(f"{option} {params[option]:g} is out of range", hint=f"Give a number from {least:g} to {most:g}.")
        if params["session"] not in ("keep", "single", "end"):
            raise BadInput(f"session {params['session']!r} is not known", hint="Write keep, single or end.")
        if not params["event_types"]:
            raise BadInput("event_types is empty", hint="Leave it out, or name at least one type of event.")
        return cls(
            endpoint=Endpoint.parse(params),
            limits=Limits(
                **{name: params[name] for name in ("allow", "deny", "max_vms", "per", "batch_seconds", "cooldown", "overlap")},
                quiet_hours=parse_quiet_hours(params["quiet_hours"]),
            ),
            event_types=params["event_types"],
            state_file=os.path.abspath(os.path.expanduser(params["state_file"])) if params["state_file"] else "",
            lookback=params["lookback"],
            poll_interval=params["poll_interval"],
        )


def _converted(option: str, kind: str, value: Any) -> Any:
    """As the modules take it: a rulebook's values may be YAML, templates or the environment's texts."""
    try:
        if kind == "str":
            # A password of digits comes as a number out of YAML.
            if not isinstance(value, (bool, list, dict)):
                return str(value)
        elif kind == "bool":
            return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]
        elif kind == "list":
            items = value.split(",") if isinstance(value, str) else value
            if isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items):
                return tuple(item.strip() for item in items if item.strip())
        elif not isinstance(value, bool):
            number = float(value)
            if kind == "float" and math.isfinite(number):
                return number
            if kind == "int" and number.is_integer():
                return int(number)
    except (ValueError, TypeError, KeyError, OverflowError):
        pass
    shown = "" if option == "password" else f" {value!r}"
    raise BadInput(f"option {option}{shown} is not {_KINDS[kind]}", hint=f"Write {_KINDS[kind]}.")


class _NoParent(Guard):
    """A follower outlives the shell that started it; only ``stop`` ends it."""

    @property
    def reason(self) -> str:
        return self._reason


class StateFile:
    """The stream of the last process; without a path there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock: Any = None
        if not path:
            return
        try:
            self._lock = _opened(f"{path}.lock")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BadInput(
                f"state_file {path} is used by another process that runs", hint="Give every source a state_file of its own."
            ) from None
        except OSError as problem:
            raise BadInput(
                f"state_file {path} cannot be used: {problem.strerror}",
                hint="Give a path in a folder that exists and that this user may write to.",
            ) from problem

    def load(self) -> Stream | None:
        if not self._path:
            return None
        try:
            with open(self._path, encoding="utf-8") as file:
                return Stream.from_json(json.load(file))
        except FileNotFoundError:
            return None
        except (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as problem:
            # To begin anew in silence would lose what happened since.
            raise BadInput(
                f"state_file {self._path} is not one of this source: {type(problem).__name__}",
                hint="Delete it to begin anew, with lookback for what happened meanwhile.",
            ) from problem

    def save(self, stream: Stream) -> None:
        """Written beside and moved into place, so that whoever comes next finds the old one or the new one."""
        if not self._path:
            return
        # Nobody else has one of this name: the lock is ours.
        temporary = f"{self._path}.new"
        with _opened(temporary) as file:
            file.truncate()
            json.dump(stream.as_json(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        if self._lock:
            self._lock.close()


def _opened(path: str) -> Any:
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+", encoding="utf-8")


class Follower:
    """What blocks: to be called in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # A thread cannot be cancelled: whoever ends the following waits for the look that is under way.
        self._turn = threading.Lock()
        self._guard = _NoParent()
        self.file = StateFile(settings.state_file)
        try:
            self.stream = self.file.load()
        except BadInput:
            self.file.close()
            raise
        self._session: Session | None = None
        self._secrets: tuple[str, ...] = ()
        self._read_at: float | None = None  # steady time of the reading of vCenter's clock that the stream has
        self._seen_at: float | None = None  # steady time of the last look at its events
        self._failures = 0
        self._was_in = False
        self._refusals = 0

    def step(self) -> tuple[tuple[Event, ...], float]:
        """One look at vCenter: whom to hand on, and the seconds until the next look. Raises where somebody has to mend something."""
        with self._turn:
            return self._step()

    def _step(self) -> tuple[tuple[Event, ...], float]:
        try:
            batch, wait = self._look()
        except FleetcareError as problem:
            if self._guard.reason:
                return (), 0.0
            if isinstance(problem, LoginRefused):
                self._hang_up()
                if self._was_in and self._refusals < LOGIN_TRIES and problem.fault != "NotAuthenticated":
                    self._refusals += 1
                    logger.warning(
                        "%s As it was let in before, it tries again in %g s, %s.",
                        problem.sentence,
                        LOGIN_SECONDS,
                        "for the last time" if self._refusals == LOGIN_TRIES else "twice at the most",
                    )
                    return (), LOGIN_SECONDS
            if self._is_final(problem):
                raise
            self._failures += 1
            if self._failures == 1:
                # The hint is for a task; here nobody has to do anything.
                problem.hint = ""
                logger.warning("%s It is asked again until it answers; nothing is lost meanwhile.", problem.sentence)
            return (), min(LONGEST_PAUSE, 2.0 ** min(self._failures - 1, 6))
        if self._failures or self._refusals:
            logger.warning("%s answers again.", self.settings.endpoint.name)
            self._failures = self._refusals = 0
        return batch, wait

    def handed_on(self, batch: tuple[Event, ...]) -> None:
        """Remember it: from now on, and in the file, these are not handed on again."""
        with self._turn:
            stream = self._known()
            self.stream = stream.handed_on(batch, self._now(stream))
            self._save(self.stream)

    def event_of(self, batch: tuple[Event, ...]) -> dict[str, Any]:
        endpoint = self.settings.endpoint
        return {
            "vcenter": {
                "hostname": endpoint.hostname,
                "port": endpoint.port,
                "username": endpoint.username,
                "validate_certs": endpoint.validate_certs,
                "ca_file": endpoint.ca_file,
                "thumbprint": endpoint.thumbprint,
                "instance_uuid": self._known().instance,
            },
            "vms": [event.as_json() for event in batch],
            "vm_names": [event.name for event in batch],
            "vm_moids": [event.moid for event in batch],
        }

    def close(self) -> None:
        """A call that still waits for vCenter is given up within seconds."""
        self._guard.stop("ansible-rulebook ends")
        with self._turn:
            self._hang_up()
            self.file.close()

    def _is_final(self, problem: FleetcareError) -> bool:
        """A wrong password tried again locks the account. Before there ever was an answer, an unreachable name is a mistake, too."""
        if isinstance(problem, LoginRefused):
            return problem.fault != "NotAuthenticated"
        # What vCenter does not accept today, such as a type of event, it will not accept tomorrow.
        refused = isinstance(problem, (BadInput, TlsRefused, PermissionMissing)) or problem.fault == "InvalidArgument"
        return refused or self.stream is None

    def _look(self) -> tuple[tuple[Event, ...], float]:
        limits = self.settings.limits
        session = self._connected()
        stream = self._known()
        # Kept with the stream that it belongs to, at the end: a look that fails on the way leaves both as they were.
        read_at, until = self._read_at, None
        if stream.waiting or read_at is None or time.monotonic() - read_at >= CLOCK_SECONDS:
            stream, read_at = self._at(session, stream)
            until = stream.clock
        began = time.monotonic()
        events = self._events(session, stream)
        if session.secrets != self._secrets:
            # Logged in anew on the way: this may be another vCenter by now, whose events these are. A new look tells.
            self._hang_up()
            return (), min(1.0, self.settings.poll_interval)
        self._seen_at = began
        stream = stream.absorb(events, limits, until)
        if stream.waiting and until is None:
            stream, read_at = self._at(session, stream)
        elif until is not None and not stream.waiting:
            # Nobody waits: the next process need not read again what this one has seen.
            self._save(stream)
        self.stream, self._read_at = stream, read_at
        batch = stream.due(limits)
        wait = stream.due_in(limits)
        return batch, self.settings.poll_interval if wait is None else min(self.settings.poll_interval, max(wait, 0.1))

    def _connected(self) -> Session:
        if self._session:
            return self._session
        if self._guard.reason:
            raise Interrupted(self._guard.reason)
        # A new guard each time: it knows every connection that was made under it.
        self._guard = _NoParent()
        session = Session(self.settings.endpoint, self._guard, may_write=False)
        session.__enter__()
        try:
            self._identify(session)
        except BaseException:
            session.__exit__(None, None, None)
            raise
        self._session, self._secrets, self._was_in = session, session.secrets, True
        return session

    def _identify(self, session: Session) -> None:
        """Go on where the last look ended, or begin anew where another vCenter answers."""
        if not session.is_vcenter:
            raise BadInput(
                f"hostname {self.settings.endpoint.name} is an ESXi host; events of locked machines come from vCenter",
                hint="Give the name of the vCenter that manages the host.",
            )
        instance = session.content.about.instanceUuid
        if self.stream and self.stream.instance == instance:
            return
        now = _server_time(session)
        lookback = self.settings.lookback
        if self.stream is None:
            self.stream = Stream.start(instance, now, lookback)
        else:
            if self._seen_at is None:
                # By two clocks, as nobody knows how long this process was away: no more than a day.
                pause = min((now - self.stream.clock).total_seconds() + self.settings.limits.overlap, LONGEST_LOOKBACK)
            else:
                pause = time.monotonic() - self._seen_at + self.settings.limits.overlap
            lookback = max(lookback, pause)
            names = [item.event.name for item in self.stream.waiting]
            logger.warning(
                "%s is another vCenter than before (%s instead of %s): its events are followed from %s on.%s",
                self.settings.endpoint.name,
                instance,
                self.stream.instance,
                (now - datetime.timedelta(seconds=lookback)).isoformat(timespec="seconds"),
                f" It does not know whom the old one had waiting: {listed(names, 10)}." if names else "",
            )
            self.stream = self.stream.replaced(instance, now, lookback)
        self._read_at = time.monotonic()
        try:
            self.file.save(self.stream)
        except OSError as problem:
            raise BadInput(
                f"state_file {self.settings.state_file} cannot be written: {problem.strerror}",
                hint="Give a path that this user may write to.",
            ) from problem

    def _known(self) -> Stream:
        if self.stream is None:
            raise RuntimeError("not connected yet")
        return self.stream

    def _at(self, session: Session, stream: Stream) -> tuple[Stream, float]:
        """With a reading of vCenter's clock, and its steady time."""
        read = time.monotonic()
        # After a restart nobody knows how long the pause was.
        elapsed = 0.0 if self._read_at is None else read - self._read_at
        return stream.at(_server_time(session), elapsed, self.settings.limits), read

    def _now(self, stream: Stream) -> datetime.datetime:
        """vCenter's time by its last reading and the steady seconds since."""
        return stream.clock + datetime.timedelta(seconds=time.monotonic() - (self._read_at or time.monotonic()))

    def _events(self, session: Session, stream: Stream) -> list[Event]:
        spec = vmomi.vim.event.EventFilterSpec(
            eventTypeId=[*dict.fromkeys((*self.settings.event_types, UNLOCKED))],
            time=vmomi.vim.event.EventFilterSpec.ByTime(beginTime=stream.begin(self.settings.limits)),
            # Nobody reads the texts, which vCenter would have to put together.
            disableFullMessage=True,
        )
        manager = vmomi.Ref("EventManager", session.content.eventManager._moId)
        found = session.items(manager, "QueryEvents", _event, filter=spec)
        if len(found) >= PAGE:
            found = [*found, *_all_events(session, manager, spec)]
        return [event for event in found if event is not None]

    def _save(self, stream: Stream) -> None:
        try:
            self.file.save(stream)
        except OSError as problem:
            logger.error(
                "state_file %s cannot be written: %s. A restart hands on again what was handed on since.",
                self.settings.state_file,
                problem.strerror,
            )

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session:
            session.__exit__(None, None, None)


def _all_events(session: Session, manager: vmomi.Ref, spec: Any) -> list[Event | None]:
    """Page by page. By its documentation a new collector stands at the oldest event; one that stands at the end is read backwards."""
    made = session.read(manager, "CreateCollectorForEvents", filter=spec)
    collector = vmomi.Ref("EventHistoryCollector", made._moId)
    try:
        found: list[Event | None] = []
        for direction in ("ReadNextEvents", "ReadPreviousEvents"):
            if len(found) >= PAGE:
                break
            while page := session.items(collector, direction, _event, maxCount=PAGE):
                found += page
        return found
    finally:
        with contextlib.suppress(FleetcareError):
            session.read(collector, "DestroyCollector")


def _event(row: dict[str, Any]) -> Event | None:
    """None for one that is about no machine, or that cannot be placed in time."""
    vm = row.get("vm") or {}
    moid, name = (vm["vm"].id if "vm" in vm else ""), vm.get("name", "")
    if not moid and row.get("objectType") == "VirtualMachine":
        moid, name = row.get("objectId", ""), row.get("objectName", "")
    created = row.get("createdTime")
    if not moid or created is None:
        return None
    return Event(
        key=row["key"],
        created=created,
        type=row.get("eventTypeId") or f"vim.event.{row.get('_type', 'Event')}",
        name=name,
        moid=moid,
        host=(row.get("host") or {}).get("name", ""),
    )


def _server_time(session: Session) -> datetime.datetime:
    return session.read(vmomi.Ref("ServiceInstance", "ServiceInstance"), "CurrentTime")


async def main(queue: Any, args: dict[str, Any]) -> None:
    try:
        await _follow(queue, args)
    except FleetcareError as problem:
        # ansible-rulebook shows the sentence, and below it every frame that it can get hold of.
        raise problem.with_traceback(None) from None


async def _follow(queue: Any, args: dict[str, Any]) -> None:
    if vmomi.IMPORT_ERROR:
        raise BadInput("pyvmomi is not installed", hint=f"Install it for {sys.executable}: pip install pyvmomi.")
    follower = Follower(Settings.parse(args))
    try:
        while True:
            batch, wait = await asyncio.to_thread(follower.step)
            if batch:
                await queue.put(follower.event_of(batch))
                await asyncio.to_thread(follower.handed_on, batch)
            await asyncio.sleep(wait)
    finally:
        await asyncio.shield(asyncio.to_thread(follower.close))


if __name__ == "__main__":
    # By hand: python vm_locked.py, with VMWARE_HOST, VMWARE_USER and VMWARE_PASSWORD set; prints what it would hand on.
    class _Printer:
        async def put(self, event: Any) -> None:
            print(json.dumps(event), flush=True)

    asyncio.run(main(_Printer(), {}))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a feature has to bring: one file of judgement, one of translation, its options. Private to this collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .._client.inventory import Selection, Target, select_hosts, select_vms
from .._client.properties import Row
from .._client.session import Session
from .._client.vmomi import Ref
from .._client.waiting import Condition
from .._domain.errors import FleetcareError, HostUnreachable
from .._domain.plan import Change, Plan


def _host_away(host: Target) -> FleetcareError | None:
    if host.problem or host.connection == "connected":
        return host.problem
    return HostUnreachable(
        f"vCenter says that the host is {host.connection}", hint="Reconnect it in vCenter, then run the task again for this host."
    )


def _host_left(host: Target) -> FleetcareError | None:
    return _host_away(host) if host.problem or host.connection == "disconnected" else None


def _vm_away(vm: Target) -> FleetcareError | None:
    if vm.connection != "disconnected":
        return None
    return HostUnreachable(
        f"vCenter has no connection to {vm.host_name or 'the host'}, the host of the VM",
        hint="Reconnect that host in vCenter, then run the task again for this VM.",
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the targets of a feature are. ``noun``: one of them, in sentences; ``key``: where they stand in a result.

    ``away``: why one can be neither read nor written, by what was selected. ``by_managers``: its settings are those of its
    managers, so that what is read of itself stays as it is during a run, and one without ``config`` tells nothing; of the
    others all is read again after a change, and what is lacking is the feature's to judge.
    """

    noun: str
    key: str
    type: str
    select: Callable[[Session, Selection], list[Target]]
    away: Callable[[Target], FleetcareError | None]
    by_managers: bool

    def count(self, number: int) -> str:
        return f"{number} {self.noun}{'' if number == 1 else 's'}"


HOSTS = Kind(noun="host", key="hosts", type="HostSystem", select=select_hosts, away=_host_away, by_managers=True)
# Hosts whose own state is the matter: it is read again after a change, and one that does not answer may be just what was asked for.
HOSTS_THEMSELVES = replace(HOSTS, away=_host_left, by_managers=False)
VMS = Kind(noun="VM", key="vms", type="VirtualMachine", select=select_vms, away=_vm_away, by_managers=False)


class Domain(Protocol):
    """A module ``_domain/<word>.py``: pure functions over frozen values of its own."""

    def parse(self, params: Mapping[str, Any]) -> Any:
        """Options as a wish. Raises BadInput, before any connection."""

    def survey(self, states: Iterable[Any], common: Mapping[str, Any], wanted: Any) -> Any:
        """What only all targets together tell; handed to the planner of each."""

    def plan(self, state: Any, wanted: Any, seen: Any) -> Plan:
        """The writes that bring a state to the wish, and the findings about that state."""

    def after(self, read: Any, predicted: Any, waited: bool) -> Any:
        """A state read back after writes, with what only this run knows of it."""

    def settled(self, state: Any, wanted: Any, seen: Any) -> bool:
        """Whether waiting longer would not show more."""

    def patience(self, wanted: Any) -> float:
        """Seconds to wait for targets to settle; 0 for not at all."""

    def settings(self, state: Any) -> dict[str, Any]:
        """What a diff shows: what this feature can change, nothing that moves by itself."""

    def report(self, state: Any, wanted: Any, seen: Any, *, full: bool) -> dict[str, Any]:
        """What a result says of a target beside changes and findings; all that is known only where ``full``.

        A result of a thousand targets costs Ansible more than the work itself if each repeats what was asked for.
        """


class Whole(Protocol):
    """What a feature judges and changes of an endpoint as a whole, beside its hosts: an inventory that they share.

    Functions of ``_domain/<word>.py``. ``survey`` gets in ``common`` as ``sent`` the endpoint's own changes that were
    sent so far, so that it counts on nothing any more that was tried and is not there, as ``over`` whether the hosts are
    done, so that none of them is expected to change any more, as ``staying`` the object ids of those that no wave has room
    for, and as ``selected`` those of all targets.
    """

    def is_offline(self, wanted: Any, has_endpoint: bool) -> bool:
        """Whether the wish is judged without any endpoint; ``has_endpoint``: whether one is named."""

    def needs_hosts(self, wanted: Any) -> bool:
        """Whether a vCenter has to be told which hosts are meant."""

    def endpoint_plan(self, seen: Any, wanted: Any) -> Plan:
        """The endpoint's own changes and findings. A change with ``last = True`` is made after those of the hosts."""

    def overview(self, seen: Any, wanted: Any, plans: Mapping[str, Plan], away: Mapping[str, str]) -> dict[str, Any]:
        """Parts of the result; ``msg`` is what its sentence begins with. ``plans``: of the hosts, by name, in their last
        state; ``away``: object ids of those that could not be read, by name."""


class Translation(Protocol):
    """A module ``_vim/<word>.py``: managed objects to plain values and back."""

    def properties(self, wanted: Any) -> Sequence[str]:
        """Paths to read of every target, see ``_client.properties.collect``."""

    @property
    def SHRINK(self) -> Mapping[str, Callable[[Any], Any]]:
        """What becomes of big values as they are read, see ``_client.properties.collect``."""

    @property
    def PROBES(self) -> Sequence[str]:
        """Operations that only look although the API guards them with a privilege to change."""

    def measure(self, session: Session, rows: Mapping[Target, Row], wanted: Any, parallel: int) -> dict[Any, Any]:
        """What properties do not tell, by target; under None what concerns the endpoint. Reads and probes only."""

    def observe(self, row: Row, extra: Mapping[str, Any]) -> Any:
        """The state of one target."""

    def apply(self, session: Session, target: Target, row: Row, change: Change) -> Ref | None:
        """Send one change: one write. Gives the Task that it started, if it did: the change is made once that has ended.
        Where the task's result, or what is given instead of a task, is an object of the targets' kind, that is the target
        from then on. ``row`` stays the one of before."""


class Awaiting(Protocol):
    """What a translation may have besides, whose changes come about without a task that tells it."""

    def awaits(self, session: Session, target: Target, row: Row, change: Change) -> Condition | None:
        """What is seen once a change is made: asked for before the write, looked for after it, whether or not the answer to
        the write came. All targets that wait are looked at together. ``apply`` gives the task, if there is one."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """``undo``: the changes that take back those done to a state, for a feature that can cut a host off; it has the
    option ``verify_reachable``, and starts no tasks. ``record``: a state as plain values that ``parse`` takes back as ``restore``, in files
    of the form ``record_form``; it has the options ``backup``, ``backup_dir`` and ``restore``. ``whole``: for a feature
    that is about more than single hosts. ``files``: name and content of what belongs on the control node after a run, given the
    wish and the plans of the targets by name; it has the option ``dest``, the folder of them. ``texts``: options that may name a
    file, of which ``parse`` gets the name and the text as a pair.
    """

    domain: Domain
    translation: Translation
    options: Mapping[str, Any]
    targets: Kind = HOSTS
    writes: bool = True
    undo: Callable[[Any, Iterable[Change]], Sequence[Change]] | None = None
    record: Callable[[Any], dict[str, Any]] | None = None
    record_form: str = ""
    whole: Whole | None = None
    files: Callable[[Any, Mapping[str, Plan]], Mapping[str, bytes]] | None = None
    texts: Sequence[str] = ()

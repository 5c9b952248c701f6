# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors a user can meet: few kinds, each a sentence and the same facts as data. Private to this collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class FleetcareError(Exception):
    """Something that stops a target or a whole run.

    ``cause`` says what is wrong, ``target`` where, ``doing`` what was being done, ``hint`` the next step;
    ``fault`` is the type name the server gave (``HostConfigFault``), when a server gave one.
    """

    kind = "error"

    def __init__(self, cause: str, *, target: str = "", doing: str = "", hint: str = "", fault: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.target = target
        self.doing = doing
        self.hint = hint
        self.fault = fault

    def at(self, *, target: str = "", doing: str = "") -> FleetcareError:
        """The same error with the place filled in where it was still unknown."""
        self.target = self.target or target
        self.doing = self.doing or doing
        return self

    @property
    def sentence(self) -> str:
        where = f"{self.target}: " if self.target else ""
        while_doing = f" (while {self.doing})" if self.doing else ""
        fault = f" [{self.fault}]" if self.fault else ""
        text = f"{where}{self.cause.rstrip('. ')}{fault}{while_doing}."
        return f"{text} {self.hint}" if self.hint else text

    def __str__(self) -> str:
        return self.sentence

    def as_failure(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "fault": self.fault or None,
            "doing": self.doing or None,
            "cause": self.cause,
            "hint": self.hint or None,
            "message": self.sentence,
        }


def listed(names: Sequence[str], most: int) -> str:
    """The first few by name, the others by number."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def cause_of(problem: Exception) -> str:
    """Why something failed, also where it is a defect and no error of ours."""
    return problem.cause if isinstance(problem, FleetcareError) else f"{type(problem).__name__}: {problem}"


class BadInput(FleetcareError):
    """An option that cannot be meant; raised before any connection."""

    kind = "bad_input"


class EndpointUnreachable(FleetcareError):
    """Nothing answers at the endpoint, or what answers is no vSphere service."""

    kind = "endpoint_unreachable"


class TlsRefused(FleetcareError):
    """The endpoint's certificate is not the one that the user asked for."""

    kind = "tls_refused"


class LoginRefused(FleetcareError):
    kind = "login_refused"


class PermissionMissing(FleetcareError):
    kind = "permission_missing"


class TargetUnknown(FleetcareError):
    """A name that matches nothing, or more than one thing."""

    kind = "target_unknown"


class HostUnreachable(FleetcareError):
    """vCenter cannot reach the host; nothing can be read or written there."""

    kind = "host_unreachable"


class ServerFault(FleetcareError):
    """The server refused a call for a reason of its own."""

    kind = "server_fault"


class TimedOut(FleetcareError):
    kind = "timed_out"


class Interrupted(FleetcareError):
    """The run was told to stop: deadline, signal, or the parent process is gone."""

    kind = "interrupted"

    def __init__(self, cause: str, *, target: str = "", doing: str = "") -> None:
        super().__init__(cause, target=target, doing=doing, hint="What was changed until then is listed; run the task again to finish.")


class CutOff(FleetcareError):
    """After a change the host could not be reached any more."""

    kind = "cut_off"


class Unverified(FleetcareError):
    """Whether the host can still be reached after a change could not be seen for as long as was asked for."""

    kind = "unverified"


class HeldBack(Interrupted):
    """No wave had room for it, as was asked for."""

    kind = "held_back"


class WriteRefused(FleetcareError):
    """The write gate is shut. In a check run this is a defect of ours, never the user's."""

    kind = "write_refused"


class NotConverged(FleetcareError):
    """The server took every write, and the state read back is still not the one asked for."""

    kind = "not_converged"


class NotCompliant(FleetcareError):
    """Nothing is left to write, and the target is still not as it should be."""

    kind = "not_compliant"

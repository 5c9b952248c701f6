# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, wishes and clocks for the tests of ``_domain/ntp.py``: a healthy host to start from, and hypothesis strategies."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.ntp import (
    DEVICE_TYPES,
    MEANINGS,
    Clock,
    Ptp,
    PtpPort,
    Ruleset,
    Service,
    State,
    Survey,
    Wanted,
)

# The same examples every time: a test run that fails today and not tomorrow helps nobody.
# The phase "explain" is left out; it traces every line, for minutes when a test fails.
USUAL = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
)
LONG = settings(USUAL, max_examples=600)

NOON = datetime.datetime(2026, 1, 2, 12, 0, tzinfo=datetime.timezone.utc)
HERE = Survey(reference=Clock(0.0, 0.0))


def modern(**fields: Any) -> State:
    """A healthy host of 8.0 Update 3: the daemon owns the ruleset."""
    healthy = State(
        version="8.0.3",
        servers=("192.0.2.1", "192.0.2.2"),
        time_config=True,
        protocol="ntp",
        enabled=True,
        ptp_ports=1,
        fallback=True,
        in_fallback=False,
        synced=True,
        last_sync=NOON,
        remote_server="192.0.2.1",
        service=Service(True, "on"),
        ruleset=Ruleset(enabled=True, controllable=False),
        clock=Clock(0.0, 0.001),
    )
    return replace(healthy, **fields)


def ancient(**fields: Any) -> State:
    """A healthy host of 6.7: servers and service only, a ruleset that everybody toggles."""
    healthy = State(
        version="6.7.0",
        servers=("192.0.2.1", "192.0.2.2"),
        service=Service(True, "on"),
        ruleset=Ruleset(enabled=True, controllable=None),
        clock=Clock(0.0, 0.001),
    )
    return replace(healthy, **fields)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


NAMES = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "ntp.example.com", "time.example.org")
SPELLINGS = {
    "2001:db8::1": "2001:0DB8:0:0::1",
    "ntp.example.com": "NTP.Example.com.",
}
OPTIONS = ("", " iburst", " prefer minpoll 4")


def entries(least: int, *, respelt: bool) -> st.SearchStrategy[tuple[str, ...]]:
    """Server lists without the same server twice, with and without ntp.conf options."""
    one = st.tuples(st.sampled_from(NAMES), st.sampled_from(OPTIONS), st.booleans())
    return st.lists(one, min_size=least, max_size=4, unique_by=lambda item: item[0]).map(
        lambda items: tuple((SPELLINGS.get(name, name) if respelt and other else name) + tail for name, tail, other in items)
    )


ports = st.builds(
    PtpPort,
    st.integers(0, 2),
    st.sampled_from(DEVICE_TYPES),
    maybe(st.sampled_from(("vmk0", "vmk1"))),
    maybe(st.booleans()),
    maybe(st.just("192.0.2.50")),
    maybe(st.just("255.255.255.0")),
)
ptps = st.builds(
    Ptp,
    maybe(st.integers(0, 2)),
    st.lists(ports, max_size=2, unique_by=lambda port: port.index).map(lambda found: tuple(sorted(found, key=lambda port: port.index))),
)


class Roll:
    """Reads choices off a number: a few draws for all fields, ten times as fast as one strategy a field."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.left = sum(number << 24 * place for place, number in enumerate(numbers))

    def __call__(self, *choices: Any) -> Any:
        self.left, index = divmod(self.left, len(choices))
        return choices[index]


# Below 2**24 hypothesis draws evenly; above, it prefers small numbers, and most fields would hardly vary.
_numbers = st.integers(0, 2**24 - 1)

_HAVE = (
    ("192.0.2.1", "192.0.2.2 iburst"),
    (),
    ("ntp.example.com iburst",),
    ("192.0.2.1",),
    ("2001:db8::1 prefer", "192.0.2.2", "time.example.org"),
)
_WANT = (
    None,
    ("192.0.2.1", "192.0.2.2"),
    ("192.0.2.2", "192.0.2.1"),
    ("192.0.2.1 iburst",),
    ("NTP.example.com.", "198.51.100.9"),
    ("2001:0DB8:0:0::1", "time.example.org minpoll 4"),
)
_PTPS = (
    None,
    Ptp(0),
    Ptp(None, (PtpPort(0, "virtualNic", "vmk1"),)),
    Ptp(1, (PtpPort(0, "pciPassthruNic", "0000:03:00.1", False, "192.0.2.50", "255.255.255.0"), PtpPort(1, "none"))),
    Ptp(1, (PtpPort(0, "pciPassthruNic", "0000:03:00.1"),)),
    Ptp(2, (PtpPort(2, "virtualNic", "vmk0", True),)),
)
_LISTS = (("192.0.2.0/24",), (), ("198.51.100.1", "2001:db8::/32"))


def _clock(roll: Roll) -> Clock:
    offset = roll(0.0, -5000.0, 100.0, 61.0, -60.5, 59.0, 1.5, -1.0, 0.5, 1000.5, 60.0, -2.0)
    return Clock(offset, roll(0.0, 0.001, 0.4, 1.0, 30.0))


def _state(numbers: tuple[int, ...]) -> State:
    roll = Roll(numbers)
    fields: dict[str, Any] = {
        "servers": roll(*_HAVE),
        "service": Service(roll(True, False), roll("on", "off", "automatic")),
        "ruleset": roll(Ruleset(enabled=roll(True, False), controllable=roll(None, True, False)), None),
        "clock": roll(_clock(roll), None),
        "gave_up": roll(None, NOON),
        "in_fallback": roll(None, False, True),
        "synced": roll(None, True, False),
        "last_sync": roll(None, NOON),
        "remote_server": roll(None, "192.0.2.1", "203.0.113.9", "ntp.example.com"),
        "working": roll(None, True, False),
        "settling": roll(False, True),
        "waited": roll(False, True),
        "test_error": roll(None, "may not"),
    }
    if fields["working"] is not None:
        fields["test_error"] = None
    if fields["ruleset"] and roll(False, True):
        fields["ruleset"] = replace(fields["ruleset"], all_ip=False, allowed=roll(*_LISTS))
    if roll(True, False):
        # ntpd that runs beside PTP on such a host has a test of its own, in test_ntp_cases.py.
        return ancient(protocol=None if fields["service"].running else roll(None, "ptp"), **fields)
    return modern(
        protocol=roll("ntp", "ptp", None),
        enabled=roll(True, False, None),
        ptp=roll(*_PTPS),
        ptp_ports=roll(1, 0, 2),
        fallback=roll(None, True, False),
        **fields,
    )


def _wish(numbers: tuple[int, ...]) -> Wanted:
    """What ``parse`` lets through: ptp only with protocol ptp, step only with max_skew."""
    roll = Roll(numbers)
    protocol = roll(None, "ntp", "ptp")
    max_skew = roll(None, 1.0, 0.5, 60.0, 500.0)
    return Wanted(
        servers=roll(*_WANT),
        servers_state=roll("exact", "present", "absent"),
        running=roll(None, True, False),
        policy=roll(None, "on", "off", "automatic"),
        protocol=protocol,
        ptp=roll(*_PTPS) if protocol == "ptp" else None,
        fallback=roll(None, True, False),
        max_skew=max_skew,
        step=max_skew is not None and roll(False, True),
        step_threshold=roll(60.0, 1.0, 1000.0),
        reference=roll("control_node", "vcenter", "fleet"),
        test_servers=roll(False, True),
        wait_for_sync=roll(0.0, 30.0),
    )


def _survey(number: int) -> Survey:
    roll = Roll((number,))
    suspect = MEANINGS["control_node_suspect"].found("control_node_suspect", "planted")
    return Survey(reference=roll(Clock(0.0, 0.0), _clock(roll), None), doubt=roll(None, None, suspect))


clocks = _numbers.map(lambda number: _clock(Roll((number,))))
states = st.tuples(_numbers, _numbers).map(_state)
ancient_states = states.filter(lambda state: not state.time_config)
wishes = st.tuples(_numbers, _numbers).map(_wish)
surveys = _numbers.map(_survey)

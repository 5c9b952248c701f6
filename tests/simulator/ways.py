# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vCenter's two ways to each host, and what becomes of a host whose firewall shuts one of them.

vCenter reaches a host on tcp/443; the host sends a heartbeat to vCenter's udp/902 every 10 seconds, and one that was not heard for 60
seconds is not responding (Broadcom KB 323612, KB 435077). Nothing runs by itself here: whoever looks at the world calls tick() first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host import Host
    from .world import World

HTTPS = 443
HEARTBEAT = 902


@dataclass
class Shut:
    """A host that has a way shut: which, since when (virtual time), and whether that has cost it its connection."""

    item: Any
    since: dict[str, float] = field(default_factory=dict)
    lost: bool = False


class Ways:
    """Only hosts with a shut way are in here, so that a healthy fleet of 5,000 costs nothing."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.timeout = float(world.options["heartbeat_timeout"])
        self._shut: dict[str, Shut] = {}

    def look(self, host: Host) -> None:
        """A host's firewall may have changed. When both ways are open again vCenter finds a host it had lost by itself."""
        item = host.system
        if item is None or self.world.kind == "esxi":
            return
        closed = []
        if not host.lets_in_from("tcp", HTTPS, self.world.address):
            closed.append("in")
        if not host.lets_out_to("udp", HEARTBEAT, self.world.address):
            closed.append("out")
        shut = self._shut.get(item.moid)
        if not closed:
            if shut is not None:
                del self._shut[item.moid]
                if shut.lost:
                    self.world.move(item, "connected")
            return
        now = self.world.virtual_now()
        if shut is None:
            shut = self._shut[item.moid] = Shut(item)
        shut.since = {way: shut.since.get(way, now) for way in closed}
        self._judge(shut, now)

    def tick(self) -> None:
        """Hosts whose time is up are lost now."""
        self.world.power.tick()
        if self._shut:
            now = self.world.virtual_now()
            for shut in list(self._shut.values()):
                self._judge(shut, now)

    def _judge(self, shut: Shut, now: float) -> None:
        host = shut.item.state
        if host.connection != "connected":
            return
        # Whether ESXi lets a connection that stands go on is not documented, hence the option.
        at_once = host.options["firewall_established"] == "cut"
        if any(now >= since + (0.0 if at_once and way == "in" else self.timeout) for way, since in shut.since.items()):
            shut.lost = True
            self.world.move(shut.item, "notResponding")

    def decided(self, item: Any) -> None:
        """Somebody sets the host's connection state: from here on it is not the firewall's doing, and a heartbeat window begins anew."""
        shut = self._shut.get(item.moid)
        if shut is not None:
            shut.lost = False
            shut.since = dict.fromkeys(shut.since, self.world.virtual_now())

    def lost(self, item: Any) -> bool:
        """Whether the firewall is why the host does not respond."""
        shut = self._shut.get(item.moid)
        return shut is not None and shut.lost

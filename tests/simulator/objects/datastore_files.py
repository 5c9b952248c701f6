# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of datastores over HTTPS: what people upload, and the .vmx of machines, which names the key of an encrypted one."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote

if TYPE_CHECKING:
    from ..crypto import MachineFile
    from ..session import Session
    from ..world import World
    from .inventory import Datastore


@dataclass
class Request:
    """One request for /folder/PATH?dcPath=...&dsName=... (Web Services SDK guide, "HTTP Access to vSphere Server Files").

    What real servers answer: 201 for a new file and 204 for a removed one, 405 for a directory that is to be removed, and a PUT makes the
    folders of its path (community.vmware vsphere_file and vsphere_copy). The other statuses are HTTP's own words for the case."""

    world: World
    session: Session | None
    method: str
    path: str
    query: str
    body: bytes
    store: Datastore | None = field(init=False, default=None)
    center: str = field(init=False, default="")

    def __post_init__(self) -> None:
        given = parse_qs(self.query)
        name, center = given.get("dsName", [""])[0], given.get("dcPath", [""])[0]
        # Some clients encode the datacenter twice, as vSphere's own browser does.
        self.center = unquote(center) or ("ha-datacenter" if self.world.kind == "esxi" else "")
        with self.world.lock:
            self.store = _named(self.world, name, self.center)

    @property
    def name(self) -> str:
        return unquote(self.path.removeprefix("/folder").lstrip("/"))

    @property
    def success(self) -> int:
        return {"PUT": 201, "DELETE": 204}.get(self.method, 200)

    def described(self) -> dict[str, Any]:
        """What the journal says: never the content."""
        more = {"bytes": len(self.body)} if self.method == "PUT" else {}
        return {"dcPath": self.center, "dsName": self.store.title if self.store is not None else None, "path": self.name, **more}

    def answer(self) -> tuple[int, bytes]:
        """HTTP status and content."""
        if self.session is None:
            return 401, b""
        if self.method not in ("GET", "HEAD", "PUT", "DELETE"):
            return 405, b""
        with self.world.lock:
            self.world.ways.tick()
            if self.store is None or not self.name:
                return 404, b""
            writes = self.method in ("PUT", "DELETE")
            if not self.world.allowed(self.session, "Datastore.FileManagement" if writes else "Datastore.Browse", self.store):
                return 403, b""
            if not self.store.reachable:
                return 503, b""
            if self.method == "PUT":
                return self._put(self.store)
            if self.method == "DELETE":
                return self._delete(self.store)
            found = content(self.world, self.store, self.name)
            return (200, found) if found is not None else (200 if is_folder(self.store, self.name) else 404, b"")

    def _put(self, store: Datastore) -> tuple[int, bytes]:
        options = store.mounts[0].state.options
        old = store.files.get(self.name)
        if store.read_only:
            return 403, b""
        if self.name.endswith("/") or is_folder(store, self.name):
            return 405, b""
        if len(self.body) - len(old or b"") > store.left:
            return int(options["no_space_status"]), b""
        store.files[self.name] = self.body
        add_folders(store, self.name)
        self.world.touch()
        return (201 if old is None else int(options["put_existing"])), b""

    def _delete(self, store: Datastore) -> tuple[int, bytes]:
        if store.read_only:
            return 403, b""
        if self.name not in store.files:
            return (405 if is_folder(store, self.name) else 404), b""
        del store.files[self.name]
        self.world.touch()
        return 204, b""


def _named(world: World, name: str, center: str) -> Datastore | None:
    for item in world.hosts:
        for one in item.stores:
            if one.title == name and (world.kind == "esxi" or one.datacenter.title == center or _path(one.datacenter) == center):
                return one
    return None


def _path(center: Any) -> str:
    """The inventory path of a datacenter, "folder/DC1"."""
    return "/".join(reversed(center.path_names[:-1]))


def content(world: World, store: Datastore, name: str) -> bytes | None:
    """An uploaded file, or the .vmx of a machine."""
    if name in store.files:
        return store.files[name]
    machine = world.crypto.files.get(f"[{store.title}] {name}")
    return vmx(machine).encode() if machine is not None else None


def is_folder(store: Datastore, name: str) -> bool:
    return name.strip("/") in store.folders


def add_folders(store: Datastore, name: str) -> None:
    parts = name.strip("/").split("/")[:-1]
    store.folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def dump(world: World) -> dict[str, Any]:
    """For `/state`: what was uploaded, by name and size."""
    stores = {one.moid: one for item in world.hosts for one in item.stores if one.files}
    return {
        f"{one.title} ({one.moid})": {
            "files": {name: len(data) for name, data in sorted(one.files.items())},
            "folders": sorted(one.folders),
        }
        for one in stores.values()
    }


def vmx(file: MachineFile) -> str:
    """The lines that matter. keySafe is a key locator: the provider and the key in clear, then the machine's own key, wrapped (govmomi's
    crypto package parses it; there is nothing behind the wrapped part here)."""
    lines = ['.encoding = "UTF-8"', f'displayName = "{file.name}"', f'uuid.bios = "{file.uuid}"']
    if file.home is not None:
        wrapped = base64.b64encode(hashlib.sha512(file.path.encode()).digest()).decode()
        provider, key, kind, data = (_escaped(text) for text in (*file.home, "HMAC-SHA-256", wrapped))
        lines.append(f'encryption.keySafe = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/{provider}/{key},{kind},{data}))"')
    elif file.annotation:
        lines.append(f'annotation = "{file.annotation}"')
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Key locators escape all but letters and digits, with small hexadecimal digits."""
    out = quote(text, safe="").replace("-", "%2D").replace(".", "%2E").replace("_", "%5F")
    return "".join(part if number == 0 else "%" + part[:2].lower() + part[2:] for number, part in enumerate(out.split("%")))

# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""FileManager (delete, make a folder) and the browser of a datastore (what files there are), on what was uploaded over /folder."""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..errors import SoapFault
from ..plain import data
from ..registry import Call, Managed, operation, prop
from .datastore_files import add_folders, content, is_folder
from .inventory import array

if TYPE_CHECKING:
    from ..world import World
    from .inventory import Datastore


def resolved(world: World, name: str, datacenter: Any = None) -> tuple[Datastore, str]:
    """The datastore and the path behind "[datastore1] folder/file"."""
    if not name.startswith("[") or "]" not in name:
        raise SoapFault("InvalidDatastorePath", f"Invalid datastore path '{name}'.", datastorePath=name)
    store, _bracket, path = name[1:].partition("]")
    wanted = datacenter._moId if datacenter is not None else None
    for item in world.hosts:
        for one in item.stores:
            if one.title == store and wanted in (None, one.datacenter.moid):
                return one, path.strip().strip("/")
    raise SoapFault("InvalidDatastore", f"Invalid datastore: {store}", name=store)


def _missing(name: str) -> SoapFault:
    return SoapFault("FileNotFound", f"File {name} was not found", file=name)


class FileManager(Managed):
    TYPE = vim.FileManager

    def _allowed(self, call: Call, store: Datastore, privilege: str) -> None:
        self.world.check(call, privilege, store)
        if not store.reachable or store.read_only:
            raise SoapFault("CannotAccessFile", f"Unable to access file {store.title}", file=f"[{store.title}]")

    @operation(privilege="System.View", writes=True)
    def DeleteDatastoreFile_Task(self, call: Call, name: str, datacenter: Any = None) -> Any:
        store, path = resolved(self.world, name, datacenter)
        self._allowed(call, store, "Datastore.FileManagement")

        def work() -> None:
            files = [one for one in store.files if one == path or one.startswith(f"{path}/")]
            if not files and not is_folder(store, path):
                raise _missing(name)
            for one in files:
                del store.files[one]
            store.folders = {one for one in store.folders if one != path and not one.startswith(f"{path}/")}

        return self.world.start_task(call, "vim.FileManager.deleteFile", self, work)

    @operation(privilege="System.View", writes=True)
    def MakeDirectory(self, call: Call, name: str, datacenter: Any = None, createParentDirectories: bool = False) -> None:
        store, path = resolved(self.world, name, datacenter)
        self._allowed(call, store, "Datastore.FileManagement")
        if is_folder(store, path) or path in store.files:
            raise SoapFault(
                "FileAlreadyExists", f"Cannot complete the operation because the file or folder {name} already exists", file=name
            )
        above = path.rpartition("/")[0]
        if above and not createParentDirectories and not is_folder(store, above):
            raise _missing(name)
        add_folders(store, f"{path}/.")
        self.world.touch()


class HostDatastoreBrowser(Managed):
    """The browser of one datastore, or of all that a host has. A search lists what was uploaded to a folder; machines' files are not listed."""

    TYPE = vim.host.DatastoreBrowser

    def __init__(self, world: World, moid: str, owner: Any, stores: Callable[[], list[Datastore]]) -> None:
        super().__init__(world, moid)
        self.owner = owner
        self.stores = stores

    @property
    def entity(self) -> Managed:
        return self.owner

    @prop
    def datastore(self) -> Any:
        return array("vim.Datastore", [one.ref for one in self.stores()])

    @operation(privilege="System.View")
    def SearchDatastore_Task(self, call: Call, datastorePath: str, searchSpec: Any = None) -> Any:
        return self._search(call, datastorePath, searchSpec)

    def _search(self, call: Call, where: str, spec: Any) -> Any:
        store, path = resolved(self.world, where)
        self.world.check(call, "Datastore.Browse", store)
        patterns = list(spec.matchPattern) if spec is not None and spec.matchPattern else ["*"]

        def work() -> Any:
            if path and not is_folder(store, path):
                raise _missing(where)
            rows = []
            for name in sorted({*store.files, *store.folders}):
                folder, _slash, last = name.rpartition("/")
                if folder == path and any(fnmatch.fnmatchcase(last, pattern) for pattern in patterns):
                    held = content(self.world, store, name)
                    kind = vim.host.DatastoreBrowser.FolderInfo if held is None else vim.host.DatastoreBrowser.FileInfo
                    rows.append(kind(path=last, fileSize=len(held or b""), modification=datetime.datetime.now(datetime.timezone.utc)))
            folder_path = f"[{store.title}] {path}".rstrip() + ("/" if path else " ")
            return data("vim.host.DatastoreBrowser.SearchResults", {"datastore": store.ref, "folderPath": folder_path, "file": rows})

        return self.world.start_task(call, "vim.host.DatastoreBrowser.search", self, work)

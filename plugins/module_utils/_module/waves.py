# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many targets are changed before anybody looks whether it went well. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .._domain.errors import BadInput

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Waves:
    """``sizes``: a number and whether it is a percentage of all selected targets; empty for all at once.
    ``max_failures`` None: whatever happens."""

    sizes: tuple[tuple[int, bool], ...] = ()
    max_failures: int | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Any], noun: str = "host") -> Waves:
        most = params.get("max_failures")
        if most is not None and most < 0:
            raise BadInput(f"max_failures {most} is below 0", hint=f"0 stops after the first {noun} that fails.")
        sizes = tuple(_size(position, str(text).strip(), noun) for position, text in enumerate(params.get("waves") or (), 1))
        return cls(sizes, 0 if most is None and sizes else most)

    def over(self, items: Sequence[ItemT], total: int) -> Iterator[list[ItemT]]:
        """Cut ``items``, those of ``total`` targets that are to be changed; what no wave has room for is in none."""
        begin = 0
        for number, is_percentage in self.sizes or ((100, True),):
            end = begin + (max(1, -(-number * total // 100)) if is_percentage else number)
            if items[begin:end]:
                yield list(items[begin:end])
            begin = end


def _size(position: int, text: str, noun: str) -> tuple[int, bool]:
    number = text.removesuffix("%").strip()
    is_percentage = text.endswith("%")
    if number.isascii() and number.isdigit() and 0 < int(number) <= (100 if is_percentage else 10**6):
        return int(number), is_percentage
    raise BadInput(
        f"waves entry {position}, {text!r}, is neither a number of {noun}s nor a percentage", hint="Write for example [1, 10%, 100%]."
    )


class Progress:
    """One line a wave, in a file that others may follow. Raises BadInput where it cannot be written."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        if path:
            try:
                with open(path, "a", encoding="utf-8"):
                    pass
            except OSError as problem:
                raise BadInput(
                    f"progress_file {path} cannot be written: {problem.strerror}", hint="Leave it out, or name another."
                ) from None

    def say(self, line: str) -> None:
        if self._path:
            try:
                with open(self._path, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError:
                self._path = None  # a full disk must not end a run half way

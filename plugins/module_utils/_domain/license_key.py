# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Licence keys as people paste them, and as nobody but a server may see them. Pure. Private to this collection.

A key is five groups of five out of 32 letters and digits. What is pasted is laid out as five kinds of characters: letters
and digits, dashes, spaces, marks that set text apart, and other symbols; what cannot be seen is dropped. A key is taken only
where it stands alone between marks. The rest is a note. So nothing is guessed:

- Between groups stand dashes (``_`` is one), spaces, both or neither: 25 in a row are a key, 5-10-5-5 is one that lost a dash.
- Within a group a space is dropped between two dashes only, where a line was wrapped. Other groupings are refused.
- A comma, colon, equals sign, bar, ``#``, quote or bracket sets a note apart; other symbols do so at the edge of a word;
  a space does not: what stands beside it may be part of the key.
- Letters that look alike are named, never replaced.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field

ALPHABET = "0123456789ACDEFGHJKLMNPQRTUVWXYZ"
EVALUATION = "00000-00000-00000-00000-00000"
LONGEST = 4096

_EACH = "Leave one of them, or use license_keys with one entry for each key."
_MEANT = dict(zip("BIOS", "8105", strict=True))
# Cyrillic, then Greek.
_LOOKS = dict(zip("АВСЕНІЈКМОРЅТХУасеіјорѕхуΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABCEHIJKMOPSTXYACEIJOPSXYABEZHIKMNOPTYXO", strict=True))
_CATEGORIES = {"Cc": "", "Cf": "", "Pd": "-", **dict.fromkeys(("Ps", "Pe", "Pi", "Pf"), "|")}
_CHARACTERS = {**dict.fromkeys("_\N{MINUS SIGN}\N{HYPHEN BULLET}\N{MODIFIER LETTER MINUS SIGN}", "-"), **dict.fromkeys("\"'`,;:=|#<>", "|")}
# A footnote's number is no digit of the key before it.
_RAISED = ("<super>", "<sub>", "<circle>", "<square>")

_SET_APART = re.compile(r"(?<![^ |])\.|\.(?![^ |])")
_PIECE = re.compile(r"[^|]+")
_W = r"[^ .|-]"
_WRAPPED = re.compile(rf"(- *)({_W}(?: *{_W}){{4}})(?= *-)")
_ONE = rf"{_W}{{5}}(?:[ -]*{_W}{{5}}){{4}}"
_KEYS = re.compile(rf"{_ONE}(?:-* [ -]*{_ONE})*")
_ATTEMPT = re.compile(rf"(?<!{_W}){_W}{{4,6}}(?:-{_W}{{4,6}}){{4}}(?!{_W})")
_BESIDE = re.compile(rf"(?<![^ ]){_W}{{5}}(?:-{_W}{{5}}){{4}}(?![^ ])")

_GAP = r"[\s_\u2010-\u2015\u2212-]+"
_DASHED, _SPACED = (
    re.compile(rf"(?<![0-9A-Za-z])[0-9A-Za-z]{{5}}(?:{gap}[0-9A-Za-z]{{5}}){{4,}}(?![0-9A-Za-z])")
    for gap in (_GAP.replace(r"\s", ""), _GAP)
)
_BARE = re.compile(rf"(?ai)(?<![0-9A-Z])(?=[A-Z]*[0-9])(?=[0-9]*[A-Z])[{ALPHABET}]{{25}}(?![0-9A-Z])")


class KeyMistake(Exception):
    """Why a text is no key, in words that never hold one. ``position`` counts from 1 in the text as it was pasted."""

    def __init__(self, code: str, cause: str, hint: str, position: int | None = None) -> None:
        super().__init__(f"{cause}. {hint}")
        self.code, self.cause, self.hint, self.position = code, cause, hint, position


class _Quiet(str):
    """A text that debuggers, diffs and ``dataclasses.asdict`` show masked; a server gets it whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_masked(self))


@dataclass(frozen=True, order=True, repr=False)
class LicenseKey:
    """A well-formed key. Whoever needs it whole says ``text``; it is shown masked."""

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        groups = self.text.split("-")
        if [len(group) for group in groups] != [5] * 5 or not set("".join(groups)) <= set(ALPHABET):
            raise _malformed("this is no licence key in its plain form")
        object.__setattr__(self, "text", _Quiet(self.text))

    @property
    def masked(self) -> str:
        return _masked(self.text)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The same for the same key in every run, so that keys can be told apart without being shown."""
        return hashlib.sha256(b"fleetcare.esxi license key\0" + self.text.encode()).hexdigest()[:12]

    @property
    def is_evaluation(self) -> bool:
        return self.text == EVALUATION

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return f"LicenseKey({self.masked})"


def read_key(text: str) -> LicenseKey:
    """The one key in a text. Raises KeyMistake."""
    text = str(text)
    if len(text) > LONGEST:
        raise _malformed(f"there are {len(text)} characters, far more than a key has")
    laid, places = _laid_out(text)
    keys: dict[str, list[int]] = {}
    notes: list[list[int]] = []
    for piece in _PIECE.finditer(laid):
        letters = [at for at in range(*piece.span()) if laid[at] not in " -"]
        if not _KEYS.fullmatch(_WRAPPED.sub(lambda group: group[1] + group[2].replace(" ", ""), piece[0].strip(" -"))):
            notes.append(letters)
            continue
        for first in range(0, len(letters), 25):
            spots = letters[first : first + 25]
            keys.setdefault("".join(laid[at] for at in spots), [places[at] for at in spots])
    if not keys:
        raise _no_key(text, laid, places, max(notes, key=len, default=[]))
    if len(keys) > 1:
        raise KeyMistake("key_ambiguous", f"{len(keys)} different keys stand in one place", _EACH)
    if any(_ATTEMPT.search(laid, note[0], note[-1] + 1) for note in notes if note):
        raise KeyMistake("key_ambiguous", "a second key, or part of one, stands beside the key", _EACH)
    found, spots = next(iter(keys.items()))
    for number, letter in enumerate(found):
        if letter not in ALPHABET:
            raise _no_letter(text, spots[number], f"character {number % 5 + 1} of group {number // 5 + 1} (position {spots[number]})")
    return LicenseKey("-".join(found[first : first + 5] for first in range(0, 25, 5)))


def scrub(text: str) -> str:
    """A server's own words with every key in them masked; what merely resembles a key is masked too."""
    before = ""
    while text != before:
        before = text
        text = _BARE.sub(lambda bare: _masked(bare[0]), _SPACED.sub(_run_masked, _DASHED.sub(_run_masked, text)))
    return text


def _run_masked(run: re.Match[str]) -> str:
    """Groups in a row: whole keys, or one somewhere among words of the same length."""
    parts = re.split(f"({_GAP})", run[0])
    groups, gaps = parts[::2], parts[1::2]
    if len(groups) % 5:
        return groups[0] + "".join(f"{gap}*****" for gap in gaps[:-1]) + gaps[-1] + groups[-1]
    keys = ["-".join(groups[first : first + 5]) for first in range(0, len(groups), 5)]
    return "".join(_masked(key) + gap for key, gap in zip(keys, [*gaps[4::5], ""], strict=True))


def _masked(text: str) -> str:
    return f"{text[:5]}-*****-*****-*****-{text[-5:]}".upper()


def _laid_out(text: str) -> tuple[str, list[int]]:
    """The text as kinds of characters, see ``_kind``, and where each stands in it."""
    kinds: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text, 1):
        kind = _kind(char)
        if kind and not (kind == "." and kinds[-1:] == ["."]):
            kinds.append(kind)
            places.append(place)
    return _SET_APART.sub("|", "".join(kinds)), places


@functools.lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    """A letter or digit, ``-``, a space, ``|`` for what sets apart, ``.`` for other symbols; nothing if unseen."""
    plain = unicodedata.normalize("NFKC", char)
    if len(plain) > 1 or unicodedata.decomposition(char).startswith(_RAISED):
        return char if any(part.isalnum() for part in plain) else "."
    if plain.isspace():
        return " "
    category = unicodedata.category(plain)
    if plain in _CHARACTERS or category in _CATEGORIES:
        return _CHARACTERS.get(plain) or _CATEGORIES[category]
    if category[0] in "PS":
        return "."
    # Some letters of other alphabets have a capital in ASCII.
    return plain.upper() if plain.isascii() else plain


def _malformed(cause: str, hint: str = "", position: int | None = None) -> KeyMistake:
    return KeyMistake("key_malformed", cause, hint or "A key is five groups of five letters and digits, joined by dashes.", position)


def _no_letter(text: str, place: int, where: str) -> KeyMistake:
    char = text[place - 1]
    plain = _kind(char)
    name = plain if plain in _MEANT else unicodedata.name(char, f"U+{ord(char):04X}")
    hint = "Keys are made of digits and the letters A to Z without B, I, O and S."
    if plain in _MEANT:
        hint = f"{_MEANT[plain]} was probably meant."
    elif plain in _LOOKS:
        hint = f"It looks like {_LOOKS[plain]} and is another letter; type it anew."
    return _malformed(f"{where} is {name}, which no key contains", hint, place)


def _no_key(text: str, laid: str, places: list[int], letters: list[int]) -> KeyMistake:
    """What is wrong with the piece that comes nearest to a key, which is the one with most letters and digits."""
    if not letters:
        return _malformed("there is no letter and no digit", "Often a variable is empty there.")
    if "*****" in text:
        return _malformed("this is a key as it is shown, with its middle masked", "Paste the whole key.", text.index("*****") + 1)
    piece = laid[letters[0] : letters[-1] + 1]
    if _BESIDE.search(piece):
        return _malformed("other words stand beside the key", "Paste the key alone, or set them apart: KEY # note.")
    odd = next((at for at in letters if laid[at] == "." or not laid[at].isascii()), None)
    if odd is not None and 20 <= len(letters) <= 30:
        return _no_letter(text, places[odd], f"position {places[odd]}")
    groups = re.split("[ -]+", piece)
    if len(groups) == 5:
        wrong = [f"group {number} has {len(group)}" for number, group in enumerate(groups, 1) if len(group) != 5]
        return _malformed(f"{' and '.join(wrong)} instead of 5 letters and digits")
    counted = "in groups that are no fives" if len(letters) == 25 else "where a key has 25"
    return _malformed(f"letters and digits: {len(letters)}, {counted}")

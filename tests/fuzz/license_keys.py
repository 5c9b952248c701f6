# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Licence keys, spoilt at random: ``python -m tests.fuzz.license_keys --count 1000000 --seed 7``.

What a text means is known from how it was made: a key is drawn as five groups, gaps are put between them, harmless things
around and into them, and at most one harmful thing is done, before the harmless ones. The reader is asked afterwards.
Texts that are not made from a key are judged by a second look at what was taken, see ``judge_taken``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_key import KeyMistake, LicenseKey, read_key, scrub

LETTERS = "UVWXYZT0123456789JKLMNPQRHACDEFG"
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e\x00\x07\x7f"
BLANKS = " \t\n\r\u00a0\u2000\u2003\u2009\u202f\u205f\u3000\u2028\x0b"
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212\uff0d\ufe63_"
STRANGERS = "BIOSbios" + "\u0410\u0421\u0391\u039f\u03bf\u0131\u00df\u00e9\u017f\u0660\u00b2\u2460\u0301\u6f22" + "."
QUOTES = (('"', '"'), ("'", "'"), ("`", "`"), ("(", ")"), ("[", "]"), ("<", ">"), ("\u201e", "\u201c"), ("\u00ab", "\u00bb"), ("**", "**"))
HEADS = ("", "", "", "Key:", "key: ", "license=", "Licence key:\n", "1. ", "- ", "esx01, ", "vSphere 8 | ", "\uff1a", "\u2022 ")
TAILS = ("", "", "", ".", ",", ";", " # esx-01", " (vSphere 8 Enterprise Plus)", "\t| 4", ", 32 cores", "!", "...", "-", "\u3002", "(eval)")

Words = list[str]


def draw(dice: random.Random) -> Words:
    return ["".join(dice.choices(LETTERS, k=5)) for _group in range(5)]


def sprinkled(dice: random.Random, text: str, chars: str, rate: float) -> str:
    return "".join(char + dice.choice(chars) if dice.random() < rate else char for char in text)


def dressed(dice: random.Random, groups: Words) -> str:
    """The groups as somebody may write them, all of it harmless."""
    gap = dice.choice(["-", "-", "-", dice.choice(DASHES), " ", "", dice.choice(BLANKS), "any"])
    text = groups[0]
    for group in groups[1:]:
        some = "".join(dice.choices(DASHES + BLANKS, k=dice.randint(0, 3))) if gap == "any" else gap
        text += some + group
    how = dice.random()
    if how < 0.2:
        text = text.lower()
    elif how < 0.3:
        text = "".join(char.lower() if dice.random() < 0.5 else char for char in text)
    elif how < 0.4:
        text = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" and dice.random() < 0.3 else char for char in text)
    elif how < 0.45:
        text = "".join(chr(0x1D400 + ord(char) - 65) if "A" <= char <= "Z" else char for char in text)
    return text


def wrapped(dice: random.Random, text: str) -> str:
    opening, closing = dice.choice(QUOTES) if dice.random() < 0.3 else ("", "")
    tail = dice.choice(TAILS)
    text = dice.choice(HEADS) + opening + text + closing + (tail if (closing, tail) != ("**", "-") else "")
    if dice.random() < 0.3:
        text = dice.choice(BLANKS) + text + dice.choice(BLANKS)
    return sprinkled(dice, text, UNSEEN, 0.1) if dice.random() < 0.3 else text


def plain(groups: Words) -> str:
    return "-".join(groups)


def spot(dice: random.Random) -> tuple[int, int]:
    return dice.randrange(5), dice.randrange(5)


def with_char(groups: Words, at: tuple[int, int], new: str, width: int = 1) -> Words:
    group = groups[at[0]]
    return [*groups[: at[0]], group[: at[1]] + new + group[at[1] + width :], *groups[at[0] + 1 :]]


# Each way makes a text and says which key it is; None where it must be refused.
Made = tuple[str, "str | None"]


def harmless(dice: random.Random) -> Made:
    groups = draw(dice)
    return wrapped(dice, dressed(dice, groups)), plain(groups)


def inserted(dice: random.Random) -> Made:
    new = dice.choice(LETTERS + LETTERS.lower() + STRANGERS)
    # At the edge a full stop only ends a sentence.
    at = (dice.randrange(5), dice.randint(1, 4)) if new == "." else spot(dice)
    groups = with_char(draw(dice), at, new, 0)
    return wrapped(dice, dressed(dice, groups)), None


def appended(dice: random.Random) -> Made:
    extra = "".join(dice.choices(LETTERS + LETTERS.lower() + STRANGERS[:-1], k=dice.randint(1, 6)))
    joined = dressed(dice, draw(dice))
    glue = dice.choice(["", "", "-", " ", ".", "/", "\u200b"])
    return wrapped(dice, joined + glue + extra if dice.random() < 0.5 else extra + glue + joined), None


def deleted(dice: random.Random) -> Made:
    return wrapped(dice, dressed(dice, with_char(draw(dice), spot(dice), ""))), None


def without_group(dice: random.Random) -> Made:
    groups = draw(dice)
    del groups[dice.randrange(5)]
    return wrapped(dice, dressed(dice, groups)), None


def replaced(dice: random.Random) -> Made:
    """By another letter of the alphabet it is another key, and that is what it says."""
    new = dice.choice(LETTERS if dice.random() < 0.3 else STRANGERS)
    groups = with_char(draw(dice), spot(dice), new)
    return wrapped(dice, dressed(dice, groups)), plain(groups) if new in LETTERS else None


def swapped(dice: random.Random) -> Made:
    groups = draw(dice)
    group, at = dice.randrange(5), dice.randrange(4)
    word = groups[group]
    groups[group] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return wrapped(dice, dressed(dice, groups)), plain(groups)


def shifted(dice: random.Random) -> Made:
    """A dash one place off."""
    text = plain(draw(dice))
    at = dice.choice([5, 11, 17, 23])
    text = text[: at - 1] + "-" + text[at - 1] + text[at + 1 :]
    return wrapped(dice, text), None


def folded(dice: random.Random) -> Made:
    """A line wrapped within a group: between two dashes nothing is lost, at the ends it could be."""
    groups = draw(dice)
    group, at = dice.randrange(5), dice.randint(1, 4)
    split = [*groups[:group], groups[group][:at] + dice.choice(BLANKS) + groups[group][at:], *groups[group + 1 :]]
    return plain(split), plain(groups) if 0 < group < 4 else None


def twice(dice: random.Random) -> Made:
    groups = draw(dice)
    between = dice.choice([" ", "\n", ", ", ";", " # ", ",", " - "])
    return wrapped(dice, dressed(dice, groups) + between + dressed(dice, groups)), plain(groups)


def two(dice: random.Random) -> Made:
    between = dice.choice([" ", "\n", ", ", ";", " # ", "", "-", "/", ".", ","])
    second = with_char(draw(dice), spot(dice), "") if dice.random() < 0.3 else draw(dice)
    return wrapped(dice, plain(draw(dice)) + between + plain(second)), None


def masked(dice: random.Random) -> Made:
    groups = draw(dice)
    return wrapped(dice, f"{groups[0]}-*****-*****-*****-{groups[4]}"), None


# And two of which nothing is known.
def noise(dice: random.Random) -> str:
    pool = LETTERS + "BIOS" + "-" * 30 + BLANKS + UNSEEN + DASHES + STRANGERS + ",;:#()."
    return "".join(dice.choices(pool, k=dice.randint(0, 60))) + chr(dice.randrange(0x110000)) * (dice.random() < 0.3)


def rough(dice: random.Random) -> str:
    text = list(dressed(dice, draw(dice)))
    for _again in range(dice.randint(1, 4)):
        at = dice.randrange(len(text) + 1)
        char = chr(
            dice.choice([dice.randrange(0x110000), dice.randrange(0x250), dice.randrange(0x2000, 0x2100), ord(dice.choice(LETTERS))])
        )
        text[at : at + dice.randrange(2)] = [char]
    return "".join(text)


KNOWN: tuple[Callable[[random.Random], Made], ...] = (
    *(harmless, inserted, appended, deleted, without_group, replaced, swapped, shifted, folded, twice, two, masked),
)
UNKNOWN: tuple[Callable[[random.Random], str], ...] = (noise, rough)


def solid(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"


def judge_taken(text: str, key: str) -> str:
    """What is wrong with taking ``key`` out of ``text``: its 25 characters have to stand there, one after the other, with
    dashes and blanks between them at most, and nothing solid beside them."""
    seen = [char for char in text if unicodedata.category(char) not in ("Cf", "Cc") or char.isspace()]
    spots = [at for at, char in enumerate(seen) if solid(char)]
    wanted = key.replace("-", "")
    for first in range(len(spots) - 24):
        run = spots[first : first + 25]
        if "".join(unicodedata.normalize("NFKC", seen[at]) for at in run).translate(UPPER) != wanted:
            continue
        between = [unicodedata.normalize("NFKC", seen[at]) for at in range(run[0], run[-1]) if not solid(seen[at])]
        beside = seen[max(run[0] - 1, 0) : run[0]] + seen[run[-1] + 1 : run[-1] + 2]
        joined = all(char.isspace() or char in DASHES + OTHER_DASHES for char in between)
        if joined and not any(map(solid, beside)):
            return ""
    return "the key does not stand in the text"


OTHER_DASHES = "".join(char for char in map(chr, range(0x20000)) if unicodedata.category(char) == "Pd") + "\u2043\u02d7"
UPPER = {small: small - 32 for small in range(ord("a"), ord("z") + 1)}


def secrets(text: str) -> set[str]:
    """What no message may hold: any five letters and digits in a row of the text. Words of our own are not of that kind."""
    flat = "".join(char for char in unicodedata.normalize("NFKC", text) if char.isascii() and char.isalnum()).upper()
    return {part for at in range(len(flat) - 4) if any(map(str.isdigit, part := flat[at : at + 5])) and not part.isdigit()}


def problem(text: str, truth: str | None, known: bool) -> tuple[str, str]:
    """How the reader took it, and what is wrong with that, if anything."""
    try:
        key = read_key(text)
    except KeyMistake as mistake:
        said = f"{mistake} {mistake!r}".upper()
        if leaked := [part for part in secrets(text) if part in said]:
            return mistake.code, f"the message holds {leaked}"
        if mistake.position is not None and not 1 <= mistake.position <= len(text):
            return mistake.code, f"position {mistake.position}"
        return mistake.code, "refused a good key" if truth else ""
    if known and key.text != truth:
        return "accepted", f"taken as {key.text}"
    if len(key.text) != 29 or key.text[5::6] != "----" or set(key.text.replace("-", "")) - set(LETTERS):
        return "accepted", "no key by its form"
    if read_key(key.text) != key or LicenseKey(key.text) != key:
        return "accepted", "read again it is another"
    if key.text[6:23] in f"{key} {key!r} {[key]}" or key.text in scrub(f"refused {key.text}."):
        return "accepted", "shown"
    return "accepted", judge_taken(text, key.text)


def run(count: int, seed: int) -> Counter[str]:
    """Raises AssertionError with the first text that is taken wrongly; its number and the seed make it again."""
    found: Counter[str] = Counter()
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")
        way = dice.randrange(len(KNOWN) + len(UNKNOWN))
        known = way < len(KNOWN)
        text, truth = KNOWN[way](dice) if known else (UNKNOWN[way - len(KNOWN)](dice), None)
        name = (KNOWN[way] if known else UNKNOWN[way - len(KNOWN)]).__name__
        try:
            taken, wrong = problem(text, truth, known)
        except Exception as defect:
            taken, wrong = "traceback", f"{type(defect).__name__}: {defect}"
        if wrong:
            raise AssertionError(f"seed {seed}, number {number}, {name}: {wrong}: {text!r}, meant {truth}")
        found[taken] += 1
    return found


def _share(job: tuple[int, int]) -> Counter[str]:
    return run(*job)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    begun = time.monotonic()
    # The seeds of the parts lie far from those that a person gives.
    shares = [(len(range(part, asked.count, asked.processes)), asked.seed + part * 1_000_003) for part in range(asked.processes)]
    found: Counter[str] = Counter()
    try:
        if asked.processes == 1:
            found = run(*shares[0])
        else:
            with multiprocessing.Pool(asked.processes) as pool:
                for each in pool.imap_unordered(_share, shares):
                    found += each
    except AssertionError as wrong:
        print(f"licence keys: {wrong}")
        return 1
    counted = ", ".join(f"{number} {taken}" for taken, number in sorted(found.items()))
    print(f"licence keys: {asked.count} texts, seed {asked.seed}: {counted}; {asked.count / (time.monotonic() - begun):.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())

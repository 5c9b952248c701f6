# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Licence keys: what people paste, what is taken for a key, and that nobody sees one."""

from __future__ import annotations

import copy
import pickle
import re
import time
from dataclasses import FrozenInstanceError, asdict, astuple, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.license_key import (
    ALPHABET,
    EVALUATION,
    LONGEST,
    KeyMistake,
    LicenseKey,
    read_key,
    scrub,
)
from tests.fuzz.license_keys import run

# Not a key of anybody: no server takes it.
KEY = "4F1WA-7C2DE-0GH3J-K8LMN-P9QRT"
OTHER = "5F1WA-7C2DE-0GH3J-K8LMN-P9QRT"
BARE = KEY.replace("-", "")
WIDE = "".join(chr(ord(char) + 0xFEE0) for char in KEY)

KEYS = st.lists(st.text(ALPHABET, min_size=5, max_size=5), min_size=5, max_size=5).map("-".join)

TAKEN = {
    "plain": KEY,
    "small letters": KEY.lower(),
    "mixed case": KEY.title(),
    "blanks around": f"  {KEY}\t\r\n",
    "spaces for dashes": KEY.replace("-", " "),
    "bare": BARE,
    "bare and small": BARE.lower(),
    "one dash lost": KEY.replace("-", "", 1),
    "first and last dash lost": f"{KEY[:5]}{KEY[6:23]}{KEY[24:]}",
    "spaces around dashes": KEY.replace("-", " - "),
    "dashes doubled": KEY.replace("-", "--"),
    "mixed separators": f"{KEY[:5]} {KEY[6:11]}_{KEY[12:17]}\u2013{KEY[18:23]}{KEY[24:]}",
    "hyphen": KEY.replace("-", "\u2010"),
    "non-breaking hyphen": KEY.replace("-", "\u2011"),
    "en dash": KEY.replace("-", "\u2013"),
    "em dash": KEY.replace("-", "\u2014"),
    "minus": KEY.replace("-", "\u2212"),
    "full width hyphen": KEY.replace("-", "\uff0d"),
    "underscore": KEY.replace("-", "_"),
    "full width": WIDE,
    "mathematical letters": "".join(chr(0x1D400 + ord(char) - 65) if char.isalpha() else char for char in KEY),
    "wrapped after a dash": f"{KEY[:12]}\n{KEY[12:]}",
    "wrapped in the middle": f"{KEY[:9]}\n  {KEY[9:]}",
    "EN QUAD": KEY.replace("-", "\u2000"),
    "no-break spaces": f"\u00a0{KEY}\u202f",
    "ideographic space": f"\u3000{KEY}",
    "zero width space within": f"{KEY[:8]}\u200b{KEY[8:]}",
    "byte order mark": f"\ufeff{KEY}",
    "soft hyphens": "\u00ad".join(KEY),
    "direction marks": f"\u202a{KEY}\u202c",
    "NUL": f"{KEY}\x00",
    "quoted": f'"{KEY}"',
    "single quotes": f"'{KEY}'",
    "typographic quotes": f"\u201e{KEY}\u201c",
    "guillemets": f"\u00ab {KEY} \u00bb",
    "backticks": f"```{KEY}```",
    "brackets": f"[{KEY}]",
    "angle brackets": f"<{KEY}>",
    "full width brackets": f"\uff08{KEY}\uff09",
    "bold": f"**{KEY}**",
    "label": f"Key: {KEY}",
    "label, glued": f"license:{KEY}",
    "assignment": f'license_key = "{KEY}"',
    "full width colon": f"\u9375\uff1a{KEY}",
    "bullet": f"- {KEY}",
    "other bullet": f"\u2022 {KEY}",
    "numbered": f"1. {KEY}",
    "full stop": f"{KEY}.",
    "comma": f"{KEY},",
    "semicolon": f"{KEY};",
    "dash behind": f"{KEY}-",
    "product behind": f"{KEY} (vSphere 8 Enterprise Plus)",
    "comment": f"{KEY} # esx-01",
    "table": f"| vSphere 8 | {KEY} | 4 |",
    "sentence": f"Ours: {KEY}. Thanks!",
    "five letters behind, apart": f"{KEY} # CPU16",
    "twice": f"{KEY}\n{KEY}",
    "twice, written otherwise": f"{KEY}, {BARE.lower()}",
    "twice in spaces": f"{KEY} {KEY}".replace("-", " "),
}

LOOKALIKE = "It looks like {} and is another letter; type it anew."
REFUSED: dict[str, tuple[str, str, int | None, str]] = {
    "empty": ("", "key_malformed", None, "no letter and no digit"),
    "unseen only": ("\u200b \ufeff\n", "key_malformed", None, "no letter and no digit"),
    "punctuation only": ("-----", "key_malformed", None, "no letter and no digit"),
    "a word": ("none", "key_malformed", None, "letters and digits: 4, where a key has 25"),
    "24 letters": (KEY[:-1], "key_malformed", None, "group 5 has 4 instead of 5"),
    "26 letters": (KEY + "X", "key_malformed", None, "group 5 has 6 instead of 5"),
    "24 in a row": (BARE[:-1], "key_malformed", None, "24, where a key has 25"),
    "26 in a row": (BARE + "X", "key_malformed", None, "26, where a key has 25"),
    "four groups": (KEY[:23], "key_malformed", None, "20, where a key has 25"),
    "six groups": (KEY + "-XXXXX", "key_malformed", None, "30, where a key has 25"),
    "six groups in spaces": (KEY.replace("-", " ") + " CPU16", "key_malformed", None, "30, where a key has 25"),
    "dash one off": (f"{KEY[:4]}-{KEY[4]}{KEY[6:]}", "key_malformed", None, "group 1 has 4 and group 2 has 6"),
    "space in the first group": (f"{KEY[:3]} {KEY[3:]}", "key_malformed", None, "25, in groups that are no fives"),
    "space in the last group": (f"{KEY[:-2]} {KEY[-2:]}", "key_malformed", None, "25, in groups that are no fives"),
    "glued before": ("x" + KEY, "key_malformed", None, "group 1 has 6"),
    "word before": ("key " + KEY, "key_malformed", None, "other words stand beside"),
    "letter behind": (KEY + " X", "key_malformed", None, "other words stand beside"),
    "glued across a zero width space": (KEY + "\u200bX", "key_malformed", None, "group 5 has 6"),
    "glued across a full stop": (KEY + ".X", "key_malformed", 30, "FULL STOP"),
    "full stops for dashes": (KEY.replace("-", "."), "key_malformed", 6, "FULL STOP"),
    "commas for dashes": (KEY.replace("-", ","), "key_malformed", None, "5, where a key has 25"),
    "B": (KEY.replace("8", "B"), "key_malformed", 20, "character 2 of group 4 (position 20) is B"),
    "I": (KEY.replace("1", "I"), "key_malformed", 3, "1 was probably meant."),
    "O": (KEY.replace("0", "O"), "key_malformed", 13, "0 was probably meant."),
    "S": (OTHER.replace("5", "S"), "key_malformed", 1, "5 was probably meant."),
    "o, small, bare": (BARE.replace("0", "o"), "key_malformed", 11, "0 was probably meant."),
    "B behind a label": ("Key: " + KEY.replace("8", "B"), "key_malformed", 25, "8 was probably meant."),
    "Cyrillic A": (KEY.replace("A", "\u0410"), "key_malformed", 5, "CYRILLIC CAPITAL LETTER A"),
    "Cyrillic c": (KEY.replace("C", "\u0441"), "key_malformed", 8, LOOKALIKE.format("C")),
    "Greek Omicron": (KEY.replace("0", "\u039f"), "key_malformed", 13, LOOKALIKE.format("O")),
    "Greek Alpha, unseen before": ("\u200b" + KEY.replace("A", "\u0391"), "key_malformed", 6, LOOKALIKE.format("A")),
    "dotless i": (KEY.replace("1", "\u0131"), "key_malformed", 3, "LATIN SMALL LETTER DOTLESS I"),
    "sharp s": (KEY.replace("QR", "\u00df"), "key_malformed", 27, "LATIN SMALL LETTER SHARP S"),
    "long s": (KEY.replace("7", "\u017f"), "key_malformed", 7, "5 was probably meant."),
    "ligature": (KEY.replace("F", "\ufb00"), "key_malformed", 2, "LATIN SMALL LIGATURE FF"),
    "accent": (KEY.replace("E", "\u00c9"), "key_malformed", 11, "LATIN CAPITAL LETTER E WITH ACUTE"),
    "accent, apart": (KEY + "\u0301", "key_malformed", 30, "COMBINING ACUTE ACCENT"),
    "Arabic digit": (KEY.replace("3", "\u0663"), "key_malformed", 16, "ARABIC-INDIC DIGIT THREE"),
    "a footnote for a digit": (KEY[:-1] + "\u00b2", "key_malformed", 29, "SUPERSCRIPT TWO"),
    "a footnote behind": (KEY + "\u00b9", "key_malformed", 30, "SUPERSCRIPT ONE"),
    "circled": (KEY.replace("A", "\u24b6"), "key_malformed", 5, "CIRCLED LATIN CAPITAL LETTER A"),
    "half a pair": ("\ud800" + KEY, "key_malformed", 1, "U+D800"),
    "masked": ("4F1WA-*****-*****-*****-P9QRT", "key_malformed", 7, "with its middle masked"),
    "a UUID": ("123e4567-e89b-12d3-a456-426614174000", "key_malformed", None, "group 1 has 8"),
    "too long": (" " * LONGEST + KEY, "key_malformed", None, "far more than a key has"),
    "two, a line each": (f"{KEY}\n{OTHER}", "key_ambiguous", None, "2 different keys"),
    "two with a comma": (f"{KEY},{OTHER}", "key_ambiguous", None, "2 different keys"),
    "two with a dash": (f"{KEY} - {OTHER}", "key_ambiguous", None, "2 different keys"),
    "two, one of them twice": (f"{KEY}, {OTHER}, {KEY}", "key_ambiguous", None, "2 different keys"),
    "two in spaces": (f"{KEY} {OTHER}".replace("-", " "), "key_ambiguous", None, "2 different keys"),
    "one and a half": (f"{KEY}, {OTHER[:-1]}", "key_ambiguous", None, "part of one"),
    "one and a half, glued": (f"{OTHER[1:]},{KEY}", "key_ambiguous", None, "part of one"),
    "two without anything between": (KEY + OTHER, "key_malformed", None, "50, where a key has 25"),
    "two bare without anything between": (BARE + BARE, "key_malformed", None, "50, where a key has 25"),
}


def refusal(text: str) -> KeyMistake:
    with pytest.raises(KeyMistake) as caught:
        read_key(text)
    return caught.value


def holds(said: str, text: str) -> bool:
    """Whether words hold a middle group of a key, or a longer part, that stands in the text."""
    flat = re.sub("[^0-9A-Z]", "", text.upper())
    return any(group in said.upper() for group in (KEY[6:11], KEY[12:17], KEY[18:23]) if group in flat) or KEY in said.upper()


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_a_key_is_found_in_what_people_paste(text: str) -> None:
    assert read_key(text).text == KEY


@pytest.mark.parametrize(("text", "code", "position", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_key_is_refused_with_the_reason(text: str, code: str, position: int | None, words: str) -> None:
    mistake = refusal(text)
    assert (mistake.code, mistake.position) == (code, position)
    assert words in str(mistake)
    assert mistake.cause and mistake.hint.endswith(".") and not mistake.cause.endswith(".")
    assert not holds(str(mistake) + repr(mistake) + repr(mistake.args), text)


def test_the_evaluation_key_is_known() -> None:
    assert read_key(EVALUATION).is_evaluation
    assert not read_key(KEY).is_evaluation


def test_a_fingerprint_is_the_same_in_every_run_and_differs_between_keys() -> None:
    assert read_key(KEY).fingerprint == read_key(BARE).fingerprint == "3ec4c18a2bad"
    assert read_key(OTHER).fingerprint != read_key(KEY).fingerprint


def test_keys_are_values() -> None:
    key, other = read_key(KEY), read_key(OTHER)
    assert key == LicenseKey(KEY) and hash(key) == hash(LicenseKey(KEY)) and sorted([other, key]) == [key, other]
    assert copy.deepcopy(key) == pickle.loads(pickle.dumps(key)) == key
    assert key.text == KEY and f"{key.text}" == KEY, "a server gets it whole"
    with pytest.raises(FrozenInstanceError):
        key.text = OTHER  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", BARE, KEY.lower(), KEY + "-", KEY.replace("8", "B"), "\uff14" + KEY[1:]])
def test_no_value_can_hold_anything_but_a_key(text: str) -> None:
    with pytest.raises(KeyMistake):
        LicenseKey(text)


@dataclass(frozen=True)
class Box:
    keys: tuple[LicenseKey, ...]


@given(KEYS)
def test_a_key_is_shown_masked(text: str) -> None:
    key = read_key(text)
    assert len(key.fingerprint) == 12, "from here on it is kept, and must not show"
    masked = f"{text[:5]}-*****-*****-*****-{text[-5:]}"
    assert key.masked == str(key) == f"{key}" == masked
    assert repr(key) == f"LicenseKey({masked})"
    ways = (repr(asdict(Box((key,)))), str(astuple(key)), str(Box((key,))), str({key: key.text}), repr(vars(key)), f"{key.text!r}")
    for shown in (*ways, str(KeyError(key)), str(ValueError(key.text, key)), str([key.text])):
        assert text not in shown and text[6:23] not in shown
        assert masked in shown


@given(KEYS)
def test_reading_twice_is_reading_once(text: str) -> None:
    key = read_key(text)
    assert key.text == text
    assert read_key(key.text) == key


@given(st.text(st.sampled_from(ALPHABET + ALPHABET.lower() + "- \n.,:#\u2013\u200b\u0410BIOS"), max_size=80) | st.text(max_size=60))
def test_whatever_is_taken_has_the_form_of_a_key(text: str) -> None:
    try:
        key = read_key(text)
    except KeyMistake as mistake:
        assert mistake.code in ("key_malformed", "key_ambiguous")
    else:
        assert re.fullmatch("[0-9AC-HJ-NP-RT-Z]{5}(-[0-9AC-HJ-NP-RT-Z]{5}){4}", key.text)


@given(KEYS, st.integers(0, 24), st.characters(exclude_characters=ALPHABET + ALPHABET.lower()))
def test_one_wrong_character_is_never_taken_for_a_right_one(text: str, number: int, wrong: str) -> None:
    place = number + number // 5
    try:
        key = read_key(text[:place] + wrong + text[place + 1 :])
    except KeyMistake:
        return
    # Full width, mathematical: the same letter in another dress.
    assert key.text[:place] + key.text[place + 1 :] == text[:place] + text[place + 1 :]
    assert not wrong.isascii()


def test_every_character_there_is_as_the_last_of_a_key() -> None:
    """Those that are taken are letters and digits of Latin with another look, and none that stands for a footnote."""
    taken = ""
    for number in range(0x20000):
        try:
            taken += read_key(KEY[:-1] + chr(number)).text[-1:]
        except KeyMistake:
            continue
    assert set(taken) == set(ALPHABET)
    assert len(taken) < 1000


@given(KEYS, st.text(max_size=20), st.text(max_size=20))
def test_no_mistake_holds_a_key(text: str, before: str, behind: str) -> None:
    try:
        read_key(before + text[:-1] + behind)
    except KeyMistake as mistake:
        said = f"{mistake} {mistake!r}"
        assert text[:23] not in said and text[6:17] not in said


@pytest.mark.parametrize(
    "text",
    ["-" * LONGEST, " -" * (LONGEST // 2), "A" * LONGEST, "A." * (LONGEST // 2), "AAAAA " * 682, "AAAAA-" * 682, "- " * 2000 + KEY]
    + [" ." * 2048, ("A" * 5 + " " * 800) * 5, "-A A A A " * 455, "|" * LONGEST, (KEY + " ") * 136 + "-"],
)
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    try:
        read_key(text)
    except KeyMistake:
        pass
    scrub(text * 10)
    assert time.process_time() - begun < 1


MASKED = "4F1WA-*****-*****-*****-P9QRT"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        (f"License {KEY} is not valid for this product", f"License {MASKED} is not valid for this product"),
        (KEY.lower(), MASKED),
        (f"({BARE})", f"({MASKED})"),
        (f"key={BARE.lower()};", f"key={MASKED};"),
        (KEY.replace("-", " "), MASKED),
        (KEY.replace("-", " - "), MASKED),
        (f"{KEY} {KEY}", f"{MASKED} {MASKED}"),
        (f"{KEY}, {KEY}", f"{MASKED}, {MASKED}"),
        (f"{KEY}-7C2DE-0GH3J", "4F1WA-*****-*****-*****-*****-*****-0GH3J"),
        (f"could {KEY} again", f"could {MASKED} again"),
        (f"could {KEY} again".replace("-", " "), "could ***** ***** ***** ***** ***** again"),
        (f"AAAA1 AAAA2 AAAA3 AAAA4 {BARE}", f"AAAA1-*****-*****-*****-{MASKED[:5]}-*****-*****-*****-P9QRT"),
    ],
)
def test_a_servers_words_are_told_without_keys(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "",
        MASKED,
        "123e4567-e89b-12d3-a456-426614174000",
        "52 3f 8a 11 6c 0e 4b 7d-9a 1c 55 e2 08 f4 b6 31",
        "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "Licence is not valid for this product on esx-01.example.com, build 24022510",
        "ABCDEFGHJKLMNPQRTUVWXYZAC",
        "1234567890123456789012345",
    ],
)
def test_other_words_of_a_server_are_left_alone(text: str) -> None:
    assert scrub(text) == text


@given(
    st.lists(KEYS | KEYS.map(lambda key: key.replace("-", " ").lower()) | st.text("A1b -_.\n*", max_size=12), max_size=5),
    st.text("- .", max_size=2),
)
def test_scrubbing_twice_is_scrubbing_once(parts: list[str], glue: str) -> None:
    once = scrub(glue.join(parts))
    assert scrub(once) == once


@given(KEYS, st.text(max_size=10), st.text(max_size=10))
def test_no_key_is_left_in_scrubbed_words(key: str, before: str, behind: str) -> None:
    assert key[6:23] not in scrub(f"{before} {key} {behind}")
    assert scrub(f"{before}:{key}:{behind}").count("*****-*****-*****") >= 1


def test_ten_thousand_keys_spoilt_at_random() -> None:
    """See there what is done to them; ``python -m tests.fuzz.license_keys`` does a million."""
    found = run(10_000, seed=1)
    assert set(found) == {"accepted", "key_malformed", "key_ambiguous"}
    assert min(found.values()) > 100

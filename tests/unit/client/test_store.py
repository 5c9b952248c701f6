# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session cache: private, race-free, without passwords, and of no consequence when it is broken."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.store import REFUSAL_SECONDS, Store
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import Interrupted, LoginRefused

SECRET = "s3cr3t-Pa55word"
CERTIFICATE = "ab" * 32
OTHER = "cd" * 32


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(**{"hostname": "vc.example.com", "port": 443, "username": "user", "password": SECRET, **fields})


def store(**fields: Any) -> Store:
    return Store(endpoint(**fields), Guard())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the store makes below the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fleetcare.esxi"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everything(cache: Path) -> str:
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(cache.iterdir()))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_folder_is_0700_and_each_file_0600_whatever_the_umask(umask: int, cache: Path) -> None:
    before = os.umask(umask)
    try:
        kept = store()
        with kept.locked():
            kept.keep("cookie-1", CERTIFICATE)
            kept.refuse()
    finally:
        os.umask(before)
    assert mode(cache) == 0o700
    files = list(cache.iterdir())
    assert {path.suffix for path in files} == {".lock", ".session", ".refused"}
    assert all(mode(path) == 0o600 for path in files)


def test_a_cookie_is_kept_for_the_same_endpoint_and_user_and_for_nobody_else() -> None:
    assert store().cookie(CERTIFICATE) == ""
    store().keep("cookie-1", CERTIFICATE)
    assert store().cookie(CERTIFICATE) == "cookie-1"
    assert store(hostname="VC.example.COM").cookie(CERTIFICATE) == "cookie-1"
    assert store(password="another").cookie(CERTIFICATE) == "cookie-1"
    for other in ({"username": "User"}, {"hostname": "vc2.example.com"}, {"port": 8443}):
        assert store(**other).cookie(CERTIFICATE) == ""


def test_a_forgotten_cookie_is_gone_and_forgetting_twice_is_no_error(cache: Path) -> None:
    kept = store()
    kept.keep("cookie-1", CERTIFICATE)
    kept.forget()
    kept.forget()
    assert store().cookie(CERTIFICATE) == "" and not list(cache.glob("*.session"))


def test_a_session_file_holds_the_cookie_and_the_servers_certificate_and_nothing_else(cache: Path) -> None:
    assert store().keep('"cookie-1"', CERTIFICATE) is True
    (file,) = cache.glob("*.session")
    assert json.loads(file.read_text()) == {"cookie": '"cookie-1"', "certificate": CERTIFICATE}


def test_a_cookie_is_not_given_to_a_server_with_another_certificate(cache: Path) -> None:
    """Whoever answers in the server's place must not get the session that an earlier task left."""
    store().keep("cookie-1", CERTIFICATE)
    for stranger in (OTHER, "", CERTIFICATE[:-1], CERTIFICATE.upper()):
        assert store().cookie(stranger) == ""
    assert store().cookie(CERTIFICATE) == "cookie-1", "asking with another one takes nothing away"
    store().keep("cookie-2", OTHER)
    assert store().cookie(CERTIFICATE) == "" and store().cookie(OTHER) == "cookie-2"
    assert len(list(cache.glob("*.session"))) == 1


def test_each_proxy_has_files_of_its_own(cache: Path) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"proxy_host": "proxy-1", "proxy_port": 3128},
        {"proxy_host": "proxy-2", "proxy_port": 3128},
        {"proxy_host": "proxy-1", "proxy_port": 8080},
    ]
    for number, way in enumerate(ways):
        assert store(**way).cookie(CERTIFICATE) == ""
        store(**way).keep(f"cookie-{number}", CERTIFICATE)
    assert [store(**way).cookie(CERTIFICATE) for way in ways] == ["cookie-0", "cookie-1", "cookie-2", "cookie-3"]
    assert len(list(cache.glob("*.session"))) == 4
    store(**ways[1]).refuse()
    for way in (ways[0], ways[2], ways[3]):
        store(**way).check_not_refused()
    with pytest.raises(LoginRefused):
        store(**ways[1]).check_not_refused()


def test_neither_password_nor_a_plain_hash_of_it_nor_user_or_host_is_in_any_file(cache: Path) -> None:
    kept = store()
    with kept.locked():
        kept.keep("cookie-1", CERTIFICATE)
        kept.refuse()
    text = everything(cache).lower()
    raw = SECRET.encode()
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, raw)
        assert digest.hexdigest() not in text
        assert base64.b64encode(digest.digest()).decode().lower() not in text
    for plain in (SECRET, base64.b64encode(raw).decode(), raw.hex(), "vc.example.com", '"user"'):
        assert plain.lower() not in text


def test_two_refusals_of_one_password_do_not_look_alike(cache: Path) -> None:
    store().refuse()
    (file,) = cache.glob("*.refused")
    first = json.loads(file.read_text())
    store().refuse()
    second = json.loads(file.read_text())
    assert first["salt"] != second["salt"] and first["digest"] != second["digest"]


def test_a_refusal_is_a_slow_digest_that_a_machine_in_fips_mode_can_make(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hashlib, "scrypt", raising=False)
    store().refuse()
    (file,) = cache.glob("*.refused")
    kept = json.loads(file.read_text())
    assert set(kept) == {"at", "salt", "digest"} and len(bytes.fromhex(kept["salt"])) == 16
    assert kept["digest"] == hashlib.pbkdf2_hmac("sha256", SECRET.encode(), bytes.fromhex(kept["salt"]), 200_000).hex()
    with pytest.raises(LoginRefused):
        store().check_not_refused()


def test_a_refused_password_is_not_tried_again_and_another_is() -> None:
    store().check_not_refused()
    store().refuse()
    with pytest.raises(LoginRefused, match="refused .* ago and is not tried again") as caught:
        store().check_not_refused()
    assert "delete" in caught.value.hint and ".refused" in caught.value.hint and SECRET not in caught.value.sentence
    store(password="corrected").check_not_refused()
    store(username="other").check_not_refused()
    store(hostname="other.example.com").check_not_refused()


def test_a_refusal_is_forgotten_after_its_time_and_not_believed_from_the_future(cache: Path) -> None:
    store().refuse()
    (file,) = cache.glob("*.refused")
    content = json.loads(file.read_text())
    for at in (time.time() - REFUSAL_SECONDS - 1, time.time() + 1000):
        file.write_text(json.dumps({**content, "at": at}))
        store().check_not_refused()
    file.write_text(json.dumps({**content, "at": time.time() - REFUSAL_SECONDS + 60}))
    with pytest.raises(LoginRefused):
        store().check_not_refused()


BROKEN = ["", "{", "null", "[]", "5", '"text"', "\x00\xff", '{"cookie": 5}', '{"cookie": null}', '{"cookie": ["a"]}', "{}" * 1000]

# Each with the right certificate, so that only the cookie is at fault; and cookies that are bound to nobody.
BROKEN_SESSIONS = [
    *BROKEN,
    *(f'{{"cookie": {cookie}, "certificate": "{CERTIFICATE}"}}' for cookie in ("5", "null", '["a"]')),
    '{"cookie": "cookie-1"}',
    '{"cookie": "cookie-1", "certificate": null}',
    f'{{"cookie": "cookie-1", "certificate": ["{CERTIFICATE}"]}}',
]


@pytest.mark.parametrize("content", BROKEN_SESSIONS)
def test_a_broken_session_file_is_no_session_and_is_overwritten(content: str, cache: Path) -> None:
    store().keep("cookie-1", CERTIFICATE)
    (file,) = cache.glob("*.session")
    file.write_bytes(content.encode("latin-1"))
    assert store().cookie(CERTIFICATE) == ""
    store().keep("cookie-2", CERTIFICATE)
    assert store().cookie(CERTIFICATE) == "cookie-2"


NOW = "AT"  # replaced by the time of the test


@pytest.mark.parametrize(
    "content",
    [
        *BROKEN,
        '{"at": AT}',
        '{"at": AT, "salt": "00"}',
        '{"at": AT, "digest": "00"}',
        '{"at": AT, "salt": "zz", "digest": "00"}',
        '{"at": AT, "salt": 5, "digest": "00"}',
        '{"at": AT, "salt": "00", "digest": null}',
        '{"at": AT, "salt": "00", "digest": "ä"}',
        '{"at": "yesterday", "salt": "00", "digest": "00"}',
        '{"at": null, "salt": "00", "digest": "00"}',
    ],
)
def test_a_broken_refusal_file_refuses_nothing_and_breaks_nothing(content: str, cache: Path) -> None:
    store().refuse()
    (file,) = cache.glob("*.refused")
    file.write_bytes(content.replace(NOW, str(time.time())).encode("latin-1"))
    store().check_not_refused()


@pytest.mark.parametrize("wide", [0o755, 0o770, 0o707, 0o701])
def test_a_folder_that_others_can_reach_is_not_used(wide: int, cache: Path) -> None:
    store().keep("cookie-1", CERTIFICATE)
    cache.chmod(wide)
    kept = store()
    with kept.locked():
        assert kept.cookie(CERTIFICATE) == ""
        kept.keep("cookie-2", CERTIFICATE)
        kept.refuse()
        kept.check_not_refused()
        kept.forget()
    cache.chmod(0o700)
    assert store().cookie(CERTIFICATE) == "cookie-1"


@pytest.mark.parametrize("wide", [0o644, 0o660, 0o604])
def test_a_file_that_others_can_reach_is_not_believed(wide: int, cache: Path) -> None:
    store().keep("cookie-1", CERTIFICATE)
    (file,) = cache.glob("*.session")
    file.chmod(wide)
    assert store().cookie(CERTIFICATE) == ""


def test_a_link_in_place_of_the_folder_or_of_a_file_leads_nowhere(cache: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    store().keep("cookie-1", CERTIFICATE)
    (file,) = cache.glob("*.session")
    for suffix in (".lock", f".session.{os.getpid()}"):
        os.symlink(victim, file.with_suffix("").as_posix() + suffix)
    kept = store()
    kept.keep("cookie-2", CERTIFICATE)
    assert victim.read_text() == "precious"
    assert kept.cookie(CERTIFICATE) in ("cookie-1", "cookie-2")


def test_without_a_usable_cache_folder_it_keeps_nothing_and_still_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("relative/folder", str(tmp_path / "file"), "/proc/nowhere"):
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        kept = store()
        with kept.locked():
            kept.keep("cookie-1", CERTIFICATE)
            kept.refuse()
            kept.check_not_refused()
            assert kept.cookie(CERTIFICATE) == ""
            kept.forget()
    assert not (Path.cwd() / "relative").exists()


def test_the_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    store().keep("cookie-1", CERTIFICATE)
    (made,) = (tmp_path / "home" / ".cache" / "fleetcare.esxi").iterdir()
    assert made.suffix == ".session"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert store().cookie(CERTIFICATE) == "cookie-1"


# ---- several processes ----------------------------------------------------------------------------------------------------

LOGIN = textwrap.dedent(
    """
    import os, sys, time
    from ansible_collections.fleetcare.esxi.plugins.module_utils._client.endpoint import Endpoint
    from ansible_collections.fleetcare.esxi.plugins.module_utils._client.guard import Guard
    from ansible_collections.fleetcare.esxi.plugins.module_utils._client.store import Store
    log = sys.argv[1]
    store = Store(Endpoint(hostname="vc.example.com", port=443, username="user", password="x"), Guard())
    print("ready", flush=True)
    sys.stdin.readline()
    with store.locked():
        if not store.cookie("ab"):
            with open(log, "a") as file:
                file.write("login\\n")
            time.sleep(0.2)
            store.keep("cookie of " + str(os.getpid()), "ab")
        print(store.cookie("ab"), flush=True)
    """
)


def test_of_many_processes_at_once_one_logs_in_and_all_share_its_session(tmp_path: Path) -> None:
    log = tmp_path / "log"
    started = [
        subprocess.Popen([sys.executable, "-c", LOGIN, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _number in range(6)
    ]
    for process in started:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    cookies = {process.communicate(timeout=20)[0] for process in started}
    assert log.read_text() == "login\n"
    assert len(cookies) == 1 and cookies.pop().startswith("cookie of ")
    assert all(process.returncode == 0 for process in started)


def test_a_process_that_dies_with_the_lock_leaves_it_free(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOGIN.replace("time.sleep(0.2)", "os._exit(9)"), str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.communicate("go\n", timeout=20)
    began = time.monotonic()
    with store().locked():
        assert store().cookie(CERTIFICATE) == ""
    assert time.monotonic() - began < 5


def test_waiting_for_the_lock_ends_when_the_run_has_to_stop() -> None:
    held, waiting = store(), Store(endpoint(), Guard(0.3))
    outcome: list[str] = []

    def wait() -> None:
        try:
            with waiting.locked():
                outcome.append("locked")
        except Interrupted as problem:
            outcome.append(problem.cause)

    with held.locked():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert len(outcome) == 1 and "deadline" in outcome[0]

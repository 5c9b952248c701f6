# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kms_key_info against real PyKMIP servers; a relay in between notes what is asked, and answers itself where a real one would not."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import logging
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import kmip
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import kms
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, WriteRefused
from tests.integration.driver import MODULES
from tests.integration.playbooks import ansible_playbook, on_localhost
from tests.simulator.key_server import KeyServer, KeyServers

pytest.importorskip("kmip", reason="PyKMIP is not installed")
pytestmark = [
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2:DeprecationWarning"),  # PyKMIP's own client, which makes a secret here
]

PASSWORD = "marker-Pa55word-9c1e"
THOUSAND = [f"vm-{number:04d}" for number in range(1000)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyServers]:
    made = KeyServers(["kms-a.example.com", "kms-b.example.com"], tmp_path_factory.mktemp("k"))
    made.start({"kms-a.example.com": THOUSAND})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(servers: KeyServers) -> KeyServer:
    return servers.all["kms-a.example.com"]


@pytest.fixture(scope="module")
def other(servers: KeyServers) -> KeyServer:
    return servers.all["kms-b.example.com"]


@pytest.fixture(scope="module")
def states(server: KeyServer) -> dict[str, str]:
    """Ids of keys in every state that a PyKMIP server has, by state."""
    from kmip.core import enums
    from kmip.pie import objects
    from kmip.pie.client import ProxyKmipClient

    with server.session() as admin:
        active, deactivated, compromised, destroyed = admin.create(["one", "two", "three", "four"])
        (pre_active,) = admin.create(["five"], activate=False)
        admin.revoke(deactivated)
        admin.compromise(compromised)
        admin.revoke(destroyed)
        admin.destroy(destroyed)
    where = server.told()
    with ProxyKmipClient("127.0.0.1", where["port"], where["certificate"], where["key"], where["ca"], "PROTOCOL_TLSv1_2") as client:
        secret = client.register(objects.SecretData(b"not a key", enums.SecretDataType.PASSWORD))
    return {
        "active": active,
        "pre_active": pre_active,
        "deactivated": deactivated,
        "compromised": compromised,
        "destroyed": destroyed,
        "secret": secret,
        "nobody's": "no-such-key",
    }


def reach(server: KeyServer, **more: Any) -> dict[str, Any]:
    """The certificate bears localhost and the server's name."""
    files = {"certificate": server.admin.certificate, "private_key": server.admin.key, "ca_file": str(server.folder / "ca.crt")}
    return {"address": "localhost", "port": server.port, **files, **more}


def run(options: dict[str, Any], *ids: str, check: bool = False, **more: Any) -> dict[str, Any]:
    """As the module's main, without Ansible."""
    module = importlib.import_module(f"{MODULES}.kms_key_info")
    params = {name: spec.get("default") for name, spec in module.OPTIONS.items()}
    params.update(options, **more)
    if ids:
        params["key_ids"] = list(ids)
    result = kms.task(kmip.connect)(params, check)
    documented = yaml.safe_load(module.RETURN)
    assert set(result) - {"changed", "failed", "warnings"} <= set(documented)
    for entry in result["crypto_keys"].values():
        assert set(entry) == set(documented["crypto_keys"]["contains"])
    json.dumps(result)
    return result


def refused(options: dict[str, Any], *ids: str, **more: Any) -> FleetcareError:
    with pytest.raises(FleetcareError) as problem:
        run(options, *(ids or ("1",)), **more)
    assert problem.value.hint and "\n" not in problem.value.sentence and "Traceback" not in problem.value.sentence
    return problem.value


# ---- a relay ----------------------------------------------------------------------------------------------------------------------
class Relay:
    """A key server of ours in front of a real one. ``answer`` gets a request and may answer it; None passes it on; "hang" and "end" do
    that. Notes the operations of every request."""

    def __init__(
        self, server: KeyServer, answer: Callable[[Any], bytes | str | None] = lambda _request: None, clients: pathlib.Path | None = None
    ) -> None:
        self.server, self.answer = server, answer
        self.seen: list[list[str]] = []
        self.raw: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server.folder / "server.crt", server.folder / "server.key")
        if clients:
            self._context.load_verify_locations(clients)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()

    def __enter__(self) -> dict[str, Any]:
        threading.Thread(target=self._serve, daemon=True).start()
        return reach(self.server, port=self._listening.getsockname()[1])

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(plain,), daemon=True).start()

    def _session(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), self._context.wrap_socket(plain, server_side=True) as client, self._behind() as real:
            while True:
                request = message(client)
                self.raw.append(request)
                asked = decoded(request)
                self.seen.append([item.operation.value.name for item in asked.batch_items])
                answer = self.answer(asked)
                if answer == "hang":
                    self._over.wait(20)
                    return
                if answer == "end":
                    return
                if answer is None:
                    real.sendall(request)
                    answer = message(real)
                assert isinstance(answer, bytes)
                client.sendall(answer)

    def _behind(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.server.folder / "ca.crt"))
        context.load_cert_chain(str(self.server.admin.certificate), self.server.admin.key)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.server.port)), server_hostname="localhost")


def message(stream: socket.socket) -> bytes:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = stream.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    head = exactly(8)
    return head + exactly(int.from_bytes(head[4:], "big"))


def decoded(data: bytes) -> Any:
    from kmip.core.messages import messages
    from kmip.core.utils import BytearrayStream

    request = messages.RequestMessage()
    request.read(BytearrayStream(data))
    return request


def item_of(asked: Any = None, *, reason: str = "", words: str = "", attributes: dict[str, Any] | None = None, uid: str = "") -> Any:
    """An answer to one item of a request, or about the message where ``asked`` is left out."""
    from kmip.core import enums
    from kmip.core.factories.attributes import AttributeFactory
    from kmip.core.messages import contents, messages, payloads

    kinds = {kind.value: kind for kind in enums.AttributeType}
    payload = None
    if not reason:
        rows = [AttributeFactory().create_attribute(kinds[name], value) for name, value in (attributes or {}).items()]
        payload = payloads.GetAttributesResponsePayload(uid or asked.request_payload.unique_identifier, rows)
    return messages.ResponseBatchItem(
        operation=asked and asked.operation,
        unique_batch_item_id=asked and asked.unique_batch_item_id,
        result_status=contents.ResultStatus(enums.ResultStatus.OPERATION_FAILED if reason else enums.ResultStatus.SUCCESS),
        result_reason=contents.ResultReason(enums.ResultReason[reason]) if reason else None,
        result_message=contents.ResultMessage(words) if words else None,
        response_payload=payload,
    )


def answer_of(*items: Any) -> bytes:
    from kmip.core import enums
    from kmip.core.messages import contents, messages
    from kmip.core.utils import BytearrayStream

    header = messages.ResponseHeader(
        protocol_version=contents.ProtocolVersion(1, 4), time_stamp=contents.TimeStamp(0), batch_count=contents.BatchCount(len(items))
    )
    stream = BytearrayStream()
    messages.ResponseMessage(header, list(items)).write(stream, enums.KMIPVersion.KMIP_1_4)
    return bytes(stream.buffer)


# ---- what a real server has -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0"])
def test_states(server: KeyServer, states: dict[str, str], version: str) -> None:
    result = run(reach(server), *states.values(), kmip_version=version)
    found = {name: result["crypto_keys"][one] for name, one in states.items()}
    codes = {name: [each["code"] for each in entry["findings"]] for name, entry in found.items()}
    assert codes == {
        "active": [],
        "pre_active": ["kms_key_pre_active"],
        "deactivated": ["kms_key_deactivated"],
        "compromised": ["kms_key_compromised"],
        "destroyed": ["kms_key_not_found"],  # PyKMIP forgets what it destroys
        "secret": ["kms_not_a_key"],
        "nobody's": ["kms_key_not_found"],
    }
    assert {name: entry["state"] for name, entry in found.items() if entry["found"] and name != "secret"} == {
        name: name for name in ("active", "pre_active", "deactivated", "compromised")
    }
    assert (result["failed"], result["changed"], result["summary"]) == (False, False, {"compliant": 1, "not_compliant": 6})
    entry = found["active"]
    assert (entry["object_type"], entry["algorithm"], entry["length"], entry["names"]) == ("symmetric_key", "AES", 256, ["one"])
    made = datetime.datetime.fromisoformat(entry["dates"]["initial"])
    assert abs((made - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 300
    shown = x509.load_pem_x509_certificate(server.certificate.encode()).fingerprint(hashes.SHA256()).hex()
    assert result["endpoint"] == {"address": "localhost", "port": server.port, "certificate": shown, "kmip_version": version}


def test_another_client_is_refused_what_is_not_its_own(server: KeyServer, states: dict[str, str]) -> None:
    auditor = server.client("auditor")
    result = run(reach(server, certificate=auditor.certificate, private_key=auditor.key), states["secret"], states["active"])
    entry = result["crypto_keys"][states["secret"]]
    assert [each["code"] for each in entry["findings"]] == ["kms_key_no_permission"] and not entry["found"]
    assert result["crypto_keys"][states["active"]]["status"] == "compliant"


def test_activating(server: KeyServer, states: dict[str, str]) -> None:
    with server.session() as admin:
        fresh = admin.create(["fresh-1", "fresh-2"], activate=False)
    with Relay(server) as options:
        predicted = run(options, *fresh, states["active"], check=True, state="active")
    relay = Relay(server)
    with relay as options:
        result = run(options, *fresh, states["active"], states["deactivated"], state="active")
        again = run(options, *fresh, state="active")
    assert relay.seen == [["GET_ATTRIBUTES"] * 4, ["ACTIVATE"] * 2, ["GET_ATTRIBUTES"] * 2, ["GET_ATTRIBUTES"] * 2]
    assert predicted["summary"] == {"compliant": 1, "would_change": 2} and predicted["changed"]
    assert result["summary"] == {"changed": 2, "compliant": 1, "failed": 1} and result["changed"] and result["failed"]
    assert {result["crypto_keys"][one]["state"] for one in fresh} == {"active"}
    assert "KMIP has no operation that leads back to active" in result["crypto_keys"][states["deactivated"]]["failure"]["message"]
    assert again["summary"] == {"compliant": 2} and not again["changed"]
    with server.session() as admin:
        assert set(admin.states(fresh).values()) == {"ACTIVE"}


def test_a_check_run_asks_and_nothing_else(server: KeyServer, states: dict[str, str]) -> None:
    relay = Relay(server)
    with relay as options:
        result = run(options, *states.values(), check=True, state="active")
    assert {operation for request in relay.seen for operation in request} == {"GET_ATTRIBUTES"}
    assert result["crypto_keys"][states["pre_active"]]["status"] == "would_change" and not result["failed"] and result["warnings"]
    with server.session() as admin:
        assert admin.states([states["pre_active"]]) == {states["pre_active"]: "PRE_ACTIVE"}
    params = {name: spec.get("default") for name, spec in importlib.import_module(f"{MODULES}.kms_key_info").OPTIONS.items()}
    with kmip.connect({**params, **reach(server)}, True) as gate, pytest.raises(WriteRefused):
        gate.activate([states["pre_active"]])


def test_a_thousand(server: KeyServer) -> None:
    ids = [one.id for one in server.keys]
    rows = [{"key_id": one, "provider": "kms-a", "vms": []} for one in ids]
    relay = Relay(server)
    begin = time.monotonic()
    with relay as options:
        result = run(options, "gone", worksheet=rows)
    assert time.monotonic() - begin < 60  # 4 s on two cores; the server takes 3 ms a key
    assert result["msg"] == "1001 keys: 1000 compliant, 1 not compliant (1 kms_key_not_found)."
    assert len(relay.seen) == 11 and {name for request in relay.seen for name in request} == {"GET_ATTRIBUTES"}


# ---- bad input --------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bad(server: KeyServer, other: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("bad")
    key = serialization.load_pem_private_key(pathlib.Path(str(server.admin.key)).read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    for name, form in (("pkcs8", serialization.PrivateFormat.PKCS8), ("traditional", serialization.PrivateFormat.TraditionalOpenSSL)):
        (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    (folder / "empty.pem").write_bytes(b"")
    text = pathlib.Path(str(server.admin.certificate)).read_text()
    (folder / "broken.pem").write_text(text[:200] + "!!" + text[210:])
    (folder / "both.pem").write_text(text + pathlib.Path(str(server.admin.key)).read_text())
    (folder / "other.key").write_bytes(pathlib.Path(str(other.admin.key)).read_bytes())
    return folder


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({"certificate": None, "private_key": None}, "neither certificate nor username says who asks"),
    "address": ({"address": "https://kms-01.example.com"}, "address 'https://kms-01.example.com' is not a host name"),
    "empty address": ({"address": " "}, "address is empty"),
    "port": ({"port": 0}, "port 0 is not a port"),
    "connect_timeout": ({"connect_timeout": 0.0}, "connect_timeout 0 is not a time-out"),
    "read_timeout": ({"read_timeout": -1.0}, "read_timeout -1 is not a time-out"),
    "thumbprint": ({"thumbprint": "ab:cd"}, "thumbprint has 4 characters that are not a SHA-256 digest"),
    "username alone": ({"username": "auditor"}, "username and password belong together"),
    "empty password": ({"username": "auditor", "password": ""}, "password is empty"),
    "key alone": ({"certificate": None}, "private_key is given without certificate"),
    "no certificate there": ({"certificate": "BAD/none.pem"}, "certificate BAD/none.pem cannot be read: No such file or directory"),
    "a folder": ({"private_key": "BAD"}, "private_key BAD cannot be read: Is a directory"),
    "no ca there": ({"ca_file": "BAD/none.pem"}, "ca_file BAD/none.pem cannot be read"),
    "empty ca": ({"ca_file": "BAD/empty.pem"}, "ca_file BAD/empty.pem holds no certificate in PEM form"),
    "broken ca": ({"ca_file": "BAD/broken.pem"}, "ca_file BAD/broken.pem cannot be used"),
    "no certificate in it": ({"certificate": "BAD/pkcs8.key"}, "certificate BAD/pkcs8.key holds no certificate in PEM form"),
    "no key in it": ({"private_key": "BAD/empty.pem"}, "private_key BAD/empty.pem holds no private key in PEM form"),
    "no key beside it": ({"private_key": None}, "holds no private key in PEM form"),
    "broken": ({"certificate": "BAD/broken.pem"}, "certificate BAD/broken.pem with private_key"),
    "encrypted": ({"private_key": "BAD/pkcs8.key"}, "private_key BAD/pkcs8.key is encrypted with a passphrase"),
    "encrypted, old": ({"private_key": "BAD/traditional.key"}, "private_key BAD/traditional.key is encrypted with a passphrase"),
    "another's": ({"private_key": "BAD/other.key"}, "private_key BAD/other.key does not belong to the certificate"),
    "no ids": ({"key_ids": []}, "neither key_ids nor worksheet names a key"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_ends_before_any_connection(
    server: KeyServer, bad: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def connected(*_args: Any, **_keywords: Any) -> Any:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "create_connection", connected)
    options, message = BAD[name]
    given = {option: value.replace("BAD", str(bad)) if isinstance(value, str) else value for option, value in options.items()}
    with pytest.raises(FleetcareError) as caught:
        run({**reach(server), "key_ids": ["1"], **given})
    problem = caught.value
    assert problem.kind == "bad_input" and message.replace("BAD", str(bad)) in problem.sentence and problem.hint
    assert "BEGIN" not in problem.cause and "MII" not in problem.sentence


def test_one_file_for_certificate_and_key(server: KeyServer, bad: pathlib.Path) -> None:
    one = server.keys[0].id
    result = run(reach(server, certificate=str(bad / "both.pem"), private_key=None), one)
    assert result["summary"] == {"compliant": 1}


# ---- no way in --------------------------------------------------------------------------------------------------------------------
def test_whom_to_trust(server: KeyServer, other: KeyServer) -> None:
    one = server.keys[0].id
    print_ = x509.load_pem_x509_certificate(server.certificate.encode()).fingerprint(hashes.SHA256()).hex()
    wrong_ca = str(other.folder / "ca.crt")
    problem = refused(reach(server, ca_file=wrong_ca))
    assert (problem.kind, problem.doing) == ("tls_refused", "connecting") and "not trusted: " in problem.cause
    problem = refused(reach(server, address="127.0.0.1"))
    assert problem.kind == "tls_refused" and "IP address mismatch, certificate is not valid for '127.0.0.1'" in problem.cause
    assert refused(reach(server, ca_file=None)).kind == "tls_refused"
    problem = refused(reach(server, thumbprint="00" * 32))
    assert problem.kind == "tls_refused" and print_ in problem.cause
    for trusting in (
        {"address": "127.0.0.1", "ca_file": None, "thumbprint": print_.upper()},
        {"address": "127.0.0.1", "ca_file": wrong_ca, "validate_certs": False},
        {"ca_file": str(server.folder / "server.crt")},
    ):
        assert run(reach(server, **trusting), one)["summary"] == {"compliant": 1}


def test_nothing_is_sent_to_a_stranger(server: KeyServer) -> None:
    relay = Relay(server)
    with relay as options:
        refused({**options, "thumbprint": "00" * 32, "username": "auditor", "password": PASSWORD})
        refused({**options, "address": "127.0.0.1", "username": "auditor", "password": PASSWORD})
        assert relay.raw == []
        run({**options, "username": "auditor", "password": PASSWORD}, server.keys[0].id)
        assert PASSWORD.encode() in relay.raw[0]


def test_who_is_not_let_in(server: KeyServer, other: KeyServer) -> None:
    stranger = other.client("stranger")
    problem = refused(reach(server, certificate=stranger.certificate, private_key=stranger.key))
    assert problem.kind in ("tls_refused", "endpoint_unreachable") and "client certificate" in problem.sentence
    problem = refused(reach(server, certificate=None, private_key=None, username="auditor", password=PASSWORD))
    assert problem.kind in ("tls_refused", "endpoint_unreachable") and "certificate" in problem.sentence
    assert PASSWORD not in problem.sentence
    late = server.client("late", days=-1)
    assert "client certificate" in refused(reach(server, certificate=late.certificate, private_key=late.key)).sentence
    # A certificate that is trusted and made for servers gets through TLS, and no further.
    problem = refused(reach(server, certificate=str(server.folder / "server.crt"), private_key=str(server.folder / "server.key")))
    assert "certificate" in problem.sentence and problem.kind in ("login_refused", "tls_refused", "endpoint_unreachable")


def test_who_is_not_let_in_with_newer_tls(server: KeyServer, other: KeyServer) -> None:
    """With TLS 1.3 the refusal comes after the handshake, or the connection just ends."""
    with Relay(server, clients=other.folder / "ca.crt") as options:
        for ids in (["1"], ["1", "2"]):
            problem = refused(options, *ids)
            assert problem.kind in ("tls_refused", "endpoint_unreachable") and "this client certificate" in problem.sentence
    with Relay(server, clients=server.folder / "ca.crt") as options:
        assert run(options, server.keys[0].id)["summary"] == {"compliant": 1}


def test_login_refused(server: KeyServer) -> None:
    def no(_asked: Any) -> bytes:
        return answer_of(item_of(reason="AUTHENTICATION_NOT_SUCCESSFUL", words="who is that"))

    with Relay(server, no) as options:
        for ids in (["1"], ["1", "2"]):
            problem = refused(options, *ids)
            assert problem.kind == "login_refused" and "does not accept who asks: who is that" in problem.cause


def test_nobody_there(other: KeyServer) -> None:
    options = reach(other)
    other.stop()
    try:
        problem = refused(options)
        assert problem.kind == "endpoint_unreachable" and "Connection refused" in problem.cause
    finally:
        other.start()
    problem = refused({**options, "address": "no-such-host.invalid"})
    assert problem.kind == "endpoint_unreachable" and "not known to the resolver" in problem.cause


def test_silence(server: KeyServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        problem = refused(reach(server, port=silent.getsockname()[1], connect_timeout=0.3))
        assert problem.kind == "endpoint_unreachable" and "no TLS answer within 0.3 s" in problem.cause
        assert time.monotonic() - begin < 5


def test_hanging_in_the_middle(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmip, "BATCH", 2)
    requests = []

    def second(asked: Any) -> str | None:
        requests.append(asked)
        return "hang" if len(requests) > 1 else None

    with Relay(server, second) as options:
        problem = refused(options, *[one.id for one in server.keys[:5]], read_timeout=5.0)
    assert problem.kind == "timed_out" and "no answer within 5 s" in problem.cause and len(requests) == 2


def test_lost_while_activating(server: KeyServer) -> None:
    """What was done is told, and what is not known is looked at over a new connection."""
    with server.session() as admin:
        done, undone = admin.create(["lost-1", "lost-2"], activate=False)

    def ending(asked: Any) -> str | None:
        if asked.batch_items[0].operation.value.name != "ACTIVATE":
            return None
        with server.session() as admin:
            admin.activate(done)
        return "end"

    relay = Relay(server, ending)
    with relay as options:
        result = run(options, done, undone, state="active")
    assert [(entry["status"], entry["changed"]) for entry in result["crypto_keys"].values()] == [("changed", True), ("failed", False)]
    assert "is pre_active: the connection was lost" in result["crypto_keys"][undone]["failure"]["cause"]
    assert [request[0] for request in relay.seen] == ["GET_ATTRIBUTES", "ACTIVATE", "GET_ATTRIBUTES"]


# ---- servers of another kind ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["end", "refuses", "first only"])
def test_a_server_that_takes_one_at_a_time(server: KeyServer, how: str) -> None:
    with server.session() as admin:
        fresh = admin.create(["single-1", "single-2"], activate=False)

    def single(asked: Any) -> bytes | str | None:
        if len(asked.batch_items) == 1:
            return None
        if how == "first only":
            return answer_of(item_of(asked.batch_items[0], attributes={}))
        return "end" if how == "end" else answer_of(item_of(reason="INVALID_MESSAGE", words="no batches"))

    ids = [*fresh, "gone", *[one.id for one in server.keys[:8]]]
    relay = Relay(server, single)
    with relay as options:
        result = run(options, *ids, state="active")
    assert result["summary"] == {"changed": 2, "compliant": 8, "failed": 1}
    assert len(relay.seen) == 1 + 11 + 2 + 2


def test_activating_one_by_one_where_only_that_is_refused(server: KeyServer) -> None:
    with server.session() as admin:
        fresh = admin.create(["mild-1", "mild-2"], activate=False)

    def picky(asked: Any) -> bytes | None:
        if len(asked.batch_items) > 1 and asked.batch_items[0].operation.value.name == "ACTIVATE":
            return answer_of(item_of(reason="INVALID_MESSAGE", words="one at a time"))
        return None

    with Relay(server, picky) as options:
        assert run(options, *fresh, state="active")["summary"] == {"changed": 2}


def test_answers_in_any_order(server: KeyServer, states: dict[str, str]) -> None:
    def shuffled(asked: Any) -> bytes:
        from kmip.core import enums

        rows = [
            item_of(each, attributes={"State": enums.State.ACTIVE, "Cryptographic Length": int(each.request_payload.unique_identifier)})
            for each in asked.batch_items
        ]
        return answer_of(*reversed(rows))

    with Relay(server, shuffled) as options:
        result = run(options, "128", "192", "256")
    assert {one: entry["length"] for one, entry in result["crypto_keys"].items()} == {"128": 128, "192": 192, "256": 256}


def test_dates_and_states_that_pykmip_does_not_keep(server: KeyServer) -> None:
    from kmip.core import enums

    day = 86400
    dates = {
        "Initial Date": day,
        "Activation Date": 2 * day,
        "Deactivation Date": 3 * day,
        "Destroy Date": 4 * day,
        "Compromise Occurrence Date": 5 * day,
        "Compromise Date": 6 * day,
        "Last Change Date": 1 << 60,
    }

    def dated(asked: Any) -> bytes:
        kept = {"State": enums.State.DESTROYED_COMPROMISED, "Object Type": enums.ObjectType.SYMMETRIC_KEY, **dates}
        return answer_of(*[item_of(each, attributes=kept) for each in asked.batch_items])

    with Relay(server, dated) as options:
        entry = run(options, "1", "2")["crypto_keys"]["1"]
    assert entry["findings"][0]["text"] == "destroyed_compromised since 1970-01-05T00:00:00+00:00"
    assert list(entry["dates"].values()) == [f"1970-01-0{number}T00:00:00+00:00" for number in range(2, 8)][:6] + [None]
    assert list(entry["dates"]) == list(kms.DATES)


def test_one_that_cannot_be_read_hides_no_other(server: KeyServer) -> None:
    """PyKMIP's reader gives a whole message up for one value that it does not know."""
    from kmip.core import enums

    good = {"State": enums.State.ACTIVE, "Object Type": enums.ObjectType.SYMMETRIC_KEY}

    def odd(asked: Any) -> bytes:
        data = answer_of(*[item_of(each, attributes=good) for each in asked.batch_items])
        place = [each.request_payload.unique_identifier for each in asked.batch_items]
        if "odd" not in place:
            return data
        state = b"\x42\x00\x0b\x05\x00\x00\x00\x04" + (2).to_bytes(4, "big") + bytes(4)
        at = -1
        for _number in range(place.index("odd") + 1):
            at = data.index(state, at + 1)
        return data[: at + 8] + (99).to_bytes(4, "big") + data[at + 12 :]

    with Relay(server, odd) as options:
        result = run(options, "1", "odd", "2")
        alone = run(options, "odd")
    assert [entry["status"] for entry in result["crypto_keys"].values()] == ["compliant", "failed", "compliant"]
    assert "PyKMIP cannot read the answer" in result["crypto_keys"]["odd"]["failure"]["cause"]
    assert alone["summary"] == {"failed": 1}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_over_which_it_hangs_up_hides_no_other(server: KeyServer, place: int) -> None:
    ids = [one.id for one in server.keys[:2]]
    ids.insert(place, "odd")

    def touchy(asked: Any) -> str | None:
        return "end" if "odd" in [each.request_payload.unique_identifier for each in asked.batch_items] else None

    with Relay(server, touchy) as options:
        result = run(options, *ids)
        assert "the connection was lost" in refused(options, "odd").cause
    assert [result["crypto_keys"][one]["status"] for one in ids if one != "odd"] == ["compliant", "compliant"]
    assert "the connection was lost" in result["crypto_keys"]["odd"]["failure"]["cause"]


def test_the_time_to_connect_is_for_all_addresses(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def silent(_address: Any, timeout: float) -> Any:
        shares.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [(2, 1, 6, "", (f"192.0.2.{n}", 5696)) for n in range(4)])
    monkeypatch.setattr(socket, "create_connection", silent)
    problem = refused(reach(server, connect_timeout=8.0))
    assert problem.kind == "endpoint_unreachable" and len(shares) == 4 and shares[0] <= 2.0


def test_an_answer_about_another_key(server: KeyServer) -> None:
    from kmip.core import enums

    def another(asked: Any) -> bytes:
        return answer_of(*[item_of(each, attributes={"State": enums.State.ACTIVE}, uid="another") for each in asked.batch_items])

    with Relay(server, another) as options:
        result = run(options, "1", "2")
    assert result["summary"] == {"failed": 2} and "not about the key" in result["msg"]


def test_a_version_that_it_does_not_speak(server: KeyServer) -> None:
    def old(_asked: Any) -> bytes:
        return answer_of(item_of(reason="INVALID_MESSAGE", words="KMIP 1.4 is not supported\x1b[31m\nby server"))

    with Relay(server, old) as options:
        for ids in (["1"], ["1", "2"]):
            problem = refused(options, *ids)
            assert problem.kind == "server_fault" and "try another kmip_version" in problem.hint and "\x1b" not in problem.sentence


HEAD = b"\x42\x00\x7b\x01"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "endpoint_unreachable", "does not speak KMIP"),
        (os.urandom(1) + b"\x00" * 64, "endpoint_unreachable", "does not speak KMIP"),
        (HEAD + b"\xff\xff\xff\xff", "server_fault", "announces an answer of 4294967295 bytes"),
        (HEAD + b"\x00\x00\x00\x20" + b"short", "timed_out", "no answer within 0.5 s"),
        (b"", "timed_out", "no answer within 0.5 s"),
        ("end", "endpoint_unreachable", "the connection was lost"),
        (HEAD + b"\x00\x00\x00\x10" + b"\xff" * 16, "", "PyKMIP cannot read the answer"),
        (HEAD + b"\x00\x00\x00\x00", "", "PyKMIP cannot read the answer"),
    ],
    ids=["http", "noise", "huge", "short", "nothing", "end", "garbage", "empty"],
)
def test_hostile_answers(server: KeyServer, answer: bytes | str, kind: str, words: str) -> None:
    patience = 0.5 if kind == "timed_out" else 30.0
    with Relay(server, lambda _asked: answer) as options:
        for ids in (["1"], ["1", "2"]):
            if kind:
                problem = refused(options, *ids, read_timeout=patience)
                assert problem.kind == kind and words in problem.cause
            else:
                result = run(options, *ids, read_timeout=patience)
                assert result["summary"] == {"failed": len(ids)} and words in result["msg"]


def test_a_port_without_tls(server: KeyServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def greet() -> None:
            with contextlib.suppress(OSError):
                client, _address = plain.accept()
                client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                client.recv(4096)
                client.close()

        threading.Thread(target=greet, daemon=True).start()
        problem = refused(reach(server, port=plain.getsockname()[1]))
        assert problem.kind == "tls_refused" and "TLS fails: " in problem.cause


# ---- as Ansible runs it -----------------------------------------------------------------------------------------------------------
def ansible(folder: pathlib.Path, options: dict[str, Any], *flags: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
    (folder / "options.json").write_text(json.dumps({"options": options}))
    task = {"fleetcare.esxi.kms_key_info": "{{ options }}", "register": "done", "ignore_errors": True}
    shown = {
        "ansible.builtin.copy": {"content": "{{ done | to_json }}", "dest": str(folder / "done.json"), "mode": "0600"},
        "check_mode": False,
    }
    (folder / "play.yml").write_text(json.dumps([on_localhost(task, shown)]))
    log = folder / "ansible.log"
    environment = {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_INJECT_FACT_VARS": "false", **environment}
    done = ansible_playbook(folder, "play.yml", "-e", "@options.json", *flags, environment=environment)
    (folder / "options.json").unlink()
    return done, done.stdout + done.stderr + log.read_text()


def test_nothing_leaks(server: KeyServer, states: dict[str, str], tmp_path: pathlib.Path) -> None:
    """At -vvvv, with a server that says back what it was told."""

    def talkative(asked: Any) -> bytes | None:
        words = f"not for {PASSWORD}"
        ids = [each.request_payload.unique_identifier for each in asked.batch_items]
        return answer_of(item_of(asked.batch_items[0], reason="GENERAL_FAILURE", words=words)) if ids == ["echo"] else None

    key = pathlib.Path(str(server.admin.key)).read_text().splitlines()[1]
    with Relay(server, talkative) as options:
        given = {**options, "username": "auditor", "password": PASSWORD}
        good, text = ansible(tmp_path, {**given, "key_ids": [states["active"], states["deactivated"]]}, "-vvvv", "--check")
        assert good.returncode == 0 and PASSWORD not in text and key not in text and "kms_key_deactivated" in text, text
        result = json.loads((tmp_path / "done.json").read_text())
        assert result["crypto_keys"][states["active"]]["status"] == "compliant" and not result["failed"]
        assert not result.get("warnings") and not result.get("deprecations")
        _done, text = ansible(tmp_path, {**given, "key_ids": ["echo"]}, "-vvvv")
        result = json.loads((tmp_path / "done.json").read_text())
    assert PASSWORD not in text and PASSWORD not in json.dumps(result)
    assert result["failed"] and "not for " in result["msg"] and "Traceback" not in text


def test_the_library_says_nothing(server: KeyServer, states: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    level = root.level
    heard: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = heard.append  # type: ignore[method-assign, assignment]
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        run(reach(server), *states.values())
        logging.getLogger("kmip.core").error("key material")
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
    assert heard == [] and capfd.readouterr() == ("", "")


def test_without_pykmip(tmp_path: pathlib.Path) -> None:
    """The usual sentence for a library that is missing."""
    (tmp_path / "kmip.py").write_text("raise ImportError('hidden')")
    _done, text = ansible(tmp_path, {"address": "localhost", "key_ids": ["1"]}, PYTHONPATH=str(tmp_path))
    assert "Failed to import the required Python library (pykmip)" in text

"""No private key, token, passphrase or PIN is in what a mesh says, writes or could leave behind, whatever is done to it."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from starlette.routing import Route
from tests.e2e import objects, processes, unprivileged
from tests.e2e.callers import ask
from tests.e2e.objects import port
from tests.e2e.programs import server_command
from tests.e2e.secret_search import UNKNOWN_KEYS, Secret, of_key, search
from tests.e2e.waits import until
from tests.unit.citadel.company import company_ca

from hauberk.agent.server import ROUTES as AGENT_ROUTES
from hauberk.apiserver.server import ROUTES
from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.key_seal import Passphrase
from hauberk.kit.unix_http import UnixHttp
from hauberk.testing.mesh import running_mesh
from hauberk.testing.namespace import MeshNamespace

SEAL = b"passphrase-of-the-key-store-7041"
COMPANY = b"passphrase-of-the-company-key-2718"
WRONG = b"a-wrong-passphrase-of-somebody-3141"
TYPED = "passphrase-typed-as-a-name-1618"
FETCHING = """
import base64, json
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import WorkloadApiClient
with WorkloadApiClient() as client:
    key = client.fetch_x509_svid().private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    token = client.fetch_jwt_svid(audience={"api"}).token
    client.validate_jwt_svid(token=token, audience="api")
    refused = 0
    for wrong, audience in ((token, "other"), (token[:-4] + "AAAA", "api")):
        try:
            client.validate_jwt_svid(token=wrong, audience=audience)
        except Exception:
            refused += 1
    print(json.dumps({"key": base64.b64encode(key).decode(), "token": token, "refused": refused}))
"""


@dataclass
class Told:
    """All that the mesh has said, by who said it; and what must not be in it."""

    shop: MeshNamespace
    directory: Path
    secrets: list[Secret] = field(default_factory=list)
    said: dict[str, bytes] = field(default_factory=dict)

    def hauberk(self, *words: object) -> subprocess.CompletedProcess[bytes]:
        """A command with -v; what it prints is kept."""
        command = [sys.executable, "-m", "hauberk", *map(str, words), "--mesh", self.shop.mesh.places.mesh, "-v"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        self.say(f"hauberk {' '.join(map(str, words[:4]))}", done.stdout + done.stderr)
        return done

    def say(self, who: str, what: bytes) -> None:
        self.said[who] = self.said.get(who, b"") + what


def private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    directory = tmp_path_factory.mktemp("secrets")
    seal = private(directory / "seal", SEAL + b"\n")
    settings = {
        "HAUBERK_CA_PASSPHRASE_FILE": str(seal),
        "HAUBERK_CERTIFICATE_LIFETIME": "6s",
        "HAUBERK_LISTEN": f"127.0.0.1:{_free_port()}",
    }
    with running_mesh(f"leaks-{os.getpid()}", settings=settings) as mesh:
        shop = mesh.namespace("shop")
        objects.apply(
            shop,
            *(objects.account(name) for name in ("client", "web")),
            objects.pod("web", server_command("http@[::]:8080"), account="web"),
            objects.service("web", port(80, "http", 8080)),
            objects.idle("client", account="client"),
        )
        shop.ready("web", "client")
        told = Told(shop, directory, [Secret("a passphrase", each) for each in (SEAL, COMPANY, WRONG, TYPED.encode())])
        live(told)
        yield told


def live(told: Told) -> None:
    """Everything that has to do with keys happens once: issuing, rotation, an import, refusals; and everything is asked for."""
    shop, mesh = told.shop, told.shop.mesh
    told.hauberk("proxy", "log", "web", "trace", "-n", "shop")
    first = serial_of(shop, "web")
    _keep_keys(told)
    _refusals(told)
    _import(told)
    until(lambda: serial_of(shop, "web") != first, "a rotation")
    assert ask(shop, "client", "http", "web", 80)["status"] == 200
    _join_token(told)
    _workload_secrets(told)
    _keep_keys(told)
    for words in (
        *(("status",), ("proxy", "status"), ("describe", "pod", "web", "-n", "shop"), ("get", "pods,cm,sa", "-A", "-o", "yaml")),
        *(("proxy", "config", pod, part, "-n", "shop", "-o", "json") for pod in ("web", "client") for part in ("secrets", "all")),
        *(("logs", "web", "-n", "shop", "--proxy"), ("access", "-A"), ("ca", "import", "--list"), ("ca", "bundle")),
        *(("ca", "show"), ("ca", "show", "-o", "json"), ("ca", "nodes"), ("ca", "rotate"), ("ca", "revoke", "--list")),
        ("ca", "revoke", "client", "-n", "shop", "--reason", "tested"),
    ):
        told.hauberk(*words)
    for name, answers, routes in (("api", mesh.places.api_socket, ROUTES), ("agent", mesh.places.agent_socket, AGENT_ROUTES)):
        _ask_all(told, name, UnixHttp(answers), routes)


def serial_of(shop: MeshNamespace, pod: str) -> str:
    proxies = shop.mesh.api("GET", "/v1/status")["proxies"] or []
    agent = shop.mesh.agent("GET", "/v1/status")
    text = json.dumps([proxies, agent])
    found = re.search(rf'"pod": "{pod}".*?"serial": "([0-9a-f]+)"', text)
    return found[1] if found else ""


def _keep_keys(told: Told) -> None:
    """What the key store holds now is a secret of ours from now on."""
    store = FileKeyStore(told.shop.mesh.places.authority, Passphrase(SEAL))
    told.secrets += [of_key(f"the key {name}", store.open(name).key) for name in store.ids()]


def _refusals(told: Told) -> None:
    """Keys, passphrases and certificates in all the wrong places."""
    key = ec.generate_private_key(ec.SECP256R1())
    told.secrets.append(of_key("a key in the wrong place", key))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    directory, root = told.directory, company_ca("Root", now=datetime.now(UTC))
    ours = company_ca("Mesh", root, now=datetime.now(UTC))
    certificate, plain = private(directory / "cert", ours.chain_pem + root.pem), private(directory / "plain", pem)
    sealed, wrong = private(directory / "sealed", ours.key_pem(COMPANY)), private(directory / "wrong", WRONG)
    told.secrets.append(of_key("a key that was refused", ours.key))
    damaged = private(directory / "damaged", pem[:-60] + b"\n-----END PRIVATE KEY-----\n")
    for named in (
        *(("--cert", plain, "--key", certificate), ("--cert", certificate, "--key", plain), ("--cert", certificate, "--key", damaged)),
        *(("--cert", certificate, "--key", sealed), ("--cert", certificate, "--key", sealed, "--passphrase-file", wrong)),
        *(("--cert", certificate, "--key", sealed, "--passphrase-file", TYPED), ("--cert", certificate, "--key", directory)),
    ):
        assert told.hauberk("ca", "import", *named).returncode != 0, named


def _import(told: Told) -> None:
    root = company_ca("Company", now=datetime.now(UTC))
    ours = company_ca("Mesh of the company", root, now=datetime.now(UTC))
    told.secrets.append(of_key("the company's key", ours.key))
    files = private(told.directory / "ours", ours.chain_pem + root.pem), private(told.directory / "ours-key", ours.key_pem(COMPANY))
    words = ("ca", "import", "--cert", files[0], "--key", files[1], "--passphrase-file", private(told.directory / "ours-pass", COMPANY))
    done = told.hauberk(*words)
    assert done.returncode == 0, done.stderr
    until(lambda: told.shop.mesh.api("GET", "/v1/ca/import").get("slot") == "active", "the import")


def _join_token(told: Told) -> None:
    """A token with which another machine could join, and one more that makes it worthless."""
    for name in ("n2.join", "n2-again.join"):
        told.hauberk("ca", "token", "create", "n2", "-o", told.directory / name)
        document = json.loads((told.directory / name).read_text())
        # Its first part is its name and may be told; who has the rest can join.
        parts = re.findall(r"[\w-]{20,}", document["token"])
        assert parts
        told.secrets += [Secret("a join token", part.encode()) for part in parts]


def _workload_secrets(told: Told) -> None:
    """What a program fetches for itself by the Workload API: a key and a token, which is then judged, whole and forged."""
    done = told.shop.exec("client", sys.executable, "-c", FETCHING).check()
    found = json.loads(done.stdout)
    told.secrets.append(of_key("a program's key", load_der_private_key(base64.b64decode(found["key"]), None)))
    told.secrets.append(Secret("a program's token", found["token"].rpartition(".")[2].encode()))
    assert found["refused"] == 2


def _ask_all(told: Told, name: str, http: UnixHttp, routes: Any) -> None:
    """Every GET without a body that there is, and the dump of an Envoy in full."""
    for route in routes:
        if isinstance(route, Route) and "GET" in (route.methods or ()) and "{" not in route.path:
            _, answer = http.request("GET", route.path)
            told.say(f"{name} {route.path}", json.dumps(answer).encode())
    if name == "agent":
        for path in ("config_dump?include_eds", "certs", "server_info", "stats", "init_dump", "memory"):
            _, answer = http.request("GET", f"/v1/pods/shop/web/envoy/{path}")
            told.say(f"envoy /{path}", answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())


def test_commands_with_v_and_answers_of_both_apis_say_no_secret(told: Told) -> None:
    assert len(told.said) > 25
    assert {who: found for who, what in told.said.items() if (found := search(what, [*told.secrets, *UNKNOWN_KEYS]))} == {}


def test_an_envoy_was_asked_for_its_key_and_has_not_told_it(told: Told) -> None:
    dump = told.said["envoy /config_dump?include_eds"]
    assert dump.count(base64.b64encode(b"[redacted]")) >= 1
    assert b"certificate_chain" in dump


def test_no_file_of_the_mesh_holds_a_secret_and_only_sealed_keys_lie_beside_their_certificates(told: Told) -> None:
    places = told.shop.mesh.places
    found: dict[str, set[str]] = {}
    files = [path for top in (places.state, places.run) for path in top.rglob("*") if path.is_file()]
    assert any(path.name == "proxy.log" and b"[trace]" in path.read_bytes() for path in files)
    for path in files:
        is_key = path.parent == places.authority and path.suffix == ".pem"
        hits = search(path.read_bytes(), [*told.secrets, *(() if is_key else UNKNOWN_KEYS)])
        if hits:
            found[str(path.relative_to(places.state.parent.parent))] = hits
    assert found == {}


def test_no_process_has_a_secret_in_its_arguments_or_its_environment(told: Told) -> None:
    mesh = told.shop.mesh
    numbers = [processes.find(mesh, part) for part in ("control-plane", "agent", "init")]
    numbers += [processes.find_envoy(told.shop, pod) for pod in ("web", "client")]
    for number in numbers:
        said = Path(f"/proc/{number}/cmdline").read_bytes()
        if os.geteuid() == 0:
            said += Path(f"/proc/{number}/environ").read_bytes()
        assert search(said, [*told.secrets, *UNKNOWN_KEYS]) == set()


def test_no_process_with_keys_leaves_a_core_file(told: Told) -> None:
    mesh = told.shop.mesh
    numbers = [processes.find(mesh, part) for part in ("control-plane", "agent")]
    for number in (*numbers, *(processes.find_envoy(told.shop, pod) for pod in ("web", "client"))):
        limits = Path(f"/proc/{number}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), limits


@pytest.mark.parametrize("part", ["control_plane", "agent"])
def test_control_plane_and_agent_forbid_that_their_memory_is_dumped(part: str) -> None:
    # A program that collects core files (core_pattern with a pipe) gets them whatever the limit is; only this keeps it away.
    run = f"""if 1:
        import asyncio, ctypes, sys
        from hauberk.local import {part} as part
        def instead(work):
            work.close()
            print("dumpable:", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
        asyncio.run = instead
        sys.exit(part.main([]))
    """
    with tempfile.TemporaryDirectory(prefix="hb-") as directory:
        places = {"HAUBERK_STATE_DIR": f"{directory}/state", "HAUBERK_RUN_DIR": f"{directory}/run"}
        done = subprocess.run([sys.executable, "-c", run], env={**os.environ, **places}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "dumpable: 0\n"), done.stderr


@pytest.mark.parametrize("given", ["wrong", "typed"])
def test_a_control_plane_that_cannot_open_its_keys_says_why_and_quotes_and_changes_nothing(given: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hb-") as directory:
        keys = Path(directory, "state", "default", "ca")
        keys.mkdir(mode=0o700, parents=True)
        FileKeyStore(keys, Passphrase(SEAL)).create("root-1")
        before = (keys / "root-1.pem").read_bytes()
        named = str(private(Path(directory, "wrong"), WRONG)) if given == "wrong" else TYPED
        settings = {"HAUBERK_STATE_DIR": f"{directory}/state", "HAUBERK_RUN_DIR": f"{directory}/run", "HAUBERK_CA_PASSPHRASE_FILE": named}
        command = [sys.executable, "-m", "hauberk", "control-plane", "--mesh", "default"]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False, timeout=60)
        assert done.returncode == 1
        reason = {"wrong": b"the passphrase is wrong", "typed": b"HAUBERK_CA_PASSPHRASE_FILE: it is not an absolute path"}[given]
        assert reason in done.stderr
        assert search(done.stdout + done.stderr, [Secret("a passphrase", each) for each in (SEAL, WRONG, TYPED.encode())]) == set()
        assert (keys / "root-1.pem").read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="this is what it is run by")
def test_all_of_this_holds_without_privileges() -> None:
    done = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "not search_ and not control_plane", __file__])
    assert done.returncode == 0, done.stdout + done.stderr


KEY = ec.generate_private_key(ec.SECP256R1())
DER = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
SEC1 = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PLANTED = {
    "PEM": PEM,
    "SEC 1": SEC1,
    "PEM in JSON": json.dumps({"key": PEM.decode()}).encode(),
    "PEM in JSON in JSON": json.dumps(json.dumps({"key": PEM.decode()})).encode(),
    "DER": DER,
    "DER in hexadecimal": DER.hex().encode(),
    "DER in base64": base64.b64encode(DER),
    "DER in base64, one off": base64.b64encode(b"x" + DER),
    "DER in base64, two off": base64.b64encode(b"xx" + DER),
    "DER for URLs": base64.urlsafe_b64encode(b"xx" + DER),
    "base64 of PEM": base64.b64encode(PEM),
    "a Python bytes object": repr(DER).encode(),
    "lines of base64": base64.encodebytes(DER),
}


@pytest.mark.parametrize("form", PLANTED)
def test_search_finds_a_key_in_every_form(form: str) -> None:
    planted = b"something before " + PLANTED[form] + b" and after"
    known = search(planted, [of_key("it", KEY)])
    unknown = search(planted, UNKNOWN_KEYS)
    # Base64 of base64 hides the number, but not the words around it.
    assert (known, bool(unknown)) == ({"it"} if form != "base64 of PEM" else set(), True)


def test_search_finds_a_word_in_every_form_and_nothing_where_nothing_is() -> None:
    secret = Secret("it", SEAL)
    for planted in (SEAL, json.dumps(SEAL.decode()).encode(), base64.b64encode(b"x" + SEAL), SEAL.hex().encode()):
        assert search(b"before " + planted + b" after", [secret]) == {"it"}
    assert search(b"-----BEGIN CERTIFICATE-----" + os.urandom(4096), [secret, *UNKNOWN_KEYS]) == set()

"""The commands of the README and their siblings, against a running mesh, as a person or a script would use them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import unprivileged
from tests.e2e.waits import until

from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE

ROOT = os.geteuid() == 0
HAUBERK = (sys.executable, "-m", "hauberk")
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-frontend}
spec:
  selector: {matchLabels: {app: web}}
  action: ALLOW
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/frontend]}}]}]
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A mesh with `web` and `client` in it, started by the command itself; its files are below the directory."""
    directory = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    before = {name: os.environ.get(name) for name in (STATE_VARIABLE, RUN_VARIABLE)}
    os.environ.update({STATE_VARIABLE: str(directory / "s"), RUN_VARIABLE: str(directory / "r")})
    try:
        assert hauberk("up", "--detach", "--wait").returncode == 0
        done("run", "web", "--port", "8080", "--", sys.executable, "-m", "http.server", "8080")
        done("run", "client", "--", "sleep", "infinity")
        yield directory
    finally:
        hauberk("down", "--purge")
        os.environ.update({name: value for name, value in before.items() if value is not None})
        for name in (name for name, value in before.items() if value is None):
            del os.environ[name]
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def _mesh(home: Path) -> None:
    """Every test here has the mesh."""


def hauberk(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """One command, run to its end."""
    return subprocess.run([*HAUBERK, *arguments], input=stdin, text=True, capture_output=True, timeout=120, check=False)


def done(*arguments: str, stdin: str | None = None) -> str:
    """What a command that succeeds prints."""
    ran = hauberk(*arguments, stdin=stdin)
    assert ran.returncode == 0, f"{arguments}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def document(*arguments: str) -> Any:
    """The one JSON document that a command prints."""
    return json.loads(done(*arguments, "-o", "json"))


def request() -> subprocess.CompletedProcess[str]:
    """The client asks web."""
    return hauberk("exec", "client", "--", sys.executable, "-c", ASK, "http://web:8080/")


def test_a_program_reaches_another_by_name() -> None:
    assert request().stdout.strip() == "200"


def test_get_speaks_every_format() -> None:
    assert "web-" in done("get", "pods")
    assert re.search(r"10\.244\.\d+\.\d+", done("get", "po", "-o", "wide"))
    assert document("get", "service", "web")["spec"]["clusterIP"].startswith("10.96.")
    listed = document("get", "pods,services", "-A")
    assert (listed["kind"], {each["kind"] for each in listed["items"]}) == ("List", {"Pod", "Service"})
    assert done("get", "svc", "-o", "name").split() == ["service/web"]
    assert done("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}").strip() == "Running"
    assert "kind: Deployment" in done("get", "deploy/web", "-o", "yaml")


def test_a_pipe_gets_no_colours_and_no_progress() -> None:
    ran = hauberk("get", "pods")
    assert "\x1b" not in ran.stdout + ran.stderr


def test_status_has_the_promised_fields() -> None:
    status = document("status")
    assert status["controlPlane"]["ready"] is True
    assert status["agents"][0]["ready"] is True
    proxy = next(each for each in status["proxies"] if each["pod"].startswith("web-"))
    assert (proxy["ready"], proxy["synced"], proxy["rejected"]) == (True, True, [])
    assert proxy["certificate"]["spiffeId"] == "spiffe://cluster.local/ns/default/sa/web"


def test_a_policy_is_applied_acknowledged_seen_and_taken_back() -> None:
    applied = json.loads(done("apply", "-f", "-", "--wait", "-o", "json", stdin=POLICY))
    assert applied["applied"] == [{"kind": "AuthorizationPolicy", "namespace": "default", "name": "only-frontend", "result": "created"}]
    assert applied["affected"] == applied["acknowledged"] >= 1
    assert "403" in request().stderr
    assert "default/client" in _until("access", "--denied", text="403")
    assert "only-frontend" in done("describe", "pod", _pod("web"))
    assert json.loads(done("apply", "-f", "-", "-o", "json", stdin=POLICY))["applied"][0]["result"] == "unchanged"
    done("delete", "ap", "only-frontend", "--wait")
    assert request().stdout.strip() == "200"


def test_both_sides_record_a_request() -> None:
    name = "from-test-cli"
    script = "import sys, urllib.request as u; u.urlopen(u.Request('http://web:8080/', headers={'x-request-id': sys.argv[1]}))"
    done("exec", "client", "--", sys.executable, "-c", script, name)
    until(lambda: len(document("access", "--request-id", name)) == 2, "a record of each side")
    records = document("access", "--request-id", name)
    assert {each["reporter"] for each in records} == {"source", "destination"}
    assert {each["source"]["identity"] for each in records} == {"spiffe://cluster.local/ns/default/sa/client"}
    assert {each["mtls"]["version"] for each in records} == {"TLSv1.3"}


def test_what_is_wrong_in_a_file_is_located_and_nothing_is_changed() -> None:
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: fine}\n"
    text = account + "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {prots: []}\n"
    ran = hauberk("apply", "-f", "-", stdin=text)
    assert ran.returncode == 1
    assert "<stdin>:8:8" in ran.stderr
    assert "prots" in ran.stderr
    assert hauberk("get", "sa", "fine").returncode == 1


def test_dry_run_changes_nothing() -> None:
    assert "created (dry run)" in done("apply", "-f", "-", "--dry-run", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: maybe}\n")
    assert hauberk("get", "ns", "maybe").returncode == 1


def test_exec_passes_on_streams_and_the_exit_code() -> None:
    ran = hauberk("exec", "-i", "client", "--", "sh", "-c", "cat; echo bad >&2; exit 7", stdin="through the pod\n")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "through the pod\n", "bad\n")


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("no-such-program", 127, "there is no program 'no-such-program'"),
        ("/nowhere/program", 127, "there is no program '/nowhere/program'"),
        ("/etc/passwd", 126, "'/etc/passwd' cannot be executed"),
        ("/etc", 126, "'/etc' cannot be executed"),
    ],
)
def test_exec_of_what_cannot_be_run_says_so_and_ends_as_a_shell_does(program: str, code: int, said: str) -> None:
    ran = hauberk("exec", "client", "--", program)
    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr


def test_exec_gives_a_terminal_of_the_size_of_ours() -> None:
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    command = [
        *HAUBERK,
        "exec",
        "-it",
        "client",
        "--",
        "sh",
        "-c",
        "test -t 0 && test -t 1 && stty size; read line; echo got $line; exit 3",
    ]
    with subprocess.Popen(command, stdin=far, stdout=far, stderr=far, start_new_session=True) as process:
        os.close(far)
        assert "33 99" in _read(near, "33 99")
        os.write(near, b"typed\r")
        assert "got typed" in _read(near, "got typed")
        assert process.wait(30) == 3
    os.close(near)


def test_a_program_that_is_attached_passes_on_its_output_and_code_and_is_gone() -> None:
    ran = hauberk("run", "once", "--attach", "--", "sh", "-c", "echo printed; exit 5")
    assert (ran.returncode, ran.stdout) == (5, "printed\n")
    assert "pod/once" not in done("get", "pods", "-o", "name")


def test_a_program_that_does_not_exist_is_told_at_once() -> None:
    ran = hauberk("run", "absent", "--wait", "30s", "--", "no-such-program")
    assert ran.returncode == 1
    assert "no-such-program" in ran.stderr
    done("delete", "deploy,sa", "absent")


def test_scaling_and_restarting_wait_for_what_they_say() -> None:
    done("scale", "deploy/web", "--replicas", "3", "--wait")
    assert document("get", "deploy", "web")["status"]["readyReplicas"] == 3
    before = set(done("get", "pods", "-l", "app=web", "-o", "name").split())
    done("rollout", "restart", "web", "--wait")
    assert "rolled out" in done("rollout", "status", "deploy/web")
    after = {
        each["metadata"]["name"]
        for each in document("get", "pods", "-l", "app=web")["items"]
        if "deletionTimestamp" not in each["metadata"]
    }
    assert len(after) == 3
    assert not after & {name.removeprefix("pod/") for name in before}
    done("scale", "web", "--replicas", "1", "--wait")


def test_a_port_is_forwarded_to_the_program() -> None:
    with subprocess.Popen([*HAUBERK, "port-forward", "svc/web", ":8080"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[1]
            with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            process.kill()


def test_logs_show_what_the_program_printed_and_what_its_proxy_printed() -> None:
    request()
    assert '"GET / HTTP/1.1" 200' in _until("logs", "web", text="GET /")
    done("proxy", "log", "web", "admin:debug")
    done("proxy", "stats", "web", "server")
    assert "request complete: path: /stats" in _until("logs", "web", "--proxy", text="/stats")
    done("proxy", "log", "web", "warning")


def test_the_proxy_shows_what_it_was_given() -> None:
    assert re.search(r"web\.default\.svc\.cluster\.local +8080 +- +outbound +EDS", done("proxy", "config", "client", "clusters"))
    assert "virtualInbound" in done("proxy", "config", "web.default", "listeners")
    assert re.search(r":8080 +healthy", done("proxy", "config", "client", "endpoints"))
    secrets = done("proxy", "config", "client", "secrets")
    assert "spiffe://cluster.local/ns/default/sa/client" in secrets
    assert "PRIVATE" not in done("proxy", "config", "client", "all", "-o", "json")
    assert "cluster_manager" in done("proxy", "stats", "web", "cluster_manager")
    assert "web-" in done("proxy", "status")


def test_completion_offers_the_names_of_the_mesh() -> None:
    environment = {**os.environ, "_HAUBERK_COMPLETE": "bash_complete", "COMP_WORDS": "hauberk exec deploy/", "COMP_CWORD": "2"}
    ran = subprocess.run(HAUBERK, env=environment, text=True, capture_output=True, check=True)
    assert "deploy/web" in ran.stdout
    assert "_hauberk_completion" in done("completion", "bash")


def test_a_second_up_finds_the_first() -> None:
    ran = hauberk("up", "--detach", "--wait")
    assert ran.returncode == 0
    assert "already running" in ran.stderr


@pytest.mark.skipif(not ROOT, reason="this is that run")
def test_all_this_holds_for_a_user_without_privileges() -> None:
    ran = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__))])
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _pod(app: str) -> str:
    return str(document("get", "pods", "-l", f"app={app}")["items"][0]["metadata"]["name"])


def _until(*arguments: str, text: str) -> str:
    """What a command prints once it prints `text`: records and logs come a moment after what they tell of."""
    for _ in range(100):
        shown = hauberk(*arguments).stdout
        if text in shown:
            return shown
    raise AssertionError(f"{' '.join(arguments)} never showed {text!r}")


def _read(descriptor: int, text: str) -> str:
    seen = ""
    while text not in seen:
        assert select.select([descriptor], [], [], 30)[0], f"only {seen!r}"
        seen += os.read(descriptor, 4096).decode()
    return seen

"""The proof that the demo's mesh does what a mesh is for, from inside the pods and on the wire; each check says what it saw."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hauberk.demo import probes
from hauberk.demo.mesh import DemoFailed, DemoMesh
from hauberk.demo.wire import Capture
from hauberk.linux.launch import Launcher

Document = dict[str, Any]
_IDENTITY = "spiffe://cluster.local/ns/shop/sa/"
_PATIENCE = 30.0  # seconds until an Envoy that was killed must serve again


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check: what it is about, whether it passed, what was seen."""

    name: str
    passed: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that nothing else contains, so that seeing one anywhere means exactly one thing."""

    inside: str  # of a request between two pods of the mesh
    outside: str  # of a program beside the mesh, which sends plaintext: proof that plaintext would be seen
    denied: str  # of a request that a policy refuses

    @classmethod
    def fresh(cls) -> Texts:
        """Texts of this run."""
        return cls(*(f"{word}-{secrets.token_hex(12)}" for word in ("inside", "outside", "denied")))


class Checks:
    """One unattended run."""

    def __init__(self, mesh: DemoMesh, capture: Capture, texts: Texts) -> None:
        self._mesh = mesh
        self._capture = capture
        self._texts = texts

    def run(self, tell: Callable[[str], None]) -> Iterator[Outcome]:
        """Every check in turn; one that fails does not keep the others from being made."""
        for name, check in (
            ("names resolve to the service", self.names),
            ("an unaware program's request arrives unchanged", self.unchanged),
            ("both sidecars record the identities and one request id", self.recorded),
            ("a policy refuses an HTTP request with 403", self.denied_http),
            ("a policy closes a TCP connection", self.denied_tcp),
            ("a program outside the mesh gets no byte through", self.outsider),
            ("a program reaches neither admin, keys nor rules of its sidecar", self.contained),
            ("with its Envoy killed, no traffic; then again", self.killed),
            ("no plaintext on the wire, and TLS 1.3", self.wire),
        ):
            tell(name)
            try:
                passed, evidence = check()
            except (DemoFailed, OSError, ValueError, KeyError) as error:
                passed, evidence = False, f"{type(error).__name__}: {error}"
            yield Outcome(name, passed, evidence)

    def names(self) -> tuple[bool, str]:
        """Every form of a service's name leads to its address, from inside a pod."""
        address = self._service_addresses("catalog")
        script = "import json,socket,sys; print(json.dumps([sorted({e[4][0] for e in socket.getaddrinfo(n, 80)}) for n in sys.argv[1:]]))"
        names = ("catalog", "catalog.shop", "catalog.shop.svc", "catalog.shop.svc.cluster.local")
        found = self._python("frontend", script, *names)
        return all(each and set(each) <= address for each in found), f"{len(names)} names, {', '.join(found[0])}"

    def unchanged(self) -> tuple[bool, str]:
        """A plain HTTP request to the service's address; the server program reports what it received."""
        path, headers = f"/echo/a%2Fb?x=1&y={self._texts.inside}", {"x-demo": self._texts.inside, "accept": "*/*"}
        found = self._request("frontend", "catalog", path, headers, body=self._texts.inside)
        if found["status"] != 200:
            return False, f"status {found['status']}: {found['body']}"
        seen = json.loads(found["body"])
        same = (seen["method"], seen["path"], seen["body"], seen["headers"].get("x-demo")) == (
            "POST",
            path,
            self._texts.inside,
            self._texts.inside,
        )
        made = "x-request-id" in seen["headers"] and "traceparent" in seen["headers"]
        plain = found["peer"] in self._service_addresses("catalog")
        return (
            same and plain and made,
            f"connected to {found['peer']}, method, path, header and body as sent, request id and traceparent added",
        )

    def recorded(self) -> tuple[bool, str]:
        """One request, found in the records of both sides under the id that the client chose."""
        request_id = f"demo-{secrets.token_hex(8)}"
        self._request("frontend", "catalog", "/healthz", {"x-request-id": request_id})
        records = {record["reporter"]: record for record in self._mesh.awaited_records(request_id, reporters=2)}
        if set(records) != {"source", "destination"}:
            return False, f"reported by {', '.join(sorted(records)) or 'nobody'}"
        wanted = (_IDENTITY + "frontend", _IDENTITY + "catalog", "TLSv1.3")
        found = [
            (each["source"]["identity"], each["destination"]["identity"], (each["mtls"] or {}).get("version")) for each in records.values()
        ]
        return all(each == wanted for each in found), " to ".join(str(part) for part in found[0][:2]) + f", {found[0][2]}, on both sides"

    def denied_http(self) -> tuple[bool, str]:
        """A caller whom no rule allows gets 403, its record says so, and the program sees nothing."""
        request_id = f"demo-{secrets.token_hex(8)}"
        found = self._request("analytics", "payments", f"/charge?{self._texts.denied}", {"x-request-id": request_id})
        records = self._mesh.awaited_records(request_id, reporters=2)
        denied = [each for each in records if (each["decision"] or {}).get("verdict") == "deny"]
        reached = self._texts.denied in self._mesh.logs(self._mesh.pod("payments"))
        allowed = self._request("frontend", "orders", "/orders", {}, body='{"item":"helmet","count":1}')
        passed = found["status"] == 403 and bool(denied) and not reached and allowed["status"] == 201
        return passed, f"analytics: {found['status']}, recorded as {'denied' if denied else 'not denied'}; orders: {allowed['status']}"

    def denied_tcp(self) -> tuple[bool, str]:
        """A denied TCP caller's connection is closed before the program hears of it."""
        found = self._line("analytics", "ledger", 9000, self._texts.denied)
        reached = self._texts.denied in self._mesh.logs(self._mesh.pod("ledger"))
        allowed = self._line("payments", "ledger", 9000, "charge 1")
        passed = not found["answer"] and not reached and "ledger ready" in allowed["answer"]
        return (
            passed,
            f"analytics: closed without a byte; payments: {allowed['answer'].strip()!r}" if passed else f"{found} {allowed} {reached}",
        )

    def outsider(self) -> tuple[bool, str]:
        """Plaintext from a pod without a sidecar is refused, whether it asks by name or by address."""
        address = self._mesh.pod("catalog")["status"]["podIP"]
        line = f"GET /echo?{self._texts.outside} HTTP/1.0\r\n\r\n"
        answers = [self._line("outsider", host, 8080, line) for host in ("catalog-pods", address)]
        replied = [each for each in answers if each["answer"]]
        reached = any(self._texts.outside in self._mesh.logs(pod) for pod in self._mesh.listed("pods") if _app(pod) == "catalog")
        return not replied and not reached, "no answer by name or by pod address, and the program saw nothing" if not replied else str(
            replied
        )

    def contained(self) -> tuple[bool, str]:
        """From inside a pod: Envoy's admin interface, sockets, keys, rules and marks are out of reach."""
        places, pod = self._mesh.places, self._mesh.pod("frontend")
        run = places.pod_run(pod["metadata"]["uid"])
        hidden = [run, run / "admin.sock", run / "xds.sock", places.api_socket, places.init_socket, places.authority, places.objects]
        found = self._python("frontend", probes.ESCAPE, json.dumps([str(path) for path in hidden]))
        return not found["reached"], f"{found['tried']} ways tried, " + (
            f"reached: {found['reached']}" if found["reached"] else "none led out"
        )

    def killed(self) -> tuple[bool, str]:
        """While a pod's Envoy is dead nothing leaves the pod; the agent starts it again and all is as before."""
        pod = self._mesh.pod("analytics")
        session = self._mesh.start(pod, [sys.executable, "-c", probes.INTERRUPTED, "frontend", str(_PATIENCE)])
        if session.output.readline().strip() != b"answering":
            return False, "there was no answer to begin with"
        asyncio.run(_kill(self._mesh, f"{pod['metadata']['uid']}/proxy"))
        found = json.loads(session.result().output)
        evidence = f"{found['answered']} answers, {found['failed']} refused while Envoy was gone, then answers again"
        return found["failed"] > 0 and found["again"] > 0, evidence if found["again"] else f"{found}"

    def wire(self) -> tuple[bool, str]:
        """Everything that passed the bridge during all this."""
        heard = self._capture.end()
        inside = heard.in_clear[self._texts.inside.encode()]
        control = heard.in_clear[self._texts.outside.encode()]
        servers = {hello: count for hello, count in heard.hellos.items() if hello.side == "server"}
        modern = bool(servers) and all(hello.version == "TLSv1.3" for hello in servers)
        groups = ", ".join(sorted({hello.group for hello in servers if hello.group}))
        versions = ", ".join(sorted({hello.version for hello in servers}))
        evidence = (
            f"{heard.frames} frames, {sum(servers.values())} handshakes, all {versions} with {groups}; "
            f"the request's text seen {inside} times, the outsider's plaintext {control} times, {heard.lost} frames lost"
        )
        return inside == 0 and control > 0 and modern and heard.lost == 0, evidence

    def _service_addresses(self, name: str) -> set[str]:
        service = next(each for each in self._mesh.listed("services") if each["metadata"]["name"] == name)
        return {*service["spec"].get("clusterIPs", []), service["spec"].get("clusterIP", "")}

    def _python(self, app: str, script: str, *arguments: str) -> Any:
        ran = self._mesh.execute(self._mesh.pod(app), [sys.executable, "-c", script, *arguments])
        if ran.code != 0:
            raise DemoFailed(f"a probe in {app} failed: {ran.errors.strip().splitlines()[-1:]}")
        return json.loads(ran.output)

    def _request(self, app: str, host: str, path: str, headers: dict[str, str], body: str = "") -> Document:
        found: Document = self._python(app, probes.REQUEST, host, path, json.dumps(headers), body)
        return found

    def _line(self, app: str, host: str, port: int, line: str) -> Document:
        found: Document = self._python(app, probes.LINE, host, str(port), line)
        return found


def _app(pod: Document) -> str:
    return str(pod["metadata"].get("labels", {}).get("app", ""))


async def _kill(mesh: DemoMesh, process: str) -> None:
    launcher = await Launcher.connect(mesh.places.init_socket)
    try:
        await launcher.signal(process, signal.SIGKILL)
    finally:
        launcher.close()

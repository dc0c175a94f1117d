"""`hauberk describe certificate`: whose it is, what proved it, who signed it, when it is renewed, what breaks when it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from hauberk.cli.ca_show import time_left
from hauberk.cli.connection import Mesh
from hauberk.cli.plain import printable
from hauberk.cli.target import find_pods, parse_target

NAMES = ("certificate", "certificates", "cert")
_SERIAL = re.compile(r"(?:[0-9A-Fa-f]{2}:?){15}[0-9A-Fa-f]{2}")
_TITLE = 16


def lines(mesh: Mesh, name: str, namespace: str) -> Iterator[str]:
    """The description of the certificate of a pod (or a target that is one pod), or of that serial."""
    if _SERIAL.fullmatch(name):
        query = f"serial={name.replace(':', '').lower()}"
    else:
        pod = find_pods(mesh, parse_target(name, namespace))[0]["metadata"]
        query = f"pod={quote(pod['namespace'] + '/' + pod['name'], safe='')}"
    found = mesh.api("GET", f"/v1/ca/certificates?{query}")
    yield from _leaf(found)
    yield from _chain(found["chain"])
    yield from _consequences(found)


def _field(title: str, value: Any) -> str:
    return f"{title + ':':<{_TITLE}}{printable(str(value))}"


def _leaf(found: dict[str, Any]) -> Iterator[str]:
    yield _field("Identity", found["spiffeId"])
    yield _field("Serial", found["serial"])
    yield _field("Holder", found["holder"] + (f" on node {found['node']}" if found["node"] else ""))
    proof = ", ".join(f"{key} {value}" for key, value in found["attestedBy"].items())
    yield _field("Attested by", proof or "-")
    yield _field("Valid", f"{found['notBefore']} to {found['notAfter']} ({time_left(found['notAfter'])})")
    yield _field("Renewed", _renewed(found))
    yield _field("In use", "yes: its proxy has acknowledged it" if found["held"] else "not known to be: no agent reports it")
    if found["revokedAt"]:
        yield _field("Revoked", f"{found['revokedAt']}: {found['reason'] or 'no reason was given'}")
    if found["problem"]:
        yield _field("Problem", found["problem"])


def _renewed(found: dict[str, Any]) -> str:
    if found["holder"].startswith("outside "):
        return "by nobody: its holder asks for another one before it ends"
    return f"about {found['renewal']} ({time_left(found['renewal'])}), half its life"


def _chain(chain: list[dict[str, Any]]) -> Iterator[str]:
    yield "Chain:"
    for each in chain:
        ends = f"{printable(each['subject'])}, ends in {time_left(each['notAfter'])}"
        yield f"  {each['kind']:<9}{printable(each['id'])} ({each['slot']}), {ends}"
    if not chain:
        yield "  its authority is retired, and believed by nobody any more"


def _consequences(found: dict[str, Any]) -> Iterator[str]:
    yield _field(
        "When it ends", "its holder is refused by every member of the mesh, and refuses them: no traffic but what is exempt from mTLS"
    )
    for each in found["chain"]:
        when = f"when {each['kind']} {printable(each['id'])} ends in {time_left(each['notAfter'])}"
        yield f"  {when}: {each['living']} valid certificates depend on it"

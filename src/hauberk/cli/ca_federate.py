"""`hauberk ca federate`: members of another trust domain are authenticated here, and then policy decides about them."""

from __future__ import annotations

from typing import Any

import click

from hauberk.cli import connection, output
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import read_files
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.verbs import verb

PATH = "/v1/ca/federation"
PROFILES = ("https_web", "https_spiffe")
_HEADER = ("TRUST DOMAIN", "PROFILE", "SEQUENCE", "AUTHORITIES", "JWT KEYS", "FETCHED", "PROBLEM")


@verb(
    "federate",
    "hauberk ca federate",
    "hauberk ca federate b.example --bundle https://bundle.b.example/",
    "hauberk ca federate b.example --bundle https://10.1.2.3:8443/ --bundle b.json --endpoint-id spiffe://b.example/hauberk/bundle-endpoint",
    "hauberk ca federate b.example --bundle b.json",
    "hauberk ca federate b.example --remove",
)
@click.argument("trust_domain", metavar="[TRUST_DOMAIN]", required=False)
@click.option("--bundle", "bundles", multiple=True, metavar="URL|FILE", help="Where its bundle comes from; also a URL and a first FILE.")
@click.option("--profile", type=click.Choice(PROFILES), help="How the server at the URL proves itself.")
@click.option("--endpoint-id", default="", metavar="spiffe://…", help="Who serves the URL; implies the profile https_spiffe.")
@click.option("--remove", is_flag=True, help="Believe nobody of it any more.")
@output_option("table", "json", "yaml", "jsonpath")
def federate(
    *, trust_domain: str | None, bundles: tuple[str, ...], profile: str | None, endpoint_id: str, remove: bool, form: Format
) -> None:
    """Federate with another trust domain, or show which there are.

    With https_web the server holds a certificate for its host name; with https_spiffe it holds an SVID for the SPIFFE ID that you name,
    which needs a first bundle as a file. The endpoint is asked again at the pace its bundle hints at; what it says wrongly is not taken.
    """
    mesh = connection.mesh()
    if trust_domain is None:
        if bundles or remove or profile or endpoint_id:
            raise Failure("say which trust domain", "", "hauberk ca federate TRUST_DOMAIN --bundle URL|FILE", Exit.USAGE)
        _show(mesh.api("GET", PATH), form)
        return
    if remove == bool(bundles):
        raise Failure("say where the bundle comes from, or --remove", "", "give --bundle URL|FILE", Exit.USAGE)
    if remove:
        mesh.api("DELETE", PATH, {"trustDomain": trust_domain})
        click.echo(f"trust domain {printable(trust_domain)} is not believed any more")
        return
    url, name, text = _sources(bundles)
    body = {"trustDomain": trust_domain, "url": url, "profile": profile or "", "endpointId": endpoint_id, "bundle": text}
    status, answer = mesh.api_answer("POST", PATH, body)
    if status >= 400:
        raise _refused(status, answer, name)
    if form.is_table:
        _tell(answer)
    else:
        output.show_document(answer, form)


def _refused(status: int, answer: Any, name: str) -> Failure:
    """The control plane was given a text without its name."""
    failure = connection.refused(status, answer)
    return Failure(failure.what.replace("the bundle file", name or "the bundle", 1), failure.why, failure.remedy, failure.code)


def _sources(given: tuple[str, ...]) -> tuple[str, str, str | None]:
    """The URL, and name and content of the file among what was given, each at most once."""
    urls = [each for each in given if "://" in each]
    files = [each for each in given if "://" not in each]
    if len(urls) > 1 or len(files) > 1:
        raise Failure("there is more than one URL or file", "", "give at most one URL and one file with --bundle", Exit.USAGE)
    texts = read_files((files[0],)) if files else []
    if len(texts) > 1:
        raise Failure(f"{files[0]} is a directory", "", "name the file", Exit.USAGE)
    return "".join(urls), "".join(files), texts[0]["text"] if texts else None


def _tell(row: dict[str, Any]) -> None:
    authorities, keys = len(row["x509Authorities"]), len(row["jwtKeys"])
    click.echo(f"trust domain {row['trustDomain']} is federated: {authorities} authorities, {keys} JWT keys")
    for each in row["ignored"]:
        talk(f"  ignored {printable(each)}")
    if row.get("problem"):
        talk(f"  its endpoint was asked and gave no newer bundle: {printable(row['problem'])}")
    if not authorities:
        talk("  it has no usable X.509 authority, so every member of it is refused")


def _show(answer: dict[str, Any], form: Format) -> None:
    if not form.is_table:
        output.show_document(answer, form)
        return
    own = answer["own"]
    served = ", ".join(f"{each['profile']} on port {each['port']}" for each in own["endpoints"]) or "not served (HAUBERK_BUNDLE_LISTEN)"
    talk(f"our bundle: trust domain {own['trustDomain']}, {served}")
    if not answer["items"]:
        talk("no trust domain is federated")
        return
    output.show_rows(_HEADER, [_row(each) for each in answer["items"]])


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(row.get("sequence", "-")), str(len(row["x509Authorities"])), str(len(row["jwtKeys"])))
    return (row["trustDomain"], row["profile"], *counts, row["fetchedAt"], printable(row.get("problem", "")) or "-")

"""The objects that `hauberk run` makes."""

from dataclasses import replace

import pytest

from hauberk.api.manifest import parse_manifest
from hauberk.cli.output import Format, encode
from hauberk.cli.program import Port, Program, documents, inherited, parse_port

WEB = Program(name="web", namespace="shop", argv=("python3", "-m", "http.server"), directory="/srv", ports=(Port(8080), Port(9090, "grpc")))


def test_a_program_with_ports_is_an_account_a_service_and_a_deployment() -> None:
    assert [each["kind"] for each in documents(WEB)] == ["ServiceAccount", "Service", "Deployment"]


def test_a_program_without_ports_has_no_service() -> None:
    assert [each["kind"] for each in documents(replace(WEB, ports=()))] == ["ServiceAccount", "Deployment"]


def test_ports_are_named_by_their_protocol_and_by_nothing_where_none_was_said() -> None:
    service = documents(WEB)[1]
    assert [(port["name"], port["port"]) for port in service["spec"]["ports"]] == [("port-8080", 8080), ("grpc-9090", 9090)]


def test_the_directory_of_the_caller_is_recorded() -> None:
    template = documents(WEB)[2]["spec"]["template"]
    assert template["metadata"]["annotations"]["hauberk.dev/working-directory"] == "/srv"


def test_an_attached_program_is_a_pod_that_runs_once() -> None:
    pod = documents(replace(WEB, once=True))[-1]
    assert (pod["kind"], pod["spec"]["restartPolicy"]) == ("Pod", "Never")


def test_a_program_outside_the_mesh_says_so_in_a_label() -> None:
    template = documents(replace(WEB, inject=False))[2]["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


@pytest.mark.parametrize(
    "program", [WEB, replace(WEB, once=True), replace(WEB, service_account="default"), replace(WEB, environment={"A": "1"})]
)
def test_the_mesh_accepts_what_run_makes(program: Program) -> None:
    text = encode({"apiVersion": "v1", "kind": "List", "items": documents(program)}, Format("yaml"))
    manifest = parse_manifest(text, "run")
    assert not [each for each in manifest.problems if each.severity != "info"]
    assert len(manifest.objects) == len(documents(program))


def test_only_what_a_program_takes_for_granted_is_inherited() -> None:
    assert inherited({"PATH": "/bin", "HOME": "/home/jo", "AWS_SECRET_ACCESS_KEY": "x"}) == {"PATH": "/bin", "HOME": "/home/jo"}


@pytest.mark.parametrize("text", ["0", "70000", "smtp:25", "http:", "http:x", ""])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)port|protocol"):
        parse_port(text)

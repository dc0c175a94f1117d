"""Files become objects and problems, each problem with its place."""

from collections.abc import Callable

import pytest

from hauberk.api.manifest import check_document, join_manifests, parse_manifest

Told = Callable[[str], list[tuple[str, str]]]
ACCOUNT = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s}\n"


def test_objects_come_with_the_namespace_of_the_command_unless_they_name_one() -> None:
    manifest = parse_manifest(ACCOUNT % "a" + "---\n" + ACCOUNT % "b, namespace: bank", "x.yaml", "shop")
    assert [str(each.key) for each in manifest.objects] == ["ServiceAccount/shop/a", "ServiceAccount/bank/b"]


def test_a_problem_has_file_line_column_object_path_and_remedy() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports:\n  - prot: 80\n    port: 80\n"
    (problem,) = parse_manifest(text, "web.yaml").problems
    assert problem.to_json() == {
        "code": "HBK0103",
        "severity": "error",
        "object": "Service/web",
        "path": "spec.ports[0].prot",
        "file": "web.yaml",
        "line": 7,
        "column": 5,
        "message": "unknown field 'prot'",
        "remedy": "did you mean port?",
    }


def test_a_mistake_in_one_object_leaves_the_others_alive() -> None:
    text = "---\n".join((ACCOUNT % "a", ACCOUNT % "B", "x: y: z\n", ACCOUNT % "c"))
    manifest = parse_manifest(text, "x.yaml")
    assert [each.metadata.name for each in manifest.objects] == ["a", "c"]
    assert [(each.code, each.line) for each in manifest.problems] == [("HBK0108", 7), ("HBK0001", 9)]


def test_a_condition_in_braces_whose_key_has_brackets_is_told_to_need_quotes() -> None:
    manifest = parse_manifest(ACCOUNT % "a" + "x: [{key: request.auth.claims[groups], values: [a]}]\n", "x.yaml")
    assert [each.code for each in manifest.problems] == ["HBK0001"]
    assert "inside braces a text with brackets" in manifest.problems[0].remedy


def test_all_mistakes_of_an_object_are_told_at_once(told: Told) -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, x: 1}\nspec: {containers: [{name: 1, command: sleep}], y: 2}\n"
    assert sorted(code for code, _ in told(text)) == ["HBK0103", "HBK0103", "HBK0104", "HBK0104"]


def test_an_object_twice_is_refused_and_says_where_it_was_first() -> None:
    manifest = parse_manifest(ACCOUNT % "a" + "---\n" + ACCOUNT % "a", "x.yaml")
    (problem,) = manifest.problems
    assert (problem.code, problem.line) == ("HBK0109", 5)
    assert "x.yaml:1" in problem.message


def test_an_object_in_two_files_is_refused() -> None:
    joined = join_manifests((parse_manifest(ACCOUNT % "a", "x.yaml"), parse_manifest(ACCOUNT % "a", "y.yaml")))
    (problem,) = joined.problems
    assert (problem.code, problem.place) == ("HBK0109", "y.yaml:1:1")
    assert "x.yaml:1" in problem.message
    assert len(joined.objects) == 1


def test_a_list_is_unpacked() -> None:
    items = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}, {apiVersion: v1, kind: Namespace, metadata: {name: b}}"
    manifest = parse_manifest(f"apiVersion: v1\nkind: List\nmetadata: {{}}\nitems: [{items}]\n", "x.yaml")
    assert [str(each.key) for each in manifest.objects] == ["ServiceAccount/default/a", "Namespace/b"]


def test_json_is_read_too() -> None:
    text = '{\n\t"apiVersion": "v1",\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "a"},\n\t"data": {"x": "\\ud83d\\ude00"}\n}'
    (found,) = parse_manifest(text, "x.json").objects
    assert found.metadata.name == "a"


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("- a\n", "HBK0007", ""),
        ("just text\n", "HBK0007", ""),
        ("kind: Pod\n", "HBK0105", "apiVersion"),
        ("apiVersion: v1\nkind: [Pod]\n", "HBK0105", "kind"),
        ("apiVersion: v1\nkind: Secret\n", "HBK0101", "kind"),
        ("apiVersion: apps/v1\nkind: Pod\n", "HBK0102", "apiVersion"),
        ("apiVersion: v1\nkind: Namespace\n", "HBK0105", "metadata"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: []\n", "HBK0104", "metadata"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: }\n", "HBK0105", "metadata.name"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n", "HBK0108", "metadata.name"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {a b: c}}\n", "HBK0111", "metadata.labels.a b"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {a: 1}}\n", "HBK0104", "metadata.labels.a"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {/a: b}}\n", "HBK0111", "metadata.annotations['/a']"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n", "HBK0116", "metadata.namespace"),
        ("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: a.b}\n", "HBK0108", "metadata.namespace"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: 1a}\nspec: {ports: [{port: 1}]}\n", "HBK0108", "metadata.name"),
        ("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, generateName: b}\n", "HBK0203", "metadata.generateName"),
        ("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, finalizers: [b]}\n", "HBK0202", "metadata.finalizers"),
    ],
)
def test_mistakes_of_any_kind(told: Told, text: str, code: str, path: str) -> None:
    assert told(text) == [(code, path)]


def test_near_kinds_are_named() -> None:
    (problem,) = parse_manifest("apiVersion: v1\nkind: service\nmetadata: {name: a}\n", "x.yaml").problems
    assert problem.remedy == "did you mean Service?"


def test_what_kubernetes_writes_about_an_object_is_read_back() -> None:
    metadata = "{name: a, uid: u, resourceVersion: '5', generation: 2, creationTimestamp: 2026-01-01T00:00:00Z, managedFields: [{}]}"
    manifest = parse_manifest(f"apiVersion: v1\nkind: Namespace\nmetadata: {metadata}\nspec: {{finalizers: [x]}}\nstatus: {{}}\n", "x.yaml")
    assert len(manifest.objects) == 1
    assert all(each.severity == "info" for each in manifest.problems)


def test_an_empty_file_holds_nothing() -> None:
    assert parse_manifest("", "x.yaml") == parse_manifest("# only\n---\n", "x.yaml")


def test_a_document_from_elsewhere_is_checked_without_places() -> None:
    manifest = check_document({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "A"}]}})
    (problem,) = manifest.problems
    assert (problem.code, problem.line, problem.file) == ("HBK0108", None, "")


def test_a_document_from_elsewhere_keeps_its_status_where_asked() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a"}]},
        "status": {"podIP": "1.2.3.4"},
    }
    (found,) = check_document(document, keep_status=True).objects
    assert found.model_dump()["status"]["pod_ip"] == "1.2.3.4"


def test_names_of_attributes_are_no_names_of_fields(told: Told) -> None:
    assert told("apiVersion: v1\nkind: Pod\nmetadata: {name: a, resource_version: '1'}\nspec: {containers: [{name: a}]}\n") == [
        ("HBK0103", "metadata.resource_version")
    ]

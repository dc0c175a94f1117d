"""What users write to what the mesh keeps: text to typed objects, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import ValidationError

from hauberk.api.finding import Finding, Location, path_text
from hauberk.api.kinds import KINDS, Kind, kind_named
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.metadata_check import check_metadata
from hauberk.api.model import Json
from hauberk.api.problem import Problem, has_errors, problem
from hauberk.api.sift import near_remedy, sift
from hauberk.api.type_fault import type_findings
from hauberk.api.yaml_text import Node, TextFault, locate, node_at, read_documents

DEFAULT_NAMESPACE = "default"
_AT_KEY = frozenset({"HBK0103", "HBK0202", "HBK0203", "HBK0204", "HBK0301"})  # the field itself is wrong, not its value


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects that are right, and every problem; an object with an error is not among the objects."""

    objects: tuple[ApiObject, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse_manifest(text: str, file: str, default_namespace: str = DEFAULT_NAMESPACE) -> Manifest:
    """All documents of one file, YAML or JSON."""
    objects: list[ApiObject] = []
    problems: list[Problem] = []
    seen: dict[ObjectKey, str] = {}
    for node in read_documents(text):
        if isinstance(node, TextFault):
            problems.append(problem(node.code, node.message, file=file, line=node.line, column=node.column))
            continue
        for item in _items(node):
            found, said = _check_node(item, file, default_namespace)
            problems += said
            if found is None:
                continue
            place = f"{file}:{item.line}"
            if found.key in seen:
                problems.append(duplicate(found.key, seen[found.key], file, item.line, item.column))
            else:
                seen[found.key] = place
                objects.append(found)
    return Manifest(tuple(objects), tuple(problems))


def join_manifests(manifests: tuple[Manifest, ...]) -> Manifest:
    """Several files as one: an object that two of them declare is a problem."""
    objects: dict[ObjectKey, ApiObject] = {}
    problems: list[Problem] = []
    for manifest in manifests:
        problems += manifest.problems
        for each in manifest.objects:
            if each.key in objects:
                problems.append(duplicate(each.key, "another file", "", None, None))
            else:
                objects[each.key] = each
    return Manifest(tuple(objects.values()), tuple(problems))


def check_document(document: Json, default_namespace: str = DEFAULT_NAMESPACE, *, keep_status: bool = False) -> Manifest:
    """One document that did not come from a file, such as a PATCH's result; at most one object."""
    found, said = _Check(Node(document, 0, 0), "", default_namespace, keep_status=keep_status).run()
    return Manifest((found,) if found else (), tuple(said))


def duplicate(key: ObjectKey, first: str, file: str, line: int | None, column: int | None) -> Problem:
    """The problem of an object that is declared twice."""
    return problem("HBK0109", f"{key} is declared already in {first}", object=str(key), file=file, line=line, column=column)


def _items(node: Node) -> Iterator[Node]:
    """The objects of a List, or the document itself."""
    if not isinstance(node.value, dict) or node.value.get("kind") != "List":
        yield node
        return
    items = node.children.get("items")
    for child in items.children.values() if items else ():
        yield from _items(child)


def _check_node(node: Node, file: str, default_namespace: str) -> tuple[ApiObject | None, list[Problem]]:
    return _Check(node, file, default_namespace).run()


class _Check:
    """One document on its way to an object."""

    def __init__(self, node: Node, file: str, default_namespace: str, *, keep_status: bool = False) -> None:
        self._node = node
        self._file = file
        self._namespace = default_namespace
        self._keep_status = keep_status
        self._object = ""
        self._problems: list[Problem] = []

    def run(self) -> tuple[ApiObject | None, list[Problem]]:
        kind = self._kind()
        if kind is None:
            return None, self._problems
        document = self._prepared(kind)
        sifted, findings = sift(document, kind.model, security=kind.security)
        self._report(findings)
        try:
            found = kind.model.model_validate(sifted)
        except ValidationError as error:
            self._report(type_findings(error))
            return None, self._problems
        found = self._placed(found, kind)
        self._report(check_metadata(found, kind))
        self._report(found.findings())
        return (None if has_errors(self._problems) else found), self._problems

    def _kind(self) -> Kind | None:
        document = self._node.value
        if not isinstance(document, dict):
            self._say("HBK0007", (), "the document is not a mapping")
            return None
        name, version = document.get("kind"), document.get("apiVersion")
        self._object = _object_text(document)
        if not isinstance(name, str) or not isinstance(version, str):
            missing = "kind" if not isinstance(name, str) else "apiVersion"
            self._say("HBK0105", (missing,), f"{missing} is required, as a text")
            return None
        kind = kind_named(name)
        if kind is None:
            self._say("HBK0101", ("kind",), f"unknown kind {name!r}", near_remedy(name, [each.name for each in KINDS]))
        elif version not in kind.api_versions:
            remedy = f"use {' or '.join(kind.api_versions)}"
            self._say("HBK0102", ("apiVersion",), f"{name} has no apiVersion {version!r}", remedy)
            kind = None
        return kind

    def _prepared(self, kind: Kind) -> Json:
        document = {**self._node.value, "apiVersion": kind.api_versions[0]}
        if "status" in document and not self._keep_status:
            # As in Kubernetes, whoever applies an object does not say how it is.
            del document["status"]
        return document

    def _placed(self, found: ApiObject, kind: Kind) -> ApiObject:
        namespace = found.metadata.namespace
        if kind.namespaced:
            namespace = namespace or self._namespace
        elif namespace:
            self._say("HBK0116", ("metadata", "namespace"), f"{kind.name} belongs to no namespace; {namespace!r} is left out")
            namespace = ""
        metadata: Metadata = found.metadata.model_copy(update={"namespace": namespace})
        placed = found.model_copy(update={"metadata": metadata})
        self._object = str(placed.key)
        return placed

    def _report(self, findings: Iterator[Finding] | list[Finding]) -> None:
        for each in findings:
            self._say(each.code, each.at, each.message, each.remedy, each.line)

    def _say(self, code: str, at: Location, message: str, remedy: str | None = None, inner_line: int | None = None) -> None:
        said = problem(code, message, object=self._object, path=path_text(at), file=self._file, remedy=remedy)
        if self._node.line:
            line, column = locate(self._node, at, key=code in _AT_KEY)
            if inner_line is not None and (text := node_at(self._node, at)) and text.block:
                line, column = text.line + inner_line, 1
            said = replace(said, line=line, column=column)
        self._problems.append(said)


def _object_text(document: Json) -> str:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    parts = (document.get("kind"), metadata.get("namespace"), metadata.get("name"))
    return "/".join(str(part) for part in parts if part)

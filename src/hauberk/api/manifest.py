"""What users write to what the mesh keeps: text to typed objects, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from hauberk.api.finding import Finding, Location
from hauberk.api.kinds import KINDS, Kind, kind_named
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.metadata_check import check_metadata
from hauberk.api.model import Json
from hauberk.api.origin import NOWHERE, Origin, duplicate
from hauberk.api.problem import Problem, has_errors, problem
from hauberk.api.sift import near_remedy, sift
from hauberk.api.type_fault import type_findings
from hauberk.api.yaml_text import Node, TextFault, read_documents

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects that are right, and every problem; an object with an error is not among the objects."""

    objects: tuple[ApiObject, ...] = ()
    problems: tuple[Problem, ...] = ()
    origins: Mapping[ObjectKey, Origin] = field(default_factory=dict)  # of each object

    def origin(self, key: ObjectKey) -> Origin:
        """Where the object was declared, as far as known."""
        return self.origins.get(key, NOWHERE)


def parse_manifest(text: str, file: str, default_namespace: str = DEFAULT_NAMESPACE) -> Manifest:
    """All documents of one file, YAML or JSON."""
    objects: list[ApiObject] = []
    problems: list[Problem] = []
    origins: dict[ObjectKey, Origin] = {}
    for node in read_documents(text):
        if isinstance(node, TextFault):
            problems.append(problem(node.code, node.message, file=file, line=node.line, column=node.column))
            continue
        for item in _items(node):
            origin = Origin(file, item)
            found, said = _Check(origin, item, default_namespace).run()
            problems += said
            if found is None:
                continue
            if found.key in origins:
                problems.append(duplicate(found.key, origins[found.key], origin))
            else:
                origins[found.key] = origin
                objects.append(found)
    return Manifest(tuple(objects), tuple(problems), origins)


def join_manifests(manifests: tuple[Manifest, ...]) -> Manifest:
    """Several files as one: an object that two of them declare is a problem."""
    objects: list[ApiObject] = []
    problems: list[Problem] = []
    origins: dict[ObjectKey, Origin] = {}
    for manifest in manifests:
        problems += manifest.problems
        for each in manifest.objects:
            if each.key in origins:
                problems.append(duplicate(each.key, origins[each.key], manifest.origin(each.key)))
            else:
                origins[each.key] = manifest.origin(each.key)
                objects.append(each)
    return Manifest(tuple(objects), tuple(problems), origins)


def check_document(document: Json, default_namespace: str = DEFAULT_NAMESPACE, *, keep_status: bool = False) -> Manifest:
    """One document that did not come from a file, such as a PATCH's result; at most one object."""
    found, said = _Check(NOWHERE, Node(document, 0, 0), default_namespace, keep_status=keep_status).run()
    return Manifest((found,) if found else (), tuple(said))


def _items(node: Node) -> Iterator[Node]:
    """The objects of a List, or the document itself."""
    if not isinstance(node.value, dict) or node.value.get("kind") != "List":
        yield node
        return
    items = node.children.get("items")
    for child in items.children.values() if items else ():
        yield from _items(child)


class _Check:
    """One document on its way to an object."""

    def __init__(self, origin: Origin, node: Node, default_namespace: str, *, keep_status: bool = False) -> None:
        self._origin = origin
        self._node = node
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
        self._problems += [self._origin.problem(each, self._object) for each in findings]

    def _say(self, code: str, at: Location, message: str, remedy: str | None = None) -> None:
        self._report([Finding(code, at, message, remedy)])


def _object_text(document: Json) -> str:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    parts = (document.get("kind"), metadata.get("namespace"), metadata.get("name"))
    return "/".join(str(part) for part in parts if part)

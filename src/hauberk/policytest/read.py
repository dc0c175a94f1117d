"""Test files: text to cases, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from hauberk.api.problem import Problem, problem
from hauberk.api.sift import near_remedy
from hauberk.api.yaml_text import Node, TextFault, read_documents
from hauberk.explain.ask import read_question
from hauberk.explain.question import Question, Unanswerable
from hauberk.policytest.case import IMPLICIT, Case, Expectation, TestFile

_TOP: Final = ("objects", "tests")
_CASE: Final = ("name", "request", "expect", "by", "dryRun")
_REQUEST: Final = (
    *("from", "fromTrustDomain", "fromAddress", "to", "workload", "port", "method", "path", "host", "headers", "sni"),
    *("token", "claims"),
)
_WORKLOAD: Final = ("namespace", "labels")
_VERDICTS: Final = ("allow", "deny")


class _Wrong(Exception):
    """A mistake at a node, that leaves nothing to go on with."""

    def __init__(self, node: Node, code: str, path: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.problem = (node, code, path, message, remedy)


def read_test_file(text: str, name: str) -> tuple[TestFile, tuple[Problem, ...]]:
    """The file's cases, and what is wrong with it; a case with a mistake is left out."""
    reader = _Reader(name)
    for node in read_documents(text):
        if isinstance(node, TextFault):
            reader.problems.append(problem(node.code, node.message, file=name, line=node.line, column=node.column))
        else:
            reader.guarded(lambda node=node: reader.document(node))
    if not reader.cases and not reader.problems:
        reader.problems.append(
            problem("HBK0105", "there are no tests", path="tests", file=name, remedy="see docs/how-to/test-policies-in-ci.md")
        )
    return TestFile(name=name, objects=tuple(reader.objects), cases=tuple(reader.cases)), tuple(reader.problems)


class _Reader:
    """One file on its way to cases."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: list[str] = []
        self.cases: list[Case] = []
        self.problems: list[Problem] = []
        self._names: dict[str, int] = {}

    def guarded(self, read: Any) -> None:
        """What `read` finds wrong is a problem of the file."""
        try:
            read()
        except _Wrong as wrong:
            node, code, path, message, remedy = wrong.problem
            self.problems.append(
                problem(code, message, path=path, file=self.name, line=node.line or None, column=node.column or None, remedy=remedy)
            )

    def document(self, node: Node) -> None:
        """One document: where objects are, and tests."""
        _check_fields(node, _TOP, "")
        if objects := node.children.get("objects"):
            self.objects += _names(objects)
        tests = _required(node, "tests", "")
        if not isinstance(tests.value, list):
            raise _Wrong(tests, "HBK0104", "tests", "must be a list of tests", "write `- name: …` below it")
        for index, child in enumerate(tests.children.values()):
            self.guarded(lambda child=child, index=index: self._case(child, f"tests[{index}]"))

    def _case(self, node: Node, path: str) -> None:
        _check_fields(node, _CASE, path)
        name = _text(_required(node, "name", path), f"{path}.name")
        if name in self._names:
            raise _Wrong(
                node, "HBK0112", f"{path}.name", f"the name {name!r} is used in line {self._names[name]} already", "give it another"
            )
        self._names[name] = node.line
        request = _required(node, "request", path)
        question = _question(request, f"{path}.request")
        case = Case(
            name=name,
            question=question,
            expect=Expectation(_one_of(_required(node, "expect", path), f"{path}.expect", tuple(Expectation))),
            by=_by(node.children.get("by"), f"{path}.by"),
            dry_run=dict(_dry_run(node.children.get("dryRun"), f"{path}.dryRun")),
            file=self.name,
            line=node.line,
        )
        self.cases.append(case)


def _question(node: Node, path: str) -> Question:
    _check_fields(node, _REQUEST, path)
    document = {name: value for name, value in node.value.items() if name != "workload" and value is not None}
    if workload := node.children.get("workload"):
        if "to" in node.children:
            raise _Wrong(workload, "HBK0113", f"{path}.workload", "`to` and `workload` exclude each other", "name one of them")
        _check_fields(workload, _WORKLOAD, f"{path}.workload")
        labels = _required(workload, "labels", f"{path}.workload")
        if not labels.value:
            raise _Wrong(labels, "HBK0105", f"{path}.workload.labels", "a workload is known by its labels", "write {KEY: VALUE}")
        document |= {name: workload.value[name] for name in _WORKLOAD if name in workload.value}
    elif "to" not in node.children:
        raise _Wrong(node, "HBK0105", f"{path}.to", "whom does it call? to, or workload, is required", "write to: SERVICE.NAMESPACE")
    if "token" in document and "claims" in document:
        raise _Wrong(node.children["claims"], "HBK0113", f"{path}.claims", "`token` and `claims` exclude each other", "name one of them")
    source = document.get("from")
    if isinstance(source, str) and not source.startswith("spiffe://") and source.count("/") != 1:
        raise _Wrong(
            node.children["from"], "HBK0110", f"{path}.from", f"{source!r} is no service account", "write NAMESPACE/SERVICEACCOUNT"
        )
    try:
        return read_question(document)
    except Unanswerable as error:
        field, _, message = str(error).partition(": ")
        place = node.children.get(field, node)
        raise _Wrong(place, "HBK0104", f"{path}.{field}", message, error.remedy or None) from error


def _by(node: Node | None, path: str) -> str:
    if node is None or node.value is None:
        return ""
    text = _text(node, path)
    if text != IMPLICIT and text.count("/") != 1:
        raise _Wrong(node, "HBK0110", path, f"{text!r} is no policy", "write NAMESPACE/NAME, or none where no rule decides")
    return text


def _dry_run(node: Node | None, path: str) -> Iterator[tuple[str, str]]:
    if node is None or node.value is None:
        return
    if isinstance(node.value, str):
        yield "", _one_of(node, path, _VERDICTS)
        return
    if not isinstance(node.value, dict):
        raise _Wrong(node, "HBK0104", path, "must be a mapping of policies to verdicts", "write NAMESPACE/NAME: deny")
    for name, child in node.children.items():
        yield str(name), _one_of(child, f"{path}[{name}]", _VERDICTS)


def _names(node: Node) -> Iterator[str]:
    if isinstance(node.value, str):
        yield node.value
        return
    if not isinstance(node.value, list):
        raise _Wrong(node, "HBK0104", "objects", "must be a list of files and directories", "write `- ./policies`")
    for index, child in enumerate(node.children.values()):
        yield _text(child, f"objects[{index}]")


def _check_fields(node: Node, known: Iterable[str], path: str) -> None:
    if not isinstance(node.value, dict):
        raise _Wrong(node, "HBK0104", path, "must be a mapping", f"its fields are {', '.join(known)}")
    for name, child in node.children.items():
        if str(name) not in known:
            at = Node(child.value, child.key_line, child.key_column)
            remedy = near_remedy(str(name), known) or f"known are {', '.join(known)}"
            raise _Wrong(at, "HBK0103", f"{path}.{name}".lstrip("."), f"there is no field {name!r} here", remedy)


def _required(node: Node, name: str, path: str) -> Node:
    found = node.children.get(name)
    if found is None or found.value is None:
        raise _Wrong(node, "HBK0105", f"{path}.{name}".lstrip("."), f"{name} is required")
    return found


def _text(node: Node, path: str) -> str:
    if not isinstance(node.value, str) or not node.value:
        raise _Wrong(node, "HBK0104", path, "must be a text", "put it in quotes")
    return node.value


def _one_of(node: Node, path: str, known: tuple[str, ...]) -> str:
    if node.value not in known:
        remedy = near_remedy(str(node.value), known) or f"write {', '.join(known[:-1])} or {known[-1]}"
        raise _Wrong(node, "HBK0106", path, f"{node.value!r} is no expectation", remedy)
    return str(node.value)

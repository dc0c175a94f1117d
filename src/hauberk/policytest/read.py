"""Test files: text to cases, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar

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
_T = TypeVar("_T")


class _Wrong(Exception):
    """A mistake at a node, that leaves nothing of it to go on with; `others` are more of the same node."""

    def __init__(self, node: Node, code: str, path: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.mistake = (node, code, path, message, remedy)
        self.others: tuple[_Wrong, ...] = ()


def read_test_file(text: str, name: str) -> tuple[TestFile, tuple[Problem, ...]]:
    """The file's cases, and what is wrong with it; a case with a mistake is left out."""
    reader = _Reader(name)
    for node in read_documents(text):
        if isinstance(node, TextFault):
            reader.problems.append(problem(node.code, node.message, file=name, line=node.line, column=node.column))
        else:
            reader.guarded(partial(reader.document, node))
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

    def guarded(self, read: Callable[[], _T]) -> _T | None:
        """What `read` gives; None if it finds something wrong, which is a problem of the file."""
        try:
            return read()
        except _Wrong as wrong:
            for each in (wrong, *wrong.others):
                node, code, path, message, remedy = each.mistake
                line, column = node.line or None, node.column or None
                self.problems.append(problem(code, message, path=path, file=self.name, line=line, column=column, remedy=remedy))
            return None

    def document(self, node: Node) -> None:
        """One document: where objects are, and tests."""
        self.guarded(lambda: _check_fields(node, _TOP, "", required=("tests",)))
        self.objects += self._part(node, "objects", "", _names) or ()
        for index, child in enumerate(self._part(node, "tests", "", _tests) or ()):
            self._case(child, f"tests[{index}]")

    def _part(self, node: Node, name: str, path: str, read: Callable[[Node, str], _T]) -> _T | None:
        """What a field holds; each is read for itself, so that all mistakes are told at once."""
        found = node.children.get(name)
        if found is None or found.value is None:
            return None
        return self.guarded(lambda: read(found, f"{path}.{name}".lstrip(".")))

    def _case(self, node: Node, path: str) -> None:
        before = len(self.problems)
        self.guarded(lambda: _check_fields(node, _CASE, path, required=("name", "request", "expect")))
        name = self._part(node, "name", path, self._name)
        question = self._part(node, "request", path, _question)
        expect = self._part(node, "expect", path, _expectation)
        by = self._part(node, "by", path, _by) or ""
        dry_run = self._part(node, "dryRun", path, _dry_run) or {}
        if name and question and expect and len(self.problems) == before:
            case = Case(name=name, question=question, expect=expect, by=by, dry_run=dry_run, file=self.name, line=node.line)
            self.cases.append(case)

    def _name(self, node: Node, path: str) -> str:
        name = _text(node, path)
        if name in self._names:
            raise _Wrong(node, "HBK0112", path, f"the name {name!r} is used in line {self._names[name]} already", "give it another")
        self._names[name] = node.line
        return name


def _tests(node: Node, path: str) -> tuple[Node, ...]:
    if not isinstance(node.value, list):
        raise _Wrong(node, "HBK0104", path, "must be a list of tests", "write `- name: …` below it")
    return tuple(node.children.values())


def _question(node: Node, path: str) -> Question:
    _check_fields(node, _REQUEST, path)
    document = {name: value for name, value in node.value.items() if name != "workload" and value is not None}
    if workload := node.children.get("workload"):
        if "to" in node.children:
            raise _Wrong(workload, "HBK0113", f"{path}.workload", "`to` and `workload` exclude each other", "name one of them")
        _check_fields(workload, _WORKLOAD, f"{path}.workload", required=("labels",))
        labels = workload.children["labels"]
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


def _expectation(node: Node, path: str) -> Expectation:
    return Expectation(_one_of(node, path, tuple(Expectation)))


def _by(node: Node, path: str) -> str:
    text = _text(node, path)
    if text != IMPLICIT and text.count("/") != 1:
        raise _Wrong(node, "HBK0110", path, f"{text!r} is no policy", "write NAMESPACE/NAME, or none where no rule decides")
    return text


def _dry_run(node: Node, path: str) -> dict[str, str]:
    if isinstance(node.value, str):
        return {"": _one_of(node, path, _VERDICTS)}
    if not isinstance(node.value, dict):
        raise _Wrong(node, "HBK0104", path, "must be a mapping of policies to verdicts", "write NAMESPACE/NAME: deny")
    return {str(name): _one_of(child, f"{path}[{name}]", _VERDICTS) for name, child in node.children.items()}


def _names(node: Node, path: str) -> tuple[str, ...]:
    if isinstance(node.value, str):
        return (node.value,)
    if not isinstance(node.value, list):
        raise _Wrong(node, "HBK0104", path, "must be a list of files and directories", "write `- ./policies`")
    return tuple(_text(child, f"{path}[{index}]") for index, child in enumerate(node.children.values()))


def _check_fields(node: Node, known: Iterable[str], path: str, *, required: Iterable[str] = ()) -> None:
    """All fields are known and the required ones are there; where one is not known, it may well be the one that is missed."""
    if not isinstance(node.value, dict):
        raise _Wrong(node, "HBK0104", path, "must be a mapping", f"its fields are {', '.join(known)}")
    wrong = list(_unknown(node, known, path)) or list(_missing(node, required, path))
    if wrong:
        wrong[0].others = tuple(wrong[1:])
        raise wrong[0]


def _unknown(node: Node, known: Iterable[str], path: str) -> Iterator[_Wrong]:
    for name, child in node.children.items():
        if str(name) not in known:
            at = Node(child.value, child.key_line, child.key_column)
            remedy = near_remedy(str(name), known) or f"known are {', '.join(known)}"
            yield _Wrong(at, "HBK0103", f"{path}.{name}".lstrip("."), f"there is no field {name!r} here", remedy)


def _missing(node: Node, required: Iterable[str], path: str) -> Iterator[_Wrong]:
    for name in required:
        found = node.children.get(name)
        if found is None or found.value is None:
            yield _Wrong(node, "HBK0105", f"{path}.{name}".lstrip("."), f"{name} is required")


def _text(node: Node, path: str) -> str:
    if not isinstance(node.value, str) or not node.value:
        raise _Wrong(node, "HBK0104", path, "must be a text", "put it in quotes")
    return node.value


def _one_of(node: Node, path: str, known: tuple[str, ...]) -> str:
    if node.value not in known:
        remedy = near_remedy(str(node.value), known) or f"write {', '.join(known[:-1])} or {known[-1]}"
        raise _Wrong(node, "HBK0106", path, f"{node.value!r} is no expectation", remedy)
    return str(node.value)

"""Results as JUnit XML, which continuous integration reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as Xml

from hauberk.policytest.case import Result

_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 cannot hold


def junit(results: Sequence[Result], why: Iterable[str]) -> str:
    """A document with a suite for each test file; `why` are the texts of the failures, one for each result."""
    root = Xml.Element("testsuites", name="hauberk test")
    by_file: dict[str, list[tuple[Result, str]]] = {}
    for result, text in zip(results, why, strict=True):
        by_file.setdefault(result.case.file, []).append((result, text))
    for file, found in by_file.items():
        suite = Xml.SubElement(root, "testsuite", {"name": file, **_counts([each for each, _ in found])})
        for result, text in found:
            _case(suite, result, text)
    _count(root, results)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _case(suite: Xml.Element, result: Result, text: str) -> None:
    case = result.case
    seconds = f"{result.seconds:.6f}"
    element = Xml.SubElement(
        suite, "testcase", name=_clean(case.name), classname=case.file, file=case.file, line=str(case.line), time=seconds
    )
    if result.error:
        Xml.SubElement(element, "error", message=_clean(result.error)).text = _clean(text)
    elif result.faults:
        Xml.SubElement(element, "failure", message=_clean("; ".join(result.faults))).text = _clean(text)
    if result.note:
        Xml.SubElement(element, "system-out").text = _clean(result.note)


def _counts(results: Sequence[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(bool(each.faults) and not each.error for each in results)),
        "errors": str(sum(bool(each.error) for each in results)),
        "time": f"{sum(each.seconds for each in results):.6f}",
    }


def _count(element: Xml.Element, results: Sequence[Result]) -> None:
    for name, value in _counts(results).items():
        element.set(name, value)


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)

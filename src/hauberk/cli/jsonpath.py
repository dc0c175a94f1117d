"""`-o jsonpath=…` as kubectl has it: text with `{.items[*].metadata.name}`, filters, slices, `range` and `end`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_TEMPLATE = re.compile(r"\{((?:[^{}\"']|\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*')*)\}")
_STEP = re.compile(
    r"""\.\.(?P<deep>[\w/-]+|\*)
      | \.(?P<field>(?:\\.|[\w/-])+|\*)
      | \[\s*'(?P<quoted>(?:\\.|[^'])*)'\s*\]
      | \[\s*(?P<slice>-?\d*:-?\d*(?::-?\d*)?)\s*\]
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[(?P<all>\*)\]
      | \[\?\((?P<filter>.*?)\)\]""",
    re.VERBOSE,
)
_FILTER = re.compile(r"^\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*$")
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


class BadPath(ValueError):
    """A template that cannot be read, and where."""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Find:
    path: str


@dataclass(frozen=True, slots=True)
class _Range:
    path: str
    body: tuple[_Part, ...]


_Part = _Text | _Find | _Range


def render(template: str, document: Any) -> str:
    """The template with each `{path}` replaced by what it finds in `document`; several finds are joined by a space."""
    if "{" not in template:
        template = "{" + template + "}"  # `-o jsonpath=.status.podIP`: what was meant is plain
    return "".join(_render(_parse(iter(_tokens(template)), inside=False), document, document))


def find(path: str, document: Any, root: Any | None = None) -> list[Any]:
    """Every value that `path` reaches in `document`, in document order."""
    found = [document]
    path = path.strip()
    if path.startswith("$"):
        found, path = [document if root is None else root], path[1:]
    elif path.startswith("@"):
        path = path[1:]
    if path and path[0] not in ".[":
        path = "." + path
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            if path[position:] == ".":
                break  # `{.}`: the document itself
            raise BadPath(f"cannot read the path {path!r} from {path[position:]!r} on")
        found = [value for each in found for value in _step(match, each)]
        position = match.end()
    return found


def _tokens(template: str) -> Iterator[_Text | str]:
    position = 0
    for match in _TEMPLATE.finditer(template):
        yield from _text(template[position : match.start()])
        yield match.group(1).strip()
        position = match.end()
    yield from _text(template[position:])


def _text(text: str) -> Iterator[_Text]:
    if "{" in text or "}" in text:
        raise BadPath(f"a brace without its partner in {text!r}")
    if text:
        yield _Text(text)


def _parse(tokens: Iterator[_Text | str], *, inside: bool) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    for piece in tokens:
        if isinstance(piece, _Text):
            parts.append(piece)
        elif piece == "end":
            if not inside:
                raise BadPath("{end} without {range}")
            return tuple(parts)
        elif piece.startswith("range "):
            parts.append(_Range(piece.removeprefix("range ").strip(), _parse(tokens, inside=True)))
        elif piece[:1] in ("'", '"'):
            parts.append(_Text(re.sub(r"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group(1)), piece[1:-1])))
        else:
            parts.append(_Find(piece))
    if inside:
        raise BadPath("{range} without {end}")
    return tuple(parts)


def _render(parts: Iterable[_Part], here: Any, root: Any) -> Iterator[str]:
    for part in parts:
        match part:
            case _Text(text):
                yield text
            case _Find(path):
                yield " ".join(_show(value) for value in find(path, here, root))
            case _Range(path, body):
                for value in find(path, here, root):
                    yield from _render(body, value, root)


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _step(match: re.Match[str], value: Any) -> list[Any]:
    if (deep := match.group("deep")) is not None:
        return list(_descend(deep, value))
    if match.group("all") or match.group("field") == "*":
        return _children(value)
    if (name := match.group("field") or match.group("quoted")) is not None:
        name = re.sub(r"\\(.)", r"\1", name)
        return [value[name]] if isinstance(value, dict) and name in value else []
    if (condition := match.group("filter")) is not None:
        return [each for each in _children(value) if _holds(condition, each)]
    return _pick(match, value)


def _pick(match: re.Match[str], value: Any) -> list[Any]:
    if not isinstance(value, list):
        return []
    if (index := match.group("index")) is not None:
        return value[int(index) :][:1] if int(index) != -1 else value[-1:]
    bounds = [int(part) if part else None for part in match.group("slice").split(":")]
    return value[slice(*bounds)]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _descend(name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and name != "*" and name in value:
        yield value[name]
    for child in _children(value):
        if name == "*":
            yield child
        yield from _descend(name, child)


def _holds(condition: str, value: Any) -> bool:
    match = _FILTER.match(condition)
    if match is None:
        raise BadPath(f"cannot read the filter {condition!r}")
    found = find(match.group("path"), value)
    if match.group("op") is None:
        return bool(found)
    wanted = _literal(match.group("value"))
    return any(_compare(each, match.group("op"), wanted) for each in found)


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _compare(left: Any, operator: str, right: Any) -> bool:
    if operator in ("==", "!="):
        return (left == right) is (operator == "==")
    if isinstance(left, bool) or not isinstance(left, int | float | str) or type(left) is not type(right):
        return False
    order = (left > right) - (left < right)  # type: ignore[operator]
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]

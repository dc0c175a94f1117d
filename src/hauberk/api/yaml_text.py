"""Text to located values: YAML or JSON documents whose every value knows its line and column, within limits.

Built on the event stream of libyaml, not on its composer: the composer recurses (a deep document ends the process), expands
aliases without measure, and lets the second of two equal keys win.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from hauberk.api.finding import Location
from hauberk.api.yaml_scalar import UnsupportedTag, resolve_scalar

LARGEST_FILE = 5 * 1024 * 1024  # characters
DEEPEST = 64  # levels; no kind needs 20
MOST_DOCUMENTS = 10_000
MOST_VALUES = 500_000  # keys and values of a file: bounds the time that reading takes, about two seconds
MOST_ALIASED = 100_000  # values that a file's aliases may stand for, taken together

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it


@dataclass(slots=True)
class Node:
    """A value and where it stands; `value` shares its parts with the children's values."""

    value: Any
    line: int
    column: int
    key_line: int = 0  # where the key stands under which a mapping holds this; 0 in a list
    key_column: int = 0
    block: bool = False  # a text that begins on the line after its mark (| or >)
    children: dict[str | int, Node] = field(default_factory=dict)
    size: int = 1  # this value and all below it


@dataclass(frozen=True, slots=True)
class TextFault:
    """Why a text, or one document of it, cannot be read."""

    code: str
    message: str
    line: int
    column: int


class _Refused(Exception):
    def __init__(self, code: str, message: str, event: Any, *, final: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line: int = event.start_mark.line
        self.column: int = event.start_mark.column
        self.final = final  # the rest of the file is not read: it exceeds a limit


def read_documents(text: str) -> Iterator[Node | TextFault]:
    """Each document that is not empty, and each fault; reading goes on at the next `---` after a broken document."""
    if len(text) > LARGEST_FILE:
        yield TextFault("HBK0002", f"the text has {len(text):,} characters; at most {LARGEST_FILE:,} are read", 1, 1)
        return
    start: int | None = 0  # position where reading (re)starts
    skipped = 0  # lines before it
    while start is not None:
        composer = _Composer(skipped)
        try:
            yield from composer.compose(text[start:])
        except (_Refused, yaml.YAMLError, UnicodeEncodeError) as error:
            fault, final = _fault(error, skipped)
        else:
            return
        if start == 0 and fault.code == "HBK0001" and (document := _read_json(text)) is not None:
            yield document
            return
        yield fault
        following = None if final else _next_document(text, start, fault.line - 1 - skipped)
        skipped += text.count("\n", start, following) if following is not None else 0
        start = following


def locate(node: Node, at: Location, *, key: bool = False) -> tuple[int, int]:
    """Line and column of the value at `at`, or of the nearest one around it that exists; of its key if `key`."""
    found = node
    for step in at:
        child = found.children.get(step)
        if child is None:
            key = False
            break
        found = child
    if found.key_line and (key or found.children or found.value is None):
        return found.key_line, found.key_column
    return found.line, found.column


def node_at(node: Node, at: Location) -> Node | None:
    """The node at exactly `at`."""
    found: Node | None = node
    for step in at:
        found = found.children.get(step) if found else None
    return found


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_mark: Any = None
    merged: list[Node] = field(default_factory=list)  # from `<<`, which explicit keys override wherever they stand


class _Composer:
    """Puts events together; one for each (re)start of reading."""

    def __init__(self, skipped: int) -> None:
        self._skipped = skipped
        self._aliased = 0
        self._values = 0
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}

    def compose(self, text: str) -> Iterator[Node]:
        """Documents that are not empty."""
        documents = 0
        for event in yaml.parse(text, Loader=_LOADER):
            root = None
            if isinstance(event, yaml.NodeEvent):
                root = self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                root = self._end()
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > MOST_DOCUMENTS:
                    raise _Refused("HBK0005", f"more than {MOST_DOCUMENTS:,} documents", event, final=True)
                self._anchors.clear()
            if root is not None and root.value is not None:
                yield root

    def _begin(self, event: Any) -> Node | None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _Refused("HBK0002", f"more than {MOST_VALUES:,} keys and values", event, final=True)
        if isinstance(event, yaml.AliasEvent):
            return self._attach(self._expand(event), event)
        if isinstance(event, yaml.ScalarEvent):
            node = self._node(event, self._scalar(event))
            node.block = event.style in ("|", ">")
            if event.anchor:
                self._anchors[event.anchor] = node
            return self._attach(node, event)
        if event.tag and not event.tag.startswith("tag:yaml.org,2002:"):
            raise _Refused("HBK0001", f"the tag {event.tag} has no meaning here", event)
        if len(self._stack) >= DEEPEST:
            raise _Refused("HBK0003", f"more than {DEEPEST} levels deep", event, final=True)
        self._need_no_key(event)
        if event.anchor:
            self._anchors[event.anchor] = None
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(self._node(event, value), event.anchor))
        return None

    def _end(self) -> Node | None:
        done = self._stack.pop()
        for source in done.merged:
            for name, child in source.children.items():
                if name not in done.node.children:
                    self._put(done.node, name, child)
        if done.anchor:
            self._anchors[done.anchor] = done.node
        return self._attach(done.node, None)

    def _attach(self, node: Node, event: Any) -> Node | None:
        """Gives `node` to what is open; the node itself if nothing is: it is a document."""
        if not self._stack:
            return node
        parent = self._stack[-1]
        if isinstance(parent.node.value, list):
            # A list is identified by position; a copy, because an anchor's node may stand at several positions.
            self._put(parent.node, len(parent.node.value), replace(node, key_line=0, key_column=0))
        elif parent.key is None:
            self._take_key(parent, node, event)
        else:
            self._take_value(parent, node)
        return None

    def _take_key(self, parent: _Open, node: Node, event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise _Refused("HBK0104", "a key must be a text", event)
        parent.key, parent.key_mark = event.value, event.start_mark
        plain_merge = event.value == "<<" and event.implicit[0]
        if not plain_merge and event.value in parent.node.children:
            first = parent.node.children[event.value].key_line
            raise _Refused("HBK0006", f"the key {event.value!r} appears twice; first in line {first}", event)

    def _take_value(self, parent: _Open, node: Node) -> None:
        key, mark = parent.key, parent.key_mark
        parent.key = None
        assert key is not None
        if key == "<<" and mark is not None:
            sources = [node] if isinstance(node.value, dict) else list(node.children.values())
            if all(isinstance(source.value, dict) for source in sources) and isinstance(node.value, dict | list):
                parent.merged += sources
                return
        self._put(parent.node, key, replace(node, key_line=self._skipped + mark.line + 1, key_column=mark.column + 1))

    def _need_no_key(self, event: Any) -> None:
        if self._stack and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].key is None:
            raise _Refused("HBK0104", "a key must be a text", event)

    def _put(self, parent: Node, name: str | int, child: Node) -> None:
        parent.children[name] = child
        parent.size += child.size
        if isinstance(parent.value, list):
            parent.value.append(child.value)
        else:
            parent.value[name] = child.value

    def _expand(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise _Refused("HBK0001", f"the alias *{event.anchor} has no anchor", event)
        node = self._anchors[event.anchor]
        if node is None:
            raise _Refused("HBK0004", f"the alias *{event.anchor} stands inside its own anchor", event)
        self._aliased += node.size
        if self._aliased > MOST_ALIASED:
            raise _Refused("HBK0004", f"aliases stand for more than {MOST_ALIASED:,} values", event, final=True)
        return node

    def _node(self, event: Any, value: Any) -> Node:
        return Node(value, self._skipped + event.start_mark.line + 1, event.start_mark.column + 1)

    def _scalar(self, event: Any) -> Any:
        try:
            return resolve_scalar(event.value, event.tag, plain=event.implicit[0])
        except UnsupportedTag as unsupported:
            raise _Refused("HBK0001", str(unsupported), event) from unsupported


def _fault(error: _Refused | yaml.YAMLError | UnicodeEncodeError, skipped: int) -> tuple[TextFault, bool]:
    """The fault, and whether the rest of the file stays unread."""
    if isinstance(error, _Refused):
        return TextFault(error.code, error.message, skipped + error.line + 1, error.column + 1), error.final
    if isinstance(error, UnicodeEncodeError):
        return TextFault("HBK0008", "the text holds halves of surrogate pairs, which are no characters", skipped + 1, 1), True
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line, mark.column) if mark else (0, 0)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    message = f"{context}: {said}" if context else str(said)
    return TextFault("HBK0001", message, skipped + line + 1, column + 1), False


def _next_document(text: str, start: int, line: int) -> int | None:
    """Position of the first `---` at the beginning of a line, not before `line` (counted from `start`) and after `start`."""
    position = start
    for _ in range(line):
        newline = text.find("\n", position)
        if newline < 0:
            return None
        position = newline + 1
    if position > start and text.startswith("---", position):
        return position
    found = text.find("\n---", max(position - 1, start))
    return found + 1 if found >= 0 else None


def _read_json(text: str) -> Node | None:
    """JSON that is not YAML, such as escaped surrogate pairs; without positions, which the json module does not give."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
        return _unlocated(value, 0)
    except (ValueError, RecursionError):
        return None


def _unlocated(value: Any, depth: int) -> Node:
    if depth > DEEPEST:
        raise ValueError("too deep")
    node = Node(value, 1, 1)
    if isinstance(value, dict):
        node.children = {name: _unlocated(item, depth + 1) for name, item in value.items()}
    elif isinstance(value, list):
        node.children = {index: _unlocated(item, depth + 1) for index, item in enumerate(value)}
    return node

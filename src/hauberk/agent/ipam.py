"""Which address belongs to which pod; remembered on disk, and a freed one rests until all others have had their turn."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
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


def worn_offset(addresses: Collection[str]) -> int | None:
    """The number that all these addresses of one pod end in; None if they are not such as are given to pods."""
    try:
        offsets = {int(ip) - int(_range(ip).network_address) for ip in map(ip_address, addresses)}
        (offset,) = offsets
        return _sound(offset)
    except ValueError:
        return None


def _range(ip: IPv4Address | IPv6Address) -> IPv4Network | IPv6Network:
    return POD_RANGE_4 if ip.version == 4 else POD_RANGE_6


def _sound(offset: int) -> int:
    if not _FIRST <= offset <= _LAST:
        raise ValueError(f"no pod can have the address with number {offset}")
    return offset


def _checked(offsets: dict[str, int]) -> dict[str, int]:
    if len({_sound(offset) for offset in offsets.values()}) < len(offsets):
        raise ValueError("two pods have one address")
    return offsets


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

    def adopt(self, worn: Mapping[str, Collection[str]]) -> None:
        """Pods that this book does not know, because it was lost, keep the addresses they wear, by uid, where nobody else has them."""
        found = dict(self._offsets)
        for uid, addresses in worn.items():
            offset = worn_offset(addresses)
            if uid not in found and offset is not None and offset not in found.values():
                found[uid] = offset
        if found == self._offsets:
            return
        self._offsets = found
        # Past all of them: an address that was in use lately is the last to be given again.
        self._cursor = max(self._cursor, *(offset + 1 for offset in found.values()))
        # The pods wear them whether or not it can be noted.
        with suppress(OSError):
            self._write(self._offsets, self._cursor)

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
            cursor = int(document["next"])
            offsets = _checked({str(uid): int(offset) for uid, offset in document["pods"].items()})
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            # Nothing or nonsense: pods that run keep what they wear (`adopt`), every other is given an address anew.
            cursor, offsets = _FIRST, {}
        self._cursor, self._offsets = cursor, offsets

    def _write(self, offsets: Mapping[str, int], cursor: int) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"next": cursor, "pods": offsets}))
        new.replace(self._path)

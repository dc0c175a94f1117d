"""The rows of names: which trust domains this authority has issued certificates in, and since when. The latest is the current one.

The settings say how the mesh is to be called; this says how it is called, until everybody is proven to believe the new name.
"""

from datetime import datetime
from typing import Final

from hauberk.citadel.state import State, Table, Write
from hauberk.identity.wire import milliseconds, moment

NAMES: Final = Table(
    name="names",
    create=("CREATE TABLE names (trust_domain TEXT PRIMARY KEY, adopted INTEGER NOT NULL) STRICT, WITHOUT ROWID",),
)


def read_names(state: State) -> tuple[str, ...]:
    """Every trust domain that was ever the mesh's own, the current one last."""
    return tuple(str(name) for (name,) in state.rows("SELECT trust_domain FROM names ORDER BY adopted, trust_domain"))


def write_name(trust_domain: str, now: datetime, state: State) -> Write:
    """It is the current one from now on, whatever the clock says."""
    ((latest,),) = state.rows("SELECT coalesce(max(adopted), 0) FROM names")
    return Write("INSERT OR REPLACE INTO names VALUES (?, ?)", [(trust_domain, max(milliseconds(now), int(latest or 0) + 1))])


def read_living_names(state: State, now: datetime) -> dict[str, tuple[datetime, frozenset[str]]]:
    """Trust domains in which certificates live (neither expired nor revoked): until when, and the authorities that signed them."""
    found: dict[str, tuple[datetime, frozenset[str]]] = {}
    # spiffe://NAME/…: the name ends at the first slash after the scheme's nine characters.
    query = """SELECT substr(spiffe_id, 10, instr(substr(spiffe_id, 10), '/') - 1) AS name, authority, max(not_after) FROM issued
               WHERE not_after > ? AND revoked_at = 0 GROUP BY name, authority"""
    for name, authority, end in state.rows(query, milliseconds(now)):
        latest, authorities = found.get(str(name), (moment(0), frozenset()))
        found[str(name)] = max(latest, moment(int(end or 0))), authorities | {str(authority)}
    return found


def read_living_holders(state: State, now: datetime, trust_domain: str) -> tuple[tuple[str, str, datetime], ...]:
    """(holder, machine, end) of the certificates that live in `trust_domain`; of each holder the latest."""
    prefix = f"spiffe://{trust_domain}/"
    query = """SELECT holder, node, max(not_after) FROM issued
               WHERE not_after > ? AND revoked_at = 0 AND substr(spiffe_id, 1, ?) = ? GROUP BY holder, node ORDER BY holder"""
    rows = state.rows(query, milliseconds(now), len(prefix), prefix)
    return tuple((str(holder), str(node), moment(int(end or 0))) for holder, node, end in rows)

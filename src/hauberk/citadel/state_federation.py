"""The rows of federated trust domains, each with the last good bundle: a restart forgets neither it nor its sequence."""

from typing import Final

from hauberk.citadel.federation import Federated, Profile, Source
from hauberk.citadel.state import State, Table, Write
from hauberk.identity.bundle_document import InvalidBundle, parse_bundle
from hauberk.identity.wire import milliseconds, moment

FEDERATION: Final = Table(
    name="federation",
    create=(
        """CREATE TABLE federation (
            trust_domain TEXT PRIMARY KEY, url TEXT NOT NULL, profile TEXT NOT NULL, endpoint_id TEXT NOT NULL,
            document BLOB NOT NULL, fetched INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
_SELECT = "SELECT trust_domain, url, profile, endpoint_id, document, fetched FROM federation ORDER BY trust_domain"


def read_federation(state: State) -> tuple[Federated, ...]:
    """All of them, by name."""
    found = []
    for name, url, profile, endpoint_id, document, fetched in state.rows(_SELECT):
        source = Source(trust_domain=str(name), url=str(url), profile=Profile(str(profile)), endpoint_id=str(endpoint_id))
        data = document if isinstance(document, bytes) else b""
        try:
            parsed, problem = parse_bundle(data, source.trust_domain), ""
        except InvalidBundle as exc:
            # Written by a Hauberk with other rules: nobody of that domain is believed until a bundle comes that can be read.
            parsed, problem = parse_bundle(b'{"keys": []}', source.trust_domain), f"the bundle that was kept cannot be read: {exc}"
        found.append(Federated(source=source, document=data, parsed=parsed, fetched=moment(int(fetched or 0)), problem=problem))
    return tuple(found)


def write_federated(federated: Federated) -> Write:
    """This is how the domain is federated now."""
    source = federated.source
    row = (source.trust_domain, source.url, source.profile.value, source.endpoint_id, federated.document, milliseconds(federated.fetched))
    return Write("INSERT OR REPLACE INTO federation VALUES (?, ?, ?, ?, ?, ?)", [row])


def remove_federated(trust_domain: str) -> Write:
    """The domain is not federated any more."""
    return Write("DELETE FROM federation WHERE trust_domain = ?", [(trust_domain,)])

"""The values of policies, each kind of value with its form: what can never match, or cannot mean what it looks like (S-A5 to S-A9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hauberk.api.finding import Finding, Location
from hauberk.api.ip_block import has_bits_beyond, parse_block
from hauberk.api.path_template import is_path_template, path_template_fault

MOST_VALUES = 20_000  # of one list; each costs memory in every proxy that the policy concerns
LONGEST_VALUE = 4096
MOST_STARS = 8  # of a namespace: each becomes a part of an expression
MOST_SERVICE_ACCOUNTS = 16
LONGEST_SERVICE_ACCOUNT = 320

Check = Callable[[Location, str], Iterator[Finding]]  # of one value


def check_values(at: Location, values: tuple[str, ...], check: Check) -> Iterator[Finding]:
    """Each value of the list at `at` by its own `check`, after what is true of values of every kind."""
    if len(values) > MOST_VALUES:
        yield Finding("HBK0307", at, f"{len(values)} values; at most {MOST_VALUES:,} are allowed")
        return
    for index, value in enumerate(values):
        here: Location = (*at, index)
        if not value:
            yield Finding("HBK0302", here, "an empty value matches nothing")
        elif len(value) > LONGEST_VALUE:
            yield Finding("HBK0307", here, f"the value has {len(value):,} characters; at most {LONGEST_VALUE:,} are allowed")
        elif not value.isprintable():
            yield Finding("HBK0110", here, "the value holds a character that cannot be seen", "remove line ends, tabs and the like")
        else:
            yield from check(here, value)


def check_text(at: Location, value: str) -> Iterator[Finding]:
    """Exact, prefix*, *suffix or *: any other star stands for itself."""
    if "*" in value[1:-1] or (len(value) > 1 and value.startswith("*") and value.endswith("*")):
        yield Finding("HBK0306", at, f"{value!r} holds a * that stands for itself: only one first or last * is a wildcard")


def check_path(at: Location, value: str) -> Iterator[Finding]:
    """A path or a template of one."""
    if not is_path_template(value):
        yield from check_text(at, value)
    elif fault := path_template_fault(value):
        yield Finding("HBK0314", at, f"{value!r} is no path template: it {fault}")


def check_principal(at: Location, value: str) -> Iterator[Finding]:
    """TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, without the scheme."""
    if value.startswith("spiffe://"):
        short = value.removeprefix("spiffe://")
        yield Finding("HBK0305", at, f"{value!r} matches nobody: spiffe:// is added by itself", f"write {short}")
    else:
        yield from check_text(at, value)


def check_request_principal(at: Location, value: str) -> Iterator[Finding]:
    """ISSUER/SUBJECT of a token, split at the last slash; either may have a star."""
    if "/" not in value and "*" not in value:
        remedy = f"write {value}/* for all tokens of this issuer, */{value} for this subject of any"
        yield Finding("HBK0305", at, f"{value!r} matches no token: ISSUER/SUBJECT is needed", remedy)
    elif "/" not in value:
        yield from check_text(at, value)
    else:
        issuer, _, subject = value.rpartition("/")
        yield from check_text(at, issuer)
        yield from check_text(at, subject)


def check_namespace(at: Location, value: str) -> Iterator[Finding]:
    """A name in which every star stands for any characters."""
    if "/" in value:
        yield Finding("HBK0305", at, f"{value!r} matches nobody: no namespace has a / in its name", "write the name alone")
    elif value.count("*") > MOST_STARS:
        yield Finding("HBK0307", at, f"{value!r} has more than {MOST_STARS} stars")


def check_service_account(at: Location, value: str) -> Iterator[Finding]:
    """NAME, in the policy's namespace, or NAMESPACE/NAME."""
    if fault := _service_account_fault(value):
        yield Finding("HBK0110", at, f"{value!r} is no service account: it {fault}")


def _service_account_fault(value: str) -> str | None:
    if len(value) > LONGEST_SERVICE_ACCOUNT:
        return f"is longer than {LONGEST_SERVICE_ACCOUNT} characters"
    if "*" in value:
        return "may hold no *"
    parts = value.split("/")
    return None if len(parts) <= 2 and all(parts) else "must be NAME or NAMESPACE/NAME"


def check_trust_domain(at: Location, value: str) -> Iterator[Finding]:
    """A name with at most one star, which stands for any characters but a slash."""
    if "/" in value:
        yield Finding("HBK0110", at, f"{value!r} is no trust domain: it may hold no /")
    elif value.count("*") > 1:
        yield Finding("HBK0110", at, f"{value!r} has more than one *")


def check_block(at: Location, value: str) -> Iterator[Finding]:
    """An address or a block, of either version."""
    try:
        block = parse_block(value)
    except ValueError:
        yield Finding("HBK0110", at, f"{value!r} is no address and no block of addresses", "write 10.1.2.3, 10.1.0.0/16 or 2001:db8::/32")
        return
    if has_bits_beyond(value):
        yield Finding("HBK0313", at, f"{value} means all of {block}", f"write {block}, or the one address without a prefix")


def check_port(at: Location, value: str) -> Iterator[Finding]:
    """A number; ranges do not exist."""
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535):
        yield Finding("HBK0107", at, f"{value!r} is no port number; ports go from 1 to 65535, without ranges")


def check_metadata(at: Location, value: str) -> Iterator[Finding]:
    """A text, or in brackets an element of a list."""
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if not inner:
        yield Finding("HBK0302", at, "an empty value matches nothing")
    else:
        yield from check_text(at, inner)


# By the name of the field in its positive form.
OF_FIELD: Final[dict[str, Check]] = {
    "principals": check_principal,
    "requestPrincipals": check_request_principal,
    "namespaces": check_namespace,
    "serviceAccounts": check_service_account,
    "trustDomains": check_trust_domain,
    "ipBlocks": check_block,
    "remoteIpBlocks": check_block,
    "hosts": check_text,
    "ports": check_port,
    "methods": check_text,
    "paths": check_path,
}


def positive(field: str) -> str:
    """The name of the field whose negative form `field` may be: notPaths and paths are both about paths."""
    return field[3].lower() + field[4:] if field.startswith("not") and field[3:4].isupper() else field

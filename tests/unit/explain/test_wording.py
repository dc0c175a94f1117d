from hauberk.explain.places import location_of
from hauberk.explain.wording import clause_text, identity_text
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.trace import FailedClause


def text(kind: Kind, actual: str, *values: str, key: tuple[str, ...] = (), negated: bool = False) -> str:
    return clause_text(FailedClause("spec", values, actual, negated, Attribute(kind, key)))


def test_clauses_read_as_sentences() -> None:
    assert text(Kind.CLAIM, "[reader]", "writer", "admin", key=("groups",)) == "claim `groups` has [reader]; needs one of [writer, admin]"
    assert text(Kind.HEADER, "", "acme", key=("x-tenant",)) == "there is no header `x-tenant`; needs [acme]"
    assert text(Kind.METHOD, "POST", "POST", negated=True) == "method is POST; must be none of [POST]"
    assert text(Kind.IDENTITY, "", "*") == "the caller has no identity; needs [*]"
    assert text(Kind.IDENTITY, "spiffe://cluster.local/ns/a/sa/b", "x").startswith("the caller is a/b;")


def test_a_long_list_is_cut() -> None:
    assert text(Kind.PATH, "/x", *(f"/{number}" for number in range(1000))).endswith("… and 994 more]")


def test_identities_of_other_domains_keep_their_domain() -> None:
    assert identity_text("spiffe://partner.org/ns/a/sa/b") == "a/b of partner.org"
    assert identity_text("spiffe://cluster.local/vm/7") == "spiffe://cluster.local/vm/7"


def test_a_path_in_an_object_is_read_back() -> None:
    assert location_of("spec.rules[0].from[1].source.notPrincipals") == ("spec", "rules", 0, "from", 1, "source", "notPrincipals")
    assert location_of("metadata.labels['app.kubernetes.io/name']") == ("metadata", "labels", "app.kubernetes.io/name")

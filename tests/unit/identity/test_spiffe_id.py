"""The SPIFFE-ID standard: one test for each of its normative rules, by number of the rule."""

import pytest

from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId, service_account_of, workload_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web",
        "https://cluster.local/web",
        "spiffe:/cluster.local",
        "spiffe://",
        "spiffe:///web",
        "spiffe://td/web?x=1",
        "spiffe://td/web#x",
        "spiffe://td?",
        "spiffe://td#",
    ],
)
def test_rule_1_the_scheme_is_spiffe_with_a_trust_domain_and_neither_query_nor_fragment(text: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId.parse(text)


@pytest.mark.parametrize("text", ["spiffe://user@td/web", "spiffe://td:443/web", "spiffe://user:secret@td", "spiffe://td:/web"])
def test_rule_2_the_authority_has_neither_user_nor_port(text: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId.parse(text)


@pytest.mark.parametrize("domain", ["Cluster.local", "cluster local", "cluster%2elocal", "münchen", "td!", "a" * 256])
def test_rule_3_a_trust_domain_is_lower_case_of_few_characters_and_at_most_255_bytes(domain: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId.parse(f"spiffe://{domain}/web")


def test_rule_3_a_trust_domain_may_have_255_bytes_and_every_permitted_character() -> None:
    assert SpiffeId.parse(f"spiffe://{'a' * 255}/web").trust_domain == "a" * 255
    assert SpiffeId.parse("spiffe://a-z.0_9/web").trust_domain == "a-z.0_9"


@pytest.mark.parametrize("domain", ["10.0.0.1", "example.org", "..", "-", "_", "1.2.3.4.5", "example.org."])
def test_rule_4_names_that_look_like_addresses_or_hosts_are_names_like_others(domain: str) -> None:
    assert SpiffeId.parse(f"spiffe://{domain}/web").trust_domain == domain


@pytest.mark.parametrize("path", ["/", "/web/", "//web", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/%61", "/a b", "/ä", "/a:b", "/a~b"])
def test_rule_5_a_path_has_no_escapes_no_empty_or_dotted_segments_and_few_characters(path: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId.parse(f"spiffe://td{path}")


def test_rule_5_a_path_is_case_sensitive() -> None:
    assert SpiffeId.parse("spiffe://td/Web") != SpiffeId.parse("spiffe://td/web")


@pytest.mark.parametrize("text", ["SPIFFE://td/web", "Spiffe://td/web"])
def test_rule_5_the_scheme_has_no_case_so_one_spelling_is_taken_and_no_two_texts_are_one_identity(text: str) -> None:
    with pytest.raises(InvalidSpiffeId, match="in small letters"):
        SpiffeId.parse(text)


def test_rule_5_dots_are_fine_inside_a_segment() -> None:
    assert SpiffeId.parse("spiffe://td/a.b/...").path == "/a.b/..."


def test_rule_6_an_id_of_2048_bytes_is_taken_and_a_longer_one_is_not() -> None:
    longest = "spiffe://td/" + "a" * (2048 - len("spiffe://td/"))
    assert str(SpiffeId.parse(longest)) == longest
    with pytest.raises(InvalidSpiffeId):
        SpiffeId.parse(longest + "a")


def test_a_trust_domain_alone_is_an_id_but_no_workload() -> None:
    spiffe_id = SpiffeId.parse("spiffe://cluster.local")
    assert (spiffe_id.path, spiffe_id.is_workload) == ("", False)


def test_parsing_and_formatting_are_inverse() -> None:
    text = "spiffe://cluster.local/ns/shop/sa/web"
    assert str(SpiffeId.parse(text)) == text


def test_a_service_account_has_istios_name() -> None:
    spiffe_id = workload_id("cluster.local", "shop", "web")
    assert str(spiffe_id) == "spiffe://cluster.local/ns/shop/sa/web"
    assert service_account_of(spiffe_id) == ("shop", "web")


@pytest.mark.parametrize("path", ["", "/web", "/ns/shop", "/ns/shop/sa/web/x", "/sa/web/ns/shop"])
def test_an_id_of_another_shape_names_no_service_account(path: str) -> None:
    assert service_account_of(SpiffeId("td", path)) is None


def test_an_invalid_id_cannot_be_built_from_parts_either() -> None:
    with pytest.raises(InvalidSpiffeId):
        workload_id("cluster.local", "shop/sa/admin", "..")
    with pytest.raises(InvalidSpiffeId):
        SpiffeId("td", "web")

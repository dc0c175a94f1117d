"""Claims of a token as policies read them."""

from __future__ import annotations

from typing import Any

import pytest

from hauberk.policy.claims import claim_texts, split_claims


@pytest.mark.parametrize(
    ("scope", "texts"),
    [
        ("read write", ("read", "write")),
        ("  read   write ", ("read", "write")),
        ("", ()),
        ("read\twrite", ("read\twrite",)),
        ("read\u00a0write\n", ("read\u00a0write\n",)),
        (["read write"], ("read write",)),
    ],
)
def test_words_of_a_claim_are_separated_by_spaces_and_no_other_blank(scope: Any, texts: tuple[str, ...]) -> None:
    # The sidecar splits no other; tests/e2e/test_dataplane_jwt.py asks it.
    assert claim_texts({"scope": scope}, ("scope",)) == texts
    assert claim_texts(split_claims({"roles": scope}, ["roles"]), ("roles",)) == texts

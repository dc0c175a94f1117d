"""Citadel does not take an agent's word for which entry a process is of."""

import pytest

from hauberk.api.workload_entry import EntrySelectors, WorkloadEntry
from hauberk.citadel.attestation import AttestationRefused, Caller
from hauberk.citadel.entry_attestation import attest_entry
from hauberk.identity.wire import EntrySubject

ENTRIES = (
    WorkloadEntry(name="backup", service_account="shop/backup", selectors=EntrySelectors(uid=1000, path="/usr/bin/backup")),
    WorkloadEntry(name="probe", service_account="shop/probe", node="edge", selectors=EntrySelectors(uid=7)),
)
EVIDENCE = (("path", "/usr/bin/backup"), ("uid", "1000"))
HERE = Caller(node="here", own=True)


def test_evidence_that_bears_out_every_selector_gives_the_entrys_identity() -> None:
    attested = attest_entry(EntrySubject(name="backup", evidence=EVIDENCE), HERE, ENTRIES, "cluster.local")
    assert str(attested.spiffe_id) == "spiffe://cluster.local/ns/shop/sa/backup"
    assert (attested.holder, attested.node) == ("entry backup", "here")
    assert attested.evidence == {"entry": "backup", "path": "/usr/bin/backup", "uid": "1000"}


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (EntrySubject(name="absent", evidence=EVIDENCE), "no entry"),
        (EntrySubject(name="probe", evidence=(("uid", "7"),)), "not for node"),
        (EntrySubject(name="backup"), "uid, path"),
        (EntrySubject(name="backup", evidence=(("uid", "1000"),)), "its path"),
        (EntrySubject(name="backup", evidence=(("path", "/usr/bin/backup"), ("uid", "0"))), "its uid"),
        (EntrySubject(name="backup", evidence=(*EVIDENCE, ("uid", "0"))), "twice"),
    ],
)
def test_anything_else_is_refused(subject: EntrySubject, reason: str) -> None:
    with pytest.raises(AttestationRefused, match=reason):
        attest_entry(subject, HERE, ENTRIES, "cluster.local")


def test_an_entry_that_names_no_machine_is_for_none_that_has_joined() -> None:
    with pytest.raises(AttestationRefused, match="not for node 'edge'"):
        attest_entry(EntrySubject(name="backup", evidence=EVIDENCE), Caller(node="edge"), ENTRIES, "cluster.local")


def test_an_entry_for_one_machine_is_for_that_machine() -> None:
    attested = attest_entry(EntrySubject(name="probe", evidence=(("uid", "7"),)), Caller(node="edge"), ENTRIES, "cluster.local")
    assert attested.node == "edge"

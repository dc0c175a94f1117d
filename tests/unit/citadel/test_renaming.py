"""The trust domain gets another name: on proof, with renewals, and with the old name given up only when nobody has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.citadel.rig import HandClock, PlayedAgent, issue

from hauberk.citadel.attestation import Attested, Caller
from hauberk.citadel.authority import Citadel
from hauberk.citadel.federation import Profile
from hauberk.citadel.federation_settings import FederationSettings, Listen
from hauberk.citadel.ground import Ground
from hauberk.citadel.renaming import Renaming
from hauberk.citadel.rotation import holder_name
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state_issued import read_issued
from hauberk.identity.csr import build_csr
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.wire import PodSubject, Report, Subject

OLD, NEW = "old.example", "new.example"


@dataclass
class Attestor:
    """Every pod runs as ServiceAccount `web`."""

    ground: Ground

    def attest(self, subject: Subject, caller: Caller) -> Attested:
        assert isinstance(subject, PodSubject)
        spiffe_id = workload_id(self.ground.trust_domain, "shop", "web")
        return Attested(spiffe_id=spiffe_id, holder=holder_name(subject, caller.node), node=caller.node)


class Agent(PlayedAgent):
    """One that also reports the names."""

    def report(self, sequence: int, node_time: datetime | None = None) -> None:
        rows = {name: read_issued(self.citadel.ground.state, serial=each.serial) for name, each in self.holders.items()}
        self.holders = {
            name: replace(each, spiffe_id=row.spiffe_id) for name, each in self.holders.items() if (row := rows[name]) is not None
        }
        now = self.citadel.ground.clock.now()
        report = Report(sequence=sequence, node_time=now, holders=tuple(self.holders.values()))
        self.citadel.roster.heard(self.node, self.line, report, now)


@contextmanager
def opened(directory: Path, *names: str, settings: CitadelSettings | None = None, clock: HandClock | None = None) -> Iterator[Citadel]:
    wanted, *aliases = names or (OLD,)
    ground = Ground.open(directory / "ca", trust_domain=wanted, aliases=aliases, clock=clock or HandClock(), audit=directory / "audit")
    try:
        yield Citadel.open(ground, settings or CitadelSettings(), attestor=Attestor(ground))
    finally:
        ground.close()


@pytest.fixture(autouse=True)
def directory(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()


async def test_both_names_are_told_before_the_new_one_is_issued_and_only_proof_lets_it_be(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        renaming, agent = Renaming(citadel), Agent(citadel)
        await agent.start("web-1")
        agent.report(citadel.trust.sequence)
        await renaming.declare((NEW, OLD))
        assert (citadel.trust.trust_domain, citadel.trust.aliases) == (OLD, (NEW,))
        assert renaming.unproven() == ("node here: its agent has not confirmed",)
        assert (await issue(citadel)).spiffe_id.trust_domain == OLD
        await agent.obey()
        assert renaming.unproven() == ()


async def test_the_new_name_is_issued_by_a_new_key_and_everybody_renews(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        renaming, agent = Renaming(citadel), Agent(citadel)
        await agent.start("web-1")
        await renaming.declare((NEW, OLD))
        await agent.obey()
        before = citadel.authorities.issuing.id
        await renaming.adopt(NEW, by="settings")
        assert (citadel.trust.trust_domain, citadel.trust.aliases) == (NEW, (OLD,))
        assert before in citadel.trust.renew
        assert citadel.authorities.issuing.id not in citadel.trust.renew
        svid = await issue(citadel)
        assert svid.spiffe_id.trust_domain == NEW
        assert renaming.holders(OLD) == ("pod shop/web-1 on node here",)
        await agent.obey()
        await agent.obey()
        assert renaming.holders(OLD) == ()
        sequence = citadel.trust.sequence
        await renaming.settle()
        assert citadel.trust.sequence == sequence


async def test_a_restart_goes_on_with_the_renaming_whether_it_was_adopted_or_not(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        await Agent(citadel).start("web-1")
    with opened(tmp_path, NEW, OLD) as citadel:
        assert (citadel.trust.trust_domain, citadel.trust.aliases) == (OLD, (NEW,))
        await Renaming(citadel).adopt(NEW, by="settings")
        leaving = citadel.trust.renew
    with opened(tmp_path, NEW, OLD) as citadel:
        assert (citadel.trust.trust_domain, citadel.trust.aliases) == (NEW, (OLD,))
        renaming = Renaming(citadel)
        await renaming.settle()
        assert citadel.trust.renew == leaving
        # No agent answers for the pod: the ledger does.
        (holder,) = renaming.holders(OLD)
        assert holder.startswith("pod shop/web-1 uid-web-1, until ")
    with opened(tmp_path, NEW) as citadel:
        # The root was made under the old name, and is ours all the same.
        assert citadel.trust.trust_domain == NEW


def faults(renaming: Renaming, wanted: str, *aliases: str, federated: tuple[str, ...] = (), machines: tuple[str, ...] = ()) -> str:
    fault = renaming.fault(wanted, aliases, federated=federated, machines=machines)
    assert fault is None or fault[1]
    return fault[0] if fault else ""


async def test_settings_that_would_cut_somebody_off_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        renaming, agent = Renaming(citadel), Agent(citadel)
        await agent.start("web-1")
        assert faults(renaming, OLD) == ""
        assert faults(renaming, OLD, NEW) == ""
        assert faults(renaming, NEW, OLD) == ""
        assert faults(renaming, NEW).startswith("the trust domain is old.example, and certificates")
        assert faults(renaming, OLD, "b.td", federated=("b.td",)) == "b.td is federated: it is somebody else's"
        assert "agents of m2, m3 know" in faults(renaming, NEW, OLD, machines=("m3", "m2"))
        await renaming.declare((NEW, OLD))
        await agent.obey()
        await renaming.adopt(NEW, by="settings")
        assert faults(renaming, NEW) == "certificates of trust domain old.example are still held by pod shop/web-1 on node here"
        assert faults(renaming, OLD, NEW) == ""
        await agent.obey()
        await agent.obey()
        assert faults(renaming, NEW) == ""


async def test_a_certificate_outside_keeps_the_old_name_until_it_expires(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock=clock) as citadel:
        renaming = Renaming(citadel)
        csr = build_csr(ec.generate_private_key(ec.SECP256R1()))
        await citadel.issue_outside(csr, namespace="shop", service_account="job", lifetime=timedelta(hours=2), by="uid 0")
        await renaming.declare((NEW, OLD))
        await renaming.adopt(NEW, by="settings")
        assert "held by outside uid 0, until" in faults(renaming, NEW)
        clock.pass_by(timedelta(hours=3))
        assert faults(renaming, NEW) == ""


async def test_39_a_new_root_signs_only_after_readers_of_the_bundle_had_time(tmp_path: Path) -> None:
    clock, listen = HandClock(), (Listen(host="", port=8443, profile=Profile.SPIFFE),)
    settings = CitadelSettings(federation=FederationSettings(listen=listen, refresh=timedelta(minutes=1)))
    with opened(tmp_path, settings=settings, clock=clock) as citadel:
        agent = Agent(citadel)
        await agent.start("web-1")
        (a,) = citadel.trust.x509_authorities
        await citadel.rotate_root("jo")
        await agent.obey()
        await citadel.housekeeping.tidy()
        view = citadel.rotation()
        assert view is not None
        assert view.waiting_for[0].startswith("federated trust domains, which have until")
        assert (await issue(citadel)).chain[1].issuer == a.subject
        clock.pass_by(timedelta(minutes=3))
        await agent.obey()
        await citadel.housekeeping.tidy()
        assert (await issue(citadel)).chain[1].issuer != a.subject

"""Another name for the trust domain, without an outage.

    declare ──every proxy accepts both names──> adopt ──every leaf is renewed under the new name──> the old name may be left out

Both names stand for the same mesh as long as the settings give both: in certificates (each side accepts either), in policies and in
what is published. Which of them certificates are issued in changes only when every agent and every proxy is proven to accept it, and
a name is given up only when nobody holds a certificate with it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.rotation import holder_name, named, unconfirmed
from hauberk.citadel.state_authorities import Kind, Slot
from hauberk.citadel.state_names import read_living_holders, read_living_names, write_name
from hauberk.identity.event import Event, EventKind
from hauberk.identity.trust import Trust
from hauberk.kit.log import logger

_SHOWN = 3  # holders of a name that a refusal lists

_log = logger("citadel")


class Renaming:
    """Carries it out: the settings say what is wanted, this says when. One event loop uses it."""

    def __init__(self, citadel: Citadel) -> None:
        self._citadel = citadel
        self._ground = citadel.ground
        self._since = self._adopted = citadel.trust.sequence
        self._problem = ""

    @property
    def current(self) -> str:
        """In which trust domain certificates are issued."""
        return self._ground.trust_domain

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that is accepted as the mesh's own, the current one first."""
        trust = self._citadel.trust
        return (trust.trust_domain, *trust.aliases)

    async def declare(self, names: Sequence[str]) -> None:
        """Everybody is told that these are the mesh's names, beside the current one."""
        aliases = tuple(name for name in dict.fromkeys(names) if name != self.current)
        trust = await self._ground.publication.publish(lambda trust: replace(trust, aliases=aliases))
        if trust.sequence != self._since:
            self._since = trust.sequence

    def unproven(self) -> tuple[str, ...]:
        """Who has not confirmed yet that he knows the names as they were last declared."""
        return unconfirmed(self._since, self._citadel.exchange.facts(self._ground.clock.now()))

    async def adopt(self, trust_domain: str, by: str) -> None:
        """From now on certificates are issued in `trust_domain`, which must be declared and proven; the former name stays accepted."""
        former, now = self.current, self._ground.clock.now()

        def change(trust: Trust) -> Trust:
            others = tuple(name for name in (trust.trust_domain, *trust.aliases) if name != trust_domain)
            return replace(trust, trust_domain=trust_domain, aliases=others)

        # Written down first: killed in between, it would have happened and nobody could say so.
        event = Event(
            time=now, kind=EventKind.TRUST_DOMAIN_RENAMED, subject=trust_domain, outcome="adopted", by=by, evidence={"former": former}
        )
        await self._ground.audit(event)
        trust = await self._ground.publication.publish(change, write_name(trust_domain, now, self._ground.state))
        self._adopted = trust.sequence
        self._citadel.authorities.trust_domain = trust_domain
        _log.info("trust domain renamed", trust_domain=trust_domain, former=former)
        await self.settle()

    async def settle(self) -> None:
        """Leaves with another name than the current one are on their way to be renewed.

        They are told by who signed them, so another issuing key signs the new ones. Where none can be made (the root's key is not here),
        leaves are renewed at their usual time.
        """
        trust = self._citadel.trust
        if not trust.aliases:
            return
        living = read_living_names(self._ground.state, self._ground.clock.now())
        leaving = frozenset(each for name in trust.aliases if name in living for each in living[name][1])
        if not leaving or (signer := await self._signer(leaving)) is None:
            return
        leaving -= {signer}
        if not leaving <= trust.renew:
            await self._ground.publication.publish(lambda trust: replace(trust, renew=trust.renew | leaving))

    async def _signer(self, leaving: frozenset[str]) -> str | None:
        """The issuing authority, which has signed nothing that is to be renewed; None: it has, and there is no other yet."""
        authorities = self._citadel.authorities
        try:
            if authorities.issuing.id in leaving and not any(
                row.kind is Kind.ISSUING and row.slot is Slot.PREPARED for row in authorities.rows
            ):
                await self._citadel.rotate("citadel")
            signer = authorities.issuing.id
        except (ExchangeRefused, NoIssuer) as exc:
            if str(exc) != self._problem:
                _log.warning("certificates with the former name are renewed at their usual time", reason=str(exc))
            self._problem = str(exc)
            return None
        self._problem = ""
        return None if signer in leaving else signer

    def holders(self, name: str) -> tuple[str, ...]:
        """Who holds a living certificate with the trust domain `name`: by his agent's word, or by the ledger where no agent answers."""
        roster, prefix = self._citadel.roster, f"spiffe://{name}/"
        heard = {node for node, report in roster.reports.items() if report.sequence >= self._adopted}
        told = {
            holder_name(holder.subject, node): f"{named(holder.subject)} on node {node}"
            for node, holder in roster.holders()
            if holder.serial and holder.spiffe_id.startswith(prefix)
        }
        known = {
            f"{holder}, until {end:%Y-%m-%d %H:%M:%S} UTC"
            for holder, node, end in read_living_holders(self._ground.state, self._ground.clock.now(), name)
            if node not in heard and holder not in told
        }
        return (*sorted(told.values()), *sorted(known))

    def fault(
        self, wanted: str, aliases: Sequence[str], *, federated: Collection[str], machines: Collection[str]
    ) -> tuple[str, str] | None:
        """Why the mesh cannot be called `wanted` and `aliases` from now on, and what to do; None: it can.

        `federated`: trust domains that are somebody else's; `machines`: others that take part in the mesh.
        """
        given = (wanted, *aliases)
        if taken := [name for name in given if name in federated]:
            return (f"{taken[0]} is federated: it is somebody else's", f"end that first: hauberk ca federate {taken[0]} --remove")
        if wanted != self.current:
            return self._change_fault(wanted, given, machines)
        return _held_fault([name for name in self.names if name not in given], self.holders)

    def _change_fault(self, wanted: str, given: Sequence[str], machines: Collection[str]) -> tuple[str, str] | None:
        current = self.current
        if current not in given:
            message = f"the trust domain is {current}, and certificates with that name live"
            return message, f"to rename it, keep {current} among trustDomainAliases beside trustDomain: {wanted}, until they are renewed"
        if machines:
            message = f"the trust domain is {current}, and the agents of {', '.join(sorted(machines))} know the control plane by that name"
            return message, "machines cannot follow a change of the trust domain yet: ban them, and let them join again after it"
        if self._citadel.exchange.going_on:
            return "the root is being exchanged: one change after the other", "wait for it (`hauberk ca show`), or abort it"
        return _held_fault([name for name in self.names if name not in given], self.holders)


def _held_fault(left_out: Sequence[str], holders: Callable[[str], tuple[str, ...]]) -> tuple[str, str] | None:
    for name in left_out:
        if held := holders(name):
            more = f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
            message = f"certificates of trust domain {name} are still held by {', '.join(held[:_SHOWN])}{more}"
            return message, f"keep {name} among trustDomainAliases until they are renewed or have expired"
    return None

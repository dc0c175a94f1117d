"""The server's side of one delta ADS stream, as a value: requests and resource sets in, responses out. No I/O, no clock.

Pilot towards agents, and an agent's relay towards an Envoy, are this same session. Order is make-before-break:

- clusters go before their endpoints, both before the listeners and routes that may name them: listeners and routes wait until
  every cluster just told is acknowledged and has its endpoints, or traffic would meet a cluster that does not exist yet;
- what goes away goes in reverse: routes after their listeners, clusters after listeners and routes were acknowledged;
- an endpoint assignment is told again after its cluster changed: Envoy would otherwise wait 15 s for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hauberk.xds.conversation import Conversation
from hauberk.xds.layers import ResourceSet
from hauberk.xds.names import NO_NAMES
from hauberk.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES
from hauberk.xds.update import Rejection, Update, rejections_of

# The order in which types are considered; all others (secrets, …) come first, because these refer to them.
ORDERED: Final = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES)
# Types whose resources name clusters.
NAME_CLUSTERS: Final = (LISTENER, ROUTES, SCOPED_ROUTES)


class DeltaSession:
    """One proxy's conversation with its server.

    Every method returns the responses to send now, in this order. `rejections` are those of the proxy's previous stream:
    a resource that it refused is not told again until its bytes change.
    """

    def __init__(self, *, rejections: Iterable[Rejection] = ()) -> None:
        self.node: Node | None = None
        self.target: ResourceSet | None = None
        self.acknowledged: int | None = None
        self._conversations: dict[str, Conversation] = {}
        self._rejections: dict[tuple[str, str], Rejection] = {(r.type_url, r.name): r for r in rejections}
        # Clusters that were told and whose endpoints are not acknowledged since; those of them whose endpoints were told.
        self._warming: frozenset[str] = NO_NAMES
        self._refilled: frozenset[str] = NO_NAMES
        # Routes that listeners just told name, and that the proxy is about to ask for.
        self._awaited: frozenset[str] = NO_NAMES
        # It came back with clusters; the listeners and routes that it holds are not known before it has asked for them.
        self._resuming = False

    # --- what happens

    def on_request(self, request: DeltaDiscoveryRequest) -> tuple[Update, ...]:
        """A request arrived: an acknowledgement or refusal, subscriptions, or both."""
        if self.node is None and request.HasField("node"):
            self.node = request.node
        conversation = self._conversations.get(request.type_url)
        if conversation is None:
            conversation = self._conversations[request.type_url] = Conversation(request.type_url)
        if not conversation.begun or request.resource_names_subscribe or request.resource_names_unsubscribe:
            conversation.on_subscription(request, self._refused(request) if not conversation.begun else {})
            self._on_names(conversation, request)
        if conversation.outstanding is not None and request.response_nonce == conversation.outstanding.nonce:
            self._on_answer(conversation, conversation.outstanding, request)
        return self._advance()

    def on_resources(self, resources: ResourceSet) -> tuple[Update, ...]:
        """From now on the proxy is to hold `resources`."""
        self.target = resources
        if self._awaited:
            self._awaited &= resources.names(ROUTES)
        return self._advance()

    def on_silence(self) -> tuple[Update, ...]:
        """The proxy asked for nothing for long: go on without the endpoints and routes it was expected to ask for."""
        self._warming = self._awaited = NO_NAMES
        self._resuming = False
        return self._advance()

    # --- what is known

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What the proxy refuses at present, of what there is."""
        target = self.target or ResourceSet()
        return tuple(r for key, r in self._rejections.items() if not r.name or target.get(*key) is not None)

    @property
    def synced(self) -> bool:
        """Whether the proxy holds all of the latest set, refused resources excepted."""
        if self.target is None or not self._conversations or self._awaited or self._cold():
            return False
        wanted = (t for t in (CLUSTER, LISTENER) if self.target.tables(t))
        return all(self._begun(t) for t in wanted) and all(self.settled(t) for t in self._conversations)

    @property
    def waiting(self) -> bool:
        """Whether it counts on requests that have not come (see `on_silence`)."""
        return bool(self._awaited or self._cold() or self._half_resumed())

    def settled(self, type_url: str) -> bool:
        """Whether the proxy answered for everything of this type that it subscribed to; True if it never asked."""
        conversation = self._conversations.get(type_url)
        if conversation is None or self.target is None:
            return conversation is None
        if conversation.outstanding is not None:
            return False
        again = self._again(type_url)
        if not again and conversation.holds(self.target):
            return True
        owed = conversation.owed(self.target, again)
        return not owed or (not owed.told and self._withheld(type_url))

    def subscribed(self, type_url: str) -> frozenset[str]:
        """Names of this type that the proxy asked for; `*` stands for all."""
        conversation = self._conversations.get(type_url)
        if conversation is None:
            return NO_NAMES
        return conversation.names | {"*"} if conversation.wildcard else conversation.names

    def outstanding(self, type_url: str) -> Update | None:
        """The response that the proxy has not answered."""
        conversation = self._conversations.get(type_url)
        return conversation.outstanding if conversation is not None else None

    def _begun(self, type_url: str) -> bool:
        conversation = self._conversations.get(type_url)
        return conversation is not None and conversation.begun

    # --- requests

    def _refused(self, request: DeltaDiscoveryRequest) -> dict[str, str]:
        """Of what the previous stream's proxy refused, that which it would be told again unchanged."""
        refused: dict[str, str] = {}
        for key, rejection in tuple(self._rejections.items()):
            if rejection.type_url != request.type_url or self.target is None:
                continue
            now = self.target.get(*key)
            if now is not None and now.version == rejection.version and request.initial_resource_versions:
                refused[rejection.name] = rejection.version
            else:
                del self._rejections[key]
        return refused

    def _on_names(self, conversation: Conversation, request: DeltaDiscoveryRequest) -> None:
        if conversation.type_url == CLUSTER and request.initial_resource_versions:
            self._resuming = True
        if conversation.type_url == ROUTES and self._awaited:
            self._awaited -= conversation.names
        if self._rejections and not conversation.wildcard:
            for name in frozenset(request.resource_names_unsubscribe) - conversation.names:
                self._rejections.pop((conversation.type_url, name), None)

    def _on_answer(self, conversation: Conversation, answered: Update, request: DeltaDiscoveryRequest) -> None:
        conversation.outstanding = None
        type_url = conversation.type_url
        refused: tuple[Rejection, ...] = ()
        if request.HasField("error_detail"):
            refused = rejections_of(answered, request.error_detail.message)
        if self._rejections:
            self._forget_rejections(type_url, answered, whole=not refused)
        self._rejections.update(((r.type_url, r.name), r) for r in refused)
        if type_url == ENDPOINTS and self._warming:
            filled = answered.names() & self._refilled
            self._warming -= filled
            self._refilled -= filled
        if refused:
            self._on_refusal(type_url, answered, frozenset(r.name for r in refused))

    def _on_refusal(self, type_url: str, answered: Update, names: frozenset[str]) -> None:
        """Expect no questions about what was refused; if that is not known, about nothing of the response."""
        if type_url == CLUSTER:
            self._warming -= names if "" not in names else answered.names()
        elif type_url == LISTENER:
            self._awaited = NO_NAMES

    def _forget_rejections(self, type_url: str, answered: Update, *, whole: bool) -> None:
        if whole:
            self._rejections.pop((type_url, ""), None)
        for name in (*answered.names(), *answered.removed):
            self._rejections.pop((type_url, name), None)

    # --- responses

    def _advance(self) -> tuple[Update, ...]:
        if self.target is None:
            return ()
        updates = [update for type_url in self._order() if (update := self._next(type_url, self.target)) is not None]
        if not updates and self.synced:
            self.acknowledged = self.target.revision
        return tuple(updates)

    def _order(self) -> list[str]:
        others = [type_url for type_url in self._conversations if type_url not in ORDERED]
        return [*others, *(type_url for type_url in ORDERED if type_url in self._conversations)]

    def _next(self, type_url: str, target: ResourceSet) -> Update | None:
        conversation = self._conversations[type_url]
        again = self._again(type_url)
        if conversation.outstanding is not None or (not again and conversation.holds(target)):
            return None
        owed = conversation.owed(target, again)
        if not owed:
            # Nothing of it concerns this proxy; it goes over to the new tables, so that the old ones can be forgotten.
            conversation.tell(owed, target, with_removals=True)
            return None
        if type_url in NAME_CLUSTERS and not self._clusters_ready():
            return None
        with_removals = bool(owed.removed) and self._may_remove(type_url)
        if not owed.told and not with_removals:
            return None
        update = conversation.tell(owed, target, with_removals=with_removals)
        if update is not None:
            self._on_told(update, target)
        return update

    def _again(self, type_url: str) -> frozenset[str]:
        if type_url != ENDPOINTS or not self._warming:
            return NO_NAMES
        return (self._warming - self._refilled) & self._conversations[type_url].names

    def _cold(self) -> frozenset[str]:
        """Clusters that routes may name and whose endpoints the proxy has not confirmed.

        Of those that are to go, `_warming` remembers them all the same: one may be back before it was taken away.
        """
        if not self._warming or self.target is None:
            return NO_NAMES
        return self._warming & self.target.names(CLUSTER) & self.target.names(ENDPOINTS)

    def _clusters_ready(self) -> bool:
        clusters = self._conversations.get(CLUSTER)
        if self._cold():
            return False
        if clusters is None or self.target is None:
            return True
        # Behind a removal that is under way there may be new ones still to be told.
        under_way = clusters.outstanding is not None and bool(clusters.outstanding.changes)
        return not under_way and (clusters.holds(self.target) or not clusters.owed(self.target).told)

    def _half_resumed(self) -> bool:
        return self._resuming and not (self._begun(LISTENER) and self._begun(ROUTES))

    def _withheld(self, type_url: str) -> bool:
        """A proxy that refused a listener or route goes on with the last one, which may name clusters that are to go."""
        return type_url in (CLUSTER, ENDPOINTS) and any(r.type_url in NAME_CLUSTERS for r in self._rejections.values())

    def _may_remove(self, type_url: str) -> bool:
        """Whether whatever could refer to a resource of this type was acknowledged in its newest form."""
        if self._withheld(type_url):
            return False
        if type_url == CLUSTER:
            return not self._awaited and not self._half_resumed() and all(self.settled(t) for t in NAME_CLUSTERS)
        if type_url == ENDPOINTS:
            return self.settled(CLUSTER)
        if type_url in (ROUTES, SCOPED_ROUTES):
            return self.settled(LISTENER)
        return True

    def _on_told(self, update: Update, target: ResourceSet) -> None:
        if update.type_url == CLUSTER:
            self._warming = (self._warming | (update.names() & target.names(ENDPOINTS))).difference(update.removed)
            self._refilled -= update.names()
        elif update.type_url == ENDPOINTS and self._warming:
            self._refilled |= update.names() & self._warming
        elif update.type_url == LISTENER and update.changes:
            routes = self._conversations.get(ROUTES)
            self._awaited = target.names(ROUTES) - (routes.names if routes is not None else NO_NAMES)

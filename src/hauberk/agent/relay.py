"""The caching relay between one pod's Envoy and the control plane, as a value: requests and responses in, requests and updates out.

What the control plane tells is kept, so a restarted Envoy is configured at once; what Envoy answers is passed up only after it
has answered; and the pod's secrets are served here, because the control plane must not have them.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from hauberk.agent.sds import TRUST, Secrets
from hauberk.envoy.name import INBOUND, INBOUND_PASSTHROUGH, REVOKED, VIRTUAL_INBOUND, VIRTUAL_OUTBOUND
from hauberk.translate import revocation, tcp_authorization
from hauberk.xds.client import EVERYTHING, DeltaClient, Received, ResourcePool
from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from hauberk.xds.session import DeltaSession
from hauberk.xds.stream import DeltaStream
from hauberk.xds.update import Rejection

# Without them nothing passes in or out; any other resource that Envoy refuses is the trouble of one service alone.
_ESSENTIAL = frozenset({VIRTUAL_INBOUND, VIRTUAL_OUTBOUND})
# Types of which the agent itself serves some: secrets, which the control plane must not have, and who was revoked.
_OWN = frozenset({SECRET, EXTENSION})
# All other filters' configurations are the control plane's.
_OWN_EXTENSIONS = frozenset({revocation.HTTP, revocation.TCP})
_DECIDE_ON_CONNECTIONS = frozenset({VIRTUAL_INBOUND, tcp_authorization.MUTUAL, tcp_authorization.PLAIN})
_DECISIVE = (EXTENSION, LISTENER, ROUTES)
_Key = tuple[str, str]  # type and name of a resource


class Relay:
    """One pod's relay.

    `on_change` is called when Envoy's state may have changed; `send` passes a request up, if there is a stream to pass it on.
    """

    def __init__(
        self,
        node: Node,
        *,
        held: Iterable[Resource] = (),
        pool: ResourcePool | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        kept = tuple(held)
        self._client = DeltaClient(node, held=kept, pool=pool)
        self._on_change = on_change
        self._send: Callable[[DeltaDiscoveryRequest], None] | None = None
        self._downstream: Downstream | None = None
        self._identity: Layer | None = None
        self._revoked: Layer | None = None
        self._secrets: Secrets | None = None
        # Responses Envoy has not settled, each with the resources it replaced: what Envoy refuses must not replace anything.
        self._pending: list[tuple[Received, dict[_Key, Resource | None]]] = []
        self._refused: dict[_Key, Rejection] = {}
        self._good: dict[_Key, Resource | None] = {}
        self._want_at_first(kept)

    # --- what is known

    @property
    def connected(self) -> bool:
        """Whether Envoy's stream stands."""
        return self._downstream is not None

    @property
    def upstream_connected(self) -> bool:
        """Whether the control plane's stream stands."""
        return self._client.connected

    @property
    def configured(self) -> bool:
        """Whether Envoy has accepted all there is, or at least what a sidecar cannot be without: its two main listeners."""
        session = self._downstream.session if self._downstream else None
        if session is None or not self._whole or self._pending or not session.synced:
            return False
        listeners = {resource.name for layer in self._accepted() for resource in layer if resource.type_url == LISTENER}
        return listeners >= _ESSENTIAL and not self.stuck

    @property
    def acknowledged(self) -> Secrets | None:
        """The secrets that the present Envoy has taken on, or has no use for at present; None before it has."""
        return self._downstream.acknowledged if self._downstream is not None else None

    @property
    def stuck(self) -> bool:
        """Whether Envoy, in this life, refuses a main listener that it had accepted: it cannot have its port, and never tries again."""
        return any(r.type_url == LISTENER and r.name in _ESSENTIAL for r in self._refused_anew())

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What Envoy refuses at present."""
        return (*self._refused.values(), *self._refused_anew())

    def _refused_anew(self) -> tuple[Rejection, ...]:
        # Not the resource's fault but that of the place Envoy was restarted in, so the control plane is told nothing of it.
        session = self._downstream.session if self._downstream else None
        if session is None or not session.rejections:
            return ()
        versions = {(resource.type_url, resource.name): resource.version for layer in self._accepted() for resource in layer}
        unsettled = {received.type_url for received, _ in self._pending}
        return tuple(r for r in session.rejections if r.type_url not in unsettled and versions.get((r.type_url, r.name)) == r.version)

    @property
    def settled_resources(self) -> tuple[Resource, ...] | None:
        """What Envoy accepted from the control plane, to be kept on disk; None while an answer of Envoy's is awaited."""
        return None if self._pending else tuple(resource for layer in self._accepted() for resource in layer)

    @property
    def connections_rule(self) -> str | None:
        """What Envoy goes by when it takes connections of bytes, or requests that become such: another text whenever that is another.

        None while an answer of Envoy's is awaited, or it has none.
        """
        session = self._downstream.session if self._downstream is not None else None
        if session is None or self._pending or not all(session.settled(kind) for kind in _DECISIVE):
            return None
        found = (resource for layer in self._accepted() for resource in layer if _decides(resource))
        return " ".join(sorted(f"{each.name}={each.version}" for each in found))

    # --- the control plane's side

    def connect(self, send: Callable[[DeltaDiscoveryRequest], None]) -> None:
        """The control plane can be talked to by `send`: it is told what is wanted and what is held, so that it sends only the rest."""
        self._send = send
        self._pass_up(self._client.connect())
        for received, _ in self._pending:
            # Envoy's answer to these was never passed on; told again, they are answered under a nonce of the new stream.
            self._pass_up(self._client.ask_again(received.type_url, received.updated))
        self._pending = [(replace(received, nonce=""), before) for received, before in self._pending]

    def disconnect(self) -> None:
        """The control plane cannot be talked to; all that is held stays in force."""
        self._client.disconnect()
        self._send = None

    def on_response(self, response: DeltaDiscoveryResponse) -> None:
        """The control plane told something; it goes on to Envoy."""
        before = self._before(response)
        received = self._client.on_response(response)
        self._pending.append((received, before))
        self._tell()

    # --- the agent's side

    def set_secrets(self, secrets: Secrets) -> None:
        """From now on Envoy holds these secrets; when it has acknowledged them, they are `acknowledged`."""
        self._secrets = secrets
        self.set_identity(secrets.layer)

    def set_identity(self, identity: Layer) -> None:
        """From now on Envoy holds the secrets of this layer."""
        self._identity = identity
        self._tell()

    def set_revoked(self, revoked: Layer) -> None:
        """From now on Envoy refuses these. Before the first time it is told nothing, so that a restarted agent forgets nobody for it."""
        self._revoked = revoked
        self._tell()

    @property
    def _whole(self) -> bool:
        """Whether Envoy's own certificate is known: an agent that starts again may know first whom to trust."""
        return self._identity is not None and (self._secrets is None or self._secrets.whole)

    # --- Envoy's side

    def accept(self, request: DeltaDiscoveryRequest) -> "Downstream":
        """The owner of a stream that Envoy opens. What `request` says about the node is not believed, only that it asks."""
        return Downstream(self)

    def opened(self, downstream: "Downstream") -> None:
        """Envoy's stream stands; an older one, of an Envoy that is gone, no longer matters."""
        self._downstream = downstream
        self._tell()

    def closed(self, downstream: "Downstream") -> None:
        """Envoy's stream ended."""
        if self._downstream is downstream:
            self._downstream = None
            self._on_change()

    def heard(self, downstream: "Downstream", type_url: str) -> None:
        """Envoy said something about `type_url`: it may want something else, or have answered."""
        if self._downstream is not downstream:
            return
        downstream.types.add(type_url)
        if type_url != SECRET:
            own = _OWN_EXTENSIONS if type_url == EXTENSION else frozenset()
            self._pass_up(self._client.want(type_url, downstream.session.subscribed(type_url) - own))
        self._settle(downstream)
        self._on_change()

    def _settle(self, downstream: "Downstream") -> None:
        session = downstream.session
        for entry in tuple(self._pending):
            received, before = entry
            # A type that Envoy has not asked for yet is not settled, it is only not told.
            if received.type_url in downstream.types and session.settled(received.type_url):
                self._pending.remove(entry)
                self._answer(received, before, session.rejections)
        if all(session.settled(kind) for kind in _OWN) and self._has_asked(downstream) and not _refuses_own(session):
            downstream.acknowledged = self._secrets

    def _has_asked(self, downstream: "Downstream") -> bool:
        # An Envoy that comes back to a new agent holds what the old one told, until it has asked; one whose configuration names
        # no secret will not ask, and gets the newest if it ever does. The same with whom to refuse, which listeners name.
        accepted = (resource for layer in self._accepted() for resource in layer if resource.type_url == LISTENER)
        if EXTENSION not in downstream.types and any(REVOKED.encode() in resource.encoded for resource in accepted):
            return False
        if SECRET in downstream.types:
            return True
        return self.configured and not any(TRUST.encode() in resource.encoded for layer in self._accepted() for resource in layer)

    def _answer(self, received: Received, before: dict[_Key, Resource | None], rejections: tuple[Rejection, ...]) -> None:
        named = {r.name: r for r in rejections if r.type_url == received.type_url}
        refused = [named[name] for name in ("", *received.updated) if name in named]
        refused += [known for name in received.updated - named.keys() if (known := self._still_refused(received.type_url, name))]
        bad = {r.name for r in refused}
        for key, resource in before.items():
            self._refused.pop(key, None)
            self._good.pop(key, None)
            if key[1] in bad:
                self._good[key] = resource
        self._refused.update(((r.type_url, r.name), r) for r in refused)
        if received.nonce:
            message = "; ".join(dict.fromkeys(r.message for r in refused))
            self._pass_up((self._client.refuse(received, message) if refused else self._client.acknowledge(received),))

    def _still_refused(self, type_url: str, name: str) -> Rejection | None:
        # The control plane, restarted, tells a resource again that Envoy refused: it is not tried again, its bytes are the same.
        known = self._refused.get((type_url, name))
        held = self._client.resources.get(type_url, name)
        return known if known is not None and held is not None and held.version == known.version else None

    # --- what Envoy is told

    def _tell(self) -> None:
        if self._downstream is not None and self._downstream.stream is not None:
            self._downstream.stream.tell(self._target())
            self._settle(self._downstream)
        self._on_change()

    def _target(self) -> ResourceSet:
        held = self._client.resources
        own: dict[str, Layer | None] = {SECRET: self._identity, EXTENSION: self._revoked}
        # An agent that started again without its control plane does not know Envoy's certificate: that is not to say there is none.
        # Nor is a filter's configuration missing that the control plane has not told yet.
        complete = {SECRET} if self._identity is not None and self._whole else set()
        layers = (layer for layer in own.values() if layer is not None)
        return replace(held, layers=(*self._accepted(), *layers), complete=held.complete | complete)

    def _accepted(self) -> tuple[Layer, ...]:
        layers = self._client.resources.layers
        return tuple(self._without_refused(layer) for layer in layers) if self._refused else layers

    def _without_refused(self, layer: Layer) -> Layer:
        resources = [self._last_good(resource) for resource in layer]
        return Layer.of(layer.slot, (resource for resource in resources if resource is not None), layer)

    def _last_good(self, resource: Resource) -> Resource | None:
        key = (resource.type_url, resource.name)
        refused = self._refused.get(key)
        return self._good.get(key) if refused is not None and refused.version == resource.version else resource

    # --- what is asked for

    def _want_at_first(self, kept: tuple[Resource, ...]) -> None:
        # Envoy will ask for these in a moment; asked for now, the answers wait for Envoy and not the other way round.
        names: dict[str, set[str]] = {CLUSTER: {EVERYTHING}, LISTENER: {EVERYTHING}}
        for resource in kept:
            names.setdefault(resource.type_url, set()).add(resource.name)
        for type_url, wanted in names.items():
            self._client.want(type_url, {EVERYTHING} if EVERYTHING in wanted else wanted)

    def _before(self, response: DeltaDiscoveryResponse) -> dict[_Key, Resource | None]:
        before: dict[_Key, Resource | None] = {}
        for name in (*(resource.name for resource in response.resources), *response.removed_resources):
            key = (response.type_url, name)
            held = self._client.resources.get(*key)
            unsettled = next((known[key] for _, known in self._pending if key in known), held)
            before[key] = self._good.get(key, unsettled)
        return before

    def _pass_up(self, requests: Iterable[DeltaDiscoveryRequest]) -> None:
        if self._send is not None:
            for request in requests:
                self._send(request)


def _decides(resource: Resource) -> bool:
    """Whether what is open may have been refused under another such resource. Routes are named as the clusters that they lead to."""
    if resource.type_url == ROUTES:
        return resource.name == INBOUND_PASSTHROUGH or resource.name.startswith(f"{INBOUND}|")
    return resource.name in _DECIDE_ON_CONNECTIONS


def _refuses_own(session: DeltaSession) -> bool:
    return any(r.type_url == SECRET or (r.type_url == EXTENSION and r.name in _OWN_EXTENSIONS) for r in session.rejections)


class Downstream:
    """One stream of the pod's Envoy, as `xds.stream` wants it owned."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.session = DeltaSession()
        self.stream: DeltaStream | None = None
        self.types: set[str] = set()
        self.acknowledged: Secrets | None = None

    def opened(self, stream: DeltaStream) -> None:
        self.stream = stream
        self._relay.opened(self)

    def heard(self, request: DeltaDiscoveryRequest) -> None:
        self._relay.heard(self, request.type_url)

    def closed(self) -> None:
        self._relay.closed(self)

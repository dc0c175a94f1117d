"""A machine joins the mesh of a control plane elsewhere: the token is shown once, to the right one, and a certificate is kept."""

import asyncio
from typing import Any, Final

import grpc
import grpc.aio

from hauberk.citadel.nodes import agent_id
from hauberk.identity.wire import JOIN as JOIN_METHOD
from hauberk.identity.wire import InvalidMessage, IssueReply, JoinRequest, method_path
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.places import Places, PlaceUnusable
from hauberk.kit.tls_forwarder import TlsForwarder
from hauberk.local.failure import LocalFailure, StateNotWritable
from hauberk.local.joining_file import JoinFile
from hauberk.local.joining_membership import Membership, write_membership
from hauberk.local.remote_certificate import NotObtained, Own, Signed, obtain_own
from hauberk.local.remote_doors import JOIN
from hauberk.local.remote_way import Way

_SECONDS: Final = 20.0
_ANOTHER: Final = "make a new one on the control plane's machine: hauberk ca token create {node} -o FILE"


class JoinFailed(LocalFailure):
    """This machine has not joined."""


def join(places: Places, file: JoinFile, clock: Clock | None = None) -> Membership:
    """This machine belongs to the mesh that `file` is of, and remembers it; raises LocalFailure.

    A machine that runs as the agent already goes on with the new certificate.
    """
    clock = clock or SystemClock()
    if places.objects.exists():
        raise JoinFailed(
            f"the mesh {places.mesh!r} on this machine has a control plane of its own, in {places.state}",
            "use another name (--mesh NAME), or forget that one: hauberk down --purge",
        )
    if clock.now() >= file.expires:
        raise JoinFailed(f"the join token expired at {file.expires:%Y-%m-%d %H:%M:%S} UTC", _ANOTHER.format(node=file.node))
    try:
        places.create()
    except PlaceUnusable as error:
        raise StateNotWritable(str(error), error.hint) from error
    own = asyncio.run(_obtain(places, file, clock))
    membership = Membership(node=file.node, trust_domain=file.trust_domain, addresses=file.addresses, roots=file.trust_bundle, own=own)
    try:
        write_membership(places.membership, membership)
    except OSError as error:
        raise StateNotWritable(f"cannot write {places.membership}: {error.strerror}", _ANOTHER.format(node=file.node)) from error
    return membership


async def _obtain(places: Places, file: JoinFile, clock: Clock) -> Own:
    way = Way(file.trust_domain, lambda: file.addresses, lambda: None, lambda: file.trust_bundle, places.run)
    reasons: list[str | None] = []
    socket = places.run / "join.sock"
    forwarder = TlsForwarder(socket, lambda: way.dial(JOIN), reasons.append)
    forwarding = asyncio.create_task(forwarder.serve())
    await asyncio.sleep(0)  # its first step is to listen
    try:
        async with grpc.aio.insecure_channel(f"unix:{socket}", options=(("grpc.enable_http_proxy", 0),)) as channel:

            async def ask(csr_der: bytes) -> Signed:
                request = JoinRequest(token=file.token, node=file.node, csr_der=csr_der)
                call: Any = channel.unary_unary(method_path(JOIN_METHOD))  # messages are bytes here
                reply = IssueReply.decode(await call(request.encode(), timeout=_SECONDS))
                return Signed(chain_der=reply.chain_der, authority_id=reply.authority_id)

            return await obtain_own(ask, agent_id(file.trust_domain, file.node), clock.now)
    except grpc.aio.AioRpcError as error:
        raise _told(file, error, next((reason for reason in reversed(reasons) if reason), None)) from error
    except (NotObtained, InvalidMessage) as error:
        raise JoinFailed(f"the control plane's answer is not usable: {error}", _ANOTHER.format(node=file.node)) from error
    finally:
        forwarding.cancel()
        await asyncio.gather(forwarding, return_exceptions=True)


def _told(file: JoinFile, error: grpc.aio.AioRpcError, reason: str | None) -> JoinFailed:
    """The failure in the words of who knows most of it."""
    match error.code():
        case grpc.StatusCode.PERMISSION_DENIED:
            return JoinFailed(f"the control plane refuses: {error.details()}", _ANOTHER.format(node=file.node))
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return JoinFailed(f"the control plane refuses: {error.details()}", "try again in a few seconds; the token is still good")
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            why = reason or error.details() or "it does not answer"
            remedy = "check that it listens (`hauberk ca nodes` there), and that this machine can reach it; the token is still good"
            return JoinFailed(f"the control plane is not reached: {why}", remedy)
        case _:
            return JoinFailed(f"the control plane cannot: {error.details()}", "see its log")

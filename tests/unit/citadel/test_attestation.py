"""A certificate is for a pod that the store has, on the node that asks, with that uid and service account; nobody else gets one."""

from dataclasses import replace

import pytest

from hauberk.api.container import Container
from hauberk.api.metadata import Metadata
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.pod_status import PodStatus
from hauberk.citadel.attestation import AttestationRefused, PodClaim, attest

POD = Pod(
    metadata=Metadata(name="web-1", namespace="shop", uid="u-1"),
    spec=PodSpec(containers=(Container(name="web", command=("web",)),), service_account_name="web", node_name="here"),
)
CLAIM = PodClaim(namespace="shop", name="web-1", uid="u-1", node="here", service_account="web")


def test_a_claim_that_the_store_bears_out_is_believed() -> None:
    assert attest(CLAIM, POD) is POD


def test_the_service_account_need_not_be_claimed() -> None:
    assert attest(replace(CLAIM, service_account=None), POD) is POD


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (replace(CLAIM, uid="u-2"), "another one"),
        (replace(CLAIM, uid=""), "another one"),
        (replace(CLAIM, node="there"), "node"),
        (replace(CLAIM, node=""), "node"),
        (replace(CLAIM, service_account="admin"), "service account"),
        (replace(CLAIM, name="web-2"), "there is no pod"),
        (replace(CLAIM, namespace="other"), "there is no pod"),
    ],
)
def test_a_claim_with_one_wrong_word_is_refused(claim: PodClaim, why: str) -> None:
    with pytest.raises(AttestationRefused, match=why):
        attest(claim, POD)


def test_a_pod_that_is_not_in_the_store_gets_nothing() -> None:
    with pytest.raises(AttestationRefused, match="there is no pod"):
        attest(CLAIM, None)


def test_a_pod_without_a_node_is_on_no_node() -> None:
    nowhere = POD.model_copy(update={"spec": POD.spec.model_copy(update={"node_name": ""})})
    with pytest.raises(AttestationRefused, match="node"):
        attest(replace(CLAIM, node=""), nowhere)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_gets_nothing(phase: str) -> None:
    ended = POD.model_copy(update={"status": PodStatus.model_validate({"phase": phase})})
    with pytest.raises(AttestationRefused, match="ended"):
        attest(CLAIM, ended)

"""Pods made from a Deployment's template, and which template a pod was made from."""

import json
from collections.abc import Callable, Collection

from hauberk.api.deployment import Deployment, PodTemplate
from hauberk.api.metadata import Metadata, OwnerReference
from hauberk.api.pod import Pod
from hauberk.kit.digest import short_digest

HASH_LABEL = "pod-template-hash"
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words by accident
SUFFIX_LENGTH = 5
LONGEST_NAME = 63  # a pod's name is its host name, and that is a DNS label


def template_hash(template: PodTemplate) -> str:
    """Equal for templates that want the same, however they were written.

    Defaults are left out: writing one down changes nothing, and a field that a later version adds must not roll every pod.
    """
    document = template.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return short_digest(json.dumps(document, sort_keys=True))


def make_suffix(choose: Callable[[str], str]) -> str:
    """The random end of a pod's name."""
    return "".join(choose(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))


def pod_name(deployment: str, hash_: str, suffix: str) -> str:
    """`web-5d8f…-x7k2p`; a long Deployment's name is cut so that the result is a host name."""
    room = LONGEST_NAME - len(hash_) - len(suffix) - 2
    return f"{deployment[:room].rstrip('-.')}-{hash_}-{suffix}".replace(".", "-")


def make_pod(deployment: Deployment, hash_: str, suffix: str, node: str, others: Collection[str] = ()) -> Pod:
    """One more pod of the Deployment's present template, on `node` unless the template names one of `others`."""
    template = deployment.spec.template
    owner = OwnerReference(
        api_version=deployment.api_version,
        kind=deployment.kind,
        name=deployment.metadata.name,
        uid=deployment.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
    metadata = Metadata(
        name=pod_name(deployment.metadata.name, hash_, suffix),
        namespace=deployment.metadata.namespace,
        labels={**template.metadata.labels, HASH_LABEL: hash_},
        annotations=template.metadata.annotations,
        owner_references=(owner,),
    )
    return Pod(metadata=metadata, spec=template.spec.placed(node, others))


def owner_of(pod: Pod) -> str | None:
    """The uid of the Deployment that made the pod and looks after it."""
    owners = (owner.uid for owner in pod.metadata.owner_references if owner.kind == "Deployment" and owner.controller)
    return next(owners, None)

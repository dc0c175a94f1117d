"""The shop's objects as they are applied: the YAML beside its programs, with the directory that the programs start in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SHOP = Path(__file__).parent / "shop"
NAMESPACE = "shop"
WORKING_DIRECTORY = "hauberk.dev/working-directory"
FILES = ("shop.yaml", "policies.yaml")


def manifest(name: str) -> dict[str, str]:
    """One file of the shop, ready to be applied: name and text."""
    documents = [_placed(document) for document in yaml.safe_load_all((SHOP / name).read_text(encoding="utf-8"))]
    return {"name": name, "text": json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})}


def deployments() -> Iterator[tuple[str, int]]:
    """Name and replicas of every deployment of the shop."""
    for document in yaml.safe_load_all((SHOP / FILES[0]).read_text(encoding="utf-8")):
        if document["kind"] == "Deployment":
            yield document["metadata"]["name"], document["spec"]["replicas"]


def _placed(document: dict[str, Any]) -> dict[str, Any]:
    """A deployment's pods start where the shop's programs lie, with this very Python."""
    if document["kind"] != "Deployment":
        return document
    template = document["spec"]["template"]
    template["metadata"].setdefault("annotations", {})[WORKING_DIRECTORY] = str(SHOP)
    for container in template["spec"]["containers"]:
        container["workingDir"] = str(SHOP)
        container["command"] = [sys.executable if word == "python3" else word for word in container["command"]]
    return document

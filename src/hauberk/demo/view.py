"""The live view: services, pods, who calls whom, what was denied, what to try next. Pure: facts in, a rich renderable out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hauberk.demo.mesh import is_ready
from hauberk.demo.traffic import Edge

Document = dict[str, Any]
TRY = (
    ("once, so that the rest is about this mesh", "export HAUBERK_MESH=demo"),
    ("where everything runs", "hauberk get pods -n shop -o wide"),
    ("what is being refused, as it happens", "hauberk access -f --denied"),
    ("what the refused program sees", "hauberk logs analytics.shop -f"),
    ("lift a policy, and watch it here", "hauberk delete ap no-analytics-in-the-ledger -n shop"),
    ("what a program's Envoy knows", "hauberk proxy config frontend.shop clusters"),
    ("more of the catalogue", "hauberk scale deploy/catalog --replicas 4 -n shop"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything the view shows."""

    pods: Sequence[Document]
    services: Sequence[Document]
    edges: Sequence[Edge]
    denials: Sequence[Document]
    total: int
    denied: int
    seconds: float
    message: str = ""


def render(scene: Scene) -> RenderableType:
    """The whole view."""
    ready = sum(is_ready(pod) for pod in scene.pods)
    rate = sum(edge.rate for edge in scene.edges)
    head = Text.assemble(
        ("hauberk demo  ", "bold"),
        (f"{ready}/{len(scene.pods)} pods ready", "green" if ready == len(scene.pods) else "yellow"),
        f"   {rate:.0f} calls/s   {scene.total} calls   ",
        (f"{scene.denied} denied", "red" if scene.denied else "dim"),
        f"   up {int(scene.seconds)} s   ",
        ("Ctrl-C ends it", "dim"),
    )
    note = Text(scene.message, style="yellow") if scene.message else Text("")
    return Group(head, note, _services(scene), _edges(scene.edges), _denied(scene.denials), _next())


def _table(*titles: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="ellipsis", no_wrap=True, justify="right" if title in _NUMBERS else "left")
    return table


_NUMBERS = ("calls/s", "failed", "denied", "median ms", "p95 ms")


def _services(scene: Scene) -> Panel:
    table = _table("service", "address", "ports", "pods")
    for column, width in zip(table.columns, (13, 15, 9, 40), strict=True):
        column.min_width = width  # the pods may be many, and are what may be cut off
    for service in scene.services:
        spec = service.get("spec") or {}
        ports = ", ".join(f"{port['port']} {port.get('name', '')}".strip() for port in spec.get("ports") or [])
        table.add_row(
            service["metadata"]["name"], str(spec.get("clusterIP") or "-"), ports, _pods_of(spec.get("selector") or {}, scene.pods)
        )
    table.add_row("[dim](callers)[/dim]", "", "", _callers(scene))
    return Panel(table, title="services", title_align="left", border_style="dim")


def _pods_of(selector: dict[str, str], pods: Sequence[Document]) -> Text:
    chosen = [pod for pod in pods if selector.items() <= (pod["metadata"].get("labels") or {}).items()]
    return _pod_list(chosen, named=False)


def _callers(scene: Scene) -> Text:
    selectors = [(service.get("spec") or {}).get("selector") or {} for service in scene.services]
    rest = [pod for pod in scene.pods if not any(one.items() <= (pod["metadata"].get("labels") or {}).items() for one in selectors if one)]
    return _pod_list(rest, named=True)


def _pod_list(pods: Sequence[Document], *, named: bool) -> Text:
    text = Text()
    for position, pod in enumerate(pods):
        labels = pod["metadata"].get("labels") or {}
        names = [labels.get("app", "")] if named else []
        names += [labels["version"]] if "version" in labels else []
        names += ["(no sidecar)"] if labels.get("sidecar.istio.io/inject") == "false" else []
        address = (pod.get("status") or {}).get("podIP") or "-"
        text.append("  " if position else "")
        text.append("● ", "green" if is_ready(pod) else "yellow")
        text.append("".join(f"{name} " for name in names))
        text.append("" if named else address, "dim")
    return text


def _edges(edges: Sequence[Edge]) -> Panel:
    table = _table("caller", "calls", "protocol", "calls/s", "median ms", "p95 ms", "failed", "denied", "mTLS")
    for edge in edges:
        table.add_row(
            edge.source,
            edge.destination,
            edge.protocol,
            f"{edge.rate:.1f}",
            f"{edge.median:.1f}",
            f"{edge.slowest:.1f}",
            Text(str(edge.failed), "red" if edge.failed else "dim"),
            Text(str(edge.denied), "bold red" if edge.denied else "dim"),
            Text(edge.tls, "green" if edge.tls != "none" else "red"),
        )
    return Panel(table, title="who calls whom, in the last seconds", title_align="left", border_style="dim")


def _denied(records: Sequence[Document]) -> Panel:
    table = _table("caller", "asked for", "answer", "decided by")
    for record in records[:4]:
        source, destination = record.get("source") or {}, record.get("destination") or {}
        caller = str(source.get("identity") or source.get("address") or "?").removeprefix("spiffe://cluster.local/")
        what = f"{record.get('method') or 'TCP'} {destination.get('service') or destination.get('pod') or '?'}{record.get('path') or ''}"
        decision = record.get("decision") or {}
        policy = decision.get("policy") or decision.get("reason") or "no rule allows it"
        table.add_row(caller, what, str(record.get("status") or "closed"), policy)
    return Panel(table, title="denied", title_align="left", border_style="dim")


def _next() -> Panel:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for meaning, command in TRY:
        table.add_row(meaning, command)
    return Panel(table, title="try next, in another terminal", title_align="left", border_style="dim")

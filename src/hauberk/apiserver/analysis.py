"""What is dead, contradictory or wider than it reads, in the mesh or in files held against it."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.analysis.analyze import analyze, own_remarks
from hauberk.analysis.remark import Remark
from hauberk.analysis.world import World
from hauberk.api.manifest import Manifest
from hauberk.api.problem import Problem
from hauberk.apiserver.apply import Applied, File, decide_apply, parse_files
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.coherence import all_problems, as_problems, of_namespace, whole_world
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import Parts, parts
from hauberk.sources.draft import Draft


class AnalyzeRequest(Body):
    """With `files`: these objects in this mesh, `namespace` being that of documents without one. Else: the mesh, or one namespace."""

    files: tuple[File, ...] = ()
    namespace: str | None = None


async def post_analysis(request: Request) -> Response:
    """POST /v1/analyze: every problem. Errors are found things too, so the answer is 200."""
    found, asked = parts(request), await read_request(request, AnalyzeRequest)
    problems = await (_of_files(found, asked) if asked.files else _of_mesh(found, asked.namespace))
    return JSONResponse({"problems": [each.to_json() for each in problems]})


async def _of_mesh(found: Parts, namespace: str | None) -> tuple[Problem, ...]:
    world = whole_world(lambda kind: found.store.list(kind).items, found)
    standing = () if found.pilot is None else found.pilot.problems
    here = (each for each in standing if namespace is None or f"/{namespace}/" in each.object)
    remarks = await asyncio.to_thread(_remarks, world)
    return (*here, *as_problems(of_namespace(remarks, namespace)))


def _remarks(world: World) -> tuple[Remark, ...]:
    return (*own_remarks(world), *analyze(world))


async def _of_files(found: Parts, asked: AnalyzeRequest) -> tuple[Problem, ...]:
    wanted = await asyncio.to_thread(parse_files, asked.files, asked.namespace)
    try:
        applied, world = rehearse(found, wanted)
    except Refused as refused:
        return refused.problems
    return (*applied.problems, *await asyncio.to_thread(all_problems, world, wanted))


def rehearse(found: Parts, wanted: Manifest) -> tuple[Applied, World]:
    """What an apply of the files would do, and the mesh as it would be then."""

    def decide(draft: Draft) -> tuple[Applied, World]:
        applied = decide_apply(draft, wanted, found.rules)
        return applied, whole_world(draft.objects, found)

    return found.store.rehearse(decide)


ROUTES = (Route("/v1/analyze", post_analysis, methods=["POST"]),)

"""The directive `{problem-reference}`: every problem code, from the table that the commands use."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from hauberk.api.problem_codes import CODES


class ProblemReference(SphinxDirective):
    """Each code with what it means and what to do."""

    def run(self) -> list[nodes.Node]:
        """The sections, one a code."""
        found = nodes.container()
        lines: list[str] = []
        for code in sorted(CODES):
            known = CODES[code]
            lines += [
                f"## {code}: {known.title}",
                "",
                f"*{known.severity}.* {known.explanation}",
                "",
                f"**What to do:** {known.remedy}",
                "",
            ]
        self.state.nested_parse(StringList(lines, source="problem codes"), 0, found, match_titles=True)
        return found.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("problem-reference", ProblemReference)
    return {"parallel_read_safe": True, "version": "1"}

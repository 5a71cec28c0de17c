"""The directive ``figures``: the tables that a benchmark run has left in ``docs/performance``, if there are any."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = "performance"
FIRST = "summary"


class Figures(SphinxDirective):
    """Has each Markdown file of that folder parsed where the directive stands."""

    def run(self) -> list[nodes.Node]:
        files = sorted(Path(self.env.srcdir, FOLDER).glob("*.md"), key=lambda file: (file.stem != FIRST, file.stem))
        for file in files:
            self.env.note_dependency(str(file))
        texts = [file.read_text(encoding="utf-8") for file in files] or ["No run has been recorded in this checkout."]
        return list(self.parse_text_to_nodes("\n\n".join(texts), allow_section_headings=True))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("figures", Figures)
    return {"parallel_read_safe": True}

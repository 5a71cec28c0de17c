"""The directive ``promises``: what each adapter declares that it cannot keep, read from the adapters themselves.

Without an argument it is a table of all first-party backends, with one it is the list of that backend.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bridgeio.contract import Capabilities
from bridgeio.registry import FIRST_PARTY, adapter, known_backends

CAPABILITIES = [name for name in Capabilities.__annotations__ if name != "reasons"]


class Promises(SphinxDirective):
    """Writes Markdown and has it parsed where the directive stands."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = promises_of(self.arguments[0]) if self.arguments else table()
        return list(self.parse_text_to_nodes("\n".join(lines)))


def promises_of(name: str) -> Iterator[str]:
    lacking = adapter(name).capabilities.lacking()
    if not lacking:
        yield "This adapter declares every capability."
    for capability, reason in lacking.items():
        yield f"* `{capability}` is not promised: {reason}."


def table() -> Iterator[str]:
    names = [name for name in known_backends() if name in FIRST_PARTY]
    yield f"| capability | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for capability in CAPABILITIES:
        kept = ["no" if capability in adapter(name).capabilities.lacking() else "yes" for name in names]
        yield f"| `{capability}` | {' | '.join(kept)} |"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("promises", Promises)
    return {"parallel_read_safe": True}

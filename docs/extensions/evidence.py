"""The directive ``evidence``: the promises on cancellation, or the known bugs, each with the tests that prove it.

Both tables are made from the conformance suite. A promise without a test is an error of the build.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from bridgeio.registry import FIRST_PARTY, adapter, known_backends
from bridgeio.testing.promises import BUGS, PROMISES, Evidence, Promise, evidence


class Tables(SphinxDirective):
    """Writes Markdown and has it parsed where the directive stands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = {"promises": of_promises, "bugs": of_bugs}[self.arguments[0]]()
        return list(self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True))


def of_promises() -> Iterator[str]:
    tests = evidence()
    for promise in PROMISES:
        proof = [test for test in tests if promise.number in test.promises]
        yield f"**{promise.number}. {promise.title}.** {promise.text}\n"
        yield from proven_by(promise.title, proof)
        yield from where_kept(promise, proof)


def of_bugs() -> Iterator[str]:
    tests = evidence()
    for bug in BUGS:
        yield f"**{bug.what}**\n"
        yield from proven_by(bug.name, [test for test in tests if bug.name in test.bugs])


def proven_by(what: str, proof: Iterable[Evidence]) -> Iterator[str]:
    lines = [f"* {test.sentence} (`{test.chapter}`)" for test in proof]
    if not lines:
        raise ExtensionError(f"no test of the conformance suite stands for {what!r}")
    yield from lines
    yield ""


def where_kept(promise: Promise, proof: Iterable[Evidence]) -> Iterator[str]:
    """On which backends, and what the others have declared away."""
    needs = sorted({need for test in proof for need in test.needs})
    exceptions = [f"{name}: {words}" for name, words in promise.exceptions]
    for name in (name for name in known_backends() if name in FIRST_PARTY):
        lacking = adapter(name).capabilities.lacking()
        exceptions += [f"{name}, `{need}`: {lacking[need]}" for need in needs if need in lacking]
    if exceptions:
        yield f"Kept on every backend, but for these declarations: {'; '.join(exceptions)}.\n"
    else:
        yield "Kept on every backend.\n"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("evidence", Tables)
    return {"parallel_read_safe": True}

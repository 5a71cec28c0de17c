"""One concept, one room: a file that grows past a screen's worth of ideas says why."""

from __future__ import annotations

from checkout import python_files, relative

LIMIT = 500

# file: the reason why it is one idea all the same
LONG_FILES: dict[str, str] = {
    "benchmarks/natives.py": "who doubts a figure finds every framework's own way in one place",
}


def test_no_file_is_long_without_a_reason() -> None:
    """Every Python file fits into about 500 lines, or is listed here with its reason."""
    assert {name: lines for name, lines in long_files().items() if name not in LONG_FILES} == {}


def test_the_list_of_long_files_names_no_other() -> None:
    """A file that was made shorter leaves the list."""
    assert set(LONG_FILES) <= set(long_files())


def long_files() -> dict[str, int]:
    files = python_files(".")
    lines = {relative(file): file.read_bytes().count(b"\n") for file in files}
    return {name: count for name, count in lines.items() if count > LIMIT}

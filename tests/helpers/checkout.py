"""What is in this checkout, and what setup.cfg says is in it."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "ROOT",
    "adapter_folders",
    "declared",
    "declared_packages",
    "imports",
    "modules",
    "package_folder",
    "python_files",
    "relative",
    "written_packages",
]

ROOT = Path(__file__).parents[2]

NOT_SOURCE = {"build", "dist", "__pycache__"}


def declared(section: str, key: str) -> list[str]:
    """The lines of one value of setup.cfg."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return settings.get(section, key, fallback="").strip().splitlines()


def declared_packages() -> list[str]:
    return declared("options", "packages")


def package_folder(package: str) -> Path:
    """Where a package lies according to ``package_dir``, which names the top-level ones."""
    folders = dict(line.split(" = ") for line in declared("options", "package_dir"))
    top, *below = package.split(".")
    return ROOT.joinpath(folders[top], *below)


def written_packages() -> list[str]:
    """The listed packages that can be imported: a folder without ``__init__`` only keeps a place."""
    return [name for name in declared_packages() if (package_folder(name) / "__init__.py").exists()]


def adapter_folders() -> list[Path]:
    return sorted(folder for folder in (ROOT / "adapters").iterdir() if (folder / "__init__.py").exists())


def modules() -> dict[str, Path]:
    """Every module of every written package, by its dotted name."""
    return {name: file for package in written_packages() for name, file in modules_of(package)}


def modules_of(package: str) -> Iterator[tuple[str, Path]]:
    for file in sorted(package_folder(package).glob("*.py")):
        yield (package if file.stem == "__init__" else f"{package}.{file.stem}"), file


def python_files(*folders: str) -> list[Path]:
    """All our Python files below these folders; a folder that is not there has none."""
    found = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    return sorted(file for file in found if not is_hidden_or_built(file))


def is_hidden_or_built(file: Path) -> bool:
    return any(part in NOT_SOURCE or part.startswith(".") for part in file.relative_to(ROOT).parts)


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports(file: Path) -> set[str]:
    """Every module that a file names in an import statement, in functions and under ``TYPE_CHECKING`` too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names

"""The command ``bridgeio``: ``demo``, ``serve`` and ``backends``. Errors are one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from bridgeio.demo import demo, shipped_text
from bridgeio.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    NoBackendError,
    show_address,
)
from bridgeio.registry import adapter, available_backends, backend, current_backend, is_installed, known_backends
from bridgeio.running import run, serve_until_signal
from bridgeio.server import Server, serve, serve_unix

__all__ = ["main"]


class CommandError(Exception):
    """What the user gave cannot be done; the message is all they see."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; the exit status is 0, 1 if something failed, 2 if it was asked wrongly."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except (BackendNotFoundError, BackendNotInstalledError, CommandError) as error:
        print(f"bridgeio: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"bridgeio: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bridgeio", description="One network protocol, every Python framework.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    trying = commands.add_parser("demo", help="echo a file through every backend and verify each byte")
    trying.add_argument(
        "file", nargs="?", metavar="FILE", help="what to send (default: a text that ships with bridgeio)"
    )
    trying.add_argument("--connections", type=_positive, default=4, metavar="N", help="at once (default: 4)")
    trying.set_defaults(command=_demo)

    serving = commands.add_parser("serve", help="serve a handler until SIGINT or SIGTERM, then drain")
    serving.add_argument("handler", metavar="MODULE:HANDLER", help="an async function of a reader and a writer")
    serving.add_argument("--backend", default="asyncio", metavar="NAME", help=f"one of {', '.join(known_backends())}")
    serving.add_argument("--host", help="default: every address of this machine")
    serving.add_argument("--port", type=_port, default=0, help="default: one that the system chooses")
    serving.add_argument("--unix", metavar="PATH", help="a UNIX socket instead of host and port")
    serving.add_argument("--max-connections", type=_positive, metavar="N", help="default: no limit")
    serving.set_defaults(command=_serve)

    listing = commands.add_parser("backends", help="list backends: known, installed, running here, capabilities")
    listing.set_defaults(command=_backends)
    return parser


def _demo(options: argparse.Namespace) -> int:
    text = shipped_text() if options.file is None else _read(options.file)
    if not text:
        raise CommandError(f"{options.file} is empty: there is nothing to echo")
    return 0 if demo(text, options.connections) else 1


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error


def _serve(options: argparse.Namespace) -> int:
    handler = _load_handler(options.handler)
    if options.unix is not None and (options.host is not None or options.port):
        raise CommandError("--unix goes without --host and --port")
    try:
        if options.unix is not None:
            serving = serve_unix(handler, options.unix, max_connections=options.max_connections)
        else:
            serving = serve(handler, options.host, options.port, max_connections=options.max_connections)
    except TypeError as error:
        raise CommandError(f"{options.handler}: {error}") from error
    backend(options.backend)
    run(serve_until_signal, serving, _announce, backend=options.backend)
    return 0


def _announce(server: Server) -> None:
    where = ", ".join(show_address(address) for address in server.addresses)
    print(f"serving on {where} ({current_backend()}); Ctrl-C drains", flush=True)


def _load_handler(target: str) -> Any:
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise CommandError(f"{target!r} is not of the form MODULE:HANDLER, such as myserver:echo_client")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise CommandError(f"cannot import {module_name}: {error}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise CommandError(f"{module_name} has no {path}") from None
    return found


def _backends(options: argparse.Namespace) -> int:
    running = _running()
    for name in known_backends():
        try:
            print(f"{name:<10} {_state(name)}{', running here' if name == running else ''}")
        except Exception as error:  # strangers' code: whatever it raises, the others are listed
            print(f"{name:<10} broken: {error}")
            continue
        for promise, reason in adapter(name).capabilities.lacking().items():
            print(f"           does not promise {promise}: {reason}")
    return 0 if available_backends() else 1


def _state(name: str) -> str:
    described = adapter(name)
    if not is_installed(name):
        return f'not installed: pip install "{described.install}"'
    return ", ".join(["installed", *(f"{what} {number}" for what, number in backend(name).versions().items())])


def _running() -> str | None:
    try:
        return current_backend()
    except NoBackendError:
        return None


def _positive(text: str) -> int:
    return _number(text, 1, None)


def _port(text: str) -> int:
    return _number(text, 0, 65535)


def _number(text: str, least: int, most: int | None) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < least or (most is not None and number > most):
        upper = "" if most is None else f" and at most {most}"
        raise argparse.ArgumentTypeError(f"must be at least {least}{upper}, not {number}")
    return number

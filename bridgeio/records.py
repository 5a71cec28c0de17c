"""Immutable objects with named fields, as frozen dataclasses are, at a small part of what making such a class costs.

`dataclasses` writes the methods of each class as source and compiles them, which takes half a millisecond a class, and
brings `inspect` along: half of ``import bridgeio`` went into a dozen little classes.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, dataclass_transform

__all__ = ["Record"]


class _Signature:
    """What ``help()`` and the documentation say of a record's arguments; put together when they ask."""

    def __get__(self, record: object, kind: type[Record]) -> Any:
        from inspect import Parameter, Signature

        parameters = [
            Parameter(
                name,
                Parameter.POSITIONAL_OR_KEYWORD if name in kind.__match_args__ else Parameter.KEYWORD_ONLY,
                default=getattr(kind, name, Parameter.empty),
                annotation=annotation,
            )
            for name, annotation in kind.__annotations__.items()
        ]
        return Signature(parameters)


@dataclass_transform(frozen_default=True)
class Record:
    """A subclass annotates its fields, as for a dataclass, and type checkers take it for one.

    What it assigns to a field is the default, which all its objects share. ``kw_only`` and ``__post_init__`` mean what
    they mean there. No record stands below another.
    """

    _fields: ClassVar[tuple[str, ...]]
    __match_args__: ClassVar[tuple[str, ...]]
    __signature__ = _Signature()

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls.__match_args__ = () if kw_only else cls._fields  # type: ignore[misc] # mypy minds it in any class

    def __init__(self, *args: Any, **named: Any) -> None:
        if args:
            named = self._with_names(args, named)
        for name in self._fields:
            if name not in named and not hasattr(self, name):
                raise TypeError(f"{type(self).__qualname__}() misses an argument: {name}")
        for name in named:
            if name not in self._fields:
                raise TypeError(f"{type(self).__qualname__}() got an unexpected argument: {name}")
        vars(self).update(named)
        self.__post_init__()

    def __post_init__(self) -> None:
        """For a record that looks at what it was given."""

    def __replace__(self, **changes: Any) -> Any:
        """A copy with some fields changed; `copy.replace` asks for it."""
        return type(self)(**dict(zip(self._fields, self._values(), strict=True)) | changes)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record) and type(other) is type(self):
            return self._values() == other._values()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        fields = zip(self._fields, self._values(), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name}: a {type(self).__qualname__} is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name}: a {type(self).__qualname__} is immutable")

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._fields])

    def _with_names(self, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        allowed = self.__match_args__
        if len(args) > len(allowed):
            raise TypeError(f"{type(self).__qualname__}() takes {len(allowed)} positional arguments, not {len(args)}")
        placed = dict(zip(allowed, args, strict=False))
        for name in named:
            if name in placed:
                raise TypeError(f"{type(self).__qualname__}() got two values for one argument: {name}")
        return placed | named

"""What parameters a job takes: a mapping of defaults, or an attrs class whose fields give names, types and defaults.

Values are checked when an execution is submitted, each with an error of its own, and are stored as plain data. A
task of a job with a class sees the values as the class makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs
import msgspec

from goflow_trio.errors import DefinitionError, ParamsError

_JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    tuple: "array",
    dict: "object",
}


class TypedParams(Mapping[str, Any]):
    """The parameters of an execution whose job has a class for them: by name as in a mapping, and as attributes.

    Args:
        instance: an instance of the class.
        names: the fields, as parameters are named.
    """

    __slots__ = ("_instance", "_names")

    def __init__(self, instance: Any, names: Mapping[str, str]) -> None:
        self._instance = instance
        self._names = names

    def __getitem__(self, name: str) -> Any:
        return getattr(self._instance, self._names[name])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle ask for these before there is an instance
            raise AttributeError(name)
        return getattr(self._instance, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(self._instance)


def read_params(where: str, params: object) -> Mapping[str, Any]:
    """Return the defaults of a job's parameters, given as a mapping or as a class.

    Raises:
        DefinitionError: it is neither; `where` opens the message.
    """
    if params is None:
        return MappingProxyType({})
    if isinstance(params, type) and attrs.has(params):
        return read_class(where, params)
    if not isinstance(params, Mapping) or not all(isinstance(key, str) for key in params):
        raise DefinitionError(
            f"{where} params must be a mapping from names to defaults, or an attrs class, got {params!r}"
        )
    return MappingProxyType(dict(params))


def read_class(where: str, kind: type) -> Mapping[str, Any]:
    """Return the defaults of a class for parameters, as plain data, by name.

    Raises:
        DefinitionError: a field has no type, or a default that cannot be given beforehand; `where` opens the message.
    """
    try:
        attrs.resolve_types(kind)
    except (NameError, TypeError) as error:
        raise DefinitionError(f"{where} params: the types of {kind.__name__} cannot be resolved: {error}") from None
    defaults = {}
    for name, field in _fields(kind).items():
        if field.type is None:
            raise DefinitionError(f"{where} params: the field {name!r} of {kind.__name__} has no type; annotate it")
        default: Any = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a function to mypy, a class in fact
            if default.takes_self:
                raise DefinitionError(f"{where} params: the default of {name!r} must not depend on other fields")
            default = default.factory()
        if default is not attrs.NOTHING:
            defaults[name] = msgspec.to_builtins(default)
    return MappingProxyType(defaults)


def check_params(job: str, kind: type | None, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of an execution as plain data.

    Args:
        job: the job's name, for the message.
        kind: the class for its parameters, if it has one.
        defaults: what holds where nothing is given.
        given: what is given.

    Raises:
        ParamsError: an unknown name, a value of the wrong type, one that is missing; it carries all of them by name.
    """
    names = defaults if kind is None else _fields(kind)
    known = ", ".join(names) or "none"
    errors = {
        str(name): f"job {job!r} has no parameter {name!r}; its parameters are: {known}"
        for name in given
        if name not in names and (names or kind is not None)
    }
    merged = {**defaults, **given}
    if kind is not None:
        merged = _checked(kind, merged, errors)
    if errors:
        raise ParamsError(job, errors)
    return merged


def _checked(kind: type, values: Mapping[str, Any], errors: dict[str, str]) -> dict[str, Any]:
    """Return values as the class makes them, plain again; what is wrong with them is added to `errors`."""
    converted = {}
    for name, field in _fields(kind).items():
        if name not in values:
            errors[name] = f"parameter {name!r} is required"
            continue
        try:
            converted[name] = _convert(values[name], field.type)
        except msgspec.ValidationError as error:
            errors[name] = f"parameter {name!r}: {_lower(str(error))}"
    if errors:
        return {}
    try:
        instance = kind(**converted)
        return {name: msgspec.to_builtins(getattr(instance, field.name)) for name, field in _fields(kind).items()}
    except Exception as error:  # noqa: BLE001  # its validators and converters are the user's code
        named = next((one.alias for one in error.args if isinstance(one, attrs.Attribute)), "")
        text = str(error.args[0]) if named else f"{type(error).__name__}: {error}"
        errors[named or ""] = f"parameter {named!r}: {text}" if named else text
        return {}


def _convert(value: Any, kind: Any) -> Any:
    """Return a value as a type wants it; a text may be read as a number or a truth, as command lines give them."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        if not isinstance(value, str):
            raise
        return msgspec.convert(value, kind, strict=False)


def view_params(kind: type | None, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return stored parameters as a task sees them; as they are, if the class no longer takes them."""
    if kind is None:
        return MappingProxyType(dict(values))
    try:
        fields = _fields(kind)
        instance = kind(
            **{name: _convert(values[name], field.type) for name, field in fields.items() if name in values}
        )
        return TypedParams(instance, {name: field.name for name, field in fields.items()})
    except Exception:  # noqa: BLE001  # the class may have changed since, and its code is the user's
        return MappingProxyType(dict(values))


def params_schema(kind: type | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as JSON Schema, to make a form of."""
    if kind is not None:
        schema: dict[str, Any] = msgspec.json.schema(kind)
        definitions = schema.pop("$defs", {})
        top: dict[str, Any] = definitions.pop(schema["$ref"].rpartition("/")[2]) if "$ref" in schema else schema
        return {**top, "additionalProperties": False, **({"$defs": definitions} if definitions else {})}
    properties = {}
    for name, default in defaults.items():
        kind_name = _JSON_TYPES.get(type(default))
        properties[name] = {"default": default, **({"type": kind_name} if kind_name else {})}
    return {"type": "object", "properties": properties, "additionalProperties": not defaults}


def _fields(kind: type) -> dict[str, attrs.Attribute[Any]]:
    return {str(field.alias): field for field in attrs.fields(kind) if field.init}


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]

"""Finds the jobs that a TARGET names: `file.py`, `package.module`, or either with `:name`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from goflow_trio.errors import UsageError
from goflow_trio.jobs.job import Job, build_job


def load_jobs(targets: Iterable[str]) -> list[Job]:
    """Return the jobs of all targets, validated.

    Raises:
        UsageError: a target is missing, cannot be imported, or has no jobs.
        DefinitionError: a job is wrong.
    """
    return [build_job(source) for target in targets for source in _sources(target)]


def _sources(target: str) -> list[Any]:
    place, _, name = target.partition(":")
    module = _load(place)
    if name:
        if not hasattr(module, name):
            raise UsageError(f"{place} has no {name!r}; leave out ':{name}' to take all its jobs")
        return [getattr(module, name)]
    listed = getattr(module, "jobs", None)
    if isinstance(listed, list | tuple):
        return list(listed)
    found = [value for value in vars(module).values() if isinstance(value, Job) or _is_factory(value, module)]
    if not found:
        raise UsageError(
            f"{place} defines no jobs; give it a list `jobs`, Job objects, or functions annotated `-> Job`"
        )
    return found


def _is_factory(value: object, module: ModuleType) -> bool:
    if not inspect.isfunction(value) or value.__module__ != module.__name__:
        return False
    annotation = value.__annotations__.get("return")
    return annotation is Job or annotation in {"Job", "goflow_trio.Job"}


def _load(place: str) -> ModuleType:
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise UsageError(f"there is no file {place}")
    try:
        return _load_file(Path(place)) if is_file else _import(place)
    except UsageError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(f"{place} cannot be loaded: {_where(error)}{type(error).__name__}: {error}") from None


def _load_file(path: Path) -> ModuleType:
    name = f"goflow_jobs_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{name!r} is neither a file that ends in .py nor a module such as package.module")
    sys.path.insert(0, "")
    return importlib.import_module(name)


def _where(error: BaseException) -> str:
    """Return the place in the user's code, not in Python's import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    user = [frame for frame in frames if frame.filename != __file__]
    return f"{user[-1].filename}:{user[-1].lineno}: " if user else ""

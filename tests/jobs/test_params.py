"""Parameters of a job: what a class or a mapping of defaults makes of what is given, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime
from enum import Enum
from typing import Annotated

import attrs
import pytest
from msgspec import Meta

from goflow_trio import DefinitionError, Job, ParamsError, UsageError


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Box:
    width: int
    height: int = 1


def _below_100(_instance, attribute, value):
    if value >= 100:
        raise ValueError(f"must be below 100, got {value}", attribute)


@attrs.frozen
class Params:
    rows: Annotated[int, Meta(ge=1, description="how many")]
    size: Size = Size.SMALL
    since: datetime | None = None
    tags: list[str] = attrs.Factory(list)
    box: Box = Box(3)
    share: float = attrs.field(default=0.5, validator=_below_100)


def job(**options):
    return Job("load", params=Params, **options)


def test_defaults_are_plain_data_and_required_ones_are_absent():
    assert job().params == {
        "size": "small",
        "since": None,
        "tags": [],
        "box": {"width": 3, "height": 1},
        "share": 0.5,
    }


def test_what_is_given_is_checked_completed_and_plain():
    checked = job().check_params({"rows": 3, "size": "large", "box": {"width": 7}, "since": "2026-01-01T00:00:00Z"})
    assert checked == {
        "rows": 3,
        "size": "large",
        "since": "2026-01-01T00:00:00Z",
        "tags": [],
        "box": {"width": 7, "height": 1},
        "share": 0.5,
    }
    view = job().view_params(checked)
    assert (view.rows, view["rows"], view.size, view.box, view["since"].year) == (3, 3, Size.LARGE, Box(7), 2026)
    assert dict(view)["size"] is Size.LARGE
    assert len(view) == 6
    assert "Params(rows=3" in repr(view)
    assert dict(pickle.loads(pickle.dumps(view))) == dict(copy.deepcopy(view)) == dict(view)
    with pytest.raises(AttributeError, match="rwos"):
        _ = view.rwos


@pytest.mark.parametrize(("text", "value"), [("3", 3), (" 3", None), ("x", None), ("1e3", 1000)])
def test_a_text_may_stand_for_a_number_as_command_lines_give_it(text, value):
    if value is None:
        with pytest.raises(ParamsError):
            job().check_params({"rows": text})
    else:
        assert job().check_params({"rows": text})["rows"] == value


def test_every_wrong_field_is_named_with_its_own_error():
    with pytest.raises(ParamsError) as caught:
        job().check_params({"rows": 0, "size": "huge", "tags": [1], "box": {"height": 2}, "share": None})
    assert caught.value.fields == {
        "rows": "parameter 'rows': expected `int` >= 1",
        "size": "parameter 'size': invalid enum value 'huge'",
        "tags": "parameter 'tags': expected `str`, got `int` - at `$[0]`",
        "box": "parameter 'box': object missing required field `width`",
        "share": "parameter 'share': expected `float`, got `null`",
    }
    assert isinstance(caught.value, UsageError)
    assert str(caught.value).startswith("job 'load': parameter 'rows': expected")


def test_missing_unknown_and_invalid_ones_are_refused():
    with pytest.raises(ParamsError) as caught:
        job().check_params({})
    assert caught.value.fields == {"rows": "parameter 'rows' is required"}
    with pytest.raises(ParamsError) as caught:
        job().check_params({"rwos": 1})
    assert caught.value.fields == {
        "rwos": "job 'load' has no parameter 'rwos'; its parameters are: rows, size, since, tags, box, share",
        "rows": "parameter 'rows' is required",
    }
    with pytest.raises(ParamsError) as caught:
        job().check_params({"rows": 1, "share": 100.0})
    assert caught.value.fields == {"share": "parameter 'share': must be below 100, got 100.0"}


def test_an_error_that_names_no_field_is_about_all_of_them():
    @attrs.frozen
    class Range:
        low: int = 0
        high: int = 1

        def __attrs_post_init__(self):
            if self.low > self.high:
                raise ValueError("low is above high")

    with pytest.raises(ParamsError) as caught:
        Job("range", params=Range).check_params({"low": 2})
    assert caught.value.fields == {"": "ValueError: low is above high"}


def test_a_class_that_changed_since_gives_the_stored_values():
    assert job().view_params({"other": 1}) == {"other": 1}


def test_the_schema_makes_a_form():
    schema = job().params_schema()
    assert schema["required"] == ["rows"]
    assert schema["properties"]["rows"] == {"description": "how many", "type": "integer", "minimum": 1}
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]) == {"Size", "Box"}
    mapping = Job("job", params={"day": "today", "count": 3, "deep": {"a": 1}, "any": None, "flag": True})
    assert mapping.params_schema() == {
        "type": "object",
        "properties": {
            "day": {"default": "today", "type": "string"},
            "count": {"default": 3, "type": "integer"},
            "deep": {"default": {"a": 1}, "type": "object"},
            "any": {"default": None},
            "flag": {"default": True, "type": "boolean"},
        },
        "additionalProperties": False,
    }
    assert Job("job").params_schema()["additionalProperties"] is True


def test_a_mapping_takes_its_names_and_none_takes_any():
    with pytest.raises(ParamsError, match="no parameter 'dya'; its parameters are: day"):
        Job("job", params={"day": 1}).check_params({"dya": 2})
    assert Job("job").check_params({"any": 1}) == {"any": 1}


def test_classes_that_cannot_work_are_refused():
    @attrs.frozen
    class Untyped:
        a = attrs.field()

    @attrs.frozen
    class Tied:
        a: int = 1
        b: int = attrs.Factory(lambda self: self.a, takes_self=True)

    with pytest.raises(DefinitionError, match="the field 'a' of Untyped has no type"):
        Job("job", params=Untyped)
    with pytest.raises(DefinitionError, match="the default of 'b' must not depend on other fields"):
        Job("job", params=Tied)
    with pytest.raises(DefinitionError, match="or an attrs class, got"):
        Job("job", params=dict)
    with pytest.raises(DefinitionError, match="'rows' has no default, so the schedule could not run it"):
        job(schedule="@daily")

from __future__ import annotations

from thinksafe.errors import ConfigError, InputError
from thinksafe.run.told import ToldError


def test_what_is_told_comes_back_as_the_same_error() -> None:
    told = ToldError.model_validate_json(ToldError.of(InputError("p.", "a.")).model_dump_json())
    assert told.final
    error = told.error()
    assert (type(error), error.problem, error.action) == (InputError, "p.", "a.")


def test_it_becomes_no_class_but_ours() -> None:
    told = ToldError(type="ConfigError", problem="p.", action="a.", final=True)
    assert type(told.error()) is ConfigError
    for name in ("annotations", "errno", "Nothing", "full_disk"):
        assert str(told.model_copy(update={"type": name}).error()) == "p. a."

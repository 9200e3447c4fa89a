from __future__ import annotations

import featx.errors as errors


def test_every_error_is_exported_and_in_the_drawn_tree():
    public = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert public == set(errors.__all__) - {"listing"}
    assert all(name in (errors.__doc__ or "") for name in public)


def test_exit_codes_tell_bad_input_from_failed_work():
    for name in set(errors.__all__) - {"listing"}:
        error = getattr(errors, name)
        assert issubclass(error, errors.FeatxError)
        assert error.exit_code == (2 if issubclass(error, errors.InputError) else 1), name

import pytest

from huozi.report import value_with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.3146, 0.1234, "2.31 ± 0.12"),
        (300.03, 0.07, "300.030 ± 0.070"),
        (-0.0246, 0.00084, "-0.02460 ± 0.00084"),
        (1234.5, 99.7, "1230 ± 100"),
        (18765, 1234, "18800 ± 1200"),
        (2.3e-9, 1.2e-10, "2.30e-09 ± 1.2e-10"),
        (1.2345678, 0.0, "1.23457"),
        (0.123456, None, "0.1235"),
        (0.5, float("nan"), "0.5"),
        (0.0, 3e-12, "0.0e+00 ± 3.0e-12"),
    ],
)
def test_digits_follow_the_error(value, error, text):
    assert value_with_error(value, error) == text

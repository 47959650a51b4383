"""Chains of degradation steps: their text form, and what images draw from their ranges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import quick, random_image

from srcnn.degradations import (
    SHRINK,
    STEPS,
    Degradation,
    Parameter,
    StepKind,
    parse_steps,
)

AMOUNT = Parameter("amount", None, 0, 100)
SPREAD = Parameter("spread", 1, 0, 10)


def _add(picture, values, generator, degradation):
    noise = generator.uniform(-values["spread"], values["spread"], picture.shape)
    return np.clip(picture + values["amount"] + noise, 0, 255).astype(picture.dtype)


@pytest.fixture(autouse=True, scope="module")
def add_step():
    """A step with a random part, as noise has one."""
    STEPS["add"] = StepKind(_add, (AMOUNT, SPREAD))
    yield
    del STEPS["add"]


def chain(text: str) -> Degradation:
    return Degradation("opencv", 2, "bilinear", parse_steps(text))


numbers = st.integers(0, 10_000).map(lambda n: n / 100)
ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair):g}..{max(pair):g}")
amounts = st.one_of(numbers.map("{:g}".format), ranges)
steps = st.builds("add={},spread={}".format, amounts, st.integers(0, 10))


@quick
@given(st.lists(steps, max_size=3), st.lists(steps, max_size=3))
def test_the_text_form_is_read_back(before, after):
    first = parse_steps(" ".join([*before, "shrink", *after]))
    assert parse_steps(" ".join(map(str, first))) == first


def test_the_default_is_shrinking_alone():
    assert parse_steps("shrink") == SHRINK
    assert str(Degradation("opencv", 3, "bicubic")) == "x3 bicubic (opencv)"
    assert str(chain("add=3 shrink")) == "x2 bilinear, add=3 shrink (opencv)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one step `shrink`"),
        ("shrink shrink", "exactly one step `shrink`"),
        ("blend=1 shrink", "no step 'blend=1'; there are: shrink, add"),
        ("add shrink", "amount must be a number or LOW..HIGH between 0 and 100"),
        ("add=101 shrink", "between 0 and 100"),
        ("add=5..3 shrink", "between 0 and 100"),
        ("add=nan shrink", "between 0 and 100"),
        ("add=1,size=2 shrink", "no parameter 'size'; add has: amount, spread"),
        ("shrink=2", "no parameter"),
    ],
)
def test_impossible_chains_are_refused(text, message):
    with pytest.raises(ValueError, match="^[^\n]+$") as error:
        parse_steps(text)
    assert message in str(error.value)


def test_an_image_draws_the_same_in_every_run_and_another_image_something_else():
    degradation, image = chain("add=0..50 shrink add=0..9"), random_image((20, 30, 3))
    drawn = degradation.drawn(1, "a/b.png")
    assert drawn == degradation.drawn(1, "a/b.png")
    assert all(low == high for step in drawn.steps for low, high in step.ranges)
    others = {
        degradation.drawn(seed, path).text for seed in (1, 2) for path in ("a/b.png", "b.png")
    }
    assert len(others) == 4
    first = degradation.apply(image, 1, "a/b.png")
    assert np.array_equal(first, degradation.apply(image, 1, "a/b.png"))
    assert not np.array_equal(first, degradation.apply(image, 1, "b.png"))


def test_what_was_drawn_says_exactly_what_was_done():
    degradation, image = chain("add=0..50,spread=3 shrink"), random_image((20, 30, 3))
    drawn = degradation.drawn(7, "x.png")
    again = chain(drawn.text)
    assert np.array_equal(again.apply(image, 7, "x.png"), degradation.apply(image, 7, "x.png"))


def test_draws_are_spread_over_the_range():
    degradation = chain("add=20..40 shrink")
    values = [degradation.drawn(0, f"{n}.png").steps[0].ranges[0][0] for n in range(300)]
    assert 20 <= min(values) < 21 and 39 < max(values) <= 40
    assert np.mean(values) == pytest.approx(30, abs=1)

"""Chains of degradation steps: text form, parameter draws, pixels."""

import io

import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import quick, random_image

from srcnn.colour import luma_matlab, quantise_half_up
from srcnn.degradations import (
    SHRINK,
    STEPS,
    Degradation,
    Parameter,
    StepKind,
    check_steps,
    parse_steps,
)
from srcnn.errors import DegradationError

AMOUNT = Parameter("amount", None, 0, 100)
SPREAD = Parameter("spread", 1, 0, 10)


def _add(picture, values, generator, degradation):
    noise = generator.uniform(-values["spread"], values["spread"], picture.shape)
    return np.clip(picture + values["amount"] + noise, 0, 255).astype(picture.dtype)


@pytest.fixture(autouse=True, scope="module")
def add_step():
    """A step with a random part, like noise."""
    STEPS["add"] = StepKind(_add, (AMOUNT, SPREAD))
    yield
    del STEPS["add"]


def chain(text: str, scale: int = 2) -> Degradation:
    return Degradation("opencv", scale, "bilinear", parse_steps(text))


numbers = st.integers(0, 10_000).map(lambda n: n / 100)
ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair):g}..{max(pair):g}")
amounts = st.one_of(numbers.map("{:g}".format), ranges)
steps = st.builds("add={},spread={}".format, amounts, st.integers(0, 10))


@quick
@given(st.lists(steps, max_size=3), st.lists(steps, max_size=3))
def test_chain_round_trips_through_its_text_form(before, after):
    first = parse_steps(" ".join([*before, "shrink", *after]))
    assert parse_steps(" ".join(map(str, first))) == first


def test_default_chain_only_shrinks():
    assert parse_steps("shrink") == SHRINK
    assert str(Degradation("opencv", 3, "bicubic")) == "x3 bicubic (opencv)"
    assert str(chain("add=3 shrink")) == "x2 bilinear, add=3 shrink (opencv)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one step"),
        ("blend=1 shrink", "no step 'blend=1'; there are: shrink, blur, noise, jpeg, add"),
        ("add shrink", "amount must be a number or LOW..HIGH between 0 and 100"),
        ("add=101 shrink", "between 0 and 100"),
        ("add=5..3 shrink", "between 0 and 100"),
        ("add=nan shrink", "between 0 and 100"),
        ("add=1,size=2 shrink", "no parameter 'size'; add has: amount, spread"),
        ("shrink=2", "kernel must be area or bicubic, or several with |"),
        ("shrink=area|", "kernel must be area or bicubic, or several with |"),
        ("blur=20.1 shrink", "sigma must be a number or LOW..HIGH between 0 and 20"),
        ("noise=-1 shrink", "deviation must be a number or LOW..HIGH between 0 and 100"),
        ("shrink jpeg=0", "quality must be a whole number or LOW..HIGH between 1 and 100"),
        ("shrink jpeg=50.5..60", "quality must be a whole number"),
        ("shrink jpeg=50,subsampling=411", "subsampling must be 420 or 422 or 444"),
    ],
)
def test_impossible_chains_are_refused(text, message):
    with pytest.raises(ValueError, match="^[^\n]+$") as error:
        parse_steps(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "scale", "message"),
    [
        ("jpeg=50", 2, "needs exactly one step `shrink` at scale 2"),
        ("shrink shrink", 3, "needs exactly one step `shrink` at scale 3"),
        ("shrink", 1, "at scale 1 nothing is shrunk"),
    ],
)
def test_chain_shrinks_exactly_once_and_never_at_scale_1(text, scale, message):
    with pytest.raises(ValueError, match=message):
        check_steps(parse_steps(text), scale)
    check_steps(parse_steps("blur=1 jpeg=50"), 1)
    check_steps(parse_steps("blur=1 shrink jpeg=50"), 2)


def test_draws_are_fixed_per_image_and_differ_between_images():
    degradation, image = chain("add=0..50 shrink add=0..9"), random_image((20, 30, 3))
    drawn = degradation.drawn(1, "a/b.png")
    assert drawn == degradation.drawn(1, "a/b.png")
    assert all(step.is_fixed for step in drawn.steps)
    others = {
        degradation.drawn(seed, path).text for seed in (1, 2) for path in ("a/b.png", "b.png")
    }
    assert len(others) == 4
    first = degradation.apply(image, 1, "a/b.png")
    assert np.array_equal(first, degradation.apply(image, 1, "a/b.png"))
    assert not np.array_equal(first, degradation.apply(image, 1, "b.png"))


def test_recorded_draw_reproduces_the_degradation():
    degradation, image = chain("add=0..50,spread=3 shrink"), random_image((20, 30, 3))
    drawn = degradation.drawn(7, "x.png")
    again = chain(drawn.text)
    assert np.array_equal(again.apply(image, 7, "x.png"), degradation.apply(image, 7, "x.png"))


def test_draws_cover_the_range():
    degradation = chain("add=20..40 shrink")
    values = [degradation.drawn(0, f"{n}.png").steps[0].ranges[0][0] for n in range(300)]
    assert 20 <= min(values) < 21 and 39 < max(values) <= 40
    assert np.mean(values) == pytest.approx(30, abs=1)


def test_words_are_drawn_from_the_given_alternatives():
    degradation = chain("shrink=area|bicubic jpeg=50,subsampling=444|420")
    assert degradation.text == "shrink=area|bicubic jpeg=50,subsampling=444|420"
    drawn = {degradation.drawn(0, str(n)).text for n in range(40)}
    assert drawn == {
        f"shrink={kernel} jpeg=50{sampling}"
        for kernel in ("area", "bicubic")
        for sampling in ("", ",subsampling=444")
    }


def test_integer_parameters_are_drawn_as_integers_and_become_columns():
    drawn = [chain("noise=3 shrink jpeg=40..43").drawn(0, str(n)).numbers() for n in range(40)]
    assert {numbers["jpeg"] for numbers in drawn} == {40, 41, 42, 43}
    assert {numbers["noise"] for numbers in drawn} == {3}
    assert chain("jpeg=90 shrink jpeg=50").numbers() == {"jpeg": 50}
    assert chain("shrink").numbers() == {}


@pytest.mark.parametrize("sigma", [0.3, 0.6, 1.2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blur_is_a_gaussian_of_the_given_sigma(photo, sigma, dtype):
    image = photo[:60, :70].astype(dtype) * (np.iinfo(dtype).max // 255)
    blurred = chain(f"blur={sigma}", 1).apply(image)
    expected = scipy.ndimage.gaussian_filter(
        image.astype(float), (sigma, sigma, 0), mode="mirror", truncate=6
    )
    unit = np.iinfo(dtype).max / 255
    assert np.abs(blurred - expected).max() < 1.6 * unit
    assert blurred.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(300, 200), (200, 150, 3)])
def test_noise_has_the_given_deviation_in_every_channel(dtype, shape):
    unit = np.iinfo(dtype).max // 255
    image = np.full(shape, 128 * unit, dtype)
    noise = (chain("noise=7", 1).apply(image, path="a").astype(float) - image) / unit
    assert noise.std() == pytest.approx(7, rel=0.02)
    assert abs(noise.mean()) < 0.1
    if len(shape) == 3:
        assert np.corrcoef(noise.reshape(-1, 3).T)[0, 1:] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("text", ["noise=0", "blur=0", "blur=0 noise=0"])
def test_step_of_zero_strength_changes_nothing(photo, text):
    assert np.array_equal(chain(text, 1).apply(photo[:20, :30]), photo[:20, :30])


@pytest.mark.parametrize(("subsampling", "code"), [("420", 2), ("422", 1), ("444", 0)])
def test_jpeg_step_equals_libjpeg(photo, subsampling, code):
    image = photo[:61, :75]
    file = io.BytesIO()
    Image.fromarray(image[..., ::-1]).save(file, "JPEG", quality=60, subsampling=code)
    expected = np.asarray(Image.open(file))[..., ::-1]
    made = chain(f"jpeg=60,subsampling={subsampling}", 1).apply(image)
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("gray", [False, True])
def test_jpeg_step_of_16_bits_uses_the_upper_8(photo, gray):
    image = photo[:61, :75, 1] if gray else photo[:61, :75]
    deep = image.astype(np.uint16) * 257
    noisy = (deep + random_image(deep.shape) % 100).clip(0, 65535).astype(np.uint16)
    for one in (deep, noisy):
        np.testing.assert_array_equal(
            chain("jpeg=60", 1).apply(one), chain("jpeg=60", 1).apply(image).astype(int) * 257
        )


def test_image_too_long_for_jpeg_is_an_image_error():
    with pytest.raises(DegradationError, match="65500"):
        chain("jpeg=60", 1).apply(np.zeros((1, 65_501), np.uint8))


@pytest.mark.parametrize("protocol", ["opencv", "matlab"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_antialiased_shrinking_equals_common_tools(photo, protocol, dtype):
    image = photo[:60, :72].astype(dtype) * (np.iinfo(dtype).max // 255)
    area, bicubic = (
        Degradation(protocol, 3, "bicubic", parse_steps(f"shrink={kernel}")).apply(image)
        for kernel in ("area", "bicubic")
    )
    blocks = image.reshape(20, 3, 24, 3, 3).mean((1, 3))
    assert np.abs(area - blocks).max() <= 0.5 + 1e-6
    if dtype == np.uint8:
        pillow = Image.fromarray(image).resize((24, 20), Image.Resampling.BICUBIC)
        assert np.abs(bicubic.astype(int) - np.asarray(pillow)).max() <= 2
    assert area.dtype == bicubic.dtype == dtype


def test_steps_after_matlab_shrinking_work_on_rounded_codes(photo):
    """The small picture becomes 8-bit codes, as in a camera's file, before its luma is computed."""
    image = photo[:60, :72]
    steps = {text: Degradation("matlab", 2, "bicubic", parse_steps(text)) for text in
             ("shrink", "shrink blur=0", "shrink jpeg=70", "shrink noise=4")}  # fmt: skip
    planes = steps["shrink"].apply(image)
    assert planes.shape == (3, 30, 36) and planes.dtype == np.float64
    rounded = steps["shrink blur=0"].apply(image)
    assert rounded.shape == (30, 36, 3) and rounded.dtype == np.uint8
    assert np.abs(luma_matlab(rounded) - planes[0])[2:-2, 2:-2].max() < 1.5
    made = cv2.imdecode(cv2.imencode(".jpg", rounded, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], 1)
    np.testing.assert_array_equal(steps["shrink jpeg=70"].apply(image), made)
    noise = steps["shrink noise=4"].apply(image, path="a").astype(float) - rounded
    assert noise.std() == pytest.approx(4, rel=0.1)
    gray = steps["shrink blur=0"].apply(image[..., 1])
    expected = quantise_half_up(steps["shrink"].apply(image[..., 1])[0], np.uint8)
    np.testing.assert_array_equal(gray, expected)

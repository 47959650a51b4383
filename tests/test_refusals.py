"""Refusals before the run: one line and the documented exit code."""

import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT, files_below, write_images

from pipeline.options import parse


@pytest.fixture
def image(tmp_path, photo):
    write_images(tmp_path / "in", {"a.png": photo[:40, :40]})
    return tmp_path / "in" / "a.png"


def test_job_server_options_are_passed_on():
    words = ["--runner", "FlinkRunner", "--max_bundle_size", "500", "--objectReuse", "--x_y=1"]
    command = parse(["--input", "a.png", "--output", "out", "--scale", "3", *words])
    assert command.beam_arguments == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "0"], "scale: 0"),
        (["--scale", "5"], "scale: 5: must be one of 1, 2, 3, 4"),
        (["--scale", "1"], "degrade: 'shrink': at scale 1 nothing is shrunk"),
        (["--degrade", "jpeg=50"], "needs exactly one step `shrink` at scale 2"),
        (["--degrade", "shrink jpeg=0"], "quality must be a whole number"),
        (["--degrade", "shrink=cubic"], "kernel must be area or bicubic"),
        (["--scale", "two"], "scale: 'two'"),
        (["--strength", "1.1"], "strength: '1.1'"),
        (["--strength", "nan"], "strength: 'nan'"),
        (["--fit", "100x100"], "fit: only for mode restore"),
        (["--mode", "restore", "--fit", "3840"], "such as 3840x2160"),
        (["--mode", "restore", "--fit", "0x10"], "such as 3840x2160"),
        (["--skip_above", "8"], "must be a number of megapixels above 0, such as 8MP"),
        (["--skip_above", "0MP"], "must be a number of megapixels above 0, such as 8MP"),
        (["--skip_above=-1MP"], "must be a number of megapixels above 0, such as 8MP"),
        (["--without", "niqe"], "without: 'niqe': mode restore can leave out niqe"),
        (["--mode", "restore", "--without", "ssim"], "without: 'ssim': mode restore can leave"),
        (["--kernel", "bicubc"], "did you mean 'bicubic'"),
        (["--protocol", "matlab", "--kernel", "area"], "protocol matlab has bilinear, bicubic"),
        (["--mode", "restor"], "did you mean 'restore'"),
        (["--mode", "restore", "--border", "shave"], "border: 'shave'"),
        (["--tile", "3"], "tile: '3'"),
        (["--comparisons", "some"], "comparisons: 'some'"),
        (["--max_failures", "101%"], "at most 100%"),
        (["--max_failures", "few"], "max_failures: 'few'"),
        (["--output_format", "jpg"], "did you mean 'jpeg'"),
        (["--output_format", "bmp"], "output_format: 'bmp'"),
        (["--quality", "0"], "quality: '0'"),
        (["--quality", "101"], "quality: '101'"),
        (["--compression", "10"], "compression: '10'"),
        (["--metadata", "no"], "metadata: 'no'"),
        (["--max_seconds", "0"], "max_seconds: '0'"),
        (["--run_id", "../x"], "run_id: '../x'"),
        (["--scalee", "2"], "did you mean --scale?"),
        (["--max-falures", "2"], "did you mean --max_failures?"),
        (["--direct_num_wrkers", "2"], "did you mean --direct_num_workers?"),
        (["--max_bundle_size", "2"], "unknown option --max_bundle_size"),
        (["--runner", "FlinkRunner", "--paralelism=2"], "did you mean --parallelism?"),
        (["--runner", "FlinkRunner", "--max_falures", "2"], "did you mean --max_failures?"),
        (["--runner", "FlinkRunner", "--max_bundle=2", "b.png"], "unexpected argument 'b.png'"),
        (["--engine", "onnx"], "engine: 'onnx'"),
        (["stray.png"], "unexpected argument 'stray.png'"),
        (["--config", "missing.yaml"], "missing.yaml: cannot read"),
        (["--weights", "missing.weights.h5"], "missing.json: no model card"),
        (["--weights", "model.h5"], "python -m srcnn.convert"),
    ],
)
def test_bad_usage_prints_one_line_and_exits_with_2(run_job, image, tmp_path, arguments, words):
    before = files_below(tmp_path)
    job = run_job("--input", image, *arguments)
    assert job.code == 2
    assert words in job.err
    assert job.err.startswith("error: ")
    assert len(job.err.splitlines()) == 1
    assert files_below(tmp_path) == before
    assert not job.output.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scael: 2", "unknown key 'scael'; did you mean 'scale'?"),
        ("scale: [2", "not valid YAML"),
        ("- scale", "holds a list"),
        ("scale: {a: 1}", "scale: {'a': 1}"),
        ("!!python/object/apply:os.system [id]", "not valid YAML"),
    ],
)
def test_bad_configuration_file_is_refused(run_job, image, tmp_path, text, words):
    config = tmp_path / "job.yaml"
    config.write_text(text)
    job = run_job("--input", image, "--config", config)
    assert (job.code, job.output.exists()) == (2, False)
    assert words in job.err
    assert len(job.err.splitlines()) == 1


def test_flags_override_the_file(run_job, image, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text("kernel: area\nborder: shave\nmax-failures: 5%\n")
    job = run_job("--input", image, "--config", config, "--kernel", "nearest")
    assert job.code == 0, job.err
    row = job.rows.iloc[0]
    assert (row.kernel, row.border) == ("nearest", "shave")
    assert job.summary["configuration"]["max_failures"] == "5%"


def test_dashes_and_underscores_are_equivalent(run_job, image):
    assert run_job("--input", image, "--max-failures=3", "--engine-threads", "2").code == 0


def test_no_match_exits_with_4(run_job, tmp_path):
    job = run_job("--input", f"{tmp_path}/no/*.png", "--input", f"{tmp_path}/*.gif")
    assert (job.code, job.output.exists()) == (4, False)
    assert "nothing matches" in job.err
    assert len(job.err.splitlines()) == 1


def test_glob_without_matches_beside_another_is_a_warning(run_job, image, tmp_path):
    job = run_job("--input", image, "--input", f"{tmp_path}/no/*.png")
    assert job.code == 0
    assert f"warning: nothing matches '{tmp_path}/no/*.png'" in job.err


@pytest.mark.parametrize("output", ["/proc/nowhere/out", "file/out", "file"])
def test_unwritable_output_is_refused(run_job, image, tmp_path, output):
    (tmp_path / "file").write_text("")
    job = run_job("--input", image, output=tmp_path / output)
    assert job.code == 2
    assert "cannot be written" in job.err
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(
    ("pattern", "output", "refused"),
    [
        ("in/**/*.png", "in/out", True),
        ("in/**", "in", True),
        ("**/*.png", "out", True),
        ("in/*/images/*.png", "in/out", True),
        ("out/images/*.png", "out", True),
        ("link/**/*.png", "in/out", True),
        ("in/**/*.png", "link", True),
        ("in/*.png", "link", True),
        ("in//*.png", "in/./", True),
        ("in/a.png", "link", True),
        ("results/*.png", "out", True),
        ("results/../images/x.png", "out", True),
        ("results/../../in/*.png", "in", True),
        ("results/../*.png", "out2", False),
        ("in/*.png", "in/out", False),
        ("in/a*/**/*.png", "in/out", False),
        ("in/**/*.png", "in-out", False),
    ],
)
def test_output_inside_the_inputs_is_refused(
    run_job, image, tmp_path, pattern, output, refused, monkeypatch
):
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "results").symlink_to(tmp_path / "out/images")
    names = ("in/ab/c.png", "out/images/x.png", "out/y.png")
    write_images(tmp_path, dict.fromkeys(names, _read(image)))
    monkeypatch.chdir(tmp_path)
    job = run_job("--input", pattern, "--dry_run", output=output)
    assert job.code == (2 if refused else 0), job.err
    assert ("lies inside the input glob" in job.err) == refused


@pytest.mark.parametrize("name", [".scratch", "images", "metrics", "runs", "comparisons"])
def test_output_directory_that_links_elsewhere_is_refused(run_job, image, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    job = run_job("--input", image)
    assert job.code == 2
    assert f"output: {name!r} in '{tmp_path}/out' is a link" in job.err
    assert files_below(tmp_path) == {"in/a.png"}


def test_dotdot_after_a_wildcard_is_refused(run_job, image, tmp_path):
    job = run_job("--input", f"{tmp_path}/*/../in/*.png")
    assert (job.code, job.output.exists()) == (2, False)
    assert "'..' cannot follow a wildcard" in job.err


def test_control_characters_in_refused_names_are_escaped(run_job, tmp_path):
    (tmp_path / "two\nlines\x1b[31m").mkdir()
    job = run_job("--input", tmp_path / "two\nlines\x1b[31m")
    assert job.code == 2
    assert len(job.err.splitlines()) == 1
    assert job.err.strip().isprintable()


def test_directory_as_input_is_refused_suggesting_a_glob(run_job, image):
    job = run_job("--input", image.parent)
    assert job.code == 2
    assert "**/*.png" in job.err


def test_scale_without_weights_is_refused_listing_existing_ones(run_job, image):
    job = run_job("--input", image, "--model", "srcnn-955", "--scale", "4", "--kernel", "nearest")
    assert (job.code, job.output.exists()) == (2, False)
    assert "srcnn-955_x2_bilinear" in job.err


def test_scale_1_requires_the_full_name_of_a_model(run_job, image):
    job = run_job("--input", image, "--mode", "restore", "--scale", "1", "--model", "srcnn-955")
    assert job.code == 2
    assert "srcnn-955_x2_bilinear" in job.err


def test_damaged_weights_are_refused_before_the_run(run_job, image, tmp_path, tiny_weights):
    copy = tmp_path / tiny_weights.name
    card = tiny_weights.name.replace(".weights.h5", ".json")
    copy.write_bytes(tiny_weights.read_bytes()[:-100])
    (tmp_path / card).write_bytes((tiny_weights.parent / card).read_bytes())
    job = run_job("--input", image, "--weights", copy)
    assert (job.code, job.output.exists()) == (2, False)
    assert str(copy) in job.err


def test_weights_for_another_degradation_give_a_warning(run_job, image):
    job = run_job("--input", image, "--scale", "3")
    assert job.code == 0
    assert "made for x2 bilinear (opencv)" in job.err


def test_help_shows_defaults_examples_and_exit_codes():
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_pipeline.py"), "--help"],
        capture_output=True, text=True, cwd="/", timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count("python run_pipeline.py") == 6
    text = " ".join(done.stdout.split())
    for words in (
        "[evaluate]",
        "[2, or that of named weights]",
        "bilinear for opencv",
        "[keep]",
        "[256]",
        "3 more failed",
        "130, 143",
    ):
        assert words in text


def _read(path):
    import cv2

    return cv2.imread(str(path))

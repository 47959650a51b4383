"""The commands and snippets of the documents work, in the order of the documents.

The quick ones run here, in this process, on small photographs. `make docs-test` (SLOW=1) passes
every command to a shell as written, on the demo's photographs. Neither runs NOT_RUN.
"""

import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED
from shard_files import parquet_bytes, parquet_table, tar_bytes

SLOW = os.environ.get("SLOW") == "1"
# Their commands need external services or code that the page adds; each has its own tests.
PAGES_TESTED_ELSEWHERE = {
    "flink.md", "object-stores.md", "dataflow.md", "scale.md", "extending.md",
}  # fmt: skip
NOT_RUN = {
    r"make (slow-)?test": "continuous integration runs it",
    r"make bench .*": "takes half an hour; tests/test_benchmarks_speed.py runs its parts",
    r".* -m srcnn\.train .* --card .*": "takes half an hour; tests/test_training.py runs its steps",
    r".* -m benchmarks\.\w+( .*)?": "takes long; each states its cost",
    r".* --job_endpoint .*": "needs a cluster; see tests/test_remote.py and tests/cluster",
    r".* docs/options\.py .*": "tests/test_documents.py runs it",
    r"cp deploy/.*": "writes below /etc; tests/test_documents.py verifies the files",
    r"systemctl .*": "needs systemd; tests/test_documents.py verifies the units",
}
_SETS = r".*Set(5|14)/.*"
SLOW_COMMANDS = (r"make demo", r".* -m srcnn\.train .*", r".* --output out/own .*", _SETS)
NEEDS_SHARED = (r".* -m srcnn\.convert .*", _SETS)
_ALL = [ROOT / "README.md", *sorted(ROOT.glob("[!R]*.md")), ROOT / "RESULTS.md"]
_ALL += sorted((ROOT / "docs").glob("*.md"))
PAGES = [page for page in _ALL if page.name not in PAGES_TESTED_ELSEWHERE]


def fenced(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def steps() -> list:
    """Commands and Python snippets of the pages, one per parameter."""
    found = []
    for page in PAGES:
        for language, text in fenced(page):
            if language == "python":
                found.append((page.name, "python", text))
            elif language in ("", "sh"):
                lines = re.sub(r" *\\\n *", " ", text).splitlines()
                found += [
                    (page.name, "shell", re.sub(r"  +#.*", "", line))
                    for line in lines
                    if re.match(r"(make|cp|systemctl|python|\.venv/bin/\w+) ", line)
                ]
    return [
        pytest.param(
            *step,
            id=f"{step[0]}-{number}-{step[2].split()[-1][:30]}",
            marks=() if step[0] == "README.md" and number < 8 else pytest.mark.slow,
        )
        for number, step in enumerate(found)
    ]


def fits(patterns, command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in patterns)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A checkout with its environment and the files that the documents assume."""
    place = tmp_path_factory.mktemp("documents")
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name not in ("demo", "docs", "out", "build"):
            (place / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "docs", place / "docs")
    (place / ".venv").symlink_to(sys.prefix)
    photos = place / "demo/photos"
    if SLOW:
        assert run_in_a_shell("make demo/photos", place) == 0
    else:
        import skimage

        photos.mkdir(parents=True)
        for name in ("chelsea", "coffee"):
            picture = cv2.imread(str(Path(skimage.__file__).parent / f"data/{name}.png"))
            if picture is not None:
                cv2.imwrite(str(photos / f"{name}.png"), picture[60:180, 100:260])
        run_here("python run_pipeline.py --input demo/photos/* --output demo/output", place)
    for name in ("photos", "sample"):
        (place / name).symlink_to(photos)
    (place / "OUTPUT").symlink_to(place / "demo/output")
    for name, model in (("old", "srcnn-955_x2_bilinear"), ("new", "subpixel-large_x2_bilinear")):
        for suffix in (".weights.h5", ".json"):
            shutil.copy(ROOT / f"weights/{model}{suffix}", place / f"{name}{suffix}")
    write_lists(place, sorted(photos.iterdir()))
    write_shards(place / "data", sorted(photos.iterdir()))
    (place / "nightly.yaml").write_text("input: photos/*\noutput: nightly\n")
    if SHARED.is_dir():
        for name in ("Set5", "Set14"):
            (place / name).symlink_to(SHARED / "data" / name)
        for name in ("3051crop_weight_200.h5", "9-5-5_ImageNet_x3.mat"):
            for path in (SHARED / "weights").rglob(name):
                (place / name).symlink_to(path)
    return place


def write_lists(place: Path, photos: list[Path]) -> None:
    """Writes the files that docs/lists.md and the README assume."""
    (place / "photos.txt").write_text("".join(f"{photo}\n" for photo in photos))
    (place / "lists").mkdir()
    names = [photo.name for photo in photos]
    listed = pa.table({"uri": list(map(str, photos)), "relative_path": names})
    pq.write_table(listed, place / "lists/0.parquet")
    columns = {"bucket": ["b"], "key": ["a/x.JPG"], "size": [1]}
    columns["last_modified_date"] = pa.array([0], pa.timestamp("ms"))
    pq.write_table(pa.table(columns), place / "inventory.parquet")


def write_shards(data: Path, photos: list[Path]) -> None:
    """Writes the files that docs/shards.md assumes."""
    data.mkdir()
    images = [photo.read_bytes() for photo in photos]
    named = [(photo.name, image) for photo, image in zip(photos, images, strict=True)]
    (data / "photos.tar").write_bytes(tar_bytes(named))
    (data / "photos.parquet").write_bytes(parquet_bytes(parquet_table(images)))


def run_here(command: str, place: Path) -> int:
    """Runs a command of this project in this process."""
    words = shlex.split(command)
    assert Path(words.pop(0)).name == "python", command
    name = words.pop(0)
    name = words.pop(0) if name == "-m" else name.removesuffix(".py")
    before = Path.cwd()
    os.chdir(place)
    try:
        return importlib.import_module(name).main(words)
    except SystemExit as end:
        return end.code or 0
    finally:
        os.chdir(before)


def run_in_a_shell(command: str, place: Path) -> int:
    """Runs a command in a shell as written."""
    environment = os.environ | {"PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", command], cwd=place, env=environment).returncode


@pytest.mark.parametrize(("page", "language", "text"), steps())
def test_documented_command_does_as_described(place, monkeypatch, page, language, text):
    if language == "python":
        monkeypatch.chdir(place)
        image = cv2.imread(str(next((place / "demo/photos").iterdir())))
        exec(compile(text, page, "exec"), {"image": image})
        return
    if fits(NOT_RUN, text):
        pytest.skip(next(why for pattern, why in NOT_RUN.items() if fits([pattern], text)))
    if fits(SLOW_COMMANDS, text) and not SLOW:
        pytest.skip("slow: make docs-test runs it")
    if fits(NEEDS_SHARED, text) and not SHARED.is_dir():
        pytest.skip("needs the published data in ../shared, which is not here")
    if " -m srcnn.train " in text:  # on two pages; a finished training is not repeated
        shutil.rmtree(place / ".training", ignore_errors=True)
    if SLOW:
        assert run_in_a_shell(text, place) == 0
    else:
        for command in text.split(" && "):
            assert run_here(command, place) == 0


@pytest.mark.slow
def test_notebook_runs(place, monkeypatch):
    monkeypatch.chdir(place / "docs")
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = json.loads(Path("history.ipynb").read_text())
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "pictures are not for the repository"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["images"].psnr_gain.notna().all()
    assert len(names["counts"]) == names["rows"].run_id.nunique()
    assert names["enlarged"].shape == names["plain"].shape


def test_exempt_commands_occur_in_the_documents():
    commands = [step.values[2] for step in steps() if step.values[1] == "shell"]
    assert len(commands) > 20
    for pattern in (*NOT_RUN, *SLOW_COMMANDS, *NEEDS_SHARED):
        assert any(re.fullmatch(pattern, command) for command in commands), pattern


def test_commands_quoted_in_text_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        for module in re.findall(r"python\s+-m\s+((?:pipeline|srcnn|benchmarks)[\w.]*\w)", text):
            assert importlib.util.find_spec(module), f"{page.name}: {module}"
        for target in re.findall(r"`make ([a-z-]+)(?: [A-Z]+=.*)?`", text):
            assert target in targets, f"{page.name}: {target}"

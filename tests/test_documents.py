"""The documents match the code."""

import argparse
import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions
from conftest import ROOT
from PIL import Image

from benchmarks import before_after
from pipeline.config import load_config
from pipeline.errors import ExitCode
from pipeline.options import build_parser
from pipeline.version import VERSION
from transforms.records import RUN_ID, report_columns

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in DOCUMENTS]


def test_report_page_documents_every_column():
    page = (ROOT / "docs/report.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    documented = {name: (kind, text) for name, kind, text in table}
    columns = report_columns()
    assert list(documented) == list(columns)
    for name, (kind, meaning) in columns.items():
        assert documented[name] == ("string" if kind == RUN_ID else str(kind), meaning)


@pytest.mark.parametrize("preset", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_are_valid(preset):
    config = load_config({"input": "x/*.png", "output": "out"}, str(preset))
    for name, value in yaml.safe_load(preset.read_text()).items():
        assert getattr(config, name) == value


def options_of_beam() -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return {flag[2:] for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize("page", DOCUMENTS, ids=NAMES)
def test_documents_name_only_options_that_exist(page):
    commands = re.findall(r"run_pipeline\.py((?:[^\n`]|\\\n)+)", page.read_text())
    flags = {flag for command in commands for flag in re.findall(r"--(\w+)", command)}
    own = {action.dest for action in build_parser()._actions}
    assert flags - own <= options_of_beam()
    assert flags or page != ROOT / "README.md"


def test_options_page_equals_the_parser():
    made = subprocess.run(
        [sys.executable, ROOT / "docs/options.py"], cwd=ROOT, capture_output=True, text=True
    )
    same = (ROOT / "docs/options.md").read_text() == made.stdout
    assert same, ".venv/bin/python docs/options.py > docs/options.md"


def test_every_exit_code_is_in_its_page_and_in_the_help():
    codes = [str(v) for k, v in vars(ExitCode).items() if k.isupper()]
    page = (ROOT / "docs/exit-codes.md").read_text()
    for code in codes:
        assert re.search(rf"^\| .*\b{code}\b.* \| .+ \| .+ \|$", page, re.MULTILINE)
        assert re.search(rf"\b{code}\b", build_parser().epilog)


def test_changelog_covers_this_version():
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", [*DOCUMENTS, ROOT / "docs/history.ipynb"])
def test_links_lead_to_files_and_headings_that_exist(page):
    for target in re.findall(r"\]\(([^) ]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", DOCUMENTS, ids=NAMES)
def test_documents_are_short(page):
    most = {"README.md": 120, "ARCHITECTURE.md": 120} if page.parent == ROOT else {}
    assert len(page.read_text().splitlines()) <= most.get(page.name, 300)


def test_every_page_is_in_the_index_and_on_the_site():
    index = (ROOT / "docs/README.md").read_text()
    site = (ROOT / "mkdocs.yml").read_text()
    for page in DOCUMENTS:
        path = page.relative_to(ROOT)
        assert str(path) in site
        if page.name != "README.md":
            assert f"]({path.name})" in index or f"](../{path.name})" in index


@cache
def project_files() -> list[Path]:
    """Code and documents, without hidden directories such as the environment."""
    visible = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    found = [path for top in visible for path in ([top] if top.is_file() else top.rglob("*.*"))]
    return [path for path in found if path.suffix in (".py", ".xml", ".md", ".toml")]


@pytest.mark.parametrize(
    "name", ["ARCHITECTURE.md", "docs/decisions.md", "docs/decisions-images.md"]
)
def test_names_of_the_architecture_are_in_the_code(name):
    files = project_files()
    code = "\n".join(path.read_text() for path in files if path.suffix in (".py", ".toml"))
    names = set(re.findall(r"\w+", code))
    paths = [f"/{path.relative_to(ROOT)}" for path in files]
    text = (ROOT / name).read_text()
    for file in re.findall(r"[\w/-]+\.(?:py|xml|md)\b", text):
        assert any(path.endswith("/" + file.lstrip("./")) for path in paths), file
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        for word in re.findall(r"^(?:\w+\.)*(\w+)$", span):
            assert word in names, span


@pytest.mark.slow
def test_site_builds_and_its_links_resolve():
    """`make docs` is strict: a broken link or an unknown name of the API fails it."""
    if subprocess.run(["make", "--silent", ".venv.docs/.ready"], cwd=ROOT).returncode:
        pytest.skip("MkDocs cannot be installed here")
    built = subprocess.run(["make", "--silent", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    page = (ROOT / ".site/html/docs/api/index.html").read_text()
    assert "load_model" in page and "(h, w, 3) BGR, as OpenCV reads it" in page


@pytest.mark.slow
def test_readme_picture_is_reproduced_by_its_command(tmp_path):
    assert before_after.main(["--output", str(tmp_path / "made.png")]) == 0
    made, shown = (
        np.asarray(Image.open(path))
        for path in (tmp_path / "made.png", ROOT / "docs/images/before_after.png")
    )
    assert made.shape == shown.shape
    upper = slice(0, made.shape[0] // 2)  # the lower half changes with the weights
    np.testing.assert_array_equal(made[upper], shown[upper])


def test_scheduled_configuration_is_valid():
    config = load_config({}, str(ROOT / "deploy/schedule/srcnn-nightly.yaml"))
    assert config.fail_on_empty


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_units_are_valid(tmp_path):
    for unit in (ROOT / "deploy/schedule").glob("srcnn-nightly.[st]*"):
        if unit.suffix in (".service", ".timer"):
            text = unit.read_text().replace("/opt/srcnn-beam/.venv/bin/python", sys.executable)
            (tmp_path / unit.name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "srcnn-nightly.timer"],
        capture_output=True,
        text=True,
    )
    assert "srcnn-nightly" not in checked.stderr, checked.stderr
    assert checked.returncode == 0


ROOMS = ("pipeline", "transforms", "shards", "storage", "codec", "srcnn")


def messages_of_the_code() -> list[str]:
    """String literals in the code, with … for each inserted value."""
    texts = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", None) for part in node.values]
                    texts.append("".join(p if isinstance(p, str) else "…" for p in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return texts


def test_pages_and_messages_name_documents_and_commands_that_exist():
    """The project has no public address to link to, so a run's pages name its documents."""
    templates = "".join(
        path.read_text() for path in (ROOT / "pipeline/reporting/templates").iterdir()
    )
    code = "".join(path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    documents = re.compile(r"\bdocs/[\w-]+\.\w+")
    assert len(set(documents.findall(templates))) >= 4
    for name in set(documents.findall(templates + code)):
        assert (ROOT / name).exists(), name
    for module in set(re.findall(r"python -m (\w+(?:\.\w+)*)", templates + code)):
        assert importlib.util.find_spec(module), module


def test_troubleshooting_page_quotes_real_messages():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `(.+?)` \| ", page, re.MULTILINE)
    texts = messages_of_the_code()
    assert len(quoted) > 25
    missing = [message for message in quoted if not any(message in text for text in texts)]
    assert missing == []

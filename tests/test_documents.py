"""What the documents say is so."""

import ast
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from pipeline.config import JobConfig, load_config
from pipeline.errors import ExitCode
from pipeline.version import VERSION
from transforms.records import RUN_ID, report_columns


def test_the_report_page_documents_every_column():
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


def test_the_readme_names_only_options_that_exist():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"run_pipeline\.py((?:[^\n`]|\\\n)+)", readme)
    flags = {flag for command in commands for flag in re.findall(r"--(\w+)", command)}
    own = {
        *JobConfig.model_fields,
        "dry_run",
        "list_models",
        "help",
        "config",
        "verbose",
        "quiet",
        "json",
        "version",
    }
    assert flags
    assert flags <= own


def test_every_exit_code_is_in_the_readme_and_in_the_help():
    from pipeline import options

    codes = [str(v) for k, v in vars(ExitCode).items() if k.isupper()]
    readme = (ROOT / "README.md").read_text()
    for code in codes:
        assert re.search(rf"\b{code}\b", readme)
        assert re.search(rf"\b{code}\b", options._EXAMPLES)


def test_the_changelog_speaks_of_this_version():
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


def test_documents_link_to_files_that_exist():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_scheduled_configuration_is_valid():
    config = load_config({}, str(ROOT / "deploy/schedule/srcnn-nightly.yaml"))
    assert config.fail_on_empty


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_units_are_valid(tmp_path):
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


def test_every_exit_code_is_in_the_page_about_scheduling():
    page = (ROOT / "docs/scheduling.md").read_text()
    for name, code in vars(ExitCode).items():
        assert not name.isupper() or re.search(rf"^\| .*\b{code}\b", page, re.MULTILINE)


def messages_of_the_code() -> list[str]:
    """The texts in the code, with … for what is put into them."""
    texts = []
    for room in ("pipeline", "transforms", "shards", "storage", "codec", "srcnn"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", None) for part in node.values]
                    texts.append("".join(p if isinstance(p, str) else "…" for p in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return texts


def test_the_page_about_trouble_quotes_messages_as_they_are():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `(.+?)` \| ", page, re.MULTILINE)
    texts = messages_of_the_code()
    assert len(quoted) > 25
    missing = [message for message in quoted if not any(message in text for text in texts)]
    assert missing == []

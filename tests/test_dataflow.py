"""The job as submitted to Dataflow, built offline; and unattended runs."""

import json
import os
import re
import subprocess
import sys

import apache_beam as beam
import pandas as pd
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from conftest import ROOT, files_below, write_images

from pipeline.config import JobConfig, load_config
from pipeline.graph import build
from pipeline.job import prepare_job
from pipeline.options import parse
from pipeline.runners import dataflow_template as template

DEPLOY = ROOT / "deploy/dataflow"
IMAGE = "europe-docker.pkg.dev/project/srcnn/srcnn-beam:1-cpu"


def dry_options(*more: str) -> PipelineOptions:
    words = [
        "--runner", "DataflowRunner", "--project", "project", "--region", "europe-west1",
        "--temp_location", "gs://bucket/temp", "--staging_location", "gs://bucket/staging",
        "--sdk_container_image", IMAGE, "--sdk_location", "container", "--no_save_main_session",
        "--no_auth",
        "--dry_run=True", *more,
    ]  # fmt: skip
    return PipelineOptions(words)


@pytest.fixture(scope="module")
def submitted():
    """The job as submitted to Dataflow, and its graph."""
    pytest.importorskip(
        "apache_beam.runners.dataflow.internal.apiclient",
        reason="needs Beam's client of Dataflow: pip install 'apache-beam[gcp]'",
    )
    values = {
        "input": "gs://bucket/photos/**/*.jpg",
        "input_list": ["gs://bucket/lists/*.parquet"],
        "output": "gs://bucket/out",
        "engine": "tensorflow",
    }
    pipeline = beam.Pipeline(options=dry_options("--number_of_worker_harness_threads", "1"))
    build(pipeline, prepare_job(load_config(values)), [])
    result = pipeline.run()
    return result.job, result.job.proto_pipeline


def test_workers_use_the_container_image_and_stage_no_files(submitted):
    job, graph = submitted
    environments = graph.components.environments.values()
    containers = [e for e in environments if e.urn == "beam:env:docker:v1"]
    assert containers and all(IMAGE in str(e.payload) for e in containers)
    staged = [a for e in environments for a in e.dependencies]
    (listed,) = (str(artifact.role_payload) for artifact in staged)
    assert "submission_environment_dependencies.txt" in listed, "which nobody installs"
    # The request that the client would send.
    from apache_beam.runners.dataflow.internal import apiclient

    sent = apiclient.Environment([], job.options, "8", "gs://bucket/graph", graph).proto
    (pool,) = sent.worker_pools
    assert {image.container_image for image in pool.sdk_harness_container_images} == {IMAGE}


def test_submitted_graph_holds_all_stages_and_the_weights(submitted):
    _, graph = submitted
    names = {t.unique_name for t in graph.components.transforms.values()}
    stages = (
        "MatchImages", "ReadImages", "Degrade", "CropToYCrCb", "RestoreLuma", "MeasureQuality",
        "WriteImages", "WriteTotals", "WriteComparisons",
    )  # fmt: skip
    assert set(stages) <= names
    network = sum(
        len(t.spec.payload)
        for t in graph.components.transforms.values()
        if t.unique_name.startswith("RestoreLuma")
    )
    assert network > 200_000, "the weights travel in the graph"
    assert len(graph.SerializeToString()) < 10_000_000, "Dataflow's limit for a request"


def test_no_image_crosses_a_shuffle(submitted):
    _, graph = submitted
    pcollections, coders = graph.components.pcollections, graph.components.coders
    for transform in graph.components.transforms.values():
        if transform.spec.urn != "beam:transform:group_by_key:v1":
            continue
        (source,) = transform.inputs.values()
        assert "ImageRecordCoder" not in str(coders[pcollections[source].coder_id])
        assert "ImageRecord" not in pcollections[source].coder_id
    used = {p.coder_id for p in pcollections.values()}
    assert any("ImageRecordCoder" in coder for coder in used)


def test_no_transform_name_contains_main(submitted):
    _, graph = submitted
    assert "__main__" not in str([t.unique_name for t in graph.components.transforms.values()])


def test_container_files_copy_existing_paths_and_match_beams_version():
    lock = (ROOT / "requirements/lock.txt").read_text()
    for file in DEPLOY.glob("*Dockerfile"):
        text = file.read_text()
        for words in re.findall(r"^COPY (?!--from)(.+?) \S+$", text, re.MULTILINE):
            for word in words.split():
                assert word.startswith("dist/") or (ROOT / word).exists(), f"{file.name}: {word}"
        for name, package in (("BEAM", "apache-beam"), ("TENSORFLOW", "tensorflow")):
            for version in re.findall(rf"^ARG {name}_VERSION=(.+)$", text, re.MULTILINE):
                assert f"\n{package}=={version} " in lock


def test_template_metadata_matches_the_options():
    made = subprocess.run(
        [sys.executable, DEPLOY / "metadata.py"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    same = (DEPLOY / "metadata.json").read_text() == made.stdout
    assert same, "python deploy/dataflow/metadata.py > deploy/dataflow/metadata.json"
    parameters = json.loads(made.stdout)["parameters"]
    assert [parameter["name"] for parameter in parameters] == list(JobConfig.model_fields)


def test_flags_accept_template_parameters():
    values = {"input": "a", "output": "b", "force": "true", "prune": "false", "max_failures": "1%"}
    config = parse([f"--{name}={value}" for name, value in values.items()]).config
    assert (config.force, config.prune, config.max_failures) == (True, False, "1%")
    assert parse(["--input", "a", "--output", "b", "--force", "--quiet"]).config.force


@pytest.mark.parametrize("script", ["build.sh", "run.sh"])
def test_deployment_scripts_parse_and_require_their_variables(script):
    for arguments in (["-n"], []):
        done = subprocess.run(
            ["sh", *arguments, DEPLOY / script], env={"PATH": os.environ["PATH"]},
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode == 0) == bool(arguments)
    assert re.search(r"(IMAGE|PROJECT)", done.stderr)


@pytest.mark.parametrize("kind", [[], ["gpu"]])
def test_run_script_passes_a_valid_command(tmp_path, kind):
    (tmp_path / "python").write_text('#!/bin/sh\nshift\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    variables = {"PROJECT": "p", "REGION": "r", "BUCKET": "b", "IMAGE": IMAGE}
    done = subprocess.run(
        [DEPLOY / "run.sh", *kind, "--input", "gs://b/*.png", "--output", "gs://b/out"],
        env=variables | {"PATH": os.environ["PATH"], "PYTHON": str(tmp_path / "python")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = done.stdout.splitlines()
    pytest.importorskip("apache_beam.runners.dataflow.internal.apiclient", reason="needs [gcp]")
    command = parse(words)
    assert command.config.input == ("gs://b/*.png",)
    assert command.config.engine == ("tensorflow" if kind else "auto")
    assert ("install-nvidia-driver" in done.stdout) == bool(kind)


def test_unattended_run_concludes_itself(tmp_path, photo, tiny_weights):
    write_images(tmp_path / "in", {f"{i}.png": photo[: 40 + i, :50] for i in range(3)})
    (tmp_path / "in/bad.png").touch()
    output = tmp_path / "out"
    words = [
        f"--input={tmp_path}/in/*.png", f"--output={output}", f"--weights={tiny_weights}",
        "--run_id=night", "--comparisons=2", "--max_failures=1",
    ]  # fmt: skip
    assert template.main(words) == 0
    run = output / "runs/night"
    assert {"_SUCCESS", "summary.json", "index.html", "manifest.json"} <= files_below(run)
    assert json.loads((run / "manifest.json").read_text())["state"] == "complete"
    assert json.loads((run / "summary.json").read_text())["counts"] == {
        "matched": 4, "written": 3, "skipped": 0, "failed": 1,
    }  # fmt: skip
    assert len(pd.read_parquet(output / "metrics")) == 4
    assert not (run / "rows").exists() and not (output / ".claim").exists()
    gallery = {re.split(r"[-.]", path.name)[0] for path in (run / "gallery").iterdir()}
    assert len(gallery) == 2 and all(key in (run / "index.html").read_text() for key in gallery)


def test_template_refuses_unsupported_options(capsys):
    assert template.main(["--input", "x", "--output", "y", "--dry_run"]) == 2
    assert template.main(["--input", "x"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_concluding_twice_keeps_the_report(tmp_path, photo, tiny_weights):
    write_images(tmp_path / "in", {"a.png": photo[:40, :50]})
    values = {
        "input": f"{tmp_path}/in/*.png", "output": str(tmp_path / "out"), "run_id": "x",
        "weights": str(tiny_weights),
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in values.items()]
    assert template.main([*words, "--comparisons=none"]) == 0
    before = files_below(tmp_path / "out")
    job = prepare_job(load_config(values))
    assert template.conclude_once(1, job, None) == 1
    assert files_below(tmp_path / "out") == before

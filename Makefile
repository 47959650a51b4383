# `make demo` and `make test` need python3.11 with venv, nothing else.
PYTHON ?= python3.11
VENV ?= .venv
RUN := $(VENV)/bin/python
# A worker per core, with no further threads of libraries that would wait for each other. A worker that
# dies ends the run: pytest-xdist may wait for ever for the tests of one that it replaced.
WORKERS ?= auto
SUITE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --max-worker-restart 0
READY := $(VENV)/.ready
DEMO_PHOTOS := astronaut.png cat.png chelsea.png coffee.png motorcycle_left.png rocket.jpg

.PHONY: help setup demo docs test slow-test coverage browser-test gcs-test docs-test airflow-test flink-demo flink-test prism \
  bench lint format lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY)  ## make the environment, with the locked versions

$(READY): requirements/lock.txt setup.py
	@echo 'Installing the locked versions into $(VENV): some minutes, 3 GB'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements/lock.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: demo/photos  ## measure and restore photographs that scikit-image brings along
	$(RUN) run_pipeline.py --input 'demo/photos/*' --output demo/output

demo/photos: $(READY)
	@mkdir -p demo/photos
	@data=$$($(RUN) -c "import pathlib, skimage; print(pathlib.Path(skimage.__file__).parent / 'data')") && \
	  for photo in $(DEMO_PHOTOS); do test ! -e "$$data/$$photo" || cp "$$data/$$photo" demo/photos/; done

test: $(READY) lint  ## lint and run the quick tests
	$(SUITE) -m "not slow"

slow-test: $(READY)  ## run the tests marked slow: kills at every moment, all weights against their figures, the built package
	$(SUITE) -m slow

coverage: $(READY)  ## the lines that both kinds of tests run, child processes included
	$(RUN) -m coverage run -m pytest -n $(WORKERS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report --skip-covered

browser-test: $(READY)  ## test the pages in Debian's Chromium (apt-get install chromium)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements/browser.txt
	$(RUN) -m pytest tests/browser

flink-demo: demo/photos  ## the demo's photographs on a Flink cluster of this machine (docs/flink.md)
	deploy/flink/fetch.sh
	deploy/flink/start.sh
	deploy/flink/run.sh --input '$(CURDIR)/demo/photos/*' --output '$(CURDIR)/demo/flink'; \
	  code=$$?; deploy/flink/stop.sh; exit $$code

flink-test: $(READY)  ## test runs on Prism and Flink, and kills in mid-run; skips missing ones
	$(RUN) -m pytest tests/cluster

prism: .prism/prism  ## build Beam's Prism runner (needs Go)

.prism/prism: requirements/lock.txt
	GOBIN='$(CURDIR)/.prism' go install \
	  github.com/apache/beam/sdks/v2/go/cmd/prism@v$$(sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' requirements/lock.txt)
	touch $@

gcs-test: $(READY)  ## test Google Cloud Storage on fake-gcs-server (needs Go)
	GOBIN="$(CURDIR)/$(VENV)/bin" go install github.com/fsouza/fake-gcs-server@v1.56.1
	GCS_SERVER="$(CURDIR)/$(VENV)/bin/fake-gcs-server" $(RUN) -m pytest tests/test_google_store.py

docs-test: $(READY)  ## run every command of the documents as written (ten minutes)
	SLOW=1 $(RUN) -m pytest tests/test_commands.py

docs: .venv.docs/.ready  ## build the documentation site into .site/html; fails on broken links
	rm -rf .site
	mkdir -p .site/source
	cp -r README.md ARCHITECTURE.md RESULTS.md CHANGELOG.md docs .site/source
	NO_MKDOCS_2_WARNING=1 .venv.docs/bin/mkdocs build --strict

.venv.docs/.ready: requirements/docs.txt
	$(PYTHON) -m venv .venv.docs
	.venv.docs/bin/pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	touch $@

# A separate environment: Airflow's requirements would restrict the job's. --noconftest: so would the tests'.
airflow-test: $(READY)  ## load the DAG in Airflow and run its task (a few minutes to install)
	$(PYTHON) -m venv .venv.airflow
	.venv.airflow/bin/pip install --quiet --disable-pip-version-check -r requirements/airflow.txt
	.venv.airflow/bin/python -m pytest -p no:cacheprovider --noconftest tests/airflow

bench: $(READY)  ## compare the job's speed with its peers' (half an hour); IMAGES='photos/*.png' TUTORIAL=weights
	$(RUN) -m benchmarks.speed $(if $(IMAGES),--images $(foreach glob,$(IMAGES),'$(glob)')) \
	  $(if $(TUTORIAL),--tutorial '$(TUTORIAL)')

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(READY)  ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(READY)  ## resolve the locked versions again
	$(VENV)/bin/pip-compile --quiet --upgrade --extra dev --strip-extras --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host --no-header --annotation-style line \
	  --output-file requirements/lock.txt setup.py

clean:  ## remove the environment and the files of demo and tests
	rm -rf $(VENV) .venv.airflow .venv.docs .site .flink .prism demo .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

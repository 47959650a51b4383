"""The job: its configuration, graph, runner, manifest, progress, summary and report."""

import logging

# Beam logs this at every import where its extra for Google's services is not installed.
logging.getLogger().addFilter(lambda record: "apitools not found" not in str(record.msg))

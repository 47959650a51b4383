"""The job: its configuration, graph, runner, manifest, progress, summary and report."""

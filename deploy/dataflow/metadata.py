"""Prints the metadata of the Flex Template, generated from the job's options.

python deploy/dataflow/metadata.py > deploy/dataflow/metadata.json
"""

import json
from typing import Any

from pipeline.config import JobConfig

_REQUIRED = ("output",)


def metadata() -> dict[str, Any]:
    """The description of the template and its parameters, as Dataflow shows and checks them."""
    return {
        "name": "srcnn-beam",
        "description": "Restores image datasets with super-resolution (SRCNN): image globs or "
        "lists of URIs in, enhanced images and a Parquet metrics report out.",
        "parameters": [_parameter(name, field) for name, field in JobConfig.model_fields.items()],
    }


def _parameter(name: str, field: Any) -> dict[str, Any]:
    default = field.json_schema_extra["shown"]
    return {
        "name": name,
        "label": name.replace("_", " "),
        "helpText": field.description + (f" [{default}]" if default else ""),
        "isOptional": name not in _REQUIRED,
        "paramType": "TEXT",
    }


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=1))

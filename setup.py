"""Packaging; Apache Beam's --setup_file takes this file to install the job on remote workers."""

import re
from itertools import chain
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Packages that users install beside this one, by extra.
EXTRAS = {
    "openvino": ["openvino>=2025.0"],  # the fast engine for CPUs
    "jax": ["jax>=0.5"],  # another backend of Keras
    "heif": ["pi-heif>=1.4"],  # HEIC, the photographs of phones
    "s3": ["boto3>=1.36"],  # docs/object-stores.md
    "gcs": ["google-cloud-storage>=3.1"],
    "dataflow": ["apache-beam[gcp]>=2.77"],  # docs/dataflow.md
}
# Tools, fake stores, other readers of shards, and the benchmarks' peers.
DEVELOPMENT = [
    "pytest>=8", "pytest-xdist>=3.8", "coverage>=7.10", "hypothesis>=6.100", "ruff>=0.8",
    "pip-tools>=7.4", "moto[server]>=5.1", "gcp-storage-emulator>=2024.8", "webdataset>=1.0",
    "datasets>=5.0", "onnx>=1.17", "onnxruntime>=1.20",
]  # fmt: skip
VERSION = re.search(
    r'^VERSION = "(.+)"', (ROOT / "pipeline" / "version.py").read_text(), re.MULTILINE
)[1]

setup(
    name="srcnn-beam",
    version=VERSION,
    description="Batch pipeline that restores whole image datasets with super-resolution",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(
        include=["pipeline*", "transforms", "shards", "storage", "codec", "srcnn*", "weights"]
    ),
    py_modules=["run_pipeline"],
    package_data={
        "weights": ["*.weights.h5", "*.npz", "*.json"],
        "pipeline.reporting": ["templates/*.j2"],
    },
    install_requires=[
        "apache-beam>=2.77",
        "tensorflow>=2.18",
        "keras>=3.6",
        "opencv-python-headless>=4.10",
        "numpy>=2.0",
        "numba>=0.61",
        "scipy>=1.14",
        "scikit-image>=0.24",
        "pandas>=2.2",
        "pyarrow>=17",
        "h5py>=3.11",
        "pillow>=11.0",
        "imagecodecs>=2025.3",
        "tifffile>=2025.1",
        "matplotlib>=3.9",
        "jinja2>=3.1",
        "pydantic>=2.9",
        "pyyaml>=6.0.2",
        "tqdm>=4.66",
        "psutil>=6.0",
    ],
    extras_require={
        **EXTRAS,
        "torch": ["torch>=2.5"],  # another backend of Keras; too large for development
        "dev": [*chain.from_iterable(EXTRAS.values()), *DEVELOPMENT],
    },
    entry_points={"console_scripts": ["srcnn-beam=run_pipeline:main"]},
)

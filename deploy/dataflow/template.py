"""The launcher of a Flex Template runs this file, which adds the options that the image fixes."""

import os
import sys

from pipeline.runners.dataflow_template import main

_FIXED = (
    "--sdk_location=container",
    "--no_save_main_session",
    "--number_of_worker_harness_threads=1",
)

if __name__ == "__main__":
    image = f"--sdk_container_image={os.environ['WORKER_IMAGE']}"
    sys.exit(main([*sys.argv[1:], image, *_FIXED]))

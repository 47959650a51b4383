#!/bin/sh
# Runs the job on Dataflow and waits for it. Further arguments are the job's and Beam's.
#   PROJECT=... REGION=europe-west1 BUCKET=... IMAGE=.../srcnn-beam:0.1.0-cpu \
#   deploy/dataflow/run.sh [gpu] --input_list 'gs://BUCKET/lists/*.parquet' --output gs://BUCKET/out
set -eu
here=$(dirname "$0")
: "${PROJECT:?}" "${REGION:?}" "${BUCKET:?}" "${IMAGE:?the worker image, with its tag}"
python=${PYTHON:-$here/../../.venv/bin/python}
case ${1:-} in
  gpu)
    shift
    # One process of Beam holds the GPU; its threads decode and encode at the same time.
    set -- --engine tensorflow --machine_type "${MACHINE:-n1-standard-4}" \
      --dataflow_service_options \
      "worker_accelerator=type:${GPU:-nvidia-tesla-t4};count:1;install-nvidia-driver" \
      --experiments no_use_multiple_sdk_containers --number_of_worker_harness_threads 4 "$@"
    ;;
  *)
    # A process for each core, each with one image at a time.
    set -- --machine_type "${MACHINE:-n2-standard-4}" --number_of_worker_harness_threads 1 "$@"
    ;;
esac
exec "$python" "$here/../../run_pipeline.py" --runner DataflowRunner \
  --project "$PROJECT" --region "$REGION" \
  --staging_location "gs://$BUCKET/dataflow/staging" --temp_location "gs://$BUCKET/dataflow/temp" \
  --sdk_container_image "$IMAGE" --sdk_location container --no_save_main_session --disk_size_gb 50 "$@"

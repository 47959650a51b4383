#!/bin/sh
# Builds and pushes the images, and the Flex Template. From anywhere; needs docker and gcloud.
#   IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/srcnn-beam TAG=0.1.0 \
#   TEMPLATE=gs://BUCKET/templates/srcnn-beam.json deploy/dataflow/build.sh [cpu|gpu]
set -eu
cd "$(dirname "$0")/../.."
: "${IMAGE:?the name of the image, without a tag}" "${TAG:?its tag}"
python=${PYTHON:-.venv/bin/python}
kind=${1:-cpu}
case $kind in
  cpu) file=Dockerfile ;;
  gpu) file=gpu.Dockerfile ;;
  *) echo "error: $kind: cpu or gpu" >&2; exit 2 ;;
esac
rm -rf dist
"$python" -m build --sdist
docker build --file "deploy/dataflow/$file" --tag "$IMAGE:$TAG-$kind" .
docker push "$IMAGE:$TAG-$kind"
if [ -n "${TEMPLATE:-}" ]; then
  docker build --file deploy/dataflow/template.Dockerfile --tag "$IMAGE:$TAG-$kind-template" \
    --build-arg "WORKER_IMAGE=$IMAGE:$TAG-$kind" .
  docker push "$IMAGE:$TAG-$kind-template"
  gcloud dataflow flex-template build "$TEMPLATE" --image "$IMAGE:$TAG-$kind-template" \
    --sdk-language PYTHON --metadata-file deploy/dataflow/metadata.json
fi

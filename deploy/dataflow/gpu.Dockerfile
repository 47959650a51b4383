# Dataflow's workers with an NVIDIA GPU: TensorFlow's image, Beam's boot program, the package.
# Built by build.sh from the root of the repository. Python must be that of Beam's image.
ARG BEAM_VERSION=2.77.0
ARG TENSORFLOW_VERSION=2.21.0
FROM apache/beam_python3.11_sdk:${BEAM_VERSION} AS beam
FROM tensorflow/tensorflow:${TENSORFLOW_VERSION}-gpu
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY requirements/lock.txt dist/srcnn?beam-*.tar.gz /tmp/srcnn/
RUN python -c "import sys; assert sys.version_info[:2] == (3, 11), sys.version" \
    && pip install --no-cache-dir --constraint /tmp/srcnn/lock.txt \
        "$(ls /tmp/srcnn/*.tar.gz)[dataflow,gcs]" \
    && rm -r /tmp/srcnn
RUN cd / && python -c "from srcnn import load_model; load_model('srcnn-955_x2_bilinear')"
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
ENTRYPOINT ["/opt/apache/beam/boot"]

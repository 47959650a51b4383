# The launcher of the Flex Template: the workers' image, so that both have the same of everything.
ARG WORKER_IMAGE
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:latest AS launcher
FROM ${WORKER_IMAGE}
ARG WORKER_IMAGE
ENV WORKER_IMAGE=${WORKER_IMAGE}
COPY --from=launcher /opt/google/dataflow/python_template_launcher \
    /opt/google/dataflow/python_template_launcher
COPY deploy/dataflow/template.py /opt/srcnn/template.py
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/srcnn/template.py
ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]

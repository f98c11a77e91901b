# Penstock as a container. `docker build -t penstock .`, or for NVIDIA GPUs
# `docker build --build-arg RUNTIME=gpu -t penstock:gpu .` (run that one with `--gpus all`).

FROM python:3.11-slim AS build
# cpu or gpu: which build of ONNX Runtime goes in.
ARG RUNTIME=cpu
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gateway gateway
COPY kernels kernels
# Whoever runs an image adds nothing to it: it has the extras that a configuration may ask for.
RUN python -m venv /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The two builds share one import package and the one written last wins, so for gpu the other goes
# and the right one is written once more.
RUN case "$RUNTIME" in \
      cpu) pip install -c constraints.txt '.[auth,llm,otel]' ;; \
      gpu) pip install -c constraints.txt '.[auth,llm,otel]' && pip install -c constraints.txt '.[gpu]' \
           && pip uninstall -y onnxruntime \
           && pip install --force-reinstall --no-deps \
                "onnxruntime-gpu==$(pip show onnxruntime-gpu | sed -n 's/^Version: //p')" ;; \
      *) echo "RUNTIME: expected cpu or gpu, got '$RUNTIME'" >&2; exit 1 ;; \
    esac

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin penstock \
    && install -d -o penstock -g penstock /var/lib/penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH \
    PENSTOCK_HOME=/var/lib/penstock \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER penstock
WORKDIR /var/lib/penstock
VOLUME /var/lib/penstock
# 8000 is the data port. 8002, the control port, listens on the container's own loopback: reach it
# with `docker exec`, or share the network namespace (a side car, `--network host`).
EXPOSE 8000 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["penstock"]
CMD ["serve", "--host", "0.0.0.0"]

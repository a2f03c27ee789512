# Anomalyst as an image: the workbench by default, any other command by name. See docs/deployment.md.
#   docker build -t anomalyst .                                                       # CPU
#   docker build -t anomalyst:train --build-arg EXTRAS=train .                        # training nodes
#   docker build -t anomalyst:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 \
#       --build-arg EXTRAS=train .                                                    # GPUs
#   docker run --read-only --tmpfs /tmp -v anomalyst:/data anomalyst inspect --help
# The CUDA wheels bring CUDA's libraries; a node adds NVIDIA's driver and container toolkit.
ARG BASE=docker.io/library/debian:bookworm-slim

# hadolint ignore=DL3006
FROM ${BASE} AS python
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old

FROM python AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv binutils \
    && rm -rf /var/lib/apt/lists/*
ARG TORCH=2.13.0
# Empty: whatever PyPI has, which on x86 is the CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=serve,postgresql
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/anomalyst/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
RUN python3 -m venv /opt/anomalyst \
    && pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch==$TORCH"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN pip install -c constraints.txt ".[$EXTRAS]"
COPY deploy/image/slim.sh ./
RUN bash slim.sh /opt/anomalyst

# A product that was exported (`anomalyst export --format onnx`), and no more than its runner needs.
#   docker build -t anomalyst-runner --target runner .
#   docker run --rm --read-only -v "$PWD/line3/bolt:/product:ro" -v "$PWD/new:/new:ro" anomalyst-runner /new/1.jpg
FROM python AS runner-build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY constraints.txt ./
RUN python3 -m venv /opt/runner \
    && /opt/runner/bin/pip install --no-cache-dir -c constraints.txt numpy opencv-python-headless onnxruntime \
    && /opt/runner/bin/python -c "import cv2, numpy, onnxruntime" \
    && rm -rf /opt/runner/lib/python3*/site-packages/pip /opt/runner/lib/python3*/site-packages/pip-*

FROM python AS runner
RUN useradd --uid 10001 --no-create-home --home-dir /tmp anomalyst
COPY --from=runner-build /opt/runner /opt/runner
USER 10001:10001
ENTRYPOINT ["/opt/runner/bin/python", "/product/runner.py"]

FROM python AS image
LABEL org.opencontainers.image.title="Anomalyst" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Visual inspection that learns a product from one good picture"
# Only /data and /tmp are written to, so the root file system may be read-only.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp anomalyst \
    && install -d -o anomalyst -g anomalyst /data
COPY --from=build /opt/anomalyst /opt/anomalyst
ENV PATH=/opt/anomalyst/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
# Runs what the image is for: an image that lacks a part is never tagged. The bytecode that this
# writes, of what is used and no more, is kept, for nothing can write it later.
COPY deploy/image/try.sh /opt/anomalyst/bin/try-image
RUN bash /opt/anomalyst/bin/try-image && rm -rf /tmp/* /root/.cache
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/api/v1/ready', timeout=4)"]
ENTRYPOINT ["anomalyst"]
CMD ["serve", "--host", "0.0.0.0", "--keys", "--home", "/data/home", "--products", "/data/products", "--runs", "/data/runs"]

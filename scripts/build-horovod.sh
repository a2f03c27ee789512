#!/usr/bin/env bash
# Build Horovod 0.28.1 against the torch that is installed, for `anomalyst train --engine horovod`.
# Its own build asks for C++14; torch's headers need C++17. Takes about four minutes on two cores.
#   PYTHON=.venv/bin/python scripts/build-horovod.sh
set -euo pipefail
PYTHON=$(command -v "${PYTHON:-python3}")
[[ $PYTHON = /* ]] || PYTHON=$PWD/$PYTHON
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$PYTHON" -c 'import torch' || { echo "Install torch first." >&2; exit 2; }
command -v cmake >/dev/null || { echo "cmake is needed: apt install cmake g++." >&2; exit 2; }
"$PYTHON" -m pip install --quiet setuptools wheel packaging cloudpickle psutil pyyaml cffi
"$PYTHON" -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation -d "$work" horovod==0.28.1
tar -xzf "$work"/horovod-0.28.1.tar.gz -C "$work"
cd "$work"/horovod-0.28.1
sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 17)/' CMakeLists.txt horovod/torch/CMakeLists.txt
HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_CPU_OPERATIONS=GLOO HOROVOD_WITHOUT_MPI=1 \
HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 MAKEFLAGS=-j$(nproc) \
    "$PYTHON" -m pip install --no-build-isolation --no-deps .
cd /
"$PYTHON" -c 'import horovod.torch as hvd; hvd.init(); print("Horovod is built:", hvd.size(), "process")'

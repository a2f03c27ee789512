#!/usr/bin/env bash
# Takes out of a virtual environment what only building and testing need: headers, test programs,
# symbols, the installer itself. Usage: slim.sh VENV
set -euo pipefail
packages=$(echo "$1"/lib/python3*/site-packages)
rm -rf "$packages"/torch/{include,test,share} "$packages"/torch/lib/*test*.so "$packages"/torch/lib/*.a
find "$packages"/torch/bin -type f ! -name torch_shm_manager -delete  # torch asks for this one
rm -rf "$packages"/pyarrow/{include,tests,src} "$packages"/pyarrow/*.pyx
rm -rf "$packages"/{numpy,scipy,pandas,sklearn,matplotlib}/tests "$packages"/pandas/_testing/data
find "$packages"/scipy "$packages"/numpy "$packages"/sympy "$packages"/networkx "$packages"/sklearn \
    -type d -name tests -prune -exec rm -rf {} + 2>/dev/null || true
find "$packages" -name '*.pyi' -delete
# Not in *.libs: there names were patched in, and strip breaks what was patched.
strip --strip-unneeded "$packages"/torch/lib/*.so
rm -rf "$packages"/pip "$packages"/pip-* "$1"/bin/pip*
find "$1" -type d -name __pycache__ -prune -exec rm -rf {} +

#!/usr/bin/env bash
# Does in small what the image is for, and fails if any of it fails. Run once, while the image is built.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
anomalyst --version
anomalyst --threads 1 demo --out "$work/demo" >"$work/log" 2>&1 || [ $? -eq 1 ] || { cat "$work/log"; exit 1; }
grep -q anomalous "$work/log" || { echo "The demo found nothing:"; cat "$work/log"; exit 1; }
if python -c 'import fastapi' 2>/dev/null; then
    anomalyst --threads 1 serve --port 7861 --home "$work/home" --products "$work/products" >"$work/log" 2>&1 &
    server=$!
    ready='import urllib.request as u; u.urlopen("http://127.0.0.1:7861/api/v1/ready", timeout=4)'
    for _ in $(seq 120); do
        python -c "$ready" 2>/dev/null && break
        kill -0 $server 2>/dev/null || { echo "The server ended:"; cat "$work/log"; exit 1; }
        sleep 1
    done
    python -c "$ready" || { cat "$work/log"; exit 1; }
    kill $server
    wait $server || true
fi
if python -c 'import peft' 2>/dev/null; then
    anomalyst train --help >/dev/null
    python -c 'import anomalyst.training.loop, anomalyst.training.tasks'
fi
echo "The image does what it is for."

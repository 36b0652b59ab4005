#!/usr/bin/env bash
# Builds the wheel and tries it in empty environments on each Python: what a service needs, then a day of the pipeline.
#   tests/packages/check_wheel.sh [VERSION...]      3.11 and 3.12 by default; uv finds or fetches the interpreters
set -euo pipefail
cd "$(dirname "$0")/../.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
uv build --quiet --wheel --out-dir "$made" .
wheel=$(echo "$made"/divspa-*.whl)
if python3 -m zipfile -l "$wheel" | grep -E '^(schemas|pyspark)/'; then
  echo "the wheel writes beside divspa" >&2
  exit 1
fi
cd "$made"
unset PYTHONPATH
[ $# -gt 0 ] || set -- 3.11 3.12
for python in "$@"; do
  uv venv --quiet --python "$python" "$python"
  uv pip install --quiet --python "$python/bin/python" "divspa[serving] @ file://$wheel"
  "$python/bin/python" - << 'PROGRAM'
import divspa
from divspa.errors import SetupError
from divspa.serving import Recall, Request

try:
    divspa.search
except SetupError as error:
    print(f"a service alone: {Recall.__name__}, {Request.__name__}; {error}")
else:
    raise SystemExit("the pipeline came along")
PROGRAM
  uv pip install --quiet --python "$python/bin/python" "divspa[pipeline] @ file://$wheel"
  "$python/bin/divspa" generate --out "log-$python" --users 300 --items 100 --clicks 3000
  "$python/bin/divspa" run --config "log-$python/divspa.yaml" --ds 2024-01-14 --set training.epochs=1 --set spark.driver_memory=1g --json > "day-$python.json"
  "$python/bin/python" - "day-$python.json" << 'PROGRAM'
import json
import sys

day = json.load(open(sys.argv[1]))
print(sys.version.split()[0], day["seconds"], "s:", ", ".join(day["stages"]), "published:", day["published"]["channel"])
PROGRAM
done

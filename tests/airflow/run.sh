#!/usr/bin/env bash
# Builds Airflow's own environment from the lock into .venv-airflow and runs the checks of the DAG in it.
#   tests/airflow/run.sh                 everything; the runs of real jobs need the main .venv and Java
#   tests/airflow/run.sh check_dag.py    only what needs no Spark; further arguments go to pytest
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
environment="$root/.venv-airflow"
lock="$here/requirements-airflow.lock"

# The environment is as old as its lock: it is made anew when the lock has changed.
if ! cmp -s "$lock" "$environment/requirements-airflow.lock"; then
  uv venv --quiet --clear --python 3.11 "$environment"
  uv pip install --quiet --python "$environment/bin/python" --require-hashes -r "$lock"
  cp "$lock" "$environment/"
fi

# The main environment's pyright checks the DAG's types against Airflow's own packages.
"$root/.venv/bin/pyright" --project "$here"

cd "$here"
exec env -u VIRTUAL_ENV -u PYTHONPATH "$environment/bin/python" -m pytest -c "$here/pytest.ini" --rootdir "$here" "$@"

#!/usr/bin/env bash
# Runs the unit tests with other versions than those of constraints.txt: tools/test_versions.sh RESOLUTION FOLDER
# RESOLUTION is uv's: `lowest-direct`, the oldest of what pyproject.toml names itself, or `highest`.
set -euo pipefail
cd "$(dirname "$0")/.."
uv venv --quiet --allow-existing "$2"
# Bytecode as pip makes it: without, a library's SyntaxWarning comes with each import, and warnings are errors here.
uv pip install --quiet --compile-bytecode --resolution "$1" --python "$2/bin/python" --editable ".[dev]"
exec "$2/bin/python" -m pytest tests/unit -n auto -p no:cacheprovider

"""The service is a light process."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("mlflow", "pandas", "pyarrow", "deltalake", "polars", "sqlalchemy", "sklearn", "airflow", "onnx")


def test_what_serves_imports_nothing_that_trains_or_stores() -> None:
    program = (
        "import sys, autotrader.bootstrap, autotrader.apps.serving.serve, onnxruntime\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

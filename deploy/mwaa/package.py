"""What Amazon MWAA is given, as files of a folder; the same sources give the same bytes.

`python deploy/mwaa/package.py FOLDER` writes `dags/`, `plugins.zip` (this package as a wheel without
dependencies, and the constraints), `requirements.txt` and `startup.sh`. Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can tell


def package(folder: Path) -> None:
    """Write everything into the folder, which is made new."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "dags").mkdir(parents=True)
    for file in sorted((ROOT / "dags").glob("*.py")):
        shutil.copy(file, folder / "dags" / file.name)
    for name in ("requirements.txt", "startup.sh"):
        shutil.copy(ROOT / "deploy/mwaa" / name, folder / name)
    requirement = (folder / "requirements.txt").read_text().splitlines()[-1]
    name, wheel = _wheel(requirement.partition("==")[2])
    constraints = (ROOT / "deploy/mwaa/constraints.txt").read_bytes()
    _zip(folder / "plugins.zip", {name: wheel, "constraints.txt": constraints})


def _wheel(version: str) -> tuple[str, bytes]:
    """Our sources as a wheel that depends on nothing: MWAA's pip would refuse one that wants SQLAlchemy 2."""
    source = ROOT / "src"
    files = {
        file.relative_to(source).as_posix(): file.read_bytes()
        for file in sorted((source / "autotrader").rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    info = f"autotrader-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: autotrader\nVersion: {version}\nRequires-Python: >=3.11\n"
    files[f"{info}/METADATA"] = metadata.encode()
    tag = "Wheel-Version: 1.0\nGenerator: autotrader\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/WHEEL"] = tag.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = io.BytesIO()
    _zip(wheel, files)
    return f"autotrader-{version}-py3-none-any.whl", wheel.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _zip(path: Path | io.BytesIO, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python deploy/mwaa/package.py FOLDER")
    package(Path(sys.argv[1]))

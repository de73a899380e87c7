"""All that helps to find a fault, in one file without secrets: `python -m autotrader.diagnosis.full`."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.diagnosis.masking import Mask
from autotrader.diagnosis.patience import told
from autotrader.diagnosis.sections import SECTIONS
from autotrader.domain.errors import ConfigurationError
from autotrader.files import SECRET, write_atomically
from autotrader.ports.clock import WallClock

SECTION_SECONDS = 120.0  # of the slowest: the production check, of ten stages


def full(
    *,
    folder: Path | None = None,
    section_seconds: float = SECTION_SECONDS,
    settings: Settings,
    clock: WallClock,
) -> command.Result:
    """Write versions, settings, health, errors, alerts, figures and logs into one archive for an issue.

    A section that cannot be read says why. Secrets are masked by value and by name. Nothing is changed.

    Parameters
    ----------
    folder : Path or None
        Where to write it; <home>/diagnosis if left out.
    section_seconds : float
        Patience with one section.
    """
    if section_seconds <= 0:
        raise ConfigurationError(f"expected patience of more than 0 s, was {section_seconds:g}")
    mask, at = Mask(settings), clock.now()
    parts = {
        name: mask.text(told(partial(section, settings), seconds=section_seconds))
        for name, section in SECTIONS.items()
    }
    name = f"autotrader-diagnosis-{at:%Y%m%dT%H%M%SZ}"
    path = (folder or settings.home / "diagnosis").resolve() / f"{name}.tar.gz"
    write_atomically(path, _packed(name, parts, at), mode=SECRET)
    absent = [name for name, text in parts.items() if text.startswith("not available")]
    lines = [f"wrote {path} ({path.stat().st_size / 1024:.0f} KiB, {len(parts)} sections)"]
    lines += [f"  {name}: {parts[name].partition(chr(10))[0]}" for name in absent]
    lines.append(
        "Secrets are masked; instruments, versions and paths are not: look through it before you send it."
    )
    return command.Result({"path": path, "sections": list(parts), "not_available": absent}, "\n".join(lines))


def _packed(name: str, parts: Mapping[str, str], at: datetime) -> bytes:
    """A gzipped tar with one folder of that name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part, text in parts.items():
            content = f"{text}\n".encode(errors="replace")
            entry = tarfile.TarInfo(f"{name}/{part}")
            entry.size, entry.mtime, entry.mode = len(content), int(at.timestamp()), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


if __name__ == "__main__":
    raise SystemExit(command.run(full))

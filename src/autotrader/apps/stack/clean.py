"""Remove local state."""

from __future__ import annotations

import shutil

from autotrader import command
from autotrader.apps.stack import services
from autotrader.config.settings import Settings
from autotrader.domain.errors import Refused

KEPT = "ledger"


def clean(*, settings: Settings) -> command.Result:
    """Stop the stack and delete its local state; the trial ledger stays.

    Trials are kept because the overfitting statistics count every model ever tried on the data:
    forgetting them would make luck look like skill.
    """
    home = settings.home.resolve()
    if home.exists() and not (home / "processes").is_dir():
        raise Refused(f"expected a home that quickstart made, was {home}: delete it by hand if you mean it")
    services.stop(settings)
    removed = sorted(path.name for path in home.iterdir() if path.name != KEPT)
    for name in removed:
        path = home / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    kept = home / KEPT
    text = f"removed {', '.join(removed) or 'nothing'} from {home}"
    if kept.exists():
        text += f"; kept {kept} (the trial ledger)"
    return command.Result({"home": home, "removed": removed, "kept": [kept] if kept.exists() else []}, text)


if __name__ == "__main__":
    raise SystemExit(command.run(clean))

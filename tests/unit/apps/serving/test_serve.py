"""Where the service may be asked from."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.apps.serving.serve import serve
from autotrader.config.settings import ServingSettings, Settings
from autotrader.domain.errors import ConfigurationError, NotFound
from autotrader.domain.rollout import Color


def run(folder: Path, host: str, token: str | None) -> None:
    settings = Settings(home=folder, serving=ServingSettings(token=token))  # type: ignore[arg-type]
    serve(settings=settings, color=Color.BLUE, release=folder / "none", log=folder, port=0, host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "some-host"])  # noqa: S104 - refused
def test_beyond_loopback_the_callers_token_must_be_set(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"AUTOTRADER_SERVING__TOKEN: expected the callers' token"):
        run(tmp_path, host, None)


@pytest.mark.parametrize(
    ("host", "token"),
    [("127.0.0.1", None), ("0.0.0.0", "a-token")],  # noqa: S104 - ends at once
)
def test_else_it_goes_on_to_load_its_release(tmp_path: Path, host: str, token: str | None) -> None:
    with pytest.raises(NotFound, match="fetch the release again"):
        run(tmp_path, host, token)

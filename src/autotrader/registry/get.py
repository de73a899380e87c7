"""Show one version of a model."""

from __future__ import annotations

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.ports.registry import ModelRegistry, ModelVersion


def get(
    *, version: str, model: str | None = None, settings: Settings, registry: ModelRegistry
) -> command.Result:
    """Show one version of a model: its status and why, its aliases, and what it was made of.

    Parameters
    ----------
    version : str
        Semver (v1.2.3), number (7) or alias (champion, challenger, previous).
    model : str
        Registered model; default: the strategy's.
    """
    found = registry.get(model or settings.strategy.strategy_id, version)
    return command.Result(found, _text(found))


def _text(version: ModelVersion) -> str:
    heading = {"semver", "status", "reason", "onnx_sha256", "training_run"}
    lines = {
        "status": f"{version.status} ({version.reason})",
        "aliases": ", ".join(version.aliases) or "none",
        "created": version.created_at.isoformat(),
        "onnx_sha256": version.onnx_sha256,
        "training_run": version.run_id,
        **{k: v for k, v in sorted(version.tags.items()) if k not in heading},
    }
    width = max(map(len, lines))
    rows = [f"  {name:<{width}}  {value}" for name, value in lines.items()]
    return "\n".join([f"{version.name} {version.semver} (number {version.version})", *rows])


if __name__ == "__main__":
    raise SystemExit(command.run(get))

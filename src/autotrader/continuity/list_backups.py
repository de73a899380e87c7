"""The backup sets that there are."""

from __future__ import annotations

from autotrader import command
from autotrader.adapters.objects import open_objects
from autotrader.config.settings import Settings
from autotrader.continuity import sets
from autotrader.domain.errors import BadData, ExitCode


def list_backups(*, source: str | None = None, settings: Settings) -> command.Result:
    """The backup sets that there are, newest first. Exit code 1 if one is damaged.

    Parameters
    ----------
    source : str
        Folder or s3://bucket/prefix of the sets; default: the setting.
    """
    store = open_objects(source or settings.backup_uri, settings.aws)
    rows: list[dict[str, object]] = []
    for set_id in sets.complete_ids(store):
        try:
            found = sets.load(store, set_id)
        except BadData as error:
            rows.append(
                {"set": set_id, "state": "DAMAGED", "as_of": None, "bytes": None, "reason": str(error)}
            )
        else:
            state = {"set": set_id, "state": "complete", "as_of": found.as_of, "bytes": found.size}
            rows.append({**state, "reason": ""})
    incomplete = sets.incomplete_ids(store)
    lines = [
        f"{r['set']}  {r['state']:<9} {r['bytes'] if r['bytes'] is not None else '-':>14} bytes" for r in rows
    ]
    lines += [f"{set_id}  incomplete: under way, or given up; nobody restores it" for set_id in incomplete]
    damaged = any(row["state"] == "DAMAGED" for row in rows)
    return command.Result(
        {"place": store.uri, "sets": rows, "incomplete": incomplete},
        "\n".join(lines) or f"no backup set in {store.uri}",
        ExitCode.FAILED if damaged else ExitCode.DONE,
    )


if __name__ == "__main__":
    raise SystemExit(command.run(list_backups))

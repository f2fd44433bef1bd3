"""Committed records from the files that commands write.

| file | written by | records |
|---|---|---|
| results file (.jsonl) | `benchmarks`, `load_study` | the newest of each setting, of a quiet machine |
| run folder, or its result.json | a training | its model, and each baseline; its time only of a quiet machine |
| JSON of a comparison | `python -m recsys_core.compare --json` | each model's difference to the reference |
| JSON of baselines | `python -m recsys_core.baselines --json` | each baseline |
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages.fields import described
from recsys_core.measuring.conditions import busy_reason, quiet_ones
from recsys_core.measuring.records import Record, newest, read

PLACEHOLDERS = {"--data": "D", "--run-dir": "R", "--export": "RUN/export", "--out": "O", "--resume": "R"}
"""Flag -> what stands for the path that follows it."""
LEFT_OUT = ("--results", "--json", "--html", "--markdown", "--picture", "--keep", "--kept", "--folder")
"""Flags of files and folders that a command writes beside what it measures."""

LOAD_TIME = re.compile(r"(mean|p\d+)(_of_all)?_s")
"""Fields of a load that are an estimate with its interval."""


def generic(command: str, ranks: int = 1) -> str:
    """A command without the paths of its machine: D for the data set, R for the run, last parts of other paths.

    Args:
        ranks: of the job; the launcher is not in the command that a rank knows.
    """
    found: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in LEFT_OUT:
            if not equals:
                next(words, None)
        elif flag in PLACEHOLDERS:
            if not equals:
                next(words, None)
            found += [flag, PLACEHOLDERS[flag]]
        elif word != "--busy":
            is_path = "/" in word and not word.startswith("-") and "@" not in word  # hr@10/all is a metric
            found.append(word.rsplit("/", 1)[-1] if is_path else word)
    if ranks > 1 and found[0] != "horovodrun":
        found = ["horovodrun", "-np", str(ranks), *found]
    return shlex.join(found)


def _circumstances(content: Mapping[str, Any], path: Path, ranks: int = 1) -> Record:
    """
    Raises:
        ValueError: an earlier version wrote the file, without its command.
    """
    measured = content.get("measured")
    if not isinstance(measured, Mapping) or not measured.get("command"):
        raise ValueError(f"{path} does not say which command made it (an earlier version wrote it); run it again")
    return {**measured, "command": generic(str(measured["command"]), ranks)}


def _time(seconds: float, about: Record) -> Record:
    """The field `seconds`; none where the machine was busy, or where that is not known."""
    conditions = about.get("conditions")
    return {"seconds": seconds} if conditions and busy_reason(conditions) is None else {}


def _metrics(evaluation: Mapping[str, Any], prefix: str = "") -> Record:
    """Metric -> mean and standard error."""
    return {
        f"{prefix}{name}": {"mean": value["mean"], "standard_error": value["standard_error"]}
        for name, value in evaluation["metrics"].items()
    }


def of_run(folder: Path) -> list[Record]:
    """A training: its model, named by its preset, and its baselines."""
    path = folder / "result.json"
    content, manifest = json.loads(path.read_text()), json.loads((folder / "run.json").read_text())
    about = _circumstances(content, path, content.get("world_size", 1))
    model = str(manifest["config"].get("preset") or manifest["model"])
    time = _time(content["seconds"], about)
    found = [{"model": model, **time, **_metrics(content["test"]), **_metrics(content["validation"], "validation.")}]
    for name, result in content["baselines"].items():
        found.append({"model": name, **_metrics(result["test"]), **_metrics(result["validation"], "validation.")})
    return [{"kind": "training", **about, **values} for values in found]


def of_comparison(content: Mapping[str, Any], path: Path) -> list[Record]:
    """The differences of models to the reference, each named as a baseline ("R:ease") or as its run."""
    about = _circumstances(content, path)
    reference = _model_name(content["reference"])
    found = []
    for name, values in content["models"].items():
        if values.get("difference") is not None:
            interval = {"value": values["difference"], "low": values["low"], "high": values["high"]}
            figure = {f"less_{reference}.{content['metric']}": interval}
            found.append({"kind": "comparison", **about, "model": _model_name(name), **figure})
    return found


def _model_name(run: str) -> str:
    """The baseline of "RUN:NAME", else the preset of a run folder, else the name of the folder or file."""
    folder, colon, name = run.partition(":")
    manifest = Path(folder) / "run.json"
    if colon:
        return name
    if manifest.is_file():
        return str(json.loads(manifest.read_text())["config"].get("preset") or Path(folder).name)
    return Path(folder).stem


def of_baselines(content: Mapping[str, Any], path: Path) -> list[Record]:
    """Each baseline with its metrics and its differences to the reference."""
    about = _circumstances(content, path)
    if content["split"] != "test":
        raise ValueError(f"{path} holds baselines on the {content['split']} users, expected test users")
    found = []
    for name, values in content["baselines"].items():
        differences = {
            f"less_{content['reference']}.{metric}": {"value": d["mean"], "low": d["low"], "high": d["high"]}
            for metric, d in values["differences"].items()
        }
        figures = {**_metrics(values), **_time(values["fit_seconds"], about), **differences}
        found.append({"kind": "training", **about, "model": name, **figures})
    return found


def of_results_file(path: Path, kinds: Sequence[str]) -> list[Record]:
    """The newest record of each setting of a results file.

    Args:
        kinds: of the records; all if empty.

    Raises:
        ValueError: every record is of a busy machine.
    """
    records, left_out = quiet_ones([r for r in read(path) if not kinds or r["kind"] in kinds])
    if not records:
        why = f"all {left_out} of a busy machine; measure again, or take them with --busy" if left_out else "none"
        raise ValueError(f"{path} holds no record to keep{f' of {list(kinds)}' if kinds else ''}: {why}")
    kept = [record for own in newest(records).values() for record in own]
    return [{**record, **_intervals(record), "command": generic(record["command"])} for record in kept]


def _intervals(record: Mapping[str, Any]) -> Record:
    """The times of a load, which are written as [value, low, high], as intervals: no list of windows."""
    if record["kind"] != "load":
        return {}
    found = {name: value for name, value in record.items() if isinstance(value, list) and LOAD_TIME.fullmatch(name)}
    return {name: dict(zip(("value", "low", "high"), value, strict=True)) for name, value in found.items()}


def collected(path: Path, kinds: Sequence[str] = ()) -> list[Record]:
    """The records of one file or run folder, as the module describes.

    Raises:
        ValueError: the file is none of these, or does not say how it was made.
    """
    if path.is_dir() or path.name == "result.json":
        folder = path if path.is_dir() else path.parent
        if not (folder / "result.json").is_file() or not (folder / "run.json").is_file():
            raise ValueError(
                f"{path} is no finished run (no result.json and run.json), expected a run folder or a file"
            )
        return of_run(folder)
    if path.suffix == ".jsonl":
        return of_results_file(path, kinds)
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from None
    for key, reader in (("models", of_comparison), ("baselines", of_baselines)):
        if isinstance(content, dict) and key in content:
            return reader(content, path)
    raise ValueError(f"{path} is no file of results, expected a run, *.jsonl, or the --json of compare or baselines")


def _without_path(value: Any) -> Any:
    """The last part of an absolute path; any other value as it is."""
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def named(records: Sequence[Record], name: str, data: str, more: Mapping[str, Any]) -> list[Record]:
    """Records for a group, with their units.

    Args:
        name: of the group.
        data: the command that makes the data set; "" for none.
        more: fields that name the rows of the group.
    """
    found = []
    for record in records:
        values = {k: _without_path(v) for k, v in record.items() if k not in ("invalid", "torch", "data")}
        about: Record = {"name": name, **values, **({"data": data} if data else {}), **more}
        found.append({**about, "fields": described(about)})
    return found

"""Command lines and YAML files as configurations: defaults < preset < YAML file < flags; or a run to resume, and flags.

tyro turns the configuration classes into flags and dacite reads the YAML; the joining of the two, the help and the
messages are ours.
Nothing here imports TensorFlow, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dacite
import tyro
import yaml

from recsys_core import flag_help, run_manifest
from recsys_core.baselines import check_installed
from recsys_core.config import ModelSpec, check, plain
from recsys_core.config_changes import differences
from recsys_core.evaluation.condition import check_decides
from recsys_core.evaluation.criteria import criteria
from recsys_core.flag_check import check_words
from recsys_core.flag_list import flags_of
from recsys_core.tracking.request import check_track

C = TypeVar("C")
HELP = {"-h": flag_help.short_help, "--help": flag_help.short_help, "--help-all": flag_help.full_help}
EARLY = ("--preset", "--config", "--resume", "--final-fit", *HELP)
"""Flags that decide which configuration the others change, and those of the help."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What a training command line asks for."""

    config: Any
    resume: bool
    is_changed: bool = True
    """Whether other flags stand beside --resume."""


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if nested else value
    return both


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text and 1 as an integer; both are fine where a float is expected."""
    try:
        return float(value) if isinstance(value, int | str) and not isinstance(value, bool) else value
    except ValueError:
        return value


def from_plain(given: Mapping[str, Any], base: C, name: str, renamed: Mapping[str, str] | None = None) -> C:
    """`base` with the values of dictionaries in its place.

    Args:
        name: what the values were read from, for the message.
        renamed: settings of earlier versions -> their names today.

    Raises:
        ValueError: something unknown, or a value of another type.
    """
    given = run_manifest.with_new_names(given, renamed) if renamed is not None else given
    required = [n for n in ("data", "run_dir") if getattr(base, n) is tyro.MISSING and n not in given]
    values = _merged(plain(base), given) | dict.fromkeys(required, "")
    try:
        rules = dacite.Config(strict=True, cast=[Path, tuple], type_hooks={float: _number})
        read = dacite.from_dict(type(base), values, rules)  # type: ignore[type-var]
    except (dacite.DaciteError, TypeError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from None
    return dataclasses.replace(read, **dict.fromkeys(required, tyro.MISSING))  # type: ignore[type-var]


def from_yaml(path: Path, base: C, renamed: Mapping[str, str] | None = None, flag: str = "--config") -> C:
    """`base` with the values of a YAML file in its place.

    A file that names another preset than `base` has starts from that preset.

    Args:
        flag: the flag that named the file, for messages.

    Raises:
        ValueError: the file is missing, not YAML, or holds something unknown or of another type.
    """
    name = f"{flag} {path}"
    given = _read_yaml(path, name)
    preset = given.get("preset")
    if isinstance(preset, str) and preset and preset != base.preset:  # type: ignore[attr-defined]
        base = _of_preset(base, preset, name)
    return from_plain(given, base, name, renamed or {})


def _of_preset(base: C, preset: Any, name: str) -> C:
    """`base` with another preset and its components."""
    known = base.PRESETS  # type: ignore[attr-defined]
    if preset not in known:
        raise ValueError(f"{name}: unknown preset {preset!r}, known are: {', '.join(known)}")
    config = known[preset].config  # of another class than `base`, where it is of another model
    values = {f.name: getattr(base, f.name) for f in dataclasses.fields(config)}
    own = {key: value for key, value in values.items() if not dataclasses.is_dataclass(value)}
    return dataclasses.replace(config, **own | {"preset": preset})


def _read_yaml(path: Path, name: str) -> dict[str, Any]:
    try:
        given = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{name} does not exist") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{name} holds {type(given).__name__}, expected names and values")
    return given


def _parse_known(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error.argument_name}: {error.message}; see --help") from None


def _early_arguments(spec: ModelSpec, argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The flags that decide which configuration the others change, and the others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--resume", nargs="?", const="")
    if _has_final_fit(spec):
        parser.add_argument("--final-fit", "--final_fit")
    known, rest = _parse_known(parser, argv)
    old = {f"--{name.replace('_', '-')}": f"--{new.replace('_', '-')}" for name, new in spec.renamed.items()}
    old |= {"--amp": "--precision auto", "--no-amp": "--precision fp32"}
    for word in rest:
        flag = word.split("=", 1)[0].replace("_", "-")
        if flag in old and word.startswith("--"):
            raise ValueError(f"{flag} is now {old[flag]}")
    return known, rest


def _run_to_resume(resume: str, rest: Sequence[str]) -> Path:
    """The run folder of `--resume RUN`, or of `--resume --run-dir RUN`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--run-dir", "--run_dir", type=Path)
    also = _parse_known(parser, list(rest))[0].run_dir
    if not resume:
        if also is None:
            raise ValueError("--resume needs the folder of a run, as --resume runs/first")
        return also
    if also is not None and also.absolute() != Path(resume).absolute():
        raise ValueError(f"--resume is {resume} and --run-dir {also}; leave --run-dir out")
    return Path(resume)


def parse(spec: ModelSpec, argv: Sequence[str] | None = None) -> TrainRequest:
    """The configuration that a training command line asks for, with absolute paths.

    Raises:
        ValueError: an unknown preset or flag, a missing flag, or a value that cannot be used; with --resume a setting
            that is not the run's.
        SystemExit: after `--help` and `--help-all`, with status 0.
    """
    early, rest = _early_arguments(spec, argv)
    shown = next((HELP[word] for word in rest if word in HELP), None)
    if early.resume is not None and shown is None:
        return _resumed(spec, early, rest)
    if _has_final_fit(spec) and early.final_fit is not None and shown is None:
        return _final_fit(spec, early, rest)
    base = _base(spec, early)
    if shown is not None:
        print(shown(spec, base))
        raise SystemExit(0)
    return TrainRequest(config=_with_flags(spec, base, rest), resume=False)


def _base(spec: ModelSpec, early: argparse.Namespace) -> Any:
    """What the flags change: a preset, with the values of a YAML file in its place."""
    base = _preset(spec, early.preset or next(iter(spec.presets)))
    name = base.preset
    if early.config is not None:
        base = from_yaml(early.config, base, spec.renamed)
    if early.preset and base.preset != name:
        raise ValueError(f"--preset is {name}, --config {early.config} has preset {base.preset}; leave one of them out")
    return base


def _preset(spec: ModelSpec, name: str) -> Any:
    """The configuration of a preset, or of a preset file: a YAML file that names a preset and what it changes."""
    if not is_file_name(name):
        if name not in spec.presets:
            raise ValueError(f"unknown preset {name!r}, known are: {', '.join(spec.presets)}")
        return spec.presets[name].config
    first = next(iter(spec.presets.values())).config
    if not _read_yaml(Path(name), f"--preset {name}").get("preset"):
        raise ValueError(f"--preset {name} names no preset to start from; known are: {', '.join(spec.presets)}")
    return from_yaml(Path(name), first, spec.renamed, "--preset")


def is_file_name(preset: str) -> bool:
    """Whether a value of --preset is a file, not a name."""
    return preset.endswith((".yaml", ".yml")) or "/" in preset or os.sep in preset


def _resumed(spec: ModelSpec, early: argparse.Namespace, rest: Sequence[str]) -> TrainRequest:
    """The configuration of the run, changed by flags that may change."""
    folder = _run_to_resume(early.resume, rest)
    if any(word.replace("_", "-").partition("=")[0] == "--warm-start" for word in rest):
        raise ValueError(f"--resume {folder} goes on with the parameters of that run; leave --warm-start out")
    run = run_manifest.read(folder, "--resume", spec.family, spec.renamed)
    if run.data is None:
        raise ValueError(f"--resume: {folder} was trained on a data set in memory; go on from Python, fit(resume=True)")
    base = dataclasses.replace(spec.preset(run.config.get("preset")).config, data=Path(), run_dir=folder)
    own = from_plain({**spec.earlier, **run.config}, base, str(folder))
    own = dataclasses.replace(own, run_dir=folder.absolute())
    if early.config is not None:
        changed = dataclasses.replace(from_yaml(early.config, own, spec.renamed), run_dir=own.run_dir)
        _refuse_differences(own, changed, folder)
        own = changed
    if early.preset is not None and early.preset != own.preset:
        raise ValueError(f"--resume: --preset is {early.preset}, the run in {folder} has {own.preset}; leave it out")
    config = dataclasses.replace(_with_flags(spec, own, rest), run_dir=own.run_dir)
    if config.data == run.data and not run.data.is_dir():
        raise ValueError(f"--resume {folder}: its data set {run.data} is not there; name where it is now with --data")
    _refuse_differences(own, config, folder)
    return TrainRequest(config=config, resume=True, is_changed=bool(rest) or early.config is not None)


def _has_final_fit(spec: ModelSpec) -> bool:
    """Whether the models of a family are trained on all users by a run of its own (`training.final_fit`)."""
    return all(hasattr(preset.config, "final_fit") for preset in spec.presets.values())


def _final_fit(spec: ModelSpec, early: argparse.Namespace, rest: Sequence[str]) -> TrainRequest:
    """The configuration of a finished run, for training on all users; flags may change what does not change that."""
    folder = Path(early.final_fit)
    if early.preset is not None or early.config is not None:
        raise ValueError(f"--final-fit {folder} takes every setting from that run; leave --preset and --config out")
    run = run_manifest.read(folder, "--final-fit", spec.family, spec.renamed)
    if run.data is None:
        raise ValueError(f"--final-fit: {folder} was trained on a data set in memory; use FinalFit from Python")
    base = dataclasses.replace(spec.preset(run.config.get("preset")).config, data=Path(), run_dir=folder)
    own = from_plain({**spec.earlier, **run.config}, base, str(folder))
    if own.final_fit:
        raise ValueError(f"--final-fit: {folder} is a final fit itself, of {own.final_fit}; name that one")
    asked = dataclasses.replace(own, run_dir=tyro.MISSING, final_fit=str(folder.absolute()))
    config = _with_flags(spec, asked, rest)
    _refuse_differences(dataclasses.replace(asked, run_dir=config.run_dir), config, folder, "--final-fit")
    return TrainRequest(config=config, resume=False)


def _refuse_differences(own: Any, config: Any, folder: Path, flag: str = "--resume") -> None:
    found = differences(own, config, own.FREE)
    if flag == "--resume":  # a run may be made longer; `runs.create` says which
        found = [(name, old, new) for name, old, new in found if name != "training.epochs" or new < old]
    if found:
        listed = "; ".join(
            f"--{name.rpartition('.')[2].replace('_', '-')} is {new!r}, the run has {old!r}" for name, old, new in found
        )
        raise ValueError(f"{flag} {folder}: {listed}. Leave out what the run was not started with")


def _with_flags(spec: ModelSpec, base: Any, rest: Sequence[str]) -> Any:
    command = flag_help.command_of(spec)
    check_words(rest, flags_of(base), EARLY, command)
    config = tyro.cli(type(base), default=base, args=list(rest), prog=command, config=(tyro.conf.OmitArgPrefixes,))
    check(config)
    check_installed(config.evaluation.baselines)
    check_track(config.track, export=config.track_export, register=config.track_register)
    check_decides(criteria(config.evaluation).primary, "--primary")  # before TensorFlow starts
    started_from = str(Path(config.warm_start).absolute()) if config.warm_start else ""
    return dataclasses.replace(
        config, data=config.data.absolute(), run_dir=config.run_dir.absolute(), warm_start=started_from
    )

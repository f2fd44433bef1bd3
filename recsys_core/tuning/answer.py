"""The answer of a search: `best.yaml`, a preset file for `--preset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from recsys_core.files import write_text
from recsys_core.tuning.report import measured
from recsys_core.tuning.spaces import nested

if TYPE_CHECKING:
    from recsys_core.tuning.request import SearchRequest
    from recsys_core.tuning.study import Outcome

BEST = "best.yaml"


def preset_file(request: SearchRequest, best: Outcome, outcomes: Sequence[Outcome]) -> str:
    """The text of the preset file of a trial: comments, the name of the base preset, and the settings that differ.

    It repeats the trial: the same settings, the same seed and the same epochs of evaluation.
    """
    settings: dict[str, Any] = dict(best.settings)
    content: dict[str, Any] = {"preset": request.preset_name, **nested(request.preset.config, settings)}
    own = {"evaluate_every": request.evaluate_every, "seed": request.seed}
    content["training"] = content.get("training", {}) | own
    if request.metric != request.preset.config.evaluation.primary:
        content["evaluation"] = {"primary": request.metric}
    counts = {state: sum(o.state == state for o in outcomes) for state in ("complete", "pruned", "failed")}
    kinds = ", ".join(f"{count} {state}" for state, count in counts.items())
    head = [
        f"Settings found by a search, trial {best.number} of {len(outcomes)} ({kinds}).",
        f"Validation {request.metric}: {measured(best)} at epoch {best.epoch:g}; the highest of many values, and so",
        "too high by chance. Test users were not looked at.",
        f"Found by: {request.command}",
        f"Use:      python -m {request.spec.family}.train --data DATA_SET --run-dir RUN --preset {request.out / BEST}",
    ]
    lines = [f"# {line}" for line in head]
    return "\n".join([*lines, yaml.safe_dump(content, sort_keys=False)])


def write_preset_file(request: SearchRequest, best: Outcome, outcomes: Sequence[Outcome]) -> None:
    """Publish it in the folder of the search.

    Raises:
        UserError: the disk is full, or the place cannot be written.
    """
    write_text(request.out / BEST, preset_file(request, best, outcomes))

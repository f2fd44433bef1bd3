"""Opens a version of a repository as the backend serves it: its export, its converted model, its recommender."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import targets
from serving.engines import providers
from serving.engines.blocks import SHORT, EngineInBlocks
from serving.engines.engine import open_engine
from serving.engines.savedmodel import SavedModelEngine
from serving.export_folder import ExportFolder, open_export
from serving.recommend.recommender import Recommender
from serving.targets import PROVIDERS
from serving.triton import attributes, repository, store_settings


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how an instance of a model runs."""

    on_gpu: bool
    threads: int
    """Of the engine; the cores are shared by the instances."""
    block: int
    """Largest number of requests in a call of the engine."""

    @classmethod
    def of(cls, config: Mapping[str, Any], kind: str | None) -> Placement:
        """
        Args:
            config: of the model, as Triton gives it to the Python backend.
            kind: of the instance: CPU or GPU.
        """
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
        threads = max(1, len(os.sched_getaffinity(0)) // instances)
        return cls(on_gpu=kind == "GPU", threads=threads, block=int(config["max_batch_size"]))


@dataclass(frozen=True, kw_only=True)
class LoadedVersion:
    """A version that answers requests."""

    export: ExportFolder
    recommender: Recommender


def open_version(folder: Path, placement: Placement) -> LoadedVersion:
    """Open a version whose converted model is the verified one, and warm it up.

    Args:
        folder: REPOSITORY/NAME/N.

    Raises:
        ValueError: a file is missing or damaged, or the model is not what was verified.
    """
    artifact = targets.artifact(folder, repository.read_published(folder.parent, int(folder.name))["model"])
    repository.verify_integrity(folder.parent, int(folder.name))
    export = open_export(folder / "export")
    provider = providers.choose(artifact) if placement.on_gpu else PROVIDERS[artifact.target.format][0]
    engine = open_engine(artifact, threads=placement.threads, provider=provider)
    padding, block = export.n_items, artifact.largest_batch(placement.block)
    history_limit = artifact.history_limit(export.history_limit(artifact.target.signature))
    golden = export.golden(artifact.target.signature)[0]  # warm-up
    engine({n: v[:block, :history_limit] if n == "item_ids" else v[:block] for n, v in golden.items()})
    if provider == "xla":
        assert isinstance(engine, SavedModelEngine)
        engine.warm_up(block, SHORT, padding)
    settings = store_settings.read(folder.parent)
    recommender = Recommender(
        export,
        EngineInBlocks(engine, padding, block),
        history_limit,
        store=settings.open() if settings is not None else None,
        popular_if_down=settings is not None and settings.if_down == store_settings.POPULAR,
        item_filter=attributes.item_filter(folder.parent, export),
    )
    return LoadedVersion(export=export, recommender=recommender)

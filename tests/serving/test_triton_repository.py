"""A model repository and what is published into it: better goes in, worse does not, and nothing leaves the folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from serving import targets
from serving.__main__ import main
from serving.export_folder import ExportFolder, open_export
from serving.targets import Artifact
from serving.triton import config, repository, retention
from serving.triton.config import Service
from tests.conftest import ROOT
from tests.serving import other_ids, other_model

pytestmark = pytest.mark.slow

STORED = ROOT / "tests" / "format_1" / "vae" / "export"


@pytest.fixture
def made(artifacts: dict[str, Path]) -> Artifact:
    return targets.artifact(artifacts["vae"], "onnx-fp32")


@pytest.fixture
def model_run(vae_export: Path, artifacts: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Makes a run: "good", "bad", or any other name for one with the answers of the good one and another digest."""

    def make(name: str) -> Path:
        import onnx

        folder = tmp_path / "runs" / name
        made = other_model.onnx_of(other_model.copy(vae_export, artifacts["vae"], folder))
        if name == "bad":
            other_model.damage_parameters(made)
        elif name != "good":
            model = onnx.load(str(made.model))
            model.doc_string = name
            onnx.save(model, str(made.model))
            other_model.bless(made)
        return folder

    return make


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., int]:
    """Run `publish`; returns its status."""

    def run(*words: str | Path) -> int:
        where = ("--repository", tmp_path / "models", "--name", "films")
        return main([str(w) for w in ("publish", *where, *words)])

    return run


def _state(folder: Path) -> tuple[list[int], int | None]:
    """Versions that are there, and the one that is served."""
    return repository.versions(folder), repository.served_version(folder)


WRONG_NAMES = ("", ".", "..", "../out", "a/b", "/tmp/out", "a b", "-a", "_a", "é", "a" * 65, "a\n", "a\0", "a.b", "~")


@pytest.mark.parametrize("name", WRONG_NAMES, ids=ascii)
def test_a_name_stays_in_the_repository(name: str, vae: ExportFolder, made: Artifact, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "models"
    for act in (
        lambda: repository.add_version(inside, name, vae, made),
        lambda: repository.add_native(inside, name, vae, made, Service()),
        lambda: repository.serve_version(inside, name, 1),
        lambda: retention.remove_old_versions(inside, name, 1),
    ):
        with pytest.raises(ValueError, match="expected up to 64 letters"):
            act()
    assert main(["publish", "--repository", str(inside), "--rollback", f"--name={name}"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_versions_are_numbered_and_whole(vae: ExportFolder, made: Artifact, tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        assert repository.add_version(tmp_path, "films", vae, made) == expected
    assert {p.name for p in (tmp_path / "films").iterdir()} == {"1", "2", "3"}, "add_version serves nothing"
    assert repository.served_version(tmp_path / "films") is None
    inside = {p.name for p in (tmp_path / "films" / "2").iterdir()}
    assert inside == {"model.py", "export", "onnx-fp32", "published.json", "run.json"}
    assert not (tmp_path / "films" / "2" / "export" / "saved_model").exists()
    about = repository.read_published(tmp_path / "films", 2)
    assert (about["model"], about["metrics"]) == ("onnx-fp32", vae.test_metrics)
    assert about["export"] == vae.identity
    targets.artifact(tmp_path / "films" / "2", "onnx-fp32").require_verified(vae.identity)
    shutil.rmtree(tmp_path / "films" / "2")
    assert repository.add_version(tmp_path, "films", vae, made) == 4, "a number is never given twice in a row"


def test_the_configuration_is_tritons(vae: ExportFolder, made: Artifact, tmp_path: Path) -> None:
    version = repository.add_version(tmp_path, "films", vae, made)
    service = Service(max_batch=7, instances=3, gpu=True, queue_delay_us=9, queue_size=5, queue_timeout_ms=2)
    repository.serve_version(tmp_path, "films", version, service)
    read = config.read_config(tmp_path / "films" / "config.pbtxt")
    assert (read.name, read.backend, read.max_batch_size) == ("films", "python", 7)
    assert [(g.kind, g.count) for g in read.instance_group] == [(pb.ModelInstanceGroup.KIND_GPU, 3)]
    assert read.dynamic_batching.max_queue_delay_microseconds == 9
    policy = read.dynamic_batching.default_queue_policy
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (5, 2_000)
    assert [i.name for i in read.input] == ["user_id", "item_ids", "titles", "k", "deny", "allow", "where"]
    assert all(i.optional for i in read.input)
    assert [o.name for o in read.output] == ["items", "scores", "titles", "source", "note"]
    repository.serve_version(tmp_path, "films", repository.add_version(tmp_path, "films", vae, made))
    after = config.read_config(tmp_path / "films" / "config.pbtxt")
    assert config.served_versions(after) == [2]
    after.version_policy.specific.versions[:] = [1]
    assert after == read, "another version is served in the same way"
    with pytest.raises(ValueError, match=r"has no version 9, it has: 1, 2"):
        repository.serve_version(tmp_path, "films", 9)


def test_a_version_with_ids_of_another_type_is_served_with_the_same_options(tmp_path: Path) -> None:
    """The configuration of an earlier program has no input `titles`."""
    films = tmp_path / "films"
    other_ids.copy(STORED, films / "1" / "export")
    other_ids.copy(STORED, films / "2" / "export", item=lambda i: f"sku-{i}")
    repository.serve_version(tmp_path, "films", 1, Service(max_batch=7))
    earlier = config.read_config(films / "config.pbtxt")
    del earlier.input[2]
    (films / "config.pbtxt").write_text(config.to_text(earlier))
    repository.serve_version(tmp_path, "films", 2)
    read = config.read_config(films / "config.pbtxt")
    assert (read.max_batch_size, config.served_versions(read)) == (7, [2])
    types = {i.name: i.data_type for i in read.input}
    assert types == {"k": pb.TYPE_INT32, "user_id": pb.TYPE_INT64} | dict.fromkeys(
        ("item_ids", "titles", "deny", "allow", "where"), pb.TYPE_STRING
    )
    assert {o.name: o.data_type for o in read.output}["items"] == pb.TYPE_STRING
    assert len(read.model_warmup) == 1


@pytest.mark.parametrize("content", [b"this is { not", b"no_such_field: 3", b"name: 7", b"\xff\xfe\x00", b"{}"])
def test_a_configuration_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_bytes(content)
    with pytest.raises(ValueError):
        config.read_config(tmp_path / "config.pbtxt")


@pytest.mark.parametrize(("count", "left"), [(3, [1, 3, 4, 5]), (1, [1, 5]), (0, [1, 5]), (-3, [1, 5]), (9, None)])
def test_the_served_version_is_never_removed(count: int, left: list[int] | None, tmp_path: Path) -> None:
    for version in range(1, 6):
        other_ids.copy(STORED, tmp_path / "films" / str(version) / "export")
    repository.serve_version(tmp_path, "films", 1)
    everything = {1, 2, 3, 4, 5}
    removed = retention.remove_old_versions(tmp_path, "films", count)
    assert _state(tmp_path / "films") == (left or sorted(everything), 1)
    assert removed == sorted(everything - set(left or everything))


def test_better_goes_in_worse_does_not(
    publish: Any, model_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "models" / "films"
    good, bad = model_run("good"), model_run("bad")
    assert publish("--export", bad) == 0
    assert "nothing was served before" in capsys.readouterr().out
    assert publish("--export", good) == 0
    assert re.search(r"ndcg@100 of 60 test users: .*; difference \+0\.", capsys.readouterr().out)
    assert publish("--export", bad) == 1
    assert "not published: it is worse than what is served" in capsys.readouterr().out
    assert _state(films) == ([1, 2], 2)
    assert publish("--export", model_run("the same")) == 0, "the difference is 0 for each user"
    assert _state(films) == ([1, 2, 3], 3)
    found = repository.read_published(films, 3)["comparison"]
    assert (found["served"], found["difference"]["mean"], found["difference"]["users"]) == (2, 0.0, 60)
    assert publish("--export", bad, "--margin", "1") == 0
    assert publish("--export", good, "--metric", "no-such") == 2
    assert publish("--export", good, "--margin", "nan") == publish("--export", good, "--margin", "-1") == 2
    assert publish("--export", good, "--margin", "0", "--allowed-loss", "1") == 2
    assert capsys.readouterr().err.count("error: ") == 4
    assert publish("--export", good, "--allowed-loss", "0", "--metric", "recall@20") == 0
    assert "note: --allowed-loss is now --margin" in capsys.readouterr().err
    assert publish("--export", bad, "--force") == 0
    assert _state(films) == ([4, 5, 6], 6), "the last three, which are the chain too"


def test_the_same_again_is_found_and_not_copied(publish: Any, model_run: Any, tmp_path: Path) -> None:
    """A publisher that was killed, or whose server took too long, is run again."""
    films = tmp_path / "models" / "films"
    good = model_run("good")
    assert publish("--export", model_run("bad")) == publish("--export", good) == publish("--export", good) == 0
    assert _state(films) == ([1, 2], 2)
    repository.serve_version(films.parent, "films", 1)  # it was copied, and then the publisher was killed
    assert publish("--export", good) == 0
    assert _state(films) == ([1, 2], 2)
    (films / ".writing-1@elsewhere-3").mkdir()
    assert publish("--export", model_run("another")) == 0
    assert _state(films) == ([1, 2, 3], 3)


def test_a_data_set_that_is_not_at_hand(
    publish: Any, model_run: Any, tiny_data: Path, tiny_pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, other = model_run("good"), model_run("other")
    assert publish("--export", good) == 0
    (other / "run.json").unlink()
    capsys.readouterr()
    assert publish("--export", other) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and "name it with --data, or publish without a comparison: --force" in said
    assert publish("--export", other, "--data", tiny_pairs) == 2
    assert "is not the data set that" in capsys.readouterr().err
    assert publish("--export", other, "--data", tiny_data) == 0
    assert publish("--export", good, "--force") == 0


def test_a_run_is_not_changed_by_its_publication(publish: Any, model_run: Any) -> None:
    run = model_run("good")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    assert publish("--export", run) == publish("--export", model_run("bad"), "--force") == 0
    assert publish("--rollback") == 0
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in run.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in run.iterdir()) == ["converted", "export", "run.json"]


def test_back_and_no_further(publish: Any, model_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = tmp_path / "models" / "films"
    assert publish("--rollback") == 2
    assert not films.exists()
    assert publish("--export", model_run("bad")) == publish("--export", model_run("good")) == 0
    before = (films / "2" / "published.json").read_bytes()
    assert publish("--rollback") == 0
    assert _state(films) == ([1, 2], 1)
    capsys.readouterr()
    assert publish("--rollback") == 2
    said = capsys.readouterr().err
    assert "no version before 1 to go back to" in said and said.count("\n") == 1
    assert _state(films) == ([1, 2], 1)
    assert (films / "2" / "published.json").read_bytes() == before


def test_flags_that_do_not_go_together(publish: Any, model_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(model_run("good"))
    for words, why in (
        (("--export", good, "--rollback"), "--rollback, --export: give one of them"),
        (("--promote", "--rollback"), "--rollback, --promote: give one of them"),
        (("--promote", "--shadow", "0.1"), "--promote, --shadow: give one of them"),
        ((), "--export is missing"),
        (("--export", good, "--shadow", "0.1"), "has no served version whose requests could be shadowed"),
        (("--export", good, "--shadow", "2"), "--shadow is 2, expected a share"),
        (("--promote",), "has no shadow"),
        (("--drop-shadow",), "has no shadow"),
        (("--shadow-report",), "has no shadow"),
    ):
        assert publish(*words) == 2, words
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1


@pytest.mark.parametrize("fault", ["not there", "not verified", "failed", "changed"])
def test_what_is_not_verified_is_refused(
    fault: str, vae_export: Path, made: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(made.folder, tmp_path / "converted" / "onnx-fp32"))
    if fault == "not there":
        shutil.rmtree(copy)
    elif fault == "not verified":
        (copy / "verify.json").unlink()
    elif fault == "failed":
        found = json.loads((copy / "verify.json").read_text())
        (copy / "verify.json").write_text(json.dumps(found | {"passed": False, "why": "it is bad"}))
    else:
        (copy / "model.onnx").write_bytes(b"something else")
    words = ["--export", str(vae_export), "--models", str(copy.parent), "--repository", str(tmp_path / "models")]
    assert main(["publish", *words, "--force"]) == 2
    assert main(["triton", "build", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert not (tmp_path / "models").exists()


def test_a_conversion_of_another_model_is_refused(
    vae_export: Path, ncf_export: Path, made: Artifact, tmp_path: Path
) -> None:
    """Its metrics are not this run's: a conversion that was left from an earlier training, or of another model."""
    retrained = Path(shutil.copytree(vae_export, tmp_path / "export"))
    (retrained / "saved_model" / "assets" / "other").write_text("weights")
    for export in (retrained, ncf_export):
        words = ["--export", str(export), "--models", str(made.folder.parent), "--repository", str(tmp_path / "models")]
        assert main(["publish", *words]) == 2, export
        assert main(["triton", "build", *words]) == 2, export
        assert not (tmp_path / "models").exists()


def test_a_served_version_that_cannot_be_read_is_not_taken_for_none(
    publish: Any, model_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "models" / "films"
    assert publish("--export", model_run("good")) == 0
    (films / "1" / "published.json").write_text("{")
    capsys.readouterr()
    assert publish("--export", model_run("bad")) == 2
    assert "nothing was served before" not in capsys.readouterr().out
    assert _state(films) == ([1], 1)
    assert publish("--export", tmp_path / "runs" / "bad", "--force") == 0


@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_native_models(
    model: str, vae_export: Path, ncf_export: Path, artifacts: Any, python: Any, tmp_path: Path
) -> None:
    folder, source = tmp_path / "converted", {"vae": vae_export, "ncf": ncf_export}[model]
    export = open_export(source)
    shutil.copytree(artifacts[model], folder)
    done = python("serving", "convert", "--export", source, "--to", "savedmodel", "--models", folder)
    assert done.returncode == 0, done.stdout
    for name, full, backend, file in (
        ("onnx-fp32", "films_onnx_fp32", "onnxruntime", "model.onnx"),
        ("savedmodel-fp32", "films_savedmodel_fp32", "tensorflow", "model.savedmodel/saved_model.pb"),
    ):
        converted = targets.artifact(folder, name)
        assert repository.add_native(tmp_path / "models", "films", export, converted, Service()) == full
        read = config.read_config(tmp_path / "models" / full / "config.pbtxt")
        assert (tmp_path / "models" / full / "1" / file).is_file()
        assert (read.name, read.backend, config.served_versions(read)) == (full, backend, [1])
        given = {i.name: (i.data_type, list(i.dims), i.HasField("reshape")) for i in read.input}
        assert given.pop("item_ids") == (pb.TYPE_INT32, [-1], False)
        assert given == ({} if model == "vae" else {"user_ids": (pb.TYPE_INT32, [1], True)})
        answers = {o.name: (o.data_type, list(o.dims)) for o in read.output}
        assert answers == {"items": (pb.TYPE_INT32, [100]), "scores": (pb.TYPE_FP32, [100])}
        signature = read.parameters["TF_SIGNATURE_DEF"].string_value if backend == "tensorflow" else "serving"
        assert signature == "serving"
        assert repository.add_native(tmp_path / "models", "films", export, converted, Service()) == full
        assert _state(tmp_path / "models" / full) == ([1, 2], 2)

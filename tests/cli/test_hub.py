"""Hub ids: from the cache if they are there, never a pickle, one line when it does not work."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.utils._paths import filter_repo_objects

from motet import hub
from motet.engine.config import EngineConfig
from motet.errors import ConfigError
from tests.cli.process import MOTET, Server
from tests.model_factory import make_llama

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def store(cache: Path, hub_id: str, content: Path, revision: str = "main") -> Path:
    """Put a directory into the cache, laid out as the hub's own tools do."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / revision).write_text(COMMIT)
    return shutil.copytree(content, repository / "snapshots" / COMMIT)


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("org/name", "org/name"),
        ("org/name@v1.0", "org/name"),
        ("org/name@refs/pr/1", "org/name"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("name", None),
        ("./name", None),
        ("../name", None),
        ("/org/name", None),
        ("org/name/more", None),
        ("org/name@", None),
        ("", None),
    ],
)
def test_what_is_a_hub_id(text: str, repository: str | None) -> None:
    assert hub.repository_of(text) == repository


def test_a_directory_that_exists_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub.repository_of("org/name") is None
    assert hub.locate("model", "org/name") == "org/name"


def test_what_is_in_the_cache_is_used(model_dir: Path, adapter_dir: Path, cache: Path) -> None:
    model = store(cache, "org/model", model_dir)
    adapter = store(cache, "org/adapter", adapter_dir, revision="v2")
    config = EngineConfig("org/model", (("a", "org/adapter@v2"), ("b", "/b")))
    found = hub.fetch(config)
    assert (found.model, found.adapters) == (str(model), (("a", str(adapter)), ("b", "/b")))


def test_what_is_nowhere_is_one_line(cache: Path) -> None:
    with pytest.raises(ConfigError, match="adapter 'org/x' is no directory, and as a hub id") as e:
        hub.locate("adapter", "org/x")
    assert "offline" in str(e.value)
    assert "\n" not in str(e.value)


def test_another_revision_than_the_cached_one_is_not_taken_for_it(
    model_dir: Path, cache: Path
) -> None:
    store(cache, "org/model", model_dir)
    with pytest.raises(ConfigError, match="org/model@other"):
        hub.locate("model", "org/model@other")


def test_a_snapshot_without_weights_is_not_enough(model_dir: Path, cache: Path) -> None:
    snapshot = store(cache, "org/model", model_dir)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="org/model"):
        hub.locate("model", "org/model")


TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def list_files(snapshot: Path, *names: str) -> None:
    """What the hub's own tools leave beside snapshots when they have seen the repository."""
    entry = {"size": 1, "blob_id": "0"}
    listing = {"format_version": 1, "files": dict.fromkeys(names, entry)}
    trees = snapshot.parents[1] / "trees"
    trees.mkdir()
    (trees / f"{snapshot.name}.json").write_text(json.dumps(listing))


class Online:
    """A hub that holds some files of one repository and counts who asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, snapshot: Path, files: Path) -> None:
        self.revisions: list[str] = []
        self._snapshot, self._files = snapshot, files

        def download(*arguments: Any, local_files_only: bool, **options: Any) -> str:
            if local_files_only:
                return str(snapshot_download(*arguments, local_files_only=True, **options))
            shutil.copytree(self._files, self._snapshot, dirs_exist_ok=True)
            return str(self._snapshot)

        def model_info(api: HfApi, repository: str, *, revision: str, timeout: float) -> None:
            self.revisions.append(revision)

        monkeypatch.setattr(hub, "snapshot_download", download)
        monkeypatch.setattr(HfApi, "model_info", model_info)


@pytest.mark.parametrize("lost", [TOKENIZER, TOKENIZER[:1], TOKENIZER[1:], ("config.json",)])
def test_half_a_snapshot_is_completed_at_its_own_commit(
    lost: tuple[str, ...], model_dir: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = store(cache, "org/model", model_dir)
    for name in lost:
        (snapshot / name).unlink()
    online = Online(monkeypatch, snapshot, model_dir)
    assert hub.locate("model", "org/model") == str(snapshot)
    assert online.revisions == [COMMIT]
    assert all((snapshot / name).exists() for name in lost)
    assert hub.locate("model", "org/model") == str(snapshot)
    assert online.revisions == [COMMIT]  # nothing is asked for a second time


def test_a_file_that_only_the_list_of_the_hub_has_is_fetched(
    model_dir: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = store(cache, "org/model", model_dir)
    online = Online(monkeypatch, snapshot, model_dir)
    list_files(snapshot, "config.json", "chat_template.jinja", "modeling.py")
    hub.locate("model", "org/model")
    assert online.revisions == [COMMIT]


def test_a_model_that_has_no_tokenizer_on_the_hub_is_whole_without_one(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_llama(tmp_path / "model")
    snapshot = store(cache, "org/model", model)
    online = Online(monkeypatch, snapshot, model)
    list_files(snapshot, "config.json", "model.safetensors", "modeling.py", "pytorch_model.bin")
    assert hub.locate("model", "org/model") == str(snapshot)
    assert online.revisions == []


def test_an_adapter_needs_no_tokenizer_to_be_whole(
    adapter_dir: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = store(cache, "org/adapter", adapter_dir)
    online = Online(monkeypatch, snapshot, adapter_dir)
    hub.locate("adapter", "org/adapter")
    assert online.revisions == []
    (snapshot / "adapter_config.json").unlink()
    hub.locate("adapter", "org/adapter")
    assert online.revisions == [COMMIT]


@pytest.mark.parametrize("is_listed", [False, True])
def test_offline_half_a_snapshot_is_served_with_a_line_that_says_what_it_lacks(
    is_listed: bool, model_dir: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = store(cache, "org/model", model_dir)
    if is_listed:
        list_files(snapshot, *(path.name for path in model_dir.iterdir()))
    for name in TOKENIZER:
        (snapshot / name).unlink()
    assert hub.locate("model", "org/model") == str(snapshot)
    [line] = caplog.messages
    assert "model 'org/model'" in line and "offline" in line
    assert "no tokenizer, so requests must hold token ids" in line
    assert "\n" not in line


def test_offline_a_whole_snapshot_says_nothing(
    model_dir: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store(cache, "org/model", model_dir)
    hub.locate("model", "org/model")
    assert not caplog.messages


@pytest.mark.parametrize("lost", ["*-00001-*", "*-00002-*", "*.index.json"])
def test_what_a_broken_download_left_is_not_enough(lost: str, tmp_path: Path, cache: Path) -> None:
    sharded = make_llama(tmp_path / "sharded", max_shard_size="200KB")
    snapshot = store(cache, "org/model", sharded)
    assert hub.locate("model", "org/model") == str(snapshot)
    next(snapshot.glob(lost)).unlink()
    with pytest.raises(ConfigError, match="org/model"):
        hub.locate("model", "org/model")


def test_a_download_takes_weights_configuration_and_tokenizer_only(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(hub._Snapshot, "cached", lambda self: None)
    monkeypatch.setattr(HfApi, "model_info", lambda self, *_, **options: None)

    def download(*_: object, **options: Any) -> str:
        asked.append(options)
        return "/there"

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert hub.locate("model", "org/model@v1") == "/there"
    [options] = asked
    assert options["revision"] == "v1"
    files = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "tokenizer.model",
        "chat_template.jinja",
        "merges.txt",
        "pytorch_model.bin",
        "modeling.py",
        "consolidated.safetensors",
        "checkpoint-9/model.safetensors",
        "weights.pt",
    ]
    patterns = {name: options[name] for name in ("allow_patterns", "ignore_patterns")}
    assert list(filter_repo_objects(files, **patterns)) == files[:5]


def test_nobody_is_waited_for_where_the_network_is_silent(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def silence(self: object, *_: object, timeout: float, **options: object) -> None:
        waits.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(HfApi, "model_info", silence)
    with pytest.raises(ConfigError, match="timed out"):
        hub.locate("model", "org/model")
    assert waits == [hub.CONNECT_TIMEOUT_S]


@pytest.fixture
def real_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty and offline, for commands in processes of their own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def test_a_model_is_served_under_its_hub_id(model_dir: Path, real_cache: Path) -> None:
    store(real_cache, "org/model", model_dir)
    server = Server("org/model", "--pool-bytes", "1MiB")
    server.wait_for("/ready")
    [model] = httpx.get(server.url + "/v1/models").json()["data"]
    assert model["id"] == "org/model"
    assert server.stop(signal.SIGTERM) == (0, "")


def test_a_hub_id_that_cannot_be_fetched_is_one_line_and_exit_code_2(real_cache: Path) -> None:
    ended = subprocess.run([MOTET, "plan", "org/model"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("motet: error: model 'org/model' is no directory, and as a hub")
    assert ended.stderr.count("\n") == 1

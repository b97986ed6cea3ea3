"""The tokenizer files that trainers save beside an adapter, and what they change for it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

TEMPLATE_FILE, CONFIG_FILE = "chat_template.jinja", "tokenizer_config.json"

BASE_TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"
OWN_TEMPLATE = "{% for message in messages %}user: {{ message.content }}!{% endfor %}"

OWN_END = 21
"""The id of a token that nothing else calls an end."""


@dataclass(frozen=True, slots=True)
class Companions:
    """Which files lie beside adapter_model.safetensors."""

    has_files: bool = False
    has_own_template: bool = False
    in_config: bool = False
    """The template is a field of tokenizer_config.json."""
    has_own_end: bool = False


COMPANIONS = {
    "alone": Companions(),
    "same-files": Companions(True),
    "own-template": Companions(True, has_own_template=True),
    "own-template-field": Companions(True, has_own_template=True, in_config=True),
    "own-end": Companions(True, has_own_end=True),
    "own-both": Companions(True, has_own_template=True, has_own_end=True),
}
"""Name -> companions."""


def write_companions(companions: Companions, model: Path, adapter: Path) -> None:
    """Copy the tokenizer of `model`, which has a tokenizer.json, with the changes."""
    if not companions.has_files:
        return
    shutil.copy(model / "tokenizer.json", adapter)
    config: dict[str, Any] = {}
    if (model / CONFIG_FILE).exists():
        config = json.loads((model / CONFIG_FILE).read_text())
    if companions.has_own_end:
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        config["eos_token"] = tokenizer.id_to_token(OWN_END)
    template = OWN_TEMPLATE if companions.has_own_template else BASE_TEMPLATE
    if companions.in_config:
        config["chat_template"] = template
    else:
        (adapter / TEMPLATE_FILE).write_text(template)
    (adapter / CONFIG_FILE).write_text(json.dumps(config, ensure_ascii=False))


def rendered(companions: Companions, content: str) -> str:
    """One message as the template writes it that holds for the adapter."""
    return f"user: {content}!" if companions.has_own_template else f"{content} "

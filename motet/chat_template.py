"""Which chat template a model or adapter directory has, and whether it is one at all."""

from pathlib import Path

import jinja2

from motet.errors import AdapterError, ConfigError, ModelError
from motet.tokenizer_config import TokenizerConfig, read_tokenizer_config

NOT_A_TEMPLATE = (jinja2.TemplateError, RecursionError, SyntaxError, ValueError)
"""What compiling raises: Python itself refuses some of what jinja2 makes of a template."""

_ERRORS = {False: ModelError, True: AdapterError}
_REMEDIES = {False: "serve without chat", True: "use the base model's"}
"""Whether it is an adapter's -> what becomes possible without the template."""


def template_source(
    directory: Path, config: TokenizerConfig, *, is_adapter: bool = False
) -> str | None:
    """The template that `config`, read in `directory`, uses for chat.

    Raises ModelError or AdapterError where it has several and none of them is for chat.
    """
    source = config.chat_template
    if source is None or isinstance(source, str):
        return source
    if "default" not in source:
        raise _ERRORS[is_adapter](
            f"the chat templates in {directory} have no 'default': name one of them so, or "
            f"remove them to {_REMEDIES[is_adapter]}"
        )
    return source["default"]


def not_compiled(directory: Path, error: Exception, *, is_adapter: bool = False) -> ConfigError:
    """What to raise for a template that is none, where one of NOT_A_TEMPLATE was raised."""
    reason = str(error).partition("\n")[0]
    return _ERRORS[is_adapter](
        f"the chat template in {directory} cannot be compiled ({reason}): correct it, or "
        f"remove it to {_REMEDIES[is_adapter]}"
    )


def check_prompt_files(directory: str) -> None:
    """Read what an adapter brings for its prompts. Raises AdapterError if it cannot be used."""
    path = Path(directory)
    config = read_tokenizer_config(path, is_adapter=True)
    source = template_source(path, config, is_adapter=True)
    if source is None:
        return
    from transformers.utils.chat_template_utils import _compile_jinja_template  # takes seconds

    try:
        _compile_jinja_template(source)
    except NOT_A_TEMPLATE as error:
        raise not_compiled(path, error, is_adapter=True) from error

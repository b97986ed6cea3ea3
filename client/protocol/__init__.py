"""Everything that travels over HTTP, as types: the OpenAI wire format and motet's additions.

Bounds stand in the types, so one conversion checks a whole request. A field that a client leaves
out has its default here; `null` in a request means the same as leaving the field out.
"""

from motet.client.protocol.adapters import (
    AdapterList,
    AdapterQuery,
    AdapterState,
    LoadAdapterRequest,
    LoadedAdapters,
    UnloadAdapterRequest,
)
from motet.client.protocol.answers import (
    ErrorDetail,
    ErrorResponse,
    PromptTokensDetails,
    Status,
    Usage,
    Version,
)
from motet.client.protocol.chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    ChatTokenLogprob,
    TextPart,
    TopLogprob,
)
from motet.client.protocol.completions import (
    CompletionChoice,
    CompletionChunk,
    CompletionRequest,
    CompletionResponse,
    Logprobs,
    Prompt,
)
from motet.client.protocol.generation import (
    GenerationRequest,
    ResponseFormat,
    SamplingFields,
    StreamOptions,
)
from motet.client.protocol.memory import (
    AdapterCounts,
    Memory,
    MovedPages,
    Pages,
    RequestCounts,
)
from motet.client.protocol.models import AdapterCard, ModelCard, ModelList
from motet.client.protocol.tokens import (
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)

__all__ = [
    "AdapterCard",
    "AdapterCounts",
    "AdapterList",
    "AdapterQuery",
    "AdapterState",
    "AssistantMessage",
    "ChatChoice",
    "ChatChunk",
    "ChatChunkChoice",
    "ChatDelta",
    "ChatLogprobs",
    "ChatMessage",
    "ChatRequest",
    "ChatResponse",
    "ChatTokenLogprob",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionRequest",
    "CompletionResponse",
    "DetokenizeRequest",
    "DetokenizeResponse",
    "ErrorDetail",
    "ErrorResponse",
    "GenerationRequest",
    "LoadAdapterRequest",
    "LoadedAdapters",
    "Logprobs",
    "Memory",
    "ModelCard",
    "ModelList",
    "MovedPages",
    "Pages",
    "Prompt",
    "PromptTokensDetails",
    "RequestCounts",
    "ResponseFormat",
    "SamplingFields",
    "Status",
    "StreamOptions",
    "TextPart",
    "TokenizeRequest",
    "TokenizeResponse",
    "TopLogprob",
    "UnloadAdapterRequest",
    "Usage",
    "Version",
]

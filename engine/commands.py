"""What operators ask of a running engine, from the call to its reply."""

from motet.engine.agent_commands import AgentCommands
from motet.engine.messages import (
    AgentCommand,
    Call,
    Command,
    ListAdapters,
    LoadAdapter,
    PinAdapter,
    RegisterAdapter,
    Reply,
    ResetPrefixCache,
    UnloadAdapter,
)
from motet.engine.running import RunningSet
from motet.errors import AdapterError, ModelNotFound, MotetError
from motet.memory.adapter import Adapter, AdapterStatus, Standing
from motet.memory.manager import MemoryManager
from motet.memory.registry import Generation, status_of
from motet.memory.residency import Rank


class Commands:
    """Carries commands out between two steps. Some have to wait until an adapter has been read."""

    def __init__(self, memory: MemoryManager, running: RunningSet, max_model_len: int) -> None:
        self._memory = memory
        self._agents = AgentCommands(memory)
        self._registry = memory.registry
        self._running = running
        self._max_model_len = max_model_len
        self._num_ranks = 0
        self._waiting: dict[int, tuple[Command, Generation]] = {}
        self._replies: list[Reply] = []

    def handle(self, call: Call) -> None:
        """Never fails: what cannot be done is replied."""
        try:
            if isinstance(call.command, AgentCommand):
                self._replies.append(self._agents.reply(call.call_id, call.command))
                return
            generation = self._begin(call.command)
        except MotetError as error:
            self._refuse(call.call_id, str(error), type(error).__name__)
            return
        if generation is not None:
            self._waiting[call.call_id] = (call.command, generation)
        else:
            listed = self._listed(call.command)
            self._replies.append(Reply(call.call_id, adapters=listed))

    def take_replies(self) -> list[Reply]:
        """To all commands that have been carried out, or cannot be, since the last call."""
        for call_id, (command, generation) in list(self._waiting.items()):
            is_known = generation.state.digest is not None
            if is_known or generation.last_error is not None or _has_left(generation):
                del self._waiting[call_id]
                self._end(call_id, command, generation)
        replies, self._replies = self._replies, []
        return replies

    @property
    def are_waiting(self) -> bool:
        """Is any to be replied yet?"""
        return bool(self._waiting or self._replies)

    def _begin(self, command: Command) -> Generation | None:
        """The generation whose content has to be known first, if there is one."""
        registry = self._registry
        match command:
            case RegisterAdapter(adapter):
                known = registry.meant_by(adapter.name)
                if known is None or known.adapter.path != adapter.path:  # else asked for twice
                    registry.must_be_free(adapter.name)
                    registry.add(adapter)
            case LoadAdapter(name, path, in_place, _):
                if not in_place:
                    registry.must_be_free(name)
                adapter = Adapter(name, None, 0, 0, 0, path)
                return self._wait_for(registry.add(adapter, is_current=False))
            case UnloadAdapter(name):
                registry.retire(registry.current(name))
            case PinAdapter(name, is_pinned):
                generation = registry.current(name)
                if is_pinned:
                    return self._wait_for(generation)
                registry.pin(generation, False)
            case ResetPrefixCache():
                self._memory.kv.forget_idle()
            case ListAdapters():
                pass
        return None

    def _wait_for(self, generation: Generation) -> Generation:
        generation.last_error = None
        self._memory.adapters.call(generation.state, self._a_rank())
        return generation

    def _end(self, call_id: int, command: Command, generation: Generation) -> None:
        registry = self._registry
        if generation.standing is not Standing.GONE:
            self._memory.adapters.call(generation.state, None)
        try:
            if generation.last_error is not None:
                raise generation.error()
            if isinstance(command, LoadAdapter):
                if not command.in_place:  # another one may have been quicker
                    registry.must_be_free(command.name)
                if command.is_pinned:
                    self._pin(generation)
                registry.activate(generation)
            elif isinstance(command, PinAdapter):
                if _has_left(generation):
                    raise ModelNotFound(
                        f"adapter '{command.name}' was unloaded or replaced while it was read: "
                        "pin it again",
                        code="model_not_found",
                    )
                self._pin(generation)
        except MotetError as error:
            if isinstance(command, LoadAdapter):
                registry.discard(generation)
            self._refuse(call_id, str(error), type(error).__name__)
        else:
            self._replies.append(Reply(call_id, adapters=(self._status(generation),)))

    def _pin(self, generation: Generation) -> None:
        """Raises AdapterError where too little would be left for others."""
        memory, state = self._memory, generation.state
        error = memory.adapters.too_large(state)
        if error is not None:
            raise AdapterError(error)
        if not state.num_pins:
            num_left = memory.adapters.room.pool.num_pages - memory.adapters.num_pinned_pages
            num_needed = state.size + memory.adapters.largest_beside(state)
            if len(memory.rooms) == 1:
                num_needed += memory.kv.pages_for(self._max_model_len)
            if num_left < num_needed:
                raise AdapterError(
                    f"adapter '{generation.adapter.name}' cannot be pinned: beside it, the largest "
                    f"other adapter and a full context there have to be {num_needed} pages, "
                    f"{num_left} are not pinned: unpin another one or start with more --pool-bytes"
                )
        self._registry.pin(generation, True)
        if not state.is_on_device:
            memory.adapters.call(state, self._a_rank())

    def _listed(self, command: Command) -> tuple[AdapterStatus, ...]:
        match command:
            case ListAdapters(after, limit, name):
                generations = self._registry.listed(after, limit, name)
            case RegisterAdapter(adapter):
                generations = [self._registry.current(adapter.name)]
            case PinAdapter(name, _):
                generations = [self._registry.current(name)]
            case _:
                generations = []
        return tuple(self._status(generation) for generation in generations)

    def _status(self, generation: Generation) -> AdapterStatus:
        num_running = sum(sequence.generation is generation for sequence in self._running)
        return status_of(generation, num_running)

    def _a_rank(self) -> Rank:
        """After all requests, and after all commands before it."""
        self._num_ranks += 1
        return (float("inf"), self._num_ranks)

    def _refuse(self, call_id: int, error: str, kind: str) -> None:
        self._replies.append(Reply(call_id, error, kind))


def _has_left(generation: Generation) -> bool:
    return generation.standing is not Standing.CURRENT

"""What follows when a prompt gave no images: its task runs again, here or elsewhere, is split, or is given up."""

from engines.comfyui.errors import (
    BadAnswer,
    ExecutionFailed,
    Interrupted,
    LoginRequired,
    Lost,
    OutOfMemory,
    Rejected,
    ServerError,
)
from engines.comfyui.server_pool import ServerPool
from engines.comfyui.tasks import TRIES, Server, Task
from engines.comfyui.times import Times

MIXED_WIRING = ("does not match", "but got")
"""With "channels": the sampler's message where a model was patched for the other wiring."""


class Recovery:
    """Decides by the kind of error."""

    def __init__(self, pool: ServerPool, times: Times):
        self._pool = pool
        self._times = times

    def tasks_after(self, server: Server, task: Task, error: ServerError) -> list[Task]:
        """The tasks that replace one that failed; empty if its images must be skipped because of this error."""
        single = len(task.positions) == 1
        if isinstance(error, BadAnswer | Rejected | ExecutionFailed) and (single or not isinstance(error, OutOfMemory)):
            task.tried = task.tried_with(server)
        if isinstance(error, OutOfMemory):
            return self._after_out_of_memory(server, task)
        if isinstance(error, ExecutionFailed):
            return self._after_execution(server, task, error)
        if isinstance(error, Interrupted):
            return [task] if task.may_retry("interruption") else []
        if isinstance(error, Lost):
            return self._after_loss(server, task)
        if isinstance(error, BadAnswer):
            return self._after_bad_answer(server, task)
        if isinstance(error, Rejected) and error.nodes and error.nodes <= server.binding.item_nodes:
            return self._single_again(server, task, "refusal", 1)
        self._pool.exclude(server, error, error.advice)
        if not isinstance(error, LoginRequired):
            self._pool.try_drop(server.client, task.prompt_id)
        return [task]

    def _single_again(self, server: Server, task: Task, fault: str, tries: int = TRIES) -> list[Task]:
        """A batch is split; a single image is given up once it failed often enough, on two servers if there are two."""
        if len(task.positions) > 1:
            return task.split(1)
        task.failed_single.add(server)
        task.may_retry(fault)
        other = len(task.failed_single) < TRIES and self._pool.has_other(list(task.failed_single))
        return [task] if task.faults[fault] < (2 * TRIES if other else tries) else []

    def _after_out_of_memory(self, server: Server, task: Task) -> list[Task]:
        self._free(server)
        if len(task.positions) == 1:
            return self._single_again(server, task, "memory", 1)
        self._pool.lower_limit(server, max(1, len(task.positions) // 2))
        return task.split(server.limit)

    def _after_execution(self, server: Server, task: Task, error: ExecutionFailed) -> list[Task]:
        mixed = "channels" in error.text and any(word in error.text for word in MIXED_WIRING)
        if mixed and task.may_retry("wiring"):
            self._free(server)
            return [task]
        if error.node_id == server.binding.save_id and error.kind.endswith("OutputError"):
            if not self._pool.use_spare_transport(server, task, error):
                self._pool.exclude(server, error, "nothing can be saved there")
            return [task]
        # A sample that cannot be loaded fails the same way each time.
        lasting = error.node_id in server.binding.item_nodes
        if not lasting:
            self._pool.count_failure(server, task, error)
        return self._single_again(server, task, "execution", 1 if lasting else TRIES)

    def _after_loss(self, server: Server, task: Task) -> list[Task]:
        server.transport.forget_uploads()
        # Only a prompt that was running can have crashed the server.
        if not task.ran or task.may_retry("loss"):
            return [task]
        return [] if len(task.positions) == 1 else task.split(1)

    def _after_bad_answer(self, server: Server, task: Task) -> list[Task]:
        if task.server is None:  # a file could not be sent; which image's is not known yet
            return self._single_again(server, task, "answer")
        self._pool.try_drop(server.client, task.prompt_id)
        return [task] if task.may_retry("answer") else []

    def _free(self, server: Server) -> None:
        try:
            server.client.free()
        except ServerError as error:
            self._pool.notes.append(str(error))
        self._pool.stopping.wait(self._times.settle)

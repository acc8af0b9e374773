"""The script for vLLM's engine, through the two classes of its own that vLLM can be told to use.

Its scheduler does all that it always does, then waits for the next step and writes down the moment in place of the
tokens. Its executor loads the model and computes nothing. So the engine costs as little as it can, and the client
knows when each token left it. Written for vLLM 0.32.
"""

import json
import os
import time
from concurrent.futures import Future
from typing import Any

from serving import Pace, keep_to, next_step
from stamps import Stamps
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.executor.uniproc_executor import UniProcExecutor
from vllm.v1.outputs import ModelRunnerOutput


def script() -> dict[str, Any]:
    """What the server program was told."""
    with open(os.environ["FRONT_END_SCRIPT"]) as file:
        return json.load(file)


class StampingScheduler(Scheduler):
    """Hands out the tokens of a step when it is due."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        told = script()
        self._stamps, self._pace = Stamps(told["words"]), Pace(told["pace"])

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Called by vLLM with what its model has sampled."""
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        step, now = self._pace.step, time.monotonic()
        if step:
            time.sleep(next_step(now, step) - now)
        stamp = [self._stamps.now()]
        for one in outputs.values():
            for output in one.outputs:
                output.new_token_ids = stamp if output.new_token_ids else []
        return outputs


class ScriptedExecutor(UniProcExecutor):
    """Samples the same token for everyone, without a look at the model."""

    def _init_executor(self) -> None:
        told = script()
        keep_to(told["engine_core"])
        self._token = told["words"][0][0]
        super()._init_executor()

    def execute_model(self, scheduler_output: SchedulerOutput, non_block: bool = False) -> Any:
        """Called by vLLM for each step."""
        ids = list(scheduler_output.num_scheduled_tokens)
        places = {id_: place for place, id_ in enumerate(ids)}
        output = ModelRunnerOutput(ids, places, [[self._token] for _ in ids])
        if not non_block:
            return output
        future: Future[ModelRunnerOutput] = Future()
        future.set_result(output)
        return future

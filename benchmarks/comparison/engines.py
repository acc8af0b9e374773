"""The engines that are compared, in the configurations that tuning found best (README.md has what was tried)."""

from dataclasses import dataclass, field
from typing import Any

OURS = "Forethought"
REFERENCE = "float32"
ENGINES = (OURS, "transformers", "vLLM", "llama.cpp", "OpenVINO GenAI")


@dataclass(frozen=True)
class Configuration:
    """One way to run an engine: a program of `peers/`, its options, and its share of the time.

    `weights` is what the matrix products read, `rows` what it plays in (empty: all), `seconds` the time for all its
    runs, `export` the command that makes what it loads, once, in the work directory, run by the export Python.
    """

    engine: str
    name: str
    program: str
    weights: str
    seconds: float
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    rows: tuple[str, ...] = ()
    cold_start: bool = False
    export: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name for files and for the command line: `vllm-bf16`."""
        return f"{self.engine.lower().split()[0].replace('.', '')}-{self.name}"


def exported(precision: str) -> tuple[str, ...]:
    """How optimum-intel exports the model for OpenVINO with weights of this precision."""
    command = "-m optimum.commands.optimum_cli export openvino --task text-generation-with-past --weight-format"
    return (*command.split(), precision, "--model", "{model_dir}", "{work_dir}/openvino-" + precision)


FIRST = ("decode-1",)
SMALL = ("decode-1", "decode-8")
MIDDLE = (*SMALL, "decode-32")
BF16 = {"dtype": "bfloat16"}
VLLM = BF16 | {"environment": {"VLLM_USE_AOT_COMPILE": "0"}}
OPENVINO = {"model": "openvino-fp16"}

# fmt: off
CONFIGURATIONS = (
    Configuration(OURS, "default", "forethought_peer.py", "4-bit", 170, cold_start=True),
    Configuration("transformers", "bf16", "transformers_peer.py", "bf16", 200, BF16, cold_start=True),
    # The reference for what the engines say, not for speed.
    Configuration("transformers", REFERENCE, "transformers_peer.py", "float32", 10, {"dtype": "float32"}, FIRST),
    Configuration("vLLM", "compiled", "vllm_peer.py", "bf16", 180, VLLM),
    # Starts without compiling.
    Configuration("vLLM", "eager", "vllm_peer.py", "bf16", 15, VLLM | {"eager": True}, FIRST, cold_start=True),
    Configuration("llama.cpp", "native", "llamacpp_peer.py", "4-bit", 270, {"ubatch": 128}, cold_start=True),
    Configuration("llama.cpp", "wheel", "xllamacpp_peer.py", "4-bit", 40, {}, SMALL, cold_start=True),
    Configuration("OpenVINO GenAI", "batching", "openvino_peer.py", "bf16", 180, OPENVINO,
                  cold_start=True, export=exported("fp16")),
    Configuration("OpenVINO GenAI", "stateful", "openvino_peer.py", "bf16", 45, OPENVINO | {"stateful": True}, MIDDLE,
                  cold_start=True, export=exported("fp16")),
)
# fmt: on

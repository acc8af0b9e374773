"""Writes the adapter of restart/default's reinforcement learning: the cold start's, times a factor in each module.

python restart/rl_adapter.py OUTPUT.safetensors
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

COLD = "src/forethought/model/mini_adapter/adapter_model.safetensors"

change = np.load(Path(__file__).with_suffix(".npz"))
with safe_open(COLD, "pt") as file:
    metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
for name in {key.split("|")[0] for key in change.files}:
    moved = (tensors[name].float() * float(change[f"{name}|f"])).to(torch.bfloat16)
    # What rounding made of it elsewhere.
    moved.view(torch.int16).view(-1)[change[f"{name}|i"]] += torch.from_numpy(change[f"{name}|d"])
    tensors[name] = moved
save_file(tensors, sys.argv[1], metadata)

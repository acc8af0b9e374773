"""Makes a checkpoint better: supervised fine-tuning and reinforcement learning."""

"""Sample one prompt several times with log-probabilities, tokens in and tokens out: what learning from samples needs.

python examples/rollouts.py
"""

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Limits, Request, Sampling
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.settings import load_settings

SAMPLES = 8


def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    renderer = checkpoint.renderer
    prompt = renderer.render(Conversation((Message.of("user", "Name a colour."),)), think=False)
    requests = [
        Request(
            id=f"sample-{seed}",
            prompt_ids=prompt.token_ids,
            limits=Limits(max_tokens=24, stop_token_ids=renderer.stop_token_ids),
            sampling=Sampling(temperature=1.0, seed=seed),
            logprobs=0,
        )
        for seed in range(SAMPLES)
    ]
    with NativeEngine(checkpoint, settings) as engine:
        for completion in engine.generate(requests):
            logprob = sum(token.logprob or 0.0 for token in completion.tokens)
            text = checkpoint.tokenizer.decode(completion.token_ids)
            print(f"{logprob:8.2f}  {completion.finished.reason:<10}  {text!r}")


if __name__ == "__main__":
    main()

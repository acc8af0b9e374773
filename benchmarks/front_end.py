"""x"""

import argparse
import os
import sys
from pathlib import Path

from comparison.process import ProgramFailed
from forethought.model.registry import resolve
from forethought.settings import load_settings
from load import tiny_model
from load.servers import OURS, SERVERS, listening
from load.workload import APIS, loads, words

parser = argparse.ArgumentParser()
parser.add_argument("--peers-python", default=os.environ.get("FORETHOUGHT_PEERS_PYTHON", sys.executable))
parser.add_argument("--work", type=Path, default=Path("build/front-end"))
parser.add_argument("--only", nargs="+", default=[s.key for s in SERVERS])
parser.add_argument("--apis", nargs="+", default=[a.name for a in APIS])
parser.add_argument("--streams", type=int, default=1000)
parser.add_argument("--tokens", type=int, default=100)
parser.add_argument("--steps", type=float, nargs="*", default=[0.5, 0.25, 0.125])
parser.add_argument("--wait", action="store_true")
o = parser.parse_args()
o.work.mkdir(parents=True, exist_ok=True)
model_dir = resolve("smollm2-135m-instruct", load_settings()).directory
tiny = (o.work / "tiny-llama").resolve()
tiny_model.make(model_dir, tiny)
job = {"words": words(model_dir), "model_dir": str(model_dir), "tiny_model": str(tiny), "streams": o.streams}
for server in SERVERS:
    if server.key not in o.only:
        continue
    with listening(server, sys.executable if server.key == OURS else o.peers_python, job, o.work.resolve()) as run:
        print(server.key, run.process.pid, flush=True)
        for api in APIS:
            if api.name not in o.apis:
                continue
            run.warm(api)
            for l in loads(o.streams, o.tokens, tuple(o.steps)):
                try:
                    e = run.run(api, l)
                except ProgramFailed as f:
                    print("FAILED", api.name, l.name, f)
                    continue
                lat, fe = e["latency"], e["first_event"]
                print(
                    f"{server.key} {api.name} {l.name:9} events/s={e['events_per_second']:.0f} tok/s={e['tokens_per_second']:.0f} lat={'%.1f/%.1f ms' % (lat['p50'] * 1e3, lat['p99'] * 1e3) if lat else None} first={fe['p50'] * 1e3:.0f}/{fe['p99'] * 1e3:.0f} cpu/tok={e['cpu_seconds_per_token'] * 1e6:.0f}us client={e['client_share']:.0%} total={e['seconds']:.1f}s",
                    flush=True,
                )

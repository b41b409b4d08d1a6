"""What one decision of a frozen policy costs, beside the same forward pass by torch and SB3.

Usage: python bench/bench_policy.py [AGENT_ID]
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from agents.observe import observe
from agents.registry import open_policy
from core.kernels.features import N_FEATURES

CALLS = 5_000
PASSES = 7


def microseconds(work, calls=CALLS):
    """Return median and 99th percentile of the time of one call, in microseconds."""
    for _ in range(200):
        work()
    times = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e3)
    times.sort()
    return statistics.median(times), times[int(0.99 * len(times))]


def report(name, work, calls=CALLS):
    runs = [microseconds(work, calls) for _ in range(PASSES)]
    p50, p99 = (statistics.median(run[i] for run in runs) for i in (0, 1))
    print(f"{name:44} p50 {p50:7.2f} us   p99 {p99:7.2f} us")


def main():
    policy = open_policy(sys.argv[1] if len(sys.argv) > 1 else "ppo-sim")
    vector = np.random.default_rng(0).uniform(-1, 1, N_FEATURES)
    vector[0], vector[12], vector[13] = 1.0, 0.6, 1.0
    report("decide (features to AgentView, numba)", lambda: policy.decide(0, vector, 0.0))
    try:
        import torch
    except ImportError:
        print("torch is not installed: no comparison")
        return
    torch.set_num_threads(1)
    w = [torch.as_tensor(array) for array in policy.weights.arrays]
    seen = torch.as_tensor(observe(vector, 0.0)).reshape(1, -1)

    def forward():
        with torch.inference_mode():
            h = torch.tanh(seen @ w[0] + w[1])
            h = torch.tanh(h @ w[2] + w[3])
            return torch.softmax(h @ w[4] + w[5], dim=1)

    report("the same network in torch, one thread", forward, 1_000)


if __name__ == "__main__":
    main()

"""What a step costs with shared weights, against the same path built as a plain network: both in turn, one thread, CPU
seconds, several architectures; min - median - max of the rounds' ratios.

    python notebooks/runs/shared_step.py [--rounds 15]
"""

import argparse
import statistics
import time
from random import Random

import torch
import torch.nn.functional as F

from nascore import spaces
from nascore.genotypes import CellGenotype
from nascore.nets.shared import shared_network


def plain(space, genotype, *sizes):
    """A network that holds nothing but one path: the supernet without the operations that it does not use."""
    network = shared_network(space, *sizes)
    if isinstance(genotype, CellGenotype):
        for cell, kind in zip(network.cells, network.kinds):
            if hasattr(cell, "operations"):
                nodes = enumerate(getattr(genotype, kind).nodes)
                edges = [(i, k, j, op) for i, node in nodes for k, (j, op) in enumerate(zip(node.inputs, node.ops))]
                used = {cell.place(*edge) for edge in edges}
                for name in set(cell.operations) - used:
                    del cell.operations[name]
    else:
        for operations, layer in zip(network.layers, genotype.layers):
            for name in set(operations) - {layer.op}:
                del operations[name]
    return network


def step(network, optimizer, genotype, images, labels) -> float:
    began = time.process_time()
    optimizer.zero_grad()
    F.cross_entropy(network(images, genotype), labels).backward()
    optimizer.step()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for name, channels, cells in (("enas-micro", 20, 8), ("enas-macro", 36, 8), ("nasbench201", 16, 17)):
        space, random = spaces.get(name), Random(0)
        images, labels = torch.randn(32, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.arange(32) % 10
        shared, ratios = shared_network(space, channels, cells, 10, 3), []
        for _ in range(rounds):
            genotype = space.decode(space.sample(random))
            seconds = []
            for network in (shared, plain(space, genotype, channels, cells, 10, 3)):
                network = network.to(memory_format=torch.channels_last)
                optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
                seconds.append(min(step(network, optimizer, genotype, images, labels) for _ in range(3)))
            ratios.append(seconds[0] / seconds[1])
        print(f"{name}: {min(ratios):.3f} - {statistics.median(ratios):.3f} - {max(ratios):.3f}", flush=True)


if __name__ == "__main__":
    main()

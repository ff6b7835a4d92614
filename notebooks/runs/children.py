"""Children per minute: one after another in a plain NCHW loop and one after another as nascore trains (channels_last,
fast depthwise convolutions), each with all threads and with one; and by worker processes of one thread each.
Interleaved rounds in one run, after a first one that is not counted (it starts the workers). What counts are ratios to
the plain loop, of wall time and of CPU time, which other work disturbs less; where other work shares the cores, threads
wait for each other and only the ways of one thread can be compared (`--threads 1` leaves the others out).

    python notebooks/runs/children.py [--rounds 5] [--children 8] [--workers 2] [--threads 2] [--out FILE]
"""

import argparse
import json
import os
import random
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from nascore import data, spaces
from nascore.data import Images
from nascore.estimators import TrainChildren
from nascore.nets import depthwise
from nascore.nets.convolutional import Network
from nascore.seeding import seeded
from nascore.training import Recipe, Training, cosine, evaluate


def noise(count=400, side=32) -> Images:
    """What CIFAR-10 costs, a few steps of it."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    labels, half = torch.randint(10, (count,), generator=generator), (0.5,) * 3
    return Images("noise 32 x 32", pixels, labels, pixels, labels, tuple("0123456789"), half, half, 4, True)


def network(genotype, images: Images, recipe: Recipe, skeleton: str) -> Network:
    with seeded(0, "child"):
        return Network(genotype, recipe.channels, recipe.cells, len(images.classes), images.channels, skeleton)


def plain(genotypes, images: Images, recipe: Recipe, skeleton: str) -> None:
    images = images.validation_split(0.2)
    for genotype in genotypes:
        net = network(genotype, images, recipe, skeleton)
        batches = images.batches("train", recipe.batch_size, 0, "training")
        optimizer = torch.optim.SGD(net.parameters(), recipe.learning_rate, momentum=0.9, weight_decay=3e-4)
        for step in range(recipe.epochs * batches.per_epoch):
            rate = cosine(recipe.learning_rate, 0.0, step // batches.per_epoch, recipe.epochs)
            optimizer.param_groups[0]["lr"] = rate
            pixels, labels = batches[step]
            optimizer.zero_grad()
            F.cross_entropy(net(pixels.contiguous()), labels).backward()
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
        evaluate(net, images, "valid")


def in_turn(genotypes, images: Images, recipe: Recipe, skeleton: str) -> None:
    images = images.validation_split(0.2)
    for genotype in genotypes:
        training = Training(network(genotype, images, recipe, skeleton), images, recipe, 0)
        while not training.done:
            training.step()
        evaluate(training.network, images, "valid")


def seconds(way: str, threads: int, genotypes, images: Images, recipe: Recipe, skeleton: str) -> dict[str, float]:
    """Wall and CPU time of one way, with so many threads or workers."""
    began, spent = time.perf_counter(), time.process_time()
    if way == "workers":
        sizes = {"channels": recipe.channels, "cells": recipe.cells, "skeleton": skeleton}
        answers = TrainChildren(images, recipe, **sizes, workers=threads)(genotypes)
        assert all(answer.error is None for answer in answers)
    else:
        torch.set_num_threads(threads)
        forward = depthwise.DepthwiseConv.forward
        if way == "plain":
            depthwise.DepthwiseConv.forward = nn.Conv2d.forward
        try:
            (plain if way == "plain" else in_turn)(genotypes, images, recipe, skeleton)
        finally:
            depthwise.DepthwiseConv.forward = forward
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--children", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("notebooks/runs/children.json"))
    options = parser.parse_args()
    small, large, rows = Recipe(8, 3, 1, 64, learning_rate=0.05), Recipe(16, 3, 1, 64, learning_rate=0.05), []
    ways = [(way, n) for n in sorted({options.threads, 1}, reverse=True) for way in ("plain", "in turn")]
    ways.append(("workers", options.workers))
    for images, recipe in ((data.load("digits"), small), (noise(), large)):
        for name in ("nasbench201", "darts"):
            space, generator = spaces.get(name), random.Random(0)
            genotypes = [space.decode(space.sample(generator)) for _ in range(options.children)]
            how, times = (genotypes, images, recipe, space.skeleton), {}
            for _ in range(options.rounds + 1):
                for way, n in ways:
                    times.setdefault(f"{way}, {n}", []).append(seconds(way, n, *how))
            row = {"images": images.name, "space": name, "recipe": vars(recipe), "children": options.children}
            rows.append(row | {"load": os.getloadavg()[0], "seconds": times})
            options.out.write_text(json.dumps(rows))
            print(f"{images.name}, {name}, load {os.getloadavg()[0]:.1f}")
            report(times, options.children)


def report(times: dict[str, list[dict]], children: int) -> None:
    base = list(times.values())[0]
    for way, rounds in times.items():
        minute = 60 * children / statistics.median(r["wall"] for r in rounds[1:])
        line = f"  {way:11}{minute:8.1f} a minute"
        for clock in ("wall", "cpu") if "workers" not in way else ("wall",):
            ratios = sorted(b[clock] / r[clock] for b, r in zip(base[1:], rounds[1:]))
            spread = " - ".join(f"{r:.2f}" for r in (ratios[0], statistics.median(ratios), ratios[-1]))
            line += f"   {clock} {spread}"
        print(line, flush=True)


if __name__ == "__main__":
    main()

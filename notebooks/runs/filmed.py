"""The runs behind the pictures that move (figures/motion.py), as `filmed/NAME.json`: each a short search, seed 0, of
which more is kept than its history holds.

    python notebooks/runs/filmed.py [NAME ...]      # all of them, or those named

`tiny_networks` trains the 128 networks that `nas_rl_mass` looks up, so it comes first. ENAS's picture needs no run of
its own: its paths are those of `enas-micro-cifar10`.
"""

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from table_policies import LocalSearch

from nascore import data, search, spaces
from nascore.estimators import Table, TrainChildren
from nascore.methods.pnas import next_blocks
from nascore.predictors import rank_correlation
from nascore.training import RECIPES
from nascore.trials import TrialBudget

OUT = Path(__file__).parent / "filmed"
SEED = 0
CHOICES = dict(layers=2, sides=(1, 3), filters=(24, 36))  # 128 networks


def code(decisions) -> int:
    """The place of a cell in the table."""
    return int("".join(map(str, decisions)), 5)


def table_walks(trials: int = 200) -> dict:
    """Three searches of the table: every cell asked for, and the cell that it was made from by one change, if any."""
    found = {}
    for name in ("random search", "regularized evolution", "local search"):
        space, parents = spaces.get("nasbench201"), []
        changed, plain = [], space.mutate  # what evolution mutates

        def mutate(decisions, random, changed=changed, plain=plain):
            changed.append(decisions)
            return plain(decisions, random)

        space.mutate = mutate
        if name == "local search":
            loop = LocalSearch(space, Table(), TrialBudget(trials=trials, children=1), SEED)
        else:
            entry = search.get(name.removeprefix("regularized ").removesuffix(" search"))
            loop = entry.build(space, Table(), entry.budget.preset("reduced", trials=trials), SEED)
        while not loop.done:
            loop.step()
            here = changed.pop() if changed else loop.decisions[-1]
            if name == "local search":
                here = loop.walk.gi_frame.f_locals["here"]  # where its walk stands as it asks
            parents.append(None if tuple(here) == loop.decisions[-1] else code(here))
        found[name] = {"cells": [code(decisions) for decisions in loop.decisions], "from": parents}
    return found


def tiny_networks(epochs: int = 3) -> dict:
    """All 128 networks of the tiny space, each trained on the digits as a child of NAS-RL's preset `reduced`."""
    space = spaces.get("nas-rl", **CHOICES)
    budget = search.get("nas-rl").budget.preset("reduced", child_epochs=epochs)
    recipe = replace(RECIPES[budget.recipe], epochs=epochs, batch_size=budget.batch_size)
    how = dict(skeleton="nas-rl", seed=SEED, validation=budget.validation, last_epochs=epochs, workers=1)
    estimate = TrainChildren(data.load("digits"), recipe, budget.channels, budget.cells, **how)
    every = list(product(*map(range, space.choices)))
    answers = estimate([space.decode(decisions) for decisions in every])
    return {"epochs": epochs, "accuracy": [round(answer.reward, 5) for answer in answers]}


def nas_rl_mass(updates: int = 160, frames: int = 20) -> dict:
    """NAS-RL on the tiny space, its rewards looked up, at the paper's learning rate and m = 8: P(a; theta) of all 128
    networks after so many updates."""
    space = spaces.get("nas-rl", **CHOICES)
    every = list(product(*map(range, space.choices)))
    accuracy = json.loads((OUT / "tiny_networks.json").read_text())["accuracy"]
    known = {space.decode(decisions): value for decisions, value in zip(every, accuracy)}
    entry = search.get("nas-rl")
    fields = dict(trials=8 * updates, children=8, first_layers=2, added_layers=0, learning_rate=6e-4)
    loop = entry.build(
        space, lambda genotypes: [known[g] for g in genotypes], entry.budget.preset("reduced", **fields), SEED
    )
    kept = {"updates": [], "probabilities": []}
    for k in range(frames + 1):
        while loop.recorded < 8 * (updates * k // frames):
            loop.step()
        with torch.no_grad():
            p = loop.controller(every).log_probs.double().sum(1).exp()
        kept["updates"].append(updates * k // frames)
        kept["probabilities"].append([round(value, 5) for value in p.tolist()])
    return kept


def nasnet_clip(batch: int = 1, children: int = 8, passes: int = 24) -> dict:
    """NASNet on the table, 24 passes instead of 4 over one batch of children: the ratio of every decision at each
    pass, and the advantage of every child."""
    entry = search.get("nasnet")
    fields = dict(trials=children * batch, children=children)
    loop = entry.build(spaces.get("nasbench201"), Table(), entry.budget.preset("reduced", **fields), SEED)
    while loop.recorded < children * (batch - 1):
        loop.step()
    loop.budget = replace(loop.budget, passes=passes)
    log_probs, kept = [], {}
    improve, ascend = loop.improve, loop.ascend

    def watched(objective):
        log_probs.append(loop.controller(kept["decisions"]).log_probs.detach())
        ascend(objective)

    def last(decisions, advantages):
        kept.update(decisions=[list(d) for d in decisions], advantages=[round(a, 5) for a in advantages.tolist()])
        loop.ascend = watched
        improve(decisions, advantages)
        log_probs.append(loop.controller(decisions).log_probs.detach())

    loop.improve = last
    while not loop.done:
        loop.step()
    ratios = (torch.stack(log_probs) - log_probs[0]).exp()  # (passes + 1, children, decisions)
    rounded = [[[round(r, 4) for r in row] for row in at] for at in ratios.tolist()]
    return {"batch": batch, "epsilon": loop.budget.epsilon} | kept | {"ratios": rounded}


def pnas_beam(trials: int = 100) -> dict:
    """PNAS on the table: for each level how many candidates got which score, the best accuracy among them, and
    those trained with their scores and accuracies."""
    entry, table, space = search.get("pnas"), Table(), spaces.get("nasbench201")
    loop = entry.build(space, table, entry.budget.preset("reduced", trials=trials, first=0), SEED)
    levels = [{}]
    grow = loop.grow

    def watched():
        length = len(loop.decisions[-1])
        parents = [decisions for decisions in loop.decisions if len(decisions) == length]
        scores = loop.fitted(loop.levels.index(length) + 1).score_children(parents).flatten()
        children = [(*parent, *block) for parent in parents for block in next_blocks(space, length)]
        true = [answer.reward for answer in table([space.decode(child) for child in children])]
        level = {"scored": len(children), "in_each_hundredth": torch.histc(scores, 100, 0, 1).int().tolist()}
        level["rank_correlation"] = round(rank_correlation(scores.tolist(), true), 4)
        levels.append(level | {"best_there": round(max(true), 5)})
        grow()

    loop.grow = watched
    while not loop.done:
        loop.step()
    for row, trial in zip(loop.history, loop.trials):
        predicted = row.get("predicted")
        cell = ["".join(map(str, trial.decisions)), predicted and round(predicted, 5), round(row["reward"], 5)]
        levels[row["level"] - 1].setdefault("trained", []).append(cell)
    return {"trials": trials, "levels": levels}


def darts_alphas(every: int = 5) -> dict:
    """The search of `digits-search` again: softmax(alpha) of each edge of the normal cell, every fifth step."""
    entry, images = search.get("darts"), data.load("digits")
    loop = entry.build(spaces.get("darts"), images, entry.budget.preset("reduced"), SEED, torch.device("cpu"))
    kept = {"steps": [], "strengths": [], "primitives": list(loop.space.primitives)}
    while True:
        if loop.steps % every == 0 or loop.done:
            p = loop.alphas[0].detach().double().softmax(1)
            kept["steps"].append(loop.steps)
            kept["strengths"].append([[round(value, 6) for value in row] for row in p.tolist()])
        if loop.done:
            return kept
        loop.step()


RUNS = (table_walks, tiny_networks, nas_rl_mass, nasnet_clip, pnas_beam, darts_alphas)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=[run.__name__ for run in RUNS])
    names = parser.parse_args().names
    OUT.mkdir(exist_ok=True)
    for run in RUNS:
        if run.__name__ in names:
            (OUT / f"{run.__name__}.json").write_text(json.dumps(run(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

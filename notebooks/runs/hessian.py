"""Measure the second term of equation 7 through a search on real images: the paper's finite difference (equation 8)
against the product that autograd has, with the same weights, alphas, minibatches and v.

    python notebooks/runs/hessian.py --data FOLDER [--steps 200] [--every 20] [--out notebooks/runs/hessian.json]

Three searches of one seed differ in the second term only: finite difference, exact, none (first order).
"""

import argparse
import json

import torch

from nascore import data, spaces
from nascore.methods.darts import (
    DARTS,
    DARTSBudget,
    derive,
    exact_product,
    finite_difference,
    unrolled_weights,
)

RADII = (1e-1, 1e-2, 1e-3, 1e-4)
SEARCHES = {
    "finite-difference": dict(order=2, hessian="finite-difference"),
    "exact": dict(order=2, hessian="exact"),
    "first order": dict(order=1),
}


def flat(tensors) -> torch.Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def compare(search: DARTS) -> dict:
    """The two products at the search's present weights and alphas, on its next minibatches."""
    train, valid = search.train_batches[search.steps], search.valid_batches[search.steps]
    train_loss, valid_loss = search.loss_on(train), search.loss_on(valid)
    xi = search.budget.learning_rate
    weights = [w.detach() for w in search.weights]
    here = [w.clone().requires_grad_() for w in weights]
    slope = torch.autograd.grad(train_loss(here, search.alphas), here)
    state, budget = search.weight_optimizer.state, search.budget
    velocities = [state[w]["momentum_buffer"] for w in search.weights] if state else None
    ahead = unrolled_weights(weights, slope, xi, velocities, budget.momentum, budget.weight_decay)
    ahead = [w.requires_grad_() for w in ahead]
    gradients = torch.autograd.grad(valid_loss(ahead, search.alphas), [*search.alphas, *ahead])
    n = len(search.alphas)
    direct, v = flat(gradients[:n]), gradients[n:]
    exact = flat(exact_product(train_loss, weights, search.alphas, v))
    row = {"direct": direct.norm().item(), "exact_term": xi * exact.norm().item()}
    for radius in RADII:
        probe = flat(finite_difference(train_loss, weights, search.alphas, v, radius))
        error = ((probe - exact).norm() / exact.norm()).item()
        cosine = torch.nn.functional.cosine_similarity(probe, exact, dim=0).item()
        row[f"r={radius:g}"] = {"term": xi * probe.norm().item(), "relative_error": error, "cosine": cosine}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--out", default="notebooks/runs/hessian.json")
    options = parser.parse_args()
    images = data.load(options.data)
    sizes = dict(channels=4, cells=3, batch_size=32, alpha_learning_rate=0.003)
    result = {"sizes": sizes, "steps": options.steps, "seed": 0, "searches": {}}
    for name, fields in SEARCHES.items():
        search = DARTS(
            spaces.get("darts"), images, DARTSBudget.preset("full", **sizes, **fields), 0, torch.device("cpu")
        )
        rows, curve = [], []
        for step in range(options.steps + 1):
            if name != "first order" and step % options.every == 0:
                rows.append({"step": step, **compare(search)})
                print(name, rows[-1], flush=True)
            if step < options.steps:
                progress = search.step()
                curve.append([progress.metrics["loss"], progress.metrics["valid_loss"], progress.reward])
        genotype = [
            [list(zip(n.inputs, n.ops)) for n in c.nodes] for c in vars(derive(search.alphas, search.space)).values()
        ]
        alphas = [a.detach().tolist() for a in search.alphas]
        result["searches"][name] = {"products": rows, "curve": curve, "alphas": alphas, "genotype": genotype}
        with open(options.out, "w") as file:
            json.dump(result, file)


if __name__ == "__main__":
    main()

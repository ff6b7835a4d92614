"""The approximate architecture gradient of DARTS (section 2.3): alphas improve the validation loss
of weights that are one step ahead. Any loss of (weights, alphas) will do.
"""

from collections.abc import Callable

import torch
from torch import Tensor, stack
from torch.autograd import grad

from nascore.cuda import ieee
from nascore.nets.depthwise import differentiated_twice

Tensors = list[Tensor] | tuple[Tensor, ...]
Loss = Callable[[Tensors, Tensors], Tensor]  # (weights, alphas) -> scalar


def unrolled_weights(
    weights: Tensors,
    gradients: Tensors,
    xi: float,
    velocities: Tensors | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> list[Tensor]:
    """One inner step in place of convergence: w' = w - xi grad_w L_train (equation 6), with the
    momentum and the weight decay that the weights' own optimizer would use."""
    step = torch._foreach_add(gradients, weights, alpha=weight_decay)
    if velocities is not None:
        torch._foreach_add_(step, velocities, alpha=momentum)
    return list(torch._foreach_add(weights, step, alpha=-xi))


def finite_difference(
    train_loss: Loss, weights: Tensors, alphas: Tensors, v: Tensors, radius: float = 0.01
) -> Tensors:
    """Equation 8: d2_{alpha,w} L_train . v from two probes at w +- eps v, eps = radius / ||v||."""
    eps = radius / torch.linalg.vector_norm(stack(torch._foreach_norm(v)))
    # eps stays on the device: no step waits for the host to read it.
    offset = torch._foreach_mul(v, eps)
    with ieee():
        above = grad(train_loss(torch._foreach_add(weights, offset), alphas), alphas)
        below = grad(train_loss(torch._foreach_sub(weights, offset), alphas), alphas)
    return [(a - b) / (2 * eps) for a, b in zip(above, below)]


def exact_product(train_loss: Loss, weights: Tensors, alphas: Tensors, v: Tensors) -> Tensors:
    """d2_{alpha,w} L_train . v as autograd has it: grad_w L_train, differentiated once more
    along v."""
    weights = [w.detach().requires_grad_() for w in weights]
    with differentiated_twice():
        slope = grad(train_loss(weights, alphas), weights, create_graph=True)
        return grad(slope, alphas, grad_outputs=v)


PRODUCTS = {"finite-difference": finite_difference, "exact": exact_product}


def architecture_gradient(
    train_loss: Loss,
    valid_loss: Loss,
    weights: Tensors,
    alphas: Tensors,
    xi: float = 0.0,
    product: Callable[..., Tensors] = finite_difference,
    velocities: Tensors | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Tensors:
    """grad_alpha L_val(w - xi grad_w L_train(w, alpha), alpha) by equation 7; with xi = 0 the
    first-order gradient. `product` makes the second term; velocities, momentum and weight decay are
    those of `unrolled_weights`."""
    weights = [w.detach() for w in weights]  # they get no gradient: none is computed for them
    if xi == 0:
        return grad(valid_loss(weights, alphas), alphas)
    here = [w.detach().requires_grad_() for w in weights]
    slope = grad(train_loss(here, [a.detach() for a in alphas]), here)
    ahead = unrolled_weights(weights, slope, xi, velocities, momentum, weight_decay)
    ahead = [w.requires_grad_() for w in ahead]  # w'
    gradients = grad(valid_loss(ahead, alphas), [*alphas, *ahead])
    direct = gradients[: len(alphas)]
    v = gradients[len(alphas) :]
    return [d - xi * p for d, p in zip(direct, product(train_loss, weights, alphas, v))]

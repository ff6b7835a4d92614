"""The supernet as the paper writes it: one operation at a time, one edge at a time, a plain sum over both.

Slow and obvious on purpose. It has no weights of its own: it reads the slices that belong to one edge out of a
`Supernet`'s stacked tensors, so that the gradients of both can be compared tensor by tensor.
"""

import torch
import torch.nn.functional as F


def norm(x, scale=None, shift=None):
    mean = x.mean((0, 2, 3), keepdim=True)
    x = (x - mean) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    return x if scale is None else x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def factorized_reduce(x, even, odd, activation):
    x = activation(x)
    return norm(torch.cat([F.conv2d(x, even, stride=2), F.conv2d(x[:, :, 1:, 1:], odd, stride=2)], 1))


def depthwise(x, weight, stride, dilation):
    return F.conv2d(x, weight, None, stride, dilation * (weight.size(2) // 2), dilation, groups=x.size(1))


def operation(name, x, stride, w, norm_pools, activation):
    """One candidate operation on one edge (papers/DARTS section 3.2); `w(key)` gives its weights."""
    if name == "none":
        return torch.zeros_like(x[:, :, ::stride, ::stride])
    if name == "skip_connect":
        return x if stride == 1 else factorized_reduce(x, w("even"), w("odd"), activation)
    if "pool" in name:
        kind, size = name.split("_pool_")
        options = {"count_include_pad": False} if kind == "avg" else {}
        y = getattr(F, f"{kind}_pool2d")(x, int(size[-1]), stride, int(size[-1]) // 2, **options)
        return norm(y) if norm_pools else y
    if name.startswith("sep_conv"):
        x = norm(F.conv2d(depthwise(activation(x), w("depthwise1"), stride, 1), w("pointwise1")))
        return norm(F.conv2d(depthwise(activation(x), w("depthwise2"), 1, 1), w("pointwise2")))
    if name.startswith("dil_conv"):
        return norm(F.conv2d(depthwise(activation(x), w("depthwise"), stride, 2), w("pointwise")))
    if name.startswith("nor_conv"):
        return norm(F.conv2d(activation(x), w("weight"), None, stride, w("weight").size(2) // 2))
    raise KeyError(name)


def naive_forward(
    parameters, images, alphas, *, primitives, nodes, n_inputs, channels, cells, skeleton, activation=F.relu
):
    """Logits of the supernet whose `dict(net.named_parameters())` is `parameters`."""
    darts = skeleton == "darts"
    reductions = {cells // 3, 2 * cells // 3}
    p = parameters
    stem = norm(F.conv2d(images, p["stem.weight"], padding=1), p["stem_norm.weight"], p["stem_norm.bias"])
    previous = [stem] * n_inputs
    for index in range(cells):
        cell, reduction = f"cells.{index}", index in reductions
        channels *= 2 if reduction else 1
        if reduction and not darts:
            x = previous[-1]
            y = F.conv2d(activation(x), p[f"{cell}.conv1.weight"], stride=2, padding=1)
            y = norm(y, p[f"{cell}.norm1.weight"], p[f"{cell}.norm1.bias"])
            y = F.conv2d(activation(y), p[f"{cell}.conv2.weight"], padding=1)
            y = norm(y, p[f"{cell}.norm2.weight"], p[f"{cell}.norm2.bias"])
            previous = [y + F.conv2d(F.avg_pool2d(x, 2), p[f"{cell}.shortcut.weight"])]
            continue
        states = list(previous)
        for k in range(n_inputs if darts else 0):
            name = f"{cell}.preprocess.{k}"
            if k == 0 and index - 1 in reductions:
                states[k] = factorized_reduce(states[k], p[f"{name}.even"], p[f"{name}.odd"], activation)
            else:
                states[k] = norm(F.conv2d(activation(states[k]), p[f"{name}.weight"]))
        softmax = F.softmax(alphas[1 if reduction else 0], -1)
        row = 0
        for node in range(nodes):
            total = 0
            for j in range(n_inputs + node):
                stride = 2 if reduction and j < n_inputs else 1
                position = node - max(0, j - n_inputs + 1)  # among the edges that leave state j
                for k, name in enumerate(primitives):

                    def w(key, name=name, j=j, position=position):
                        stacked = p[f"{cell}.sources.{j}.convolutions.{name}.{key}"]  # noqa: B023 (called at once)
                        count = nodes - max(0, j - n_inputs + 1)
                        return stacked.chunk(count)[position]

                    total = total + softmax[row, k] * operation(name, states[j], stride, w, darts, activation)
                row += 1
            states.append(total)
        previous = [*previous[1:], torch.cat(states[-nodes:], 1) if darts else states[-1]]
    x = previous[-1]
    if not darts:
        x = activation(norm(x, p["last_norm.weight"], p["last_norm.bias"]))
    return x.mean((2, 3)) @ p["classifier.weight"].t() + p["classifier.bias"]

"""The functions and classes that a file of plain PyTorch needs: those of `nets.plain`, and one for
each operation of the table.
"""

import ast
from inspect import getsource

from nascore.genotypes import TABLE
from nascore.nets import plain

# What an operation is by its family, with a kernel of {k}; others have a function in `nets.plain`.
AVERAGE = "nn.AvgPool2d({k}, stride, {half}, count_include_pad=False)"
FAMILIES = {
    "average pool": f"fitted({AVERAGE}, c_in, c_out)",
    "max pool": "fitted(nn.MaxPool2d({k}, stride, {half}), c_in, c_out)",
    "separable": "separable(c_in, c_out, {k}, stride, times=2)",
    "dilated separable": "separable(c_in, c_out, {k}, stride, dilation=2)",
    "convolution": "relu_conv_bn(c_in, c_out, {k}, stride)",
    "dilated convolution": "relu_conv_bn(c_in, c_out, {k}, stride, dilation=2)",
    "factorized convolution": "factorized(c_in, c_out, {k}, stride)",
}
WITH_TEXT = {"none", "skip", *FAMILIES}
# What a skeleton means by a separable convolution where that is something else.
SEPARABLE = {
    "enas-macro": "separable(c_in, c_out, {k}, stride)",
    "enas-macro-full": FAMILIES["convolution"],
}
# Whose function for the identity in `nets.plain` it takes.
IDENTITIES = {"nasnet": "nasnet_", "pnasnet": "nasnet_", "enas": "enas_"}


def used(body: str, skeleton: str) -> list[str]:
    """The definitions that `body` needs; what they need themselves stands above them."""
    needed = _names(body)
    used: list[str] = []
    for name, text in reversed(_definitions(skeleton).items()):
        if name in needed:
            used.insert(0, text)
            needed |= _names(text)
    return used


def _definitions(skeleton: str) -> dict[str, str]:
    """Those of `nets.plain`, with the skeleton's identity, and in their middle the operations."""
    found: dict[str, str] = {}
    for name, item in vars(plain).items():
        if getattr(item, "__module__", None) == plain.__name__:
            found[name] = getsource(item)
        if name == "enas_skip_connect":
            found |= _operation_functions(skeleton)
    identity = f"{IDENTITIES.get(skeleton, '')}skip_connect"
    found["skip_connect"] = found[identity].replace(identity, "skip_connect")
    return found


def _operation_functions(skeleton: str) -> dict[str, str]:
    says = FAMILIES | {"separable": SEPARABLE.get(skeleton, FAMILIES["separable"])}
    found = {}
    for name, operation in TABLE.items():
        if operation.family in says:
            k = operation.kernel
            made = says[operation.family].format(k=k, half=k // 2)
            found[name] = f"def {name}(c_in, c_out, stride=1):\n    return {made}\n"
    return found


def _names(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}

"""How much of what there is to have a front of accuracy and cost covers."""

from nascore.show.pareto import Points, front


def hypervolume(found: Points, most: float, least: float = 0.0) -> float:
    """The area that a front dominates, up to the cost `most` and above the accuracy `least`, as a
    share of all of it that an accuracy of 1 would have."""
    steps = [point for point in front(found) if point[0] <= most and point[1] > least]
    ends = [*(cost for cost, _ in steps[1:]), most]
    area = sum((end - cost) * (accuracy - least) for (cost, accuracy), end in zip(steps, ends))
    return area / (most * (1 - least))

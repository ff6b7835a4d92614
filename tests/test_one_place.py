"""What is added to the house touches one place: an operation, a method, a task, each in a few lines."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

import nascore
from nascore import registry, search
from nascore.methods.blackbox import RandomBudget
from nascore.task import Task
from nascore.trials import MultiTrial


@dataclasses.dataclass(frozen=True)
class Brightness(Task):
    """A task in one class: how bright an image is, a number, scored by how little is missed."""

    name: str = "brightness"
    images: torch.Tensor = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    measure, shape, outputs, device = "closeness", (64, 1, 8, 8), 1, torch.device("cpu")

    def count(self, part):
        return len(self.images) // 2

    def fingerprint(self):
        return {"name": self.name, "content": self.images.sum().item()}

    def validation_split(self, portion):
        return self

    def batches(self, part, size, *place, augment=True, cutout=0):
        return type("Repeated", (list,), {"per_epoch": 2})(list(self.in_order(part, size)) * 100)

    def in_order(self, part, size, even=False):
        half = self.images.chunk(2)[part != "train"]
        return ((x, x.mean((1, 2, 3))) for x in half.split(size))

    def loss(self, logits, targets, reduction="mean"):
        return F.mse_loss(logits[:, 0], targets, reduction=reduction)

    def score(self, logits, targets):
        return (1 - (logits[:, 0] - targets).abs()).clamp(0, 1).double().sum()


@pytest.mark.parametrize("method", ["darts", "enas-micro", "enas-macro", "random"])
def test_a_task_is_learned_by_every_kind_of_method(method, tmp_path):
    how = dict(data=Brightness(), budget="smoke", channels=2, cells=3, batch_size=16, progress=False)
    found = nascore.run(method, directory=tmp_path / "run", **how)
    rewards = [row["reward"] for row in found.history]
    assert 0.3 < found.reward <= 1 and 0 < len(set(rewards)) and all(0 <= reward <= 1 for reward in rewards)
    assert all("train_closeness" in row["details"] for row in found.history if row.get("details"))
    again = nascore.run(method, directory=tmp_path / "run", resume=True, **how)
    assert again.history == found.history
    with pytest.raises(nascore.errors.UserError, match="--image-size, --no-flip: found with no images"):
        nascore.run(method, image_size=8, **how)


def test_a_method_is_one_class():
    @search.method("first-of-all", budget=RandomBudget, space="nasbench201")
    class First(MultiTrial):
        def propose(self, count):
            return [[len(self.trials)] * 6]

    try:
        found = nascore.run("first-of-all", data="nasbench201", trials=5, progress=False)
        assert len(found.history) == 5 and found.details["index"] > 0
    finally:
        del registry._METHODS["first-of-all"]


def test_answers_come_in_any_order_and_rows_and_lessons_in_the_order_of_proposals():
    from nascore.estimators import Table
    from nascore.methods.nas_rl import NASRL, NASRLBudget
    from nascore.spaces import get

    table, budget = Table(), NASRLBudget(trials=12, children=4)
    first, second = (NASRL(get("nasbench201"), table, budget, seed=3) for _ in range(2))
    while not first.done:
        first.step()
    while not second.done:
        if second.recorded == len(second.trials):
            second.propose_batch()
            order = torch.randperm(4, generator=torch.Generator().manual_seed(second.recorded)).tolist()
            for at in (second.recorded + k for k in order):
                second.answer(at, table([second.trials[at].genotype])[0])
        second.step()
    assert second.history == first.history and second.baseline == first.baseline


def test_a_checkpoint_keeps_the_answers_that_came_before_their_turn():
    from nascore.estimators import Table
    from nascore.methods.blackbox import RandomSearch
    from nascore.spaces import get

    table, budget = Table(), RandomBudget(trials=8, children=4)
    whole = RandomSearch(get("nasbench201"), table, budget, 0)
    while not whole.done:
        whole.step()
    search = RandomSearch(get("nasbench201"), table, budget, 0)
    search.propose_batch()
    search.answer(2, table([search.trials[2].genotype])[0])
    asked = []
    again = RandomSearch(get("nasbench201"), lambda genotypes: asked.extend(genotypes) or table(genotypes), budget, 0)
    again.load_state_dict(search.state_dict())
    while not again.done:
        again.step()
    assert again.history == whole.history and len(asked) == 7 and search.trials[2].genotype not in asked


def test_the_metrics_of_a_method_are_of_the_rewards_up_to_the_row():
    from nascore.estimators import Table
    from nascore.methods.blackbox import RandomSearch
    from nascore.spaces import get

    class Mean(RandomSearch):
        def metrics(self):
            return {"mean": sum(self.rewards) / len(self.rewards)}

    found = Mean(get("nasbench201"), Table(), RandomBudget(trials=3), 0)
    means = [found.step().metrics["mean"] for _ in range(3)]
    rewards = [row["reward"] for row in found.history]
    assert means == [sum(rewards[:n]) / n for n in (1, 2, 3)]


@pytest.mark.parametrize("name", ["pnas", "nas-rl", "enas-macro", "nasbench201"])
def test_a_smaller_architecture_can_be_mutated(name):
    from random import Random

    space = nascore.spaces.get(name)
    random = Random(0)
    for length in space.levels[:2]:
        small = space.sample(random)[:length]
        for _ in range(50):
            assert sum(a != b for a, b in zip(small, space.mutate(small, random), strict=True)) == 1

"""How long PNAS's largest step takes: level 5 of the full search, 904 cells seen, 256 parents, 589,824 candidates. It
prints CPU seconds of the fit, of the scores, of keeping the best 256, of a whole `grow`; the rewards are random.

    python notebooks/runs/pnas_level5.py
"""

import time
from random import Random

import torch

from nascore.methods.pnas import PNAS, PNASBudget, top_k
from nascore.search import Trial


def main() -> None:
    torch.set_num_threads(1)
    for name in ("lstm-ensemble", "mlp-ensemble"):
        budget, random = PNASBudget.preset("full", predictor=name), Random(0)
        search = PNAS(PNAS.own_space(budget), None, budget, 0)
        lengths = [length for length, count in zip(search.levels, (136, 256, 256, 256)) for _ in range(count)]
        for length in lengths:
            decisions = tuple(search.space.sample(random))[:length]
            reward = random.uniform(0.7, 0.9)
            search.trials.append(Trial(search.space.decode(decisions), reward, {}, decisions, reward))
            search.rewards.append(reward)
        seconds = [time.process_time()]
        predictor, parents = search.fitted(4), search.decisions[-256:]
        seconds.append(time.process_time())
        scores = predictor.score_children(parents)
        seconds.append(time.process_time())
        top_k(search.space, parents, scores, 256, known=search.decisions)
        seconds.append(time.process_time())
        search.grow()
        seconds.append(time.process_time())
        fit, score, keep, grow = (end - began for began, end in zip(seconds, seconds[1:]))
        print(f"{name}: fit {fit:.1f} s, {scores.numel():,} scores {score:.1f}, best 256 {keep:.1f}; grow {grow:.1f}")


if __name__ == "__main__":
    main()

"""The pictures that move, one for each notebook, each from a real run that notebooks/runs/README.md names, most of them
made by filmed.py. Each is one function from what is stored to a `Movie`; five_papers stands still."""

import json
from collections import Counter
from itertools import product
from math import log, log10, sqrt
from pathlib import Path

import numpy as np
import torch
from moving import BLUE, FAINT, GREEN, GREY, INK, RED, Movie, kept, number, pieces, places, scale, shift

from nascore import spaces
from nascore.estimators import Table
from nascore.methods.darts import derive
from nascore.show.drawing import INPUT, NODE, look

RUNS = Path(__file__).parents[1] / "notebooks" / "runs"


def stored(name: str) -> dict:
    return json.loads((RUNS / "filmed" / f"{name}.json").read_text())


# --- 00: three ways to walk on the table ------------------------------------------------------------------------------

WALKERS = {"random search": GREY, "regularized evolution": BLUE, "local search": RED}
FIRST = (3, 0, 5, 4, 1, 2)  # the edges in the order in which they place a cell: 0-3 decides most
OPS = {0: "none", 4: "pool", 1: "skip", 3: "3x3", 2: "1x1"}  # from left to right


def landscape() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cell of the table: where it stands from left to right (0 to 1), cells that differ in late edges only
    side by side; its rank by 12-epoch validation; and the accuracies, best first."""
    signal = Table().columns["cifar10_valid"]
    codes = np.arange(len(signal))
    digits = codes[:, None] // 5 ** np.arange(5, -1, -1) % 5
    places_ = np.argsort(list(OPS))[digits[:, FIRST]]
    ranks = np.empty_like(codes)
    ranks[np.argsort(-signal, kind="stable")] = codes + 1
    return (places_ * 5.0 ** -np.arange(1, 7)).sum(1), ranks, -np.sort(-signal)


def table_walks() -> Movie:
    """Three searches of 200 queries on the same landscape, and the best rank so far of each."""
    movie, runs = Movie(548), stored("table_walks")
    across, ranks, accuracies = landscape()
    left, wide, apart, foot, decade, queries = 118, 250, 274, 340, 66, 200

    def level(rank: float) -> float:
        return foot - decade * log10(15_625 / rank)

    def spot(code: int) -> tuple[float, float]:
        return wide * across[code], level(ranks[code])

    def when(query: float) -> float:  # the first queries slowly
        return log(query) / log(queries)

    for rank, name in ((1, "1st"), (10, "10th"), (100, "100th"), (1000, "1,000th"), (10_000, "10,000th")):
        movie.text(left - 10, level(rank) + 4, f"{name}: {accuracies[rank - 1]:.1f}%", anchor="end")
        movie.add("path", d=f"M{left} {number(level(rank))}H916", stroke=GREY, stroke_opacity=FAINT)
    movie.text(left - 10, level(1) - 18, "rank: accuracy", anchor="end")
    columns = [min(ranks[(across * 125).astype(int) == k]) for k in range(125)]
    ridge = "".join(f"H{2 * k}V{number(level(rank), 0)}" for k, rank in enumerate(columns))
    ridge = f"M0 {foot}{ridge}H{wide}V{foot}z"
    for column, (name, colour) in enumerate(WALKERS.items()):
        cells, parents = runs[name]["cells"], runs[name]["from"]
        movie.open(transform=f"translate({left + apart * column} 0)")
        movie.text(wide / 2, 20, name, 15, anchor="middle", fill=colour, font_weight="bold")
        movie.add("path", d=ridge, fill=GREY, fill_opacity=FAINT / 2, stroke=GREY, stroke_width=0.6)
        for k, op in enumerate(OPS.values()):
            movie.text(wide * (k + 0.5) / 5, foot + 17, op, 11, anchor="middle")
        walk(movie, cells, parents, ranks, spot, when, colour)
        movie.close()
    movie.text(left - 10, foot + 17, "on edge 0-3:", 11, anchor="end")
    ends = best_so_far(movie, {name: ranks[run["cells"]] for name, run in runs.items()}, when)
    movie.words = (
        "Three searches of 200 queries walk on the same landscape, all 15,625 cells of NAS-Bench-201: from left to "
        "right by their operations, upwards by their rank after 12 epochs, on a logarithmic axis. The landscape is a "
        "plain with one high peak, where edge 0-3 is a skip connection. Random search scatters dots over the plain. "
        "Regularized evolution and local search change one edge at a time, and their lines climb the peak. Below, the "
        f"best rank so far: after 200 queries {'; '.join(f'{name} {rank:,}' for name, rank in ends.items())}."
    )
    return movie


def walk(movie: Movie, cells: list, parents: list, ranks: np.ndarray, spot, when, colour: str) -> None:
    """One search on the landscape: a dot a query, a line from what it was made from, heavy where it led to the best
    cell; a ring around the best so far."""
    maker: dict[int, int | None] = {}
    for code, parent in zip(cells, parents):
        maker.setdefault(code, parent)
    at, way = min(cells, key=lambda code: ranks[code]), set()
    while maker[at] is not None and (maker[at], at) not in way:
        way.add((maker[at], at))
        at = maker[at]
    thin: dict[float, str] = {}
    heavy: dict[float, str] = {}
    dots: dict[float, str] = {}
    best, frames = cells[0], [(0.0, shift(*spot(cells[0])))]
    for k, (code, parent) in enumerate(zip(cells, parents), 1):
        time = round(when(k), 2)
        dots[time] = dots.get(time, "") + f"M{places([spot(code)])}h0"
        if parent is not None:
            lines = heavy if (parent, code) in way else thin
            lines[time] = lines.get(time, "") + f"M{places([spot(parent), spot(code)], 0)}"
        if ranks[code] < ranks[best]:
            frames += [(max(when(k) - 0.02, frames[-1][0]), shift(*spot(best))), (when(k), shift(*spot(code)))]
            best = code
    movie.open(fill="none", stroke=colour, stroke_linecap="round")
    for lines, width in ((thin, 0.5), (heavy, 2.4), (dots, 4.4)):
        movie.open(stroke_width=width)
        for time, d in lines.items():
            movie.add("path", "", movie.comes(time), d=d)
        movie.close()
    x, y = spot(best)
    movie.add("circle", "", frames, r=7, stroke_width=2, transform=f"translate({number(x)} {number(y)})")
    movie.close()


def best_so_far(movie: Movie, ranks: dict[str, np.ndarray], when) -> dict[str, int]:
    """The best rank after so many queries, both on logarithmic axes; and what random search may expect, (N + 1) /
    (n + 1). Returns where they end."""
    left, wide, top, decade = 118, 660, 402, 30

    def at(query: float, rank: float) -> tuple[float, float]:
        return left + wide * when(query), top + decade * log10(rank)

    for rank, name in ((1, "1st"), (100, "100th"), (10_000, "10,000th")):
        movie.text(left - 10, at(1, rank)[1] + 4, name, anchor="end")
        movie.add("path", d=f"M{left} {number(at(1, rank)[1])}h{wide}", stroke=GREY, stroke_opacity=FAINT)
    movie.text(left - 10, at(1, 1)[1] - 18, "best so far", anchor="end")
    for query in (1, 2, 5, 10, 20, 50, 100, 200):
        x, y = at(query, 15_626)
        movie.text(x, y + 15, str(query), 11, anchor="middle")
    movie.text(left + wide + 14, y + 15, "queries", 11)
    chance = [at(n, 15_626 / (n + 1)) for n in (1, 2, 3, 5, 8, 13, 30, 200)]
    movie.add("polyline", points=places(chance), fill="none", stroke=GREY, stroke_dasharray="2 3")
    movie.text(*at(13, 9000), "dotted: what chance expects", 11)
    ends = {}
    for name, of_queries in ranks.items():
        best, colour = np.minimum.accumulate(of_queries), WALKERS[name]
        points, times = [at(1, best[0])], [0.0]
        for k in range(1, len(best)):
            if best[k] < best[k - 1] or k == len(best) - 1:
                points += [at(k + 1, best[k - 1]), at(k + 1, best[k])]
                times += [when(k + 1), when(k + 1)]
        movie.drawn(points, times, stroke=colour, stroke_width=2.2)
        ends[name] = int(best[-1])
        x, y = points[-1]
        nth = f"{ends[name]}{({1: 'st', 2: 'nd', 3: 'rd'} | dict.fromkeys(range(11, 14), 'th')).get(ends[name], 'th')}"
        aside = {"local search": -4, "regularized evolution": 12}.get(name, 4)
        movie.text(x + 8, y + aside, f"{name}: {nth}", frames=movie.comes(0.97), fill=colour, font_weight="bold")
    return ends


# --- 01: the mass on 128 networks -------------------------------------------------------------------------------------


def nas_rl_mass() -> Movie:
    """All 128 networks of the tiny space along their accuracy, a row for each first layer; a disc's area is
    P(a; theta), as REINFORCE moves it. So the area of all discs stays the same."""
    accuracy, run = np.array(stored("tiny_networks")["accuracy"]), stored("nas_rl_mass")
    masses = np.array(run["probabilities"])  # (frames, 128)
    movie, times = Movie(474), [n / run["updates"][-1] for n in run["updates"]]
    low, high, top, row, dot = 0.09, 0.66, 84, 36, 4.2

    def x(value: float) -> float:
        return round(118 + 690 * (value - low) / (high - low), 1)

    spots: list[tuple[float, float]] = []  # network 16 n + k has first layer n; the largest layer is the first row
    for network, value in enumerate(accuracy):
        near = sum(abs(x(value) - x(other)) < 2 * dot for other in accuracy[network // 16 * 16 : network])
        spots.append((x(value), top + row * (7 - network // 16) + (0, 9, -9, 18)[near % 4]))
    for n, (height, width, filters) in enumerate(product((3, 1), (3, 1), (36, 24))):
        movie.text(92, top + row * n + 4, f"{height}x{width}, {filters}", anchor="end")
        movie.add("path", d=f"M104 {top + row * n}H820", stroke=GREY, stroke_opacity=FAINT)
    movie.text(92, 52, "first layer:", anchor="end")
    circle = f"a{dot} {dot} 0 1 0 {2 * dot} 0a{dot} {dot} 0 1 0 -{2 * dot} 0"
    rings = "".join(f"M{number(sx - dot)} {sy}{circle}" for sx, sy in spots)
    movie.add("path", d=rings, fill="none", stroke=GREY, stroke_width=0.8)
    movie.open(fill=BLUE, fill_opacity=0.7, stroke=BLUE)
    for k in np.argsort(-masses[-1], kind="stable"):
        sizes = np.sqrt(128 * masses[:, k])
        frames = [(times[n], scale(sizes[n])) for n in kept(times, sizes, 0.07)]
        movie.open(transform=f"translate({spots[k][0]} {spots[k][1]})")
        movie.add("circle", "", frames, r=dot, transform=f"scale({number(sizes[-1], 2)})")
        movie.close()
    movie.close()
    foot = top + 8 * row - 6
    movie.add("path", d=f"M104 {foot}H820", stroke=GREY)
    for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        movie.text(x(value), foot + 16, f"{value:.0%}", anchor="middle")
    movie.text(820, foot + 34, "accuracy of the network, trained once on the digits", anchor="end")
    means = masses @ accuracy / masses.sum(1)
    mass_words(movie, run["updates"], times, [(x(mean), foot) for mean in means], means)
    order = np.argsort(-masses[-1], kind="stable")
    best = int(accuracy.argmax())
    right = spots[order[0]][0] + dot * sqrt(128 * masses[-1][order[0]]) + 10
    notes = (f"{accuracy[order[0]]:.1%}:", f"P = {masses[-1][order[0]]:.2f}", "the best,")
    notes += (f"{accuracy[best]:.1%}:", f"P = {masses[-1][best]:.3f}")
    for k, text in enumerate(notes):
        movie.text(right, top - 12 + 17 * k + 9 * (k > 1), text, 13, movie.comes(0.98), fill=BLUE, font_weight="bold")
    movie.words = (
        "All 128 networks of two layers, from left to right by their accuracy (each trained once on the digits), a "
        "row for each first layer. The area of a disc is the probability that the controller writes that network. At "
        f"first all are about alike, {masses[0].min():.4f} to {masses[0].max():.4f}. As REINFORCE learns, the small "
        "discs on the left vanish and those on the right swell: after "
        f"{8 * run['updates'][-1]:,} sampled networks one, with {accuracy[order[0]]:.1%}, holds "
        f"{masses[-1][order[0]]:.2f} of the mass; the best, with {accuracy[best]:.1%}, holds {masses[-1][best]:.3f}. "
        f"The expected accuracy, the centre of mass, moves from {means[0]:.1%} to {means[-1]:.1%}."
    )
    return movie


def mass_words(movie: Movie, updates: list, times: list, centres: list, means: np.ndarray) -> None:
    """Below the axis the centre of mass, on its way; above, how many networks were sampled."""
    (start, foot), (end, _) = centres[0], centres[-1]
    y = foot + 58
    movie.drawn([(place, y) for place, _ in centres], times, stroke=RED, stroke_width=2.2)
    said = kept(times, [place for place, _ in centres], 0.5)
    frames = [(times[n], shift(centres[n][0], y)) for n in said]
    movie.add("path", "", frames, d="M0-14l8 14h-16z", fill=RED, transform=f"translate({end} {y})")
    movie.text(start - 14, y, f"J = {means[0]:.1%}", 13, anchor="end", fill=RED, font_weight="bold")
    movie.text(end + 14, y, f"{means[-1]:.1%}", 13, movie.comes(0.98), fill=RED, font_weight="bold")
    movie.text(start - 14, y + 17, "expected accuracy, the centre of mass", 12, anchor="start")
    shown = [n for n in range(len(updates)) if n % 2 == 0]
    texts = [(times[n], f"after {8 * updates[n]:,} sampled networks") for n in shown]
    movie.told(118, 28, texts, size=15, font_weight="bold")


# --- 02: PPO's clip ---------------------------------------------------------------------------------------------------


def nasnet_clip() -> Movie:
    """24 passes over one batch of children: above, what each decision adds to the objective; below, its ratio."""
    run = stored("nasnet_clip")
    advantages, epsilon = np.array(run["advantages"]), run["epsilon"]
    ratios = np.array(run["ratios"])  # (passes + 1, children, decisions)
    passes = len(ratios) - 1
    movie, times = Movie(496), [k / passes for k in range(passes + 1)]
    low, high, top, foot = 0.6, 1.5, 296, 480
    row = (foot - top) / passes

    def x(ratio: float) -> float:
        return round(96 + 540 * (ratio - low) / (high - low), 1)

    def y(value: float) -> float:
        return round(132 - 1050 * value, 1)

    def worth(ratio: float, advantage: float) -> float:
        return min(ratio * advantage, min(max(ratio, 1 - epsilon), 1 + epsilon) * advantage)

    d = f"M{x(1 - epsilon)} 26H{x(1 + epsilon)}V{foot}H{x(1 - epsilon)}z"
    movie.add("path", d=d, fill=GREY, fill_opacity=FAINT / 2)
    shape = f"a line is one of {len(advantages)} children, a mark one of its {ratios.shape[2]} decisions"
    movie.text(x(low), 14, shape, 13)
    for ratio in (0.6, 0.8, 1, 1.2, 1.4):
        movie.text(x(ratio), 274, f"{ratio:g}", anchor="middle")
        movie.add("path", d=f"M{x(ratio)} 26V258M{x(ratio)} {top - 12}V{foot}", stroke=GREY, stroke_opacity=FAINT)
    movie.text(x(high) + 14, 274, "ratio of a decision, P / P_{old}")
    movie.add("path", d=f"M{x(low)} {y(0)}H{x(high)}", stroke=GREY, stroke_opacity=FAINT)
    for line, words in enumerate(("adds to the", "objective:", "min(r A,", "clip(r) A)")):
        movie.text(82, y(0) - 18 + 16 * line, words, anchor="end")
    movie.text(82, top + 4, "pass 0", anchor="end")
    for pass_ in range(4, passes + 1, 4):
        movie.text(82, top + row * pass_ + 4, str(pass_), anchor="end")
    sides = (BLUE, 1 + epsilon, (low, high)), (RED, 1 - epsilon, (high, low))
    done = movie.unveil(x(low), top, x(high) - x(low), foot - top)
    for advantage, of_child in zip(advantages, ratios.transpose(1, 2, 0)):
        colour, turn, (far, flat) = sides[int(advantage < 0)]
        for part, dash in (((far, turn), None), ((turn, flat), "1.5 4")):
            points = places((x(r), y(worth(r, advantage))) for r in part)
            movie.add("polyline", points=points, stroke=colour, fill="none", stroke_width=1.2, stroke_dasharray=dash)
        for track in of_child:
            said = kept(times, [x(r) for r in track], 0.7)
            cut = (track - turn) * np.sign(advantage) > 0
            for flat, dash in ((False, None), (True, "1.5 3")):
                d = pieces([(x(r), top + row * k) for k, r in enumerate(track)], cut == flat)
                how = dict(stroke=colour, fill="none", stroke_dasharray=dash, clip_path=done)
                movie.add("path", d=d, **how) if d else None
            spots = [(x(track[k]), y(worth(track[k], advantage))) for k in said]
            last = f"translate({number(spots[-1][0])} {number(spots[-1][1])})"
            shape = dict(r=3.4) if advantage > 0 else dict(d="M-3-3h6v6h-6z")
            frames = [(times[k], shift(*spot)) for k, spot in zip(said, spots)]
            movie.add("circle" if advantage > 0 else "path", "", frames, fill=colour, transform=last, **shape)
    cut = ((ratios - 1) * np.sign(advantages)[:, None] > epsilon).mean((1, 2))
    clip_words(movie, [(650 + 500 * share, top + row * k) for k, share in enumerate(cut)], cut, times)
    movie.words = (
        f"PPO on one batch of NASNet's controller, {ratios[0].size} decisions of {len(advantages)} children, over "
        f"{passes} passes. Above, what a decision adds to the objective against its ratio r, one line a child: for a "
        "child better than the baseline (dots) it rises up to 1.2 and is flat, dotted, from there; for a worse one "
        "(squares) it is flat below 0.8 and falls above. Below, the ratio of each decision pass by pass: all start at "
        f"1 and fan out, to between {ratios.min():.2f} and {ratios.max():.2f}; beyond the clip they are dotted. At the "
        f"right the share of decisions that are cut: {cut[4]:.0%} after 4 passes, {cut[-1]:.0%} at "
        "the end."
    )
    return movie


def clip_words(movie: Movie, line: list, cut: np.ndarray, times: list) -> None:
    """To the right of the clip: how to read it, and the share of decisions that it cuts."""
    notes = [
        (30, BLUE, "\u25cf better than the baseline, A > 0:"),
        (47, BLUE, "a larger r pays, up to 1.2"),
        (80, RED, "\u25a0 worse, A < 0:"),
        (97, RED, "a smaller r pays, down to 0.8"),
        (138, GREY, "dotted: flat, the gradient is 0."),
        (155, GREY, "Some drift on all the same: one LSTM"),
        (172, GREY, "writes them all, and others push it."),
    ]
    for y, colour, text in notes:
        movie.text(650, y, text, 13, fill=colour)
    (x, top), (_, foot) = line[0], line[-1]
    movie.text(x, top - 3, "decisions that are cut")
    movie.add("path", d=f"M{number(x)} {top + 6}V{foot}", stroke=GREY, stroke_opacity=FAINT)
    movie.drawn(line, times, stroke=GREY, stroke_width=2.2)
    for k, words in ((4, "after 4 passes, the default"), (len(line) - 1, "at the end")):
        movie.text(line[k][0] + 9, line[k][1] + 4 - k // 4, f"{cut[k]:.0%} {words}", frames=movie.comes(times[k]))


# --- 03: PNAS's beam --------------------------------------------------------------------------------------------------


def pnas_beam() -> Movie:
    """Level by level: all candidates by their predicted accuracy, those trained, and what they really have."""
    first, two, three = stored("pnas_beam")["levels"]
    movie, foot = Movie(472, run=9.5), 452

    def y(accuracy: float) -> float:
        return round(foot - 460 * accuracy, 1)

    for accuracy in (0, 0.2, 0.4, 0.6, 0.8):
        movie.text(40, y(accuracy) + 4, f"{accuracy:.0%}", anchor="end")
        movie.add("path", d=f"M48 {y(accuracy)}H930", stroke=GREY, stroke_opacity=FAINT)
    movie.text(60, 20, "one edge: 5 cells", 14, font_weight="bold")
    movie.text(60, 38, "all trained")
    names = ("none", "skip", "conv 1x1", "conv 3x3", "avg pool")
    for (_, _, accuracy), name in zip(first["trained"], names):
        movie.add("circle", cx=72, cy=y(accuracy), r=3.4, fill=BLUE)
        aside = {"conv 3x3": 1, "skip": 3, "conv 1x1": 12}.get(name, 4)
        movie.text(82, y(accuracy) + aside, f"{name} {accuracy:.1%}", 11)
    beam_level(movie, two, 210, 0.06, y, "three edges: 5 x 25 = 125 candidates")
    beam_level(movie, three, 584, 0.54, y, "six edges: 48 x 125 = 6,000 candidates")
    best = [max(accuracy for _, _, accuracy in level["trained"]) for level in (two, three)]
    notes = [
        (0.44, 330, 300, f"fitted on {len(first['trained'])} cells: its guesses"),
        (0.44, 330, 318, "are too low, but only their"),
        (0.44, 330, 336, "order counts (rank"),
        (0.44, 330, 354, f"correlation {two['rank_correlation']:.2f})"),
        (0.97, 704, 300, f"fitted on {len(first['trained']) + len(two['trained'])} cells (rank"),
        (0.97, 704, 318, f"correlation {three['rank_correlation']:.2f}); the best of all,"),
        (0.97, 704, 336, f"{three['best_there']:.1%}, was among the 6,000"),
        (0.97, 704, 354, "and was not taken"),
    ]
    for time, x, height, text in notes:
        movie.text(x, height, text, 13, movie.comes(time))
    movie.add("circle", "", movie.comes(0.97), cx=874, cy=y(best[1]), r=7, fill="none", stroke=RED, stroke_width=2)
    movie.text(888, y(best[1]) + 4, f"{best[1]:.1%}", 13, movie.comes(0.97), fill=RED, font_weight="bold")
    movie.words = (
        "PNAS on the table, level by level, accuracy upwards. Level 1: five cells of one edge, all trained: "
        f"{', '.join(f'{name} {accuracy:.1%}' for (_, _, accuracy), name in zip(first['trained'], names))}. "
        + " ".join(
            f"Level {k}: {level['scored']:,} candidates as grey bars by their predicted accuracy, of which the best "
            f"{len(level['trained'])}, predicted {level['trained'][-1][1]:.1%} to {level['trained'][0][1]:.1%}, are "
            f"trained; lines lead to their true accuracies, {min(row[2] for row in level['trained']):.1%} to "
            f"{top:.1%}; rank correlation {level['rank_correlation']:.2f}."
            for k, level, top in zip((2, 3), (two, three), best)
        )
        + f" The best of the 6,000, {three['best_there']:.1%}, was not taken."
    )
    return movie


def beam_level(movie: Movie, level: dict, left: float, began: float, y, title: str) -> None:
    """One level: its candidates as bars, by their score, and those taken, on their way to what is true of them."""
    trained = level["trained"]
    taken = np.histogram([score for _, score, _ in trained], np.linspace(0, 1, 101))[0]
    unit = 92 / max(level["in_each_hundredth"])
    movie.text(left, 20, title, 14, font_weight="bold")
    movie.text(left, 38, "all, as predicted")
    movie.text(left + 118, 38, f"the best {len(trained)}", anchor="start")
    movie.text(left + 290, 38, "trained", anchor="middle")
    movie.open(transform=f"translate({left} 0)")
    for counts, colour, time in ((level["in_each_hundredth"], GREY, began), (taken, BLUE, began + 0.09)):
        bars = (f"M0 {y((k + 0.85) / 100)}h{number(unit * n)}v3.2H0z" for k, n in enumerate(counts) if n)
        movie.open([(time, scale(0)), (time + 0.07, scale(1))])
        movie.add("path", d="".join(bars), fill=colour)
        movie.close()
    lines: dict[float, str] = {}
    movie.open(movie.comes(began + 0.16), fill=BLUE)
    for n, (_, score, accuracy) in enumerate(trained):
        starts = round(began + 0.19 + 0.16 * (8 * n // len(trained)) / 8, 3)  # eight together
        a, b = (120.0, y(score)), (290.0, y(accuracy))
        lines[starts] = lines.get(starts, "") + f"M{places([a])}L{places([b])}"
        frames = [(starts, shift(*a)), (starts + 0.05, shift(*b))]
        movie.add("circle", "", frames, r=3.4, transform=f"translate({b[0]} {b[1]})")
    movie.close()
    for starts, d in lines.items():
        movie.add("path", "", movie.comes(starts + 0.05), d=d, stroke=BLUE, stroke_width=0.8)
    movie.close()


# --- 04: ENAS's paths -------------------------------------------------------------------------------------------------

ENAS_OPS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")  # from the inside out
Pick = tuple[int, int, str]  # node i reads state j through an operation


def sampled_cells() -> list[tuple[float, list[Pick]]]:
    """Of the stored search on CIFAR-10: when (0 to 1) it sampled which normal cell to train its weights."""
    rows = [json.loads(line) for line in (RUNS / "enas-micro-cifar10" / "history.jsonl").open()]
    cells = []
    for row in rows:
        if row["phase"] == "shared":
            nodes = enumerate(row["genotype"]["normal"]["nodes"], 2)
            picks = [(j, i, op) for i, node in nodes for j, op in zip(node["inputs"], node["ops"])]
            cells.append((row["step"] / rows[-1]["step"], picks))
    return cells


def enas_paths(windows: int = 8, lit: int = 16) -> Movie:
    """The supergraph of a normal cell: a line is as thick as the search sampled it at that time, and one sampled path
    after the other lights up."""
    movie, cells = Movie(474, run=9.8), sampled_cells()
    x, floor = [62 + 116 * state for state in range(7)], 222

    def strand(j: int, i: int, op: str) -> str:
        side = -1 if j < 2 else 1
        y = floor + 14 * side
        far = y + round(1.3 * (26 + 26 * (i - j) + 4.5 * ENAS_OPS.index(op))) * side
        return f"M{x[j] + 9} {y}C{x[j] + 9} {far} {x[i] - 9} {far} {x[i] - 9} {y}"

    parts = [[picks for time, picks in cells if k <= time * windows * 0.9999 < k + 1] for k in range(windows)]
    uses = [Counter(pick for picks in part for pick in picks) for part in parts]
    middles = [(k + 0.5) / windows for k in range(windows)]
    every = [(j, i, op) for j in range(6) for i in range(max(2, j + 1), 7) for op in ENAS_OPS]
    movie.add("path", d="".join(strand(*pick) for pick in every), fill="none", stroke=GREY, stroke_opacity=FAINT)
    movie.open(fill="none")
    for pick in every:
        widths = [6 * use[pick] / len(part) for use, part in zip(uses, parts)]
        frames = [(middles[k], f"stroke-width:{number(widths[k], 2)}") for k in kept(middles, widths, 0.12)]
        movie.add("path", "", frames, d=strand(*pick), stroke=look(pick[2])[0], stroke_width=widths[-1])
    for k in range(lit):
        _, picks = cells[round(k * (len(cells) - 1) / (lit - 1))]
        frames = movie.comes(k / lit, (k + 1) / lit if k < lit - 1 else None)
        hidden = 0 if k < lit - 1 else None
        path = "".join(strand(*pick) for pick in picks)
        movie.add("path", "", frames, d=path, stroke=GREEN, stroke_width=2, opacity=hidden)
    movie.close()
    for state, name in enumerate(("c_{k-2}", "c_{k-1}", "0", "1", "2", "3", "4")):
        box = dict(x=x[state] - 23, y=floor - 13, width=46, height=26, stroke=GREY)
        movie.add("rect", **box, fill=INPUT if state < 2 else NODE)
        movie.text(x[state], floor + 5, name, 14, anchor="middle", fill=INK)
    from_first = [sum(n for (j, _, _), n in use.items() if j == 0) / sum(use.values()) for use in uses]
    entropies = enas_words(movie, from_first)
    movie.words = (
        "The supergraph of a normal cell of ENAS: the two cells before and five nodes, five operations between every "
        "two. Above the line the nodes' inputs from the two cells before, below those from other nodes. A line is as "
        "thick as the controller sampled it, in a search on CIFAR-10 of 70 epochs. At first all are about equally "
        f"thin, separable convolutions a little thicker, and {from_first[0]:.0%} of the inputs are the cell before "
        f"the previous, as chance would have it; in the last eighth {from_first[-1]:.0%} are, and the lines between "
        "nodes have faded. Sixteen sampled paths light up in green. The entropy of the policy falls from "
        f"{entropies[0]:.1f} to {entropies[-1]:.1f} nats."
    )
    return movie


def enas_words(movie: Movie, from_first: list[float]) -> list[float]:
    """What the lines are, and below them the entropy of the policy. Returns it."""
    notes = [(130, "above: inputs"), (146, "from the two"), (162, "cells before"), (284, "below: inputs")]
    for y, text in [*notes, (300, "from other nodes")]:
        movie.text(796, y, text)
    movie.text(40, 268, "a bundle, from the inside out:")
    for k, op in enumerate(ENAS_OPS):
        movie.add("path", d=f"M42 {284 + 16 * k}h26", stroke=look(op)[0], stroke_width=3)
        movie.text(76, 288 + 16 * k, op.replace("_", " "))
    movie.add("path", d=f"M42 {284 + 16 * 5}h26", stroke=GREEN, stroke_width=3)
    movie.text(76, 288 + 16 * 5, "one sampled cell")
    rows = [json.loads(line) for line in (RUNS / "enas-micro-cifar10" / "history.jsonl").open()]
    steps, entropies = zip(*((row["step"] / rows[-1]["step"], row["entropy"]) for row in rows if "entropy" in row))
    points = [(62 + 696 * step, 420 + 3.2 * (58 - entropy)) for step, entropy in zip(steps, entropies)]
    movie.drawn([(62, points[0][1]), *points], [0, *steps], stroke=GREY, stroke_width=2.2)
    movie.text(62, points[0][1] - 8, f"entropy of the policy: {entropies[0]:.1f} nats")
    movie.text(768, points[-1][1] + 4, f"{entropies[-1]:.1f} nats", frames=movie.comes(0.98))
    for epoch in (1, 10, 20, 30, 40, 50, 60, 70):
        movie.text(62 + 696 * epoch / 70, 472, f"epoch {epoch}" if epoch == 1 else str(epoch), 11, anchor="middle")
    movie.told(796, 36, [(k / len(from_first), f"{share:.0%}") for k, share in enumerate(from_first)], size=24)
    for k, text in enumerate(("of inputs are c_{k-2},", "the cell before", "the previous one")):
        movie.text(796, 56 + 16 * k, text)
    return list(entropies)


# --- 05: DARTS's alphas -----------------------------------------------------------------------------------------------

STATES = ("c_{k-2}", "c_{k-1}", "0", "1", "2", "3")
EDGES = [(j, i) for i in range(2, 6) for j in range(i)]  # as the supernet counts them, node by node
CENTRE = 706
HEIGHTS = (52, 52, 124, 222, 320, 418)  # of the states
# Of each edge: how far to the right of the nodes it runs, and at which height its operation is written.
ROUTES = {
    (0, 2): (-64, 90), (1, 2): (64, 90),
    (0, 3): (-112, 158), (1, 3): (112, 158), (2, 3): (0, 173),
    (0, 4): (-152, 210), (1, 4): (152, 210), (2, 4): (-62, 262), (3, 4): (0, 271),
    (0, 5): (-192, 330), (1, 5): (192, 330), (2, 5): (-92, 362), (3, 5): (62, 362), (4, 5): (0, 369),
}  # fmt: skip


def short(op: str) -> str:
    return op.replace("_connect", "").replace("_conv", "").replace("_pool", "").replace("_", " ")


def darts_alphas() -> Movie:
    """softmax(alpha) of each edge of the normal cell over a search on the digits, and the cell that it stands for."""
    run = stored("darts_alphas")
    steps, strengths, ops = run["steps"], np.array(run["strengths"]), run["primitives"]
    times = [step / steps[-1] for step in steps]
    movie, row = Movie(492, run=9.5), 23
    y = [88 + row * e + 13 * (i - 2) for e, (_, i) in enumerate(EDGES)]
    x = [112 + 41 * k for k in range(8)]
    movie.told(96, 24, [(t, f"step {step}") for t, step in zip(times[::3], steps[::3])], size=15, font_weight="bold")
    for k, op in enumerate(ops):
        for n, text in enumerate(short(op).split()):
            movie.text(x[k], 54 + 13 * n, text, 11, anchor="middle")
    for e, (j, i) in enumerate(EDGES):
        movie.text(52, y[e] + 4, STATES[j], anchor="end")
        movie.text(58, y[e] + 4, f"\u2192 {STATES[i]}")
        for k, op in enumerate(ops):
            sizes = np.sqrt(strengths[:, e, k])
            frames = [(times[n], scale(sizes[n])) for n in kept(times, sizes, 0.02)]
            movie.open(transform=f"translate({x[k]} {y[e]})", fill=GREY if op == "none" else look(op)[0])
            movie.add("circle", "", frames, r=13, transform=f"scale({number(sizes[-1], 2)})")
            movie.close()
    movie.text(96, y[-1] + 30, "area: softmax of the alphas of an edge; ring: kept, and never none")
    space = spaces.get("darts")
    cells = [derive([torch.tensor(p).log()], space).normal for p in strengths]
    wires = [{(j, i, op) for i, n in enumerate(cell.nodes, 2) for j, op in zip(n.inputs, n.ops)} for cell in cells]
    chosen(movie, times, wires, {(e, op): (x[k], y[n]) for n, e in enumerate(EDGES) for k, op in enumerate(ops)})
    none = strengths[:, :, ops.index("none")].mean(1)
    kept_at_last = sorted(wires[-1], key=lambda wire: (wire[1], wire[0]))
    last = "; ".join(f"{op} from {STATES[j]} to {STATES[i]}" for j, i, op in kept_at_last)
    movie.words = (
        "Left, a disc for each of eight operations on each of the 14 edges of DARTS's normal cell, its area the "
        "softmax of the edge's alphas, over the 120 steps of a search on the digits. At first all discs are alike, "
        f"an eighth each. Then none grows most, from {none[0]:.3f} to {none[-1]:.3f} on average, which no cell may "
        "keep. Rings mark what the cell keeps: of each node the two strongest edges, on each the strongest operation "
        f"other than none. Right, that cell, which changes {sum(a != b for a, b in zip(wires, wires[1:]))} times in "
        f"{len(wires) - 1} looks, and at the end is: {last}."
    )
    return movie


def chosen(movie: Movie, times: list[float], wires: list[set], spots: dict) -> None:
    """Rings around what the cell keeps, and to the right the cell, each wire while it is there."""
    movie.text(CENTRE, 24, "the cell that they stand for", 15, anchor="middle", font_weight="bold")
    ever = sorted({wire for cell in wires for wire in cell})
    while_there = {}
    for wire in ever:
        frames, here = [], [wire in cell for cell in wires]
        for n in range(len(here)):
            if here[n] and (n == 0 or not here[n - 1]):
                end = next((m for m in range(n, len(here)) if not here[m]), None)
                frames += movie.comes(0 if n == 0 else times[n], end and times[end])
        while_there[wire] = frames, None if here[-1] else 0
    for (j, i, op), (frames, opacity) in while_there.items():
        colour, _, style = look(op)
        ring_x, ring_y = spots[(j, i), op]
        movie.add("circle", "", frames, cx=ring_x, cy=ring_y, r=10.5, fill="none", stroke=GREY, opacity=opacity)
        dash = "5 3" if style == "dashed" else None
        line = dict(d=route(j, i), fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dash)
        movie.add("path", "", frames, opacity=opacity, **line)
    for state, name in enumerate(STATES):
        aside = {0: -64, 1: 64}.get(state, 0)
        box = dict(x=CENTRE + aside - 23, y=HEIGHTS[state] - 13, width=46, height=26, stroke=GREY)
        movie.add("rect", **box, fill=INPUT if state < 2 else NODE)
        movie.text(CENTRE + aside, HEIGHTS[state] + 5, name, 14, anchor="middle", fill=INK)
    for (j, i, op), (frames, opacity) in while_there.items():
        colour, tint, _ = look(op)
        aside, height = ROUTES[j, i]
        movie.open(frames, opacity=opacity)
        movie.add("rect", x=CENTRE + aside - 26, y=height - 9, width=52, height=18, rx=8, fill=tint, stroke=colour)
        movie.text(CENTRE + aside, height + 4, short(op), 11, anchor="middle", fill=INK)
        movie.close()


def route(j: int, i: int) -> str:
    """Out of a state to its side, down, and into another, as a road would run."""
    aside, _ = ROUTES[j, i]
    top, foot, road = HEIGHTS[j], HEIGHTS[i], CENTRE + aside
    if aside == 0:
        return f"M{CENTRE} {top + 13}V{foot - 14}m-4-6l4 6l4-6"
    side = 1 if aside > 0 else -1
    if i == 2:  # straight down, then in
        path = f"M{road} {top + 13}V{foot - 10}"
    else:
        start = CENTRE + 23 * side + (64 * side if j < 2 else 0)
        top += 6 * (4 - i) if j < 2 else 6  # the outermost leaves highest
        path = f"M{start} {top}H{road - 10 * side}q{10 * side} 0 {10 * side} 10"
        foot += 0 if i == 3 else 6 if j < 2 else -6
        path += f"V{foot - 10}"
    tip = CENTRE + 24 * side
    return path + f"q0 10 {-10 * side} 10H{tip}m{6 * side}-4l{-6 * side} 4l{6 * side} 4"


# --- 00: five papers, standing still ----------------------------------------------------------------------------------

# When first on arXiv (the first digits of its number), GPU-days, whether the paper itself says so, and what it adds.
PAPERS = {
    "NAS-RL": (2016, 11, 22_400, False, "an LSTM writes networks,", "their accuracies teach it"),
    "NASNet": (2017, 7, 2_000, True, "search one small cell,", "stack it as deep as you like"),
    "PNAS": (2017, 12, 225, False, "grow cells block by block; a predictor", "chooses what is trained"),
    "ENAS": (2018, 2, 16 / 24, True, "every child is a path", "through one big network"),
    "DARTS": (2018, 6, 4, True, "mix all operations, and descend", "the gradient of the mixture"),
}
SAID = {
    "NAS-RL": "22,400 GPU-days (800 GPUs, 28 days: NASNet's count)",
    "NASNet": "1,800 to 2,000 GPU-days (450 or 500 GPUs, 4 days)",
    "PNAS": "225 GPU-days (DARTS's count)",
    "ENAS": "under 16 hours on one GPU",
    "DARTS": "4 GPU-days (four runs, second order)",
}


def five_papers() -> Movie:
    """What each of the five papers adds, and what its search cost."""
    movie, left, foot = Movie(470), 92, 424

    def y(days: float) -> float:
        return round(foot - 74 * log10(days / 0.3), 1)

    def at(year: int, month: int) -> float:
        return left + 14 + 25.5 * (12 * (year - 2016) + month - 11)

    for days in (1, 10, 100, 1000, 10_000):
        movie.text(left - 14, y(days) + 4, f"{days:,}", anchor="end")
        movie.add("path", d=f"M{left} {y(days)}h-8", stroke=GREY)
    movie.text(left - 14, 24, "GPU-days", anchor="end")
    movie.add("path", d=f"M{left} 20V{foot + 10}H930", stroke=GREY, fill="none")
    for year in (2017, 2018):
        movie.text(at(year, 1), foot + 32, f"January {year}", anchor="middle")
        movie.add("path", d=f"M{at(year, 1)} {foot + 10}v6", stroke=GREY)
    movie.text(930, foot + 32, "first on arXiv", anchor="end")
    movie.add("path", d=f"M{left} {y(30)}H930", stroke=GREY, stroke_dasharray="2 4")
    movie.text(left + 14, y(30) - 9, "every child is trained by itself", 13, fill=BLUE)
    movie.text(left + 14, y(30) + 20, "all children share one set of weights", 13, fill=RED)
    for name, (year, month, days, own, *idea) in PAPERS.items():
        x, height = at(year, month), y(days)
        colour = RED if name in ("ENAS", "DARTS") else BLUE
        movie.add("circle", cx=x, cy=height, r=7, fill=colour if own else "none", stroke=colour, stroke_width=2.4)
        side, first, anchor = (16, height - 10, "start")
        if name == "ENAS":  # at most so much
            side, first, anchor = (-16, height - 36, "end")
            movie.add("path", d=f"M{x} {height + 9}v14m-4-5l4 5l4-5", stroke=colour, fill="none", stroke_width=2)
        movie.text(x + side, first, name, 16, fill=colour, font_weight="bold", anchor=anchor)
        for k, (text, size) in enumerate(((SAID[name], 12), (idea[0], 13), (idea[1], 13)), 1):
            movie.text(x + side, first + 18 * k, text, size, anchor=anchor)
    movie.text(930, 24, "\u25cf the paper's own figure, \u25cb another paper's count", anchor="end")
    movie.words = (
        "The five papers by when they were first on arXiv and by the cost of their search in GPU-days, on a "
        "logarithmic axis. "
        + " ".join(
            f"{name}, {year}: {SAID[name]}; {' '.join(idea)}." for name, (year, _, _, _, *idea) in PAPERS.items()
        )
        + " Filled dots are the paper's own figures, rings are another paper's count."
    )
    return movie


FIGURES = (table_walks, nas_rl_mass, nasnet_clip, pnas_beam, enas_paths, darts_alphas, five_papers)

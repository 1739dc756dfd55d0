#!/usr/bin/env python3
"""Chooses the next runs of a tuning: prints a grid file for `cosmos-train sweep`, or nothing where all are made.

Usage: study_grid.py GRID FOLDER SEEDS

GRID is a file of configs/studies with one list of learning rates for each optimizer, FOLDER the sweep's folder.
SEEDS 1: the learning rates of GRID, and beyond its edge by factors of 2 until the best lies inside. SEEDS n: the best
one and its two neighbours with seeds 1 to n; where the mean of a neighbour is lower, that one's neighbours, too.
SEEDS best: the best one alone, made or not.
"""

import csv
import math
import pathlib
import re
import statistics
import sys

grid, folder = map(pathlib.Path, sys.argv[1:3])
only_best = sys.argv[3] == "best"
seeds = 1 if only_best else int(sys.argv[3])

# optimizer -> learning rate -> seed -> final loss
losses = {}
if (folder / "summary.csv").exists():
    with (folder / "summary.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["state"] in ("finished", "diverged"):
                loss = float(row["validation_loss"]) if row["state"] == "finished" else math.inf
                made = losses.setdefault(row["optimizer"], {})
                made.setdefault(float(row["optimizer.lr"]), {})[int(row["seed"])] = loss


def neighbours(rate):
    return {rate / 2, rate, rate * 2}


def chosen(made, listed):
    """The learning rates of an optimizer that have to be made with this number of seeds."""
    if only_best:
        most = max(map(len, made.values()))
        return {min((r for r in made if len(made[r]) == most), key=lambda rate: statistics.mean(made[rate].values()))}
    first = {rate: each[1] for rate, each in made.items() if 1 in each}
    if seeds == 1:
        rates = set(listed) | set(first)
        if first and rates == set(first):
            best = min(first, key=first.get)
            if best in (min(first), max(first)):
                rates |= neighbours(best)
        return rates
    rates = neighbours(min(first, key=first.get))
    while all(len(made.get(rate, {})) >= seeds for rate in rates):
        best = min(rates, key=lambda rate: statistics.mean(made[rate].values()))
        if neighbours(best) <= rates:
            break
        rates |= neighbours(best)
    return rates


lines, missing, name = [], 0, ""
for line in grid.read_text().split("\n"):
    if section := re.match(r"(\w+):", line):
        name = section[1]
    if values := re.match(r"  optimizer\.lr: \[(.*?)\]", line):
        made = losses.get(name, {})
        rates = sorted(chosen(made, [float(value) for value in values[1].split(",")]))
        missing += sum(seed not in made.get(rate, {}) for rate in rates for seed in range(1, seeds + 1))
        line = f"  optimizer.lr: {rates}"
    lines.append(line)
if missing or only_best:
    print("\n".join(lines), end="")

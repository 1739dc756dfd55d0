#!/usr/bin/env python3
"""Gathers what scripts/study.sh made: one summary.csv of all runs, and the tables in docs/results/study.md.

Usage: study_report.py RUNS TEXT

RUNS is the folder of the study's runs, TEXT the document. Tables are those that `compare --format markdown` wrote to
RUNS/tables/NAME.md: each goes between the lines `<!-- table NAME -->` and `<!-- end -->`, without the columns of
times, which on a shared machine mean nothing. summary.csv goes to TEXT's folder of the same name.
"""

import csv
import pathlib
import re
import statistics
import sys

runs, text = map(pathlib.Path, sys.argv[1:])

# Times are left out: they are those of a machine that was shared.
first = ["part", "run", "state", "optimizer", "seed"]
last = ["steps", "tokens", "train_loss", "validation_loss", "state_bytes", "program", "commit", "message"]
rows, times = [], []
for path in sorted(runs.glob("**/summary.csv")):
    part = path.parent.relative_to(runs).as_posix()
    with path.open(newline="") as file:
        (times if part.startswith("times") else rows).extend({"part": part, **row} for row in csv.DictReader(file))
settings = sorted({key for row in rows for key in row if "." in key})
with (text.parent / text.stem / "summary.csv").open("w", newline="") as file:
    writer = csv.DictWriter(file, first + settings + last, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def time_table():
    """Seconds a step of each optimizer: medians over the rounds, and of the ratios to AdamW's of the same round."""
    step = {(row["optimizer"], row["part"]): float(row["training_seconds"]) / int(row["steps"]) for row in times}
    own = {(row["optimizer"], row["part"]): float(row["optimizer_seconds_per_step"]) for row in times}
    rounds = sorted({part for _, part in step})
    lines = ["| optimizer | ms a step | of it in the optimizer | over adamw |", "| --- | ---: | ---: | ---: |"]
    for name in dict.fromkeys(name for name, _ in step):
        ratio = statistics.median(step[name, part] / step["adamw", part] for part in rounds)
        middle = [1000 * statistics.median(each[name, part] for part in rounds) for each in (step, own)]
        lines.append(f"| {name} | {middle[0]:.2f} | {middle[1]:.2f} | {ratio:.2f} |")
    return "\n".join(lines + ["", ""])


def table(name):
    """The ranking and the tests of a comparison, without the columns of times; of many contestants the ranking alone."""
    lines = (runs / "tables" / f"{name}.md").read_text().split("### ")
    kept = []
    for section in lines[1:]:
        title, _, body = section.partition("\n")
        if not re.match("Optimizers at|Differences of|Reaching", title):
            continue
        cells = [line.split(" | ") for line in body.strip().split("\n") if line.startswith("|")]
        if title.startswith("Differences") and len(cells) > 24:
            continue
        drop = [i for i, cell in enumerate(cells[0]) if re.match(r"optimizer s/step|tokens/s", cell)]
        if title.startswith("Reaching"):
            # Where AdamW's final losses make a fit: how many more tokens it needs.
            if "speed-up" not in cells[0][-2]:
                continue
            drop = range(1, len(cells[0]) - 2)
            remarks = [line for line in body.split("\n") if re.match(r"Speed-up|\* beyond", line)]
        for row in cells:
            shown = " | ".join(cell for i, cell in enumerate(row) if i not in drop)
            kept.append(shown if shown.endswith("|") else shown + " |")
        kept.append("")
        if title.startswith("Reaching"):
            kept += remarks + [""]
    return "\n".join(kept)


def replacement(match):
    if match[2] == "times":
        return match[1] + "\n" + time_table() + match[3] if times else match[0]
    if not (runs / "tables" / f"{match[2]}.md").exists():
        return match[0]
    return match[1] + "\n" + table(match[2]) + match[3]


content = text.read_text()
content = re.sub(
    r"(<!-- table (\S+) -->\n).*?(<!-- end -->)",
    replacement,
    content,
    flags=re.DOTALL,
)
finished = sum(row["state"] == "finished" for row in rows)
text.write_text(re.sub(r"\*\*\d+ finished runs\*\*", f"**{finished} finished runs**", content))
print(f"{text}, {text.parent / text.stem / 'summary.csv'}: {finished} finished runs")

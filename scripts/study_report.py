#!/usr/bin/env python3
"""Gathers what scripts/study.sh made: one summary.csv of all runs, and the tables in docs/results/study.md.

Usage: study_report.py RUNS TEXT

RUNS is the folder of the study's runs, TEXT the document. Each table goes between the lines `<!-- table NAME -->` and `<!-- end -->`: those that
`compare --format markdown` wrote to RUNS/tables/NAME.md, without the columns of times, which on a shared machine mean
nothing; and crossings of two settings, and times, which are made here. summary.csv goes to TEXT's folder of the same name.
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
        made = [{"part": part, **row} for row in csv.DictReader(file) if row["state"] in ("finished", "diverged", "failed")]
        (times if part.startswith("times") else rows).extend(made)
settings = sorted({key for row in rows for key in row if "." in key})
with (text.parent / text.stem / "summary.csv").open("w", newline="") as file:
    writer = csv.DictWriter(file, first + settings + last, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def time_table(part):
    """Seconds a step of each optimizer: the least of the rounds, since what else the machine does only adds to them."""
    made = [row for row in times if row["part"].startswith(f"times/{part}/")]
    lines = ["| optimizer | ms a step | of it in the optimizer | over adamw |", "| --- | ---: | ---: | ---: |"]
    least = {}
    for name in dict.fromkeys(row["optimizer"] for row in made):
        own = [row for row in made if row["optimizer"] == name]
        step = min(float(row["training_seconds"]) / int(row["steps"]) for row in own)
        least[name] = step, min(float(row["optimizer_seconds_per_step"]) for row in own)
    for name, (step, own) in least.items():
        lines.append(f"| {name} | {1000 * step:.1f} | {1000 * own:.1f} | {step / least['adamw'][0]:.2f} |")
    return "\n".join(lines + ["", ""]) if made else None


def setting(key):
    """The label of a run by one of its settings: "gamma 0.25"."""
    return lambda row: f"{key.removeprefix('optimizer.').removeprefix('data.')} {row.get(key) or defaults[key]}"


def update(row):
    """The size of an update of hidden matrices: Muon's is 0.2 lr."""
    return f"update {float(row['optimizer.lr']) * (0.2 if row['optimizer'] == 'muon' else 1):g}"


def optimizer(row):
    return row["optimizer"]


def place(row):
    return row["part"].rsplit("/", 1)[-1].removesuffix("-equal")


defaults = {"data.sequence_length": "256"}
lr = setting("optimizer.lr")
# Tables of settings in two directions, from summary.csv alone: parts, rows, columns.
crossings = {
    "rates-short": (["short"], lr, optimizer),
    "rates-long": (["long"], lr, optimizer),
    "rates-wide": (["wide"], lr, optimizer),
    "rates-wide-short": (["wide-short"], lr, optimizer),
    "adam-rate": (["adam-rate/short", "adam-rate/long", "adam-rate/wide"], setting("optimizer.adam.lr"), place),
    "update-size": (["ablations/update-size"], update, optimizer),
    "rank-gamma": (["ablations/rank-gamma"], setting("optimizer.rank"), setting("optimizer.gamma")),
    "sequence": (
        ["short-equal", "short"] + [f"ablations/sequence-{length}" for length in (64, 512, 1024)],
        setting("data.sequence_length"),
        optimizer,
    ),
    "seconds": (["seconds"], lr, optimizer),
}


def crossing(name):
    """Means, standard deviations and numbers of seeds; where a cell has several settings, of the best one with most seeds."""
    parts, row_label, column_label = crossings[name]
    cells = {}
    for row in rows:
        if row["part"] not in parts or row["state"] not in ("finished", "diverged"):
            continue
        if name == "sequence" and row["part"].startswith("short") and row["optimizer"] not in ("adamw", "galore", "cosmos"):
            continue
        if name == "sequence" and row["part"] == "short" and row["optimizer"] != "cosmos":
            continue
        key = tuple((key, value) for key, value in row.items() if "." in key)
        loss = float(row["validation_loss"] or "inf") if row["state"] == "finished" else float("inf")
        settings = cells.setdefault((row_label(row), column_label(row)), {})
        settings.setdefault((row["part"], key), []).append(loss)
    if not cells:
        return None

    def number(label):
        value = label.split(" ")[-1]
        return (0, float(value), "") if re.fullmatch(r"[\d.e+-]+", value) else (1, 0, "")

    def text(losses):
        if float("inf") in losses:
            return "diverged"
        mean = f"{statistics.mean(losses):.4f}"
        return f"{mean} ± {statistics.stdev(losses):.4f}" if len(losses) > 1 else mean

    def cell(row, column):
        settings = cells.get((row, column))
        if not settings:
            return ""
        most = max(map(len, settings.values()))
        return text(min((each for each in settings.values() if len(each) == most), key=statistics.mean))

    rows_, columns = (sorted(dict.fromkeys(key[i] for key in cells), key=number) for i in (0, 1))
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {row} | " + " | ".join(cell(row, column) for column in columns) + " |" for row in rows_]
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
    name = match[2]
    if name.startswith("times-"):
        made = time_table(name.removeprefix("times-"))
    elif name in crossings:
        made = crossing(name)
    else:
        made = table(name) if (runs / "tables" / f"{name}.md").exists() else None
    return f"{match[1]}\n{made}{match[3]}" if made else match[0]


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

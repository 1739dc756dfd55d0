"""Compares cosmos-train with PyTorch: the part of scripts/bench.sh that does the statistics and writes the tables.

Programs of one comparison run in turns, round by round, and only one at a time. A round gives one ratio; medians and
spreads are of these ratios, so that a machine that is slower for some minutes is so for both.
"""

import argparse
import datetime
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_programs import THREADS, Server, Training, alternate, read_model, say, write_shard

SCRIPTS = os.path.dirname(os.path.abspath(__file__))
VOCABULARY = 32000

# Model, sequences a step, their length.
SHAPES = {"60m": ("llama60m", 8, 256), "130m": ("llama130m", 4, 1024)}
AUTHORS_FILES = {"muon": "muon.py", "cosmos": "COSMOS_optim.py", "soap": "soap.py", "soap-renewal": "soap.py"}
TRAINING_ROWS = ["60m-bf16", "130m-bf16", "60m-fp32", "130m-fp32"]
ROWS = [*TRAINING_ROWS, "adamw", *AUTHORS_FILES, "gemm"]

# The 84 hidden matrices of llama130m, and what else it has.
MATRICES = 12 * (4 * [[768, 768]] + 2 * [[2048, 768]] + [[768, 2048]])
PARAMETERS = [[VOCABULARY, 768]] * 2 + MATRICES + 25 * [[768]]

RATIO = "ratio: median (least to largest)"
HEADERS = {
    "speed": ["training, tokens/s", "cosmos-train", "eager", "compiled", f"{RATIO} to the better"],
    "memory": ["peak memory, GB", "cosmos-train", "eager", "compiled", "of eager", "of compiled"],
    "optimizers": ["optimizer step", "cosmos-train", "beside it", "its time", f"{RATIO} to ours"],
    "products": ["product, 4 x 1024 tokens", "GFLOP/s", "limit", "of", "share"],
}


def spread(ratios, digits=2):
    low, high = min(ratios), max(ratios)
    return f"{statistics.median(ratios):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def compare_training(row, options, folder):
    size, precision = row.split("-")
    config, batch, length = SHAPES[size]
    file = os.path.join(SCRIPTS, "..", "configs", config + ".cfg")
    shard = os.path.join(folder, "random.bin")
    if not os.path.exists(shard):
        write_shard(shard, 200_000, VOCABULARY)
    settings = ["--config", file, "--set", f"data={{train: {shard}, validation: null, tokenizer: null}}"]
    for setting in [
        f"data.sequence_length={length}", f"training.batch_size={batch}", f"training.micro_batch_size={batch}",
        f"training.precision={precision}", f"training.threads={THREADS}", "training.steps=1000000",
        "output.checkpoint_every=0", "output.checkpoint_minutes=0",
    ]:  # fmt: skip
        settings += ["--set", setting]
    shape = {"model": read_model(file), "batch": batch, "length": length, "precision": precision, "shard": shard}
    programs = {"cosmos": Training(row, options.program, folder, settings)}
    try:
        for mode in ["eager", "compile"]:
            programs[mode] = Server(mode, [*options.pytorch, "train", mode, json.dumps(shape)])
        steps = options.steps or min(16, max(1, round(4 / programs["cosmos"].measure(1))))
        alternate(programs, options.rounds, dict.fromkeys(programs, steps))
        medians = {name: statistics.median(program.seconds) for name, program in programs.items()}
        better = min(["eager", "compile"], key=medians.get)
        ratios = [theirs / ours for theirs, ours in zip(programs[better].seconds, programs["cosmos"].seconds)]
        rates = {name: f"{batch * length / seconds:,.0f}" for name, seconds in medians.items()}
        speed = [
            f"{size.upper()} {precision}, {batch} x {length}", rates["cosmos"], rates["eager"], rates["compile"],
            spread(ratios),
        ]  # fmt: skip
        peaks = {name: program.peak for name, program in programs.items()}
        memory = [speed[0], *(f"{peaks[name] / 1e9:.2f}" for name in programs)]
        memory += [f"{peaks['cosmos'] / peaks[mode]:.2f}" for mode in ["eager", "compile"]]
        return {"speed": [speed], "memory": [memory]}
    finally:
        for program in programs.values():
            program.close()


def seconds(program):
    return f"{statistics.median(program.seconds):.3f} s"


def authors_files(folder):
    """The optimizers whose authors' code is there."""
    return [name for name, file in AUTHORS_FILES.items() if folder and os.path.exists(os.path.join(folder, file))]


def compare_optimizer(name, options):
    """Our step beside those of PyTorch's fused AdamW, of the authors' code and, with Muon, of PyTorch's own Muon."""
    is_adamw = name == "adamw"
    shapes = json.dumps(PARAMETERS if is_adamw else MATRICES)
    ours = {"adamw": "AdamW 130M", "soap-renewal": "optimizer step soap, new bases"}.get(name, f"optimizer step {name}")
    programs = {}
    try:
        programs["ours"] = Server(ours, [options.benchmarks, "--serve", ours])
        programs["adamw"] = Server("fused AdamW", [*options.pytorch, "optimizer", "adamw", shapes])
        # All but SOAP round to bfloat16, and are no measure where the CPU has no instructions for it.
        if name == "muon" and has_bf16():
            programs["muon"] = Server("torch.optim.Muon", [*options.pytorch, "optimizer", "muon", shapes])
        if name in authors_files(options.authors) and ("soap" in name or has_bf16()):
            command = [*options.pytorch, "optimizer", name, shapes, options.authors]
            programs["authors"] = Server(f"the authors' {name}", command)
        alternate(programs, options.rounds, {"ours": 10 if is_adamw else 1, "adamw": 10, "muon": 1, "authors": 1})
        ours = programs["ours"]
        first = ["AdamW, 130M parameters" if is_adamw else f"{name}, 84 matrices", seconds(ours)]
        if is_adamw:
            share = statistics.median(answer["share"] for answer in ours.answers)
            first[1] += f", {share:.0%} of the copy bandwidth"
        rows = []
        for program in [program for program in programs.values() if program is not ours]:
            gains = [theirs / own for own, theirs in zip(ours.seconds, program.seconds)]
            rows.append([*first, program.name, seconds(program), spread(gains)])
        return {"optimizers": rows}
    finally:
        for program in programs.values():
            program.close()


def compare_gemm(options):
    command = [options.benchmarks, "--filter", "gemm", "--json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = []
    for line in map(json.loads, output.splitlines()):
        cells = [line["name"], f"{line['rate']:,.0f}", f"{line['limit']:,.0f}", line["unit"].removeprefix("GFLOP/s ")]
        rows.append([*cells, f"{line['share']:.0%}"])
    return {"products": rows}


def table(header, rows):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]) + "\n"


def cpu():
    """Its name, and its vector and matrix units from the narrowest to the widest."""
    info = open("/proc/cpuinfo").read()
    model = re.search(r"model name\s*: (.*)", info)
    flags = (re.search(r"flags\s*: (.*)", info) or [None, ""])[1].split()
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX"}
    return model[1] if model else "unknown CPU", [name for flag, name in names.items() if flag in flags]


def has_bf16():
    return bool({"AVX-512 BF16", "AMX"} & {*cpu()[1]})


def machine(options):
    model, units = cpu()
    missing = [f"no {name}" for name in ["AVX-512 BF16", "AMX"] if name not in units]
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read())[1]) >> 20
    versions = subprocess.run(
        [options.pytorch[0], "-c", "import torch, transformers; print(torch.__version__, transformers.__version__)"],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.split()  # fmt: skip
    return (
        f"{datetime.date.today()}, {THREADS} threads, {model} ({', '.join(units + missing)}), "
        f"{memory} GiB, PyTorch {versions[0]}, transformers {versions[1]}, {options.rounds} rounds\n"
    )


def main():
    parser = argparse.ArgumentParser()
    for option in ["--program", "--benchmarks", "--venv", "--only", "--out", "--authors"]:
        parser.add_argument(option, default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0)
    options = parser.parse_args()
    options.pytorch = [f"{options.venv}/bin/python", "-B", os.path.join(SCRIPTS, "bench_pytorch.py")]
    possible = [row for row in ROWS if has_bf16() or not row.endswith("bf16")]
    chosen = options.only.split(",") if options.only else possible
    if unknown := [row for row in chosen if row not in ROWS]:
        print(f"error: there is no row {unknown[0]}\nhint: rows are {', '.join(ROWS)}", file=sys.stderr)
        sys.exit(64)
    if impossible := [row for row in chosen if row not in possible]:
        print(f"error: {impossible[0]}: this CPU has no bfloat16 instructions", file=sys.stderr)
        print(f"hint: rows here are {', '.join(possible)}", file=sys.stderr)
        sys.exit(69)
    if options.authors and not authors_files(options.authors):
        print(f"error: {options.authors} has none of {', '.join(AUTHORS_FILES.values())}", file=sys.stderr)
        sys.exit(74)

    # The programs are ended and their folder removed then, too; a stopped one would stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    introduction = machine(options)
    rows = {name: [] for name in HEADERS}
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="cosmos-bench-") as folder:
        for row in chosen:
            say(f"{row} ({time.time() - started:.0f} s)")
            if row in TRAINING_ROWS:
                result = compare_training(row, options, folder)
            elif row == "gemm":
                result = compare_gemm(options)
            else:
                result = compare_optimizer(row, options)
            for name, cells in result.items():
                rows[name] += cells
            report = "\n".join([introduction] + [table(HEADERS[name], rows[name]) for name in rows if rows[name]])
            # What is known so far: an interrupted run leaves it.
            if options.out:
                with open(options.out, "w") as file:
                    file.write(report)
    print(report)
    say(f"done in {time.time() - started:.0f} s")


main()

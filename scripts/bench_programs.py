"""The programs that scripts/bench.py measures: started once, then run for some steps and held again.

While one runs the others must not: a `Server` waits for its next line, a `Training` is stopped by a signal.
"""

import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

THREADS = len(os.sched_getaffinity(0))


def say(text):
    print(text, file=sys.stderr, flush=True)


class Server:
    """A program that answers each line, a number of steps, with a line of JSON that has "seconds" (of one)."""

    def __init__(self, name, command):
        say(f"  starting {name}")
        self.name, self.seconds, self.answers = name, [], []
        environment = {**os.environ, "COSMOS_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.description = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"error: {self.name} ended with code {self.process.wait()}; what it said is above")
        return json.loads(line)

    def measure(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.answers.append(self.answer())
        return self.answers[-1]["seconds"]

    @property
    def peak(self):
        return self.answers[-1]["peak"]

    def close(self):
        self.process.kill()
        self.process.wait()


class Training:
    """A run of cosmos-train that is stopped between rounds.

    A step that was begun before a stop counts there: the time from the last row of the log to the stop is added to the
    next round, in which that step ends.
    """

    def __init__(self, name, program, folder, settings):
        say("  starting cosmos-train")
        self.seconds, self.rows, self.carried = [], 0, 0.0
        run = os.path.join(folder, name)
        self.log = os.path.join(run, "log.csv")
        command = [program, *settings, "--set", f"output.run_dir={run}"]
        self.messages = open(run + ".txt", "w+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.messages, stderr=self.messages)
        self.resumed = time.time()
        self.measure(2)

    def measure(self, steps):
        start = time.time()
        self.process.send_signal(signal.SIGCONT)
        self.rows += steps
        while self.row_count() < self.rows:
            if self.process.poll() is not None:
                self.messages.seek(0)
                sys.exit(f"error: cosmos-train ended with code {self.process.returncode}:\n{self.messages.read()}")
            time.sleep(0.005)
        ended = os.stat(self.log).st_mtime
        self.process.send_signal(signal.SIGSTOP)
        seconds = ended - start + self.carried
        self.carried = time.time() - ended
        return seconds / steps

    def row_count(self):
        try:
            with open(self.log, "rb") as log:
                return max(0, log.read().count(b"\n") - 1)
        except FileNotFoundError:
            return 0

    @property
    def peak(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) * 1024

    def close(self):
        self.process.kill()
        self.process.wait()
        self.messages.close()


def alternate(programs, rounds, steps):
    """Measures each program once a round, in an order that turns; `steps` by program."""
    names = list(programs)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            programs[name].seconds.append(programs[name].measure(steps[name]))
        times = [f"{name} {programs[name].seconds[-1]:.3f} s" for name in names]
        say(f"  round {number + 1} of {rounds}: " + ", ".join(times))


def write_shard(path, tokens, vocabulary):
    """Random ids in the format of cosmos-train's shards, without what is optional."""
    generator = random.Random(1)
    ids = [generator.randrange(vocabulary) for _ in range(tokens)]
    with open(path, "wb") as shard:
        shard.write(struct.pack("<256i", 20240520, 1, tokens, *[0] * 253) + struct.pack(f"<{tokens}H", *ids))


def read_model(path):
    """The `model:` section of a configuration: Hugging Face's names."""
    section = re.search(r"^model:\n((?:[ #].*\n|\n)*)", open(path).read(), re.M).group(1)
    pairs = re.findall(r"^  (\w+): *([^\s#]+)", section, re.M)
    return {key: json.loads(value) for key, value in pairs}

#!/usr/bin/env python3
"""Brings text and tokens of other tools in: Parquet, tokenizer.json, nanoGPT's and llm.c's .bin, NumPy's .npy.

  text into JSON lines, for `cosmos-train tokenizer` and `tokenize`:
      scripts/import_data.py --venv .venv --input fineweb/*.parquet --output data/fineweb/text
  text into token shards, by a tokenizer.json that SentencePiece cannot read (GPT-2's and others):
      scripts/import_data.py --input 'fineweb/*.parquet' --tokenizer gpt2/tokenizer.json --output data/fineweb/train
  tokens into token shards:
      scripts/import_data.py --input nanoGPT/data/owt/train.bin --vocab-size 50257 --end-of-text-id 50256 \\
          --output data/owt/train

Text is .parquet, .jsonl, .json (JSON lines) or .txt, the last three also with .gz. Tokens are .bin, with the header of
llm.c and modded-nanogpt or raw uint16 as nanoGPT has them, and .npy. Everything is read as a stream. Files appear when
all of them are complete. It needs pyarrow for Parquet, numpy for tokens, tokenizers for a tokenizer.json; --venv
installs all three.
"""

import argparse
import glob
import gzip
import importlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time
import zlib

USAGE, DATA, INPUT_OUTPUT = 64, 65, 74
MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
TEXT = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".txt", ".txt.gz")
TOKENS = (".bin", ".npy")
END_NAMES = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "[EOS]", "[SEP]")


def fail(code, message, hint=None):
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    raise SystemExit(code)


class Progress:
    """A line on the terminal, at most ten times a second."""

    def __init__(self, total):
        self.total, self.done, self.shown = max(total, 1), 0, 0.0
        self.start = time.monotonic()
        self.visible = sys.stderr.isatty()

    def advance(self, done):
        self.done = done
        now = time.monotonic()
        if self.visible and now - self.shown > 0.1:
            self.shown = now
            share = min(1.0, self.done / self.total)
            bar = "#" * round(30 * share)
            left = (now - self.start) * (1 - share) / share if share else 0
            print(f"\rreading [{bar:<30}] {100 * share:3.0f} %  {left:.0f} s left ", end="", file=sys.stderr, flush=True)

    def finish(self):
        if self.visible:
            print("\r\x1b[K", end="", file=sys.stderr)


class Output:
    """A hidden folder whose files move to their places when all are complete."""

    def __init__(self, folder, prefix, suffix, force):
        self.folder, self.prefix, self.suffix = folder, prefix, suffix
        self.old = sorted(path for path in folder.glob(f"{prefix}_*{suffix}") if self.number(path) is not None)
        if self.old and not force:
            fail(USAGE, f"{self.old[0]} is already there", "choose another --output or --prefix, or replace it with --force")
        self.work = folder / f".{prefix}.tmp-import"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.names = []

    def number(self, path):
        digits = path.name[len(self.prefix) + 1 : -len(self.suffix)]
        return int(digits) if digits.isdigit() else None

    def next_path(self):
        self.names.append(f"{self.prefix}_{len(self.names):06}{self.suffix}")
        return self.work / self.names[-1]

    def finish(self):
        for path in self.old:
            path.unlink()
        for name in self.names:
            os.replace(self.work / name, self.folder / name)
        self.work.rmdir()


class ShardWriter:
    """Token shards with the header that docs/data-format.md describes."""

    def __init__(self, output, shard_tokens, vocabulary, end, fingerprint):
        self.output, self.shard_tokens = output, shard_tokens
        self.vocabulary, self.end, self.fingerprint = vocabulary, end, fingerprint
        self.total, self.file = 0, None

    def write(self, tokens, source):
        import numpy

        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocabulary:
            bad = int(numpy.flatnonzero((tokens < 0) | (tokens >= self.vocabulary))[0])
            fail(
                DATA, f"{source}: id {int(tokens[bad])} is outside the vocabulary of {self.vocabulary}",
                "check --vocab-size, and that the file is what it is taken for")
        tokens = tokens.astype("<u2")
        while len(tokens):
            if self.file is None:
                self.file = open(self.output.next_path(), "wb")
                self.file.write(bytes(HEADER_BYTES))
                self.count = self.checksum = 0
            part = tokens[: self.shard_tokens - self.count]
            data = part.tobytes()
            self.file.write(data)
            self.checksum = zlib.crc32(data, self.checksum)
            self.count += len(part)
            self.total += len(part)
            tokens = tokens[len(part) :]
            if self.count == self.shard_tokens:
                self.close(False)

    def close(self, last):
        self.header = [
            MAGIC, VERSION, self.count, self.vocabulary, self.checksum, self.end, self.fingerprint & 0xFFFFFFFF,
            self.fingerprint >> 32, len(self.output.names) - 1, int(last)]
        self.file.seek(0)
        self.file.write(struct.pack("<10I", *self.header))
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.file = None

    def finish(self):
        if self.file:
            self.close(True)
        elif self.output.names:  # The last one was full when the tokens ended.
            with open(self.output.work / self.output.names[-1], "r+b") as file:
                file.seek(36)
                file.write(struct.pack("<I", 1))
        else:
            fail(DATA, "the input holds no tokens", "check the files given as --input")


def fnv1a(data):
    """The fingerprint of a tokenizer's file, as `cosmos-train` computes it."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def documents(path, column):
    """The documents of a text file, each with the bytes of the file read so far."""
    name = str(path)
    if name.endswith(".parquet"):
        import pyarrow.parquet

        try:
            file = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            fail(DATA, f"{path} is not a Parquet file: {error}", "copy it again")
        if column not in file.schema_arrow.names:
            fail(
                USAGE, f"{path} has no column {column}: its columns are {', '.join(file.schema_arrow.names)}",
                "name the one with the text with --column")
        size, rows = path.stat().st_size, max(file.metadata.num_rows, 1)
        done = 0
        for batch in file.iter_batches(batch_size=1024, columns=[column]):
            for text in batch.column(0).to_pylist():
                done += 1
                if not isinstance(text, str):
                    fail(DATA, f"{path}: row {done} of column {column} is {text!r:.40}, not text", "leave such rows out")
                yield text, size * done // rows
        return
    with open(path, "rb") as raw:
        stream = gzip.open(raw) if name.endswith(".gz") else raw
        try:
            if name.removesuffix(".gz").endswith(".txt"):
                yield stream.read().decode(), raw.tell()
                return
            for number, line in enumerate(stream, 1):
                if line.strip():
                    value = json.loads(line)
                    if not isinstance(value, dict) or not isinstance(value.get(column), str):
                        fail(DATA, f"{path}:{number}: no object with a string `{column}`")
                    yield value[column], raw.tell()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            fail(DATA, f"{path} is a damaged gzip file: {error}", "copy it again")
        except UnicodeDecodeError as error:
            fail(DATA, f"{path} is not UTF-8: {error}")
        except json.JSONDecodeError as error:
            fail(DATA, f"{path}:{number}: malformed JSON: {error}")


def token_blocks(path):
    """The ids of a token file in blocks, each with the bytes read so far."""
    import numpy

    size = path.stat().st_size
    if path.suffix == ".npy":
        try:
            array = numpy.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            fail(DATA, f"{path} is not an array of numbers: {error}")
        if array.ndim != 1 or array.dtype.kind not in "iu":
            fail(DATA, f"{path} has shape {array.shape} and type {array.dtype}", "it should be a vector of integers")
    else:
        head = path.open("rb").read(12)
        magic, version, count = struct.unpack("<3i", head) if len(head) == 12 else (0, 0, 0)
        if magic == 20240801:
            fail(DATA, f"{path} has ids of 32 bits (llm.c's LLaMA 3); shards hold 16", "use a vocabulary of up to 65536 ids")
        has_header = magic == MAGIC and version == VERSION and size == HEADER_BYTES + 2 * count
        if magic == MAGIC and not has_header:
            fail(DATA, f"{path} is truncated: {size} bytes, its header's {count} tokens make {HEADER_BYTES + 2 * count}")
        if size % 2:
            fail(DATA, f"{path} has {size} bytes, an odd number: no uint16 tokens")
        offset = HEADER_BYTES if has_header else 0
        array = numpy.memmap(path, dtype="<u2", mode="r", offset=offset) if size > offset else numpy.empty(0, "<u2")
    for start in range(0, len(array), 1 << 22):
        block = numpy.asarray(array[start : start + (1 << 22)])
        yield block, size * (start + len(block)) // len(array)


def import_text(paths, output, column, progress):
    """Parquet and others to JSON lines, some 256 MB of text a file."""
    before = total = size = 0
    file = None
    for path in paths:
        for text, done in documents(path, column):
            if file is None or size > 1 << 28:
                if file:
                    file.close()
                file, size = gzip.open(output.next_path(), "wt", encoding="utf-8", compresslevel=6), 0
            try:
                size += file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            except UnicodeEncodeError as error:
                fail(DATA, f"{path}: document {total + 1} is no valid Unicode: {error}")
            total += 1
            progress.advance(before + done)
        before += path.stat().st_size
    if file is None:
        fail(DATA, "the input holds no documents", "check the files given as --input")
    file.close()
    return [("documents", total), ("files", f"{len(output.names)}: {output.folder / output.names[0]}")]


def import_by_tokenizer(paths, writer, tokenizer, column, progress):
    import numpy

    before = count = empty = 0

    def encode(batch, path):
        nonlocal empty
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            if encoding.ids:
                writer.write(numpy.array(encoding.ids + [writer.end], dtype=numpy.int64), path)
            else:
                empty += 1

    for path in paths:
        batch = []
        for text, done in documents(path, column):
            batch.append(text)
            count += 1
            if len(batch) == 1024:
                encode(batch, path)
                batch = []
                progress.advance(before + done)
        encode(batch, path)
        before += path.stat().st_size
    return [("documents", count - empty), ("empty documents left out", empty)]


def import_tokens(paths, writer, progress):
    before = ends = 0
    for path in paths:
        for block, done in token_blocks(path):
            writer.write(block, path)
            ends += int((block == writer.end).sum())
            progress.advance(before + done)
        before += path.stat().st_size
    if ends == 0:
        fail(DATA, f"the end-of-text id {writer.end} does not occur in the input", "check --end-of-text-id")
    return [("documents", ends)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=pathlib.Path, help="make this virtual environment, or complete it, and use it")
    parser.add_argument("--input", nargs="+", required=True, help="files, folders or globs")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the folder to write to")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="a tokenizer.json: text becomes token shards")
    parser.add_argument("--prefix", default="train", help="what the files' names begin with (train)")
    parser.add_argument("--column", default="text", help="the column or key that holds the text (text)")
    parser.add_argument("--vocab-size", type=int, help="of token files: the number of their tokenizer's ids")
    parser.add_argument("--end-of-text-id", type=int, help="the id after each document")
    parser.add_argument("--shard-tokens", type=int, default=100_000_000, help="tokens in a shard (100000000)")
    parser.add_argument("--force", action="store_true", help="replace files of the same prefix")
    parser.error = lambda message: fail(USAGE, message, f"see {sys.argv[0]} --help")
    options = parser.parse_args()
    if options.venv:
        python = options.venv / "bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", options.venv], check=True)
        if pathlib.Path(sys.prefix).resolve() != options.venv.resolve():
            packages = ["pyarrow", "tokenizers", "numpy"]
            if subprocess.run([python, "-c", "import " + ", ".join(packages)], capture_output=True).returncode:
                print(f"installing {', '.join(packages)} in {options.venv}", file=sys.stderr)
                subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
            os.execv(python, [python, *sys.argv])
    paths = []
    for name in options.input:
        path = pathlib.Path(name)
        found = sorted(path.iterdir()) if path.is_dir() else sorted(map(pathlib.Path, glob.glob(name)))
        found = [file for file in found if not path.is_dir() or file.name.endswith(TEXT + TOKENS)]
        if not found:
            fail(INPUT_OUTPUT, f"{name}: there is no such file, or none of {', '.join(TEXT + TOKENS)} in it")
        paths += found
    are_tokens = {file.name.endswith(TOKENS) for file in paths}
    for file in paths:
        if not file.name.endswith(TEXT + TOKENS):
            fail(USAGE, f"{file}: what kind of file is this?", f"its name should end in {', '.join(TEXT + TOKENS)}")
    if len(are_tokens) > 1:
        fail(USAGE, "the input has files of text and of tokens", "import the ones, then the others")
    needed = [("pyarrow", any(file.suffix == ".parquet" for file in paths)), ("tokenizers", bool(options.tokenizer)),
              ("numpy", True in are_tokens or bool(options.tokenizer))]
    for package in [name for name, is_needed in needed if is_needed]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            fail(69, f"{error}", "let --venv .venv make an environment with pyarrow, tokenizers and numpy")
    if options.shard_tokens < 1 or options.shard_tokens > 2**31 - 1:
        fail(USAGE, f"--shard-tokens {options.shard_tokens}: 1 to {2**31 - 1}")

    vocabulary, end, fingerprint, tokenizer = options.vocab_size, options.end_of_text_id, 0, None
    if options.tokenizer:
        import tokenizers

        data = options.tokenizer.read_bytes()
        fingerprint = fnv1a(data)
        try:
            tokenizer = tokenizers.Tokenizer.from_str(data.decode())
        except Exception as error:  # The package raises no other type.
            fail(DATA, f"{options.tokenizer} is not a tokenizer.json: {error}")
        # Text that spells a special piece is text.
        tokenizer.encode_special_tokens = True
        vocabulary = max(tokenizer.get_vocab().values()) + 1
        if end is None:
            end = next((id for id in map(tokenizer.token_to_id, END_NAMES) if id is not None), None)
    is_text_only = are_tokens == {False} and not options.tokenizer
    if not is_text_only:
        if vocabulary is None or end is None:
            fail(USAGE, "the files do not say how many ids there are, or which ends a document", "give --vocab-size and --end-of-text-id")
        if not 0 <= end < vocabulary <= 1 << 16:
            fail(
                USAGE, f"a vocabulary of {vocabulary} with the end-of-text id {end}",
                "shards hold 16-bit ids: up to 65536; the end-of-text id is one of them")
    options.output.mkdir(parents=True, exist_ok=True)
    output = Output(options.output, options.prefix, ".jsonl.gz" if is_text_only else ".bin", options.force)
    progress = Progress(sum(path.stat().st_size for path in paths))
    try:
        if is_text_only:
            rows = import_text(paths, output, options.column, progress)
        else:
            writer = ShardWriter(output, options.shard_tokens, vocabulary, end, fingerprint)
            rows = (
                import_tokens(paths, writer, progress)
                if True in are_tokens
                else import_by_tokenizer(paths, writer, tokenizer, options.column, progress))
            writer.finish()
            rows += [
                ("tokens", writer.total), ("vocabulary", f"{vocabulary}, the least model.vocab_size"),
                ("end of text", end), ("shards", f"{len(output.names)}: {output.folder / output.names[0]}")]
        progress.finish()
        output.finish()
    finally:
        shutil.rmtree(output.work, ignore_errors=True)
    for name, value in rows:
        print(f"{name:<26}{value}")


try:
    main()
except OSError as error:
    fail(INPUT_OUTPUT, str(error))
except KeyboardInterrupt:
    fail(75, "stopped; nothing was written")

"""What scripts/check_huggingface.sh runs first: tokenizers that are trained here give the same ids in transformers."""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import sentencepiece
import tokenizers
import transformers
from transformers import AutoTokenizer

failures = 0


def report(name, good, measured):
    global failures
    failures += not good
    print(f"{'ok    ' if good else 'FAILED'}  {name:<58} {measured}", flush=True)


def program(*arguments, cwd):
    done = subprocess.run([options.program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"cosmos-train {' '.join(map(str, arguments))}\nleft with {done.returncode}:\n{done.stdout}{done.stderr}")


def hard_texts(text):
    """Text in which tokenizers differ first, `text` cut anywhere, and random strings."""
    scripts = [
        "Καλημέρα κόσμε", "Привет, мир", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "你好，世界。再见！",
        "こんにちは世界", "안녕하세요 세계", "გამარჯობა", "Բարև աշխարհ", "ሰላም ልዑል", "ᚠᛇᚻ᛫ᛒᛦᚦ", "𓀀𓁐𓂝", "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷",
    ]
    special = ["</s>", "<s>", "<unk>", "<pad>", "<0x41>", "x<0x0A>y", "a</s >b", "<|endoftext|>", "[CLS]", "⁇", "▁", "▁▁ ▁", "a▁b"]
    blanks = [
        " ", "  ", "   a", "a   ", "\n", "\n\n\n", "\r\n", "\t", "\t\t\tx", " \t \n ", "a\u00a0b", "a\u3000b", "\u2028\u2029", "\u200b",
        "\ufeffa", "def f(x):\n    if x:\n\t\treturn  x\n\n\n", " " * 5000 + "x" + " " * 2049,
    ]
    other = [
        "e\u0301 é ﬁ ① ½ Å Å", "\0", "a\0b\x01\x1f\x7f", "\ufffd\ufffe\uffff", "\U0010ffff", "=" * 99, "a" * 7000, "日本語" * 3000,
        "ab" * 4000 + " " + "é" * 2048 + "z", "x " * 9000, "1234567890 3.14159e-10", "https://example.com/a?b=c&d=%20#e",
    ]
    every = "".join(chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000)
    generator = random.Random(1)
    alphabet = list(" \n\t<>/s▁=-_.,aeintx0é日") + ["  ", "    ", "\n\n", " the", "ing", "</s>", "<0x41>", "\u0301", "😀"]
    cuts = [text[start : start + generator.randrange(1, 600)] for start in generator.sample(range(len(text)), 2000)]
    strings = ["".join(generator.choices(alphabet, k=generator.randrange(1, 60))) for _ in range(5000)]
    letters = ["".join(generator.choices(" aabe-=\n", k=generator.randrange(1, 40))) for _ in range(5000)]
    anything = [
        "".join(chr(generator.choice([generator.randrange(0xD800), generator.randrange(0xE000, 0x110000)])) for _ in range(50))
        for _ in range(500)
    ]
    return scripts + special + blanks + other + [every, text[:200_000]] + cuts + strings + letters + anything


def shard_ids(path, end):
    """The documents of a shard."""
    data = path.read_bytes()[1024:]
    documents, ids = [], []
    for offset in range(0, len(data), 2):
        token = int.from_bytes(data[offset : offset + 2], "little")
        if token == end:
            documents.append(ids)
            ids = []
        else:
            ids.append(token)
    return documents


def pieces(tokenizer):
    return sentencepiece.SentencePieceProcessor(model_file=str(tokenizer)).get_piece_size()


def run_with(tokenizer, size, work):
    """A checkpoint and an export of a model with a tokenizer of `size` ids whose shards are in work/shards."""
    configuration = f"""
        model: {{hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1,
                vocab_size: {size}, max_position_embeddings: 16}}
        data: {{train: shards, tokenizer: {tokenizer}, sequence_length: 16}}
        optimizer: {{name: adamw, lr: 0.001}}
        training: {{steps: 1, batch_size: 1}}
        output: {{run_dir: run}}"""
    (work / "run.cfg").write_text("\n".join(line.removeprefix("        ") for line in configuration.splitlines()))
    program("--config", "run.cfg", cwd=work)
    program("export", "run", "--output", "export", cwd=work)
    return [work / "run/checkpoints/latest", work / "export"]


def tokenize(tokenizer, texts, work):
    work.mkdir(exist_ok=True)
    (work / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    program("tokenize", "--tokenizer", tokenizer, "--input", "texts.jsonl", "--output", "shards", cwd=work)


def check(name, tokenizer, texts, work, back=lambda text: text):
    """`back`: what a text becomes that goes to ids and back."""
    tokenize(tokenizer, texts, work)
    end = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer)).eos_id()
    ours = shard_ids(work / "shards/train_000000.bin", end)
    for folder in run_with(tokenizer, pieces(tokenizer), work):
        theirs = AutoTokenizer.from_pretrained(folder)
        ids = [theirs.encode(text) for text in texts]
        wrong = [text for text, a, b in zip(texts, ids, ours, strict=True) if a != b]
        lost = [text for text, a in zip(texts, ids) if back and theirs.decode(a) != back(text)]
        same = theirs.eos_token_id == end
        report(
            f"{name}: {folder.name}", not wrong and not lost and same,
            f"{len(texts) - len(wrong)} of {len(texts)} texts have the same ids"
            + (f", {len(texts) - len(lost)} return" if back else ""))
        for text in (wrong + lost)[:5]:
            print(f"        {text[:100]!r}")


def check_json(name, texts, work):
    """A tokenizer.json that SentencePiece cannot read: shards by import_data.py, ids in transformers."""
    work.mkdir(exist_ok=True)
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=1000, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.save(str(work / "tokenizer.json"))
    (work / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    script = pathlib.Path(__file__).parent / "import_data.py"
    subprocess.run(
        [sys.executable, script, "--input", "texts.jsonl", "--tokenizer", "tokenizer.json", "--output", "shards"],
        cwd=work, check=True, capture_output=True)
    end = tokenizer.token_to_id("<|endoftext|>")
    ours = shard_ids(work / "shards/train_000000.bin", end)
    for folder in run_with("tokenizer.json", tokenizer.get_vocab_size(), work):
        theirs = AutoTokenizer.from_pretrained(folder)
        wrong = [text for text, ids in zip(texts, ours, strict=True) if theirs.encode(text) != ids]
        report(
            f"{name}: {folder.name}", not wrong and theirs.eos_token_id == end,
            f"{len(texts) - len(wrong)} of {len(texts)} texts have the same ids")
        for text in wrong[:5]:
            print(f"        {text[:100]!r}")


def check_refused(name, tokenizer, texts, work, words):
    tokenize(tokenizer, texts, work)
    for folder in run_with(tokenizer, pieces(tokenizer), work):
        try:
            AutoTokenizer.from_pretrained(folder)
            said = "it loads without a word"
        except Exception as error:
            said = str(error)
        report(f"{name}: {folder.name}", words in said and "sentencepiece package" in said, said[:150])


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--program", required=True)
parser.add_argument("--corpus", type=pathlib.Path, required=True, help="the quickstart's text, a file of JSON lines")
parser.add_argument("--model", type=pathlib.Path, help="a run, a checkpoint or an export whose tokenizer to check")
options = parser.parse_args()
print(f"transformers {transformers.__version__}")
with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    corpus = work / "corpus.jsonl"
    lines = subprocess.run(["gzip", "-dcf", options.corpus], capture_output=True, check=True).stdout.decode().splitlines()
    corpus.write_text("\n".join(lines[:20_000]))
    text = "\n\n".join(json.loads(line)["text"] for line in lines[:2000])
    texts = hard_texts(text)

    def train(name, *arguments):
        model = work / f"{name.replace(' ', '-')}.model"
        program("tokenizer", "--input", corpus, "--output", model, "--max-sentences", 50_000, *arguments, cwd=work)
        return model

    for kind in ["bpe", "unigram"]:
        model = train(kind, "--vocab-size", 4096, "--model-type", kind)
        check(f"the quickstart's tokenizer, {kind}", model, texts, work / kind)
    # Those that take U+2581 for a space also cut words of more than 2,048 characters otherwise where it stands in one.
    short = [text for text in texts if max(map(len, text.split(" "))) <= 2048 and " " * 2048 not in text]
    for kind in ["bpe", "unigram"]:
        model = train(f"{kind} without bytes", "--vocab-size", 1024, "--model-type", kind, "--no-byte-fallback")
        check(f"{kind} without bytes", model, short, work / f"{kind}-without", back=None)
    model = train("nfkc", "--vocab-size", 2048, "--normalization", "nmt_nfkc")
    check_refused("normalizing", model, texts, work / "nfkc", "nmt_nfkc")
    # LLaMA's kind, which puts a space before the text.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")), model_prefix=str(work / "llama"), model_type="bpe", vocab_size=2000,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, split_digits=True, minloglevel=2)
    check("LLaMA's kind", work / "llama.model", short, work / "llama", back=lambda text: text.replace("▁", " "))
    check_json("a tokenizer.json of bytes", [text for text in texts if text], work / "json")
    if options.model:
        folder = options.model / "checkpoints/latest" if (options.model / "checkpoints").exists() else options.model
        check(str(options.model), (folder / "tokenizer.model").resolve(), texts, work / "model")
print(f"{failures} failed" if failures else "all tokenizers are well")
sys.exit(1 if failures else 0)

"""The PyTorch side of scripts/bench.sh: a server that does what a line on standard input asks for.

It prints a line of JSON when it is ready (versions), then one for each line that it reads, a number of steps:
{"seconds": a step, "peak": bytes resident at most}. Between lines it sleeps. What it does:

  train MODE SHAPE     Hugging Face's LlamaForCausalLM with scaled dot-product attention, trained by fused AdamW with
                       gradients clipped to norm 1; MODE is eager or compile, SHAPE as bench.sh has it in JSON
  optimizer NAME SHAPES [FOLDER]
                       a step of torch.optim's fused AdamW or Muon on parameters of these shapes; with FOLDER that of
                       the optimizer's authors, whose file is there
"""

import importlib
import json
import os
import sys
import time

import torch


def peak():
    """The largest resident memory so far; getrusage's would begin with that of the parent."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def serve(step, warm_up, **description):
    for _ in range(warm_up):
        step()
    print(json.dumps({"torch": torch.__version__, **description}), flush=True)
    for line in sys.stdin:
        steps = int(line)
        start = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = (time.perf_counter() - start) / steps
        print(json.dumps({"seconds": seconds, "peak": peak()}), flush=True)


def train(mode, shape):
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        **shape["model"], attn_implementation="sdpa", use_cache=False, bos_token_id=1, eos_token_id=1
    )
    model = transformers.LlamaForCausalLM(config).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    batch, length = shape["batch"], shape["length"]
    # The shard that cosmos-train reads: 1024 bytes of header, then 16 bits a token.
    ids = torch.frombuffer(bytearray(open(shape["shard"], "rb").read()[1024:]), dtype=torch.int16).long() & 0xFFFF
    windows = ids[: ids.numel() // (length + 1) * (length + 1)].view(-1, length + 1)
    order = 0

    def loss_of(inputs, targets):
        return model(input_ids=inputs, labels=inputs, shift_labels=targets).loss

    compute = torch.compile(loss_of) if mode == "compile" else loss_of

    def step():
        nonlocal order
        rows = windows[torch.arange(order, order + batch) % windows.shape[0]]
        order += batch
        with torch.autocast("cpu", torch.bfloat16, enabled=shape["precision"] == "bf16"):
            loss = compute(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    count = sum(parameter.numel() for parameter in parameters)
    serve(step, 2, transformers=transformers.__version__, parameters=count)


def authors_optimizer(name, parameters, folder):
    """As published: muon.py of KellerJordan/Muon, soap.py of nikhilvyas/SOAP, COSMOS_optim.py of lliu606/COSMOS."""
    sys.path.insert(0, folder)
    if name == "muon":
        return importlib.import_module("muon").SingleDeviceMuon(parameters, lr=1e-3)
    if name == "cosmos":
        return importlib.import_module("COSMOS_optim").COSMOS(parameters, lr=1e-3, rank=64)
    # New bases never come after the first step, or at each.
    frequency = 1 if name == "soap-renewal" else 1 << 30
    return importlib.import_module("soap").SOAP(parameters, lr=1e-3, precondition_frequency=frequency)


def optimizer(name, shapes, folder=None):
    torch.manual_seed(1)
    parameters = [torch.nn.Parameter(0.02 * torch.randn(shape)) for shape in shapes]
    gradients = [1e-3 * torch.randn_like(parameter) for parameter in parameters]
    if folder:
        rule = authors_optimizer(name, parameters, folder)
    elif name == "muon":
        if not hasattr(torch.optim, "Muon"):
            sys.exit("this torch has no torch.optim.Muon")
        rule = torch.optim.Muon(parameters, lr=1e-3)
    else:
        rule = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def step():
        # Some take them away.
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        rule.step()

    # SOAP's first step only makes bases.
    serve(step, 1 if name == "muon" else 2)


def main():
    kind, name, argument, *folder = sys.argv[1:]
    torch.set_num_threads(int(os.environ["COSMOS_THREADS"]))
    torch.set_flush_denormal(True)
    {"train": train, "optimizer": optimizer}[kind](name, json.loads(argument), *folder)


main()

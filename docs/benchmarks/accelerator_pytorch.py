"""The published PyTorch code's train step and evaluation on an accelerator: see accelerator.sh.

    python docs/benchmarks/accelerator_pytorch.py PUBLISHED [--sizes=512x1024,1024x2048]

Its HRNet-W48 with drawn weights, autocast to bfloat16, channels last: the train step with the
scales 0.5 and 1 and one image, cross-entropy and SGD; and the evaluation of one image with the
scales 0.5, 1 and 2 and its mirror image.
"""

import argparse
import statistics
import sys
import time

import torch
import w48_reference

WARM_UP, RUNS, CLASSES = 2, 10, 19


def main(args: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    network, cfg = w48_reference.published_network(args.published)
    del sys.modules["tabulate"]  # a stub, which PyTorch's optimizers trip over
    network = network.to(device, memory_format=torch.channels_last)
    loss = torch.nn.CrossEntropyLoss(ignore_index=255)
    network.criterion = lambda logits, labels, do_rmi: loss(logits.float(), labels)
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=5e-4)
    print(f"\nPyTorch {torch.__version__}, {name}, autocast to bfloat16\n")
    print("| step | size | images | s, median (quartiles) | images/s | memory, GiB |")
    print("|---|---|---:|---:|---:|---:|")
    for size in args.sizes:
        rows, columns = (int(n) for n in size.split("x"))
        images = torch.randn(1, 3, rows, columns, device=device)
        images = images.to(memory_format=torch.channels_last)
        labels = torch.randint(CLASSES, (1, rows, columns), device=device)

        def train(images=images, labels=labels):
            sgd.zero_grad()
            network.train()({"images": images, "gts": labels}).backward()
            sgd.step()

        @torch.no_grad()
        def evaluate(images=images):
            cfg.MODEL.N_SCALES = [0.5, 1.0, 2.0]
            network.eval()
            both = [network({"images": view})["pred"] for view in (images, images.flip(3))]
            return (both[0] + both[1].flip(3)).argmax(1).cpu()

        for step in (train, evaluate):
            seconds, memory = timed(step, device)
            low, median, high = seconds
            print(
                f"| {step.__name__} | {rows} x {columns} | 1 | {median:.4f} ({low:.4f}-{high:.4f})"
                f" | {1 / median:.2f} | {memory} |",
                flush=True,
            )


def timed(step, device):
    """The quartiles of its seconds, and the most memory."""
    seconds = []
    for _ in range(WARM_UP + RUNS):
        begin = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        if len(seconds) > WARM_UP and sum(seconds) > 40:
            break
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if device == "cuda" else "-"
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = seconds[WARM_UP:]
    if len(taken) == 1:
        return taken * 3, memory
    low, median, high = statistics.quantiles(taken, n=4)
    return (low, median, high), memory


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("published")
    parser.add_argument("--sizes", type=lambda t: t.split(","), default=["512x1024", "1024x2048"])
    main(parser.parse_args())

#!/usr/bin/env python3
"""Sets AutoAttack of mrpf beside the original (fra31/auto-attack at a392200), image by image, on the same weights.

    mrpf train tests/agreement/resnet20.toml --data-dir DIR --out a
    mrpf export a/networks/dense.safetensors --format pytorch --name resnet20 --out a/torch
    mrpf evaluate a/networks/dense.safetensors --experiment tests/agreement/resnet20.toml --data-dir DIR --curves 0 --out a/ours
    VENV/bin/python tests/agreement/autoattack.py a DIR --original FOLDER [--seed 0]

VENV has torch, safetensors, numpy and pandas with pyarrow; FOLDER holds the original's package `autoattack`. The first call runs the original and keeps its
outcomes in a/original-SEED.json; later calls only compare.
"""
import argparse
import json
import pathlib
import sys
import time

import numpy as np
import pandas
import torch

STAGES = ["apgd-ce", "apgd-t", "fab-t", "square"]
EPSILON = 8 / 255


def images(folder, count):
    """The first test images and labels of CIFAR-10's binary version."""
    data = np.fromfile(folder / "cifar-10-batches-bin/test_batch.bin", np.uint8).reshape(-1, 3073)[:count]
    return torch.from_numpy(data[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255), torch.from_numpy(data[:, 0].astype(np.int64))


def original(net, x, y, seed, batch, stages, kept):
    """For each stage, the images that survive it and all before it, and how long it took; kept after each stage."""
    from autoattack import AutoAttack

    with torch.no_grad():
        clean = torch.cat([net(part).argmax(1) for part in x.split(batch)]) == y
    left = clean.nonzero().flatten()
    found = {"clean": left.tolist(), "stages": {}, "seconds": {}}
    for stage in stages:
        attack = AutoAttack(net, norm="Linf", eps=EPSILON, device="cpu", seed=seed, verbose=False)
        attack.attacks_to_run = [stage]
        start = time.time()
        adversarial = attack.run_standard_evaluation(x[left], y[left], bs=batch)
        found["seconds"][stage] = time.time() - start
        with torch.no_grad():
            right = torch.cat([net(part).argmax(1) for part in adversarial.split(batch)]) == y[left]
        left = left[right]
        found["stages"][stage] = left.tolist()
        print(stage, len(left), f"{found['seconds'][stage]:.0f} s", flush=True)
        kept.write_text(json.dumps(found))


def ours(folder):
    """The same from the table that `mrpf evaluate` leaves."""
    (path,) = (folder / "evaluation").glob("*.parquet")
    table = pandas.read_parquet(path)
    table = table[table.attack == "autoattack"]
    found = {"clean": table[table.attacked].image.tolist(), "stages": {}}
    broken = set()
    for stage in STAGES:
        broken |= set(table[table.broken_by == stage].image)
        found["stages"][stage] = [image for image in found["clean"] if image not in broken]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--original", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default=",".join(STAGES), help="the first of the original's stages are enough for a start")
    parser.add_argument("--ours", default="ours")
    options = parser.parse_args()
    kept = options.run / f"original-{options.seed}.json"
    if not kept.exists():
        sys.path[:0] = [str(options.original), str(options.run / "torch")]
        import resnet20

        torch.set_num_threads(2)
        net = resnet20.load().eval().requires_grad_(False)
        x, y = images(options.data, options.images)
        original(net, x, y, options.seed, options.batch, options.stages.split(","), kept)
    theirs, our = json.loads(kept.read_text()), ours(options.run / options.ours)
    print("| stage | mrpf | original | other outcome |\n| --- | ---: | ---: | ---: |")
    for stage in ["clean", *theirs["stages"]]:
        a, b = (set(found["clean"] if stage == "clean" else found["stages"][stage]) for found in (our, theirs))
        share = [f"{100 * len(found) / options.images:.1f} %" for found in (a, b)]
        print(f"| {stage} | {share[0]} | {share[1]} | {len(a ^ b)} images |")


if __name__ == "__main__":
    main()

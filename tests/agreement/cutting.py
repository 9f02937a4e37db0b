#!/usr/bin/env python3
"""Times what Torch-Pruning takes to find the groups of a network and to cut half of each one's channels, for `mrpf bench --what cut`.

    VENV/bin/python cutting.py --arch resnet18-imagenet > theirs.jsonl
    mrpf bench --what cut --arch resnet18-imagenet --steps 9 --against theirs.jsonl

Made with Python 3.11, torch 2.15, torchvision 0.29 and torch-pruning 1.6.1. The network is torchvision's with ten classes for images of 32x32
pixels. Each repetition begins with a fresh copy, which is not timed. A line of JSON with the fields of `mrpf bench --json` is printed.
"""
import argparse
import copy
import json
import statistics
import time

import torch
import torch.nn as nn
import torch_pruning as tp
import torchvision.models as tv

NETWORKS = {
    "resnet18-imagenet": lambda: tv.resnet18(num_classes=10),
    "resnet50-imagenet": lambda: tv.resnet50(num_classes=10),
    "mobilenet-v2-imagenet": lambda: tv.mobilenet_v2(num_classes=10),
}


def cut(net, images):
    classifier = [m for m in net.modules() if isinstance(m, nn.Linear)]
    graph = tp.DependencyGraph().build_dependency(net, example_inputs=images)
    for whole in list(graph.get_all_groups(ignored_layers=classifier, root_module_types=[nn.Conv2d, nn.Linear])):
        dep, channels = whole[0]
        half = list(range((len(channels) + 1) // 2, len(channels)))
        graph.get_pruning_group(dep.target.module, dep.handler, half).prune()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", choices=NETWORKS, default="resnet18-imagenet")
    parser.add_argument("--batch", type=int, default=64, help="not used, but paired by")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--warmup", type=int, default=1)
    args = parser.parse_args()
    net, images, seconds = NETWORKS[args.arch]().eval(), torch.zeros(1, 3, 32, 32), []
    for repetition in range(args.warmup + args.steps):
        fresh = copy.deepcopy(net)
        start = time.perf_counter()
        cut(fresh, images)
        if repetition >= args.warmup:
            seconds.append(time.perf_counter() - start)
    widths = [m.out_channels for m in fresh.modules() if isinstance(m, nn.Conv2d)]
    before = [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(2 * after == whole for after, whole in zip(widths, before)), widths
    print(json.dumps({
        "what": "cut", "arch": args.arch, "batch": args.batch, "threads": torch.get_num_threads(), "device": "cpu",
        "seconds": seconds, "median": statistics.median(seconds),
    }))


main()

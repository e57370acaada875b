#!/usr/bin/env python3
"""Makes data/fashion-mnist: a class-balanced subset of Fashion-MNIST in the original file format.

    scripts/make_fashion_subset.py SOURCE OUTPUT

SOURCE holds the four original idx files, gzipped (on Debian and Ubuntu:
`apt install dataset-fashion-mnist`, then /usr/share/datasets/fashion-mnist).
OUTPUT gets four files of the same names and format.

The subset is the first 500 training and the first 200 test images of each class, in the order of the
source files. There is no random choice in it, so anybody can make it again; the gzip header carries
neither a name nor a time, so with the same zlib the files come out byte for byte the same.
"""

import gzip
import hashlib
import struct
import sys
from pathlib import Path

CLASSES = 10
PARTS = {"train": 500, "t10k": 200}  # images of each class
UNSIGNED_BYTE = 0x08


def read_idx(path, rank):
    """The dimensions and the bytes of an idx file of unsigned bytes."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:4] != bytes([0, 0, UNSIGNED_BYTE, rank]):
        raise SystemExit(f"{path}: not an idx file of unsigned bytes with {rank} dimensions")
    header = 4 + 4 * rank
    dims = struct.unpack(f">{rank}I", raw[4:header])
    size = 1
    for dim in dims:
        size *= dim
    if len(raw) - header != size:
        raise SystemExit(f"{path}: {dims} needs {size} bytes, the file has {len(raw) - header}")
    return dims, raw[header:]


def write_idx(path, dims, body):
    """Writes an idx file of unsigned bytes, and prints the checksums for data/README.md."""
    raw = bytes([0, 0, UNSIGNED_BYTE, len(dims)]) + struct.pack(f">{len(dims)}I", *dims) + body
    packed = gzip.compress(raw, compresslevel=9, mtime=0)
    path.write_bytes(packed)
    for data, name in (packed, path.name), (raw, path.stem):
        print(f"{hashlib.sha256(data).hexdigest()}  {name}  ({len(data)} bytes)")


def first_of_each_class(labels, count):
    """The indices of the first `count` examples of each class, ascending."""
    taken = [0] * CLASSES
    chosen = []
    for index, label in enumerate(labels):
        if taken[label] < count:
            taken[label] += 1
            chosen.append(index)
    if min(taken) < count:
        raise SystemExit(f"the source has too few images of some class: {taken}, wanted {count} of each")
    return chosen


def main(source, output):
    output.mkdir(parents=True, exist_ok=True)
    for part, count in PARTS.items():
        images_name, labels_name = f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"
        (total, height, width), pixels = read_idx(source / images_name, 3)
        (label_total,), labels = read_idx(source / labels_name, 1)
        if total != label_total:
            raise SystemExit(f"{part}: {total} images but {label_total} labels")
        chosen = first_of_each_class(labels, count)
        area = height * width
        write_idx(
            output / images_name,
            (len(chosen), height, width),
            b"".join(pixels[i * area : (i + 1) * area] for i in chosen),
        )
        write_idx(output / labels_name, (len(chosen),), bytes(labels[i] for i in chosen))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))

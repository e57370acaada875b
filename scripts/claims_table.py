#!/usr/bin/env python3
"""Writes docs/CLAIMS.md: every claim with its prediction, the engine's measurement and an independent one.

    cargo run --release -- lab all --out gradus-report
    scripts/claims_table.py gradus-report/claims.json "llvmpipe, seed 0" > docs/CLAIMS.md

The independent numbers (docs/independent.tsv) are those of numpy and JAX programs that share no code with gradus, run at
the same sizes with random numbers of their own.
"""

import json
import sys
from pathlib import Path


def number(value):
    if isinstance(value, list):
        shown = [number(v) for v in value]
        return ", ".join(shown if len(shown) <= 8 else shown[:7] + [f"… ({len(shown)})"])
    return value if isinstance(value, str) else f"{value:.4g}"


def main():
    claims = json.loads(Path(sys.argv[1]).read_text())
    where = sys.argv[2]
    folder = Path(__file__).resolve().parent.parent / "docs"
    lines = (folder / "independent.tsv").read_text().splitlines()
    independent = dict(line.split("\t") for line in lines)
    print("# What was predicted, measured, and measured independently\n")
    print(f"Predictions and tolerances are those of the theory; *measured* is `gradus lab all` on {where}; *independent* are")
    print("numpy and JAX programs that share no code with gradus and draw random numbers of their own, so where a claim is")
    print("statistical the last two agree within its tolerance and not more. Numbers that are zero by theory differ by the")
    print("precision they were computed in: f32 on the device, mostly f64 in the independent check. Made by")
    print("`scripts/claims_table.py`.\n")
    print("| claim | predicted | tolerance | measured | independent |\n|---|---|---|---|---|")
    for claim in claims:
        tolerance = claim["tolerance"]
        if isinstance(tolerance, list):
            tolerance = [f"± {t:.3g}" if isinstance(t, float) else t for t in tolerance]
            tolerance = tolerance[0] if len(set(tolerance)) == 1 else ", ".join(tolerance)
        elif not isinstance(tolerance, str):
            tolerance = f"± {tolerance:.3g}"
        other = independent.get(claim["id"], "")
        cells = [claim["id"], number(claim["predicted"]), tolerance, number(claim["measured"]), other]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


if __name__ == "__main__":
    main()

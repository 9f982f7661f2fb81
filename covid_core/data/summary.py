"""A prepared dataset in words, for the terminal."""

from covid_core.data.prepare import PreparedDataset


def summary_lines(prepared: PreparedDataset) -> str:
    """What was left out at each step, what stands in each part, and what stands in more than one (it must be nothing)."""
    lines = ["images  patients  left out"]
    for step in prepared.flow:
        left_out = f"{step.excluded_images:8d}  {step.reason}" if step.excluded_images else "       -"
        lines.append(f"{step.images:6d}  {step.patients:8d}  {left_out}")
    lines += ["", "part   class      images  patients"]
    for row in prepared.parts.to_dict("records"):
        lines.append(f"{row['part']:5}  {row['label']:9}  {row['images']:6d}  {row['patients']:8d}")
    lines += [
        "",
        f"In more than one part: {prepared.overlap.patients} patients, {prepared.overlap.duplicates} duplicates "
        f"({len(prepared.duplicate_pairs)} pairs of (almost) the same picture were kept together).",
        f"written: {prepared.out_dir / 'split'}, split.csv, flow.json",
    ]
    return "\n".join(lines)

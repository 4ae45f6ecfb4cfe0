"""What a benchmark ran on, for the first line of its results."""

import subprocess


def describe() -> str:
    """Return processor, threads and torch version, and the GPU's name where there is one."""
    import torch

    listed = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":", 1) for line in listed.splitlines() if ":" in line)
    told = f"{fields['Model name'].strip()}, {fields['CPU(s)'].strip()} cores"
    told += f", {torch.get_num_threads()} threads, torch {torch.__version__}"
    return f"{told}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else told

"""How long it takes until something happens: beside a Python that does nothing, in turns.

python benchmarks/startup.py --json=benchmarks/startup.json
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import reporting

NOTHING = "python -c pass"
COMMANDS = {
    NOTHING: ["-c", "pass"],
    "import lit_plugins": ["-c", "import lit_plugins"],
    "lit-plugins --help": ["-m", "lit_plugins", "--help"],
    "lit-plugins explain --help": ["-m", "lit_plugins", "explain", "--help"],
    "lit-plugins methods": ["-m", "lit_plugins", "methods"],
    "lit_plugins.load": ["-c", "import lit_plugins; lit_plugins.load"],
}


def main() -> None:
    parser = reporting.parser(__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how often each (default: 20)")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(options.runs + 1):
        for name, arguments in COMMANDS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first time, files are read from the disk
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        **reporting.machine("click"),
        "runs": options.runs,
        "median seconds": {name: round(value, 3) for name, value in medians.items()},
        "times as long as python -c pass": {
            name: round(value / medians[NOTHING], 1) for name, value in medians.items()
        },
    }
    reporting.write(result, options.json)


if __name__ == "__main__":
    main()

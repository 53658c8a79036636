"""Compiled steps, and CUDA graphs of them, of one variant against plain ones; prints JSON, exit code 1 if they differ.

python tests/gpu/step_parity.py DEVICE MODE[,MODE] VARIANT
"""

import json
import sys
from dataclasses import asdict

from gpt.runner.checks.gradient_parity import check_parity
from gpt.runner.checks.step_cases import step_cases


def main() -> int:
    device, modes, variant = sys.argv[1:]
    found = check_parity(
        device, [case for case in step_cases(modes.split(","), device) if case.name.endswith(f": {variant}")]
    )
    print(json.dumps({"holds": found.holds, **asdict(found)}))
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())

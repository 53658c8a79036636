"""Run a study and print what it found.

    python examples/run_a_study.py configs/studies/quick/normalization.yaml

About three minutes on one core the first time; later, as the runs are kept, seconds. `--seeds 3` is quicker.
"""

import argparse

from gpt import InputError, run_study, verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a study and print what it found.")
    parser.add_argument("study", help="for instance configs/studies/quick/normalization.yaml")
    parser.add_argument("--seeds", type=int, help="number of seeds in place of the file's")
    parser.add_argument("--out", default="out", help="folder of runs and studies (default: out)")
    options = parser.parse_args()
    try:
        findings = run_study(options.study, seeds=options.seeds, out=options.out)
    except InputError as error:
        parser.error(str(error))
    print(findings.study.question)
    for contrast in findings.contrasts:
        paired = contrast.paired
        print(
            f"  {contrast.b} vs {contrast.a}: {paired.mean_difference:+.4f} {findings.study.metric.unit} "
            f"[{paired.low:+.4f}, {paired.high:+.4f}], p = {contrast.p_adjusted:.3f}: {contrast.verdict}"
        )
    for sentence in verdicts(findings):
        print(sentence)


if __name__ == "__main__":
    main()

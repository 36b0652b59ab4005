"""spark-submit jobs/build_features.py --config FILE --ds DAY [--set section.key=value ...]"""

from divspa.cli import run_job

if __name__ == "__main__":
    run_job("build_features")

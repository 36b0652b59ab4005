"""spark-submit jobs/refit.py --config FILE --ds DAY [--set section.key=value ...]"""

from divspa.cli import run_job

if __name__ == "__main__":
    run_job("refit")

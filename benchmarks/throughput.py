"""How many no-op tasks a second the engine runs, beside a bare trio nursery: as `goflow-trio bench`.

    python benchmarks/throughput.py [--runs 5] [--scale 1.0] [--json]

The code is `goflow_trio/testing/throughput.py`, in the package, so that it runs from an installed wheel too.
"""

from goflow_trio.cli.benching import bench

if __name__ == "__main__":
    bench()

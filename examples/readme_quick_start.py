"""Goflow's quick start: the server with its example jobs. Run it and open http://localhost:8181."""

from goflow_trio import Goflow

gf = Goflow(show_examples=True, with_seconds=True)

if __name__ == "__main__":
    gf.run("127.0.0.1:8181")

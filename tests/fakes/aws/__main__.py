"""`python -m tests.fakes.aws --port 5001`."""

import argparse

from tests.fakes.aws.server import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)

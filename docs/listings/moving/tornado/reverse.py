"""The lockers on Tornado, the other way round: the old server over the lockers that have moved.

python reverse.py --port 7000
"""

import argparse
import asyncio

from after import Lockers
from before import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    asyncio.run(serve(Lockers(), options.port, options.idle))

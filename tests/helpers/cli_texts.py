"""Files of records for the command line's tests."""

from __future__ import annotations

import json
import random

import encoders


def write_texts(path, count, seed=0, **more):
    """Records with texts of known words."""
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, count + 1):
            text = " ".join(chance.choices(encoders.WORDS, k=chance.randint(3, 9)))
            file.write(json.dumps({"id": f"r{number}", "text": text, **more}) + "\n")
    return path

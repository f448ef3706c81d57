"""Writes hora.json: what the reference of HORA's design says, for member and controller to be held against.

Runs reference.py of the design notes (HORA section 11) with a random source that is written down, so that the same bytes
can be fed to another controller. Each history: a tree, and steps that are joins, or a REKEY or REFRESH with the message
and the root key after it.

Run     python3 reference-vectors.py FOLDER_OF_REFERENCE > hora.json
"""
import json
import random
import sys

sys.path.insert(0, sys.argv[1])
import reference  # noqa: E402


class OfDay:
    """struct, but headers say gd = g: the day of the vectors began at generation 0. The reference writes 0 there."""

    pack_original = staticmethod(reference.struct.pack)
    unpack_from = staticmethod(reference.struct.unpack_from)

    @staticmethod
    def pack(form, *values):
        if form == reference.HEADER:
            values = values[:5] + (values[4],) + values[6:]
        return OfDay.pack_original(form, *values)


reference.struct = OfDay


class Recorder:
    def __init__(self, seed):
        self.rng, self.taken = random.Random(seed), []

    def randbytes(self, count):
        self.taken.append(self.rng.randbytes(count))
        return self.taken[-1]

    def take(self):
        taken, self.taken = self.taken, []
        return [x.hex() for x in taken]


def history(seed):
    rng, recorder = random.Random(1000 + seed), Recorder(seed)
    n = (2, 4, 8, 16, 64, 4, 8, 16, 32, 1024)[seed]
    c, members, steps = reference.Controller(n, recorder), {}, []
    start = recorder.take()
    for step in range(8):
        free = [s for s in range(n) if s not in members]
        for s in rng.sample(free, min(len(free), rng.randint(1, 1 + n // 2 if n < 100 else 20))) if step % 3 == 0 else []:
            leaf = rng.randbytes(16)
            nodes = c.join(s, leaf)
            members[s] = reference.Meter(n, s, reference.kdf16(leaf, b"t"), nodes, c.g)
            steps.append({"join": s, "leaf": leaf.hex(), "g": c.g})
        if not members:
            continue
        refresh = rng.random() < 0.3
        slots = sorted(rng.sample(sorted(members), 1 if refresh else rng.randint(1, max(1, len(members) // 2))))
        message, sent = c.rekey(slots, refresh)
        steps.append({"refresh" if refresh else "leave": slots, "random": recorder.take(), "message": message.hex(),
                      "root": c.K[1].hex(), "ciphertexts": sent})
        if not refresh:
            gone = [members.pop(s) for s in slots]
            assert all(m.receive(message) != "ok" for m in gone)
        assert all(m.receive(message) == "ok" for m in members.values())
    return {"slots": n, "start": start, "steps": steps}


if __name__ == "__main__":
    root = bytes(range(32))
    print(json.dumps({
        "source": "reference.py of the design notes of HORA, by reference-vectors.py; python3 random, seeds 0 to 9",
        "kdf16": {"key": root[:16].hex(), "label": "t", "is": reference.kdf16(root[:16], b"t").hex()},
        "mix": {"key": root.hex(), "label": "x", "is": reference.kdf16(root, b"x").hex()},
        "histories": [history(seed) for seed in range(10)],
    }, indent="\t"))

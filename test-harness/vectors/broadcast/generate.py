"""Vectors of authenticated broadcast, made without our code: python3 generate.py > broadcast.json (Python 3 alone).

kdf, kdf16, flash_step, flash_run, flash_commit and the calendar are those of the design's reference (reference.py parts 3
and 4); chains and messages are put together here from HORA sections 2, 7 and 8 and the tables of src/broadcast.
"""
import hashlib
import json
import struct

SOURCE = "test-harness/vectors/broadcast/generate.py, Python 3 hashlib"
ALL, DOMAIN = 0xFFFF, 0x1234
HES, DC = 0, 1
N, D, FIRST, LEVELS = 96, 2, 9824, 5
EPOCH = FIRST + 1
SEEDS = {HES: bytes(range(32)), DC: bytes(range(0x80, 0xA0))}
DOMAINS = {HES: ALL, DC: DOMAIN}


def kdf(key, label, context=b""):
    assert len(key) in (16, 32) and len(label) == 1 and len(context) <= 22
    return hashlib.sha256(key.ljust(32, b"\0") + label + context).digest()


def kdf16(key, label, context=b""):
    return kdf(key, label, context)[:16]


def chain(which, epoch, count=N):
    """T_0 .. T_count of a day."""
    head = struct.pack(">HBH", DOMAINS[which], which, epoch)
    keys = [kdf16(SEEDS[which], b"S", head)]
    for i in range(count, 0, -1):
        keys.insert(0, kdf16(keys[0], b"T", head + struct.pack(">H", i)))
    return keys


def mac_key(which, epoch, i):
    return kdf16(chain(which, epoch)[i + 1], b"a", struct.pack(">HBHH", DOMAINS[which], which, epoch, i + 1))


def signed(which, epoch, i, message):
    covered = struct.pack(">HHB", epoch, DOMAINS[which], 0) + message
    return message + kdf(mac_key(which, epoch, i), b"A", hashlib.sha256(covered).digest()[:20])[:10]


def disclosed(which, epoch, i):
    """The key of interval i; below 0 it is yesterday's."""
    return chain(which, epoch)[i + 1] if i >= 0 else chain(which, epoch - 1)[N + i + 1]


def beacon(epoch, i, lag, g, gd, delta, extension=b""):
    t_hes = bytes(16) if lag == 255 else disclosed(HES, epoch, i - D - lag)
    head = struct.pack(">BHHHBIBB", 1, DOMAIN, epoch, i, lag, g, gd, delta)
    return signed(DC, epoch, i, head + disclosed(DC, epoch, i - D) + t_hes + extension)


def bcast(kind, epoch, i, counter, payload, domain=ALL):
    return signed(HES, epoch, i, struct.pack(">BHBHH", kind, domain, 0, i, counter) + payload)


def flash_step(value, slot, scope, which, position):
    return kdf16(value, b"f", struct.pack(">IBBB", slot, scope, which, position))


def flash_run(value, slot, scope, which, start, end):
    for position in range(start, end):
        value = flash_step(value, slot, scope, which, position)
    return value


def flash_seed(slot, scope, which):
    return kdf16(SEEDS[HES], b"X", struct.pack(">IBB", slot, scope, which))


def flash_commit(slot, scope, epoch, first, last):
    window = struct.pack(">IBHHH", slot, scope, epoch, first, last)
    ends = b"".join(flash_run(flash_seed(slot, scope, w), slot, scope, w, 0, 255) for w in (0, 1))
    return window + kdf16(ends, b"q", window)


def flash(slot, scope, level, domain=ALL):
    a = flash_run(flash_seed(slot, scope, 0), slot, scope, 0, 0, 255 - level)
    b = flash_run(flash_seed(slot, scope, 1), slot, scope, 1, 0, level)
    return struct.pack(">BHIBB", 0x0F, domain, slot, scope, level) + a + b


def calendar():
    leaves = [chain(HES, FIRST + day)[0] for day in range(1 << LEVELS)]
    level = [kdf16(t0, b"y", struct.pack(">H", FIRST + day)) for day, t0 in enumerate(leaves)]
    levels = [level]
    for height in range(1, LEVELS + 1):
        level = [kdf16(level[2 * k] + level[2 * k + 1], b"z", struct.pack(">BH", height, k))
                 for k in range(len(level) // 2)]
        levels.append(level)

    def anchor(day, siblings=LEVELS):
        proof = b"".join(levels[h][(day >> h) ^ 1] for h in range(siblings))
        return struct.pack(">BHHB", 2, DOMAIN, FIRST + day, siblings) + leaves[day] + proof
    return levels[-1][0], anchor


def main():
    root, anchor = calendar()
    h = bytes.hex
    day = {w: chain(w, EPOCH) for w in (HES, DC)}
    tomorrow = b"\1" + chain(DC, EPOCH + 1)[0]
    groups = b"\2" + bytes(range(1, 15))
    commit = flash_commit(7, 3, EPOCH, 40, 44)
    print(json.dumps({
        "source": SOURCE,
        "seeds": {"headEnd": h(SEEDS[HES]), "concentrator": h(SEEDS[DC])},
        "domain": DOMAIN, "firstEpoch": FIRST, "levels": LEVELS, "intervalsADay": N, "disclosureDelay": D, "epoch": EPOCH,
        "keys": [{"chain": w, "epoch": EPOCH, "index": i, "key": h(day[w][i])} for w in (HES, DC) for i in (0, 1, 2, 50, 95, 96)],
        "shortDay": [{"chain": HES, "epoch": EPOCH, "intervalsADay": 1440, "key": h(chain(HES, EPOCH, 1440)[0])}],
        "macKeys": [{"chain": w, "interval": i, "key": h(mac_key(w, EPOCH, i))} for w in (HES, DC) for i in (0, 95)],
        "calendar": {"root": h(root),
                     "anchors": [{"epoch": FIRST + d, "bytes": h(anchor(d))} for d in (0, 1, 15, 16, 31)],
                     "short": [{"epoch": FIRST + d, "bytes": h(anchor(d, 4))} for d in (1, 15)]},
        "beacons": [
            {"interval": 10, "headEndLag": 0, "generation": 1, "generationOfDay": 2, "patchDelta": 3,
             "bytes": h(beacon(EPOCH, 10, 0, 1, 2, 3))},
            {"interval": 0, "headEndLag": 0, "generation": 0, "generationOfDay": 0, "patchDelta": 0,
             "bytes": h(beacon(EPOCH, 0, 0, 0, 0, 0))},
            {"interval": 11, "headEndLag": 1, "generation": 0xFEDCBA98, "generationOfDay": 255, "patchDelta": 255,
             "extension": h(groups[1:]), "bytes": h(beacon(EPOCH, 11, 1, 0xFEDCBA98, 255, 255, groups))},
            {"interval": 48, "headEndLag": 255, "generation": 5, "generationOfDay": 1, "patchDelta": 0,
             "extension": h(tomorrow[1:]), "bytes": h(beacon(EPOCH, 48, 255, 5, 1, 0, tomorrow))},
        ],
        "broadcasts": [
            {"interval": 10, "counter": 0, "domain": ALL, "payload": "", "bytes": h(bcast(0x0D, EPOCH, 10, 0, b""))},
            {"interval": 10, "counter": 1, "domain": DOMAIN, "payload": h(b"price 7"),
             "bytes": h(bcast(0x0D, EPOCH, 10, 1, b"price 7", DOMAIN))},
            {"interval": 95, "counter": 2, "domain": ALL, "payload": h(bytes(range(256))),
             "bytes": h(bcast(0x0D, EPOCH, 95, 2, bytes(range(256))))},
        ],
        "flash": {"slot": 7, "scope": 3, "firstInterval": 40, "lastInterval": 44, "interval": 39, "counter": 0,
                  "commit": h(bcast(0x0E, EPOCH, 39, 0, commit)),
                  "levels": [{"level": c, "bytes": h(flash(7, 3, c))} for c in (0, 1, 128, 254, 255)]},
        "bench": {"epoch": EPOCH, "headEndKey": h(day[HES][0]), "concentratorKey": h(day[DC][0]),
                  "first": h(beacon(EPOCH, 2, 0, 1, 1, 1)), "broadcast": h(bcast(0x0D, EPOCH, 2, 0, bytes(32))),
                  "second": h(beacon(EPOCH, 4, 0, 1, 1, 1))},
    }, indent="\t"))


if __name__ == "__main__":
    main()

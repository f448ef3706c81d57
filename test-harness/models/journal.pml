/* Journal of the next accepted index, and of every secret that moves with it, across power loss at any step.
 * (src/key-store/journal.ts)
 *
 * Order: write the new record, commit it, erase the old one, act. Boot finishes an interrupted erase first.
 * NAIVE: act before the commit; an index is accepted twice.
 * LAZY: the old record stays until the next write; nothing twice, but old secrets are left while the meter acts.
 * FIRST: the old record is erased before the new one is committed; a cut leaves none.
 *
 * Claims: once (no index twice, never without a record), fs (no record of the index acted on, or older, is left).
 * Limits: CRASHES power losses, indices below MAXI; the adversary delivers any index.
 */
#define MAXI 4
#define CRASHES 3

byte sequence[2], value[2];  /* a record: sequence, next index (0: erased) */
bool committed[2];
byte memory, crashes = 0;
bool twice = false, dead = false, residue = false, accepted[6];

#define CRASH if :: crashes < CRASHES -> crashes++; goto restart :: skip fi
#define ERASE committed[other] = false; CRASH; value[other] = 0; CRASH
#define ACT atomic { \
  if :: accepted[i] -> twice = true :: else -> accepted[i] = true fi; \
  if :: (value[0] && value[0] <= i) || (value[1] && value[1] <= i) -> residue = true :: else fi }

active proctype Meter() {
  byte i, now, other;
  atomic { value[0] = 1; sequence[0] = 1; committed[0] = true }
restart:
  atomic {
    if
    :: committed[0] && (!committed[1] || sequence[0] > sequence[1]) -> now = 0
    :: committed[1] && (!committed[0] || sequence[1] > sequence[0]) -> now = 1
    :: !committed[0] && !committed[1] -> dead = true; goto done
    fi;
    other = 1 - now;
    memory = value[now]
  }
#ifndef LAZY
  ERASE;
#endif
  do
  :: memory <= MAXI ->
     atomic { select(i : 1..4) }
     if
     :: i >= memory ->
#ifdef NAIVE
        ACT; CRASH;
#endif
        committed[other] = false; CRASH;
        value[other] = i + 1; CRASH;
        sequence[other] = sequence[now] + 1; CRASH;
#ifdef FIRST
        committed[now] = false; CRASH;
#endif
        committed[other] = true; CRASH;
        now = other; other = 1 - now;
#ifndef LAZY
        ERASE;
#endif
        memory = i + 1;
#ifndef NAIVE
        ACT;
#endif
        CRASH
     :: else
     fi
  :: memory > MAXI -> break
  od;
done: skip
}

ltl once { [] (!twice && !dead) }
ltl fs   { [] !residue }

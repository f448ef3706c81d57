/* Indices of a meter that sends, reserved in blocks. (src/key-store/key-store.ts, `sealMessage`)
 *
 * Before an index is used, a record is committed that says where its block ends; after power loss the meter goes on
 * there. The record's chain key stands at that end.
 * AFTER: the record is written after the first index of the block was used; an index is used twice.
 * START: the record holds the chain key of the block's start; what was sent from it can be read out of flash.
 *
 * Claims: once, fs. Limits: blocks of 2, indices below MAXI, CRASHES power losses.
 */
#define MAXI 7
#define CRASHES 3
#define BLOCK 2

byte end = 0;               /* in flash: end of the reservation */
byte chain = 0;             /* in flash: index of the chain key */
byte next, reserved, crashes = 0;
bool used[10];
bool twice = false, residue = false;

#define CRASH if :: crashes < CRASHES -> crashes++; goto restart :: skip fi
#ifdef START
#define RESERVE atomic { end = next + BLOCK; chain = next }; CRASH; reserved = end
#else
#define RESERVE atomic { end = next + BLOCK; chain = end }; CRASH; reserved = end
#endif
#define SEND atomic { if :: used[next] -> twice = true :: else -> used[next] = true fi; \
  if :: chain <= next -> residue = true :: else fi; next++ }

active proctype Meter() {
restart:
  atomic { next = end; reserved = end }
  do
  :: next < MAXI ->
#ifdef AFTER
     if
     :: next == reserved -> SEND; CRASH; next--; RESERVE; next++
     :: else -> SEND; CRASH
     fi
#else
     if :: next == reserved -> RESERVE :: else fi;
     SEND; CRASH
#endif
  :: next >= MAXI -> break
  od
}

ltl once { [] !twice }
ltl fs   { [] !residue }

/* Unicast index: can both sides meet again after loss, replay and forgery? (src/key-store/chains.ts)
 *
 * The receiver ratchets a copy to the explicit index and commits only after the tag verifies (`checkIndex`, window SKIP);
 * the sender stays within SKIP of the last acknowledged index (`maySend`), or sends the same bytes again.
 * IMPLICIT: the index is not sent, the receiver uses its own; one lost message parts the two sides for ever.
 * NOBOUND: the sender does not wait; SKIP losses in a row part them.
 * TWICE: the receiver does not move on after accepting; a replay is accepted.
 *
 * Claims: noreplay, resync (with weak fairness). Limits: DROPS losses (messages and acknowledgements), FORGE injections.
 */
#define MAXN 4
#define DROPS 3
#define FORGE 2
#define SKIP 2

byte next = 0;              /* sender's next index */
byte acknowledged = 0;      /* receiver's next index as the sender knows it */
byte expected = 0;          /* receiver's next index */
byte last = 255;            /* last accepted index (ghost) */
byte drops = 0, forges = 0, recorded = 255;
bool replayed = false, delivered = false;
bool busy = false;          /* a channel of one message */
byte index;
bool authentic;

active proctype Sender() {
  do
#if defined(IMPLICIT) || defined(NOBOUND)
  :: atomic { next < MAXN && !busy -> index = next; authentic = true; busy = true; next++ }
  :: atomic { next == MAXN && !busy && !delivered -> index = next - 1; authentic = true; busy = true }
#else
  :: atomic { next < MAXN && next < acknowledged + SKIP && !busy ->
       index = next; authentic = true; busy = true; next++ }
  :: atomic { next > 0 && acknowledged < next && !busy -> index = next - 1; authentic = true; busy = true }
#endif
  od
}

active proctype Adversary() {
  do
  :: atomic { busy && drops < DROPS -> drops++; if :: authentic -> recorded = index :: else fi; busy = false }
  :: atomic { !busy && recorded != 255 && forges < FORGE -> forges++; index = recorded; authentic = true; busy = true }
  :: atomic { !busy && forges < FORGE -> forges++; if :: index = MAXN :: index = 0 fi; authentic = false; busy = true }
  od
}

active proctype Receiver() {
  do
  :: atomic { busy ->
      if
#ifdef IMPLICIT
      :: authentic && index == expected      /* any other index: the wrong key, the tag fails */
#else
      :: authentic && index >= expected && index - expected < SKIP
#endif
         -> if :: last != 255 && index <= last -> replayed = true :: else fi;
            last = index;
#ifndef TWICE
            expected = index + 1
#endif
      :: else
      fi;
      if :: authentic && index < expected -> /* new or repeated: acknowledge; that may be lost too */
            if :: acknowledged = expected :: drops < DROPS -> drops++ fi
         :: else
      fi;
      if :: last == MAXN - 1 -> delivered = true :: else fi;
      busy = false }
  od
}

ltl noreplay { [] !replayed }
ltl resync   { <> delivered }

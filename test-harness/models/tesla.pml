/* The test of a received packet under bounded clock skew. (src/broadcast/clock-bound.ts, `check`)
 *
 * A packet of interval i is kept only when the receiver's time, with the skew added, is before i + D: then its key cannot
 * have been disclosed.
 * NOCHECK: every packet is kept; the adversary makes one with a disclosed key.
 *
 * Claims: safe. Limits: times up to TMAX; the clocks are at most SKEW apart, clock.pml shows how the receiver earns the
 * side of it that matters.
 */
#define D 2
#define SKEW 1
#define TMAX 8

byte sender = 2, receiver = 2;   /* their times, in intervals; the key of i is public from sender = i + D on */
bool forged = false;

active proctype Time() {
  do
  :: atomic { sender < TMAX && sender + 1 <= receiver + SKEW -> sender++ }
  :: atomic { receiver < TMAX && receiver + 1 <= sender + SKEW -> receiver++ }
  :: sender == TMAX && receiver == TMAX -> break
  od
}

active proctype Link() {
  byte i;
  do
  :: atomic { select(i : 0..8);  /* a packet that claims interval i arrives now */
     if
#ifdef NOCHECK
     :: true ->
#else
     :: receiver + SKEW < i + D ->
#endif
        if :: sender >= i + D -> forged = true :: else fi
     :: else
     fi }
  :: sender == TMAX && receiver == TMAX -> break
  od
}

ltl safe { [] !forged }

/* The upper bound U on the head end's time, when the concentrator may lie and the meter may lose power.
 * (src/broadcast/clock-bound.ts)
 *
 * U runs with the local clock, drift included; what the concentrator says may move it forward alone; after power loss
 * nothing is taken before a nonce exchange with the head end, whose round trip is added.
 * BACK: what the concentrator says sets U; it waits for a key and forges.
 * BOOT: after power loss the time of before is used.
 * NORTT: the round trip is not added.
 *
 * Claims: safe. Limits: whole intervals up to TMAX; the local clock is never slower than the drift that U allows for; a reply
 * takes at most RTTMAX.
 */
#define D 2
#define TMAX 6
#define RTTMAX 2

byte headEnd = 0, bound = 0;
bool on = true, synced = true, waiting = false, forged = false;
byte reply = 255, roundTrip = 0;   /* the time in the head end's reply; the round trip as the meter measured it */

active proctype Time() {           /* one interval passes, for all that have power */
  do
  :: atomic { headEnd < TMAX && !(waiting && roundTrip == RTTMAX) -> headEnd++;
       if :: on -> bound++ :: else fi;
       if :: waiting -> roundTrip++ :: else fi }
  :: headEnd == TMAX -> break
  od
}

active proctype Power() {
  do
  :: atomic { on -> on = false; waiting = false; reply = 255 }
  :: atomic { !on -> on = true;
#ifdef BOOT
       synced = true
#else
       synced = false
#endif
     }
  :: headEnd == TMAX -> break
  od
}

active proctype Exchange() {
  do
  :: atomic { on && !waiting -> waiting = true; roundTrip = 0; reply = 255 }
  :: atomic { on && waiting && reply == 255 -> reply = headEnd }
  :: atomic { on && waiting && reply != 255 ->  /* arrives when the adversary likes, at most RTTMAX later */
#ifdef NORTT
       bound = reply;
#else
       bound = reply + roundTrip;
#endif
       synced = true; waiting = false }
  :: headEnd == TMAX -> break
  od
}

active proctype Concentrator() {
  byte t;
  do
  :: atomic { on -> select(t : 0..6);
#ifdef BACK
       bound = t
#else
       if :: t > bound -> bound = t :: else fi
#endif
     }
  :: headEnd == TMAX -> break
  od
}

active proctype Link() {
  byte i;
  do
  :: atomic { on && synced -> select(i : 0..6);
       if :: bound < i + D && headEnd >= i + D -> forged = true :: else fi }
  :: headEnd == TMAX -> break
  od
}

ltl safe { [] !forged }

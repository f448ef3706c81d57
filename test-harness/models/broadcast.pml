/* A broadcaster whose clock may be set back, a meter that may lose power. (test-harness/broadcast/sender-clock.ts,
 * src/broadcast/broadcast-receiver.ts)
 *
 * The sender saves the furthest interval in which it disclosed anything; while its clock is before that it neither sends nor
 * tells the time. The meter keeps a packet by U, and acts when the key comes, D intervals later; after power loss it knows
 * nothing but what the exchange tells it.
 * ANSWER: the sender tells its time although it went back; the meter takes forged packets, and old ones again.
 * FORGET: the furthest interval is not saved, and forgotten in a restart; the same happens.
 * NOREFUSE: intervals up to the first exchange are not refused; both claims still hold, since what was acted on had been
 * disclosed by then. The rule is a second fence.
 *
 * Claims: safe (nothing kept whose key is public), once (no interval's packet acted on twice). Limits: times up to TMAX, the
 * round trip is nil, CUTS power losses, BACKS times the clock goes back.
 */
#define D 2
#define TMAX 5
#define CUTS 1
#define BACKS 2

byte clock = 0, reached = 0;      /* the sender's clock; furthest interval in which it sent or disclosed, as it knows */
byte disclosed = 0;               /* the same, as the adversary knows */
byte bound = 255, refused = 255, cuts = 0, backs = 0;
bool kept[6];                     /* in memory: packets that wait for their key */
bool acted[6];                    /* for ever */
bool forged = false, twice = false;

#ifdef ANSWER
#define MAYSPEAK true
#else
#define MAYSPEAK (clock >= reached)
#endif

active proctype Sender() {
  do
  :: atomic { clock < TMAX -> clock++;
       if :: bound < 255 -> bound++ :: else fi;
       if :: clock >= reached -> reached = clock :: else fi;
       if :: clock == reached && clock > disclosed -> disclosed = clock :: else fi }
  :: atomic { clock > 0 && backs < BACKS -> clock--; backs++ }
#ifdef FORGET
  :: atomic { backs > 0 && reached > clock -> reached = clock }
#endif
  :: clock == TMAX -> break
  od
}

active proctype Meter() {
  byte i;
  do
  :: atomic { MAYSPEAK -> if :: bound == 255 -> refused = clock :: else fi; bound = clock }      /* exchange */
  :: atomic { bound < 255 -> select(i : 0..5);                                                   /* a packet of i */
       if
#ifdef NOREFUSE
       :: bound < i + D && i <= bound ->
#else
       :: bound < i + D && i <= bound && i > refused ->
#endif
          if :: disclosed >= i + D -> forged = true :: else fi;
          kept[i] = true
       :: else
       fi }
  :: atomic { select(i : 0..5);                                                                  /* the key of i */
       if
       :: kept[i] && disclosed >= i + D ->
          if :: acted[i] -> twice = true :: else -> acted[i] = true fi;
          kept[i] = false
       :: else
       fi }
  :: atomic { cuts < CUTS -> cuts++; bound = 255; refused = 255;
       for (i : 0 .. 5) { kept[i] = false } }
  :: clock == TMAX && cuts == CUTS -> break
  od
}

ltl safe { [] !forged }
ltl once { [] !twice }

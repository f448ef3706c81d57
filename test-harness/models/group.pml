/* Group generations: is a member that missed messages current again, and an evicted meter never?
 *
 * Shows   the loss rule with the header (g, last patch, patch before it): ticks are hashed forward, the newest patch is
 *         taken when only ticks were missed, everything else is one catch-up.
 * Expect  default: excl and sync hold.  -DNOCATCHUP: sync fails, excl holds.  -DKEEPS: X takes a patch that is not for it
 *         (its slot's ciphertexts were not left out): excl fails.
 * Run     by models.test.ts
 * Limits  GMAX generations, DROPS losses, one member M, one evicted meter X, weak fairness. Headers are taken as
 *         verified (tesla.pml covers that) and the catch-up exchange as authenticated (unicast.pml).
 */
#define GMAX 5
#define DROPS 3
byte g = 0, lastpatch = 0, prev = 0;
byte mg = 0, xg = 0;            /* generation whose keys M and X hold */
bool evicted = false; byte evg = 0;
byte drops = 0;
bool want = false, bad = false;
chan bc = [1] of { byte, byte, byte };   /* generation, last patch, patch before; carries ciphertexts iff gen == last patch */

active proctype Controller() {
  do
  :: atomic { g < GMAX && len(bc)==0 -> g++; bc!g,lastpatch,prev }                                  /* tick or join */
  :: atomic { g < GMAX && !evicted && len(bc)==0 -> evicted = true; g++; prev = lastpatch; lastpatch = g; evg = g; bc!g,lastpatch,prev }
  :: atomic { g < GMAX && len(bc)==0 -> g++; prev = lastpatch; lastpatch = g; bc!g,lastpatch,prev } /* somebody else leaves */
  :: atomic { g == GMAX && len(bc)==0 && mg != g -> bc!g,lastpatch,255 }                            /* beacon: header only */
  od
}
active proctype CatchUp() {
  do :: atomic { want -> if :: drops < DROPS -> drops++ :: mg = g fi; want = false } od
}
active proctype Net() {
  byte a, b, pb;
  do
  :: atomic { bc?[a,b,pb] && drops < DROPS -> bc?a,b,pb; drops++ }
  :: atomic { bc?a,b,pb ->
       if :: a > mg && mg >= b -> mg = a
          :: a > mg && mg < b && a == b && mg >= pb -> mg = a
#ifndef NOCATCHUP
          :: a > mg && mg < b && !(a == b && mg >= pb) -> want = true
#endif
          :: else
       fi;
       if :: a > xg && xg >= b -> xg = a
#ifdef KEEPS
          :: a > xg && xg < b && a == b && xg >= pb -> xg = a
#else
          :: a > xg && xg < b && a == b && xg >= pb && !(evicted && a >= evg) -> xg = a
#endif
          :: else
       fi;
       if :: evicted && xg >= evg -> bad = true :: else fi }
  od
}
ltl excl { [] !bad }
ltl sync { <> (g == GMAX && mg == g) }

"""The simulated market's arrays: what stands where in params, ints, reals and event.

Only numbers with names; the rules are in ``core.kernels.market`` and ``core.kernels.market_book``.
"""

from __future__ import annotations

# -- sizes -------------------------------------------------------------------------------------
WINDOW = 1024  # ticks held on each side; a power of two
REACH = 30  # ticks from the best price in which limit orders and cancels happen
FAR = 5  # the last FAR ticks of the reach, and the reach itself, are never left empty
WARM_UP_EVENTS = 5_000
FLOOR_TICKS = 64  # no sale and no bid cancel moves the best bid from here downwards
CLOCK_STEP_S = 0.25  # how often the volatility clock moves
BEST_CANCEL_WEIGHT = 1.2  # cancels at the best price come this much faster per lot
DEPTH = 10  # levels in the depth sums
MAX_POOL = 8
MAX_OWN = 16

# -- params: float64[PARAMS_SIZE]; rates per second, sizes in units of UNIT_LOTS ------------------
(PLACE_RATE, PLACE_DECAY, MARKET_RATE, CANCEL_RATE, SIZE_SIGMA, META_POOL, META_TAIL,
 HAWKES_BRANCHING, HAWKES_DECAY, CLOCK_VARIANCE, CLOCK_RELAX_S, TILT_FAST, TILT_MID, TILT_SLOW,
 MARKET_SIZE, CAP_PROBABILITY, UNIT_LOTS) = range(17)  # fmt: skip
PLACE_TABLE = 17  # cumulative placement rate at 1..REACH ticks from the opposite best
PARAMS_SIZE = PLACE_TABLE + REACH

# -- ints: int64[INTS_SIZE] --------------------------------------------------------------------
(BID, ASK, NEAR_BID, NEAR_ASK, DEPTH_BID, DEPTH_ASK, N_EVENTS, N_OWN, STAMP) = range(9)
POOL_SIGN = 9
OWN = POOL_SIGN + MAX_POOL
OWN_SIDE, OWN_TICKS, OWN_LOTS, OWN_AHEAD, OWN_STAMP, OWN_FIELDS = range(6)
INTS_SIZE = OWN + MAX_OWN * OWN_FIELDS

# -- reals: float64[REALS_SIZE] ----------------------------------------------------------------
(NOW_S, NEXT_S, EXCITATION, LOG_CLOCK, CLOCK, CLOCK_AT_S, FLOW_FAST, FLOW_MID, FLOW_SLOW,
 LEAN_BID, LEAN_ASK) = range(11)  # fmt: skip
POOL_LEFT = 11
REALS_SIZE = POOL_LEFT + MAX_POOL

# -- event: int64[EVENT_SIZE], header, then trades, levels, own fills ------------------------------
(E_KIND, E_SIDE, E_TICKS, E_LOTS, E_TRADED_LOTS, E_N_TRADES, E_BID, E_BID_LOTS, E_ASK, E_ASK_LOTS,
 E_DEPTH_BID, E_DEPTH_ASK, E_T_NS, E_N_LEVELS, E_N_OWN) = range(15)  # fmt: skip
MAX_TRADES = REACH + 1
MAX_LEVELS = 64
E_TRADES = 16  # rows of ticks, lots
E_LEVELS = E_TRADES + 2 * MAX_TRADES  # rows of side (0 bid, 1 ask), ticks, lots now there
E_OWN = E_LEVELS + 3 * MAX_LEVELS  # rows of slot, ticks, lots filled (0: left the window)
EVENT_SIZE = E_OWN + 3 * MAX_OWN

NOTHING, LIMIT, CANCEL, MARKET = 0, 1, 3, 4
POST_FULL, POST_CROSSES, POST_TOO_FAR = -1, -2, -3

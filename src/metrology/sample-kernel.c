#include "sample-kernel.h"

#include <string.h>

/* Rows summed in one pass. All products of a pass fit an int32: 32 * 2048 * 32767 < 2^31. */
#define RUN 32
/* Rows kept from before the pass, for delayed products: a whole delay of at most 4 and two more for interpolation. */
#define HISTORY 8
#define WIDTH (HISTORY + RUN)
#define CHANNELS 7
#define PHASES 3
#define BINS 244
#define BIN_WEIGHT 32
#define HARMONIC_MAX 40
#define DELAY_MAX_Q16 (4 << 16)
#define SINCE_MAX 0x7fffu
#define REST_MAX 0x7ffff

/* Layout of the sums, in float64 cells: see sample-kernel.ts. */
#define CELL_CHANNEL 16
#define CHANNEL_CELLS 8
#define CELL_PHASE (CELL_CHANNEL + CHANNELS * CHANNEL_CELLS)
#define PHASE_CELLS 8
#define CELL_HARMONIC (CELL_PHASE + PHASES * PHASE_CELLS)
#define CELLS (WATTLOCK_KERNEL_SUMS_BYTES / 8)

#define FLAG_SYNCHRONOUS 1u
#define FLAG_REFERENCE_CHANGED 2u
#define FLAG_LOCKED 4u
#define FLAG_REFERENCE_LOST 8u
#define FLAG_STARTS_AT_CROSSING 16u

typedef struct {
	uint32_t cyclesPerWindow;
	uint32_t nominalFrequencyMillihertz;
	uint32_t harmonicChannel; /* 0 round-robin, 1 to 7 that channel, 255 off */
	int32_t presenceCodes[PHASES];
	int32_t delayQ16[PHASES];
} parameters;

struct wattlock_kernel {
	uint32_t phaseCount, channelCount, sampleBytes, rowBytes;
	uint32_t samplesPerSecond1024; /* rows per 1024 s */
	parameters active, staged;
	int stagedValid;
	/* from the parameters */
	int32_t highPassQ15, lowPassQ15, inputScale;
	uint32_t periodMinimumQ16, periodMaximumQ16, lostRows, windowRowsMaximum;
	int64_t presenceSquare[PHASES];
	int32_t armLevel;
	/* table oscillator */
	uint32_t phase, increment, rowsToHalf;
	/* reference filter and crossings */
	uint32_t reference, referenceHalves;
	int32_t highPass, lowPass1, lowPass2;
	int armed, crossingKnown, synchronous;
	uint32_t sinceCrossing, lagQ16, lockCount, lockPeriodQ16;
	/* window */
	int closed;
	uint32_t windowCount, rows, cycles, flags, startLagQ16, freeRunRows, halves, startIncrement;
	int64_t sumCosine, sumSine;
	int64_t sum[CHANNELS], square[CHANNELS], cosine[CHANNELS], sine[CHANNELS];
	int32_t minimum[CHANNELS], maximum[CHANNELS];
	int64_t power[PHASES], lagged[PHASES][3];
	/* half cycles */
	int64_t halfSquare[CHANNELS], previousHalfSquare[CHANNELS], cycleMinimum[CHANNELS], cycleMaximum[CHANNELS];
	uint32_t halfRows, previousHalfRows;
	/* harmonics */
	uint32_t harmonicChannel; /* index, or 255 */
	int32_t predictedCosineQ4, predictedSineQ4, predictedMean;
	int32_t bins[BINS + 1];
	/* the rows of a pass: codes, and the codes in two balanced 12-bit limbs, x = 4096 * high + low */
	int32_t code[CHANNELS][WIDTH];
	int16_t high[CHANNELS][WIDTH], low[CHANNELS][WIDTH];
	int16_t cosineQ15[RUN], sineQ15[RUN];
	int64_t runSquare[CHANNELS];
};

/* round(32767 * cos(2 * pi * i / 1024)) */
static const int16_t COSINE_Q15[1024] = {
	32767, 32766, 32765, 32761, 32757, 32752, 32745, 32737, 32728, 32717, 32705, 32692, 32678, 32663, 32646, 32628,
	32609, 32589, 32567, 32545, 32521, 32495, 32469, 32441, 32412, 32382, 32351, 32318, 32285, 32250, 32213, 32176,
	32137, 32098, 32057, 32014, 31971, 31926, 31880, 31833, 31785, 31736, 31685, 31633, 31580, 31526, 31470, 31414,
	31356, 31297, 31237, 31176, 31113, 31050, 30985, 30919, 30852, 30783, 30714, 30643, 30571, 30498, 30424, 30349,
	30273, 30195, 30117, 30037, 29956, 29874, 29791, 29706, 29621, 29534, 29447, 29358, 29268, 29177, 29085, 28992,
	28898, 28803, 28706, 28609, 28510, 28411, 28310, 28208, 28105, 28001, 27896, 27790, 27683, 27575, 27466, 27356,
	27245, 27133, 27019, 26905, 26790, 26674, 26556, 26438, 26319, 26198, 26077, 25955, 25832, 25708, 25582, 25456,
	25329, 25201, 25072, 24942, 24811, 24680, 24547, 24413, 24279, 24143, 24007, 23870, 23731, 23592, 23452, 23311,
	23170, 23027, 22884, 22739, 22594, 22448, 22301, 22154, 22005, 21856, 21705, 21554, 21403, 21250, 21096, 20942,
	20787, 20631, 20475, 20317, 20159, 20000, 19841, 19680, 19519, 19357, 19195, 19032, 18868, 18703, 18537, 18371,
	18204, 18037, 17869, 17700, 17530, 17360, 17189, 17018, 16846, 16673, 16499, 16325, 16151, 15976, 15800, 15623,
	15446, 15269, 15090, 14912, 14732, 14553, 14372, 14191, 14010, 13828, 13645, 13462, 13279, 13094, 12910, 12725,
	12539, 12353, 12167, 11980, 11793, 11605, 11417, 11228, 11039, 10849, 10659, 10469, 10278, 10087, 9896, 9704,
	9512, 9319, 9126, 8933, 8739, 8545, 8351, 8157, 7962, 7767, 7571, 7375, 7179, 6983, 6786, 6590,
	6393, 6195, 5998, 5800, 5602, 5404, 5205, 5007, 4808, 4609, 4410, 4210, 4011, 3811, 3612, 3412,
	3212, 3012, 2811, 2611, 2410, 2210, 2009, 1809, 1608, 1407, 1206, 1005, 804, 603, 402, 201,
	0, -201, -402, -603, -804, -1005, -1206, -1407, -1608, -1809, -2009, -2210, -2410, -2611, -2811, -3012,
	-3212, -3412, -3612, -3811, -4011, -4210, -4410, -4609, -4808, -5007, -5205, -5404, -5602, -5800, -5998, -6195,
	-6393, -6590, -6786, -6983, -7179, -7375, -7571, -7767, -7962, -8157, -8351, -8545, -8739, -8933, -9126, -9319,
	-9512, -9704, -9896, -10087, -10278, -10469, -10659, -10849, -11039, -11228, -11417, -11605, -11793, -11980, -12167, -12353,
	-12539, -12725, -12910, -13094, -13279, -13462, -13645, -13828, -14010, -14191, -14372, -14553, -14732, -14912, -15090, -15269,
	-15446, -15623, -15800, -15976, -16151, -16325, -16499, -16673, -16846, -17018, -17189, -17360, -17530, -17700, -17869, -18037,
	-18204, -18371, -18537, -18703, -18868, -19032, -19195, -19357, -19519, -19680, -19841, -20000, -20159, -20317, -20475, -20631,
	-20787, -20942, -21096, -21250, -21403, -21554, -21705, -21856, -22005, -22154, -22301, -22448, -22594, -22739, -22884, -23027,
	-23170, -23311, -23452, -23592, -23731, -23870, -24007, -24143, -24279, -24413, -24547, -24680, -24811, -24942, -25072, -25201,
	-25329, -25456, -25582, -25708, -25832, -25955, -26077, -26198, -26319, -26438, -26556, -26674, -26790, -26905, -27019, -27133,
	-27245, -27356, -27466, -27575, -27683, -27790, -27896, -28001, -28105, -28208, -28310, -28411, -28510, -28609, -28706, -28803,
	-28898, -28992, -29085, -29177, -29268, -29358, -29447, -29534, -29621, -29706, -29791, -29874, -29956, -30037, -30117, -30195,
	-30273, -30349, -30424, -30498, -30571, -30643, -30714, -30783, -30852, -30919, -30985, -31050, -31113, -31176, -31237, -31297,
	-31356, -31414, -31470, -31526, -31580, -31633, -31685, -31736, -31785, -31833, -31880, -31926, -31971, -32014, -32057, -32098,
	-32137, -32176, -32213, -32250, -32285, -32318, -32351, -32382, -32412, -32441, -32469, -32495, -32521, -32545, -32567, -32589,
	-32609, -32628, -32646, -32663, -32678, -32692, -32705, -32717, -32728, -32737, -32745, -32752, -32757, -32761, -32765, -32766,
	-32767, -32766, -32765, -32761, -32757, -32752, -32745, -32737, -32728, -32717, -32705, -32692, -32678, -32663, -32646, -32628,
	-32609, -32589, -32567, -32545, -32521, -32495, -32469, -32441, -32412, -32382, -32351, -32318, -32285, -32250, -32213, -32176,
	-32137, -32098, -32057, -32014, -31971, -31926, -31880, -31833, -31785, -31736, -31685, -31633, -31580, -31526, -31470, -31414,
	-31356, -31297, -31237, -31176, -31113, -31050, -30985, -30919, -30852, -30783, -30714, -30643, -30571, -30498, -30424, -30349,
	-30273, -30195, -30117, -30037, -29956, -29874, -29791, -29706, -29621, -29534, -29447, -29358, -29268, -29177, -29085, -28992,
	-28898, -28803, -28706, -28609, -28510, -28411, -28310, -28208, -28105, -28001, -27896, -27790, -27683, -27575, -27466, -27356,
	-27245, -27133, -27019, -26905, -26790, -26674, -26556, -26438, -26319, -26198, -26077, -25955, -25832, -25708, -25582, -25456,
	-25329, -25201, -25072, -24942, -24811, -24680, -24547, -24413, -24279, -24143, -24007, -23870, -23731, -23592, -23452, -23311,
	-23170, -23027, -22884, -22739, -22594, -22448, -22301, -22154, -22005, -21856, -21705, -21554, -21403, -21250, -21096, -20942,
	-20787, -20631, -20475, -20317, -20159, -20000, -19841, -19680, -19519, -19357, -19195, -19032, -18868, -18703, -18537, -18371,
	-18204, -18037, -17869, -17700, -17530, -17360, -17189, -17018, -16846, -16673, -16499, -16325, -16151, -15976, -15800, -15623,
	-15446, -15269, -15090, -14912, -14732, -14553, -14372, -14191, -14010, -13828, -13645, -13462, -13279, -13094, -12910, -12725,
	-12539, -12353, -12167, -11980, -11793, -11605, -11417, -11228, -11039, -10849, -10659, -10469, -10278, -10087, -9896, -9704,
	-9512, -9319, -9126, -8933, -8739, -8545, -8351, -8157, -7962, -7767, -7571, -7375, -7179, -6983, -6786, -6590,
	-6393, -6195, -5998, -5800, -5602, -5404, -5205, -5007, -4808, -4609, -4410, -4210, -4011, -3811, -3612, -3412,
	-3212, -3012, -2811, -2611, -2410, -2210, -2009, -1809, -1608, -1407, -1206, -1005, -804, -603, -402, -201,
	0, 201, 402, 603, 804, 1005, 1206, 1407, 1608, 1809, 2009, 2210, 2410, 2611, 2811, 3012,
	3212, 3412, 3612, 3811, 4011, 4210, 4410, 4609, 4808, 5007, 5205, 5404, 5602, 5800, 5998, 6195,
	6393, 6590, 6786, 6983, 7179, 7375, 7571, 7767, 7962, 8157, 8351, 8545, 8739, 8933, 9126, 9319,
	9512, 9704, 9896, 10087, 10278, 10469, 10659, 10849, 11039, 11228, 11417, 11605, 11793, 11980, 12167, 12353,
	12539, 12725, 12910, 13094, 13279, 13462, 13645, 13828, 14010, 14191, 14372, 14553, 14732, 14912, 15090, 15269,
	15446, 15623, 15800, 15976, 16151, 16325, 16499, 16673, 16846, 17018, 17189, 17360, 17530, 17700, 17869, 18037,
	18204, 18371, 18537, 18703, 18868, 19032, 19195, 19357, 19519, 19680, 19841, 20000, 20159, 20317, 20475, 20631,
	20787, 20942, 21096, 21250, 21403, 21554, 21705, 21856, 22005, 22154, 22301, 22448, 22594, 22739, 22884, 23027,
	23170, 23311, 23452, 23592, 23731, 23870, 24007, 24143, 24279, 24413, 24547, 24680, 24811, 24942, 25072, 25201,
	25329, 25456, 25582, 25708, 25832, 25955, 26077, 26198, 26319, 26438, 26556, 26674, 26790, 26905, 27019, 27133,
	27245, 27356, 27466, 27575, 27683, 27790, 27896, 28001, 28105, 28208, 28310, 28411, 28510, 28609, 28706, 28803,
	28898, 28992, 29085, 29177, 29268, 29358, 29447, 29534, 29621, 29706, 29791, 29874, 29956, 30037, 30117, 30195,
	30273, 30349, 30424, 30498, 30571, 30643, 30714, 30783, 30852, 30919, 30985, 31050, 31113, 31176, 31237, 31297,
	31356, 31414, 31470, 31526, 31580, 31633, 31685, 31736, 31785, 31833, 31880, 31926, 31971, 32014, 32057, 32098,
	32137, 32176, 32213, 32250, 32285, 32318, 32351, 32382, 32412, 32441, 32469, 32495, 32521, 32545, 32567, 32589,
	32609, 32628, 32646, 32663, 32678, 32692, 32705, 32717, 32728, 32737, 32745, 32752, 32757, 32761, 32765, 32766,
};

/* round(32767 * sin(2 * pi * i / BINS)); the cosine of the same angle stands BINS / 4 cells further. */
static const int16_t BIN_SINE_Q15[BINS + BINS / 4] = {
	0, 844, 1687, 2529, 3369, 4207, 5043, 5874, 6703, 7526, 8345, 9158, 9965, 10765, 11559, 12344,
	13122, 13890, 14650, 15400, 16139, 16868, 17586, 18292, 18986, 19667, 20336, 20990, 21631, 22258, 22870, 23466,
	24047, 24612, 25161, 25693, 26208, 26706, 27186, 27648, 28092, 28517, 28923, 29310, 29677, 30025, 30353, 30661,
	30948, 31215, 31461, 31687, 31891, 32074, 32236, 32377, 32496, 32593, 32669, 32724, 32756, 32767, 32756, 32724,
	32669, 32593, 32496, 32377, 32236, 32074, 31891, 31687, 31461, 31215, 30948, 30661, 30353, 30025, 29677, 29310,
	28923, 28517, 28092, 27648, 27186, 26706, 26208, 25693, 25161, 24612, 24047, 23466, 22870, 22258, 21631, 20990,
	20336, 19667, 18986, 18292, 17586, 16868, 16139, 15400, 14650, 13890, 13122, 12344, 11559, 10765, 9965, 9158,
	8345, 7526, 6703, 5874, 5043, 4207, 3369, 2529, 1687, 844, 0, -844, -1687, -2529, -3369, -4207,
	-5043, -5874, -6703, -7526, -8345, -9158, -9965, -10765, -11559, -12344, -13122, -13890, -14650, -15400, -16139, -16868,
	-17586, -18292, -18986, -19667, -20336, -20990, -21631, -22258, -22870, -23466, -24047, -24612, -25161, -25693, -26208, -26706,
	-27186, -27648, -28092, -28517, -28923, -29310, -29677, -30025, -30353, -30661, -30948, -31215, -31461, -31687, -31891, -32074,
	-32236, -32377, -32496, -32593, -32669, -32724, -32756, -32767, -32756, -32724, -32669, -32593, -32496, -32377, -32236, -32074,
	-31891, -31687, -31461, -31215, -30948, -30661, -30353, -30025, -29677, -29310, -28923, -28517, -28092, -27648, -27186, -26706,
	-26208, -25693, -25161, -24612, -24047, -23466, -22870, -22258, -21631, -20990, -20336, -19667, -18986, -18292, -17586, -16868,
	-16139, -15400, -14650, -13890, -13122, -12344, -11559, -10765, -9965, -9158, -8345, -7526, -6703, -5874, -5043, -4207,
	-3369, -2529, -1687, -844, 0, 844, 1687, 2529, 3369, 4207, 5043, 5874, 6703, 7526, 8345, 9158,
	9965, 10765, 11559, 12344, 13122, 13890, 14650, 15400, 16139, 16868, 17586, 18292, 18986, 19667, 20336, 20990,
	21631, 22258, 22870, 23466, 24047, 24612, 25161, 25693, 26208, 26706, 27186, 27648, 28092, 28517, 28923, 29310,
	29677, 30025, 30353, 30661, 30948, 31215, 31461, 31687, 31891, 32074, 32236, 32377, 32496, 32593, 32669, 32724,
	32756,
};

/* Arithmetic shift right: floor(value / 2^bits); compilers make one instruction of it. */
static inline int64_t shift_right(int64_t value, uint32_t bits)
{
	return value >= 0 ? value >> bits : ~(~value >> bits);
}

/* floor(dividend / divisor), divisor above 0. */
static int64_t divide(int64_t dividend, int64_t divisor)
{
	return dividend >= 0 ? dividend / divisor : -((divisor - 1 - dividend) / divisor);
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static int32_t get_signed32(const uint8_t *from)
{
	const uint32_t value = get32(from);
	return value < 0x80000000u ? (int32_t)value : (int32_t)(value - 0x80000000u) - 0x7fffffff - 1;
}

static void put_number(uint8_t *cells, uint32_t index, int64_t value)
{
	const double number = (double)value;
	uint64_t bits;
	memcpy(&bits, &number, 8);
	cells += (size_t)index * 8;
	for (int i = 0; i < 8; i++)
		cells[i] = (uint8_t)(bits >> (8 * i));
}

/* An exact 64-bit sum as two cells: floor(value / 2^32), value mod 2^32. */
static void put_pair(uint8_t *cells, uint32_t index, int64_t value)
{
	const int64_t high = shift_right(value, 32);
	put_number(cells, index, high);
	put_number(cells, index + 1, value - high * 4294967296);
}

size_t wattlock_kernel_bytes(void)
{
	return sizeof(wattlock_kernel);
}

static uint32_t rows_to_half(uint32_t phase, uint32_t increment)
{
	const uint32_t left = 0x80000000u - (phase & 0x7fffffffu);
	return (uint32_t)(((uint64_t)left + increment - 1) / increment);
}

static void clear_window(wattlock_kernel *k)
{
	k->rows = k->cycles = k->flags = k->halves = 0;
	k->startIncrement = k->increment;
	k->sumCosine = k->sumSine = 0;
	memset(k->sum, 0, sizeof k->sum);
	memset(k->square, 0, sizeof k->square);
	memset(k->cosine, 0, sizeof k->cosine);
	memset(k->sine, 0, sizeof k->sine);
	memset(k->power, 0, sizeof k->power);
	memset(k->lagged, 0, sizeof k->lagged);
	memset(k->bins, 0, sizeof k->bins);
	for (uint32_t c = 0; c < CHANNELS; c++) {
		k->minimum[c] = INT32_MAX;
		k->maximum[c] = INT32_MIN;
		k->cycleMinimum[c] = k->cycleMaximum[c] = -1;
	}
}

static void choose_harmonic_channel(wattlock_kernel *k)
{
	const uint32_t mode = k->active.harmonicChannel;
	if (mode == 0)
		k->harmonicChannel = k->harmonicChannel + 1 < k->channelCount ? k->harmonicChannel + 1 : 0;
	else if (mode <= k->channelCount)
		k->harmonicChannel = mode - 1;
	else
		k->harmonicChannel = 255;
}

/* Coefficient of a one-pole filter, w / (1 + w) with w = 2 * pi * corner / rate. */
static int32_t one_pole_q15(uint32_t cornerMillihertz, uint32_t samplesPerSecond1024)
{
	const uint64_t corner = (uint64_t)6283 * cornerMillihertz;
	const uint64_t rate = (uint64_t)1000000 * (samplesPerSecond1024 >> 10);
	return (int32_t)((corner << 15) / (corner + rate));
}

static void apply(wattlock_kernel *k)
{
	const parameters *p = &k->active;
	const uint64_t rate = k->samplesPerSecond1024;
	k->highPassQ15 = one_pole_q15(p->nominalFrequencyMillihertz / 3 * 4, k->samplesPerSecond1024);
	k->lowPassQ15 = one_pole_q15(p->nominalFrequencyMillihertz * 2, k->samplesPerSecond1024);
	k->inputScale = k->sampleBytes == 2 ? 8192 : 32;
	k->periodMinimumQ16 = (uint32_t)(rate * 64 / 75);
	k->periodMaximumQ16 = (uint32_t)(rate * 64 / 38);
	k->lostRows = (uint32_t)(rate / (1024 * 38)) + 1;
	k->windowRowsMaximum = (uint32_t)(rate * 3 / 10240 * p->cyclesPerWindow / 10) + 1;
	k->freeRunRows = (uint32_t)(rate * p->cyclesPerWindow * 1000 / ((uint64_t)p->nominalFrequencyMillihertz * 1024));
	for (uint32_t i = 0; i < PHASES; i++)
		k->presenceSquare[i] = (int64_t)p->presenceCodes[i] * p->presenceCodes[i];
	k->armLevel = (int32_t)((int64_t)p->presenceCodes[k->reference] * k->inputScale / 4);
}

static void start_oscillator(wattlock_kernel *k)
{
	const uint64_t wide = ((uint64_t)k->active.nominalFrequencyMillihertz << 36) / ((uint64_t)125 * k->samplesPerSecond1024);
	k->increment = (uint32_t)(wide * 8);
	k->rowsToHalf = rows_to_half(k->phase, k->increment);
	k->startIncrement = k->increment;
}

int wattlock_kernel_init(wattlock_kernel *k, uint32_t phaseCount, uint32_t neutralCurrent, uint32_t sampleBytes,
	double samplesPerSecond)
{
	if (phaseCount < 1 || phaseCount > 3 || neutralCurrent > 1 || sampleBytes < 2 || sampleBytes > 3)
		return 1;
	if (!(samplesPerSecond >= 500 && samplesPerSecond <= 40000))
		return 2;
	memset(k, 0, sizeof *k);
	k->phaseCount = phaseCount;
	k->channelCount = phaseCount * 2 + neutralCurrent;
	k->sampleBytes = sampleBytes;
	k->rowBytes = k->channelCount * sampleBytes;
	k->samplesPerSecond1024 = (uint32_t)(samplesPerSecond * 1024);
	k->active.cyclesPerWindow = 10;
	k->active.nominalFrequencyMillihertz = 50000;
	for (uint32_t i = 0; i < PHASES; i++)
		k->active.presenceCodes[i] = sampleBytes == 2 ? 512 : 131072;
	k->harmonicChannel = 255;
	apply(k);
	start_oscillator(k);
	choose_harmonic_channel(k);
	clear_window(k);
	return 0;
}

int wattlock_kernel_configure(wattlock_kernel *k, const uint8_t *from, size_t length)
{
	parameters p;
	if (length != WATTLOCK_KERNEL_PARAMETER_BYTES)
		return 1;
	if (get32(from) != 1)
		return 2;
	p.cyclesPerWindow = get32(from + 4);
	p.nominalFrequencyMillihertz = get32(from + 8);
	p.harmonicChannel = get32(from + 12);
	for (uint32_t i = 0; i < PHASES; i++) {
		p.presenceCodes[i] = get_signed32(from + 16 + 4 * i);
		p.delayQ16[i] = get_signed32(from + 28 + 4 * i);
		if (p.presenceCodes[i] < 1 || p.presenceCodes[i] > 0x7fffff)
			return 3;
		if (p.delayQ16[i] < -DELAY_MAX_Q16 || p.delayQ16[i] > DELAY_MAX_Q16)
			return 4;
	}
	if (get32(from + 40) != 0)
		return 5;
	if (p.cyclesPerWindow < 2 || p.cyclesPerWindow > 12)
		return 6;
	if (p.nominalFrequencyMillihertz < 40000 || p.nominalFrequencyMillihertz > 70000)
		return 7;
	if (p.harmonicChannel > CHANNELS && p.harmonicChannel != 255)
		return 8;
	if (k->windowCount == 0 && k->rows == 0) {
		k->active = p;
		apply(k);
		start_oscillator(k);
		k->harmonicChannel = 255;
		choose_harmonic_channel(k);
		clear_window(k);
	} else {
		k->staged = p;
		k->stagedValid = 1;
	}
	return 0;
}

/* Sum of u * i over a pass of 32 rows, from the limbs. Fixed lengths let compilers use SIMD (pmaddwd on x86). */
static int64_t dot_codes(const int16_t *restrict highA, const int16_t *restrict lowA, const int16_t *restrict highB,
	const int16_t *restrict lowB)
{
	int32_t highHigh = 0, highLow = 0, lowHigh = 0, lowLow = 0;
	for (int i = 0; i < RUN; i++) {
		highHigh += highA[i] * highB[i];
		highLow += highA[i] * lowB[i];
		lowHigh += lowA[i] * highB[i];
		lowLow += lowA[i] * lowB[i];
	}
	return ((int64_t)highHigh * 4096 + highLow + lowHigh) * 4096 + lowLow;
}

/* Squares and fundamental of a pass of one channel. */
static inline void correlate(const int16_t *restrict high, const int16_t *restrict low, const int16_t *restrict cosineQ15,
	const int16_t *restrict sineQ15, int64_t *square, int64_t *cosine, int64_t *sine)
{
	int32_t highHigh = 0, highLow = 0, lowLow = 0, highCosine = 0, lowCosine = 0, highSine = 0, lowSine = 0;
	for (int i = 0; i < RUN; i++) {
		highHigh += high[i] * high[i];
		highLow += high[i] * low[i];
		lowLow += low[i] * low[i];
		highCosine += high[i] * cosineQ15[i];
		lowCosine += low[i] * cosineQ15[i];
		highSine += high[i] * sineQ15[i];
		lowSine += low[i] * sineQ15[i];
	}
	*square = ((int64_t)highHigh * 2048 + highLow) * 8192 + lowLow;
	*cosine = (int64_t)highCosine * 4096 + lowCosine;
	*sine = (int64_t)highSine * 4096 + lowSine;
}

static inline void split(const int32_t *restrict code, int16_t *restrict high, int16_t *restrict low)
{
	for (int i = 0; i < RUN; i++) {
		const int32_t h = (int32_t)((uint32_t)(code[i] + 2048 + 0x1000000) >> 12) - 4096; /* floor((code + 2048) / 4096) */
		high[i] = (int16_t)h;
		low[i] = (int16_t)(code[i] - h * 4096);
	}
}

static inline void sum_and_extremes(const int32_t *restrict code, int32_t *sum, int32_t *minimum, int32_t *maximum)
{
	int32_t total = 0, low = INT32_MAX, high = INT32_MIN;
	for (int i = 0; i < RUN; i++) {
		total += code[i];
		low = code[i] < low ? code[i] : low;
		high = code[i] > high ? code[i] : high;
	}
	*sum = total;
	*minimum = low;
	*maximum = high;
}

static inline int32_t get_code16(const uint8_t *at)
{
	return (int16_t)(uint16_t)((uint32_t)at[0] | (uint32_t)at[1] << 8);
}

static inline int32_t get_code24(const uint8_t *at)
{
	return (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8) + (int32_t)(int8_t)at[2] * 65536;
}

/* Copies `rows` rows, channel by channel, behind the history; the rest of the pass is zero. */
static void take_rows(wattlock_kernel *k, const uint8_t *from, uint32_t rows)
{
	const size_t stride = k->rowBytes;
	for (uint32_t c = 0; c < k->channelCount; c++) {
		int32_t *restrict code = k->code[c] + HISTORY;
		const uint8_t *at = from + c * k->sampleBytes;
		uint32_t i = 0;
		if (k->sampleBytes == 2) {
			for (; i + 4 <= rows; i += 4, at += 4 * stride) {
				code[i] = get_code16(at);
				code[i + 1] = get_code16(at + stride);
				code[i + 2] = get_code16(at + 2 * stride);
				code[i + 3] = get_code16(at + 3 * stride);
			}
			for (; i < rows; i++, at += stride)
				code[i] = get_code16(at);
		} else {
			for (; i + 4 <= rows; i += 4, at += 4 * stride) {
				code[i] = get_code24(at);
				code[i + 1] = get_code24(at + stride);
				code[i + 2] = get_code24(at + 2 * stride);
				code[i + 3] = get_code24(at + 3 * stride);
			}
			for (; i < rows; i++, at += stride)
				code[i] = get_code24(at);
		}
	}
}

/*
 * Runs the reference filter until `rows` or the crossing that ends the window.
 * @returns rows taken; *ends is 1 when the window ends with the last of them
 */
static uint32_t follow_reference(wattlock_kernel *k, uint32_t rows, int *ends)
{
	const int32_t *restrict code = k->code[k->reference * 2] + HISTORY;
	const int32_t scale = k->inputScale, highPassQ15 = k->highPassQ15, lowPassQ15 = k->lowPassQ15;
	const int32_t armLevel = k->armLevel;
	int32_t highPass = k->highPass, lowPass1 = k->lowPass1, lowPass2 = k->lowPass2;
	int armed = k->armed;
	uint32_t since = k->sinceCrossing, i = 0, last = 0; /* rows since the crossing: since + i - last */
	*ends = 0;
	while (i < rows) {
		const int32_t input = code[i++] * scale, before = lowPass2;
		highPass += (int32_t)shift_right((int64_t)(input - highPass) * highPassQ15, 15);
		lowPass1 += (int32_t)shift_right((int64_t)(input - highPass - lowPass1) * lowPassQ15, 15);
		lowPass2 += (int32_t)shift_right((int64_t)(lowPass1 - lowPass2) * lowPassQ15, 15);
		if (lowPass2 < -armLevel)
			armed = 1;
		if (!armed || lowPass2 < 0)
			continue;
		armed = 0;
		const uint32_t lag = (uint32_t)((uint64_t)lowPass2 * 65536 / ((uint64_t)lowPass2 + (uint64_t)-(int64_t)before));
		const uint32_t rowsSince = since + i - last < SINCE_MAX ? since + i - last : SINCE_MAX;
		const uint32_t period = (rowsSince << 16) + k->lagQ16 - lag;
		if (k->synchronous) {
			if (period < k->periodMinimumQ16)
				continue;
			if (++k->cycles == k->active.cyclesPerWindow)
				*ends = 1;
		} else if (k->crossingKnown && period >= k->periodMinimumQ16 && period <= k->periodMaximumQ16) {
			k->lockPeriodQ16 += period;
			if (++k->lockCount == 2)
				*ends = 1;
		} else {
			k->lockCount = k->lockPeriodQ16 = 0;
		}
		k->crossingKnown = 1;
		k->lagQ16 = lag;
		since = 0;
		last = i;
		if (*ends)
			break;
	}
	since += i - last;
	k->highPass = highPass;
	k->lowPass1 = lowPass1;
	k->lowPass2 = lowPass2;
	k->armed = armed;
	k->sinceCrossing = since < SINCE_MAX ? since : SINCE_MAX;
	return i;
}

/*
 * Adds a pass to the phase steps of the harmonic analysis. What the last window predicts (mean and fundamental) is
 * taken off first, so that it cannot leak into the harmonics; each row is shared between its two nearest steps.
 */
static void fill_bins(wattlock_kernel *k, uint32_t rows, uint32_t phase)
{
	const int32_t *restrict code = k->code[k->harmonicChannel] + HISTORY;
	const int64_t cosineQ4 = k->predictedCosineQ4, sineQ4 = k->predictedSineQ4;
	const int32_t mean = k->predictedMean;
	const uint32_t increment = k->increment, drop = k->sampleBytes == 2 ? 0 : 4;
	int32_t *restrict bins = k->bins;
	for (uint32_t i = 0; i < rows; i++, phase += increment) {
		const int64_t fundamental = cosineQ4 * k->cosineQ15[i] + sineQ4 * k->sineQ15[i] + 262144;
		int32_t rest = (int32_t)shift_right(code[i] - mean - shift_right(fundamental, 19), drop);
		rest = rest < -REST_MAX ? -REST_MAX : rest > REST_MAX ? REST_MAX : rest;
		const uint32_t position = (phase >> 16) * BINS; /* 2^16 a step */
		const uint32_t bin = position >> 16;
		const int32_t weight = (int32_t)(position >> 11 & (BIN_WEIGHT - 1));
		bins[bin] += rest * (BIN_WEIGHT - weight);
		bins[bin + 1] += rest * weight;
	}
}

/* What the window that ends predicts for the channel that is analysed next. */
static void predict(wattlock_kernel *k)
{
	const uint32_t c = k->harmonicChannel;
	if (c >= CHANNELS)
		return;
	const int64_t scale = (int64_t)k->rows * 32767;
	k->predictedCosineQ4 = (int32_t)divide(k->cosine[c] * 32, scale);
	k->predictedSineQ4 = (int32_t)divide(k->sine[c] * 32, scale);
	k->predictedMean = (int32_t)divide(k->sum[c], k->rows);
}

static void accumulate(wattlock_kernel *k, uint32_t rows)
{
	uint32_t phase = k->phase;
	const uint32_t increment = k->increment;
	int32_t sumCosine = 0, sumSine = 0;
	for (uint32_t i = 0; i < rows; i++) {
		const uint32_t index = phase >> 22;
		const int16_t cosine = COSINE_Q15[index], sine = COSINE_Q15[(index + 768) & 1023];
		k->cosineQ15[i] = cosine;
		k->sineQ15[i] = sine;
		sumCosine += cosine;
		sumSine += sine;
		phase += increment;
	}
	k->sumCosine += sumCosine;
	k->sumSine += sumSine;
	for (uint32_t c = 0; c < k->channelCount; c++) {
		int32_t *code = k->code[c] + HISTORY;
		int16_t *high = k->high[c] + HISTORY, *low = k->low[c] + HISTORY;
		int32_t sum, minimum, maximum;
		if (rows < RUN) { /* a short pass: repeat the last row for the extremes, then pad with zeros */
			minimum = maximum = code[0];
			sum = code[0];
			for (uint32_t i = 1; i < rows; i++) {
				sum += code[i];
				minimum = code[i] < minimum ? code[i] : minimum;
				maximum = code[i] > maximum ? code[i] : maximum;
			}
			memset(code + rows, 0, (RUN - rows) * sizeof *code);
		} else {
			sum_and_extremes(code, &sum, &minimum, &maximum);
		}
		if (minimum < k->minimum[c])
			k->minimum[c] = minimum;
		if (maximum > k->maximum[c])
			k->maximum[c] = maximum;
		split(code, high, low);
		int64_t square, cosine, sine;
		correlate(high, low, k->cosineQ15, k->sineQ15, &square, &cosine, &sine);
		k->sum[c] += sum;
		k->square[c] += square;
		k->runSquare[c] = square;
		k->cosine[c] += cosine;
		k->sine[c] += sine;
	}
	for (uint32_t p = 0; p < k->phaseCount; p++) {
		const int16_t *highU = k->high[2 * p] + HISTORY, *lowU = k->low[2 * p] + HISTORY;
		const int16_t *highI = k->high[2 * p + 1] + HISTORY, *lowI = k->low[2 * p + 1] + HISTORY;
		k->power[p] += dot_codes(highU, lowU, highI, lowI);
		const int32_t delay = k->active.delayQ16[p];
		if (delay > 0) {
			const uint32_t whole = (uint32_t)delay >> 16;
			for (uint32_t j = 0; j < 3; j++)
				k->lagged[p][j] += dot_codes(highU, lowU, highI - whole - j, lowI - whole - j);
		} else if (delay < 0) {
			const uint32_t whole = (uint32_t)-delay >> 16;
			for (uint32_t j = 0; j < 3; j++)
				k->lagged[p][j] += dot_codes(highI, lowI, highU - whole - j, lowU - whole - j);
		}
	}
	if (k->harmonicChannel < CHANNELS)
		fill_bins(k, rows, k->phase);
	k->phase = phase;
	for (uint32_t c = 0; c < k->channelCount; c++) {
		memmove(k->high[c], k->high[c] + rows, HISTORY * sizeof(int16_t));
		memmove(k->low[c], k->low[c] + rows, HISTORY * sizeof(int16_t));
	}
	k->rows += rows;
}

static void choose_reference(wattlock_kernel *k, int lost)
{
	for (uint32_t step = 1; step <= k->phaseCount; step++) {
		uint32_t candidate = k->reference + step;
		if (candidate >= k->phaseCount)
			candidate -= k->phaseCount;
		if (k->previousHalfRows == 0)
			return;
		const int64_t mean = k->previousHalfSquare[2 * candidate] / k->previousHalfRows;
		if (candidate == k->reference || mean < k->presenceSquare[candidate])
			continue;
		if (!lost && k->referenceHalves < 64)
			return;
		k->reference = candidate;
		k->referenceHalves = 0;
		k->highPass = k->lowPass1 = k->lowPass2 = 0;
		k->armed = k->crossingKnown = 0;
		k->sinceCrossing = k->lockCount = k->lockPeriodQ16 = 0;
		k->armLevel = (int32_t)((int64_t)k->active.presenceCodes[candidate] * k->inputScale / 4);
		k->flags |= FLAG_REFERENCE_CHANGED;
		return;
	}
}

/* The oscillator passed half a cycle: one-cycle mean squares, and the choice of another reference phase. */
static void end_half(wattlock_kernel *k, int ends)
{
	if (k->previousHalfRows != 0) {
		const int64_t rows = (int64_t)k->halfRows + k->previousHalfRows;
		for (uint32_t c = 0; c < k->channelCount; c++) {
			const int64_t mean = (k->halfSquare[c] + k->previousHalfSquare[c]) / rows;
			if (k->cycleMinimum[c] < 0 || mean < k->cycleMinimum[c])
				k->cycleMinimum[c] = mean;
			if (mean > k->cycleMaximum[c])
				k->cycleMaximum[c] = mean;
		}
		k->halves++;
	}
	memcpy(k->previousHalfSquare, k->halfSquare, sizeof k->halfSquare);
	memset(k->halfSquare, 0, sizeof k->halfSquare);
	k->previousHalfRows = k->halfRows;
	k->halfRows = 0;
	k->referenceHalves++;
	if (!ends && !k->synchronous && k->phaseCount > 1) { /* then the half ends with the pass */
		const uint32_t r = k->reference;
		const int lost = k->previousHalfSquare[2 * r] / k->previousHalfRows < k->presenceSquare[r];
		choose_reference(k, lost);
	}
}

/*
 * Shares the squares of a pass among the half cycles that end within it. While synchronous a pass runs on across the
 * half's end, since nothing but these sums depends on it; else the two end together.
 */
static void share_halves(wattlock_kernel *k, uint32_t rows, uint32_t phaseBefore, int ends)
{
	uint32_t from = 0;
	while (k->rowsToHalf <= rows - from) {
		const uint32_t to = from + k->rowsToHalf;
		for (uint32_t c = 0; c < k->channelCount; c++) {
			const int32_t *code = k->code[c] + HISTORY;
			int64_t square = 0;
			if (from == 0 && to == rows)
				square = k->runSquare[c];
			else
				for (uint32_t i = from; i < to; i++)
					square += (int64_t)code[i] * code[i];
			k->halfSquare[c] += square;
			k->runSquare[c] -= square;
		}
		k->halfRows += to - from;
		end_half(k, ends);
		from = to;
		k->rowsToHalf = rows_to_half(phaseBefore + from * k->increment, k->increment);
		if (from == rows)
			return;
	}
	for (uint32_t c = 0; c < k->channelCount; c++)
		k->halfSquare[c] += k->runSquare[c];
	k->halfRows += rows - from;
	k->rowsToHalf -= rows - from;
}

static void put_harmonics(wattlock_kernel *k, uint8_t *cells)
{
	/*
	 * Folded by the symmetries of the cycle: an odd order needs a quarter of the steps, an even one an eighth.
	 * [0 odd, 1 twice odd, 2 four times any][0 cosine, 1 sine]
	 */
	int64_t folded[3][2][BINS / 4 + 1];
	int64_t even[BINS / 2];
	int32_t *a = k->bins;
	const uint32_t half = BINS / 2, quarter = BINS / 4, eighth = BINS / 8;
	a[0] += a[BINS];
	for (uint32_t b = 0; b < half; b++)
		even[b] = (int64_t)a[b] + a[b + half];
	for (uint32_t b = 0; b <= quarter; b++) {
		const int alone = b == 0 || b == quarter;
		const int64_t odd = (int64_t)a[b] - a[b + half];
		const int64_t mirror = alone ? 0 : (int64_t)a[half - b] - a[BINS - b];
		folded[0][0][b] = odd - mirror;
		folded[0][1][b] = odd + mirror;
	}
	for (uint32_t b = 0; b <= eighth; b++) { /* quarter is odd: only step 0 has no mirror */
		const int64_t sum = even[b] + even[b + quarter], difference = even[b] - even[b + quarter];
		const int64_t mirrorSum = b == 0 ? 0 : even[quarter - b] + even[half - b];
		const int64_t mirrorDifference = b == 0 ? 0 : even[quarter - b] - even[half - b];
		folded[1][0][b] = difference - mirrorDifference;
		folded[1][1][b] = difference + mirrorDifference;
		folded[2][0][b] = sum + mirrorSum;
		folded[2][1][b] = sum - mirrorSum;
	}
	uint32_t highest = 1932735283u / k->startIncrement; /* 0.45 of the sample rate */
	if (highest > HARMONIC_MAX)
		highest = HARMONIC_MAX;
	put_number(cells, 10, highest);
	for (uint32_t h = 2; h <= highest; h++) {
		const uint32_t kind = (h & 1) != 0 ? 0 : (h & 2) != 0 ? 1 : 2;
		const uint32_t last = kind == 0 ? quarter : eighth;
		const int64_t *restrict forCosine = folded[kind][0];
		const int64_t *restrict forSine = folded[kind][1];
		int64_t cosine = 0, sine = 0;
		uint32_t index = 0;
		for (uint32_t b = 0; b <= last; b++) {
			cosine += forCosine[b] * BIN_SINE_Q15[index + BINS / 4];
			sine += forSine[b] * BIN_SINE_Q15[index];
			index += h;
			if (index >= BINS)
				index -= BINS;
		}
		put_number(cells, CELL_HARMONIC + 2 * (h - 2), cosine);
		put_number(cells, CELL_HARMONIC + 2 * (h - 2) + 1, sine);
	}
}

static void close_window(wattlock_kernel *k, int atCrossing, uint8_t *cells)
{
	const int whole = atCrossing && k->synchronous && (k->flags & FLAG_STARTS_AT_CROSSING) != 0;
	memset(cells, 0, WATTLOCK_KERNEL_SUMS_BYTES);
	put_number(cells, 0, k->rows);
	put_number(cells, 1, k->flags | (whole ? FLAG_SYNCHRONOUS : 0) | (atCrossing && !whole ? FLAG_LOCKED : 0));
	put_number(cells, 2, k->cycles);
	put_number(cells, 3, k->startLagQ16);
	put_number(cells, 4, atCrossing ? k->lagQ16 : 0);
	put_number(cells, 5, k->startIncrement);
	put_number(cells, 6, k->sumCosine);
	put_number(cells, 7, k->sumSine);
	put_number(cells, 8, k->reference);
	put_number(cells, 9, k->harmonicChannel < CHANNELS ? (int64_t)k->harmonicChannel : -1);
	put_number(cells, 11, k->halves);
	put_number(cells, 12, k->windowCount);
	for (uint32_t c = 0; c < k->channelCount; c++) {
		const uint32_t at = CELL_CHANNEL + c * CHANNEL_CELLS;
		put_number(cells, at, k->sum[c]);
		put_number(cells, at + 1, k->square[c]);
		put_number(cells, at + 2, k->cosine[c]);
		put_number(cells, at + 3, k->sine[c]);
		put_number(cells, at + 4, k->minimum[c]);
		put_number(cells, at + 5, k->maximum[c]);
		put_number(cells, at + 6, k->cycleMinimum[c]);
		put_number(cells, at + 7, k->cycleMaximum[c]);
	}
	for (uint32_t p = 0; p < k->phaseCount; p++) {
		const uint32_t at = CELL_PHASE + p * PHASE_CELLS;
		put_pair(cells, at, k->power[p]);
		for (uint32_t j = 0; j < 3; j++)
			put_pair(cells, at + 2 + 2 * j, k->lagged[p][j]);
	}
	if (k->harmonicChannel < CHANNELS)
		put_harmonics(k, cells);
	if (whole) {
		const uint32_t spanQ16 = (k->rows << 16) + k->startLagQ16 - k->lagQ16;
		k->increment = (uint32_t)(((uint64_t)k->cycles << 48) / spanQ16);
		k->freeRunRows = k->rows;
	} else if (atCrossing) {
		k->increment = (uint32_t)(((uint64_t)2 << 48) / k->lockPeriodQ16);
	}
	k->synchronous = atCrossing;
	k->rowsToHalf = rows_to_half(k->phase, k->increment);
	if (k->stagedValid) {
		const uint32_t freeRunRows = k->freeRunRows;
		const uint32_t sameWindow = k->staged.cyclesPerWindow == k->active.cyclesPerWindow;
		k->active = k->staged;
		k->stagedValid = 0;
		apply(k);
		if (sameWindow)
			k->freeRunRows = freeRunRows;
	}
	k->windowCount++;
	k->startLagQ16 = atCrossing ? k->lagQ16 : 0;
	choose_harmonic_channel(k);
	predict(k);
	clear_window(k);
	if (atCrossing)
		k->flags = FLAG_STARTS_AT_CROSSING;
	k->closed = 1;
}

uint32_t wattlock_kernel_process(wattlock_kernel *k, const uint8_t *block, uint32_t rowIndex, uint32_t rowCount,
	uint8_t *sums, size_t sumsLength)
{
	uint32_t row = rowIndex;
	k->closed = 0;
	if (sumsLength < WATTLOCK_KERNEL_SUMS_BYTES)
		return 0;
	while (row < rowCount) {
		const uint32_t limit = k->synchronous ? k->windowRowsMaximum : k->freeRunRows;
		uint32_t run = rowCount - row;
		int ends;
		if (run > RUN)
			run = RUN;
		if (!k->synchronous && run > k->rowsToHalf)
			run = k->rowsToHalf;
		if (k->rows < limit && run > limit - k->rows)
			run = limit - k->rows;
		if (k->synchronous && k->sinceCrossing <= k->lostRows && run > k->lostRows + 1 - k->sinceCrossing)
			run = k->lostRows + 1 - k->sinceCrossing;
		take_rows(k, block + (size_t)row * k->rowBytes, run);
		run = follow_reference(k, run, &ends);
		const uint32_t phaseBefore = k->phase;
		accumulate(k, run);
		row += run;
		share_halves(k, run, phaseBefore, ends);
		if (!ends && k->synchronous && k->sinceCrossing > k->lostRows) {
			k->synchronous = 0;
			k->crossingKnown = 0;
			k->lockCount = k->lockPeriodQ16 = 0;
			k->flags |= FLAG_REFERENCE_LOST;
		}
		if (ends || k->rows >= (k->synchronous ? k->windowRowsMaximum : k->freeRunRows)) {
			close_window(k, ends, sums);
			break;
		}
	}
	return row - rowIndex;
}

int wattlock_kernel_window_closed(const wattlock_kernel *k)
{
	return k->closed;
}

/* See machine.h: memory protection, console, sleep, counters, the end, and what the C library asks a system for. */

#include "machine.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#define FINISHER ((volatile uint32_t *)0x00100000u)
#define FINISHER_PASS 0x5555u
#define FINISHER_FAIL 0x3333u
#define TIME_COMPARE_LOW ((volatile uint32_t *)0x02004000u)
#define TIME_COMPARE_HIGH ((volatile uint32_t *)0x02004004u)
#define TIME_LOW ((volatile uint32_t *)0x0200bff8u)
#define TIME_HIGH ((volatile uint32_t *)0x0200bffcu)
#define PLIC_PRIORITY ((volatile uint32_t *)0x0c000000u)
#define PLIC_ENABLE ((volatile uint32_t *)0x0c002000u) /* hart 0, machine mode */
#define PLIC_THRESHOLD ((volatile uint32_t *)0x0c200000u)
#define PLIC_CLAIM ((volatile uint32_t *)0x0c200004u)

#define MACHINE_TIMER (1u << 7)
#define MACHINE_EXTERNAL (1u << 11)
#define CAUSE_TIMER 0x80000007u

extern uint8_t __ram_start[], __ram_end[], __stack_start[], __stack_top[], __heap_start[], __heap_end[];

/* -march=rv32imac_zicsr would choose the C library of another core. */
#define CSR_READ(name) \
	({ \
		uint32_t csr_value; \
		__asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, " #name "\n.option pop" : "=r"(csr_value)); \
		csr_value; \
	})
#define CSR_WRITE(name, value) \
	__asm__ volatile(".option push\n.option arch, +zicsr\ncsrw " #name ", %0\n.option pop" : : "r"(value) : "memory")

/* ---- memory protection (RISC-V privileged architecture, section 3.7) ---- */

enum { PMP_READ = 1, PMP_WRITE = 2, PMP_EXECUTE = 4, PMP_TOP_OF_RANGE = 1 << 3, PMP_POWER_OF_TWO = 3 << 3, PMP_LOCKED = 1 << 7 };

static uint32_t power_of_two(uint32_t start, uint32_t byteLength)
{
	return start >> 2 | ((byteLength >> 3) - 1);
}

void machine_lock(void)
{
	/* The first entry that matches decides; a locked one binds machine mode too, and stays until reset. */
	CSR_WRITE(pmpaddr0, power_of_two(MACHINE_IMAGE_FLASH, MACHINE_FLASH_BYTES));
	CSR_WRITE(pmpaddr1, power_of_two(MACHINE_STORE_FLASH, MACHINE_FLASH_BYTES));
	CSR_WRITE(pmpaddr2, (uint32_t)__ram_start >> 2);
	CSR_WRITE(pmpaddr3, (uint32_t)__ram_end >> 2);
	CSR_WRITE(pmpaddr4, power_of_two(0, MACHINE_IMAGE_FLASH)); /* devices */
	CSR_WRITE(pmpaddr5, power_of_two(MACHINE_BOARD_WINDOW, MACHINE_BOARD_WINDOW_BYTES));
	CSR_WRITE(pmpaddr6, 0xFFFFFFFFu); /* everything else: nothing there */
	uint32_t readWrite = PMP_LOCKED | PMP_READ | PMP_WRITE;
	uint32_t image = PMP_LOCKED | PMP_POWER_OF_TWO | PMP_READ | PMP_EXECUTE;
	uint32_t store = readWrite | PMP_POWER_OF_TWO;
	uint32_t ramStart = PMP_LOCKED; /* off: only the lower end of the next one */
	uint32_t ram = readWrite | PMP_TOP_OF_RANGE;
	uint32_t nothing = PMP_LOCKED | PMP_POWER_OF_TWO;
	/* The second word ends with the entry that forbids the rest. */
	CSR_WRITE(pmpcfg0, image | store << 8 | ramStart << 16 | ram << 24);
	CSR_WRITE(pmpcfg1, store | store << 8 | nothing << 16);
}

/* ---- console and end ---- */

/* Semihosting (RISC-V Semihosting 0.4): QEMU writes the text to its standard error. */
__attribute__((noinline, aligned(16))) void machine_print(const char *text)
{
	register uint32_t operation __asm__("a0") = 4; /* SYS_WRITE0 */
	register const char *parameter __asm__("a1") = text;
	/* The three instructions are the sign, uncompressed and in one page. */
	__asm__ volatile(".option push\n.option norvc\n.balign 16\nslli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop"
		: "+r"(operation)
		: "r"(parameter)
		: "memory");
}

void machine_exit(int code)
{
	*FINISHER = code == 0 ? FINISHER_PASS : (uint32_t)code << 16 | FINISHER_FAIL;
	while (true) {
	}
}

/* Named by start.S. */
void machine_trapped(uint32_t cause, uint32_t at, uint32_t value, uint32_t returnAddress) __attribute__((noreturn));

void machine_trapped(uint32_t cause, uint32_t at, uint32_t value, uint32_t returnAddress)
{
	static const char *const names[] = { "fetch from a misaligned address", "fetch from memory that is not for code",
		"illegal instruction", "breakpoint", "misaligned load", "load from where nothing is", "misaligned store",
		"store into memory that is read-only or not there" };
	char text[160];
	if (cause == CAUSE_TIMER)
		machine_exit(MACHINE_EXIT_CUT);
	const char *name = cause < sizeof names / sizeof names[0] ? names[cause] : "trap";
	/* An overflow of the C stack is a store just below the RAM. */
	if ((cause == 5 || cause == 7) && value < (uint32_t)__ram_start && value >= (uint32_t)__ram_start - 65536)
		name = "overflow of the C stack";
	snprintf(text, sizeof text, "%s: cause %lu at 0x%08lx, value 0x%08lx, called from 0x%08lx\n", name,
		(unsigned long)cause, (unsigned long)at, (unsigned long)value, (unsigned long)returnAddress);
	machine_print(text);
	machine_exit(MACHINE_EXIT_TRAP);
}

/* ---- sleep ---- */

void machine_listen(uint32_t interrupt)
{
	PLIC_PRIORITY[interrupt] = 1;
	PLIC_ENABLE[interrupt / 32] |= 1u << (interrupt % 32);
	*PLIC_THRESHOLD = 0;
}

void machine_idle(void)
{
	/* Interrupts as such stay off: a pending one ends `wfi`, and the caller looks at its device. */
	CSR_WRITE(mie, MACHINE_EXTERNAL);
	__asm__ volatile("wfi" ::: "memory");
	CSR_WRITE(mie, 0);
	uint32_t interrupt;
	while ((interrupt = *PLIC_CLAIM) != 0)
		*PLIC_CLAIM = interrupt;
}

/* ---- counters ---- */

static uint64_t instructionsDone, instructionsAtBegin, cutAt;
static bool isWorking;

static uint64_t retired(void)
{
	uint32_t high, low;
	do {
		high = CSR_READ(minstreth);
		low = CSR_READ(minstret);
	} while (high != CSR_READ(minstreth));
	return (uint64_t)high << 32 | low;
}

static uint64_t time_now(void)
{
	uint32_t high, low;
	do {
		high = *TIME_HIGH;
		low = *TIME_LOW;
	} while (high != *TIME_HIGH);
	return (uint64_t)high << 32 | low;
}

void machine_begin_work(void)
{
	isWorking = true;
	instructionsAtBegin = retired();
	if (machine_strap->cutHundreds == 0)
		return;
	/* A tick of the timer is 100 ns, with -icount shift=0 a hundred instructions. */
	uint64_t done = instructionsDone / 100, wanted = machine_strap->cutHundreds;
	cutAt = time_now() + (wanted > done ? wanted - done : 0);
	*TIME_COMPARE_HIGH = 0xFFFFFFFFu;
	*TIME_COMPARE_LOW = (uint32_t)cutAt;
	*TIME_COMPARE_HIGH = (uint32_t)(cutAt >> 32);
	CSR_WRITE(mie, MACHINE_TIMER);
	CSR_WRITE(mstatus, CSR_READ(mstatus) | 8);
}

void machine_end_work(void)
{
	if (machine_strap->cutHundreds != 0) {
		CSR_WRITE(mstatus, CSR_READ(mstatus) & ~8u);
		CSR_WRITE(mie, 0);
		*TIME_COMPARE_HIGH = 0xFFFFFFFFu;
	}
	instructionsDone += retired() - instructionsAtBegin;
	isWorking = false;
}

uint64_t machine_instructions(void)
{
	return instructionsDone + (isWorking ? retired() - instructionsAtBegin : 0);
}

uint32_t machine_stack_peak(void)
{
	const uint32_t *at = (const uint32_t *)__stack_start;
	while (at < (const uint32_t *)__stack_top && *at == 0x5A5A5A5A)
		at++;
	return (uint32_t)((const uint8_t *)__stack_top - (const uint8_t *)at);
}

/* ---- what the C library asks for ---- */

static uint8_t *heapAt = __heap_start, *heapEnd = __heap_end;

void machine_set_heap(void *start, void *end)
{
	heapAt = start;
	heapEnd = end;
}

void *machine_heap_used(void)
{
	return heapAt;
}

uint32_t machine_heap_peak(void)
{
	return (uint32_t)(heapAt - __heap_start);
}

void *sbrk(ptrdiff_t byteLength)
{
	if (byteLength > heapEnd - heapAt) {
		errno = ENOMEM;
		return (void *)-1;
	}
	uint8_t *result = heapAt;
	heapAt += byteLength;
	return result;
}

/* The firmware's clock is the board's (host.h); that of the engine's Date stands still. */
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	(void)zone;
	now->tv_sec = 0;
	now->tv_usec = 0;
	return 0;
}

void abort(void)
{
	machine_print("abort\n");
	machine_exit(MACHINE_EXIT_FAILED);
}

void _exit(int code)
{
	machine_exit(code);
}

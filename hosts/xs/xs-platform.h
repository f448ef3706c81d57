/* The engine's view of the platform: included by the XS sources through -DXSPLATFORM, and by our own C. */

#ifndef WATTLOCK_XS_PLATFORM_H
#define WATTLOCK_XS_PLATFORM_H

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* promiseJobs: jobs are waiting (set by fxQueuePromiseJobs). The waiter fields belong to Atomics.wait. */
#define mxMachinePlatform \
	int promiseJobs; \
	void *waiterCondition; \
	void *waiterData; \
	void *waiterLink;

#define mxUseDefaultBuildKeys 1
#define mxUseDefaultSharedChunks 1
/* The limit of the C stack is known per thread: see memory.c. */
#define mxUseDefaultCStackLimit 0
/* Keeps the engine from counting clusters at each machine, without a lock: the host makes the one cluster itself. */
#define mxMultipleThreads 1

#define mxExport extern
#define mxImport extern
#define XS_FUNCTION_NORETURN __attribute__((noreturn))

#if defined(__linux__)
	#include <arpa/inet.h>
	#include <pthread.h>
	#include <sys/time.h>
	#include <unistd.h>
	#undef mxLinux
	#define mxLinux 1
	#define mxUseGCCAtomics 1
	#define mxUsePOSIXThreads 1
	typedef int txSocket;
	#define mxNoSocket -1
#elif defined(__riscv) && __riscv_xlen == 32
	/* Bare metal with picolibc: hosts/rv32. One thread, no sockets. */
	#include <limits.h>
	#include <sys/time.h>
	#define mxMisalignedSettersCrash 1
	typedef int txSocket;
	#define mxNoSocket -1
	#define htonl __builtin_bswap32
	#define ntohl __builtin_bswap32
#else
	#error "hosts/xs/xs-platform.h: no section for this system yet"
#endif

#endif

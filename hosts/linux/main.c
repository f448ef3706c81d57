/*
 * The Linux host: many meters in one process, over all cores. The main thread reads frames from standard input and
 * hands each to the thread of its meter (index modulo threads); a thread runs its meters one frame after the other and
 * writes whole frames to standard output. Standard error is for people.
 */

#define _GNU_SOURCE

#include "host.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define METER_MAX 1000000
#define THREAD_MAX 256
#define C_STACK_BYTES (4 * 1024 * 1024)
#define OUTPUT_BYTES 65536

typedef struct {
	uint8_t *bytes;
	size_t byteLength;
	size_t capacity;
} buffer;

typedef struct {
	pthread_t thread;
	uint32_t number;
	pthread_mutex_t lock;
	pthread_cond_t filled;
	buffer inbox; /* whole frames, under the lock */
	buffer work;
	buffer output;
	wattlock_meter **meters;
	size_t meterCapacity;
} worker;

static wattlock_root root;
static worker workers[THREAD_MAX];
static uint32_t workerCount;
static pthread_mutex_t outputLock = PTHREAD_MUTEX_INITIALIZER;

void wattlock_fail(int exitCode, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	for (char *c = text; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	fprintf(stderr, "wattlock-host: %s\n", text);
	_exit(exitCode);
}

static void append(buffer *into, const void *bytes, size_t byteLength)
{
	if (byteLength == 0)
		return;
	if (into->byteLength + byteLength > into->capacity) {
		into->capacity = (into->byteLength + byteLength) * 2;
		into->bytes = realloc(into->bytes, into->capacity);
		if (!into->bytes)
			wattlock_fail(1, "out of memory for frames");
	}
	memcpy(into->bytes + into->byteLength, bytes, byteLength);
	into->byteLength += byteLength;
}

/* ---- memory ---- */

void *wattlock_reserve(size_t byteLength)
{
	void *address = mmap(NULL, byteLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (address == MAP_FAILED)
		wattlock_fail(1, "no address space for another meter: %s", strerror(errno));
	/* A huge page would make a machine of 30 KiB cost two MiB. */
	madvise(address, byteLength, MADV_NOHUGEPAGE);
	return address;
}

void wattlock_release(void *address, size_t byteLength)
{
	munmap(address, byteLength);
}

void wattlock_zero(void *address, size_t byteLength)
{
	const size_t page = 4096;
	uint8_t *from = address, *to = from + byteLength;
	uint8_t *firstPage = (uint8_t *)(((uintptr_t)from + page - 1) / page * page);
	uint8_t *lastPage = (uint8_t *)((uintptr_t)to / page * page);
	if (firstPage >= lastPage || madvise(firstPage, (size_t)(lastPage - firstPage), MADV_DONTNEED) != 0) {
		memset(from, 0, byteLength);
		return;
	}
	memset(from, 0, (size_t)(firstPage - from));
	memset(lastPage, 0, (size_t)(to - lastPage));
}

void wattlock_protect(void *address, size_t byteLength)
{
	if (mprotect(address, byteLength, PROT_READ) != 0)
		wattlock_fail(1, "the shared machine could not be protected: %s", strerror(errno));
}

/* ---- waveform rows: equal ones are held once ---- */

struct wattlock_rows {
	wattlock_rows *next;
	uint64_t hash;
	size_t byteLength;
	size_t users;
	uint8_t bytes[];
};

#define ROWS_BUCKETS 4096
static wattlock_rows *rowsTable[ROWS_BUCKETS];
static pthread_mutex_t rowsLock = PTHREAD_MUTEX_INITIALIZER;

wattlock_rows *wattlock_rows_take(const uint8_t *bytes, size_t byteLength)
{
	uint64_t hash = 14695981039346656037u ^ byteLength;
	size_t i = 0;
	for (; i + 8 <= byteLength; i += 8) {
		uint64_t word;
		memcpy(&word, bytes + i, 8);
		hash = (hash ^ word) * 1099511628211u;
		hash ^= hash >> 29;
	}
	for (; i < byteLength; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	wattlock_rows **bucket = rowsTable + hash % ROWS_BUCKETS;
	pthread_mutex_lock(&rowsLock);
	wattlock_rows *rows = *bucket;
	while (rows && (rows->hash != hash || rows->byteLength != byteLength || memcmp(rows->bytes, bytes, byteLength) != 0))
		rows = rows->next;
	if (!rows) {
		rows = malloc(sizeof *rows + byteLength);
		if (!rows)
			wattlock_fail(1, "out of memory for samples");
		rows->hash = hash;
		rows->byteLength = byteLength;
		rows->users = 0;
		if (byteLength > 0)
			memcpy(rows->bytes, bytes, byteLength);
		rows->next = *bucket;
		*bucket = rows;
	}
	rows->users++;
	pthread_mutex_unlock(&rowsLock);
	return rows;
}

void wattlock_rows_drop(wattlock_rows *rows)
{
	pthread_mutex_lock(&rowsLock);
	if (--rows->users == 0) {
		wattlock_rows **at = rowsTable + rows->hash % ROWS_BUCKETS;
		while (*at != rows)
			at = &(*at)->next;
		*at = rows->next;
		free(rows);
	}
	pthread_mutex_unlock(&rowsLock);
}

const uint8_t *wattlock_rows_bytes(const wattlock_rows *rows)
{
	return rows->bytes;
}

size_t wattlock_rows_length(const wattlock_rows *rows)
{
	return rows->byteLength;
}

/* ---- firmware out of flash: a root machine for each that any meter has started, held until the process ends ---- */

typedef struct image image;
struct image {
	image *next;
	wattlock_root root;
	uint8_t *bytes;
	size_t byteLength;
};

static image *images;
static pthread_mutex_t imagesLock = PTHREAD_MUTEX_INITIALIZER;

static const wattlock_root *image_root(uint8_t *bytes, size_t byteLength, char *wrong, size_t wrongLength)
{
	pthread_mutex_lock(&imagesLock);
	image *found = images;
	while (found && (found->byteLength != byteLength || memcmp(found->bytes, bytes, byteLength) != 0))
		found = found->next;
	if (found) {
		free(bytes);
	} else {
		wattlock_archive archive;
		const char *reason = wattlock_archive_open(&archive, bytes, byteLength);
		found = calloc(1, sizeof *found);
		if (!found)
			wattlock_fail(1, "out of memory for a firmware");
		if (reason)
			snprintf(wrong, wrongLength, "firmware in flash: %s", reason);
		if (!reason && wattlock_root_try(&found->root, &archive, wrong, wrongLength)) {
			found->bytes = bytes;
			found->byteLength = byteLength;
			found->next = images;
			images = found;
		} else {
			free(bytes);
			free(found);
			found = NULL;
		}
	}
	pthread_mutex_unlock(&imagesLock);
	return found ? &found->root : NULL;
}

/* ---- frames out ---- */

static void write_all(const uint8_t *bytes, size_t byteLength)
{
	while (byteLength > 0) {
		ssize_t count = write(STDOUT_FILENO, bytes, byteLength);
		if (count < 0) {
			if (errno == EINTR)
				continue;
			_exit(0); /* nobody listens any more */
		}
		bytes += count;
		byteLength -= (size_t)count;
	}
}

static void flush(worker *of)
{
	if (of->output.byteLength == 0)
		return;
	pthread_mutex_lock(&outputLock);
	write_all(of->output.bytes, of->output.byteLength);
	pthread_mutex_unlock(&outputLock);
	of->output.byteLength = 0;
}

static void make_header(uint8_t *header, uint32_t meter, uint8_t kind, size_t payloadLength)
{
	uint32_t length = (uint32_t)payloadLength;
	memset(header, 0, WATTLOCK_FRAME_HEADER_BYTES);
	memcpy(header, &length, 4);
	memcpy(header + 4, &meter, 4);
	header[8] = kind;
}

void wattlock_send(wattlock_meter *meter, uint8_t kind, const void *head, size_t headLength, const void *body,
	size_t bodyLength)
{
	worker *of = meter->owner;
	uint8_t header[WATTLOCK_FRAME_HEADER_BYTES];
	make_header(header, meter->index, kind, headLength + bodyLength);
	append(&of->output, header, sizeof header);
	append(&of->output, head, headLength);
	append(&of->output, body, bodyLength);
	if (of->output.byteLength >= OUTPUT_BYTES)
		flush(of);
}

/* ---- threads ---- */

static wattlock_meter *meter_at(worker *of, uint32_t index)
{
	size_t place = index / workerCount;
	if (place >= of->meterCapacity) {
		size_t capacity = (place + 1) * 2;
		of->meters = realloc(of->meters, capacity * sizeof *of->meters);
		if (!of->meters)
			wattlock_fail(1, "out of memory for meter %u", index);
		memset(of->meters + of->meterCapacity, 0, (capacity - of->meterCapacity) * sizeof *of->meters);
		of->meterCapacity = capacity;
	}
	if (!of->meters[place]) {
		of->meters[place] = malloc(sizeof(wattlock_meter));
		if (!of->meters[place])
			wattlock_fail(1, "out of memory for meter %u", index);
		wattlock_meter_open(of->meters[place], &root, index, of);
	}
	return of->meters[place];
}

static void *run_worker(void *argument)
{
	worker *of = argument;
	/* The rest is for what the engine does not check; its own platforms leave 128 KiB. */
	wattlock_set_c_stack(C_STACK_BYTES - 192 * 1024);
	while (true) {
		pthread_mutex_lock(&of->lock);
		while (of->inbox.byteLength == 0)
			pthread_cond_wait(&of->filled, &of->lock);
		buffer swap = of->work;
		of->work = of->inbox;
		of->inbox = swap;
		of->inbox.byteLength = 0;
		pthread_mutex_unlock(&of->lock);
		const uint8_t *at = of->work.bytes, *end = at + of->work.byteLength;
		while (at < end) {
			uint32_t length, index;
			memcpy(&length, at, 4);
			memcpy(&index, at + 4, 4);
			wattlock_meter_frame(meter_at(of, index), at[8], at + WATTLOCK_FRAME_HEADER_BYTES, length);
			at += WATTLOCK_FRAME_HEADER_BYTES + length;
		}
		of->work.byteLength = 0;
		if (of->work.capacity > 4 * 1024 * 1024) {
			free(of->work.bytes);
			memset(&of->work, 0, sizeof of->work);
		}
		flush(of);
	}
	return NULL;
}

static void start_workers(void)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, C_STACK_BYTES);
	for (uint32_t i = 0; i < workerCount; i++) {
		workers[i].number = i;
		pthread_mutex_init(&workers[i].lock, NULL);
		pthread_cond_init(&workers[i].filled, NULL);
		if (pthread_create(&workers[i].thread, &attributes, run_worker, workers + i) != 0)
			wattlock_fail(1, "a thread could not be started");
	}
	pthread_attr_destroy(&attributes);
}

/* Takes the whole frames of `bytes` to their threads. @returns bytes taken */
static size_t dispatch(const uint8_t *bytes, size_t byteLength)
{
	size_t taken = 0;
	while (byteLength - taken >= WATTLOCK_FRAME_HEADER_BYTES) {
		const uint8_t *frame = bytes + taken;
		uint32_t length, index;
		memcpy(&length, frame, 4);
		memcpy(&index, frame + 4, 4);
		if (length > WATTLOCK_PAYLOAD_BYTES_MAX)
			wattlock_fail(2, "protocol: frame of %u bytes", length);
		if (frame[9] != 0 || frame[10] != 0 || frame[11] != 0)
			wattlock_fail(2, "protocol: reserved bytes are not zero");
		if (frame[8] == WATTLOCK_SHUTDOWN) {
			if (length != 0 || index != WATTLOCK_EVERY_METER)
				wattlock_fail(2, "protocol: a shutdown that is none");
			_exit(0);
		}
		if (index >= METER_MAX)
			wattlock_fail(2, "protocol: meter %u, at most %u", index, METER_MAX - 1);
		if (byteLength - taken - WATTLOCK_FRAME_HEADER_BYTES < length)
			break;
		size_t frameLength = WATTLOCK_FRAME_HEADER_BYTES + (size_t)length;
		worker *to = workers + index % workerCount;
		pthread_mutex_lock(&to->lock);
		bool wasEmpty = to->inbox.byteLength == 0;
		append(&to->inbox, frame, frameLength);
		if (wasEmpty)
			pthread_cond_signal(&to->filled);
		pthread_mutex_unlock(&to->lock);
		taken += frameLength;
	}
	return taken;
}

static void read_frames(void)
{
	const size_t capacity = WATTLOCK_FRAME_HEADER_BYTES + WATTLOCK_PAYLOAD_BYTES_MAX + 262144;
	uint8_t *bytes = malloc(capacity);
	size_t filled = 0;
	if (!bytes)
		wattlock_fail(1, "out of memory for frames");
	while (true) {
		ssize_t count = read(STDIN_FILENO, bytes + filled, capacity - filled);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			_exit(0); /* the board is gone */
		filled += (size_t)count;
		size_t taken = dispatch(bytes, filled);
		memmove(bytes, bytes + taken, filled - taken);
		filled -= taken;
	}
}

static void say_ready(void)
{
	char text[256];
	uint8_t header[WATTLOCK_FRAME_HEADER_BYTES];
	uint32_t words[2] = { WATTLOCK_PROTOCOL_VERSION, workerCount };
	int length = snprintf(text, sizeof text,
		"XS %d.%d.%d on Linux, %u threads; shared by all meters: %u slots, %u B of chunks, %zu B of bytecode; %u aliases",
		XS_MAJOR_VERSION, XS_MINOR_VERSION, XS_PATCH_VERSION, workerCount, root.slotCount, root.chunkBytes,
		root.archive.byteLength, root.aliasCount);
	make_header(header, WATTLOCK_EVERY_METER, WATTLOCK_READY, sizeof words + (size_t)length);
	write_all(header, sizeof header);
	write_all((const uint8_t *)words, sizeof words);
	write_all((const uint8_t *)text, (size_t)length);
}

static void open_archive(const char *path, wattlock_archive *archive)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &status) != 0)
		wattlock_fail(1, "%s: %s", path, strerror(errno));
	if (status.st_size <= 0)
		wattlock_fail(1, "%s: empty", path);
	const uint8_t *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (bytes == MAP_FAILED)
		wattlock_fail(1, "%s: %s", path, strerror(errno));
	close(file);
	const char *wrong = wattlock_archive_open(archive, bytes, (size_t)status.st_size);
	if (wrong)
		wattlock_fail(1, "%s: %s", path, wrong);
}

/* Says what a stray store was, then dies of it. */
static void say_fault(int number, siginfo_t *information, void *context)
{
	static const char text[] = "wattlock-host: a store into the shared machine: the engine or the host has a bug\n";
	const uint8_t *address = information->si_addr;
	(void)number;
	(void)context;
	if (address >= root.memory.base && address < root.memory.base + root.memory.byteLength)
		(void)!write(STDERR_FILENO, text, sizeof text - 1);
}

int main(int argumentCount, char **arguments)
{
	const char *path = NULL;
	long threads = sysconf(_SC_NPROCESSORS_ONLN);
	for (int i = 1; i < argumentCount; i++) {
		if (strcmp(arguments[i], "--threads") == 0 && i + 1 < argumentCount) {
			char *end;
			threads = strtol(arguments[++i], &end, 10);
			if (*end != 0 || threads < 1 || threads > THREAD_MAX)
				wattlock_fail(1, "--threads wants a number from 1 to %d", THREAD_MAX);
		} else if (strcmp(arguments[i], "--collect-often") == 0) {
			wattlock_collect_often = true;
		} else if (arguments[i][0] != '-' && !path) {
			path = arguments[i];
		} else {
			wattlock_fail(1, "usage: wattlock-host [--threads N] [--collect-often] FIRMWARE");
		}
	}
	if (!path)
		wattlock_fail(1, "usage: wattlock-host [--threads N] [--collect-often] FIRMWARE");
	workerCount = threads < 1 ? 1 : threads > THREAD_MAX ? THREAD_MAX : (uint32_t)threads;
	signal(SIGPIPE, SIG_IGN);
	struct sigaction fault = { .sa_sigaction = say_fault, .sa_flags = SA_SIGINFO | SA_RESETHAND };
	sigaction(SIGSEGV, &fault, NULL);
	wattlock_set_c_stack(4 * 1024 * 1024);
	/* The one cluster of the process: with mxMultipleThreads no machine makes or counts it. */
	fxInitializeSharedCluster();
	wattlock_archive archive;
	open_archive(path, &archive);
	wattlock_root_open(&root, &archive);
	root.image_root = image_root;
	start_workers();
	say_ready();
	read_frames();
	return 0;
}

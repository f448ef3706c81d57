/* See port.h. */

#include "port.h"

#include "machine.h"

#include <stdbool.h>
#include <string.h>

/* ---- virtio over MMIO, version 2 ---- */

#define TRANSPORT(index) (0x10001000u + (index) * 0x1000u)
#define TRANSPORT_COUNT 8
#define TRANSPORT_INTERRUPT(index) (1u + (index))

enum {
	MAGIC = 0x000 / 4,
	VERSION = 0x004 / 4,
	DEVICE = 0x008 / 4,
	DRIVER_FEATURES = 0x020 / 4,
	DRIVER_FEATURES_SELECT = 0x024 / 4,
	QUEUE_SELECT = 0x030 / 4,
	QUEUE_SIZE = 0x038 / 4,
	QUEUE_READY = 0x044 / 4,
	QUEUE_NOTIFY = 0x050 / 4,
	INTERRUPT_STATUS = 0x060 / 4,
	INTERRUPT_ACKNOWLEDGE = 0x064 / 4,
	STATUS = 0x070 / 4,
	QUEUE_DESCRIPTORS = 0x080 / 4,
	QUEUE_DRIVER = 0x090 / 4,
	QUEUE_DEVICE = 0x0a0 / 4,
};

enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8 };
enum { DEVICE_CONSOLE = 3, FEATURE_MULTIPORT = 1 << 1, FEATURE_VERSION_1_HIGH = 1 << 0 };
enum { DESCRIPTOR_WRITE = 2 };

/* Queues of the device: port 0 (unused), control, port 1. */
enum { CONTROL_RECEIVE = 2, CONTROL_SEND = 3, RECEIVE = 4, SEND = 5, QUEUE_COUNT = 6 };

/* Events of the control queues. */
enum { DEVICE_READY = 0, PORT_READY = 3, PORT_OPEN = 6 };

typedef struct {
	uint64_t address;
	uint32_t byteLength;
	uint16_t flags;
	uint16_t next;
} descriptor;

typedef struct {
	volatile uint16_t flags;
	volatile uint16_t index;
	volatile uint16_t ring[PORT_BUFFER_COUNT];
} driver_ring;

typedef struct {
	volatile uint16_t flags;
	volatile uint16_t index;
	struct {
		volatile uint32_t id;
		volatile uint32_t byteLength;
	} ring[PORT_BUFFER_COUNT];
} device_ring;

/* One page. Descriptor i is always buffer i. */
typedef struct {
	descriptor descriptors[PORT_BUFFER_COUNT];
	driver_ring driver;
	uint8_t gap[512 - 4 - 2 * PORT_BUFFER_COUNT];
	device_ring device;
	uint8_t rest[4096 - 16 * PORT_BUFFER_COUNT - 512 - 4 - 8 * PORT_BUFFER_COUNT];
} rings;

_Static_assert(sizeof(rings) == 4096, "one page for the rings of a queue");

typedef struct {
	uint32_t id;
	uint16_t event;
	uint16_t value;
} control;

static volatile uint32_t *transport;
static rings *queues;
static uint8_t *receiveBuffers, *sendBuffers;
static uint16_t seen[QUEUE_COUNT]; /* of the device's index */
static control controlIn[PORT_BUFFER_COUNT], controlOut;
static int receiveHeld = -1; /* buffer that the caller looks at */
static uint32_t sendBuffer; /* that is being filled */
static uint32_t sendFilled;
static uint16_t sendsUnderWay;

static void fence(void)
{
	__asm__ volatile("fence rw, rw" ::: "memory");
}

static void offer(uint32_t queue, uint16_t buffer)
{
	driver_ring *ring = &queues[queue].driver;
	ring->ring[ring->index % PORT_BUFFER_COUNT] = buffer;
	fence();
	ring->index = (uint16_t)(ring->index + 1);
	fence();
	transport[QUEUE_NOTIFY] = queue;
}

/* @returns the buffer that the device is done with, or -1 */
static int take(uint32_t queue, uint32_t *byteLength)
{
	device_ring *ring = &queues[queue].device;
	fence();
	if (ring->index == seen[queue])
		return -1;
	uint32_t at = seen[queue]++ % PORT_BUFFER_COUNT;
	fence();
	*byteLength = ring->ring[at].byteLength;
	return (int)ring->ring[at].id;
}

static void acknowledge(void)
{
	uint32_t status = transport[INTERRUPT_STATUS];
	if (status != 0)
		transport[INTERRUPT_ACKNOWLEDGE] = status;
}

static void describe(uint32_t queue, uint16_t buffer, const void *bytes, uint32_t byteLength, uint16_t flags)
{
	queues[queue].descriptors[buffer] = (descriptor){ (uint32_t)bytes, byteLength, flags, 0 };
}

static void open_queue(uint32_t queue)
{
	transport[QUEUE_SELECT] = queue;
	transport[QUEUE_SIZE] = PORT_BUFFER_COUNT;
	const void *parts[3] = { queues[queue].descriptors, &queues[queue].driver, &queues[queue].device };
	const int registers[3] = { QUEUE_DESCRIPTORS, QUEUE_DRIVER, QUEUE_DEVICE };
	for (int i = 0; i < 3; i++) {
		transport[registers[i]] = (uint32_t)parts[i];
		transport[registers[i] + 1] = 0;
	}
	transport[QUEUE_READY] = 1;
}

static void say(uint32_t port, uint16_t event, uint16_t value)
{
	uint32_t byteLength;
	controlOut = (control){ port, event, value };
	describe(CONTROL_SEND, 0, &controlOut, sizeof controlOut, 0);
	offer(CONTROL_SEND, 0);
	while (take(CONTROL_SEND, &byteLength) < 0) {
	}
}

/* What the device tells of the port. The board that closes its end is gone: so is the power. */
static void hear(void)
{
	uint32_t byteLength;
	int buffer;
	while ((buffer = take(CONTROL_RECEIVE, &byteLength)) >= 0) {
		const control *heard = &controlIn[buffer];
		if (heard->event == PORT_OPEN && heard->id == 1 && heard->value == 0)
			machine_exit(MACHINE_EXIT_BOARD);
		offer(CONTROL_RECEIVE, (uint16_t)buffer);
	}
}

void port_open(uint8_t *buffers)
{
	uint32_t index = 0;
	for (; index < TRANSPORT_COUNT; index++) {
		transport = (volatile uint32_t *)TRANSPORT(index);
		if (transport[MAGIC] == 0x74726976 && transport[VERSION] == 2 && transport[DEVICE] == DEVICE_CONSOLE)
			break;
	}
	if (index == TRANSPORT_COUNT) {
		machine_print("no virtio-serial device of version 2\n");
		machine_exit(MACHINE_EXIT_FAILED);
	}
	queues = (rings *)buffers;
	receiveBuffers = buffers + QUEUE_COUNT * sizeof(rings);
	sendBuffers = receiveBuffers + PORT_BUFFER_COUNT * PORT_BUFFER_BYTES;
	memset(buffers, 0, QUEUE_COUNT * sizeof(rings));
	transport[STATUS] = 0;
	transport[STATUS] = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
	transport[DRIVER_FEATURES_SELECT] = 0;
	transport[DRIVER_FEATURES] = FEATURE_MULTIPORT;
	transport[DRIVER_FEATURES_SELECT] = 1;
	transport[DRIVER_FEATURES] = FEATURE_VERSION_1_HIGH;
	transport[STATUS] |= STATUS_FEATURES_OK;
	for (uint32_t queue = CONTROL_RECEIVE; queue < QUEUE_COUNT; queue++)
		open_queue(queue);
	transport[STATUS] |= STATUS_DRIVER_OK;
	machine_listen(TRANSPORT_INTERRUPT(index));
	for (uint16_t i = 0; i < PORT_BUFFER_COUNT; i++) {
		describe(CONTROL_RECEIVE, i, controlIn + i, sizeof(control), DESCRIPTOR_WRITE);
		offer(CONTROL_RECEIVE, i);
		describe(RECEIVE, i, receiveBuffers + i * PORT_BUFFER_BYTES, PORT_BUFFER_BYTES, DESCRIPTOR_WRITE);
		offer(RECEIVE, i);
	}
	say(0xFFFFFFFF, DEVICE_READY, 1);
	say(1, PORT_READY, 1);
	say(1, PORT_OPEN, 1);
}

size_t port_receive(const uint8_t **bytes)
{
	uint32_t byteLength = 0;
	if (receiveHeld >= 0)
		offer(RECEIVE, (uint16_t)receiveHeld);
	while ((receiveHeld = take(RECEIVE, &byteLength)) < 0 || byteLength == 0) {
		if (receiveHeld >= 0) {
			offer(RECEIVE, (uint16_t)receiveHeld);
			continue;
		}
		acknowledge();
		hear();
		/* Between the look above and the acknowledgement something may have come. */
		fence();
		if (queues[RECEIVE].device.index == seen[RECEIVE])
			machine_idle();
	}
	*bytes = receiveBuffers + receiveHeld * PORT_BUFFER_BYTES;
	return byteLength;
}

void port_flush(void)
{
	uint32_t byteLength;
	if (sendFilled == 0)
		return;
	describe(SEND, (uint16_t)sendBuffer, sendBuffers + sendBuffer * PORT_BUFFER_BYTES, sendFilled, 0);
	offer(SEND, (uint16_t)sendBuffer);
	sendsUnderWay++;
	sendFilled = 0;
	sendBuffer = (sendBuffer + 1) % PORT_BUFFER_COUNT;
	/* The device gives buffers back in order; the next one must be free. */
	while (true) {
		while (take(SEND, &byteLength) >= 0)
			sendsUnderWay--;
		if (sendsUnderWay < PORT_BUFFER_COUNT)
			break;
		acknowledge();
		hear();
		fence();
		if (queues[SEND].device.index == seen[SEND])
			machine_idle();
	}
}

void port_send(const void *bytes, size_t byteLength)
{
	const uint8_t *from = bytes;
	while (byteLength > 0) {
		size_t length = PORT_BUFFER_BYTES - sendFilled < byteLength ? PORT_BUFFER_BYTES - sendFilled : byteLength;
		memcpy(sendBuffers + sendBuffer * PORT_BUFFER_BYTES + sendFilled, from, length);
		sendFilled += (uint32_t)length;
		from += length;
		byteLength -= length;
		if (sendFilled == PORT_BUFFER_BYTES)
			port_flush();
	}
}

/*
 * The byte stream to the virtual board: a virtio-serial port (Virtual I/O Device 1.1, sections 4.2.2 and 5.3), polled. A
 * port, not a console: QEMU drops what a console sends while the other end is slow, and holds back what a port sends.
 */

#ifndef WATTLOCK_PORT_H
#define WATTLOCK_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Finds the device and opens port 1. Ends the emulator when there is none. @param buffers page-aligned memory, PORT_BYTES */
void port_open(uint8_t *buffers);
/* Waits for bytes. @returns how many, at least 1; they stay where `bytes` points until the next call */
size_t port_receive(const uint8_t **bytes);
/* Takes bytes into a buffer; a full one goes out. */
void port_send(const void *bytes, size_t byteLength);
/* What has been taken goes out now. */
void port_flush(void);

#define PORT_BUFFER_BYTES 4096
#define PORT_BUFFER_COUNT 16
/* A page for the rings of each queue, then the buffers of both directions. */
#define PORT_BYTES (6 * 4096 + 2 * PORT_BUFFER_COUNT * PORT_BUFFER_BYTES)

#endif

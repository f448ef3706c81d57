/**
 * A reliable byte stream to the network (TCP or TLS below it), as a host gives it. Events come back through
 * `LinkEvents`. All calls return at once.
 */
export interface Link {
	/** Starts connecting; `opened` or `closed` follows. Ignored while open or opening. */
	open(): void;
	/** Queues bytes; they are copied. @returns bytes taken, 0 when the send buffer is full (`writable` follows) */
	send(bytes: Uint8Array, byteLength: number): number;
	/** Closes; `closed` follows if it was open. */
	close(): void;
}

export interface LinkEvents {
	linkOpened(): void;
	/** `bytes` is valid only during the call. */
	linkReceived(bytes: Uint8Array, byteLength: number): void;
	linkWritable(): void;
	linkClosed(): void;
}

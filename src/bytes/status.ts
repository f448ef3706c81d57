/**
 * The one table of results for everything that came over a link or out of flash. A released code never changes
 * meaning; new ones go to the end. Every refusal is counted by its code (see `StatusCounters`).
 */
export const Status = Object.freeze({
	ok: 0,
	badLength: 1,
	badVersion: 2,
	badTag: 3,
	replayed: 4,
	storageFull: 5,
	badKind: 6,
	badValue: 7,
	badChecksum: 8,
	notFound: 9,
	notErased: 10,
	corrupt: 11,
	busy: 12,
	linkDown: 13,
	protocolError: 14,
	refusedByPeer: 15,
	timedOut: 16,
	outOfOrder: 17,
	unsupported: 18,
	clockInvalid: 19,
	/** The random source failed its health test, or was never seeded. */
	noEntropy: 20,
	/** The sender may not do this. */
	notAuthorised: 21,
	/** Its time is over. */
	expired: 22,
	/** Flash is older than what others remember of it. */
	rolledBack: 23,
} as const);
export type Status = (typeof Status)[keyof typeof Status];

/** Count of codes in `Status`; the counters below have one cell for each. */
export const STATUS_COUNT = 24;

const NAMES: readonly string[] = Object.freeze(Object.keys(Status));

/** The field name of a status code, or "unknown". */
export function statusName(status: number): string {
	return NAMES[status] ?? "unknown";
}

/** A bug of ours, never an answer to received bytes. Only a host's top level catches it, records the reason and restarts. */
export class InvariantError extends Error {
	override name = "InvariantError";
}

/** How often each status was returned; saturates at 2^32 - 1. 96 bytes. */
export class StatusCounters {
	readonly counts = new Uint32Array(STATUS_COUNT);

	/** Counts one result and returns it, so that a decoder's answer can be counted in passing. */
	count(status: Status): Status {
		const seen = this.counts[status]!;
		if (seen < 0xffff_ffff) this.counts[status] = seen + 1;
		return status;
	}
}

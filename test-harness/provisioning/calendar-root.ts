import { createHash, createHmac } from "node:crypto";

const HASH_BYTES = 16;
const DAY_SECONDS = 86_400;
/** Domain number of the head end's own chain (HORA section 2). */
const HEAD_END_DOMAIN = 0xffff;

function kdf(key: Buffer, label: string, context: Buffer): Buffer {
	return createHash("sha256")
		.update(Buffer.concat([key, Buffer.alloc(32 - key.length), Buffer.from(label), context]))
		.digest()
		.subarray(0, HASH_BYTES);
}

/**
 * T_0 of the head end's TESLA chain of a day, as HORA sections 2 and 3 have it. T_N = first 16 bytes of
 * HMAC-SHA-256(seed, "T" ‖ 65535 ‖ epoch).
 */
export function chainStart(seed: Uint8Array, epoch: number, intervalSeconds: number): Buffer {
	const day = Buffer.from([0x54, HEAD_END_DOMAIN >> 8, HEAD_END_DOMAIN & 0xff, epoch >> 8, epoch & 0xff]);
	let key: Buffer = createHmac("sha256", seed).update(day).digest().subarray(0, HASH_BYTES);
	const context = Buffer.from([HEAD_END_DOMAIN >> 8, HEAD_END_DOMAIN & 0xff, 0, epoch >> 8, epoch & 0xff, 0, 0]);
	for (let interval = Math.ceil(DAY_SECONDS / intervalSeconds); interval > 0; interval--) {
		context.writeUInt16BE(interval, 5);
		key = kdf(key, "T", context);
	}
	return key;
}

/** Root of the Merkle tree over T_0 of 2^levels days. */
export function calendarRoot(seed: Uint8Array, firstEpoch: number, levels: number, intervalSeconds: number): Buffer {
	let nodes = Array.from({ length: 2 ** levels }, (_, i) => {
		const epoch = firstEpoch + i;
		return kdf(chainStart(seed, epoch, intervalSeconds), "y", Buffer.from([(epoch >> 8) & 0xff, epoch & 0xff]));
	});
	for (let height = 1; height <= levels; height++)
		nodes = Array.from({ length: nodes.length / 2 }, (_, i) =>
			kdf(Buffer.concat([nodes[2 * i]!, nodes[2 * i + 1]!]), "z", Buffer.from([height, i >> 8, i & 0xff])),
		);
	return nodes[0]!;
}

import { createHash } from "node:crypto";
import { chainStart } from "../provisioning/calendar-root.js";
import type { Registry } from "./registry.js";
import type { AnchorMaker } from "./security.js";

const HASH_BYTES = 16;
const ANCHOR_TYPE = 0x02;

function kdf(key: Buffer, label: string, context: Buffer): Buffer {
	return createHash("sha256")
		.update(Buffer.concat([key, Buffer.alloc(32 - key.length), Buffer.from(label), context]))
		.digest()
		.subarray(0, HASH_BYTES);
}

/**
 * Anchors of the calendar that grows from a registry's seed: T_0 of the day, and its siblings up to the root.
 * @returns undefined for a day that the calendar does not have
 */
export function anchorMaker(registry: Registry): AnchorMaker {
	const { calendarFirstEpoch: first, calendarLevels: levels, teslaIntervalSeconds } = registry;
	const seed = registry.calendarSeed();
	let nodes: Buffer[][] | undefined;
	return (epoch, domain) => {
		let index = epoch - first;
		if (index < 0 || index >= 2 ** levels) return undefined;
		nodes ??= tree(seed, first, levels, teslaIntervalSeconds);
		const anchor = Buffer.alloc(22 + HASH_BYTES * levels);
		anchor[0] = ANCHOR_TYPE;
		anchor.writeUInt16BE(domain, 1);
		anchor.writeUInt16BE(epoch, 3);
		anchor[5] = levels;
		anchor.set(chainStart(seed, epoch, teslaIntervalSeconds), 6);
		for (let height = 0; height < levels; height++) {
			anchor.set(nodes[height]![index ^ 1]!, 22 + HASH_BYTES * height);
			index >>= 1;
		}
		return anchor;
	};
}

/** All nodes, leaves first. */
function tree(seed: Uint8Array, first: number, levels: number, intervalSeconds: number): Buffer[][] {
	const rows = [
		Array.from({ length: 2 ** levels }, (_, i) => {
			const epoch = first + i;
			return kdf(chainStart(seed, epoch, intervalSeconds), "y", Buffer.from([(epoch >> 8) & 0xff, epoch & 0xff]));
		}),
	];
	for (let height = 1; height <= levels; height++) {
		const below = rows[height - 1]!;
		rows.push(
			Array.from({ length: below.length / 2 }, (_, i) =>
				kdf(Buffer.concat([below[2 * i]!, below[2 * i + 1]!]), "z", Buffer.from([height, i >> 8, i & 0xff])),
			),
		);
	}
	return rows;
}

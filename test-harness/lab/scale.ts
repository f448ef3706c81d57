import { FastCrypto } from "../group-keys/fast-crypto.js";
import { HoraTree } from "../group-keys/hora/tree.js";
import { seededEntropy, seededNumbers } from "../group-keys/world.js";

export interface Scale {
	readonly leaves: number;
	readonly memoryBytes: number;
	readonly bytesPerSlot: number;
	readonly fillMilliseconds: number;
	/** One eviction, with all ticks of idle time done before. */
	readonly evictMillisecondsMean: number;
	readonly evictMillisecondsMax: number;
	/** One eviction with the ticks of 100 generations owed. */
	readonly owedMilliseconds: number;
	readonly settleMilliseconds: number;
}

/** Of this process alone: others may be busy. */
function processorMilliseconds(): number {
	const { user, system } = process.cpuUsage();
	return (user + system) / 1000;
}

/** The controller's tree at full size: processor time of this machine, and nothing is asserted. */
export function runScale(levels: number, seed: number, onProgress: (text: string) => void): Scale {
	const tree = new HoraTree(new FastCrypto(), 0, levels);
	const below = seededNumbers(seed, "scale");
	const random = seededEntropy(seed, "scale");
	const part = new Uint8Array(16);
	const draw = (into: Uint8Array, offset: number) => {
		random(part);
		into.set(part, offset);
	};
	const start = processorMilliseconds();
	onProgress(`${tree.slots} leaves: filling`);
	random(tree.keys.subarray(0, 16 * tree.slots));
	const leaf = new Uint8Array(16);
	for (let slot = 0; slot < tree.slots; slot++) {
		leaf[0] = slot;
		leaf[1] = slot >> 8;
		leaf[2] = slot >> 16;
		tree.enter(slot, leaf, tree.gd);
	}
	const fillMilliseconds = processorMilliseconds() - start;
	const evict = (): number => {
		let slot = below(tree.slots);
		while (!tree.isOccupied(tree.slots + slot)) slot = below(tree.slots);
		const before = processorMilliseconds();
		tree.patch(1, 0, [slot], false, draw);
		return processorMilliseconds() - before;
	};
	for (let i = 0; i < 12; i++) evict(); // the compiler warms up
	onProgress(`${tree.slots} leaves: settling`);
	const settleStart = processorMilliseconds();
	tree.settleAll();
	const settleMilliseconds = processorMilliseconds() - settleStart;
	const times = Array.from({ length: 10 }, evict);
	for (let i = 0; i < 90; i++) tree.tick();
	const owedMilliseconds = evict();
	return {
		leaves: tree.slots,
		memoryBytes: tree.memoryBytes,
		bytesPerSlot: tree.memoryBytes / tree.slots,
		fillMilliseconds,
		evictMillisecondsMean: times.reduce((sum, time) => sum + time, 0) / times.length,
		evictMillisecondsMax: Math.max(...times),
		owedMilliseconds,
		settleMilliseconds,
	};
}

export function writeScale(scale: Scale): string {
	const ms = (value: number) => `${value.toFixed(2)} ms`;
	return `controller, ${scale.leaves} leaves: ${scale.bytesPerSlot.toFixed(2)} B a slot; one eviction ${ms(scale.evictMillisecondsMean)} (most ${ms(scale.evictMillisecondsMax)}), with 100 generations of ticks owed ${ms(scale.owedMilliseconds)}; settling 12 generations in idle time ${ms(scale.settleMilliseconds)}; filling ${ms(scale.fillMilliseconds)}\n`;
}

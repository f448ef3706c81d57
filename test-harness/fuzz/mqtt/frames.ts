import { readdirSync } from "node:fs";
import { join } from "node:path";
import { bytes } from "../../unit/mqtt/machine-harness.js";
import { sequencesToClient } from "../../unit/mqtt/shared-sequences.js";
import { readSharedFile, sharedData } from "../../vectors/shared-data.js";

/** Valid frames of every type a client may meet; enough to start from where the shared data is absent. */
const OWN_SEEDS = [
	"20020000",
	"2003000000",
	"20 14 00 00 11 210002 2700000028 2500 2800 2a00 13000a",
	"40020001",
	"4003000110",
	"400b0001 00 07 26 0001 70 0001 71",
	"9003000101",
	"900400010001",
	"d000",
	"e000",
	"e0018b",
	"30 07 0003 612f62 6869",
	"32 0a 0003 612f62 0007 00 6869",
	"32 18 0005 746f706963 04d2 08 01 00 03 0003 782f79 7061796c",
	"34 09 0003 612f62 0007 6869",
	"50020001",
	"62020001",
	"70020001",
	"b0020001",
	"f000",
].map(bytes);

/** Frames to start from. */
export function seeds(): Uint8Array[] {
	const found: Uint8Array[] = [...OWN_SEEDS];
	const { folder, skip } = sharedData("mqtt");
	if (skip !== false) return found;
	for (const type of readdirSync(join(folder, "valid-raw")))
		for (const file of readdirSync(join(folder, "valid-raw", type)))
			found.push(new Uint8Array(readSharedFile("mqtt", `valid-raw/${type}/${file}`)));
	for (const { messages } of sequencesToClient().sequences)
		for (const message of messages) if (message.isSent) found.push(new Uint8Array(message.bytes));
	return found;
}

/** Mulberry32. */
export function generator(state: number): (below: number) => number {
	return (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * below);
	};
}

/** The frame with up to three changes. */
export function mutate(source: Uint8Array, random: (below: number) => number): Uint8Array {
	let result = Array.from(source);
	for (let count = random(4); count > 0; count--) {
		const at = random(result.length + 1);
		switch (random(7)) {
			case 0:
				result[at % Math.max(1, result.length)] = random(256);
				break;
			case 1:
				if (result.length > 0) result[at % result.length]! ^= 1 << random(8);
				break;
			case 2:
				result.splice(at, 0, ...Array.from({ length: random(6) }, () => random(256)));
				break;
			case 3:
				result.splice(at, random(6));
				break;
			case 4:
				result = result.concat(result.slice(at));
				break;
			case 5: // a remaining length that fits again
				if (result.length >= 2 && result.length < 130) result[1] = result.length - 2;
				break;
			default:
				if (result.length > 1) result[1] = [0, 0x7f, 0x80, 0xff][random(4)]!;
		}
	}
	return Uint8Array.from(result);
}

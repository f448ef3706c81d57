import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import { jumpOdometer, ODOMETER_STATE_BYTES, startOdometer } from "../../../src/key-store/odometer.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { seed } from "../../seed.js";
import {
	dayValue,
	meterOpen,
	meterSeal,
	openWorld,
	PROVISIONING,
	provisioned,
	Server,
} from "../../unit/key-store/world.js";

const crypto = new NodeCrypto();
const DAY = PROVISIONING.epoch;
const anyRoot = fc.uint8Array({ minLength: 32, maxLength: 32 });
const anyEpochs = fc
	.uniqueArray(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 40 })), {
		minLength: 3,
		maxLength: 3,
	})
	.map((epochs) => epochs.sort((a, b) => a - b));

function start(root: Uint8Array, epoch: number): Uint8Array {
	const bytes = new Uint8Array(ODOMETER_STATE_BYTES + 32);
	bytes.set(root, ODOMETER_STATE_BYTES);
	startOdometer(crypto, bytes, 0, epoch, ODOMETER_STATE_BYTES);
	return bytes;
}

test("odometer: two jumps are one jump, and both are a fresh start at that day", () => {
	fc.assert(
		fc.property(anyRoot, anyEpochs, (root, [a, b, c]) => {
			const twice = start(root, a!);
			jumpOdometer(crypto, twice, 0, a!, b!, ODOMETER_STATE_BYTES);
			jumpOdometer(crypto, twice, 0, b!, c!, ODOMETER_STATE_BYTES);
			const once = start(root, a!);
			jumpOdometer(crypto, once, 0, a!, c!, ODOMETER_STATE_BYTES);
			assert.deepEqual(once, twice);
			assert.deepEqual(once, start(root, c!));
		}),
		{ seed, numRuns: 200 },
	);
});

test("odometer: no value from which an earlier day follows is left in the state", () => {
	fc.assert(
		fc.property(anyRoot, anyEpochs, (root, [a, , c]) => {
			const state = start(root, a!);
			jumpOdometer(crypto, state, 0, a!, c!, ODOMETER_STATE_BYTES);
			const kept = Buffer.from(state.subarray(0, ODOMETER_STATE_BYTES)).toString("hex");
			// By construction: each level's own value up to its digit leads to a day up to c; so do all those before it.
			const value = new Uint8Array(root);
			const look = () => assert.ok(!kept.includes(Buffer.from(value).toString("hex")), `${a} to ${c}`);
			for (let level = 0; level < 4; level++) {
				look();
				for (let i = (c! >> (12 - 4 * level)) & 15; i > 0; i--) {
					crypto.kdf(value, 0, 32, 0x6e, value, 0, 0, value, 0, 32);
					look();
				}
				if (level < 3) crypto.kdf(value, 0, 32, 0x64, value, 0, 0, value, 0, 32);
			}
			// and of 20 days before, the day's value itself
			for (let back = 0; back <= 20 && back <= c!; back++) {
				const day = Buffer.from(start(root, c! - back).subarray(ODOMETER_STATE_BYTES)).toString("hex");
				assert.ok(!kept.includes(day), `day ${c! - back}`);
			}
		}),
		{ seed, numRuns: 60 },
	);
});

test("store: after sealing, opening and rolling, memory holds no key of what is past", () => {
	fc.assert(
		fc.property(
			fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 20 }),
			fc.integer({ min: 1, max: 20 }),
			(steps, days) => {
				const { store, arena, flash } = provisioned();
				const server = new Server(0);
				let ups = 0;
				let downs = 0;
				for (const step of steps) {
					if (step === 0) {
						meterSeal(store, "x");
						ups++;
					} else {
						const sealed = server.seal("x");
						downs++;
						if (step === 2) {
							// delivered; step 1 is a loss
							assert.equal(meterOpen(store, sealed), "x");
							server.unicast.acknowledge(downs);
						}
					}
				}
				const accepted = store.downIndex(0);
				const past: string[] = [];
				for (const [label, count] of [
					[0x75, ups],
					[0x77, accepted],
				] as const) {
					const key = new Uint8Array(16);
					const message = new Uint8Array(16);
					const value = dayValue(0, DAY);
					past.push(Buffer.from(value).toString("hex"));
					crypto.kdf(value, 0, 32, label, value, 0, 0, key, 0, 16);
					for (let i = 0; i < count; i++) {
						crypto.kdf(key, 0, 16, 0x6d, key, 0, 0, message, 0, 16);
						past.push(Buffer.from(key).toString("hex"), Buffer.from(message).toString("hex"));
						crypto.kdf(key, 0, 16, 0x63, key, 0, 0, key, 0, 16);
					}
				}
				const check = (bytes: Uint8Array, where: string) => {
					const text = Buffer.from(bytes).toString("hex");
					for (const secret of past) assert.ok(!text.includes(secret), where);
				};
				check(arena.bytes, "memory");
				// What flash gives to someone who has the device key too.
				check(openWorld(flash).arena.bytes, "flash, decrypted");
				assert.ok(!Buffer.from(flash.image).includes(Buffer.from(past[0]!, "hex")));
				assert.equal(store.stageEpoch(DAY + days, true), Status.ok);
				assert.equal(store.commitEpoch(), Status.ok);
				assert.equal(store.endYesterday(), Status.ok);
				check(arena.bytes, "memory, later");
				check(openWorld(flash).arena.bytes, "flash, later");
			},
		),
		{ seed, numRuns: 40 },
	);
});

test("channel: loss, duplication, reordering, restarts and forgery never deliver twice nor use a key twice", () => {
	const step = fc.oneof(
		{ arbitrary: fc.record({ do: fc.constant("down" as const) }), weight: 4 },
		{ arbitrary: fc.record({ do: fc.constant("up" as const) }), weight: 4 },
		{
			arbitrary: fc.record({ do: fc.constantFrom("toMeter", "toServer"), which: fc.nat(), forge: fc.nat(9) }),
			weight: 10,
		},
		{ arbitrary: fc.record({ do: fc.constantFrom("restartMeter" as const, "restartServer" as const) }), weight: 1 },
	);
	fc.assert(
		fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
			const world = provisioned();
			let { store } = world;
			let server = new Server(0);
			const air = { toMeter: [] as Uint8Array[], toServer: [] as Uint8Array[] };
			const seen = new Set<string>();
			const headers = new Set<string>();
			let count = 0;
			for (const one of steps) {
				const text = `message ${count++}`;
				if (one.do === "down" || one.do === "up") {
					const sealed = one.do === "down" ? server.seal(text) : meterSeal(store, text);
					if (sealed.length === 0) continue;
					// Epoch, index, flags name the key.
					const header = Buffer.from(sealed.subarray(5, 10)).toString("hex");
					assert.ok(!headers.has(header), "one key, two messages");
					headers.add(header);
					air[one.do === "down" ? "toMeter" : "toServer"].push(sealed);
				} else if (one.do === "restartMeter") store = openWorld(world.flash).store;
				else if (one.do === "restartServer") {
					const { saved } = server;
					server = new Server(0, -1);
					assert.equal(server.unicast.restore(saved), Status.ok);
					server.saved = saved;
				} else if ("which" in one) {
					const to = one.do as "toMeter" | "toServer";
					const messages = air[to];
					if (messages.length === 0) continue;
					const bytes = messages[one.which % messages.length]!.slice();
					if (one.forge === 0) bytes[10 + (one.which % (bytes.length - 10))]! ^= 1;
					const answer = to === "toMeter" ? meterOpen(store, bytes) : server.open(bytes);
					if (typeof answer !== "string") continue;
					assert.notEqual(one.forge, 0, "a forgery was delivered");
					assert.ok(!seen.has(answer), `${answer} twice`);
					seen.add(answer);
					if (to === "toMeter") server.unicast.acknowledge(store.downIndex(0));
				}
			}
			// Both sides still meet: the newest message that waits, sent again, and then new ones.
			const last = air.toMeter.at(-1);
			if (last !== undefined) {
				const answer = meterOpen(store, last);
				assert.ok(typeof answer === "string" || answer === Status.replayed, `resync: ${answer}`);
				server.unicast.acknowledge(store.downIndex(0));
			}
			assert.equal(meterOpen(store, server.seal("down again")), "down again");
			assert.equal(server.open(meterSeal(store, "up again")), "up again");
		}),
		{ seed, numRuns: 60 },
	);
});

import { type BroadcastListener, BroadcastReceiver } from "../../src/broadcast/broadcast-receiver.js";
import { Status } from "../../src/bytes/status.js";
import type { Crypto } from "../../src/crypto/crypto.js";

/** Section `bench` of test-harness/vectors/broadcast/broadcast.json, as bytes. */
export interface BroadcastBenchMessages {
	readonly epoch: number;
	/** T_0 of both chains. */
	readonly headEndKey: Uint8Array;
	readonly concentratorKey: Uint8Array;
	/** BEACON of interval 2, BCAST of the same, BEACON of interval 4. */
	readonly first: Uint8Array;
	readonly broadcast: Uint8Array;
	readonly second: Uint8Array;
}

const DOMAIN = 0x1234;
const INTERVAL_SECONDS = 900;

/** Of KDF and hash, in each `run`. */
export const BROADCAST_BENCH_COMPRESSIONS = 12;

/**
 * For benchmarks on any engine, XS included: nothing of Node. Each call of `run` starts anew and takes a beacon, a broadcast
 * and the beacon that discloses the keys of both, up to handing them on.
 */
export class BroadcastBench implements BroadcastListener {
	readonly #receiver: BroadcastReceiver;
	readonly #messages: BroadcastBenchMessages;
	#heard = 0;

	constructor(crypto: Crypto, messages: BroadcastBenchMessages) {
		const random = { fill: () => Status.ok };
		const slots = { useSlot: () => Status.ok };
		this.#receiver = new BroadcastReceiver(crypto, random, slots, this, DOMAIN, INTERVAL_SECONDS);
		this.#messages = messages;
	}

	/** @returns whether beacon and broadcast were both handed on */
	run(): boolean {
		const { epoch, headEndKey, concentratorKey, first, broadcast, second } = this.#messages;
		const receiver = this.#receiver;
		const intervalMilliseconds = 1000 * INTERVAL_SECONDS;
		const start = (epoch * 96 + 1) * intervalMilliseconds;
		this.#heard = 0;
		receiver.forget();
		receiver.anchored(epoch, headEndKey);
		receiver.concentratorKey(epoch, 1, 0xffff, concentratorKey, 0);
		receiver.headEndTime(0, start, 0);
		receiver.concentratorTime(0, start, 0);
		receiver.receive(intervalMilliseconds, first, first.length);
		receiver.receive(intervalMilliseconds, broadcast, broadcast.length);
		receiver.receive(3 * intervalMilliseconds, second, second.length);
		return this.#heard === 2;
	}

	beacon(): void {
		this.#heard++;
	}

	broadcast(): void {
		this.#heard++;
	}

	flash(): void {}
}

import { BroadcastType, encodeBroadcastHeader } from "../../../src/broadcast/broadcast-messages.js";
import type { IntervalTiming } from "../../../src/broadcast/interval-timing.js";
import { ALL_DOMAINS, Chain } from "../../../src/broadcast/tesla.js";
import { SenderCrypto } from "../../broadcast/sender-crypto.js";
import { sign } from "../../broadcast/sign.js";
import { TeslaChain } from "../../broadcast/tesla-chain.js";
import { CONCENTRATOR_SEED, DOMAIN, HEAD_END_SEED, type Senders } from "../../unit/broadcast/world.js";

/** What forged broadcasts say. */
export const EVIL = "evil";

/**
 * Makes messages from what an adversary can know: every disclosed key, and, with a stolen concentrator, its whole chain. The
 * seed of the head end serves only to have the keys at hand; `forge` refuses what is not public yet.
 */
export class Attacker {
	readonly #senders: Senders;
	readonly #crypto = new SenderCrypto();
	readonly #headEnd: TeslaChain;
	readonly #stolen: TeslaChain;

	constructor(senders: Senders) {
		this.#senders = senders;
		const { timing } = senders.headEnd;
		this.#headEnd = new TeslaChain(this.#crypto, HEAD_END_SEED, ALL_DOMAINS, Chain.headEnd, timing);
		this.#stolen = new TeslaChain(this.#crypto, CONCENTRATOR_SEED, DOMAIN, Chain.concentrator, timing);
	}

	get #timing(): IntervalTiming {
		return this.#senders.headEnd.timing;
	}

	/** A broadcast of an interval whose key is public by now. */
	forge(number: number, counter: number): Uint8Array {
		if (number > this.#senders.number - this.#timing.disclosureDelay) throw new Error("nobody knows that key yet");
		return this.#broadcast(this.#headEnd, number, counter);
	}

	/** A broadcast of any interval, signed with the chain of a stolen concentrator. */
	forgeByConcentrator(number: number, counter: number): Uint8Array {
		return this.#broadcast(this.#stolen, number, counter);
	}

	/** A beacon of any interval, past or to come, signed by the stolen chain, with whatever key of the head end. */
	beaconByConcentrator(number: number, headEndLag: number, headEndKey: Uint8Array): Uint8Array {
		const message = Buffer.alloc(56);
		message[0] = BroadcastType.beacon;
		message.writeUInt16BE(DOMAIN, 1);
		message.writeUInt16BE(this.#timing.epochOf(number), 3);
		message.writeUInt16BE(this.#timing.intervalOf(number), 5);
		message[7] = headEndLag;
		message.set(this.#stolen.keyOf(number - this.#timing.disclosureDelay), 14);
		message.set(headEndKey, 30);
		sign(this.#crypto, this.#stolen, number, message);
		return message;
	}

	#broadcast(chain: TeslaChain, number: number, counter: number): Uint8Array {
		const message = Buffer.alloc(18 + EVIL.length);
		const interval = this.#timing.intervalOf(number);
		encodeBroadcastHeader({ type: BroadcastType.broadcast, domain: ALL_DOMAINS, interval, counter }, message);
		message.write(EVIL, 8);
		sign(this.#crypto, chain, number, message);
		return message;
	}
}

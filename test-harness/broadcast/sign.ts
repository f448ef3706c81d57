import { Label } from "../../src/broadcast/labels.js";
import {
	CHAIN_CONTEXT_BYTES,
	CHAIN_KEY_BYTES,
	MAC_BYTES,
	MAC_PREFIX_BYTES,
	startContext,
	stepKey,
	writeMac,
	writeMacPrefix,
} from "../../src/broadcast/tesla.js";
import type { Crypto } from "../../src/crypto/crypto.js";
import type { TeslaChain } from "./tesla-chain.js";

const EVERYONE = 0;

/** Writes the MAC of an interval into the last 10 bytes of a message. */
export function sign(crypto: Crypto, chain: TeslaChain, number: number, message: Uint8Array): void {
	const { domain, timing } = chain;
	const epoch = timing.epochOf(number);
	const context = new Uint8Array(CHAIN_CONTEXT_BYTES);
	const macKey = new Uint8Array(CHAIN_KEY_BYTES);
	startContext(context, domain, chain.chain, epoch);
	stepKey(crypto, Label.macKey, context, timing.intervalOf(number) + 1, chain.keyOf(number), 0, macKey, 0);
	const signed = message.length - MAC_BYTES;
	const covered = new Uint8Array(MAC_PREFIX_BYTES + signed);
	writeMacPrefix(covered, 0, epoch, domain, EVERYONE);
	covered.set(message.subarray(0, signed), MAC_PREFIX_BYTES);
	writeMac(crypto, macKey, 0, covered, 0, covered.length, new Uint8Array(20), message, signed);
	macKey.fill(0);
}

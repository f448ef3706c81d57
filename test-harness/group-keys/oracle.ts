import type { Status } from "../../src/bytes/status.js";
import type { Aead, Crypto, KeyWrap } from "../../src/crypto/crypto.js";
import { TreeLabel } from "../../src/group-keys/hora/labels.js";
import { CountingCrypto } from "./counting-crypto.js";

/** Who knows all premises learns the conclusion. Terms are values: 16 or 32 bytes as hexadecimal. */
interface Rule {
	readonly premises: readonly string[];
	readonly conclusion: string;
}

function hex(bytes: Uint8Array, offset: number, byteLength: number): string {
	return Buffer.from(bytes.buffer, bytes.byteOffset + offset, byteLength).toString("hex");
}

/**
 * A symbolic attacker over the real code: it listens to what a controller computes, and keeps each derivation and each
 * ciphertext as a rule. Hashes are one-way and ciphers tight by assumption; who holds which value is not assumed, it is
 * closed over. So a history that was run on bytes is also proven against every coalition: the closure is monotone, and
 * the largest coalition covers all smaller ones. The method is that of the design's closure.py, without a second model.
 */
export class Oracle extends CountingCrypto {
	readonly #rules: Rule[] = [];
	readonly #seen = new Set<string>();
	/** Values that a hash was asked of: what a decrypted r must be among. */
	readonly #inputs = new Set<string>();
	readonly #pads: string[] = [];

	#add(premises: readonly string[], conclusion: string): void {
		const name = `${premises.join()} ${conclusion}`;
		if (this.#seen.has(name)) return;
		this.#seen.add(name);
		this.#rules.push({ premises, conclusion });
	}

	override kdf(...args: Parameters<Crypto["kdf"]>): void {
		const [key, keyOffset, keyBytes, label, context, contextOffset, contextBytes, into, intoOffset, intoBytes] = args;
		const first = hex(key, keyOffset, Math.min(16, keyBytes));
		const isPair = keyBytes === 32 && (label === TreeLabel.mix || label === 0x66);
		// A pair of keys is two premises; any other 32 bytes are one value.
		const premises = isPair ? [first, hex(key, keyOffset + 16, 16)] : [hex(key, keyOffset, keyBytes)];
		void context;
		void contextOffset;
		void contextBytes;
		super.kdf(...args);
		if (intoBytes < 16) return;
		const conclusion = hex(into, intoOffset, intoBytes);
		for (const premise of premises) this.#inputs.add(premise);
		this.#add(premises, conclusion);
		if (label === TreeLabel.pad) this.#pads.push(conclusion);
	}

	override hkdf(...args: Parameters<Crypto["hkdf"]>): Status {
		const secret = hex(args[3], args[4], args[5]);
		const status = super.hkdf(...args);
		this.#add([secret], hex(args[9], args[10], args[11]));
		return status;
	}

	override createCcm(nonceBytes: number, tagBytes: number): Aead {
		const inner = super.createCcm(nonceBytes, tagBytes);
		let key = "";
		return {
			setKey: (bytes, offset) => {
				key = hex(bytes, offset, 16);
				inner.setKey(bytes, offset);
			},
			seal: (...args) => {
				this.#add([key], hex(args[5], args[6], args[7]));
				return inner.seal(...args);
			},
			open: (...args) => inner.open(...args),
			close: () => inner.close(),
		};
	}

	override createKeyWrap(): KeyWrap {
		const inner = super.createKeyWrap();
		let key = "";
		return {
			setKey: (bytes, offset) => {
				key = hex(bytes, offset, 16);
				inner.setKey(bytes, offset);
			},
			wrap: (...args) => {
				this.#add([key], hex(args[0], args[1], args[2]));
				return inner.wrap(...args);
			},
			unwrap: (...args) => inner.unwrap(...args),
			close: () => inner.close(),
		};
	}

	/**
	 * HORA messages went on air: what pads open in them. The xor is not the crypto's, so every pad since the last call is
	 * tried on every ciphertext, and what comes out is right if a hash was asked of it.
	 * @param messages any bytes; ciphertexts are looked for at every place
	 */
	onAir(messages: readonly Uint8Array[]): void {
		for (const pad of this.#pads.splice(0)) {
			const mask = Buffer.from(pad, "hex");
			for (const message of messages)
				for (let at = 0; at + 16 <= message.length; at++) {
					const opened = Buffer.alloc(16);
					for (let k = 0; k < 16; k++) opened[k] = message[at + k]! ^ mask[k]!;
					const value = opened.toString("hex");
					if (this.#inputs.has(value)) this.#add([pad], value);
				}
		}
	}

	get ruleCount(): number {
		return this.#rules.length;
	}

	/** All that follows from some values and from everything that was on air. */
	close(initial: Iterable<string>): Set<string> {
		const known = new Set(initial);
		const uses = new Map<string, number[]>();
		const missing = this.#rules.map(({ premises }) => new Set(premises).size);
		for (const [index, { premises }] of this.#rules.entries())
			for (const premise of new Set(premises)) {
				const list = uses.get(premise);
				if (list) list.push(index);
				else uses.set(premise, [index]);
			}
		const queue = [...known];
		for (let term = queue.pop(); term !== undefined; term = queue.pop())
			for (const index of uses.get(term) ?? []) {
				if (--missing[index]! > 0) continue;
				const { conclusion } = this.#rules[index]!;
				if (known.has(conclusion)) continue;
				known.add(conclusion);
				queue.push(conclusion);
			}
		return known;
	}
}

/** Every 16 bytes at multiples of `step` in a range: the keys in a message or a state, and some that are none. */
export function valuesOf(bytes: Uint8Array, step = 1): string[] {
	const found: string[] = [];
	for (let at = 0; at + 16 <= bytes.length; at += step) found.push(hex(bytes, at, 16));
	return found;
}

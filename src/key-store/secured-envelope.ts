import type { Status } from "../bytes/status.js";
import type { Branch } from "./chains.js";
import type { KeyStore } from "./key-store.js";
import { UNICAST_OVERHEAD_BYTES } from "./unicast.js";

/**
 * The secured channel in the shape of `Envelope` (src/messages), which this room may not name: same members, so it goes
 * wherever one is wanted. Seals under one branch and type; opens what comes on either branch.
 */
export class SecuredEnvelope {
	readonly overheadBytesMax = UNICAST_OVERHEAD_BYTES;
	readonly #store: KeyStore;
	readonly #branch: Branch;
	readonly #type: number;

	constructor(store: KeyStore, branch: Branch, type: number) {
		this.#store = store;
		this.#branch = branch;
		this.#type = type;
	}

	/** See `Envelope.seal`, `KeyStore.sealMessage`. */
	seal(message: Uint8Array, byteLength: number, into: Uint8Array): number {
		return this.#store.sealMessage(this.#branch, this.#type, message, byteLength, into);
	}

	/** See `Envelope.open`, `KeyStore.openMessage`. */
	open(sealed: Uint8Array, byteLength: number, into: Uint8Array): Status {
		return this.#store.openMessage(sealed, byteLength, into);
	}

	get openedByteLength(): number {
		return this.#store.openedByteLength;
	}
}

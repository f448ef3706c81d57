import type { Aead, Crypto } from "../../../src/crypto/crypto.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

/** Counts compressions of the key hierarchy, and messages that the cipher was asked to open. */
export class CountingCrypto extends NodeCrypto implements Crypto {
	kdfs = 0;
	opens = 0;

	override kdf(...args: Parameters<Crypto["kdf"]>): void {
		this.kdfs++;
		super.kdf(...args);
	}

	override createCcm(nonceBytes: number, tagBytes: number): Aead {
		const aead = super.createCcm(nonceBytes, tagBytes);
		const open = aead.open.bind(aead);
		aead.open = (...args) => {
			this.opens++;
			return open(...args);
		};
		return aead;
	}
}

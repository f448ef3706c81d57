import type { Crypto } from "../../../src/crypto/crypto.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

/** Counts compressions of the key hierarchy. */
export class CountingCrypto extends NodeCrypto implements Crypto {
	kdfs = 0;

	override kdf(...args: Parameters<Crypto["kdf"]>): void {
		this.kdfs++;
		super.kdf(...args);
	}
}

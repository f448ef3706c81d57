import { InvariantError, Status } from "../../../src/bytes/status.js";
import { LmsVerifier } from "../../../src/crypto/lms.js";
import { type NativeCrypto, WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";

/** What the runner is asked, one JSON object a line; bytes as hexadecimal digits. */
export interface LmsRequest {
	readonly crypto: "noble" | "native";
	readonly times: number;
	readonly publicKey: string;
	readonly message: string;
	readonly signature: string;
}

const root = globalThis as unknown as {
	readonly wattlockHost: NativeCrypto;
	wattlockStart: (line: string) => string;
};

/** XS 13.3 has no Uint8Array.fromHex. */
function bytesOf(text: string): Uint8Array {
	return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** Verifies so many times; 0: prepares only. Answers with the compressions of the last. */
root.wattlockStart = (line) => {
	const request = JSON.parse(line) as LmsRequest;
	const crypto = request.crypto === "noble" ? new NobleCrypto() : new WrappedNativeCrypto(root.wattlockHost);
	const key = bytesOf(request.publicKey);
	const message = bytesOf(request.message);
	const signature = bytesOf(request.signature);
	const verifier = new LmsVerifier(crypto);
	if (verifier.setPublicKey(key, 0, key.length) !== Status.ok) throw new InvariantError("no such key");
	for (let i = 0; i < request.times; i++) {
		const status = verifier.verify(message, 0, message.length, signature, 0, signature.length);
		if (status !== Status.ok) throw new InvariantError(`status ${status}`);
	}
	return String(verifier.compressions);
};

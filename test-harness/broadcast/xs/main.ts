import type { Crypto } from "../../../src/crypto/crypto.js";
import { type NativeCrypto, WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { BroadcastBench } from "../bench-entry.js";

/** One JSON object a line: the messages in hexadecimal, once for each implementation, then how often to run. */
export interface BroadcastRequest {
	readonly crypto: "noble" | "native";
	readonly times: number;
	readonly epoch: number;
	readonly headEndKey: string;
	readonly concentratorKey: string;
	readonly first: string;
	readonly broadcast: string;
	readonly second: string;
}

const root = globalThis as unknown as {
	readonly wattlockHost: NativeCrypto;
	wattlockStart: (line: string) => string;
};

function bytesOf(hex: string): Uint8Array {
	return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/** Answers with how many runs handed on both messages. */
root.wattlockStart = (line) => {
	const request = JSON.parse(line) as BroadcastRequest;
	const clone = globalThis as unknown as { wattlockBenches?: Partial<Record<string, BroadcastBench>> };
	const benches = (clone.wattlockBenches ??= {});
	let bench = benches[request.crypto];
	if (!bench) {
		const crypto: Crypto = request.crypto === "noble" ? new NobleCrypto() : new WrappedNativeCrypto(root.wattlockHost);
		bench = benches[request.crypto] = new BroadcastBench(crypto, {
			epoch: request.epoch,
			headEndKey: bytesOf(request.headEndKey),
			concentratorKey: bytesOf(request.concentratorKey),
			first: bytesOf(request.first),
			broadcast: bytesOf(request.broadcast),
			second: bytesOf(request.second),
		});
	}
	let heard = 0;
	for (let i = 0; i < request.times; i++) if (bench.run()) heard++;
	return String(heard);
};

import { Status } from "../../../src/bytes/status.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { type NativeCrypto, WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { findScheme } from "../../../src/group-keys/registry.js";
import type { GroupKeyScheme, GroupSizes, Way } from "../../../src/group-keys/scheme.js";

/** What the runner is asked, one JSON object a line. */
export interface MemberRequest {
	readonly crypto: "noble" | "native";
	readonly scheme: string;
	/** A new member with these leaf keys, by group; without it the one before goes on. */
	readonly start?: { readonly sizes: GroupSizes; readonly epoch: number; readonly leafKeys: readonly string[] };
	readonly messages: readonly { readonly way: Way; readonly bytes: string }[];
	/** The messages wait for the next request: reading the line is not to be measured. */
	readonly isPrepared?: boolean;
}

/** What it answers: a status for each message, and the probe key of the domain. */
export interface MemberAnswer {
	readonly statuses: readonly Status[];
	readonly generation: number;
	readonly key: string;
	readonly stateBytes: number;
}

const root = globalThis as unknown as {
	readonly wattlockHost: NativeCrypto;
	wattlockStart: (line: string) => string;
};

class State {
	member: GroupKeyScheme | undefined;
	waiting: { readonly way: Way; readonly bytes: Uint8Array }[] = [];
}

function fromHex(text: string): Uint8Array {
	const bytes = new Uint8Array(text.length / 2);
	for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
	return bytes;
}

function toHex(bytes: Uint8Array): string {
	let text = "";
	for (let i = 0; i < bytes.length; i++) text += (bytes[i]! + 256).toString(16).slice(1);
	return text;
}

root.wattlockStart = (line) => {
	const request = JSON.parse(line) as MemberRequest;
	const state = ((globalThis as unknown as { groupState?: State }).groupState ??= new State());
	const { start } = request;
	if (start) {
		const crypto: Crypto = request.crypto === "noble" ? new NobleCrypto() : new WrappedNativeCrypto(root.wattlockHost);
		const member = findScheme(request.scheme)!.create(crypto, start.sizes);
		const keys = {
			deriveLeafKey(tree: number, into: Uint8Array, offset: number): Status {
				into.set(fromHex(start.leafKeys[tree]!), offset);
				return Status.ok;
			},
		};
		member.stageDay(start.epoch, keys, true);
		member.commit();
		state.member = member;
	}
	const member = state.member!;
	const statuses: Status[] = [];
	for (const { way, bytes } of request.messages) state.waiting.push({ way, bytes: fromHex(bytes) });
	if (!request.isPrepared) {
		for (const { way, bytes } of state.waiting) {
			const status = member.stage(way, bytes, bytes.length);
			if (status === Status.ok) member.commit();
			statuses.push(status);
		}
		state.waiting = [];
	}
	const key = new Uint8Array(16);
	const generation = member.generation(0);
	member.exportKey(0, generation, Uint8Array.of(0x44, 1, 0, 7), key);
	return JSON.stringify({ statuses, generation, key: toHex(key), stateBytes: member.memberStateBytes });
};

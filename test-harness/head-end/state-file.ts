import { existsSync, readFileSync } from "node:fs";
import type { SenderStore } from "../broadcast/sender-clock.js";
import { writeSecret } from "../provisioning/sealed-file.js";
import { UserError } from "../user-error.js";

/** A small state that must not be forgotten, as JSON: written whole, synced, renamed. Nothing secret. */
export function stateFile<State>(path: string): SenderStore<State> {
	return {
		load() {
			if (!existsSync(path)) return undefined;
			try {
				return JSON.parse(readFileSync(path, "utf8")) as State;
			} catch {
				throw new UserError(`${path} is damaged: what was sent is not known any more`);
			}
		},
		save(state) {
			writeSecret(path, Buffer.from(JSON.stringify(state)));
		},
	};
}

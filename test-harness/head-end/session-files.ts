import { join } from "node:path";

/** Where the end-to-end sessions of a registry lie; who has the lock is the only one who seals under them. */
export function sessionsPath(folder: string): string {
	return join(folder, "sessions.log");
}

export function sessionsLockPath(folder: string): string {
	return join(folder, "sessions.lock");
}

/** For the message to somebody who comes second. */
export const SESSIONS_NAME = "the head end's sessions";

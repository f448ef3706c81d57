import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { UserError } from "../user-error.js";

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
}

/** When a process began, in ticks since the computer did; empty where that cannot be told. A pid comes again, this does not. */
function startOf(pid: number): string {
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
		return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
	} catch {
		return "";
	}
}

/** Who holds `path`: a pid, or 0 when nobody does. A file that a dead process left is removed. */
function holder(path: string): number {
	let text: string;
	try {
		text = readFileSync(path, "utf8");
	} catch {
		return 0;
	}
	const pid = Number.parseInt(text, 10);
	// An empty file is one that is being written this very moment, or whose writer died at once: the caller tries again.
	if (Number.isNaN(pid)) return -1;
	const started = text.split(" ")[1]?.trim() ?? "";
	const isSame = started === "" || startOf(pid) === "" || startOf(pid) === started;
	if (isSame && (pid === process.pid || isAlive(pid))) return pid;
	try {
		unlinkSync(path);
	} catch {
		// another one removed it first
	}
	return 0;
}

const held = new Set<string>();

/**
 * Makes a file that only one process has at a time, with its pid in it. A process that dies leaves it; the next one
 * notices.
 * @param what for the message: "the registry", "the sessions of the head end"
 * @param waitMilliseconds how long to wait for another process
 * @returns gives it back
 * @throws UserError when another process has it
 */
export function holdExclusively(path: string, what: string, waitMilliseconds = 0): () => void {
	const deadline = performance.now() + waitMilliseconds;
	for (;;) {
		try {
			const file = openSync(path, "wx", 0o600);
			writeSync(file, `${process.pid} ${startOf(process.pid)}\n`);
			closeSync(file);
			held.add(path);
			return () => {
				if (!held.delete(path)) return;
				unlinkSync(path);
			};
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
		}
		// the same pid after a restart of the computer or a container is not ours
		const pid = holder(path);
		if (pid === process.pid && !held.has(path)) {
			unlinkSync(path);
			continue;
		}
		if (pid === 0) continue;
		if (performance.now() >= deadline)
			throw new UserError(`${what} is in use by process ${pid > 0 ? pid : "?"} (${path}); end it first`);
		Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
	}
}

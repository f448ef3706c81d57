import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../user-error.js";
import type { ImageView, UpdateView } from "./updates.js";

export interface SendFirmwareOptions {
	/** The image file. */
	readonly bytes: Uint8Array;
	/** Of the head end. */
	readonly url: string;
	/** Absent: all that the head end knows. */
	readonly meters?: readonly string[];
	readonly activate: boolean;
	/** Until every meter is through. */
	readonly wait: boolean;
	readonly say: (line: string) => void;
	readonly progress: (line: string) => void;
	readonly progressEnd: () => void;
	/** Between two looks at it. Default 1000. */
	readonly pollMilliseconds?: number;
}

/** So long the head end may be away while it is watched: it may start anew, and goes on by itself. */
const AWAY_SECONDS_MAX = 60;

/** Nobody answers. */
class AwayError extends UserError {}

const DONE: ReadonlySet<string> = new Set(["confirmed", "stored"]);

/**
 * Orders an image at a running head end, and says how it goes.
 * @returns exit code: 0 every meter has it, 1 one has not
 * @throws UserError when nothing could be ordered
 */
export async function sendFirmware(options: SendFirmwareOptions): Promise<number> {
	const { url, activate, say } = options;
	const base = url.replace(/\/+$/, "");
	const image = await ask<ImageView>(base, "POST", "/api/firmware", options.bytes);
	const known = (await ask<{ id: string }[]>(base, "GET", "/api/meters")).map(({ id }) => id);
	const meters = options.meters ?? known;
	const unknown = meters.filter((id) => !known.includes(id));
	if (unknown.length > 0) throw new UserError(`the head end knows no meter ${unknown.join(", ")}`);
	if (meters.length === 0) throw new UserError("the head end knows no meter yet");
	say(`firmware ${image.firmware} for ${image.target}, ${image.bodyBytes} bytes in ${image.blockCount} blocks`);
	for (const id of meters) await ask(base, "POST", `/api/meters/${id}/firmware`, { image: image.image, activate });
	say(`ordered for ${meters.length} meters`);
	if (!options.wait) return 0;
	const told = new Map<string, UpdateView>();
	let heardAt = performance.now();
	while (told.size < meters.length) {
		await sleep(options.pollMilliseconds ?? 1000);
		let updates: UpdateView[];
		try {
			({ updates } = await ask<{ updates: UpdateView[] }>(base, "GET", "/api/firmware"));
			heardAt = performance.now();
		} catch (error) {
			const awaySeconds = (performance.now() - heardAt) / 1000;
			if (!(error instanceof AwayError) || awaySeconds > AWAY_SECONDS_MAX) throw error;
			options.progress(`the head end has been away for ${awaySeconds.toFixed(0)} s`);
			continue;
		}
		const mine = updates.filter((update) => meters.includes(update.meter));
		for (const update of mine) {
			if (update.image !== image.image)
				throw new UserError(`meter ${update.meter}: another image was ordered meanwhile`);
			if (!update.isEnded || told.has(update.meter)) continue;
			told.set(update.meter, update);
			options.progressEnd();
			say(describe(update));
		}
		if (told.size < meters.length) options.progress(summary(mine));
	}
	options.progressEnd();
	return [...told.values()].every(({ phase }) => DONE.has(phase)) ? 0 : 1;
}

function describe(update: UpdateView): string {
	const { meter, phase, reason, commands, commandBytes, flashErases } = update;
	const cost = `${commands} commands, ${commandBytes} bytes; flash erases: ${flashErases.keys} for keys, ${flashErases.image} for the image`;
	return `${meter}: ${phase}${reason === null ? "" : `: ${reason}`} (${cost})`;
}

/** How many are where, and how much of all blocks is there. */
function summary(updates: readonly UpdateView[]): string {
	const counts = new Map<string, number>();
	let blocks = 0;
	let there = 0;
	for (const { phase, blockCount, blocksMissing } of updates) {
		counts.set(phase, (counts.get(phase) ?? 0) + 1);
		blocks += blockCount;
		if (phase !== "queued" && phase !== "offered") there += blockCount - (blocksMissing ?? 0);
	}
	const phases = [...counts].map(([phase, count]) => `${count} ${phase}`).join(", ");
	return `${phases}; ${blocks === 0 ? 0 : Math.floor((100 * there) / blocks)} % of the blocks`;
}

async function ask<T>(base: string, method: string, path: string, given?: Uint8Array | object): Promise<T> {
	const isFile = given instanceof Uint8Array;
	let answer: Response;
	try {
		answer = await fetch(`${base}${path}`, {
			method,
			...(given === undefined
				? {}
				: {
						body: isFile ? (given as Uint8Array<ArrayBuffer>) : JSON.stringify(given),
						headers: { "content-type": isFile ? "application/octet-stream" : "application/json" },
					}),
		});
	} catch {
		throw new AwayError(`no head end answers at ${base}: name it with --url`);
	}
	const result = (await answer.json().catch(() => ({}))) as T & { error?: string };
	if (!answer.ok) throw new UserError(`the head end refuses: ${result.error ?? `HTTP ${answer.status}`}`);
	return result;
}

import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Status, statusName } from "../../src/bytes/status.js";
import { MARK_SECTORS } from "../../src/firmware-update/slot.js";
import {
	BODY_BYTES_MAX,
	createUpdateStatus,
	decodeUpdateStatus,
	encodeUpdateData,
	encodeUpdateOffer,
	encodeUpdateOrder,
	UPDATE_BLOCK_BYTES,
	UPDATE_SIGNATURE_PART_BYTES_MAX,
	UpdateResult,
	UpdateState,
	type UpdateStatus,
} from "../../src/messages/firmware-update.js";
import { Kind, MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import { SECTOR_BYTES } from "../../src/storage/layout.js";
import type { SenderStore } from "../broadcast/sender-clock.js";
import { writeSecret } from "../provisioning/sealed-file.js";
import { checkImage, decodeImageFile, type ImageFile, targetName } from "../signer/image-file.js";
import { UserError } from "../user-error.js";
import type { Fleet } from "./fleet.js";
import type { MeterState } from "./meter-state.js";
import type { Registry } from "./registry.js";
import { stateFile } from "./state-file.js";

/** Largest image file: manifest, the longest signature, body. */
export const IMAGE_FILE_BYTES_MAX = BODY_BYTES_MAX + 8192;

/** How an update may go on: `ended` ones are final until it is ordered again. */
export type UpdatePhase =
	| "queued"
	| "offered"
	| "sending"
	| "verified"
	| "activating"
	| "trial"
	| "confirmed"
	| "stored"
	| "rolledBack"
	| "failed"
	| "cancelled";

const ENDED: ReadonlySet<UpdatePhase> = new Set(["confirmed", "stored", "rolledBack", "failed", "cancelled"]);

/** One image at one meter, as kept in `updates.json`: nothing of how far the blocks are, for the meter tells that. */
export interface UpdateRecord {
	readonly meter: string;
	/** imageId, 8 hexadecimal digits. */
	readonly image: string;
	activate: boolean;
	phase: UpdatePhase;
	/** Why it ended so. */
	reason: string | null;
	readonly orderedUtcSeconds: number;
	endedUtcSeconds: number | null;
	offers: number;
	activations: number;
	/** COMMANDs that were sealed, and the bytes in them. */
	commands: number;
	commandBytes: number;
	blocks: number;
	/** Messages that did not fit the meter's window, and were left for later. */
	held: number;
	statuses: number;
	/** What the meter refused, by name. */
	refusals: Record<string, number>;
}

interface UpdatesState {
	readonly version: 1;
	readonly updates: UpdateRecord[];
}

export interface ImageView {
	image: string;
	firmware: string;
	target: string;
	securityVersion: number;
	bodyBytes: number;
	blockCount: number;
}

export interface UpdateView extends UpdateRecord {
	firmware: string;
	isEnded: boolean;
	blockCount: number;
	/** null: the meter has not told. */
	blocksMissing: number | null;
	/** Erases of the meter's flash: one for each COMMAND by the key journal, and those of the area of the image. */
	flashErases: { keys: number; image: number };
}

export interface UpdatesOptions {
	readonly fleet: Fleet;
	readonly registry: Registry;
	/** Of the state and of the images. */
	readonly folder: string;
}

const STEP_SECONDS = 1;
/** What was sent is written so often; the rest of the state at once. */
const SAVE_SECONDS = 10;
/** With the question after them well within the meter's window of 32: other commands find room. */
const BLOCKS_AT_ONCE = 16;
/** More than these wait for their turn: the way to the meters belongs to readings, too. */
const METERS_AT_ONCE = 16;
const ANSWER_SECONDS = 60;
const ANSWER_SECONDS_MAX = 600;
/** A meter that was silent for so many questions keeps nobody else waiting. */
const UNANSWERED_MAX = 3;
/** While the meter works by itself; it tells when it has done. */
const WORK_SECONDS = 5;
const RESTART_SECONDS = 30;
const TRIAL_SECONDS = 15;
const WINDOW_SECONDS = 5;
const BUSY_SECONDS = 60;
const OFFERS_MAX = 5;
const ACTIVATIONS_MAX = 5;

/** The same offer would be answered in the same way. */
const FINAL: ReadonlySet<number> = new Set([
	Status.notAuthorised,
	Status.unsupported,
	Status.replayed,
	Status.expired,
	Status.notFound,
]);

/** In words for whoever ordered it. */
const REASONS: Readonly<Record<number, string>> = Object.freeze({
	[Status.notAuthorised]: "the meter trusts another update key",
	[Status.unsupported]: "the meter cannot run an image of this target, or starts nothing out of flash",
	[Status.replayed]: "the meter runs this version already",
	[Status.expired]: "the version or securityVersion is below the meter's",
	[Status.notFound]: "the meter was given no update key; renew its keys",
});

class Update {
	readonly record: UpdateRecord;
	/** What the meter told last, until something was sent upon it. */
	status: UpdateStatus | undefined;
	/** requestId of the question that is open; 0: none. */
	awaited = 0;
	answerBySeconds = 0;
	unanswered = 0;
	notBeforeSeconds = 0;
	blocksMissing: number | null = null;

	constructor(record: UpdateRecord) {
		this.record = record;
	}

	get isEnded(): boolean {
		return ENDED.has(this.record.phase);
	}
}

/**
 * Firmware for meters. The meter says what it has and what is missing, and the head end sends that: a few blocks, a
 * question, and on with the answer. So neither a restart here nor a power cut there loses more than a few messages, and
 * what is kept here is who shall get what.
 */
export class Updates {
	readonly #fleet: Fleet;
	readonly #registry: Registry;
	readonly #folder: string;
	readonly #file: SenderStore<UpdatesState>;
	readonly #updates = new Map<string, Update>();
	readonly #images = new Map<string, ImageFile>();
	readonly #outgoing = new Uint8Array(MESSAGE_BYTES_MAX);
	readonly #view = new DataView(this.#outgoing.buffer);
	#requestId = randomInt(0x1_0000);
	#isDirty = false;
	#savedSeconds = 0;
	#isCounting = false;

	/** @throws UserError when the state is damaged */
	constructor(options: UpdatesOptions) {
		this.#fleet = options.fleet;
		this.#registry = options.registry;
		this.#folder = join(options.folder, "firmware");
		mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
		this.#file = stateFile<UpdatesState>(join(options.folder, "updates.json"));
		const state = this.#file.load();
		if (state !== undefined && state.version !== 1) throw new UserError("updates.json is of a newer version");
		for (const record of state?.updates ?? []) this.#updates.set(record.meter, new Update(record));
	}

	start(): void {
		const { clock } = this.#fleet;
		const again = (): void => {
			if (this.#fleet.closed) return;
			this.#step();
			clock.after(STEP_SECONDS, again);
		};
		clock.after(STEP_SECONDS, again);
	}

	close(): void {
		this.#isDirty ||= this.#isCounting;
		this.#saveIfDirty();
	}

	// ---- images

	/**
	 * Keeps an image, so that it can be ordered. Again: nothing changes.
	 * @throws UserError: it is none, or not one that the meters would take
	 */
	addImage(bytes: Buffer): ImageView {
		const image = decodeImageFile(bytes, "the file");
		this.#check(image);
		const name = nameOf(image);
		const path = this.#pathOf(name);
		const known = this.#images.get(name) ?? (existsSync(path) ? this.#image(name) : undefined);
		if (known !== undefined && !known.manifestBytes.equals(image.manifestBytes))
			throw new UserError(`another image has the same id ${name}: sign it again`);
		if (known === undefined) {
			writeSecret(path, bytes);
			this.#images.set(name, image);
		}
		return viewOfImage(image);
	}

	/** Images that can be ordered. */
	images(): ImageView[] {
		const names = readdirSync(this.#folder).flatMap((file) => /^([0-9a-f]{8})\.wlfw$/.exec(file)?.[1] ?? []);
		return names.sort().flatMap((name) => {
			try {
				return [viewOfImage(this.#image(name))];
			} catch (error) {
				if (error instanceof UserError) return []; // damaged: who orders it is told
				throw error;
			}
		});
	}

	#pathOf(name: string): string {
		return join(this.#folder, `${name}.wlfw`);
	}

	#check(image: ImageFile): void {
		const key = Buffer.from(this.#registry.updateKey);
		if (key.every((byte) => byte === 0))
			throw new UserError("the registry has no update key: wattlock firmware trust, before meters get their keys");
		const wrong = checkImage(image, key);
		if (wrong !== undefined) throw new UserError(`no meter would take this image: ${wrong}`);
	}

	/** @throws UserError */
	#image(name: string): ImageFile {
		let image = this.#images.get(name);
		if (image === undefined) {
			const path = this.#pathOf(name);
			if (!existsSync(path)) throw new UserError(`there is no image ${name}`);
			image = decodeImageFile(readFileSync(path), path);
			this.#check(image);
			this.#images.set(name, image);
		}
		return image;
	}

	// ---- orders

	/**
	 * Orders an image for a meter, in place of what was ordered before. It is on the disk when this returns.
	 * @param activate false: the image is brought there and waits
	 * @throws UserError
	 */
	order(id: string, image: string, activate: boolean): UpdateView {
		const meter = this.#registry.meter(id);
		if (!meter || meter.isDecommissioned) throw new UserError(`the registry knows no meter ${id}`);
		this.#image(image);
		const before = this.#updates.get(id);
		if (before && !before.isEnded && before.record.image === image) {
			before.record.activate = activate;
		} else {
			const record: UpdateRecord = {
				meter: id,
				image,
				activate,
				phase: "queued",
				reason: null,
				orderedUtcSeconds: this.#fleet.clock.utcSeconds(),
				endedUtcSeconds: null,
				offers: 0,
				activations: 0,
				commands: 0,
				commandBytes: 0,
				blocks: 0,
				held: 0,
				statuses: 0,
				refusals: {},
			};
			this.#updates.delete(id); // to the end of the queue
			this.#updates.set(id, new Update(record));
		}
		this.#isDirty = true;
		this.#saveIfDirty();
		this.#dropUnused();
		this.#fleet.onChange(id, "meter");
		return this.view(id)!;
	}

	/** Ends an update that is under way. What the meter has of it, it forgets when it hears so. @throws UserError */
	cancel(id: string): UpdateView {
		const update = this.#updates.get(id);
		if (!update || update.isEnded) throw new UserError(`no update of meter ${id} is under way`);
		if (update.record.phase === "activating" || update.record.phase === "trial")
			throw new UserError(`meter ${id} is starting it already`);
		const { imageId } = this.#image(update.record.image);
		this.#send(update, encodeUpdateOrder(Kind.updateCancel, this.#nextRequestId(), imageId, this.#view));
		this.#end(update, "cancelled", null);
		this.#saveIfDirty();
		return this.view(id)!;
	}

	view(id: string): UpdateView | undefined {
		const update = this.#updates.get(id);
		if (!update) return undefined;
		const { record, isEnded, blocksMissing } = update;
		const image = this.#images.get(record.image);
		return {
			...record,
			refusals: { ...record.refusals },
			isEnded,
			firmware: image ? versionOf(image) : "",
			blockCount: image ? blockCountOf(image) : 0,
			blocksMissing,
			flashErases: {
				keys: record.commands,
				image: record.offers === 0 || !image ? 0 : 1 + MARK_SECTORS + Math.ceil(image.body.length / SECTOR_BYTES),
			},
		};
	}

	views(): UpdateView[] {
		return [...this.#updates.keys()].map((id) => this.view(id)!);
	}

	/** Images that nobody waits for leave the memory; they stay on the disk. */
	#dropUnused(): void {
		const used = new Set<string>();
		for (const { record, isEnded } of this.#updates.values()) if (!isEnded) used.add(record.image);
		for (const name of this.#images.keys()) if (!used.has(name) && this.#images.size > 4) this.#images.delete(name);
	}

	// ---- what meters tell

	/** @returns why it is none */
	onStatus(id: string, from: DataView, byteLength: number): Status {
		const told = createUpdateStatus();
		const decoded = decodeUpdateStatus(from, byteLength, told);
		if (decoded !== Status.ok) return decoded;
		const update = this.#updates.get(id);
		if (!update || update.isEnded) return Status.ok; // of one that is over
		const { record } = update;
		record.statuses++;
		if (told.status !== Status.ok) {
			const name = statusName(told.status as Status);
			record.refusals[name] = (record.refusals[name] ?? 0) + 1;
		}
		if (told.requestId !== 0 && told.requestId === update.awaited) {
			update.awaited = 0;
			update.unanswered = 0;
			update.notBeforeSeconds = 0;
		}
		update.status = told;
		update.blocksMissing = told.state === UpdateState.receiving ? told.blocksMissing : null;
		this.#fleet.onChange(id, "meter");
		return Status.ok;
	}

	/** The meter started or connected: what it said before may be over. */
	onHello(id: string): void {
		const update = this.#updates.get(id);
		if (!update || update.isEnded) return;
		update.status = undefined;
		update.awaited = 0;
		update.unanswered = 0;
		update.notBeforeSeconds = 0;
	}

	// ---- sending

	#step(): void {
		let underWay = 0;
		for (const update of this.#updates.values()) {
			if (update.isEnded) continue;
			const meter = this.#fleet.meters.get(update.record.meter);
			if (!meter || !this.#fleet.online(meter) || !this.#fleet.link?.connected) continue;
			if (underWay >= METERS_AT_ONCE) break;
			if (update.unanswered < UNANSWERED_MAX) underWay++;
			this.#goOn(update, meter);
		}
		if (this.#isCounting && this.#fleet.clock.utcSeconds() >= this.#savedSeconds + SAVE_SECONDS) this.#isDirty = true;
		this.#saveIfDirty();
	}

	#goOn(update: Update, meter: MeterState): void {
		const now = this.#fleet.clock.utcSeconds();
		if (update.awaited !== 0) {
			if (now < update.answerBySeconds) return;
			update.awaited = 0;
			update.unanswered++;
		}
		if (now < update.notBeforeSeconds) return;
		const { status } = update;
		if (status === undefined) {
			this.#ask(update);
			return;
		}
		let image: ImageFile;
		try {
			image = this.#image(update.record.image);
		} catch (error) {
			if (!(error instanceof UserError)) throw error;
			this.#end(update, "failed", error.message);
			return;
		}
		update.status = undefined; // one answer, one step
		if (status.state !== UpdateState.idle && status.imageId !== image.imageId) {
			this.#makeRoom(update, status, image);
			return;
		}
		switch (status.state) {
			case UpdateState.idle:
				this.#idle(update, status, image, meter);
				break;
			case UpdateState.offered:
				if (status.status !== Status.ok) this.#wait(update, WORK_SECONDS);
				else this.#sendSignature(update, status, image);
				break;
			case UpdateState.receiving:
				this.#phase(update, "sending");
				this.#sendBlocks(update, status, image);
				break;
			case UpdateState.verified:
				this.#verified(update, image, status);
				break;
			case UpdateState.armed:
				// It restarts at once after it has said so; if it did not, a power cut came between.
				if (update.record.phase === "activating" && status.requestId !== 0) {
					this.#phase(update, "trial");
					this.#wait(update, RESTART_SECONDS);
				} else this.#activate(update, image);
				break;
			case UpdateState.trial:
				this.#phase(update, "trial");
				this.#wait(update, TRIAL_SECONDS);
				break;
			default:
				this.#wait(update, WORK_SECONDS); // checking, preparing, hashing: it tells when that is done
		}
	}

	/** The next question not before so many seconds, unless the meter tells something by itself. */
	#wait(update: Update, seconds: number): void {
		update.notBeforeSeconds = this.#fleet.clock.utcSeconds() + seconds;
	}

	/** Something else is on its way there. */
	#makeRoom(update: Update, status: UpdateStatus, image: ImageFile): void {
		if (status.state === UpdateState.offered) this.#offer(update, image);
		else if (status.state === UpdateState.trial) this.#wait(update, BUSY_SECONDS);
		else {
			const requestId = this.#nextRequestId();
			this.#sendAndAwait(
				update,
				requestId,
				encodeUpdateOrder(Kind.updateCancel, requestId, status.imageId, this.#view),
			);
		}
	}

	#idle(update: Update, status: UpdateStatus, image: ImageFile, meter: MeterState): void {
		const { record } = update;
		const { major, minor, patch } = image.manifest;
		if (status.major === major && status.minor === minor && status.patch === patch) {
			this.#end(update, "confirmed", record.activations === 0 ? "the meter ran it already" : null);
			return;
		}
		if (record.phase === "trial" || record.phase === "activating") {
			if (status.result === UpdateResult.rolledBack) {
				this.#end(update, "rolledBack", "the meter did not confirm it, and runs its old firmware again");
				return;
			}
			if (status.result === UpdateResult.damaged) {
				this.#end(update, "failed", "the meter's boot loader passed it over");
				return;
			}
		}
		const refusal = record.offers > 0 ? status.status : Status.ok;
		if (FINAL.has(refusal) && record.phase === "offered") {
			this.#end(update, "failed", REASONS[refusal]!);
			return;
		}
		if (record.offers >= OFFERS_MAX) {
			this.#end(update, "failed", `${OFFERS_MAX} offers led nowhere; last: ${statusName(status.status as Status)}`);
			return;
		}
		if (record.offers === 0) this.#fleet.log(`meter ${meter.id}: firmware ${versionOf(image)} is offered`);
		this.#offer(update, image);
	}

	#offer(update: Update, image: ImageFile): void {
		const requestId = this.#nextRequestId();
		const byteLength = encodeUpdateOffer(requestId, image.manifestBytes, this.#view);
		if (!this.#sendAndAwait(update, requestId, byteLength)) return;
		update.record.offers++;
		this.#phase(update, "offered");
	}

	#sendSignature(update: Update, status: UpdateStatus, image: ImageFile): void {
		const { signature, imageId } = image;
		for (let at = status.signatureNext; at < signature.length; at += UPDATE_SIGNATURE_PART_BYTES_MAX) {
			const count = Math.min(UPDATE_SIGNATURE_PART_BYTES_MAX, signature.length - at);
			const byteLength = encodeUpdateData(Kind.updateSignature, at, imageId, signature, at, count, this.#view);
			if (!this.#send(update, byteLength)) break;
		}
		this.#ask(update);
	}

	/** Those that the meter says are missing, as many as may be under way. */
	#sendBlocks(update: Update, status: UpdateStatus, image: ImageFile): void {
		const { body, imageId } = image;
		let left = BLOCKS_AT_ONCE;
		for (let range = 0; range < status.rangeCount && left > 0; range++) {
			const first = status.ranges[2 * range]!;
			const end = first + status.ranges[2 * range + 1]!;
			for (let index = first; index < end && left > 0; index++, left--) {
				const at = index * UPDATE_BLOCK_BYTES;
				const count = Math.min(UPDATE_BLOCK_BYTES, body.length - at);
				if (count <= 0) break; // a meter that counts otherwise
				const byteLength = encodeUpdateData(Kind.updateBlock, index, imageId, body, at, count, this.#view);
				if (!this.#send(update, byteLength)) {
					left = 0;
					break;
				}
				update.record.blocks++;
			}
		}
		this.#ask(update);
	}

	#verified(update: Update, image: ImageFile, status: UpdateStatus): void {
		const { record } = update;
		if (!record.activate) {
			this.#end(update, "stored", null);
			return;
		}
		if (record.phase === "activating" && FINAL.has(status.status)) {
			this.#end(update, "failed", REASONS[status.status]!);
			return;
		}
		this.#phase(update, "verified");
		this.#activate(update, image);
	}

	#activate(update: Update, image: ImageFile): void {
		const { record } = update;
		if (record.activations >= ACTIVATIONS_MAX) {
			this.#end(update, "failed", `${ACTIVATIONS_MAX} orders to start it led nowhere`);
			return;
		}
		const requestId = this.#nextRequestId();
		const byteLength = encodeUpdateOrder(Kind.updateActivate, requestId, image.imageId, this.#view);
		if (!this.#sendAndAwait(update, requestId, byteLength)) return;
		record.activations++;
		this.#phase(update, "activating");
	}

	#ask(update: Update): void {
		const requestId = this.#nextRequestId();
		this.#sendAndAwait(update, requestId, encodeUpdateOrder(Kind.updateStatusRequest, requestId, 0, this.#view));
	}

	/** What is in the buffer, and nothing more before its answer is there. */
	#sendAndAwait(update: Update, requestId: number, byteLength: number): boolean {
		if (!this.#send(update, byteLength)) {
			this.#wait(update, WINDOW_SECONDS);
			return false;
		}
		const seconds = Math.min(ANSWER_SECONDS_MAX, ANSWER_SECONDS * 2 ** update.unanswered);
		update.awaited = requestId;
		update.answerBySeconds = this.#fleet.clock.utcSeconds() + seconds;
		return true;
	}

	#send(update: Update, byteLength: number): boolean {
		const { record } = update;
		if (!this.#fleet.link?.connected || !this.#fleet.channel.send(record.meter, this.#outgoing, byteLength)) {
			record.held++;
			return false;
		}
		this.#fleet.messages.sent++;
		this.#isCounting = true;
		record.commands++;
		record.commandBytes += byteLength;
		return true;
	}

	#nextRequestId(): number {
		this.#requestId = (this.#requestId % 0xffff) + 1;
		return this.#requestId;
	}

	#phase(update: Update, phase: UpdatePhase): void {
		if (update.record.phase === phase) return;
		update.record.phase = phase;
		this.#isDirty = true;
		this.#fleet.onChange(update.record.meter, "meter");
	}

	#end(update: Update, phase: UpdatePhase, reason: string | null): void {
		const { record } = update;
		record.reason = reason;
		record.endedUtcSeconds = this.#fleet.clock.utcSeconds();
		update.status = undefined;
		update.blocksMissing = null;
		this.#phase(update, phase);
		this.#fleet.log(`meter ${record.meter}: firmware ${record.image} ${phase}${reason === null ? "" : `: ${reason}`}`);
	}

	#saveIfDirty(): void {
		if (!this.#isDirty) return;
		this.#isDirty = false;
		this.#isCounting = false;
		this.#savedSeconds = this.#fleet.clock.utcSeconds();
		this.#file.save({ version: 1, updates: [...this.#updates.values()].map(({ record }) => record) });
	}
}

function nameOf(image: ImageFile): string {
	return image.imageId.toString(16).padStart(8, "0");
}

function versionOf({ manifest: { major, minor, patch } }: ImageFile): string {
	return `${major}.${minor}.${patch}`;
}

function blockCountOf(image: ImageFile): number {
	return Math.ceil(image.body.length / UPDATE_BLOCK_BYTES);
}

function viewOfImage(image: ImageFile): ImageView {
	return {
		image: nameOf(image),
		firmware: versionOf(image),
		target: targetName(image.manifest.target),
		securityVersion: image.manifest.securityVersion,
		bodyBytes: image.body.length,
		blockCount: blockCountOf(image),
	};
}

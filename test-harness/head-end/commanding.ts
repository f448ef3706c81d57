import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Status } from "../../src/bytes/status.js";
import {
	AUDIT_ROWS_MAX,
	createAuditHead,
	createAuditHeader,
	createAuditRequest,
	decodeAuditHead,
	decodeAuditHeader,
	encodeAuditRequest,
} from "../../src/messages/audit.js";
import { WHOLE_DAY } from "../../src/messages/channel.js";
import { commandName } from "../../src/messages/command.js";
import { Kind } from "../../src/messages/kinds.js";
import { createReceipt, decodeReceipt } from "../../src/messages/receipt.js";
import {
	anchorsInRows,
	type CommandEntry,
	CommandLog,
	type HeldAnchor,
	verifyOwnLog,
} from "../accountability/command-log.js";
import { MeterAudit } from "../accountability/meter-audit.js";
import { DAY_SECONDS, epochOf } from "../days.js";
import { UserError } from "../user-error.js";
import type { AuditView, CommandView } from "./api.js";
import { encodeOrder, notAfterOf, type Order } from "./command-orders.js";
import type { Fleet } from "./fleet.js";
import type { Registry } from "./registry.js";
import type { Security } from "./security.js";

export interface CommandingOptions {
	readonly fleet: Fleet;
	readonly security: Security;
	readonly registry: Registry;
	/** Of the head end's own log and of the meters' audit rows. */
	readonly folder: string;
}

const CHECK_SECONDS = 2;
/** A command that was sealed and neither answered nor kept any more (a day began) is sealed anew after this time. */
const RETRY_SECONDS = 30;
const BROADCAST_RETRY_SECONDS = 600;
const GRACE_SECONDS = 600;
/** Questions for audit rows in one check, over all meters, and how long one waits for its answer. */
const AUDIT_QUESTIONS_MAX = 20;
const AUDIT_ANSWER_SECONDS = 30;

interface MeterAccount {
	readonly audit: MeterAudit;
	/** As the meter told it in its last audit head. */
	held: HeldAnchor | undefined;
	askedSeconds: number;
	isDue: boolean;
}

/**
 * Commands with accountability: each is a row of the head end's own log before it is sealed, is sealed again until its
 * receipt came or its time is over, and what the meters' logs say of it is held against their chains.
 */
export class Commanding {
	readonly log: CommandLog;
	readonly #options: CommandingOptions;
	readonly #path: string;
	readonly #auditFolder: string;
	readonly #accounts = new Map<string, MeterAccount>();
	readonly #broadcastSeconds = new Map<string, number>();
	readonly #request = createAuditRequest();
	readonly #outgoing = new Uint8Array(16);
	readonly #outgoingView = new DataView(this.#outgoing.buffer);
	#requestId = 0;

	/** @throws Error when the log does not fit its chain: it is evidence */
	constructor(options: CommandingOptions) {
		this.#options = options;
		this.#path = join(options.folder, "commands.log");
		this.#auditFolder = join(options.folder, "audit");
		mkdirSync(this.#auditFolder, { recursive: true, mode: 0o700 });
		this.log = CommandLog.open(this.#path, options.fleet.clock.utcSeconds());
	}

	start(): void {
		const { fleet } = this.#options;
		const again = (): void => {
			if (fleet.closed) return;
			this.#check();
			fleet.clock.after(CHECK_SECONDS, again);
		};
		fleet.clock.after(CHECK_SECONDS, again);
	}

	#now(): number {
		return this.#options.fleet.clock.utcSeconds();
	}

	/**
	 * Orders something of one meter. It is in the log, durable, when this returns, and on its way if that is possible now.
	 * @throws UserError: the order is none, or a meter would refuse it
	 */
	sendCommand(id: string, order: Order, operator: string, validSeconds?: unknown): CommandView {
		const meter = this.#options.registry.meter(id);
		if (!meter || meter.isDecommissioned) throw new UserError(`the registry knows no meter ${id}`);
		const created = this.#create("headEnd", [id], order, operator, validSeconds);
		this.#send(this.log.entry(created, id)!);
		return this.#view(created, id);
	}

	/**
	 * Orders something of all meters of a domain, over the head end's chain: they obey when its key is disclosed.
	 * @throws UserError
	 */
	broadcastCommand(domain: number, order: Order, operator: string, validSeconds?: unknown): CommandView[] {
		const { registry } = this.#options;
		const meters = registry
			.list()
			.flatMap((meter) => (meter.domain === domain && !meter.isDecommissioned ? [meter.id] : []));
		if (meters.length === 0) throw new UserError(`there is no meter in domain ${domain}`);
		const created = this.#create("headEndBroadcast", meters, order, operator, validSeconds);
		this.#broadcast(created, domain);
		return meters.map((meter) => this.#view(created, meter));
	}

	#create(
		way: "headEnd" | "headEndBroadcast",
		meters: readonly string[],
		order: Order,
		operator: string,
		validSeconds: unknown,
	): string {
		const { kind, body } = encodeOrder(order, meters[0]!);
		const now = this.#now();
		try {
			return this.log.create(now, operator, way, meters, kind, notAfterOf(now, validSeconds), body).id;
		} catch (error) {
			if (error instanceof UserError) throw error;
			throw new UserError((error as Error).message);
		}
	}

	/** Seals a command. What it costs is written before it is sent; see `EndToEnd.send`. */
	#send(entry: CommandEntry): void {
		const { fleet, security, registry } = this.#options;
		const bytes = this.log.bytesOf(entry.id)!;
		const now = this.#now();
		const midnight = epochOf(now) * DAY_SECONDS;
		const untilInterval = Math.floor((entry.notAfterSeconds - midnight) / registry.teslaIntervalSeconds);
		const notAfter = entry.notAfterSeconds < midnight + DAY_SECONDS ? untilInterval : WHOLE_DAY;
		if (!fleet.link?.connected || !security.endToEnd.send(entry.meter, bytes, bytes.length, notAfter)) return;
		this.log.sent(now, entry.id);
		fleet.onChange(entry.meter, "meter");
	}

	#broadcast(id: string, domain: number): void {
		const { fleet, security } = this.#options;
		if (!fleet.link?.connected) return;
		const now = this.#now();
		security.broadcasting.broadcast(this.log.bytesOf(id)!, domain);
		this.#broadcastSeconds.set(id, now);
		this.log.sent(now, id);
	}

	#check(): void {
		const { fleet, security, registry } = this.#options;
		const now = this.#now();
		for (const entry of this.log.due(now, RETRY_SECONDS)) {
			if (entry.way === "headEndBroadcast") {
				const last = this.#broadcastSeconds.get(entry.id) ?? entry.sentSeconds;
				const domain = registry.meter(entry.meter)?.domain;
				if (domain !== undefined && now - last >= BROADCAST_RETRY_SECONDS) this.#broadcast(entry.id, domain);
				continue;
			}
			// Sealed bytes are repeated as they are by the channel; only when it holds none are they sealed anew.
			const isWaiting = entry.state === "sent" && (security.endToEnd.view(entry.meter)?.kept ?? 0) > 0;
			if (!isWaiting && fleet.state(entry.meter) === "online") this.#send(entry);
		}
		for (const { meter } of this.log.giveUp(now, GRACE_SECONDS)) fleet.onChange(meter, "meter");
		let questions = 0;
		for (const [id, account] of this.#accounts) {
			if (!account.isDue || questions >= AUDIT_QUESTIONS_MAX) continue;
			if (now - account.askedSeconds < AUDIT_ANSWER_SECONDS || fleet.state(id) !== "online") continue;
			account.isDue = this.#askRows(id, account);
			if (account.isDue) questions++;
		}
	}

	/** Asks for rows that are missing. @returns whether any were */
	#askRows(id: string, account: MeterAccount): boolean {
		const missing = account.audit.verify().missing[0];
		if (!missing) return false;
		this.#requestId = (this.#requestId % 0xffff) + 1;
		const request = this.#request;
		request.requestId = this.#requestId;
		request.first = missing.first;
		request.count = Math.min(missing.count, 4 * AUDIT_ROWS_MAX);
		const byteLength = encodeAuditRequest(request, this.#outgoingView);
		if (this.#options.security.send(id, this.#outgoing, byteLength)) account.askedSeconds = this.#now();
		return true;
	}

	#account(id: string): MeterAccount {
		let account = this.#accounts.get(id);
		if (!account) {
			const audit = new MeterAudit(id, join(this.#auditFolder, `${id}.rows`));
			for (const { sequence, chain } of this.log.anchorsOf(id)) audit.addAnchor(sequence, chain, "an earlier head");
			account = { audit, held: undefined, askedSeconds: Number.NEGATIVE_INFINITY, isDue: true };
			this.#accounts.set(id, account);
		}
		return account;
	}

	/** A receipt, audit rows or an audit head, out of the secured channel. */
	onMessage(id: string, message: Uint8Array): Status {
		const view = new DataView(message.buffer, message.byteOffset, message.length);
		const account = this.#account(id);
		const order = this.#options.security.endToEnd.openedOrder;
		const now = this.#now();
		switch (message[0]) {
			case Kind.receipt: {
				const receipt = createReceipt();
				const status = decodeReceipt(view, message.length, receipt);
				if (status !== Status.ok) return status;
				this.log.receipt(now, id, receipt);
				account.audit.addAnchor(receipt.headSequence, receipt.headChain, "a receipt", order);
				break;
			}
			case Kind.auditHead: {
				const head = createAuditHead();
				const status = decodeAuditHead(view, message.length, head);
				if (status !== Status.ok) return status;
				this.log.meterHead(now, id, head);
				account.audit.toldOldest(head.oldest);
				account.audit.addAnchor(head.sequence, head.chain, "an audit head", order);
				account.held = { meter: id, place: head.held.place.slice(), chain: head.held.chain.slice() };
				break;
			}
			default: {
				const status = account.audit.addMessage(message);
				if (status !== Status.ok) return status;
				const header = createAuditHeader();
				decodeAuditHeader(view, message.length, header);
				// the answer to a question: the next may follow at once
				if (header.requestId !== 0) account.askedSeconds = Number.NEGATIVE_INFINITY;
			}
		}
		account.isDue = true;
		this.#options.fleet.onChange(id, "meter");
		return Status.ok;
	}

	/** The meter has no row of what was asked for. */
	noRows(id: string): void {
		const account = this.#accounts.get(id);
		if (!account) return;
		account.audit.answered(account.audit.verify().lastSequence);
		account.askedSeconds = this.#now();
	}

	#view(id: string, meter: string): CommandView {
		return this.commands(meter).find((each) => each.id === id)!;
	}

	/** Commands of one meter, or of all, newest first. */
	commands(meter?: string): CommandView[] {
		const views = this.log.view() as unknown as CommandView[];
		return meter === undefined ? views : views.filter((view) => view.meter === meter);
	}

	/** How many commands there are of each state. */
	counts(): Record<string, number> {
		const counts: Record<string, number> = {};
		for (const { state } of this.commands()) counts[state] = (counts[state] ?? 0) + 1;
		return counts;
	}

	/** What a meter's log says, and whether it is whole. */
	auditView(id: string): AuditView {
		const { audit } = this.#account(id);
		return { verdict: audit.verify(), rows: audit.view() as unknown as AuditView["rows"], own: this.ownVerdict() };
	}

	/** In a word, for the page. */
	auditStatus(id: string): { status: string; text: string } | null {
		const account = this.#accounts.get(id);
		if (!account) return null;
		const { status, text } = account.audit.verify();
		return { status, text };
	}

	/** The head end's own log, as it lies on the disk, held against what all meters hold of it. */
	ownVerdict(): AuditView["own"] {
		const anchors: HeldAnchor[] = [];
		for (const [id, { audit, held }] of this.#accounts) {
			if (held) anchors.push(held);
			anchors.push(...anchorsInRows(id, audit.rows()));
		}
		return verifyOwnLog(this.#path, anchors, this.log.logNumber);
	}

	/** Names of the commands that there are. */
	static names(): string[] {
		return Array.from({ length: 11 }, (_, index) => commandName(index + 1));
	}

	close(): void {
		this.log.close();
	}
}

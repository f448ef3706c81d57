import { Status } from "../../src/bytes/status.js";
import { EVENT_ENTRIES_MAX } from "../../src/messages/events.js";
import { Kind, UTC_INVALID } from "../../src/messages/kinds.js";
import { PROFILE_ROWS_MAX } from "../../src/messages/profile.js";
import { AskError } from "./asking.js";
import type { Fleet } from "./fleet.js";
import { LIMITS } from "./limits.js";
import type { Fetch, LogName, MeterState, Outstanding } from "./meter-state.js";
import type { Sending } from "./sending.js";

/** A question for rows that perhaps do not exist is not repeated for ever. */
const PEEK_ATTEMPTS_MAX = 5;

/** Finds what is missing by sequence and asks for it until nothing is, within the limits over all meters. */
export class Fetching {
	readonly #fleet: Fleet;
	readonly #sending: Sending;
	/** Fetches that may be sent, in the order in which they came: fair between meters. */
	readonly #ready = new Set<Fetch>();
	readonly #readyOwner = new Map<Fetch, { meter: MeterState; name: LogName }>();
	#outstanding = 0;
	#tokens: number = LIMITS.requestBurst;
	#tokensAtSeconds: number;
	#cancelPump: (() => void) | undefined;

	constructor(fleet: Fleet, sending: Sending) {
		this.#fleet = fleet;
		this.#sending = sending;
		this.#tokensAtSeconds = fleet.clock.utcSeconds();
	}

	/** Questions under way over all meters. */
	get outstanding(): number {
		return this.#outstanding;
	}

	/** Logs that wait to be asked for. */
	get waiting(): number {
		return this.#ready.size;
	}

	/** Questions under way or due. */
	get pending(): number {
		let waiting = 0;
		for (const meter of this.#fleet.meters.values())
			for (const name of ["profile", "events"] as const)
				if (!meter.fetch[name].active && this.#fleet.online(meter) && this.wanted(meter, name)) waiting++;
		return waiting + this.#outstanding;
	}

	/** Forgets everything: the meters are read anew. */
	clear(): void {
		this.#ready.clear();
		this.#readyOwner.clear();
		this.#outstanding = 0;
	}

	/** The meter ended a question. */
	async acknowledged(meter: MeterState, request: Outstanding, status: number): Promise<void> {
		this.finish(meter, request);
		if (request.purpose === "ask") {
			const ask = meter.asks.get(request.kind);
			if (!ask) return;
			if (status === Status.ok && request.kind !== Kind.configure) return; // the answer itself decides
			meter.asks.delete(request.kind);
			ask.cancelTimer();
			if (status === Status.ok) ask.resolve({ ok: true });
			else ask.reject(new AskError("refused", `meter ${meter.id} answered with status ${status}`));
			return;
		}
		const name = request.log!;
		const fetch = meter.fetch[name];
		const log = meter.log(name);
		if (request.purpose === "probe") {
			await this.#probeAnswered(meter, name, request, status);
			return;
		}
		if (request.purpose === "peek" || (request.purpose === "back" && status === Status.notFound)) {
			if (request.purpose === "back") fetch.backDone = true;
			this.resetBackOff(fetch);
			this.#enqueue(meter, name);
			return;
		}
		if (status === Status.ok && request.progress > 0) {
			this.resetBackOff(fetch);
			fetch.deniedFirst = Number.NaN;
		} else if (status === Status.notFound && request.purpose === "fetch") {
			fetch.deniedTimes = fetch.deniedFirst === request.first ? fetch.deniedTimes + 1 : 1;
			fetch.deniedFirst = request.first;
			if (fetch.deniedTimes >= 2) {
				// said twice: the rows are not on the meter, the hole stays and is told as such
				for (const range of log.missing()) {
					const first = Math.max(range.first, request.first);
					const next = Math.min(range.next, request.first + request.count);
					if (first < next) log.gone.add(first, next);
				}
				fetch.deniedFirst = Number.NaN;
				this.resetBackOff(fetch);
				this.#fleet.log(
					`meter ${meter.id}: ${name} ${request.first} to ${request.first + request.count - 1} are not on the meter`,
				);
				await this.#fleet.store.write([this.#fleet.record(meter)], true);
				this.#fleet.onChange(meter.id, name);
			} else this.#backOff(meter, name);
		} else this.#backOff(meter, name);
		this.#enqueue(meter, name);
	}

	async #probeAnswered(meter: MeterState, name: LogName, request: Outstanding, status: number): Promise<void> {
		const log = meter.log(name);
		const probe = log.probe;
		if (!probe || probe.sequence !== request.first) return;
		if (status !== Status.ok && status !== Status.notFound) {
			this.#backOff(meter, name);
			this.#enqueue(meter, name);
			return;
		}
		if (status === Status.ok && request.probeSame === undefined) {
			// "ok" without the row: it was lost on the way
			this.#backOff(meter, name);
			this.#enqueue(meter, name);
			return;
		}
		const same = request.probeSame === true;
		if (same && probe.stage === 1) log.probeAgreed();
		else {
			const next = same ? log.probeTailLost() : log.probeDenied();
			if (next !== "ask again") {
				log.startSeries(next.firstSequence, next.next, this.#fleet.clock.utcSeconds(), next.reason);
				if (name === "profile") {
					meter.newestRow = undefined;
					meter.increments = [0, 0, 0, 0];
				}
				this.#fleet.log(`meter ${meter.id}: ${name} continues as series ${log.series} (${next.reason})`);
			}
		}
		this.resetBackOff(meter.fetch[name]);
		await this.#fleet.store.write([this.#fleet.record(meter)], true);
		this.#fleet.onChange(meter.id, name);
		this.#enqueue(meter, name);
	}

	/** What to ask next of one log, undefined when there is nothing. */
	wanted(meter: MeterState, name: LogName): Pick<Outstanding, "purpose" | "first" | "count"> | undefined {
		const log = meter.log(name);
		if (log.probe) return { purpose: "probe", first: log.probe.sequence, count: 1 };
		const range = log.missing(1)[0];
		if (range) {
			const most = name === "profile" ? LIMITS.profileRowsPerRequest : LIMITS.eventsPerRequest;
			return { purpose: "fetch", first: range.first, count: Math.min(most, range.next - range.first) };
		}
		if (!meter.hello && log.started && log.first > 0 && log.series === 0 && !meter.fetch[name].backDone) {
			const first = Math.max(0, log.first - LIMITS.profileRowsPerRequest);
			return { purpose: "back", first, count: log.first - first };
		}
		if (meter.fetch[name].peek)
			return {
				purpose: "peek",
				first: log.next,
				count: name === "profile" ? PROFILE_ROWS_MAX : EVENT_ENTRIES_MAX,
			};
		return undefined;
	}

	enqueueAll(meter: MeterState): void {
		this.#enqueue(meter, "profile");
		this.#enqueue(meter, "events");
	}

	#enqueue(meter: MeterState, name: LogName): void {
		const fetch = meter.fetch[name];
		if (this.#fleet.closed || fetch.active || this.#ready.has(fetch) || !this.#fleet.online(meter)) return;
		if (!this.#fleet.meters.has(meter.id) || this.#fleet.clock.utcSeconds() < fetch.notBeforeSeconds) return;
		if (!this.wanted(meter, name)) return;
		this.#ready.add(fetch);
		this.#readyOwner.set(fetch, { meter, name });
		this.pump();
	}

	/** Sends what may be sent: one request for each waiting log in turn, within the limits over all meters. */
	pump(): void {
		if (!this.#fleet.link?.connected || this.#fleet.closed) return;
		const now = this.#fleet.clock.utcSeconds();
		const elapsed = Math.max(0, now - this.#tokensAtSeconds);
		this.#tokens = Math.min(LIMITS.requestBurst, this.#tokens + elapsed * LIMITS.requestsPerSecond);
		this.#tokensAtSeconds = now;
		for (const fetch of this.#ready) {
			if (this.#outstanding >= LIMITS.outstandingMax) return; // the next answer pumps again
			if (this.#tokens < 1) {
				this.#cancelPump ??= this.#fleet.clock.after(1.01 / LIMITS.requestsPerSecond, () => {
					this.#cancelPump = undefined;
					this.pump();
				});
				return;
			}
			this.#ready.delete(fetch);
			const { meter, name } = this.#readyOwner.get(fetch)!;
			this.#readyOwner.delete(fetch);
			const wanted = this.wanted(meter, name);
			if (!wanted || fetch.active) continue;
			this.#tokens--;
			if (wanted.purpose === "peek") fetch.peek = false;
			const kind = name === "profile" ? Kind.profileRequest : Kind.eventsRequest;
			fetch.active = this.request(meter, kind, name, wanted, fetch.attempt);
			if (!fetch.active) this.#backOff(meter, name);
		}
	}

	request(
		meter: MeterState,
		kind: number,
		log: LogName | undefined,
		wanted: Pick<Outstanding, "purpose" | "first" | "count">,
		attempt: number,
	): Outstanding | undefined {
		const requestId = meter.nextRequestId();
		if (!this.#sending.send(meter, kind, requestId, wanted.first, wanted.count)) return undefined;
		const request: Outstanding = {
			...wanted,
			requestId,
			kind,
			log,
			sentUtcSeconds: this.#fleet.clock.utcSeconds(),
			attempt,
			progress: 0,
			probeSame: undefined,
			cancelTimer: () => {},
		};
		meter.outstanding.set(requestId, request);
		this.#outstanding++;
		this.progressed(meter, request);
		return request;
	}

	/** Gives a request its time anew: something of the answer came. */
	progressed(meter: MeterState, request: Outstanding): void {
		if (!meter.outstanding.has(request.requestId)) return;
		request.cancelTimer();
		const seconds = request.purpose === "ask" ? LIMITS.askSeconds : LIMITS.answerSeconds;
		request.cancelTimer = this.#fleet.clock.after(seconds, () => {
			this.finish(meter, request);
			if (request.log) {
				if (request.progress > 0) this.resetBackOff(meter.fetch[request.log]);
				else this.#backOff(meter, request.log);
				if (request.purpose === "peek" && request.attempt < PEEK_ATTEMPTS_MAX) meter.fetch[request.log].peek = true;
				this.#enqueue(meter, request.log);
			}
		});
	}

	finish(meter: MeterState, request: Outstanding): void {
		request.cancelTimer();
		if (!meter.outstanding.delete(request.requestId)) return;
		this.#outstanding--;
		if (request.log && meter.fetch[request.log].active === request) meter.fetch[request.log].active = undefined;
		this.pump();
	}

	resetBackOff(fetch: Fetch): void {
		fetch.attempt = 0;
		fetch.notBeforeSeconds = Number.NEGATIVE_INFINITY;
		fetch.cancelTimer?.();
		fetch.cancelTimer = undefined;
	}

	/** Waits longer after each failure; the jitter differs between meters and attempts, and is the same in a replay. */
	#backOff(meter: MeterState, name: LogName): void {
		const fetch = meter.fetch[name];
		const seconds = Math.min(LIMITS.backOffMaxSeconds, LIMITS.backOffFirstSeconds * 2 ** fetch.attempt);
		fetch.attempt = Math.min(fetch.attempt + 1, 16);
		const hash = (Number.parseInt(meter.id.slice(-6), 16) * 31 + fetch.attempt * 7919) % 1000;
		const delay = seconds * (0.75 + hash / 2000);
		fetch.notBeforeSeconds = this.#fleet.clock.utcSeconds() + delay;
		fetch.cancelTimer?.();
		fetch.cancelTimer = this.#fleet.clock.after(delay + 0.001, () => {
			fetch.cancelTimer = undefined;
			this.#enqueue(meter, name);
		});
	}

	cancelAll(meter: MeterState, why: string): void {
		for (const request of [...meter.outstanding.values()]) {
			request.cancelTimer();
			meter.outstanding.delete(request.requestId);
			this.#outstanding--;
			if (request.purpose === "peek") meter.fetch[request.log!].peek = true;
		}
		for (const fetch of Object.values(meter.fetch)) {
			fetch.active = undefined;
			this.resetBackOff(fetch);
		}
		for (const ask of meter.asks.values()) {
			ask.cancelTimer();
			ask.reject(new AskError("offline", why));
		}
		meter.asks.clear();
	}

	/** Asks for rows that should have come by the meter's own clock. */
	housekeep(): void {
		for (const meter of this.#fleet.meters.values()) {
			const state = this.#fleet.state(meter.id);
			if (state === "silent") this.#fleet.onChange(meter.id, "meter");
			if (state !== "online" || !meter.hello || !meter.lastReading) continue;
			// Rows are sent once, unasked. When the meter's own clock says that the next one must exist and it did not
			// come, it was lost, and no later row has told so yet.
			const clock = meter.lastReading.utcSeconds;
			const interval = meter.hello.intervalSeconds;
			const expectedUtcSeconds = meter.newestRow ? meter.newestRow.intervalStartSeconds + 2 * interval : Number.NaN;
			if (clock === UTC_INVALID || !(clock > expectedUtcSeconds + 30)) continue;
			if (clock - meter.lastPeekUtcSeconds < interval) continue;
			meter.lastPeekUtcSeconds = clock;
			this.#peek(meter);
		}
	}

	#peek(meter: MeterState): void {
		meter.fetch.profile.peek = true;
		meter.fetch.events.peek = true;
		this.enqueueAll(meter);
	}

	/** Asks every meter for rows and events after the last known: the end of a run has no later row that would show a loss. */
	collect(): void {
		for (const meter of this.#fleet.meters.values()) if (this.#fleet.online(meter)) this.#peek(meter);
	}
}

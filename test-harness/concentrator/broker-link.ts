import type { Socket } from "node:net";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { onlineTopic, TOPIC_ROOT, upTopic } from "../../src/messages/topics.js";
import type { ServerClock } from "../clock.js";
import type { ConcentratorLink } from "./concentrator.js";

export interface BrokerLinkOptions {
	readonly url: string;
	/** Stable over restarts: names the session in which the broker keeps messages while we are away. */
	readonly clientId: string;
	readonly clock: ServerClock;
	readonly log: (line: string) => void;
	/** One message at a time; it is acknowledged to the broker when the promise resolves. A rejection suspends the link. */
	readonly receive: (topic: string, payload: Uint8Array) => Promise<void>;
	readonly onUp: () => void;
	readonly onDown: () => void;
	/** The receiver failed: nothing is acknowledged until `resume`. */
	readonly onReceiveFailed: (error: unknown) => void;
	/** Makes the client; a test may put its own there. */
	readonly connect?: (url: string, options: IClientOptions) => MqttClient;
}

const RECONNECT_FIRST_MILLISECONDS = 250;
const RECONNECT_MAX_MILLISECONDS = 5000;

/** Why a connection failed, in a word for people. */
function reason(error: Error & { code?: string | number; errors?: (Error & { code?: string })[] }): string {
	const code = error.errors?.[0]?.code ?? error.code;
	if (code === "ECONNREFUSED") return "nobody listens there";
	if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "the host name is not known";
	return error.message || String(code ?? "connection failed");
}

/**
 * The connection to the broker: MQTT 3.1.1, a session that lasts, QoS 1 both ways. Every attempt is a client of its
 * own, so that nothing of a dead connection acts on the next; reconnecting runs on real time, whatever the clock.
 */
export class BrokerLink implements ConcentratorLink {
	readonly #options: BrokerLinkOptions;
	readonly url: string;
	connected = false;
	sinceUtcSeconds: number;
	connects = 0;
	lastError: string | null = null;
	#client: MqttClient | undefined;
	#timer: NodeJS.Timeout | undefined;
	#delay = RECONNECT_FIRST_MILLISECONDS;
	#stopped = true;
	#downLogged = false;
	/** Publishes that the broker has not acknowledged. */
	#unacknowledged = 0;
	/** Messages being worked on. */
	#working = 0;
	#barrier = 0;
	#barrierSeen = 0;
	#waiters = new Set<() => void>();

	constructor(options: BrokerLinkOptions) {
		this.#options = options;
		this.url = options.url;
		this.sinceUtcSeconds = options.clock.utcSeconds();
	}

	get #barrierTopic(): string {
		return `${TOPIC_ROOT}/${this.#options.clientId}/barrier`;
	}

	start(): void {
		this.#stopped = false;
		this.#attempt();
	}

	#attempt(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		if (this.#stopped || this.#client) return;
		const connect = this.#options.connect ?? mqtt.connect;
		const client = connect(this.#options.url, {
			clientId: this.#options.clientId,
			clean: false,
			protocolVersion: 4,
			reconnectPeriod: 0,
			connectTimeout: 5000,
			keepalive: 30,
			resubscribe: false,
		});
		this.#client = client;
		client.handleMessage = (packet, acknowledge) => {
			if (client !== this.#client || this.#stopped) return; // not acknowledged: the broker sends it again
			if (packet.topic === this.#barrierTopic) {
				this.#barrierSeen = Math.max(this.#barrierSeen, Number(packet.payload.toString()) || 0);
				acknowledge();
				this.#wake();
				return;
			}
			const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload) : packet.payload;
			this.#working++;
			this.#options.receive(packet.topic, payload).then(
				() => {
					this.#working--;
					acknowledge();
					this.#wake();
				},
				(error: unknown) => {
					this.#working--;
					this.suspend();
					this.#options.onReceiveFailed(error);
				},
			);
		};
		client.on("connect", () => {
			// Small packets both ways: Nagle's algorithm against delayed acknowledgements would cost 40 ms at every turn.
			(client.stream as Partial<Socket>).setNoDelay?.(true);
			client.subscribe([upTopic("+"), onlineTopic("+"), this.#barrierTopic], { qos: 1 }, (error, granted) => {
				if (client !== this.#client) return;
				if (error || granted?.some(({ qos }) => qos > 2)) {
					this.lastError = `the broker refuses the subscription${error ? ` (${error.message})` : ""}`;
					client.end(true);
					return;
				}
				this.connected = true;
				this.connects++;
				this.lastError = null;
				this.#delay = RECONNECT_FIRST_MILLISECONDS;
				this.sinceUtcSeconds = this.#options.clock.utcSeconds();
				if (this.#downLogged || this.connects > 1) this.#options.log(`broker ${this.url}: connected`);
				this.#downLogged = false;
				this.#options.onUp();
				this.#wake();
			});
		});
		client.on("error", (error) => {
			if (client !== this.#client) return;
			this.lastError = reason(error);
			if (!this.connected) client.end(true);
		});
		client.on("close", () => {
			if (client === this.#client) this.#lost();
		});
	}

	#lost(): void {
		const client = this.#client;
		this.#client = undefined;
		this.#unacknowledged = 0;
		client?.end(true);
		const wasConnected = this.connected;
		this.connected = false;
		if (this.#stopped) {
			this.#wake();
			return;
		}
		if (wasConnected) {
			this.sinceUtcSeconds = this.#options.clock.utcSeconds();
			this.#options.onDown();
		}
		if (!this.#downLogged)
			this.#options.log(
				`broker ${this.url}: ${wasConnected ? "connection lost" : "cannot be reached"}${this.lastError ? ` (${this.lastError})` : ""}, trying again`,
			);
		this.#downLogged = true;
		this.#timer ??= setTimeout(() => this.#attempt(), this.#delay * (0.75 + Math.random() / 2));
		this.#delay = Math.min(RECONNECT_MAX_MILLISECONDS, this.#delay * 2);
		this.#wake();
	}

	publish(topic: string, payload: Uint8Array, retain = false): void {
		const client = this.#client;
		if (!client || !this.connected) return;
		this.#unacknowledged++;
		client.publish(topic, Buffer.from(payload), { qos: 1, retain }, () => {
			if (client !== this.#client) return; // counted out when the connection was lost
			this.#unacknowledged--;
			this.#wake();
		});
	}

	/** Stops receiving, leaving unacknowledged what was not finished; the broker keeps it. */
	suspend(): void {
		if (this.#stopped) return;
		this.#stopped = true;
		clearTimeout(this.#timer);
		this.#timer = undefined;
		const wasConnected = this.connected;
		this.#client?.end(true);
		this.#client = undefined;
		this.connected = false;
		this.#unacknowledged = 0;
		if (wasConnected) this.#options.onDown();
		this.#wake();
	}

	resume(): void {
		if (!this.#stopped) return;
		this.#stopped = false;
		this.#attempt();
	}

	#wake(): void {
		for (const waiter of this.#waiters) waiter();
	}

	/** Waits until `done` holds or the real time is over. @returns whether it holds */
	#until(done: () => boolean, milliseconds: number): Promise<boolean> {
		if (done()) return Promise.resolve(true);
		if (milliseconds <= 0) return Promise.resolve(false);
		return new Promise((resolve) => {
			const finish = (result: boolean): void => {
				clearTimeout(timer);
				this.#waiters.delete(check);
				resolve(result);
			};
			const check = (): void => {
				if (done()) finish(true);
			};
			const timer = setTimeout(() => finish(done()), milliseconds);
			this.#waiters.add(check);
		});
	}

	/**
	 * Waits until everything that the broker had accepted for us before this call has been received and finished: a
	 * message of our own goes through the broker and comes back behind it. When the broker is away, one attempt to
	 * connect is made at once and waited for.
	 * @returns false when the broker is away or the time is over
	 */
	async barrier(millisecondsMax: number): Promise<boolean> {
		const deadline = performance.now() + millisecondsMax;
		if (!this.connected && !this.#stopped) {
			if (!this.#client) {
				this.#delay = RECONNECT_FIRST_MILLISECONDS;
				this.#attempt();
			}
			const attempt = this.#client;
			await this.#until(() => this.connected || this.#client !== attempt, deadline - performance.now());
		}
		if (!this.connected) return false;
		const number = ++this.#barrier;
		this.publish(this.#barrierTopic, Buffer.from(String(number)));
		await this.#until(() => this.#barrierSeen >= number || !this.connected, deadline - performance.now());
		await this.#until(() => this.#working === 0, deadline - performance.now());
		return this.#barrierSeen >= number;
	}

	/** Waits until the broker acknowledged all our publishes. @returns false when the time is over */
	flushed(millisecondsMax: number): Promise<boolean> {
		return this.#until(() => this.#unacknowledged === 0 && this.#working === 0, millisecondsMax);
	}

	/** Ends the connection in good order; the session stays at the broker. */
	async stop(): Promise<void> {
		this.#stopped = true;
		clearTimeout(this.#timer);
		await this.#until(() => this.#working === 0, 5000);
		const client = this.#client;
		this.#client = undefined;
		this.connected = false;
		if (client) await Promise.race([client.endAsync(), new Promise((done) => setTimeout(done, 1000).unref())]);
	}
}

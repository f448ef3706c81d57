/// <reference lib="dom" />
import type { LiveMessage, MeterSummaryView, ReadingView, StatusView } from "../api.js";

/** What a view wants to hear of. */
export interface LiveListener {
	fleet?(): void;
	status?(): void;
	meters?(changed: readonly MeterSummaryView[]): void;
	readings?(id: string, readings: readonly ReadingView[]): void;
	profile?(id: string): void;
	events?(id: string): void;
	connection?(): void;
}

/** The page's picture of the fleet, kept by the WebSocket. */
export class Live {
	readonly meters = new Map<string, MeterSummaryView>();
	status: StatusView | undefined;
	connected = false;
	/** True once the first picture of the fleet came. */
	loaded = false;
	#statusAt = 0;
	#socket: WebSocket | undefined;
	#delay = 500;
	readonly #listeners = new Set<LiveListener>();

	start(): void {
		const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
		this.#socket = socket;
		socket.addEventListener("open", () => {
			this.#delay = 500;
			this.connected = true;
			this.#each((listener) => listener.connection?.());
		});
		socket.addEventListener("message", (event) => this.#onMessage(JSON.parse(String(event.data)) as LiveMessage));
		socket.addEventListener("close", () => {
			if (this.#socket !== socket) return;
			this.connected = false;
			this.#each((listener) => listener.connection?.());
			setTimeout(() => this.start(), this.#delay);
			this.#delay = Math.min(10_000, this.#delay * 2);
		});
	}

	listen(listener: LiveListener): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** The head end's time, carried on between its messages; NaN before the first. */
	now(): number {
		if (!this.status) return Number.NaN;
		return this.status.utcSeconds + Math.min(5, (performance.now() - this.#statusAt) / 1000);
	}

	#each(call: (listener: LiveListener) => void): void {
		for (const listener of [...this.#listeners]) call(listener);
	}

	#onMessage(message: LiveMessage): void {
		switch (message.type) {
			case "status":
				this.status = message.status;
				this.#statusAt = performance.now();
				this.#each((listener) => listener.status?.());
				break;
			case "fleet":
				this.meters.clear();
				for (const meter of message.meters) this.meters.set(meter.id, meter);
				this.loaded = true;
				this.#each((listener) => listener.fleet?.());
				break;
			case "meters":
				for (const meter of message.meters) this.meters.set(meter.id, meter);
				this.#each((listener) => listener.meters?.(message.meters));
				break;
			case "readings":
				this.#each((listener) => listener.readings?.(message.id, message.readings));
				break;
			case "profile":
				this.#each((listener) => listener.profile?.(message.id));
				break;
			case "events":
				this.#each((listener) => listener.events?.(message.id));
				break;
		}
	}
}

/** One request of the interface. @throws Error with the server's own line */
export async function request<Answer>(
	path: string,
	method: "GET" | "POST" = "GET",
	signal?: AbortSignal,
	content?: unknown,
): Promise<Answer> {
	const response = await fetch(path, {
		method,
		...(signal ? { signal } : {}),
		...(content === undefined
			? {}
			: { headers: { "content-type": "application/json" }, body: JSON.stringify(content) }),
	});
	const body = (await response.json()) as Answer & { error?: string };
	if (!response.ok) throw new Error(body.error ?? `status ${response.status}`);
	return body;
}

import { Status } from "../../src/bytes/status.js";
import { Kind } from "../../src/messages/kinds.js";
import type { CaptureView, DiagnosticsView, SnapshotView } from "./api.js";
import type { Fetching } from "./fetching.js";
import type { Fleet } from "./fleet.js";
import { LIMITS } from "./limits.js";
import type { MeterState } from "./meter-state.js";
import { captureView, diagnosticsView, snapshotView } from "./views.js";

/** Why a request of the interface got no answer. */
export class AskError extends Error {
	override name = "AskError";
	readonly reason: "unknown" | "offline" | "timedOut" | "refused";

	constructor(reason: AskError["reason"], message: string) {
		super(message);
		this.reason = reason;
	}
}

/** Questions of the interface to one meter: capture, snapshot, diagnostics, configure. */
export class Asking {
	readonly #fleet: Fleet;
	readonly #fetching: Fetching;

	constructor(fleet: Fleet, fetching: Fetching) {
		this.#fleet = fleet;
		this.#fetching = fetching;
	}

	onAnswer(meter: MeterState, kind: number, byteLength: number): Status {
		if (byteLength < 4) return Status.badLength;
		const requestId = this.#fleet.openedView.getUint16(2);
		const now = this.#fleet.clock.utcSeconds();
		let answer: CaptureView | SnapshotView | DiagnosticsView | Status;
		let requestKind: number;
		if (kind === Kind.capture) {
			answer = captureView(this.#fleet.openedView, byteLength);
			requestKind = Kind.captureRequest;
		} else if (kind === Kind.snapshot) {
			answer = snapshotView(this.#fleet.openedView, byteLength);
			requestKind = Kind.snapshotRequest;
		} else {
			answer = diagnosticsView(this.#fleet.openedView, byteLength, now);
			requestKind = Kind.diagnosticsRequest;
		}
		if (typeof answer === "number") return answer;
		if (kind === Kind.snapshot) meter.lastSnapshot = answer as SnapshotView;
		if (kind === Kind.diagnostics) meter.lastDiagnostics = answer as DiagnosticsView;
		const request = meter.outstanding.get(requestId);
		const ask = meter.asks.get(requestKind);
		if (!ask || request?.kind !== requestKind) return Status.ok; // nobody waits any more
		this.#fetching.finish(meter, request);
		meter.asks.delete(requestKind);
		ask.cancelTimer();
		ask.resolve(answer);
		return Status.ok;
	}

	/**
	 * Asks a meter; callers that ask the same at the same time share one request.
	 * @param kind captureRequest, snapshotRequest, diagnosticsRequest or configure
	 * @throws AskError
	 */
	ask(id: string, kind: number, first = 0): Promise<unknown> {
		const meter = this.#fleet.meters.get(id);
		if (!meter) return Promise.reject(new AskError("unknown", `no meter ${id}`));
		const asked = meter.asks.get(kind);
		if (asked) return asked.promise;
		if (!this.#fleet.online(meter)) return Promise.reject(new AskError("offline", `meter ${id} is not connected`));
		const request = this.#fetching.request(meter, kind, undefined, { purpose: "ask", first, count: 0 }, 0);
		if (!request) return Promise.reject(new AskError("offline", "the broker is not connected"));
		let resolve: (value: unknown) => void = () => {};
		let reject: (error: AskError) => void = () => {};
		const promise = new Promise<unknown>((yes, no) => {
			resolve = yes;
			reject = no;
		});
		const cancelTimer = this.#fleet.clock.after(LIMITS.askSeconds, () => {
			meter.asks.delete(kind);
			this.#fetching.finish(meter, request);
			reject(new AskError("timedOut", `meter ${id} did not answer within ${LIMITS.askSeconds} s`));
		});
		meter.asks.set(kind, { promise, resolve, reject, cancelTimer });
		return promise;
	}
}

import type { Broker } from "../broker/broker.js";
import { Random } from "../waveforms/random.js";
import type { ConcentratorProcess } from "./concentrator-process.js";
import type { World } from "./world.js";

export const CHAOS_KINDS = ["broker", "concentrator", "power"] as const;
export type ChaosKind = (typeof CHAOS_KINDS)[number];

/** One failure, decided before the world starts. */
export interface ChaosAction {
	readonly kind: ChaosKind;
	readonly atMilliseconds: number;
	/** How long the thing stays away. */
	readonly awayMilliseconds: number;
	readonly meter: number;
	/** Power: 0 at once, n inside the n-th flash operation from then on; -1 at once but told by the supply-fail input. */
	readonly flashOperations: number;
	readonly tornBytes: number;
}

export interface ChaosPlanOptions {
	readonly seed: number;
	readonly milliseconds: number;
	readonly meters: number;
	readonly kinds: readonly ChaosKind[];
}

/** Mean time between power cuts of one meter. */
const POWER_CUT_MEAN_MILLISECONDS = 40 * 60_000;
/** Mean time between deaths of the broker, and of the concentrator. */
const PEER_DEATH_MEAN_MILLISECONDS = 18 * 60_000;
/** The first and the last minutes stay quiet: every meter is enrolled, and what fails is back, when the run ends. */
const QUIET_START = 0.05;
const QUIET_END = 0.95;

/** All failures of a run, in the order of their times; at least one of each kind asked for. */
export function planChaos(options: ChaosPlanOptions): ChaosAction[] {
	const { milliseconds, meters, kinds } = options;
	const first = milliseconds * QUIET_START;
	const last = milliseconds * QUIET_END;
	const actions: ChaosAction[] = [];
	for (const kind of ["broker", "concentrator"] as const) {
		if (!kinds.includes(kind)) continue;
		const random = new Random(options.seed, `chaos ${kind}`);
		const count = Math.max(1, Math.round(milliseconds / PEER_DEATH_MEAN_MILLISECONDS));
		for (let i = 0; i < count; i++) {
			// one in each part of the run, so that one is back before it dies again
			const part = (last - first) / count;
			const atMilliseconds = first + (i + random.between(0, 0.6)) * part;
			const awayMilliseconds = Math.min(random.between(2000, 150_000), 0.35 * part);
			actions.push({ kind, atMilliseconds, awayMilliseconds, meter: -1, flashOperations: 0, tornBytes: 0 });
		}
	}
	if (kinds.includes("power")) {
		const random = new Random(options.seed, "chaos power");
		const chosen = random.integer(0, meters - 1);
		for (let meter = 0; meter < meters; meter++) {
			let at = first + random.exponential(POWER_CUT_MEAN_MILLISECONDS);
			if (meter === chosen) at = Math.min(at, random.between(first, last));
			for (; at < last; at += 60_000 + random.exponential(POWER_CUT_MEAN_MILLISECONDS)) {
				const how = random.unit();
				actions.push({
					kind: "power",
					atMilliseconds: at,
					awayMilliseconds: random.chance(0.7) ? random.between(300, 20_000) : random.between(20_000, 240_000),
					meter,
					flashOperations: how < 0.3 ? 0 : how < 0.85 ? random.integer(1, 9) : -1,
					tornBytes: random.chance(0.3) ? 0 : random.integer(0, random.chance(0.5) ? 40 : 4096),
				});
			}
		}
	}
	return actions.sort((a, b) => a.atMilliseconds - b.atMilliseconds);
}

/** Carries out a plan between the steps of a world. */
export class Chaos {
	/** Failures carried out, by kind. */
	readonly counts: Record<ChaosKind, number> = { broker: 0, concentrator: 0, power: 0 };
	readonly #world: World;
	readonly #broker: Broker;
	readonly #concentrator: ConcentratorProcess | undefined;
	readonly #actions: readonly ChaosAction[];
	#next = 0;
	#brokerReturns = Number.NaN;
	#concentratorReturns = Number.NaN;
	/** Power cuts that wait for a flash operation: meter, and its cuts when it was armed. */
	readonly #armed = new Map<number, number>();

	constructor(
		world: World,
		broker: Broker,
		concentrator: ConcentratorProcess | undefined,
		actions: readonly ChaosAction[],
	) {
		this.#world = world;
		this.#broker = broker;
		this.#concentrator = concentrator;
		this.#actions = actions;
	}

	/** Whether the broker is away because it was killed here. */
	get isBrokerAway(): boolean {
		return !Number.isNaN(this.#brokerReturns);
	}

	/** Does what is due; call before each step. */
	async apply(): Promise<void> {
		const now = this.#world.nowMilliseconds;
		if (now >= this.#brokerReturns) await this.#brokerBack();
		if (now >= this.#concentratorReturns) await this.#concentratorBack();
		for (; this.#next < this.#actions.length; this.#next++) {
			const action = this.#actions[this.#next]!;
			if (action.atMilliseconds > now) return;
			if (action.kind === "broker") await this.#killBroker(action);
			else if (action.kind === "concentrator") await this.#killConcentrator(action);
			else this.#cutPower(action);
		}
	}

	/** Nothing fails any more, and what is away comes back. */
	async end(): Promise<void> {
		this.#next = this.#actions.length;
		await this.#brokerBack();
		await this.#concentratorBack();
		for (const [meter, cuts] of this.#armed) {
			const board = this.#world.boards[meter]!;
			if (board.isOn && board.powerCuts === cuts) this.#world.cutPower(board, 0, 0, 1000);
		}
		this.#armed.clear();
		for (const board of this.#world.boards)
			if (!board.isOn)
				board.powerReturnsMilliseconds = Math.min(board.powerReturnsMilliseconds, this.#world.nowMilliseconds);
	}

	async #killBroker(action: ChaosAction): Promise<void> {
		if (!this.#broker.isRunning) return;
		this.counts.broker++;
		this.#world.note("broker", `killed for ${(action.awayMilliseconds / 1000).toFixed(0)} s`);
		await this.#broker.kill();
		this.#brokerReturns = this.#world.nowMilliseconds + action.awayMilliseconds;
		this.#world.peersChanged();
	}

	async #brokerBack(): Promise<void> {
		if (Number.isNaN(this.#brokerReturns)) return;
		this.#brokerReturns = Number.NaN;
		await this.#broker.start();
		this.#world.note("broker", "started again");
		this.#world.peersChanged();
	}

	async #killConcentrator(action: ChaosAction): Promise<void> {
		if (this.#concentrator === undefined || !this.#concentrator.isRunning) return;
		this.counts.concentrator++;
		this.#world.note("concentrator", `killed (-9) for ${(action.awayMilliseconds / 1000).toFixed(0)} s`);
		await this.#concentrator.kill();
		this.#concentratorReturns = this.#world.nowMilliseconds + action.awayMilliseconds;
		this.#world.peersChanged();
	}

	async #concentratorBack(): Promise<void> {
		if (Number.isNaN(this.#concentratorReturns) || this.#concentrator === undefined) return;
		this.#concentratorReturns = Number.NaN;
		await this.#concentrator.start(this.#world.utcSeconds);
		this.#world.note("concentrator", "started again");
		this.#world.peersChanged();
	}

	#cutPower(action: ChaosAction): void {
		const board = this.#world.boards[action.meter]!;
		if (!board.isOn || this.#armed.get(action.meter) === board.powerCuts) return;
		this.counts.power++;
		if (action.flashOperations > 0) this.#armed.set(action.meter, board.powerCuts);
		if (action.flashOperations < 0) this.#world.announcePowerCut(board, action.awayMilliseconds);
		else this.#world.cutPower(board, action.flashOperations, action.tornBytes, action.awayMilliseconds);
	}
}

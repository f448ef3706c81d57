import { DOMAIN_GROUP, Way } from "../../src/group-keys/scheme.js";
import type { Outgoing } from "../group-keys/controller.js";
import { CountingCrypto, type Work } from "../group-keys/counting-crypto.js";
import { FastCrypto } from "../group-keys/fast-crypto.js";
import type { ControlledScheme } from "../group-keys/registry.js";
import { GroupWorld, seededNumbers, type WorldOptions } from "../group-keys/world.js";
import { type Check, checkBatches, checkRows } from "./published.js";

/** What one change of the domain takes, on air and at a member. */
export interface Cost {
	readonly messages: number;
	readonly broadcastBytes: number;
	readonly unicastBytes: number;
	/** Units of one wrapped key. */
	readonly ciphertexts: number;
	/** At the members that were simulated, for the one or all messages that concern them. */
	readonly member: Spread;
}

export interface Spread {
	readonly compressionsMean: number;
	readonly compressionsMax: number;
	readonly aesBlocksMean: number;
	readonly aesBlocksMax: number;
	readonly flashBytesMean: number;
}

export interface LabRow {
	readonly scheme: string;
	readonly title: string;
	readonly n: number;
	readonly join: Cost;
	readonly leave: Cost;
	readonly batch: Cost;
	readonly refresh: Cost;
	/** Bytes of one exchange after any loss; null: the class has none. */
	readonly returnBytes: number | null;
	/** All memory of keys and counters for the domain and three groups of 256, both copies. */
	readonly memberRamBytes: number;
	/** The most that one key record takes for it. */
	readonly recordBytes: number;
}

/** Batch evictions out of a full domain. */
export interface BatchRow {
	readonly scheme: string;
	readonly n: number;
	readonly evicted: number;
	readonly rounds: number;
	readonly mean: number;
	readonly deviation: number;
	readonly max: number;
	readonly meanBytes: number;
}

/** One meter put out of the domain and three groups of 256. */
export interface GroupsRow {
	readonly bytes: number;
	readonly member: Spread;
}

export interface LabReport {
	readonly seed: number;
	readonly sizes: readonly number[];
	readonly rows: readonly LabRow[];
	readonly batches: readonly BatchRow[];
	readonly horaWithGroups: GroupsRow | null;
	readonly checks: readonly Check[];
	readonly passed: boolean;
}

export interface LabOptions {
	readonly schemes: readonly ControlledScheme[];
	readonly sizes: readonly number[];
	readonly seed: number;
	readonly onProgress: (text: string) => void;
}

const BATCH = 16;
const SAMPLES = 8;
const GROUP_SLOTS = 256;
/** A day has at most 255 generations of a tree. */
const CHANGES_TO_FILL = 64;

/** CATCHUP-REQ, HORA section 8. */
const REQUEST_BYTES = 35;

/** A full domain, of which a few members are simulated. */
class Bench {
	readonly n: number;
	readonly world: GroupWorld;
	readonly samples: readonly number[];
	readonly #crypto = new CountingCrypto(new FastCrypto());
	readonly #below: (bound: number) => number;
	#next: number;

	constructor(
		scheme: ControlledScheme,
		n: number,
		seed: number,
		onProgress: (text: string) => void,
		more?: Partial<WorldOptions>,
	) {
		this.n = n;
		this.samples = Array.from({ length: SAMPLES }, (_, i) => Math.floor(((i + 0.5) * n) / SAMPLES));
		const simulated = new Set(this.samples);
		this.world = new GroupWorld({
			scheme,
			seed,
			domainSlots: n,
			groupSlots: GROUP_SLOTS,
			groupsMax: 3,
			memberCrypto: this.#crypto,
			isSimulated: (meter) => simulated.has(meter),
			...more,
		});
		this.#below = seededNumbers(seed, `bench ${n}`);
		const atOnce = Math.ceil(n / CHANGES_TO_FILL);
		for (let meter = 0; meter < n; meter += atOnce) {
			this.world.change(
				DOMAIN_GROUP,
				[],
				Array.from({ length: Math.min(atOnce, n - meter) }, (_, i) => meter + i),
			);
			this.world.recorded.length = 0;
			if (meter % 4096 === 0) onProgress(`${scheme.entry.name}: ${meter} of ${n} meters have joined`);
		}
		this.world.assertAgreement(DOMAIN_GROUP, `${n} joined`);
		this.#next = n;
	}

	/** Members that are not simulated. */
	pick(count: number): number[] {
		const members = this.world.controller.members(DOMAIN_GROUP).filter((meter) => !this.samples.includes(meter));
		const picked = new Set<number>();
		while (picked.size < count) picked.add(members[this.#below(members.length)]!);
		return [...picked];
	}

	/** New meters, as many as are missing. */
	fill(): readonly Outgoing[] {
		const missing = this.n - this.world.controller.members(DOMAIN_GROUP).length;
		const joins = Array.from({ length: missing }, () => this.#next++);
		return this.world.change(DOMAIN_GROUP, [], joins);
	}

	measure(act: () => readonly Outgoing[]): Cost {
		const work = new Map<number, Work>();
		const flashBefore = this.samples.map((meter) => this.world.meter(meter).flashBytesWritten);
		this.#crypto.take();
		this.world.onDeliver = ({ meter }) => {
			const { compressions, aesBlocks, aesKeys } = this.#crypto.take();
			const sum = work.get(meter) ?? { compressions: 0, aesBlocks: 0, aesKeys: 0 };
			sum.compressions += compressions;
			sum.aesBlocks += aesBlocks;
			sum.aesKeys += aesKeys;
			work.set(meter, sum);
		};
		const out = act();
		this.world.onDeliver = () => {};
		this.world.recorded.length = 0;
		this.world.assertAgreement(DOMAIN_GROUP, "measured");
		const sum = (pick: (message: Outgoing) => number) => out.reduce((total, message) => total + pick(message), 0);
		const mean = (values: readonly number[]) => values.reduce((total, value) => total + value, 0) / values.length;
		const each = this.samples.map((meter) => work.get(meter) ?? { compressions: 0, aesBlocks: 0, aesKeys: 0 });
		return {
			messages: out.filter(({ airBytes }) => airBytes > 0).length,
			broadcastBytes: sum(({ way, airBytes }) => (way === Way.broadcast ? airBytes : 0)),
			unicastBytes: sum(({ way, airBytes }) => (way === Way.unicast ? airBytes : 0)),
			ciphertexts: sum(({ ciphertexts }) => ciphertexts),
			member: {
				compressionsMean: mean(each.map(({ compressions }) => compressions)),
				compressionsMax: Math.max(...each.map(({ compressions }) => compressions)),
				aesBlocksMean: mean(each.map(({ aesBlocks }) => aesBlocks)),
				aesBlocksMax: Math.max(...each.map(({ aesBlocks }) => aesBlocks)),
				flashBytesMean: mean(
					this.samples.map((meter, i) => this.world.meter(meter).flashBytesWritten - flashBefore[i]!),
				),
			},
		};
	}
}

function isStar(scheme: ControlledScheme): boolean {
	return scheme.traits.returns && scheme.entry.name !== "hora" ? true : scheme.entry.name === "liu-2013";
}

function runScheme(scheme: ControlledScheme, n: number, options: LabOptions): { row: LabRow; batches: BatchRow[] } {
	const { name } = scheme.entry;
	const { onProgress } = options;
	const bench = new Bench(scheme, n, options.seed, onProgress);
	const { world } = bench;
	onProgress(`${name}, n ${n}: single changes`);
	const leave = bench.measure(() => world.change(DOMAIN_GROUP, bench.pick(1), []));
	const join = bench.measure(() => bench.fill());
	const refresh = bench.measure(() => world.refresh(DOMAIN_GROUP, bench.pick(1)[0]!));
	const batch = bench.measure(() => world.change(DOMAIN_GROUP, bench.pick(BATCH), []));
	bench.fill();
	const batches: BatchRow[] = [];
	// A star's eviction is always one wrap for each who stays.
	if (!isStar(scheme))
		for (const evicted of [1, 4, 16, 64].filter((count) => count < n / 4)) {
			onProgress(`${name}, n ${n}: batches of ${evicted}`);
			world.nextDay();
			const rounds = n > 4096 ? 8 : 24;
			const counts: number[] = [];
			let bytes = 0;
			for (let round = 0; round < rounds; round++) {
				const out = world.change(DOMAIN_GROUP, bench.pick(evicted), []);
				const rekeys = out.filter(({ way }) => way === Way.broadcast);
				counts.push(rekeys.reduce((total, { ciphertexts }) => total + ciphertexts, 0));
				bytes += rekeys.reduce((total, { airBytes }) => total + airBytes, 0);
				bench.fill();
				world.recorded.length = 0;
			}
			const mean = counts.reduce((total, count) => total + count, 0) / rounds;
			const variance = counts.reduce((total, count) => total + (count - mean) ** 2, 0) / Math.max(1, rounds - 1);
			const deviation = Math.sqrt(variance);
			const max = Math.max(...counts);
			batches.push({ scheme: name, n, evicted, rounds, mean, deviation, max, meanBytes: bytes / rounds });
		}
	const answer = scheme.traits.returns ? world.controller.catchUp(bench.samples[0]!) : [];
	const answerBytes = answer.reduce((total, { airBytes }) => total + airBytes, 0);
	const member = world.meter(bench.samples[0]!).scheme;
	const row = {
		scheme: name,
		title: scheme.title,
		n,
		join,
		leave,
		batch,
		refresh,
		returnBytes: answer.length === 0 ? null : answerBytes + (name === "hora" ? REQUEST_BYTES : 0),
		memberRamBytes: member.memberStateBytes,
		recordBytes: member.stagedBytesMax,
	};
	return { row, batches };
}

/** Issue 4's figure: a meter of the domain (1 024) and three groups of 256 is put out of all. */
function runWithGroups(scheme: ControlledScheme, options: LabOptions): GroupsRow {
	options.onProgress("hora: the domain and three groups");
	const bench = new Bench(scheme, 1024, options.seed, options.onProgress);
	const { world } = bench;
	const evicted = bench.pick(1)[0]!;
	const others = bench.pick(GROUP_SLOTS).filter((meter) => meter !== evicted);
	const members = [...bench.samples, evicted, ...others].slice(0, GROUP_SLOTS);
	const below = seededNumbers(options.seed, "groups");
	// Who sits where decides how much of the path is new: each group in an order of its own.
	for (const group of [1, 2, 3]) {
		const left = [...members];
		while (left.length > 0)
			world.change(
				group,
				[],
				Array.from({ length: 4 }, () => left.splice(below(left.length), 1)[0]!),
			);
	}
	const { member, broadcastBytes } = bench.measure(() => world.change(DOMAIN_GROUP, [evicted], []));
	for (const group of [1, 2, 3]) world.assertAgreement(group, "evicted from all");
	return { bytes: broadcastBytes, member };
}

/** Runs every scheme at every size through the real code of both ends, and holds the figures against the published ones. */
export function runLab(options: LabOptions): LabReport {
	const rows: LabRow[] = [];
	const batches: BatchRow[] = [];
	for (const n of options.sizes)
		for (const scheme of options.schemes) {
			const done = runScheme(scheme, n, options);
			rows.push(done.row);
			batches.push(...done.batches);
		}
	const hora = options.schemes.find(({ entry }) => entry.name === "hora");
	const horaWithGroups = hora && options.sizes.includes(1024) ? runWithGroups(hora, options) : null;
	const checks = [...checkRows(rows, horaWithGroups), ...checkBatches(batches)];
	const passed = checks.every(({ ok, isGoal }) => ok || isGoal);
	return { seed: options.seed, sizes: options.sizes, rows, batches, horaWithGroups, checks, passed };
}
